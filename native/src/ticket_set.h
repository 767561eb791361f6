// The single-use set of resumption mode `once`: which tickets may still bring early data. A ticket's early data is accepted by whoever *takes* its
// id, and an id can be taken once; a miss means "no early data", never more (docs/internals/tls.md), so losing entries (restart, a full
// bucket) is always safe. One set per process, for all workers; lock-free, no allocation after sl_ticket_set_new.
//
// Time is cut into epochs of a sixteenth of the window. Each epoch has a table of its own, so that what is too old goes all at once: no
// entry has an expiry, a link or a place in a list. A table is buckets of one cache line, eight words each; an entry is one word, 64 of the
// id's 128 random bits, and other bits of it choose the bucket. Inserting is one compare-and-swap of 0 to the word, taking one of the word to 0:
// that one word decides. tls layer; time is an argument.
#ifndef SL_TICKET_SET_H
#define SL_TICKET_SET_H

#include "base.h"

#define SL_TICKET_ID_BYTES 16u
#define SL_TICKET_EPOCHS 16u // in a window

struct sl_ticket_set;

// `bytes_max`: memory for all tables, at least SL_TICKET_SET_BYTES_MIN; rounded down to a power of two of buckets per table. `window_ns`: how long
// after its issue a ticket's early data can be taken (up to a sixteenth more). `now_ns`: any clock that only goes forward. E_NO_MEMORY.
#define SL_TICKET_SET_BYTES_MIN 65536u
int sl_ticket_set_new(struct sl_ticket_set **out_set, uint64_t bytes_max, uint64_t window_ns,
                      uint64_t now_ns);
void sl_ticket_set_free(struct sl_ticket_set *set);

// Puts a fresh random id in. The epoch goes into the ticket, authenticated. False: no room, or the epoch's table is not ready: the ticket must not
// promise early data. Any thread.
bool sl_ticket_set_insert(struct sl_ticket_set *set, uint64_t now_ns,
                          const uint8_t id[SL_TICKET_ID_BYTES], uint16_t *out_epoch);

enum sl_ticket_take {
    SL_TICKET_WON,     // once per insert
    SL_TICKET_LOST,    // taken before, or never put in
    SL_TICKET_EXPIRED, // the window is over
};
// `id` and `epoch` come from a ticket whose tag was verified. Any thread.
enum sl_ticket_take sl_ticket_set_take(struct sl_ticket_set *set, uint64_t now_ns,
                                       const uint8_t id[SL_TICKET_ID_BYTES], uint16_t epoch);

// Clears the next epoch's table, piece by piece. One thread, at least SL_TICKET_TENDS times in an epoch (sl_ticket_set_tend_ns apart); if it is
// late, inserts fail until it has caught up.
#define SL_TICKET_TENDS 32u
void sl_ticket_set_tend(struct sl_ticket_set *set, uint64_t now_ns);
uint64_t sl_ticket_set_tend_ns(const struct sl_ticket_set *set);

struct sl_ticket_set_facts {
    uint64_t bytes, capacity; // capacity: entries of all live tables
    uint64_t entries;         // that can still be taken
    uint64_t horizon_ns;      // the age of the oldest ticket that can be taken now
};
void sl_ticket_set_describe(const struct sl_ticket_set *set, uint64_t now_ns,
                            struct sl_ticket_set_facts *out_facts);

#endif
