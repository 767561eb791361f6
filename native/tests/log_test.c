#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "sluice/sluice.h"
#include "test.h"

static uint32_t seed = 7;
static uint32_t random_below(uint32_t n) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

// 2026-11-24T18:34:58.123456Z
#define A_TIME 1795545298123456

static struct sl_log_record record_of(const char *method, const char *host, const char *target) {
    struct sl_log_record record = {.unix_us = A_TIME,
                                   .duration_us = 213,
                                   .bytes_in = 5,
                                   .bytes_out = 12,
                                   .remote_addr = {127, 0, 0, 1},
                                   .remote_port = 53412,
                                   .remote_family = 4,
                                   .version = 1,
                                   .status = 200};
    record.method_len = (uint8_t)strlen(method);
    record.host_len = (uint8_t)strlen(host);
    record.target_len = (uint16_t)strlen(target);
    memcpy(record.text, method, record.method_len);
    memcpy(record.text + record.method_len, host, record.host_len);
    memcpy(record.text + record.method_len + record.host_len, target, record.target_len);
    return record;
}

// The line without its \n; valid until the next call.
static const char *line_of(int kind, const struct sl_log_record *record) {
    static char line[SL_LOG_LINE_MAX + 1];
    size_t len = sl_log_format(kind, record, line);
    SL_ASSERT(len > 0 && len <= SL_LOG_LINE_MAX && line[len - 1] == '\n');
    line[len - 1] = '\0';
    CHECK_INT(strlen(line), len - 1);
    return line;
}

static void check_line(int kind, const struct sl_log_record *record, const char *expected) {
    CHECK_STR(line_of(kind, record), expected);
}

TEST(an_upstreams_fault_names_the_upstream) {
    struct sl_log_record r = record_of("GET", "h", "up\"[10.0.0.7:8080]/x");
    r.upstream_len = 18; // the target is what follows it
    r.target_len = 2;
    r.handled_by = 2;
    r.status = 504;
    r.reason = SL_E_UPSTREAM_TIMEOUT;
    check_line(SL_LOG_TEXT, &r,
               "2026-11-24T18:34:58.123Z 127.0.0.1:53412 \"GET /x HTTP/1.1\" 504 12B 0.213ms "
               "upstream h upstream_timeout upstream up\\\"[10.0.0.7:8080]");
    const char *json = line_of(SL_LOG_JSON, &r);
    CHECK_MSG(strstr(json, "\"reason\":\"upstream_timeout\",\"upstream\":\"up\\\"[10.0.0.7:8080]\"}"), "%s", json);
}

TEST(a_failed_handshake_says_why) {
    struct sl_log_record r = record_of("", "", "the client's \"ALPN\"");
    r.why_len = (uint8_t)r.target_len;
    r.target_len = 0;
    r.tls = 1;
    r.status = 0;
    r.bytes_out = 0;
    r.handled_by = SL_LOG_NOBODY;
    r.reason = SL_E_TLS_HANDSHAKE;
    check_line(SL_LOG_TEXT, &r,
               "2026-11-24T18:34:58.123Z 127.0.0.1:53412 \"-\" 000 0B 0.213ms - - tls_handshake: the client's \\\"ALPN\\\"");
    const char *json = line_of(SL_LOG_JSON, &r);
    CHECK_MSG(strstr(json, "\"level\":\"info\""), "%s", json);
    CHECK_MSG(strstr(json, "\"handled_by\":\"-\",\"reason\":\"tls_handshake\",\"why\":\"the client's \\\"ALPN\\\"\"}"), "%s", json);
}

TEST(text_of_a_request) {
    struct sl_log_record r = record_of("GET", "localhost:8080", "/hello");
    check_line(SL_LOG_TEXT, &r,
               "2026-11-24T18:34:58.123Z 127.0.0.1:53412 \"GET /hello HTTP/1.1\" 200 12B 0.213ms "
               "native localhost:8080 -");
    r.handled_by = 1;
    r.version = 0;
    r.host_len = 0;
    r.target_len = 0;
    r.duration_us = 1234567890;
    r.bytes_out = UINT64_MAX;
    r.status = 408;
    r.reason = SL_E_BODY_TIMEOUT;
    check_line(SL_LOG_TEXT, &r,
               "2026-11-24T18:34:58.123Z 127.0.0.1:53412 \"GET  HTTP/1.0\" 408 "
               "18446744073709551615B 1234567.890ms typescript - body_timeout");
}

