#include "policy_key.h"

#include <errno.h>
#include <sys/random.h>

#include "clients.h"

bool sl_policy_key_check(const struct sl_plan *plan, const struct sl_plan_key *key) {
    switch (key->kind) {
    case SL_PLAN_KEY_ROUTE:
        return true;
    case SL_PLAN_KEY_CLIENT_IP:
        return sl_policy_check_set(plan, key->client.proxies_off, key->client.proxies_count);
    case SL_PLAN_KEY_HEADER:
        return sl_plan_holds(plan, key->name_off, key->name_len) && key->name_len > 0;
    default:
        return false;
    }
}

int sl_policy_key_secret(struct sl_hash_key *out_secret) {
    if (getrandom(out_secret, sizeof(*out_secret), 0) != sizeof(*out_secret)) {
        return sl_fail(SL_E_SYSTEM, "getrandom: %s", strerror(errno));
    }
    return SL_OK;
}

static bool hash_client(const struct sl_policy *p, const struct sl_plan_key *key,
                        const struct sl_hash_key *secret, uint64_t *out_hash) {
    uint8_t address[SL_ADDRESS_BYTES];
    if (!sl_policy_client(p, &key->client, address)) {
        return false;
    }
    sl_client client = sl_client_of(6, address);
    *out_hash = sl_hash(secret, &client, sizeof(client));
    return true;
}

// All lines of that name, in order; requests without it share a key.
static bool hash_field(const struct sl_policy *p, const struct sl_plan_key *key,
                       const struct sl_hash_key *secret, uint64_t *out_hash) {
    const uint8_t *name = p->plan->blob + key->name_off;
    const struct sl_head *head = sl_policy_head_of(p, (struct sl_span){name, key->name_len});
    if (!head) {
        return false;
    }
    uint64_t hash = sl_hash(secret, "", 0);
    bool first = true;
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct sl_field *field = &head->fields[i];
        if (field->name_len != key->name_len ||
            memcmp(p->req->head_data + field->name_off, name, field->name_len) != 0) {
            continue;
        }
        uint64_t line = sl_hash(secret, p->req->head_data + field->value_off, field->value_len);
        uint64_t both[2] = {hash, line};
        hash = first ? line : sl_hash(secret, both, sizeof(both));
        first = false;
    }
    *out_hash = hash;
    return true;
}

bool sl_policy_key_hash(const struct sl_policy *p, const struct sl_plan_key *key,
                        const struct sl_hash_key *secret, uint64_t *out_hash) {
    switch (key->kind) {
    case SL_PLAN_KEY_CLIENT_IP:
        return hash_client(p, key, secret, out_hash);
    case SL_PLAN_KEY_HEADER:
        return hash_field(p, key, secret, out_hash);
    default:
        *out_hash = secret->k0; // one key
        return true;
    }
}
