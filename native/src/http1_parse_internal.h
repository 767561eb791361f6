// What the files of the head parser share; nobody else includes it.
//
// A head is read in two steps. First its lines: each byte is judged where it stands, and the table of fields is filled. Then what only the
// whole section can say (Host, framing, Connection, Expect). The second step is the same code for all, in http1_parse.c. The first has
// three implementations behind one name:
//
//   http1_parse_scalar.c   the reference: a state machine that can stop at any byte and say why
//   http1_parse_sse42.c    whole good lines by 16 bytes }  both are http1_parse_simd.h, compiled for
//   http1_parse_avx2.c     the same by 32 bytes         }  one set of instructions each
//
// The wide ones take a line only if all of it is there and nothing about it is unusual. Any other line goes to the reference from its first
// byte on, so a verdict, its status and the state between two calls have one source. A wide one can only be wrong about what it takes.
#ifndef SL_HTTP1_PARSE_INTERNAL_H
#define SL_HTTP1_PARSE_INTERNAL_H

#include "http1_parse.h"

#define SL__VERSION_BYTES 8 // "HTTP/1.1"

// sl_head.state. Up to LINE_LF, bytes belong to the first line.
enum sl__head_state {
    START = 0,
    START_LF,
    METHOD,
    TARGET_BYTES,
    VERSION,
    STATUS,
    REASON,
    LINE_LF,
    FIELD,
    NAME,
    NAME_SPACE,
    VALUE_SPACE,
    VALUE,
    VALUE_LF,
    END_LF,
    LINES_DONE,
};

struct sl__scan {
    struct sl_head *head;
    uint8_t *base; // the head's first byte
    uint32_t at;   // next byte to look at
    bool response;
    uint32_t end; // bytes that may be looked at
    uint32_t line_bytes_max, fields_max;
    // Of the first Host, what reads lines has seen to be bytes of a name; 0: not known.
    uint32_t host_name_len;
};

// Reads on from scan->at. 1: up to and with the blank line, head->len is set; 0: partial; or a status.
typedef int sl__read_lines(struct sl__scan *scan);
sl__read_lines sl__http1_lines_scalar, sl__http1_lines_sse42, sl__http1_lines_avx2;

// The reference's steps. Each reads on from any state of its line and answers like a sl__read_lines; 1 from the second means that the state
// is FIELD or LINES_DONE.
int sl__http1_first_line(struct sl__scan *scan);
int sl__http1_field_line(struct sl__scan *scan);

// What the request line's target says, once the whole line is there: form, path, query, host.
int sl__http1_judge_target(struct sl_head *head, const uint8_t *base);
void sl__http1_set_path_flags(struct sl_head *head, const uint8_t *base);

// ---- Bytes

// Bits of sl__classes.
enum {
    TOKEN = 1,  // tchar of RFC 9110 section 5.6.2
    TARGET = 2, // 0x21-0x7e; not '#', which begins a fragment and has no place in a request
    TEXT = 4,   // of a field value: HTAB, SP, VCHAR, obs-text
    HOST = 8,   // of a registered name: unreserved and sub-delims; no '%', see host_is_valid()
    UNDERSCORE = 16,
    UPPER = 32, // the bit between upper and lower case
};
extern const uint8_t sl__classes[256];

static inline bool is_class(uint8_t byte, uint8_t class) { return sl__classes[byte] & class; }
static inline bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }
static inline bool is_space(uint8_t byte) { return byte == ' ' || byte == '\t'; }
static inline uint8_t to_lower(uint8_t byte) { return byte | (sl__classes[byte] & UPPER); }

static inline uint64_t load_8(const void *data) {
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}
static inline uint32_t load_4(const void *data) {
    uint32_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}
static inline uint16_t load_2(const void *data) {
    uint16_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}
