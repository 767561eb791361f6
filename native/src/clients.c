#include "clients.h"

#include <pthread.h>
#include <stdlib.h>

struct slot {
    sl_client client;
    uint32_t conns; // 0: the slot is free
};

// Linear probing; half of the slots are free at least.
struct sl_clients {
    pthread_mutex_t lock;
    uint64_t seed, mask, used;
    uint32_t each_max;
    struct slot *slots;
};

// No unicast IPv6 address begins as an IPv4 one does here.
sl_client sl_client_of(int family, const uint8_t addr[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool v4 = family == 4 || memcmp(addr, mapped, sizeof(mapped)) == 0;
    const uint8_t *from = family == 4 || !v4 ? addr : addr + sizeof(mapped);
    sl_client client = v4 ? UINT32_MAX : 0;
    for (int i = 0; i < (v4 ? 4 : 8); i++) {
        client = client << 8 | from[i];
    }
    return client;
}

int sl_clients_new(struct sl_clients **out_clients, uint64_t conns_max, uint32_t each_max,
                   uint64_t seed) {
    uint64_t count = 16;
    while (count < 2 * conns_max) {
        count *= 2;
    }
    struct sl_clients *clients = calloc(1, sizeof(*clients));
    struct slot *slots = calloc(count, sizeof(*slots));
    if (!clients || !slots) {
        free(clients);
        free(slots);
        return sl_fail(SL_E_NO_MEMORY, "a table for %llu client addresses",
                       (unsigned long long)count);
    }
    pthread_mutex_init(&clients->lock, NULL);
    clients->seed = seed;
    clients->mask = count - 1;
    clients->each_max = each_max;
    clients->slots = slots;
    *out_clients = clients;
    return SL_OK;
}

void sl_clients_free(struct sl_clients *clients) {
    if (clients) {
        pthread_mutex_destroy(&clients->lock);
        free(clients->slots);
        free(clients);
    }
}

// The finaliser of splitmix64.
static uint64_t home_of(const struct sl_clients *clients, sl_client client) {
    uint64_t h = client ^ clients->seed;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
    h = (h ^ h >> 27) * 0x94d049bb133111ebull;
    return (h ^ h >> 31) & clients->mask;
}

// Its slot, or the free one where it would be.
static uint64_t find(const struct sl_clients *clients, sl_client client) {
    uint64_t at = home_of(clients, client);
    while (clients->slots[at].conns > 0 && clients->slots[at].client != client) {
        at = (at + 1) & clients->mask;
    }
    return at;
}

bool sl_clients_add(struct sl_clients *clients, sl_client client) {
    pthread_mutex_lock(&clients->lock);
    struct slot *slot = &clients->slots[find(clients, client)];
    bool fits = slot->conns < clients->each_max;
    if (fits) {
        clients->used += slot->conns == 0;
        SL_ASSERT(clients->used <= clients->mask);
        slot->client = client;
        slot->conns++;
    }
    pthread_mutex_unlock(&clients->lock);
    return fits;
}

// Those behind a slot that becomes free move up, unless they would come before their home.
static void close_gap(struct sl_clients *clients, uint64_t gap) {
    for (uint64_t at = (gap + 1) & clients->mask; clients->slots[at].conns > 0;
         at = (at + 1) & clients->mask) {
        uint64_t home = home_of(clients, clients->slots[at].client);
        if (((at - home) & clients->mask) >= ((at - gap) & clients->mask)) {
            clients->slots[gap] = clients->slots[at];
            clients->slots[at].conns = 0;
            gap = at;
        }
    }
}

void sl_clients_remove(struct sl_clients *clients, sl_client client) {
    pthread_mutex_lock(&clients->lock);
    uint64_t at = find(clients, client);
    SL_ASSERT(clients->slots[at].conns > 0);
    if (--clients->slots[at].conns == 0) {
        clients->used--;
        close_gap(clients, at);
    }
    pthread_mutex_unlock(&clients->lock);
}

uint64_t sl_clients_count(struct sl_clients *clients) {
    pthread_mutex_lock(&clients->lock);
    uint64_t used = clients->used;
    pthread_mutex_unlock(&clients->lock);
    return used;
}
