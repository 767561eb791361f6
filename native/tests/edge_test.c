// The edge's limits, one row each: what a client gets at a limit and just below it, and the reason that is counted. A worker and its peers in one
// thread (world.h), whose clock jumps where a script says so: the default times are tested as they are.

#include "clients.h"
#include "conn.h"
#include "upstream.h"
#include "world.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define NATIVE "GET /native HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(n) "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " n "\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define UNTIL_CLOSE "HTTP/1.1 200 OK\r\n\r\n"
#define X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X1024 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64

#define LATE_HEAD "The request head took too long.\n"
#define LATE_BODY "The request body took too long.\n"

struct row {
    const char *name;
    struct sl_config config;
    struct step client[STEPS_MAX], up[STEPS_MAX];
    int reason; // that is counted once; SL_OK: none
};

static const struct row rows[] = {
    // A head: its time is absolute.
    {"head_timeout_ms", {0}, {SEND("GET /native HT"), LATER(6000), SEND("TP/1.1\r\n"), LATER(4100), ANSWER(408, LATE_HEAD), EOF_}, {{0}}, SL_E_HEAD_TIMEOUT},
    {"head_timeout_ms, just in time", {0}, {SEND("GET /native HT"), LATER(9000), SEND("TP/1.1\r\nHost: a\r\n\r\n"), ANSWER(200, "native")}, {{0}}, SL_OK},
    {"head_timeout_ms = 200", {.head_timeout_ms = 200}, {SEND("G"), LATER(250), ANSWER(408, LATE_HEAD), EOF_}, {{0}}, SL_E_HEAD_TIMEOUT},
    {"line_bytes_max = 64", {.line_bytes_max = 64}, {SEND("GET /" X64), ANSWER(414, "The request line is too long.\n"), EOF_}, {{0}}, SL_E_TARGET_TOO_LONG},
    {"head_bytes_max = 1024", {.head_bytes_max = 1024}, {SEND("GET / HTTP/1.1\r\nHost: a\r\nX: " X1024), ANSWER(431, "The request head is too large.\n"), EOF_},
     {{0}}, SL_E_HEAD_TOO_LARGE},
    {"fields_max = 3", {.fields_max = 3}, {SEND("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\nE: f\r\n\r\n"),
                                           ANSWER(431, "The request has too many header fields.\n"), EOF_}, {{0}}, SL_E_TOO_MANY_FIELDS},
    {"fields_max = 3, exactly", {.fields_max = 3}, {SEND("GET /native HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n"), ANSWER(200, "native")}, {{0}}, SL_OK},

    // A body: 240 B/s after 5 s of waiting, 30 s between two parts of what is quicker.
    {"body_bytes_per_second_min", {0}, {SEND(POST("300") "abc"), LATER(4000), SEND("def"), LATER(1500), ANSWER(408, LATE_BODY), EOF_}, {HEAD, ENDED},
     SL_E_BODY_TIMEOUT},
    {"body_bytes_per_second_min, quick enough", {0}, {SEND(POST("2003") "abc"), LATER(4000), FILL(1000), LATER(3000), FILL(1000), ANSWER(200, "ok")},
     {HEAD, BYTES(2003), SEND(OK)}, SL_OK},
    {"body_bytes_per_second_min = 10", {.body_bytes_per_second_min = 10, .body_grace_ms = 1000},
     {SEND(POST("60")), FILL(30), LATER(3900), FILL(30), ANSWER(200, "ok")}, {HEAD, BYTES(60), SEND(OK)}, SL_OK},
    {"body_bytes_per_second_min = 10000", {.body_bytes_per_second_min = 10000}, {SEND(POST("30000")), FILL(10000), LATER(6500), ANSWER(408, LATE_BODY), EOF_},
     {HEAD, ENDED}, SL_E_BODY_TIMEOUT},
    {"body_grace_ms = 20000", {.body_grace_ms = 20000}, {SEND(POST("6") "abc"), LATER(19000), SEND("def"), ANSWER(200, "ok")}, {HEAD, BYTES(6), SEND(OK)}, SL_OK},
    {"body_grace_ms = 100", {.body_grace_ms = 100}, {SEND(POST("6") "abc"), LATER(200), ANSWER(408, LATE_BODY), EOF_}, {HEAD, ENDED}, SL_E_BODY_TIMEOUT},
    {"body_timeout_ms", {0}, {SEND(POST("60000")), FILL(30000), LATER(29000), FILL(1000), LATER(29000), LATER(1500), ANSWER(408, LATE_BODY), EOF_}, {HEAD, ENDED},
     SL_E_BODY_TIMEOUT},
    {"the body of a request that was answered without it", {0},
     {SEND("POST /native HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\nabc"), ANSWER(200, "native"), LATER(4000), SEND("def"), LATER(1500), EOF_,
      SEND("ghi"), TURNS(4), CONNS(1), LATER(2000), CONNS(0)}, {{0}}, SL_E_BODY_TIMEOUT},
    {"a body that waits for us is not late", {0}, {SEND(POST("6") "abcdef"), LATER(20000), AWAIT(1), LATER(5000), STAGE(2), ANSWER(200, "ok")},
     {HEAD, STAGE(1), AWAIT(2), SEND(OK)}, SL_OK},

    // Between requests.
    {"idle_timeout_ms", {0}, {SEND(NATIVE), ANSWER(200, "native"), LATER(64000), SEND(NATIVE), ANSWER(200, "native"), LATER(65500), EOF_}, {{0}},
     SL_E_IDLE_TIMEOUT},
    {"conn_age_ms = 10000", {.conn_age_ms = 10000}, {SEND(NATIVE), ANSWER(200, "native"), LATER(8500), SEND(NATIVE), ANSWER(200, "native"), LATER(3000),
                                                      SEND(NATIVE), ANSWER(200, "native"), EOF_}, {{0}}, SL_OK},
    {"conn_age_ms", {.idle_timeout_ms = 86400000}, {SEND(NATIVE), ANSWER(200, "native"), LATER(3200000), SEND(NATIVE), ANSWER(200, "native"), LATER(800000),
                                                      SEND(NATIVE), ANSWER(200, "native"), EOF_}, {{0}}, SL_OK},

    // OPTIONS that has gone far enough.
    {"Max-Forwards: 0 is for us", {0}, {SEND("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"), ANSWER(200, "")}, {{0}}, SL_OK},
    {"Max-Forwards: 1 is for the next", {0}, {SEND("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n"), ANSWER(200, "ok")}, {REQUEST, SEND(OK)},
     SL_OK},
    {"Max-Forwards: 0 of another method", {0}, {SEND("GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"), ANSWER(200, "ok")}, {REQUEST, SEND(OK)},
     SL_OK},

    // The end.
    {"linger_ms", {0}, {SEND("x\r\n"), ANSWER(400, "The request line is malformed.\n"), EOF_, LATER(1800), CONNS(1), LATER(300), CONNS(0)}, {{0}}, SL_E_BAD_LINE},
};

