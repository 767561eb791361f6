#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "client_hello.h"
#include "gateway.h"
#include "probes.h"
#include "tls_failure.h"
#include "upstream.h"

#define SAMPLE_AFTER_NS SL_NS_PER_S // of a send, before its progress is looked at
#define ALIVE_CHECK_NS SL_NS_PER_S  // of a client that is not read from
#define EARLY_BYTES_MAX 16384u      // BoringSSL takes 14336
#define EMPTY_LINES_BYTES 8u        // four CRLF, see http1_parse.h
#define SMALL_BODY 16384u           // bodies up to this do not leave the multishot receive
#define NOTIFY_BYTES 64u            // a close_notify, sealed: 24 to 31

static const struct sl_config *config_of(const struct sl_conn *conn) {
    return sl_worker_config(conn->worker);
}

static uint64_t ms(uint32_t value) { return value * SL_NS_PER_MS; }

// Inside a callback of the loop: the worker's own clock is read after them, and is as old as the loop slept.
static uint64_t callback_ns(const struct sl_worker *w) { return sl_io_now_ns(w->io); }

void sl_conn_mark(struct sl_conn *conn) {
    if (conn->state == SL_CONN_OPEN) {
        sl_work_mark(conn->worker, &conn->work);
    }
}

static size_t put_decimal(char *out, uint8_t value) {
    size_t n = 0;
    if (value >= 100) {
        out[n++] = (char)('0' + value / 100);
    }
    if (value >= 10) {
        out[n++] = (char)('0' + value / 10 % 10);
    }
    out[n++] = (char)('0' + value % 10);
    return n;
}

// inet_ntop(3) prints by printf, which is a twentieth of what a proxied request costs here.
size_t sl_conn_client_ip(const struct sl_conn *conn, char out[46]) {
    if (conn->remote_family != 4) {
        return inet_ntop(AF_INET6, conn->remote_addr, out, 46) ? strlen(out) : 0;
    }
    size_t n = 0;
    for (int i = 0; i < 4; i++) {
        n += put_decimal(out + n, conn->remote_addr[i]);
        out[n++] = '.';
    }
    out[--n] = 0;
    return n;
}

// Whoever does not read, or is not read, holds buffers. While they are scarce each may hold one part and no more, so that those who stall
// cannot take them all from those who go on.
static bool bufs_scarce(const struct sl_conn *conn) {
    const struct sl_buf_pool *bufs = &conn->worker->bufs;
    return sl_buf_scarce(bufs, SL_BUF_BODY) || sl_buf_scarce(bufs, SL_BUF_PAGE) ||
           sl_buf_scarce(bufs, SL_BUF_OUT);
}

// Unread bytes at which reading pauses. A head that is being read may have its own limit's, and the empty lines before it.
static uint32_t in_bytes_max(const struct sl_conn *conn) {
    const struct sl_config *c = config_of(conn);
    if (conn->req && conn->req->held) { // the Finished comes behind all of it
        return c->pipeline_bytes_max > EARLY_BYTES_MAX ? c->pipeline_bytes_max : EARLY_BYTES_MAX;
    }
    if (conn->req && conn->req->head_done && bufs_scarce(conn)) {
        return 1;
    }
    bool head = conn->req && !conn->req->head_done;
    return head && c->head_bytes_max >= c->pipeline_bytes_max
               ? c->head_bytes_max + EMPTY_LINES_BYTES
               : c->pipeline_bytes_max;
}

// Sending.

struct sl_outq *sl_conn_out(struct sl_conn *conn) {
    if (!conn->out) {
        conn->out = sl_slab_take(&conn->worker->outqs);
        if (conn->out) {
            sl_outq_init(conn->out);
        }
    }
    sl_conn_mark(conn);
    return conn->out;
}

bool sl_conn_writable(const struct sl_conn *conn) {
    if (!conn->out || conn->out->count == 0) {
        return true;
    }
    return conn->out->bytes < config_of(conn)->high_watermark_bytes &&
           sl_outq_room(conn->out) >= 8 && !bufs_scarce(conn);
}

bool sl_conn_drained(const struct sl_conn *conn) {
    return !conn->out || (conn->out->bytes <= config_of(conn)->low_watermark_bytes &&
                          sl_outq_room(conn->out) >= SL_OUTQ_SEGS / 2);
}

static bool sending(const struct sl_conn *conn) {
    return conn->flying != NULL || (conn->out && conn->out->in_flight > 0);
}

static bool unsent(const struct sl_conn *conn) {
    return (conn->out && conn->out->count > 0) || conn->flying != NULL ||
           (conn->sealed && sl_tls_out_bytes(conn->tls) > 0);
}

// What the kernel needs to know of records that fly stands behind them, in their buffer: an idle connection has no use for it.
struct flight {
    struct msghdr msg;
    struct iovec iov;
};

_Static_assert(sizeof(struct flight) % _Alignof(struct flight) == 0, "it ends with the buffer");

static bool give_sealed(struct sl_conn *conn, enum sl_buf_group group) {
    if (!conn->sealed) {
        conn->sealed = sl_buf_take(&conn->worker->bufs, group);
        if (conn->sealed) {
            sl_tls_out_give(conn->tls, conn->sealed->data,
                            conn->sealed->cap - sizeof(struct flight));
        }
    }
    return conn->sealed != NULL;
}

