#include "http1_parse.h"

#include <arpa/inet.h>

#define EMPTY_LINES_MAX 4 // rule 4
#define METHOD_BYTES_MAX 32
#define VERSION_BYTES 8 // "HTTP/1.1"
#define HOST_BYTES_MAX 255
#define CONNECTION_OPTIONS_MAX 32

// Bits of `classes`.
enum {
    TOKEN = 1,  // tchar of RFC 9110 section 5.6.2
    TARGET = 2, // 0x21-0x7e; not '#', which begins a fragment and has no place in a request
    TEXT = 4,   // of a field value: HTAB, SP, VCHAR, obs-text
    HOST = 8,   // of a registered name: unreserved and sub-delims; no '%', see host_is_valid
    UNDERSCORE = 16,
    UPPER = 32, // the bit between upper and lower case
};

static const uint8_t classes[256] = {
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

static inline bool is_class(uint8_t byte, uint8_t class) { return classes[byte] & class; }
static inline bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }
static inline bool is_space(uint8_t byte) { return byte == ' ' || byte == '\t'; }
static inline uint8_t to_lower(uint8_t byte) { return byte | (classes[byte] & UPPER); }

static inline uint64_t load_8(const void *data) {
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}
static inline uint32_t load_4(const void *data) {
    uint32_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}

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

// ---- Known names

// The compiler proves that it is perfect: two equal case labels do not compile.
#define NAME_HASH(len, first, last) (((len) + (first)*3 + (last)*35) & 127)

#define NAME_SPAN(name, value, text) [value] = {text, sizeof(text) - 1},
static const struct {
    const char *text;
    size_t len;
} names[SL_H_COUNT] = {SL_HEADER_MAP(NAME_SPAN)};
#undef NAME_SPAN

static enum sl_header name_candidate(size_t len, uint8_t first, uint8_t last) {
    switch (NAME_HASH(len, first, last)) {
    case NAME_HASH(4, 'h', 't'):
        return SL_H_HOST;
    case NAME_HASH(14, 'c', 'h'):
        return SL_H_CONTENT_LENGTH;
    case NAME_HASH(17, 't', 'g'):
        return SL_H_TRANSFER_ENCODING;
    case NAME_HASH(10, 'c', 'n'):
        return SL_H_CONNECTION;
    case NAME_HASH(10, 'k', 'e'):
        return SL_H_KEEP_ALIVE;
    case NAME_HASH(16, 'p', 'n'):
        return SL_H_PROXY_CONNECTION;
    case NAME_HASH(2, 't', 'e'):
        return SL_H_TE;
    case NAME_HASH(7, 't', 'r'):
        return SL_H_TRAILER;
    case NAME_HASH(7, 'u', 'e'):
        return SL_H_UPGRADE;
    case NAME_HASH(6, 'e', 't'):
        return SL_H_EXPECT;
    case NAME_HASH(3, 'v', 'a'):
        return SL_H_VIA;
    case NAME_HASH(9, 'f', 'd'):
        return SL_H_FORWARDED;
    case NAME_HASH(15, 'x', 'r'):
        return SL_H_X_FORWARDED_FOR;
    case NAME_HASH(16, 'x', 't'):
        return SL_H_X_FORWARDED_HOST;
    case NAME_HASH(17, 'x', 'o'):
        return SL_H_X_FORWARDED_PROTO;
    case NAME_HASH(9, 'x', 'p'):
        return SL_H_X_REAL_IP;
    case NAME_HASH(6, 'a', 't'):
        return SL_H_ACCEPT;
    case NAME_HASH(15, 'a', 'g'):
        return SL_H_ACCEPT_ENCODING;
    case NAME_HASH(15, 'a', 'e'):
        return SL_H_ACCEPT_LANGUAGE;
    case NAME_HASH(13, 'a', 'n'):
        return SL_H_AUTHORIZATION;
    case NAME_HASH(13, 'c', 'l'):
        return SL_H_CACHE_CONTROL;
    case NAME_HASH(12, 'c', 'e'):
        return SL_H_CONTENT_TYPE;
    case NAME_HASH(16, 'c', 'g'):
        return SL_H_CONTENT_ENCODING;
    case NAME_HASH(6, 'c', 'e'):
        return SL_H_COOKIE;
    case NAME_HASH(4, 'd', 'e'):
        return SL_H_DATE;
    case NAME_HASH(4, 'e', 'g'):
        return SL_H_ETAG;
    case NAME_HASH(8, 'i', 'h'):
        return SL_H_IF_MATCH;
    case NAME_HASH(13, 'i', 'h'):
        return SL_H_IF_NONE_MATCH;
    case NAME_HASH(17, 'i', 'e'):
        return SL_H_IF_MODIFIED_SINCE;
    case NAME_HASH(8, 'l', 'n'):
        return SL_H_LOCATION;
    case NAME_HASH(6, 'o', 'n'):
        return SL_H_ORIGIN;
    case NAME_HASH(5, 'r', 'e'):
        return SL_H_RANGE;
    case NAME_HASH(7, 'r', 'r'):
        return SL_H_REFERER;
    case NAME_HASH(6, 's', 'r'):
        return SL_H_SERVER;
    case NAME_HASH(10, 's', 'e'):
        return SL_H_SET_COOKIE;
    case NAME_HASH(10, 'u', 't'):
        return SL_H_USER_AGENT;
    case NAME_HASH(4, 'v', 'y'):
        return SL_H_VARY;
    case NAME_HASH(12, 'x', 'd'):
        return SL_H_X_REQUEST_ID;
    case NAME_HASH(10, 'e', 'a'):
        return SL_H_EARLY_DATA;
    case NAME_HASH(18, 'p', 'e'):
        return SL_H_PROXY_AUTHENTICATE;
    case NAME_HASH(19, 'p', 'n'):
        return SL_H_PROXY_AUTHORIZATION;
    case NAME_HASH(12, 'm', 's'):
        return SL_H_MAX_FORWARDS;
    default:
        return SL_H_OTHER;
    }
}

