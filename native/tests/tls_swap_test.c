// Certificates that are replaced while clients come: what handshakes under way, the next ones and older tickets make of it; and OCSP staples.
#include "kept_session.h"
#include "tls_pair.h"

struct rig {
    struct sl_tls_sni *sni; // as the control plane has it
    struct sl_tls_ctx *ctx;
    struct sl_tickets *tickets;
    struct sl_stek_ring *ring;
    struct sl_counters counters;
};

static const struct sl_tls_policy resuming = {
    .resumption = SL_RESUMPTION_STATELESS, .tickets = 1, .ticket_lifetime_s = 3600};

// Two certificates: of no given names, and of b.example.
static void rig_start(struct rig *rig, struct sl_tls_certificate *first, struct sl_tls_certificate *second) {
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    *rig = (struct rig){0};
    SL_ASSERT(sl_tls_sni_new(&rig->sni) == SL_OK);
    SL_ASSERT(sl_tls_sni_add(rig->sni, first, sl_span_of("")) == SL_OK);
    SL_ASSERT(sl_tls_sni_add(rig->sni, second, sl_span_of("b.example")) == SL_OK);
    sl_tls_certificate_free(first);
    sl_tls_certificate_free(second);
    SL_ASSERT(sl_tickets_new(&rig->tickets, 0, 0, SL_NS_PER_S, 1) == SL_OK);
    SL_ASSERT(sl_tls_ctx_new(&rig->ctx, rig->sni, (struct sl_tls_policy[]){resuming, resuming}, rig->tickets,
                             &rig->counters) == SL_OK);
    SL_ASSERT(sl_stek_ring_rotate(&rig->ring, NULL, now_ms, 3600000, 25) == SL_OK);
    sl_tls_ctx_set_steks(rig->ctx, rig->ring);
    sl_tls_ctx_set_clock(rig->ctx, 1, now_ms);
}

static void rig_end(struct rig *rig) {
    sl_tls_ctx_free(rig->ctx);
    sl_tls_sni_free(rig->sni);
    sl_tickets_free(rig->tickets);
    sl_stek_ring_unref(rig->ring);
}

// As the gateway does: the old table is given back at once.
static void swap(struct rig *rig, unsigned number, struct sl_tls_certificate *certificate) {
    struct sl_tls_sni *next;
    SL_ASSERT(sl_tls_sni_replace(&next, rig->sni, number, certificate) == SL_OK);
    sl_tls_certificate_free(certificate);
    sl_tls_sni_free(rig->sni);
    rig->sni = next;
    CHECK_INT(sl_tls_ctx_set_sni(rig->ctx, next), SL_OK);
}

static uint64_t serial_of(const struct pair *pair) {
    uint64_t serial = 0;
    X509 *x509 = SSL_get_peer_certificate(pair->client);
    if (x509 && sl_tls_state(pair->tls) == SL_TLS_OPEN) {
        ASN1_INTEGER_get_uint64(&serial, X509_get0_serialNumber(x509));
    }
    X509_free(x509);
    return serial;
}

static SSL_CTX *client_new(uint16_t version) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    return ctx;
}

struct outcome {
    uint64_t serial;
    bool resumed;
};

static struct outcome visit(struct rig *rig, uint16_t version, const char *name, SSL_SESSION *session) {
    SSL_CTX *client = client_new(version);
    struct pair pair;
    SL_ASSERT(pair_open(&pair, &(struct options){.ctx = rig->ctx, .client_ctx = client, .server_name = name, .session = session}));
    pump(&pair);
    server_send(&pair, (const uint8_t *)"x", 1); // takes the ticket along
    struct outcome outcome = {serial_of(&pair), SSL_session_reused(pair.client)};
    pair_close(&pair);
    SSL_CTX_free(client);
    return outcome;
}

