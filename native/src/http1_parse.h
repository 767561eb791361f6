// HTTP/1.1 heads (RFC 9112). The parser owns nothing: it points into the caller's bytes, never allocates, never reads past `len`, and answers
// complete, partial or bad. Strict: each of the 49 rules of docs/internals/http.md that concerns heads. It writes to the bytes in one case: field names are
// lower-cased in place.
#ifndef SL_HTTP1_PARSE_H
#define SL_HTTP1_PARSE_H

#include "base.h"
#include "sluice/event.h"

#define SL_FIELDS_MAX 128

enum sl_target_form { SL_TARGET_ORIGIN, SL_TARGET_ABSOLUTE, SL_TARGET_AUTHORITY, SL_TARGET_ASTERISK };
enum sl_body_kind { SL_BODY_NONE, SL_BODY_LENGTH, SL_BODY_CHUNKED, SL_BODY_UNTIL_CLOSE };

enum sl_head_flags {
    SL_HEAD_KEEP_ALIVE = 1,      // the connection may persist after this message (version and Connection together)
    SL_HEAD_EXPECT_CONTINUE = 2, // HTTP/1.1 request with a body and Expect: 100-continue
    SL_HEAD_UPGRADE = 4,         // HTTP/1.1 with Connection: upgrade and an Upgrade field
    SL_HEAD_PATH_ESCAPED = 8,    // the path has a '%'
    SL_HEAD_HTTPS = 16,          // absolute form with https
    SL_HEAD_DOT_SEGMENT = 32,    // a '.' or '..' segment, also as %2e, or %00 in the path: refused by policy, not by the parser
};

// Bits of sl_field.flags.
enum sl_field_flags {
    SL_FIELD_UNDERSCORE = 1, // the name has a '_': not sent to an upstream unless asked for (rule 20)
    SL_FIELD_NOMINATED = 2,  // Connection lists it and it may be nominated: not forwarded (rule 34)
    SL_FIELD_SPACED = 4,     // of a response: space before the colon (rule 15)
    SL_FIELD_OURS = 8,       // an edit put it there (http1_edit.h): what a client may not say, we may
};

// Limits of a head; sl_config's fields of the same names.
struct sl_head_limits {
    uint32_t head_bytes_max, line_bytes_max, fields_max;
};

// Offsets count from the head's first byte (the request or status line; skipped empty lines lie before it, in `skipped`).
struct sl_head {
    uint8_t method;   // enum sl_method
    uint8_t version;  // minor: 0 or 1
    uint8_t form;     // enum sl_target_form
    uint8_t body;     // enum sl_body_kind
    uint16_t flags;   // enum sl_head_flags
    uint16_t status;  // of a response
    uint16_t method_len;
    uint16_t field_count;
    uint16_t target_off, target_len;
    uint16_t path_off, path_len;   // len 0 where the target has none: it means "/" (CONNECT: nothing)
    uint16_t query_off, query_len; // query_off 0: no '?'
    uint16_t host_off, host_len;   // Host, or the authority of an absolute or authority target
    uint16_t reason_off, reason_len;
    uint32_t len;     // of the head, with its blank line
    uint32_t skipped; // CRLF before it (rule 4: at most 4)
    uint32_t scanned; // resume here: bytes of `data` already looked at, `skipped` ones included
    uint32_t state;   // of the parser, between two calls
    uint64_t content_length;
    uint16_t first[SL_H_COUNT]; // index + 1 of the first field of that id, 0: none
    struct sl_field fields[SL_FIELDS_MAX];
};

// Chooses what reads lines, for the whole process: "scalar", "sse42" or "avx2", or the best that this processor runs for NULL and "". Until
// the first call it is scalar. SL_OK, or E_INVALID with a text where there is no such one, or not on this processor. All give the same answers.
int sl_http1_parser_use(const char *name);
const char *sl_http1_parser_name(void);

// Before the first call for a message: scanned = 0, skipped = 0. Returns 1 (complete: `len` is set), 0 (partial: call again with the same
// bytes and more behind them), or an SL_E_... status. A partial head already over a limit is that limit's status.
int sl_http1_parse_request(struct sl_head *head, uint8_t *data, size_t len, const struct sl_head_limits *limits);
// `request_method` decides the body (HEAD, CONNECT). Bad: SL_E_UPSTREAM_BAD.
int sl_http1_parse_response(struct sl_head *head, uint8_t *data, size_t len, const struct sl_head_limits *limits,
                            enum sl_method request_method);

// Field lines "name: value\r\n"... from a handler or a plan, without the blank line. SL_OK if each is a valid field and none is framing or
// hop-by-hop (Content-Length, Transfer-Encoding, Connection, Keep-Alive, Proxy-Connection, TE, Trailer, Upgrade); sets *has_date. Else
// E_BAD_FIELD.
int sl_http1_check_fields(const uint8_t *data, size_t len, bool *has_date);

// Connection, Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade: they speak of one connection.
static inline bool sl_header_is_hop_by_hop(enum sl_header id) {
    return (id >= SL_H_TRANSFER_ENCODING && id <= SL_H_UPGRADE);
}
_Static_assert(SL_H_TRANSFER_ENCODING == 3 && SL_H_UPGRADE == 9, "the hop-by-hop fields are neighbours");

enum sl_header sl_header_id(const uint8_t *lower_name, size_t len);
enum sl_method sl_method_id(const uint8_t *name, size_t len); // exact, case-sensitive
const char *sl_method_name(enum sl_method method);            // "" for OTHER

static inline const struct sl_field *sl_head_field(const struct sl_head *head, enum sl_header id) {
    uint16_t index = head->first[id];
    return index ? head->fields + index - 1 : NULL;
}

#endif
