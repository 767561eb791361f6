// rateLimit(): how many requests of a key pass, by GCRA (rate_limit.h). The table is the policy's own, and outlives a reload that leaves it as it is.
#include <stdlib.h>

#include "policy.h"
#include "policy_key.h"
#include "rate_limit.h"

#define US_PER_S 1000000u
#define FULL_S_MAX (SL_RATE_WINDOW_US_MAX / US_PER_S)
#define EDITS 3u
#define NAME_LIMIT "ratelimit"
#define NAME_RETRY "retry-after"
#define LIMIT_MAX 36u // ratelimit: "";r=4294967295;t=86400, without the name
#define RETRY_MAX 20u // retry-after: 86400

struct state {
    struct sl_policy_state base; // first
    struct sl_rate_limit *table;
    struct sl_hash_key secret;
};

static struct sl_rate rate_of(const struct sl_plan_rate_limit *record) {
    return (struct sl_rate){record->interval_us, record->interval_us * record->burst};
}

static uint64_t now_us(const struct sl_policy *p) { return p->req->conn->worker->now_ns / 1000; }

// The lines under way: `base` is where their offsets count from.
struct lines {
    struct sl_plan_edit *edits;
    uint8_t *base;
    uint32_t used, count;
};

static void put(struct lines *lines, const void *data, size_t len) {
    memcpy(lines->base + lines->used, data, len);
    lines->used += (uint32_t)len;
}

static void put_number(struct lines *lines, uint32_t number) {
    char digits[10];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    put(lines, digits + at, sizeof(digits) - at);
}

static void end_line(struct lines *lines, uint8_t kind, uint32_t off, size_t name_len) {
    lines->edits[lines->count++] =
        (struct sl_plan_edit){.kind = kind,
                              .last = 1, // each name once
                              .name_len = (uint16_t)name_len,
                              .off = off,
                              .len = lines->used - off,
                              .bit = sl_edit_bit(lines->base + off, name_len)};
}

static uint32_t seconds_up(uint64_t us) {
    return (uint32_t)sl_min_u64((us + US_PER_S - 1) / US_PER_S, FULL_S_MAX);
}

// RateLimit and RateLimit-Policy as draft-ietf-httpapi-ratelimit-headers-10 writes them: lists of structured fields, to which each limit adds its own.
static void put_fields(const struct sl_policy *p, const struct sl_rate_answer *answer) {
    const struct sl_plan_rate_limit *record = p->record;
    uint8_t *scratch = sl_policy_scratch(p, p->row->scratch_bytes - 3u);
    struct lines lines = {(void *)scratch, scratch + EDITS * sizeof(struct sl_plan_edit), 0, 0};
    put(&lines, p->plan->blob + record->policy_off, record->policy_len);
    end_line(&lines, SL_PLAN_EDIT_APPEND, 0, sizeof(SL_PLAN_RATE_POLICY_NAME) - 1);
    uint32_t off = lines.used;
    put(&lines, NAME_LIMIT ": \"", sizeof(NAME_LIMIT ": \"") - 1);
    put(&lines, p->plan->blob + record->name_off, record->name_len);
    put(&lines, "\";r=", 4);
    put_number(&lines, answer->remaining);
    put(&lines, ";t=", 3);
    put_number(&lines, seconds_up(answer->full_us));
    put(&lines, "\r\n", 2);
    end_line(&lines, SL_PLAN_EDIT_APPEND, off, sizeof(NAME_LIMIT) - 1);
    if (!answer->passes) {
        off = lines.used;
        put(&lines, NAME_RETRY ": ", sizeof(NAME_RETRY ": ") - 1);
        put_number(&lines, seconds_up(answer->wait_us));
        put(&lines, "\r\n", 2);
        end_line(&lines, SL_PLAN_EDIT_SET, off, sizeof(NAME_RETRY) - 1);
    }
    sl_policy_edit_response(p, (struct sl_edit_run){lines.edits, lines.base, lines.count, 0});
}

