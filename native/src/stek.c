#include "stek.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "tls_boringssl.h"

#include <openssl/aead.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

struct sl_stek {
    struct sl_stek_key source; // kept for the ring that follows
    uint8_t id[SL_STEK_ID_BYTES];
    EVP_AEAD_CTX aead;
};

struct sl_stek_ring {
    _Atomic uint32_t refs;
    uint32_t count; // by not_before_ms, the oldest first
    struct sl_stek keys[];
};

static void key_id(uint8_t id[SL_STEK_ID_BYTES], const uint8_t key[SL_STEK_KEY_BYTES]) {
    static const char label[] = "sluice session ticket key id";
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX sha;
    SHA256_Init(&sha);
    SHA256_Update(&sha, label, sizeof(label));
    SHA256_Update(&sha, key, SL_STEK_KEY_BYTES);
    SHA256_Final(digest, &sha);
    memcpy(id, digest, SL_STEK_ID_BYTES);
}

static bool aead_init(EVP_AEAD_CTX *aead, const uint8_t key[SL_STEK_KEY_BYTES]) {
    return EVP_AEAD_CTX_init(aead, EVP_aead_aes_256_gcm_siv(), key, SL_STEK_KEY_BYTES,
                             SL_STEK_TAG_BYTES, NULL);
}

static bool stek_init(struct sl_stek *stek, const struct sl_stek_key *source) {
    stek->source = *source;
    key_id(stek->id, source->key);
    return aead_init(&stek->aead, source->key);
}

static void ring_free(struct sl_stek_ring *ring) {
    for (uint32_t i = 0; i < ring->count; i++) {
        EVP_AEAD_CTX_cleanup(&ring->keys[i].aead);
    }
    OPENSSL_cleanse(ring->keys, ring->count * sizeof(ring->keys[0]));
    free(ring);
}

static void sort_keys(struct sl_stek_key *keys, uint32_t count) {
    for (uint32_t i = 1; i < count; i++) { // at most 64
        for (uint32_t k = i; k > 0 && keys[k].not_before_ms < keys[k - 1].not_before_ms; k--) {
            struct sl_stek_key moved = keys[k];
            keys[k] = keys[k - 1];
            keys[k - 1] = moved;
            OPENSSL_cleanse(&moved, sizeof(moved));
        }
    }
}

static int ring_of_sorted(struct sl_stek_ring **out_ring, const struct sl_stek_key *keys,
                          uint32_t count) {
    struct sl_stek_ring *ring = calloc(1, sizeof(*ring) + count * sizeof(ring->keys[0]));
    if (!ring) {
        return sl_fail(SL_E_NO_MEMORY, "out of memory for %u session ticket keys", count);
    }
    atomic_init(&ring->refs, 1);
    for (uint32_t i = 0; i < count; i++) {
        struct sl_stek *stek = &ring->keys[i];
        bool known = false;
        bool ok = stek_init(stek, &keys[i]);
        ring->count = i + 1;
        for (uint32_t k = 0; k < i; k++) {
            known = known || memcmp(ring->keys[k].id, stek->id, SL_STEK_ID_BYTES) == 0;
        }
        if (!ok || known) {
            ring_free(ring);
            return ok ? sl_fail(SL_E_TLS_CONFIG, "session ticket key %u is there twice", i)
                      : sl_fail(SL_E_NO_MEMORY, "out of memory for a session ticket key");
        }
    }
    *out_ring = ring;
    return SL_OK;
}

int sl_stek_ring_new(struct sl_stek_ring **out_ring, const struct sl_stek_key *keys,
                     uint32_t count) {
    *out_ring = NULL;
    if (count == 0 || count > SL_STEKS_MAX) {
        return sl_fail(SL_E_TLS_CONFIG, "%u session ticket keys, expected 1 to %u", count,
                       SL_STEKS_MAX);
    }
    struct sl_stek_key sorted[SL_STEKS_MAX];
    memcpy(sorted, keys, count * sizeof(*keys));
    sort_keys(sorted, count);
    int rc = ring_of_sorted(out_ring, sorted, count);
    OPENSSL_cleanse(sorted, sizeof(sorted));
    return rc;
}

int sl_stek_ring_rotate(struct sl_stek_ring **out_ring, const struct sl_stek_ring *old,
                        int64_t now_ms, int64_t rotation_ms, uint32_t kept) {
    SL_ASSERT(kept >= 1 && kept <= SL_STEKS_MAX - 1 && rotation_ms > 0);
    *out_ring = NULL;
    struct sl_stek_key keys[SL_STEKS_MAX];
    uint32_t count = 0;
    int64_t last_ms = now_ms - rotation_ms;
    if (old) {
        uint32_t live = 0; // that seal, or have sealed
        while (live < old->count && old->keys[live].source.not_before_ms <= now_ms) {
            live++;
        }
        for (uint32_t i = live > kept ? live - kept : 0; i < old->count; i++) {
            keys[count++] = old->keys[i].source;
        }
        last_ms = keys[count - 1].not_before_ms;
    }
    // After a pause of many periods the new ones begin now: nothing was sealed meanwhile that a missing key could open.
    last_ms = last_ms < now_ms - rotation_ms ? now_ms - rotation_ms : last_ms;
    while (last_ms <= now_ms && count < SL_STEKS_MAX) {
        last_ms += rotation_ms;
        keys[count].not_before_ms = last_ms;
        RAND_bytes(keys[count].key, SL_STEK_KEY_BYTES); // aborts where there is no randomness
        count++;
    }
    int rc = ring_of_sorted(out_ring, keys, count);
    OPENSSL_cleanse(keys, sizeof(keys));
    return rc;
}

