// canary(): a part of the clients is served by another upstream: those who ask for it by a field or a cookie, and a share of the others, which a hash of
// their address or of a cookie chooses, so that each of them stays where it is, also with a larger share, another worker or another gateway.
#include "clients.h"
#include "http1_cookie.h"
#include "policy.h"

static struct sl_span text_of(const struct sl_policy *p, const struct sl_plan_text *text) {
    return sl_plan_span(p->plan, text->off, text->len);
}

static bool same(struct sl_span a, struct sl_span b) {
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

// FNV-1a and the finaliser of MurmurHash3, 32 bits: gateway/middleware/canary.ts does the same. Nothing is won by choosing one's side.
static uint32_t hash_of(struct sl_span text) {
    uint32_t h = 0x811c9dc5u;
    for (size_t i = 0; i < text.len; i++) {
        h = (h ^ text.data[i]) * 0x01000193u;
    }
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

static bool field_asks(const struct sl_policy *p, const struct sl_head *head) {
    const struct sl_plan_canary *r = p->record;
    struct sl_span name = text_of(p, &r->header), value = text_of(p, &r->header_value);
    for (uint32_t i = 0; name.len > 0 && i < head->field_count; i++) {
        const struct sl_field *field = &head->fields[i];
        if (same(sl_request_span(p->req, field->name_off, field->name_len), name) &&
            (!(r->flags & SL_PLAN_CANARY_HEADER_VALUE) ||
             same(sl_request_span(p->req, field->value_off, field->value_len), value))) {
            return true;
        }
    }
    return false;
}

static bool cookie_asks(const struct sl_policy *p, const struct sl_head *head) {
    const struct sl_plan_canary *r = p->record;
    struct sl_span name = text_of(p, &r->cookie), value;
    return name.len > 0 && sl_http1_cookie(head, p->req->head_data, name, &value) &&
           (!(r->flags & SL_PLAN_CANARY_COOKIE_VALUE) || same(value, text_of(p, &r->cookie_value)));
}

// Who has not got the cookie is known by its address. False: an error was answered.
static bool share_of(const struct sl_policy *p, const struct sl_head *head, uint32_t *out_share) {
    const struct sl_plan_canary *r = p->record;
    struct sl_span name = text_of(p, &r->sticky), value;
    if (name.len > 0 && sl_http1_cookie(head, p->req->head_data, name, &value)) {
        *out_share = hash_of(value) % SL_PLAN_CANARY_SHARES;
        return true;
    }
    uint8_t address[SL_ADDRESS_BYTES], bytes[8];
    if (!sl_policy_client(p, &r->client, address)) {
        return false;
    }
    sl_client client = sl_client_of(6, address);
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(client >> (56 - 8 * i));
    }
    *out_share = hash_of((struct sl_span){bytes, sizeof(bytes)}) % SL_PLAN_CANARY_SHARES;
    return true;
}

static enum sl_policy_next enter(const struct sl_policy *p) {
    const struct sl_plan_canary *r = p->record;
    const struct sl_head *head = sl_policy_head(p);
    if (!head) {
        return SL_POLICY_ANSWERED;
    }
    if (field_asks(p, head) || cookie_asks(p, head)) {
        return SL_POLICY_UPSTREAM;
    }
    uint32_t share = SL_PLAN_CANARY_SHARES;
    if (r->shares > 0 && !share_of(p, head, &share)) {
        return SL_POLICY_ANSWERED;
    }
    return share < r->shares ? SL_POLICY_UPSTREAM : SL_POLICY_PASS;
}

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row, const void *data) {
    const struct sl_plan_canary *r = data;
    const struct sl_plan_text *texts[] = {&r->header, &r->header_value, &r->cookie,
                                          &r->cookie_value, &r->sticky};
    bool good = row->upstream != SL_PLAN_NONE && r->shares <= SL_PLAN_CANARY_SHARES &&
                sl_policy_check_set(plan, r->client.proxies_off, r->client.proxies_count);
    for (size_t i = 0; good && i < SL_COUNT_OF(texts); i++) {
        good = sl_plan_holds(plan, texts[i]->off, texts[i]->len);
    }
    return good;
}

const struct sl_policy_op sl__canary_op = {
    .record_bytes = sizeof(struct sl_plan_canary), .check = check, .enter = enter};
