// SipHash-1-3. The expected values are those of another implementation, which gives the published vectors of SipHash-2-4 and CPython's hashes.
#include "hash.h"

#include "test.h"

TEST(values_of_every_kind_of_length) {
    static const struct {
        size_t len;
        uint64_t hash;
    } rows[] = {
        {0, 0xabac0158050fc4dc},  {1, 0xc9f49bf37d57ca93},  {7, 0xd3927d989bb11140},  {8, 0x369095118d299a8e},
        {9, 0x25a48eb36c063de4},  {15, 0xd320d86d2a519956}, {16, 0xcc4fdd1a7d908b66}, {63, 0x9d199062b7bbb3a8},
    };
    const struct sl_hash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    uint8_t text[64];
    for (int i = 0; i < 64; i++) {
        text[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        CHECK_INT(sl_hash(&key, text, rows[i].len), rows[i].hash);
    }
}

TEST(another_key_gives_another_value) {
    const struct sl_hash_key a = {1, 2}, b = {1, 3}, c = {2, 2};
    CHECK(sl_hash(&a, "x", 1) != sl_hash(&b, "x", 1));
    CHECK(sl_hash(&a, "x", 1) != sl_hash(&c, "x", 1));
}
