// concurrencyLimit(): how many requests of a key are in flight (concurrency.h). The place is given back when the request ends, whichever way.
#include <stdlib.h>

#include "concurrency.h"
#include "policy.h"
#include "policy_key.h"

struct state {
    struct sl_policy_state base; // first
    struct sl_concurrency *table;
    struct sl_hash_key secret;
};

// policy_words: the place and one, or 0 where there was none.
static enum sl_policy_next enter(const struct sl_policy *p) {
    const struct sl_plan_concurrency_limit *record = p->record;
    struct state *state = p->state;
    struct sl_counters *counters = &p->req->conn->worker->counters;
    uint64_t hash;
    uint32_t place = 0;
    if (!sl_policy_key_hash(p, &record->key, &state->secret, &hash)) {
        return SL_POLICY_ANSWERED;
    }
    switch (sl_concurrency_enter(state->table, hash, record->max, &place)) {
    case SL_CONCURRENCY_IN:
        p->req->policy_words[p->step] = place + 1ull;
        return SL_POLICY_PASS;
    case SL_CONCURRENCY_NO_PLACE:
        counters->concurrency_unlimited++;
        p->req->policy_words[p->step] = 0;
        return SL_POLICY_PASS;
    default:
        counters->concurrency_limited++;
        return sl_policy_answer(p, SL_E_SHED_CONCURRENCY);
    }
}

static void leave(const struct sl_policy *p) {
    struct state *state = p->state;
    uint64_t word = p->req->policy_words[p->step];
    if (word > 0) {
        sl_concurrency_leave(state->table, (uint32_t)(word - 1));
    }
}

uint64_t sl__concurrency_limit_live(const struct sl_policy_state *base) {
    return sl_concurrency_live(SL_CONTAINER_OF(base, struct state, base)->table);
}

static void close_state(struct sl_policy_state *base) {
    struct state *state = SL_CONTAINER_OF(base, struct state, base);
    sl_concurrency_free(state->table);
    free(state);
}

static int open_state(struct sl_policy_state **out_state, const struct sl_plan *plan,
                      const struct sl_plan_policy *row, const void *data) {
    (void)plan;
    (void)row;
    const struct sl_plan_concurrency_limit *record = data;
    struct state *state = calloc(1, sizeof(*state));
    if (!state) {
        return sl_fail(SL_E_NO_MEMORY, "a concurrency limit");
    }
    int rc = sl_policy_key_secret(&state->secret);
    rc = rc ? rc : sl_concurrency_new(&state->table, record->keys_max);
    if (rc) {
        free(state);
        return rc;
    }
    *out_state = &state->base;
    return SL_OK;
}

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row, const void *data) {
    const struct sl_plan_concurrency_limit *r = data;
    return r->max > 0 && r->max <= SL_CONCURRENCY_MAX && r->keys_max > 0 &&
           r->keys_max <= SL_PLAN_CONCURRENCY_KEYS_MAX && row->respond != SL_PLAN_NONE &&
           sl_policy_key_check(plan, &r->key);
}

const struct sl_policy_op sl__concurrency_limit_op = {.record_bytes =
                                                          sizeof(struct sl_plan_concurrency_limit),
                                                      .check = check,
                                                      .open = open_state,
                                                      .close = close_state,
                                                      .enter = enter,
                                                      .leave = leave};
