#include "route_index.h"

#include <stdlib.h>

#include "plan.h"
#include "route.h"

struct node {
    uint32_t seg; // the segment that leads here, in the plan's segs
    uint32_t other,
        sibling; // first child that is not static; next such child of the same parent. 0: none, for the root is nobody's child
    uint32_t ends,
        rests; // where its lists begin in `entries`: ends to rests, rests to the next node's ends
};

struct edge {
    uint32_t parent, child; // child 0: free
};

struct sl_route_index {
    struct node *nodes; // one more than there are: the end of the last one's lists
    struct edge *edges; // open addressing, at most half full
    uint32_t *entries;
    uint32_t node_count, edge_mask;
};

// FNV-1a. The table holds what the plan says and no more, so nobody can fill it with collisions.
static uint32_t hash_of(uint32_t parent) { return 2166136261u ^ (parent * 2654435761u); }

static uint32_t hash_with(uint32_t hash, uint8_t byte) { return (hash ^ byte) * 16777619u; }

static struct edge *edge_of(const struct sl_route_index *index, const struct sl_plan *plan,
                            uint32_t parent, struct sl_span text, uint32_t hash) {
    uint32_t slot = (hash ^ (hash >> 15)) & index->edge_mask;
    for (;; slot = (slot + 1) & index->edge_mask) {
        struct edge *edge = &index->edges[slot];
        if (edge->child == 0) {
            return edge;
        }
        const struct sl_plan_seg *seg = &plan->segs[index->nodes[edge->child].seg];
        if (edge->parent == parent && seg->len == text.len &&
            memcmp(plan->blob + seg->off, text.data, text.len) == 0) {
            return edge;
        }
    }
}

static bool same_kind(const struct sl_plan *plan, uint32_t a, uint32_t b) {
    const struct sl_plan_seg *x = &plan->segs[a], *y = &plan->segs[b];
    return x->kind == y->kind &&
           (x->kind != SL_PLAN_SEG_CLASS ||
            (x->len == y->len && memcmp(plan->blob + x->off, plan->blob + y->off, x->len) == 0));
}

// The child of `parent` for a segment of the plan; made if it is not there.
static uint32_t child_of(struct sl_route_index *index, const struct sl_plan *plan, uint32_t parent,
                         uint32_t seg) {
    const struct sl_plan_seg *s = &plan->segs[seg];
    struct edge *edge = NULL;
    uint32_t *link = &index->nodes[parent].other;
    if (s->kind == SL_PLAN_SEG_STATIC) {
        struct sl_span text = sl_plan_span(plan, s->off, s->len);
        uint32_t hash = hash_of(parent);
        for (size_t i = 0; i < text.len; i++) {
            hash = hash_with(hash, text.data[i]);
        }
        edge = edge_of(index, plan, parent, text, hash);
        if (edge->child) {
            return edge->child;
        }
    } else {
        for (; *link; link = &index->nodes[*link].sibling) {
            if (same_kind(plan, index->nodes[*link].seg, seg)) {
                return *link;
            }
        }
    }
    uint32_t made = index->node_count++;
    index->nodes[made] = (struct node){.seg = seg};
    if (edge) {
        *edge = (struct edge){parent, made};
    } else {
        *link = made;
    }
    return made;
}

// The node where an entry's pattern ends, or goes on with REST.
static uint32_t node_of(struct sl_route_index *index, const struct sl_plan *plan,
                        const struct sl_plan_entry *entry, bool *out_rest) {
    uint32_t node = 0;
    *out_rest = false;
    for (uint32_t i = 0; i < entry->seg_count && !*out_rest; i++) {
        uint32_t seg = entry->seg_first + i;
        *out_rest = plan->segs[seg].kind == SL_PLAN_SEG_REST;
        if (!*out_rest) {
            node = child_of(index, plan, node, seg);
        }
    }
    return node;
}

