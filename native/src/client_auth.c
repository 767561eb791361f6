#include "client_auth.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/digest.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#define PEM_BYTES_MAX 1048576u
#define NAMES_BYTES_MAX 8192u // of the CAs: they go into each full handshake
#define INTERMEDIATES_MAX 4

// DER bytes and nothing else: immutable after _new, so that all workers may read it without a lock.
struct sl_tls_cas {
    _Atomic uint32_t refs;
    uint8_t *der[SL_TLS_CAS_MAX];
    size_t der_len[SL_TLS_CAS_MAX];
    unsigned count;
    size_t names_bytes;
    uint8_t digest[SL_TLS_TENANT_BYTES];
};

static int ca_add(struct sl_tls_cas *cas, X509 *x509) {
    unsigned number = cas->count + 1;
    if (cas->count == SL_TLS_CAS_MAX) {
        return sl_fail(SL_E_TLS_CONFIG, "ca holds more than %u certificates", SL_TLS_CAS_MAX);
    }
    if (X509_check_ca(x509) !=
        1) { // else whoever has its key would be an issuer, or a client that nobody issued
        return sl_fail(SL_E_TLS_CONFIG,
                       "certificate %u in ca is not a CA's (basicConstraints, keyUsage)", number);
    }
    const uint8_t *name;
    size_t name_len;
    int len = i2d_X509(x509, &cas->der[cas->count]);
    if (len <= 0 || !X509_NAME_get0_der(X509_get_subject_name(x509), &name, &name_len)) {
        return sl_fail(SL_E_NO_MEMORY, "out of memory for certificate %u in ca", number);
    }
    cas->der_len[cas->count++] = (size_t)len;
    cas->names_bytes += name_len;
    if (cas->names_bytes > NAMES_BYTES_MAX) {
        return sl_fail(SL_E_TLS_CONFIG, "the names of the CAs in ca take more than %u bytes",
                       NAMES_BYTES_MAX);
    }
    return SL_OK;
}

static void take_digest(struct sl_tls_cas *cas) {
    SHA256_CTX sha;
    SHA256_Init(&sha);
    for (unsigned i = 0; i < cas->count; i++) {
        uint8_t one[SHA256_DIGEST_LENGTH];
        SHA256(cas->der[i], cas->der_len[i], one);
        SHA256_Update(&sha, one, sizeof(one));
    }
    SHA256_Final(cas->digest, &sha);
}

