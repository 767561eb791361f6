#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/asn1.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include "tls_boringssl.h"
#include "tls_compression.h"
#include "tls_sni.h"

#define CHAIN_MAX 16
#define PEM_BYTES_MAX 1048576u

// DER bytes and nothing else: immutable after _new, so that all workers may read it without a lock.
struct sl_tls_certificate {
    _Atomic uint32_t refs;
    uint8_t *chain[CHAIN_MAX];
    size_t chain_len[CHAIN_MAX];
    unsigned chain_count;
    uint8_t *key; // PKCS #8; OPENSSL_free wipes it
    size_t key_len;
    int key_type;
    char key_text[48];
    int64_t not_before, not_after; // of the leaf, Unix seconds
    char *names;                   // its DNS names, a line each
    size_t names_len;
    char serial[SL_TLS_SERIAL_TEXT_BYTES];
    uint8_t *staple; // an OCSP response, NULL: none
    size_t staple_len;
    struct sl_tls_compressed *compressed; // NULL: not asked for
};

struct pem_block {
    char *name;
    char *header;
    uint8_t *data;
    long len;
};

static void pem_block_free(struct pem_block *block) {
    OPENSSL_free(block->name);
    OPENSSL_free(block->header);
    OPENSSL_free(block->data);
    *block = (struct pem_block){0};
}

// 1: a block; 0: no more; -1: the next block is damaged.
static int pem_block_read(BIO *bio, struct pem_block *out_block) {
    ERR_clear_error();
    *out_block = (struct pem_block){0};
    if (PEM_read_bio(bio, &out_block->name, &out_block->header, &out_block->data,
                     &out_block->len)) {
        return 1;
    }
    uint32_t error = ERR_peek_last_error();
    ERR_clear_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE ? 0
                                                                                             : -1;
}

static bool is_certificate(const char *name) {
    return strcmp(name, "CERTIFICATE") == 0 || strcmp(name, "X509 CERTIFICATE") == 0;
}

static bool is_key(const char *name) {
    return strcmp(name, "PRIVATE KEY") == 0 || strcmp(name, "EC PRIVATE KEY") == 0 ||
           strcmp(name, "RSA PRIVATE KEY") == 0;
}

// Where the usual mistakes come from: a file in DER, or the two files swapped.
static const char *hint_of(struct sl_span pem, const char *other, const char *der_hint) {
    if (pem.len == 0) {
        return ": it is empty";
    }
    if (memmem(pem.data, pem.len, other, strlen(other))) {
        return ": are certificate and key swapped?";
    }
    return pem.data[0] == 0x30 ? der_hint : "";
}

// "ECDSA P-256", "RSA 2048", "Ed25519".
static void describe_key(const EVP_PKEY *key, char *out, size_t len) {
    switch (EVP_PKEY_id(key)) {
    case EVP_PKEY_RSA:
        snprintf(out, len, "RSA %d", EVP_PKEY_bits(key));
        break;
    case EVP_PKEY_EC: {
        const EC_GROUP *group = EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key));
        const char *curve = EC_curve_nid2nist(EC_GROUP_get_curve_name(group));
        snprintf(out, len, "ECDSA %s", curve ? curve : "on an unknown curve");
        break;
    }
    case EVP_PKEY_ED25519:
        snprintf(out, len, "Ed25519");
        break;
    default:
        snprintf(out, len, "an unknown type");
    }
}

// ---- what the leaf says

static bool is_dns_name(const GENERAL_NAME *name) {
    return name->type == GEN_DNS && ASN1_STRING_length(name->d.dNSName) > 0 &&
           !memchr(ASN1_STRING_get0_data(name->d.dNSName), '\n',
                   (size_t)ASN1_STRING_length(name->d.dNSName));
}

static bool take_names(struct sl_tls_certificate *certificate, const GENERAL_NAMES *names) {
    size_t bytes = 0;
    for (size_t i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        bytes += is_dns_name(name) ? (size_t)ASN1_STRING_length(name->d.dNSName) + 1 : 0;
    }
    certificate->names = malloc(bytes ? bytes : 1);
    for (size_t i = 0; certificate->names && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (!is_dns_name(name)) {
            continue;
        }
        const uint8_t *text = ASN1_STRING_get0_data(name->d.dNSName);
        for (int k = 0; k < ASN1_STRING_length(name->d.dNSName); k++) {
            certificate->names[certificate->names_len++] =
                (char)(text[k] >= 'A' && text[k] <= 'Z' ? text[k] | 0x20 : text[k]);
        }
        certificate->names[certificate->names_len++] = '\n';
    }
    return certificate->names != NULL;
}

