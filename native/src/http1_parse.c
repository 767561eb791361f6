#include "http1_parse_internal.h"

#include <arpa/inet.h>

#define EMPTY_LINES_MAX 4 // rule 4
#define HOST_BYTES_MAX 255
#define CONNECTION_OPTIONS_MAX 32

const uint8_t sl__classes[256] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x04, 0x0f, 0x06, 0x05, 0x0f, 0x07, 0x0f, 0x0f, 0x0e, 0x0e, 0x0f, 0x0f, 0x0e, 0x0f, 0x0f, 0x06,
    0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x06, 0x0e, 0x06, 0x0e, 0x06, 0x06,
    0x06, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f,
    0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x06, 0x06, 0x06, 0x07, 0x1f,
    0x07, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f,
    0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x06, 0x07, 0x06, 0x0f, 0x00,
    0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04,
    0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04,
    0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04,
    0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04,
    0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04,
    0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04,
    0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04,
    0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04,
};

// ---- Known names

// The bits of byte `i` that struct sl__name has as free.
#define FREE_1(text, i)                                                                            \
    ((i) >= sizeof(text) - 1 ? 0xff : (text)[(i) % sizeof(text)] >= 'a' ? 0x20 : 0)
#define FREE_4(text, i)                                                                            \
    FREE_1(text, i), FREE_1(text, i + 1), FREE_1(text, i + 2), FREE_1(text, i + 3)
#define FREE_16(text, i)                                                                           \
    FREE_4(text, i), FREE_4(text, i + 4), FREE_4(text, i + 8), FREE_4(text, i + 12)
#define NAME(id, first, last, text)                                                                \
    [SL__NAME_HASH(sizeof(text) - 1, first, last)] = {                                             \
        text ": ", sizeof(text) - 1, id, {FREE_16(text ": ", 0), FREE_16(text ": ", 16)}}
const struct sl__name sl__names[256] __attribute__((aligned(64))) = {
    NAME(SL_H_HOST, 'h', 't', "host"),
    NAME(SL_H_CONTENT_LENGTH, 'c', 'h', "content-length"),
    NAME(SL_H_TRANSFER_ENCODING, 't', 'g', "transfer-encoding"),
    NAME(SL_H_CONNECTION, 'c', 'n', "connection"),
    NAME(SL_H_KEEP_ALIVE, 'k', 'e', "keep-alive"),
    NAME(SL_H_PROXY_CONNECTION, 'p', 'n', "proxy-connection"),
    NAME(SL_H_TE, 't', 'e', "te"),
    NAME(SL_H_TRAILER, 't', 'r', "trailer"),
    NAME(SL_H_UPGRADE, 'u', 'e', "upgrade"),
    NAME(SL_H_EXPECT, 'e', 't', "expect"),
    NAME(SL_H_VIA, 'v', 'a', "via"),
    NAME(SL_H_FORWARDED, 'f', 'd', "forwarded"),
    NAME(SL_H_X_FORWARDED_FOR, 'x', 'r', "x-forwarded-for"),
    NAME(SL_H_X_FORWARDED_HOST, 'x', 't', "x-forwarded-host"),
    NAME(SL_H_X_FORWARDED_PROTO, 'x', 'o', "x-forwarded-proto"),
    NAME(SL_H_X_REAL_IP, 'x', 'p', "x-real-ip"),
    NAME(SL_H_ACCEPT, 'a', 't', "accept"),
    NAME(SL_H_ACCEPT_ENCODING, 'a', 'g', "accept-encoding"),
    NAME(SL_H_ACCEPT_LANGUAGE, 'a', 'e', "accept-language"),
    NAME(SL_H_AUTHORIZATION, 'a', 'n', "authorization"),
    NAME(SL_H_CACHE_CONTROL, 'c', 'l', "cache-control"),
    NAME(SL_H_CONTENT_TYPE, 'c', 'e', "content-type"),
    NAME(SL_H_CONTENT_ENCODING, 'c', 'g', "content-encoding"),
    NAME(SL_H_COOKIE, 'c', 'e', "cookie"),
    NAME(SL_H_DATE, 'd', 'e', "date"),
    NAME(SL_H_ETAG, 'e', 'g', "etag"),
    NAME(SL_H_IF_MATCH, 'i', 'h', "if-match"),
    NAME(SL_H_IF_NONE_MATCH, 'i', 'h', "if-none-match"),
    NAME(SL_H_IF_MODIFIED_SINCE, 'i', 'e', "if-modified-since"),
    NAME(SL_H_LOCATION, 'l', 'n', "location"),
    NAME(SL_H_ORIGIN, 'o', 'n', "origin"),
    NAME(SL_H_RANGE, 'r', 'e', "range"),
    NAME(SL_H_REFERER, 'r', 'r', "referer"),
    NAME(SL_H_SERVER, 's', 'r', "server"),
    NAME(SL_H_SET_COOKIE, 's', 'e', "set-cookie"),
    NAME(SL_H_USER_AGENT, 'u', 't', "user-agent"),
    NAME(SL_H_VARY, 'v', 'y', "vary"),
    NAME(SL_H_X_REQUEST_ID, 'x', 'd', "x-request-id"),
    NAME(SL_H_EARLY_DATA, 'e', 'a', "early-data"),
    NAME(SL_H_PROXY_AUTHENTICATE, 'p', 'e', "proxy-authenticate"),
    NAME(SL_H_PROXY_AUTHORIZATION, 'p', 'n', "proxy-authorization"),
    NAME(SL_H_MAX_FORWARDS, 'm', 's', "max-forwards"),
};
#undef NAME
_Static_assert(sizeof(sl__names[0]) == 64, "a row is a line of the cache");

