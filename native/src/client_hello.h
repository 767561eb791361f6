// A ClientHello whose row TypeScript chooses (onClientHello): an exchange with a connection and no request. proxy layer.
//
// A connection of a listener with sl_gateway_client_hello asks once, inside sl_tls_read, and then its handshake is parked (tls.h: sl_tls_asks) with
// conn->hello set, until the first of: a verdict, its deadline, its end, or that of the isolate. After each of those conn->hello is NULL; what TypeScript
// still says is dropped and counted, and its slot comes back with FINAL, as that of a request.
//
// Nobody pays for it with a request's slot: clients that have shown nothing yet may have a quarter of them.
#ifndef SL_CLIENT_HELLO_H
#define SL_CLIENT_HELLO_H

#include "exchange.h"

bool sl_hello_ask(void *conn, const struct sl_tls_hello *hello); // a sl_tls_ask_fn. False, and counted: nobody can be asked, or too many are
void sl_hello_overdue(struct sl_conn *conn);                     // the deadline: its server name chooses
void sl_hello_leave(struct sl_conn *conn, int reason);           // the connection ends

// For exchange.c.
void sl__hello_verdict(struct sl_exchange *exchange, const struct sl_verdict *verdict);
void sl__hello_gone(struct sl_exchange *exchange); // its isolate has ended

#endif