static bool at_end(void) {
    uint32_t error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static int cas_read(struct sl_tls_cas *cas, struct sl_span pem) {
    BIO *bio = BIO_new_mem_buf(pem.data, (ossl_ssize_t)pem.len);
    int status = bio ? SL_OK : sl_fail(SL_E_NO_MEMORY, "out of memory for CAs");
    X509 *x509 = NULL;
    while (status == SL_OK && (x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        status = ca_add(cas, x509);
        X509_free(x509);
    }
    if (status == SL_OK && !at_end()) {
        status =
            sl_fail(SL_E_TLS_CONFIG, "certificate %u in ca is not a valid one", cas->count + 1);
    } else if (status == SL_OK && cas->count == 0) {
        status = sl_fail(SL_E_TLS_CONFIG, "no PEM certificate found in ca (%zu bytes)", pem.len);
    }
    BIO_free(bio);
    ERR_clear_error();
    return status;
}

int sl_tls_cas_new(struct sl_tls_cas **out_cas, struct sl_span pem) {
    *out_cas = NULL;
    if (pem.len > PEM_BYTES_MAX) {
        return sl_fail(SL_E_TLS_CONFIG, "ca is larger than 1 MiB");
    }
    struct sl_tls_cas *cas = calloc(1, sizeof(*cas));
    if (!cas) {
        return sl_fail(SL_E_NO_MEMORY, "out of memory for CAs");
    }
    atomic_init(&cas->refs, 1);
    ERR_clear_error();
    int status = cas_read(cas, pem);
    if (status != SL_OK) {
        sl_tls_cas_free(cas);
        return status;
    }
    take_digest(cas);
    *out_cas = cas;
    return SL_OK;
}

void sl_tls_cas_ref(struct sl_tls_cas *cas) {
    if (cas) {
        atomic_fetch_add_explicit(&cas->refs, 1, memory_order_relaxed);
    }
}

void sl_tls_cas_free(struct sl_tls_cas *cas) {
    if (!cas || atomic_fetch_sub_explicit(&cas->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; i < cas->count; i++) {
        OPENSSL_free(cas->der[i]);
    }
    free(cas);
}

const uint8_t *sl__tls_cas_digest(const struct sl_tls_cas *cas) { return cas->digest; }

// ---- a worker's part ----

static bool add_ca(struct sl_client_auth *auth, const uint8_t *der, size_t len) {
    const uint8_t *name;
    size_t name_len;
    X509 *x509 = d2i_X509(NULL, &der, (long)len);
    bool ok = x509 && X509_STORE_add_cert(auth->store, x509) &&
              X509_NAME_get0_der(X509_get_subject_name(x509), &name, &name_len);
    CRYPTO_BUFFER *buffer = ok ? CRYPTO_BUFFER_new(name, name_len, NULL) : NULL;
    ok = buffer && sk_CRYPTO_BUFFER_push(auth->names, buffer);
    if (!ok) {
        CRYPTO_BUFFER_free(buffer);
    }
    X509_free(x509);
    return ok;
}

bool sl__client_auth_init(struct sl_client_auth *auth, const struct sl_tls_cas *cas) {
    auth->store = X509_STORE_new();
    auth->names = sk_CRYPTO_BUFFER_new_null();
    bool ok = auth->store && auth->names;
    for (unsigned i = 0; ok && i < cas->count; i++) {
        ok = add_ca(auth, cas->der[i], cas->der_len[i]);
    }
    return ok;
}

void sl__client_auth_deinit(struct sl_client_auth *auth) {
    X509_STORE_free(auth->store);
    sk_CRYPTO_BUFFER_pop_free(auth->names, CRYPTO_BUFFER_free);
}

static CRYPTO_BUFFER *same(const CRYPTO_BUFFER *buffer) {
    CRYPTO_BUFFER_up_ref((CRYPTO_BUFFER *)buffer);
    return (CRYPTO_BUFFER *)buffer;
}

bool sl__client_auth_ask(const struct sl_client_auth *auth, SSL *ssl, uint8_t mode,
                         enum ssl_verify_result_t (*verify)(SSL *ssl, uint8_t *out_alert)) {
    STACK_OF(CRYPTO_BUFFER) *names =
        sk_CRYPTO_BUFFER_deep_copy(auth->names, same, CRYPTO_BUFFER_free);
    if (!names) {
        return false;
    }
    SSL_set0_client_CAs(ssl, names);
    SSL_set_custom_verify(
        ssl,
        SSL_VERIFY_PEER | (mode == SL_CLIENT_AUTH_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        verify);
    return true;
}

// ---- what a certificate says ----

static bool is_printable(const uint8_t *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x21 || text[i] > 0x7e) {
            return false;
        }
    }
    return len > 0;
}

static bool put_address(BIO *bio, const ASN1_OCTET_STRING *address) {
    char text[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(address);
    if (len != 4 && len != 16) {
        return true;
    }
    inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof(text));
    return BIO_printf(bio, "ip %s\n", text) > 0;
}

// A name of another type, or one with bytes that no such name has (one could look like another line), is none.
static bool put_name(BIO *bio, const GENERAL_NAME *name) {
    const char *type = name->type == GEN_DNS     ? "dns"
                       : name->type == GEN_URI   ? "uri"
                       : name->type == GEN_EMAIL ? "email"
                                                 : NULL;
    if (name->type == GEN_IPADD) {
        return put_address(bio, name->d.iPAddress);
    }
    if (!type) {
        return true;
    }
    const uint8_t *text = ASN1_STRING_get0_data(name->d.ia5);
    size_t len = (size_t)ASN1_STRING_length(name->d.ia5);
    return !is_printable(text, len) ||
           (BIO_printf(bio, "%s ", type) > 0 && BIO_write(bio, text, (int)len) == (int)len &&
            BIO_write(bio, "\n", 1) == 1);
}

// RFC 2253 escapes control characters and all that is not ASCII, so a subject is one line.
static bool put_text(BIO *bio, const X509 *x509) {
    bool ok = BIO_puts(bio, "subject ") > 0 &&
              X509_NAME_print_ex(bio, X509_get_subject_name(x509), 0, XN_FLAG_RFC2253) >= 0 &&
              BIO_write(bio, "\n", 1) == 1;
    GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    for (size_t i = 0; ok && names && i < sk_GENERAL_NAME_num(names); i++) {
        ok = put_name(bio, sk_GENERAL_NAME_value(names, i));
    }
    GENERAL_NAMES_free(names);
    return ok;
}

static struct sl_tls_client *client_new(const X509 *x509, int64_t end_s) {
    const uint8_t *text;
    size_t len = 0;
    unsigned digest_len;
    BIO *bio = BIO_new(BIO_s_mem());
    struct sl_tls_client *client = NULL;
    if (bio && put_text(bio, x509) && BIO_mem_contents(bio, &text, &len) &&
        len <= SL_CLIENT_TEXT_BYTES_MAX) {
        client = calloc(1, sizeof(*client) + len);
    }
    if (client) {
        memcpy(client->text, text, len);
        client->text_len = (uint16_t)len;
        client->end_s = end_s;
        if (!X509_digest(x509, EVP_sha256(), client->sha256, &digest_len)) {
            free(client);
            client = NULL;
        }
    }
    BIO_free(bio);
    return client;
}

// ---- judging one ----

static enum sl_client_verdict verdict_of(int error) {
    switch (error) {
    case X509_V_OK:
        return SL_CLIENT_OK;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return SL_CLIENT_EXPIRED;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE: // an issuer of the same name with another key
        return SL_CLIENT_UNKNOWN_CA;
    default:
        return SL_CLIENT_REFUSED;
    }
}

static const char *text_of(enum sl_client_verdict verdict, int error) {
    switch (verdict) {
    case SL_CLIENT_UNKNOWN_CA:
        return "the client's certificate is of none of the policy's CAs";
    case SL_CLIENT_EXPIRED:
        return error == X509_V_ERR_CERT_NOT_YET_VALID
                   ? "the client's certificate, or its issuer's, is not valid yet"
                   : "the client's certificate, or its issuer's, has expired";
    default:
        return error == X509_V_ERR_INVALID_PURPOSE
                   ? "the client's certificate is not for TLS clients (extended key usage)"
                   : X509_verify_cert_error_string(error);
    }
}

// The chain as X509 objects, its first one apart. NULL: one of them is none.
static STACK_OF(X509) * parse_chain(const STACK_OF(CRYPTO_BUFFER) * chain, X509 **out_leaf) {
    STACK_OF(X509) *others = sk_X509_new_null();
    *out_leaf = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, 0));
    bool ok = others && *out_leaf;
    for (size_t i = 1; ok && i < sk_CRYPTO_BUFFER_num(chain); i++) {
        X509 *x509 = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, i));
        ok = x509 && sk_X509_push(others, x509);
        if (!ok) {
            X509_free(x509);
        }
    }
    if (!ok) {
        sk_X509_pop_free(others, X509_free);
        return NULL;
    }
    return others;
}

