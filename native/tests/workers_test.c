// Several workers: connections are spread evenly, whatever the kernel's hash and the clients do, and none is lost on its way from one worker to
// another, also while they drain.
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "gateway.h"
#include "peer.h"
#include "plan_builder.h"
#include "sluice/counters.h"
#include "sluice/sluice.h"
#include "test.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define CONNS_MAX 512

static struct plan_builder builder;
static char text[4096];
static int fds[CONNS_MAX], owner[CONNS_MAX], conns;

static int start(int io, uint32_t workers, uint32_t conns_max, int *out_port) {
    struct sl_config config = {.io = (uint32_t)io, .workers = workers, .exchanges = 64, .conns_max = conns_max, .small_bufs = 64,
                               .large_bufs = 64, .requests_max = 256};
    int g = sl_gateway_new((uint8_t *)&config, sizeof(config));
    if (g < 0) {
        return g;
    }
    *out_port = sl_gateway_listen((uint32_t)g, (const uint8_t *)"127.0.0.1:0", 11, 0xffffffff);
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/", 200, "", "hello\n", 6);
    uint32_t len = plan_finish(&builder);
    CHECK_INT(sl_plan_load((uint32_t)g, builder.blob, len), 0);
    CHECK_INT(sl_gateway_start((uint32_t)g), 0);
    return g;
}

static struct sl_counters stats(int g) {
    struct sl_counters c;
    sl_gateway_stats((uint32_t)g, (uint8_t *)&c, sizeof(c));
    return c;
}

static void end(int g) {
    sl_gateway_drain((uint32_t)g, 5000);
    CHECK_INT(sl_gateway_join((uint32_t)g, 10000), 0);
    struct sl_counters c = stats(g);
    CHECK_INT(c.conns_accepted, c.conns_closed);
    CHECK_INT(c.io_ops_armed, 0);
    CHECK_INT(c.io_bufs_lent, 0);
    CHECK_INT(sl_gateway_free((uint32_t)g), 0);
}

static bool asks(int fd) {
    return peer_send_text(fd, GET) == 0 && peer_read_answer(fd, text, sizeof(text)) == 6 && strncmp(text, "HTTP/1.1 200 ", 13) == 0;
}

static int conns_of(int g, uint32_t worker) { return sl_gateway_worker_conns((uint32_t)g, worker); }

// Opens a connection, and finds out whose it is: that worker has one more now.
static void open_conn(int g, int port, uint32_t workers) {
    int before[8];
    for (uint32_t i = 0; i < workers; i++) {
        before[i] = conns_of(g, i);
    }
    fds[conns] = peer_connect(port);
    REQUIRE(fds[conns] >= 0 && asks(fds[conns]));
    owner[conns] = -1;
    for (uint32_t i = 0; i < workers; i++) {
        owner[conns] = conns_of(g, i) > before[i] ? (int)i : owner[conns];
    }
    CHECK(owner[conns] >= 0);
    conns++;
}

static int sum(int g, uint32_t workers) {
    int all = 0;
    for (uint32_t i = 0; i < workers; i++) {
        all += conns_of(g, i);
    }
    return all;
}

static void check_even(int g, uint32_t workers) {
    int all = sum(g, workers);
    CHECK_INT(all, conns);
    for (uint32_t i = 0; i < workers; i++) {
        CHECK_MSG(conns_of(g, i) <= 1.25 * all / workers + 8, "worker %u of %u has %d of %d", i, workers, conns_of(g, i), all);
    }
}

// Closes every connection that `worker` does not have: it is alone with its own.
static void leave_alone(int g, uint32_t workers, int worker) {
    int kept = 0;
    for (int i = 0; i < conns; i++) {
        if (owner[i] == worker) {
            fds[kept] = fds[i];
            owner[kept++] = worker;
        } else {
            close(fds[i]);
        }
    }
    conns = kept;
    for (int i = 0; i < 5000 && sum(g, workers) > conns; i++) {
        poll(NULL, 0, 1);
    }
    CHECK_INT(sum(g, workers), conns);
}

static void close_conns(void) {
    while (conns > 0) {
        close(fds[--conns]);
    }
}

static const int kinds[] = {SL_IO_EPOLL, SL_IO_URING};

