// Which steps of a plan a request passes: Hono's matching, for the patterns that a plan can hold. proxy layer, pure.
#ifndef SL_ROUTE_H
#define SL_ROUTE_H

#include "http1_parse.h"
#include "plan.h"

// The path as Hono's getPath gives it: each run of percent-escapes is decoded as decodeURI does, or stays whole if it is not valid UTF-8;
// escapes of ; / ? : @ & = + $ , # % stay. out has room for len bytes. Returns bytes written.
size_t sl_route_decode(uint8_t *out, const uint8_t *path, size_t len);

// A head's path as it is matched. `escaped`: it may have escapes, and out has room for path.len bytes.
struct sl_span sl_route_path(const struct sl_plan *plan, struct sl_span path, bool escaped, uint8_t *out);

// What a request passes: the steps before the one that decides, and that one.
struct sl_chain {
    const struct sl_plan_step *end; // NULL: no route answers
    uint16_t steps[SL_PLAN_CHAIN_MAX]; // indices in the plan's steps
    uint8_t count;
    uint8_t policies;
    uint16_t request_bytes, response_bytes, scratch_bytes; // of their edits
};

// `path` is decoded and starts with '/'.
void sl_route_chain(struct sl_chain *out, const struct sl_plan *plan, enum sl_method method, struct sl_span method_name,
                    struct sl_span path);
// The same, entry by entry: for plans too small for an index, and what the index is judged by.
void sl_route_chain_slowly(struct sl_chain *out, const struct sl_plan *plan, enum sl_method method, struct sl_span method_name,
                           struct sl_span path);

// Whether an entry's pattern takes the path, whatever the method.
bool sl_route_takes(const struct sl_plan *plan, const struct sl_plan_entry *entry, struct sl_span path);

// Whether a PARAM or CLASS segment takes what lies between two slashes, or TAIL what remains.
bool sl_route_param_takes(const struct sl_plan *plan, const struct sl_plan_seg *seg, struct sl_span text);

#endif