TEST(a_handshake_goes_on_with_the_certificate_that_it_chose) {
    for (int late = 0; late < 2; late++) { // before the server's flight, and behind it
        for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            struct rig rig;
            struct pair pair;
            rig_start(&rig, certificate_with(1, false, "DNS:a.example"), certificate_with(2, true, "DNS:b.example"));
            SSL_CTX *client = client_new(version);
            SL_ASSERT(pair_open(&pair, &(struct options){.ctx = rig.ctx, .client_ctx = client, .server_name = "a.example"}));
            client_turn(&pair);
            if (late) {
                server_turn(&pair);
            }
            swap(&rig, 0, certificate_with(3, true, "DNS:a.example")); // of another key type, too
            pump(&pair);
            CHECK_INT(serial_of(&pair), late ? 1 : 3);
            pair_close(&pair);
            SSL_CTX_free(client);
            CHECK_INT(visit(&rig, version, "a.example", NULL).serial, 3);
            CHECK_INT(visit(&rig, version, "b.example", NULL).serial, 2);
            rig_end(&rig);
        }
    }
}

TEST(a_connection_outlives_its_certificate) {
    struct rig rig;
    struct pair pair;
    uint8_t data[3000];
    fill(data, sizeof(data));
    rig_start(&rig, certificate_with(1, false, "DNS:a.example"), certificate_with(2, false, NULL));
    SL_ASSERT(pair_open(&pair, &(struct options){.ctx = rig.ctx, .server_name = "a.example"}));
    pump(&pair);
    for (uint64_t serial = 3; serial < 6; serial++) {
        swap(&rig, 0, certificate_with(serial, false, "DNS:a.example"));
        client_send(&pair, data, sizeof(data));
        server_send(&pair, data, sizeof(data));
        check_bytes(&pair.at_server, data, sizeof(data));
        check_bytes(&pair.at_client, data, sizeof(data));
    }
    CHECK_INT(sl_tls_row(pair.tls), 0);
    pair_close(&pair);
    rig_end(&rig);
}

TEST(a_ticket_outlives_a_certificate_but_not_its_names) {
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct rig rig;
        rig_start(&rig, certificate_with(1, false, "DNS:a.example"), certificate_with(2, false, NULL));
        CHECK(!visit(&rig, version, "a.example", NULL).resumed);
        SSL_SESSION *session = take_session();
        REQUIRE(session);
        bool rsa = version == TLS1_3_VERSION; // in TLS 1.2 a cipher is for one type of key, and a session is of its cipher
        swap(&rig, 0, certificate_with(3, rsa, "DNS:a.example"));
        CHECK(visit(&rig, version, "a.example", session).resumed);
        swap(&rig, 1, certificate_with(4, false, NULL)); // of the other row
        CHECK(visit(&rig, version, "a.example", session).resumed);
        // A certificate that answers to its own names answers to the new one's. Who else has them is another tenant.
        swap(&rig, 0, certificate_with(5, false, "DNS:a.example,DNS:c.example"));
        struct outcome outcome = visit(&rig, version, "a.example", session);
        CHECK(!outcome.resumed);
        CHECK_INT(outcome.serial, 5);
        CHECK_INT(visit(&rig, version, "b.example", NULL).serial, 4);
        SSL_SESSION_free(session);
        rig_end(&rig);
    }
    forget_session();
}

TEST(a_replacement_without_a_name_changes_nothing) {
    struct rig rig;
    struct sl_tls_sni *next;
    struct sl_tls_certificate *nameless = certificate_with(3, false, NULL);
    rig_start(&rig, certificate_with(1, false, "DNS:a.example"), certificate_with(2, false, NULL));
    swap(&rig, 1, certificate_with(4, false, NULL)); // it was given one
    SL_ASSERT(sl_tls_sni_add(rig.sni, nameless, sl_span_of("c.example")) == SL_OK);
    struct sl_tls_sni *own;
    SL_ASSERT(sl_tls_sni_new(&own) == SL_OK);
    struct sl_tls_certificate *named = certificate_with(5, false, "DNS:a.example");
    SL_ASSERT(sl_tls_sni_add(own, named, sl_span_of("")) == SL_OK);
    SL_ASSERT(sl_tls_sni_add(own, named, sl_span_of("")) == SL_OK);
    CHECK_INT(sl_tls_sni_replace(&next, own, 1, nameless), SL_E_TLS_CONFIG);
    CHECK(strstr(sl_fail_text(), "give names"));
    CHECK(!next);
    sl_tls_sni_free(own);
    sl_tls_certificate_free(named);
    sl_tls_certificate_free(nameless);
    rig_end(&rig);
}

