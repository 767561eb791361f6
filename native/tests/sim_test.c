// Storms on the simulated kernel (sim.h): everything at once, by a seed, through the public interface of the io layer, with an oracle. Each
// connection's bytes are named by its number and their place, so a mix-up shows. SLUICE_SIM_SEED=N runs one seed again; SLUICE_SOAK more.
#include "sim.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "io.h"
#include "sluice/sluice.h"
#include "test.h"

#define MS SL_NS_PER_MS
#define SEC SL_NS_PER_S
#define LINKS 40
#if defined(__SANITIZE_THREAD__) // one thread, slowly
#define EVENTS_PER_BACKEND 60000ull
#define FIXED_SEEDS 3u
#elif defined(__SANITIZE_ADDRESS__)
#define EVENTS_PER_BACKEND 200000ull
#define FIXED_SEEDS 10u
#else
#define EVENTS_PER_BACKEND 1000000ull
#define FIXED_SEEDS 40u // tools/planted_bugs_test.ts wants its bugs found by these; the rest is fresh
#endif
#define SEND_MAX 200000u

static uint64_t dice_state;
static uint32_t dice(uint32_t n) {
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return (uint32_t)(dice_state >> 16) % n;
}
static bool one_in(uint32_t n) { return dice(n) == 0; }

// What both ends of a connection know.
struct link {
    bool used;
    uint32_t id;
    struct sl_io_conn *io; // NULL: not yet, or closed
    int peer;              // -1: not yet, or closed
    uint16_t port;         // by which the two find each other; 0: not yet known
    bool connecting, unix_pair;
    // Our end.
    uint8_t want;
    bool ended, shut, closing, aborted, dirty_close; // dirty: with a send in flight
    uint64_t got;
    struct sl_buf *kept[4];
    uint32_t kept_count;
    uint64_t sent;           // by sends that completed
    uint8_t *out;            // of the send in flight
    size_t out_len;
    bool failed;             // a send did
    struct msghdr msg;
    struct iovec iov[3];
    // The peer's.
    uint64_t put, peer_got;
    bool peer_fin, peer_reset, peer_closed, peer_ended;
};

struct storm {
    int kind;
    uint64_t seed;
    struct sl_sim *sim;
    const struct sl_sys *sys;
    struct sl_io *io;
    struct sl_buf_pool pool;
    struct sl_counters counters;
    struct link links[LINKS];
    uint32_t live, opened, closed, next_id;
    int listen_fd, listener, peer_listen_fd; // listener -1: stopped
    bool stopping, ending;
    bool tame; // callbacks do nothing by themselves
    struct sockaddr_in here, there;
    uint32_t accepts, strangers;
    int orphans[64]; // accepted by the peer, not yet matched
    uint32_t orphan_count;
    int depth;
    bool woken;          // a wake must show
    uint64_t wakes_seen; // before it
};
static struct storm storm;
static char replay[200];
static const char *running = "";  // the test
static uint64_t events_passed; // in seeds before this one

static uint8_t byte_of(const struct link *link, uint64_t i, bool ours) {
    uint64_t x = i * 0x9e3779b97f4a7c15ull + link->id * 2654435761u + ours;
    return (uint8_t)(x >> 56 ^ x >> 32);
}

static void bytes_check(const struct link *link, const uint8_t *data, size_t len, uint64_t at,
                        bool ours) {
    for (size_t i = 0; i < len; i++) {
        if (data[i] != byte_of(link, at + i, ours)) {
            CHECK_MSG(false, "connection %u, byte %llu is another", link->id,
                      (unsigned long long)(at + i));
            return;
        }
    }
}

static struct link *link_free(void) {
    for (int i = 0; i < LINKS; i++) {
        if (!storm.links[i].used) {
            storm.links[i] = (struct link){.used = true, .id = ++storm.next_id, .peer = -1};
            return &storm.links[i];
        }
    }
    return NULL;
}

static void link_done(struct link *link) {
    link->used = link->io != NULL || link->peer >= 0;
}

// Our end.

static void bufs_release(struct link *link) {
    while (link->kept_count > 0) {
        sl_buf_unref(&storm.pool, link->kept[--link->kept_count]);
    }
}

