#include "ticket.h"

#include <stdlib.h>

#include <openssl/rand.h>

#define VERSION 1u
#define NODE_BYTES 2u
#define BITS_BYTES                                                                                 \
    8u // flags, a zero, how many bytes of a client are before it, the second of issue
#define SEAL_BYTES SL_STEK_TAG_BYTES
#define BIT_EARLY 1u

struct sl_tickets {
    uint8_t node[NODE_BYTES];
    struct sl_ticket_set *set;
    struct sl_ticket_vault *vault;
};

// As on the wire; bytes alone, so no padding.
struct header {
    uint8_t version;
    uint8_t key_id[SL_STEK_ID_BYTES];
    uint8_t node[NODE_BYTES];
    uint8_t epoch[2];
    uint8_t id[SL_TICKET_ID_BYTES];
};
_Static_assert(sizeof(struct header) == 25, "the ticket's format");

struct bits {
    uint8_t flags;
    uint8_t zero;
    uint8_t client_bytes[2]; // little endian
    uint8_t issued_s[4];     // little endian
};
_Static_assert(sizeof(struct bits) == BITS_BYTES, "the ticket's format");

int sl_tickets_new(struct sl_tickets **out_tickets, uint64_t set_bytes, uint64_t vault_bytes,
                   uint64_t window_ns, uint64_t now_ns) {
    *out_tickets = NULL;
    struct sl_tickets *tickets = calloc(1, sizeof(*tickets));
    if (!tickets) {
        return sl_fail(SL_E_NO_MEMORY, "out of memory for session tickets");
    }
    RAND_bytes(tickets->node, sizeof(tickets->node));
    int rc = set_bytes ? sl_ticket_set_new(&tickets->set, set_bytes, window_ns, now_ns) : SL_OK;
    rc = !rc && vault_bytes ? sl_ticket_vault_new(&tickets->vault, vault_bytes) : rc;
    if (rc) {
        sl_tickets_free(tickets);
        return rc;
    }
    *out_tickets = tickets;
    return SL_OK;
}

void sl_tickets_free(struct sl_tickets *tickets) {
    if (tickets) {
        sl_ticket_set_free(tickets->set);
        sl_ticket_vault_free(tickets->vault);
        free(tickets);
    }
}

void sl_tickets_tend(struct sl_tickets *tickets, uint64_t now_ns) {
    if (tickets->set) {
        sl_ticket_set_tend(tickets->set, now_ns);
    }
}

uint64_t sl_tickets_tend_ns(const struct sl_tickets *tickets) {
    return tickets->set ? sl_ticket_set_tend_ns(tickets->set) : 0;
}

void sl_tickets_describe(const struct sl_tickets *tickets, uint64_t now_ns,
                         struct sl_counters *out) {
    if (tickets->set) {
        struct sl_ticket_set_facts facts;
        sl_ticket_set_describe(tickets->set, now_ns, &facts);
        out->ticket_set_entries = facts.entries;
        out->ticket_set_capacity = facts.capacity;
        out->ticket_horizon_ms = facts.horizon_ns / SL_NS_PER_MS;
    }
}

// ---- sealing ----

const struct sl_tls_client *sl__ticket_client(const SSL *ssl) {
    const struct sl_ticket_conn *conn = SSL_get_app_data(ssl);
    return SSL_session_reused(ssl) ? conn->told : conn->shown;
}

static size_t max_overhead(SSL *ssl) {
    return sizeof(struct header) + sl__client_bytes(sl__ticket_client(ssl)) + BITS_BYTES +
           SEAL_BYTES;
}

static uint32_t seconds(const struct sl_ticket_ctx *ctx) { return (uint32_t)(ctx->unix_ms / 1000); }

static bool is_sealed(const SSL *ssl, const struct sl_tls_policy *policy) {
    return policy->resumption == SL_RESUMPTION_SEALED && SSL_version(ssl) >= TLS1_3_VERSION;
}

// Whether this ticket may come back with early data: then its id has a place where it can be taken once.
static bool promise_early(struct sl_ticket_conn *conn, SSL *ssl, struct header *header) {
    struct sl_ticket_ctx *ctx = conn->ctx;
    if (!conn->policy->early_data || SSL_version(ssl) < TLS1_3_VERSION) {
        return false;
    }
    if (is_sealed(ssl, conn->policy)) {
        return true; // the key itself can be taken once
    }
    uint16_t epoch;
    if (conn->policy->resumption != SL_RESUMPTION_ONCE ||
        !sl_ticket_set_insert(ctx->shared->set, ctx->now_ns, header->id, &epoch)) {
        ctx->counters->tickets_bare++;
        return false;
    }
    header->epoch[0] = (uint8_t)epoch;
    header->epoch[1] = (uint8_t)(epoch >> 8);
    return true;
}

