// Heads that we send, byte for byte; then that what we send upstream means to a parser what the
// client said.
#include "http1_write.h"

#include <time.h>

#include "test.h"

static const struct sl_head_limits limits = {16384, 8192, 128};

static uint8_t in[32768], out[SL_HEAD_OUT_MAX + 1];
static struct sl_head head, again;

static int parse_request(const char *text, struct sl_head *to, uint8_t *bytes) {
    memcpy(bytes, text, strlen(text));
    to->scanned = to->skipped = 0;
    return sl_http1_parse_request(to, bytes, strlen(text), &limits);
}

static const char *as_text(size_t len) {
    out[len] = '\0';
    return (const char *)out;
}

// ---- Date

TEST(date_is_what_libc_says) {
    for (int64_t second = 0; second < 253402300800; second += 86400 * 3 + 7919) {
        char want[64];
        time_t t = (time_t)second;
        struct tm tm;
        strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
        struct sl_date date = {0};
        sl_date_render(&date, second);
        CHECK_STR(date.text, want);
        CHECK_INT(strlen(date.text), SL_DATE_LEN);
    }
}

TEST(date_of_leap_days_and_turns) {
    static const struct {
        int64_t unix_s;
        const char *text;
    } cases[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {951868800, "Wed, 01 Mar 2000 00:00:00 GMT"},
        {1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"},
        {1795545298, "Tue, 24 Nov 2026 18:34:58 GMT"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
        struct sl_date date = {0};
        sl_date_render(&date, cases[i].unix_s);
        CHECK_STR(date.text, cases[i].text);
    }
}

TEST(date_renders_once_a_second) {
    struct sl_date date = {0};
    sl_date_render(&date, 1000);
    date.text[0] = 'x';
    sl_date_render(&date, 1000);
    CHECK_INT(date.text[0], 'x');
    sl_date_render(&date, 1001);
    CHECK_STR(date.text, "Thu, 01 Jan 1970 00:16:41 GMT");
}

// ---- Our own responses

static const struct sl_date date = {0, "Thu, 01 Jan 1970 00:00:00 GMT"};
#define DATE "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"

TEST(write_response) {
    static const struct {
        struct sl_response_head head;
        const char *fields, *want;
    } cases[] = {
        {{.status = 200, .framing = SL_FRAMING_LENGTH, .content_length = 5, .date = &date},
         "content-type: text/plain\r\nset-cookie: a\r\nset-cookie: b\r\n",
         "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n" DATE
         "content-type: text/plain\r\nset-cookie: a\r\nset-cookie: b\r\n\r\n"},
        {{.status = 200, .framing = SL_FRAMING_LENGTH},
         "",
         "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"},
        {{.status = 200, .framing = SL_FRAMING_LENGTH, .content_length = UINT64_MAX},
         "",
         "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n"},
        {{.status = 404, .framing = SL_FRAMING_CHUNKED, .close = true},
         "a: b\r\n",
         "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\nconnection: close\r\na: "
         "b\r\n\r\n"},
        {{.status = 200, .framing = SL_FRAMING_CLOSE},
         "",
         "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"},
        {{.status = 200, .framing = SL_FRAMING_LENGTH, .keep_alive_10 = true},
         "",
         "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n"},
        {{.status = 200, .framing = SL_FRAMING_LENGTH, .keep_alive_10 = true, .close = true},
         "",
         "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"},
        {{.status = 304, .framing = SL_FRAMING_LENGTH, .content_length = 7},
         "",
         "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"},
        {{.status = 204, .framing = SL_FRAMING_LENGTH}, "", "HTTP/1.1 204 No Content\r\n\r\n"},
        {{.status = 204, .framing = SL_FRAMING_CHUNKED}, "", "HTTP/1.1 204 No Content\r\n\r\n"},
        {{.status = 100}, "", "HTTP/1.1 100 Continue\r\n\r\n"},
        {{.status = 103, .framing = SL_FRAMING_CHUNKED},
         "link: </a>\r\n",
         "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"},
        // 46: an upgrade, and where one is asked for
        {{.status = 101, .framing = SL_FRAMING_CLOSE, .upgrade = true, .date = &date},
         "a: b\r\n",
         "HTTP/1.1 101 Switching Protocols\r\n" DATE
         "connection: upgrade\r\nupgrade: websocket\r\na: b\r\n\r\n"},
        {{.status = 426, .framing = SL_FRAMING_LENGTH, .upgrade = true, .close = true},
         "",
         "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\nconnection: upgrade, "
         "close\r\nupgrade: websocket\r\n\r\n"},
        {{.status = 599, .framing = SL_FRAMING_LENGTH},
         "",
         "HTTP/1.1 599 \r\ncontent-length: 0\r\n\r\n"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
        struct sl_response_head response = cases[i].head;
        response.fields = sl_span_of(cases[i].fields);
        CHECK_STR(as_text(sl_http1_write_response(out, SL_HEAD_OUT_MAX, &response)), cases[i].want);
    }
}

TEST(a_prepared_answer_is_the_written_one_with_another_date) {
    static const struct sl_date later = {86400, "Fri, 02 Jan 1970 00:00:00 GMT"};
    static const struct {
        struct sl_response_head head;
        const char *fields, *body;
    } cases[] = {
        {{.status = 200, .framing = SL_FRAMING_LENGTH, .content_length = 5}, "a: b\r\nx-date: date: y\r\n", "hello"},
        {{.status = 200, .framing = SL_FRAMING_LENGTH, .content_length = 100000}, "", ""},
        {{.status = 204}, "", ""},
        {{.status = 599, .framing = SL_FRAMING_LENGTH}, "", ""},
    };
    static uint8_t bytes[1024], copy[1024];
    for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
        struct sl_response_head response = cases[i].head;
        response.fields = sl_span_of(cases[i].fields);
        response.date = &date;
        struct sl_prepared prepared;
        struct sl_span body = sl_span_of(cases[i].body);
        size_t len = sl_http1_prepare(&prepared, bytes, sizeof(bytes), &response, body);
        REQUIRE(len > 0 && prepared.bytes == bytes && prepared.len == len);
        response.date = &later;
        size_t want = sl_http1_write_response(out, SL_HEAD_OUT_MAX, &response);
        CHECK_INT(prepared.head_len, want);
        memset(copy, 0x55, sizeof(copy));
        sl_http1_write_prepared(copy, &prepared, prepared.len, &later);
        CHECK(memcmp(copy, out, want) == 0 && memcmp(copy + want, body.data, body.len) == 0);
        CHECK_INT(copy[len], 0x55);
        CHECK_INT(sl_http1_prepare(&prepared, bytes, len - 1, &response, body), 0);
    }
}

TEST(a_head_that_does_not_fit_is_0) {
    struct sl_response_head response = {
        .status = 200, .framing = SL_FRAMING_LENGTH, .fields = sl_span_of("a: b\r\n")};
    size_t len = sl_http1_write_response(out, SL_HEAD_OUT_MAX, &response);
    CHECK(len > 0);
    memset(out, 0x55, sizeof(out));
    for (size_t cap = 0; cap < len; cap++) {
        CHECK_INT(sl_http1_write_response(out, cap, &response), 0);
        CHECK_INT(out[cap], 0x55);
    }
    CHECK_INT(sl_http1_write_response(out, len, &response), len);
}

TEST(reason_phrases) {
    static const struct {
        uint16_t status;
        const char *phrase;
    } cases[] = {
        {100, "Continue"},
        {103, "Early Hints"},
        {200, "OK"},
        {206, "Partial Content"},
        {208, "Already Reported"},
        {301, "Moved Permanently"},
        {304, "Not Modified"},
        {306, ""},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {418, ""},
        {421, "Misdirected Request"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {452, ""},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {508, "Loop Detected"},
        {511, "Network Authentication Required"},
        {512, ""},
        {0, ""},
        {99, ""},
        {600, ""},
        {199, ""},
        {299, ""},
        {65535, ""},
    };
    for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
        CHECK_STR(sl_reason_phrase(cases[i].status), cases[i].phrase);
    }
}

// ---- Requests for an upstream

struct request_case {
    const char *request, *want; // `want`: NULL, any
    struct sl_forward_request forward;
};

static const char *forward_request(const char *request, struct sl_forward_request forward) {
    if (parse_request(request, &head, in) != 1) {
        return "(bad request)";
    }
    forward.head = &head;
    forward.data = in + head.skipped;
    forward.via = sl_span_of("sluice");
    forward.client_ip = sl_span_of("192.0.2.7");
    return as_text(sl_http1_forward_request(out, SL_HEAD_OUT_MAX, &forward));
}

#define VIA "via: 1.1 sluice\r\n"
#define BY(host)                                                                                   \
    VIA "x-forwarded-for: 192.0.2.7\r\nx-forwarded-host: " host "\r\nx-forwarded-proto: http\r\n"
#define TAIL BY("h") "\r\n"

static const struct request_case requests[] = {
    {"\r\nGET /a?b HTTP/1.1\r\nHost: h\r\nAccept:  x \r\nX-Y:z\r\n\r\n",
     "GET /a?b HTTP/1.1\r\nhost: h\r\naccept: x\r\nx-y: z\r\n" TAIL,
     {0}},
    // 8: our own version, always
    {"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\nvia: 1.0 sluice\r\nx-forwarded-for: "
     "192.0.2.7\r\nx-forwarded-host: h\r\nx-forwarded-proto: http\r\n\r\n",
     {0}},
    // 10, 11: origin form, Host from the target
    {"GET http://target:81/a?b HTTP/1.1\r\nHost: other\r\n\r\n",
     "GET /a?b HTTP/1.1\r\nhost: target:81\r\n" BY("target:81") "\r\n",
     {0}},
    {"GET HTTPS://[2001:DB8::1]:8443/a HTTP/1.1\r\nHost: other\r\nX-Forwarded-Host: third\r\n\r\n",
     "GET /a HTTP/1.1\r\nhost: [2001:DB8::1]:8443\r\n" BY("[2001:DB8::1]:8443") "\r\n",
     {0}},
    {"GET http://target/ HTTP/1.0\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: target\r\nvia: 1.0 sluice\r\nx-forwarded-for: "
     "192.0.2.7\r\nx-forwarded-host: target\r\nx-forwarded-proto: http\r\n\r\n",
     {.host = {(const uint8_t *)"up:80", 5}}},
    {"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nhost: h\r\n" TAIL, {0}},
    {"GET http://h?b HTTP/1.1\r\nHost: h\r\n\r\n", "GET /?b HTTP/1.1\r\nhost: h\r\n" TAIL, {0}},
    {"OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: h\r\n" TAIL, {0}},
    {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: h\r\n" TAIL, {0}},
    {"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
     "CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n" BY("h:1") "\r\n",
     {0}},
    // 12: a request without Host takes the upstream's
    {"GET / HTTP/1.0\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: up:80\r\nvia: 1.0 sluice\r\nx-forwarded-for: "
     "192.0.2.7\r\nx-forwarded-proto: http\r\n\r\n",
     {.host = {(const uint8_t *)"up:80", 5}}},
    // 18: order kept
    {"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nHost: h\r\na: 3\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\na: 1\r\nb: 2\r\na: 3\r\n" TAIL,
     {0}},
    // 20: '_'
    {"GET / HTTP/1.1\r\nHost: h\r\nA_B: 1\r\nContent_Length: 5\r\n_: 2\r\nAB: 3\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\nab: 3\r\n" TAIL,
     {0}},
    // and if they are to be kept: never one of ours, of framing or of one connection under another name
    {"GET / HTTP/1.1\r\nHost: h\r\nA_B: 1\r\n_: 2\r\nA-B_C: 3\r\nX_Forwarded: 4\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\na_b: 1\r\n_: 2\r\na-b_c: 3\r\nx_forwarded: 4\r\n" TAIL,
     {.underscores = true}},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent_Length: 6\r\nTransfer_Encoding: "
     "chunked\r\nKeep_Alive: 1\r\nProxy_Connection: 2\r\n\r\n",
     "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n" TAIL,
     {.underscores = true, .framing = SL_FRAMING_LENGTH, .content_length = 5}},
    {"GET / HTTP/1.1\r\nHost: h\r\nX_Forwarded_For: 1\r\nX-Forwarded_Proto: 2\r\nX_Forwarded-Any: "
     "3\r\nX_Forwarded_Something_Longer_Than_32_Bytes: 4\r\nX_Real_IP: 5\r\nProxy_Authorization: "
     "6\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\n" TAIL,
     {.underscores = true}},
    {"GET / HTTP/1.1\r\nHost: h\r\nX_A: 1\r\nConnection: x_a\r\nX_B: 2\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\nx_b: 2\r\n" TAIL,
     {.underscores = true}},
    {"OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 5\r\nMax_Forwards: 9\r\n\r\n",
     "OPTIONS / HTTP/1.1\r\nhost: h\r\nmax-forwards: 4\r\n" TAIL,
     {.underscores = true}},
    // 19: optional whitespace is gone, an empty value stays, and what lies inside a value is the client's
    {"GET / HTTP/1.1\r\nHost: \t h \t\r\nA:\t b \t c\t \r\nB:\r\nC: \t\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\na: b \t c\r\nb: \r\nc: \r\n" TAIL,
     {0}},
    // 34: hop by hop, nominated, and what may not be nominated
    {"GET / HTTP/1.1\r\nHost: h\r\nConnection: X-A, TE, close, Host, Authorization, cookie\r\nX-a: "
     "1\r\nTE: trailers\r\nTrailer: x\r\n"
     "Keep-Alive: 1\r\nProxy-Connection: a\r\nUpgrade: a\r\nProxy-Authorization: "
     "p\r\nAuthorization: b\r\nCookie: c\r\nx-A: 2\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\nauthorization: b\r\ncookie: c\r\n" TAIL,
     {0}},
    // 33: no trailers are announced, for none are sent
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\nTE: "
     "trailers\r\n\r\n",
     "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n" TAIL,
     {.framing = SL_FRAMING_CHUNKED}},
    // 44: an Expect without a body to wait for, and one of HTTP/1.0
    {"GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\n" TAIL,
     {0}},
    {"POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\nExpect: y\r\n\r\n",
     "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nvia: 1.0 sluice\r\nx-forwarded-for: "
     "192.0.2.7\r\nx-forwarded-host: h\r\nx-forwarded-proto: http\r\n\r\n",
     {.framing = SL_FRAMING_LENGTH, .content_length = 5}},
    // 46: an upgrade is not passed on
    {"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "
     "h2c\r\nHTTP2-Settings: a\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\n" TAIL,
     {0}},
    // but for a WebSocket's
    {"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "
     "h2c, websocket\r\nHTTP2-Settings: a\r\nSec-WebSocket-Key: k\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\nsec-websocket-key: k\r\n" BY("h")
     "connection: upgrade\r\nupgrade: websocket\r\n\r\n",
     {.upgrade = true}},
    // 40: Via lines become one, ours is the last
    {"GET / HTTP/1.1\r\nHost: h\r\nVia: 1.0 a (x, y)\r\nX: 1\r\nVia:\r\nVia: 1.1 b\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\nx: 1\r\nvia: 1.0 a (x, y), 1.1 b, 1.1 sluice\r\n"
     "x-forwarded-for: 192.0.2.7\r\nx-forwarded-host: h\r\nx-forwarded-proto: http\r\n\r\n",
     {0}},
    // 41: Max-Forwards
    {"OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 010\r\n\r\n",
     "OPTIONS / HTTP/1.1\r\nhost: h\r\nmax-forwards: 9\r\n" TAIL,
     {0}},
    {"TRACE / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n",
     "TRACE / HTTP/1.1\r\nhost: h\r\nmax-forwards: 0\r\n" TAIL,
     {0}},
    {"GET / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 10\r\nA: b\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\nmax-forwards: 10\r\na: b\r\n" TAIL,
     {0}},
    // 42: path and query bytes
    {"GET //a/../%41%zz?%2e&\"<>\\^`{|} HTTP/1.1\r\nHost: h\r\n\r\n",
     "GET //a/../%41%zz?%2e&\"<>\\^`{|} HTTP/1.1\r\nhost: h\r\n" TAIL,
     {0}},
    {"GET /? HTTP/1.1\r\nHost: h\r\n\r\n", "GET /? HTTP/1.1\r\nhost: h\r\n" TAIL, {0}},
    // who asks
    {"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: "
     "e\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n"
     "Forwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nX-Forwarded: a\r\n\r\n",
     "GET / HTTP/1.1\r\nhost: h\r\nx-forwarded: a\r\n" VIA
     "x-forwarded-for: 192.0.2.7\r\nx-forwarded-host: h\r\nx-forwarded-proto: https\r\n\r\n",
     {.tls = true}},
    // framing is ours, not the client's
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 005\r\nExpect: 100-continue\r\n\r\n",
     "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n" BY("h") "expect: 100-continue\r\n\r\n",
     {.framing = SL_FRAMING_LENGTH, .content_length = 5, .expect_continue = true}},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n",
     "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n" TAIL,
     {.framing = SL_FRAMING_CHUNKED}},
    {"PATCH / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
     "PATCH / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n" TAIL,
     {.framing = SL_FRAMING_LENGTH}},
};

