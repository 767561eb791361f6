// bodyLimit(): a length that is too large is refused at once; what comes in chunks is counted while it passes (sl_request_body_next).
#include "policy.h"

static uint64_t bytes_max(const struct sl_policy *p) {
    return ((const struct sl_plan_body_limit *)p->record)->bytes_max;
}

static enum sl_policy_next enter(const struct sl_policy *p) {
    struct sl_request *req = p->req;
    if (req->head.body == SL_BODY_LENGTH && req->head.content_length > bytes_max(p)) {
        return sl_policy_answer(p, SL_E_BODY_TOO_LARGE);
    }
    if (req->head.body == SL_BODY_CHUNKED && (!req->body_limited || bytes_max(p) < req->body_max)) {
        req->body_limited = true;
        req->body_max = bytes_max(p);
    }
    return SL_POLICY_PASS;
}

static bool refuses(const struct sl_policy *p, int status) {
    return status == SL_E_BODY_TOO_LARGE && p->req->body_bytes > bytes_max(p);
}

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row,
                  const void *record) {
    (void)plan;
    (void)record;
    return row->respond != SL_PLAN_NONE;
}

const struct sl_policy_op sl__body_limit_op = {.record_bytes = sizeof(struct sl_plan_body_limit),
                                               .check = check,
                                               .enter = enter,
                                               .refuses = refuses};
