#include <stdio.h>

#include "conn.h"
#include "exchange.h"
#include "gateway.h"
#include "policy.h"
#include "probes.h"
#include "route.h"
#include "upstream.h"

struct sl_span sl_request_span(const struct sl_request *req, uint32_t off, uint32_t len) {
    return (struct sl_span){req->head_data + off, len};
}

struct sl_request *sl_request_new(struct sl_conn *conn) {
    struct sl_worker *w = conn->worker;
    struct sl_request *req = sl_slab_take(&w->requests);
    if (!req) {
        return NULL;
    }
    memset(req, 0, offsetof(struct sl_request, head));
    memset(&req->head, 0, offsetof(struct sl_head, first));
    req->request_runs.count = req->response_runs.count = 0;
    req->head.version = 1; // a refusal before the version is known
    req->conn = conn;
    req->start_ns = w->now_ns;
    req->start_unix_us = w->unix_us;
    w->counters.requests_live++;
    return req;
}

static void half_remove(struct sl_request *req) {
    struct sl_half_heads *list = req->half;
    if (!list) {
        return;
    }
    *(req->older ? &req->older->newer : &list->first) = req->newer;
    *(req->newer ? &req->newer->older : &list->last) = req->older;
    list->count--;
    req->half = NULL;
}

void sl_request_half(struct sl_request *req, bool large) {
    struct sl_half_heads *list = &req->conn->worker->half_heads[large];
    if (req->half == list) {
        return;
    }
    half_remove(req);
    req->half = list;
    req->older = list->last;
    req->newer = NULL;
    *(list->last ? &list->last->newer : &list->first) = req;
    list->last = req;
    if (++list->count > list->max) {
        sl_request_refuse(list->first, SL_E_SHED_HEADS);
    }
}

static void request_free(struct sl_request *req) {
    struct sl_worker *w = req->conn->worker;
    half_remove(req);
    sl_buf_unref(&w->bufs, req->head_buf);
    if (req->policies_held) {
        sl_policies_leave(req);
    }
    if (req->hold) {
        sl_plan_hold_unref(w, req->hold);
    }
    w->counters.requests_live--;
    w->counters.upgrades_live -= req->upgraded;
    req->conn->req = NULL;
    sl_slab_give(&w->requests, req);
}

static uint32_t log_text(struct sl_log_record *record, uint32_t at, struct sl_span text) {
    uint32_t n = (uint32_t)sl_min_size(text.len, SL_LOG_TARGET_MAX - at);
    memcpy(record->text + at, text.data, n);
    return n;
}

static void log_head(struct sl_log_record *record, const struct sl_request *req) {
    const struct sl_head *h = &req->head;
    const struct sl_asked *asked = &req->asked;
    struct sl_span method = sl_request_span(req, 0, h->method_len);
    struct sl_span host = sl_request_span(req, h->host_off, h->host_len);
    struct sl_span target = sl_request_span(req, h->target_off, h->target_len);
    if (asked->data) {
        method = (struct sl_span){asked->data, asked->method_len};
        host = (struct sl_span){asked->data + method.len, asked->host_len};
        target = (struct sl_span){asked->data + method.len + host.len, asked->target_len};
    }
    uint32_t at = log_text(record, 0, method);
    record->version = h->version;
    record->method_len = (uint8_t)at;
    host.len = sl_min_size(host.len, 255);
    record->host_len = (uint8_t)log_text(record, at, host);
    at += record->host_len;
    if (req->proxied && sl_status_info(req->reason)->source == SL_SOURCE_UPSTREAM) {
        char text[128];
        size_t len = sl_upstream_text(req->proxied, text, sizeof(text));
        record->upstream_len =
            (uint8_t)log_text(record, at, (struct sl_span){(const uint8_t *)text, len});
        at += record->upstream_len;
    }
    record->target_len = (uint16_t)log_text(record, at, target);
}

