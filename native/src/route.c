#include "route.h"

static int hex_value(uint8_t ch) {
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }
    ch |= 0x20;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

// The byte that "%XX" at `at` stands for, or -1.
static int escape_at(const uint8_t *path, size_t len, size_t at) {
    if (at + 2 >= len || path[at] != '%') {
        return -1;
    }
    int high = hex_value(path[at + 1]), low = hex_value(path[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool stays_escaped(int byte) { return byte && strchr(";/?:@&=+$,#%", byte) != NULL; }

// Bytes of the UTF-8 sequence that starts with `byte`, 0 if none does; the allowed range of the second byte goes to low, high.
static int utf8_len(int byte, int *low, int *high) {
    *low = 0x80;
    *high = 0xbf;
    if (byte < 0x80) {
        return 1;
    }
    if (byte >= 0xc2 && byte <= 0xdf) {
        return 2;
    }
    if (byte >= 0xe0 && byte <= 0xef) {
        *low = byte == 0xe0 ? 0xa0 : 0x80;
        *high = byte == 0xed ? 0x9f : 0xbf; // no surrogates
        return 3;
    }
    if (byte >= 0xf0 && byte <= 0xf4) {
        *low = byte == 0xf0 ? 0x90 : 0x80;
        *high = byte == 0xf4 ? 0x8f : 0xbf;
        return 4;
    }
    return 0;
}

// Decodes the sequence of escapes at `at`. Returns escapes used, 0 if they are not valid UTF-8.
static int decode_one(uint8_t *out, const uint8_t *path, size_t len, size_t at) {
    int low, high;
    int first = escape_at(path, len, at);
    int n = utf8_len(first, &low, &high);
    for (int i = 0; i < n; i++) {
        int byte = escape_at(path, len, at + (size_t)i * 3);
        if (byte < 0 || (i == 1 && (byte < low || byte > high)) ||
            (i > 1 && (byte < 0x80 || byte > 0xbf))) {
            return 0;
        }
        out[i] = (uint8_t)byte;
    }
    return n;
}

// Decodes the run of escapes at `at` to out. Returns its end in the path, and the bytes written; a bad run is copied.
static size_t decode_run(uint8_t *out, size_t *written, const uint8_t *path, size_t len,
                         size_t at) {
    size_t in = at, n = 0;
    bool good = true;
    while (escape_at(path, len, in) >= 0) {
        if (stays_escaped(escape_at(path, len, in))) {
            memcpy(out + n, path + in, 3);
            n += 3;
            in += 3;
            continue;
        }
        int used = decode_one(out + n, path, len, in);
        good = good && used > 0;
        n += (size_t)(used ? used : 0);
        in += (size_t)(used ? used : 1) * 3;
    }
    if (!good) {
        memcpy(out, path + at, in - at);
        n = in - at;
    }
    *written = n;
    return in;
}

size_t sl_route_decode(uint8_t *out, const uint8_t *path, size_t len) {
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        if (escape_at(path, len, at) < 0) {
            out[n++] = path[at++];
            continue;
        }
        size_t written;
        at = decode_run(out + n, &written, path, len, at);
        n += written;
    }
    return n;
}

static bool method_matches(const struct sl_plan *plan, const struct sl_plan_entry *entry,
                           enum sl_method method, struct sl_span name) {
    if (entry->method == SL_PLAN_METHOD_ALL) {
        return true;
    }
    if (entry->method != method) {
        return false;
    }
    return method != SL_METHOD_OTHER ||
           (entry->method_len == name.len &&
            memcmp(plan->blob + entry->method_off, name.data, name.len) == 0);
}

static bool path_matches(const struct sl_plan *plan, const struct sl_plan_entry *entry,
                         struct sl_span path) {
    const uint8_t *at = path.data, *end = path.data + path.len;
    const struct sl_plan_seg *seg = plan->segs + entry->seg_first;
    for (uint32_t i = 0; i < entry->seg_count; i++, seg++) {
        if (seg->kind == SL_PLAN_SEG_REST) {
            return true;
        }
        if (at == end) {
            return false; // the pattern has more segments
        }
        at++; // the '/' that opens a segment
        if (seg->kind == SL_PLAN_SEG_STATIC) {
            if ((size_t)(end - at) < seg->len || memcmp(at, plan->blob + seg->off, seg->len) != 0) {
                return false;
            }
            at += seg->len;
        } else {
            const uint8_t *slash = memchr(at, '/', (size_t)(end - at));
            const uint8_t *next = slash ? slash : end;
            if (next == at) {
                return false;
            }
            at = next;
        }
        if (at != end && *at != '/') {
            return false;
        }
    }
    return at == end;
}

// What is more than a chain may hold in C is done by Hono, from there on.
static const struct sl_plan_step rest_in_typescript = {.op = SL_PLAN_OP_TYPESCRIPT};

static bool add_step(struct sl_chain *chain, const struct sl_plan *plan, uint32_t index) {
    uint32_t request = chain->request_bytes, response = chain->response_bytes;
    uint32_t scratch = chain->scratch_bytes, policies = chain->policies;
    const struct sl_plan_step *step = &plan->steps[index];
    if (step->op == SL_PLAN_OP_HEADERS) {
        const struct sl_plan_headers *h = &plan->headers[step->arg];
        request += h->request_bytes;
        response += h->response_bytes;
    } else {
        const struct sl_plan_policy *policy = &plan->policies[step->arg];
        request += policy->request_bytes;
        response += policy->response_bytes;
        scratch += policy->scratch_bytes;
        policies++;
    }
    if (chain->count == SL_PLAN_CHAIN_MAX || request > SL_PLAN_EDIT_BYTES_MAX ||
        response > SL_PLAN_EDIT_BYTES_MAX || scratch > SL_PLAN_SCRATCH_BYTES ||
        policies > SL_PLAN_POLICIES_MAX) {
        return false;
    }
    chain->steps[chain->count++] = (uint16_t)index;
    chain->policies = (uint8_t)policies;
    chain->scratch_bytes = (uint16_t)scratch;
    chain->request_bytes = (uint16_t)request;
    chain->response_bytes = (uint16_t)response;
    return true;
}

// True: the chain has its end.
static bool add_entry(struct sl_chain *chain, const struct sl_plan *plan,
                      const struct sl_plan_entry *entry) {
    for (uint32_t i = 0; i < entry->step_count; i++) {
        uint32_t index = entry->step_first + i;
        if (sl_plan_op_ends(plan->steps[index].op)) {
            chain->end = &plan->steps[index];
            return true;
        }
        if (!add_step(chain, plan, index)) {
            chain->end = &rest_in_typescript;
            return true;
        }
    }
    return false;
}

void sl_route_chain(struct sl_chain *out, const struct sl_plan *plan, enum sl_method method,
                    struct sl_span method_name, struct sl_span path) {
    out->end = NULL;
    out->count = out->policies = 0;
    out->request_bytes = out->response_bytes = out->scratch_bytes = 0;
    if (method == SL_METHOD_HEAD) {
        method = SL_METHOD_GET; // Hono dispatches HEAD as GET
    }
    for (uint32_t i = 0; i < plan->header->entry_count; i++) {
        const struct sl_plan_entry *entry = &plan->entries[i];
        if (method_matches(plan, entry, method, method_name) && path_matches(plan, entry, path) &&
            add_entry(out, plan, entry)) {
            return;
        }
    }
}
