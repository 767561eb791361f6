// Handshakes whose row TypeScript chooses: what it is told, what becomes of its answer, and of those that never get one. The isolate is played here, between
// two turns of the worker; BoringSSL's client shakes hands; on every kernel.
#include <stdatomic.h>
#include <sys/mman.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "certificates.h"
#include "exchange.h"
#include "resumption.h"
#include "row.h"

#define SLOTS 64u
#define WAITING_MAX (SLOTS / 4)
#define TIMEOUT_MS 100u
#define TURNS_MAX 500

enum { ONE, TWO, AUTH, ROWS };
static const char *const names[ROWS] = {"one.example", "two.example", "auth.example"};

static struct {
    int hello_port, plain_port; // both with TLS: the first one's clients are asked about
    X509 *certificates[ROWS];
    uint8_t *region;
    bool answers;               // with `answer`, as soon as it is asked
    struct sl_verdict answer;
    const char *name;           // of the answer
    struct sl_event hellos[SLOTS];
    uint32_t count, aborts;     // that came
} play;

static _Atomic uint32_t *word(uint32_t off) { return (_Atomic uint32_t *)(void *)(play.region + off); }
static uint8_t *slot(uint32_t i) {
    return play.region + SL_RING_EVENTS_OFF + (size_t)SLOTS * SL_RING_ENTRIES_PER_SLOT * 2 * 64 + (size_t)i * SL_SLOT_BYTES;
}

static void verdict(const struct sl_event *e, struct sl_verdict v) {
    uint32_t entries = SLOTS * SL_RING_ENTRIES_PER_SLOT, tail = atomic_load(word(SL_RING_VERDICT_TAIL_OFF));
    struct sl_verdict *verdicts = (struct sl_verdict *)(void *)(play.region + SL_RING_EVENTS_OFF + (size_t)entries * 64);
    v.slot = e->slot;
    v.gen = e->gen;
    verdicts[tail & (entries - 1)] = v;
    atomic_store(word(SL_RING_VERDICT_TAIL_OFF), tail + 1);
}

static struct sl_verdict saying(uint16_t answer) {
    return (struct sl_verdict){.kind = SL_VERDICT_HELLO, .flags = SL_VERDICT_F_FINAL, .status = answer};
}

static void reply(const struct sl_event *e) {
    struct sl_verdict v = play.answer;
    if (play.name) {
        v.head_len = (uint32_t)strlen(play.name);
        memcpy(slot(e->slot) + SL_SLOT_TX_OFF, play.name, v.head_len);
    }
    verdict(e, v);
}

static void on_event(const struct sl_event *e) {
    if (e->kind == SL_EVENT_HELLO) {
        play.hellos[play.count++ % SLOTS] = *e;
        if (play.answers) {
            reply(e);
        }
    } else if (e->kind == SL_EVENT_ABORT) {
        play.aborts++;
        verdict(e, (struct sl_verdict){.kind = SL_VERDICT_RELEASE, .flags = SL_VERDICT_F_FINAL});
    }
}

static void isolate_turn(void) {
    const struct sl_event *events = (const struct sl_event *)(void *)(play.region + SL_RING_EVENTS_OFF);
    uint32_t head = atomic_load(word(SL_RING_EVENT_HEAD_OFF)), tail = atomic_load(word(SL_RING_EVENT_TAIL_OFF));
    for (; head != tail; head++) {
        struct sl_event e = events[head & (SLOTS * SL_RING_ENTRIES_PER_SLOT - 1)];
        atomic_store(word(SL_RING_EVENT_HEAD_OFF), head + 1);
        on_event(&e);
    }
}

