// Sluice's data plane: the whole C API.
//
// A gateway is a set of worker threads, each with its own loop (io_uring or epoll), listeners (SO_REUSEPORT), TLS contexts and pools. The
// control plane makes one (warming), gives it listeners, certificates, ring memory and a plan, starts it (active), drains it (draining) and
// frees it (closed). Handles are small numbers, never pointers, so that a stale one is an error and not a crash.
//
// Threads: sl_gateway_wake and sl_gateway_isolate_* may be called from any thread (sl_gateway_isolate_wake: the isolate's own), at any time (a gateway
// that is being freed is E_STATE); all others from the thread that made the gateway, one at a time. No function calls back. Only sl_gateway_join waits (bounded by its argument).
// Errors: a negative enum sl_status; sl_error_text then gives what was tried, why it failed and the value at hand (per thread).
// Buffers are borrowed for the call. Of ring regions the address space is lent, the pages are ours: see sl_gateway_attach.
#ifndef SLUICE_SLUICE_H
#define SLUICE_SLUICE_H

#include <stddef.h>
#include <stdint.h>

#include "sluice/event.h"
#include "sluice/plan.h"
#include "sluice/policy.h"
#include "sluice/ring.h"
#include "sluice/status.h"

#define SL_VERSION "0.1.0"
#define SL_GATEWAYS_MAX 64
#define SL_WORKERS_MAX 64
#define SL_ISOLATES_MAX 32 // seats: while a reload replaces isolates, old and new ones sit beside each other
#define SL_LISTENERS_MAX 64
#define SL_CERTIFICATES_MAX 64
#define SL_SET_NEW 0xffffffffu

enum sl_io_kind { SL_IO_AUTO = 0, SL_IO_URING = 1, SL_IO_EPOLL = 2, SL_IO_SIM = 3 };
enum sl_log_kind { SL_LOG_OFF = 0, SL_LOG_TEXT = 1, SL_LOG_JSON = 2 };
enum sl_isolate_end { SL_ISOLATE_RETIRED = 0, SL_ISOLATE_CRASHED = 1, SL_ISOLATE_BLOCKED = 2 };
enum sl_seat_state {
    SL_SEAT_EMPTY = 0, // nobody sits there, and nothing of who did is being sent
    SL_SEAT_IDLE = 1,  // somebody does, without a request, and no plan in use names the seat
    SL_SEAT_BUSY = 2,
};
enum sl_state { SL_WARMING = 0, SL_ACTIVE = 1, SL_DRAINING = 2, SL_CLOSED = 3 };

// All u32, so that TypeScript fills it as one Uint32Array. 0 means the default in brackets.
struct sl_config {
    uint32_t io;                    // enum sl_io_kind
    uint32_t workers;               // [as many as the CPUs and the cgroup's quota allow], at most SL_WORKERS_MAX
    uint32_t isolates;              // seats for isolates; 0: no TypeScript at all; at most SL_ISOLATES_MAX
    uint32_t exchanges;             // slots per (worker, isolate) [1024], a power of two
    uint32_t conns_max;             // connections per worker [10000]
    uint32_t requests_max;          // requests in flight per worker [2048]
    uint32_t head_bytes_max;        // [16384]; 1024-16384
    uint32_t line_bytes_max;        // request line [8192]
    uint32_t fields_max;            // [100]; at most 128
    uint32_t head_timeout_ms;       // first byte to whole head, and the TLS handshake [10000]
    uint32_t body_timeout_ms;       // between two parts of a request body [30000]
    uint32_t idle_timeout_ms;       // between two requests [65000]
    uint32_t write_stall_ms;        // a send without progress [60000]
    uint32_t handler_timeout_ms;    // TypeScript: event to response head [30000]
    uint32_t linger_ms;             // lingering close [2000]
    uint32_t body_bytes_max;        // request body of TypeScript routes [10485760]
    uint32_t pipeline_bytes_max;    // unread pipelined bytes before reading pauses [16384]
    uint32_t high_watermark_bytes;  // queued response bytes that pause a producer [65536]
    uint32_t low_watermark_bytes;   // resume it below [16384]
    uint32_t requests_per_conn_max; // [10000], jittered by 10 %
    uint32_t not_found_max;         // TypeScript not-found answers in flight per worker [64]
    uint32_t backlog;               // listen(2) [4096]
    uint32_t log;                   // enum sl_log_kind
    uint32_t large_bufs;            // 32 KiB buffers to send from, per worker [512]; a quarter as many more receive bodies
    uint32_t small_bufs;            // 4 KiB head buffers per worker [1024]; a power of two
    uint32_t conn_age_ms;           // Connection: close on the next answer after this age [3600000], jittered by 10 %
    uint32_t prefault;              // 1: all memory of the pools is made resident at start [0: when it is first used]
    uint32_t body_bytes_per_second_min;  // of a request body, all in all, while we wait for it [240]
    uint32_t body_grace_ms;              // ... and after so much waiting; never more than body_timeout_ms [5000]
    uint32_t write_bytes_per_second_min; // of a send, to either side: fewer are no progress [240]
    uint32_t pipeline_requests_max;      // answers of a connection that wait to be sent before its next request does [64]
    uint32_t linger_bytes_max;           // read in a lingering close [65536]
    uint32_t conns_per_address_max;      // of one client address, over all workers; of IPv6: of one /64 [0: any number]
    uint32_t stek_rotation_ms;  // a new session ticket key each [3600000]; SL_STEKS_GIVEN: they come by sl_gateway_steks alone
    uint32_t steks_kept;        // keys that open tickets, the current one included [25]; at most 63
    uint32_t early_window_ms;   // the longest of any row's [1024000]
    uint32_t ticket_set_bytes;  // of the single-use set, if a row has early data in mode once [16777216]
    uint32_t sealed_bytes;      // of the keys of sealed tickets, if a row has that mode [4194304]
    uint32_t reserved[2];
};
_Static_assert(sizeof(struct sl_config) == 160, "ABI");
#define SL_STEKS_GIVEN 0xffffffffu

