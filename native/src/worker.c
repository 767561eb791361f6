#include "worker.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "certificates.h"
#include "conn.h"
#include "exchange.h"
#include "resumption.h"
#include "upstream.h"

#define UPSTREAM_CONNS_MAX 4096u
#define CONNS_UNBALANCED 8u // more than 1.25 times the mean and this many: the next go elsewhere
#define IDLE_WAIT_NS (60 * SL_NS_PER_S) // without any timer

// Work.

void sl_work_init(struct sl_work *work, void (*run)(struct sl_work *work)) {
    work->prev = work->next = NULL;
    work->run = run;
}

void sl_work_mark(struct sl_worker *w, struct sl_work *work) {
    if (work->next) {
        return;
    }
    work->prev = w->work.prev;
    work->next = &w->work;
    w->work.prev->next = work;
    w->work.prev = work;
}

void sl_work_unmark(struct sl_work *work) {
    if (work->next) {
        work->prev->next = work->next;
        work->next->prev = work->prev;
        work->prev = work->next = NULL;
    }
}

static void run_work(struct sl_worker *w) {
    while (w->work.next != &w->work) {
        struct sl_work *work = w->work.next;
        sl_work_unmark(work);
        work->run(work);
    }
}

// Small services.

const struct sl_config *sl_worker_config(const struct sl_worker *w) { return &w->gateway->config; }

void sl_worker_count_status(struct sl_worker *w, int status) {
    if (status < 0 && status > -SL_STATUS_SLOTS) {
        w->counters.by_status[-status]++;
    }
}

uint64_t sl_worker_jitter(struct sl_worker *w, uint64_t value) {
    w->random ^= w->random << 13; // xorshift64: spread, not secrecy
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return value - value / 10 + w->random % (value / 5 + 1);
}

int64_t sl_worker_unix_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void read_clock(struct sl_worker *w) {
    w->unix_us = sl_worker_unix_us();
    w->now_ns = sl_io_now_ns(w->io);
    sl_date_render(&w->date, w->unix_us / 1000000);
}

// Plans.

void sl_plan_hold_ref(struct sl_plan_hold *hold) { hold->refs++; }

static void release_upstreams(struct sl_upstream **upstreams, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        sl_upstream_release(upstreams[i]);
    }
    free(upstreams);
}

static void hold_free(struct sl_plan_hold *hold) {
    release_upstreams(hold->upstreams, hold->plan->header->upstream_count);
    sl_plan_unref(hold->plan);
    free(hold);
}

void sl_plan_hold_unref(struct sl_worker *w, struct sl_plan_hold *hold) {
    SL_ASSERT(hold->refs > 0);
    hold->refs--;
    if (hold->refs > 0 || hold == w->hold) {
        return;
    }
    struct sl_plan_hold **at = &w->old_holds;
    while (*at != hold) {
        SL_ASSERT(*at);
        at = &(*at)->next;
    }
    *at = hold->next;
    hold_free(hold);
}

static void release_segs(struct sl_seg_owner *owner) {
    struct sl_plan_hold *hold = SL_CONTAINER_OF(owner, struct sl_plan_hold, segs);
    sl_plan_hold_unref(hold->worker, hold);
}

static struct sl_plan_hold *hold_new(struct sl_worker *w, struct sl_plan *plan) {
    uint32_t n = plan->header->upstream_count;
    struct sl_plan_hold *hold = calloc(1, sizeof(*hold));
    struct sl_upstream **upstreams = calloc(n ? n : 1, sizeof(*upstreams));
    uint32_t got = 0;
    while (hold && upstreams && got < n &&
           (upstreams[got] = sl_upstream_get(w, plan, got)) != NULL) {
        got++;
    }
    if (!hold || !upstreams || got < n) {
        release_upstreams(upstreams, got);
        free(hold);
        return NULL;
    }
    *hold = (struct sl_plan_hold){
        .plan = plan, .worker = w, .segs = {release_segs}, .upstreams = upstreams};
    return hold;
}

static uint32_t isolates_of(const struct sl_plan *plan) {
    return plan->header->isolates ? plan->header->isolates : UINT32_MAX;
}

