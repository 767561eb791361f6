// An open loop: requests leave when their time has come, whether earlier ones are answered or not, and latency counts from that time. So a
// server that stops for a moment is charged for every request that came in that moment, not for one.
// Prints one line of JSON with every latency in nanoseconds, in the order of the answers.
//   cc -O2 -o open_loop bench/client/open_loop.c && ./open_loop PORT PATH COUNT GAP_US CONNECTIONS
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "client.h"

#define CONNECTIONS_MAX 256
#define ANSWER_BYTES_MAX 4096
#define GIVE_UP_NS 30000000000ull // without any answer

struct conn {
    uint64_t due_ns; // of the request under way, 0: none
    size_t got;
    char answer[ANSWER_BYTES_MAX + 1];
};

static struct conn conns[CONNECTIONS_MAX];
static struct pollfd fds[CONNECTIONS_MAX];
static char request[512];
static size_t request_len;

static void send_request(int i, uint64_t due_ns) {
    conns[i].due_ns = due_ns;
    conns[i].got = 0;
    if (send(fds[i].fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len) {
        fail("send");
    }
}

// True: the answer is whole.
static int receive(int i) {
    struct conn *conn = &conns[i];
    ssize_t n = recv(fds[i].fd, conn->answer + conn->got, ANSWER_BYTES_MAX - conn->got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return 0;
    }
    if (n <= 0) {
        fail("recv");
    }
    conn->got += (size_t)n;
    conn->answer[conn->got] = 0;
    size_t whole = answer_bytes(conn->answer);
    return whole > 0 && conn->got >= whole;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: open_loop PORT PATH COUNT GAP_US CONNECTIONS\n");
        return 2;
    }
    int count = atoi(argv[3]), width = atoi(argv[5]);
    uint64_t gap_ns = strtoull(argv[4], NULL, 10) * 1000;
    if (count < 1 || width < 1 || width > CONNECTIONS_MAX) {
        fprintf(stderr, "open_loop: COUNT from 1, CONNECTIONS from 1 to %d\n", CONNECTIONS_MAX);
        return 2;
    }
    request_len = (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[2]);
    prctl(PR_SET_TIMERSLACK, 1000); // else each wait is 50 us longer
    for (int i = 0; i < width; i++) {
        fds[i] = (struct pollfd){connect_to(atoi(argv[1])), POLLIN, 0};
    }
    int sent = 0, answered = 0, errors = 0, waited = 0;
    uint64_t start_ns = now_ns() + 10000000, last_ns = start_ns;
    printf("{\"latenciesNs\":[");
    while (answered < count) {
        uint64_t now = now_ns();
        for (int i = 0; i < width && sent < count && start_ns + (uint64_t)sent * gap_ns <= now; i++) {
            if (conns[i].due_ns == 0) {
                send_request(i, start_ns + (uint64_t)sent++ * gap_ns);
            }
        }
        uint64_t next = start_ns + (uint64_t)sent * gap_ns;
        waited += sent < count && next <= now; // every connection is busy: the request waits, and its clock runs
        uint64_t wait = sent == count || next <= now ? 1000000 : next - now;
        struct timespec timeout = {(time_t)(wait / 1000000000), (long)(wait % 1000000000)};
        if (ppoll(fds, (nfds_t)width, &timeout, NULL) < 0) {
            fail("ppoll");
        }
        now = now_ns();
        for (int i = 0; i < width; i++) {
            if (fds[i].revents && receive(i)) {
                errors += strncmp(conns[i].answer, "HTTP/1.1 200 ", 13) != 0;
                printf("%s%llu", answered++ ? "," : "", (unsigned long long)(now - conns[i].due_ns));
                conns[i].due_ns = 0;
                last_ns = now;
            }
        }
        if (now > last_ns + GIVE_UP_NS) {
            fprintf(stderr, "open_loop: no answer for %llu s\n", GIVE_UP_NS / 1000000000ull);
            return 1;
        }
    }
    printf("],\"errors\":%d,\"waited\":%d}\n", errors, waited);
    return 0;
}
