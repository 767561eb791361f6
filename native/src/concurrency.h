// How many requests of each key are in flight, over all workers: the table behind concurrencyLimit() steps. base layer. Any thread, without a lock.
//
//   a place, one 64-bit word: | 40 bits of the key's hash | 24 bits: requests that are in it |
//   a bucket, one cache line: 8 places; other bits of the hash choose it
//
// A place belongs to its key while anybody is in it, so who has entered leaves by the place's number alone, which stays right whatever comes and
// goes. A key for which its bucket has no place is not limited, and that is reported; with several places for each request that may be in flight
// it needs nine keys of one bucket at once, and nobody who does not know the hash's key can choose them. Workers that give a key its first place at
// the same moment, while another one of the bucket becomes empty, may give it two; then one more is let in for each of them but the first.
#ifndef SL_CONCURRENCY_H
#define SL_CONCURRENCY_H

#include "base.h"

#define SL_CONCURRENCY_MAX 16777215u // of one key

struct sl_concurrency;
// Room for requests_max requests, whatever their keys; 32 to 64 bytes each.
int sl_concurrency_new(struct sl_concurrency **out_table, uint32_t requests_max);
void sl_concurrency_free(struct sl_concurrency *table); // NULL: nothing

enum sl_concurrency_answer { SL_CONCURRENCY_IN, SL_CONCURRENCY_FULL, SL_CONCURRENCY_NO_PLACE };

// IN: leave *out_place, once. max: 1 to SL_CONCURRENCY_MAX. FULL: that many are in it.
enum sl_concurrency_answer sl_concurrency_enter(struct sl_concurrency *table, uint64_t hash, uint32_t max, uint32_t *out_place);
void sl_concurrency_leave(struct sl_concurrency *table, uint32_t place);
uint64_t sl_concurrency_live(const struct sl_concurrency *table); // requests in all places: reads all of it

#endif
