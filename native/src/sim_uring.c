#include "sim_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "uring_abi.h"

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif

#ifdef SIM_ASAN
#include <sanitizer/asan_interface.h>
#endif

#define GROUPS_MAX 4
#define SQ_MAX 32768u
#define CQ_MAX 65536u
#define ROUNDS_MAX 32 // of one multishot operation, then the others get their turn
#define FEATURES                                                                                   \
    (URING_FEAT_SINGLE_MMAP | URING_FEAT_NODROP | URING_FEAT_SUBMIT_STABLE | URING_FEAT_EXT_ARG |  \
     URING_FEAT_NO_IOWAIT)

struct held {
    uint64_t addr;
    uint32_t len;
    bool held;
};

struct group {
    struct uring_buf *bufs; // ours to read, theirs to fill; NULL: none
    uint32_t entries;
    uint16_t head, seen; // taken so far; looked at so far
    struct held *held;   // by buffer id
};

struct sim__op {
    struct sim__op *next, *file_next;
    struct ring *ring;
    struct sim__file *file;
    enum uring_op opcode;
    uint64_t user_data;
    uint32_t events; // that it waits for
    uint64_t order;  // of its work
    bool queued;     // has work for the next enter
    bool twice;      // was woken again before that
    bool cancelled;
    bool multishot, select, last_words;
    uint16_t group;
    uint32_t flags;  // accept: of the new descriptor; send: MSG_*
    uint64_t budget; // receive: bytes left; 0: without a limit
    struct iovec *iov, *iov_all;
    size_t iov_count;
    uint64_t done, total;
    uint8_t *copy; // what the message was when it was given: from byte copy_at on
    uint64_t copy_at;
};

struct ring {
    struct sim__file file;
    uint32_t flags, sq_entries, cq_entries;
    uint8_t *map;
    struct uring_sqe *sqes;
    size_t map_bytes, sqes_bytes;
    bool mapped[2], enabled, restricted;
    uint64_t allowed_ops, allowed_registers;
    uint32_t allowed_flags;
    pthread_t owner;
    struct sim__op *ops;
    uint64_t order;
    struct group groups[GROUPS_MAX];
    struct uring_cqe *overflow;
    uint32_t overflow_count, overflow_cap;
    struct uring_cqe late[64]; // of cancels: a later enter brings them
    uint32_t late_count;
};

// Offsets in the ring's memory; the CQEs follow, then the SQ array.
enum {
    SQ_HEAD = 0,
    SQ_TAIL = 64,
    SQ_FLAGS = 128,
    CQ_HEAD = 192,
    CQ_TAIL = 256,
    CONSTANTS = 320,
    CQES = 384
};

static int result(int rc) {
    errno = rc < 0 ? -rc : errno;
    return rc < 0 ? -1 : rc;
}

static _Atomic uint32_t *word(const struct ring *ring, int offset) {
    return (_Atomic uint32_t *)(void *)(ring->map + offset);
}

static struct uring_cqe *cqes_of(const struct ring *ring) {
    return (struct uring_cqe *)(void *)(ring->map + CQES);
}

static uint32_t *array_of(const struct ring *ring) {
    return (uint32_t *)(void *)(ring->map + CQES + ring->cq_entries * sizeof(struct uring_cqe));
}

static struct ring *ring_at(struct sl_sim *sim, int fd) {
    return (struct ring *)sim__file(sim, fd, SIM__RING);
}

// Buffers that we hold. Nobody else may look at them: poisoned under ASan, else marked at both ends.

#ifndef SIM_ASAN
static uint8_t mark_of(uint64_t addr, uint32_t i) { return (uint8_t)(0xa5 ^ addr >> 12 ^ i); }
#endif

static uint8_t *bytes_at(uint64_t addr) { return (uint8_t *)(uintptr_t)addr; }

static void buf_hold(const struct held *held) {
#ifdef SIM_ASAN
    ASAN_POISON_MEMORY_REGION(bytes_at(held->addr), held->len);
#else
    for (uint32_t i = 0; i < sl_min_u32(held->len, 64); i++) {
        bytes_at(held->addr)[i] = mark_of(held->addr, i);
        bytes_at(held->addr)[held->len - 1 - i] = mark_of(held->addr, i);
    }
#endif
}

static void buf_let_go(struct sl_sim *sim, const struct held *held) {
#ifdef SIM_ASAN
    (void)sim;
    ASAN_UNPOISON_MEMORY_REGION(bytes_at(held->addr), held->len);
#else
    for (uint32_t i = 0; held->len >= 128 && i < 64; i++) {
        if (bytes_at(held->addr)[i] != mark_of(held->addr, i) ||
            bytes_at(held->addr)[held->len - 1 - i] != mark_of(held->addr, i)) {
            sl_sim_fail(sim, "a buffer was written to while the kernel held it");
        }
    }
#endif
}

static void group_look(struct sl_sim *sim, struct group *group) {
    if (!group->bufs) {
        return;
    }
    _Atomic uint16_t *tail = (_Atomic uint16_t *)(void *)&group->bufs[0].resv;
    uint16_t end = atomic_load_explicit(tail, memory_order_acquire);
    if ((uint16_t)(end - group->head) > group->entries) {
        sl_sim_fail(sim, "a buffer ring of %u entries was given %u", group->entries,
                    (uint16_t)(end - group->head));
    }
    for (; group->seen != end; group->seen++) {
        const struct uring_buf *buf = &group->bufs[group->seen & (group->entries - 1)];
        if (buf->bid >= group->entries || buf->addr == 0 || buf->len == 0) {
            sl_sim_fail(sim, "a buffer ring's entry makes no sense: id %u, %u bytes", buf->bid,
                        buf->len);
        }
        struct held *held = &group->held[buf->bid];
        if (held->held) {
            sl_sim_fail(sim, "buffer %u was given twice", buf->bid);
        }
        *held = (struct held){buf->addr, buf->len, true};
        buf_hold(held);
    }
}

