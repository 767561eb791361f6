#include "policy.h"

#include <stdatomic.h>
#include <stdlib.h>

// By op, from SL_PLAN_OP_POLICY on.
static const struct sl_policy_op *const ops[] = {
    [SL_PLAN_OP_REQUEST_ID - SL_PLAN_OP_POLICY] = &sl__request_id_op,
    [SL_PLAN_OP_IP_RESTRICTION - SL_PLAN_OP_POLICY] = &sl__ip_restriction_op,
    [SL_PLAN_OP_CORS - SL_PLAN_OP_POLICY] = &sl__cors_op,
    [SL_PLAN_OP_BODY_LIMIT - SL_PLAN_OP_POLICY] = &sl__body_limit_op,
    [SL_PLAN_OP_METHOD_NOT_ALLOWED - SL_PLAN_OP_POLICY] = &sl__method_not_allowed_op,
    [SL_PLAN_OP_EARLY_DATA - SL_PLAN_OP_POLICY] = &sl__early_data_op,
    [SL_PLAN_OP_RATE_LIMIT - SL_PLAN_OP_POLICY] = &sl__rate_limit_op,
    [SL_PLAN_OP_CONCURRENCY_LIMIT - SL_PLAN_OP_POLICY] = &sl__concurrency_limit_op,
    [SL_PLAN_OP_TIMEOUT - SL_PLAN_OP_POLICY] = &sl__timeout_op,
    [SL_PLAN_OP_BASIC_AUTH - SL_PLAN_OP_POLICY] = &sl__basic_auth_op,
    [SL_PLAN_OP_BEARER_AUTH - SL_PLAN_OP_POLICY] = &sl__bearer_auth_op,
    [SL_PLAN_OP_CANARY - SL_PLAN_OP_POLICY] = &sl__canary_op,
};

static const struct sl_policy_op *op_of(uint8_t op) {
    uint32_t index = op - SL_PLAN_OP_POLICY;
    return op >= SL_PLAN_OP_POLICY && index < SL_COUNT_OF(ops) ? ops[index] : NULL;
}

// Plans.

const void *sl_policy_record(const struct sl_plan *plan, const struct sl_plan_policy *row) {
    return plan->blob + row->record_off;
}

bool sl_policy_check(const struct sl_plan *plan, const struct sl_plan_policy *row) {
    const struct sl_policy_op *op = op_of(row->op);
    const struct sl_plan_header *h = plan->header;
    return op && row->record_off % 8 == 0 && row->record_len >= op->record_bytes &&
           sl_plan_holds(plan, row->record_off, row->record_len) &&
           row->request_bytes <= SL_PLAN_EDIT_BYTES_MAX &&
           row->response_bytes <= SL_PLAN_EDIT_BYTES_MAX &&
           row->scratch_bytes <= SL_PLAN_SCRATCH_BYTES &&
           (row->respond == SL_PLAN_NONE || row->respond < h->respond_count) &&
           (row->upstream == SL_PLAN_NONE || row->upstream < h->upstream_count) &&
           op->check(plan, row, sl_policy_record(plan, row));
}

struct sl_address_set sl_policy_set(const struct sl_plan *plan, uint32_t off, uint32_t count) {
    const void *at = plan->blob + off;
    return (struct sl_address_set){at, count};
}

bool sl_policy_check_set(const struct sl_plan *plan, uint32_t off, uint32_t count) {
    if (!sl_plan_holds(plan, off, (uint64_t)count * sizeof(struct sl_plan_range))) {
        return false;
    }
    struct sl_address_set set = sl_policy_set(plan, off, count);
    return sl_address_set_good(&set);
}

bool sl_policy_check_name(const struct sl_plan *plan, uint32_t off, uint32_t len) {
    if (!sl_plan_holds(plan, off, len) || !sl_plan_name_good(plan->blob + off, len)) {
        return false;
    }
    enum sl_header id = sl_header_id(plan->blob + off, len);
    return id != SL_H_HOST && id != SL_H_DATE;
}