static void drop_sealed(struct sl_conn *conn) {
    if (conn->sealed) {
        sl_tls_out_take(conn->tls);
        sl_buf_unref(&conn->worker->bufs, conn->sealed);
        conn->sealed = NULL;
    }
}

// While large ones are scarce a page does: what is left to say goes with the next. Else those who do not read would take them all, one each, and
// nobody could shake hands.
static bool give_sealed_any(struct sl_conn *conn) {
    bool scarce = sl_buf_scarce(&conn->worker->bufs, SL_BUF_OUT);
    return (!scarce && give_sealed(conn, SL_BUF_OUT)) || give_sealed(conn, SL_BUF_PAGE);
}

static void send_sealed(struct sl_conn *conn, bool last) {
    uint32_t n = sl_tls_out_take(conn->tls);
    conn->flying = conn->sealed;
    conn->sealed = NULL;
    void *end = conn->flying->data + conn->flying->cap;
    struct flight *flight = (struct flight *)end - 1;
    flight->iov = (struct iovec){conn->flying->data, n};
    flight->msg =
        (struct msghdr){.msg_iov = &flight->iov, .msg_iovlen = 1, .msg_flags = last ? MSG_MORE : 0};
    sl_io_send(conn->worker->io, conn->io, &flight->msg);
    if (last) {
        conn->shut = true;
        sl_io_shutdown(conn->worker->io, conn->io, SHUT_WR);
    }
}

// Seals what is queued. False: the connection is being cut.
static bool seal(struct sl_conn *conn) {
    struct sl_outq *out = conn->out;
    while (out && out->count > 0) {
        bool small =
            out->bytes < SL_BUF_PAGE_BYTES - 512 || sl_buf_scarce(&conn->worker->bufs, SL_BUF_OUT);
        if (!give_sealed(conn, small ? SL_BUF_PAGE : SL_BUF_OUT)) {
            sl_conn_abort(conn, SL_E_NO_MEMORY);
            return false;
        }
        int count;
        const struct iovec *iov = sl_outq_peek(out, &count);
        int64_t n = sl_tls_write(conn->tls, iov, count);
        if (n < 0) {
            sl_conn_abort(conn, (int)n);
            return false;
        }
        if (n > 0) {
            sl_outq_consume(out, &conn->worker->bufs, (uint32_t)n);
            continue;
        }
        if (sl_tls_out_bytes(conn->tls) > 0 || conn->sealed->group == SL_BUF_OUT) {
            return true; // full: it goes out first
        }
        drop_sealed(conn); // a page is too small for this record
        if (!give_sealed(conn, SL_BUF_OUT)) {
            sl_conn_abort(conn, SL_E_NO_MEMORY);
            return false;
        }
    }
    return true;
}

// Tickets wait for the first write. A client that has not asked along with its Finished gets them alone: they acknowledge it, without which Nagle's
// rule keeps its question back until a delayed acknowledgement, 40 ms later. False: the connection is being cut.
static bool greet(struct sl_conn *conn) {
    if (!conn->tickets_due) {
        return true;
    }
    conn->tickets_due = false;
    bool asked = conn->in.bytes > 0 || (conn->req && conn->req->head_done);
    if (asked || conn->notified || conn->cut_after || !give_sealed_any(conn)) {
        return true; // with what is sent next
    }
    int64_t n = sl_tls_write(conn->tls, NULL, 0);
    if (n < 0) {
        sl_conn_abort(conn, (int)n);
    }
    return n >= 0;
}

// Where the last answer's records have room behind them our close_notify goes along, and the connection's end with both: two segments, a send
// and a completion less. True: nothing will follow.
static bool notify_with_last(struct sl_conn *conn) {
    bool last = conn->close_after && !conn->req && (!conn->out || conn->out->count == 0);
    size_t used = sl_tls_out_bytes(conn->tls) + sizeof(struct flight) + NOTIFY_BYTES;
    if (!last || !conn->handshaken || conn->cut_after || conn->notified ||
        used > conn->sealed->cap) {
        return false;
    }
    conn->notified = true;
    sl_tls_close_notify(conn->tls);
    return !sl_tls_wants_out(conn->tls);
}

static void flush_tls(struct sl_conn *conn) {
    if (conn->flying) {
        return;
    }
    if (conn->handshaken && !(seal(conn) && greet(conn))) {
        return;
    }
    if (conn->sealed && sl_tls_out_bytes(conn->tls) > 0) {
        send_sealed(conn, notify_with_last(conn));
    } else {
        drop_sealed(conn); // who has nothing to send holds no buffer
    }
}

static void flush(struct sl_conn *conn) {
    if (conn->tls) {
        flush_tls(conn);
    } else if (conn->out && conn->out->count > 0 && conn->out->in_flight == 0) {
        sl_io_send(conn->worker->io, conn->io, sl_outq_gather(conn->out));
    }
    if (conn->out && conn->out->count == 0) {
        sl_outq_clear(conn->out, &conn->worker->bufs);
        sl_slab_give(&conn->worker->outqs, conn->out);
        conn->out = NULL;
    }
}

uint64_t sl_stall_begin(struct sl_stall *stall, uint32_t limit_ms) {
    stall->known = false;
    return sl_min_u64(ms(limit_ms) / 8, SAMPLE_AFTER_NS);
}

