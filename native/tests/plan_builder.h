// Builds plan blobs for tests, as gateway/plan_blob.ts does.
#ifndef SL_PLAN_BUILDER_H
#define SL_PLAN_BUILDER_H

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/event.h"
#include "sluice/plan.h"
#include "sluice/policy.h"

struct plan_builder {
    struct sl_plan_header header;
    struct sl_plan_entry entries[64];
    struct sl_plan_seg segs[512];
    struct sl_plan_step steps[256];
    struct sl_plan_headers headers[64];
    struct sl_plan_edit edits[512];
    struct sl_plan_respond responds[64];
    struct sl_plan_upstream upstreams[16];
    struct sl_plan_policy policies[64];
    uint8_t bytes[1 << 21]; // strings; offsets are made absolute by plan_finish
    uint32_t used;
    _Alignas(8) uint8_t blob[1 << 22]; // tests look into it
};

static inline uint32_t plan_bytes(struct plan_builder *b, const void *data, size_t len) {
    uint32_t at = b->used;
    memcpy(b->bytes + at, data, len);
    b->used += (uint32_t)len;
    return at;
}

static inline void plan_init(struct plan_builder *b) {
    memset(b, 0, sizeof(*b));
    b->header.magic = SL_PLAN_MAGIC;
    b->header.version = SL_PLAN_VERSION;
    b->header.via_off = plan_bytes(b, "sluice", 6);
    b->header.via_len = 6;
}

// One more step of the last entry.
static inline void plan_step(struct plan_builder *b, uint8_t op, uint32_t arg) {
    struct sl_plan_entry *e = &b->entries[b->header.entry_count - 1];
    uint32_t route = b->header.step_count;
    b->steps[b->header.step_count++] = (struct sl_plan_step){.op = op, .arg = arg, .route = route};
    e->step_count++;
}

// ":{0-9}2,4": one range and a count.
static inline void plan_class(struct plan_builder *b, struct sl_plan_seg *seg, const char *text) {
    struct sl_plan_class class = {.min = (uint32_t)atoi(text + 6), .max = (uint32_t)atoi(strchr(text, ',') + 1)};
    for (int byte = text[2]; byte <= text[4]; byte++) {
        class.set[byte / 8] |= (uint8_t)(1u << (byte % 8));
    }
    *seg = (struct sl_plan_seg){.kind = SL_PLAN_SEG_CLASS, .len = sizeof(class), .off = plan_bytes(b, &class, sizeof(class))};
}

// pattern: "/a/:id/x", "/api/*", "/a/:{0-9}2,4", "/a/:+" (TAIL). op 255: its steps follow.
static inline struct sl_plan_entry *plan_entry(struct plan_builder *b, uint8_t method, const char *pattern, uint8_t op, uint32_t arg) {
    struct sl_plan_entry *e = &b->entries[b->header.entry_count++];
    e->method = method;
    e->step_first = b->header.step_count;
    if (op != 255) {
        plan_step(b, op, arg);
    }
    e->seg_first = b->header.seg_count;
    for (const char *at = pattern; *at == '/';) {
        const char *end = strchr(++at, '/');
        size_t len = end ? (size_t)(end - at) : strlen(at);
        struct sl_plan_seg *seg = &b->segs[b->header.seg_count++];
        seg->kind = *at == ':' ? SL_PLAN_SEG_PARAM : len == 1 && *at == '*' ? SL_PLAN_SEG_REST : SL_PLAN_SEG_STATIC;
        seg->len = seg->kind == SL_PLAN_SEG_STATIC ? (uint16_t)len : 0;
        seg->off = plan_bytes(b, at, seg->len);
        if (at[0] == ':' && at[1] == '{') {
            plan_class(b, seg, at);
        } else if (at[0] == ':' && at[1] == '+') {
            seg->kind = SL_PLAN_SEG_TAIL;
        }
        e->seg_count++;
        at += len;
    }
    return e;
}

static inline void plan_respond(struct plan_builder *b, uint8_t method, const char *pattern, uint16_t status, const char *fields,
                                const void *body, size_t body_len) {
    uint32_t i = b->header.respond_count++;
    b->responds[i] = (struct sl_plan_respond){.status = status, .fields_off = plan_bytes(b, fields, strlen(fields)),
                                              .fields_len = (uint32_t)strlen(fields),
                                              .body_off = plan_bytes(b, body, body_len), .body_len = (uint32_t)body_len};
    plan_entry(b, method, pattern, SL_PLAN_OP_RESPOND, i);
}

