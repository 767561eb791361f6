// What io.c, uring.c and epoll.c share: slots, wishes, results. io layer; nobody else includes this.
//
// A turn has three parts. `sync`: each connection on the dirty list is brought to what its owner wished (the backend's submitter). `wait`: the
// backend sleeps, then records results in the slots and puts them on the ready list (its completion reader); no callback yet. `run`: io.c
// calls the owners, each connection in the order connect, sent, data, end, closed. Callbacks only set wishes, so they never nest.
#ifndef SL_IO_INTERNAL_H
#define SL_IO_INTERNAL_H

#include <netinet/in.h>
#include <stdatomic.h>

#include "io.h"
#include "sluice/sluice.h"

enum sl__io_op {
    SL__OP_RECV = 0,      // multishot, HEAD buffers
    SL__OP_RECV_ONCE = 1, // one part, a BODY buffer
    SL__OP_SEND = 2,
    SL__OP_CONNECT = 3,
    SL__OP_CANCEL = 4,
    SL__OP_ACCEPT = 5, // slot: index of the listener
    SL__OP_CANCEL_ACCEPT = 6,
    SL__OP_WAKE = 7,
    SL__OP_CANCEL_WAKE = 8,
};
#define SL__BIT(op) (1u << (op))

// One word names an operation to the kernel and back: op:8, gen:24, slot:32. Never a pointer: a late completion must be harmless.
#define SL__GEN_MASK 0xffffffu
static inline uint64_t sl__ud(enum sl__io_op op, uint32_t gen, uint32_t slot) {
    return (uint64_t)op << 56 | (uint64_t)gen << 32 | slot;
}
static inline enum sl__io_op sl__ud_op(uint64_t ud) { return (enum sl__io_op)(ud >> 56); }
static inline uint32_t sl__ud_gen(uint64_t ud) { return (uint32_t)(ud >> 32) & SL__GEN_MASK; }
static inline uint32_t sl__ud_slot(uint64_t ud) { return (uint32_t)ud; }

enum sl__io_state { SL__IO_FREE = 0, SL__IO_CONNECTING, SL__IO_OPEN, SL__IO_CLOSING };

enum sl__io_flag {
    SL__F_DIRTY = 1u << 0,     // on the dirty list
    SL__F_READY = 1u << 1,     // on the ready list
    SL__F_STARVED = 1u << 2,   // on a starved list: its receive waits for buffers
    SL__F_SENDING = 1u << 3,   // from sl_io_send until on_sent
    SL__F_SEND = 1u << 4,      // (a part of) the message waits for the submitter
    SL__F_SENT = 1u << 5,      // result: on_sent is due
    SL__F_CONNECT = 1u << 6,   // the connect waits for the submitter
    SL__F_CONNECTED = 1u << 7, // result: on_connect is due
    SL__F_ENDED = 1u << 8,     // result: nothing more will be received
    SL__F_END_TOLD = 1u << 9,  // on_end was called
    SL__F_CLOSED = 1u << 10,   // result: the fd is closed, on_closed is due
    SL__F_ABORT = 1u << 11,    // close with RST
    SL__F_SHUT = 1u << 12,     // closing: both directions are shut down (or cancelled)
    SL__F_SHUT_WR = 1u << 13,  // wish: shutdown(SHUT_WR) after the send
    SL__F_SHUT_RD = 1u << 14,  // wish
    SL__F_READABLE = 1u << 15, // epoll: receiving may work
    SL__F_WRITABLE = 1u << 16, // epoll: sending may work
    SL__F_HANGUP = 1u << 17,   // epoll: FIN or an error waits behind the data
    SL__F_ONE = 1u << 18,      // uring: what is armed as SL__OP_RECV ends with one part
    SL__F_SHORT = 1u << 19,    // uring: the last send came back short: it may have heard of a reset, and kept it
    SL__F_IF_QUIET = 1u << 20, // the send may begin only if the peer has said nothing
    SL__F_FRESH = 1u << 21,    // uring: the multishot receive has brought nothing yet
};

struct sl_io_conn {
    int fd;
    uint32_t slot;
    uint32_t gen;   // 24 bits, never 0
    uint32_t flags; // enum sl__io_flag
    uint8_t state;  // enum sl__io_state
    uint8_t want;   // enum sl_recv_want
    uint8_t armed;  // a bit per op that the kernel holds; each holds one reference: the slot is not freed before all are gone
    uint8_t starved_group;
    int error; // result: of the connect, or why receiving ended
    const struct sl_io_handler *handler;
    void *owner;
    union {
        struct {
            struct msghdr *msg;
            int64_t sent; // bytes so far; then the result
            struct sl_buf *inbox_first, *inbox_last; // received, not yet wanted
        };
        struct { // while connecting
            struct sockaddr_in6 addr;
            uint32_t addr_len;
        };
    };
    struct sl_io_conn *dirty_next, *ready_next;
    struct sl_io_conn *starved_next, *starved_prev;
    uint32_t window; // uring: of receives, in which the last one was its
};
_Static_assert(sizeof(struct sl_io_conn) <= 128, "a slot is two cache lines");

struct sl__list { // through dirty_next or ready_next
    struct sl_io_conn *first, *last;
};

