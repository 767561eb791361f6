// A client (BoringSSL with memory BIOs) and the engine, in one process; between them every byte can be cut where a test wants.
#ifndef SL_TLS_PAIR_H
#define SL_TLS_PAIR_H

#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "stek.h"
#include "test.h"
#include "tls.h"

static struct sl_counters tls_counters; // of contexts that pair_open makes

static uint32_t seed = 1;
static inline uint32_t random_below(uint32_t n) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

// ---- certificates ----

struct local_pem {
    uint8_t bytes[4096];
    struct sl_span cert, key;
};

static inline void local_pem_make(struct local_pem *pem) {
    int n = sl_tls_certificate_make(pem->bytes, sizeof(pem->bytes), (int64_t)time(NULL));
    uint32_t cert_len = 0;
    SL_ASSERT(n > 4);
    memcpy(&cert_len, pem->bytes, 4);
    pem->cert = (struct sl_span){pem->bytes + 4, cert_len};
    pem->key = (struct sl_span){pem->bytes + 4 + cert_len, (size_t)n - 4 - cert_len};
}

// One for all tests that do not ask what is in it.
static inline const struct local_pem *shared_pem(void) {
    static struct local_pem pem;
    if (!pem.cert.data) {
        local_pem_make(&pem);
    }
    return &pem;
}

static inline struct sl_span span_of_bio(BIO *bio) {
    struct sl_span span;
    SL_ASSERT(BIO_mem_contents(bio, &span.data, &span.len));
    return span;
}

static inline EVP_PKEY *rsa_key(void) { // made once: it takes a while
    static EVP_PKEY *key;
    if (key) {
        return key;
    }
    key = EVP_PKEY_new();
    RSA *rsa = RSA_new();
    BIGNUM *e = BN_new();
    SL_ASSERT(BN_set_word(e, RSA_F4) && RSA_generate_key_ex(rsa, 2048, e, NULL) &&
              EVP_PKEY_assign_RSA(key, rsa));
    BN_free(e);
    return key;
}

static inline X509 *x509_for(EVP_PKEY *key) {
    X509 *x509 = X509_new();
    X509_NAME *name = X509_get_subject_name(x509);
    SL_ASSERT(
        X509_set_version(x509, X509_VERSION_3) &&
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), 1) &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"x", 1, -1, 0) &&
        X509_set_issuer_name(x509, name) && X509_gmtime_adj(X509_getm_notBefore(x509), 0) &&
        X509_gmtime_adj(X509_getm_notAfter(x509), 3600) && X509_set_pubkey(x509, key) &&
        X509_sign(x509, key, EVP_sha256()));
    return x509;
}

static inline EVP_PKEY *ec_key(void) {
    EVP_PKEY *key = EVP_PKEY_new();
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    SL_ASSERT(EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(key, ec));
    return key;
}

// With a serial number to know it by; names: a subjectAltName as X509V3_EXT_nconf_nid takes it, or NULL.
static inline struct sl_tls_certificate *certificate_with(uint64_t serial, bool rsa, const char *names) {
    EVP_PKEY *key = rsa ? rsa_key() : ec_key();
    X509 *x509 = x509_for(key);
    X509_EXTENSION *extension = names ? X509V3_EXT_nconf_nid(NULL, NULL, NID_subject_alt_name, names) : NULL;
    SL_ASSERT(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial));
    SL_ASSERT(!names || (extension && X509_add_ext(x509, extension, -1)));
    SL_ASSERT(X509_sign(x509, key, EVP_sha256()));
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    SL_ASSERT(PEM_write_bio_X509(cert_bio, x509) && PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL));
    struct sl_tls_certificate *certificate = NULL;
    CHECK_INT(sl_tls_certificate_new(&certificate, span_of_bio(cert_bio), span_of_bio(key_bio)), SL_OK);
    BIO_free(cert_bio);
    BIO_free(key_bio);
    X509_EXTENSION_free(extension);
    X509_free(x509);
    if (!rsa) {
        EVP_PKEY_free(key);
    }
    return certificate;
}

