// Many connections that all do one thing, for memory, storms and counts. Each mode prints lines of JSON; "hold" modes print one line when all
// connections are where they should be, stay until standard input ends, and then print what had become of them.
//   cc -O2 -o crowd bench/client/crowd.c
//   ./crowd idle PORT COUNT PATH            one request each, the answer read; hold
//   ./crowd half PORT COUNT                 half a head each; hold; how many were answered, with which status, how many closed
//   ./crowd unread PORT COUNT PATH          one request each over small segments, nothing is read; hold
//   ./crowd reset PORT COUNT PATH           one request each, and a reset at once, 64 at a time
//   ./crowd lockstep PORT COUNT PATH TURNS  all ask, then all read their answers, TURNS times; every answer must equal the first
//   ./crowd slow PORT COUNT PATH RATE SECONDS   one request each over small segments, read at RATE bytes a second for so long, and then fast;
//                                           RATE 0: never. A line for each connection when it ends
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "client.h"

#define ANSWER_BYTES_MAX 65536
#define DATE_CHARS 29
#define GIVE_UP_MS 30000
#define SMALL_SEGMENT 536
#define SMALL_BUFFER 4096

static int port, count;
static char request[512];
static int *fds;

// small: segments and receive buffer as over a thin line, so that little of an answer fits into the kernel.
static int connect_one(int small) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), segment = SMALL_SEGMENT, buffer = SMALL_BUFFER;
    if (fd >= 0 && small) {
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    }
    return connect_socket(fd, port);
}

static void connect_all(int small) {
    raise_fds();
    fds = calloc((size_t)count, sizeof(*fds));
    for (int i = 0; i < count; i++) {
        fds[i] = connect_one(small);
    }
}

static void send_text(int fd, const char *text) {
    size_t len = strlen(text);
    if (send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) {
        fail("send");
    }
}

static void wait_readable(int fd) {
    struct pollfd poll_fd = {fd, POLLIN, 0};
    if (poll(&poll_fd, 1, GIVE_UP_MS) != 1) {
        fprintf(stderr, "crowd: nothing to read for %d ms\n", GIVE_UP_MS);
        exit(1);
    }
}

// One whole answer with a Content-Length, its date blanked. Returns its bytes.
static size_t read_answer(int fd, char *answer) {
    size_t got = 0, whole = 0;
    while (whole == 0 || got < whole) {
        wait_readable(fd);
        ssize_t n = recv(fd, answer + got, ANSWER_BYTES_MAX - got, MSG_DONTWAIT);
        if (n <= 0) {
            fprintf(stderr, "crowd: the connection ended inside an answer: %.*s\n", (int)got, answer);
            exit(1);
        }
        got += (size_t)n;
        answer[got] = 0;
        whole = answer_bytes(answer);
    }
    char *date = strcasestr(answer, "\r\ndate: ");
    if (date) {
        memset(date + 8, '-', DATE_CHARS);
    }
    return got;
}

static void hold(void) {
    char byte;
    printf("{\"connections\":%d}\n", count);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
}

// What has come to those who wait: answers by status, and ends. Statuses beyond a few are not expected.
static void tell_ends(void) {
    static char answer[ANSWER_BYTES_MAX + 1];
    int timeouts = 0, others = 0, closed = 0, open = 0;
    for (int i = 0; i < count; i++) {
        ssize_t n = recv(fds[i], answer, ANSWER_BYTES_MAX, MSG_DONTWAIT);
        if (n > 0) {
            answer[n] = 0;
            strncmp(answer, "HTTP/1.1 408 ", 13) == 0 ? timeouts++ : others++;
        } else {
            n < 0 && errno == EAGAIN ? open++ : closed++;
        }
    }
    printf("{\"answered408\":%d,\"answeredOther\":%d,\"closed\":%d,\"open\":%d}\n", timeouts, others, closed, open);
}

static void idle(void) {
    static char answer[ANSWER_BYTES_MAX + 1];
    connect_all(0);
    for (int i = 0; i < count; i++) {
        send_text(fds[i], request);
        read_answer(fds[i], answer);
        if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0) {
            fprintf(stderr, "crowd: %.60s\n", answer);
            exit(1);
        }
    }
    hold();
}

static void half(void) {
    connect_all(0);
    for (int i = 0; i < count; i++) {
        send_text(fds[i], "GET /half HTTP/1.1\r\nHost: h\r\nX-Half: ");
    }
    hold();
    tell_ends();
}

