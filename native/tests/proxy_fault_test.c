// The fault table of proxying (proxy_faults.h) for native chains: on both backends, on the real kernel and on the simulated one, split at every byte and
// in storms; and what pools do.

#include "proxy_faults.h"

TEST(fault_table) {
    EACH_KERNEL(kernel) {
        for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
            int failures = test_failures;
            if (chosen(&rows[i]) && (kernel->simulated || rows[i].name[0] != '~')) {
                run_row(&rows[i]);
            }
            if (test_failures > failures) {
                printf("  on %s: row \"%s\"\n", kernel->name, rows[i].name);
            }
        }
        printf("# %s: %zu rows\n", kernel->name, SL_COUNT_OF(rows));
    }
}

// The same rows, with one text in two parts: each text of each script at each byte (in a normal run at every fifth, from a random one on).
TEST(fault_table_split_at_every_byte) {
    size_t stride = getenv("SLUICE_SOAK") ? 1 : 5;
    for (const struct kernel *kernel = kernels + 2; kernel < kernels + SL_COUNT_OF(kernels); kernel++) {
        REQUIRE(open_on(kernel));
        size_t runs = 0, first = 1 + (size_t)time(NULL) % stride;
        for (size_t i = 0; i < SL_COUNT_OF(rows) && !test_failures; i++) {
            for (uint32_t text = 0; !exact(&rows[i]) && chosen(&rows[i]) && text < 2 * PEERS_MAX * STEPS_MAX && !test_failures; text++) {
                struct split *split = &world.split;
                *split = (struct split){.upstream = text % 2, .number = text / 2, .at = first};
                do {
                    run_row(&rows[i]);
                    runs++;
                    if (test_failures) {
                        printf("  on %s: text %u of the %s in two parts, behind byte %zu\n", kernel->name, split->number,
                               split->upstream ? "upstream" : "client", split->at);
                    }
                    split->at += stride;
                } while (split->at < split->len && !test_failures);
                if (split->len == 0 && text % 2 && text / 2 >= world.sends[0] && text / 2 >= world.sends[1]) {
                    break; // neither side sends so many
                }
            }
        }
        printf("# %s: %zu runs\n", kernel->name, runs);
        world_close();
    }
}

static uint64_t number_of(const char *name, uint64_t fallback) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : fallback;
}

// The same rows on kernels that do each call by halves: short reads and writes, interrupted calls, full queues, cancels in every order, delays.
TEST(fault_table_in_storms) {
    uint64_t only = number_of("SLUICE_SIM_SEED", 0), seeds = only ? 1 : getenv("SLUICE_SOAK") ? 400 : 6, events = 0;
    uint64_t from = only ? only : (uint64_t)time(NULL);
    for (uint64_t seed = from; seed < from + seeds && !test_failures; seed++) {
        for (const struct kernel *kernel = kernels + 2; kernel < kernels + SL_COUNT_OF(kernels) && !test_failures; kernel++) {
            char replay[64];
            snprintf(replay, sizeof(replay), "SLUICE_SIM_SEED=%llu proxy_fault_test storms", (unsigned long long)seed);
            struct sl_sim *sim = sl_sim_new(&(struct sl_sim_config){
                .seed = seed, .stormy = true, .unbroken = true, .delay_ns = 1000, .send_bytes = 262144, .receive_bytes = 131072, .replay = replay});
            REQUIRE(world_open(kernel->kind, sim, config, make_plan));
            world.patience = 30;
            for (size_t i = 0; i < SL_COUNT_OF(rows) && !test_failures; i++) {
                if (!exact(&rows[i]) && chosen(&rows[i])) {
                    run_row(&rows[i]);
                }
            }
            if (test_failures) {
                printf("  on %s; again: %s\n", kernel->name, replay);
            }
            events += sl_sim_events(sim);
            sl_sim_calm(sim);
            world.patience = 1;
            world_close();
        }
    }
    printf("# %llu seeds from %llu on, %llu events\n", (unsigned long long)seeds, (unsigned long long)from, (unsigned long long)events);
}

TEST(malformed_answers) {
    EACH_KERNEL(kernel) {
        for (size_t i = 0; i < SL_COUNT_OF(bad_heads); i++) {
            struct row row = {bad_heads[i], {{SEND(GET), ANSWER(502, BAD)}}, {{REQUEST, SEND(bad_heads[i]), ENDED}}, 1, 1, FAILED(UPSTREAM_BAD)};
            run_row(&row);
            struct row slow = {bad_heads[i], {{SEND(GET), ANSWER(502, BAD)}}, {{REQUEST, TRICKLE(bad_heads[i]), ENDED}}, 1, 1, FAILED(UPSTREAM_BAD)};
            run_row(&slow);
        }
        for (size_t i = 0; i < SL_COUNT_OF(bad_bodies); i++) {
            struct row row = {bad_bodies[i], {{SEND(GET), BROKEN(200, "hello")}}, {{REQUEST, SEND(CHUNKED), SEND(bad_bodies[i]), ENDED}}, 1, 1,
                              FAILED(UPSTREAM_BAD_BODY)};
            run_row(&row);
            struct row slow = {bad_bodies[i], {{SEND(GET), BROKEN(200, "hello")}}, {{REQUEST, SEND(CHUNKED), TRICKLE(bad_bodies[i]), ENDED}}, 1, 1,
                               FAILED(UPSTREAM_BAD_BODY)};
            run_row(&slow);
        }
    }
}

