// Heads: whatever the bytes, a request or response parses the same whole and in two parts cut
// anywhere, every offset lies inside the head, and what we forward parses again. The input is
// copied to a block of its own size, so that ASan sees a read past the end. SLUICE_PARSER says
// which implementation; http1_diff_fuzz.c has all of them.
#include <stdlib.h>

#include "http1_write.h"

enum kind { REQUEST, RESPONSE };

struct outcome {
    int verdict;
    uint8_t *bytes; // with names in lower case
    struct sl_head head;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    SL_ASSERT(sl_http1_parser_use(getenv("SLUICE_PARSER")) == SL_OK);
    return 0;
}

static const struct sl_head_limits limits = {2048, 512, 40};

static int parse(enum kind kind, struct sl_head *head, uint8_t *bytes, size_t len, uint8_t method) {
    int verdict = kind == REQUEST
                      ? sl_http1_parse_request(head, bytes, len, &limits)
                      : sl_http1_parse_response(head, bytes, len, &limits, (enum sl_method)method);
    SL_ASSERT(verdict <= 1);
    SL_ASSERT(kind == REQUEST || verdict >= 0 || verdict == SL_E_UPSTREAM_BAD);
    SL_ASSERT(verdict >= 0 || sl_status_info(verdict)->http >= 400);
    return verdict;
}

static uint8_t *copy_of(const uint8_t *data, size_t len) {
    uint8_t *copy = malloc(len ? len : 1);
    if (len) {
        memcpy(copy, data, len);
    }
    return copy;
}

static void parse_whole(enum kind kind, struct outcome *outcome, const uint8_t *data, size_t len,
                        uint8_t method) {
    outcome->bytes = copy_of(data, len);
    outcome->head.scanned = outcome->head.skipped = 0;
    outcome->verdict = parse(kind, &outcome->head, outcome->bytes, len, method);
}

// Gives `cut` bytes, then all.
static void parse_cut(enum kind kind, struct outcome *outcome, const uint8_t *data, size_t len,
                      size_t cut, uint8_t method) {
    outcome->bytes = copy_of(data, cut);
    outcome->head.scanned = outcome->head.skipped = 0;
    outcome->verdict = parse(kind, &outcome->head, outcome->bytes, cut, method);
    uint8_t *all = copy_of(data, len);
    if (cut) {
        memcpy(all, outcome->bytes, cut);
    }
    free(outcome->bytes);
    outcome->bytes = all;
    if (outcome->verdict == 0) {
        outcome->verdict = parse(kind, &outcome->head, all, len, method);
    }
}

static void check_same(const struct outcome *a, const struct outcome *b) {
    SL_ASSERT(a->verdict == b->verdict);
    if (a->verdict != 1) {
        return;
    }
    struct sl_head x = a->head, y = b->head;
    x.scanned = y.scanned = 0;
    SL_ASSERT(memcmp(&x, &y, offsetof(struct sl_head, fields)) == 0);
    SL_ASSERT(memcmp(x.fields, y.fields, x.field_count * sizeof(x.fields[0])) == 0);
    SL_ASSERT(memcmp(a->bytes, b->bytes, x.skipped + x.len) == 0);
}

static void check_inside(uint32_t off, uint32_t len, const struct sl_head *head) {
    SL_ASSERT(off + len <= head->len);
}

static void check_offsets(const struct sl_head *head, size_t len) {
    SL_ASSERT(head->skipped <= 8 && head->skipped + head->len <= len);
    SL_ASSERT(head->len <= limits.head_bytes_max && head->field_count <= limits.fields_max);
    check_inside(0, head->method_len, head);
    check_inside(head->target_off, head->target_len, head);
    check_inside(head->path_off, head->path_len, head);
    check_inside(head->query_off, head->query_len, head);
    check_inside(head->host_off, head->host_len, head);
    check_inside(head->reason_off, head->reason_len, head);
    uint32_t at = 0; // fields lie one behind the other
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct sl_field *field = &head->fields[i];
        SL_ASSERT(field->name_off > at && field->name_len > 0);
        SL_ASSERT(field->value_off > field->name_off + field->name_len);
        at = field->value_off + field->value_len;
        SL_ASSERT(at < head->len && field->id < SL_H_COUNT &&
                  field->next_same <= head->field_count);
        SL_ASSERT(field->next_same == 0 || field->next_same > i + 1);
    }
}

