// A gateway: what its workers share, and its life (warming, active, draining, closed). proxy layer.
#ifndef SL_GATEWAY_H
#define SL_GATEWAY_H

#include "clients.h"
#include "cpus.h"
#include "worker.h"

struct sl_gateway_listener {
    char address[64]; // as asked for
    struct sockaddr_storage addr;
    socklen_t addr_len;
    uint16_t port;
    uint32_t certificates; // index in sni, SL_NO_CERTIFICATE: plain
    uint32_t hello_timeout_ms; // 0: TypeScript is not asked
    bool inherited;        // the sockets are one, and not ours alone
    int fds[SL_WORKERS_MAX]; // one socket per worker, bound, listening from start on
};

struct sl_gateway {
    struct sl_config config; // defaults filled in
    const struct sl_sys *sys; // sl_sys_kernel; tests may put a simulated one before they listen
    struct sl_cpus cpus;
    bool workers_asked; // else as many as cpus says
    bool pinned;        // each worker to a CPU of its own
    int io_kind;
    char io_reason[256];
    _Atomic int state; // enum sl_state
    uint32_t handle;
    uint32_t certificate_count;
    struct sl_tls_sni *sni[SL_LISTENERS_MAX]; // sets of certificates, each of a listener or several; while it runs, under lock
    uint32_t sni_count;
    struct sl_tls_policy *policies[SL_LISTENERS_MAX]; // of each set, one for each certificate; NULL: nobody resumes
    bool resumes, has_set, has_sealed;                // what the policies need
    struct sl_tickets *tickets;                       // made at the start; NULL: nobody resumes
    struct sl_gateway_listener listeners[SL_LISTENERS_MAX];
    uint32_t listener_count;
    _Alignas(128) pthread_mutex_t lock; // plan, start and end of threads: never taken while a request runs
    pthread_cond_t changed;
    struct sl_plan *plan;
    struct sl_stek_ring *steks;
    uint32_t workers_ready, workers_ended, stats_published;
    int worker_error; // of a worker that could not start
    char worker_error_text[512];
    // Read by every worker in every turn, and written seldom: not beside the lock.
    _Alignas(128) _Atomic uint32_t plan_version, steks_version, certificates_version;
    _Atomic uint32_t drain_ms;
    _Atomic uint32_t isolate_ends[3]; // by enum sl_isolate_end
    _Atomic int wake_fds[SL_ISOLATES_MAX]; // -1: none; set once, then only what it stands for changes
    _Atomic int isolate_threads[SL_ISOLATES_MAX]; // kernel's ids
    struct sl_log *log;
    struct sl_clients *clients; // NULL: no limit
    struct sl_worker *workers; // config.workers of them
};

int sl__gateway_new(struct sl_gateway **out_gateway, const struct sl_config *config);
int sl__gateway_describe(struct sl_gateway *gateway, char *out, size_t len);
int sl__gateway_listen(struct sl_gateway *gateway, struct sl_span address, uint32_t certificates);
int sl__gateway_adopt(struct sl_gateway *gateway, int fd, uint32_t certificates);
int sl__gateway_client_hello(struct sl_gateway *gateway, uint32_t listener, uint32_t timeout_ms);
int sl__gateway_attach(struct sl_gateway *gateway, uint32_t worker, uint32_t isolate, uint8_t *region, size_t len);
int sl__gateway_isolate_wake(struct sl_gateway *gateway, uint32_t isolate, uint32_t port, struct sl_span token);
int sl__gateway_isolate_gone(struct sl_gateway *gateway, uint32_t isolate, uint32_t reason);
int sl__gateway_isolate_state(const struct sl_gateway *gateway, uint32_t isolate);
int sl__gateway_plan(struct sl_gateway *gateway, struct sl_span blob);
int sl__gateway_start(struct sl_gateway *gateway);
int sl__gateway_wake(struct sl_gateway *gateway, uint32_t worker);
int sl__gateway_drain(struct sl_gateway *gateway, uint32_t deadline_ms);
int sl__gateway_join(struct sl_gateway *gateway, uint32_t wait_ms);
int sl__gateway_worker_conns(struct sl_gateway *gateway, uint32_t worker);
void sl__gateway_stats(struct sl_gateway *gateway, struct sl_counters *out);
int sl__gateway_upstreams(struct sl_gateway *gateway, char *out, size_t len);
int sl__gateway_may_free(struct sl_gateway *gateway); // SL_OK: it never started, or was joined
void sl__gateway_free(struct sl_gateway *gateway);    // then
void sl__worker_report(struct sl_worker *worker, int status); // started (SL_OK) or why not
void sl__worker_publish(struct sl_worker *worker); // its counters, for sl__gateway_stats
void sl__worker_ended(struct sl_worker *worker);

#endif
