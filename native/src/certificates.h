// A gateway's certificates, from its listeners' configuration on to what each worker shows its clients; replaced while it runs. proxy layer.
//
// A set (tls.h: sl_tls_sni) is immutable. Replacing one of its certificates makes another set and publishes it as plans are: a version that workers
// look at in each turn, and a reference count. A handshake under way goes on with the key and chain that it has chosen. The CAs of clients'
// certificates are replaced beside it (resumption.h): those hold in a handshake under way, too.
#ifndef SL_CERTIFICATES_H
#define SL_CERTIFICATES_H

#include "gateway.h"

int sl__gateway_certificate(struct sl_gateway *gateway, uint32_t set, struct sl_span cert, struct sl_span key, struct sl_span names);
int sl__gateway_certificate_replace(struct sl_gateway *gateway, uint32_t set, uint32_t index, struct sl_span cert, struct sl_span key,
                                    struct sl_span ocsp);
int sl__certificate_describe(struct sl_span cert, struct sl_span key, char *out, size_t len);
void sl__certificates_free(struct sl_gateway *gateway); // after the workers

void sl__certificates_changed(struct sl_gateway *gateway); // workers look at sets and CAs in their next turn
void sl__certificates_turn(struct sl_worker *worker); // each turn

#endif
