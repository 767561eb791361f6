// Session tickets: their format, and who may open one (docs/internals/tls.md). BoringSSL asks through a table of callbacks; this file answers. The
// part of tls.h that tls.c and ticket.c share. tls layer.
//
//   ver1 | keyid4 | node2 | epoch2 | id16 | AEAD(session, bits8; authenticated with the 25 bytes before)
//
// `node` is random for each process: one that was restarted is a stranger to its old tickets, and strangers resume without early data.
#ifndef SL_TICKET_H
#define SL_TICKET_H

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
    uint8_t made;                       // tickets
    bool early_offered;                 // the ClientHello has the extension
    bool early_refused;                 // and we said no, though its ticket was good
    bool taken;                         // an id was asked for, on this connection: the same answer again
    uint8_t taken_id[SL_TICKET_ID_BYTES];
};

extern const SSL_TICKET_AEAD_METHOD sl__ticket_method;

#endif