// Takes up the published plan. Without memory the old one stays: the next turn tries again.
static void update_plan(struct sl_worker *w) {
    struct sl_gateway *g = w->gateway;
    uint32_t version = atomic_load_explicit(&g->plan_version, memory_order_acquire);
    if (version == w->plan_version) {
        return;
    }
    pthread_mutex_lock(&g->lock);
    struct sl_plan *plan = g->plan;
    sl_plan_ref(plan);
    version = atomic_load_explicit(&g->plan_version, memory_order_relaxed);
    atomic_fetch_or(&w->isolates_busy, isolates_of(plan)); // as of this lock: a later plan finds it
    pthread_mutex_unlock(&g->lock);
    struct sl_plan_hold *hold = hold_new(w, plan);
    if (!hold) {
        sl_plan_unref(plan);
        return;
    }
    struct sl_plan_hold *old = w->hold;
    w->hold = hold;
    w->plan_version = version;
    if (old && old->refs == 0) {
        hold_free(old);
    } else if (old) {
        old->next = w->old_holds;
        w->old_holds = old;
    }
}

// Listening and draining.

static void show_conns(struct sl_worker *w) {
    if (atomic_load_explicit(&w->conns_shown, memory_order_relaxed) != w->conns.used) {
        atomic_store_explicit(&w->conns_shown, w->conns.used, memory_order_relaxed);
    }
}

uint32_t sl_worker_conns(const struct sl_worker *w) {
    return atomic_load_explicit(&w->conns_shown, memory_order_relaxed) +
           sl_handoff_count(&w->inbox);
}

static void adopt(struct sl_worker_listener *listener, int fd) {
    sl_conn_accept(listener, fd);
    show_conns(listener->worker);
}

// Who should have the connection that `w` has just accepted. SO_REUSEPORT spreads by a hash that knows nothing of connections that live longer or
// shorter: of 100 on two workers one in a hundred gets 74. NULL: `w` itself. It may have a quarter more than the mean, and a few.
static struct sl_worker *taker_for(struct sl_worker *w) {
    struct sl_gateway *g = w->gateway;
    uint64_t n = g->config.workers, mine = w->conns.used + 1, all = mine;
    uint32_t fewest = UINT32_MAX;
    struct sl_worker *taker = NULL;
    if (mine <= CONNS_UNBALANCED && w->conns.used < w->conns.count) {
        return NULL; // so few that it does not matter
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t conns = &g->workers[i] == w ? UINT32_MAX : sl_worker_conns(&g->workers[i]);
        all += conns == UINT32_MAX ? 0 : conns;
        if (conns < fewest) {
            fewest = conns;
            taker = &g->workers[i];
        }
    }
    bool too_many = 4 * n * mine > 5 * all + 4 * n * CONNS_UNBALANCED;
    return too_many || w->conns.used == w->conns.count ? taker : NULL;
}

// Before any read, and only while both accept: one that drains has closed its inbox.
static bool hand_off(struct sl_worker_listener *listener, int fd) {
    struct sl_worker *w = listener->worker, *taker = w->draining ? NULL : taker_for(w);
    struct sl_handoff_item item = {.fd = fd, .listener = (uint32_t)(listener - w->listeners)};
    if (!taker || !sl_handoff_give(&taker->inbox, item)) {
        return false;
    }
    w->counters.conns_handed_off++;
    sl__gateway_wake(w->gateway, taker->index);
    return true;
}

static void take_inbox(struct sl_worker *w) {
    struct sl_handoff_item item;
    while (sl_handoff_take(&w->inbox, &item)) {
        adopt(&w->listeners[item.listener], item.fd);
    }
}

static void on_accept(void *owner, int fd) {
    if (fd >= 0 && !hand_off(owner, fd)) {
        adopt(owner, fd);
    }
}