static int64_t seal_in_vault(struct sl_ticket_conn *conn, struct header *header, uint8_t *out,
                             size_t cap, struct sl_span in) {
    struct sl_ticket_ctx *ctx = conn->ctx;
    uint8_t key[SL_TICKET_VAULT_KEY_BYTES];
    uint32_t now_s = seconds(ctx);
    RAND_bytes(key, sizeof(key));
    int64_t n = sl_stek_seal_alone(key, out, cap, header->id,
                                   (struct sl_span){(const uint8_t *)header, sizeof(*header)}, in);
    enum sl_ticket_put put = SL_TICKET_PUT_NO;
    if (n >= 0) {
        put = sl_ticket_vault_put(ctx->shared->vault, header->id, key, now_s,
                                  now_s + conn->policy->ticket_lifetime_s);
    }
    ctx->counters->sealed_evicted += put == SL_TICKET_PUT_EVICTED;
    OPENSSL_cleanse(key, sizeof(key));
    return put == SL_TICKET_PUT_NO ? -1 : n;
}

static bool wants_ticket(const struct sl_ticket_conn *conn, const SSL *ssl) {
    const struct sl_tls_policy *policy = conn->policy;
    if (!conn->ctx->ring || !policy || policy->resumption == SL_RESUMPTION_OFF) {
        return false;
    }
    if (SSL_version(ssl) >= TLS1_3_VERSION) {
        return conn->made < policy->tickets;
    }
    return SSL_get_extms_support(
        ssl); // RFC 9325, 3.5: TLS 1.2 resumes only with the extended master secret
}

static int seal(SSL *ssl, uint8_t *out, size_t *out_len, size_t max_out_len, const uint8_t *in,
                size_t in_len) {
    struct sl_ticket_conn *conn = SSL_get_app_data(ssl);
    struct sl_ticket_ctx *ctx = conn->ctx;
    const struct sl_tls_client *client = sl__ticket_client(ssl);
    size_t client_bytes = sl__client_bytes(client);
    uint8_t plain[4096]; // a session is about 100 bytes, a client up to 2,100
    *out_len = 0;
    if (!wants_ticket(conn, ssl) || in_len > sizeof(plain) - client_bytes - BITS_BYTES ||
        max_out_len < in_len + max_overhead(ssl)) {
        return 1;
    }
    const struct sl_stek *stek = sl_stek_current(ctx->ring, ctx->unix_ms);
    struct header header = {.version = VERSION};
    struct bits bits = {.flags = 0};
    uint32_t issued_s = seconds(ctx);
    RAND_bytes(header.id, sizeof(header.id));
    memcpy(header.node, ctx->shared->node, NODE_BYTES);
    bits.flags = promise_early(conn, ssl, &header) ? BIT_EARLY : 0;
    for (unsigned i = 0; i < 4; i++) {
        bits.issued_s[i] = (uint8_t)(issued_s >> 8 * i);
    }
    bits.client_bytes[0] = (uint8_t)client_bytes;
    bits.client_bytes[1] = (uint8_t)(client_bytes >> 8);
    memcpy(plain, in, in_len);
    if (client) {
        sl__client_write(client, plain + in_len);
    }
    memcpy(plain + in_len + client_bytes, &bits, sizeof(bits));
    struct sl_span text = {plain, in_len + client_bytes + sizeof(bits)};
    uint8_t *body = out + sizeof(header);
    size_t cap = max_out_len - sizeof(header);
    int64_t n;
    if (is_sealed(ssl, conn->policy)) {
        n = seal_in_vault(conn, &header, body, cap, text);
    } else {
        memcpy(header.key_id, sl_stek_id(stek), SL_STEK_ID_BYTES);
        n = sl_stek_seal(stek, body, cap, header.id,
                         (struct sl_span){(const uint8_t *)&header, sizeof(header)}, text);
    }
    OPENSSL_cleanse(plain, sizeof(plain));
    if (n >= 0) {
        memcpy(out, &header, sizeof(header));
        *out_len = sizeof(header) + (size_t)n;
        conn->made++;
        ctx->counters->tickets_made++;
    }
    return 1;
}

// ---- opening ----

static int64_t open_from_vault(struct sl_ticket_ctx *ctx, const struct header *header, uint8_t *out,
                               size_t cap, struct sl_span aad, struct sl_span in) {
    uint8_t key[SL_TICKET_VAULT_KEY_BYTES];
    if (memcmp(header->node, ctx->shared->node, NODE_BYTES) != 0) {
        ctx->counters->ticket_takes_foreign++;
        return -1;
    }
    if (!ctx->shared->vault ||
        !sl_ticket_vault_take(ctx->shared->vault, header->id, seconds(ctx), key)) {
        ctx->counters->ticket_takes_lost++;
        return -1;
    }
    ctx->counters->ticket_takes_won++;
    int64_t n = sl_stek_open_alone(key, out, cap, header->id, aad, in);
    OPENSSL_cleanse(key, sizeof(key));
    return n;
}

