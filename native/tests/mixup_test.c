// Whose bytes are these? Many clients through the proxy to an upstream whose answers name their request: id, length, and a body that only this id
// has. Random sizes from 0 to 200 KiB, length, chunks and until close, pipelining, half-closes, early answers, and cut-offs by either side at any
// byte. Each byte of each body is checked, in both directions; at the end no descriptor, slot or buffer is left.
//
// 20,000 requests on each backend; SLUICE_SOAK=N for another number (SLUICE_SOAK=1: a million). SLUICE_TEST_SEED repeats the choices; which thread
// runs when is the kernel's.
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>

#include "peer.h"
#include "plan_builder.h"
#include "sluice/counters.h"
#include "sluice/sluice.h"
#include "test.h"

#define CONNS 48
#define PIPELINE 4
#define BODY_MAX (200 * 1024)
#define SPREAD (1 << 20) // a body is a piece of `noise`, which begins where its id says
#define IOV_MAX_HERE 128
#define STUCK_S 30

static uint8_t noise[SPREAD + BODY_MAX];
static _Atomic uint64_t errors;
static pthread_mutex_t first_lock = PTHREAD_MUTEX_INITIALIZER;
static char first_error[512];

static void wrong(const char *format, ...) {
    va_list args;
    pthread_mutex_lock(&first_lock);
    char text[512];
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (atomic_fetch_add(&errors, 1) == 0) {
        memcpy(first_error, text, sizeof(text));
    }
    pthread_mutex_unlock(&first_lock);
}

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t draw(uint64_t *state) { return mix(*state += 0x9e3779b97f4a7c15u); }
static uint32_t below(uint64_t *state, uint32_t n) { return (uint32_t)(draw(state) % n); }

// Log-uniform: many small ones, and each size up to the largest.
static uint32_t size_of(uint64_t *state) {
    uint32_t bits = below(state, 19);
    uint32_t n = bits ? below(state, 1u << bits) : 0;
    return n < BODY_MAX ? n : BODY_MAX - n % 1000;
}

static const uint8_t *body_of(uint64_t id, char side) { return noise + mix(id * 2 + (side == 'r')) % SPREAD; }

// A message on its way out: pieces of text and of noise.
struct out {
    char text[6144];
    size_t text_len;
    struct iovec iov[IOV_MAX_HERE];
    int n, at;
    size_t total, sent, stop; // stop: no byte from there on is sent
};

static void out_piece(struct out *o, const void *data, size_t len) {
    if (len > 0) {
        o->iov[o->n++] = (struct iovec){(void *)(uintptr_t)data, len};
        o->total += len;
    }
}

static void out_text(struct out *o, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *at = o->text + o->text_len;
    size_t n = (size_t)vsnprintf(at, sizeof(o->text) - o->text_len, format, args);
    va_end(args);
    o->text_len += n;
    out_piece(o, at, n);
}

static void out_body(struct out *o, const uint8_t *body, uint32_t len, bool chunked, uint64_t *random) {
    if (!chunked) {
        out_piece(o, body, len);
        return;
    }
    for (uint32_t at = 0, parts = 0; at < len; parts++) {
        uint32_t n = parts == 30 ? len - at : 1 + below(random, len - at);
        out_text(o, "%x%s\r\n", n, n % 3 == 0 ? ";a=b" : "");
        out_piece(o, body + at, n);
        out_text(o, "\r\n");
        at += n;
    }
    out_text(o, "0\r\n%s\r\n", len % 5 == 0 ? "x-trailer: 1\r\n" : "");
}

static void out_reset(struct out *o) {
    o->text_len = 0;
    o->n = o->at = 0;
    o->total = o->sent = 0;
    o->stop = SIZE_MAX;
}