TEST(requests_forwarded) {
    for (size_t i = 0; i < SL_COUNT_OF(requests); i++) {
        CHECK_STR(forward_request(requests[i].request, requests[i].forward), requests[i].want);
    }
}

// What the app puts there goes on with its '_', also where clients' names with one do not; an alias of a framing field does not.
TEST(names_that_the_app_writes) {
    static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\nX_A: 1\r\nContent_Length: "
                               "2\r\nKeep_Alive: 3\r\nX_Real_IP: 4\r\nX-Real-IP: "
                               "5\r\nX_B: 6\r\n\r\n";
    CHECK_INT(parse_request(text, &head, in), 1);
    for (uint32_t i = 1; i < 6; i++) {
        head.fields[i].flags |= SL_FIELD_OURS;
    }
    struct sl_forward_request forward = {.head = &head,
                                         .data = in,
                                         .via = sl_span_of("sluice"),
                                         .client_ip = sl_span_of("192.0.2.7")};
    CHECK_STR(as_text(sl_http1_forward_request(out, SL_HEAD_OUT_MAX, &forward)),
              "GET / HTTP/1.1\r\nhost: h\r\nx_a: 1\r\nx_real_ip: 4\r\nx-real-ip: 5\r\n" TAIL);
}

// ---- Round trip

