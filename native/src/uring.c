// The io_uring backend: raw system calls, our own ABI header. io layer; only this file sees an SQE.
//
//   ring        one ring and its buffer rings: set up, enter, take down. Knows bytes and flags, nothing of connections.
//   submitter   reads wishes, fills SQEs: `*_sync` compare what an owner wished with what is armed, and arm or cancel the difference.
//   completion  reads CQEs, records results in slots (io_internal.h). Never fills an SQE: it marks the slot dirty, and the submitter looks at
//   reader      it in the next turn.
//   probe       the same ring, of the same size (a limit on locked memory must show here), used once for real.
//
// Memory safety is one rule: an armed operation holds one bit in its slot, set when its SQE is filled and cleared by its completion without
// F_MORE. A slot with a bit set is not closed; a ring with one armed is not unmapped.
#include "uring_abi.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "io_internal.h"

#ifndef CQ_ENTRIES // native/tests/uring_small_test.c makes both queues overflow
#define SQ_ENTRIES 1024u
#define CQ_ENTRIES 8192u // multishot decouples completions from submissions
#endif

// What one arming of a multishot receive may take, so that a flood on one connection cannot empty the pool before its owner is asked. Linux
// 6.17; older kernels take what the socket holds (6.1), or 32 buffers.
#define RECV_BYTES_PER_ARM (4 * SL_BUF_HEAD_BYTES)

#define LOOKS_MAX 4 // enters of one look

// Ring.

struct buf_ring {
    struct uring_buf *bufs; // page aligned
    uint32_t entries;       // a power of two
    uint16_t tail;          // filled so far; published by one store per turn
    uint16_t group;
    bool registered;
};

struct ring {
    const struct sl_sys *sys;
    int fd;
    int enter_fd; // fd, or its index among the thread's registered rings
    uint32_t enter_flags;
    uint32_t features;
    bool sq_array; // the kernel is older than 6.6
    uint8_t *map;
    size_t map_bytes;
    struct uring_sqe *sqes;
    size_t sqes_bytes;
    _Atomic uint32_t *sq_head, *sq_tail, *sq_flags, *cq_head, *cq_tail;
    uint32_t sq_mask, sq_entries, cq_mask, cq_entries;
    uint32_t sq_filled; // our tail, published before each enter
    const struct uring_cqe *cqes;
    int unrestricted;    // why the kernel did not restrict it, or 0
    size_t locked_bytes; // what may count against RLIMIT_MEMLOCK, buffer rings included
    const char *stage;   // what was tried last, for messages
};

static int ring_register(const struct ring *ring, enum uring_register op, void *arg,
                         uint32_t count) {
    return ring->sys->uring_register(ring->sys, ring->fd, op, arg, count);
}

static uint64_t addr_of(const void *pointer) { return (uint64_t)(uintptr_t)pointer; }

// Needs Linux 6.1. NO_SQARRAY (6.6) saves an indirection and is dropped where it is unknown.
static int ring_setup(struct ring *ring, uint32_t sq_entries, uint32_t cq_entries,
                      struct uring_params *params) {
    const uint32_t needed = URING_SETUP_CQSIZE | URING_SETUP_CLAMP | URING_SETUP_R_DISABLED |
                            URING_SETUP_SUBMIT_ALL | URING_SETUP_SINGLE_ISSUER |
                            URING_SETUP_DEFER_TASKRUN | URING_SETUP_TASKRUN_FLAG;
    ring->stage = "io_uring_setup";
    *params =
        (struct uring_params){.flags = needed | URING_SETUP_NO_SQARRAY, .cq_entries = cq_entries};
    ring->fd = ring->sys->uring_setup(ring->sys, sq_entries, params);
    if (ring->fd < 0 && errno == EINVAL) {
        *params = (struct uring_params){.flags = needed, .cq_entries = cq_entries};
        ring->fd = ring->sys->uring_setup(ring->sys, sq_entries, params);
    }
    if (ring->fd < 0) {
        return errno;
    }
    const uint32_t features =
        URING_FEAT_SINGLE_MMAP | URING_FEAT_NODROP | URING_FEAT_SUBMIT_STABLE | URING_FEAT_EXT_ARG;
    ring->stage = "io_uring features";
    return (params->features & features) == features ? 0 : ENOSYS;
}

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

static int ring_map(struct ring *ring, const struct uring_params *params) {
    const struct uring_sq_offsets *sq = &params->sq_off;
    const struct uring_cq_offsets *cq = &params->cq_off;
    bool array = !(params->flags & URING_SETUP_NO_SQARRAY);
    size_t sq_bytes = array ? sq->array + params->sq_entries * sizeof(uint32_t) : 0;
    size_t cq_bytes = cq->cqes + params->cq_entries * sizeof(struct uring_cqe);
    ring->map_bytes = max_size(sq_bytes, cq_bytes);
    ring->sqes_bytes = params->sq_entries * sizeof(struct uring_sqe);
    ring->stage = "mmap of the ring";
    int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
    void *map = ring->sys->mmap(ring->sys, NULL, ring->map_bytes, prot, flags, ring->fd,
                                (off_t)URING_OFF_SQ_RING);
    if (map == MAP_FAILED) {
        return errno;
    }
    ring->map = map;
    void *sqes = ring->sys->mmap(ring->sys, NULL, ring->sqes_bytes, prot, flags, ring->fd,
                                 (off_t)URING_OFF_SQES);
    if (sqes == MAP_FAILED) {
        return errno;
    }
    ring->sqes = sqes;
    (void)madvise(ring->map, ring->map_bytes, MADV_DONTFORK);
    (void)madvise(ring->sqes, ring->sqes_bytes, MADV_DONTFORK);
    ring->sq_head = (_Atomic uint32_t *)(void *)(ring->map + sq->head);
    ring->sq_tail = (_Atomic uint32_t *)(void *)(ring->map + sq->tail);
    ring->sq_flags = (_Atomic uint32_t *)(void *)(ring->map + sq->flags);
    ring->cq_head = (_Atomic uint32_t *)(void *)(ring->map + cq->head);
    ring->cq_tail = (_Atomic uint32_t *)(void *)(ring->map + cq->tail);
    ring->cqes = (const struct uring_cqe *)(void *)(ring->map + cq->cqes);
    ring->sq_entries = params->sq_entries;
    ring->cq_entries = params->cq_entries;
    ring->sq_mask = ring->sq_entries - 1;
    ring->cq_mask = ring->cq_entries - 1;
    if (array) { // entry i is sqes[i], for ever
        uint32_t *index = (uint32_t *)(void *)(ring->map + sq->array);
        for (uint32_t i = 0; i < params->sq_entries; i++) {
            index[i] = i;
        }
    }
    return 0;
}

