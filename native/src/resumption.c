#include "resumption.h"

#include <math.h>
#include <stdlib.h>

#include "certificates.h"
#include "sluice/sluice.h"
#include "stek.h"

#define RETRY_NS (100 * SL_NS_PER_MS) // without memory for the next ring

// RFC 9110, 9.2.1.
#define SAFE_METHODS                                                                               \
    (1u << SL_METHOD_GET | 1u << SL_METHOD_HEAD | 1u << SL_METHOD_OPTIONS |                        \
     1u << SL_METHOD_TRACE | 1u << SL_METHOD_QUERY)

static int bad_row(const char *what, uint32_t value) {
    return sl_fail(SL_E_TLS_CONFIG, "resumption: %s %u", what, value);
}

static int check_row(const struct sl_resumption *row) {
    if (row->mode > SL_RESUMPTION_SEALED) {
        return bad_row("unknown mode", row->mode);
    }
    if (row->tickets > SL_TLS_TICKETS_MAX) {
        return bad_row("at most 16 tickets for a connection, not", row->tickets);
    }
    if (row->ticket_lifetime_s == 0 || row->ticket_lifetime_s > SL_TLS_TICKET_LIFETIME_S_MAX) {
        return bad_row("a ticket lives 1 to 604800 seconds, not", row->ticket_lifetime_s);
    }
    if (row->early_methods & ~SAFE_METHODS) {
        return bad_row("early data takes safe methods, not those of bits", row->early_methods);
    }
    if (row->early_data > 1 || (row->early_data && row->mode < SL_RESUMPTION_ONCE)) {
        return bad_row("early data needs single-use tickets, not mode", row->mode);
    }
    return SL_OK;
}

static int find_policy(struct sl_gateway *g, uint32_t set, uint32_t index,
                       struct sl_tls_policy **out_policy) {
    if (atomic_load(&g->state) != SL_WARMING || set >= g->sni_count ||
        index >= SL_TLS_CERTIFICATES_MAX) {
        return sl_fail(SL_E_STATE,
                       "TLS policy: certificate %u of set %u, or the gateway runs already", index,
                       set);
    }
    if (!g->policies[set]) {
        g->policies[set] = calloc(SL_TLS_CERTIFICATES_MAX, sizeof(*g->policies[set]));
    }
    if (!g->policies[set]) {
        return sl_fail(SL_E_NO_MEMORY, "TLS policy");
    }
    *out_policy = &g->policies[set][index];
    return SL_OK;
}

// Copies the caller's row to `out_row`, and finds the policy that it is of.
static int begin_row(struct sl_gateway *g, uint32_t set, uint32_t index, struct sl_span bytes,
                     void *out_row, size_t len, struct sl_tls_policy **out_policy) {
    if (bytes.len != len) {
        return sl_fail(SL_E_STATE, "TLS policy: a row of %zu bytes, expected %zu", bytes.len, len);
    }
    memcpy(out_row, bytes.data, len);
    return find_policy(g, set, index, out_policy);
}

int sl__gateway_handshake(struct sl_gateway *g, uint32_t set, uint32_t index,
                          struct sl_span bytes) {
    struct sl_handshake row;
    struct sl_tls_policy *policy;
    int rc = begin_row(g, set, index, bytes, &row, sizeof(row), &policy);
    if (rc) {
        return rc;
    }
    if (row.version_min != 0x0303 && row.version_min != 0x0304) {
        return sl_fail(SL_E_TLS_CONFIG, "no TLS version 0x%x", row.version_min);
    }
    if (row.alpn_off > 1) {
        return sl_fail(SL_E_TLS_CONFIG, "alpn_off is %u, not 0 or 1", row.alpn_off);
    }
    if (row.group_count == 0 || row.group_count > SL_GROUPS_MAX) {
        return sl_fail(SL_E_TLS_CONFIG, "1 to %u groups, not %u", SL_GROUPS_MAX, row.group_count);
    }
    for (uint32_t i = 0; i < row.group_count; i++) {
        if (!sl_tls_group_known(row.groups[i])) {
            return sl_fail(SL_E_TLS_CONFIG, "no group 0x%x", row.groups[i]);
        }
        policy->groups[i] = (uint16_t)row.groups[i];
    }
    policy->alpn_off = (uint8_t)row.alpn_off;
    policy->version_min = (uint16_t)row.version_min;
    policy->group_count = (uint8_t)row.group_count;
    return SL_OK;
}

