// One connection, one request at a time, a pause before each: how long an answer takes when nothing else keeps the server awake.
// Prints one line of JSON with every latency in nanoseconds. Each answer must equal the first one, but for its date.
//   cc -O2 -o paced bench/client/paced.c && ./paced PORT PATH COUNT GAP_US
#define _GNU_SOURCE
#include <sys/prctl.h>
#include <unistd.h>

#include "client.h"

#define ANSWER_BYTES_MAX 4096
#define DATE_CHARS 29

static size_t receive(int fd, char *answer) {
    size_t got = 0, whole = 0;
    while (whole == 0 || got < whole) {
        ssize_t n = recv(fd, answer + got, ANSWER_BYTES_MAX - got, 0);
        if (n <= 0) {
            fail("recv");
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

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: paced PORT PATH COUNT GAP_US\n");
        return 2;
    }
    int fd = connect_to(atoi(argv[1])), count = atoi(argv[3]), errors = 0;
    long gap_ns = atol(argv[4]) * 1000;
    struct timespec gap = {gap_ns / 1000000000, gap_ns % 1000000000};
    char request[512], first[ANSWER_BYTES_MAX + 1] = "", answer[ANSWER_BYTES_MAX + 1];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[2]);
    prctl(PR_SET_TIMERSLACK, 1000); // the pause is the gap, not the gap and 50 us
    printf("{\"latenciesNs\":[");
    for (int i = 0; i <= count; i++) { // the first is not counted
        nanosleep(&gap, NULL);
        uint64_t sent = now_ns();
        if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
            fail("send");
        }
        receive(fd, i == 0 ? first : answer);
        if (i > 0) {
            printf(i == 1 ? "%lu" : ",%lu", (unsigned long)(now_ns() - sent));
            errors += strcmp(first, answer) != 0 || strncmp(answer, "HTTP/1.1 200 ", 13) != 0;
        }
    }
    printf("],\"errors\":%d}\n", errors);
    return 0;
}
