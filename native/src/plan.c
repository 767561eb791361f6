#include "plan.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "http1_parse.h"
#include "policy.h"
#include "route_index.h"
#include "secret.h"

struct check {
    const uint8_t *blob;
    size_t len;
};

static bool in_bounds(const struct check *c, uint32_t off, uint64_t bytes) {
    return off <= c->len && bytes <= c->len - off;
}

static int bad(const char *what, uint32_t index, uint32_t value) {
    return sl_fail(SL_E_PLAN_INVALID, "plan: %s is invalid (index %u, value %u)", what, index,
                   value);
}

static int check_table(const struct check *c, const char *what, uint32_t off, uint32_t count,
                       size_t size) {
    if (off % 4 != 0 || !in_bounds(c, off, (uint64_t)count * size)) {
        return bad(what, count, off);
    }
    return SL_OK;
}

static int check_header(const struct check *c, const struct sl_plan_header *h) {
    if (h->magic != SL_PLAN_MAGIC) {
        return bad("magic", 0, h->magic);
    }
    if (h->version != SL_PLAN_VERSION) {
        return bad("version", 0, h->version);
    }
    if (h->bytes != c->len) {
        return bad("bytes", 0, h->bytes);
    }
    if (h->entry_count > SL_PLAN_ENTRIES_MAX) {
        return bad("entry_count", 0, h->entry_count);
    }
    if (h->step_count > SL_PLAN_STEPS_MAX) {
        return bad("step_count", 0, h->step_count);
    }
    if (h->policy_count > SL_PLAN_STEPS_MAX) {
        return bad("policy_count", 0, h->policy_count);
    }
    if (h->via_len < 1 || h->via_len > 64 || !in_bounds(c, h->via_off, h->via_len)) {
        return bad("via", 0, h->via_len);
    }
    for (uint32_t i = 0; i < h->via_len; i++) {
        uint8_t ch = c->blob[h->via_off + i];
        if (ch <= ' ' || ch >= 0x7f || ch == ',' || ch == '(' || ch == ')') {
            return bad("via", i, ch);
        }
    }
    const struct {
        const char *what;
        uint32_t off, count;
        size_t size;
    } tables[] = {
        {"entries", h->entries_off, h->entry_count, sizeof(struct sl_plan_entry)},
        {"segs", h->segs_off, h->seg_count, sizeof(struct sl_plan_seg)},
        {"steps", h->steps_off, h->step_count, sizeof(struct sl_plan_step)},
        {"responds", h->responds_off, h->respond_count, sizeof(struct sl_plan_respond)},
        {"upstreams", h->upstreams_off, h->upstream_count, sizeof(struct sl_plan_upstream)},
        {"headers", h->headers_off, h->header_count, sizeof(struct sl_plan_headers)},
        {"edits", h->edits_off, h->edit_count, sizeof(struct sl_plan_edit)},
        {"policies", h->policies_off, h->policy_count, sizeof(struct sl_plan_policy)},
    };
    int rc = SL_OK;
    for (size_t i = 0; i < SL_COUNT_OF(tables) && !rc; i++) {
        rc = check_table(c, tables[i].what, tables[i].off, tables[i].count, tables[i].size);
    }
    return rc;
}

