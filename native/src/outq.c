#include "outq.h"

static struct sl_seg *seg_at(struct sl_outq *queue, uint32_t i) {
    return &queue->segs[(queue->first + i) % SL_OUTQ_SEGS];
}

void sl_outq_init(struct sl_outq *queue) {
    queue->bytes = 0;
    queue->first = queue->count = queue->in_flight = 0;
    queue->page = NULL;
}

static void release_first(struct sl_outq *queue, struct sl_buf_pool *pool) {
    struct sl_seg *seg = seg_at(queue, 0);
    struct sl_seg_owner *owner = seg->owner;
    queue->bytes -= seg->len;
    sl_buf_unref(pool, seg->buf);
    queue->first = (queue->first + 1) % SL_OUTQ_SEGS;
    queue->count--;
    if (owner) {
        owner->release(owner);
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
        struct sl_seg *last = seg_at(queue, queue->count - 1);
        if (last->buf == page && last->data + last->len == data) {
            last->len += n;
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

static bool push(struct sl_outq *queue, struct sl_seg seg) {
    if (queue->count == SL_OUTQ_SEGS) {
        return false;
    }
    queue->bytes += seg.len;
    *seg_at(queue, queue->count++) = seg;
    return true;
}

bool sl_outq_push_buf(struct sl_outq *queue, struct sl_buf *buf, const uint8_t *data,
                      uint32_t len) {
    if (!push(queue, (struct sl_seg){data, len, buf, NULL})) {
        return false;
    }
    sl_buf_ref(buf);
    return true;
}

bool sl_outq_push(struct sl_outq *queue, const uint8_t *data, uint32_t len,
                  struct sl_seg_owner *owner) {
    return push(queue, (struct sl_seg){data, len, NULL, owner});
}

int sl_outq_peek(struct sl_outq *queue) {
    for (uint32_t i = 0; i < queue->count; i++) {
        struct sl_seg *seg = seg_at(queue, i);
        queue->iov[i] = (struct iovec){(void *)(uintptr_t)seg->data, seg->len};
    }
    return queue->count;
}

struct msghdr *sl_outq_gather(struct sl_outq *queue) {
    SL_ASSERT(queue->in_flight == 0 && queue->count > 0);
    memset(&queue->msg, 0, sizeof(queue->msg));
    queue->msg.msg_iov = queue->iov;
    queue->msg.msg_iovlen = (size_t)sl_outq_peek(queue);
    queue->in_flight = queue->count;
    return &queue->msg;
}

void sl_outq_sent(struct sl_outq *queue, struct sl_buf_pool *pool) {
    SL_ASSERT(queue->in_flight > 0);
    // Releasing may append (a producer goes on), never touch what is in flight: so count down.
    for (; queue->in_flight > 0; queue->in_flight--) {
        release_first(queue, pool);
    }
    if (queue->count == 0) {
        drop_page(queue, pool);
    }
}

void sl_outq_consume(struct sl_outq *queue, struct sl_buf_pool *pool, uint32_t n) {
    while (n > 0) {
        struct sl_seg *seg = seg_at(queue, 0);
        if (n < seg->len) {
            seg->data += n;
            seg->len -= n;
            queue->bytes -= n;
            return;
        }
        n -= seg->len;
        release_first(queue, pool);
    }
    if (queue->count == 0) {
        drop_page(queue, pool);
    }
}
