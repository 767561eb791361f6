// What single-use session tickets cost: inserting an id into the set (native/src/ticket_set.c) and taking it, beside what is usual, a hash table
// with an LRU list behind a mutex, of the same size; and sealing and opening a ticket of mode `once` beside its AEAD alone.
//   ticket_bench ROUNDS IDS     a line "WHAT DESIGN THREADS NS" for each round: designs take turns, so what disturbs a round disturbs all
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/pem.h>
#include <openssl/rand.h>

#include "sluice/sluice.h"
#include "ticket.h"
#include "tls.h"

#define SET_BYTES (64u << 20)
#define WINDOW_NS (1024 * SL_NS_PER_S)
#define ENTRIES (1u << 18) // what an epoch of such a set holds
#define RESIDENTS 100000u  // others' ids, that stay
#define THREADS_MAX 2
#define SESSION_BYTES 100 // of a session without a client certificate
#define TICKETS 2000

typedef uint8_t ticket_id[SL_TICKET_ID_BYTES];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// ---- The usual design

struct node {
    ticket_id id;
    uint32_t chain, newer, older; // numbers of nodes, 0: none
};

static struct lru {
    pthread_mutex_t lock;
    uint32_t *heads;
    struct node *nodes; // from 1
    uint32_t newest, oldest, unused;
} lru;

static void lru_open(void) {
    pthread_mutex_init(&lru.lock, NULL);
    lru.heads = calloc(ENTRIES, sizeof(*lru.heads));
    lru.nodes = calloc(ENTRIES + 1, sizeof(*lru.nodes));
    for (uint32_t i = 1; i <= ENTRIES; i++) {
        lru.nodes[i].chain = i < ENTRIES ? i + 1 : 0;
    }
    lru.unused = 1;
}

static uint32_t *lru_find(const ticket_id id) {
    uint32_t place;
    memcpy(&place, id, sizeof(place)); // ids are random: no hash needed
    uint32_t *at = &lru.heads[place % ENTRIES];
    while (*at && memcmp(lru.nodes[*at].id, id, sizeof(ticket_id)) != 0) {
        at = &lru.nodes[*at].chain;
    }
    return at;
}

static void lru_remove(uint32_t *at) {
    uint32_t number = *at;
    struct node *node = &lru.nodes[number];
    *at = node->chain;
    *(node->newer ? &lru.nodes[node->newer].older : &lru.newest) = node->older;
    *(node->older ? &lru.nodes[node->older].newer : &lru.oldest) = node->newer;
    node->chain = lru.unused;
    lru.unused = number;
}

static bool lru_insert(const ticket_id id, uint16_t *out_epoch) {
    *out_epoch = 0;
    pthread_mutex_lock(&lru.lock);
    if (!lru.unused) {
        lru_remove(lru_find(lru.nodes[lru.oldest].id));
    }
    uint32_t number = lru.unused, *at = lru_find(id);
    struct node *node = &lru.nodes[number];
    lru.unused = node->chain;
    memcpy(node->id, id, sizeof(ticket_id));
    node->chain = 0;
    *at = number;
    node->newer = 0;
    node->older = lru.newest;
    *(lru.newest ? &lru.nodes[lru.newest].newer : &lru.oldest) = number;
    lru.newest = number;
    pthread_mutex_unlock(&lru.lock);
    return true;
}

static bool lru_take(const ticket_id id, uint16_t epoch) {
    (void)epoch;
    pthread_mutex_lock(&lru.lock);
    uint32_t *at = lru_find(id);
    bool won = *at != 0;
    if (won) {
        lru_remove(at);
    }
    pthread_mutex_unlock(&lru.lock);
    return won;
}

// ---- Ours

static struct sl_ticket_set *set;

static bool set_insert(const ticket_id id, uint16_t *out_epoch) { return sl_ticket_set_insert(set, 1, id, out_epoch); }
static bool set_take(const ticket_id id, uint16_t epoch) { return sl_ticket_set_take(set, 1, id, epoch) == SL_TICKET_WON; }

static const struct design {
    const char *name;
    bool (*insert)(const ticket_id id, uint16_t *out_epoch);
    bool (*take)(const ticket_id id, uint16_t epoch);
} designs[] = {{"set", set_insert, set_take}, {"lru", lru_insert, lru_take}};