// 1: all (up to `stop`) is sent, 0: the socket is full, -1: it is broken.
static int out_send(struct out *o, int fd) {
    size_t end = o->stop < o->total ? o->stop : o->total;
    while (o->sent < end) {
        struct iovec part[IOV_MAX_HERE];
        int n = 0;
        size_t room = end - o->sent;
        for (int i = o->at; i < o->n && room > 0; i++, n++) {
            part[n] = o->iov[i];
            part[n].iov_len = part[n].iov_len < room ? part[n].iov_len : room;
            room -= part[n].iov_len;
        }
        struct msghdr msg = {.msg_iov = part, .msg_iovlen = (size_t)n};
        ssize_t sent = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        }
        o->sent += (size_t)sent;
        for (size_t left = (size_t)sent; left > 0;) {
            struct iovec *v = &o->iov[o->at];
            size_t take = left < v->iov_len ? left : v->iov_len;
            v->iov_base = (char *)v->iov_base + take;
            v->iov_len -= take;
            left -= take;
            o->at += v->iov_len == 0;
        }
    }
    return 1;
}

// A message on its way in.
enum framing { F_NONE, F_LENGTH, F_CHUNKED, F_CLOSE };
enum in_state { IN_HEAD, IN_BODY, IN_CHUNK_LINE, IN_CHUNK_END, IN_TRAILER, IN_DONE };

struct in {
    char head[4096], line[64];
    size_t head_len, line_len;
    enum in_state state;
    enum framing framing;
    uint64_t left, got;
    const uint8_t *expected;
    uint64_t expected_len;
    bool odd; // something does not match
};

static void in_reset(struct in *m) {
    m->head_len = m->line_len = 0;
    m->state = IN_HEAD;
    m->got = 0;
    m->odd = false;
    m->expected = NULL;
}

static const char *field(const struct in *m, const char *name) {
    const char *at = strcasestr(m->head, name);
    return at ? at + strlen(name) : NULL;
}

static void in_begin_body(struct in *m, bool answer) {
    const char *length = field(m, "\r\ncontent-length: ");
    m->framing = field(m, "\r\ntransfer-encoding: chunked") ? F_CHUNKED : length ? F_LENGTH : answer ? F_CLOSE : F_NONE;
    m->left = m->framing == F_LENGTH ? strtoull(length, NULL, 10) : 0;
    m->state = m->framing == F_CHUNKED                                                      ? IN_CHUNK_LINE
               : m->framing == F_NONE || (m->framing == F_LENGTH && m->left == 0) ? IN_DONE
                                                                                            : IN_BODY;
}

static size_t in_data(struct in *m, const char *data, size_t len) {
    size_t n = m->framing == F_CLOSE || len < m->left ? len : (size_t)m->left;
    if (m->expected) {
        m->odd = m->odd || m->got + n > m->expected_len || memcmp(m->expected + m->got, data, n) != 0;
    }
    m->got += n;
    m->left -= m->framing == F_CLOSE ? 0 : n;
    if (m->left == 0 && m->framing != F_CLOSE) {
        m->state = m->framing == F_CHUNKED ? IN_CHUNK_END : IN_DONE;
    }
    return n;
}

// One byte of a chunk line, the CRLF behind data, or a trailer line.
static void in_line(struct in *m, char c) {
    if (m->line_len < sizeof(m->line) - 1) {
        m->line[m->line_len++] = c;
    }
    if (c != '\n') {
        return;
    }
    m->line[m->line_len] = 0;
    if (m->state == IN_CHUNK_LINE) {
        m->left = strtoull(m->line, NULL, 16);
        m->state = m->left ? IN_BODY : IN_TRAILER;
    } else if (m->state == IN_CHUNK_END) {
        m->odd = m->odd || strcmp(m->line, "\r\n") != 0;
        m->state = IN_CHUNK_LINE;
    } else {
        m->state = strcmp(m->line, "\r\n") == 0 ? IN_DONE : IN_TRAILER;
    }
    m->line_len = 0;
}

// Bytes used; stops behind a head (so that its meaning can be set) and behind the message.
static size_t in_feed(struct in *m, const char *data, size_t len) {
    size_t at = 0;
    if (m->state == IN_HEAD) {
        while (at < len && m->head_len < sizeof(m->head) - 1) {
            m->head[m->head_len++] = data[at++];
            if (m->head_len >= 4 && memcmp(m->head + m->head_len - 4, "\r\n\r\n", 4) == 0) {
                m->head[m->head_len] = 0;
                return at;
            }
        }
        m->odd = m->odd || m->head_len == sizeof(m->head) - 1;
        return at;
    }
    while (at < len && m->state != IN_DONE) {
        if (m->state == IN_BODY) {
            at += in_data(m, data + at, len - at);
        } else {
            in_line(m, data[at++]);
        }
    }
    return at;
}

