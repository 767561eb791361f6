#include "timer.h"

#include "test.h"

#define MS SL_NS_PER_MS
#define TICK SL_TIMER_TICK_NS

static struct sl_timers timers;
static uint64_t now_ns;

struct probe {
    struct sl_timer timer;
    uint64_t due_ns, fired_ns;
    int fired;
};

static void on_probe(struct sl_timer *timer) {
    struct probe *probe = SL_CONTAINER_OF(timer, struct probe, timer);
    probe->fired++;
    probe->fired_ns = now_ns;
}

static void probe_set(struct probe *probe, uint64_t due_ns) {
    probe->due_ns = due_ns;
    sl_timer_set(&timers, &probe->timer, due_ns);
}

static void probe_init(struct probe *probe) {
    *probe = (struct probe){0};
    sl_timer_init(&probe->timer, on_probe);
}

static void start(uint64_t at_ns) {
    now_ns = at_ns;
    sl_timers_init(&timers, at_ns);
}

static void run_at(uint64_t at_ns) {
    now_ns = at_ns;
    sl_timers_run(&timers, at_ns);
}

static uint64_t random_state;
static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

// Sleeps exactly as long as the wheel says, as the worker does. False: it wanted to sleep for ever.
static bool sleep_and_run(void) {
    uint64_t wait_ns = sl_timers_until_next(&timers, now_ns);
    if (wait_ns == SL_TIMER_NEVER) {
        return false;
    }
    run_at(now_ns + wait_ns);
    return true;
}

static void check_on_time(const struct probe *probe) {
    CHECK_INT(probe->fired, 1);
    CHECK_MSG(probe->fired_ns >= probe->due_ns, "%llu before its time",
              (unsigned long long)(probe->due_ns - probe->fired_ns));
    CHECK_MSG(probe->fired_ns - probe->due_ns <= TICK, "%llu late",
              (unsigned long long)(probe->fired_ns - probe->due_ns));
}

TEST(one_timer_fires_once_and_never_early) {
    static const uint64_t delays[] = {0,           1,           TICK - 1,     TICK,
                                      TICK + 1,    255 * MS,    256 * MS,     257 * MS,
                                      16383 * MS,  16384 * MS,  16385 * MS,   1048576 * MS,
                                      1048577 * MS, 3600000 * MS, 67108864 * MS, 200000000 * MS};
    static const uint64_t starts[] = {0, 1, 255 * MS, 256 * MS, 16384 * MS - 1, 123456789012345};
    for (size_t s = 0; s < SL_COUNT_OF(starts); s++) {
        for (size_t d = 0; d < SL_COUNT_OF(delays); d++) {
            struct probe probe;
            start(starts[s]);
            probe_init(&probe);
            probe_set(&probe, now_ns + delays[d]);
            while (!probe.fired && sleep_and_run()) {
            }
            check_on_time(&probe);
            CHECK(!sl_timer_is_set(&probe.timer));
            CHECK_INT(timers.count, 0);
            CHECK(sl_timers_until_next(&timers, now_ns) == SL_TIMER_NEVER);
        }
    }
}

TEST(many_random_timers_fire_on_time_while_the_loop_sleeps) {
    enum { COUNT = 2000 };
    static struct probe probes[COUNT];
    for (uint64_t seed = 1; seed <= 5; seed++) {
        random_state = seed * 0x9e3779b97f4a7c15ull;
        start(random_next() >> 20);
        for (int i = 0; i < COUNT; i++) {
            probe_init(&probes[i]);
            probe_set(&probes[i], now_ns + random_next() % (1ull << (20 + random_next() % 26)));
        }
        while (sleep_and_run()) {
        }
        for (int i = 0; i < COUNT; i++) {
            check_on_time(&probes[i]);
        }
    }
}