// Whoever shows no certificate is let in, too: the tests are about names.
static void ask_for_certificates(uint32_t set, uint32_t index) {
    EVP_PKEY *pkey = EVP_PKEY_new();
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    X509 *ca = X509_new();
    X509_NAME *name = X509_get_subject_name(ca);
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    BIO *bio = BIO_new(BIO_s_mem());
    struct sl_span pem;
    SL_ASSERT(EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(pkey, ec) && X509_set_version(ca, X509_VERSION_3) &&
              ASN1_INTEGER_set_uint64(X509_get_serialNumber(ca), 1) &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"ca", 2, -1, 0) && X509_set_issuer_name(ca, name) &&
              X509_gmtime_adj(X509_getm_notBefore(ca), 0) && X509_gmtime_adj(X509_getm_notAfter(ca), 3600) && X509_set_pubkey(ca, pkey) &&
              X509_add_ext(ca, extension, -1) && X509_sign(ca, pkey, EVP_sha256()) && PEM_write_bio_X509(bio, ca) &&
              BIO_mem_contents(bio, &pem.data, &pem.len));
    CHECK_INT(sl__gateway_client_auth(world.gateway, set, index, SL_CLIENT_AUTH_OPTIONAL, pem), SL_OK);
    BIO_free(bio);
    X509_EXTENSION_free(extension);
    X509_free(ca);
    EVP_PKEY_free(pkey);
}

static void make_plan(void) {
    uint32_t set = SL_SET_NEW;
    plan_init(&builder);
    plan_respond(&builder, SL_PLAN_METHOD_ALL, "/*", 200, "", "native", 6);
    for (uint32_t i = 0; i < ROWS; i++) {
        uint8_t pem[8192];
        uint32_t cert_len;
        int pem_len = sl_certificate_make(pem, sizeof(pem));
        memcpy(&cert_len, pem, 4);
        struct sl_span cert = {pem + 4, cert_len}, key = {pem + 4 + cert_len, (size_t)pem_len - 4 - cert_len};
        int rc = sl__gateway_certificate(world.gateway, set, cert, key, sl_span_of(names[i]));
        CHECK_MSG(rc >= 0, "%s", sl_fail_text());
        set = (uint32_t)rc;
        BIO *bio = BIO_new_mem_buf(cert.data, (int)cert.len);
        X509_free(play.certificates[i]);
        play.certificates[i] = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        BIO_free(bio);
    }
    ask_for_certificates(set, AUTH);
    play.hello_port = sl__gateway_listen(world.gateway, sl_span_of("127.0.0.1:0"), set);
    play.plain_port = sl__gateway_listen(world.gateway, sl_span_of("127.0.0.1:0"), set);
    CHECK_INT(sl__gateway_client_hello(world.gateway, 0, 0), SL_E_INVALID);
    CHECK_INT(sl__gateway_client_hello(world.gateway, 0, SL_HELLO_TIMEOUT_MS_MAX + 1), SL_E_INVALID);
    CHECK_INT(sl__gateway_client_hello(world.gateway, 2, TIMEOUT_MS), SL_E_INVALID);
    CHECK_INT(sl__gateway_client_hello(world.gateway, 0, TIMEOUT_MS), SL_OK);
}

static bool open_here(const struct kernel *kernel, uint32_t head_timeout_ms) {
    struct sl_config c = config;
    struct sl_sim *sim = NULL;
    char reason[256];
    c.isolates = 1;
    c.exchanges = SLOTS;
    c.head_timeout_ms = head_timeout_ms;
    if (!kernel->simulated && sl_io_probe(kernel->kind, reason, sizeof(reason)) < 0) {
        printf("# %s: %s\n", kernel->name, reason);
        return false;
    }
    if (kernel->simulated) {
        sim = sl_sim_new(&(struct sl_sim_config){.seed = 1});
    }
    play.count = play.aborts = 0;
    play.answers = true;
    play.answer = saying(SL_HELLO_ORDINARY);
    play.name = NULL;
    size_t bytes = sl_ring_bytes(SLOTS);
    play.region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SL_ASSERT(play.region != MAP_FAILED);
    if (!world_open(kernel->kind, sim, c, make_plan)) {
        return false;
    }
    CHECK_INT(sl__gateway_client_hello(world.gateway, 2, TIMEOUT_MS), SL_E_INVALID); // the world's own, which is plain
    CHECK_INT(sl__gateway_attach(world.gateway, 0, 0, play.region, bytes), 0);
    CHECK_INT(world_turn(0), SL_OK);
    world.after_turn = isolate_turn;
    return true;
}

