// What a connection received and has not consumed: a FIFO of lent buffers. The front can be made contiguous for the head parser. http layer.
#ifndef SL_INQ_H
#define SL_INQ_H

#include "buf.h"

struct sl_inq {
    struct sl_buf *first, *last;
    uint32_t bytes; // unread, in all buffers
    uint32_t bufs;
};

// Takes over the loan of buf's bytes [pos, end). They may be copied behind the last ones, where nobody else holds that buffer, or into a PAGE
// while HEAD buffers are scarce: those are what everybody receives with, so they must not lie here until somebody reads.
void sl_inq_push(struct sl_inq *queue, struct sl_buf_pool *pool, struct sl_buf *buf, uint32_t pos, uint32_t end);
// The unread bytes of the front buffer; empty if there are none.
static inline struct sl_span sl_inq_front(const struct sl_inq *queue) {
    const struct sl_buf *buf = queue->first;
    return buf ? (struct sl_span){buf->data + buf->pos, buf->end - buf->pos} : (struct sl_span){NULL, 0};
}
// Drops n bytes of the front buffer (n at most its unread bytes).
void sl_inq_consume(struct sl_inq *queue, struct sl_buf_pool *pool, uint32_t n);
// Makes more of the queue contiguous at the front: copies into an OUT buffer. False when no buffer is free or it is full.
bool sl_inq_linearize(struct sl_inq *queue, struct sl_buf_pool *pool);
void sl_inq_clear(struct sl_inq *queue, struct sl_buf_pool *pool);

#endif
