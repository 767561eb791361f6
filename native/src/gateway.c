#include "gateway.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "certificates.h"
#include "conn.h"
#include "exchange.h"
#include "inherited.h"
#include "io.h"
#include "port_holder.h"
#include "resumption.h"
#include "upstream.h"

#define FDS_RESERVED 256u // for the control plane, files, wake sockets
#define FDS_EACH_MIN 8u   // connections per worker, else it is not worth starting
#define START_WAIT_MS 30000u
#define STATS_WAIT_MS 1000u
#define BLOCKED_NICE 15

// Configuration: 0 is the default; what is out of range is an error that names field, value and range.

struct limit {
    const char *name;
    size_t offset;
    uint32_t fallback, low, high;
};

#define LIMIT(field, fallback, low, high)                                                          \
    { #field, offsetof(struct sl_config, field), fallback, low, high }
static const struct limit limits[] = {
    LIMIT(io, 0, 0, 2),
    LIMIT(workers, 1, 1, SL_WORKERS_MAX), // the fallback is sl_cpus_read's
    LIMIT(isolates, 0, 0, SL_ISOLATES_MAX),
    LIMIT(exchanges, 1024, SL_RING_SLOTS_MIN, SL_RING_SLOTS_MAX),
    LIMIT(conns_max, 10000, 1, 1000000),
    LIMIT(requests_max, 2048, 1, 65536),
    LIMIT(head_bytes_max, 16384, 1024, 16384),
    LIMIT(line_bytes_max, 8192, 64, 16384),
    LIMIT(fields_max, 100, 1, SL_FIELDS_MAX),
    LIMIT(head_timeout_ms, 10000, 1, 86400000),
    LIMIT(body_timeout_ms, 30000, 1, 86400000),
    LIMIT(idle_timeout_ms, 65000, 1, 86400000),
    LIMIT(write_stall_ms, 60000, 1, 86400000),
    LIMIT(handler_timeout_ms, 30000, 1, 86400000),
    LIMIT(linger_ms, 2000, 1, 60000),
    LIMIT(body_bytes_max, 10485760, 1, UINT32_MAX),
    LIMIT(pipeline_bytes_max, 16384, 4096, 1048576),
    LIMIT(high_watermark_bytes, 65536, 4096, 16777216),
    LIMIT(low_watermark_bytes, 16384, 1, 16777216),
    LIMIT(requests_per_conn_max, 10000, 1, UINT32_MAX / 2),
    LIMIT(not_found_max, 64, 1, SL_RING_SLOTS_MAX),
    LIMIT(backlog, 4096, 1, 65535),
    LIMIT(log, 0, 0, SL_LOG_JSON),
    LIMIT(large_bufs, 512, 64, 32768),
    LIMIT(small_bufs, 1024, 64, 32768),
    LIMIT(conn_age_ms, 3600000, 1, UINT32_MAX / 2),
    LIMIT(prefault, 0, 0, 1),
    LIMIT(body_bytes_per_second_min, 240, 1, UINT32_MAX),
    LIMIT(body_grace_ms, 5000, 1, 86400000),
    LIMIT(write_bytes_per_second_min, 240, 1, UINT32_MAX),
    LIMIT(pipeline_requests_max, 64, 1, UINT32_MAX),
    LIMIT(linger_bytes_max, 65536, 1, UINT32_MAX),
    LIMIT(conns_per_address_max, 0, 0, UINT32_MAX),
    LIMIT(stek_rotation_ms, 3600000, 100, UINT32_MAX),
    LIMIT(steks_kept, 25, 1, 63),
    LIMIT(early_window_ms, 1024000, 1000, 604800000),
    LIMIT(ticket_set_bytes, 16777216, 65536, UINT32_MAX),
    LIMIT(sealed_bytes, 4194304, 4096, UINT32_MAX),
};

static int fill_config(struct sl_config *config) {
    for (size_t i = 0; i < SL_COUNT_OF(limits); i++) {
        const struct limit *l = &limits[i];
        uint32_t *value = (uint32_t *)(void *)((char *)config + l->offset);
        *value = *value ? *value : l->fallback;
        if (*value < l->low || *value > l->high) {
            return sl_fail(SL_E_INVALID, "config: %s is %u, expected %u to %u", l->name, *value,
                           l->low, l->high);
        }
    }
    uint32_t n = config->exchanges, b = config->small_bufs;
    if ((n & (n - 1)) || (b & (b - 1))) {
        return sl_fail(SL_E_INVALID,
                       "config: exchanges is %u and small_bufs %u, expected powers of two", n, b);
    }
    if (config->low_watermark_bytes >= config->high_watermark_bytes) {
        return sl_fail(SL_E_INVALID, "config: low_watermark_bytes is %u, expected less than %u",
                       config->low_watermark_bytes, config->high_watermark_bytes);
    }
    return SL_OK;
}

static uint32_t open_fds(uint64_t limit) {
    uint32_t count = 0;
    for (int fd = 0; fd < (int)limit; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

// What is open already, and what workers (loop, eventfd, listeners) and isolates (sockets both ways, the files that they load; half of their seats are
// empty but for the moments of a reload) will open.
static uint32_t fds_reserved(const struct sl_config *config, uint64_t limit) {
    if (limit >= 4 * FDS_RESERVED) {
        return FDS_RESERVED;
    }
    return sl_min_u32(FDS_RESERVED,
                      open_fds(limit) + 8 + 4 * config->workers + 4 * config->isolates);
}

// One fd per connection: as many as the hard limit allows, never a promise that accept(2) breaks.
static int fit_fds(struct sl_config *config) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return SL_OK;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    uint32_t reserved = fds_reserved(config, limit.rlim_cur);
    uint64_t least = reserved + (uint64_t)FDS_EACH_MIN * config->workers;
    if (limit.rlim_cur < least) {
        return sl_fail(
            SL_E_SYSTEM,
            "descriptors: this process may have %llu (RLIMIT_NOFILE); with %u worker%s it "
            "needs at least %llu: raise ulimit -n, or take fewer workers",
            (unsigned long long)limit.rlim_cur, config->workers, config->workers == 1 ? "" : "s",
            (unsigned long long)least);
    }
    uint64_t each = (limit.rlim_cur - reserved) / config->workers;
    config->conns_max = (uint32_t)sl_min_u64(config->conns_max, each);
    return SL_OK;
}

struct probe {
    struct sl_gateway *gateway;
    int kind;
};

static void *probe_main(void *arg) {
    struct probe *probe = arg;
    struct sl_gateway *g = probe->gateway;
    probe->kind = sl_io_probe((int)g->config.io, g->io_reason, sizeof(g->io_reason));
    return NULL;
}

// On a thread of its own: the kernel takes a ring down later, by task work that interrupts system calls of the thread that had it (EINTR). The
// caller's thread is the control plane's.
static int probe_io(struct sl_gateway *g) {
    struct probe probe = {g, SL_E_SYSTEM};
    pthread_t thread;
    int error = pthread_create(&thread, NULL, probe_main, &probe);
    if (error) {
        return sl_fail(SL_E_SYSTEM, "thread of the io probe: %s", strerror(error));
    }
    pthread_join(thread, NULL);
    return probe.kind >= 0
               ? probe.kind
               : sl_fail(probe.kind, "io: io_uring was asked for but does not work here: %s",
                         g->io_reason);
}

static void free_gateway(struct sl_gateway *g) {
    sl_clients_free(g->clients);
    free(g->workers);
    free(g);
}

static int make_clients(struct sl_gateway *g) {
    const struct sl_config *c = &g->config;
    uint64_t seed;
    if (c->conns_per_address_max == 0) {
        return SL_OK;
    }
    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed)) {
        return sl_fail(SL_E_SYSTEM, "getrandom: %s", strerror(errno));
    }
    return sl_clients_new(&g->clients, (uint64_t)c->conns_max * c->workers,
                          c->conns_per_address_max, seed);
}