static bool run_peers(const struct row *row) {
    uint64_t until = world.below->now_ns(world.below) + ROW_NS;
    bool done = false;
    while (!done && !world.failed && world.below->now_ns(world.below) < until) {
        bool some = peers_run((const struct step(*)[STEPS_MAX])row->up, 1);
        CHECK_INT(world_turn(some ? 0 : SL_NS_PER_MS), SL_OK);
        done = true;
        for (uint32_t i = 0; i < world.client_count; i++) {
            done = done && world.clients[i].done;
        }
    }
    if (!done && !world.failed) {
        world_fail(&world.clients[0], "still waits, has %zu bytes: %.200s", world.clients[0].len, world.clients[0].in);
    }
    return !world.failed;
}

static void begin_client(const struct step *script) {
    static const char *const names[] = {"client 0", "client 1", "client 2", "client 3"};
    begin_peer(&world.clients[world.client_count], names[world.client_count], script, wire_connect(world.port));
    world.client_count++;
}

static void end_peers(void) {
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct scripted *both[] = {&world.clients[i], &world.ups[i]};
        uint32_t counts[] = {world.client_count, world.up_count};
        for (int k = 0; k < 2; k++) {
            if (i < counts[k] && both[k]->fd >= 0) {
                close(both[k]->fd);
            }
        }
    }
    uint64_t until = world.below->now_ns(world.below) + ROW_NS;
    while (!at_baseline() && world.below->now_ns(world.below) < until) {
        world_turn(SL_NS_PER_MS);
        world.skipped_ns += 100 * SL_NS_PER_MS; // who lingers need not be waited for
    }
    if (!at_baseline()) {
        say_baseline("at the end");
    }
    world.client_count = world.up_count = 0;
    world.failed = NULL;
    world.stage = 0;
}

static uint64_t counted(void) {
    uint64_t n = 0;
    for (int i = 0; i < SL_STATUS_SLOTS; i++) {
        n += i == -SL_E_CLIENT_CLOSED ? 0 : world.worker->counters.by_status[i];
    }
    return n;
}

