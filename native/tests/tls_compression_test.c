// Compressed certificates (RFC 8879): who gets them, that they are the certificate, and that no handshake compresses.
#include <brotli/decode.h>
#include <zlib.h>

#include "kept_session.h"
#include "tls_compression.h"
#include "tls_pair.h"

#define CHAIN 4

struct rig {
    struct sl_tls_sni *sni;
    struct sl_tls_ctx *ctx;
    struct sl_tickets *tickets;
    struct sl_stek_ring *ring;
    struct sl_counters counters;
};

// A leaf of this serial number, and others behind it.
static struct sl_tls_certificate *chain_with(uint64_t serial, unsigned count) {
    BIO *cert = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    EVP_PKEY *key = ec_key();
    for (unsigned i = 0; i < count; i++) {
        X509 *x509 = x509_for(i ? rsa_key() : key);
        SL_ASSERT(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), i ? i : serial));
        SL_ASSERT(X509_sign(x509, i ? rsa_key() : key, EVP_sha256()) && PEM_write_bio_X509(cert, x509));
        X509_free(x509);
    }
    SL_ASSERT(PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL));
    struct sl_tls_certificate *certificate;
    SL_ASSERT(sl_tls_certificate_new(&certificate, span_of_bio(cert), span_of_bio(key_bio)) == SL_OK);
    BIO_free(cert);
    BIO_free(key_bio);
    EVP_PKEY_free(key);
    return certificate;
}

static struct sl_tls_certificate *compressed(struct sl_tls_certificate *certificate) {
    SL_ASSERT(sl_tls_certificate_compress(certificate) == SL_OK);
    return certificate;
}

static void rig_start_with(struct rig *rig, struct sl_tls_certificate *certificate, struct sl_tls_policy policy) {
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    *rig = (struct rig){0};
    SL_ASSERT(sl_tls_sni_new(&rig->sni) == SL_OK && sl_tls_sni_add(rig->sni, certificate, sl_span_of("localhost")) == SL_OK);
    sl_tls_certificate_free(certificate);
    SL_ASSERT(sl_tickets_new(&rig->tickets, 0, 0, SL_NS_PER_S, 1) == SL_OK);
    SL_ASSERT(sl_tls_ctx_new(&rig->ctx, rig->sni, &policy, rig->tickets, &rig->counters) == SL_OK);
    SL_ASSERT(sl_stek_ring_rotate(&rig->ring, NULL, now_ms, 3600000, 25) == SL_OK);
    sl_tls_ctx_set_steks(rig->ctx, rig->ring);
    sl_tls_ctx_set_clock(rig->ctx, 1, now_ms);
}

static void rig_start(struct rig *rig, struct sl_tls_certificate *certificate) {
    rig_start_with(rig, certificate,
                   (struct sl_tls_policy){.resumption = SL_RESUMPTION_STATELESS, .tickets = 1, .ticket_lifetime_s = 3600});
}

static void rig_end(struct rig *rig) {
    sl_tls_ctx_free(rig->ctx);
    sl_tls_sni_free(rig->sni);
    sl_tickets_free(rig->tickets);
    sl_stek_ring_unref(rig->ring);
}

static void swap(struct rig *rig, struct sl_tls_certificate *certificate) {
    struct sl_tls_sni *next;
    SL_ASSERT(sl_tls_sni_replace(&next, rig->sni, 0, certificate) == SL_OK);
    sl_tls_certificate_free(certificate);
    sl_tls_sni_free(rig->sni);
    rig->sni = next;
    CHECK_INT(sl_tls_ctx_set_sni(rig->ctx, next), SL_OK);
}

// ---- clients ----

static unsigned brotli_seen, zlib_seen; // CompressedCertificate messages
static bool damages;                    // what came, before it is decompressed
static int keep(CRYPTO_BUFFER **out, const uint8_t *data, size_t len, bool ok) {
    *out = ok ? CRYPTO_BUFFER_new(data, len, NULL) : NULL;
    return ok;
}

static int brotli_read(SSL *ssl, CRYPTO_BUFFER **out, size_t out_len, const uint8_t *in, size_t in_len) {
    (void)ssl;
    static uint8_t data[65536];
    size_t len = sizeof(data);
    brotli_seen++;
    bool ok = BrotliDecoderDecompress(damages ? in_len - 1 : in_len, in, &len, data) == BROTLI_DECODER_RESULT_SUCCESS;
    return keep(out, data, len, ok && len == out_len);
}

