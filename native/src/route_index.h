// Finds a request's entries without comparing them all: a trie of the plan's patterns, made when the plan is loaded. proxy layer, pure.
//
// Each node stands for a list of segments from the root. Static children are found by one hash of (node, bytes), the others are few and linked.
// A node's entries are two ascending lists: of patterns that end there, and of those that go on with REST. A path visits each node at most once,
// and the lists that it meets, taken by the smallest number first, are its entries in registration order.
#ifndef SL_ROUTE_INDEX_H
#define SL_ROUTE_INDEX_H

#include "base.h"
#include "sluice/plan.h"

struct sl_plan;
struct sl_route_index;

// Fewer entries are compared one by one: that is cheaper than a walk in the trie. The fuzzers set it to 1.
#ifndef SL_ROUTE_INDEX_MIN
#define SL_ROUTE_INDEX_MIN 8u
#endif
// Lists that one path may meet; a path that meets more is compared with all entries.
#define SL_ROUTE_LISTS_MAX 32u

struct sl_route_list {
    const uint32_t *at, *end; // indices in the plan's entries, ascending
};

// Of a plan whose tables are checked. NULL: no memory.
struct sl_route_index *sl_route_index_new(const struct sl_plan *plan);
void sl_route_index_free(struct sl_route_index *index);

// The lists of all entries whose pattern takes the path (decoded, starts with '/'). Returns how many, or SL_ROUTE_LISTS_MAX + 1: too many.
uint32_t sl_route_index_find(const struct sl_plan *plan, struct sl_span path,
                             struct sl_route_list lists[SL_ROUTE_LISTS_MAX]);

#endif
