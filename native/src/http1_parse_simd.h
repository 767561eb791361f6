// Whole good lines, by vectors. Included by http1_parse_sse42.c and http1_parse_avx2.c, which define
//
//   vec                       32 bytes
//   vec_load                  unaligned
//   vec_zero, vec_first_16    zeros; the first 16 bytes
//   vec_and, vec_or, vec_add, vec_min (unsigned), vec_shift_right_4 (of words of 16 bits)
//   vec_eq, vec_greater       bytes of all ones where it is so; greater: as signed numbers, so from 0x80 on a byte is below all others
//   vec_lookup(table, x)      byte x & 15 of the same half of the table; 0 from 0x80 on
//   vec_mask(x)               the high bit of each byte, the first byte's is bit 0
//   zeros_below(mask)         how many there are below its lowest bit; 32 if it has none
//
// and get `static int lines(struct sl__scan *)`, a sl__read_lines.
//
// The bytes are looked at in blocks of 64, each of which becomes one word of stops: the bits of CR, LF and of all other controls.
//
//     Host: a..Accept: */*....           the dots are CR and LF
//     000000011000000000001111           stops, the first byte in the lowest bit
//
// So the end of a line is found by counting zeros in a register, and nothing but where the next line begins depends on it: names and values
// are worked out several lines at a time, as far as the processor looks ahead. That is also why the hot loop is written as it is: what
// waits for a line's bytes is short, and nothing that the next line needs goes through memory.
//
// No load leaves [base, end). The last block ends with the last byte; a line of which fewer than 32 bytes are left is read byte by byte.
#ifndef SL_HTTP1_PARSE_SIMD_H
#define SL_HTTP1_PARSE_SIMD_H

#include "http1_parse_internal.h"

#define BLOCK 64u

#define CONSTANT(name) vec_load(sl__vectors.name)

// Marks text, but not all: HTAB and bytes from 0x80 on are rare, so exact_stops() tells them when they come. As signed numbers, of which
// adding 1 makes DEL the lowest, all other text is above the controls.
static inline uint32_t text_mask(vec x) {
    return vec_mask(vec_greater(vec_add(x, CONSTANT(one)), CONSTANT(space)));
}

// Marks what is not in a line of text, exactly.
static inline uint32_t exact_text_stops(vec x) {
    vec controls = vec_eq(vec_min(x, CONSTANT(last_control)), x);
    return vec_mask(vec_or(controls, vec_eq(x, CONSTANT(del)))) &
           ~vec_mask(vec_eq(x, CONSTANT(tab)));
}

// Marks what is not in a target; the same trick.
static inline uint32_t target_stops(vec x) {
    vec visible = vec_greater(vec_add(x, CONSTANT(one)), CONSTANT(first_visible));
    return ~vec_mask(visible) | vec_mask(vec_eq(x, CONSTANT(fragment)));
}

// Marks what is not in a class. Two tables of 16 say what is: bit r of `low`[n] that the byte with n as its lower four bits and r + 2 as
// its upper ones is, and `high` has that bit for the upper ones. A byte belongs if what both tables have for it shares a bit.
static inline uint32_t class_stops(vec x, vec low) {
    vec upper_bits = vec_and(vec_shift_right_4(x), CONSTANT(low_bits));
    vec shared = vec_and(vec_lookup(low, x), vec_lookup(CONSTANT(high), upper_bits));
    return vec_mask(vec_eq(shared, vec_zero()));
}
static inline uint32_t token_stops(vec x) { return class_stops(x, CONSTANT(tchar_low)); }
static inline uint32_t host_stops(vec x) { return class_stops(x, CONSTANT(host_low)); }

// Lower-cases the first `len` bytes, up to 31. Adding 0x25 moves 'A' to 'Z' to the end of the signed numbers, and nothing else there.
static inline vec lower_name_32(vec x, size_t len) {
    vec upper = vec_greater(vec_add(x, CONSTANT(upper_shift)), CONSTANT(upper_min));
    return vec_or(x, vec_and(upper, vec_load(sl__vectors.case_bits + 32 - len)));
}

// The bits below the lowest one of `mask`; all, if it has none.
static inline uint32_t bits_below_first(uint32_t mask) { return (mask - 1) & ~mask; }
static inline uint32_t low_bits(size_t count) { return (1u << count) - 1; } // count < 32

// ---- Ends of lines

// Of 64 bytes.
static inline uint64_t stops_of_block(const uint8_t *data) {
    uint64_t first = text_mask(vec_load(data)), second = text_mask(vec_load(data + 32));
    return ~(first | second << 32);
}

