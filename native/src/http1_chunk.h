// The chunked transfer coding (RFC 9112 section 7.1), decoded in place: no byte is moved, no data is held. Rules 30-33.
#ifndef SL_HTTP1_CHUNK_H
#define SL_HTTP1_CHUNK_H

#include "base.h"

#define SL_CHUNK_LINE_MAX 256        // size and extensions of one chunk
#define SL_CHUNK_EXTENSIONS_MAX 4096 // extension bytes of one message
#define SL_CHUNK_TRAILERS_MAX 8192   // trailer bytes of one message; they are checked, then dropped
#define SL_CHUNK_TRAILER_FIELDS_MAX 64

enum sl_chunk_result { SL_CHUNK_PARTIAL = 0, SL_CHUNK_DATA = 1, SL_CHUNK_DONE = 2 };

struct sl_chunk_decoder {
    uint64_t left; // data bytes still to come in this chunk
    uint32_t extension_bytes, trailer_bytes;
    uint16_t line_bytes, trailer_fields;
    uint8_t state;
    uint8_t digits;
};

void sl_chunk_init(struct sl_chunk_decoder *decoder);
// Consumes bytes up to the end of the next piece of data. DATA: *out_data is a non-empty piece inside `data`. PARTIAL: all of `len` is
// consumed. DONE: the message has ended, *out_consumed may be less than len. Or E_BAD_CHUNK.
int sl_chunk_decode(struct sl_chunk_decoder *decoder, const uint8_t *data, size_t len, size_t *out_consumed,
                    struct sl_span *out_data);

#define SL_CHUNK_HEAD_MAX 18 // "ffffffffffffffff\r\n"
size_t sl_chunk_write_head(uint8_t out[SL_CHUNK_HEAD_MAX], uint64_t len); // "1f4\r\n"

#endif