bool sl_stall_moves(struct sl_stall *stall, struct sl_worker *w, const struct sl_io_conn *io_conn,
                    uint32_t limit_ms) {
    uint64_t acked = sl_io_bytes_acked(w->io, io_conn);
    uint64_t least = (uint64_t)sl_worker_config(w)->write_bytes_per_second_min * limit_ms / 1000;
    bool moves = !stall->known || acked - stall->acked >= least;
    stall->acked = acked;
    stall->known = true;
    return moves;
}

// The queue has drained: whoever paused at the high watermark goes on.
static void resume_producer(struct sl_conn *conn) {
    struct sl_request *req = conn->req;
    if (!req || !sl_conn_drained(conn)) {
        return;
    }
    if (req->upstream) {
        sl_work_mark(conn->worker, &req->upstream->work);
    }
    if (req->exchange) {
        sl_exchange_writable(req->exchange);
    }
}

static void on_sent(struct sl_io_conn *io_conn, void *owner, int64_t result) {
    struct sl_conn *conn = owner;
    struct sl_worker *w = conn->worker;
    (void)io_conn;
    if (conn->flying) {
        sl_buf_unref(&w->bufs, conn->flying);
        conn->flying = NULL;
    } else {
        sl_outq_sent(conn->out, &w->bufs);
    }
    if (result < 0) {
        sl_conn_close(conn, SL_E_CLIENT_CLOSED);
        return;
    }
    w->counters.bytes_out += (uint64_t)result;
    conn->active_ns = callback_ns(w);
    conn->deadline = SL_DUE_NONE; // the next send has its own
    conn->deadline_ns = SL_TIMER_NEVER;
    if (!unsent(conn)) {
        conn->pipelined = 0;
    }
    resume_producer(conn);
    sl_conn_mark(conn);
}

// Receiving.

static void on_data(struct sl_io_conn *io_conn, void *owner, struct sl_buf *buf, uint32_t len) {
    struct sl_conn *conn = owner;
    struct sl_worker *w = conn->worker;
    (void)io_conn;
    w->counters.bytes_in += len;
    if (conn->want == SL_RECV_ONCE) {
        conn->want = SL_RECV_OFF;
    }
    if (conn->state == SL_CONN_LINGER) {
        sl_buf_unref(&w->bufs, buf);
        conn->linger_bytes += len;
        if (conn->linger_bytes > config_of(conn)->linger_bytes_max) {
            // Not a close: with bytes unread that is a reset, which may overtake the answer. Its sender stalls, and has time to read it.
            conn->want = SL_RECV_OFF;
            sl_io_recv(w->io, conn->io, SL_RECV_OFF);
        }
        return;
    }
    if (!conn->req) {
        conn->active_ns = callback_ns(w);
    }
    sl_inq_push(conn->tls ? &conn->cipher : &conn->in, &w->bufs, buf, 0, len);
    sl_conn_mark(conn);
}

static void on_end(struct sl_io_conn *io_conn, void *owner, int error) {
    struct sl_conn *conn = owner;
    (void)io_conn;
    conn->in_ended = true;
    if (error || conn->state == SL_CONN_LINGER) {
        sl_conn_close(conn, error ? SL_E_CLIENT_CLOSED : SL_OK);
        return;
    }
    sl_conn_mark(conn);
}

// The buffer that plaintext goes to: the last one, while it has room, else a new one.
static struct sl_buf *plain_buf(struct sl_conn *conn) {
    struct sl_buf *last = conn->in.last;
    bool ours = last && (last->group == SL_BUF_PAGE || last->group == SL_BUF_OUT);
    if (ours && last->end < last->cap) {
        sl_buf_ref(last);
        return last;
    }
    const struct sl_request *req = conn->req;
    bool body = req && req->head_done && !req->body_done && !req->upgraded;
    // A body that nobody reads holds it: while large ones are scarce, a page.
    struct sl_buf_pool *pool = &conn->worker->bufs;
    bool large = body && !sl_buf_scarce(pool, SL_BUF_OUT);
    struct sl_buf *buf = sl_buf_take(pool, large ? SL_BUF_OUT : SL_BUF_PAGE);
    if (buf) {
        buf->pos = buf->end = 0;
    }
    return buf;
}

static void plain_arrived(struct sl_conn *conn, struct sl_buf *buf, uint32_t n) {
    if (buf == conn->in.last) {
        buf->end += n;
        conn->in.bytes += n;
        sl_buf_unref(&conn->worker->bufs, buf);
    } else {
        sl_inq_push(&conn->in, &conn->worker->bufs, buf, buf->end, buf->end + n);
    }
}

static void feed(struct sl_conn *conn) {
    struct sl_buf_pool *pool = &conn->worker->bufs;
    if (!sl_tls_hungry(conn->tls)) {
        return;
    }
    sl_buf_unref(pool, conn->fed);
    conn->fed = NULL;
    struct sl_span front = sl_inq_front(&conn->cipher);
    if (front.len > 0) {
        conn->fed = conn->cipher.first;
        sl_buf_ref(conn->fed);
        sl_inq_consume(&conn->cipher, pool, (uint32_t)front.len);
        sl_tls_feed(conn->tls, front.data, (uint32_t)front.len);
    }
}

// The connection ends once the engine's alert, if it has one to send, is out.
static void fail_tls(struct sl_conn *conn, int status) {
    if (!conn->handshaken) {
        sl__tls_failed(conn, status);
    }
    conn->in_ended = true;
    conn->cut_after = true;
    sl_worker_count_status(conn->worker, status);
    if (sl_tls_wants_out(conn->tls)) {
        give_sealed(conn, SL_BUF_PAGE);
    }
}

