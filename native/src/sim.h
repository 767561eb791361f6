// A simulated kernel below the io layer that ships: sockets, io_uring and epoll in memory, in virtual time, deterministic from one seed. io
// layer, linked into tests alone (libsluice_sim.a). What it models and what not: docs/internals/io.md.
//
// Give `sl_sim_sys(sim)` to sl_io_config.sys (or to a gateway's `sys`): from then on every descriptor is the simulation's, numbered from
// SL_SIM_FD, so that a call past the table fails. The other ends of the connections are the test's: the sl_sim_peer_* functions, whose
// descriptors (from SL_SIM_PEER) are a space of their own. Peers meet no faults and never wait.
//
// Time stands still but for three things: each system call takes a little, a sleep goes to the next event (or to its own end), and
// sl_sim_advance. Whoever would sleep for ever, with nothing on the calendar, is a failed run. One thread at a time; only the write of an
// eventfd may come from another.
//
// The kernel CHECKS what it serves, and ends the process with one line on stderr that names the seed and the event's number: a call on a closed
// descriptor, a close or an unmapping with operations armed, two receives or two sends armed on one socket, a buffer given twice, touched
// while it was given, or a message that changes while it is sent.
#ifndef SL_SIM_H
#define SL_SIM_H

#include <netinet/in.h>
#include <stdbool.h>

#include "sys.h"

#define SL_SIM_FD (1 << 20)
#define SL_SIM_PEER (1 << 21)

struct sl_sim;

// What an older kernel, or a sandbox, does not have.
enum sl_sim_lack {
    SL_SIM_NO_SQARRAY = 1u << 0,     // IORING_SETUP_NO_SQARRAY is EINVAL
    SL_SIM_NO_RING_FDS = 1u << 1,    // registering the ring's fd is EINVAL
    SL_SIM_NO_RECV_LIMIT = 1u << 2,  // a receive with a limit is EINVAL
    SL_SIM_NO_RESTRICTIONS = 1u << 3,
    SL_SIM_NO_MIN_WAIT = 1u << 4,
    SL_SIM_NO_URING = 1u << 5,
};

struct sl_sim_config {
    uint64_t seed;
    bool stormy;               // faults, delays and odd buffer sizes, all drawn from the seed; else a loopback without any
    bool unbroken;             // stormy, but no connection breaks or fails by itself: what a script expects comes true
    uint64_t delay_ns;         // stormy: of a packet, at most; 0: drawn
    uint32_t lacks;            // enum sl_sim_lack; stormy: more are drawn
    uint32_t sq_max, cq_max;   // of a ring; 0: the kernel's (stormy: drawn)
    uint32_t send_bytes, receive_bytes; // of a socket; 0: about what loopback has (stormy: drawn)
    const char *replay;        // printed when a check fails: how to run this again
};

struct sl_sim *sl_sim_new(const struct sl_sim_config *config);
void sl_sim_free(struct sl_sim *sim);
const struct sl_sys *sl_sim_sys(struct sl_sim *sim);

uint64_t sl_sim_now_ns(const struct sl_sim *sim);
uint64_t sl_sim_events(const struct sl_sim *sim); // system calls, completions, readiness events and calendar entries so far
uint32_t sl_sim_fds(const struct sl_sim *sim);    // descriptors open on our side
uint32_t sl_sim_armed(const struct sl_sim *sim);  // ring operations that are not finished
uint64_t sl_sim_breaks(const struct sl_sim *sim); // connections that the network broke
uint16_t sl_sim_port(const struct sl_sim *sim, int fd);        // of either side; 0: none
uint16_t sl_sim_remote_port(const struct sl_sim *sim, int fd);
int sl_sim_fd_flags(const struct sl_sim *sim, int fd); // SOCK_NONBLOCK | SOCK_CLOEXEC as given
void sl_sim_turn(struct sl_sim *sim);             // runs what is due
void sl_sim_advance(struct sl_sim *sim, uint64_t ns);
void sl_sim_calm(struct sl_sim *sim); // no more faults; what is under way arrives
void sl_sim_fds_max(struct sl_sim *sim, uint32_t max); // RLIMIT_NOFILE of our side
void sl_sim_fail(struct sl_sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

// Called when our side is about to sleep: a script of the peers. True: it did something, look again. For tests that run a whole worker.
void sl_sim_on_sleep(struct sl_sim *sim, bool (*script)(void *owner), void *owner);

enum sl_sim_link {
    SL_SIM_TCP,
    SL_SIM_UNIX,     // a socket pair: no RST, EPIPE at once
    SL_SIM_BYTEWISE, // TCP whose receiver gets each byte alone
};

// A connected pair: out_fds[0] is our descriptor (non-blocking), out_fds[1] the peer's.
void sl_sim_pair(struct sl_sim *sim, enum sl_sim_link link, int out_fds[2]);
int sl_sim_listen(struct sl_sim *sim, struct sockaddr_in *out_addr, int backlog);      // on our side
int sl_sim_peer_listen(struct sl_sim *sim, struct sockaddr_in *out_addr, int backlog); // on the other
// A connection to whoever listens there. It may still be under way; negative errno: ECONNREFUSED.
int sl_sim_peer_connect(struct sl_sim *sim, const struct sockaddr_in *addr);
int sl_sim_peer_accept(struct sl_sim *sim, int listener); // or -EAGAIN
ssize_t sl_sim_peer_send(struct sl_sim *sim, int peer, const void *data, size_t len); // what fits, or negative errno
ssize_t sl_sim_peer_recv(struct sl_sim *sim, int peer, void *out, size_t len);        // bytes, 0 at the end, or negative errno
bool sl_sim_connected(const struct sl_sim *sim, int fd); // either side; false: not yet, or not any more
uint64_t sl_sim_peer_arrived(const struct sl_sim *sim, int peer); // bytes of ours that reached it, read or not
int sl_sim_peer_shutdown(struct sl_sim *sim, int peer, int how);
void sl_sim_peer_close(struct sl_sim *sim, int peer);
void sl_sim_peer_reset(struct sl_sim *sim, int peer); // closes with RST

#endif
