// The queue of sockets between workers: nothing is lost, nothing comes twice, in order per giver, also when it closes under the givers.
#include "handoff.h"

#include <pthread.h>
#include <sched.h>

#include "test.h"

#define GIVERS 3
#define ITEMS 20000

static struct sl_handoff queue;
static _Atomic int given[GIVERS]; // accepted by the queue
static _Atomic bool go_on;

TEST(it_is_bounded_and_closed_until_opened) {
    struct sl_handoff_item item = {.fd = 7, .listener = 3};
    sl_handoff_init(&queue);
    CHECK(!sl_handoff_give(&queue, item));
    sl_handoff_open(&queue);
    for (int round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < SL_HANDOFF_PLACES; i++) {
            CHECK_INT(sl_handoff_count(&queue), i);
            CHECK(sl_handoff_give(&queue, (struct sl_handoff_item){.fd = (int)i, .listener = (uint32_t)round}));
        }
        CHECK(!sl_handoff_give(&queue, item));
        for (uint32_t i = 0; i < SL_HANDOFF_PLACES; i++) {
            CHECK(sl_handoff_take(&queue, &item));
            CHECK_INT(item.fd, i);
            CHECK_INT(item.listener, round);
        }
        CHECK(!sl_handoff_take(&queue, &item));
    }
}

TEST(what_was_given_before_the_close_is_taken_after_it) {
    struct sl_handoff_item item = {.fd = 7};
    sl_handoff_init(&queue);
    sl_handoff_open(&queue);
    CHECK(sl_handoff_give(&queue, item));
    sl_handoff_close(&queue);
    CHECK(!sl_handoff_give(&queue, item));
    CHECK(sl_handoff_take(&queue, &item));
    CHECK(!sl_handoff_take(&queue, &item));
    sl_handoff_open(&queue); // as after a failed start
    CHECK(sl_handoff_give(&queue, item));
    CHECK(sl_handoff_take(&queue, &item));
}

static void *giver_main(void *arg) {
    uint32_t me = (uint32_t)(uintptr_t)arg;
    for (int i = 0; i < ITEMS && atomic_load(&go_on);) {
        if (sl_handoff_give(&queue, (struct sl_handoff_item){.fd = i, .listener = me})) {
            atomic_store(&given[me], ++i);
        } else {
            sched_yield();
        }
    }
    return NULL;
}

static void run(int close_after) {
    pthread_t threads[GIVERS];
    int taken[GIVERS] = {0}, all = 0;
    sl_handoff_init(&queue);
    sl_handoff_open(&queue);
    atomic_store(&go_on, true);
    for (uintptr_t i = 0; i < GIVERS; i++) {
        atomic_store(&given[i], 0);
        pthread_create(&threads[i], NULL, giver_main, (void *)i);
    }
    struct sl_handoff_item item;
    while (all < close_after) {
        if (!sl_handoff_take(&queue, &item)) {
            sched_yield();
            continue;
        }
        CHECK_INT(item.fd, taken[item.listener]);
        taken[item.listener] = item.fd + 1;
        all++;
    }
    sl_handoff_close(&queue);
    while (sl_handoff_take(&queue, &item)) {
        CHECK_INT(item.fd, taken[item.listener]);
        taken[item.listener] = item.fd + 1;
    }
    atomic_store(&go_on, false);
    for (int i = 0; i < GIVERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(taken[i], atomic_load(&given[i]));
    }
    CHECK(!sl_handoff_take(&queue, &item));
}

TEST(three_givers_lose_nothing) { run(GIVERS * ITEMS); }

TEST(closing_under_the_givers_loses_nothing) {
    for (int i = 0; i < 50; i++) {
        run(1 + i * 37);
    }
}
