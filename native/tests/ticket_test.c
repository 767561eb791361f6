// Session tickets and early data, judged by BoringSSL's client: who resumes, and what is accepted once.
#include "kept_session.h"
#include "sluice/event.h"
#include "tls_pair.h"

#include <openssl/rand.h>

#define MS_PER_S 1000
#define NOW_MS ((int64_t)time(NULL) * MS_PER_S) // BoringSSL's own clock, so that sessions have an age that it accepts
#define WINDOW_NS (1024 * SL_NS_PER_S)
#define EARLY "GET /early HTTP/1.1\r\nHost: localhost\r\n\r\n"

// A process: certificates, keys, the set, and the contexts of two workers.
struct process {
    struct sl_tls_certificate *certificate[2];
    struct sl_tls_sni *sni;
    struct sl_tls_policy policies[2];
    struct sl_tickets *tickets;
    struct sl_stek_ring *ring;
    struct sl_tls_ctx *workers[2];
    struct sl_counters counters[2];
    uint64_t now_ns;
    int64_t unix_ms;
};

static struct sl_tls_policy policy_of(enum sl_resumption_mode resumption, bool early, uint8_t tenant) {
    struct sl_tls_policy policy = {
        .resumption = resumption,
        .tickets = 1,
        .early_data = early,
        .ticket_lifetime_s = 86400,
        .early_window_s = 1024,
        .early_methods = 1u << SL_METHOD_GET,
        .age_skew_ms = 10000,
    };
    memset(policy.tenant, tenant, sizeof(policy.tenant));
    return policy;
}

static void clock_set(struct process *process) {
    for (int i = 0; i < 2; i++) {
        sl_tls_ctx_set_clock(process->workers[i], process->now_ns, process->unix_ms);
    }
}

static void ring_set(struct process *process, struct sl_stek_ring *ring) {
    process->ring = ring;
    for (int i = 0; i < 2; i++) {
        sl_tls_ctx_set_steks(process->workers[i], ring);
    }
}

// `ring`: of a fleet that shares it; NULL: a random one. The first name is localhost, the second other.example.
static void process_start(struct process *process, struct sl_tls_policy first,
                          struct sl_tls_policy second, struct sl_stek_ring *ring) {
    const struct local_pem *pem = shared_pem();
    *process = (struct process){.policies = {first, second}, .now_ns = 7777, .unix_ms = NOW_MS};
    const char *names[] = {"localhost", "other.example"};
    SL_ASSERT(sl_tls_sni_new(&process->sni) == SL_OK);
    for (int i = 0; i < 2; i++) {
        SL_ASSERT(sl_tls_certificate_new(&process->certificate[i], pem->cert, pem->key) == SL_OK &&
                  sl_tls_sni_add(process->sni, process->certificate[i], sl_span_of(names[i])) ==
                      SL_OK);
    }
    SL_ASSERT(sl_tickets_new(&process->tickets, 1 << 20, 1 << 16, WINDOW_NS, process->now_ns) ==
              SL_OK);
    for (int i = 0; i < 2; i++) {
        SL_ASSERT(sl_tls_ctx_new(&process->workers[i], process->sni, process->policies,
                                 process->tickets, &process->counters[i]) == SL_OK);
    }
    if (ring) {
        sl_stek_ring_ref(ring);
    } else {
        SL_ASSERT(sl_stek_ring_rotate(&ring, NULL, process->unix_ms, 3600000, 25) == SL_OK);
    }
    ring_set(process, ring);
    clock_set(process);
}

static void process_end(struct process *process) {
    for (int i = 0; i < 2; i++) {
        sl_tls_ctx_free(process->workers[i]);
    }
    sl_tickets_free(process->tickets);
    sl_stek_ring_unref(process->ring);
    sl_tls_sni_free(process->sni);
    for (int i = 0; i < 2; i++) {
        sl_tls_certificate_free(process->certificate[i]);
    }
}

// ---- the client ----

static time_t client_clock_shift;

static void client_time(const SSL *ssl, struct timeval *out_now) {
    (void)ssl;
    *out_now = (struct timeval){.tv_sec = time(NULL) + client_clock_shift};
}

static SSL_CTX *client_new(uint16_t version) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    SSL_CTX_set_current_time_cb(ctx, client_time);
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    return ctx;
}

