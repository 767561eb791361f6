#include "rate_limit.h"

#include <stdatomic.h>
#include <stdlib.h>

#define BUCKET_SLOTS 8u
#define TAT_BITS 40
#define TAT_MASK ((1ull << TAT_BITS) - 1)
#define SWEEP_US SL_RATE_WINDOW_US_MAX

typedef _Atomic uint64_t slot;

// A tat of long ago would look like one in the future once the 40 bits have gone round. So once a day all that says nothing is cleared: what stays
// then is at most two days ahead, and nothing is ever older than the time since the sweep before.
struct sl_rate_limit {
    _Alignas(64) uint64_t bucket_mask;
    slot *slots;
    _Alignas(64) _Atomic uint64_t swept_us;
};
_Static_assert(4 * SL_RATE_WINDOW_US_MAX + SWEEP_US < TAT_MASK, "a tat is never taken for another");

int sl_rate_limit_new(struct sl_rate_limit **out_table, uint32_t keys_max) {
    uint64_t count = BUCKET_SLOTS;
    while (count < keys_max) {
        count *= 2;
    }
    struct sl_rate_limit *table = aligned_alloc(_Alignof(struct sl_rate_limit), sizeof(*table));
    slot *slots = aligned_alloc(64, count * sizeof(*slots));
    if (!table || !slots) {
        free(table);
        free(slots);
        return sl_fail(SL_E_NO_MEMORY, "a table for %llu keys of rate limits",
                       (unsigned long long)count);
    }
    memset((void *)slots, 0, count * sizeof(*slots)); // resident from here on
    table->bucket_mask = count / BUCKET_SLOTS - 1;
    table->slots = slots;
    atomic_init(&table->swept_us, 0); // an empty table may be swept at any time
    *out_table = table;
    return SL_OK;
}

void sl_rate_limit_free(struct sl_rate_limit *table) {
    if (table) {
        free((void *)table->slots);
        free(table);
    }
}

// How long a slot still says something; 0: it says nothing. One that is days ahead is a past that has gone round.
static uint64_t ahead_us(uint64_t word, uint64_t now_us) {
    uint64_t ahead = (word - now_us) & TAT_MASK;
    return word == 0 || ahead > 2 * SL_RATE_WINDOW_US_MAX ? 0 : ahead;
}

static uint64_t word_of(uint64_t tag, uint64_t tat_us) {
    return tag << TAT_BITS | (tat_us & TAT_MASK);
}

static uint64_t load(const slot *s) { return atomic_load_explicit(s, memory_order_relaxed); }

static bool swap(slot *s, uint64_t from, uint64_t to) {
    return atomic_compare_exchange_strong_explicit(s, &from, to, memory_order_relaxed,
                                                   memory_order_relaxed);
}

static void sweep(struct sl_rate_limit *table, uint64_t swept_us, uint64_t now_us) {
    if (!swap(&table->swept_us, swept_us, now_us)) {
        return; // another worker does
    }
    // Nobody has asked for so long that what is old cannot be told from what is new; but then nothing is new.
    bool all = now_us - swept_us > TAT_MASK - 4 * SL_RATE_WINDOW_US_MAX;
    for (uint64_t i = 0; i < (table->bucket_mask + 1) * BUCKET_SLOTS; i++) {
        uint64_t word = load(&table->slots[i]);
        if (word != 0 && (all || ahead_us(word, now_us) == 0)) {
            swap(&table->slots[i], word, 0);
        }
    }
}

// Where a key is, or where it would be. The slot that says the least is the first one that says nothing, if there is one.
static slot *find(slot *bucket, uint64_t tag, uint64_t now_us, uint64_t *out_word) {
    slot *best = NULL;
    uint64_t best_word = 0, best_ahead = UINT64_MAX;
    for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
        uint64_t word = load(&bucket[i]);
        if (word >> TAT_BITS == tag) {
            *out_word = word;
            return &bucket[i];
        }
        uint64_t ahead = ahead_us(word, now_us);
        if (ahead < best_ahead) {
            best = &bucket[i];
            best_word = word;
            best_ahead = ahead;
        }
    }
    *out_word = best_word;
    return best;
}

static struct sl_rate_answer answer_of(bool passes, uint64_t ahead, const struct sl_rate *rate) {
    uint64_t left = ahead < rate->window_us ? rate->window_us - ahead : 0;
    struct sl_rate_answer answer = {
        .passes = passes,
        .remaining = (uint32_t)sl_min_u64(left / rate->interval_us, UINT32_MAX),
        .full_us = ahead,
    };
    if (answer.remaining == 0) {
        answer.wait_us = ahead + rate->interval_us - rate->window_us;
    }
    return answer;
}

struct sl_rate_answer sl_rate_limit_take(struct sl_rate_limit *table, uint64_t hash,
                                         const struct sl_rate *rate, uint64_t now_us) {
    uint64_t swept_us = load(&table->swept_us);
    if (SL_UNLIKELY((int64_t)(now_us - swept_us) > (int64_t)SWEEP_US)) {
        sweep(table, swept_us, now_us);
    }
    uint64_t tag = hash >> TAT_BITS ? hash >> TAT_BITS : 1; // 0 is an empty slot's
    slot *bucket = table->slots + (hash & table->bucket_mask) * BUCKET_SLOTS;
    for (;;) {
        uint64_t word;
        slot *s = find(bucket, tag, now_us, &word);
        bool known = word >> TAT_BITS == tag;
        uint64_t old_ahead = ahead_us(word, now_us);
        uint64_t ahead = (known ? old_ahead : 0) + rate->interval_us;
        if (ahead > rate->window_us) {
            return answer_of(false, ahead - rate->interval_us, rate);
        }
        if (swap(s, word, word_of(tag, now_us + ahead))) {
            struct sl_rate_answer answer = answer_of(true, ahead, rate);
            answer.evicted = !known && old_ahead > 0;
            return answer;
        }
    }
}

uint32_t sl_rate_limit_live(const struct sl_rate_limit *table, uint64_t now_us) {
    uint32_t live = 0;
    for (uint64_t i = 0; i < (table->bucket_mask + 1) * BUCKET_SLOTS; i++) {
        live += ahead_us(load(&table->slots[i]), now_us) > 0;
    }
    return live;
}
