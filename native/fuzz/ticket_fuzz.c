// Any bytes as a session ticket: what was not sealed here is a miss, never an error that would end the connection, and never a session.
//
// The first byte chooses the mode (2 bits: off, stateless, once, sealed), TLS 1.2 (bit 2), whether early data is offered (bit 3), whether the rest is the
// ticket itself or says how a good one is changed (bit 4: pairs of place and mask; bit 5: its length, too, by the next byte), and whether a
// client offers it in a whole handshake (bit 7), which must succeed.
#include <stdlib.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "ticket.h"
#include "tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_NS SL_NS_PER_S
#define TICKET_MAX 2048u

// A server's half as tls.c makes it, with its callbacks' state in the open.
struct server {
    struct sl_tls_policy policy;
    struct sl_ticket_ctx ctx;
    struct sl_ticket_conn conn;
    SSL_CTX *ssl_ctx;
    SSL *ssl; // has shaken hands, so that it knows its version
    SSL_SESSION *session;
    uint8_t ticket[TICKET_MAX]; // the session's
    size_t ticket_len;
};
static struct server servers[8];
static SSL_CTX *client_ctx;
static struct sl_counters counters;
static SSL_SESSION *new_session;

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION_free(new_session);
    new_session = session;
    return 1;
}

static SSL *make_side(SSL_CTX *ctx, BIO *in, BIO *out) {
    SSL *ssl = SSL_new(ctx);
    BIO_up_ref(in);
    BIO_up_ref(out);
    SSL_set_bio(ssl, in, out);
    return ssl;
}

// One connection of a client to a server; *out_server is for who wants to keep it. Its handshake must succeed.
static void connect_to(struct server *server, SSL_SESSION *offered, SSL **out_server) {
    BIO *up = BIO_new(BIO_s_mem()), *down = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(up, -1);
    BIO_set_mem_eof_return(down, -1);
    SSL *client = make_side(client_ctx, down, up), *ssl = make_side(server->ssl_ctx, up, down);
    server->conn = (struct sl_ticket_conn){.ctx = &server->ctx, .policy = &server->policy};
    SSL_set_app_data(ssl, &server->conn);
    SSL_set_connect_state(client);
    SSL_set_accept_state(ssl);
    SSL_set_max_proto_version(client, server - servers >= 4 ? TLS1_2_VERSION : TLS1_3_VERSION);
    if (offered) {
        SL_ASSERT(SSL_set_session(client, offered));
    }
    int there = 0, here = 0;
    for (int turn = 0; turn < 4 && !(there == 1 && here == 1); turn++) {
        there = SSL_do_handshake(client);
        here = SSL_do_handshake(ssl);
    }
    SL_ASSERT(there == 1 && here == 1);
    char byte;
    SSL_write(ssl, "a", 1); // the ticket goes with it
    SL_ASSERT(SSL_read(client, &byte, 1) == 1 && byte == 'a');
    SSL_free(client);
    BIO_free(up);
    BIO_free(down);
    if (out_server) {
        *out_server = ssl;
    } else {
        SSL_free(ssl);
    }
}

// A ticket of its own; `server` has tickets.
static void take_ticket(struct server *server) {
    const uint8_t *ticket;
    SSL_SESSION_get0_ticket(new_session, &ticket, &server->ticket_len);
    SL_ASSERT(server->ticket_len > 0 && server->ticket_len <= TICKET_MAX);
    memcpy(server->ticket, ticket, server->ticket_len);
    server->session = new_session;
    new_session = NULL;
}

static SSL_CTX *server_ctx(X509 *x509, EVP_PKEY *key) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_ticket_aead_method(ctx, &sl__ticket_method);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SL_ASSERT(SSL_CTX_use_certificate(ctx, x509) && SSL_CTX_use_PrivateKey(ctx, key) &&
              SSL_CTX_set_session_id_context(ctx, (const uint8_t *)"tenant", 6));
    return ctx;
}