// What one connection came to.
struct outcome {
    bool resumed, early; // early: the server took the early data
    bool served;         // and in any case the request, and answered
    bool proven_late;    // while the request was there, the client was not proven yet
    bool ticket;         // a new one came
};

static struct outcome connect_to(struct process *process, int worker, SSL_CTX *client_ctx,
                                 const char *name, SSL_SESSION *session, bool early) {
    struct pair pair;
    struct outcome outcome = {0};
    struct options options = {
        .ctx = process->workers[worker],
        .client_ctx = client_ctx,
        .server_name = name,
        .session = session,
        .early = early ? EARLY : NULL,
    };
    SSL_SESSION *before = last_session;
    SL_ASSERT(pair_open(&pair, &options));
    server_turn(&pair); // nothing yet, but a buffer
    bytes_add(&pair.to_server, span_of_bio(pair.client_out).data, span_of_bio(pair.client_out).len);
    BIO_reset(pair.client_out);
    while (server_turn(&pair)) { // the first flight alone
    }
    outcome.proven_late = pair.at_server.len > 0 && sl_tls_in_early_data(pair.tls);
    pump(&pair);
    if (early && SSL_get_error(pair.client, -1) == SSL_ERROR_EARLY_DATA_REJECTED) {
        SSL_reset_early_data_reject(pair.client);
        pair.client_error = 0;
        pump(&pair);
    }
    if (pair.at_server.len == 0 && sl_tls_state(pair.tls) == SL_TLS_OPEN &&
        SSL_is_init_finished(pair.client)) {
        client_send(&pair, (const uint8_t *)EARLY, strlen(EARLY));
    }
    server_out_give(&pair);
    CHECK_INT(server_write(&pair, "answer"), 6);
    server_out_send(&pair);
    pump(&pair);
    struct sl_tls_info info;
    sl_tls_info(pair.tls, &info);
    outcome.resumed = info.resumed;
    outcome.early = info.early;
    CHECK_INT(info.resumed, SSL_session_reused(pair.client));
    CHECK_INT(info.early, SSL_early_data_accepted(pair.client));
    CHECK(!sl_tls_in_early_data(pair.tls));
    outcome.served = pair.at_server.len == strlen(EARLY) && pair.at_client.len == 6;
    outcome.ticket = last_session && last_session != before;
    pair_close(&pair);
    return outcome;
}

static SSL_SESSION *first_session(struct process *process, SSL_CTX *client, const char *name) {
    struct outcome full = connect_to(process, 0, client, name, NULL, false);
    CHECK(full.served && !full.resumed && full.ticket);
    return take_session();
}

// ---- what is promised ----

TEST(off_gives_no_ticket) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    process_start(&process, policy_of(SL_RESUMPTION_OFF, false, 1), policy_of(SL_RESUMPTION_OFF, false, 2), NULL);
    struct outcome full = connect_to(&process, 0, client, "localhost", NULL, false);
    CHECK(full.served && !full.ticket && !full.resumed);
    process_end(&process);
    SSL_CTX_free(client);
}

TEST(tickets_resume_in_every_mode) {
    for (int mode = SL_RESUMPTION_STATELESS; mode <= SL_RESUMPTION_SEALED; mode++) {
        struct process process;
        SSL_CTX *client = client_new(TLS1_3_VERSION);
        process_start(&process, policy_of((enum sl_resumption_mode)mode, false, 1),
                      policy_of(SL_RESUMPTION_OFF, false, 2), NULL);
        SSL_SESSION *session = first_session(&process, client, "localhost");
        REQUIRE(session);
        CHECK(!SSL_SESSION_early_data_capable(session));
        struct outcome again = connect_to(&process, 1, client, "localhost", session, false);
        CHECK_MSG(again.served && again.resumed && again.ticket, "mode %d", mode);
        struct outcome third = connect_to(&process, 0, client, "localhost", session, false);
        CHECK_MSG(third.served && third.resumed == (mode != SL_RESUMPTION_SEALED), "mode %d", mode);
        SSL_SESSION_free(session);
        SSL_SESSION_free(take_session());
        process_end(&process);
        SSL_CTX_free(client);
    }
}

