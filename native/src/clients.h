// How many connections each client address has, over all workers: the one table that they share. Its lock is taken where a connection is accepted
// or freed, and never for a request; without a limit there is no table. base layer. Any thread.
#ifndef SL_CLIENTS_H
#define SL_CLIENTS_H

#include "base.h"

// Whom a limit is for: an IPv4 address, also one mapped into IPv6; of IPv6 a /64, which is what one client has.
typedef uint64_t sl_client;
sl_client sl_client_of(int family, const uint8_t addr[16]); // family: 4 or 6

struct sl_clients;
// Room for conns_max connections. seed: a secret, so that nobody can choose addresses that meet in one place.
int sl_clients_new(struct sl_clients **out_clients, uint64_t conns_max, uint32_t each_max, uint64_t seed);
void sl_clients_free(struct sl_clients *clients); // NULL: nothing
bool sl_clients_add(struct sl_clients *clients, sl_client client); // false: it has each_max already
void sl_clients_remove(struct sl_clients *clients, sl_client client); // one that was added
uint64_t sl_clients_count(struct sl_clients *clients); // addresses with a connection

#endif