static bool in_head_whole(const struct in *m) {
    return m->state == IN_HEAD && m->head_len >= 4 && memcmp(m->head + m->head_len - 4, "\r\n\r\n", 4) == 0;
}

// What is asked of the upstream: the path carries it.
struct ask {
    uint64_t id;
    uint32_t request_len, answer_len;
    char framing; // of the answer: l, c, u
    char cut;     // n: none. f, r: FIN or RST at cut_at. x: closes instead of answering. k: closes behind the answer. e: answers early
    uint32_t cut_at;
    bool get;
};

static void close_hard(int fd, bool reset) {
    struct linger rst = {1, 0};
    if (reset) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
    }
    close(fd);
}

// The upstream.

struct up {
    int fd;
    struct in in;
    struct out out;
    struct ask ask;
    bool answering, sent;
    uint64_t random;
    struct up *next;
};

struct load {
    int port, upstream_fd, upstream_port, epoll_up;
    uint64_t seed, target;
    uint64_t next_id, done, whole, refused, broken, cut_by_client, lost; // the client's thread
    uint64_t posts_refused;
    uint64_t bytes;
    _Atomic bool stop;
    struct up *ups;
    uint32_t up_count;
};

static void up_answer(struct up *u) {
    const struct ask *a = &u->ask;
    struct out *o = &u->out;
    out_reset(o);
    out_text(o, "HTTP/1.1 200 OK\r\nX-Id: %llu\r\nX-Length: %u\r\n", (unsigned long long)a->id, a->answer_len);
    if (a->framing == 'l') {
        out_text(o, "Content-Length: %u\r\n\r\n", a->answer_len);
    } else {
        out_text(o, a->framing == 'c' ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
    }
    out_body(o, body_of(a->id, 'r'), a->answer_len, a->framing == 'c', &u->random);
    if (a->cut == 'f' || a->cut == 'r') {
        o->stop = a->cut_at;
    }
    u->answering = true;
    u->sent = false;
}

static void up_close(struct load *l, struct up *u, bool reset) {
    close_hard(u->fd, reset);
    struct up **at = &l->ups;
    while (*at != u) {
        at = &(*at)->next;
    }
    *at = u->next;
    l->up_count--;
    free(u);
}

static bool up_head(struct up *u) {
    struct ask *a = &u->ask;
    char method[8];
    unsigned long long id;
    if (sscanf(u->in.head, "%7s /%llu/%u/%u/%c/%c/%u ", method, &id, &a->request_len, &a->answer_len, &a->framing, &a->cut, &a->cut_at) != 7) {
        wrong("upstream: a head that nobody sent: %.200s", u->in.head);
        return false;
    }
    a->id = id;
    in_begin_body(&u->in, false);
    u->in.expected = body_of(id, 'q');
    u->in.expected_len = a->request_len;
    return true;
}

// False: it is closed.
static bool up_write(struct load *l, struct up *u) {
    int rc = u->answering && !u->sent ? out_send(&u->out, u->fd) : 0;
    if (rc < 0) {
        up_close(l, u, false);
        return false;
    }
    if (rc > 0) {
        u->sent = true;
        bool cut = u->out.sent < u->out.total;
        if (cut || u->ask.framing == 'u' || u->ask.cut == 'k') {
            up_close(l, u, u->ask.cut == 'r');
            return false;
        }
    }
    if (u->sent && u->in.state == IN_DONE) {
        u->answering = u->sent = false;
        in_reset(&u->in);
    }
    return true;
}

static bool up_read(struct load *l, struct up *u, const char *data, size_t len) {
    for (size_t at = 0; at < len;) {
        if (u->in.state == IN_DONE) {
            wrong("upstream: bytes behind request %llu before it was answered", (unsigned long long)u->ask.id);
            return true;
        }
        at += in_feed(&u->in, data + at, len - at);
        if (in_head_whole(&u->in)) {
            if (!up_head(u)) {
                up_close(l, u, true);
                return false;
            }
            if (u->ask.cut == 'e') {
                up_answer(u);
            }
        }
        if (u->in.odd) {
            wrong("upstream: request %llu has a wrong body, at most %llu bytes in", (unsigned long long)u->ask.id, (unsigned long long)u->in.got);
            u->in.odd = false;
        }
        if (u->in.state == IN_DONE) {
            if (u->in.got != u->ask.request_len) {
                wrong("upstream: request %llu has %llu bytes, not %u", (unsigned long long)u->ask.id, (unsigned long long)u->in.got,
                      u->ask.request_len);
            }
            if (u->ask.cut == 'x') {
                up_close(l, u, u->ask.id % 2);
                return false;
            }
            if (!u->answering) {
                up_answer(u);
            }
            if (!up_write(l, u)) {
                return false;
            }
        }
    }
    return true;
}

static void up_ready(struct load *l, struct up *u, char *data, size_t cap) {
    if (!up_write(l, u)) {
        return;
    }
    for (;;) {
        ssize_t n = recv(u->fd, data, cap, MSG_DONTWAIT);
        if (n > 0) {
            if (!up_read(l, u, data, (size_t)n) || !up_write(l, u)) {
                return;
            }
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        } else {
            up_close(l, u, false); // idle, or its client left
            return;
        }
    }
}

static void watch(int epoll_fd, int fd, void *owner) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = owner};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void up_accept(struct load *l) {
    int fd, on = 1;
    while ((fd = accept4(l->upstream_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct up *u = calloc(1, sizeof(*u));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        u->fd = fd;
        u->random = draw(&l->seed) ^ (uint64_t)fd;
        in_reset(&u->in);
        u->next = l->ups;
        l->ups = u;
        l->up_count++;
        watch(l->epoll_up, fd, u);
    }
}

static void *upstream_main(void *arg) {
    struct load *l = arg;
    static char data[65536];
    struct epoll_event events[64];
    l->epoll_up = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(l->epoll_up, EPOLL_CTL_ADD, l->upstream_fd, &listening);
    while (!atomic_load(&l->stop)) {
        int n = epoll_wait(l->epoll_up, events, 1, 50); // one: handling it may free another's owner
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) {
                up_ready(l, events[i].data.ptr, data, sizeof(data));
            } else {
                up_accept(l);
            }
        }
    }
    while (l->ups) {
        up_close(l, l->ups, false);
    }
    close(l->epoll_up);
    return NULL;
}