static void write_log(const struct sl_request *req) {
    struct sl_conn *conn = req->conn;
    struct sl_worker *w = conn->worker;
    if (!w->gateway->log) {
        return;
    }
    struct sl_log_record *record = sl_log_begin(w->gateway->log, w->index);
    if (!record) {
        w->counters.log_dropped++;
        return;
    }
    record->unix_us = req->start_unix_us;
    // The turn's clock would say 0 for what begins and ends in one turn.
    const struct sl_sys *sys = w->gateway->sys;
    record->duration_us = (sys->now_ns(sys) - req->start_ns) / 1000;
    record->bytes_in = req->body_bytes;
    record->bytes_out = req->out_bytes;
    memcpy(record->remote_addr, conn->remote_addr, 16);
    record->remote_port = conn->remote_port;
    record->remote_family = conn->remote_family;
    record->status = req->status;
    record->handled_by = req->handled_by;
    record->tls = conn->tls != NULL;
    record->reason = req->reason;
    record->version = 1;
    record->method_len = record->host_len = record->upstream_len = record->why_len = 0;
    record->target_len = 0;
    if (req->head_done) {
        log_head(record, req);
    }
    sl_log_commit(w->gateway->log, w->index);
}

void sl_request_finish(struct sl_request *req) {
    struct sl_worker *w = req->conn->worker;
    w->counters.responses++;
    SL_PROBE(response_sent, w->index, req, req->reason);
    if (req->exchange) {
        bool reading = req->body_wanted && !req->body_done;
        req->exchange->req = NULL;
        if (reading) {
            sl_exchange_abort(req->exchange, SL_E_CLIENT_CLOSED, true);
        }
        req->exchange = NULL;
    }
    SL_ASSERT(!req->upstream);
    write_log(req);
    request_free(req);
}

void sl_request_detach(struct sl_request *req, int reason) {
    if (!req->reason) {
        req->reason = reason;
    }
    if (req->exchange) {
        sl_exchange_abort(req->exchange, reason, true);
        req->exchange = NULL;
    }
    sl_proxy_detach(req);
    if (req->head_done || req->status) {
        write_log(req);
    }
    request_free(req);
}

// Another head.

static uint32_t put_span(uint8_t *at, struct sl_span span) {
    memcpy(at, span.data, span.len);
    return (uint32_t)span.len;
}

// What the client asked for moves behind the new head, for the log.
static void keep_asked(struct sl_request *req, uint8_t *at) {
    const struct sl_head *h = &req->head;
    struct sl_asked asked = {at, h->method_len, h->host_len, h->target_len};
    if (req->asked.data) {
        return;
    }
    at += put_span(at, sl_request_span(req, 0, h->method_len));
    at += put_span(at, sl_request_span(req, h->host_off, h->host_len));
    put_span(at, sl_request_span(req, h->target_off, h->target_len));
    req->asked = asked;
}

static bool may_replace(const struct sl_head *fresh, const struct sl_head *old) {
    return fresh->form == SL_TARGET_ORIGIN && fresh->body == SL_BODY_NONE &&
           (fresh->method == SL_METHOD_HEAD) == (old->method == SL_METHOD_HEAD) &&
           fresh->method != SL_METHOD_TRACE;
}

static void mark_ours(struct sl_head *head, uint32_t ours) {
    for (uint32_t i = head->field_count - sl_min_u32(ours, head->field_count);
         i < head->field_count; i++) {
        head->fields[i].flags |= SL_FIELD_OURS;
    }
}

// The bytes are the isolate's until they are copied.
bool sl_request_rewrite(struct sl_request *req, struct sl_span head, uint32_t ours) {
    const struct sl_head_limits limits = {16384, 16384, SL_FIELDS_MAX};
    struct sl_buf_pool *pool = &req->conn->worker->bufs;
    struct sl_head *old = &req->head, fresh;
    size_t size = head.len + old->method_len + old->host_len + old->target_len;
    struct sl_buf *buf = sl_buf_take(pool, size <= SL_BUF_PAGE_BYTES ? SL_BUF_PAGE : SL_BUF_OUT);
    if (!buf || size > buf->cap) {
        sl_buf_unref(pool, buf);
        return false;
    }
    put_span(buf->data, head);
    fresh.scanned = fresh.skipped = 0;
    int rc = sl_http1_parse_request(&fresh, buf->data, head.len, &limits);
    if (rc != 1 || fresh.len != head.len || !may_replace(&fresh, old)) {
        sl_buf_unref(pool, buf);
        return false;
    }
    keep_asked(req, buf->data + head.len);
    fresh.version = old->version;
    fresh.body = old->body;
    fresh.content_length = old->content_length;
    fresh.flags =
        (uint16_t)((fresh.flags & ~SL_HEAD_KEEP_ALIVE) | (old->flags & SL_HEAD_KEEP_ALIVE));
    mark_ours(&fresh, ours);
    *old = fresh;
    sl_buf_unref(pool, req->head_buf);
    req->head_buf = buf;
    req->head_data = buf->data;
    return true;
}

