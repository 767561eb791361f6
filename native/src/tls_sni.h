// Which of a listener's certificates answers which server name: the part of tls.h's sl_tls_sni that the engine sees. tls layer; no BoringSSL.
#ifndef SL_TLS_SNI_H
#define SL_TLS_SNI_H

#include "tls.h"

#define SL_TLS_NAME_BYTES_MAX 253

const struct sl_tls_certificate *sl__tls_sni_certificate(const struct sl_tls_sni *sni, unsigned i);

// A bit for each certificate. One of them is not 0, if the listener has a certificate.
struct sl_tls_choice {
    uint64_t exact, wildcard; // those with the very name come before those with a wildcard for it
};
// name: as the client sent it, any bytes; len 0: none.
struct sl_tls_choice sl__tls_sni_find(const struct sl_tls_sni *sni, const uint8_t *name, size_t len);

// False: no certificate has the name, so the choice is the default's.
bool sl__tls_sni_has(const struct sl_tls_sni *sni, const uint8_t *name, size_t len);

void sl__tls_certificate_ref(const struct sl_tls_certificate *certificate);
// DNS names of the leaf, in lower case, one a line.
struct sl_span sl__tls_certificate_names(const struct sl_tls_certificate *certificate);

// Its names in alphabetical order, of each the row (as sl_tls_sni_row says it; SL_TLS_CERTIFICATES_MAX: none). False: there is no such number.
bool sl__tls_sni_name(const struct sl_tls_sni *sni, size_t i, struct sl_span *out_name, uint8_t *out_row);

#endif
