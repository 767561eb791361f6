#include "concurrency.h"

#include <stdatomic.h>
#include <stdlib.h>

#define BUCKET_PLACES 8u
#define COUNT_BITS 24
#define COUNT_MASK ((1ull << COUNT_BITS) - 1)

typedef _Atomic uint64_t place;

struct sl_concurrency {
    uint64_t bucket_mask;
    place *places;
};
_Static_assert(SL_CONCURRENCY_MAX == COUNT_MASK, "a count never runs into the hash");

int sl_concurrency_new(struct sl_concurrency **out_table, uint32_t requests_max) {
    uint64_t count = BUCKET_PLACES;
    while (count < 4ull * requests_max) {
        count *= 2;
    }
    struct sl_concurrency *table = malloc(sizeof(*table));
    place *places = aligned_alloc(64, count * sizeof(*places));
    if (!table || !places) {
        free(table);
        free((void *)places);
        return sl_fail(SL_E_NO_MEMORY, "a table for %llu places of concurrency limits",
                       (unsigned long long)count);
    }
    memset((void *)places, 0, count * sizeof(*places)); // resident from here on
    table->bucket_mask = count / BUCKET_PLACES - 1;
    table->places = places;
    *out_table = table;
    return SL_OK;
}

void sl_concurrency_free(struct sl_concurrency *table) {
    if (table) {
        free((void *)table->places);
        free(table);
    }
}

static uint64_t load(const place *p) { return atomic_load_explicit(p, memory_order_relaxed); }

// The key's first place if it has one, else the first empty one, else NULL. A tag is only believed while its place is not empty. *out_count: requests in all
// places of the key, or else two of them would let in twice as many.
static place *find(place *bucket, uint64_t tag, uint64_t *out_word, uint64_t *out_count) {
    place *own = NULL, *empty = NULL;
    uint64_t own_word = 0, empty_word = 0, count = 0;
    for (uint32_t i = 0; i < BUCKET_PLACES; i++) {
        uint64_t word = load(&bucket[i]);
        if ((word & COUNT_MASK) == 0) {
            empty_word = empty ? empty_word : word;
            empty = empty ? empty : &bucket[i];
        } else if (word >> COUNT_BITS == tag) {
            own_word = own ? own_word : word;
            own = own ? own : &bucket[i];
            count += word & COUNT_MASK;
        }
    }
    *out_word = own ? own_word : empty_word;
    *out_count = count;
    return own ? own : empty;
}

enum sl_concurrency_answer sl_concurrency_enter(struct sl_concurrency *table, uint64_t hash,
                                                uint32_t max, uint32_t *out_place) {
    uint64_t tag = hash >> COUNT_BITS;
    place *bucket = table->places + (hash & table->bucket_mask) * BUCKET_PLACES;
    for (;;) {
        uint64_t word, count;
        place *p = find(bucket, tag, &word, &count);
        if (!p) {
            return SL_CONCURRENCY_NO_PLACE;
        }
        if (count >= max) {
            return SL_CONCURRENCY_FULL;
        }
        uint64_t entered = tag << COUNT_BITS | ((word & COUNT_MASK) + 1);
        if (atomic_compare_exchange_strong_explicit(p, &word, entered, memory_order_relaxed,
                                                    memory_order_relaxed)) {
            *out_place = (uint32_t)(p - table->places);
            return SL_CONCURRENCY_IN;
        }
    }
}

void sl_concurrency_leave(struct sl_concurrency *table, uint32_t number) {
    uint64_t before = atomic_fetch_sub_explicit(&table->places[number], 1, memory_order_relaxed);
    SL_ASSERT((before & COUNT_MASK) > 0); // left twice
}

uint64_t sl_concurrency_live(const struct sl_concurrency *table) {
    uint64_t live = 0;
    for (uint64_t i = 0; i < (table->bucket_mask + 1) * BUCKET_PLACES; i++) {
        live += load(&table->places[i]) & COUNT_MASK;
    }
    return live;
}