// memcmp() == 0 for names: few bytes, and a call each would cost more than the bytes. The last word
// overlaps the one before it.
static inline bool same_bytes(const uint8_t *a, const char *b, size_t len) {
    if (len >= 8) {
        for (size_t at = 0; at + 8 < len; at += 8) {
            if (load_8(a + at) != load_8(b + at)) {
                return false;
            }
        }
        return load_8(a + len - 8) == load_8(b + len - 8);
    }
    if (len >= 4) {
        return load_4(a) == load_4(b) && load_4(a + len - 4) == load_4(b + len - 4);
    }
    for (size_t at = 0; at < len; at++) {
        if (a[at] != (uint8_t)b[at]) {
            return false;
        }
    }
    return true;
}

enum sl_header sl_header_id(const uint8_t *lower_name, size_t len) {
    if (len == 0) {
        return SL_H_OTHER;
    }
    const struct sl__name *name =
        &sl__names[SL__NAME_HASH(len, lower_name[0], lower_name[len - 1])];
    return name->len == len && same_bytes(lower_name, name->text, len) ? name->id : SL_H_OTHER;
}

// ---- Methods

const uint8_t sl__method_slots[16] = {
    [SL__METHOD_HASH(3, 'G', 'T')] = SL_METHOD_GET,
    [SL__METHOD_HASH(4, 'H', 'A')] = SL_METHOD_HEAD,
    [SL__METHOD_HASH(4, 'P', 'S')] = SL_METHOD_POST,
    [SL__METHOD_HASH(3, 'P', 'T')] = SL_METHOD_PUT,
    [SL__METHOD_HASH(6, 'D', 'L')] = SL_METHOD_DELETE,
    [SL__METHOD_HASH(7, 'O', 'T')] = SL_METHOD_OPTIONS,
    [SL__METHOD_HASH(5, 'P', 'T')] = SL_METHOD_PATCH,
    [SL__METHOD_HASH(7, 'C', 'N')] = SL_METHOD_CONNECT,
    [SL__METHOD_HASH(5, 'T', 'A')] = SL_METHOD_TRACE,
    [SL__METHOD_HASH(5, 'Q', 'E')] = SL_METHOD_QUERY,
};

#define METHOD_ROW(name, value) [value] = {#name},
const struct sl__method sl__methods[] = {[SL_METHOD_OTHER] = {""}, SL_METHOD_MAP(METHOD_ROW)};
#undef METHOD_ROW

const char *sl_method_name(enum sl_method method) {
    return method < SL_COUNT_OF(sl__methods) ? sl__methods[method].text : "";
}

enum sl_method sl_method_id(const uint8_t *name, size_t len) {
    if (len < 3 || len >= sizeof(sl__methods[0].text)) {
        return SL_METHOD_OTHER;
    }
    enum sl_method method = sl__method_slots[SL__METHOD_HASH(len, name[0], name[2])];
    const char *text = sl__methods[method].text;
    return text[len] == '\0' && same_bytes(name, text, len) ? method : SL_METHOD_OTHER;
}

// ---- Small grammars

// Whether bytes of a target or a value are `text`, in any case. `text` has letters in lower case,
// digits, and some of "-/:%": with the bit between the cases set in both, no other byte is taken
// for one of them but a control, and there is none.
static inline bool same_text(const uint8_t *data, const char *text, size_t len) {
    const uint64_t bits = ONES * 0x20;
    if (len >= 8) {
        return (load_8(data) | bits) == (load_8(text) | bits) &&
               (load_8(data + len - 8) | bits) == (load_8(text + len - 8) | bits);
    }
    for (size_t i = 0; i < len; i++) {
        if ((data[i] | 0x20) != (text[i] | 0x20)) {
            return false;
        }
    }
    return true;
}
#define BEGINS(data, data_len, text)                                                               \
    ((data_len) >= sizeof(text) - 1 && same_text(data, text, sizeof(text) - 1))
#define EQUALS(data, data_len, text)                                                               \
    ((data_len) == sizeof(text) - 1 && same_text(data, text, sizeof(text) - 1))