static bool is_ours(const struct sl_field *field) {
    switch (field->id) {
    case SL_H_HOST:
    case SL_H_VIA:
    case SL_H_X_FORWARDED_FOR:
    case SL_H_X_FORWARDED_HOST:
    case SL_H_X_FORWARDED_PROTO:
    case SL_H_CONTENT_LENGTH:
    case SL_H_TRANSFER_ENCODING:
    case SL_H_MAX_FORWARDS:
    case SL_H_EXPECT:
        return true;
    default:
        return false;
    }
}

// The next field that the client wrote and the upstream may see.
static const struct sl_field *next_field(const struct sl_head *of, const uint8_t *data,
                                         uint32_t *at) {
    for (; *at < of->field_count; ++*at) {
        const struct sl_field *field = &of->fields[*at];
        bool dropped =
            field->flags & (SL_FIELD_NOMINATED | SL_FIELD_UNDERSCORE) ||
            sl_header_is_hop_by_hop(field->id) || field->id == SL_H_FORWARDED ||
            field->id == SL_H_X_REAL_IP || field->id == SL_H_PROXY_AUTHORIZATION ||
            (field->name_len >= 12 && memcmp(data + field->name_off, "x-forwarded-", 12) == 0);
        if (!dropped && !is_ours(field)) {
            ++*at;
            return field;
        }
    }
    return NULL;
}

