#include "inq.h"

// Pieces that fit behind the last one move there: a peer that sends byte by byte must not hold a buffer for each.
static bool join_last(struct sl_inq *queue, const struct sl_buf *buf, uint32_t pos, uint32_t end) {
    struct sl_buf *last = queue->last;
    if (!last || last->refs != 1 || last->cap - last->end < end - pos) {
        return false;
    }
    memcpy(last->data + last->end, buf->data + pos, end - pos);
    last->end += end - pos;
    queue->bytes += end - pos;
    return true;
}

_Static_assert(SL_BUF_PAGE_BYTES >= SL_BUF_HEAD_BYTES, "a page takes what a HEAD buffer holds");

// The buffer that will hold the bytes, at the same place.
static struct sl_buf *keep(struct sl_buf_pool *pool, struct sl_buf *buf, uint32_t pos,
                           uint32_t end) {
    bool move = buf->group == SL_BUF_HEAD && sl_buf_scarce(pool, SL_BUF_HEAD) &&
                !sl_buf_scarce(pool, SL_BUF_PAGE);
    struct sl_buf *page = move ? sl_buf_take(pool, SL_BUF_PAGE) : NULL;
    if (!page) {
        return buf;
    }
    memcpy(page->data + pos, buf->data + pos, end - pos);
    sl_buf_unref(pool, buf);
    return page;
}

void sl_inq_push(struct sl_inq *queue, struct sl_buf_pool *pool, struct sl_buf *buf, uint32_t pos,
                 uint32_t end) {
    SL_ASSERT(pos <= end && end <= buf->cap);
    if (pos == end || join_last(queue, buf, pos, end)) {
        sl_buf_unref(pool, buf);
        return;
    }
    buf = keep(pool, buf, pos, end);
    buf->pos = pos;
    buf->end = end;
    buf->next = NULL;
    if (queue->last) {
        queue->last->next = buf;
    } else {
        queue->first = buf;
    }
    queue->last = buf;
    queue->bytes += end - pos;
    queue->bufs++;
}

static void pop(struct sl_inq *queue, struct sl_buf_pool *pool) {
    struct sl_buf *buf = queue->first;
    queue->first = buf->next;
    if (!queue->first) {
        queue->last = NULL;
    }
    buf->next = NULL;
    queue->bufs--;
    sl_buf_unref(pool, buf);
}

void sl_inq_consume(struct sl_inq *queue, struct sl_buf_pool *pool, uint32_t n) {
    struct sl_buf *buf = queue->first;
    SL_ASSERT(buf && n <= buf->end - buf->pos);
    buf->pos += n;
    queue->bytes -= n;
    if (buf->pos == buf->end) {
        pop(queue, pool);
    }
}

// The linear buffer replaces the front one; a front that is linear already only grows.
static struct sl_buf *linear_front(struct sl_inq *queue, struct sl_buf_pool *pool) {
    struct sl_buf *front = queue->first;
    if (front->group == SL_BUF_OUT && front->refs == 1) {
        if (front->end == front->cap) { // consumed bytes before it give their room back
            memmove(front->data, front->data + front->pos, front->end - front->pos);
            front->end -= front->pos;
            front->pos = 0;
        }
        return front;
    }
    struct sl_buf *linear = sl_buf_take(pool, SL_BUF_OUT);
    if (!linear) {
        return NULL;
    }
    uint32_t len = front->end - front->pos;
    memcpy(linear->data, front->data + front->pos, len);
    linear->pos = 0;
    linear->end = len;
    linear->next = front->next;
    if (queue->last == front) {
        queue->last = linear;
    }
    queue->first = linear;
    front->next = NULL;
    sl_buf_unref(pool, front);
    return linear;
}

bool sl_inq_linearize(struct sl_inq *queue, struct sl_buf_pool *pool) {
    if (!queue->first || !queue->first->next) {
        return false;
    }
    struct sl_buf *front = linear_front(queue, pool);
    if (!front) {
        return false;
    }
    struct sl_buf *next = front->next;
    uint32_t room = front->cap - front->end;
    uint32_t n = sl_min_u32(room, next->end - next->pos);
    memcpy(front->data + front->end, next->data + next->pos, n);
    front->end += n;
    next->pos += n;
    if (next->pos == next->end) {
        front->next = next->next;
        if (queue->last == next) {
            queue->last = front;
        }
        next->next = NULL;
        queue->bufs--;
        sl_buf_unref(pool, next);
    }
    return n > 0;
}

void sl_inq_clear(struct sl_inq *queue, struct sl_buf_pool *pool) {
    while (queue->first) {
        pop(queue, pool);
    }
    queue->bytes = 0;
}