static void close_here(void) {
    CHECK_INT(world.worker->counters.exchanges_live, 0);
    CHECK_INT(world.worker->hellos_lent, 0);
    world_close();
    munmap(play.region, sl_ring_bytes(SLOTS));
}

#define ON_EACH(kernel, head_timeout_ms)                                                                                             \
    for (const struct kernel *kernel = kernels; kernel < kernels + SL_COUNT_OF(kernels); kernel++)                                   \
        for (bool once = open_here(kernel, head_timeout_ms); once; once = false, close_here())

// Clients.

struct client {
    SSL *ssl;
    BIO *in, *out; // of its engine
    int fd;
    int alert;     // that came
    int rc, error; // of its last SSL_do_handshake; SSL_ERROR_WANT_READ at first
};

static SSL_CTX *client_ctx(void) {
    static SSL_CTX *ctx;
    ctx = ctx ? ctx : SSL_CTX_new(TLS_method());
    return ctx;
}

static void on_info(const SSL *ssl, int type, int value) {
    if (type == SSL_CB_READ_ALERT) {
        ((struct client *)SSL_get_app_data(ssl))->alert = value & 0xff;
    }
}

static void say_hello(struct client *c, int port, const char *name) {
    *c = (struct client){SSL_new(client_ctx()), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()), wire_connect(port), -1, 0, SSL_ERROR_WANT_READ};
    SSL_set_app_data(c->ssl, c);
    SSL_set_info_callback(c->ssl, on_info);
    SSL_set_bio(c->ssl, c->in, c->out);
    SSL_set_connect_state(c->ssl);
    SSL_set_alpn_protos(c->ssl, (const uint8_t *)"\x08http/1.1", 9);
    if (name) {
        SSL_set_tlsext_host_name(c->ssl, name);
    }
}

static void turn(struct client *c) {
    char bytes[8192];
    int n;
    c->rc = SSL_do_handshake(c->ssl);
    c->error = SSL_get_error(c->ssl, c->rc); // the worker uses the thread's queue of errors as well
    while ((n = BIO_read(c->out, bytes, sizeof(bytes))) > 0) {
        CHECK_INT(wire_send(c->fd, bytes, (size_t)n), n);
    }
    world_turn(SL_NS_PER_MS);
    ssize_t got = wire_recv(c->fd, bytes, sizeof(bytes));
    if (got > 0) {
        BIO_write(c->in, bytes, (int)got);
    }
}

static void shake(struct client *c) {
    for (int turns = 0; c->error == SSL_ERROR_WANT_READ && turns < TURNS_MAX; turns++) {
        turn(c);
    }
}

// Until the question about it has come.
static void wait_asked(struct client *c) {
    for (uint32_t before = play.count, turns = 0; play.count == before && turns < TURNS_MAX; turns++) {
        turn(c);
    }
}

static void later(uint32_t ms) {
    if (world.sim) {
        sl_sim_advance(world.sim, ms * SL_NS_PER_MS);
    } else {
        world.skipped_ns += ms * SL_NS_PER_MS;
    }
}

// The row whose certificate it got; -1: none.
static int row_of(const struct client *c) {
    X509 *x509 = SSL_get_peer_certificate(c->ssl);
    int row = -1;
    for (int i = 0; x509 && i < ROWS; i++) {
        row = X509_cmp(x509, play.certificates[i]) == 0 ? i : row;
    }
    X509_free(x509);
    return row;
}

static bool nothing_left(void) { return world.worker->counters.conns_live == 0 && world.worker->counters.exchanges_live == 0; }

static void leave(struct client *c) {
    SSL_free(c->ssl);
    if (c->fd >= 0) {
        wire_close(c->fd);
    }
}

static void wait_end(void) {
    for (int i = 0; i < TURNS_MAX && !nothing_left(); i++) {
        world_turn(SL_NS_PER_MS);
    }
    CHECK_INT(world.worker->counters.conns_live, 0);
    CHECK_INT(world.worker->counters.exchanges_live, 0);
    CHECK_INT(sl_buf_lent(&world.worker->bufs), 0);
}

