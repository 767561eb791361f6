// BoringSSL's headers, for the tls layer alone. It promises neither API nor ABI: what we compile against is what we read and tested.
#ifndef SL_TLS_BORINGSSL_H
#define SL_TLS_BORINGSSL_H

#include <openssl/base.h>
#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/ssl.h>

_Static_assert(BORINGSSL_API_VERSION == 44,
               "read the changes of the new BoringSSL, then move this number");

#include "tls.h"

// The certificate as what one context signs with. Parsed anew from bytes at each call, so that nothing in it (keys, buffers, their
// reference counts and locks) is shared between workers. NULL: out of memory. Free with SSL_CREDENTIAL_free.
SSL_CREDENTIAL *sl__tls_credential_new(const struct sl_tls_certificate *certificate);
int sl__tls_key_type(const struct sl_tls_certificate *certificate); // EVP_PKEY_EC, _ED25519 or _RSA

// A serial number as "0A1B": as many of its bytes as fit, the first of them not 0.
#define SL_TLS_SERIAL_TEXT_BYTES 65u
void sl__tls_serial_text(char out[SL_TLS_SERIAL_TEXT_BYTES], const uint8_t *data, size_t len);

// The reason of the oldest error of the TLS layer in this thread's queue (or of any, if it has none), packed as BoringSSL packs it; 0: the
// queue is empty. Empties the queue.
uint32_t sl__tls_error_take(void);

#endif
