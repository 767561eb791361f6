// Thousands of clients that mean no good, all at once, for tests/hostile_test.ts: slow heads, slow bodies, answers that nobody reads, ends in the
// middle. One connection each. Connects all (and shakes hands), prints {"connections":N}, waits for a line, then all of them do what their kind
// does, until the gateway has ended the last one. Then one line: for each kind, how its connections ended.
//   hostile_client PORT http|https COUNT KIND[,KIND...]    connection i is of kind i modulo how many there are
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define DRIP_MS 200
#define SILENCE_MS 30000 // without any end: something hangs
#define SMALL_SEGMENT 536
#define SMALL_BUFFER 4096
#define HEAD_MAX 2048
#define KINDS_MAX 16
#define OUTCOMES_MAX 8

#define HOST " HTTP/1.1\r\nHost: h\r\n"
#define SLOW_POST(path) "POST " path HOST "Content-Length: 1000\r\n\r\na"
#define CUT_POST(path) "POST " path HOST "Content-Length: 10\r\n\r\nhalf"

enum then { DRIP, UNREAD, FIN, FIN_UNTOLD }; // UNTOLD: without TLS saying so first

static const struct kind {
    const char *name, *text;
    enum then then;    // what is done behind the text
    bool cut_anywhere; // its answer is broken off, perhaps before its head: but it is never whole
} all_kinds[] = {
    {"slow-head", "GET /native" HOST "X-Slow: ", DRIP, false},
    {"slow-body-native", SLOW_POST("/native"), DRIP, false},
    {"slow-body-typescript", SLOW_POST("/text"), DRIP, false},
    {"slow-body-upstream", SLOW_POST("/up/text"), DRIP, false},
    {"unread-native", "GET /native/mib" HOST "\r\n", UNREAD, false},
    {"unread-typescript", "GET /ts/mib/1" HOST "\r\n", UNREAD, false},
    {"unread-upstream", "GET /up/mib" HOST "\r\n", UNREAD, false},
    {"half-close-native", "GET /native/mib" HOST "\r\n", FIN, false},
    {"half-close-typescript", "GET /ts/1" HOST "\r\n", FIN, false},
    {"half-close-stream", "GET /ts/mib/1" HOST "\r\n", FIN, true},
    {"half-close-upstream", "GET /up/mib" HOST "\r\n", FIN, false},
    {"cut-head", "GET /native" HOST "X-Cut: ", FIN, false},
    {"cut-body-native", CUT_POST("/native"), FIN, false},
    {"cut-body-typescript", CUT_POST("/text"), FIN, false},
    {"cut-body-upstream", CUT_POST("/up/text"), FIN, false},
    {"cut-untold", CUT_POST("/text"), FIN_UNTOLD, false},
};

// An answer while it comes: its head, then bytes counted.
enum part { IN_HEAD, IN_LENGTH, IN_SIZE, IN_CHUNK, IN_CHUNK_END, IN_LAST, WHOLE, BEHIND };

struct conn {
    const struct kind *kind;
    int fd;
    SSL *ssl; // NULL: plain
    char head[HEAD_MAX + 1];
    uint32_t head_len;
    enum part part;
    int status;
    uint64_t left, body;
    uint64_t ms; // from the go to the end
};

struct outcome {
    int status;
    const char *end;
    uint64_t body, count, least_ms, most_ms;
};

static struct conn *conns;
static int count, live, epoll_fd;
static uint64_t start_ms;
static const struct kind *kinds[KINDS_MAX];
static size_t kind_count;
static struct outcome outcomes[KINDS_MAX][OUTCOMES_MAX];

