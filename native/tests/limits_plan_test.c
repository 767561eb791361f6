// Records of limits, authentication and canary in a plan: what is wrong with one is refused, whatever bytes it has, and secrets are known as such.
#include "http1_edit.h"
#include "plan.h"
#include "plan_builder.h"
#include "policy.h"
#include "test.h"

static struct plan_builder builder;

enum { RATE, CONCURRENCY, TIMEOUT, BASIC, BEARER, CANARY, POLICIES };

static uint32_t build(void) {
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/no", 429, "", "no", 2);
    plan_proxy(&builder, SL_METHOD_GET, "/up", 3000);
    plan_rate_limit(&builder, "x-user", 1000, 5);
    plan_concurrency_limit(&builder, "x-user", 5);
    plan_timeout(&builder, 100);
    plan_basic_auth(&builder, "ada", "lovelace");
    plan_bearer_auth(&builder, "token");
    plan_canary(&builder, "x-canary", "canary", 100);
    return plan_finish(&builder);
}

static struct sl_plan_header *header(void) { return (void *)builder.blob; }
static struct sl_plan_policy *policy(uint32_t i) { return (struct sl_plan_policy *)(void *)(builder.blob + header()->policies_off) + i; }
static void *record(uint32_t i) { return builder.blob + policy(i)->record_off; }
static struct sl_plan_rate_limit *rate(void) { return record(RATE); }
static struct sl_plan_concurrency_limit *concurrency(void) { return record(CONCURRENCY); }
static struct sl_plan_timeout *timeout(void) { return record(TIMEOUT); }
static struct sl_plan_basic_auth *basic(void) { return record(BASIC); }
static struct sl_plan_bearer_auth *bearer(void) { return record(BEARER); }
static struct sl_plan_canary *canary(void) { return record(CANARY); }

static int load(struct sl_plan **out_plan, uint32_t len) {
    uint8_t *copy = malloc(len); // of its own size: the address sanitizer sees a byte too many
    memcpy(copy, builder.blob, len);
    int rc = sl_plan_new(out_plan, copy, len);
    free(copy);
    return rc;
}

TEST(a_good_plan) {
    struct sl_plan *plan;
    uint32_t len = build();
    CHECK_INT(load(&plan, len), SL_OK);
    CHECK(plan->secret);
    CHECK_INT(sl_plan_open(plan, NULL), SL_OK);
    CHECK(plan->policy_states[RATE] && plan->policy_states[CONCURRENCY] && !plan->policy_states[TIMEOUT]);
    sl_plan_unref(plan);
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/no", 429, "", "no", 2);
    plan_timeout(&builder, 100);
    CHECK_INT(load(&plan, plan_finish(&builder)), SL_OK);
    CHECK(!plan->secret);
    sl_plan_unref(plan);
}

#define BAD(change) {#change, bad_##change}
#define DEF(name, what)                                                                                                             \
    static void bad_##name(void) { what; }
DEF(no_burst, rate()->burst = 0)
DEF(no_interval, rate()->interval_us = 0)
DEF(more_than_a_day, (rate()->interval_us = 86400000000ull / 5 + 1))
DEF(endless_interval, rate()->interval_us = UINT64_MAX)
DEF(no_keys, rate()->keys_max = 0)
DEF(too_many_keys, rate()->keys_max = SL_PLAN_RATE_KEYS_MAX + 1)
DEF(key_kind, rate()->key.kind = 3)
DEF(key_nameless, rate()->key.name_len = 0)
DEF(key_behind, rate()->key.name_off = header()->bytes)
DEF(key_proxies, (rate()->key.kind = SL_PLAN_KEY_CLIENT_IP, rate()->key.client.proxies_count = 1u << 28))
DEF(rate_answers_nothing, policy(RATE)->respond = SL_PLAN_NONE)
DEF(rate_few_scratch, policy(RATE)->scratch_bytes = 100)
DEF(rate_few_response, policy(RATE)->response_bytes = 50)
DEF(policy_line_behind, rate()->policy_off = header()->bytes)
DEF(policy_line_wrap, rate()->policy_len = UINT32_MAX)
DEF(policy_line_short, rate()->policy_len = 10)
DEF(policy_line_of_another_name, memcpy(builder.blob + rate()->policy_off, "ratelimit-policx", 16))
DEF(policy_line_of_two, memcpy(builder.blob + rate()->policy_off + 20, "\r\na: b", 6))
DEF(policy_line_without_end, rate()->policy_len--)
DEF(name_long, rate()->name_len = SL_PLAN_RATE_NAME_MAX + 1)
DEF(name_behind, rate()->name_off = header()->bytes)
DEF(name_of_lines, builder.blob[rate()->name_off] = '\n')
DEF(name_of_quotes, builder.blob[rate()->name_off] = '"')
DEF(nobody_in_flight, concurrency()->max = 0)
DEF(too_many_in_flight, concurrency()->max = 1u << 24)
DEF(no_places, concurrency()->keys_max = 0)
DEF(too_many_places, concurrency()->keys_max = SL_PLAN_CONCURRENCY_KEYS_MAX + 1)
DEF(concurrency_key, concurrency()->key.kind = 9)
DEF(concurrency_answers_nothing, policy(CONCURRENCY)->respond = SL_PLAN_NONE)
DEF(no_time, timeout()->ms = 0)
DEF(timeout_answers_nothing, policy(TIMEOUT)->respond = SL_PLAN_NONE)
DEF(no_users, basic()->user_count = 0)
DEF(users_behind, basic()->users_off = header()->bytes)
DEF(users_odd, basic()->users_off += 2)
DEF(users_many, basic()->user_count = 1u << 28)
DEF(user_behind, ((struct sl_plan_user *)(void *)(builder.blob + basic()->users_off))->password.off = header()->bytes)
DEF(user_wrap, ((struct sl_plan_user *)(void *)(builder.blob + basic()->users_off))->name.len = UINT32_MAX)
DEF(basic_answers_nothing, policy(BASIC)->respond = SL_PLAN_NONE)
DEF(no_tokens, bearer()->token_count = 0)
DEF(tokens_behind, bearer()->tokens_off = header()->bytes - 4)
DEF(tokens_many, bearer()->token_count = 1u << 29)
DEF(token_behind, ((struct sl_plan_text *)(void *)(builder.blob + bearer()->tokens_off))->off = header()->bytes)
DEF(bearer_name_behind, bearer()->name.len = UINT32_MAX)
DEF(bearer_prefix_behind, bearer()->prefix.off = header()->bytes)
DEF(bearer_missing, bearer()->missing = header()->respond_count)
DEF(bearer_malformed, bearer()->malformed = SL_PLAN_NONE)
DEF(bearer_answers_nothing, policy(BEARER)->respond = SL_PLAN_NONE)
DEF(canary_nowhere, policy(CANARY)->upstream = SL_PLAN_NONE)
DEF(canary_too_many, canary()->shares = SL_PLAN_CANARY_SHARES + 1)
DEF(canary_header_behind, canary()->header.off = header()->bytes)
DEF(canary_value_behind, canary()->header_value.len = UINT32_MAX)
DEF(canary_cookie_behind, canary()->cookie.len = header()->bytes)
DEF(canary_cookie_value_behind, canary()->cookie_value.off = UINT32_MAX)
DEF(canary_sticky_behind, canary()->sticky.len = header()->bytes)
DEF(canary_proxies, canary()->client.proxies_count = 1u << 27)