// A model that does not know wheels: all timers in an array.
TEST(random_sets_cancels_and_runs_agree_with_a_plain_list) {
    enum { COUNT = 200 };
    static struct probe probes[COUNT];
    random_state = 42;
    start(987654321);
    for (int i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
    }
    for (int step = 0; step < 20000; step++) {
        struct probe *probe = &probes[random_next() % COUNT];
        uint64_t dice = random_next() % 10;
        if (dice < 5) {
            probe->fired = 0;
            probe_set(probe, now_ns + random_next() % (1ull << (random_next() % 40)));
        } else if (dice < 7) {
            sl_timer_cancel(&timers, &probe->timer);
            probe->fired = 1;
        } else {
            run_at(now_ns + random_next() % (1ull << (random_next() % 36)));
            for (int i = 0; i < COUNT; i++) {
                bool set = sl_timer_is_set(&probes[i].timer);
                CHECK(!set || probes[i].due_ns + TICK > now_ns);
                CHECK(set || probes[i].due_ns == 0 || probes[i].fired == 1);
                CHECK(!set || probes[i].fired == 0);
            }
        }
    }
}

static struct probe chain[3];
static void on_chain(struct sl_timer *timer) {
    on_probe(timer);
    sl_timer_cancel(&timers, &chain[1].timer); // is due in the same tick
    if (chain[0].fired < 3) {
        sl_timer_set(&timers, timer, 0); // long overdue: the next tick, not this one for ever
    }
}

TEST(a_callback_may_cancel_a_timer_of_its_tick_and_set_itself) {
    start(0);
    for (int i = 0; i < 3; i++) {
        probe_init(&chain[i]);
        probe_set(&chain[i], 10 * MS);
    }
    chain[0].timer.fn = on_chain;
    run_at(12 * MS);
    CHECK_INT(chain[0].fired, 1);
    CHECK_INT(chain[1].fired, 0);
    CHECK_INT(chain[2].fired, 1);
    CHECK(!sl_timer_is_set(&chain[1].timer));
    run_at(13 * MS);
    CHECK_INT(chain[0].fired, 1);
    run_at(40 * MS);
    CHECK_INT(chain[0].fired, 3);
    CHECK_INT(timers.count, 0);
}

TEST(setting_again_moves_a_timer) {
    struct probe probe;
    start(0);
    probe_init(&probe);
    probe_set(&probe, 10 * MS);
    probe_set(&probe, 100 * MS);
    CHECK_INT(timers.count, 1);
    run_at(50 * MS);
    CHECK_INT(probe.fired, 0);
    run_at(100 * MS);
    CHECK_INT(probe.fired, 1);
}

TEST(cancelling_leaves_nothing_to_wake_for) {
    struct probe probe;
    start(5 * MS);
    probe_init(&probe);
    sl_timer_cancel(&timers, &probe.timer); // not set: fine
    for (uint64_t delay = MS; delay < 100000 * SL_NS_PER_S; delay *= 3) {
        probe_set(&probe, now_ns + delay);
        CHECK(sl_timers_until_next(&timers, now_ns) <= delay + TICK);
        sl_timer_cancel(&timers, &probe.timer);
        CHECK(sl_timers_until_next(&timers, now_ns) == SL_TIMER_NEVER);
    }
}

TEST(a_timer_that_fired_or_was_cancelled_wakes_nobody_again) {
    struct probe near, far;
    start(0);
    probe_init(&near);
    probe_init(&far);
    probe_set(&far, 10 * 3600 * SL_NS_PER_S);
    probe_set(&near, 20 * MS);
    sl_timer_cancel(&timers, &near.timer);
    CHECK(sl_timers_until_next(&timers, now_ns) > 60 * SL_NS_PER_S);
    probe_set(&near, 20 * MS);
    run_at(20 * MS);
    CHECK_INT(near.fired, 1);
    CHECK(sl_timers_until_next(&timers, now_ns) > 60 * SL_NS_PER_S);
    sl_timer_cancel(&timers, &far.timer);
}

TEST(until_next_is_zero_when_something_is_overdue) {
    struct probe probe;
    start(0);
    probe_init(&probe);
    probe_set(&probe, 8 * MS);
    CHECK_INT(sl_timers_until_next(&timers, 0), 8 * MS);
    CHECK_INT(sl_timers_until_next(&timers, 5 * MS), 3 * MS);
    CHECK_INT(sl_timers_until_next(&timers, 9 * MS), 0);
}
