// Where the keys of `sealed` tickets live: each ticket is sealed with a random key of its own, which is here and nowhere else, so taking it is the only
// way to open the ticket, and afterwards nobody can. One per process, for all workers; lock-free, no allocation after sl_ticket_vault_new. A slot
// is one cache line; buckets of eight. tls layer; time is an argument.
#ifndef SL_TICKET_VAULT_H
#define SL_TICKET_VAULT_H

#include "ticket_set.h"

#define SL_TICKET_VAULT_KEY_BYTES 32u

struct sl_ticket_vault;

// `bytes_max`: at least SL_TICKET_VAULT_BYTES_MIN; rounded down to a power of two of buckets. E_NO_MEMORY.
#define SL_TICKET_VAULT_BYTES_MIN 4096u
int sl_ticket_vault_new(struct sl_ticket_vault **out_vault, uint64_t bytes_max);
void sl_ticket_vault_free(struct sl_ticket_vault *vault); // erases the keys

// Any thread. Times are seconds of one clock. Where all eight slots of the bucket are in use, the one that expires first gives way: its ticket can
// no longer be opened. False: others are writing all of them just now.
enum sl_ticket_put { SL_TICKET_PUT_NO, SL_TICKET_PUT_YES, SL_TICKET_PUT_EVICTED };
enum sl_ticket_put sl_ticket_vault_put(struct sl_ticket_vault *vault,
                                       const uint8_t id[SL_TICKET_ID_BYTES],
                                       const uint8_t key[SL_TICKET_VAULT_KEY_BYTES], uint32_t now_s,
                                       uint32_t expires_s);
// True once per put: the key, which is erased here.
bool sl_ticket_vault_take(struct sl_ticket_vault *vault, const uint8_t id[SL_TICKET_ID_BYTES],
                          uint32_t now_s, uint8_t out_key[SL_TICKET_VAULT_KEY_BYTES]);

#endif