// Saves a fd look-up per enter where the ring's fd can be registered (5.18; the table is per thread and has 16 entries).
static void ring_register_fd(struct ring *ring) {
    struct uring_rsrc_update update = {.offset = UINT32_MAX, .data = (uint64_t)ring->fd};
    if (ring_register(ring, URING_REGISTER_RING_FDS, &update, 1) == 1) {
        ring->enter_fd = (int)update.offset;
        ring->enter_flags |= URING_ENTER_REGISTERED_RING;
    }
}

// What a ring may be used for from now on, whoever gets to write into it: our operations, and taking it down. Hardening, so a kernel that
// refuses is gone on with; the counter io_unrestricted says so.
static void ring_restrict(struct ring *ring) {
    static const struct uring_restriction allowed[] = {
        {URING_RESTRICT_SQE_OP, URING_OP_POLL_ADD, 0, {0}},
        {URING_RESTRICT_SQE_OP, URING_OP_SENDMSG, 0, {0}},
        {URING_RESTRICT_SQE_OP, URING_OP_ACCEPT, 0, {0}},
        {URING_RESTRICT_SQE_OP, URING_OP_ASYNC_CANCEL, 0, {0}},
        {URING_RESTRICT_SQE_OP, URING_OP_CONNECT, 0, {0}},
        {URING_RESTRICT_SQE_OP, URING_OP_SEND, 0, {0}},
        {URING_RESTRICT_SQE_OP, URING_OP_RECV, 0, {0}},
        {URING_RESTRICT_SQE_FLAGS_ALLOWED, URING_SQE_BUFFER_SELECT, 0, {0}},
        {URING_RESTRICT_REGISTER_OP, URING_UNREGISTER_RING_FDS, 0, {0}},
        {URING_RESTRICT_REGISTER_OP, URING_UNREGISTER_PBUF_RING, 0, {0}},
    };
    struct uring_restriction list[SL_COUNT_OF(allowed)];
    memcpy(list, allowed, sizeof(list));
    int rc = ring_register(ring, URING_REGISTER_RESTRICTIONS, list, SL_COUNT_OF(list));
    ring->unrestricted = rc < 0 ? errno : 0;
}

// The last step: from here on nothing more can be registered, and the ring belongs to this thread.
static int ring_enable(struct ring *ring) {
    ring->enter_fd = ring->fd;
    ring->enter_flags = URING_ENTER_GETEVENTS | URING_ENTER_EXT_ARG;
    if (ring->features & URING_FEAT_NO_IOWAIT) {
        ring->enter_flags |= URING_ENTER_NO_IOWAIT; // else an idle worker shows as iowait
    }
    ring_register_fd(ring);
    ring_restrict(ring);
    ring->stage = "io_uring_register(ENABLE_RINGS)";
    return ring_register(ring, URING_REGISTER_ENABLE_RINGS, NULL, 0) < 0 ? errno : 0;
}

static int ring_open(struct ring *ring, const struct sl_sys *sys, uint32_t sq_entries,
                     uint32_t cq_entries) {
    *ring = (struct ring){.sys = sys, .fd = -1};
    ring->locked_bytes = sq_entries * sizeof(struct uring_sqe) +
                         cq_entries * sizeof(struct uring_cqe) + sq_entries * sizeof(uint32_t);
    struct uring_params params;
    int error = ring_setup(ring, sq_entries, cq_entries, &params);
    if (!error) {
        ring->features = params.features;
        ring->sq_array = !(params.flags & URING_SETUP_NO_SQARRAY);
        error = ring_map(ring, &params);
    }
    return error;
}

static void ring_close(struct ring *ring) {
    if (ring->enter_flags & URING_ENTER_REGISTERED_RING) {
        struct uring_rsrc_update update = {.offset = (uint32_t)ring->enter_fd};
        (void)ring_register(ring, URING_UNREGISTER_RING_FDS, &update, 1);
    }
    if (ring->sqes) {
        ring->sys->munmap(ring->sys, ring->sqes, ring->sqes_bytes);
    }
    if (ring->map) {
        ring->sys->munmap(ring->sys, ring->map, ring->map_bytes);
    }
    if (ring->fd >= 0) {
        ring->sys->close(ring->sys, ring->fd);
    }
}

static uint32_t ring_unsubmitted(const struct ring *ring) {
    return ring->sq_filled - atomic_load_explicit(ring->sq_head, memory_order_acquire);
}

// NULL: full; submit first.
static struct uring_sqe *ring_sqe(struct ring *ring) {
    if (ring_unsubmitted(ring) == ring->sq_entries) {
        return NULL;
    }
    struct uring_sqe *sqe = &ring->sqes[ring->sq_filled++ & ring->sq_mask];
    *sqe = (struct uring_sqe){0};
    return sqe;
}

