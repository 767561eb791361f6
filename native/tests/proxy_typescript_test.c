// Requests that a chain in TypeScript sends to an upstream (SL_VERDICT_PROXY): the fault table of proxying holds for them, too, whatever the handler
// does with the answer. The isolate is played here, between two turns of the worker.
#include <stdatomic.h>
#include <sys/mman.h>

#include "proxy_tunnels.h"

#define SLOTS 64u
#define EDITED "x-edited: 1\r\n"

// What the handler does with a request and its answer.
enum handler {
    FORWARDS, // sends both on as they are
    EDITS,    // adds a field to either head
    READS,    // reads the answer's body and sends what it has read
    // And those that do not want what the upstream says.
    HURRIES,  // answers before the upstream
    REPLACES, // answers in place of it
    SIPS,     // reads a part, then answers otherwise
    FAILS,    // throws when the answer is there
    SLEEPS,   // does nothing with the answer
    MISNAMES, // forwards a 101 as 200, and others as 101
};
static const char *const handlers[] = {"forwards", "edits", "reads", "hurries", "replaces", "sips", "fails", "sleeps", "misnames"};

struct place {
    uint32_t gen;
    bool responded, busy, part, last; // busy: the tx area is being sent. part: one waits in the rx area
    uint32_t part_len;
};

static struct {
    enum handler handler;
    uint8_t *region;
    struct place places[SLOTS];
} isolate;

static _Atomic uint32_t *word(uint32_t off) { return (_Atomic uint32_t *)(void *)(isolate.region + off); }
static uint8_t *slot(uint32_t i) {
    return isolate.region + SL_RING_EVENTS_OFF + (size_t)SLOTS * SL_RING_ENTRIES_PER_SLOT * 2 * 64 + (size_t)i * SL_SLOT_BYTES;
}

static void verdict(const struct sl_event *e, struct sl_verdict v) {
    uint32_t entries = SLOTS * SL_RING_ENTRIES_PER_SLOT, tail = atomic_load(word(SL_RING_VERDICT_TAIL_OFF));
    struct sl_verdict *verdicts = (struct sl_verdict *)(void *)(isolate.region + SL_RING_EVENTS_OFF + (size_t)entries * 64);
    v.slot = e->slot;
    v.gen = e->gen;
    if (v.flags & SL_VERDICT_F_FINAL) {
        isolate.places[e->slot].gen = 0;
    }
    verdicts[tail & (entries - 1)] = v;
    atomic_store(word(SL_RING_VERDICT_TAIL_OFF), tail + 1);
}

static uint32_t put(uint8_t *at, const char *text) {
    memcpy(at, text, strlen(text));
    return (uint32_t)strlen(text);
}

// Which of make_plan's rows the request is for; ids count from 1.
static uint32_t upstream_of(const uint8_t *head, const struct sl_event *e) {
    const char *const paths[] = {"/refused", "/full", "/one", "/quick", "/drip"};
    for (uint32_t i = 0; i < SL_COUNT_OF(paths); i++) {
        if (strlen(paths[i]) == e->path_len && memcmp(head + e->path_off, paths[i], e->path_len) == 0) {
            return i + 1;
        }
    }
    return SL_COUNT_OF(paths) + 1;
}

// The head without its framing, and with a field of the app's own at its end.
static uint32_t edit_head(uint8_t *out, const uint8_t *head, const struct sl_event *e) {
    const struct sl_field *fields = (const struct sl_field *)(const void *)slot(e->slot);
    uint32_t n = 0;
    memcpy(out, head, e->method_len);
    n += e->method_len;
    n += put(out + n, " /rewritten HTTP/1.1\r\n");
    for (uint32_t i = 0; i < e->field_count; i++) {
        const struct sl_field *f = &fields[i];
        if (f->id != SL_H_CONTENT_LENGTH && f->id != SL_H_TRANSFER_ENCODING && f->id != SL_H_EXPECT) {
            memcpy(out + n, head + f->name_off, f->name_len);
            n += f->name_len;
            n += put(out + n, ": ");
            memcpy(out + n, head + f->value_off, f->value_len);
            n += f->value_len;
            n += put(out + n, "\r\n");
        }
    }
    return n + put(out + n, EDITED "\r\n");
}

