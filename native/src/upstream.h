// Upstream connections: a pool per upstream and worker (LIFO, keep-alive), and the exchange of one proxied request. proxy layer.
//
//   CONNECTING -> ACTIVE -> IDLE (pooled, a receive armed: bytes or EOF discard it) -> ACTIVE ... -> CLOSING
//
// Backpressure: the answer's body is received one part at a time, and only while the client's queue is below its high watermark; the
// request's body likewise. Nothing is pipelined to an upstream.
#ifndef SL_UPSTREAM_H
#define SL_UPSTREAM_H

#include "conn.h"

enum sl_upstream_state { SL_UP_CONNECTING, SL_UP_ACTIVE, SL_UP_IDLE, SL_UP_CLOSING };

struct sl_upstream {
    struct sl_upstream *next;
    struct sl_plan_upstream row; // as in the plan that used it last
    char name[256];
    struct sl_upstream_conn *idle; // LIFO
    uint32_t idle_count, total;
};

struct sl_upstream_conn {
    struct sl_work work; // first
    struct sl_worker *worker;
    struct sl_upstream *upstream;
    struct sl_upstream_conn *next; // in the idle list
    struct sl_io_conn *io;
    struct sl_request *req; // NULL: idle or closing
    struct sl_inq in;
    struct sl_outq out;
    struct sl_timer timer;
    struct sl_chunk_decoder chunk;
    uint64_t body_left;
    uint8_t state;
    uint8_t body; // enum sl_body_kind of the answer
    bool reused, in_ended, head_done, request_done, head_timed, received, connected, broken;
    int error; // of a failed send or receive
    struct sl_head head;
};

struct sl_upstream *sl_upstream_get(struct sl_worker *worker, const struct sl_plan *plan, uint32_t index); // NULL: no memory
void sl_upstreams_free(struct sl_worker *worker);
void sl_upstreams_drain(struct sl_worker *worker); // closes idle ones

void sl_proxy_start(struct sl_request *req, struct sl_upstream *upstream);
void sl_proxy_pump_request(struct sl_upstream_conn *up);  // more of the client's body may be there, or there is room
void sl_proxy_detach(struct sl_upstream_conn *up);        // the client is gone

#endif