static char *repeated(const char *before, const char *part, int times, const char *after) {
    char *text = malloc(strlen(before) + strlen(part) * (size_t)times + strlen(after) + 1), *at = text;
    at = stpcpy(at, before);
    for (int i = 0; i < times; i++) {
        at = stpcpy(at, part);
    }
    strcpy(at, after);
    return text;
}

TEST(answers_beyond_a_limit) {
    char *texts[] = {
        repeated("HTTP/1.1 200 OK\r\nA: ", "a", 40000, "\r\n\r\n"),
        repeated("HTTP/1.1 200 OK\r\n", "A: b\r\n", 200, "\r\n"),
        repeated("HTTP/1.1 200 ", "O", 9000, "\r\n\r\n"),
    };
    char *interims = repeated("", "HTTP/1.1 103 Early Hints\r\n\r\n", 1000, OK);
    EACH_KERNEL(kernel) {
        for (size_t i = 0; i < SL_COUNT_OF(texts); i++) {
            struct row row = {"beyond a limit", {{SEND(GET), ANSWER(502, BAD)}}, {{REQUEST, SEND(texts[i]), ENDED}}, 1, 1, FAILED(UPSTREAM_BAD)};
            run_row(&row);
        }
        // How many of them leave depends on the client's queue; the end does not.
        struct row row = {"1xx without end", {{SEND(GET), INTERIM(103), INTERIM(103), STAGE(1)}}, {{REQUEST, SEND(interims), ENDED}}, 1, 1,
                          FAILED(UPSTREAM_BAD)};
        run_row(&row);
    }
    free(interims);
    for (size_t i = 0; i < SL_COUNT_OF(texts); i++) {
        free(texts[i]);
    }
}

// Pools.

static void load_plan(void (*make)(void)) {
    make();
    uint32_t len = plan_finish(&builder);
    CHECK_INT(sl__gateway_plan(world.gateway, (struct sl_span){builder.blob, len}), 0);
    CHECK_INT(world_turn(0), SL_OK);
}

static void make_native_plan(void) {
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/native", 200, "", "native", 6);
}

static uint32_t upstreams_of(const struct sl_worker *w) {
    uint32_t n = 0;
    for (const struct sl_upstream *u = w->upstreams; u; u = u->next) {
        n++;
    }
    return n;
}

TEST(pools_follow_the_plan) {
    static const struct row first = {"before the reload", {{SEND(GET), ANSWER(200, "ok")}}, {{REQUEST, SEND(OK), REQUEST, SEND(OK), ENDED}}, 1, 1, {{0}}};
    static const struct step again[STEPS_MAX] = {SEND(GET), ANSWER(200, "ok")};
    EACH_KERNEL(kernel) {
        struct sl_worker *w = world.worker;
        CHECK_INT(upstreams_of(w), 6);
        begin_peer(&world.clients[world.client_count++], "client 0", first.clients[0], wire_connect(world.port));
        for (int i = 0; i < 100 && !clients_done(); i++) {
            peers_run(first.ups, PEERS_MAX);
            world_turn(SL_NS_PER_MS);
        }
        CHECK_INT(w->counters.upstream_idle, 1);
        load_plan(make_plan); // the same rows: the same pools
        CHECK_INT(w->counters.upstream_idle, 1);
        CHECK_INT(upstreams_of(w), 6);
        begin_peer(&world.clients[world.client_count++], "client 1", again, wire_connect(world.port));
        for (int i = 0; i < 100 && !clients_done(); i++) {
            peers_run(first.ups, PEERS_MAX);
            world_turn(SL_NS_PER_MS);
        }
        CHECK_INT(w->counters.upstream_reuses, 1);
        load_plan(make_native_plan); // nobody names them any more
        CHECK(w->upstreams == NULL && w->endpoints == NULL);
        CHECK_INT(w->counters.upstream_idle, 0);
        CHECK_MSG(!world.failed, "%s", world.failed);
        clear_row(&first);
    }
}

// ---- Records

TEST(the_time_in_a_record_is_the_kernels) {
    static const struct row row = {"a record", {{LATER(2000), SEND(GET), AWAIT(1), LATER(3000), STAGE(2), ANSWER(200, "ok")}},
                                   {{REQUEST, STAGE(1), AWAIT(2), SEND(OK)}}, 1, 1, {C(responses, 1)}};
    for (const struct kernel *kernel = kernels; kernel < kernels + SL_COUNT_OF(kernels); kernel++) {
        char line[SL_LOG_LINE_MAX + 1];
        int fds[2];
        double ms = -1;
        if (!open_on(kernel)) {
            continue;
        }
        REQUIRE(pipe(fds) == 0 && sl_log_new(&world.gateway->log, SL_LOG_TEXT, 1, fds[1]) == SL_OK);
        close(fds[1]);
        run_row(&row);
        world_close(); // and the log with it: its line is written
        ssize_t n = read(fds[0], line, SL_LOG_LINE_MAX);
        line[n > 0 ? n : 0] = 0;
        char *unit = strstr(line, "ms upstream ");
        while (unit && unit > line && unit[-1] != ' ') {
            unit--;
        }
        ms = unit ? strtod(unit, NULL) : -1;
        CHECK_MSG(ms >= 3000 && ms < (kernel->simulated ? 3100 : 60000), "%s: %f: %s", kernel->name, ms, line);
        close(fds[0]);
    }
}