bool sl_policy_check_client(const struct sl_plan *plan, const struct sl_plan_client *client) {
    return client->forwarded <= 1 &&
           sl_policy_check_set(plan, client->proxies_off, client->proxies_count);
}

// The state of a policy of the same op and identity, one reference more. Of several such, each is taken once.
static struct sl_policy_state *take_over(const struct sl_plan *old, const struct sl_plan *plan,
                                         const struct sl_plan_policy *row) {
    for (uint32_t i = 0; old && i < old->header->policy_count; i++) {
        const struct sl_plan_policy *other = &old->policies[i];
        struct sl_policy_state *state = old->policy_states[i];
        if (!state || other->op != row->op || other->identity != row->identity) {
            continue;
        }
        bool taken = false;
        for (uint32_t k = 0; plan->policies + k < row; k++) {
            taken = taken || plan->policy_states[k] == state;
        }
        if (!taken) {
            atomic_fetch_add_explicit(&state->refs, 1, memory_order_relaxed);
            return state;
        }
    }
    return NULL;
}

int sl_policies_open(struct sl_plan *plan, const struct sl_plan *old) {
    for (uint32_t i = 0; i < plan->header->policy_count; i++) {
        const struct sl_plan_policy *row = &plan->policies[i];
        const struct sl_policy_op *op = op_of(row->op);
        if (!op->open) {
            continue;
        }
        plan->policy_states[i] = take_over(old, plan, row);
        if (plan->policy_states[i]) {
            continue;
        }
        int rc = op->open(&plan->policy_states[i], plan, row, sl_policy_record(plan, row));
        if (rc) {
            plan->policy_states[i] = NULL;
            return rc;
        }
        atomic_init(&plan->policy_states[i]->refs, 1);
    }
    return SL_OK;
}

void sl_policies_close(struct sl_plan *plan) {
    for (uint32_t i = 0; plan->policy_states && i < plan->header->policy_count; i++) {
        struct sl_policy_state *state = plan->policy_states[i];
        if (state && atomic_fetch_sub_explicit(&state->refs, 1, memory_order_acq_rel) == 1) {
            op_of(plan->policies[i].op)->close(state);
        }
    }
    free(plan->policy_states);
}

bool sl_policies_secret(const struct sl_plan *plan) {
    bool secret = false;
    for (uint32_t i = 0; i < plan->header->policy_count; i++) {
        secret = secret || op_of(plan->policies[i].op)->secret;
    }
    return secret;
}

// Edits.

static const struct sl_plan_headers *headers_step(const struct sl_request *req, uint32_t i) {
    const struct sl_plan *plan = req->hold->plan;
    const struct sl_plan_step *step = &plan->steps[req->chain.steps[i]];
    return step->op == SL_PLAN_OP_HEADERS ? &plan->headers[step->arg] : NULL;
}

static void add_run(struct sl_edits *edits, const struct sl_plan *plan, uint32_t first,
                    uint32_t count, uint32_t drops) {
    if (count > 0) {
        edits->runs[edits->run_count++] =
            (struct sl_edit_run){&plan->edits[first], plan->blob, count, drops};
    }
}

static const uint32_t *drops_of(const struct sl_plan *plan, const struct sl_plan_headers *h) {
    return &plan->header_drops[(h - plan->headers) * 2];
}

static void add_policies(struct sl_edits *edits, const struct sl_policy_runs *runs, uint32_t step) {
    for (uint32_t i = 0; i < runs->count; i++) {
        if (runs->steps[i] == step) {
            edits->runs[edits->run_count++] = runs->runs[i];
        }
    }
}

// Of the steps whose edits are due.
static void request_edits(const struct sl_request *req, struct sl_edits *out) {
    const struct sl_plan *plan = req->hold->plan;
    out->bytes_max = req->chain.request_bytes;
    out->run_count = 0;
    for (uint32_t i = req->steps_edited; i < req->steps_done; i++) {
        const struct sl_plan_headers *h = headers_step(req, i);
        if (h) {
            add_run(out, plan, h->request_first, h->request_count, drops_of(plan, h)[0]);
        } else {
            add_policies(out, &req->request_runs, i);
        }
    }
}