static void check_forwarded_request(const struct outcome *outcome) {
    static uint8_t out[SL_HEAD_OUT_MAX];
    static struct sl_head again;
    const struct sl_head *head = &outcome->head;
    struct sl_forward_request forward = {
        .head = head,
        .data = outcome->bytes + head->skipped,
        .framing = head->body == SL_BODY_CHUNKED  ? SL_FRAMING_CHUNKED
                   : head->body == SL_BODY_LENGTH ? SL_FRAMING_LENGTH
                                                  : SL_FRAMING_NONE,
        .content_length = head->content_length,
        .via = sl_span_of("sluice"),
        .client_ip = sl_span_of("::1"),
        .expect_continue = head->flags & SL_HEAD_EXPECT_CONTINUE,
        .host = sl_span_of("upstream"),
    };
    static const struct sl_head_limits wide = {SL_HEAD_OUT_MAX, 8192, SL_FIELDS_MAX};
    size_t len = sl_http1_forward_request(out, sizeof(out), &forward);
    SL_ASSERT(len > 0);
    again.scanned = again.skipped = 0;
    SL_ASSERT(sl_http1_parse_request(&again, out, len, &wide) == 1);
    SL_ASSERT(again.len == len && again.method == head->method && again.body == head->body);
    SL_ASSERT(again.content_length == head->content_length && again.version == 1);
    SL_ASSERT((again.flags & SL_HEAD_EXPECT_CONTINUE) == (head->flags & SL_HEAD_EXPECT_CONTINUE));
    SL_ASSERT(sl_http1_via_has(&again, out, sl_span_of("sluice")));
    SL_ASSERT(!again.first[SL_H_CONNECTION] && !again.first[SL_H_UPGRADE] && !again.first[SL_H_TE]);
}

static void check_forwarded_response(const struct outcome *outcome, uint8_t method) {
    static uint8_t out[SL_HEAD_OUT_MAX];
    static struct sl_head again;
    struct sl_forward_response forward = {
        .head = &outcome->head,
        .data = outcome->bytes,
        .framing = outcome->head.body == SL_BODY_NONE ? SL_FRAMING_NONE : SL_FRAMING_CHUNKED,
        .via = sl_span_of("sluice"),
    };
    static const struct sl_head_limits wide = {SL_HEAD_OUT_MAX, 8192, SL_FIELDS_MAX};
    size_t len = sl_http1_forward_response(out, sizeof(out), &forward);
    SL_ASSERT(len > 0);
    again.scanned = again.skipped = 0;
    SL_ASSERT(sl_http1_parse_response(&again, out, len, &wide, (enum sl_method)method) == 1);
    SL_ASSERT(again.len == len && again.status == outcome->head.status);
}

static void check(enum kind kind, const uint8_t *data, size_t len, uint8_t method) {
    static struct outcome whole, parts;
    parse_whole(kind, &whole, data, len, method);
    if (whole.verdict == 1) {
        check_offsets(&whole.head, len);
        if (kind == REQUEST) {
            check_forwarded_request(&whole);
        } else {
            check_forwarded_response(&whole, method);
        }
    }
    for (size_t cut = 0; cut <= len; cut += 1 + len / 512) {
        parse_cut(kind, &parts, data, len, cut, method);
        check_same(&whole, &parts);
        free(parts.bytes);
    }
    free(whole.bytes);
}

// The first byte says which; HEAD and CONNECT matter to a response.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0) {
        uint8_t method = data[0] >> 1 & 15;
        check(data[0] & 1 ? RESPONSE : REQUEST, data + 1, size - 1, method);
        bool has_date;
        uint8_t *lines = copy_of(data + 1, size - 1);
        sl_http1_check_fields(lines, size - 1, &has_date);
        free(lines);
    }
    return 0;
}
