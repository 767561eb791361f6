#include "inherited.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

int sl_inherited_read(const struct sl_sys *sys, int fd, struct sockaddr_storage *out_addr,
                      socklen_t *out_len) {
    int type = 0, listens = 0;
    socklen_t len = sizeof(type);
    if (sys->getsockopt(sys, fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0) {
        return sl_fail(SL_E_INVALID, "descriptor %d is no socket: %s", fd, strerror(errno));
    }
    len = sizeof(listens);
    (void)sys->getsockopt(sys, fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
    memset(out_addr, 0, sizeof(*out_addr));
    *out_len = sizeof(*out_addr);
    (void)sys->getsockname(sys, fd, (struct sockaddr *)out_addr, out_len);
    bool is_tcp =
        type == SOCK_STREAM && (out_addr->ss_family == AF_INET || out_addr->ss_family == AF_INET6);
    if (!is_tcp || !listens) {
        return sl_fail(SL_E_INVALID, "descriptor %d is no TCP socket that listens", fd);
    }
    return SL_OK;
}

int sl_inherited_text(const struct sockaddr_storage *addr, char *out, size_t len) {
    char host[INET6_ADDRSTRLEN];
    const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
    bool is_v6 = addr->ss_family == AF_INET6;
    inet_ntop(addr->ss_family, is_v6 ? (const void *)&in6->sin6_addr : &in->sin_addr, host,
              sizeof(host));
    int n = snprintf(out, len, is_v6 ? "[%s]:%u" : "%s:%u", host,
                     ntohs(is_v6 ? in6->sin6_port : in->sin_port));
    return n > 0 && (size_t)n < len ? n : 0;
}

int sl_inherited_dup(const struct sl_sys *sys, int fd, int *out_fd) {
    int on = 1;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) {
        return sl_fail(SL_E_SYSTEM, "descriptor %d: %s", fd, strerror(errno));
    }
    int flags = fcntl(own, F_GETFL);
    if (flags < 0 || fcntl(own, F_SETFL, flags | O_NONBLOCK) != 0) {
        int error = errno;
        sys->close(sys, own);
        return sl_fail(SL_E_SYSTEM, "descriptor %d: %s", fd, strerror(error));
    }
    // As for sockets of our own: TCP_NODELAY, which accepted ones inherit.
    (void)sys->setsockopt(sys, own, IPPROTO_TCP, 1, &on, sizeof(on));
    *out_fd = own;
    return SL_OK;
}
