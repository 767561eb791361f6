// A client's bytes into a fresh server connection: whatever they are, the engine waits, fails with a status or says goodbye.
//
// The first byte chooses how the input is cut and how large the out buffer is. Then one of three: the raw bytes are fed; bit 6: they say how
// the flights of a BoringSSL client are damaged; bit 7: such a client shakes hands first, and they are what it does next (plaintext,
// KeyUpdates, alerts, or raw records between its own). Bit 4: with tickets, single-use ones or (bit 5) sealed ones, and the client offers one of an earlier
// connection, with early data. Bit 5 without bit 4: the row asks for a client certificate, and the client has one. Bit 3: a small out buffer, and the
// handshake waits for an answer to its ClientHello, which the input's length chooses.
#include <stdlib.h>
#include <time.h>

#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "sluice/event.h"
#include "sluice/sluice.h"
#include "stek.h"
#include "tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sl_counters tls_counters;
enum { PLAIN, ONCE, SEALED, MUTUAL, CONTEXTS };
static struct sl_tls_ctx *server_ctx[CONTEXTS]; // without tickets, with them, without and with a client certificate
static EVP_PKEY *client_key;
static X509 *client_x509;
static SSL_CTX *client_ctx;
static struct sl_tickets *tickets;
static int64_t unix_ms;
static uint64_t now_ns = SL_NS_PER_S; // moves with each input, so that the single-use set is never full
static SSL_SESSION *new_session;

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION_free(new_session);
    new_session = session;
    return 1;
}

// Its own CA, with what client_auth.c keeps of a certificate: a subject and names of each kind.
static void make_client(void) {
    static const struct {
        int nid;
        const char *value;
    } extensions[] = {
        {NID_basic_constraints, "critical,CA:TRUE"},
        {NID_ext_key_usage, "clientAuth"},
        {NID_subject_alt_name, "DNS:client.example,URI:spiffe://example/client,email:a@client.example,IP:192.0.2.1"},
    };
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    client_key = EVP_PKEY_new();
    client_x509 = X509_new();
    X509_NAME *name = X509_get_subject_name(client_x509);
    SL_ASSERT(EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(client_key, ec));
    SL_ASSERT(X509_set_version(client_x509, X509_VERSION_3) &&
              ASN1_INTEGER_set_uint64(X509_get_serialNumber(client_x509), 1) &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)"client", -1, -1, 0) &&
              X509_set_issuer_name(client_x509, name) &&
              X509_gmtime_adj(X509_getm_notBefore(client_x509), -3600) &&
              X509_gmtime_adj(X509_getm_notAfter(client_x509), 86400) &&
              X509_set_pubkey(client_x509, client_key));
    for (size_t i = 0; i < SL_COUNT_OF(extensions); i++) {
        X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, extensions[i].nid, extensions[i].value);
        SL_ASSERT(extension && X509_add_ext(client_x509, extension, -1));
        X509_EXTENSION_free(extension);
    }
    SL_ASSERT(X509_sign(client_x509, client_key, EVP_sha256()));
}

static void ask_clients(struct sl_tls_sni *sni) {
    struct sl_tls_policy policy = {.client_auth = SL_CLIENT_AUTH_REQUIRED};
    BIO *bio = BIO_new(BIO_s_mem());
    struct sl_span pem;
    make_client();
    SL_ASSERT(PEM_write_bio_X509(bio, client_x509) && BIO_mem_contents(bio, &pem.data, &pem.len));
    SL_ASSERT(sl_tls_cas_new(&policy.cas, pem) == SL_OK);
    BIO_free(bio);
    SL_ASSERT(sl_tls_ctx_new(&server_ctx[MUTUAL], sni, &policy, NULL, &tls_counters) == SL_OK);
    sl_tls_ctx_set_clock(server_ctx[MUTUAL], now_ns, (int64_t)time(NULL) * 1000);
}

