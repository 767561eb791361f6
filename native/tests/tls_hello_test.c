// A handshake that waits for somebody's word on its ClientHello: what they are told, and what becomes of each answer. BoringSSL's client judges.
#include "tls_pair.h"

#define NAMES 2

static const char *const names[NAMES] = {"localhost", "other.example"};
#define SERIAL(row) ((row) + 11)

struct rig {
    struct sl_tls_sni *sni;
    struct sl_tickets *tickets;
    struct sl_stek_ring *ring;
    struct sl_tls_ctx *ctx;
    struct sl_counters counters;
    SSL_CTX *client_ctx;
    SSL_SESSION *session; // the last ticket that the client got
};

static struct rig *rig_of_client; // the client's callback has no other way to it

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION_free(rig_of_client->session);
    rig_of_client->session = session;
    return 1;
}

static void rig_start(struct rig *rig) {
    static const struct sl_tls_policy policy = {
        .resumption = SL_RESUMPTION_STATELESS, .tickets = 1, .ticket_lifetime_s = 3600};
    const struct sl_tls_policy policies[NAMES] = {policy, policy};
    const struct sl_stek_key key = {.not_before_ms = 0, .key = {1}};
    *rig = (struct rig){0};
    rig_of_client = rig;
    SL_ASSERT(sl_tls_sni_new(&rig->sni) == SL_OK);
    for (int i = 0; i < NAMES; i++) {
        struct sl_tls_certificate *certificate = certificate_with(SERIAL(i), false, NULL);
        SL_ASSERT(sl_tls_sni_add(rig->sni, certificate, sl_span_of(names[i])) == SL_OK);
        sl_tls_certificate_free(certificate);
    }
    SL_ASSERT(sl_tickets_new(&rig->tickets, 0, 0, SL_NS_PER_S, 1) == SL_OK);
    SL_ASSERT(sl_stek_ring_new(&rig->ring, &key, 1) == SL_OK);
    SL_ASSERT(sl_tls_ctx_new(&rig->ctx, rig->sni, policies, rig->tickets, &rig->counters) == SL_OK);
    sl_tls_ctx_set_steks(rig->ctx, rig->ring);
    sl_tls_ctx_set_clock(rig->ctx, 1, (int64_t)time(NULL) * 1000);
    rig->client_ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_verify(rig->client_ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(rig->client_ctx, SSL_SESS_CACHE_BOTH);
    SSL_CTX_sess_set_new_cb(rig->client_ctx, keep_session);
}

static void rig_end(struct rig *rig) {
    SSL_SESSION_free(rig->session);
    SSL_CTX_free(rig->client_ctx);
    sl_tls_ctx_free(rig->ctx);
    sl_stek_ring_unref(rig->ring);
    sl_tickets_free(rig->tickets);
    sl_tls_sni_free(rig->sni);
}

// Who is asked.
struct asked {
    int times;
    bool declines;
    char name[64], alpn[64];
    size_t versions, ciphers, groups; // bytes
    uint16_t legacy_version;
};

static bool on_hello(void *owner, const struct sl_tls_hello *hello) {
    struct asked *asked = owner;
    asked->times++;
    snprintf(asked->name, sizeof(asked->name), "%.*s", (int)hello->server_name.len,
             (const char *)hello->server_name.data);
    snprintf(asked->alpn, sizeof(asked->alpn), "%.*s", (int)hello->alpn.len,
             (const char *)hello->alpn.data);
    asked->versions = hello->versions.len;
    asked->ciphers = hello->ciphers.len;
    asked->groups = hello->groups.len;
    asked->legacy_version = hello->legacy_version;
    return !asked->declines;
}

static void open_asking(struct rig *rig, struct pair *pair, struct asked *asked,
                        struct options options) {
    options.ctx = rig->ctx;
    options.client_ctx = rig->client_ctx;
    SL_ASSERT(pair_open(pair, &options));
    sl_tls_ask(pair->tls, on_hello, asked);
    pump(pair);
}

static bool is_open(const struct pair *pair) {
    return sl_tls_state(pair->tls) == SL_TLS_OPEN && SSL_is_init_finished(pair->client);
}

static int row_seen(const struct pair *pair) {
    X509 *x509 = SSL_get_peer_certificate(pair->client);
    uint64_t serial = 0;
    SL_ASSERT(x509 && ASN1_INTEGER_get_uint64(&serial, X509_get0_serialNumber(x509)));
    X509_free(x509);
    return (int)serial - SERIAL(0);
}

TEST(a_handshake_waits_and_takes_the_row_of_the_answer) {
    struct rig rig;
    rig_start(&rig);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        for (uint32_t piece = 0; piece < 2; piece++) {
            struct pair pair;
            struct asked asked = {0};
            struct options options = {
                .piece = piece, .client_max = version, .alpn = "\x08http/1.1"};
            open_asking(&rig, &pair, &asked, options);
            CHECK(sl_tls_asks(pair.tls));
            CHECK_INT(pair.server_status, 0);
            CHECK(sl_tls_hungry(pair.tls) && !sl_tls_wants_out(pair.tls));
            CHECK_INT(pair.to_client.len, 0);
            CHECK_STR(asked.name, "localhost");
            CHECK_STR(asked.alpn, "\x08http/1.1");
            CHECK_INT(asked.legacy_version, TLS1_2_VERSION);
            CHECK_INT(asked.versions > 0, version == TLS1_3_VERSION);
            CHECK(asked.ciphers > 0 && asked.groups > 0);
            CHECK(sl_tls_answer(pair.tls, SL_TLS_ROW_OF, sl_span_of("other.example")));
            CHECK(!sl_tls_asks(pair.tls));
            pump(&pair);
            CHECK(is_open(&pair));
            CHECK_INT(row_seen(&pair), 1);
            CHECK_INT(asked.times, 1);
            pair_close(&pair);
        }
    }
    rig_end(&rig);
}