// Answers.

// Nobody reads the body, and more of it is coming than is read on for the next request's sake.
static bool too_much_unread(const struct sl_request *req) {
    return req->head.body == SL_BODY_LENGTH && !req->body_wanted &&
           req->body_left > SL_DISCARD_BYTES_MAX;
}

// A drain ends a connection with its next answer, but not before the requests that were pipelined behind it are answered: those had been sent
// before the client could know. One second, so that a client which goes on pipelining does not hold the drain.
static bool drain_ends(const struct sl_conn *conn) {
    const struct sl_worker *w = conn->worker;
    bool more = conn->in.bytes > 0 || conn->cipher.bytes > 0;
    return w->draining && (!more || w->now_ns - w->drain_started_ns > SL_NS_PER_S);
}

static bool must_close(const struct sl_request *req, const struct sl_conn *conn) {
    const struct sl_worker *w = conn->worker;
    return conn->close_after || drain_ends(conn) || !req->head_done ||
           !(req->head.flags & SL_HEAD_KEEP_ALIVE) || conn->served >= conn->served_max ||
           w->now_ns - conn->opened_ns > conn->age_max_ns || too_much_unread(req) ||
           (req->continue_due && !req->body_done); // the client may or may not send the body now
}

static void begin_answer(struct sl_request *req, uint16_t status, uint8_t framing, uint64_t length,
                         bool close) {
    req->status = status;
    req->out_framing = framing;
    req->out_left = length;
    req->bodiless = req->head.method == SL_METHOD_HEAD || status == 204 || status == 304;
    req->conn->close_after |= close;
    req->continue_due = false;
}

// What came behind the request's head waits in the connection's queue, and is the first of it.
static void begin_upgrade(struct sl_request *req) {
    struct sl_counters *counters = &req->conn->worker->counters;
    SL_ASSERT(req->body_done && !req->upgraded);
    req->upgraded = true;
    req->head.body = SL_BODY_UNTIL_CLOSE;
    req->body_done = false;
    req->body_wanted = true;
    counters->upgrades++;
    counters->upgrades_live++;
}

static uint8_t *reserve(struct sl_request *req, struct sl_outq **out_queue, uint32_t n) {
    struct sl_conn *conn = req->conn;
    struct sl_outq *out = sl_conn_out(conn);
    uint8_t *room = out ? sl_outq_reserve(out, &conn->worker->bufs, n) : NULL;
    if (!room) {
        sl_conn_abort(conn, SL_E_NO_MEMORY);
    }
    *out_queue = out;
    return room;
}

bool sl_request_respond(struct sl_request *req, struct sl_response_head *response) {
    struct sl_conn *conn = req->conn;
    struct sl_outq *out;
    if (response->framing == SL_FRAMING_CHUNKED && req->head_done && req->head.version == 0) {
        response->framing = SL_FRAMING_CLOSE;
    }
    bool upgrade = response->status == 101;
    bool close = upgrade || must_close(req, conn) || response->framing == SL_FRAMING_CLOSE;
    response->upgrade = upgrade || response->status == 426; // RFC 9110 section 15.5.22
    response->close = close && !upgrade;
    response->keep_alive_10 = !close && req->head.version == 0;
    response->date = &conn->worker->date;
    struct sl_edits edits;
    response->edits = sl_response_edits(req, &edits);
    uint32_t room = SL_RESPONSE_ROOM + (uint32_t)response->fields.len + req->chain.response_bytes;
    uint8_t *at = reserve(req, &out, room);
    if (!at) {
        return false;
    }
    size_t n = sl_http1_write_response(at, room, response);
    SL_ASSERT(n > 0);
    sl_outq_commit(out, (uint32_t)n);
    begin_answer(req, response->status, response->framing, response->content_length, close);
    if (upgrade) {
        begin_upgrade(req);
    }
    return true;
}