static bool bytes_equal(const uint8_t *a, uint32_t a_off, uint32_t a_len, const uint8_t *b,
                        uint32_t b_off, uint32_t b_len) {
    return a_len == b_len && memcmp(a + a_off, b + b_off, a_len) == 0;
}

static void check_same_fields(const uint8_t *a_data, const uint8_t *b_data, const char *request) {
    uint32_t a_at = 0, b_at = 0;
    for (;;) {
        const struct sl_field *a = next_field(&head, a_data, &a_at),
                              *b = next_field(&again, b_data, &b_at);
        CHECK_MSG(!a == !b, "number of fields: %s", request);
        if (!a || !b) {
            return;
        }
        CHECK_MSG(bytes_equal(a_data, a->name_off, a->name_len, b_data, b->name_off, b->name_len),
                  "a name: %s", request);
        CHECK_MSG(
            bytes_equal(a_data, a->value_off, a->value_len, b_data, b->value_off, b->value_len),
            "a value: %s", request);
    }
}

TEST(what_we_forward_parses_to_the_same) {
    static uint8_t bytes[SL_HEAD_OUT_MAX];
    for (size_t i = 0; i < SL_COUNT_OF(requests); i++) {
        const char *text = forward_request(requests[i].request, requests[i].forward);
        const uint8_t *data = in + head.skipped;
        CHECK_MSG(parse_request(text, &again, bytes) == 1, "%s", text);
        CHECK_INT(again.len, strlen(text));
        CHECK_INT(again.version, 1);
        CHECK_INT(again.method, head.method);
        CHECK_INT(again.body == SL_BODY_CHUNKED, requests[i].forward.framing == SL_FRAMING_CHUNKED);
        CHECK_INT(again.content_length, requests[i].forward.content_length);
        CHECK(bytes_equal(data, head.query_off, head.query_len, bytes, again.query_off,
                          again.query_len));
        CHECK(head.path_len == 0 || bytes_equal(data, head.path_off, head.path_len, bytes,
                                                again.path_off, again.path_len));
        CHECK(head.host_len == 0 || bytes_equal(data, head.host_off, head.host_len, bytes,
                                                again.host_off, again.host_len));
        CHECK(!!again.first[SL_H_CONNECTION] == requests[i].forward.upgrade);
        check_same_fields(data, bytes, requests[i].request);
    }
}