// The point of it all: the same ticket with early data, twice to one worker, to two, at a stranger with the same key, and at a restarted process.
TEST(early_data_is_accepted_once_and_always_served) {
    static const enum sl_resumption_mode modes[] = {SL_RESUMPTION_ONCE, SL_RESUMPTION_SEALED};
    for (size_t m = 0; m < SL_COUNT_OF(modes); m++) {
        for (int second_worker = 0; second_worker < 2; second_worker++) {
            struct process process, stranger;
            SSL_CTX *client = client_new(TLS1_3_VERSION);
            struct sl_tls_policy policy = policy_of(modes[m], true, 1);
            bool once = modes[m] == SL_RESUMPTION_ONCE;
            process_start(&process, policy, policy, NULL);
            process_start(&stranger, policy, policy, process.ring);
            SSL_SESSION *session = first_session(&process, client, "localhost");
            REQUIRE(session && SSL_SESSION_early_data_capable(session));
            struct outcome there = connect_to(&stranger, 0, client, "localhost", session, true);
            CHECK(there.served && !there.early && there.resumed == once);
            struct outcome first = connect_to(&process, 0, client, "localhost", session, true);
            CHECK(first.served && first.resumed && first.early && first.proven_late);
            struct outcome second = connect_to(&process, second_worker, client, "localhost", session, true);
            CHECK(second.served && !second.early && second.resumed == once);
            CHECK(!second.proven_late);
            CHECK(second.ticket && SSL_SESSION_early_data_capable(last_session));
            const struct sl_counters *counts = &process.counters[second_worker];
            CHECK_INT(counts->ticket_takes_lost, 1);
            CHECK_INT(stranger.counters[0].ticket_takes_foreign, 1);
            CHECK_INT(process.counters[0].ticket_takes_won, 1);
            SSL_SESSION_free(session);
            SSL_SESSION_free(take_session());
            process_end(&process);
            process_end(&stranger);
            SSL_CTX_free(client);
        }
    }
}

TEST(a_refused_connection_gives_a_ticket_that_is_accepted) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    struct sl_tls_policy policy = policy_of(SL_RESUMPTION_ONCE, true, 1);
    process_start(&process, policy, policy, NULL);
    SSL_SESSION *session = first_session(&process, client, "localhost");
    CHECK(connect_to(&process, 0, client, "localhost", session, true).early);
    CHECK(!connect_to(&process, 0, client, "localhost", session, true).early);
    SSL_SESSION *fresh = take_session();
    REQUIRE(fresh);
    CHECK(connect_to(&process, 0, client, "localhost", fresh, true).early);
    SSL_SESSION_free(fresh);
    SSL_SESSION_free(session);
    SSL_SESSION_free(take_session());
    process_end(&process);
    SSL_CTX_free(client);
}

TEST(resuming_without_early_data_leaves_it_possible) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    struct sl_tls_policy policy = policy_of(SL_RESUMPTION_ONCE, true, 1);
    process_start(&process, policy, policy, NULL);
    SSL_SESSION *session = first_session(&process, client, "localhost");
    CHECK(connect_to(&process, 0, client, "localhost", session, false).resumed);
    CHECK(connect_to(&process, 0, client, "localhost", session, true).early);
    SSL_SESSION_free(session);
    SSL_SESSION_free(take_session());
    process_end(&process);
    SSL_CTX_free(client);
}

TEST(stateless_never_ticket_takes_early_data) {
    struct process process, once;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    process_start(&once, policy_of(SL_RESUMPTION_ONCE, true, 1), policy_of(SL_RESUMPTION_ONCE, true, 1), NULL);
    process_start(&process, policy_of(SL_RESUMPTION_STATELESS, false, 1),
                  policy_of(SL_RESUMPTION_STATELESS, false, 1), once.ring);
    SSL_SESSION *session = first_session(&once, client, "localhost"); // it may carry early data
    struct outcome there = connect_to(&process, 0, client, "localhost", session, true);
    CHECK(there.served && there.resumed && !there.early);
    SSL_SESSION_free(session);
    SSL_SESSION_free(take_session());
    process_end(&process);
    process_end(&once);
    SSL_CTX_free(client);
}

