#include "client_auth.h"
#include "ticket.h"
#include "tls_compression.h"
#include "tls_sni.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/sha.h>

#define PLAIN_MAX 16384u // of one record
#define RECORD_MIN                                                                                 \
    1024u // a smaller rest of the out buffer is left empty, unless all that is to be sent fits
#define CLIENT_CHAIN_BYTES_MAX 16384u // of the Certificate message
#define SPILL_BYTES 64u // an alert or a KeyUpdate of TLS 1.2 and 1.3, sealed: 27 to 31 bytes

struct sl_tls_ctx {
    SSL_CTX *ssl_ctx;
    struct sl_tls_sni *sni;
    SSL_CREDENTIAL *credentials[SL_TLS_CERTIFICATES_MAX]; // by the certificate's number in sni
    uint8_t preferred[SL_TLS_CERTIFICATES_MAX];           // these numbers, by key type
    unsigned count;
    struct sl_tls_policy policies[SL_TLS_CERTIFICATES_MAX]; // by the same number
    uint8_t tenants[SL_TLS_CERTIFICATES_MAX]
                   [SL_TLS_TENANT_BYTES]; // as they were given, without the names
    struct sl_client_auth client_auth[SL_TLS_CERTIFICATES_MAX];
    struct sl_ticket_ctx tickets;
    BIO_METHOD *bio_method;
    uint8_t scratch[PLAIN_MAX]; // where small pieces meet to share a record
};

// Whether somebody else than the server name chooses the row.
enum hello_state { HELLO_ORDINARY, HELLO_TO_ASK, HELLO_ASKED, HELLO_CHOSEN, HELLO_REJECTED };

struct sl_tls {
    SSL *ssl;
    struct sl_tls_ctx *ctx;
    struct sl_ticket_conn ticket;
    const uint8_t *in; // lent by the owner
    uint32_t in_len, in_off;
    uint32_t out_cap, out_len;
    uint8_t *out; // lent by the owner, or NULL
    const char *error;
    sl_tls_ask_fn *ask; // while hello is HELLO_TO_ASK
    void *asker;
    struct sl_tls_choice
        chosen; // while it is HELLO_CHOSEN. Certificates keep their numbers, whatever is replaced meanwhile
    uint8_t hello; // enum hello_state
    uint8_t chosen_row;
    const char *refused; // why the client's certificate was, or NULL
    int verdict; // how reading ended, SL_OK while it goes on; set with the last plaintext, told after it
    uint8_t state;  // enum sl_tls_state
    uint8_t reason; // enum sl_tls_reason, of error
    uint8_t first_byte;
    bool fed, blocked, closing;
    bool
        proven; // the client's Finished was read and is right. Never set otherwise: a connection that fails stays unproven
    // BoringSSL cannot send an alert a second time when its BIO was full (its bug 130). What is this small waits here for the next buffer
    // instead of being refused.
    uint8_t spill_len;
    uint8_t spill[SPILL_BYTES];
};

static struct sl_tls *tls_of(const SSL *ssl) {
    struct sl_ticket_conn *conn = SSL_get_app_data(ssl);
    return SL_CONTAINER_OF(conn, struct sl_tls, ticket);
}

// ---- why ----

// One for each of ours, in their order.
static const char *const reason_texts[] = {
#define REASON_TEXT(name, label, text) text,
    SL_TLS_REASON_MAP(REASON_TEXT)
#undef REASON_TEXT
};

static const struct {
    int theirs;
    enum sl_tls_reason ours;
} reasons[] = {
    {SSL_R_HTTP_REQUEST, SL_TLS_PLAIN_HTTP},
    {SSL_R_HTTPS_PROXY_REQUEST, SL_TLS_PLAIN_CONNECT},
    {SSL_R_UNSUPPORTED_PROTOCOL, SL_TLS_VERSION},
    {SSL_R_NO_SHARED_CIPHER, SL_TLS_CIPHER},
    {SSL_R_NO_SHARED_GROUP, SL_TLS_GROUP},
    {SSL_R_NO_COMMON_SIGNATURE_ALGORITHMS, SL_TLS_SIGNATURE},
    {SSL_R_UNKNOWN_CERTIFICATE_TYPE, SL_TLS_CERTIFICATE_TYPE},
    {SSL_R_NO_APPLICATION_PROTOCOL, SL_TLS_ALPN},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, SL_TLS_CLIENT_CERTIFICATE_MISSING},
    {SSL_R_BAD_SIGNATURE, SL_TLS_CLIENT_SIGNATURE},
    {SSL_R_WRONG_VERSION_NUMBER, SL_TLS_NO_TLS},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, SL_TLS_RECORD_CHANGED},
    {SSL_R_BAD_PACKET_LENGTH, SL_TLS_RECORD_SHORT},
    {SSL_R_NO_RENEGOTIATION, SL_TLS_RENEGOTIATION},
    {SSL_R_TOO_MANY_KEY_UPDATES, SL_TLS_KEY_UPDATES},
    {SSL_R_TOO_MANY_EMPTY_FRAGMENTS, SL_TLS_EMPTY_RECORDS},
    {SSL_R_TOO_MANY_WARNING_ALERTS, SL_TLS_WARNINGS},
    {SSL_R_INAPPROPRIATE_FALLBACK, SL_TLS_FALLBACK},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, SL_TLS_ALERT_HANDSHAKE_FAILURE},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, SL_TLS_ALERT_BAD_CERTIFICATE},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, SL_TLS_ALERT_UNSUPPORTED_CERTIFICATE},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, SL_TLS_ALERT_CERTIFICATE_REVOKED},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, SL_TLS_ALERT_CERTIFICATE_EXPIRED},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, SL_TLS_ALERT_CERTIFICATE_UNKNOWN},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, SL_TLS_ALERT_UNKNOWN_CA},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, SL_TLS_ALERT_PROTOCOL_VERSION},
    {SSL_R_TLSV1_ALERT_USER_CANCELLED, SL_TLS_ALERT_USER_CANCELLED},
};

