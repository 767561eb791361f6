#include "sys.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base.h"
#include "uring_abi.h"

static int k_socket(const struct sl_sys *sys, int family, int type, int protocol) {
    (void)sys;
    return socket(family, type, protocol);
}

static int k_socketpair(const struct sl_sys *sys, int family, int type, int protocol,
                        int *out_fds) {
    (void)sys;
    return socketpair(family, type, protocol, out_fds);
}

static int k_bind(const struct sl_sys *sys, int fd, const struct sockaddr *addr, socklen_t len) {
    (void)sys;
    return bind(fd, addr, len);
}

static int k_listen(const struct sl_sys *sys, int fd, int backlog) {
    (void)sys;
    return listen(fd, backlog);
}

static int k_connect(const struct sl_sys *sys, int fd, const struct sockaddr *addr, socklen_t len) {
    (void)sys;
    return connect(fd, addr, len);
}

static int k_accept4(const struct sl_sys *sys, int fd, struct sockaddr *addr, socklen_t *len,
                     int flags) {
    (void)sys;
    return accept4(fd, addr, len, flags);
}

static ssize_t k_recv(const struct sl_sys *sys, int fd, void *data, size_t len, int flags) {
    (void)sys;
    return recv(fd, data, len, flags);
}

static ssize_t k_sendmsg(const struct sl_sys *sys, int fd, const struct msghdr *msg, int flags) {
    (void)sys;
    return sendmsg(fd, msg, flags);
}

static int k_shutdown(const struct sl_sys *sys, int fd, int how) {
    (void)sys;
    return shutdown(fd, how);
}

static int k_getsockname(const struct sl_sys *sys, int fd, struct sockaddr *addr, socklen_t *len) {
    (void)sys;
    return getsockname(fd, addr, len);
}

static int k_getpeername(const struct sl_sys *sys, int fd, struct sockaddr *addr, socklen_t *len) {
    (void)sys;
    return getpeername(fd, addr, len);
}

static int k_getsockopt(const struct sl_sys *sys, int fd, int level, int name, void *value,
                        socklen_t *len) {
    (void)sys;
    return getsockopt(fd, level, name, value, len);
}

static int k_setsockopt(const struct sl_sys *sys, int fd, int level, int name, const void *value,
                        socklen_t len) {
    (void)sys;
    return setsockopt(fd, level, name, value, len);
}

static int k_close(const struct sl_sys *sys, int fd) {
    (void)sys;
    return close(fd);
}

static ssize_t k_write(const struct sl_sys *sys, int fd, const void *data, size_t len) {
    (void)sys;
    return write(fd, data, len);
}

static int k_eventfd(const struct sl_sys *sys, unsigned count, int flags) {
    (void)sys;
    return eventfd(count, flags);
}

static int k_epoll_create1(const struct sl_sys *sys, int flags) {
    (void)sys;
    return epoll_create1(flags);
}

static int k_epoll_ctl(const struct sl_sys *sys, int epoll_fd, int op, int fd,
                       struct epoll_event *event) {
    (void)sys;
    return epoll_ctl(epoll_fd, op, fd, event);
}

static int k_epoll_wait(const struct sl_sys *sys, int epoll_fd, struct epoll_event *events, int max,
                        int timeout_ms) {
    (void)sys;
    return epoll_wait(epoll_fd, events, max, timeout_ms);
}

static int k_uring_setup(const struct sl_sys *sys, uint32_t entries, struct uring_params *params) {
    (void)sys;
    return (int)syscall(URING_NR_SETUP, entries, params);
}

static int k_uring_enter(const struct sl_sys *sys, int fd, uint32_t submit, uint32_t wait,
                         uint32_t flags, const void *arg, size_t arg_len) {
    (void)sys;
    return (int)syscall(URING_NR_ENTER, fd, submit, wait, flags, arg, arg_len);
}

static int k_uring_register(const struct sl_sys *sys, int fd, uint32_t op, void *arg,
                            uint32_t count) {
    (void)sys;
    return (int)syscall(URING_NR_REGISTER, fd, op, arg, count);
}

static void *k_mmap(const struct sl_sys *sys, void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset) {
    (void)sys;
    return mmap(addr, len, prot, flags, fd, offset);
}

static int k_munmap(const struct sl_sys *sys, void *addr, size_t len) {
    (void)sys;
    return munmap(addr, len);
}

static uint64_t k_now_ns(const struct sl_sys *sys) {
    (void)sys;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SL_NS_PER_S + (uint64_t)ts.tv_nsec;
}

const struct sl_sys sl_sys_kernel = {
    .socket = k_socket,
    .socketpair = k_socketpair,
    .bind = k_bind,
    .listen = k_listen,
    .connect = k_connect,
    .accept4 = k_accept4,
    .recv = k_recv,
    .sendmsg = k_sendmsg,
    .shutdown = k_shutdown,
    .getsockname = k_getsockname,
    .getpeername = k_getpeername,
    .getsockopt = k_getsockopt,
    .setsockopt = k_setsockopt,
    .close = k_close,
    .write = k_write,
    .eventfd = k_eventfd,
    .epoll_create1 = k_epoll_create1,
    .epoll_ctl = k_epoll_ctl,
    .epoll_wait = k_epoll_wait,
    .uring_setup = k_uring_setup,
    .uring_enter = k_uring_enter,
    .uring_register = k_uring_register,
    .mmap = k_mmap,
    .munmap = k_munmap,
    .now_ns = k_now_ns,
};
