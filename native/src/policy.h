// Policies: the steps of a chain that may let a request pass, answer it, or send it to an upstream of their own (sluice/plan.h). proxy layer.
//
// Each op is one row of the table in policy.c and, beyond a few lines, a file of its own (request_id.c is the one to copy):
//
//   check   at load: what the record points at lies inside of the plan, and the sizes of its row are enough. A plan that fails is refused whole.
//   open    at load, after all checks: memory that all workers share (a table, a counter). Only here may a policy allocate. A plan that follows
//           takes the state over if it has a policy of the same op and identity.
//   enter   for each request that comes to the step, on its worker's thread. It reads the head by sl_policy_head, adds lines by
//           sl_policy_edit_*, and returns one of enum sl_policy_next. It must not block, allocate, or keep a pointer into the request's head.
//   refuses when a request that has passed fails before its answer began: whether the row's answer is given for that status, in place of the error's.
//           The first policy of the chain that says so gives it.
//   leave   exactly once for each request that enter let pass (PASS or UPSTREAM), when it ends, whichever way that is: answered, aborted, cut.
//
// Requests. What a policy adds to heads it puts into the request's scratch, of which its row says the most that it takes; so the chain is cut
// when it is matched (route.c), not when memory ends. req->policy_words[step] is the policy's own from enter to leave.
#ifndef SL_POLICY_H
#define SL_POLICY_H

#include "client_ip.h"
#include "conn.h"

enum sl_policy_next {
    SL_POLICY_PASS,
    SL_POLICY_ANSWERED, // an answer was written, or the connection is being cut: the request may be gone
    SL_POLICY_UPSTREAM, // the row's upstream ends the chain
};

// One policy and one request.
struct sl_policy {
    struct sl_request *req;
    const struct sl_plan *plan;
    const struct sl_plan_policy *row;
    const void *record; // struct sl_plan_<op>
    void *state;        // of open, or NULL
    uint32_t step;      // its place in the chain
};

// What open makes begins with this.
struct sl_policy_state {
    _Atomic uint32_t refs; // plans that use it
};

struct sl_policy_op {
    uint32_t record_bytes;
    bool (*check)(const struct sl_plan *plan, const struct sl_plan_policy *row, const void *record);
    int (*open)(struct sl_policy_state **out_state, const struct sl_plan *plan, const struct sl_plan_policy *row, const void *record); // NULL: no state
    void (*close)(struct sl_policy_state *state);
    enum sl_policy_next (*enter)(const struct sl_policy *policy);
    bool (*refuses)(const struct sl_policy *policy, int status); // NULL: never
    void (*leave)(const struct sl_policy *policy);               // NULL: nothing to give back
    bool secret; // its record holds secrets: the plan's memory is wiped when it is freed
};

// Of plans (plan.c).
bool sl_policy_check(const struct sl_plan *plan, const struct sl_plan_policy *row); // any bytes
int sl_policies_open(struct sl_plan *plan, const struct sl_plan *old); // sl_plan_open
void sl_policies_close(struct sl_plan *plan);
bool sl_policies_secret(const struct sl_plan *plan); // one of them holds secrets

// Of requests (request.c). Does the steps of the chain. UPSTREAM: to *out_upstream, by the plan's index.
enum sl_policy_next sl_policies_enter(struct sl_request *req, uint32_t *out_upstream);
bool sl_policies_refuse(struct sl_request *req, int status); // true: one has answered
void sl_policies_leave(struct sl_request *req);
struct sl_policy sl_policy_at(struct sl_request *req, uint32_t step);
bool sl_request_edit(struct sl_request *req); // makes the request edits that are due. False: an error was answered
const struct sl_edits *sl_response_edits(const struct sl_request *req, struct sl_edits *out); // NULL: none

// For ops.
// The head as the steps before have edited it; NULL: that failed and was answered, return ANSWERED.
const struct sl_head *sl_policy_head(const struct sl_policy *policy);
// As far as fields of that name (in lower case) are concerned: cheaper where no edit that is due is of such.
const struct sl_head *sl_policy_head_of(const struct sl_policy *policy, struct sl_span name);
void *sl_policy_scratch(const struct sl_policy *policy, size_t bytes); // aligned for edits
// At most one run each; the edits and bytes are the plan's or in the scratch. `drops` is found here.
void sl_policy_edit_request(const struct sl_policy *policy, struct sl_edit_run run);
void sl_policy_edit_response(const struct sl_policy *policy, struct sl_edit_run run);
// Gives the row's answer (it must have one). reason: of status.h, for logs and counters.
enum sl_policy_next sl_policy_answer(const struct sl_policy *policy, int reason);
// Gives another answer; its body, which is copied, must be as long as it says.
enum sl_policy_next sl_policy_respond(const struct sl_policy *policy, struct sl_response_head *response, struct sl_span body, int reason);
const void *sl_policy_record(const struct sl_plan *plan, const struct sl_plan_policy *row);
enum sl_policy_next sl_policy_answer_with(const struct sl_policy *policy, uint32_t respond, int reason); // another row
struct sl_address_set sl_policy_set(const struct sl_plan *plan, uint32_t off, uint32_t count);
bool sl_policy_check_set(const struct sl_plan *plan, uint32_t off, uint32_t count);
bool sl_policy_check_name(const struct sl_plan *plan, uint32_t off, uint32_t len); // of a field, in lower case

// The client's address. False: an error was answered, return ANSWERED.
bool sl_policy_client(const struct sl_policy *policy, const struct sl_plan_client *client, uint8_t out[SL_ADDRESS_BYTES]);
bool sl_policy_check_client(const struct sl_plan *plan, const struct sl_plan_client *client);

extern const struct sl_policy_op sl__request_id_op;
extern const struct sl_policy_op sl__ip_restriction_op;
extern const struct sl_policy_op sl__cors_op;
extern const struct sl_policy_op sl__body_limit_op;
extern const struct sl_policy_op sl__rate_limit_op, sl__concurrency_limit_op, sl__timeout_op;
uint64_t sl__concurrency_limit_live(const struct sl_policy_state *state); // requests in flight
extern const struct sl_policy_op sl__basic_auth_op, sl__bearer_auth_op, sl__canary_op;
extern const struct sl_policy_op sl__method_not_allowed_op;

// Whether the request's chain lets it run in early data (early_data.c). If not: the place in the chain of the step that refuses it goes to *out_refuse,
// -1 if it is to wait.
bool sl_request_may_run_early(const struct sl_request *req, int *out_refuse);
void sl_policies_refuse_early(struct sl_request *req, int step); // answers it there

extern const struct sl_policy_op sl__early_data_op;

#endif
