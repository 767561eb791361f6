#include "upstream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#include "exchange.h"
#include "gateway.h"
#include "probes.h"
#include "websocket.h"

#define SMALL_BODY 16384u
#define COPY_MAX 2048u  // parts of a request's body up to this are copied
#define INTERIMS_MAX 64 // 1xx answers to one request

static const struct sl_config *config_of(const struct sl_upstream_conn *up) {
    return sl_worker_config(up->worker);
}

// Closing.

static void unlink_idle(struct sl_upstream_conn *up) {
    struct sl_upstream_conn **at = &up->endpoint->idle;
    while (*at != up) {
        SL_ASSERT(*at);
        at = &(*at)->next;
    }
    *at = up->next;
    up->endpoint->idle_count--;
    up->worker->counters.upstream_idle--;
}

// The connection carries no request any more: the next in line may have one.
static void unuse(struct sl_upstream_conn *up) {
    struct sl_upstream *upstream = up->upstream;
    up->upstream = NULL;
    up->req = NULL;
    SL_ASSERT(upstream->used > 0);
    upstream->used--;
    if (upstream->waiting > 0) {
        sl_work_mark(up->worker, &upstream->work);
    }
}

static void up_close(struct sl_upstream_conn *up) {
    SL_ASSERT(up->state != SL_UP_CLOSING);
    if (up->state == SL_UP_IDLE) {
        unlink_idle(up);
    } else if (up->upstream) {
        unuse(up);
    }
    up->state = SL_UP_CLOSING;
    sl_work_unmark(&up->work);
    sl_timer_cancel(&up->worker->timers, &up->timer);
    // Half a request is nothing that the kernel should go on sending to a peer that may not read, and half a tunnel no proper end.
    bool cut = up->out.count > 0 || (up->tunnel && !(up->half_closed && up->answered));
    (up->connected && cut ? sl_io_abort : sl_io_close)(up->worker->io, up->io);
}

static void close_idle(struct sl_endpoint *endpoint) {
    while (endpoint->idle) {
        up_close(endpoint->idle);
    }
}

void sl_upstreams_drain(struct sl_worker *w) {
    for (struct sl_endpoint *endpoint = w->endpoints; endpoint; endpoint = endpoint->next) {
        close_idle(endpoint);
    }
}

// Endpoints and upstreams.

static struct sl_endpoint *endpoint_get(struct sl_worker *w, const struct sl_plan_upstream *row) {
    struct sl_endpoint *endpoint = w->endpoints;
    while (endpoint && !(endpoint->family == row->family && endpoint->port == row->port &&
                         memcmp(endpoint->addr, row->addr, 16) == 0)) {
        endpoint = endpoint->next;
    }
    if (!endpoint) {
        endpoint = calloc(1, sizeof(*endpoint));
        if (!endpoint) {
            return NULL;
        }
        endpoint->family = row->family;
        endpoint->port = row->port;
        memcpy(endpoint->addr, row->addr, 16);
        endpoint->next = w->endpoints;
        w->endpoints = endpoint;
    }
    endpoint->upstreams++;
    return endpoint;
}

static void endpoint_release(struct sl_worker *w, struct sl_endpoint *endpoint) {
    if (--endpoint->upstreams > 0) {
        return;
    }
    close_idle(endpoint);
    struct sl_endpoint **at = &w->endpoints;
    while (*at != endpoint) {
        at = &(*at)->next;
    }
    *at = endpoint->next;
    free(endpoint);
}

static void line_run(struct sl_work *work);
static void line_due(struct sl_timer *timer);

struct sl_upstream *sl_upstream_get(struct sl_worker *w, const struct sl_plan *plan,
                                    uint32_t index) {
    struct sl_plan_upstream row = plan->upstreams[index];
    char name[256] = "";
    memcpy(name, plan->blob + row.name_off, row.name_len);
    row.name_off = row.name_len = 0; // they belong to one blob
    struct sl_upstream *upstream = w->upstreams;
    while (upstream &&
           (memcmp(&upstream->row, &row, sizeof(row)) != 0 || strcmp(upstream->name, name) != 0)) {
        upstream = upstream->next;
    }
    if (upstream) {
        upstream->holds++;
        return upstream;
    }
    upstream = calloc(1, sizeof(*upstream));
    struct sl_endpoint *endpoint = upstream ? endpoint_get(w, &row) : NULL;
    if (!endpoint) {
        free(upstream);
        return NULL;
    }
    upstream->worker = w;
    upstream->endpoint = endpoint;
    upstream->row = row;
    memcpy(upstream->name, name, sizeof(name));
    upstream->holds = 1;
    sl_work_init(&upstream->work, line_run);
    sl_timer_init(&upstream->timer, line_due);
    upstream->next = w->upstreams;
    pthread_mutex_lock(&w->gateway->lock);
    w->upstreams = upstream;
    pthread_mutex_unlock(&w->gateway->lock);
    return upstream;
}

void sl_upstream_release(struct sl_upstream *upstream) {
    struct sl_worker *w = upstream->worker;
    if (--upstream->holds > 0) {
        return;
    }
    SL_ASSERT(upstream->used == 0 && upstream->waiting == 0); // a request holds its plan
    sl_work_unmark(&upstream->work);
    sl_timer_cancel(&w->timers, &upstream->timer);
    struct sl_upstream **at = &w->upstreams;
    while (*at != upstream) {
        at = &(*at)->next;
    }
    pthread_mutex_lock(&w->gateway->lock);
    *at = upstream->next;
    pthread_mutex_unlock(&w->gateway->lock);
    endpoint_release(w, upstream->endpoint);
    free(upstream);
}

