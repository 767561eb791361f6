// One table of scenarios, run on every backend through the public interface alone, on the real kernel and on a simulated one (sim.h), with the
// same trace. Each ends with closed books: no operation armed, no buffer lent, no slot taken, no descriptor left.
#include "io.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "balance.h"
#include "sim.h"
#include "sluice/sluice.h"
#include "test.h"

#define MS SL_NS_PER_MS
#define SEC SL_NS_PER_S

// World: a loop, its connections, and what was seen.

struct world {
    int kind;
    struct sl_sim *sim;       // NULL: the real kernel
    const struct sl_sys *sys; // of our side
    struct sl_io *io;
    struct sl_buf_pool pool;
    struct sl_counters counters;
    uint32_t conns_max;
    int live;     // connections whose on_closed has not come
    int depth;    // of callbacks
    int fds;      // open descriptors before (of the process)
    bool stuck;   // a wait took too long
    char trace[4096];
    size_t trace_len;
    char trace_data; // the connection whose data the trace's last line shows
};

// A connection under test; static in the scenarios, because on_closed may come after them. Data is traced ("a<hello"), or compared with the pattern if quiet.
struct end {
    struct world *w;
    struct sl_io_conn *io;
    char name;
    bool quiet, keep; // keep: loans are held in `kept`
    bool connected, ended, closed;
    uint8_t want; // as told last; ONCE falls to OFF
    int parts;    // on_data calls
    int sends;    // on_sent calls
    int64_t sent; // the last result
    int end_error, connect_error;
    uint64_t got; // bytes
    struct sl_buf *kept[64];
    int kept_count;
    struct msghdr msg;
    struct iovec iov[4];
    void (*then)(struct end *end, char event); // after an event: d data, e end, s sent, c connected
};

TEST_UNTRACED static uint8_t pattern(uint64_t i) { return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16)); }

TEST_UNTRACED static bool is_pattern(const uint8_t *data, size_t len, uint64_t from) {
    for (size_t i = 0; i < len; i++) {
        if (data[i] != pattern(from + i)) {
            return false;
        }
    }
    return true;
}

static void trace(struct world *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    size_t room = sizeof(w->trace) - w->trace_len;
    int n = vsnprintf(w->trace + w->trace_len, room, format, args);
    va_end(args);
    w->trace_len += sl_min_size((size_t)n, room - 1);
}

static void trace_event(struct end *end, const char *event, int64_t value) {
    if (!end->quiet) {
        trace(end->w, end->w->trace_data ? "\n%c %s %lld\n" : "%c %s %lld\n", end->name, event,
              (long long)value);
        end->w->trace_data = 0;
    }
}

// How data is cut into parts is the network's affair, so consecutive parts are one line.
static void trace_bytes(struct end *end, const uint8_t *data, uint32_t len) {
    struct world *w = end->w;
    if (w->trace_data != end->name) {
        trace(w, w->trace_data ? "\n%c<" : "%c<", end->name);
        w->trace_data = end->name;
    }
    trace(w, "%.*s", (int)len, (const char *)data);
}

static const char *traced(struct world *w) {
    if (w->trace_data) {
        trace(w, "\n");
        w->trace_data = 0;
    }
    return w->trace;
}

static void enter(struct end *end) {
    CHECK_INT(end->w->depth++, 0); // callbacks never nest
    CHECK(!end->closed);
}

static void leave(struct end *end, char event) {
    if (end->then) {
        end->then(end, event);
    }
    end->w->depth--;
}

static void on_data(struct sl_io_conn *io_conn, void *owner, struct sl_buf *buf, uint32_t len) {
    struct end *end = owner;
    enter(end);
    CHECK(io_conn == end->io);
    CHECK(!end->ended);
    CHECK(end->want != SL_RECV_OFF);
    CHECK(len > 0 && len <= buf->cap);
    CHECK_INT(buf->refs, 1);
    end->want = end->want == SL_RECV_ONCE ? SL_RECV_OFF : end->want;
    end->parts++;
    if (end->quiet) {
        CHECK(is_pattern(buf->data, len, end->got));
    } else {
        trace_bytes(end, buf->data, len);
    }
    end->got += len;
    if (end->keep) {
        end->kept[end->kept_count++] = buf;
    } else {
        sl_buf_unref(&end->w->pool, buf);
    }
    leave(end, 'd');
}

static void on_end(struct sl_io_conn *io_conn, void *owner, int error) {
    struct end *end = owner;
    (void)io_conn;
    enter(end);
    CHECK(!end->ended);
    end->ended = true;
    end->end_error = error;
    trace_event(end, "end", error);
    leave(end, 'e');
}

static void on_sent(struct sl_io_conn *io_conn, void *owner, int64_t result) {
    struct end *end = owner;
    enter(end);
    CHECK(!sl_io_sending(io_conn));
    end->sends++;
    end->sent = result;
    trace_event(end, "sent", result);
    leave(end, 's');
}

static void on_connect(struct sl_io_conn *io_conn, void *owner, int error) {
    struct end *end = owner;
    (void)io_conn;
    enter(end);
    CHECK(!end->connected);
    end->connected = true;
    end->connect_error = error;
    trace_event(end, "connect", error);
    leave(end, 'c');
}

static void on_closed(void *owner) {
    struct end *end = owner;
    enter(end);
    trace_event(end, "closed", 0);
    end->closed = true;
    end->io = NULL;
    end->w->live--;
    end->w->depth--;
}

static const struct sl_io_handler handler = {on_data, on_end, on_sent, on_connect, on_closed};

static void end_init(struct world *w, struct end *end, char name) {
    *end = (struct end){.w = w, .name = name};
}

static bool end_open(struct world *w, struct end *end, char name, int fd) {
    end_init(w, end, name);
    end->io = sl_io_conn_open(w->io, fd, &handler, end);
    w->live += end->io != NULL;
    return end->io != NULL;
}

static void want(struct end *end, enum sl_recv_want wish) {
    end->want = (uint8_t)wish;
    sl_io_recv(end->w->io, end->io, wish);
}

static void send_bytes(struct end *end, const void *data, size_t len) {
    end->iov[0] = (struct iovec){(void *)(uintptr_t)data, len};
    end->msg = (struct msghdr){.msg_iov = end->iov, .msg_iovlen = 1};
    sl_io_send(end->w->io, end->io, &end->msg);
    CHECK(sl_io_sending(end->io));
}

static void send_text(struct end *end, const char *text) { send_bytes(end, text, strlen(text)); }

static void close_end(struct end *end) { sl_io_close(end->w->io, end->io); }

static void release_kept(struct end *end) {
    while (end->kept_count > 0) {
        sl_buf_unref(&end->w->pool, end->kept[--end->kept_count]);
    }
}

// Time.

static uint64_t clock_now(const struct world *w) { return w->sys->now_ns(w->sys); }

static void step(struct world *w, uint64_t until_ns, const char *what, int line) {
    int n = sl_io_poll(w->io, 1 * MS);
    CHECK_MSG(n >= 0, "poll: %d %s", n, sl_fail_text());
    CHECK_INT(w->depth, 0);
    if (n < 0 || sl_io_now_ns(w->io) > until_ns) {
        CHECK_MSG(false, "line %d: still waiting for %s", line, what);
        w->stuck = true;
    }
}

// Turns the loop until it is true; ten seconds mean never.
#define UNTIL(w, expr)                                                                             \
    for (uint64_t until_ns = clock_now(w) + 10 * SEC; !(w)->stuck && !(expr);                       \
         step(w, until_ns, #expr, __LINE__))

// Turns the loop while there is anything to do: for what must not happen.
static void settle(struct world *w) {
    for (int quiet = 0, turns = 0; quiet < 3 && turns < 1000; turns++) {
        int n = sl_io_poll(w->io, 0);
        CHECK(n >= 0);
        quiet = n == 0 ? quiet + 1 : 0;
    }
}

// Peers: descriptors of the real kernel, or of the simulated one.

// The kernel's helper threads of io_uring: an operation that needs one costs more than it saves.
static int kernel_workers(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file) {
            count += fgets(name, sizeof(name), file) && strncmp(name, "iou-wrk", 7) == 0;
            fclose(file);
        }
    }
    closedir(dir);
    return count;
}

static struct sockaddr_in loopback(void) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

