// Plan blobs: any bytes are refused, or routed without reading outside of the blob. What is accepted keeps what the rest relies on.
#include <stdlib.h>

#include "plan.h"
#include "route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static void check(const struct sl_plan *plan, const uint8_t *text, size_t len) {
    static const char *const methods[] = {"GET", "POST", "HEAD", "LOCK"};
    for (size_t i = 0; i < SL_COUNT_OF(methods); i++) {
        struct sl_span name = sl_span_of(methods[i]);
        const struct sl_plan_entry *e =
            sl_route_match(plan, sl_method_id(name.data, name.len), name, (struct sl_span){text, len});
        SL_ASSERT(!e || (size_t)(e - plan->entries) < plan->header->entry_count);
        if (e && e->op == SL_PLAN_OP_RESPOND) {
            const struct sl_plan_respond *r = &plan->responds[e->arg];
            bool has_date;
            struct sl_span fields = sl_plan_span(plan, r->fields_off, r->fields_len);
            struct sl_span body = sl_plan_span(plan, r->body_off, r->body_len);
            SL_ASSERT(sl_http1_check_fields(fields.data, fields.len, &has_date) == SL_OK && !has_date);
            SL_ASSERT(body.data + body.len <= plan->blob + plan->header->bytes);
        } else if (e && e->op == SL_PLAN_OP_PROXY) {
            const struct sl_plan_upstream *u = &plan->upstreams[e->arg];
            SL_ASSERT(u->name_off + u->name_len <= plan->header->bytes && u->name_len < 256);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const paths[] = {"/", "//", "/a", "/a/", "/a/b", "/api/x/y", "/caf\xc3\xa9"};
    struct sl_plan *plan;
    uint8_t *blob = malloc(size ? size : 1); // of its own size: ASan sees a byte too many
    if (size) {
        memcpy(blob, data, size);
    }
    if (sl_plan_new(&plan, blob, size) == SL_OK) {
        for (size_t i = 0; i < SL_COUNT_OF(paths); i++) {
            check(plan, (const uint8_t *)paths[i], strlen(paths[i]));
        }
        sl_plan_unref(plan);
    }
    free(blob);
    return 0;
}

static void put(uint8_t *data, uint32_t off, const void *value, size_t len) { memcpy(data + off, value, len); }

// Most blobs die at the first words of the header; so half of the time those are put right, and one of each table's rows too.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, max_size);
    if (size < 1024) {
        size_t grown = max_size < 1024 ? max_size : 1024;
        if (grown > size) {
            memset(data + size, 0, grown - size);
            size = grown;
        }
    }
    if (size < 1024 || seed % 4 == 0) {
        return size;
    }
    struct sl_plan_header h;
    memcpy(&h, data, sizeof(h));
    h.magic = SL_PLAN_MAGIC;
    h.version = SL_PLAN_VERSION;
    h.bytes = (uint32_t)size;
    h.via_off = 1000;
    h.via_len = 1 + seed % 8;
    memset(data + 1000, 's', 8);
    if (seed % 2) { // four entries, eight segments, two answers, two upstreams where they belong
        h.entries_off = 64;
        h.entry_count %= 5;
        h.segs_off = 192;
        h.seg_count = 8;
        h.responds_off = 256;
        h.respond_count = 2;
        h.upstreams_off = 304;
        h.upstream_count = 2;
        for (uint32_t i = 0; i < 4; i++) {
            struct sl_plan_entry e;
            memcpy(&e, data + 64 + i * sizeof(e), sizeof(e));
            e.op %= 5;
            e.seg_count %= 6;
            e.seg_first %= 8;
            e.arg %= 3;
            put(data, 64 + i * (uint32_t)sizeof(e), &e, sizeof(e));
        }
        for (uint32_t i = 0; i < 8; i++) {
            struct sl_plan_seg s;
            memcpy(&s, data + 192 + i * sizeof(s), sizeof(s));
            s.kind %= 4;
            s.len %= 16;
            s.off %= (uint32_t)size;
            put(data, 192 + i * (uint32_t)sizeof(s), &s, sizeof(s));
        }
        for (uint32_t i = 0; i < 2; i++) {
            struct sl_plan_respond r;
            memcpy(&r, data + 256 + i * sizeof(r), sizeof(r));
            r.status = (uint16_t)(198 + r.status % 404);
            r.fields_off = 900;
            r.fields_len = r.fields_len % 3 ? 0 : 8;
            r.body_off %= (uint32_t)size;
            r.body_len %= 64;
            put(data, 256 + i * (uint32_t)sizeof(r), &r, sizeof(r));
            struct sl_plan_upstream u;
            memcpy(&u, data + 304 + i * sizeof(u), sizeof(u));
            u.family = (uint8_t)(u.family % 4 * 2);
            u.name_off %= (uint32_t)size;
            u.name_len %= 300;
            u.conns_max = 1 + u.conns_max % 4097;
            u.idle_max %= u.conns_max + 1;
            u.connect_timeout_ms |= 1;
            u.head_timeout_ms |= 1;
            u.idle_timeout_ms |= 1;
            put(data, 304 + i * (uint32_t)sizeof(u), &u, sizeof(u));
        }
        memcpy(data + 900, "x-a: b\r\n", 8);
    }
    memcpy(data, &h, sizeof(h));
    return size;
}