// The next buffer, no longer held; NULL when there is none.
static const struct held *group_take(struct sl_sim *sim, struct group *group, uint16_t *out_id) {
    if (group->head == group->seen || sim__roll(sim, sim->faults.no_buffer)) {
        return NULL;
    }
    *out_id = group->bufs[group->head & (group->entries - 1)].bid;
    struct held *held = &group->held[*out_id];
    SL_ASSERT(held->held);
    buf_let_go(sim, held);
    return held;
}

static void group_took(struct group *group, uint16_t id) {
    group->head++;
    group->held[id].held = false;
}

static void group_close(struct sl_sim *sim, struct group *group) {
    for (uint32_t i = 0; group->bufs && i < group->entries; i++) {
        if (group->held[i].held) {
            buf_let_go(sim, &group->held[i]);
        }
    }
    free(group->held);
    *group = (struct group){0};
}

// Completions.

static uint32_t cq_ready(const struct ring *ring) {
    return atomic_load_explicit(word(ring, CQ_TAIL), memory_order_relaxed) -
           atomic_load_explicit(word(ring, CQ_HEAD), memory_order_acquire);
}

static void cq_put(struct sl_sim *sim, struct ring *ring, struct uring_cqe cqe) {
    uint32_t tail = atomic_load_explicit(word(ring, CQ_TAIL), memory_order_relaxed);
    cqes_of(ring)[tail & (ring->cq_entries - 1)] = cqe;
    atomic_store_explicit(word(ring, CQ_TAIL), tail + 1, memory_order_release);
    sim->events++;
}

// Once one is parked, the ones after it are, too: they keep their order.
static bool cq_room(struct sl_sim *sim, struct ring *ring) {
    return ring->overflow_count == 0 && cq_ready(ring) < ring->cq_entries &&
           !sim__roll(sim, sim->faults.cq_full);
}

static void overflow_flag(struct ring *ring) {
    if (ring->overflow_count > 0) {
        atomic_fetch_or(word(ring, SQ_FLAGS), URING_SQ_CQ_OVERFLOW);
    } else {
        atomic_fetch_and(word(ring, SQ_FLAGS), ~URING_SQ_CQ_OVERFLOW);
    }
}

static void cqe_post(struct sl_sim *sim, struct ring *ring, struct uring_cqe cqe) {
    if (cq_room(sim, ring)) {
        cq_put(sim, ring, cqe);
        return;
    }
    if (ring->overflow_count == ring->overflow_cap) {
        ring->overflow_cap = ring->overflow_cap ? 2 * ring->overflow_cap : 64;
        ring->overflow = realloc(ring->overflow, ring->overflow_cap * sizeof(*ring->overflow));
        SL_ASSERT(ring->overflow);
    }
    ring->overflow[ring->overflow_count++] = cqe;
    overflow_flag(ring);
}

static void overflow_flush(struct sl_sim *sim, struct ring *ring) {
    uint32_t done = 0;
    while (done < ring->overflow_count && cq_ready(ring) < ring->cq_entries) {
        cq_put(sim, ring, ring->overflow[done++]);
    }
    if (done == 0) {
        return;
    }
    ring->overflow_count -= done;
    memmove(ring->overflow, ring->overflow + done, ring->overflow_count * sizeof(*ring->overflow));
    overflow_flag(ring);
}

// Operations.

static void work_flag(struct ring *ring, bool waits) {
    if (!(ring->flags & URING_SETUP_TASKRUN_FLAG)) {
        return;
    }
    if (waits) {
        atomic_fetch_or(word(ring, SQ_FLAGS), URING_SQ_TASKRUN);
    } else {
        atomic_fetch_and(word(ring, SQ_FLAGS), ~URING_SQ_TASKRUN);
    }
}

static void op_queue(struct sim__op *op) {
    op->twice = op->queued;
    if (!op->queued) {
        op->queued = true;
        op->order = op->ring->order++;
        work_flag(op->ring, true);
    }
}

void sim__ops_wake(struct sl_sim *sim, struct sim__file *file, uint32_t events) {
    (void)sim;
    for (struct sim__op *op = file->ops; op; op = op->file_next) {
        if (events & (op->events | EPOLLERR | EPOLLHUP)) {
            op_queue(op);
        }
    }
}

static void op_unlink(struct sl_sim *sim, struct sim__op *op) {
    struct sim__op **at = &op->ring->ops;
    while (*at != op) {
        at = &(*at)->next;
    }
    *at = op->next;
    at = &op->file->ops;
    while (*at != op) {
        at = &(*at)->file_next;
    }
    *at = op->file_next;
    sim->armed--;
    sim__unref(sim, op->file);
    free(op->iov_all);
    free(op->copy);
    free(op);
}

static void op_finish(struct sl_sim *sim, struct sim__op *op, int res, uint32_t flags) {
    cqe_post(sim, op->ring, (struct uring_cqe){op->user_data, res, flags});
    op_unlink(sim, op);
}