// The largest that the parser takes: lines without spaces grow by one byte each, and Host is
// written twice.
TEST(the_largest_head_fits) {
    static char text[16385];
    char host[256];
    memset(host, 'h', 255);
    host[255] = '\0';
    size_t len = (size_t)sprintf(
        text, "POST / HTTP/1.1\r\nHost:%s:65535\r\nVia:a\r\nContent-Length:9223372036854775807\r\n",
        host);
    for (int i = 0; i < 124; i++) {
        len += (size_t)sprintf(text + len, "a:b\r\n");
    }
    len += (size_t)sprintf(text + len, "x:");
    memset(text + len, 'v', 16384 - len - 4);
    memcpy(text + 16380, "\r\n\r\n", 5);
    struct sl_forward_request forward = {
        .framing = SL_FRAMING_LENGTH, .content_length = INT64_MAX, .expect_continue = true};
    const char *sent = forward_request(text, forward);
    CHECK_INT(head.len, 16384);
    CHECK_INT(head.field_count, 128);
    CHECK(strlen(sent) > 16384 && strlen(sent) < SL_HEAD_OUT_MAX - 2048);
}

// What grows most: lines without spaces, 128 of them, and all that we add at its longest.
TEST(growth_is_bounded) {
    static const char via[] = "a-name-of-sixty-four-bytes-0123456789-0123456789-0123456789-0123";
    _Static_assert(sizeof(via) - 1 == 64, "the longest that a plan may have");
    static char text[2048];
    size_t len = (size_t)sprintf(text, "OPTIONS http://h HTTP/1.1\r\nHost:h\r\nMax-Forwards:1\r\n");
    for (int i = 0; i < 126; i++) {
        len += (size_t)sprintf(text + len, "a:\r\n");
    }
    memcpy(text + len, "\r\n", 3);
    CHECK_INT(parse_request(text, &head, in), 1);
    struct sl_forward_request request = {
        .head = &head,
        .data = in,
        .framing = SL_FRAMING_LENGTH,
        .content_length = UINT64_MAX,
        .via = sl_span_of(via),
        .client_ip = sl_span_of("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"),
        .tls = true,
        .expect_continue = true,
    };
    size_t sent = sl_http1_forward_request(out, SL_HEAD_OUT_MAX, &request);
    CHECK_MSG(sent > 0 && sent <= head.len + 2u * head.host_len + SL_HEAD_GROWTH_MAX, "%zu from %u",
              sent, head.len);

    len = (size_t)sprintf(text, "HTTP/1.1 431\r\n");
    for (int i = 0; i < 128; i++) {
        len += (size_t)sprintf(text + len, "a:\r\n");
    }
    memcpy(text + len, "\r\n", 3);
    memcpy(in, text, len + 2);
    head.scanned = head.skipped = 0;
    CHECK_INT(sl_http1_parse_response(&head, in, len + 2, &limits, SL_METHOD_GET), 1);
    struct sl_forward_response response = {
        .head = &head,
        .data = in,
        .framing = SL_FRAMING_LENGTH,
        .content_length = UINT64_MAX,
        .keep_alive_10 = true,
        .date = &date,
        .via = sl_span_of(via),
    };
    sent = sl_http1_forward_response(out, SL_HEAD_OUT_MAX, &response);
    CHECK_MSG(sent > 0 && sent <= head.len + SL_HEAD_GROWTH_MAX, "%zu from %u", sent, head.len);
}