_Static_assert(sizeof("100-continue") - 1 <= 16, "same_text() compares two words");

// 1*DIGIT up to INT64_MAX, so that sums of lengths stay in range (rule 21).
static bool parse_length(struct sl_span text, uint64_t *out_value) {
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t digit = text.data[i] - '0';
        if (digit > 9 || value > ((uint64_t)INT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out_value = value;
    return text.len > 0;
}

// *5DIGIT up to 65535.
static bool parse_port(const uint8_t *data, size_t len, uint32_t *out_port) {
    uint32_t port = 0;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(data[i])) {
            return false;
        }
        port = port * 10 + (data[i] - '0');
    }
    *out_port = port;
    return len <= 5 && port <= 65535;
}

// Bytes of an IPv6 address in brackets at the start of data; 0: not one. No NUL is in data: it is
// neither TARGET nor TEXT.
static size_t bracketed_len(const uint8_t *data, size_t len) {
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    const uint8_t *close = memchr(data, ']', len);
    size_t text_len = close ? (size_t)(close - data) - 1 : 0;
    if (text_len == 0 || text_len >= sizeof(text)) {
        return 0;
    }
    memcpy(text, data + 1, text_len);
    text[text_len] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1 ? text_len + 2 : 0;
}

static inline bool all_of_class(const uint8_t *data, size_t len, uint8_t class) {
    for (; len >= 4; data += 4, len -= 4) {
        class &= sl__classes[data[0]] & sl__classes[data[1]] & sl__classes[data[2]] &
                 sl__classes[data[3]];
    }
    for (; len > 0; data++, len--) {
        class &= sl__classes[*data];
    }
    return class;
}

// uri-host [ ":" port ] with a host of 1 to 255 bytes. '%' is refused although the grammar of a
// registered name has it: a URL parser behind us would decode it into another name than the one
// that was routed.
// Of the host, `name_len` bytes are known to be those of a name; 0: not known.
static bool host_is_valid(const uint8_t *data, size_t len, size_t name_len, bool need_port) {
    size_t host_len = name_len;
    if (len == 0) {
        return false;
    }
    if (name_len == 0) {
        if (len <= HOST_BYTES_MAX && all_of_class(data, len, HOST)) {
            return !need_port;
        }
        host_len =
            data[0] == '[' ? bracketed_len(data, len) : scan_class(data, 0, (uint32_t)len, HOST);
    }
    if (host_len == 0 || host_len > HOST_BYTES_MAX) {
        return false;
    }
    if (host_len == len) {
        return !need_port;
    }
    uint32_t port;
    return data[host_len] == ':' && parse_port(data + host_len + 1, len - host_len - 1, &port) &&
           (!need_port || port > 0);
}

// ---- Target (rules 10, 11, 13, 14)

static bool is_separator(uint8_t byte) {
    return byte == '/' || byte == '\\'; // a URL parser behind us takes both
}

// Bytes of one dot at the start of data: ".", "%2e"; 0: none.
static uint32_t dot_len(const uint8_t *data, uint32_t len) {
    if (len > 0 && data[0] == '.') {
        return 1;
    }
    return BEGINS(data, len, "%2e") ? 3 : 0;
}

// Whether a '.' stands behind a separator. May say yes too often, never no.
static bool may_have_dot_segment(const uint8_t *path, uint32_t len) {
    uint32_t at = 0;
    for (; at + 9 <= len; at += 8) {
        uint64_t dots = bytes_equal(load_8(path + at + 1), '.');
        if (dots) {
            uint64_t word = load_8(path + at);
            if (dots & (bytes_equal(word, '/') | bytes_equal(word, '\\'))) {
                return true;
            }
        }
    }
    for (; at + 2 <= len; at++) {
        if (is_separator(path[at]) && path[at + 1] == '.') {
            return true;
        }
    }
    return false;
}

static bool has_dot_segment(const uint8_t *path, uint32_t len) {
    for (uint32_t at = 0; at < len; at++) {
        if (!is_separator(path[at])) {
            continue;
        }
        uint32_t dots = 0, dot;
        uint32_t next = at + 1;
        while (dots < 3 && (dot = dot_len(path + next, len - next)) > 0) {
            next += dot;
            dots++;
        }
        if ((dots == 1 || dots == 2) && (next == len || is_separator(path[next]))) {
            return true;
        }
    }
    return false;
}

static bool has_escaped_nul(const uint8_t *path, uint32_t len) {
    for (uint32_t at = 0; at + 3 <= len; at++) {
        if (path[at] == '%' && path[at + 1] == '0' && path[at + 2] == '0') {
            return true;
        }
    }
    return false;
}

