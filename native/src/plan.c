#include "plan.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "http1_parse.h"

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
    if (h->via_len < 1 || h->via_len > 64 || !in_bounds(c, h->via_off, h->via_len)) {
        return bad("via", 0, h->via_len);
    }
    for (uint32_t i = 0; i < h->via_len; i++) {
        uint8_t ch = c->blob[h->via_off + i];
        if (ch <= ' ' || ch >= 0x7f || ch == ',' || ch == '(' || ch == ')') {
            return bad("via", i, ch);
        }
    }
    int rc =
        check_table(c, "entries", h->entries_off, h->entry_count, sizeof(struct sl_plan_entry));
    if (!rc) {
        rc = check_table(c, "segs", h->segs_off, h->seg_count, sizeof(struct sl_plan_seg));
    }
    if (!rc) {
        rc = check_table(c, "responds", h->responds_off, h->respond_count,
                         sizeof(struct sl_plan_respond));
    }
    if (!rc) {
        rc = check_table(c, "upstreams", h->upstreams_off, h->upstream_count,
                         sizeof(struct sl_plan_upstream));
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
        if (plan->segs[e->seg_first + s].kind == SL_PLAN_SEG_REST) {
            return bad("entry with REST before its end", i, s);
        }
    }
    uint32_t limit = 1;
    switch (e->op) {
    case SL_PLAN_OP_TYPESCRIPT:
    case SL_PLAN_OP_WHOAMI:
        return SL_OK;
    case SL_PLAN_OP_RESPOND:
        limit = h->respond_count;
        break;
    case SL_PLAN_OP_PROXY:
        limit = h->upstream_count;
        break;
    default:
        return bad("entry op", i, e->op);
    }
    return e->arg < limit ? SL_OK : bad("entry arg", i, e->arg);
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
    if (u->family != 0 && u->port == 0) {
        return bad("upstream port", i, u->port);
    }
    if (!in_bounds(c, u->name_off, u->name_len) || u->name_len == 0 || u->name_len > 255) {
        return bad("upstream name", i, u->name_len);
    }
    if (u->conns_max < 1 || u->conns_max > 4096 || u->idle_max > u->conns_max) {
        return bad("upstream conns_max", i, u->conns_max);
    }
    if (u->connect_timeout_ms == 0 || u->head_timeout_ms == 0 || u->idle_timeout_ms == 0) {
        return bad("upstream timeout", i, 0);
    }
    return SL_OK;
}

static int check_tables(const struct check *c, const struct sl_plan *plan) {
    const struct sl_plan_header *h = plan->header;
    for (uint32_t i = 0; i < h->seg_count; i++) {
        const struct sl_plan_seg *s = &plan->segs[i];
        if (s->kind > SL_PLAN_SEG_REST || !in_bounds(c, s->off, s->len)) {
            return bad("segment", i, s->kind);
        }
    }
    int rc = SL_OK;
    for (uint32_t i = 0; i < h->entry_count && !rc; i++) {
        rc = check_entry(c, plan, i);
    }
    for (uint32_t i = 0; i < h->respond_count && !rc; i++) {
        rc = check_respond(c, &plan->responds[i], i);
    }
    for (uint32_t i = 0; i < h->upstream_count && !rc; i++) {
        rc = check_upstream(c, &plan->upstreams[i], i);
    }
    return rc;
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
    plan->header = (const struct sl_plan_header *)(const void *)copy;
    struct check c = {copy, len};
    int rc = check_header(&c, plan->header);
    if (!rc) {
        const struct sl_plan_header *h = plan->header;
        plan->entries = (const void *)(copy + h->entries_off);
        plan->segs = (const void *)(copy + h->segs_off);
        plan->responds = (const void *)(copy + h->responds_off);
        plan->upstreams = (const void *)(copy + h->upstreams_off);
        plan->via = (struct sl_span){copy + h->via_off, h->via_len};
        rc = check_tables(&c, plan);
    }
    if (rc) {
        sl_plan_unref(plan);
        return rc;
    }
    *out_plan = plan;
    return SL_OK;
}

void sl_plan_ref(struct sl_plan *plan) {
    atomic_fetch_add_explicit(&plan->refs, 1, memory_order_relaxed);
}

void sl_plan_unref(struct sl_plan *plan) {
    if (atomic_fetch_sub_explicit(&plan->refs, 1, memory_order_acq_rel) == 1) {
        free((void *)(uintptr_t)plan->blob);
        free(plan);
    }
}
