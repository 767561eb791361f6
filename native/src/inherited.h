// Listening sockets that somebody else has made and keeps, such as systemd. proxy layer.
#ifndef SL_INHERITED_H
#define SL_INHERITED_H

#include <sys/socket.h>

#include "base.h"
#include "sys.h"

// The address of a TCP socket that listens; E_INVALID: it is none, and why.
int sl_inherited_read(const struct sl_sys *sys, int fd, struct sockaddr_storage *out_addr, socklen_t *out_len);

// Of what sl_inherited_read gave: "127.0.0.1:8080", "[::1]:8080". Returns the length; 0: no room.
int sl_inherited_text(const struct sockaddr_storage *addr, char *out, size_t len);

// A descriptor of our own for the same socket, as the workers want it.
int sl_inherited_dup(const struct sl_sys *sys, int fd, int *out_fd);

#endif
