// What may happen to a gateway besides requests, through the public API: an isolate that ends and is started again, ring memory that
// JavaScript takes back, threads that come at the wrong moment, two gateways that want one address.
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "balance.h"
#include "peer.h"
#include "plan_builder.h"
#include "sluice/counters.h"
#include "sluice/sluice.h"
#include "test.h"

#define EXCHANGES 64u
#define PLAIN 0xffffffffu
#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static struct plan_builder builder;
static char text[1 << 16];

static int gateway_new(int io, uint32_t workers, uint32_t isolates) {
    struct sl_config config = {.io = (uint32_t)io, .workers = workers, .isolates = isolates, .exchanges = EXCHANGES};
    return sl_gateway_new((uint8_t *)&config, sizeof(config));
}

static int listen_at(int gateway, int port) {
    char address[32];
    int len = snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    return sl_gateway_listen((uint32_t)gateway, (const uint8_t *)address, (size_t)len, PLAIN);
}

// isolates: bits of those that answer its TypeScript routes, 0: all.
static void load_plan_for(int gateway, uint32_t isolates) {
    plan_init(&builder);
    builder.header.isolates = isolates;
    plan_respond(&builder, SL_METHOD_GET, "/", 200, "", "hello\n", 6);
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_TYPESCRIPT, 0);
    uint32_t len = plan_finish(&builder);
    CHECK_INT(sl_plan_load((uint32_t)gateway, builder.blob, len), 0);
}

static void load_plan(int gateway) { load_plan_for(gateway, 0); }

static void end(int gateway) {
    uint32_t g = (uint32_t)gateway;
    sl_gateway_drain(g, 2000);
    CHECK_INT(sl_gateway_join(g, 10000), 0);
    struct sl_counters c;
    sl_gateway_stats(g, (uint8_t *)&c, sizeof(c));
    check_nothing_left(&c);
    CHECK_INT(sl_gateway_free(g), 0);
}

static int backends[2], backend_count;
static void find_backends(void) {
    const int kinds[] = {SL_IO_EPOLL, SL_IO_URING};
    for (int i = 0; i < 2; i++) {
        int g = gateway_new(kinds[i], 1, 0);
        if (g >= 0) {
            sl_gateway_free((uint32_t)g);
            backends[backend_count++] = kinds[i];
        }
    }
}
#define EACH_BACKEND(io)                                                                                                          \
    if (backend_count == 0) {                                                                                                      \
        find_backends();                                                                                                           \
    }                                                                                                                              \
    for (int backend_i = 0, io = backends[0]; backend_i < backend_count; backend_i++, io = backends[backend_i % 2])

// One life of an isolate of one worker, played by the test's own thread: no doorbell, it looks.
struct life {
    uint8_t *region;
    uint32_t gateway;
};

static _Atomic uint32_t *word(struct life *l, uint32_t off) { return (_Atomic uint32_t *)(void *)(l->region + off); }
static uint8_t *slot(struct life *l, uint32_t i) {
    return l->region + SL_RING_EVENTS_OFF + EXCHANGES * SL_RING_ENTRIES_PER_SLOT * 2 * SL_RING_ENTRY_BYTES + i * SL_SLOT_BYTES;
}

