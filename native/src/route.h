// Which entry of a plan answers a request: Hono's matching, for the patterns that a plan can hold. proxy layer, pure.
#ifndef SL_ROUTE_H
#define SL_ROUTE_H

#include "http1_parse.h"
#include "plan.h"

// The path as Hono's getPath gives it: each run of percent-escapes is decoded as decodeURI does, or stays whole if it is not valid UTF-8;
// escapes of ; / ? : @ & = + $ , # % stay. out has room for len bytes. Returns bytes written.
size_t sl_route_decode(uint8_t *out, const uint8_t *path, size_t len);

// The first matching entry, or NULL. `path` is decoded and starts with '/'.
const struct sl_plan_entry *sl_route_match(const struct sl_plan *plan, enum sl_method method,
                                           struct sl_span method_name, struct sl_span path);

#endif