static inline void store_8(void *data, uint64_t word) { memcpy(data, &word, sizeof(word)); }
static inline void store_4(void *data, uint32_t word) { memcpy(data, &word, sizeof(word)); }
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte is the lowest");
#define SL__CRLF 0x0a0du // as load_2() sees it

// ---- Eight bytes in a word

#define ONES 0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

// The high bit of each byte of `word` that is zero; that bit of bytes behind the first such one may be set wrongly, by a borrow. So 0 is
// exact, and so is the lowest bit.
static inline uint64_t zero_bytes(uint64_t word) { return (word - ONES) & ~word & HIGHS; }
static inline uint64_t bytes_equal(uint64_t word, uint8_t byte) {
    return zero_bytes(word ^ (ONES * byte));
}
static inline uint32_t first_byte(uint64_t highs) { return (uint32_t)__builtin_ctzll(highs) / 8; }

// Lower-cases the letters of a word of ASCII bytes: adding 0x3f sets the high bit from 'A' on, adding 0x25 from '[' on; where only the
// first is set, 0x80 >> 2 is the bit between the cases.
static inline uint64_t lower_word(uint64_t word) {
    return word | (((word + ONES * 0x3f) & ~(word + ONES * 0x25) & HIGHS) >> 2);
}

// ---- Scans: each returns the first offset in [at, end) that does not belong, or `end`. Eight bytes are read at once only where they lie
// before `end`.

static inline uint32_t scan_class(const uint8_t *base, uint32_t at, uint32_t end, uint8_t class) {
    const uint8_t *p = base + at, *stop = base + end;
    for (; stop - p >= 4; p += 4) {
        for (uint32_t i = 0; i < 4; i++) {
            if (!is_class(p[i], class)) {
                return (uint32_t)(p + i - base);
            }
        }
    }
    while (p < stop && is_class(*p, class)) {
        p++;
    }
    return (uint32_t)(p - base);
}

// Marks the first byte below 0x20 or equal to DEL; like zero_bytes(), bytes behind it may be marked wrongly.
static inline uint64_t text_stops_8(uint64_t word) {
    return (((word - ONES * 0x20) & ~word) | zero_bytes(word ^ (ONES * 0x7f))) & HIGHS;
}

// Marks the first of those, or of the bytes from 0x80 on: cheaper, and those are rare.
static inline uint64_t unusual_text_8(uint64_t word) {
    return (word | (word - ONES * 0x20) | (word + ONES)) & HIGHS;
}

static inline uint32_t scan_text(const uint8_t *base, uint32_t at, uint32_t end) {
    const uint8_t *p = base + at, *stop = base + end;
    for (;;) {
        while (stop - p >= 16 && !(unusual_text_8(load_8(p)) | unusual_text_8(load_8(p + 8)))) {
            p += 16;
        }
        if (stop - p < 8) {
            return scan_class(base, (uint32_t)(p - base), end, TEXT);
        }
        uint64_t word = load_8(p), stops = unusual_text_8(word);
        if (stops && p[first_byte(stops)] != '\r') {
            stops = text_stops_8(word);
        }
        if (!stops) {
            p += 8;
            continue;
        }
        p += first_byte(stops);
        if (*p != '\t') {
            return (uint32_t)(p - base);
        }
        p++;
    }
}

static inline uint16_t trimmed_len(const uint8_t *base, uint32_t off, uint32_t end) {
    while (end > off && is_space(base[end - 1])) {
        end--;
    }
    return (uint16_t)(end - off);
}

// Lower-cases the bytes of a name, and says whether one is a '_'. The last word overlaps the one before it.
static inline bool lower_name(uint8_t *name, uint32_t len) {
    uint64_t underscores = 0;
    if (len >= 8) {
        uint8_t *last = name + len - 8;
        for (; name < last; name += 8) {
            uint64_t word = load_8(name);
            underscores |= bytes_equal(word, '_');
            store_8(name, lower_word(word));
        }
        uint64_t word = load_8(last);
        underscores |= bytes_equal(word, '_');
        store_8(last, lower_word(word));
        return underscores;
    }
    for (uint32_t i = 0; i < len; i++) {
        underscores |= name[i] == '_';
        name[i] = to_lower(name[i]);
    }
    return underscores;
}