static void set_up(void) {
    static uint8_t pem[4096];
    struct sl_tickets *tickets;
    struct sl_stek_ring *ring;
    uint32_t cert_len;
    int n = sl_tls_certificate_make(pem, sizeof(pem), (int64_t)time(NULL));
    memcpy(&cert_len, pem, 4);
    BIO *cert = BIO_new_mem_buf(pem + 4, (int)cert_len), *key_pem = BIO_new_mem_buf(pem + 4 + cert_len, n - 4 - (int)cert_len);
    X509 *x509 = PEM_read_bio_X509(cert, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(key_pem, NULL, NULL, NULL);
    SL_ASSERT(x509 && key && sl_tickets_new(&tickets, 1 << 16, 1 << 16, 1024 * SL_NS_PER_S, NOW_NS) == SL_OK);
    SL_ASSERT(sl_stek_ring_rotate(&ring, NULL, (int64_t)time(NULL) * 1000, 3600000, 4) == SL_OK);
    client_ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_verify(client_ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client_ctx, keep_session);
    for (unsigned i = 0; i < 8; i++) {
        struct server *s = &servers[i];
        s->policy = (struct sl_tls_policy){.resumption = (uint8_t)(i & 3), .tickets = 16, .early_data = (i & 3) >= SL_RESUMPTION_ONCE,
                                           .ticket_lifetime_s = 604800, .early_window_s = 1024};
        s->ctx = (struct sl_ticket_ctx){.shared = tickets, .ring = ring, .now_ns = NOW_NS, .counters = &counters,
                                        .unix_ms = (int64_t)time(NULL) * 1000};
        s->ssl_ctx = server_ctx(x509, key);
        connect_to(s, NULL, &s->ssl);
        bool has = (i & 3) != SL_RESUMPTION_OFF;
        SL_ASSERT((new_session != NULL) == has);
        if (has) {
            take_ticket(s);
        }
    }
    X509_free(x509);
    EVP_PKEY_free(key);
    BIO_free(cert);
    BIO_free(key_pem);
}

// The ticket that an input stands for, in memory of exactly its size.
static uint8_t *ticket_of(const struct server *server, const uint8_t *data, size_t size, uint8_t how, size_t *out_len) {
    size_t len = size;
    if (how & 0x10) {
        len = server->ticket_len;
        if ((how & 0x20) && size > 0) {
            len = sl_min_size(len, data[0]);
            data++;
            size--;
        }
    }
    uint8_t *ticket = malloc(len ? len : 1);
    if (!(how & 0x10)) {
        memcpy(ticket, data, len);
    } else {
        memcpy(ticket, server->ticket, len);
        for (size_t i = 0; i + 1 < size && len > 0; i += 2) {
            ticket[data[i] % len] ^= data[i + 1];
        }
    }
    *out_len = len;
    return ticket;
}

// As BoringSSL calls it: room for what the wire had, no more.
static void open_it(struct server *server, const uint8_t *ticket, size_t len, bool early) {
    uint8_t *out = malloc(len ? len : 1);
    size_t out_len = 99;
    bool good = len == server->ticket_len && memcmp(ticket, server->ticket, len) == 0;
    server->conn = (struct sl_ticket_conn){.ctx = &server->ctx, .policy = &server->policy, .early_offered = early};
    enum ssl_ticket_aead_result_t result = sl__ticket_method.open(server->ssl, out, &out_len, len, ticket, len);
    SL_ASSERT(result == ssl_ticket_aead_success || result == ssl_ticket_aead_ignore_ticket);
    SL_ASSERT(result == ssl_ticket_aead_success ? good && out_len < len : out_len == 0);
    bool single = server->policy.resumption == SL_RESUMPTION_SEALED && SSL_version(server->ssl) >= TLS1_3_VERSION;
    SL_ASSERT(!good || len == 0 || single || result == ssl_ticket_aead_success);
    free(out);
}

static void offer_it(struct server *server, const uint8_t *ticket, size_t len) {
    if (server->ticket_len == 0 || len == 0 || len > 4000) {
        return;
    }
    SSL_SESSION *session = SSL_SESSION_copy_without_early_data(server->session);
    SL_ASSERT(SSL_SESSION_set_ticket(session, ticket, len));
    uint64_t resumed = counters.tickets_opened;
    connect_to(server, session, NULL);
    bool good = len == server->ticket_len && memcmp(ticket, server->ticket, len) == 0;
    SL_ASSERT(good || counters.tickets_opened == resumed);
    SSL_SESSION_free(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t len;
    if (!client_ctx) {
        set_up();
    }
    if (size < 1) {
        return 0;
    }
    struct server *server = &servers[data[0] & 7];
    uint8_t *ticket = ticket_of(server, data + 1, size - 1, data[0], &len);
    open_it(server, ticket, len, data[0] & 8);
    if (data[0] & 0x80) {
        offer_it(server, ticket, len);
    }
    free(ticket);
    ERR_clear_error();
    return 0;
}