static void out_free(struct link *link) {
    if (link->out) {
        memset(link->out, 0xdd, link->out_len); // whoever still sends it is found out
        free(link->out);
        link->out = NULL;
    }
}

static void enter(const struct link *link) {
    CHECK_INT(storm.depth++, 0);
    CHECK(link->io != NULL);
}

static void wish(struct link *link, enum sl_recv_want want) {
    link->want = (uint8_t)want;
    sl_io_recv(storm.io, link->io, want);
}

static void close_ours(struct link *link, bool abort) {
    link->closing = true;
    link->aborted = abort;
    link->dirty_close = link->out != NULL;
    (abort ? sl_io_abort : sl_io_close)(storm.io, link->io);
}

static void maybe_more(struct link *link) {
    if (storm.tame) {
        return;
    }
    if (!link->closing && one_in(3)) {
        wish(link, (enum sl_recv_want)dice(3));
    }
    if (!link->closing && one_in(200)) {
        close_ours(link, one_in(2));
    }
}

static void on_data(struct sl_io_conn *io_conn, void *owner, struct sl_buf *buf, uint32_t len) {
    struct link *link = owner;
    enter(link);
    CHECK(io_conn == link->io && !link->closing && !link->ended);
    CHECK(link->want != SL_RECV_OFF && len > 0 && len <= buf->cap);
    CHECK_INT(buf->refs, 1);
    link->want = link->want == SL_RECV_ONCE ? SL_RECV_OFF : link->want;
    bytes_check(link, buf->data, len, link->got, false);
    link->got += len;
    CHECK(link->got <= link->put);
    if (link->kept_count < SL_COUNT_OF(link->kept) && one_in(4)) {
        link->kept[link->kept_count++] = buf;
    } else {
        sl_buf_unref(&storm.pool, buf);
    }
    maybe_more(link);
    storm.depth--;
}

// Something that may break a connection has happened.
static bool excused(const struct link *link) {
    return link->peer_reset || link->peer_closed || sl_sim_breaks(storm.sim) > 0;
}

static void on_end(struct sl_io_conn *io_conn, void *owner, int error) {
    struct link *link = owner;
    (void)io_conn;
    enter(link);
    CHECK(!link->closing && !link->ended && link->want != SL_RECV_OFF);
    link->ended = true;
    if (error == 0) {
        CHECK_MSG(link->peer_fin, "connection %u ends as if properly",
                  link->id);
        CHECK_INT(link->got, link->put);
    } else {
        CHECK_MSG(excused(link), "connection %u ends with %d", link->id, error);
    }
    storm.depth--;
}

static void on_sent(struct sl_io_conn *io_conn, void *owner, int64_t result) {
    struct link *link = owner;
    enter(link);
    CHECK(!link->closing && link->out && !sl_io_sending(io_conn));
    if (result < 0) {
        CHECK_MSG(excused(link), "a send of connection %u fails with %lld", link->id,
                  (long long)result);
        link->failed = true;
    } else {
        CHECK_INT(result, link->out_len);
        link->sent += (uint64_t)result;
    }
    out_free(link);
    maybe_more(link);
    storm.depth--;
}

static void on_connect(struct sl_io_conn *io_conn, void *owner, int error) {
    struct link *link = owner;
    enter(link);
    CHECK(link->connecting && !link->closing);
    link->connecting = false;
    if (error) {
        close_ours(link, false);
    } else {
        link->port = sl_sim_port(storm.sim, sl_io_fd(io_conn));
    }
    storm.depth--;
}

static void on_closed(void *owner) {
    struct link *link = owner;
    enter(link);
    CHECK(link->closing);
    link->io = NULL;
    out_free(link);
    bufs_release(link);
    storm.live--;
    storm.closed++;
    link_done(link);
    storm.depth--;
}

static const struct sl_io_handler handler = {on_data, on_end, on_sent, on_connect, on_closed};

static void link_opened(struct link *link) {
    CHECK(link->io != NULL);
    storm.live++;
    storm.opened++;
}