static int zlib_read(SSL *ssl, CRYPTO_BUFFER **out, size_t out_len, const uint8_t *in, size_t in_len) {
    (void)ssl;
    static uint8_t data[65536];
    uLongf len = sizeof(data);
    zlib_seen++;
    bool ok = uncompress(data, &len, in, damages ? in_len - 1 : in_len) == Z_OK;
    return keep(out, data, len, ok && len == out_len);
}

static int never_read(SSL *ssl, CRYPTO_BUFFER **out, size_t out_len, const uint8_t *in, size_t in_len) {
    (void)ssl, (void)out, (void)out_len, (void)in, (void)in_len;
    CHECK(!"asked for an algorithm that the server does not have");
    return 0;
}

// offers: of RFC 8879's numbers, in the client's order.
static SSL_CTX *client_new(const uint16_t *offers, unsigned count) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    for (unsigned i = 0; i < count; i++) {
        ssl_cert_decompression_func_t read = offers[i] == 1 ? zlib_read : offers[i] == 2 ? brotli_read : never_read;
        SL_ASSERT(SSL_CTX_add_cert_compression_alg(ctx, offers[i], NULL, read));
    }
    return ctx;
}

// What a client saw.
struct sight {
    uint64_t serial; // 0: no handshake
    size_t certificates, chain_bytes;
    unsigned brotli, zlib;
    bool resumed, stapled;
};

static struct sight look(const struct pair *pair) {
    struct sight sight = {.brotli = brotli_seen, .zlib = zlib_seen, .resumed = SSL_session_reused(pair->client)};
    const STACK_OF(CRYPTO_BUFFER) *chain = SSL_get0_peer_certificates(pair->client);
    X509 *x509 = SSL_get_peer_certificate(pair->client);
    const uint8_t *staple;
    size_t staple_len;
    brotli_seen = zlib_seen = 0;
    if (x509 && sl_tls_state(pair->tls) == SL_TLS_OPEN) {
        ASN1_INTEGER_get_uint64(&sight.serial, X509_get0_serialNumber(x509));
    }
    X509_free(x509);
    sight.certificates = chain ? sk_CRYPTO_BUFFER_num(chain) : 0;
    for (size_t i = 0; i < sight.certificates; i++) {
        sight.chain_bytes += CRYPTO_BUFFER_len(sk_CRYPTO_BUFFER_value(chain, i));
    }
    SSL_get0_ocsp_response(pair->client, &staple, &staple_len);
    sight.stapled = staple_len > 0;
    return sight;
}

static struct sight visit_as(struct rig *rig, SSL_CTX *client, uint16_t version, SSL_SESSION *session) {
    struct pair pair;
    SL_ASSERT(pair_open(&pair, &(struct options){.ctx = rig->ctx, .client_ctx = client, .client_max = version, .session = session}));
    pump(&pair);
    if (sl_tls_state(pair.tls) == SL_TLS_OPEN) {
        server_send(&pair, (const uint8_t *)"x", 1); // takes the ticket along
    }
    struct sight sight = look(&pair);
    pair_close(&pair);
    return sight;
}

static struct sight visit(struct rig *rig, const uint16_t *offers, unsigned count) {
    SSL_CTX *client = client_new(offers, count);
    struct sight sight = visit_as(rig, client, TLS1_3_VERSION, NULL);
    SSL_CTX_free(client);
    return sight;
}

#define OFFER(...) (const uint16_t[]){__VA_ARGS__}, sizeof((const uint16_t[]){__VA_ARGS__}) / sizeof(uint16_t)

// ---- ----