TEST(a_ticket_stays_with_its_tenant) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    process_start(&process, policy_of(SL_RESUMPTION_ONCE, true, 1), policy_of(SL_RESUMPTION_ONCE, true, 2), NULL);
    SSL_SESSION *session = first_session(&process, client, "localhost");
    struct outcome there = connect_to(&process, 0, client, "other.example", session, true);
    CHECK(there.served && !there.resumed && !there.early);
    struct outcome home = connect_to(&process, 0, client, "localhost", session, false);
    CHECK(home.served && home.resumed);
    SSL_SESSION_free(session);
    SSL_SESSION_free(take_session());
    process_end(&process);
    SSL_CTX_free(client);
}

TEST(a_ticket_expires_by_its_row) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    struct sl_tls_policy shorter = policy_of(SL_RESUMPTION_ONCE, true, 1);
    shorter.ticket_lifetime_s = 60;
    process_start(&process, shorter, policy_of(SL_RESUMPTION_ONCE, true, 2), NULL);
    SSL_SESSION *session = first_session(&process, client, "localhost");
    process.unix_ms += 60 * MS_PER_S;
    clock_set(&process);
    CHECK(connect_to(&process, 0, client, "localhost", session, false).resumed);
    process.unix_ms += MS_PER_S;
    clock_set(&process);
    CHECK(!connect_to(&process, 0, client, "localhost", session, false).resumed);
    CHECK_INT(process.counters[0].tickets_expired, 1);
    SSL_SESSION_free(session);
    SSL_SESSION_free(take_session());
    process_end(&process);
    SSL_CTX_free(client);
}

TEST(early_data_ends_with_the_window_and_resumption_does_not) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    struct sl_tls_policy policy = policy_of(SL_RESUMPTION_ONCE, true, 1);
    process_start(&process, policy, policy, NULL);
    SSL_SESSION *session = first_session(&process, client, "localhost");
    process.now_ns += WINDOW_NS + WINDOW_NS / 8;
    clock_set(&process);
    struct outcome late = connect_to(&process, 0, client, "localhost", session, true);
    CHECK(late.served && late.resumed && !late.early);
    CHECK_INT(process.counters[0].ticket_takes_expired, 1);
    // By the row's own window, which may be shorter than the set's.
    SSL_SESSION *young = take_session();
    process.unix_ms += (int64_t)policy.early_window_s * MS_PER_S + MS_PER_S;
    clock_set(&process);
    struct outcome later = connect_to(&process, 0, client, "localhost", young, true);
    CHECK(later.served && later.resumed && !later.early);
    CHECK_INT(process.counters[0].ticket_takes_expired, 1);
    SSL_SESSION_free(young);
    SSL_SESSION_free(session);
    SSL_SESSION_free(take_session());
    process_end(&process);
    SSL_CTX_free(client);
}

TEST(a_client_whose_clock_is_off_is_not_timely) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    struct sl_tls_policy policy = policy_of(SL_RESUMPTION_ONCE, true, 1);
    static const struct {
        time_t shift;
        bool early, timely;
    } rows[] = {{0, true, true}, {9, true, true}, {20, true, false}, {70, false, false}};
    process_start(&process, policy, policy, NULL);
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        SSL_SESSION *session = first_session(&process, client, "localhost");
        client_clock_shift = rows[i].shift; // it thinks that its ticket is so much older
        struct pair pair;
        struct options options = {.ctx = process.workers[0], .client_ctx = client, .session = session, .early = EARLY};
        REQUIRE(pair_open(&pair, &options));
        pump(&pair);
        struct sl_tls_info info;
        sl_tls_info(pair.tls, &info);
        CHECK_MSG(info.early == rows[i].early, "shift %ld", (long)rows[i].shift);
        CHECK_MSG(sl_tls_early_data_allows(pair.tls, SL_METHOD_GET, 0) == rows[i].timely, "shift %ld", (long)rows[i].shift);
        pair_close(&pair);
        client_clock_shift = 0;
        SSL_SESSION_free(session);
        SSL_SESSION_free(take_session());
    }
    process_end(&process);
    SSL_CTX_free(client);
}