void sl__tls_serial_text(char out[SL_TLS_SERIAL_TEXT_BYTES], const uint8_t *data, size_t len) {
    while (len > 1 && data[0] == 0) {
        data++;
        len--;
    }
    size_t n = sl_min_size(len, (SL_TLS_SERIAL_TEXT_BYTES - 1) / 2);
    out[0] = 0;
    for (size_t i = 0; i < n; i++) {
        snprintf(out + 2 * i, 3, "%02X", data[i]);
    }
}

static bool read_leaf(struct sl_tls_certificate *certificate, const X509 *x509) {
    GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    bool ok = !names || take_names(certificate, names);
    GENERAL_NAMES_free(names);
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x509);
    sl__tls_serial_text(certificate->serial, ASN1_STRING_get0_data(serial),
                        (size_t)ASN1_STRING_length(serial));
    ok = ok && ASN1_TIME_to_posix(X509_get0_notBefore(x509), &certificate->not_before) &&
         ASN1_TIME_to_posix(X509_get0_notAfter(x509), &certificate->not_after);
    ERR_clear_error(); // a subject alternative name that cannot be read is none
    return ok;
}

struct sl_span sl__tls_certificate_names(const struct sl_tls_certificate *certificate) {
    return (struct sl_span){(const uint8_t *)certificate->names, certificate->names_len};
}

int sl__tls_key_type(const struct sl_tls_certificate *certificate) { return certificate->key_type; }

int sl_tls_certificate_describe(const struct sl_tls_certificate *certificate, char *out,
                                size_t len) {
    int n = snprintf(out, len, "key %s\nnot_before %lld\nnot_after %lld\nserial %s\n",
                     certificate->key_text, (long long)certificate->not_before,
                     (long long)certificate->not_after, certificate->serial);
    size_t at = sl_min_size(n < 0 ? 0 : (size_t)n, len);
    const char *name = certificate->names, *end = name + certificate->names_len;
    while (name < end) {
        const char *newline = memchr(name, '\n', (size_t)(end - name));
        size_t line = (size_t)(newline - name) + 1;
        if (at + 4 + line > len) {
            break;
        }
        memcpy(out + at, "dns ", 4);
        memcpy(out + at + 4, name, line);
        at += 4 + line;
        name += line;
    }
    return (int)at;
}

// ---- the chain

static int chain_add(struct sl_tls_certificate *certificate, struct pem_block *block) {
    if (certificate->chain_count == CHAIN_MAX) {
        return sl_fail(SL_E_TLS_CONFIG, "cert holds more than %d certificates", CHAIN_MAX);
    }
    const uint8_t *der = block->data;
    X509 *x509 = d2i_X509(NULL, &der, block->len);
    bool whole = x509 && der == block->data + block->len &&
                 (certificate->chain_count > 0 || read_leaf(certificate, x509));
    X509_free(x509);
    if (!whole) {
        return sl_fail(SL_E_TLS_CONFIG, "certificate %u in cert is not a valid X.509 certificate",
                       certificate->chain_count + 1);
    }
    certificate->chain[certificate->chain_count] = block->data;
    certificate->chain_len[certificate->chain_count++] = (size_t)block->len;
    block->data = NULL;
    return SL_OK;
}

static int chain_read(struct sl_tls_certificate *certificate, struct sl_span pem) {
    BIO *bio = BIO_new_mem_buf(pem.data, (ossl_ssize_t)pem.len);
    if (!bio) {
        return sl_fail(SL_E_NO_MEMORY, "out of memory for the certificate");
    }
    struct pem_block block;
    int status = SL_OK, got;
    while (status == SL_OK && (got = pem_block_read(bio, &block)) != 0) {
        if (got < 0) {
            status = sl_fail(
                SL_E_TLS_CONFIG,
                "PEM block after certificate %u in cert is damaged (base64 or its END line)",
                certificate->chain_count);
        } else if (is_certificate(block.name)) {
            status = chain_add(certificate, &block);
        }
        pem_block_free(&block);
    }
    BIO_free(bio);
    if (status == SL_OK && certificate->chain_count == 0) {
        status = sl_fail(SL_E_TLS_CONFIG, "no PEM certificate found in cert (%zu bytes)%s", pem.len,
                         hint_of(pem, "PRIVATE KEY-----",
                                 ": it looks like DER (openssl x509 -inform DER -in FILE)"));
    }
    return status;
}