static int check_entry(const struct check *c, const struct sl_plan *plan, uint32_t i) {
    const struct sl_plan_header *h = plan->header;
    const struct sl_plan_entry *e = &plan->entries[i];
    if (e->method > SL_METHOD_QUERY && e->method != SL_PLAN_METHOD_ALL) {
        return bad("entry method", i, e->method);
    }
    if (e->method == SL_METHOD_OTHER &&
        (e->method_len == 0 || e->method_len > 32 || !in_bounds(c, e->method_off, e->method_len))) {
        return bad("entry method name", i, e->method_len);
    }
    if (e->seg_count > 64 || e->seg_first > h->seg_count ||
        e->seg_count > h->seg_count - e->seg_first) {
        return bad("entry segments", i, e->seg_first);
    }
    if (e->seg_count == 0) {
        return bad("entry without segments", i, 0);
    }
    for (uint32_t s = 0; s + 1 < e->seg_count; s++) {
        uint8_t kind = plan->segs[e->seg_first + s].kind;
        if (kind == SL_PLAN_SEG_REST || kind == SL_PLAN_SEG_TAIL) {
            return bad("entry with REST before its end", i, s);
        }
    }
    if (e->step_count == 0 || e->step_first > h->step_count ||
        e->step_count > h->step_count - e->step_first) {
        return bad("entry steps", i, e->step_first);
    }
    for (uint32_t s = 0; s + 1 < e->step_count; s++) {
        if (sl_plan_op_ends(plan->steps[e->step_first + s].op)) {
            return bad("entry with a step behind its end", i, s);
        }
    }
    return SL_OK;
}

static int check_step(const struct sl_plan *plan, uint32_t i) {
    const struct sl_plan_header *h = plan->header;
    const struct sl_plan_step *s = &plan->steps[i];
    uint32_t limit;
    switch (s->op) {
    case SL_PLAN_OP_TYPESCRIPT:
    case SL_PLAN_OP_WHOAMI:
        return SL_OK;
    case SL_PLAN_OP_RESPOND:
        limit = h->respond_count;
        break;
    case SL_PLAN_OP_PROXY:
        limit = h->upstream_count;
        break;
    case SL_PLAN_OP_HEADERS:
        limit = h->header_count;
        break;
    default:
        limit = h->policy_count;
        break;
    }
    if (s->op > SL_PLAN_OP_HEADERS &&
        (s->op < SL_PLAN_OP_POLICY || (s->arg < limit && plan->policies[s->arg].op != s->op))) {
        return bad("step op", i, s->op);
    }
    return s->arg < limit ? SL_OK : bad("step arg", i, s->arg);
}

static int check_respond(const struct check *c, const struct sl_plan_respond *r, uint32_t i) {
    if (r->status < 200 || r->status > 599) {
        return bad("respond status", i, r->status);
    }
    if (!in_bounds(c, r->fields_off, r->fields_len) || r->fields_len > SL_PLAN_FIELDS_MAX) {
        return bad("respond fields", i, r->fields_len);
    }
    if (!in_bounds(c, r->body_off, r->body_len)) {
        return bad("respond body", i, r->body_len);
    }
    if ((r->status == 204 || r->status == 304) && r->body_len != 0) {
        return bad("respond body of 204 or 304", i, r->body_len);
    }
    bool has_date = false;
    if (sl_http1_check_fields(c->blob + r->fields_off, r->fields_len, &has_date) || has_date) {
        return bad("respond field lines", i, r->fields_off);
    }
    return SL_OK;
}

static int check_upstream(const struct check *c, const struct sl_plan_upstream *u, uint32_t i) {
    if (u->family != 0 && u->family != 4 && u->family != 6) {
        return bad("upstream family", i, u->family);
    }
    if (u->early_data > 1) {
        return bad("upstream early_data", i, u->early_data);
    }
    if (u->family != 0 && u->port == 0) {
        return bad("upstream port", i, u->port);
    }
    if (!in_bounds(c, u->name_off, u->name_len) || u->name_len == 0 || u->name_len > 255) {
        return bad("upstream name", i, u->name_len);
    }
    if (u->conns_max < 1 || u->conns_max > 4096 || u->idle_max > u->conns_max) {
        return bad("upstream conns_max", i, u->conns_max);
    }
    if (u->connect_timeout_ms == 0 || u->head_timeout_ms == 0 || u->idle_timeout_ms == 0 ||
        u->tunnel_idle_timeout_ms == 0) {
        return bad("upstream timeout", i, 0);
    }
    return SL_OK;
}

static bool is_blank(uint8_t byte) { return byte == ' ' || byte == '\t'; }

