// Buffers of one worker: four groups of fixed size in one page-aligned arena, taken at start, never more. base layer; owner thread only.
//
//   HEAD  4 KiB   received heads and small bodies (the multishot receive's provided buffers)
//   BODY  32 KiB  received bodies (one-shot receives)
//   OUT   32 KiB  what we make: linear heads, TLS plaintext of bodies, TLS records, large re-emitted heads
//   PAGE  4 KiB   what we make, small: heads of answers, TLS plaintext and records of small messages
//
// A buffer is free, held by the kernel (given to a buffer ring by the io layer), or lent: refs counts its holders. Whoever gets a loan
// returns it with sl_buf_unref; a second holder takes sl_buf_ref first. Under ASan free buffers are poisoned.
#ifndef SL_BUF_H
#define SL_BUF_H

#include "base.h"

enum sl_buf_group { SL_BUF_HEAD = 0, SL_BUF_BODY = 1, SL_BUF_OUT = 2, SL_BUF_PAGE = 3, SL_BUF_GROUPS = 4 };

#define SL_BUF_HEAD_BYTES 4096u
#define SL_BUF_BODY_BYTES 32768u
#define SL_BUF_OUT_BYTES 32768u
#define SL_BUF_PAGE_BYTES 4096u

struct sl_buf {
    uint8_t *data;
    struct sl_buf *next; // in the free list, or in its holder's queue
    uint32_t pos, end;   // its holder's: where the unread bytes lie
    uint32_t cap;
    uint32_t refs; // 0: free, or in the kernel's hands
    uint16_t id;   // index in its group: the buffer id in a buffer ring
    uint8_t group;
    uint8_t kernel; // 1: given to a buffer ring
};

struct sl_buf_pool {
    struct sl_buf *bufs[SL_BUF_GROUPS];
    struct sl_buf *free[SL_BUF_GROUPS];
    uint32_t count[SL_BUF_GROUPS];
    uint32_t free_count[SL_BUF_GROUPS];
    uint32_t kernel_count[SL_BUF_GROUPS];
    uint32_t lent_count[SL_BUF_GROUPS]; // count = free + kernel + lent, each counted for itself
    uint8_t *arena;
    size_t arena_bytes;
};

// Maps the arena. counts[] per group, each 1 to 32768. SL_OK or E_NO_MEMORY.
int sl_buf_pool_init(struct sl_buf_pool *pool, const uint32_t counts[SL_BUF_GROUPS]);
void sl_buf_pool_touch(struct sl_buf_pool *pool);  // makes all of it resident (Linux 5.14)
void sl_buf_pool_deinit(struct sl_buf_pool *pool); // all must be free or in the kernel's hands

// A buffer with refs 1, or NULL when the group is empty.
struct sl_buf *sl_buf_take(struct sl_buf_pool *pool, enum sl_buf_group group);
static inline void sl_buf_ref(struct sl_buf *buf) { buf->refs++; }
void sl_buf_unref(struct sl_buf_pool *pool, struct sl_buf *buf); // the last one frees it; NULL is ignored
uint32_t sl_buf_lent(const struct sl_buf_pool *pool);            // over all groups
// What is left to receive with, or to take.
static inline uint32_t sl_buf_left(const struct sl_buf_pool *pool, enum sl_buf_group group) {
    return pool->free_count[group] + pool->kernel_count[group];
}
// None, or less than a quarter: what need not be held is not.
static inline bool sl_buf_scarce(const struct sl_buf_pool *pool, enum sl_buf_group group) {
    uint32_t left = sl_buf_left(pool, group);
    return left == 0 || left < pool->count[group] / 4;
}

// For the io layer alone: free -> kernel, kernel -> lent (refs 1), kernel -> free.
struct sl_buf *sl_buf_to_kernel(struct sl_buf_pool *pool, enum sl_buf_group group); // NULL when none is free
struct sl_buf *sl_buf_from_kernel(struct sl_buf_pool *pool, enum sl_buf_group group, uint16_t id);

#endif
