#include "outq.h"

#define OWNER_BIT 1u // in a holder: buffers and owners are aligned

static uint32_t index_of(const struct sl_outq *queue, uint32_t i) {
    return (queue->first + i) % SL_OUTQ_SEGS;
}

void sl_outq_init(struct sl_outq *queue) {
    queue->bytes = queue->flight_bytes = 0;
    queue->first = queue->count = queue->in_flight = 0;
    queue->page = NULL;
}

// Its bytes are no longer counted.
static void release_first(struct sl_outq *queue, struct sl_buf_pool *pool) {
    uintptr_t holder = queue->holders[queue->first];
    queue->count--;
    queue->first = queue->count ? (uint16_t)index_of(queue, 1) : 0;
    if (holder & OWNER_BIT) {
        struct sl_seg_owner *owner = (struct sl_seg_owner *)(holder - OWNER_BIT);
        owner->release(owner);
    } else {
        sl_buf_unref(pool, (struct sl_buf *)holder);
    }
}

static void drop_page(struct sl_outq *queue, struct sl_buf_pool *pool) {
    sl_buf_unref(pool, queue->page);
    queue->page = NULL;
}

void sl_outq_clear(struct sl_outq *queue, struct sl_buf_pool *pool) {
    SL_ASSERT(queue->in_flight == 0);
    while (queue->count) {
        release_first(queue, pool);
    }
    queue->bytes = queue->flight_bytes = 0;
    drop_page(queue, pool);
}

uint8_t *sl_outq_reserve(struct sl_outq *queue, struct sl_buf_pool *pool, uint32_t n) {
    if (queue->page && queue->page->cap - queue->page->end >= n) {
        return sl_outq_room(queue) ? queue->page->data + queue->page->end : NULL;
    }
    SL_ASSERT(n <= SL_BUF_OUT_BYTES);
    struct sl_buf *page = sl_buf_take(pool, n <= SL_BUF_PAGE_BYTES ? SL_BUF_PAGE : SL_BUF_OUT);
    if (!page || !sl_outq_room(queue)) {
        sl_buf_unref(pool, page);
        return NULL;
    }
    drop_page(queue, pool);
    page->end = 0;
    queue->page = page;
    return page->data;
}

void sl_outq_commit(struct sl_outq *queue, uint32_t n) {
    struct sl_buf *page = queue->page;
    SL_ASSERT(page && n <= page->cap - page->end);
    const uint8_t *data = page->data + page->end;
    page->end += n;
    if (n == 0) {
        return;
    }
    if (queue->count > queue->in_flight) {
        uint32_t last = index_of(queue, queue->count - 1u);
        struct iovec *iov = &queue->iov[last];
        if (queue->holders[last] == (uintptr_t)page &&
            (const uint8_t *)iov->iov_base + iov->iov_len == data) {
            iov->iov_len += n;
            queue->bytes += n;
            return;
        }
    }
    bool pushed = sl_outq_push_buf(queue, page, data, n);
    SL_ASSERT(pushed); // reserve saw the room
}

bool sl_outq_copy(struct sl_outq *queue, struct sl_buf_pool *pool, const void *data, uint32_t n) {
    uint8_t *out = sl_outq_reserve(queue, pool, n);
    if (!out) {
        return false;
    }
    memcpy(out, data, n);
    sl_outq_commit(queue, n);
    return true;
}

static bool push(struct sl_outq *queue, const uint8_t *data, uint32_t len, uintptr_t holder) {
    if (queue->count == SL_OUTQ_SEGS) {
        return false;
    }
    uint32_t i = index_of(queue, queue->count++);
    queue->iov[i] = (struct iovec){(void *)(uintptr_t)data, len};
    queue->holders[i] = holder;
    queue->bytes += len;
    return true;
}

bool sl_outq_push_buf(struct sl_outq *queue, struct sl_buf *buf, const uint8_t *data,
                      uint32_t len) {
    if (!push(queue, data, len, (uintptr_t)buf)) {
        return false;
    }
    sl_buf_ref(buf);
    return true;
}

bool sl_outq_push(struct sl_outq *queue, const uint8_t *data, uint32_t len,
                  struct sl_seg_owner *owner) {
    return push(queue, data, len, owner ? (uintptr_t)owner | OWNER_BIT : 0);
}

// The kernel takes one array: a ring that has wrapped is turned until it begins at 0.
struct iovec *sl_outq_peek(struct sl_outq *queue, int *out_count) {
    SL_ASSERT(queue->in_flight == 0);
    if (queue->first + queue->count > SL_OUTQ_SEGS) {
        struct iovec iov[SL_OUTQ_SEGS];
        uintptr_t holders[SL_OUTQ_SEGS];
        for (uint32_t i = 0; i < queue->count; i++) {
            iov[i] = queue->iov[index_of(queue, i)];
            holders[i] = queue->holders[index_of(queue, i)];
        }
        memcpy(queue->iov, iov, queue->count * sizeof(iov[0]));
        memcpy(queue->holders, holders, queue->count * sizeof(holders[0]));
        queue->first = 0;
    }
    *out_count = queue->count;
    return &queue->iov[queue->first];
}

struct msghdr *sl_outq_gather(struct sl_outq *queue) {
    SL_ASSERT(queue->in_flight == 0 && queue->count > 0);
    int count;
    struct iovec *iov = sl_outq_peek(queue, &count);
    queue->msg = (struct msghdr){.msg_iov = iov, .msg_iovlen = (size_t)count};
    queue->in_flight = queue->count;
    queue->flight_bytes = queue->bytes;
    return &queue->msg;
}

void sl_outq_sent(struct sl_outq *queue, struct sl_buf_pool *pool) {
    SL_ASSERT(queue->in_flight > 0);
    queue->bytes -= queue->flight_bytes;
    queue->flight_bytes = 0;
    // Releasing may append (a producer goes on), never touch what is in flight: so count down.
    for (; queue->in_flight > 0; queue->in_flight--) {
        release_first(queue, pool);
    }
    if (queue->count == 0) {
        drop_page(queue, pool);
    }
}

void sl_outq_consume(struct sl_outq *queue, struct sl_buf_pool *pool, uint32_t n) {
    queue->bytes -= n;
    while (n > 0) {
        struct iovec *iov = &queue->iov[queue->first];
        if (n < iov->iov_len) {
            iov->iov_base = (uint8_t *)iov->iov_base + n;
            iov->iov_len -= n;
            return;
        }
        n -= (uint32_t)iov->iov_len;
        release_first(queue, pool);
    }
    if (queue->count == 0) {
        drop_page(queue, pool);
    }
}
