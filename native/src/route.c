#include "route.h"

#include "route_index.h"

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

struct sl_span sl_route_path(const struct sl_plan *plan, struct sl_span path, bool escaped,
                             uint8_t *out) {
    if (path.len == 0) {
        return sl_span_of("/"); // "http://host" has an empty path
    }
    if (escaped) {
        path = (struct sl_span){out, sl_route_decode(out, path.data, path.len)};
    }
    bool drops = plan->header->flags & SL_PLAN_F_DROPS_SLASH;
    path.len -= drops && path.len > 1 && path.data[path.len - 1] == '/';
    return path;
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

static bool is_of_class(const uint8_t *at, struct sl_span text) {
    struct sl_plan_class class;
    memcpy(&class, at, sizeof(class));
    if (text.len < class.min || text.len > class.max) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        if (byte > 127 || !(class.set[byte >> 3] & 1u << (byte & 7))) {
            return false;
        }
    }
    return true;
}

// What "." does not match in JavaScript: LF, CR, U+2028 and U+2029.
static bool has_line_end(struct sl_span text) {
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t *at = text.data + i;
        if (*at == '\n' || *at == '\r' ||
            (*at == 0xe2 && text.len - i > 2 && at[1] == 0x80 && (at[2] | 1) == 0xa9)) {
            return true;
        }
    }
    return false;
}

bool sl_route_param_takes(const struct sl_plan *plan, const struct sl_plan_seg *seg,
                          struct sl_span text) {
    if (seg->kind == SL_PLAN_SEG_CLASS) {
        return is_of_class(plan->blob + seg->off, text);
    }
    return text.len > 0 && !(seg->kind == SL_PLAN_SEG_TAIL && has_line_end(text));
}

bool sl_route_takes(const struct sl_plan *plan, const struct sl_plan_entry *entry,
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
        const uint8_t *next = at;
        if (seg->kind ==
            SL_PLAN_SEG_STATIC) { // most entries are passed over here: look no further than needed
            if ((size_t)(end - at) < seg->len || memcmp(at, plan->blob + seg->off, seg->len) != 0) {
                return false;
            }
            next += seg->len;
        } else {
            bool tail = seg->kind == SL_PLAN_SEG_TAIL;
            const uint8_t *slash = tail ? NULL : memchr(at, '/', (size_t)(end - at));
            next = slash ? slash : end;
            if (!sl_route_param_takes(plan, seg, (struct sl_span){at, (size_t)(next - at)})) {
                return false;
            }
        }
        at = next;
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

static void start_chain(struct sl_chain *chain) {
    chain->end = NULL;
    chain->count = chain->policies = 0;
    chain->request_bytes = chain->response_bytes = chain->scratch_bytes = 0;
}

void sl_route_chain_slowly(struct sl_chain *out, const struct sl_plan *plan, enum sl_method method,
                           struct sl_span method_name, struct sl_span path) {
    start_chain(out);
    if (method == SL_METHOD_HEAD) {
        method = SL_METHOD_GET; // Hono dispatches HEAD as GET
    }
    for (uint32_t i = 0; i < plan->header->entry_count; i++) {
        const struct sl_plan_entry *entry = &plan->entries[i];
        if (method_matches(plan, entry, method, method_name) && sl_route_takes(plan, entry, path) &&
            add_entry(out, plan, entry)) {
            return;
        }
    }
}

// Takes the smallest number that the lists begin with; they are few.
static const struct sl_plan_entry *next_entry(const struct sl_plan *plan,
                                              struct sl_route_list *lists, uint32_t *count) {
    uint32_t least = 0;
    for (uint32_t i = 1; i < *count; i++) {
        least = *lists[i].at < *lists[least].at ? i : least;
    }
    const struct sl_plan_entry *entry = &plan->entries[*lists[least].at++];
    if (lists[least].at == lists[least].end) {
        lists[least] = lists[--*count];
    }
    return entry;
}

void sl_route_chain(struct sl_chain *out, const struct sl_plan *plan, enum sl_method method,
                    struct sl_span method_name, struct sl_span path) {
    struct sl_route_list lists[SL_ROUTE_LISTS_MAX];
    uint32_t count = plan->index ? sl_route_index_find(plan, path, lists) : UINT32_MAX;
    if (count > SL_ROUTE_LISTS_MAX) {
        sl_route_chain_slowly(out, plan, method, method_name, path);
        return;
    }
    start_chain(out);
    if (method == SL_METHOD_HEAD) {
        method = SL_METHOD_GET; // Hono dispatches HEAD as GET
    }
    while (count > 0) {
        const struct sl_plan_entry *entry = next_entry(plan, lists, &count);
        if (method_matches(plan, entry, method, method_name) && add_entry(out, plan, entry)) {
            return;
        }
    }
}
