// Whole connections: a worker on the simulated kernel (sim.h), whose clients and upstream say and do what the input tells them, in the order that
// it tells. Nobody's bytes may break a check of the worker or of the kernel, unbalance the books, wait for ever, send a client anything but
// answers, or an upstream anything but requests.
//
// The input: four bytes that choose (their low bits count, so that they can be digits), then text. Text is what the chosen peer sends; '~' and the
// byte behind it are a command:
//   a b c d  this client speaks from here on; it connects if it has not, or is done   A B C D  this connection of the upstream, if it comes
//   f x r    the peer's FIN, close, reset        s g  it stops receiving, goes on         z Z  it sends 3,000, 40,000 bytes of a body
//   t        a turn of the worker                T    eight, and time passes              w    turns, until it has been asked, or answered
//   0-9      time passes: `jumps`                p    the plan is loaded again            ~    a '~'
//   !        what was said since the last command, and what follows up to a turn, comes between that turn's poll and its work
// The four: kernel (1: io_uring; 2: small socket buffers; 4: storms; 6: storms that also break connections), its seed, limits, and how it ends
// (0: the peers close; 1: they stay and every timeout strikes; 2: a drain with open connections).
#define SL_TEST_CHECKS_ONLY
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>

#include "balance.h"
#include "gateway.h"
#include "http1_chunk.h"
#include "http1_parse.h"
#include "http1_write.h"
#include "plan_builder.h"
#include "sim.h"

#define SIDE_MAX 4
#define OUT_MAX (256u << 10)
#define IN_MAX (64u << 10) // more than a head
#define METHODS_MAX 4096
#define END_TURNS_MAX 100000
#define EXCESS_TURNS_MAX 2
#define NO_PORT 9 // nobody listens there

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

// One direction of a connection, as messages one after the other.
enum stream_state {
    AT_HEAD,
    IN_LENGTH,
    IN_CHUNKS,
    IN_REST, // until the end
    AT_LAST, // the last message said that none follows
    BROKEN,
    UNKNOWN, // whose turn it is cannot be told from here
};

struct stream {
    uint8_t *data;
    size_t len, at; // known so far; read so far
    enum stream_state state;
    uint32_t count; // heads of requests, or of final answers
    uint32_t whole;    // final answers of an upstream that are complete
    bool of_upstream;  // else those are an upstream's that say via whom they came
    bool last, counts; // of the message at hand
    uint64_t left;
    struct sl_chunk_decoder chunk;
    struct sl_head head;
    uint8_t methods[METHODS_MAX]; // of requests
};

struct peer {
    int fd; // -1: none
    bool upstream, stopped, ended, reset, gone, fin, fin_sent;
    struct stream sent, received;
    size_t out_len; // of which sent.len are sent
    uint64_t received_bytes;
    const char *tainted;    // of an upstream: why no further request may come
    uint32_t requests_then; // that had come
    uint8_t out[OUT_MAX], in[IN_MAX];
};

static struct peer peers[2 * SIDE_MAX]; // clients, upstreams
static struct plan_builder builder;
static uint32_t blob_len;

static struct world {
    struct sl_sim *sim;
    struct sl_gateway *gateway;
    struct sl_worker *worker;
    int port, upstream_fd;
    struct peer *speaker;
    bool exact; // what was sent has arrived
    uint32_t excess; // turns with more in the pool than may be
    bool late;  // what the peers do next the worker finds at its poll after the next
    int (*epoll_wait)(const struct sl_sys *sys, int epoll_fd, struct epoll_event *events, int max, int timeout_ms);
    int (*uring_enter)(const struct sl_sys *sys, int fd, uint32_t submit, uint32_t wait, uint32_t flags, const void *arg, size_t arg_len);
    uint64_t requests[2]; // of clients; to upstreams
    uint64_t answers[2];  // complete: of upstreams; of those to clients
    bool unsure;          // of upstreams, there may have been more
} world;

