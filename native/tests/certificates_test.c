// A gateway whose certificate and client CAs are replaced, again and again, under a thousand handshakes: nobody fails, and afterwards everybody sees the
// last ones.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <openssl/bn.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "identity.h"
#include "peer.h"
#include "plan_builder.h"
#include "sluice/counters.h"
#include "sluice/sluice.h"
#include "test.h"

#define CLIENTS 2
#define HANDSHAKES 1000
#define SWAPS 50
#define MUST(expr) ((expr) ? (void)0 : abort())
static const char request[] = "GET /plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
static struct plan_builder builder;

struct pem {
    uint8_t bytes[4096];
    const uint8_t *cert, *key;
    size_t cert_len, key_len;
    char serial[80];
};

static void pem_make(struct pem *pem) {
    uint8_t text[512];
    uint32_t cert_len;
    int n = sl_certificate_make(pem->bytes, sizeof(pem->bytes));
    MUST(n > 4);
    memcpy(&cert_len, pem->bytes, 4);
    pem->cert = pem->bytes + 4;
    pem->cert_len = cert_len;
    pem->key = pem->cert + cert_len;
    pem->key_len = (size_t)n - 4 - cert_len;
    n = sl_certificate_describe(pem->cert, pem->cert_len, pem->key, pem->key_len, text, sizeof(text) - 1);
    MUST(n > 0);
    text[n] = 0;
    MUST(sscanf(strstr((char *)text, "serial "), "serial %79s", pem->serial) == 1);
}

// A CA, PEM.
static void ca_make(struct pem *pem) {
    struct identity ca = issue(NULL, (struct spec){.name = "ca", .ca = true});
    BIO *bio = BIO_new(BIO_s_mem());
    MUST(PEM_write_bio_X509(bio, ca.x509));
    int len = BIO_read(bio, pem->bytes, sizeof(pem->bytes));
    MUST(len > 0);
    pem->cert = pem->bytes;
    pem->cert_len = (size_t)len;
    BIO_free(bio);
    identity_free(ca);
}

// ---- a client ----

struct client {
    pthread_t thread;
    SSL_CTX *ctx;
    SSL_SESSION *kept; // of its last connection
    char serial[80];   // the same
    int port;
    bool resumed;
    uint64_t visits, failed;
};

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct client *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    SSL_SESSION_free(c->kept);
    c->kept = session;
    return 1;
}

static void read_serial(struct client *c, SSL *ssl) {
    X509 *x509 = SSL_get_peer_certificate(ssl);
    BIGNUM *number = x509 ? ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), NULL) : NULL;
    char *text = number ? BN_bn2hex(number) : NULL;
    snprintf(c->serial, sizeof(c->serial), "%s", text ? text : "none");
    for (char *at = c->serial; *at; at++) {
        *at = (char)(*at >= 'a' && *at <= 'f' ? *at - 32 : *at);
    }
    OPENSSL_free(text);
    BN_free(number);
    X509_free(x509);
}

// One connection and one request.
static bool visit(struct client *c, SSL_SESSION *session) {
    char answer[1024];
    int fd = peer_connect(c->port), len = 0, n = 0;
    if (fd < 0) {
        return false;
    }
    SSL *ssl = SSL_new(c->ctx);
    SSL_set_fd(ssl, fd);
    if (session) {
        SSL_set_session(ssl, session);
    }
    bool ok = SSL_connect(ssl) == 1 && SSL_write(ssl, request, sizeof(request) - 1) > 0;
    while (ok && len < (int)sizeof(answer) - 1 && (n = SSL_read(ssl, answer + len, (int)sizeof(answer) - 1 - len)) > 0) {
        len += n;
    }
    answer[len] = 0;
    c->resumed = SSL_session_reused(ssl);
    read_serial(c, ssl);
    ok = ok && strstr(answer, "200 OK") && strstr(answer, "plain");
    SSL_free(ssl);
    close(fd);
    return ok;
}

