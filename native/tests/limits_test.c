// What limits do with whole requests, in time that is ours: rates, timeouts, and every way in which a request can end while it has a place of a
// concurrency limit. Rows for every kernel (row.h).

#include "policy.h"
#include "row.h"

#define GET_TO(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define ONE GET_TO("/one/up")
#define LATE GET_TO("/late/up")
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define LENGTH "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
#define UNTIL_CLOSE "HTTP/1.1 200 OK\r\n\r\n"
#define REFUSED "The upstream refused the connection.\n"
#define RESET_EARLY "The upstream closed the connection before its answer.\n"
#define NO_CONNECT "The upstream did not accept in time.\n"
#define FULL "All connections to the upstream are in use.\n"

static void proxied(const char *pattern, int port, const uint32_t *policies, const uint8_t *ops, uint32_t count) {
    struct sl_plan_upstream *u = plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/not/asked/for", (uint16_t)port);
    uint32_t index = builder.header.upstream_count - 1;
    u->connect_timeout_ms = u->head_timeout_ms = u->idle_timeout_ms = 5000;
    u->conns_max = u->idle_max = strstr(pattern, "/line") ? 1 : 8;
    plan_entry(&builder, SL_PLAN_METHOD_ALL, pattern, 255, 0);
    for (uint32_t i = 0; i < count; i++) {
        plan_step(&builder, ops[i], policies[i]);
    }
    plan_step(&builder, SL_PLAN_OP_PROXY, index);
}

static void make_plan(void) {
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/native", 200, "", "native", 6);
    plan_respond(&builder, SL_METHOD_GET, "/full", 503, "", "full", 4);
    uint32_t one = plan_concurrency_limit(&builder, NULL, 1), two = plan_concurrency_limit(&builder, "x-user", 2);
    plan_respond(&builder, SL_METHOD_GET, "/timed-out", 504, "", "late", 4);
    uint32_t late = plan_timeout(&builder, 4000), later = plan_timeout(&builder, 6000);
    plan_respond(&builder, SL_METHOD_GET, "/many", 429, "", "many", 4);
    uint32_t rate = plan_rate_limit(&builder, NULL, 3000000, 2), each = plan_rate_limit(&builder, "x-user", 3000000, 1);
    const uint8_t concurrency[] = {SL_PLAN_OP_CONCURRENCY_LIMIT, SL_PLAN_OP_TIMEOUT}, timeout[] = {SL_PLAN_OP_TIMEOUT, SL_PLAN_OP_TIMEOUT};
    proxied("/one/up", world.upstream_port, &one, concurrency, 1);
    proxied("/one/refused", world.refused_port, &one, concurrency, 1);
    proxied("/one/full", world.full_port, &one, concurrency, 1);
    proxied("/one/late", world.upstream_port, (uint32_t[]){one, late}, concurrency, 2);
    proxied("/two/up", world.upstream_port, &two, concurrency, 1);
    proxied("/two/line", world.upstream_port, &two, concurrency, 1);
    proxied("/late/up", world.upstream_port, &late, timeout, 1);
    proxied("/late/full", world.full_port, &late, timeout, 1);
    proxied("/late/line", world.upstream_port, &late, timeout, 1);
    proxied("/later/up", world.upstream_port, (uint32_t[]){later, late}, timeout, 2);
    plan_entry(&builder, SL_METHOD_GET, "/rate", 255, 0);
    plan_step(&builder, SL_PLAN_OP_RATE_LIMIT, rate);
    plan_step(&builder, SL_PLAN_OP_RESPOND, 0);
    plan_entry(&builder, SL_METHOD_GET, "/each", 255, 0);
    plan_step(&builder, SL_PLAN_OP_RATE_LIMIT, each);
    plan_step(&builder, SL_PLAN_OP_RESPOND, 0);
    plan_entry(&builder, SL_METHOD_GET, "/one/native", 255, 0);
    plan_step(&builder, SL_PLAN_OP_CONCURRENCY_LIMIT, one);
    plan_step(&builder, SL_PLAN_OP_RESPOND, 0);
    for (uint32_t i = 0; i < builder.header.policy_count; i++) {
        builder.policies[i].identity = i;
    }
}