// The first stop is not the CR of a CRLF. Answers `stops` without those that are none, and without the LF of a CR that was the last byte of
// its block. So if the first one stays, the line is not a good one.
static __attribute__((noinline)) uint64_t exact_stops(const uint8_t *block, uint64_t stops,
                                                      const uint8_t *line) {
    const uint8_t *first = block + __builtin_ctzll(stops);
    uint64_t exact =
        exact_text_stops(vec_load(block)) | (uint64_t)exact_text_stops(vec_load(block + 32)) << 32;
    return stops & exact & (first < line ? stops - 1 : ~0ull);
}

// The walk along them.
struct walk {
    uint8_t *line;        // where the line begins
    const uint8_t *block; // 64 bytes
    uint64_t stops;       // of them, those that lie ahead
};

// Moves on to a block with stops, if there is none left in this one. False at the end of the bytes. The last block ends with them, so it
// overlaps the one before. A stop that is the very last byte is left out: so two bytes can be read where one is.
static inline __attribute__((always_inline)) bool walk_on(struct walk *walk, const uint8_t *end) {
    while (walk->stops == 0) {
        size_t ahead = (size_t)(end - walk->block);
        if (SL_LIKELY(ahead > 2 * BLOCK)) {
            walk->block += BLOCK;
            walk->stops = stops_of_block(walk->block);
        } else if (ahead > BLOCK) {
            walk->block = end - BLOCK;
            walk->stops = stops_of_block(walk->block) & ~0ull >> 1 & ~0ull << (2 * BLOCK - ahead);
        } else {
            return false;
        }
    }
    return true;
}

// From `line` on, behind which at least a block lies.
static inline struct walk walk_from(uint8_t *line, const uint8_t *end) {
    uint64_t last = end - line == BLOCK ? ~0ull >> 1 : ~0ull;
    return (struct walk){line, line, stops_of_block(line) & last};
}

// The byte of the first stop ahead.
static inline uint8_t *walk_stop(const struct walk *walk) {
    return walk->line + (walk->block - walk->line) + __builtin_ctzll(walk->stops);
}

// Goes on behind the CRLF that ends the line.
static inline void walk_behind(struct walk *walk, uint8_t *line_end) {
    walk->line = line_end + 2;
    walk->stops &= walk->stops - 1;
    walk->stops &= walk->stops - 1; // the LF, unless it is in the next block
}

// ---- Field lines

// The first 32 bytes of a line, and the known name that they may begin with.
struct name {
    vec bytes, lower; // as they are, and with the known name's letters in lower case
    size_t len;       // up to the first ':'; 32: there is none
    uint32_t id;
    const struct sl__name *known;
};

static inline __attribute__((always_inline)) struct name look_up(const uint8_t *line) {
    struct name name = {.bytes = vec_load(line)};
    name.len = zeros_below(vec_mask(vec_eq(name.bytes, CONSTANT(colon))));
    name.id = sl__name_slots[SL__NAME_HASH(name.len, line[0], (line - 1)[name.len])];
    name.known = &sl__names[name.id];
    name.lower = vec_or(name.bytes, vec_load(name.known->case_bits));
    return name;
}

// Whether it is that name. The table's names end in ':' as the line's do, so one that is the beginning of another does not match, and
// OTHER's, which is empty, matches nothing.
static inline bool is_known(const struct name *name) {
    uint32_t same = vec_mask(vec_eq(name->lower, vec_load(name->known->text)));
    return zeros_below(~same) > name->len;
}

// Whether it is any good name of at most 31 bytes. Then finds its lower case, and its flags, which stand in `id` as in a field's last word.
static inline bool is_other(struct name *name) {
    if (name->len > 31 || zeros_below(token_stops(name->bytes)) != name->len || name->len == 0) {
        return false;
    }
    uint32_t underscores = vec_mask(vec_eq(name->bytes, CONSTANT(underscore)));
    name->id = underscores & low_bits(name->len) ? SL_FIELD_UNDERSCORE << 8 : SL_H_OTHER;
    name->lower = lower_name_32(name->bytes, name->len);
    return true;
}

// Writes the name in lower case, and the bytes behind it as they were. Wider stores would stand in the way of the next line's load.
static inline void write_name(uint8_t *line, const struct name *name) {
    _mm_storeu_si128((__m128i *)line, vec_first_16(name->lower));
    if (SL_UNLIKELY(name->len > 16)) {
        _mm_storeu_si128((__m128i *)(line + 16), vec_last_16(name->lower));
    }
}

// Writes the field of a line whose name has `len` bytes.
static inline __attribute__((always_inline)) void
write_field(struct sl_field *field, const uint8_t *base, const uint8_t *line,
            const uint8_t *line_end, size_t len, uint32_t id) {
    const uint8_t *value = line + len + 2, *value_end = line_end; // behind ": "
    if (SL_UNLIKELY(value[-1] != ' ' || value[0] <= ' ' || value_end[-1] <= ' ')) {
        for (value--; is_space(*value); value++) {
        }
        value_end = value + trimmed_len(value, 0, (uint32_t)(value_end - value));
    }
    store_4(&field->name_off, (uint32_t)((size_t)(line - base) | len << 16));
    store_4(&field->value_off,
            (uint32_t)((size_t)(value - base) | (size_t)(value_end - value) << 16));
    store_4(&field->id, id);
}