static EVP_PKEY *key_parse(const struct pem_block *block, int *out_status) {
    const uint8_t *der = block->data;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &der, block->len);
    if (!key) {
        ERR_clear_error();
        *out_status = sl_fail(SL_E_TLS_CONFIG,
                              "the key (PEM \"%s\") cannot be read: its type is not supported or "
                              "its bytes are damaged "
                              "(RSA, ECDSA P-256/P-384/P-521 and Ed25519 are)",
                              block->name);
    }
    return key;
}

static EVP_PKEY *key_from_block(const struct pem_block *block, int *out_status) {
    if (strcmp(block->name, "ENCRYPTED PRIVATE KEY") == 0 || strstr(block->header, "ENCRYPTED")) {
        *out_status = sl_fail(SL_E_TLS_CONFIG, "the key is encrypted: give it without a passphrase "
                                               "(openssl pkey -in FILE -out PLAIN)");
        return NULL;
    }
    return is_key(block->name) ? key_parse(block, out_status) : NULL;
}

// The first private key in `pem`; NULL with a status.
static EVP_PKEY *key_read(struct sl_span pem, int *out_status) {
    *out_status = SL_OK;
    BIO *bio = BIO_new_mem_buf(pem.data, (ossl_ssize_t)pem.len);
    if (!bio) {
        *out_status = sl_fail(SL_E_NO_MEMORY, "out of memory for the key");
        return NULL;
    }
    EVP_PKEY *key = NULL;
    struct pem_block block;
    int got;
    while (!key && *out_status == SL_OK && (got = pem_block_read(bio, &block)) != 0) {
        if (got < 0) {
            *out_status =
                sl_fail(SL_E_TLS_CONFIG, "a PEM block in key is damaged (base64 or its END line)");
        } else {
            key = key_from_block(&block, out_status);
        }
        pem_block_free(&block);
    }
    BIO_free(bio);
    if (!key && *out_status == SL_OK) {
        *out_status =
            sl_fail(SL_E_TLS_CONFIG, "no PEM private key found in key (%zu bytes)%s", pem.len,
                    hint_of(pem, "BEGIN CERTIFICATE-----",
                            ": it looks like DER (openssl pkey -inform DER -in FILE)"));
    }
    return key;
}

static EVP_PKEY *public_key_of(const struct sl_tls_certificate *certificate, unsigned i) {
    const uint8_t *der = certificate->chain[i];
    X509 *x509 = d2i_X509(NULL, &der, (long)certificate->chain_len[i]);
    EVP_PKEY *key = x509 ? X509_get_pubkey(x509) : NULL;
    X509_free(x509);
    ERR_clear_error();
    return key;
}

static bool key_matches(const struct sl_tls_certificate *certificate, unsigned i,
                        const EVP_PKEY *key) {
    EVP_PKEY *public_key = public_key_of(certificate, i);
    bool same = public_key && EVP_PKEY_cmp(public_key, key) == 1;
    EVP_PKEY_free(public_key);
    ERR_clear_error();
    return same;
}

static int mismatch(const struct sl_tls_certificate *certificate, const EVP_PKEY *key) {
    for (unsigned i = 1; i < certificate->chain_count; i++) {
        if (key_matches(certificate, i, key)) {
            return sl_fail(SL_E_TLS_CONFIG,
                           "the key matches certificate %u in cert, not the first: the server's "
                           "own must come first",
                           i + 1);
        }
    }
    char of_key[48], of_certificate[48] = "of an unsupported type";
    describe_key(key, of_key, sizeof(of_key));
    EVP_PKEY *public_key = public_key_of(certificate, 0);
    if (public_key) {
        describe_key(public_key, of_certificate, sizeof(of_certificate));
    }
    EVP_PKEY_free(public_key);
    return sl_fail(SL_E_TLS_CONFIG,
                   "the key does not match the certificate (certificate: %s, key: %s)",
                   of_certificate, of_key);
}