// ---- Known names

// Perfect over the known names: the compiler refuses two initializers of one slot. Multiplied by 8, the bit between upper and lower case
// falls out, so a name has one hash in any case.
#define SL__NAME_HASH(len, first, last) ((uint8_t)((len)*5u + ((first) + (last)*3u) * 8u))

struct sl__name {
    char text[30]; // "name: ", zeros behind
    uint8_t len;   // of the name
    uint8_t id;    // enum sl_header
    // The bits in which a line that begins so may differ: of a letter the one between the cases, behind ": " all.
    uint8_t free[32];
};
_Static_assert(offsetof(struct sl__name, free) == 32, "rows of the wide implementations");
extern const struct sl__name sl__names[256]; // by hash; zeros where there is no name

// Whether a name of tchars is `lower`, in any case. It is asked before the name is written in lower case: to load what two stores have just
// written, the processor would have to wait for both. The last word overlaps the one before it.
static inline bool same_name(const uint8_t *name, const char *lower, size_t len) {
    if (len >= 8) {
        for (size_t at = 0; at + 8 < len; at += 8) {
            if (lower_word(load_8(name + at)) != load_8(lower + at)) {
                return false;
            }
        }
        return lower_word(load_8(name + len - 8)) == load_8(lower + len - 8);
    }
    if (len >= 4) {
        return lower_word(load_4(name)) == load_4(lower) &&
               lower_word(load_4(name + len - 4)) == load_4(lower + len - 4);
    }
    for (size_t at = 0; at < len; at++) {
        if (to_lower(name[at]) != (uint8_t)lower[at]) {
            return false;
        }
    }
    return true;
}

// The number of a name of at least one byte, all tchars, in any case.
static inline uint8_t name_id(const uint8_t *name, size_t len) {
    const struct sl__name *known = &sl__names[SL__NAME_HASH(len, name[0], name[len - 1])];
    return known->len == len && same_name(name, known->text, len) ? known->id : SL_H_OTHER;
}

#define SL__METHOD_HASH(len, first, third) (((len)*3u + (first) + (third)*2u) & 15)
extern const uint8_t sl__method_slots[16]; // enum sl_method

struct sl__method {
    char text[8]; // zeros behind; OTHER has none
};
extern const struct sl__method sl__methods[];

// Links field `number` - 1 behind the last one of its name (rule 18).
static inline void field_link(struct sl_head *head, uint32_t id, uint32_t number) {
    uint16_t *link = &head->first[id];
    if (SL_LIKELY(*link == 0)) {
        *link = (uint16_t)number;
        return;
    }
    while (*link) {
        link = &head->fields[*link - 1].next_same;
    }
    *link = (uint16_t)number;
}

// ---- Constants of the wide implementations, 32 bytes each

// They lie in another file than the code that uses them: compilers that see their values build them anew in every round of a loop, by three
// instructions each.
struct sl__vectors {
    uint8_t tab[32], one[32], space[32];
    uint8_t last_control[32], del[32], fragment[32], first_visible[32]; // 0x1f, 0x7f, '#', '!'
    uint8_t colon[32], slash[32], backslash[32], dot[32], percent[32], mark[32], underscore[32];
    uint8_t target_special[32]; // each of " #%.?" at the place of its lower four bits
    uint8_t low_bits[32];       // 0x0f
    uint8_t upper_shift[32], upper_min[32], case_bits[64]; // 0x25, 0x65, 0x20: see lower_32()
    uint8_t tchar_low[32], host_low[32], high[32];         // see token_stops()
};
extern const struct sl__vectors sl__vectors;

#endif
