// TLS 1.2 and 1.3 over byte buffers, with BoringSSL (the only layer that sees it). Sans I/O: the owner feeds records and gets plaintext, gives
// plaintext and gets records. Thread: a context belongs to one worker (docs/internals/tls.md: sharing an SSL_CTX means sharing its locks and
// reference counts). Session tickets are made and opened by ticket.c. ALPN: http/1.1; a client that offers only other
// protocols gets the fatal alert no_application_protocol, unless the row's policy ignores ALPN.
#ifndef SL_TLS_H
#define SL_TLS_H

#include <sys/uio.h>

#include "base.h"
#include "sluice/counters.h"
#include "sluice/sluice.h"
#include "sluice/tls_reason.h"

// PEM bytes, parsed and matched once; shared by all workers, immutable once a table has it. Counted: a table holds it, too.
struct sl_tls_certificate;
int sl_tls_certificate_new(struct sl_tls_certificate **out_certificate, struct sl_span cert_pem, struct sl_span key_pem); // or E_TLS_CONFIG
void sl_tls_certificate_free(struct sl_tls_certificate *certificate); // gives the caller's reference back
// An OCSP response (DER) for clients who ask for one (RFC 6066, 8). Its bytes are not looked at: sl_tls_ocsp_describe does that. Before a table has it.
int sl_tls_certificate_staple(struct sl_tls_certificate *certificate, struct sl_span response);
// Compresses what TLS 1.3 will send of it (RFC 8879), for clients who offer that: once, last of all, before a table has it. Takes some milliseconds. Not
// called: each handshake of such a client compresses anew.
int sl_tls_certificate_compress(struct sl_tls_certificate *certificate);

// What the leaf says, as lines: "key ECDSA P-256", "not_before 1700000000", "not_after 1731536000", "serial 0A1B", "dns example.org" for each DNS
// name. Returns bytes, cut at len.
int sl_tls_certificate_describe(const struct sl_tls_certificate *certificate, char *out, size_t len);

// What an OCSP response says (RFC 6960, 4.2.1), as a line for each certificate that it is about: "SERIAL STATUS THIS_UPDATE NEXT_UPDATE", such as
// "0A1B good 1700000000 1700600000"; no next update: 0. Its signature is not checked: clients do. Returns bytes, cut at len, or E_TLS_CONFIG: it is not
// one, or the responder says that it failed.
int sl_tls_ocsp_describe(struct sl_span response, char *out, size_t len);

// A listener's certificates by server name (SNI); shared by all workers, immutable once a context has it, and counted: a context holds it, too. A name is
// answered by every certificate that has it, then by those with a wildcard for it ("*.example.org" is one label more); of several the first that
// the client can use is taken, ECDSA before Ed25519 before RSA. The first certificate, and those whose first name it has, too, answer
// clients without SNI and names that no certificate has.
#define SL_TLS_CERTIFICATES_MAX 64u
#define SL_TLS_NAMES_MAX 4096u
struct sl_tls_sni;
int sl_tls_sni_new(struct sl_tls_sni **out_sni);
// names: one a line, in lower case; empty: the certificate's own DNS names. E_TLS_CONFIG: a line is no name, or there is none.
int sl_tls_sni_add(struct sl_tls_sni *sni, const struct sl_tls_certificate *certificate, struct sl_span names);
// The same with another certificate in one's place: its number, its row and the names that it was given stay. `sni` stays, too.
int sl_tls_sni_replace(struct sl_tls_sni **out_sni, const struct sl_tls_sni *sni, unsigned number, const struct sl_tls_certificate *certificate);
void sl_tls_sni_ref(struct sl_tls_sni *sni);
void sl_tls_sni_free(struct sl_tls_sni *sni); // gives the caller's reference back
unsigned sl_tls_sni_count(const struct sl_tls_sni *sni); // of its certificates
// The row of a listener's policy that a name falls under: the number of the first certificate that answers it, so several keys for one name are one
// row. len 0, or a name that no certificate has: the default's, 0.
uint8_t sl_tls_sni_row(const struct sl_tls_sni *sni, const uint8_t *name, size_t len);