// On our side.
static int listen_here(struct world *w, struct sockaddr_in *out_addr, int backlog) {
    int fd = w->sys->socket(w->sys, AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = loopback();
    socklen_t len = sizeof(addr);
    if (w->sys->bind(w->sys, fd, (struct sockaddr *)&addr, len) != 0 ||
        w->sys->listen(w->sys, fd, backlog) != 0 ||
        w->sys->getsockname(w->sys, fd, (struct sockaddr *)out_addr, &len) != 0) {
        abort();
    }
    return fd;
}

static void close_here(struct world *w, int fd) { w->sys->close(w->sys, fd); }

static int listen_there(struct world *w, struct sockaddr_in *out_addr, int backlog) {
    if (w->sim) {
        return sl_sim_peer_listen(w->sim, out_addr, backlog);
    }
    return listen_here(w, out_addr, backlog);
}

static int peer_accept(struct world *w, int listener) {
    return w->sim ? sl_sim_peer_accept(w->sim, listener)
                  : accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

static void peer_close(struct world *w, int fd) {
    if (w->sim) {
        sl_sim_peer_close(w->sim, fd);
    } else {
        close(fd);
    }
}

static int connect_to(struct world *w, const struct sockaddr_in *addr) {
    if (w->sim) {
        return sl_sim_peer_connect(w->sim, addr);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0) {
        abort();
    }
    return fd;
}

// BYTEWISE: each byte is received alone.
enum link { UNIX, TCP, BYTEWISE };

static void pair(struct world *w, enum link link, int out_fds[2]) {
    static const enum sl_sim_link links[] = {SL_SIM_UNIX, SL_SIM_TCP, SL_SIM_BYTEWISE};
    if (w->sim) {
        sl_sim_pair(w->sim, links[link], out_fds);
        return;
    }
    if (link == TCP) {
        struct sockaddr_in addr;
        int listener = listen_there(w, &addr, 8);
        out_fds[1] = connect_to(w, &addr);
        out_fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        close(listener);
    } else if (socketpair(AF_UNIX, (link == UNIX ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, 0,
                          out_fds) != 0) {
        abort();
    }
    fcntl(out_fds[0], F_SETFL, fcntl(out_fds[0], F_GETFL) | O_NONBLOCK);
}

// Opens one end on the loop; returns the other.
static int open_pair(struct world *w, struct end *end, char name, enum link link) {
    int fds[2];
    pair(w, link, fds);
    CHECK(end_open(w, end, name, fds[0]));
    return fds[1];
}

// Bytes taken, or negative errno. A real peer waits for room unless it was told not to.
static ssize_t peer_put(struct world *w, int fd, const void *data, size_t len) {
    if (w->sim) {
        return sl_sim_peer_send(w->sim, fd, data, len);
    }
    ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

static void peer_never_waits(struct world *w, int fd) {
    if (!w->sim) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
    }
}

static void peer_write(struct world *w, int fd, const char *text) {
    CHECK_INT(peer_put(w, fd, text, strlen(text)), strlen(text));
}

static void peer_shut(struct world *w, int fd) { // of its sending side
    CHECK_INT(w->sim ? sl_sim_peer_shutdown(w->sim, fd, SHUT_WR) : shutdown(fd, SHUT_WR), 0);
}

static void peer_reset(struct world *w, int fd) {
    if (w->sim) {
        sl_sim_peer_reset(w->sim, fd);
        return;
    }
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

// What recv on the peer says, without waiting: bytes, 0, or negative errno.
static ssize_t peer_try(struct world *w, int fd, void *out, size_t len) {
    if (w->sim) {
        return sl_sim_peer_recv(w->sim, fd, out, len);
    }
    ssize_t n = recv(fd, out, len, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

// The same, but waits up to five seconds.
static ssize_t peer_recv(struct world *w, int fd, void *out, size_t len) {
    if (w->sim) {
        for (int ms = 0; ms < 5000; ms++) {
            ssize_t n = peer_try(w, fd, out, len);
            if (n != -EAGAIN) {
                return n;
            }
            sl_sim_advance(w->sim, MS);
        }
        return -ETIME;
    }
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    return poll(&pollfd, 1, 5000) == 1 ? peer_try(w, fd, out, len) : -ETIME;
}

static const char *peer_text(struct world *w, int fd) {
    static char text[256];
    ssize_t n = peer_recv(w, fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    return text;
}

// Reads to the end; returns how it ended: 0 or negative errno.
static ssize_t peer_end(struct world *w, int fd) {
    static uint8_t bytes[65536];
    for (;;) {
        ssize_t n = peer_recv(w, fd, bytes, sizeof(bytes));
        if (n <= 0) {
            return n;
        }
    }
}

// Runs.

struct sizes {
    uint32_t heads, bodies, conns;
};

static bool world_open(struct world *w, int kind, struct sl_sim *sim, struct sizes sizes) {
    memset(w, 0, sizeof(*w));
    w->kind = kind;
    w->sim = sim;
    w->sys = sim ? sl_sim_sys(sim) : &sl_sys_kernel;
    w->fds = open_fds();
    w->conns_max = sizes.conns;
    uint32_t counts[SL_BUF_GROUPS] = {sizes.heads, sizes.bodies, 1, 1};
    if (sl_buf_pool_init(&w->pool, counts) != SL_OK) {
        return false;
    }
    struct sl_io_config config = {kind, sizes.conns, &w->pool, &w->counters, w->sys};
    int status = sl_io_open(&w->io, &config);
    CHECK_MSG(status == SL_OK, "%d: %s", status, sl_fail_text());
    if (status != SL_OK) {
        sl_buf_pool_deinit(&w->pool);
    }
    return status == SL_OK;
}

static void world_close(struct world *w) {
    UNTIL(w, w->live == 0);
    if (w->stuck) {
        return; // freeing would only assert
    }
    settle(w);
    check_nothing_left(&w->counters);
    CHECK_INT(sl_buf_lent(&w->pool), 0);
    CHECK_INT(kernel_workers(), 0);
    sl_io_free(w->io); // asserts that every slot is free
    sl_buf_pool_deinit(&w->pool);
    if (w->sim) {
        CHECK_INT(sl_sim_fds(w->sim), 0);
        CHECK_INT(sl_sim_armed(w->sim), 0);
        sl_sim_free(w->sim);
    }
    CHECK_INT(open_fds(), w->fds);
}

// The table: a row is a scenario on a backend. The traces of a scenario's rows are compared with each other.
enum backend { EPOLL, SIM_EPOLL, URING, SIM_URING, BACKENDS };
static const char *const backend_names[] = {"epoll", "simulated epoll", "uring",
                                            "simulated uring"};
struct scenario {
    const char *name;
    void (*run)(struct world *w);
    struct sizes sizes;
    bool varies; // its trace depends on time, or is only a part
    char trace[4096];
};
static int rows[BACKENDS];

static void run(enum backend backend, struct scenario *scenario) {
    static char reason[256];
    static struct world w;
    bool uring = backend == URING || backend == SIM_URING;
    bool simulated = backend == SIM_EPOLL || backend == SIM_URING;
    if (backend == URING && sl_io_probe(SL_IO_AUTO, reason, sizeof(reason)) != SL_IO_URING) {
        SKIP(reason);
    }
    struct sl_sim *sim = simulated ? sl_sim_new(&(struct sl_sim_config){.seed = 1}) : NULL;
    REQUIRE(world_open(&w, uring ? SL_IO_URING : SL_IO_EPOLL, sim, scenario->sizes));
    scenario->run(&w);
    world_close(&w);
    rows[backend]++;
    if (!scenario->varies && scenario->trace[0]) {
        CHECK_STR(traced(&w), scenario->trace);
    }
    snprintf(scenario->trace, sizeof(scenario->trace), "%s", traced(&w));
}

#define ROW(backend, prefix, name)                                                                 \
    TEST(prefix##_##name) { run(backend, &scenario_##name); }
#ifdef CQ_ENTRIES // uring_small_test.c: that one only
#define EPOLL_ROW(backend, prefix, name)
#else
#define EPOLL_ROW(backend, prefix, name) ROW(backend, prefix, name)
#endif
#define SCENARIO_ON_KERNEL(name, vary, ...)                                                        \
    static void name(struct world *w);                                                             \
    static struct scenario scenario_##name = {#name, name, {__VA_ARGS__}, vary, ""};               \
    EPOLL_ROW(EPOLL, epoll, name)                                                                  \
    ROW(URING, uring, name)
#define SCENARIO_EVERYWHERE(name, vary, ...)                                                       \
    SCENARIO_ON_KERNEL(name, vary, __VA_ARGS__)                                                    \
    EPOLL_ROW(SIM_EPOLL, sim_epoll, name)                                                          \
    ROW(SIM_URING, sim_uring, name)                                                                \
    static void name(struct world *w)
#define SCENARIO_WITH(name, ...) SCENARIO_EVERYWHERE(name, false, __VA_ARGS__)
#define SCENARIO(name) SCENARIO_WITH(name, 64, 8, 64)
// The order of events depends on how things fall.
#define SCENARIO_THAT_VARIES(name, ...) SCENARIO_EVERYWHERE(name, true, __VA_ARGS__)
// Needs threads, which the simulated kernel has none of.
#define SCENARIO_WITH_THREADS(name)                                                                \
    SCENARIO_ON_KERNEL(name, false, 64, 8, 64)                                                     \
    static void name(struct world *w)

// Receiving and sending.

static void echo_then(struct end *end, char event) {
    if (event == 'd' && !sl_io_sending(end->io)) {
        struct sl_buf *buf = end->kept[end->kept_count - 1];
        send_bytes(end, buf->data, buf->end);
    } else if (event == 's') {
        release_kept(end);
    } else if (event == 'e') {
        close_end(end);
    }
}

static void echo_over(struct world *w, enum link link) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', link);
    a.keep = true;
    a.then = echo_then;
    want(&a, SL_RECV_STREAM);
    for (int i = 0; i < 3; i++) {
        peer_write(w, peer, "hello");
        UNTIL(w, a.sends == i + 1);
        CHECK_STR(peer_text(w, peer), "hello");
    }
    peer_close(w, peer);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a<hello\na sent 5\na<hello\na sent 5\na<hello\na sent 5\n"
                         "a end 0\na closed 0\n");
}
SCENARIO(echo_over_a_socket_pair) { echo_over(w, UNIX); }
SCENARIO(echo_over_tcp) { echo_over(w, TCP); }

SCENARIO(a_message_split_at_every_byte_arrives_in_order) {
    static const char text[] = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
        static struct end a;
        int peer = open_pair(w, &a, 'a', cut % 2 ? TCP : UNIX);
        w->trace_len = 0;
        want(&a, SL_RECV_STREAM);
        CHECK_INT(peer_put(w, peer, text, cut), cut);
        UNTIL(w, a.got == cut);
        peer_write(w, peer, text + cut);
        UNTIL(w, a.got == sizeof(text) - 1);
        CHECK_INT(a.parts, 2);
        peer_close(w, peer);
        UNTIL(w, a.ended);
        close_end(&a);
        UNTIL(w, a.closed);
        CHECK_STR(traced(w), "a<GET /hello HTTP/1.1\r\nHost: x\r\n\r\n\na end 0\na closed 0\n");
    }
}

SCENARIO(a_message_whose_parts_are_cut_at_every_byte_is_sent_in_order) {
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    const size_t len = sizeof(text) - 1;
    for (size_t cut = 0; cut <= len; cut++) {
        static struct end a;
        int peer = open_pair(w, &a, 'a', cut % 2 ? TCP : UNIX);
        w->trace_len = 0;
        a.iov[0] = (struct iovec){(void *)(uintptr_t)text, cut};
        a.iov[1] = (struct iovec){(void *)(uintptr_t)(text + cut), len - cut};
        a.msg = (struct msghdr){.msg_iov = a.iov, .msg_iovlen = 2};
        sl_io_send(w->io, a.io, &a.msg);
        UNTIL(w, a.sends == 1);
        CHECK_STR(peer_text(w, peer), text);
        close_end(&a);
        UNTIL(w, a.closed);
        peer_close(w, peer);
        CHECK_STR(traced(w), "a sent 40\na closed 0\n");
    }
}

SCENARIO(pipelined_messages_arrive_in_order) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    want(&a, SL_RECV_STREAM);
    settle(w);
    for (int i = 0; i < 100; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%02d,", i);
        peer_write(w, peer, text);
    }
    UNTIL(w, a.got == 300);
    for (int i = 0; i < 100; i++) {
        CHECK_INT(atoi(w->trace + 2 + 3 * i), i);
    }
    peer_close(w, peer);
    close_end(&a);
}

// Many times the socket's buffer, in uneven pieces, while the reader takes small bites.
static uint8_t large[6 << 20];

TEST_UNTRACED static void large_fill(void) {
    for (size_t i = 0; i < sizeof(large); i++) {
        large[i] = pattern(i);
    }
}

static void send_large(struct end *end) {
    size_t cuts[5] = {0, 1, 4096, 3 << 20, sizeof(large)};
    for (int i = 0; i < 4; i++) {
        end->iov[i] = (struct iovec){large + cuts[i], cuts[i + 1] - cuts[i]};
    }
    end->msg = (struct msghdr){.msg_iov = end->iov, .msg_iovlen = 4};
    sl_io_send(end->w->io, end->io, &end->msg);
}

// One bite; returns whether it was as it should be.
static bool bite(struct world *w, int peer, uint64_t *got) {
    static uint8_t bytes[65536];
    ssize_t n = peer_try(w, peer, bytes, sizeof(bytes));
    if (n > 0 && !is_pattern(bytes, (size_t)n, *got)) {
        return false;
    }
    *got += n > 0 ? (uint64_t)n : 0;
    return n > 0 || n == -EAGAIN;
}

static void large_send_over(struct world *w, enum link link) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', link);
    uint64_t got = 0;
    large_fill();
    settle(w);
    uint64_t sqes = w->counters.io_sqes;
    send_large(&a);
    settle(w);
    CHECK_INT(a.sends, 0); // it does not fit, and nobody has read
    CHECK(sl_io_sending(a.io));
    UNTIL(w, !bite(w, peer, &got) || got == sizeof(large));
    CHECK_INT(got, sizeof(large));
    UNTIL(w, a.sends > 0);
    CHECK_INT(w->counters.io_sqes - sqes, 1); // whoever waits for room, it is one operation
    CHECK_STR(traced(w), "a sent 6291456\n");
    close_end(&a);
    peer_close(w, peer);
}
SCENARIO(a_large_send_to_a_slow_reader_over_tcp) { large_send_over(w, TCP); }
SCENARIO(a_large_send_to_a_slow_reader_over_a_socket_pair) { large_send_over(w, UNIX); }

// The other way: more than all buffers together.
SCENARIO(a_large_upload_arrives_whole) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    peer_never_waits(w, peer);
    a.quiet = true;
    large_fill();
    want(&a, SL_RECV_STREAM);
    size_t put = 0;
    UNTIL(w, a.got == sizeof(large)) {
        ssize_t n = peer_put(w, peer, large + put, sizeof(large) - put);
        put += n > 0 ? (size_t)n : 0;
    }
    peer_close(w, peer);
    UNTIL(w, a.ended);
    CHECK_INT(a.end_error, 0);
    close_end(&a);
}

static void once_more(struct end *end, char event) {
    if (event == 'd') {
        want(end, SL_RECV_ONCE);
    }
}

SCENARIO(a_large_upload_part_by_part) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    peer_never_waits(w, peer);
    a.quiet = true;
    a.then = once_more;
    large_fill();
    want(&a, SL_RECV_ONCE);
    size_t put = 0;
    UNTIL(w, a.got == sizeof(large)) {
        ssize_t n = peer_put(w, peer, large + put, sizeof(large) - put);
        put += n > 0 ? (size_t)n : 0;
    }
    peer_close(w, peer);
    UNTIL(w, a.ended);
    close_end(&a);
}

SCENARIO(an_empty_message_is_sent_at_once) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    send_bytes(&a, "", 0);
    UNTIL(w, a.sends == 1);
    send_text(&a, "x");
    UNTIL(w, a.sends == 2);
    CHECK_STR(peer_text(w, peer), "x");
    CHECK_STR(traced(w), "a sent 0\na sent 1\n");
    close_end(&a);
    peer_close(w, peer);
}

