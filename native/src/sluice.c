// The public functions: handles to gateways, spans to internals, nothing else. api layer.
#include "sluice/sluice.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "certificates.h"
#include "inherited.h"
#include "kernel_tls.h"
#include "notify.h"
#include "resumption.h"

// A handle's place. Any thread may come with any handle at any time: it says so in `users` before it looks, and sl_gateway_free takes the
// gateway out before it waits for them. On lines of its own: isolates wake workers through it.
struct seat {
    _Alignas(128) _Atomic(struct sl_gateway *) gateway;
    _Atomic uint32_t users;
};
static struct seat seats[SL_GATEWAYS_MAX];

static int no_gateway(uint32_t handle) {
    return sl_fail(SL_E_STATE, "gateway %u does not exist (it was freed, or never made)", handle);
}

// NULL: there is none. Else to be left.
static struct sl_gateway *enter(uint32_t handle) {
    if (handle >= SL_GATEWAYS_MAX) {
        return NULL;
    }
    atomic_fetch_add_explicit(&seats[handle].users, 1, memory_order_seq_cst);
    struct sl_gateway *g = atomic_load_explicit(&seats[handle].gateway, memory_order_seq_cst);
    if (!g) {
        atomic_fetch_sub_explicit(&seats[handle].users, 1, memory_order_release);
    }
    return g;
}

static int leave(uint32_t handle, int rc) {
    atomic_fetch_sub_explicit(&seats[handle].users, 1, memory_order_release);
    return rc;
}

#define WITH_GATEWAY(g, handle)                                                                    \
    struct sl_gateway *g = enter(handle);                                                          \
    if (!g) {                                                                                      \
        return no_gateway(handle);                                                                 \
    }

int sl_error_text(uint8_t *out, size_t len) {
    const char *text = sl_fail_text();
    size_t n = sl_min_size(strlen(text), len);
    if (n > 0) {
        memcpy(out, text, n);
    }
    return (int)n;
}

static int register_gateway(struct sl_gateway *g) {
    for (uint32_t handle = 0; handle < SL_GATEWAYS_MAX; handle++) {
        struct sl_gateway *none = NULL;
        if (!atomic_load(&seats[handle].gateway)) {
            g->handle = handle; // nobody looks at it before the next line
            if (atomic_compare_exchange_strong(&seats[handle].gateway, &none, g)) {
                return (int)handle;
            }
        }
    }
    return SL_E_STATE;
}

int sl_gateway_new(const uint8_t *config, size_t len) {
    struct sl_config copy;
    struct sl_gateway *g;
    if (!config || len != sizeof(copy)) {
        return sl_fail(SL_E_INVALID, "config: %zu bytes, expected %zu", len, sizeof(copy));
    }
    memcpy(&copy, config, sizeof(copy));
    int rc = sl__gateway_new(&g, &copy);
    if (rc) {
        return rc;
    }
    int handle = register_gateway(g);
    if (handle < 0) {
        sl__gateway_free(g);
        return sl_fail(SL_E_STATE, "gateways: at most %u at once in one process", SL_GATEWAYS_MAX);
    }
    return handle;
}

int sl_gateway_describe(uint32_t gateway, uint8_t *out, size_t len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_describe(g, (char *)out, len));
}

int sl_gateway_certificate(uint32_t gateway, uint32_t set, const uint8_t *cert, size_t cert_len,
                           const uint8_t *key, size_t key_len, const uint8_t *names,
                           size_t names_len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_certificate(g, set, (struct sl_span){cert, cert_len},
                                                  (struct sl_span){key, key_len},
                                                  (struct sl_span){names, names_len}));
}

int sl_gateway_certificate_replace(uint32_t gateway, uint32_t set, uint32_t index,
                                   const uint8_t *cert, size_t cert_len, const uint8_t *key,
                                   size_t key_len, const uint8_t *ocsp, size_t ocsp_len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_certificate_replace(
                              g, set, index, (struct sl_span){cert, cert_len},
                              (struct sl_span){key, key_len}, (struct sl_span){ocsp, ocsp_len}));
}

int sl_certificate_describe(const uint8_t *cert, size_t cert_len, const uint8_t *key,
                            size_t key_len, uint8_t *out, size_t len) {
    return sl__certificate_describe((struct sl_span){cert, cert_len},
                                    (struct sl_span){key, key_len}, (char *)out, len);
}

int sl_ocsp_describe(const uint8_t *response, size_t response_len, uint8_t *out, size_t len) {
    return sl_tls_ocsp_describe((struct sl_span){response, response_len}, (char *)out, len);
}

int sl_gateway_resumption(uint32_t gateway, uint32_t set, uint32_t index, const uint8_t *row,
                          size_t len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_resumption(g, set, index, (struct sl_span){row, len}));
}

int sl_gateway_handshake(uint32_t gateway, uint32_t set, uint32_t index, const uint8_t *row,
                         size_t len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_handshake(g, set, index, (struct sl_span){row, len}));
}

int sl_gateway_client_auth(uint32_t gateway, uint32_t set, uint32_t index, uint32_t mode,
                           const uint8_t *cas, size_t len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_client_auth(g, set, index, mode, (struct sl_span){cas, len}));
}

