// What travels over the rings (ring.h): events from C to TypeScript, verdicts from TypeScript to C. 64 bytes each, little endian,
// naturally aligned, laid out so that each field is one typed-array element.
#ifndef SLUICE_EVENT_H
#define SLUICE_EVENT_H

#include <stddef.h>
#include <stdint.h>

// One header field of a head: offsets count from the head's first byte. `id` is an SL_H_... (0: not a known one); `next_same` is the
// index + 1 of the next field of the same known name, 0 at the end. The name is in lower case already.
struct sl_field {
    uint16_t name_off, name_len;
    uint16_t value_off, value_len;
    uint8_t id, flags;
    uint16_t next_same;
};
_Static_assert(sizeof(struct sl_field) == 12, "ABI");

enum sl_event_kind {
    SL_EVENT_REQUEST = 1,  // a request to answer; lends the slot
    SL_EVENT_BODY = 2,     // `len` bytes of its body lie at SL_SLOT_RX_OFF; answer with SL_VERDICT_BODY_TAKEN. With flag END: the last
                           // (len may be 0; nothing to take back then)
    SL_EVENT_WRITABLE = 3, // the bytes of the last RESPOND or CHUNK have left the tx area: the next CHUNK may be written
    SL_EVENT_ABORT = 4,    // the client is gone or the exchange failed; `len` is -status. Answer with FINAL
    SL_EVENT_DRAIN = 5,    // after an upgrade: the gateway drains, so end soon. Once at most
    SL_EVENT_ANSWER = 6,   // after PROXY: the upstream's answer. Its head as a client would get it lies at SL_SLOT_HEAD_OFF, `len` bytes, its status
                           // in method_len; none of its body has been read on. With flag END: it has none. From here on BODY, BODY_WANTED and
                           // BODY_TAKEN are about the answer's body
    SL_EVENT_PROXY_FAILED = 7, // after PROXY: no (whole) answer comes; `len` is -status
    SL_EVENT_HELLO = 8,    // a ClientHello, whose connection waits for its row; lends the slot. A struct sl_slot_hello and what it tells of lie at
                           // SL_SLOT_HEAD_OFF, `len` bytes; the ports and remote_addr are those of its connection. Answer with SL_VERDICT_HELLO.
                           // Once it is ABORTed nobody waits for that any more
};

enum sl_event_flags {
    SL_EVENT_F_END = 1,         // BODY: no more follows. REQUEST: it has no body
    SL_EVENT_F_TLS = 2,         // REQUEST: came over TLS
    SL_EVENT_F_IPV6 = 4,        // REQUEST, HELLO: remote_addr has 16 bytes, else 4
    SL_EVENT_F_NOT_FOUND = 8,   // REQUEST: no route matched in C
    SL_EVENT_F_ABSOLUTE = 16,   // REQUEST: target in absolute form; host_* is its authority
    SL_EVENT_F_UPGRADE = 32,    // REQUEST: a GET of HTTP/1.1 without a body that asks for an upgrade: 101 may be the answer
};

// Of a REQUEST with SL_EVENT_F_TLS, at SL_SLOT_TLS_OFF: what its connection agreed on.
struct sl_slot_tls {
    uint16_t version, cipher, group; // as in the protocol: 0x0304, 0x1301, 29
    uint8_t flags;                   // enum sl_slot_tls_flags
    uint8_t alpn_len;                // 0: none
    uint8_t sni_len;                 // 0: the client named no server
    uint8_t reserved;
    uint16_t client_len;             // 0: it has shown no certificate. Else what that says lies at SL_SLOT_TX_OFF until an answer is written there:
                                     // lines "subject CN=a,O=b", then "dns ", "uri ", "email " or "ip " and a name
    uint8_t client_sha256[32];       // of its DER
    uint8_t text[272];               // ALPN, then the server name
};
_Static_assert(sizeof(struct sl_slot_tls) == 316, "ABI");

// Of a HELLO. Behind it lie, as they came from the client: the server name, then the lists without their outer lengths.
struct sl_slot_hello {
    uint16_t legacy_version;  // the newest that it speaks, where it has no list of versions
    uint16_t server_name_len; // 0: it named no server
    uint16_t alpn_len;        // names, a byte with its length before each
    uint16_t versions_len, ciphers_len, groups_len; // u16, big endian
    uint16_t listener;        // in the order of sl_gateway_listen
    uint16_t reserved;
};
_Static_assert(sizeof(struct sl_slot_hello) == 16, "ABI");

