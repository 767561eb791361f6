// Session ticket encryption keys (STEKs): rings of them, immutable once made, so that any thread may seal and open with one. A ring lists keys by the
// time from which they seal: the youngest whose time has come is current, those before it only open, those after it are next, published ahead so
// that no node of a fleet meets a ticket under a key that it does not know. A key is known by the first bytes of its hash. Whoever is given
// a ring holds a reference; the last one erases the keys. tls layer.
#ifndef SL_STEK_H
#define SL_STEK_H

#include "base.h"

#define SL_STEK_KEY_BYTES 32u
#define SL_STEK_ID_BYTES 4u
#define SL_STEK_NONCE_BYTES 12u
#define SL_STEK_TAG_BYTES 16u
#define SL_STEKS_MAX 64u

struct sl_stek_key {
    int64_t not_before_ms; // Unix time from which it seals
    uint8_t key[SL_STEK_KEY_BYTES];
};

struct sl_stek;
struct sl_stek_ring;

// Copies `count` keys, 1 to SL_STEKS_MAX, in any order. E_TLS_CONFIG: too many, none, or two with the same id (the same key twice); E_NO_MEMORY.
int sl_stek_ring_new(struct sl_stek_ring **out_ring, const struct sl_stek_key *keys, uint32_t count);
// Random keys that follow each other every `rotation_ms`: one that seals from now on and the next. With `old`, the ring that follows it: its keys, less
// those that more than `kept` younger ones have replaced by now (kept counts what still opens: the current one and those before it), and as many new ones as
// it takes to have a next one. E_NO_MEMORY.
int sl_stek_ring_rotate(struct sl_stek_ring **out_ring, const struct sl_stek_ring *old,
                        int64_t now_ms, int64_t rotation_ms, uint32_t kept);
void sl_stek_ring_ref(struct sl_stek_ring *ring);
void sl_stek_ring_unref(struct sl_stek_ring *ring);
uint32_t sl_stek_ring_count(const struct sl_stek_ring *ring);
int64_t sl_stek_ring_last_ms(const struct sl_stek_ring *ring); // from when its youngest key seals

// The key that seals now; before the first one's time it is the first.
const struct sl_stek *sl_stek_current(const struct sl_stek_ring *ring, int64_t now_ms);
const struct sl_stek *sl_stek_find(const struct sl_stek_ring *ring,
                                   const uint8_t id[SL_STEK_ID_BYTES]); // NULL: unknown
const uint8_t *sl_stek_id(const struct sl_stek *stek);

// AES-256-GCM-SIV (RFC 8452): a nonce that comes twice betrays that two plaintexts were equal, and nothing else. Lengths written, or -1: `cap` is
// too small, or (open) the bytes are not what was sealed. in and out may be the same place.
int64_t sl_stek_seal(const struct sl_stek *stek, uint8_t *out, size_t cap,
                     const uint8_t nonce[SL_STEK_NONCE_BYTES], struct sl_span aad, struct sl_span in);
int64_t sl_stek_open(const struct sl_stek *stek, uint8_t *out, size_t cap,
                     const uint8_t nonce[SL_STEK_NONCE_BYTES], struct sl_span aad, struct sl_span in);

// With a key of its own, that is in no ring.
int64_t sl_stek_seal_alone(const uint8_t key[SL_STEK_KEY_BYTES], uint8_t *out, size_t cap,
                           const uint8_t nonce[SL_STEK_NONCE_BYTES], struct sl_span aad,
                           struct sl_span in);
int64_t sl_stek_open_alone(const uint8_t key[SL_STEK_KEY_BYTES], uint8_t *out, size_t cap,
                           const uint8_t nonce[SL_STEK_NONCE_BYTES], struct sl_span aad,
                           struct sl_span in);

#endif
