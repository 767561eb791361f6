// The fault table of proxying: one row per way in which an upstream or a client can fail, or a connection be used again. Each row says what the
// client gets, which counters move, how many connections and requests the upstream sees; and after each row every pool is as before it.
// proxy_fault_test.c judges native chains by it, proxy_typescript_test.c those that end with a proxy step in TypeScript.
#ifndef SL_TEST_PROXY_FAULTS_H
#define SL_TEST_PROXY_FAULTS_H

#include "row.h"
#include "upstream.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define QUICK GET_TO("/quick")
#define GET_TO(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(path, n) "POST " path " HTTP/1.1\r\nHost: a\r\nContent-Length: " n "\r\n\r\n"
#define PUT(path, n) "PUT " path " HTTP/1.1\r\nHost: a\r\nContent-Length: " n "\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define EVIL "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
#define LENGTH "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define UNTIL_CLOSE "HTTP/1.1 200 OK\r\n\r\n"

#define REFUSED "The upstream refused the connection.\n"
#define RESET_EARLY "The upstream closed the connection before its answer.\n"
#define BAD "The upstream's answer is malformed.\n"
#define NO_CONNECT "The upstream did not accept in time.\n"
#define NO_ANSWER "The upstream did not answer in time.\n"
#define FULL "All connections to the upstream are in use.\n"
#define STALLED "The upstream stopped reading the request.\n"

// A name that begins with '~': on simulated kernels alone, where sockets hold as much as we say and time is ours. With '*': there it makes a difference what comes together and what apart, so these rows are neither split nor delayed.
static inline bool exact(const struct row *row) { return row->name[0] == '*'; }