static const struct sl_config configs[] = {
    {.conns_max = 8, .requests_max = 8, .small_bufs = 64, .large_bufs = 64, .pipeline_requests_max = 8},
    {.conns_max = 2, .requests_max = 1, .small_bufs = 64, .large_bufs = 64, .high_watermark_bytes = 4096, .low_watermark_bytes = 1024,
     .pipeline_bytes_max = 4096, .linger_bytes_max = 100, .linger_ms = 50},
    {.conns_max = 4, .requests_max = 4, .small_bufs = 64, .large_bufs = 64, .head_bytes_max = 1024, .line_bytes_max = 64, .fields_max = 6,
     .requests_per_conn_max = 3, .pipeline_requests_max = 1, .conn_age_ms = 5000},
    {.conns_max = 8, .requests_max = 8, .small_bufs = 64, .large_bufs = 64, .head_timeout_ms = 200, .body_timeout_ms = 200, .idle_timeout_ms = 300,
     .write_stall_ms = 200, .body_grace_ms = 100},
};
static struct sl_gateway *gateways[SL_COUNT_OF(configs)];
static const uint32_t jumps[] = {0, 1, 5, 20, 100, 260, 1100, 3000, 11000, 70000}; // ms

static void found(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void found(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    abort();
}

// Streams.

static void stream_init(struct stream *s, uint8_t *data) {
    s->data = data;
    s->len = s->at = s->left = 0;
    s->state = AT_HEAD;
    s->count = s->whole = 0;
    s->last = s->counts = false;
    s->head.scanned = s->head.skipped = 0;
}

static void stream_message_end(struct stream *s) {
    s->whole += s->counts;
    s->counts = false;
    s->state = s->last ? AT_LAST : AT_HEAD;
    s->head.scanned = s->head.skipped = 0;
}

static void stream_body(struct stream *s) {
    static const enum stream_state states[] = {AT_HEAD, IN_LENGTH, IN_CHUNKS, IN_REST};
    s->at += s->head.skipped + s->head.len;
    s->state = states[s->head.body];
    s->left = s->head.body == SL_BODY_LENGTH ? s->head.content_length : 0;
    sl_chunk_init(&s->chunk);
    if (s->state == IN_REST && s->of_upstream) { // it can end at any byte
        s->whole += s->counts;
    }
    if (s->head.body == SL_BODY_NONE || (s->head.body == SL_BODY_LENGTH && s->left == 0)) {
        stream_message_end(s);
    }
}

// False: no further for now.
static bool stream_head(struct stream *s, const struct stream *asked, const struct sl_head_limits *limits) {
    enum sl_method method = asked && s->count < asked->count ? (enum sl_method)asked->methods[s->count] : SL_METHOD_GET;
    uint8_t *data = s->data + s->at;
    int rc = asked ? sl_http1_parse_response(&s->head, data, s->len - s->at, limits, method)
                   : sl_http1_parse_request(&s->head, data, s->len - s->at, limits);
    if (rc <= 0) {
        s->state = rc < 0 ? BROKEN : s->state;
        return false;
    }
    bool interim = asked && s->head.status < 200;
    s->last = asked && !interim && !(s->head.flags & SL_HEAD_KEEP_ALIVE);
    s->counts = asked && !interim && (s->of_upstream || sl_http1_via_has(&s->head, data + s->head.skipped, sl_span_of("sluice")));
    if (!asked) {
        s->methods[s->count] = s->head.method;
    }
    s->count += !interim;
    stream_body(s);
    s->state = s->count == METHODS_MAX ? UNKNOWN : s->state;
    return true;
}

static bool stream_chunks(struct stream *s) {
    size_t used;
    struct sl_span piece;
    int rc = sl_chunk_decode(&s->chunk, s->data + s->at, s->len - s->at, &used, &piece);
    if (rc < 0) {
        s->state = BROKEN;
        return false;
    }
    s->at += used;
    if (rc == SL_CHUNK_DONE) {
        stream_message_end(s);
    }
    return true;
}

// One step: a head, or a part of a body. asked: the requests that these are answers to; NULL: these are requests.
static bool stream_step(struct stream *s, const struct stream *asked, const struct sl_head_limits *limits) {
    size_t n = s->len - s->at;
    if (n == 0) {
        return false;
    }
    switch (s->state) {
    case AT_HEAD:
        return stream_head(s, asked, limits);
    case IN_LENGTH:
        n = (size_t)sl_min_u64(n, s->left);
        s->at += n;
        s->left -= n;
        if (s->left == 0) {
            stream_message_end(s);
        }
        return true;
    case IN_CHUNKS:
        return stream_chunks(s);
    case IN_REST:
    case UNKNOWN:
        s->at = s->len;
        return true;
    default:
        return false;
    }
}

static bool stream_between(const struct stream *s) { return s->at == s->len && (s->state == AT_HEAD || s->state == AT_LAST); }

// What has been read is not needed any more.
static void stream_compact(struct stream *s) {
    memmove(s->data, s->data + s->at, s->len - s->at);
    s->len -= s->at;
    s->at = 0;
}

// Peers.

static const struct sl_head_limits wide = {32768, 20000, SL_FIELDS_MAX};

static struct sl_head_limits of_clients(void) {
    const struct sl_config *c = &world.gateway->config;
    return (struct sl_head_limits){c->head_bytes_max, c->line_bytes_max, c->fields_max};
}

static void peer_begin(struct peer *p, int fd) {
    p->fd = fd;
    p->upstream = p >= peers + SIDE_MAX;
    p->stopped = p->ended = p->reset = p->gone = p->fin = p->fin_sent = false;
    p->out_len = 0;
    p->received_bytes = 0;
    p->tainted = NULL;
    stream_init(&p->sent, p->out);
    stream_init(&p->received, p->in);
    p->sent.of_upstream = p->upstream;
    p->received.of_upstream = false;
}

static void peer_end(struct peer *p, bool reset) {
    if (p->fd >= 0) {
        (reset ? sl_sim_peer_reset : sl_sim_peer_close)(world.sim, p->fd);
        p->fd = -1;
    }
}

// What a client has received: answers to what it has sent, at most one for each request; an error may be one more, and is the last.
static void client_check(struct peer *p) {
    struct stream *s = &p->received;
    uint32_t whole = s->whole;
    while (s->at < s->len) {
        uint32_t count = s->count;
        if (s->state == AT_LAST) {
            found("a client gets bytes behind its last answer: %.*s", (int)sl_min_size(s->len - s->at, 200), s->data + s->at);
        }
        bool more = stream_step(s, &p->sent, &wide);
        if (s->state == BROKEN) {
            found("a client gets what is no answer: %.*s", (int)sl_min_size(s->len - s->at, 200), s->data + s->at);
        }
        if (s->count > count && count >= p->sent.count && p->sent.state != UNKNOWN) {
            if (s->head.status < 400 || !s->last) {
                found("a client gets answer %u (%d) to %u requests", s->count, s->head.status, p->sent.count);
            }
            s->state = UNKNOWN; // whether it has a body depends on a request that we cannot read
        }
        if (!more) {
            break;
        }
    }
    // A reset is told once: to a send, if that comes first.
    if (p->ended && !p->reset && !p->gone && s->state != UNKNOWN && s->state != IN_REST && !stream_between(s)) {
        found("an answer ends early and properly: state %d, %llu bytes missing", s->state, (unsigned long long)s->left);
    }
    world.answers[1] += s->whole - whole;
    if (world.answers[1] > world.answers[0] && !world.unsure) {
        found("clients get %llu whole answers, and the upstream sent %llu", (unsigned long long)world.answers[1],
              (unsigned long long)world.answers[0]);
    }
    stream_compact(s);
}

// What an upstream has received: requests, and none on a connection that must not be used again.
static void upstream_check(struct peer *p) {
    struct stream *s = &p->received;
    uint32_t count = s->count;
    while (stream_step(s, NULL, &wide)) {
    }
    if (s->state == BROKEN) {
        found("an upstream gets what is no request: %.*s", (int)sl_min_size(s->len - s->at, 200), s->data + s->at);
    }
    if (p->tainted && s->count > p->requests_then) {
        found("an upstream connection is used again after %s", p->tainted);
    }
    world.requests[1] += s->count - count;
    if (world.requests[1] > world.requests[0] + world.worker->counters.upstream_retries) {
        found("%llu requests reach the upstream, and clients made %llu", (unsigned long long)world.requests[1],
              (unsigned long long)world.requests[0]);
    }
    stream_compact(s);
}

static void taint(struct peer *p, const char *why) {
    p->tainted = why;
    p->requests_then = p->received.count;
}

// What an upstream has sent: answers to what it has received, or a reason not to use its connection again.
static void upstream_sent(struct peer *p) {
    struct stream *s = &p->sent, *asked = &p->received;
    uint32_t whole = s->whole;
    while (!p->tainted && s->at < s->len && s->state != UNKNOWN) {
        if (s->state == AT_HEAD && s->count >= asked->count) { // nobody asked; or we have not read it, or it was under way
            bool exact = world.exact && asked->count > 0 && stream_between(asked) && sl_sim_peer_arrived(world.sim, p->fd) == p->received_bytes;
            if (exact) {
                taint(p, "bytes that nobody asked for");
            } else {
                s->state = UNKNOWN;
            }
            break;
        }
        bool more = stream_step(s, asked, &wide);
        if (s->state == BROKEN) {
            taint(p, "a malformed answer");
        } else if (s->state == AT_LAST || s->state == IN_REST) {
            taint(p, "an answer that is the last");
        }
        if (!more) {
            break;
        }
    }
    world.answers[0] += s->whole - whole;
    world.unsure = world.unsure || s->state == UNKNOWN;
}

static bool peer_receive(struct peer *p) {
    struct stream *s = &p->received;
    bool some = false;
    while (p->fd >= 0 && !p->ended && !p->stopped && s->len < IN_MAX) {
        ssize_t n = sl_sim_peer_recv(world.sim, p->fd, p->in + s->len, IN_MAX - s->len);
        if (n == -EAGAIN || n == -ENOTCONN) {
            break;
        }
        some = true;
        p->ended = n <= 0;
        p->reset = n < 0;
        s->len += n > 0 ? (size_t)n : 0;
        p->received_bytes += n > 0 ? (uint64_t)n : 0;
        (p->upstream ? upstream_check : client_check)(p);
    }
    return some;
}

static void peer_sent(struct peer *p, size_t n) {
    p->sent.len += n;
    if (p->upstream) {
        upstream_sent(p);
        return;
    }
    struct sl_head_limits limits = of_clients();
    uint32_t count = p->sent.count;
    while (stream_step(&p->sent, NULL, &limits)) {
    }
    world.requests[0] += p->sent.count - count;
}

static bool peer_send(struct peer *p) {
    bool some = false;
    while (p->fd >= 0 && !p->gone && p->sent.len < p->out_len) {
        ssize_t n = sl_sim_peer_send(world.sim, p->fd, p->out + p->sent.len, p->out_len - p->sent.len);
        if (n == 0 || n == -EAGAIN || n == -ENOTCONN) {
            break;
        }
        some = true;
        p->gone = n < 0;
        peer_sent(p, n > 0 ? (size_t)n : 0);
    }
    if (p->fd >= 0 && p->fin && !p->fin_sent && p->sent.len == p->out_len) {
        p->fin_sent = sl_sim_peer_shutdown(world.sim, p->fd, SHUT_WR) == 0;
    }
    return some;
}

static void upstreams_accept(void) {
    int fd;
    while ((fd = sl_sim_peer_accept(world.sim, world.upstream_fd)) >= 0) {
        struct peer *p = peers + SIDE_MAX;
        while (p < peers + 2 * SIDE_MAX && p->fd >= 0) {
            p++;
        }
        if (p == peers + 2 * SIDE_MAX) {
            sl_sim_peer_close(world.sim, fd);
        } else {
            peer_begin(p, fd);
        }
    }
}

static void peers_run(void) {
    upstreams_accept();
    for (struct peer *p = peers; p < peers + 2 * SIDE_MAX; p++) {
        for (bool some = true; some;) {
            some = peer_receive(p);
            some = peer_send(p) || some;
        }
        if (p->upstream && p->ended) {
            peer_end(p, false);
        }
    }
}

// A connection rests in the pool only between two requests: the rest of one that was answered early is no beginning of the next. One whose upstream
// has closed may be there until the worker reads on, which it does once the answer before the end has found its way.
static void pool_check(void) {
    uint64_t may_rest = 0;
    for (struct peer *p = peers + SIDE_MAX; p < peers + 2 * SIDE_MAX; p++) {
        peer_receive(p);
        may_rest += p->fd >= 0 && (p->stopped || stream_between(&p->received));
    }
    world.excess = world.worker->counters.upstream_idle > may_rest ? world.excess + 1 : 0;
    if (world.exact && world.excess > EXCESS_TURNS_MAX) {
        found("%llu connections are pooled, %llu may be", (unsigned long long)world.worker->counters.upstream_idle, (unsigned long long)may_rest);
    }
}

static void after_poll(void) {
    if (world.late) {
        world.late = false;
        peers_run();
    }
}

static int late_epoll_wait(const struct sl_sys *sys, int epoll_fd, struct epoll_event *events, int max, int timeout_ms) {
    int n = world.epoll_wait(sys, epoll_fd, events, max, timeout_ms), error = errno;
    after_poll();
    errno = error;
    return n;
}

static int late_uring_enter(const struct sl_sys *sys, int fd, uint32_t submit, uint32_t wait, uint32_t flags, const void *arg, size_t arg_len) {
    int n = world.uring_enter(sys, fd, submit, wait, flags, arg, arg_len), error = errno;
    after_poll();
    errno = error;
    return n;
}

static int turn(uint64_t wait_ns) {
    if (!world.late) {
        peers_run();
    }
    int rc = sl_worker_turn(world.worker, wait_ns);
    pool_check();
    if (rc < 0) {
        found("the loop is lost: %s", sl_fail_text());
    }
    check_balance(&world.worker->counters);
    if (test_failures) {
        abort();
    }
    return rc;
}

static void turns(uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        turn(SL_NS_PER_MS);
    }
}