void sl_upstreams_publish(struct sl_worker *w) {
    for (struct sl_upstream *upstream = w->upstreams; upstream; upstream = upstream->next) {
        upstream->published = upstream->stats;
        upstream->published.active = upstream->used;
        upstream->published.waiting = upstream->waiting;
        upstream->published.idle = upstream->endpoint->idle_count;
    }
}

// "10.0.0.7:8080", "[::1]:8080": also the Host for a 1.0 client that sent none.
static const char *authority_of(const struct sl_endpoint *endpoint, char *out, size_t len) {
    char ip[46] = "";
    inet_ntop(endpoint->family == 4 ? AF_INET : AF_INET6, endpoint->addr, ip, sizeof(ip));
    snprintf(out, len, endpoint->family == 4 ? "%s:%u" : "[%s]:%u", ip, endpoint->port);
    return out;
}

size_t sl_upstream_text(const struct sl_upstream *upstream, char *out, size_t len) {
    char authority[64] = "unresolved";
    if (upstream->endpoint->family) {
        authority_of(upstream->endpoint, authority, sizeof(authority));
    }
    int n = snprintf(out, len, "%s[%s]", upstream->name, authority);
    return sl_min_size((size_t)n, len - 1);
}

// Deadlines.

static void arm(struct sl_upstream_conn *up, enum sl_upstream_due due, uint64_t wait_ns) {
    up->due = (uint8_t)due;
    sl_timer_set(&up->worker->timers, &up->timer, up->worker->now_ns + wait_ns);
}

static void arm_ms(struct sl_upstream_conn *up, enum sl_upstream_due due, uint32_t wait_ms) {
    arm(up, due, wait_ms * SL_NS_PER_MS);
}

static void disarm(struct sl_upstream_conn *up) {
    up->due = SL_UP_DUE_NONE;
    sl_timer_cancel(&up->worker->timers, &up->timer);
}

// Failing.

static bool idempotent(uint8_t method) {
    return method == SL_METHOD_GET || method == SL_METHOD_HEAD || method == SL_METHOD_PUT ||
           method == SL_METHOD_DELETE || method == SL_METHOD_OPTIONS || method == SL_METHOD_QUERY;
}

static void send_on_fresh(struct sl_request *req, struct sl_upstream *upstream);

// Once an answer has begun: a broken transfer, never a short body that looks whole. TypeScript that waits for the answer makes one itself.
static void fail_request(struct sl_request *req, int status) {
    if (req->exchange) {
        sl_exchange_proxy_failed(req->exchange, status);
    } else {
        sl_request_fail(req, status);
    }
}

static void fail(struct sl_upstream_conn *up, int status) {
    struct sl_request *req = up->req;
    struct sl_upstream *upstream = up->upstream;
    struct sl_worker *w = up->worker;
    bool again = up->reused && !up->received && idempotent(req->head.method) &&
                 req->body_bytes == 0 && status == SL_E_UPSTREAM_RESET;
    up_close(up);
    req->upstream = NULL;
    if (again) {
        w->counters.upstream_retries++;
        send_on_fresh(req, upstream);
        return;
    }
    w->counters.upstream_failures++;
    upstream->stats.failures++;
    fail_request(req, status);
}

// Sending the request.

static bool up_writable(const struct sl_upstream_conn *up) {
    return up->out.bytes < config_of(up)->high_watermark_bytes && sl_outq_room(&up->out) >= 8;
}

static bool write_head(struct sl_upstream_conn *up) {
    struct sl_request *req = up->req;
    const struct sl_head *h = &req->head;
    // Middleware may edit the handshake, but not make one of what the client did not mean so.
    bool may = !req->exchange || sl_exchange_may_upgrade(req->exchange);
    up->upgrade = may && sl_websocket_asked(h, req->head_data);
    char ip[46], host[64];
    size_t ip_len = sl_conn_client_ip(req->conn, ip);
    struct sl_forward_request forward = {
        .head = h,
        .data = req->head_data,
        .framing = h->body == SL_BODY_CHUNKED  ? SL_FRAMING_CHUNKED
                   : h->body == SL_BODY_LENGTH ? SL_FRAMING_LENGTH
                                               : SL_FRAMING_NONE,
        .content_length = h->content_length,
        .via = req->hold->plan->via,
        .client_ip = {(const uint8_t *)ip, ip_len},
        .tls = req->conn->tls != NULL,
        .expect_continue = req->continue_due,
        .early = req->conn->tls && sl_tls_in_early_data(req->conn->tls),
        .upgrade = up->upgrade,
        .underscores = req->hold->plan->header->flags & SL_PLAN_F_UNDERSCORES_PASS,
    };
    if (h->host_len == 0) { // it is printed, which costs
        forward.host = sl_span_of(authority_of(up->endpoint, host, sizeof(host)));
    }
    uint32_t room = h->len + h->host_len * 2 + 512;
    uint8_t *at = sl_outq_reserve(&up->out, &up->worker->bufs, room);
    if (!at) {
        return false;
    }
    size_t n = sl_http1_forward_request(at, room, &forward);
    SL_ASSERT(n > 0);
    sl_outq_commit(&up->out, (uint32_t)n);
    return true;
}

