// A whole worker and its peers in one thread: a turn of the worker, then what the peers' scripts can do, then a turn. So a scenario is the same in
// each run, whatever lies below: epoll or io_uring, of the real kernel or of the simulated one (sim.h), which has its own time.
//
// A script is an array of steps, each of which waits until it can be done. Clients and upstreams have the same steps.
#ifndef SL_TEST_WORLD_H
#define SL_TEST_WORLD_H

#include <fcntl.h>
#include <stdarg.h>
#include <time.h>

#include "gateway.h"
#include "peer.h"
#include "plan_builder.h"
#include "sim.h"
#include "test.h"

enum op {
    OP_END = 0, // of the script; the connection stays open until the row ends
    // Sending.
    OP_SEND,    // text
    OP_TRICKLE, // text, byte by byte, a turn between
    OP_DRIP,    // text, a byte each 20 ms
    OP_FILL,    // n bytes of the pattern
    OP_FLOOD,   // bytes of the pattern until nothing more is taken for some turns
    OP_FIN, OP_CLOSE, OP_RESET,
    // Receiving.
    OP_REQUEST, // one whole request, head and body
    OP_HEAD,    // up to the blank line: what follows is left
    OP_ANSWER,  // one whole answer: its status n, its body text (NULL: n_body bytes of the pattern)
    OP_HEADED,  // the same to a HEAD: no body, whatever its head says
    OP_INTERIM, // one 1xx head of status n
    OP_IS,      // exactly the text, byte by byte; '~' stands for the rest of a line
    OP_BYTES,   // n bytes, which are dropped
    OP_SAME,    // n bytes of the pattern, from its beginning on: each is compared
    OP_QUIET,   // n turns, in which nothing comes
    OP_SIP,     // the same, but no byte more is taken from the socket
    OP_BROKEN,  // a reset inside an answer. What came is a beginning of: a head of status n, the body text
    OP_ENDED,   // the end, of either kind; what comes before it is dropped
    OP_EOF,     // a proper end, and nothing before it
    // Order.
    OP_STAGE,   // stage n is reached
    OP_AWAIT,   // until stage n is reached
    OP_POLLED,  // until stage n is reached, and then the worker's next poll is over and its work is not yet done
    OP_CONNS,   // until the gateway has n connections of clients
    OP_TURNS,   // n turns
    OP_SLEEP,   // n ms
    OP_LATER,    // the gateway's clock, and ours, is n ms later
};

struct step {
    enum op op;
    const char *text;
    int n;
    int n_body;
};
#define SEND(t) {OP_SEND, t, 0, 0}
#define TRICKLE(t) {OP_TRICKLE, t, 0, 0}
#define DRIP(t) {OP_DRIP, t, 0, 0}
#define FILL(n) {OP_FILL, NULL, n, 0}
#define FLOOD {OP_FLOOD, NULL, 0, 0}
#define FIN {OP_FIN, NULL, 0, 0}
#define CLOSE {OP_CLOSE, NULL, 0, 0}
#define RESET {OP_RESET, NULL, 0, 0}
#define REQUEST {OP_REQUEST, NULL, 0, 0}
#define HEAD {OP_HEAD, NULL, 0, 0}
#define ANSWER(status, body) {OP_ANSWER, body, status, 0}
#define PATTERN(status, n_body) {OP_ANSWER, NULL, status, n_body}
#define HEADED(status) {OP_HEADED, NULL, status, 0}
#define INTERIM(status) {OP_INTERIM, NULL, status, 0}
#define IS(t) {OP_IS, t, 0, 0}
#define QUIET(n) {OP_QUIET, NULL, n, 0}
#define BYTES(n) {OP_BYTES, NULL, n, 0}
#define SAME(n) {OP_SAME, NULL, n, 0}
#define SIP(n) {OP_SIP, NULL, n, 0}
#define BROKEN(status, body) {OP_BROKEN, body, status, 0}
#define ENDED {OP_ENDED, NULL, 0, 0}
#define EOF_ {OP_EOF, NULL, 0, 0}
#define STAGE(n) {OP_STAGE, NULL, n, 0}
#define AWAIT(n) {OP_AWAIT, NULL, n, 0}
#define POLLED(n) {OP_POLLED, NULL, n, 0}
#define CONNS(n) {OP_CONNS, NULL, n, 0}
#define TURNS(n) {OP_TURNS, NULL, n, 0}
#define SLEEP(n) {OP_SLEEP, NULL, n, 0}
#define LATER(n) {OP_TURNS, NULL, 4, 0}, {OP_LATER, NULL, n, 0}, {OP_TURNS, NULL, 4, 0} // after all that was sent has been looked at

