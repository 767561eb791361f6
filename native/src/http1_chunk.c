#include "http1_chunk.h"

enum {
    SIZE = 0,
    EXT_NAME_START, // behind ';'
    EXT_NAME,
    EXT_NAME_END, // spaces behind a name
    EXT_VALUE_START,
    EXT_VALUE,
    EXT_QUOTED,
    EXT_QUOTED_PAIR,
    EXT_QUOTED_END,
    EXT_VALUE_END, // spaces behind a value
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    DONE,
    BAD,
};

#define SIZE_DIGITS_MAX 16 // 64 bits

static bool is_token(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
           (byte && strchr("!#$%&'*+-.^_`|~", byte));
}
static bool is_space(uint8_t byte) { return byte == ' ' || byte == '\t'; }
static bool is_text(uint8_t byte) { return (byte >= 0x20 && byte != 0x7f) || byte == '\t'; }

static int hex_value(uint8_t byte) {
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

void sl_chunk_init(struct sl_chunk_decoder *decoder) {
    *decoder = (struct sl_chunk_decoder){.state = SIZE};
}

// The step functions take one byte in the decoder's state and return the next state, or BAD.

static int step_size(struct sl_chunk_decoder *decoder, uint8_t byte) {
    int digit = hex_value(byte);
    if (digit >= 0) {
        decoder->left = decoder->left << 4 | (uint64_t)digit;
        return ++decoder->digits > SIZE_DIGITS_MAX ? BAD : SIZE;
    }
    if (decoder->digits == 0) {
        return BAD;
    }
    return byte == '\r' ? SIZE_LF : byte == ';' ? EXT_NAME_START : BAD;
}

// Behind a whole name or value: another extension, the line's end, or spaces.
static int step_extension_end(uint8_t byte, int spaces) {
    return byte == ';' ? EXT_NAME_START : byte == '\r' ? SIZE_LF : is_space(byte) ? spaces : BAD;
}

// Spaces may stand around ';' and '=' (RFC 9112 section 7.1.1), but not before the line's end.
static int step_extension(uint8_t state, uint8_t byte) {
    switch (state) {
    case EXT_NAME_START:
        return is_token(byte) ? EXT_NAME : is_space(byte) ? EXT_NAME_START : BAD;
    case EXT_NAME:
        return is_token(byte) ? EXT_NAME
               : byte == '='  ? EXT_VALUE_START
                              : step_extension_end(byte, EXT_NAME_END);
    case EXT_NAME_END:
        return is_space(byte) ? EXT_NAME_END
               : byte == '='  ? EXT_VALUE_START
               : byte == ';'  ? EXT_NAME_START
                              : BAD;
    case EXT_VALUE_START:
        return is_token(byte)   ? EXT_VALUE
               : byte == '"'    ? EXT_QUOTED
               : is_space(byte) ? EXT_VALUE_START
                                : BAD;
    case EXT_VALUE:
        return is_token(byte) ? EXT_VALUE : step_extension_end(byte, EXT_VALUE_END);
    case EXT_QUOTED:
        return byte == '"'     ? EXT_QUOTED_END
               : byte == '\\'  ? EXT_QUOTED_PAIR
               : is_text(byte) ? EXT_QUOTED
                               : BAD;
    case EXT_QUOTED_PAIR:
        return is_text(byte) ? EXT_QUOTED : BAD;
    case EXT_QUOTED_END:
        return step_extension_end(byte, EXT_VALUE_END);
    default: // EXT_VALUE_END
        return is_space(byte) ? EXT_VALUE_END : byte == ';' ? EXT_NAME_START : BAD;
    }
}

// A trailer line is checked like a field line of a head and forgotten (rule 33).
static int step_trailer(struct sl_chunk_decoder *decoder, uint8_t byte) {
    switch (decoder->state) {
    case TRAILER_START:
        if (byte == '\r') {
            return LAST_LF;
        }
        return is_token(byte) && ++decoder->trailer_fields <= SL_CHUNK_TRAILER_FIELDS_MAX
                   ? TRAILER_NAME
                   : BAD;
    case TRAILER_NAME:
        return is_token(byte) ? TRAILER_NAME : byte == ':' ? TRAILER_VALUE : BAD;
    default: // TRAILER_VALUE
        return is_text(byte) ? TRAILER_VALUE : byte == '\r' ? TRAILER_LF : BAD;
    }
}

// A size line has ended.
static int step_size_end(struct sl_chunk_decoder *decoder) {
    decoder->line_bytes = 0;
    decoder->digits = 0;
    return decoder->left ? DATA : TRAILER_START;
}

static int step_line_feed(struct sl_chunk_decoder *decoder) {
    switch (decoder->state) {
    case SIZE_LF:
        return step_size_end(decoder);
    case DATA_LF:
        return SIZE;
    case TRAILER_LF:
        return TRAILER_START;
    default: // LAST_LF
        return DONE;
    }
}

static bool is_extension(uint8_t state) {
    return state >= EXT_NAME_START && state <= EXT_VALUE_END;
}

// Counts the byte against its caps. False: one is exceeded.
static bool count(struct sl_chunk_decoder *decoder) {
    if (decoder->state <= EXT_VALUE_END && ++decoder->line_bytes > SL_CHUNK_LINE_MAX) {
        return false;
    }
    if (is_extension(decoder->state) && ++decoder->extension_bytes > SL_CHUNK_EXTENSIONS_MAX) {
        return false;
    }
    return decoder->state < TRAILER_START || ++decoder->trailer_bytes <= SL_CHUNK_TRAILERS_MAX;
}

static int step(struct sl_chunk_decoder *decoder, uint8_t byte) {
    if (!count(decoder)) {
        return BAD;
    }
    switch (decoder->state) {
    case SIZE:
        return step_size(decoder, byte);
    case DATA_CR:
        return byte == '\r' ? DATA_LF : BAD;
    case SIZE_LF:
    case DATA_LF:
    case TRAILER_LF:
    case LAST_LF:
        return byte == '\n' ? step_line_feed(decoder) : BAD;
    case TRAILER_START:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return step_trailer(decoder, byte);
    default:
        return step_extension(decoder->state, byte);
    }
}

int sl_chunk_decode(struct sl_chunk_decoder *decoder, const uint8_t *data, size_t len,
                    size_t *out_consumed, struct sl_span *out_data) {
    *out_data = (struct sl_span){NULL, 0};
    size_t at = 0;
    while (at < len && decoder->state < DONE) {
        if (decoder->state == DATA) {
            size_t piece = (size_t)sl_min_u64(decoder->left, len - at);
            *out_data = (struct sl_span){data + at, piece};
            *out_consumed = at + piece;
            decoder->left -= piece;
            decoder->state = decoder->left ? DATA : DATA_CR;
            return SL_CHUNK_DATA;
        }
        decoder->state = (uint8_t)step(decoder, data[at]);
        at++;
    }
    *out_consumed = at;
    return decoder->state == BAD    ? SL_E_BAD_CHUNK
           : decoder->state == DONE ? SL_CHUNK_DONE
                                    : SL_CHUNK_PARTIAL;
}

size_t sl_chunk_write_head(uint8_t out[SL_CHUNK_HEAD_MAX], uint64_t len) {
    size_t digits = 1;
    while (digits < SIZE_DIGITS_MAX && len >> (4 * digits)) {
        digits++;
    }
    for (size_t i = 0; i < digits; i++) {
        out[i] = (uint8_t) "0123456789abcdef"[len >> (4 * (digits - 1 - i)) & 15];
    }
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}
