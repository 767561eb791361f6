// A keyed hash of short texts: SipHash-1-3. Who does not know the key cannot choose texts that meet in one place of a table. base layer, pure.
#ifndef SL_HASH_H
#define SL_HASH_H

#include "base.h"

struct sl_hash_key {
    uint64_t k0, k1; // secret, random
};

uint64_t sl_hash(const struct sl_hash_key *key, const void *data, size_t len);

#endif
