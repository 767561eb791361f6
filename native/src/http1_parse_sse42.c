// Good lines by 16 bytes, two registers at a time. CMake compiles this file alone for SSE4.2;
// http1_parse.c calls it where the processor has it.
#ifdef __SSE4_2__
#include <immintrin.h>

#include "http1_parse_internal.h"

typedef struct {
    __m128i a, b;
} vec;

#define BOTH(expr_a, expr_b)                                                                       \
    (vec) { expr_a, expr_b }

static inline vec vec_load(const void *data) {
    const __m128i *at = data;
    return BOTH(_mm_loadu_si128(at), _mm_loadu_si128(at + 1));
}
static inline __m128i vec_first_16(vec x) { return x.a; }
static inline __m128i vec_last_16(vec x) { return x.b; }
static inline vec vec_zero(void) { return BOTH(_mm_setzero_si128(), _mm_setzero_si128()); }
static inline vec vec_and(vec x, vec y) {
    return BOTH(_mm_and_si128(x.a, y.a), _mm_and_si128(x.b, y.b));
}
static inline vec vec_or(vec x, vec y) {
    return BOTH(_mm_or_si128(x.a, y.a), _mm_or_si128(x.b, y.b));
}
static inline vec vec_add(vec x, vec y) {
    return BOTH(_mm_add_epi8(x.a, y.a), _mm_add_epi8(x.b, y.b));
}
static inline vec vec_min(vec x, vec y) {
    return BOTH(_mm_min_epu8(x.a, y.a), _mm_min_epu8(x.b, y.b));
}
static inline vec vec_eq(vec x, vec y) {
    return BOTH(_mm_cmpeq_epi8(x.a, y.a), _mm_cmpeq_epi8(x.b, y.b));
}
static inline vec vec_greater(vec x, vec y) {
    return BOTH(_mm_cmpgt_epi8(x.a, y.a), _mm_cmpgt_epi8(x.b, y.b));
}
static inline vec vec_lookup(vec table, vec x) {
    return BOTH(_mm_shuffle_epi8(table.a, x.a), _mm_shuffle_epi8(table.b, x.b));
}
static inline vec vec_shift_right_4(vec x) {
    return BOTH(_mm_srli_epi16(x.a, 4), _mm_srli_epi16(x.b, 4));
}
static inline uint32_t vec_mask(vec x) {
    return (uint32_t)_mm_movemask_epi8(x.a) | (uint32_t)_mm_movemask_epi8(x.b) << 16;
}
static inline vec vec_pick(vec mask, vec x, vec y) {
    return BOTH(_mm_blendv_epi8(y.a, x.a, mask.a), _mm_blendv_epi8(y.b, x.b, mask.b));
}
static inline bool vec_same_but(vec free, vec x, vec y) {
    return _mm_testc_si128(free.a, _mm_xor_si128(x.a, y.a)) &&
           _mm_testc_si128(free.b, _mm_xor_si128(x.b, y.b));
}

static inline size_t zeros_below(uint32_t mask) {
    return (size_t)__builtin_ctzll(mask | 1ull << 32);
}

#include "http1_parse_simd.h"

int sl__http1_lines_sse42(struct sl__scan *scan) { return lines(scan); }
#endif