static enum sl_tls_reason reason_of(int theirs) {
    for (size_t i = 0; i < SL_COUNT_OF(reasons); i++) {
        if (reasons[i].theirs == theirs) {
            return reasons[i].ours;
        }
    }
    return SL_TLS_OTHER;
}

// OpenSSL's clients send the alert that refuses a certificate in the clear, where BoringSSL expects a sealed record and fails to open it. For
// the text alone (anyone could have sent it) look at the record that was read last. 0: it is no fatal alert.
static int plain_alert_reason(const struct sl_tls *tls) {
    static const uint8_t fatal_alert[] = {0x15, 3, 3, 0, 2, 2};
    if (tls->in_off < 7) {
        return 0;
    }
    const uint8_t *record = tls->in + tls->in_off - 7;
    return memcmp(record, fatal_alert, 6) == 0 ? SSL_AD_REASON_OFFSET + record[6] : 0;
}

// OTHER: nothing that only a handshake knows.
static enum sl_tls_reason reason_in_handshake(const struct sl_tls *tls, int theirs) {
    // BoringSSL knows five methods. Anything that begins with a letter was meant for another port: TLS begins with 0x16.
    bool letter = (tls->first_byte | 0x20) >= 'a' && (tls->first_byte | 0x20) <= 'z';
    if (theirs == SSL_R_WRONG_VERSION_NUMBER && letter) {
        return SL_TLS_PLAIN_TEXT;
    }
    return theirs == SSL_R_BAD_PACKET_LENGTH ? reason_of(plain_alert_reason(tls)) : SL_TLS_OTHER;
}

static enum sl_tls_reason reason_of_error(const struct sl_tls *tls, uint32_t error) {
    int theirs = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    const struct sl_tls_policy *policy = tls->ticket.policy;
    if (theirs == SSL_R_UNSUPPORTED_PROTOCOL && policy && policy->version_min == TLS1_3_VERSION) {
        return SL_TLS_VERSION_POLICY;
    }
    if (theirs == SSL_R_CONNECTION_REJECTED && tls->hello == HELLO_REJECTED) {
        return SL_TLS_HELLO_REFUSED;
    }
    if (theirs == SSL_R_CERTIFICATE_VERIFY_FAILED && tls->refused) {
        return SL_TLS_CLIENT_CERTIFICATE;
    }
    enum sl_tls_reason ours =
        tls->state == SL_TLS_HANDSHAKE ? reason_in_handshake(tls, theirs) : SL_TLS_OTHER;
    return ours ? ours : reason_of(theirs);
}

static void set_reason(struct sl_tls *tls, enum sl_tls_reason reason) {
    tls->reason = (uint8_t)reason;
    tls->error = reason_texts[reason];
}

// The sentence is more precise than the reason where ours are: of a client's certificate, and of what only BoringSSL has words for.
static void set_error(struct sl_tls *tls, uint32_t error) {
    set_reason(tls, reason_of_error(tls, error));
    const char *text = ERR_reason_error_string(error);
    if (tls->reason == SL_TLS_CLIENT_CERTIFICATE) {
        tls->error = tls->refused;
    } else if (tls->reason == SL_TLS_OTHER && text) {
        tls->error = text;
    }
}

const char *sl_tls_reason_text(enum sl_tls_reason reason) { return reason_texts[reason]; }

// ---- the transport: a BIO over two lent buffers ----

static int bio_read(BIO *bio, char *out, int len) {
    struct sl_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    uint32_t n = sl_min_u32((uint32_t)len, tls->in_len - tls->in_off);
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, tls->in + tls->in_off, n);
    tls->in_off += n;
    return (int)n;
}

// What spilled goes first: while something waits in the spill the buffer is full or absent.
static size_t out_room(const struct sl_tls *tls) { return tls->out_cap - tls->out_len; }

static int bio_write(BIO *bio, const char *data, size_t len, size_t *out_written) {
    struct sl_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t n = sl_min_size(len, out_room(tls));
    if (n > 0) {
        memcpy(tls->out + tls->out_len, data, n);
        tls->out_len += (uint32_t)n;
    } else if (tls->spill_len + len <= SPILL_BYTES) {
        memcpy(tls->spill + tls->spill_len, data, len);
        tls->spill_len += (uint8_t)len;
        n = len;
    } else {
        tls->blocked = true;
        BIO_set_retry_write(bio);
        return 0;
    }
    *out_written = n;
    return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long larg, void *parg) {
    (void)bio, (void)larg, (void)parg;
    return cmd == BIO_CTRL_FLUSH; // nothing is held back: flushed
}

// ---- the context ----