// "-name", "=name: value" and "+name: value", separated by '|'. Returns the number of edits; *bytes: their sum.
static inline uint32_t plan_edits(struct plan_builder *b, const char *edits, uint32_t *bytes) {
    uint32_t count = 0;
    for (const char *at = edits; *at;) {
        const char *end = strchr(at, '|') ? strchr(at, '|') : at + strlen(at);
        uint8_t kind = *at == '-' ? SL_PLAN_EDIT_REMOVE : *at == '=' ? SL_PLAN_EDIT_SET : SL_PLAN_EDIT_APPEND;
        const char *text = at + 1;
        size_t len = (size_t)(end - text);
        const char *colon = memchr(text, ':', len);
        struct sl_plan_edit *e = &b->edits[b->header.edit_count++];
        *e = (struct sl_plan_edit){.kind = kind, .name_len = (uint16_t)(colon ? (size_t)(colon - text) : len),
                                   .off = plan_bytes(b, text, len), .len = (uint32_t)len};
        if (kind != SL_PLAN_EDIT_REMOVE) {
            plan_bytes(b, "\r\n", 2);
            e->len += 2;
        }
        *bytes += e->len;
        count++;
        at = *end ? end + 1 : end;
    }
    return count;
}

// Returns the index of a headers row.
static inline uint32_t plan_headers(struct plan_builder *b, const char *request, const char *response) {
    struct sl_plan_headers *h = &b->headers[b->header.header_count];
    h->request_first = b->header.edit_count;
    h->request_count = plan_edits(b, request, &h->request_bytes);
    h->response_first = b->header.edit_count;
    h->response_count = plan_edits(b, response, &h->response_bytes);
    return b->header.header_count++;
}

static inline struct sl_plan_upstream *plan_proxy(struct plan_builder *b, uint8_t method, const char *pattern, uint16_t port) {
    uint32_t i = b->header.upstream_count++;
    struct sl_plan_upstream *u = &b->upstreams[i];
    *u = (struct sl_plan_upstream){.family = 4, .port = port, .addr = {127, 0, 0, 1}, .name_off = plan_bytes(b, "up", 2),
                                   .name_len = 2, .conns_max = 64, .idle_max = 16, .connect_timeout_ms = 2000,
                                   .head_timeout_ms = 5000, .idle_timeout_ms = 5000, .tunnel_idle_timeout_ms = 5000};
    plan_entry(b, method, pattern, SL_PLAN_OP_PROXY, i);
    return u;
}

// Returns the index of a policies row. The record's offsets are the caller's to move: they count from where plan_finish puts `bytes`.
static inline uint32_t plan_policy(struct plan_builder *b, uint8_t op, const void *record, size_t len) {
    struct sl_plan_policy *p = &b->policies[b->header.policy_count];
    b->used = (b->used + 7) & ~7u;
    *p = (struct sl_plan_policy){.op = op, .request_bytes = 512, .response_bytes = 512, .scratch_bytes = 400,
                                 .record_off = plan_bytes(b, record, len), .record_len = (uint32_t)len,
                                 .respond = SL_PLAN_NONE, .upstream = SL_PLAN_NONE};
    return b->header.policy_count++;
}

static inline uint32_t plan_request_id(struct plan_builder *b, const char *name, uint8_t trust, const struct sl_plan_range *trusted,
                                       uint32_t count) {
    struct sl_plan_request_id r = {.trust = trust, .id_bytes_max = 255, .name_len = (uint16_t)strlen(name),
                                   .name_off = plan_bytes(b, name, strlen(name)), .trusted_count = count};
    r.trusted_off = plan_bytes(b, trusted, count * sizeof(*trusted));
    return plan_policy(b, SL_PLAN_OP_REQUEST_ID, &r, sizeof(r));
}

// Answers with the last row of responds. Each set has `count` ranges.
static inline uint32_t plan_ip_restriction(struct plan_builder *b, const struct sl_plan_range *proxies, const struct sl_plan_range *deny,
                                           const struct sl_plan_range *allow, uint32_t count) {
    size_t len = count * sizeof(*deny);
    struct sl_plan_ip_restriction r = {.client = {.proxies_off = plan_bytes(b, proxies, len), .proxies_count = count},
                                       .deny_off = plan_bytes(b, deny, len), .deny_count = count,
                                       .allow_off = plan_bytes(b, allow, len), .allow_count = count};
    uint32_t index = plan_policy(b, SL_PLAN_OP_IP_RESTRICTION, &r, sizeof(r));
    b->policies[index].respond = b->header.respond_count - 1;
    return index;
}