static void answer(const struct sl_event *e, uint16_t status, const char *text) {
    uint32_t len = put(slot(e->slot) + SL_SLOT_TX_OFF, text);
    verdict(e, (struct sl_verdict){.kind = SL_VERDICT_RESPOND, .flags = SL_VERDICT_F_END | SL_VERDICT_F_FINAL, .status = status, .body_len = len});
}

static void on_request(const struct sl_event *e) {
    uint8_t *at = slot(e->slot), *head = at + SL_SLOT_HEAD_OFF;
    isolate.places[e->slot] = (struct place){.gen = e->gen};
    bool edits = isolate.handler == EDITS;
    uint32_t len = edits ? edit_head(at + SL_SLOT_TX_OFF, head, e) : 0;
    verdict(e, (struct sl_verdict){.kind = SL_VERDICT_PROXY, .head_len = len, .body_off = upstream_of(head, e), .body_len = edits});
    if (isolate.handler == HURRIES) {
        answer(e, 200, "mine");
    }
}

static void on_answer(const struct sl_event *e) {
    struct place *place = &isolate.places[e->slot];
    bool edits = isolate.handler == EDITS;
    if (isolate.handler == REPLACES) {
        answer(e, 200, "mine");
        return;
    }
    if (isolate.handler == FAILS) {
        verdict(e, (struct sl_verdict){.kind = SL_VERDICT_FAIL, .flags = SL_VERDICT_F_FINAL});
        return;
    }
    if (isolate.handler == SLEEPS) {
        return;
    }
    if (isolate.handler == MISNAMES) {
        verdict(e, (struct sl_verdict){.kind = SL_VERDICT_FORWARD, .flags = SL_VERDICT_F_FINAL, .status = e->method_len == 101 ? 200 : 101});
        return;
    }
    if (isolate.handler == SIPS) {
        verdict(e, (struct sl_verdict){.kind = SL_VERDICT_BODY_WANTED});
        return;
    }
    if (isolate.handler != READS || (e->flags & SL_EVENT_F_END)) {
        uint32_t len = edits ? put(slot(e->slot) + SL_SLOT_TX_OFF, EDITED) : 0;
        verdict(e, (struct sl_verdict){.kind = SL_VERDICT_FORWARD, .flags = SL_VERDICT_F_FINAL, .status = edits ? e->method_len : 0, .head_len = len});
        return;
    }
    verdict(e, (struct sl_verdict){.kind = SL_VERDICT_BODY_WANTED});
    verdict(e, (struct sl_verdict){.kind = SL_VERDICT_RESPOND, .status = e->method_len});
    place->responded = place->busy = true;
}

static void send_part(const struct sl_event *e) {
    struct place *place = &isolate.places[e->slot];
    if (!place->part || place->busy) {
        return;
    }
    memcpy(slot(e->slot) + SL_SLOT_TX_OFF, slot(e->slot) + SL_SLOT_RX_OFF, place->part_len);
    uint8_t end = place->last ? SL_VERDICT_F_END | SL_VERDICT_F_FINAL : 0;
    place->part = false;
    place->busy = true;
    verdict(e, (struct sl_verdict){.kind = SL_VERDICT_CHUNK, .flags = end, .body_len = place->part_len});
    if (!end) {
        verdict(e, (struct sl_verdict){.kind = SL_VERDICT_BODY_TAKEN});
    }
}

static void on_failed(const struct sl_event *e) {
    const struct sl_status_info *info = sl_status_info(-(int)e->len);
    if (isolate.places[e->slot].responded) {
        verdict(e, (struct sl_verdict){.kind = SL_VERDICT_FAIL, .flags = SL_VERDICT_F_FINAL});
        return;
    }
    char text[128];
    snprintf(text, sizeof(text), "%s\n", info->text);
    answer(e, (uint16_t)info->http, text);
}

static void on_event(const struct sl_event *e) {
    struct place *place = &isolate.places[e->slot];
    if (e->kind == SL_EVENT_REQUEST) {
        on_request(e);
    } else if (e->gen != place->gen) {
        return; // crossed with our last verdict
    } else if (e->kind == SL_EVENT_ANSWER) {
        on_answer(e);
    } else if (e->kind == SL_EVENT_BODY && isolate.handler == SIPS) {
        answer(e, 200, "mine");
    } else if (e->kind == SL_EVENT_BODY) {
        place->part = true;
        place->part_len = e->len;
        place->last = e->flags & SL_EVENT_F_END;
        send_part(e);
    } else if (e->kind == SL_EVENT_WRITABLE) {
        place->busy = false;
        send_part(e);
    } else if (e->kind == SL_EVENT_PROXY_FAILED) {
        on_failed(e);
    } else if (e->kind == SL_EVENT_ABORT) {
        verdict(e, (struct sl_verdict){.kind = SL_VERDICT_RELEASE, .flags = SL_VERDICT_F_FINAL});
    }
}