// With '*': not in storms, where it makes a difference what comes together and what apart.
static const struct row rows[] = {
    // One place: the second one is refused while the first is in flight, and not after it.
    {"one in flight", {{SEND(ONE), AWAIT(3), ANSWER(200, "ok"), STAGE(4)},
                       {AWAIT(1), SEND(GET_TO("/one/native")), ANSWER(503, "full"), STAGE(2), AWAIT(4), SEND(GET_TO("/one/native")),
                        ANSWER(200, "native")}},
     {{REQUEST, STAGE(1), AWAIT(2), SEND(OK), STAGE(3)}}, 1, 1, {C(concurrency_limited, 1), R(SHED_CONCURRENCY, 1)}},
    {"one after the other", {{SEND(ONE), ANSWER(200, "ok"), SEND(ONE), ANSWER(200, "ok"), SEND(GET_TO("/one/native")), ANSWER(200, "native")}},
     {{REQUEST, SEND(OK), REQUEST, SEND(OK)}}, 1, 2, {C(concurrency_limited, 0)}},
    {"pipelined", {{SEND(ONE GET_TO("/one/native") ONE), ANSWER(200, "ok"), ANSWER(200, "native"), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), REQUEST, SEND(OK)}}, 1, 2, {C(concurrency_limited, 0)}},
    {"until the body's end", {{SEND(ONE), AWAIT(3), ANSWER(200, "helloworld")},
                              {AWAIT(1), SEND(GET_TO("/one/native")), ANSWER(503, "full"), STAGE(2)}},
     {{REQUEST, SEND(LENGTH "hello"), STAGE(1), AWAIT(2), SEND("world"), STAGE(3)}}, 1, 1, {C(concurrency_limited, 1)}},
    {"upstream refuses", {{SEND(GET_TO("/one/refused")), ANSWER(502, REFUSED)}}, {{{0}}}, 0, 0, FAILED(UPSTREAM_REFUSED)},
    {"upstream never accepts", {{SEND(GET_TO("/one/full")), LATER(5100), ANSWER(504, NO_CONNECT)}}, {{{0}}}, 0, 0,
     FAILED(UPSTREAM_CONNECT_TIMEOUT)},
    {"upstream closes", {{SEND(ONE), ANSWER(502, RESET_EARLY)}}, {{REQUEST, CLOSE}}, 1, 1, FAILED(UPSTREAM_RESET)},
    {"upstream closes inside the body", {{SEND(ONE), BROKEN(200, "hello")}}, {{REQUEST, SEND(LENGTH "hello"), CLOSE}}, 1, 1,
     FAILED(UPSTREAM_CUT)},
    {"upstream resets inside the body", {{SEND(ONE), BROKEN(200, "hello")}}, {{REQUEST, SEND(LENGTH "hello"), TURNS(3), RESET}}, 1, 1,
     FAILED(UPSTREAM_CUT)},
    {"client resets while connecting", {{SEND(GET_TO("/one/full")), TURNS(4), RESET}}, {{{0}}}, 0, 0, {R(CLIENT_CLOSED, 1)}},
    {"client resets before the head", {{SEND(ONE), AWAIT(1), RESET}}, {{REQUEST, STAGE(1), ENDED}}, 1, 1, {R(CLIENT_CLOSED, 1)}},
    {"client resets inside the body", {{SEND(ONE), BYTES(100000), RESET}}, {{REQUEST, SEND(UNTIL_CLOSE), FLOOD, ENDED}}, 1, 1,
     {R(CLIENT_CLOSED, 1)}},
    {"client ends its side, and gets its answer", {{SEND(ONE), FIN, ANSWER(200, "ok"), EOF_}}, {{REQUEST, SEND(OK)}}, 1, 1, {{0}}},
    {"client resets inside its own body", {{SEND("POST /one/up HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"), TURNS(4), RESET}},
     {{HEAD, ENDED}}, 1, 1, {R(CLIENT_CLOSED, 1)}},
    {"* client's body is malformed", {{SEND("POST /one/up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), ENDED}},
     {{{0}}}, 0, 0, {R(BAD_CHUNK, 1)}},
    {"two of one key, one of another",
     {{SEND("GET /two/up HTTP/1.1\r\nHost: a\r\nX-User: u\r\n\r\n"), AWAIT(4), ANSWER(200, "ok")},
      {AWAIT(1), SEND("GET /two/up HTTP/1.1\r\nHost: a\r\nX-User: u\r\n\r\n"), AWAIT(4), ANSWER(200, "ok")},
      {AWAIT(2), SEND("GET /two/up HTTP/1.1\r\nHost: a\r\nX-User: u\r\n\r\n"), ANSWER(503, "full"),
       SEND("GET /two/up HTTP/1.1\r\nHost: a\r\nX-User: v\r\n\r\n"), AWAIT(4), ANSWER(200, "ok")}},
     {{REQUEST, STAGE(1), AWAIT(3), SEND(OK)}, {REQUEST, STAGE(2), AWAIT(3), SEND(OK)}, {REQUEST, STAGE(3), SEND(OK), STAGE(4)}}, 3, 3,
     {C(concurrency_limited, 1)}},
    {"leaves the line of an upstream",
     {{SEND(GET_TO("/two/line")), ANSWER(200, "ok")}, {AWAIT(2), SEND(GET_TO("/two/line")), TURNS(3), RESET, TURNS(3), STAGE(3)}},
     {{REQUEST, STAGE(2), AWAIT(3), SEND(OK)}}, 1, 1, {C(upstream_waits, 1), R(CLIENT_CLOSED, 1)}},
    {"too late while it has a place", {{SEND(GET_TO("/one/late")), AWAIT(1), LATER(4100), ANSWER(504, "late"), SEND(GET_TO("/one/native")), ANSWER(200, "native")}},
     {{REQUEST, STAGE(1), ENDED}}, 1, 1, {R(TIMEOUT, 1), C(upstream_aborts, 1)}},

    // Timeouts.
    {"in time", {{SEND(LATE), AWAIT(1), LATER(2000), STAGE(2), ANSWER(200, "ok")}}, {{REQUEST, STAGE(1), AWAIT(2), SEND(OK)}}, 1, 1,
     {R(TIMEOUT, 0)}},
    {"in time, and the next one as well", {{SEND(LATE), AWAIT(1), LATER(2000), STAGE(2), ANSWER(200, "ok"), SEND(LATE), AWAIT(3), LATER(2000), STAGE(4),
                                            ANSWER(200, "ok")}},
     {{REQUEST, STAGE(1), AWAIT(2), SEND(OK), REQUEST, STAGE(3), AWAIT(4), SEND(OK)}}, 1, 2, {R(TIMEOUT, 0)}},
    {"late before the head", {{SEND(LATE), AWAIT(1), LATER(4100), ANSWER(504, "late"), SEND(GET_TO("/native")), ANSWER(200, "native")}},
     {{REQUEST, STAGE(1), ENDED}}, 1, 1, {R(TIMEOUT, 1), C(upstream_aborts, 1)}},
    {"late inside the head", {{SEND(LATE), AWAIT(1), LATER(4100), ANSWER(504, "late")}}, {{REQUEST, SEND("HTTP/1.1 200 OK\r\nA: "), STAGE(1), ENDED}},
     1, 1, {R(TIMEOUT, 1), C(upstream_aborts, 1)}},
    {"late behind 1xx", {{SEND(LATE), INTERIM(103), LATER(4100), ANSWER(504, "late")}},
     {{REQUEST, SEND("HTTP/1.1 103 Early Hints\r\n\r\n"), ENDED}}, 1, 1, {R(TIMEOUT, 1)}},
    {"late inside the body", {{SEND(LATE), AWAIT(1), LATER(4100), BROKEN(200, "hello")}},
     {{REQUEST, SEND(LENGTH "hello"), STAGE(1), ENDED}}, 1, 1, {R(TIMEOUT, 1), C(upstream_aborts, 1)}},
    {"late while its own body comes", {{SEND("POST /late/up HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"), TURNS(4), LATER(4100), ANSWER(504, "late")}},
     {{HEAD, ENDED}}, 1, 1, {R(TIMEOUT, 1)}},
    {"late while connecting", {{SEND(GET_TO("/late/full")), TURNS(4), LATER(4100), ANSWER(504, "late")}}, {{{0}}}, 0, 0, {R(TIMEOUT, 1)}},
    {"late in the line of an upstream",
     {{SEND(GET_TO("/late/line")), AWAIT(1), TURNS(4), LATER(4100), ANSWER(504, "late")},
      {AWAIT(1), SEND(GET_TO("/late/line")), ANSWER(504, "late")}},
     {{REQUEST, STAGE(1), ENDED}}, 1, 1, {R(TIMEOUT, 2), C(upstream_waits, 1)}},
    {"the sooner of two", {{SEND(GET_TO("/later/up")), AWAIT(1), LATER(4100), ANSWER(504, "late")}}, {{REQUEST, STAGE(1), ENDED}}, 1, 1,
     {R(TIMEOUT, 1)}},
    {"client leaves before it is late", {{SEND(LATE), AWAIT(1), RESET, LATER(5000)}}, {{REQUEST, STAGE(1), ENDED}}, 1, 1,
     {R(TIMEOUT, 0), R(CLIENT_CLOSED, 1)}},
    {"the connection outlives it", {{SEND(GET_TO("/native")), ANSWER(200, "native"), SEND(LATE), ANSWER(200, "ok"), LATER(5000), SEND(GET_TO("/native")), ANSWER(200, "native")}},
     {{REQUEST, SEND(OK)}}, 1, 1, {R(TIMEOUT, 0)}},

    // Rates: two at once, one each three seconds.
    {"a burst, then the rate",
     {{SEND(GET_TO("/rate")), ANSWER(200, "native"), SEND(GET_TO("/rate")), ANSWER(200, "native"), SEND(GET_TO("/rate")), ANSWER(429, "many"),
       LATER(3000), SEND(GET_TO("/rate")), ANSWER(200, "native"), SEND(GET_TO("/rate")), ANSWER(429, "many")}},
     {{{0}}}, 0, 0, {C(rate_limited, 2), R(RATE_LIMITED, 2), C(rate_limit_evictions, 0)}},
    {"time gives it back, and no more than the burst",
     {{LATER(7000), SEND(GET_TO("/rate") GET_TO("/rate") GET_TO("/rate")), ANSWER(200, "native"), ANSWER(200, "native"), ANSWER(429, "many")}},
     {{{0}}}, 0, 0, {C(rate_limited, 1)}},
    {"each value for itself", {{SEND("GET /each HTTP/1.1\r\nHost: a\r\nX-User: u\r\n\r\n"), ANSWER(200, "native"),
                                SEND("GET /each HTTP/1.1\r\nHost: a\r\nX-User: u\r\n\r\n"), ANSWER(429, "many"),
                                SEND("GET /each HTTP/1.1\r\nHost: a\r\nX-User: v\r\n\r\n"), ANSWER(200, "native"),
                                SEND(GET_TO("/each") GET_TO("/each")), ANSWER(200, "native"), ANSWER(429, "many")}},
     {{{0}}}, 0, 0, {C(rate_limited, 2)}},
};

// Places that are taken, over all limits of the plan.
static uint64_t in_flight(const struct sl_plan *plan) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < plan->header->policy_count; i++) {
        if (plan->policies[i].op == SL_PLAN_OP_CONCURRENCY_LIMIT) {
            sum += sl__concurrency_limit_live(plan->policy_states[i]);
        }
    }
    return sum;
}