static int life_begin_at(struct life *l, int gateway, uint32_t isolate) {
    l->gateway = (uint32_t)gateway;
    l->region = mmap(NULL, sl_ring_bytes(EXCHANGES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return sl_gateway_attach(l->gateway, 0, isolate, l->region, sl_ring_bytes(EXCHANGES));
}

static int life_begin(struct life *l, int gateway) { return life_begin_at(l, gateway, 0); }

// As V8 does, whatever C may think of it.
static void life_unmap(struct life *l) {
#ifndef __SANITIZE_THREAD__ // there C uses the region itself (region.c)
    munmap(l->region, sl_ring_bytes(EXCHANGES));
#endif
    l->region = NULL;
}

// The next event; false: none came within wait_ms.
static bool life_event(struct life *l, struct sl_event *out, int wait_ms) {
    uint32_t head = atomic_load(word(l, SL_RING_EVENT_HEAD_OFF));
    for (int i = 0; head == atomic_load(word(l, SL_RING_EVENT_TAIL_OFF)); i++) {
        if (i == wait_ms) {
            return false;
        }
        poll(NULL, 0, 1);
    }
    const struct sl_event *events = (const struct sl_event *)(void *)(l->region + SL_RING_EVENTS_OFF);
    *out = events[head & (EXCHANGES * SL_RING_ENTRIES_PER_SLOT - 1)];
    atomic_store(word(l, SL_RING_EVENT_BEGUN_OFF), head + 1);
    atomic_store(word(l, SL_RING_EVENT_HEAD_OFF), head + 1);
    return true;
}

static void life_verdict(struct life *l, struct sl_verdict v) {
    uint32_t entries = EXCHANGES * SL_RING_ENTRIES_PER_SLOT;
    uint32_t tail = atomic_load(word(l, SL_RING_VERDICT_TAIL_OFF));
    struct sl_verdict *at = (struct sl_verdict *)(void *)(l->region + SL_RING_EVENTS_OFF + entries * SL_RING_ENTRY_BYTES);
    at[tail & (entries - 1)] = v;
    atomic_store(word(l, SL_RING_VERDICT_TAIL_OFF), tail + 1);
    if (atomic_exchange(word(l, SL_RING_WORKER_SLEEPING_OFF), 0)) {
        sl_gateway_wake(l->gateway, 0);
    }
}

static void life_answer(struct life *l, const struct sl_event *e, const char *body) {
    memcpy(slot(l, e->slot) + SL_SLOT_TX_OFF, body, strlen(body));
    life_verdict(l, (struct sl_verdict){.kind = SL_VERDICT_RESPOND, .flags = SL_VERDICT_F_END | SL_VERDICT_F_FINAL, .status = 200,
                                        .slot = e->slot, .gen = e->gen, .body_len = (uint32_t)strlen(body)});
}

static int start_with(struct life *l, int io, int *out_port) {
    int g = gateway_new(io, 1, 1);
    *out_port = listen_at(g, 0);
    load_plan(g);
    CHECK_INT(life_begin(l, g), 0);
    CHECK_INT(sl_gateway_start((uint32_t)g), 0);
    return g;
}

static bool answers(int fd, const char *request, const char *status, const char *body) {
    peer_send_text(fd, request);
    long len = peer_read_answer(fd, text, sizeof(text));
    bool ok = len >= 0 && strncmp(text + 9, status, 3) == 0 && (!body || strstr(text, body));
    CHECK_MSG(ok, "%s, expected %s", len < 0 ? "(no answer)" : text, status);
    return ok;
}

static int mapped_twice(void) {
    char line[512];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof(line), maps)) {
        count += strstr(line, "/dev/zero") != NULL;
    }
    if (maps) {
        fclose(maps);
    }
    return count;
}

TEST(an_isolate_that_ended_comes_back_with_another_region) {
    EACH_BACKEND(io) {
        struct life lives[3];
        struct sl_event e;
        int port, g = start_with(&lives[0], io, &port), maps = mapped_twice();
        int fd = peer_connect(port);
        for (int i = 0; i < 3; i++) {
            struct life *now = &lives[i];
            peer_send_text(fd, GET("/held"));
            REQUIRE(life_event(now, &e, 5000));
            CHECK_INT(e.kind, SL_EVENT_REQUEST);
            life_answer(now, &e, "from the living");
            CHECK(peer_read_answer(fd, text, sizeof(text)) == 15);
            peer_send_text(fd, GET("/held")); // and this one dies with it
            REQUIRE(life_event(now, &e, 5000));
            struct life second;
            CHECK_INT(life_begin(&second, g), SL_E_STATE); // it is not gone yet
            munmap(second.region, sl_ring_bytes(EXCHANGES));
            CHECK_INT(sl_gateway_isolate_gone((uint32_t)g, 0, SL_ISOLATE_CRASHED), 0);
            CHECK(peer_read_answer(fd, text, sizeof(text)) > 0);
            CHECK_MSG(strncmp(text, "HTTP/1.1 503 ", 13) == 0, "%s", text);
            answers(fd, GET("/nobody"), "503", "has ended");
            answers(fd, GET("/"), "200", "hello");
            if (i < 2) {
                CHECK_INT(life_begin(&lives[i + 1], g), 0);
                life_unmap(now);
            }
        }
        struct sl_counters c;
        sl_gateway_stats((uint32_t)g, (uint8_t *)&c, sizeof(c)); // a turn has passed: the rings are gone
        CHECK_INT(c.exchanges_live, 0);
        CHECK_INT(c.isolate_crashes, 3);
        CHECK_INT(mapped_twice(), maps / 2); // but for the last region as the test maps it
        close(fd);
        end(g);
        life_unmap(&lives[2]);
    }
}

