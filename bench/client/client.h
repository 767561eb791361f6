// What the clients of this folder share: loopback, a clock, the end of an answer. A program that cannot go on says why and ends.
#ifndef SL_CLIENT_H
#define SL_CLIENT_H

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

__attribute__((noreturn)) static inline void fail(const char *what) {
    perror(what);
    exit(1);
}

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t now_ms(void) { return now_ns() / 1000000; }

static inline int connect_socket(int fd, int port) {
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        fail("connect");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static inline int connect_to(int port) { return connect_socket(socket(AF_INET, SOCK_STREAM, 0), port); }

// As many descriptors as the hard limit allows.
static inline void raise_fds(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

// Where the answer ends, 0 while its head is not whole.
static inline size_t answer_bytes(const char *answer) {
    const char *end = strstr(answer, "\r\n\r\n");
    const char *length = strcasestr(answer, "\r\ncontent-length:");
    return end ? (size_t)(end - answer) + 4 + (length ? strtoul(length + 17, NULL, 10) : 0) : 0;
}

#endif
