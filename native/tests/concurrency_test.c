#include "concurrency.h"

#include <pthread.h>
#include <stdatomic.h>

#include "test.h"

TEST(so_many_and_no_more) {
    struct sl_concurrency *table;
    uint32_t place[4];
    CHECK_INT(sl_concurrency_new(&table, 16), SL_OK);
    CHECK_INT(sl_concurrency_enter(table, 0x123456789abcull, 2, &place[0]), SL_CONCURRENCY_IN);
    CHECK_INT(sl_concurrency_enter(table, 0x123456789abcull, 2, &place[1]), SL_CONCURRENCY_IN);
    CHECK_INT(place[0], place[1]);
    CHECK_INT(sl_concurrency_enter(table, 0x123456789abcull, 2, &place[2]), SL_CONCURRENCY_FULL);
    CHECK_INT(sl_concurrency_enter(table, 0x223456789abcull, 2, &place[2]), SL_CONCURRENCY_IN); // another key
    CHECK_INT(sl_concurrency_live(table), 3);
    sl_concurrency_leave(table, place[0]);
    CHECK_INT(sl_concurrency_enter(table, 0x123456789abcull, 2, &place[3]), SL_CONCURRENCY_IN);
    sl_concurrency_leave(table, place[1]);
    sl_concurrency_leave(table, place[2]);
    sl_concurrency_leave(table, place[3]);
    CHECK_INT(sl_concurrency_live(table), 0);
    sl_concurrency_free(table);
}

// A key whose place is empty has none: it takes the first empty one, and so do others.
TEST(an_empty_place_is_anybodys) {
    struct sl_concurrency *table;
    uint32_t first, second;
    CHECK_INT(sl_concurrency_new(&table, 1), SL_OK);
    CHECK_INT(sl_concurrency_enter(table, 1ull << 24, 1, &first), SL_CONCURRENCY_IN);
    sl_concurrency_leave(table, first);
    CHECK_INT(sl_concurrency_enter(table, 2ull << 24, 1, &second), SL_CONCURRENCY_IN);
    CHECK_INT(first, second);
    CHECK_INT(sl_concurrency_enter(table, 1ull << 24, 1, &first), SL_CONCURRENCY_IN);
    CHECK(first != second);
    sl_concurrency_leave(table, first);
    sl_concurrency_leave(table, second);
    sl_concurrency_free(table);
}

TEST(a_ninth_key_of_one_bucket_has_no_place) {
    struct sl_concurrency *table;
    uint32_t place[9];
    CHECK_INT(sl_concurrency_new(&table, 1), SL_OK);
    for (uint64_t i = 0; i < 8; i++) {
        CHECK_INT(sl_concurrency_enter(table, (i + 1) << 24, 1, &place[i]), SL_CONCURRENCY_IN);
    }
    CHECK_INT(sl_concurrency_enter(table, 9ull << 24, 1, &place[8]), SL_CONCURRENCY_NO_PLACE);
    CHECK_INT(sl_concurrency_enter(table, 3ull << 24, 1, &place[8]), SL_CONCURRENCY_FULL);
    sl_concurrency_leave(table, place[5]);
    CHECK_INT(sl_concurrency_enter(table, 9ull << 24, 1, &place[8]), SL_CONCURRENCY_IN);
    CHECK_INT(place[8], place[5]);
    sl_concurrency_free(table);
}

enum { KEYS = 12, MAX = 3, ROUNDS = 3000000 };
static struct sl_concurrency *shared;
static _Atomic int inside[KEYS];
static _Atomic int broken, entered;
static pthread_barrier_t begin;

static void *enter_and_leave(void *seed) {
    uint64_t random = (uint64_t)(uintptr_t)seed * 0x9e3779b97f4a7c15ull | 1;
    uint32_t place[8], key[8], held = 0;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < ROUNDS; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if (held == 8 || (held > 0 && random & 1)) {
            held--;
            atomic_fetch_sub(&inside[key[held]], 1);
            sl_concurrency_leave(shared, place[held]);
            continue;
        }
        key[held] = (uint32_t)(random >> 33) % KEYS;
        if (sl_concurrency_enter(shared, (uint64_t)(key[held] + 1) << 24, MAX, &place[held]) == SL_CONCURRENCY_IN) {
            broken += atomic_fetch_add(&inside[key[held]], 1) > MAX;
            entered++;
            held++;
        }
    }
    while (held > 0) {
        held--;
        atomic_fetch_sub(&inside[key[held]], 1);
        sl_concurrency_leave(shared, place[held]);
    }
    return NULL;
}

// Twelve keys, all of one bucket, so that places change hands all the time. Two threads may give one key two places at the same moment; so the
// bound that must hold is one more for each of the other threads.
TEST(threads_that_come_and_go) {
    pthread_t threads[2];
    CHECK_INT(sl_concurrency_new(&shared, 1), SL_OK);
    pthread_barrier_init(&begin, NULL, 2);
    for (uintptr_t i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, enter_and_leave, (void *)(i + 1));
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(entered > ROUNDS / 4);
    pthread_barrier_destroy(&begin);
    CHECK_INT(sl_concurrency_live(shared), 0);
    CHECK_INT(broken, 0);
    sl_concurrency_free(shared);
}