// The answer of a dead isolate lies in its region, and the kernel is sending it from there.
TEST(what_a_dead_isolate_was_sending_outlives_it) {
    EACH_BACKEND(io) {
        struct life old, new;
        struct sl_event e;
        int port, g = start_with(&old, io, &port), fd = peer_connect(port);
        peer_send_text(fd, GET("/endless")); // and nothing is read
        REQUIRE(life_event(&old, &e, 5000));
        uint32_t s = e.slot, gen = e.gen;
        uint8_t kind = SL_VERDICT_RESPOND;
        do {
            memset(slot(&old, s) + SL_SLOT_TX_OFF, 'o', SL_SLOT_TX_BYTES);
            life_verdict(&old, (struct sl_verdict){.kind = kind, .status = 200, .slot = s, .gen = gen, .body_len = SL_SLOT_TX_BYTES});
            kind = SL_VERDICT_CHUNK;
        } while (life_event(&old, &e, 200)); // until the kernel has no room; on a slow machine perhaps too early, which proves less
        CHECK_INT(sl_gateway_isolate_gone((uint32_t)g, 0, SL_ISOLATE_CRASHED), 0);
        CHECK_INT(life_begin(&new, g), 0);
        life_unmap(&old);
        int other = peer_connect(port);
        peer_send_text(other, GET("/new"));
        REQUIRE(life_event(&new, &e, 5000));
        life_answer(&new, &e, "from the new one");
        CHECK(peer_read_answer(other, text, sizeof(text)) == 16);
        size_t len = 0;
        char *got = peer_read_all(fd, &len, NULL); // broken off, but never another's bytes
        char *body = strstr(got, "\r\n\r\n");
        REQUIRE(body);
        for (char *at = body; *at; at++) {
            REQUIRE(strchr("o\r\n0123456789abcdef", *at));
        }
        free(got);
        close(fd);
        close(other);
        end(g);
        life_unmap(&new);
    }
}

TEST(a_region_that_javascript_frees_breaks_nothing) {
    EACH_BACKEND(io) {
        struct life life;
        struct sl_event e;
        int port, g = start_with(&life, io, &port), fd = peer_connect(port);
        peer_send_text(fd, GET("/held"));
        REQUIRE(life_event(&life, &e, 5000));
        life_unmap(&life);
        int other = peer_connect(port);
        answers(other, GET("/"), "200", "hello");
        peer_send_text(other, GET("/into the void"));
        for (int i = 0; i < 100; i++) {
            CHECK_INT(sl_gateway_wake((uint32_t)g, 0), 0);
        }
        CHECK_INT(sl_gateway_isolate_gone((uint32_t)g, 0, SL_ISOLATE_CRASHED), 0);
        CHECK(peer_read_answer(fd, text, sizeof(text)) > 0);
        CHECK_MSG(strncmp(text, "HTTP/1.1 503 ", 13) == 0, "%s", text);
        close(fd);
        close(other);
        end(g);
    }
}

static int seat(int gateway, uint32_t isolate) { return sl_gateway_isolate_state((uint32_t)gateway, isolate); }

static bool seat_becomes(int gateway, uint32_t isolate, int state) {
    for (int i = 0; i < 5000 && seat(gateway, isolate) != state; i++) {
        poll(NULL, 0, 1);
    }
    return seat(gateway, isolate) == state;
}

static void gone(int gateway, uint32_t isolate, uint32_t reason) {
    CHECK_INT(sl_gateway_isolate_gone((uint32_t)gateway, isolate, reason), 0);
}

static void life_answers_all(struct life *l, const char *body) {
    struct sl_event e;
    while (life_event(l, &e, 20)) {
        if (e.kind == SL_EVENT_REQUEST) {
            life_answer(l, &e, body);
        }
    }
}

