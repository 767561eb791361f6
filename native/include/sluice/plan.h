// The plan: what a Hono app's routes become. One immutable blob, written by gateway/plan_blob.ts, checked whole by sl_plan_load before
// anything points into it. Little endian, 8-byte aligned; every `_off` counts bytes from the blob's start; every table is bounds-checked.
//
// For a request C walks `entries` in registration order and takes those whose method and path match. The first terminal decides: a native
// one (RESPOND, PROXY, ...) is executed and V8 never hears of the request; TYPESCRIPT sends a REQUEST event and Hono matches again. No match:
// Hono's not-found handler (TypeScript), or 404 in C with SL_PLAN_F_NOT_FOUND_NATIVE.
//
// Paths. The path is matched as Hono's getPath gives it (percent-escapes decoded as decodeURI does; `//` and `%2F` stay). It is cut at each
// '/': "/a/b" is the segments "a", "b"; "/" is one empty segment; "/x/" is "x", "". A pattern is a list of segments:
//   STATIC  equals its bytes (may be empty)
//   PARAM   any non-empty segment
//   REST    last: matches whatever remains, also nothing ("/api/*" takes /api, /api/ and /api/x)
// A pattern that cannot be compiled exactly is cut before its first odd segment, ends in REST and has op TYPESCRIPT: it may only send too
// much to Hono, never too little.
#ifndef SLUICE_PLAN_H
#define SLUICE_PLAN_H

#include <stdint.h>

#define SL_PLAN_MAGIC 0x4e4c5053u // "SPLN"
#define SL_PLAN_VERSION 1u
#define SL_PLAN_BYTES_MAX 67108864u // 64 MiB
#define SL_PLAN_ENTRIES_MAX 65536u
#define SL_PLAN_METHOD_ALL 255u
#define SL_PLAN_FIELDS_MAX 16384u // field lines of one respond step

enum sl_plan_flags {
    SL_PLAN_F_NOT_FOUND_NATIVE = 1, // no route: 404 in C
    SL_PLAN_F_DOTS_PASS = 2,        // paths: "hono": dot segments are not refused
    SL_PLAN_F_ALL_TYPESCRIPT = 4,   // a custom getPath or router: every request is TypeScript's
};

enum sl_plan_op {
    SL_PLAN_OP_TYPESCRIPT = 0,
    SL_PLAN_OP_RESPOND = 1, // arg: index in responds
    SL_PLAN_OP_PROXY = 2,   // arg: index in upstreams
    SL_PLAN_OP_WHOAMI = 3,  // the head as it would be re-emitted upstream, as text/plain
};

enum sl_plan_seg_kind { SL_PLAN_SEG_STATIC = 0, SL_PLAN_SEG_PARAM = 1, SL_PLAN_SEG_REST = 2 };

struct sl_plan_header {
    uint32_t magic, version;
    uint32_t bytes; // of the whole blob
    uint32_t flags;
    uint32_t entries_off, entry_count;
    uint32_t segs_off, seg_count;
    uint32_t responds_off, respond_count;
    uint32_t upstreams_off, upstream_count;
    uint32_t via_off, via_len; // the name in Via: 1 to 64 token bytes
    uint32_t reserved[2];
};
_Static_assert(sizeof(struct sl_plan_header) == 64, "ABI");

struct sl_plan_entry {
    uint8_t method;    // enum sl_method, SL_PLAN_METHOD_ALL, or SL_METHOD_OTHER with method_off/len
    uint8_t op;        // enum sl_plan_op
    uint8_t seg_count; // at most 64
    uint8_t reserved0;
    uint32_t seg_first; // index in segs
    uint32_t arg;
    uint32_t route; // index in app.routes: for explain and logs
    uint32_t method_off, method_len;
    uint32_t reserved1[2];
};
_Static_assert(sizeof(struct sl_plan_entry) == 32, "ABI");

struct sl_plan_seg {
    uint8_t kind;
    uint8_t reserved;
    uint16_t len;
    uint32_t off;
};
_Static_assert(sizeof(struct sl_plan_seg) == 8, "ABI");

struct sl_plan_respond {
    uint16_t status; // 200-599
    uint16_t reserved;
    uint32_t fields_off, fields_len; // "name: value\r\n" lines: checked with the field parser; no framing and hop-by-hop fields, no date
    uint32_t body_off, body_len;     // body_len is 0 for 204 and 304
    uint32_t reserved1;
};
_Static_assert(sizeof(struct sl_plan_respond) == 24, "ABI");

struct sl_plan_upstream {
    uint8_t family; // 4 or 6; 0: the name could not be resolved, answers 503
    uint8_t reserved0;
    uint16_t port;
    uint8_t addr[16];            // network order; IPv4 in the first four
    uint32_t name_off, name_len; // as in options and logs
    uint32_t conns_max;          // per worker; 1-4096
    uint32_t idle_max;           // kept idle per worker
    uint32_t connect_timeout_ms;
    uint32_t head_timeout_ms;    // from the request's last byte to the answer's head
    uint32_t idle_timeout_ms;    // of a pooled connection; also between two parts of an answer's body
};
_Static_assert(sizeof(struct sl_plan_upstream) == 48, "ABI");

#endif
