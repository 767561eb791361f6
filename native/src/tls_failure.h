// A TLS handshake that failed: counted by its reason, and a line of the access log. proxy layer.
#ifndef SL_TLS_FAILURE_H
#define SL_TLS_FAILURE_H

#include "conn.h"
#include "sluice/tls_reason.h"

// Lines of one worker in one second; what fails beyond is counted alone (tls_failures_unlogged), so that a scan fills no disk. Who leaves without a byte,
// as health checks by TCP do, is never logged.
#define SL_TLS_FAILURES_LOGGED_PER_S 10u

// Once for a connection, before its handshake was done. status: SL_E_TLS_HANDSHAKE or SL_E_HEAD_TIMEOUT.
void sl__tls_failed(struct sl_conn *conn, int status);

#endif