TEST(text_without_a_head_or_an_answer) {
    struct sl_log_record r = record_of("", "", "");
    r.remote_family = 6;
    memset(r.remote_addr, 0, 16);
    r.remote_addr[15] = 1;
    r.status = 0;
    r.handled_by = 2;
    r.reason = SL_E_HEAD_TIMEOUT;
    check_line(
        SL_LOG_TEXT, &r,
        "2026-11-24T18:34:58.123Z [::1]:53412 \"-\" 000 12B 0.213ms upstream - head_timeout");
    r.remote_family = 0;
    r.handled_by = 9;
    r.reason = SL_OK;
    check_line(SL_LOG_TEXT, &r, "2026-11-24T18:34:58.123Z -:53412 \"-\" 000 12B 0.213ms - - -");
}

TEST(json_of_a_request) {
    struct sl_log_record r = record_of("GET", "localhost:8080", "/hello?a=1&b");
    r.tls = 1;
    check_line(
        SL_LOG_JSON, &r,
        "{\"ts\":\"2026-11-24T18:34:58.123Z\",\"level\":\"info\",\"client_addr\":\"127.0.0.1\","
        "\"client_port\":53412,\"method\":\"GET\",\"scheme\":\"https\",\"host\":\"localhost:8080\","
        "\"path\":\"/hello\",\"query\":\"a=1&b\",\"proto\":\"HTTP/1.1\",\"status\":200,"
        "\"bytes_in\":5,\"bytes_out\":12,\"dur_ms\":0.213,\"handled_by\":\"native\","
        "\"reason\":\"ok\"}");
    r.reason = SL_E_UPSTREAM_REFUSED;
    r.status = 502;
    CHECK(strstr(line_of(SL_LOG_JSON, &r), "\"level\":\"error\""));
    CHECK(strstr(line_of(SL_LOG_JSON, &r), "\"reason\":\"upstream_refused\"}"));
}

TEST(times_agree_with_libc) {
    static const int64_t edges[] = {0,           951782400,    951868799,  951868800,
                                    1709164800,  1709251200,   4107542400, 4107456000,
                                    32503680000, 253402300799, 68169599,   68169600};
    for (int i = 0; i < 5000; i++) {
        int64_t s = i < (int)SL_COUNT_OF(edges)
                        ? edges[i]
                        : (int64_t)random_below(1u << 24) * (1 << 14) % 253402300800;
        struct sl_log_record r = record_of("GET", "h", "/");
        r.unix_us = s * 1000000 + 7999;
        struct tm tm;
        time_t t = (time_t)s;
        char expected[64];
        gmtime_r(&t, &tm);
        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.007Z ", &tm);
        const char *line = line_of(SL_LOG_TEXT, &r);
        CHECK_MSG(strncmp(line, expected, strlen(expected)) == 0, "%.30s, expected %s", line,
                  expected);
    }
    struct sl_log_record r = record_of("GET", "h", "/");
    r.unix_us = INT64_MIN;
    CHECK(strncmp(line_of(SL_LOG_TEXT, &r), "1970-01-01T00:00:00.000Z ", 25) == 0);
    r.unix_us = INT64_MAX;
    CHECK(strncmp(line_of(SL_LOG_TEXT, &r), "9999-12-31T23:59:59.999Z ", 25) == 0);
}

// ---- hostile bytes ----