TEST(limits) {
    EACH_KERNEL(kernel) {
        for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
            int failures = test_failures;
            run_row(&rows[i]);
            CHECK_INT(in_flight(world.gateway->plan), 0);
            if (test_failures > failures) {
                printf("  on %s: row \"%s\"\n", kernel->name, rows[i].name);
            }
        }
    }
}

// A drain that cuts what is in flight, and a reload under it: the place is given back to the limit that it was taken from.
TEST(a_drain_gives_places_back) {
    static const struct step client[STEPS_MAX] = {SEND(ONE), ENDED};
    static const struct step ups[PEERS_MAX][STEPS_MAX] = {{REQUEST, STAGE(1), ENDED}};
    for (const struct kernel *kernel = kernels + 2; kernel < kernels + SL_COUNT_OF(kernels); kernel++) { // a drain takes time
        REQUIRE(open_on(kernel));
        struct sl_plan *old = world.gateway->plan;
        sl_plan_ref(old);
        begin_peer(&world.clients[world.client_count++], "client", client, wire_connect(world.port));
        for (int i = 0; i < 100 && world.stage == 0; i++) {
            peers_run(ups, PEERS_MAX);
            world_turn(SL_NS_PER_MS);
        }
        CHECK_INT(in_flight(old), 1);
        make_plan();
        builder.policies[0].identity = 1000; // of other options: it counts anew
        uint32_t len = plan_finish(&builder);
        CHECK_INT(sl__gateway_plan(world.gateway, (struct sl_span){builder.blob, len}), 0);
        CHECK_INT(world_turn(0), SL_OK);
        struct sl_plan *new = world.gateway->plan;
        sl_plan_ref(new);
        CHECK(new != old && new->policy_states[0] != old->policy_states[0] && new->policy_states[1] == old->policy_states[1]);
        CHECK_INT(in_flight(new), 0);
        world_close();
        CHECK_INT(in_flight(old), 0);
        sl_plan_unref(old);
        sl_plan_unref(new);
    }
}

