// The rules of docs/internals/http.md that a connection keeps: rows of scripted peers for each, on every kernel. What an upstream gets and what a
// client gets is told byte by byte. The last test prints how many rows each rule had where, and fails for one that had none.

#include <openssl/ssl.h>

#include "certificates.h"
#include "row.h"
#include "rules.h"
#include "upstream.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define WITH(fields) "GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define POST(fields) "POST / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define EVIL "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

// What an upstream gets: the fields that went on, and ours.
#define OURS(host) "via: 1.1 sluice\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-host: " host "\r\nx-forwarded-proto: http\r\n"
#define GETS(path, fields) IS("GET " path " HTTP/1.1\r\nhost: a\r\n" fields OURS("a") "\r\n")
#define POSTED(fields, ours) IS("POST / HTTP/1.1\r\nhost: a\r\n" fields OURS("a") ours "\r\n")
// What a client gets.
#define GOT(line, fields, body) IS("HTTP/1.1 " line "\r\n" fields "via: 1.1 sluice\r\ndate: ~\r\n\r\n" body)

#define RESET_EARLY "The upstream closed the connection before its answer.\n"

static const struct rule_row {
    int rule;
    struct row row;
} rows[] = {
    {11, {"the target's authority is the host", {{SEND("GET http://b.example:81/p HTTP/1.1\r\nHost: a\r\n\r\n"), ANSWER(200, "ok")}},
          {{IS("GET /p HTTP/1.1\r\nhost: b.example:81\r\n" OURS("b.example:81") "\r\n"), SEND(OK)}}, 1, 1, {{0}}}},
    {11, {"a target without a path", {{SEND("GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n"), ANSWER(200, "ok")}},
          {{IS("GET /?q HTTP/1.1\r\nhost: b\r\n" OURS("b") "\r\n"), SEND(OK)}}, 1, 1, {{0}}}},

    {18, {"lines of one name keep their order", {{SEND(WITH("X-A: 1\r\nX-B: 2\r\nx-a: 3\r\n")), GOT("200 OK", "set-cookie: b\r\nset-cookie: a\r\ncontent-length: 0\r\n", "")}},
          {{GETS("/", "x-a: 1\r\nx-b: 2\r\nx-a: 3\r\n"), SEND("HTTP/1.1 200 OK\r\nSet-Cookie: b\r\nSet-Cookie: a\r\nContent-Length: 0\r\n\r\n")}}, 1, 1, {{0}}}},

    {20, {"names in lower case, none with '_'", {{SEND(WITH("X-UPPER: V\r\nX_under: w\r\nContent_Length: 5\r\n")), ANSWER(200, "ok")}},
          {{GETS("/", "x-upper: V\r\n"), SEND(OK)}}, 1, 1, {{0}}}},
    {20, {"nor an answer's alias of a framing field", {{SEND(GET("/")), GOT("200 OK", "content-length: 2\r\n", "ok")}},
          {{GETS("/", ""), SEND("HTTP/1.1 200 OK\r\nTransfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nok")}}, 1, 1, {{0}}}},

    {28, {"HEAD, 204 and 304 have no body", {{SEND("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), GOT("200 OK", "content-length: 9\r\n", ""), SEND(GET("/")), GOT("204 No Content", "", ""),
                                              SEND(GET("/")), GOT("304 Not Modified", "content-length: 9\r\n", ""), SEND(GET("/")), ANSWER(200, "ok")}},
          {{REQUEST, SEND("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), REQUEST, SEND("HTTP/1.1 204 No Content\r\n\r\n"), REQUEST,
            SEND("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), REQUEST, SEND(OK)}}, 1, 4, {C(upstream_reuses, 3)}}},
    {28, {"nor framing, where there may be none", {{SEND(GET("/")), GOT("204 No Content", "", ""), SEND(GET("/")), IS("HTTP/1.1 103 Early Hints\r\nvia: 1.1 sluice\r\n\r\n"), ANSWER(200, "ok")}},
          {{REQUEST, SEND("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"), REQUEST, SEND("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" OK)}}, 1, 2, {{0}}}},

    {29, {"a request's body is cut", {{SEND(POST("Content-Length: 9\r\n") "half"), AWAIT(1), FIN, EOF_}}, {{HEAD, BYTES(4), STAGE(1), ENDED}}, 1, 1,
          {R(CLIENT_CLOSED, 1), C(upstream_idle, 0)}}},
    {29, {"a request's chunks are cut", {{SEND(POST("Transfer-Encoding: chunked\r\n") "9\r\nhalf"), AWAIT(1), FIN, EOF_}}, {{HEAD, STAGE(1), ENDED}}, 1, 1,
          {R(CLIENT_CLOSED, 1), C(upstream_idle, 0)}}},
    {29, {"an answer's body is cut", {{SEND(GET("/")), BROKEN(200, "half")}}, {{REQUEST, SEND("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), CLOSE}}, 1, 1,
          {R(UPSTREAM_CUT, 1), C(upstream_idle, 0)}}},

    {34, {"hop by hop", {{SEND(WITH("Connection: x-mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: timeout=9\r\nProxy-Connection: close\r\nTE: trailers\r\nTrailer: x\r\nX-Not: 1\r\n")),
                          GOT("200 OK", "x-not: 2\r\ncontent-length: 0\r\n", "")}},
          {{GETS("/", "x-not: 1\r\n"), SEND("HTTP/1.1 200 OK\r\nConnection: x-its\r\nX-Its: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: x\r\nX-Not: 2\r\nContent-Length: 0\r\n\r\n")}},
          1, 1, {{0}}}},
    {34, {"no client lists away what an upstream must see", {{SEND(WITH("Connection: authorization, host, cookie\r\nAuthorization: x\r\nCookie: y\r\n")), ANSWER(200, "ok")}},
          {{GETS("/", "authorization: x\r\ncookie: y\r\n"), SEND(OK)}}, 1, 1, {{0}}}},

    {35, {"a little is read on", {{SEND("POST /native HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"), ANSWER(200, "native"), SEND("-half"), SEND(GET("/native")), ANSWER(200, "native")}},
          {{{0}}}, 0, 0, {C(requests, 2), C(bad_requests, 0)}}},
    {35, {"much is not", {{SEND("POST /native HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\nhalf"),
                           IS("HTTP/1.1 200 OK\r\ncontent-length: 6\r\ndate: ~\r\nconnection: close\r\n\r\nnative"), EOF_}}, {{{0}}}, 0, 0, {C(requests, 1)}}},

    {36, {"nothing behind a request that says close", {{SEND("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/x")), ANSWER(200, "ok"), EOF_}},
          {{GETS("/", ""), SEND(OK), QUIET(5)}}, 1, 1, {C(requests, 1)}}},
    {36, {"nothing on a connection whose answer said close", {{SEND(GET("/")), ANSWER(200, "ok"), SEND(GET("/")), ANSWER(200, "ok")}},
          {{REQUEST, SEND("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), EOF_}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_reuses, 0)}}},
    {36, {"the answer to a half-closed connection", {{SEND(GET("/")), FIN, TURNS(3), ANSWER(200, "ok"), EOF_}}, {{REQUEST, TURNS(6), SEND(OK)}}, 1, 1, {{0}}}},
    {36, {"after a refusal the rest is drained", {{SEND("x\r\n"), ANSWER(400, "The request line is malformed.\n"), EOF_, SEND(GET("/")), TURNS(4), CONNS(1), LATER(300), CONNS(0)}},
          {{{0}}}, 0, 0, {R(BAD_LINE, 1), C(requests, 0)}}},

    {37, {"in order, and one after the other upstream", {{SEND(GET("/1") GET("/native") GET("/3")), ANSWER(200, "1"), ANSWER(200, "native"), ANSWER(200, "ok")}},
          {{GETS("/1", ""), QUIET(6), SEND("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"), GETS("/3", ""), SEND(OK)}}, 1, 2, {C(requests, 3), C(upstream_reuses, 1)}}},

    {38, {"an answer while it is pooled", {{SEND(GET("/")), ANSWER(200, "ok"), STAGE(1), TURNS(8), SEND(GET("/")), ANSWER(200, "ok")}},
          {{REQUEST, SEND(OK), AWAIT(1), SEND(EVIL), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_discards, 1), C(upstream_reuses, 0)}}},
    {38, {"an answer behind the answer", {{SEND(GET("/")), ANSWER(200, "ok"), TURNS(8), SEND(GET("/")), ANSWER(200, "ok")}},
          {{REQUEST, SEND(OK EVIL), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_reuses, 0)}}},

    {39, {"a GET goes once more", {{SEND(GET("/")), ANSWER(200, "ok"), SEND(GET("/")), ANSWER(200, "ok")}},
          {{REQUEST, SEND(OK), REQUEST, CLOSE}, {REQUEST, SEND(OK)}}, 2, 3, {C(upstream_retries, 1)}}},
    {39, {"a POST does not", {{SEND(GET("/")), ANSWER(200, "ok"), SEND(POST("Content-Length: 0\r\n")), ANSWER(502, RESET_EARLY)}},
          {{REQUEST, SEND(OK), REQUEST, CLOSE}}, 1, 2, {C(upstream_retries, 0), R(UPSTREAM_RESET, 1)}}},
    {39, {"nor a GET after a byte of its answer", {{SEND(GET("/")), ANSWER(200, "ok"), SEND(GET("/")), ANSWER(502, RESET_EARLY)}},
          {{REQUEST, SEND(OK), REQUEST, SEND("H"), TURNS(3), CLOSE}}, 1, 2, {C(upstream_retries, 0), R(UPSTREAM_RESET, 1)}}},
    {39, {"a connection whose request was given up is not used again", {{SEND(GET("/")), AWAIT(1), RESET}, {AWAIT(1), CONNS(1), SEND(GET("/")), ANSWER(200, "ok")}},
          {{REQUEST, STAGE(1), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_aborts, 1), C(upstream_reuses, 0)}}},

    {40, {"Via is appended to", {{SEND(WITH("Via: 1.0 x\r\nVia: 1.1 y\r\n")), IS("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 1.1 z, 1.1 sluice\r\ndate: ~\r\n\r\nok")}},
          {{IS("GET / HTTP/1.1\r\nhost: a\r\nvia: 1.0 x, 1.1 y, 1.1 sluice\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-host: a\r\nx-forwarded-proto: http\r\n\r\n"),
            SEND("HTTP/1.1 200 OK\r\nVia: 1.1 z\r\nContent-Length: 2\r\n\r\nok")}}, 1, 1, {{0}}}},
    {40, {"a loop is refused", {{SEND(WITH("Via: 1.1 x, 1.1 Sluice\r\n")), ANSWER(508, "The request came through this gateway before.\n")}}, {{{0}}}, 0, 0, {R(LOOP, 1)}}},

    {41, {"one less", {{SEND("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n"), ANSWER(200, "ok")}},
          {{IS("OPTIONS / HTTP/1.1\r\nhost: a\r\nmax-forwards: 4\r\n" OURS("a") "\r\n"), SEND(OK)}}, 1, 1, {{0}}}},
    {41, {"0 is for us", {{SEND("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 00\r\n\r\n"), ANSWER(200, "")}}, {{{0}}}, 0, 0, {{0}}}},
    {41, {"TRACE goes nowhere", {{SEND("TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n"), ANSWER(501, "This method is not implemented.\n"), EOF_}}, {{{0}}}, 0, 0,
          {R(METHOD_UNKNOWN, 1)}}},
    {41, {"another method has it as it came", {{SEND(WITH("Max-Forwards: 0\r\n")), ANSWER(200, "ok")}}, {{GETS("/", "max-forwards: 0\r\n"), SEND(OK)}}, 1, 1, {{0}}}},

    {42, {"path and query bytes", {{SEND(GET("/a%2Fb//%7e;x=1/%C3%A9?q=%20&&=?/")), ANSWER(200, "ok")}}, {{GETS("/a%2Fb//%7e;x=1/%C3%A9?q=%20&&=?/", ""), SEND(OK)}}, 1, 1, {{0}}}},

    {43, {"no-transform: as it came, both ways",
          {{SEND(POST("Cache-Control: no-transform\r\nContent-Type: text/plain\r\nAccept-Encoding: gzip\r\nContent-Length: 4\r\n") "a\r\n\xff"),
            GOT("200 OK", "cache-control: no-transform\r\ncontent-encoding: x\r\ncontent-type: y\r\ncontent-length: 4\r\n", "b\r\n\xfe")}},
          {{POSTED("cache-control: no-transform\r\ncontent-type: text/plain\r\naccept-encoding: gzip\r\ncontent-length: 4\r\n", ""), BYTES(4),
            SEND("HTTP/1.1 200 OK\r\nCache-Control: no-transform\r\nContent-Encoding: x\r\nContent-Type: y\r\nContent-Length: 4\r\n\r\nb\r\n\xfe")}}, 1, 1, {{0}}}},

    {44, {"the upstream's 100 is the client's", {{SEND(POST("Expect: 100-continue\r\nContent-Length: 4\r\n")), IS("HTTP/1.1 100 Continue\r\n\r\n"), SEND("body"), ANSWER(200, "ok")}},
          {{POSTED("content-length: 4\r\n", "expect: 100-continue\r\n"), QUIET(4), SEND("HTTP/1.1 100 Continue\r\n\r\n"), BYTES(4), SEND(OK)}}, 1, 1, {{0}}}},
    {44, {"of HTTP/1.0 it is ignored", {{SEND("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"), TURNS(4), SEND("body"), ANSWER(200, "ok"), EOF_}},
          {{HEAD, BYTES(4), SEND(OK)}}, 1, 1, {{0}}}},
    {44, {"a final answer first: the body may come or not", {{SEND(POST("Expect: 100-continue\r\nContent-Length: 4\r\n")), IS("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nvia: 1.1 sluice\r\ndate: ~\r\nconnection: close\r\n\r\nno"), EOF_}},
          {{POSTED("content-length: 4\r\n", "expect: 100-continue\r\n"), SEND("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"), ENDED}}, 1, 1, {C(upstream_idle, 0)}}},
    {44, {"any other", {{SEND(POST("Expect: x\r\nContent-Length: 4\r\n")), ANSWER(417, "This expectation cannot be met.\n"), EOF_}}, {{{0}}}, 0, 0, {R(EXPECTATION, 1)}}},

    {45, {"103 goes on", {{SEND(GET("/")), IS("HTTP/1.1 103 Early Hints\r\nlink: <a>\r\nvia: 1.1 sluice\r\n\r\n"), ANSWER(200, "ok")}},
          {{REQUEST, SEND("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" OK)}}, 1, 1, {{0}}}},
    {45, {"100 that nobody waits for does not", {{SEND(GET("/")), GOT("200 OK", "content-length: 2\r\n", "ok")}}, {{REQUEST, SEND("HTTP/1.1 100 Continue\r\n\r\n" OK)}}, 1, 1, {{0}}}},
    {45, {"nothing of it to HTTP/1.0", {{SEND("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), ANSWER(200, "ok"), EOF_}}, {{REQUEST, SEND("HTTP/1.1 103 Early Hints\r\n\r\n" OK)}}, 1, 1, {{0}}}},

    {46, {"is not forwarded", {{SEND(WITH("Connection: upgrade\r\nUpgrade: x\r\n")), ANSWER(200, "ok")}}, {{GETS("/", ""), SEND(OK)}}, 1, 1, {{0}}}},
    {46, {"and no upstream switches unasked", {{SEND(WITH("Connection: upgrade\r\nUpgrade: x\r\n")), ANSWER(502, "The upstream's answer is malformed.\n")}},
          {{REQUEST, SEND("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), ENDED}}, 1, 1, {R(UPSTREAM_BAD, 1)}}},

    {48, {"Date is added, and kept", {{SEND(GET("/")), GOT("200 OK", "content-length: 0\r\n", ""), SEND(GET("/")),
                                       IS("HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 0\r\nvia: 1.1 sluice\r\n\r\n")}},
          {{REQUEST, SEND("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), REQUEST, SEND("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")}},
          1, 2, {{0}}}},
};

static int tls_port;

static void make_plan(void) {
    plan_init(&builder);
    plan_respond(&builder, SL_PLAN_METHOD_ALL, "/native", 200, "", "native", 6);
    struct sl_plan_upstream *up = plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/*", (uint16_t)world.upstream_port);
    up->head_timeout_ms = up->idle_timeout_ms = 60000;
    // Two rows of TLS policy.
    uint32_t set = SL_SET_NEW;
    for (int i = 0; i < 2; i++) {
        static const char *const names[] = {"one.example", "two.example"};
        uint8_t pem[8192];
        uint32_t cert_len;
        int pem_len = sl_certificate_make(pem, sizeof(pem));
        memcpy(&cert_len, pem, 4);
        struct sl_span cert = {pem + 4, cert_len}, key = {pem + 4 + cert_len, (size_t)pem_len - 4 - cert_len};
        int rc = sl__gateway_certificate(world.gateway, set, cert, key, sl_span_of(names[i]));
        CHECK_MSG(rc >= 0, "%s", sl_fail_text());
        set = (uint32_t)rc;
    }
    tls_port = sl__gateway_listen(world.gateway, sl_span_of("127.0.0.1:0"), set);
}

static uint32_t shown[SL_COUNT_OF(kernels)][SL_COUNT_OF(rules)];
static bool ran[SL_COUNT_OF(kernels)];

TEST(rules_of_a_connection) {
    const char *only = getenv("SLUICE_TEST_ROW");
    EACH_KERNEL(kernel) {
        ran[kernel - kernels] = true;
        for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
            const struct row *row = &rows[i].row;
            int failures = test_failures;
            if (only && !strstr(row->name, only)) {
                continue;
            }
            run_row(row);
            shown[kernel - kernels][rows[i].rule] += test_failures == failures;
            if (test_failures > failures) {
                printf("  on %s: rule %d, \"%s\"\n", kernel->name, rows[i].rule, row->name);
            }
        }
    }
}

// ---- Over TLS: rule 49

struct tls_peer {
    SSL *ssl;
    BIO *in, *out; // of the engine
    int fd;
};

static void tls_turn(struct tls_peer *p) {
    char bytes[8192];
    int n;
    while ((n = BIO_read(p->out, bytes, sizeof(bytes))) > 0) {
        CHECK_INT(wire_send(p->fd, bytes, (size_t)n), n);
    }
    world_turn(SL_NS_PER_MS);
    ssize_t got = wire_recv(p->fd, bytes, sizeof(bytes));
    if (got > 0) {
        BIO_write(p->in, bytes, (int)got);
    }
}

// The status of one request; name: the server's that the client asks for, NULL: none. rest: what is sent once it was answered.
static int tls_ask(SSL_CTX *ctx, const char *name, const char *request, const char *rest) {
    struct tls_peer p = {SSL_new(ctx), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()), wire_connect(tls_port)};
    char answer[4096] = "";
    int len = 0, turns = 0;
    SSL_set_bio(p.ssl, p.in, p.out);
    SSL_set_connect_state(p.ssl);
    if (name) {
        SSL_set_tlsext_host_name(p.ssl, name);
    }
    while (SSL_do_handshake(p.ssl) != 1 && turns++ < 500) {
        tls_turn(&p);
    }
    SSL_write(p.ssl, request, (int)strlen(request));
    while (!strstr(answer, "\r\n\r\n") && turns++ < 500) {
        tls_turn(&p);
        int n = SSL_read(p.ssl, answer + len, (int)sizeof(answer) - 1 - len);
        len += n > 0 ? n : 0;
        answer[len] = 0;
    }
    SSL_write(p.ssl, rest, (int)strlen(rest));
    for (int i = 0; i < 10; i++) {
        tls_turn(&p);
    }
    SSL_free(p.ssl);
    wire_close(p.fd);
    for (int i = 0; i < 500 && world.worker->counters.conns_live > 0; i++) {
        world_turn(SL_NS_PER_MS);
    }
    CHECK_INT(world.worker->counters.conns_live, 0);
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

static uint64_t clock_step_ns, clock_start_ns;

// It stands still but for its steps, on a kernel too: how long the test itself is kept waiting must not count.
static uint64_t stepping_ns(const struct sl_sys *sys) {
    (void)sys;
    world.skipped_ns += clock_step_ns;
    return clock_start_ns + world.skipped_ns;
}

// The place in tls_us of one handshake, during which the clock goes on by so much with each look at it; -1: not just one was counted.
static int handshake_place(SSL_CTX *ctx, uint64_t step_ns) {
    struct sl_sys *sys = (struct sl_sys *)(uintptr_t)world.table;
    struct sl_counters before = world.worker->counters;
    uint64_t (*now_ns)(const struct sl_sys *) = sys->now_ns;
    clock_step_ns = step_ns;
    clock_start_ns = world_ns() - world.skipped_ns;
    sys->now_ns = stepping_ns;
    int status = tls_ask(ctx, NULL, "GET /native HTTP/1.1\r\nHost: one.example\r\n\r\n", "");
    sys->now_ns = now_ns;
    CHECK_INT(status, 200);
    int place = -1, count = 0;
    for (int i = 0; i < 16; i++) {
        uint64_t more = world.worker->counters.tls_us[i] - before.tls_us[i];
        count += (int)more;
        place = more ? i : place;
    }
    return count == 1 ? place : -1;
}

TEST(handshakes_are_counted_by_the_time_that_they_keep_a_worker_busy) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    EACH_KERNEL(kernel) {
        // Two calls of the engine, and between the two looks of each the clock goes on once: 2 ms, not below 2,048 us and below 4,096.
        CHECK_INT(handshake_place(ctx, SL_NS_PER_MS), 8);
        CHECK_INT(handshake_place(ctx, 300 * SL_NS_PER_MS), 15);
        if (world.sim) {
            CHECK_INT(handshake_place(ctx, 0), 0); // no time passes
        }
    }
    SSL_CTX_free(ctx);
}

TEST(host_of_another_policy_row) {
#define ASK(host) "GET /native HTTP/1.1\r\nHost: " host "\r\n\r\n"
    static const struct {
        const char *name, *request;
        int status;
    } cases[] = {
        {"one.example", ASK("one.example"), 200},
        {"one.example", ASK("ONE.example.:8443"), 200},
        {"one.example", ASK("two.example"), 421},
        {"two.example", ASK("two.example"), 200},
        {"two.example", ASK("one.example"), 421},
        {"two.example", ASK("three.example"), 421}, // which is the default's row, the first one's
        {NULL, ASK("one.example"), 200},
        {NULL, ASK("127.0.0.1"), 200},
        {NULL, ASK("two.example"), 421},
        {"one.example", "GET https://two.example/native HTTP/1.1\r\nHost: one.example\r\n\r\n", 421},
    };
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    EACH_KERNEL(kernel) {
        for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
            int status = tls_ask(ctx, cases[i].name, cases[i].request, "");
            shown[kernel - kernels][49] += status == cases[i].status;
            CHECK_MSG(status == cases[i].status, "%s: %s, then %s: %d", kernel->name, cases[i].name ? cases[i].name : "no name", cases[i].request, status);
        }
        CHECK_INT(world.worker->counters.by_status[-SL_E_MISDIRECTED], 5);
    }
    SSL_CTX_free(ctx);
}

// A client of the TLS port that sends these bytes and then waits, or leaves.
static void leave_handshake(const char *bytes, bool waits) {
    char answer[256];
    int fd = wire_connect(tls_port);
    world_turn(SL_NS_PER_MS);
    CHECK_INT(wire_send(fd, bytes, strlen(bytes)), strlen(bytes));
    for (int i = 0; i < 4; i++) {
        world_turn(SL_NS_PER_MS);
    }
    if (waits) {
        world.skipped_ns += 11 * SL_NS_PER_S; // the default of head_timeout_ms is 10 s
    } else {
        wire_fin(fd);
    }
    for (int i = 0; i < 500 && world.worker->counters.conns_live > 0; i++) {
        world_turn(SL_NS_PER_MS);
        if (wire_recv(fd, answer, sizeof(answer)) == 0) {
            wire_fin(fd);
        }
    }
    wire_close(fd);
    for (int i = 0; i < 500 && world.worker->counters.conns_live > 0; i++) {
        world_turn(SL_NS_PER_MS);
    }
    CHECK_INT(world.worker->counters.conns_live, 0);
}

TEST(handshakes_that_fail_are_counted_by_reason) {
    static const struct {
        const char *bytes;
        bool waits;
        enum sl_tls_reason reason;
    } cases[] = {
        {"", false, SL_TLS_SILENT},
        {"", true, SL_TLS_TIMEOUT},
        {"\x16\x03\x01", false, SL_TLS_LEFT},
        {"\x16\x03\x01", true, SL_TLS_TIMEOUT},
        {"GET / HTTP/1.1\r\n\r\n", false, SL_TLS_PLAIN_HTTP},
        {"hello?", true, SL_TLS_PLAIN_TEXT},
        {"\x80\x2e\x01\x02\x03\x04\x05", false, SL_TLS_NO_TLS},
    };
    EACH_KERNEL(kernel) {
        struct sl_counters *now = &world.worker->counters;
        for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
            struct sl_counters before = *now;
            leave_handshake(cases[i].bytes, cases[i].waits);
            CHECK_MSG(now->tls_failures == before.tls_failures + 1, "%s: case %zu", kernel->name, i);
            for (unsigned reason = 0; reason < SL_TLS_REASON_SLOTS; reason++) {
                uint64_t more = now->by_tls_reason[reason] - before.by_tls_reason[reason];
                CHECK_MSG(more == (reason == cases[i].reason), "%s: case %zu, reason %u: %d", kernel->name, i, reason, (int)more);
            }
        }
        CHECK_INT(now->tls_handshakes, 0);
        CHECK_INT(now->tls_failures_unlogged, 0); // without a log nothing is missing in it
    }
}

// Those who do not read, or send large heads, may have all large buffers for a while.
TEST(tls_goes_on_without_a_large_buffer) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    EACH_KERNEL(kernel) {
        struct sl_buf_pool *pool = &world.worker->bufs;
        struct sl_buf *taken = NULL, *buf;
        while ((buf = sl_buf_take(pool, SL_BUF_OUT))) {
            buf->next = taken;
            taken = buf;
        }
        int status = tls_ask(ctx, "one.example", "POST /native HTTP/1.1\r\nHost: one.example\r\nContent-Length: 9\r\n\r\n", "body");
        CHECK_MSG(status == 200, "%s: %d", kernel->name, status);
        CHECK_INT(world.worker->counters.by_status[-SL_E_NO_MEMORY], 0);
        while ((buf = taken)) {
            taken = buf->next;
            sl_buf_unref(pool, buf);
        }
    }
    SSL_CTX_free(ctx);
}

TEST(every_rule_of_a_connection_is_shown_on_every_kernel) {
    if (getenv("SLUICE_TEST_ROW")) {
        SKIP("some rows only");
    }
    for (size_t rule = 1; rule < SL_COUNT_OF(rules); rule++) {
        bool wanted = rules[rule].tags & CONN;
        char line[256] = "";
        for (size_t k = 0; k < SL_COUNT_OF(kernels); k++) {
            size_t at = strlen(line);
            CHECK_MSG(!ran[k] || (shown[k][rule] > 0) == wanted, "rule %zu has %u rows on %s", rule, shown[k][rule], kernels[k].name);
            snprintf(line + at, sizeof(line) - at, ran[k] ? "%s %s %u" : "%s %s not here", at ? "," : "", kernels[k].name, shown[k][rule]);
        }
        if (wanted) {
            printf("# rule %2zu: rows on%s - %s\n", rule, line, rules[rule].what);
        }
    }
}
