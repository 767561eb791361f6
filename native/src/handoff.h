// Accepted sockets that other workers leave to this one: a bounded queue, any number of givers, one taker, no lock. base layer.
//
// A giver takes a place by a compare-and-swap on `tail`, fills it, and marks it full; the taker takes them in order. Closing sets a bit in `tail`:
// from then on nobody gets a place, and what has one is still taken. So a socket is given to somebody who will take it, or not at all.
#ifndef SL_HANDOFF_H
#define SL_HANDOFF_H

#include <stdatomic.h>

#include "base.h"

#define SL_HANDOFF_PLACES 64u // a power of two

struct sl_handoff_item {
    int fd;
    uint32_t listener; // the number of its listener, the same for every worker
};

struct sl_handoff {
    _Alignas(128) _Atomic uint64_t tail; // places given so far, and CLOSED; written by givers
    _Alignas(128) _Atomic uint64_t head; // places taken so far; written by the taker
    struct sl_handoff_place {
        _Alignas(128) _Atomic uint64_t turn; // 2 * round: free for that round; + 1: full
        struct sl_handoff_item item;
    } places[SL_HANDOFF_PLACES];
};

void sl_handoff_init(struct sl_handoff *handoff);  // closed
void sl_handoff_open(struct sl_handoff *handoff);  // the taker's thread
void sl_handoff_close(struct sl_handoff *handoff); // the taker's thread; then take until there is nothing
// Any thread. False: full, or closed; the socket stays the giver's. After true the taker must be woken.
bool sl_handoff_give(struct sl_handoff *handoff, struct sl_handoff_item item);
// The taker's thread. False: nothing is there. Once it is closed this waits (microseconds) for a giver that has a place and is filling it.
bool sl_handoff_take(struct sl_handoff *handoff, struct sl_handoff_item *out_item);
uint32_t sl_handoff_count(const struct sl_handoff *handoff); // any thread; about so many

#endif