// The engine's answer to a read that gave no plaintext. True: call it again.
static bool after_dry_read(struct sl_conn *conn, int rc) {
    if (rc == SL_E_CLIENT_CLOSED) {
        conn->in_ended = true;
        return false;
    }
    if (rc < 0) {
        fail_tls(conn, rc);
        return false;
    }
    if (sl_tls_wants_out(conn->tls) && !conn->flying) {
        if (conn->sealed && sl_tls_out_bytes(conn->tls) > 0) {
            return false; // flush sends it, on_sent comes back here
        }
        return !conn->sealed && give_sealed_any(conn);
    }
    return sl_tls_hungry(conn->tls) && conn->cipher.bytes > 0;
}

static uint64_t clock_ns(const struct sl_conn *conn) {
    const struct sl_sys *sys = conn->worker->gateway->sys;
    return sys->now_ns(sys);
}

static void handshake_done(struct sl_conn *conn) {
    struct sl_counters *counters = &conn->worker->counters;
    unsigned i = 0, last = SL_COUNT_OF(counters->tls_us) - 1;
    while (i < last && conn->handshake_ns / 1000 >> (i + 4)) {
        i++;
    }
    counters->tls_us[i]++;
    counters->tls_handshakes++;
    conn->handshaken = conn->tickets_due = true;
    conn->row = sl_tls_row(conn->tls);
    SL_PROBE(tls_done, conn->worker->index, conn, conn->handshake_ns);
    conn->active_ns = conn->worker->now_ns;
}

// sl_tls_read, and before the handshake is done: how long it takes.
static int drive(struct sl_conn *conn, struct sl_buf *buf) {
    uint8_t *out = buf->data + buf->end;
    uint32_t cap = buf->cap - buf->end;
    if (conn->handshaken) {
        return sl_tls_read(conn->tls, out, cap);
    }
    uint64_t before_ns = clock_ns(conn);
    int n = sl_tls_read(conn->tls, out, cap);
    uint64_t all_ns = conn->handshake_ns + clock_ns(conn) - before_ns;
    conn->handshake_ns = (uint32_t)sl_min_u64(all_ns, UINT32_MAX);
    if (sl_tls_state(conn->tls) == SL_TLS_OPEN) {
        handshake_done(conn);
    }
    return n;
}

// Decrypts while there is room for plaintext. True: some arrived.
static bool read_tls(struct sl_conn *conn) {
    bool got = false, again = true;
    if (!conn->tls || conn->cut_after) {
        return false;
    }
    while (again && conn->in.bytes < in_bytes_max(conn)) {
        if (!conn->handshaken && !conn->flying) {
            give_sealed_any(conn);
        }
        feed(conn);
        struct sl_buf *buf = plain_buf(conn);
        if (!buf) {
            sl_conn_abort(conn, SL_E_NO_MEMORY);
            return false;
        }
        int n = drive(conn, buf);
        if (n > 0) {
            plain_arrived(conn, buf, (uint32_t)n);
            got = true;
        } else {
            sl_buf_unref(&conn->worker->bufs, buf);
            again = after_dry_read(conn, n);
        }
    }
    if (conn->fed && sl_tls_hungry(conn->tls)) { // an idle connection holds no buffer
        sl_buf_unref(&conn->worker->bufs, conn->fed);
        conn->fed = NULL;
    }
    return got;
}

// Progress.

static void shed(struct sl_conn *conn) {
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 33\r\n"
                                 "connection: close\r\ncontent-type: text/plain; charset=UTF-8\r\n"
                                 "retry-after: 1\r\n\r\nToo many requests are in flight.\n";
    sl_worker_count_status(conn->worker, SL_E_SHED_REQUESTS);
    conn->close_after = true;
    struct sl_outq *out = sl_conn_out(conn);
    if (!out || !sl_outq_push(out, (const uint8_t *)answer, sizeof(answer) - 1, NULL)) {
        sl_conn_abort(conn, SL_E_SHED_REQUESTS);
    }
}

static bool begin_request(struct sl_conn *conn) {
    if (conn->close_after) {
        sl_inq_clear(&conn->in, &conn->worker->bufs); // after `close` nothing more is processed
        return false;
    }
    if (conn->in.bytes == 0 || !sl_conn_writable(conn) ||
        conn->pipelined >= config_of(conn)->pipeline_requests_max) {
        return false;
    }
    conn->pipelined++;
    conn->req = sl_request_new(conn);
    if (!conn->req) {
        shed(conn);
        return false;
    }
    return true;
}

static bool read_head(struct sl_conn *conn) {
    struct sl_request *req = conn->req;
    const struct sl_config *c = config_of(conn);
    const struct sl_head_limits limits = {c->head_bytes_max, c->line_bytes_max, c->fields_max};
    for (;;) {
        struct sl_buf *buf = conn->in.first;
        struct sl_span front = sl_inq_front(&conn->in);
        int rc = sl_http1_parse_request(&req->head, buf->data + buf->pos, front.len, &limits);
        if (rc < 0) {
            sl_request_refuse(req, rc);
            return true;
        }
        if (rc > 0) {
            sl_buf_ref(buf);
            req->head_buf = buf;
            req->head_data = buf->data + buf->pos + req->head.skipped;
            sl_inq_consume(&conn->in, &conn->worker->bufs, req->head.skipped + req->head.len);
            sl_request_start(req);
            return true;
        }
        if (!buf->next) {
            sl_request_half(req, buf->group == SL_BUF_OUT);
            return false;
        }
        if (!sl_inq_linearize(&conn->in, &conn->worker->bufs)) {
            sl_request_refuse(req, SL_E_NO_MEMORY);
            return true;
        }
    }
}