static void client_init(struct client *c, int port) {
    *c = (struct client){.port = port, .ctx = SSL_CTX_new(TLS_method())};
    SSL_CTX_set_app_data(c->ctx, c);
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->ctx, keep_session);
}

static void client_deinit(struct client *c) {
    SSL_SESSION_free(c->kept);
    SSL_CTX_free(c->ctx);
}

static _Atomic int handshakes;

static void *client_run(void *arg) {
    struct client *c = arg;
    while (atomic_fetch_add(&handshakes, 1) < HANDSHAKES && c->failed < 10) {
        c->failed += !visit(c, NULL);
        c->visits++;
    }
    return NULL;
}

// ---- the gateway ----

struct rig {
    uint32_t gateway, set;
    int port;
};

static bool rig_start(struct rig *rig, int io, const struct pem *pem) {
    struct sl_config config = {.io = (uint32_t)io, .workers = 2};
    struct sl_resumption row = {.mode = SL_RESUMPTION_ONCE, .tickets = 1, .ticket_lifetime_s = 3600};
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/plain", 200, "", "plain", 5);
    uint32_t len = plan_finish(&builder);
    int gateway = sl_gateway_new((uint8_t *)&config, sizeof(config));
    if (gateway < 0) {
        return false; // not this backend
    }
    rig->gateway = (uint32_t)gateway;
    int set = sl_gateway_certificate(rig->gateway, SL_SET_NEW, pem->cert, pem->cert_len, pem->key, pem->key_len, NULL, 0);
    MUST(set >= 0);
    rig->set = (uint32_t)set;
    MUST(sl_gateway_resumption(rig->gateway, rig->set, 0, (uint8_t *)&row, sizeof(row)) == 0);
    rig->port = sl_gateway_listen(rig->gateway, (const uint8_t *)"127.0.0.1:0", 11, rig->set);
    MUST(rig->port > 0 && sl_plan_load(rig->gateway, builder.blob, len) == 0);
    return true;
}

static int replace(const struct rig *rig, const struct pem *cert, const struct pem *key) {
    return sl_gateway_certificate_replace(rig->gateway, rig->set, 0, cert->cert, cert->cert_len, key->key, key->key_len, NULL, 0);
}

static int trust(const struct rig *rig, const struct pem *ca) {
    return sl_gateway_client_auth(rig->gateway, rig->set, 0, SL_CLIENT_AUTH_OPTIONAL, ca->cert, ca->cert_len);
}

static void rig_end(const struct rig *rig) {
    CHECK_INT(sl_gateway_drain(rig->gateway, 5000), 0);
    CHECK_INT(sl_gateway_join(rig->gateway, 10000), 0);
    CHECK_INT(sl_gateway_free(rig->gateway), 0);
}

static void count(const struct rig *rig, struct sl_counters *out) {
    MUST(sl_gateway_stats(rig->gateway, (uint8_t *)out, sizeof(*out)) > 0);
}

// Each worker has taken what was published when it has published its counters in a turn that began later.
static void settle(const struct rig *rig) {
    struct sl_counters c;
    count(rig, &c);
}