// Whose certificates the clients of a row may have: CAs, from PEM, each of them trusted by itself. Shared by all workers, immutable, counted.
#define SL_TLS_CAS_MAX 64u
struct sl_tls_cas;
int sl_tls_cas_new(struct sl_tls_cas **out_cas, struct sl_span pem); // or E_TLS_CONFIG
void sl_tls_cas_ref(struct sl_tls_cas *cas);  // NULL: nothing
void sl_tls_cas_free(struct sl_tls_cas *cas); // gives a reference back

// What is told of a client's certificate.
struct sl_tls_client {
    int64_t end_s;       // Unix time at which it, or that of an issuer, ends: its tickets do not resume after that
    uint8_t sha256[32];  // of its DER
    uint16_t text_len;
    char text[]; // lines: "subject CN=a,O=b", then of its other names "dns ", "uri ", "email " or "ip " and the name. Printable ASCII
};

// What the clients of one row agree on, how they may resume, and what they may send before the handshake is done.
#define SL_TLS_TICKETS_MAX 16u
#define SL_TLS_TICKET_LIFETIME_S_MAX 604800u // RFC 8446, 4.6.1
#define SL_TLS_TENANT_BYTES 32u
struct sl_tls_policy {
    uint8_t resumption;         // enum sl_resumption_mode
    uint8_t tickets;            // of a connection, up to SL_TLS_TICKETS_MAX
    uint8_t early_data;         // may be offered: needs ONCE or SEALED
    uint32_t ticket_lifetime_s; // 1 to SL_TLS_TICKET_LIFETIME_S_MAX
    uint32_t early_window_s;    // how old a ticket may be that brings early data
    uint32_t early_methods;     // what may run early: a bit for each enum sl_method,
    uint32_t early_bytes_max;   // and bodies up to this size
    uint32_t age_skew_ms;       // early data of a client whose clock differs by more waits for the handshake
    uint16_t version_min;       // 0: TLS 1.2
    uint8_t group_count;        // 0: the usual ones
    uint16_t groups[SL_GROUPS_MAX];      // TLS numbers, the best first
    uint8_t alpn_off;            // the client's ALPN is ignored
    uint8_t client_auth;         // enum sl_client_auth_mode; the clock must be set then
    struct sl_tls_cas *cas;      // of client_auth; a context takes a reference of its own
    uint8_t tenant[SL_TLS_TENANT_BYTES]; // with client_auth, its CAs and the names of its row: a ticket resumes only where both are the same
};

bool sl_tls_group_known(uint32_t group); // whether the key exchange knows it

// What all contexts of a process share to make tickets single-use.
struct sl_tickets;
// set_bytes: of the single-use set, 0: no row has ONCE with early data; vault_bytes: of sealed keys, 0: no row is SEALED.
int sl_tickets_new(struct sl_tickets **out_tickets, uint64_t set_bytes, uint64_t vault_bytes,
                   uint64_t window_ns, uint64_t now_ns);
void sl_tickets_free(struct sl_tickets *tickets); // after the contexts
void sl_tickets_tend(struct sl_tickets *tickets, uint64_t now_ns); // one thread, each sl_tickets_tend_ns
uint64_t sl_tickets_tend_ns(const struct sl_tickets *tickets);     // 0: never
void sl_tickets_describe(const struct sl_tickets *tickets, uint64_t now_ns, struct sl_counters *out); // fills in ticket_set_... and ticket_horizon_ms. Any thread

struct sl_stek_ring; // stek.h
struct sl_tls_ctx; // one per worker and listener's certificates; outlives its connections
// policies: one for each certificate of `sni`; NULL: zeroes. Without tickets nobody resumes. counters: of the same thread.
int sl_tls_ctx_new(struct sl_tls_ctx **out_ctx, struct sl_tls_sni *sni,
                   const struct sl_tls_policy *policies, struct sl_tickets *tickets,
                   struct sl_counters *counters);
