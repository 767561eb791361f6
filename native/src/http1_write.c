#include "http1_write.h"

// ---- An output that remembers that it was too small

struct out {
    uint8_t *data;
    size_t len, cap;
    bool full;
};

static size_t out_len(const struct out *out) { return out->full ? 0 : out->len; }

static void put(struct out *out, const void *data, size_t len) {
    if (len > out->cap - out->len) {
        out->full = true;
        return;
    }
    if (len > 0) {
        memcpy(out->data + out->len, data, len);
    }
    out->len += len;
}
static void put_text(struct out *out, const char *text) { put(out, text, strlen(text)); }
static void put_span(struct out *out, struct sl_span span) { put(out, span.data, span.len); }

static void put_number(struct out *out, uint64_t number) {
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    put(out, digits + at, sizeof(digits) - at);
}

static void put_line(struct out *out, const char *name, struct sl_span value) {
    put_text(out, name);
    put_text(out, ": ");
    put_span(out, value);
    put_text(out, "\r\n");
}

static struct sl_span span_at(const uint8_t *data, uint32_t off, uint32_t len) {
    return (struct sl_span){data + off, len};
}

static void put_field(struct out *out, const uint8_t *data, const struct sl_field *field) {
    put(out, data + field->name_off, field->name_len);
    put_text(out, ": ");
    put(out, data + field->value_off, field->value_len);
    put_text(out, "\r\n");
}

// ---- Date

static void put_2(char *out, uint32_t number) {
    out[0] = (char)('0' + number / 10 % 10);
    out[1] = (char)('0' + number % 10);
}

struct civil {
    uint32_t year, month, day; // month 0-11
};

// The date of a day counted from 1970-01-01. Years begin in March here, so that the leap day is
// their last.
static struct civil civil_of(int64_t days) {
    int64_t shifted = days + 719468; // since 0000-03-01
    int64_t era = shifted / 146097;  // of 400 years
    uint32_t day_of_era = (uint32_t)(shifted - era * 146097);
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month = (5 * day_of_year + 2) / 153; // 0: March
    return (struct civil){
        .year = (uint32_t)era * 400 + year_of_era + (month >= 10),
        .month = (month + 2) % 12,
        .day = day_of_year - (153 * month + 2) / 5 + 1,
    };
}

void sl_date_render(struct sl_date *date, int64_t unix_s) {
    if (date->unix_s == unix_s && date->text[0]) {
        return;
    }
    SL_ASSERT(unix_s >= 0 && unix_s < 253402300800); // the year 10000
    uint32_t second = (uint32_t)(unix_s % 86400);
    struct civil civil = civil_of(unix_s / 86400);
    memcpy(date->text, "ddd, dd mmm yyyy hh:mm:ss GMT", SL_DATE_LEN + 1);
    memcpy(date->text, &"ThuFriSatSunMonTueWed"[unix_s / 86400 % 7 * 3], 3);
    put_2(date->text + 5, civil.day);
    memcpy(date->text + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[civil.month * 3], 3);
    put_2(date->text + 12, civil.year / 100);
    put_2(date->text + 14, civil.year % 100);
    put_2(date->text + 17, second / 3600);
    put_2(date->text + 20, second / 60 % 60);
    put_2(date->text + 23, second % 60);
    date->unix_s = unix_s;
}

static void put_date(struct out *out, const struct sl_date *date) {
    if (date) {
        put_line(out, "date", (struct sl_span){(const uint8_t *)date->text, SL_DATE_LEN});
    }
}

// ---- Status lines