static void isolate_turn(void) {
    const struct sl_event *events = (const struct sl_event *)(void *)(isolate.region + SL_RING_EVENTS_OFF);
    uint32_t head = atomic_load(word(SL_RING_EVENT_HEAD_OFF)), tail = atomic_load(word(SL_RING_EVENT_TAIL_OFF));
    for (; head != tail; head++) {
        struct sl_event e = events[head & (SLOTS * SL_RING_ENTRIES_PER_SLOT - 1)];
        atomic_store(word(SL_RING_EVENT_HEAD_OFF), head + 1);
        on_event(&e);
    }
}

static void make_typescript_plan(void) {
    make_plan();
    for (uint32_t i = 0; i < builder.header.upstream_count; i++) {
        builder.upstreams[i].id = i + 1;
    }
    for (uint32_t i = 0; i < builder.header.step_count; i++) {
        if (builder.steps[i].op == SL_PLAN_OP_PROXY) {
            builder.steps[i] = (struct sl_plan_step){.op = SL_PLAN_OP_TYPESCRIPT};
        }
    }
}

static bool open_with(const struct kernel *kernel, enum handler handler, struct sl_sim *sim) {
    char reason[256];
    struct sl_config c = config;
    c.isolates = 1;
    c.exchanges = SLOTS;
    c.handler_timeout_ms = handler >= HURRIES || handler == FORWARDS ? 200 : 0;
    if (!kernel->simulated && sl_io_probe(kernel->kind, reason, sizeof(reason)) < 0) {
        printf("# %s: %s\n", kernel->name, reason);
        return false;
    }
    if (kernel->simulated && !sim) {
        sim = sl_sim_new(&(struct sl_sim_config){.seed = 1});
    }
    isolate.handler = handler;
    size_t bytes = sl_ring_bytes(SLOTS);
    isolate.region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SL_ASSERT(isolate.region != MAP_FAILED);
    if (!world_open(kernel->kind, sim, c, make_typescript_plan)) {
        return false;
    }
    CHECK_INT(sl__gateway_attach(world.gateway, 0, 0, isolate.region, bytes), 0);
    CHECK_INT(world_turn(0), SL_OK);
    world.after_turn = isolate_turn;
    return true;
}

static void close_all(void) {
    CHECK_INT(world.worker->counters.bad_verdicts, isolate.handler == MISNAMES);
    CHECK_INT(world.worker->counters.exchanges_live, 0);
    world_close();
    munmap(isolate.region, sl_ring_bytes(SLOTS));
}

// To TypeScript a client that ends its side is gone, so what these rows expect is not for it.
static bool half_closes(const struct row *row) {
    return strstr(row->name, "client half-closes after") || strstr(row->name, "client ends inside its next");
}

// Real kernels take real time: one handler each, but for a long run.
static bool has_time_for(const struct kernel *kernel, enum handler handler) {
    return kernel->simulated || getenv("SLUICE_SOAK") || handler == (kernel->kind == SL_IO_EPOLL ? FORWARDS : READS);
}

#define EACH_HANDLER(kernel, handler)                                                                                                \
    for (const struct kernel *kernel = kernels; kernel < kernels + SL_COUNT_OF(kernels); kernel++)                                    \
        for (enum handler handler = FORWARDS; handler <= READS; handler++)                                                            \
            for (bool once = has_time_for(kernel, handler) && open_with(kernel, handler, NULL); once; once = false, close_all())

TEST(fault_table_behind_typescript) {
    EACH_HANDLER(kernel, handler) {
        for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
            int failures = test_failures;
            if (chosen(&rows[i]) && !half_closes(&rows[i]) && (kernel->simulated || rows[i].name[0] != '~')) {
                run_row(&rows[i]);
            }
            if (test_failures > failures) {
                printf("  on %s, a handler that %s: row \"%s\"\n", kernel->name, handlers[handler], rows[i].name);
            }
        }
        printf("# %s, a handler that %s: %zu rows\n", kernel->name, handlers[handler], SL_COUNT_OF(rows));
    }
}

