// Certificates and keys of CAs and of clients, made while a test runs.
#ifndef SL_TEST_IDENTITY_H
#define SL_TEST_IDENTITY_H

#include <time.h>

#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/x509.h>

#include "base.h"

#define HOUR 3600

struct identity {
    X509 *x509;
    EVP_PKEY *key;
};

static EVP_PKEY *ec_key_new(void) {
    EVP_PKEY *key = EVP_PKEY_new();
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    SL_ASSERT(key && ec && EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(key, ec));
    return key;
}

static void add_extension(X509 *x509, int nid, const char *value) {
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, nid, value);
    SL_ASSERT(extension && X509_add_ext(x509, extension, -1));
    X509_EXTENSION_free(extension);
}

struct spec {
    const char *name;    // common name
    bool ca;
    int from_s, until_s; // from now; until_s 0: an hour
    const char *usage;   // NULL: clientAuth, but for a CA
    const char *sans;    // as openssl.cnf writes them
};

static struct identity issue(const struct identity *issuer, struct spec spec) {
    static uint64_t serial;
    struct identity identity = {X509_new(), ec_key_new()};
    X509 *x509 = identity.x509;
    X509_NAME *name = X509_get_subject_name(x509);
    int64_t now_s = time(NULL);
    SL_ASSERT(X509_set_version(x509, X509_VERSION_3) && ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), ++serial) &&
              X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const uint8_t *)"Örg", -1, -1, 0) &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)spec.name, -1, -1, 0) &&
              X509_set_issuer_name(x509, issuer ? X509_get_subject_name(issuer->x509) : name) &&
              ASN1_TIME_set_posix(X509_getm_notBefore(x509), now_s + (spec.from_s ? spec.from_s : -HOUR)) &&
              ASN1_TIME_set_posix(X509_getm_notAfter(x509), now_s + (spec.until_s ? spec.until_s : HOUR)) &&
              X509_set_pubkey(x509, identity.key));
    add_extension(x509, NID_basic_constraints, spec.ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (spec.usage || !spec.ca) {
        add_extension(x509, NID_ext_key_usage, spec.usage ? spec.usage : "clientAuth");
    }
    if (spec.sans) {
        add_extension(x509, NID_subject_alt_name, spec.sans);
    }
    SL_ASSERT(X509_sign(x509, issuer ? issuer->key : identity.key, EVP_sha256()));
    return identity;
}

static void identity_free(struct identity identity) {
    X509_free(identity.x509);
    EVP_PKEY_free(identity.key);
}

#endif
