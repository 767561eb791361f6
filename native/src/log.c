#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sluice/sluice.h"

#define BATCH_BYTES 65536u
#define NAP_MIN_MS 1u
#define NAP_MAX_MS 50u
#define FLUSH_MS 1000u
#define MASK (SL_LOG_RING_RECORDS - 1)

_Static_assert((SL_LOG_RING_RECORDS & MASK) == 0, "a power of two");

// One producer, one consumer. head and tail count records and never wrap in practice; head - tail is what waits.
struct ring {
    _Alignas(128) _Atomic uint64_t head; // the worker's line
    uint64_t tail_seen;                  // a stale tail, refreshed only when the ring looks full
    _Alignas(128) _Atomic uint64_t tail; // the thread's line
    _Alignas(128) struct sl_log_record records[SL_LOG_RING_RECORDS];
};

// The thread's state is the futex that it sleeps on.
//   AWAKE    drains, or naps between two drains. Workers need not do anything
//   IDLE     nothing came for NAP_MAX_MS: it sleeps without a timer until a worker, whose CAS wins, wakes it. So a worker wakes it at most
//            once in NAP_MAX_MS
//   STOP     sl_log_free wants it to drain and end
//   ABANDON  sl_log_free waits no longer: write nothing more
enum { AWAKE = 0, IDLE = 1, STOP = 2, ABANDON = 3 };

struct sl_log {
    int kind, fd;
    uint32_t workers;
    struct ring *rings;
    pthread_t thread;
    _Atomic uint32_t state;
    _Atomic uint32_t ended; // 1: the thread is done, 2: sl_log_free left. Who comes second frees
    _Atomic uint64_t lost;
    uint32_t batch_len;
    bool torn; // the last byte written is inside a line
    uint8_t batch[BATCH_BYTES];
};

static void futex_wait(_Atomic uint32_t *word, uint32_t expected, uint32_t ms) {
    struct timespec timeout = {ms / 1000, (long)(ms % 1000) * 1000000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, ms ? &timeout : NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

// ---- the worker's side ----

struct sl_log_record *sl_log_begin(struct sl_log *log, uint32_t worker) {
    SL_ASSERT(worker < log->workers);
    struct ring *ring = &log->rings[worker];
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - ring->tail_seen == SL_LOG_RING_RECORDS) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head - ring->tail_seen == SL_LOG_RING_RECORDS) {
            return NULL;
        }
    }
    return &ring->records[head & MASK];
}

void sl_log_commit(struct sl_log *log, uint32_t worker) {
    struct ring *ring = &log->rings[worker];
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    // Sequentially consistent on both sides: either the thread, going idle, sees this record, or we see that it is idle.
    atomic_store(&ring->head, head + 1);
    uint32_t idle = IDLE;
    if (SL_UNLIKELY(atomic_load(&log->state) == IDLE) &&
        atomic_compare_exchange_strong(&log->state, &idle, AWAKE)) {
        futex_wake(&log->state);
    }
}

// ---- the thread's side ----

static bool is_abandoned(const struct sl_log *log) {
    return atomic_load_explicit(&log->state, memory_order_relaxed) == ABANDON;
}

// Bytes written; 0: try again; -1: lost.
static ssize_t write_some(const struct sl_log *log, const uint8_t *data, size_t len) {
    ssize_t n = write(log->fd, data, len);
    if (n > 0) {
        return n;
    }
    if (n < 0 && errno == EAGAIN) { // the caller's descriptor is non-blocking
        struct pollfd pollfd = {.fd = log->fd, .events = POLLOUT};
        poll(&pollfd, 1, NAP_MAX_MS);
        return 0;
    }
    return n < 0 && errno == EINTR ? 0 : -1;
}

// What could not be written is counted by lines. One of which half is out already is closed before the next.
static void batch_lose(struct sl_log *log, uint32_t off) {
    uint64_t lines = 0;
    for (uint32_t i = off; i < log->batch_len; i++) {
        lines += log->batch[i] == '\n';
    }
    log->torn = off > 0 ? log->batch[off - 1] != '\n' : log->torn;
    atomic_fetch_add_explicit(&log->lost, lines, memory_order_relaxed);
}

static void batch_write(struct sl_log *log) {
    uint32_t off = 0;
    while (off < log->batch_len) {
        ssize_t n =
            is_abandoned(log) ? -1 : write_some(log, log->batch + off, log->batch_len - off);
        if (n < 0) {
            batch_lose(log, off);
            break;
        }
        off += (uint32_t)n;
        log->torn = false;
    }
    log->batch_len = 0;
}

static void batch_add(struct sl_log *log, const struct sl_log_record *record) {
    if (log->batch_len + SL_LOG_LINE_MAX + 1 > BATCH_BYTES) {
        batch_write(log);
    }
    if (log->batch_len == 0 && log->torn) {
        log->batch[log->batch_len++] = '\n';
    }
    log->batch_len +=
        (uint32_t)sl_log_format(log->kind, record, (char *)log->batch + log->batch_len);
}

// Takes what lies in the ring now. The slot is given back before the line is written: a slow reader costs the batch's room, not the ring's.
static uint32_t drain_ring(struct sl_log *log, struct ring *ring) {
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint32_t count = (uint32_t)(head - tail);
    for (; tail != head; tail++) {
        batch_add(log, &ring->records[tail & MASK]);
        atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    }
    return count;
}