int sl__gateway_new(struct sl_gateway **out_gateway, const struct sl_config *config) {
    struct sl_gateway *g = aligned_alloc(_Alignof(struct sl_gateway), sizeof(*g));
    if (!g) {
        return sl_fail(SL_E_NO_MEMORY, "gateway");
    }
    memset(g, 0, sizeof(*g));
    g->config = *config;
    sl_cpus_read(&g->cpus, "");
    g->workers_asked = config->workers != 0;
    g->config.workers = g->workers_asked ? config->workers : g->cpus.workers;
    int rc = sl_http1_parser_use(getenv("SLUICE_PARSER"));
    if (rc == SL_OK) {
        rc = fill_config(&g->config);
    }
    if (rc) {
        free(g);
        return rc;
    }
    g->pinned = g->cpus.exclusive && g->config.workers <= g->cpus.count;
    rc = fit_fds(&g->config);
    rc = rc ? rc : probe_io(g);
    if (rc < 0) {
        free(g);
        return rc;
    }
    g->sys = &sl_sys_kernel;
    g->io_kind = rc;
    uint32_t workers = g->config.workers;
    size_t worker_bytes =
        sizeof(struct sl_worker) * workers; // a multiple of its alignment, by C's rules
    g->workers = aligned_alloc(_Alignof(struct sl_worker), worker_bytes);
    if (!g->workers) {
        free_gateway(g);
        return sl_fail(SL_E_NO_MEMORY, "%u workers", workers);
    }
    memset(g->workers, 0, worker_bytes);
    rc = make_clients(g);
    if (rc) {
        free_gateway(g);
        return rc;
    }
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
    for (uint32_t i = 0; i < SL_ISOLATES_MAX; i++) {
        atomic_init(&g->wake_fds[i], -1);
    }
    for (uint32_t i = 0; i < workers; i++) {
        g->workers[i].gateway = g;
        g->workers[i].index = i;
        sl_handoff_init(&g->workers[i].inbox);
    }
    *out_gateway = g;
    return SL_OK;
}