// A completion of a multishot operation that stays armed. Not without room: then this one is its last. False: it is over.
static bool op_more(struct sl_sim *sim, struct sim__op *op, int res, uint32_t flags) {
    if (!op->multishot || sim__roll(sim, sim->faults.more_lost) || !cq_room(sim, op->ring)) {
        op_finish(sim, op, res, flags);
        return false;
    }
    cq_put(sim, op->ring, (struct uring_cqe){op->user_data, res, flags | URING_CQE_F_MORE});
    return true;
}

static struct sim__sock *sock_of(const struct sim__op *op) { return (struct sim__sock *)op->file; }

enum part { OVER, WAITS, AGAIN }; // the operation ended, stays armed, may be tried again at once

static enum part recv_part(struct sl_sim *sim, struct sim__op *op) {
    ssize_t n = sim__readable(sim, sock_of(op));
    if (n == -EAGAIN) {
        return WAITS;
    }
    struct group *group = &op->ring->groups[op->group];
    uint16_t id = 0;
    const struct held *held = n >= 0 ? group_take(sim, group, &id) : NULL;
    if (n >= 0 && !held) {
        op_finish(sim, op, -ENOBUFS, 0);
        return OVER;
    }
    uint32_t most = held ? held->len : 0;
    most = op->budget ? (uint32_t)sl_min_u64(most, op->budget) : most;
    n = sim__recv(sim, sock_of(op), held ? bytes_at(held->addr) : NULL, most);
    uint32_t flags = URING_CQE_F_BUFFER | (uint32_t)id << URING_CQE_BUFFER_SHIFT;
    if (n <= 0) {
        bool keeps = n == 0 && sim->config.stormy && sim__below(sim, 2); // kernels differ
        if (keeps) {
            group_took(group, id);
        } else if (held) {
            buf_hold(held);
        }
        op_finish(sim, op, (int)n, keeps ? flags : 0);
        return OVER;
    }
    group_took(group, id);
    // What waits behind, in the socket's own words: bytes or FIN, not an error. Newer kernels look no further.
    const struct sim__flow *in = &sock_of(op)->peer->out;
    bool more = in->arrived > in->read || in->fin_arrived;
    flags |= more ? URING_CQE_F_SOCK_NONEMPTY : 0;
    bool used_up = op->budget && (op->budget -= (uint64_t)n) == 0;
    if (used_up) {
        op_finish(sim, op, (int)n, flags);
        return OVER;
    }
    if (!op_more(sim, op, (int)n, flags)) {
        return OVER;
    }
    bool eager = sim->faults.eager || sock_of(op)->link == SL_SIM_UNIX;
    return more || eager ? AGAIN : WAITS;
}

// Whoever was woken twice looks again for an end behind the data; whoever finds both when he is armed was woken once (Linux 6.18).
static void recv_run(struct sl_sim *sim, struct sim__op *op) {
    for (int round = 0; round < ROUNDS_MAX; round++) {
        enum part part = recv_part(sim, op);
        if (part == OVER) {
            return;
        }
        bool end = part == WAITS && op->twice && (sim__poll(sim, op->file) & EPOLLRDHUP);
        op->twice = op->twice && !end;
        if (part == WAITS && !end) {
            return;
        }
    }
    op_queue(op);
}

static void accept_run(struct sl_sim *sim, struct sim__op *op) {
    for (int round = 0; round < ROUNDS_MAX; round++) {
        int fd = sim__accept(sim, sock_of(op), (int)op->flags);
        if (fd == -EAGAIN) {
            return;
        }
        if (fd < 0) {
            op_finish(sim, op, fd, 0);
            return;
        }
        if (!op_more(sim, op, fd, 0)) {
            return;
        }
    }
    op_queue(op);
}

// What is left of the message must still be what it was.
static void send_check(struct sl_sim *sim, const struct sim__op *op, uint64_t len) {
    if (!op->copy) {
        return;
    }
    const uint8_t *copy = op->copy + (op->done - op->copy_at);
    for (size_t i = 0; i < op->iov_count && len > 0; i++) {
        size_t n = sl_min_size(op->iov[i].iov_len, len);
        if (memcmp(copy, op->iov[i].iov_base, n) != 0) {
            sl_sim_fail(sim, "a message changed while it was sent");
        }
        copy += n;
        len -= n;
    }
}

static void send_remember(struct sim__op *op) {
    if (op->copy) {
        return;
    }
    op->copy_at = op->done;
    op->copy = malloc(op->total - op->done + 1);
    SL_ASSERT(op->copy);
    uint8_t *copy = op->copy;
    for (size_t i = 0; i < op->iov_count; i++) {
        memcpy(copy, op->iov[i].iov_base, op->iov[i].iov_len);
        copy += op->iov[i].iov_len;
    }
}

static void send_advance(struct sim__op *op, uint64_t bytes) {
    op->done += bytes;
    while (op->iov_count > 0 && bytes >= op->iov->iov_len) {
        bytes -= op->iov->iov_len;
        op->iov++;
        op->iov_count--;
    }
    if (op->iov_count > 0) {
        op->iov->iov_base = (uint8_t *)op->iov->iov_base + bytes;
        op->iov->iov_len -= bytes;
    }
}