TEST(what_a_blocked_isolate_had_not_begun_another_answers) {
    EACH_BACKEND(io) {
        struct life stuck, other;
        struct sl_event e;
        int g = gateway_new(io, 1, 3), port = listen_at(g, 0), fds[9];
        load_plan_for(g, 3);
        CHECK_INT(life_begin_at(&stuck, g, 0), 0);
        CHECK_INT(life_begin_at(&other, g, 1), 0);
        CHECK_INT(sl_gateway_start((uint32_t)g), 0); // nobody in the third seat: no plan names it
        for (int i = 0; i < 9; i++) {
            fds[i] = peer_connect(port);
            peer_send_text(fds[i], i < 8 ? GET("/x") : "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
            if (i == 0) { // begun, and held: `other` gets the next
                REQUIRE(life_event(&stuck, &e, 5000));
            }
        }
        struct sl_counters c;
        do {
            sl_gateway_stats((uint32_t)g, (uint8_t *)&c, sizeof(c));
        } while (c.requests_typescript < 9);
        gone(g, 0, SL_ISOLATE_BLOCKED);
        CHECK(peer_read_answer(fds[0], text, sizeof(text)) > 0);
        CHECK_MSG(strncmp(text, "HTTP/1.1 503 ", 13) == 0, "%s", text);
        do {
            sl_gateway_stats((uint32_t)g, (uint8_t *)&c, sizeof(c));
        } while (c.isolate_moves == 0);
        life_answers_all(&other, "from the other");
        for (int i = 1; i < 9; i++) {
            CHECK(peer_read_answer(fds[i], text, sizeof(text)) == 14);
            CHECK_MSG(strncmp(text, "HTTP/1.1 200 ", 13) == 0, "%d: %s", i, text);
            close(fds[i]);
        }
        sl_gateway_stats((uint32_t)g, (uint8_t *)&c, sizeof(c));
        CHECK_MSG(c.isolate_moves >= 3 && c.isolate_moves <= 5, "%d", (int)c.isolate_moves); // of 8 the half
        CHECK_INT(c.isolate_blocks, 1);
        CHECK_INT(c.by_status[-SL_E_ISOLATE_GONE], 1);
        close(fds[0]);
        end(g);
        life_unmap(&stuck);
        life_unmap(&other);
    }
}

// Whom a plan does not name gets nothing of it, however busy the others are; and what began with it stays with its isolates.
TEST(a_plan_is_answered_by_its_own_isolates) {
    EACH_BACKEND(io) {
        struct life old, new;
        struct sl_event e, held;
        int g = gateway_new(io, 1, 2), port = listen_at(g, 0);
        CHECK_INT(seat(g, 0), SL_SEAT_EMPTY);
        CHECK_INT(seat(g, 2), SL_E_INVALID);
        load_plan_for(g, 1);
        CHECK_INT(life_begin_at(&old, g, 0), 0);
        CHECK_INT(sl_gateway_start((uint32_t)g), 0);
        CHECK_INT(seat(g, 1), SL_SEAT_EMPTY);
        int slow = peer_connect(port), fd = peer_connect(port);
        peer_send_text(slow, GET("/slow"));
        REQUIRE(life_event(&old, &held, 5000));
        CHECK_INT(life_begin_at(&new, g, 1), 0);
        for (int i = 0; i < 10; i++) { // the new one has a ring, and no plan
            peer_send_text(fd, GET("/old"));
            REQUIRE(life_event(&old, &e, 5000));
            life_answer(&old, &e, "old");
            CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 3);
        }
        CHECK(seat_becomes(g, 1, SL_SEAT_IDLE));
        load_plan_for(g, 2);
        for (int i = 0; i < 10; i++) {
            peer_send_text(fd, GET("/new"));
            REQUIRE(life_event(&new, &e, 5000));
            life_answer(&new, &e, "new");
            CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 3);
        }
        CHECK_INT(seat(g, 0), SL_SEAT_BUSY); // with the slow one
        CHECK(seat_becomes(g, 1, SL_SEAT_BUSY));
        life_answer(&old, &held, "after all");
        CHECK_INT(peer_read_answer(slow, text, sizeof(text)), 9);
        CHECK(seat_becomes(g, 0, SL_SEAT_IDLE));
        gone(g, 0, SL_ISOLATE_RETIRED);
        CHECK(seat_becomes(g, 0, SL_SEAT_EMPTY));
        CHECK_INT(sl_gateway_attach((uint32_t)g, 0, 0, old.region, sl_ring_bytes(EXCHANGES)), 0); // the same memory, again
        CHECK(seat_becomes(g, 0, SL_SEAT_IDLE));
        load_plan_for(g, 1);
        peer_send_text(fd, GET("/third"));
        REQUIRE(life_event(&old, &e, 5000));
        life_answer(&old, &e, "third");
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 5);
        struct sl_counters c;
        sl_gateway_stats((uint32_t)g, (uint8_t *)&c, sizeof(c));
        CHECK_INT(c.plan_loads, 3);
        CHECK_INT(c.isolate_crashes + c.isolate_blocks, 0);
        close(slow);
        close(fd);
        end(g);
        life_unmap(&old);
        life_unmap(&new);
    }
}

