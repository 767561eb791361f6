// A downstream connection and the request that it carries. proxy layer. conn.c moves bytes (TLS, parsing, sending, deadlines, closing);
// request.c decides (route, answer, framing). A connection carries one request at a time; pipelined bytes wait in its queue. After 101 its bytes are
// the body of the request that asked for it, and of the answer, unframed; the two end apart from each other, and then the connection does.
//
//   OPEN --answer with close sent--> LINGER --EOF or 2 s--> CLOSING --last completion--> freed
//
// LINGER reads on (linger_bytes_max), because closing with bytes unread would reset the connection, and the answer with it.
#ifndef SL_CONN_H
#define SL_CONN_H

#include "http1_chunk.h"
#include "http1_edit.h"
#include "inq.h"
#include "outq.h"
#include "route.h"
#include "worker.h"

struct sl_request;
struct sl_exchange;
struct sl_upstream;
struct sl_upstream_conn;

enum sl_conn_state { SL_CONN_OPEN, SL_CONN_LINGER, SL_CONN_CLOSING };
enum sl_deadline { SL_DUE_NONE, SL_DUE_IDLE, SL_DUE_HEAD, SL_DUE_BODY, SL_DUE_HANDLER, SL_DUE_WRITE, SL_DUE_LINGER,
                   SL_DUE_HELLO };

#define SL_DISCARD_BYTES_MAX 65536u

// A send that lasts. Asking the kernel how much of it was acknowledged costs a system call, so only one that lasts is asked about: once a little
// after its begin, then each time that the limit is over. write_bytes_per_second_min is progress.
struct sl_stall {
    uint64_t acked; // at the last look, if known
    bool known;
};

struct sl_conn {
    struct sl_work work; // first
    struct sl_worker *worker;
    struct sl_io_conn *io;
    struct sl_tls *tls;      // NULL: plain
    struct sl_request *req;  // being read or answered
    struct sl_exchange *hello; // of TLS: TypeScript is asked for its row (client_hello.h)
    struct sl_outq *out;     // NULL: nothing to send
    struct sl_inq in;        // plaintext
    struct sl_inq cipher;    // TLS records not yet read
    struct sl_buf *sealed;   // where the TLS engine writes records
    struct sl_buf *flying;   // TLS records being sent
    struct sl_buf *fed;      // the cipher buffer that the engine reads from
    struct sl_timer timer;
    struct sl_conn *prev, *next;
    uint64_t deadline_ns, opened_ns, active_ns; // active_ns: last byte in or out
    struct sl_stall stall;   // of the send under way
    uint64_t age_max_ns;
    uint32_t served, served_max, linger_bytes;
    uint32_t pipelined;      // requests begun since nothing was left to send
    uint32_t handshake_ns;   // that the worker spent on the TLS handshake
    uint8_t state, deadline; // enum sl_conn_state, sl_deadline
    uint8_t want;            // enum sl_recv_want, as last told
    uint8_t row;             // of TLS (tls.h)
    uint8_t listener;        // of the worker's
    bool in_ended, close_after, cut_after, handshaken, notified, counted;
    bool tickets_due;        // of TLS: nothing was sent since the handshake
    bool half_closed;        // of a tunnel: the client has our FIN
    bool shut;               // its end goes with what is being sent
    uint8_t remote_family;   // 4 or 6
    uint8_t remote_addr[16];
    uint16_t remote_port, local_port;
};

// What the client asked for, once TypeScript has given the request another head: method, host and target, one behind the other.
struct sl_asked {
    const uint8_t *data; // NULL: the head still says it
    uint16_t method_len, host_len, target_len;
};

enum sl_handled { SL_BY_NATIVE, SL_BY_TYPESCRIPT, SL_BY_UPSTREAM };

// Lines that policies have added, in the order of the chain; at most one run of a step.
struct sl_policy_runs {
    uint8_t count;
    uint8_t steps[SL_PLAN_POLICIES_MAX]; // places in the chain
    struct sl_edit_run runs[SL_PLAN_POLICIES_MAX];
};