enum sl__listener_state { SL__LISTENER_FREE = 0, SL__LISTENER_ON, SL__LISTENER_STOPPING };

struct sl__listener {
    int fd;
    uint32_t gen;
    uint8_t state;
    bool armed;      // the backend accepts
    bool cancelling; // uring
    uint64_t retry_ns; // 0, or not to be armed before
    sl_io_on_accept on_accept;
    void (*on_stopped)(void *owner);
    void *owner;
};

struct sl__accepted {
    uint32_t listener;
    int fd; // or negative errno
};

#define SL__LISTENERS_MAX SL_LISTENERS_MAX
#define SL__ACCEPT_RETRY_NS (100 * SL_NS_PER_MS)
#define SL__ACCEPTS_PER_TURN 64

struct sl__io_backend {
    int (*open)(struct sl_io *io);
    void (*free)(struct sl_io *io); // ends what is still armed, then unmaps
    // Takes a fresh slot's fd over. False: impossible.
    bool (*attach)(struct sl_io *io, struct sl_io_conn *io_conn);
    void (*begin)(struct sl_io *io); // once per turn, before any sync
    // Bring the kernel to the wish. False: no room now, try again next turn.
    bool (*conn_sync)(struct sl_io *io, struct sl_io_conn *io_conn);
    bool (*listener_sync)(struct sl_io *io, uint32_t index);
    // Records whatever has come for armed receives by now. False: not all of it could be read. NULL: nothing is ever armed in the kernel.
    bool (*look)(struct sl_io *io);
    int (*wait)(struct sl_io *io, uint64_t wait_ns); // SL_OK or E_SYSTEM
};
extern const struct sl__io_backend sl__uring, sl__epoll;
int sl__uring_probe(const struct sl_sys *sys, char *reason, size_t reason_len); // SL_OK or E_IO_UNAVAILABLE
const char *sl__errno_name(int error);                // "EPERM"; "errno 123" for a rare one

struct sl_io {
    const struct sl_sys *sys;
    const struct sl__io_backend *backend;
    void *impl; // of the backend
    struct sl_buf_pool *pool;
    struct sl_counters *counters;
    struct sl_io_conn *conns;
    uint32_t conns_max, conns_live, conns_free;
    struct sl_io_conn *free; // through dirty_next
    struct sl__list dirty, ready;
    struct sl_io_conn *starved_first[2], *starved_last[2]; // by enum sl_buf_group: HEAD, BODY
    struct sl__listener listeners[SL__LISTENERS_MAX];
    uint32_t listeners_end; // past the last that was ever used
    struct sl__accepted *accepted;
    uint32_t accepted_count, accepted_cap;
    int wake_fd;
    _Atomic uint32_t wake_pending;
    _Atomic uint64_t wakes_sent, wakes_skipped; // by other threads
    uint64_t now_ns;
    int delivered; // callbacks of this turn
    bool hurried;  // the next wait ends with its first completion
    bool running;
};

// What the next receive takes. While BODY buffers are scarce those who stall hold them: parts are small then, and go on.
static inline enum sl_buf_group sl__io_recv_group(const struct sl_io *io, const struct sl_io_conn *io_conn) {
    bool large = io_conn->want == SL_RECV_ONCE && !sl_buf_scarce(io->pool, SL_BUF_BODY);
    return large ? SL_BUF_BODY : SL_BUF_HEAD;
}

// Lists.
void sl__io_dirty(struct sl_io *io, struct sl_io_conn *io_conn);
// An operation goes to the kernel; the kernel is done with it.
void sl__io_op_begin(struct sl_io *io); // of whatever kind
void sl__io_op_end(struct sl_io *io);
void sl__io_arm(struct sl_io *io, struct sl_io_conn *io_conn, enum sl__io_op op);
void sl__io_disarm(struct sl_io *io, struct sl_io_conn *io_conn, enum sl__io_op op);
// Results. A closing connection drops them.
void sl__io_got_data(struct sl_io *io, struct sl_io_conn *io_conn, struct sl_buf *buf, uint32_t len);
void sl__io_got_end(struct sl_io *io, struct sl_io_conn *io_conn, int error);
void sl__io_got_sent(struct sl_io *io, struct sl_io_conn *io_conn, int64_t bytes); // a part, or negative errno
void sl__io_got_connect(struct sl_io *io, struct sl_io_conn *io_conn, int error);
void sl__io_got_accept(struct sl_io *io, uint32_t index, int fd); // or negative errno
// Of this one connection, gone before it was accepted, or of our own doing: not worth a word. A positive errno.
bool sl__io_accept_error_passes(int error);
void sl__io_got_wake(struct sl_io *io);
void sl__io_got_no_buf(struct sl_io *io, struct sl_io_conn *io_conn);
void sl__io_close_now(struct sl_io *io, struct sl_io_conn *io_conn);    // nothing is armed any more
void sl__io_shutdown_now(struct sl_io *io, struct sl_io_conn *io_conn); // the part of the wish that may run
bool sl__io_is_reset(const struct sl_io *io, const struct sl_io_conn *io_conn); // TCP has given the connection up

#endif
