#include "certificates.h"

#define OCSP_BYTES_MAX 65536u // the record that carries it has a chain beside it

static int new_set(struct sl_gateway *g, uint32_t *out_set) {
    if (g->sni_count == SL_LISTENERS_MAX) {
        return sl_fail(SL_E_INVALID, "certificates: at most %u sets, one for each listener",
                       SL_LISTENERS_MAX);
    }
    *out_set = g->sni_count;
    int rc = sl_tls_sni_new(&g->sni[g->sni_count]);
    g->sni_count += rc == SL_OK;
    return rc;
}

int sl__gateway_certificate(struct sl_gateway *g, uint32_t set, struct sl_span cert,
                            struct sl_span key, struct sl_span names) {
    if (g->certificate_count == SL_CERTIFICATES_MAX) {
        return sl_fail(SL_E_INVALID, "certificates: at most %u", SL_CERTIFICATES_MAX);
    }
    if (atomic_load(&g->state) != SL_WARMING || (set != SL_SET_NEW && set >= g->sni_count)) {
        return sl_fail(SL_E_STATE, "certificates: set %u of %u, or the gateway runs already", set,
                       g->sni_count);
    }
    struct sl_tls_certificate *certificate;
    int rc = sl_tls_certificate_new(&certificate, cert, key);
    if (rc) {
        return rc;
    }
    g->certificate_count++;
    rc = sl_tls_certificate_compress(certificate);
    rc = rc == SL_OK && set == SL_SET_NEW ? new_set(g, &set) : rc;
    rc = rc ? rc : sl_tls_sni_add(g->sni[set], certificate, names);
    sl_tls_certificate_free(certificate); // the set has it
    return rc ? rc : (int)set;
}

int sl__certificate_describe(struct sl_span cert, struct sl_span key, char *out, size_t len) {
    struct sl_tls_certificate *certificate;
    int rc = sl_tls_certificate_new(&certificate, cert, key);
    if (rc == SL_OK) {
        rc = sl_tls_certificate_describe(certificate, out, len);
        sl_tls_certificate_free(certificate);
    }
    return rc;
}

// ---- while it runs ----

void sl__certificates_changed(struct sl_gateway *g) {
    atomic_fetch_add(&g->certificates_version, 1);
    for (uint32_t i = 0; i < g->config.workers; i++) {
        sl__gateway_wake(g, i);
    }
}

// Publishes a set, which is the gateway's from here on.
static void publish(struct sl_gateway *g, uint32_t set, struct sl_tls_sni *sni) {
    pthread_mutex_lock(&g->lock);
    struct sl_tls_sni *old = g->sni[set];
    g->sni[set] = sni;
    pthread_mutex_unlock(&g->lock);
    sl_tls_sni_free(old);
    sl__certificates_changed(g);
}

int sl__gateway_certificate_replace(struct sl_gateway *g, uint32_t set, uint32_t index,
                                    struct sl_span cert, struct sl_span key, struct sl_span ocsp) {
    if (set >= g->sni_count || index >= sl_tls_sni_count(g->sni[set]) ||
        ocsp.len > OCSP_BYTES_MAX) {
        return sl_fail(SL_E_STATE,
                       "certificates: number %u of set %u does not exist, or its OCSP response "
                       "has %zu bytes",
                       index, set, ocsp.len);
    }
    struct sl_tls_certificate *certificate;
    struct sl_tls_sni *sni = NULL;
    int rc = sl_tls_certificate_new(&certificate, cert, key);
    if (rc) {
        return rc;
    }
    rc = sl_tls_certificate_staple(certificate, ocsp);
    rc = rc ? rc : sl_tls_certificate_compress(certificate);
    rc = rc ? rc : sl_tls_sni_replace(&sni, g->sni[set], index, certificate);
    sl_tls_certificate_free(certificate);
    if (rc == SL_OK) {
        publish(g, set, sni);
    }
    return rc;
}

void sl__certificates_free(struct sl_gateway *g) {
    for (uint32_t i = 0; i < g->sni_count; i++) {
        sl_tls_sni_free(g->sni[i]);
    }
}

// ---- a worker ----

static int take_set(struct sl_worker *w, uint32_t set) {
    struct sl_gateway *g = w->gateway;
    pthread_mutex_lock(&g->lock);
    struct sl_tls_sni *sni = g->sni[set];
    sl_tls_sni_ref(sni);
    pthread_mutex_unlock(&g->lock);
    bool same = sl_tls_ctx_sni(w->tls_ctx[set]) == sni;
    int rc = same ? SL_OK : sl_tls_ctx_set_sni(w->tls_ctx[set], sni);
    sl_tls_sni_free(sni);
    return rc;
}

static int take_cas(struct sl_worker *w, uint32_t set, uint32_t row) {
    struct sl_gateway *g = w->gateway;
    pthread_mutex_lock(&g->lock);
    struct sl_tls_cas *cas = g->policies[set][row].cas;
    sl_tls_cas_ref(cas);
    pthread_mutex_unlock(&g->lock);
    int rc = sl_tls_ctx_set_cas(w->tls_ctx[set], row, cas);
    sl_tls_cas_free(cas);
    return rc;
}

static int take_all_cas(struct sl_worker *w, uint32_t set) {
    uint32_t count =
        w->gateway->policies[set] ? sl_tls_sni_count(sl_tls_ctx_sni(w->tls_ctx[set])) : 0;
    int rc = SL_OK;
    for (uint32_t row = 0; row < count && rc == SL_OK; row++) {
        rc = take_cas(w, set, row);
    }
    return rc;
}

void sl__certificates_turn(struct sl_worker *w) {
    uint32_t version =
        atomic_load_explicit(&w->gateway->certificates_version, memory_order_acquire);
    if (version == w->certificates_version) {
        return;
    }
    int rc = SL_OK;
    for (uint32_t i = 0; i < w->gateway->sni_count && rc == SL_OK; i++) {
        rc = take_set(w, i);
        rc = rc ? rc : take_all_cas(w, i);
    }
    if (rc == SL_OK) { // else, without memory, again in the next turn
        w->certificates_version = version;
    }
}