// Wishes.

SCENARIO(nothing_comes_while_the_wish_is_off) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    peer_write(w, peer, "one");
    settle(w);
    CHECK_INT(a.parts, 0);
    want(&a, SL_RECV_STREAM);
    UNTIL(w, a.got == 3);
    want(&a, SL_RECV_OFF);
    settle(w);
    peer_write(w, peer, "two");
    settle(w);
    CHECK_INT(a.parts, 1);
    want(&a, SL_RECV_STREAM);
    UNTIL(w, a.got == 6);
    peer_close(w, peer);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a<onetwo\na closed 0\n");
}

// The stream still runs in the kernel when the bytes come: they wait.
SCENARIO(what_comes_behind_a_change_to_off_is_kept) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    want(&a, SL_RECV_STREAM);
    settle(w);
    peer_write(w, peer, "tail");
    want(&a, SL_RECV_OFF); // told to nobody yet
    settle(w);
    CHECK_INT(a.parts, 0);
    peer_close(w, peer);
    settle(w);
    CHECK(!a.ended);
    want(&a, SL_RECV_ONCE);
    UNTIL(w, a.parts == 1);
    settle(w);
    CHECK(!a.ended); // the wish fell back to off
    want(&a, SL_RECV_ONCE);
    UNTIL(w, a.ended);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a<tail\na end 0\na closed 0\n");
}

SCENARIO(once_brings_one_part_even_while_the_stream_is_being_cancelled) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', UNIX);
    want(&a, SL_RECV_STREAM);
    settle(w);
    want(&a, SL_RECV_OFF);
    CHECK(sl_io_poll(w->io, 0) >= 0); // the cancel is under way
    want(&a, SL_RECV_ONCE);
    peer_write(w, peer, "one");
    UNTIL(w, a.parts == 1);
    peer_write(w, peer, "two");
    settle(w);
    CHECK_INT(a.parts, 1);
    want(&a, SL_RECV_ONCE);
    UNTIL(w, a.parts == 2);
    want(&a, SL_RECV_STREAM);
    peer_write(w, peer, "three");
    UNTIL(w, a.got == 11);
    close_end(&a);
    peer_close(w, peer);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a<onetwothree\na closed 0\n");
}