// How clients of one certificate's names may resume a TLS session (docs/internals/tls.md).
enum sl_resumption_mode {
    SL_RESUMPTION_OFF = 0,
    SL_RESUMPTION_STATELESS = 1, // whoever has the key resumes, as often as it likes; never early data
    SL_RESUMPTION_ONCE = 2,      // the same, and early data once per ticket, at the process that made it
    SL_RESUMPTION_SEALED = 3,    // a ticket resumes once, at the process that made it; its key is erased then
};
struct sl_resumption {
    uint32_t mode;              // enum sl_resumption_mode
    uint32_t tickets;           // of a TLS 1.3 handshake, up to 16; 0: none
    uint32_t ticket_lifetime_s; // 1 to 604800 (RFC 8446, 4.6.1)
    uint32_t early_data;        // 1: tickets may bring early data; mode once or sealed
    uint32_t early_window_s;    // how old such a ticket may be
    uint32_t early_age_skew_ms; // early data of a client whose idea of its ticket's age differs by more waits for the handshake
    uint32_t early_methods;     // that may run early, a bit for each enum sl_method (event.h); only safe ones (RFC 9110, 9.2.1)
    uint32_t early_bytes_max;   // requests with larger bodies, or of unknown length, wait for the handshake
    uint8_t tenant[32];         // with the names: a ticket resumes only where both are the same
};
_Static_assert(sizeof(struct sl_resumption) == 64, "ABI");

// What is agreed with clients of one certificate's names.
#define SL_GROUPS_MAX 6u
struct sl_handshake {
    uint32_t version_min;           // 0x0303 TLS 1.2, 0x0304 TLS 1.3
    uint32_t group_count;           // of groups, 1 to SL_GROUPS_MAX
    uint32_t groups[SL_GROUPS_MAX]; // of the key exchange, by their TLS numbers: the first that the client has, too, is taken
    uint32_t alpn_off;              // 0: http/1.1 (RFC 7301), and who offers only others is refused; 1: what clients offer is ignored
};
_Static_assert(sizeof(struct sl_handshake) == 36, "ABI");

// Whether clients of one certificate's names must show one of their own.
enum sl_client_auth_mode {
    SL_CLIENT_AUTH_OFF = 0,
    SL_CLIENT_AUTH_OPTIONAL = 1, // none is fine, a bad one is not
    SL_CLIENT_AUTH_REQUIRED = 2,
};

// A session ticket key.
struct sl_stek_given {
    double not_before_ms; // Unix time from which it seals
    uint8_t key[32];
};
_Static_assert(sizeof(struct sl_stek_given) == 40, "ABI");

// Copies the text of this thread's last error (UTF-8, no NUL) to out; returns its bytes, cut at len.
int sl_error_text(uint8_t *out, size_t len);

// sizeof and offsetof of every shared struct as u32 values, in the order of the generated table in ffi/abi.ts; returns the count.
int sl_abi(uint8_t *out, size_t len);

// config: one struct sl_config. Probes the I/O backend, raises RLIMIT_NOFILE's soft limit. Returns a handle >= 0.
int sl_gateway_new(const uint8_t *config, size_t len);