bool sl_plan_name_good(const uint8_t *name, size_t len) {
    uint8_t line[260];
    bool has_date;
    if (len == 0 || len > 256) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if ((name[i] >= 'A' && name[i] <= 'Z') ||
            name[i] == ':') { // "a::" would pass as a line of "a"
            return false;
        }
    }
    memcpy(line, name, len);
    memcpy(line + len, ":\r\n", 3);
    return sl_http1_check_fields(line, len + 3, &has_date) == SL_OK;
}

// A field line, or for REMOVE a name, that http1_edit.c may copy into a head.
static int check_edit(const struct check *c, const struct sl_plan_edit *e, uint32_t i) {
    bool has_date;
    if (e->kind > SL_PLAN_EDIT_APPEND) {
        return bad("edit kind", i, e->kind);
    }
    if (e->name_len == 0 || e->name_len > 256 || e->len > SL_PLAN_EDIT_BYTES_MAX ||
        e->len < e->name_len || !in_bounds(c, e->off, e->len)) {
        return bad("edit length", i, e->len);
    }
    const uint8_t *line = c->blob + e->off;
    if (!sl_plan_name_good(line, e->name_len)) {
        return bad("edit name", i, e->off);
    }
    if (e->kind == SL_PLAN_EDIT_REMOVE) {
        return e->len == e->name_len ? SL_OK : bad("edit length", i, e->len);
    }
    const uint8_t *newline = memchr(line, '\n', e->len);
    bool one_line = e->len >= e->name_len + 4u && memcmp(line + e->name_len, ": ", 2) == 0 &&
                    newline == line + e->len - 1;
    if (!one_line || sl_http1_check_fields(line, e->len, &has_date)) {
        return bad("edit line", i, e->off);
    }
    uint32_t value = e->name_len + 2u, end = e->len - 2;
    if (value < end && (is_blank(line[value]) || is_blank(line[end - 1]))) {
        return bad("edit line", i, e->off); // a head's table has values without blanks around them
    }
    return SL_OK;
}

// A run of edits of one direction; none of them for `forbidden`.
static int check_run(const struct sl_plan *plan, uint32_t first, uint32_t count, uint32_t bytes,
                     enum sl_header forbidden, uint32_t i) {
    uint32_t edit_count = plan->header->edit_count, sum = 0;
    if (first > edit_count || count > edit_count - first || count > SL_PLAN_EDITS_MAX) {
        return bad("headers edits", i, first);
    }
    for (uint32_t k = first; k < first + count; k++) {
        const struct sl_plan_edit *e = &plan->edits[k];
        sum += e->len;
        if (sl_header_id(plan->blob + e->off, e->name_len) == forbidden) {
            return bad("headers edit of a forbidden name", i, k);
        }
    }
    return sum == bytes && sum <= SL_PLAN_EDIT_BYTES_MAX ? SL_OK : bad("headers bytes", i, bytes);
}

static int check_headers(const struct sl_plan *plan, uint32_t i) {
    const struct sl_plan_headers *h = &plan->headers[i];
    int rc = check_run(plan, h->request_first, h->request_count, h->request_bytes, SL_H_HOST, i);
    return rc ? rc
              : check_run(plan, h->response_first, h->response_count, h->response_bytes, SL_H_DATE,
                          i);
}

