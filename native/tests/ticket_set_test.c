// The single-use set: an id is taken at most once, whatever the order, the age and the number of threads; and a lost entry is a miss.
#include "../src/ticket_set.h"

#include <pthread.h>
#include <stdatomic.h>

#include "test.h"

#define EPOCH (64 * SL_NS_PER_S)
#define WINDOW (SL_TICKET_EPOCHS * EPOCH)
#define START 1000u // any time

static uint64_t random_state = 88172645463325252u;

static void fill(uint8_t id[SL_TICKET_ID_BYTES], uint64_t a, uint64_t b) {
    memcpy(id, &a, 8);
    memcpy(id + 8, &b, 8);
}

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 2685821657736338717u;
}

static struct sl_ticket_set *set_new(uint64_t bytes) {
    struct sl_ticket_set *set;
    SL_ASSERT(sl_ticket_set_new(&set, bytes, WINDOW, START) == SL_OK);
    return set;
}

// As a worker's timer does.
static void tend_until(struct sl_ticket_set *set, uint64_t *now, uint64_t until) {
    while (*now < until) {
        *now = sl_min_u64(*now + sl_ticket_set_tend_ns(set), until);
        sl_ticket_set_tend(set, *now);
    }
}

TEST(an_id_is_taken_once) {
    struct sl_ticket_set *set = set_new(SL_TICKET_SET_BYTES_MIN);
    uint8_t id[SL_TICKET_ID_BYTES], other[SL_TICKET_ID_BYTES];
    uint16_t epoch;
    fill(id, 7, 9);
    fill(other, 8, 9); // same bucket
    CHECK_INT(sl_ticket_set_take(set, START, id, 18), SL_TICKET_LOST);
    REQUIRE(sl_ticket_set_insert(set, START, id, &epoch));
    CHECK_INT(sl_ticket_set_take(set, START, other, epoch), SL_TICKET_LOST);
    CHECK_INT(sl_ticket_set_take(set, START, id, (uint16_t)(epoch + 1)), SL_TICKET_EXPIRED);
    CHECK_INT(sl_ticket_set_take(set, START, id, (uint16_t)(epoch - 1)), SL_TICKET_EXPIRED);
    CHECK_INT(sl_ticket_set_take(set, START + EPOCH, id, (uint16_t)(epoch + 1)), SL_TICKET_LOST);
    CHECK_INT(sl_ticket_set_take(set, START, id, epoch), SL_TICKET_WON);
    CHECK_INT(sl_ticket_set_take(set, START, id, epoch), SL_TICKET_LOST);
    sl_ticket_set_free(set);
}

TEST(an_id_of_zeroes_is_like_any_other) {
    struct sl_ticket_set *set = set_new(SL_TICKET_SET_BYTES_MIN);
    uint8_t id[SL_TICKET_ID_BYTES];
    uint16_t epoch;
    fill(id, 0, 0);
    REQUIRE(sl_ticket_set_insert(set, START, id, &epoch));
    CHECK_INT(sl_ticket_set_take(set, START, id, epoch), SL_TICKET_WON);
    CHECK_INT(sl_ticket_set_take(set, START, id, epoch), SL_TICKET_LOST);
    sl_ticket_set_free(set);
}

TEST(a_full_bucket_refuses_and_keeps_what_it_has) {
    struct sl_ticket_set *set = set_new(SL_TICKET_SET_BYTES_MIN);
    uint8_t id[SL_TICKET_ID_BYTES];
    uint16_t epoch;
    for (uint64_t i = 1; i <= 9; i++) {
        fill(id, i, 3);
        CHECK_INT(sl_ticket_set_insert(set, START, id, &epoch), i <= 8);
    }
    struct sl_ticket_set_facts facts;
    sl_ticket_set_describe(set, START, &facts);
    CHECK_INT(facts.entries, 8);
    CHECK(facts.bytes <= SL_TICKET_SET_BYTES_MIN);
    for (uint64_t i = 1; i <= 9; i++) {
        fill(id, i, 3);
        CHECK_INT(sl_ticket_set_take(set, START, id, epoch), i <= 8 ? SL_TICKET_WON : SL_TICKET_LOST);
    }
    sl_ticket_set_free(set);
}

// One id an epoch, each taken when it is so many epochs old: up to the window, and past it.
static unsigned age_of(unsigned i) { return i % 24; }