static char big[1 << 20];

static void make_plan(void) {
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/native", 200, "", "native", 6);
    plan_respond(&builder, SL_METHOD_POST, "/native", 200, "", "native", 6);
    plan_respond(&builder, SL_METHOD_GET, "/big", 200, "", big, sizeof(big));
    struct sl_plan_upstream *up = plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/*", (uint16_t)world.upstream_port);
    up->head_timeout_ms = up->idle_timeout_ms = 86400000;
}

static bool open_world(int kind, struct sl_config config) {
    config.conns_max = config.conns_max ? config.conns_max : 64;
    config.requests_max = config.requests_max ? config.requests_max : 64;
    return world_open(kind, NULL, config, make_plan);
}

static int unavailable(int kind) {
    char reason[256];
    int rc = sl_io_probe(kind, reason, sizeof(reason));
    if (rc < 0) {
        printf("# %s: %s\n", sl_io_kind_name(kind), reason);
    }
    return rc < 0;
}

static const int kinds[] = {SL_IO_EPOLL, SL_IO_URING};
#define EACH_KIND(kind)                                                                                                                              \
    for (size_t kind_i = 0; kind_i < SL_COUNT_OF(kinds); kind_i++)                                                                                   \
        for (int kind = kinds[kind_i], once = !unavailable(kind); once; once = 0)

TEST(limits) {
    const char *only = getenv("SLUICE_TEST_ROW");
    EACH_KIND(kind) {
        for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
            const struct row *row = &rows[i];
            int failures = test_failures;
            if (only && !strstr(row->name, only)) {
                continue;
            }
            REQUIRE(open_world(kind, row->config));
            begin_client(row->client);
            CHECK_MSG(run_peers(row), "%s: %s", row->name, world.failed);
            CHECK_INT(counted(), row->reason != SL_OK);
            CHECK_INT(world.worker->counters.by_status[-row->reason], row->reason != SL_OK);
            end_peers();
            world_close();
            if (test_failures > failures) {
                printf("  on %s: row \"%s\"\n", sl_io_kind_name(kind), row->name);
            }
        }
    }
}

// What takes more than a script.

static const struct row nobody = {.name = "no upstream"};

TEST(requests_per_connection_and_their_jitter) {
    EACH_KIND(kind) {
        uint32_t fewest = UINT32_MAX, most = 0;
        REQUIRE(open_world(kind, (struct sl_config){.requests_per_conn_max = 20}));
        for (int k = 0; k < 30; k++) {
            static const struct step script[STEPS_MAX] = {ENDED};
            uint32_t answers = 0;
            begin_client(script);
            for (int i = 0; i < 40; i++) {
                send(world.clients[0].fd, NATIVE, strlen(NATIVE), MSG_NOSIGNAL);
            }
            uint64_t before = world.worker->counters.responses;
            CHECK_MSG(run_peers(&nobody), "%s", world.failed);
            answers = (uint32_t)(world.worker->counters.responses - before);
            fewest = sl_min_u32(fewest, answers);
            most = answers > most ? answers : most;
            end_peers();
        }
        CHECK_MSG(fewest >= 18 && most <= 22 && fewest < most, "%u to %u", fewest, most);
        world_close();
    }
}

TEST(ages_are_jittered) {
    EACH_KIND(kind) {
        static const struct step script[STEPS_MAX] = {SEND(NATIVE), ANSWER(200, "native")};
        uint64_t least = UINT64_MAX, most = 0, age = 3600 * SL_NS_PER_S;
        REQUIRE(open_world(kind, (struct sl_config){0}));
        for (int k = 0; k < 50; k++) {
            begin_client(script);
            CHECK_MSG(run_peers(&nobody), "%s", world.failed);
            least = sl_min_u64(least, world.worker->conn_first->age_max_ns);
            most = world.worker->conn_first->age_max_ns > most ? world.worker->conn_first->age_max_ns : most;
            end_peers();
        }
        CHECK(least >= age - age / 10 && most <= age + age / 10);
        CHECK(least < age && most > age); // one in 2^50 would say otherwise
        world_close();
    }
}

// Its next request begins when the answers before it have left.
static void pipelined(int kind, struct sl_config config, uint32_t depth) {
    static const struct step script[STEPS_MAX] = {ENDED};
    uint64_t most = 0;
    REQUIRE(open_world(kind, config));
    begin_client(script);
    for (int i = 0; i < 200; i++) {
        send(world.clients[0].fd, NATIVE, strlen(NATIVE), MSG_NOSIGNAL);
    }
    for (int i = 0; i < 1000 && world.worker->counters.responses < 200; i++) {
        world_turn(SL_NS_PER_MS);
        const struct sl_conn *conn = world.worker->conn_first;
        most = conn && conn->pipelined > most ? conn->pipelined : most;
    }
    CHECK_INT(most, depth);
    CHECK_INT(world.worker->counters.responses, 200);
    end_peers();
    world_close();
}

TEST(pipelining_depth) {
    EACH_KIND(kind) {
        pipelined(kind, (struct sl_config){0}, 64);
        pipelined(kind, (struct sl_config){.pipeline_requests_max = 3}, 3);
    }
}

TEST(unread_pipelined_bytes) {
    static const struct row row = {.name = "flood", .client = {SEND(GET), AWAIT(1), FILL(200000), TURNS(20), STAGE(2), ANSWER(200, "ok"), ANSWER(501, "This method is not implemented.\n")},
                                   .up = {REQUEST, STAGE(1), AWAIT(3), SEND(OK)}};
    EACH_KIND(kind) {
        for (uint32_t max = 4096; max <= 65536; max *= 16) {
            REQUIRE(open_world(kind, (struct sl_config){.pipeline_bytes_max = max}));
            begin_client(row.client);
            while (world.stage < 2 && !world.failed) {
                peers_run((const struct step(*)[STEPS_MAX])row.up, 1);
                world_turn(SL_NS_PER_MS);
            }
            uint64_t got = world.worker->counters.bytes_in;
            CHECK_MSG(got >= max && got < max + 65536, "%llu of %u", (unsigned long long)got, max);
            world.stage = 3;
            CHECK_MSG(run_peers(&row), "%s", world.failed);
            end_peers();
            world_close();
        }
    }
}

static uint64_t lingered(int kind, struct sl_config config) {
    static const struct step script[STEPS_MAX] = {SEND("x\r\n"), ANSWER(400, "The request line is malformed.\n"), EOF_, FILL(200000), TURNS(20)};
    if (!open_world(kind, config)) {
        return 0;
    }
    begin_client(script);
    CHECK_MSG(run_peers(&nobody), "%s", world.failed);
    uint64_t got = world.worker->counters.bytes_in;
    end_peers();
    world_close();
    return got;
}

TEST(bytes_of_a_lingering_close) {
    EACH_KIND(kind) {
        uint64_t few = lingered(kind, (struct sl_config){.linger_bytes_max = 1000}), usual = lingered(kind, (struct sl_config){0});
        CHECK_MSG(few > 1000 && few < 1000 + 40000, "%llu", (unsigned long long)few);
        CHECK_MSG(usual > 65536 && usual < 65536 + 40000, "%llu", (unsigned long long)usual);
    }
}

// A send that does not end, of which the kernel says at each look that so many bytes more were acknowledged.
static uint64_t acked, acked_more;
static int fake_getsockopt(const struct sl_sys *sys, int fd, int level, int name, void *value, socklen_t *len) {
    int rc = world.below->getsockopt(world.below, fd, level, name, value, len);
    (void)sys;
    if (level == IPPROTO_TCP && name == TCP_INFO) {
        acked += acked_more;
        memcpy((char *)value + 120, &acked, sizeof(acked)); // tcpi_bytes_acked
    }
    return rc;
}

// Whether the connection lives on for several stall times.
static bool outlives(int kind, struct sl_config config, uint64_t more) {
    static const struct step script[STEPS_MAX] = {SEND("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"), SEND("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"),
                                                  SEND("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"), SEND("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"),
                                                  SEND("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"), SEND("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"),
                                                  SEND("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"), SEND("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"),
                                                  TURNS(50), LATER(2000), LATER(60100), LATER(60100)};
    if (!open_world(kind, config)) {
        return false;
    }
    world.real.getsockopt = fake_getsockopt;
    acked_more = more;
    begin_client(script);
    CHECK_MSG(run_peers(&nobody), "%s", world.failed);
    bool lives = world.worker->counters.conns_live == 1;
    CHECK_INT(world.worker->counters.by_status[-SL_E_WRITE_STALLED], !lives);
    end_peers();
    world_close();
    return lives;
}

TEST(bytes_per_second_of_a_send) {
    EACH_KIND(kind) {
        CHECK(outlives(kind, (struct sl_config){0}, 240 * 60));
        CHECK(!outlives(kind, (struct sl_config){0}, 240 * 60 - 1));
        CHECK(outlives(kind, (struct sl_config){.write_bytes_per_second_min = 1000}, 1000 * 60));
        CHECK(!outlives(kind, (struct sl_config){.write_bytes_per_second_min = 1000}, 1000 * 60 - 1));
        CHECK(outlives(kind, (struct sl_config){.write_stall_ms = 180000}, 0)); // its second look is yet to come
    }
}

static int connect_from(const char *address) {
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)world.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    inet_pton(AF_INET, address, &from.sin_addr);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    connect(fd, (struct sockaddr *)&to, sizeof(to));
    return fd;
}

TEST(connections_of_one_address) {
    static const struct step served[STEPS_MAX] = {SEND(NATIVE), ANSWER(200, "native")}, refused[STEPS_MAX] = {EOF_}, leaves[STEPS_MAX] = {CLOSE, CONNS(2)};
    EACH_KIND(kind) {
        const struct sl_counters *c;
        REQUIRE(open_world(kind, (struct sl_config){.conns_per_address_max = 2}));
        c = &world.worker->counters;
        begin_client(served);
        begin_client(served);
        CHECK_MSG(run_peers(&nobody), "%s", world.failed);
        begin_client(refused);
        begin_peer(&world.clients[world.client_count++], "from another address", served, connect_from("127.0.0.2"));
        CHECK_MSG(run_peers(&nobody), "%s", world.failed);
        CHECK_INT(c->by_status[-SL_E_SHED_ADDRESS], 1);
        CHECK_INT(sl_clients_count(world.gateway->clients), 2);
        int fd = world.clients[0].fd;
        begin_peer(&world.clients[0], "client 0", leaves, fd); // and makes room
        CHECK_MSG(run_peers(&nobody), "%s", world.failed);
        begin_peer(&world.clients[0], "client 0 again", served, wire_connect(world.port));
        CHECK_MSG(run_peers(&nobody), "%s", world.failed);
        CHECK_INT(c->by_status[-SL_E_SHED_ADDRESS], 1);
        end_peers();
        CHECK_INT(sl_clients_count(world.gateway->clients), 0);
        world_close();
    }
}

TEST(connections_of_a_worker) {
    static const struct step served[STEPS_MAX] = {SEND(NATIVE), ANSWER(200, "native")}, refused[STEPS_MAX] = {EOF_};
    EACH_KIND(kind) {
        REQUIRE(open_world(kind, (struct sl_config){.conns_max = 2}));
        begin_client(served);
        begin_client(served);
        CHECK_MSG(run_peers(&nobody), "%s", world.failed);
        begin_client(refused);
        CHECK_MSG(run_peers(&nobody), "%s", world.failed);
        CHECK_INT(world.worker->counters.by_status[-SL_E_SHED_CONNS], 1);
        CHECK_INT(world.worker->counters.conns_shed, 1);
        end_peers();
        world_close();
    }
}

TEST(requests_of_a_worker) {
    static const struct row row = {.name = "requests_max", .client = {SEND(GET), ANSWER(200, "ok")}, .up = {REQUEST, STAGE(1), AWAIT(2), SEND(OK)}};
    static const struct step shed[STEPS_MAX] = {AWAIT(1), SEND(NATIVE), ANSWER(503, "Too many requests are in flight.\n"), EOF_, STAGE(2)};
    EACH_KIND(kind) {
        REQUIRE(open_world(kind, (struct sl_config){.requests_max = 1}));
        begin_client(row.client);
        begin_client(shed);
        CHECK_MSG(run_peers(&row), "%s", world.failed);
        CHECK_INT(world.worker->counters.by_status[-SL_E_SHED_REQUESTS], 1);
        end_peers();
        world_close();
    }
}

TEST(backlog_is_the_listeners) {
    const uint32_t asked[] = {0, 100};
    EACH_KIND(kind) {
        for (size_t i = 0; i < SL_COUNT_OF(asked); i++) {
            struct tcp_info info;
            socklen_t len = sizeof(info);
            FILE *file = fopen("/proc/sys/net/core/somaxconn", "r");
            uint32_t somaxconn = 0;
            REQUIRE(file && fscanf(file, "%u", &somaxconn) == 1);
            fclose(file);
            REQUIRE(open_world(kind, (struct sl_config){.backlog = asked[i]}));
            CHECK_INT(getsockopt(world.worker->listeners[0].fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
            CHECK_INT(info.tcpi_sacked, sl_min_u32(asked[i] ? asked[i] : 4096, somaxconn)); // of a listener: how many may wait
            world_close();
        }
    }
}
