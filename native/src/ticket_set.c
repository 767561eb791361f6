#include "ticket_set.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WAYS 8u                        // words of a cache line
#define LIVE (SL_TICKET_EPOCHS + 1u)   // the window may begin in the middle of an epoch
#define TABLES (LIVE + 1u)             // and the one that is being cleared
#define FIRST_EPOCH ((uint64_t)TABLES) // so that "TABLES epochs ago" is a number
#define NOT_READY 0u

struct bucket {
    _Alignas(64) _Atomic uint64_t ways[WAYS];
};

// Apart from its buckets: what all workers read, and what they count in.
struct table {
    _Alignas(64) _Atomic uint64_t epoch; // NOT_READY: being cleared
    _Alignas(64) _Atomic int64_t entries;
};

struct sl_ticket_set {
    uint64_t epoch_ns, start_ns;
    uint64_t bucket_count; // per table, a power of two
    struct bucket *buckets;
    size_t bytes;
    // Of the one that tends:
    uint64_t clearing; // the epoch whose table is being cleared, and how far that is
    uint64_t cleared;
    struct table tables[TABLES];
};

static uint64_t epoch_at(const struct sl_ticket_set *set, uint64_t now_ns) {
    return FIRST_EPOCH + (now_ns - set->start_ns) / set->epoch_ns;
}

static struct table *table_of(struct sl_ticket_set *set, uint64_t epoch) {
    return &set->tables[epoch % TABLES];
}

static struct bucket *bucket_of(struct sl_ticket_set *set, uint64_t epoch,
                                const uint8_t id[SL_TICKET_ID_BYTES]) {
    uint64_t place;
    memcpy(&place, id + 8, sizeof(place));
    return set->buckets + (epoch % TABLES) * set->bucket_count + (place & (set->bucket_count - 1));
}

static uint64_t word_of(const uint8_t id[SL_TICKET_ID_BYTES]) {
    uint64_t word;
    memcpy(&word, id, sizeof(word));
    return word ? word : 1; // 0 is an empty way
}

int sl_ticket_set_new(struct sl_ticket_set **out_set, uint64_t bytes_max, uint64_t window_ns,
                      uint64_t now_ns) {
    SL_ASSERT(bytes_max >= SL_TICKET_SET_BYTES_MIN && window_ns >= SL_TICKET_EPOCHS);
    *out_set = NULL;
    uint64_t count = 1;
    while (count * 2 * TABLES * sizeof(struct bucket) <= bytes_max) {
        count *= 2;
    }
    struct sl_ticket_set *set = aligned_alloc(64, sizeof(*set));
    size_t bytes = (size_t)count * TABLES * sizeof(struct bucket);
    // Not touched here: pages come with the tickets that need them.
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!set || memory == MAP_FAILED) {
        free(set);
        if (memory != MAP_FAILED) {
            munmap(memory, bytes);
        }
        return sl_fail(SL_E_NO_MEMORY, "mmap of %zu bytes for session tickets: %s", bytes,
                       strerror(errno));
    }
    memset(set, 0, sizeof(*set));
    set->epoch_ns = window_ns / SL_TICKET_EPOCHS;
    set->start_ns = now_ns;
    set->bucket_count = count;
    set->buckets = memory;
    set->bytes = bytes;
    for (uint64_t epoch = FIRST_EPOCH; epoch < FIRST_EPOCH + LIVE; epoch++) {
        atomic_init(&table_of(set, epoch)->epoch, epoch); // zeroes from the kernel
    }
    set->clearing = FIRST_EPOCH + LIVE;
    *out_set = set;
    return SL_OK;
}

void sl_ticket_set_free(struct sl_ticket_set *set) {
    if (set) {
        munmap(set->buckets, set->bytes);
        free(set);
    }
}

bool sl_ticket_set_insert(struct sl_ticket_set *set, uint64_t now_ns,
                          const uint8_t id[SL_TICKET_ID_BYTES], uint16_t *out_epoch) {
    uint64_t epoch = epoch_at(set, now_ns), word = word_of(id);
    struct table *table = table_of(set, epoch);
    if (atomic_load_explicit(&table->epoch, memory_order_acquire) != epoch) {
        return false;
    }
    struct bucket *bucket = bucket_of(set, epoch, id);
    for (unsigned way = 0; way < WAYS; way++) {
        uint64_t empty = 0;
        if (atomic_load_explicit(&bucket->ways[way], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&bucket->ways[way], &empty, word,
                                                    memory_order_release, memory_order_relaxed)) {
            atomic_fetch_add_explicit(&table->entries, 1, memory_order_relaxed);
            *out_epoch = (uint16_t)epoch;
            return true;
        }
    }
    return false;
}