static enum sl_policy_next enter(const struct sl_policy *p) {
    const struct sl_plan_rate_limit *record = p->record;
    struct state *state = p->state;
    struct sl_counters *counters = &p->req->conn->worker->counters;
    struct sl_rate rate = rate_of(record);
    uint64_t hash;
    if (!sl_policy_key_hash(p, &record->key, &state->secret, &hash)) {
        return SL_POLICY_ANSWERED;
    }
    struct sl_rate_answer answer = sl_rate_limit_take(state->table, hash, &rate, now_us(p));
    counters->rate_limit_evictions += answer.evicted;
    if (record->flags & SL_PLAN_RATE_DRY_RUN) {
        counters->rate_limited_dry_run += !answer.passes;
        return SL_POLICY_PASS;
    }
    put_fields(p, &answer);
    if (answer.passes) {
        return SL_POLICY_PASS;
    }
    counters->rate_limited++;
    return sl_policy_answer(p, SL_E_RATE_LIMITED);
}

static void close_state(struct sl_policy_state *base) {
    struct state *state = SL_CONTAINER_OF(base, struct state, base);
    sl_rate_limit_free(state->table);
    free(state);
}

static int open_state(struct sl_policy_state **out_state, const struct sl_plan *plan,
                      const struct sl_plan_policy *row, const void *data) {
    (void)plan;
    (void)row;
    const struct sl_plan_rate_limit *record = data;
    struct state *state = calloc(1, sizeof(*state));
    if (!state) {
        return sl_fail(SL_E_NO_MEMORY, "a rate limit");
    }
    int rc = sl_policy_key_secret(&state->secret);
    // Its clock may begin anywhere: what it has not seen yet is as good as long ago.
    rc = rc ? rc : sl_rate_limit_new(&state->table, record->keys_max);
    if (rc) {
        free(state);
        return rc;
    }
    *out_state = &state->base;
    return SL_OK;
}

// The policy line is written by whoever made the plan: it must be that field, and nothing else.
static bool good_line(const struct sl_plan *plan, const struct sl_plan_rate_limit *record) {
    bool has_date;
    const size_t name_len = sizeof(SL_PLAN_RATE_POLICY_NAME) - 1;
    if (!sl_plan_holds(plan, record->policy_off, record->policy_len) ||
        record->policy_len < name_len + 4) {
        return false;
    }
    const uint8_t *line = plan->blob + record->policy_off;
    return memcmp(line, SL_PLAN_RATE_POLICY_NAME ": ", name_len + 2) == 0 &&
           memchr(line, '\n', record->policy_len) == line + record->policy_len - 1 &&
           sl_http1_check_fields(line, record->policy_len, &has_date) == SL_OK;
}

static bool good_name(const struct sl_plan *plan, const struct sl_plan_rate_limit *record) {
    bool good = record->name_len <= SL_PLAN_RATE_NAME_MAX &&
                sl_plan_holds(plan, record->name_off, record->name_len);
    for (uint32_t i = 0; good && i < record->name_len; i++) {
        uint8_t ch = plan->blob[record->name_off + i];
        good = ch >= ' ' && ch < 0x7f && ch != '"' && ch != '\\';
    }
    return good;
}

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row, const void *data) {
    const struct sl_plan_rate_limit *r = data;
    bool dry = r->flags & SL_PLAN_RATE_DRY_RUN;
    uint64_t lines = LIMIT_MAX + RETRY_MAX + (uint64_t)r->policy_len + r->name_len;
    return r->burst > 0 && r->interval_us > 0 &&
           r->interval_us <= SL_RATE_WINDOW_US_MAX / r->burst && r->keys_max > 0 &&
           r->keys_max <= SL_PLAN_RATE_KEYS_MAX && sl_policy_key_check(plan, &r->key) &&
           (dry || (good_line(plan, r) && good_name(plan, r) && row->respond != SL_PLAN_NONE &&
                    row->response_bytes >= lines &&
                    row->scratch_bytes >= lines + EDITS * sizeof(struct sl_plan_edit) + 3));
}

const struct sl_policy_op sl__rate_limit_op = {.record_bytes = sizeof(struct sl_plan_rate_limit),
                                               .check = check,
                                               .open = open_state,
                                               .close = close_state,
                                               .enter = enter};