TEST(malformed_answers_behind_typescript) {
    EACH_HANDLER(kernel, handler) {
        for (size_t i = 0; i < SL_COUNT_OF(bad_heads); i++) {
            struct row row = {bad_heads[i], {{SEND(GET), ANSWER(502, BAD)}}, {{REQUEST, SEND(bad_heads[i]), ENDED}}, 1, 1, FAILED(UPSTREAM_BAD)};
            run_row(&row);
        }
        for (size_t i = 0; i < SL_COUNT_OF(bad_bodies); i++) {
            struct row row = {bad_bodies[i], {{SEND(GET), BROKEN(200, "hello")}}, {{REQUEST, SEND(CHUNKED), SEND(bad_bodies[i]), ENDED}}, 1, 1,
                              FAILED(UPSTREAM_BAD_BODY)};
            run_row(&row);
        }
    }
}

// A tunnel begins when the 101 is forwarded, whatever head middleware has made of either side's.
TEST(tunnels_behind_typescript) {
    EACH_HANDLER(kernel, handler) {
        for (size_t i = 0; i < SL_COUNT_OF(tunnels); i++) {
            int failures = test_failures;
            if (chosen(&tunnels[i])) {
                run_row(&tunnels[i]);
            }
            if (test_failures > failures) {
                printf("  on %s, a handler that %s: row \"%s\"\n", kernel->name, handlers[handler], tunnels[i].name);
            }
        }
    }
}

TEST(a_connection_becomes_a_tunnel_behind_typescript_only_by_a_handshake_and_its_proof) {
    EACH_HANDLER(kernel, handler) {
        run_no_tunnels();
    }
}

// The same rows on kernels that do each call by halves.
TEST(fault_table_behind_typescript_in_storms) {
    uint64_t seeds = getenv("SLUICE_SOAK") ? 100 : 1, from = (uint64_t)time(NULL);
    const char *only = getenv("SLUICE_SIM_SEED");
    for (uint64_t seed = only ? strtoull(only, NULL, 10) : from, end = seed + seeds; seed < end && !test_failures; seed++) {
        for (uint32_t k = 0; k < 6 && !test_failures; k++) {
            enum handler handler = (enum handler)(k % 3);
            char replay[80];
            snprintf(replay, sizeof(replay), "SLUICE_SIM_SEED=%llu proxy_typescript_test storms", (unsigned long long)seed);
            struct sl_sim *sim = sl_sim_new(&(struct sl_sim_config){
                .seed = seed, .stormy = true, .unbroken = true, .delay_ns = 1000, .send_bytes = 262144, .receive_bytes = 131072, .replay = replay});
            REQUIRE(open_with(&kernels[2 + k / 3], handler, sim));
            world.patience = 30;
            for (size_t i = 0; i < SL_COUNT_OF(rows) && !test_failures; i++) {
                if (!exact(&rows[i]) && chosen(&rows[i]) && !half_closes(&rows[i])) {
                    run_row(&rows[i]);
                }
            }
            for (size_t i = 0; i < SL_COUNT_OF(tunnels) && !test_failures; i++) {
                if (!exact(&tunnels[i]) && chosen(&tunnels[i])) {
                    run_row(&tunnels[i]);
                }
            }
            if (test_failures) {
                printf("  on %s, a handler that %s; again: %s\n", kernels[2 + k / 3].name, handlers[handler], replay);
            }
            sl_sim_calm(sim);
            world.patience = 1;
            close_all();
        }
    }
}

// ---- Handlers that do not want what the upstream says

#define MINE ANSWER(200, "mine")
#define HELLO LENGTH "hello" // and no more

