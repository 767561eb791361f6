// Good lines by 32 bytes. CMake compiles this file alone for AVX2 and BMI; http1_parse.c calls it
// where the processor has them.
#ifdef __AVX2__
#include <immintrin.h>

#include "http1_parse_internal.h"

typedef __m256i vec;

static inline vec vec_load(const void *data) { return _mm256_loadu_si256((const __m256i *)data); }
static inline __m128i vec_first_16(vec x) { return _mm256_castsi256_si128(x); }
static inline __m128i vec_last_16(vec x) { return _mm256_extracti128_si256(x, 1); }
static inline vec vec_zero(void) { return _mm256_setzero_si256(); }
static inline vec vec_and(vec x, vec y) { return _mm256_and_si256(x, y); }
static inline vec vec_or(vec x, vec y) { return _mm256_or_si256(x, y); }
static inline vec vec_add(vec x, vec y) { return _mm256_add_epi8(x, y); }
static inline vec vec_min(vec x, vec y) { return _mm256_min_epu8(x, y); }
static inline vec vec_eq(vec x, vec y) { return _mm256_cmpeq_epi8(x, y); }
static inline vec vec_greater(vec x, vec y) { return _mm256_cmpgt_epi8(x, y); }
static inline vec vec_lookup(vec table, vec x) { return _mm256_shuffle_epi8(table, x); }
static inline vec vec_shift_right_4(vec x) { return _mm256_srli_epi16(x, 4); }
static inline uint32_t vec_mask(vec x) { return (uint32_t)_mm256_movemask_epi8(x); }
static inline vec vec_pick(vec mask, vec x, vec y) { return _mm256_blendv_epi8(y, x, mask); }
static inline bool vec_same_but(vec free, vec x, vec y) {
    return _mm256_testc_si256(free, _mm256_xor_si256(x, y));
}

static inline size_t zeros_below(uint32_t mask) { return _tzcnt_u32(mask); }

#include "http1_parse_simd.h"

int sl__http1_lines_avx2(struct sl__scan *scan) { return lines(scan); }
#endif
