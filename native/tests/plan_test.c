// Which blobs are plans: a good one, and every way in which one is refused. What is accepted is also routed, so that ASan sees what points out.
#include "plan.h"

#include "http1_edit.h"
#include "plan_builder.h"
#include "route.h"
#include "test.h"

static struct plan_builder builder;
static uint32_t len;

static void build(void) {
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/a/:id", 200, "x-a: 1\r\n", "hello", 5);
    plan_respond(&builder, SL_METHOD_GET, "/none", 204, "", "", 0);
    plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/up/*", 3000);
    struct sl_plan_entry *other = plan_entry(&builder, SL_METHOD_OTHER, "/lock", SL_PLAN_OP_TYPESCRIPT, 0);
    other->method_off = 0; // "LOCK", put in front of the tables' strings below
    other->method_len = 4;
    plan_entry(&builder, SL_METHOD_GET, "/who", 255, 0);
    plan_step(&builder, SL_PLAN_OP_HEADERS, plan_headers(&builder, "=x-q: 1|-x-r", "+x-s: 2|+x-t: 3"));
    plan_step(&builder, SL_PLAN_OP_WHOAMI, 0);
    static const struct sl_plan_range trusted[2] = {{{1}, {2}}, {{3}, {3}}};
    plan_entry(&builder, SL_METHOD_GET, "/id", 255, 0);
    plan_step(&builder, SL_PLAN_OP_REQUEST_ID, plan_request_id(&builder, "x-id", SL_PLAN_TRUST_SOME, trusted, 2));
    plan_step(&builder, SL_PLAN_OP_BODY_LIMIT, plan_body_limit(&builder, 10));
    plan_step(&builder, SL_PLAN_OP_CORS, plan_cors(&builder, "http://a", "http://b", "x-a: 1\r\n"));
    plan_step(&builder, SL_PLAN_OP_METHOD_NOT_ALLOWED, plan_method_not_allowed(&builder, "GET, HEAD"));
    plan_step(&builder, SL_PLAN_OP_IP_RESTRICTION, plan_ip_restriction(&builder, trusted, trusted, trusted, 2));
    plan_step(&builder, SL_PLAN_OP_WHOAMI, 0);
    uint32_t name = plan_bytes(&builder, "LOCK", 4);
    len = plan_finish(&builder);
    struct sl_plan_entry *entries = (void *)(builder.blob + builder.header.entries_off);
    entries[3].method_off = len - builder.used + name;
}

static struct sl_plan_header *header(void) { return (void *)builder.blob; }
static struct sl_plan_entry *entry(uint32_t i) { return (struct sl_plan_entry *)(void *)(builder.blob + header()->entries_off) + i; }
static struct sl_plan_step *step(uint32_t i) { return (struct sl_plan_step *)(void *)(builder.blob + header()->steps_off) + i; }
static struct sl_plan_headers *headers(void) { return (void *)(builder.blob + header()->headers_off); }
static struct sl_plan_edit *edit(uint32_t i) { return (struct sl_plan_edit *)(void *)(builder.blob + header()->edits_off) + i; }
static struct sl_plan_seg *seg(uint32_t i) { return (struct sl_plan_seg *)(void *)(builder.blob + header()->segs_off) + i; }
static struct sl_plan_respond *respond(uint32_t i) {
    return (struct sl_plan_respond *)(void *)(builder.blob + header()->responds_off) + i;
}
static struct sl_plan_policy *policy(void) { return (void *)(builder.blob + header()->policies_off); }
static struct sl_plan_request_id *request_id(void) { return (void *)(builder.blob + policy()->record_off); }
static struct sl_plan_cors *cors(void) { return (void *)(builder.blob + policy()[2].record_off); }
static struct sl_plan_cors_origin *origin(uint32_t i) { return (struct sl_plan_cors_origin *)(void *)(builder.blob + cors()->origins_off) + i; }
static struct sl_plan_method_not_allowed *allowed(void) { return (void *)(builder.blob + policy()[3].record_off); }
static struct sl_plan_allowed *allowed_row(void) { return (void *)(builder.blob + allowed()->rows_off); }
static struct sl_plan_ip_restriction *restriction(void) { return (void *)(builder.blob + policy()[4].record_off); }
static struct sl_plan_upstream *upstream(void) { return (void *)(builder.blob + header()->upstreams_off); }

// Makes the last row of headers one that edits no answer.
static uint32_t plan_row_without_edits(void) {
    uint32_t last = header()->header_count - 1;
    headers()[last].response_count = headers()[last].response_bytes = 0;
    return last;
}

// A block of its own size: ASan sees a read behind it.
static int load(struct sl_plan **out_plan, size_t bytes) {
    uint8_t *copy = malloc(bytes ? bytes : 1);
    memcpy(copy, builder.blob, bytes);
    int rc = sl_plan_new(out_plan, copy, bytes);
    free(copy);
    return rc;
}

// Both runs of a headers step, on a head and on field lines: what points out of the blob is seen here.
static void edit_with(const struct sl_plan *plan, const struct sl_plan_headers *h) {
    uint8_t text[] = "GET / HTTP/1.1\r\nhost: a\r\nx-q: 0\r\nx-r: 0\r\n\r\n";
    uint8_t *out = malloc(sizeof(text) + SL_PLAN_EDIT_BYTES_MAX);
    static const struct sl_head_limits limits = {16384, 8192, 100};
    struct sl_head head = {.scanned = 0};
    struct sl_edits edits = {h->request_bytes, 1, {{&plan->edits[h->request_first], plan->blob, h->request_count, plan->header_drops[2 * (h - plan->headers)]}}};
    REQUIRE(sl_http1_parse_request(&head, text, sizeof(text) - 1, &limits) == 1);
    CHECK_INT(sl_edits_request(&edits, &head, text, out, sizeof(text) + SL_PLAN_EDIT_BYTES_MAX), SL_OK);
    edits.runs[0] = (struct sl_edit_run){&plan->edits[h->response_first], plan->blob, h->response_count, plan->header_drops[2 * (h - plan->headers) + 1]};
    size_t n = sl_edits_filter(&edits, out, sl_span_of("x-s: 0\r\nx-u: 0\r\n"));
    CHECK(n + sl_edits_lines(&edits, out + n) <= 16 + h->response_bytes);
    free(out);
}

static void use(const struct sl_plan *plan) {
    static const char *const paths[] = {"/", "/a/1", "/a/", "/up", "/up/x/y", "/lock", "/who", "/id", "/none", "//", "/a/1/2/3"};
    for (size_t i = 0; i < SL_COUNT_OF(paths); i++) {
        struct sl_chain chain;
        sl_route_chain(&chain, plan, SL_METHOD_OTHER, sl_span_of("LOCK"), sl_span_of(paths[i]));
        sl_route_chain(&chain, plan, SL_METHOD_GET, sl_span_of("GET"), sl_span_of(paths[i]));
        for (uint32_t k = 0; k < chain.count; k++) {
            const struct sl_plan_step *each = &plan->steps[chain.steps[k]];
            if (each->op == SL_PLAN_OP_HEADERS) {
                edit_with(plan, &plan->headers[each->arg]);
            }
        }
    }
}

TEST(plan_that_is_good_is_taken_and_owned) {
    struct sl_plan *plan = NULL;
    build();
    REQUIRE(load(&plan, len) == SL_OK);
    CHECK_INT(plan->via.len, 6);
    CHECK(memcmp(plan->via.data, "sluice", 6) == 0);
    struct sl_chain chain;
    sl_route_chain(&chain, plan, SL_METHOD_GET, sl_span_of("GET"), sl_span_of("/a/7"));
    REQUIRE(chain.end);
    const struct sl_plan_respond *row = &plan->responds[chain.end->arg];
    struct sl_span body = sl_plan_span(plan, row->body_off, row->body_len);
    CHECK(body.len == 5 && memcmp(body.data, "hello", 5) == 0);
    sl_plan_ref(plan);
    sl_plan_unref(plan);
    use(plan); // one reference is left
    sl_plan_unref(plan);
}

TEST(plan_may_be_empty) {
    struct sl_plan *plan = NULL;
    plan_init(&builder);
    len = plan_finish(&builder);
    REQUIRE(load(&plan, len) == SL_OK);
    struct sl_chain chain;
    sl_route_chain(&chain, plan, SL_METHOD_GET, sl_span_of("GET"), sl_span_of("/"));
    CHECK(!chain.end && chain.count == 0);
    sl_plan_unref(plan);
}

#define BAD(name, change)                                                                                                          \
    static void name(void) { change; }
BAD(magic, header()->magic ^= 1)
BAD(version, header()->version++)
BAD(more_bytes, header()->bytes++)
BAD(many_entries, header()->entry_count = SL_PLAN_ENTRIES_MAX + 1)
BAD(entries_behind, header()->entries_off = len - 4)
BAD(entries_odd, header()->entries_off += 2)
BAD(entries_wrap, header()->entries_off = 0xfffffff0)
BAD(segs_behind, header()->segs_off = len)
BAD(segs_many, header()->seg_count = 0x20000001) // times 8 is 8 in 32 bits
BAD(responds_many, header()->respond_count = 0x80000000)
BAD(upstreams_many, header()->upstream_count = 0x10000000)
BAD(no_via, header()->via_len = 0)
BAD(long_via, header()->via_len = 65)
BAD(via_behind, header()->via_off = len)
BAD(via_space, builder.blob[header()->via_off + 1] = ' ')
BAD(via_crlf, builder.blob[header()->via_off + 1] = '\r')
BAD(via_comma, builder.blob[header()->via_off] = ',')
BAD(via_comment, builder.blob[header()->via_off] = '(')
BAD(method_unknown, entry(0)->method = SL_METHOD_QUERY + 1)
BAD(method_nameless, entry(3)->method_len = 0)
BAD(method_long, entry(3)->method_len = 33)
BAD(method_behind, entry(3)->method_off = len - 3)
BAD(op_unknown, step(0)->op = 5)
BAD(op_behind_policies, step(0)->op = 255)
BAD(op_of_another_policy, step(6)->op++)
BAD(policy_missing, step(6)->arg = header()->policy_count)
BAD(policies_many, header()->policy_count = 0x08000001) // times 32 is 32 in 32 bits
BAD(policies_behind, header()->policies_off = len)
BAD(policy_op, policy()->op = SL_PLAN_OP_HEADERS)
BAD(limit_answers_nothing, policy()[1].respond = SL_PLAN_NONE)
BAD(cors_origins_behind, cors()->origins_off = len - 20)
BAD(cors_origins_odd, cors()->origins_off += 2)
BAD(cors_origins_many, cors()->origins_count = 0x15555556) // times 12 is 8 in 32 bits
BAD(cors_otherwise, cors()->otherwise = header()->header_count)
BAD(cors_otherwise_without_vary, cors()->otherwise = plan_row_without_edits())
BAD(cors_headers, origin(1)->headers = header()->header_count)
BAD(cors_origin_behind, origin(1)->off = len - 7)
BAD(cors_origin_wrap, origin(0)->len = 0xffffffff)
BAD(cors_unsorted, builder.blob[origin(0)->off + 7] = 'c')
BAD(cors_same_twice, builder.blob[origin(0)->off + 7] = 'b')
BAD(cors_preflight_behind, cors()->preflight_off = len - 7)
BAD(cors_preflight_long, cors()->preflight_len = 4097)
BAD(cors_preflight_cut, cors()->preflight_len--)
BAD(cors_preflight_framing, memcpy(builder.blob + cors()->preflight_off, "te: 12\r\n", 8))
BAD(cors_preflight_date, memcpy(builder.blob + cors()->preflight_off, "date:1\r\n", 8))
BAD(cors_vary, cors()->vary_last = 2)
BAD(cors_reflects, cors()->reflects = 2)
BAD(cors_few_response_bytes, policy()[2].response_bytes = 45)
BAD(allowed_rows_behind, allowed()->rows_off = len - 8)
BAD(allowed_rows_odd, allowed()->rows_off += 2)
BAD(allowed_rows_many, allowed()->rows_count = 0x15555556)
BAD(allowed_entry, allowed_row()->entry = header()->entry_count)
BAD(allowed_nothing, allowed_row()->len = 0)
BAD(allowed_behind, allowed_row()->off = len - 8)
BAD(allowed_crlf, builder.blob[allowed_row()->off + 3] = '\r')
BAD(restriction_answers_nothing, policy()[4].respond = SL_PLAN_NONE)
BAD(restriction_proxies_behind, restriction()->client.proxies_off = len - 63)
BAD(restriction_forwarded, restriction()->client.forwarded = 2)
BAD(restriction_deny_behind, restriction()->deny_off = len - 63)
BAD(restriction_allow_many, restriction()->allow_count = 0x08000000)
BAD(policy_op_unknown, policy()->op = step(6)->op = 255)
BAD(policy_record_odd, policy()->record_off += 4)
BAD(policy_record_behind, policy()->record_off = len)
BAD(policy_record_wrap, policy()->record_off = 0xfffffff8)
BAD(policy_record_short, policy()->record_len--)
BAD(policy_record_long, policy()->record_len = 0xffffffff)
BAD(policy_respond, policy()->respond = header()->respond_count)
BAD(policy_upstream, policy()->upstream = header()->upstream_count)
BAD(policy_edits_many, policy()->response_bytes = SL_PLAN_EDIT_BYTES_MAX + 1)
BAD(policy_scratch_many, policy()->scratch_bytes = SL_PLAN_SCRATCH_BYTES + 1)
BAD(id_trust, request_id()->trust = 3)
BAD(id_no_bytes, request_id()->id_bytes_max = 0)
BAD(id_few_request_bytes, policy()->request_bytes = 4 + 4 + 254)
BAD(id_few_response_bytes, policy()->response_bytes = 4 + 4 + 254)
BAD(id_few_scratch_bytes, policy()->scratch_bytes = 4 + 4 + 255 + 16 + 2)
BAD(id_uuid_bytes, (request_id()->trust = 0, policy()->request_bytes = 4 + 4 + 35))
BAD(id_nameless, request_id()->name_len = 0)
BAD(id_name_behind, request_id()->name_off = len - 3)
BAD(id_name_upper, builder.blob[request_id()->name_off] = 'X')
BAD(id_name_space, builder.blob[request_id()->name_off] = ' ')
BAD(id_name_colon, builder.blob[request_id()->name_off + request_id()->name_len - 1] = ':')
BAD(id_name_host, memcpy(builder.blob + request_id()->name_off, "host", 4))
BAD(id_name_date, memcpy(builder.blob + request_id()->name_off, "date", 4))
BAD(id_name_framing, (request_id()->name_len = 2, memcpy(builder.blob + request_id()->name_off, "te", 2)))
BAD(id_trusted_behind, request_id()->trusted_off = len - 63)
BAD(id_trusted_many, request_id()->trusted_count = 0x08000000)
BAD(id_trusted_unsorted, builder.blob[request_id()->trusted_off + 16] = 3)
BAD(no_segments, entry(0)->seg_count = 0)
BAD(many_segments, entry(0)->seg_count = 65)
BAD(segments_behind, entry(4)->seg_first = header()->seg_count)
BAD(segments_wrap, entry(4)->seg_first = 0xffffffff)
BAD(respond_missing, step(0)->arg = 2)
BAD(upstream_missing, step(2)->arg = 1)
BAD(many_steps, header()->step_count = SL_PLAN_STEPS_MAX + 1)
BAD(steps_behind, header()->steps_off = len)
BAD(no_steps, entry(0)->step_count = 0)
BAD(entry_steps_behind, entry(4)->step_first = header()->step_count - 1)
BAD(entry_steps_wrap, entry(4)->step_first = 0xffffffff)
BAD(step_behind_end, step(4)->op = SL_PLAN_OP_WHOAMI)
BAD(headers_missing, step(4)->arg = header()->header_count)
BAD(headers_many, header()->header_count = 0x20000001)
BAD(edits_many, header()->edit_count = 0x20000001)
BAD(edits_behind, headers()->request_first = header()->edit_count)
BAD(edits_wrap, headers()->response_first = 0xffffffff)
BAD(edits_sum, headers()->request_bytes--)
BAD(edit_kind, edit(0)->kind = 3)
BAD(edit_nameless, edit(0)->name_len = 0)
BAD(edit_behind, edit(3)->off = len - 4)
BAD(edit_long, edit(0)->len = SL_PLAN_EDIT_BYTES_MAX + 1)
BAD(edit_shorter_than_name, edit(0)->len = 2)
BAD(edit_upper_case, builder.blob[edit(0)->off] = 'X')
BAD(edit_space_in_name, builder.blob[edit(1)->off] = ' ')
BAD(edit_name_of_another_length, edit(0)->name_len = 2)
BAD(edit_without_end, edit(0)->len--)
BAD(edit_two_lines, edit(2)->len += edit(3)->len)
BAD(edit_crlf_in_value, builder.blob[edit(0)->off + 5] = '\r')
BAD(edit_blank_before_value, (edit(0)->name_len = 1, memcpy(builder.blob + edit(0)->off, "x:  12\r\n", 8)))
BAD(edit_blank_behind_value, (edit(0)->name_len = 1, memcpy(builder.blob + edit(0)->off, "x: 12\t\r\n", 8)))
BAD(edit_remove_with_more, edit(1)->len++)
BAD(edit_framing, (edit(0)->name_len = 2, memcpy(builder.blob + edit(0)->off, "te: 12\r\n", 8)))
BAD(edit_remove_framing, (edit(1)->off = header()->via_off, memcpy(builder.blob + header()->via_off, "te", 2),
                          edit(1)->len = edit(1)->name_len = 2))
BAD(edit_of_host, (edit(0)->name_len = 4, memcpy(builder.blob + edit(0)->off, "host: \r\n", 8)))
BAD(edit_of_date, (edit(2)->name_len = 4, memcpy(builder.blob + edit(2)->off, "date: \r\n", 8)))
BAD(rest_inside, seg(0)->kind = SL_PLAN_SEG_REST)
BAD(tail_inside, seg(0)->kind = SL_PLAN_SEG_TAIL)
BAD(seg_kind, seg(1)->kind = 5)
BAD(seg_class_len, seg(1)->kind = SL_PLAN_SEG_CLASS)
BAD(seg_behind, seg(0)->off = len)
BAD(seg_wrap, seg(0)->off = 0xffffffff)
BAD(status_low, respond(0)->status = 199)
BAD(status_high, respond(0)->status = 600)
BAD(fields_behind, respond(0)->fields_off = len - 7)
BAD(fields_many, respond(0)->fields_len = SL_PLAN_FIELDS_MAX + 1)
BAD(fields_cut, respond(0)->fields_len--)
BAD(fields_framing, memcpy(builder.blob + respond(0)->fields_off, "te: 12\r\n", 8))
BAD(fields_date, (memcpy(builder.blob + respond(0)->fields_off, "date:1\r\n", 8)))
BAD(body_behind, respond(0)->body_off = len - 4)
BAD(body_wrap, respond(0)->body_len = 0xffffffff)
BAD(body_of_204, respond(1)->body_len = 1)
BAD(family, upstream()->family = 5)
BAD(no_port, upstream()->port = 0)
BAD(no_name, upstream()->name_len = 0)
BAD(long_name, (upstream()->name_off = 0, upstream()->name_len = 256))
BAD(name_behind, upstream()->name_off = len - 1)
BAD(no_conns, upstream()->conns_max = upstream()->idle_max = 0)
BAD(many_conns, upstream()->conns_max = 4097)
BAD(more_idle, upstream()->idle_max = upstream()->conns_max + 1)
BAD(no_connect_time, upstream()->connect_timeout_ms = 0)
BAD(no_head_time, upstream()->head_timeout_ms = 0)
BAD(no_idle_time, upstream()->idle_timeout_ms = 0)

TEST(plan_that_breaks_one_rule_is_refused_with_its_reason) {
    static const struct {
        void (*change)(void);
        const char *reason;
    } rows[] = {
        {magic, "magic"}, {version, "version"}, {more_bytes, "bytes"}, {many_entries, "entry_count"}, {entries_behind, "entries"},
        {entries_odd, "entries"}, {entries_wrap, "entries"}, {segs_behind, "segs"}, {segs_many, "segs"}, {responds_many, "responds"},
        {upstreams_many, "upstreams"}, {no_via, "via"}, {long_via, "via"}, {via_behind, "via"}, {via_space, "via"}, {via_crlf, "via"},
        {via_comma, "via"}, {via_comment, "via"}, {method_unknown, "entry method"}, {method_nameless, "entry method name"},
        {method_long, "entry method name"}, {method_behind, "entry method name"}, {op_unknown, "step op"},
        {op_behind_policies, "step op"}, {op_of_another_policy, "step op"}, {policy_missing, "step arg"}, {policies_many, "policy_count"},
        {policies_behind, "policies"}, {policy_op, "step op"}, {policy_op_unknown, "policy"}, {policy_record_odd, "policy"},
        {policy_record_behind, "policy"}, {policy_record_wrap, "policy"}, {policy_record_short, "policy"}, {policy_record_long, "policy"},
        {policy_respond, "policy"}, {policy_upstream, "policy"}, {policy_edits_many, "policy"}, {policy_scratch_many, "policy"},
        {id_trust, "policy"}, {id_no_bytes, "policy"}, {id_few_request_bytes, "policy"}, {id_few_response_bytes, "policy"},
        {id_few_scratch_bytes, "policy"}, {id_uuid_bytes, "policy"}, {id_nameless, "policy"}, {id_name_behind, "policy"},
        {id_name_upper, "policy"}, {id_name_space, "policy"}, {id_name_colon, "policy"}, {id_name_host, "policy"}, {id_name_date, "policy"},
        {id_name_framing, "policy"}, {id_trusted_behind, "policy"}, {id_trusted_many, "policy"}, {id_trusted_unsorted, "policy"}, {limit_answers_nothing, "policy"}, {cors_origins_behind, "policy"}, {cors_origins_odd, "policy"}, {cors_origins_many, "policy"},
        {cors_otherwise, "policy"}, {cors_otherwise_without_vary, "policy"}, {cors_headers, "policy"}, {cors_origin_behind, "policy"}, {cors_origin_wrap, "policy"},
        {cors_unsorted, "policy"}, {cors_same_twice, "policy"}, {cors_preflight_behind, "policy"}, {cors_preflight_long, "policy"},
        {cors_preflight_cut, "policy"}, {cors_preflight_framing, "policy"}, {cors_preflight_date, "policy"}, {cors_vary, "policy"},
        {cors_reflects, "policy"}, {cors_few_response_bytes, "policy"}, {allowed_rows_behind, "policy"}, {allowed_rows_odd, "policy"},
        {allowed_rows_many, "policy"}, {allowed_entry, "policy"}, {allowed_nothing, "policy"}, {allowed_behind, "policy"},
        {allowed_crlf, "policy"}, {restriction_answers_nothing, "policy"},
        {restriction_proxies_behind, "policy"}, {restriction_forwarded, "policy"}, {restriction_deny_behind, "policy"}, {restriction_allow_many, "policy"},
        {no_segments, "entry without segments"}, {many_segments, "entry segments"}, {segments_behind, "entry segments"},
        {segments_wrap, "entry segments"}, {respond_missing, "step arg"}, {upstream_missing, "step arg"},
        {many_steps, "step_count"}, {steps_behind, "steps"}, {no_steps, "entry steps"}, {entry_steps_behind, "entry steps"},
        {entry_steps_wrap, "entry steps"}, {step_behind_end, "step behind its end"}, {headers_missing, "step arg"},
        {headers_many, "headers"}, {edits_many, "edits"}, {edits_behind, "headers edits"}, {edits_wrap, "headers edits"},
        {edits_sum, "headers bytes"}, {edit_kind, "edit kind"}, {edit_nameless, "edit length"}, {edit_behind, "edit length"},
        {edit_long, "edit length"}, {edit_shorter_than_name, "edit length"}, {edit_upper_case, "edit name"},
        {edit_space_in_name, "edit name"}, {edit_name_of_another_length, "edit line"}, {edit_without_end, "edit line"},
        {edit_two_lines, "edit line"}, {edit_crlf_in_value, "edit line"}, {edit_blank_before_value, "edit line"}, {edit_blank_behind_value, "edit line"}, {edit_remove_with_more, "edit length"},
        {edit_framing, "edit name"}, {edit_remove_framing, "edit name"}, {edit_of_host, "forbidden name"},
        {edit_of_date, "forbidden name"},
        {rest_inside, "REST before its end"}, {tail_inside, "REST before its end"}, {seg_kind, "segment"}, {seg_class_len, "segment"}, {seg_behind, "segment"}, {seg_wrap, "segment"},
        {status_low, "respond status"}, {status_high, "respond status"}, {fields_behind, "respond fields"}, {fields_many, "respond fields"},
        {fields_cut, "respond field lines"}, {fields_framing, "respond field lines"}, {fields_date, "respond field lines"},
        {body_behind, "respond body"}, {body_wrap, "respond body"}, {body_of_204, "respond body of 204 or 304"},
        {family, "upstream family"}, {no_port, "upstream port"}, {no_name, "upstream name"}, {long_name, "upstream name"},
        {name_behind, "upstream name"}, {no_conns, "upstream conns_max"}, {many_conns, "upstream conns_max"},
        {more_idle, "upstream conns_max"}, {no_connect_time, "upstream timeout"}, {no_head_time, "upstream timeout"},
        {no_idle_time, "upstream timeout"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct sl_plan *plan = NULL;
        build();
        rows[i].change();
        int rc = load(&plan, len);
        CHECK_MSG(rc == SL_E_PLAN_INVALID, "row %zu (%s): %d", i, rows[i].reason, rc);
        CHECK_MSG(strstr(sl_fail_text(), rows[i].reason) != NULL, "row %zu: %s, expected %s", i, sl_fail_text(), rows[i].reason);
        if (rc == SL_OK) {
            sl_plan_unref(plan);
        }
    }
}

TEST(plan_cut_anywhere_is_refused) {
    build();
    for (size_t n = 0; n < len; n++) {
        struct sl_plan *plan;
        CHECK_INT(load(&plan, n), SL_E_PLAN_INVALID);
        if (n >= sizeof(struct sl_plan_header)) { // also when its header agrees
            uint32_t was = header()->bytes;
            header()->bytes = (uint32_t)n;
            CHECK_MSG(load(&plan, n) == SL_E_PLAN_INVALID, "%zu bytes", n);
            header()->bytes = was;
        }
    }
}

TEST(plan_with_any_byte_changed_is_refused_or_harmless) {
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    build();
    uint32_t taken = 0;
    for (uint32_t at = 0; at < len; at++) {
        uint8_t was = builder.blob[at];
        for (size_t v = 0; v < sizeof(values); v++) {
            struct sl_plan *plan;
            builder.blob[at] = values[v];
            if (load(&plan, len) == SL_OK) {
                taken++;
                use(plan);
                sl_plan_unref(plan);
            }
        }
        builder.blob[at] = was;
    }
    CHECK(taken > 0 && taken < len * sizeof(values));
}
