#include "http1_cookie.h"

static struct sl_span trim(const uint8_t *from, const uint8_t *end) {
    while (from < end && (*from == ' ' || *from == '\t')) {
        from++;
    }
    while (from < end && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    return (struct sl_span){from, (size_t)(end - from)};
}

static struct sl_span unquote(struct sl_span value) {
    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"') {
        return (struct sl_span){value.data + 1, value.len - 2};
    }
    return value;
}

static bool find_in_line(struct sl_span line, struct sl_span name, struct sl_span *out_value) {
    const uint8_t *at = line.data, *end = line.data + line.len;
    while (at < end) {
        const uint8_t *semicolon = memchr(at, ';', (size_t)(end - at));
        const uint8_t *next = semicolon ? semicolon : end;
        const uint8_t *equals = memchr(at, '=', (size_t)(next - at));
        if (equals) {
            struct sl_span found = trim(at, equals);
            if (found.len == name.len && memcmp(found.data, name.data, name.len) == 0) {
                *out_value = unquote(trim(equals + 1, next));
                return true;
            }
        }
        at = next + 1;
    }
    return false;
}

bool sl_http1_cookie(const struct sl_head *head, const uint8_t *data, struct sl_span name,
                     struct sl_span *out_value) {
    for (uint16_t i = head->first[SL_H_COOKIE]; i > 0; i = head->fields[i - 1].next_same) {
        const struct sl_field *field = &head->fields[i - 1];
        struct sl_span line = {data + field->value_off, field->value_len};
        if (find_in_line(line, name, out_value)) {
            return true;
        }
    }
    return false;
}