// Commands.

static void client_speaks(struct peer *p) {
    if (p->fd >= 0 && p->ended) {
        peer_end(p, false);
    }
    if (p->fd < 0) {
        struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)world.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        peer_begin(p, sl_sim_peer_connect(world.sim, &addr));
    }
    world.speaker = p;
}

static void upstream_speaks(struct peer *p) {
    for (int i = 0; i < 16 && p->fd < 0; i++) {
        turns(1);
    }
    world.speaker = p;
}

static void say(const uint8_t *data, size_t len) {
    struct peer *p = world.speaker;
    if (p->fd >= 0 && !p->fin && OUT_MAX - p->out_len >= len) {
        memcpy(p->out + p->out_len, data, len);
        p->out_len += len;
    }
}

// Until an upstream has a request to answer, or a client all its answers.
static void await_head(const struct peer *p) {
    for (int i = 0; i < 64 && p->fd >= 0 && (p->upstream ? p->received.count <= p->sent.count : p->received.count < p->sent.count); i++) {
        turns(1);
    }
}

static void command(uint8_t c) {
    static const uint8_t body[40000];
    struct peer *p = world.speaker;
    if (!strchr("~zZ!", c) && p->fd >= 0 && !world.late) {
        peer_receive(p);
        peer_send(p);
    }
    if (c >= 'a' && c < 'a' + SIDE_MAX) {
        client_speaks(&peers[c - 'a']);
    } else if (c >= 'A' && c < 'A' + SIDE_MAX) {
        upstream_speaks(&peers[SIDE_MAX + c - 'A']);
    } else if (c >= '0' && c <= '9') {
        sl_sim_advance(world.sim, jumps[c - '0'] * SL_NS_PER_MS);
        turn(0);
    } else if (c == 'x' || c == 'r') {
        peer_end(p, c == 'r');
    } else if (c == 's' || c == 'g') {
        p->stopped = c == 's';
    } else if (c == 'z' || c == 'Z') {
        say(body, c == 'z' ? 3000 : sizeof(body));
    } else if (c == 't' || c == 'T') {
        c == 't' ? (void)turn(0) : turns(8);
    } else if (c == 'p') {
        sl__gateway_plan(world.gateway, (struct sl_span){builder.blob, blob_len});
    } else if (c == 'f') {
        p->fin = true;
    } else if (c == 'w') {
        await_head(p);
    } else if (c == '!') {
        world.late = true;
    } else if (c == '~') {
        say(&c, 1);
    }
}