// ---- the pair ----

struct bytes {
    uint8_t *data;
    size_t off, len, cap; // data[off .. off + len)
};

static inline void bytes_add(struct bytes *bytes, const void *data, size_t len) {
    if (bytes->off + bytes->len + len > bytes->cap) {
        bytes->cap = (bytes->off + bytes->len + len) * 2 + 1024;
        bytes->data = realloc(bytes->data, bytes->cap);
        SL_ASSERT(bytes->data);
    }
    if (len) {
        memcpy(bytes->data + bytes->off + bytes->len, data, len);
    }
    bytes->len += len;
}

static inline void bytes_drop(struct bytes *bytes, size_t len) {
    bytes->len -= len;
    bytes->off = bytes->len ? bytes->off + len : 0;
}

struct options {
    uint16_t client_min, client_max; // 0: BoringSSL's defaults
    const char *alpn;                // wire format
    uint32_t piece;                  // bytes per feed; 0: all; UINT32_MAX: random
    uint32_t out_cap;                // 0: 32768
    uint32_t read_cap;               // 0: 32768
    const struct sl_tls_certificate *certificate;
    struct sl_tls_sni *sni;                  // instead of a certificate
    const char *server_name;                 // NULL: localhost; "": none
    const uint16_t *algorithms;              // signature algorithms that the client knows; 0 ends them
    // Resumption. The context is the test's, so that connections share it; then certificate and sni are not looked at.
    struct sl_tls_ctx *ctx;
    SSL_CTX *client_ctx;
    SSL_SESSION *session; // that the client offers
    const char *early;    // what it sends in early data, with a session that may
};

struct pair {
    struct sl_tls_certificate *certificate; // until the context is made
    struct sl_tls_sni *sni;
    struct sl_tls_ctx *ctx;
    struct sl_tls *tls;
    SSL_CTX *client_ctx;
    SSL *client;
    BIO *client_in, *client_out;
    struct options options;
    struct bytes to_server, to_client; // records on their way
    struct bytes at_server, at_client; // plaintext that arrived
    uint8_t *lent;                     // exactly what was fed: ASan sees a read past it or after it
    uint8_t *out;
    int server_status; // last result of sl_tls_read that was not bytes
    int client_error;  // of SSL_get_error, 0 while all is well
};

static inline void client_open(struct pair *pair) {
    if (pair->options.client_ctx) {
        pair->client_ctx = pair->options.client_ctx;
        SSL_CTX_up_ref(pair->client_ctx);
    } else {
        pair->client_ctx = SSL_CTX_new(TLS_method());
        SSL_CTX_set_verify(pair->client_ctx, SSL_VERIFY_NONE, NULL);
    }
    if (pair->options.client_min) {
        SSL_CTX_set_min_proto_version(pair->client_ctx, pair->options.client_min);
    }
    if (pair->options.client_max) {
        SSL_CTX_set_max_proto_version(pair->client_ctx, pair->options.client_max);
    }
    pair->client = SSL_new(pair->client_ctx);
    if (pair->options.alpn) {
        SSL_set_alpn_protos(pair->client, (const uint8_t *)pair->options.alpn,
                            strlen(pair->options.alpn));
    }
    pair->client_in = BIO_new(BIO_s_mem());
    pair->client_out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(pair->client_in, -1);
    SSL_set_bio(pair->client, pair->client_in, pair->client_out);
    const char *server_name = pair->options.server_name ? pair->options.server_name : "localhost";
    if (*server_name) {
        SSL_set_tlsext_host_name(pair->client, server_name);
    }
    if (pair->options.algorithms) {
        size_t count = 0;
        while (pair->options.algorithms[count]) {
            count++;
        }
        SSL_set_verify_algorithm_prefs(pair->client, pair->options.algorithms, count);
    }
    SSL_set_connect_state(pair->client);
    if (pair->options.session) {
        SL_ASSERT(SSL_set_session(pair->client, pair->options.session));
    }
    if (pair->options.early) {
        SSL_set_early_data_enabled(pair->client, 1);
        SL_ASSERT(SSL_do_handshake(pair->client) == 1 && SSL_in_early_data(pair->client));
        int len = (int)strlen(pair->options.early);
        SL_ASSERT(SSL_write(pair->client, pair->options.early, len) == len);
    }
}

