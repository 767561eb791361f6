// Every implementation of the head parser against the reference: the same verdict, the same table,
// the same bytes, and between two calls the same state. The input lies between two pages that
// fault, against the one or the other, whole or in two parts.
//
// First byte: bit 0 a response, bits 1-4 the method it answers, bit 5 against the page before, bits
// 6-7 which limits. Second and third: where the input is cut.
#include <stdlib.h>
#include <sys/mman.h>

#include "http1_parse.h"

#define ARENA_BYTES 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static const char *const parsers[] = {"scalar", "sse42", "avx2"};
static const struct sl_head_limits limits[] = {
    {2048, 512, 40}, {16384, 8192, 100}, {300, 100, 5}, {65535, 65535, 128}};

static uint8_t *arena;

// What is to be parsed, and how.
struct input {
    const uint8_t *data;
    size_t len, cut;
    bool response, front;
    enum sl_method method;
    const struct sl_head_limits *limits;
};

struct outcome {
    int verdict, first_verdict; // of all bytes; of those up to the cut
    struct sl_head first_head, head;
    uint8_t first_bytes[ARENA_BYTES], bytes[ARENA_BYTES];
};

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    uint8_t *map =
        mmap(NULL, ARENA_BYTES + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SL_ASSERT(map != MAP_FAILED);
    arena = map + 4096;
    SL_ASSERT(mprotect(map, 4096, PROT_NONE) == 0);
    SL_ASSERT(mprotect(arena + ARENA_BYTES, 4096, PROT_NONE) == 0);
    return 0;
}

// Parses `len` of `bytes` and takes back what the parser made of them.
static int parse(const struct input *in, struct sl_head *head, uint8_t *bytes, size_t len) {
    uint8_t *at = in->front ? arena : arena + ARENA_BYTES - len;
    memcpy(at, bytes, len);
    int verdict = in->response ? sl_http1_parse_response(head, at, len, in->limits, in->method)
                               : sl_http1_parse_request(head, at, len, in->limits);
    memcpy(bytes, at, len);
    return verdict;
}

static void run(const struct input *in, struct outcome *out) {
    out->head.scanned = out->head.skipped = 0;
    memcpy(out->bytes, in->data, in->len);
    out->first_verdict = out->verdict = parse(in, &out->head, out->bytes, in->cut);
    out->first_head = out->head;
    memcpy(out->first_bytes, out->bytes, in->len);
    if (out->verdict == 0) {
        out->verdict = parse(in, &out->head, out->bytes, in->len);
    }
}

static void check_heads(const struct sl_head *a, const struct sl_head *b) {
    SL_ASSERT(memcmp(a, b, offsetof(struct sl_head, fields)) == 0);
    SL_ASSERT(memcmp(a->fields, b->fields, a->field_count * sizeof(a->fields[0])) == 0);
}

static void check_same(const struct input *in, const struct outcome *a, const struct outcome *b) {
    SL_ASSERT(a->first_verdict == b->first_verdict && a->verdict == b->verdict);
    if (a->first_verdict >= 0) {
        check_heads(&a->first_head, &b->first_head);
        SL_ASSERT(memcmp(a->first_bytes, b->first_bytes, in->len) == 0);
    }
    if (a->verdict >= 0) {
        check_heads(&a->head, &b->head);
        SL_ASSERT(memcmp(a->bytes, b->bytes, in->len) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct outcome reference, other;
    if (size < 3 || size - 3 > ARENA_BYTES) {
        return 0;
    }
    struct input in = {
        .data = data + 3,
        .len = size - 3,
        .response = data[0] & 1,
        .method = (enum sl_method)(data[0] >> 1 & 15),
        .front = data[0] & 32,
        .limits = &limits[data[0] >> 6],
    };
    in.cut = sl_min_size(in.len, (size_t)data[1] | (size_t)data[2] << 8);
    for (size_t i = 0; i < SL_COUNT_OF(parsers); i++) {
        if (sl_http1_parser_use(parsers[i]) == SL_OK) {
            run(&in, i == 0 ? &reference : &other);
            check_same(&in, &reference, i == 0 ? &reference : &other);
        }
    }
    return 0;
}
