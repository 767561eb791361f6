#include "handoff.h"

#include <sched.h>

#define CLOSED (1ull << 63)

static uint64_t round_of(uint64_t place) { return place / SL_HANDOFF_PLACES; }

void sl_handoff_init(struct sl_handoff *h) {
    memset(h, 0, sizeof(*h));
    atomic_init(&h->tail, CLOSED);
}

void sl_handoff_open(struct sl_handoff *h) { atomic_fetch_and(&h->tail, ~CLOSED); }

void sl_handoff_close(struct sl_handoff *h) { atomic_fetch_or(&h->tail, CLOSED); }

bool sl_handoff_give(struct sl_handoff *h, struct sl_handoff_item item) {
    uint64_t at = atomic_load_explicit(&h->tail, memory_order_relaxed);
    for (;;) {
        struct sl_handoff_place *place = &h->places[at % SL_HANDOFF_PLACES];
        if (at & CLOSED) {
            return false;
        }
        // Free for this round, or the taker has not come round yet, or another giver was faster: then `at` is old.
        bool free = atomic_load_explicit(&place->turn, memory_order_acquire) == 2 * round_of(at);
        uint64_t now = at;
        if (free && atomic_compare_exchange_weak_explicit(
                        &h->tail, &now, at + 1, memory_order_relaxed, memory_order_relaxed)) {
            place->item = item;
            atomic_store_explicit(&place->turn, 2 * round_of(at) + 1, memory_order_release);
            return true;
        }
        now = free ? now : atomic_load_explicit(&h->tail, memory_order_relaxed);
        if (!free && now == at) {
            return false;
        }
        at = now;
    }
}

bool sl_handoff_take(struct sl_handoff *h, struct sl_handoff_item *out_item) {
    uint64_t at = atomic_load_explicit(&h->head, memory_order_relaxed);
    struct sl_handoff_place *place = &h->places[at % SL_HANDOFF_PLACES];
    while (atomic_load_explicit(&place->turn, memory_order_acquire) != 2 * round_of(at) + 1) {
        uint64_t tail = atomic_load_explicit(&h->tail, memory_order_relaxed);
        if (!(tail & CLOSED) || (tail & ~CLOSED) == at) {
            return false;
        }
        sched_yield();
    }
    *out_item = place->item;
    atomic_store_explicit(&place->turn, 2 * (round_of(at) + 1), memory_order_release);
    atomic_store_explicit(&h->head, at + 1, memory_order_relaxed);
    return true;
}

uint32_t sl_handoff_count(const struct sl_handoff *h) {
    uint64_t head = atomic_load_explicit(&h->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&h->tail, memory_order_relaxed) & ~CLOSED;
    return tail > head ? (uint32_t)(tail - head) : 0;
}
