// Connections that are made for one request each, over TLS 1.3: so many slots at once, each opens the next when its own has ended. Every handshake
// must be of the kind asked for and every answer equal to the first, else it ends with an error. First each slot gets a ticket (not counted); then it
// prints "ready", waits for a line, goes on until COUNT connections are done or SECONDS are over, and prints one line of JSON.
//   handshake PORT full|resumed|early x25519|mlkem SLOTS count|seconds NUMBER
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "client.h"

#define ANSWER_BYTES_MAX 4096
#define RECORDS_BYTES 32768
#define DATE_CHARS 29
#define SILENCE_MS 20000

static const char request[] = "GET /native HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

enum kind { FULL, RESUMED, EARLY };

struct slot {
    int fd; // -1: it has no connection
    SSL *ssl;
    BIO *in, *out;        // records
    SSL_SESSION *session; // of the newest ticket
    bool asked;
    size_t len;
    char answer[ANSWER_BYTES_MAX + 1];
};

static SSL_CTX *ctx;
static int epoll_fd, port;
static enum kind kind;
static uint16_t group;
static struct slot *slots;
static int slot_count, live;
static bool priming, stopping;
static long done, most; // connections that have ended; how many there may be
static long long bytes;
static char first[ANSWER_BYTES_MAX + 1];

__attribute__((noreturn)) static void stop(const char *what) {
    uint32_t error = ERR_peek_error();
    fprintf(stderr, "handshake: %s%s%s\n", what, error ? ": " : "", error ? ERR_reason_error_string(error) : "");
    exit(1);
}

static int on_session(SSL *ssl, SSL_SESSION *session) {
    struct slot *slot = SSL_get_app_data(ssl);
    SSL_SESSION_free(slot->session);
    slot->session = session;
    return 1; // it is ours
}

static enum ssl_verify_result_t any_certificate(SSL *ssl, uint8_t *out_alert) {
    (void)ssl, (void)out_alert;
    return ssl_verify_ok;
}

static void open_next(struct slot *slot) {
    int fd = connect_to(port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    slot->fd = fd;
    slot->asked = false;
    slot->len = 0;
    slot->ssl = SSL_new(ctx);
    slot->in = BIO_new(BIO_s_mem());
    slot->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(slot->in, -1);
    SSL_set_bio(slot->ssl, slot->in, slot->out);
    SSL_set_app_data(slot->ssl, slot);
    SSL_set_tlsext_host_name(slot->ssl, "localhost");
    SSL_set_connect_state(slot->ssl);
    if (kind != FULL && !priming) {
        if (!slot->session) {
            stop("the server has given no ticket");
        }
        SSL_set_session(slot->ssl, slot->session);
        SSL_set_early_data_enabled(slot->ssl, kind == EARLY);
        if (kind == EARLY && !SSL_SESSION_early_data_capable(slot->session)) {
            stop("the server's ticket takes no early data");
        }
    }
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = slot}};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        fail("epoll_ctl");
    }
    live++;
}

static void send_records(struct slot *slot) {
    const uint8_t *data;
    size_t len;
    if (BIO_mem_contents(slot->out, &data, &len) && len > 0) {
        if (send(slot->fd, data, len, MSG_NOSIGNAL) != (ssize_t)len) {
            fail("send");
        }
        BIO_reset(slot->out);
    }
}

// Shakes hands, asks, reads. In early data SSL_do_handshake returns at once, and the question goes with the first flight.
static void advance(struct slot *slot) {
    ERR_clear_error();
    int rc = SSL_do_handshake(slot->ssl);
    if (rc == 1 && !slot->asked) {
        if (SSL_write(slot->ssl, request, sizeof(request) - 1) != sizeof(request) - 1) {
            stop("cannot ask");
        }
        slot->asked = true;
    }
    while (rc > 0) {
        rc = SSL_read(slot->ssl, slot->answer + slot->len, (int)(ANSWER_BYTES_MAX - slot->len));
        slot->len += rc > 0 ? (size_t)rc : 0;
        if (slot->len == ANSWER_BYTES_MAX) {
            stop("the answer is too long");
        }
    }
    int error = SSL_get_error(slot->ssl, rc);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_ZERO_RETURN) {
        stop(error == SSL_ERROR_EARLY_DATA_REJECTED ? "the server has refused early data" : "TLS failed");
    }
    send_records(slot);
}

