// ipRestriction(): who may come in, by address. Denied is denied; else whoever is allowed, or all where nobody is named.
#include "policy.h"

static enum sl_policy_next enter(const struct sl_policy *p) {
    const struct sl_plan_ip_restriction *record = p->record;
    uint8_t client[SL_ADDRESS_BYTES];
    if (!sl_policy_client(p, &record->client, client)) {
        return SL_POLICY_ANSWERED;
    }
    struct sl_address_set deny = sl_policy_set(p->plan, record->deny_off, record->deny_count);
    struct sl_address_set allow = sl_policy_set(p->plan, record->allow_off, record->allow_count);
    bool good = !sl_address_set_has(&deny, client) &&
                (allow.count == 0 || sl_address_set_has(&allow, client));
    return good ? SL_POLICY_PASS : sl_policy_answer(p, SL_E_IP_RESTRICTED);
}

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row,
                  const void *record) {
    const struct sl_plan_ip_restriction *r = record;
    return row->respond != SL_PLAN_NONE && sl_policy_check_client(plan, &r->client) &&
           sl_policy_check_set(plan, r->deny_off, r->deny_count) &&
           sl_policy_check_set(plan, r->allow_off, r->allow_count);
}

const struct sl_policy_op sl__ip_restriction_op = {
    .record_bytes = sizeof(struct sl_plan_ip_restriction), .check = check, .enter = enter};