void sl__http1_set_path_flags(struct sl_head *head, const uint8_t *base) {
    const uint8_t *path = base + head->path_off;
    bool escaped = memchr(path, '%', head->path_len) != NULL;
    if (escaped) {
        head->flags |= SL_HEAD_PATH_ESCAPED;
    }
    if ((escaped || may_have_dot_segment(path, head->path_len)) &&
        has_dot_segment(path, head->path_len)) {
        head->flags |= SL_HEAD_DOT_SEGMENT;
    }
    if (escaped && has_escaped_nul(path, head->path_len)) {
        head->flags |= SL_HEAD_DOT_SEGMENT;
    }
}

// Splits [off, end of target) into path and query.
static void set_path(struct sl_head *head, const uint8_t *base, uint32_t off) {
    uint32_t end = head->target_off + head->target_len;
    const uint8_t *mark = memchr(base + off, '?', end - off);
    uint32_t path_end = mark ? (uint32_t)(mark - base) : end;
    head->path_off = (uint16_t)off;
    head->path_len = (uint16_t)(path_end - off);
    if (mark) {
        head->query_off = (uint16_t)(path_end + 1);
        head->query_len = (uint16_t)(end - head->query_off);
    }
    sl__http1_set_path_flags(head, base);
}

static int judge_authority(struct sl_head *head, const uint8_t *base, uint32_t off, uint32_t end,
                           bool need_port) {
    if (!host_is_valid(base + off, end - off, 0, need_port)) {
        return SL_E_BAD_HOST;
    }
    head->host_off = (uint16_t)off;
    head->host_len = (uint16_t)(end - off);
    return 1;
}

static int judge_absolute(struct sl_head *head, const uint8_t *base) {
    const uint8_t *target = base + head->target_off;
    uint32_t off = head->target_off, end = off + head->target_len;
    if (BEGINS(target, head->target_len, "http://")) {
        off += 7;
    } else if (BEGINS(target, head->target_len, "https://")) {
        off += 8;
        head->flags |= SL_HEAD_HTTPS;
    } else {
        return SL_E_BAD_LINE;
    }
    head->form = SL_TARGET_ABSOLUTE;
    uint32_t authority_end = off;
    while (authority_end < end && base[authority_end] != '/' && base[authority_end] != '?') {
        authority_end++;
    }
    set_path(head, base, authority_end);
    return judge_authority(head, base, off, authority_end, false);
}

int sl__http1_judge_target(struct sl_head *head, const uint8_t *base) {
    const uint8_t *target = base + head->target_off;
    uint32_t end = head->target_off + head->target_len;
    if (head->method == SL_METHOD_CONNECT) {
        head->form = SL_TARGET_AUTHORITY;
        head->path_off = (uint16_t)end;
        return judge_authority(head, base, head->target_off, end, true);
    }
    if (target[0] == '/') {
        head->form = SL_TARGET_ORIGIN;
        set_path(head, base, head->target_off);
        return 1;
    }
    if (target[0] == '*' && head->target_len == 1) {
        head->form = SL_TARGET_ASTERISK;
        head->path_off = head->target_off;
        head->path_len = 1;
        return head->method == SL_METHOD_OPTIONS ? 1 : SL_E_BAD_LINE;
    }
    return judge_absolute(head, base);
}

// ---- What the whole section says

// Elements of a comma-separated list over all lines of one name, in order; empty ones, too.
struct list {
    const struct sl_head *head;
    const uint8_t *base;
    const struct sl_field *field;
    uint32_t at, end;
};

static struct list list_of(const struct sl_head *head, const uint8_t *base, enum sl_header id) {
    struct list list = {.head = head, .base = base, .field = sl_head_field(head, id)};
    if (list.field) {
        list.at = list.field->value_off;
        list.end = list.at + list.field->value_len;
    }
    return list;
}

static bool list_next(struct list *list, struct sl_span *out) {
    if (!list->field) {
        return false;
    }
    const uint8_t *base = list->base;
    uint32_t off = list->at, end = off;
    while (end < list->end && base[end] != ',') {
        end++;
    }
    bool more = end < list->end;
    list->at = end + 1;
    while (off < end && is_space(base[off])) {
        off++;
    }
    *out = (struct sl_span){base + off, trimmed_len(base, off, end)};
    if (!more) {
        uint16_t next = list->field->next_same;
        list->field = next ? &list->head->fields[next - 1] : NULL;
        if (list->field) {
            list->at = list->field->value_off;
            list->end = list->at + list->field->value_len;
        }
    }
    return true;
}

static bool is_token(struct sl_span text) {
    return text.len > 0 && scan_class(text.data, 0, (uint32_t)text.len, TOKEN) == text.len;
}

