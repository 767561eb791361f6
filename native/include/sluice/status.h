// Every way that something can go wrong, once. A row becomes the C constant, the log word, the metric label and
// `new GatewayError({ kind })` in TypeScript. Values are negative, and never renumbered: append.
//
//   X(NAME, value, label, source, retry, http, text)
//     label   the word in logs and metrics
//     source  whose fault: CLIENT, UPSTREAM or GATEWAY
//     retry   1 where sending the same request again may help
//     http    the status that a client sees, 0 where none can be sent
//     text    the reason in an error answer's body (one short sentence)
#ifndef SLUICE_STATUS_H
#define SLUICE_STATUS_H

// clang-format off
#define SL_STATUS_MAP(X) \
    X(E_INVALID,           -1, "invalid_argument",    GATEWAY,  0,   0, "An argument is out of range.") \
    X(E_NO_MEMORY,         -2, "no_memory",           GATEWAY,  1, 503, "Out of memory.") \
    X(E_SYSTEM,            -3, "system",              GATEWAY,  0, 500, "A system call failed.") \
    X(E_IO_UNAVAILABLE,    -4, "io_unavailable",      GATEWAY,  0,   0, "The forced I/O backend is not available.") \
    X(E_ADDRESS_IN_USE,    -5, "address_in_use",      GATEWAY,  0,   0, "The address is in use.") \
    X(E_PLAN_INVALID,      -6, "plan_invalid",        GATEWAY,  0,   0, "The plan does not pass validation.") \
    X(E_STATE,             -7, "wrong_state",         GATEWAY,  0,   0, "The gateway is not in a state that allows this.") \
    X(E_TLS_CONFIG,        -8, "tls_config",          GATEWAY,  0,   0, "The certificate or key cannot be used.") \
    X(E_BAD_REQUEST,      -20, "bad_request",         CLIENT,   0, 400, "The request is malformed.") \
    X(E_BAD_LINE,         -21, "bad_request_line",    CLIENT,   0, 400, "The request line is malformed.") \
    X(E_BAD_FIELD,        -22, "bad_field",           CLIENT,   0, 400, "A header field is malformed.") \
    X(E_BAD_FRAMING,      -23, "bad_framing",         CLIENT,   0, 400, "Content-Length or Transfer-Encoding is invalid.") \
    X(E_BAD_CHUNK,        -24, "bad_chunk",           CLIENT,   0, 400, "A chunk of the body is malformed.") \
    X(E_BAD_HOST,         -25, "bad_host",            CLIENT,   0, 400, "Host is missing, repeated or invalid.") \
    X(E_BAD_PATH,         -26, "bad_path",            CLIENT,   0, 400, "The path has a dot segment or %00.") \
    X(E_BAD_VERSION,      -27, "bad_version",         CLIENT,   0, 505, "Only HTTP/1.0 and HTTP/1.1 are served here.") \
    X(E_TARGET_TOO_LONG,  -28, "target_too_long",     CLIENT,   0, 414, "The request line is too long.") \
    X(E_HEAD_TOO_LARGE,   -29, "head_too_large",      CLIENT,   0, 431, "The request head is too large.") \
    X(E_TOO_MANY_FIELDS,  -30, "too_many_fields",     CLIENT,   0, 431, "The request has too many header fields.") \
    X(E_BODY_TOO_LARGE,   -31, "body_too_large",      CLIENT,   0, 413, "The request body is too large.") \
    X(E_HEAD_TIMEOUT,     -32, "head_timeout",        CLIENT,   1, 408, "The request head took too long.") \
    X(E_BODY_TIMEOUT,     -33, "body_timeout",        CLIENT,   1, 408, "The request body took too long.") \
    X(E_METHOD_UNKNOWN,   -34, "method_unknown",      CLIENT,   0, 501, "This method is not implemented.") \
    X(E_CODING_UNKNOWN,   -35, "coding_unknown",      CLIENT,   0, 501, "This transfer coding is not implemented.") \
    X(E_EXPECTATION,      -36, "expectation_failed",  CLIENT,   0, 417, "This expectation cannot be met.") \
    X(E_LOOP,             -37, "loop",                CLIENT,   0, 508, "The request came through this gateway before.") \
    X(E_CLIENT_CLOSED,    -38, "client_closed",       CLIENT,   0,   0, "The client closed the connection.") \
    X(E_IDLE_TIMEOUT,     -39, "idle_timeout",        CLIENT,   0,   0, "The connection was idle for too long.") \
    X(E_WRITE_STALLED,    -40, "write_stalled",       CLIENT,   0,   0, "The client reads too slowly.") \
    X(E_TLS_HANDSHAKE,    -41, "tls_handshake",       CLIENT,   0,   0, "The TLS handshake failed.") \
    X(E_TLS_TRUNCATED,    -42, "tls_truncated",       CLIENT,   0,   0, "The TLS connection ended without close_notify.") \
    X(E_NOT_FOUND,        -43, "not_found",           CLIENT,   0, 404, "404 Not Found") \
    X(E_TLS_FAILED,       -44, "tls_failed",          CLIENT,   0,   0, "The TLS connection failed after its handshake.") \
    X(E_MISDIRECTED,      -45, "misdirected",         CLIENT,   1, 421, "This host is not served on this connection.") \
    X(E_IP_RESTRICTED,    -46, "ip_restricted",       CLIENT,   0, 403, "This address is not allowed here.") \
    X(E_RATE_LIMITED,     -52, "rate_limited",        CLIENT,   1, 429, "Too many requests.") \
    X(E_UNAUTHORIZED,     -53, "unauthorized",        CLIENT,   0, 401, "Unauthorized") \
    X(E_BAD_CREDENTIALS,  -54, "bad_credentials",     CLIENT,   0, 400, "Bad Request") \
    X(E_BAD_FRAME,        -59, "bad_websocket_frame", CLIENT,   0,   0, "The client broke the WebSocket protocol.") \
    X(E_TOO_EARLY,        -55, "too_early",           CLIENT,   1, 425, "The request came in TLS early data, which this route does not take.") \
    X(E_METHOD_NOT_ALLOWED, -47, "method_not_allowed", CLIENT,  0, 405, "This path has no route for the method.") \
    X(E_SHED_EXCHANGES,   -60, "shed_exchanges",      GATEWAY,  1, 503, "Too many requests wait for TypeScript.") \
    X(E_SHED_REQUESTS,    -61, "shed_requests",       GATEWAY,  1, 503, "Too many requests are in flight.") \
    X(E_SHED_CONNS,       -62, "shed_conns",          GATEWAY,  1, 503, "Too many connections are open.") \
    X(E_HANDLER,          -63, "handler_failed",      GATEWAY,  0, 500, "The handler failed.") \
    X(E_HANDLER_TIMEOUT,  -64, "handler_timeout",     GATEWAY,  1, 504, "The handler did not answer in time.") \
    X(E_ISOLATE_GONE,     -65, "isolate_gone",        GATEWAY,  1, 503, "The isolate that runs this route has ended.") \
    X(E_DRAINING,         -66, "draining",            GATEWAY,  1, 503, "The gateway is shutting down.") \
    X(E_SHED_NOT_FOUND,   -67, "shed_not_found",      GATEWAY,  1, 503, "Too many requests match no route.") \
    X(E_SHED_HEADS,       -68, "shed_heads",          GATEWAY,  1, 408, "Too many requests wait for the rest of their head.") \
    X(E_SHED_ADDRESS,     -69, "shed_address",        GATEWAY,  1, 503, "Too many connections are open from this address.") \
    X(E_SHED_CONCURRENCY, -72, "shed_concurrency",    GATEWAY,  1, 503, "Too many requests of this kind are in flight.") \
    X(E_TIMEOUT,          -73, "timeout",             GATEWAY,  1, 504, "Gateway Timeout") \
    X(E_UPSTREAM_REFUSED, -80, "upstream_refused",    UPSTREAM, 1, 502, "The upstream refused the connection.") \
    X(E_UPSTREAM_RESET,   -81, "upstream_reset",      UPSTREAM, 1, 502, "The upstream closed the connection before its answer.") \
    X(E_UPSTREAM_BAD,     -82, "upstream_bad_answer", UPSTREAM, 0, 502, "The upstream's answer is malformed.") \
    X(E_UPSTREAM_CONNECT_TIMEOUT, -83, "upstream_connect_timeout", UPSTREAM, 1, 504, "The upstream did not accept in time.") \
    X(E_UPSTREAM_TIMEOUT, -84, "upstream_timeout",    UPSTREAM, 1, 504, "The upstream did not answer in time.") \
    X(E_UPSTREAM_FULL,    -85, "upstream_full",       UPSTREAM, 1, 503, "All connections to the upstream are in use.") \
    X(E_UPSTREAM_CUT,     -86, "upstream_cut",        UPSTREAM, 1,   0, "The upstream broke off inside its answer.") \
    X(E_UPSTREAM_BAD_BODY, -87, "upstream_bad_body",  UPSTREAM, 0,   0, "The body of the upstream's answer is malformed.") \
    X(E_UPSTREAM_IDLE_TIMEOUT, -88, "upstream_idle_timeout", UPSTREAM, 1, 0, "The upstream stopped inside its answer.") \
    X(E_UPSTREAM_STALLED, -89, "upstream_stalled",    UPSTREAM, 1, 504, "The upstream stopped reading the request.")
// clang-format on

enum sl_status {
    SL_OK = 0,
#define SL_STATUS_ENUM(name, value, label, source, retry, http, text) SL_##name = value,
    SL_STATUS_MAP(SL_STATUS_ENUM)
#undef SL_STATUS_ENUM
};

enum sl_status_source { SL_SOURCE_NONE, SL_SOURCE_CLIENT, SL_SOURCE_UPSTREAM, SL_SOURCE_GATEWAY };

struct sl_status_info {
    int status;         // SL_E_...
    const char *name;   // "E_BAD_REQUEST"
    const char *label;  // "bad_request"
    const char *text;   // "The request is malformed."
    int source;         // enum sl_status_source
    int retry;          // 1: the same request may succeed later
    int http;           // status code, 0: none
};

// The row of `status`; for SL_OK or an unknown number a row named "OK" with empty texts. Never NULL. Any thread.
const struct sl_status_info *sl_status_info(int status);

#define SL_STATUS_SLOTS 96 // counters per status are indexed by -status

#endif