static const struct row rows[] = {
    // Connecting.
    {"refused", {{SEND(GET_TO("/refused")), ANSWER(502, REFUSED), SEND(GET_TO("/refused")), ANSWER(502, REFUSED)}}, {{{0}}}, 0, 0,
     {R(UPSTREAM_REFUSED, 2), C(upstream_failures, 2), C(upstream_connects, 2)}},
    {"refused, with a body", {{SEND(POST("/refused", "5")), FILL(5), ANSWER(502, REFUSED), SEND(GET_TO("/native")), ANSWER(200, "native")}},
     {{{0}}}, 0, 0, FAILED(UPSTREAM_REFUSED)},
    {"never accepted", {{SEND(GET_TO("/full")), ANSWER(504, NO_CONNECT)}}, {{{0}}}, 0, 0, FAILED(UPSTREAM_CONNECT_TIMEOUT)},
    {"client leaves while connecting", {{SEND(GET_TO("/full")), TURNS(4), RESET}}, {{{0}}}, 0, 0, {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1)}},

    // Before the head.
    {"accepts, then silence", {{SEND(QUICK), ANSWER(504, NO_ANSWER)}}, {{REQUEST, ENDED}}, 1, 1, FAILED(UPSTREAM_TIMEOUT)},
    {"closes at once", {{SEND(GET), ANSWER(502, RESET_EARLY)}}, {{CLOSE}}, 1, 0, FAILED(UPSTREAM_RESET)},
    {"closes before the head", {{SEND(GET), ANSWER(502, RESET_EARLY)}}, {{REQUEST, CLOSE}}, 1, 1, FAILED(UPSTREAM_RESET)},
    {"half-closes before the head", {{SEND(GET), ANSWER(502, RESET_EARLY)}}, {{REQUEST, FIN, ENDED}}, 1, 1, FAILED(UPSTREAM_RESET)},
    {"resets before the head", {{SEND(GET), ANSWER(502, RESET_EARLY)}}, {{REQUEST, RESET}}, 1, 1, FAILED(UPSTREAM_RESET)},
    {"* resets at once", {{SEND(GET), ANSWER(502, RESET_EARLY)}}, {{RESET}}, 1, 0, FAILED(UPSTREAM_RESET)},
    {"closes inside the head", {{SEND(GET), ANSWER(502, RESET_EARLY)}}, {{REQUEST, SEND("HTTP/1.1 200 OK\r\nConte"), CLOSE}}, 1, 1,
     FAILED(UPSTREAM_RESET)},
    {"resets inside the head", {{SEND(GET), ANSWER(502, RESET_EARLY)}}, {{REQUEST, SEND("HTTP/1.1 200 OK\r\nConte"), TURNS(3), RESET}}, 1, 1,
     FAILED(UPSTREAM_RESET)},
    {"stops inside the head", {{SEND(QUICK), ANSWER(504, NO_ANSWER)}}, {{REQUEST, SEND("HTTP/1.1 200 OK\r\nConte"), ENDED}}, 1, 1,
     FAILED(UPSTREAM_TIMEOUT)},
    {"drips a head, longer than its time", {{SEND(QUICK), ANSWER(504, NO_ANSWER)}},
     {{REQUEST, DRIP("HTTP/1.1 200 OK\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"), ENDED}}, 1, 1, FAILED(UPSTREAM_TIMEOUT)},

    // Inside the answer: a broken transfer, never a short body that looks whole.
    {"closes behind the head", {{SEND(GET), BROKEN(200, "")}}, {{REQUEST, SEND(LENGTH), CLOSE}}, 1, 1, FAILED(UPSTREAM_CUT)},
    {"resets behind the head", {{SEND(GET), BROKEN(200, "")}}, {{REQUEST, SEND(LENGTH), TURNS(3), RESET}}, 1, 1, FAILED(UPSTREAM_CUT)},
    {"stops behind the head", {{SEND(QUICK), BROKEN(200, "")}}, {{REQUEST, SEND(LENGTH), ENDED}}, 1, 1, FAILED(UPSTREAM_IDLE_TIMEOUT)},
    {"closes inside a length", {{SEND(GET), BROKEN(200, "hello")}}, {{REQUEST, SEND(LENGTH "hello"), CLOSE}}, 1, 1, FAILED(UPSTREAM_CUT)},
    {"resets inside a length", {{SEND(GET), BROKEN(200, "hello")}}, {{REQUEST, SEND(LENGTH "hello"), TURNS(3), RESET}}, 1, 1,
     FAILED(UPSTREAM_CUT)},
    {"stops inside a length", {{SEND(QUICK), BROKEN(200, "hello")}}, {{REQUEST, SEND(LENGTH "hello"), ENDED}}, 1, 1,
     FAILED(UPSTREAM_IDLE_TIMEOUT)},
    {"closes between chunks", {{SEND(GET), BROKEN(200, "hello")}}, {{REQUEST, SEND(CHUNKED "5\r\nhello\r\n"), CLOSE}}, 1, 1,
     FAILED(UPSTREAM_CUT)},
    {"closes inside a chunk", {{SEND(GET), BROKEN(200, "hello")}}, {{REQUEST, SEND(CHUNKED "9\r\nhello"), CLOSE}}, 1, 1, FAILED(UPSTREAM_CUT)},
    {"closes inside the last chunk", {{SEND(GET), BROKEN(200, "hello")}}, {{REQUEST, SEND(CHUNKED "5\r\nhello\r\n0\r\n"), CLOSE}}, 1, 1,
     FAILED(UPSTREAM_CUT)},
    {"resets between chunks", {{SEND(GET), BROKEN(200, "hello")}}, {{REQUEST, SEND(CHUNKED "5\r\nhello\r\n"), TURNS(3), RESET}}, 1, 1,
     FAILED(UPSTREAM_CUT)},
    {"stops between chunks", {{SEND(QUICK), BROKEN(200, "hello")}}, {{REQUEST, SEND(CHUNKED "5\r\nhello\r\n"), ENDED}}, 1, 1,
     FAILED(UPSTREAM_IDLE_TIMEOUT)},
    {"resets inside a body until close", {{SEND(GET), BROKEN(200, "hello")}}, {{REQUEST, SEND(UNTIL_CLOSE "hello"), TURNS(3), RESET}}, 1, 1,
     FAILED(UPSTREAM_CUT)},
    {"stops inside a body until close", {{SEND(QUICK), BROKEN(200, "hello")}}, {{REQUEST, SEND(UNTIL_CLOSE "hello"), ENDED}}, 1, 1,
     FAILED(UPSTREAM_IDLE_TIMEOUT)},

    // Slow is not broken.
    {"client ends inside its next head, and reads later", {{SEND(GET "GET / HT"), FIN, AWAIT(1), TURNS(8), PATTERN(200, 420000), EOF_}},
     {{REQUEST, SEND("HTTP/1.1 200 OK\r\nContent-Length: 420000\r\n\r\n"), FILL(420000), STAGE(1)}}, 1, 1,
     {R(CLIENT_CLOSED, 1), C(upstream_failures, 0)}},
    {"client ends inside its body, and its answer has begun",
     {{SEND("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"), AWAIT(1), TURNS(8), FIN, BROKEN(200, "hello")}},
     {{HEAD, SEND(CHUNKED "5\r\nhello\r\n"), STAGE(1), ENDED}}, 1, 1, {R(CLIENT_CLOSED, 1)}},
    {"client ends inside its next body, and reads later",
     {{SEND(GET "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"), FIN, AWAIT(1), TURNS(8), PATTERN(200, 420000), EOF_}},
     {{REQUEST, SEND("HTTP/1.1 200 OK\r\nContent-Length: 420000\r\n\r\n"), FILL(420000), STAGE(1)}}, 1, 1,
     {R(CLIENT_CLOSED, 1), C(upstream_failures, 0)}},
    {"trickles head and body", {{SEND(GET), ANSWER(200, "hello")}, {SEND(GET), ANSWER(200, "hello")}},
     {{REQUEST, TRICKLE("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello"), STAGE(1)},
      {REQUEST, TRICKLE(CHUNKED "2;x=\"y\"\r\nhe\r\n3\r\nllo\r\n0\r\nT: u\r\n\r\n")}}, 2, 2, {C(upstream_failures, 0), C(upstream_idle, 2)}},
    {"trickles a body until close", {{SEND(GET), ANSWER(200, "hello")}}, {{REQUEST, SEND(UNTIL_CLOSE), TRICKLE("hello"), CLOSE}}, 1, 1,
     {C(upstream_failures, 0), C(upstream_idle, 0)}},
    {"drips a body, longer than its time in all", {{SEND(GET_TO("/drip")), ANSWER(200, "hello, dripping through more than a second, all in all")}},
     {{REQUEST, SEND("HTTP/1.1 200 OK\r\nContent-Length: 54\r\n\r\n"), DRIP("hello, dripping through more than a second, all in all")}}, 1, 1, {C(upstream_failures, 0)}},
    {"client trickles its request", {{TRICKLE("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK)}}, 1, 1, {C(upstream_failures, 0)}},
    {"client trickles chunks", {{TRICKLE("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"),
                                 ANSWER(200, "ok")}}, {{REQUEST, SEND(OK)}}, 1, 1, {C(upstream_failures, 0)}},

    // Bodies that may not be there.
    {"* 204 with a body", {{SEND(GET), ANSWER(204, ""), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND("HTTP/1.1 204 No Content\r\n\r\n" EVIL), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_idle, 1)}},
    {"* 304 with a body", {{SEND(GET), ANSWER(304, ""), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil"), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_idle, 1)}},
    {"* HEAD with a body", {{SEND("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), HEADED(200), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(EVIL), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_idle, 1)}},
    {"HEAD without one", {{SEND("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), HEADED(200), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"), REQUEST, SEND(OK)}}, 1, 2, {C(upstream_idle, 1), C(upstream_reuses, 1)}},

    // Bytes that nobody asked for.
    {"* bytes behind the answer", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK "x"), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_reuses, 0)}},
    {"* a second answer behind it", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK EVIL), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_reuses, 0)}},
    {"* bytes behind chunks", {{SEND(GET), ANSWER(200, ""), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(CHUNKED "0\r\n\r\nx"), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_reuses, 0)}},
    {"an answer while it is pooled", {{SEND(GET), ANSWER(200, "ok"), STAGE(1), TURNS(8), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), AWAIT(1), SEND(EVIL), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_reuses, 0), C(upstream_discards, 1)}},
    {"* an answer in the turn in which it is taken", {{SEND(GET), ANSWER(200, "ok"), STAGE(1), AWAIT(2), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), AWAIT(1), SEND(EVIL), STAGE(2), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_discards, 1), C(upstream_retries, 0)}},
    {"* an answer between the poll and the send", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), STAGE(1), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), POLLED(1), SEND(EVIL), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_discards, 1), C(upstream_retries, 0)}},
    {"* the same under a POST with a body", {{SEND(GET), ANSWER(200, "ok"), SEND(POST("/", "5") "abcde"), STAGE(1), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), POLLED(1), SEND(EVIL), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_discards, 1), C(upstream_retries, 0)}},
    {"* an end between the poll and the send", {{SEND(GET), ANSWER(200, "ok"), SEND(POST("/", "5") "abcde"), STAGE(1), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), POLLED(1), CLOSE}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_discards, 1), C(upstream_retries, 0)}},
    {"* a reset between the poll and the send", {{SEND(GET), ANSWER(200, "ok"), SEND(POST("/", "5") "abcde"), STAGE(1), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), POLLED(1), RESET}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_discards, 1), C(upstream_retries, 0)}},

    // Closed as we send.
    {"closed under a GET: once more", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), REQUEST, CLOSE}, {REQUEST, SEND(OK)}}, 2, 3, {C(upstream_retries, 1), C(upstream_failures, 0)}},
    {"reset under a GET: once more", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), REQUEST, RESET}, {REQUEST, SEND(OK)}}, 2, 3, {C(upstream_retries, 1), C(upstream_failures, 0)}},
    {"closed under it again: not twice", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(502, RESET_EARLY)}},
     {{REQUEST, SEND(OK), REQUEST, CLOSE}, {REQUEST, CLOSE}}, 2, 3, {C(upstream_retries, 1), R(UPSTREAM_RESET, 1)}},
    {"closed under a POST: not at all", {{SEND(GET), ANSWER(200, "ok"), SEND(POST("/", "0")), ANSWER(502, RESET_EARLY)}},
     {{REQUEST, SEND(OK), REQUEST, CLOSE}}, 1, 2, {C(upstream_retries, 0), R(UPSTREAM_RESET, 1)}},
    {"closed under a POST with a body", {{SEND(GET), ANSWER(200, "ok"), SEND(POST("/", "5") "abcde"), ANSWER(502, RESET_EARLY)}},
     {{REQUEST, SEND(OK), REQUEST, CLOSE}}, 1, 2, {C(upstream_retries, 0), R(UPSTREAM_RESET, 1)}},
    {"closed under a PUT whose body is gone", {{SEND(GET), ANSWER(200, "ok"), SEND(PUT("/", "5") "abcde"), ANSWER(502, RESET_EARLY)}},
     {{REQUEST, SEND(OK), REQUEST, CLOSE}}, 1, 2, {C(upstream_retries, 0), R(UPSTREAM_RESET, 1)}},
    {"closed after a byte of the answer", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(502, RESET_EARLY)}},
     {{REQUEST, SEND(OK), REQUEST, SEND("H"), TURNS(3), CLOSE}}, 1, 2, {C(upstream_retries, 0), R(UPSTREAM_RESET, 1)}},
    {"silent on a reused one: not again", {{SEND(QUICK), ANSWER(200, "ok"), SEND(QUICK), ANSWER(504, NO_ANSWER)}},
     {{REQUEST, SEND(OK), REQUEST, ENDED}}, 1, 2, {C(upstream_retries, 0), R(UPSTREAM_TIMEOUT, 1)}},

    // Which connections are pooled.
    {"closed while pooled", {{SEND(GET), ANSWER(200, "ok"), STAGE(1), TURNS(8), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), AWAIT(1), CLOSE}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_discards, 1), C(upstream_reuses, 0), C(upstream_retries, 0)}},
    {"Connection: close", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), ENDED}, {REQUEST, SEND(OK)}}, 2, 2,
     {C(upstream_reuses, 0)}},
    {"HTTP/1.0", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_reuses, 0)}},
    {"HTTP/1.0 that keeps alive", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"), REQUEST, SEND(OK)}}, 1, 2,
     {C(upstream_reuses, 1)}},
    {"HTTP/1.0 until close", {{SEND(GET), ANSWER(200, "hello")}}, {{REQUEST, SEND("HTTP/1.0 200 OK\r\n\r\nhello"), CLOSE}}, 1, 1,
     {C(upstream_failures, 0)}},
    {"Keep-Alive: timeout=0", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND("HTTP/1.1 200 OK\r\nKeep-Alive: max=5, timeout=0\r\nContent-Length: 2\r\n\r\nok"), ENDED}, {REQUEST, SEND(OK)}}, 2, 2,
     {C(upstream_reuses, 0)}},
    {"Keep-Alive: timeout=1, taken at once", {{SEND(GET), ANSWER(200, "ok"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok"), REQUEST, SEND(OK)}}, 1, 2,
     {C(upstream_reuses, 1)}},
    {"Keep-Alive: timeout=1, after four fifths of it",
     {{SEND(GET), ANSWER(200, "ok"), LATER(850), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND("HTTP/1.1 200 OK\r\nKeep-Alive: TimeOut=1, max=100\r\nContent-Length: 2\r\n\r\nok"), ENDED}, {REQUEST, SEND(OK)}}, 2, 2,
     {C(upstream_reuses, 0), C(upstream_discards, 0)}},
    {"pooled longer than its idle time", {{SEND(QUICK), ANSWER(200, "ok"), LATER(300), SEND(QUICK), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_reuses, 0), C(upstream_discards, 0)}},

    // Interim answers.
    {"102 and 103", {{SEND(GET), INTERIM(102), INTERIM(103), ANSWER(200, "ok")}},
     {{REQUEST, SEND("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" OK)}}, 1, 1, {C(upstream_idle, 1)}},
    {"100 that nobody waits for", {{SEND(GET), ANSWER(200, "ok")}}, {{REQUEST, SEND("HTTP/1.1 100 Continue\r\n\r\n" OK)}}, 1, 1,
     {C(upstream_idle, 1)}},
    {"100 that somebody waits for",
     {{SEND("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"), INTERIM(100), FILL(5), ANSWER(200, "ok")}},
     {{HEAD, SEND("HTTP/1.1 100 Continue\r\n\r\n"), SAME(5), SEND(OK)}}, 1, 1, {C(upstream_idle, 1)}},
    {"silence where 100 is due", {{SEND("POST /quick HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"), ANSWER(504, NO_ANSWER),
                                   ENDED}}, {{HEAD, ENDED}}, 1, 1, FAILED(UPSTREAM_TIMEOUT)},
    {"1xx to HTTP/1.0", {{SEND("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), ANSWER(200, "ok"), EOF_}},
     {{REQUEST, SEND("HTTP/1.1 103 Early Hints\r\n\r\n" OK)}}, 1, 1, {C(upstream_idle, 1)}},
    {"closes after 103", {{SEND(GET), INTERIM(103), ANSWER(502, RESET_EARLY)}}, {{REQUEST, SEND("HTTP/1.1 103 Early Hints\r\n\r\n"), CLOSE}},
     1, 1, FAILED(UPSTREAM_RESET)},

    // An early answer to an upload.
    {"early answer, keep-alive, a little to come",
     {{SEND(PUT("/", "20000")), FILL(10000), ANSWER(200, "ok"), FILL(10000), SEND(GET), ANSWER(200, "ok")}},
     {{HEAD, SEND(OK), ENDED}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_failures, 0), C(upstream_reuses, 0)}},
    {"early answer, keep-alive, much to come", {{SEND(PUT("/", "9000000")), FILL(10000), ANSWER(200, "ok"), FILL(300000), ENDED}},
     {{HEAD, SEND(OK), ENDED}}, 1, 1, {C(upstream_failures, 0), C(upstream_idle, 0)}},
    {"early answer, close", {{SEND(PUT("/", "9000000")), FILL(10000), ANSWER(413, "big"), FIN, ENDED}},
     {{HEAD, SEND("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig"), TURNS(6), CLOSE}}, 1, 1,
     {C(upstream_failures, 0), C(upstream_idle, 0)}},
    {"early answer, then a reset", {{SEND(PUT("/", "9000000")), FILL(10000), ANSWER(413, "big"), FIN, ENDED}},
     {{HEAD, SEND("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"), TURNS(6), RESET}}, 1, 1,
     {C(upstream_failures, 0), C(upstream_idle, 0)}},
    {"the answer before the whole body, which is read all the same",
     {{SEND(PUT("/", "30000")), FILL(10000), STAGE(1), AWAIT(2), FILL(20000), ANSWER(200, "hello")}},
     {{HEAD, AWAIT(1), SEND(CHUNKED), STAGE(2), BYTES(30000), SEND("5\r\nhello\r\n0\r\n\r\n")}}, 1, 1,
     {C(upstream_failures, 0), C(upstream_idle, 1)}},

    // An upload that is not read.
    {"stops reading", {{SEND(PUT("/quick", "90000000")), FLOOD, ANSWER(504, STALLED)}}, {{HEAD, AWAIT(1)}}, 1, 1, FAILED(UPSTREAM_STALLED)},
    {"~ reads slowly, but reads: longer than its time in all", {{SEND(PUT("/quick", "700000")), FILL(700000), ANSWER(200, "ok")}},
     {{HEAD, SLEEP(150), SIP(20000), SLEEP(150), SIP(20000), SLEEP(150), SIP(20000), SLEEP(150), SIP(20000), SLEEP(150), SIP(20000), BYTES(600000),
       SEND(OK)}}, 1, 1, {C(upstream_failures, 0), C(upstream_idle, 1)}},
    {"client leaves behind it", {{SEND(PUT("/", "90000000")), FLOOD, RESET, CONNS(0)}}, {{HEAD, AWAIT(1)}}, 1, 1,
     {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1), C(upstream_failures, 0)}},

    // Clients.
    {"client half-closes after its request", {{SEND(GET), FIN, ANSWER(200, "ok"), EOF_}}, {{REQUEST, TURNS(5), SEND(OK)}}, 1, 1,
     {C(upstream_failures, 0), C(upstream_idle, 1)}},
    {"client half-closes after its body", {{SEND(POST("/", "3") "abc"), FIN, ANSWER(200, "ok"), EOF_}}, {{REQUEST, TURNS(5), SEND(OK)}}, 1, 1,
     {C(upstream_failures, 0), C(upstream_idle, 1)}},
    {"client half-closes inside its body", {{SEND(POST("/", "300") "abc"), AWAIT(1), FIN, ENDED}}, {{HEAD, STAGE(1), ENDED}}, 1, 1,
     {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1), C(upstream_idle, 0)}},
    {"client resets inside its head, before anybody receives", {{SEND("GET / HTTP/1.1\r\nHo"), RESET, CONNS(0), TURNS(4), CONNS(0)}}, {{{0}}}, 0, 0,
     {R(CLIENT_CLOSED, 1)}},
    {"client resets inside its body", {{SEND(POST("/", "300") "abc"), STAGE(1), AWAIT(2), RESET}}, {{HEAD, AWAIT(1), STAGE(2), ENDED}}, 1, 1,
     {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1), C(upstream_idle, 0)}},
    {"client's chunks are malformed", {{SEND("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"), STAGE(1), AWAIT(2),
                                        SEND("zz\r\n"), ANSWER(400, "A chunk of the body is malformed.\n"), EOF_}},
     {{HEAD, AWAIT(1), STAGE(2), ENDED}}, 1, 1, {R(BAD_CHUNK, 1), C(upstream_aborts, 1)}},
    {"client resets while the upstream thinks", {{SEND(GET), AWAIT(1), RESET}}, {{REQUEST, STAGE(1), ENDED}}, 1, 1,
     {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1)}},
    {"client resets while the answer streams", {{SEND(GET), BYTES(100000), RESET}}, {{REQUEST, SEND(UNTIL_CLOSE), FLOOD, ENDED}}, 1, 1,
     {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1)}},
    {"client resets and does not read", {{SEND(GET), AWAIT(1), RESET}}, {{REQUEST, SEND(UNTIL_CLOSE), FLOOD, STAGE(1), ENDED}}, 1, 1,
     {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1)}},

    // The line.
    {"one connection for two", {{SEND(GET_TO("/one")), STAGE(1), ANSWER(200, "ok")}, {AWAIT(2), SEND(GET_TO("/one")), TURNS(3), STAGE(3),
                                                                                    ANSWER(200, "hello")}},
     {{REQUEST, STAGE(2), AWAIT(3), SEND(OK), REQUEST, SEND(CHUNKED "5\r\nhello\r\n0\r\n\r\n")}}, 1, 2,
     {C(upstream_waits, 1), C(upstream_reuses, 1), C(upstream_failures, 0)}},
    {"the one ahead fails", {{SEND(GET_TO("/one")), ANSWER(502, RESET_EARLY)}, {AWAIT(2), SEND(GET_TO("/one")), TURNS(3), STAGE(3),
                                                                              ANSWER(200, "ok")}},
     {{REQUEST, STAGE(2), AWAIT(3), CLOSE}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_waits, 1), C(upstream_failures, 1)}},
    {"waits in vain", {{SEND(GET_TO("/one")), ANSWER(200, "ok")}, {AWAIT(2), SEND(GET_TO("/one")), ANSWER(503, FULL), STAGE(3)}},
     {{REQUEST, STAGE(2), AWAIT(3), SEND(OK)}}, 1, 1, {C(upstream_waits, 1), R(UPSTREAM_FULL, 1), C(upstream_idle, 1)}},
    {"leaves the line", {{SEND(GET_TO("/one")), ANSWER(200, "ok")}, {AWAIT(2), SEND(GET_TO("/one")), TURNS(3), RESET, TURNS(3), STAGE(3)}},
     {{REQUEST, STAGE(2), AWAIT(3), SEND(OK)}}, 1, 1, {C(upstream_waits, 1), R(CLIENT_CLOSED, 1), C(upstream_idle, 1)}},
    {"another row of the same endpoint does not wait", {{SEND(GET_TO("/one")), ANSWER(200, "ok")}, {AWAIT(2), SEND(GET), ANSWER(200, "ok"), STAGE(3)}},
     {{REQUEST, STAGE(2), AWAIT(3), SEND(OK)}, {REQUEST, SEND(OK)}}, 2, 2, {C(upstream_waits, 0)}},
    {"another row takes its connection", {{SEND(GET_TO("/one")), ANSWER(200, "ok"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), REQUEST, SEND(OK)}}, 1, 2, {C(upstream_reuses, 1)}},
};