SCENARIO(quick_changes_of_the_wish_lose_nothing) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    static const uint8_t wishes[] = {SL_RECV_STREAM, SL_RECV_OFF, SL_RECV_STREAM, SL_RECV_ONCE,
                                     SL_RECV_OFF,    SL_RECV_ONCE, SL_RECV_STREAM};
    a.quiet = true;
    uint64_t put = 0;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < SL_COUNT_OF(wishes); i++) {
            want(&a, (enum sl_recv_want)wishes[i]);
            uint8_t byte = pattern(put);
            if ((round + (int)i) % 3 == 0) {
                put += (uint64_t)peer_put(w, peer, &byte, 1);
            }
            if ((round + (int)i) % 4 == 0) {
                CHECK(sl_io_poll(w->io, 0) >= 0);
            }
        }
    }
    UNTIL(w, a.got == put);
    peer_close(w, peer);
    UNTIL(w, a.ended);
    close_end(&a);
}

static void stop_then(struct end *end, char event) {
    if (event == 'd') {
        want(end, SL_RECV_OFF);
    }
}

// One buffer is given, then off is wished from inside the callback: the others that this turn brought must wait.
SCENARIO(off_wished_inside_a_callback_holds_the_rest_of_the_turn) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    a.quiet = true;
    a.then = stop_then;
    large_fill();
    want(&a, SL_RECV_STREAM);
    settle(w);
    CHECK_INT(peer_put(w, peer, large, 20000), 20000);
    for (int parts = 1; a.got < 20000 && !w->stuck; parts++) {
        UNTIL(w, a.parts == parts);
        settle(w);
        CHECK_INT(a.parts, parts);
        want(&a, SL_RECV_STREAM);
    }
    peer_close(w, peer);
    UNTIL(w, a.ended);
    close_end(&a);
}

// Ends.

SCENARIO(while_the_wish_is_off_no_buffer_is_taken) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    a.quiet = true;
    large_fill();
    want(&a, SL_RECV_STREAM);
    CHECK_INT(peer_put(w, peer, large, 100), 100);
    UNTIL(w, a.got == 100);
    want(&a, SL_RECV_OFF);
    settle(w);
    CHECK_INT(peer_put(w, peer, large + 100, 50000), 50000);
    settle(w);
    CHECK_INT(w->counters.io_bufs_lent, 0);
    want(&a, SL_RECV_STREAM);
    UNTIL(w, a.got == 50100);
    close_end(&a);
    peer_close(w, peer);
}

SCENARIO(the_end_comes_after_all_data_and_once) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    peer_write(w, peer, "last words");
    peer_close(w, peer);
    want(&a, SL_RECV_STREAM);
    UNTIL(w, a.ended);
    want(&a, SL_RECV_OFF);
    want(&a, SL_RECV_STREAM);
    settle(w);
    want(&a, SL_RECV_ONCE);
    settle(w);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a<last words\na end 0\na closed 0\n");
}

SCENARIO(after_the_peers_half_close_we_still_send) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    want(&a, SL_RECV_STREAM);
    peer_write(w, peer, "request");
    peer_shut(w, peer);
    UNTIL(w, a.ended);
    send_text(&a, "answer");
    UNTIL(w, a.sends == 1);
    CHECK_STR(peer_text(w, peer), "answer");
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_INT(peer_end(w, peer), 0);
    peer_close(w, peer);
    CHECK_STR(traced(w), "a<request\na end 0\na sent 6\na closed 0\n");
}

SCENARIO(our_half_close_waits_for_the_send_and_leaves_receiving_alone) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    uint64_t got = 0;
    want(&a, SL_RECV_STREAM);
    large_fill();
    send_large(&a);
    sl_io_shutdown(w->io, a.io, SHUT_WR);
    UNTIL(w, !bite(w, peer, &got));
    CHECK_INT(got, sizeof(large));
    CHECK_INT(peer_end(w, peer), 0); // not a reset
    peer_write(w, peer, "late");
    UNTIL(w, a.got == 4);
    peer_close(w, peer);
    UNTIL(w, a.ended);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a sent 6291456\na<late\na end 0\na closed 0\n");
}

SCENARIO(a_reset_ends_receiving_with_its_errno) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    want(&a, SL_RECV_STREAM);
    settle(w);
    peer_reset(w, peer);
    UNTIL(w, a.ended);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a end -104\na closed 0\n"); // ECONNRESET
}

SCENARIO(a_reset_fails_the_send) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    peer_reset(w, peer);
    send_text(&a, "x");
    UNTIL(w, a.sends == 1);
    want(&a, SL_RECV_STREAM); // and receiving must not call that a proper end
    UNTIL(w, a.ended);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a sent -104\na end -104\na closed 0\n");
}

SCENARIO(a_reset_fails_the_send_and_ends_the_stream) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    want(&a, SL_RECV_STREAM);
    settle(w);
    peer_reset(w, peer);
    send_text(&a, "x");
    UNTIL(w, a.sends == 1 && a.ended);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a sent -104\na end -104\na closed 0\n");
}

SCENARIO(a_send_to_nobody_fails_without_a_signal) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', UNIX);
    peer_close(w, peer);
    want(&a, SL_RECV_STREAM);
    send_text(&a, "x");
    UNTIL(w, a.sends == 1 && a.ended);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a sent -32\na end 0\na closed 0\n"); // EPIPE; they had closed properly
}

SCENARIO(a_reset_in_the_middle_of_a_send_fails_it) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    uint64_t got = 0;
    large_fill();
    send_large(&a);
    settle(w);
    CHECK(bite(w, peer, &got));
    settle(w);
    peer_reset(w, peer);
    UNTIL(w, a.sends == 1);
    want(&a, SL_RECV_STREAM); // a broken transfer must not look whole
    UNTIL(w, a.ended);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a sent -104\na end -104\na closed 0\n");
}

SCENARIO_THAT_VARIES(a_reset_in_the_middle_of_a_send_is_no_proper_end, 64, 8, 64) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    uint64_t got = 0;
    large_fill();
    want(&a, SL_RECV_STREAM);
    send_large(&a);
    settle(w);
    CHECK(bite(w, peer, &got));
    settle(w);
    peer_reset(w, peer);
    UNTIL(w, a.sends == 1 && a.ended);
    CHECK_INT(a.end_error, -ECONNRESET);
    close_end(&a);
}

// Closing, in every state.

SCENARIO(closing_a_fresh_connection) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_INT(peer_end(w, peer), 0);
    peer_close(w, peer);
    CHECK_STR(traced(w), "a closed 0\n");
}

static void close_while_receiving(struct world *w, enum sl_recv_want wish, bool started) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    want(&a, wish);
    if (started) {
        settle(w);
    }
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_INT(peer_end(w, peer), 0);
    peer_close(w, peer);
}

SCENARIO(closing_while_receiving) {
    close_while_receiving(w, SL_RECV_STREAM, false);
    close_while_receiving(w, SL_RECV_STREAM, true);
    close_while_receiving(w, SL_RECV_ONCE, false);
    close_while_receiving(w, SL_RECV_ONCE, true);
    CHECK_STR(traced(w), "a closed 0\na closed 0\na closed 0\na closed 0\n");
}

SCENARIO(closing_while_the_stream_is_being_cancelled) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    want(&a, SL_RECV_STREAM);
    settle(w);
    want(&a, SL_RECV_OFF);
    peer_write(w, peer, "x");
    CHECK(sl_io_poll(w->io, 0) >= 0);
    close_end(&a);
    UNTIL(w, a.closed);
    peer_close(w, peer);
    CHECK_STR(traced(w), "a closed 0\n");
}

// The peer neither reads nor closes: our own shutdown must end what is armed, whatever it finds in the socket.
SCENARIO(closing_when_data_has_just_come) {
    for (int turns = 0; turns < 3; turns++) {
        static struct end a;
        int peer = open_pair(w, &a, 'a', TCP);
        want(&a, SL_RECV_STREAM);
        settle(w);
        peer_write(w, peer, "x");
        if (turns == 1) {
            want(&a, SL_RECV_OFF);
        } else if (turns == 2) {
            want(&a, SL_RECV_ONCE);
        }
        close_end(&a);
        UNTIL(w, a.closed);
        peer_close(w, peer);
    }
    CHECK_STR(traced(w), "a closed 0\na closed 0\na closed 0\n");
}

SCENARIO(closing_with_unread_data_returns_its_buffers) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    large_fill();
    a.quiet = true;
    a.then = stop_then;
    want(&a, SL_RECV_STREAM);
    settle(w);
    CHECK_INT(peer_put(w, peer, large, 50000), 50000);
    UNTIL(w, a.parts == 1);
    close_end(&a);
    UNTIL(w, a.closed);
    peer_close(w, peer);
}