struct sl_request {
    struct sl_conn *conn;
    struct sl_half_heads *half;        // the list it is in while its head is not whole, or NULL
    struct sl_request *older, *newer;  // in it
    struct sl_buf *head_buf; // holds the head's bytes while the request lives
    uint8_t *head_data;
    struct sl_plan_hold *hold;
    struct sl_chain chain;
    uint8_t steps_done;    // of the chain: their response edits apply to the answer,
    uint32_t steps_failed; // but for these, a bit each
    uint8_t steps_edited;  // of those done: their request edits are made
    uint16_t scratch_used;
    uint8_t due_step; // the timeout() that said due_ns
    uint64_t due_ns; // when it has to be over, 0: no such time
    uint32_t policies_held; // steps whose policy has to be told of the end, a bit each
    struct sl_asked asked;
    struct sl_exchange *exchange;      // TypeScript answers
    struct sl_upstream_conn *upstream; // an upstream answers
    struct sl_upstream *proxied;       // the upstream that it was sent to or waits for
    struct sl_request *line_prev, *line_next; // in that line
    uint64_t line_until_ns;
    uint64_t start_ns;
    int64_t start_unix_us;
    uint64_t body_left;  // LENGTH: bytes still to come
    uint64_t body_bytes; // received so far
    uint64_t body_max;   // of those, if body_limited
    uint64_t lag_since_ns, lag_ns; // waiting for its body: since when (0: not now), and before that
    uint64_t out_left;   // LENGTH framing: bytes still to send
    uint64_t out_bytes;  // body bytes queued so far
    struct sl_chunk_decoder chunk;
    uint32_t discarded;
    int reason;          // SL_OK or why it failed
    uint16_t status;     // of the answer, 0: none yet
    uint8_t handled_by;  // enum sl_handled
    uint8_t out_framing; // enum sl_framing
    bool head_done;      // the head is complete, the request has started
    bool body_done;      // all of its body is consumed
    bool body_wanted;    // somebody reads it
    bool body_limited;   // a policy does
    bool discard;        // nobody will: drop what comes
    bool continue_due;   // 100 Continue is owed when the body is wanted
    bool bodiless;       // the answer has no body (HEAD, 204, 304)
    bool out_done;       // the answer is queued whole
    bool in_line;        // waits for a connection of `proxied`
    bool upgraded;       // after 101: bytes both ways, unframed, until each side has ended (an exchange's: until one has)
    bool input_ended;    // upgraded: the client sends no more than what is here
    bool given_up;       // its client has sent its last byte, and nobody will answer
    bool held;           // came in early data and may not run in it: waits for the client's Finished
    struct sl_head head; // from here on nothing is zero at first, but what sl_request_new says
    struct sl_policy_runs request_runs, response_runs;
    uint64_t policy_words[SL_PLAN_CHAIN_MAX]; // by step: its policy's own
    _Alignas(8) uint8_t scratch[SL_PLAN_SCRATCH_BYTES];
};

// conn.c
void sl_conn_accept(struct sl_worker_listener *listener, int fd);
void sl_conn_mark(struct sl_conn *conn);               // run it at the end of the turn
struct sl_outq *sl_conn_out(struct sl_conn *conn);     // NULL: no memory, the connection is being cut
bool sl_conn_writable(const struct sl_conn *conn);     // below the high watermark; while buffers are scarce: nothing is queued
bool sl_conn_drained(const struct sl_conn *conn);      // below the low watermark
void sl_conn_close(struct sl_conn *conn, int reason);  // now, without linger
void sl_conn_abort(struct sl_conn *conn, int reason);  // with RST
size_t sl_conn_client_ip(const struct sl_conn *conn, char out[46]); // text; returns its length
void sl_conn_drain(struct sl_conn *conn);              // the worker drains: idle ones get 1 s
// A send begins: returns after how many ns to look at it first. Then, at each look: does it get on?
uint64_t sl_stall_begin(struct sl_stall *stall, uint32_t limit_ms);
bool sl_stall_moves(struct sl_stall *stall, struct sl_worker *worker, const struct sl_io_conn *io_conn, uint32_t limit_ms);

// request.c
struct sl_request *sl_request_new(struct sl_conn *conn);     // NULL: requests_max
void sl_request_half(struct sl_request *req, bool large);     // its head is not whole yet; large: it lies in an OUT buffer
void sl_request_start(struct sl_request *req);                // its head is complete
void sl_request_release(struct sl_request *req);              // it was held, and may run now
void sl_request_refuse(struct sl_request *req, int status);   // an error answer, then close
void sl_request_fail(struct sl_request *req, int status);     // an error answer if none was begun, else break the transfer
// Writes the answer's head. `response`: status, framing, content_length, fields. False: the connection is being cut.
bool sl_request_respond(struct sl_request *req, struct sl_response_head *response);
// A status of 101 upgrades the connection.
bool sl_request_respond_forward(struct sl_request *req, struct sl_forward_response *forward);
// Queues body bytes with the answer's framing. buf or owner as in outq.h; bytes without either are copied. Only while sl_conn_writable. False: the
// connection is being cut (no memory, or more bytes than the answer's length), and `owner` was released.
bool sl_request_write(struct sl_request *req, const uint8_t *data, uint32_t len, struct sl_buf *buf, struct sl_seg_owner *owner);
void sl_request_end(struct sl_request *req); // the body is whole; a length not reached breaks the transfer
void sl_request_continue(struct sl_request *req); // 100 Continue if it is due
void sl_request_give_up(struct sl_request *req, int reason); // tells what works for it to stop; an answer follows
void sl_request_due(struct sl_request *req); // due_ns has come
// From here on the head is this one, whose last `ours` fields the app has written. It has no framing of
// its own. False: it is no such head.
bool sl_request_rewrite(struct sl_request *req, struct sl_span head, uint32_t ours);
void sl_request_answer(struct sl_request *req, uint32_t respond); // with a row of the plan's responds
// The next piece of the request's body, at most `max` bytes: DATA (inside *out_buf, consumed already; the reference is yours), PARTIAL, DONE, or
// a status.
int sl_request_body_next(struct sl_request *req, struct sl_span *out_data, struct sl_buf **out_buf, uint32_t max);
void sl_request_finish(struct sl_request *req); // log, count, free
void sl_request_detach(struct sl_request *req, int reason); // its connection goes: tell exchange or upstream
struct sl_span sl_request_span(const struct sl_request *req, uint32_t off, uint32_t len);

#endif