// The same rows on kernels that do each call by halves: whatever comes in whichever order, every place is given back.
TEST(limits_in_storms) {
    uint64_t seeds = getenv("SLUICE_SOAK") ? 200 : 10, from = (uint64_t)time(NULL);
    for (uint64_t seed = from; seed < from + seeds && !test_failures; seed++) {
        for (const struct kernel *kernel = kernels + 2; kernel < kernels + SL_COUNT_OF(kernels) && !test_failures; kernel++) {
            struct sl_sim *sim = sl_sim_new(&(struct sl_sim_config){
                .seed = seed, .stormy = true, .unbroken = true, .delay_ns = 1000, .send_bytes = 262144, .receive_bytes = 131072});
            REQUIRE(world_open(kernel->kind, sim, config, make_plan));
            world.patience = 30;
            for (size_t i = 0; i < SL_COUNT_OF(rows) && !test_failures; i++) {
                if (rows[i].name[0] != '*') {
                    run_row(&rows[i]);
                    CHECK_INT(in_flight(world.gateway->plan), 0);
                }
            }
            if (test_failures) {
                printf("  on %s, seed %llu\n", kernel->name, (unsigned long long)seed);
            }
            sl_sim_calm(sim);
            world.patience = 1;
            world_close();
        }
    }
}