// Answers with the last row of responds.
static inline uint32_t plan_body_limit(struct plan_builder *b, uint64_t bytes_max) {
    struct sl_plan_body_limit r = {bytes_max};
    uint32_t index = plan_policy(b, SL_PLAN_OP_BODY_LIMIT, &r, sizeof(r));
    b->policies[index].respond = b->header.respond_count - 1;
    return index;
}

// One row, of the first entry.
static inline uint32_t plan_method_not_allowed(struct plan_builder *b, const char *methods) {
    struct sl_plan_allowed row = {0, plan_bytes(b, methods, strlen(methods)), (uint32_t)strlen(methods)};
    b->used = (b->used + 7) & ~7u;
    struct sl_plan_method_not_allowed r = {plan_bytes(b, &row, sizeof(row)), 1};
    return plan_policy(b, SL_PLAN_OP_METHOD_NOT_ALLOWED, &r, sizeof(r));
}

// Two origins, each with its row of headers; the last edit of all rows is Vary's.
static inline uint32_t plan_cors(struct plan_builder *b, const char *first, const char *second, const char *preflight) {
    uint32_t none = plan_headers(b, "", "+vary: Origin");
    struct sl_plan_cors_origin origins[2] = {
        {plan_bytes(b, first, strlen(first)), (uint32_t)strlen(first), plan_headers(b, "", "=access-control-allow-origin: 1|+vary: Origin")},
        {plan_bytes(b, second, strlen(second)), (uint32_t)strlen(second), plan_headers(b, "", "=access-control-allow-origin: 2|+vary: Origin")},
    };
    struct sl_plan_cors r = {.origins_count = 2, .otherwise = none, .preflight_off = plan_bytes(b, preflight, strlen(preflight)),
                             .preflight_len = (uint32_t)strlen(preflight), .vary_last = 1, .reflects = 1};
    b->used = (b->used + 7) & ~7u;
    r.origins_off = plan_bytes(b, origins, sizeof(origins));
    return plan_policy(b, SL_PLAN_OP_CORS, &r, sizeof(r));
}

// 425: what may not run early is refused by that respond row; SL_PLAN_NONE: it waits.
static inline uint32_t plan_early_data(struct plan_builder *b, uint32_t respond) {
    struct sl_plan_early_data r = {.refuse = respond != SL_PLAN_NONE};
    uint32_t index = plan_policy(b, SL_PLAN_OP_EARLY_DATA, &r, sizeof(r));
    b->policies[index].respond = respond;
    return index;
}

// Limits answer with the last row of responds. By route, unless name says the field.
static inline struct sl_plan_key plan_key(struct plan_builder *b, const char *name) {
    return (struct sl_plan_key){.kind = name ? SL_PLAN_KEY_HEADER : SL_PLAN_KEY_ROUTE, .name_len = (uint16_t)(name ? strlen(name) : 0),
                                .name_off = plan_bytes(b, name ? name : "", name ? strlen(name) : 0)};
}

static inline uint32_t plan_limit(struct plan_builder *b, uint8_t op, const void *record, size_t len) {
    uint32_t index = plan_policy(b, op, record, len);
    b->policies[index].respond = b->header.respond_count - 1;
    if (op != SL_PLAN_OP_RATE_LIMIT) { // others write no lines
        b->policies[index].request_bytes = b->policies[index].response_bytes = b->policies[index].scratch_bytes = 0;
    }
    return index;
}

static inline uint32_t plan_rate_limit(struct plan_builder *b, const char *field, uint64_t interval_us, uint32_t burst) {
    static const char policy[] = "ratelimit-policy: \"n\";q=2;w=20\r\n";
    struct sl_plan_rate_limit r = {.key = plan_key(b, field), .interval_us = interval_us, .burst = burst, .keys_max = 8,
                                   .policy_off = plan_bytes(b, policy, sizeof(policy) - 1), .policy_len = sizeof(policy) - 1,
                                   .name_off = plan_bytes(b, "n", 1), .name_len = 1};
    return plan_limit(b, SL_PLAN_OP_RATE_LIMIT, &r, sizeof(r));
}

