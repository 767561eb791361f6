// How much each client has asked for lately, over all workers: the table behind rateLimit() steps. base layer. Any thread, without a lock.
//
// The rule is GCRA (the generic cell rate algorithm, ITU-T I.371): of each key one point in time is remembered, its `tat`, at which all that it
// has asked for would have been done at the rate. A request moves it by the rate's interval; it passes if `tat` is then at most burst
// intervals from now. So a key may take `burst` at once and `rate` a second in the long run, and one whose `tat` has passed is as good as one
// that is not there.
//
//   a slot, one 64-bit word:  | 24 bits of the key's hash | 40 bits of its tat in us, modulo 2^40 (12.7 days) |
//   a bucket, one cache line: 8 slots; other bits of the hash choose it
//
// A decision reads one line and writes one word, with one compare-and-swap. A new key takes a slot that says nothing any more. If all eight say
// something, the one whose tat comes first goes, which loses the least: who has asked for much stays, whatever a flood of other keys does, and
// each such loss is reported, for it gives somebody a little more than the limit. Two keys of one bucket share a slot with a probability of
// 2^-24, and nobody who does not know the hash's key can choose them.
#ifndef SL_RATE_LIMIT_H
#define SL_RATE_LIMIT_H

#include "base.h"

#define SL_RATE_WINDOW_US_MAX 86400000000ull // burst times interval: a day

struct sl_rate {
    uint64_t interval_us; // between two requests in the long run, at least 1
    uint64_t window_us;   // burst * interval_us, at most SL_RATE_WINDOW_US_MAX
};

struct sl_rate_answer {
    bool passes;
    bool evicted;       // another key was forgotten
    uint32_t remaining; // requests that would pass now
    uint64_t full_us;   // until `burst` of them would
    uint64_t wait_us;   // until one would: 0 while remaining is not
};

struct sl_rate_limit;
// keys_max: 8 bytes each, rounded up to a power of two.
int sl_rate_limit_new(struct sl_rate_limit **out_table, uint32_t keys_max);
void sl_rate_limit_free(struct sl_rate_limit *table); // NULL: nothing
// One request of the key that has this hash (hash.h). now_us: any clock that only goes on, the same one for every call.
struct sl_rate_answer sl_rate_limit_take(struct sl_rate_limit *table, uint64_t hash, const struct sl_rate *rate, uint64_t now_us);
uint32_t sl_rate_limit_live(const struct sl_rate_limit *table, uint64_t now_us); // keys that are remembered: reads all of it

#endif
