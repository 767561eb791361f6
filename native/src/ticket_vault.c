#include "ticket_vault.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SLOTS 8u
#define ID_WORDS 2u
#define KEY_WORDS 4u

// A slot's control word: what state it is in, how often it was written, and when it expires. It alone decides who owns the slot; the other words are
// atomic so that a reader who will lose may read them.
enum slot_state { EMPTY = 0, BUSY = 1, FULL = 2 };
#define STATE(ctl) ((enum slot_state)((ctl) >> 62))
#define GENERATION(ctl) ((ctl) >> 32 & 0x3fffffffu)
#define EXPIRES(ctl) ((uint32_t)(ctl))

struct slot {
    _Alignas(64) _Atomic uint64_t ctl;
    _Atomic uint64_t id[ID_WORDS], key[KEY_WORDS];
};

struct sl_ticket_vault {
    struct slot *slots;
    uint64_t bucket_count;
    size_t bytes;
};

static uint64_t ctl_of(enum slot_state state, uint64_t generation, uint32_t expires_s) {
    return (uint64_t)state << 62 | (generation & 0x3fffffffu) << 32 | expires_s;
}

int sl_ticket_vault_new(struct sl_ticket_vault **out_vault, uint64_t bytes_max) {
    SL_ASSERT(bytes_max >= SL_TICKET_VAULT_BYTES_MIN);
    *out_vault = NULL;
    uint64_t count = 1;
    while (count * 2 * SLOTS * sizeof(struct slot) <= bytes_max) {
        count *= 2;
    }
    struct sl_ticket_vault *vault = calloc(1, sizeof(*vault));
    size_t bytes = (size_t)count * SLOTS * sizeof(struct slot);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!vault || memory == MAP_FAILED) {
        free(vault);
        if (memory != MAP_FAILED) {
            munmap(memory, bytes);
        }
        return sl_fail(SL_E_NO_MEMORY, "mmap of %zu bytes for sealed session tickets: %s", bytes,
                       strerror(errno));
    }
    (void)madvise(memory, bytes, MADV_DONTDUMP); // keys: not into a core file
    *vault = (struct sl_ticket_vault){memory, count, bytes};
    *out_vault = vault;
    return SL_OK;
}

void sl_ticket_vault_free(struct sl_ticket_vault *vault) {
    if (vault) {
        munmap(vault->slots, vault->bytes); // the kernel zeroes pages before anyone else sees them
        free(vault);
    }
}

static struct slot *bucket_of(const struct sl_ticket_vault *vault,
                              const uint8_t id[SL_TICKET_ID_BYTES]) {
    uint64_t place;
    memcpy(&place, id + 8, sizeof(place));
    return vault->slots + (place & (vault->bucket_count - 1)) * SLOTS;
}

static void words_store(_Atomic uint64_t *to, const uint8_t *bytes, unsigned words) {
    for (unsigned i = 0; i < words; i++) {
        uint64_t word = 0;
        if (bytes) {
            memcpy(&word, bytes + i * 8, 8);
        }
        atomic_store_explicit(&to[i], word, memory_order_relaxed);
    }
}

static bool own(struct slot *slot, uint64_t ctl) {
    return atomic_compare_exchange_strong_explicit(&slot->ctl, &ctl,
                                                   ctl_of(BUSY, GENERATION(ctl) + 1, 0),
                                                   memory_order_acq_rel, memory_order_relaxed);
}

// The slot to write: an empty or expired one, else the one that expires first.
static struct slot *victim_of(struct slot *bucket, uint32_t now_s, uint64_t *out_ctl) {
    struct slot *best = NULL;
    uint32_t best_expires = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        uint64_t ctl = atomic_load_explicit(&bucket[i].ctl, memory_order_relaxed);
        if (STATE(ctl) == BUSY) {
            continue;
        }
        uint32_t expires = STATE(ctl) == EMPTY || EXPIRES(ctl) <= now_s ? 0 : EXPIRES(ctl);
        if (!best || expires < best_expires) {
            best = &bucket[i];
            best_expires = expires;
            *out_ctl = ctl;
        }
    }
    return best;
}

enum sl_ticket_put sl_ticket_vault_put(struct sl_ticket_vault *vault,
                                       const uint8_t id[SL_TICKET_ID_BYTES],
                                       const uint8_t key[SL_TICKET_VAULT_KEY_BYTES], uint32_t now_s,
                                       uint32_t expires_s) {
    struct slot *bucket = bucket_of(vault, id);
    for (unsigned attempt = 0; attempt < SLOTS; attempt++) {
        uint64_t ctl;
        struct slot *slot = victim_of(bucket, now_s, &ctl);
        if (!slot) {
            break;
        }
        if (own(slot, ctl)) {
            words_store(slot->id, id, ID_WORDS);
            words_store(slot->key, key, KEY_WORDS);
            atomic_store_explicit(&slot->ctl, ctl_of(FULL, GENERATION(ctl) + 1, expires_s),
                                  memory_order_release);
            return STATE(ctl) == FULL && EXPIRES(ctl) > now_s ? SL_TICKET_PUT_EVICTED
                                                              : SL_TICKET_PUT_YES;
        }
    }
    return SL_TICKET_PUT_NO;
}

static bool holds(struct slot *slot, const uint8_t id[SL_TICKET_ID_BYTES]) {
    uint64_t words[ID_WORDS];
    memcpy(words, id, sizeof(words));
    return atomic_load_explicit(&slot->id[0], memory_order_relaxed) == words[0] &&
           atomic_load_explicit(&slot->id[1], memory_order_relaxed) == words[1];
}

bool sl_ticket_vault_take(struct sl_ticket_vault *vault, const uint8_t id[SL_TICKET_ID_BYTES],
                          uint32_t now_s, uint8_t out_key[SL_TICKET_VAULT_KEY_BYTES]) {
    struct slot *bucket = bucket_of(vault, id);
    for (unsigned i = 0; i < SLOTS; i++) {
        uint64_t ctl = atomic_load_explicit(&bucket[i].ctl, memory_order_acquire);
        // The slot was not written between the look at its id and own(): its generation says so.
        if (STATE(ctl) != FULL || !holds(&bucket[i], id) || !own(&bucket[i], ctl)) {
            continue;
        }
        for (unsigned k = 0; k < KEY_WORDS; k++) {
            uint64_t word = atomic_load_explicit(&bucket[i].key[k], memory_order_relaxed);
            memcpy(out_key + k * 8, &word, 8);
        }
        words_store(bucket[i].id, NULL, ID_WORDS);
        words_store(bucket[i].key, NULL, KEY_WORDS);
        atomic_store_explicit(&bucket[i].ctl, ctl_of(EMPTY, GENERATION(ctl) + 1, 0),
                              memory_order_release);
        return EXPIRES(ctl) > now_s;
    }
    return false;
}