int sl__gateway_resumption(struct sl_gateway *g, uint32_t set, uint32_t index,
                           struct sl_span bytes) {
    struct sl_resumption row;
    struct sl_tls_policy *policy;
    int rc = begin_row(g, set, index, bytes, &row, sizeof(row), &policy);
    rc = rc ? rc : check_row(&row);
    if (rc) {
        return rc;
    }
    policy->resumption = (uint8_t)row.mode;
    policy->tickets = (uint8_t)row.tickets;
    policy->early_data = (uint8_t)row.early_data;
    policy->ticket_lifetime_s = row.ticket_lifetime_s;
    policy->early_window_s = row.early_window_s;
    policy->early_methods = row.early_methods;
    policy->early_bytes_max = row.early_bytes_max;
    policy->age_skew_ms = row.early_age_skew_ms;
    memcpy(policy->tenant, row.tenant, sizeof(policy->tenant));
    g->resumes = g->resumes || row.mode != SL_RESUMPTION_OFF;
    g->has_set = g->has_set || (row.early_data && row.mode == SL_RESUMPTION_ONCE);
    g->has_sealed = g->has_sealed || row.mode == SL_RESUMPTION_SEALED;
    return SL_OK;
}

// Other CAs than at the start, of the same mode: workers take them as they take certificates.
static int replace_cas(struct sl_gateway *g, uint32_t set, uint32_t index, uint32_t mode,
                       struct sl_span pem) {
    struct sl_tls_policy *row =
        set < g->sni_count && index < sl_tls_sni_count(g->sni[set]) && g->policies[set]
            ? &g->policies[set][index]
            : NULL;
    if (!row || mode == SL_CLIENT_AUTH_OFF || row->client_auth != mode) {
        return sl_fail(SL_E_STATE,
                       "CAs: certificate %u of set %u does not ask for certificates in mode %u",
                       index, set, mode);
    }
    struct sl_tls_cas *cas;
    int rc = sl_tls_cas_new(&cas, pem);
    if (rc) {
        return rc;
    }
    pthread_mutex_lock(&g->lock);
    struct sl_tls_cas *old = row->cas;
    row->cas = cas;
    pthread_mutex_unlock(&g->lock);
    sl_tls_cas_free(old);
    sl__certificates_changed(g);
    return SL_OK;
}

int sl__gateway_client_auth(struct sl_gateway *g, uint32_t set, uint32_t index, uint32_t mode,
                            struct sl_span pem) {
    if (atomic_load(&g->state) != SL_WARMING) {
        return replace_cas(g, set, index, mode, pem);
    }
    struct sl_tls_policy *policy;
    int rc = find_policy(g, set, index, &policy);
    if (rc) {
        return rc;
    }
    if (mode > SL_CLIENT_AUTH_REQUIRED) {
        return sl_fail(SL_E_TLS_CONFIG, "no client auth mode %u", mode);
    }
    struct sl_tls_cas *cas = NULL;
    rc = mode == SL_CLIENT_AUTH_OFF ? SL_OK : sl_tls_cas_new(&cas, pem);
    if (rc == SL_OK) {
        sl_tls_cas_free(policy->cas);
        policy->cas = cas;
        policy->client_auth = (uint8_t)mode;
    }
    return rc;
}

// ---- the ring ----

// Publishes a ring, which is the gateway's from here on.
static void publish(struct sl_gateway *g, struct sl_stek_ring *ring) {
    pthread_mutex_lock(&g->lock);
    struct sl_stek_ring *old = g->steks;
    g->steks = ring;
    atomic_fetch_add(&g->steks_version, 1);
    pthread_mutex_unlock(&g->lock);
    sl_stek_ring_unref(old);
}

int sl__gateway_steks(struct sl_gateway *g, struct sl_span bytes) {
    struct sl_stek_given given;
    struct sl_stek_key keys[SL_STEKS_MAX];
    size_t count = bytes.len / sizeof(given);
    if (bytes.len % sizeof(given) != 0 || count == 0 || count > SL_STEKS_MAX) {
        return sl_fail(SL_E_TLS_CONFIG, "session ticket keys: %zu bytes, expected 1 to %u of %zu",
                       bytes.len, SL_STEKS_MAX, sizeof(given));
    }
    int rc = SL_OK;
    for (size_t i = 0; i < count; i++) {
        memcpy(&given, bytes.data + i * sizeof(given), sizeof(given));
        if (!(fabs(given.not_before_ms) < 9e15)) {
            rc = sl_fail(SL_E_TLS_CONFIG, "session ticket keys: number %zu has no time", i);
        } else {
            keys[i].not_before_ms = (int64_t)given.not_before_ms;
        }
        memcpy(keys[i].key, given.key, sizeof(keys[i].key));
    }
    struct sl_stek_ring *ring = NULL;
    rc = rc ? rc : sl_stek_ring_new(&ring, keys, (uint32_t)count);
    explicit_bzero(keys, sizeof(keys));
    explicit_bzero(&given, sizeof(given));
    if (rc) {
        return rc;
    }
    publish(g, ring);
    for (uint32_t i = 0; i < g->config.workers; i++) {
        sl__gateway_wake(g, i);
    }
    return SL_OK;
}