// Names that a Connection line may not take away (rule 34): framing and routing are decided here,
// and what tells an upstream who asks, what the body is, or who may keep the answer must arrive.
// docs/internals/http.md has the list.
static bool is_protected(struct sl_span name) {
    uint8_t lower[32];
    if (name.len > sizeof(lower)) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        lower[i] = to_lower(name.data[i]);
    }
    switch (sl_header_id(lower, name.len)) {
    case SL_H_HOST:
    case SL_H_CONTENT_LENGTH:
    case SL_H_EXPECT:
    case SL_H_VIA:
    case SL_H_FORWARDED:
    case SL_H_X_REAL_IP:
    case SL_H_AUTHORIZATION:
    case SL_H_CACHE_CONTROL:
    case SL_H_CONTENT_TYPE:
    case SL_H_CONTENT_ENCODING:
    case SL_H_COOKIE:
    case SL_H_DATE:
    case SL_H_ORIGIN:
    case SL_H_RANGE:
    case SL_H_SET_COOKIE:
    case SL_H_VARY:
    case SL_H_X_REQUEST_ID:
    case SL_H_EARLY_DATA:
    case SL_H_MAX_FORWARDS:
        return true;
    default:
        return name.len > 12 && memcmp(lower, "x-forwarded-", 12) == 0;
    }
}

static void nominate(struct sl_head *head, const uint8_t *base, struct sl_span name) {
    if (is_protected(name)) {
        return;
    }
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct sl_field *field = &head->fields[i];
        const uint8_t *field_name = base + field->name_off;
        if (field->name_len == name.len && field_name[0] == to_lower(name.data[0])) {
            size_t at = 1;
            while (at < name.len && field_name[at] == to_lower(name.data[at])) {
                at++;
            }
            field->flags |= at == name.len ? SL_FIELD_NOMINATED : 0;
        }
    }
}

static void set_connection_flags(struct sl_head *head, bool close, bool keep_alive, bool upgrade) {
    if ((keep_alive || head->version == 1) && !close) {
        head->flags |= SL_HEAD_KEEP_ALIVE;
    }
    if (upgrade && head->version == 1 && head->first[SL_H_UPGRADE]) {
        head->flags |= SL_HEAD_UPGRADE;
    }
}

static __attribute__((noinline)) int judge_options(struct sl_head *head, const uint8_t *base) {
    struct list list = list_of(head, base, SL_H_CONNECTION);
    struct sl_span option;
    bool close = false, keep_alive = false, upgrade = false;
    uint32_t options = 0;
    while (list_next(&list, &option)) {
        if (option.len == 0) {
            continue;
        }
        if (++options > CONNECTION_OPTIONS_MAX) {
            return SL_E_BAD_FIELD;
        }
        if (EQUALS(option.data, option.len, "close")) {
            close = true;
        } else if (EQUALS(option.data, option.len, "keep-alive")) {
            keep_alive = true;
        } else if (EQUALS(option.data, option.len, "upgrade")) {
            upgrade = true;
        } else if (is_token(option)) {
            nominate(head, base, option);
        } else {
            return SL_E_BAD_FIELD;
        }
    }
    set_connection_flags(head, close, keep_alive, upgrade);
    return 1;
}

// Nearly every head has no Connection line, or one with one word.
static inline __attribute__((always_inline)) int judge_connection(struct sl_head *head,
                                                                  const uint8_t *base) {
    const struct sl_field *field = sl_head_field(head, SL_H_CONNECTION);
    if (field) {
        const uint8_t *value = base + field->value_off;
        if (field->next_same || !EQUALS(value, field->value_len, "keep-alive")) {
            return judge_options(head, base);
        }
    }
    set_connection_flags(head, false, field != NULL, false);
    return 1;
}

// Rules 24 and 25. One `chunked` and nothing else is served here.
static int judge_codings(const struct sl_head *head, const uint8_t *base) {
    struct list list = list_of(head, base, SL_H_TRANSFER_ENCODING);
    struct sl_span coding;
    bool chunked = false, others = false;
    while (list_next(&list, &coding)) {
        if (chunked || !is_token(coding) || EQUALS(coding.data, coding.len, "identity")) {
            return SL_E_BAD_FRAMING; // chunked is not the last, or a part is no bare coding
        }
        chunked = EQUALS(coding.data, coding.len, "chunked");
        others = others || !chunked;
    }
    if (!chunked) {
        return SL_E_BAD_FRAMING;
    }
    return others ? SL_E_CODING_UNKNOWN : 1;
}

// Rules 23 and 26: with Transfer-Encoding, only an HTTP/1.1 message without Content-Length has a
// clear end.
static int judge_chunked(struct sl_head *head, const uint8_t *base) {
    if (head->version == 0 || head->first[SL_H_CONTENT_LENGTH]) {
        return SL_E_BAD_FRAMING;
    }
    head->body = SL_BODY_CHUNKED;
    return judge_codings(head, base);
}

