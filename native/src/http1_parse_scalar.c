// The reference: reads lines one byte, or eight bytes in a word, at a time. It can stop anywhere
// and go on with more bytes, and it has the last word on every byte that is not as it should be.
#include "http1_parse_internal.h"

#define METHOD_BYTES_MAX 32

// A step of a state answers 1 (go on), 0 (partial) or a status.

static inline uint32_t scan_target(const uint8_t *base, uint32_t at, uint32_t end) {
    while (end - at >= 8) {
        uint64_t word = load_8(base + at);
        uint64_t stops =
            (word | (word - ONES * 0x21) | (word + ONES) | bytes_equal(word, '#')) & HIGHS;
        if (stops) {
            return at + first_byte(stops);
        }
        at += 8;
    }
    return scan_class(base, at, end, TARGET);
}

static int step_line_feed(struct sl__scan *scan, uint32_t next_state, int bad) {
    if (scan->at == scan->end) {
        return 0;
    }
    if (scan->base[scan->at] != '\n') {
        return bad;
    }
    scan->at++;
    scan->head->state = next_state;
    return 1;
}

// ---- Request line

static int step_method(struct sl__scan *scan) {
    struct sl_head *head = scan->head;
    uint32_t end = sl_min_u32(scan->end, METHOD_BYTES_MAX + 1);
    scan->at = scan_class(scan->base, scan->at, end, TOKEN);
    if (scan->at > METHOD_BYTES_MAX) {
        return SL_E_METHOD_UNKNOWN;
    }
    if (scan->at == scan->end) {
        return 0;
    }
    if (scan->at == 0 || scan->base[scan->at] != ' ') {
        return SL_E_BAD_LINE;
    }
    head->method_len = (uint16_t)scan->at;
    head->method = (uint8_t)sl_method_id(scan->base, scan->at);
    scan->at++;
    head->target_off = (uint16_t)scan->at;
    head->state = TARGET_BYTES;
    return 1;
}

// The target may end where the rest of the line, " HTTP/1.1", still fits.
static int step_target(struct sl__scan *scan) {
    struct sl_head *head = scan->head;
    uint32_t rest = 1 + SL__VERSION_BYTES;
    uint32_t target_end_max = scan->line_bytes_max > rest ? scan->line_bytes_max - rest : 0;
    uint32_t end = sl_min_u32(scan->end, target_end_max + 1);
    if (scan->at < end) {
        scan->at = scan_target(scan->base, scan->at, end);
    }
    if (scan->at > target_end_max) {
        return SL_E_TARGET_TOO_LONG;
    }
    if (scan->at == scan->end) {
        return 0;
    }
    if (scan->at == head->target_off || scan->base[scan->at] != ' ') {
        return SL_E_BAD_LINE;
    }
    head->target_len = (uint16_t)(scan->at - head->target_off);
    scan->at++;
    head->state = VERSION;
    return 1;
}

// Compares with `pattern`, in which 'd' is any digit, from offset `from` on. 1: all of it was
// there.
static int step_pattern(struct sl__scan *scan, uint32_t from, const char *pattern,
                        uint32_t pattern_len) {
    for (; scan->at - from < pattern_len; scan->at++) {
        if (scan->at == scan->end) {
            return 0;
        }
        uint8_t byte = scan->base[scan->at], want = (uint8_t)pattern[scan->at - from];
        if (want == 'd' ? !is_digit(byte) : byte != want) {
            return SL_E_BAD_LINE;
        }
    }
    return 1;
}

static int step_version(struct sl__scan *scan) {
    struct sl_head *head = scan->head;
    uint32_t from = head->target_off + head->target_len + 1u;
    if (scan->at == from && scan->end - from > SL__VERSION_BYTES &&
        load_8(scan->base + from) == load_8("HTTP/1.1") &&
        scan->base[from + SL__VERSION_BYTES] == '\r') {
        scan->at += SL__VERSION_BYTES; // what nearly all say
    }
    int result = step_pattern(scan, from, "HTTP/d.d\r", SL__VERSION_BYTES + 1);
    if (result <= 0) {
        return result;
    }
    uint8_t major = scan->base[from + 5], minor = scan->base[from + 7];
    if (major != '1' || minor > '1') {
        return SL_E_BAD_VERSION;
    }
    head->version = minor - '0';
    head->state = LINE_LF;
    return 1;
}

static int request_line(struct sl__scan *scan) {
    int result = 1;
    while (result > 0 && scan->head->state < FIELD) {
        switch (scan->head->state) {
        case METHOD:
            result = step_method(scan);
            break;
        case TARGET_BYTES:
            result = step_target(scan);
            break;
        case VERSION:
            result = step_version(scan);
            break;
        default:
            result = step_line_feed(scan, FIELD, SL_E_BAD_LINE);
            if (result > 0) {
                result = sl__http1_judge_target(scan->head, scan->base);
            }
            break;
        }
    }
    return result;
}

// ---- Status line

