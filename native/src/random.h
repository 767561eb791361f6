// Unpredictable bytes: ChaCha20 (RFC 8439) with a key that is replaced at each refill, so that what was given out cannot be computed from what is
// kept. base layer. One stream belongs to one thread; its seed comes from the operating system.
#ifndef SL_RANDOM_H
#define SL_RANDOM_H

#include "base.h"

#define SL_RANDOM_KEY_BYTES 32u
#define SL_RANDOM_POOL_BYTES 512u

struct sl_random {
    uint32_t key[8];
    uint32_t used; // of the pool; these bytes are zero
    uint8_t pool[SL_RANDOM_POOL_BYTES];
};

void sl_random_init(struct sl_random *random, const uint8_t seed[SL_RANDOM_KEY_BYTES]);
void sl_random_take(struct sl_random *random, uint8_t *out, size_t len); // len at most SL_RANDOM_POOL_BYTES - SL_RANDOM_KEY_BYTES

// One block of the stream of `key` with nonce 0.
void sl__random_block(const uint32_t key[8], uint32_t counter, uint8_t out[64]);

#endif
