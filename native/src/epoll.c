// The epoll backend. io layer.
//
// Edge triggered: a connection is registered once, for everything, and its slot remembers what the kernel said (READABLE, WRITABLE) until a
// call says otherwise, so that a changed wish costs no epoll_ctl. Receiving takes one buffer per turn: a connection that has more stays
// dirty, and the others get their turn first. Listeners are level triggered: what one turn leaves in the backlog the next one finds.
#include "io_internal.h"

#include <errno.h>
#include <stdlib.h>

#define EVENTS_PER_WAIT 512

struct epoll {
    int fd;
    struct epoll_event events[EVENTS_PER_WAIT];
};

static bool epoll_set(struct sl_io *io, int op, int fd, uint32_t events, uint64_t ud) {
    struct epoll *epoll = io->impl;
    struct epoll_event event = {.events = events, .data.u64 = ud};
    return io->sys->epoll_ctl(io->sys, epoll->fd, op, fd, &event) == 0;
}

static bool conn_register(struct sl_io *io, struct sl_io_conn *io_conn) {
    return epoll_set(io, EPOLL_CTL_ADD, io_conn->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                     sl__ud(SL__OP_RECV, io_conn->gen, io_conn->slot));
}

static bool epoll_attach(struct sl_io *io, struct sl_io_conn *io_conn) {
    io_conn->flags |= SL__F_WRITABLE; // if not, the first send finds out
    return conn_register(io, io_conn);
}

static void op_done(struct sl_io *io, struct sl_io_conn *io_conn, enum sl__io_op op) {
    io->counters->io_ops_done++;
    sl__io_disarm(io, io_conn, op);
}

// Receiving.

static void recv_result(struct sl_io *io, struct sl_io_conn *io_conn, struct sl_buf *buf,
                        ssize_t got, int error) {
    io->counters->io_cqes++;
    if (got > 0) {
        // A short read emptied the socket: what comes later is a new edge. Unless FIN or an error is already there: no edge follows that.
        if ((uint32_t)got < buf->cap && !(io_conn->flags & SL__F_HANGUP)) {
            io_conn->flags &= ~SL__F_READABLE;
        } else {
            sl__io_dirty(io, io_conn);
        }
        sl__io_got_data(io, io_conn, buf, (uint32_t)got);
        return;
    }
    sl_buf_unref(io->pool, buf);
    if (got == 0) {
        sl__io_got_end(io, io_conn, 0);
    } else if (error == EAGAIN) {
        io_conn->flags &= ~SL__F_READABLE;
    } else if (error == EINTR) {
        sl__io_dirty(io, io_conn);
    } else {
        sl__io_got_end(io, io_conn, -error);
    }
}

static void recv_sync(struct sl_io *io, struct sl_io_conn *io_conn) {
    bool wanted = io_conn->want != SL_RECV_OFF && !(io_conn->flags & SL__F_ENDED);
    if (wanted != !!(io_conn->armed & SL__BIT(SL__OP_RECV))) {
        (wanted ? sl__io_arm : op_done)(io, io_conn, SL__OP_RECV);
    }
    if (!wanted || !(io_conn->flags & SL__F_READABLE) || (io_conn->flags & SL__F_STARVED)) {
        return;
    }
    if (io_conn->inbox_first) {
        sl__io_dirty(io,
                     io_conn); // one buffer per turn; there will be no second edge for these bytes
        return;
    }
    struct sl_buf *buf = sl_buf_take(io->pool, sl__io_recv_group(io, io_conn));
    if (!buf) {
        sl__io_got_no_buf(io, io_conn);
        return;
    }
    io->counters->io_enters++;
    ssize_t got = io->sys->recv(io->sys, io_conn->fd, buf->data, buf->cap, MSG_DONTWAIT);
    recv_result(io, io_conn, buf, got, errno);
}

// Sending.