static int key_store(struct sl_tls_certificate *certificate, const EVP_PKEY *key) {
    CBB cbb;
    if (!CBB_init(&cbb, 1024) || !EVP_marshal_private_key(&cbb, key) ||
        !CBB_finish(&cbb, &certificate->key, &certificate->key_len)) {
        CBB_cleanup(&cbb);
        return sl_fail(SL_E_NO_MEMORY, "out of memory for the key");
    }
    return SL_OK;
}

// Whether TLS can sign with it, found out here rather than at the first handshake.
static int try_credential(const struct sl_tls_certificate *certificate) {
    const char *what = certificate->key_text;
    if (strcmp(what, "ECDSA P-224") == 0) { // parses, but TLS has no signature algorithm for it
        return sl_fail(SL_E_TLS_CONFIG, "TLS cannot use a key of the type ECDSA P-224: take P-256");
    }
    SSL_CREDENTIAL *credential = sl__tls_credential_new(certificate);
    if (!credential) {
        const char *reason = ERR_reason_error_string(sl__tls_error_take());
        return sl_fail(SL_E_TLS_CONFIG, "TLS cannot use this certificate and key (%s): %s", what,
                       reason ? reason : "unknown reason");
    }
    SSL_CREDENTIAL_free(credential);
    return SL_OK;
}

static int parse(struct sl_tls_certificate *certificate, struct sl_span cert_pem,
                 struct sl_span key_pem) {
    int status = chain_read(certificate, cert_pem);
    if (status != SL_OK) {
        return status;
    }
    EVP_PKEY *key = key_read(key_pem, &status);
    if (!key) {
        return status;
    }
    certificate->key_type = EVP_PKEY_id(key);
    describe_key(key, certificate->key_text, sizeof(certificate->key_text));
    status =
        key_matches(certificate, 0, key) ? key_store(certificate, key) : mismatch(certificate, key);
    if (status == SL_OK) {
        status = try_credential(certificate);
    }
    EVP_PKEY_free(key);
    return status;
}

int sl_tls_certificate_new(struct sl_tls_certificate **out_certificate, struct sl_span cert_pem,
                           struct sl_span key_pem) {
    *out_certificate = NULL;
    if (cert_pem.len > PEM_BYTES_MAX || key_pem.len > PEM_BYTES_MAX) {
        return sl_fail(SL_E_TLS_CONFIG, "%s is larger than 1 MiB",
                       cert_pem.len > PEM_BYTES_MAX ? "cert" : "key");
    }
    struct sl_tls_certificate *certificate = calloc(1, sizeof(*certificate));
    if (!certificate) {
        return sl_fail(SL_E_NO_MEMORY, "out of memory for a certificate");
    }
    atomic_init(&certificate->refs, 1);
    int status = parse(certificate, cert_pem, key_pem);
    ERR_clear_error();
    if (status != SL_OK) {
        sl_tls_certificate_free(certificate);
        return status;
    }
    *out_certificate = certificate;
    return SL_OK;
}

int sl_tls_certificate_staple(struct sl_tls_certificate *certificate, struct sl_span response) {
    uint8_t *copy = OPENSSL_memdup(response.data, response.len);
    if (!copy && response.len > 0) {
        return sl_fail(SL_E_NO_MEMORY, "out of memory for an OCSP response");
    }
    OPENSSL_free(certificate->staple);
    certificate->staple = copy;
    certificate->staple_len = response.len;
    return SL_OK;
}

// As BoringSSL writes it (RFC 8446, 4.4.2): an empty context, and of each certificate its bytes and extensions, of which we have the leaf's staple alone.
static bool write_message(const struct sl_tls_certificate *certificate, bool stapled, CBB *out) {
    CBB list, entry, extensions, staple, response;
    bool ok = CBB_add_u8(out, 0) && CBB_add_u24_length_prefixed(out, &list);
    for (unsigned i = 0; i < certificate->chain_count && ok; i++) {
        ok = CBB_add_u24_length_prefixed(&list, &entry) &&
             CBB_add_bytes(&entry, certificate->chain[i], certificate->chain_len[i]) &&
             CBB_add_u16_length_prefixed(&list, &extensions);
        if (ok && i == 0 && stapled) {
            ok = CBB_add_u16(&extensions, TLSEXT_TYPE_status_request) &&
                 CBB_add_u16_length_prefixed(&extensions, &staple) &&
                 CBB_add_u8(&staple, TLSEXT_STATUSTYPE_ocsp) &&
                 CBB_add_u24_length_prefixed(&staple, &response) &&
                 CBB_add_bytes(&response, certificate->staple, certificate->staple_len);
        }
    }
    return ok && CBB_flush(out);
}

