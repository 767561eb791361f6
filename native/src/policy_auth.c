// basicAuth() and bearerAuth(): who has the secret passes. Every secret is compared, each in a time that does not tell how much of it was right. Plans
// with secrets are wiped when they are freed (plan.c).
#include "http1_auth.h"
#include "policy.h"
#include "secret.h"

#define VALUE_MAX 16384u // a head is no longer

static bool check_rows(const struct sl_plan *plan, uint32_t off, uint32_t count, size_t size) {
    return off % 4 == 0 && count > 0 && sl_plan_holds(plan, off, (uint64_t)count * size);
}

static bool check_text(const struct sl_plan *plan, const struct sl_plan_text *text) {
    return sl_plan_holds(plan, text->off, text->len);
}

static struct sl_span text_of(const struct sl_plan *plan, const struct sl_plan_text *text) {
    return sl_plan_span(plan, text->off, text->len);
}

// basicAuth()

static bool is_user(const struct sl_policy *p, struct sl_span name, struct sl_span password) {
    const struct sl_plan_basic_auth *record = p->record;
    const struct sl_plan_user *users = (const void *)(p->plan->blob + record->users_off);
    bool known = false;
    for (uint32_t i = 0; i < record->user_count; i++) {
        bool same_name = sl_equal_const_time(name, text_of(p->plan, &users[i].name));
        bool same_password = sl_equal_const_time(password, text_of(p->plan, &users[i].password));
        known |= same_name & same_password;
    }
    return known;
}

static enum sl_policy_next enter_basic(const struct sl_policy *p) {
    uint8_t text[VALUE_MAX / 4 * 3];
    const struct sl_head *head = sl_policy_head_of(p, sl_span_of("authorization"));
    if (!head) {
        return SL_POLICY_ANSWERED;
    }
    const struct sl_field *field = sl_head_field(head, SL_H_AUTHORIZATION);
    bool known = false;
    if (field && !field->next_same && field->value_len <= VALUE_MAX) {
        struct sl_span value = sl_request_span(p->req, field->value_off, field->value_len);
        struct sl_span name, password;
        known = sl_http1_basic(value, text, &name, &password) && is_user(p, name, password);
        sl_wipe(text, sl_min_size(sizeof(text), value.len));
    }
    return known ? SL_POLICY_PASS : sl_policy_answer(p, SL_E_UNAUTHORIZED);
}

static bool check_basic(const struct sl_plan *plan, const struct sl_plan_policy *row,
                        const void *data) {
    const struct sl_plan_basic_auth *r = data;
    bool good = row->respond != SL_PLAN_NONE &&
                check_rows(plan, r->users_off, r->user_count, sizeof(struct sl_plan_user));
    const struct sl_plan_user *users = (const void *)(plan->blob + r->users_off);
    for (uint32_t i = 0; good && i < r->user_count; i++) {
        good = check_text(plan, &users[i].name) && check_text(plan, &users[i].password);
    }
    return good;
}

const struct sl_policy_op sl__basic_auth_op = {.record_bytes = sizeof(struct sl_plan_basic_auth),
                                               .check = check_basic,
                                               .enter = enter_basic,
                                               .secret = true};

// bearerAuth()

// Lines of this name; *out_value is the last one's.
static uint32_t find_field(const struct sl_policy *p, const struct sl_head *head,
                           struct sl_span name, struct sl_span *out_value) {
    uint32_t count = 0;
    *out_value = (struct sl_span){NULL, 0};
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct sl_field *field = &head->fields[i];
        if (field->name_len == name.len &&
            memcmp(p->req->head_data + field->name_off, name.data, name.len) == 0) {
            *out_value = sl_request_span(p->req, field->value_off, field->value_len);
            count++;
        }
    }
    return count;
}

static bool is_token(const struct sl_policy *p, struct sl_span token) {
    const struct sl_plan_bearer_auth *record = p->record;
    const struct sl_plan_text *tokens = (const void *)(p->plan->blob + record->tokens_off);
    bool known = false;
    for (uint32_t i = 0; i < record->token_count; i++) {
        known |= sl_equal_const_time(token, text_of(p->plan, &tokens[i]));
    }
    return known;
}

static enum sl_policy_next enter_bearer(const struct sl_policy *p) {
    const struct sl_plan_bearer_auth *record = p->record;
    const struct sl_head *head = sl_policy_head_of(p, text_of(p->plan, &record->name));
    if (!head) {
        return SL_POLICY_ANSWERED;
    }
    struct sl_span value, token;
    uint32_t lines = find_field(p, head, text_of(p->plan, &record->name), &value);
    if (lines == 0 || (lines == 1 && value.len == 0)) {
        return sl_policy_answer_with(p, record->missing, SL_E_UNAUTHORIZED);
    }
    if (lines > 1 || !sl_http1_bearer(value, text_of(p->plan, &record->prefix), &token)) {
        return sl_policy_answer_with(p, record->malformed, SL_E_BAD_CREDENTIALS);
    }
    return is_token(p, token) ? SL_POLICY_PASS : sl_policy_answer(p, SL_E_UNAUTHORIZED);
}

static bool check_bearer(const struct sl_plan *plan, const struct sl_plan_policy *row,
                         const void *data) {
    const struct sl_plan_bearer_auth *r = data;
    uint32_t respond_count = plan->header->respond_count;
    bool good = row->respond != SL_PLAN_NONE && r->missing < respond_count &&
                r->malformed < respond_count && check_text(plan, &r->name) &&
                check_text(plan, &r->prefix) &&
                check_rows(plan, r->tokens_off, r->token_count, sizeof(struct sl_plan_text));
    const struct sl_plan_text *tokens = (const void *)(plan->blob + r->tokens_off);
    for (uint32_t i = 0; good && i < r->token_count; i++) {
        good = check_text(plan, &tokens[i]);
    }
    return good;
}

const struct sl_policy_op sl__bearer_auth_op = {.record_bytes = sizeof(struct sl_plan_bearer_auth),
                                                .check = check_bearer,
                                                .enter = enter_bearer,
                                                .secret = true};
