#include "io_internal.h"

#include <errno.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#define STATE_CLOSE                                                                                \
    7 // TCP_CLOSE of the kernel's states: <netinet/tcp.h> has it, and not all of tcp_info

// Probe.

const char *sl__errno_name(int error) {
    static _Thread_local char other[24];
    switch (error) {
    case EPERM:
        return "EPERM";
    case ENOENT:
        return "ENOENT";
    case EIO:
        return "EIO";
    case EAGAIN:
        return "EAGAIN";
    case ENOMEM:
        return "ENOMEM";
    case EACCES:
        return "EACCES";
    case EFAULT:
        return "EFAULT";
    case EBUSY:
        return "EBUSY";
    case EEXIST:
        return "EEXIST";
    case EINVAL:
        return "EINVAL";
    case ENFILE:
        return "ENFILE";
    case EMFILE:
        return "EMFILE";
    case ENOSPC:
        return "ENOSPC";
    case ENOSYS:
        return "ENOSYS";
    case EBADFD:
        return "EBADFD";
    case EBADR:
        return "EBADR";
    case ETIME:
        return "ETIME";
    case EOPNOTSUPP:
        return "EOPNOTSUPP";
    case ENOBUFS:
        return "ENOBUFS";
    default:
        snprintf(other, sizeof(other), "errno %d", error);
        return other;
    }
}

const char *sl_io_kind_name(int kind) {
    switch (kind) {
    case SL_IO_AUTO:
        return "auto";
    case SL_IO_URING:
        return "uring";
    case SL_IO_EPOLL:
        return "epoll";
    case SL_IO_SIM:
        return "sim";
    default:
        return "unknown";
    }
}

int sl_io_probe(int kind, char *reason, size_t reason_len) {
    if (kind == SL_IO_EPOLL) {
        snprintf(reason, reason_len, "asked for");
        return SL_IO_EPOLL;
    }
    if (kind != SL_IO_AUTO && kind != SL_IO_URING) {
        snprintf(reason, reason_len, "unknown backend %d", kind);
        return sl_fail(SL_E_INVALID, "I/O backend %d is unknown", kind);
    }
    if (sl__uring_probe(&sl_sys_kernel, reason, reason_len) == SL_OK) {
        return SL_IO_URING;
    }
    if (kind == SL_IO_AUTO) {
        return SL_IO_EPOLL;
    }
    return sl_fail(SL_E_IO_UNAVAILABLE, "io_uring was asked for but does not work here: %s",
                   reason);
}

// Lists.

static void list_push(struct sl__list *list, struct sl_io_conn *io_conn,
                      struct sl_io_conn **last_next) {
    if (list->last) {
        *last_next = io_conn;
    } else {
        list->first = io_conn;
    }
    list->last = io_conn;
}

void sl__io_dirty(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (io_conn->flags & SL__F_DIRTY) {
        return;
    }
    io_conn->flags |= SL__F_DIRTY;
    io_conn->dirty_next = NULL;
    list_push(&io->dirty, io_conn, io->dirty.last ? &io->dirty.last->dirty_next : NULL);
}

static void ready(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (io_conn->flags & SL__F_READY) {
        return;
    }
    io_conn->flags |= SL__F_READY;
    io_conn->ready_next = NULL;
    list_push(&io->ready, io_conn, io->ready.last ? &io->ready.last->ready_next : NULL);
}

static void raise_max(uint64_t *max, uint64_t value) { *max = value > *max ? value : *max; }

static void starve(struct sl_io *io, struct sl_io_conn *io_conn, enum sl_buf_group group) {
    io_conn->flags |= SL__F_STARVED;
    io_conn->starved_group = (uint8_t)group;
    io_conn->starved_next = NULL;
    io_conn->starved_prev = io->starved_last[group];
    if (io_conn->starved_prev) {
        io_conn->starved_prev->starved_next = io_conn;
    } else {
        io->starved_first[group] = io_conn;
    }
    io->starved_last[group] = io_conn;
    io->counters->io_starved++;
    raise_max(&io->counters->io_starved_max, io->counters->io_starved);
}

