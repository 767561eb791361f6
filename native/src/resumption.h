// A gateway's part of TLS policy: the rows of its certificates, the ring of session ticket keys, and who turns it. proxy layer.
#ifndef SL_RESUMPTION_H
#define SL_RESUMPTION_H

#include "gateway.h"

int sl__gateway_resumption(struct sl_gateway *gateway, uint32_t set, uint32_t index, struct sl_span row);
int sl__gateway_handshake(struct sl_gateway *gateway, uint32_t set, uint32_t index, struct sl_span row);
int sl__gateway_client_auth(struct sl_gateway *gateway, uint32_t set, uint32_t index, uint32_t mode, struct sl_span pem);
int sl__gateway_steks(struct sl_gateway *gateway, struct sl_span keys);

// Before the workers: what they share, and the first keys if we make them.
int sl__resumption_start(struct sl_gateway *gateway);
void sl__resumption_free(struct sl_gateway *gateway); // after them
void sl__resumption_describe(struct sl_gateway *gateway, struct sl_counters *out);

// Of one worker: its contexts. The first worker also turns the ring and clears the single-use set.
int sl__resumption_open(struct sl_worker *worker);
void sl__resumption_turn(struct sl_worker *worker); // each turn, after the clock was read

#endif
