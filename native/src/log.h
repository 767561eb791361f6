// The access log: workers write records into their own ring, one thread formats and writes them to stdout. base layer. A worker never waits:
// when its ring is full the record is dropped and counted.
#ifndef SL_LOG_H
#define SL_LOG_H

#include "base.h"

#define SL_LOG_TARGET_MAX 512
#define SL_LOG_NOBODY 3
#define SL_LOG_RING_RECORDS 4096 // per worker, a power of two

struct sl_log_record {
    int64_t unix_us;       // start of the request
    uint64_t duration_us;  // first byte of the head to the last byte of the answer
    uint64_t bytes_in, bytes_out; // body bytes
    uint8_t remote_addr[16];
    uint16_t remote_port;
    uint8_t remote_family; // 4 or 6
    uint8_t version;       // HTTP minor
    uint16_t status;       // 0: no answer was sent
    uint8_t handled_by;    // 0 native, 1 TypeScript, 2 upstream, SL_LOG_NOBODY
    uint8_t tls;
    int32_t reason;        // SL_OK, or why it failed or was refused
    uint8_t method_len, host_len;
    uint8_t upstream_len;  // where it was sent to, if that is what failed: "api[10.0.0.7:8080]"
    uint8_t why_len;       // a sentence behind the reason: why a TLS handshake failed
    uint16_t target_len;   // the target is cut at SL_LOG_TARGET_MAX - method - host - upstream - why
    uint8_t text[SL_LOG_TARGET_MAX]; // method, host, upstream, why, target
};

// One line each, made by sl_log_format. Nothing that a client sent can break a line or reach a terminal as a control sequence: control
// bytes, quotes, backslashes, bytes that are not UTF-8, C1 and bidi controls are escaped (\xXX in text, \u00XX in JSON). Values of query
// parameters that carry credentials (signatures, tokens) and userinfo in an absolute target are replaced by REDACTED.
//   text  2026-11-24T18:34:58.123Z 127.0.0.1:53412 "GET /hello HTTP/1.1" 200 12B 0.213ms native localhost:8080 -
//         at the end the reason's label, "-" for SL_OK; the status 000 means that no answer was sent. Behind an upstream's fault its name and
//         endpoint: upstream_timeout upstream api[10.0.0.7:8080]. Of a TLS handshake that failed there is no request, and a sentence says why:
//         "-" 000 0B 1.204ms - - tls_handshake: the client's ALPN offers no http/1.1
//   json  ts level client_addr client_port method scheme host path query proto status bytes_in bytes_out dur_ms handled_by reason [upstream] [why]
#define SL_LOG_LINE_MAX 4096
// kind: SL_LOG_TEXT or SL_LOG_JSON. Writes one line with its \n to out (SL_LOG_LINE_MAX bytes) and returns its length. Pure; any thread.
size_t sl_log_format(int kind, const struct sl_log_record *record, char *out);

struct sl_log;
// kind: enum sl_log_kind; SL_LOG_OFF gives NULL, which sl_log_free takes. Starts the thread "sluice-log". fd is duplicated: the caller may close
// it. A slow or broken reader stops only that thread.
int sl_log_new(struct sl_log **out_log, int kind, uint32_t workers, int fd);
// All workers must have stopped. Writes what is left, at most 1 s long, and ends the thread. A thread that is stuck in a write then is left to
// itself: it writes nothing more, and frees the log when the kernel lets it go.
void sl_log_free(struct sl_log *log);
// A record to fill, or NULL when the ring is full. Then sl_log_commit. Each worker its own number, its own thread.
struct sl_log_record *sl_log_begin(struct sl_log *log, uint32_t worker);
void sl_log_commit(struct sl_log *log, uint32_t worker); // at most one system call per 50 ms, to wake the thread
uint64_t sl_log_lost(const struct sl_log *log);          // lines that could not be written (ENOSPC, closed pipe). Any thread

#endif
