// The rows of a tunnel: a WebSocket through a proxy, natively or behind TypeScript.
#ifndef SL_TEST_PROXY_TUNNELS_H
#define SL_TEST_PROXY_TUNNELS_H

#include "proxy_faults.h"

#define WEBSOCKET_TO(path)                                                                                                          \
    "GET " path " HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"           \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define WEBSOCKET WEBSOCKET_TO("/")
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define SWITCH "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n" ACCEPT "\r\n"

static const struct row tunnels[] = {
    {"a WebSocket carries bytes as they are, from its first packet on",
     {{SEND(WEBSOCKET "\r\nGET / "), INTERIM(101), IS("hello"), SEND("HTTP/1.1"), IS("!"), FIN, EOF_}},
     {{HEAD, SEND(SWITCH "hello"), IS("\r\nGET / HTTP/1.1"), SEND("!"), EOF_, CLOSE}}, 1, 1,
     {C(upgrades, 1), C(upgrades_live, 0), C(upstream_failures, 0), C(upstream_aborts, 0), C(upstream_idle, 0)}},
    {"its client ends first, and hears the rest", {{SEND(WEBSOCKET), INTERIM(101), SEND("last"), FIN, IS("more, and more"), EOF_}},
     {{HEAD, SEND(SWITCH), IS("last"), EOF_, SEND("more, "), TURNS(5), SEND("and more"), CLOSE}}, 1, 1,
     {C(upgrades, 1), C(upstream_failures, 0), C(upstream_aborts, 0)}},
    {"its upstream ends first, and hears the rest", {{SEND(WEBSOCKET), INTERIM(101), IS("last"), EOF_, SEND("more, "), TURNS(5), SEND("and more"), FIN}},
     {{HEAD, SEND(SWITCH "last"), FIN, IS("more, and more"), EOF_, CLOSE}}, 1, 1,
     {C(upgrades, 1), C(upstream_failures, 0), C(upstream_aborts, 0)}},
    {"it carries much both ways", {{SEND(WEBSOCKET), INTERIM(101), FILL(400000), STAGE(1), SAME(400000), FIN, EOF_}},
     {{HEAD, SEND(SWITCH), SAME(400000), AWAIT(1), FILL(400000), EOF_, CLOSE}}, 1, 1, {C(upgrades, 1), C(upstream_failures, 0)}},
    {"its client waits for an upstream that does not read, and leaves", {{SEND(WEBSOCKET), INTERIM(101), FLOOD, STAGE(1), RESET, AWAIT(2)}},
     {{HEAD, SEND(SWITCH), AWAIT(1), ENDED, STAGE(2)}}, 1, 1, {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1), C(upstream_failures, 0)}},
    {"its upstream waits for a client that does not read, and leaves", {{SEND(WEBSOCKET), INTERIM(101), AWAIT(1), ENDED}},
     {{HEAD, SEND(SWITCH), FLOOD, STAGE(1), RESET}}, 1, 1, FAILED(UPSTREAM_CUT)},
    {"its client resets, and so do we", {{SEND(WEBSOCKET), INTERIM(101), AWAIT(1), RESET, AWAIT(2)}},
     {{HEAD, SEND(SWITCH), STAGE(1), BROKEN(0, ""), STAGE(2)}}, 1, 1,
     {R(CLIENT_CLOSED, 1), C(upstream_aborts, 1), C(upstream_failures, 0)}},
    {"its upstream resets, and so do we", {{SEND(WEBSOCKET), INTERIM(101), STAGE(1), BROKEN(0, "")}}, {{HEAD, SEND(SWITCH), AWAIT(1), RESET}}, 1, 1,
     FAILED(UPSTREAM_CUT)},
    {"* nothing comes from either side for too long", {{SEND(WEBSOCKET_TO("/quick")), INTERIM(101), LATER(3000), SEND("a"), AWAIT(1), LATER(3000), STAGE(2), EOF_}},
     {{HEAD, SEND(SWITCH), IS("a"), STAGE(1), AWAIT(2), ENDED}}, 1, 1, {R(IDLE_TIMEOUT, 1), C(upstream_failures, 0)}},
    {"an upstream that ends is no reason to wait for long", {{SEND(WEBSOCKET_TO("/drip")), INTERIM(101), EOF_, LATER(1200), CONNS(0)}},
     {{HEAD, SEND(SWITCH), FIN, ENDED}}, 1, 1, {R(IDLE_TIMEOUT, 1), C(upstream_failures, 0)}},
    {"a WebSocket that the upstream does not want", {{SEND(WEBSOCKET), ANSWER(200, "ok"), SEND(WEBSOCKET), ANSWER(426, "13"), SEND(GET), ANSWER(200, "ok")}},
     {{REQUEST, SEND(OK), REQUEST, SEND("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 2\r\n\r\n13"), REQUEST, SEND(OK)}},
     1, 3, {C(upgrades, 0), C(upstream_reuses, 2), C(upstream_failures, 0)}},
    {"an interim answer, then the WebSocket", {{SEND(WEBSOCKET), INTERIM(103), INTERIM(101), IS("a"), FIN, EOF_}},
     {{HEAD, SEND("HTTP/1.1 103 Early Hints\r\n\r\n" SWITCH "a"), EOF_, CLOSE}}, 1, 1, {C(upgrades, 1), C(upstream_failures, 0)}},
    {"a WebSocket on a connection that was used before", {{SEND(GET), ANSWER(200, "ok"), SEND(WEBSOCKET), INTERIM(101), IS("a"), FIN, EOF_, CONNS(0)}},
     {{REQUEST, SEND(OK), HEAD, SEND(SWITCH "a"), EOF_, CLOSE}}, 1, 2, {C(upgrades, 1), C(upstream_reuses, 1), C(upstream_idle, 0)}},
};

// Answers to a WebSocket's handshake that prove nothing.
static const char *const bad_switches[] = {
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" ACCEPT ACCEPT "\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n" ACCEPT "\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n" ACCEPT "\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" ACCEPT "\r\n",
    "HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" ACCEPT "\r\n",
};

// Requests that are no handshake, and do not go on as one: 101 is no answer to them.
static const char *const no_handshakes[] = {
    GET,
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, sec-websocket-key\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 1\r\n\r\na",
    "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
};

// On the world that is open: none of these becomes a tunnel.
static void run_no_tunnels(void) {
    for (size_t i = 0; i < SL_COUNT_OF(bad_switches); i++) {
        struct row row = {bad_switches[i], {{SEND(WEBSOCKET), ANSWER(502, BAD)}}, {{REQUEST, SEND(bad_switches[i]), ENDED}}, 1, 1,
                          {R(UPSTREAM_BAD, 1), C(upgrades, 0)}};
        run_row(&row);
    }
    for (size_t i = 0; i < SL_COUNT_OF(no_handshakes); i++) {
        struct row row = {no_handshakes[i], {{SEND(no_handshakes[i]), ANSWER(502, BAD)}}, {{REQUEST, SEND(SWITCH), ENDED}}, 1, 1,
                          {R(UPSTREAM_BAD, 1), C(upgrades, 0)}};
        run_row(&row);
    }
}

#endif