static inline uint32_t plan_concurrency_limit(struct plan_builder *b, const char *field, uint32_t max) {
    struct sl_plan_concurrency_limit r = {.key = plan_key(b, field), .max = max, .keys_max = 8};
    return plan_limit(b, SL_PLAN_OP_CONCURRENCY_LIMIT, &r, sizeof(r));
}

static inline uint32_t plan_timeout(struct plan_builder *b, uint32_t ms) {
    struct sl_plan_timeout r = {.ms = ms};
    return plan_limit(b, SL_PLAN_OP_TIMEOUT, &r, sizeof(r));
}

static inline struct sl_plan_text plan_text(struct plan_builder *b, const char *text) {
    return (struct sl_plan_text){plan_bytes(b, text, strlen(text)), (uint32_t)strlen(text)};
}

static inline uint32_t plan_basic_auth(struct plan_builder *b, const char *name, const char *password) {
    struct sl_plan_user user = {plan_text(b, name), plan_text(b, password)};
    struct sl_plan_basic_auth r = {.user_count = 1};
    b->used = (b->used + 7) & ~7u;
    r.users_off = plan_bytes(b, &user, sizeof(user));
    return plan_limit(b, SL_PLAN_OP_BASIC_AUTH, &r, sizeof(r));
}

static inline uint32_t plan_bearer_auth(struct plan_builder *b, const char *token) {
    struct sl_plan_text text = plan_text(b, token);
    struct sl_plan_bearer_auth r = {.name = plan_text(b, "authorization"), .prefix = plan_text(b, "bearer"), .token_count = 1};
    b->used = (b->used + 7) & ~7u;
    r.tokens_off = plan_bytes(b, &text, sizeof(text));
    return plan_limit(b, SL_PLAN_OP_BEARER_AUTH, &r, sizeof(r));
}

// To the last row of upstreams.
static inline uint32_t plan_canary(struct plan_builder *b, const char *field, const char *cookie, uint32_t shares) {
    struct sl_plan_canary r = {.header = plan_text(b, field), .cookie = plan_text(b, cookie), .cookie_value = plan_text(b, "yes"),
                               .sticky = plan_text(b, "id"), .shares = shares, .flags = SL_PLAN_CANARY_COOKIE_VALUE};
    uint32_t index = plan_policy(b, SL_PLAN_OP_CANARY, &r, sizeof(r));
    b->policies[index].upstream = b->header.upstream_count - 1;
    return index;
}

static inline void plan_move_texts(struct sl_plan_text *texts, uint32_t count, uint32_t base) {
    for (uint32_t i = 0; i < count; i++) {
        texts[i].off += base;
    }
}

static inline void plan_move_limit(struct plan_builder *b, const struct sl_plan_policy *p, uint32_t base) {
    void *record = b->bytes + p->record_off;
    if (p->op == SL_PLAN_OP_RATE_LIMIT) {
        struct sl_plan_rate_limit *r = record;
        r->key.name_off += base;
        r->policy_off += base;
        r->name_off += base;
    } else if (p->op == SL_PLAN_OP_CONCURRENCY_LIMIT) {
        ((struct sl_plan_concurrency_limit *)record)->key.name_off += base;
    } else if (p->op == SL_PLAN_OP_BASIC_AUTH) {
        struct sl_plan_basic_auth *r = record;
        plan_move_texts((void *)(b->bytes + r->users_off), 2 * r->user_count, base);
        r->users_off += base;
    } else if (p->op == SL_PLAN_OP_BEARER_AUTH) {
        struct sl_plan_bearer_auth *r = record;
        plan_move_texts((void *)(b->bytes + r->tokens_off), r->token_count, base);
        plan_move_texts(&r->name, 2, base);
        r->tokens_off += base;
    } else if (p->op == SL_PLAN_OP_CANARY) {
        plan_move_texts(record, 5, base);
    }
}