// The only way into the kernel. What was really submitted shows in the kernel's head, whatever this returns: 0 or errno. After min_wait_us (0:
// none; needs FEAT_MIN_TIMEOUT) one completion is enough.
static int ring_enter(struct ring *ring, uint32_t wait_count, uint64_t wait_ns,
                      uint32_t min_wait_us) {
    struct uring_timespec ts = {.sec = (int64_t)(wait_ns / SL_NS_PER_S),
                                .nsec = (int64_t)(wait_ns % SL_NS_PER_S)};
    bool timed = wait_count > 0 && wait_ns != UINT64_MAX;
    struct uring_getevents_arg arg = {.min_wait_usec = min_wait_us, .ts = timed ? addr_of(&ts) : 0};
    atomic_store_explicit(ring->sq_tail, ring->sq_filled, memory_order_release);
    int rc = ring->sys->uring_enter(ring->sys, ring->enter_fd, ring_unsubmitted(ring), wait_count,
                                    ring->enter_flags, &arg, sizeof(arg));
    return rc < 0 ? errno : 0;
}

static bool ring_overflowed(const struct ring *ring) {
    return atomic_load_explicit(ring->sq_flags, memory_order_relaxed) & URING_SQ_CQ_OVERFLOW;
}

// Whether an enter would do or tell anything that has not been: submit, run what waits for it, hand out what overflowed.
static bool ring_has_work(const struct ring *ring) {
    uint32_t flags = atomic_load_explicit(ring->sq_flags, memory_order_relaxed);
    return (flags & (URING_SQ_CQ_OVERFLOW | URING_SQ_TASKRUN)) || ring_unsubmitted(ring) > 0;
}

// Waits for one completion, at most a second: while nothing else is armed.
static int ring_cqe(struct ring *ring, struct uring_cqe *out_cqe) {
    int error = ring_enter(ring, 1, SL_NS_PER_S, 0);
    for (int again = 0; again < 100 && (error == EINTR || error == EAGAIN); again++) {
        error =
            ring_enter(ring, 1, SL_NS_PER_S, 0); // what it waits for must not come later, to others
    }
    uint32_t head = atomic_load_explicit(ring->cq_head, memory_order_relaxed);
    if (head == atomic_load_explicit(ring->cq_tail, memory_order_acquire)) {
        return error ? error : EIO;
    }
    *out_cqe = ring->cqes[head & ring->cq_mask];
    atomic_store_explicit(ring->cq_head, head + 1, memory_order_release);
    return 0;
}

// Whether the kernel knows a multishot receive's limit: if not it refuses the SQE before it looks for the file, which is none.
static bool ring_limits_recv(struct ring *ring) {
    struct uring_sqe *sqe = ring_sqe(ring);
    sqe->opcode = URING_OP_RECV;
    sqe->fd = -1;
    sqe->flags = URING_SQE_BUFFER_SELECT;
    sqe->ioprio = URING_RECV_POLL_FIRST | URING_RECV_MULTISHOT;
    sqe->optlen = RECV_BYTES_PER_ARM;
    struct uring_cqe cqe;
    return ring_cqe(ring, &cqe) == 0 && cqe.res == -EBADF;
}

// Buffer rings.

static uint32_t power_of_two_from(uint32_t n) {
    uint32_t p = 1;
    while (p < n) {
        p *= 2;
    }
    return p;
}

static int buf_ring_open(struct buf_ring *buf_ring, struct ring *ring, uint32_t count,
                         enum sl_buf_group group) {
    size_t entries = power_of_two_from(count);
    buf_ring->entries = (uint32_t)entries;
    buf_ring->group = (uint16_t)group;
    ring->stage = "mmap of a buffer ring";
    ring->locked_bytes += entries * sizeof(struct uring_buf);
    // mmap, because it must be page aligned.
    void *bufs = ring->sys->mmap(ring->sys, NULL, entries * sizeof(struct uring_buf),
                                 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bufs == MAP_FAILED) {
        return errno;
    }
    buf_ring->bufs = bufs;
    (void)madvise(bufs, entries * sizeof(struct uring_buf), MADV_DONTFORK);
    struct uring_buf_reg reg = {
        .ring_addr = addr_of(bufs),
        .ring_entries = buf_ring->entries,
        .bgid = buf_ring->group,
    };
    ring->stage = "io_uring_register(PBUF_RING)";
    if (ring_register(ring, URING_REGISTER_PBUF_RING, &reg, 1) < 0) {
        return errno;
    }
    buf_ring->registered = true;
    return 0;
}

static void buf_ring_close(struct buf_ring *buf_ring, struct ring *ring) {
    if (buf_ring->registered) {
        struct uring_buf_reg reg = {.bgid = buf_ring->group};
        (void)ring_register(ring, URING_UNREGISTER_PBUF_RING, &reg, 1);
    }
    if (buf_ring->bufs) {
        ring->sys->munmap(ring->sys, buf_ring->bufs, buf_ring->entries * sizeof(struct uring_buf));
    }
}

static void buf_ring_fill(struct buf_ring *buf_ring, void *data, uint32_t len, uint16_t id) {
    struct uring_buf *buf = &buf_ring->bufs[buf_ring->tail++ & (buf_ring->entries - 1)];
    buf->addr = addr_of(data);
    buf->len = len;
    buf->bid = id; // and not resv: of the first entry it is the tail
}

static void buf_ring_publish(struct buf_ring *buf_ring) {
    _Atomic uint16_t *tail = (_Atomic uint16_t *)(void *)&buf_ring->bufs[0].resv;
    atomic_store_explicit(tail, buf_ring->tail, memory_order_release);
}

// Pace: how fast receives come, and from how many connections. It decides whether a wait is for several of them.
//
// The more one enter brings, the less each costs, in system calls and in the kernel's own work; but whoever waits for more is late with the
// first. So: only as many as are expected within BATCH_NS anyway, at most one per BATCH_SHARE busy connections (few that wait for their
// answers would send nothing more meanwhile), not if so many have just come by themselves, and after MIN_WAIT_US whatever is there. Few
// connections, or slow ones, are never waited for.
#define BATCH_NS 40000u
#define BATCH_SHARE 8u
#define MIN_WAIT_US 50u
#define PACE_WINDOW 64u       // receives among which the busy connections are counted
#define SMALL_SEND_BYTES 8192 // completes while it is submitted, as a rule