// The clients.

struct client {
    int fd;
    struct in in;
    struct out out;
    struct ask asked[PIPELINE];
    uint32_t first, count, planned; // planned: requests that this connection still gets
    int status;                     // of the answer that comes
    uint64_t random;
    bool writing, dead, half_closes, half_closed;
};

static struct client clients[CONNS];

static void client_open(struct load *l, struct client *c, int epoll_fd) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    connect(c->fd, (struct sockaddr *)&addr, sizeof(addr));
    in_reset(&c->in);
    c->first = c->count = 0;
    c->planned = 1 + below(&c->random, 60);
    c->writing = c->dead = c->half_closed = false;
    c->half_closes = below(&c->random, 4) == 0;
    watch(epoll_fd, c->fd, c);
}

static void ask_make(struct client *c, struct ask *a, uint64_t id) {
    static const char cuts[] = "frxke";
    uint64_t *r = &c->random;
    *a = (struct ask){.id = id, .answer_len = size_of(r), .framing = "lcu"[below(r, 8) == 0 ? 2 : below(r, 2)], .cut = 'n'};
    a->get = below(r, 2) == 0;
    a->request_len = a->get ? 0 : size_of(r);
    if (below(r, 20) == 0) {
        a->cut = cuts[below(r, 5)];
        a->cut = a->cut == 'f' && a->framing == 'u' ? 'r' : a->cut; // a FIN would look like the whole
        a->cut_at = below(r, a->answer_len + 200);
    }
    if (a->cut == 'e') {
        a->framing = a->framing == 'u' ? 'l' : a->framing; // a close with bytes unread would be a reset
        c->planned = 1; // what is pipelined behind it may not be answered
        c->half_closes = false;
    }
}