// A client that sends byte by byte must not hold a buffer for each byte that waits here.
static bool copy_body_piece(struct sl_upstream_conn *up, struct sl_span piece, bool chunked) {
    uint32_t extra = chunked ? SL_CHUNK_HEAD_MAX + 2 : 0;
    uint8_t *at = sl_outq_reserve(&up->out, &up->worker->bufs, (uint32_t)piece.len + extra);
    if (!at) {
        return false;
    }
    size_t n = chunked ? sl_chunk_write_head(at, piece.len) : 0;
    memcpy(at + n, piece.data, piece.len);
    n += piece.len;
    if (chunked) {
        memcpy(at + n, "\r\n", 2);
        n += 2;
    }
    sl_outq_commit(&up->out, (uint32_t)n);
    return true;
}

static bool write_body_piece(struct sl_upstream_conn *up, struct sl_span piece,
                             struct sl_buf *buf) {
    struct sl_outq *out = &up->out;
    struct sl_buf_pool *pool = &up->worker->bufs;
    uint8_t head[SL_CHUNK_HEAD_MAX];
    bool chunked = up->req->head.body == SL_BODY_CHUNKED;
    if (piece.len <= COPY_MAX) {
        return copy_body_piece(up, piece, chunked);
    }
    if (!chunked) {
        return sl_outq_push_buf(out, buf, piece.data, (uint32_t)piece.len);
    }
    return sl_outq_copy(out, pool, head, (uint32_t)sl_chunk_write_head(head, piece.len)) &&
           sl_outq_push_buf(out, buf, piece.data, (uint32_t)piece.len) &&
           sl_outq_push(out, (const uint8_t *)"\r\n", 2, NULL);
}

static void end_body(struct sl_upstream_conn *up) {
    up->request_done = true;
    if (up->req->head.body == SL_BODY_CHUNKED &&
        !sl_outq_copy(&up->out, &up->worker->bufs, "0\r\n\r\n", 5)) {
        fail(up, SL_E_NO_MEMORY);
    }
}

void sl_proxy_pump_request(struct sl_upstream_conn *up) {
    struct sl_request *req = up->req;
    struct sl_buf_pool *pool = &up->worker->bufs;
    int rc = SL_CHUNK_DATA;
    while (rc == SL_CHUNK_DATA && !up->request_done && up_writable(up)) {
        struct sl_span piece;
        struct sl_buf *buf;
        rc = sl_request_body_next(req, &piece, &buf, UINT32_MAX);
        if (rc == SL_CHUNK_DATA) {
            req->body_wanted = true; // it comes, whether 100 Continue was waited for or not
            bool ok = write_body_piece(up, piece, buf);
            sl_buf_unref(pool, buf);
            sl_work_mark(up->worker, &up->work);
            if (!ok) {
                fail(up, SL_E_NO_MEMORY);
                return;
            }
        }
    }
    if (rc == SL_CHUNK_DONE) {
        end_body(up);
        sl_work_mark(up->worker, &up->work);
    } else if (rc < 0) {
        req->conn->close_after = true;
        sl_proxy_detach(req); // the upstream sees a body cut short, and nothing that ends it
        sl_request_fail(req, rc);
    }
}

static void flush(struct sl_upstream_conn *up) {
    if (!up->connected || up->broken || up->out.count == 0 || up->out.in_flight > 0) {
        return;
    }
    struct msghdr *msg = sl_outq_gather(&up->out);
    if (up->reused && !up->flown) {
        sl_io_send_if_quiet(up->worker->io, up->io, msg);
    } else {
        sl_io_send(up->worker->io, up->io, msg);
    }
    up->flown = true;
}

// The answer.

static void pool(struct sl_upstream_conn *up, const struct sl_plan_upstream *row) {
    struct sl_endpoint *endpoint = up->endpoint;
    uint32_t good_ms = sl_min_u32(row->idle_timeout_ms, up->announced_ms);
    unuse(up);
    up->state = SL_UP_IDLE;
    up->next = endpoint->idle;
    endpoint->idle = up;
    endpoint->idle_count++;
    up->worker->counters.upstream_idle++;
    sl_io_recv(up->worker->io, up->io, SL_RECV_STREAM); // bytes or EOF discard it
    arm_ms(up, SL_UP_DUE_POOL, good_ms);
    up->good_until_ns = up->timer.due_ns;
}

static void pool_or_close(struct sl_upstream_conn *up) {
    const struct sl_plan_upstream *row = &up->upstream->row;
    bool clean = !up->broken && up->request_done && up->in.bytes == 0 && !up->in_ended &&
                 up->out.count == 0 && (up->head.flags & SL_HEAD_KEEP_ALIVE) &&
                 up->body != SL_BODY_UNTIL_CLOSE && up->announced_ms > 0;
    if (clean && !up->worker->draining && up->endpoint->idle_count < row->idle_max) {
        pool(up, row);
    } else {
        up_close(up);
    }
}

static void answer_done(struct sl_upstream_conn *up) {
    struct sl_request *req = up->req;
    if (up->tunnel) {
        up->answered = true;
        sl_request_end(req);
        return;
    }
    req->upstream = NULL;
    pool_or_close(up);
    sl_request_end(req);
}