static void send_ours(struct link *link, size_t len) {
    link->out = malloc(len + 1);
    link->out_len = len;
    for (size_t i = 0; i < len; i++) {
        link->out[i] = byte_of(link, link->sent + i, true);
    }
    uint32_t parts = 1 + dice(3);
    size_t at = 0;
    for (uint32_t i = 0; i < parts; i++) {
        size_t n = i + 1 == parts ? len - at : dice((uint32_t)(len - at) + 1);
        link->iov[i] = (struct iovec){link->out + at, n};
        at += n;
    }
    link->msg = (struct msghdr){.msg_iov = link->iov, .msg_iovlen = parts};
    sl_io_send(storm.io, link->io, &link->msg);
}

static void act_ours(struct link *link) {
    if (!link->io || link->closing) {
        return;
    }
    switch (dice(8)) {
    case 0:
    case 1:
        wish(link, (enum sl_recv_want)dice(3));
        return;
    case 2:
    case 3:
    case 4:
        if (!link->connecting && !link->out && !link->shut && !link->failed) {
            send_ours(link, dice(one_in(20) ? SEND_MAX : 1u << dice(15)));
        }
        return;
    case 5:
        bufs_release(link);
        return;
    case 6:
        if (!link->connecting && !link->shut && one_in(20)) {
            link->shut = true;
            sl_io_shutdown(storm.io, link->io, SHUT_WR);
        }
        return;
    default:
        if (one_in(30)) {
            close_ours(link, one_in(2));
        }
    }
}

// The peer's end.

static void peer_gone(struct link *link) {
    link->peer = -1;
    link_done(link);
}

static void peer_put(struct link *link, size_t len) {
    static uint8_t bytes[1 << 16];
    len = sl_min_size(len, sizeof(bytes));
    for (size_t i = 0; i < len; i++) {
        bytes[i] = byte_of(link, link->put + i, false);
    }
    ssize_t n = sl_sim_peer_send(storm.sim, link->peer, bytes, len);
    link->put += n > 0 ? (uint64_t)n : 0;
    link->peer_ended = link->peer_ended || (n < 0 && n != -EAGAIN); // the socket tells it once
}

// Nothing must be missing before a proper end, and an abort must not look like one.
static void peer_end_check(struct link *link) {
    if (link->unix_pair) {
        return;
    }
    CHECK_MSG(link->shut || link->closing, "the peer of connection %u sees an end", link->id);
    CHECK_MSG(!link->aborted || link->shut, "an abort of connection %u looks proper", link->id);
    if (!link->dirty_close && !link->failed && !link->out) {
        CHECK_INT(link->peer_got, link->sent);
    }
}

static bool peer_take(struct link *link, size_t len) {
    static uint8_t bytes[1 << 16];
    ssize_t n = sl_sim_peer_recv(storm.sim, link->peer, bytes, sl_min_size(len, sizeof(bytes)));
    if (n > 0) {
        bytes_check(link, bytes, (size_t)n, link->peer_got, true);
        link->peer_got += (uint64_t)n;
    } else if (n == 0 && !link->peer_ended) {
        link->peer_ended = true;
        peer_end_check(link);
    }
    link->peer_ended = link->peer_ended || (n < 0 && n != -EAGAIN);
    return n > 0;
}

static void act_peer(struct link *link) {
    if (link->peer < 0 || !sl_sim_connected(storm.sim, link->peer)) {
        if (link->peer >= 0 && one_in(20)) {
            link->peer_closed = true;
            sl_sim_peer_close(storm.sim, link->peer);
            peer_gone(link);
        }
        return;
    }
    switch (dice(8)) {
    case 0:
    case 1:
    case 2:
        if (!link->peer_fin) {
            peer_put(link, 1 + dice(1u << (1 + dice(15))));
        }
        return;
    case 3:
    case 4:
    case 5:
        peer_take(link, 1 + dice(1u << (1 + dice(15))));
        return;
    case 6:
        if (!link->peer_fin && one_in(30)) {
            link->peer_fin = true;
            sl_sim_peer_shutdown(storm.sim, link->peer, SHUT_WR);
        }
        return;
    default:
        if (one_in(60)) {
            link->peer_fin = link->peer_closed = true;
            sl_sim_peer_close(storm.sim, link->peer);
            peer_gone(link);
        } else if (one_in(60)) {
            link->peer_reset = true;
            link->peer_fin = link->peer_fin || link->unix_pair; // those know no RST
            sl_sim_peer_reset(storm.sim, link->peer);
            peer_gone(link);
        }
    }
}

// Opening.