TEST(what_is_wrong_is_refused) {
    static const struct {
        const char *name;
        void (*change)(void);
    } rows[] = {
        BAD(no_burst), BAD(no_interval), BAD(more_than_a_day), BAD(endless_interval), BAD(no_keys), BAD(too_many_keys), BAD(key_kind),
        BAD(key_nameless), BAD(key_behind), BAD(key_proxies), BAD(rate_answers_nothing), BAD(rate_few_scratch), BAD(rate_few_response),
        BAD(policy_line_behind), BAD(policy_line_wrap), BAD(policy_line_short), BAD(policy_line_of_another_name), BAD(policy_line_of_two),
        BAD(policy_line_without_end), BAD(name_long), BAD(name_behind), BAD(name_of_lines), BAD(name_of_quotes), BAD(nobody_in_flight),
        BAD(too_many_in_flight), BAD(no_places), BAD(too_many_places), BAD(concurrency_key), BAD(concurrency_answers_nothing), BAD(no_time),
        BAD(timeout_answers_nothing), BAD(no_users), BAD(users_behind), BAD(users_odd), BAD(users_many), BAD(user_behind), BAD(user_wrap),
        BAD(basic_answers_nothing), BAD(no_tokens), BAD(tokens_behind), BAD(tokens_many), BAD(token_behind), BAD(bearer_name_behind),
        BAD(bearer_prefix_behind), BAD(bearer_missing), BAD(bearer_malformed), BAD(bearer_answers_nothing), BAD(canary_nowhere),
        BAD(canary_too_many), BAD(canary_header_behind), BAD(canary_value_behind), BAD(canary_cookie_behind),
        BAD(canary_cookie_value_behind), BAD(canary_sticky_behind), BAD(canary_proxies),
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct sl_plan *plan = NULL;
        uint32_t len = build();
        rows[i].change();
        int rc = load(&plan, len);
        CHECK_MSG(rc == SL_E_PLAN_INVALID && strstr(sl_fail_text(), "policy"), "%s: %d, %s", rows[i].name, rc, rc ? sl_fail_text() : "");
        if (rc == SL_OK) {
            sl_plan_unref(plan);
        }
    }
}

// Each word of each record set to what is seldom right: no read outside of the blob (ASan), whatever the answer.
TEST(any_words) {
    static const uint32_t words[] = {0, 1, 7, 0x7fffffff, 0x80000000, 0xfffffff8, UINT32_MAX};
    uint32_t refused = 0, taken = 0;
    for (uint32_t p = 0; p < POLICIES; p++) {
        uint32_t len = build();
        for (uint32_t at = 0; at < policy(p)->record_len; at += 4) {
            for (size_t w = 0; w < SL_COUNT_OF(words); w++) {
                struct sl_plan *plan;
                build();
                memcpy((uint8_t *)record(p) + at, &words[w], 4);
                if (load(&plan, len) == SL_OK) {
                    sl_plan_unref(plan);
                    taken++;
                } else {
                    refused++;
                }
            }
        }
    }
    CHECK(refused > 100 && taken > 20);
}