static inline bool pair_open(struct pair *pair, const struct options *options) {
    *pair = (struct pair){0};
    pair->options = *options;
    pair->options.out_cap = options->out_cap ? options->out_cap : 32768;
    pair->options.read_cap = options->read_cap ? options->read_cap : 32768;
    if (options->ctx) {
        pair->ctx = options->ctx;
        pair->tls = sl_tls_new(pair->ctx);
        client_open(pair);
        return pair->tls != NULL;
    }
    const struct sl_tls_certificate *certificate = options->certificate;
    struct sl_tls_sni *sni = options->sni;
    if (!certificate && !sni) {
        const struct local_pem *pem = shared_pem();
        CHECK_INT(sl_tls_certificate_new(&pair->certificate, pem->cert, pem->key), SL_OK);
        certificate = pair->certificate;
    }
    if (!sni) {
        CHECK_INT(sl_tls_sni_new(&pair->sni), SL_OK);
        CHECK_INT(sl_tls_sni_add(pair->sni, certificate, (struct sl_span){NULL, 0}), SL_OK);
        sni = pair->sni;
    }
    CHECK_INT(sl_tls_ctx_new(&pair->ctx, sni, NULL, NULL, &tls_counters), SL_OK);
    sl_tls_certificate_free(pair->certificate); // the context needs it no longer
    pair->certificate = NULL;
    pair->tls = pair->ctx ? sl_tls_new(pair->ctx) : NULL;
    client_open(pair);
    return pair->tls != NULL;
}

static inline void pair_close(struct pair *pair) {
    SSL_free(pair->client);
    SSL_CTX_free(pair->client_ctx);
    sl_tls_free(pair->tls);
    if (!pair->options.ctx) {
        sl_tls_ctx_free(pair->ctx);
    }
    sl_tls_sni_free(pair->sni);
    free(pair->to_server.data);
    free(pair->to_client.data);
    free(pair->at_server.data);
    free(pair->at_client.data);
    free(pair->lent);
    free(pair->out);
    ERR_clear_error();
}

static inline void server_out_give(struct pair *pair) {
    if (!pair->out) {
        pair->out = malloc(pair->options.out_cap); // exact: ASan sees a write past it
        sl_tls_out_give(pair->tls, pair->out, pair->options.out_cap);
    }
}

// What the owner does when it sends: takes the buffer with its bytes.
static inline void server_out_send(struct pair *pair) {
    if (pair->out && (sl_tls_out_bytes(pair->tls) > 0 || sl_tls_wants_out(pair->tls))) {
        bytes_add(&pair->to_client, pair->out, sl_tls_out_take(pair->tls));
        free(pair->out);
        pair->out = NULL;
    }
}

static inline size_t piece_of(const struct pair *pair) {
    size_t all = pair->to_server.len;
    uint32_t piece = pair->options.piece;
    if (piece == UINT32_MAX) {
        piece = 1 + random_below(random_below(4) ? 64 : 20000);
    }
    return piece ? sl_min_size(piece, all) : all;
}

static inline void server_feed(struct pair *pair) {
    size_t n = piece_of(pair);
    free(pair->lent);
    pair->lent = malloc(n);
    memcpy(pair->lent, pair->to_server.data + pair->to_server.off, n);
    bytes_drop(&pair->to_server, n);
    sl_tls_feed(pair->tls, pair->lent, (uint32_t)n);
}

// Reads until the engine waits. True if something moved.
static inline bool server_read(struct pair *pair) {
    bool moved = false;
    uint8_t *plain = malloc(pair->options.read_cap);
    int n;
    while ((n = sl_tls_read(pair->tls, plain, pair->options.read_cap)) > 0) {
        bytes_add(&pair->at_server, plain, (size_t)n);
        moved = true;
    }
    free(plain);
    pair->server_status = n;
    return moved;
}