// ---- The request line

// What stands in a target.
struct target {
    uint32_t mark;    // offset of the first '?', 0: none
    uint32_t escapes; // not 0: the path has a '%'
    uint32_t dots;    // not 0: the path has a '.' behind a '/' or '\'
};

// Looks at [at, target_end) 32 bytes at a time. False: a byte does not belong, or 32 bytes cannot be loaded.
static inline bool read_target(const uint8_t *base, size_t at, size_t target_end, size_t end,
                               struct target *out) {
    struct target target = {0};
    uint32_t slash_before = 0;
    for (;; at += 32) {
        if (at + 32 > end) {
            return false;
        }
        vec bytes = vec_load(base + at);
        uint32_t stops = target_stops(bytes), marks = vec_mask(vec_eq(bytes, CONSTANT(mark)));
        uint32_t path = target.mark ? 0 : bits_below_first(stops | marks);
        vec slashes = vec_or(vec_eq(bytes, CONSTANT(slash)), vec_eq(bytes, CONSTANT(backslash)));
        uint32_t behind_slash = vec_mask(slashes);
        target.escapes |= vec_mask(vec_eq(bytes, CONSTANT(percent))) & path;
        target.dots |=
            vec_mask(vec_eq(bytes, CONSTANT(dot))) & (behind_slash << 1 | slash_before) & path;
        slash_before = behind_slash >> 31;
        if (!target.mark && marks & bits_below_first(stops)) {
            target.mark = (uint32_t)(at + zeros_below(marks));
        }
        if (stops) {
            *out = target;
            return at + zeros_below(stops) == target_end;
        }
    }
}

static inline void set_origin_form(struct sl_head *head, const uint8_t *base,
                                   const struct target *target) {
    uint32_t target_end = head->target_off + head->target_len;
    uint32_t path_end = target->mark ? target->mark : target_end;
    head->form = SL_TARGET_ORIGIN;
    head->path_off = head->target_off;
    head->path_len = (uint16_t)(path_end - head->path_off);
    if (target->mark) {
        head->query_off = (uint16_t)(target->mark + 1);
        head->query_len = (uint16_t)(target_end - head->query_off);
    }
    if (target->escapes | target->dots) {
        sl__http1_set_path_flags(head, base);
    }
}

// A known method and its space at the line's start, of which at least 8 bytes are there. The usual one first: the processor then need not
// wait for the method's length before it looks at the target.
static inline enum sl_method read_method(const uint8_t *base, size_t *out_len) {
    if (SL_LIKELY(load_4(base) == load_4("GET "))) {
        *out_len = 3;
        return SL_METHOD_GET;
    }
    uint64_t word = load_8(base), spaces = bytes_equal(word, ' ');
    uint32_t len = spaces ? first_byte(spaces) : 0;
    uint64_t text = word & ~(~0ull << 8 * len);
    enum sl_method method = sl__method_slots[SL__METHOD_HASH(len, base[0], base[2])];
    *out_len = len;
    return load_8(sl__methods[method].text) == text ? method : SL_METHOD_OTHER;
}

// Reads the line [0, line_end). 1; a status of its target; or 0: not a good line, or for the reference to read.
static inline int good_request_line(struct sl__scan *scan, size_t line_end) {
    enum { SHORTEST = sizeof("GET / HTTP/1.1") - 1 };
    const uint8_t *base = scan->base, *version = base + line_end - SL__VERSION_BYTES;
    if (line_end < SHORTEST || line_end > scan->line_bytes_max || version[-1] != ' ' ||
        load_2(base + line_end) != SL__CRLF ||
        (load_8(version) | 1ull << 56) != load_8("HTTP/1.1")) {
        return 0;
    }
    size_t method_len, target_end = line_end - SL__VERSION_BYTES - 1;
    enum sl_method method = read_method(base, &method_len);
    struct target target;
    if (method == SL_METHOD_OTHER || method_len + 1 >= target_end ||
        !read_target(base, method_len + 1, target_end, scan->end, &target)) {
        return 0;
    }
    struct sl_head *head = scan->head;
    head->method = (uint8_t)method;
    head->method_len = (uint16_t)method_len;
    head->target_off = (uint16_t)(method_len + 1);
    head->target_len = (uint16_t)(target_end - head->target_off);
    head->version = version[7] - '0';
    head->state = FIELD;
    if (SL_UNLIKELY(base[head->target_off] != '/' || method == SL_METHOD_CONNECT)) {
        return sl__http1_judge_target(head, base);
    }
    set_origin_form(head, base, &target);
    return 1;
}

