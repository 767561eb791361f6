// Early data in a running gateway: which requests run before the handshake is done, which wait, and that a replay runs nothing twice. The client is
// BoringSSL with memory BIOs, so that the test says which of its bytes are sent, and when.
#include <openssl/ssl.h>

#include "kept_session.h"
#include "peer.h"
#include "plan_builder.h"
#include "sluice/counters.h"
#include "sluice/sluice.h"
#include "test.h"

#define MUST(expr) ((expr) ? (void)0 : abort())
static struct plan_builder builder;
static char text[65536];
static int upstream_port; // 0: none

struct rig {
    uint32_t gateway;
    int port;
};

static void plan_make(void) {
    plan_init(&builder);
    uint32_t early = plan_early_data(&builder, SL_PLAN_NONE);
    plan_respond(&builder, SL_METHOD_GET, "/plain", 200, "", "plain", 5);
    uint32_t too_early = builder.header.respond_count++;
    builder.responds[too_early] = (struct sl_plan_respond){.status = 425, .fields_off = plan_bytes(&builder, "", 0)};
    uint32_t refuse = plan_early_data(&builder, too_early);
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/early", SL_PLAN_OP_EARLY_DATA, early);
    plan_respond(&builder, SL_PLAN_METHOD_ALL, "/early", 200, "", "early", 5);
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/refuse", SL_PLAN_OP_EARLY_DATA, refuse);
    plan_respond(&builder, SL_PLAN_METHOD_ALL, "/refuse", 200, "", "taken", 5);
    if (upstream_port) {
        plan_entry(&builder, SL_PLAN_METHOD_ALL, "/knows", SL_PLAN_OP_EARLY_DATA, early);
        plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/knows", (uint16_t)upstream_port)->early_data = 1;
        plan_entry(&builder, SL_PLAN_METHOD_ALL, "/simple", SL_PLAN_OP_EARLY_DATA, early);
        plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/simple", (uint16_t)upstream_port);
    }
    builder.header.flags = SL_PLAN_F_NOT_FOUND_NATIVE;
}

static bool rig_start(struct rig *rig, int io, uint32_t mode) {
    struct sl_config config = {.io = (uint32_t)io, .workers = 2, .stek_rotation_ms = SL_STEKS_GIVEN, .requests_max = 64};
    plan_make();
    uint32_t len = plan_finish(&builder);
    uint8_t pem[8192];
    uint32_t cert_len;
    int pem_len = sl_certificate_make(pem, sizeof(pem));
    memcpy(&cert_len, pem, 4);
    rig->gateway = (uint32_t)sl_gateway_new((uint8_t *)&config, sizeof(config));
    int set = sl_gateway_certificate(rig->gateway, SL_SET_NEW, pem + 4, cert_len, pem + 4 + cert_len, (size_t)pem_len - 4 - cert_len,
                                     NULL, 0);
    struct sl_resumption row = {
        .mode = mode, .tickets = 2, .ticket_lifetime_s = 3600, .early_data = 1, .early_window_s = 600, .early_age_skew_ms = 10000,
        .early_methods = 1u << SL_METHOD_GET, .early_bytes_max = 16};
    struct sl_stek_given key = {.not_before_ms = 0, .key = "a key that both processes have"};
    int rc = sl_gateway_resumption(rig->gateway, (uint32_t)set, 0, (uint8_t *)&row, sizeof(row));
    rc = rc ? rc : sl_gateway_steks(rig->gateway, (uint8_t *)&key, sizeof(key));
    rig->port = sl_gateway_listen(rig->gateway, (const uint8_t *)"127.0.0.1:0", 11, (uint32_t)set);
    rc = rc ? rc : rig->port < 0 ? rig->port : sl_plan_load(rig->gateway, builder.blob, len);
    rc = rc ? rc : sl_gateway_start(rig->gateway);
    uint8_t why[256];
    int n = rc ? sl_error_text(why, sizeof(why)) : 0;
    CHECK_MSG(rc == 0, "%.*s", n, (char *)why);
    return rc == 0;
}

static struct sl_counters stats(const struct rig *rig) {
    struct sl_counters c;
    sl_gateway_stats(rig->gateway, (uint8_t *)&c, sizeof(c));
    return c;
}