static void on_accept(void *owner, int fd) {
    (void)owner;
    CHECK_INT(storm.depth, 0);
    if (fd < 0) {
        return;
    }
    storm.accepts++;
    if (storm.ending) {
        sl_io_close_fd(storm.io, fd);
        return;
    }
    uint16_t port = sl_sim_remote_port(storm.sim, fd);
    for (int i = 0; i < LINKS; i++) {
        struct link *link = &storm.links[i];
        if (link->used && !link->io && link->port == port && port && !link->closing) {
            link->io = sl_io_conn_open(storm.io, fd, &handler, link);
            if (link->io) {
                link_opened(link);
                return;
            }
            link->shut = true; // we close it
        }
    }
    storm.strangers++; // its peer is gone, or there is no slot
    CHECK_INT(sl_io_close_fd(storm.io, fd), 0);
}

static void on_stopped(void *owner) {
    (void)owner;
    CHECK(storm.stopping);
    storm.stopping = false;
    storm.listener = -1;
}

static void listener_toggle(void) {
    if (storm.listener < 0 && !storm.stopping) {
        storm.listener = sl_io_accept_start(storm.io, storm.listen_fd, on_accept, NULL);
        CHECK(storm.listener >= 0);
    } else if (!storm.stopping) {
        storm.stopping = true;
        sl_io_accept_stop(storm.io, storm.listener, on_stopped);
    }
}

static void open_pair(struct link *link) {
    int fds[2];
    link->unix_pair = one_in(4);
    sl_sim_pair(storm.sim, link->unix_pair ? SL_SIM_UNIX : one_in(8) ? SL_SIM_BYTEWISE : SL_SIM_TCP,
                fds);
    link->peer = fds[1];
    link->io = sl_io_conn_open(storm.io, fds[0], &handler, link);
    if (link->io) {
        link_opened(link);
        return;
    }
    sl_io_close_fd(storm.io, fds[0]);
    sl_sim_peer_close(storm.sim, link->peer);
    peer_gone(link);
}

static void open_link(void) {
    struct link *link = link_free();
    if (!link) {
        return;
    }
    switch (dice(3)) {
    case 0:
        open_pair(link);
        return;
    case 1:
        link->peer = sl_sim_peer_connect(storm.sim, &storm.here);
        if (link->peer < 0) {
            peer_gone(link);
        } else {
            link->port = sl_sim_port(storm.sim, link->peer);
        }
        return;
    default:
        link->connecting = true;
        link->io = sl_io_connect(storm.io, (struct sockaddr *)&storm.there, sizeof(storm.there),
                                 &handler, link);
        if (link->io) {
            link_opened(link);
        }
        link_done(link);
    }
}

// What the peers accept belongs to a connection that may not know it yet, or is gone. True: settled.
static bool orphan_settle(int peer) {
    uint16_t port = sl_sim_remote_port(storm.sim, peer);
    bool may_come = false;
    for (int i = 0; i < LINKS; i++) {
        struct link *link = &storm.links[i];
        may_come = may_come || (link->io && link->connecting);
        if (link->io && !link->connecting && link->peer < 0 && link->port == port) {
            link->peer = peer;
            return true;
        }
    }
    if (!may_come) {
        sl_sim_peer_close(storm.sim, peer);
    }
    return !may_come;
}

static void peers_accept(void) {
    int peer = storm.orphan_count < SL_COUNT_OF(storm.orphans)
                   ? sl_sim_peer_accept(storm.sim, storm.peer_listen_fd)
                   : -EAGAIN;
    if (peer >= 0) {
        storm.orphans[storm.orphan_count++] = peer;
    }
    for (uint32_t i = 0; i < storm.orphan_count; i++) {
        if (orphan_settle(storm.orphans[i])) {
            storm.orphans[i--] = storm.orphans[--storm.orphan_count];
        }
    }
}

// Runs.

static void turn(uint64_t wait_ns) {
    CHECK(sl_io_poll(storm.io, wait_ns) >= 0);
    CHECK_INT(storm.depth, 0);
    for (int g = 0; g < SL_BUF_GROUPS; g++) {
        CHECK(storm.pool.free_count[g] + storm.pool.kernel_count[g] <= storm.pool.count[g]);
    }
    CHECK_INT(storm.opened, storm.closed + storm.live);
}