static int judge_request_framing(struct sl_head *head, const uint8_t *base) {
    const struct sl_field *length = sl_head_field(head, SL_H_CONTENT_LENGTH);
    if (head->first[SL_H_TRANSFER_ENCODING]) {
        return head->method == SL_METHOD_CONNECT ? SL_E_BAD_FRAMING : judge_chunked(head, base);
    }
    if (!length) {
        return 1;
    }
    struct sl_span text = {base + length->value_off, length->value_len};
    if (length->next_same || !parse_length(text, &head->content_length)) {
        return SL_E_BAD_FRAMING;
    }
    head->body = SL_BODY_LENGTH;
    // CONNECT has no content (RFC 9110 section 9.3.6): bytes behind it belong to the tunnel.
    return head->method == SL_METHOD_CONNECT && head->content_length ? SL_E_BAD_FRAMING : 1;
}

// Rule 12.
static int judge_host(struct sl_head *head, const uint8_t *base, uint32_t name_len) {
    const struct sl_field *host = sl_head_field(head, SL_H_HOST);
    if (!host) {
        return head->version == 0 ? 1 : SL_E_BAD_HOST;
    }
    bool plain = name_len > 0 && name_len == host->value_len;
    if (host->next_same ||
        (!plain && !host_is_valid(base + host->value_off, host->value_len, name_len, false))) {
        return SL_E_BAD_HOST;
    }
    if (head->form == SL_TARGET_ORIGIN || head->form == SL_TARGET_ASTERISK) {
        head->host_off = host->value_off;
        head->host_len = host->value_len;
    }
    return 1;
}

// Rule 44. Anything but one plain `100-continue` is refused, because two parsers that disagree
// about Expect disagree about when the body comes. Without a body there is nothing to expect.
static int judge_expect(struct sl_head *head, const uint8_t *base) {
    const struct sl_field *expect = sl_head_field(head, SL_H_EXPECT);
    if (!expect || head->version == 0) {
        return 1;
    }
    if (expect->next_same || !EQUALS(base + expect->value_off, expect->value_len, "100-continue")) {
        return SL_E_EXPECTATION;
    }
    if (head->body == SL_BODY_CHUNKED || head->content_length > 0) {
        head->flags |= SL_HEAD_EXPECT_CONTINUE;
    }
    return 1;
}

// Rule 41: only TRACE and OPTIONS give it a meaning.
static int judge_max_forwards(const struct sl_head *head, const uint8_t *base) {
    const struct sl_field *field = sl_head_field(head, SL_H_MAX_FORWARDS);
    if (!field || (head->method != SL_METHOD_TRACE && head->method != SL_METHOD_OPTIONS)) {
        return 1;
    }
    uint64_t hops;
    struct sl_span text = {base + field->value_off, field->value_len};
    return field->next_same || !parse_length(text, &hops) ? SL_E_BAD_FIELD : 1;
}

static int judge_request(const struct sl__scan *scan) {
    struct sl_head *head = scan->head;
    const uint8_t *base = scan->base;
    int result = judge_host(head, base, scan->host_name_len);
    if (result > 0) {
        result = judge_request_framing(head, base);
    }
    if (result > 0) {
        result = judge_connection(head, base);
    }
    if (result > 0) {
        result = judge_max_forwards(head, base);
    }
    return result > 0 ? judge_expect(head, base) : result;
}

// Rule 15: a framing field with a space before its colon may have been read differently upstream.
static bool framing_is_spaced(const struct sl_head *head) {
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct sl_field *field = &head->fields[i];
        bool framing = field->id == SL_H_CONTENT_LENGTH || field->id == SL_H_TRANSFER_ENCODING ||
                       field->id == SL_H_CONNECTION;
        if (framing && field->flags & SL_FIELD_SPACED) {
            return true;
        }
    }
    return false;
}

// Rule 22: equal lengths collapse into one.
static int judge_response_length(struct sl_head *head, const uint8_t *base) {
    struct list list = list_of(head, base, SL_H_CONTENT_LENGTH);
    struct sl_span text;
    for (bool first = true; list_next(&list, &text); first = false) {
        uint64_t length;
        if (!parse_length(text, &length) || (!first && length != head->content_length)) {
            return SL_E_UPSTREAM_BAD;
        }
        head->content_length = length;
    }
    head->body = SL_BODY_LENGTH;
    return 1;
}

// Rule 28.
static bool has_no_body(const struct sl_head *head, enum sl_method request_method) {
    return request_method == SL_METHOD_HEAD || head->status < 200 || head->status == 204 ||
           head->status == 304 || (request_method == SL_METHOD_CONNECT && head->status < 300);
}