// MSG_WAITALL: goes on until all is sent, or it fails; then what was sent is the result, and the next send hears of the error.
static void send_run(struct sl_sim *sim, struct sim__op *op) {
    ssize_t n = sim__send(sim, sock_of(op), op->iov, op->iov_count);
    if (n == -EPIPE && !(op->flags & MSG_NOSIGNAL)) {
        sl_sim_fail(sim, "SIGPIPE");
    }
    if (n >= 0) {
        send_check(sim, op, (uint64_t)n);
        send_advance(op, (uint64_t)n);
        bool part = op->done > 0 && (!(op->flags & MSG_WAITALL) ||
                                     sim__roll(sim, sim->faults.interrupt)); // a signal
        if (op->done == op->total || part) {
            op_finish(sim, op, (int)op->done, 0);
            return;
        }
    } else if (n != -EAGAIN) {
        op_finish(sim, op, op->done > 0 ? (int)op->done : (int)n, 0);
        return;
    }
    send_remember(op);
    if (sim__poll(sim, op->file) & EPOLLOUT) {
        op_queue(op);
    }
}

static void connect_run(struct sl_sim *sim, struct sim__op *op) {
    struct sim__sock *sock = sock_of(op);
    if (sock->state == SIM__CONNECTING) {
        return;
    }
    int error = sock->state == SIM__CONNECTED ? 0 : sock->error ? sock->error : ECONNREFUSED;
    sock->error = 0;
    op_finish(sim, op, -error, 0);
}

static void poll_run(struct sl_sim *sim, struct sim__op *op) {
    uint32_t now = sim__poll(sim, op->file) & op->events;
    if (now) {
        (void)op_more(sim, op, (int)now, 0);
    }
}

static bool recv_ready(struct sl_sim *sim, const struct sim__op *op) {
    return op->opcode == URING_OP_RECV && sim__readable(sim, sock_of(op)) > 0;
}

// True: it ended. A cancelled operation may still bring what it had already begun.
static bool cancelled_run(struct sl_sim *sim, struct sim__op *op) {
    if (recv_ready(sim, op) && !op->last_words && sim__roll(sim, sim->faults.odd_cancel)) {
        op->last_words = true;
        if (recv_part(sim, op) != OVER) {
            op_queue(op);
        }
        return true;
    }
    op_finish(sim, op, op->done > 0 ? (int)op->done : -ECANCELED, 0);
    return true;
}

static void op_run(struct sl_sim *sim, struct sim__op *op) {
    if (op->cancelled && cancelled_run(sim, op)) {
        return;
    }
    switch (op->opcode) {
    case URING_OP_RECV:
        recv_run(sim, op);
        return;
    case URING_OP_ACCEPT:
        accept_run(sim, op);
        return;
    case URING_OP_SEND:
    case URING_OP_SENDMSG:
        send_run(sim, op);
        return;
    case URING_OP_CONNECT:
        connect_run(sim, op);
        return;
    default:
        poll_run(sim, op);
    }
}

static bool work_waits(const struct ring *ring) {
    if (ring->late_count > 0) {
        return true;
    }
    for (const struct sim__op *op = ring->ops; op; op = op->next) {
        if (op->queued) {
            return true;
        }
    }
    return false;
}

// Work runs in an enter alone (DEFER_TASKRUN); in a storm in any order, and not always all of it.
static void work_run(struct sl_sim *sim, struct ring *ring) {
    while (ring->late_count > 0 && !sim__roll(sim, sim->faults.defer)) {
        cqe_post(sim, ring, ring->late[--ring->late_count]);
    }
    static _Thread_local struct sim__op *list[SIM__FILES_MAX];
    uint32_t count = 0;
    for (struct sim__op *op = ring->ops; op && count < SIM__FILES_MAX; op = op->next) {
        if (op->queued) {
            list[count++] = op;
        }
    }
    for (uint32_t i = 1; i < count; i++) {
        struct sim__op *op = list[i];
        uint32_t k = i;
        for (; k > 0 && op->order < list[k - 1]->order; k--) {
            list[k] = list[k - 1];
        }
        list[k] = op;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = sim->config.stormy ? i + sim__below(sim, count - i) : i;
        struct sim__op *op = list[k];
        list[k] = list[i];
        if (!sim__roll(sim, sim->faults.defer)) {
            op->queued = false;
            op_run(sim, op);
        }
    }
    work_flag(ring, work_waits(ring));
}

// Cancelling.

static struct sim__op *op_find(const struct ring *ring, uint64_t user_data) {
    struct sim__op *op = ring->ops;
    while (op && op->user_data != user_data) {
        op = op->next;
    }
    return op;
}

static int cancel_one(struct sl_sim *sim, struct sim__op *op) {
    if (op->cancelled) {
        return -ENOENT;
    }
    if (sim__roll(sim, sim->faults.odd_cancel)) {
        switch (sim__below(sim, 3)) {
        case 0:
            if (op->queued) { // its work was just going to run: not found, and it stays
                return -ENOENT;
            }
            break;
        case 1: // runs already: ends by itself, soon
            op->cancelled = true;
            op_queue(op);
            return -EALREADY;
        default: // its completion comes before that of the cancel
            op->cancelled = true;
            op_run(sim, op);
            return 0;
        }
    }
    op->cancelled = true;
    op_queue(op);
    return 0;
}

// By name alone: nothing of ours cancels by descriptor.
static int cancel(struct sl_sim *sim, struct ring *ring, const struct uring_sqe *sqe) {
    if (sqe->op_flags != 0) {
        return -EINVAL;
    }
    struct sim__op *op = op_find(ring, sqe->addr);
    return op ? cancel_one(sim, op) : -ENOENT;
}

// Submitting.