static bool storm_open(int kind, uint64_t seed, struct sl_sim_config sim_config) {
    memset(&storm, 0, sizeof(storm));
    snprintf(replay, sizeof(replay),
             "replay (%llu events passed before): SLUICE_SIM_SEED=%llu ./sim_test %s\n",
             (unsigned long long)events_passed, (unsigned long long)seed, running);
    dice_state = seed * 0x9e3779b97f4a7c15ull | 1;
    for (int i = 0; i < LINKS; i++) {
        storm.links[i].peer = -1;
    }
    storm.kind = kind;
    storm.seed = seed;
    sim_config.replay = replay;
    storm.sim = sl_sim_new(&sim_config);
    storm.sys = sl_sim_sys(storm.sim);
    uint32_t counts[SL_BUF_GROUPS] = {1 + dice(64), 1 + dice(8), 1, 1};
    CHECK_INT(sl_buf_pool_init(&storm.pool, counts), SL_OK);
    struct sl_io_config config = {kind, 1 + dice(LINKS + 8), &storm.pool, &storm.counters,
                                  storm.sys};
    int status = sl_io_open(&storm.io, &config);
    if (status == SL_E_SYSTEM && kind == SL_IO_EPOLL) { // the eventfd could not be watched
        sl_buf_pool_deinit(&storm.pool);
        CHECK_INT(sl_sim_fds(storm.sim), 0);
        sl_sim_free(storm.sim);
        return false;
    }
    CHECK_MSG(status == SL_OK, "%s", sl_fail_text());
    storm.listen_fd = sl_sim_listen(storm.sim, &storm.here, (int)dice(20));
    storm.peer_listen_fd = sl_sim_peer_listen(storm.sim, &storm.there, (int)dice(20));
    storm.listener = -1;
    return true;
}

static bool wake_shows(void) {
    storm.woken = storm.woken && storm.counters.io_wakes == storm.wakes_seen;
    return !storm.woken;
}

static void wake(void) {
    if (wake_shows()) {
        storm.woken = true;
        storm.wakes_seen = storm.counters.io_wakes;
    }
    sl_io_wake(storm.io);
}

static void rage(uint32_t turns) {
    for (uint32_t i = 0; i < turns && !test_failures; i++) {
        for (int k = 0; k < 6; k++) {
            act_ours(&storm.links[dice(LINKS)]);
            act_peer(&storm.links[dice(LINKS)]);
        }
        if (one_in(3)) {
            open_link();
        }
        if (one_in(60) || (storm.listener < 0 && one_in(8))) {
            listener_toggle();
        }
        if (one_in(30)) {
            wake();
        }
        peers_accept();
        turn(one_in(4) ? dice(3000000) : 0);
    }
}

static void undelivered_show(void);

static uint64_t progress(void) {
    uint64_t sum = storm.closed + storm.accepts;
    for (int i = 0; i < LINKS; i++) {
        sum += storm.links[i].got + storm.links[i].peer_got;
    }
    return sum;
}

// No more faults: whatever is under way must come to its end, each part of it within so many turns (a SYN is sent again after up to 32 s).
static bool until(bool (*done)(void), const char *what) {
    uint64_t before = progress();
    for (int quiet = 0; quiet < 20000 && !test_failures; quiet++) {
        if (done()) {
            return true;
        }
        turn(10 * MS);
        quiet = progress() == before ? quiet : 0;
        before = progress();
    }
    CHECK_MSG(false, "never: %s", what);
    undelivered_show();
    return false;
}

static bool link_delivered(const struct link *link) {
    if (!link->io || link->closing) {
        return true;
    }
    bool gone = link->peer < 0 || !sl_sim_connected(storm.sim, link->peer);
    bool reset = !link->unix_pair && !link->connecting &&
                 !sl_sim_connected(storm.sim, sl_io_fd(link->io)); // we must hear of it
    bool ours = reset ? link->ended : gone || link->ended || link->got == link->put;
    bool theirs = gone || link->failed || link->ended || link->peer_ended ||
                  link->peer_got == link->sent;
    return !link->connecting && !link->out && ours && theirs;
}