bool sl_request_respond_forward(struct sl_request *req, struct sl_forward_response *forward) {
    struct sl_conn *conn = req->conn;
    struct sl_outq *out;
    bool upgrade = forward->head->status == 101;
    bool interim = forward->head->status < 200 && !upgrade;
    if (forward->framing == SL_FRAMING_CHUNKED && req->head.version == 0) {
        forward->framing = SL_FRAMING_CLOSE;
    }
    bool close =
        !interim && (upgrade || must_close(req, conn) || forward->framing == SL_FRAMING_CLOSE);
    forward->upgrade = upgrade;
    forward->close = close;
    forward->keep_alive_10 = !close && !interim && req->head.version == 0;
    forward->date = interim ? NULL : &conn->worker->date;
    struct sl_edits edits;
    forward->edits = interim ? NULL : sl_response_edits(req, &edits);
    uint32_t room = forward->head->len + SL_RESPONSE_ROOM + req->chain.response_bytes;
    uint8_t *at = reserve(req, &out, room);
    if (!at) {
        return false;
    }
    size_t n = sl_http1_forward_response(at, room, forward);
    SL_ASSERT(n > 0);
    sl_outq_commit(out, (uint32_t)n);
    if (!interim) {
        begin_answer(req, forward->head->status, forward->framing, forward->content_length, close);
    }
    if (upgrade) {
        begin_upgrade(req);
    }
    return true;
}

// *owner becomes NULL once it was released, or the queue has it.
static bool write_framed(struct sl_outq *out, struct sl_buf_pool *pool, bool chunked,
                         const uint8_t *data, uint32_t len, struct sl_buf *buf,
                         struct sl_seg_owner **owner) {
    struct sl_seg_owner *mine = *owner;
    bool copy = (!buf && !mine) || len <= SL_BODY_COPY_MAX;
    uint32_t extra = chunked ? SL_CHUNK_HEAD_MAX + 2 : 0;
    if (extra || copy) {
        uint8_t *at = sl_outq_reserve(out, pool, extra + (copy ? len : 0));
        if (!at) {
            return false;
        }
        uint32_t n = chunked ? (uint32_t)sl_chunk_write_head(at, len) : 0;
        if (copy) {
            memcpy(at + n, data, len);
            n += len;
            if (chunked) {
                memcpy(at + n, "\r\n", 2);
                n += 2;
            }
        }
        sl_outq_commit(out, n);
    }
    if (copy) {
        *owner = NULL;
        if (mine) {
            mine->release(mine);
        }
        return true;
    }
    bool pushed = buf ? sl_outq_push_buf(out, buf, data, len) : sl_outq_push(out, data, len, mine);
    *owner = pushed ? NULL : mine;
    return pushed && (!chunked || sl_outq_push(out, (const uint8_t *)"\r\n", 2, NULL));
}

bool sl_request_write(struct sl_request *req, const uint8_t *data, uint32_t len, struct sl_buf *buf,
                      struct sl_seg_owner *owner) {
    struct sl_conn *conn = req->conn;
    if (req->bodiless || len == 0) {
        if (owner) {
            owner->release(owner);
        }
        return true;
    }
    if (req->out_framing == SL_FRAMING_LENGTH) {
        if (len > req->out_left) {
            if (owner) {
                owner->release(owner);
            }
            sl_conn_abort(conn, req->upstream ? SL_E_UPSTREAM_BAD : SL_E_HANDLER);
            return false;
        }
        req->out_left -= len;
    }
    struct sl_outq *out = sl_conn_out(conn);
    if (!out || !write_framed(out, &conn->worker->bufs, req->out_framing == SL_FRAMING_CHUNKED,
                              data, len, buf, &owner)) {
        if (owner) {
            owner->release(owner);
        }
        sl_conn_abort(conn, SL_E_NO_MEMORY);
        return false;
    }
    req->out_bytes += len;
    sl_conn_mark(conn);
    return true;
}

