#include "random.h"

static uint32_t rotate(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

static void quarter(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d) {
    *a += *b;
    *d = rotate(*d ^ *a, 16);
    *c += *d;
    *b = rotate(*b ^ *c, 12);
    *a += *b;
    *d = rotate(*d ^ *a, 8);
    *c += *d;
    *b = rotate(*b ^ *c, 7);
}

void sl__random_block(const uint32_t key[8], uint32_t counter, uint8_t out[64]) {
    uint32_t start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, x[16];
    memcpy(start + 4, key, 32);
    start[12] = counter;
    memcpy(x, start, sizeof(x));
    for (int i = 0; i < 10; i++) {
        quarter(&x[0], &x[4], &x[8], &x[12]);
        quarter(&x[1], &x[5], &x[9], &x[13]);
        quarter(&x[2], &x[6], &x[10], &x[14]);
        quarter(&x[3], &x[7], &x[11], &x[15]);
        quarter(&x[0], &x[5], &x[10], &x[15]);
        quarter(&x[1], &x[6], &x[11], &x[12]);
        quarter(&x[2], &x[7], &x[8], &x[13]);
        quarter(&x[3], &x[4], &x[9], &x[14]);
    }
    for (int i = 0; i < 16; i++) {
        x[i] += start[i];
    }
    memcpy(out, x, sizeof(x)); // little endian, as the machines that we run on
}

static void refill(struct sl_random *random) {
    for (uint32_t i = 0; i < SL_RANDOM_POOL_BYTES / 64; i++) {
        sl__random_block(random->key, i, random->pool + i * 64u);
    }
    memcpy(random->key, random->pool, SL_RANDOM_KEY_BYTES);
    memset(random->pool, 0, SL_RANDOM_KEY_BYTES);
    random->used = SL_RANDOM_KEY_BYTES;
}

void sl_random_init(struct sl_random *random, const uint8_t seed[SL_RANDOM_KEY_BYTES]) {
    memcpy(random->key, seed, SL_RANDOM_KEY_BYTES);
    refill(random);
}

void sl_random_take(struct sl_random *random, uint8_t *out, size_t len) {
    SL_ASSERT(len <= SL_RANDOM_POOL_BYTES - SL_RANDOM_KEY_BYTES);
    if (len > SL_RANDOM_POOL_BYTES - random->used) {
        refill(random);
    }
    memcpy(out, random->pool + random->used, len);
    memset(random->pool + random->used, 0, len);
    random->used += (uint32_t)len;
}