TEST(hostile_bytes_are_escaped) {
    static const struct {
        const char *bytes, *text, *json;
    } rows[] = {
        {"a\"b\\c", "a\\\"b\\\\c", "a\\\"b\\\\c"},
        {"\x1b[31m", "\\x1b[31m", "\\u001b[31m"},
        {"\r\n\t\x01", "\\x0d\\x0a\\x09\\x01", "\\u000d\\u000a\\u0009\\u0001"},
        {"a b", "a\\x20b", "a b"},
        {"\x7f", "\\x7f", "\\u007f"},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
         "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},     // e acute, euro, an emoji
        {"\xff\xfe", "\\xff\\xfe", "\\u00ff\\u00fe"}, // never UTF-8
        {"\x80x", "\\x80x", "\\u0080x"},              // a continuation alone
        {"\xc3", "\\xc3", "\\u00c3"},                 // cut
        {"\xe2\x82", "\\xe2\\x82", "\\u00e2\\u0082"}, // cut
        {"\xc0\xaf", "\\xc0\\xaf", "\\u00c0\\u00af"}, // overlong
        {"\xe0\x80\xaf", "\\xe0\\x80\\xaf", "\\u00e0\\u0080\\u00af"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\u00ed\\u00a0\\u0080"}, // a surrogate
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\u00f4\\u0090\\u0080\\u0080"},
        {"\xc2\x9b", "\\xc2\\x9b", "\\u009b"},          // C1: CSI
        {"\xe2\x80\xae", "\\xe2\\x80\\xae", "\\u202e"}, // right-to-left override
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8", "\\u2028"}, // line separator
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        char target[64], expected[128];
        snprintf(target, sizeof(target), "/%s", rows[i].bytes);
        struct sl_log_record r = record_of("GET", "h", target);
        snprintf(expected, sizeof(expected), "\"GET /%s HTTP/1.1\"", rows[i].text);
        CHECK_MSG(strstr(line_of(SL_LOG_TEXT, &r), expected), "row %zu: %s", i,
                  line_of(SL_LOG_TEXT, &r));
        snprintf(expected, sizeof(expected), "\"path\":\"/%s\",", rows[i].json);
        CHECK_MSG(strstr(line_of(SL_LOG_JSON, &r), expected), "row %zu: %s", i,
                  line_of(SL_LOG_JSON, &r));
    }
}

TEST(hostile_bytes_in_method_and_host_too) {
    struct sl_log_record r = record_of("G\nT", "h \x1b", "/");
    check_line(SL_LOG_TEXT, &r,
               "2026-11-24T18:34:58.123Z 127.0.0.1:53412 \"G\\x0aT / HTTP/1.1\" 200 12B 0.213ms "
               "native h\\x20\\x1b -");
    CHECK(strstr(line_of(SL_LOG_JSON, &r), "\"method\":\"G\\u000aT\""));
    CHECK(strstr(line_of(SL_LOG_JSON, &r), "\"host\":\"h \\u001b\""));
}

// Quotes that are not escaped come in pairs, outside of them only what we write ourselves.
static bool is_well_formed(const char *line, size_t len, bool json) {
    bool inside = false;
    for (size_t i = 0; i + 1 < len; i++) {
        uint8_t c = (uint8_t)line[i];
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
        if (c == '\\') {
            i++;
            if (json && !strchr("\"\\u", line[i])) {
                return false;
            }
        } else if (c == '"') {
            inside = !inside;
        }
    }
    return !inside && line[len - 1] == '\n';
}

TEST(random_records_stay_one_well_formed_line) {
    char *line = malloc(SL_LOG_LINE_MAX);
    struct sl_log_record *r = malloc(sizeof(*r)); // ASan sees a read past it
    static const uint8_t favourites[] = {'"', '\\', 0x1b, '\n', '&',  '=',  '?',
                                         '@', ':',  '/',  0xc2, 0xe2, 0x80, 0xf0};
    for (int i = 0; i < 20000; i++) {
        for (size_t b = 0; b < sizeof(*r); b++) {
            ((uint8_t *)r)[b] = random_below(2) ? favourites[random_below(sizeof(favourites))]
                                                : (uint8_t)random_below(256);
        }
        for (int kind = SL_LOG_TEXT; kind <= SL_LOG_JSON; kind++) {
            size_t len = sl_log_format(kind, r, line);
            CHECK(len <= SL_LOG_LINE_MAX && is_well_formed(line, len, kind == SL_LOG_JSON));
        }
    }
    free(r);
    free(line);
}

TEST(the_longest_line_fits) {
    char *line = malloc(SL_LOG_LINE_MAX);
    static const uint8_t bytes[] = {0x01, 0xff, '"', ' '};
    for (size_t i = 0; i < SL_COUNT_OF(bytes); i++) {
        struct sl_log_record r;
        memset(&r, 0xff, sizeof(r));
        r.remote_family = 6;
        r.reason = SL_E_UPSTREAM_CONNECT_TIMEOUT;
        r.handled_by = 1;
        memset(r.text, bytes[i], sizeof(r.text));
        CHECK(sl_log_format(SL_LOG_JSON, &r, line) <= SL_LOG_LINE_MAX);
        CHECK(sl_log_format(SL_LOG_TEXT, &r, line) <= SL_LOG_LINE_MAX);
    }
    struct sl_log_record r = record_of("", "", "/?"); // the shortest name whose value grows
    for (size_t at = 2; at + 5 <= sizeof(r.text); at += 5) {
        memcpy(r.text + at, "sig=&", 5);
        r.target_len = (uint16_t)(at + 5);
    }
    CHECK(sl_log_format(SL_LOG_JSON, &r, line) <= SL_LOG_LINE_MAX);
    free(line);
}

TEST(lengths_that_lie_are_cut_at_the_text) {
    struct sl_log_record *r = malloc(sizeof(*r));
    *r = record_of("GET", "h", "/x");
    memset(r->text, 'a', sizeof(r->text));
    r->method_len = r->host_len = 255;
    r->target_len = UINT16_MAX;
    CHECK_INT(strlen(line_of(SL_LOG_TEXT, r)),
              strlen("2026-11-24T18:34:58.123Z 127.0.0.1:53412 \" HTTP/1.1\" 200 "
                     "12B 0.213ms native  -") +
                  1 + SL_LOG_TARGET_MAX);
    free(r);
}

TEST(secrets_in_a_target_are_redacted) {
    static const struct {
        const char *target, *path, *query;
    } rows[] = {
        {"/a?sig=abc&b=2", "/a", "sig=REDACTED&b=2"},
        {"/a?b=1&X-Amz-Signature=abc", "/a", "b=1&X-Amz-Signature=REDACTED"},
        {"/a?ACCESS_TOKEN=abc=def&", "/a", "ACCESS_TOKEN=REDACTED&"},
        {"/a?design=abc&sigs=1&sig", "/a", "design=abc&sigs=1&sig"},
        {"/a?&&sig=", "/a", "&&sig=REDACTED"},
        {"/a?", "/a", ""},
        {"http://user:pw@host/a@b", "http://REDACTED@host/a@b", ""},
        {"http://host/a@b", "http://host/a@b", ""},
        {"/http://user:pw@host/", "/http://user:pw@host/", ""},
        {"http://a@b@c", "http://REDACTED@c", ""},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct sl_log_record r = record_of("GET", "h", rows[i].target);
        char expected[256];
        snprintf(expected, sizeof(expected), "\"path\":\"%s\",\"query\":\"%s\",", rows[i].path,
                 rows[i].query);
        CHECK_MSG(strstr(line_of(SL_LOG_JSON, &r), expected), "%s", line_of(SL_LOG_JSON, &r));
        snprintf(expected, sizeof(expected), "\"GET %s%s%s HTTP/1.1\"", rows[i].path,
                 strchr(rows[i].target, '?') ? "?" : "", rows[i].query);
        CHECK_MSG(strstr(line_of(SL_LOG_TEXT, &r), expected), "%s", line_of(SL_LOG_TEXT, &r));
    }
}

// ---- the rings and the thread ----

static bool put(struct sl_log *log, uint32_t worker, uint64_t number) {
    struct sl_log_record *record = sl_log_begin(log, worker);
    if (!record) {
        return false;
    }
    *record = record_of("GET", "h", "/");
    record->remote_port = (uint16_t)worker;
    record->bytes_out = number;
    sl_log_commit(log, worker);
    return true;
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct counts {
    uint64_t lines, next[2]; // per worker: the number that must come next
    bool ordered;
};

static void count_line(struct counts *counts, const char *line) {
    if (line[0] == '\0') {
        return; // of a pipe that was filled beforehand
    }
    const char *port = strstr(line, "127.0.0.1:"), *bytes = strstr(line, "\" 200 ");
    counts->lines++;
    if (!port || !bytes || port[10] < '0' || port[10] > '1') {
        counts->ordered = false;
        return;
    }
    uint64_t *next = &counts->next[port[10] - '0'];
    counts->ordered = counts->ordered && strtoull(bytes + 6, NULL, 10) == *next;
    (*next)++;
}

// Reads lines until `lines` have come (UINT64_MAX: to the end of the file).
static struct counts read_lines(int fd, uint64_t lines) {
    struct counts counts = {.ordered = true};
    static _Thread_local char buffer[65536 + 1];
    size_t have = 0;
    ssize_t n;
    while (counts.lines < lines && (n = read(fd, buffer + have, sizeof(buffer) - 1 - have)) > 0) {
        have += (size_t)n;
        char *at = buffer, *end;
        while ((end = memchr(at, '\n', have - (size_t)(at - buffer)))) {
            *end = '\0';
            count_line(&counts, at);
            at = end + 1;
        }
        have -= (size_t)(at - buffer);
        memmove(buffer, at, have);
    }
    return counts;
}

TEST(new_checks_its_arguments) {
    struct sl_log *log;
    CHECK_INT(sl_log_new(&log, SL_LOG_OFF, 1, 1), SL_OK);
    CHECK(!log);
    sl_log_free(log);
    CHECK_INT(sl_log_new(&log, 9, 1, 1), SL_E_INVALID);
    CHECK_INT(sl_log_new(&log, SL_LOG_TEXT, 0, 1), SL_E_INVALID);
    CHECK_INT(sl_log_new(&log, SL_LOG_TEXT, 1, -1), SL_E_SYSTEM);
    CHECK(strstr(sl_fail_text(), "descriptor -1"));
}

TEST(free_writes_what_is_left) {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    struct sl_log *log;
    REQUIRE(sl_log_new(&log, SL_LOG_TEXT, 2, fds[1]) == SL_OK);
    close(fds[1]); // the log has its own
    for (uint64_t i = 0; i < 200; i++) {
        CHECK(put(log, i & 1, i / 2));
    }
    sl_log_free(log);
    struct counts counts = read_lines(fds[0], UINT64_MAX);
    CHECK_INT(counts.lines, 200);
    CHECK(counts.ordered);
    close(fds[0]);
}

TEST(free_without_a_record_is_quick) {
    struct sl_log *log;
    for (int i = 0; i < 50; i++) {
        REQUIRE(sl_log_new(&log, SL_LOG_TEXT, 1, 1) == SL_OK);
        uint64_t start = now_ms();
        sl_log_free(log);
        CHECK(now_ms() - start < 500);
    }
}

struct producer {
    struct sl_log *log;
    uint32_t worker;
    uint64_t count, refused;
};

static void *produce(void *arg) {
    struct producer *producer = arg;
    for (uint64_t i = 0; i < producer->count;) {
        if (put(producer->log, producer->worker, i)) {
            i++;
        } else {
            producer->refused++;
            sched_yield();
        }
    }
    return NULL;
}

struct consumer {
    int fd;
    struct counts counts;
};

static void *consume(void *arg) {
    struct consumer *consumer = arg;
    consumer->counts = read_lines(consumer->fd, UINT64_MAX);
    return NULL;
}

TEST(two_workers_keep_their_order) {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    struct sl_log *log;
    REQUIRE(sl_log_new(&log, SL_LOG_TEXT, 2, fds[1]) == SL_OK);
    close(fds[1]);
    struct consumer consumer = {.fd = fds[0]};
    struct producer producers[2] = {{log, 0, 30000, 0}, {log, 1, 30000, 0}};
    pthread_t threads[3];
    REQUIRE(pthread_create(&threads[2], NULL, consume, &consumer) == 0);
    for (int i = 0; i < 2; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, produce, &producers[i]) == 0);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    sl_log_free(log);
    pthread_join(threads[2], NULL);
    CHECK_INT(consumer.counts.lines, 60000);
    CHECK(consumer.counts.ordered);
    close(fds[0]);
}

// Until the ring stays full: refused for longer than the thread ever naps.
static uint64_t put_until_stuck(struct sl_log *log, uint64_t taken) {
    uint64_t refused_at = 0;
    while (refused_at == 0 || now_ms() - refused_at < 300) {
        if (put(log, 0, taken)) {
            taken++;
            refused_at = 0;
        } else {
            refused_at = refused_at ? refused_at : now_ms();
            sched_yield();
        }
    }
    return taken;
}

static void pipe_fill(int fds[2]) {
    SL_ASSERT(pipe2(fds, O_NONBLOCK) == 0);
    while (write(fds[1], "\n\n\n\n\n\n\n\n", 8) > 0) {
    }
    while (write(fds[1], "\n", 1) > 0) {
    }
    fcntl(fds[0], F_SETFL, 0);
    fcntl(fds[1], F_SETFL, 0);
}

TEST(a_reader_that_stalls_costs_records_and_never_a_wait) {
    int fds[2];
    pipe_fill(fds);
    struct sl_log *log;
    REQUIRE(sl_log_new(&log, SL_LOG_TEXT, 1, fds[1]) == SL_OK);
    close(fds[1]);
    uint64_t taken = put_until_stuck(log, 0);
    // The ring and what the thread had in its hands: one record at least, one batch of lines of 80 bytes and more at most.
    CHECK(taken > SL_LOG_RING_RECORDS && taken < SL_LOG_RING_RECORDS + 65536 / 80);
    uint64_t start = now_ms();
    for (int i = 0; i < 1000; i++) {
        CHECK(!sl_log_begin(log, 0));
    }
    CHECK(now_ms() - start < 1000);
    struct consumer consumer = {.fd = fds[0]};
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, consume, &consumer) == 0);
    while (!put(log, 0, taken)) { // it moves again: room comes
        sched_yield();
    }
    CHECK_INT(sl_log_lost(log), 0);
    sl_log_free(log);
    pthread_join(thread, NULL);
    CHECK_INT(consumer.counts.lines, taken + 1);
    CHECK(consumer.counts.ordered);
    close(fds[0]);
}