// ---- OCSP ----

// What a client that asks for a staple gets: its bytes, none for {NULL, 0}.
static bool staple_is(struct rig *rig, uint16_t version, bool asks, struct sl_span expected) {
    const uint8_t *data;
    size_t len;
    struct pair pair;
    SSL_CTX *client = client_new(version);
    if (asks) {
        SSL_CTX_enable_ocsp_stapling(client);
    }
    SL_ASSERT(pair_open(&pair, &(struct options){.ctx = rig->ctx, .client_ctx = client, .server_name = "a.example"}));
    pump(&pair);
    CHECK_INT(sl_tls_state(pair.tls), SL_TLS_OPEN);
    SSL_get0_ocsp_response(pair.client, &data, &len);
    bool same = len == expected.len && (len == 0 || memcmp(data, expected.data, len) == 0);
    pair_close(&pair);
    SSL_CTX_free(client);
    return same;
}

TEST(a_staple_goes_to_who_asks_and_leaves_with_its_certificate) {
    static const struct sl_span none = {NULL, 0};
    struct sl_span staple = sl_span_of("what a responder said");
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct rig rig;
        rig_start(&rig, certificate_with(1, false, "DNS:a.example"), certificate_with(2, false, NULL));
        CHECK(staple_is(&rig, version, true, none));
        struct sl_tls_certificate *stapled = certificate_with(3, false, "DNS:a.example");
        CHECK_INT(sl_tls_certificate_staple(stapled, staple), SL_OK);
        swap(&rig, 0, stapled);
        CHECK(staple_is(&rig, version, true, staple));
        CHECK(staple_is(&rig, version, false, none));
        swap(&rig, 0, certificate_with(4, false, "DNS:a.example"));
        CHECK(staple_is(&rig, version, true, none));
        rig_end(&rig);
    }
    forget_session();
}

static void add_time(CBB *cbb, const char *text) {
    CBB time;
    SL_ASSERT(CBB_add_asn1(cbb, &time, CBS_ASN1_GENERALIZEDTIME) && CBB_add_bytes(&time, (const uint8_t *)text, strlen(text)) &&
              CBB_flush(cbb));
}

static void add_single(CBB *responses, const char *serial, uint32_t status, const char *next) {
    CBB single, id, part, until;
    const CBS_ASN1_TAG constructed = CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC;
    SL_ASSERT(CBB_add_asn1(responses, &single, CBS_ASN1_SEQUENCE) && CBB_add_asn1(&single, &id, CBS_ASN1_SEQUENCE) &&
              CBB_add_asn1(&id, &part, CBS_ASN1_SEQUENCE) && CBB_add_asn1(&id, &part, CBS_ASN1_OCTETSTRING) &&
              CBB_add_asn1(&id, &part, CBS_ASN1_OCTETSTRING) && CBB_add_asn1(&id, &part, CBS_ASN1_INTEGER) &&
              CBB_add_bytes(&part, (const uint8_t *)serial, strlen(serial)) && CBB_flush(&single));
    SL_ASSERT(CBB_add_asn1(&single, &part, (status == 1 ? constructed : CBS_ASN1_CONTEXT_SPECIFIC) | status) && CBB_flush(&single));
    add_time(&single, "20261124000000Z");
    if (next) {
        SL_ASSERT(CBB_add_asn1(&single, &until, constructed));
        add_time(&until, next);
    }
    SL_ASSERT(CBB_flush(responses));
}

