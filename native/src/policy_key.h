// Whom a limit counts for: what the keys of rateLimit() and concurrencyLimit() are, as a hash that clients cannot aim at a place with. proxy layer.
#ifndef SL_POLICY_KEY_H
#define SL_POLICY_KEY_H

#include "hash.h"
#include "policy.h"

bool sl_policy_key_check(const struct sl_plan *plan, const struct sl_plan_key *key);
// A secret for one table. SL_OK or E_SYSTEM.
int sl_policy_key_secret(struct sl_hash_key *out_secret);
// The request's key. False: an error was answered.
bool sl_policy_key_hash(const struct sl_policy *policy, const struct sl_plan_key *key, const struct sl_hash_key *secret,
                        uint64_t *out_hash);

#endif