static uint8_t framing_for_client(const struct sl_upstream_conn *up, uint64_t *out_length) {
    const struct sl_head *h = &up->head;
    *out_length = h->content_length;
    if (h->status == 101) {
        return SL_FRAMING_CLOSE;
    }
    if (h->body == SL_BODY_LENGTH) {
        return SL_FRAMING_LENGTH;
    }
    if (h->body == SL_BODY_NONE) {
        // An answer to HEAD and a 304 may name the length of what they stand for.
        return h->first[SL_H_CONTENT_LENGTH] ? SL_FRAMING_LENGTH : SL_FRAMING_NONE;
    }
    return SL_FRAMING_CHUNKED;
}

static struct sl_forward_response forwarded(const struct sl_upstream_conn *up,
                                            const uint8_t *data) {
    struct sl_forward_response forward = {
        .head = &up->head, .data = data, .via = up->req->hold->plan->via};
    forward.framing = framing_for_client(up, &forward.content_length);
    return forward;
}

static bool has_body(const struct sl_head *head) {
    return head->body == SL_BODY_LENGTH ? head->content_length > 0 : head->body != SL_BODY_NONE;
}

// The final head goes to the client, or to TypeScript, which then decides. False: the body is not to be read now.
static bool forward_head(struct sl_upstream_conn *up, const uint8_t *data) {
    struct sl_request *req = up->req;
    struct sl_forward_response forward = forwarded(up, data);
    if (!req->exchange) {
        return sl_request_respond_forward(req, &forward);
    }
    up->held = true;
    sl_exchange_answer(req->exchange, &forward, !has_body(&up->head));
    return false;
}

// 1xx: 100 is passed to who asked for it, others to HTTP/1.1 clients. False: the request is gone.
static bool interim(struct sl_upstream_conn *up, const uint8_t *data) {
    struct sl_request *req = up->req;
    if (up->head.status == 101 || ++up->interims > INTERIMS_MAX) {
        fail(up, SL_E_UPSTREAM_BAD); // nobody asked for this upgrade, nor for 1xx without end
        return false;
    }
    if (up->head.status == 100) {
        req->body_wanted = true;
        req->conn->active_ns = up->worker->now_ns;
        sl_request_continue(req);
    } else if (req->head.version > 0 && sl_conn_writable(req->conn)) {
        sl_request_respond_forward(req, &(struct sl_forward_response){.head = &up->head,
                                                                      .data = data,
                                                                      .via = req->hold->plan->via});
    }
    return up->req != NULL && up->state == SL_UP_ACTIVE;
}

// Keep-Alive: timeout=5, max=100. Four fifths of it: what is on its way when the peer closes is lost.
static uint32_t announced_ms(const struct sl_head *head, const uint8_t *data) {
    const struct sl_field *field = sl_head_field(head, SL_H_KEEP_ALIVE);
    uint64_t seconds = 0;
    if (!field) {
        return UINT32_MAX;
    }
    const char *at = (const char *)data + field->value_off, *end = at + field->value_len;
    while (at < end && (end - at < 8 || strncasecmp(at, "timeout=", 8) != 0)) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        at = comma ? comma + 1 : end;
        while (at < end && (*at == ' ' || *at == '\t')) {
            at++;
        }
    }
    if (at >= end || end - at < 9 || at[8] < '0' || at[8] > '9') {
        return UINT32_MAX; // says nothing of time
    }
    for (at += 8; at < end && *at >= '0' && *at <= '9'; at++) {
        seconds = sl_min_u64(seconds * 10 + (uint64_t)(*at - '0'), 1000000);
    }
    return (uint32_t)(seconds * 800);
}

static void begin_body(struct sl_upstream_conn *up) {
    sl_inq_consume(&up->in, &up->worker->bufs, up->head.skipped + up->head.len);
    up->head_done = true;
    up->held = false;
    up->body = up->head.body;
    up->body_left = up->head.content_length;
    if (up->body == SL_BODY_LENGTH && up->body_left == 0) {
        up->body = SL_BODY_NONE;
    }
    sl_chunk_init(&up->chunk);
    up->tunnel = up->head.status == 101;
    if (up->tunnel) {
        up->body = SL_BODY_UNTIL_CLOSE;
        up->request_done = false;
    }
}

static bool becomes_tunnel(const struct sl_upstream_conn *up, const uint8_t *data) {
    const struct sl_request *req = up->req;
    return up->upgrade && sl_websocket_accepted(&req->head, req->head_data, &up->head, data);
}

// Reads heads until a final one. True: the body may be read.
static bool read_head(struct sl_upstream_conn *up) {
    const struct sl_head_limits limits = {16384, 8192, SL_FIELDS_MAX};
    while (up->in.bytes > 0) {
        struct sl_buf *buf = up->in.first;
        uint32_t at = buf->pos;
        int rc = sl_http1_parse_response(&up->head, buf->data + at, buf->end - at, &limits,
                                         up->req->head.method);
        if (rc < 0) {
            fail(up, SL_E_UPSTREAM_BAD);
            return false;
        }
        if (rc == 0) {
            if (!buf->next) {
                return false;
            }
            if (!sl_inq_linearize(&up->in, &up->worker->bufs)) {
                fail(up, SL_E_NO_MEMORY);
                return false;
            }
            continue;
        }
        const uint8_t *data = buf->data + at + up->head.skipped;
        bool final = up->head.status >= 200 || becomes_tunnel(up, data);
        up->announced_ms = announced_ms(&up->head, data);
        if (!(final ? forward_head(up, data) : interim(up, data))) {
            return false;
        }
        if (final) {
            begin_body(up);
            return true;
        }
        sl_inq_consume(&up->in, &up->worker->bufs, up->head.skipped + up->head.len);
        up->head.scanned = up->head.skipped = 0;
    }
    return false;
}