static uint32_t seats_taken(const struct sl_gateway *g) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->config.isolates; i++) {
        count +=
            atomic_load(&g->workers[0].ring_life[i]) > atomic_load(&g->workers[0].gone_life[i]);
    }
    return count;
}

int sl__gateway_describe(struct sl_gateway *g, char *out, size_t len) {
    const struct sl_config *c = &g->config;
    uint64_t rings = (uint64_t)seats_taken(g) * (c->isolates ? sl_ring_bytes(c->exchanges) : 0);
    char cpus[96];
    sl_cpus_text(&g->cpus, cpus, sizeof(cpus));
    int n = snprintf(
        out, len,
        "io %s\nio_reason %s\nworkers %u\nworkers_reason %s%s%s%s\nworkers_cpus %u\nconns_max "
        "%u\nmemory_bytes %llu\nring_bytes %llu\n",
        sl_io_kind_name(g->io_kind), g->io_reason, c->workers,
        g->workers_asked ? "asked for; " : "", cpus, g->pinned ? "; pinned: " : "",
        g->pinned ? g->cpus.exclusive : "", g->cpus.workers, c->conns_max,
        (unsigned long long)(sl_worker_memory_bytes(c) * c->workers),
        (unsigned long long)(rings * c->workers));
    return n < 0 ? 0 : (int)sl_min_size((size_t)n, len);
}

// Listening.