static int judge_response(struct sl_head *head, const uint8_t *base,
                          enum sl_method request_method) {
    int result = framing_is_spaced(head) ? SL_E_UPSTREAM_BAD : judge_connection(head, base);
    if (result <= 0) {
        return result;
    }
    head->body = SL_BODY_UNTIL_CLOSE;
    if (head->first[SL_H_TRANSFER_ENCODING]) {
        result = judge_chunked(head, base);
    } else if (head->first[SL_H_CONTENT_LENGTH]) {
        result = judge_response_length(head, base);
    }
    if (has_no_body(head, request_method)) {
        head->body = SL_BODY_NONE;
    } else if (head->body == SL_BODY_UNTIL_CLOSE) {
        head->flags &= (uint16_t)~SL_HEAD_KEEP_ALIVE;
    }
    return result;
}

// ---- Which implementation

#define ROW_4(x) x, x, x, x
#define ROW_32(x) ROW_4(x), ROW_4(x), ROW_4(x), ROW_4(x), ROW_4(x), ROW_4(x), ROW_4(x), ROW_4(x)
#define TCHAR_LOW                                                                                  \
    0x3a, 0x3f, 0x3e, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3e, 0x3e, 0x3d, 0x15, 0x34, 0x15, 0x3d, 0x1c
#define HOST_LOW                                                                                   \
    0x2a, 0x3f, 0x3e, 0x3e, 0x3f, 0x3e, 0x3f, 0x3f, 0x3f, 0x3f, 0x3d, 0x17, 0x15, 0x17, 0x35, 0x1c
// Byte n is the one of " #%.?" with n as its lower four bits.
#define TARGET_SPECIAL ' ', 0, 0, '#', 0, '%', 0, 0, 0, 0, 0, 0, 0, 0, '.', '?'
#define HIGH 0, 0, 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0, 0, 0, 0, 0, 0, 0, 0
const struct sl__vectors sl__vectors = {
    .last_control = {ROW_32(0x1f)},
    .del = {ROW_32(0x7f)},
    .tab = {ROW_32('\t')},
    .one = {ROW_32(1)},
    .space = {ROW_32(' ')},
    .fragment = {ROW_32('#')},
    .first_visible = {ROW_32('!')},
    .colon = {ROW_32(':')},
    .slash = {ROW_32('/')},
    .backslash = {ROW_32('\\')},
    .dot = {ROW_32('.')},
    .percent = {ROW_32('%')},
    .mark = {ROW_32('?')},
    .underscore = {ROW_32('_')},
    .target_special = {TARGET_SPECIAL, TARGET_SPECIAL},
    .low_bits = {ROW_32(0x0f)},
    .upper_shift = {ROW_32(0x25)},
    .upper_min = {ROW_32(0x65)},
    .case_bits = {ROW_32(0x20)}, // zeros behind
    .tchar_low = {TCHAR_LOW, TCHAR_LOW},
    .host_low = {HOST_LOW, HOST_LOW},
    .high = {HIGH, HIGH},
};

static const struct parser {
    const char *name;
    sl__read_lines *lines;
} parsers[] = {
#ifdef __x86_64__
    {"avx2", sl__http1_lines_avx2},
    {"sse42", sl__http1_lines_sse42},
#endif
    {"scalar", sl__http1_lines_scalar},
};
static const struct parser *chosen = &parsers[SL_COUNT_OF(parsers) - 1];

// Which of them this processor, and the system that saves its registers, can run.
static bool runs_here(const struct parser *parser) {
#ifdef __x86_64__
    if (parser->lines == sl__http1_lines_avx2) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
               __builtin_cpu_supports("bmi2");
    }
    if (parser->lines == sl__http1_lines_sse42) {
        return __builtin_cpu_supports("sse4.2");
    }
#endif
    return parser->lines == sl__http1_lines_scalar;
}

int sl_http1_parser_use(const char *name) {
    bool any = !name || !*name;
    for (size_t i = 0; i < SL_COUNT_OF(parsers); i++) {
        bool meant = any || strcmp(name, parsers[i].name) == 0;
        if (meant && runs_here(&parsers[i])) {
            __atomic_store_n(&chosen, &parsers[i], __ATOMIC_RELAXED);
            return SL_OK;
        }
        if (meant && !any) {
            return sl_fail(SL_E_INVALID,
                           "the head parser \"%s\" needs instructions that this processor lacks",
                           name);
        }
    }
    return sl_fail(SL_E_INVALID, "there is no head parser \"%s\": scalar, sse42 and avx2 are known",
                   name);
}

const char *sl_http1_parser_name(void) { return __atomic_load_n(&chosen, __ATOMIC_RELAXED)->name; }

static int read_lines(struct sl__scan *scan) {
    return __atomic_load_n(&chosen, __ATOMIC_RELAXED)->lines(scan);
}

// ---- Doors

// Clears all before the fields. In pieces, because gcc clears more than 64 bytes by `rep stos`,
// whose start alone costs a third of a small head.
static void head_reset(struct sl_head *head) {
    enum { PIECE = 64, REST = offsetof(struct sl_head, fields) - 2 * PIECE };
    _Static_assert(REST >= 0 && REST <= PIECE, "two pieces and a rest");
    uint8_t *bytes = (uint8_t *)head;
    memset(bytes, 0, PIECE);
    memset(bytes + PIECE, 0, PIECE);
    memset(bytes + 2 * PIECE, 0, REST);
}