enum sl_header sl_header_id(const uint8_t *lower_name, size_t len) {
    if (len == 0) {
        return SL_H_OTHER;
    }
    enum sl_header id = name_candidate(len, lower_name[0], lower_name[len - 1]);
    if (names[id].len == len && same_bytes(lower_name, names[id].text, len)) {
        return id;
    }
    return SL_H_OTHER;
}

static enum sl_method method_candidate(const uint8_t *name, size_t len) {
    switch (len) {
    case 3:
        return name[0] == 'G' ? SL_METHOD_GET : SL_METHOD_PUT;
    case 4:
        return name[0] == 'H' ? SL_METHOD_HEAD : SL_METHOD_POST;
    case 5:
        return name[0] == 'P'   ? SL_METHOD_PATCH
               : name[0] == 'T' ? SL_METHOD_TRACE
                                : SL_METHOD_QUERY;
    case 6:
        return SL_METHOD_DELETE;
    case 7:
        return name[0] == 'O' ? SL_METHOD_OPTIONS : SL_METHOD_CONNECT;
    default:
        return SL_METHOD_OTHER;
    }
}

const char *sl_method_name(enum sl_method method) {
    switch (method) {
#define METHOD_CASE(name, value)                                                                   \
    case SL_METHOD_##name:                                                                         \
        return #name;
        SL_METHOD_MAP(METHOD_CASE)
#undef METHOD_CASE
    default:
        return "";
    }
}

enum sl_method sl_method_id(const uint8_t *name, size_t len) {
    enum sl_method method = method_candidate(name, len);
    // A candidate has `len` bytes, OTHER is "".
    return method && memcmp(sl_method_name(method), name, len) == 0 ? method : SL_METHOD_OTHER;
}

// ---- Scans: each returns the first offset in [at, end) that does not belong, or `end`. These are
// the hot loops that wider instructions may replace; eight bytes of `at` on are read at once only
// where they lie before `end`.

#define ONES 0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

// The high bit of each byte of `word` that is below `limit` (at most 0x80) or equals `a` or `b`.
// Bytes behind the first such one may be marked wrongly, by a borrow, so only the first mark
// counts.
static inline uint64_t stops_of(uint64_t word, uint8_t limit, uint8_t a, uint8_t b) {
    uint64_t is_a = word ^ (ONES * a), is_b = word ^ (ONES * b);
    return (((word - ONES * limit) & ~word) | ((is_a - ONES) & ~is_a) | ((is_b - ONES) & ~is_b)) &
           HIGHS;
}
static inline uint32_t first_stop(uint64_t stops) { return (uint32_t)__builtin_ctzll(stops) / 8; }
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte is the lowest");

static uint32_t scan_class(const uint8_t *base, uint32_t at, uint32_t end, uint8_t class) {
    while (at < end && is_class(base[at], class)) {
        at++;
    }
    return at;
}

