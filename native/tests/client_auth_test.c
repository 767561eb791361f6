// Client certificates, judged with BoringSSL's client: whose are taken, what is told of them, and that tickets keep to the policy under which they
// were made.
#include "identity.h"
#include "kept_session.h"
#include "sluice/sluice.h"
#include "tls_pair.h"

#define FRESH_NS 7777

static int cas_of(struct sl_tls_cas **out_cas, const struct identity *identities, int count) {
    BIO *bio = BIO_new(BIO_s_mem());
    for (int i = 0; i < count; i++) {
        SL_ASSERT(PEM_write_bio_X509(bio, identities[i].x509));
    }
    int rc = sl_tls_cas_new(out_cas, span_of_bio(bio));
    BIO_free(bio);
    return rc;
}

// ---- the rig: one process, a row for localhost and one for other.example ----

struct rig {
    struct sl_tls_certificate *certificate[2];
    struct sl_tls_sni *sni;
    struct sl_tickets *tickets;
    struct sl_stek_ring *ring;
    struct sl_tls_ctx *ctx;
    struct sl_counters counters;
};

static struct sl_tls_policy policy_of(enum sl_client_auth_mode mode, struct sl_tls_cas *cas) {
    return (struct sl_tls_policy){.resumption = SL_RESUMPTION_ONCE,
                                  .tickets = 1,
                                  .ticket_lifetime_s = 86400,
                                  .client_auth = (uint8_t)mode,
                                  .cas = cas};
}

// `like`: a process with the same keys, or NULL.
static void rig_start(struct rig *rig, struct sl_tls_policy first, struct sl_tls_policy second, const struct rig *like) {
    static const char *names[] = {"localhost", "other.example"};
    struct sl_tls_policy policies[] = {first, second};
    const struct local_pem *pem = shared_pem();
    *rig = (struct rig){0};
    SL_ASSERT(sl_tls_sni_new(&rig->sni) == SL_OK);
    for (int i = 0; i < 2; i++) {
        SL_ASSERT(sl_tls_certificate_new(&rig->certificate[i], pem->cert, pem->key) == SL_OK &&
                  sl_tls_sni_add(rig->sni, rig->certificate[i], sl_span_of(names[i])) == SL_OK);
    }
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    SL_ASSERT(sl_tickets_new(&rig->tickets, 1 << 16, 1 << 16, SL_NS_PER_S, FRESH_NS) == SL_OK &&
              sl_tls_ctx_new(&rig->ctx, rig->sni, policies, rig->tickets, &rig->counters) == SL_OK);
    if (like) {
        rig->ring = like->ring;
        sl_stek_ring_ref(rig->ring);
    } else {
        SL_ASSERT(sl_stek_ring_rotate(&rig->ring, NULL, now_ms, 3600000, 25) == SL_OK);
    }
    sl_tls_ctx_set_steks(rig->ctx, rig->ring);
    sl_tls_ctx_set_clock(rig->ctx, FRESH_NS, now_ms);
}

static void rig_end(struct rig *rig) {
    sl_tls_ctx_free(rig->ctx);
    sl_tickets_free(rig->tickets);
    sl_stek_ring_unref(rig->ring);
    sl_tls_sni_free(rig->sni);
    for (int i = 0; i < 2; i++) {
        sl_tls_certificate_free(rig->certificate[i]);
    }
}

// ---- the client ----

static int ca_names; // in the last CertificateRequest
static int count_names(SSL *ssl, void *arg) {
    (void)arg;
    ca_names = (int)sk_CRYPTO_BUFFER_num(SSL_get0_server_requested_CAs(ssl));
    return 1;
}

struct visit {
    const char *name;              // NULL: localhost
    uint16_t version;              // 0: 1.3
    const struct identity *shows;  // leaf, then what it sends with it
    int shown;                     // how many
    SSL_SESSION *session;
};

struct outcome {
    bool open, resumed;
    const char *error; // a constant
    int ca_names;      // that the server named
    char text[4096];   // what is told of the certificate; "": none
    uint8_t sha256[32];
};