static void ask_write(struct client *c, const struct ask *a) {
    struct out *o = &c->out;
    bool chunked = !a->get && below(&c->random, 2);
    out_reset(o);
    out_text(o, "%s /%llu/%u/%u/%c/%c/%u HTTP/1.1\r\nHost: a\r\n", a->get ? "GET" : "POST", (unsigned long long)a->id, a->request_len,
             a->answer_len, a->framing, a->cut, a->cut_at);
    if (chunked) {
        out_text(o, "Transfer-Encoding: chunked\r\n");
    } else if (!a->get) {
        out_text(o, "Content-Length: %u\r\n", a->request_len);
    }
    out_text(o, "\r\n");
    if (!a->get) {
        out_body(o, body_of(a->id, 'q'), a->request_len, chunked, &c->random);
    }
    if (below(&c->random, 60) == 0) {
        o->stop = below(&c->random, (uint32_t)o->total);
    }
    c->writing = true;
}

static void client_close(struct load *l, struct client *c, bool reset) {
    l->done += c->count;
    close_hard(c->fd, reset);
    c->fd = -1;
}

// False: it is closed.
static bool client_write(struct load *l, struct client *c) {
    while (!c->dead) {
        if (!c->writing) {
            if (c->planned == 0 && c->half_closes && !c->half_closed) {
                shutdown(c->fd, SHUT_WR);
                c->half_closed = true;
            }
            if (c->planned == 0 || c->count == PIPELINE || l->next_id == l->target) {
                return true;
            }
            struct ask *a = &c->asked[(c->first + c->count++) % PIPELINE];
            ask_make(c, a, l->next_id++);
            c->planned--;
            ask_write(c, a);
        }
        int rc = out_send(&c->out, c->fd);
        if (rc == 0) {
            return true;
        }
        if (rc < 0) {
            c->dead = true; // reading says why
        } else if (c->out.sent < c->out.total) {
            l->cut_by_client += c->count;
            client_close(l, c, below(&c->random, 2));
            return false;
        }
        c->writing = false;
    }
    return true;
}

static bool cut_by_upstream(const struct ask *a) { return a->cut == 'f' || a->cut == 'r' || a->cut == 'x'; }

static void check_answer(struct load *l, const struct client *c, const struct ask *a) {
    unsigned long long id = a->id;
    if (c->status == 200) {
        bool cut = a->cut == 'x' || ((a->cut == 'f' || a->cut == 'r') && a->cut_at < a->answer_len);
        if (c->in.odd || c->in.got != a->answer_len) {
            wrong("client: the answer to %llu is wrong: %llu bytes of %u", id, (unsigned long long)c->in.got, a->answer_len);
        } else if (cut) {
            wrong("client: the answer to %llu is whole, but its upstream cut it (%c at %u)", id, a->cut, a->cut_at);
        }
        l->whole++;
    } else {
        bool may = cut_by_upstream(a) || (!a->get && c->status == 502);
        if (!may) {
            wrong("client: %d to %llu (%c)", c->status, id, a->cut);
        }
        l->refused++;
        l->posts_refused += !cut_by_upstream(a);
    }
}

// The answer is whole. False: the connection is closed.
static bool client_answered(struct load *l, struct client *c) {
    struct ask a = c->asked[c->first];
    check_answer(l, c, &a);
    c->first = (c->first + 1) % PIPELINE;
    c->count--;
    l->done++;
    l->bytes += c->in.got + a.request_len;
    bool ends = field(&c->in, "\r\nconnection: close") != NULL || a.cut == 'e';
    in_reset(&c->in);
    if (ends || (c->count == 0 && c->planned == 0 && !c->half_closes)) {
        l->lost += c->count;
        client_close(l, c, a.cut == 'e');
        return false;
    }
    return true;
}

static void client_head(struct client *c) {
    const struct ask *a = &c->asked[c->first];
    const char *id = field(&c->in, "\r\nx-id: "), *len = field(&c->in, "\r\nx-length: ");
    c->status = atoi(c->in.head + 9);
    in_begin_body(&c->in, true);
    if (c->status != 200) {
        return;
    }
    if (!id || strtoull(id, NULL, 10) != a->id || !len || strtoul(len, NULL, 10) != a->answer_len) {
        wrong("client: asked %llu, got the answer to %.20s", (unsigned long long)a->id, id ? id : "nothing");
    }
    c->in.expected = body_of(a->id, 'r');
    c->in.expected_len = a->answer_len;
}