static void play(const uint8_t *data, size_t size) {
    for (size_t at = 0; at < size;) {
        const uint8_t *tilde = memchr(data + at, '~', size - at);
        size_t n = tilde ? (size_t)(tilde - data) - at : size - at;
        say(data + at, n);
        at += n;
        if (at + 1 < size) {
            command(data[at + 1]);
        }
        at += 2;
    }
    turns(2);
}

// Life.

static void make_plan(uint16_t upstream_port) {
    struct plan_builder *b = &builder;
    plan_init(b);
    b->header.flags = SL_PLAN_F_NOT_FOUND_NATIVE;
    plan_respond(b, SL_METHOD_GET, "/native", 200, "content-type: text/plain\r\n", "native", 6);
    plan_respond(b, SL_PLAN_METHOD_ALL, "/empty", 204, "", "", 0);
    plan_respond(b, SL_PLAN_METHOD_ALL, "/moved", 308, "location: /native\r\n", "", 0);
    plan_entry(b, SL_PLAN_METHOD_ALL, "/whoami", SL_PLAN_OP_WHOAMI, 0);
    plan_entry(b, SL_PLAN_METHOD_ALL, "/h/*", SL_PLAN_OP_HEADERS, plan_headers(b, "-cookie|=x-a: b|+via: 1.1 c", "-server|=x-b: c|+set-cookie: d"));
    plan_respond(b, SL_METHOD_GET, "/h/native", 200, "server: x\r\n", "native", 6);
    struct sl_plan_upstream *ups[] = {
        plan_proxy(b, SL_PLAN_METHOD_ALL, "/refused", NO_PORT),
        plan_proxy(b, SL_PLAN_METHOD_ALL, "/one", upstream_port),
        plan_proxy(b, SL_PLAN_METHOD_ALL, "/u/*", upstream_port),
        plan_proxy(b, SL_PLAN_METHOD_ALL, "/h/*", upstream_port),
        plan_proxy(b, SL_PLAN_METHOD_ALL, "/", upstream_port),
    };
    for (size_t i = 0; i < SL_COUNT_OF(ups); i++) {
        ups[i]->conns_max = 3;
        ups[i]->idle_max = 2;
    }
    ups[1]->conns_max = ups[1]->idle_max = 1;
    ups[1]->head_timeout_ms = ups[1]->idle_timeout_ms = 200;
    blob_len = plan_finish(b);
}