// Answers that break a rule before anything has left: each is a 502.
static const char *const bad_heads[] = {
    "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1  200 OK\r\n\r\n",
    "http/1.1 200 OK\r\n\r\n",
    ("\r\n\r\n\r\n\r\n\r\n\r\n" OK), // in brackets: clang takes it for a forgotten comma
    "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
    "HTTP/1.1 200 OK\rContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nA: b\x01\r\n\r\n",
    "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
};

// Behind a good head: the transfer breaks.
static const char *const bad_bodies[] = {
    "zz\r\n", "-5\r\nhello\r\n", "0x5\r\nhello\r\n", "5 \r\nhello\r\n", "5\nhello\r\n", "5\r\nhello!\r\n", "5\r\nhello\n0\r\n\r\n",
    "11111111111111111\r\n", "5;\r\nhello\r\n", "5\r\nhello\r\n\r\n", "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n", "5\r\nhello\r\n0\r\n A: b\r\n\r\n",
};

static void make_plan(void) {
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/native", 200, "", "native", 6);
    struct sl_plan_upstream *ups[] = {
        plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/refused", (uint16_t)world.refused_port),
        plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/full", (uint16_t)world.full_port),
        plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/one", (uint16_t)world.upstream_port),
        plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/quick", (uint16_t)world.upstream_port),
        plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/drip", (uint16_t)world.upstream_port),
        plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/*", (uint16_t)world.upstream_port),
    };
    for (size_t i = 0; i < SL_COUNT_OF(ups); i++) {
        ups[i]->connect_timeout_ms = 200;
        ups[i]->head_timeout_ms = ups[i]->idle_timeout_ms = 60000;
        ups[i]->idle_max = 4;
        ups[i]->conns_max = 8;
    }
    ups[2]->conns_max = ups[2]->idle_max = 1;
    ups[3]->head_timeout_ms = ups[3]->idle_timeout_ms = 200;
    ups[3]->tunnel_idle_timeout_ms = 4000;
    ups[4]->head_timeout_ms = ups[4]->idle_timeout_ms = 1000;
    ups[4]->tunnel_idle_timeout_ms = 60000;
}

// SLUICE_TEST_ROW: only rows with this in their name.
static bool chosen(const struct row *row) {
    const char *only = getenv("SLUICE_TEST_ROW");
    return !only || strstr(row->name, only);
}

#endif