static bool all_delivered(void) {
    bool all = true;
    peers_accept();
    for (int i = 0; i < LINKS; i++) {
        struct link *link = &storm.links[i];
        while (link->peer >= 0 && peer_take(link, 1 << 16)) {
        }
        if (link->io && !link->closing && !link->connecting) {
            bufs_release(link);
            wish(link, SL_RECV_STREAM);
        }
        all = all && link_delivered(link);
    }
    return wake_shows() && all;
}

static void undelivered_show(void) {
    for (int i = 0; i < LINKS; i++) {
        const struct link *link = &storm.links[i];
        if (!link_delivered(link)) {
            printf("  connection %u: got %llu of %llu, sent %llu (%zu in flight), peer got %llu%s%s\n",
                   link->id, (unsigned long long)link->got, (unsigned long long)link->put,
                   (unsigned long long)link->sent, link->out ? link->out_len : 0,
                   (unsigned long long)link->peer_got, link->connecting ? ", connecting" : "",
                   link->ended ? ", ended" : "");
        }
    }
}

static bool all_closed(void) { return storm.live == 0; }
static bool accept_stopped(void) { return storm.listener < 0 && !storm.stopping; }

static void quiet_check(void) {
    for (int i = 0; i < 20; i++) {
        turn(0);
    }
    CHECK_INT(sl_buf_lent(&storm.pool), 0);
    CHECK_INT(storm.counters.io_starved, 0);
    if (storm.kind == SL_IO_URING) { // what we believe to be armed is armed: ours, and the wake
        CHECK_INT(storm.counters.io_ops_armed + 1, sl_sim_armed(storm.sim));
    }
}

static void end_all(void) {
    storm.ending = true;
    for (int i = 0; i < LINKS; i++) {
        struct link *link = &storm.links[i];
        if (link->io && !link->closing) {
            close_ours(link, one_in(3));
        }
    }
    bool stop = storm.listener >= 0 && !storm.stopping && one_in(2);
    if (stop) {
        listener_toggle();
    }
    if (!until(all_closed, "every connection closed") ||
        (stop && !until(accept_stopped, "the listener stopped"))) {
        return;
    }
    quiet_check();
    CHECK_INT(storm.counters.io_stale_cqes, 0);
    sl_io_free(storm.io);
    CHECK_INT(storm.counters.io_ops_armed, 0);
    CHECK_INT(sl_sim_armed(storm.sim), 0);
    for (int g = 0; g < SL_BUF_GROUPS; g++) {
        CHECK_INT(storm.pool.free_count[g], storm.pool.count[g]);
    }
    storm.sys->close(storm.sys, storm.listen_fd);
    CHECK_INT(sl_sim_fds(storm.sim), 0);
    sl_buf_pool_deinit(&storm.pool);
    sl_sim_free(storm.sim);
}

static void on_abort(int signal_number) {
    (void)signal_number;
    ssize_t rc = write(2, replay, strlen(replay));
    (void)rc;
}

static uint64_t run_seed(int kind, uint64_t seed) {
    struct sl_sim_config config = {.seed = seed, .stormy = seed % 10 != 0};
    if (!storm_open(kind, seed, config)) {
        return 0;
    }
    bool delivered = true;
    for (int i = 0; i < 4 && delivered; i++) { // a storm, and then all must arrive: three times with the faults going on
        rage(800);
        if (i == 3) {
            sl_sim_calm(storm.sim);
        }
        delivered = !test_failures && until(all_delivered, "everything sent is received");
    }
    uint64_t seen = sl_sim_events(storm.sim);
    if (delivered) {
        end_all();
    }
    if (test_failures) {
        printf("  seed %llu, %llu events. %s", (unsigned long long)seed,
               (unsigned long long)seen, replay);
    }
    return seen;
}

static uint64_t fresh_seed(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * SEC + (uint64_t)ts.tv_nsec;
}

