// Upstreams: where proxied requests go. proxy layer.
//
// An *upstream* is a row of a plan: a name, an endpoint and limits. An *endpoint* is an address with its pool of idle connections. Rows that name
// one address share its pool, each under limits of its own; a reload that changes nothing of a row keeps it. Both are freed when no plan that is
// in use names them any more.
//
//   request --> [wait in line, while the upstream uses conns_max connections] --> pooled connection (LIFO) or a new one
//   connection  CONNECTING -> ACTIVE -> IDLE (pooled, a receive armed: bytes or EOF discard it) -> ACTIVE ... -> CLOSING
//
// A pooled connection is taken again only if it is younger than 0.8 of what its peer announced (Keep-Alive: timeout=), and a request leaves on it
// only if the peer has said nothing meanwhile (sl_io_send_if_quiet): what it says later may be the answer, what it said before is not.
//
// Sending again. Nothing was sent (the connection had died in the pool): the request goes to a fresh connection as it is. Something was sent, but
// not a byte of an answer came: once, to a fresh connection, if the method is idempotent and nothing of a body was taken from the client.
//
// A tunnel. An answer of 101 that proves that a WebSocket has begun (websocket.h) makes the two connections one: what comes from either side goes to
// the other as it is, with the same backpressure, and so do FIN and reset. It ends when both halves have, after tunnel_idle_timeout_ms without a
// byte (half of it left: idle_timeout_ms), or at the drain's deadline: bytes that nobody here reads cannot be told to end. Any other 101 is a malformed answer.
//
// Backpressure: the answer's body is received one part at a time, and only while the client's queue is below its high watermark; the
// request's body likewise. Nothing is pipelined to an upstream.
#ifndef SL_UPSTREAM_H
#define SL_UPSTREAM_H

#include "conn.h"

#define SL_UPSTREAM_WAITING_MAX 1024u // requests in one line; those that come then are shed

enum sl_upstream_state { SL_UP_CONNECTING, SL_UP_ACTIVE, SL_UP_IDLE, SL_UP_CLOSING };
// What the timer of a connection is for.
enum sl_upstream_due { SL_UP_DUE_NONE, SL_UP_DUE_CONNECT, SL_UP_DUE_SEND, SL_UP_DUE_HEAD, SL_UP_DUE_BODY, SL_UP_DUE_TUNNEL, SL_UP_DUE_POOL };

// What an upstream has done and has now.
struct sl_upstream_stats {
    uint64_t connects, reuses, failures;
    uint32_t active, waiting, idle; // idle: in its endpoint's pool, which upstreams at one address share
};

struct sl_endpoint {
    struct sl_endpoint *next;
    uint8_t family;
    uint16_t port;
    uint8_t addr[16];
    struct sl_upstream_conn *idle; // LIFO
    uint32_t idle_count;
    uint32_t upstreams; // that name it
};

struct sl_upstream {
    struct sl_work work; // first: lets the next in line go
    struct sl_worker *worker;
    struct sl_upstream *next;
    struct sl_endpoint *endpoint;
    struct sl_plan_upstream row; // its limits; the offsets in it mean nothing here
    char name[256];
    struct sl_upstream_stats stats;
    struct sl_upstream_stats published; // a copy for readers, under the gateway's lock; the worker's list of upstreams changes under it, too
    uint32_t holds; // plans that name it
    uint32_t used;  // connections that its requests hold
    uint32_t waiting;
    struct sl_request *first, *last; // that wait, by age
    struct sl_timer timer;           // when the first has waited long enough
};

struct sl_upstream_conn {
    struct sl_work work; // first
    struct sl_worker *worker;
    struct sl_endpoint *endpoint;
    struct sl_upstream *upstream;  // whose request it carries. NULL: idle or closing
    struct sl_upstream_conn *next; // in the idle list
    struct sl_io_conn *io;
    struct sl_request *req; // NULL: idle or closing
    struct sl_inq in;
    struct sl_outq out;
    struct sl_timer timer;
    struct sl_stall stall;
    struct sl_chunk_decoder chunk;
    uint64_t body_left;
    uint64_t good_until_ns; // IDLE: not to be used later
    uint32_t announced_ms;  // by the last answer's Keep-Alive, less a fifth. UINT32_MAX: nothing
    uint8_t state, due;     // enum sl_upstream_state, sl_upstream_due
    uint8_t body;           // enum sl_body_kind of the answer
    uint8_t interims;       // 1xx answers to this request
    bool reused, in_ended, head_done, request_done, received, connected, broken;
    bool flown; // a send was begun for this request
    bool held;    // the answer's head waits in `in` for what TypeScript says (exchange.h)
    bool to_ring; // the answer's body goes there
    bool upgrade;               // it asks to become a WebSocket
    bool tunnel;                // it has: bytes both ways, and each half ends by itself
    bool half_closed, answered; // of a tunnel: the peer has our FIN; we have its
    int error;  // of a failed send or receive
    struct sl_head head;
};

// The upstream of a plan's row; NULL: no memory. Each get has its release.
struct sl_upstream *sl_upstream_get(struct sl_worker *worker, const struct sl_plan *plan, uint32_t index);
void sl_upstream_release(struct sl_upstream *upstream);
void sl_upstreams_drain(struct sl_worker *worker); // closes idle connections
void sl_upstreams_publish(struct sl_worker *worker); // under the gateway's lock
// "api[10.0.0.7:8080]", cut at len. For logs.
size_t sl_upstream_text(const struct sl_upstream *upstream, char *out, size_t len);

void sl_proxy_start(struct sl_request *req, struct sl_upstream *upstream);
void sl_proxy_pump_request(struct sl_upstream_conn *up); // more of the client's body may be there, or there is room
void sl_proxy_detach(struct sl_request *req);            // the request is given up: its connection closes, its place in the line is free

// A request that TypeScript has sent here (exchange.h).
bool sl_proxy_is_held(const struct sl_request *req);
bool sl_proxy_is_switch(const struct sl_request *req); // what is held is a 101: a FORWARD begins the tunnel
bool sl_proxy_is_read(const struct sl_request *req); // TypeScript reads the body
// Passes a held answer on to the client, with another status and other fields, or as it came for NULL.
void sl_proxy_forward(struct sl_request *req, struct sl_response_head *response);
void sl_proxy_read(struct sl_request *req); // TypeScript wants (more of) the body

#endif
