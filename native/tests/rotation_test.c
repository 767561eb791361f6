// Session ticket keys that turn every 200 ms while clients resume on two threads, each with its oldest ticket that was issued less than 200 ms ago:
// nobody fails, and nearly all resume. Until keys have turned a dozen times; SLUICE_SOAK=1: 150 times, half a minute.
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <openssl/ssl.h>

#include "peer.h"
#include "plan_builder.h"
#include "sluice/counters.h"
#include "sluice/sluice.h"
#include "test.h"

#define ROTATION_MS 200
#define KEYS_KEPT 4
#define CLIENTS 2
#define SESSIONS 1024u // of a client: more than it makes in a rotation
#define MUST(expr) ((expr) ? (void)0 : abort())
static const char request[] = "GET /plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
static struct plan_builder builder;

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// ---- a client ----

struct client {
    pthread_t thread;
    SSL_CTX *ctx;
    SSL_SESSION *sessions[SESSIONS]; // from the oldest on, at first & (SESSIONS - 1)
    int64_t issued_ms[SESSIONS];
    unsigned first, end;
    int port;
    int turns, goal;                   // of the key: that it has seen, and is to see
    uint8_t key_id[4];                 // of its last ticket
    uint64_t offered, resumed, failed;
};

static void drop_first(struct client *c) { SSL_SESSION_free(c->sessions[c->first++ % SESSIONS]); }

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct client *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const uint8_t *ticket;
    size_t len;
    SSL_SESSION_get0_ticket(session, &ticket, &len);
    if (len > 5 && memcmp(ticket + 1, c->key_id, sizeof(c->key_id)) != 0) { // ticket.h: its format
        memcpy(c->key_id, ticket + 1, sizeof(c->key_id));
        c->turns++;
    }
    if (c->end - c->first == SESSIONS) {
        drop_first(c);
    }
    c->issued_ms[c->end % SESSIONS] = now_ms();
    c->sessions[c->end++ % SESSIONS] = session;
    return 1;
}

// The oldest that is young enough; NULL: there is none.
static SSL_SESSION *choose_session(struct client *c) {
    while (c->first != c->end && now_ms() - c->issued_ms[c->first % SESSIONS] >= ROTATION_MS) {
        drop_first(c);
    }
    return c->first == c->end ? NULL : c->sessions[c->first % SESSIONS];
}

// One connection, one request, one ticket.
static bool visit(struct client *c) {
    char answer[1024];
    int fd = peer_connect(c->port), len = 0, n = 0;
    if (fd < 0) {
        return false;
    }
    SSL *ssl = SSL_new(c->ctx);
    SSL_set_fd(ssl, fd);
    SSL_SESSION *session = choose_session(c);
    if (session) {
        SSL_set_session(ssl, session);
        c->offered++;
    }
    bool ok = SSL_connect(ssl) == 1 && SSL_write(ssl, request, sizeof(request) - 1) > 0;
    while (ok && len < (int)sizeof(answer) - 1 && (n = SSL_read(ssl, answer + len, (int)sizeof(answer) - 1 - len)) > 0) {
        len += n;
    }
    answer[len] = 0;
    c->resumed += SSL_session_reused(ssl) ? 1 : 0;
    ok = ok && strstr(answer, "200 OK") && strstr(answer, "plain");
    SSL_free(ssl);
    close(fd);
    return ok;
}

static void *client_run(void *arg) {
    struct client *c = arg;
    while (c->turns < c->goal && c->failed < 10) {
        c->failed += !visit(c);
    }
    return NULL;
}

static void client_start(struct client *c, int port, int goal) {
    *c = (struct client){.port = port, .goal = goal, .ctx = SSL_CTX_new(TLS_method())};
    SSL_CTX_set_app_data(c->ctx, c);
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->ctx, keep_session);
    MUST(pthread_create(&c->thread, NULL, client_run, c) == 0);
}