static struct outcome meet(struct rig *rig, struct visit visit) {
    uint16_t version = visit.version ? visit.version : TLS1_3_VERSION;
    SSL_CTX *client = SSL_CTX_new(TLS_method());
    SSL_CTX_set_verify(client, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, keep_session);
    if (visit.shown > 0) {
        SL_ASSERT(SSL_CTX_use_certificate(client, visit.shows[0].x509) && SSL_CTX_use_PrivateKey(client, visit.shows[0].key));
    }
    for (int i = 1; i < visit.shown; i++) {
        SL_ASSERT(SSL_CTX_add1_chain_cert(client, visit.shows[i].x509));
    }
    ca_names = 0;
    SSL_CTX_set_cert_cb(client, count_names, NULL);
    struct pair pair;
    struct options options = {.ctx = rig->ctx,
                              .client_ctx = client,
                              .server_name = visit.name,
                              .client_min = version,
                              .client_max = version,
                              .session = visit.session};
    SL_ASSERT(pair_open(&pair, &options));
    pump(&pair);
    struct sl_tls_info info;
    sl_tls_info(pair.tls, &info);
    struct outcome outcome = {.open = sl_tls_state(pair.tls) == SL_TLS_OPEN && SSL_is_init_finished(pair.client) && !pair.client_error,
                              .resumed = info.resumed,
                              .error = sl_tls_error(pair.tls)};
    outcome.ca_names = ca_names;
    if (outcome.open) {
        server_send(&pair, (const uint8_t *)"x", 1); // the ticket leaves with it
        sl_tls_info(pair.tls, &info);
    }
    if (info.client) {
        memcpy(outcome.text, info.client->text, info.client->text_len);
        memcpy(outcome.sha256, info.client->sha256, 32);
    }
    pair_close(&pair);
    SSL_CTX_free(client);
    return outcome;
}

// The session of a visit, which is expected to bring one. The caller's.
static SSL_SESSION *session_of(struct rig *rig, struct visit visit) {
    struct outcome outcome = meet(rig, visit);
    CHECK_MSG(outcome.open, "%s", outcome.error);
    SSL_SESSION *session = take_session();
    SL_ASSERT(session);
    return session;
}

static const uint16_t versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

// ---- whose certificates are taken ----

TEST(a_client_of_the_cas_is_let_in_and_told_of) {
    struct identity ca = issue(NULL, (struct spec){.name = "root", .ca = true});
    struct identity client = issue(&ca, (struct spec){.name = "alice\nsubject CN=root",
                                      .sans = "DNS:alice.example,URI:spiffe://a/b,email:a@b,IP:192.0.2.7,IP:2001:db8::1,RID:1.2.3"});
    struct sl_tls_cas *cas;
    REQUIRE(cas_of(&cas, &ca, 1) == SL_OK);
    for (int mode = SL_CLIENT_AUTH_OPTIONAL; mode <= SL_CLIENT_AUTH_REQUIRED; mode++) {
        for (size_t i = 0; i < SL_COUNT_OF(versions); i++) {
            struct rig rig;
            rig_start(&rig, policy_of(mode, cas), policy_of(SL_CLIENT_AUTH_OFF, NULL), NULL);
            struct outcome outcome = meet(&rig, (struct visit){.version = versions[i], .shows = &client, .shown = 1});
            CHECK_MSG(outcome.open, "%s", outcome.error);
            CHECK_STR(outcome.text, "subject CN=alice\\0Asubject CN=root,O=\\C3\\96rg\ndns alice.example\nuri spiffe://a/b\n"
                                    "email a@b\nip 192.0.2.7\nip 2001:db8::1\n");
            uint8_t sha256[32];
            X509_digest(client.x509, EVP_sha256(), sha256, NULL);
            CHECK(memcmp(outcome.sha256, sha256, 32) == 0);
            CHECK_INT(outcome.ca_names, 1);
            CHECK_INT(rig.counters.client_certs_verified, 1);
            // The other row asks for none.
            outcome = meet(&rig, (struct visit){.name = "other.example", .shows = &client, .shown = 1});
            CHECK(outcome.open);
            CHECK_STR(outcome.text, "");
            CHECK_INT(outcome.ca_names, 0);
            forget_session();
            rig_end(&rig);
        }
    }
    sl_tls_cas_free(cas);
    identity_free(client);
    identity_free(ca);
}