struct pace {
    uint64_t last_ns; // when receives came last
    uint64_t gap_ns;  // between two of them: a moving average
    uint32_t recvs;   // since the last wait
    uint32_t last;    // the last that was not 0
    uint32_t sends;   // small ones that were submitted since the last wait
    uint32_t window, window_recvs, window_conns;
    uint32_t busy; // connections in the window before this one
};

static void pace_recv(struct pace *pace, struct sl_io_conn *io_conn) {
    pace->recvs++;
    pace->window_conns += io_conn->window != pace->window;
    io_conn->window = pace->window;
    if (++pace->window_recvs == PACE_WINDOW) {
        pace->busy = pace->window_conns;
        pace->window_recvs = pace->window_conns = 0;
        pace->window++;
    }
}

// How many receives to wait for; 0: whatever comes first.
static uint32_t pace_batch(struct pace *pace, uint64_t now_ns) {
    if (pace->recvs > 0) {
        uint64_t gap_ns = sl_min_u64((now_ns - pace->last_ns) / pace->recvs, SL_NS_PER_MS);
        pace->gap_ns = (7 * pace->gap_ns + gap_ns) / 8;
        pace->last_ns = now_ns;
        pace->last = pace->recvs;
        pace->recvs = 0;
    }
    uint64_t batch = sl_min_u64(BATCH_NS / (pace->gap_ns + 1), pace->busy / BATCH_SHARE);
    return pace->last < batch ? (uint32_t)batch : 0;
}

// State of the backend.

struct uring {
    struct ring ring;
    struct buf_ring bufs[2]; // by enum sl_buf_group: HEAD, BODY
    uint32_t listener_ops;   // accepts and their cancels that are armed
    bool wake_armed, wake_cancelling;
    bool recv_limited; // the kernel takes RECV_BYTES_PER_ARM
    int lost; // errno of an enter after which the ring cannot be trusted; told by the next wait
    struct pace pace;
};

static struct uring *uring_of(const struct sl_io *io) { return io->impl; }

// Submitter.

// Makes room if it must. NULL: the kernel takes nothing before its completions are read.
static struct uring_sqe *sqe_take(struct sl_io *io) {
    struct ring *ring = &uring_of(io)->ring;
    struct uring_sqe *sqe = ring_sqe(ring);
    if (!sqe) {
        io->counters->io_enters++;
        (void)ring_enter(ring, 0, 0, 0);
        sqe = ring_sqe(ring);
    }
    return sqe;
}

// An SQE for an operation of a connection, which from now on holds its slot.
static struct uring_sqe *conn_sqe(struct sl_io *io, struct sl_io_conn *io_conn, enum sl__io_op op,
                                  enum uring_op opcode) {
    struct uring_sqe *sqe = sqe_take(io);
    if (sqe) {
        sl__io_arm(io, io_conn, op);
        sqe->opcode = (uint8_t)opcode;
        sqe->fd = io_conn->fd;
        sqe->user_data = sl__ud(op, io_conn->gen, io_conn->slot);
    }
    return sqe;
}

// POLL_FIRST: it waits for data before it takes a buffer, so ENOBUFS means data without a buffer, never an idle connection.
// The operation's name says which buffers it takes.
static bool recv_arm(struct sl_io *io, struct sl_io_conn *io_conn) {
    bool stream = io_conn->want == SL_RECV_STREAM;
    enum sl_buf_group group = sl__io_recv_group(io, io_conn);
    struct uring_sqe *sqe =
        conn_sqe(io, io_conn, group == SL_BUF_HEAD ? SL__OP_RECV : SL__OP_RECV_ONCE, URING_OP_RECV);
    if (!sqe) {
        return false;
    }
    io_conn->flags &= ~(SL__F_ONE | SL__F_FRESH);
    io_conn->flags |= stream ? SL__F_FRESH : SL__F_ONE;
    sqe->flags = URING_SQE_BUFFER_SELECT;
    sqe->ioprio = (uint16_t)(URING_RECV_POLL_FIRST | (stream ? URING_RECV_MULTISHOT : 0));
    sqe->buf_group = (uint16_t)group;
    sqe->optlen = stream && uring_of(io)->recv_limited ? RECV_BYTES_PER_ARM : 0;
    return true;
}

// By name, not by fd: only this operation of this life of the slot. Its own completion says nothing of the target.
static bool op_cancel(struct sl_io *io, struct sl_io_conn *io_conn, enum sl__io_op op) {
    struct uring_sqe *sqe = conn_sqe(io, io_conn, SL__OP_CANCEL, URING_OP_ASYNC_CANCEL);
    if (!sqe) {
        return false;
    }
    sqe->fd = -1;
    sqe->addr = sl__ud(op, io_conn->gen, io_conn->slot);
    return true;
}

// A multishot receive that is no longer wished is cancelled; a one-shot one is left: it takes at most one more buffer. Nothing new is armed
// before the old one is gone, or two receives would race for the order of the bytes.
static bool recv_sync(struct sl_io *io, struct sl_io_conn *io_conn) {
    uint32_t armed = io_conn->armed;
    if (io_conn->flags & (SL__F_ENDED | SL__F_STARVED)) {
        return true;
    }
    bool one =
        armed & (SL__BIT(SL__OP_RECV) | SL__BIT(SL__OP_RECV_ONCE)) && (io_conn->flags & SL__F_ONE);
    if (one) {
        return true;
    }
    if (armed & SL__BIT(SL__OP_RECV)) {
        bool cancel = io_conn->want != SL_RECV_STREAM && !(armed & SL__BIT(SL__OP_CANCEL));
        return !cancel || op_cancel(io, io_conn, SL__OP_RECV);
    }
    bool arm =
        io_conn->want == SL_RECV_STREAM || (io_conn->want == SL_RECV_ONCE && !io_conn->inbox_first);
    return !arm || recv_arm(io, io_conn);
}