static void rig_stop(struct rig *rig) {
    CHECK_INT(sl_gateway_drain(rig->gateway, 5000), 0);
    CHECK_INT(sl_gateway_join(rig->gateway, 10000), 0);
    struct sl_counters c = stats(rig);
    CHECK_INT(c.requests_live, 0);
    CHECK_INT(c.conns_live, 0);
    sl_gateway_free(rig->gateway);
}

// ---- the client ----

static SSL_CTX *client_ctx(void) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    return ctx;
}

struct client {
    SSL *ssl;
    BIO *in, *out;
    int fd;
};

static void client_open(struct client *c, SSL_CTX *ctx, int port, SSL_SESSION *session) {
    c->fd = peer_connect(port);
    c->ssl = SSL_new(ctx);
    c->in = BIO_new(BIO_s_mem());
    c->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(c->in, -1);
    SSL_set_bio(c->ssl, c->in, c->out);
    SSL_set_connect_state(c->ssl);
    if (session) {
        SSL_set_session(c->ssl, session);
        SSL_set_early_data_enabled(c->ssl, 1);
    }
}

static void client_close(struct client *c) {
    SSL_free(c->ssl);
    close(c->fd);
}

static void client_flush(struct client *c) {
    const uint8_t *data;
    size_t len;
    MUST(BIO_mem_contents(c->out, &data, &len));
    MUST(peer_send(c->fd, data, len) == 0);
    BIO_reset(c->out);
}

// What the server sends next goes to the engine. False: it closed, or is silent for 5 s.
static bool client_hear(struct client *c) {
    uint8_t bytes[16384];
    ssize_t n = peer_recv(c->fd, bytes, sizeof(bytes));
    if (n > 0) {
        BIO_write(c->in, bytes, (int)n);
    }
    return n > 0;
}

static void client_handshake(struct client *c) {
    while (SSL_do_handshake(c->ssl) != 1) {
        client_flush(c);
        if (!client_hear(c)) {
            CHECK_MSG(false, "no handshake");
            return;
        }
    }
    client_flush(c);
}

// Its request as early data, in the first flight, which is sent.
static void client_send_early(struct client *c, const char *request) {
    CHECK_INT(SSL_do_handshake(c->ssl), 1);
    CHECK(SSL_in_early_data(c->ssl));
    CHECK_INT(SSL_write(c->ssl, request, (int)strlen(request)), (int)strlen(request));
    client_flush(c);
}

// One answer's bytes, up to `body`. Nothing of the client's is sent meanwhile.
static bool client_reads(struct client *c, const char *body) {
    size_t len = 0;
    text[0] = 0;
    while (!strstr(text, body)) {
        int n = SSL_read(c->ssl, text + len, (int)(sizeof(text) - 1 - len));
        if (n > 0) {
            len += (size_t)n;
            text[len] = 0;
        } else if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ || !client_hear(c)) {
            return false;
        }
    }
    return true;
}

static SSL_SESSION *session_of(SSL_CTX *ctx, const struct rig *rig) {
    struct client c;
    client_open(&c, ctx, rig->port, NULL);
    client_handshake(&c);
    SSL_write(c.ssl, "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n", 40);
    client_flush(&c);
    CHECK(client_reads(&c, "plain"));
    client_close(&c);
    SSL_SESSION *session = take_session();
    CHECK(session && SSL_SESSION_early_data_capable(session));
    return session;
}

static int backends[2], backend_count;
static void find_backends(void) {
    for (int kind = SL_IO_URING; kind <= SL_IO_EPOLL; kind++) {
        struct sl_config config = {.io = (uint32_t)kind, .workers = 1};
        int g = sl_gateway_new((uint8_t *)&config, sizeof(config));
        if (g >= 0) {
            sl_gateway_free((uint32_t)g);
            backends[backend_count++] = kind;
        }
    }
}
#define EACH_BACKEND(io)                                                                                                                   \
    if (backend_count == 0) {                                                                                                              \
        find_backends();                                                                                                                   \
    }                                                                                                                                      \
    for (int backend_i = 0, io = backends[0]; backend_i < backend_count; backend_i++, io = backends[backend_i % 2])