// The next piece of the answer's body, at most `max` bytes: as sl_request_body_next.
static int body_next(struct sl_upstream_conn *up, struct sl_span *out_data, size_t max) {
    struct sl_span front = sl_inq_front(&up->in);
    size_t consumed = 0;
    front.len = sl_min_size(front.len, max);
    if (up->body == SL_BODY_CHUNKED) {
        int rc = sl_chunk_decode(&up->chunk, front.data, front.len, &consumed, out_data);
        if (consumed > 0) {
            sl_inq_consume(&up->in, &up->worker->bufs, (uint32_t)consumed);
        }
        return rc;
    }
    size_t n =
        up->body == SL_BODY_LENGTH ? (size_t)sl_min_u64(front.len, up->body_left) : front.len;
    *out_data = (struct sl_span){front.data, n};
    up->body_left -= up->body == SL_BODY_LENGTH ? n : 0;
    sl_inq_consume(&up->in, &up->worker->bufs, (uint32_t)n);
    return SL_CHUNK_DATA;
}

static bool body_whole(const struct sl_upstream_conn *up, int rc) {
    return up->body == SL_BODY_NONE || (up->body == SL_BODY_LENGTH && up->body_left == 0) ||
           (up->body == SL_BODY_CHUNKED && rc == SL_CHUNK_DONE) ||
           (up->body == SL_BODY_UNTIL_CLOSE && up->in_ended && !up->error && up->in.bytes == 0);
}

// True: all that is here was passed on, more may come.
static bool pump_body(struct sl_upstream_conn *up) {
    struct sl_request *req = up->req;
    int rc = SL_CHUNK_PARTIAL;
    while (!body_whole(up, rc) && up->in.bytes > 0 && sl_conn_writable(req->conn)) {
        struct sl_buf *buf = up->in.first;
        struct sl_span piece = {NULL, 0};
        sl_buf_ref(buf);
        rc = body_next(up, &piece, SIZE_MAX);
        bool alive = rc != SL_CHUNK_DATA ||
                     sl_request_write(req, piece.data, (uint32_t)piece.len, buf, NULL);
        sl_buf_unref(&up->worker->bufs, buf);
        if (!alive) {
            return false; // the client's connection was cut, and we with it
        }
        if (rc < 0) {
            fail(up, SL_E_UPSTREAM_BAD_BODY);
            return false;
        }
    }
    if (body_whole(up, rc)) {
        answer_done(up);
        return false;
    }
    return true;
}

// Copies to the ring what is here and fits. False: the body is malformed, and the request has heard so.
static bool copy_to_ring(struct sl_upstream_conn *up, uint8_t *rx, uint32_t *out_len,
                         bool *out_whole) {
    int rc = SL_CHUNK_PARTIAL;
    uint32_t n = 0;
    while (!body_whole(up, rc) && up->in.bytes > 0 && n < SL_SLOT_RX_BYTES) {
        struct sl_buf *buf = up->in.first;
        struct sl_span piece = {NULL, 0};
        sl_buf_ref(buf);
        rc = body_next(up, &piece, SL_SLOT_RX_BYTES - n);
        if (rc == SL_CHUNK_DATA) {
            memcpy(rx + n, piece.data, piece.len);
            n += (uint32_t)piece.len;
        }
        sl_buf_unref(&up->worker->bufs, buf);
        if (rc < 0) {
            fail(up, SL_E_UPSTREAM_BAD_BODY);
            return false;
        }
    }
    *out_len = n;
    *out_whole = body_whole(up, rc);
    return true;
}

static void pump_to_ring(struct sl_upstream_conn *up) {
    struct sl_exchange *ex = up->req->exchange;
    uint8_t *rx = sl_exchange_rx(ex);
    uint32_t n;
    bool whole;
    if (!rx || !copy_to_ring(up, rx, &n, &whole)) {
        return;
    }
    if (n > 0 || whole) {
        sl_exchange_answer_part(ex, n, whole);
    }
    if (whole) {
        up->req->upstream = NULL;
        pool_or_close(up);
    } else if (n == 0 && up->in_ended && up->in.bytes == 0) {
        fail(up, SL_E_UPSTREAM_CUT);
    }
}

static void pump_answer(struct sl_upstream_conn *up) {
    if (up->held) {
        return;
    }
    if (!up->head_done && !read_head(up)) {
        bool waits = up->state == SL_UP_ACTIVE && up->req && !up->head_done && !up->held;
        if (waits && up->in_ended) {
            fail(up, SL_E_UPSTREAM_RESET);
        }
        return;
    }
    if (up->to_ring) {
        pump_to_ring(up);
        return;
    }
    if (!up->answered && pump_body(up) && up->in_ended && up->in.bytes == 0) {
        fail(up, SL_E_UPSTREAM_CUT);
    }
}

// Whoever gets the answer's body takes more of it.
static bool takes_more(const struct sl_upstream_conn *up) {
    return up->to_ring ? sl_exchange_rx(up->req->exchange) != NULL
                       : sl_conn_writable(up->req->conn);
}

static enum sl_recv_want wanted(const struct sl_upstream_conn *up) {
    if (up->held || up->in_ended) {
        return SL_RECV_OFF;
    }
    if (!up->head_done) {
        return SL_RECV_STREAM; // the parser's limit ends a head that is too large
    }
    bool small =
        up->body == SL_BODY_LENGTH ? up->body_left <= SMALL_BODY : up->req->out_bytes < SMALL_BODY;
    bool room = takes_more(up) && up->in.bytes == 0;
    return !room ? SL_RECV_OFF : small ? SL_RECV_STREAM : SL_RECV_ONCE;
}