void sl_request_end(struct sl_request *req) {
    struct sl_conn *conn = req->conn;
    if (!req->bodiless) {
        if (req->out_framing == SL_FRAMING_LENGTH && req->out_left > 0) {
            sl_conn_abort(conn, req->upstream ? SL_E_UPSTREAM_CUT : SL_E_HANDLER);
            return;
        }
        if (req->out_framing == SL_FRAMING_CHUNKED) {
            struct sl_outq *out = sl_conn_out(conn);
            if (!out || !sl_outq_copy(out, &conn->worker->bufs, "0\r\n\r\n", 5)) {
                sl_conn_abort(conn, SL_E_NO_MEMORY);
                return;
            }
        }
    }
    req->out_done = true;
    req->discard = !req->upgraded || !req->upstream; // a tunnel's client may go on
    sl_conn_mark(conn);
}

void sl_request_continue(struct sl_request *req) {
    struct sl_conn *conn = req->conn;
    if (!req->continue_due || req->status) {
        return;
    }
    req->continue_due = false;
    if (conn->in.bytes > 0) {
        return; // the client did not wait (RFC 9110 section 10.1.1)
    }
    struct sl_outq *out = sl_conn_out(conn);
    if (!out || !sl_outq_copy(out, &conn->worker->bufs, "HTTP/1.1 100 Continue\r\n\r\n", 25)) {
        sl_conn_abort(conn, SL_E_NO_MEMORY);
        return;
    }
    sl_conn_mark(conn);
}

#define TEXT_PLAIN "content-type: text/plain; charset=UTF-8\r\n"

static void answer_text(struct sl_request *req, uint16_t status, const char *text) {
    struct sl_response_head response = {
        .status = status,
        .framing = SL_FRAMING_LENGTH,
        .content_length = strlen(text),
        .fields = sl_span_of(status == 503 ? TEXT_PLAIN "retry-after: 1\r\n" : TEXT_PLAIN),
    };
    if (sl_request_respond(req, &response) &&
        sl_request_write(req, (const uint8_t *)text, (uint32_t)strlen(text), NULL, NULL)) {
        sl_request_end(req);
    }
}

void sl_request_give_up(struct sl_request *req, int reason) {
    sl_worker_count_status(req->conn->worker, reason);
    req->reason = reason;
    if (req->exchange) {
        sl_exchange_abort(req->exchange, reason, true);
        req->exchange = NULL;
    }
    sl_proxy_detach(req);
}

// An error answer in place of the real one.
static void answer_error(struct sl_request *req, int status) {
    const struct sl_status_info *info = sl_status_info(status);
    sl_request_give_up(req, status);
    if (req->hold && sl_policies_refuse(req, status)) {
        return;
    }
    char line[128]; // a line, for whoever reads it in a terminal
    snprintf(line, sizeof(line), "%s\n", info->text);
    answer_text(req, (uint16_t)info->http, line);
}

void sl_request_refuse(struct sl_request *req, int status) {
    half_remove(req);
    req->conn->close_after = true;
    req->conn->worker->counters.bad_requests++;
    answer_error(req, status);
}

void sl_request_fail(struct sl_request *req, int status) {
    if (req->status != 0 || sl_status_info(status)->http == 0) {
        sl_conn_abort(req->conn, status);
    } else {
        answer_error(req, status);
    }
}

// Bodies.

static int next_of_length(struct sl_request *req, struct sl_inq *in, struct sl_buf_pool *pool,
                          struct sl_span *out_data, uint32_t max) {
    struct sl_span front = sl_inq_front(in);
    uint32_t n = (uint32_t)sl_min_u64(sl_min_size(front.len, max), req->body_left);
    *out_data = (struct sl_span){front.data, n};
    req->body_left -= n;
    req->body_done = req->body_left == 0;
    sl_inq_consume(in, pool, n);
    return SL_CHUNK_DATA;
}

static int next_of_chunks(struct sl_request *req, struct sl_inq *in, struct sl_buf_pool *pool,
                          struct sl_span *out_data, uint32_t max) {
    struct sl_span front = sl_inq_front(in);
    size_t consumed = 0;
    int rc =
        sl_chunk_decode(&req->chunk, front.data, sl_min_size(front.len, max), &consumed, out_data);
    if (consumed > 0) {
        sl_inq_consume(in, pool, (uint32_t)consumed);
    }
    req->body_done = rc == SL_CHUNK_DONE;
    return rc;
}

static int next_of_upgraded(struct sl_inq *in, struct sl_buf_pool *pool, struct sl_span *out_data,
                            uint32_t max) {
    struct sl_span front = sl_inq_front(in);
    *out_data = (struct sl_span){front.data, sl_min_size(front.len, max)};
    sl_inq_consume(in, pool, (uint32_t)out_data->len);
    return SL_CHUNK_DATA;
}

