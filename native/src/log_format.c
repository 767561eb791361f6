#include <arpa/inet.h>
#include <strings.h>

#include "log.h"
#include "sluice/sluice.h"

// A line is appended piece by piece into a buffer that holds the longest possible one, so no piece checks for room: a byte of text becomes
// six at most, and all that stands around the text is shorter than 600.
_Static_assert(SL_LOG_TARGET_MAX * 6 + 600 <= SL_LOG_LINE_MAX, "a line always fits");

struct line {
    char *at;
    bool json; // decides how bytes are escaped
};

static void put_char(struct line *line, char c) { *line->at++ = c; }

static void put_raw(struct line *line, const char *text) {
    size_t len = strlen(text);
    memcpy(line->at, text, len);
    line->at += len;
}

static void put_u64(struct line *line, uint64_t value) {
    char digits[20];
    int n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (n > 0) {
        put_char(line, digits[--n]);
    }
}

static void put_padded(struct line *line, uint32_t value, int width) {
    for (int i = width - 1; i >= 0; i--) {
        line->at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    line->at += width;
}

static void put_ms(struct line *line, uint64_t us) {
    put_u64(line, us / 1000);
    put_char(line, '.');
    put_padded(line, (uint32_t)(us % 1000), 3);
}

static void put_hex(struct line *line, uint32_t value, int digits) {
    for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) {
        put_char(line, "0123456789abcdef"[value >> shift & 15]);
    }
}

// ---- bytes that a client chose ----

struct rune {
    uint32_t code;
    unsigned len; // bytes; 0: not UTF-8
};

// The sequence at `data`: shortest form, no surrogates, at most U+10FFFF.
static struct rune rune_at(const uint8_t *data, size_t len) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned n = data[0] >= 0xf0 ? 4 : data[0] >= 0xe0 ? 3 : 2;
    if (data[0] < 0xc2 || data[0] > 0xf4 || n > len) {
        return (struct rune){0, 0};
    }
    uint32_t code = data[0] & (0x7fu >> n);
    for (unsigned i = 1; i < n; i++) {
        if ((data[i] & 0xc0) != 0x80) {
            return (struct rune){0, 0};
        }
        code = code << 6 | (data[i] & 0x3f);
    }
    bool fine = code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return (struct rune){code, fine ? n : 0};
}