// ---- All lines

// Reads good lines until one is unusual: the first stop ahead is no CRLF, it is the blank line, its name is too long or too close to the
// end, or there is no more.
//
// The hot loop. It calls nothing, so that what it needs can stay in registers.
static inline __attribute__((always_inline)) void usual_fields(const struct sl__scan *scan,
                                                               struct walk *out_walk) {
    struct sl_head *const head = scan->head;
    const uint8_t *const base = scan->base, *const end = base + scan->end;
    const uint8_t *const last_load = end - 32;
    const size_t fields_max = scan->fields_max;
    struct walk walk = *out_walk;
    size_t count = head->field_count;
    while (walk_on(&walk, end)) {
        uint8_t *line = walk.line, *line_end = walk_stop(&walk);
        if (load_2(line_end) != SL__CRLF || line > last_load || count == fields_max) {
            break;
        }
        struct name name = look_up(line);
        if (SL_LIKELY(is_known(&name))) {
            field_link(head, name.id, (uint32_t)count + 1);
        } else if (!is_other(&name)) {
            break;
        }
        write_field(&head->fields[count], base, line, line_end, name.len, name.id);
        write_name(line, &name);
        count++;
        walk_behind(&walk, line_end);
    }
    head->field_count = (uint16_t)count;
    *out_walk = walk;
}

// Reads the line that stopped usual_fields(). False: it is not a good one, or the last.
static bool unusual_line(struct sl__scan *scan, struct walk *walk) {
    struct sl_head *head = scan->head;
    uint8_t *line = walk->line, *line_end = walk_stop(walk);
    if (load_2(line_end) != SL__CRLF) {
        uint64_t exact = exact_stops(walk->block, walk->stops, line);
        bool bad = exact & walk->stops & -walk->stops;
        walk->stops = exact;
        return !bad;
    }
    if (line_end == line) {
        walk->line += 2;
        head->len = (uint32_t)(walk->line - scan->base);
        head->state = LINES_DONE;
        return false;
    }
    uint32_t len = scan_class(line, 0, (uint32_t)(line_end - line), TOKEN);
    if (len == 0 || line[len] != ':' || head->field_count == scan->fields_max) {
        return false;
    }
    uint32_t id = name_id(line, len), index = head->field_count++;
    uint32_t flags = lower_name(line, len) ? SL_FIELD_UNDERSCORE << 8 : 0;
    write_field(&head->fields[index], scan->base, line, line_end, len, id | flags);
    if (id) {
        field_link(head, id, index + 1);
    }
    walk_behind(walk, line_end);
    return true;
}

// Reads good lines from scan->at on. 1, or a status of the target. What it does not take begins at scan->at, and the state says so.
static int good_lines(struct sl__scan *scan) {
    const uint8_t *end = scan->base + scan->end;
    if (scan->end - scan->at < BLOCK) {
        return 1; // nothing to gain
    }
    struct walk walk = walk_from(scan->base + scan->at, end);
    if (scan->head->state == METHOD) {
        if (!walk_on(&walk, end)) {
            return 1;
        }
        uint8_t *line_end = walk_stop(&walk);
        int result = good_request_line(scan, (size_t)(line_end - scan->base));
        if (result <= 0) {
            return result == 0 ? 1 : result;
        }
        walk_behind(&walk, line_end);
    }
    do {
        if (end - walk.line >= 32) {
            usual_fields(scan, &walk);
        }
    } while (walk_on(&walk, end) && unusual_line(scan, &walk));
    scan->at = (uint32_t)(walk.line - scan->base);
    return 1;
}

// Looks at the first Host, if it is short and 32 bytes are there.
static inline bool host_is_plain(const struct sl__scan *scan) {
    const struct sl_field *host = sl_head_field(scan->head, SL_H_HOST);
    if (!host || host->value_off + 32u > scan->end) {
        return false;
    }
    uint32_t stops = host_stops(vec_load(scan->base + host->value_off));
    return host->value_len > 0 && zeros_below(stops) >= host->value_len;
}

// The reference finishes a line that a call before began, and reads on behind the first line that is not a good one. So each call looks at
// a byte twice at most.
static int lines(struct sl__scan *scan) {
    struct sl_head *head = scan->head;
    bool fresh = head->state == FIELD || (head->state == METHOD && scan->at == 0);
    int result = 1;
    if (SL_UNLIKELY(!fresh)) {
        result = head->state < FIELD ? sl__http1_first_line(scan) : sl__http1_field_line(scan);
    }
    if (result > 0 && head->state != LINES_DONE) {
        result = good_lines(scan);
    }
    if (result > 0 && SL_UNLIKELY(head->state != LINES_DONE)) {
        result = sl__http1_lines_scalar(scan);
    }
    scan->host_is_plain = result > 0 && host_is_plain(scan);
    return result;
}

#endif
