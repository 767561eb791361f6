// Whole good lines, by vectors. Included by http1_parse_sse42.c and http1_parse_avx2.c, which define
//
//   vec                       32 bytes
//   vec_load                  unaligned
//   vec_zero, vec_first_16    zeros; the first 16 bytes
//   vec_and, vec_or, vec_add, vec_min (unsigned), vec_shift_right_4 (of words of 16 bits)
//   vec_eq, vec_greater       bytes of all ones where it is so; greater: as signed numbers, so from 0x80 on a byte is below all others
//   vec_lookup(table, x)      byte x & 15 of the same half of the table; 0 from 0x80 on
//   vec_mask(x)               the high bit of each byte, the first byte's is bit 0
//   vec_pick(mask, x, y)      bytes of x where the mask's high bit is set, else of y
//   vec_same_but(free, x, y)  whether x and y differ in no bits but those of `free`
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

// Marks what is not in a line of text, and HTAB and bytes from 0x80 on: they are rare, so exact_stops() tells them when they come. As signed
// numbers, of which adding 1 makes DEL the lowest, all other text is above the controls.
static inline uint32_t text_stops(vec x) {
    return vec_mask(vec_greater(CONSTANT(first_visible), vec_add(x, CONSTANT(one))));
}

// Marks what is not in a line of text, exactly.
static inline uint32_t exact_text_stops(vec x) {
    vec controls = vec_eq(vec_min(x, CONSTANT(last_control)), x);
    return vec_mask(vec_or(controls, vec_eq(x, CONSTANT(del)))) &
           ~vec_mask(vec_eq(x, CONSTANT(tab)));
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
    uint64_t first = text_stops(vec_load(data)), second = text_stops(vec_load(data + 32));
    return first | second << 32;
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

// The walk along them. All are offsets: what a field's record holds, and no more registers than addresses would take.
struct walk {
    size_t line;        // where the line begins
    size_t block;       // 64 bytes
    uint64_t stops;     // of them, those that lie ahead
    size_t whole_until; // blocks that begin before it have a whole one behind them, and more
    uint32_t linked_twice; // not 0: a name came again, and link_again() has to be called
    uint32_t spaced;       // the sign bit: a value begins with a space, and trim_again() has to be called
};

// Moves on to a block with stops, if there is none left in this one. False at the end of the bytes. The last block ends with them, so it
// overlaps the one before. A stop that is the very last byte is left out: so two bytes can be read where one is.
static inline __attribute__((always_inline)) bool walk_on(struct walk *walk, const uint8_t *base,
                                                          size_t end) {
    while (walk->stops == 0) {
        if (SL_LIKELY(walk->block < walk->whole_until)) {
            walk->block += BLOCK;
            walk->stops = stops_of_block(base + walk->block);
            continue;
        }
        size_t ahead = end - walk->block;
        if (ahead <= BLOCK) {
            return false;
        }
        walk->block = end - BLOCK;
        walk->stops = stops_of_block(base + walk->block) & ~0ull >> 1 & ~0ull << (2 * BLOCK - ahead);
    }
    return true;
}

// From `line` on, behind which at least a block lies.
static inline struct walk walk_from(const uint8_t *base, size_t line, size_t end) {
    uint64_t last = end - line == BLOCK ? ~0ull >> 1 : ~0ull;
    size_t whole_until = end > 2 * BLOCK ? end - 2 * BLOCK : 0;
    return (struct walk){line, line, stops_of_block(base + line) & last, whole_until, 0, 0};
}

// The byte of the first stop ahead.
static inline size_t walk_stop(const struct walk *walk) {
    return walk->block + (size_t)__builtin_ctzll(walk->stops);
}

// Goes on behind the CRLF that ends the line.
static inline void walk_behind(struct walk *walk, size_t line_end) {
    walk->line = line_end + 2;
    walk->stops &= walk->stops - 1;
    walk->stops &= walk->stops - 1; // the LF, unless it is in the next block
}

// ---- Field lines

// The first 32 bytes of a line.
struct name {
    vec bytes, lower; // as they are, and with the name's letters in lower case
    size_t len;       // up to the first ':'; 32: there is none
    size_t id;
};

// Whether the line at `at` begins with a known name and ": ". If so, finds its lower case.
static inline __attribute__((always_inline)) bool is_known(struct name *name, const uint8_t *base,
                                                           size_t at) {
    name->bytes = vec_load(base + at);
    name->len = zeros_below(vec_mask(vec_eq(name->bytes, CONSTANT(colon))));
    const struct sl__name *known =
        &sl__names[SL__NAME_HASH(name->len, base[at], base[at + name->len - 1])];
    vec text = vec_load(known->text), free = vec_load(known->free);
    name->id = known->id;
    name->lower = vec_pick(free, name->bytes, text);
    return vec_same_but(free, name->bytes, text);
}

// Whether it begins with any other good name of at most 29 bytes and ": ". Then finds its lower case, and its flags, which stand in `id` as
// in a field's last word.
static inline bool is_other(struct name *name, const uint8_t *base, size_t at) {
    const uint8_t *colon = base + at + name->len;
    if (name->len > 29 || zeros_below(token_stops(name->bytes)) != name->len || name->len == 0 ||
        colon[1] != ' ') {
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

static inline void write_field(struct sl_field *field, size_t line, size_t len, size_t value,
                               size_t value_end, size_t id) {
    store_4(&field->name_off, (uint32_t)(line | len << 16));
    store_4(&field->value_off, (uint32_t)(value | (value_end - value) << 16));
    store_4(&field->id, (uint32_t)id);
}

// Whether CRLF is there, behind a byte that is no space: as one range of a word of 32 bits.
static inline bool ends_plainly(const uint8_t *line_end) {
    return load_4(line_end - 2) - ((uint32_t)SL__CRLF << 16 | 0x2100) <= 0xdeff;
}

// Takes the spaces before all values away.
static __attribute__((noinline)) void trim_again(struct sl_head *head, const uint8_t *base) {
    for (size_t i = 0; i < head->field_count; i++) {
        struct sl_field *field = &head->fields[i];
        for (; field->value_len > 0 && is_space(base[field->value_off]); field->value_len--) {
            field->value_off++;
        }
    }
}

// Links all fields anew, in order.
static __attribute__((noinline)) void link_again(struct sl_head *head) {
    uint16_t *link[SL_H_COUNT]; // where the number of the next field of a name goes
    memset(head->first, 0, sizeof(head->first));
    for (size_t id = 0; id < SL_H_COUNT; id++) {
        link[id] = &head->first[id];
    }
    for (size_t i = 0; i < head->field_count; i++) {
        struct sl_field *field = &head->fields[i];
        field->next_same = 0;
        if (field->id) {
            *link[field->id] = (uint16_t)(i + 1);
            link[field->id] = &field->next_same;
        }
    }
}

// ---- The request line

// What stands in a target.
struct target {
    size_t mark;  // offset of the first '?', 0: none
    uint32_t odd; // not 0: the path has a '%', or a '.' behind a '/' or '\'
};

static inline uint32_t separators(const uint8_t *data) {
    vec bytes = vec_load(data);
    return vec_mask(vec_or(vec_eq(bytes, CONSTANT(slash)), vec_eq(bytes, CONSTANT(backslash))));
}

// Looks at [at, target_end) 32 bytes at a time. The line has no controls and nothing from 0x80 on, so a space and '#' are all that can be
// wrong. False: a byte does not belong, or 32 bytes cannot be loaded.
static inline bool read_target(const uint8_t *base, size_t at, size_t target_end, size_t end,
                               struct target *out) {
    struct target target = {0};
    for (; at + 32 <= end; at += 32) {
        vec bytes = vec_load(base + at);
        vec special = vec_eq(vec_lookup(CONSTANT(target_special), bytes), bytes);
        if (vec_mask(special) == 0) {
            continue;
        }
        vec spaces = vec_eq(bytes, CONSTANT(space)), fragments = vec_eq(bytes, CONSTANT(fragment));
        uint32_t stops = vec_mask(vec_or(spaces, fragments));
        if (target.mark == 0) {
            uint32_t marks = vec_mask(vec_eq(bytes, CONSTANT(mark))) & bits_below_first(stops);
            uint32_t path = bits_below_first(stops | marks);
            uint32_t dots = vec_mask(vec_eq(bytes, CONSTANT(dot))) & path;
            target.odd |= vec_mask(vec_eq(bytes, CONSTANT(percent))) & path;
            target.odd |= dots ? dots & separators(base + at - 1) : 0;
            target.mark = marks ? at + zeros_below(marks) : 0;
        }
        if (stops) {
            *out = target;
            return at + zeros_below(stops) == target_end;
        }
    }
    return false;
}

static inline void set_origin_form(struct sl_head *head, const uint8_t *base,
                                   const struct target *target) {
    uint32_t target_end = head->target_off + head->target_len;
    uint32_t path_end = target->mark ? (uint32_t)target->mark : target_end;
    head->form = SL_TARGET_ORIGIN;
    head->path_off = head->target_off;
    head->path_len = (uint16_t)(path_end - head->path_off);
    if (target->mark) {
        head->query_off = (uint16_t)(target->mark + 1);
        head->query_len = (uint16_t)(target_end - head->query_off);
    }
    if (target->odd) {
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
    struct sl_head *head = scan->head;
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

// Reads good lines until one is unusual: the first stop ahead is no CRLF, or a space stands before it; it is the blank line; its name is
// too long or too close to the end, or no space follows the colon; or there is no more.
//
// The hot loop. It calls nothing, so that what it needs can stay in registers. What is rare and waits for the name's length or number is
// not branched on, but noted: a name that came before, and a second space before a value, are put right at the end for all fields.
static inline __attribute__((always_inline)) void usual_fields(const struct sl__scan *scan,
                                                               struct walk *out_walk) {
    struct sl_head *const head = scan->head;
    uint8_t *const base = scan->base;
    const size_t end = scan->end, last_load = end - 32, fields_max = scan->fields_max;
    struct walk walk = *out_walk;
    size_t number = head->field_count + 1u;
    for (; number <= fields_max && walk_on(&walk, base, end); number++) {
        size_t line_end = walk_stop(&walk);
        if (!ends_plainly(base + line_end) || walk.line > last_load) {
            break;
        }
        struct name name;
        if (SL_LIKELY(is_known(&name, base, walk.line))) {
            walk.linked_twice |= head->first[name.id];
            head->first[name.id] = (uint16_t)number;
        } else if (!is_other(&name, base, walk.line)) {
            break;
        }
        walk.spaced |= base[walk.line + name.len + 2] - 0x21u;
        write_field(&head->fields[number - 1], walk.line, name.len, walk.line + name.len + 2,
                    line_end, name.id);
        write_name(base + walk.line, &name);
        walk_behind(&walk, line_end);
    }
    head->field_count = (uint16_t)(number - 1);
    *out_walk = walk;
}

// Reads the line that stopped usual_fields(). False: it is not a good one, or the last.
static bool unusual_line(struct sl__scan *scan, struct walk *walk) {
    struct sl_head *head = scan->head;
    uint8_t *base = scan->base, *line = base + walk->line;
    size_t line_end = walk_stop(walk);
    if (load_2(base + line_end) != SL__CRLF) {
        uint64_t exact = exact_stops(base + walk->block, walk->stops, line);
        bool bad = exact & walk->stops & -walk->stops;
        walk->stops = exact;
        return !bad;
    }
    if (line_end == walk->line) {
        walk->line += 2;
        head->len = (uint32_t)walk->line;
        head->state = LINES_DONE;
        return false;
    }
    uint32_t len = scan_class(line, 0, (uint32_t)(line_end - walk->line), TOKEN);
    if (len == 0 || line[len] != ':' || head->field_count == scan->fields_max) {
        return false;
    }
    uint32_t id = name_id(line, len), index = head->field_count++;
    uint32_t flags = lower_name(line, len) ? SL_FIELD_UNDERSCORE << 8 : 0;
    uint32_t value = (uint32_t)walk->line + len + 1;
    while (is_space(base[value])) {
        value++;
    }
    write_field(&head->fields[index], walk->line, len, value,
                value + trimmed_len(base, value, (uint32_t)line_end), id | flags);
    if (id) {
        field_link(head, id, index + 1);
    }
    walk_behind(walk, line_end);
    return true;
}

// Reads good lines from scan->at on. 1, or a status of the target. What it does not take begins at scan->at, and the state says so.
static int good_lines(struct sl__scan *scan) {
    const uint8_t *base = scan->base;
    size_t end = scan->end;
    if (end - scan->at < BLOCK) {
        return 1; // nothing to gain
    }
    struct walk walk = walk_from(base, scan->at, end);
    if (scan->head->state == METHOD) {
        if (!walk_on(&walk, base, end)) {
            return 1;
        }
        size_t line_end = walk_stop(&walk);
        int result = good_request_line(scan, line_end);
        if (result <= 0) {
            return result == 0 ? 1 : result;
        }
        walk_behind(&walk, line_end);
    }
    do {
        usual_fields(scan, &walk);
    } while (walk_on(&walk, base, end) && unusual_line(scan, &walk));
    if (SL_UNLIKELY(walk.spaced & 1u << 31)) {
        trim_again(scan->head, base);
    }
    if (SL_UNLIKELY(walk.linked_twice)) {
        link_again(scan->head);
    }
    scan->at = (uint32_t)walk.line;
    return 1;
}

// Of the first Host, if 32 bytes are there: how many bytes at its start are those of a name.
static inline uint32_t host_name_len(const struct sl__scan *scan) {
    const struct sl_field *host = sl_head_field(scan->head, SL_H_HOST);
    if (!host || host->value_off + 32u > scan->end) {
        return 0;
    }
    size_t len = zeros_below(host_stops(vec_load(scan->base + host->value_off)));
    return len < 32 || host->value_len <= 32 ? (uint32_t)sl_min_size(len, host->value_len) : 0;
}

// The reference finishes a line that a call before began, and reads on behind the first line that is not a good one. So each call looks at
// a byte twice at most.
static int lines(struct sl__scan *scan) {
    struct sl_head *head = scan->head;
    bool fresh = (head->state == METHOD && scan->at == 0) || head->state == FIELD;
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
    if (result > 0) {
        scan->host_name_len = host_name_len(scan);
    }
    return result;
}

#endif