// What an isolate said before it ended counts, though nobody had read it yet.
TEST(answers_that_were_given_before_the_end_are_sent) {
    EACH_BACKEND(io) {
        struct life life;
        struct sl_event e;
        int port, g = start_with(&life, io, &port), fd = peer_connect(port);
        peer_send_text(fd, GET("/last"));
        REQUIRE(life_event(&life, &e, 5000));
        uint32_t tail = atomic_load(word(&life, SL_RING_VERDICT_TAIL_OFF));
        memcpy(slot(&life, e.slot) + SL_SLOT_TX_OFF, "last words", 10);
        struct sl_verdict *at = (struct sl_verdict *)(void *)(life.region + SL_RING_EVENTS_OFF +
                                                               EXCHANGES * SL_RING_ENTRIES_PER_SLOT * SL_RING_ENTRY_BYTES);
        at[tail & (EXCHANGES * SL_RING_ENTRIES_PER_SLOT - 1)] =
            (struct sl_verdict){.kind = SL_VERDICT_RESPOND, .flags = SL_VERDICT_F_END | SL_VERDICT_F_FINAL, .status = 200,
                                .slot = e.slot, .gen = e.gen, .body_len = 10};
        atomic_store(word(&life, SL_RING_VERDICT_TAIL_OFF), tail + 1); // and nobody is woken
        gone(g, 0, SL_ISOLATE_CRASHED);
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 10);
        CHECK_MSG(strncmp(text, "HTTP/1.1 200 ", 13) == 0, "%s", text);
        close(fd);
        end(g);
        life_unmap(&life);
    }
}

// The more an isolate has not read, the less it gets; equals take turns.
TEST(the_isolate_with_the_fewest_unread_events_is_next) {
    EACH_BACKEND(io) {
        struct life lives[3];
        struct sl_event e;
        int g = gateway_new(io, 1, 3), port = listen_at(g, 0), fd = peer_connect(port), busy[4], got[3] = {0};
        load_plan(g);
        for (uint32_t i = 0; i < 3; i++) {
            CHECK_INT(life_begin_at(&lives[i], g, i), 0);
        }
        CHECK_INT(sl_gateway_start((uint32_t)g), 0);
        for (int i = 0; i < 4; i++) { // one each, unread, and a second for the first
            busy[i] = peer_connect(port);
            peer_send_text(busy[i], GET("/busy"));
            struct sl_counters c;
            do {
                sl_gateway_stats((uint32_t)g, (uint8_t *)&c, sizeof(c));
            } while ((int)c.requests_typescript < i + 1);
        }
        for (int i = 1; i < 3; i++) {
            REQUIRE(life_event(&lives[i], &e, 5000));
            life_answer(&lives[i], &e, "x");
        }
        for (int i = 0; i < 20; i++) {
            peer_send_text(fd, GET("/next"));
            int who = 1;
            while (!life_event(&lives[who], &e, 1)) {
                who = 3 - who;
            }
            got[who]++;
            life_answer(&lives[who], &e, "x");
            CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 1);
        }
        CHECK_INT(got[1], 10);
        CHECK_INT(got[2], 10);
        life_answers_all(&lives[0], "x");
        for (int i = 0; i < 4; i++) {
            CHECK_INT(peer_read_answer(busy[i], text, sizeof(text)), 1);
            close(busy[i]);
        }
        close(fd);
        end(g);
        for (int i = 0; i < 3; i++) {
            life_unmap(&lives[i]);
        }
    }
}

// Races: which side wins is nobody's business, but one must.

static _Atomic bool stop;
static _Atomic int handle;
static _Atomic uint32_t calls;

