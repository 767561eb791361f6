// What the server's part of a connection costs in process, without a kernel: sl_tls_new, the handshake, one byte of answer (BoringSSL sends its
// tickets with it), sl_tls_free; full and resumed, ECDSA P-256 and RSA-2048, X25519. The client (BoringSSL) is not counted.
//   handshake_bench ROUNDS     a line "KIND KEY 1 NS" for each round: kinds and keys take turns
#define SL_TEST_CHECKS_ONLY
#include "tls_pair.h"

#define HANDSHAKES 50

static SSL_SESSION *last_session;

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION_free(last_session);
    last_session = session;
    return 1;
}

static SSL_CTX *client_ctx(void) {
    static const uint16_t x25519 = SSL_GROUP_X25519;
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    SL_ASSERT(SSL_CTX_set1_group_ids(ctx, &x25519, 1));
    return ctx;
}

static struct sl_tls_certificate *rsa_certificate(void) {
    struct sl_tls_certificate *certificate;
    BIO *cert = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
    SL_ASSERT(PEM_write_bio_X509(cert, x509_for(rsa_key())) && PEM_write_bio_PrivateKey(key, rsa_key(), NULL, NULL, 0, NULL, NULL));
    SL_ASSERT(sl_tls_certificate_new(&certificate, span_of_bio(cert), span_of_bio(key)) == SL_OK);
    return certificate;
}

static struct sl_tls_certificate *ecdsa_certificate(void) {
    struct sl_tls_certificate *certificate;
    SL_ASSERT(sl_tls_certificate_new(&certificate, shared_pem()->cert, shared_pem()->key) == SL_OK);
    return certificate;
}

// As the data plane's worker has it by default: mode ONCE, one ticket.
static struct sl_tls_ctx *server_ctx(struct sl_tls_certificate *certificate, struct sl_tickets *tickets, struct sl_stek_ring *ring) {
    static const struct sl_tls_policy policy = {.resumption = SL_RESUMPTION_ONCE, .tickets = 1, .ticket_lifetime_s = 3600};
    struct sl_tls_sni *sni;
    struct sl_tls_ctx *ctx;
    SL_ASSERT(sl_tls_sni_new(&sni) == SL_OK && sl_tls_sni_add(sni, certificate, (struct sl_span){NULL, 0}) == SL_OK);
    SL_ASSERT(sl_tls_ctx_new(&ctx, sni, &policy, tickets, &tls_counters) == SL_OK);
    sl_tls_ctx_set_steks(ctx, ring);
    sl_tls_ctx_set_clock(ctx, 1, (int64_t)time(NULL) * 1000);
    return ctx;
}

static struct sl_stek_ring *ring_open(void) {
    struct sl_stek_key key = {.not_before_ms = 0, .key = "for a bench"};
    struct sl_stek_ring *ring;
    SL_ASSERT(sl_stek_ring_new(&ring, &key, 1) == SL_OK);
    return ring;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// One connection, until the client has its ticket: nanoseconds of the server.
static uint64_t connect_once(struct sl_tls_ctx *ctx, SSL_CTX *clients, SSL_SESSION *session) {
    struct pair pair = {.options = {.ctx = ctx, .client_ctx = clients, .session = session, .out_cap = 32768, .read_cap = 32768}};
    client_open(&pair);
    uint64_t begin = now_ns(), spent;
    pair.tls = sl_tls_new(ctx);
    spent = now_ns() - begin;
    bool answered = false;
    for (bool moved = true; moved;) {
        moved = client_turn(&pair);
        begin = now_ns();
        moved = server_turn(&pair) || moved;
        if (!answered && sl_tls_state(pair.tls) == SL_TLS_OPEN) {
            answered = moved = true;
            server_out_give(&pair);
            SL_ASSERT(sl_tls_write(pair.tls, &(struct iovec){(void *)"x", 1}, 1) == 1);
            server_out_send(&pair);
        }
        spent += now_ns() - begin;
    }
    SL_ASSERT(sl_tls_state(pair.tls) == SL_TLS_OPEN && SSL_session_reused(pair.client) == (session != NULL));
    begin = now_ns();
    sl_tls_free(pair.tls);
    spent += now_ns() - begin;
    pair.tls = sl_tls_new(ctx); // for pair_close
    pair_close(&pair);
    return spent;
}

static void run(struct sl_tls_ctx *ctx, const char *key, bool resumed) {
    static SSL_CTX *clients;
    clients = clients ? clients : client_ctx();
    uint64_t spent = 0;
    connect_once(ctx, clients, NULL);
    for (int i = 0; i < HANDSHAKES; i++) {
        SSL_SESSION *session = last_session;
        last_session = NULL;
        spent += connect_once(ctx, clients, resumed ? session : NULL);
        SSL_SESSION_free(session);
        SL_ASSERT(last_session);
    }
    printf("%s %s 1 %.0f\n", resumed ? "resumed" : "full", key, (double)spent / HANDSHAKES);
}

int main(int argc, char **argv) {
    int rounds = argc == 2 ? atoi(argv[1]) : 0;
    if (rounds < 1) {
        fprintf(stderr, "usage: handshake_bench ROUNDS\n");
        return 2;
    }
    struct sl_tickets *tickets;
    SL_ASSERT(sl_tickets_new(&tickets, 1u << 20, 0, 1024 * SL_NS_PER_S, 0) == SL_OK);
    struct sl_stek_ring *ring = ring_open();
    struct sl_tls_ctx *ecdsa = server_ctx(ecdsa_certificate(), tickets, ring), *rsa = server_ctx(rsa_certificate(), tickets, ring);
    for (int round = 0; round < rounds; round++) {
        for (int resumed = 0; resumed < 2; resumed++) {
            run(ecdsa, "ecdsa", resumed);
            run(rsa, "rsa", resumed);
        }
    }
    return 0;
}