TEST(every_record_that_was_taken_is_written_once) {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    struct sl_log *log;
    REQUIRE(sl_log_new(&log, SL_LOG_TEXT, 1, fds[1]) == SL_OK);
    close(fds[1]);
    uint64_t taken = 0;
    while (put(log, 0, taken)) { // until it is full
        taken++;
    }
    struct consumer consumer = {.fd = fds[0]};
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, consume, &consumer) == 0);
    sl_log_free(log);
    pthread_join(thread, NULL);
    CHECK_INT(consumer.counts.lines, taken);
    CHECK(consumer.counts.ordered);
    close(fds[0]);
}

TEST(free_leaves_a_stuck_reader_after_a_second) {
    int fds[2];
    pipe_fill(fds);
    struct sl_log *log;
    REQUIRE(sl_log_new(&log, SL_LOG_TEXT, 1, fds[1]) == SL_OK);
    close(fds[1]);
    uint64_t taken = put_until_stuck(log, 0);
    struct counts counts =
        read_lines(fds[0], 1); // it took all that waited, and is stuck in the first batch of that
    put_until_stuck(log, taken);
    uint64_t start = now_ms();
    sl_log_free(log);
    uint64_t took = now_ms() - start;
    CHECK_MSG(took >= 900 && took < 5000, "%llu ms", (unsigned long long)took);
    // Freed from its write, the thread writes nothing more and closes its descriptor: the end of the file comes.
    CHECK(counts.ordered);
    // Two batches and a pipe of lines, not the ring that it had begun to drain.
    CHECK(counts.lines + read_lines(fds[0], UINT64_MAX).lines < taken * 3 / 4);
    close(fds[0]);
}