enum sl_ticket_take sl_ticket_set_take(struct sl_ticket_set *set, uint64_t now_ns,
                                       const uint8_t id[SL_TICKET_ID_BYTES], uint16_t epoch16) {
    uint64_t now = epoch_at(set, now_ns), word = word_of(id);
    uint64_t epoch = now - (uint16_t)((uint16_t)now - epoch16); // the last one that ends so
    struct table *table = table_of(set, epoch);
    if (now - epoch >= LIVE || atomic_load_explicit(&table->epoch, memory_order_acquire) != epoch) {
        return SL_TICKET_EXPIRED;
    }
    struct bucket *bucket = bucket_of(set, epoch, id);
    for (unsigned way = 0; way < WAYS; way++) {
        uint64_t expected = word;
        if (atomic_load_explicit(&bucket->ways[way], memory_order_relaxed) == word &&
            atomic_compare_exchange_strong_explicit(&bucket->ways[way], &expected, 0,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            atomic_fetch_sub_explicit(&table->entries, 1, memory_order_relaxed);
            // Whoever slept here for a whole epoch may have met another life of the table.
            return atomic_load_explicit(&table->epoch, memory_order_acquire) == epoch
                       ? SL_TICKET_WON
                       : SL_TICKET_EXPIRED;
        }
    }
    return SL_TICKET_LOST;
}

uint64_t sl_ticket_set_tend_ns(const struct sl_ticket_set *set) {
    return set->epoch_ns / (SL_TICKET_TENDS * 2); // twice as often as it must be
}

static void clear_some(struct sl_ticket_set *set, uint64_t buckets) {
    struct bucket *first = set->buckets + (set->clearing % TABLES) * set->bucket_count;
    uint64_t end = sl_min_u64(set->bucket_count, set->cleared + buckets);
    for (; set->cleared < end; set->cleared++) {
        for (unsigned way = 0; way < WAYS; way++) {
            atomic_store_explicit(&first[set->cleared].ways[way], 0, memory_order_relaxed);
        }
    }
}

void sl_ticket_set_tend(struct sl_ticket_set *set, uint64_t now_ns) {
    uint64_t now = epoch_at(set, now_ns);
    if (set->clearing + LIVE <
        now) { // it slept for more than a window: all that there is has expired
        set->clearing = now - LIVE;
        set->cleared = 0;
    }
    while (set->clearing <= now + 1) {
        struct table *table = table_of(set, set->clearing);
        if (set->cleared == 0) {
            atomic_store_explicit(&table->epoch, NOT_READY, memory_order_relaxed);
            atomic_store_explicit(&table->entries, 0, memory_order_relaxed);
        }
        bool late = set->clearing <= now;
        clear_some(set, late ? set->bucket_count : set->bucket_count / SL_TICKET_TENDS + 1);
        if (set->cleared < set->bucket_count) {
            return;
        }
        atomic_store_explicit(&table->epoch, set->clearing, memory_order_release);
        set->clearing++;
        set->cleared = 0;
    }
}

void sl_ticket_set_describe(const struct sl_ticket_set *set, uint64_t now_ns,
                            struct sl_ticket_set_facts *out_facts) {
    uint64_t now = epoch_at(set, now_ns), oldest = now;
    int64_t entries = 0;
    for (uint64_t age = 0; age < LIVE && now - age >= FIRST_EPOCH; age++) {
        const struct table *table = &set->tables[(now - age) % TABLES];
        if (atomic_load_explicit(&table->epoch, memory_order_relaxed) == now - age) {
            entries += atomic_load_explicit(&table->entries, memory_order_relaxed);
            oldest = now - age;
        }
    }
    *out_facts = (struct sl_ticket_set_facts){
        .bytes = set->bytes,
        .capacity = set->bucket_count * WAYS * LIVE,
        .entries = entries > 0 ? (uint64_t)entries : 0,
        .horizon_ns = now_ns - set->start_ns - (oldest - FIRST_EPOCH) * set->epoch_ns,
    };
}
