#include "exchange.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "client_hello.h"
#include "gateway.h"
#include "probes.h"
#include "region.h"
#include "upstream.h"

// The shared words. A region is mapped by TypeScript as well, so every access is atomic.
static _Atomic uint32_t *word(const struct sl_ring *ring, uint32_t off) {
    return (_Atomic uint32_t *)(void *)(ring->region + off);
}

uint8_t *sl__exchange_slot(const struct sl_exchange *ex) {
    return ex->ring->slot_memory + (size_t)ex->slot * SL_SLOT_BYTES;
}

static void tx_released(struct sl_seg_owner *owner);

_Static_assert(SL_FIELDS_MAX * sizeof(struct sl_field) <= SL_SLOT_PLAN_OFF, "fields and plan id");

static void lay_out(struct sl_ring *ring, uint32_t slots) {
    uint8_t *region = ring->region;
    ring->slots = slots;
    ring->entries = slots * SL_RING_ENTRIES_PER_SLOT;
    ring->events = (struct sl_event *)(void *)(region + SL_RING_EVENTS_OFF);
    ring->verdicts = (const struct sl_verdict *)(const void *)(ring->events + ring->entries);
    ring->slot_memory =
        region + SL_RING_EVENTS_OFF + (size_t)ring->entries * 2 * SL_RING_ENTRY_BYTES;
    for (uint32_t i = slots; i-- > 0;) { // so that low slots are taken first, and few pages touched
        struct sl_exchange *ex = &ring->exchanges[i];
        *ex = (struct sl_exchange){
            .tx = {tx_released}, .ring = ring, .slot = i, .next_free = ring->free};
        ring->free = ex;
    }
    atomic_store(word(ring, SL_RING_ABI_OFF), SL_RING_ABI);
    atomic_store(word(ring, SL_RING_SLOTS_OFF), slots);
    atomic_store(word(ring, SL_RING_MAGIC_OFF), SL_RING_MAGIC);
}

static void *own_lines(size_t bytes) {
    size_t whole = (bytes + 127) & ~(size_t)127;
    void *memory = aligned_alloc(128, whole);
    return memory ? memset(memory, 0, whole) : NULL;
}

int sl_ring_new(struct sl_ring **out_ring, uint32_t slots, uint8_t *region, size_t len) {
    if (((uintptr_t)region & (SL_RING_PAGE - 1)) != 0 || len < sl_ring_bytes(slots)) {
        return sl_fail(SL_E_INVALID, "ring region: %zu bytes at %p; it takes %u, page aligned", len,
                       (void *)region, sl_ring_bytes(slots));
    }
    struct sl_ring *ring = own_lines(sizeof(*ring));
    struct sl_exchange *exchanges = own_lines(slots * sizeof(*exchanges));
    int rc = ring && exchanges ? sl_region_new(&ring->region, region, sl_ring_bytes(slots))
                               : sl_fail(SL_E_NO_MEMORY, "ring: %u exchanges", slots);
    if (rc) {
        free(ring);
        free(exchanges);
        return rc;
    }
    ring->theirs = region;
    ring->exchanges = exchanges;
    lay_out(ring, slots);
    *out_ring = ring;
    return SL_OK;
}

void sl_ring_free(struct sl_ring *ring) {
    sl_region_free(ring->region, ring->theirs, sl_ring_bytes(ring->slots));
    free(ring->exchanges);
    free(ring);
}

// Events.

struct sl_event *sl__exchange_event(struct sl_exchange *ex, uint8_t kind) {
    struct sl_ring *ring = ex->ring;
    // Eight entries per slot: ring.h shows why they are enough as long as TypeScript keeps the contract.
    uint32_t head = atomic_load_explicit(word(ring, SL_RING_EVENT_HEAD_OFF), memory_order_acquire);
    if (ring->event_tail - head >= ring->entries) {
        ring->gone = true; // TypeScript broke the contract: it must not be able to overwrite events
        ring->worker->counters.bad_verdicts++;
        return NULL;
    }
    struct sl_event *event = &ring->events[ring->event_tail++ & (ring->entries - 1)];
    memset(event, 0, sizeof(*event));
    event->kind = kind;
    event->slot = ex->slot;
    event->gen = ex->gen;
    ring->worker->counters.events++;
    SL_PROBE(event_push, ring->worker->index, ex->slot, kind);
    return event;
}

