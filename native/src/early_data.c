// earlyData(): which requests may run before the TLS handshake is done (RFC 8470). The step itself passes everything: request.c asks before it
// runs a chain, and lets those wait that may not.
#include "policy.h"

bool sl__early_data_allows(const struct sl_request *req, const struct sl_plan_early_data *record) {
    const struct sl_head *head = &req->head;
    bool small = head->body == SL_BODY_NONE ||
                 (head->body == SL_BODY_LENGTH && head->content_length <= record->bytes_max);
    return small && (record->methods >> head->method & 1) &&
           sl_tls_early_data_is_timely(req->conn->tls);
}

static enum sl_policy_next enter(const struct sl_policy *p) {
    (void)p;
    return SL_POLICY_PASS;
}

// RFC 9110, 9.2.1.
#define SAFE_METHODS                                                                               \
    (1u << SL_METHOD_GET | 1u << SL_METHOD_HEAD | 1u << SL_METHOD_OPTIONS |                        \
     1u << SL_METHOD_TRACE | 1u << SL_METHOD_QUERY)

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row,
                  const void *record) {
    const struct sl_plan_early_data *r = record;
    (void)plan;
    return (r->methods & ~SAFE_METHODS) == 0 && r->refuse <= 1 &&
           (!r->refuse || row->respond != SL_PLAN_NONE);
}

const struct sl_policy_op sl__early_data_op = {
    .record_bytes = sizeof(struct sl_plan_early_data), .check = check, .enter = enter};