// WAITALL: the kernel goes on by itself when the socket has room again. One piece needs no message: the kernel then copies and checks neither
// its header nor its vector.
static bool send_sync(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (!(io_conn->flags & SL__F_SEND)) {
        return true;
    }
    const struct iovec *iov = io_conn->msg->msg_iov;
    bool plain = io_conn->msg->msg_iovlen == 1 && iov->iov_len <= INT32_MAX;
    struct uring_sqe *sqe =
        conn_sqe(io, io_conn, SL__OP_SEND, plain ? URING_OP_SEND : URING_OP_SENDMSG);
    if (!sqe) {
        return false;
    }
    sqe->addr = plain ? addr_of(iov->iov_base) : addr_of(io_conn->msg);
    sqe->len = plain ? (uint32_t)iov->iov_len : 1;
    sqe->op_flags = MSG_WAITALL | MSG_NOSIGNAL | (uint32_t)io_conn->msg->msg_flags;
    io_conn->flags &= ~SL__F_SEND;
    uring_of(io)->pace.sends += plain && iov->iov_len <= SMALL_SEND_BYTES;
    return true;
}

static bool connect_sync(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (!(io_conn->flags & SL__F_CONNECT)) {
        return true;
    }
    struct uring_sqe *sqe = conn_sqe(io, io_conn, SL__OP_CONNECT, URING_OP_CONNECT);
    if (!sqe) {
        return false;
    }
    sqe->addr = addr_of(&io_conn->addr); // the slot keeps it
    sqe->off = io_conn->addr_len;
    io_conn->flags &= ~SL__F_CONNECT;
    return true;
}

// close(2) would not end what is armed. shutdown(2) does, but sends FIN, which an abort must not, and does not end a connect: there the
// operations are cancelled. Not IORING_OP_SHUTDOWN: it always needs a kernel thread.
static bool closing_sync(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (io_conn->flags & SL__F_CLOSED) {
        return true;
    }
    if (io_conn->armed == 0) {
        sl__io_close_now(io, io_conn);
        return true;
    }
    bool cancel = (io_conn->flags & SL__F_ABORT) || (io_conn->armed & SL__BIT(SL__OP_CONNECT));
    if (!cancel && !(io_conn->flags & SL__F_SHUT)) {
        (void)io->sys->shutdown(io->sys, io_conn->fd, SHUT_RDWR);
        io_conn->flags |= SL__F_SHUT;
    }
    if (!cancel || (io_conn->armed & SL__BIT(SL__OP_CANCEL))) {
        return true;
    }
    // One after the other, by name: all of a descriptor at once would make the kernel look at everything that is armed, for each connection.
    enum sl__io_op op = (enum sl__io_op)__builtin_ctz(io_conn->armed);
    return op_cancel(io, io_conn, op);
}

static bool uring_conn_sync(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (io_conn->state == SL__IO_CLOSING) {
        return closing_sync(io, io_conn);
    }
    if (io_conn->state == SL__IO_CONNECTING) {
        return connect_sync(io, io_conn);
    }
    if (!recv_sync(io, io_conn) || !send_sync(io, io_conn)) {
        return false;
    }
    sl__io_shutdown_now(io, io_conn);
    return true;
}

static struct uring_sqe *listener_sqe(struct sl_io *io, uint32_t index, enum sl__io_op op,
                                      enum uring_op opcode) {
    struct uring_sqe *sqe = sqe_take(io);
    if (sqe) {
        uring_of(io)->listener_ops++;
        sl__io_op_begin(io);
        sqe->opcode = (uint8_t)opcode;
        sqe->user_data = sl__ud(op, io->listeners[index].gen, index);
    }
    return sqe;
}

static bool uring_listener_sync(struct sl_io *io, uint32_t index) {
    struct sl__listener *listener = &io->listeners[index];
    if (listener->armed && listener->cancelling) {
        return true;
    }
    enum sl__io_op op = listener->armed ? SL__OP_CANCEL_ACCEPT : SL__OP_ACCEPT;
    struct uring_sqe *sqe =
        listener_sqe(io, index, op, listener->armed ? URING_OP_ASYNC_CANCEL : URING_OP_ACCEPT);
    if (!sqe) {
        return false;
    }
    if (listener->armed) {
        sqe->fd = -1;
        sqe->addr = sl__ud(SL__OP_ACCEPT, listener->gen, index);
        listener->cancelling = true;
    } else {
        sqe->fd = listener->fd;
        sqe->ioprio = URING_ACCEPT_MULTISHOT;
        sqe->op_flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
        listener->armed = true;
    }
    return true;
}

// A multishot poll tells each write of the eventfd: its counter need not be read.
static void wake_sync(struct sl_io *io) {
    struct uring *uring = uring_of(io);
    struct uring_sqe *sqe = uring->wake_armed ? NULL : sqe_take(io);
    if (sqe) {
        sqe->opcode = URING_OP_POLL_ADD;
        sqe->fd = io->wake_fd;
        sqe->len = URING_POLL_ADD_MULTI;
        sqe->op_flags = POLLIN;
        sqe->user_data = sl__ud(SL__OP_WAKE, 0, 0);
        uring->wake_armed = true;
        io->counters->io_sqes++;
    }
}

static void bufs_sync(struct sl_io *io, struct buf_ring *buf_ring) {
    struct sl_buf *buf = sl_buf_to_kernel(io->pool, (enum sl_buf_group)buf_ring->group);
    if (!buf) {
        return;
    }
    for (; buf; buf = sl_buf_to_kernel(io->pool, (enum sl_buf_group)buf_ring->group)) {
        buf_ring_fill(buf_ring, buf->data, buf->cap, buf->id);
    }
    buf_ring_publish(buf_ring);
}

