// Header edits, against the plain way: a list of fields on which each edit is done in turn.
#include "http1_edit.h"

#include <stdlib.h>

#include "plan_builder.h"
#include "test.h"

static struct plan_builder builder;

// Runs of "-name|=name: value|+name: value", the first is done first. The builder's bytes are where offsets count from, as long as it is not finished.
static struct sl_edits edits_of(const char *const *runs, size_t count) {
    plan_init(&builder);
    struct sl_edits edits = {.run_count = (uint32_t)count};
    for (size_t i = 0; i < count; i++) {
        uint32_t first = builder.header.edit_count;
        uint32_t n = plan_edits(&builder, runs[i], &edits.bytes_max);
        if (i == 0) { // of the others nothing is known
            sl_edits_note(&builder.edits[first], builder.bytes, n);
        }
        edits.runs[i] = (struct sl_edit_run){&builder.edits[first], builder.bytes, n, sl_edits_drops(&builder.edits[first], n)};
    }
    return edits;
}

// ---- Field lines

static void check_lines(const char *fields, const char *run1, const char *run2, const char *expected) {
    const char *const runs[] = {run1, run2};
    struct sl_edits edits = edits_of(runs, 2);
    size_t room = strlen(fields) + edits.bytes_max;
    uint8_t *out = malloc(room ? room : 1); // of its own size: ASan sees a byte too many
    size_t n = sl_edits_filter(&edits, out, sl_span_of(fields));
    n += sl_edits_lines(&edits, out + n);
    CHECK_MSG(n == strlen(expected) && memcmp(out, expected, n) == 0, "%s, then %s: %.*s", run1, run2, (int)n, (char *)out);
    free(out);
}

TEST(edits_of_field_lines) {
    check_lines("", "", "", "");
    check_lines("a: 1\r\n", "", "", "a: 1\r\n");
    check_lines("a: 1\r\nb: 2\r\na: 3\r\n", "-a", "", "b: 2\r\n");
    check_lines("A: 1\r\nb: 2\r\n", "=a: 9", "", "b: 2\r\na: 9\r\n");
    check_lines("a: 1\r\n", "+a: 2", "", "a: 1\r\na: 2\r\n");
    check_lines("aa: 1\r\nab: 2\r\na: 3\r\n", "-a", "", "aa: 1\r\nab: 2\r\n");
    check_lines("x: a: b\r\n", "-a", "", "x: a: b\r\n");
    // One after the other, in one run and over two.
    check_lines("", "=a: 1|=a: 2", "", "a: 2\r\n");
    check_lines("", "=a: 1|+a: 2", "", "a: 1\r\na: 2\r\n");
    check_lines("", "+a: 1|=a: 2", "", "a: 2\r\n");
    check_lines("", "=a: 1|-a", "", "");
    check_lines("a: 0\r\n", "-a|+a: 1", "", "a: 1\r\n");
    check_lines("a: 0\r\n", "=a: 1|+b: 1", "=a: 2", "b: 1\r\na: 2\r\n");
    check_lines("a: 0\r\n", "=a: 1", "+a: 2", "a: 1\r\na: 2\r\n");
    check_lines("a: 0\r\n", "+a: 1", "-a|+c: 1", "c: 1\r\n");
    check_lines("set-cookie: a\r\nset-cookie: b\r\n", "+set-cookie: c", "+set-cookie: d",
                "set-cookie: a\r\nset-cookie: b\r\nset-cookie: c\r\nset-cookie: d\r\n");
    check_lines("a: \r\n", "=b: ", "", "a: \r\nb: \r\n");
}

// ---- Heads of requests

static const struct sl_head_limits limits = {16384, 8192, SL_FIELDS_MAX};

static void parse(struct sl_head *head, uint8_t *text, size_t len) {
    head->scanned = head->skipped = 0;
    REQUIRE(sl_http1_parse_request(head, text, len, &limits) == 1);
}

// The table must be the one that the parser would make of the written bytes.
static void check_table(const struct sl_head *head, uint8_t *text) {
    static struct sl_head again;
    parse(&again, text, head->len);
    CHECK_INT(again.len, head->len);
    CHECK_INT(again.field_count, head->field_count);
    CHECK_INT(again.host_off, head->host_off);
    CHECK_INT(again.host_len, head->host_len);
    CHECK(memcmp(again.first, head->first, sizeof(head->first)) == 0);
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct sl_field *a = &again.fields[i], *b = &head->fields[i];
        CHECK_INT(a->name_off, b->name_off);
        CHECK_INT(a->name_len, b->name_len);
        CHECK_INT(a->value_off, b->value_off);
        CHECK_INT(a->value_len, b->value_len);
        CHECK_INT(a->id, b->id);
        CHECK_INT(a->next_same, b->next_same);
        CHECK_INT(a->flags & ~SL_FIELD_NOMINATED, b->flags & ~(SL_FIELD_OURS | SL_FIELD_NOMINATED));
    }
}

