// Plan blobs: any bytes are refused, or routed without reading outside of the blob. What is accepted keeps what the rest relies on.
#include <stdlib.h>

#include "http1_edit.h"
#include "plan.h"
#include "route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static void check_respond(const struct sl_plan *plan, const struct sl_plan_respond *r) {
    bool has_date;
    struct sl_span fields = sl_plan_span(plan, r->fields_off, r->fields_len);
    struct sl_span body = sl_plan_span(plan, r->body_off, r->body_len);
    SL_ASSERT(sl_http1_check_fields(fields.data, fields.len, &has_date) == SL_OK && !has_date);
    SL_ASSERT(body.data + body.len <= plan->blob + plan->header->bytes);
}

// A run of edits makes of a good head a good head, and of field lines field lines.
static void check_edits(const struct sl_plan *plan, const struct sl_plan_headers *h) {
    static const struct sl_head_limits limits = {32768, 8192, SL_FIELDS_MAX};
    static const char text[] = "GET /p?q HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nCookie: a\r\nx-a: 2\r\nvia: 1.1 x\r\n\r\n";
    size_t cap = sizeof(text) + h->request_bytes;
    uint8_t in[sizeof(text)], *out = malloc(cap);
    struct sl_head head = {.scanned = 0}, again = {.scanned = 0};
    struct sl_edits edits = {h->request_bytes, 1, {{&plan->edits[h->request_first], plan->blob, h->request_count, plan->header_drops[2 * (h - plan->headers)]}}};
    bool has_date;
    memcpy(in, text, sizeof(text));
    SL_ASSERT(sl_http1_parse_request(&head, in, sizeof(text) - 1, &limits) == 1);
    SL_ASSERT(sl_edits_request(&edits, &head, in, out, cap) == SL_OK);
    int rc = sl_http1_parse_request(&again, out, head.len, &limits);
    SL_ASSERT(rc < 0 || (rc == 1 && again.field_count == head.field_count && again.host_off == head.host_off));
    for (uint32_t i = 0; rc == 1 && i < head.field_count; i++) {
        const struct sl_field *a = &again.fields[i], *b = &head.fields[i];
        SL_ASSERT(a->name_off == b->name_off && a->value_len == b->value_len && a->id == b->id && a->next_same == b->next_same);
        SL_ASSERT(b->value_len == 0 || a->value_off == b->value_off); // an empty value lies anywhere behind its colon
    }
    free(out);
    struct sl_span lines = sl_span_of("x-a: 1\r\nset-cookie: a\r\nx-b: 2\r\n");
    edits.runs[0] = (struct sl_edit_run){&plan->edits[h->response_first], plan->blob, h->response_count, plan->header_drops[2 * (h - plan->headers) + 1]};
    out = malloc(lines.len + h->response_bytes);
    size_t n = sl_edits_filter(&edits, out, lines);
    n += sl_edits_lines(&edits, out + n);
    SL_ASSERT(n <= lines.len + h->response_bytes && sl_http1_check_fields(out, n, &has_date) == SL_OK && !has_date);
    free(out);
}