// The parts of a gateway that do not change are kept: only its worker, its listener and its kernel are new each time.
static struct sl_gateway *gateway_of(size_t i) {
    if (!gateways[i]) {
        struct sl_config config = configs[i];
        config.io = SL_IO_EPOLL; // the simulated kernel has both, whatever this one has
        config.workers = 1;
        if (sl__gateway_new(&gateways[i], &config) || sl__gateway_plan(gateways[i], (struct sl_span){builder.blob, blob_len})) {
            found("no gateway: %s", sl_fail_text());
        }
    }
    return gateways[i];
}

static struct sl_sim *sim_of(uint8_t knob, uint8_t seed) {
    struct sl_sim_config config = {.seed = seed, .cq_max = 256, .sq_max = 128};
    uint32_t kind = knob / 2 % 4;
    config.stormy = kind >= 2;
    config.unbroken = kind == 2;
    if (kind == 1) {
        config.send_bytes = 1 + seed * 17u;
        config.receive_bytes = 1 + seed * 11u;
    }
    if (config.stormy) {
        config.cq_max = config.sq_max = 0;
    }
    world.exact = kind == 0;
    return sl_sim_new(&config);
}

static bool world_open(const uint8_t knobs[4]) {
    struct sockaddr_in addr;
    memset(&world, 0, sizeof(world));
    world.sim = sim_of(knobs[0], knobs[1]);
    world.speaker = peers;
    for (struct peer *p = peers; p < peers + 2 * SIDE_MAX; p++) {
        peer_begin(p, -1);
    }
    world.upstream_fd = sl_sim_peer_listen(world.sim, &addr, 16);
    if (blob_len == 0) {
        make_plan(ntohs(addr.sin_port)); // the same in each life of the kernel
    }
    struct sl_gateway *g = world.gateway = gateway_of(knobs[2] % SL_COUNT_OF(configs));
    struct sl_worker *w = world.worker = &g->workers[0];
    memset(w, 0, sizeof(*w));
    w->gateway = g;
    sl_handoff_init(&w->inbox);
    struct sl_sys *sys = (struct sl_sys *)(uintptr_t)sl_sim_sys(world.sim); // an object that its table is a part of
    world.epoll_wait = sys->epoll_wait;
    world.uring_enter = sys->uring_enter;
    sys->epoll_wait = late_epoll_wait;
    sys->uring_enter = late_uring_enter;
    g->sys = sys;
    g->io_kind = knobs[0] % 2 ? SL_IO_URING : SL_IO_EPOLL;
    g->listener_count = 0;
    world.port = sl__gateway_listen(g, sl_span_of("127.0.0.1:0"), SL_NO_CERTIFICATE);
    return sl_worker_open(w) == SL_OK && world.port > 0;
}