TEST(a_forward_that_does_not_fit_is_0) {
    const char *sent = forward_request(requests[0].request, requests[0].forward);
    size_t len = strlen(sent);
    struct sl_forward_request forward = {.head = &head,
                                         .data = in + head.skipped,
                                         .via = sl_span_of("sluice"),
                                         .client_ip = sl_span_of("192.0.2.7")};
    CHECK_INT(sl_http1_forward_request(out, len, &forward), len);
    for (size_t cap = 0; cap < len; cap++) {
        CHECK_INT(sl_http1_forward_request(out, cap, &forward), 0);
    }
}

// ---- Responses of an upstream

static const char *forward_response(const char *response, struct sl_forward_response forward,
                                    enum sl_method method) {
    memcpy(in, response, strlen(response));
    head.scanned = head.skipped = 0;
    if (sl_http1_parse_response(&head, in, strlen(response), &limits, method) != 1) {
        return "(bad response)";
    }
    forward.head = &head;
    forward.data = in;
    forward.via = sl_span_of("sluice");
    return as_text(sl_http1_forward_response(out, SL_HEAD_OUT_MAX, &forward));
}

TEST(responses_forwarded) {
    static const struct {
        const char *response, *want;
        struct sl_forward_response forward;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 05\r\nX-A:b\r\n\r\n",
         "HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 5\r\n" VIA DATE "\r\n",
         {.framing = SL_FRAMING_LENGTH, .content_length = 5, .date = &date}},
        // 8, 27: our version, and a body that ends by close is chunked for a 1.1 client
        {"HTTP/1.0 200 Fine\r\nConnection: x\r\n\r\n",
         "HTTP/1.1 200 Fine\r\ntransfer-encoding: chunked\r\nvia: 1.0 sluice\r\n\r\n",
         {.framing = SL_FRAMING_CHUNKED}},
        {"HTTP/1.1 404\r\n\r\n",
         "HTTP/1.1 404 Not Found\r\n" VIA "connection: close\r\n\r\n",
         {.framing = SL_FRAMING_CLOSE}},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
         "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" VIA "connection: keep-alive\r\n\r\n",
         {.framing = SL_FRAMING_LENGTH, .keep_alive_10 = true}},
        // 46: an upgrade that was asked for
        {"HTTP/1.1 101 Go\r\nUpgrade: WebSocket\r\nConnection: Upgrade, "
         "X\r\nX: y\r\nSec-WebSocket-Accept: k\r\n\r\n",
         "HTTP/1.1 101 Go\r\nsec-websocket-accept: k\r\n" VIA
         "connection: upgrade\r\nupgrade: websocket\r\n\r\n",
         {.framing = SL_FRAMING_CLOSE, .upgrade = true, .date = &date}},
        // 15: a space before the colon is gone
        {"HTTP/1.1 200 OK\r\nX \t: y\r\nContent-Length: 0\r\n\r\n",
         "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 0\r\n" VIA "\r\n",
         {.framing = SL_FRAMING_LENGTH}},
        // 22: equal lengths become one
        {"HTTP/1.1 200 OK\r\nContent-Length: 5, 05\r\nContent-Length: 5\r\n\r\n",
         "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n" VIA "\r\n",
         {.framing = SL_FRAMING_LENGTH, .content_length = 5}},
        // 18: each Set-Cookie a line of its own, in order
        {"HTTP/1.1 200 OK\r\nSet-Cookie: a=1, x\r\nB: 2\r\nSet-Cookie: c=3\r\n\r\n",
         "HTTP/1.1 200 OK\r\nset-cookie: a=1, x\r\nb: 2\r\nset-cookie: c=3\r\n" VIA "\r\n",
         {.framing = SL_FRAMING_NONE}},
        // 20: an alias of a framing field; another '_' may pass
        {"HTTP/1.1 200 OK\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\nKeep_Alive: "
         "1\r\nA_b: c\r\n\r\n",
         "HTTP/1.1 200 OK\r\na_b: c\r\n" VIA "\r\n",
         {.framing = SL_FRAMING_NONE}},
        // 28: HEAD and 304 keep the length, 1xx and 204 have none
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nDate: d\r\n\r\n",
         "HTTP/1.1 304 Not Modified\r\ndate: d\r\ncontent-length: 9\r\n" VIA "\r\n",
         {.framing = SL_FRAMING_LENGTH, .content_length = 9, .date = &date}},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
         "HTTP/1.1 204 No Content\r\n" VIA DATE "\r\n",
         {.framing = SL_FRAMING_LENGTH, .date = &date}},
        // 34
        {"HTTP/1.1 200 OK\r\nConnection: close, X-A, Cache-Control\r\nX-A: 1\r\nKeep-Alive: "
         "2\r\nProxy-Connection: 3\r\nTE: 4\r\nTrailer: 5\r\n"
         "Upgrade: 6\r\nProxy-Authenticate: 7\r\nCache-Control: private\r\nTransfer-Encoding: "
         "chunked\r\n\r\n",
         "HTTP/1.1 200 OK\r\ncache-control: private\r\ntransfer-encoding: chunked\r\n" VIA "\r\n",
         {.framing = SL_FRAMING_CHUNKED}},
        // 40
        {"HTTP/1.1 200 OK\r\nVia: 1.1 a\r\nContent-Length: 0\r\nVia: 1.0 b\r\n\r\n",
         "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nvia: 1.1 a, 1.0 b, 1.1 sluice\r\n\r\n",
         {.framing = SL_FRAMING_LENGTH}},
        // 45: interim
        {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
         "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n" VIA "\r\n",
         {.framing = SL_FRAMING_LENGTH, .close = true, .date = &date}},
        // 48: Date only where there is none
        {"HTTP/1.1 200 OK\r\nDate: d\r\n\r\n",
         "HTTP/1.1 200 OK\r\ndate: d\r\n" VIA "connection: close\r\n\r\n",
         {.framing = SL_FRAMING_NONE, .close = true, .date = &date}},
    };
    for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
        CHECK_STR(forward_response(cases[i].response, cases[i].forward, SL_METHOD_GET),
                  cases[i].want);
    }
}