enum sl_slot_tls_flags {
    SL_SLOT_TLS_F_RESUMED = 1,
    SL_SLOT_TLS_F_EARLY = 2, // the client had not proven yet that it is there: this may be a replay (RFC 8446, 8)
};

// REQUEST. Offsets count from SL_SLOT_HEAD_OFF. The others use kind, flags, slot, gen, len only, but for ANSWER and HELLO.
struct sl_event {
    uint8_t kind, flags;
    uint8_t method;          // enum sl_method; SL_METHOD_OTHER: read method_len bytes at offset 0 of the head
    uint8_t version;         // 0: HTTP/1.0, 1: HTTP/1.1
    uint32_t slot, gen;
    uint32_t len;            // BODY: bytes; ABORT: -status; REQUEST: bytes of the head
    uint8_t field_count;     // at most 128
    uint8_t steps_done;      // steps of the chain that C has done: the first so many that Hono matches are skipped
    uint16_t method_len;     // ANSWER: its status
    uint16_t target_off, target_len; // as received
    uint16_t path_off, path_len;     // without the query
    uint16_t query_off, query_len;   // without '?'; off is 0 if there is no '?'
    uint16_t host_off, host_len;     // Host, or the authority of an absolute target; 0, 0 in HTTP/1.0 without Host
    uint16_t local_port, remote_port;
    double content_length;   // bytes; -1: chunked
    uint8_t remote_addr[16]; // network order
};
_Static_assert(sizeof(struct sl_event) == 64, "ABI");
_Static_assert(offsetof(struct sl_event, content_length) == 40, "ABI");

enum sl_verdict_kind {
    SL_VERDICT_RESPOND = 1,    // head (and perhaps first body bytes) lie in the tx area. Status 101 upgrades the connection: from then on BODY
                               // events and CHUNKs carry its bytes as they are, both ways at once, until CHUNK with END; BODY with END tells
                               // that the client sends no more. Only for a request with SL_EVENT_F_UPGRADE, and not with END
    SL_VERDICT_CHUNK = 2,      // more body bytes lie in the tx area (body_off, body_len)
    SL_VERDICT_BODY_TAKEN = 3, // the rx area may be filled again
    SL_VERDICT_FAIL = 4,       // break the exchange: 500 if nothing was sent yet, else cut the connection
    SL_VERDICT_RELEASE = 5,    // nothing but its flag FINAL
    SL_VERDICT_BODY_WANTED = 6, // the handler reads the body: C begins to send BODY events (and 100 Continue if it was asked for)
    SL_VERDICT_PROXY = 7,      // send the request, with its body, to the upstream with the id `body_off`, and tell of its answer. Only while the body is
                               // unread. With head_len: a whole new head lies at SL_SLOT_TX_OFF, without framing fields and with the app's own
                               // fields last, `body_len` of them; else the request goes as it is
    SL_VERDICT_FORWARD = 8,    // pass the answer on to the client; its body never comes here. With a status: that, and the field lines as in RESPOND;
                               // with status 0 those of the upstream. Always FINAL
    SL_VERDICT_HELLO = 9,      // which row the client of a HELLO gets: status is an enum sl_hello_answer. Always FINAL
};

enum sl_hello_answer {
    SL_HELLO_ORDINARY = 0, // that of its server name
    SL_HELLO_ROW_OF = 1,   // that of another name, `head_len` bytes at SL_SLOT_TX_OFF: a server name that a certificate of the listener answers
    SL_HELLO_REJECT = 2,   // none: the alert handshake_failure
    SL_HELLO_FAILED = 3,   // as ORDINARY, because there was no answer: counted apart
};

enum sl_verdict_flags {
    SL_VERDICT_F_END = 1,    // the response's body ends with these bytes
    SL_VERDICT_F_FINAL = 2,  // TypeScript will not touch the slot again (bytes in tx stay until C has sent them)
    SL_VERDICT_F_LENGTH = 4, // content_length is the body's whole length; without it C frames by chunks (or by close for 1.0)
};