static void uring_begin(struct sl_io *io) {
    struct uring *uring = uring_of(io);
    bufs_sync(io, &uring->bufs[SL_BUF_HEAD]);
    bufs_sync(io, &uring->bufs[SL_BUF_BODY]);
    wake_sync(io);
}

// Completion reader.

static bool error_passes(int error) { return error == -EINTR || error == -EAGAIN; }

// A send that fails in its middle returns what was sent and keeps the error, which the socket tells but once: then the next send sees EPIPE,
// and receiving a plain end that is none. The socket's state knows.
static int true_result(const struct sl_io *io, const struct sl_io_conn *io_conn, int res) {
    bool doubtful = (res == 0 || res == -EPIPE) && (io_conn->flags & SL__F_SHORT);
    return doubtful && sl__io_is_reset(io, io_conn) ? -ECONNRESET : res;
}

// A multishot receive that finds data and a reset when it is armed reads the data, and never hears of the reset: that was one wake-up for both, and
// no other comes (Linux up to 6.18 at least; a FIN counts as something more to receive). So once the first of an arming is read, the socket is asked.
static void reset_behind(struct sl_io *io, struct sl_io_conn *io_conn, uint32_t cqe_flags) {
    if (!(io_conn->flags & SL__F_FRESH) || (cqe_flags & URING_CQE_F_SOCK_NONEMPTY)) {
        return;
    }
    io_conn->flags &= ~SL__F_FRESH;
    if ((cqe_flags & URING_CQE_F_MORE) && sl__io_is_reset(io, io_conn)) {
        sl__io_got_end(io, io_conn, -ECONNRESET);
    }
}

// ECANCELED is our own doing; the submitter arms again what is still wished. So it does after EINTR and EAGAIN.
static void recv_done(struct sl_io *io, struct sl_io_conn *io_conn, int res, struct sl_buf *buf,
                      uint32_t cqe_flags) {
    if (res > 0) {
        bool last = !(cqe_flags & URING_CQE_F_MORE);
        SL_ASSERT(buf);
        pace_recv(&uring_of(io)->pace, io_conn);
        if (last && !(io_conn->flags & SL__F_ONE) && !uring_of(io)->recv_limited &&
            io_conn->want == SL_RECV_STREAM) {
            io->counters->io_multishot_ended++;
        }
        sl__io_got_data(io, io_conn, buf, (uint32_t)res);
        reset_behind(io, io_conn, cqe_flags);
        return;
    }
    sl_buf_unref(io->pool, buf);
    if (res == -ENOBUFS) {
        sl__io_got_no_buf(io, io_conn);
    } else if (res != -ECANCELED && !error_passes(res)) {
        sl__io_got_end(io, io_conn, true_result(io, io_conn, res));
    }
}

static void send_done(struct sl_io *io, struct sl_io_conn *io_conn, int res) {
    if (res < 0) {
        sl__io_got_sent(io, io_conn, error_passes(res) ? 0 : true_result(io, io_conn, res));
        return;
    }
    io_conn->flags &= ~SL__F_SHORT;
    sl__io_got_sent(io, io_conn, res);
    if (io_conn->flags & SL__F_SEND) {
        io_conn->flags |= SL__F_SHORT;
    }
}

static void conn_done(struct sl_io *io, struct sl_io_conn *io_conn, enum sl__io_op op, int res,
                      struct sl_buf *buf, uint32_t cqe_flags) {
    if (!(cqe_flags & URING_CQE_F_MORE)) {
        sl__io_disarm(io, io_conn, op);
        sl__io_dirty(io, io_conn); // arm again, or close
    }
    switch (op) {
    case SL__OP_RECV:
    case SL__OP_RECV_ONCE:
        recv_done(io, io_conn, res, buf, cqe_flags);
        return;
    case SL__OP_SEND:
        send_done(io, io_conn, res);
        return;
    case SL__OP_CONNECT:
        sl__io_got_connect(io, io_conn, res);
        return;
    default:
        SL_ASSERT(op == SL__OP_CANCEL);
    }
}

static void listener_done(struct sl_io *io, uint32_t index, enum sl__io_op op, int res, bool last) {
    struct sl__listener *listener = &io->listeners[index];
    if (last) {
        uring_of(io)->listener_ops--;
        sl__io_op_end(io);
        *(op == SL__OP_ACCEPT ? &listener->armed : &listener->cancelling) = false;
    }
    if (op == SL__OP_CANCEL_ACCEPT) {
        return;
    }
    if (res >= 0) {
        sl__io_got_accept(io, index, res);
        io->counters->io_multishot_ended += last && listener->state == SL__LISTENER_ON;
    } else if (!sl__io_accept_error_passes(-res)) {
        sl__io_got_accept(io, index, res);
    }
}

static void wake_done(struct sl_io *io, enum sl__io_op op, bool last) {
    struct uring *uring = uring_of(io);
    if (op == SL__OP_CANCEL_WAKE) {
        uring->wake_cancelling = false;
        return;
    }
    sl__io_got_wake(io);
    if (last) {
        uring->wake_armed = false;
    }
}

static void stale(struct sl_io *io, struct sl_buf *buf) {
    io->counters->io_stale_cqes++;
    sl_buf_unref(io->pool, buf); // it is ours again all the same
}