__attribute__((noreturn)) static void fail(const char *what) {
    fprintf(stderr, "hostile_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// Whoever does not read is behind a thin line, so that little of the answer fits into the kernel.
static void connect_one(struct conn *c, int port, SSL_CTX *ctx) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1, segment = SMALL_SEGMENT, buffer = SMALL_BUFFER;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->kind->then == UNREAD) {
        setsockopt(c->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    }
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        fail("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (ctx) {
        c->ssl = SSL_new(ctx);
        SSL_set_fd(c->ssl, c->fd);
        if (SSL_connect(c->ssl) != 1) {
            fail("handshake");
        }
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = c->kind->then == UNREAD ? EPOLLRDHUP : EPOLLIN, .data = {.ptr = c}};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

// What goes out is small: it fits, or the gateway has ended the connection, which an event tells.
static void put(struct conn *c, const char *data, size_t len) {
    if (c->ssl) {
        SSL_write(c->ssl, data, (int)len);
    } else {
        send(c->fd, data, len, MSG_NOSIGNAL);
    }
}

static void begin(struct conn *c) {
    put(c, c->kind->text, strlen(c->kind->text));
    if (c->kind->then == FIN && c->ssl) {
        SSL_shutdown(c->ssl);
    }
    if (c->kind->then == FIN || c->kind->then == FIN_UNTOLD) {
        shutdown(c->fd, SHUT_WR);
    }
}

static void head_came(struct conn *c) {
    const char *length = strcasestr(c->head, "\r\ncontent-length: ");
    c->status = strncmp(c->head, "HTTP/1.1 ", 9) == 0 ? atoi(c->head + 9) : -1;
    c->left = length ? strtoull(length + 18, NULL, 10) : 0;
    c->part = strcasestr(c->head, "\r\ntransfer-encoding: chunked") ? IN_SIZE : c->left > 0 ? IN_LENGTH : WHOLE;
    c->left = c->part == IN_SIZE ? 0 : c->left;
}

static size_t skip_body(struct conn *c, size_t n, enum part next) {
    size_t take = n < c->left ? n : (size_t)c->left;
    c->left -= take;
    c->body += take;
    c->part = c->left == 0 ? next : c->part;
    return take;
}

static void one_byte(struct conn *c, char byte) {
    switch (c->part) {
    case IN_HEAD:
        if (c->head_len < HEAD_MAX) {
            c->head[c->head_len++] = byte;
        }
        if (byte == '\n' && c->head_len >= 4 && memcmp(c->head + c->head_len - 4, "\r\n\r\n", 4) == 0) {
            head_came(c);
        }
        return;
    case IN_SIZE: // of a chunk, up to its LF
        if (byte == '\n') {
            c->part = c->left > 0 ? IN_CHUNK : IN_LAST;
        } else if (byte != '\r') {
            c->left = c->left * 16 + (uint64_t)(byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10);
        }
        return;
    case IN_CHUNK_END:
        c->part = byte == '\n' ? IN_SIZE : c->part;
        return;
    case IN_LAST:
        c->part = byte == '\n' ? WHOLE : c->part;
        return;
    default:
        c->part = BEHIND; // more than one answer
    }
}

static void take(struct conn *c, const char *data, size_t n) {
    for (size_t i = 0; i < n;) {
        if (c->part == IN_LENGTH || c->part == IN_CHUNK) {
            i += skip_body(c, n - i, c->part == IN_LENGTH ? WHOLE : IN_CHUNK_END);
        } else {
            one_byte(c, data[i++]);
        }
    }
}

static void ended(struct conn *c, const char *end) {
    size_t k = 0;
    while (kinds[k] != c->kind) {
        k++;
    }
    bool inside = c->part != WHOLE && (c->part != IN_HEAD || c->head_len > 0);
    bool cut = c->kind->cut_anywhere && c->part != WHOLE && c->part != BEHIND;
    end = c->part == BEHIND ? "more than an answer" : inside || cut ? "inside an answer" : end;
    uint64_t ms = now_ms() - start_ms;
    uint64_t body = (c->kind->then == FIN || c->kind->then == FIN_UNTOLD) && !cut ? c->body : 0; // else it is a short text
    int status = cut ? 0 : c->status;
    struct outcome *o = outcomes[k];
    while (o->count > 0 && (o->status != status || strcmp(o->end, end) != 0 || o->body != body) && o < outcomes[k] + OUTCOMES_MAX - 1) {
        o++;
    }
    o->least_ms = o->count == 0 || ms < o->least_ms ? ms : o->least_ms;
    o->most_ms = ms > o->most_ms ? ms : o->most_ms;
    o->status = status;
    o->end = end;
    o->body = body;
    o->count++;
    close(c->fd);
    SSL_free(c->ssl);
    c->ssl = NULL;
    c->fd = -1;
    live--;
}

// FIN alone is no proper end of TLS: close_notify comes first.
static void receive(struct conn *c) {
    static char bytes[65536];
    for (;;) {
        ssize_t n = c->ssl ? SSL_read(c->ssl, bytes, sizeof(bytes)) : recv(c->fd, bytes, sizeof(bytes), 0);
        if (n > 0) {
            take(c, bytes, (size_t)n);
            continue;
        }
        int error = c->ssl ? SSL_get_error(c->ssl, (int)n) : 0;
        if (c->ssl ? error == SSL_ERROR_WANT_READ : n < 0 && errno == EAGAIN) {
            return;
        }
        if (c->ssl && error == SSL_ERROR_ZERO_RETURN) {
            ended(c, "end");
        } else if (c->ssl && (error != SSL_ERROR_SYSCALL || n == 0)) {
            ended(c, error == SSL_ERROR_SYSCALL ? "no close_notify" : "alert");
        } else {
            ended(c, n == 0 ? "end" : "reset");
        }
        return;
    }
}

static void event(struct conn *c, uint32_t events) {
    if (c->kind->then != UNREAD) {
        receive(c);
    } else {
        ended(c, events & EPOLLERR ? "reset" : "end");
    }
}

static void drip_all(void) {
    for (int i = 0; i < count; i++) {
        if (conns[i].fd >= 0 && conns[i].kind->then == DRIP) {
            put(&conns[i], "a", 1);
        }
    }
}

static void run(void) {
    uint64_t next = start_ms + DRIP_MS, heard = start_ms;
    while (live > 0) {
        struct epoll_event events[256];
        uint64_t now = now_ms();
        int n = epoll_wait(epoll_fd, events, 256, next > now ? (int)(next - now) : 0);
        for (int i = 0; i < n; i++) {
            event(events[i].data.ptr, events[i].events);
        }
        now = now_ms();
        heard = n > 0 ? now : heard;
        if (now - heard > SILENCE_MS) {
            fprintf(stderr, "hostile_client: nothing for %d ms, %d connections wait\n", SILENCE_MS, live);
            return;
        }
        if (now >= next) {
            drip_all();
            next += DRIP_MS;
        }
    }
}

static void tell(void) {
    const char *comma = "";
    printf("[");
    for (size_t k = 0; k < kind_count; k++) {
        for (const struct outcome *o = outcomes[k]; o < outcomes[k] + OUTCOMES_MAX && o->count > 0; o++) {
            printf("%s{\"kind\":\"%s\",\"status\":%d,\"end\":\"%s\",\"body\":%llu,\"count\":%llu,\"leastMs\":%llu,\"mostMs\":%llu}", comma,
                   kinds[k]->name, o->status, o->end, (unsigned long long)o->body, (unsigned long long)o->count, (unsigned long long)o->least_ms,
                   (unsigned long long)o->most_ms);
            comma = ",";
        }
    }
    printf("]\n");
    fflush(stdout);
}

static bool find_kinds(char *names) {
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        size_t i = 0;
        while (i < sizeof(all_kinds) / sizeof(all_kinds[0]) && strcmp(all_kinds[i].name, name) != 0) {
            i++;
        }
        if (i == sizeof(all_kinds) / sizeof(all_kinds[0]) || kind_count == KINDS_MAX) {
            fprintf(stderr, "hostile_client: no kind \"%s\"\n", name);
            return false;
        }
        kinds[kind_count++] = &all_kinds[i];
    }
    return kind_count > 0;
}

static void raise_fds(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
    SSL_CTX *ctx = NULL;
    char line[16];
    if (argc != 5 || (count = atoi(argv[3])) < 1 || !find_kinds(argv[4])) {
        fprintf(stderr, "usage: hostile_client PORT http|https COUNT KIND[,KIND...]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); // BoringSSL writes without MSG_NOSIGNAL
    prctl(PR_SET_PDEATHSIG, 15); // a test that fails leaves nobody behind
    raise_fds();
    if (strcmp(argv[2], "https") == 0) {
        ctx = SSL_CTX_new(TLS_method());
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)count, sizeof(*conns));
    live = count;
    for (int i = 0; i < count; i++) {
        conns[i].kind = kinds[(size_t)i % kind_count];
        connect_one(&conns[i], atoi(argv[1]), ctx);
    }
    printf("{\"connections\":%d}\n", count);
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin)) {
        return 1;
    }
    start_ms = now_ms();
    for (int i = 0; i < count; i++) {
        begin(&conns[i]);
    }
    run();
    tell();
    return live > 0;
}