static void event_send(struct sl_exchange *ex, uint8_t kind, uint8_t flags, uint32_t len) {
    if (ex->ring->gone) {
        return;
    }
    struct sl_event *event = sl__exchange_event(ex, kind);
    if (event) {
        event->flags = flags;
        event->len = len;
    }
}

static void wake_isolate(struct sl_ring *ring) {
    int fd =
        atomic_load_explicit(&ring->worker->gateway->wake_fds[ring->isolate], memory_order_acquire);
    if (fd >= 0) {
        // A full socket buffer means that wakes are waiting to be read already.
        send(fd, "w", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        ring->worker->counters.isolate_wakes++;
    }
}

void sl_ring_publish(struct sl_ring *ring) {
    if (ring->event_published == ring->event_tail) {
        return;
    }
    ring->event_published = ring->event_tail;
    atomic_store_explicit(word(ring, SL_RING_EVENT_TAIL_OFF), ring->event_tail,
                          memory_order_seq_cst);
    if (atomic_exchange_explicit(word(ring, SL_RING_ISOLATE_SLEEPING_OFF), 0,
                                 memory_order_seq_cst)) {
        wake_isolate(ring);
    } else {
        ring->worker->counters.isolate_wakes_skipped++;
    }
}

bool sl_ring_sleep(struct sl_ring *ring) {
    atomic_store_explicit(word(ring, SL_RING_WORKER_SLEEPING_OFF), 1, memory_order_seq_cst);
    uint32_t tail =
        atomic_load_explicit(word(ring, SL_RING_VERDICT_TAIL_OFF), memory_order_seq_cst);
    return tail == ring->verdict_head;
}

void sl_ring_wake_up(struct sl_ring *ring) {
    atomic_store_explicit(word(ring, SL_RING_WORKER_SLEEPING_OFF), 0, memory_order_relaxed);
}

// Slots.

static bool may_upgrade(const struct sl_request *req) {
    return req->body_done && req->head.method == SL_METHOD_GET &&
           (req->head.flags & SL_HEAD_UPGRADE);
}

struct sl_exchange *sl__exchange_take(struct sl_ring *ring, struct sl_request *req) {
    struct sl_exchange *ex = ring->free;
    ring->free = ex->next_free;
    ring->lent++;
    ring->worker->counters.exchanges_live++;
    ex->gen++;
    ex->req = req;
    ex->lent = true;
    ex->final = ex->tx_busy = ex->rx_busy = ex->responded = ex->ended = false;
    ex->not_found = ex->aborted = ex->writable_due = false;
    ex->proxied = ex->answered = false;
    ex->upgradable = req && may_upgrade(req);
    ex->is_hello = !req;
    ring->worker->hellos_lent += ex->is_hello;
    ex->failure = SL_OK;
    return ex;
}

void sl__exchange_free(struct sl_exchange *ex) {
    struct sl_ring *ring = ex->ring;
    SL_ASSERT(ex->lent && !ex->tx_busy);
    if (ex->not_found) {
        ring->worker->not_found_live--;
    }
    ring->worker->hellos_lent -= ex->is_hello;
    if (ex->req) {
        ex->req->exchange = NULL;
        ex->req = NULL;
    }
    ex->lent = false;
    ring->lent--;
    ring->worker->counters.exchanges_live--;
    ex->next_free = ring->free;
    ring->free = ex;
}

static void tx_released(struct sl_seg_owner *owner) {
    struct sl_exchange *ex = SL_CONTAINER_OF(owner, struct sl_exchange, tx);
    ex->tx_busy = false;
    if (ex->final) {
        sl__exchange_free(ex);
    } else if (ex->req && !ex->ended) {
        ex->writable_due = true;
        if (sl_conn_writable(ex->req->conn)) {
            sl_exchange_writable(ex);
        }
    }
}

void sl_exchange_writable(struct sl_exchange *ex) {
    if (ex->writable_due) {
        ex->writable_due = false;
        event_send(ex, SL_EVENT_WRITABLE, 0, 0);
    }
}

// Events that the isolate has not done with. What a handler awaits is none of them: they count what keeps its thread busy, or will.
static uint32_t unread(const struct sl_ring *ring) {
    return ring->event_tail -
           atomic_load_explicit(word(ring, SL_RING_EVENT_HEAD_OFF), memory_order_relaxed);
}

// Of the plan's isolates the one with the fewest unread events, so that one that is busy or blocked gets what the others cannot do sooner; among
// equals in turn.
struct sl_ring *sl__ring_choose(struct sl_worker *w, const struct sl_plan *plan,
                                bool *out_any_alive) {
    uint32_t named = plan->header->isolates;
    uint32_t here = named ? w->rings_here & named : w->rings_here;
    uint32_t turn = w->ring_next & 31, least = UINT32_MAX;
    uint32_t later = here & (UINT32_MAX << turn), sooner = here & ~(UINT32_MAX << turn);
    struct sl_ring *best = NULL;
    *out_any_alive = false;
    for (uint32_t left = later; left || sooner; left &= left - 1) {
        if (!left) {
            left = sooner;
            sooner = 0;
        }
        struct sl_ring *ring = w->rings[__builtin_ctz(left)];
        *out_any_alive |= !ring->gone;
        uint32_t count = ring->gone || !ring->free ? UINT32_MAX : unread(ring);
        if (count < least) {
            least = count;
            best = ring;
        }
    }
    w->ring_next = best ? best->isolate + 1 : 0;
    return best;
}

_Static_assert(SL_SLOT_TLS_OFF + sizeof(struct sl_slot_tls) <= SL_SLOT_HEAD_OFF, "before the head");

static void fill_tls(uint8_t *slot, const struct sl_tls *tls) {
    struct sl_tls_info info;
    struct sl_slot_tls facts = {.flags = 0};
    sl_tls_info(tls, &info);
    facts.version = info.version;
    facts.cipher = info.cipher;
    facts.group = info.group;
    facts.flags = (info.resumed ? SL_SLOT_TLS_F_RESUMED : 0) |
                  (sl_tls_in_early_data(tls) ? SL_SLOT_TLS_F_EARLY : 0);
    facts.alpn_len = (uint8_t)strlen(info.alpn);
    facts.sni_len = (uint8_t)strlen(info.sni);
    memcpy(facts.text, info.alpn, facts.alpn_len);
    memcpy(facts.text + facts.alpn_len, info.sni, facts.sni_len);
    if (info.client) {
        facts.client_len = info.client->text_len;
        memcpy(facts.client_sha256, info.client->sha256, sizeof(facts.client_sha256));
        memcpy(slot + SL_SLOT_TX_OFF, info.client->text, info.client->text_len);
    }
    memcpy(slot + SL_SLOT_TLS_OFF, &facts, sizeof(facts));
}

static void fill_request(struct sl_exchange *ex, struct sl_event *e) {
    const struct sl_request *req = ex->req;
    const struct sl_head *h = &req->head;
    const struct sl_conn *conn = req->conn;
    uint8_t *slot = sl__exchange_slot(ex);
    memcpy(slot + SL_SLOT_FIELDS_OFF, h->fields, h->field_count * sizeof(struct sl_field));
    memcpy(slot + SL_SLOT_HEAD_OFF, req->head_data, h->len);
    if (req->steps_done > 0) {
        memcpy(slot + SL_SLOT_PLAN_OFF, &req->hold->plan->header->id, sizeof(uint32_t));
    }
    if (conn->tls) {
        fill_tls(slot, conn->tls);
    }
    e->flags = (req->body_done ? SL_EVENT_F_END : 0) | (conn->tls ? SL_EVENT_F_TLS : 0) |
               (conn->remote_family == 6 ? SL_EVENT_F_IPV6 : 0) |
               (ex->not_found ? SL_EVENT_F_NOT_FOUND : 0) |
               (h->form == SL_TARGET_ABSOLUTE ? SL_EVENT_F_ABSOLUTE : 0) |
               (may_upgrade(req) ? SL_EVENT_F_UPGRADE : 0);
    e->method = h->method;
    e->version = h->version;
    e->len = h->len;
    e->field_count = (uint8_t)h->field_count;
    e->steps_done = req->steps_done;
    e->method_len = h->method_len;
    e->target_off = h->target_off;
    e->target_len = h->target_len;
    e->path_off = h->path_off;
    e->path_len = h->path_len;
    e->query_off = h->query_off;
    e->query_len = h->query_len;
    e->host_off = h->host_off;
    e->host_len = h->host_len;
    e->local_port = conn->local_port;
    e->remote_port = conn->remote_port;
    e->content_length = h->body == SL_BODY_CHUNKED ? -1.0 : (double)h->content_length;
    memcpy(e->remote_addr, conn->remote_addr, 16);
}

static bool is_too_large(const struct sl_request *req, uint64_t bytes_max) {
    return req->head.body == SL_BODY_LENGTH && req->head.content_length > bytes_max;
}

static int admit(struct sl_request *req, bool not_found, struct sl_ring **out_ring) {
    struct sl_worker *w = req->conn->worker;
    const struct sl_config *c = sl_worker_config(w);
    if (req->head.len > SL_SLOT_HEAD_BYTES) {
        return SL_E_HEAD_TOO_LARGE;
    }
    // Where there are upstreams the body may be for one of them, and as large as it likes: then the limit is that of who reads it here.
    if (req->hold->plan->header->upstream_count == 0 && is_too_large(req, c->body_bytes_max)) {
        return SL_E_BODY_TOO_LARGE;
    }
    if (not_found && w->not_found_live >= c->not_found_max) {
        return SL_E_SHED_NOT_FOUND;
    }
    bool any_alive;
    *out_ring = sl__ring_choose(w, req->hold->plan, &any_alive);
    if (!*out_ring && any_alive) {
        w->counters.ring_full++;
    }
    return *out_ring ? SL_OK : any_alive ? SL_E_SHED_EXCHANGES : SL_E_ISOLATE_GONE;
}

static void lend(struct sl_ring *ring, struct sl_request *req, bool not_found) {
    struct sl_exchange *ex = sl__exchange_take(ring, req);
    ex->not_found = not_found;
    ring->worker->not_found_live += not_found;
    req->exchange = ex;
    ex->event = ring->event_tail;
    struct sl_event *event = sl__exchange_event(ex, SL_EVENT_REQUEST);
    if (!event) {
        sl__exchange_free(ex);
        sl_request_fail(req, SL_E_ISOLATE_GONE);
        return;
    }
    fill_request(ex, event);
}

void sl_exchange_start(struct sl_request *req, bool not_found) {
    struct sl_worker *w = req->conn->worker;
    struct sl_ring *ring = NULL;
    req->handled_by = SL_BY_TYPESCRIPT;
    int rc = admit(req, not_found, &ring);
    if (rc) {
        req->conn->close_after |= rc == SL_E_BODY_TOO_LARGE; // the body is not read
        sl_request_fail(req, rc);
        return;
    }
    w->counters.requests_typescript++;
    lend(ring, req, not_found);
}

void sl_exchange_abort(struct sl_exchange *ex, int reason, bool detach) {
    if (!ex->aborted && !ex->final) {
        ex->aborted = true;
        event_send(ex, SL_EVENT_ABORT, 0, (uint32_t)-reason);
    }
    if (detach) {
        ex->req = NULL;
    }
}

// The request's body.

static int copy_body(struct sl_exchange *ex, uint32_t *out_len) {
    struct sl_request *req = ex->req;
    uint8_t *rx = sl__exchange_slot(ex) + SL_SLOT_RX_OFF;
    uint32_t n = 0;
    int rc = SL_CHUNK_DATA;
    while (rc == SL_CHUNK_DATA && n < SL_SLOT_RX_BYTES) {
        struct sl_span piece;
        struct sl_buf *buf;
        rc = sl_request_body_next(req, &piece, &buf, SL_SLOT_RX_BYTES - n);
        if (rc == SL_CHUNK_DATA) {
            memcpy(rx + n, piece.data, piece.len);
            n += (uint32_t)piece.len;
            sl_buf_unref(&ex->ring->worker->bufs, buf);
        }
    }
    *out_len = n;
    return rc;
}

void sl_exchange_pump(struct sl_exchange *ex) {
    struct sl_request *req = ex->req;
    if (!req || ex->proxied || !req->body_wanted || req->body_done || ex->rx_busy) {
        return;
    }
    uint32_t n;
    int rc = copy_body(ex, &n);
    if (rc < 0) {
        req->conn->close_after = true;
        sl_request_fail(req, rc);
        return;
    }
    if (!req->upgraded && req->body_bytes > sl_worker_config(ex->ring->worker)->body_bytes_max) {
        req->conn->close_after = true;
        sl_request_fail(req, SL_E_BODY_TOO_LARGE);
        return;
    }
    if (n > 0 || req->body_done) {
        ex->rx_busy = n > 0;
        event_send(ex, SL_EVENT_BODY, req->body_done ? SL_EVENT_F_END : 0, n);
    }
}

// A proxied request.

bool sl_exchange_may_upgrade(const struct sl_exchange *ex) { return ex->upgradable; }

bool sl_exchange_awaits(const struct sl_exchange *ex) { return ex->proxied && !ex->answered; }

// From here on TypeScript's time runs.
static void answered(struct sl_exchange *ex) {
    struct sl_conn *conn = ex->req->conn;
    ex->answered = true;
    conn->active_ns = ex->ring->worker->now_ns;
    sl_conn_mark(conn);
}

_Static_assert(SL_SLOT_HEAD_OFF + SL_SLOT_HEAD_BYTES == SL_SLOT_RX_OFF,
               "an answer's head may reach on");

void sl_exchange_answer(struct sl_exchange *ex, struct sl_forward_response *forward,
                        bool bodiless) {
    uint32_t cap = SL_SLOT_TX_OFF - SL_SLOT_HEAD_OFF;
    size_t n = sl_http1_forward_response(sl__exchange_slot(ex) + SL_SLOT_HEAD_OFF, cap, forward);
    SL_ASSERT(n > 0);
    answered(ex);
    struct sl_event *event = ex->ring->gone ? NULL : sl__exchange_event(ex, SL_EVENT_ANSWER);
    if (event) {
        event->flags = bodiless ? SL_EVENT_F_END : 0;
        event->len = (uint32_t)n;
        event->method_len = forward->head->status;
    }
}

uint8_t *sl_exchange_rx(struct sl_exchange *ex) {
    return ex->rx_busy ? NULL : sl__exchange_slot(ex) + SL_SLOT_RX_OFF;
}

void sl_exchange_answer_part(struct sl_exchange *ex, uint32_t len, bool last) {
    ex->rx_busy = len > 0;
    event_send(ex, SL_EVENT_BODY, last ? SL_EVENT_F_END : 0, len);
}

void sl_exchange_proxy_failed(struct sl_exchange *ex, int status) {
    sl_worker_count_status(ex->ring->worker, status);
    ex->failure = ex->req->reason = status;
    answered(ex);
    event_send(ex, SL_EVENT_PROXY_FAILED, 0, (uint32_t)-status);
}

static struct sl_upstream *upstream_of(const struct sl_request *req, uint32_t id) {
    const struct sl_plan *plan = req->hold->plan;
    for (uint32_t i = 0; i < plan->header->upstream_count; i++) {
        if (plan->upstreams[i].id == id) {
            return req->hold->upstreams[i];
        }
    }
    return NULL;
}

static void proxy(struct sl_exchange *ex, const struct sl_verdict *v) {
    struct sl_request *req = ex->req;
    struct sl_counters *counters = &ex->ring->worker->counters;
    struct sl_upstream *upstream = upstream_of(req, v->body_off);
    struct sl_span head = {sl__exchange_slot(ex) + SL_SLOT_TX_OFF, v->head_len};
    if (!upstream || (head.len > 0 && !sl_request_rewrite(req, head, v->body_len))) {
        counters->bad_verdicts++;
        sl_request_fail(req, SL_E_HANDLER);
        return;
    }
    ex->proxied = true;
    req->handled_by = SL_BY_UPSTREAM;
    counters->requests_proxied++;
    sl_conn_mark(req->conn); // it has another deadline now
    bool early = req->conn->tls && sl_tls_in_early_data(req->conn->tls);
    if (early && !upstream->row.early_data) { // it would not know that this may be a replay
        sl_exchange_proxy_failed(ex, SL_E_TOO_EARLY);
        return;
    }
    sl_proxy_start(req, upstream);
}

// Verdicts.

static void write_tx(struct sl_exchange *ex, const struct sl_verdict *v) {
    struct sl_request *req = ex->req;
    bool end = v->flags & SL_VERDICT_F_END;
    ex->ended = ex->ended || end;
    ex->tx_busy = true;
    const uint8_t *data = sl__exchange_slot(ex) + SL_SLOT_TX_OFF + v->body_off;
    if (!sl_request_write(req, data, v->body_len, NULL, &ex->tx)) {
        return; // the request is gone
    }
    if (end) {
        sl_proxy_detach(req); // what is left of an upstream's answer is not wanted
        sl_request_end(req);
    }
}

static bool tx_in_bounds(const struct sl_verdict *v) {
    return v->body_len <= SL_SLOT_TX_BYTES && v->body_off <= SL_SLOT_TX_BYTES - v->body_len &&
           v->head_len <= 16384;
}

static uint8_t framing_of(const struct sl_verdict *v, uint64_t *out_length) {
    if (v->status == 101) {
        return SL_FRAMING_CLOSE;
    }
    if (v->status == 204 || v->status == 304) {
        return SL_FRAMING_NONE;
    }
    if (v->flags & SL_VERDICT_F_LENGTH) {
        bool sane = v->content_length >= 0 && v->content_length <= 9007199254740991.0;
        *out_length = sane ? (uint64_t)v->content_length : 0;
        return SL_FRAMING_LENGTH;
    }
    if (v->flags & SL_VERDICT_F_END) {
        *out_length = v->body_len;
        return SL_FRAMING_LENGTH;
    }
    return SL_FRAMING_CHUNKED;
}

// Field lines are checked on a private copy: the isolate could change shared memory between the check and its use. False: they are refused.
static bool read_head(struct sl_exchange *ex, const struct sl_verdict *v, uint8_t fields[16384],
                      struct sl_response_head *out_head) {
    bool has_date = false;
    memcpy(fields, sl__exchange_slot(ex) + SL_SLOT_TX_OFF, v->head_len);
    if (sl_http1_check_fields(fields, v->head_len, &has_date)) {
        ex->ring->worker->counters.bad_verdicts++;
        sl_request_fail(ex->req, SL_E_HANDLER);
        return false;
    }
    *out_head = (struct sl_response_head){
        .status = v->status, .has_date = has_date, .fields = {fields, v->head_len}};
    return true;
}

static void respond(struct sl_exchange *ex, const struct sl_verdict *v) {
    struct sl_request *req = ex->req;
    uint8_t fields[16384];
    struct sl_response_head response;
    if (!read_head(ex, v, fields, &response)) {
        return;
    }
    uint64_t length = 0;
    response.framing = framing_of(v, &length);
    response.content_length = length;
    req->steps_failed = v->steps_failed;
    ex->responded = true;
    if (!sl_proxy_is_read(req)) {
        sl_proxy_detach(req);
    }
    if (sl_request_respond(req, &response)) {
        write_tx(ex, v);
    }
    if (ex->ring->worker->draining) {
        sl_exchange_drain(ex);
    }
}

void sl_exchange_drain(struct sl_exchange *ex) {
    if (ex->req && ex->req->upgraded && !ex->ended && !ex->aborted) {
        event_send(ex, SL_EVENT_DRAIN, 0, 0);
    }
}

// Why an upgraded exchange ends, as TypeScript says.
static int reason_of(const struct sl_exchange *ex, const struct sl_verdict *v) {
    int status = -(int)v->status;
    return ex->req->upgraded && v->status < SL_STATUS_SLOTS ? sl_status_info(status)->status : 0;
}

static void end_upgraded(struct sl_exchange *ex, const struct sl_verdict *v) {
    int reason = reason_of(ex, v);
    if (reason) {
        sl_worker_count_status(ex->ring->worker, reason);
        ex->req->reason = reason;
    }
}

static void forward(struct sl_exchange *ex, const struct sl_verdict *v) {
    struct sl_request *req = ex->req;
    uint8_t fields[16384];
    struct sl_response_head response;
    if (v->status && !read_head(ex, v, fields, &response)) {
        return;
    }
    if (!sl_proxy_is_held(req)) { // it failed when this was on its way
        sl_request_fail(req, ex->failure ? ex->failure : SL_E_HANDLER);
        return;
    }
    if (v->status &&
        (v->status == 101) != sl_proxy_is_switch(req)) { // what follows is no such body
        ex->ring->worker->counters.bad_verdicts++;
        sl_request_fail(req, SL_E_HANDLER);
        return;
    }
    req->steps_failed = v->steps_failed;
    ex->responded = ex->ended = true;
    req->exchange = NULL;
    ex->req = NULL;
    sl_proxy_forward(req, v->status ? &response : NULL);
}

static bool allowed(const struct sl_exchange *ex, const struct sl_verdict *v) {
    bool writes = v->kind == SL_VERDICT_RESPOND || v->kind == SL_VERDICT_CHUNK;
    if (writes && (v->flags & SL_VERDICT_F_FINAL) && !(v->flags & SL_VERDICT_F_END)) {
        return false; // nobody would end the answer
    }
    switch (v->kind) {
    case SL_VERDICT_RESPOND:
        return !ex->responded && !ex->tx_busy && tx_in_bounds(v) &&
               (v->status == 101 ? ex->upgradable && !(v->flags & SL_VERDICT_F_END)
                                 : v->status >= 200 && v->status <= 599);
    case SL_VERDICT_CHUNK:
        return ex->responded && !ex->ended && !ex->tx_busy && tx_in_bounds(v);
    case SL_VERDICT_PROXY:
        return !ex->proxied && !ex->responded && !ex->req->body_wanted && v->head_len <= 16384 &&
               !(v->flags & SL_VERDICT_F_FINAL);
    case SL_VERDICT_FORWARD:
        return ex->answered && !ex->responded && tx_in_bounds(v) &&
               (v->status == 0 || v->status == 101 || (v->status >= 200 && v->status <= 599)) &&
               (v->flags & SL_VERDICT_F_FINAL);
    case SL_VERDICT_BODY_TAKEN:
    case SL_VERDICT_FAIL:
    case SL_VERDICT_RELEASE:
    case SL_VERDICT_BODY_WANTED:
        return true;
    default:
        return false;
    }
}

static void obey(struct sl_exchange *ex, const struct sl_verdict *v) {
    struct sl_request *req = ex->req;
    int reason;
    switch (v->kind) {
    case SL_VERDICT_RESPOND:
        respond(ex, v);
        return;
    case SL_VERDICT_CHUNK:
        if (v->flags & SL_VERDICT_F_END) {
            end_upgraded(ex, v);
        }
        write_tx(ex, v);
        return;
    case SL_VERDICT_PROXY:
        proxy(ex, v);
        return;
    case SL_VERDICT_FORWARD:
        forward(ex, v);
        return;
    case SL_VERDICT_BODY_TAKEN:
        ex->rx_busy = false;
        if (ex->proxied) {
            sl_proxy_read(req);
        }
        sl_conn_mark(req->conn);
        return;
    case SL_VERDICT_BODY_WANTED:
        if (ex->proxied) {
            sl_proxy_read(req);
            return;
        }
        if (is_too_large(req, sl_worker_config(ex->ring->worker)->body_bytes_max)) {
            req->conn->close_after = true; // the body is not read
            sl_request_fail(req, SL_E_BODY_TOO_LARGE);
            return;
        }
        req->body_wanted = true;
        req->conn->active_ns =
            ex->ring->worker->now_ns; // the body's clock starts when somebody reads
        sl_conn_mark(req->conn);
        sl_request_continue(req);
        return;
    case SL_VERDICT_FAIL:
        reason = reason_of(ex, v);
        sl_request_fail(req, reason ? reason : SL_E_HANDLER);
        return;
    default:
        return; // RELEASE has nothing but its flag
    }
}

// The slot comes back and nobody is left who would answer. If the handler heard that the client left, its connection ends once the answers before
// this one are out; an answer that was begun is broken off.
static void give_up(struct sl_exchange *ex) {
    struct sl_request *req = ex->req;
    if (!ex->aborted || req->status) {
        sl_request_fail(req, ex->aborted ? SL_E_CLIENT_CLOSED : SL_E_HANDLER);
        return;
    }
    sl_proxy_detach(req);
    req->given_up = true;
    req->exchange = NULL;
    ex->req = NULL;
    sl_conn_mark(req->conn);
}

static void take_verdict(struct sl_ring *ring, const struct sl_verdict *v) {
    struct sl_counters *counters = &ring->worker->counters;
    counters->verdicts++;
    SL_PROBE(verdict, ring->worker->index, v->slot, v->kind);
    struct sl_exchange *ex = v->slot < ring->slots ? &ring->exchanges[v->slot] : NULL;
    if (!ex || !ex->lent || ex->gen != v->gen || ex->final) {
        counters->bad_verdicts++;
        return;
    }
    ex->final = v->flags & SL_VERDICT_F_FINAL;
    if (ex->hello) {
        sl__hello_verdict(ex, v);
    } else if (!ex->req) {
        counters->late_verdicts++;
    } else if (allowed(ex, v)) {
        obey(ex, v);
        if (ex->final && ex->req && !ex->ended) {
            give_up(ex);
        }
    } else {
        counters->bad_verdicts++;
        sl_request_fail(ex->req, SL_E_HANDLER);
    }
    if (ex->lent && ex->gen == v->gen && ex->final && !ex->tx_busy) {
        sl__exchange_free(ex);
    }
}

uint32_t sl_ring_read(struct sl_ring *ring) {
    uint32_t tail =
        atomic_load_explicit(word(ring, SL_RING_VERDICT_TAIL_OFF), memory_order_acquire);
    uint32_t n = sl_min_u32(tail - ring->verdict_head, ring->entries);
    for (uint32_t i = 0; i < n; i++) {
        struct sl_verdict v = ring->verdicts[ring->verdict_head & (ring->entries - 1)];
        // A copy indeed: what is checked below is not read again from shared memory.
        atomic_signal_fence(memory_order_seq_cst);
        ring->verdict_head++;
        take_verdict(ring, &v);
    }
    if (n > 0) {
        atomic_store_explicit(word(ring, SL_RING_VERDICT_HEAD_OFF), ring->verdict_head,
                              memory_order_release);
    }
    return n;
}

// Whether its handler may have done something already.
static bool begun(const struct sl_exchange *ex) {
    uint32_t count = atomic_load(word(ex->ring, SL_RING_EVENT_BEGUN_OFF));
    return (int32_t)(count - ex->event) > 0 || ex->responded || ex->aborted || ex->proxied ||
           ex->req->body_wanted;
}

// To another isolate, as if it came only now. Its deadline stays.
static void move(struct sl_exchange *ex) {
    struct sl_request *req = ex->req;
    bool any_alive, not_found = ex->not_found;
    struct sl_ring *other = sl__ring_choose(ex->ring->worker, req->hold->plan, &any_alive);
    sl__exchange_free(ex);
    if (!other) {
        sl_request_fail(req, any_alive ? SL_E_SHED_EXCHANGES : SL_E_ISOLATE_GONE);
        return;
    }
    other->worker->counters.isolate_moves++;
    lend(other, req, not_found);
}

void sl_ring_gone(struct sl_ring *ring) {
    sl_ring_read(ring); // what it answered before it ended
    atomic_store(word(ring, SL_RING_CLOSED_OFF), 1);
    ring->gone = true;
    for (uint32_t i = 0; i < ring->slots; i++) {
        struct sl_exchange *ex = &ring->exchanges[i];
        if (!ex->lent || ex->final) {
            continue;
        }
        ex->final = true;
        if (ex->hello) {
            sl__hello_gone(ex);
        } else if (ex->req && !ex->ended && !begun(ex)) {
            move(ex);
        } else if (ex->req && !ex->ended) {
            sl_request_fail(ex->req, SL_E_ISOLATE_GONE);
        }
        if (ex->lent && !ex->tx_busy) {
            sl__exchange_free(ex);
        }
    }
}