static void check_request(const char *text, const char *run, const char *expected) {
    static struct sl_head head;
    uint8_t *in = malloc(strlen(text)), *out;
    memcpy(in, text, strlen(text));
    parse(&head, in, strlen(text));
    struct sl_edits edits = edits_of(&run, 1);
    size_t cap = head.len + edits.bytes_max + 64; // 64: a space behind each colon
    out = malloc(cap);
    CHECK_INT(sl_edits_request(&edits, &head, in, out, cap), SL_OK);
    CHECK_MSG(head.len == strlen(expected) && memcmp(out, expected, head.len) == 0, "%s: %.*s", run, (int)head.len, (char *)out);
    check_table(&head, out);
    free(in);
    free(out);
}

TEST(edits_of_a_requests_head_keep_its_table_true) {
    check_request("GET /p?q HTTP/1.1\r\nHost: h:1\r\nX-A: 1\r\n\r\n", "=x-a: 2",
                  "GET /p?q HTTP/1.1\r\nhost: h:1\r\nx-a: 2\r\n\r\n");
    check_request("GET / HTTP/1.1\r\nx-a:1\r\nhost:h\r\nx-a:  2 \r\n\r\n", "-x-a|+x-b: 3",
                  "GET / HTTP/1.1\r\nhost: h\r\nx-b: 3\r\n\r\n");
    check_request("GET / HTTP/1.1\r\nAccept: a\r\nhost: h\r\naccept: b\r\n\r\n", "+accept: c|+accept: d",
                  "GET / HTTP/1.1\r\naccept: a\r\nhost: h\r\naccept: b\r\naccept: c\r\naccept: d\r\n\r\n");
    check_request("GET http://abs:9/ HTTP/1.1\r\nhost: other\r\n\r\n", "=x: 1", "GET http://abs:9/ HTTP/1.1\r\nhost: other\r\nx: 1\r\n\r\n");
    check_request("GET / HTTP/1.0\r\n\r\n", "=x: 1", "GET / HTTP/1.0\r\nx: 1\r\n\r\n");
    check_request("GET / HTTP/1.0\r\nA: 1\r\n\r\n", "-a", "GET / HTTP/1.0\r\n\r\n");
    check_request("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", "-x",
                  "PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n");
    check_request("GET / HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nconnection: x-a\r\n\r\n", "=x-b: 1",
                  "GET / HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nconnection: x-a\r\nx-b: 1\r\n\r\n");
}

TEST(edits_mark_what_they_add_and_keep_other_marks) {
    static struct sl_head head;
    static uint8_t out[512];
    uint8_t in[] = "GET / HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nx-b: 1\r\nconnection: x-a, x-b\r\n\r\n";
    const char *run = "=x-a: 2";
    parse(&head, in, sizeof(in) - 1);
    struct sl_edits edits = edits_of(&run, 1);
    REQUIRE(sl_edits_request(&edits, &head, in, out, sizeof(out)) == SL_OK);
    CHECK_INT(head.fields[1].flags, SL_FIELD_NOMINATED); // x-b
    CHECK_INT(head.fields[3].flags, SL_FIELD_OURS);      // x-a: a client cannot nominate it away
}

TEST(edits_that_do_not_fit_leave_a_head_without_fields) {
    static struct sl_head head;
    static uint8_t in[8192], out[8192];
    size_t n = (size_t)snprintf((char *)in, sizeof(in), "GET /p HTTP/1.1\r\nhost: h\r\n");
    for (int i = 1; i < SL_FIELDS_MAX; i++) {
        n += (size_t)snprintf((char *)in + n, sizeof(in) - n, "x-%d: 1\r\n", i);
    }
    n += (size_t)snprintf((char *)in + n, sizeof(in) - n, "\r\n");
    const char *run = "=y: 1";
    for (int many = 0; many < 2; many++) {
        parse(&head, in, n);
        uint16_t host_off = head.host_off;
        struct sl_edits edits = edits_of(&run, 1);
        CHECK_INT(sl_edits_request(&edits, &head, in, out, many ? sizeof(out) : 100), many ? SL_E_TOO_MANY_FIELDS : SL_E_HEAD_TOO_LARGE);
        CHECK_INT(head.field_count, 0);
        CHECK_INT(head.host_off, host_off);
        CHECK(!sl_head_field(&head, SL_H_HOST));
        CHECK(memcmp(in + head.path_off, "/p", 2) == 0);
    }
    run = "=x-1: 2"; // as many as before
    parse(&head, in, n);
    struct sl_edits edits = edits_of(&run, 1);
    CHECK_INT(sl_edits_request(&edits, &head, in, out, sizeof(out)), SL_OK);
    CHECK_INT(head.field_count, SL_FIELDS_MAX);
}
