#include "client_hello.h"

#include "gateway.h"

#define NAME_BYTES_MAX 255u // of an answer; no certificate has a longer one

static bool is_full(const struct sl_worker *w) {
    return w->hellos_lent >= sl_worker_config(w)->exchanges / 4;
}

static uint32_t put(uint8_t *out, uint32_t at, struct sl_span bytes) {
    if (bytes.len > 0) {
        memcpy(out + at, bytes.data, bytes.len);
    }
    return at + (uint32_t)bytes.len;
}

// A ClientHello is one handshake message, of which BoringSSL takes 16 KiB: so all of it fits. But that is its limit, and this is ours.
static bool fits(const struct sl_tls_hello *hello) {
    size_t bytes = sizeof(struct sl_slot_hello) + hello->server_name.len + hello->alpn.len +
                   hello->versions.len + hello->ciphers.len + hello->groups.len;
    return bytes <= SL_SLOT_TX_OFF - SL_SLOT_HEAD_OFF;
}

static uint32_t fill(uint8_t *out, const struct sl_tls_hello *hello, uint8_t listener) {
    const struct sl_slot_hello head = {
        .legacy_version = hello->legacy_version,
        .server_name_len = (uint16_t)hello->server_name.len,
        .alpn_len = (uint16_t)hello->alpn.len,
        .versions_len = (uint16_t)hello->versions.len,
        .ciphers_len = (uint16_t)hello->ciphers.len,
        .groups_len = (uint16_t)hello->groups.len,
        .listener = listener,
    };
    memcpy(out, &head, sizeof(head));
    uint32_t at = put(out, sizeof(head), hello->server_name);
    at = put(out, at, hello->alpn);
    at = put(out, at, hello->versions);
    at = put(out, at, hello->ciphers);
    return put(out, at, hello->groups);
}

bool sl_hello_ask(void *owner, const struct sl_tls_hello *hello) {
    struct sl_conn *conn = owner;
    struct sl_worker *w = conn->worker;
    bool any_alive;
    struct sl_ring *ring =
        is_full(w) || !fits(hello) ? NULL : sl__ring_choose(w, w->hold->plan, &any_alive);
    struct sl_exchange *ex = ring ? sl__exchange_take(ring, NULL) : NULL;
    struct sl_event *event = ex ? sl__exchange_event(ex, SL_EVENT_HELLO) : NULL;
    if (!event) {
        if (ex) {
            sl__exchange_free(ex);
        }
        w->counters.client_hellos_overflowed++;
        return false;
    }
    event->len = fill(sl__exchange_slot(ex) + SL_SLOT_HEAD_OFF, hello, conn->listener);
    event->flags = conn->remote_family == 6 ? SL_EVENT_F_IPV6 : 0;
    event->local_port = conn->local_port;
    event->remote_port = conn->remote_port;
    memcpy(event->remote_addr, conn->remote_addr, 16);
    ex->hello = conn;
    ex->due_ns = w->now_ns + w->listeners[conn->listener].hello_timeout_ms * SL_NS_PER_MS;
    conn->hello = ex;
    w->counters.client_hellos_asked++;
    return true;
}

// The two know each other no more.
static struct sl_conn *part(struct sl_exchange *ex) {
    struct sl_conn *conn = ex->hello;
    conn->hello = NULL;
    ex->hello = NULL;
    return conn;
}

static void go_on(struct sl_conn *conn, enum sl_tls_answer answer, struct sl_span name,
                  uint64_t *counter) {
    struct sl_counters *counters = &conn->worker->counters;
    bool known = sl_tls_answer(conn->tls, answer, name);
    ++*(known ? counter : &counters->client_hellos_failed);
    sl_conn_mark(conn);
}

static const struct sl_span no_name = {NULL, 0};

void sl_hello_overdue(struct sl_conn *conn) {
    sl_exchange_abort(conn->hello, SL_E_HANDLER_TIMEOUT, false);
    part(conn->hello);
    go_on(conn, SL_TLS_ORDINARY, no_name, &conn->worker->counters.client_hellos_timed_out);
}

void sl_hello_leave(struct sl_conn *conn, int reason) {
    sl_exchange_abort(conn->hello, reason, false);
    part(conn->hello);
}

void sl__hello_gone(struct sl_exchange *ex) {
    struct sl_counters *counters = &ex->ring->worker->counters;
    go_on(part(ex), SL_TLS_ORDINARY, no_name, &counters->client_hellos_failed);
}

void sl__hello_verdict(struct sl_exchange *ex, const struct sl_verdict *v) {
    struct sl_counters *counters = &ex->ring->worker->counters;
    uint8_t copy[NAME_BYTES_MAX]; // shared memory may change at any time
    struct sl_span name = {copy, v->head_len};
    struct sl_conn *conn = part(ex);
    bool allowed = v->kind == SL_VERDICT_HELLO && (v->flags & SL_VERDICT_F_FINAL) &&
                   v->status <= SL_HELLO_FAILED && v->head_len <= sizeof(copy);
    counters->bad_verdicts += !allowed;
    switch (allowed ? v->status : SL_HELLO_FAILED) {
    case SL_HELLO_ORDINARY:
        go_on(conn, SL_TLS_ORDINARY, no_name, &counters->client_hellos_answered);
        return;
    case SL_HELLO_ROW_OF:
        memcpy(copy, sl__exchange_slot(ex) + SL_SLOT_TX_OFF, v->head_len);
        go_on(conn, SL_TLS_ROW_OF, name, &counters->client_hellos_answered);
        return;
    case SL_HELLO_REJECT:
        go_on(conn, SL_TLS_REJECT, no_name, &counters->client_hellos_rejected);
        return;
    default:
        go_on(conn, SL_TLS_ORDINARY, no_name, &counters->client_hellos_failed);
    }
}