bool sl_request_edit(struct sl_request *req) {
    struct sl_edits edits;
    request_edits(req, &edits);
    req->steps_edited = req->steps_done;
    if (edits.run_count == 0) {
        return true;
    }
    struct sl_buf_pool *pool = &req->conn->worker->bufs;
    uint32_t most = req->head.len + req->head.field_count +
                    req->chain.request_bytes; // a blank behind each colon
    struct sl_buf *buf = sl_buf_take(pool, most <= SL_BUF_PAGE_BYTES ? SL_BUF_PAGE : SL_BUF_OUT);
    if (!buf) {
        sl_request_fail(req, SL_E_NO_MEMORY);
        return false;
    }
    int rc = sl_edits_request(&edits, &req->head, req->head_data, buf->data, buf->cap);
    if (rc) {
        sl_buf_unref(pool, buf);
        sl_request_fail(req, rc);
        return false;
    }
    sl_buf_unref(pool, req->head_buf);
    req->head_buf = buf;
    req->head_data = buf->data;
    return true;
}

// As middleware around `await next()`: the last step's come first.
const struct sl_edits *sl_response_edits(const struct sl_request *req, struct sl_edits *out) {
    if (req->steps_done == 0 || req->chain.response_bytes == 0) {
        return NULL;
    }
    const struct sl_plan *plan = req->hold->plan;
    out->bytes_max = req->chain.response_bytes;
    out->run_count = 0;
    for (uint32_t i = req->steps_done; i-- > 0;) {
        const struct sl_plan_headers *h = headers_step(req, i);
        if (req->steps_failed >> i & 1) {
            continue;
        }
        if (h) {
            add_run(out, plan, h->response_first, h->response_count, drops_of(plan, h)[1]);
        } else {
            add_policies(out, &req->response_runs, i);
        }
    }
    return out;
}

// Requests.

struct sl_policy sl_policy_at(struct sl_request *req, uint32_t step) {
    const struct sl_plan *plan = req->hold->plan;
    uint32_t index = plan->steps[req->chain.steps[step]].arg;
    const struct sl_plan_policy *row = &plan->policies[index];
    return (struct sl_policy){.req = req,
                              .plan = plan,
                              .row = row,
                              .record = sl_policy_record(plan, row),
                              .state = plan->policy_states[index],
                              .step = step};
}

enum sl_policy_next sl_policies_enter(struct sl_request *req, uint32_t *out_upstream) {
    const struct sl_chain *chain = &req->chain;
    const struct sl_plan *plan = req->hold->plan;
    for (uint32_t i = 0; i < chain->count; i++) {
        req->steps_done = (uint8_t)i;
        if (plan->steps[chain->steps[i]].op == SL_PLAN_OP_HEADERS) {
            continue;
        }
        struct sl_policy policy = sl_policy_at(req, i);
        const struct sl_policy_op *op = op_of(policy.row->op);
        enum sl_policy_next next = op->enter(&policy);
        if (next == SL_POLICY_ANSWERED) {
            return next;
        }
        req->policies_held |= op->leave ? 1u << i : 0;
        if (next == SL_POLICY_UPSTREAM) {
            req->steps_done = (uint8_t)(i + 1);
            *out_upstream = policy.row->upstream;
            return next;
        }
    }
    req->steps_done = chain->count;
    return SL_POLICY_PASS;
}

bool sl_policies_refuse(struct sl_request *req, int status) {
    for (uint32_t i = 0; i < req->steps_done; i++) {
        if (headers_step(req, i)) {
            continue;
        }
        struct sl_policy policy = sl_policy_at(req, i);
        const struct sl_policy_op *op = op_of(policy.row->op);
        if (op->refuses && op->refuses(&policy, status)) {
            req->steps_done = (uint8_t)(i + 1);
            sl_request_answer(req, policy.row->respond);
            return true;
        }
    }
    return false;
}

