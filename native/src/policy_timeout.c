// timeout(): a request's end at the latest. Before the answer's head it is the policy's own answer, after it the transfer is cut.
#include "policy.h"

static enum sl_policy_next enter(const struct sl_policy *p) {
    const struct sl_plan_timeout *record = p->record;
    struct sl_request *req = p->req;
    uint64_t due_ns = req->conn->worker->now_ns + record->ms * SL_NS_PER_MS;
    if (req->due_ns == 0 || due_ns < req->due_ns) {
        req->due_ns = due_ns;
        req->due_step = (uint8_t)p->step;
    }
    return SL_POLICY_PASS;
}

void sl_request_due(struct sl_request *req) {
    uint32_t step = req->due_step;
    req->due_ns = 0; // once
    // All of it is queued: how fast the client reads is another limit's. Or it is no answer any more.
    if (req->out_done || req->upgraded) {
        return;
    }
    if (req->status) {
        sl_conn_abort(req->conn, SL_E_TIMEOUT);
        return;
    }
    sl_request_give_up(req, SL_E_TIMEOUT);
    struct sl_policy policy = sl_policy_at(req, step);
    req->steps_done = (uint8_t)(step + 1);
    sl_request_answer(req, policy.row->respond);
}

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row, const void *data) {
    const struct sl_plan_timeout *record = data;
    (void)plan;
    return record->ms > 0 && row->respond != SL_PLAN_NONE;
}

const struct sl_policy_op sl__timeout_op = {
    .record_bytes = sizeof(struct sl_plan_timeout), .check = check, .enter = enter};