static void storms(int kind) {
    const char *given = getenv("SLUICE_SIM_SEED");
    uint64_t goal = EVENTS_PER_BACKEND * (getenv("SLUICE_SOAK") ? 30 : 1);
    uint64_t fresh = fresh_seed();
    running = kind == SL_IO_URING ? "storms_on_uring" : "storms_on_epoll";
    signal(SIGABRT, on_abort);
    if (given) {
        uint64_t all = run_seed(kind, strtoull(given, NULL, 10));
        printf("# %llu simulated events\n", (unsigned long long)all);
        return;
    }
    uint32_t seeds = 0;
    events_passed = 0;
    for (; (events_passed < goal || seeds <= FIXED_SEEDS) && !test_failures; seeds++) {
        events_passed += run_seed(kind, seeds < FIXED_SEEDS ? seeds + 1 : fresh + seeds);
    }
    printf("# %s: %llu simulated events from %u seeds, the last one %llu\n", sl_io_kind_name(kind),
           (unsigned long long)events_passed, seeds, (unsigned long long)storm.seed);
    signal(SIGABRT, SIG_DFL);
}

// Sockets that hold `bytes` cut whatever passes at each multiple of that: together, at every byte.
static void transfer_through(int kind, uint32_t bytes) {
    struct sl_sim_config config = {.seed = bytes, .send_bytes = bytes, .receive_bytes = bytes};
    REQUIRE(storm_open(kind, bytes, config));
    storm.tame = true;
    struct link *link = link_free();
    link->peer = sl_sim_peer_connect(storm.sim, &storm.here);
    link->port = sl_sim_port(storm.sim, link->peer);
    listener_toggle();
    for (int i = 0; i < 100 && !link->io; i++) {
        turn(0);
    }
    REQUIRE(link->io);
    send_ours(link, 200);
    while (link->put < 200 && !test_failures) {
        peer_put(link, 200 - link->put);
        CHECK(until(all_delivered, "what fits"));
    }
    CHECK_INT(link->got, 200);
    CHECK_INT(link->peer_got, 200);
    end_all();
}

TEST(a_transfer_through_buffers_of_every_size) {
    for (uint32_t bytes = 1; bytes <= 200 && !test_failures; bytes++) {
        transfer_through(SL_IO_URING, bytes);
        transfer_through(SL_IO_EPOLL, bytes);
    }
}

static bool script_puts(void *owner) {
    struct link *link = owner;
    bool more = link->put < 3;
    if (more) {
        peer_put(link, 1);
    }
    return more;
}

// The loop sleeps without a limit; the script is what wakes it, on the same thread.
TEST(a_script_acts_when_the_loop_would_sleep) {
    for (int kind = SL_IO_URING; kind <= SL_IO_EPOLL; kind++) {
        REQUIRE(storm_open(kind, 1, (struct sl_sim_config){.seed = 1}));
        storm.tame = true;
        struct link *link = link_free();
        open_pair(link);
        wish(link, SL_RECV_STREAM);
        sl_sim_on_sleep(storm.sim, script_puts, link);
        for (int i = 0; i < 10 && link->got < 3; i++) {
            turn(UINT64_MAX);
            wish(link, SL_RECV_STREAM);
        }
        CHECK_INT(link->got, 3);
        sl_sim_on_sleep(storm.sim, NULL, NULL);
        end_all();
    }
}

TEST(a_seed_means_the_same_each_time) {
    for (int kind = SL_IO_URING; kind <= SL_IO_EPOLL; kind++) {
        uint64_t first = run_seed(kind, 77);
        CHECK_INT(run_seed(kind, 77), first);
        CHECK(first > 1000);
    }
}

// What goes wrong while a ring is opened goes wrong once in a run: so, many short ones.
TEST(rings_open_whatever_goes_wrong) {
    const char *given = getenv("SLUICE_SIM_SEED");
    uint64_t first = given ? strtoull(given, NULL, 10) : 1, last = given ? first : 500;
    signal(SIGABRT, on_abort);
    running = "rings_open";
    events_passed = 0;
    for (uint64_t seed = first; seed <= last && !test_failures; seed++) {
        REQUIRE(storm_open(SL_IO_URING, seed, (struct sl_sim_config){.seed = seed, .stormy = true}));
        for (int i = 0; i < 5; i++) {
            turn(MS);
        }
        events_passed += sl_sim_events(storm.sim);
        sl_sim_calm(storm.sim);
        end_all();
        CHECK_MSG(!test_failures, "seed %llu. %s", (unsigned long long)seed, replay);
    }
    signal(SIGABRT, SIG_DFL);
}

TEST(storms_on_uring) { storms(SL_IO_URING); }
TEST(storms_on_epoll) { storms(SL_IO_EPOLL); }