static void discard_body(struct sl_request *req) {
    struct sl_conn *conn = req->conn;
    struct sl_span piece;
    struct sl_buf *buf;
    int rc;
    while ((rc = sl_request_body_next(req, &piece, &buf, UINT32_MAX)) == SL_CHUNK_DATA) {
        req->discarded += (uint32_t)piece.len;
        sl_buf_unref(&conn->worker->bufs, buf);
        if (req->discarded > SL_DISCARD_BYTES_MAX) {
            rc = SL_E_BODY_TOO_LARGE;
            break;
        }
    }
    if (rc < 0) {
        conn->close_after = true;
    }
}

static void feed_body(struct sl_request *req) {
    if (req->discard) {
        discard_body(req);
    } else if (req->upstream) {
        sl_proxy_pump_request(req->upstream);
    } else if (req->exchange) {
        sl_exchange_pump(req->exchange);
    }
}

// One step of the request at hand. True: another may be possible.
static bool step(struct sl_conn *conn) {
    if (!conn->req) {
        return begin_request(conn);
    }
    if (!conn->req->head_done && !conn->req->out_done) {
        return conn->in.bytes > 0 && read_head(conn);
    }
    if (conn->req->held) {
        if (sl_tls_in_early_data(conn->tls)) {
            return false;
        }
        sl_request_release(conn->req);
        return true;
    }
    if (!conn->req->body_done && conn->req->head_done) {
        feed_body(conn->req);
    }
    struct sl_request *req = conn->req; // feeding may have ended it
    if (conn->state == SL_CONN_OPEN && req && req->out_done && !req->upstream &&
        (req->body_done || conn->close_after)) {
        sl_request_finish(req);
        return true;
    }
    return false;
}

static void begin_linger(struct sl_conn *conn) {
    if (conn->cut_after || conn->in_ended) {
        sl_conn_close(conn, SL_OK);
        return;
    }
    conn->state = SL_CONN_LINGER;
    sl_work_unmark(&conn->work);
    sl_inq_clear(&conn->in, &conn->worker->bufs);
    sl_inq_clear(&conn->cipher, &conn->worker->bufs);
    if (!conn->shut) {
        sl_io_shutdown(conn->worker->io, conn->io, SHUT_WR);
    }
    conn->want = SL_RECV_STREAM;
    sl_io_recv(conn->worker->io, conn->io, SL_RECV_STREAM);
    conn->deadline = SL_DUE_LINGER;
    conn->deadline_ns = conn->worker->now_ns + ms(config_of(conn)->linger_ms);
    sl_timer_set(&conn->worker->timers, &conn->timer, conn->deadline_ns);
}

static bool notify_tls(struct sl_conn *conn) {
    if (!conn->tls || conn->notified || !conn->handshaken || conn->cut_after) {
        return false;
    }
    conn->notified = true;
    if (give_sealed(conn, SL_BUF_PAGE)) {
        sl_tls_close_notify(conn->tls);
        flush(conn);
    }
    return unsent(conn);
}

// The peer has sent its last byte: what can still be answered is, the rest ends. True: the connection is gone or going.
static bool settle_end(struct sl_conn *conn) {
    struct sl_request *req = conn->req;
    bool given_up = req && req->given_up; // what is behind it is nothing to anybody
    if (!conn->in_ended || conn->cipher.bytes > 0 ||
        (conn->tls && !given_up && conn->in.bytes >= in_bytes_max(conn))) {
        return false; // the TLS engine may have more to give, its close_notify among it
    }
    // Once ours has left it may go as it likes.
    bool told = conn->cut_after || conn->notified;
    int eof = conn->tls && !told ? sl_tls_eof(conn->tls) : SL_OK;
    // Truncated: what came may not be all that was meant (RFC 8446 section 6.1).
    if (eof < 0 && eof != SL_E_CLIENT_CLOSED) {
        fail_tls(conn, eof);
        sl_conn_close(conn, SL_OK);
        return true;
    }
    if (req &&
        req->upgraded) { // what it has sent is read to its end, and then the other side's is sent
        if (conn->in.bytes == 0 && !req->input_ended) {
            req->input_ended = true;
            feed_body(req);
        }
        return conn->state != SL_CONN_OPEN;
    }
    // Inside a head, or a body (RFC 9112 section 8).
    bool cut = req && (req->head_done ? !req->body_done && !req->discard && conn->in.bytes == 0
                                      : !req->out_done);
    if (cut || given_up) { // the answers before it leave first
        if (unsent(conn)) {
            return false;
        }
        if (req->status &&
            !req->out_done) { // a part of its answer has left: that must not look whole
            sl_conn_abort(conn, SL_E_CLIENT_CLOSED);
        } else {
            sl_conn_close(conn, SL_E_CLIENT_CLOSED);
        }
        return true;
    }
    if (req && req->head_done) {
        if (req->exchange && !req->exchange->aborted) {
            sl_exchange_abort(req->exchange, SL_E_CLIENT_CLOSED, false);
        }
        return false;
    }
    // Else a request waits until the answers before it have left.
    conn->close_after |= conn->in.bytes == 0;
    return false;
}