// The clock runs while we wait for the upstream (for 100 Continue, too), not while a client keeps us waiting.
static void choose_deadline(struct sl_upstream_conn *up, enum sl_recv_want want) {
    const struct sl_plan_upstream *row = &up->upstream->row;
    if (up->out.in_flight > 0) {
        if (up->due != SL_UP_DUE_SEND) {
            arm(up, SL_UP_DUE_SEND, sl_stall_begin(&up->stall, row->idle_timeout_ms));
        }
    } else if (up->tunnel) {
        bool half = up->half_closed || up->answered; // whoever has heard of it has little to add
        arm_ms(up, SL_UP_DUE_TUNNEL,
               half ? sl_min_u32(row->idle_timeout_ms, row->tunnel_idle_timeout_ms)
                    : row->tunnel_idle_timeout_ms);
    } else if (!up->request_done && up->req->body_wanted) {
        disarm(up);
    } else if (!up->head_done && !up->held) {
        if (up->due != SL_UP_DUE_HEAD) { // once: a trickle of head bytes does not move it
            arm_ms(up, SL_UP_DUE_HEAD, row->head_timeout_ms);
        }
    } else if (want == SL_RECV_OFF) {
        disarm(up);
    } else {
        arm_ms(up, SL_UP_DUE_BODY, row->idle_timeout_ms);
    }
}

static void settle(struct sl_upstream_conn *up) {
    if (up->in_ended && !up->tunnel) { // what is left waits for the client alone
        disarm(up);
        return;
    }
    enum sl_recv_want want = wanted(up);
    sl_io_recv(up->worker->io, up->io, want);
    choose_deadline(up, want);
}

// True: both halves of a tunnel have ended, and with them the connection.
static bool end_halves(struct sl_upstream_conn *up) {
    struct sl_request *req = up->req;
    if (up->request_done && !up->half_closed && !up->broken && up->out.count == 0) {
        up->half_closed = true;
        sl_io_shutdown(up->worker->io, up->io, SHUT_WR);
    }
    if (!up->half_closed || !up->answered) {
        return false;
    }
    req->upstream = NULL;
    up_close(up);
    sl_conn_mark(req->conn);
    return true;
}

static void run(struct sl_work *work) {
    struct sl_upstream_conn *up = (struct sl_upstream_conn *)work;
    if (up->state != SL_UP_ACTIVE || !up->req) {
        return;
    }
    if (!up->request_done) {
        sl_proxy_pump_request(up);
    }
    if (up->state == SL_UP_ACTIVE && up->req) {
        pump_answer(up);
    }
    if (up->state != SL_UP_ACTIVE || !up->req) {
        return;
    }
    flush(up);
    if (!up->tunnel || !end_halves(up)) {
        settle(up);
    }
}

// Callbacks.

static void on_data(struct sl_io_conn *io_conn, void *owner, struct sl_buf *buf, uint32_t len) {
    struct sl_upstream_conn *up = owner;
    (void)io_conn;
    if (!up->req) { // bytes that nobody asked for could be taken for the answer to the next request
        sl_buf_unref(&up->worker->bufs, buf);
        up->worker->counters.upstream_discards++;
        up_close(up);
        return;
    }
    if (!up->received) {
        SL_PROBE(first_byte, up->worker->index, up, len);
    }
    up->received = true;
    sl_inq_push(&up->in, &up->worker->bufs, buf, 0, len);
    sl_work_mark(up->worker, &up->work);
}

static void on_end(struct sl_io_conn *io_conn, void *owner, int error) {
    struct sl_upstream_conn *up = owner;
    (void)io_conn;
    up->in_ended = true;
    up->error = error;
    if (up->req) {
        sl_work_mark(up->worker, &up->work);
        return;
    }
    up->worker->counters.upstream_discards++;
    up_close(up);
}

static void send_elsewhere(struct sl_upstream_conn *up);

static void on_sent(struct sl_io_conn *io_conn, void *owner, int64_t result) {
    struct sl_upstream_conn *up = owner;
    (void)io_conn;
    if (result == -ECANCELED) {
        send_elsewhere(up);
        return;
    }
    sl_outq_sent(&up->out, &up->worker->bufs);
    up->due = SL_UP_DUE_NONE; // the next send has its own time
    if (result < 0) {
        // An answer may be on its way all the same (an early refusal of a body): what is received is read to its end first.
        up->error = (int)result;
        up->request_done = true;
        up->broken = true;
    }
    sl_conn_mark(up->req->conn);
    sl_work_mark(up->worker, &up->work);
}

static void on_connect(struct sl_io_conn *io_conn, void *owner, int error) {
    struct sl_upstream_conn *up = owner;
    (void)io_conn;
    if (error) {
        fail(up, error == -ETIMEDOUT ? SL_E_UPSTREAM_CONNECT_TIMEOUT : SL_E_UPSTREAM_REFUSED);
        return;
    }
    up->connected = true;
    up->state = SL_UP_ACTIVE;
    sl_work_mark(up->worker, &up->work);
}