TEST(a_closed_reader_loses_lines_and_no_signal_comes) {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    struct sl_log *log;
    REQUIRE(sl_log_new(&log, SL_LOG_TEXT, 1, fds[1]) == SL_OK);
    close(fds[1]);
    close(fds[0]);
    for (uint64_t i = 0; i < 100; i++) {
        CHECK(put(log, 0, i));
    }
    uint64_t start = now_ms();
    while (sl_log_lost(log) < 100 && now_ms() - start < 10000) {
        sched_yield();
    }
    CHECK_INT(sl_log_lost(log), 100);
    sl_log_free(log);
}

TEST(a_full_disk_loses_lines) {
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        SKIP("no /dev/full");
    }
    struct sl_log *log;
    REQUIRE(sl_log_new(&log, SL_LOG_TEXT, 1, fd) == SL_OK);
    close(fd);
    for (uint64_t i = 0; i < 10; i++) {
        CHECK(put(log, 0, i));
    }
    uint64_t start = now_ms();
    while (sl_log_lost(log) < 10 && now_ms() - start < 10000) {
        sched_yield();
    }
    CHECK_INT(sl_log_lost(log), 10);
    sl_log_free(log);
}

TEST(a_non_blocking_descriptor_works_too) {
    int fds[2];
    REQUIRE(pipe2(fds, O_NONBLOCK) == 0);
    fcntl(fds[0], F_SETFL, 0);
    struct sl_log *log;
    REQUIRE(sl_log_new(&log, SL_LOG_TEXT, 1, fds[1]) == SL_OK);
    close(fds[1]);
    struct consumer consumer = {.fd = fds[0]};
    struct producer producer = {log, 0, 3000, 0};
    pthread_t thread;
    produce(&producer); // more than the pipe holds: the thread gets EAGAIN; less than the ring: nobody reads yet
    REQUIRE(pthread_create(&thread, NULL, consume, &consumer) == 0);
    sl_log_free(log);
    pthread_join(thread, NULL);
    CHECK_INT(consumer.counts.lines, 3000);
    CHECK(consumer.counts.ordered);
    close(fds[0]);
}