TEST(the_busiest_worker_has_a_quarter_more_than_the_mean_and_a_few) {
    for (int k = 0; k < 4; k++) {
        uint32_t workers = k < 2 ? 2 : 4;
        int port, g = start(kinds[k % 2], workers, 1000, &port);
        if (g < 0) {
            continue;
        }
        while (conns < 160) {
            open_conn(g, port, workers);
        }
        check_even(g, workers);
        leave_alone(g, workers, 1); // about 160 / workers on one worker, none on the others
        while (conns < 240) {
            open_conn(g, port, workers);
        }
        check_even(g, workers);
        struct sl_counters c = stats(g);
        CHECK_MSG(c.conns_handed_off > 0, "none was handed off");
        for (int i = 0; i < conns; i++) {
            CHECK(asks(fds[i]));
        }
        CHECK_INT(stats(g).conns_live, conns);
        close_conns();
        end(g);
    }
}

TEST(a_full_worker_leaves_connections_to_one_that_has_room) {
    for (int k = 0; k < 2; k++) {
        int port, g = start(kinds[k], 2, 6, &port); // fewer than the rule above cares for
        if (g < 0) {
            continue;
        }
        while (conns < 12) {
            open_conn(g, port, 2);
        }
        CHECK_INT(conns_of(g, 0), 6);
        CHECK_INT(conns_of(g, 1), 6);
        CHECK_INT(stats(g).conns_shed, 0);
        int fd = peer_connect(port); // now there is none
        char *rest = peer_read_all(fd, NULL, NULL);
        free(rest);
        CHECK_INT(stats(g).conns_shed, 1);
        close(fd);
        close_conns();
        end(g);
    }
}

// While they drain: a client that got a connection gets its answer.

struct client {
    pthread_t thread;
    int port;
    uint32_t answered, refused, lost;
    char why[256];
};
static _Atomic uint32_t connected;
static _Atomic bool over;

static void *client_main(void *arg) {
    struct client *c = arg;
    char answer[1024];
    while (!atomic_load(&over)) {
        int fd = peer_connect(c->port);
        if (fd < 0) {
            c->refused++;
            poll(NULL, 0, 1);
            continue;
        }
        atomic_fetch_add(&connected, 1);
        int sent = peer_send_text(fd, GET);
        long len = peer_read_answer(fd, answer, sizeof(answer));
        if (sent == 0 && len == 6) {
            c->answered++;
        } else {
            c->lost++;
            snprintf(c->why, sizeof(c->why), "sent %d, answer %ld, %s", sent, len, strerror(errno));
        }
        close(fd);
    }
    return NULL;
}

TEST(no_connection_is_lost_between_workers_that_drain) {
    uint64_t handed_off = 0;
    for (int round = 0; round < 8; round++) {
        int before = open_fds(), port, g = start(kinds[round % 2], 3, 1000, &port);
        if (g < 0) {
            continue;
        }
        while (conns < 90) {
            open_conn(g, port, 3);
        }
        leave_alone(g, 3, 2); // so that what it accepts goes to the others, which drain and end before it does
        struct client clients[4] = {0};
        atomic_store(&over, false);
        atomic_store(&connected, 0);
        for (int i = 0; i < 4; i++) {
            clients[i].port = port;
            pthread_create(&clients[i].thread, NULL, client_main, &clients[i]);
        }
        while (atomic_load(&connected) < 60 + (uint32_t)round * 7) {
            poll(NULL, 0, 1);
        }
        sl_gateway_drain((uint32_t)g, 3000);
        close_conns(); // else the drain waits for them
        CHECK_INT(sl_gateway_join((uint32_t)g, 10000), 0);
        atomic_store(&over, true);
        for (int i = 0; i < 4; i++) {
            pthread_join(clients[i].thread, NULL);
            CHECK_MSG(clients[i].lost == 0, "round %d: %u lost (%s), %u answered", round, clients[i].lost, clients[i].why, clients[i].answered);
        }
        handed_off += stats(g).conns_handed_off;
        end(g);
        CHECK_INT(open_fds(), before);
    }
    CHECK(handed_off > 0);
}

// The same, slowly: two workers driven by this thread, turn by turn.

static void turns(struct sl_gateway *g, int count) {
    for (int i = 0; i < count; i++) {
        CHECK_INT(sl_worker_turn(&g->workers[0], 0), SL_OK);
        CHECK_INT(sl_worker_turn(&g->workers[1], 0), SL_OK);
    }
}