// Offsets inside of records, once it is known where `bytes` lies.
static inline void plan_move_record(struct plan_builder *b, const struct sl_plan_policy *p, uint32_t base) {
    void *record = b->bytes + p->record_off;
    plan_move_limit(b, p, base);
    if (p->op == SL_PLAN_OP_CORS) {
        struct sl_plan_cors *r = record;
        struct sl_plan_cors_origin *origins = (void *)(b->bytes + r->origins_off);
        for (uint32_t i = 0; i < r->origins_count; i++) {
            origins[i].off += base;
        }
        r->origins_off += base;
        r->preflight_off += base;
    }
    if (p->op == SL_PLAN_OP_METHOD_NOT_ALLOWED) {
        struct sl_plan_method_not_allowed *r = record;
        struct sl_plan_allowed *rows = (void *)(b->bytes + r->rows_off);
        for (uint32_t i = 0; i < r->rows_count; i++) {
            rows[i].off += base;
        }
        r->rows_off += base;
    }
    if (p->op == SL_PLAN_OP_IP_RESTRICTION) {
        struct sl_plan_ip_restriction *r = record;
        r->client.proxies_off += base;
        r->deny_off += base;
        r->allow_off += base;
    }
    if (p->op == SL_PLAN_OP_REQUEST_ID) {
        ((struct sl_plan_request_id *)record)->name_off += base;
        ((struct sl_plan_request_id *)record)->trusted_off += base;
    }
}

static inline uint32_t plan_put(struct plan_builder *b, uint32_t at, const void *data, size_t len) {
    memcpy(b->blob + at, data, len);
    return (uint32_t)((at + len + 7) & ~7u);
}

// Returns the blob's length; b->blob holds it.
static inline uint32_t plan_finish(struct plan_builder *b) {
    struct sl_plan_header *h = &b->header;
    uint32_t at = sizeof(*h);
    h->entries_off = at;
    at = (at + h->entry_count * (uint32_t)sizeof(b->entries[0]) + 7) & ~7u;
    h->segs_off = at;
    at = (at + h->seg_count * (uint32_t)sizeof(b->segs[0]) + 7) & ~7u;
    h->steps_off = at;
    at = (at + h->step_count * (uint32_t)sizeof(b->steps[0]) + 7) & ~7u;
    h->responds_off = at;
    at = (at + h->respond_count * (uint32_t)sizeof(b->responds[0]) + 7) & ~7u;
    h->upstreams_off = at;
    at = (at + h->upstream_count * (uint32_t)sizeof(b->upstreams[0]) + 7) & ~7u;
    h->headers_off = at;
    at = (at + h->header_count * (uint32_t)sizeof(b->headers[0]) + 7) & ~7u;
    h->edits_off = at;
    at = (at + h->edit_count * (uint32_t)sizeof(b->edits[0]) + 7) & ~7u;
    h->policies_off = at;
    at = (at + h->policy_count * (uint32_t)sizeof(b->policies[0]) + 7) & ~7u;
    uint32_t base = at;
    for (uint32_t i = 0; i < h->policy_count; i++) {
        plan_move_record(b, &b->policies[i], base);
        b->policies[i].record_off += base;
    }
    h->via_off += base;
    for (uint32_t i = 0; i < h->seg_count; i++) {
        b->segs[i].off += base;
    }
    for (uint32_t i = 0; i < h->respond_count; i++) {
        b->responds[i].fields_off += base;
        b->responds[i].body_off += base;
    }
    for (uint32_t i = 0; i < h->upstream_count; i++) {
        b->upstreams[i].name_off += base;
    }
    for (uint32_t i = 0; i < h->edit_count; i++) {
        b->edits[i].off += base;
    }
    h->bytes = base + b->used;
    plan_put(b, 0, h, sizeof(*h));
    plan_put(b, h->entries_off, b->entries, h->entry_count * sizeof(b->entries[0]));
    plan_put(b, h->segs_off, b->segs, h->seg_count * sizeof(b->segs[0]));
    plan_put(b, h->steps_off, b->steps, h->step_count * sizeof(b->steps[0]));
    plan_put(b, h->headers_off, b->headers, h->header_count * sizeof(b->headers[0]));
    plan_put(b, h->edits_off, b->edits, h->edit_count * sizeof(b->edits[0]));
    plan_put(b, h->responds_off, b->responds, h->respond_count * sizeof(b->responds[0]));
    plan_put(b, h->upstreams_off, b->upstreams, h->upstream_count * sizeof(b->upstreams[0]));
    plan_put(b, h->policies_off, b->policies, h->policy_count * sizeof(b->policies[0]));
    plan_put(b, base, b->bytes, b->used);
    return h->bytes;
}

#endif