static int body_piece(struct sl_request *req, struct sl_span *out_data, uint32_t max) {
    struct sl_inq *in = &req->conn->in;
    struct sl_buf_pool *pool = &req->conn->worker->bufs;
    switch (req->head.body) {
    case SL_BODY_LENGTH:
        return next_of_length(req, in, pool, out_data, max);
    case SL_BODY_CHUNKED:
        return next_of_chunks(req, in, pool, out_data, max);
    default:
        return next_of_upgraded(in, pool, out_data, max);
    }
}

// What nobody reads may be as large as it is.
static bool is_too_large(const struct sl_request *req) {
    return req->body_limited && req->body_bytes > req->body_max && !req->discard;
}

int sl_request_body_next(struct sl_request *req, struct sl_span *out_data, struct sl_buf **out_buf,
                         uint32_t max) {
    struct sl_inq *in = &req->conn->in;
    struct sl_buf_pool *pool = &req->conn->worker->bufs;
    *out_buf = NULL;
    int rc = SL_CHUNK_PARTIAL;
    while (rc == SL_CHUNK_PARTIAL && !req->body_done && in->bytes > 0) {
        struct sl_buf *buf = in->first;
        sl_buf_ref(buf);
        rc = body_piece(req, out_data, max);
        if (rc == SL_CHUNK_DATA) {
            req->body_bytes += out_data->len;
            req->conn->active_ns = req->conn->worker->now_ns;
            if (!is_too_large(req)) {
                *out_buf = buf;
                return rc;
            }
            rc = SL_E_BODY_TOO_LARGE;
        }
        sl_buf_unref(pool, buf);
    }
    if (rc < 0) {
        return rc;
    }
    req->body_done |= req->input_ended;
    if (req->body_done) {
        return SL_CHUNK_DONE;
    }
    // Cut by the client's end: whoever discards it is done. Else the connection closes, once the answers before it have left.
    return req->discard && req->conn->in_ended ? SL_E_CLIENT_CLOSED : SL_CHUNK_PARTIAL;
}

// Native steps.

static void respond_body(struct sl_plan_hold *hold, struct sl_request *req, struct sl_span body) {
    sl_plan_hold_ref(hold);
    if (sl_request_write(req, body.data, (uint32_t)body.len, NULL, &hold->segs)) {
        sl_request_end(req);
    }
}

// The answer that was prepared with the plan, to which lines may be added; but none of it changes.
static bool is_as_prepared(const struct sl_request *req, const struct sl_prepared *prepared,
                           const struct sl_edits *edits) {
    uint32_t drops = 0;
    for (uint32_t i = 0; edits && i < edits->run_count; i++) {
        drops |= edits->runs[i].drops;
    }
    return !(drops & prepared->names) && req->head.version == 1 && !must_close(req, req->conn);
}

static void respond_prepared(struct sl_request *req, const struct sl_plan_respond *row,
                             const struct sl_prepared *prepared, const struct sl_edits *edits) {
    struct sl_conn *conn = req->conn;
    struct sl_outq *out;
    bool body = req->head.method != SL_METHOD_HEAD;
    uint32_t len = body ? prepared->len : prepared->head_len;
    uint8_t *at = reserve(req, &out, len + (edits ? edits->bytes_max : 0));
    if (!at) {
        return;
    }
    if (edits) {
        sl_outq_commit(out, (uint32_t)sl_http1_write_prepared_edited(at, prepared, body,
                                                                     &conn->worker->date, edits));
    } else {
        sl_http1_write_prepared(at, prepared, len, &conn->worker->date);
        sl_outq_commit(out, len);
    }
    begin_answer(req, row->status, SL_FRAMING_LENGTH, row->body_len, false);
    req->out_bytes = len - prepared->head_len;
    req->out_left -= req->out_bytes;
    if (req->out_left > 0) {
        respond_body(req->hold, req, sl_plan_span(req->hold->plan, row->body_off, row->body_len));
    } else {
        sl_request_end(req);
    }
}