// Drains all rings and writes. Returns the records of the fullest one.
static uint32_t drain(struct sl_log *log) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < log->workers; i++) {
        uint32_t count = drain_ring(log, &log->rings[i]);
        most = count > most ? count : most;
    }
    batch_write(log);
    return most;
}

static bool has_records(const struct sl_log *log) {
    for (uint32_t i = 0; i < log->workers; i++) {
        if (atomic_load(&log->rings[i].head) !=
            atomic_load_explicit(&log->rings[i].tail, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

// Sleeps until a worker has something. The look after the announcement pairs with sl_log_commit.
static void sleep_idle(struct sl_log *log) {
    uint32_t awake = AWAKE;
    if (!atomic_compare_exchange_strong(&log->state, &awake, IDLE)) {
        return;
    }
    uint32_t idle = IDLE;
    if (has_records(log)) {
        atomic_compare_exchange_strong(&log->state, &idle, AWAKE);
        return;
    }
    while (atomic_load(&log->state) == IDLE) {
        futex_wait(&log->state, IDLE, 0);
    }
}

// Longer naps while few records come (bigger batches, fewer wake-ups), shorter ones before a ring could run full.
static uint32_t next_nap(uint32_t nap_ms, uint32_t most) {
    if (most > SL_LOG_RING_RECORDS / 4) {
        return nap_ms > NAP_MIN_MS ? nap_ms / 2 : NAP_MIN_MS;
    }
    return most > SL_LOG_RING_RECORDS / 8 ? nap_ms : sl_min_u32(nap_ms * 2, NAP_MAX_MS);
}

static void run(struct sl_log *log) {
    uint32_t nap_ms = NAP_MIN_MS, quiet_ms = NAP_MAX_MS;
    while (atomic_load(&log->state) < STOP) {
        uint32_t most = drain(log);
        quiet_ms = most ? 0 : quiet_ms + nap_ms;
        if (quiet_ms >= NAP_MAX_MS) {
            sleep_idle(log);
            nap_ms = NAP_MIN_MS;
            quiet_ms = 0;
        } else {
            nap_ms = next_nap(nap_ms, most);
            futex_wait(&log->state, AWAKE, nap_ms);
        }
    }
    while (!is_abandoned(log) && drain(log) > 0) {
    }
}

static void log_free(struct sl_log *log) {
    if (log->fd >= 0) {
        close(log->fd);
    }
    free(log->rings);
    free(log);
}

// True for the second of the two, thread and sl_log_free, who then owns the log.
static bool leave(struct sl_log *log, uint32_t mark) {
    uint32_t nobody = 0;
    return !atomic_compare_exchange_strong(&log->ended, &nobody, mark);
}

static void *thread_main(void *arg) {
    struct sl_log *log = arg;
    run(log);
    if (leave(log, 1)) {
        log_free(log);
    } else {
        futex_wake(&log->ended);
    }
    return NULL;
}

// ---- life ----

// Signals are the process's business: none may land on this thread, and a closed pipe is an error here, not SIGPIPE.
static int thread_start(struct sl_log *log) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&log->thread, NULL, thread_main, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        pthread_setname_np(log->thread, "sluice-log");
    }
    return rc;
}

static struct sl_log *log_alloc(int kind, uint32_t workers) {
    struct sl_log *log = calloc(1, sizeof(*log));
    size_t bytes = workers * sizeof(struct ring);
    if (log) {
        log->kind = kind;
        log->workers = workers;
        log->fd = -1;
        log->rings = aligned_alloc(_Alignof(struct ring), bytes);
    }
    if (!log || !log->rings) {
        free(log);
        return NULL;
    }
    memset(log->rings, 0, bytes); // all of it is touched here, not by the first requests
    return log;
}

int sl_log_new(struct sl_log **out_log, int kind, uint32_t workers, int fd) {
    *out_log = NULL;
    if (kind == SL_LOG_OFF) {
        return SL_OK;
    }
    if ((kind != SL_LOG_TEXT && kind != SL_LOG_JSON) || workers == 0 || workers > SL_WORKERS_MAX) {
        return sl_fail(SL_E_INVALID, "log: kind %d for %u workers", kind, workers);
    }
    struct sl_log *log = log_alloc(kind, workers);
    if (!log) {
        return sl_fail(SL_E_NO_MEMORY, "out of memory for the log's rings (%zu bytes each)",
                       sizeof(struct ring));
    }
    log->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (log->fd < 0) {
        int error = errno;
        log_free(log);
        return sl_fail(SL_E_SYSTEM, "log: cannot duplicate descriptor %d: %s", fd, strerror(error));
    }
    int rc = thread_start(log);
    if (rc != 0) {
        log_free(log);
        return sl_fail(SL_E_SYSTEM, "log: cannot start its thread: %s", strerror(rc));
    }
    *out_log = log;
    return SL_OK;
}

void sl_log_free(struct sl_log *log) {
    if (!log) {
        return;
    }
    pthread_t thread = log->thread;
    atomic_store(&log->state, STOP);
    futex_wake(&log->state);
    for (uint32_t ms = 0; ms < FLUSH_MS && atomic_load(&log->ended) == 0; ms += NAP_MAX_MS) {
        futex_wait(&log->ended, 0, NAP_MAX_MS);
    }
    atomic_store(&log->state, ABANDON);
    if (leave(log, 2)) {
        pthread_join(thread, NULL);
        log_free(log);
    } else {
        pthread_detach(thread);
    }
}

uint64_t sl_log_lost(const struct sl_log *log) {
    return atomic_load_explicit(&log->lost, memory_order_relaxed);
}
