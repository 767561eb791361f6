// Heads that we send, written in canonical form from head tables and templates: single spaces, CRLF, one Content-Length or chunked, no
// hop-by-hop or Connection-nominated fields, no framing alias. All functions write into the caller's buffer and return bytes written, or 0
// if it does not fit (nothing that we accept makes a head larger than SL_HEAD_OUT_MAX).
#ifndef SL_HTTP1_WRITE_H
#define SL_HTTP1_WRITE_H

#include "http1_edit.h"

#define SL_HEAD_OUT_MAX 20480
// A re-emitted head has at most the received one's bytes, 2 * host_len and this much more, with names of Via up to 64 bytes.
#define SL_HEAD_GROWTH_MAX 512
#define SL_DATE_LEN 29

struct sl_date {
    int64_t unix_s;
    char text[SL_DATE_LEN + 1]; // "Tue, 24 Nov 2026 18:34:58 GMT"
};
void sl_date_render(struct sl_date *date, int64_t unix_s); // renders only when the second changed

enum sl_framing { SL_FRAMING_NONE, SL_FRAMING_LENGTH, SL_FRAMING_CHUNKED, SL_FRAMING_CLOSE };

struct sl_response_head {
    uint16_t status;
    uint8_t framing; // enum sl_framing. NONE: neither field (1xx, 204, 304 without a length)
    bool close;      // Connection: close; else for a 1.0 client with keep_alive_10 "Connection: keep-alive"
    bool keep_alive_10;
    bool upgrade;  // Connection: upgrade and Upgrade: websocket (101 and 426)
    bool has_date; // among the fields: no Date line of ours
    uint64_t content_length;
    const struct sl_date *date; // NULL: no Date line of ours
    struct sl_span fields;      // ready "name: value\r\n" lines, copied; may be empty
    const struct sl_edits *edits; // of `fields`; NULL: none
};
#define SL_RESPONSE_ROOM 512u // a head without its field lines fits in this
size_t sl_http1_write_response(uint8_t *out, size_t cap, const struct sl_response_head *head);
const char *sl_reason_phrase(uint16_t status); // "OK"; "" if unknown

// An answer that is the same each time but for the value of Date: written once, then copied.
struct sl_prepared {
    const uint8_t *bytes;   // the head, and the body behind it if that is small
    uint32_t head_len, len; // len includes the body's
    uint32_t date_off;
    uint32_t names; // bits of its fields' names (http1_edit.h)
};
// Writes `head` (its own Date must be among what it writes) and, behind it, `body` to out. Returns bytes written; 0: it does not fit.
size_t sl_http1_prepare(struct sl_prepared *prepared, uint8_t *out, size_t cap, const struct sl_response_head *head, struct sl_span body);
// Copies the first `len` bytes, which hold the head at least.
static inline void sl_http1_write_prepared(uint8_t *out, const struct sl_prepared *prepared, uint32_t len, const struct sl_date *date) {
    memcpy(out, prepared->bytes, len);
    memcpy(out + prepared->date_off, date->text, SL_DATE_LEN);
}
// The same with lines added to the head; none of its own fields is taken away. Returns bytes written, at most prepared->len and edits->bytes_max.
size_t sl_http1_write_prepared_edited(uint8_t *out, const struct sl_prepared *prepared, bool with_body, const struct sl_date *date,
                                      const struct sl_edits *edits);

// The answer's head of an upstream, re-emitted: its end-to-end fields in order and Via, edited, then framing, Date if it had none.
struct sl_forward_response {
    const struct sl_head *head;
    const uint8_t *data; // where head's offsets point
    uint8_t framing;
    bool close, keep_alive_10, upgrade; // upgrade: as in sl_response_head
    uint64_t content_length;
    const struct sl_date *date;
    struct sl_span via; // the name
    const struct sl_edits *edits; // of the end-to-end fields, Via among them; NULL: none
};
size_t sl_http1_forward_response(uint8_t *out, size_t cap, const struct sl_forward_response *forward);

// A client's request head, re-emitted for an upstream, always as HTTP/1.1: origin-form target with the original bytes, Host first (rebuilt
// from an absolute-form target), end-to-end fields in order (those with '_' in their names if asked for; never one that says a name of ours with '_' for '-'), framing, Via appended, X-Forwarded-For, -Host and
// -Proto replaced by ours (no trusted proxies yet), Connection only for an upgrade. Early-Data is never removed.
struct sl_forward_request {
    const struct sl_head *head;
    const uint8_t *data;
    uint8_t framing; // NONE, LENGTH or CHUNKED
    uint64_t content_length;
    struct sl_span via;
    struct sl_span client_ip; // text, for X-Forwarded-For
    bool tls;                 // X-Forwarded-Proto: https
    bool expect_continue;     // forward Expect: 100-continue
    bool early;               // say Early-Data: 1 (RFC 8470 section 5.1)
    bool upgrade;             // to websocket
    bool underscores;         // forward names with '_'
    struct sl_span host;      // Host for a request that has none (HTTP/1.0): the upstream's authority
};
size_t sl_http1_forward_request(uint8_t *out, size_t cap, const struct sl_forward_request *forward);
bool sl_http1_via_has(const struct sl_head *head, const uint8_t *data, struct sl_span name); // a loop (rule 40)

#endif