#define STEPS_MAX 24
#define PEERS_MAX 4
#define PEER_BYTES (1 << 20)
#define QUIET_TURNS 8  // without any progress: then nothing more will come by itself
#define ROW_NS (10 * SL_NS_PER_S) // then it hangs

struct scripted {
    const char *name;
    const struct step *script, *at;
    int fd; // -1: none yet, or closed
    bool upstream, done, ended, reset;
    char in[PEER_BYTES];
    size_t len;
    size_t sent; // of the step at hand
    uint64_t since_turn, since_ns; // the step's begin
    uint32_t number;               // of this OP_SEND among those of its side
    uint32_t requests;
    bool raw; // bytes of a body are left lying
};

// Cuts one OP_SEND in two, with turns between.
struct split {
    bool upstream;
    uint32_t number; // of the OP_SEND
    size_t at, len;  // len: how long that text is; 0: there is none
};

struct world {
    const struct sl_sys *below; // the kernel
    const struct sl_sys *table; // what the gateway calls: the kernel, with a place to look in after each poll
    struct sl_sys real;         // it, for the real kernel
    uint64_t (*now_ns)(const struct sl_sys *sys); // what the table had before, as the next two
    int (*epoll_wait)(const struct sl_sys *sys, int epoll_fd, struct epoll_event *events, int max, int timeout_ms);
    int (*uring_enter)(const struct sl_sys *sys, int fd, uint32_t submit, uint32_t wait, uint32_t flags, const void *arg, size_t arg_len);
    struct sl_sim *sim; // NULL: the real kernel
    int kind;
    struct sl_gateway *gateway;
    struct sl_worker *worker;
    int port, upstream_port, upstream_fd, refused_port, full_port, full_fd, fillers[4];
    struct scripted clients[PEERS_MAX], ups[PEERS_MAX];
    uint32_t client_count, up_count;
    uint32_t sends[2]; // OP_SENDs so far, of clients and upstreams
    struct split split;
    uint64_t turns, skipped_ns;
    uint64_t patience; // OP_TURNS takes so many times more: what arrives by bytes needs them
    int stage;
    bool polled, started;
    void (*after_turn)(void); // plays the isolate
    const char *failed; // what a script saw that it should not have
    char failed_text[2048];
};

static struct world world;
static struct plan_builder builder;

static uint64_t world_ns(void) { return world.now_ns(world.table) + world.skipped_ns; }

static void world_fail(struct scripted *p, const char *format, ...) {
    va_list args;
    if (!world.failed) {
        size_t n = (size_t)snprintf(world.failed_text, sizeof(world.failed_text), "%s, step %d: ", p->name, (int)(p->at - p->script));
        va_start(args, format);
        vsnprintf(world.failed_text + n, sizeof(world.failed_text) - n, format, args);
        va_end(args);
        world.failed = world.failed_text;
    }
    p->done = true;
}

// Sockets of the peers.

static int wire_listen(int *out_port, int backlog, int receive_bytes) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd;
    if (world.sim) {
        fd = sl_sim_peer_listen(world.sim, &addr, backlog);
        *out_port = ntohs(addr.sin_port);
        return fd;
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (receive_bytes) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    }
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, backlog) || getsockname(fd, (struct sockaddr *)&addr, &len)) {
        perror("wire_listen");
        exit(2);
    }
    *out_port = ntohs(addr.sin_port);
    return fd;
}