// A listener that closes resets what the kernel queued for it between the last accept and the close. So the drain begins with a filter that
// drops new SYNs: handshakes under way end while the accept is being stopped, the queue is emptied, and nothing can follow. A client whose
// SYN was dropped tries again by itself, and meets a closed port. Without the filter (a kernel without BPF) the gap is a few microseconds.
static void refuse_handshakes(const struct sl_io *io, int fd) {
    static struct sock_filter drop_syn[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13), // the flags; offset 0 is the TCP header
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1), // SYN without ACK
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    };
    struct sock_fprog program = {.len = 5, .filter = drop_syn};
    (void)sl_io_socket_option(io, fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

// What the kernel had queued when accepting stopped is served too: a client that connected has been promised an answer. An inherited socket's queue
// outlives us, and who accepts from it next keeps that promise.
static void on_accept_stopped(void *owner) {
    struct sl_worker_listener *listener = owner;
    const struct sl_io *io = listener->worker->io;
    int fd;
    while (!listener->inherited && (fd = sl_io_accept_now(io, listener->fd)) >= 0) {
        sl_conn_accept(listener, fd);
    }
    sl_io_close_fd(io, listener->fd);
    listener->fd = -1;
    listener->worker->listeners_live--;
}

static void begin_drain(struct sl_worker *w) {
    w->drain_deadline_ns = w->now_ns + atomic_load(&w->gateway->drain_ms) * SL_NS_PER_MS;
    if (w->draining) {
        return; // asked again: with another deadline
    }
    w->draining = true;
    sl_handoff_close(&w->inbox);
    take_inbox(w);
    w->drain_started_ns = w->now_ns;
    for (uint32_t i = 0; i < w->listener_count; i++) {
        if (!w->listeners[i].inherited) {
            refuse_handshakes(w->io, w->listeners[i].fd);
        }
        sl_io_accept_stop(w->io, w->listeners[i].number, on_accept_stopped);
    }
    for (struct sl_conn *conn = w->conn_first; conn; conn = conn->next) {
        sl_conn_drain(conn);
    }
    sl_upstreams_drain(w);
}

static void cut_all(struct sl_worker *w) {
    w->cut = true;
    for (struct sl_conn *conn = w->conn_first; conn; conn = conn->next) {
        sl_conn_abort(conn, SL_E_DRAINING);
    }
    sl_upstreams_drain(w);
}

static bool drained(struct sl_worker *w) {
    if (!w->draining) {
        return false;
    }
    if (w->now_ns >= w->drain_deadline_ns) {
        cut_all(w); // again if need be: accepts that were under way still come
    }
    return w->listeners_live == 0 && !w->conn_first && w->upstream_conns.used == 0;
}

// Its ring is kept until the clients have what was in it.
static void retire_ring(struct sl_worker *w, uint32_t isolate) {
    struct sl_ring *ring = w->rings[isolate];
    w->rings[isolate] = NULL;
    w->rings_here &= ~(1u << isolate);
    ring->next_old = w->old_rings;
    w->old_rings = ring;
    sl_ring_gone(ring);
}

// An isolate has ended, or has been started, or both.
static void update_ring(struct sl_worker *w, uint32_t isolate) {
    atomic_fetch_or(&w->isolates_taken,
                    1u << isolate); // before ring_new says nothing of it any more
    struct sl_ring *ring = atomic_exchange(&w->ring_new[isolate], NULL);
    if (ring && w->rings[isolate]) {
        retire_ring(w, isolate);
    }
    if (ring) {
        w->rings[isolate] = ring;
        w->rings_here |= 1u << isolate;
    }
    if (w->rings[isolate] && atomic_load(&w->gone_life[isolate]) >= w->rings[isolate]->life) {
        retire_ring(w, isolate);
    }
}

static void free_old_rings(struct sl_worker *w) {
    for (struct sl_ring **at = &w->old_rings; *at;) {
        struct sl_ring *ring = *at;
        if (ring->lent > 0) {
            at = &ring->next_old;
        } else {
            *at = ring->next_old;
            sl_ring_free(ring);
        }
    }
}

// What the control plane may do with each isolate now.
static void show_isolates(struct sl_worker *w) {
    uint32_t busy = isolates_of(w->hold->plan), taken = w->rings_here;
    for (const struct sl_plan_hold *hold = w->old_holds; hold; hold = hold->next) {
        busy |= isolates_of(hold->plan);
    }
    for (uint32_t left = w->rings_here & ~busy; left; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(left);
        busy |= (w->rings[i]->lent > 0 ? 1u : 0u) << i;
    }
    for (const struct sl_ring *ring = w->old_rings; ring; ring = ring->next_old) {
        taken |= 1u << ring->isolate;
    }
    if (atomic_load_explicit(&w->isolates_busy, memory_order_relaxed) != busy) {
        atomic_store(&w->isolates_busy, busy);
    }
    if (atomic_load_explicit(&w->isolates_taken, memory_order_relaxed) != taken) {
        atomic_store(&w->isolates_taken, taken);
    }
}

static void take_commands(struct sl_worker *w) {
    uint32_t commands = atomic_exchange_explicit(&w->commands, 0, memory_order_acquire);
    if (commands & SL_COMMAND_DRAIN) {
        begin_drain(w);
    }
    if (commands & SL_COMMAND_RINGS) {
        for (uint32_t i = 0; i < sl_worker_config(w)->isolates; i++) {
            update_ring(w, i);
        }
    }
    if (commands & SL_COMMAND_STATS) {
        sl__worker_publish(w); // last: it tells what the others did
    }
}

// The turn.

static uint64_t wait_limit(struct sl_worker *w) {
    uint64_t wait = sl_timers_until_next(&w->timers, w->now_ns);
    if (w->draining && !w->cut) {
        uint64_t left = w->drain_deadline_ns > w->now_ns ? w->drain_deadline_ns - w->now_ns : 0;
        wait = sl_min_u64(wait, left);
    }
    return sl_min_u64(wait, IDLE_WAIT_NS);
}

static bool may_sleep(struct sl_worker *w) {
    bool may = true;
    for (uint32_t left = w->rings_here; left; left &= left - 1) {
        may = sl_ring_sleep(w->rings[__builtin_ctz(left)]) && may;
    }
    return may && atomic_load_explicit(&w->commands, memory_order_relaxed) == 0;
}

int sl_worker_turn(struct sl_worker *w, uint64_t max_wait_ns) {
    if (w->counters.exchanges_live > 0) {
        sl_io_hurry(w->io); // the isolate's answers come with one wake
    }
    int rc = sl_io_poll(w->io, may_sleep(w) ? sl_min_u64(wait_limit(w), max_wait_ns) : 0);
    read_clock(w);
    take_commands(w);
    take_inbox(w);
    update_plan(w);
    sl__certificates_turn(w);
    sl__resumption_turn(w);
    for (uint32_t left = w->rings_here; left; left &= left - 1) {
        struct sl_ring *ring = w->rings[__builtin_ctz(left)];
        sl_ring_wake_up(ring);
        sl_ring_read(ring);
    }
    // Before the timers: what beat its deadline wins, and a queued byte has only won once it is looked at.
    run_work(w);
    sl_timers_run(&w->timers, w->now_ns);
    run_work(w);
    for (uint32_t left = w->rings_here; left; left &= left - 1) {
        sl_ring_publish(w->rings[__builtin_ctz(left)]);
    }
    free_old_rings(w);
    show_conns(w);
    show_isolates(w);
    return rc < 0 ? rc : drained(w) ? SL_WORKER_DRAINED : SL_OK;
}

// Start and end.

static void buf_counts(const struct sl_config *c, uint32_t counts[SL_BUF_GROUPS]) {
    counts[SL_BUF_HEAD] = c->small_bufs;
    // The kernel hands out all receive buffers in turn, so all of them are touched: fewer of those.
    counts[SL_BUF_BODY] = c->large_bufs / 4;
    counts[SL_BUF_OUT] = c->large_bufs;
    counts[SL_BUF_PAGE] = sl_min_u32(c->requests_max * 3, 32768);
}

static uint32_t outq_count(const struct sl_config *c) {
    return sl_min_u32(c->conns_max, c->requests_max * 2);
}

uint64_t sl_worker_memory_bytes(const struct sl_config *c) {
    uint32_t counts[SL_BUF_GROUPS];
    buf_counts(c, counts);
    uint64_t bufs = (uint64_t)(counts[SL_BUF_HEAD] + counts[SL_BUF_PAGE]) * SL_BUF_HEAD_BYTES +
                    (uint64_t)(counts[SL_BUF_BODY] + counts[SL_BUF_OUT]) * SL_BUF_BODY_BYTES;
    return bufs + (uint64_t)c->conns_max * (sizeof(struct sl_conn) + sl_io_conn_bytes()) +
           (uint64_t)c->requests_max * sizeof(struct sl_request) +
           (uint64_t)outq_count(c) * sizeof(struct sl_outq) +
           UPSTREAM_CONNS_MAX * (sizeof(struct sl_upstream_conn) + sl_io_conn_bytes());
}

static int open_pools(struct sl_worker *w) {
    const struct sl_config *c = sl_worker_config(w);
    uint32_t counts[SL_BUF_GROUPS];
    buf_counts(c, counts);
    int rc = sl_buf_pool_init(&w->bufs, counts);
    rc = rc ? rc : sl_slab_init(&w->conns, sizeof(struct sl_conn), c->conns_max);
    rc = rc ? rc : sl_slab_init(&w->requests, sizeof(struct sl_request), c->requests_max);
    rc = rc ? rc : sl_slab_init(&w->outqs, sizeof(struct sl_outq), outq_count(c));
    rc = rc ? rc
            : sl_slab_init(&w->upstream_conns, sizeof(struct sl_upstream_conn), UPSTREAM_CONNS_MAX);
    if (!rc && c->prefault) {
        sl_buf_pool_touch(&w->bufs);
        sl_slab_touch(&w->conns);
        sl_slab_touch(&w->requests);
        sl_slab_touch(&w->outqs);
        sl_slab_touch(&w->upstream_conns);
    }
    return rc;
}

static int open_io(struct sl_worker *w) {
    struct sl_gateway *g = w->gateway;
    struct sl_io_config config = {
        .kind = g->io_kind,
        .conns_max = g->config.conns_max + UPSTREAM_CONNS_MAX,
        .pool = &w->bufs,
        .counters = &w->counters,
        .sys = g->sys,
    };
    int rc = sl_io_open(&w->io, &config);
    if (rc == SL_E_IO_UNAVAILABLE && g->config.io == SL_IO_AUTO) {
        // The probe tried one ring; locked memory is counted per user, and this worker's did not fit any more.
        fprintf(stderr, "sluice: worker %u runs on epoll: %s\n", w->index, sl_fail_text());
        config.kind = SL_IO_EPOLL;
        rc = sl_io_open(&w->io, &config);
    }
    return rc ? rc : sl__resumption_open(w);
}

static int open_listeners(struct sl_worker *w) {
    struct sl_gateway *g = w->gateway;
    for (uint32_t i = 0; i < g->listener_count; i++) {
        struct sl_worker_listener *listener = &w->listeners[i];
        *listener =
            (struct sl_worker_listener){.worker = w,
                                        .fd = g->listeners[i].fds[w->index],
                                        .port = g->listeners[i].port,
                                        .certificates = g->listeners[i].certificates,
                                        .hello_timeout_ms = g->listeners[i].hello_timeout_ms,
                                        .inherited = g->listeners[i].inherited};
        g->listeners[i].fds[w->index] = -1; // ours now
        w->listener_count++;
        w->listeners_live++;
        int error =
            listener->inherited ? 0 : sl_io_listen(w->io, listener->fd, (int)g->config.backlog);
        if (error) {
            return sl_fail(SL_E_SYSTEM, "listen on %s: %s", g->listeners[i].address,
                           strerror(-error));
        }
        listener->number = sl_io_accept_start(w->io, listener->fd, on_accept, listener);
        if (listener->number < 0) {
            return listener->number;
        }
    }
    return SL_OK;
}

void sl_worker_close(struct sl_worker *w) {
    atomic_store_explicit(&w->wake_io, NULL, memory_order_seq_cst);
    while (atomic_load_explicit(&w->wakers, memory_order_seq_cst) > 0) {
        sched_yield(); // a thread is inside sl_io_wake: microseconds
    }
    struct sl_handoff_item item;
    sl_handoff_close(&w->inbox);
    // Another worker did not start, so this one did not drain.
    while (sl_handoff_take(&w->inbox, &item)) {
        w->gateway->sys->close(w->gateway->sys, item.fd);
    }
    for (uint32_t i = 0; i < w->listener_count; i++) {
        if (w->listeners[i].fd >= 0) {
            w->gateway->sys->close(w->gateway->sys, w->listeners[i].fd);
        }
    }
    if (w->io) {
        sl_io_free(w->io);
    }
    if (w->hold) {
        hold_free(w->hold);
    }
    SL_ASSERT(!w->upstreams && !w->endpoints);
    free_old_rings(w); // no connection is left that they could be sending to
    SL_ASSERT(!w->old_rings);
    for (uint32_t i = 0; i < w->gateway->sni_count; i++) {
        if (w->tls_ctx[i]) {
            sl_tls_ctx_free(w->tls_ctx[i]);
        }
    }
    sl_slab_deinit(&w->conns); // fine if it was not made: so each is freed whichever came last
    sl_slab_deinit(&w->requests);
    sl_slab_deinit(&w->outqs);
    sl_slab_deinit(&w->upstream_conns);
    sl_buf_pool_deinit(&w->bufs);
}

static int open_secrets(struct sl_worker *w) {
    uint8_t seed[SL_RANDOM_KEY_BYTES];
    if (getrandom(seed, sizeof(seed), 0) != sizeof(seed)) {
        return sl_fail(SL_E_SYSTEM, "getrandom: %s", strerror(errno));
    }
    sl_random_init(&w->secrets, seed);
    return SL_OK;
}

int sl_worker_open(struct sl_worker *w) {
    w->work.next = w->work.prev = &w->work;
    const struct sl_sys *sys = w->gateway->sys;
    w->random = (sys->now_ns(sys) | 1) * 0x9e3779b97f4a7c15ull + w->index;
    w->half_heads[0].max = sl_worker_config(w)->requests_max / 4 + 1;
    w->half_heads[1].max = sl_worker_config(w)->large_bufs / 4;
    int rc = open_pools(w);
    rc = rc ? rc : open_secrets(w);
    rc = rc ? rc : open_io(w);
    if (rc) {
        return rc;
    }
    read_clock(w);
    sl_timers_init(&w->timers, w->now_ns);
    update_plan(w);
    rc = w->hold ? open_listeners(w) : sl_fail(SL_E_NO_MEMORY, "plan of worker %u", w->index);
    if (rc == SL_OK) {
        atomic_store_explicit(&w->wake_io, w->io, memory_order_release);
        sl_handoff_open(&w->inbox);
    }
    return rc;
}

// Only where nobody else may run: on shared CPUs a pinned thread waits for whoever has its CPU while others are idle.
static void pin(const struct sl_worker *w) {
    const struct sl_cpus *cpus = &w->gateway->cpus;
    if (w->gateway->pinned) {
        cpu_set_t *set = CPU_ALLOC(cpus->pins[w->index] + 1);
        size_t bytes = CPU_ALLOC_SIZE(cpus->pins[w->index] + 1);
        if (set) {
            CPU_ZERO_S(bytes, set);
            CPU_SET_S(cpus->pins[w->index], bytes, set);
            (void)pthread_setaffinity_np(pthread_self(), bytes, set);
            CPU_FREE(set);
        }
    }
}

void *sl_worker_main(void *arg) {
    struct sl_worker *w = arg;
    char name[16];
    snprintf(name, sizeof(name), "sluice-w%u", w->index);
    prctl(PR_SET_NAME, name);
    pin(w);
    int rc = sl_worker_open(w);
    sl__worker_report(w, rc);
    while (rc == SL_OK) {
        rc = sl_worker_turn(w, UINT64_MAX);
    }
    if (rc < 0 && w->started) {
        fprintf(stderr, "sluice: worker %u: %s\n", w->index, sl_fail_text());
        abort(); // the loop is lost: connections cannot be closed in order any more
    }
    sl_worker_close(w);
    sl__worker_ended(w);
    return NULL;
}
