// Rings of session ticket keys: which key seals when, which still open, and what a rotation keeps.
#include "../src/stek.h"

#include "test.h"

static struct sl_stek_key key_of(uint8_t byte, int64_t not_before_ms) {
    struct sl_stek_key key = {.not_before_ms = not_before_ms};
    memset(key.key, byte, sizeof(key.key));
    return key;
}

static struct sl_span span(const void *data, size_t len) { return (struct sl_span){data, len}; }

TEST(the_youngest_key_whose_time_has_come_seals) {
    struct sl_stek_key keys[] = {key_of(3, 3000), key_of(1, 1000), key_of(2, 2000)};
    struct sl_stek_ring *ring;
    REQUIRE(sl_stek_ring_new(&ring, keys, 3) == SL_OK);
    CHECK_INT(sl_stek_ring_count(ring), 3);
    CHECK_INT(sl_stek_ring_last_ms(ring), 3000);
    const struct sl_stek *first = sl_stek_current(ring, 1000);
    CHECK(sl_stek_current(ring, 0) == first);
    CHECK(sl_stek_current(ring, 1999) == first);
    CHECK(sl_stek_current(ring, 2000) != first);
    CHECK(sl_stek_current(ring, 3000) != sl_stek_current(ring, 2999));
    CHECK(sl_stek_current(ring, INT64_MAX) == sl_stek_current(ring, 3000));
    CHECK(sl_stek_find(ring, sl_stek_id(first)) == first);
    uint8_t stranger[SL_STEK_ID_BYTES] = {0};
    CHECK(sl_stek_find(ring, stranger) == NULL);
    sl_stek_ring_unref(ring);
}

TEST(a_ring_needs_different_keys) {
    struct sl_stek_key keys[SL_STEKS_MAX + 1];
    struct sl_stek_ring *ring;
    for (unsigned i = 0; i <= SL_STEKS_MAX; i++) {
        keys[i] = key_of((uint8_t)i, i);
    }
    CHECK_INT(sl_stek_ring_new(&ring, keys, 0), SL_E_TLS_CONFIG);
    CHECK_INT(sl_stek_ring_new(&ring, keys, SL_STEKS_MAX + 1), SL_E_TLS_CONFIG);
    keys[1] = key_of(0, 7);
    CHECK_INT(sl_stek_ring_new(&ring, keys, 2), SL_E_TLS_CONFIG);
    CHECK(ring == NULL);
}

TEST(what_one_process_seals_another_with_the_key_opens) {
    struct sl_stek_key key = key_of(9, 0), other = key_of(8, 0);
    struct sl_stek_ring *a, *b, *c;
    REQUIRE(sl_stek_ring_new(&a, &key, 1) == SL_OK && sl_stek_ring_new(&b, &key, 1) == SL_OK &&
            sl_stek_ring_new(&c, &other, 1) == SL_OK);
    uint8_t sealed[64], opened[64], nonce[SL_STEK_NONCE_BYTES] = {1};
    struct sl_span aad = span("aad", 3), text = span("a session", 9);
    int64_t n = sl_stek_seal(sl_stek_current(a, 0), sealed, sizeof(sealed), nonce, aad, text);
    REQUIRE(n == 9 + SL_STEK_TAG_BYTES);
    const struct sl_stek *found = sl_stek_find(b, sl_stek_id(sl_stek_current(a, 0)));
    REQUIRE(found);
    CHECK_INT(sl_stek_open(found, opened, sizeof(opened), nonce, aad, span(sealed, (size_t)n)), 9);
    CHECK(memcmp(opened, "a session", 9) == 0);
    for (int64_t i = 0; i < n; i++) { // one bit changed anywhere
        sealed[i] ^= 0x10;
        CHECK_INT(sl_stek_open(found, opened, sizeof(opened), nonce, aad, span(sealed, (size_t)n)), -1);
        sealed[i] ^= 0x10;
    }
    CHECK_INT(sl_stek_open(found, opened, sizeof(opened), nonce, span("aae", 3), span(sealed, (size_t)n)), -1);
    CHECK_INT(sl_stek_open(sl_stek_current(c, 0), opened, sizeof(opened), nonce, aad, span(sealed, (size_t)n)), -1);
    for (int64_t cut = 0; cut < n; cut++) {
        CHECK_INT(sl_stek_open(found, opened, sizeof(opened), nonce, aad, span(sealed, (size_t)cut)), -1);
    }
    CHECK_INT(sl_stek_seal(sl_stek_current(a, 0), sealed, 24, nonce, aad, text), -1);
    sl_stek_ring_unref(a);
    sl_stek_ring_unref(b);
    sl_stek_ring_unref(c);
}

// Each second a rotation; a key seals for one second, and opens for `KEPT` in all.
TEST(rotation_publishes_ahead_and_keeps_what_was_asked) {
    enum { KEPT = 4, TURNS = 12 };
    struct sl_stek_ring *ring;
    uint8_t ids[TURNS + 1][SL_STEK_ID_BYTES];
    REQUIRE(sl_stek_ring_rotate(&ring, NULL, 0, 1000, KEPT) == SL_OK);
    CHECK_INT(sl_stek_ring_count(ring), 2);
    for (int turn = 0; turn < TURNS; turn++) {
        int64_t now = turn * 1000;
        memcpy(ids[turn], sl_stek_id(sl_stek_current(ring, now)), SL_STEK_ID_BYTES);
        // The next one is known a period ahead.
        memcpy(ids[turn + 1], sl_stek_id(sl_stek_current(ring, now + 1000)), SL_STEK_ID_BYTES);
        CHECK(memcmp(ids[turn], ids[turn + 1], SL_STEK_ID_BYTES) != 0);
        for (int k = 0; k <= turn; k++) {
            bool kept = turn - k < KEPT;
            CHECK_MSG((sl_stek_find(ring, ids[k]) != NULL) == kept, "turn %d, key %d", turn, k);
        }
        struct sl_stek_ring *next;
        REQUIRE(sl_stek_ring_rotate(&next, ring, now + 1000, 1000, KEPT) == SL_OK);
        CHECK(memcmp(sl_stek_id(sl_stek_current(next, now + 1000)), ids[turn + 1],
                     SL_STEK_ID_BYTES) == 0);
        sl_stek_ring_unref(ring);
        ring = next;
    }
    // Asleep for a day: one new key that seals now, and its next.
    struct sl_stek_ring *woken;
    REQUIRE(sl_stek_ring_rotate(&woken, ring, 86400000, 1000, KEPT) == SL_OK);
    CHECK_INT(sl_stek_ring_last_ms(woken), 86401000);
    CHECK(sl_stek_find(ring, sl_stek_id(sl_stek_current(woken, 86400000))) == NULL);
    // A rotation before its time changes nothing.
    struct sl_stek_ring *same;
    REQUIRE(sl_stek_ring_rotate(&same, woken, 86400000, 1000, KEPT) == SL_OK);
    CHECK_INT(sl_stek_ring_last_ms(same), 86401000);
    sl_stek_ring_unref(ring);
    sl_stek_ring_unref(woken);
    sl_stek_ring_unref(same);
}