const char *sl_reason_phrase(uint16_t status) {
    static const char *const informational[] = {"Continue", "Switching Protocols", "Processing",
                                                "Early Hints"};
    static const char *const success[] = {
        "OK",
        "Created",
        "Accepted",
        "Non-Authoritative Information",
        "No Content",
        "Reset Content",
        "Partial Content",
        "Multi-Status",
        "Already Reported",
    };
    static const char *const redirection[] = {
        "Multiple Choices",   "Moved Permanently", "Found", "See Other",
        "Not Modified",       "Use Proxy",         "",      "Temporary Redirect",
        "Permanent Redirect",
    };
    static const char *const client_error[] = {
        "Bad Request",
        "Unauthorized",
        "Payment Required",
        "Forbidden",
        "Not Found",
        "Method Not Allowed",
        "Not Acceptable",
        "Proxy Authentication Required",
        "Request Timeout",
        "Conflict",
        "Gone",
        "Length Required",
        "Precondition Failed",
        "Content Too Large",
        "URI Too Long",
        "Unsupported Media Type",
        "Range Not Satisfiable",
        "Expectation Failed",
        "",
        "",
        "",
        "Misdirected Request",
        "Unprocessable Content",
        "Locked",
        "Failed Dependency",
        "Too Early",
        "Upgrade Required",
        "",
        "Precondition Required",
        "Too Many Requests",
        "",
        "Request Header Fields Too Large",
    };
    static const char *const server_error[] = {
        "Internal Server Error",
        "Not Implemented",
        "Bad Gateway",
        "Service Unavailable",
        "Gateway Timeout",
        "HTTP Version Not Supported",
        "Variant Also Negotiates",
        "Insufficient Storage",
        "Loop Detected",
        "",
        "",
        "Network Authentication Required",
    };
    static const struct {
        const char *const *phrases;
        size_t count;
    } classes[] = {
        {informational, SL_COUNT_OF(informational)}, {success, SL_COUNT_OF(success)},
        {redirection, SL_COUNT_OF(redirection)},     {client_error, SL_COUNT_OF(client_error)},
        {server_error, SL_COUNT_OF(server_error)},
    };
    if (status < 100 || status > 599) {
        return "";
    }
    size_t class = status / 100 - 1u, index = status % 100;
    if (class == 3 && index == 51) {
        return "Unavailable For Legal Reasons";
    }
    return index < classes[class].count ? classes[class].phrases[index] : "";
}

static void put_status_line(struct out *out, uint16_t status, struct sl_span reason) {
    put_text(out, "HTTP/1.1 ");
    put_number(out, status);
    put_text(out, " ");
    put_span(out, reason);
    put_text(out, "\r\n");
}

// ---- Framing

// Rule 28: these never have a body, and 1xx and 204 not even its length.
static bool framing_is_forbidden(uint16_t status) { return status < 200 || status == 204; }

static void put_framing(struct out *out, uint8_t framing, uint64_t content_length) {
    if (framing == SL_FRAMING_LENGTH) {
        put_text(out, "content-length: ");
        put_number(out, content_length);
        put_text(out, "\r\n");
    } else if (framing == SL_FRAMING_CHUNKED) {
        put_text(out, "transfer-encoding: chunked\r\n");
    }
}

static void put_connection(struct out *out, bool close, bool keep_alive_10, bool upgrade) {
    if (upgrade) {
        put_text(out, close ? "connection: upgrade, close\r\n" : "connection: upgrade\r\n");
        put_text(out, "upgrade: websocket\r\n");
    } else if (close) {
        put_text(out, "connection: close\r\n");
    } else if (keep_alive_10) {
        put_text(out, "connection: keep-alive\r\n");
    }
}

// ---- Via

// Every Via line of `head` in one, with our own entry behind them (rule 40).
static void put_via(struct out *out, const struct sl_head *head, const uint8_t *data,
                    struct sl_span name) {
    put_text(out, "via: ");
    const struct sl_field *field = sl_head_field(head, SL_H_VIA);
    while (field) {
        if (field->value_len > 0) {
            put(out, data + field->value_off, field->value_len);
            put_text(out, ", ");
        }
        field = field->next_same ? &head->fields[field->next_same - 1] : NULL;
    }
    put_text(out, head->version == 0 ? "1.0 " : "1.1 "); // what we received
    put_span(out, name);
    put_text(out, "\r\n");
}

static uint8_t to_lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte; }
static bool is_space(uint8_t byte) { return byte == ' ' || byte == '\t'; }

// Length of a comment "(...)" at the start of data; comments nest and have quoted pairs. 0: it does
// not end.
static size_t comment_len(const uint8_t *data, size_t len) {
    size_t depth = 0;
    for (size_t at = 0; at < len; at++) {
        if (data[at] == '\\') {
            at++;
        } else if (data[at] == '(') {
            depth++;
        } else if (data[at] == ')' && --depth == 0) {
            return at + 1;
        }
    }
    return 0;
}