static void close_while_sending(struct world *w, bool started, bool receiving) {
    static struct end a;
    int peer = open_pair(w, &a, 'a', TCP);
    if (receiving) {
        want(&a, SL_RECV_STREAM);
    }
    large_fill();
    send_large(&a);
    if (started) {
        settle(w);
    }
    close_end(&a);
    UNTIL(w, a.closed);
    memset(large, 0, sizeof(large)); // ours again: what was sent must be the old bytes
    uint64_t got = 0;
    while (bite(w, peer, &got) && got > 0) {
    }
    CHECK(got < sizeof(large));
    CHECK(started || got == 0);
    peer_close(w, peer);
}

SCENARIO(closing_while_sending) {
    close_while_sending(w, false, false);
    close_while_sending(w, true, false);
    close_while_sending(w, true, true);
    CHECK_STR(traced(w), "a closed 0\na closed 0\na closed 0\n");
}

static char close_on;
static void close_then(struct end *end, char event) {
    if (event == close_on && end->io) {
        close_end(end);
    }
}

// Data, end and a finished send come together; whoever closes first hears nothing more.
SCENARIO(after_close_only_on_closed_comes) {
    static const char events[] = "sde";
    static const char *const traces[] = {"a sent 1\na closed 0\n",
                                         "a sent 1\na<data\na closed 0\n",
                                         "a sent 1\na<data\na end 0\na closed 0\n"};
    for (int i = 0; events[i]; i++) {
        static struct end a;
        int peer = open_pair(w, &a, 'a', TCP);
        w->trace_len = 0;
        close_on = events[i];
        a.then = close_then;
        peer_write(w, peer, "data");
        peer_shut(w, peer);
        want(&a, SL_RECV_STREAM);
        send_text(&a, "x");
        UNTIL(w, a.closed);
        peer_close(w, peer);
        CHECK_STR(traced(w), traces[i]);
    }
}

// Whatever was going on: the peer must not see a proper end.
SCENARIO(abort_gives_the_peer_a_reset) {
    for (int state = 0; state < 8; state++) {
        static struct end a;
        int peer = open_pair(w, &a, 'a', TCP);
        a.quiet = true;
        large_fill();
        if (state & 1) {
            want(&a, SL_RECV_STREAM);
        }
        if (state & 2) {
            send_large(&a);
        }
        if (state & 4) {
            settle(w);
        }
        sl_io_abort(w->io, a.io);
        UNTIL(w, a.closed);
        CHECK_INT(a.sends, 0);
        CHECK(!a.ended);
        CHECK_INT(peer_end(w, peer), -ECONNRESET);
        peer_close(w, peer);
    }
}

// Connecting.

