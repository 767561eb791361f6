// What the io layer asks of the operating system: one table, so that a simulated kernel (sim.h) can stand below the code that ships. io layer.
//
// Each function is the call of the same name: same arguments, same result, errno set on failure. The table itself comes first, because a
// simulated kernel is an object that embeds one. A descriptor belongs to the table that made it: whoever may hold a simulated one asks through
// the table, or through io.h.
#ifndef SL_SYS_H
#define SL_SYS_H

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

struct uring_params;

struct sl_sys {
    // Sockets.
    int (*socket)(const struct sl_sys *sys, int family, int type, int protocol);
    int (*socketpair)(const struct sl_sys *sys, int family, int type, int protocol, int *out_fds);
    int (*bind)(const struct sl_sys *sys, int fd, const struct sockaddr *addr, socklen_t len);
    int (*listen)(const struct sl_sys *sys, int fd, int backlog);
    int (*connect)(const struct sl_sys *sys, int fd, const struct sockaddr *addr, socklen_t len);
    int (*accept4)(const struct sl_sys *sys, int fd, struct sockaddr *addr, socklen_t *len, int flags);
    ssize_t (*recv)(const struct sl_sys *sys, int fd, void *data, size_t len, int flags);
    ssize_t (*sendmsg)(const struct sl_sys *sys, int fd, const struct msghdr *msg, int flags);
    int (*shutdown)(const struct sl_sys *sys, int fd, int how);
    int (*getsockname)(const struct sl_sys *sys, int fd, struct sockaddr *addr, socklen_t *len);
    int (*getpeername)(const struct sl_sys *sys, int fd, struct sockaddr *addr, socklen_t *len);
    int (*getsockopt)(const struct sl_sys *sys, int fd, int level, int name, void *value, socklen_t *len);
    int (*setsockopt)(const struct sl_sys *sys, int fd, int level, int name, const void *value, socklen_t len);
    // Any descriptor.
    int (*close)(const struct sl_sys *sys, int fd);
    ssize_t (*write)(const struct sl_sys *sys, int fd, const void *data, size_t len); // eventfd: any thread
    int (*eventfd)(const struct sl_sys *sys, unsigned count, int flags);
    // epoll.
    int (*epoll_create1)(const struct sl_sys *sys, int flags);
    int (*epoll_ctl)(const struct sl_sys *sys, int epoll_fd, int op, int fd, struct epoll_event *event);
    int (*epoll_wait)(const struct sl_sys *sys, int epoll_fd, struct epoll_event *events, int max, int timeout_ms);
    // io_uring, and the memory that it shares with us.
    int (*uring_setup)(const struct sl_sys *sys, uint32_t entries, struct uring_params *params);
    int (*uring_enter)(const struct sl_sys *sys, int fd, uint32_t submit, uint32_t wait, uint32_t flags,
                       const void *arg, size_t arg_len);
    int (*uring_register)(const struct sl_sys *sys, int fd, uint32_t op, void *arg, uint32_t count);
    void *(*mmap)(const struct sl_sys *sys, void *addr, size_t len, int prot, int flags, int fd, off_t offset);
    int (*munmap)(const struct sl_sys *sys, void *addr, size_t len);
    // CLOCK_MONOTONIC.
    uint64_t (*now_ns)(const struct sl_sys *sys);
};

extern const struct sl_sys sl_sys_kernel; // the real one

#endif