// When the first of a chain ends.
static int64_t end_of(const STACK_OF(X509) * chain) {
    int64_t first_s = INT64_MAX, end_s;
    for (size_t i = 0; i < sk_X509_num(chain); i++) {
        bool ok = ASN1_TIME_to_posix(X509_get0_notAfter(sk_X509_value(chain, i)), &end_s);
        first_s = !ok ? 0 : end_s < first_s ? end_s : first_s;
    }
    return first_s;
}

static int verify_chain(const struct sl_client_auth *auth, X509 *leaf, STACK_OF(X509) * others,
                        int64_t unix_s, int64_t *out_end_s) {
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int error = X509_V_ERR_OUT_OF_MEM;
    if (ctx && X509_STORE_CTX_init(ctx, auth->store, leaf, others) &&
        X509_STORE_CTX_set_default(
            ctx, "ssl_client")) { // the purpose, of every certificate in the chain
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
        X509_VERIFY_PARAM_set_depth(param, INTERMEDIATES_MAX);
        X509_VERIFY_PARAM_set_time_posix(param, unix_s);
        error = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
        *out_end_s = error == X509_V_OK ? end_of(X509_STORE_CTX_get0_chain(ctx)) : 0;
    }
    X509_STORE_CTX_free(ctx);
    return error;
}