static void check_kind(const struct slot *slot) {
    if (SSL_version(slot->ssl) != TLS1_3_VERSION || SSL_get_group_id(slot->ssl) != group) {
        stop("another version or group than asked for");
    }
    bool resumed = SSL_session_reused(slot->ssl), early = SSL_early_data_accepted(slot->ssl);
    enum kind was = early ? EARLY : resumed ? RESUMED : FULL;
    if (was != (priming ? FULL : kind)) {
        static const char *const names[] = {"a full handshake", "a resumed handshake", "early data"};
        fprintf(stderr, "handshake: %s where another kind was asked for\n", names[was]);
        exit(1);
    }
}

static void check_answer(struct slot *slot) {
    slot->answer[slot->len] = 0;
    if (answer_bytes(slot->answer) != slot->len || strncmp(slot->answer, "HTTP/1.1 200 ", 13) != 0) {
        fprintf(stderr, "handshake: not a whole answer: %s\n", slot->answer);
        exit(1);
    }
    char *date = strcasestr(slot->answer, "\r\ndate: ");
    if (date) {
        memset(date + 8, '-', DATE_CHARS);
    }
    if (!first[0]) {
        memcpy(first, slot->answer, slot->len + 1);
    }
    if (strcmp(first, slot->answer) != 0) {
        stop("an answer differs from the first");
    }
}

static void ended(struct slot *slot) {
    check_kind(slot);
    check_answer(slot);
    bytes += (long long)slot->len;
    SSL_free(slot->ssl);
    close(slot->fd);
    slot->fd = -1;
    live--;
    done++;
    if (!stopping && done + live < most) {
        open_next(slot);
        advance(slot);
    }
}

static void readable(struct slot *slot) {
    static uint8_t records[RECORDS_BYTES];
    ssize_t n = recv(slot->fd, records, sizeof(records), 0);
    if (n < 0 && errno != EAGAIN && errno != ECONNRESET) {
        fail("recv");
    }
    if (n > 0) {
        BIO_write(slot->in, records, (int)n);
        advance(slot);
    } else if (n == 0 || errno == ECONNRESET) {
        ended(slot); // what came must be whole
    }
}

static void run_until(uint64_t end_ms) {
    struct epoll_event events[64];
    for (int i = 0; i < slot_count && done + live < most; i++) {
        open_next(&slots[i]);
        advance(&slots[i]);
    }
    while (live > 0) {
        int n = epoll_wait(epoll_fd, events, 64, SILENCE_MS);
        if (n <= 0) {
            stop("the server says nothing");
        }
        for (int i = 0; i < n; i++) {
            readable(events[i].data.ptr);
        }
        stopping = now_ms() >= end_ms;
    }
}

static void configure(const char *kind_name, const char *group_name) {
    kind = strcmp(kind_name, "early") == 0 ? EARLY : strcmp(kind_name, "resumed") == 0 ? RESUMED : FULL;
    group = strcmp(group_name, "mlkem") == 0 ? SSL_GROUP_X25519_MLKEM768 : SSL_GROUP_X25519;
    static const uint8_t alpn[] = "\x08http/1.1";
    ctx = SSL_CTX_new(TLS_with_buffers_method());
    SSL_CTX_set_custom_verify(ctx, SSL_VERIFY_PEER, any_certificate);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1);
    if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) || !SSL_CTX_set1_group_ids(ctx, &group, 1)) {
        stop("cannot configure");
    }
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: handshake PORT full|resumed|early x25519|mlkem SLOTS count|seconds NUMBER\n");
        return 2;
    }
    port = atoi(argv[1]);
    slot_count = atoi(argv[4]);
    bool counts = strcmp(argv[5], "count") == 0;
    long number = atol(argv[6]);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    configure(argv[2], argv[3]);
    epoll_fd = epoll_create1(0);
    slots = calloc((size_t)slot_count, sizeof(*slots));
    priming = true;
    most = slot_count;
    run_until(UINT64_MAX);
    printf("ready\n");
    fflush(stdout);
    if (getchar() == EOF) {
        return 1;
    }
    priming = stopping = false;
    done = bytes = 0;
    most = counts ? number : INT64_MAX;
    uint64_t start = now_ns();
    run_until(counts ? UINT64_MAX : now_ms() + (uint64_t)number * 1000);
    printf("{\"requests\":%ld,\"errors\":0,\"seconds\":%.6f,\"bytes\":%lld}\n", done, (double)(now_ns() - start) / 1e9, bytes);
    return 0;
}
