#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int sl_notify_send(struct sl_span path, struct sl_span text) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (path.len < 2 || path.len >= sizeof(to.sun_path) ||
        (path.data[0] != '/' && path.data[0] != '@')) {
        return sl_fail(SL_E_INVALID, "notify: \"%.*s\" is no Unix socket", (int)path.len,
                       (const char *)path.data);
    }
    memcpy(to.sun_path, path.data, path.len);
    if (path.data[0] == '@') {
        to.sun_path[0] = 0;
    }
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ssize_t sent =
        fd < 0 ? -1
               : sendto(fd, text.data, text.len, MSG_NOSIGNAL, (const struct sockaddr *)&to, len);
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    return sent >= 0 ? SL_OK
                     : sl_fail(SL_E_SYSTEM, "notify %.*s: %s", (int)path.len,
                               (const char *)path.data, strerror(error));
}
