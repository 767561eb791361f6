// The plan: what a Hono app's routes become. One immutable blob, written by gateway/plan_blob.ts, checked whole by sl_plan_load before
// anything points into it. Little endian, 8-byte aligned; every `_off` counts bytes from the blob's start; every table is bounds-checked.
//
// A request's *chain* is what Hono would run for it: the steps of all entries that match its method and path, in registration order. C walks it
// and does each step, until one *ends* the chain: a native one (RESPOND, PROXY, WHOAMI) answers and V8 never hears of the request; TYPESCRIPT
// sends a REQUEST event, which tells how many steps are done, and Hono matches again and skips those. A chain without an end: Hono's not-found
// handler (TypeScript), or 404 in C with SL_PLAN_F_NOT_FOUND_NATIVE.
//
// A step that does not end the chain (HEADERS) may have two halves, as a Hono middleware has around `await next()`: its request edits are made
// before the next step, in order; its response edits when the answer's head is written, the last step's first. They apply to every answer that
// comes from further down the chain: native, proxied and TypeScript answers, 404, and the errors that C answers in their place.
//
// A *policy* (an op from SL_PLAN_OP_POLICY on; policy.h) does not end the chain either, if it lets the request pass. It sees the request as the
// steps before it have edited it, and may edit it, too. It may answer itself, with a row of responds, or send the request to an upstream; then no
// step after it runs. Its response edits are made at its place among those of the others, and on its own answer, too.
//
// Only SL_PLAN_CHAIN_MAX steps, SL_PLAN_EDIT_BYTES_MAX bytes of edits, SL_PLAN_POLICIES_MAX policies and SL_PLAN_SCRATCH_BYTES of what these
// keep are done in C for one request; the step after is treated as TYPESCRIPT.
//
// Paths. The path is matched as Hono's getPath gives it (percent-escapes decoded as decodeURI does; `//` and `%2F` stay). It is cut at each
// '/': "/a/b" is the segments "a", "b"; "/" is one empty segment; "/x/" is "x", "". A pattern is a list of segments:
//   STATIC  equals its bytes (may be empty)
//   PARAM   any non-empty segment
//   CLASS   min to max bytes, each of a set of ASCII characters: `:id{[0-9]+}`
//   TAIL    last: all that remains, slashes too, if that is something and on one line: `:path{.+}`
//   REST    last: matches whatever remains, also nothing ("/api/*" takes /api, /api/ and /api/x)
// A pattern that cannot be compiled exactly is cut before its first odd segment, ends in REST and has op TYPESCRIPT: it may only send too
// much to Hono, never too little.
#ifndef SLUICE_PLAN_H
#define SLUICE_PLAN_H

#include <stdint.h>

#define SL_PLAN_MAGIC 0x4e4c5053u // "SPLN"
#define SL_PLAN_VERSION 4u
#define SL_PLAN_BYTES_MAX 67108864u // 64 MiB
#define SL_PLAN_ENTRIES_MAX 65536u
#define SL_PLAN_STEPS_MAX 65536u
#define SL_PLAN_CHAIN_MAX 16u
#define SL_PLAN_POLICIES_MAX 8u // of one chain
#define SL_PLAN_SCRATCH_BYTES 512u // of one request
#define SL_PLAN_NONE 0xffffffffu // no row
#define SL_PLAN_EDITS_MAX 64u // of one headers step, each direction
#define SL_PLAN_EDIT_BYTES_MAX 8192u // of one headers step as well, each direction
#define SL_PLAN_METHOD_ALL 255u
#define SL_PLAN_FIELDS_MAX 16384u // field lines of one respond step

enum sl_plan_flags {
    SL_PLAN_F_NOT_FOUND_NATIVE = 1, // no route: 404 in C
    SL_PLAN_F_DOTS_PASS = 2,        // paths: "hono": dot segments are not refused
    SL_PLAN_F_ALL_TYPESCRIPT = 4,   // a custom getPath or router: every request is TypeScript's
    SL_PLAN_F_UNDERSCORES_PASS = 8, // underscoreHeaders: "keep": names with '_' go upstream, too
    SL_PLAN_F_DROPS_SLASH = 16,     // the app's strict: false: a path's last slash is dropped before it is matched
};

enum sl_plan_op {
    SL_PLAN_OP_TYPESCRIPT = 0,
    SL_PLAN_OP_RESPOND = 1, // arg: index in responds
    SL_PLAN_OP_PROXY = 2,   // arg: index in upstreams
    SL_PLAN_OP_WHOAMI = 3,  // the head as it would be re-emitted upstream, as text/plain
    SL_PLAN_OP_HEADERS = 4, // arg: index in headers. Does not end the chain
    SL_PLAN_OP_POLICY = 16, // the first policy. arg: index in policies; each has its record in policy.h
    SL_PLAN_OP_REQUEST_ID = 16,
    SL_PLAN_OP_IP_RESTRICTION = 17,
    SL_PLAN_OP_CORS = 18,
    SL_PLAN_OP_BODY_LIMIT = 19,
    SL_PLAN_OP_METHOD_NOT_ALLOWED = 20,
    SL_PLAN_OP_RATE_LIMIT = 32,
    SL_PLAN_OP_CONCURRENCY_LIMIT = 33,
    SL_PLAN_OP_TIMEOUT = 34,
    SL_PLAN_OP_BASIC_AUTH = 35,
    SL_PLAN_OP_BEARER_AUTH = 36,
    SL_PLAN_OP_CANARY = 37,
    SL_PLAN_OP_EARLY_DATA = 40,
};