static void cqe_read(struct sl_io *io, struct uring_cqe cqe) {
    enum sl__io_op op = sl__ud_op(cqe.user_data);
    uint32_t slot = sl__ud_slot(cqe.user_data), gen = sl__ud_gen(cqe.user_data);
    bool last = !(cqe.flags & URING_CQE_F_MORE);
    struct sl_buf *buf = NULL;
    if (cqe.flags & URING_CQE_F_BUFFER) {
        buf = sl_buf_from_kernel(io->pool, op == SL__OP_RECV ? SL_BUF_HEAD : SL_BUF_BODY,
                                 (uint16_t)(cqe.flags >> URING_CQE_BUFFER_SHIFT));
    }
    io->counters->io_cqes++;
    if (op == SL__OP_WAKE || op == SL__OP_CANCEL_WAKE) {
        wake_done(io, op, last);
        return;
    }
    io->counters->io_ops_done += last;
    if (op == SL__OP_ACCEPT || op == SL__OP_CANCEL_ACCEPT) {
        SL_ASSERT(slot < SL__LISTENERS_MAX && io->listeners[slot].gen == gen);
        listener_done(io, slot, op, cqe.res, last);
    } else {
        SL_ASSERT(slot < io->conns_max);
        if (io->conns[slot].gen == gen) {
            conn_done(io, &io->conns[slot], op, cqe.res, buf, cqe.flags);
        } else {
            stale(io, buf);
        }
    }
}