static int select_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in,
                       unsigned in_len, void *arg) {
    (void)arg;
    const struct sl_tls_policy *policy = tls_of(ssl)->ticket.policy; // its row was chosen before
    if (policy->alpn_off) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    static const uint8_t http1[] = "http/1.1";
    const uint8_t http1_len = sizeof(http1) - 1;
    for (unsigned i = 0; i < in_len; i += 1u + in[i]) { // BoringSSL has checked the list's shape
        if (in[i] == http1_len && memcmp(in + i + 1, http1, http1_len) == 0) {
            *out = http1;
            *out_len = http1_len;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// The host name that the ClientHello asks for; {NULL, 0}: none, or not well-formed (BoringSSL will refuse it).
static struct sl_span server_name(const SSL_CLIENT_HELLO *hello) {
    const uint8_t *data;
    size_t len;
    CBS extension, list, name;
    uint8_t type;
    if (!SSL_early_callback_ctx_extension_get(hello, TLSEXT_TYPE_server_name, &data, &len)) {
        return (struct sl_span){NULL, 0};
    }
    CBS_init(&extension, data, len);
    bool ok = CBS_get_u16_length_prefixed(&extension, &list) && CBS_get_u8(&list, &type) &&
              type == TLSEXT_NAMETYPE_host_name && CBS_get_u16_length_prefixed(&list, &name);
    return ok ? (struct sl_span){CBS_data(&name), CBS_len(&name)} : (struct sl_span){NULL, 0};
}

static bool add_credentials(SSL *ssl, const struct sl_tls_ctx *ctx, uint64_t certificates) {
    for (unsigned i = 0; i < ctx->count; i++) {
        unsigned number = ctx->preferred[i];
        if ((certificates >> number & 1) && !SSL_add1_credential(ssl, ctx->credentials[number])) {
            return false;
        }
    }
    return true;
}

static enum ssl_verify_result_t verify_client(SSL *ssl, uint8_t *out_alert) {
    struct sl_tls *tls = tls_of(ssl);
    struct sl_ticket_conn *conn = &tls->ticket;
    struct sl_counters *counters = conn->ctx->counters;
    const struct sl_client_auth *auth = &tls->ctx->client_auth[conn->policy - tls->ctx->policies];
    switch (sl__client_verify(auth, ssl, conn->ctx->unix_ms / 1000, &conn->shown, out_alert,
                              &tls->refused)) {
    case SL_CLIENT_OK:
        counters->client_certs_verified++;
        return ssl_verify_ok;
    case SL_CLIENT_UNKNOWN_CA:
        counters->client_certs_unknown_ca++;
        return ssl_verify_invalid;
    case SL_CLIENT_EXPIRED:
        counters->client_certs_expired++;
        return ssl_verify_invalid;
    default:
        counters->client_certs_refused++;
        return ssl_verify_invalid;
    }
}

static bool ask_client(const struct sl_tls_ctx *ctx, SSL *ssl, const struct sl_tls_policy *policy) {
    const struct sl_client_auth *auth = &ctx->client_auth[policy - ctx->policies];
    return !policy->client_auth ||
           sl__client_auth_ask(auth, ssl, policy->client_auth, verify_client);
}

// The row's policy. It is known before BoringSSL chooses a version and a group, and before it looks at a ticket.
static bool apply_policy(struct sl_ticket_conn *conn, const SSL_CLIENT_HELLO *hello,
                         const struct sl_tls_policy *policy) {
    const uint8_t *data;
    size_t len;
    conn->policy = policy;
    if ((policy->version_min && !SSL_set_min_proto_version(hello->ssl, policy->version_min)) ||
        (policy->group_count &&
         !SSL_set1_group_ids(hello->ssl, policy->groups, policy->group_count))) {
        return false;
    }
    conn->early_offered =
        SSL_early_callback_ctx_extension_get(hello, TLSEXT_TYPE_early_data, &data, &len);
    if (policy->resumption == SL_RESUMPTION_OFF) {
        SSL_set_options(hello->ssl, SSL_OP_NO_TICKET);
        return true;
    }
    SSL_set_early_data_enabled(hello->ssl, policy->early_data);
    return SSL_set_session_id_context(hello->ssl, policy->tenant, sizeof(policy->tenant));
}

// The list in an extension, behind its own length; empty: there is none, or it is not well-formed.
static struct sl_span extension_list(const SSL_CLIENT_HELLO *hello, uint16_t type,
                                     bool short_length) {
    const uint8_t *data;
    size_t len;
    CBS extension, list;
    if (!SSL_early_callback_ctx_extension_get(hello, type, &data, &len)) {
        return (struct sl_span){NULL, 0};
    }
    CBS_init(&extension, data, len);
    bool ok = short_length ? CBS_get_u8_length_prefixed(&extension, &list)
                           : CBS_get_u16_length_prefixed(&extension, &list);
    return ok ? (struct sl_span){CBS_data(&list), CBS_len(&list)} : (struct sl_span){NULL, 0};
}

// True: the handshake waits.
static bool ask(struct sl_tls *tls, const SSL_CLIENT_HELLO *hello) {
    const struct sl_tls_hello told = {
        .server_name = server_name(hello),
        .alpn = extension_list(hello, TLSEXT_TYPE_application_layer_protocol_negotiation, false),
        .versions = extension_list(hello, TLSEXT_TYPE_supported_versions, true),
        .ciphers = {hello->cipher_suites, hello->cipher_suites_len},
        .groups = extension_list(hello, TLSEXT_TYPE_supported_groups, false),
        .legacy_version = hello->version,
    };
    tls->hello = tls->ask(tls->asker, &told) ? HELLO_ASKED : HELLO_ORDINARY;
    return tls->hello == HELLO_ASKED;
}

// Of the choice's credentials BoringSSL takes the first that the client's signature algorithms, groups and ciphers allow. After a retry it calls again.
static enum ssl_select_cert_result_t select_certificate(const SSL_CLIENT_HELLO *hello) {
    struct sl_tls *tls = tls_of(hello->ssl);
    const struct sl_tls_ctx *ctx = tls->ctx;
    struct sl_tls_choice choice = tls->chosen;
    uint8_t row = tls->chosen_row;
    if (tls->hello == HELLO_TO_ASK && ask(tls, hello)) {
        return ssl_select_cert_retry;
    }
    if (tls->hello == HELLO_REJECTED) {
        return ssl_select_cert_error;
    }
    if (tls->hello == HELLO_ORDINARY) {
        struct sl_span name = server_name(hello);
        choice = sl__tls_sni_find(ctx->sni, name.data, name.len);
        row = sl_tls_sni_row(ctx->sni, name.data, name.len);
    }
    bool ok = add_credentials(hello->ssl, ctx, choice.exact) &&
              add_credentials(hello->ssl, ctx, choice.wildcard & ~choice.exact) &&
              ask_client(ctx, hello->ssl, &ctx->policies[row]) &&
              apply_policy(&tls->ticket, hello, &ctx->policies[row]);
    return ok ? ssl_select_cert_success : ssl_select_cert_error;
}

// TLS 1.2 with forward secrecy and AEADs alone. In one bracket, so the client's order decides: a phone without AES instructions takes ChaCha20,
// a desktop with them does not. The TLS 1.3 suites are fixed.
static const char ciphers_tls12[] =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-AES256-GCM-SHA384|ECDHE-ECDSA-CHACHA20-POLY1305|"
    "ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-AES256-GCM-SHA384|ECDHE-RSA-CHACHA20-POLY1305]";

static const uint16_t groups[] = {SSL_GROUP_X25519_MLKEM768, SSL_GROUP_X25519, SSL_GROUP_SECP256R1,
                                  SSL_GROUP_SECP384R1};

bool sl_tls_group_known(uint32_t group) {
    bool known = group == SSL_GROUP_SECP521R1; // only where it is asked for
    for (size_t i = 0; i < SL_COUNT_OF(groups); i++) {
        known = known || groups[i] == group;
    }
    return known;
}

static bool ssl_ctx_configure(SSL_CTX *ssl_ctx) {
    SSL_CTX_set_options(ssl_ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_ticket_aead_method(ssl_ctx, &sl__ticket_method);
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_select_cb(ssl_ctx, select_alpn, NULL);
    SSL_CTX_set_retain_only_sha256_of_client_certs(ssl_ctx, 1);
    SSL_CTX_set_max_cert_list(ssl_ctx, CLIENT_CHAIN_BYTES_MAX);
    SSL_CTX_set_select_certificate_cb(ssl_ctx, select_certificate);
    return sl__tls_compression_enable(ssl_ctx) &&
           SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_2_VERSION) &&
           SSL_CTX_set_max_proto_version(ssl_ctx, TLS1_3_VERSION) &&
           SSL_CTX_set_strict_cipher_list(ssl_ctx, ciphers_tls12) &&
           SSL_CTX_set1_group_ids(ssl_ctx, groups, SL_COUNT_OF(groups));
}

// ECDSA is cheaper to sign with than RSA, and fewer clients know Ed25519.
static void prefer(struct sl_tls_ctx *ctx) {
    static const int types[] = {EVP_PKEY_EC, EVP_PKEY_ED25519, EVP_PKEY_RSA};
    ctx->count = 0;
    for (size_t t = 0; t < SL_COUNT_OF(types); t++) {
        for (unsigned i = 0; i < sl_tls_sni_count(ctx->sni); i++) {
            if (sl__tls_key_type(sl__tls_sni_certificate(ctx->sni, i)) == types[t]) {
                ctx->preferred[ctx->count++] = (uint8_t)i;
            }
        }
    }
    SL_ASSERT(ctx->count == sl_tls_sni_count(ctx->sni));
}

// Those of a table, of which the certificates that ctx has already keep theirs. False: out of memory, and nothing has changed.
static bool take_credentials(struct sl_tls_ctx *ctx, struct sl_tls_sni *sni) {
    SSL_CREDENTIAL *fresh[SL_TLS_CERTIFICATES_MAX] = {0};
    unsigned count = sl_tls_sni_count(sni);
    bool ok = true;
    for (unsigned i = 0; i < count; i++) {
        const struct sl_tls_certificate *certificate = sl__tls_sni_certificate(sni, i);
        if (!ctx->sni || certificate != sl__tls_sni_certificate(ctx->sni, i)) {
            fresh[i] = sl__tls_credential_new(certificate);
            ok = ok && fresh[i];
        }
    }
    for (unsigned i = 0; i < count; i++) {
        SSL_CREDENTIAL *dropped = fresh[i];
        if (ok && fresh[i]) {
            dropped = ctx->credentials[i];
            ctx->credentials[i] = fresh[i];
        }
        SSL_CREDENTIAL_free(dropped); // a handshake that chose it has a reference of its own
    }
    if (ok) {
        sl_tls_sni_ref(sni);
        sl_tls_sni_free(ctx->sni);
        ctx->sni = sni;
        prefer(ctx);
    }
    return ok;
}

// Whoever answers the same names under the same policy of client certificates is one tenant, on every node of a fleet. Certificates are not looked
// at: their renewal must not void tickets.
static void make_tenant(struct sl_tls_ctx *ctx, unsigned row) {
    const struct sl_tls_policy *policy = &ctx->policies[row];
    SHA256_CTX sha;
    struct sl_span name;
    uint8_t name_row;
    SHA256_Init(&sha);
    SHA256_Update(&sha, ctx->tenants[row], sizeof(ctx->tenants[row]));
    if (policy->client_auth) {
        SHA256_Update(&sha, &policy->client_auth, sizeof(policy->client_auth));
        SHA256_Update(&sha, sl__tls_cas_digest(policy->cas), SL_TLS_TENANT_BYTES);
    }
    for (size_t i = 0; sl__tls_sni_name(ctx->sni, i, &name, &name_row); i++) {
        if (name_row == row) {
            SHA256_Update(&sha, name.data, name.len);
            SHA256_Update(&sha, "", 1);
        }
    }
    SHA256_Final(ctx->policies[row].tenant, &sha);
}

// What BoringSSL has per context is the most that a row allows; ticket.c and select_certificate hold each row to its own.
static bool take_policies(struct sl_tls_ctx *ctx, const struct sl_tls_policy *policies,
                          const struct sl_tickets *tickets) {
    uint32_t lifetime_s = 1;
    uint8_t count = 0;
    ctx->tickets.shared = tickets;
    for (unsigned i = 0; i < ctx->count && policies; i++) {
        ctx->policies[i] = policies[i];
        sl_tls_cas_ref(policies[i].cas);
        if (policies[i].client_auth &&
            !sl__client_auth_init(&ctx->client_auth[i], policies[i].cas)) {
            return false;
        }
        if (!tickets) {
            ctx->policies[i].resumption = SL_RESUMPTION_OFF;
            continue;
        }
        memcpy(ctx->tenants[i], policies[i].tenant, sizeof(ctx->tenants[i]));
        make_tenant(ctx, i);
        count = policies[i].tickets > count ? policies[i].tickets : count;
        lifetime_s =
            policies[i].ticket_lifetime_s > lifetime_s ? policies[i].ticket_lifetime_s : lifetime_s;
    }
    SSL_CTX_set_num_tickets(ctx->ssl_ctx, count);
    SSL_CTX_set_timeout(ctx->ssl_ctx, lifetime_s); // TLS 1.2
    SSL_CTX_set_session_psk_dhe_timeout(ctx->ssl_ctx, lifetime_s);
    return true;
}

static BIO_METHOD *bio_method_new(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice");
    if (method) {
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_write_ex(method, bio_write);
        BIO_meth_set_ctrl(method, bio_ctrl);
    }
    return method;
}

int sl_tls_ctx_new(struct sl_tls_ctx **out_ctx, struct sl_tls_sni *sni,
                   const struct sl_tls_policy *policies, struct sl_tickets *tickets,
                   struct sl_counters *counters) {
    *out_ctx = NULL;
    ERR_clear_error();
    struct sl_tls_ctx *ctx = calloc(1, sizeof(*ctx));
    if (!ctx) {
        return sl_fail(SL_E_NO_MEMORY, "out of memory for a TLS context");
    }
    // No X509 objects but those that client_auth.c makes of a client's certificate.
    ctx->ssl_ctx = SSL_CTX_new(TLS_with_buffers_method());
    ctx->bio_method = bio_method_new();
    if (!ctx->ssl_ctx || !ctx->bio_method || !ssl_ctx_configure(ctx->ssl_ctx) ||
        !take_credentials(ctx, sni) || !take_policies(ctx, policies, tickets)) {
        const char *reason = ERR_reason_error_string(sl__tls_error_take());
        sl_tls_ctx_free(ctx);
        return sl_fail(SL_E_NO_MEMORY, "cannot make a TLS context: %s",
                       reason ? reason : "out of memory");
    }
    ctx->tickets.counters = counters;
    *out_ctx = ctx;
    return SL_OK;
}

void sl_tls_ctx_free(struct sl_tls_ctx *ctx) {
    if (ctx) {
        SSL_CTX_free(ctx->ssl_ctx);
        for (unsigned i = 0; i < SL_TLS_CERTIFICATES_MAX; i++) {
            SSL_CREDENTIAL_free(ctx->credentials[i]);
            sl__client_auth_deinit(&ctx->client_auth[i]);
            sl_tls_cas_free(ctx->policies[i].cas);
        }
        sl_tls_sni_free(ctx->sni);
        BIO_meth_free(ctx->bio_method);
        sl_stek_ring_unref(ctx->tickets.ring);
        OPENSSL_cleanse(ctx->scratch, sizeof(ctx->scratch)); // it held plaintext
        free(ctx);
    }
}

int sl_tls_ctx_set_sni(struct sl_tls_ctx *ctx, struct sl_tls_sni *sni) {
    SL_ASSERT(sl_tls_sni_count(sni) == ctx->count);
    ERR_clear_error();
    if (!take_credentials(ctx, sni)) {
        ERR_clear_error();
        return sl_fail(SL_E_NO_MEMORY, "out of memory for new certificates");
    }
    for (unsigned i = 0; i < ctx->count; i++) {
        make_tenant(ctx, i);
    }
    return SL_OK;
}

int sl_tls_ctx_set_cas(struct sl_tls_ctx *ctx, unsigned row, struct sl_tls_cas *cas) {
    struct sl_tls_policy *policy = &ctx->policies[row];
    struct sl_client_auth fresh;
    if (policy->cas == cas) {
        return SL_OK;
    }
    SL_ASSERT(policy->client_auth && cas);
    ERR_clear_error();
    if (!sl__client_auth_init(&fresh, cas)) {
        sl__client_auth_deinit(&fresh);
        ERR_clear_error();
        return sl_fail(SL_E_NO_MEMORY, "out of memory for new CAs");
    }
    sl__client_auth_deinit(&ctx->client_auth[row]);
    ctx->client_auth[row] = fresh;
    sl_tls_cas_ref(cas);
    sl_tls_cas_free(policy->cas);
    policy->cas = cas;
    make_tenant(ctx, row);
    return SL_OK;
}

const struct sl_tls_sni *sl_tls_ctx_sni(const struct sl_tls_ctx *ctx) { return ctx->sni; }

void sl_tls_ctx_set_steks(struct sl_tls_ctx *ctx, struct sl_stek_ring *ring) {
    sl_stek_ring_ref(ring);
    sl_stek_ring_unref(ctx->tickets.ring);
    ctx->tickets.ring = ring;
}

void sl_tls_ctx_set_clock(struct sl_tls_ctx *ctx, uint64_t now_ns, int64_t unix_ms) {
    ctx->tickets.now_ns = now_ns;
    ctx->tickets.unix_ms = unix_ms;
}

// ---- the connection ----

static bool ssl_set_up(struct sl_tls *tls) {
    BIO *bio = BIO_new(tls->ctx->bio_method);
    if (!bio) {
        return false;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    tls->ssl = SSL_new(tls->ctx->ssl_ctx);
    if (!tls->ssl) {
        BIO_free(bio);
        return false;
    }
    SSL_set_bio(tls->ssl, bio, bio); // takes the one reference
    SSL_set_app_data(tls->ssl, &tls->ticket);
    SSL_set_accept_state(tls->ssl);
    SSL_set_shed_handshake_config(tls->ssl, 1); // a kilobyte less per idle connection
    return true;
}

struct sl_tls *sl_tls_new(struct sl_tls_ctx *ctx) {
    ERR_clear_error();
    struct sl_tls *tls = calloc(1, sizeof(*tls));
    if (!tls) {
        return NULL;
    }
    tls->ctx = ctx;
    tls->ticket.ctx = &ctx->tickets;
    tls->error = "";
    if (!ssl_set_up(tls)) {
        ERR_clear_error();
        free(tls);
        return NULL;
    }
    return tls;
}

void sl_tls_free(struct sl_tls *tls) {
    if (tls) {
        SSL_free(tls->ssl);
        free(tls->ticket.shown);
        free(tls->ticket.told);
        free(tls);
    }
}

void sl_tls_ask(struct sl_tls *tls, sl_tls_ask_fn *ask_fn, void *owner) {
    SL_ASSERT(!tls->fed && tls->hello == HELLO_ORDINARY);
    tls->ask = ask_fn;
    tls->asker = owner;
    tls->hello = HELLO_TO_ASK;
}

bool sl_tls_asks(const struct sl_tls *tls) {
    return tls->hello == HELLO_ASKED && tls->verdict == SL_OK;
}

bool sl_tls_answer(struct sl_tls *tls, enum sl_tls_answer answer, struct sl_span name) {
    SL_ASSERT(sl_tls_asks(tls));
    const struct sl_tls_sni *sni = tls->ctx->sni;
    bool known = answer != SL_TLS_ROW_OF || sl__tls_sni_has(sni, name.data, name.len);
    tls->hello = answer == SL_TLS_REJECT ? HELLO_REJECTED : HELLO_ORDINARY;
    if (answer == SL_TLS_ROW_OF && known) {
        tls->hello = HELLO_CHOSEN;
        tls->chosen = sl__tls_sni_find(sni, name.data, name.len);
        tls->chosen_row = sl_tls_sni_row(sni, name.data, name.len);
    }
    return known;
}

enum sl_tls_state sl_tls_state(const struct sl_tls *tls) { return tls->state; }

const char *sl_tls_error(const struct sl_tls *tls) { return tls->error; }

enum sl_tls_reason sl_tls_reason(const struct sl_tls *tls) {
    return (enum sl_tls_reason)tls->reason;
}

// ---- bytes in ----

void sl_tls_feed(struct sl_tls *tls, const uint8_t *data, uint32_t len) {
    SL_ASSERT(sl_tls_hungry(tls));
    if (!tls->fed && len > 0) {
        tls->fed = true;
        tls->first_byte = data[0];
    }
    tls->in = data;
    tls->in_len = len;
    tls->in_off = 0;
}

bool sl_tls_hungry(const struct sl_tls *tls) { return tls->in_off == tls->in_len; }

// Tells the verdict: from here on the state shows it.
static int conclude(struct sl_tls *tls) {
    tls->state = tls->verdict == SL_E_CLIENT_CLOSED ? SL_TLS_ENDED : SL_TLS_FAILED;
    tls->in_off = tls->in_len; // nothing of what is left will be looked at
    return tls->verdict;
}

static void fail(struct sl_tls *tls) {
    uint32_t error = sl__tls_error_take();
    bool missing = ERR_GET_LIB(error) == ERR_LIB_SSL &&
                   ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
    tls->ctx->tickets.counters->client_certs_missing += missing;
    set_error(tls, error);
    tls->verdict = tls->state == SL_TLS_HANDSHAKE ? SL_E_TLS_HANDSHAKE : SL_E_TLS_FAILED;
}

// After an SSL_ function that returned rc <= 0 (SSL_get_error looks into the thread's error queue first; every such function of BoringSSL
// empties it on entry, so another connection's error is never ours): waiting (no verdict), a clean end, or a failure.
static void judge(struct sl_tls *tls, int rc) {
    switch (SSL_get_error(tls->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
    case SSL_ERROR_PENDING_CERTIFICATE: // sl_tls_asks
        return;
    case SSL_ERROR_ZERO_RETURN:
        if (tls->state == SL_TLS_OPEN) {
            tls->verdict = SL_E_CLIENT_CLOSED;
        } else {
            set_reason(tls, SL_TLS_CLOSED);
            tls->verdict = SL_E_TLS_HANDSHAKE;
        }
        return;
    default:
        fail(tls);
    }
}

static void count_handshake(struct sl_tls *tls) {
    struct sl_counters *counters = tls->ctx->tickets.counters;
    unsigned reason = (unsigned)SSL_get_early_data_reason(tls->ssl);
    counters->by_early_reason[reason < SL_COUNT_OF(counters->by_early_reason) ? reason : 0]++;
    counters->tls_early += SSL_in_early_data(tls->ssl) ? 1 : 0;
    counters->tls_resumed += SSL_session_reused(tls->ssl) ? 1 : 0;
    counters->tls_full += SSL_session_reused(tls->ssl) ? 0 : 1;
}

static void handshake(struct sl_tls *tls) {
    int rc = SSL_do_handshake(tls->ssl);
    if (rc == 1) {
        tls->state = SL_TLS_OPEN;
        tls->proven = !SSL_in_early_data(tls->ssl);
        count_handshake(tls);
        return;
    }
    judge(tls, rc);
    if (tls->ticket.early_refused && tls->verdict == SL_OK) {
        // The refusal has been sent. The switch also says whether this connection's new tickets may carry early data.
        SSL_set_early_data_enabled(tls->ssl, 1);
    }
}

static int read_plaintext(struct sl_tls *tls, uint8_t *out, int cap) {
    int n = 0;
    while (n < cap) {
        int rc = SSL_read(tls->ssl, out + n, cap - n);
        if (rc <= 0) {
            judge(tls, rc);
            break;
        }
        n += rc;
    }
    return n;
}

int sl_tls_read(struct sl_tls *tls, uint8_t *out, uint32_t cap) {
    SL_ASSERT(cap > 0 && cap <= INT_MAX);
    int n = 0;
    if (tls->verdict == SL_OK && tls->state == SL_TLS_HANDSHAKE && tls->hello != HELLO_ASKED) {
        handshake(tls);
    }
    if (tls->verdict == SL_OK && tls->state == SL_TLS_OPEN) {
        n = read_plaintext(tls, out, (int)cap);
        tls->proven =
            tls->proven || (!SSL_in_early_data(tls->ssl) && SSL_is_init_finished(tls->ssl));
    }
    return n == 0 && tls->verdict != SL_OK ? conclude(tls) : n;
}

int sl_tls_eof(struct sl_tls *tls) {
    if (tls->verdict == SL_OK && tls->state == SL_TLS_HANDSHAKE) {
        tls->verdict = SL_E_TLS_HANDSHAKE;
        set_reason(tls, tls->fed ? SL_TLS_LEFT : SL_TLS_SILENT);
    } else if (tls->verdict == SL_OK) {
        tls->verdict = SL_E_TLS_TRUNCATED;
        tls->error = "the connection ended without close_notify";
    }
    return conclude(tls);
}

// ---- bytes out ----

void sl_tls_out_give(struct sl_tls *tls, uint8_t *buffer, uint32_t cap) {
    SL_ASSERT(!tls->out && buffer && cap > 0);
    uint32_t n = sl_min_u32(tls->spill_len, cap);
    memcpy(buffer, tls->spill, n);
    tls->spill_len -= (uint8_t)n;
    memmove(tls->spill, tls->spill + n, tls->spill_len);
    tls->out = buffer;
    tls->out_cap = cap;
    tls->out_len = n;
    tls->blocked = false;
}

uint32_t sl_tls_out_take(struct sl_tls *tls) {
    uint32_t n = tls->out_len;
    tls->out = NULL;
    tls->out_cap = tls->out_len = 0;
    return n;
}

uint32_t sl_tls_out_bytes(const struct sl_tls *tls) { return tls->out_len; }

bool sl_tls_wants_out(const struct sl_tls *tls) { return tls->blocked || tls->spill_len > 0; }

struct cursor {
    const struct iovec *iov;
    int count;
    size_t off; // in iov[0]
    size_t left;
};

static struct cursor cursor_of(const struct iovec *iov, int count) {
    struct cursor cursor = {iov, count, 0, 0};
    for (int i = 0; i < count; i++) {
        cursor.left += iov[i].iov_len;
    }
    return cursor;
}

static void cursor_advance(struct cursor *cursor, size_t n) {
    cursor->left -= n;
    cursor->off += n;
    while (cursor->count > 0 && cursor->off >= cursor->iov->iov_len) {
        cursor->off -= cursor->iov->iov_len;
        cursor->iov++;
        cursor->count--;
    }
}

// The next `n` bytes in one piece: where they lie, or copied together. Moves the cursor past them.
static const uint8_t *cursor_take(struct cursor *cursor, size_t n, uint8_t *scratch) {
    cursor_advance(cursor, 0); // over empty pieces
    const uint8_t *data = (const uint8_t *)cursor->iov->iov_base + cursor->off;
    if (cursor->iov->iov_len - cursor->off >= n) {
        cursor_advance(cursor, n);
        return data;
    }
    for (size_t have = 0; have < n;) {
        size_t piece = sl_min_size(n - have, cursor->iov->iov_len - cursor->off);
        memcpy(scratch + have, (const uint8_t *)cursor->iov->iov_base + cursor->off, piece);
        have += piece;
        cursor_advance(cursor, piece);
    }
    return scratch;
}

// Plaintext that the next record should carry: 0 if there is no room. A record is begun only if it fits whole, so BoringSSL never holds
// half of one and a retry with other bytes is never wrong.
static size_t next_record(const struct sl_tls *tls, size_t left) {
    size_t room = out_room(tls), overhead = SSL_max_seal_overhead(tls->ssl);
    if (room <= overhead) {
        return 0;
    }
    size_t n = sl_min_size(sl_min_size(room - overhead, PLAIN_MAX), left);
    return n < left && n < RECORD_MIN && tls->out_len > 0 ? 0 : n;
}

// What BoringSSL has to say by itself (the answer to a KeyUpdate) goes before our bytes. False: no room, or failed.
static bool flush(struct sl_tls *tls) {
    int rc = SSL_write(tls->ssl, "", 0);
    if (rc < 0) {
        judge(tls, rc);
    }
    return rc >= 0;
}

int64_t sl_tls_write(struct sl_tls *tls, const struct iovec *iov, int count) {
    if (tls->state == SL_TLS_HANDSHAKE) {
        return 0;
    }
    if (tls->closing) {
        return SL_E_STATE;
    }
    if (tls->verdict != SL_OK && tls->verdict != SL_E_CLIENT_CLOSED) {
        return tls->verdict;
    }
    struct cursor cursor = cursor_of(iov, count);
    int64_t taken = 0;
    size_t n;
    if (!flush(tls)) {
        return tls->verdict;
    }
    while (cursor.left > 0 && (n = next_record(tls, cursor.left)) > 0) {
        const uint8_t *data = cursor_take(&cursor, n, tls->ctx->scratch);
        if (SSL_write(tls->ssl, data, (int)n) != (int)n) {
            fail(tls);
            return tls->verdict;
        }
        taken += (int64_t)n;
    }
    tls->blocked = tls->blocked || cursor.left > 0;
    return taken;
}

void sl_tls_close_notify(struct sl_tls *tls) {
    if (tls->closing || tls->state == SL_TLS_HANDSHAKE || tls->state == SL_TLS_FAILED) {
        return;
    }
    tls->closing = true;
    SSL_shutdown(
        tls->ssl); // once: the alert is in the out buffer or in the spill. A second call would read
    ERR_clear_error();
}

// ---- what was agreed ----

static uint8_t row_of_server_name(const struct sl_tls *tls) {
    const char *name = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
    size_t len = name ? strlen(name) : 0;
    return sl_tls_sni_row(tls->ctx->sni, (const uint8_t *)name, len);
}

uint8_t sl_tls_row(const struct sl_tls *tls) {
    return tls->hello == HELLO_CHOSEN ? tls->chosen_row : row_of_server_name(tls);
}

bool sl_tls_serves(const struct sl_tls *tls, uint8_t row) {
    return tls->hello == HELLO_CHOSEN && row == row_of_server_name(tls) &&
           !tls->ctx->policies[row].client_auth;
}

bool sl_tls_in_early_data(const struct sl_tls *tls) { return !tls->proven; }

bool sl_tls_early_data_allows(const struct sl_tls *tls, uint8_t method, uint64_t body_bytes) {
    const struct sl_tls_policy *policy = tls->ticket.policy;
    int64_t skew_ms = (int64_t)SSL_get_ticket_age_skew(tls->ssl) * 1000;
    return policy && skew_ms <= policy->age_skew_ms && -skew_ms <= policy->age_skew_ms &&
           method < 32 && (policy->early_methods >> method & 1) &&
           body_bytes <= policy->early_bytes_max;
}

uint8_t sl_tls_row_of(const struct sl_tls *tls, const uint8_t *name, size_t len) {
    return sl_tls_sni_row(tls->ctx->sni, name, len);
}

void sl_tls_info(const struct sl_tls *tls, struct sl_tls_info *out_info) {
    memset(out_info, 0, sizeof(*out_info));
    const SSL_CIPHER *cipher = SSL_get_current_cipher(tls->ssl);
    if (tls->state != SL_TLS_HANDSHAKE && cipher) {
        out_info->version = (uint16_t)SSL_version(tls->ssl);
        out_info->cipher = SSL_CIPHER_get_protocol_id(cipher);
        out_info->group = SSL_get_group_id(tls->ssl);
        out_info->resumed = SSL_session_reused(tls->ssl);
        out_info->early = SSL_early_data_accepted(tls->ssl);
        out_info->client = sl__ticket_client(tls->ssl);
    }
    const uint8_t *alpn;
    unsigned alpn_len;
    SSL_get0_alpn_selected(tls->ssl, &alpn, &alpn_len);
    if (alpn) {
        memcpy(out_info->alpn, alpn, sl_min_size(alpn_len, sizeof(out_info->alpn) - 1));
    }
    const char *sni = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
    if (sni) {
        memcpy(out_info->sni, sni, sl_min_size(strlen(sni), sizeof(out_info->sni) - 1));
    }
}

void sl_tls_sha1(const uint8_t *data, size_t len, uint8_t out[20]) { SHA1(data, len, out); }