static bool compress_message(const struct sl_tls_certificate *certificate, bool stapled) {
    CBB cbb;
    bool ok = CBB_init(&cbb, 4096) && write_message(certificate, stapled, &cbb) &&
              sl__tls_compressed_add(certificate->compressed, CBB_data(&cbb), CBB_len(&cbb));
    CBB_cleanup(&cbb);
    return ok;
}

int sl_tls_certificate_compress(struct sl_tls_certificate *certificate) {
    SL_ASSERT(!certificate->compressed);
    certificate->compressed = sl__tls_compressed_new();
    bool ok = certificate->compressed && compress_message(certificate, false) &&
              (certificate->staple_len == 0 || compress_message(certificate, true));
    return ok ? SL_OK
              : sl_fail(SL_E_NO_MEMORY, "out of memory for a compressed form of a certificate");
}

const struct sl_tls_compressed *
sl__tls_certificate_compressed(const struct sl_tls_certificate *certificate) {
    return certificate->compressed;
}

void sl__tls_certificate_ref(const struct sl_tls_certificate *certificate) {
    atomic_fetch_add_explicit(&((struct sl_tls_certificate *)certificate)->refs, 1,
                              memory_order_relaxed);
}

void sl_tls_certificate_free(struct sl_tls_certificate *certificate) {
    if (!certificate ||
        atomic_fetch_sub_explicit(&certificate->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; i < certificate->chain_count; i++) {
        OPENSSL_free(certificate->chain[i]);
    }
    OPENSSL_free(certificate->key);
    OPENSSL_free(certificate->staple);
    sl__tls_compressed_free(certificate->compressed);
    free(certificate->names);
    free(certificate);
}

static bool credential_set_chain(SSL_CREDENTIAL *credential,
                                 const struct sl_tls_certificate *certificate) {
    CRYPTO_BUFFER *buffers[CHAIN_MAX] = {0};
    bool ok = true;
    for (unsigned i = 0; i < certificate->chain_count; i++) {
        buffers[i] = CRYPTO_BUFFER_new(certificate->chain[i], certificate->chain_len[i], NULL);
        ok = ok && buffers[i];
    }
    ok = ok && SSL_CREDENTIAL_set1_cert_chain(credential, buffers, certificate->chain_count);
    for (unsigned i = 0; i < certificate->chain_count; i++) {
        CRYPTO_BUFFER_free(buffers[i]);
    }
    return ok;
}

static bool credential_set_staple(SSL_CREDENTIAL *credential,
                                  const struct sl_tls_certificate *certificate) {
    if (certificate->staple_len == 0) {
        return true;
    }
    CRYPTO_BUFFER *staple = CRYPTO_BUFFER_new(certificate->staple, certificate->staple_len, NULL);
    bool ok = staple && SSL_CREDENTIAL_set1_ocsp_response(credential, staple);
    CRYPTO_BUFFER_free(staple);
    return ok;
}

SSL_CREDENTIAL *sl__tls_credential_new(const struct sl_tls_certificate *certificate) {
    CBS cbs;
    CBS_init(&cbs, certificate->key, certificate->key_len);
    SSL_CREDENTIAL *credential = SSL_CREDENTIAL_new_x509();
    EVP_PKEY *key = EVP_parse_private_key(&cbs);
    bool ok = credential && key && credential_set_chain(credential, certificate) &&
              credential_set_staple(credential, certificate) &&
              SSL_CREDENTIAL_set1_private_key(credential, key) &&
              sl__tls_compression_attach(credential, certificate);
    EVP_PKEY_free(key); // the credential holds its own reference
    if (!ok) {
        SSL_CREDENTIAL_free(credential);
        return NULL;
    }
    return credential;
}

uint32_t sl__tls_error_take(void) {
    uint32_t first = 0, error;
    while ((error = ERR_get_error()) != 0) {
        if (first == 0 ||
            (ERR_GET_LIB(first) != ERR_LIB_SSL && ERR_GET_LIB(error) == ERR_LIB_SSL)) {
            first = error;
        }
    }
    return first;
}

// ---- the local certificate ----

static bool add_extension(X509 *x509, int nid, int critical, const char *value) {
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, nid, value);
    bool ok = extension && X509_EXTENSION_set_critical(extension, critical) &&
              X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
    return ok;
}

