// One completion interface over io_uring, epoll (and later sim). io layer. Design and measurements: docs/internals/io.md.
//
// A loop belongs to the thread that opened it; only sl_io_wake may be called from elsewhere. Nothing here calls back except from inside
// sl_io_poll, and never while another callback runs: a function called from a callback only queues.
//
// Receiving is a wish, not a call: sl_io_recv says what the owner wants, the backend brings the kernel there. With SL_RECV_STREAM data keeps
// coming (multishot, 4 KiB HEAD buffers: heads and idle connections). With SL_RECV_ONCE one part comes, from a 32 KiB BODY buffer, and the
// wish falls back to SL_RECV_OFF before its on_data. While the wish is OFF neither on_data nor on_end comes, whatever the kernel delivers: what
// was under way waits here, at most 16 KiB where the kernel can be told (6.17), and is the first to satisfy the next wish, in order, from the
// buffer it lies in.
//
// Sending: at most one in flight per connection. It completes whole, or fails.
//
// In one turn a connection's callbacks come in this order: on_connect, on_sent, on_data, on_end.
//
// Closing: sl_io_close shuts down both directions, waits for the last completion, closes, bumps the generation, then on_closed: the last
// callback of this connection, exactly once. No other callback comes after sl_io_close but on_closed.
#ifndef SL_IO_H
#define SL_IO_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "buf.h"
#include "sluice/counters.h"
#include "sys.h"

struct sl_io;
struct sl_io_conn; // opaque: a slot of a flat array, at most 128 bytes

enum sl_recv_want { SL_RECV_OFF = 0, SL_RECV_STREAM = 1, SL_RECV_ONCE = 2 };

struct sl_io_handler {
    // len > 0 bytes at buf->data. A loan: sl_buf_unref when done.
    void (*on_data)(struct sl_io_conn *io_conn, void *owner, struct sl_buf *buf, uint32_t len);
    // The peer will send nothing more (error 0: FIN), or the socket failed (error: negative errno). Once; no on_data after it.
    void (*on_end)(struct sl_io_conn *io_conn, void *owner, int error);
    // The send is finished: total bytes, or negative errno.
    void (*on_sent)(struct sl_io_conn *io_conn, void *owner, int64_t result);
    // Outgoing connections only: 0 or negative errno (then call sl_io_close).
    void (*on_connect)(struct sl_io_conn *io_conn, void *owner, int error);
    void (*on_closed)(void *owner);
};

struct sl_io_config {
    int kind;           // enum sl_io_kind of sluice.h, decided: URING or EPOLL
    uint32_t conns_max; // slots, downstream and upstream together
    struct sl_buf_pool *pool;
    struct sl_counters *counters;
    const struct sl_sys *sys; // NULL: sl_sys_kernel
};

// Decides `kind` (SL_IO_AUTO, URING, EPOLL) by doing: opens a small ring with all our flags and a buffer ring, receives 5 bytes over a socket
// pair by multishot, takes all down. On any failure AUTO becomes EPOLL; a forced backend that fails is E_IO_UNAVAILABLE. `reason` gets one
// line either way, for example "io_uring_setup: EPERM; seccomp or kernel.io_uring_disabled=2". Any thread. Returns the kind or a status.
int sl_io_probe(int kind, char *reason, size_t reason_len);
size_t sl_io_conn_bytes(void);           // of a slot
const char *sl_io_kind_name(int kind); // "uring", "epoll"

// On the owner's thread. SL_OK, or E_IO_UNAVAILABLE (the ring: sl_fail_text has stage, errno and remedy), E_NO_MEMORY, E_SYSTEM.
int sl_io_open(struct sl_io **out_io, const struct sl_io_config *config);
void sl_io_free(struct sl_io *io); // every connection must be closed; listeners may still accept. NULL is ignored

