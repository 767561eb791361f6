// What a connection is to send: a FIFO of segments that point into buffers, plans or exchange slots, each with its owner, so that a body is
// never copied to be sent. Small pieces (heads, chunk heads, short bodies) are written into a page and merge into one segment. http layer.
//
//   first          in_flight             count
//     v               v                    v
//   [ seg | seg | seg | seg | seg | ...    ]      in flight segments are the kernel's: neither moved nor extended
#ifndef SL_OUTQ_H
#define SL_OUTQ_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "buf.h"

#define SL_OUTQ_SEGS 32

// Anything but a buffer that owns bytes to send, embedded in its struct; release runs when the bytes are sent or given up.
struct sl_seg_owner {
    void (*release)(struct sl_seg_owner *owner);
};

// Segments are a ring of two arrays: what the kernel is given, and who owns it. Many queues may live at once, so they are small.
struct sl_outq {
    uint32_t bytes;        // in all segments
    uint32_t flight_bytes; // in those that are in flight, whose iov the io layer advances
    uint16_t first, count, in_flight;
    struct sl_buf *page;   // the page that small pieces go to
    struct msghdr msg;
    struct iovec iov[SL_OUTQ_SEGS];
    uintptr_t holders[SL_OUTQ_SEGS]; // a buffer; an owner, with the lowest bit set; 0: static bytes
};

void sl_outq_init(struct sl_outq *queue);
// Releases everything. Nothing may be in flight.
void sl_outq_clear(struct sl_outq *queue, struct sl_buf_pool *pool);
static inline bool sl_outq_empty(const struct sl_outq *queue) { return queue->count == 0; }
static inline uint32_t sl_outq_room(const struct sl_outq *queue) { return SL_OUTQ_SEGS - queue->count; }

// Room for n contiguous bytes (at most SL_BUF_OUT_BYTES), to be written and then committed. NULL: no buffer or no segment is free.
uint8_t *sl_outq_reserve(struct sl_outq *queue, struct sl_buf_pool *pool, uint32_t n);
void sl_outq_commit(struct sl_outq *queue, uint32_t n);
bool sl_outq_copy(struct sl_outq *queue, struct sl_buf_pool *pool, const void *data, uint32_t n);

// Appends bytes without copying. buf: takes a reference of its own. owner: is released later. False when no segment is free (nothing taken).
bool sl_outq_push_buf(struct sl_outq *queue, struct sl_buf *buf, const uint8_t *data, uint32_t len);
bool sl_outq_push(struct sl_outq *queue, const uint8_t *data, uint32_t len, struct sl_seg_owner *owner);

// Points msg at all segments and marks them in flight.
struct msghdr *sl_outq_gather(struct sl_outq *queue);
void sl_outq_sent(struct sl_outq *queue, struct sl_buf_pool *pool); // what was in flight is released
// iov of the queued segments without marking them (TLS seals them); sl_outq_consume then drops n bytes. Nothing may be in flight.
struct iovec *sl_outq_peek(struct sl_outq *queue, int *out_count);
void sl_outq_consume(struct sl_outq *queue, struct sl_buf_pool *pool, uint32_t n);

#endif