static bool set_serial(X509 *x509) {
    uint8_t bytes[16];
    RAND_bytes(bytes, sizeof(bytes));
    bytes[0] = (bytes[0] & 0x7f) | 0x40; // positive, and never short
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509));
    BN_free(number);
    return ok;
}

static bool set_names(X509 *x509) {
    X509_NAME *name = X509_get_subject_name(x509);
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
                                      (const uint8_t *)"Sluice local certificate", -1, -1, 0) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"localhost", -1,
                                      -1, 0) &&
           X509_set_issuer_name(x509, name);
}

static bool set_times(X509 *x509, int64_t unix_s) {
    return ASN1_TIME_set_posix(X509_getm_notBefore(x509), unix_s - 3600) &&
           ASN1_TIME_set_posix(X509_getm_notAfter(x509), unix_s + 365 * 86400ll);
}

// Not a CA: who trusts this certificate trusts these three names and nothing that its key might sign. (rustls refuses a CA as a server,
// too.) No keyUsage: BoringSSL takes a certificate as its own issuer only if that were absent or allowed to sign certificates.
static bool set_extensions(X509 *x509) {
    return add_extension(x509, NID_basic_constraints, 1, "CA:FALSE") &&
           add_extension(x509, NID_ext_key_usage, 0, "serverAuth") &&
           add_extension(x509, NID_subject_alt_name, 0, "DNS:localhost,IP:127.0.0.1,IP:::1");
}

static X509 *self_signed(EVP_PKEY *key, int64_t unix_s) {
    X509 *x509 = X509_new();
    if (x509 && X509_set_version(x509, X509_VERSION_3) && set_serial(x509) && set_names(x509) &&
        set_times(x509, unix_s) && X509_set_pubkey(x509, key) && set_extensions(x509) &&
        X509_sign(x509, key, EVP_sha256())) {
        return x509;
    }
    X509_free(x509);
    return NULL;
}

static EVP_PKEY *p256_key(void) {
    EVP_PKEY *key = EVP_PKEY_new();
    EC_KEY *ec_key = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    bool ok = key && ec_key && EC_KEY_generate_key(ec_key) && EVP_PKEY_set1_EC_KEY(key, ec_key);
    EC_KEY_free(ec_key);
    if (!ok) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

// u32 length of the certificate's PEM, that PEM, the key's PEM.
static int write_pems(X509 *x509, EVP_PKEY *key, uint8_t *out, size_t len) {
    int status = SL_E_NO_MEMORY;
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    const uint8_t *cert, *key_pem;
    size_t cert_len, key_len;
    if (cert_bio && key_bio && PEM_write_bio_X509(cert_bio, x509) &&
        PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) &&
        BIO_mem_contents(cert_bio, &cert, &cert_len) &&
        BIO_mem_contents(key_bio, &key_pem, &key_len)) {
        uint32_t prefix = (uint32_t)cert_len;
        if (sizeof(prefix) + cert_len + key_len > len) {
            status = sl_fail(SL_E_INVALID, "the certificate needs %zu bytes, %zu are given",
                             sizeof(prefix) + cert_len + key_len, len);
        } else {
            memcpy(out, &prefix, sizeof(prefix));
            memcpy(out + sizeof(prefix), cert, cert_len);
            memcpy(out + sizeof(prefix) + cert_len, key_pem, key_len);
            status = (int)(sizeof(prefix) + cert_len + key_len);
        }
    }
    BIO_free(cert_bio);
    BIO_free(key_bio);
    return status;
}

int sl_tls_certificate_make(uint8_t *out, size_t len, int64_t unix_s) {
    EVP_PKEY *key = p256_key();
    X509 *x509 = key ? self_signed(key, unix_s) : NULL;
    int status = x509 ? write_pems(x509, key, out, len) : SL_E_NO_MEMORY;
    if (status == SL_E_NO_MEMORY) {
        sl_fail(status, "out of memory for the local certificate");
    }
    X509_free(x509);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return status;
}
