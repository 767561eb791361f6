// The table of rate limits beside the rule as a program that is too simple to be wrong; what its 40 bits of time must not do; threads.
#include "rate_limit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "test.h"

#define DAY SL_RATE_WINDOW_US_MAX
static const uint64_t START = 123456789;
static const struct sl_rate TEN_A_SECOND = {100000, 500000}; // burst 5

static struct sl_rate_limit *table_of(uint32_t keys) {
    struct sl_rate_limit *table = NULL;
    CHECK_INT(sl_rate_limit_new(&table, keys), SL_OK);
    return table;
}

static uint64_t key_of(uint64_t i) { return (i + 1) << 40; } // all in the first bucket

static uint64_t next_random(uint64_t *random) {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random >> 11;
}

TEST(a_burst_then_the_rate) {
    struct sl_rate_limit *table = table_of(8);
    uint64_t now = START;
    for (uint32_t i = 0; i < 5; i++) {
        struct sl_rate_answer a = sl_rate_limit_take(table, 7, &TEN_A_SECOND, now);
        CHECK(a.passes && !a.evicted);
        CHECK_INT(a.remaining, 4 - i);
        CHECK_INT(a.full_us, (i + 1) * 100000);
        CHECK_INT(a.wait_us, i == 4 ? 100000 : 0);
    }
    for (int i = 0; i < 3; i++) { // refusals cost nothing
        struct sl_rate_answer a = sl_rate_limit_take(table, 7, &TEN_A_SECOND, now + 30000);
        CHECK(!a.passes);
        CHECK_INT(a.remaining, 0);
        CHECK_INT(a.wait_us, 70000);
        CHECK_INT(a.full_us, 470000);
    }
    CHECK(!sl_rate_limit_take(table, 7, &TEN_A_SECOND, now + 99999).passes);
    CHECK(sl_rate_limit_take(table, 7, &TEN_A_SECOND, now + 100000).passes);
    CHECK(!sl_rate_limit_take(table, 7, &TEN_A_SECOND, now + 100000).passes);
    CHECK_INT(sl_rate_limit_take(table, 7, &TEN_A_SECOND, now + 10000000).remaining, 4); // never more than the burst
    sl_rate_limit_free(table);
}

TEST(a_burst_of_one) {
    static const struct sl_rate rate = {1000000, 1000000};
    struct sl_rate_limit *table = table_of(8);
    CHECK(sl_rate_limit_take(table, 7, &rate, START).passes);
    CHECK(!sl_rate_limit_take(table, 7, &rate, START + 999999).passes);
    CHECK(sl_rate_limit_take(table, 7, &rate, START + 1000000).passes);
    sl_rate_limit_free(table);
}

// The rule, key by key, with exact numbers.
struct oracle {
    uint64_t tat;
};

static bool oracle_take(struct oracle *o, const struct sl_rate *rate, uint64_t now) {
    uint64_t tat = (o->tat > now ? o->tat : now) + rate->interval_us;
    if (tat - now > rate->window_us) {
        return false;
    }
    o->tat = tat;
    return true;
}

// Eight keys fill their bucket and none is ever forgotten; time goes on by anything from nothing to weeks, so that the 40 bits go round often.
TEST(as_the_rule_says_whatever_time_does) {
    static const struct sl_rate rates[] = {{1, 1}, {1, 100}, {333, 333 * 7}, {100000, 500000}, {DAY / 3, DAY}, {DAY, DAY}};
    static const uint64_t steps[] = {0, 1, 50, 1000, 100000, 3000000, DAY / 5, DAY, 3 * DAY, 11 * DAY, 13 * DAY, 40 * DAY};
    uint64_t random = 88172645463325252ull;
    struct sl_rate_limit *table = table_of(8);
    struct oracle oracles[8] = {{0}};
    uint64_t now = START, passed = 0, refused = 0;
    for (int i = 0; i < 200000; i++) {
        uint64_t r = next_random(&random);
        uint32_t k = r % 8, rate = k % SL_COUNT_OF(rates);
        bool passes = oracle_take(&oracles[k], &rates[rate], now);
        struct sl_rate_answer a = sl_rate_limit_take(table, key_of(k), &rates[rate], now);
        CHECK_MSG(a.passes == passes && !a.evicted, "step %d, key %u: %d, expected %d", i, k, a.passes, passes);
        if (test_failures > 5) {
            break;
        }
        CHECK(a.full_us == (oracles[k].tat > now ? oracles[k].tat - now : 0));
        *(passes ? &passed : &refused) += 1;
        if ((r >> 8) % 4 == 0) {
            uint64_t most = steps[(r >> 12) % SL_COUNT_OF(steps)];
            now += most > 0 ? next_random(&random) % (most + 1) : 0;
        }
    }
    CHECK(passed > 10000 && refused > 10000);
    sl_rate_limit_free(table);
}

