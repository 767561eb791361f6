// Many kept connections through a proxy, with bodies of random sizes both ways, every byte checked: a body names its request, so that one which
// reached another is seen. The upstream is here, too; now and then it breaks an answer off, and the client must see that it is broken.
//   cc -O2 -o endurance bench/client/endurance.c
//   ./endurance upstream                                       prints {"port":N}, runs until its standard input ends
//   ./endurance client PORT CONNECTIONS SECONDS COUNT CUT SEED until SECONDS have passed or COUNT requests are done; one in CUT is cut, 0: none
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "client.h"

#define HEAD_MAX 4096
#define PIECE 16384
#define FDS_MAX 65536
#define SILENCE_MS 15000 // without any event: something hangs

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_SEND };

struct conn {
    int fd;
    enum phase phase; // of what is received; SEND: nothing is, the message goes out first
    char head[HEAD_MAX + 1];
    size_t head_len;
    uint64_t id;             // of the request
    uint64_t in_at, in_size; // body that comes
    uint64_t out_at, out_size, out_end; // body that goes: out_end < out_size where it is cut
    char out_head[512];
    size_t out_head_at, out_head_len;
    int cut, live;
};

static struct conn *by_fd[FDS_MAX];
static int epoll_fd;
static uint64_t random_state;

static uint64_t random_below(uint64_t limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

// Most are small, some fill several buffers.
static uint64_t random_size(void) {
    static const uint64_t most[] = {1, 100, 2000, 2000, 10000, 10000, 60000, 200000};
    return random_below(most[random_below(8)]);
}

// Byte i of the body of request id, in one direction (salt).
static uint8_t pattern(uint64_t id, uint64_t i, uint64_t salt) {
    return (uint8_t)((id * 2654435761u >> 8) + i * 31 + (i >> 8) + salt * 101);
}

static int is_pattern(uint64_t id, uint64_t at, uint64_t salt, const uint8_t *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (data[i] != pattern(id, at + i, salt)) {
            return 0;
        }
    }
    return 1;
}

static void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static struct conn *conn_new(int fd) {
    if (fd >= FDS_MAX) {
        fprintf(stderr, "endurance: too many descriptors\n");
        exit(1);
    }
    struct conn *conn = calloc(1, sizeof(*conn));
    conn->fd = fd;
    by_fd[fd] = conn;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.fd = fd}};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    return conn;
}

static void conn_end(struct conn *conn) {
    by_fd[conn->fd] = NULL;
    close(conn->fd);
    free(conn);
}

// Head, then body by its pattern. 1: all is out, 0: the socket is full, -1: broken.
static int send_message(struct conn *conn, uint64_t salt) {
    uint8_t piece[PIECE];
    while (conn->out_head_at < conn->out_head_len) {
        ssize_t n = send(conn->fd, conn->out_head + conn->out_head_at, conn->out_head_len - conn->out_head_at,
                         MSG_DONTWAIT | MSG_NOSIGNAL | (conn->out_end ? MSG_MORE : 0));
        if (n < 0) {
            return errno == EAGAIN ? 0 : -1;
        }
        conn->out_head_at += (size_t)n;
    }
    while (conn->out_at < conn->out_end) {
        size_t len = conn->out_end - conn->out_at < PIECE ? conn->out_end - conn->out_at : PIECE;
        for (size_t i = 0; i < len; i++) {
            piece[i] = pattern(conn->id, conn->out_at + i, salt);
        }
        ssize_t n = send(conn->fd, piece, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN ? 0 : -1;
        }
        conn->out_at += (uint64_t)n;
    }
    return 1;
}

// More of a head. 1: it is whole, and conn->head holds nothing behind it; what is behind is read again. 0: not yet, -1: the connection ended.
static int receive_head(struct conn *conn) {
    ssize_t n = recv(conn->fd, conn->head, HEAD_MAX, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN ? 0 : -1;
    }
    conn->head[n] = 0;
    char *end = strstr(conn->head, "\r\n\r\n");
    if (!end) {
        return n == HEAD_MAX ? -1 : 0;
    }
    conn->head_len = (size_t)(end - conn->head) + 4;
    if (recv(conn->fd, conn->head, conn->head_len, 0) != (ssize_t)conn->head_len) {
        return -1;
    }
    conn->head[conn->head_len] = 0;
    const char *length = strcasestr(conn->head, "\r\ncontent-length:");
    conn->in_size = length ? strtoull(length + 17, NULL, 10) : 0;
    conn->in_at = 0;
    return 1;
}