void sl_request_answer(struct sl_request *req, uint32_t index) {
    const struct sl_plan *plan = req->hold->plan;
    const struct sl_plan_respond *row = &plan->responds[index];
    struct sl_edits room;
    const struct sl_edits *edits = sl_response_edits(req, &room);
    if (is_as_prepared(req, &plan->prepared[index], edits)) {
        respond_prepared(req, row, &plan->prepared[index], edits);
        return;
    }
    struct sl_response_head response = sl_plan_response(plan, row);
    if (sl_request_respond(req, &response)) {
        respond_body(req->hold, req, sl_plan_span(plan, row->body_off, row->body_len));
    }
}

static void step_whoami(struct sl_request *req) {
    char ip[46];
    size_t ip_len = sl_conn_client_ip(req->conn, ip);
    uint8_t *text = NULL;
    struct sl_buf *buf = sl_buf_take(&req->conn->worker->bufs, SL_BUF_OUT);
    if (!buf) {
        sl_request_fail(req, SL_E_NO_MEMORY);
        return;
    }
    text = buf->data;
    const struct sl_head *h = &req->head;
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
        .underscores = req->hold->plan->header->flags & SL_PLAN_F_UNDERSCORES_PASS,
    };
    size_t n = sl_http1_forward_request(text, buf->cap, &forward);
    SL_ASSERT(n > 0);
    struct sl_response_head response = {
        .status = 200,
        .framing = SL_FRAMING_LENGTH,
        .content_length = n,
        .fields =
            sl_span_of("content-type: text/plain; charset=UTF-8\r\ncache-control: no-store\r\n"),
    };
    struct sl_buf_pool *pool = &req->conn->worker->bufs;
    if (sl_request_respond(req, &response) && sl_request_write(req, text, (uint32_t)n, buf, NULL)) {
        sl_request_end(req);
    }
    sl_buf_unref(pool, buf);
}

// OPTIONS with Max-Forwards: 0 asks about us (RFC 9110 section 7.6.2). TRACE has been refused.
static bool ends_here(const struct sl_request *req) {
    const struct sl_field *field = sl_head_field(&req->head, SL_H_MAX_FORWARDS);
    bool zero = field && req->head.method == SL_METHOD_OPTIONS;
    for (uint32_t i = 0; zero && i < field->value_len; i++) {
        zero = req->head_data[field->value_off + i] == '0';
    }
    return zero;
}

static void start_proxy(struct sl_request *req, uint32_t upstream) {
    if (ends_here(req)) {
        answer_text(req, 200, "");
        return;
    }
    req->handled_by = SL_BY_UPSTREAM;
    req->conn->worker->counters.requests_proxied++;
    sl_proxy_start(req, req->hold->upstreams[upstream]);
}

static void run_end(struct sl_request *req, const struct sl_plan_step *step) {
    switch (step->op) {
    case SL_PLAN_OP_RESPOND:
        req->conn->worker->counters.requests_native++;
        sl_request_answer(req, step->arg);
        return;
    case SL_PLAN_OP_WHOAMI:
        req->conn->worker->counters.requests_native++;
        step_whoami(req);
        return;
    case SL_PLAN_OP_PROXY:
        start_proxy(req, step->arg);
        return;
    default:
        sl_exchange_start(req, false);
    }
}

static void start_unmatched(struct sl_request *req) {
    if (req->hold->plan->header->flags & SL_PLAN_F_NOT_FOUND_NATIVE) {
        req->conn->worker->counters.requests_native++;
        sl_worker_count_status(req->conn->worker, SL_E_NOT_FOUND);
        req->reason = SL_E_NOT_FOUND;
        answer_text(req, 404, sl_status_info(SL_E_NOT_FOUND)->text);
    } else {
        sl_exchange_start(req, true);
    }
}

// An answer that is the same for every request does not ask for the head, so its edits need not be made.
static bool head_matters(const struct sl_plan_step *end) {
    return !end || end->op != SL_PLAN_OP_RESPOND;
}

static void run_chain(struct sl_request *req) {
    const struct sl_chain *chain = &req->chain;
    uint32_t upstream;
    enum sl_policy_next next = sl_policies_enter(req, &upstream);
    if (next == SL_POLICY_ANSWERED) {
        return;
    }
    bool proxied = next == SL_POLICY_UPSTREAM;
    if (chain->request_bytes > 0 && (proxied || head_matters(chain->end)) &&
        !sl_request_edit(req)) {
        return;
    }
    if (proxied) {
        start_proxy(req, upstream);
    } else if (chain->end) {
        run_end(req, chain->end);
    } else {
        start_unmatched(req);
    }
}