static void send_sync(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (!(io_conn->flags & SL__F_SEND)) {
        return;
    }
    if (!(io_conn->armed & SL__BIT(SL__OP_SEND))) {
        sl__io_arm(io, io_conn, SL__OP_SEND);
    }
    if (!(io_conn->flags & SL__F_WRITABLE)) {
        return;
    }
    io->counters->io_enters++;
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | io_conn->msg->msg_flags;
    ssize_t sent = io->sys->sendmsg(io->sys, io_conn->fd, io_conn->msg, flags);
    int error = errno;
    if (sent < 0 && (error == EAGAIN || error == EINTR)) {
        if (error == EINTR) {
            sl__io_dirty(io, io_conn);
        } else {
            io_conn->flags &= ~SL__F_WRITABLE;
        }
        return;
    }
    io_conn->flags &= ~SL__F_SEND;
    sl__io_got_sent(io, io_conn, sent < 0 ? -error : sent);
    if (io_conn->flags & SL__F_SEND) {
        io_conn->flags &= ~SL__F_WRITABLE; // a part went: the buffer is full
    } else {
        io->counters->io_cqes++;
        op_done(io, io_conn, SL__OP_SEND);
    }
}

// Connecting.

static void connect_done(struct sl_io *io, struct sl_io_conn *io_conn, int error) {
    io->counters->io_cqes++;
    op_done(io, io_conn, SL__OP_CONNECT);
    sl__io_got_connect(io, io_conn, -error);
}

static void connect_sync(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (!(io_conn->flags & SL__F_CONNECT)) {
        return;
    }
    io_conn->flags &= ~SL__F_CONNECT;
    io_conn->flags |= SL__F_WRITABLE;
    sl__io_arm(io, io_conn, SL__OP_CONNECT);
    io->counters->io_enters++;
    int rc = io->sys->connect(io->sys, io_conn->fd, (const struct sockaddr *)&io_conn->addr,
                              io_conn->addr_len);
    int error = rc == 0 ? 0 : errno;
    // Registered only now: an unconnected socket would report a hang-up.
    if ((error == 0 || error == EINPROGRESS) && !conn_register(io, io_conn)) {
        error = errno;
    }
    if (error != EINPROGRESS) {
        connect_done(io, io_conn, error);
    }
}

static void connect_event(struct sl_io *io, struct sl_io_conn *io_conn) {
    int error = 0;
    socklen_t len = sizeof(error);
    if (io->sys->getsockopt(io->sys, io_conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    connect_done(io, io_conn, error);
}

// Nothing is ever in the kernel's hands here, so closing can be done at once.
static void closing_sync(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (io_conn->flags & SL__F_CLOSED) {
        return;
    }
    for (int op = 0; op <= SL__OP_CANCEL; op++) {
        if (io_conn->armed & SL__BIT(op)) {
            op_done(io, io_conn, (enum sl__io_op)op);
        }
    }
    sl__io_close_now(io, io_conn);
}

static bool epoll_conn_sync(struct sl_io *io, struct sl_io_conn *io_conn) {
    if (io_conn->state == SL__IO_CLOSING) {
        closing_sync(io, io_conn);
    } else if (io_conn->state == SL__IO_CONNECTING) {
        connect_sync(io, io_conn);
    } else {
        // Sending first, as io_uring does: a send completes while it is submitted.
        send_sync(io, io_conn);
        sl__io_shutdown_now(io, io_conn);
        recv_sync(io, io_conn);
    }
    return true;
}

// Listeners.

static bool epoll_listener_sync(struct sl_io *io, uint32_t index) {
    struct sl__listener *listener = &io->listeners[index];
    if (listener->armed) {
        (void)epoll_set(io, EPOLL_CTL_DEL, listener->fd, 0, 0);
        listener->armed = false;
        io->counters->io_ops_done++;
        sl__io_op_end(io);
        return true;
    }
    if (!epoll_set(io, EPOLL_CTL_ADD, listener->fd, EPOLLIN,
                   sl__ud(SL__OP_ACCEPT, listener->gen, index))) {
        sl__io_got_accept(io, index, -errno);
        return true;
    }
    listener->armed = true;
    sl__io_op_begin(io);
    return true;
}

static void accept_event(struct sl_io *io, uint32_t index) {
    struct sl__listener *listener = &io->listeners[index];
    for (int i = 0; i < SL__ACCEPTS_PER_TURN; i++) {
        io->counters->io_enters++;
        int fd = io->sys->accept4(io->sys, listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        int error = errno;
        if (fd < 0 && error == EAGAIN) {
            return;
        }
        io->counters->io_cqes++;
        if (fd >= 0) {
            sl__io_got_accept(io, index, fd);
        } else if (!sl__io_accept_error_passes(error)) {
            sl__io_got_accept(io, index, -error);
            (void)epoll_listener_sync(io, index); // off, until the retry
            return;
        }
    }
}

// Waiting.

static void conn_event(struct sl_io *io, struct sl_io_conn *io_conn, uint32_t events) {
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        io_conn->flags |= SL__F_READABLE;
    }
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        io_conn->flags |= SL__F_HANGUP;
    }
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
        io_conn->flags |= SL__F_WRITABLE;
    }
    if (io_conn->state == SL__IO_CONNECTING) {
        connect_event(io, io_conn);
    } else if (io_conn->state == SL__IO_OPEN) {
        epoll_conn_sync(io, io_conn);
    }
}