// What was decided: fills out with UTF-8 lines "key value" (io, io_reason, workers, workers_reason, workers_cpus: how
// many there is room for, conns_max, memory_bytes, ring_bytes). Returns bytes.
int sl_gateway_describe(uint32_t gateway, uint8_t *out, size_t len);

// Adds a certificate chain and its key (PEM) to a set, of which a listener has one: the client's server name (SNI) chooses from it (tls.h says how).
// set: SL_SET_NEW, or the index that an earlier call returned. names: server names or "*.example.org" in lower case, one a line; empty: the
// certificate's own. Returns the set's index, for sl_gateway_listen. At most SL_CERTIFICATES_MAX in all. Before start.
int sl_gateway_certificate(uint32_t gateway, uint32_t set, const uint8_t *cert, size_t cert_len, const uint8_t *key, size_t key_len,
                           const uint8_t *names, size_t names_len);

// Puts another chain and key (PEM) in the place of certificate `index` of a set, with an OCSP response (DER) for clients who ask for one; empty: none.
// Names and policy stay, but for a certificate that answers to its own names: to the new one's. Workers take it in their next turn; handshakes under
// way go on with what they had. A bad one changes nothing. Any time.
int sl_gateway_certificate_replace(uint32_t gateway, uint32_t set, uint32_t index, const uint8_t *cert, size_t cert_len, const uint8_t *key,
                                   size_t key_len, const uint8_t *ocsp, size_t ocsp_len);

// Whether a chain and a key (PEM) belong together, and what the certificate says: UTF-8 lines "key value" (key, not_before, not_after, serial, one dns for
// each name). Returns bytes. Any thread.
int sl_certificate_describe(const uint8_t *cert, size_t cert_len, const uint8_t *key, size_t key_len, uint8_t *out, size_t len);

// What an OCSP response (DER) says: UTF-8 lines "SERIAL STATUS THIS_UPDATE NEXT_UPDATE", STATUS good, revoked or unknown, Unix seconds, 0 for no next
// update. Its signature is not checked. Returns bytes. Any thread.
int sl_ocsp_describe(const uint8_t *response, size_t response_len, uint8_t *out, size_t len);

// How clients of certificate `index` of a set resume: one struct sl_resumption. Without it, not at all. Before start.
int sl_gateway_resumption(uint32_t gateway, uint32_t set, uint32_t index, const uint8_t *row, size_t len);

// What certificate `index` of a set agrees on: one struct sl_handshake. Without it: TLS 1.2 and 1.3, and the groups of docs/internals/tls.md. Before start.
int sl_gateway_handshake(uint32_t gateway, uint32_t set, uint32_t index, const uint8_t *row, size_t len);

// Clients of certificate `index` of a set are asked for certificates (mode: enum sl_client_auth_mode) from these CAs: PEM, 1 to 64. Before
// start; after it, with the mode of before, these CAs take the place of those: workers judge by them from their next turn on, and tickets made before resume no more.
int sl_gateway_client_auth(uint32_t gateway, uint32_t set, uint32_t index, uint32_t mode, const uint8_t *cas, size_t len);

// The session ticket keys from now on: any number up to 64 of struct sl_stek_given, of which the youngest whose time has come seals and all open. What is
// not among them any more is erased once no worker uses it. The caller erases its copy. Any time.
int sl_gateway_steks(uint32_t gateway, const uint8_t *keys, size_t len);

// Binds and holds an address: "127.0.0.1:8080", "[::1]:0". certificates: index of a set, or 0xffffffff for plain HTTP. It listens from here on, alone:
// who connects before the start waits, and E_ADDRESS_IN_USE names the holder's pid where /proc shows it. Returns the bound port.
int sl_gateway_listen(uint32_t gateway, const uint8_t *address, size_t len, uint32_t certificates);

// As sl_gateway_listen, on a TCP socket that listens already, of whoever started us. It stays theirs: the workers share it, its backlog is as it was, and
// the drain leaves what waits in its queue to whoever accepts from it next. Takes the descriptor over, if it succeeds.
int sl_gateway_adopt(uint32_t gateway, uint32_t fd, uint32_t certificates);

// Clients of a listener with TLS get the row that TypeScript chooses: it is asked (SL_EVENT_HELLO) about each ClientHello, and has so long for the answer, 1 to
// SL_HELLO_TIMEOUT_MS_MAX; then the server name chooses. listener: its number, in the order of sl_gateway_listen and sl_gateway_adopt. Before start.
#define SL_HELLO_TIMEOUT_MS_MAX 10000u
int sl_gateway_client_hello(uint32_t gateway, uint32_t listener, uint32_t timeout_ms);

