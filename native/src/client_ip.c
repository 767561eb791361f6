#include "client_ip.h"

#include <arpa/inet.h>

static bool is_blank(uint8_t byte) { return byte == ' ' || byte == '\t'; }

static struct sl_span trim(struct sl_span span) {
    while (span.len > 0 && is_blank(span.data[0])) {
        span.data++;
        span.len--;
    }
    while (span.len > 0 && is_blank(span.data[span.len - 1])) {
        span.len--;
    }
    return span;
}

// ":80", ":_hidden", or nothing.
static bool is_port(struct sl_span text) {
    if (text.len == 0) {
        return true;
    }
    if (text.data[0] != ':' || text.len < 2) {
        return false;
    }
    bool hidden = text.data[1] == '_';
    if (!hidden && text.len > 6) {
        return false;
    }
    for (size_t i = hidden ? 2 : 1; i < text.len; i++) {
        uint8_t ch = text.data[i], low = ch | 0x20;
        bool digit = ch >= '0' && ch <= '9';
        if (!digit &&
            !(hidden && ((low >= 'a' && low <= 'z') || ch == '.' || ch == '_' || ch == '-'))) {
            return false;
        }
    }
    return true;
}

static bool parse_address(uint8_t out[SL_ADDRESS_BYTES], struct sl_span text, int family) {
    char copy[INET6_ADDRSTRLEN];
    uint8_t addr[16];
    if (text.len >= sizeof(copy) || memchr(text.data, 0, text.len)) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    if (inet_pton(family == 4 ? AF_INET : AF_INET6, copy, addr) != 1) {
        return false;
    }
    sl_address_of(out, family, addr);
    return true;
}

bool sl_client_node(uint8_t out[SL_ADDRESS_BYTES], struct sl_span node) {
    if (node.len == 0) {
        return false;
    }
    const uint8_t *end = node.data + node.len, *colon = memchr(node.data, ':', node.len);
    if (node.data[0] == '[') {
        const uint8_t *bracket = memchr(node.data, ']', node.len);
        return bracket && is_port((struct sl_span){bracket + 1, (size_t)(end - bracket - 1)}) &&
               parse_address(out,
                             (struct sl_span){node.data + 1, (size_t)(bracket - node.data - 1)}, 6);
    }
    if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1))) {
        return parse_address(out, node, 6);
    }
    size_t len = colon ? (size_t)(colon - node.data) : node.len;
    return is_port((struct sl_span){node.data + len, node.len - len}) &&
           parse_address(out, (struct sl_span){node.data, len}, 4);
}

// Whether the quote at `at` has an odd number of backslashes before it.
static bool is_escaped(const uint8_t *data, size_t at) {
    size_t slashes = 0;
    while (slashes < at && data[at - 1 - slashes] == '\\') {
        slashes++;
    }
    return slashes % 2 == 1;
}

// Cuts the last element of a list off, without the blanks around it. Commas in quotes do not count.
static struct sl_span pop_element(struct sl_span *list) {
    size_t at = list->len;
    bool quoted = false;
    while (at > 0) {
        uint8_t ch = list->data[at - 1];
        if (ch == '"' && !is_escaped(list->data, at - 1)) {
            quoted = !quoted;
        } else if (ch == ',' && !quoted) {
            break;
        }
        at--;
    }
    struct sl_span element = {list->data + at, list->len - at};
    list->len = at > 0 ? at - 1 : 0;
    return trim(element);
}

// The value of `for`, quotes taken off; false: there is not exactly one, or the element is malformed.
static bool forwarded_for(struct sl_span element, struct sl_span *out) {
    uint32_t found = 0;
    size_t at = 0;
    while (at < element.len) {
        size_t from = at;
        bool quoted = false;
        for (; at < element.len && (quoted || element.data[at] != ';'); at++) {
            if (element.data[at] == '"') {
                quoted = !quoted;
            } else if (element.data[at] == '\\') {
                at++; // of a quoted pair; never needed in what we read
            }
        }
        if (quoted || at > element.len) {
            return false;
        }
        struct sl_span pair = trim((struct sl_span){element.data + from, at - from});
        at++;
        if (pair.len < 4 || (pair.data[0] | 0x20) != 'f' || (pair.data[1] | 0x20) != 'o' ||
            (pair.data[2] | 0x20) != 'r' || pair.data[3] != '=') {
            continue;
        }
        found++;
        *out = (struct sl_span){pair.data + 4, pair.len - 4};
    }
    if (found != 1) {
        return false;
    }
    if (out->len >= 2 && out->data[0] == '"' && out->data[out->len - 1] == '"') {
        out->data++;
        out->len -= 2;
    }
    return true;
}

static bool read_element(uint8_t out[SL_ADDRESS_BYTES], struct sl_span element, bool forwarded) {
    struct sl_span node = element;
    return (!forwarded || forwarded_for(element, &node)) && sl_client_node(out, node);
}

void sl_client_ip(uint8_t out[SL_ADDRESS_BYTES], const struct sl_client_source *source,
                  const uint8_t peer[SL_ADDRESS_BYTES], const struct sl_head *head,
                  const uint8_t *data) {
    uint16_t lines[SL_FIELDS_MAX];
    uint32_t count = 0, hops = 0;
    memcpy(out, peer, SL_ADDRESS_BYTES);
    const struct sl_field *field =
        sl_head_field(head, source->forwarded ? SL_H_FORWARDED : SL_H_X_FORWARDED_FOR);
    while (field) {
        lines[count++] = (uint16_t)(field - head->fields);
        field = field->next_same ? &head->fields[field->next_same - 1] : NULL;
    }
    while (count > 0) {
        const struct sl_field *line = &head->fields[lines[--count]];
        struct sl_span list = {data + line->value_off, line->value_len};
        while (list.len > 0) {
            struct sl_span element = pop_element(&list);
            if (element.len == 0) {
                continue; // RFC 9110 section 5.6.1.2
            }
            uint8_t next[SL_ADDRESS_BYTES];
            if (hops++ == SL_CLIENT_HOPS_MAX || !sl_address_set_has(&source->proxies, out) ||
                !read_element(next, element, source->forwarded)) {
                return;
            }
            memcpy(out, next, SL_ADDRESS_BYTES);
        }
    }
}
