#include "tls_sni.h"

#include <stdatomic.h>
#include <stdlib.h>

struct name {
    char *text; // lower case; "*.example.org" as it is
    size_t len;
    uint64_t certificates; // a bit each
};

// Sorted by text, so that a handshake finds its name in a few comparisons.
struct sl_tls_sni {
    _Atomic uint32_t refs;
    const struct sl_tls_certificate *certificates[SL_TLS_CERTIFICATES_MAX];
    char *given[SL_TLS_CERTIFICATES_MAX]; // names that each was added with; NULL: none
    size_t given_len[SL_TLS_CERTIFICATES_MAX];
    unsigned count;
    uint64_t fallback; // for no name, and for one that is not here
    struct name *names;
    size_t name_count, name_cap;
};

int sl_tls_sni_new(struct sl_tls_sni **out_sni) {
    *out_sni = calloc(1, sizeof(**out_sni));
    if (!*out_sni) {
        return sl_fail(SL_E_NO_MEMORY, "out of memory for server names");
    }
    atomic_init(&(*out_sni)->refs, 1);
    return SL_OK;
}

void sl_tls_sni_ref(struct sl_tls_sni *sni) {
    atomic_fetch_add_explicit(&sni->refs, 1, memory_order_relaxed);
}

void sl_tls_sni_free(struct sl_tls_sni *sni) {
    if (!sni || atomic_fetch_sub_explicit(&sni->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < sni->name_count; i++) {
        free(sni->names[i].text);
    }
    for (unsigned i = 0; i < sni->count; i++) {
        sl_tls_certificate_free((struct sl_tls_certificate *)sni->certificates[i]);
        free(sni->given[i]);
    }
    free(sni->names);
    free(sni);
}

static int compare(const struct name *name, const char *text, size_t len) {
    int order = memcmp(name->text, text, sl_min_size(name->len, len));
    return order ? order : (name->len > len) - (name->len < len);
}

// The place of a name, or where it would be.
static size_t place_of(const struct sl_tls_sni *sni, const char *text, size_t len) {
    size_t low = 0, high = sni->name_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&sni->names[middle], text, len) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint64_t lookup(const struct sl_tls_sni *sni, const char *text, size_t len) {
    size_t at = place_of(sni, text, len);
    bool found = at < sni->name_count && compare(&sni->names[at], text, len) == 0;
    return found ? sni->names[at].certificates : 0;
}

static bool grow(struct sl_tls_sni *sni) {
    if (sni->name_count < sni->name_cap) {
        return true;
    }
    size_t cap = sni->name_cap ? sni->name_cap * 2 : 16;
    struct name *names = realloc(sni->names, cap * sizeof(*names));
    if (names) {
        sni->names = names;
        sni->name_cap = cap;
    }
    return names != NULL;
}

static int add_name(struct sl_tls_sni *sni, const char *text, size_t len) {
    uint64_t bit = 1ull << sni->count;
    size_t at = place_of(sni, text, len);
    if (at < sni->name_count && compare(&sni->names[at], text, len) == 0) {
        sni->names[at].certificates |= bit;
        return SL_OK;
    }
    if (sni->name_count == SL_TLS_NAMES_MAX) {
        return sl_fail(SL_E_TLS_CONFIG, "more than %u server names on one listener",
                       SL_TLS_NAMES_MAX);
    }
    char *copy = malloc(len);
    if (!copy || !grow(sni)) {
        free(copy);
        return sl_fail(SL_E_NO_MEMORY, "out of memory for server names");
    }
    memcpy(copy, text, len);
    memmove(&sni->names[at + 1], &sni->names[at], (sni->name_count - at) * sizeof(*sni->names));
    sni->names[at] = (struct name){copy, len, bit};
    sni->name_count++;
    return SL_OK;
}

static bool is_label(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_';
}

// Labels between dots; the first may be "*", if two more follow.
static bool is_name(const char *text, size_t len) {
    bool wildcard = len > 2 && text[0] == '*' && text[1] == '.';
    size_t dots = 0, label = 0;
    for (size_t i = wildcard ? 2 : 0; i < len; i++) {
        if (text[i] == '.' && label > 0) {
            dots++;
            label = 0;
        } else if (is_label(text[i])) {
            label++;
        } else {
            return false;
        }
    }
    return label > 0 && len <= SL_TLS_NAME_BYTES_MAX && (!wildcard || dots > 0);
}

// The first name goes to *out_first, empty if there is none.
static int add_names(struct sl_tls_sni *sni, struct sl_span lines, bool own,
                     struct sl_span *out_first) {
    const char *at = (const char *)lines.data, *end = at + lines.len;
    for (size_t len; at < end; at += len + 1) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        len = (size_t)((newline ? newline : end) - at);
        if (!is_name(at, len)) {
            if (own) {
                continue; // no SNI can ask for it
            }
            return sl_fail(SL_E_TLS_CONFIG, "\"%.*s\" is no server name",
                           (int)sl_min_size(len, 256), at);
        }
        int rc = add_name(sni, at, len);
        if (rc) {
            return rc;
        }
        if (!out_first->len) {
            *out_first = (struct sl_span){(const uint8_t *)at, len};
        }
    }
    return SL_OK;
}