static void bye(struct client *c) {
    leave(c);
    wait_end();
}

static const struct sl_counters *now(void) { return &world.worker->counters; }

TEST(the_answer_chooses_the_row) {
    static const char long_name[256] = {[0 ... 254] = 'x'};
    static const struct {
        const char *what;
        struct sl_verdict answer;
        const char *name;
        int row; // -1: none
        size_t counter;
        bool bad;
    } cases[] = {
#define HELLO(answer) {.kind = SL_VERDICT_HELLO, .flags = SL_VERDICT_F_FINAL, .status = answer}
#define N(counter) offsetof(struct sl_counters, counter)
        {"ordinary", HELLO(SL_HELLO_ORDINARY), NULL, ONE, N(client_hellos_answered), false},
        {"another row", HELLO(SL_HELLO_ROW_OF), "two.example", TWO, N(client_hellos_answered), false},
        {"in capitals", HELLO(SL_HELLO_ROW_OF), "TWO.example", TWO, N(client_hellos_answered), false},
        {"its own", HELLO(SL_HELLO_ROW_OF), "one.example", ONE, N(client_hellos_answered), false},
        {"an unknown name", HELLO(SL_HELLO_ROW_OF), "three.example", ONE, N(client_hellos_failed), false},
        {"no name", HELLO(SL_HELLO_ROW_OF), "", ONE, N(client_hellos_failed), false},
        {"a long name", HELLO(SL_HELLO_ROW_OF), long_name, ONE, N(client_hellos_failed), false},
        {"reject", HELLO(SL_HELLO_REJECT), NULL, -1, N(client_hellos_rejected), false},
        {"failed", HELLO(SL_HELLO_FAILED), NULL, ONE, N(client_hellos_failed), false},
        {"no such answer", HELLO(SL_HELLO_FAILED + 1), NULL, ONE, N(client_hellos_failed), true},
        {"a name behind the slot", {.kind = SL_VERDICT_HELLO, .flags = SL_VERDICT_F_FINAL, .status = SL_HELLO_ROW_OF, .head_len = UINT32_MAX}, NULL, ONE,
         N(client_hellos_failed), true},
        {"what answers requests", {.kind = SL_VERDICT_RESPOND, .flags = SL_VERDICT_F_FINAL | SL_VERDICT_F_END, .status = 200}, NULL, ONE,
         N(client_hellos_failed), true},
        {"nothing", {.kind = SL_VERDICT_RELEASE, .flags = SL_VERDICT_F_FINAL}, NULL, ONE, N(client_hellos_failed), true},
    };
    ON_EACH(kernel, 0) {
        for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
            struct sl_counters before = *now();
            struct client c;
            play.answer = cases[i].answer;
            play.name = cases[i].name;
            say_hello(&c, play.hello_port, "one.example");
            shake(&c);
            CHECK_MSG(row_of(&c) == cases[i].row, "%s, %s: row %d", kernel->name, cases[i].what, row_of(&c));
            CHECK_INT(c.rc == 1, cases[i].row >= 0);
            CHECK_INT(now()->client_hellos_asked - before.client_hellos_asked, 1);
            for (size_t at = N(client_hellos_answered); at <= N(client_hellos_overflowed); at += sizeof(uint64_t)) {
                uint64_t moved = *(const uint64_t *)(const void *)((const char *)now() + at) - *(uint64_t *)(void *)((char *)&before + at);
                CHECK_MSG(moved == (at == cases[i].counter), "%s: counter %zu moved by %llu", cases[i].what, at / 8, (unsigned long long)moved);
            }
            CHECK_INT(now()->bad_verdicts - before.bad_verdicts, cases[i].bad);
            bye(&c);
        }
        CHECK_INT(now()->late_verdicts, 0);
    }
}