static int wire_connect(int port) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (world.sim) {
        return sl_sim_peer_connect(world.sim, &addr);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    connect(fd, (struct sockaddr *)&addr, sizeof(addr));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static int wire_accept(int fd) {
    if (world.sim) {
        return sl_sim_peer_accept(world.sim, fd);
    }
    int on = 1, got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (got >= 0) {
        setsockopt(got, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    return got;
}

// Bytes (0: not now, or for a receive the end), or negative errno.
static ssize_t wire_send(int fd, const void *data, size_t len) {
    ssize_t n = world.sim ? sl_sim_peer_send(world.sim, fd, data, len) : send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    int error = n >= 0 ? 0 : world.sim ? (int)-n : errno;
    return error == 0 ? n : error == EAGAIN || error == EINTR || error == ENOTCONN ? 0 : -error;
}

static ssize_t wire_recv(int fd, void *data, size_t len) {
    ssize_t n = world.sim ? sl_sim_peer_recv(world.sim, fd, data, len) : recv(fd, data, len, MSG_DONTWAIT);
    return n >= 0 || world.sim ? n : -errno;
}

static void wire_fin(int fd) { world.sim ? sl_sim_peer_shutdown(world.sim, fd, SHUT_WR) : shutdown(fd, SHUT_WR); }
static void wire_close(int fd) { world.sim ? sl_sim_peer_close(world.sim, fd) : (void)close(fd); }

static void wire_reset(int fd) {
    struct linger rst = {1, 0};
    if (world.sim) {
        sl_sim_peer_reset(world.sim, fd);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
    close(fd);
}

// Messages.

#define PATTERN_PERIOD 23
static char pattern_at(size_t i) { return (char)('a' + i % PATTERN_PERIOD); }

// Bytes of one message at the front of `in`: 0 while it is not whole, -1 if it is no message. *out_body, *out_body_len: decoded, in `body`.
static long message(const struct scripted *p, bool bodiless, char *body, size_t *out_body_len) {
    const char *end = memmem(p->in, p->len, "\r\n\r\n", 4);
    *out_body_len = 0;
    if (!end) {
        return 0;
    }
    size_t at = (size_t)(end + 4 - p->in);
    char head[20000];
    size_t head_len = sl_min_size(at, sizeof(head) - 1);
    memcpy(head, p->in, head_len);
    head[head_len] = 0;
    bool answer = strncmp(head, "HTTP/1.1 ", 9) == 0;
    int status = answer ? atoi(head + 9) : 0;
    if (bodiless || (answer && (status < 200 || status == 204 || status == 304))) {
        return (long)at;
    }
    const char *length = strcasestr(head, "\r\ncontent-length: ");
    if (strcasestr(head, "\r\ntransfer-encoding: chunked")) {
        for (;;) {
            char *line = memmem(p->in + at, p->len - at, "\r\n", 2);
            if (!line) {
                return 0;
            }
            size_t n = strtoul(p->in + at, NULL, 16), data = (size_t)(line + 2 - p->in);
            if (p->len < data + n + 2) {
                return 0;
            }
            if (memcmp(p->in + data + n, "\r\n", 2) != 0) {
                return -1;
            }
            memcpy(body + *out_body_len, p->in + data, n);
            *out_body_len += n;
            at = data + n + 2;
            if (n == 0) {
                return (long)at;
            }
        }
    }
    if (length || !answer) {
        size_t n = length ? strtoul(length + 18, NULL, 10) : 0;
        if (p->len < at + n) {
            return 0;
        }
        memcpy(body, p->in + at, n);
        *out_body_len = n;
        return (long)(at + n);
    }
    if (!p->ended || p->reset) {
        return p->ended ? -1 : 0;
    }
    *out_body_len = p->len - at; // until the end
    memcpy(body, p->in + at, *out_body_len);
    return (long)p->len;
}

static void drop(struct scripted *p, size_t n) {
    memmove(p->in, p->in + n, p->len - n);
    p->len -= n;
}

static void receive(struct scripted *p) {
    while (p->fd >= 0 && !p->ended && p->len < sizeof(p->in) - 1) {
        ssize_t n = wire_recv(p->fd, p->in + p->len, sizeof(p->in) - 1 - p->len);
        if (n > 0) {
            p->len += (size_t)n;
        } else if (n == -EAGAIN || n == -ENOTCONN) {
            break;
        } else if (n != -EINTR) {
            p->ended = true;
            p->reset = n < 0;
        }
    }
    p->in[p->len] = 0;
}

// Steps. Each returns true when it is done.

static bool send_some(struct scripted *p, const char *data, size_t len) {
    struct split *split = &world.split;
    size_t end = len;
    if (split->at && split->upstream == p->upstream && split->number == p->number) {
        split->len = len;
        end = world.turns - p->since_turn < 4 ? sl_min_size(split->at, len) : len;
    }
    ssize_t n = p->sent < end ? wire_send(p->fd, data + p->sent, end - p->sent) : 0;
    p->sent += n > 0 ? (size_t)n : 0;
    return n < 0 || p->sent == len; // the other side is gone: the steps that follow say whether it may be
}

// Of a text that is made once: a peer tries again and again, and a kernel may take a byte each time.
static ssize_t send_pattern(struct scripted *p, size_t n) {
    static char made[65536 + PATTERN_PERIOD];
    for (size_t i = 0; !made[sizeof(made) - 1] && i < sizeof(made); i++) {
        made[i] = pattern_at(i);
    }
    ssize_t sent = wire_send(p->fd, made + p->sent % PATTERN_PERIOD, sl_min_size(n, 65536));
    p->sent += sent > 0 ? (size_t)sent : 0;
    return sent;
}

static bool fill(struct scripted *p) {
    ssize_t n = 1;
    while (n > 0 && p->sent < (size_t)p->at->n) {
        n = send_pattern(p, (size_t)p->at->n - p->sent);
    }
    return n < 0 || p->sent == (size_t)p->at->n;
}

static bool flood(struct scripted *p) {
    ssize_t n;
    bool some = false;
    while ((n = send_pattern(p, 65536)) > 0) {
        some = true;
    }
    if (some) {
        p->since_turn = world.turns;
    }
    return n < 0 || world.turns - p->since_turn >= 200;
}

static bool one_byte(struct scripted *p, bool due) {
    if (due) {
        ssize_t n = wire_send(p->fd, p->at->text + p->sent, 1);
        p->sent += n != 0; // a broken connection takes all
        p->since_turn = world.turns;
        p->since_ns = world_ns();
    }
    return p->at->text[p->sent] == 0;
}

static bool expect_answer(struct scripted *p) {
    static char body[PEER_BYTES];
    size_t n;
    const struct step *s = p->at;
    long len = message(p, s->op == OP_HEADED || s->op == OP_INTERIM, body, &n);
    if (len == 0 && !p->ended) {
        return false;
    }
    if (len <= 0) {
        world_fail(p, "%s, but no whole answer: %.200s", p->reset ? "a reset" : "an end", p->in);
        return false;
    }
    bool same = s->op != OP_ANSWER || (s->text ? strlen(s->text) == n && memcmp(s->text, body, n) == 0 : (size_t)s->n_body == n);
    for (size_t i = 0; same && s->op == OP_ANSWER && !s->text && i < n; i++) {
        same = body[i] == pattern_at(i);
    }
    if (atoi(p->in + 9) != s->n || !same) {
        world_fail(p, "expected %d \"%s\", got %.400s", s->n, s->text ? s->text : "", p->in);
    }
    drop(p, (size_t)len);
    return true;
}

// The beginning of an answer, and then a reset: nothing that a client could take for the whole.
static bool expect_broken(struct scripted *p) {
    static char body[PEER_BYTES];
    size_t n;
    if (!p->ended) {
        return false;
    }
    char *start = strstr(p->in, "\r\n\r\n");
    if (!p->reset) {
        world_fail(p, "a proper end: %.400s", p->in);
    } else if (message(p, false, body, &n) > 0) {
        world_fail(p, "a whole answer: %.400s", p->in);
    } else if (p->len > 12 && atoi(p->in + 9) != p->at->n) {
        world_fail(p, "expected a beginning of %d, got %.200s", p->at->n, p->in);
    } else if (start) {
        char *data = start + 4; // in chunks or not
        if (strcasestr(p->in, "transfer-encoding")) {
            char *line = strstr(data, "\r\n");
            data = line ? line + 2 : data + strlen(data);
        }
        size_t len = strcspn(data, "\r");
        if (strncmp(data, p->at->text, len) != 0) {
            world_fail(p, "expected a beginning of \"%s\", got \"%s\"", p->at->text, data);
        }
    }
    return true;
}

static bool take_request(struct scripted *p) {
    static char body[PEER_BYTES];
    size_t n;
    long len = message(p, false, body, &n);
    if (len == 0 && !p->ended) {
        return false;
    }
    if (len <= 0) {
        world_fail(p, "no whole request: %.200s", p->in);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (body[i] != pattern_at(i)) {
            world_fail(p, "byte %zu of the request's body is wrong", i);
            break;
        }
    }
    p->requests++;
    drop(p, (size_t)len);
    return true;
}

static bool take_head(struct scripted *p) {
    char *end = memmem(p->in, p->len, "\r\n\r\n", 4);
    if (!end) {
        if (p->ended) {
            world_fail(p, "no head");
        }
        return false;
    }
    p->requests++;
    p->raw = true;
    drop(p, (size_t)(end + 4 - p->in));
    return true;
}

static bool take_exactly(struct scripted *p) {
    const char *text = p->at->text;
    size_t at = 0;
    while (*text && at < p->len && (*text == '~' ? p->in[at] != '\r' || text[1] == '\r' : *text == p->in[at])) {
        bool rest = *text == '~' && p->in[at] != '\r';
        at += *text != '~' || rest;
        text += !rest;
    }
    if (*text && (at < p->len || p->ended)) {
        world_fail(p, "expected %.600s\n  got %.600s\n  which differs from byte %zu on", p->at->text, p->in, at);
        return false;
    }
    if (*text) {
        return false;
    }
    p->requests += p->upstream && !p->raw; // not the bytes behind a head
    drop(p, at);
    return true;
}

static bool take_nothing(struct scripted *p) {
    if (p->len > 0 || p->ended) {
        world_fail(p, "%s came: %.200s", p->ended ? "an end" : "something", p->in);
    }
    return !world.failed && world.turns - p->since_turn >= (uint64_t)p->at->n * world.patience;
}

static bool take_bytes(struct scripted *p) {
    size_t n = sl_min_size(p->len, (size_t)p->at->n - p->sent);
    for (size_t i = 0; p->at->op == OP_SAME && i < n; i++) {
        if (p->in[i] != pattern_at(p->sent + i)) {
            world_fail(p, "byte %zu is %d, not that of the pattern", p->sent + i, p->in[i]);
            return false;
        }
    }
    drop(p, n);
    p->sent += n;
    if (p->ended && p->sent < (size_t)p->at->n) {
        world_fail(p, "the end after %zu bytes", p->sent);
    }
    return p->sent == (size_t)p->at->n;
}

static bool sip(struct scripted *p) {
    char bytes[4096];
    ssize_t n = 1;
    while (n > 0 && p->sent < (size_t)p->at->n) {
        n = wire_recv(p->fd, bytes, sl_min_size(sizeof(bytes), (size_t)p->at->n - p->sent));
        p->sent += n > 0 ? (size_t)n : 0;
    }
    return p->sent == (size_t)p->at->n;
}

static bool step(struct scripted *p) {
    const struct step *s = p->at;
    switch (s->op) {
    case OP_SEND:
        return send_some(p, s->text, strlen(s->text));
    case OP_TRICKLE:
        return one_byte(p, world.turns > p->since_turn);
    case OP_DRIP:
        return one_byte(p, world_ns() - p->since_ns >= 20 * SL_NS_PER_MS) || p->ended;
    case OP_FILL:
        return fill(p);
    case OP_FLOOD:
        return flood(p);
    case OP_FIN:
        wire_fin(p->fd);
        return true;
    case OP_CLOSE:
    case OP_RESET:
        (s->op == OP_CLOSE ? wire_close : wire_reset)(p->fd);
        p->fd = -1;
        return true;
    case OP_STAGE:
        world.stage = s->n;
        return true;
    case OP_AWAIT:
        return world.stage >= s->n;
    case OP_POLLED:
        return world.stage >= s->n && world.polled;
    case OP_SIP:
        return sip(p);
    case OP_CONNS:
        return world.worker->counters.conns_live == (uint64_t)s->n;
    case OP_TURNS:
        return world.turns - p->since_turn >= (uint64_t)s->n * world.patience;
    case OP_SLEEP:
        return world_ns() - p->since_ns >= (uint64_t)s->n * SL_NS_PER_MS;
    case OP_LATER:
        if (world.sim) {
            sl_sim_advance(world.sim, (uint64_t)s->n * SL_NS_PER_MS);
        } else {
            world.skipped_ns += (uint64_t)s->n * SL_NS_PER_MS;
        }
        return true;
    default:
        break;
    }
    receive(p);
    switch (s->op) {
    case OP_REQUEST:
        return take_request(p);
    case OP_HEAD:
        return take_head(p);
    case OP_ANSWER:
    case OP_HEADED:
    case OP_INTERIM:
        return expect_answer(p);
    case OP_IS:
        return take_exactly(p);
    case OP_QUIET:
        return take_nothing(p);
    case OP_BYTES:
    case OP_SAME:
        return take_bytes(p);
    case OP_BROKEN:
        return expect_broken(p);
    case OP_EOF:
        if (p->len > 0 || p->reset) {
            world_fail(p, "expected a proper end, got %s %.200s", p->reset ? "a reset" : "bytes", p->in);
        }
        return p->ended;
    default:
        p->len = 0;
        return p->ended;
    }
}

static void enter_step(struct scripted *p) {
    p->sent = 0;
    p->since_turn = world.turns;
    p->since_ns = world_ns();
    p->number = p->at->op == OP_SEND ? world.sends[p->upstream]++ : UINT32_MAX;
    p->done = p->done || p->at->op == OP_END;
}

static bool advance(struct scripted *p) {
    bool some = false;
    while (!p->done && step(p)) {
        p->at++;
        enter_step(p);
        some = true;
    }
    return some;
}

static void begin_peer(struct scripted *p, const char *name, const struct step *script, int fd) {
    p->name = name;
    p->upstream = p >= world.ups && p < world.ups + PEERS_MAX;
    p->script = p->at = script;
    p->fd = fd;
    p->done = p->ended = p->reset = p->raw = false;
    p->len = 0;
    p->requests = 0;
    enter_step(p);
}

// All that the peers can do now.
static bool peers_run(const struct step ups[][STEPS_MAX], uint32_t ups_max) {
    static const char *const names[] = {"upstream connection 0", "upstream connection 1", "upstream connection 2", "upstream connection 3"};
    bool some = false, again = true;
    int fd;
    while ((fd = wire_accept(world.upstream_fd)) >= 0) {
        if (world.up_count == PEERS_MAX || world.up_count >= ups_max || ups[world.up_count][0].op == OP_END) {
            struct scripted none = {.name = "an upstream connection that no script is for"};
            world_fail(&none, "it came");
            wire_close(fd);
            continue;
        }
        begin_peer(&world.ups[world.up_count], names[world.up_count], ups[world.up_count], fd);
        world.up_count++;
        some = true;
    }
    while (again) {
        again = false;
        for (uint32_t i = 0; i < world.client_count; i++) {
            again = advance(&world.clients[i]) || again;
        }
        for (uint32_t i = 0; i < world.up_count; i++) {
            again = advance(&world.ups[i]) || again;
        }
        some = some || again;
    }
    return some;
}

// The kernel, with a look in after each poll: what the peers do then the worker finds in the kernel only at its next poll.

static void after_poll(void) {
    world.polled = true;
    for (uint32_t i = 0; i < world.up_count; i++) {
        if (world.ups[i].at->op == OP_POLLED) {
            advance(&world.ups[i]);
        }
    }
    world.polled = false;
}

static uint64_t world_now_ns(const struct sl_sys *sys) {
    (void)sys;
    return world_ns();
}

static int world_epoll_wait(const struct sl_sys *sys, int epoll_fd, struct epoll_event *events, int max, int timeout_ms) {
    int n = world.epoll_wait(sys, epoll_fd, events, max, timeout_ms), error = errno;
    after_poll();
    errno = error;
    return n;
}

static int world_uring_enter(const struct sl_sys *sys, int fd, uint32_t submit, uint32_t wait, uint32_t flags, const void *arg,
                             size_t arg_len) {
    int n = world.uring_enter(sys, fd, submit, wait, flags, arg, arg_len), error = errno;
    after_poll();
    errno = error;
    return n;
}

// Life.

// sim: NULL for the real kernel.
static bool world_open(int kind, struct sl_sim *sim, struct sl_config config, void (*make_plan)(void)) {
    struct world *w = &world;
    memset(w, 0, sizeof(*w));
    w->sim = sim;
    w->patience = 1;
    w->real = sl_sys_kernel;
    // A simulated kernel is an object that its table is a part of: it is changed in its place.
    struct sl_sys *sys = sim ? (struct sl_sys *)(uintptr_t)sl_sim_sys(sim) : &w->real;
    w->now_ns = sys->now_ns;
    w->epoll_wait = sys->epoll_wait;
    w->uring_enter = sys->uring_enter;
    sys->now_ns = world_now_ns;
    sys->epoll_wait = world_epoll_wait;
    sys->uring_enter = world_uring_enter;
    w->table = sys;
    w->below = sim ? sys : &sl_sys_kernel;
    w->kind = kind;
    w->upstream_fd = wire_listen(&w->upstream_port, 64, 16384);
    int fd = wire_listen(&w->refused_port, 1, 0);
    wire_close(fd);
    w->full_fd = wire_listen(&w->full_port, 0, 0);
    for (int i = 0; i < 4; i++) { // its queue is full: who comes now stays connecting
        w->fillers[i] = wire_connect(w->full_port);
    }
    config.io = sim ? SL_IO_EPOLL : (uint32_t)kind; // the simulated kernel has both, whatever this one has
    if (sl__gateway_new(&w->gateway, &config)) {
        printf("# %s\n", sl_fail_text());
        return false;
    }
    w->gateway->sys = sys;
    w->gateway->io_kind = kind;
    make_plan();
    uint32_t len = plan_finish(&builder);
    w->port = sl__gateway_listen(w->gateway, sl_span_of("127.0.0.1:0"), SL_NO_CERTIFICATE);
    w->worker = &w->gateway->workers[0];
    bool ok = w->port > 0 && sl__gateway_plan(w->gateway, (struct sl_span){builder.blob, len}) == 0 && sl_worker_open(w->worker) == 0;
    if (!ok) {
        printf("# %s\n", sl_fail_text());
    }
    w->started = ok;
    return ok;
}

static int world_turn(uint64_t wait_ns) {
    world.turns++;
    int rc = sl_worker_turn(world.worker, wait_ns);
    if (world.after_turn) {
        world.after_turn();
    }
    return rc;
}

static void world_close(void) {
    struct world *w = &world;
    if (w->started) {
        atomic_store(&w->gateway->drain_ms, 2000);
        atomic_fetch_or(&w->worker->commands, SL_COMMAND_DRAIN);
        int rc = 0;
        while (rc == 0) {
            rc = world_turn(SL_NS_PER_MS);
        }
        CHECK_INT(rc, SL_WORKER_DRAINED);
        struct sl_counters *c = &w->worker->counters;
        CHECK_INT(c->io_ops_armed, 0);
        CHECK_INT(c->io_stale_cqes, 0);
        CHECK_INT(c->conns_accepted, c->conns_closed);
    }
    sl_worker_close(w->worker);
    sl__gateway_free(w->gateway);
    for (int i = 0; i < 4; i++) {
        wire_close(w->fillers[i]);
    }
    wire_close(w->full_fd);
    wire_close(w->upstream_fd);
    if (w->sim) {
        CHECK_INT(sl_sim_fds(w->sim), 0);
        CHECK_INT(sl_sim_armed(w->sim), 0);
        sl_sim_free(w->sim);
    }
}

// Everything that a row may have taken is back.
static bool at_baseline(void) {
    const struct sl_worker *w = world.worker;
    const struct sl_counters *c = &w->counters;
    return c->conns_live == 0 && c->requests_live == 0 && c->upstream_live == 0 && c->upstream_idle == 0 && c->upstream_waiting == 0 && c->exchanges_live == 0 &&
           sl_buf_lent(&w->bufs) == 0 && w->conns.used == 0 && w->requests.used == 0 && w->outqs.used == 0 &&
           w->upstream_conns.used == 0 && c->io_starved == 0;
}

static void say_baseline(const char *name) {
    const struct sl_worker *w = world.worker;
    const struct sl_counters *c = &w->counters;
    CHECK_MSG(false, "%s: left behind: conns %llu, requests %llu, upstream %llu (idle %llu, in line %llu), buffers %u, outqs %u", name,
              (unsigned long long)c->conns_live, (unsigned long long)c->requests_live, (unsigned long long)c->upstream_live,
              (unsigned long long)c->upstream_idle, (unsigned long long)c->upstream_waiting, sl_buf_lent(&w->bufs), w->outqs.used);
}

#endif
