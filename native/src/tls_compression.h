// Certificates compressed for clients of TLS 1.3 that offer it (RFC 8879): brotli (Chromium, Firefox) before zlib (Safari, GnuTLS). BoringSSL keeps no
// result and asks in each handshake, so what may be asked for is compressed when a certificate comes into a table, once for all workers, at the best
// quality: some milliseconds each. A handshake compares and copies. The Certificate message is of public bytes alone, so its size tells nobody
// anything; nothing else is ever compressed, and nothing is decompressed.
#ifndef SL_TLS_COMPRESSION_H
#define SL_TLS_COMPRESSION_H

#include "tls_boringssl.h"

enum sl_tls_compression { SL_COMPRESSION_BROTLI, SL_COMPRESSION_ZLIB, SL_COMPRESSIONS };

// Certificate messages, each with its compressed forms. Immutable once a credential has it: read by all workers without a lock.
struct sl_tls_compressed;
struct sl_tls_compressed *sl__tls_compressed_new(void);                                      // or NULL
bool sl__tls_compressed_add(struct sl_tls_compressed *compressed, const uint8_t *message, size_t len); // at most two. False: out of memory
void sl__tls_compressed_free(struct sl_tls_compressed *compressed);
// {NULL, 0}: it has no such message. `compressed` may be NULL.
struct sl_span sl__tls_compressed_find(const struct sl_tls_compressed *compressed, enum sl_tls_compression how, const uint8_t *message,
                                       size_t len);

// Makes contexts offer it. False: out of memory.
bool sl__tls_compression_enable(SSL_CTX *ssl_ctx);
// Where a handshake with this credential finds its certificate's, by which the credential holds a reference to it. False: out of memory.
bool sl__tls_compression_attach(SSL_CREDENTIAL *credential, const struct sl_tls_certificate *certificate);
const struct sl_tls_compressed *sl__tls_certificate_compressed(const struct sl_tls_certificate *certificate);

#endif