static void check(const struct sl_plan *plan, const uint8_t *text, size_t len) {
    static const char *const methods[] = {"GET", "POST", "HEAD", "LOCK"};
    for (size_t i = 0; i < SL_COUNT_OF(methods); i++) {
        struct sl_span name = sl_span_of(methods[i]);
        struct sl_chain chain;
        struct sl_chain slow;
        enum sl_method method = sl_method_id(name.data, name.len);
        sl_route_chain(&chain, plan, method, name, (struct sl_span){text, len});
        sl_route_chain_slowly(&slow, plan, method, name, (struct sl_span){text, len});
        SL_ASSERT(slow.end == chain.end && slow.count == chain.count &&
                  memcmp(slow.steps, chain.steps, slow.count * sizeof(slow.steps[0])) == 0);
        for (uint32_t k = 0; k < chain.count; k++) {
            const struct sl_plan_step *step = &plan->steps[chain.steps[k]];
            if (step->op == SL_PLAN_OP_HEADERS) {
                check_edits(plan, &plan->headers[step->arg]);
            } else {
                SL_ASSERT(plan->policies[step->arg].op == step->op);
            }
        }
        if (chain.end && chain.end->op == SL_PLAN_OP_RESPOND) {
            check_respond(plan, &plan->responds[chain.end->arg]);
        } else if (chain.end && chain.end->op == SL_PLAN_OP_PROXY) {
            const struct sl_plan_upstream *u = &plan->upstreams[chain.end->arg];
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

// Where the mutator puts the tables: four entries, eight segments, eight steps, two answers, two upstreams, two headers steps, eight edits.
enum { ENTRIES = 96, SEGS = 192, STEPS = 256, RESPONDS = 384, UPSTREAMS = 432, HEADERS = 528, EDITS = 576, LINES = 900, VIA = 1000 };

// Two policies, with their records behind them, and what those point at somewhere in the lines.
enum { POLICIES = 704, RECORDS = 768, RECORD_BYTES = 64 };
static uint8_t policy_op(const uint8_t *data, uint32_t i) {
    static const uint8_t ops[] = {SL_PLAN_OP_REQUEST_ID, SL_PLAN_OP_IP_RESTRICTION, SL_PLAN_OP_CORS, SL_PLAN_OP_BODY_LIMIT,
                                  SL_PLAN_OP_METHOD_NOT_ALLOWED, SL_PLAN_OP_RATE_LIMIT, SL_PLAN_OP_CONCURRENCY_LIMIT, SL_PLAN_OP_TIMEOUT,
                                  SL_PLAN_OP_BASIC_AUTH, SL_PLAN_OP_BEARER_AUTH, SL_PLAN_OP_CANARY, SL_PLAN_OP_EARLY_DATA};
    return ops[data[POLICIES + i % 2 * sizeof(struct sl_plan_policy) + 1] % SL_COUNT_OF(ops)];
}

static void put_policies_right(uint8_t *data, unsigned seed) {
    for (uint32_t i = 0; i < 2; i++) {
        struct sl_plan_policy p;
        uint32_t at = POLICIES + i * (uint32_t)sizeof(p), record = RECORDS + i * RECORD_BYTES;
        memcpy(&p, data + at, sizeof(p));
        p.op = policy_op(data, i);
        p.request_bytes %= 600;
        p.response_bytes %= 600;
        p.scratch_bytes = (uint16_t)(512 - p.scratch_bytes % 32);
        p.record_off = record;
        p.record_len = RECORD_BYTES;
        p.respond = p.respond % 3 ? p.respond % 2 : SL_PLAN_NONE;
        p.upstream = p.upstream % 3 ? p.upstream % 2 : SL_PLAN_NONE;
        put(data, at, &p, sizeof(p));
        for (uint32_t k = 0; k < RECORD_BYTES && seed % 5; k += 4) { // mostly: counts and offsets that may fit
            uint32_t word;
            memcpy(&word, data + record + k, 4);
            word = word % 4 == 0 ? 900 + word / 4 % 16 * 4 : word % 16;
            put(data, record + k, &word, 4);
        }
    }
}

static void put_routes_right(uint8_t *data, size_t size) {
    for (uint32_t i = 0; i < 4; i++) {
        struct sl_plan_entry e;
        memcpy(&e, data + ENTRIES + i * sizeof(e), sizeof(e));
        e.seg_count %= 6;
        e.seg_first %= 8;
        e.step_count %= 4;
        e.step_first %= 8;
        put(data, ENTRIES + i * (uint32_t)sizeof(e), &e, sizeof(e));
    }
    for (uint32_t i = 0; i < 8; i++) {
        struct sl_plan_seg s;
        struct sl_plan_step p;
        memcpy(&s, data + SEGS + i * sizeof(s), sizeof(s));
        s.kind %= 5;
        s.len %= 16;
        s.len = s.kind == SL_PLAN_SEG_CLASS ? sizeof(struct sl_plan_class) : s.len;
        s.off %= (uint32_t)size;
        put(data, SEGS + i * (uint32_t)sizeof(s), &s, sizeof(s));
        memcpy(&p, data + STEPS + i * sizeof(p), sizeof(p));
        p.op %= 8;
        p.op = p.op == 5 ? policy_op(data, p.arg % 3) : p.op > 5 ? SL_PLAN_OP_HEADERS : p.op;
        p.arg %= 3;
        put(data, STEPS + i * (uint32_t)sizeof(p), &p, sizeof(p));
    }
}

static void put_edits_right(uint8_t *data) {
    static const char lines[] = "x-a: b\r\nvia: c\r\ncookie: d\r\n";
    static const struct {
        uint16_t off, len, name_len;
    } places[] = {{0, 8, 3}, {8, 8, 3}, {16, 11, 6}};
    uint32_t lens[9] = {0};
    for (uint32_t i = 0; i < 8; i++) {
        struct sl_plan_edit e;
        memcpy(&e, data + EDITS + i * sizeof(e), sizeof(e));
        uint32_t place = e.off % 3;
        e.kind %= 3;
        e.off = LINES + places[place].off;
        e.name_len = places[place].name_len;
        e.len = e.kind == SL_PLAN_EDIT_REMOVE ? e.name_len : places[place].len;
        lens[i + 1] = lens[i] + e.len;
        put(data, EDITS + i * (uint32_t)sizeof(e), &e, sizeof(e));
    }
    for (uint32_t i = 0; i < 2; i++) {
        struct sl_plan_headers h;
        memcpy(&h, data + HEADERS + i * sizeof(h), sizeof(h));
        h.request_first %= 5;
        h.request_count %= 5;
        h.response_first %= 5;
        h.response_count %= 5;
        h.request_bytes = lens[h.request_first + h.request_count] - lens[h.request_first];
        h.response_bytes = lens[h.response_first + h.response_count] - lens[h.response_first];
        put(data, HEADERS + i * (uint32_t)sizeof(h), &h, sizeof(h));
    }
    memcpy(data + LINES, lines, sizeof(lines) - 1);
}

static void put_rows_right(uint8_t *data, size_t size, struct sl_plan_header *h, unsigned seed) {
    h->entries_off = ENTRIES;
    h->entry_count %= 5;
    h->segs_off = SEGS;
    h->seg_count = 8;
    h->steps_off = STEPS;
    h->step_count = 8;
    h->responds_off = RESPONDS;
    h->respond_count = 2;
    h->upstreams_off = UPSTREAMS;
    h->upstream_count = 2;
    h->headers_off = HEADERS;
    h->header_count = 2;
    h->edits_off = EDITS;
    h->edit_count = 8;
    h->policies_off = POLICIES;
    h->policy_count = 2;
    put_policies_right(data, seed);
    put_routes_right(data, size);
    for (uint32_t i = 0; i < 2; i++) {
        struct sl_plan_respond r;
        struct sl_plan_upstream u;
        memcpy(&r, data + RESPONDS + i * sizeof(r), sizeof(r));
        r.status = (uint16_t)(198 + r.status % 404);
        r.fields_off = LINES;
        r.fields_len = r.fields_len % 3 ? 0 : 8;
        r.body_off %= (uint32_t)size;
        r.body_len %= 64;
        put(data, RESPONDS + i * (uint32_t)sizeof(r), &r, sizeof(r));
        memcpy(&u, data + UPSTREAMS + i * sizeof(u), sizeof(u));
        u.family = (uint8_t)(u.family % 4 * 2);
        u.name_off %= (uint32_t)size;
        u.name_len %= 300;
        u.conns_max = 1 + u.conns_max % 4097;
        u.idle_max %= u.conns_max + 1;
        u.connect_timeout_ms |= 1;
        u.head_timeout_ms |= 1;
        u.idle_timeout_ms |= 1;
        put(data, UPSTREAMS + i * (uint32_t)sizeof(u), &u, sizeof(u));
    }
    if (seed % 8 != 1) { // else the edits as they are
        put_edits_right(data);
    }
}

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
    h.via_off = VIA;
    h.via_len = 1 + seed % 8;
    memset(data + VIA, 's', 8);
    if (seed % 2) {
        put_rows_right(data, size, &h, seed);
    }
    memcpy(data, &h, sizeof(h));
    return size;
}