static enum sl_recv_want wanted(const struct sl_conn *conn) {
    const struct sl_request *req = conn->req;
    if (conn->in_ended || conn->cut_after) {
        return SL_RECV_OFF;
    }
    if (conn->in.bytes + conn->cipher.bytes >= in_bytes_max(conn)) {
        return SL_RECV_OFF;
    }
    if (!req || !req->head_done || req->body_done || req->upgraded ||
        !(req->body_wanted || req->discard)) {
        return SL_RECV_STREAM;
    }
    bool small = req->head.body == SL_BODY_LENGTH ? req->body_left <= SMALL_BODY
                                                  : req->body_bytes < SMALL_BODY;
    if (small) {
        return SL_RECV_STREAM;
    }
    return conn->in.bytes + conn->cipher.bytes == 0 ? SL_RECV_ONCE : SL_RECV_OFF;
}

// During a drain one second is left, so that a request which is on its way meets an open connection.
static uint64_t idle_until(const struct sl_conn *conn) {
    const struct sl_worker *w = conn->worker;
    if (w->draining) {
        return (conn->active_ns > w->drain_started_ns ? conn->active_ns : w->drain_started_ns) +
               SL_NS_PER_S;
    }
    return conn->active_ns + ms(config_of(conn)->idle_timeout_ms);
}

// We wait for the client's body, it does not wait for us.
static bool body_lags(const struct sl_conn *conn) {
    const struct sl_request *req = conn->req;
    return req && req->head_done && !req->body_done && !req->upgraded &&
           (req->body_wanted || req->discard) && conn->in.bytes == 0 && !sending(conn);
}

static void count_lag(struct sl_request *req, bool lags, uint64_t now) {
    if (lags && req->lag_since_ns == 0) {
        req->lag_since_ns = now;
    } else if (!lags && req->lag_since_ns != 0) {
        req->lag_ns += now - req->lag_since_ns;
        req->lag_since_ns = 0;
    }
}

// body_timeout_ms between two parts; and no more waiting in all than its bytes are worth, else one byte now and then holds a request for ever.
// But while an answer is under way the client may wait for a part of it.
static uint64_t body_until(const struct sl_conn *conn) {
    const struct sl_request *req = conn->req;
    const struct sl_config *c = config_of(conn);
    uint64_t pause = ms(c->body_timeout_ms), until = conn->active_ns + pause;
    if (req->status && !req->out_done) {
        return until;
    }
    uint64_t seconds = sl_min_u64(req->body_bytes / c->body_bytes_per_second_min, UINT32_MAX);
    uint64_t worth = sl_min_u64(pause, ms(c->body_grace_ms)) + seconds * SL_NS_PER_S;
    return sl_min_u64(until, req->lag_since_ns + (worth > req->lag_ns ? worth - req->lag_ns : 0));
}

// Nothing tells of a reset while nothing is received: not read from, a client may be gone for long.
static bool unwatched(const struct sl_conn *conn) {
    return conn->want == SL_RECV_OFF && !conn->in_ended;
}

static void set_timer(struct sl_conn *conn) {
    uint64_t due_ns = conn->deadline_ns;
    if (conn->req && conn->req->due_ns) {
        due_ns = sl_min_u64(due_ns, conn->req->due_ns);
    }
    if (unwatched(conn)) {
        due_ns = sl_min_u64(due_ns, conn->worker->now_ns + ALIVE_CHECK_NS);
    }
    if (due_ns != SL_TIMER_NEVER &&
        (!sl_timer_is_set(&conn->timer) || conn->timer.due_ns > due_ns)) {
        sl_timer_set(&conn->worker->timers, &conn->timer, due_ns);
    }
}

static void choose_deadline(struct sl_conn *conn) {
    const struct sl_config *c = config_of(conn);
    const struct sl_request *req = conn->req;
    uint64_t now = conn->worker->now_ns;
    bool lags = body_lags(conn);
    if (req) {
        count_lag(conn->req, lags, now);
    }
    if (sending(conn)) {
        if (conn->deadline != SL_DUE_WRITE) {
            conn->deadline = SL_DUE_WRITE;
            conn->deadline_ns = now + sl_stall_begin(&conn->stall, c->write_stall_ms);
        }
    } else if (conn->tls && (!conn->handshaken || (req && req->held))) {
        conn->deadline = SL_DUE_HEAD;
        conn->deadline_ns = conn->opened_ns + ms(c->head_timeout_ms);
        if (conn->hello && conn->hello->due_ns < conn->deadline_ns) {
            conn->deadline = SL_DUE_HELLO;
            conn->deadline_ns = conn->hello->due_ns;
        }
    } else if (!req) {
        conn->deadline = SL_DUE_IDLE;
        conn->deadline_ns = idle_until(conn);
    } else if (!req->head_done) {
        conn->deadline = SL_DUE_HEAD;
        conn->deadline_ns =
            req->start_ns + ms(c->head_timeout_ms); // absolute: a trickle does not move it
    } else if (lags) {
        conn->deadline = SL_DUE_BODY;
        conn->deadline_ns = body_until(conn);
    } else if (req->exchange && !req->status && !sl_exchange_awaits(req->exchange)) {
        conn->deadline = SL_DUE_HANDLER;
        conn->deadline_ns =
            conn->active_ns + ms(c->handler_timeout_ms); // a slow upload is not the handler's fault
    } else {
        conn->deadline = SL_DUE_NONE;
        conn->deadline_ns = SL_TIMER_NEVER;
    }
    set_timer(conn);
}