static void client_ended(struct load *l, struct client *c, bool reset) {
    const struct ask *a = &c->asked[c->first];
    bool begun = c->in.head_len > 0, may = false;
    for (uint32_t i = 0; i < c->count; i++) { // a reset destroys what was sent before it, too
        may = may || cut_by_upstream(&c->asked[(c->first + i) % PIPELINE]);
    }
    if (c->count > 0 && !may) {
        wrong("client: %s at %llu of %u (%c), %s", reset ? "a reset" : "an end", (unsigned long long)a->id, c->count, a->cut,
              begun ? "inside its answer" : "before its answer");
    }
    if (c->count == 0 && !c->half_closed) {
        wrong("client: %s of an idle connection", reset ? "a reset" : "an end");
    }
    l->broken += c->count > 0;
    l->lost += c->count > 0 ? c->count - 1 : 0;
    client_close(l, c, false);
}

static bool client_read(struct load *l, struct client *c, const char *data, size_t len) {
    for (size_t at = 0; at < len;) {
        if (c->count == 0) {
            wrong("client: bytes that nobody asked for: %.60s", data + at);
            return true;
        }
        at += in_feed(&c->in, data + at, len - at);
        if (in_head_whole(&c->in)) {
            client_head(c);
        }
        if (c->in.state == IN_DONE && !client_answered(l, c)) {
            return false;
        }
    }
    return true;
}

static void client_ready(struct load *l, struct client *c, char *data, size_t cap) {
    bool open = client_write(l, c);
    while (open) {
        ssize_t n = recv(c->fd, data, cap, MSG_DONTWAIT);
        if (n > 0) {
            open = client_read(l, c, data, (size_t)n) && client_write(l, c);
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        } else {
            client_ended(l, c, n < 0);
            open = false;
        }
    }
}

static void clients_run(struct load *l) {
    static char data[65536];
    struct epoll_event events[CONNS];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC), idle_s = 0;
    for (int i = 0; i < CONNS; i++) {
        clients[i].random = draw(&l->seed);
        client_open(l, &clients[i], epoll_fd);
    }
    while (l->done < l->target && idle_s < STUCK_S && atomic_load(&errors) < 10) {
        int n = epoll_wait(epoll_fd, events, CONNS, 1000);
        idle_s = n > 0 ? 0 : idle_s + 1;
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (c->fd >= 0) {
                client_ready(l, c, data, sizeof(data));
            }
            if (c->fd < 0 && l->next_id < l->target) {
                client_open(l, c, epoll_fd);
            }
        }
    }
    if (idle_s == STUCK_S) {
        wrong("stuck: %llu of %llu are done", (unsigned long long)l->done, (unsigned long long)l->target);
    }
    for (int i = 0; i < CONNS; i++) {
        if (clients[i].fd >= 0) {
            close(clients[i].fd);
        }
    }
    close(epoll_fd);
}

// One backend.

static uint64_t number_of(const char *name, uint64_t fallback) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : fallback;
}

static struct sl_counters stats(int gateway) {
    struct sl_counters c;
    sl_gateway_stats((uint32_t)gateway, (uint8_t *)&c, sizeof(c));
    return c;
}