// The number of the one thread beside this one.
static int log_thread_id(void) {
    for (int tid = getpid() + 1; tid < getpid() + 4096; tid++) {
        char path[64], name[32] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
        FILE *file = fopen(path, "re");
        bool found = file && fgets(name, sizeof(name), file) && strcmp(name, "sluice-log\n") == 0;
        if (file) {
            fclose(file);
        }
        if (found) {
            return tid;
        }
    }
    return -1;
}

// True while the thread waits in a futex without a timeout. -1: /proc does not tell.
static int waits_without_a_timer(int tid) {
    char path[64], line[256] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return -1;
    }
    bool got = fgets(line, sizeof(line), file);
    fclose(file);
    unsigned long number, word, op, value, timeout;
    return got && sscanf(line, "%lu %lx %lx %lx %lx", &number, &word, &op, &value, &timeout) == 5 &&
           timeout == 0;
}

TEST(an_idle_thread_sleeps_without_a_timer_and_wakes_for_one_record) {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    struct sl_log *log;
    REQUIRE(sl_log_new(&log, SL_LOG_TEXT, 1, fds[1]) == SL_OK);
    close(fds[1]);
    int tid = log_thread_id();
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t start = now_ms();
        int waits = 0;
        while (tid > 0 && (waits = waits_without_a_timer(tid)) == 0 && now_ms() - start < 10000) {
            sched_yield();
        }
        CHECK_MSG(tid < 0 || waits != 0, "still on a timer after 10 s");
        CHECK(put(log, 0, i));
        struct counts counts = read_lines(fds[0], 1);
        CHECK_INT(counts.lines, 1);
    }
    sl_log_free(log);
    close(fds[0]);
    if (tid < 0) {
        SKIP("the thread is not to be found in /proc");
    }
}
