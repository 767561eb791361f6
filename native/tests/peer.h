// Blocking sockets for tests: a raw client and a scripted upstream. Every wait is bounded by SO_RCVTIMEO (5 s), so that a bug fails and does
// not hang. Signals of the kernel's own (task work of a ring that is taken down) may interrupt a call: it is made again.
#ifndef SL_TEST_PEER_H
#define SL_TEST_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static inline void peer_bound(int fd) {
    struct timeval wait = {5, 0};
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static inline ssize_t peer_recv(int fd, void *data, size_t len) {
    ssize_t n;
    do {
        n = recv(fd, data, len, 0);
    } while (n < 0 && errno == EINTR);
    return n;
}

static inline int peer_connect(int port) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    peer_bound(fd);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline int peer_listen(int *out_port) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 64) || getsockname(fd, (struct sockaddr *)&addr, &len)) {
        perror("peer_listen");
        exit(2);
    }
    peer_bound(fd);
    *out_port = ntohs(addr.sin_port);
    return fd;
}

static inline int peer_send(int fd, const void *data, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);
        if (n <= 0) {
            return -1;
        }
        at += (size_t)n;
    }
    return 0;
}
static inline int peer_send_text(int fd, const char *text) { return peer_send(fd, text, strlen(text)); }

// What came until EOF (or error: *out_reset), NUL-terminated; free it.
static inline char *peer_read_all(int fd, size_t *out_len, int *out_reset) {
    size_t cap = 65536, len = 0;
    char *data = malloc(cap + 1);
    ssize_t n;
    while ((n = peer_recv(fd, data + len, cap - len)) > 0) {
        len += (size_t)n;
        if (len == cap) {
            cap *= 2;
            data = realloc(data, cap + 1);
        }
    }
    data[len] = 0;
    if (out_len) {
        *out_len = len;
    }
    if (out_reset) {
        *out_reset = n < 0;
    }
    return data;
}

// Reads until `text` holds `needle` (or EOF, error, full). Returns bytes, text is NUL-terminated.
static inline size_t peer_read_until(int fd, char *text, size_t cap, const char *needle) {
    size_t len = 0;
    text[0] = 0;
    while (len + 1 < cap && !strstr(text, needle)) {
        ssize_t n = peer_recv(fd, text + len, cap - 1 - len);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
        text[len] = 0;
    }
    return len;
}

// One answer with Content-Length: head and body, nothing behind it (the peer must not have sent more). Returns the body's length or -1.
static inline long peer_read_answer(int fd, char *text, size_t cap) {
    size_t len = 0;
    char *body = NULL;
    long length = -1;
    while (len + 1 < cap) {
        ssize_t n = peer_recv(fd, text + len, body ? cap - 1 - len : 1); // byte by byte up to the body: nothing is read ahead
        if (n <= 0) {
            return -1;
        }
        len += (size_t)n;
        text[len] = 0;
        if (!body && len >= 4 && memcmp(text + len - 4, "\r\n\r\n", 4) == 0) {
            body = text + len;
            const char *field = strstr(text, "content-length: ");
            length = field ? atol(field + 16) : 0;
            cap = len + (size_t)length + 1 < cap ? len + (size_t)length + 1 : cap;
        }
        if (body && (long)(text + len - body) >= length) {
            return length;
        }
    }
    return -1;
}

#endif
