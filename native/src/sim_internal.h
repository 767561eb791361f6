// What sim.c (sockets, calendar), sim_uring.c and sim_epoll.c share: files, who waits for them, dice. io layer; nobody else includes this.
#ifndef SL_SIM_INTERNAL_H
#define SL_SIM_INTERNAL_H

#include <stdatomic.h>

#include "base.h"
#include "sim.h"

#define SIM__FILES_MAX 16384

enum sim__kind { SIM__SOCKET = 1, SIM__EVENT, SIM__EPOLL, SIM__RING };

struct sim__file {
    enum sim__kind kind;
    int fd;         // -1: closed, or not yet accepted
    int flags;      // SOCK_NONBLOCK, SOCK_CLOEXEC
    uint32_t refs;  // the descriptor, the calendar, a peer, operations
    struct sim__watch *watches; // epoll registrations
    struct sim__op *ops;        // ring operations armed on it
};

// One direction of a connection, kept by its sender. read <= arrived <= written: read by the receiver, in its buffer, still on our side.
struct sim__flow {
    uint8_t *bytes; // a circle of send_bytes + receive_bytes
    uint32_t send_bytes, receive_bytes;
    uint64_t written, arrived, read;
    uint64_t acked; // the highest that `arrived` was: a short read takes the rest back
    bool fin_written, fin_arrived;
    bool under_way; // the calendar has a delivery
};

enum sim__state { SIM__NEW = 0, SIM__LISTENING, SIM__CONNECTING, SIM__CONNECTED, SIM__DEAD };

struct sim__sock {
    struct sim__file file;
    enum sim__state state;
    enum sl_sim_link link;
    bool peer_side, held; // held: has a descriptor, or waits to be accepted
    bool shut_rd, shut_wr, linger0, refuse, nodelay, reuse_port, bound;
    bool nospace, choked; // a writer waits for room; there is none for a while, whatever is free
    int error; // told once
    struct sim__sock *peer;
    struct sim__flow out;
    struct sockaddr_in local, remote;
    struct sim__sock **queue; // accepted by the kernel, not by the owner
    uint32_t queued, backlog;
    uint32_t syns; // sent so far
};

struct sim__event {
    struct sim__file file;
    _Atomic uint64_t count;
    _Atomic uint32_t kicked; // written to since the kernel looked
};

// Faults: chances in 65536.
struct sim__faults {
    uint32_t short_io, interrupt, reset, accept_error, connect_error, fd_error, no_buffer, cq_full, defer, more_lost, odd_cancel,
        enter_error, spurious, false_ready;
    bool eager;        // a multishot receive tries until there is nothing (6.1), not only what is known to be there
    uint64_t delay_ns; // of a packet, at most; 0: none
};

struct sim__entry { // of the calendar, a heap by (at, seq)
    uint64_t at_ns, seq;
    void (*run)(struct sl_sim *sim, struct sim__file *file);
    struct sim__file *file;
};

struct sl_sim {
    struct sl_sys sys; // first
    struct sl_sim_config config;
    struct sim__faults faults;
    uint64_t random, now_ns, events, seq, breaks;
    struct sim__file *files[2][SIM__FILES_MAX]; // ours, the peers'
    uint32_t open[2], fds_max, fds_high;
    _Atomic uint32_t kicked; // some eventfd was written to
    struct sim__file *rings[16]; // registered
    struct sim__entry *calendar;
    uint32_t calendar_count, calendar_cap;
    uint32_t armed;
    uint16_t next_port;
    bool (*script)(void *owner);
    void *script_owner;
    bool in_script;
};

static inline struct sl_sim *sim__of(const struct sl_sys *sys) { return (struct sl_sim *)(uintptr_t)sys; }

// Dice.
uint64_t sim__random(struct sl_sim *sim);
static inline uint32_t sim__below(struct sl_sim *sim, uint32_t n) { return (uint32_t)(sim__random(sim) >> 20) % n; }
static inline bool sim__roll(struct sl_sim *sim, uint32_t chance) {
    return chance > 0 && (sim__random(sim) >> 20 & 0xffff) < chance; // without a chance the dice stay where they are
}

// Files.
struct sim__file *sim__file_new(struct sl_sim *sim, enum sim__kind kind, size_t size);
int sim__fd_new(struct sl_sim *sim, struct sim__file *file, bool peer_side); // takes a reference; -EMFILE
struct sim__file *sim__file(struct sl_sim *sim, int fd, enum sim__kind kind); // asserts that it is open and such
void sim__ref(struct sim__file *file);
void sim__unref(struct sl_sim *sim, struct sim__file *file);
uint32_t sim__poll(struct sl_sim *sim, struct sim__file *file); // EPOLL* bits; may note that a writer waits for room
void sim__wake(struct sl_sim *sim, struct sim__file *file, uint32_t events);

// Time.
void sim__at(struct sl_sim *sim, uint64_t at_ns, void (*run)(struct sl_sim *, struct sim__file *), struct sim__file *file);
void sim__due(struct sl_sim *sim);                        // runs what is due; takes the notes of other threads
bool sim__sleep(struct sl_sim *sim, uint64_t deadline_ns); // to the next entry; false: to the deadline
static inline void sim__call(struct sl_sim *sim) { // each system call
    sim->events++;
    sim->now_ns += 200;
}

// Sockets, for both interfaces: results, or negative errno; -EAGAIN: not now.
ssize_t sim__recv(struct sl_sim *sim, struct sim__sock *sock, void *out, size_t len);
ssize_t sim__readable(struct sl_sim *sim, struct sim__sock *sock); // what a receive would give: bytes, 0 for the end, or negative errno
ssize_t sim__send(struct sl_sim *sim, struct sim__sock *sock, const struct iovec *iov, size_t count);
int sim__accept(struct sl_sim *sim, struct sim__sock *listener, int flags);
int sim__connect(struct sl_sim *sim, struct sim__sock *sock, const struct sockaddr *addr, socklen_t len);

// io_uring.
int sim__uring_setup(const struct sl_sys *sys, uint32_t entries, struct uring_params *params);
int sim__uring_enter(const struct sl_sys *sys, int fd, uint32_t submit, uint32_t wait, uint32_t flags,
                     const void *arg, size_t arg_len);
int sim__uring_register(const struct sl_sys *sys, int fd, uint32_t op, void *arg, uint32_t count);
void *sim__mmap(const struct sl_sys *sys, void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int sim__munmap(const struct sl_sys *sys, void *addr, size_t len);
void sim__ring_closed(struct sl_sim *sim, struct sim__file *file);
void sim__ops_wake(struct sl_sim *sim, struct sim__file *file, uint32_t events);

// epoll.
int sim__epoll_create1(const struct sl_sys *sys, int flags);
int sim__epoll_ctl(const struct sl_sys *sys, int epoll_fd, int op, int fd, struct epoll_event *event);
int sim__epoll_wait(const struct sl_sys *sys, int epoll_fd, struct epoll_event *events, int max, int timeout_ms);
void sim__watches_wake(struct sl_sim *sim, struct sim__file *file, uint32_t events);
void sim__watches_drop(struct sl_sim *sim, struct sim__file *file);
void sim__epoll_closed(struct sl_sim *sim, struct sim__file *file);

#endif