static void give_tickets(struct sl_tls_sni *sni) {
    struct sl_stek_ring *ring;
    unix_ms = (int64_t)time(NULL) * 1000; // sessions have an age by the client's clock
    SL_ASSERT(sl_tickets_new(&tickets, 1 << 20, 1 << 16, 1024 * SL_NS_PER_S, now_ns) == SL_OK);
    SL_ASSERT(sl_stek_ring_rotate(&ring, NULL, unix_ms, 3600000, 4) == SL_OK);
    for (int i = ONCE; i <= SEALED; i++) {
        struct sl_tls_policy policy = {
            .resumption = i == ONCE ? SL_RESUMPTION_ONCE : SL_RESUMPTION_SEALED,
            .tickets = 2,
            .early_data = 1,
            .ticket_lifetime_s = 86400,
            .early_window_s = 1024,
            .early_methods = 1u << SL_METHOD_GET,
            .early_bytes_max = 1024,
            .age_skew_ms = 60000,
        };
        SL_ASSERT(sl_tls_ctx_new(&server_ctx[i], sni, &policy, tickets, &tls_counters) == SL_OK);
        sl_tls_ctx_set_steks(server_ctx[i], ring);
    }
    sl_stek_ring_unref(ring);
}

static void advance_clock(void) {
    now_ns += 100 * SL_NS_PER_MS;
    sl_tickets_tend(tickets, now_ns);
    for (int i = ONCE; i <= SEALED; i++) {
        sl_tls_ctx_set_clock(server_ctx[i], now_ns, unix_ms);
    }
}

static void set_up(void) {
    static uint8_t pem[4096];
    struct sl_tls_certificate *certificate;
    uint32_t cert_len = 0;
    int n = sl_tls_certificate_make(pem, sizeof(pem), 1800000000);
    SL_ASSERT(n > 4);
    memcpy(&cert_len, pem, 4);
    struct sl_span cert = {pem + 4, cert_len}, key = {pem + 4 + cert_len, (size_t)n - 4 - cert_len};
    SL_ASSERT(sl_tls_certificate_new(&certificate, cert, key) == SL_OK);
    struct sl_tls_sni *sni; // stays: the context looks names up in it
    SL_ASSERT(sl_tls_sni_new(&sni) == SL_OK && sl_tls_sni_add(sni, certificate, (struct sl_span){NULL, 0}) == SL_OK);
    SL_ASSERT(sl_tls_ctx_new(&server_ctx[PLAIN], sni, NULL, NULL, &tls_counters) == SL_OK);
    give_tickets(sni);
    ask_clients(sni);
    sl_tls_certificate_free(certificate);
    client_ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_session_cache_mode(client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client_ctx, keep_session);
}

struct run {
    struct sl_tls *tls;
    uint32_t piece, out_cap;
    SSL_SESSION *session; // that the client offers, or NULL
    uint8_t out[32768];
    uint8_t plain[4096];
    bool mutual;    // the client is asked for its certificate
    int answer;     // to its ClientHello: enum sl_tls_answer, or LEAVES
    uint32_t told;  // sum of what it said
    BIO *to_client; // NULL: records for the client are thrown away
};

#define LEAVES (SL_TLS_REJECT + 1)

// Reads each byte, so that ASan sees one too many.
static bool on_hello(void *owner, const struct sl_tls_hello *hello) {
    struct run *run = owner;
    const struct sl_span spans[] = {hello->server_name, hello->alpn, hello->versions, hello->ciphers, hello->groups};
    for (size_t i = 0; i < SL_COUNT_OF(spans); i++) {
        for (size_t k = 0; k < spans[i].len; k++) {
            run->told += spans[i].data[k];
        }
    }
    return true;
}

static void send_out(struct run *run) {
    uint32_t n = sl_tls_out_take(run->tls);
    if (run->to_client && n > 0) {
        BIO_write(run->to_client, run->out, (int)n);
    }
    sl_tls_out_give(run->tls, run->out, run->out_cap);
}