static int parse_address(struct sl_gateway_listener *l) {
    char host[64];
    const char *colon = strrchr(l->address, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    bool numeric = colon && colon[1] >= '0' && colon[1] <= '9' && *end == 0 && port <= 65535;
    if (!numeric) {
        return sl_fail(SL_E_INVALID,
                       "listen: \"%s\" is no address; expected 127.0.0.1:8080 or [::1]:8080",
                       l->address);
    }
    size_t host_len = (size_t)(colon - l->address);
    bool bracketed = host_len >= 2 && l->address[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof(host), "%.*s", (int)(host_len - (bracketed ? 2 : 0)),
             l->address + (bracketed ? 1 : 0));
    struct sockaddr_in *in = (struct sockaddr_in *)&l->addr;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&l->addr;
    if (!bracketed && inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                                &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        l->addr_len = sizeof(*in);
        return SL_OK;
    }
    if (bracketed && inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        l->addr_len = sizeof(*in6);
        return SL_OK;
    }
    return sl_fail(SL_E_INVALID, "listen: \"%s\" is no IP address; names are not resolved here",
                   host);
}

static int bind_failed(const struct sl_gateway_listener *l, uint16_t port, int error) {
    char holder[128] = "";
    if (error == EADDRINUSE) {
        sl_port_holder(port, holder, sizeof(holder));
        return sl_fail(SL_E_ADDRESS_IN_USE, "listen on %s: the address is in use%s", l->address,
                       holder);
    }
    return sl_fail(SL_E_SYSTEM, "listen on %s: %s", l->address, strerror(error));
}

static int bind_one(const struct sl_sys *sys, struct sl_gateway_listener *l, bool reuse_port,
                    int *out_fd) {
    int on = 1;
    uint16_t port = l->addr.ss_family == AF_INET
                        ? ntohs(((struct sockaddr_in *)&l->addr)->sin_port)
                        : ntohs(((struct sockaddr_in6 *)&l->addr)->sin6_port);
    int fd = sys->socket(sys, l->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return bind_failed(l, port, errno);
    }
    sys->setsockopt(sys, fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (reuse_port) {
        sys->setsockopt(sys, fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    sys->setsockopt(sys, fd, IPPROTO_TCP, 1 /* TCP_NODELAY, inherited by what is accepted */, &on,
                    sizeof(on));
    if (l->addr.ss_family == AF_INET6) {
        sys->setsockopt(sys, fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (sys->bind(sys, fd, (struct sockaddr *)&l->addr, l->addr_len) != 0) {
        int error = errno;
        sys->close(sys, fd);
        return bind_failed(l, port, error);
    }
    *out_fd = fd;
    return SL_OK;
}

static int read_port(const struct sl_sys *sys, struct sl_gateway_listener *l, int fd) {
    socklen_t len = sizeof(l->addr);
    if (sys->getsockname(sys, fd, (struct sockaddr *)&l->addr, &len) != 0) {
        return sl_fail(SL_E_SYSTEM, "getsockname: %s", strerror(errno));
    }
    l->port = l->addr.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&l->addr)->sin_port)
                                           : ntohs(((struct sockaddr_in6 *)&l->addr)->sin6_port);
    return SL_OK;
}

// First alone, without SO_REUSEPORT: a second gateway would otherwise silently share the port. SO_REUSEADDR lets bind(2) pass while another
// listens with it, so the proof is listen(2). The socket is the first worker's, and goes on listening: whoever comes at any time meets it. It may
// be shared from then on, by sockets that say so too and are of the same user: ours.
static int claim(const struct sl_sys *sys, struct sl_gateway_listener *l, uint32_t backlog) {
    int on = 1;
    int rc = bind_one(sys, l, false, &l->fds[0]);
    if (rc) {
        return rc;
    }
    rc = read_port(sys, l, l->fds[0]);
    if (!rc && (sys->listen(sys, l->fds[0], (int)backlog) != 0 ||
                sys->setsockopt(sys, l->fds[0], SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)) {
        rc = bind_failed(l, l->port, errno);
    }
    if (rc) {
        sys->close(sys, l->fds[0]);
    }
    return rc;
}

static int may_listen(const struct sl_gateway *g, uint32_t certificates) {
    if (g->listener_count == SL_LISTENERS_MAX) {
        return sl_fail(SL_E_INVALID, "listen: at most %u listeners", SL_LISTENERS_MAX);
    }
    if (atomic_load(&g->state) != SL_WARMING) {
        return sl_fail(
            SL_E_STATE,
            "listen: the gateway runs already; workers take their listeners when they start");
    }
    if (certificates != SL_NO_CERTIFICATE && certificates >= g->sni_count) {
        return sl_fail(SL_E_INVALID, "listen: certificates %u of %u", certificates, g->sni_count);
    }
    return SL_OK;
}

static void close_first(const struct sl_gateway *g, struct sl_gateway_listener *l, uint32_t count) {
    while (count-- > 0) {
        g->sys->close(g->sys, l->fds[count]);
    }
}

int sl__gateway_listen(struct sl_gateway *g, struct sl_span address, uint32_t certificates) {
    struct sl_gateway_listener *l = &g->listeners[g->listener_count];
    int rc = may_listen(g, certificates);
    if (!rc && address.len >= sizeof(l->address)) {
        rc = sl_fail(SL_E_INVALID, "listen: addresses have under %zu bytes", sizeof(l->address));
    }
    if (rc) {
        return rc;
    }
    memset(l, 0, sizeof(*l));
    memcpy(l->address, address.data, address.len);
    l->certificates = certificates;
    rc = parse_address(l);
    rc = rc ? rc : claim(g->sys, l, g->config.backlog);
    if (rc) {
        return rc;
    }
    for (uint32_t bound = 1; bound < g->config.workers; bound++) {
        rc = bind_one(g->sys, l, true, &l->fds[bound]);
        if (rc) {
            close_first(g, l, bound);
            return rc;
        }
    }
    g->listener_count++;
    return l->port;
}

int sl__gateway_adopt(struct sl_gateway *g, int fd, uint32_t certificates) {
    struct sl_gateway_listener *l = &g->listeners[g->listener_count];
    int rc = may_listen(g, certificates);
    if (rc) {
        return rc;
    }
    memset(l, 0, sizeof(*l));
    l->certificates = certificates;
    l->inherited = true;
    rc = sl_inherited_read(g->sys, fd, &l->addr, &l->addr_len);
    rc = rc ? rc : read_port(g->sys, l, fd);
    if (rc) {
        return rc;
    }
    sl_inherited_text(&l->addr, l->address, sizeof(l->address));
    for (uint32_t i = 0; i < g->config.workers; i++) {
        rc = sl_inherited_dup(g->sys, fd, &l->fds[i]);
        if (rc) {
            close_first(g, l, i);
            return rc;
        }
    }
    g->sys->close(g->sys, fd);
    g->listener_count++;
    return l->port;
}

int sl__gateway_client_hello(struct sl_gateway *g, uint32_t listener, uint32_t timeout_ms) {
    if (atomic_load(&g->state) != SL_WARMING || listener >= g->listener_count ||
        g->listeners[listener].certificates == SL_NO_CERTIFICATE || timeout_ms == 0 ||
        timeout_ms > SL_HELLO_TIMEOUT_MS_MAX) {
        return sl_fail(SL_E_INVALID,
                       "client hello: %u ms (1 to %u), listener %u of %u, which must have TLS; or "
                       "the gateway runs already",
                       timeout_ms, SL_HELLO_TIMEOUT_MS_MAX, listener, g->listener_count);
    }
    g->listeners[listener].hello_timeout_ms = timeout_ms;
    return SL_OK;
}

// Rings and isolates.

// To the worker's thread, which takes it in its next turn; or in place, while there is none.
static void hand_over_ring(struct sl_gateway *g, struct sl_worker *w, struct sl_ring *ring) {
    if (atomic_load(&g->state) == SL_WARMING) {
        struct sl_ring *old = w->rings[ring->isolate];
        w->rings[ring->isolate] = ring;
        w->rings_here |= 1u << ring->isolate;
        if (old) {
            sl_ring_free(old);
        }
        return;
    }
    struct sl_ring *missed = atomic_exchange(&w->ring_new[ring->isolate], ring);
    if (missed) {
        sl_ring_free(missed); // a life so short that the worker never saw it
    }
    atomic_fetch_or(&w->commands, SL_COMMAND_RINGS);
    sl__gateway_wake(g, w->index);
}

int sl__gateway_attach(struct sl_gateway *g, uint32_t worker, uint32_t isolate, uint8_t *region,
                       size_t len) {
    if (worker >= g->config.workers || isolate >= g->config.isolates) {
        return sl_fail(SL_E_INVALID, "attach: worker %u of %u, isolate %u of %u", worker,
                       g->config.workers, isolate, g->config.isolates);
    }
    struct sl_worker *w = &g->workers[worker];
    uint32_t life = atomic_load(&w->ring_life[isolate]);
    if (life > atomic_load(&w->gone_life[isolate]) || atomic_load(&g->state) == SL_CLOSED) {
        return sl_fail(SL_E_STATE,
                       "attach: worker %u has a region of isolate %u, which was not said to be "
                       "gone; or the gateway is closed",
                       worker, isolate);
    }
    struct sl_ring *ring;
    int rc = sl_ring_new(&ring, g->config.exchanges, region, len);
    if (rc) {
        return rc;
    }
    ring->worker = w;
    ring->isolate = isolate;
    ring->life = life + 1;
    atomic_store(&w->ring_life[isolate], life + 1);
    hand_over_ring(g, w, ring);
    return SL_OK;
}

int sl__gateway_isolate_wake(struct sl_gateway *g, uint32_t isolate, uint32_t port,
                             struct sl_span token) {
    if (isolate >= g->config.isolates || port == 0 || port > 65535 || token.len != 16) {
        return sl_fail(SL_E_INVALID, "isolate wake: isolate %u, port %u, token of %zu bytes",
                       isolate, port, token.len);
    }
    int on = 1;
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        send(fd, token.data, token.len, MSG_NOSIGNAL) != (ssize_t)token.len) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return sl_fail(SL_E_SYSTEM, "wake socket to 127.0.0.1:%u: %s", port, strerror(error));
    }
    atomic_store(&g->isolate_threads[isolate], (int)gettid());
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof(on));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    int old = -1;
    if (!atomic_compare_exchange_strong(&g->wake_fds[isolate], &old, fd)) {
        // The number stays: a worker may be about to send on it.
        int rc = dup3(fd, old, O_CLOEXEC);
        close(fd);
        return rc < 0 ? sl_fail(SL_E_SYSTEM, "wake socket: %s", strerror(errno)) : SL_OK;
    }
    return SL_OK;
}

// Deno cannot end a Worker whose JavaScript never returns. Not SCHED_IDLE: on a busy machine the process could not end before that thread gets a turn.
static void give_way(int thread) {
    if (thread > 0) {
        (void)setpriority(PRIO_PROCESS, (id_t)thread, BLOCKED_NICE);
    }
}

int sl__gateway_isolate_gone(struct sl_gateway *g, uint32_t isolate, uint32_t reason) {
    if (isolate >= g->config.isolates || reason >= SL_COUNT_OF(g->isolate_ends)) {
        return sl_fail(SL_E_INVALID, "isolate %u of %u has ended for reason %u", isolate,
                       g->config.isolates, reason);
    }
    atomic_fetch_add(&g->isolate_ends[reason], 1);
    if (reason == SL_ISOLATE_BLOCKED) {
        give_way(atomic_load(&g->isolate_threads[isolate]));
    }
    for (uint32_t i = 0; i < g->config.workers; i++) {
        struct sl_worker *w = &g->workers[i];
        atomic_store(&w->gone_life[isolate], atomic_load(&w->ring_life[isolate]));
        atomic_fetch_or(&w->commands, SL_COMMAND_RINGS);
        sl__gateway_wake(g, i);
    }
    return SL_OK;
}

static int seat_state(const struct sl_worker *w, uint32_t isolate) {
    uint32_t bit = 1u << isolate;
    bool sits = atomic_load(&w->ring_life[isolate]) > atomic_load(&w->gone_life[isolate]);
    if (sits && (atomic_load(&w->isolates_busy) & bit)) {
        return SL_SEAT_BUSY;
    }
    bool left = atomic_load(&w->ring_new[isolate]) || (atomic_load(&w->isolates_taken) & bit);
    return sits || left ? SL_SEAT_IDLE : SL_SEAT_EMPTY;
}

int sl__gateway_isolate_state(const struct sl_gateway *g, uint32_t isolate) {
    if (isolate >= g->config.isolates) {
        return sl_fail(SL_E_INVALID, "isolate %u of %u", isolate, g->config.isolates);
    }
    int state = SL_SEAT_EMPTY;
    for (uint32_t i = 0; i < g->config.workers; i++) {
        int here = seat_state(&g->workers[i], isolate);
        state = here > state ? here : state;
    }
    return state;
}

// Plan.

int sl__gateway_plan(struct sl_gateway *g, struct sl_span blob) {
    struct sl_plan *plan;
    int rc = sl_plan_new(&plan, blob.data, blob.len);
    if (rc) {
        return rc;
    }
    pthread_mutex_lock(&g->lock);
    struct sl_plan *old = g->plan;
    rc = sl_plan_open(plan, old);
    if (rc) {
        pthread_mutex_unlock(&g->lock);
        sl_plan_unref(plan);
        return rc;
    }
    g->plan = plan;
    atomic_fetch_add(&g->plan_version, 1);
    pthread_mutex_unlock(&g->lock);
    if (old) {
        sl_plan_unref(old);
    }
    for (uint32_t i = 0; i < g->config.workers; i++) {
        sl__gateway_wake(g, i);
    }
    return SL_OK;
}

// Threads.

void sl__worker_report(struct sl_worker *w, int status) {
    struct sl_gateway *g = w->gateway;
    pthread_mutex_lock(&g->lock);
    w->started = status == SL_OK;
    g->workers_ready++;
    if (status != SL_OK && !g->worker_error) {
        g->worker_error = status;
        snprintf(g->worker_error_text, sizeof(g->worker_error_text), "worker %u: %s", w->index,
                 sl_fail_text());
    }
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

void sl__worker_ended(struct sl_worker *w) {
    struct sl_gateway *g = w->gateway;
    sl__worker_publish(w);
    pthread_mutex_lock(&g->lock);
    if (++g->workers_ended == g->config.workers) {
        atomic_store(&g->state, SL_CLOSED);
    }
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static bool wait_until(struct sl_gateway *g, const uint32_t *count, uint32_t wanted,
                       uint32_t wait_ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    int rc = 0;
    while (*count < wanted && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&g->changed, &g->lock, &until);
    }
    return *count >= wanted;
}

static int check_ready(const struct sl_gateway *g) {
    if (!g->plan) {
        return sl_fail(SL_E_STATE, "start: no plan is loaded");
    }
    for (uint32_t i = 0; i < g->config.workers; i++) {
        for (uint32_t k = 0; k < g->config.isolates; k++) {
            bool named = !g->plan->header->isolates || (g->plan->header->isolates >> k & 1);
            if (named && !g->workers[i].rings[k]) {
                return sl_fail(SL_E_STATE, "start: worker %u, isolate %u has no ring region", i, k);
            }
        }
    }
    return SL_OK;
}

static void ask_to_drain(struct sl_gateway *g, uint32_t deadline_ms) {
    int active = SL_ACTIVE;
    atomic_store(&g->drain_ms, deadline_ms);
    atomic_compare_exchange_strong(&g->state, &active, SL_DRAINING);
    for (uint32_t i = 0; i < g->config.workers; i++) {
        atomic_fetch_or(&g->workers[i].commands, SL_COMMAND_DRAIN);
        sl__gateway_wake(g, i);
    }
}

// Those from `first` on have no thread: they count as ended.
static void workers_missing(struct sl_gateway *g, uint32_t first) {
    pthread_mutex_lock(&g->lock);
    g->workers_ended += g->config.workers - first;
    if (g->workers_ended == g->config.workers) {
        atomic_store(&g->state, SL_CLOSED);
    }
    pthread_mutex_unlock(&g->lock);
}

static int spawn(struct sl_gateway *g) {
    for (uint32_t i = 0; i < g->config.workers; i++) {
        int error = pthread_create(&g->workers[i].thread, NULL, sl_worker_main, &g->workers[i]);
        if (error) {
            g->workers[i].thread = 0;
            workers_missing(g, i);
            return sl_fail(SL_E_SYSTEM, "thread of worker %u of %u: %s", i, g->config.workers,
                           strerror(error));
        }
    }
    pthread_mutex_lock(&g->lock);
    bool ready = wait_until(g, &g->workers_ready, g->config.workers, START_WAIT_MS);
    int rc = ready ? g->worker_error : SL_E_SYSTEM;
    pthread_mutex_unlock(&g->lock);
    return rc ? sl_fail(rc, "start: %s", ready ? g->worker_error_text : "workers do not come up")
              : SL_OK;
}

int sl__gateway_start(struct sl_gateway *g) {
    int rc = check_ready(g);
    if (!rc && atomic_load(&g->state) != SL_WARMING) {
        rc = sl_fail(SL_E_STATE, "start: the gateway was started before");
    }
    if (!rc && g->config.log != SL_LOG_OFF) {
        rc = sl_log_new(&g->log, (int)g->config.log, g->config.workers, STDOUT_FILENO);
    }
    rc = rc ? rc : sl__resumption_start(g);
    if (rc) {
        return rc;
    }
    atomic_store(&g->state, SL_ACTIVE);
    rc = spawn(g);
    if (rc) {
        ask_to_drain(g, 0); // they may all have ended; the error text stays the one of the start
    }
    return rc;
}

int sl__gateway_wake(struct sl_gateway *g, uint32_t worker) {
    if (worker >= g->config.workers) {
        return sl_fail(SL_E_INVALID, "worker %u of %u", worker, g->config.workers);
    }
    struct sl_worker *w = &g->workers[worker];
    atomic_fetch_add_explicit(&w->wakers, 1,
                              memory_order_seq_cst); // keeps the loop from being freed under us
    struct sl_io *io = atomic_load_explicit(&w->wake_io, memory_order_seq_cst);
    if (io) {
        sl_io_wake(io);
    }
    atomic_fetch_sub_explicit(&w->wakers, 1, memory_order_seq_cst);
    return SL_OK;
}

int sl__gateway_drain(struct sl_gateway *g, uint32_t deadline_ms) {
    int state = atomic_load(&g->state);
    if (state != SL_ACTIVE && state != SL_DRAINING) {
        return sl_fail(SL_E_STATE, "drain: the gateway does not run");
    }
    ask_to_drain(g, deadline_ms);
    return SL_OK;
}

int sl__gateway_join(struct sl_gateway *g, uint32_t wait_ms) {
    pthread_mutex_lock(&g->lock);
    bool ended = atomic_load(&g->state) == SL_WARMING ||
                 wait_until(g, &g->workers_ended, g->config.workers, wait_ms);
    pthread_mutex_unlock(&g->lock);
    if (!ended) {
        return sl_fail(SL_E_STATE, "join: workers still run after %u ms", wait_ms);
    }
    for (uint32_t i = 0; i < g->config.workers; i++) {
        if (g->workers[i].thread) {
            pthread_join(g->workers[i].thread, NULL);
            g->workers[i].thread = 0;
        }
    }
    if (g->log) {
        sl_log_free(g->log);
        g->log = NULL;
    }
    return SL_OK;
}

int sl__gateway_worker_conns(struct sl_gateway *g, uint32_t worker) {
    if (worker >= g->config.workers) {
        return sl_fail(SL_E_INVALID, "worker %u of %u", worker, g->config.workers);
    }
    return (int)sl_worker_conns(&g->workers[worker]);
}

// Counters belong to their worker; it publishes a copy when asked, and a last one when it ends.
void sl__worker_publish(struct sl_worker *w) {
    pthread_mutex_lock(&w->gateway->lock);
    w->published = w->counters;
    sl_upstreams_publish(w);
    w->gateway->stats_published++;
    pthread_cond_broadcast(&w->gateway->changed);
    pthread_mutex_unlock(&w->gateway->lock);
}

static void ask_for_counters(struct sl_gateway *g) {
    pthread_mutex_lock(&g->lock);
    g->stats_published = g->workers_ended;
    pthread_mutex_unlock(&g->lock);
    for (uint32_t i = 0; i < g->config.workers; i++) {
        atomic_fetch_or(&g->workers[i].commands, SL_COMMAND_STATS);
        sl__gateway_wake(g, i);
    }
    pthread_mutex_lock(&g->lock);
    wait_until(g, &g->stats_published, g->config.workers,
               STATS_WAIT_MS); // late ones are as of last time
    pthread_mutex_unlock(&g->lock);
}

// Which counters are maxima, by their names.
static bool is_max(size_t index) {
    static const char *const names[] = {
#define NAME(name, text) #name,
        SL_COUNTER_MAP(NAME)
#undef NAME
    };
    size_t len = index < SL_COUNT_OF(names) ? strlen(names[index]) : 0;
    return len > 4 && strcmp(names[index] + len - 4, "_max") == 0;
}

// The kernel's helper threads of io_uring, which belong to no worker.
static uint64_t kernel_threads(void) {
    uint64_t count = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[300], name[16] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file) {
            count += fgets(name, sizeof(name), file) && strncmp(name, "iou-wrk", 7) == 0;
            fclose(file);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

void sl__gateway_stats(struct sl_gateway *g, struct sl_counters *out) {
    uint64_t *sum = (uint64_t *)out;
    memset(out, 0, sizeof(*out));
    int state = atomic_load(&g->state);
    if (state == SL_ACTIVE || state == SL_DRAINING) {
        ask_for_counters(g);
    }
    pthread_mutex_lock(&g->lock);
    for (uint32_t i = 0; i < g->config.workers; i++) {
        const uint64_t *from = (const uint64_t *)&g->workers[i].published;
        for (size_t k = 0; k < sizeof(*out) / sizeof(uint64_t); k++) {
            sum[k] = !is_max(k) ? sum[k] + from[k] : from[k] > sum[k] ? from[k] : sum[k];
        }
    }
    pthread_mutex_unlock(&g->lock);
    out->io_kernel_threads = kernel_threads();
    sl__resumption_describe(g, out);
    out->isolate_crashes = atomic_load(&g->isolate_ends[SL_ISOLATE_CRASHED]);
    out->isolate_blocks = atomic_load(&g->isolate_ends[SL_ISOLATE_BLOCKED]);
    out->plan_loads = atomic_load(&g->plan_version);
}

struct upstream_sum {
    const struct sl_upstream
        *last; // that was added: names and endpoints stay while the lock is held
    struct sl_upstream_stats stats;
};

static struct upstream_sum *sum_of(struct upstream_sum *sums, uint32_t *count, const char *name) {
    for (uint32_t i = 0; i < *count; i++) {
        if (strcmp(sums[i].last->name, name) == 0) {
            return &sums[i];
        }
    }
    sums[*count] = (struct upstream_sum){0};
    return &sums[(*count)++];
}

static void add_upstream(struct upstream_sum *sum, const struct sl_upstream *upstream) {
    const struct sl_upstream_stats *from = &upstream->published;
    sum->stats.connects += from->connects;
    sum->stats.reuses += from->reuses;
    sum->stats.failures += from->failures;
    sum->stats.active += from->active;
    sum->stats.waiting += from->waiting;
    if (!sum->last || sum->last->endpoint != upstream->endpoint) { // else its pool is counted
        sum->stats.idle += from->idle;
    }
    sum->last = upstream;
}

static uint32_t count_upstreams(const struct sl_gateway *g) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->config.workers; i++) {
        for (const struct sl_upstream *u = g->workers[i].upstreams; u; u = u->next) {
            count++;
        }
    }
    return count;
}

int sl__gateway_upstreams(struct sl_gateway *g, char *out, size_t len) {
    size_t needed = 0;
    uint32_t count = 0;
    if (len > 0) {
        out[0] = 0;
    }
    pthread_mutex_lock(&g->lock);
    struct upstream_sum *sums = calloc(count_upstreams(g) + 1, sizeof(*sums));
    for (uint32_t i = 0; sums && i < g->config.workers; i++) {
        for (const struct sl_upstream *u = g->workers[i].upstreams; u; u = u->next) {
            add_upstream(sum_of(sums, &count, u->name), u);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct sl_upstream_stats *s = &sums[i].stats;
        size_t room = needed < len ? len - needed : 0;
        needed += (size_t)snprintf(room ? out + needed : NULL, room, "%u %u %u %llu %llu %llu %s\n",
                                   s->idle, s->active, s->waiting, (unsigned long long)s->connects,
                                   (unsigned long long)s->reuses, (unsigned long long)s->failures,
                                   sums[i].last->name);
    }
    pthread_mutex_unlock(&g->lock);
    free(sums);
    return sums ? (int)needed + 1 : sl_fail(SL_E_NO_MEMORY, "upstreams' counters");
}

static void free_rings(struct sl_worker *w) {
    for (uint32_t i = 0; i < SL_ISOLATES_MAX; i++) {
        struct sl_ring *rings[] = {w->rings[i], atomic_load(&w->ring_new[i])};
        for (int k = 0; k < 2; k++) {
            if (rings[k]) {
                sl_ring_free(rings[k]);
            }
        }
    }
}

int sl__gateway_may_free(struct sl_gateway *g) {
    int state = atomic_load(&g->state);
    if (state == SL_ACTIVE || state == SL_DRAINING ||
        (g->workers_ended > 0 && g->workers[0].thread)) {
        return sl_fail(SL_E_STATE, "free: join the gateway first");
    }
    return SL_OK;
}

void sl__gateway_free(struct sl_gateway *g) {
    for (uint32_t i = 0; i < g->listener_count; i++) {
        for (uint32_t k = 0; k < g->config.workers; k++) {
            if (g->listeners[i].fds[k] > 0) {
                g->sys->close(g->sys, g->listeners[i].fds[k]);
            }
        }
    }
    for (uint32_t i = 0; i < g->config.workers; i++) {
        free_rings(&g->workers[i]);
    }
    for (uint32_t i = 0; i < g->config.isolates; i++) {
        int fd = atomic_load(&g->wake_fds[i]);
        if (fd >= 0) {
            close(fd);
        }
    }
    sl__certificates_free(g);
    sl__resumption_free(g);
    if (g->plan) {
        sl_plan_unref(g->plan);
    }
    if (g->log) {
        sl_log_free(g->log);
    }
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
    free_gateway(g);
}