enum sl_client_verdict sl__client_verify(const struct sl_client_auth *auth, const SSL *ssl,
                                         int64_t unix_s, struct sl_tls_client **out_client,
                                         uint8_t *out_alert, const char **out_why) {
    const STACK_OF(CRYPTO_BUFFER) *chain = SSL_get0_peer_certificates(ssl);
    X509 *leaf = NULL;
    STACK_OF(X509) *others = NULL;
    enum sl_client_verdict verdict = SL_CLIENT_REFUSED;
    int64_t end_s = 0;
    *out_client = NULL;
    *out_alert = SSL_AD_BAD_CERTIFICATE;
    if (!chain || sk_CRYPTO_BUFFER_num(chain) > SL_CLIENT_CHAIN_MAX) {
        *out_why = "the client's certificate chain is too long";
    } else if (!(others = parse_chain(chain, &leaf))) {
        *out_why = "the client's certificate is no valid X.509 certificate";
    } else {
        int error = verify_chain(auth, leaf, others, unix_s, &end_s);
        verdict = verdict_of(error);
        *out_alert = (uint8_t)SSL_alert_from_verify_result(error);
        *out_why = text_of(verdict, error);
    }
    if (verdict == SL_CLIENT_OK && !(*out_client = client_new(leaf, end_s))) {
        verdict = SL_CLIENT_REFUSED;
        *out_alert = SSL_AD_UNSUPPORTED_CERTIFICATE;
        *out_why = "the names in the client's certificate are too long, or cannot be read";
    }
    X509_free(leaf);
    sk_X509_pop_free(others, X509_free);
    ERR_clear_error();
    return verdict;
}

// ---- as bytes ----

struct client_head {
    uint8_t end_s[8]; // little endian
    uint8_t sha256[32];
};

size_t sl__client_bytes(const struct sl_tls_client *client) {
    return client ? sizeof(struct client_head) + client->text_len : 0;
}

void sl__client_write(const struct sl_tls_client *client, uint8_t *out) {
    struct client_head head;
    for (unsigned i = 0; i < 8; i++) {
        head.end_s[i] = (uint8_t)((uint64_t)client->end_s >> 8 * i);
    }
    memcpy(head.sha256, client->sha256, sizeof(head.sha256));
    memcpy(out, &head, sizeof(head));
    memcpy(out + sizeof(head), client->text, client->text_len);
}

struct sl_tls_client *sl__client_read(const uint8_t *bytes, size_t len) {
    struct client_head head;
    size_t text_len = len - sizeof(head);
    if (len < sizeof(head) || text_len > SL_CLIENT_TEXT_BYTES_MAX) {
        return NULL;
    }
    struct sl_tls_client *client = calloc(1, sizeof(*client) + text_len);
    if (client) {
        uint64_t end_s = 0;
        memcpy(&head, bytes, sizeof(head));
        for (unsigned i = 0; i < 8; i++) {
            end_s |= (uint64_t)head.end_s[i] << 8 * i;
        }
        client->end_s = (int64_t)end_s;
        memcpy(client->sha256, head.sha256, sizeof(head.sha256));
        client->text_len = (uint16_t)text_len;
        memcpy(client->text, bytes + sizeof(head), text_len);
    }
    return client;
}