// As the owner does. False: the connection is over.
static bool advance(struct run *run) {
    for (;;) {
        int n = sl_tls_read(run->tls, run->plain, sizeof(run->plain));
        SL_ASSERT(n <= (int)sizeof(run->plain));
        if (n > 0) { // echo it
            struct iovec iov = {run->plain, (size_t)n};
            int64_t taken = sl_tls_write(run->tls, &iov, 1);
            SL_ASSERT(taken <= n);
            send_out(run);
        } else if (n == 0 && sl_tls_asks(run->tls)) {
            SL_ASSERT(sl_tls_read(run->tls, run->plain, sizeof(run->plain)) == 0 && sl_tls_asks(run->tls)); // it does not go on by itself
            if (run->answer == LEAVES) {
                return false;
            }
            SL_ASSERT(sl_tls_answer(run->tls, (enum sl_tls_answer)run->answer, sl_span_of("localhost")));
        } else if (n == 0 && sl_tls_wants_out(run->tls)) {
            send_out(run);
        } else {
            SL_ASSERT(n == 0 || n == SL_E_CLIENT_CLOSED ||
                      (n == SL_E_TLS_HANDSHAKE || n == SL_E_TLS_FAILED));
            SL_ASSERT(sl_tls_hungry(run->tls)); // nothing to wait for but the peer
            SL_ASSERT(n >= 0 || sl_tls_state(run->tls) >= SL_TLS_ENDED);
            SL_ASSERT((n < 0 && n != SL_E_CLIENT_CLOSED) == (sl_tls_error(run->tls)[0] != '\0'));
            send_out(run);
            return n == 0;
        }
    }
}

static bool feed(struct run *run, const uint8_t *data, size_t size) {
    for (size_t off = 0; off < size;) {
        uint32_t n = sl_min_u32(run->piece, (uint32_t)(size - off));
        uint8_t *lent = malloc(n); // of its own, so that ASan sees a byte too many
        memcpy(lent, data + off, n);
        sl_tls_feed(run->tls, lent, n);
        bool open = advance(run);
        free(lent);
        if (!open) {
            return false;
        }
        off += n;
    }
    return true;
}

static bool feed_from(struct run *run, BIO *bio) {
    const uint8_t *data;
    size_t len;
    SL_ASSERT(BIO_mem_contents(bio, &data, &len));
    bool open = feed(run, data, len);
    BIO_reset(bio);
    return open;
}

// One byte says what the client does, some of the following ones with what.
static bool client_step(struct run *run, SSL *client, BIO *from_client, const uint8_t **data,
                        size_t *size) {
    uint8_t op = **data & 3, len = **data >> 2;
    (*data)++;
    (*size)--;
    len = (uint8_t)sl_min_size(len, *size);
    if (op == 0) {
        SSL_write(client, *data, len);
    } else if (op == 1) {
        SSL_key_update(client, len & 1);
        SSL_write(client, "k", 1);
    } else if (op == 2) {
        SSL_shutdown(client);
    } else if (!feed(run, *data, len)) { // bytes that the client never sealed
        return false;
    }
    *data += len;
    *size -= len;
    return feed_from(run, from_client);
}

static SSL *client_new(struct run *run, BIO *in, BIO *out) {
    SSL *client = SSL_new(client_ctx);
    SL_ASSERT(SSL_use_certificate(client, client_x509) && SSL_use_PrivateKey(client, client_key)); // shown to who asks
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(client, in, out);
    SSL_set_connect_state(client);
    SSL_set_tlsext_host_name(client, "localhost");
    SSL_set_alpn_protos(client, (const uint8_t *)"\x08http/1.1", 9);
    run->to_client = in;
    if (run->piece & 1) {
        SSL_set_max_proto_version(client, TLS1_2_VERSION);
    } else if (run->session) {
        SSL_set_session(client, run->session);
        SSL_set_early_data_enabled(client, 1);
    }
    return client;
}

// One turn of its handshake, with a word in early data if it may; what was refused is sent again.
static void client_shake(SSL *client) {
    if (SSL_do_handshake(client) != 1) {
        if (SSL_get_error(client, -1) == SSL_ERROR_EARLY_DATA_REJECTED) {
            SSL_reset_early_data_reject(client);
            SSL_do_handshake(client);
        }
    } else if (SSL_in_early_data(client)) {
        SSL_write(client, "early", 5);
    }
}