// "HTTP/1.1 200", then SP and a reason, or the line's end: the reason and its space may be missing.
static int step_status(struct sl__scan *scan) {
    struct sl_head *head = scan->head;
    int result = step_pattern(scan, 0, "HTTP/1.d ddd", 12);
    if (result <= 0) {
        return result;
    }
    if (scan->at == scan->end) {
        return 0;
    }
    const uint8_t *base = scan->base;
    head->version = base[7] - '0';
    head->status = (uint16_t)((base[9] - '0') * 100 + (base[10] - '0') * 10 + (base[11] - '0'));
    if (head->version > 1 || head->status < 100 || head->status > 599) {
        return SL_E_UPSTREAM_BAD;
    }
    if (base[12] != ' ' && base[12] != '\r') {
        return SL_E_UPSTREAM_BAD;
    }
    head->state = base[12] == ' ' ? REASON : LINE_LF;
    head->reason_off = (uint16_t)(++scan->at);
    return 1;
}

static int step_reason(struct sl__scan *scan) {
    struct sl_head *head = scan->head;
    scan->at = scan_text(scan->base, scan->at, scan->end);
    if (scan->at > scan->line_bytes_max) {
        return SL_E_UPSTREAM_BAD;
    }
    if (scan->at == scan->end) {
        return 0;
    }
    head->reason_len = (uint16_t)(scan->at - head->reason_off);
    head->state = LINE_LF;
    return scan->base[scan->at++] == '\r' ? 1 : SL_E_UPSTREAM_BAD;
}

static int status_line(struct sl__scan *scan) {
    int result = 1;
    while (result > 0 && scan->head->state < FIELD) {
        switch (scan->head->state) {
        case STATUS:
            result = step_status(scan);
            break;
        case REASON:
            result = step_reason(scan);
            break;
        default:
            result = step_line_feed(scan, FIELD, SL_E_UPSTREAM_BAD);
            break;
        }
    }
    return result;
}

int sl__http1_first_line(struct sl__scan *scan) {
    return scan->response ? status_line(scan) : request_line(scan);
}

// ---- Field lines

// Reads lines up to and with the empty one, or one line. One function, because the states are steps
// of one hot loop; head->state is written only where it stops.
static inline __attribute__((always_inline)) int field_lines(struct sl__scan *scan, bool one) {
    struct sl_head *head = scan->head;
    uint8_t *base = scan->base;
    uint32_t at = scan->at, end = scan->end;
    struct sl_field *field = &head->fields[head->field_count];
    enum sl__head_state state = head->state;
    int result = 0;
    for (;;) {
        switch (state) {
        case FIELD:
            if (at == end) {
                goto stop;
            }
            if (base[at] == '\r') {
                at++;
                state = END_LF;
                break;
            }
            if (!is_class(base[at], TOKEN)) {
                goto bad; // rules 3, 5, 15, 16
            }
            if (head->field_count == scan->fields_max) {
                result = SL_E_TOO_MANY_FIELDS;
                goto stop;
            }
            *field = (struct sl_field){.name_off = (uint16_t)at};
            state = NAME;
            // fall through
        case NAME: {
            at = scan_class(base, at, end, TOKEN);
            if (at == end) {
                goto stop;
            }
            uint8_t byte = base[at];
            uint32_t name_len = at - field->name_off;
            if (byte != ':' && !(scan->response && is_space(byte))) {
                goto bad;
            }
            field->name_len = (uint16_t)name_len;
            field->id = name_id(base + field->name_off, name_len);
            if (lower_name(base + field->name_off, name_len)) {
                field->flags |= SL_FIELD_UNDERSCORE;
            }
            if (byte != ':') {
                field->flags |= SL_FIELD_SPACED;
                state = NAME_SPACE;
                break;
            }
            at++;
            state = VALUE_SPACE;
        }
            // fall through
        case VALUE_SPACE:
            while (at < end && is_space(base[at])) {
                at++;
            }
            if (at == end) {
                goto stop;
            }
            field->value_off = (uint16_t)at;
            state = VALUE;
            // fall through
        case VALUE:
            at = scan_text(base, at, end);
            if (at == end) {
                goto stop;
            }
            if (base[at] != '\r') {
                goto bad; // rules 3, 17
            }
            field->value_len = trimmed_len(base, field->value_off, at);
            at++;
            state = VALUE_LF;
            // fall through
        case VALUE_LF:
            if (at == end) {
                goto stop;
            }
            if (base[at] != '\n') {
                goto bad; // rule 2
            }
            at++;
            head->field_count++;
            if (field->id) {
                field_link(head, field->id, head->field_count);
            }
            field++;
            state = FIELD;
            if (one) {
                result = 1;
                goto stop;
            }
            break;
        case NAME_SPACE:
            while (at < end && is_space(base[at])) {
                at++;
            }
            if (at == end) {
                goto stop;
            }
            if (base[at] != ':') {
                goto bad;
            }
            at++;
            state = VALUE_SPACE;
            break;
        default: // END_LF
            if (at == end) {
                goto stop;
            }
            if (base[at] != '\n') {
                goto bad;
            }
            at++;
            head->len = at;
            state = LINES_DONE;
            result = 1;
            goto stop;
        }
    }
bad:
    result = SL_E_BAD_FIELD;
stop:
    head->state = state;
    scan->at = at;
    return result;
}

int sl__http1_field_line(struct sl__scan *scan) { return field_lines(scan, true); }

int sl__http1_lines_scalar(struct sl__scan *scan) {
    int result = sl__http1_first_line(scan);
    return result > 0 ? field_lines(scan, false) : result;
}