// 1: the body is whole, 0: not yet, -1: the connection ended, -2: a wrong byte.
static int receive_body(struct conn *conn, uint64_t salt) {
    uint8_t piece[PIECE];
    while (conn->in_at < conn->in_size) {
        size_t len = conn->in_size - conn->in_at < PIECE ? conn->in_size - conn->in_at : PIECE;
        ssize_t n = recv(conn->fd, piece, len, MSG_DONTWAIT);
        if (n <= 0) {
            return n < 0 && errno == EAGAIN ? 0 : -1;
        }
        if (!is_pattern(conn->id, conn->in_at, salt, piece, (size_t)n)) {
            return -2;
        }
        conn->in_at += (uint64_t)n;
    }
    return 1;
}

// ---- The upstream: POST /up/ID/SIZE/END, a body by pattern 1; the answer has SIZE bytes by pattern 2, of which END are sent.

static void answer(struct conn *conn, int good) {
    conn->out_at = conn->out_head_at = 0;
    conn->out_head_len = (size_t)snprintf(conn->out_head, sizeof(conn->out_head),
                                          "HTTP/1.1 %s\r\nX-Id: %llu\r\nContent-Length: %llu\r\n\r\n",
                                          good ? "200 OK" : "400 Bad Request", (unsigned long long)conn->id,
                                          (unsigned long long)(good ? conn->out_size : 0));
    conn->out_end = good ? conn->out_end : 0;
    conn->phase = PHASE_SEND;
}

static int serve(struct conn *conn) {
    for (;;) {
        if (conn->phase == PHASE_HEAD) {
            int rc = receive_head(conn);
            if (rc <= 0) {
                return rc;
            }
            unsigned long long id, size, end;
            if (sscanf(conn->head, "POST /up/%llu/%llu/%llu ", &id, &size, &end) != 3) {
                return -1;
            }
            conn->id = id;
            conn->out_size = size;
            conn->out_end = end;
            conn->phase = PHASE_BODY;
        }
        if (conn->phase == PHASE_BODY) {
            int rc = receive_body(conn, 1);
            if (rc == 0 || rc == -1) {
                return rc;
            }
            answer(conn, rc == 1);
        }
        int rc = send_message(conn, 2);
        if (rc <= 0) {
            return rc;
        }
        if (conn->out_end < conn->out_size) {
            return -1; // broken off
        }
        conn->phase = PHASE_HEAD;
    }
}

static void accept_all(int listen_fd) {
    int fd;
    while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        no_delay(fd);
        conn_new(fd);
    }
}

static void upstream(void) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(addr);
    int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listen_fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(listen_fd, 4096)) {
        fail("listen");
    }
    getsockname(listen_fd, (struct sockaddr *)&addr, &len);
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = listen_fd}};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event);
    event.data.fd = STDIN_FILENO;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    printf("{\"port\":%d}\n", ntohs(addr.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO) {
                return;
            }
            if (fd == listen_fd) {
                accept_all(listen_fd);
            } else if (by_fd[fd] && serve(by_fd[fd]) < 0) {
                conn_end(by_fd[fd]);
            }
        }
    }
}

// ---- The client

static struct sockaddr_in server = {.sin_family = AF_INET};
static uint64_t begun, done, errors, cuts, bytes, count_max, end_ms, cut_one_in;
static char first_error[256];

static void note_error(const struct conn *conn, const char *what) {
    if (errors++ == 0) {
        snprintf(first_error, sizeof(first_error), "request %llu: %s, %llu of %llu bytes, %.40s", (unsigned long long)conn->id, what,
                 (unsigned long long)conn->in_at, (unsigned long long)conn->in_size, conn->head);
        for (char *c = first_error; *c; c++) {
            *c = *c < ' ' || *c == '"' || *c == '\\' ? ' ' : *c;
        }
    }
}

static int may_begin(void) { return begun < count_max && now_ms() < end_ms; }

static void begin(struct conn *conn) {
    uint64_t size = random_size(), end = size;
    conn->id = ++begun;
    conn->cut = cut_one_in && size > 0 && conn->id % cut_one_in == 0;
    end = conn->cut ? random_below(size) : size;
    conn->out_size = conn->out_end = random_size();
    conn->out_at = conn->out_head_at = 0;
    conn->out_head_len = (size_t)snprintf(conn->out_head, sizeof(conn->out_head),
                                          "POST /up/%llu/%llu/%llu HTTP/1.1\r\nHost: e\r\nContent-Length: %llu\r\n\r\n",
                                          (unsigned long long)conn->id, (unsigned long long)size, (unsigned long long)end,
                                          (unsigned long long)conn->out_size);
    conn->in_at = conn->in_size = conn->head_len = 0;
    conn->head[0] = 0;
    conn->phase = PHASE_SEND;
    conn->live = 1;
}