static int check_tables(const struct check *c, const struct sl_plan *plan) {
    const struct sl_plan_header *h = plan->header;
    for (uint32_t i = 0; i < h->seg_count; i++) {
        const struct sl_plan_seg *s = &plan->segs[i];
        if (s->kind > SL_PLAN_SEG_TAIL || !in_bounds(c, s->off, s->len) ||
            (s->kind == SL_PLAN_SEG_CLASS && s->len != sizeof(struct sl_plan_class))) {
            return bad("segment", i, s->kind);
        }
    }
    int rc = SL_OK;
    for (uint32_t i = 0; i < h->entry_count && !rc; i++) {
        rc = check_entry(c, plan, i);
    }
    for (uint32_t i = 0; i < h->step_count && !rc; i++) {
        rc = check_step(plan, i);
    }
    for (uint32_t i = 0; i < h->edit_count && !rc; i++) {
        rc = check_edit(c, &plan->edits[i], i);
    }
    for (uint32_t i = 0; i < h->header_count && !rc; i++) {
        rc = check_headers(plan, i);
    }
    for (uint32_t i = 0; i < h->respond_count && !rc; i++) {
        rc = check_respond(c, &plan->responds[i], i);
    }
    for (uint32_t i = 0; i < h->upstream_count && !rc; i++) {
        rc = check_upstream(c, &plan->upstreams[i], i);
    }
    for (uint32_t i = 0; i < h->policy_count && !rc; i++) {
        const struct sl_plan_policy *row = &plan->policies[i];
        rc = sl_policy_check(plan, row) ? SL_OK : bad("policy", i, row->op);
    }
    return rc;
}

struct sl_response_head sl_plan_response(const struct sl_plan *plan,
                                         const struct sl_plan_respond *row) {
    bool empty = row->status == 204 || row->status == 304;
    return (struct sl_response_head){
        .status = row->status,
        .framing = empty ? SL_FRAMING_NONE : SL_FRAMING_LENGTH,
        .content_length = row->body_len,
        .fields = sl_plan_span(plan, row->fields_off, row->fields_len),
    };
}

static struct sl_span small_body(const struct sl_plan *plan, const struct sl_plan_respond *row) {
    return sl_plan_span(plan, row->body_off, row->body_len <= SL_BODY_COPY_MAX ? row->body_len : 0);
}

// What makes runs of edits quick. Edits of several runs, which no plan of ours has, stay unknown.
static int note_edits(struct sl_plan *plan, struct sl_plan_edit *edits) {
    uint32_t count = plan->header->header_count, next = 0;
    for (uint32_t i = 0; i < plan->header->edit_count; i++) {
        edits[i].last = 0;
        edits[i].bit = 0;
    }
    plan->header_drops = calloc(count ? count * 2 : 1, sizeof(*plan->header_drops));
    if (!plan->header_drops) {
        return sl_fail(SL_E_NO_MEMORY, "plan: %u headers steps", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct sl_plan_headers *h = &plan->headers[i];
        const uint32_t runs[2][2] = {{h->request_first, h->request_count},
                                     {h->response_first, h->response_count}};
        for (uint32_t k = 0; k < 2; k++) {
            uint32_t first = runs[k][0], n = runs[k][1];
            if (first >= next) {
                sl_edits_note(edits + first, plan->blob, n);
                next = first + n;
            }
        }
    }
    for (uint32_t i = 0; i < count; i++) { // once no edit changes any more
        const struct sl_plan_headers *h = &plan->headers[i];
        plan->header_drops[i * 2] = sl_edits_drops(edits + h->request_first, h->request_count);
        plan->header_drops[i * 2 + 1] =
            sl_edits_drops(edits + h->response_first, h->response_count);
    }
    return SL_OK;
}

// What is constant in the answers of respond steps is formatted here, once.
static int prepare(struct sl_plan *plan) {
    static const struct sl_date any = {0, "Thu, 01 Jan 1970 00:00:00 GMT"};
    uint32_t count = plan->header->respond_count;
    size_t cap = 1, used = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct sl_plan_respond *row = &plan->responds[i];
        cap += SL_RESPONSE_ROOM + row->fields_len + small_body(plan, row).len;
    }
    plan->prepared = calloc(count ? count : 1, sizeof(*plan->prepared));
    plan->prepared_bytes = malloc(cap);
    if (!plan->prepared || !plan->prepared_bytes) {
        return sl_fail(SL_E_NO_MEMORY, "plan: %zu bytes for its answers", cap);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct sl_plan_respond *row = &plan->responds[i];
        struct sl_response_head head = sl_plan_response(plan, row);
        head.date = &any;
        size_t n = sl_http1_prepare(&plan->prepared[i], plan->prepared_bytes + used, cap - used,
                                    &head, small_body(plan, row));
        SL_ASSERT(n > 0);
        used += n;
    }
    return SL_OK;
}