// ---- Threads: each inserts ids of its own, then takes another one's

struct part {
    pthread_t thread;
    const struct design *design;
    pthread_barrier_t *barrier;
    ticket_id *ids;
    uint16_t *epochs;
    struct part *takes_of;
    uint32_t count, inserted, won;
    uint64_t insert_ns, take_ns;
};

static void *run_part(void *arg) {
    struct part *part = arg, *other = part->takes_of;
    uint16_t epoch = 0;
    pthread_barrier_wait(part->barrier);
    uint64_t begin = now_ns();
    for (uint32_t i = 0; i < part->count; i++) {
        part->inserted += part->design->insert(part->ids[i], &epoch);
    }
    part->insert_ns = now_ns() - begin;
    part->epochs[0] = epoch; // all of a round are in one
    pthread_barrier_wait(part->barrier);
    begin = now_ns();
    for (uint32_t i = 0; i < part->count; i++) {
        part->won += part->design->take(other->ids[i], other->epochs[0]);
    }
    part->take_ns = now_ns() - begin;
    return NULL;
}

static void run_round(const struct design *design, unsigned threads, uint32_t ids) {
    static struct part parts[THREADS_MAX];
    static uint16_t epochs[THREADS_MAX];
    pthread_barrier_t barrier;
    uint32_t inserted = 0, won = 0;
    uint64_t insert_ns = 0, take_ns = 0;
    pthread_barrier_init(&barrier, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        parts[i] = (struct part){.design = design, .barrier = &barrier, .ids = malloc(ids * sizeof(ticket_id)), .epochs = &epochs[i],
                                 .takes_of = &parts[(i + 1) % threads], .count = ids};
        RAND_bytes((uint8_t *)parts[i].ids, ids * sizeof(ticket_id));
    }
    for (unsigned i = 0; i < threads; i++) {
        SL_ASSERT(pthread_create(&parts[i].thread, NULL, run_part, &parts[i]) == 0);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(parts[i].thread, NULL);
        inserted += parts[i].inserted;
        won += parts[i].won;
        insert_ns += parts[i].insert_ns;
        take_ns += parts[i].take_ns;
    }
    for (unsigned i = 0; i < threads; i++) { // not before all have ended: they take each other's
        free(parts[i].ids);
    }
    SL_ASSERT(won == inserted && inserted > ids / 10 * 9);
    printf("insert %s %u %.2f\n", design->name, threads, (double)insert_ns / threads / ids);
    printf("take %s %u %.2f\n", design->name, threads, (double)take_ns / threads / ids);
    pthread_barrier_destroy(&barrier);
}

// ---- Sealing and opening

static struct sl_ticket_conn conn;
static struct sl_ticket_ctx ticket_ctx;
static struct sl_tls_policy policy = {.resumption = SL_RESUMPTION_ONCE, .tickets = 1, .early_data = 1, .ticket_lifetime_s = 3600, .early_window_s = 600};

static SSL_CTX *server_ctx(void) {
    uint8_t pem[4096];
    uint32_t cert_len;
    int len = sl_tls_certificate_make(pem, sizeof(pem), (int64_t)time(NULL));
    memcpy(&cert_len, pem, 4);
    BIO *cert = BIO_new_mem_buf(pem + 4, (int)cert_len), *key = BIO_new_mem_buf(pem + 4 + cert_len, len - 4 - (int)cert_len);
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SL_ASSERT(SSL_CTX_use_certificate(ctx, PEM_read_bio_X509(cert, NULL, NULL, NULL)) &&
              SSL_CTX_use_PrivateKey(ctx, PEM_read_bio_PrivateKey(key, NULL, NULL, NULL)));
    return ctx;
}