// C1 controls act like ESC on some terminals; the others turn text around or break lines in viewers.
static bool is_hostile(uint32_t code) {
    return code < 0xa0 || code == 0x061c || (code >= 0x200e && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
           code == 0xfeff;
}

static void put_escaped_byte(struct line *line, uint8_t byte) {
    put_raw(line, line->json ? "\\u00" : "\\x");
    put_hex(line, byte, 2);
}

static size_t put_multibyte(struct line *line, const uint8_t *data, size_t len) {
    struct rune rune = rune_at(data, len);
    if (rune.len == 0) {
        put_escaped_byte(line, data[0]);
        return 1;
    }
    if (!is_hostile(rune.code)) {
        memcpy(line->at, data, rune.len);
        line->at += rune.len;
    } else if (line->json) {
        put_raw(line, "\\u");
        put_hex(line, rune.code, 4);
    } else {
        for (unsigned i = 0; i < rune.len; i++) {
            put_escaped_byte(line, data[i]);
        }
    }
    return rune.len;
}

static void put_bytes(struct line *line, struct sl_span bytes) {
    for (size_t i = 0; i < bytes.len;) {
        uint8_t c = bytes.data[i];
        if (c >= 0x80) {
            i += put_multibyte(line, bytes.data + i, bytes.len - i);
            continue;
        }
        // A space separates the words of a text line: inside one it is escaped, too.
        if (c < 0x20 || c == 0x7f || (c == ' ' && !line->json)) {
            put_escaped_byte(line, c);
        } else {
            if (c == '"' || c == '\\') {
                put_char(line, '\\');
            }
            put_char(line, (char)c);
        }
        i++;
    }
}

// ---- what must not be in a log ----

static struct sl_span cut(struct sl_span span, size_t from, size_t to) {
    return (struct sl_span){span.data + from, to - from};
}

static size_t find(struct sl_span span, size_t from, char c) {
    const uint8_t *at = from < span.len ? memchr(span.data + from, c, span.len - from) : NULL;
    return at ? (size_t)(at - span.data) : span.len;
}

// OpenTelemetry's list of query parameters to redact, and what other clouds and OAuth put into links.
static bool is_secret(struct sl_span name) {
    static const char *const names[] = {
        "awsaccesskeyid",
        "signature",
        "sig",
        "x-goog-signature",
        "x-amz-signature",
        "x-amz-security-token",
        "x-amz-credential",
        "x-goog-credential",
        "access_token",
        "refresh_token",
        "id_token",
        "client_secret",
        "api_key",
        "apikey",
        "token",
        "password",
        "code",
    };
    for (size_t i = 0; i < SL_COUNT_OF(names); i++) {
        if (strlen(names[i]) == name.len &&
            strncasecmp(names[i], (const char *)name.data, name.len) == 0) {
            return true;
        }
    }
    return false;
}

static void put_query(struct line *line, struct sl_span query) {
    for (size_t at = 0; at < query.len;) {
        size_t end = find(query, at, '&');
        size_t equals = find(cut(query, 0, end), at, '=');
        if (equals < end && is_secret(cut(query, at, equals))) {
            put_bytes(line, cut(query, at, equals + 1));
            put_raw(line, "REDACTED");
        } else {
            put_bytes(line, cut(query, at, end));
        }
        if (end < query.len) {
            put_char(line, '&');
        }
        at = end + 1;
    }
}

// "http://user:password@host/": without what stands between the slashes and the last @ of the authority.
static void put_path(struct line *line, struct sl_span path) {
    size_t colon = find(path, 0, ':');
    bool absolute = path.len > 0 && path.data[0] != '/' && colon + 2 < path.len &&
                    path.data[colon + 1] == '/' && path.data[colon + 2] == '/';
    size_t authority = absolute ? colon + 3 : 0;
    size_t end = absolute ? find(path, authority, '/') : 0;
    const uint8_t *at = absolute ? memrchr(path.data + authority, '@', end - authority) : NULL;
    if (at) {
        put_bytes(line, cut(path, 0, authority));
        put_raw(line, "REDACTED");
        path = cut(path, (size_t)(at - path.data), path.len);
    }
    put_bytes(line, path);
}

// ---- pieces of a line ----

// Days since 1970-01-01 to a date of the proleptic Gregorian calendar, counting years from March so that the leap day comes last.
static void put_date(struct line *line, int64_t days) {
    int64_t z = days + 719468; // since 0000-03-01
    int64_t era = z / 146097;
    uint32_t of_era = (uint32_t)(z - era * 146097);
    uint32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint32_t month = (5 * of_year + 2) / 153;
    uint32_t day = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    put_padded(line, (uint32_t)(year + era * 400 + (month <= 2)), 4);
    put_char(line, '-');
    put_padded(line, month, 2);
    put_char(line, '-');
    put_padded(line, day, 2);
}

static void put_time(struct line *line, int64_t unix_us) {
    uint64_t us = unix_us > 0 ? sl_min_u64((uint64_t)unix_us, 253402300799999999u)
                              : 0; // the years 1970 to 9999
    uint32_t of_day = (uint32_t)(us / 1000000 % 86400);
    put_date(line, (int64_t)(us / 1000000 / 86400));
    put_char(line, 'T');
    put_padded(line, of_day / 3600, 2);
    put_char(line, ':');
    put_padded(line, of_day / 60 % 60, 2);
    put_char(line, ':');
    put_padded(line, of_day % 60, 2);
    put_char(line, '.');
    put_padded(line, (uint32_t)(us / 1000 % 1000), 3);
    put_char(line, 'Z');
}

static void put_address(struct line *line, const struct sl_log_record *record) {
    if (record->remote_family == 4) {
        for (int i = 0; i < 4; i++) {
            put_u64(line, record->remote_addr[i]);
            put_raw(line, i < 3 ? "." : "");
        }
        return;
    }
    char text[INET6_ADDRSTRLEN] = "-";
    if (record->remote_family == 6) {
        inet_ntop(AF_INET6, record->remote_addr, text, sizeof(text));
    }
    put_raw(line, text);
}

static const char *handler_of(const struct sl_log_record *record) {
    static const char *const names[] = {"native", "typescript", "upstream"};
    return record->handled_by < SL_COUNT_OF(names) ? names[record->handled_by] : "-";
}

struct request_text {
    struct sl_span method, host, upstream, why, path, query;
    bool has_query;
};

// The record's text, cut at its bounds whatever its lengths say.
static struct request_text text_of(const struct sl_log_record *record) {
    struct sl_span text = {record->text, SL_LOG_TARGET_MAX};
    size_t method = sl_min_size(record->method_len, text.len);
    size_t host = sl_min_size(method + record->host_len, text.len);
    size_t upstream = sl_min_size(host + record->upstream_len, text.len);
    size_t why = sl_min_size(upstream + record->why_len, text.len);
    size_t target = sl_min_size(why + record->target_len, text.len);
    struct sl_span whole = cut(text, why, target);
    size_t mark = find(whole, 0, '?');
    bool has_query = mark < whole.len;
    return (struct request_text){
        .method = cut(text, 0, method),
        .host = cut(text, method, host),
        .upstream = cut(text, host, upstream),
        .why = cut(text, upstream, why),
        .path = cut(whole, 0, mark),
        .query = cut(whole, has_query ? mark + 1 : mark, whole.len),
        .has_query = has_query,
    };
}

static void put_or_dash(struct line *line, struct sl_span bytes) {
    if (bytes.len == 0) {
        put_char(line, '-');
    }
    put_bytes(line, bytes);
}

// A sentence of ours: as any bytes, but its spaces stay.
static void put_words(struct line *line, struct sl_span words) {
    for (size_t at = 0; at < words.len;) {
        size_t space = find(words, at, ' ');
        put_bytes(line, cut(words, at, space));
        if (space < words.len) {
            put_char(line, ' ');
        }
        at = space + 1;
    }
}

// ---- the two formats ----

static void put_request_line(struct line *line, const struct sl_log_record *record) {
    struct request_text text = text_of(record);
    if (text.method.len == 0) {
        put_raw(line, "\"-\""); // its head was never whole
        return;
    }
    put_char(line, '"');
    put_bytes(line, text.method);
    put_char(line, ' ');
    put_path(line, text.path);
    if (text.has_query) {
        put_char(line, '?');
        put_query(line, text.query);
    }
    put_raw(line, record->version == 0 ? " HTTP/1.0\"" : " HTTP/1.1\"");
}

static void put_text(struct line *line, const struct sl_log_record *record) {
    struct request_text text = text_of(record);
    bool ipv6 = record->remote_family == 6;
    put_time(line, record->unix_us);
    put_raw(line, ipv6 ? " [" : " ");
    put_address(line, record);
    put_raw(line, ipv6 ? "]:" : ":");
    put_u64(line, record->remote_port);
    put_char(line, ' ');
    put_request_line(line, record);
    put_char(line, ' ');
    put_padded(line, record->status, 3);
    put_char(line, ' ');
    put_u64(line, record->bytes_out);
    put_raw(line, "B ");
    put_ms(line, record->duration_us);
    put_raw(line, "ms ");
    put_raw(line, handler_of(record));
    put_char(line, ' ');
    put_or_dash(line, text.host);
    put_char(line, ' ');
    put_raw(line, record->reason == SL_OK ? "-" : sl_status_info(record->reason)->label);
    if (text.upstream.len > 0) {
        put_raw(line, " upstream ");
        put_bytes(line, text.upstream);
    }
    if (text.why.len > 0) {
        put_raw(line, ": ");
        put_words(line, text.why);
    }
}

static const char *level_of(const struct sl_log_record *record) {
    bool ours = sl_status_info(record->reason)->source >
                SL_SOURCE_CLIENT; // the upstream's or the gateway's fault
    return ours || record->status >= 500 ? "error" : "info";
}

static void put_json(struct line *line, const struct sl_log_record *record) {
    struct request_text text = text_of(record);
    put_raw(line, "{\"ts\":\"");
    put_time(line, record->unix_us);
    put_raw(line, "\",\"level\":\"");
    put_raw(line, level_of(record));
    put_raw(line, "\",\"client_addr\":\"");
    put_address(line, record);
    put_raw(line, "\",\"client_port\":");
    put_u64(line, record->remote_port);
    put_raw(line, ",\"method\":\"");
    put_bytes(line, text.method);
    put_raw(line, "\",\"scheme\":\"");
    put_raw(line, record->tls ? "https" : "http");
    put_raw(line, "\",\"host\":\"");
    put_bytes(line, text.host);
    put_raw(line, "\",\"path\":\"");
    put_path(line, text.path);
    put_raw(line, "\",\"query\":\"");
    put_query(line, text.query);
    put_raw(line, record->version == 0 ? "\",\"proto\":\"HTTP/1.0\"" : "\",\"proto\":\"HTTP/1.1\"");
    put_raw(line, ",\"status\":");
    put_u64(line, record->status);
    put_raw(line, ",\"bytes_in\":");
    put_u64(line, record->bytes_in);
    put_raw(line, ",\"bytes_out\":");
    put_u64(line, record->bytes_out);
    put_raw(line, ",\"dur_ms\":");
    put_ms(line, record->duration_us);
    put_raw(line, ",\"handled_by\":\"");
    put_raw(line, handler_of(record));
    put_raw(line, "\",\"reason\":\"");
    put_raw(line, sl_status_info(record->reason)->label);
    if (text.upstream.len > 0) {
        put_raw(line, "\",\"upstream\":\"");
        put_bytes(line, text.upstream);
    }
    if (text.why.len > 0) {
        put_raw(line, "\",\"why\":\"");
        put_words(line, text.why);
    }
    put_raw(line, "\"}");
}

size_t sl_log_format(int kind, const struct sl_log_record *record, char *out) {
    struct line line = {out, kind == SL_LOG_JSON};
    if (line.json) {
        put_json(&line, record);
    } else {
        put_text(&line, record);
    }
    put_char(&line, '\n');
    return (size_t)(line.at - out);
}