static inline uint32_t scan_text(const uint8_t *base, uint32_t at, uint32_t end) {
    while (end - at >= 8) {
        uint64_t stops = stops_of(load_8(base + at), 0x20, 0x7f, 0x7f);
        if (!stops) {
            at += 8;
            continue;
        }
        at += first_stop(stops);
        if (base[at] != '\t') {
            return at;
        }
        at++;
    }
    return scan_class(base, at, end, TEXT);
}

static inline uint32_t scan_target(const uint8_t *base, uint32_t at, uint32_t end) {
    while (end - at >= 8) {
        uint64_t word = load_8(base + at);
        uint64_t stops = stops_of(word, 0x21, 0x7f, '#') | (word & HIGHS);
        if (stops) {
            return at + first_stop(stops);
        }
        at += 8;
    }
    return scan_class(base, at, end, TARGET);
}

// Lower-cases what it passes; adds the classes of it to *seen.
static uint32_t scan_name(uint8_t *base, uint32_t at, uint32_t end, uint8_t *seen) {
    for (; at < end; at++) {
        uint8_t class = classes[base[at]];
        if (!(class & TOKEN)) {
            break;
        }
        *seen |= class;
        base[at] |= class & UPPER;
    }
    return at;
}

// ---- Small grammars

static bool equals(const uint8_t *data, size_t len, const char *lower_text) {
    for (size_t i = 0; i < len; i++) {
        if (to_lower(data[i]) != (uint8_t)lower_text[i]) {
            return false; // also at lower_text's NUL: no token has one
        }
    }
    return lower_text[len] == '\0';
}

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

