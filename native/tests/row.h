// Rows of scripts that a worker is driven through on every kernel: both backends of the real one and of the simulated one. A file that includes
// this defines make_plan().
#ifndef SL_TEST_ROW_H
#define SL_TEST_ROW_H

#include "world.h"

static void make_plan(void); // into `builder`; the world is there by then

// By how much a counter has moved. C: a counter. R: a reason.
struct expect {
    const char *name;
    size_t offset;
    uint64_t n;
};
#define C(counter, n) {#counter, offsetof(struct sl_counters, counter), n}
#define R(reason, n) {#reason, offsetof(struct sl_counters, by_status) + sizeof(uint64_t) * -SL_E_##reason, n}

struct row {
    const char *name;
    struct step clients[PEERS_MAX][STEPS_MAX];
    struct step ups[PEERS_MAX][STEPS_MAX];
    uint32_t conns, requests; // that the upstream sees
    struct expect expect[6];
};
#define FAILED(reason) {R(reason, 1), C(upstream_failures, 1)}

static bool clients_done(void) {
    bool done = true;
    for (uint32_t i = 0; i < world.client_count; i++) {
        done = done && world.clients[i].done;
    }
    return done;
}

static void check_row(const struct row *row, const struct sl_counters *before) {
    uint32_t requests = 0;
    for (uint32_t i = 0; i < world.up_count; i++) {
        requests += world.ups[i].requests;
        CHECK_MSG(world.ups[i].len == 0 || world.ups[i].raw, "%s: upstream connection %u got bytes that no step is for: %.200s", row->name, i, world.ups[i].in);
    }
    CHECK_MSG(world.up_count == row->conns, "%s: %u upstream connections, expected %u", row->name, world.up_count, row->conns);
    CHECK_MSG(requests == row->requests, "%s: %u upstream requests, expected %u", row->name, requests, row->requests);
    for (const struct expect *e = row->expect; e->name && e < row->expect + SL_COUNT_OF(row->expect); e++) {
        uint64_t was = *(const uint64_t *)(const void *)((const char *)before + e->offset);
        uint64_t is = *(const uint64_t *)(const void *)((const char *)&world.worker->counters + e->offset);
        CHECK_MSG(is - was == e->n, "%s: %s moved by %lld, expected %llu", row->name, e->name, (long long)(is - was), (unsigned long long)e->n);
    }
}

// The row's end: clients leave, then the upstream, and nothing is left.
static void clear_row(const struct row *row) {
    for (uint32_t i = 0; i < world.client_count; i++) {
        if (world.clients[i].fd >= 0) {
            wire_close(world.clients[i].fd);
        }
    }
    for (uint32_t i = 0; i < world.up_count; i++) {
        if (world.ups[i].fd >= 0) {
            wire_close(world.ups[i].fd);
        }
    }
    uint64_t until = world_ns() + ROW_NS;
    while (!at_baseline() && world_ns() < until) {
        world_turn(SL_NS_PER_MS);
    }
    if (!at_baseline()) {
        say_baseline(row->name);
    }
    world.client_count = world.up_count = 0;
}

static inline void run_row(const struct row *row) {
    static const char *const names[] = {"client 0", "client 1", "client 2", "client 3"};
    struct sl_counters before = world.worker->counters;
    world.failed = NULL;
    world.stage = 0;
    world.sends[0] = world.sends[1] = 0;
    for (uint32_t i = 0; i < PEERS_MAX && row->clients[i][0].op != OP_END; i++) {
        begin_peer(&world.clients[world.client_count++], names[i], row->clients[i], wire_connect(world.port));
    }
    uint64_t until = world.now_ns(world.table) + ROW_NS;
    uint32_t quiet = 0;
    while (!world.failed && quiet < QUIET_TURNS && world.now_ns(world.table) < until) {
        bool some = peers_run(row->ups, PEERS_MAX);
        uint64_t cqes = world.worker->counters.io_cqes;
        int rc = world_turn(some ? 0 : SL_NS_PER_MS);
        CHECK_INT(rc, SL_OK);
        bool still = clients_done() && !some && cqes == world.worker->counters.io_cqes;
        quiet = still ? quiet + 1 : 0;
    }
    for (uint32_t i = 0; i < world.client_count && !world.failed; i++) {
        if (!world.clients[i].done) {
            world_fail(&world.clients[i], "still waits, has %zu bytes: %.200s", world.clients[i].len, world.clients[i].in);
        }
    }
    CHECK_MSG(!world.failed, "%s: %s", row->name, world.failed);
    if (!world.failed) {
        check_row(row, &before);
    }
    clear_row(row);
}

static const struct sl_config config = {.conns_max = 64, .requests_max = 64, .linger_ms = 200};
static const struct kernel {
    int kind;
    bool simulated;
    const char *name;
} kernels[] = {
    {SL_IO_EPOLL, false, "epoll"},
    {SL_IO_URING, false, "uring"},
    {SL_IO_EPOLL, true, "simulated epoll"},
    {SL_IO_URING, true, "simulated uring"},
};

static inline bool open_on(const struct kernel *kernel) {
    char reason[256];
    if (kernel->simulated) {
        struct sl_sim *sim = sl_sim_new(&(struct sl_sim_config){.seed = 1});
        return world_open(kernel->kind, sim, config, make_plan);
    }
    if (sl_io_probe(kernel->kind, reason, sizeof(reason)) < 0) {
        printf("# %s: %s\n", kernel->name, reason);
        return false;
    }
    return world_open(kernel->kind, NULL, config, make_plan);
}

#define EACH_KERNEL(kernel)                                                                                                         \
    for (const struct kernel *kernel = kernels; kernel < kernels + SL_COUNT_OF(kernels); kernel++)                                   \
        for (bool once = open_on(kernel); once; once = false, world_close())

#endif