static void forget(struct sl_tls_sni *sni) {
    for (size_t i = 0; i < sni->name_count; i++) {
        sni->names[i].certificates &= ~(1ull << sni->count);
    }
}

static bool keep_given(struct sl_tls_sni *sni, struct sl_span names) {
    char *copy = names.len ? malloc(names.len) : NULL;
    if (copy) {
        memcpy(copy, names.data, names.len);
    }
    sni->given[sni->count] = copy;
    sni->given_len[sni->count] = names.len;
    return copy || !names.len;
}

int sl_tls_sni_add(struct sl_tls_sni *sni, const struct sl_tls_certificate *certificate,
                   struct sl_span names) {
    if (sni->count == SL_TLS_CERTIFICATES_MAX) {
        return sl_fail(SL_E_TLS_CONFIG, "more than %u certificates on one listener",
                       SL_TLS_CERTIFICATES_MAX);
    }
    bool own = names.len == 0;
    struct sl_span first = {NULL, 0};
    int rc = add_names(sni, own ? sl__tls_certificate_names(certificate) : names, own, &first);
    if (rc) {
        forget(sni);
        return rc;
    }
    if (!first.len && sni->count > 0) {
        return sl_fail(SL_E_TLS_CONFIG,
                       "the certificate has no DNS name that a client could ask for: give names");
    }
    if (!keep_given(sni, names)) {
        forget(sni);
        return sl_fail(SL_E_NO_MEMORY, "out of memory for server names");
    }
    sl__tls_certificate_ref(certificate);
    sni->certificates[sni->count] = certificate;
    sni->count++;
    if (sni->count == 1) {
        sni->fallback = 1;
    } else if (lookup(sni, (const char *)first.data, first.len) & 1) {
        sni->fallback |= 1ull << (sni->count - 1); // another key for the default's name
    }
    return SL_OK;
}

int sl_tls_sni_replace(struct sl_tls_sni **out_sni, const struct sl_tls_sni *sni, unsigned number,
                       const struct sl_tls_certificate *certificate) {
    int rc = sl_tls_sni_new(out_sni);
    for (unsigned i = 0; rc == SL_OK && i < sni->count; i++) {
        struct sl_span names = {(const uint8_t *)sni->given[i], sni->given_len[i]};
        rc = sl_tls_sni_add(*out_sni, i == number ? certificate : sni->certificates[i], names);
    }
    if (rc) {
        sl_tls_sni_free(*out_sni);
        *out_sni = NULL;
    }
    return rc;
}

unsigned sl_tls_sni_count(const struct sl_tls_sni *sni) { return sni->count; }

const struct sl_tls_certificate *sl__tls_sni_certificate(const struct sl_tls_sni *sni, unsigned i) {
    return sni->certificates[i];
}

static struct sl_tls_choice find(const struct sl_tls_sni *sni, const uint8_t *name, size_t len) {
    char text[SL_TLS_NAME_BYTES_MAX + 1];
    struct sl_tls_choice choice = {0, 0};
    if (len > 0 && len <= SL_TLS_NAME_BYTES_MAX) {
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
        }
        choice.exact = lookup(sni, text, len);
        const char *dot = memchr(text, '.', len);
        if (dot && dot > text) {
            char *star = text + (dot - text) - 1; // over the label's last byte
            *star = '*';
            choice.wildcard = lookup(sni, star, len - (size_t)(star - text));
        }
    }
    return choice;
}

struct sl_tls_choice sl__tls_sni_find(const struct sl_tls_sni *sni, const uint8_t *name,
                                      size_t len) {
    struct sl_tls_choice choice = find(sni, name, len);
    if (!choice.exact && !choice.wildcard) {
        choice.exact = sni->fallback;
    }
    return choice;
}

bool sl__tls_sni_has(const struct sl_tls_sni *sni, const uint8_t *name, size_t len) {
    struct sl_tls_choice choice = find(sni, name, len);
    return choice.exact || choice.wildcard;
}

uint8_t sl_tls_sni_row(const struct sl_tls_sni *sni, const uint8_t *name, size_t len) {
    if (sni->count == 1) {
        return 0;
    }
    struct sl_tls_choice choice = sl__tls_sni_find(sni, name, len);
    return (uint8_t)__builtin_ctzll(choice.exact ? choice.exact : choice.wildcard);
}

bool sl__tls_sni_name(const struct sl_tls_sni *sni, size_t i, struct sl_span *out_name,
                      uint8_t *out_row) {
    if (i >= sni->name_count) {
        return false;
    }
    *out_name = (struct sl_span){(const uint8_t *)sni->names[i].text, sni->names[i].len};
    uint64_t certificates = sni->names[i].certificates;
    *out_row = certificates ? (uint8_t)__builtin_ctzll(certificates) : SL_TLS_CERTIFICATES_MAX;
    return true;
}