static bool rotates(const struct sl_gateway *g) {
    return g->resumes && g->config.stek_rotation_ms != SL_STEKS_GIVEN;
}

static int rotate(struct sl_gateway *g, int64_t now_ms) {
    struct sl_stek_ring *next;
    int rc = sl_stek_ring_rotate(&next, g->steks, now_ms, g->config.stek_rotation_ms,
                                 g->config.steks_kept);
    if (rc == SL_OK) {
        publish(g, next);
    }
    return rc;
}

int sl__resumption_start(struct sl_gateway *g) {
    if (!g->resumes) {
        return SL_OK;
    }
    int rc =
        sl_tickets_new(&g->tickets, g->has_set ? g->config.ticket_set_bytes : 0,
                       g->has_sealed ? g->config.sealed_bytes : 0,
                       (uint64_t)g->config.early_window_ms * SL_NS_PER_MS, g->sys->now_ns(g->sys));
    return rc || !rotates(g) || g->steks ? rc : rotate(g, sl_worker_unix_us() / 1000);
}

void sl__resumption_free(struct sl_gateway *g) {
    sl_tickets_free(g->tickets);
    sl_stek_ring_unref(g->steks);
    for (uint32_t i = 0; i < g->sni_count; i++) {
        for (uint32_t j = 0; g->policies[i] && j < SL_TLS_CERTIFICATES_MAX; j++) {
            sl_tls_cas_free(g->policies[i][j].cas);
        }
        free(g->policies[i]);
    }
}

void sl__resumption_describe(struct sl_gateway *g, struct sl_counters *out) {
    if (g->tickets) {
        sl_tickets_describe(g->tickets, g->sys->now_ns(g->sys), out);
    }
    pthread_mutex_lock(&g->lock);
    out->steks = g->steks ? sl_stek_ring_count(g->steks) : 0;
    pthread_mutex_unlock(&g->lock);
}

// ---- a worker ----

static void on_timer(struct sl_timer *timer) {
    struct sl_worker *w = SL_CONTAINER_OF(timer, struct sl_worker, resumption_timer);
    struct sl_gateway *g = w->gateway;
    uint64_t tend_ns = sl_tickets_tend_ns(g->tickets), due_ns = SL_TIMER_NEVER;
    sl_tickets_tend(g->tickets, w->now_ns);
    if (tend_ns) {
        due_ns = w->now_ns + tend_ns;
    }
    if (rotates(g)) {
        int64_t now_ms = w->unix_us / 1000, last_ms = sl_stek_ring_last_ms(g->steks);
        bool failed = last_ms <= now_ms && rotate(g, now_ms) != SL_OK;
        int64_t left_ms = sl_stek_ring_last_ms(g->steks) - now_ms;
        // By the wall clock, which may be set: look again after a rotation's time at most.
        left_ms = left_ms > g->config.stek_rotation_ms ? g->config.stek_rotation_ms : left_ms;
        uint64_t wait_ns = failed ? RETRY_NS : (uint64_t)left_ms * SL_NS_PER_MS;
        due_ns = sl_min_u64(due_ns, w->now_ns + wait_ns);
    }
    if (due_ns != SL_TIMER_NEVER) {
        sl_timer_set(&w->timers, timer, due_ns);
    }
}

static void take_steks(struct sl_worker *w) {
    struct sl_gateway *g = w->gateway;
    uint32_t version = atomic_load_explicit(&g->steks_version, memory_order_acquire);
    if (version == w->steks_version) {
        return;
    }
    pthread_mutex_lock(&g->lock);
    struct sl_stek_ring *ring = g->steks;
    sl_stek_ring_ref(ring);
    w->steks_version = atomic_load_explicit(&g->steks_version, memory_order_relaxed);
    pthread_mutex_unlock(&g->lock);
    for (uint32_t i = 0; i < g->sni_count; i++) {
        sl_tls_ctx_set_steks(w->tls_ctx[i], ring);
    }
    sl_stek_ring_unref(ring);
}

int sl__resumption_open(struct sl_worker *w) {
    struct sl_gateway *g = w->gateway;
    sl_timer_init(&w->resumption_timer, on_timer);
    for (uint32_t i = 0; i < g->sni_count; i++) {
        int rc =
            sl_tls_ctx_new(&w->tls_ctx[i], g->sni[i], g->policies[i], g->tickets, &w->counters);
        if (rc) {
            return rc;
        }
    }
    return SL_OK;
}

void sl__resumption_turn(struct sl_worker *w) {
    for (uint32_t i = 0; i < w->gateway->sni_count; i++) {
        sl_tls_ctx_set_clock(w->tls_ctx[i], w->now_ns, w->unix_us / 1000);
    }
    if (!w->gateway->tickets) {
        return;
    }
    take_steks(w);
    if (w->index == 0 && !sl_timer_is_set(&w->resumption_timer)) {
        on_timer(&w->resumption_timer);
    }
}
