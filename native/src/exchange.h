// Requests that TypeScript answers: the C side of the rings (include/sluice/ring.h). proxy layer.
//
// An exchange is one slot's C half. FREE -> LENT (a REQUEST event was written) -> FREE, when TypeScript gave FINAL and the last bytes of
// its tx area have left. `req` is NULL once the request is gone: what TypeScript still says is then counted and dropped. An exchange may carry a
// ClientHello in a request's place (client_hello.h): then `hello` is its connection.
//
// A chain in TypeScript may end with a proxy step (SL_VERDICT_PROXY). Then an upstream works for the request, and TypeScript has the last word:
//
//   PROXY --> [line, connection, request] --head of the answer--> ANSWER; the upstream is *held*: nothing of the body is read
//   held  --FORWARD------> the body goes from the upstream's queue to the client's; the slot is free
//                        (behind a 101: both ways, as a tunnel; nobody else can have it)
//         --BODY_WANTED--> it comes here in parts, one at a time (*to_ring*), while or before TypeScript RESPONDs
//         --RESPOND------> nobody wants it: the upstream's connection closes
//   PROXY_FAILED at any time before FORWARD: TypeScript makes the answer, or breaks the one that it makes of the body.
#ifndef SL_EXCHANGE_H
#define SL_EXCHANGE_H

#include "conn.h"

struct sl_exchange {
    struct sl_seg_owner tx; // the tx area is being sent
    struct sl_ring *ring;
    struct sl_request *req;
    struct sl_conn *hello; // waits for its row
    uint64_t due_ns;       // of that
    struct sl_exchange *next_free;
    uint32_t slot, gen;
    uint32_t event; // counter of its REQUEST event
    bool lent, final, tx_busy, rx_busy, responded, ended, not_found, aborted;
    bool is_hello;     // of a ClientHello, whether it still waits or not
    bool writable_due; // a WRITABLE event waits until the client's queue has drained
    bool proxied;      // an upstream got the request
    bool upgradable;   // as the client sent it: 101 may be the answer
    bool answered;     // and TypeScript knows what it said, or that it failed:
    int failure;       // SL_OK or why
};

// One life of an isolate, as one worker sees it: an isolate that is started again brings another region, and so another ring. The old one lives
// on until what it sends has left. Written by its worker alone; on cache lines of its own.
struct sl_ring {
    _Alignas(128) struct sl_worker *worker;
    struct sl_ring *next_old; // in the worker's list of rings that were replaced
    uint32_t isolate;
    uint32_t life; // from 1: which region of (worker, isolate) this is
    uint32_t slots, entries;
    uint8_t *region, *theirs; // the same pages, as C and as TypeScript maps them
    struct sl_event *events;
    const struct sl_verdict *verdicts;
    uint8_t *slot_memory;
    struct sl_exchange *exchanges;
    struct sl_exchange *free;
    uint32_t event_tail, event_published, verdict_head;
    uint32_t lent;
    bool gone; // the isolate has ended
};

int sl_ring_new(struct sl_ring **out_ring, uint32_t slots, uint8_t *region, size_t len);
void sl_ring_free(struct sl_ring *ring); // nothing of it may be on its way to a client
// Reads all verdicts; returns how many.
uint32_t sl_ring_read(struct sl_ring *ring);
// Publishes the turn's events; wakes the isolate if it sleeps.
void sl_ring_publish(struct sl_ring *ring);
// Before the loop waits: true if it may (no verdict is there); after it: sl_ring_wake_up.
bool sl_ring_sleep(struct sl_ring *ring);
void sl_ring_wake_up(struct sl_ring *ring);
// The isolate has ended: hand over or fail its requests, take back its slots. The ring is none of the worker's rings any more.
void sl_ring_gone(struct sl_ring *ring);

void sl_exchange_start(struct sl_request *req, bool not_found);
void sl_exchange_pump(struct sl_exchange *exchange); // more of the request's body may be there
void sl_exchange_writable(struct sl_exchange *exchange); // the client's queue has drained
void sl_exchange_drain(struct sl_exchange *exchange); // the worker drains: an upgraded one is told
void sl_exchange_abort(struct sl_exchange *exchange, int reason, bool detach);

// For an upstream that works for a proxied exchange.
bool sl_exchange_may_upgrade(const struct sl_exchange *exchange); // as the client sent it, whatever middleware makes of it
bool sl_exchange_awaits(const struct sl_exchange *exchange); // TypeScript waits for the upstream, not we for TypeScript
void sl_exchange_answer(struct sl_exchange *exchange, struct sl_forward_response *forward, bool bodiless);
// Where the next part of the answer's body goes, SL_SLOT_RX_BYTES; NULL while TypeScript has not taken the last one.
uint8_t *sl_exchange_rx(struct sl_exchange *exchange);
void sl_exchange_answer_part(struct sl_exchange *exchange, uint32_t len, bool last);
void sl_exchange_proxy_failed(struct sl_exchange *exchange, int status);

// For client_hello.c. Take: of a ring that sl__ring_choose gave; req NULL: for a ClientHello.
struct sl_ring *sl__ring_choose(struct sl_worker *worker, const struct sl_plan *plan, bool *out_any_alive);
struct sl_exchange *sl__exchange_take(struct sl_ring *ring, struct sl_request *req);
void sl__exchange_free(struct sl_exchange *exchange);
struct sl_event *sl__exchange_event(struct sl_exchange *exchange, uint8_t kind); // NULL: TypeScript broke the contract
uint8_t *sl__exchange_slot(const struct sl_exchange *exchange);

#endif
