// methodNotAllowed(): where no route answers, but one for this path would if the method were another: 405 and which (RFC 9110 section 15.5.6).
#include "policy.h"

#define ALLOW_BYTES_MAX 1024u

struct list {
    uint8_t text[ALLOW_BYTES_MAX];
    size_t len;
};

static bool has(const struct list *list, struct sl_span method) {
    for (size_t at = 0; at < list->len;) {
        const uint8_t *comma = memchr(list->text + at, ',', list->len - at);
        size_t end = comma ? (size_t)(comma - list->text) : list->len;
        if (end - at == method.len && memcmp(list->text + at, method.data, method.len) == 0) {
            return true;
        }
        at = comma ? end + 2 : end;
    }
    return false;
}

// False: there is no room.
static bool add(struct list *list, struct sl_span method) {
    size_t blank = list->len > 0 ? 2 : 0;
    if (has(list, method)) {
        return true;
    }
    if (method.len + blank > sizeof(list->text) - list->len) {
        return false;
    }
    memcpy(list->text + list->len, ", ", blank);
    memcpy(list->text + list->len + blank, method.data, method.len);
    list->len += blank + method.len;
    return true;
}

// Each of "GET, HEAD".
static bool add_all(struct list *list, struct sl_span methods) {
    const uint8_t *at = methods.data, *end = at + methods.len;
    for (;;) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        if (!add(list, (struct sl_span){at, (size_t)((comma ? comma : end) - at)})) {
            return false;
        }
        if (!comma) {
            return true;
        }
        at = comma + 1 + (comma + 1 < end && comma[1] == ' ');
    }
}

static const struct sl_plan_allowed *rows_of(const struct sl_plan *plan,
                                             const struct sl_plan_method_not_allowed *record) {
    return (const void *)(plan->blob + record->rows_off);
}

// The methods of all routes for the request's path. False: too many for one line.
static bool find_allowed(const struct sl_policy *p, struct list *list) {
    const struct sl_plan_method_not_allowed *record = p->record;
    const struct sl_head *h = &p->req->head; // no edit changes its path
    uint8_t decoded[16384];
    SL_ASSERT(h->path_len <= sizeof(decoded));
    struct sl_span path = sl_route_path(p->plan, sl_request_span(p->req, h->path_off, h->path_len),
                                        h->flags & SL_HEAD_PATH_ESCAPED, decoded);
    for (uint32_t i = 0; i < record->rows_count; i++) {
        const struct sl_plan_allowed *row = &rows_of(p->plan, record)[i];
        if (sl_route_takes(p->plan, &p->plan->entries[row->entry], path) &&
            !add_all(list, sl_plan_span(p->plan, row->off, row->len))) {
            return false;
        }
    }
    return list->len > 0;
}

static enum sl_policy_next enter(const struct sl_policy *p) {
    static const char type[] = "content-type: text/plain; charset=UTF-8\r\n";
    struct list list = {.len = 0};
    if (p->req->chain.end || !find_allowed(p, &list) ||
        has(&list, sl_request_span(p->req, 0, p->req->head.method_len))) {
        return SL_POLICY_PASS;
    }
    uint8_t fields[sizeof(type) + ALLOW_BYTES_MAX + 16];
    size_t n = sizeof(type) - 1;
    memcpy(fields, type, n);
    memcpy(fields + n, "allow: ", 7);
    memcpy(fields + n + 7, list.text, list.len);
    memcpy(fields + n + 7 + list.len, "\r\n", 2);
    struct sl_span body = sl_span_of("Method Not Allowed");
    struct sl_response_head response = {.status = 405,
                                        .framing = SL_FRAMING_LENGTH,
                                        .content_length = body.len,
                                        .fields = {fields, n + list.len + 9}};
    return sl_policy_respond(p, &response, body, SL_E_METHOD_NOT_ALLOWED);
}

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row,
                  const void *record) {
    const struct sl_plan_method_not_allowed *r = record;
    (void)row;
    if (r->rows_off % 4 != 0 ||
        !sl_plan_holds(plan, r->rows_off,
                       (uint64_t)r->rows_count * sizeof(struct sl_plan_allowed))) {
        return false;
    }
    for (uint32_t i = 0; i < r->rows_count; i++) {
        const struct sl_plan_allowed *allowed = &rows_of(plan, r)[i];
        if (allowed->entry >= plan->header->entry_count || allowed->len == 0 ||
            !sl_plan_holds(plan, allowed->off, allowed->len)) {
            return false;
        }
        for (uint32_t k = 0; k < allowed->len; k++) {
            uint8_t ch = plan->blob[allowed->off + k];
            if (ch < ' ' || ch > '~') {
                return false; // it goes into a field line
            }
        }
    }
    return true;
}

const struct sl_policy_op sl__method_not_allowed_op = {
    .record_bytes = sizeof(struct sl_plan_method_not_allowed), .check = check, .enter = enter};