static bool spans_equal(struct sl_span a, struct sl_span b) {
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (to_lower(a.data[i]) != to_lower(b.data[i])) {
            return false;
        }
    }
    return true;
}

// An entry is "protocol received-by (comment)": is its second word, outside of comments, `name`?
// Behind a comment that does not end every word counts, else a client could hide our own entry in
// it and send us round in a loop.
static bool via_line_has(const uint8_t *data, size_t len, struct sl_span name) {
    size_t word = 0; // of this entry
    bool comments = true;
    for (size_t at = 0; at < len;) {
        if (data[at] == '(') {
            size_t skip = comments ? comment_len(data + at, len - at) : 0;
            comments = skip > 0;
            at += comments ? skip : 1;
        } else if (data[at] == ',' || is_space(data[at])) {
            word = data[at++] == ',' ? 0 : word;
        } else {
            size_t from = at;
            while (at < len && data[at] != ',' && data[at] != '(' && !is_space(data[at])) {
                at++;
            }
            if (++word == 2 && spans_equal((struct sl_span){data + from, at - from}, name)) {
                return true;
            }
        }
    }
    return false;
}

bool sl_http1_via_has(const struct sl_head *head, const uint8_t *data, struct sl_span name) {
    const struct sl_field *field = sl_head_field(head, SL_H_VIA);
    while (field) {
        if (via_line_has(data + field->value_off, field->value_len, name)) {
            return true;
        }
        field = field->next_same ? &head->fields[field->next_same - 1] : NULL;
    }
    return false;
}

// ---- Responses

static void put_edited(struct out *out, struct sl_span fields, const struct sl_edits *edits) {
    if (!edits) {
        put_span(out, fields);
    } else if (fields.len > out->cap - out->len) {
        out->full = true;
    } else {
        out->len += sl_edits_filter(edits, out->data + out->len, fields);
    }
}

static void put_edit_lines(struct out *out, const struct sl_edits *edits) {
    if (!edits) {
        return;
    }
    if (edits->bytes_max > out->cap - out->len) {
        out->full = true;
    } else {
        out->len += sl_edits_lines(edits, out->data + out->len);
    }
}

static bool stays(const struct sl_edits *edits, const uint8_t *name, size_t len) {
    return !edits || sl_edits_keep(edits, name, len);
}

size_t sl_http1_write_response(uint8_t *out_data, size_t cap, const struct sl_response_head *head) {
    struct out out = {.data = out_data, .cap = cap};
    put_status_line(&out, head->status, sl_span_of(sl_reason_phrase(head->status)));
    if (!framing_is_forbidden(head->status)) {
        put_framing(&out, head->framing, head->content_length);
    }
    put_date(&out, head->has_date ? NULL : head->date);
    bool close = head->close || (head->framing == SL_FRAMING_CLOSE && head->status != 101);
    put_connection(&out, close, head->keep_alive_10, head->upgrade);
    put_edited(&out, head->fields, head->edits);
    put_edit_lines(&out, head->edits);
    put_text(&out, "\r\n");
    return out_len(&out);
}

size_t sl_http1_prepare(struct sl_prepared *prepared, uint8_t *out_data, size_t cap,
                        const struct sl_response_head *head, struct sl_span body) {
    static const char mark[] = "\r\ndate: "; // its first place is ours: no field line comes before
    size_t n = sl_http1_write_response(out_data, cap, head);
    if (n == 0 || body.len > cap - n) {
        return 0;
    }
    const uint8_t *date = memmem(out_data, n, mark, sizeof(mark) - 1);
    SL_ASSERT(date);
    if (body.len > 0) {
        memcpy(out_data + n, body.data, body.len);
    }
    *prepared = (struct sl_prepared){
        .bytes = out_data,
        .head_len = (uint32_t)n,
        .len = (uint32_t)(n + body.len),
        .date_off = (uint32_t)(date - out_data + sizeof(mark) - 1),
        .names = sl_edits_names(head->fields),
    };
    return prepared->len;
}