// An OCSPResponse about two certificates, as RFC 6960 has it; no signature, which nobody looks at. Freed by the caller.
static struct sl_span make_response(uint8_t status, uint8_t last_of_type) {
    const CBS_ASN1_TAG constructed = CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC;
    const uint8_t type[] = {0x2b, 6, 1, 5, 5, 7, 0x30, 1, last_of_type};
    CBB cbb, outer, part, wrapped, bytes, octets, basic, data, key, responses;
    uint8_t *der;
    size_t len;
    SL_ASSERT(CBB_init(&cbb, 256) && CBB_add_asn1(&cbb, &outer, CBS_ASN1_SEQUENCE) && CBB_add_asn1(&outer, &part, CBS_ASN1_ENUMERATED) &&
              CBB_add_u8(&part, status) && CBB_add_asn1(&outer, &wrapped, constructed) && CBB_add_asn1(&wrapped, &bytes, CBS_ASN1_SEQUENCE) &&
              CBB_add_asn1(&bytes, &part, CBS_ASN1_OBJECT) && CBB_add_bytes(&part, type, sizeof(type)) &&
              CBB_add_asn1(&bytes, &octets, CBS_ASN1_OCTETSTRING) && CBB_add_asn1(&octets, &basic, CBS_ASN1_SEQUENCE) &&
              CBB_add_asn1(&basic, &data, CBS_ASN1_SEQUENCE) && CBB_add_asn1(&data, &key, constructed | 2) && CBB_flush(&data));
    add_time(&data, "20261124000000Z");
    SL_ASSERT(CBB_add_asn1(&data, &responses, CBS_ASN1_SEQUENCE));
    add_single(&responses, "\x01\xab", 0, "20261201000000Z");
    add_single(&responses, "\x7f", 1, NULL);
    SL_ASSERT(CBB_finish(&cbb, &der, &len));
    return (struct sl_span){der, len};
}

// 2026-11-24 and 2026-12-01, midnight UTC.
#define SAYS "01AB good 1795478400 1796083200\n7F revoked 1795478400 0\n"

TEST(an_ocsp_response_says_what_is_in_it) {
    char text[256];
    struct sl_span good = make_response(0, 1);
    int n = sl_tls_ocsp_describe(good, text, sizeof(text) - 1);
    CHECK(n > 0);
    text[n > 0 ? n : 0] = 0;
    CHECK_STR(text, SAYS);
    for (size_t len = 0; len < sizeof(SAYS); len++) { // never written past
        char *room = malloc(len + 1);
        CHECK(sl_tls_ocsp_describe(good, room, len) <= (int)len);
        free(room);
    }
    OPENSSL_free((void *)good.data);
}

TEST(what_is_no_good_ocsp_response_is_refused) {
    char text[256];
    struct sl_span good = make_response(0, 1), later = make_response(3, 1), other = make_response(0, 2);
    CHECK_INT(sl_tls_ocsp_describe(later, text, sizeof(text)), SL_E_TLS_CONFIG);
    CHECK_STR(sl_fail_text(), "the OCSP responder gave no answer: tryLater");
    CHECK_INT(sl_tls_ocsp_describe(other, text, sizeof(text)), SL_E_TLS_CONFIG);
    CHECK_INT(sl_tls_ocsp_describe(sl_span_of("-----BEGIN OCSP"), text, sizeof(text)), SL_E_TLS_CONFIG);
    CHECK_STR(sl_fail_text(), "it is no OCSP response in DER (15 bytes)");
    for (size_t len = 0; len < good.len; len++) { // cut anywhere, never read past
        uint8_t *cut = malloc(len + 1);
        memcpy(cut, good.data, len);
        CHECK_INT(sl_tls_ocsp_describe((struct sl_span){cut, len}, text, sizeof(text)), SL_E_TLS_CONFIG);
        free(cut);
    }
    uint8_t *damaged = malloc(good.len);
    for (size_t i = 0; i < good.len; i++) { // any byte, any way: an answer or a refusal
        for (int bit = 0; bit < 8; bit++) {
            memcpy(damaged, good.data, good.len);
            damaged[i] ^= (uint8_t)(1 << bit);
            int rc = sl_tls_ocsp_describe((struct sl_span){damaged, good.len}, text, sizeof(text));
            CHECK(rc == SL_E_TLS_CONFIG || (rc >= 0 && rc <= (int)sizeof(text)));
        }
    }
    free(damaged);
    OPENSSL_free((void *)good.data);
    OPENSSL_free((void *)later.data);
    OPENSSL_free((void *)other.data);
}
