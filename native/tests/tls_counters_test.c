// Counters of tickets whose cause is a limit or damage: the single-use set is full, the vault is full, the bytes are no ticket.
#include "kept_session.h"
#include "sluice/event.h"
#include "ticket_set.h"
#include "ticket_vault.h"
#include "tls_pair.h"

#define TICKETS 16 // of a connection

struct rig {
    struct sl_tls_sni *sni;
    struct sl_tls_ctx *ctx;
    struct sl_tickets *tickets;
    struct sl_stek_ring *ring;
    struct sl_counters counters;
};

static void rig_start(struct rig *rig, enum sl_resumption_mode mode) {
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    const struct local_pem *pem = shared_pem();
    struct sl_tls_certificate *certificate;
    struct sl_tls_policy policy = {.resumption = (uint8_t)mode,
                                   .tickets = TICKETS,
                                   .early_data = 1,
                                   .ticket_lifetime_s = 3600,
                                   .early_window_s = 1024,
                                   .early_methods = 1u << SL_METHOD_GET};
    *rig = (struct rig){0};
    SL_ASSERT(sl_tls_certificate_new(&certificate, pem->cert, pem->key) == SL_OK);
    SL_ASSERT(sl_tls_sni_new(&rig->sni) == SL_OK && sl_tls_sni_add(rig->sni, certificate, sl_span_of("localhost")) == SL_OK);
    sl_tls_certificate_free(certificate);
    SL_ASSERT(sl_tickets_new(&rig->tickets, SL_TICKET_SET_BYTES_MIN, SL_TICKET_VAULT_BYTES_MIN, 1024 * SL_NS_PER_S, 1) == SL_OK);
    SL_ASSERT(sl_tls_ctx_new(&rig->ctx, rig->sni, &policy, rig->tickets, &rig->counters) == SL_OK);
    SL_ASSERT(sl_stek_ring_rotate(&rig->ring, NULL, now_ms, 3600000, 25) == SL_OK);
    sl_tls_ctx_set_steks(rig->ctx, rig->ring);
    sl_tls_ctx_set_clock(rig->ctx, 1, now_ms);
}

static void rig_end(struct rig *rig) {
    sl_tls_ctx_free(rig->ctx);
    sl_tls_sni_free(rig->sni);
    sl_tickets_free(rig->tickets);
    sl_stek_ring_unref(rig->ring);
}

static void visit(struct rig *rig, SSL_SESSION *session) {
    SSL_CTX *client = SSL_CTX_new(TLS_method());
    struct pair pair;
    SSL_CTX_set_verify(client, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, keep_session);
    SL_ASSERT(pair_open(&pair, &(struct options){.ctx = rig->ctx, .client_ctx = client, .session = session}));
    pump(&pair);
    server_send(&pair, (const uint8_t *)"x", 1); // takes the tickets along
    CHECK_INT(sl_tls_state(pair.tls), SL_TLS_OPEN);
    pair_close(&pair);
    SSL_CTX_free(client);
}

TEST(tickets_of_a_full_set_are_counted_bare) {
    struct rig rig;
    rig_start(&rig, SL_RESUMPTION_ONCE);
    visit(&rig, NULL);
    CHECK_INT(rig.counters.tickets_made, TICKETS);
    CHECK_INT(rig.counters.tickets_bare, 0);
    CHECK(SSL_SESSION_early_data_capable(last_session));
    for (int i = 0; i < 100 && rig.counters.tickets_bare == 0; i++) {
        visit(&rig, NULL);
    }
    CHECK(rig.counters.tickets_bare > 0);
    CHECK(rig.counters.tickets_bare < rig.counters.tickets_made);
    CHECK_INT(rig.counters.tls_full * TICKETS, rig.counters.tickets_made); // nobody went without
    rig_end(&rig);
    forget_session();
}

TEST(keys_that_give_way_to_newer_ones_are_counted) {
    struct rig rig;
    rig_start(&rig, SL_RESUMPTION_SEALED);
    visit(&rig, NULL);
    CHECK_INT(rig.counters.sealed_evicted, 0);
    for (int i = 0; i < 2000 && rig.counters.sealed_evicted == 0; i++) {
        visit(&rig, NULL);
    }
    CHECK(rig.counters.sealed_evicted > 0);
    CHECK(rig.counters.sealed_evicted < rig.counters.tickets_made);
    rig_end(&rig);
    forget_session();
}

TEST(what_is_no_ticket_is_counted_bad) {
    struct rig rig;
    rig_start(&rig, SL_RESUMPTION_ONCE);
    visit(&rig, NULL);
    REQUIRE(last_session);
    const uint8_t *ticket;
    size_t len;
    SSL_SESSION_get0_ticket(last_session, &ticket, &len);
    uint8_t *changed = malloc(len);
    memcpy(changed, ticket, len);
    changed[len - 1] ^= 1; // the tag
    SSL_SESSION *session = SSL_SESSION_copy_without_early_data(last_session);
    SL_ASSERT(session && SSL_SESSION_set_ticket(session, changed, len));
    visit(&rig, session);
    CHECK_INT(rig.counters.tickets_bad, 1);
    SL_ASSERT(SSL_SESSION_set_ticket(session, changed, 3));
    visit(&rig, session);
    CHECK_INT(rig.counters.tickets_bad, 2);
    CHECK_INT(rig.counters.tickets_opened, 0);
    CHECK_INT(rig.counters.tls_full, 3);
    SSL_SESSION_free(session);
    free(changed);
    rig_end(&rig);
    forget_session();
}
