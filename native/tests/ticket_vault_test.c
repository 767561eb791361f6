// The vault of sealed tickets' keys: a key comes out once, whole and the right one, or not at all.
#include "../src/ticket_vault.h"

#include <pthread.h>
#include <stdatomic.h>

#include "test.h"

static void fill(uint8_t id[SL_TICKET_ID_BYTES], uint64_t a, uint64_t b) {
    memcpy(id, &a, 8);
    memcpy(id + 8, &b, 8);
}

// A key that tells which id it belongs to.
static void key_for(uint8_t key[SL_TICKET_VAULT_KEY_BYTES], const uint8_t id[SL_TICKET_ID_BYTES]) {
    for (unsigned i = 0; i < SL_TICKET_VAULT_KEY_BYTES; i++) {
        key[i] = (uint8_t)(id[i % SL_TICKET_ID_BYTES] * 7 + i);
    }
}

static enum sl_ticket_put put(struct sl_ticket_vault *vault, uint64_t a, uint64_t b, uint32_t now_s,
                              uint32_t expires_s) {
    uint8_t id[SL_TICKET_ID_BYTES], key[SL_TICKET_VAULT_KEY_BYTES];
    fill(id, a, b);
    key_for(key, id);
    return sl_ticket_vault_put(vault, id, key, now_s, expires_s);
}

static bool take(struct sl_ticket_vault *vault, uint64_t a, uint64_t b, uint32_t now_s) {
    uint8_t id[SL_TICKET_ID_BYTES], key[SL_TICKET_VAULT_KEY_BYTES], got[SL_TICKET_VAULT_KEY_BYTES];
    fill(id, a, b);
    key_for(key, id);
    if (!sl_ticket_vault_take(vault, id, now_s, got)) {
        return false;
    }
    CHECK(memcmp(got, key, sizeof(key)) == 0);
    return true;
}

TEST(a_key_is_taken_once) {
    struct sl_ticket_vault *vault;
    REQUIRE(sl_ticket_vault_new(&vault, SL_TICKET_VAULT_BYTES_MIN) == SL_OK);
    CHECK(!take(vault, 1, 2, 0));
    CHECK_INT(put(vault, 1, 2, 0, 10), SL_TICKET_PUT_YES);
    CHECK(!take(vault, 2, 2, 0));
    CHECK(take(vault, 1, 2, 9));
    CHECK(!take(vault, 1, 2, 9));
    sl_ticket_vault_free(vault);
}

TEST(an_expired_key_is_gone) {
    struct sl_ticket_vault *vault;
    REQUIRE(sl_ticket_vault_new(&vault, SL_TICKET_VAULT_BYTES_MIN) == SL_OK);
    CHECK_INT(put(vault, 1, 2, 0, 10), SL_TICKET_PUT_YES);
    CHECK(!take(vault, 1, 2, 10));
    CHECK(!take(vault, 1, 2, 9)); // and erased
    sl_ticket_vault_free(vault);
}

TEST(the_one_that_expires_first_gives_way) {
    struct sl_ticket_vault *vault;
    REQUIRE(sl_ticket_vault_new(&vault, SL_TICKET_VAULT_BYTES_MIN) == SL_OK);
    for (uint32_t i = 1; i <= 8; i++) {
        CHECK_INT(put(vault, i, 0, 0, 100 - i), SL_TICKET_PUT_YES);
    }
    CHECK_INT(put(vault, 9, 0, 0, 200), SL_TICKET_PUT_EVICTED); // of number 8
    CHECK(!take(vault, 8, 0, 0));
    CHECK_INT(put(vault, 10, 0, 93, 200), SL_TICKET_PUT_YES); // number 7 has expired
    for (uint32_t i = 1; i <= 10; i++) {
        CHECK_MSG(take(vault, i, 0, 0) == (i != 7 && i != 8), "number %u", i);
    }
    sl_ticket_vault_free(vault);
}

// Two threads put and take at once, in a vault so small that they always meet. No key may come out twice, or with another's bytes.
#define RACE_IDS 200000u
static struct sl_ticket_vault *race_vault;
static _Atomic uint8_t race_won[RACE_IDS];
static _Atomic uint32_t race_twice, race_wrong, race_wins;

static void *race_main(void *arg) {
    uint32_t number = (uint32_t)(uintptr_t)arg;
    uint8_t id[SL_TICKET_ID_BYTES], key[SL_TICKET_VAULT_KEY_BYTES], got[SL_TICKET_VAULT_KEY_BYTES];
    for (uint32_t i = number; i < RACE_IDS; i += 2) {
        put(race_vault, i + 1, i % 16, 0, i + 1);
        for (uint32_t k = i < 20 ? 0 : i - 20; k <= i + 1; k++) { // both try those of both
            fill(id, k + 1, k % 16);
            if (k < RACE_IDS && sl_ticket_vault_take(race_vault, id, 0, got)) {
                key_for(key, id);
                atomic_fetch_add_explicit(&race_wrong, memcmp(key, got, sizeof(key)) != 0,
                                          memory_order_relaxed);
                atomic_fetch_add_explicit(
                    &race_twice,
                    atomic_fetch_add_explicit(&race_won[k], 1, memory_order_relaxed) > 0,
                    memory_order_relaxed);
                atomic_fetch_add_explicit(&race_wins, 1, memory_order_relaxed);
            }
        }
    }
    return NULL;
}

TEST(two_threads_never_take_the_same_key) {
    pthread_t threads[2];
    REQUIRE(sl_ticket_vault_new(&race_vault, 16384) == SL_OK);
    for (uintptr_t i = 0; i < 2; i++) {
        SL_ASSERT(pthread_create(&threads[i], NULL, race_main, (void *)i) == 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_INT(race_twice, 0);
    CHECK_INT(race_wrong, 0);
    CHECK(race_wins > RACE_IDS / 2);
    sl_ticket_vault_free(race_vault);
}