static void unstarve(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (!(io_conn->flags & SL__F_STARVED)) {
        return;
    }
    int group = io_conn->starved_group;
    if (io_conn->starved_prev) {
        io_conn->starved_prev->starved_next = io_conn->starved_next;
    } else {
        io->starved_first[group] = io_conn->starved_next;
    }
    if (io_conn->starved_next) {
        io_conn->starved_next->starved_prev = io_conn->starved_prev;
    } else {
        io->starved_last[group] = io_conn->starved_prev;
    }
    io_conn->flags &= ~SL__F_STARVED;
    io->counters->io_starved--;
    sl__io_dirty(io, io_conn);
}

// Not before a quarter is free: re-arming for each single buffer would only turn one ENOBUFS into the next. Then at most one connection per
// free buffer, in the order in which they came. Who waits for a BODY buffer takes a HEAD buffer if there are none of those.
static void starved_rearm(struct sl_io *io, enum sl_buf_group group) {
    bool scarce = sl_buf_scarce(io->pool, group);
    if (scarce && (group == SL_BUF_HEAD || sl_buf_scarce(io->pool, SL_BUF_HEAD))) {
        return;
    }
    uint32_t avail = sl_buf_left(io->pool, scarce ? SL_BUF_HEAD : group);
    for (; avail > 0 && io->starved_first[group]; avail--) {
        unstarve(io, io->starved_first[group]);
    }
}

// Accounting: one bit and one count per operation that the kernel holds.

void sl__io_op_begin(struct sl_io *io) {
    io->counters->io_ops++;
    io->counters->io_ops_armed++;
    io->counters->io_sqes++;
}

void sl__io_op_end(struct sl_io *io) { io->counters->io_ops_armed--; }

void sl__io_arm(struct sl_io *io, struct sl_io_conn *io_conn, enum sl__io_op op) {
    SL_ASSERT(!(io_conn->armed & SL__BIT(op)));
    io_conn->armed |= (uint8_t)SL__BIT(op);
    sl__io_op_begin(io);
}

void sl__io_disarm(struct sl_io *io, struct sl_io_conn *io_conn, enum sl__io_op op) {
    SL_ASSERT(io_conn->armed & SL__BIT(op));
    io_conn->armed &= (uint8_t)~SL__BIT(op);
    sl__io_op_end(io);
}

// Results.

// A send that was to begin only if the peer has said nothing does not begin.
static void send_cancel(struct sl_io *io, struct sl_io_conn *io_conn) {
    io_conn->flags &= ~(SL__F_IF_QUIET | SL__F_SEND);
    io_conn->flags |= SL__F_SENT;
    io_conn->sent = -ECANCELED;
    ready(io, io_conn);
}

void sl__io_got_data(struct sl_io *io, struct sl_io_conn *io_conn, struct sl_buf *buf,
                     uint32_t len) {
    SL_ASSERT(len > 0 && len <= buf->cap);
    if (io_conn->state != SL__IO_OPEN) {
        sl_buf_unref(io->pool, buf);
        return;
    }
    if (io_conn->flags & SL__F_IF_QUIET) {
        send_cancel(io, io_conn);
    }
    buf->pos = 0;
    buf->end = len;
    buf->next = NULL;
    if (io_conn->inbox_last) {
        io_conn->inbox_last->next = buf;
    } else {
        io_conn->inbox_first = buf;
    }
    io_conn->inbox_last = buf;
    ready(io, io_conn);
}

void sl__io_got_end(struct sl_io *io, struct sl_io_conn *io_conn, int error) {
    if (io_conn->state != SL__IO_OPEN || (io_conn->flags & SL__F_ENDED)) {
        return;
    }
    if (io_conn->flags & SL__F_IF_QUIET) {
        send_cancel(io, io_conn);
    }
    io_conn->flags |= SL__F_ENDED;
    unstarve(io, io_conn);
    // The socket tells its error once; if a send heard of it first, receiving sees a plain end that is none.
    io_conn->error = error ? error : io_conn->error;
    ready(io, io_conn);
}

