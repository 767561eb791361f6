// The access log: workers write records into their own ring, one thread formats and writes them to stdout. base layer. A worker never waits:
// when its ring is full the record is dropped and counted.
#ifndef SL_LOG_H
#define SL_LOG_H

#include "base.h"

#define SL_LOG_TARGET_MAX 512
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
    uint8_t handled_by;    // 0 native, 1 TypeScript, 2 upstream
    uint8_t tls;
    int32_t reason;        // SL_OK, or why it failed or was refused
    uint8_t method_len, host_len;
    uint16_t target_len;   // the target is cut at SL_LOG_TARGET_MAX - method - host
    uint8_t text[SL_LOG_TARGET_MAX]; // method, host, target
};

struct sl_log;
// kind: enum sl_log_kind. Starts the thread "sluice-log". fd is written to and stays the caller's.
int sl_log_new(struct sl_log **out_log, int kind, uint32_t workers, int fd);
void sl_log_free(struct sl_log *log); // writes what is left, ends the thread
// A record to fill, or NULL when the ring is full. Then sl_log_commit. Each worker its own number, its own thread.
struct sl_log_record *sl_log_begin(struct sl_log *log, uint32_t worker);
void sl_log_commit(struct sl_log *log, uint32_t worker); // wakes the thread at most once per 50 ms of records

#endif