static void wait_until_held(const struct rig *rig, uint64_t count) {
    for (int i = 0; i < 5000 && stats(rig).early_held < count; i++) {
    }
    CHECK_INT(stats(rig).early_held, count);
}

// ---- what is promised ----

TEST(an_allowed_request_is_answered_before_the_handshake_is_done) {
    EACH_BACKEND(io) {
        struct rig rig;
        struct client c;
        REQUIRE(rig_start(&rig, io, SL_RESUMPTION_ONCE));
        SSL_CTX *ctx = client_ctx();
        SSL_SESSION *session = session_of(ctx, &rig);
        client_open(&c, ctx, rig.port, session);
        client_send_early(&c, "GET /early HTTP/1.1\r\nHost: localhost\r\n\r\n");
        CHECK(client_reads(&c, "early"));
        CHECK(SSL_early_data_accepted(c.ssl));
        CHECK_INT(stats(&rig).early_held, 0);
        client_flush(&c); // EndOfEarlyData and Finished, only now
        SSL_write(c.ssl, "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n", 40);
        client_flush(&c);
        CHECK(client_reads(&c, "plain"));
        client_close(&c);
        SSL_SESSION_free(session);
        SSL_CTX_free(ctx);
        rig_stop(&rig);
    }
}

TEST(what_its_route_does_not_allow_waits_for_the_handshake) {
    static const struct {
        const char *request, *body;
    } rows[] = {
        {"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n", "plain"},
        {"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", "404 Not Found"},
        {"DELETE /early HTTP/1.1\r\nHost: localhost\r\n\r\n", "early"},
        {"POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi", "early"},
        {"GET /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n12345678901234567", "early"},
        {"GET /early HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "early"},
    };
    EACH_BACKEND(io) {
        struct rig rig;
        REQUIRE(rig_start(&rig, io, SL_RESUMPTION_ONCE));
        SSL_CTX *ctx = client_ctx();
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            struct client c;
            SSL_SESSION *session = session_of(ctx, &rig);
            uint64_t answered = stats(&rig).requests_native;
            client_open(&c, ctx, rig.port, session);
            client_send_early(&c, rows[i].request);
            wait_until_held(&rig, i + 1);
            CHECK_INT(stats(&rig).requests_native, answered);
            while (SSL_in_early_data(c.ssl)) { // the server's flight
                int n = SSL_read(c.ssl, text, sizeof(text));
                CHECK_MSG(n <= 0, "row %zu: an answer before the handshake was done", i);
                if (!SSL_in_early_data(c.ssl) || n > 0 || !client_hear(&c)) {
                    break;
                }
            }
            client_flush(&c);
            CHECK_MSG(client_reads(&c, rows[i].body), "row %zu: %s", i, text);
            client_close(&c);
            SSL_SESSION_free(session);
        }
        SSL_CTX_free(ctx);
        rig_stop(&rig);
    }
}