size_t sl_http1_write_prepared_edited(uint8_t *out, const struct sl_prepared *prepared,
                                      bool with_body, const struct sl_date *date,
                                      const struct sl_edits *edits) {
    size_t n = prepared->head_len - 2u, body = prepared->len - prepared->head_len;
    sl_http1_write_prepared(out, prepared, (uint32_t)n, date);
    n += sl_edits_lines(edits, out + n);
    memcpy(out + n, "\r\n", 2);
    n += 2;
    if (with_body) {
        memcpy(out + n, prepared->bytes + prepared->head_len, body);
        n += body;
    }
    return n;
}

// What a lenient reader takes a name with '_' for.
static enum sl_header alias_of(const uint8_t *data, const struct sl_field *field) {
    uint8_t name[32];
    if (!(field->flags & SL_FIELD_UNDERSCORE) || field->name_len > sizeof(name)) {
        return SL_H_OTHER;
    }
    for (size_t i = 0; i < field->name_len; i++) {
        uint8_t byte = data[field->name_off + i];
        name[i] = byte == '_' ? '-' : byte;
    }
    return sl_header_id(name, field->name_len);
}

static bool is_framing(enum sl_header id) {
    return sl_header_is_hop_by_hop(id) || id == SL_H_CONTENT_LENGTH;
}

// Neither of one connection (rule 34), nor written by us.
static bool response_keeps(const uint8_t *data, const struct sl_field *field) {
    if (field->flags & SL_FIELD_NOMINATED || sl_header_is_hop_by_hop(field->id)) {
        return false;
    }
    switch (field->id) {
    case SL_H_CONTENT_LENGTH:
    case SL_H_VIA:
    case SL_H_PROXY_AUTHENTICATE:
        return false;
    default:
        return !is_framing(alias_of(data, field)); // rule 20
    }
}

size_t sl_http1_forward_response(uint8_t *out_data, size_t cap,
                                 const struct sl_forward_response *forward) {
    const struct sl_head *head = forward->head;
    const uint8_t *data = forward->data;
    const struct sl_edits *edits = forward->edits;
    struct out out = {.data = out_data, .cap = cap};
    struct sl_span reason = span_at(data, head->reason_off, head->reason_len);
    put_status_line(&out, head->status,
                    reason.len ? reason : sl_span_of(sl_reason_phrase(head->status)));
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct sl_field *field = &head->fields[i];
        if (response_keeps(data, field) && stays(edits, data + field->name_off, field->name_len)) {
            put_field(&out, data, field);
        }
    }
    if (!framing_is_forbidden(head->status)) {
        put_framing(&out, forward->framing, forward->content_length);
    }
    if (stays(edits, (const uint8_t *)"via", 3)) {
        put_via(&out, head, data, forward->via);
    }
    put_edit_lines(&out, edits);
    if (head->status >= 200) {
        put_date(&out, head->first[SL_H_DATE] ? NULL : forward->date);
        put_connection(&out, forward->close || forward->framing == SL_FRAMING_CLOSE,
                       forward->keep_alive_10, false);
    } else if (forward->upgrade) {
        put_connection(&out, false, false, true);
    }
    put_text(&out, "\r\n");
    return out_len(&out);
}

// ---- Requests

// Origin form with the bytes as they came (rule 42). An absolute target without a path is "/", or
// "*" for OPTIONS (RFC 9112 section 3.2.4).
static void put_target(struct out *out, const struct sl_head *head, const uint8_t *data) {
    if (head->form == SL_TARGET_AUTHORITY) {
        put(out, data + head->target_off, head->target_len);
    } else if (head->path_len > 0) {
        put(out, data + head->path_off, head->path_len);
    } else {
        put_text(out, head->method == SL_METHOD_OPTIONS && !head->query_off ? "*" : "/");
    }
    if (head->query_off) {
        put_text(out, "?");
        put(out, data + head->query_off, head->query_len);
    }
}

// Rule 41: only TRACE and OPTIONS give Max-Forwards a meaning.
static bool counts_hops(const struct sl_head *head) {
    return head->method == SL_METHOD_TRACE || head->method == SL_METHOD_OPTIONS;
}

// Fields that we write ourselves, whoever said them.
static bool is_rewritten(const struct sl_head *head, enum sl_header id) {
    switch (id) {
    case SL_H_HOST:
    case SL_H_CONTENT_LENGTH:
    case SL_H_EXPECT:
    case SL_H_VIA:
    case SL_H_X_FORWARDED_FOR:
    case SL_H_X_FORWARDED_HOST:
    case SL_H_X_FORWARDED_PROTO:
        return true;
    case SL_H_MAX_FORWARDS:
        return counts_hops(head);
    default:
        return sl_header_is_hop_by_hop(id);
    }
}

