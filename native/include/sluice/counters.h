// Counters of a worker, each written by its own thread alone; sl_gateway_stats sums them (of those named _max: takes the largest). X(name, what it counts). Append only.
#ifndef SLUICE_COUNTERS_H
#define SLUICE_COUNTERS_H

#include <stdint.h>

#include "sluice/tls_reason.h"

// clang-format off
#define SL_COUNTER_MAP(X) \
    X(conns_accepted, "connections accepted") \
    X(conns_closed, "connections closed") \
    X(conns_shed, "connections refused at conns_max") \
    X(requests, "requests whose head was complete") \
    X(requests_native, "answered in C") \
    X(requests_typescript, "sent to TypeScript") \
    X(requests_proxied, "sent to an upstream") \
    X(responses, "answers whose last byte was handed to the kernel") \
    X(bad_requests, "requests refused by the parser or its limits") \
    X(events, "ring events written") \
    X(verdicts, "ring verdicts read") \
    X(late_verdicts, "verdicts for a connection that is gone") \
    X(bad_verdicts, "verdicts that break the contract") \
    X(ring_full, "requests answered 503 because no exchange slot was free") \
    X(isolate_wakes, "wake bytes sent to an isolate") \
    X(isolate_wakes_skipped, "batches published to an isolate that was awake") \
    X(exchanges_live, "exchange slots lent now") \
    X(upstream_connects, "upstream connections opened") \
    X(upstream_reuses, "requests sent on a pooled upstream connection") \
    X(upstream_retries, "requests sent again on a fresh connection") \
    X(upstream_discards, "upstream connections dropped: bytes or EOF with no request outstanding") \
    X(upstream_idle, "upstream connections pooled now") \
    X(upstream_failures, "proxied requests that failed") \
    X(tls_handshakes, "TLS handshakes completed") \
    X(tls_failures, "TLS handshakes failed") \
    X(bytes_in, "bytes received from clients") \
    X(bytes_out, "bytes sent to clients") \
    X(log_dropped, "access records dropped because the log's buffer was full") \
    X(conns_live, "connections open now") \
    X(requests_live, "requests in flight now") \
    X(io_enters, "system calls that submit or wait") \
    X(io_sqes, "operations submitted") \
    X(io_cqes, "completions read") \
    X(io_enobufs, "receives that found no buffer") \
    X(io_starved, "connections waiting for a buffer now") \
    X(io_multishot_ended, "multishot operations that the kernel ended early") \
    X(io_cq_overflow, "times the completion queue overflowed") \
    X(io_stale_cqes, "completions for an earlier life of a slot (must stay 0)") \
    X(io_ops_armed, "operations armed now") \
    X(io_bufs_lent, "buffers lent now") \
    X(io_wakes, "wakes of the loop by another thread") \
    X(io_batch_waits, "waits for several completions at once") \
    X(io_unrestricted, "rings that the kernel did not restrict to our operations") \
    X(upstream_live, "upstream connections open now, pooled ones included") \
    X(upstream_waiting, "requests that wait for an upstream connection now") \
    X(upstream_waits, "requests that had to wait for an upstream connection") \
    X(upstream_aborts, "upstream connections closed because their request was given up") \
    X(conns_handed_off, "connections accepted here and left to a worker with fewer") \
    X(io_rings, "workers on io_uring; the others are on epoll") \
    X(io_ops, "operations armed so far: io_ops_done and io_ops_armed together") \
    X(io_ops_done, "operations that have ended") \
    X(io_short_sends, "sends that took several parts") \
    X(io_starved_max, "connections that waited for a buffer, at most") \
    X(io_bufs, "buffers: those free, in the kernel and lent together") \
    X(io_bufs_free, "buffers free now") \
    X(io_bufs_kernel, "buffers that the kernel may receive into now") \
    X(io_bufs_lent_max, "buffers lent, at most, by one worker") \
    X(io_slots, "connections that fit, downstream and upstream together: slots free and live") \
    X(io_slots_free, "slots free now") \
    X(io_slots_live, "slots taken now") \
    X(io_slots_live_max, "slots taken, at most, by one worker") \
    X(io_turn_us_max, "longest time between two waits, in microseconds") \
    X(io_wakes_sent, "wakes by other threads that cost a system call") \
    X(io_wakes_skipped, "wakes by other threads while one was under way") \
    X(io_kernel_threads, "threads that the kernel started for io_uring (must stay 0)") \
    X(upgrades, "connections that became a WebSocket") \
    X(upgrades_live, "of them, open now") \
    X(tls_full, "TLS handshakes without resumption") \
    X(tls_resumed, "TLS handshakes by a session ticket") \
    X(tls_early, "of those: with early data accepted") \
    X(tickets_made, "session tickets made") \
    X(tickets_bare, "of those: without early data, because the single-use set had no place") \
    X(tickets_opened, "session tickets accepted") \
    X(tickets_unknown_key, "session tickets under a key that is not in the ring") \
    X(tickets_bad, "session tickets that are none, or were changed") \
    X(tickets_expired, "session tickets older than their lifetime") \
    X(ticket_takes_won, "tickets taken: early data, or a sealed ticket's key") \
    X(ticket_takes_lost, "takes of a ticket that was taken before, or given up") \
    X(ticket_takes_foreign, "takes of a ticket that another process made") \
    X(ticket_takes_expired, "takes of a ticket after the window for early data") \
    X(sealed_evicted, "keys of sealed tickets that gave way to newer ones") \
    X(ticket_set_entries, "tickets that may bring early data now") \
    X(ticket_set_capacity, "tickets that the single-use set can hold") \
    X(ticket_horizon_ms, "age of the oldest ticket that may bring early data now") \
    X(steks, "session ticket keys in the ring now") \
    X(early_held, "requests in early data that waited for the handshake") \
    X(rate_limited, "requests over a rate limit, answered 429") \
    X(rate_limited_dry_run, "requests over a rate limit that only looks on (dryRun)") \
    X(rate_limit_evictions, "keys of rate limits that were forgotten before their time") \
    X(concurrency_limited, "requests refused because too many of their key were in flight") \
    X(concurrency_unlimited, "requests for whose key a concurrency limit had no place: they passed") \
    X(isolate_moves, "requests of an isolate that ended, not begun there, that another one got") \
    X(isolate_crashes, "isolates that ended by themselves") \
    X(isolate_blocks, "isolates ended because a handler blocked them") \
    X(plan_loads, "plans published: the first one, and one for each reload") \
    X(client_certs_verified, "client certificates accepted") \
    X(client_certs_missing, "TLS handshakes refused because the client showed no certificate") \
    X(client_certs_unknown_ca, "client certificates refused: of none of the CAs of their policy") \
    X(client_certs_expired, "client certificates refused: outside their time, or that of their issuer") \
    X(client_certs_refused, "client certificates refused for another reason") \
    X(certs_compressed, "TLS handshakes in which the certificate was sent compressed") \
    X(certs_compressed_late, "of those: compressed in the handshake, not when it was loaded (must stay 0)") \
    X(certs_compressed_bytes, "bytes of certificates as they were sent compressed") \
    X(certs_uncompressed_bytes, "what they would have been") \
    X(tls_failures_unlogged, "failed TLS handshakes that are not in the log, because too many failed in one second") \
    X(client_hellos_asked, "TLS handshakes that onClientHello was asked about") \
    X(client_hellos_answered, "of those: with a certificate's name, or left to the server name") \
    X(client_hellos_rejected, "of those: refused") \
    X(client_hellos_timed_out, "of those: without an answer in time, so that the server name chose") \
    X(client_hellos_failed, "of those: by a hook that threw, gave no answer, an unknown name or none because its isolate ended; the server name chose") \
    X(client_hellos_overflowed, "TLS handshakes that onClientHello was not asked about, because too many waited: the server name chose")
// clang-format on

struct sl_counters {
#define SL_COUNTER_FIELD(name, text) uint64_t name;
    SL_COUNTER_MAP(SL_COUNTER_FIELD)
#undef SL_COUNTER_FIELD
    uint64_t by_status[96]; // answers and closes by reason: index -status
    uint64_t by_early_reason[16]; // TLS 1.3 handshakes by what became of early data (enum ssl_early_data_reason_t of BoringSSL)
    uint64_t by_tls_reason[SL_TLS_REASON_SLOTS]; // TLS handshakes that failed, by enum sl_tls_reason
    uint64_t tls_us[16]; // TLS handshakes by the time that they kept a worker busy: index i: below 2^(i + 4) microseconds, and not below the one before; the last: all above
};

#endif