// The end of all: by itself or by a drain, but an end.
static void world_end(uint32_t kind) {
    struct sl_worker *w = world.worker;
    world.late = false;
    sl_sim_calm(world.sim);
    for (uint32_t i = 0; kind == 1 && (w->counters.conns_live > 0 || w->counters.upstream_live > 0); i++) {
        if (i == END_TURNS_MAX) {
            found("a connection stays for ever");
        }
        turn(10 * SL_NS_PER_S);
    }
    for (struct peer *p = peers; kind == 0 && p < peers + 2 * SIDE_MAX; p++) {
        peer_end(p, false);
    }
    atomic_store(&world.gateway->drain_ms, 2000);
    atomic_fetch_or(&w->commands, SL_COMMAND_DRAIN);
    for (uint32_t i = 0; turn(SL_NS_PER_S) != SL_WORKER_DRAINED; i++) {
        if (i == END_TURNS_MAX) {
            found("the drain does not end");
        }
    }
    check_nothing_left(&w->counters);
    CHECK_INT(sl_buf_lent(&w->bufs), 0);
    CHECK_INT(w->conns.used + w->requests.used + w->outqs.used + w->upstream_conns.used, 0);
    CHECK_INT(w->counters.upstream_live + w->counters.upstream_idle + w->counters.upstream_waiting, 0);
}