static inline bool server_turn(struct pair *pair) {
    size_t before = pair->to_client.len;
    bool moved = false;
    server_out_give(pair);
    if (sl_tls_hungry(pair->tls) && pair->to_server.len > 0) {
        server_feed(pair);
        moved = true;
    }
    moved = server_read(pair) || moved;
    server_out_send(pair);
    return moved || pair->to_client.len != before;
}

static inline void client_note(struct pair *pair, int rc) {
    int error = SSL_get_error(pair->client, rc);
    pair->client_error = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : error;
}

static inline bool client_turn(struct pair *pair) {
    bool moved = pair->to_client.len > 0;
    BIO_write(pair->client_in, pair->to_client.data, (int)pair->to_client.len);
    pair->to_client.len = 0;
    uint8_t plain[16384];
    int rc;
    ERR_clear_error();
    if (!SSL_is_init_finished(pair->client) && (rc = SSL_do_handshake(pair->client)) != 1) {
        client_note(pair, rc);
    } else {
        while ((rc = SSL_read(pair->client, plain, sizeof(plain))) > 0) {
            bytes_add(&pair->at_client, plain, (size_t)rc);
        }
        client_note(pair, rc);
    }
    struct sl_span sent = span_of_bio(pair->client_out);
    moved = moved || sent.len > 0;
    bytes_add(&pair->to_server, sent.data, sent.len);
    BIO_reset(pair->client_out);
    return moved;
}

// Until nothing moves on either side.
static inline void pump(struct pair *pair) {
    bool moved = true;
    while (moved) {
        moved = client_turn(pair);
        moved = server_turn(pair) || moved;
    }
}

static inline struct iovec iov_of(const char *text) { return (struct iovec){(void *)text, strlen(text)}; }

static inline int64_t server_write(struct pair *pair, const char *text) {
    struct iovec iov = iov_of(text);
    return sl_tls_write(pair->tls, &iov, 1);
}

static inline void fill(uint8_t *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + 3);
    }
}

static inline void client_send(struct pair *pair, const uint8_t *data, size_t len) {
    for (size_t off = 0; off < len;) {
        int n = SSL_write(pair->client, data + off, (int)sl_min_size(len - off, 16384));
        SL_ASSERT(n > 0);
        off += (size_t)n;
    }
    pump(pair);
}

// As the owner does: write, send what is there, give a new buffer, again.
static inline void server_send(struct pair *pair, const uint8_t *data, size_t len) {
    size_t off = 0, idle = 0;
    while (off < len && idle < 3) {
        server_out_give(pair);
        size_t head = sl_min_size(len - off, 1 + random_below(3000));
        struct iovec iov[3] = {{(void *)(data + off), head},
                               {NULL, 0},
                               {(void *)(data + off + head), len - off - head}};
        int64_t n = sl_tls_write(pair->tls, iov, 3);
        SL_ASSERT(n >= 0);
        off += (size_t)n;
        idle = n ? 0 : idle + 1;
        server_out_send(pair);
    }
    CHECK_INT(off, len);
    pump(pair);
}

static inline void check_bytes(struct bytes *bytes, const uint8_t *expected, size_t len) {
    CHECK_INT(bytes->len, len);
    CHECK(bytes->len == len && (len == 0 || memcmp(bytes->data, expected, len) == 0));
    bytes->len = 0;
}

static inline void check_open(struct pair *pair, uint16_t version) {
    struct sl_tls_info info;
    sl_tls_info(pair->tls, &info);
    CHECK_INT(sl_tls_state(pair->tls), SL_TLS_OPEN);
    CHECK(SSL_is_init_finished(pair->client));
    CHECK_INT(info.version, version);
    CHECK_STR(info.sni, "localhost");
    CHECK_INT(info.cipher, SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(pair->client)));
    CHECK_STR(sl_tls_error(pair->tls), "");
}

#endif
