// Paths: decoding never grows, writes only what it says, leaves what it must leave, and gives valid UTF-8 wherever it decoded. Matching any
// path against a table of patterns agrees with a matcher that cuts paths into segments first.
#include <stdlib.h>

#include "plan.h"
#include "route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int hex(uint8_t ch) {
    return ch >= '0' && ch <= '9' ? ch - '0' : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

// The slow way: decodeURI of one run of escapes. Returns bytes written, or SIZE_MAX where it throws.
static size_t decode_uri(uint8_t *out, const uint8_t *run, size_t escapes) {
    size_t n = 0;
    for (size_t i = 0; i < escapes;) {
        uint32_t first = (uint32_t)(hex(run[i * 3 + 1]) * 16 + hex(run[i * 3 + 2]));
        uint32_t more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : first >> 3 == 30 ? 3 : 9;
        if (more == 9 || i + more >= escapes) {
            return SIZE_MAX;
        }
        uint32_t code = more == 0 ? first : first & (0x3fu >> more);
        for (uint32_t k = 1; k <= more; k++) {
            uint32_t byte = (uint32_t)(hex(run[(i + k) * 3 + 1]) * 16 + hex(run[(i + k) * 3 + 2]));
            if (byte >> 6 != 2) {
                return SIZE_MAX;
            }
            code = code << 6 | (byte & 0x3f);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
            return SIZE_MAX;
        }
        if (more == 0 && code && strchr(";/?:@&=+$,#%", (int)code)) {
            memcpy(out + n, run + i * 3, 3);
            n += 3;
        } else {
            for (uint32_t k = 0; k <= more; k++) {
                out[n++] = (uint8_t)(hex(run[(i + k) * 3 + 1]) * 16 + hex(run[(i + k) * 3 + 2]));
            }
        }
        i += more + 1;
    }
    return n;
}

static size_t decode_slowly(uint8_t *out, const uint8_t *path, size_t len) {
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        size_t escapes = 0;
        while (at + escapes * 3 + 2 < len && path[at + escapes * 3] == '%' && hex(path[at + escapes * 3 + 1]) >= 0 &&
               hex(path[at + escapes * 3 + 2]) >= 0) {
            escapes++;
        }
        if (escapes == 0) {
            out[n++] = path[at++];
            continue;
        }
        size_t written = decode_uri(out + n, path + at, escapes);
        if (written == SIZE_MAX) {
            memcpy(out + n, path + at, escapes * 3);
            written = escapes * 3;
        }
        n += written;
        at += escapes * 3;
    }
    return n;
}

#define SEGS_MAX 16

struct table {
    struct sl_plan_header header;
    struct sl_plan_entry entry;
    struct sl_plan_step step;
    struct sl_plan_seg segs[SEGS_MAX];
    uint8_t text[256];
};

// The pattern in the first half of the input: '/' cuts, ":" is PARAM, "*" at the end is REST.
static void pattern_from(struct table *t, const uint8_t *data, size_t len) {
    memset(t, 0, sizeof(*t));
    t->header.entry_count = 1;
    t->entry.method = SL_PLAN_METHOD_ALL;
    t->entry.step_count = 1;
    len = sl_min_size(len, sizeof(t->text));
    memcpy(t->text, data, len);
    for (size_t at = 0; t->entry.seg_count < SEGS_MAX; at++) {
        size_t from = at;
        while (at < len && data[at] != '/') {
            at++;
        }
        struct sl_plan_seg *seg = &t->segs[t->entry.seg_count++];
        bool last = at >= len, one = at - from == 1;
        seg->kind = one && data[from] == ':' ? SL_PLAN_SEG_PARAM : one && last && data[from] == '*' ? SL_PLAN_SEG_REST : SL_PLAN_SEG_STATIC;
        seg->off = (uint32_t)(offsetof(struct table, text) + from);
        seg->len = (uint16_t)(at - from);
        if (last) {
            break;
        }
    }
}

static bool match_slowly(const struct table *t, const uint8_t *path, size_t len) {
    size_t at = 0;
    for (uint32_t i = 0; i < t->entry.seg_count; i++) {
        const struct sl_plan_seg *seg = &t->segs[i];
        if (seg->kind == SL_PLAN_SEG_REST) {
            return true;
        }
        if (at >= len) {
            return false;
        }
        size_t from = ++at;
        while (at < len && path[at] != '/') {
            at++;
        }
        bool same = at - from == seg->len && memcmp(path + from, (const uint8_t *)t + seg->off, seg->len) == 0;
        if (seg->kind == SL_PLAN_SEG_PARAM ? at == from : !same) {
            return false;
        }
    }
    return at == len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *in = malloc(size + 1), *out = malloc(size + 1), *slow = malloc(size + 4);
    in[0] = '/';
    if (size) {
        memcpy(in + 1, data, size);
    }
    size_t n = sl_route_decode(out, in, size + 1), expected = decode_slowly(slow, in, size + 1);
    SL_ASSERT(n == expected && memcmp(out, slow, n) == 0);
    struct table table;
    pattern_from(&table, data, size / 2);
    struct sl_plan plan = {.blob = (const uint8_t *)&table, .header = &table.header, .entries = &table.entry, .segs = table.segs,
                           .steps = &table.step};
    size_t path_len = size - size / 2;
    uint8_t *path = malloc(path_len + 1);
    path[0] = '/';
    if (path_len) {
        memcpy(path + 1, data + size / 2, path_len);
    }
    struct sl_chain chain;
    sl_route_chain(&chain, &plan, SL_METHOD_GET, sl_span_of("GET"), (struct sl_span){path, path_len + 1});
    SL_ASSERT((chain.end != NULL) == match_slowly(&table, path, path_len + 1));
    free(path);
    free(slow);
    free(out);
    free(in);
    return 0;
}