TEST(others_are_refused_and_counted_by_reason) {
    struct identity ca = issue(NULL, (struct spec){.name = "root", .ca = true});
    struct identity same_name = issue(NULL, (struct spec){.name = "root", .ca = true});
    struct identity stranger = issue(NULL, (struct spec){.name = "stranger", .ca = true});
    struct identity no_ca = issue(&ca, (struct spec){.name = "no ca"});
    char long_san[4096] = "DNS:a";
    while (strlen(long_san) < 2200) {
        strcat(long_san, ",DNS:a-name-that-is-rather-long.example");
    }
    struct {
        struct identity client;
        const char *error;
        size_t counter;
    } rows[] = {
        {issue(&stranger, (struct spec){.name = "x"}), "the client's certificate is of none of the policy's CAs",
         offsetof(struct sl_counters, client_certs_unknown_ca)},
        {issue(&same_name, (struct spec){.name = "x"}), "the client's certificate is of none of the policy's CAs",
         offsetof(struct sl_counters, client_certs_unknown_ca)},
        {issue(NULL, (struct spec){.name = "x"}), "the client's certificate is of none of the policy's CAs",
         offsetof(struct sl_counters, client_certs_unknown_ca)},
        {issue(&ca, (struct spec){.name = "x", .from_s = -2 * HOUR, .until_s = -HOUR}),
         "the client's certificate, or its issuer's, has expired", offsetof(struct sl_counters, client_certs_expired)},
        {issue(&ca, (struct spec){.name = "x", .from_s = HOUR, .until_s = 2 * HOUR}),
         "the client's certificate, or its issuer's, is not valid yet", offsetof(struct sl_counters, client_certs_expired)},
        {issue(&ca, (struct spec){.name = "x", .usage = "serverAuth"}),
         "the client's certificate is not for TLS clients (extended key usage)",
         offsetof(struct sl_counters, client_certs_refused)},
        {issue(&ca, (struct spec){.name = "x", .sans = long_san}),
         "the names in the client's certificate are too long, or cannot be read",
         offsetof(struct sl_counters, client_certs_refused)},
        {issue(&no_ca, (struct spec){.name = "x"}), NULL, offsetof(struct sl_counters, client_certs_refused)},
    };
    struct sl_tls_cas *cas;
    REQUIRE(cas_of(&cas, &ca, 1) == SL_OK);
    for (int mode = SL_CLIENT_AUTH_OPTIONAL; mode <= SL_CLIENT_AUTH_REQUIRED; mode++) {
        for (size_t i = 0; i < SL_COUNT_OF(versions) * SL_COUNT_OF(rows); i++) {
            struct rig rig;
            size_t row = i / 2;
            rig_start(&rig, policy_of(mode, cas), policy_of(SL_CLIENT_AUTH_OFF, NULL), NULL);
            struct identity shows[] = {rows[row].client, no_ca};
            struct outcome outcome =
                meet(&rig, (struct visit){.version = versions[i % 2], .shows = shows, .shown = row + 1 == SL_COUNT_OF(rows) ? 2 : 1});
            CHECK_MSG(!outcome.open, "row %zu", row);
            CHECK_STR(outcome.text, "");
            if (rows[row].error) {
                CHECK_STR(outcome.error, rows[row].error);
            }
            uint64_t count;
            memcpy(&count, (uint8_t *)&rig.counters + rows[row].counter, sizeof(count));
            CHECK_MSG(count == 1 && rig.counters.client_certs_verified == 0, "row %zu: %s", row, outcome.error);
            forget_session();
            rig_end(&rig);
        }
    }
    for (size_t row = 0; row < SL_COUNT_OF(rows); row++) {
        identity_free(rows[row].client);
    }
    sl_tls_cas_free(cas);
    identity_free(no_ca);
    identity_free(stranger);
    identity_free(same_name);
    identity_free(ca);
}