// A server's side of TLS 1.3, for ticket.c's callbacks, which ask it for its version.
static SSL *server_open(void) {
    SSL *server = SSL_new(server_ctx()), *client = SSL_new(SSL_CTX_new(TLS_method()));
    BIO *a, *b;
    SL_ASSERT(BIO_new_bio_pair(&a, 0, &b, 0));
    SSL_set_bio(server, a, a);
    SSL_set_bio(client, b, b);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    for (int done = 0; done != 2;) {
        done = (SSL_do_handshake(client) == 1) + (SSL_do_handshake(server) == 1);
    }
    SL_ASSERT(SSL_version(server) == TLS1_3_VERSION);
    SSL_set_app_data(server, &conn);
    return server;
}

static struct sl_stek_ring *ring_open(void) {
    struct sl_stek_key key = {.not_before_ms = 0};
    struct sl_stek_ring *ring;
    RAND_bytes(key.key, sizeof(key.key));
    SL_ASSERT(sl_stek_ring_new(&ring, &key, 1) == SL_OK);
    return ring;
}

static void run_aead(const struct sl_stek *stek) {
    uint8_t nonce[SL_TICKET_ID_BYTES] = {1}, aad[25] = {0}, in[SESSION_BYTES + 8] = {0}, out[256];
    uint64_t begin = now_ns();
    for (int i = 0; i < TICKETS; i++) {
        int64_t n = sl_stek_seal(stek, out, sizeof(out), nonce, (struct sl_span){aad, sizeof(aad)}, (struct sl_span){in, sizeof(in)});
        n = sl_stek_open(stek, in, sizeof(in), nonce, (struct sl_span){aad, sizeof(aad)}, (struct sl_span){out, (size_t)n});
        SL_ASSERT(n == sizeof(in));
    }
    printf("ticket aead 1 %.2f\n", (double)(now_ns() - begin) / TICKETS);
}

static void run_once(SSL *ssl) {
    uint8_t session[SESSION_BYTES] = {0}, ticket[512], out[512];
    uint64_t won = ticket_ctx.counters->ticket_takes_won, begin = now_ns();
    for (int i = 0; i < TICKETS; i++) {
        size_t len, n;
        conn = (struct sl_ticket_conn){.ctx = &ticket_ctx, .policy = &policy, .early_offered = true};
        SL_ASSERT(sl__ticket_method.seal(ssl, ticket, &len, sizeof(ticket), session, sizeof(session)) && len > 0);
        SL_ASSERT(sl__ticket_method.open(ssl, out, &n, sizeof(out), ticket, len) == ssl_ticket_aead_success);
    }
    printf("ticket once 1 %.2f\n", (double)(now_ns() - begin) / TICKETS);
    SL_ASSERT(ticket_ctx.counters->ticket_takes_won - won == TICKETS);
}

int main(int argc, char **argv) {
    static struct sl_counters counters;
    int rounds = argc == 3 ? atoi(argv[1]) : 0, ids = argc == 3 ? atoi(argv[2]) : 0;
    if (rounds < 1 || ids < 1 || (uint32_t)ids > ENTRIES / 8) {
        fprintf(stderr, "usage: ticket_bench ROUNDS IDS, up to %u\n", ENTRIES / 8);
        return 2;
    }
    lru_open();
    SL_ASSERT(sl_ticket_set_new(&set, SET_BYTES, WINDOW_NS, 0) == SL_OK);
    for (uint32_t i = 0; i < RESIDENTS; i++) {
        ticket_id id;
        uint16_t epoch;
        RAND_bytes(id, sizeof(id));
        set_insert(id, &epoch);
        lru_insert(id, &epoch);
    }
    ticket_ctx = (struct sl_ticket_ctx){.ring = ring_open(), .now_ns = 1, .unix_ms = 1700000000000, .counters = &counters};
    struct sl_tickets *tickets;
    SL_ASSERT(sl_tickets_new(&tickets, SET_BYTES, 0, WINDOW_NS, 0) == SL_OK);
    ticket_ctx.shared = tickets;
    SSL *server = server_open();
    for (int round = 0; round < rounds; round++) {
        for (unsigned threads = 1; threads <= THREADS_MAX; threads++) {
            for (size_t i = 0; i < SL_COUNT_OF(designs); i++) {
                run_round(&designs[i], threads, (uint32_t)ids);
            }
        }
        run_aead(sl_stek_current(ticket_ctx.ring, ticket_ctx.unix_ms));
        run_once(server);
    }
    return 0;
}