// `homes`: for each entry its node, twice, plus one for REST. Counts, then places: entries come in order, so lists ascend.
static void place(struct sl_route_index *index, const uint32_t *homes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct node *node = &index->nodes[homes[i] / 2];
        *(homes[i] % 2 ? &node->rests : &node->ends) += 1;
    }
    uint32_t at = 0;
    for (uint32_t n = 0; n <= index->node_count; n++) {
        struct node *node = &index->nodes[n];
        uint32_t ends = node->ends, rests = node->rests;
        node->ends = at;
        node->rests = at + ends;
        at += ends + rests;
    }
    for (uint32_t i = 0; i < count; i++) { // each mark runs to its list's end
        struct node *node = &index->nodes[homes[i] / 2];
        index->entries[(*(homes[i] % 2 ? &node->rests : &node->ends))++] = i;
    }
    for (uint32_t n = index->node_count; n > 0;
         n--) { // and back: a list begins where the one before it ends
        index->nodes[n].ends = index->nodes[n - 1].rests;
        index->nodes[n - 1].rests = index->nodes[n - 1].ends;
    }
    index->nodes[0].ends = 0;
}

static bool fill(struct sl_route_index *index, const struct sl_plan *plan) {
    uint32_t count = plan->header->entry_count, nodes = 1, edges = 8;
    for (uint32_t i = 0; i < count; i++) {
        nodes += plan->entries[i].seg_count;
    }
    while (edges < nodes * 2) {
        edges *= 2;
    }
    uint32_t *homes = malloc(count * sizeof(*homes));
    index->nodes = calloc(nodes + 1, sizeof(*index->nodes));
    index->edges = calloc(edges, sizeof(*index->edges));
    index->entries = malloc(count * sizeof(*index->entries));
    if (!homes || !index->nodes || !index->edges || !index->entries) {
        free(homes);
        return false;
    }
    index->edge_mask = edges - 1;
    index->node_count = 1;
    for (uint32_t i = 0; i < count; i++) {
        bool rest;
        homes[i] = node_of(index, plan, &plan->entries[i], &rest) * 2;
        homes[i] += rest;
    }
    place(index, homes, count);
    free(homes);
    return true;
}

struct sl_route_index *sl_route_index_new(const struct sl_plan *plan) {
    struct sl_route_index *index = calloc(1, sizeof(*index));
    if (index && !fill(index, plan)) {
        sl_route_index_free(index);
        return NULL;
    }
    return index;
}

void sl_route_index_free(struct sl_route_index *index) {
    if (index) {
        free(index->nodes);
        free(index->edges);
        free(index->entries);
        free(index);
    }
}

struct search {
    const struct sl_route_index *index;
    const struct sl_plan *plan;
    const uint8_t *end; // of the path
    struct sl_route_list *lists;
    uint32_t count;
};

static void meet(struct search *s, uint32_t first, uint32_t behind) {
    if (first == behind || s->count > SL_ROUTE_LISTS_MAX) {
        return;
    }
    if (s->count < SL_ROUTE_LISTS_MAX) {
        s->lists[s->count] =
            (struct sl_route_list){s->index->entries + first, s->index->entries + behind};
    }
    s->count++;
}

// `at`: the '/' of the next segment, or the path's end. As deep as patterns are: 64 at most.
static void visit(struct search *s, uint32_t number, const uint8_t *at) {
    const struct node *node = &s->index->nodes[number];
    meet(s, node->rests, node[1].ends);
    if (at == s->end) {
        meet(s, node->ends, node->rests);
        return;
    }
    uint32_t hash = hash_of(number);
    const uint8_t *next = ++at;
    for (; next != s->end && *next != '/'; next++) {
        hash = hash_with(hash, *next);
    }
    struct sl_span text = {at, (size_t)(next - at)};
    uint32_t child = edge_of(s->index, s->plan, number, text, hash)->child;
    if (child) {
        visit(s, child, next);
    }
    for (child = node->other; child; child = s->index->nodes[child].sibling) {
        const struct sl_plan_seg *seg = &s->plan->segs[s->index->nodes[child].seg];
        const uint8_t *end = seg->kind == SL_PLAN_SEG_TAIL ? s->end : next;
        if (sl_route_param_takes(s->plan, seg, (struct sl_span){at, (size_t)(end - at)})) {
            visit(s, child, end);
        }
    }
}

uint32_t sl_route_index_find(const struct sl_plan *plan, struct sl_span path,
                             struct sl_route_list lists[SL_ROUTE_LISTS_MAX]) {
    struct search s = {plan->index, plan, path.data + path.len, lists, 0};
    visit(&s, 0, path.data);
    return s.count;
}