TEST(a_refused_client_gets_the_alert_handshake_failure) {
    ON_EACH(kernel, 0) {
        struct client c;
        play.answer = saying(SL_HELLO_REJECT);
        say_hello(&c, play.hello_port, "one.example");
        shake(&c);
        CHECK_INT(c.alert, SSL_AD_HANDSHAKE_FAILURE);
        CHECK_INT(now()->tls_failures, 1);
        CHECK_INT(now()->by_tls_reason[SL_TLS_HELLO_REFUSED], 1);
        bye(&c);
    }
}

TEST(it_is_told_what_the_client_says) {
    ON_EACH(kernel, 0) {
        struct client c;
        struct sl_slot_hello head;
        for (int named = 0; named < 2; named++) {
            say_hello(&c, play.hello_port, named ? "One.Example" : NULL);
            shake(&c);
            const struct sl_event *e = &play.hellos[named];
            const uint8_t *at = slot(e->slot) + SL_SLOT_HEAD_OFF;
            memcpy(&head, at, sizeof(head));
            at += sizeof(head);
            CHECK_INT(head.listener, 0);
            CHECK_INT(head.legacy_version, TLS1_2_VERSION);
            CHECK_INT(head.server_name_len, named ? 11 : 0);
            CHECK(memcmp(at, "One.Example", head.server_name_len) == 0);
            CHECK_INT(head.alpn_len, 9);
            CHECK(memcmp(at + head.server_name_len, "\x08http/1.1", 9) == 0);
            CHECK_INT(e->len, sizeof(head) + head.server_name_len + head.alpn_len + head.versions_len + head.ciphers_len + head.groups_len);
            const uint8_t *versions = at + head.server_name_len + head.alpn_len;
            CHECK_MSG(memmem(versions, head.versions_len, "\x03\x04", 2) != NULL, "%u bytes of versions", head.versions_len);
            CHECK(memmem(versions + head.versions_len, head.ciphers_len, "\x13\x01", 2) != NULL);
            CHECK(memmem(versions + head.versions_len + head.ciphers_len, head.groups_len, "\x00\x1d", 2) != NULL);
            CHECK_INT(e->flags, 0);
            CHECK_INT(e->local_port, play.hello_port);
            CHECK(e->remote_port > 0 && memcmp(e->remote_addr, "\x7f\x00\x00\x01", 4) == 0);
            bye(&c);
        }
    }
}

TEST(a_listener_without_it_asks_nobody) {
    ON_EACH(kernel, 0) {
        struct client c;
        play.answer = saying(SL_HELLO_REJECT);
        say_hello(&c, play.plain_port, "two.example");
        shake(&c);
        CHECK_INT(row_of(&c), TWO);
        CHECK_INT(play.count, 0);
        CHECK_INT(now()->client_hellos_asked, 0);
        bye(&c);
    }
}

TEST(without_an_answer_the_server_name_chooses_at_the_deadline) {
    ON_EACH(kernel, 0) {
        struct client c;
        play.answers = false;
        play.answer = saying(SL_HELLO_ROW_OF);
        play.name = "two.example";
        say_hello(&c, play.hello_port, "one.example");
        wait_asked(&c);
        for (int i = 0; i < 5; i++) {
            turn(&c);
        }
        CHECK_INT(now()->client_hellos_timed_out, 0);
        CHECK_INT(now()->tls_handshakes, 0);
        later(TIMEOUT_MS);
        world.after_turn = NULL; // busy: it does not hear yet that nobody waits
        shake(&c);
        CHECK_INT(row_of(&c), ONE);
        CHECK_INT(now()->client_hellos_timed_out, 1);
        CHECK_INT(now()->exchanges_live, 1);
        reply(&play.hellos[0]); // too late
        world_turn(SL_NS_PER_MS);
        CHECK_INT(now()->late_verdicts, 1);
        CHECK_INT(now()->client_hellos_answered, 0);
        CHECK_INT(now()->exchanges_live, 0);
        bye(&c);
    }
}