// The upstream of a tunnel has ended, and its client may go on.
static void half_close(struct sl_conn *conn) {
    const struct sl_request *req = conn->req;
    if (!req || !req->upgraded || !req->out_done || conn->half_closed || unsent(conn) ||
        notify_tls(conn)) {
        return;
    }
    conn->half_closed = true;
    sl_io_shutdown(conn->worker->io, conn->io, SHUT_WR);
}

static void settle(struct sl_conn *conn) {
    half_close(conn);
    if (settle_end(conn)) {
        return;
    }
    if (!unsent(conn) && !conn->req && (conn->close_after || conn->cut_after)) {
        if (!notify_tls(conn) && conn->state == SL_CONN_OPEN) {
            begin_linger(conn);
        }
        return;
    }
    if (conn->cut_after && !unsent(conn)) {
        sl_conn_close(conn, SL_E_TLS_HANDSHAKE);
        return;
    }
    enum sl_recv_want want = wanted(conn);
    if (want != conn->want) {
        conn->want = (uint8_t)want;
        sl_io_recv(conn->worker->io, conn->io, want);
    }
    choose_deadline(conn);
}

static void run(struct sl_work *work) {
    struct sl_conn *conn = (struct sl_conn *)work;
    bool again = true;
    while (again && conn->state == SL_CONN_OPEN) {
        uint32_t before = conn->in.bytes;
        again = read_tls(conn);
        again = (conn->state == SL_CONN_OPEN && step(conn)) || again;
        again = again || (conn->tls && conn->in.bytes < before); // room for records that wait
    }
    if (conn->state == SL_CONN_OPEN) {
        flush(conn);
    }
    if (conn->state == SL_CONN_OPEN) {
        settle(conn);
    }
}

// Deadlines.

static void write_due(struct sl_conn *conn) {
    uint32_t limit_ms = config_of(conn)->write_stall_ms;
    if (sl_stall_moves(&conn->stall, conn->worker, conn->io, limit_ms)) {
        conn->deadline_ns = conn->worker->now_ns + ms(limit_ms);
        set_timer(conn);
    } else {
        sl_conn_abort(conn, SL_E_WRITE_STALLED);
    }
}

// A request that was answered without its body ends with a close that lingers, which does not reset that answer.
static void body_due(struct sl_conn *conn) {
    conn->close_after = true;
    if (conn->req->out_done) {
        conn->req->reason = SL_E_BODY_TIMEOUT;
        sl_worker_count_status(conn->worker, SL_E_BODY_TIMEOUT);
        sl_conn_mark(conn);
    } else {
        sl_request_fail(conn->req, SL_E_BODY_TIMEOUT);
    }
}

static void on_timer(struct sl_timer *timer) {
    struct sl_conn *conn = SL_CONTAINER_OF(timer, struct sl_conn, timer);
    struct sl_worker *w = conn->worker;
    if (conn->state == SL_CONN_OPEN && unwatched(conn) && !sl_io_alive(w->io, conn->io)) {
        sl_conn_close(conn, SL_E_CLIENT_CLOSED);
        return;
    }
    if (conn->req && conn->req->due_ns && w->now_ns >= conn->req->due_ns) {
        sl_request_due(conn->req);
        if (conn->state == SL_CONN_OPEN) {
            set_timer(conn);
        }
        return;
    }
    if (conn->deadline == SL_DUE_NONE || w->now_ns < conn->deadline_ns) { // it moved meanwhile
        set_timer(conn);
        return;
    }
    switch (conn->deadline) {
    case SL_DUE_WRITE:
        write_due(conn);
        return;
    case SL_DUE_HEAD:
        if (conn->req && !conn->req->head_done) {
            sl_request_refuse(conn->req, SL_E_HEAD_TIMEOUT);
        } else {
            if (conn->tls && !conn->handshaken && !conn->cut_after) {
                sl__tls_failed(conn, SL_E_HEAD_TIMEOUT);
            }
            sl_conn_close(conn, SL_E_HEAD_TIMEOUT);
        }
        return;
    case SL_DUE_BODY:
        body_due(conn);
        return;
    case SL_DUE_HANDLER:
        sl_request_fail(conn->req, SL_E_HANDLER_TIMEOUT);
        return;
    case SL_DUE_HELLO:
        sl_hello_overdue(conn);
        return;
    case SL_DUE_IDLE:
        if (!w->draining) {
            sl_worker_count_status(w, SL_E_IDLE_TIMEOUT);
        }
        conn->close_after = true;
        sl_conn_mark(conn);
        return;
    default:
        sl_conn_close(conn, SL_OK);
    }
}

// Opening and closing.

static sl_client client_of(const struct sl_conn *conn) {
    return sl_client_of(conn->remote_family, conn->remote_addr);
}

static void release_buffers(struct sl_conn *conn) {
    struct sl_worker *w = conn->worker;
    sl_inq_clear(&conn->in, &w->bufs);
    sl_inq_clear(&conn->cipher, &w->bufs);
    sl_buf_unref(&w->bufs, conn->fed);
    if (conn->out) {
        conn->out->in_flight = 0; // the io layer is done with it
        sl_outq_clear(conn->out, &w->bufs);
        sl_slab_give(&w->outqs, conn->out);
    }
    sl_buf_unref(&w->bufs, conn->flying);
    sl_buf_unref(&w->bufs, conn->sealed);
}