static bool take(struct sl_ticket_conn *conn, const struct header *header) {
    struct sl_ticket_ctx *ctx = conn->ctx;
#ifdef SL_TEST_REPLAY // tools/planted_replay_test.ts: a set that promises nothing, which the replay test must notice
    static const char mark[] __attribute__((used)) = "SL_TEST_REPLAY is set";
    return ctx && header;
#endif
    if (conn->taken) { // BoringSSL asks again when a handshake was suspended
        return memcmp(conn->taken_id, header->id, sizeof(header->id)) == 0 && !conn->early_refused;
    }
    if (!ctx->shared->set || memcmp(header->node, ctx->shared->node, NODE_BYTES) != 0) {
        ctx->counters->ticket_takes_foreign++;
        return false;
    }
    conn->taken = true;
    memcpy(conn->taken_id, header->id, sizeof(header->id));
    uint16_t epoch = (uint16_t)(header->epoch[0] | header->epoch[1] << 8);
    switch (sl_ticket_set_take(ctx->shared->set, ctx->now_ns, header->id, epoch)) {
    case SL_TICKET_WON:
        ctx->counters->ticket_takes_won++;
        return true;
    case SL_TICKET_EXPIRED:
        ctx->counters->ticket_takes_expired++;
        return false;
    default:
        ctx->counters->ticket_takes_lost++;
        return false;
    }
}

// Below 0: from the future, as another node's clock sees it.
static int64_t age_s(const struct sl_ticket_conn *conn, const struct bits *bits) {
    uint32_t issued_s = 0;
    for (unsigned i = 0; i < 4; i++) {
        issued_s |= (uint32_t)bits->issued_s[i] << 8 * i;
    }
    return conn->ctx->unix_ms / 1000 - (int64_t)issued_s;
}

// Early data was offered with a good ticket: BoringSSL reads the switch after this callback.
static void decide_early(struct sl_ticket_conn *conn, SSL *ssl, const struct header *header,
                         const struct bits *bits, bool sealed) {
    if (!conn->early_offered || SSL_version(ssl) < TLS1_3_VERSION) {
        return; // the id stays alive
    }
    bool may = conn->policy->early_data && (bits->flags & BIT_EARLY) &&
               age_s(conn, bits) <= (int64_t)conn->policy->early_window_s;
    if (!may || (!sealed && !take(conn, header))) {
        conn->early_refused = true;
        SSL_set_early_data_enabled(ssl, 0);
    }
}

// Takes what the ticket tells of a client off the session's end. False: it tells nothing that can be used, or the certificate's time is over.
static bool open_client(struct sl_ticket_conn *conn, const struct bits *bits, const uint8_t *plain,
                        size_t *len) {
    size_t bytes = (size_t)(bits->client_bytes[0] | bits->client_bytes[1] << 8);
    free(conn->told);
    conn->told = NULL;
    if (bytes == 0) {
        return true;
    }
    if (bytes > *len) {
        return false;
    }
    *len -= bytes;
    conn->told = sl__client_read(plain + *len, bytes);
    return conn->told && conn->ctx->unix_ms / 1000 <= conn->told->end_s;
}

// Everything but a good ticket is a miss, and a full handshake: never an error that would end the connection.
static enum ssl_ticket_aead_result_t open_ticket(SSL *ssl, uint8_t *out, size_t *out_len,
                                                 size_t max_out_len, const uint8_t *in,
                                                 size_t in_len) {
    struct sl_ticket_conn *conn = SSL_get_app_data(ssl);
    struct sl_ticket_ctx *ctx = conn->ctx;
    struct header header;
    *out_len = 0;
    if (!ctx->ring || !conn->policy || conn->policy->resumption == SL_RESUMPTION_OFF ||
        in_len < sizeof(header) + BITS_BYTES + SEAL_BYTES || in[0] != VERSION) {
        ctx->counters->tickets_bad++;
        return ssl_ticket_aead_ignore_ticket;
    }
    memcpy(&header, in, sizeof(header));
    struct sl_span aad = {in, sizeof(header)};
    struct sl_span body = {in + sizeof(header), in_len - sizeof(header)};
    bool sealed = is_sealed(ssl, conn->policy);
    int64_t n;
    if (sealed) {
        n = open_from_vault(ctx, &header, out, max_out_len, aad, body);
    } else {
        const struct sl_stek *stek = sl_stek_find(ctx->ring, header.key_id);
        if (!stek) {
            ctx->counters->tickets_unknown_key++;
            return ssl_ticket_aead_ignore_ticket;
        }
        n = sl_stek_open(stek, out, max_out_len, header.id, aad, body);
    }
    if (n < (int64_t)BITS_BYTES) {
        ctx->counters->tickets_bad += !sealed;
        return ssl_ticket_aead_ignore_ticket;
    }
    struct bits bits;
    memcpy(&bits, out + n - BITS_BYTES, sizeof(bits));
    size_t session_len = (size_t)n - BITS_BYTES;
    if (age_s(conn, &bits) > (int64_t)conn->policy->ticket_lifetime_s ||
        !open_client(conn, &bits, out, &session_len)) {
        ctx->counters->tickets_expired++;
        return ssl_ticket_aead_ignore_ticket;
    }
    decide_early(conn, ssl, &header, &bits, sealed);
    ctx->counters->tickets_opened++;
    *out_len = session_len;
    return ssl_ticket_aead_success;
}

const SSL_TICKET_AEAD_METHOD sl__ticket_method = {max_overhead, seal, open_ticket};