TEST(a_new_key_ring_keeps_old_tickets_or_drops_them) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    struct sl_tls_policy policy = policy_of(SL_RESUMPTION_ONCE, true, 1);
    process_start(&process, policy, policy, NULL);
    SSL_SESSION *session = first_session(&process, client, "localhost");
    for (int turn = 1; turn <= 3; turn++) { // two keys open: the current one and the one before
        struct sl_stek_ring *next;
        process.unix_ms += 3600000;
        SL_ASSERT(sl_stek_ring_rotate(&next, process.ring, process.unix_ms, 3600000, 2) == SL_OK);
        sl_stek_ring_unref(process.ring);
        ring_set(&process, next);
        clock_set(&process);
        CHECK_MSG(connect_to(&process, 0, client, "localhost", session, false).resumed == (turn < 2), "turn %d", turn);
    }
    CHECK_INT(process.counters[0].tickets_unknown_key, 2);
    SSL_SESSION_free(session);
    SSL_SESSION_free(take_session());
    process_end(&process);
    SSL_CTX_free(client);
}

TEST(tls12_resumes_without_early_data) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_2_VERSION);
    struct sl_tls_policy policy = policy_of(SL_RESUMPTION_SEALED, true, 1);
    process_start(&process, policy, policy, NULL);
    SSL_SESSION *session = first_session(&process, client, "localhost");
    REQUIRE(session);
    CHECK(!SSL_SESSION_early_data_capable(session));
    CHECK(connect_to(&process, 1, client, "localhost", session, false).resumed);
    SSL_SESSION_free(session);
    SSL_SESSION_free(take_session());
    process_end(&process);
    SSL_CTX_free(client);
}

// A ticket's bytes as the network may change them: never an error, always a full handshake that is served.
TEST(a_damaged_ticket_is_a_full_handshake) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    struct sl_tls_policy policy = policy_of(SL_RESUMPTION_ONCE, true, 1);
    process_start(&process, policy, policy, NULL);
    SSL_SESSION *session = first_session(&process, client, "localhost");
    const uint8_t *ticket;
    size_t len;
    SSL_SESSION_get0_ticket(session, &ticket, &len);
    for (size_t at = 0; at <= len; at += at < 32 ? 1 : 17) {
        uint8_t changed[1024];
        SSL_SESSION *damaged = SSL_SESSION_copy_without_early_data(session);
        memcpy(changed, ticket, len);
        changed[at % len] ^= 1;
        size_t cut = at == len ? len : len - at % 2; // some are one byte shorter, too
        SL_ASSERT(SSL_SESSION_set_ticket(damaged, changed, cut));
        struct outcome outcome = connect_to(&process, 0, client, "localhost", damaged, false);
        CHECK_MSG(outcome.served && !outcome.resumed, "byte %zu", at);
        SSL_SESSION_free(damaged);
    }
    for (size_t cut = 1; cut < 60; cut++) { // and shorter than the format
        SSL_SESSION *damaged = SSL_SESSION_copy_without_early_data(session);
        SL_ASSERT(SSL_SESSION_set_ticket(damaged, ticket, cut));
        struct outcome outcome = connect_to(&process, 0, client, "localhost", damaged, false);
        CHECK_MSG(outcome.served && !outcome.resumed, "cut at %zu", cut);
        SSL_SESSION_free(damaged);
    }
    CHECK(connect_to(&process, 0, client, "localhost", session, false).resumed);
    SSL_SESSION_free(session);
    SSL_SESSION_free(take_session());
    process_end(&process);
    SSL_CTX_free(client);
}

TEST(handshakes_are_counted_by_kind) {
    struct process process;
    SSL_CTX *client = client_new(TLS1_3_VERSION);
    struct sl_tls_policy policy = policy_of(SL_RESUMPTION_ONCE, true, 1);
    process_start(&process, policy, policy, NULL);
    SSL_SESSION *session = first_session(&process, client, "localhost");
    connect_to(&process, 0, client, "localhost", session, false);
    connect_to(&process, 0, client, "localhost", session, true);
    connect_to(&process, 0, client, "localhost", session, true);
    const struct sl_counters *counts = &process.counters[0];
    CHECK_INT(counts->tls_full, 1);
    CHECK_INT(counts->tls_resumed, 3);
    CHECK_INT(counts->tls_early, 1);
    CHECK_INT(counts->by_early_reason[2], 1); // accepted
    CHECK_INT(counts->tickets_made, 4);
    CHECK_INT(counts->tickets_opened, 3);
    SSL_SESSION_free(session);
    SSL_SESSION_free(take_session());
    process_end(&process);
    SSL_CTX_free(client);
}