TEST(the_length_of_an_answer_to_head_is_kept) {
    struct sl_forward_response forward = {.framing = SL_FRAMING_LENGTH, .content_length = 123};
    CHECK_STR(
        forward_response("HTTP/1.1 200 OK\r\nContent-Length: 123\r\n\r\n", forward, SL_METHOD_HEAD),
        "HTTP/1.1 200 OK\r\ncontent-length: 123\r\n" VIA "\r\n");
    CHECK_INT(head.body, SL_BODY_NONE);
    CHECK_INT(head.content_length, 123);
}

// ---- Loops

TEST(via_has) {
    static const struct {
        const char *lines;
        bool has;
    } cases[] = {
        {"", false},
        {"Via: 1.1 sluice\r\n", true},
        {"Via: 1.1 SLUICE\r\n", true},
        {"Via: HTTP/1.1   sluice\t(comment)\r\n", true},
        {"Via: 1.0 a, 1.1 sluice,1.1 b\r\n", true},
        {"Via: 1.0 a\r\nX: y\r\nVia: 1.1 sluice\r\n", true},
        {"Via: 1.0 a(b, \\) c, (d), 1.1 sluice), 1.1 sluice\r\n", true},
        {"Via: 1.0 a (b, 1.1 sluice)\r\n", false},
        {"Via: 1.0 a (b, 1.1 sluice , c)\r\n", false},
        {"Via: 1.0 a (b) (c \\) d, 1.1 sluice , e)\r\n", false},
        {"Via: 1.0 a ((b) , 1.1 sluice\r\n", true}, // a comment that does not end hides nothing
        {"Via: 1.0 a (b \\) (((, 1.1 sluice, \r\n", true},
        {"Via: 1.1 sluice2\r\n", false},
        {"Via: 1.1 sluic\r\n", false},
        {"Via: 1.1 sluice:80\r\n", false},
        {"Via: sluice\r\n", false},
        {"Via: sluice, sluice\r\n", false},
        {"Via: 1.1 a sluice\r\n", false},
        {"Via: (x\\\r\n", false},
        {"Via: ,,\r\n", false},
    };
    for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
        char text[256];
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", cases[i].lines);
        CHECK_INT(parse_request(text, &head, in), 1);
        CHECK_MSG(sl_http1_via_has(&head, in, sl_span_of("sluice")) == cases[i].has, "%s",
                  cases[i].lines);
    }
}