// A promise that never settles: the word that nobody waits any more is what brings the slot back.
TEST(a_hook_that_never_answers_keeps_no_slot) {
    ON_EACH(kernel, 0) {
        play.answers = false;
        for (uint32_t i = 0; i < WAITING_MAX + 4; i++) {
            struct client c;
            say_hello(&c, play.hello_port, "two.example");
            wait_asked(&c);
            later(TIMEOUT_MS);
            shake(&c);
            CHECK_INT(row_of(&c), TWO);
            bye(&c);
        }
        CHECK_INT(play.aborts, WAITING_MAX + 4);
        CHECK_INT(now()->client_hellos_timed_out, WAITING_MAX + 4);
        CHECK_INT(now()->client_hellos_overflowed, 0);
    }
}

TEST(the_handshakes_own_time_is_a_limit_too) {
    ON_EACH(kernel, TIMEOUT_MS / 2) {
        struct client c;
        play.answers = false;
        say_hello(&c, play.hello_port, "one.example");
        wait_asked(&c);
        later(TIMEOUT_MS / 2);
        wait_end();
        CHECK_INT(now()->by_status[-SL_E_HEAD_TIMEOUT], 1);
        CHECK_INT(now()->client_hellos_timed_out, 0);
        CHECK_INT(play.aborts, 1);
        bye(&c);
    }
}

TEST(a_client_may_leave_while_it_waits) {
    static void (*const ways[])(int) = {wire_fin, wire_close, wire_reset};
    ON_EACH(kernel, 0) {
        play.answers = false;
        for (size_t i = 0; i < SL_COUNT_OF(ways); i++) {
            struct client c;
            say_hello(&c, play.hello_port, "one.example");
            wait_asked(&c);
            ways[i](c.fd);
            c.fd = ways[i] == wire_fin ? c.fd : -1;
            wait_end();
            CHECK_INT(play.aborts, i + 1);
            leave(&c);
        }
        CHECK_INT(now()->client_hellos_timed_out, 0);
        CHECK_INT(now()->late_verdicts, SL_COUNT_OF(ways)); // that give the slots back
    }
}

TEST(what_a_waiting_client_sends_on_is_bounded) {
    static char junk[65536];
    ON_EACH(kernel, 0) {
        struct client c;
        play.answers = false;
        say_hello(&c, play.hello_port, "one.example");
        wait_asked(&c);
        for (int i = 0; i < 200; i++) {
            wire_send(c.fd, junk, sizeof(junk));
            world_turn(0);
        }
        CHECK_MSG(now()->bytes_in < 128 * 1024, "%llu bytes", (unsigned long long)now()->bytes_in);
        CHECK_INT(now()->exchanges_live, 1);
        reply(&play.hellos[0]);
        for (int i = 0; i < 20; i++) {
            world_turn(SL_NS_PER_MS);
        }
        CHECK_INT(now()->tls_failures, 1); // no record begins so
        leave(&c);
        wait_end();
    }
}

TEST(an_isolate_may_end_while_clients_wait) {
    ON_EACH(kernel, 0) {
        struct client c;
        play.answers = false;
        say_hello(&c, play.hello_port, "two.example");
        wait_asked(&c);
        CHECK_INT(sl__gateway_isolate_gone(world.gateway, 0, SL_ISOLATE_CRASHED), SL_OK);
        shake(&c);
        CHECK_INT(row_of(&c), TWO);
        CHECK_INT(now()->client_hellos_failed, 1);
        bye(&c);
        say_hello(&c, play.hello_port, "two.example"); // nobody is there to ask
        shake(&c);
        CHECK_INT(row_of(&c), TWO);
        CHECK_INT(now()->client_hellos_overflowed, 1);
        CHECK_INT(now()->client_hellos_asked, 1);
        bye(&c);
    }
}