int sl_plan_new(struct sl_plan **out_plan, const uint8_t *blob, size_t len) {
    if (len < sizeof(struct sl_plan_header) || len > SL_PLAN_BYTES_MAX) {
        return sl_fail(SL_E_PLAN_INVALID, "plan: %zu bytes, expected %zu to %u", len,
                       sizeof(struct sl_plan_header), SL_PLAN_BYTES_MAX);
    }
    struct sl_plan *plan = calloc(1, sizeof(*plan));
    uint8_t *copy = malloc(len); // malloc aligns to 16: the tables may be used in place
    if (!plan || !copy) {
        free(plan);
        free(copy);
        return sl_fail(SL_E_NO_MEMORY, "plan: %zu bytes", len);
    }
    memcpy(copy, blob, len);
    atomic_init(&plan->refs, 1);
    plan->blob = copy;
    plan->blob_bytes = len;
    plan->secret = true;
    plan->header = (const struct sl_plan_header *)(const void *)copy;
    struct check c = {copy, len};
    int rc = check_header(&c, plan->header);
    if (!rc) {
        const struct sl_plan_header *h = plan->header;
        plan->entries = (const void *)(copy + h->entries_off);
        plan->segs = (const void *)(copy + h->segs_off);
        plan->steps = (const void *)(copy + h->steps_off);
        plan->headers = (const void *)(copy + h->headers_off);
        plan->edits = (const void *)(copy + h->edits_off);
        plan->policies = (const void *)(copy + h->policies_off);
        plan->responds = (const void *)(copy + h->responds_off);
        plan->upstreams = (const void *)(copy + h->upstreams_off);
        plan->via = (struct sl_span){copy + h->via_off, h->via_len};
        rc = check_tables(&c, plan);
    }
    rc = rc ? rc : note_edits(plan, (void *)(copy + plan->header->edits_off));
    rc = rc ? rc : prepare(plan);
    if (!rc && plan->header->entry_count >= SL_ROUTE_INDEX_MIN) {
        plan->index = sl_route_index_new(plan);
        rc = plan->index ? SL_OK : sl_fail(SL_E_NO_MEMORY, "plan: the index of its routes");
    }
    plan->secret = rc || sl_policies_secret(plan);
    if (rc) {
        sl_plan_unref(plan);
        return rc;
    }
    *out_plan = plan;
    return SL_OK;
}

int sl_plan_open(struct sl_plan *plan, const struct sl_plan *old) {
    uint32_t count = plan->header->policy_count;
    plan->policy_states = calloc(count ? count : 1, sizeof(*plan->policy_states));
    if (!plan->policy_states) {
        return sl_fail(SL_E_NO_MEMORY, "plan: %u policies", count);
    }
    return sl_policies_open(plan, old);
}

bool sl_plan_holds(const struct sl_plan *plan, uint32_t off, uint64_t bytes) {
    uint32_t len = plan->header->bytes;
    return off <= len && bytes <= len - off;
}

void sl_plan_ref(struct sl_plan *plan) {
    atomic_fetch_add_explicit(&plan->refs, 1, memory_order_relaxed);
}

void sl_plan_unref(struct sl_plan *plan) {
    if (atomic_fetch_sub_explicit(&plan->refs, 1, memory_order_acq_rel) == 1) {
        sl_policies_close(plan);
        if (plan->secret) {
            sl_wipe((void *)(uintptr_t)plan->blob, plan->blob_bytes);
        }
        free((void *)(uintptr_t)plan->blob);
        free(plan->header_drops);
        free(plan->prepared);
        free(plan->prepared_bytes);
        sl_route_index_free(plan->index);
        free(plan);
    }
}