static const struct {
    enum handler handler;
    struct row row;
} unwanted[] = {
    {HURRIES, {"an answer before the upstream's", {{SEND(GET), MINE, SEND(GET_TO("/native")), ANSWER(200, "native")}}, {{{0}}}, 0, 0,
               {C(upstream_aborts, 1), C(upstream_failures, 0)}}},
    {HURRIES, {"while it connects", {{SEND(GET_TO("/full")), MINE}}, {{{0}}}, 0, 0, {C(upstream_aborts, 1), R(UPSTREAM_CONNECT_TIMEOUT, 0)}}},
    {HURRIES, {"in spite of a body that comes", {{SEND(POST("/", "5") "abcde"), MINE, SEND(GET_TO("/native")), ANSWER(200, "native")}}, {{{0}}}, 0, 0,
               {C(upstream_aborts, 1)}}},
    {REPLACES, {"another answer", {{SEND(GET), MINE, SEND(GET), MINE}}, {{REQUEST, SEND(OK), ENDED}, {REQUEST, SEND(OK), ENDED}}, 2, 2,
                {C(upstream_aborts, 2), C(upstream_failures, 0), C(upstream_idle, 0)}}},
    {REPLACES, {"another for one without a body", {{SEND(GET), MINE}}, {{REQUEST, SEND("HTTP/1.1 204 No Content\r\n\r\n"), ENDED}}, 1, 1,
                {C(upstream_aborts, 1), C(upstream_failures, 0)}}},
    {REPLACES, {"while an upload goes on", {{SEND(PUT("/", "20000")), FILL(10000), MINE, FILL(10000), SEND(GET_TO("/native")), ANSWER(200, "native")}},
                {{HEAD, SEND(LENGTH), ENDED}}, 1, 1, {C(upstream_aborts, 1)}}},
    {REPLACES, {"another answer for a WebSocket", {{SEND(WEBSOCKET), MINE, SEND(GET_TO("/native")), ANSWER(200, "native")}},
                {{REQUEST, SEND(SWITCH "early"), ENDED}}, 1, 1, {C(upgrades, 0), C(upstream_aborts, 1), C(upstream_failures, 0)}}},
    {HURRIES, {"an answer before the upstream's to a WebSocket", {{SEND(WEBSOCKET), MINE}}, {{{0}}}, 0, 0, {C(upgrades, 0), C(upstream_aborts, 1)}}},
    {FAILS, {"a handler that throws at a 101", {{SEND(WEBSOCKET), ANSWER(500, "The handler failed.\n")}}, {{REQUEST, SEND(SWITCH), ENDED}}, 1, 1,
             {C(upgrades, 0), R(HANDLER, 1), C(upstream_aborts, 1)}}},
    {SLEEPS, {"the time of the handler ends a handshake", {{SEND(WEBSOCKET), ANSWER(504, "The handler did not answer in time.\n")}},
              {{REQUEST, SEND(SWITCH), ENDED}}, 1, 1, {C(upgrades, 0), R(HANDLER_TIMEOUT, 1), C(upstream_aborts, 1)}}},
    {SIPS, {"nobody reads a tunnel", {{SEND(WEBSOCKET), ANSWER(504, "The handler did not answer in time.\n")}},
            {{REQUEST, SEND(SWITCH "bytes"), ENDED}}, 1, 1, {C(upgrades, 0), R(HANDLER_TIMEOUT, 1), C(upstream_aborts, 1)}}},
    {MISNAMES, {"a 101 goes on as no other status", {{SEND(WEBSOCKET), ANSWER(500, "The handler failed.\n")}}, {{REQUEST, SEND(SWITCH), ENDED}}, 1, 1,
                {C(upgrades, 0), R(HANDLER, 1), C(upstream_aborts, 1)}}},
    {MISNAMES, {"no other answer goes on as a 101", {{SEND(WEBSOCKET), ANSWER(500, "The handler failed.\n")}}, {{REQUEST, SEND(OK), ENDED}}, 1, 1,
                {C(upgrades, 0), R(HANDLER, 1), C(upstream_aborts, 1)}}},
    {REPLACES, {"a refused connection is answered as the handler likes", {{SEND(GET_TO("/refused")), ANSWER(502, REFUSED)}}, {{{0}}}, 0, 0,
                FAILED(UPSTREAM_REFUSED)}},
    {SIPS, {"a part is enough", {{SEND(GET), MINE, SEND(GET), MINE}}, {{REQUEST, SEND(HELLO), ENDED}, {REQUEST, SEND(OK)}}, 2, 2,
            {C(upstream_aborts, 1), C(upstream_failures, 0), C(upstream_idle, 1)}}}, // all of the second was read
    {FAILS, {"a handler that throws", {{SEND(GET), ANSWER(500, "The handler failed.\n"), SEND(GET), ANSWER(500, "The handler failed.\n")}},
             {{REQUEST, SEND(OK), ENDED}, {REQUEST, SEND(OK), ENDED}}, 2, 2, {R(HANDLER, 2), C(upstream_aborts, 2)}}},
    {SLEEPS, {"client leaves meanwhile", {{SEND(GET), AWAIT(1), TURNS(6), RESET, CONNS(0)}}, {{REQUEST, SEND(OK), STAGE(1), ENDED}}, 1, 1,
              {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1)}}},
    {SLEEPS, {"the upstream leaves meanwhile, and then the client", {{SEND(GET), AWAIT(1), TURNS(6), RESET, CONNS(0)}},
              {{REQUEST, SEND(HELLO), TURNS(3), STAGE(1), RESET}}, 1, 1, {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1)}}},
    {FORWARDS, {"client ends its side while the upstream works", {{SEND(GET), AWAIT(1), FIN, ENDED, CONNS(0)}}, {{REQUEST, STAGE(1), ENDED}}, 1, 1,
                {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1), C(upstream_failures, 0)}}},
    {FORWARDS, {"client ends its side in the line", {{SEND(GET_TO("/one")), ANSWER(200, "ok")}, {AWAIT(1), SEND(GET_TO("/one")), TURNS(6), FIN, ENDED, STAGE(2)}},
                {{REQUEST, STAGE(1), AWAIT(2), SEND(OK)}}, 1, 1, {C(upstream_waits, 1), C(upstream_idle, 1)}}},
    {SLEEPS, {"the time of the handler ends it", {{SEND(GET), ANSWER(504, "The handler did not answer in time.\n")}}, {{REQUEST, SEND(OK), ENDED}}, 1, 1,
              {R(HANDLER_TIMEOUT, 1), C(upstream_aborts, 1)}}},
    {FORWARDS, {"the time of the handler does not run while the upstream works", {{SEND(GET), ANSWER(200, "ok")}}, {{REQUEST, SLEEP(400), SEND(OK)}}, 1, 1,
                {R(HANDLER_TIMEOUT, 0), C(upstream_idle, 1)}}},
};