static void client_end(struct client *c) {
    pthread_join(c->thread, NULL);
    while (c->first != c->end) {
        drop_first(c);
    }
    SSL_CTX_free(c->ctx);
}

// ---- the gateway ----

static bool gateway_start(int io, uint32_t *out_gateway, int *out_port) {
    struct sl_config config = {.io = (uint32_t)io, .workers = 2, .stek_rotation_ms = ROTATION_MS, .steks_kept = KEYS_KEPT};
    struct sl_resumption row = {.mode = SL_RESUMPTION_ONCE, .tickets = 1, .ticket_lifetime_s = 3600};
    uint8_t pem[8192];
    uint32_t cert_len;
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/plain", 200, "", "plain", 5);
    uint32_t len = plan_finish(&builder);
    int pem_len = sl_certificate_make(pem, sizeof(pem)), gateway = sl_gateway_new((uint8_t *)&config, sizeof(config));
    if (gateway < 0) {
        return false; // not this backend
    }
    memcpy(&cert_len, pem, 4);
    *out_gateway = (uint32_t)gateway;
    int set = sl_gateway_certificate(*out_gateway, SL_SET_NEW, pem + 4, cert_len, pem + 4 + cert_len, (size_t)pem_len - 4 - cert_len,
                                     NULL, 0);
    MUST(sl_gateway_resumption(*out_gateway, (uint32_t)set, 0, (uint8_t *)&row, sizeof(row)) == 0);
    *out_port = sl_gateway_listen(*out_gateway, (const uint8_t *)"127.0.0.1:0", 11, (uint32_t)set);
    MUST(*out_port > 0 && sl_plan_load(*out_gateway, builder.blob, len) == 0 && sl_gateway_start(*out_gateway) == 0);
    return true;
}

static void gateway_end(uint32_t gateway, const struct client *clients) {
    struct sl_counters c;
    uint64_t failed = 0;
    CHECK_INT(sl_gateway_drain(gateway, 5000), 0);
    CHECK_INT(sl_gateway_join(gateway, 10000), 0);
    sl_gateway_stats(gateway, (uint8_t *)&c, sizeof(c));
    for (int i = 0; i < CLIENTS; i++) {
        failed += clients[i].failed;
    }
    CHECK_INT(failed, 0);
    CHECK_INT(c.tls_failures, 0);
    CHECK_INT(c.conns_live, 0);
    CHECK_INT(c.tls_full + c.tls_resumed, c.tls_handshakes);
    CHECK(c.steks <= KEYS_KEPT + 1); // and the next one
    sl_gateway_free(gateway);
}

TEST(clients_resume_while_keys_turn) {
    int goal = getenv("SLUICE_SOAK") ? 150 : 12, ran = 0;
    signal(SIGPIPE, SIG_IGN);
    for (int io = SL_IO_URING; io <= SL_IO_EPOLL; io++) {
        static struct client clients[CLIENTS];
        uint32_t gateway;
        int port;
        uint64_t offered = 0, resumed = 0;
        if (!gateway_start(io, &gateway, &port)) {
            continue;
        }
        for (int i = 0; i < CLIENTS; i++) {
            client_start(&clients[i], port, goal);
        }
        for (int i = 0; i < CLIENTS; i++) {
            client_end(&clients[i]);
            offered += clients[i].offered;
            resumed += clients[i].resumed;
        }
        printf("  %s: %llu of %llu young tickets resumed while keys turned %d times\n", io == SL_IO_URING ? "uring" : "epoll",
               (unsigned long long)resumed, (unsigned long long)offered, clients[0].turns);
        CHECK(offered >= (uint64_t)goal); // at least one for each key
        CHECK_MSG(resumed * 100 >= offered * 99, "%llu of %llu", (unsigned long long)resumed, (unsigned long long)offered);
        gateway_end(gateway, clients);
        ran++;
    }
    CHECK(ran > 0);
}