TEST(a_client_gets_the_best_form_that_it_offers) {
    static const struct {
        uint16_t offers[4];
        unsigned count, brotli, zlib;
    } rows[] = {
        {{0}, 0, 0, 0},       {{2}, 1, 1, 0},    {{1}, 1, 0, 1},
        {{1, 2}, 2, 1, 0},    {{2, 1}, 2, 1, 0}, {{3}, 1, 0, 0}, // zstd alone
        {{3, 1}, 2, 0, 1},    {{0xfafa, 3, 1, 2}, 4, 1, 0},
    };
    struct rig rig;
    rig_start(&rig, compressed(chain_with(7, CHAIN)));
    struct sight plain = visit(&rig, NULL, 0);
    CHECK_INT(plain.serial, 7);
    CHECK_INT(plain.certificates, CHAIN);
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        uint64_t before = rig.counters.certs_compressed;
        struct sight sight = visit(&rig, rows[i].offers, rows[i].count);
        CHECK_INT(sight.brotli, rows[i].brotli);
        CHECK_INT(sight.zlib, rows[i].zlib);
        CHECK_INT(sight.serial, 7);
        CHECK_INT(sight.certificates, CHAIN);
        CHECK_INT(sight.chain_bytes, plain.chain_bytes);
        CHECK_INT(rig.counters.certs_compressed - before, rows[i].brotli + rows[i].zlib);
    }
    CHECK_INT(rig.counters.certs_compressed_late, 0);
    CHECK(rig.counters.certs_compressed_bytes > 0);
    CHECK(rig.counters.certs_compressed_bytes < rig.counters.certs_uncompressed_bytes);
    rig_end(&rig);
    forget_session();
}

TEST(tls_1_2_has_no_such_message) {
    struct rig rig;
    rig_start(&rig, compressed(chain_with(7, CHAIN)));
    SSL_CTX *client = client_new(OFFER(2, 1));
    struct sight sight = visit_as(&rig, client, TLS1_2_VERSION, NULL);
    CHECK_INT(sight.serial, 7);
    CHECK_INT(sight.brotli + sight.zlib, 0);
    CHECK_INT(rig.counters.certs_compressed, 0);
    SSL_CTX_free(client);
    rig_end(&rig);
    forget_session();
}

TEST(no_handshake_compresses) {
    struct rig rig;
    rig_start(&rig, compressed(chain_with(7, CHAIN)));
    for (unsigned i = 0; i < 100; i++) {
        struct sight sight = i % 2 ? visit(&rig, OFFER(2)) : visit(&rig, OFFER(1));
        CHECK_INT(sight.brotli + sight.zlib, 1);
        CHECK_INT(sight.serial, 7);
    }
    CHECK_INT(rig.counters.certs_compressed, 100);
    CHECK_INT(rig.counters.certs_compressed_late, 0);
    // A resumed one has no certificate at all.
    SSL_CTX *client = client_new(OFFER(2));
    SSL_SESSION *session = take_session();
    REQUIRE(session);
    CHECK(visit_as(&rig, client, TLS1_3_VERSION, session).resumed);
    CHECK_INT(rig.counters.certs_compressed, 100);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    rig_end(&rig);
    forget_session();
}

TEST(a_staple_is_compressed_with_its_certificate) {
    struct rig rig;
    static uint8_t response[3000];
    fill(response, sizeof(response));
    struct sl_tls_certificate *certificate = chain_with(7, CHAIN);
    CHECK_INT(sl_tls_certificate_staple(certificate, (struct sl_span){response, sizeof(response)}), SL_OK);
    rig_start(&rig, compressed(certificate));
    for (uint16_t offer = 1; offer <= 2; offer++) {
        for (int asks = 0; asks < 2; asks++) {
            SSL_CTX *client = client_new(&offer, 1);
            if (asks) {
                SSL_CTX_enable_ocsp_stapling(client);
            }
            struct sight sight = visit_as(&rig, client, TLS1_3_VERSION, NULL);
            CHECK_INT(sight.brotli + sight.zlib, 1);
            CHECK_INT(sight.stapled, asks);
            CHECK_INT(sight.certificates, CHAIN);
            SSL_CTX_free(client);
        }
    }
    CHECK_INT(rig.counters.certs_compressed, 4);
    CHECK_INT(rig.counters.certs_compressed_late, 0);
    rig_end(&rig);
    forget_session();
}