// "x-forwarded-", also with '_'.
static bool says_who_asks(const uint8_t *data, const struct sl_field *field) {
    static const char prefix[] = "x-forwarded-";
    size_t len = sizeof(prefix) - 1, same = 0;
    while (same < len && same < field->name_len &&
           (data[field->name_off + same] == (uint8_t)prefix[same] ||
            (prefix[same] == '-' && data[field->name_off + same] == '_'))) {
        same++;
    }
    return same == len;
}

// What no client is trusted to say, or says to us alone.
static bool is_not_believed(enum sl_header id) {
    return id == SL_H_FORWARDED || id == SL_H_X_REAL_IP || id == SL_H_PROXY_AUTHORIZATION;
}

// End to end, not nominated away, and not one that we write ourselves. Forwarded, X-Real-IP and X-Forwarded-* say who asks and how: no client
// is trusted to say that yet, so they do not go on, unless the app has put them there. Rule 20: nor does what a lenient reader takes for one of
// them, and an alias of a framing field not even if the app has put it there.
static bool request_keeps(const struct sl_forward_request *forward, const struct sl_field *field) {
    const struct sl_head *head = forward->head;
    const uint8_t *data = forward->data;
    enum sl_header alias = alias_of(data, field);
    if (is_rewritten(head, field->id) || is_framing(alias)) {
        return false;
    }
    if (field->flags & (SL_FIELD_NOMINATED | SL_FIELD_OURS)) {
        return field->flags & SL_FIELD_OURS;
    }
    if (field->flags & SL_FIELD_UNDERSCORE &&
        (!forward->underscores || is_rewritten(head, alias) || is_not_believed(alias))) {
        return false;
    }
    return !is_not_believed(field->id) && !says_who_asks(data, field);
}

static void put_max_forwards(struct out *out, const struct sl_head *head, const uint8_t *data) {
    const struct sl_field *field = sl_head_field(head, SL_H_MAX_FORWARDS);
    if (!field || !counts_hops(head)) {
        return;
    }
    uint64_t hops = 0;
    for (uint32_t i = 0; i < field->value_len; i++) {
        hops = hops * 10 +
               (uint64_t)(data[field->value_off + i] - '0'); // the parser took digits in range only
    }
    put_text(out, "max-forwards: ");
    put_number(out, hops ? hops - 1 : 0);
    put_text(out, "\r\n");
}

static void put_forwarded(struct out *out, const struct sl_forward_request *forward,
                          struct sl_span host) {
    put_line(out, "x-forwarded-for", forward->client_ip);
    if (host.len > 0) {
        put_line(out, "x-forwarded-host", host);
    }
    put_line(out, "x-forwarded-proto", sl_span_of(forward->tls ? "https" : "http"));
}

size_t sl_http1_forward_request(uint8_t *out_data, size_t cap,
                                const struct sl_forward_request *forward) {
    const struct sl_head *head = forward->head;
    const uint8_t *data = forward->data;
    struct sl_span host = span_at(data, head->host_off, head->host_len);
    struct out out = {.data = out_data, .cap = cap};
    put(&out, data, head->method_len);
    put_text(&out, " ");
    put_target(&out, head, data);
    put_text(&out, " HTTP/1.1\r\n");
    put_line(&out, "host", host.len > 0 ? host : forward->host);
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (request_keeps(forward, &head->fields[i])) {
            put_field(&out, data, &head->fields[i]);
        }
    }
    put_max_forwards(&out, head, data);
    put_framing(&out, forward->framing, forward->content_length);
    put_via(&out, head, data, forward->via);
    put_forwarded(&out, forward, host);
    if (forward->early && !sl_head_field(head, SL_H_EARLY_DATA)) {
        put_text(&out, "early-data: 1\r\n");
    }
    if (forward->expect_continue) {
        put_text(&out, "expect: 100-continue\r\n");
    }
    if (forward->upgrade) {
        put_connection(&out, false, false, true);
    }
    put_text(&out, "\r\n");
    return out_len(&out);
}