static void on_closed(void *owner) {
    struct sl_upstream_conn *up = owner;
    struct sl_worker *w = up->worker;
    up->out.in_flight = 0;
    sl_outq_clear(&up->out, &w->bufs);
    sl_inq_clear(&up->in, &w->bufs);
    w->counters.upstream_live--;
    sl_slab_give(&w->upstream_conns, up);
}

static void send_due(struct sl_upstream_conn *up) {
    uint32_t limit_ms = up->upstream->row.idle_timeout_ms;
    if (sl_stall_moves(&up->stall, up->worker, up->io, limit_ms)) {
        arm_ms(up, SL_UP_DUE_SEND, limit_ms);
    } else {
        fail(up, SL_E_UPSTREAM_STALLED);
    }
}

static void on_timer(struct sl_timer *timer) {
    struct sl_upstream_conn *up = SL_CONTAINER_OF(timer, struct sl_upstream_conn, timer);
    switch (up->due) {
    case SL_UP_DUE_CONNECT:
        fail(up, SL_E_UPSTREAM_CONNECT_TIMEOUT);
        return;
    case SL_UP_DUE_SEND:
        send_due(up);
        return;
    case SL_UP_DUE_HEAD:
        fail(up, SL_E_UPSTREAM_TIMEOUT);
        return;
    case SL_UP_DUE_BODY:
        fail(up, SL_E_UPSTREAM_IDLE_TIMEOUT);
        return;
    case SL_UP_DUE_TUNNEL:
        sl_conn_close(up->req->conn, SL_E_IDLE_TIMEOUT);
        return;
    case SL_UP_DUE_POOL:
        up_close(up);
        return;
    default:
        return; // a send has just ended: the turn's work sets what is next
    }
}

static const struct sl_io_handler handler = {.on_data = on_data,
                                             .on_end = on_end,
                                             .on_sent = on_sent,
                                             .on_connect = on_connect,
                                             .on_closed = on_closed};

// Taking a connection.