static int start(int io, int upstream_port, int *out_port) {
    static struct plan_builder builder;
    struct sl_config config = {.io = (uint32_t)io, .conns_max = 256};
    plan_init(&builder);
    struct sl_plan_upstream *u = plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/*", (uint16_t)upstream_port);
    u->conns_max = 32; // fewer than clients: some wait in line
    u->connect_timeout_ms = u->head_timeout_ms = u->idle_timeout_ms = 60000;
    uint32_t len = plan_finish(&builder);
    int g = sl_gateway_new((uint8_t *)&config, sizeof(config));
    if (g < 0) {
        return g;
    }
    *out_port = sl_gateway_listen((uint32_t)g, (const uint8_t *)"127.0.0.1:0", 11, 0xffffffff);
    CHECK_INT(sl_plan_load((uint32_t)g, builder.blob, len), 0);
    CHECK_INT(sl_gateway_start((uint32_t)g), 0);
    return g;
}

// Bounded: 10 s.
static void check_baseline(int g) {
    struct sl_counters c = stats(g);
    for (int i = 0; i < 10000 && (c.conns_live || c.requests_live || c.io_bufs_lent || c.upstream_live != c.upstream_idle); i++) {
        usleep(1000);
        c = stats(g);
    }
    CHECK_INT(c.conns_live, 0);
    CHECK_INT(c.requests_live, 0);
    CHECK_INT(c.io_bufs_lent, 0);
    CHECK_INT(c.upstream_live, c.upstream_idle);
    CHECK_INT(c.upstream_waiting, 0);
    CHECK_INT(c.io_starved, 0);
    CHECK_INT(c.io_stale_cqes, 0);
    printf("#   upstream: %llu connections, %llu reuses, %llu retries, %llu discards, %llu waited, %llu aborts\n",
           (unsigned long long)c.upstream_connects, (unsigned long long)c.upstream_reuses, (unsigned long long)c.upstream_retries,
           (unsigned long long)c.upstream_discards, (unsigned long long)c.upstream_waits, (unsigned long long)c.upstream_aborts);
    for (int i = 1; i < 96; i++) {
        if (c.by_status[i]) {
            printf("#   %s %llu\n", sl_status_info(-i)->label, (unsigned long long)c.by_status[i]);
        }
    }
    sl_gateway_drain((uint32_t)g, 5000);
    CHECK_INT(sl_gateway_join((uint32_t)g, 10000), 0);
    c = stats(g);
    CHECK_INT(c.upstream_live, 0);
    CHECK_INT(c.io_ops_armed, 0);
    CHECK_INT(c.conns_accepted, c.conns_closed);
    CHECK_INT(sl_gateway_free((uint32_t)g), 0);
}

static void run_backend(int io) {
    struct load l = {.target = number_of("SLUICE_SOAK", 20000), .seed = number_of("SLUICE_TEST_SEED", (uint64_t)time(NULL))};
    l.target = l.target == 1 ? 1000000 : l.target;
    uint64_t seed = l.seed;
    pthread_t thread;
    struct timespec from, to;
    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (uint8_t)mix(i + seed);
    }
    memset(clients, 0, sizeof(clients));
    l.upstream_fd = peer_listen(&l.upstream_port);
    int flags = fcntl(l.upstream_fd, F_GETFL);
    fcntl(l.upstream_fd, F_SETFL, flags | O_NONBLOCK);
    int g = start(io, l.upstream_port, &l.port);
    if (g < 0) {
        printf("# backend %d is not available here\n", io);
        close(l.upstream_fd);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    pthread_create(&thread, NULL, upstream_main, &l);
    clients_run(&l);
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("# %s, seed %llu: %llu requests in %.1f s, %.1f MB: %llu whole, %llu refused, %llu broken, %llu cut by their client, %llu lost behind one\n",
           io == SL_IO_EPOLL ? "epoll" : "uring", (unsigned long long)seed, (unsigned long long)l.done,
           (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9, (double)l.bytes / 1e6, (unsigned long long)l.whole,
           (unsigned long long)l.refused, (unsigned long long)l.broken, (unsigned long long)l.cut_by_client, (unsigned long long)l.lost);
    CHECK_MSG(atomic_load(&errors) == 0, "%llu errors, the first: %s (SLUICE_TEST_SEED=%llu)", (unsigned long long)atomic_load(&errors),
              first_error, (unsigned long long)seed);
    CHECK(l.whole > l.done * 3 / 4);
    CHECK_MSG(l.posts_refused <= l.done / 50, "%llu", (unsigned long long)l.posts_refused);
    check_baseline(g);
    atomic_store(&l.stop, true);
    pthread_join(thread, NULL);
    close(l.upstream_fd);
    CHECK_INT(l.up_count, 0);
}

TEST(each_answer_names_its_own_request) {
    static const int backends[] = {SL_IO_EPOLL, SL_IO_URING};
    int fds = open_fds();
    for (int i = 0; i < 2; i++) {
        atomic_store(&errors, 0);
        run_backend(backends[i]);
    }
    CHECK_INT(open_fds(), fds);
}