static bool sends(enum uring_op opcode) {
    return opcode == URING_OP_SEND || opcode == URING_OP_SENDMSG;
}

static struct sim__op *op_new(struct sl_sim *sim, struct ring *ring, const struct uring_sqe *sqe,
                              enum sim__kind kind, uint32_t events) {
    struct sim__file *file = sim__file(sim, sqe->fd, kind);
    enum uring_op opcode = (enum uring_op)sqe->opcode;
    for (const struct sim__op *op = file->ops; op; op = op->file_next) {
        if (op->opcode == opcode || (sends(op->opcode) && sends(opcode))) {
            sl_sim_fail(sim, "operation %d is armed twice on descriptor %d", opcode, sqe->fd);
        }
    }
    if (op_find(ring, sqe->user_data)) {
        sl_sim_fail(sim, "two operations have the name %llx", (unsigned long long)sqe->user_data);
    }
    struct sim__op *op = calloc(1, sizeof(*op));
    SL_ASSERT(op);
    *op = (struct sim__op){.next = ring->ops,
                           .file_next = file->ops,
                           .ring = ring,
                           .file = file,
                           .opcode = opcode,
                           .user_data = sqe->user_data,
                           .events = events};
    ring->ops = file->ops = op;
    sim->armed++;
    sim__ref(file);
    return op;
}

static int submit_recv(struct sl_sim *sim, struct ring *ring, const struct uring_sqe *sqe) {
    bool limited = sqe->optlen != 0;
    bool multishot = sqe->ioprio & URING_RECV_MULTISHOT;
    if ((limited && (sim->config.lacks & SL_SIM_NO_RECV_LIMIT)) || (limited && !multishot) ||
        sqe->len != 0 || sqe->addr != 0 || !(sqe->flags & URING_SQE_BUFFER_SELECT) ||
        (sqe->ioprio & ~(URING_RECV_MULTISHOT | URING_RECV_POLL_FIRST)) ||
        sqe->buf_group >= GROUPS_MAX) {
        return -EINVAL;
    }
    if (sqe->fd == -1) {
        return -EBADF;
    }
    struct sim__op *op = op_new(sim, ring, sqe, SIM__SOCKET, EPOLLIN | EPOLLRDHUP);
    op->multishot = multishot;
    op->group = sqe->buf_group;
    op->budget = sqe->optlen;
    if (!ring->groups[op->group].bufs) {
        sl_sim_fail(sim, "a receive from a buffer group that there is not");
    }
    if (!(sqe->ioprio & URING_RECV_POLL_FIRST)) {
        recv_run(sim, op);
    } else if (sim__poll(sim, op->file) & op->events) {
        op_queue(op);
    }
    return 1;
}

static int submit_send(struct sl_sim *sim, struct ring *ring, const struct uring_sqe *sqe) {
    struct sim__op *op = op_new(sim, ring, sqe, SIM__SOCKET, EPOLLOUT);
    const struct msghdr *msg = (const struct msghdr *)(uintptr_t)sqe->addr;
    bool plain = sqe->opcode == URING_OP_SEND;
    op->flags = sqe->op_flags;
    op->iov_count = plain ? 1 : msg->msg_iovlen;
    op->iov = op->iov_all = calloc(op->iov_count + 1, sizeof(*op->iov));
    SL_ASSERT(op->iov);
    for (size_t i = 0; i < op->iov_count; i++) {
        op->iov[i] = plain ? (struct iovec){bytes_at(sqe->addr), sqe->len} : msg->msg_iov[i];
        op->total += op->iov[i].iov_len;
    }
    if (sim__roll(sim, sim->faults.defer)) {
        send_remember(op);
        op_queue(op);
    } else {
        send_run(sim, op);
    }
    return 1;
}

static int submit_accept(struct sl_sim *sim, struct ring *ring, const struct uring_sqe *sqe) {
    struct sim__op *op = op_new(sim, ring, sqe, SIM__SOCKET, EPOLLIN);
    op->multishot = sqe->ioprio & URING_ACCEPT_MULTISHOT;
    op->flags = sqe->op_flags;
    accept_run(sim, op);
    return 1;
}

static int submit_connect(struct sl_sim *sim, struct ring *ring, const struct uring_sqe *sqe) {
    struct sim__op *op = op_new(sim, ring, sqe, SIM__SOCKET, EPOLLOUT);
    const struct sockaddr *addr = (const struct sockaddr *)(uintptr_t)sqe->addr;
    int rc = sim__connect(sim, sock_of(op), addr, (socklen_t)sqe->off);
    if (rc != -EINPROGRESS) {
        op_finish(sim, op, rc, 0);
    } else if (sock_of(op)->state != SIM__CONNECTING) {
        op_queue(op);
    }
    return 1;
}

static int submit_poll(struct sl_sim *sim, struct ring *ring, const struct uring_sqe *sqe) {
    struct sim__op *op = op_new(sim, ring, sqe, 0, sqe->op_flags);
    op->multishot = sqe->len & URING_POLL_ADD_MULTI;
    poll_run(sim, op);
    return 1;
}

