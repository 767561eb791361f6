// Heads as a table: bytes, verdict, what must be understood. Every row is fed to each
// implementation, whole, cut in two at every byte, and byte by byte, each time so that the last
// byte lies before an unmapped page; alone, and with bytes of a next message behind it, so that
// implementations that read wide have room to.
#include "http1_parse.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rules.h"
#include "test.h"

#define LIMITS_HEAD 2048u
#define LIMITS_LINE 256u
#define LIMITS_FIELDS 16u
static const struct sl_head_limits limits = {LIMITS_HEAD, LIMITS_LINE, LIMITS_FIELDS};

// ---- Every implementation

// A test that runs once for each implementation that this processor has.
static const char *const parsers[] = {"scalar", "sse42", "avx2"};
#define TEST_EACH(ident)                                                                           \
    static void each_##ident(void);                                                                \
    TEST(ident) {                                                                                  \
        for (size_t p = 0; p < SL_COUNT_OF(parsers); p++) {                                        \
            int before = test_failures;                                                            \
            if (sl_http1_parser_use(parsers[p]) == SL_OK) {                                        \
                each_##ident();                                                                    \
            }                                                                                      \
            if (test_failures > before) {                                                          \
                printf("  (the %s parser)\n", parsers[p]);                                         \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void each_##ident(void)

TEST(an_implementation_is_chosen_by_name) {
    CHECK_STR(sl_http1_parser_name(), "scalar"); // until one is chosen
    CHECK_INT(sl_http1_parser_use("avx512"), SL_E_INVALID);
    CHECK(strstr(sl_fail_text(), "\"avx512\"") && strstr(sl_fail_text(), "scalar"));
    CHECK_STR(sl_http1_parser_name(), "scalar");
    for (size_t p = 0; p < SL_COUNT_OF(parsers); p++) {
        if (sl_http1_parser_use(parsers[p]) == SL_OK) {
            CHECK_STR(sl_http1_parser_name(), parsers[p]);
        } else {
            CHECK(strstr(sl_fail_text(), "processor lacks") != NULL);
            printf("# not on this processor: %s\n", parsers[p]);
        }
    }
    const char *best = sl_http1_parser_name(); // the last that runs here
    CHECK_INT(sl_http1_parser_use("scalar"), SL_OK);
    CHECK_INT(sl_http1_parser_use(NULL), SL_OK);
    CHECK_STR(sl_http1_parser_name(), best);
    CHECK_INT(sl_http1_parser_use("scalar"), SL_OK);
    CHECK_INT(sl_http1_parser_use(""), SL_OK);
    CHECK_STR(sl_http1_parser_name(), best);
}

// ---- Where bytes are placed: they end at a page that faults

#define ARENA_BYTES 65536u
static uint8_t *arena_end;

__attribute__((constructor)) static void arena_map(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *arena =
        mmap(NULL, ARENA_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED || mprotect(arena + ARENA_BYTES, page, PROT_NONE) != 0) {
        perror("mmap");
        abort();
    }
    arena_end = arena + ARENA_BYTES;
}

static uint8_t *place(const void *data, size_t len) {
    uint8_t *to = arena_end - len;
    memmove(to, data, len);
    return to;
}

// ---- One call for both kinds of message

enum kind { REQUEST, RESPONSE, RESPONSE_TO_HEAD, RESPONSE_TO_CONNECT };

static int parse_with(enum kind kind, struct sl_head *head, uint8_t *data, size_t len,
                      const struct sl_head_limits *with) {
    if (kind == REQUEST) {
        return sl_http1_parse_request(head, data, len, with);
    }
    enum sl_method method = kind == RESPONSE_TO_HEAD      ? SL_METHOD_HEAD
                            : kind == RESPONSE_TO_CONNECT ? SL_METHOD_CONNECT
                                                          : SL_METHOD_GET;
    return sl_http1_parse_response(head, data, len, with, method);
}
static int parse(enum kind kind, struct sl_head *head, uint8_t *data, size_t len) {
    return parse_with(kind, head, data, len, &limits);
}

static int parse_text(enum kind kind, struct sl_head *head, const char *text) {
    head->scanned = head->skipped = 0;
    return parse(kind, head, place(text, strlen(text)), strlen(text));
}

// ---- A head as text

struct text {
    char data[8192];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    text->len +=
        (size_t)vsnprintf(text->data + text->len, sizeof(text->data) - text->len, format, args);
    va_end(args);
}

static const struct {
    uint16_t flag;
    const char *name;
} flag_names[] = {
    {SL_HEAD_KEEP_ALIVE, "keep"}, {SL_HEAD_EXPECT_CONTINUE, "expect"},
    {SL_HEAD_UPGRADE, "upgrade"}, {SL_HEAD_PATH_ESCAPED, "escaped"},
    {SL_HEAD_HTTPS, "https"},     {SL_HEAD_DOT_SEGMENT, "dots"},
};

static void add_flags(struct text *text, const struct sl_head *head) {
    add(text, " flags=");
    for (size_t i = 0; i < SL_COUNT_OF(flag_names); i++) {
        if (head->flags & flag_names[i].flag) {
            add(text, "%s,", flag_names[i].name);
        }
    }
}

static void add_body(struct text *text, const struct sl_head *head) {
    static const char *const bodies[] = {"none", "length", "chunked", "until-close"};
    add(text, " body=%s:%llu", bodies[head->body], (unsigned long long)head->content_length);
}

static void add_fields(struct text *text, const struct sl_head *head, const uint8_t *base) {
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct sl_field *field = &head->fields[i];
        add(text, "|%.*s=%.*s", field->name_len, base + field->name_off, field->value_len,
            base + field->value_off);
        add(text, "%s", field->flags & SL_FIELD_UNDERSCORE ? "(underscore)" : "");
        add(text, "%s", field->flags & SL_FIELD_NOMINATED ? "(nominated)" : "");
    }
    add(text, "|");
}

static const char *render(enum kind kind, const struct sl_head *head, const uint8_t *base) {
    static const char *const forms[] = {"origin", "absolute", "authority", "asterisk"};
    static struct text text;
    text.len = 0;
    if (kind == REQUEST) {
        add(&text, "%.*s %s path=%.*s", head->method_len, base, forms[head->form], head->path_len,
            base + head->path_off);
        if (head->query_off) {
            add(&text, " query=%.*s", head->query_len, base + head->query_off);
        }
        add(&text, " host=%.*s", head->host_len, base + head->host_off);
    } else {
        add(&text, "%u %.*s", head->status, head->reason_len, base + head->reason_off);
    }
    add(&text, " 1.%u", head->version);
    add_body(&text, head);
    add_flags(&text, head);
    add_fields(&text, head, base);
    return text.data;
}

// ---- The table

struct row {
    int rule;
    enum kind kind;
    const char *data;
    size_t len;
    int verdict;      // 1, 0 or a status
    int http;         // what a client sees
    const char *want; // a part of the rendered head; NULL: any
};

// clang-format off
#define BAD(rule, text, status, http) \
    {rule, REQUEST, text, sizeof(text) - 1, SL_##status, http, NULL}
#define GOOD(rule, text, want) {rule, REQUEST, text, sizeof(text) - 1, 1, 0, want}
#define UPSTREAM(rule, text, want) {rule, RESPONSE, text, sizeof(text) - 1, 1, 0, want}
#define UPSTREAM_BAD(rule, text) \
    {rule, RESPONSE, text, sizeof(text) - 1, SL_E_UPSTREAM_BAD, 502, NULL}
#define TO(kind, rule, text, want) {rule, RESPONSE_TO_##kind, text, sizeof(text) - 1, 1, 0, want}
// clang-format on
#define H "Host: h\r\n"
#define GET "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n" H
#define OK_11 "HTTP/1.1 200 OK\r\n"

#define LONG_62 "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LONG_248 LONG_62 LONG_62 LONG_62 LONG_62

static const struct row rows[] = {
    // 1: octets, never text
    GOOD(1, GET H "X: \xff\x80\xc3\xa9\r\n\r\n", "|x=\xff\x80\xc3\xa9|"),
    BAD(1, "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(1, GET H "\xc3\xa9: x\r\n\r\n", E_BAD_FIELD, 400),
    GOOD(1,
         GET H "Cookie: caf\xc3\xa9=\xf0\x9f\x8d\xb0; overlong=\xc0\xaf; lone=\xed\xa0\x80\r\n\r\n",
         "|cookie=caf\xc3\xa9=\xf0\x9f\x8d\xb0; overlong=\xc0\xaf; lone=\xed\xa0\x80|"),
    BAD(1, "G\xc3\x89T / HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(1, "\xef\xbb\xbfGET / HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400), // a byte order mark
    BAD(1, GET H "X\xef\xbc\x9a y\r\n\r\n", E_BAD_FIELD, 400),          // a full-width colon
    UPSTREAM(1, OK_11 "X: \xa3\r\n\r\n", "|x=\xa3|"),
    // 2: bare CR
    BAD(2, "GET / HTTP/1.1\rHost: h\r\n\r\n", E_BAD_LINE, 400),
    BAD(2, GET "Host: h\rX: y\r\n\r\n", E_BAD_FIELD, 400),
    BAD(2, GET H "X: a\rb\r\n\r\n", E_BAD_FIELD, 400),
    BAD(2, GET H "X: a\r\r\n\r\n", E_BAD_FIELD, 400),
    BAD(2, GET H "\r\r\n", E_BAD_FIELD, 400),
    BAD(2, GET H "\rX: a\r\n\r\n", E_BAD_FIELD, 400),
    BAD(2, "\rGET / HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    UPSTREAM_BAD(2, "HTTP/1.1 200 OK\rX: y\r\n\r\n"),
    UPSTREAM_BAD(2, OK_11 "X: a\rb\r\n\r\n"),
    // 3: bare LF
    BAD(3, "GET / HTTP/1.1\nHost: h\n\n", E_BAD_LINE, 400),
    BAD(3, GET "Host: h\n\r\n", E_BAD_FIELD, 400),
    BAD(3, GET H "\n", E_BAD_FIELD, 400),
    BAD(3, GET H "X: a\nY: b\r\n\r\n", E_BAD_FIELD, 400),
    BAD(3, "\nGET / HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    UPSTREAM_BAD(3, "HTTP/1.1 200 OK\n\n"),
    UPSTREAM_BAD(3, OK_11 "X: a\n\r\n"),
    // 4: empty lines before
    GOOD(4, "\r\n" GET H "\r\n", "GET origin path=/ host=h 1.1"),
    GOOD(4, "\r\n\r\n\r\n\r\n" GET H "\r\n", "|host=h|"),
    BAD(4, "\r\n\r\n\r\n\r\n\r\n" GET H "\r\n", E_BAD_LINE, 400),
    BAD(4, "\r\n GET / HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    UPSTREAM_BAD(4, "\r\nHTTP/1.1 200 OK\r\n\r\n"),
    // 5: whitespace before the first field
    BAD(5, GET " Host: h\r\n\r\n", E_BAD_FIELD, 400),
    BAD(5, GET "\tHost: h\r\n\r\n", E_BAD_FIELD, 400),
    BAD(5, GET " \r\n" H "\r\n", E_BAD_FIELD, 400),
    UPSTREAM_BAD(5, OK_11 " X: y\r\n\r\n"),
    BAD(5, GET "\t \r\n" H "\r\n", E_BAD_FIELD, 400),
    BAD(5, GET " Transfer-Encoding: chunked\r\n" H "\r\n", E_BAD_FIELD, 400),
    UPSTREAM_BAD(5, OK_11 "\tX: y\r\n\r\n"),
    // 6: anything else
    BAD(6, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", E_BAD_LINE, 400), // a TLS ClientHello
    BAD(6, "\0", E_BAD_LINE, 400),
    BAD(6, "GET /a#b HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(6, GET H "no colon\r\n\r\n", E_BAD_FIELD, 400),
    BAD(6, GET H "nocolon\r\n\r\n", E_BAD_FIELD, 400),
    BAD(6, GET H ": v\r\n\r\n", E_BAD_FIELD, 400),
    UPSTREAM_BAD(6, "HTTP/1.1 200 \x01\r\n\r\n"),
    UPSTREAM_BAD(6, "garbage\r\n\r\n"),
    UPSTREAM_BAD(6, "HTTP/1.1 20 OK\r\n\r\n"),
    UPSTREAM_BAD(6, "HTTP/1.1 2000 OK\r\n\r\n"),
    UPSTREAM_BAD(6, "HTTP/1.1  200 OK\r\n\r\n"),
    UPSTREAM_BAD(6, "HTTP/1.1 200OK\r\n\r\n"),
    UPSTREAM_BAD(6, "HTTP/1.1 099 Low\r\n\r\n"),
    UPSTREAM_BAD(6, "HTTP/1.1 600 High\r\n\r\n"),
    UPSTREAM_BAD(6, "HTTP/1.1 -20 OK\r\n\r\n"),
    UPSTREAM(6, "HTTP/1.1 200\r\n\r\n", "200  1.1 body=until-close:0 flags=|"),
    UPSTREAM(6, "HTTP/1.1 200 \r\n\r\n", "200  1.1"),
    UPSTREAM(6, "HTTP/1.1 599 \xe9 \t!\r\n\r\n", "599 \xe9 \t! 1.1"),
    // 7: the request line
    GOOD(7, "G!#$%&'*+-.^_`|~9 / HTTP/1.1\r\n" H "\r\n", "G!#$%&'*+-.^_`|~9 origin"),
    GOOD(7, "GET /!\"$%&'()*+,-./:;<=>@[\\]^_`{|}~ HTTP/1.1\r\n" H "\r\n",
         "path=/!\"$%&'()*+,-./:;<=>@[\\]^_`{|}~ "),
    BAD(7, "GET  / HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET /  HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET / HTTP/1.1 \r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, " GET / HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET /a b HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET\t/ HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET /\tHTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET /\x0b HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET /a\0b HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET /\x7f HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "G(T / HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET /\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(7, "GET / \r\n" H "\r\n", E_BAD_LINE, 400),
    // 8: version
    GOOD(8, "GET / HTTP/1.0\r\n\r\n", "host= 1.0"),
    BAD(8, "GET / HTTP/2.0\r\n" H "\r\n", E_BAD_VERSION, 505),
    BAD(8, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", E_BAD_VERSION, 505),
    BAD(8, "GET / HTTP/1.2\r\n" H "\r\n", E_BAD_VERSION, 505),
    BAD(8, "GET / HTTP/0.9\r\n" H "\r\n", E_BAD_VERSION, 505),
    BAD(8, "GET / HTTP/9.1\r\n" H "\r\n", E_BAD_VERSION, 505),
    BAD(8, "GET / HTTP/1.10\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(8, "GET / HTTP/11.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(8, "GET / HTTP/1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(8, "GET / HTTP/1,1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(8, "GET / http/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(8, "GET / HTTPS/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(8, "GET / HTTP/+1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(8, "GET / ICE/1.0\r\n" H "\r\n", E_BAD_LINE, 400),
    UPSTREAM_BAD(8, "HTTP/2.0 200 OK\r\n\r\n"),
    UPSTREAM_BAD(8, "HTTP/1.2 200 OK\r\n\r\n"),
    UPSTREAM_BAD(8, "http/1.1 200 OK\r\n\r\n"),
    UPSTREAM(8, "HTTP/1.0 200 OK\r\n\r\n", "200 OK 1.0 body=until-close:0 flags=|"),
    // 9: over-long pieces (limits_are_exact has the target's)
    GOOD(9, "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / HTTP/1.1\r\n" H "\r\n",
         "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 origin"),
    BAD(9, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456 / HTTP/1.1\r\n" H "\r\n", E_METHOD_UNKNOWN, 501),
    BAD(9, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", E_METHOD_UNKNOWN, 501), // before its space comes
    BAD(9, "GET /" LONG_248 " HTTP/1.1\r\n" H "\r\n", E_TARGET_TOO_LONG, 414),
    BAD(9, "GET /" LONG_248, E_TARGET_TOO_LONG, 414),
    BAD(9, "GET http://u/?" LONG_248 " HTTP/1.1\r\n" H "\r\n", E_TARGET_TOO_LONG, 414),
    // 10: target form
    GOOD(10, "GET /a/b?c=d?e HTTP/1.1\r\n" H "\r\n", "GET origin path=/a/b query=c=d?e host=h"),
    GOOD(10, "GET /? HTTP/1.1\r\n" H "\r\n", "path=/ query= host=h"),
    GOOD(10, "GET //a HTTP/1.1\r\n" H "\r\n", "GET origin path=//a host=h"),
    GOOD(10, "GET http://u/a?b HTTP/1.1\r\n" H "\r\n", "GET absolute path=/a query=b host=u"),
    GOOD(10, "GET http://u HTTP/1.1\r\n" H "\r\n", "GET absolute path= host=u"),
    GOOD(10, "GET http://u?q HTTP/1.1\r\n" H "\r\n", "GET absolute path= query=q host=u"),
    GOOD(10, "GET HTTPS://u:1/ HTTP/1.1\r\n" H "\r\n",
         "absolute path=/ host=u:1 1.1 body=none:0 flags=keep,https,|"),
    GOOD(10, "OPTIONS http://u HTTP/1.1\r\n" H "\r\n", "OPTIONS absolute path= host=u"),
    GOOD(10, "OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS asterisk path=* host=h"),
    GOOD(10, "CONNECT u:443 HTTP/1.1\r\n" H "\r\n", "CONNECT authority path= host=u:443"),
    GOOD(10, "CONNECT [::1]:443 HTTP/1.1\r\n" H "\r\n", "CONNECT authority path= host=[::1]:443"),
    BAD(10, "GET * HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(10, "OPTIONS ** HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(10, "GET u:80 HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(10, "GET a/b HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(10, "GET ?a HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(10, "GET ftp://u/ HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(10, "GET http:/u HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(10, "GET http:u HTTP/1.1\r\n" H "\r\n", E_BAD_LINE, 400),
    BAD(10, "CONNECT / HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(10, "CONNECT http://u:80/ HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(10, "GET http://me@u/ HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(10, "GET http://u:80@v/ HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(10, "GET http://u\\@v/ HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    // 11: absolute form: Host is not what counts
    GOOD(11, "GET http://target:81/ HTTP/1.1\r\nHost: other\r\n\r\n", "host=target:81"),
    GOOD(11, "GET http://target/ HTTP/1.0\r\n\r\n", "host=target 1.0"),
    BAD(11, "GET http://target/ HTTP/1.1\r\n\r\n", E_BAD_HOST, 400),
    BAD(11, "GET http://target/ HTTP/1.1\r\nHost: a b\r\n\r\n", E_BAD_HOST, 400),
    BAD(11, "GET http://target/ HTTP/1.1\r\nHost: a\r\nHost: target\r\n\r\n", E_BAD_HOST, 400),
    GOOD(11, "GET https://[::1]:8443/a?b HTTP/1.1\r\nHost: other\r\n\r\n",
         "absolute path=/a query=b host=[::1]:8443 1.1 body=none:0 flags=keep,https,|"),
    // 12: Host
    BAD(12, GET "\r\n", E_BAD_HOST, 400),
    BAD(12, GET "X: y\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET H H "\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a\r\nX: y\r\nhOST: b\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, "GET / HTTP/1.0\r\n" H H "\r\n", E_BAD_HOST, 400),
    BAD(12, "GET / HTTP/1.0\r\nHost: a b\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host:\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a, b\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a/b\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a?b\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a@b\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a%00\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: http://a\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: \xc3\xa9\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a:b\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a:1:2\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a:65536\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a:000080\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: a:-1\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: :80\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: ::1\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: [::1\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: []\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: [\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: [:80\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: [0000:0000:0000:0000:0000:0000:0000:0000:0000:00]\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: [1.2.3.4]\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: [::1%eth0]\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: [::1]x\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: [::1]:x\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: [1:2:3:4:5:6:7:8:9]\r\n\r\n", E_BAD_HOST, 400),
    BAD(12, GET "Host: [1::2::3]\r\n\r\n", E_BAD_HOST, 400),
    GOOD(12, GET "Host: [2001:DB8::1]:65535\r\n\r\n", "host=[2001:DB8::1]:65535"),
    GOOD(12, GET "Host: [::ffff:1.2.3.4]\r\n\r\n", "host=[::ffff:1.2.3.4]"),
    GOOD(12, GET "Host: 1.2.3.4:0\r\n\r\n", "host=1.2.3.4:0 "),
    GOOD(12, GET "Host: a:\r\n\r\n", "host=a: "),
    GOOD(12, GET "Host: \t A-b_c.Example~!$&'()*+,;= \t\r\n\r\n",
         "host=A-b_c.Example~!$&'()*+,;= 1.1"),
    // 13: empty host in a target
    BAD(13, "GET http:// HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(13, "GET https:// HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(13, "GET http:///a HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(13, "GET http://?a HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(13, "GET https://:80/ HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    // 14: CONNECT's port
    BAD(14, "CONNECT u HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(14, "CONNECT u: HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(14, "CONNECT u:0 HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(14, "CONNECT u:65536 HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(14, "CONNECT u:8x HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    BAD(14, "CONNECT :80 HTTP/1.1\r\n" H "\r\n", E_BAD_HOST, 400),
    // 15: names
    BAD(15, GET H "X : y\r\n\r\n", E_BAD_FIELD, 400),
    BAD(15, GET H "X\t: y\r\n\r\n", E_BAD_FIELD, 400),
    BAD(15, GET "Host : h\r\n\r\n", E_BAD_FIELD, 400),
    BAD(15, POST "Transfer-Encoding : chunked\r\n\r\n", E_BAD_FIELD, 400),
    BAD(15, GET H "X(y): z\r\n\r\n", E_BAD_FIELD, 400),
    BAD(15, GET H "X\0: z\r\n\r\n", E_BAD_FIELD, 400),
    BAD(15, GET H "\x0bX: z\r\n\r\n", E_BAD_FIELD, 400),
    BAD(15, GET H "\"X\": z\r\n\r\n", E_BAD_FIELD, 400),
    UPSTREAM(15, OK_11 "X \t: y\r\nContent-Length: 1\r\n\r\n", "|x=y|content-length=1|"),
    UPSTREAM_BAD(15, OK_11 "Content-Length : 1\r\n\r\n"),
    UPSTREAM_BAD(15, OK_11 "Transfer-Encoding\t: chunked\r\n\r\n"),
    UPSTREAM_BAD(15, OK_11 "Connection : close\r\n\r\n"),
    UPSTREAM_BAD(15, OK_11 "X y: z\r\n\r\n"),
    UPSTREAM_BAD(15, OK_11 "X \r\n\r\n"),
    // 16: obs-fold
    BAD(16, GET H "X: a\r\n b\r\n\r\n", E_BAD_FIELD, 400),
    BAD(16, GET H "X: a\r\n\tb\r\n\r\n", E_BAD_FIELD, 400),
    BAD(16, GET H "X:\r\n a\r\n\r\n", E_BAD_FIELD, 400),
    BAD(16, GET H "X: a\r\n \r\n\r\n", E_BAD_FIELD, 400),
    BAD(16, POST "Transfer-Encoding:\r\n chunked\r\n\r\n", E_BAD_FIELD, 400),
    UPSTREAM_BAD(16, OK_11 "X: a\r\n b\r\n\r\n"),
    // 17: controls in a value
    BAD(17, GET H "X: a\0b\r\n\r\n", E_BAD_FIELD, 400),
    BAD(17, GET H "X: \x01\r\n\r\n", E_BAD_FIELD, 400),
    BAD(17, GET H "X: a\x1b[0m\r\n\r\n", E_BAD_FIELD, 400),
    BAD(17, GET H "X: \x7f\r\n\r\n", E_BAD_FIELD, 400),
    GOOD(17, GET H "X: a\tb\r\n\r\n", "|x=a\tb|"),
    UPSTREAM_BAD(17, OK_11 "X: a\0b\r\n\r\n"),
    // 18: order (fields_of_one_name_are_linked has the links)
    GOOD(18, GET H "X: 1\r\nY: 2\r\nx: 3\r\n\r\n", "|host=h|x=1|y=2|x=3|"),
    GOOD(18, GET H "Cookie: c\r\nAccept: a\r\nCookie: b\r\nVia: v\r\nCookie: a\r\n\r\n",
         "|host=h|cookie=c|accept=a|cookie=b|via=v|cookie=a|"),
    GOOD(18, GET "Via: 1\r\n" H "Via: 2, 3\r\n\r\n", "|via=1|host=h|via=2, 3|"),
    UPSTREAM(18, OK_11 "Set-Cookie: a=1\r\nY: 2\r\nSet-Cookie: b=2\r\n\r\n",
             "|set-cookie=a=1|y=2|set-cookie=b=2|"),
    // 19: optional whitespace
    GOOD(19, GET H "X:y\r\nZ: \t z z \t \r\nA:\r\nB: \t\r\n\r\n", "|x=y|z=z z|a=|b=|"),
    GOOD(19, GET H "X: \x85\xa0\r\n\r\n", "|x=\x85\xa0|"),
    GOOD(19, GET H "User-Agent:curl\r\nAccept:\t*/*\r\nCookie:  a\tb \t c\t\r\n\r\n",
         "|user-agent=curl|accept=*/*|cookie=a\tb \t c|"),
    GOOD(19, GET H "Cookie:\r\nAccept: \r\nVia:\t\t\r\nReferer:  \t \r\n\r\n",
         "|cookie=|accept=|via=|referer=|"),
    UPSTREAM(19, OK_11 "Server:a\r\nDate:  b \r\n\r\n", "|server=a|date=b|"),
    GOOD(19,
         GET H "Accept:  a\r\nX-A:   b c\r\nVia: \t d\r\nVia: e\r\n"
               "X-B: behind it are enough bytes for loads by 32\r\n\r\n",
         "|accept=a|x-a=b c|via=d|via=e|x-b=behind it are enough bytes for loads by 32|"),
    BAD(19, GET H "X: \x0b\r\n\r\n", E_BAD_FIELD, 400),
    BAD(19,
        POST "Content-Length: \xa0"
             "1\r\n\r\n",
        E_BAD_FRAMING, 400),
    // 20: names are lower case; '_' is marked
    GOOD(20, GET "HOST: h\r\nX-ABCXYZ09: V\r\n\r\n", "|host=h|x-abcxyz09=V|"),
    GOOD(20, GET H "X_Y: z\r\n_: 1\r\n\r\n", "|x_y=z(underscore)|_=1(underscore)|"),
    GOOD(20, GET H "ACCEPT-encoding: A\r\nX-A-Name-That-Is-Longer-Than-32-Bytes: B\r\n\r\n",
         "|accept-encoding=A|x-a-name-that-is-longer-than-32-bytes=B|"),
    GOOD(20, GET H "X-A-Name-That-Is-Longer-Than-32_Bytes: B\r\nX-Forwarded_For: C\r\n\r\n",
         "|x-a-name-that-is-longer-than-32_bytes=B(underscore)|x-forwarded_for=C(underscore)|"),
    GOOD(20, GET H "!#$%&'*+-.^`|~0Z: 1\r\n\r\n", "|!#$%&'*+-.^`|~0z=1|"),
    GOOD(20, GET H "Content_Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n", "body=none:0"),
    // 21: Content-Length
    GOOD(21, POST "Content-Length: 0\r\n\r\n", "body=length:0"),
    GOOD(21, POST "Content-Length: 0042\r\n\r\n", "body=length:42"),
    GOOD(21, POST "Content-Length: 9223372036854775807\r\n\r\n", "body=length:9223372036854775807"),
    BAD(21, POST "Content-Length: 9223372036854775808\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: 18446744073709551616\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: 18446744073709551621\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: 99999999999999999999999999\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length:\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: +1\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: -1\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: 0x1\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: 1_0\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: 1 0\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: 1.0\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: 1e1\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(21, POST "Content-Length: \"1\"\r\n\r\n", E_BAD_FRAMING, 400),
    UPSTREAM_BAD(21, OK_11 "Content-Length: +1\r\n\r\n"),
    UPSTREAM_BAD(21, OK_11 "Content-Length:\r\n\r\n"),
    // 22: several lengths
    BAD(22, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(22, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(22, POST "Content-Length: 5, 5\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(22, POST "Content-Length: 5,\r\n\r\n", E_BAD_FRAMING, 400),
    UPSTREAM(22, OK_11 "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "body=length:5"),
    UPSTREAM(22, OK_11 "Content-Length: 5, 5\r\nContent-Length: 05\r\n\r\n", "body=length:5"),
    UPSTREAM_BAD(22, OK_11 "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    UPSTREAM_BAD(22, OK_11 "Content-Length: 5, 6\r\n\r\n"),
    UPSTREAM_BAD(22, OK_11 "Content-Length: 5,\r\n\r\n"),
    UPSTREAM_BAD(22, OK_11 "Content-Length: 0\r\nContent-Length: 6\r\n\r\n"),
    // 23: both
    BAD(23, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(23, POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(23, POST "Transfer-Encoding: gzip, chunked\r\nContent-Length: 0\r\n\r\n", E_BAD_FRAMING,
        400),
    UPSTREAM_BAD(23, OK_11 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD(23, POST "Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(23, POST "transfer-encoding: chunked\r\nX: y\r\ncontent-length: 5\r\n\r\n", E_BAD_FRAMING,
        400),
    UPSTREAM_BAD(23, OK_11 "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
    // 24: the last coding
    GOOD(24, POST "Transfer-Encoding: chunked\r\n\r\n", "body=chunked:0"),
    GOOD(24, POST "Transfer-Encoding: \t cHUNKed \t\r\n\r\n", "body=chunked:0"),
    BAD(24, POST "Transfer-Encoding: gzip\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(24, POST "Transfer-Encoding: chunked, gzip\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(24, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n", E_BAD_FRAMING,
        400),
    BAD(24, POST "Transfer-Encoding: xchunked\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(24, POST "Transfer-Encoding: chunked-x\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(24, POST "Transfer-Encoding:\r\n\r\n", E_BAD_FRAMING, 400),
    UPSTREAM(24, OK_11 "Transfer-Encoding: Chunked\r\n\r\n", "body=chunked:0"),
    UPSTREAM_BAD(24, OK_11 "Transfer-Encoding: gzip\r\n\r\n"),
    UPSTREAM_BAD(24, OK_11 "Transfer-Encoding: chunked, gzip\r\n\r\n"),
    // 25: other codings
    BAD(25, POST "Transfer-Encoding: chunked, chunked\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(25, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", E_BAD_FRAMING,
        400),
    BAD(25, POST "Transfer-Encoding: identity\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(25, POST "Transfer-Encoding: identity, chunked\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(25, POST "Transfer-Encoding: chunked;q=1\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(25, POST "Transfer-Encoding: gzip;x, chunked\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(25, POST "Transfer-Encoding: \"chunked\"\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(25, POST "Transfer-Encoding: , chunked\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(25, POST "Transfer-Encoding: chunked,\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(25, POST "Transfer-Encoding: gzip, chunked\r\n\r\n", E_CODING_UNKNOWN, 501),
    BAD(25, POST "Transfer-Encoding: foo\r\nTransfer-Encoding: chunked\r\n\r\n", E_CODING_UNKNOWN,
        501),
    UPSTREAM_BAD(25, OK_11 "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    UPSTREAM_BAD(25, OK_11 "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    // 26: Transfer-Encoding in 1.0
    BAD(26, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(26, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(26, "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
        E_BAD_FRAMING, 400),
    UPSTREAM_BAD(26, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    // 27: neither
    GOOD(27, POST "\r\n", "body=none:0"),
    GOOD(27, "POST / HTTP/1.0\r\n\r\n", "body=none:0"),
    GOOD(27, GET H "\r\n", "body=none:0"),
    UPSTREAM(27, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", "body=until-close:0 flags=|"),
    UPSTREAM(27, OK_11 "\r\n", "body=until-close:0 flags=|"),
    UPSTREAM(27, OK_11 "Content-Length: 0\r\n\r\n", "body=length:0 flags=keep,|"),
    // 28: never a body
    UPSTREAM(28, "HTTP/1.1 204 No Content\r\n\r\n", "204 No Content 1.1 body=none:0 flags=keep,|"),
    UPSTREAM(28, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "body=none:5"),
    UPSTREAM(28, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
             "body=none:5 flags=keep,|"),
    UPSTREAM(28, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "body=none:0"),
    UPSTREAM(28, "HTTP/1.1 100 Continue\r\n\r\n", "100 Continue 1.1 body=none:0 flags=keep,|"),
    UPSTREAM(28, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "body=none:0"),
    TO(HEAD, 28, OK_11 "Content-Length: 5\r\n\r\n", "body=none:5 flags=keep,|"),
    TO(HEAD, 28, OK_11 "Transfer-Encoding: chunked\r\n\r\n", "body=none:0"),
    TO(HEAD, 28, OK_11 "\r\n", "body=none:0 flags=keep,|"),
    TO(CONNECT, 28, OK_11 "Content-Length: 5\r\n\r\n", "body=none:5"),
    TO(CONNECT, 28, "HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\n", "body=length:5"),
    BAD(28, "CONNECT u:80 HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n", E_BAD_FRAMING, 400),
    BAD(28, "CONNECT u:80 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", E_BAD_FRAMING, 400),
    GOOD(28, "CONNECT u:80 HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "body=length:0"),
    // 34: Connection
    GOOD(34, GET H "\r\n", "flags=keep,|"),
    GOOD(34, GET H "Connection: close\r\n\r\n", "flags=|"),
    GOOD(34, GET H "Connection: keep-alive, ClosE\r\n\r\n", "flags=|"),
    GOOD(34, GET H "Connection: a\r\nConnection: close\r\n\r\n", "flags=|"),
    GOOD(34, GET H "Connection: closed\r\n\r\n", "flags=keep,|"),
    GOOD(34, GET H "Connection:\r\n\r\n", "flags=keep,|"),
    GOOD(34, GET H "Connection: , ,x,\r\nX: 1\r\n\r\n", "|x=1(nominated)|"),
    GOOD(34, "GET / HTTP/1.0\r\n\r\n", "flags=|"),
    GOOD(34, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "flags=keep,|"),
    GOOD(34, "GET / HTTP/1.0\r\nConnection: Keep-Alive, close\r\n\r\n", "flags=|"),
    GOOD(34, GET H "X-a: 1\r\nConnection: x-B, X-A\r\nx-b: 2\r\nX-A: 3\r\nx-c: 4\r\n\r\n",
         "|x-a=1(nominated)|connection=x-B, X-A|x-b=2(nominated)|x-a=3(nominated)|x-c=4|"),
    GOOD(34,
         GET H "Connection: Host, Cookie, Authorization, X-Forwarded-Port, Via\r\nCookie: "
               "a\r\nVia: b\r\nX-Forwarded-Port: 1\r\n"
               "Authorization: c\r\n\r\n",
         "|cookie=a|via=b|x-forwarded-port=1|authorization=c|"),
    GOOD(34,
         GET "Connection: host, content-length, content-type, content-encoding, expect, via, "
             "forwarded, x-real-ip\r\n"
             "Connection: authorization, cache-control, cookie, date, origin, range, set-cookie, "
             "vary, x-request-id, early-data\r\n"
             "Connection: max-forwards, X-Forwarded-A\r\n"
             "Host: h\r\nContent-Length: 0\r\nContent-Type: 2\r\nContent-Encoding: 3\r\nVia: "
             "5\r\nForwarded: 6\r\nX-Real-IP: 7\r\n\r\n",
         "|host=h|content-length=0|content-type=2|content-encoding=3|via=5|forwarded=6|x-real-ip="
         "7|"),
    GOOD(34,
         GET H "Connection: cache-control, date, origin, range, set-cookie, vary, x-request-id, "
               "early-data, max-forwards, expect\r\n"
               "Cache-Control: 1\r\nDate: 2\r\nOrigin: 3\r\nRange: 4\r\nSet-Cookie: 5\r\nVary: "
               "6\r\nX-Request-ID: 7\r\nEarly-Data: 8\r\n"
               "Max-Forwards: 9\r\nExpect: 100-continue\r\n\r\n",
         "|cache-control=1|date=2|origin=3|range=4|set-cookie=5|vary=6|x-request-id=7|early-data=8|"
         "max-forwards=9|expect=100-continue|"),
    GOOD(34,
         GET H "Connection: user-agent, te, x-forwarded\r\nUser-Agent: 1\r\nTE: 2\r\nX-Forwarded: "
               "3\r\nX-Forwardee: 4\r\n\r\n",
         "|user-agent=1(nominated)|te=2(nominated)|x-forwarded=3(nominated)|x-forwardee=4|"),
    GOOD(34,
         GET H "Connection: x-a-name-of-exactly-32-bytes-000, x-a-name-of-exactly-33-bytes-0000\r\n"
               "x-a-name-of-exactly-32-bytes-000: 1\r\nx-a-name-of-exactly-33-bytes-0000: "
               "2\r\nx-a-name-of-exactly-33-bytes-0001: 3\r\n\r\n",
         "000=1(nominated)|x-a-name-of-exactly-33-bytes-0000=2(nominated)|x-a-name-of-exactly-33-"
         "bytes-0001=3|"),
    BAD(34, GET H "Connection: a b\r\n\r\n", E_BAD_FIELD, 400),
    BAD(34, GET H "Connection: close;x\r\n\r\n", E_BAD_FIELD, 400),
    BAD(34, GET H "Connection: \"close\"\r\n\r\n", E_BAD_FIELD, 400),
    BAD(34,
        GET H
        "Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\r\n\r\n",
        E_BAD_FIELD, 400),
    UPSTREAM(34, OK_11 "Content-Length: 1\r\nConnection: close, x\r\nX: 1\r\n\r\n",
             "flags=|content-length=1|connection=close, x|x=1(nominated)|"),
    UPSTREAM(34, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n",
             "flags=keep,|"),
    UPSTREAM(34, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", "body=until-close:0 flags=|"),
    UPSTREAM_BAD(34, OK_11 "Connection: a b\r\n\r\n"),
    // 41: Max-Forwards
    GOOD(41, "OPTIONS / HTTP/1.1\r\n" H "Max-Forwards: 3\r\n\r\n", "|max-forwards=3|"),
    GOOD(41, GET H "Max-Forwards: x\r\n\r\n", "|max-forwards=x|"),
    BAD(41, "TRACE / HTTP/1.1\r\n" H "Max-Forwards: x\r\n\r\n", E_BAD_FIELD, 400),
    BAD(41, "OPTIONS / HTTP/1.1\r\n" H "Max-Forwards:\r\n\r\n", E_BAD_FIELD, 400),
    BAD(41, "OPTIONS / HTTP/1.1\r\n" H "Max-Forwards: 1\r\nMax-Forwards: 1\r\n\r\n", E_BAD_FIELD,
        400),
    // 42: path bytes (forwarded unchanged), and what policy asks about them
    GOOD(42, "GET /%41%zz%?%41 HTTP/1.1\r\n" H "\r\n",
         "path=/%41%zz% query=%41 host=h 1.1 body=none:0 flags=keep,escaped,|"),
    GOOD(42, "GET /a/../b HTTP/1.1\r\n" H "\r\n",
         "path=/a/../b host=h 1.1 body=none:0 flags=keep,dots,|"),
    GOOD(42, "GET /a/. HTTP/1.1\r\n" H "\r\n", "flags=keep,dots,|"),
    GOOD(42, "GET /.. HTTP/1.1\r\n" H "\r\n", "flags=keep,dots,|"),
    GOOD(42, "GET /./?a HTTP/1.1\r\n" H "\r\n", "flags=keep,dots,|"),
    GOOD(42, "GET /a/%2e%2E/ HTTP/1.1\r\n" H "\r\n", "flags=keep,escaped,dots,|"),
    GOOD(42, "GET /a/.%2e HTTP/1.1\r\n" H "\r\n", "flags=keep,escaped,dots,|"),
    GOOD(42, "GET /a\\..\\b HTTP/1.1\r\n" H "\r\n", "flags=keep,dots,|"),
    GOOD(42, "GET /a%00b HTTP/1.1\r\n" H "\r\n", "flags=keep,escaped,dots,|"),
    GOOD(42, "GET http://u/a/../b HTTP/1.1\r\n" H "\r\n", "flags=keep,dots,|"),
    GOOD(42, "GET /.../.a/a./..a/a..b/%2e%2e%2e HTTP/1.1\r\n" H "\r\n", "flags=keep,escaped,|"),
    GOOD(42, "GET /%0a%x00%a0%10%01%0 HTTP/1.1\r\n" H "\r\n", "flags=keep,escaped,|"),
    GOOD(42, "GET /abc/%41%42/d/%2 HTTP/1.1\r\n" H "\r\n", "flags=keep,escaped,|"),
    GOOD(42, "GET /a?b/../c%00 HTTP/1.1\r\n" H "\r\n", "flags=keep,|"),
    // 44: Expect
    GOOD(44, POST "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n", "flags=keep,expect,|"),
    GOOD(44, POST "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
         "flags=keep,expect,|"),
    GOOD(44, GET H "Expect: 100-continue\r\n\r\n", "flags=keep,|"),
    GOOD(44, POST "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n", "flags=keep,|"),
    GOOD(44, "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "flags=|"),
    GOOD(44, "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: y\r\n\r\n", "flags=|"),
    BAD(44, POST "Expect: 100-continues\r\n\r\n", E_EXPECTATION, 417),
    BAD(44, POST "Expect: 100\r\n\r\n", E_EXPECTATION, 417),
    BAD(44, POST "Expect:\r\n\r\n", E_EXPECTATION, 417),
    BAD(44, POST "Expect: y 100-continue\r\n\r\n", E_EXPECTATION, 417),
    BAD(44, POST "Expect: 100-continue, 100-continue\r\n\r\n", E_EXPECTATION, 417),
    BAD(44, POST "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n", E_EXPECTATION, 417),
    // 46: Upgrade
    GOOD(46, GET H "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "flags=keep,upgrade,|"),
    GOOD(46, GET H "Connection: Upgrade\r\n\r\n", "flags=keep,|"),
    GOOD(46, GET H "Upgrade: websocket\r\n\r\n", "flags=keep,|"),
    GOOD(46, "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "flags=|"),
    UPSTREAM(46, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n",
             "body=none:0 flags=keep,upgrade,|"),
};

// ---- Feeding

static bool heads_equal(const struct sl_head *a, const struct sl_head *b) {
    struct sl_head x = *a, y = *b;
    x.scanned = y.scanned = 0; // says where a call stopped
    return memcmp(&x, &y, offsetof(struct sl_head, fields)) == 0 &&
           memcmp(x.fields, y.fields, x.field_count * sizeof(x.fields[0])) == 0;
}

struct result {
    int verdict;
    struct sl_head head;
    uint8_t bytes[4096]; // with names in lower case
};

// Bytes to feed: a row's, and perhaps more behind them.
struct feed {
    const struct row *row;
    size_t len;
    uint8_t bytes[4096];
};

static void feed_whole(const struct feed *feed, struct result *result) {
    uint8_t *data = place(feed->bytes, feed->len);
    result->head.scanned = result->head.skipped = 0;
    result->verdict = parse(feed->row->kind, &result->head, data, feed->len);
    memcpy(result->bytes, data, feed->len);
}

// Feeds prefixes that grow by `step`, the first of `first` bytes, moved each time to end before the
// unmapped page.
static void feed_parts(const struct feed *feed, size_t first, size_t step, struct result *result) {
    memcpy(result->bytes, feed->bytes, feed->len);
    result->head.scanned = result->head.skipped = 0;
    for (size_t len = first;; len = sl_min_size(len + step, feed->len)) {
        uint8_t *data = place(result->bytes, len);
        result->verdict = parse(feed->row->kind, &result->head, data, len);
        memcpy(result->bytes, data, len);
        if (result->verdict != 0 || len == feed->len) {
            return;
        }
    }
}

static bool results_equal(const struct feed *feed, const struct result *a, const struct result *b) {
    return a->verdict == b->verdict &&
           (a->verdict != 1 ||
            (heads_equal(&a->head, &b->head) && memcmp(a->bytes, b->bytes, feed->len) == 0));
}

// A refused head closes its connection, always; a good one says what becomes of it in its flags.
static void check_whole(const struct row *row, const struct result *whole) {
    int http = whole->verdict < 0 ? sl_status_info(whole->verdict)->http : 0;
    CHECK_MSG(whole->verdict == row->verdict, "rule %d: verdict %d, expected %d: %s", row->rule,
              whole->verdict, row->verdict, row->data);
    CHECK_MSG(http == row->http, "rule %d: HTTP %d, expected %d: %s", row->rule, http, row->http,
              row->data);
    if (whole->verdict == 1) {
        const char *text = render(row->kind, &whole->head, whole->bytes + whole->head.skipped);
        CHECK_MSG(!row->want || strstr(text, row->want), "rule %d: \"%s\" is not in \"%s\"",
                  row->rule, row->want, text);
        CHECK_MSG(whole->head.skipped + whole->head.len == row->len, "rule %d: len %u", row->rule,
                  whole->head.len);
    }
}

static void check_row(const struct row *row, const char *behind) {
    static struct result whole, parts;
    static struct feed feed;
    feed.row = row;
    feed.len = row->len + strlen(behind);
    memcpy(feed.bytes, row->data, row->len);
    memcpy(feed.bytes + row->len, behind, strlen(behind));
    feed_whole(&feed, &whole);
    check_whole(row, &whole);
    for (size_t cut = 0; cut <= feed.len; cut++) {
        feed_parts(&feed, cut, feed.len, &parts);
        CHECK_MSG(results_equal(&feed, &whole, &parts), "rule %d, cut at %zu: %d: %s", row->rule,
                  cut, parts.verdict, row->data);
    }
    feed_parts(&feed, 0, 1, &parts);
    CHECK_MSG(results_equal(&feed, &whole, &parts), "rule %d, by bytes: %d: %s", row->rule,
              parts.verdict, row->data);
}

TEST_EACH(rows) {
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        check_row(&rows[i], "");
        check_row(&rows[i], "GET /next HTTP/1.1\r\nHost: h\r\nX:: \x01 and so on, long enough "
                            "for every load that is wide\r\n\r\n");
    }
}

TEST(every_rule_is_shown_by_something) {
    int count[SL_COUNT_OF(rules)] = {0};
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        count[rows[i].rule]++;
    }
    CHECK_INT(SL_COUNT_OF(rules), 50);
    for (size_t i = 1; i < SL_COUNT_OF(rules); i++) {
        int tags = rules[i].tags;
        printf("# rule %2zu: %3d rows %s%s%s%s - %s\n", i, count[i], tags & PARSE ? " parse" : "",
               tags & CHUNK ? " parse (http1_chunk_test)" : "", tags & CONN ? " conn (conn_rules_test)" : "",
               tags & LATER ? " later" : "", rules[i].what);
        CHECK_MSG(tags != 0, "rule %zu has no tag", i);
        CHECK_MSG((count[i] > 0) == ((tags & PARSE) != 0), "rule %zu has %d rows", i, count[i]);
        CHECK_MSG((tags == LATER) == (i == 47), "rule %zu is not for later", i);
    }
}

TEST_EACH(every_prefix_of_a_good_head_is_partial) {
    static const char text[] = "\r\nPOST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";
    static struct sl_head head;
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        head.scanned = head.skipped = 0;
        CHECK_INT(parse(REQUEST, &head, place(text, len), len), 0);
    }
}

TEST_EACH(bytes_behind_a_head_are_not_looked_at) {
    static struct sl_head head;
    CHECK_INT(parse_text(REQUEST, &head, "\r\n" GET H "\r\n\x01\x02 next"), 1);
    CHECK_INT(head.skipped, 2);
    CHECK_INT(head.len, strlen(GET H "\r\n"));
}

// ---- A bad byte is a verdict as soon as it is there

static size_t first_verdict(const char *text, int *out_verdict) {
    static struct sl_head head;
    static uint8_t bytes[4096];
    size_t len = strlen(text);
    memcpy(bytes, text, len);
    head.scanned = head.skipped = 0;
    for (size_t n = 1; n <= len; n++) {
        uint8_t *data = place(bytes, n);
        *out_verdict = parse(REQUEST, &head, data, n);
        memcpy(bytes, data, n);
        if (*out_verdict != 0) {
            return n;
        }
    }
    return 0;
}

TEST_EACH(a_bad_byte_is_a_verdict_at_once) {
    static const struct {
        const char *good, *bad;
        int verdict;
    } cases[] = {
        {"", "\x16\x03\x01", SL_E_BAD_LINE},
        {"", " ", SL_E_BAD_LINE},
        {"\r", "x", SL_E_BAD_LINE},
        {"GET", "\r", SL_E_BAD_LINE},
        {"GET ", " ", SL_E_BAD_LINE},
        {"GET /a", "\x80", SL_E_BAD_LINE},
        {"GET / ", "h", SL_E_BAD_LINE},
        {"GET / HTTP/", "x", SL_E_BAD_LINE},
        {"GET / HTTP/2.0", "\r", SL_E_BAD_VERSION},
        {"GET / HTTP/1.1\r", "x", SL_E_BAD_LINE},
        {"GET x HTTP/1.1\r", "\n", SL_E_BAD_LINE},
        {GET, " ", SL_E_BAD_FIELD},
        {GET "Host", " ", SL_E_BAD_FIELD},
        {GET "Host: a", "\n", SL_E_BAD_FIELD},
        {GET H "X: abcdefghijk", "\x7f", SL_E_BAD_FIELD},
        {GET H "\r", "x", SL_E_BAD_FIELD},
    };
    for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
        char text[256];
        snprintf(text, sizeof(text), "%s%stail", cases[i].good, cases[i].bad);
        int verdict = 0;
        CHECK_INT(first_verdict(text, &verdict), strlen(cases[i].good) + 1);
        CHECK_INT(verdict, cases[i].verdict);
    }
}

// ---- Each byte at each place

static bool is_tchar(int c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}
static bool is_text(int c) { return c == '\t' || (c >= 0x20 && c != 0x7f); }
static bool is_target(int c) { return c > 0x20 && c < 0x7f && c != '#'; }
static bool is_method(int c) {
    return is_tchar(c) || c == ' ';
} // a space ends it, and the target is then bad

static int verdict_with_byte(const char *before, size_t fill_before, int byte, size_t fill_behind,
                             const char *behind) {
    static struct sl_head head;
    static uint8_t bytes[512];
    size_t len = strlen(before);
    memcpy(bytes, before, len);
    memset(bytes + len, 'a', fill_before);
    len += fill_before;
    bytes[len++] = (uint8_t)byte;
    memset(bytes + len, 'a', fill_behind);
    len += fill_behind;
    memcpy(bytes + len, behind, strlen(behind));
    len += strlen(behind);
    head.scanned = head.skipped = 0;
    return parse(REQUEST, &head, place(bytes, len), len);
}

// The scans read 8, 32 or 64 bytes at once: so every byte at every place in what one of them reads,
// and with little and with much behind it.
static const size_t distances[] = {0, 1, 9, 40};

TEST_EACH(every_byte_in_a_value) {
    for (int byte = 0; byte < 256; byte++) {
        for (size_t before = 0; before < 70; before++) {
            for (size_t i = 0; i < SL_COUNT_OF(distances); i++) {
                int verdict = verdict_with_byte(GET H "X:", before, byte, distances[i], "\r\n\r\n");
                CHECK_MSG(verdict == (is_text(byte) ? 1 : SL_E_BAD_FIELD),
                          "byte %d at %zu, before %zu: %d", byte, before, distances[i], verdict);
            }
        }
    }
}

TEST_EACH(every_byte_in_a_target) {
    for (int byte = 0; byte < 256; byte++) {
        for (size_t before = 0; before < 70; before++) {
            for (size_t i = 0; i < SL_COUNT_OF(distances); i++) {
                int verdict = verdict_with_byte("GET /", before, byte, distances[i],
                                                " HTTP/1.1\r\n" H "\r\n");
                CHECK_MSG(verdict == (is_target(byte) ? 1 : SL_E_BAD_LINE),
                          "byte %d at %zu, before %zu: %d", byte, before, distances[i], verdict);
            }
        }
    }
}

TEST_EACH(every_byte_in_a_name) {
    for (int byte = 0; byte < 256; byte++) {
        for (size_t before = 0; before < 36; before++) {
            for (size_t i = 0; i < SL_COUNT_OF(distances); i++) {
                int verdict =
                    verdict_with_byte(GET H "n", before, byte, distances[i],
                                      ": v\r\nUser-Agent: long enough to load behind it\r\n\r\n");
                CHECK_MSG(verdict == (is_tchar(byte) || byte == ':' ? 1 : SL_E_BAD_FIELD),
                          "byte %d at %zu, before %zu: %d", byte, before, distances[i], verdict);
            }
        }
    }
}

// A known name with one byte changed is not that name, unless the change is its case.
TEST_EACH(every_byte_in_a_known_name) {
    static struct sl_head head;
    static const char name[] = "accept-language";
    for (size_t at = 0; at < sizeof(name) - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[128];
            int n = snprintf(text, sizeof(text), GET H "%s: v\r\nUser-Agent: long enough\r\n\r\n",
                             name);
            text[strlen(GET H) + at] = (char)byte;
            head.scanned = head.skipped = 0;
            int verdict = parse(REQUEST, &head, place(text, (size_t)n), (size_t)n);
            bool good = is_tchar(byte) || (byte == ':' && at > 0);
            CHECK_MSG(verdict == (good ? 1 : SL_E_BAD_FIELD), "byte %d at %zu: %d", byte, at,
                      verdict);
            bool same = byte == name[at] || (name[at] >= 'a' && byte == name[at] - 32);
            CHECK_MSG(!good || (head.first[SL_H_ACCEPT_LANGUAGE] != 0) == same,
                      "byte %d at %zu: found %d", byte, at, head.first[SL_H_ACCEPT_LANGUAGE]);
        }
    }
}

TEST_EACH(every_byte_in_names_methods_and_hosts) {
    for (int byte = 0; byte < 256; byte++) {
        int name = verdict_with_byte(GET H, 1, byte, 1, ": v\r\n\r\n");
        CHECK_MSG(name == (is_tchar(byte) || byte == ':' ? 1 : SL_E_BAD_FIELD),
                  "name with byte %d: %d", byte, name);
        int method = verdict_with_byte("", 1, byte, 1, " / HTTP/1.1\r\n" H "\r\n");
        CHECK_MSG((method == 1) == is_tchar(byte), "method with byte %d: %d", byte, method);
        CHECK_MSG(is_method(byte) || method == SL_E_BAD_LINE, "method with byte %d: %d", byte,
                  method);
        int host = verdict_with_byte(GET "Host: ", 1, byte, 1, "\r\n\r\n");
        bool in_host =
            is_tchar(byte) ? !strchr("#%^`|", byte) : byte && strchr("(),;=", byte) != NULL;
        CHECK_MSG((host == 1) == in_host, "host with byte %d: %d", byte, host);
    }
}

// ---- Limits

// A request whose line has `line` bytes and whose head has `head_len`.
static size_t make_request(uint8_t *out, size_t line, size_t head_len) {
    size_t len = (size_t)sprintf((char *)out, "GET /");
    memset(out + len, 'a', line - len - 9);
    len = line - 9;
    len += (size_t)sprintf((char *)out + len, " HTTP/1.1\r\n" H "X: ");
    while (len + 4 < head_len) {
        out[len++] = 'v';
    }
    memcpy(out + len, "\r\n\r\n", 4);
    return len + 4;
}

static int limit_verdict(const uint8_t *bytes, size_t len, const struct sl_head_limits *with) {
    static struct sl_head head, split_head;
    static uint8_t copy[8192];
    head.scanned = head.skipped = 0;
    int verdict = parse_with(REQUEST, &head, place(bytes, len), len, with);
    for (size_t cut = 0; cut <= len; cut++) {
        memcpy(copy, bytes, len);
        split_head.scanned = split_head.skipped = 0;
        uint8_t *data = place(copy, cut);
        int split = parse_with(REQUEST, &split_head, data, cut, with);
        if (split == 0) {
            memcpy(copy, data, cut); // names are in lower case now
            split = parse_with(REQUEST, &split_head, place(copy, len), len, with);
        }
        CHECK_MSG(split == verdict, "cut at %zu: %d, whole %d", cut, split, verdict);
    }
    return verdict;
}

TEST_EACH(limits_are_exact) {
    static uint8_t bytes[8192];
    size_t len = make_request(bytes, LIMITS_LINE, 512);
    CHECK_INT(limit_verdict(bytes, len, &limits), 1);
    len = make_request(bytes, LIMITS_LINE + 1, 512);
    CHECK_INT(limit_verdict(bytes, len, &limits), SL_E_TARGET_TOO_LONG);
    len = make_request(bytes, 64, LIMITS_HEAD);
    CHECK_INT(len, LIMITS_HEAD);
    CHECK_INT(limit_verdict(bytes, len, &limits), 1);
    len = make_request(bytes, 64, LIMITS_HEAD + 1);
    CHECK_INT(limit_verdict(bytes, len, &limits), SL_E_HEAD_TOO_LARGE);
    CHECK_INT(sl_status_info(SL_E_TARGET_TOO_LONG)->http, 414);
    CHECK_INT(sl_status_info(SL_E_HEAD_TOO_LARGE)->http, 431);
}

TEST_EACH(a_partial_head_over_a_limit_is_a_verdict) {
    static uint8_t bytes[8192];
    static struct sl_head head;
    make_request(bytes, 1024, 2048);
    head.scanned = head.skipped = 0;
    CHECK_INT(parse(REQUEST, &head, place(bytes, LIMITS_LINE - 9), LIMITS_LINE - 9), 0);
    CHECK_INT(parse(REQUEST, &head, place(bytes, LIMITS_LINE - 8), LIMITS_LINE - 8),
              SL_E_TARGET_TOO_LONG);
    make_request(bytes, 64, 4096);
    head.scanned = head.skipped = 0;
    CHECK_INT(parse(REQUEST, &head, place(bytes, LIMITS_HEAD - 1), LIMITS_HEAD - 1), 0);
    CHECK_INT(parse(REQUEST, &head, place(bytes, LIMITS_HEAD), LIMITS_HEAD), SL_E_HEAD_TOO_LARGE);
}

TEST_EACH(a_status_line_is_limited) {
    static struct sl_head head;
    char text[1024];
    for (int extra = 0; extra <= 1; extra++) {
        int n = snprintf(text, sizeof(text), "HTTP/1.1 200 %0*d\r\n\r\n",
                         (int)LIMITS_LINE - 13 + extra, 0);
        head.scanned = head.skipped = 0;
        CHECK_INT(parse(RESPONSE, &head, place(text, (size_t)n), (size_t)n),
                  extra ? SL_E_UPSTREAM_BAD : 1);
    }
}

TEST_EACH(a_line_longer_than_a_head_is_a_long_line) {
    static const struct sl_head_limits small_head = {100, 8192, 16};
    static uint8_t bytes[8192];
    size_t len = make_request(bytes, 200, 512);
    CHECK_INT(limit_verdict(bytes, len, &small_head), SL_E_TARGET_TOO_LONG);
}

TEST_EACH(limits_are_bounded_by_the_head_table) {
    static const struct sl_head_limits wild = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
    static uint8_t bytes[8192];
    size_t len = (size_t)sprintf((char *)bytes, GET H);
    for (int i = 0; i < SL_FIELDS_MAX + 8; i++) {
        len += (size_t)sprintf((char *)bytes + len, "X: y\r\n");
    }
    static struct sl_head head;
    head.scanned = head.skipped = 0;
    CHECK_INT(parse_with(REQUEST, &head, place(bytes, len), len, &wild), SL_E_TOO_MANY_FIELDS);
    static uint8_t large[65536];
    memset(large, 'a', sizeof(large));
    memcpy(large, GET "X: ", strlen(GET "X: "));
    head.scanned = head.skipped = 0;
    CHECK_INT(parse_with(REQUEST, &head, place(large, sizeof(large)), sizeof(large), &wild),
              SL_E_HEAD_TOO_LARGE);
}

TEST_EACH(too_many_fields) {
    static uint8_t bytes[4096];
    for (uint32_t count = LIMITS_FIELDS; count <= LIMITS_FIELDS + 8; count++) {
        size_t len = (size_t)sprintf((char *)bytes, GET H);
        for (uint32_t i = 1; i < count; i++) {
            len += (size_t)sprintf((char *)bytes + len, "X: y\r\n");
        }
        len += (size_t)sprintf((char *)bytes + len, "\r\n");
        CHECK_INT(limit_verdict(bytes, len, &limits),
                  count > LIMITS_FIELDS ? SL_E_TOO_MANY_FIELDS : 1);
    }
}

TEST_EACH(a_host_has_at_most_255_bytes) {
    static const struct sl_head_limits wide = {16384, 8192, 16};
    static struct sl_head head;
    char text[600];
    for (int len = 255; len <= 256; len++) {
        int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %0*d:80\r\n\r\n", len, 0);
        head.scanned = head.skipped = 0;
        CHECK_INT(parse_with(REQUEST, &head, place(text, (size_t)n), (size_t)n, &wide),
                  len == 255 ? 1 : SL_E_BAD_HOST);
    }
}

// ---- The head table

TEST_EACH(fields_of_one_name_are_linked) {
    static struct sl_head head;
    CHECK_INT(parse_text(
                  REQUEST, &head,
                  GET H "Cookie: a\r\nAccept: b\r\ncookie: c\r\nX: d\r\nX: e\r\nCOOKIE: f\r\n\r\n"),
              1);
    CHECK_INT(head.field_count, 7);
    CHECK_INT(head.first[SL_H_COOKIE], 2);
    CHECK_INT(head.fields[1].next_same, 4);
    CHECK_INT(head.fields[3].next_same, 7);
    CHECK_INT(head.fields[6].next_same, 0);
    CHECK_INT(head.first[SL_H_ACCEPT], 3);
    CHECK_INT(head.fields[2].next_same, 0);
    CHECK_INT(head.first[SL_H_OTHER], 0);
    CHECK_INT(head.fields[4].next_same, 0); // names without a number are not linked
    CHECK(sl_head_field(&head, SL_H_COOKIE) == &head.fields[1]);
    CHECK(sl_head_field(&head, SL_H_ORIGIN) == NULL);
}

TEST_EACH(a_used_head_is_as_good_as_a_new_one) {
    static struct sl_head used, fresh;
    memset(&used, 0xaa, sizeof(used));
    CHECK_INT(parse_text(REQUEST, &used,
                         "POST http://u/%41/../x?y HTTP/1.1\r\n" H
                         "Content-Length: 7\r\nCookie: a\r\nCookie: b\r\n\r\n"),
              1);
    CHECK_INT(parse_text(REQUEST, &used, GET H "\r\n"), 1);
    CHECK_INT(parse_text(REQUEST, &fresh, GET H "\r\n"), 1);
    CHECK(heads_equal(&used, &fresh));
}

TEST_EACH(an_offset_of_an_absent_path_is_where_it_would_be) {
    static struct sl_head head;
    CHECK_INT(parse_text(REQUEST, &head, "GET http://u?q HTTP/1.1\r\n" H "\r\n"), 1);
    CHECK_INT(head.path_off, 12);
    CHECK_INT(head.path_len, 0);
    CHECK_INT(head.query_off, 13);
    CHECK_INT(parse_text(REQUEST, &head, "GET http://u HTTP/1.1\r\n" H "\r\n"), 1);
    CHECK_INT(head.path_off, 12);
    CHECK_INT(head.query_off, 0);
}

// The name, and every name that differs in one byte.
static void check_name(const char *name, size_t len, enum sl_header id) {
    uint8_t text[32];
    memcpy(text, name, len);
    CHECK_INT(sl_header_id(text, len), id);
    CHECK_INT(sl_header_id(text, len - 1), SL_H_OTHER);
    text[len] = 'x';
    CHECK_INT(sl_header_id(text, len + 1), SL_H_OTHER);
    for (size_t at = 0; at < len; at++) {
        text[at] ^= 0x20;
        CHECK_INT(sl_header_id(text, len), SL_H_OTHER);
        text[at] ^= 0x20;
    }
}

TEST(known_names) {
#define CHECK_NAME(name, value, text) check_name(text, sizeof(text) - 1, SL_H_##name);
    SL_HEADER_MAP(CHECK_NAME)
#undef CHECK_NAME
    CHECK_INT(sl_header_id((const uint8_t *)"", 0), SL_H_OTHER);
}

TEST(known_methods) {
#define CHECK_METHOD(name, value)                                                                  \
    CHECK_INT(sl_method_id((const uint8_t *)#name, sizeof(#name) - 1), SL_METHOD_##name);          \
    CHECK_INT(sl_method_id((const uint8_t *)#name, sizeof(#name) - 2), SL_METHOD_OTHER);           \
    CHECK_STR(sl_method_name(SL_METHOD_##name), #name);
    SL_METHOD_MAP(CHECK_METHOD)
#undef CHECK_METHOD
    CHECK_INT(sl_method_id((const uint8_t *)"get", 3), SL_METHOD_OTHER);
    CHECK_INT(sl_method_id((const uint8_t *)"GOT", 3), SL_METHOD_OTHER);
    CHECK_INT(sl_method_id((const uint8_t *)"PUNT", 4), SL_METHOD_OTHER);
    CHECK_STR(sl_method_name(SL_METHOD_OTHER), "");
}

TEST(hop_by_hop_names) {
    for (int id = 0; id < SL_H_COUNT; id++) {
        bool hop = id == SL_H_CONNECTION || id == SL_H_KEEP_ALIVE || id == SL_H_PROXY_CONNECTION ||
                   id == SL_H_TE || id == SL_H_TRAILER || id == SL_H_TRANSFER_ENCODING ||
                   id == SL_H_UPGRADE;
        CHECK_INT(sl_header_is_hop_by_hop((enum sl_header)id), hop);
    }
}

// ---- Lines from a handler or a plan

TEST(check_fields) {
    static const struct {
        const char *text;
        int verdict;
        bool has_date;
    } cases[] = {
        {"", SL_OK, false},
        {"content-type: text/plain\r\n", SL_OK, false},
        {"X-A: b\r\nDATE: x\r\nset-cookie: a=1\r\n", SL_OK, true},
        {"a:\r\n", SL_OK, false},
        {"a:b\tc \xff\r\n", SL_OK, false},
        {"Content-Length: 1\r\n", SL_E_BAD_FIELD, false},
        {"content_length: 1\r\n", SL_E_BAD_FIELD, false},
        {"Transfer-Encoding: chunked\r\n", SL_E_BAD_FIELD, false},
        {"transfer_encoding: chunked\r\n", SL_E_BAD_FIELD, false},
        {"connection: close\r\n", SL_E_BAD_FIELD, false},
        {"keep-alive: 1\r\n", SL_E_BAD_FIELD, false},
        {"proxy-connection: 1\r\n", SL_E_BAD_FIELD, false},
        {"te: 1\r\n", SL_E_BAD_FIELD, false},
        {"a: b\r\ntrailer: 1\r\n", SL_E_BAD_FIELD, false},
        {"upgrade: 1\r\n", SL_E_BAD_FIELD, false},
        {"a: b", SL_E_BAD_FIELD, false},
        {"a: b\r", SL_E_BAD_FIELD, false},
        {"a: b\n", SL_E_BAD_FIELD, false},
        {"a: b\r\r\n", SL_E_BAD_FIELD, false},
        {"a: b\r\n\r\n", SL_E_BAD_FIELD, false},
        {"a: b\r\n c\r\n", SL_E_BAD_FIELD, false},
        {"a : b\r\n", SL_E_BAD_FIELD, false},
        {": b\r\n", SL_E_BAD_FIELD, false},
        {"a\r\n", SL_E_BAD_FIELD, false},
        {"a", SL_E_BAD_FIELD, false},
        {"a: \x01\r\n", SL_E_BAD_FIELD, false},
        {"a: b\x01\n", SL_E_BAD_FIELD, false},
        {"a: b\rx", SL_E_BAD_FIELD, false},
    };
    for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
        bool has_date = true;
        size_t len = strlen(cases[i].text);
        CHECK_MSG(sl_http1_check_fields(place(cases[i].text, len), len, &has_date) ==
                      cases[i].verdict,
                  "%s", cases[i].text);
        CHECK_MSG(cases[i].verdict != SL_OK || has_date == cases[i].has_date, "%s", cases[i].text);
    }
    bool has_date;
    CHECK_INT(sl_http1_check_fields((const uint8_t *)"a: b\0c\r\n", 8, &has_date), SL_E_BAD_FIELD);
}
