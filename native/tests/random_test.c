// The stream of unpredictable bytes.
#include "random.h"

#include "test.h"

TEST(random_block_is_chacha20) {
    // RFC 8439 appendix A.1, test vectors 1 and 2: key 0, nonce 0, counter 0 and 1.
    static const uint8_t first[] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28};
    static const uint8_t second[] = {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a, 0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d};
    static const uint32_t key[8];
    uint8_t out[64];
    sl__random_block(key, 0, out);
    CHECK(memcmp(out, first, sizeof(first)) == 0);
    sl__random_block(key, 1, out);
    CHECK(memcmp(out, second, sizeof(second)) == 0);
}

TEST(random_bytes_are_given_once_and_forgotten) {
    static struct sl_random random, other;
    static const uint8_t seed[SL_RANDOM_KEY_BYTES] = {1};
    uint8_t taken[100][16], zero[SL_RANDOM_POOL_BYTES] = {0};
    sl_random_init(&random, seed);
    sl_random_init(&other, seed);
    for (int i = 0; i < 100; i++) { // three refills
        uint8_t again[16];
        sl_random_take(&random, taken[i], 16);
        sl_random_take(&other, again, 16);
        CHECK(memcmp(taken[i], again, 16) == 0);
        CHECK(memcmp(random.pool, zero, random.used) == 0);
        for (int k = 0; k < i; k++) {
            CHECK(memcmp(taken[i], taken[k], 16) != 0);
        }
    }
    CHECK(memcmp(random.key, seed, sizeof(seed)) != 0);
}