void sl_policies_leave(struct sl_request *req) {
    for (uint32_t i = req->chain.count; i-- > 0;) {
        if (req->policies_held >> i & 1) {
            struct sl_policy policy = sl_policy_at(req, i);
            op_of(policy.row->op)->leave(&policy);
        }
    }
    req->policies_held = 0;
}

void sl_policies_refuse_early(struct sl_request *req, int step) {
    struct sl_policy policy = sl_policy_at(req, (uint32_t)step);
    sl_policy_answer(&policy, SL_E_TOO_EARLY);
}

// For ops.

const struct sl_head *sl_policy_head(const struct sl_policy *policy) {
    return sl_request_edit(policy->req) ? &policy->req->head : NULL;
}

const struct sl_head *sl_policy_head_of(const struct sl_policy *policy, struct sl_span name) {
    struct sl_edits due;
    request_edits(policy->req, &due);
    return sl_edits_keep(&due, name.data, name.len) && !sl_edits_add(&due, name)
               ? &policy->req->head
               : sl_policy_head(policy);
}

void *sl_policy_scratch(const struct sl_policy *policy, size_t bytes) {
    struct sl_request *req = policy->req;
    uint32_t at = (req->scratch_used + 3u) & ~3u;
    SL_ASSERT(at <= sizeof(req->scratch) && bytes <= sizeof(req->scratch) - at);
    req->scratch_used = (uint16_t)(at + bytes);
    return req->scratch + at;
}

static void put_run(struct sl_policy_runs *runs, uint32_t step, struct sl_edit_run run) {
    SL_ASSERT(runs->count < SL_COUNT_OF(runs->runs));
    run.drops = sl_edits_drops(run.edits, run.count);
    runs->steps[runs->count] = (uint8_t)step;
    runs->runs[runs->count++] = run;
}

void sl_policy_edit_request(const struct sl_policy *policy, struct sl_edit_run run) {
    put_run(&policy->req->request_runs, policy->step, run);
}

void sl_policy_edit_response(const struct sl_policy *policy, struct sl_edit_run run) {
    put_run(&policy->req->response_runs, policy->step, run);
}

bool sl_policy_client(const struct sl_policy *policy, const struct sl_plan_client *client,
                      uint8_t out[SL_ADDRESS_BYTES]) {
    struct sl_request *req = policy->req;
    struct sl_client_source source = {
        sl_policy_set(policy->plan, client->proxies_off, client->proxies_count),
        client->forwarded != 0,
    };
    uint8_t peer[SL_ADDRESS_BYTES];
    sl_address_of(peer, req->conn->remote_family, req->conn->remote_addr);
    if (!sl_address_set_has(&source.proxies, peer)) {
        memcpy(out, peer, sizeof(peer)); // nothing is asked of the head
        return true;
    }
    const struct sl_head *head = sl_policy_head(policy);
    if (head) {
        sl_client_ip(out, &source, peer, head, req->head_data);
    }
    return head != NULL;
}

// The answer has its own lines, too.
static void begin_answer(const struct sl_policy *policy, int reason) {
    struct sl_request *req = policy->req;
    req->conn->worker->counters.requests_native++;
    req->steps_done = (uint8_t)(policy->step + 1);
    if (reason) {
        req->reason = reason;
        sl_worker_count_status(req->conn->worker, reason);
    }
}

enum sl_policy_next sl_policy_answer(const struct sl_policy *policy, int reason) {
    return sl_policy_answer_with(policy, policy->row->respond, reason);
}

enum sl_policy_next sl_policy_answer_with(const struct sl_policy *policy, uint32_t respond,
                                          int reason) {
    begin_answer(policy, reason);
    sl_request_answer(policy->req, respond);
    return SL_POLICY_ANSWERED;
}

enum sl_policy_next sl_policy_respond(const struct sl_policy *policy,
                                      struct sl_response_head *response, struct sl_span body,
                                      int reason) {
    struct sl_request *req = policy->req;
    begin_answer(policy, reason);
    if (sl_request_respond(req, response) &&
        sl_request_write(req, body.data, (uint32_t)body.len, NULL, NULL)) {
        sl_request_end(req);
    }
    return SL_POLICY_ANSWERED;
}