// One turn: submits, waits at most max_wait_ns (0: not at all), reads completions, runs callbacks. Returns callbacks run, or a status
// (E_SYSTEM: the loop is lost).
int sl_io_poll(struct sl_io *io, uint64_t max_wait_ns);
// The next wait ends with its first completion. Under load io_uring may otherwise wait some microseconds for several receives at once
// (docs/internals/io.md), and a wake would wait with them: for an owner who expects one.
void sl_io_hurry(struct sl_io *io);
uint64_t sl_io_now_ns(const struct sl_io *io); // CLOCK_MONOTONIC, read once per turn after the wait
void sl_io_wake(struct sl_io *io);             // any thread; wakes are merged

// Accepts on a listening socket until stopped. on_accept: fd >= 0 (yours, non-blocking, close-on-exec), or negative errno (EMFILE: the backend
// goes on by itself after 100 ms). Returns a listener number or a status.
typedef void (*sl_io_on_accept)(void *owner, int fd);
int sl_io_accept_start(struct sl_io *io, int listen_fd, sl_io_on_accept on_accept, void *owner);
// Stops; accepts that already completed are still delivered, then on_stopped(owner), after which listen_fd may be closed.
void sl_io_accept_stop(struct sl_io *io, int listener, void (*on_stopped)(void *owner));

// A slot for a connected stream socket; NULL when all are taken or epoll refuses it (the fd stays yours).
struct sl_io_conn *sl_io_conn_open(struct sl_io *io, int fd, const struct sl_io_handler *handler, void *owner);
// A slot that connects over IPv4 or IPv6; NULL when all are taken or socket(2) failed. on_connect comes in a later turn. TCP_NODELAY is set.
struct sl_io_conn *sl_io_connect(struct sl_io *io, const struct sockaddr *addr, socklen_t len,
                                 const struct sl_io_handler *handler, void *owner);
void sl_io_set_handler(struct sl_io_conn *io_conn, const struct sl_io_handler *handler, void *owner);
int sl_io_fd(const struct sl_io_conn *io_conn);

void sl_io_recv(struct sl_io *io, struct sl_io_conn *io_conn, enum sl_recv_want want);
// msg and its iovec stay yours and untouched until on_sent, or on_closed if you close before (a short send advances them). No send may be in flight.
// msg_flags: 0, or MSG_MORE where sl_io_shutdown of SHUT_WR follows at once: then the last bytes and the end share a segment.
void sl_io_send(struct sl_io *io, struct sl_io_conn *io_conn, struct msghdr *msg);
// For a request on a connection that was idle. If the peer has said anything by then (bytes, or its end) nothing is sent, and on_sent gets
// -ECANCELED: what was there before the request cannot be its answer. One system call more.
void sl_io_send_if_quiet(struct sl_io *io, struct sl_io_conn *io_conn, struct msghdr *msg);
bool sl_io_sending(const struct sl_io_conn *io_conn);
uint64_t sl_io_bytes_acked(const struct sl_io *io, const struct sl_io_conn *io_conn); // tcpi_bytes_acked, for the write-stall rule; 0 if unknown
bool sl_io_alive(const struct sl_io *io, const struct sl_io_conn *io_conn); // false: reset, which an unread connection is not told
void sl_io_shutdown(struct sl_io *io, struct sl_io_conn *io_conn, int how); // SHUT_WR after the last send; asynchronous
void sl_io_close(struct sl_io *io, struct sl_io_conn *io_conn);             // once
// Like sl_io_close, but the peer gets a RST (SO_LINGER 0): a broken transfer must not look whole.
void sl_io_abort(struct sl_io *io, struct sl_io_conn *io_conn);

// For descriptors that the loop's operating system made, which may be a simulated one: the layers above ask it through these, never directly.
// 0 or negative errno.
int sl_io_peer_address(const struct sl_io *io, const struct sl_io_conn *io_conn, struct sockaddr *out_addr,
                       socklen_t *len);
int sl_io_listen(const struct sl_io *io, int fd, int backlog);
int sl_io_accept_now(const struct sl_io *io, int listen_fd); // as for on_accept: the fd, or -EAGAIN when nobody waits
int sl_io_socket_option(const struct sl_io *io, int fd, int level, int name, const void *value, socklen_t len);
int sl_io_close_fd(const struct sl_io *io, int fd); // a listener, or an accepted fd without a slot

#endif