static void swap_under_load(int io) {
    static struct pem pems[3], cas[2];
    static struct client clients[CLIENTS], early;
    struct rig rig;
    struct sl_counters c;
    uint64_t failed = 0, visits = 0;
    for (size_t i = 0; i < 3; i++) {
        pem_make(&pems[i]);
    }
    ca_make(&cas[0]);
    ca_make(&cas[1]);
    if (!rig_start(&rig, io, &pems[0])) {
        return;
    }
    MUST(trust(&rig, &cas[0]) == SL_OK);
    MUST(sl_gateway_start(rig.gateway) == 0);
    client_init(&early, rig.port);
    CHECK(visit(&early, NULL));
    CHECK_STR(early.serial, pems[0].serial);
    SSL_SESSION *session = early.kept;
    early.kept = NULL;
    atomic_store(&handshakes, 0);
    for (int i = 0; i < CLIENTS; i++) {
        client_init(&clients[i], rig.port);
        MUST(pthread_create(&clients[i].thread, NULL, client_run, &clients[i]) == 0);
    }
    for (int done = 1; done <= SWAPS; done++) { // spread over the handshakes
        while (atomic_load(&handshakes) < done * (HANDSHAKES / (SWAPS + 1))) {
            sched_yield();
        }
        CHECK_INT(replace(&rig, &pems[1 + done % 2], &pems[1 + done % 2]), SL_OK);
        CHECK_INT(replace(&rig, &pems[1], &pems[2]), SL_E_TLS_CONFIG); // half a renewal changes nothing
        CHECK_INT(trust(&rig, &cas[done % 2]), SL_OK);
        CHECK_INT(trust(&rig, &pems[1]), SL_E_TLS_CONFIG); // no CA
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        failed += clients[i].failed;
        visits += clients[i].visits;
        client_deinit(&clients[i]);
    }
    CHECK_INT(failed, 0);
    CHECK_INT(visits, HANDSHAKES);
    settle(&rig);
    for (int i = 0; i < 8; i++) { // whichever worker
        CHECK(visit(&early, NULL));
        CHECK_STR(early.serial, pems[1].serial);
    }
    REQUIRE(session);
    CHECK(visit(&early, session));
    CHECK(early.resumed); // a ticket from before the first swap: the CAs are those of then
    CHECK_INT(sl_gateway_client_auth(rig.gateway, rig.set, 0, SL_CLIENT_AUTH_REQUIRED, cas[0].cert, cas[0].cert_len), SL_E_STATE); // another mode
    CHECK_INT(sl_gateway_client_auth(rig.gateway, rig.set, 1, SL_CLIENT_AUTH_OPTIONAL, cas[0].cert, cas[0].cert_len), SL_E_STATE); // nobody
    SSL_SESSION_free(session);
    client_deinit(&early);
    count(&rig, &c);
    CHECK_INT(c.tls_failures, 0);
    CHECK_INT(c.tls_handshakes, HANDSHAKES + 1 + 8 + 1);
    CHECK_INT(c.tls_resumed, 1);
    rig_end(&rig);
    printf("  %s: %d handshakes, %d swaps\n", io == SL_IO_URING ? "uring" : "epoll", HANDSHAKES, SWAPS);
}

TEST(a_certificate_is_replaced_under_a_thousand_handshakes_uring) { swap_under_load(SL_IO_URING); }
TEST(a_certificate_is_replaced_under_a_thousand_handshakes_epoll) { swap_under_load(SL_IO_EPOLL); }

TEST(a_certificate_is_replaced_before_the_start_and_only_where_there_is_one) {
    static struct pem pems[2];
    static struct client client;
    static uint8_t staple[65537];
    struct rig rig;
    pem_make(&pems[0]);
    pem_make(&pems[1]);
    REQUIRE(rig_start(&rig, SL_IO_EPOLL, &pems[0]));
    CHECK_INT(replace(&rig, &pems[1], &pems[1]), SL_OK);
    static const struct {
        uint32_t set, index;
        size_t ocsp;
    } wrong[] = {{1, 0, 0}, {SL_SET_NEW, 0, 0}, {0, 1, 0}, {0, 0, sizeof(staple)}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK_MSG(sl_gateway_certificate_replace(rig.gateway, wrong[i].set, wrong[i].index, pems[0].cert, pems[0].cert_len, pems[0].key,
                                                 pems[0].key_len, staple, wrong[i].ocsp) == SL_E_STATE,
                  "row %zu", i);
    }
    MUST(sl_gateway_start(rig.gateway) == 0);
    client_init(&client, rig.port);
    CHECK(visit(&client, NULL));
    CHECK_STR(client.serial, pems[1].serial);
    client_deinit(&client);
    rig_end(&rig);
}