static void event_read(struct sl_io *io, const struct epoll_event *event) {
    uint64_t ud = event->data.u64;
    uint32_t slot = sl__ud_slot(ud);
    if (sl__ud_op(ud) == SL__OP_WAKE) {
        sl__io_got_wake(io);
    } else if (sl__ud_op(ud) == SL__OP_ACCEPT) {
        accept_event(io, slot);
    } else if (io->conns[slot].gen == sl__ud_gen(ud) && io->conns[slot].fd >= 0) {
        conn_event(io, &io->conns[slot], event->events);
    } else {
        io->counters->io_stale_cqes++;
    }
}

static int epoll_wait_ns(struct sl_io *io, uint64_t wait_ns) {
    struct epoll *epoll = io->impl;
    // Rounded up: a timer must not find the loop awake too early again and again.
    uint64_t ms = wait_ns / SL_NS_PER_MS + (wait_ns % SL_NS_PER_MS != 0);
    int timeout = wait_ns == UINT64_MAX ? -1 : (int)sl_min_u64(ms, INT32_MAX);
    return io->sys->epoll_wait(io->sys, epoll->fd, epoll->events, EVENTS_PER_WAIT, timeout);
}

static int epoll_backend_wait(struct sl_io *io, uint64_t wait_ns) {
    struct epoll *epoll = io->impl;
    io->counters->io_enters++;
    int count = epoll_wait_ns(io, wait_ns);
    if (count < 0) {
        return errno == EINTR ? SL_OK
                              : sl_fail(SL_E_SYSTEM, "epoll_wait: %s", sl__errno_name(errno));
    }
    for (int i = 0; i < count; i++) {
        event_read(io, &epoll->events[i]);
    }
    return SL_OK;
}

static void epoll_begin(struct sl_io *io) { (void)io; }

// Life.

static void epoll_free(struct sl_io *io) {
    struct epoll *epoll = io->impl;
    for (uint32_t i = 0; i < SL__LISTENERS_MAX; i++) {
        if (io->listeners[i].state != SL__LISTENER_FREE && io->listeners[i].armed) {
            (void)epoll_listener_sync(io, i);
        }
    }
    io->sys->close(io->sys, epoll->fd);
    free(epoll);
}

static int epoll_open(struct sl_io *io) {
    struct epoll *epoll = calloc(1, sizeof(*epoll));
    if (!epoll) {
        return sl_fail(SL_E_NO_MEMORY, "no memory for epoll events");
    }
    io->impl = epoll;
    io->accepted_cap = (SL__ACCEPTS_PER_TURN + 1) * SL__LISTENERS_MAX;
    epoll->fd = io->sys->epoll_create1(io->sys, EPOLL_CLOEXEC);
    // Edge triggered: the counter is never read, each write is an edge.
    if (epoll->fd < 0 ||
        !epoll_set(io, EPOLL_CTL_ADD, io->wake_fd, EPOLLIN | EPOLLET, sl__ud(SL__OP_WAKE, 0, 0))) {
        int error = errno;
        if (epoll->fd >= 0) {
            io->sys->close(io->sys, epoll->fd);
        }
        free(epoll);
        return sl_fail(SL_E_SYSTEM, "epoll: %s", sl__errno_name(error));
    }
    return SL_OK;
}

const struct sl__io_backend sl__epoll = {
    .open = epoll_open,
    .free = epoll_free,
    .attach = epoll_attach,
    .begin = epoll_begin,
    .conn_sync = epoll_conn_sync,
    .listener_sync = epoll_listener_sync,
    .wait = epoll_backend_wait,
};