struct sl_verdict {
    uint8_t kind, flags;
    uint16_t status;         // RESPOND: 101, 200-599. FORWARD: 200-599 or 0. After an upgrade, CHUNK with END and FAIL: -status of why it ends, 0 for
                             // no special reason
    uint32_t slot, gen;
    uint32_t head_len;       // RESPOND: field lines "name: value\r\n" from SL_SLOT_TX_OFF on, without the blank line
    uint32_t body_off;       // offset in the tx area
    uint32_t body_len;
    double content_length;   // bytes, with F_LENGTH
    uint32_t steps_failed;   // RESPOND, FORWARD: bit i: the answer did not come back through step i of steps_done, so its response edits do not apply
    uint8_t reserved[28];
};
_Static_assert(sizeof(struct sl_verdict) == 64, "ABI");
_Static_assert(offsetof(struct sl_verdict, content_length) == 24, "ABI");

// Methods that have a number. Hono matches methods exactly: "get" is SL_METHOD_OTHER.
// clang-format off
#define SL_METHOD_MAP(X) \
    X(GET, 1) X(HEAD, 2) X(POST, 3) X(PUT, 4) X(DELETE, 5) X(OPTIONS, 6) X(PATCH, 7) X(CONNECT, 8) X(TRACE, 9) X(QUERY, 10)

// Known fields. Framing, routing and hop-by-hop fields, and those that handlers read most.
#define SL_HEADER_MAP(X) \
    X(HOST, 1, "host") X(CONTENT_LENGTH, 2, "content-length") X(TRANSFER_ENCODING, 3, "transfer-encoding") \
    X(CONNECTION, 4, "connection") X(KEEP_ALIVE, 5, "keep-alive") X(PROXY_CONNECTION, 6, "proxy-connection") \
    X(TE, 7, "te") X(TRAILER, 8, "trailer") X(UPGRADE, 9, "upgrade") X(EXPECT, 10, "expect") \
    X(VIA, 11, "via") X(FORWARDED, 12, "forwarded") X(X_FORWARDED_FOR, 13, "x-forwarded-for") \
    X(X_FORWARDED_HOST, 14, "x-forwarded-host") X(X_FORWARDED_PROTO, 15, "x-forwarded-proto") X(X_REAL_IP, 16, "x-real-ip") \
    X(ACCEPT, 17, "accept") X(ACCEPT_ENCODING, 18, "accept-encoding") X(ACCEPT_LANGUAGE, 19, "accept-language") \
    X(AUTHORIZATION, 20, "authorization") X(CACHE_CONTROL, 21, "cache-control") X(CONTENT_TYPE, 22, "content-type") \
    X(CONTENT_ENCODING, 23, "content-encoding") X(COOKIE, 24, "cookie") X(DATE, 25, "date") X(ETAG, 26, "etag") \
    X(IF_MATCH, 27, "if-match") X(IF_NONE_MATCH, 28, "if-none-match") X(IF_MODIFIED_SINCE, 29, "if-modified-since") \
    X(LOCATION, 30, "location") X(ORIGIN, 31, "origin") X(RANGE, 32, "range") X(REFERER, 33, "referer") \
    X(SERVER, 34, "server") X(SET_COOKIE, 35, "set-cookie") X(USER_AGENT, 36, "user-agent") X(VARY, 37, "vary") \
    X(X_REQUEST_ID, 38, "x-request-id") X(EARLY_DATA, 39, "early-data") X(PROXY_AUTHENTICATE, 40, "proxy-authenticate") \
    X(PROXY_AUTHORIZATION, 41, "proxy-authorization") X(MAX_FORWARDS, 42, "max-forwards")
// clang-format on

enum sl_method {
    SL_METHOD_OTHER = 0,
#define SL_METHOD_ENUM(name, value) SL_METHOD_##name = value,
    SL_METHOD_MAP(SL_METHOD_ENUM)
#undef SL_METHOD_ENUM
};

enum sl_header {
    SL_H_OTHER = 0,
#define SL_HEADER_ENUM(name, value, text) SL_H_##name = value,
    SL_HEADER_MAP(SL_HEADER_ENUM)
#undef SL_HEADER_ENUM
    SL_H_COUNT = 43,
};

#endif
