// What every file needs: asserts that stay on, small arithmetic, spans. base layer.
#ifndef SL_BASE_H
#define SL_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "sluice/status.h"

#define SL_LIKELY(x) __builtin_expect(!!(x), 1)
#define SL_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define SL_COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define SL_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

// Prints file, line and expression to stderr, then aborts. For what we promised; never for what the network sent.
_Noreturn void sl__assert_failed(const char *expr, const char *file, int line);
#define SL_ASSERT(expr)                                                                            \
    do {                                                                                           \
        if (SL_UNLIKELY(!(expr))) {                                                                \
            sl__assert_failed(#expr, __FILE__, __LINE__);                                          \
        }                                                                                          \
    } while (0)

#define SL_NS_PER_MS 1000000ull
#define SL_NS_PER_S 1000000000ull

struct sl_span {
    const uint8_t *data;
    size_t len;
};

static inline struct sl_span sl_span_of(const char *text) {
    return (struct sl_span){(const uint8_t *)text, strlen(text)};
}
static inline uint32_t sl_min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static inline uint64_t sl_min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline size_t sl_min_size(size_t a, size_t b) { return a < b ? a : b; }

// Sets this thread's error text (printf format) and returns `status`: `return sl_fail(SL_E_SYSTEM, "bind %s: %s", ...)`.
int sl_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *sl_fail_text(void); // never NULL

#endif
