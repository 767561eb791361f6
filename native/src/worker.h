// A worker: one thread, one loop, its listeners, connections, pools, TLS contexts and rings. proxy layer. Nothing of a worker is written by
// another thread but what is marked so.
//
// A turn: io callbacks only queue bytes and mark work; verdicts do the same; timers too; then run_work lets each marked connection
// make all the progress it can, and everything it wants to send leaves with the next entry into the kernel.
#ifndef SL_WORKER_H
#define SL_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "handoff.h"
#include "http1_write.h"
#include "io.h"
#include "log.h"
#include "outq.h"
#include "plan.h"
#include "random.h"
#include "slab.h"
#include "sluice/sluice.h"
#include "timer.h"
#include "tls.h"

struct sl_gateway;
struct sl_conn;
struct sl_endpoint;
struct sl_upstream;
struct sl_ring;

// Something to run at the end of the turn: embedded first in a connection of either side.
struct sl_work {
    struct sl_work *prev, *next; // both NULL: not queued
    void (*run)(struct sl_work *work);
};

// A worker's hold on a plan: counts the requests that use it (plan.h).
struct sl_plan_hold {
    struct sl_plan *plan;
    struct sl_plan_hold *next;      // older holds that still have requests
    struct sl_worker *worker;
    struct sl_seg_owner segs;       // bodies in the plan's memory that are being sent
    uint32_t refs;                  // requests and queued segments
    struct sl_upstream **upstreams; // by the plan's index
};

// Requests whose head is not whole, oldest first. Half a head costs its sender nothing and us a request and a buffer: so all of them together may
// have a part of those, and past it the oldest is answered 408.
struct sl_half_heads {
    struct sl_request *first, *last;
    uint32_t count, max;
};

struct sl_worker_listener {
    struct sl_worker *worker;
    int fd;
    int number;           // in the loop, < 0: stopped
    uint16_t port;
    uint32_t certificates; // a set of the gateway's; SL_NO_CERTIFICATE: plain
    uint32_t hello_timeout_ms; // for TypeScript to choose a client's row; 0: it is not asked
    bool inherited;        // others accept from the socket, too, or will
};
#define SL_NO_CERTIFICATE 0xffffffffu

struct sl_worker {
    struct sl_gateway *gateway;
    uint32_t index;
    bool started, listening_stopped, draining, cut;
    pthread_t thread;
    struct sl_io *io;
    struct sl_buf_pool bufs;
    struct sl_timers timers;
    struct sl_slab conns, requests, outqs, upstream_conns;
    struct sl_work work; // list head
    struct sl_conn *conn_first;
    struct sl_half_heads half_heads[2]; // in a small buffer; in a large one
    struct sl_plan_hold *hold, *old_holds;
    uint32_t plan_version;
    struct sl_upstream *upstreams; // of the plans in use
    struct sl_endpoint *endpoints;
    struct sl_ring *rings[SL_ISOLATES_MAX]; // NULL: nobody sits there
    uint32_t rings_here;       // their bits
    struct sl_ring *old_rings; // of isolates that ended, but something of them is still being sent
    uint32_t ring_next; // round robin over isolates
    uint32_t not_found_live;
    uint32_t hellos_lent; // exchanges that a ClientHello has
    struct sl_tls_ctx *tls_ctx[SL_LISTENERS_MAX];
    uint32_t steks_version, certificates_version;
    struct sl_timer resumption_timer; // of the first worker
    struct sl_worker_listener listeners[SL_LISTENERS_MAX];
    uint32_t listener_count, listeners_live;
    struct sl_date date;
    uint64_t now_ns;
    int64_t unix_us;
    uint64_t tls_failures_second; // in which so many were logged
    uint32_t tls_failures_logged;
    uint64_t drain_started_ns, drain_deadline_ns;
    uint64_t random; // jitter
    struct sl_random secrets; // what nobody may guess
    struct sl_counters counters;
    struct sl_counters published; // a copy for readers, under the gateway's lock
    // Read by other workers, when they accept:
    _Alignas(128) _Atomic uint32_t conns_shown; // conns.used, as of the last accept or turn
    // Read by the control plane, as of the last turn: isolates that a plan in use names or that have requests; those that have a ring, perhaps an old one.
    _Atomic uint32_t isolates_busy, isolates_taken;
    // Written by other threads:
    _Alignas(128) _Atomic(struct sl_io *) wake_io; // NULL: not running
    _Atomic uint32_t commands;                      // enum sl_worker_command bits
    _Atomic uint32_t wakers;                        // threads inside sl_gateway_wake
    // Per isolate: its life (rings handed over so far), which of its lives have ended, and the ring of a new one until the worker takes it.
    _Atomic uint32_t ring_life[SL_ISOLATES_MAX], gone_life[SL_ISOLATES_MAX];
    _Atomic(struct sl_ring *) ring_new[SL_ISOLATES_MAX];
    struct sl_handoff inbox; // connections that other workers accepted
};
// Two lines, because processors fetch them in pairs. What a worker writes on the request path lies in its own struct, mappings and rings; what
// others write into this struct (they wake it, or leave it a connection) lies behind what it writes itself.
_Static_assert(_Alignof(struct sl_worker) == 128 && sizeof(struct sl_worker) % 128 == 0, "workers share no line");
_Static_assert(offsetof(struct sl_worker, conns_shown) % 128 == 0, "its readers take no line that it writes each turn");
_Static_assert(offsetof(struct sl_worker, wake_io) % 128 == 0, "its writers share no line with it");
_Static_assert(offsetof(struct sl_worker, inbox) % 128 == 0, "givers share no line with wakers");

enum sl_worker_command { SL_COMMAND_DRAIN = 1, SL_COMMAND_STATS = 2, SL_COMMAND_RINGS = 4 };

void sl_work_init(struct sl_work *work, void (*run)(struct sl_work *work));
void sl_work_mark(struct sl_worker *worker, struct sl_work *work); // fine if it is marked
void sl_work_unmark(struct sl_work *work);

uint64_t sl_worker_memory_bytes(const struct sl_config *config); // of the pools, computed from the limits
const struct sl_config *sl_worker_config(const struct sl_worker *worker);
void sl_worker_count_status(struct sl_worker *worker, int status);
uint64_t sl_worker_jitter(struct sl_worker *worker, uint64_t value); // value +- 10 %
int64_t sl_worker_unix_us(void); // the wall clock
uint32_t sl_worker_conns(const struct sl_worker *worker); // open now, and on their way to it. Any thread

void sl_plan_hold_ref(struct sl_plan_hold *hold);
void sl_plan_hold_unref(struct sl_worker *worker, struct sl_plan_hold *hold);

// A worker's life, on the one thread that drives it: open, turns until one says that it has drained, close. That thread is sl_worker_main for
// sl_gateway_start; a test (or an isolate) may drive a worker of a gateway that was never started.
#define SL_WORKER_DRAINED 1
int sl_worker_open(struct sl_worker *worker); // takes all that it needs and listens. SL_OK or why not; sl_worker_close in either case
int sl_worker_turn(struct sl_worker *worker, uint64_t max_wait_ns); // SL_OK, SL_WORKER_DRAINED, or E_SYSTEM: the loop is lost
void sl_worker_close(struct sl_worker *worker);
void *sl_worker_main(void *worker); // the thread

#endif
