// Client certificates: whose are taken, and what is kept of one that was (docs/internals/tls.md). The part of tls.h's client auth that the engine sees.
// Nothing here is asked for unless a row has a client_auth. tls layer.
#ifndef SL_CLIENT_AUTH_H
#define SL_CLIENT_AUTH_H

#include "tls_boringssl.h"

#define SL_CLIENT_CHAIN_MAX 8u         // certificates that a client may send, its own included; BoringSSL bounds their bytes: 16 KiB
#define SL_CLIENT_TEXT_BYTES_MAX 2048u // a certificate whose names take more is refused: half an identity is none

// A row's CAs as one worker uses them: a store shared by workers would mean its lock in every handshake.
struct sl_client_auth {
    X509_STORE *store; // NULL: this row asks for no certificate
    STACK_OF(CRYPTO_BUFFER) *names; // of the CAs, as CertificateRequest has them
};
bool sl__client_auth_init(struct sl_client_auth *auth, const struct sl_tls_cas *cas);
void sl__client_auth_deinit(struct sl_client_auth *auth);
// The connection asks for a certificate, and `verify` judges what comes; it may call sl__client_verify.
bool sl__client_auth_ask(const struct sl_client_auth *auth, SSL *ssl, uint8_t mode,
                         enum ssl_verify_result_t (*verify)(SSL *ssl, uint8_t *out_alert));
const uint8_t *sl__tls_cas_digest(const struct sl_tls_cas *cas); // SL_TLS_TENANT_BYTES, of all of them in their order

// Judges the peer's chain at a time. SL_CLIENT_OK: *out_client is the caller's, to free().
enum sl_client_verdict { SL_CLIENT_OK, SL_CLIENT_UNKNOWN_CA, SL_CLIENT_EXPIRED, SL_CLIENT_REFUSED };
enum sl_client_verdict sl__client_verify(const struct sl_client_auth *auth, const SSL *ssl, int64_t unix_s, struct sl_tls_client **out_client,
                                         uint8_t *out_alert, const char **out_why); // why: a constant

// As bytes, for tickets.
size_t sl__client_bytes(const struct sl_tls_client *client); // 0: NULL
void sl__client_write(const struct sl_tls_client *client, uint8_t *out);
struct sl_tls_client *sl__client_read(const uint8_t *bytes, size_t len); // NULL: it is none, or out of memory

#endif
