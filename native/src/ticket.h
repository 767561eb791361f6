// Session tickets: their format, and who may open one (docs/internals/tls.md). BoringSSL asks through a table of callbacks; this file answers. The
// part of tls.h that tls.c and ticket.c share. tls layer.
//
//   ver1 | keyid4 | node2 | epoch2 | id16 | AEAD(session, client, bits8; authenticated with the 25 bytes before)
//
// `client` is what is told of a client's certificate (client_auth.h), which the session has only a digest of; empty without one.
// `node` is random for each process: one that was restarted is a stranger to its old tickets, and strangers resume without early data.
#ifndef SL_TICKET_H
#define SL_TICKET_H

#include "client_auth.h"
#include "stek.h"
#include "ticket_set.h"
#include "ticket_vault.h"
#include "tls_boringssl.h"

// Of one context, so of one worker.
struct sl_ticket_ctx {
    const struct sl_tickets *shared; // NULL: no tickets
    struct sl_stek_ring *ring;       // NULL until it is given one: no tickets
    uint64_t now_ns;                 // of the clock that shared was made with
    int64_t unix_ms;
    struct sl_counters *counters;
};

// Of one connection; what SSL_get_app_data gives.
struct sl_ticket_conn {
    struct sl_ticket_ctx *ctx;
    const struct sl_tls_policy *policy; // of the server name's row, once that is known
    struct sl_tls_client *shown;        // the certificate that the client has shown on this connection, or NULL
    struct sl_tls_client *told;         // what the ticket that was opened last tells of one, or NULL
    uint8_t made;                       // tickets
    bool early_offered;                 // the ClientHello has the extension
    bool early_refused;                 // and we said no, though its ticket was good
    bool taken;                         // an id was asked for, on this connection: the same answer again
    uint8_t taken_id[SL_TICKET_ID_BYTES];
};

// Of the session as it is, or is becoming: a ticket that was opened may still not have been taken. NULL: no certificate.
const struct sl_tls_client *sl__ticket_client(const SSL *ssl);

extern const SSL_TICKET_AEAD_METHOD sl__ticket_method;

#endif