TEST(the_window_rolls) {
    struct sl_ticket_set *set = set_new(SL_TICKET_SET_BYTES_MIN);
    enum { EPOCHS = 200 };
    static uint8_t ids[EPOCHS][SL_TICKET_ID_BYTES];
    static uint16_t epochs[EPOCHS];
    uint64_t now = START;
    unsigned taken = 0;
    for (unsigned i = 0; i < EPOCHS; i++) {
        fill(ids[i], next_random(), next_random());
        REQUIRE(sl_ticket_set_insert(set, now, ids[i], &epochs[i]));
        for (unsigned k = 0; k <= i; k++) {
            if (k + age_of(k) == i) {
                bool live = age_of(k) <= SL_TICKET_EPOCHS;
                CHECK_INT(sl_ticket_set_take(set, now, ids[k], epochs[k]),
                          live ? SL_TICKET_WON : SL_TICKET_EXPIRED);
                CHECK(sl_ticket_set_take(set, now, ids[k], epochs[k]) != SL_TICKET_WON);
                taken++;
            }
        }
        tend_until(set, &now, START + (i + 1) * EPOCH);
    }
    CHECK(taken > EPOCHS - 24);
    struct sl_ticket_set_facts facts;
    sl_ticket_set_describe(set, now, &facts);
    CHECK(facts.horizon_ns >= WINDOW && facts.horizon_ns <= WINDOW + EPOCH);
    sl_ticket_set_free(set);
}

TEST(without_tending_inserts_fail_and_nothing_is_taken_twice) {
    struct sl_ticket_set *set = set_new(SL_TICKET_SET_BYTES_MIN);
    uint8_t id[SL_TICKET_ID_BYTES];
    uint16_t epoch, later;
    fill(id, 1, 1);
    uint64_t now = START;
    REQUIRE(sl_ticket_set_insert(set, now, id, &epoch));
    now = START + 18 * EPOCH; // the first table's next turn
    CHECK(!sl_ticket_set_insert(set, now, id, &later));
    CHECK_INT(sl_ticket_set_take(set, now, id, epoch), SL_TICKET_EXPIRED);
    sl_ticket_set_tend(set, now); // late: at once
    REQUIRE(sl_ticket_set_insert(set, now, id, &later));
    CHECK_INT(sl_ticket_set_take(set, now, id, later), SL_TICKET_WON);
    CHECK_INT(sl_ticket_set_take(set, now, id, later), SL_TICKET_LOST);
    now += 1000 * EPOCH; // asleep
    sl_ticket_set_tend(set, now);
    REQUIRE(sl_ticket_set_insert(set, now, id, &later));
    CHECK_INT(sl_ticket_set_take(set, now, id, later), SL_TICKET_WON);
    sl_ticket_set_free(set);
}

// A race: each of two threads puts its half of the ids in, then both try to take all of them.
#define RACE_IDS 1000000u

struct race {
    struct sl_ticket_set *set;
    uint8_t (*ids)[SL_TICKET_ID_BYTES];
    uint16_t *epochs;
    _Atomic uint8_t *won;
    pthread_barrier_t barrier;
    _Atomic uint32_t inserted, wins, twice;
};

struct racer {
    struct race *race;
    unsigned number;
};

static void *race_main(void *arg) {
    struct racer *racer = arg;
    struct race *race = racer->race;
    uint32_t inserted = 0, wins = 0, twice = 0;
    for (uint32_t i = racer->number; i < RACE_IDS; i += 2) {
        race->epochs[i] = 0;
        inserted += sl_ticket_set_insert(race->set, START, race->ids[i], &race->epochs[i]);
    }
    pthread_barrier_wait(&race->barrier);
    for (uint32_t k = 0; k < RACE_IDS; k++) {
        uint32_t i = racer->number ? RACE_IDS - 1 - k : k;
        if (race->epochs[i] &&
            sl_ticket_set_take(race->set, START, race->ids[i], race->epochs[i]) == SL_TICKET_WON) {
            wins++;
            twice += atomic_fetch_add_explicit(&race->won[i], 1, memory_order_relaxed) > 0;
        }
    }
    atomic_fetch_add(&race->inserted, inserted);
    atomic_fetch_add(&race->wins, wins);
    atomic_fetch_add(&race->twice, twice);
    return NULL;
}

TEST(two_threads_never_win_the_same_id) {
    struct race race = {.set = set_new(512u << 20)};
    race.ids = calloc(RACE_IDS, sizeof(*race.ids));
    race.epochs = calloc(RACE_IDS, sizeof(*race.epochs));
    race.won = calloc(RACE_IDS, sizeof(*race.won));
    for (uint32_t i = 0; i < RACE_IDS; i++) {
        fill(race.ids[i], next_random(), next_random());
    }
    pthread_barrier_init(&race.barrier, NULL, 2);
    pthread_t threads[2];
    struct racer racers[2] = {{&race, 0}, {&race, 1}};
    for (unsigned i = 0; i < 2; i++) {
        SL_ASSERT(pthread_create(&threads[i], NULL, race_main, &racers[i]) == 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(race.inserted > RACE_IDS / 100 * 99); // the others met a full bucket
    CHECK_INT(race.wins, race.inserted);
    CHECK_INT(race.twice, 0);
    struct sl_ticket_set_facts facts;
    sl_ticket_set_describe(race.set, START, &facts);
    CHECK_INT(facts.entries, 0);
    pthread_barrier_destroy(&race.barrier);
    free(race.ids);
    free(race.epochs);
    free(race.won);
    sl_ticket_set_free(race.set);
}
