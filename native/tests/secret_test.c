#include "secret.h"

#include "test.h"

static bool equal(const char *given, const char *secret) {
    return sl_equal_const_time(sl_span_of(given), sl_span_of(secret));
}

TEST(equal_is_equal) {
    static const char *const texts[] = {"", "a", "b", "ab", "aa", "aba", "abab", "abc", "bca", "abcabc", "abcd", "abcdabcd"};
    for (size_t i = 0; i < SL_COUNT_OF(texts); i++) {
        for (size_t k = 0; k < SL_COUNT_OF(texts); k++) {
            CHECK_MSG(equal(texts[i], texts[k]) == (i == k), "\"%s\" and \"%s\"", texts[i], texts[k]);
        }
    }
}

TEST(each_bit_of_each_byte_counts) {
    uint8_t given[67], secret[67];
    memset(secret, 0x5a, sizeof(secret));
    for (size_t bit = 0; bit < 8 * sizeof(given); bit++) {
        memcpy(given, secret, sizeof(given));
        given[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(!sl_equal_const_time((struct sl_span){given, sizeof(given)}, (struct sl_span){secret, sizeof(secret)}));
    }
    memcpy(given, secret, sizeof(given));
    CHECK(sl_equal_const_time((struct sl_span){given, sizeof(given)}, (struct sl_span){secret, sizeof(secret)}));
}

TEST(nothing_is_read_behind_either) {
    uint8_t *given = malloc(5), *secret = malloc(3); // the address sanitizer watches their ends
    memcpy(given, "abcab", 5);
    memcpy(secret, "abc", 3);
    CHECK(!sl_equal_const_time((struct sl_span){given, 5}, (struct sl_span){secret, 3}));
    CHECK(!sl_equal_const_time((struct sl_span){secret, 3}, (struct sl_span){given, 5}));
    CHECK(!sl_equal_const_time((struct sl_span){given, 5}, (struct sl_span){NULL, 0}));
    CHECK(!sl_equal_const_time((struct sl_span){NULL, 0}, (struct sl_span){secret, 3}));
    CHECK(sl_equal_const_time((struct sl_span){NULL, 0}, (struct sl_span){NULL, 0}));
    free(given);
    free(secret);
}

TEST(wipe_leaves_nothing) {
    uint8_t bytes[32];
    memset(bytes, 7, sizeof(bytes));
    sl_wipe(bytes + 1, 30);
    CHECK(bytes[0] == 7 && bytes[31] == 7);
    for (int i = 1; i < 31; i++) {
        CHECK(bytes[i] == 0);
    }
    sl_wipe(NULL, 0);
}