TEST(the_ordinary_row_is_that_of_the_server_name) {
    struct rig rig;
    rig_start(&rig);
    struct pair pair;
    struct asked asked = {0};
    open_asking(&rig, &pair, &asked, (struct options){.server_name = "other.example"});
    CHECK(sl_tls_answer(pair.tls, SL_TLS_ORDINARY, (struct sl_span){NULL, 0}));
    pump(&pair);
    CHECK(is_open(&pair));
    CHECK_INT(row_seen(&pair), 1);
    pair_close(&pair);
    rig_end(&rig);
}

TEST(a_name_that_nobody_has_is_told_and_changes_nothing) {
    static const char *const unknown[] = {"", "nobody.example", "sub.other.example"};
    struct rig rig;
    rig_start(&rig);
    for (size_t i = 0; i < SL_COUNT_OF(unknown); i++) {
        struct pair pair;
        struct asked asked = {0};
        open_asking(&rig, &pair, &asked, (struct options){.server_name = "other.example"});
        CHECK(!sl_tls_answer(pair.tls, SL_TLS_ROW_OF, sl_span_of(unknown[i])));
        pump(&pair);
        CHECK(is_open(&pair));
        CHECK_INT(row_seen(&pair), 1);
        pair_close(&pair);
    }
    rig_end(&rig);
}

TEST(who_is_asked_may_decline) {
    struct rig rig;
    rig_start(&rig);
    struct pair pair;
    struct asked asked = {.declines = true};
    open_asking(&rig, &pair, &asked, (struct options){.server_name = "other.example"});
    CHECK(is_open(&pair) && !sl_tls_asks(pair.tls));
    CHECK_INT(asked.times, 1);
    CHECK_INT(row_seen(&pair), 1);
    pair_close(&pair);
    rig_end(&rig);
}

TEST(a_refused_client_gets_handshake_failure) {
    struct rig rig;
    rig_start(&rig);
    struct pair pair;
    struct asked asked = {0};
    open_asking(&rig, &pair, &asked, (struct options){0});
    CHECK(sl_tls_answer(pair.tls, SL_TLS_REJECT, (struct sl_span){NULL, 0}));
    server_turn(&pair);
    CHECK_INT(pair.server_status, SL_E_TLS_HANDSHAKE);
    CHECK_STR(sl_tls_error(pair.tls), "onClientHello refused the client");
    static const uint8_t alert[] = {0x15, 3, 3, 0, 2, 2, SSL_AD_HANDSHAKE_FAILURE};
    CHECK_INT(pair.to_client.len, sizeof(alert));
    CHECK(memcmp(pair.to_client.data + pair.to_client.off + 3, alert + 3, 4) == 0);
    pair_close(&pair);
    rig_end(&rig);
}

TEST(a_client_may_leave_while_it_waits) {
    struct rig rig;
    rig_start(&rig);
    struct pair pair;
    struct asked asked = {0};
    open_asking(&rig, &pair, &asked, (struct options){0});
    CHECK_INT(sl_tls_eof(pair.tls), SL_E_TLS_HANDSHAKE);
    CHECK(!sl_tls_asks(pair.tls));
    CHECK_STR(sl_tls_error(pair.tls), "the client left during the handshake");
    pair_close(&pair);
    rig_end(&rig);
}

static bool resumes(struct rig *rig, const char *answer) {
    struct pair pair;
    struct asked asked = {0};
    open_asking(rig, &pair, &asked, (struct options){.session = rig->session});
    CHECK(sl_tls_answer(pair.tls, SL_TLS_ROW_OF, sl_span_of(answer)));
    pump(&pair);
    CHECK(is_open(&pair));
    CHECK_INT(server_write(&pair, "x"), 1); // the ticket goes with it
    pump(&pair);
    bool reused = SSL_session_reused(pair.client);
    pair_close(&pair);
    return reused;
}

// The row is chosen before a ticket is looked at, so the tenant that the ticket is held against is the chosen one's.
TEST(a_ticket_is_of_the_row_that_was_chosen) {
    struct rig rig;
    rig_start(&rig);
    CHECK(!resumes(&rig, "localhost"));
    SL_ASSERT(rig.session);
    CHECK(resumes(&rig, "localhost"));
    CHECK(!resumes(&rig, "other.example"));
    CHECK(resumes(&rig, "other.example")); // by the ticket that the row before gave
    CHECK(!resumes(&rig, "localhost"));
    rig_end(&rig);
}
