// cors(): which other origins may read the answers (Fetch standard, section 3.3), and the answers to preflights.
#include "policy.h"

#define PREFLIGHT_BYTES_MAX 4096u // of the lines that the plan gives
#define ASKED_BYTES_MAX 8192u     // who asks for more gets nothing
#define FIELDS_ROOM (PREFLIGHT_BYTES_MAX + ASKED_BYTES_MAX + 256u)

static int compare(struct sl_span a, struct sl_span b) {
    int order = memcmp(a.data, b.data, sl_min_size(a.len, b.len));
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static const struct sl_plan_cors_origin *origin_at(const struct sl_plan *plan,
                                                   const struct sl_plan_cors *record, uint32_t i) {
    const struct sl_plan_cors_origin *rows = (const void *)(plan->blob + record->origins_off);
    return &rows[i];
}

static struct sl_span text_of(const struct sl_plan *plan, const struct sl_plan_cors_origin *row) {
    return sl_plan_span(plan, row->off, row->len);
}

// The row of headers for the request's Origin. Several Origin fields are none of ours.
static uint32_t headers_for(const struct sl_policy *p, const struct sl_head *head) {
    const struct sl_plan_cors *record = p->record;
    const struct sl_field *field = sl_head_field(head, SL_H_ORIGIN);
    if (!field || field->next_same) {
        return record->otherwise;
    }
    struct sl_span given = sl_request_span(p->req, field->value_off, field->value_len);
    uint32_t low = 0, high = record->origins_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct sl_plan_cors_origin *row = origin_at(p->plan, record, middle);
        int order = compare(text_of(p->plan, row), given);
        if (order == 0) {
            return row->headers;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return record->otherwise;
}

// The last edit is Vary's, if there is one: a preflight's answer says it for itself.
static void edit_response(const struct sl_policy *p, uint32_t index, bool preflight) {
    const struct sl_plan_cors *record = p->record;
    const struct sl_plan_headers *h = &p->plan->headers[index];
    uint32_t count = h->response_count - (preflight ? record->vary_last : 0);
    if (count > 0) {
        sl_policy_edit_response(
            p, (struct sl_edit_run){&p->plan->edits[h->response_first], p->plan->blob, count, 0});
    }
}

struct text {
    uint8_t *data;
    size_t len;
};

static void put(struct text *out, const void *data, size_t len) {
    SL_ASSERT(len <= FIELDS_ROOM - out->len);
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

// As JavaScript's trim(), for bytes that a field may have.
static bool is_space(uint8_t byte) { return byte == ' ' || byte == '\t' || byte == 0xa0; }

// A list's items without the blanks around them.
static void put_items(struct text *out, struct sl_span list) {
    const uint8_t *at = list.data, *end = list.data + list.len;
    for (;;) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        const uint8_t *from = at, *to = comma ? comma : end;
        while (from < to && is_space(*from)) {
            from++;
        }
        while (to > from && is_space(to[-1])) {
            to--;
        }
        put(out, from, (size_t)(to - from));
        if (!comma) {
            return;
        }
        put(out, ",", 1);
        at = comma + 1;
    }
}

static void put_text(struct text *out, const char *text) { put(out, text, strlen(text)); }

static bool asks_for_headers(const struct sl_policy *p, const struct sl_field *field) {
    static const char name[] = "access-control-request-headers";
    return field->name_len == sizeof(name) - 1 &&
           memcmp(p->req->head_data + field->name_off, name, sizeof(name) - 1) == 0;
}

// What the preflight asks for, every item, in one line. False: nothing, or too much.
static bool put_asked(struct text *out, const struct sl_policy *p, const struct sl_head *head) {
    uint32_t lines = 0, bytes = 0;
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (asks_for_headers(p, &head->fields[i])) {
            bytes += head->fields[i].value_len + 1u;
            lines++;
        }
    }
    if (bytes <= lines && lines <= 1) {
        return false; // no line, or an empty one
    }
    if (bytes > ASKED_BYTES_MAX) {
        return false;
    }
    put_text(out, "access-control-allow-headers: ");
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct sl_field *f = &head->fields[i];
        if (asks_for_headers(p, f)) {
            put_items(out, sl_request_span(p->req, f->value_off, f->value_len));
            put_text(out, --lines ? "," : "\r\n");
        }
    }
    return true;
}