// The address of such a socket, as text: "127.0.0.1:8080", "[::1]:8080". Returns its length; E_INVALID: it is none.
int sl_socket_address(uint32_t fd, uint8_t *out, size_t len);

// Tells whoever started us, by sd_notify(3): path is NOTIFY_SOCKET, text has lines such as "READY=1". Adds MONOTONIC_USEC, which "RELOADING=1" needs.
int sl_notify(const uint8_t *path, size_t path_len, const uint8_t *text, size_t len);

// Bytes of one ring region.
uint32_t sl_ring_bytes(uint32_t exchanges);

// Gives the region of (worker, isolate); page aligned, of sl_ring_bytes. Whoever sits in that seat begins a life with it: before the start, or later,
// and again after sl_gateway_isolate_gone. The region is then another one, because C keeps what it is still sending of the old one; once the
// seat is SL_SEAT_EMPTY it may be the same.
// C puts pages of its own in the region's place and maps them a second time for itself. So the caller may unmap a region at any time, even while
// workers run: then nobody answers from it, and nothing else happens.
int sl_gateway_attach(uint32_t gateway, uint32_t worker, uint32_t isolate, uint8_t *region, size_t len);

// Connects the wake socket of an isolate, which listens on 127.0.0.1:port, and sends it the token (16 bytes). The isolate's own thread. One byte then
// comes for each wake, from any worker. Again for each new life of the isolate.
int sl_gateway_isolate_wake(uint32_t gateway, uint32_t isolate, uint32_t port, const uint8_t *token, size_t len);

// The isolate has ended for that reason, or is given up: its slots are taken back. Requests that it had not begun go to another isolate of their plan,
// the others answer 503. One that still runs (SL_ISOLATE_BLOCKED) begins no more of them, and gets little CPU beside others. Any thread.
int sl_gateway_isolate_gone(uint32_t gateway, uint32_t isolate, uint32_t reason);

// enum sl_seat_state, over all workers. A reload waits for IDLE before it ends the isolates of the old plan, and for EMPTY before it uses a seat again.
int sl_gateway_isolate_state(uint32_t gateway, uint32_t isolate);

// Checks the blob, copies it and publishes it to all workers. A bad one changes nothing. May be called again: reload. Requests that began with the
// plan before stay with it, and with its isolates.
int sl_plan_load(uint32_t gateway, const uint8_t *blob, size_t len);

// warming -> active. Returns after every worker accepts.
int sl_gateway_start(uint32_t gateway);

// Wakes a worker's loop. Any thread.
int sl_gateway_wake(uint32_t gateway, uint32_t worker);

// active -> draining: accept until the queue is empty, close listeners, keep idle connections 1 s, finish what runs, cut the rest at the
// deadline. Returns at once. Again while it drains: the deadline is the new one, from now.
int sl_gateway_drain(uint32_t gateway, uint32_t deadline_ms);

// enum sl_state; SL_CLOSED when every worker thread has ended.
int sl_gateway_state(uint32_t gateway);

// Waits at most wait_ms for the threads to end. SL_OK, or E_STATE if they still run.
int sl_gateway_join(uint32_t gateway, uint32_t wait_ms);

// Frees a joined (or never started) gateway.
int sl_gateway_free(uint32_t gateway);

// Connections that a worker has now, or will have in a moment. Any thread.
int sl_gateway_worker_conns(uint32_t gateway, uint32_t worker);

// Counters, summed over workers: u64 little endian, in the order of SL_COUNTER_MAP (counters.h). Returns their count.
int sl_gateway_stats(uint32_t gateway, uint8_t *out, size_t len);

// Counters of upstreams as of the last sl_gateway_stats, summed over workers and rows of one name: UTF-8 lines "IDLE ACTIVE WAITING CONNECTS REUSES
// FAILURES name", and a NUL. Returns the bytes of all that; fills in at most len, so ask again if that was less.
int sl_gateway_upstreams(uint32_t gateway, uint8_t *out, size_t len);

// Whether this kernel could do TLS for sockets, as text: "available, unused" or "not available: WHY". Returns its bytes, cut at len. Any thread.
int sl_kernel_tls_describe(uint8_t *out, size_t len);

// A self-signed P-256 certificate for localhost, 127.0.0.1 and ::1, valid for 365 days: PEM certificate, then PEM key. Returns bytes of both;
// the first 4 bytes of out hold the certificate's length (u32).
int sl_certificate_make(uint8_t *out, size_t len);

#endif