TEST(a_certificate_that_is_replaced_has_forms_of_its_own) {
    struct rig rig;
    struct pair pair;
    // A group of which clients send no share at once: so the certificate can be replaced between two ClientHellos.
    struct sl_tls_policy policy = {.groups = {SSL_GROUP_SECP384R1}, .group_count = 1};
    rig_start_with(&rig, compressed(chain_with(7, 1)), policy);
    CHECK_INT(visit(&rig, OFFER(2)).serial, 7);
    SSL_CTX *client = client_new(OFFER(2));
    SL_ASSERT(pair_open(&pair, &(struct options){.ctx = rig.ctx, .client_ctx = client}));
    client_turn(&pair);
    server_turn(&pair);
    CHECK_INT(sl_tls_state(pair.tls), SL_TLS_HANDSHAKE);
    uint64_t compressed_before = rig.counters.certs_compressed; // none for this connection yet: it has a HelloRetryRequest
    CHECK_INT(compressed_before, 1);
    swap(&rig, compressed(chain_with(8, CHAIN)));
    pump(&pair);
    struct sight sight = look(&pair);
    CHECK(sight.serial == 7 || sight.serial == 8);
    CHECK_INT(sight.brotli, 1);
    pair_close(&pair);
    SSL_CTX_free(client);
    sight = visit(&rig, OFFER(2));
    CHECK_INT(sight.serial, 8);
    CHECK_INT(sight.certificates, CHAIN);
    CHECK_INT(rig.counters.certs_compressed, 3);
    CHECK_INT(rig.counters.certs_compressed_late, 0);
    rig_end(&rig);
    forget_session();
}

TEST(what_was_not_foreseen_is_compressed_in_the_handshake) {
    struct rig rig;
    rig_start(&rig, chain_with(7, 16)); // nobody has called sl_tls_certificate_compress
    struct sight zlib = visit(&rig, OFFER(1)), brotli = visit(&rig, OFFER(2));
    CHECK_INT(zlib.serial, 7);
    CHECK_INT(zlib.zlib, 1);
    CHECK_INT(brotli.serial, 7);
    CHECK_INT(brotli.brotli, 1);
    CHECK_INT(brotli.certificates, 16);
    CHECK_INT(rig.counters.certs_compressed_late, 2);
    rig_end(&rig);
    forget_session();
}

TEST(a_client_that_cannot_read_it_refuses) {
    struct rig rig;
    rig_start(&rig, compressed(chain_with(7, CHAIN)));
    damages = true;
    for (uint16_t offer = 1; offer <= 2; offer++) {
        SSL_CTX *client = client_new(&offer, 1);
        struct pair pair;
        SL_ASSERT(pair_open(&pair, &(struct options){.ctx = rig.ctx, .client_ctx = client}));
        pump(&pair);
        CHECK_INT(pair.server_status, SL_E_TLS_HANDSHAKE);
        CHECK_INT(sl_tls_state(pair.tls), SL_TLS_FAILED);
        CHECK_INT(look(&pair).serial, 0);
        pair_close(&pair);
        SSL_CTX_free(client);
    }
    damages = false;
    CHECK_INT(visit(&rig, OFFER(2)).serial, 7);
    rig_end(&rig);
    forget_session();
}

TEST(a_form_is_found_by_every_byte_of_its_message) {
    static uint8_t message[70000];
    uint8_t *back = malloc(sizeof(message) + 1);
    struct sl_tls_compressed *forms = sl__tls_compressed_new();
    fill(message, sizeof(message));
    CHECK(sl__tls_compressed_add(forms, message, sizeof(message)));
    struct sl_span form = sl__tls_compressed_find(forms, SL_COMPRESSION_BROTLI, message, sizeof(message));
    size_t len = sizeof(message) + 1;
    CHECK(form.len > 0 && form.len < sizeof(message));
    CHECK(BrotliDecoderDecompress(form.len, form.data, &len, back) == BROTLI_DECODER_RESULT_SUCCESS);
    CHECK(len == sizeof(message) && memcmp(back, message, len) == 0);
    form = sl__tls_compressed_find(forms, SL_COMPRESSION_ZLIB, message, sizeof(message));
    uLongf zlib_len = sizeof(message) + 1;
    CHECK(form.len > 0 && uncompress(back, &zlib_len, form.data, form.len) == Z_OK);
    CHECK(zlib_len == sizeof(message) && memcmp(back, message, zlib_len) == 0);
    CHECK_INT(sl__tls_compressed_find(forms, SL_COMPRESSION_ZLIB, message, sizeof(message) - 1).len, 0);
    CHECK_INT(sl__tls_compressed_find(forms, SL_COMPRESSION_ZLIB, message, 0).len, 0);
    message[sizeof(message) - 1] ^= 1;
    CHECK_INT(sl__tls_compressed_find(forms, SL_COMPRESSION_BROTLI, message, sizeof(message)).len, 0);
    CHECK_INT(sl__tls_compressed_find(NULL, SL_COMPRESSION_BROTLI, message, 1).len, 0);
    sl__tls_compressed_free(forms);
    free(back);
}