TEST(so_many_may_wait_and_the_next_one_does_not) {
    ON_EACH(kernel, 0) {
        struct client clients[WAITING_MAX + 1];
        play.answers = false;
        play.answer = saying(SL_HELLO_ROW_OF);
        play.name = "two.example";
        for (uint32_t i = 0; i < WAITING_MAX; i++) {
            say_hello(&clients[i], play.hello_port, "one.example");
            wait_asked(&clients[i]);
        }
        CHECK_INT(now()->client_hellos_asked, WAITING_MAX);
        struct client *last = &clients[WAITING_MAX];
        say_hello(last, play.hello_port, "one.example");
        shake(last);
        CHECK_INT(row_of(last), ONE);
        CHECK_INT(now()->client_hellos_overflowed, 1);
        for (uint32_t i = 0; i < WAITING_MAX; i++) {
            reply(&play.hellos[i]);
        }
        for (uint32_t i = 0; i < WAITING_MAX; i++) {
            shake(&clients[i]);
            CHECK_INT(row_of(&clients[i]), TWO);
        }
        for (uint32_t i = 0; i <= WAITING_MAX; i++) {
            leave(&clients[i]);
        }
        wait_end();
        CHECK_INT(now()->client_hellos_answered, WAITING_MAX);
    }
}

TEST(a_gateway_that_drains_answers_who_waits) {
    ON_EACH(kernel, 0) {
        struct client c;
        play.answers = false;
        play.answer = saying(SL_HELLO_ROW_OF);
        play.name = "two.example";
        say_hello(&c, play.hello_port, "one.example");
        wait_asked(&c);
        atomic_store(&world.gateway->drain_ms, 2000);
        atomic_fetch_or(&world.worker->commands, SL_COMMAND_DRAIN);
        turn(&c);
        reply(&play.hellos[0]);
        shake(&c);
        CHECK_INT(row_of(&c), TWO);
        leave(&c);
        wait_end();
    }
    ON_EACH(kernel, 0) { // and one that nobody answers is cut with the rest
        struct client c;
        play.answers = false;
        say_hello(&c, play.hello_port, "one.example");
        wait_asked(&c);
        atomic_store(&world.gateway->drain_ms, 1);
        atomic_fetch_or(&world.worker->commands, SL_COMMAND_DRAIN);
        world_turn(0);
        later(1);
        wait_end();
        CHECK_INT(play.aborts, 1);
        leave(&c);
    }
}

static int ask(struct client *c, const char *host) {
    char request[256], answer[4096] = "";
    int len = 0;
    snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host);
    shake(c);
    SSL_write(c->ssl, request, (int)strlen(request));
    for (int turns = 0; !strstr(answer, "\r\n\r\n") && turns < TURNS_MAX; turns++) {
        turn(c);
        int n = SSL_read(c->ssl, answer + len, (int)sizeof(answer) - 1 - len);
        len += n > 0 ? n : 0;
        answer[len] = 0;
    }
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

// A name that asks for client certificates is served only to who has come in by its own row.
TEST(hosts_on_a_connection_whose_row_was_chosen) {
    static const struct {
        const char *name, *chosen, *host;
        int status;
    } cases[] = {
        {"one.example", "two.example", "two.example", 200},
        {"one.example", "two.example", "one.example", 200}, // as it was asked for
        {"one.example", "two.example", "auth.example", 421},
        {"auth.example", "two.example", "auth.example", 421},
        {"auth.example", "two.example", "two.example", 200},
        {"auth.example", "two.example", "one.example", 421},
        {"two.example", "auth.example", "two.example", 200},
        {"two.example", "auth.example", "auth.example", 200},
        {"two.example", "auth.example", "one.example", 421},
        {NULL, "two.example", "one.example", 200}, // which is the default's
        {"two.example", "two.example", "one.example", 421},
        {"two.example", NULL, "one.example", 421},
    };
    ON_EACH(kernel, 0) {
        for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
            struct client c;
            play.name = cases[i].chosen;
            play.answer = saying(play.name ? SL_HELLO_ROW_OF : SL_HELLO_ORDINARY);
            say_hello(&c, play.hello_port, cases[i].name);
            int status = ask(&c, cases[i].host);
            CHECK_MSG(status == cases[i].status, "%s: %s, which gets the row of %s, then %s: %d", kernel->name, cases[i].name ? cases[i].name : "no name",
                      cases[i].chosen ? cases[i].chosen : "its own name", cases[i].host, status);
            bye(&c);
        }
    }
}
