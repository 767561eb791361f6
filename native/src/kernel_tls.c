#include "kernel_tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "base.h"

static int say(char *out, size_t len, const char *what, const char *why) {
    int n = snprintf(out, len, "%s%s", what, why);
    return (int)sl_min_size((size_t)n, len - 1);
}

int sl_kernel_tls(const struct sl_sys *sys, char *out, size_t len) {
    static const char name[] = "tls";
    int fd = sys->socket(sys, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return say(out, len, "not available: no socket to ask with: ", strerror(errno));
    }
    int rc = sys->setsockopt(sys, fd, IPPROTO_TCP, TCP_ULP, name, sizeof(name) - 1);
    int error = rc == 0 ? 0 : errno;
    sys->close(sys, fd);
    switch (error) {
    case 0:
    case ENOTCONN: // it is there, and wants a connection: none had to be made to know
        return say(out, len, "available, unused", "");
    case ENOENT:
        return say(out, len, "not available: ",
                   "the kernel has no TLS (CONFIG_TLS), or its module is not loaded: modprobe tls");
    default:
        return say(out, len, "not available: setsockopt(TCP_ULP): ", strerror(error));
    }
}