static void drain_one(struct sl_gateway *g, int worker) {
    atomic_store(&g->drain_ms, 1000);
    atomic_fetch_or(&g->workers[worker].commands, SL_COMMAND_DRAIN);
}

static bool drive_until_answer(struct sl_worker *w, int fd) {
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    for (int i = 0; i < 1000 && poll(&pollfd, 1, 0) == 0; i++) {
        CHECK(sl_worker_turn(w, SL_NS_PER_MS) >= 0);
    }
    return peer_read_answer(fd, text, sizeof(text)) == 6;
}

TEST(a_connection_left_to_a_worker_that_drains_is_kept_or_served) {
    for (int k = 0; k < 4; k++) {
        bool given_before = k < 2; // the drain begins behind the connection; or before it
        struct sl_config config = {.io = (uint32_t)kinds[k % 2], .workers = 2, .small_bufs = 64, .large_bufs = 64, .requests_max = 256};
        struct sl_gateway *g;
        if (sl__gateway_new(&g, &config)) {
            continue;
        }
        int port = sl__gateway_listen(g, sl_span_of("127.0.0.1:0"), SL_NO_CERTIFICATE);
        plan_init(&builder);
        plan_respond(&builder, SL_METHOD_GET, "/", 200, "", "hello\n", 6);
        uint32_t len = plan_finish(&builder);
        CHECK_INT(sl__gateway_plan(g, (struct sl_span){builder.blob, len}), 0);
        CHECK_INT(sl_worker_open(&g->workers[0]), SL_OK);
        CHECK_INT(sl_worker_open(&g->workers[1]), SL_OK);
        struct sl_worker *busy = &g->workers[1], *other = &g->workers[0];
        int others[CONNS_MAX], other_count = 0;
        while (sl_worker_conns(busy) < 30) {
            int fd = peer_connect(port);
            uint32_t before = sl_worker_conns(busy);
            turns(g, 3);
            if (sl_worker_conns(busy) > before) {
                fds[conns++] = fd;
            } else {
                others[other_count++] = fd;
            }
        }
        while (other_count > 0) {
            close(others[--other_count]);
        }
        for (int i = 0; i < 1000 && sl_worker_conns(other) > 0; i++) {
            CHECK_INT(sl_worker_turn(other, SL_NS_PER_MS), SL_OK);
        }
        REQUIRE(sl_worker_conns(other) == 0);
        uint64_t handed = busy->counters.conns_handed_off;
        if (!given_before) {
            drain_one(g, 0);
            int rc = SL_OK;
            for (int i = 0; i < 100 && rc == SL_OK; i++) {
                rc = sl_worker_turn(other, 0);
            }
            CHECK_INT(rc, SL_WORKER_DRAINED); // and it has not been closed yet
        }
        int fd = -1;
        for (int i = 0; i < 200 && sl_worker_conns(busy) == 30 && busy->counters.conns_handed_off == handed; i++) {
            if (fd >= 0) { // that one was the other's own
                close(fd);
                CHECK(sl_worker_turn(other, 0) >= 0);
                CHECK(sl_worker_turn(other, 0) >= 0);
            }
            fd = peer_connect(port);
            peer_send_text(fd, GET);
            CHECK_INT(sl_worker_turn(busy, 0), SL_OK);
            CHECK_INT(sl_worker_turn(busy, 0), SL_OK);
        }
        if (given_before) {
            CHECK_INT(busy->counters.conns_handed_off, handed + 1);
            drain_one(g, 0); // with the connection in its inbox
            CHECK(drive_until_answer(other, fd));
        } else {
            CHECK_INT(busy->counters.conns_handed_off, handed);
            CHECK(drive_until_answer(busy, fd));
        }
        close(fd);
        close_conns();
        drain_one(g, 0);
        drain_one(g, 1);
        for (int i = 0; i < 2; i++) {
            int rc = SL_OK;
            for (int t = 0; t < 5000 && rc == SL_OK; t++) {
                rc = sl_worker_turn(&g->workers[i], SL_NS_PER_MS);
            }
            CHECK_INT(rc, SL_WORKER_DRAINED);
            sl_worker_close(&g->workers[i]);
        }
        sl__gateway_free(g);
    }
}
