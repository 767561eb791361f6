// A loaded plan (layout: include/sluice/plan.h): validated once, then immutable and shared by all workers. proxy layer.
//
// Lifetime. The gateway publishes a plan under a lock and bumps a version number. A worker that sees a new version takes a reference and makes
// a hold of its own; requests count on the worker's hold, not on the shared plan, so that no request touches a shared cache line. A hold that is
// no longer current and has no requests gives its reference back; the last one frees the plan.
#ifndef SL_PLAN_LOADED_H
#define SL_PLAN_LOADED_H

#include "http1_write.h"
#include "sluice/event.h"
#include "sluice/plan.h"

// Bodies up to this are copied behind their head: one segment, and their owner is free at once.
#define SL_BODY_COPY_MAX 2048u

struct sl_policy_state;

struct sl_plan {
    _Atomic uint32_t refs;
    const uint8_t *blob;
    const struct sl_plan_header *header;
    const struct sl_plan_entry *entries;
    const struct sl_plan_seg *segs;
    const struct sl_plan_step *steps;
    const struct sl_plan_respond *responds;
    const struct sl_plan_upstream *upstreams;
    const struct sl_plan_headers *headers;
    const struct sl_plan_edit *edits;
    const struct sl_plan_policy *policies;
    uint32_t *header_drops; // of each headers row, the bits of names that its runs take away: request, response
    struct sl_policy_state **policy_states; // by the index of a policy: what its op has opened, NULL where it has none (policy.h)
    struct sl_span via;
    struct sl_route_index *index; // NULL: so few entries that each is compared
    struct sl_prepared *prepared; // by the index of a respond step: its answer on a connection that stays open, without edits
    uint8_t *prepared_bytes;
    size_t blob_bytes;
    bool secret; // the blob holds secrets, as far as is known
};

// Copies and checks the blob. E_PLAN_INVALID with the offending table, index and value in the error text.
int sl_plan_new(struct sl_plan **out_plan, const uint8_t *blob, size_t len);
// Then, before a request uses it: what its policies count in. Those that `old` (may be NULL) has, too, go on counting. SL_OK or E_NO_MEMORY.
int sl_plan_open(struct sl_plan *plan, const struct sl_plan *old);
void sl_plan_ref(struct sl_plan *plan);
void sl_plan_unref(struct sl_plan *plan);

struct sl_response_head sl_plan_response(const struct sl_plan *plan, const struct sl_plan_respond *row);

bool sl_plan_holds(const struct sl_plan *plan, uint32_t off, uint64_t bytes); // lies inside of it
bool sl_plan_name_good(const uint8_t *name, size_t len); // a field's, in lower case, neither of framing nor hop-by-hop

static inline struct sl_span sl_plan_span(const struct sl_plan *plan, uint32_t off, uint32_t len) {
    return (struct sl_span){plan->blob + off, len};
}

#endif