static void world_close(void) {
    struct sl_gateway_listener *listener = world.gateway->listeners;
    sl_worker_close(world.worker);
    if (world.gateway->listener_count > 0 && listener->fds[0] >= 0) { // the worker did not come so far
        world.gateway->sys->close(world.gateway->sys, listener->fds[0]);
    }
    CHECK_INT(sl_sim_fds(world.sim), 0);
    CHECK_INT(sl_sim_armed(world.sim), 0);
    sl_sim_free(world.sim);
    if (test_failures) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4) {
        return 0;
    }
    if (world_open(data)) {
        client_speaks(&peers[0]);
        play(data + 4, size - 4);
        world_end(data[3] % 3);
    }
    world_close();
    return 0;
}

// Bytes that are changed at random seldom make a request: so half of the time a whole phrase comes in, at the place of a command.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    static const char *const phrases[] = {
        "~a", "~b", "~A", "~B", "~A~w", "~B~w", "~T", "~t", "~f", "~r", "~x", "~s", "~g", "~z", "~Z", "~p", "~!", "~5", "~7", "~9",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /one HTTP/1.1\r\nHost: a\r\n\r\n", "GET /native HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /u/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /h/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n~z", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /whoami HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", "2\r\nok\r\n", "0\r\n\r\n", "BB8;a=b\r\n~z\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n~Z",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n",
    };
    const char *phrase = phrases[seed / 2 % SL_COUNT_OF(phrases)];
    size_t len = strlen(phrase);
    if (seed % 2 || size < 4 || size + len > max_size) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    size_t at = 4 + seed / 128 % (size - 3);
    while (at < size && data[at] != '~') {
        at++;
    }
    memmove(data + at + len, data + at, size - at);
    memcpy(data + at, phrase, len);
    return size + len;
}