// Of a connection that nobody disturbs.
static SSL_SESSION *first_session(struct sl_tls_ctx *ctx) {
    static struct run run;
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    run = (struct run){.tls = sl_tls_new(ctx), .out_cap = sizeof(run.out), .piece = UINT32_MAX - 1};
    sl_tls_out_give(run.tls, run.out, run.out_cap);
    SSL *client = client_new(&run, in, out);
    for (int turn = 0; turn < 3; turn++) {
        SSL_do_handshake(client);
        SL_ASSERT(feed_from(&run, out));
    }
    SSL_write(client, "x", 1); // its echo brings the ticket
    SL_ASSERT(feed_from(&run, out) && SSL_read(client, run.plain, 1) == 1);
    SSL_free(client);
    sl_tls_free(run.tls);
    SSL_SESSION *session = new_session;
    new_session = NULL;
    SL_ASSERT(session && SSL_SESSION_early_data_capable(session));
    return session;
}

static void with_client(struct run *run, const uint8_t *data, size_t size) {
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL *client = client_new(run, in, out);
    bool open = true;
    for (int turn = 0; turn < 4; turn++) {
        client_shake(client);
        open = open && feed_from(run, out);
    }
    struct sl_tls_info info;
    sl_tls_info(run->tls, &info);
    SL_ASSERT(open && sl_tls_state(run->tls) == SL_TLS_OPEN && !sl_tls_in_early_data(run->tls));
    SL_ASSERT((info.client != NULL) == run->mutual);
    SL_ASSERT(info.early == info.resumed && info.resumed == (run->session && !(run->piece & 1)));
    while (open && size > 0) {
        open = client_step(run, client, out, &data, &size);
        SSL_read(client, run->plain, sizeof(run->plain));
    }
    run->to_client = NULL;
    SSL_free(client);
}

// Triples: where (16 bits, taken modulo the flight's length), and what is xored there. A zero ends the flight's share.
static void damage(uint8_t *flight, size_t len, const uint8_t **data, size_t *size) {
    while (*size >= 3) {
        size_t at = (size_t)((*data)[0] << 8 | (*data)[1]);
        uint8_t mask = (*data)[2];
        *data += 3;
        *size -= 3;
        if (mask == 0) {
            return;
        }
        flight[at % len] ^= mask;
    }
}

static void with_damage(struct run *run, const uint8_t *data, size_t size) {
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL *client = client_new(run, in, out);
    bool open = true;
    for (int turn = 0; turn < 4 && open; turn++) {
        client_shake(client);
        const uint8_t *flight;
        size_t len;
        SL_ASSERT(BIO_mem_contents(out, &flight, &len));
        if (len > 0) {
            uint8_t *copy = malloc(len);
            memcpy(copy, flight, len);
            BIO_reset(out);
            damage(copy, len, &data, &size);
            open = feed(run, copy, len);
            free(copy);
        }
    }
    run->to_client = NULL;
    SSL_free(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t pieces[] = {UINT32_MAX, 1, 5, 4096, 17, 333, 2, 1000};
    static struct run run;
    if (!client_ctx) {
        set_up();
    }
    if (size < 1) {
        return 0;
    }
    advance_clock();
    static const int kinds[] = {PLAIN, ONCE, MUTUAL, SEALED}; // by bits 5 and 4
    int kind = kinds[data[0] >> 4 & 3];
    struct sl_tls_ctx *ctx = server_ctx[kind];
    bool resumes = (kind == ONCE || kind == SEALED) && data[0] & 0xc0;
    SSL_SESSION *session = resumes ? first_session(ctx) : NULL;
    run = (struct run){.tls = sl_tls_new(ctx), .session = session, .piece = pieces[data[0] & 7], .mutual = kind == MUTUAL};
    run.out_cap = data[0] & 8 ? 100 : sizeof(run.out);
    run.answer = (int)(size & (data[0] & 0x80 ? 1 : 3)); // an undisturbed client is let in
    if (data[0] & 8) {
        sl_tls_ask(run.tls, on_hello, &run);
    }
    sl_tls_out_give(run.tls, run.out, run.out_cap);
    if (data[0] & 0x80) {
        with_client(&run, data + 1, size - 1);
    } else if (data[0] & 0x40) {
        with_damage(&run, data + 1, size - 1);
    } else {
        feed(&run, data + 1, size - 1);
    }
    sl_tls_close_notify(run.tls);
    send_out(&run);
    SL_ASSERT(sl_tls_eof(run.tls) < 0);
    sl_tls_free(run.tls);
    SSL_SESSION_free(session);
    SSL_SESSION_free(new_session);
    new_session = NULL;
    ERR_clear_error();
    return 0;
}