// 1: the operation tells its result itself.
static int submit(struct sl_sim *sim, struct ring *ring, const struct uring_sqe *sqe) {
    bool allowed = !ring->restricted ||
                   ((ring->allowed_ops >> sqe->opcode & 1) && !(sqe->flags & ~ring->allowed_flags));
    if (!allowed) {
        return -EACCES;
    }
    switch (sqe->opcode) {
    case URING_OP_RECV:
        return submit_recv(sim, ring, sqe);
    case URING_OP_SEND:
    case URING_OP_SENDMSG:
        return submit_send(sim, ring, sqe);
    case URING_OP_ACCEPT:
        return submit_accept(sim, ring, sqe);
    case URING_OP_CONNECT:
        return submit_connect(sim, ring, sqe);
    case URING_OP_POLL_ADD:
        return submit_poll(sim, ring, sqe);
    case URING_OP_ASYNC_CANCEL:
        return cancel(sim, ring, sqe);
    default:
        return sqe->opcode == 0 ? 0 : -EINVAL; // NOP
    }
}

static uint32_t submit_all(struct sl_sim *sim, struct ring *ring, uint32_t count) {
    uint32_t head = atomic_load_explicit(word(ring, SQ_HEAD), memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(word(ring, SQ_TAIL), memory_order_acquire);
    if (tail - head > ring->sq_entries) {
        sl_sim_fail(sim, "a submission queue of %u entries holds %u", ring->sq_entries,
                    tail - head);
    }
    uint32_t done = 0;
    for (; done < count && head != tail; done++, head++) {
        if (sim__roll(sim, sim->faults.enter_error / 8)) {
            break; // no memory for the rest
        }
        uint32_t index = head & (ring->sq_entries - 1);
        if (!(ring->flags & URING_SETUP_NO_SQARRAY)) {
            index = array_of(ring)[index];
            SL_ASSERT(index < ring->sq_entries);
        }
        struct uring_sqe sqe = ring->sqes[index];
        memset(&ring->sqes[index], 0xee, sizeof(sqe)); // it is free again: SUBMIT_STABLE
        atomic_store_explicit(word(ring, SQ_HEAD), head + 1, memory_order_release);
        sim->events++;
        int res = submit(sim, ring, &sqe);
        struct uring_cqe cqe = {sqe.user_data, res, 0};
        bool cancels = sqe.opcode == URING_OP_ASYNC_CANCEL;
        if (cancels && ring->late_count < SL_COUNT_OF(ring->late) &&
            sim__roll(sim, sim->faults.defer)) {
            ring->late[ring->late_count++] = cqe;
        } else if (cancels || res != 1) {
            cqe_post(sim, ring, cqe);
        }
    }
    return done;
}

// Entering.

struct waiting {
    uint32_t count;
    uint64_t deadline_ns, min_ns; // min_ns: until then one is not enough
};

static int wait_for(struct sl_sim *sim, struct ring *ring, struct waiting waiting) {
    for (;;) {
        overflow_flush(sim, ring);
        work_run(sim, ring);
        uint32_t ready = cq_ready(ring);
        bool some = ready > 0 && waiting.min_ns > 0;
        if (ready >= waiting.count || (some && sim->now_ns >= waiting.min_ns)) {
            return 0;
        }
        if (sim__roll(sim, sim->faults.interrupt)) {
            return -EINTR;
        }
        if (sim->now_ns >= waiting.deadline_ns) {
            return -ETIME;
        }
        if (work_waits(ring) || ring->overflow_count > 0) {
            sim->now_ns += 1000;
            sim__due(sim);
        } else {
            uint64_t until = waiting.deadline_ns;
            (void)sim__sleep(sim, some ? sl_min_u64(until, waiting.min_ns) : until);
        }
    }
}

static struct waiting waiting_of(struct sl_sim *sim, const struct ring *ring, uint32_t count,
                                 uint32_t flags, const void *arg) {
    struct waiting waiting = {.count = sl_min_u32(count, ring->cq_entries),
                              .deadline_ns = UINT64_MAX};
    const struct uring_getevents_arg *events = flags & URING_ENTER_EXT_ARG ? arg : NULL;
    if (events && events->ts) {
        const struct uring_timespec *ts = (const struct uring_timespec *)(uintptr_t)events->ts;
        waiting.deadline_ns = sim->now_ns + (uint64_t)ts->sec * SL_NS_PER_S + (uint64_t)ts->nsec;
    }
    if (events && events->min_wait_usec && !(sim->config.lacks & SL_SIM_NO_MIN_WAIT)) {
        waiting.min_ns = sim->now_ns + events->min_wait_usec * 1000ull;
    }
    return waiting;
}

static struct ring *ring_entered(struct sl_sim *sim, int fd, uint32_t flags) {
    struct ring *ring;
    if (flags & URING_ENTER_REGISTERED_RING) {
        SL_ASSERT(fd >= 0 && fd < (int)SL_COUNT_OF(sim->rings) && sim->rings[fd]);
        ring = (struct ring *)sim->rings[fd];
    } else {
        ring = ring_at(sim, fd);
    }
    if (!ring->mapped[0] || !ring->mapped[1] || !pthread_equal(ring->owner, pthread_self())) {
        sl_sim_fail(sim, "a ring is entered that is not mapped, or not ours");
    }
    return ring;
}

static int enter(struct sl_sim *sim, struct ring *ring, uint32_t count, uint32_t wait,
                 uint32_t flags, const void *arg, size_t arg_len) {
    const uint32_t known = URING_ENTER_GETEVENTS | URING_ENTER_EXT_ARG |
                           URING_ENTER_REGISTERED_RING | URING_ENTER_NO_IOWAIT;
    if ((flags & ~known) ||
        ((flags & URING_ENTER_EXT_ARG) && arg_len != sizeof(struct uring_getevents_arg))) {
        return -EINVAL;
    }
    for (int g = 0; g < GROUPS_MAX; g++) {
        group_look(sim, &ring->groups[g]);
    }
    if (sim__roll(sim, sim->faults.enter_error)) {
        return ring->overflow_count > 0 ? -EBUSY : -EAGAIN;
    }
    uint32_t done = submit_all(sim, ring, count);
    if (done != count || !(flags & URING_ENTER_GETEVENTS)) {
        return done > 0 ? (int)done : -EAGAIN;
    }
    int rc = wait_for(sim, ring, waiting_of(sim, ring, wait, flags, arg));
    return done > 0 ? (int)done : rc;
}

int sim__uring_enter(const struct sl_sys *sys, int fd, uint32_t count, uint32_t wait,
                     uint32_t flags, const void *arg, size_t arg_len) {
    struct sl_sim *sim = sim__of(sys);
    sim__call(sim);
    sim__due(sim);
    struct ring *ring = ring_entered(sim, fd, flags);
    return result(ring->enabled ? enter(sim, ring, count, wait, flags, arg, arg_len) : -EBADFD);
}

// Setting up, registering.

static uint32_t power_of_two_from(uint32_t n) {
    uint32_t p = 1;
    while (p < n) {
        p *= 2;
    }
    return p;
}

static void *pages(size_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SL_ASSERT(at != MAP_FAILED);
    return at;
}

static void params_fill(const struct sl_sim *sim, const struct ring *ring,
                        struct uring_params *params) {
    bool min_wait = !(sim->config.lacks & SL_SIM_NO_MIN_WAIT);
    params->sq_entries = ring->sq_entries;
    params->cq_entries = ring->cq_entries;
    params->features = FEATURES | (min_wait ? URING_FEAT_MIN_TIMEOUT : 0);
    params->sq_off = (struct uring_sq_offsets){
        .head = SQ_HEAD,
        .tail = SQ_TAIL,
        .ring_mask = CONSTANTS,
        .ring_entries = CONSTANTS + 4,
        .flags = SQ_FLAGS,
        .dropped = CONSTANTS + 8,
        .array = CQES + ring->cq_entries * (uint32_t)sizeof(struct uring_cqe),
    };
    params->cq_off = (struct uring_cq_offsets){
        .head = CQ_HEAD,
        .tail = CQ_TAIL,
        .ring_mask = CONSTANTS + 12,
        .ring_entries = CONSTANTS + 16,
        .overflow = CONSTANTS + 20,
        .cqes = CQES,
        .flags = CONSTANTS + 24,
    };
}

int sim__uring_setup(const struct sl_sys *sys, uint32_t entries, struct uring_params *params) {
    struct sl_sim *sim = sim__of(sys);
    uint32_t known = URING_SETUP_CQSIZE | URING_SETUP_CLAMP | URING_SETUP_R_DISABLED |
                     URING_SETUP_SUBMIT_ALL | URING_SETUP_SINGLE_ISSUER |
                     URING_SETUP_DEFER_TASKRUN | URING_SETUP_TASKRUN_FLAG;
    known |= sim->config.lacks & SL_SIM_NO_SQARRAY ? 0 : URING_SETUP_NO_SQARRAY;
    sim__call(sim);
    if (sim->config.lacks & SL_SIM_NO_URING) {
        return result(-ENOSYS);
    }
    if (params->flags & ~known) {
        return result(-EINVAL);
    }
    uint32_t sq_max = sim->config.sq_max ? sim->config.sq_max : SQ_MAX;
    uint32_t cq_max = sim->config.cq_max ? sim->config.cq_max : CQ_MAX;
    struct ring *ring = (struct ring *)sim__file_new(sim, SIM__RING, sizeof(*ring));
    ring->flags = params->flags;
    ring->sq_entries = sl_min_u32(power_of_two_from(entries), sq_max); // CLAMP
    ring->cq_entries = sl_min_u32(power_of_two_from(params->cq_entries), cq_max);
    ring->map_bytes =
        CQES + ring->cq_entries * sizeof(struct uring_cqe) + ring->sq_entries * sizeof(uint32_t);
    ring->sqes_bytes = ring->sq_entries * sizeof(struct uring_sqe);
    ring->map = pages(ring->map_bytes);
    ring->sqes = pages(ring->sqes_bytes);
    ring->enabled = !(params->flags & URING_SETUP_R_DISABLED);
    ring->owner = pthread_self();
    params_fill(sim, ring, params);
    sim__ref(&ring->file);
    int fd = sim__fd_new(sim, &ring->file, false);
    SL_ASSERT(fd >= 0);
    sim__unref(sim, &ring->file);
    return fd;
}

static int restrict_to(struct ring *ring, const struct uring_restriction *list, uint32_t count) {
    if (ring->enabled || ring->restricted) {
        return ring->enabled ? -EBADFD : -EBUSY;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bit = list[i].what < 64 ? 1ull << list[i].what : 0;
        switch (list[i].kind) {
        case URING_RESTRICT_REGISTER_OP:
            ring->allowed_registers |= bit;
            break;
        case URING_RESTRICT_SQE_OP:
            ring->allowed_ops |= bit;
            break;
        case URING_RESTRICT_SQE_FLAGS_ALLOWED:
            ring->allowed_flags |= list[i].what;
            break;
        default:
            return -EINVAL;
        }
    }
    ring->restricted = true;
    return 0;
}

static int group_open(struct ring *ring, const struct uring_buf_reg *reg) {
    if (reg->bgid >= GROUPS_MAX || reg->flags != 0 || reg->ring_addr % 4096 != 0 ||
        power_of_two_from(reg->ring_entries) != reg->ring_entries || reg->ring_entries > 32768) {
        return -EINVAL;
    }
    struct group *group = &ring->groups[reg->bgid];
    if (group->bufs) {
        return -EEXIST;
    }
    *group = (struct group){.bufs = (struct uring_buf *)(uintptr_t)reg->ring_addr,
                            .entries = reg->ring_entries,
                            .held = calloc(reg->ring_entries, sizeof(struct held))};
    SL_ASSERT(group->held);
    return 0;
}

static int group_unregister(struct sl_sim *sim, struct ring *ring,
                            const struct uring_buf_reg *reg) {
    for (const struct sim__op *op = ring->ops; op; op = op->next) {
        if (op->opcode == URING_OP_RECV && op->group == reg->bgid) {
            sl_sim_fail(sim, "buffer group %u ends with a receive armed", reg->bgid);
        }
    }
    group_look(sim, &ring->groups[reg->bgid]);
    group_close(sim, &ring->groups[reg->bgid]);
    return 0;
}

static int ring_fd_register(struct sl_sim *sim, struct ring *ring,
                            struct uring_rsrc_update *update) {
    for (uint32_t i = 0; i < SL_COUNT_OF(sim->rings); i++) {
        if (!sim->rings[i]) {
            sim->rings[i] = &ring->file;
            update->offset = i;
            return 1;
        }
    }
    return -EBUSY;
}

int sim__uring_register(const struct sl_sys *sys, int fd, uint32_t op, void *arg, uint32_t count) {
    struct sl_sim *sim = sim__of(sys);
    sim__call(sim);
    struct ring *ring = ring_at(sim, fd);
    if (ring->restricted && ring->enabled && !(ring->allowed_registers >> op & 1)) {
        return result(-EACCES);
    }
    switch (op) {
    case URING_REGISTER_RESTRICTIONS:
        return result(sim->config.lacks & SL_SIM_NO_RESTRICTIONS ? -EINVAL
                                                                 : restrict_to(ring, arg, count));
    case URING_REGISTER_ENABLE_RINGS:
        ring->enabled = true;
        return 0;
    case URING_REGISTER_RING_FDS:
        return result(sim->config.lacks & SL_SIM_NO_RING_FDS ? -EINVAL
                                                             : ring_fd_register(sim, ring, arg));
    case URING_UNREGISTER_RING_FDS:
        sim->rings[((const struct uring_rsrc_update *)arg)->offset] = NULL;
        return 1;
    case URING_REGISTER_PBUF_RING:
        return result(group_open(ring, arg));
    case URING_UNREGISTER_PBUF_RING:
        return result(group_unregister(sim, ring, arg));
    default:
        return result(-EINVAL);
    }
}

// Memory.

void *sim__mmap(const struct sl_sys *sys, void *addr, size_t len, int prot, int flags, int fd,
                off_t offset) {
    struct sl_sim *sim = sim__of(sys);
    sim__call(sim);
    if (fd < 0) {
        return mmap(addr, len, prot, flags, fd, offset);
    }
    struct ring *ring = ring_at(sim, fd);
    bool sqes = offset == (off_t)URING_OFF_SQES;
    if (len > (sqes ? ring->sqes_bytes : ring->map_bytes)) {
        sl_sim_fail(sim, "%zu bytes of a ring are mapped, it has %zu", len,
                    sqes ? ring->sqes_bytes : ring->map_bytes);
    }
    ring->mapped[sqes] = true;
    return sqes ? (void *)ring->sqes : (void *)ring->map;
}

static void ring_unmap(struct sl_sim *sim, struct ring *ring, void *addr) {
    for (int g = 0; g < GROUPS_MAX; g++) {
        if (ring->groups[g].bufs == addr) {
            sl_sim_fail(sim, "a buffer ring that is registered is unmapped");
        }
    }
    bool sqes = addr == ring->sqes;
    if (!sqes && addr != ring->map) {
        return;
    }
    if (ring->ops) {
        sl_sim_fail(sim, "a ring is unmapped with operations armed");
    }
    ring->mapped[sqes] = false;
}

int sim__munmap(const struct sl_sys *sys, void *addr, size_t len) {
    struct sl_sim *sim = sim__of(sys);
    sim__call(sim);
    for (uint32_t i = 0; i < sim->fds_high; i++) {
        struct ring *ring = (struct ring *)sim->files[0][i];
        if (ring && ring->file.kind == SIM__RING) {
            ring_unmap(sim, ring, addr);
            if (addr == ring->map || addr == ring->sqes) {
                return mprotect(addr, len,
                                PROT_NONE); // whoever comes back is caught; freed by the close
            }
        }
    }
    return munmap(addr, len);
}

void sim__ring_closed(struct sl_sim *sim, struct sim__file *file) {
    struct ring *ring = (struct ring *)file;
    if (ring->ops) {
        sl_sim_fail(sim, "a ring is closed with operations armed");
    }
    for (uint32_t i = 0; i < SL_COUNT_OF(sim->rings); i++) {
        sim->rings[i] = sim->rings[i] == file ? NULL : sim->rings[i];
    }
    for (int g = 0; g < GROUPS_MAX; g++) {
        group_close(sim, &ring->groups[g]);
    }
    munmap(ring->map, ring->map_bytes);
    munmap(ring->sqes, ring->sqes_bytes);
    free(ring->overflow);
}