TEST(handlers_that_want_something_else) {
    for (const struct kernel *kernel = kernels; kernel < kernels + SL_COUNT_OF(kernels); kernel++) {
        for (size_t i = 0; i < SL_COUNT_OF(unwanted); i++) {
            int failures = test_failures;
            if (!chosen(&unwanted[i].row) || !open_with(kernel, unwanted[i].handler, NULL)) {
                continue;
            }
            run_row(&unwanted[i].row);
            close_all();
            if (test_failures > failures) {
                printf("  on %s, a handler that %s: row \"%s\"\n", kernel->name, handlers[unwanted[i].handler], unwanted[i].row.name);
            }
        }
    }
}

// The isolate ends while a head waits for it, or a body goes through it: its requests are answered, and nothing is left.
TEST(an_isolate_that_ends) {
    static const struct row held = {"while a head waits", {{SEND(GET), AWAIT(1), ANSWER(503, "The isolate that runs this route has ended.\n")}},
                                    {{REQUEST, SEND(OK), TURNS(6), STAGE(1), ENDED}}, 1, 1, {R(ISOLATE_GONE, 1), C(upstream_aborts, 1)}};
    for (const struct kernel *kernel = kernels; kernel < kernels + SL_COUNT_OF(kernels); kernel++) {
        if (!open_with(kernel, SLEEPS, NULL)) {
            continue;
        }
        begin_peer(&world.clients[world.client_count++], "client 0", held.clients[0], wire_connect(world.port));
        for (int i = 0; i < 1000 && world.stage < 1; i++) {
            peers_run(held.ups, PEERS_MAX);
            world_turn(SL_NS_PER_MS);
        }
        sl__gateway_isolate_gone(world.gateway, 0, SL_ISOLATE_CRASHED);
        for (int i = 0; i < 1000 && !clients_done(); i++) {
            peers_run(held.ups, PEERS_MAX);
            world_turn(SL_NS_PER_MS);
        }
        CHECK_MSG(!world.failed && clients_done(), "%s: %s", kernel->name, world.failed ? world.failed : "still waits");
        CHECK_INT(world.worker->counters.upstream_aborts, 1);
        clear_row(&held);
        close_all();
    }
}