static void unread(void) {
    connect_all(1);
    for (int i = 0; i < count; i++) {
        send_text(fds[i], request);
    }
    hold();
}

static void reset_all(void) {
    int total = count, width = 64;
    struct linger linger = {1, 0};
    for (int done = 0; done < total; done += count) {
        count = total - done < width ? total - done : width;
        connect_all(0);
        for (int i = 0; i < count; i++) {
            send_text(fds[i], request);
            setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
            close(fds[i]);
        }
        free(fds);
    }
    printf("{\"resets\":%d}\n", total);
}

static void lockstep(int turns) {
    static char first[ANSWER_BYTES_MAX + 1], answer[ANSWER_BYTES_MAX + 1];
    int errors = 0;
    connect_all(0);
    for (int turn = 0; turn < turns; turn++) {
        for (int i = 0; i < count; i++) {
            send_text(fds[i], request);
        }
        for (int i = 0; i < count; i++) {
            int is_first = turn == 0 && i == 0;
            read_answer(fds[i], is_first ? first : answer);
            errors += !is_first && strcmp(first, answer) != 0;
        }
    }
    errors += strncmp(first, "HTTP/1.1 200 ", 13) != 0;
    printf("{\"requests\":%lld,\"errors\":%d}\n", (long long)count * turns, errors);
}

// Rounds of 100 ms, in each of which every connection reads its share.
static void slow(int rate, int seconds) {
    static char bytes[65536];
    int share = rate / 10, live;
    long long *got = calloc((size_t)count, sizeof(*got));
    uint64_t start = now_ms(), next = start;
    strcpy(strstr(request, "\r\n\r\n"), "\r\nConnection: close\r\n\r\n"); // its end is the answer's
    connect_all(1);
    for (int i = 0; i < count; i++) {
        send_text(fds[i], request);
    }
    live = count;
    while (live > 0) {
        next += 100;
        for (uint64_t now = now_ms(); now < next; now = now_ms()) {
            usleep((useconds_t)(next - now) * 1000);
        }
        if (share && now_ms() - start > (uint64_t)seconds * 1000) {
            int large = 1 << 20;
            for (int i = 0; i < count && share != sizeof(bytes); i++) {
                setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &large, sizeof(large));
            }
            share = sizeof(bytes);
            next = now_ms(); // no more pauses
        }
        for (int i = 0; i < count; i++) {
            if (fds[i] < 0) {
                continue;
            }
            struct pollfd poll_fd = {fds[i], POLLRDHUP, 0};
            poll(&poll_fd, 1, 0);
            int reset = poll_fd.revents & (POLLERR | POLLHUP);
            ssize_t n = share && !reset ? recv(fds[i], bytes, (size_t)share, MSG_DONTWAIT) : -1;
            got[i] += n > 0 ? n : 0;
            if (n == 0 || reset || (n < 0 && share && errno == ECONNRESET)) {
                reset = reset || n < 0;
                close(fds[i]);
                fds[i] = -1;
                live--;
                printf("{\"connection\":%d,\"bytes\":%lld,\"reset\":%s,\"ms\":%llu}\n", i, got[i], reset ? "true" : "false",
                       (unsigned long long)(now_ms() - start));
                fflush(stdout);
            }
        }
    }
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "", *path = argc > 4 ? argv[4] : "/";
    int number = argc > 5 ? atoi(argv[5]) : 0;
    port = argc > 2 ? atoi(argv[2]) : 0;
    count = argc > 3 ? atoi(argv[3]) : 0;
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    prctl(PR_SET_PDEATHSIG, 15); // a test that fails leaves nobody behind
    if (count < 1 || port < 1) {
        mode = "";
    }
    if (strcmp(mode, "idle") == 0) {
        idle();
    } else if (strcmp(mode, "half") == 0) {
        half();
    } else if (strcmp(mode, "unread") == 0) {
        unread();
    } else if (strcmp(mode, "reset") == 0) {
        reset_all();
    } else if (strcmp(mode, "lockstep") == 0) {
        lockstep(number);
    } else if (strcmp(mode, "slow") == 0) {
        slow(number, argc > 6 ? atoi(argv[6]) : 0);
    } else {
        fprintf(stderr, "usage: crowd idle|half|unread|reset|lockstep|slow PORT COUNT [PATH] [TURNS | RATE SECONDS]\n");
        return 2;
    }
    return 0;
}
