#include "http1_edit.h"

static uint8_t to_lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte; }

static bool same_name(const uint8_t *lower, const uint8_t *name, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (lower[i] != to_lower(name[i])) {
            return false;
        }
    }
    return true;
}

static bool names(const struct sl_plan_edit *e, const uint8_t *bytes, uint32_t bit,
                  const uint8_t *name, size_t len) {
    return (e->bit == bit || e->bit == 0) && e->name_len == len &&
           same_name(bytes + e->off, name, len);
}

// Whether an edit of the run at `at` or after it takes lines of this name away.
static bool run_drops(const struct sl_edit_run *r, uint32_t at, uint32_t bit, const uint8_t *name,
                      size_t len) {
    for (uint32_t i = at; i < r->count; i++) {
        if (r->edits[i].kind != SL_PLAN_EDIT_APPEND &&
            names(&r->edits[i], r->bytes, bit, name, len)) {
            return true;
        }
    }
    return false;
}

// The same, of all runs from `run` on.
static bool drops(const struct sl_edits *edits, uint32_t run, uint32_t bit, const uint8_t *name,
                  size_t len) {
    for (; run < edits->run_count; run++) {
        const struct sl_edit_run *r = &edits->runs[run];
        if (r->drops & bit && run_drops(r, 0, bit, name, len)) {
            return true;
        }
    }
    return false;
}

uint32_t sl_edits_drops(const struct sl_plan_edit *edits, uint32_t count) {
    uint32_t bits = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (edits[i].kind != SL_PLAN_EDIT_APPEND) {
            bits |= edits[i].bit ? edits[i].bit : UINT32_MAX;
        }
    }
    return bits;
}

void sl_edits_note(struct sl_plan_edit *edits, const uint8_t *bytes, uint32_t count) {
    struct sl_edit_run run = {edits, bytes, count, 0};
    for (uint32_t i = 0; i < count; i++) {
        struct sl_plan_edit *e = &edits[i];
        e->bit = sl_edit_bit(bytes + e->off, e->name_len);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct sl_plan_edit *e = &edits[i];
        e->last = !run_drops(&run, i + 1, e->bit, bytes + e->off, e->name_len);
    }
}

bool sl_edits_keep(const struct sl_edits *edits, const uint8_t *name, size_t len) {
    return len == 0 || !drops(edits, 0, sl_edit_bit(name, len), name, len);
}

uint32_t sl_edits_names(struct sl_span fields) {
    const uint8_t *at = fields.data, *end = fields.data + fields.len;
    uint32_t bits = 0;
    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *colon = memchr(at, ':', (size_t)(end - at));
        bits |= colon && colon > at ? sl_edit_bit(at, (size_t)(colon - at)) : UINT32_MAX;
        at = newline ? newline + 1 : end;
    }
    return bits;
}

bool sl_edits_add(const struct sl_edits *edits, struct sl_span name) {
    for (uint32_t i = 0; i < edits->run_count; i++) {
        const struct sl_edit_run *r = &edits->runs[i];
        for (uint32_t k = 0; k < r->count; k++) {
            const struct sl_plan_edit *e = &r->edits[k];
            if (e->kind != SL_PLAN_EDIT_REMOVE && e->name_len == name.len &&
                memcmp(r->bytes + e->off, name.data, name.len) == 0) {
                return true;
            }
        }
    }
    return false;
}

// Goes through the edits whose lines are in the edited head.
struct cursor {
    const struct sl_edits *edits;
    uint32_t run, at, later; // later: what the runs behind this one take away
};

static void enter_run(struct cursor *c) {
    c->at = c->later = 0;
    for (uint32_t i = c->run + 1; i < c->edits->run_count; i++) {
        c->later |= c->edits->runs[i].drops;
    }
}

static bool is_kept(const struct cursor *c, const struct sl_plan_edit *e, const uint8_t *line) {
    if (e->last && e->bit && !(c->later & e->bit)) {
        return true;
    }
    uint32_t bit = sl_edit_bit(line, e->name_len);
    return !run_drops(&c->edits->runs[c->run], c->at, bit, line, e->name_len) &&
           !drops(c->edits, c->run + 1, bit, line, e->name_len);
}

// The next one, and its line; NULL after the last.
static const struct sl_plan_edit *next_line(struct cursor *c, const uint8_t **out_line) {
    for (; c->run < c->edits->run_count; c->run++, enter_run(c)) {
        const struct sl_edit_run *r = &c->edits->runs[c->run];
        while (c->at < r->count) {
            const struct sl_plan_edit *e = &r->edits[c->at++];
            *out_line = r->bytes + e->off;
            if (e->kind != SL_PLAN_EDIT_REMOVE && is_kept(c, e, *out_line)) {
                return e;
            }
        }
    }
    return NULL;
}

size_t sl_edits_lines(const struct sl_edits *edits, uint8_t *out) {
    struct cursor cursor = {.edits = edits};
    size_t n = 0;
    const uint8_t *line;
    enter_run(&cursor);
    for (const struct sl_plan_edit *e; (e = next_line(&cursor, &line));) {
        memcpy(out + n, line, e->len);
        n += e->len;
    }
    return n;
}