static inline int sl_plan_op_ends(uint8_t op) { return op < SL_PLAN_OP_HEADERS; }

enum sl_plan_seg_kind { SL_PLAN_SEG_STATIC = 0, SL_PLAN_SEG_PARAM = 1, SL_PLAN_SEG_REST = 2, SL_PLAN_SEG_CLASS = 3, SL_PLAN_SEG_TAIL = 4 };

struct sl_plan_header {
    uint32_t magic, version;
    uint32_t bytes; // of the whole blob
    uint32_t flags;
    uint32_t entries_off, entry_count;
    uint32_t segs_off, seg_count;
    uint32_t steps_off, step_count;
    uint32_t responds_off, respond_count;
    uint32_t upstreams_off, upstream_count;
    uint32_t headers_off, header_count;
    uint32_t edits_off, edit_count;
    uint32_t via_off, via_len; // the name in Via: 1 to 64 token bytes
    uint32_t id;               // of the app that it was made of: comes back with events (ring.h)
    uint32_t policies_off, policy_count;
    uint32_t isolates;         // bits of the isolates that run that app: they alone get this plan's requests. 0: all
};
_Static_assert(sizeof(struct sl_plan_header) == 96, "ABI");

// One pattern and the steps that are registered for it: `app.get("/x", headers(...), respond(...))` is one entry.
struct sl_plan_entry {
    uint8_t method;     // enum sl_method, SL_PLAN_METHOD_ALL, or SL_METHOD_OTHER with method_off/len
    uint8_t seg_count;  // 1 to 64
    uint8_t step_count; // at least 1; a step that ends the chain comes last
    uint8_t reserved0;
    uint32_t seg_first; // index in segs
    uint32_t step_first; // index in steps
    uint32_t method_off, method_len;
    uint32_t reserved1;
};
_Static_assert(sizeof(struct sl_plan_entry) == 24, "ABI");

struct sl_plan_step {
    uint8_t op; // enum sl_plan_op
    uint8_t reserved0;
    uint16_t reserved1;
    uint32_t arg;   // index in the op's own table
    uint32_t route; // index in app.routes: for explain and logs
    uint32_t reserved2;
};
_Static_assert(sizeof(struct sl_plan_step) == 16, "ABI");

struct sl_plan_seg {
    uint8_t kind;
    uint8_t reserved;
    uint16_t len;
    uint32_t off;
};
_Static_assert(sizeof(struct sl_plan_seg) == 8, "ABI");

// What the `off` of a CLASS segment points to; not aligned.
struct sl_plan_class {
    uint8_t set[16]; // of bytes 0 to 127: bit (byte % 8) of set[byte / 8]
    uint32_t min, max;
};
_Static_assert(sizeof(struct sl_plan_class) == 24, "ABI");

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
    uint8_t early_data; // 1: it understands Early-Data (RFC 8470), so requests in early data are forwarded to it; else they wait
    uint16_t port;
    uint8_t addr[16];            // network order; IPv4 in the first four
    uint32_t name_off, name_len; // as in options and logs
    uint32_t conns_max;          // per worker; 1-4096
    uint32_t idle_max;           // kept idle per worker
    uint32_t connect_timeout_ms;
    uint32_t head_timeout_ms;    // from the request's last byte to the answer's head
    uint32_t idle_timeout_ms;    // of a pooled connection; also between two parts of an answer's body
    uint32_t id;                 // how SL_VERDICT_PROXY names it. The first row of several counts
    uint32_t tunnel_idle_timeout_ms; // of a WebSocket with nothing from either side; once one has ended, at most idle_timeout_ms
};
_Static_assert(sizeof(struct sl_plan_upstream) == 56, "ABI");

// A headers step: two runs of edits, done in order.
struct sl_plan_headers {
    uint32_t request_first, request_count;   // indices in edits
    uint32_t response_first, response_count;
    uint32_t request_bytes, response_bytes;  // the sum of their `len`
};
_Static_assert(sizeof(struct sl_plan_headers) == 24, "ABI");

enum sl_plan_edit_kind {
    SL_PLAN_EDIT_REMOVE = 0, // the lines of this name go
    SL_PLAN_EDIT_SET = 1,    // they go, and this one comes
    SL_PLAN_EDIT_APPEND = 2, // this one comes, too
};

struct sl_plan_edit {
    uint8_t kind; // enum sl_plan_edit_kind
    uint8_t last; // C's: 1: no edit behind it in its run takes it away. 0: not known
    uint16_t name_len; // bytes at `off`, in lower case
    uint32_t off, len; // REMOVE: the name alone; else "name: value\r\n". Never a framing or hop-by-hop field, Host in requests or Date in answers
    uint32_t bit; // C's: of its name (http1_edit.h). 0: not known
};
_Static_assert(sizeof(struct sl_plan_edit) == 16, "ABI");

// What all policies have. The sizes are the most that it needs for one request; its op's check sees that they are enough.
struct sl_plan_policy {
    uint8_t op; // that of the steps that name it
    uint8_t reserved0;
    uint16_t request_bytes, response_bytes; // lines that it adds to the heads
    uint16_t scratch_bytes;
    uint32_t record_off, record_len; // struct sl_plan_<op> and what it points at; 8-byte aligned
    uint32_t respond;                // what it answers itself: index in responds, SL_PLAN_NONE: nothing
    uint32_t upstream;               // where it may end the chain: index in upstreams, SL_PLAN_NONE: nowhere
    uint32_t identity;               // of its options: a policy keeps what it has counted if the next plan has one of this op and identity
    uint32_t reserved1;
};
_Static_assert(sizeof(struct sl_plan_policy) == 32, "ABI");

#endif