// It came before the client has proven that it is there: it may be a replay. Only what its route allows runs now (RFC 8470 section 3).
static void start_early(struct sl_request *req) {
    int refuse;
    if (sl_request_may_run_early(req, &refuse)) {
        run_chain(req);
    } else if (refuse >= 0) {
        sl_policies_refuse_early(req, refuse);
    } else {
        req->held = true;
        req->conn->worker->counters.early_held++;
    }
}

static const struct sl_plan_step all_typescript = {.op = SL_PLAN_OP_TYPESCRIPT};

static void route(struct sl_request *req) {
    const struct sl_head *h = &req->head;
    const struct sl_plan *plan = req->hold->plan;
    struct sl_span path = sl_request_span(req, h->path_off, h->path_len);
    uint8_t decoded[16384];
    SL_ASSERT(path.len <= sizeof(decoded));
    path = sl_route_path(plan, path, h->flags & SL_HEAD_PATH_ESCAPED, decoded);
    if (plan->header->flags & SL_PLAN_F_ALL_TYPESCRIPT) {
        req->chain.count = 0;
        req->chain.request_bytes = req->chain.response_bytes = 0;
        req->chain.end = &all_typescript;
    } else {
        sl_route_chain(&req->chain, plan, h->method, sl_request_span(req, 0, h->method_len), path);
    }
    SL_PROBE(route, req->conn->worker->index, req, req->chain.count);
    if (req->conn->tls && sl_tls_in_early_data(req->conn->tls)) {
        start_early(req);
    } else {
        run_chain(req);
    }
}

void sl_request_release(struct sl_request *req) {
    req->held = false;
    run_chain(req);
}

// A Host that another row of the listener's TLS policy is for, so its client came in by a row that may ask for less. Port and a final dot are no
// part of a server name.
static bool is_misdirected(const struct sl_request *req) {
    const struct sl_conn *conn = req->conn;
    struct sl_span host = sl_request_span(req, req->head.host_off, req->head.host_len);
    if (!conn->tls || host.len == 0) {
        return false;
    }
    const uint8_t *colon = host.data[0] == '[' ? NULL : memchr(host.data, ':', host.len);
    size_t len = colon ? (size_t)(colon - host.data) : host.len;
    len -= len > 0 && host.data[len - 1] == '.';
    uint8_t row = sl_tls_row_of(conn->tls, host.data, len);
    return row != conn->row && !sl_tls_serves(conn->tls, row);
}

void sl_request_start(struct sl_request *req) {
    half_remove(req);
    struct sl_conn *conn = req->conn;
    struct sl_worker *w = conn->worker;
    const struct sl_head *h = &req->head;
    req->head_done = true;
    conn->active_ns = w->now_ns;
    conn->served++;
    w->counters.requests++;
    SL_PROBE(head_done, w->index, req, h->method);
    req->hold = w->hold;
    sl_plan_hold_ref(req->hold);
    req->body_left = h->content_length;
    req->body_done =
        h->body == SL_BODY_NONE || (h->body == SL_BODY_LENGTH && h->content_length == 0);
    sl_chunk_init(&req->chunk);
    req->continue_due = (h->flags & SL_HEAD_EXPECT_CONTINUE) && !req->body_done;
    bool dots_pass = req->hold->plan->header->flags & SL_PLAN_F_DOTS_PASS;
    if ((h->flags & SL_HEAD_DOT_SEGMENT) && !dots_pass) {
        sl_request_refuse(req, SL_E_BAD_PATH);
    } else if (h->method == SL_METHOD_CONNECT || h->method == SL_METHOD_TRACE) {
        sl_request_refuse(req, SL_E_METHOD_UNKNOWN);
    } else if (is_misdirected(req)) {
        sl_request_refuse(req, SL_E_MISDIRECTED);
    } else if (h->form == SL_TARGET_ASTERISK) {
        answer_text(req, 200,
                    ""); // OPTIONS *: about the server as a whole (RFC 9110 section 9.3.7)
    } else {
        route(req);
    }
}
