#include "buf.h"

#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#if defined(__SANITIZE_ADDRESS__)
#define BUF_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BUF_ASAN 1
#endif
#endif

#ifdef BUF_ASAN
#include <sanitizer/asan_interface.h>
static void poison(struct sl_buf *buf) { ASAN_POISON_MEMORY_REGION(buf->data, buf->cap); }
static void unpoison(struct sl_buf *buf) { ASAN_UNPOISON_MEMORY_REGION(buf->data, buf->cap); }
#else
static void poison(struct sl_buf *buf) { (void)buf; }
static void unpoison(struct sl_buf *buf) { (void)buf; }
#endif

static const uint32_t group_bytes[] = {
    [SL_BUF_HEAD] = SL_BUF_HEAD_BYTES,
    [SL_BUF_BODY] = SL_BUF_BODY_BYTES,
    [SL_BUF_OUT] = SL_BUF_OUT_BYTES,
    [SL_BUF_PAGE] = SL_BUF_PAGE_BYTES,
};
_Static_assert(SL_COUNT_OF(group_bytes) == SL_BUF_GROUPS, "each group has its size");

static void push_free(struct sl_buf_pool *pool, struct sl_buf *buf) {
    buf->next = pool->free[buf->group];
    pool->free[buf->group] = buf;
    pool->free_count[buf->group]++;
    poison(buf);
}

static struct sl_buf *pop_free(struct sl_buf_pool *pool, enum sl_buf_group group) {
    struct sl_buf *buf = pool->free[group];
    if (buf) {
        pool->free[group] = buf->next;
        buf->next = NULL;
        pool->free_count[group]--;
    }
    return buf;
}

// Descending, so that the free list starts with the lowest address: a pool that is never full touches few pages.
static void group_init(struct sl_buf_pool *pool, enum sl_buf_group group, struct sl_buf *bufs,
                       uint8_t *data) {
    pool->bufs[group] = bufs;
    for (uint32_t i = pool->count[group]; i-- > 0;) {
        bufs[i] = (struct sl_buf){
            .data = data + (size_t)i * group_bytes[group],
            .cap = group_bytes[group],
            .id = (uint16_t)i,
            .group = (uint8_t)group,
        };
        push_free(pool, &bufs[i]);
    }
}

int sl_buf_pool_init(struct sl_buf_pool *pool, const uint32_t counts[SL_BUF_GROUPS]) {
    memset(pool, 0, sizeof(*pool));
    size_t total = 0;
    for (int g = 0; g < SL_BUF_GROUPS; g++) {
        SL_ASSERT(counts[g] >= 1 && counts[g] <= 32768);
        pool->count[g] = counts[g];
        pool->arena_bytes += (size_t)counts[g] * group_bytes[g];
        total += counts[g];
    }
    struct sl_buf *bufs = calloc(total, sizeof(*bufs));
    if (!bufs) {
        return sl_fail(SL_E_NO_MEMORY, "calloc of %zu buffer headers failed", total);
    }
    pool->arena =
        mmap(NULL, pool->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pool->arena == MAP_FAILED) {
        free(bufs);
        return sl_fail(SL_E_NO_MEMORY, "mmap of %zu bytes for buffers failed", pool->arena_bytes);
    }
    // A forked child must not share pages that the kernel writes into; failing to say so is harmless.
    (void)madvise(pool->arena, pool->arena_bytes, MADV_DONTFORK);
    uint8_t *data = pool->arena;
    for (int g = 0; g < SL_BUF_GROUPS; g++) {
        group_init(pool, (enum sl_buf_group)g, bufs, data);
        bufs += counts[g];
        data += (size_t)counts[g] * group_bytes[g];
    }
    return SL_OK;
}

void sl_buf_pool_touch(struct sl_buf_pool *pool) {
    (void)madvise(pool->arena, pool->arena_bytes, MADV_POPULATE_WRITE);
}

void sl_buf_pool_deinit(struct sl_buf_pool *pool) {
    if (!pool->arena) {
        return;
    }
    SL_ASSERT(sl_buf_lent(pool) == 0);
#ifdef BUF_ASAN
    // The next mapping may get these addresses.
    ASAN_UNPOISON_MEMORY_REGION(pool->arena, pool->arena_bytes);
#endif
    munmap(pool->arena, pool->arena_bytes);
    free(pool->bufs[0]); // one allocation for the headers of all groups
    memset(pool, 0, sizeof(*pool));
}

struct sl_buf *sl_buf_take(struct sl_buf_pool *pool, enum sl_buf_group group) {
    struct sl_buf *buf = pop_free(pool, group);
    if (buf) {
        buf->refs = 1;
        pool->lent_count[group]++;
        unpoison(buf);
    }
    return buf;
}

void sl_buf_unref(struct sl_buf_pool *pool, struct sl_buf *buf) {
    if (!buf) {
        return;
    }
    SL_ASSERT(buf->refs > 0 && !buf->kernel);
    if (--buf->refs == 0) {
        pool->lent_count[buf->group]--;
        push_free(pool, buf);
    }
}

uint32_t sl_buf_lent(const struct sl_buf_pool *pool) {
    uint32_t lent = 0;
    for (int g = 0; g < SL_BUF_GROUPS; g++) {
        lent += pool->lent_count[g];
    }
    return lent;
}

// Stays poisoned: while the kernel owns it nobody here may look.
struct sl_buf *sl_buf_to_kernel(struct sl_buf_pool *pool, enum sl_buf_group group) {
    struct sl_buf *buf = pop_free(pool, group);
    if (buf) {
        buf->kernel = 1;
        pool->kernel_count[group]++;
    }
    return buf;
}

struct sl_buf *sl_buf_from_kernel(struct sl_buf_pool *pool, enum sl_buf_group group, uint16_t id) {
    SL_ASSERT(id < pool->count[group]);
    struct sl_buf *buf = &pool->bufs[group][id];
    SL_ASSERT(buf->kernel && buf->refs == 0);
    buf->kernel = 0;
    buf->refs = 1;
    pool->kernel_count[group]--;
    pool->lent_count[group]++;
    unpoison(buf);
    return buf;
}