static socklen_t address_of(const struct sl_endpoint *endpoint, struct sockaddr_storage *out) {
    memset(out, 0, sizeof(*out));
    if (endpoint->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(endpoint->port);
        memcpy(&in->sin_addr, endpoint->addr, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(endpoint->port);
    memcpy(&in6->sin6_addr, endpoint->addr, 16);
    return sizeof(*in6);
}

static struct sl_upstream_conn *connect_new(struct sl_worker *w, struct sl_upstream *upstream) {
    struct sl_upstream_conn *up = sl_slab_take(&w->upstream_conns);
    if (!up) {
        return NULL;
    }
    memset(up, 0, offsetof(struct sl_upstream_conn, head));
    struct sockaddr_storage addr;
    socklen_t len = address_of(upstream->endpoint, &addr);
    up->worker = w;
    up->endpoint = upstream->endpoint;
    up->io = sl_io_connect(w->io, (struct sockaddr *)&addr, len, &handler, up);
    if (!up->io) {
        sl_slab_give(&w->upstream_conns, up);
        return NULL;
    }
    sl_work_init(&up->work, run);
    sl_timer_init(&up->timer, on_timer);
    sl_outq_init(&up->out);
    w->counters.upstream_live++;
    w->counters.upstream_connects++;
    SL_PROBE(upstream_connect, w->index, up, upstream);
    upstream->stats.connects++;
    arm_ms(up, SL_UP_DUE_CONNECT, upstream->row.connect_timeout_ms);
    return up;
}

static void carry(struct sl_upstream_conn *up, struct sl_upstream *upstream,
                  struct sl_request *req) {
    upstream->used++;
    up->upstream = upstream;
    up->req = req;
    req->upstream = up;
    up->head.scanned = up->head.skipped = 0;
    up->head_done = up->received = up->broken = up->flown = false;
    up->held = up->to_ring = false;
    up->tunnel = up->half_closed = up->answered = false;
    up->interims = 0;
    up->error = 0;
    sl_work_mark(up->worker, &up->work);
}

static void begin_exchange(struct sl_upstream_conn *up, struct sl_upstream *upstream,
                           struct sl_request *req) {
    carry(up, upstream, req);
    up->request_done = req->body_done;
    req->body_wanted = !req->continue_due;
    if (!write_head(up)) {
        fail(up, SL_E_NO_MEMORY);
    }
}

static void send_on_fresh(struct sl_request *req, struct sl_upstream *upstream) {
    struct sl_upstream_conn *up = connect_new(req->conn->worker, upstream);
    if (!up) {
        fail_request(req, SL_E_UPSTREAM_FULL);
        return;
    }
    begin_exchange(up, upstream, req);
}

// The pooled connection had died, or said something that nobody asked for, before a byte was sent: all that was to be sent goes to a fresh one.
static void send_elsewhere(struct sl_upstream_conn *up) {
    struct sl_upstream *upstream = up->upstream;
    struct sl_request *req = up->req;
    struct sl_worker *w = up->worker;
    struct sl_upstream_conn *fresh = connect_new(w, upstream);
    w->counters.upstream_discards++;
    if (!fresh) {
        fail(up, SL_E_UPSTREAM_FULL);
        return;
    }
    fresh->out = up->out;
    fresh->out.in_flight = 0;
    fresh->request_done = up->request_done;
    fresh->upgrade = up->upgrade;
    sl_outq_init(&up->out);
    up_close(up);
    carry(fresh, upstream, req);
}

static struct sl_upstream_conn *take_idle(struct sl_worker *w, struct sl_endpoint *endpoint) {
    while (endpoint->idle) {
        struct sl_upstream_conn *up = endpoint->idle;
        if (w->now_ns >= up->good_until_ns) {
            up_close(up);
            continue;
        }
        unlink_idle(up);
        up->state = SL_UP_ACTIVE;
        up->reused = true;
        disarm(up);
        return up;
    }
    return NULL;
}

static void start(struct sl_request *req, struct sl_upstream *upstream) {
    struct sl_worker *w = req->conn->worker;
    struct sl_upstream_conn *up = take_idle(w, upstream->endpoint);
    if (up) {
        w->counters.upstream_reuses++;
        upstream->stats.reuses++;
        begin_exchange(up, upstream, req);
    } else {
        send_on_fresh(req, upstream);
    }
}

// The line of requests that wait for a connection. All wait equally long, so the first in line is the first whose time is over.

static void line_leave(struct sl_request *req) {
    struct sl_upstream *upstream = req->proxied;
    *(req->line_prev ? &req->line_prev->line_next : &upstream->first) = req->line_next;
    *(req->line_next ? &req->line_next->line_prev : &upstream->last) = req->line_prev;
    req->line_prev = req->line_next = NULL;
    req->in_line = false;
    upstream->waiting--;
    upstream->worker->counters.upstream_waiting--;
    if (upstream->waiting == 0) {
        sl_timer_cancel(&upstream->worker->timers, &upstream->timer);
    }
}

static void line_enter(struct sl_request *req, struct sl_upstream *upstream) {
    struct sl_worker *w = upstream->worker;
    if (upstream->waiting >= SL_UPSTREAM_WAITING_MAX) {
        fail_request(req, SL_E_UPSTREAM_FULL);
        return;
    }
    req->line_until_ns = w->now_ns + upstream->row.connect_timeout_ms * SL_NS_PER_MS;
    req->line_prev = upstream->last;
    *(upstream->last ? &upstream->last->line_next : &upstream->first) = req;
    upstream->last = req;
    req->in_line = true;
    w->counters.upstream_waits++;
    w->counters.upstream_waiting++;
    if (upstream->waiting++ == 0) {
        sl_timer_set(&w->timers, &upstream->timer, req->line_until_ns);
    }
}

static void line_run(struct sl_work *work) {
    struct sl_upstream *upstream = (struct sl_upstream *)work;
    while (upstream->first && upstream->used < upstream->row.conns_max) {
        struct sl_request *req = upstream->first;
        line_leave(req);
        start(req, upstream);
    }
}

static void line_due(struct sl_timer *timer) {
    struct sl_upstream *upstream = SL_CONTAINER_OF(timer, struct sl_upstream, timer);
    struct sl_worker *w = upstream->worker;
    while (upstream->first && upstream->first->line_until_ns <= w->now_ns) {
        struct sl_request *req = upstream->first;
        line_leave(req);
        fail_request(req, SL_E_UPSTREAM_FULL);
    }
    if (upstream->first) {
        sl_timer_set(&w->timers, timer, upstream->first->line_until_ns);
    }
}

void sl_proxy_start(struct sl_request *req, struct sl_upstream *upstream) {
    req->proxied = upstream;
    if (sl_http1_via_has(&req->head, req->head_data, req->hold->plan->via)) {
        fail_request(req, SL_E_LOOP);
    } else if (upstream->row.family == 0) {
        fail_request(req, SL_E_UPSTREAM_FULL);
    } else if (upstream->waiting > 0 || upstream->used >= upstream->row.conns_max) {
        line_enter(req, upstream);
    } else {
        start(req, upstream);
    }
}

void sl_proxy_detach(struct sl_request *req) {
    if (req->in_line) {
        line_leave(req);
    }
    if (req->upstream) {
        struct sl_upstream_conn *up = req->upstream;
        req->upstream = NULL;
        up->worker->counters.upstream_aborts++;
        up_close(up);
    }
}

// For TypeScript.

bool sl_proxy_is_held(const struct sl_request *req) { return req->upstream && req->upstream->held; }

bool sl_proxy_is_switch(const struct sl_request *req) {
    return sl_proxy_is_held(req) && req->upstream->head.status == 101;
}

bool sl_proxy_is_read(const struct sl_request *req) {
    return req->upstream && req->upstream->to_ring;
}

void sl_proxy_forward(struct sl_request *req, struct sl_response_head *response) {
    struct sl_upstream_conn *up = req->upstream;
    struct sl_buf *buf = up->in.first;
    struct sl_forward_response forward = forwarded(up, buf->data + buf->pos + up->head.skipped);
    bool alive;
    if (response) {
        bool bodiless = response->status == 204 || response->status == 304;
        response->content_length = forward.content_length;
        response->framing =
            bodiless && has_body(&up->head) ? (uint8_t)SL_FRAMING_NONE : forward.framing;
        alive = sl_request_respond(req, response);
    } else {
        alive = sl_request_respond_forward(req, &forward);
    }
    if (alive) {
        begin_body(up);
        sl_work_mark(up->worker, &up->work);
    }
}

void sl_proxy_read(struct sl_request *req) {
    struct sl_upstream_conn *up = req->upstream;
    if (!up || !(up->held || up->to_ring) || sl_proxy_is_switch(req)) {
        return; // it has failed, or TypeScript has all of it, or it is a tunnel, which nobody reads
    }
    if (up->held) {
        begin_body(up);
        up->to_ring = true;
    }
    sl_work_mark(up->worker, &up->work);
}