// Handshakes from now on are by this table, which has as many certificates as the one before; those under way go on with what they chose. Tickets
// stay good where the names are the same. Takes a reference, gives back the one before. E_NO_MEMORY: nothing has changed.
int sl_tls_ctx_set_sni(struct sl_tls_ctx *ctx, struct sl_tls_sni *sni);
const struct sl_tls_sni *sl_tls_ctx_sni(const struct sl_tls_ctx *ctx);
// A row with client_auth judges by these CAs from now on, also in handshakes under way. Tickets made before resume no more. Takes a reference, gives
// back that to the ones before. The same ones again: nothing is done. E_NO_MEMORY: nothing has changed.
int sl_tls_ctx_set_cas(struct sl_tls_ctx *ctx, unsigned row, struct sl_tls_cas *cas);
// Takes a reference, gives back the one before. Until the first, nobody resumes.
void sl_tls_ctx_set_steks(struct sl_tls_ctx *ctx, struct sl_stek_ring *ring);
// The time of what its connections do next: the clock of sl_tickets_new, and Unix time.
void sl_tls_ctx_set_clock(struct sl_tls_ctx *ctx, uint64_t now_ns, int64_t unix_ms);
void sl_tls_ctx_free(struct sl_tls_ctx *ctx);

struct sl_tls; // one connection
struct sl_tls *sl_tls_new(struct sl_tls_ctx *ctx); // NULL: out of memory
void sl_tls_free(struct sl_tls *tls);

// What a ClientHello says, as it came: bytes of the wire, any values. They are there during the call alone.
struct sl_tls_hello {
    struct sl_span server_name; // {NULL, 0}: none
    struct sl_span alpn;        // names, a byte with its length before each
    struct sl_span versions;    // u16, big endian; empty: legacy_version is the newest
    struct sl_span ciphers, groups; // u16, big endian
    uint16_t legacy_version;
};
// True: the handshake waits, without a thread, until sl_tls_answer. False: it goes on with the ordinary row, that of the server name.
typedef bool sl_tls_ask_fn(void *owner, const struct sl_tls_hello *hello);
enum sl_tls_answer { SL_TLS_ORDINARY, SL_TLS_ROW_OF, SL_TLS_REJECT };
// Before the first byte: `ask` is called once, in sl_tls_read, before the row is chosen and a ticket is looked at.
void sl_tls_ask(struct sl_tls *tls, sl_tls_ask_fn *ask, void *owner);
bool sl_tls_asks(const struct sl_tls *tls); // it waits for the answer: sl_tls_read returns 0 until then, also without sl_tls_wants_out
// Only while it asks; sl_tls_read goes on. ROW_OF: certificates and policy are those of `name`, the tenant of its tickets, too. REJECT: the alert
// handshake_failure. False: no certificate answers that name, so the answer was taken as ORDINARY.
bool sl_tls_answer(struct sl_tls *tls, enum sl_tls_answer answer, struct sl_span name);

enum sl_tls_state { SL_TLS_HANDSHAKE, SL_TLS_OPEN, SL_TLS_ENDED, SL_TLS_FAILED };
// ENDED: the peer sent close_notify, nothing more can be read; writing is still possible until sl_tls_close_notify.
enum sl_tls_state sl_tls_state(const struct sl_tls *tls);

// Lends `len` bytes from the peer. They must stay in place until sl_tls_hungry() says true. Only while hungry.
void sl_tls_feed(struct sl_tls *tls, const uint8_t *data, uint32_t len);
bool sl_tls_hungry(const struct sl_tls *tls); // all that was fed is consumed

// Advances the handshake, then reads up to `cap` bytes of plaintext. > 0: bytes; 0: needs more from the peer, or room for output (see
// sl_tls_wants_out); SL_E_TLS_...: failed (an alert may be in the out buffer), E_CLIENT_CLOSED: close_notify, a clean end. Call it until it
// returns 0 before waiting for the peer: hungry alone does not mean that no plaintext waits inside.
int sl_tls_read(struct sl_tls *tls, uint8_t *out, uint32_t cap);

