// requestId(): an id for each request, in the request and in its answer. A client's own is taken over from peers that are trusted.
#include "policy.h"

#define UUID_LEN 36u

static bool is_id(const uint8_t *id, size_t len, size_t max) {
    for (size_t i = 0; i < len; i++) {
        uint8_t ch = id[i];
        bool word = (ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') ||
                    ch == '_' || ch == '-' || ch == '=';
        if (!word) {
            return false;
        }
    }
    return len > 0 && len <= max;
}

static bool is_trusted(const struct sl_policy *p) {
    const struct sl_plan_request_id *record = p->record;
    if (record->trust != SL_PLAN_TRUST_SOME) {
        return record->trust == SL_PLAN_TRUST_ALL;
    }
    uint8_t peer[SL_ADDRESS_BYTES];
    sl_address_of(peer, p->req->conn->remote_family, p->req->conn->remote_addr);
    struct sl_address_set set = sl_policy_set(p->plan, record->trusted_off, record->trusted_count);
    return sl_address_set_has(&set, peer);
}

// RFC 9562 section 5.4.
static void write_uuid(uint8_t out[UUID_LEN], struct sl_random *random) {
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    sl_random_take(random, bytes, sizeof(bytes));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *out++ = '-';
        }
        *out++ = (uint8_t)digits[bytes[i] >> 4];
        *out++ = (uint8_t)digits[bytes[i] & 15];
    }
}

// The value of the one field of that name that the request has; several are none. False: an error was answered.
static bool given_id(const struct sl_policy *p, struct sl_span *out) {
    const struct sl_plan_request_id *record = p->record;
    const struct sl_head *head = sl_policy_head(p);
    uint32_t count = 0;
    if (!head) {
        return false;
    }
    struct sl_span name = sl_plan_span(p->plan, record->name_off, record->name_len);
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct sl_field *field = &head->fields[i];
        if (field->name_len == name.len &&
            memcmp(p->req->head_data + field->name_off, name.data, name.len) == 0) {
            *out = sl_request_span(p->req, field->value_off, field->value_len);
            count++;
        }
    }
    if (count != 1 || !is_id(out->data, out->len, record->id_bytes_max)) {
        out->len = 0;
    }
    return true;
}

static enum sl_policy_next enter(const struct sl_policy *p) {
    const struct sl_plan_request_id *record = p->record;
    struct sl_span given = {NULL, 0};
    if (is_trusted(p) && !given_id(p, &given)) {
        return SL_POLICY_ANSWERED;
    }
    uint32_t id_len = given.len > 0 ? (uint32_t)given.len : UUID_LEN;
    uint32_t len = record->name_len + id_len + 4u;
    struct sl_plan_edit *edit = sl_policy_scratch(p, sizeof(*edit) + len);
    uint8_t *line = (uint8_t *)(edit + 1), *id = line + record->name_len + 2;
    *edit = (struct sl_plan_edit){
        .kind = SL_PLAN_EDIT_SET, .last = 1, .name_len = record->name_len, .len = len};
    memcpy(line, p->plan->blob + record->name_off, record->name_len);
    edit->bit = sl_edit_bit(line, record->name_len);
    memcpy(line + record->name_len, ": ", 2);
    if (given.len > 0) {
        memcpy(id, given.data, given.len);
    } else {
        write_uuid(id, &p->req->conn->worker->secrets);
    }
    memcpy(id + id_len, "\r\n", 2);
    sl_policy_edit_request(p, (struct sl_edit_run){edit, line, 1, 0});
    sl_policy_edit_response(p, (struct sl_edit_run){edit, line, 1, 0});
    return SL_POLICY_PASS;
}

static bool check(const struct sl_plan *plan, const struct sl_plan_policy *row,
                  const void *record) {
    const struct sl_plan_request_id *r = record;
    uint32_t id_max = r->trust ? r->id_bytes_max : 0;
    uint32_t line = r->name_len + 4u + (id_max > UUID_LEN ? id_max : UUID_LEN);
    return r->trust <= SL_PLAN_TRUST_SOME && (r->trust == 0 || r->id_bytes_max > 0) &&
           sl_policy_check_name(plan, r->name_off, r->name_len) && row->request_bytes >= line &&
           row->response_bytes >= line &&
           row->scratch_bytes >= line + sizeof(struct sl_plan_edit) + 3 &&
           sl_policy_check_set(plan, r->trusted_off, r->trusted_count);
}

const struct sl_policy_op sl__request_id_op = {
    .record_bytes = sizeof(struct sl_plan_request_id), .check = check, .enter = enter};