int sl_gateway_steks(uint32_t gateway, const uint8_t *keys, size_t len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_steks(g, (struct sl_span){keys, len}));
}

int sl_gateway_listen(uint32_t gateway, const uint8_t *address, size_t len, uint32_t certificates) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_listen(g, (struct sl_span){address, len}, certificates));
}

int sl_gateway_client_hello(uint32_t gateway, uint32_t listener, uint32_t timeout_ms) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_client_hello(g, listener, timeout_ms));
}

uint32_t sl_ring_bytes(uint32_t exchanges) {
    if (exchanges < SL_RING_SLOTS_MIN || exchanges > SL_RING_SLOTS_MAX) {
        return 0;
    }
    return SL_RING_EVENTS_OFF +
           exchanges * (SL_RING_ENTRIES_PER_SLOT * 2 * SL_RING_ENTRY_BYTES + SL_SLOT_BYTES);
}

int sl_gateway_attach(uint32_t gateway, uint32_t worker, uint32_t isolate, uint8_t *region,
                      size_t len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_attach(g, worker, isolate, region, len));
}

int sl_gateway_isolate_wake(uint32_t gateway, uint32_t isolate, uint32_t port, const uint8_t *token,
                            size_t len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_isolate_wake(g, isolate, port, (struct sl_span){token, len}));
}

int sl_gateway_isolate_gone(uint32_t gateway, uint32_t isolate, uint32_t reason) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_isolate_gone(g, isolate, reason));
}

int sl_gateway_isolate_state(uint32_t gateway, uint32_t isolate) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_isolate_state(g, isolate));
}

int sl_plan_load(uint32_t gateway, const uint8_t *blob, size_t len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_plan(g, (struct sl_span){blob, len}));
}

int sl_gateway_start(uint32_t gateway) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_start(g));
}

int sl_gateway_wake(uint32_t gateway, uint32_t worker) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_wake(g, worker));
}

int sl_gateway_drain(uint32_t gateway, uint32_t deadline_ms) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_drain(g, deadline_ms));
}

int sl_gateway_state(uint32_t gateway) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, atomic_load(&g->state));
}

int sl_gateway_join(uint32_t gateway, uint32_t wait_ms) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_join(g, wait_ms));
}

int sl_gateway_free(uint32_t gateway) {
    WITH_GATEWAY(g, gateway)
    int rc = sl__gateway_may_free(g);
    struct sl_gateway *here = g;
    if (rc || !atomic_compare_exchange_strong(&seats[gateway].gateway, &here, NULL)) {
        return leave(gateway, rc ? rc : no_gateway(gateway));
    }
    leave(gateway, SL_OK);
    while (atomic_load_explicit(&seats[gateway].users, memory_order_seq_cst) > 0) {
        sched_yield(); // a thread is inside a call: microseconds
    }
    sl__gateway_free(g);
    return SL_OK;
}

int sl_gateway_worker_conns(uint32_t gateway, uint32_t worker) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_worker_conns(g, worker));
}

int sl_gateway_stats(uint32_t gateway, uint8_t *out, size_t len) {
    struct sl_counters sum;
    if (len < sizeof(sum)) {
        return sl_fail(SL_E_INVALID, "stats: %zu bytes, expected %zu", len, sizeof(sum));
    }
    WITH_GATEWAY(g, gateway)
    sl__gateway_stats(g, &sum);
    leave(gateway, SL_OK);
    memcpy(out, &sum, sizeof(sum));
    return (int)(sizeof(sum) / sizeof(uint64_t));
}

int sl_gateway_upstreams(uint32_t gateway, uint8_t *out, size_t len) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_upstreams(g, (char *)out, len));
}

int sl_gateway_adopt(uint32_t gateway, uint32_t fd, uint32_t certificates) {
    WITH_GATEWAY(g, gateway)
    return leave(gateway, sl__gateway_adopt(g, (int)fd, certificates));
}

int sl_socket_address(uint32_t fd, uint8_t *out, size_t len) {
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int rc = sl_inherited_read(&sl_sys_kernel, (int)fd, &addr, &addr_len);
    return rc ? rc : sl_inherited_text(&addr, (char *)out, len);
}

int sl_notify(const uint8_t *path, size_t path_len, const uint8_t *text, size_t len) {
    char all[1024];
    uint64_t now_us = sl_sys_kernel.now_ns(&sl_sys_kernel) / 1000;
    int n = snprintf(all, sizeof(all), "%.*s\nMONOTONIC_USEC=%llu\n", (int)len, (const char *)text,
                     (unsigned long long)now_us);
    if (n < 0 || (size_t)n >= sizeof(all)) {
        return sl_fail(SL_E_INVALID, "notify: %zu bytes of text", len);
    }
    struct sl_span whole = {(const uint8_t *)all, (size_t)n};
    return sl_notify_send((struct sl_span){path, path_len}, whole);
}

int sl_kernel_tls_describe(uint8_t *out, size_t len) {
    return sl_kernel_tls(&sl_sys_kernel, (char *)out, len);
}

int sl_certificate_make(uint8_t *out, size_t len) {
    return sl_tls_certificate_make(out, len, (int64_t)time(NULL));
}