static struct conn *connect_one(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server))) {
        fail("connect");
    }
    no_delay(fd);
    return conn_new(fd);
}

static int right_head(const struct conn *conn) {
    const char *id = strcasestr(conn->head, "\r\nx-id: ");
    return strncmp(conn->head, "HTTP/1.1 200 ", 13) == 0 && id && strtoull(id + 8, NULL, 10) == conn->id;
}

// Until the socket gives and takes nothing more. -1: the connection is over.
static int ask(struct conn *conn) {
    for (;;) {
        if (conn->phase == PHASE_SEND) {
            int rc = send_message(conn, 1);
            if (rc < 0 && !conn->cut) {
                note_error(conn, "the request could not be sent");
            }
            if (rc <= 0) {
                return rc;
            }
            conn->phase = PHASE_HEAD;
        }
        if (conn->phase == PHASE_HEAD) {
            int rc = receive_head(conn);
            if (rc < 0 && !conn->cut) {
                note_error(conn, "no answer");
            }
            if (rc <= 0) {
                cuts += rc < 0 && conn->cut;
                return rc;
            }
            if (!right_head(conn)) {
                if (!conn->cut || strncmp(conn->head, "HTTP/1.1 502 ", 13) != 0) {
                    note_error(conn, "not its answer");
                }
                cuts += conn->cut != 0;
                return -1;
            }
            conn->phase = PHASE_BODY;
        }
        int rc = receive_body(conn, 2);
        if (rc == 0) {
            return 0;
        }
        if (rc == -2) {
            note_error(conn, "a wrong byte");
        } else if (conn->cut ? rc == 1 : rc == -1) {
            note_error(conn, conn->cut ? "a cut answer looked whole" : "the answer was cut");
        }
        cuts += conn->cut && rc == -1;
        if (rc < 0) {
            return -1;
        }
        done++;
        bytes += conn->in_size + conn->out_size;
        conn->live = 0;
        int closes = strcasestr(conn->head, "\r\nconnection: close") != NULL;
        if (closes || !may_begin()) {
            return -1;
        }
        begin(conn);
    }
}

static void client(int connections) {
    uint64_t start = now_ms();
    int live = 0;
    for (; live < connections; live++) {
        begin(connect_one());
    }
    while (live > 0) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll_fd, events, 256, SILENCE_MS);
        if (n == 0) {
            fprintf(stderr, "endurance: nothing for %d ms, %d connections wait\n", SILENCE_MS, live);
            exit(1);
        }
        for (int i = 0; i < n; i++) {
            struct conn *conn = by_fd[events[i].data.fd];
            if (!conn || ask(conn) == 0) {
                continue;
            }
            conn_end(conn);
            live--;
            if (may_begin()) { // another takes its place
                begin(connect_one());
                live++;
            }
        }
    }
    printf("{\"requests\":%llu,\"cuts\":%llu,\"errors\":%llu,\"bytes\":%llu,\"ms\":%llu,\"first\":\"%s\"}\n", (unsigned long long)done,
           (unsigned long long)cuts, (unsigned long long)errors, (unsigned long long)bytes, (unsigned long long)(now_ms() - start), first_error);
}

int main(int argc, char **argv) {
    raise_fds();
    prctl(PR_SET_PDEATHSIG, 15);
    epoll_fd = epoll_create1(0);
    if (argc == 2 && strcmp(argv[1], "upstream") == 0) {
        upstream();
        return 0;
    }
    if (argc != 8 || strcmp(argv[1], "client") != 0) {
        fprintf(stderr, "usage: endurance upstream | client PORT CONNECTIONS SECONDS COUNT CUT SEED\n");
        return 2;
    }
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    end_ms = now_ms() + strtoull(argv[4], NULL, 10) * 1000;
    count_max = strtoull(argv[5], NULL, 10);
    cut_one_in = strtoull(argv[6], NULL, 10);
    random_state = strtoull(argv[7], NULL, 10) * 0x9e3779b97f4a7c15ull | 1;
    client(atoi(argv[3]));
    return 0;
}