static void on_closed(void *owner) {
    struct sl_conn *conn = owner;
    struct sl_worker *w = conn->worker;
    if (conn->tls) {
        sl_tls_free(conn->tls);
    }
    release_buffers(conn);
    if (conn->prev) {
        conn->prev->next = conn->next;
    } else {
        w->conn_first = conn->next;
    }
    if (conn->next) {
        conn->next->prev = conn->prev;
    }
    if (conn->counted) {
        sl_clients_remove(w->gateway->clients, client_of(conn));
    }
    w->counters.conns_closed++;
    w->counters.conns_live--;
    SL_PROBE(conn_close, w->index, conn, conn->served);
    sl_slab_give(&w->conns, conn);
}

static bool begin_close(struct sl_conn *conn, int reason) {
    if (conn->state == SL_CONN_CLOSING) {
        return false;
    }
    conn->state = SL_CONN_CLOSING;
    if (reason) {
        sl_worker_count_status(conn->worker, reason);
    }
    sl_work_unmark(&conn->work);
    sl_timer_cancel(&conn->worker->timers, &conn->timer);
    if (conn->req) {
        sl_request_detach(conn->req, reason);
    }
    if (conn->hello) {
        sl_hello_leave(conn, reason);
    }
    return true;
}

void sl_conn_close(struct sl_conn *conn, int reason) {
    if (begin_close(conn, reason)) {
        sl_io_close(conn->worker->io, conn->io);
    }
}

void sl_conn_abort(struct sl_conn *conn, int reason) {
    if (begin_close(conn, reason)) {
        sl_io_abort(conn->worker->io, conn->io);
    }
}

static const struct sl_io_handler handler = {
    .on_data = on_data, .on_end = on_end, .on_sent = on_sent, .on_closed = on_closed};

static void set_remote(struct sl_conn *conn) {
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    if (sl_io_peer_address(conn->worker->io, conn->io, (struct sockaddr *)&addr, &len) != 0) {
        conn->remote_family = 4; // it is gone already: the first receive will say so
        return;
    }
    if (addr.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&addr;
        conn->remote_family = 4;
        memcpy(conn->remote_addr, &in->sin_addr, 4);
        conn->remote_port = ntohs(in->sin_port);
        return;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr;
    conn->remote_family = 6;
    memcpy(conn->remote_addr, &in6->sin6_addr, 16);
    conn->remote_port = ntohs(in6->sin6_port);
}

static struct sl_conn *conn_new(struct sl_worker_listener *listener, int fd) {
    struct sl_worker *w = listener->worker;
    struct sl_conn *conn = sl_slab_take(&w->conns);
    if (!conn) {
        return NULL;
    }
    memset(conn, 0, sizeof(*conn));
    conn->worker = w;
    conn->io = sl_io_conn_open(w->io, fd, &handler, conn);
    if (conn->io && listener->certificates != SL_NO_CERTIFICATE) {
        conn->tls = sl_tls_new(w->tls_ctx[listener->certificates]);
        if (!conn->tls) {
            sl_worker_count_status(w, SL_E_NO_MEMORY);
            conn->cut_after = true;
        } else if (listener->hello_timeout_ms > 0) {
            sl_tls_ask(conn->tls, sl_hello_ask, conn);
        }
    }
    if (!conn->io) {
        sl_slab_give(&w->conns, conn);
        return NULL;
    }
    set_remote(conn);
    conn->local_port = listener->port;
    conn->listener = (uint8_t)(listener - w->listeners);
    return conn;
}

void sl_conn_accept(struct sl_worker_listener *listener, int fd) {
    struct sl_worker *w = listener->worker;
    const struct sl_config *c = sl_worker_config(w);
    w->counters.conns_accepted++;
    struct sl_conn *conn = conn_new(listener, fd);
    if (!conn) {
        w->counters.conns_closed++;
        w->counters.conns_shed++;
        sl_worker_count_status(w, SL_E_SHED_CONNS);
        sl_io_close_fd(w->io, fd);
        return;
    }
    w->counters.conns_live++;
    conn->next = w->conn_first;
    if (w->conn_first) {
        w->conn_first->prev = conn;
    }
    w->conn_first = conn;
    sl_work_init(&conn->work, run);
    sl_timer_init(&conn->timer, on_timer);
    conn->opened_ns = conn->active_ns = callback_ns(w);
    conn->served_max = (uint32_t)sl_worker_jitter(w, c->requests_per_conn_max);
    conn->age_max_ns = sl_worker_jitter(w, ms(c->conn_age_ms));
    struct sl_clients *clients = w->gateway->clients;
    conn->counted = clients && sl_clients_add(clients, client_of(conn));
    SL_PROBE(conn_accept, w->index, conn, fd);
    if (clients && !conn->counted) {
        sl_conn_close(conn, SL_E_SHED_ADDRESS);
        return;
    }
    sl_conn_mark(conn);
}

void sl_conn_drain(struct sl_conn *conn) {
    if (conn->req && conn->req->exchange) {
        sl_exchange_drain(conn->req->exchange);
    }
    sl_conn_mark(conn); // it chooses its deadline anew
}