TEST(who_shows_none_passes_where_it_is_optional) {
    struct identity ca = issue(NULL, (struct spec){.name = "root", .ca = true});
    struct sl_tls_cas *cas;
    REQUIRE(cas_of(&cas, &ca, 1) == SL_OK);
    for (size_t i = 0; i < SL_COUNT_OF(versions); i++) {
        struct rig rig;
        rig_start(&rig, policy_of(SL_CLIENT_AUTH_REQUIRED, cas), policy_of(SL_CLIENT_AUTH_OPTIONAL, cas), NULL);
        struct outcome outcome = meet(&rig, (struct visit){.version = versions[i]});
        CHECK(!outcome.open);
        CHECK_STR(outcome.error, "the client showed no certificate, which the policy of this name asks for");
        CHECK_INT(rig.counters.client_certs_missing, 1);
        CHECK(!meet(&rig, (struct visit){.name = "", .version = versions[i]}).open); // no name: the first row
        outcome = meet(&rig, (struct visit){.name = "other.example", .version = versions[i]});
        CHECK_MSG(outcome.open, "%s", outcome.error);
        CHECK_STR(outcome.text, "");
        forget_session();
        rig_end(&rig);
    }
    sl_tls_cas_free(cas);
    identity_free(ca);
}

TEST(chains_have_a_depth_and_an_intermediate_can_be_the_anchor) {
    enum { LONG = 8 };
    struct identity chain[LONG + 1]; // the root last
    chain[LONG] = issue(NULL, (struct spec){.name = "root", .ca = true});
    for (int i = LONG - 1; i > 0; i--) {
        char name[16];
        snprintf(name, sizeof(name), "ca %d", i);
        chain[i] = issue(&chain[i + 1], (struct spec){.name = name, .ca = true});
    }
    chain[0] = issue(&chain[1], (struct spec){.name = "leaf"});
    // Sent: the leaf and those above it. Trusted: the one at this place.
    static const struct {
        int sent, trusted;
        const char *error; // NULL: let in
    } rows[] = {
        {1, 1, NULL}, // an intermediate that was given as a CA, without its root
        {4, 4, NULL},
        {5, 5, NULL}, // four intermediates
        {5, 8, "the client's certificate is of none of the policy's CAs"},
        {8, 8, ""}, // seven
        {9, 8, "the client's certificate chain is too long"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct sl_tls_cas *cas;
        struct rig rig;
        REQUIRE(cas_of(&cas, &chain[rows[i].trusted], 1) == SL_OK);
        rig_start(&rig, policy_of(SL_CLIENT_AUTH_REQUIRED, cas), policy_of(SL_CLIENT_AUTH_OFF, NULL), NULL);
        struct outcome outcome = meet(&rig, (struct visit){.shows = chain, .shown = rows[i].sent});
        CHECK_MSG(outcome.open == !rows[i].error, "row %zu: %s", i, outcome.error);
        if (rows[i].error && *rows[i].error) {
            CHECK_STR(outcome.error, rows[i].error);
        }
        forget_session();
        rig_end(&rig);
        sl_tls_cas_free(cas);
    }
    for (int i = 0; i <= LONG; i++) {
        identity_free(chain[i]);
    }
}

TEST(what_is_no_ca_is_refused_at_the_start) {
    struct identity leaf = issue(NULL, (struct spec){.name = "leaf"});
    struct sl_tls_cas *cas;
    uint8_t why[256];
    CHECK_INT(cas_of(&cas, &leaf, 1), SL_E_TLS_CONFIG);
    int n = sl_error_text(why, sizeof(why) - 1);
    why[n] = 0;
    CHECK_STR((char *)why, "certificate 1 in ca is not a CA's (basicConstraints, keyUsage)");
    CHECK_INT(sl_tls_cas_new(&cas, sl_span_of("no PEM")), SL_E_TLS_CONFIG);
    CHECK_INT(sl_tls_cas_new(&cas, (struct sl_span){NULL, 0}), SL_E_TLS_CONFIG);
    CHECK_INT(sl_tls_cas_new(&cas, sl_span_of("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")), SL_E_TLS_CONFIG);
    struct identity many[SL_TLS_CAS_MAX + 1];
    for (unsigned i = 0; i <= SL_TLS_CAS_MAX; i++) {
        many[i] = issue(NULL, (struct spec){.name = "root", .ca = true});
    }
    CHECK_INT(cas_of(&cas, many, SL_TLS_CAS_MAX + 1), SL_E_TLS_CONFIG);
    CHECK_INT(cas_of(&cas, many, SL_TLS_CAS_MAX), SL_OK);
    sl_tls_cas_free(cas);
    for (unsigned i = 0; i <= SL_TLS_CAS_MAX; i++) {
        identity_free(many[i]);
    }
    identity_free(leaf);
}

// ---- tickets ----

TEST(a_resumed_connection_knows_its_client_until_the_certificate_ends) {
    struct identity ca = issue(NULL, (struct spec){.name = "root", .ca = true, .until_s = 9 * HOUR});
    struct identity client = issue(&ca, (struct spec){.name = "alice", .sans = "DNS:alice.example"});
    struct sl_tls_cas *cas;
    REQUIRE(cas_of(&cas, &ca, 1) == SL_OK);
    for (size_t i = 0; i < SL_COUNT_OF(versions); i++) {
        struct rig rig;
        rig_start(&rig, policy_of(SL_CLIENT_AUTH_REQUIRED, cas), policy_of(SL_CLIENT_AUTH_OFF, NULL), NULL);
        struct visit first = {.version = versions[i], .shows = &client, .shown = 1};
        SSL_SESSION *session = session_of(&rig, first);
        struct visit again = {.version = versions[i], .session = session};
        struct outcome outcome = meet(&rig, again); // it has nothing to show but its ticket
        CHECK(outcome.open && outcome.resumed);
        CHECK_STR(outcome.text, "subject CN=alice,O=\\C3\\96rg\ndns alice.example\n");
        uint8_t sha256[32];
        X509_digest(client.x509, EVP_sha256(), sha256, NULL);
        CHECK(memcmp(outcome.sha256, sha256, 32) == 0);
        if (versions[i] == TLS1_3_VERSION) { // and gets another one, which says the same
            SL_ASSERT(last_session);
            again.session = last_session;
            last_session = NULL;
            outcome = meet(&rig, again);
            CHECK(outcome.resumed);
            CHECK_STR(outcome.text, "subject CN=alice,O=\\C3\\96rg\ndns alice.example\n");
            SSL_SESSION_free(session);
            session = again.session;
        }
        int64_t end_ms = ((int64_t)time(NULL) + HOUR + 1) * 1000;
        sl_tls_ctx_set_clock(rig.ctx, FRESH_NS, end_ms);
        first.session = session;
        outcome = meet(&rig, first);
        CHECK(!outcome.open);
        CHECK_STR(outcome.error, "the client's certificate, or its issuer's, has expired");
        CHECK_INT(rig.counters.tickets_expired, 1);
        SSL_SESSION_free(session);
        forget_session();
        rig_end(&rig);
    }
    sl_tls_cas_free(cas);
    identity_free(client);
    identity_free(ca);
}

TEST(a_ticket_never_crosses_client_auth_policies) {
    struct identity ca = issue(NULL, (struct spec){.name = "root", .ca = true});
    struct identity other_ca = issue(NULL, (struct spec){.name = "other root", .ca = true});
    struct identity client = issue(&ca, (struct spec){.name = "alice"});
    struct sl_tls_cas *cas, *other_cas;
    REQUIRE(cas_of(&cas, &ca, 1) == SL_OK && cas_of(&other_cas, &other_ca, 1) == SL_OK);
    struct sl_tls_policy policies[] = {
        policy_of(SL_CLIENT_AUTH_OFF, NULL),
        policy_of(SL_CLIENT_AUTH_OPTIONAL, cas),
        policy_of(SL_CLIENT_AUTH_REQUIRED, cas),
        policy_of(SL_CLIENT_AUTH_OPTIONAL, other_cas),
    };
    // Of the same names, in two processes with the same keys: the policy alone keeps them apart. The ticket is opened and then not taken, and what
    // it told of a client is forgotten.
    for (size_t from = 0; from < 3; from++) {
        for (size_t to = 0; to < SL_COUNT_OF(policies); to++) {
            struct rig here, there;
            rig_start(&here, policies[from], policies[0], NULL);
            rig_start(&there, policies[to], policies[0], &here);
            SSL_SESSION *session = session_of(&here, (struct visit){.shows = &client, .shown = from ? 1 : 0});
            struct outcome outcome = meet(&there, (struct visit){.session = session});
            CHECK_MSG(outcome.resumed == (from == to), "from %zu to %zu", from, to);
            CHECK_MSG(outcome.open == (from == to || to != 2), "from %zu to %zu: %s", from, to, outcome.error);
            CHECK_STR(outcome.text, from == to && from ? "subject CN=alice,O=\\C3\\96rg\n" : "");
            SSL_SESSION_free(session);
            forget_session();
            rig_end(&there);
            rig_end(&here);
        }
    }
    sl_tls_cas_free(other_cas);
    sl_tls_cas_free(cas);
    identity_free(client);
    identity_free(other_ca);
    identity_free(ca);
}

TEST(a_ticket_of_a_name_without_client_auth_is_a_full_handshake_where_it_is_required) {
    struct identity ca = issue(NULL, (struct spec){.name = "root", .ca = true});
    struct identity client = issue(&ca, (struct spec){.name = "alice"});
    struct sl_tls_cas *cas;
    REQUIRE(cas_of(&cas, &ca, 1) == SL_OK);
    for (size_t i = 0; i < SL_COUNT_OF(versions); i++) {
        struct rig rig;
        rig_start(&rig, policy_of(SL_CLIENT_AUTH_OFF, NULL), policy_of(SL_CLIENT_AUTH_REQUIRED, cas), NULL);
        struct visit visit = {.version = versions[i]};
        visit.session = session_of(&rig, visit);
        CHECK(meet(&rig, visit).resumed); // it is a good one
        visit.name = "other.example";
        struct outcome outcome = meet(&rig, visit);
        CHECK(!outcome.open && !outcome.resumed);
        CHECK_INT(outcome.ca_names, 1);
        CHECK_INT(rig.counters.client_certs_missing, 1);
        visit.shows = &client;
        visit.shown = 1;
        outcome = meet(&rig, visit);
        CHECK(outcome.open && !outcome.resumed);
        CHECK_STR(outcome.text, "subject CN=alice,O=\\C3\\96rg\n");
        SSL_SESSION_free(visit.session);
        forget_session();
        rig_end(&rig);
    }
    sl_tls_cas_free(cas);
    identity_free(client);
    identity_free(ca);
}

TEST(other_cas_take_the_place_of_those_of_before) {
    struct identity ca = issue(NULL, (struct spec){.name = "root", .ca = true});
    struct identity other_ca = issue(NULL, (struct spec){.name = "other root", .ca = true});
    struct identity alice = issue(&ca, (struct spec){.name = "alice"}), bob = issue(&other_ca, (struct spec){.name = "bob"});
    for (size_t i = 0; i < SL_COUNT_OF(versions); i++) {
        struct sl_tls_cas *cas, *same_cas, *other_cas;
        struct rig rig;
        REQUIRE(cas_of(&cas, &ca, 1) == SL_OK && cas_of(&same_cas, &ca, 1) == SL_OK && cas_of(&other_cas, &other_ca, 1) == SL_OK);
        rig_start(&rig, policy_of(SL_CLIENT_AUTH_REQUIRED, cas), policy_of(SL_CLIENT_AUTH_OFF, NULL), NULL);
        sl_tls_cas_free(cas); // the context has a reference
        struct visit visit = {.version = versions[i], .shows = &alice, .shown = 1};
        visit.session = session_of(&rig, visit);
        CHECK_INT(sl_tls_ctx_set_cas(rig.ctx, 0, same_cas), SL_OK); // read again, and nothing was new
        sl_tls_cas_free(same_cas);
        CHECK(meet(&rig, visit).resumed);
        CHECK_INT(sl_tls_ctx_set_cas(rig.ctx, 0, other_cas), SL_OK);
        sl_tls_cas_free(other_cas);
        struct outcome outcome = meet(&rig, visit);
        CHECK(!outcome.open && !outcome.resumed);
        CHECK_INT(rig.counters.client_certs_unknown_ca, 1);
        outcome = meet(&rig, (struct visit){.version = versions[i], .shows = &bob, .shown = 1});
        CHECK_MSG(outcome.open, "%s", outcome.error);
        CHECK_STR(outcome.text, "subject CN=bob,O=\\C3\\96rg\n");
        CHECK_INT(outcome.ca_names, 1);
        CHECK(meet(&rig, (struct visit){.version = versions[i], .name = "other.example"}).open); // the other row is as it was
        SSL_SESSION_free(visit.session);
        forget_session();
        rig_end(&rig);
    }
    identity_free(bob);
    identity_free(alice);
    identity_free(other_ca);
    identity_free(ca);
}

TEST(a_gateway_takes_only_cas_that_it_can_use) {
    struct sl_config config = {.workers = 1};
    uint8_t pem[8192];
    uint32_t cert_len;
    int pem_len = sl_certificate_make(pem, sizeof(pem));
    memcpy(&cert_len, pem, 4);
    int gateway = sl_gateway_new((uint8_t *)&config, sizeof(config));
    REQUIRE(gateway >= 0);
    uint32_t g = (uint32_t)gateway;
    int set = sl_gateway_certificate(g, SL_SET_NEW, pem + 4, cert_len, pem + 4 + cert_len, (size_t)pem_len - 4 - cert_len, NULL, 0);
    struct identity ca = issue(NULL, (struct spec){.name = "root", .ca = true});
    BIO *bio = BIO_new(BIO_s_mem());
    SL_ASSERT(PEM_write_bio_X509(bio, ca.x509));
    struct sl_span good = span_of_bio(bio);
    CHECK_INT(sl_gateway_client_auth(g, (uint32_t)set, 0, SL_CLIENT_AUTH_REQUIRED, good.data, good.len), SL_OK);
    CHECK_INT(sl_gateway_client_auth(g, (uint32_t)set, 0, SL_CLIENT_AUTH_OPTIONAL, good.data, good.len), SL_OK); // instead
    CHECK_INT(sl_gateway_client_auth(g, (uint32_t)set, 0, 3, good.data, good.len), SL_E_TLS_CONFIG);
    CHECK_INT(sl_gateway_client_auth(g, (uint32_t)set, 0, SL_CLIENT_AUTH_REQUIRED, pem + 4, cert_len), SL_E_TLS_CONFIG);
    CHECK_INT(sl_gateway_client_auth(g, 9, 0, SL_CLIENT_AUTH_REQUIRED, good.data, good.len), SL_E_STATE);
    CHECK_INT(sl_gateway_client_auth(g, (uint32_t)set, SL_TLS_CERTIFICATES_MAX, SL_CLIENT_AUTH_REQUIRED, good.data, good.len),
              SL_E_STATE);
    CHECK_INT(sl_gateway_free(g), SL_OK);
    BIO_free(bio);
    identity_free(ca);
}