// uri-host [ ":" port ] with a host of 1 to 255 bytes. '%' is refused although the grammar of a
// registered name has it: a URL parser behind us would decode it into another name than the one
// that was routed.
static bool host_is_valid(const uint8_t *data, size_t len, bool need_port) {
    if (len == 0) {
        return false;
    }
    size_t host_len =
        data[0] == '[' ? bracketed_len(data, len) : scan_class(data, 0, (uint32_t)len, HOST);
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

// ---- State between calls

enum {
    START = 0,
    START_LF,
    METHOD,
    TARGET_BYTES,
    VERSION,
    STATUS,
    REASON,
    LINE_LF, // all up to here belong to the first line
    FIELD,
    NAME,
    NAME_SPACE,
    VALUE_SPACE,
    VALUE,
    VALUE_LF,
    END_LF,
};

struct scan {
    struct sl_head *head;
    uint8_t *base; // the head's first byte
    uint32_t at;   // next byte to look at
    uint32_t end;  // bytes that may be looked at
    uint32_t line_bytes_max, fields_max;
    bool response;
};

// In two steps, because gcc clears more than 128 bytes by `rep stos`, whose start alone costs a
// tenth of a small head.
static void head_reset(struct sl_head *head) {
    memset(head, 0, offsetof(struct sl_head, first));
    memset(head->first, 0, sizeof(head->first));
}
_Static_assert(offsetof(struct sl_head, fields) ==
                   offsetof(struct sl_head, first) + sizeof(((struct sl_head *)0)->first),
               "all that lies before the fields is cleared");

// A step of a state answers 1 (go on), 0 (partial) or a status.

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

static int step_line_feed(struct scan *scan, uint32_t next_state, int bad) {
    if (scan->at == scan->end) {
        return 0;
    }
    if (scan->base[scan->at] != '\n') {
        return bad;
    }
    scan->at++;
    scan->head->state = next_state;
    return 1;
}

// ---- Request line

static int step_method(struct scan *scan) {
    struct sl_head *head = scan->head;
    uint32_t end = sl_min_u32(scan->end, METHOD_BYTES_MAX + 1);
    scan->at = scan_class(scan->base, scan->at, end, TOKEN);
    if (scan->at > METHOD_BYTES_MAX) {
        return SL_E_METHOD_UNKNOWN;
    }
    if (scan->at == scan->end) {
        return 0;
    }
    if (scan->at == 0 || scan->base[scan->at] != ' ') {
        return SL_E_BAD_LINE;
    }
    head->method_len = (uint16_t)scan->at;
    head->method = (uint8_t)sl_method_id(scan->base, scan->at);
    scan->at++;
    head->target_off = (uint16_t)scan->at;
    head->state = TARGET_BYTES;
    return 1;
}

// The target may end where the rest of the line, " HTTP/1.1", still fits.
static int step_target(struct scan *scan) {
    struct sl_head *head = scan->head;
    uint32_t rest = 1 + VERSION_BYTES;
    uint32_t target_end_max = scan->line_bytes_max > rest ? scan->line_bytes_max - rest : 0;
    uint32_t end = sl_min_u32(scan->end, target_end_max + 1);
    if (scan->at < end) {
        scan->at = scan_target(scan->base, scan->at, end);
    }
    if (scan->at > target_end_max) {
        return SL_E_TARGET_TOO_LONG;
    }
    if (scan->at == scan->end) {
        return 0;
    }
    if (scan->at == head->target_off || scan->base[scan->at] != ' ') {
        return SL_E_BAD_LINE;
    }
    head->target_len = (uint16_t)(scan->at - head->target_off);
    scan->at++;
    head->state = VERSION;
    return 1;
}

// Compares with `pattern`, in which 'd' is any digit, from offset `from` on. 1: all of it was
// there.
static int step_pattern(struct scan *scan, uint32_t from, const char *pattern,
                        uint32_t pattern_len) {
    for (; scan->at - from < pattern_len; scan->at++) {
        if (scan->at == scan->end) {
            return 0;
        }
        uint8_t byte = scan->base[scan->at], want = (uint8_t)pattern[scan->at - from];
        if (want == 'd' ? !is_digit(byte) : byte != want) {
            return SL_E_BAD_LINE;
        }
    }
    return 1;
}

static int step_version(struct scan *scan) {
    struct sl_head *head = scan->head;
    uint32_t from = head->target_off + head->target_len + 1u;
    int result = step_pattern(scan, from, "HTTP/d.d\r", VERSION_BYTES + 1);
    if (result <= 0) {
        return result;
    }
    uint8_t major = scan->base[from + 5], minor = scan->base[from + 7];
    if (major != '1' || minor > '1') {
        return SL_E_BAD_VERSION;
    }
    head->version = minor - '0';
    head->state = LINE_LF;
    return 1;
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
    return len >= 3 && equals(data, 3, "%2e") ? 3 : 0;
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

static void set_path_flags(struct sl_head *head, const uint8_t *base) {
    const uint8_t *path = base + head->path_off;
    bool escaped = memchr(path, '%', head->path_len) != NULL;
    if (escaped) {
        head->flags |= SL_HEAD_PATH_ESCAPED;
    }
    if ((escaped || memchr(path, '.', head->path_len)) && has_dot_segment(path, head->path_len)) {
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
    set_path_flags(head, base);
}

static int judge_authority(struct sl_head *head, const uint8_t *base, uint32_t off, uint32_t end,
                           bool need_port) {
    if (!host_is_valid(base + off, end - off, need_port)) {
        return SL_E_BAD_HOST;
    }
    head->host_off = (uint16_t)off;
    head->host_len = (uint16_t)(end - off);
    return 1;
}

static int judge_absolute(struct sl_head *head, const uint8_t *base) {
    const uint8_t *target = base + head->target_off;
    uint32_t off = head->target_off, end = off + head->target_len;
    if (head->target_len >= 7 && equals(target, 7, "http://")) {
        off += 7;
    } else if (head->target_len >= 8 && equals(target, 8, "https://")) {
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

static int judge_target(struct sl_head *head, const uint8_t *base) {
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

static int request_line(struct scan *scan) {
    int result = 1;
    while (result > 0 && scan->head->state < FIELD) {
        switch (scan->head->state) {
        case METHOD:
            result = step_method(scan);
            break;
        case TARGET_BYTES:
            result = step_target(scan);
            break;
        case VERSION:
            result = step_version(scan);
            break;
        default:
            result = step_line_feed(scan, FIELD, SL_E_BAD_LINE);
            if (result > 0) {
                result = judge_target(scan->head, scan->base);
            }
            break;
        }
    }
    return result;
}

// ---- Status line

// "HTTP/1.1 200", then SP and a reason, or the line's end: the reason and its space may be missing.
static int step_status(struct scan *scan) {
    struct sl_head *head = scan->head;
    int result = step_pattern(scan, 0, "HTTP/1.d ddd", 12);
    if (result <= 0) {
        return result;
    }
    if (scan->at == scan->end) {
        return 0;
    }
    const uint8_t *base = scan->base;
    head->version = base[7] - '0';
    head->status = (uint16_t)((base[9] - '0') * 100 + (base[10] - '0') * 10 + (base[11] - '0'));
    if (head->version > 1 || head->status < 100 || head->status > 599) {
        return SL_E_UPSTREAM_BAD;
    }
    if (base[12] != ' ' && base[12] != '\r') {
        return SL_E_UPSTREAM_BAD;
    }
    head->state = base[12] == ' ' ? REASON : LINE_LF;
    head->reason_off = (uint16_t)(++scan->at);
    return 1;
}

static int step_reason(struct scan *scan) {
    struct sl_head *head = scan->head;
    scan->at = scan_text(scan->base, scan->at, scan->end);
    if (scan->at > scan->line_bytes_max) {
        return SL_E_UPSTREAM_BAD;
    }
    if (scan->at == scan->end) {
        return 0;
    }
    head->reason_len = (uint16_t)(scan->at - head->reason_off);
    head->state = LINE_LF;
    return scan->base[scan->at++] == '\r' ? 1 : SL_E_UPSTREAM_BAD;
}

static int status_line(struct scan *scan) {
    int result = 1;
    while (result > 0 && scan->head->state < FIELD) {
        switch (scan->head->state) {
        case STATUS:
            result = step_status(scan);
            break;
        case REASON:
            result = step_reason(scan);
            break;
        default:
            result = step_line_feed(scan, FIELD, SL_E_UPSTREAM_BAD);
            break;
        }
    }
    return result;
}

// ---- Field lines

// The field is whole: finds its id, links it behind the last one of its name (rule 18).
static void field_commit(struct sl_head *head, const uint8_t *base) {
    struct sl_field *field = &head->fields[head->field_count++];
    field->id = (uint8_t)sl_header_id(base + field->name_off, field->name_len);
    if (field->id == SL_H_OTHER) {
        return;
    }
    uint16_t *link = &head->first[field->id];
    while (*link) {
        link = &head->fields[*link - 1].next_same;
    }
    *link = head->field_count;
}

static uint16_t trimmed_len(const uint8_t *base, uint32_t off, uint32_t end) {
    while (end > off && is_space(base[end - 1])) {
        end--;
    }
    return (uint16_t)(end - off);
}

// Reads lines up to and with the empty one. One function, because the states are steps of one hot
// loop.
static int field_lines(struct scan *scan) {
    struct sl_head *head = scan->head;
    uint8_t *base = scan->base;
    uint32_t at = scan->at, end = scan->end;
    int result = SL_E_BAD_FIELD;
    for (;;) {
        struct sl_field *field = &head->fields[head->field_count];
        switch (head->state) {
        case FIELD:
            if (at == end) {
                goto partial;
            }
            if (base[at] == '\r') {
                at++;
                head->state = END_LF;
                break;
            }
            if (!is_class(base[at], TOKEN)) {
                goto done; // rules 3, 5, 15, 16
            }
            if (head->field_count == scan->fields_max) {
                result = SL_E_TOO_MANY_FIELDS;
                goto done;
            }
            *field = (struct sl_field){.name_off = (uint16_t)at};
            head->state = NAME;
            // fall through
        case NAME: {
            uint8_t seen = 0;
            at = scan_name(base, at, end, &seen);
            field->flags |= seen & UNDERSCORE ? SL_FIELD_UNDERSCORE : 0;
            if (at == end) {
                goto partial;
            }
            field->name_len = (uint16_t)(at - field->name_off);
            if (base[at] != ':') {
                if (!scan->response || !is_space(base[at])) {
                    goto done;
                }
                field->flags |= SL_FIELD_SPACED;
                head->state = NAME_SPACE;
                break;
            }
            at++;
            head->state = VALUE_SPACE;
        }
            // fall through
        case VALUE_SPACE:
            while (at < end && is_space(base[at])) {
                at++;
            }
            if (at == end) {
                goto partial;
            }
            field->value_off = (uint16_t)at;
            head->state = VALUE;
            // fall through
        case VALUE:
            at = scan_text(base, at, end);
            if (at == end) {
                goto partial;
            }
            if (base[at] != '\r') {
                goto done; // rules 3, 17
            }
            field->value_len = trimmed_len(base, field->value_off, at);
            at++;
            head->state = VALUE_LF;
            // fall through
        case VALUE_LF:
            if (at == end) {
                goto partial;
            }
            if (base[at] != '\n') {
                goto done; // rule 2
            }
            at++;
            field_commit(head, base);
            head->state = FIELD;
            break;
        case NAME_SPACE:
            while (at < end && is_space(base[at])) {
                at++;
            }
            if (at == end) {
                goto partial;
            }
            if (base[at] != ':') {
                goto done;
            }
            at++;
            head->state = VALUE_SPACE;
            break;
        default: // END_LF
            if (at == end) {
                goto partial;
            }
            if (base[at] == '\n') {
                at++;
                head->len = at;
                result = 1;
            }
            goto done;
        }
    }
partial:
    result = 0;
done:
    scan->at = at;
    return result;
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

static int judge_connection(struct sl_head *head, const uint8_t *base) {
    struct list list = list_of(head, base, SL_H_CONNECTION);
    struct sl_span option;
    bool close = false, keep_alive = head->version == 1, upgrade = false;
    uint32_t options = 0;
    while (list_next(&list, &option)) {
        if (option.len == 0) {
            continue;
        }
        if (!is_token(option) || ++options > CONNECTION_OPTIONS_MAX) {
            return SL_E_BAD_FIELD;
        }
        if (equals(option.data, option.len, "close")) {
            close = true;
        } else if (equals(option.data, option.len, "keep-alive")) {
            keep_alive = true;
        } else if (equals(option.data, option.len, "upgrade")) {
            upgrade = true;
        } else {
            nominate(head, base, option);
        }
    }
    if (keep_alive && !close) {
        head->flags |= SL_HEAD_KEEP_ALIVE;
    }
    if (upgrade && head->version == 1 && head->first[SL_H_UPGRADE]) {
        head->flags |= SL_HEAD_UPGRADE;
    }
    return 1;
}

// Rules 24 and 25. One `chunked` and nothing else is served here.
static int judge_codings(const struct sl_head *head, const uint8_t *base) {
    struct list list = list_of(head, base, SL_H_TRANSFER_ENCODING);
    struct sl_span coding;
    bool chunked = false, others = false;
    while (list_next(&list, &coding)) {
        if (chunked || !is_token(coding) || equals(coding.data, coding.len, "identity")) {
            return SL_E_BAD_FRAMING; // chunked is not the last, or a part is no bare coding
        }
        chunked = equals(coding.data, coding.len, "chunked");
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
static int judge_host(struct sl_head *head, const uint8_t *base) {
    const struct sl_field *host = sl_head_field(head, SL_H_HOST);
    if (!host) {
        return head->version == 0 ? 1 : SL_E_BAD_HOST;
    }
    if (host->next_same || !host_is_valid(base + host->value_off, host->value_len, false)) {
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
    if (expect->next_same || !equals(base + expect->value_off, expect->value_len, "100-continue")) {
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

static int judge_request(struct sl_head *head, const uint8_t *base) {
    int result = judge_host(head, base);
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

// ---- Doors

// Offsets are 16 bits wide, so no head is longer, whatever the limits say.
static struct scan scan_open(struct sl_head *head, uint8_t *data, size_t len,
                             const struct sl_head_limits *limits) {
    uint32_t head_bytes_max = sl_min_u32(limits->head_bytes_max, UINT16_MAX);
    return (struct scan){
        .head = head,
        .base = data + head->skipped,
        .at = head->scanned - head->skipped,
        .end = (uint32_t)sl_min_size(len - head->skipped, head_bytes_max),
        .line_bytes_max = limits->line_bytes_max,
        .fields_max = sl_min_u32(limits->fields_max, SL_FIELDS_MAX),
    };
}

// Partial: unless no more bytes are allowed.
static int scan_pause(struct scan *scan, const struct sl_head_limits *limits) {
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
    if (head->state < METHOD) {
        int result = skip_empty_lines(head, data, len);
        if (result <= 0) {
            return result;
        }
    }
    struct scan scan = scan_open(head, data, len, limits);
    int result = request_line(&scan);
    if (result > 0) {
        result = field_lines(&scan);
    }
    if (result > 0) {
        return judge_request(head, scan.base);
    }
    return result == 0 ? scan_pause(&scan, limits) : result;
}

int sl_http1_parse_response(struct sl_head *head, uint8_t *data, size_t len,
                            const struct sl_head_limits *limits, enum sl_method request_method) {
    if (head->scanned == 0) {
        head_reset(head);
        head->state = STATUS;
    }
    struct scan scan = scan_open(head, data, len, limits);
    scan.response = true;
    int result = status_line(&scan);
    if (result > 0) {
        result = field_lines(&scan);
    }
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