// Skips `bytes` of the message. True: nothing is left.
static bool msg_advance(struct msghdr *msg, uint64_t bytes) {
    while (msg->msg_iovlen > 0 && bytes >= msg->msg_iov->iov_len) {
        bytes -= msg->msg_iov->iov_len;
        msg->msg_iov++;
        msg->msg_iovlen--;
    }
    if (msg->msg_iovlen == 0) {
        SL_ASSERT(bytes == 0);
        return true;
    }
    msg->msg_iov->iov_base = (uint8_t *)msg->msg_iov->iov_base + bytes;
    msg->msg_iov->iov_len -= bytes;
    return false;
}

void sl__io_got_sent(struct sl_io *io, struct sl_io_conn *io_conn, int64_t bytes) {
    if (io_conn->state != SL__IO_OPEN) {
        return;
    }
    if (bytes >= 0) {
        io_conn->sent += bytes;
        if (!msg_advance(io_conn->msg, (uint64_t)bytes)) {
            io_conn->flags |= SL__F_SEND;
            io->counters->io_short_sends++;
            sl__io_dirty(io, io_conn);
            return;
        }
    } else {
        io_conn->sent = bytes;
        // EPIPE says nothing of the other direction (a peer may have closed properly).
        if (bytes != -EPIPE && !(io_conn->flags & SL__F_ENDED)) {
            io_conn->error = (int)bytes;
        }
    }
    io_conn->flags |= SL__F_SENT;
    ready(io, io_conn);
}

void sl__io_got_connect(struct sl_io *io, struct sl_io_conn *io_conn, int error) {
    if (io_conn->state != SL__IO_CONNECTING) {
        return;
    }
    io_conn->state = SL__IO_OPEN;
    io_conn->msg = NULL; // the address ends here
    io_conn->sent = 0;
    io_conn->inbox_first = io_conn->inbox_last = NULL;
    io_conn->error = error;
    io_conn->flags |= SL__F_CONNECTED;
    if (error) {
        io_conn->flags |= SL__F_ENDED | SL__F_END_TOLD; // on_connect says it
    }
    ready(io, io_conn);
    sl__io_dirty(io, io_conn);
}

