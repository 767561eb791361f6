// earlyData(): this route's requests may run before the TLS handshake is done (RFC 8470). The step itself passes everything: request.c asks
// before it runs a chain, and lets those wait that may not.
#include "policy.h"

static bool upstreams_understand(const struct sl_request *req) {
    const struct sl_plan *plan = req->hold->plan;
    const struct sl_chain *chain = &req->chain;
    bool all = !chain->end || chain->end->op != SL_PLAN_OP_PROXY ||
               plan->upstreams[chain->end->arg].early_data;
    for (uint32_t i = 0; i < chain->count; i++) { // a policy may choose another one
        const struct sl_plan_step *step = &plan->steps[chain->steps[i]];
        if (step->op >= SL_PLAN_OP_POLICY) {
            uint32_t upstream = plan->policies[step->arg].upstream;
            all = all && (upstream == SL_PLAN_NONE || plan->upstreams[upstream].early_data);
        }
    }
    return all;
}

static bool policy_allows(const struct sl_request *req) {
    const struct sl_head *head = &req->head;
    uint64_t bytes = head->body == SL_BODY_NONE     ? 0
                     : head->body == SL_BODY_LENGTH ? head->content_length
                                                    : UINT64_MAX;
    return sl_tls_early_data_allows(req->conn->tls, head->method, bytes);
}

bool sl_request_may_run_early(const struct sl_request *req, int *out_refuse) {
    const struct sl_plan *plan = req->hold->plan;
    *out_refuse = -1;
    for (uint32_t i = 0; i < req->chain.count; i++) {
        const struct sl_plan_step *step = &plan->steps[req->chain.steps[i]];
        if (step->op == SL_PLAN_OP_EARLY_DATA) {
            const struct sl_plan_policy *row = &plan->policies[step->arg];
            const struct sl_plan_early_data *record = sl_policy_record(plan, row);
            *out_refuse = record->refuse ? (int)i : -1;
            return policy_allows(req) && upstreams_understand(req);
        }
    }
    return false;
}

static enum sl_policy_next enter(const struct sl_policy *p) {
    (void)p;
    return SL_POLICY_PASS;
}

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row,
                  const void *record) {
    const struct sl_plan_early_data *r = record;
    (void)plan;
    return r->refuse <= 1 && (!r->refuse || row->respond != SL_PLAN_NONE);
}

const struct sl_policy_op sl__early_data_op = {
    .record_bytes = sizeof(struct sl_plan_early_data), .check = check, .enter = enter};
