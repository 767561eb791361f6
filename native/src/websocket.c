#include "websocket.h"

#include <strings.h>

#include "tls.h"

#define KEY_BYTES 24u    // 16 bytes as base64
#define ACCEPT_BYTES 28u // 20 bytes as base64

// The only field of this name, or NULL.
static const struct sl_field *only_field(const struct sl_head *head, const uint8_t *data,
                                         const char *name) {
    const struct sl_field *found = NULL;
    size_t len = strlen(name);
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct sl_field *field = &head->fields[i];
        if (field->name_len == len && memcmp(data + field->name_off, name, len) == 0) {
            if (found) {
                return NULL;
            }
            found = field;
        }
    }
    return found;
}

static bool is_blank(uint8_t byte) { return byte == ' ' || byte == '\t' || byte == ','; }

static bool lists_websocket(const struct sl_field *field, const uint8_t *data) {
    const uint8_t *at = data + field->value_off, *end = at + field->value_len;
    while (at < end) {
        const uint8_t *from = at;
        while (at < end && !is_blank(*at)) {
            at++;
        }
        if (at - from == 9 && strncasecmp((const char *)from, "websocket", 9) == 0) {
            return true;
        }
        while (at < end && is_blank(*at)) {
            at++;
        }
    }
    return false;
}

static bool upgrades(const struct sl_head *head, const uint8_t *data) {
    const struct sl_field *field = sl_head_field(head, SL_H_UPGRADE);
    bool found = false;
    while ((head->flags & SL_HEAD_UPGRADE) && field && !found) {
        found = lists_websocket(field, data);
        field = field->next_same ? &head->fields[field->next_same - 1] : NULL;
    }
    return found;
}

bool sl_websocket_asked(const struct sl_head *request, const uint8_t *data) {
    bool bodiless = request->body == SL_BODY_NONE ||
                    (request->body == SL_BODY_LENGTH && request->content_length == 0);
    const struct sl_field *key = only_field(request, data, "sec-websocket-key");
    return request->method == SL_METHOD_GET && bodiless && upgrades(request, data) && key &&
           key->value_len == KEY_BYTES && !(key->flags & SL_FIELD_NOMINATED);
}

static void accept_of(const uint8_t *key, char out[ACCEPT_BYTES]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t text[KEY_BYTES + 36], hash[21] = {0};
    memcpy(text, key, KEY_BYTES);
    memcpy(text + KEY_BYTES, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    sl_tls_sha1(text, sizeof(text), hash);
    for (size_t i = 0; i < 7; i++) {
        uint32_t bits =
            (uint32_t)hash[i * 3] << 16 | (uint32_t)hash[i * 3 + 1] << 8 | hash[i * 3 + 2];
        for (size_t k = 0; k < 4; k++) {
            out[i * 4 + k] = digits[bits >> (18 - 6 * k) & 63];
        }
    }
    out[ACCEPT_BYTES - 1] = '='; // the 21st byte is none
}

bool sl_websocket_accepted(const struct sl_head *request, const uint8_t *request_data,
                           const struct sl_head *answer, const uint8_t *data) {
    char expected[ACCEPT_BYTES];
    const struct sl_field *key = only_field(request, request_data, "sec-websocket-key");
    const struct sl_field *accept = only_field(answer, data, "sec-websocket-accept");
    if (answer->status != 101 || !upgrades(answer, data) || !key || !accept ||
        accept->value_len != ACCEPT_BYTES) {
        return false;
    }
    accept_of(request_data + key->value_off, expected);
    return memcmp(data + accept->value_off, expected, ACCEPT_BYTES) == 0;
}