static void *wake_forever(void *arg) {
    (void)arg;
    while (!atomic_load(&stop)) {
        uint32_t g = (uint32_t)atomic_load(&handle);
        int rc = sl_gateway_wake(g, 0);
        rc = rc ? rc : sl_gateway_isolate_gone(g, 0, SL_ISOLATE_RETIRED);
        if (rc != SL_OK && rc != SL_E_STATE && rc != SL_E_INVALID) { // E_INVALID: no isolates
            abort();
        }
        atomic_fetch_add(&calls, 1);
    }
    return NULL;
}

TEST(a_wake_may_come_while_the_gateway_is_freed) {
    EACH_BACKEND(io) {
        pthread_t threads[2];
        atomic_store(&stop, false);
        atomic_store(&handle, SL_GATEWAYS_MAX - 1); // none
        for (int i = 0; i < 2; i++) {
            pthread_create(&threads[i], NULL, wake_forever, NULL);
        }
        for (int round = 0; round < 30; round++) {
            int g = gateway_new(io, 1, 0);
            CHECK(listen_at(g, 0) > 0);
            load_plan(g);
            atomic_store(&handle, g);
            if (round % 2) {
                CHECK_INT(sl_gateway_start((uint32_t)g), 0);
                uint32_t seen = atomic_load(&calls);
                while (atomic_load(&calls) < seen + 4) {
                    poll(NULL, 0, 1);
                }
                sl_gateway_drain((uint32_t)g, 0);
                CHECK_INT(sl_gateway_join((uint32_t)g, 5000), 0);
            }
            CHECK_INT(sl_gateway_free((uint32_t)g), 0);
            CHECK_INT(sl_gateway_free((uint32_t)g), SL_E_STATE);
        }
        atomic_store(&stop, true);
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
        }
    }
}

static pthread_barrier_t line;
struct rival {
    pthread_t thread;
    int gateway, port, got;
    char why[256];
};

static void *rival_main(void *arg) {
    struct rival *r = arg;
    pthread_barrier_wait(&line);
    r->got = listen_at(r->gateway, r->port);
    if (r->got < 0) {
        sl_error_text((uint8_t *)r->why, sizeof(r->why) - 1);
    }
    return NULL;
}

static int free_port(void) {
    int port;
    close(peer_listen(&port));
    return port;
}

TEST(of_two_gateways_at_once_one_gets_the_address) {
    int wins = 0;
    for (int round = 0; round < 100; round++) {
        struct rival rivals[2] = {0};
        int port = free_port();
        pthread_barrier_init(&line, NULL, 2);
        for (int i = 0; i < 2; i++) {
            rivals[i].gateway = gateway_new(SL_IO_EPOLL, 3, 0);
            rivals[i].port = port;
            pthread_create(&rivals[i].thread, NULL, rival_main, &rivals[i]);
        }
        for (int i = 0; i < 2; i++) {
            pthread_join(rivals[i].thread, NULL);
        }
        int got = (rivals[0].got == port) + (rivals[1].got == port);
        CHECK_MSG(got <= 1, "round %d: both got port %d", round, port);
        wins += got;
        for (int i = 0; i < 2; i++) {
            CHECK_MSG(rivals[i].got == port || rivals[i].got == SL_E_ADDRESS_IN_USE, "%d %s", rivals[i].got, rivals[i].why);
            CHECK_INT(sl_gateway_free((uint32_t)rivals[i].gateway), 0);
        }
        pthread_barrier_destroy(&line);
    }
    CHECK_MSG(wins > 90, "%d of 100", wins); // now and then somebody else on this machine takes the port
}

// All sockets of the one that has it listen, the first of them from the beginning: none is left out of the kernel's group.
TEST(who_comes_before_the_start_is_served) {
    EACH_BACKEND(io) {
        int g = gateway_new(io, 3, 0), port = listen_at(g, 0);
        load_plan(g);
        int early = peer_connect(port); // before the start: it waits
        peer_send_text(early, GET("/"));
        CHECK_INT(sl_gateway_start((uint32_t)g), 0);
        CHECK_INT(peer_read_answer(early, text, sizeof(text)), 6);
        int fds[96];
        for (int i = 0; i < 96; i++) {
            fds[i] = peer_connect(port);
            REQUIRE(fds[i] >= 0 && answers(fds[i], GET("/"), "200", "hello"));
        }
        for (int i = 0; i < 96; i++) {
            close(fds[i]);
        }
        close(early);
        end(g);
    }
}
