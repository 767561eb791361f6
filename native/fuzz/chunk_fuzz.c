// Chunked bodies: any split gives the same data and verdict, pieces lie inside the input, and what
// we encode decodes to itself.
#include <stdlib.h>

#include "http1_chunk.h"

struct outcome {
    int verdict;
    size_t consumed, data_len;
    uint8_t *data;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Takes all of one part, copied to a block of its own size so that ASan sees a read past the end.
static int drain(struct sl_chunk_decoder *decoder, const uint8_t *data, size_t len,
                 struct outcome *outcome) {
    uint8_t *part = malloc(len ? len : 1);
    if (len) {
        memcpy(part, data, len);
    }
    int verdict = SL_CHUNK_DATA;
    for (size_t at = 0; verdict == SL_CHUNK_DATA;) {
        size_t consumed = 0;
        struct sl_span piece;
        verdict = sl_chunk_decode(decoder, part + at, len - at, &consumed, &piece);
        SL_ASSERT(consumed <= len - at);
        SL_ASSERT((verdict == SL_CHUNK_DATA) == (piece.len > 0));
        SL_ASSERT(verdict != SL_CHUNK_PARTIAL || consumed == len - at);
        if (piece.len) {
            SL_ASSERT(piece.data >= part + at && piece.data + piece.len <= part + at + consumed);
            memcpy(outcome->data + outcome->data_len, piece.data, piece.len);
            outcome->data_len += piece.len;
        }
        at += consumed;
        outcome->consumed += consumed;
    }
    free(part);
    return verdict;
}

static void decode(const uint8_t *data, size_t len, size_t first, size_t step,
                   struct outcome *outcome) {
    struct sl_chunk_decoder decoder;
    sl_chunk_init(&decoder);
    outcome->consumed = outcome->data_len = 0;
    size_t at = 0;
    for (size_t part = first;; part = sl_min_size(step, len - at)) {
        outcome->verdict = drain(&decoder, data + at, part, outcome);
        at += part;
        if (outcome->verdict != SL_CHUNK_PARTIAL || at == len) {
            return;
        }
    }
}

static void check_same(const struct outcome *a, const struct outcome *b) {
    SL_ASSERT(a->verdict == b->verdict && a->consumed == b->consumed && a->data_len == b->data_len);
    SL_ASSERT(memcmp(a->data, b->data, a->data_len) == 0);
}

static void check_splits(const uint8_t *data, size_t size, struct outcome *whole,
                         struct outcome *parts) {
    decode(data, size, size, 1, whole);
    for (size_t cut = 0; cut <= size; cut += 1 + size / 256) {
        decode(data, size, cut, size, parts);
        check_same(whole, parts);
    }
    decode(data, size, sl_min_size(1, size), 1, parts);
    check_same(whole, parts);
}

// The input as one chunk, by our own head.
static void check_round_trip(const uint8_t *data, size_t size, struct outcome *outcome) {
    uint8_t *bytes = malloc(size + SL_CHUNK_HEAD_MAX + 7);
    size_t len = sl_chunk_write_head(bytes, size);
    if (size) {
        memcpy(bytes + len, data, size);
        len += size;
        memcpy(bytes + len, "\r\n0\r\n", 5);
        len += 5;
    }
    memcpy(bytes + len, "\r\n", 2);
    decode(bytes, len + 2, len + 2, 1, outcome);
    SL_ASSERT(outcome->verdict == SL_CHUNK_DONE && outcome->data_len == size &&
              outcome->consumed == len + 2);
    SL_ASSERT(size == 0 || memcmp(outcome->data, data, size) == 0);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct outcome whole = {.data = malloc(size + 1)}, parts = {.data = malloc(size + 1)};
    check_splits(data, size, &whole, &parts);
    check_round_trip(data, size, &whole);
    free(whole.data);
    free(parts.data);
    return 0;
}