static void cq_read(struct sl_io *io) {
    struct ring *ring = &uring_of(io)->ring;
    uint32_t head = atomic_load_explicit(ring->cq_head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(ring->cq_tail, memory_order_acquire);
    for (; head != tail; head++) {
        cqe_read(io, ring->cqes[head & ring->cq_mask]);
    }
    atomic_store_explicit(ring->cq_head, head, memory_order_release);
}

// Sends that are already done when the kernel begins to wait count as completions, too.
static int wait_enter(struct sl_io *io, uint64_t wait_ns) {
    struct uring *uring = uring_of(io);
    uint32_t batch = pace_batch(&uring->pace, io->now_ns), sends = uring->pace.sends;
    bool may = (uring->ring.features & URING_FEAT_MIN_TIMEOUT) && !io->hurried;
    uring->pace.sends = 0;
    io->counters->io_enters++;
    if (wait_ns == 0 || batch == 0 || !may) {
        return ring_enter(&uring->ring, wait_ns ? 1 : 0, wait_ns, 0);
    }
    io->counters->io_batch_waits++;
    return ring_enter(&uring->ring, sends + batch, wait_ns, MIN_WAIT_US);
}

static bool enter_passes(int error) {
    return error == 0 || error == ETIME || error == EINTR || error == EBUSY || error == EAGAIN;
}

// One enter runs a bounded amount of what waits (20 pieces, Linux 6.13), and most turns find nothing: then none is made.
static bool uring_look(struct sl_io *io) {
    struct uring *uring = uring_of(io);
    for (int i = 0; i < LOOKS_MAX && ring_has_work(&uring->ring); i++) {
        io->counters->io_enters++;
        int error = ring_enter(&uring->ring, 0, 0, 0);
        if (!enter_passes(error)) {
            uring->lost = error;
            return false;
        }
        cq_read(io);
    }
    return !ring_has_work(&uring->ring);
}

// A full completion queue parks the rest in the kernel until the next enter: then this turn must not sleep.
static int uring_wait(struct sl_io *io, uint64_t wait_ns) {
    if (ring_overflowed(&uring_of(io)->ring)) {
        io->counters->io_cq_overflow++;
        wait_ns = 0;
    }
    int lost = uring_of(io)->lost;
    int error = lost ? lost : wait_enter(io, wait_ns);
    if (enter_passes(error)) {
        cq_read(io);
        return SL_OK;
    }
    return sl_fail(SL_E_SYSTEM, "io_uring_enter: %s%s", sl__errno_name(error),
                   error == EBADR ? "; a completion is lost: the kernel had no memory" : "");
}

// Life.

static const char *fix_of(int error) {
    switch (error) {
    case EPERM:
    case EACCES:
        return "seccomp or kernel.io_uring_disabled=2";
    case ENOSYS:
        return "no io_uring in this kernel or sandbox; Linux 6.1 or later is needed";
    case EINVAL:
        return "Linux 6.1 or later is needed";
    case ENOMEM:
        return "raise ulimit -l";
    case EMFILE:
    case ENFILE:
        return "raise ulimit -n";
    default:
        return "this kernel or sandbox does not support it";
    }
}

static void explain(const struct ring *ring, int error, char *out, size_t len) {
    if (error == ENOMEM) {
        snprintf(out, len, "%s: ENOMEM; raise ulimit -l (a ring needs %zu KiB)", ring->stage,
                 ring->locked_bytes / 1024 + 1);
    } else {
        snprintf(out, len, "%s: %s; %s", ring->stage, sl__errno_name(error), fix_of(error));
    }
}

// Everything still armed is cancelled and waited for: the kernel must not write into what is about to be unmapped. Taking down a ring by
// close alone is asynchronous.
static void drain_sync(struct sl_io *io) {
    struct uring *uring = uring_of(io);
    for (uint32_t i = 0; i < SL__LISTENERS_MAX; i++) {
        if (io->listeners[i].state != SL__LISTENER_FREE && io->listeners[i].armed) {
            (void)uring_listener_sync(io, i);
        }
    }
    struct uring_sqe *sqe = uring->wake_armed && !uring->wake_cancelling ? sqe_take(io) : NULL;
    if (sqe) {
        sqe->opcode = URING_OP_ASYNC_CANCEL;
        sqe->fd = -1;
        sqe->addr = sl__ud(SL__OP_WAKE, 0, 0);
        sqe->user_data = sl__ud(SL__OP_CANCEL_WAKE, 0, 0);
        uring->wake_cancelling = true;
    }
}

static void drain(struct sl_io *io) {
    struct uring *uring = uring_of(io);
    while (uring->listener_ops > 0 || uring->wake_armed || uring->wake_cancelling) {
        drain_sync(io);
        if (uring_wait(io, UINT64_MAX) != SL_OK) {
            return; // the ring is lost; no connection is open, so nothing receives any more
        }
        for (uint32_t i = 0; i < io->accepted_count; i++) {
            if (io->accepted[i].fd >= 0) {
                io->sys->close(io->sys, io->accepted[i].fd);
            }
        }
        io->accepted_count = 0;
    }
}

static void release(struct sl_io *io) {
    struct uring *uring = uring_of(io);
    for (int g = 0; g < 2; g++) {
        buf_ring_close(&uring->bufs[g], &uring->ring);
        for (uint32_t id = 0; id < io->pool->count[g]; id++) {
            if (io->pool->bufs[g][id].kernel) {
                sl_buf_unref(io->pool,
                             sl_buf_from_kernel(io->pool, (enum sl_buf_group)g, (uint16_t)id));
            }
        }
    }
    ring_close(&uring->ring);
    free(uring);
}

static void uring_free(struct sl_io *io) {
    drain(io);
    release(io);
}

static int uring_open(struct sl_io *io) {
    struct uring *uring = calloc(1, sizeof(*uring));
    if (!uring) {
        return sl_fail(SL_E_NO_MEMORY, "no memory for io_uring");
    }
    io->impl = uring;
    int error = ring_open(&uring->ring, io->sys, SQ_ENTRIES, CQ_ENTRIES);
    for (int g = 0; g < 2 && !error; g++) {
        error =
            buf_ring_open(&uring->bufs[g], &uring->ring, io->pool->count[g], (enum sl_buf_group)g);
    }
    if (!error) {
        error = ring_enable(&uring->ring);
    }
    if (error) {
        char text[256];
        explain(&uring->ring, error, text, sizeof(text));
        release(io);
        return sl_fail(SL_E_IO_UNAVAILABLE, "%s", text);
    }
    uring->recv_limited = ring_limits_recv(&uring->ring);
    io->counters->io_rings++;
    io->counters->io_unrestricted += uring->ring.unrestricted != 0;
    uring->pace = (struct pace){.gap_ns = SL_NS_PER_MS, .window = 1};
    io->accepted_cap = (LOOKS_MAX + 1) * uring->ring.cq_entries; // all reads of one turn
    return SL_OK;
}

static bool uring_attach(struct sl_io *io, struct sl_io_conn *io_conn) {
    (void)io;
    (void)io_conn;
    return true;
}

const struct sl__io_backend sl__uring = {
    .open = uring_open,
    .free = uring_free,
    .attach = uring_attach,
    .begin = uring_begin,
    .conn_sync = uring_conn_sync,
    .listener_sync = uring_listener_sync,
    .look = uring_look,
    .wait = uring_wait,
};

// Probe: what we will do, done once. Flags and features alone prove little: sandboxes know the call and refuse the operations.

struct probe {
    struct ring ring;
    struct buf_ring bufs;
    int pair[2];
    uint8_t data[2][32];
};

static int probe_receive(struct probe *probe) {
    const struct sl_sys *sys = probe->ring.sys;
    probe->ring.stage = "multishot receive";
    struct uring_sqe *sqe = ring_sqe(&probe->ring);
    sqe->opcode = URING_OP_RECV;
    sqe->fd = probe->pair[0];
    sqe->flags = URING_SQE_BUFFER_SELECT;
    sqe->ioprio = URING_RECV_POLL_FIRST | URING_RECV_MULTISHOT;
    struct uring_cqe cqe;
    if (sys->write(sys, probe->pair[1], "12345", 5) != 5) {
        return errno;
    }
    int error = ring_cqe(&probe->ring, &cqe);
    if (error || cqe.res < 0) {
        return error ? error : -cqe.res;
    }
    uint32_t flags = URING_CQE_F_BUFFER | URING_CQE_F_MORE;
    if (cqe.res != 5 || (cqe.flags & flags) != flags || memcmp(probe->data[0], "12345", 5) != 0) {
        return EOPNOTSUPP;
    }
    // The end of the stream ends it; only then may its buffer go.
    probe->ring.stage = "end of a multishot receive";
    sys->shutdown(sys, probe->pair[1], SHUT_WR);
    error = ring_cqe(&probe->ring, &cqe);
    if (error) {
        return error;
    }
    return cqe.res == 0 && !(cqe.flags & URING_CQE_F_MORE) ? 0 : EOPNOTSUPP;
}

static int probe_run(struct probe *probe, const struct sl_sys *sys) {
    int error = ring_open(&probe->ring, sys, SQ_ENTRIES, CQ_ENTRIES);
    if (!error) {
        error = buf_ring_open(&probe->bufs, &probe->ring, 2, SL_BUF_HEAD);
    }
    if (!error) {
        error = ring_enable(&probe->ring);
    }
    if (error) {
        return error;
    }
    for (uint16_t i = 0; i < 2; i++) { // the end of the stream takes one, too
        buf_ring_fill(&probe->bufs, probe->data[i], sizeof(probe->data[i]), i);
    }
    buf_ring_publish(&probe->bufs);
    probe->ring.stage = "socketpair";
    if (sys->socketpair(sys, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, probe->pair) != 0) {
        return errno;
    }
    error = probe_receive(probe);
    sys->close(sys, probe->pair[0]);
    sys->close(sys, probe->pair[1]);
    return error;
}

int sl__uring_probe(const struct sl_sys *sys, char *reason, size_t reason_len) {
    // Not on the stack: if the kernel misbehaves, a late receive must hit memory that stays.
    static _Thread_local struct probe probe;
    memset(&probe, 0, sizeof(probe));
    int error = probe_run(&probe, sys);
    buf_ring_close(&probe.bufs, &probe.ring);
    ring_close(&probe.ring);
    if (error) {
        explain(&probe.ring, error, reason, reason_len);
        return SL_E_IO_UNAVAILABLE;
    }
    snprintf(reason, reason_len, "multishot receive with a buffer ring works%s%s%s%s",
             probe.ring.sq_array ? "; without NO_SQARRAY" : "",
             probe.ring.enter_flags & URING_ENTER_REGISTERED_RING ? ""
                                                                  : "; without a registered ring",
             probe.ring.unrestricted ? "; operations are not restricted: " : "",
             probe.ring.unrestricted ? sl__errno_name(probe.ring.unrestricted) : "");
    return SL_OK;
}