TEST(a_route_may_refuse_instead) {
    EACH_BACKEND(io) {
        struct rig rig;
        struct client c;
        REQUIRE(rig_start(&rig, io, SL_RESUMPTION_ONCE));
        SSL_CTX *ctx = client_ctx();
        SSL_SESSION *session = session_of(ctx, &rig);
        client_open(&c, ctx, rig.port, session);
        client_send_early(&c, "PUT /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        CHECK(client_reads(&c, "425 Too Early"));
        client_flush(&c);
        const char *again = "PUT /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        SSL_write(c.ssl, again, (int)strlen(again));
        client_flush(&c);
        CHECK(client_reads(&c, "taken"));
        CHECK_INT(stats(&rig).by_status[-SL_E_TOO_EARLY], 1);
        client_close(&c);
        SSL_SESSION_free(session);
        SSL_CTX_free(ctx);
        rig_stop(&rig);
    }
}

TEST(behind_an_allowed_one_another_waits) {
    EACH_BACKEND(io) {
        struct rig rig;
        struct client c;
        REQUIRE(rig_start(&rig, io, SL_RESUMPTION_ONCE));
        SSL_CTX *ctx = client_ctx();
        SSL_SESSION *session = session_of(ctx, &rig);
        client_open(&c, ctx, rig.port, session);
        client_send_early(&c, "GET /early HTTP/1.1\r\nHost: localhost\r\n\r\nGET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n");
        CHECK(client_reads(&c, "early"));
        wait_until_held(&rig, 1);
        client_flush(&c);
        CHECK(client_reads(&c, "plain"));
        client_close(&c);
        SSL_SESSION_free(session);
        SSL_CTX_free(ctx);
        rig_stop(&rig);
    }
}

// The upstream's side of one request: its head to `text`, then the answer.
static void upstream_serves(int listen_fd, const char *answer) {
    int fd = accept(listen_fd, NULL, NULL);
    peer_bound(fd);
    peer_read_until(fd, text, sizeof(text), "\r\n\r\n");
    peer_send_text(fd, answer);
    close(fd);
}

TEST(an_upstream_that_knows_early_data_is_told_and_others_wait_for_the_handshake) {
    int listen_fd = peer_listen(&upstream_port);
    EACH_BACKEND(io) {
        struct rig rig;
        struct client c;
        REQUIRE(rig_start(&rig, io, SL_RESUMPTION_ONCE));
        SSL_CTX *ctx = client_ctx();
        SSL_SESSION *session = session_of(ctx, &rig);
        client_open(&c, ctx, rig.port, session);
        client_send_early(&c, "GET /knows HTTP/1.1\r\nHost: localhost\r\n\r\n");
        upstream_serves(listen_fd, "HTTP/1.1 425 Too Early\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlater");
        CHECK_MSG(strstr(text, "\r\nearly-data: 1\r\n") != NULL, "%s", text);
        CHECK(client_reads(&c, "later") && strstr(text, "425 Too Early"));
        client_flush(&c);
        const char *again = "GET /knows HTTP/1.1\r\nHost: localhost\r\n\r\n"; // as RFC 8470 section 5.2 has it
        SSL_write(c.ssl, again, (int)strlen(again));
        client_flush(&c);
        upstream_serves(listen_fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nnow");
        CHECK_MSG(strstr(text, "early-data") == NULL, "%s", text);
        CHECK(client_reads(&c, "now"));
        client_close(&c);
        SSL_SESSION_free(session);

        session = session_of(ctx, &rig);
        client_open(&c, ctx, rig.port, session);
        client_send_early(&c, "GET /simple HTTP/1.1\r\nHost: localhost\r\nEarly-Data: 1\r\n\r\n");
        wait_until_held(&rig, 1);
        CHECK_INT(stats(&rig).requests_proxied, 2);
        while (SSL_in_early_data(c.ssl) && SSL_read(c.ssl, text, sizeof(text)) <= 0 && SSL_in_early_data(c.ssl) && client_hear(&c)) {
        }
        client_flush(&c);
        upstream_serves(listen_fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nheld");
        CHECK_MSG(strstr(text, "\r\nearly-data: 1\r\n") != NULL, "%s", text); // the client's own is never removed
        CHECK(client_reads(&c, "held"));
        client_close(&c);
        SSL_SESSION_free(session);
        SSL_CTX_free(ctx);
        rig_stop(&rig);
    }
    close(listen_fd);
    upstream_port = 0;
}

// Who leaves, or says nothing, while his request is held: nothing has run, and nothing is left.
TEST(a_held_request_ends_with_its_client) {
    EACH_BACKEND(io) {
        struct rig rig;
        REQUIRE(rig_start(&rig, io, SL_RESUMPTION_ONCE));
        SSL_CTX *ctx = client_ctx();
        for (uint64_t i = 0; i < 4; i++) {
            struct client c;
            SSL_SESSION *session = session_of(ctx, &rig);
            uint64_t answered = stats(&rig).requests_native;
            client_open(&c, ctx, rig.port, session);
            client_send_early(&c, "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n");
            wait_until_held(&rig, i + 1);
            if (i == 1) {
                shutdown(c.fd, SHUT_WR);
            } else if (i == 2) {
                peer_send(c.fd, "\x17\x03\x03\x00\x20this is no record of that client", 37);
            } else if (i == 3) {
                struct linger reset = {1, 0};
                setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
            }
            client_close(&c);
            for (int k = 0; k < 5000 && stats(&rig).conns_live > 0; k++) {
            }
            CHECK_INT(stats(&rig).requests_live, 0);
            CHECK_INT(stats(&rig).requests_native, answered);
            SSL_SESSION_free(session);
        }
        SSL_CTX_free(ctx);
        rig_stop(&rig);
    }
}

// All that a client sent until its request was answered, byte for byte, sent again: to the same process, which two workers serve, again and again;
// and to another process with the same keys, as after a restart.
TEST(a_replay_runs_nothing_twice) {
    static const uint32_t modes[] = {SL_RESUMPTION_ONCE, SL_RESUMPTION_SEALED};
    for (size_t m = 0; m < 2; m++) {
        EACH_BACKEND(io) {
            struct rig rig, restarted;
            struct client c;
            REQUIRE(rig_start(&rig, io, modes[m]) && rig_start(&restarted, io, modes[m]));
            SSL_CTX *ctx = client_ctx();
            SSL_SESSION *session = session_of(ctx, &rig);
            uint64_t before = stats(&rig).requests;
            client_open(&c, ctx, rig.port, session);
            CHECK_INT(SSL_do_handshake(c.ssl), 1);
            SSL_write(c.ssl, "GET /early HTTP/1.1\r\nHost: localhost\r\n\r\n", 40);
            const uint8_t *data;
            size_t len;
            uint8_t recorded[4096];
            MUST(BIO_mem_contents(c.out, &data, &len) && len <= sizeof(recorded));
            memcpy(recorded, data, len);
            client_flush(&c);
            CHECK(client_reads(&c, "early"));
            CHECK_INT(stats(&rig).requests, before + 1);
            for (int i = 0; i < 16; i++) { // the kernel spreads them over both workers
                int fd = peer_connect(i < 12 ? rig.port : restarted.port);
                char byte;
                peer_send(fd, recorded, len);
                CHECK(peer_recv(fd, &byte, 1) == 1); // it has been looked at: a ServerHello
                close(fd);
            }
            CHECK_INT(stats(&rig).requests, before + 1);
            CHECK_INT(stats(&rig).tls_early, 1);
            CHECK_INT(stats(&rig).ticket_takes_won, 1);
            CHECK_INT(stats(&rig).ticket_takes_lost, 12);
            CHECK_INT(stats(&restarted).requests, 0);
            CHECK_INT(stats(&restarted).ticket_takes_foreign, 4);
            client_close(&c);
            SSL_SESSION_free(session);
            SSL_CTX_free(ctx);
            rig_stop(&rig);
            rig_stop(&restarted);
        }
    }
}

// Nobody's request is lost when keys change, and tickets of dropped keys are full handshakes.
TEST(new_keys_from_outside_take_effect_at_once) {
    EACH_BACKEND(io) {
        struct rig rig;
        REQUIRE(rig_start(&rig, io, SL_RESUMPTION_ONCE));
        SSL_CTX *ctx = client_ctx();
        SSL_SESSION *session = session_of(ctx, &rig);
        for (int turn = 0; turn < 3; turn++) {
            struct sl_stek_given keys[2] = {{.not_before_ms = 0, .key = "a key that both processes have"}, {.not_before_ms = 1, .key = "another"}};
            const struct sl_stek_given *first = turn == 2 ? keys + 1 : keys;
            CHECK_INT(sl_gateway_steks(rig.gateway, (const uint8_t *)first, (turn == 1 ? 2 : 1) * sizeof(*keys)), 0);
            CHECK_INT(stats(&rig).steks, turn == 1 ? 2 : 1);
            struct client c;
            client_open(&c, ctx, rig.port, NULL);
            SSL_set_session(c.ssl, session);
            client_handshake(&c);
            SSL_write(c.ssl, "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n", 40);
            client_flush(&c);
            CHECK(client_reads(&c, "plain"));
            CHECK_MSG(SSL_session_reused(c.ssl) == (turn < 2), "turn %d", turn);
            client_close(&c);
        }
        uint8_t nothing[1] = {0};
        CHECK_INT(sl_gateway_steks(rig.gateway, nothing, 0), SL_E_TLS_CONFIG);
        CHECK_INT(sl_gateway_steks(rig.gateway, nothing, 1), SL_E_TLS_CONFIG);
        SSL_SESSION_free(session);
        forget_session();
        SSL_CTX_free(ctx);
        rig_stop(&rig);
    }
}