bool sl__io_accept_error_passes(int error) {
    switch (error) {
    case ECANCELED:
    case EINTR:
    case EAGAIN:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

void sl__io_got_accept(struct sl_io *io, uint32_t index, int fd) {
    SL_ASSERT(io->accepted_count < io->accepted_cap);
    io->accepted[io->accepted_count++] = (struct sl__accepted){index, fd};
}

void sl__io_got_wake(struct sl_io *io) {
    // An exchange, not a store: whoever saw 1 and did not write has published before this reads.
    if (atomic_exchange(&io->wake_pending, 0)) {
        io->counters->io_wakes++;
    }
}

void sl__io_got_no_buf(struct sl_io *io, struct sl_io_conn *io_conn) {
    io->counters->io_enobufs++;
    if (io_conn->state == SL__IO_OPEN && io_conn->want != SL_RECV_OFF &&
        !(io_conn->flags & SL__F_STARVED)) {
        starve(io, io_conn, io_conn->want == SL_RECV_ONCE ? SL_BUF_BODY : SL_BUF_HEAD);
    }
}

void sl__io_close_now(struct sl_io *io, struct sl_io_conn *io_conn) {
    SL_ASSERT(io_conn->state == SL__IO_CLOSING && io_conn->armed == 0);
    if (io_conn->flags & SL__F_ABORT) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        (void)io->sys->setsockopt(io->sys, io_conn->fd, SOL_SOCKET, SO_LINGER, &linger,
                                  sizeof(linger));
    }
    io->sys->close(io->sys, io_conn->fd);
    io_conn->fd = -1;
    io_conn->flags |= SL__F_CLOSED;
    ready(io, io_conn);
}

void sl__io_shutdown_now(struct sl_io *io, struct sl_io_conn *io_conn) {
    uint32_t wish = io_conn->flags & (SL__F_SHUT_RD | SL__F_SHUT_WR);
    if (wish == SL__F_SHUT_WR && (io_conn->flags & SL__F_SENDING) &&
        !(io_conn->flags & SL__F_SENT)) {
        return; // after the send
    }
    if (wish) {
        int how = wish == SL__F_SHUT_WR ? SHUT_WR : wish == SL__F_SHUT_RD ? SHUT_RD : SHUT_RDWR;
        (void)io->sys->shutdown(io->sys, io_conn->fd, how); // ENOTCONN: the peer was faster
        io_conn->flags &= ~wish;
    }
}

// Slots.

size_t sl_io_conn_bytes(void) { return sizeof(struct sl_io_conn); }

static struct sl_io_conn *slot_take(struct sl_io *io, int fd, const struct sl_io_handler *handler,
                                    void *owner, enum sl__io_state state) {
    struct sl_io_conn *io_conn = io->free;
    if (!io_conn) {
        return NULL;
    }
    io->free = io_conn->dirty_next;
    *io_conn = (struct sl_io_conn){
        .fd = fd,
        .slot = io_conn->slot,
        .gen = io_conn->gen,
        .state = (uint8_t)state,
        .handler = handler,
        .owner = owner,
    };
    io->conns_live++;
    io->conns_free--;
    return io_conn;
}

static void slot_give(struct sl_io *io, struct sl_io_conn *io_conn) {
    SL_ASSERT(io_conn->armed == 0 &&
              !(io_conn->flags & (SL__F_DIRTY | SL__F_READY | SL__F_STARVED)));
    io_conn->state = SL__IO_FREE;
    io_conn->gen = (io_conn->gen + 1) & SL__GEN_MASK;
    io_conn->gen += io_conn->gen == 0;
    io_conn->dirty_next = io->free;
    io->free = io_conn;
    io->conns_live--;
    io->conns_free++;
}

static void inbox_drop(struct sl_io *io, struct sl_io_conn *io_conn) {
    while (io_conn->inbox_first) {
        struct sl_buf *buf = io_conn->inbox_first;
        io_conn->inbox_first = buf->next;
        sl_buf_unref(io->pool, buf);
    }
    io_conn->inbox_last = NULL;
}

struct sl_io_conn *sl_io_conn_open(struct sl_io *io, int fd, const struct sl_io_handler *handler,
                                   void *owner) {
    struct sl_io_conn *io_conn = slot_take(io, fd, handler, owner, SL__IO_OPEN);
    if (io_conn && !io->backend->attach(io, io_conn)) {
        slot_give(io, io_conn);
        return NULL;
    }
    return io_conn;
}

struct sl_io_conn *sl_io_connect(struct sl_io *io, const struct sockaddr *addr, socklen_t len,
                                 const struct sl_io_handler *handler, void *owner) {
    struct sl_io_conn *io_conn = slot_take(io, -1, handler, owner, SL__IO_CONNECTING);
    if (!io_conn) {
        return NULL;
    }
    SL_ASSERT(len <= sizeof(io_conn->addr));
    io_conn->fd =
        io->sys->socket(io->sys, addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (io_conn->fd < 0) {
        slot_give(io, io_conn);
        return NULL;
    }
    int on = 1;
    (void)io->sys->setsockopt(io->sys, io_conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    memcpy(&io_conn->addr, addr, len);
    io_conn->addr_len = len;
    io_conn->flags |= SL__F_CONNECT;
    sl__io_dirty(io, io_conn);
    return io_conn;
}

void sl_io_set_handler(struct sl_io_conn *io_conn, const struct sl_io_handler *handler,
                       void *owner) {
    io_conn->handler = handler;
    io_conn->owner = owner;
}

int sl_io_fd(const struct sl_io_conn *io_conn) { return io_conn->fd; }

// Wishes.

void sl_io_recv(struct sl_io *io, struct sl_io_conn *io_conn, enum sl_recv_want want) {
    SL_ASSERT(io_conn->state == SL__IO_OPEN || io_conn->state == SL__IO_CONNECTING);
    if (io_conn->want == want) {
        return;
    }
    io_conn->want = (uint8_t)want;
    unstarve(io, io_conn); // another wish needs another buffer, or none
    sl__io_dirty(io, io_conn);
    bool kept =
        io_conn->state == SL__IO_OPEN && (io_conn->inbox_first || (io_conn->flags & SL__F_ENDED));
    if (want != SL_RECV_OFF && kept) {
        ready(io, io_conn);
    }
}

void sl_io_send(struct sl_io *io, struct sl_io_conn *io_conn, struct msghdr *msg) {
    SL_ASSERT(io_conn->state == SL__IO_OPEN && !(io_conn->flags & SL__F_SENDING));
    io_conn->msg = msg;
    io_conn->sent = 0;
    io_conn->flags |= SL__F_SENDING | SL__F_SEND;
    sl__io_dirty(io, io_conn);
}

// Neither noted here nor still in the kernel. Looked: what has come for an armed receive is noted.
static bool quiet(const struct sl_io *io, const struct sl_io_conn *io_conn, bool looked) {
    uint8_t byte;
    if (io_conn->inbox_first || (io_conn->flags & SL__F_ENDED)) {
        return false;
    }
    if (looked && (io_conn->armed & SL__BIT(SL__OP_RECV))) {
        return true;
    }
    return io->sys->recv(io->sys, io_conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EINTR);
}

void sl_io_send_if_quiet(struct sl_io *io, struct sl_io_conn *io_conn, struct msghdr *msg) {
    sl_io_send(io, io_conn, msg);
    io_conn->flags |= SL__F_IF_QUIET;
}

bool sl_io_sending(const struct sl_io_conn *io_conn) { return io_conn->flags & SL__F_SENDING; }

static bool tcp_info_of(const struct sl_io *io, const struct sl_io_conn *io_conn,
                        struct tcp_info *out_info) {
    socklen_t len = sizeof(*out_info);
    memset(out_info, 0, sizeof(*out_info));
    return io->sys->getsockopt(io->sys, io_conn->fd, IPPROTO_TCP, TCP_INFO, out_info, &len) == 0;
}

bool sl__io_is_reset(const struct sl_io *io, const struct sl_io_conn *io_conn) {
    struct tcp_info info;
    return tcp_info_of(io, io_conn, &info) && info.tcpi_state == 7; // TCP_CLOSE
}

uint64_t sl_io_bytes_acked(const struct sl_io *io, const struct sl_io_conn *io_conn) {
    struct tcp_info info;
    return tcp_info_of(io, io_conn, &info) ? info.tcpi_bytes_acked : 0;
}

bool sl_io_alive(const struct sl_io *io, const struct sl_io_conn *io_conn) {
    return !sl__io_is_reset(io, io_conn);
}

void sl_io_shutdown(struct sl_io *io, struct sl_io_conn *io_conn, int how) {
    SL_ASSERT(io_conn->state == SL__IO_OPEN);
    io_conn->flags |= how == SHUT_RD   ? SL__F_SHUT_RD
                      : how == SHUT_WR ? SL__F_SHUT_WR
                                       : SL__F_SHUT_RD | SL__F_SHUT_WR;
    sl__io_dirty(io, io_conn);
}

static void close_with(struct sl_io *io, struct sl_io_conn *io_conn, uint32_t flags) {
    SL_ASSERT(io_conn->state == SL__IO_OPEN || io_conn->state == SL__IO_CONNECTING);
    if (io_conn->state == SL__IO_OPEN) {
        inbox_drop(io, io_conn);
    }
    unstarve(io, io_conn);
    io_conn->state = SL__IO_CLOSING;
    io_conn->want = SL_RECV_OFF;
    io_conn->flags |= flags;
    sl__io_dirty(io, io_conn);
}

void sl_io_close(struct sl_io *io, struct sl_io_conn *io_conn) { close_with(io, io_conn, 0); }

void sl_io_abort(struct sl_io *io, struct sl_io_conn *io_conn) {
    close_with(io, io_conn, SL__F_ABORT);
}

// Descriptors without a slot.

static int result_of(int rc) { return rc < 0 ? -errno : rc; }

int sl_io_peer_address(const struct sl_io *io, const struct sl_io_conn *io_conn,
                       struct sockaddr *out_addr, socklen_t *len) {
    return result_of(io->sys->getpeername(io->sys, io_conn->fd, out_addr, len));
}

int sl_io_listen(const struct sl_io *io, int fd, int backlog) {
    return result_of(io->sys->listen(io->sys, fd, backlog));
}

int sl_io_accept_now(const struct sl_io *io, int listen_fd) {
    return result_of(
        io->sys->accept4(io->sys, listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

int sl_io_socket_option(const struct sl_io *io, int fd, int level, int name, const void *value,
                        socklen_t len) {
    return result_of(io->sys->setsockopt(io->sys, fd, level, name, value, len));
}

int sl_io_close_fd(const struct sl_io *io, int fd) {
    return result_of(io->sys->close(io->sys, fd));
}

// Listeners.

int sl_io_accept_start(struct sl_io *io, int listen_fd, sl_io_on_accept on_accept, void *owner) {
    for (uint32_t i = 0; i < SL__LISTENERS_MAX; i++) {
        struct sl__listener *listener = &io->listeners[i];
        if (listener->state == SL__LISTENER_FREE) {
            *listener = (struct sl__listener){
                .fd = listen_fd,
                .gen = listener->gen,
                .state = SL__LISTENER_ON,
                .on_accept = on_accept,
                .owner = owner,
            };
            io->listeners_end = i < io->listeners_end ? io->listeners_end : i + 1;
            return (int)i;
        }
    }
    return sl_fail(SL_E_INVALID, "more than %d listeners", SL__LISTENERS_MAX);
}

void sl_io_accept_stop(struct sl_io *io, int listener, void (*on_stopped)(void *owner)) {
    SL_ASSERT(listener >= 0 && listener < SL__LISTENERS_MAX);
    SL_ASSERT(io->listeners[listener].state == SL__LISTENER_ON);
    io->listeners[listener].state = SL__LISTENER_STOPPING;
    io->listeners[listener].on_stopped = on_stopped;
}

// Brings every listener to its wish; returns how long the loop may sleep for their sake.
static uint64_t listeners_sync(struct sl_io *io) {
    uint64_t wait_ns = UINT64_MAX;
    for (uint32_t i = 0; i < io->listeners_end; i++) {
        struct sl__listener *listener = &io->listeners[i];
        if (listener->state == SL__LISTENER_FREE) {
            continue;
        }
        bool on = listener->state == SL__LISTENER_ON;
        if (on && !listener->armed && listener->retry_ns > io->now_ns) {
            wait_ns = sl_min_u64(wait_ns, listener->retry_ns - io->now_ns);
        } else if (on != listener->armed && !io->backend->listener_sync(io, i)) {
            wait_ns = 0;
        }
        if (!on && !listener->armed) {
            wait_ns = 0; // on_stopped is due
        }
    }
    return wait_ns;
}

static void listeners_run(struct sl_io *io) {
    for (uint32_t i = 0; i < io->accepted_count; i++) {
        struct sl__listener *listener = &io->listeners[io->accepted[i].listener];
        if (io->accepted[i].fd < 0) { // counted from now, not from before the wait
            listener->retry_ns = io->now_ns + SL__ACCEPT_RETRY_NS;
        }
        io->delivered++;
        listener->on_accept(listener->owner, io->accepted[i].fd);
    }
    io->accepted_count = 0;
    for (uint32_t i = 0; i < io->listeners_end; i++) {
        struct sl__listener *listener = &io->listeners[i];
        if (listener->state == SL__LISTENER_STOPPING && !listener->armed && !listener->cancelling) {
            listener->state = SL__LISTENER_FREE;
            listener->gen = (listener->gen + 1) & SL__GEN_MASK;
            io->delivered++;
            listener->on_stopped(listener->owner);
        }
    }
}

// Run: the only code that calls owners.

static void run_data(struct sl_io *io, struct sl_io_conn *io_conn) {
    while (io_conn->state == SL__IO_OPEN && io_conn->want != SL_RECV_OFF && io_conn->inbox_first) {
        struct sl_buf *buf = io_conn->inbox_first;
        io_conn->inbox_first = buf->next;
        if (!buf->next) {
            io_conn->inbox_last = NULL;
        }
        buf->next = NULL;
        if (io_conn->want == SL_RECV_ONCE) {
            io_conn->want = SL_RECV_OFF;
        }
        io->delivered++;
        io_conn->handler->on_data(io_conn, io_conn->owner, buf, buf->end);
    }
}

static void run_closed(struct sl_io *io, struct sl_io_conn *io_conn) {
    void (*on_closed)(void *) = io_conn->handler->on_closed;
    void *owner = io_conn->owner;
    slot_give(io, io_conn);
    io->delivered++;
    on_closed(owner);
}

static void run_conn(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (io_conn->flags & SL__F_CLOSED) {
        run_closed(io, io_conn);
        return;
    }
    if (io_conn->state == SL__IO_OPEN && (io_conn->flags & SL__F_CONNECTED)) {
        io_conn->flags &= ~SL__F_CONNECTED;
        io->delivered++;
        io_conn->handler->on_connect(io_conn, io_conn->owner, io_conn->error);
    }
    if (io_conn->state == SL__IO_OPEN && (io_conn->flags & SL__F_SENT)) {
        io_conn->flags &= ~(SL__F_SENT | SL__F_SENDING);
        io->delivered++;
        io_conn->handler->on_sent(io_conn, io_conn->owner, io_conn->sent);
    }
    run_data(io, io_conn);
    bool end = io_conn->state == SL__IO_OPEN && io_conn->want != SL_RECV_OFF &&
               (io_conn->flags & (SL__F_ENDED | SL__F_END_TOLD)) == SL__F_ENDED &&
               !io_conn->inbox_first;
    if (end) {
        io_conn->flags |= SL__F_END_TOLD;
        io->delivered++;
        io_conn->handler->on_end(io_conn, io_conn->owner, io_conn->error);
    }
}

// What callbacks make ready waits for the next turn, so that this one ends.
static void ready_run(struct sl_io *io) {
    struct sl_io_conn *io_conn = io->ready.first;
    io->ready = (struct sl__list){NULL, NULL};
    while (io_conn) {
        struct sl_io_conn *next = io_conn->ready_next;
        io_conn->flags &= ~SL__F_READY;
        run_conn(io, io_conn);
        io_conn = next;
    }
}

// What the submitter makes dirty again waits for the next turn; so does the rest when it has no room.
static void dirty_sync(struct sl_io *io) {
    struct sl_io_conn *io_conn = io->dirty.first;
    io->dirty = (struct sl__list){NULL, NULL};
    bool room = true, asked = false, looked = false;
    while (io_conn) {
        struct sl_io_conn *next = io_conn->dirty_next;
        io_conn->flags &= ~SL__F_DIRTY;
        bool careful = io_conn->state == SL__IO_OPEN && (io_conn->flags & SL__F_IF_QUIET);
        if (careful && !asked) { // once for all of this turn
            asked = true;
            looked = io->backend->look && io->backend->look(io);
        }
        if (careful && !quiet(io, io_conn, looked)) {
            send_cancel(io, io_conn);
        }
        room = room && io->backend->conn_sync(io, io_conn);
        if (room) {
            io_conn->flags &= ~SL__F_IF_QUIET;
        } else {
            sl__io_dirty(io, io_conn);
        }
        io_conn = next;
    }
}

static void count_resources(struct sl_io *io) {
    struct sl_counters *c = io->counters;
    const struct sl_buf_pool *pool = io->pool;
    c->io_bufs_free = c->io_bufs_kernel = 0;
    for (int g = 0; g < SL_BUF_GROUPS; g++) {
        c->io_bufs_free += pool->free_count[g];
        c->io_bufs_kernel += pool->kernel_count[g];
    }
    c->io_bufs_lent = sl_buf_lent(pool);
    c->io_slots_live = io->conns_live;
    c->io_slots_free = io->conns_free;
    c->io_wakes_sent = atomic_load_explicit(&io->wakes_sent, memory_order_relaxed);
    c->io_wakes_skipped = atomic_load_explicit(&io->wakes_skipped, memory_order_relaxed);
    raise_max(&c->io_bufs_lent_max, c->io_bufs_lent);
    raise_max(&c->io_slots_live_max, c->io_slots_live);
}

int sl_io_poll(struct sl_io *io, uint64_t max_wait_ns) {
    SL_ASSERT(!io->running); // never from a callback
    io->running = true;
    io->delivered = 0;
    starved_rearm(io, SL_BUF_HEAD);
    starved_rearm(io, SL_BUF_BODY);
    io->backend->begin(io);
    dirty_sync(io);
    uint64_t wait_ns = sl_min_u64(max_wait_ns, listeners_sync(io));
    bool first = io->counters->io_enters == 0; // it may come any time after the start
    if (!first) {
        uint64_t turn_ns = io->sys->now_ns(io->sys) - io->now_ns;
        raise_max(&io->counters->io_turn_us_max, turn_ns / 1000);
    }
    int status = io->backend->wait(io, io->ready.first || io->dirty.first ? 0 : wait_ns);
    io->now_ns = io->sys->now_ns(io->sys);
    if (status == SL_OK) {
        listeners_run(io);
        ready_run(io);
    }
    count_resources(io);
    io->running = false;
    io->hurried = false;
    return status == SL_OK ? io->delivered : status;
}

void sl_io_hurry(struct sl_io *io) { io->hurried = true; }

uint64_t sl_io_now_ns(const struct sl_io *io) { return io->now_ns; }

void sl_io_wake(struct sl_io *io) {
    bool first = atomic_exchange(&io->wake_pending, 1) == 0;
    atomic_fetch_add_explicit(first ? &io->wakes_sent : &io->wakes_skipped, 1,
                              memory_order_relaxed);
    if (first) {
        uint64_t one = 1;
        ssize_t rc = io->sys->write(io->sys, io->wake_fd, &one, sizeof(one));
        (void)rc; // only a full counter can fail, and then the loop is awake
    }
}

// Life of a loop.

static int slots_init(struct sl_io *io) {
    io->conns = calloc(io->conns_max, sizeof(*io->conns));
    if (!io->conns) {
        return sl_fail(SL_E_NO_MEMORY, "no memory for %u connection slots", io->conns_max);
    }
    for (uint32_t i = io->conns_max; i-- > 0;) {
        io->conns[i].slot = i;
        io->conns[i].gen = 1;
        io->conns[i].dirty_next = io->free;
        io->free = &io->conns[i];
        io->conns_free++;
    }
    return SL_OK;
}

static void io_release(struct sl_io *io) {
    if (io->wake_fd >= 0) {
        io->sys->close(io->sys, io->wake_fd);
    }
    free(io->accepted);
    free(io->conns);
    free(io);
}

static int io_init(struct sl_io *io) {
    int status = slots_init(io);
    if (status != SL_OK) {
        return status;
    }
    io->wake_fd = io->sys->eventfd(io->sys, 0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (io->wake_fd < 0) {
        return sl_fail(SL_E_SYSTEM, "eventfd: %s", sl__errno_name(errno));
    }
    io->now_ns = io->sys->now_ns(io->sys);
    io->counters->io_slots = io->conns_max;
    io->counters->io_bufs = 0; // an earlier loop of this worker may have failed to open
    for (int g = 0; g < SL_BUF_GROUPS; g++) {
        io->counters->io_bufs += io->pool->count[g];
    }
    count_resources(io);
    status = io->backend->open(io);
    if (status != SL_OK) {
        return status;
    }
    io->accepted = calloc(io->accepted_cap, sizeof(*io->accepted));
    if (!io->accepted) {
        io->backend->free(io);
        return sl_fail(SL_E_NO_MEMORY, "no memory for %u accepts", io->accepted_cap);
    }
    return SL_OK;
}

int sl_io_open(struct sl_io **out_io, const struct sl_io_config *config) {
    *out_io = NULL;
    SL_ASSERT(config->kind == SL_IO_URING || config->kind == SL_IO_EPOLL);
    SL_ASSERT(config->conns_max > 0);
    struct sl_io *io = calloc(1, sizeof(*io));
    if (!io) {
        return sl_fail(SL_E_NO_MEMORY, "no memory for a loop");
    }
    io->wake_fd = -1;
    io->sys = config->sys ? config->sys : &sl_sys_kernel;
    io->backend = config->kind == SL_IO_URING ? &sl__uring : &sl__epoll;
    io->conns_max = config->conns_max;
    io->pool = config->pool;
    io->counters = config->counters;
    int status = io_init(io);
    if (status != SL_OK) {
        io_release(io);
        return status;
    }
    *out_io = io;
    return SL_OK;
}

void sl_io_free(struct sl_io *io) {
    if (!io) {
        return;
    }
    SL_ASSERT(!io->running && io->conns_live == 0);
    io->backend->free(io);
    io_release(io);
}