SCENARIO(connect_then_talk) {
    struct sockaddr_in addr;
    int listener = listen_there(w, &addr, 8);
    static struct end a;
    end_init(w, &a, 'a');
    a.io = sl_io_connect(w->io, (struct sockaddr *)&addr, sizeof(addr), &handler, &a);
    REQUIRE(a.io);
    w->live++;
    want(&a, SL_RECV_STREAM); // may be wished before
    UNTIL(w, a.connected);
    int peer = peer_accept(w, listener);
    peer_close(w, listener);
    int on = 0;
    socklen_t len = sizeof(on);
    CHECK_INT(w->sys->getsockopt(w->sys, sl_io_fd(a.io), IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    CHECK_INT(on, 1);
    send_text(&a, "ping");
    UNTIL(w, a.sends == 1);
    CHECK_STR(peer_text(w, peer), "ping");
    CHECK_INT(sl_io_bytes_acked(w->io, a.io) >= 4, 1);
    peer_write(w, peer, "pong");
    peer_close(w, peer);
    UNTIL(w, a.ended);
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a connect 0\na sent 4\na<pong\na end 0\na closed 0\n");
}

SCENARIO(connect_refused) {
    struct sockaddr_in addr;
    peer_close(w, listen_there(w, &addr, 8));
    static struct end a;
    end_init(w, &a, 'a');
    a.io = sl_io_connect(w->io, (struct sockaddr *)&addr, sizeof(addr), &handler, &a);
    REQUIRE(a.io);
    w->live++;
    want(&a, SL_RECV_STREAM);
    UNTIL(w, a.connected);
    settle(w);
    CHECK(!a.ended); // on_connect has said it
    close_end(&a);
    UNTIL(w, a.closed);
    CHECK_STR(traced(w), "a connect -111\na closed 0\n"); // ECONNREFUSED
}

// A full backlog drops the SYN: the connect stays under way until we give it up.
SCENARIO(closing_while_connecting) {
    struct sockaddr_in addr;
    int listener = listen_there(w, &addr, 0);
    int first = connect_to(w, &addr);
    static struct end a, b;
    end_init(w, &a, 'a');
    end_init(w, &b, 'b');
    a.io = sl_io_connect(w->io, (struct sockaddr *)&addr, sizeof(addr), &handler, &a);
    b.io = sl_io_connect(w->io, (struct sockaddr *)&addr, sizeof(addr), &handler, &b);
    REQUIRE(a.io && b.io);
    w->live += 2;
    close_end(&a); // before the kernel heard of it
    settle(w);
    CHECK(a.closed);
    CHECK(!b.connected);
    close_end(&b);
    UNTIL(w, b.closed);
    CHECK_STR(traced(w), "a closed 0\nb closed 0\n");
    peer_close(w, first);
    peer_close(w, listener);
}

// Accepting.

struct door {
    struct world *w;
    int fds[512];
    int count, errors, last_error;
    bool stopped;
};

static bool fd_is_as_promised(struct world *w, int fd) {
    if (w->sim) {
        return sl_sim_fd_flags(w->sim, fd) == (SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) && (fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void on_accept(void *owner, int fd) {
    struct door *door = owner;
    CHECK_INT(door->w->depth, 0);
    CHECK(!door->stopped);
    if (fd < 0) {
        door->errors++;
        door->last_error = fd;
        return;
    }
    CHECK(fd_is_as_promised(door->w, fd));
    door->fds[door->count++] = fd;
}

static void on_stopped(void *owner) {
    struct door *door = owner;
    CHECK(!door->stopped);
    door->stopped = true;
}

static ssize_t send_here(struct world *w, int fd, void *data, size_t len) {
    struct iovec iov = {data, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return w->sys->sendmsg(w->sys, fd, &msg, MSG_NOSIGNAL);
}

static void door_close(struct door *door, int listener) {
    while (door->count > 0) {
        close_here(door->w, door->fds[--door->count]);
    }
    close_here(door->w, listener);
}

SCENARIO(many_connections_are_accepted) {
    enum { MANY = 300 };
    struct sockaddr_in addr;
    struct door door = {.w = w};
    int listener = listen_here(w, &addr, MANY), clients[MANY];
    for (int i = 0; i < MANY / 2; i++) { // in the backlog before
        clients[i] = connect_to(w, &addr);
    }
    int number = sl_io_accept_start(w->io, listener, on_accept, &door);
    REQUIRE(number >= 0);
    UNTIL(w, door.count == MANY / 2);
    for (int i = MANY / 2; i < MANY; i++) {
        clients[i] = connect_to(w, &addr);
    }
    UNTIL(w, door.count == MANY);
    for (int i = 0; i < MANY; i++) { // each is a connection of its own
        char byte = (char)i, got = 0;
        CHECK_INT(send_here(w, door.fds[i], &byte, 1), 1);
        CHECK_INT(peer_recv(w, clients[i], &got, 1), 1);
        CHECK_INT(got, byte);
        peer_close(w, clients[i]);
    }
    sl_io_accept_stop(w->io, number, on_stopped);
    UNTIL(w, door.stopped);
    CHECK_INT(door.errors, 0);
#ifndef CQ_ENTRIES
    CHECK_INT(w->counters.io_multishot_ended, 0);
#endif
    door_close(&door, listener);
}

// What was accepted is delivered, what was not is still in the backlog: none is lost, and the listener may then be closed.
SCENARIO(stopping_to_accept_loses_no_connection) {
    for (int turns = 0; turns < 3; turns++) {
        enum { MANY = 100 };
        struct sockaddr_in addr;
        struct door door = {.w = w};
        int listener = listen_here(w, &addr, MANY), clients[MANY];
        int number = sl_io_accept_start(w->io, listener, on_accept, &door);
        for (int i = 0; i < turns; i++) {
            CHECK(sl_io_poll(w->io, 0) >= 0);
        }
        for (int i = 0; i < MANY; i++) {
            clients[i] = connect_to(w, &addr);
        }
        sl_io_accept_stop(w->io, number, on_stopped);
        UNTIL(w, door.stopped);
        int fd;
        while ((fd = sl_io_accept_now(w->io, listener)) >= 0) {
            door.fds[door.count++] = fd;
        }
        CHECK_INT(door.count, MANY);
        door_close(&door, listener);
        for (int i = 0; i < MANY; i++) {
            peer_close(w, clients[i]);
        }
    }
}

SCENARIO(stopping_at_once_needs_no_event) {
    struct sockaddr_in addr;
    struct door door = {.w = w};
    int listener = listen_here(w, &addr, 8);
    sl_io_accept_stop(w->io, sl_io_accept_start(w->io, listener, on_accept, &door), on_stopped);
    uint64_t start = clock_now(w);
    CHECK(sl_io_poll(w->io, 5 * SEC) >= 0);
    CHECK(clock_now(w) - start < 4 * SEC);
    CHECK(door.stopped);
    door_close(&door, listener);
}

static void no_more_fds(struct world *w, int last_fd, const struct rlimit *before) {
    struct rlimit none = {.rlim_cur = (rlim_t)last_fd + 1, .rlim_max = before->rlim_max};
    if (w->sim) {
        sl_sim_fds_max(w->sim, sl_sim_fds(w->sim));
    } else {
        setrlimit(RLIMIT_NOFILE, &none);
    }
}

static void more_fds(struct world *w, const struct rlimit *before) {
    if (w->sim) {
        sl_sim_fds_max(w->sim, 1000);
    } else {
        setrlimit(RLIMIT_NOFILE, before);
    }
}

SCENARIO(accepting_goes_on_after_emfile) {
    struct sockaddr_in addr;
    struct door door = {.w = w};
    int listener = listen_here(w, &addr, 8);
    int client = connect_to(w, &addr);
    int number = sl_io_accept_start(w->io, listener, on_accept, &door);
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    no_more_fds(w, client, &before);
    uint64_t start = clock_now(w);
    UNTIL(w, door.errors == 1);
    CHECK_INT(door.last_error, -EMFILE);
    UNTIL(w, door.errors == 2); // it tries again by itself, after a pause
    CHECK(clock_now(w) - start >= 90 * MS);
    more_fds(w, &before);
    UNTIL(w, door.count == 1);
    sl_io_accept_stop(w->io, number, on_stopped);
    UNTIL(w, door.stopped);
    door_close(&door, listener);
    peer_close(w, client);
}

SCENARIO(a_listener_may_still_accept_when_the_loop_is_freed) {
    struct sockaddr_in addr;
    struct door door = {.w = w};
    int listener = listen_here(w, &addr, 8);
    REQUIRE(sl_io_accept_start(w->io, listener, on_accept, &door) >= 0);
    settle(w);
    int client = connect_to(w, &addr); // not yet accepted
    sl_io_free(w->io);
    sl_buf_pool_deinit(&w->pool);
    peer_close(w, client);
    door_close(&door, listener);
    CHECK_INT(w->counters.io_ops_armed, 0);
    CHECK_INT(w->sim ? (int)sl_sim_fds(w->sim) : open_fds(), w->sim ? 0 : w->fds);
    REQUIRE(world_open(w, w->kind, w->sim, (struct sizes){4, 4, 4}));
}

// Waking.

struct waker {
    struct world *w;
    _Atomic uint32_t posted;
    uint32_t posts;
};

static void *wake_often(void *arg) {
    struct waker *waker = arg;
    for (uint32_t i = 0; i < waker->posts; i++) {
        atomic_fetch_add(&waker->posted, 1);
        sl_io_wake(waker->w->io);
    }
    return NULL;
}

SCENARIO_WITH_THREADS(another_thread_wakes_the_loop) {
    struct waker waker = {.w = w, .posts = 1};
    pthread_t thread;
    CHECK(sl_io_poll(w->io, 0) >= 0);
    REQUIRE(pthread_create(&thread, NULL, wake_often, &waker) == 0);
    uint64_t start = clock_now(w);
    while (atomic_load(&waker.posted) == 0 || w->counters.io_wakes == 0) {
        CHECK(sl_io_poll(w->io, 10 * SEC) >= 0);
        REQUIRE(clock_now(w) - start < 9 * SEC);
    }
    pthread_join(thread, NULL);
    CHECK_INT(w->counters.io_wakes, 1);
}

// The sleeper never checks again by time: a lost wake would hang it.
SCENARIO_WITH_THREADS(no_wake_is_lost_and_many_are_merged) {
    struct waker waker = {.w = w, .posts = 20000};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, wake_often, &waker) == 0);
    }
    uint64_t start = clock_now(w);
    while (atomic_load(&waker.posted) < 2 * waker.posts) {
        CHECK(sl_io_poll(w->io, UINT64_MAX) >= 0);
        REQUIRE(clock_now(w) - start < 60 * SEC);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    CHECK(w->counters.io_wakes <= 2 * waker.posts);
}

SCENARIO(a_wake_before_the_sleep_is_not_forgotten) {
    sl_io_wake(w->io);
    sl_io_wake(w->io);
    uint64_t start = clock_now(w);
    CHECK(sl_io_poll(w->io, 5 * SEC) >= 0);
    CHECK(clock_now(w) - start < 4 * SEC);
    CHECK_INT(w->counters.io_wakes, 1);
}

SCENARIO(poll_sleeps_as_long_as_it_may) {
    uint64_t start = clock_now(w), end = start + 30 * MS;
    int turns = 0;
    for (uint64_t now = start; now < end; now = clock_now(w), turns++) { // a signal may cut it short
        CHECK_INT(sl_io_poll(w->io, end - now), 0);
    }
    CHECK_MSG(turns < 100, "it spins: %d turns", turns); // a ring that is being taken down interrupts
    CHECK(sl_io_now_ns(w->io) >= end);
    CHECK(sl_io_now_ns(w->io) <= clock_now(w));
    start = clock_now(w);
    CHECK_INT(sl_io_poll(w->io, 0), 0);
    CHECK(clock_now(w) - start < SEC);
}

// Buffers.

// Twelve connections, buffers for `room` of them, and owners that do not give them back.
static void exhaust(struct world *w, enum sl_recv_want wish, int room) {
    enum { MANY = 12 };
    static struct end ends[MANY + 1];
    int peers[MANY + 1], got = 0;
    for (int i = 0; i < MANY; i++) {
        peers[i] = open_pair(w, &ends[i], (char)('a' + i), TCP);
        ends[i].quiet = ends[i].keep = true;
        want(&ends[i], wish);
        uint8_t byte = pattern(0);
        CHECK_INT(peer_put(w, peers[i], &byte, 1), 1);
    }
    settle(w);
    for (int i = 0; i < MANY; i++) {
        got += ends[i].parts;
    }
    CHECK_INT(got, room);
    CHECK_INT(w->counters.io_bufs_lent, room);
    CHECK_INT(w->counters.io_starved, MANY - room);
    CHECK(w->counters.io_enobufs >= (uint64_t)(MANY - room));
    uint64_t tries = w->counters.io_enobufs;
    for (int i = 0; i < MANY; i++) {
        uint8_t byte = pattern(1);
        CHECK_INT(peer_put(w, peers[i], &byte, ends[i].parts == 0), ends[i].parts == 0);
    }
    settle(w);
    CHECK_INT(w->counters.io_enobufs, tries); // they wait in line, they do not try again
    struct end *idle = &ends[MANY];
    peers[MANY] = open_pair(w, idle, 'i', TCP);
    want(idle, wish);
    settle(w);
    CHECK_INT(w->counters.io_enobufs, tries); // who has nothing to receive needs no buffer
    for (int i = 0; i < MANY; i++) {
        release_kept(&ends[i]);
    }
    for (int i = 0; i < MANY; i++) {
        UNTIL(w, ends[i].got > 0);
        release_kept(&ends[i]);
    }
    CHECK_INT(w->counters.io_starved, 0);
    for (int i = 0; i <= MANY; i++) {
        release_kept(&ends[i]);
        close_end(&ends[i]);
        peer_close(w, peers[i]);
    }
    UNTIL(w, w->live == 0);
}
SCENARIO_WITH(head_buffers_run_out_and_come_back, 4, 4, 13) { exhaust(w, SL_RECV_STREAM, 4); }
// Where those for bodies end, those for heads are taken.
SCENARIO_WITH(body_buffers_run_out_and_come_back, 4, 4, 13) { exhaust(w, SL_RECV_ONCE, 8); }

SCENARIO_WITH(receiving_resumes_when_a_quarter_is_free, 16, 4, 8) {
    static struct end a, b;
    int peer_a = open_pair(w, &a, 'a', TCP), peer_b = open_pair(w, &b, 'b', TCP);
    a.quiet = a.keep = b.quiet = true;
    large_fill();
    want(&a, SL_RECV_STREAM);
    CHECK_INT(peer_put(w, peer_a, large, 16 * 4096 - 100), 16 * 4096 - 100);
    UNTIL(w, a.got == 16 * 4096 - 100);
    CHECK_INT(a.kept_count, 16);
    want(&a, SL_RECV_OFF);
    want(&b, SL_RECV_STREAM);
    CHECK_INT(peer_put(w, peer_b, large, 5), 5);
    UNTIL(w, w->counters.io_starved == 1);
    for (int i = 0; i < 3; i++) {
        sl_buf_unref(&w->pool, a.kept[--a.kept_count]);
        settle(w);
        CHECK_INT(w->counters.io_starved, 1);
    }
    sl_buf_unref(&w->pool, a.kept[--a.kept_count]);
    UNTIL(w, b.got == 5);
    release_kept(&a);
    close_end(&a);
    close_end(&b);
    peer_close(w, peer_a);
    peer_close(w, peer_b);
}

SCENARIO_WITH(a_starving_connection_may_change_its_wish_and_close, 4, 4, 8) {
    static struct end a, b, c;
    int peers[3] = {open_pair(w, &a, 'a', TCP), open_pair(w, &b, 'b', TCP),
                    open_pair(w, &c, 'c', TCP)};
    large_fill();
    a.quiet = a.keep = b.quiet = c.quiet = true;
    want(&a, SL_RECV_STREAM);
    CHECK_INT(peer_put(w, peers[0], large, 16000), 16000);
    UNTIL(w, a.got == 16000);
    want(&b, SL_RECV_STREAM);
    want(&c, SL_RECV_STREAM);
    CHECK_INT(peer_put(w, peers[1], large, 100), 100);
    CHECK_INT(peer_put(w, peers[2], large, 100), 100);
    UNTIL(w, w->counters.io_starved == 2);
    want(&b, SL_RECV_ONCE); // another group has buffers
    UNTIL(w, b.got == 100);
    close_end(&c);
    UNTIL(w, c.closed);
    CHECK_INT(w->counters.io_starved, 0);
    release_kept(&a);
    close_end(&a);
    close_end(&b);
    for (int i = 0; i < 3; i++) {
        peer_close(w, peers[i]);
    }
}

SCENARIO_WITH(one_buffer_is_enough, 1, 1, 8) {
    static struct end a, b;
    int peer_a = open_pair(w, &a, 'a', TCP), peer_b = open_pair(w, &b, 'b', TCP);
    a.quiet = b.quiet = true;
    large_fill();
    want(&a, SL_RECV_STREAM);
    want(&b, SL_RECV_STREAM);
    CHECK_INT(peer_put(w, peer_a, large, 50000), 50000);
    CHECK_INT(peer_put(w, peer_b, large, 50000), 50000);
    peer_close(w, peer_a);
    peer_close(w, peer_b);
    UNTIL(w, a.ended && b.ended);
    CHECK_INT(a.got, 50000);
    CHECK_INT(b.got, 50000);
    close_end(&a);
    close_end(&b);
}

// Pace.

#define MANY_BUSY 64

// With a wait that would show whatever does not come by itself.
static void receive_until(struct world *w, const struct end *end, uint64_t goal, bool hurry) {
    uint64_t start = clock_now(w);
    while (end->got < goal && !w->stuck) {
        if (hurry) {
            sl_io_hurry(w->io);
        }
        CHECK(sl_io_poll(w->io, 10 * SEC) >= 0);
        w->stuck = clock_now(w) - start > 9 * SEC;
    }
    CHECK_INT(end->got, goal);
}

static void each_receives_a_byte(struct world *w, struct end *ends, const int *peers, int count,
                                 bool hurry) {
    for (int i = 0; i < count; i++) {
        uint8_t byte = pattern(ends[i].got);
        CHECK_INT(peer_put(w, peers[i], &byte, 1), 1);
    }
    uint64_t goal = ends[count - 1].got + 1;
    for (int i = 0; i < count; i++) {
        receive_until(w, &ends[i], goal, hurry);
    }
}

static bool kernel_has_min_wait(const struct world *w) {
    struct utsname name;
    unsigned major = 0, minor = 0;
    uname(&name);
    sscanf(name.release, "%u.%u", &major, &minor);
    return w->sim || major > 6 || (major == 6 && minor >= 12);
}

SCENARIO_WITH(many_busy_connections_are_waited_for_together, 256, 4, MANY_BUSY) {
    static struct end ends[MANY_BUSY];
    int peers[MANY_BUSY];
    for (int i = 0; i < MANY_BUSY; i++) {
        peers[i] = open_pair(w, &ends[i], 'x', UNIX);
        ends[i].quiet = true;
        want(&ends[i], SL_RECV_STREAM);
    }
    settle(w);
    for (int round = 0; round < 50; round++) { // few are not
        for (int i = 0; i < 4; i++) {
            each_receives_a_byte(w, &ends[i], &peers[i], 1, false);
        }
    }
    CHECK_INT(w->counters.io_batch_waits, 0);
    for (int round = 0; round < 50; round++) { // all as far as the four
        for (int i = 4; i < MANY_BUSY; i++) {
            each_receives_a_byte(w, &ends[i], &peers[i], 1, true);
        }
    }
    for (int round = 0; round < 50; round++) { // nor whoever is in a hurry
        each_receives_a_byte(w, ends, peers, MANY_BUSY, true);
    }
    CHECK_INT(w->counters.io_batch_waits, 0);
    bool batches = w->kind == SL_IO_URING && kernel_has_min_wait(w);
    for (int i = 0; i < 8000 && batches && w->counters.io_batch_waits == 0; i += 4) {
        each_receives_a_byte(w, &ends[i % MANY_BUSY], &peers[i % MANY_BUSY], 4, false);
    }
    CHECK_INT(w->counters.io_batch_waits > 0, batches);
    each_receives_a_byte(w, ends, peers, 1, false); // nothing follows it, and it comes
    for (int i = 0; i < MANY_BUSY; i++) {
        close_end(&ends[i]);
        peer_close(w, peers[i]);
    }
}

// Slots.

SCENARIO_THAT_VARIES(slots_run_out_and_are_used_again, 8, 8, 2) {
    static struct end a, b, c;
    int peer_a = open_pair(w, &a, 'a', UNIX), peer_b = open_pair(w, &b, 'b', UNIX), fds[2];
    struct sockaddr_in addr;
    int listener = listen_there(w, &addr, 1);
    pair(w, UNIX, fds);
    CHECK(!end_open(w, &c, 'c', fds[0])); // the fd stays ours
    CHECK(sl_io_connect(w->io, (struct sockaddr *)&addr, sizeof(addr), &handler, &c) == NULL);
    for (int round = 0; round < 50; round++) {
        want(&a, SL_RECV_STREAM);
        settle(w);
        peer_write(w, peer_a, "old"); // its completion belongs to the old life
        close_end(&a);
        UNTIL(w, a.closed);
        peer_close(w, peer_a);
        peer_a = open_pair(w, &a, 'a', UNIX);
        want(&a, SL_RECV_STREAM);
        settle(w);
        CHECK_INT(a.parts, 0);
    }
    close_end(&a);
    close_end(&b);
    UNTIL(w, w->live == 0);
    CHECK(end_open(w, &c, 'c', fds[0]));
    close_end(&c);
    peer_close(w, peer_a);
    peer_close(w, peer_b);
    peer_close(w, fds[1]);
    peer_close(w, listener);
}

static int reopen_fds[2];
static struct end reopened;
static void on_closed_reopen(void *owner) {
    struct end *end = owner;
    struct world *w = end->w;
    on_closed(owner);
    CHECK(end_open(w, &reopened, 'b', reopen_fds[0]));
    want(&reopened, SL_RECV_STREAM);
}

SCENARIO_WITH(the_slot_is_free_inside_on_closed, 8, 8, 1) {
    static const struct sl_io_handler reopening = {on_data, on_end, on_sent, on_connect,
                                                   on_closed_reopen};
    static struct end a;
    int peer = open_pair(w, &a, 'a', UNIX);
    pair(w, UNIX, reopen_fds);
    want(&a, SL_RECV_STREAM);
    settle(w);
    sl_io_set_handler(a.io, &reopening, &a);
    close_end(&a);
    peer_write(w, reopen_fds[1], "new");
    UNTIL(w, a.closed && reopened.got == 3);
    close_end(&reopened);
    UNTIL(w, w->live == 0);
    peer_close(w, peer);
    peer_close(w, reopen_fds[1]);
    CHECK_STR(traced(w), "a closed 0\nb<new\nb closed 0\n");
}

// Each message is a completion of its own. With uring_small_test's queue of 16 they overflow it.
SCENARIO_WITH(a_full_completion_queue_loses_nothing, 4096, 4, 100) {
    enum { PAIRS = 100, EACH = 30 };
    static struct end ends[PAIRS];
    static int peers[PAIRS];
    uint64_t sent[PAIRS] = {0};
    for (int i = 0; i < PAIRS; i++) {
        peers[i] = open_pair(w, &ends[i], 'x', BYTEWISE);
        peer_never_waits(w, peers[i]);
        ends[i].quiet = true;
        want(&ends[i], SL_RECV_STREAM);
    }
    settle(w);
    for (int i = 0; i < PAIRS; i++) {
        for (uint64_t m = 0; m < EACH; m++) {
            uint8_t byte = pattern(m);
            if (peer_put(w, peers[i], &byte, 1) == 1) { // the socket has its own limit
                sent[i]++;
            } else {
                break;
            }
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        peer_close(w, peers[i]);
    }
    for (int i = 0; i < PAIRS; i++) {
        UNTIL(w, ends[i].ended);
        CHECK_INT(ends[i].got, sent[i]);
        close_end(&ends[i]);
    }
    UNTIL(w, w->live == 0);
#ifdef CQ_ENTRIES
    CHECK(w->counters.io_cq_overflow > 0);
#endif
}

// A storm: everything at once, by a seed. Bytes must keep their order, and the books must close.

static uint64_t seed;
static uint32_t dice(uint32_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16) % n;
}

struct storm {
    struct end end;
    int peer;
    uint64_t put;      // pattern bytes the peer has sent
    uint64_t sent;     // pattern bytes of ours that are done
    uint64_t peer_got; // of ours, seen by the peer
    bool peer_done, closing;
};

static void storm_then(struct end *end, char event) {
    struct storm *storm = (struct storm *)end;
    if (event == 's' && end->sent > 0) {
        storm->sent += (uint64_t)end->sent;
    }
    if (!storm->closing && dice(4) == 0) {
        want(end, (enum sl_recv_want)dice(3));
    }
    if (end->keep && dice(2)) {
        release_kept(end);
    }
    if (!storm->closing && event != 'd' && dice(20) == 0) {
        storm->closing = true;
        close_end(end);
    }
}

static void storm_open(struct world *w, struct storm *storm) {
    memset(storm, 0, sizeof(*storm));
    storm->peer = open_pair(w, &storm->end, 'x', dice(2) ? TCP : UNIX);
    peer_never_waits(w, storm->peer);
    storm->end.quiet = true;
    storm->end.then = storm_then;
}

static void storm_peer(struct world *w, struct storm *storm) {
    if (storm->peer_done) {
        return;
    }
    ssize_t n = 0;
    switch (dice(6)) {
    case 0:
    case 1:
        n = peer_put(w, storm->peer, large + storm->put, 1 + dice(20000));
        storm->put += n > 0 ? (uint64_t)n : 0;
        break;
    case 2:
    case 3:
    case 4: {
        uint64_t before = storm->peer_got;
        if (!bite(w, storm->peer, &storm->peer_got)) {
            CHECK(storm->closing || before == storm->peer_got);
        }
        break;
    }
    default:
        if (dice(30) == 0) {
            storm->peer_done = true;
            if (dice(2)) {
                peer_reset(w, storm->peer);
            } else {
                peer_close(w, storm->peer);
            }
        }
    }
}

static void storm_ours(struct world *w, struct storm *storm) {
    struct end *end = &storm->end;
    if (storm->closing) {
        return;
    }
    switch (dice(6)) {
    case 0:
    case 1: want(end, (enum sl_recv_want)dice(3)); break;
    case 2:
    case 3:
        if (!sl_io_sending(end->io) && end->sent >= 0) {
            send_bytes(end, large + storm->sent, 1 + dice(dice(4) ? 30000 : 400000));
        }
        break;
    default:
        if (dice(60) == 0) {
            storm->closing = true;
            (dice(2) ? sl_io_close : sl_io_abort)(w->io, end->io);
        }
    }
}

SCENARIO_THAT_VARIES(a_storm_of_random_wishes_keeps_order_and_books, 32, 4, 16) {
    enum { MANY = 16 };
    static struct storm storms[MANY];
    const char *given = getenv("SLUICE_TEST_SEED");
    uint64_t fresh = given ? strtoull(given, NULL, 10) : clock_now(w) | 1;
    const uint64_t seeds[] = {1, 2, 3, fresh};
    large_fill();
    for (size_t round = 0; round < SL_COUNT_OF(seeds) && !test_failures; round++) {
        seed = seeds[round] * 0x9e3779b97f4a7c15ull | 1;
        for (int i = 0; i < MANY; i++) {
            storm_open(w, &storms[i]);
        }
        for (int turn = 0; turn < 3000 && !w->stuck && !test_failures; turn++) {
            for (int k = 0; k < 4; k++) {
                struct storm *storm = &storms[dice(MANY)];
                if (storm->end.closed || storm->put > 4 << 20 || storm->sent > 4 << 20) {
                    continue;
                }
                storm_peer(w, storm);
                storm_ours(w, storm);
            }
            CHECK(sl_io_poll(w->io, 0) >= 0);
            struct storm *old = &storms[dice(MANY)];
            if (old->end.closed && dice(3) == 0) {
                if (!old->peer_done) {
                    peer_close(w, old->peer);
                }
                storm_open(w, old);
            }
        }
        for (int i = 0; i < MANY; i++) {
            if (!storms[i].closing) {
                storms[i].closing = true;
                close_end(&storms[i].end);
            }
        }
        UNTIL(w, w->live == 0);
        for (int i = 0; i < MANY; i++) {
            if (!storms[i].peer_done) {
                peer_close(w, storms[i].peer);
            }
        }
        CHECK_MSG(!test_failures, "seed %llu (SLUICE_TEST_SEED repeats it)",
                  (unsigned long long)seeds[round]);
    }
}

// Probe.

// Makes io_uring_setup fail, as container runtimes do.
static void deny_uring(int error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), // the call's number
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 425, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {SL_COUNT_OF(code), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(100);
    }
}

// In a child, because a filter stays. Returns the number of failures.
static int probe_denied(int error, const char *expected) {
    pid_t pid = fork();
    if (pid == 0) {
        char reason[256] = "";
        test_failures = 0;
        deny_uring(error);
        CHECK_INT(sl_io_probe(SL_IO_AUTO, reason, sizeof(reason)), SL_IO_EPOLL);
        CHECK_STR(reason, expected);
        CHECK_INT(sl_io_probe(SL_IO_URING, reason, sizeof(reason)), SL_E_IO_UNAVAILABLE);
        CHECK_STR(reason, expected);
        CHECK(strstr(sl_fail_text(), expected) != NULL);
        _exit(test_failures);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}

TEST(probe_names_stage_errno_and_remedy) {
    int first = probe_denied(EPERM, "io_uring_setup: EPERM; seccomp or kernel.io_uring_disabled=2");
    if (first == 100) {
        SKIP("seccomp filters are not allowed here");
    }
    CHECK_INT(first, 0);
    CHECK_INT(probe_denied(ENOSYS, "io_uring_setup: ENOSYS; no io_uring in this kernel or sandbox; "
                                   "Linux 6.1 or later is needed"),
              0);
    CHECK_INT(probe_denied(EOPNOTSUPP, "io_uring_setup: EOPNOTSUPP; this kernel or sandbox does "
                                       "not support it"),
              0);
}

// Newer kernels charge rings to unprivileged users; root never sees it.
TEST(probe_without_locked_memory_says_how_much_is_needed) {
    if (geteuid() != 0) {
        SKIP("needs root, to become nobody");
    }
    pid_t pid = fork();
    if (pid == 0) {
        char reason[256] = "";
        unsigned kib = 0;
        struct rlimit none = {0, 0};
        test_failures = 0;
        if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
            _exit(100);
        }
        int kind = sl_io_probe(SL_IO_AUTO, reason, sizeof(reason));
        const char *text = strstr(reason, "ENOMEM; raise ulimit -l (a ring needs ");
        CHECK_MSG(kind == SL_IO_URING || text, "%s", reason);
        if (text) {
            CHECK_INT(kind, SL_IO_EPOLL);
            CHECK_INT(sscanf(text, "ENOMEM; raise ulimit -l (a ring needs %u KiB)", &kib), 1);
            CHECK(kib > 0 && kib < 1024);
        }
        _exit(test_failures);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

TEST(probe_leaves_nothing_open) {
    char reason[256];
    int before = open_fds();
    CHECK(sl_io_probe(SL_IO_AUTO, reason, sizeof(reason)) > 0);
    CHECK(reason[0] != 0);
    CHECK_INT(sl_io_probe(SL_IO_EPOLL, reason, sizeof(reason)), SL_IO_EPOLL);
    CHECK_INT(sl_io_probe(77, reason, sizeof(reason)), SL_E_INVALID);
    CHECK_INT(open_fds(), before);
    CHECK_STR(sl_io_kind_name(SL_IO_URING), "uring");
    CHECK_STR(sl_io_kind_name(SL_IO_EPOLL), "epoll");
}

// The last one: how large the table was. A filter runs a part of it.
TEST(the_table_is_counted) {
    int total = 0;
    for (int i = 0; i < BACKENDS; i++) {
        printf("# %d scenarios on %s\n", rows[i], backend_names[i]);
        total += rows[i];
    }
    printf("# %d rows, each scenario's traces equal\n", total);
}