TEST(a_flood_of_new_keys_does_not_free_a_hot_one) {
    struct sl_rate_limit *table = table_of(8);
    uint32_t evicted = 0;
    for (int i = 0; i < 5; i++) {
        CHECK(sl_rate_limit_take(table, key_of(0), &TEN_A_SECOND, START).passes);
    }
    for (uint64_t i = 1; i < 100000; i++) {
        struct sl_rate_answer a = sl_rate_limit_take(table, key_of(i), &TEN_A_SECOND, START);
        CHECK(a.passes);
        evicted += a.evicted;
    }
    CHECK_INT(evicted, 100000 - 8); // each one but the first seven takes somebody's slot, and says so
    CHECK(!sl_rate_limit_take(table, key_of(0), &TEN_A_SECOND, START).passes);
    CHECK_INT(sl_rate_limit_live(table, START), 8);
    sl_rate_limit_free(table);
}

TEST(who_goes_is_counted) {
    struct sl_rate_limit *table = table_of(8);
    for (uint64_t k = 0; k < 8; k++) {
        for (uint64_t i = 0; i < 5; i++) {
            CHECK(!sl_rate_limit_take(table, key_of(k), &TEN_A_SECOND, START + k).evicted);
        }
    }
    struct sl_rate_answer a = sl_rate_limit_take(table, key_of(8), &TEN_A_SECOND, START + 8);
    CHECK(a.passes && a.evicted);
    CHECK(!sl_rate_limit_take(table, key_of(7), &TEN_A_SECOND, START + 8).passes);
    a = sl_rate_limit_take(table, key_of(0), &TEN_A_SECOND, START + 8); // the oldest one went: it begins anew
    CHECK(a.passes && a.evicted);
    CHECK_INT(a.remaining, 4);
    sl_rate_limit_free(table);
}

// Idle keys give their slots away without a loss.
TEST(nothing_is_lost_with_an_idle_key) {
    struct sl_rate_limit *table = table_of(8);
    for (uint64_t i = 0; i < 8000; i++) {
        struct sl_rate_answer a = sl_rate_limit_take(table, key_of(i), &TEN_A_SECOND, START + i / 8 * 100000);
        CHECK(a.passes && !a.evicted);
    }
    sl_rate_limit_free(table);
}

TEST(keys_of_other_buckets_and_tags) {
    struct sl_rate_limit *table = table_of(1000); // 128 buckets
    static const struct sl_rate one = {DAY, DAY};
    for (uint64_t i = 0; i < 1024; i++) {
        struct sl_rate_answer a = sl_rate_limit_take(table, (i / 128 + 5) << 40 | i % 128, &one, START);
        CHECK(a.passes && !a.evicted);
    }
    CHECK_INT(sl_rate_limit_live(table, START), 1024);
    for (uint64_t i = 0; i < 1024; i++) {
        CHECK(!sl_rate_limit_take(table, (i / 128 + 5) << 40 | i % 128, &one, START).passes);
    }
    CHECK(sl_rate_limit_take(table, 0, &one, START).passes); // a hash of nothing but zeros is a key as any other
    CHECK(!sl_rate_limit_take(table, 0, &one, START).passes);
    sl_rate_limit_free(table);
}

enum { THREADS = 2, TAKES = 1000000, KEYS = 8, BURST = 50000 };
static struct sl_rate_limit *shared;
static _Atomic uint32_t passes[KEYS];
static pthread_barrier_t begin;

static void *take_all(void *seed) {
    static const struct sl_rate rate = {DAY / BURST, DAY / BURST * BURST};
    uint64_t random = (uint64_t)(uintptr_t)seed * 0x9e3779b97f4a7c15ull | 1;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < TAKES; i++) {
        uint64_t k = next_random(&random) % KEYS;
        passes[k] += sl_rate_limit_take(shared, key_of(k), &rate, START).passes;
    }
    return NULL;
}

// Time stands still, and two threads want five times what there is of each key: exactly the burst passes.
TEST(threads_share_exactly) {
    pthread_t threads[THREADS];
    shared = table_of(KEYS);
    for (uint64_t k = 0; k < KEYS; k++) { // so that each key has its slot: two first requests at the same moment may take two
        static const struct sl_rate rate = {DAY / BURST, DAY / BURST * BURST};
        passes[k] += sl_rate_limit_take(shared, key_of(k), &rate, START).passes;
    }
    pthread_barrier_init(&begin, NULL, THREADS);
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, take_all, (void *)(i + 1));
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&begin);
    for (int k = 0; k < KEYS; k++) {
        CHECK_INT(passes[k], BURST);
    }
    sl_rate_limit_free(shared);
}

static void *take_over_days(void *seed) {
    uint64_t random = (uint64_t)(uintptr_t)seed * 0x9e3779b97f4a7c15ull | 1, now = START;
    for (int i = 0; i < 20000; i++) {
        now += next_random(&random) % (DAY / 50);
        sl_rate_limit_take(shared, next_random(&random) % 64 << 40 | random % 4, &TEN_A_SECOND, now);
    }
    return NULL;
}

// Threads whose clocks differ, sweeps among them: nothing but a race could go wrong here, and the thread sanitizer watches.
TEST(threads_that_sweep) {
    pthread_t threads[THREADS];
    shared = table_of(32);
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, take_over_days, (void *)(i + 1));
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(sl_rate_limit_live(shared, START + 1000000 * DAY) <= 32);
    sl_rate_limit_free(shared);
}
