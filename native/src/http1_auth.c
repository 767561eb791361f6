#include "http1_auth.h"

static uint8_t to_lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte; }

static bool starts_with(struct sl_span text, struct sl_span lower) {
    bool same = text.len >= lower.len;
    for (size_t i = 0; same && i < lower.len; i++) {
        same = to_lower(text.data[i]) == lower.data[i];
    }
    return same;
}

static struct sl_span skip(struct sl_span text, size_t n) {
    return (struct sl_span){text.data + n, text.len - n};
}

static struct sl_span skip_spaces(struct sl_span text) {
    while (text.len > 0 && text.data[0] == ' ') {
        text = skip(text, 1);
    }
    return text;
}

static bool is_letter_or_digit(uint8_t byte) {
    uint8_t lower = byte | 0x20;
    return (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9');
}

// token68 of RFC 9110 section 11.2.
static bool is_token68(struct sl_span text) {
    size_t n = text.len;
    while (n > 0 && text.data[n - 1] == '=') {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        if (!is_letter_or_digit(text.data[i]) && !memchr("._~+/-", text.data[i], 6)) {
            return false;
        }
    }
    return n > 0;
}

static int base64_value(uint8_t byte) {
    if (byte >= 'A' && byte <= 'Z') {
        return byte - 'A';
    }
    if (byte >= 'a' && byte <= 'z') {
        return byte - 'a' + 26;
    }
    if (byte >= '0' && byte <= '9') {
        return byte - '0' + 52;
    }
    return byte == '+' ? 62 : byte == '/' ? 63 : -1;
}

// The forgiving decode of the Infra standard, section 7. False: malformed.
static bool decode_base64(struct sl_span text, uint8_t *out, size_t *out_len) {
    for (int i = 0; i < 2 && text.len % 4 == (i == 0 ? 0 : 3) && text.len > 0; i++) {
        if (text.data[text.len - 1] != '=') {
            break;
        }
        text.len--;
    }
    if (text.len % 4 == 1) {
        return false;
    }
    uint32_t bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64_value(text.data[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 > 0) {
            out[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
        }
    }
    *out_len = n;
    return true;
}

bool sl_http1_basic(struct sl_span value, uint8_t *out, struct sl_span *out_user,
                    struct sl_span *out_password) {
    static const struct sl_span basic = {(const uint8_t *)"basic", 5};
    value = skip_spaces(value);
    while (value.len > 0 && value.data[value.len - 1] == ' ') {
        value.len--;
    }
    if (!starts_with(value, basic) || value.len == 5 || value.data[5] != ' ') {
        return false;
    }
    struct sl_span code = skip_spaces(skip(value, 5));
    struct sl_span text = {out, 0};
    if (!is_token68(code) || !decode_base64(code, out, &text.len)) {
        return false;
    }
    if (text.len >= 3 && memcmp(out, "\xef\xbb\xbf", 3) == 0) {
        text = skip(text, 3); // a byte order mark is no part of the text
    }
    const uint8_t *colon = text.len > 0 ? memchr(text.data, ':', text.len) : NULL;
    if (!colon) {
        return false;
    }
    *out_user = (struct sl_span){text.data, (size_t)(colon - text.data)};
    *out_password = skip(text, out_user->len + 1);
    return true;
}

bool sl_http1_bearer(struct sl_span value, struct sl_span prefix, struct sl_span *out_token) {
    if (prefix.len > 0) {
        if (!starts_with(value, prefix) || value.len == prefix.len ||
            value.data[prefix.len] != ' ') {
            return false;
        }
        value = skip(value, prefix.len);
        // What trimStart() takes for blank, as far as a field can have it.
        while (value.len > 0 && memchr(" \t\xa0", value.data[0], 3)) {
            value = skip(value, 1);
        }
    }
    *out_token = value;
    return is_token68(value);
}