void sl_stek_ring_ref(struct sl_stek_ring *ring) {
    atomic_fetch_add_explicit(&ring->refs, 1, memory_order_relaxed);
}

void sl_stek_ring_unref(struct sl_stek_ring *ring) {
    if (ring && atomic_fetch_sub_explicit(&ring->refs, 1, memory_order_acq_rel) == 1) {
        ring_free(ring);
    }
}

uint32_t sl_stek_ring_count(const struct sl_stek_ring *ring) { return ring->count; }

int64_t sl_stek_ring_last_ms(const struct sl_stek_ring *ring) {
    return ring->keys[ring->count - 1].source.not_before_ms;
}

const struct sl_stek *sl_stek_current(const struct sl_stek_ring *ring, int64_t now_ms) {
    uint32_t i = ring->count - 1;
    while (i > 0 && ring->keys[i].source.not_before_ms > now_ms) {
        i--;
    }
    return &ring->keys[i];
}

const struct sl_stek *sl_stek_find(const struct sl_stek_ring *ring,
                                   const uint8_t id[SL_STEK_ID_BYTES]) {
    for (uint32_t i = ring->count; i-- > 0;) {
        if (memcmp(ring->keys[i].id, id, SL_STEK_ID_BYTES) == 0) {
            return &ring->keys[i];
        }
    }
    return NULL;
}

const uint8_t *sl_stek_id(const struct sl_stek *stek) { return stek->id; }

static int64_t aead_seal(const EVP_AEAD_CTX *aead, uint8_t *out, size_t cap, const uint8_t *nonce,
                         struct sl_span aad, struct sl_span in) {
    size_t n;
    int ok = EVP_AEAD_CTX_seal(aead, out, &n, cap, nonce, SL_STEK_NONCE_BYTES, in.data, in.len,
                               aad.data, aad.len);
    return ok ? (int64_t)n : -1;
}

static int64_t aead_open(const EVP_AEAD_CTX *aead, uint8_t *out, size_t cap, const uint8_t *nonce,
                         struct sl_span aad, struct sl_span in) {
    size_t n;
    int ok = EVP_AEAD_CTX_open(aead, out, &n, cap, nonce, SL_STEK_NONCE_BYTES, in.data, in.len,
                               aad.data, aad.len);
    if (!ok) {
        ERR_clear_error(); // a bad ticket is a miss; SSL_get_error would take the entry for the connection's failure
    }
    return ok ? (int64_t)n : -1;
}

int64_t sl_stek_seal(const struct sl_stek *stek, uint8_t *out, size_t cap,
                     const uint8_t nonce[SL_STEK_NONCE_BYTES], struct sl_span aad,
                     struct sl_span in) {
    return aead_seal(&stek->aead, out, cap, nonce, aad, in);
}

int64_t sl_stek_open(const struct sl_stek *stek, uint8_t *out, size_t cap,
                     const uint8_t nonce[SL_STEK_NONCE_BYTES], struct sl_span aad,
                     struct sl_span in) {
    return aead_open(&stek->aead, out, cap, nonce, aad, in);
}

static void aead_erase(EVP_AEAD_CTX *aead) {
    EVP_AEAD_CTX_cleanup(aead);
    OPENSSL_cleanse(aead, sizeof(*aead));
}

int64_t sl_stek_seal_alone(const uint8_t key[SL_STEK_KEY_BYTES], uint8_t *out, size_t cap,
                           const uint8_t nonce[SL_STEK_NONCE_BYTES], struct sl_span aad,
                           struct sl_span in) {
    EVP_AEAD_CTX aead;
    int64_t n = aead_init(&aead, key) ? aead_seal(&aead, out, cap, nonce, aad, in) : -1;
    aead_erase(&aead);
    return n;
}

int64_t sl_stek_open_alone(const uint8_t key[SL_STEK_KEY_BYTES], uint8_t *out, size_t cap,
                           const uint8_t nonce[SL_STEK_NONCE_BYTES], struct sl_span aad,
                           struct sl_span in) {
    EVP_AEAD_CTX aead;
    int64_t n = aead_init(&aead, key) ? aead_open(&aead, out, cap, nonce, aad, in) : -1;
    aead_erase(&aead);
    return n;
}