// Rule 4.
static int skip_empty_lines(struct sl_head *head, const uint8_t *data, size_t len) {
    for (; head->scanned < len; head->scanned++) {
        uint8_t byte = data[head->scanned];
        if (head->state == START_LF) {
            if (byte != '\n') {
                return SL_E_BAD_LINE;
            }
            head->skipped += 2;
            head->state = START;
        } else if (byte != '\r') {
            head->state = METHOD;
            return 1;
        } else if (head->skipped == 2 * EMPTY_LINES_MAX) {
            return SL_E_BAD_LINE;
        } else {
            head->state = START_LF;
        }
    }
    return 0;
}

// Offsets are 16 bits wide, so no head is longer, whatever the limits say.
static struct sl__scan scan_open(struct sl_head *head, uint8_t *data, size_t len,
                                 const struct sl_head_limits *limits) {
    uint32_t head_bytes_max = sl_min_u32(limits->head_bytes_max, UINT16_MAX);
    return (struct sl__scan){
        .head = head,
        .base = data + head->skipped,
        .at = head->scanned - head->skipped,
        .end = (uint32_t)sl_min_size(len - head->skipped, head_bytes_max),
        .line_bytes_max = limits->line_bytes_max,
        .fields_max = sl_min_u32(limits->fields_max, SL_FIELDS_MAX),
    };
}

// Partial: unless no more bytes are allowed.
static int scan_pause(struct sl__scan *scan, const struct sl_head_limits *limits) {
    struct sl_head *head = scan->head;
    head->scanned = head->skipped + scan->at;
    if (scan->end < sl_min_u32(limits->head_bytes_max, UINT16_MAX)) {
        return 0;
    }
    return head->state < FIELD ? SL_E_TARGET_TOO_LONG : SL_E_HEAD_TOO_LARGE;
}

int sl_http1_parse_request(struct sl_head *head, uint8_t *data, size_t len,
                           const struct sl_head_limits *limits) {
    if (head->scanned == 0) {
        head_reset(head);
    }
    if (head->scanned == 0 && len > 0 && data[0] != '\r') {
        head->state = METHOD; // what nearly all begin with
    } else if (head->state < METHOD) {
        int result = skip_empty_lines(head, data, len);
        if (result <= 0) {
            return result;
        }
    }
    struct sl__scan scan = scan_open(head, data, len, limits);
    int result = read_lines(&scan);
    if (result > 0) {
        return judge_request(&scan);
    }
    return result == 0 ? scan_pause(&scan, limits) : result;
}

int sl_http1_parse_response(struct sl_head *head, uint8_t *data, size_t len,
                            const struct sl_head_limits *limits, enum sl_method request_method) {
    if (head->scanned == 0) {
        head_reset(head);
        head->state = STATUS;
    }
    struct sl__scan scan = scan_open(head, data, len, limits);
    scan.response = true;
    int result = read_lines(&scan);
    if (result > 0) {
        result = judge_response(head, scan.base, request_method);
    } else if (result == 0) {
        result = scan_pause(&scan, limits);
    }
    return result < 0 ? SL_E_UPSTREAM_BAD : result;
}

// ---- Lines from a handler or a plan

// `text` with '_' read as '-' and in lower case: what a lenient reader may take it for.
static enum sl_header alias_id(const uint8_t *name, size_t len) {
    uint8_t lower[32];
    if (len > sizeof(lower)) {
        return SL_H_OTHER;
    }
    for (size_t i = 0; i < len; i++) {
        lower[i] = name[i] == '_' ? '-' : to_lower(name[i]);
    }
    return sl_header_id(lower, len);
}

int sl_http1_check_fields(const uint8_t *data, size_t len, bool *has_date) {
    const uint32_t end = (uint32_t)len;
    *has_date = false;
    if (len > UINT32_MAX) {
        return SL_E_BAD_FIELD;
    }
    for (uint32_t at = 0; at < end;) {
        uint32_t colon = scan_class(data, at, end, TOKEN);
        if (colon == at || colon == end || data[colon] != ':') {
            return SL_E_BAD_FIELD;
        }
        enum sl_header id = alias_id(data + at, colon - at);
        if (sl_header_is_hop_by_hop(id) || id == SL_H_CONTENT_LENGTH) {
            return SL_E_BAD_FIELD;
        }
        *has_date = *has_date || id == SL_H_DATE;
        uint32_t line_end = scan_text(data, colon + 1, end);
        if (end - line_end < 2 || data[line_end] != '\r' || data[line_end + 1] != '\n') {
            return SL_E_BAD_FIELD;
        }
        at = line_end + 2;
    }
    return SL_OK;
}