static enum sl_policy_next preflight(const struct sl_policy *p, const struct sl_head *head) {
    const struct sl_plan_cors *record = p->record;
    uint8_t fields[FIELDS_ROOM];
    struct text out = {fields, 0};
    put(&out, p->plan->blob + record->preflight_off, record->preflight_len);
    bool asked = record->reflects && put_asked(&out, p, head);
    if (record->reflects && (asked || record->vary_last)) {
        put_text(&out, "vary: ");
        put_text(&out, record->vary_last ? "Origin" : "");
        put_text(&out, asked && record->vary_last ? ", " : "");
        put_text(&out, asked ? "Access-Control-Request-Headers" : "");
        put_text(&out, "\r\n");
    }
    struct sl_response_head response = {
        .status = 204, .framing = SL_FRAMING_NONE, .fields = {fields, out.len}};
    return sl_policy_respond(p, &response, (struct sl_span){NULL, 0}, SL_OK);
}

static enum sl_policy_next enter(const struct sl_policy *p) {
    const struct sl_plan_cors *record = p->record;
    bool asks = p->req->head.method == SL_METHOD_OPTIONS;
    uint32_t index = record->otherwise;
    const struct sl_head *head = &p->req->head;
    if (record->origins_count > 0 || asks) {
        head = asks ? sl_policy_head(p) : sl_policy_head_of(p, sl_span_of("origin"));
        if (!head) {
            return SL_POLICY_ANSWERED;
        }
        index = headers_for(p, head);
    }
    edit_response(p, index, asks);
    return asks ? preflight(p, head) : SL_POLICY_PASS;
}

static bool check_row(const struct sl_plan *plan, const struct sl_plan_policy *row,
                      const struct sl_plan_cors *r, uint32_t index) {
    if (index >= plan->header->header_count) {
        return false;
    }
    const struct sl_plan_headers *h = &plan->headers[index]; // itself checked
    return h->response_bytes <= row->response_bytes && h->response_count >= r->vary_last;
}

static bool check_origins(const struct sl_plan *plan, const struct sl_plan_policy *row,
                          const struct sl_plan_cors *r) {
    uint64_t bytes = (uint64_t)r->origins_count * sizeof(struct sl_plan_cors_origin);
    if (r->origins_off % 4 != 0 || !sl_plan_holds(plan, r->origins_off, bytes)) {
        return false;
    }
    for (uint32_t i = 0; i < r->origins_count; i++) {
        const struct sl_plan_cors_origin *origin = origin_at(plan, r, i);
        if (!sl_plan_holds(plan, origin->off, origin->len) ||
            !check_row(plan, row, r, origin->headers) ||
            (i > 0 &&
             compare(text_of(plan, origin_at(plan, r, i - 1)), text_of(plan, origin)) >= 0)) {
            return false;
        }
    }
    return true;
}

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row,
                  const void *record) {
    const struct sl_plan_cors *r = record;
    bool has_date = false;
    return r->vary_last <= 1 && r->reflects <= 1 && r->preflight_len <= PREFLIGHT_BYTES_MAX &&
           sl_plan_holds(plan, r->preflight_off, r->preflight_len) &&
           sl_http1_check_fields(plan->blob + r->preflight_off, r->preflight_len, &has_date) ==
               SL_OK &&
           !has_date && check_row(plan, row, r, r->otherwise) && check_origins(plan, row, r);
}

const struct sl_policy_op sl__cors_op = {
    .record_bytes = sizeof(struct sl_plan_cors), .check = check, .enter = enter};