// Where records go. The owner gives an empty buffer whenever none is in place and takes it with its bytes when it wants to send. One of 20 KiB
// takes any flight of a handshake at once. Without a buffer, or when it is full, the engine waits.
void sl_tls_out_give(struct sl_tls *tls, uint8_t *buffer, uint32_t cap);
uint32_t sl_tls_out_take(struct sl_tls *tls); // bytes in the buffer; it is the owner's again
uint32_t sl_tls_out_bytes(const struct sl_tls *tls);
bool sl_tls_wants_out(const struct sl_tls *tls); // it stopped for want of a buffer, or of room in the one in place

// Seals plaintext of iov[0..count) into the out buffer, as much as fits in whole records; small pieces share a record. Returns bytes of
// plaintext taken, 0 if there is no room (then sl_tls_wants_out) or the handshake is not done, or a status (E_STATE after close_notify).
int64_t sl_tls_write(struct sl_tls *tls, const struct iovec *iov, int count);
// Queues the alert into the out buffer, once; during the handshake there is nothing to close. Reading goes on.
void sl_tls_close_notify(struct sl_tls *tls);
// The socket reached its end: what that means. E_CLIENT_CLOSED after close_notify, E_TLS_TRUNCATED without, E_TLS_HANDSHAKE inside the
// handshake, the old status if it had failed. All that was fed must have been read.
int sl_tls_eof(struct sl_tls *tls);

// True: what was read so far may be a replay (RFC 8446, 8): the client has not proven that it is there. It turns false when its Finished has been
// read; then what came before is proven, too. On a connection that fails before that it stays true.
bool sl_tls_in_early_data(const struct sl_tls *tls);
// Whether the client's idea of its ticket's age agrees with ours, and its policy lets such a request run early.
bool sl_tls_early_data_allows(const struct sl_tls *tls, uint8_t method, uint64_t body_bytes);

struct sl_tls_info {
    uint16_t version; // 0x0304
    uint16_t cipher;
    uint16_t group; // of the key exchange
    bool resumed, early; // early: early data was accepted
    const struct sl_tls_client *client; // NULL: it showed no certificate. As long as the connection lives
    char alpn[16];
    char sni[256];
};
// Once it is OPEN: the row of the server name that the client sent, or the one that sl_tls_answer chose; and of another name on its listener.
uint8_t sl_tls_row(const struct sl_tls *tls);
uint8_t sl_tls_row_of(const struct sl_tls *tls, const uint8_t *name, size_t len);
// Whether the names of a row that is not the connection's may be served there, too: the answer chose for a server name of this row, which asks nobody for a
// certificate. (Whoever does not ask for a name by SNI, or asks for another, has no claim to it: what it asks of its clients may not be passed by.)
bool sl_tls_serves(const struct sl_tls *tls, uint8_t row);
void sl_tls_info(const struct sl_tls *tls, struct sl_tls_info *out_info);
const char *sl_tls_error(const struct sl_tls *tls); // why SL_TLS_FAILED, for logs; "" if it did not, never NULL, a constant: nothing that the peer sent
enum sl_tls_reason sl_tls_reason(const struct sl_tls *tls); // the same, to count; OTHER if it did not
const char *sl_tls_reason_text(enum sl_tls_reason reason);

// A self-signed P-256 certificate for localhost, 127.0.0.1 and ::1, valid from `unix_s` - 1 h to `unix_s` + 365 days. `out` gets the length
// of the certificate's PEM (u32), that PEM, the key's PEM. Returns all bytes written (about 1 KiB), or a status.
int sl_tls_certificate_make(uint8_t *out, size_t len, int64_t unix_s);

// Of RFC 6455's handshake, which wants this one; it protects nothing.
void sl_tls_sha1(const uint8_t *data, size_t len, uint8_t out[20]);

#endif
