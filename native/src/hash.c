#include "hash.h"

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static inline void round_of(struct state *s) {
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static inline void mix(struct state *s, uint64_t word) {
    s->v3 ^= word;
    round_of(s);
    s->v0 ^= word;
}

uint64_t sl_hash(const struct sl_hash_key *key, const void *data, size_t len) {
    struct state s = {key->k0 ^ 0x736f6d6570736575ull, key->k1 ^ 0x646f72616e646f6dull,
                      key->k0 ^ 0x6c7967656e657261ull, key->k1 ^ 0x7465646279746573ull};
    const uint8_t *at = data;
    uint64_t word;
    for (size_t left = len; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8); // little endian, as all that we run on
        mix(&s, word);
    }
    word = 0;
    if (len & 7) {
        memcpy(&word, at, len & 7);
    }
    mix(&s, word | (uint64_t)len << 56);
    s.v2 ^= 0xff;
    round_of(&s);
    round_of(&s);
    round_of(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
