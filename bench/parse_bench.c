// Nanoseconds per head: parsing a browser's request of 703 bytes, a small one, a response, and
// re-emitting the request for an upstream. Informational: not built by default.
//   gcc -std=gnu11 -O2 -D_GNU_SOURCE -I native/include -I native/src bench/parse_bench.c
//     native/src/http1_parse.c native/src/http1_write.c native/src/base.c native/src/status.c
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "http1_write.h"

#define ROUNDS 9
#define HEADS_PER_ROUND 400000

static const char browser[] =
    "GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\n"
    "Host: www.kittyhell.com\r\n"
    "User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) "
    "Gecko/20100401 Firefox/3.6.3 "
    "Pathtraq/0.9\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: ja,en-us;q=0.7,en;q=0.3\r\n"
    "Accept-Encoding: gzip,deflate\r\n"
    "Accept-Charset: Shift_JIS,utf-8;q=0.7,*;q=0.7\r\n"
    "Keep-Alive: 115\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: wp_ozh_wsa_visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; "
    "__utma=xxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.x; "
    "__utmz=xxxxxxxxx.xxxxxxxxxx.x.x.utmccn=(referral)|utmcsr=reader.livedoor.com|utmcct=/reader/"
    "|utmcmd=referral\r\n"
    "\r\n";
_Static_assert(sizeof(browser) - 1 == 703, "the head that other parsers are measured with");

static const char small[] =
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 24 Nov 2026 18:34:58 "
                             "GMT\r\nContent-Type: text/html\r\n"
                             "Content-Length: 615\r\nLast-Modified: Tue, 24 Nov 2026 10:00:00 "
                             "GMT\r\nConnection: keep-alive\r\n"
                             "ETag: \"65f0a1b2-267\"\r\nAccept-Ranges: bytes\r\n\r\n";

static const struct sl_head_limits limits = {16384, 8192, 100};
static struct sl_head head;
static uint8_t bytes[1024], out[SL_HEAD_OUT_MAX];

static void parse_request(size_t len) {
    head.scanned = head.skipped = 0;
    SL_ASSERT(sl_http1_parse_request(&head, bytes, len, &limits) == 1);
}
static void parse_response(size_t len) {
    head.scanned = head.skipped = 0;
    SL_ASSERT(sl_http1_parse_response(&head, bytes, len, &limits, SL_METHOD_GET) == 1);
}
static void forward_request(size_t len) {
    (void)len;
    struct sl_forward_request forward = {.head = &head,
                                         .data = bytes,
                                         .via = sl_span_of("sluice"),
                                         .client_ip = sl_span_of("192.0.2.7")};
    SL_ASSERT(sl_http1_forward_request(out, sizeof(out), &forward) > 0);
}

static double now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench(const char *name, void (*run)(size_t len), size_t len) {
    double rounds[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (int i = 0; i < HEADS_PER_ROUND; i++) {
            run(len);
        }
        rounds[round] = (now_ns() - start) / HEADS_PER_ROUND;
    }
    qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
    printf("%-28s %4zu bytes  %7.1f ns median  (%.1f-%.1f)\n", name, len, rounds[ROUNDS / 2],
           rounds[0], rounds[ROUNDS - 1]);
}

int main(void) {
    memcpy(bytes, small, sizeof(small));
    bench("parse request, small", parse_request, sizeof(small) - 1);
    memcpy(bytes, answer, sizeof(answer));
    bench("parse response", parse_response, sizeof(answer) - 1);
    memcpy(bytes, browser, sizeof(browser));
    bench("parse request, browser", parse_request, sizeof(browser) - 1);
    bench("forward request, browser", forward_request, sizeof(browser) - 1);
    return 0;
}