size_t sl_edits_filter(const struct sl_edits *edits, uint8_t *out, struct sl_span fields) {
    const uint8_t *at = fields.data, *end = fields.data + fields.len;
    size_t n = 0;
    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *next = newline ? newline + 1 : end;
        const uint8_t *colon = memchr(at, ':', (size_t)(next - at));
        if (!colon || sl_edits_keep(edits, at, (size_t)(colon - at))) {
            memcpy(out + n, at, (size_t)(next - at));
            n += (size_t)(next - at);
        }
        at = next;
    }
    return n;
}

// ---- Requests

struct rewrite {
    struct sl_head *head;
    uint8_t *out;
    size_t len, cap;
    uint16_t count;
    uint16_t last[SL_H_COUNT]; // index + 1 of the last field of that id
};

static int put(struct rewrite *w, const uint8_t *data, size_t len) {
    if (len > w->cap - w->len) {
        return SL_E_HEAD_TOO_LARGE;
    }
    memcpy(w->out + w->len, data, len);
    w->len += len;
    return SL_OK;
}

// Writes one line and its row. Rows are written over those that were read already, so `field` is a copy.
static int put_field(struct rewrite *w, struct sl_field field, const uint8_t *name,
                     const uint8_t *value) {
    struct sl_head *head = w->head;
    if (w->count == SL_FIELDS_MAX) {
        return SL_E_TOO_MANY_FIELDS;
    }
    if ((size_t)field.name_len + field.value_len + 4 > w->cap - w->len) {
        return SL_E_HEAD_TOO_LARGE;
    }
    field.name_off = (uint16_t)w->len;
    put(w, name, field.name_len);
    put(w, (const uint8_t *)": ", 2);
    field.value_off = (uint16_t)w->len;
    put(w, value, field.value_len);
    put(w, (const uint8_t *)"\r\n", 2);
    field.next_same = 0;
    w->count++;
    if (field.id != SL_H_OTHER) {
        uint16_t last = w->last[field.id];
        if (last) {
            head->fields[last - 1].next_same = w->count;
        } else {
            head->first[field.id] = w->count;
        }
        w->last[field.id] = w->count;
    }
    head->fields[w->count - 1] = field;
    return SL_OK;
}

static int put_kept(struct rewrite *w, const struct sl_edits *edits, const uint8_t *data,
                    uint16_t field_count) {
    struct sl_head *head = w->head;
    const struct sl_field *host = sl_head_field(head, SL_H_HOST);
    uint16_t host_at = host ? host->value_off : 0;
    bool of_field = host && head->host_off >= host_at; // else it is an absolute target's
    memset(head->first, 0, sizeof(head->first));
    for (uint16_t i = 0; i < field_count; i++) {
        const struct sl_field field = head->fields[i];
        const uint8_t *name = data + field.name_off;
        if (!sl_edits_keep(edits, name, field.name_len)) {
            continue;
        }
        int rc = put_field(w, field, name, data + field.value_off);
        if (rc) {
            return rc;
        }
        if (of_field && field.id == SL_H_HOST) {
            uint16_t moved = head->fields[w->count - 1].value_off;
            head->host_off = (uint16_t)(moved + (head->host_off - host_at));
        }
    }
    return SL_OK;
}

static int put_added(struct rewrite *w, const struct sl_edits *edits) {
    struct cursor cursor = {.edits = edits};
    int rc = SL_OK;
    const uint8_t *name;
    enter_run(&cursor);
    for (const struct sl_plan_edit *e; !rc && (e = next_line(&cursor, &name));) {
        struct sl_field field = {.name_len = e->name_len,
                                 .value_len = (uint16_t)(e->len - e->name_len - 4),
                                 .id = (uint8_t)sl_header_id(name, e->name_len),
                                 .flags = SL_FIELD_OURS};
        rc = put_field(w, field, name, name + e->name_len + 2);
    }
    return rc;
}

int sl_edits_request(const struct sl_edits *edits, struct sl_head *head, const uint8_t *data,
                     uint8_t *out, size_t cap) {
    struct rewrite w = {.head = head, .out = out, .cap = sl_min_size(cap, UINT16_MAX)};
    uint16_t field_count = head->field_count, host_off = head->host_off;
    size_t line_len = field_count > 0 ? head->fields[0].name_off : head->len - 2;
    int rc = put(&w, data, line_len);
    rc = rc ? rc : put_kept(&w, edits, data, field_count);
    rc = rc ? rc : put_added(&w, edits);
    rc = rc ? rc : put(&w, (const uint8_t *)"\r\n", 2);
    if (rc) {
        head->field_count = 0;
        head->host_off = host_off;
        memset(head->first, 0, sizeof(head->first));
        return rc;
    }
    head->field_count = w.count;
    head->len = (uint32_t)w.len;
    return SL_OK;
}
