#include "random.h"

// A row of the state: its four columns at once.
typedef uint32_t row __attribute__((vector_size(16)));

static row rotate(row x, int bits) { return x << bits | x >> (32 - bits); }

static void quarters(row x[4]) {
    x[0] += x[1];
    x[3] = rotate(x[3] ^ x[0], 16);
    x[2] += x[3];
    x[1] = rotate(x[1] ^ x[2], 12);
    x[0] += x[1];
    x[3] = rotate(x[3] ^ x[0], 8);
    x[2] += x[3];
    x[1] = rotate(x[1] ^ x[2], 7);
}

static row left_1(row x) { return __builtin_shufflevector(x, x, 1, 2, 3, 0); }
static row left_2(row x) { return __builtin_shufflevector(x, x, 2, 3, 0, 1); }
static row left_3(row x) { return __builtin_shufflevector(x, x, 3, 0, 1, 2); }

void sl__random_block(const uint32_t key[8], uint32_t counter, uint8_t out[64]) {
    row start[4] = {{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}}, x[4];
    memcpy(&start[1], key, 32);
    start[3] = (row){counter};
    memcpy(x, start, sizeof(x));
    for (int i = 0; i < 10; i++) {
        quarters(x);
        x[1] = left_1(x[1]); // so that diagonals are columns
        x[2] = left_2(x[2]);
        x[3] = left_3(x[3]);
        quarters(x);
        x[1] = left_3(x[1]);
        x[2] = left_2(x[2]);
        x[3] = left_1(x[3]);
    }
    for (int i = 0; i < 4; i++) {
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
