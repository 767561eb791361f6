// Chunked bodies as a table: bytes, verdict, decoded data. Every row is fed whole, cut in two at
// every byte, and byte by byte, with its last byte before an unmapped page.
#include "http1_chunk.h"

#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#define ARENA_BYTES 65536u
static uint8_t *arena_end;

__attribute__((constructor)) static void arena_map(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *arena =
        mmap(NULL, ARENA_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED || mprotect(arena + ARENA_BYTES, page, PROT_NONE) != 0) {
        perror("mmap");
        abort();
    }
    arena_end = arena + ARENA_BYTES;
}

static const uint8_t *place(const uint8_t *data, size_t len) {
    memcpy(arena_end - len, data, len);
    return arena_end - len;
}

struct row {
    int rule;
    const char *bytes;
    size_t len;
    int verdict;
    const char *data; // decoded
    size_t behind;    // bytes behind the message's end
};

// clang-format off
#define DONE(rule, text, data, behind) {rule, text, sizeof(text) - 1, SL_CHUNK_DONE, data, behind}
#define PART(rule, text, data) {rule, text, sizeof(text) - 1, SL_CHUNK_PARTIAL, data, 0}
#define BAD(rule, text, data) {rule, text, sizeof(text) - 1, SL_E_BAD_CHUNK, data, 0}
// clang-format on

static const struct row rows[] = {
    DONE(30, "0\r\n\r\n", "", 0),
    DONE(30, "5\r\nhello\r\n0\r\n\r\n", "hello", 0),
    DONE(30, "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc", 0),
    DONE(30, "A\r\n0123456789\r\n00\r\n\r\n", "0123456789", 0),
    DONE(30, "a\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0),
    DONE(30, "9\r\n012345678\r\n0\r\n\r\n", "012345678", 0),
    BAD(30, ":\r\n", ""),
    BAD(30, "/\r\n", ""),
    BAD(30, "@\r\n", ""),
    BAD(30, "`\r\n", ""),
    BAD(30, "G\r\n", ""),
    DONE(30, "0000000000000001\r\na\r\n0000000000000000\r\n\r\n", "a", 0),
    DONE(30, "6\r\n0\r\n\r\n\n\r\n0\r\n\r\n", "0\r\n\r\n\n", 0),
    DONE(30, "0\r\n\r\nGET /", "", 5),
    DONE(30, "1\r\na\r\n0\r\n\r\n\r\n", "a", 2),
    PART(30, "", ""),
    PART(30, "ffffffffffffffff\r\nabc", "abc"),
    PART(30, "5\r\nhel", "hel"),
    PART(30, "5\r\nhello\r\n", "hello"),
    PART(30, "5\r\nhello\r\n0\r\n", "hello"),
    PART(30, "5\r\nhello\r\n0\r\n\r", "hello"),
    BAD(30, "\r\n", ""),
    BAD(30, " 5\r\nhello\r\n", ""),
    BAD(30, "5 \r\nhello\r\n", ""),
    BAD(30, "5\t\r\nhello\r\n", ""),
    BAD(30, "0x5\r\nhello\r\n", ""),
    BAD(30, "+5\r\nhello\r\n", ""),
    BAD(30, "-5\r\nhello\r\n", ""),
    BAD(30, "5_0\r\nhello\r\n", ""),
    BAD(30, "5g\r\nhello\r\n", ""),
    BAD(30, "5,\r\nhello\r\n", ""),
    BAD(30,
        "\0"
        "5\r\nhello\r\n",
        ""),
    BAD(30, "10000000000000000\r\n", ""),
    BAD(30, "fffffffffffffffff\r\n", ""),
    BAD(30, "00000000000000005\r\nhello\r\n", ""),
    BAD(30, "5\nhello\r\n0\r\n\r\n", ""),
    BAD(30, "5\rhello\r\n0\r\n\r\n", ""),
    BAD(30, "5\r\r\nhello\r\n0\r\n\r\n", ""),
    BAD(30, "5\r\nhello\r\n\r\n", "hello"),
    BAD(30, "0\n\n", ""),
    BAD(30, "0\r\n\n", ""),
    BAD(30, "0\r\n\rx", ""),
    DONE(31, "1;a\r\nx\r\n0;b\r\n\r\n", "x", 0),
    DONE(31, "1;a=b;c=\"d\";e\r\nx\r\n0\r\n\r\n", "x", 0),
    DONE(31, "1; \ta = b ; c =\t\"d\\\" \\\\;\xff\" ;e\r\nx\r\n0\r\n\r\n", "x", 0),
    DONE(31, "1;a ;b\r\nx\r\n0\r\n\r\n", "x", 0),
    DONE(31, "1;a=\"\"\r\nx\r\n0\r\n\r\n", "x", 0),
    BAD(31, "1;\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1; \r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;;a\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;=b\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a=\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a=;b\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a==b\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a b\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a \r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a=b \r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a=b c\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a=\"b\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a=\"b\\\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a=\"b\"c\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a=\"\x01\"\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a\x01\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a\0\r\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a\nx\r\n0\r\n\r\n", ""),
    BAD(31, "1;a\n0\r\n\r\n", ""),
    BAD(31, "1 ;a\r\nx\r\n0\r\n\r\n", ""),
    BAD(32, "5\r\nhello0\r\n\r\n", "hello"),
    BAD(32, "5\r\nhello\n0\r\n\r\n", "hello"),
    BAD(32, "5\r\nhello\rx", "hello"),
    BAD(32, "5\r\nhello \r\n0\r\n\r\n", "hello"),
    DONE(33, "0\r\nX: y\r\n\r\n", "", 0),
    DONE(33, "0\r\nX:y\r\nContent-Length: 5\r\nA_b:\t\xff \r\n\r\nGET", "", 3),
    BAD(33, "0\r\nX : y\r\n\r\n", ""),
    BAD(33, "0\r\n X: y\r\n\r\n", ""),
    BAD(33, "0\r\nX: y\r\n z\r\n\r\n", ""),
    BAD(33, "0\r\n: y\r\n\r\n", ""),
    BAD(33, "0\r\nX\r\n\r\n", ""),
    BAD(33, "0\r\nX: y\n\r\n", ""),
    BAD(33, "0\r\nX: y\r\r\n\r\n", ""),
    BAD(33, "0\r\nX: y\rz\r\n\r\n", ""),
    BAD(33, "0\r\nX: \x7f\r\n\r\n", ""),
    BAD(33, "0\r\nX: \0\r\n\r\n", ""),
    BAD(33, "0\r\nX(: y\r\n\r\n", ""),
    BAD(33, "0\r\nX: y\r\n\n", ""),
};

struct result {
    int verdict;
    uint8_t data[16384];
    size_t data_len, consumed;
};

// Takes all that one piece of input gives.
static int drain(struct sl_chunk_decoder *decoder, const uint8_t *data, size_t len,
                 struct result *result) {
    size_t at = 0;
    for (;;) {
        size_t consumed = 0;
        struct sl_span piece;
        int verdict = sl_chunk_decode(decoder, data + at, len - at, &consumed, &piece);
        CHECK(consumed <= len - at);
        if (verdict == SL_CHUNK_DATA) {
            CHECK(piece.len > 0 && piece.data >= data + at &&
                  piece.data + piece.len <= data + at + consumed);
            memcpy(result->data + result->data_len, piece.data, piece.len);
            result->data_len += piece.len;
        } else {
            CHECK(piece.len == 0);
        }
        at += consumed;
        result->consumed += consumed;
        if (verdict != SL_CHUNK_DATA) {
            CHECK(verdict != SL_CHUNK_PARTIAL || at == len);
            return verdict;
        }
    }
}

static void feed(const uint8_t *bytes, size_t len, size_t first, size_t step,
                 struct result *result) {
    struct sl_chunk_decoder decoder;
    sl_chunk_init(&decoder);
    result->data_len = result->consumed = 0;
    size_t at = 0;
    for (size_t part = sl_min_size(first, len);; part = sl_min_size(step, len - at)) {
        result->verdict = drain(&decoder, place(bytes + at, part), part, result);
        at += part;
        if (result->verdict != SL_CHUNK_PARTIAL || at == len) {
            return;
        }
    }
}

static bool results_equal(const struct result *a, const struct result *b) {
    return a->verdict == b->verdict && a->data_len == b->data_len && a->consumed == b->consumed &&
           memcmp(a->data, b->data, a->data_len) == 0;
}

// Every split of `bytes` gives the same; returns it.
static const struct result *decode(const uint8_t *bytes, size_t len) {
    static struct result whole, parts;
    feed(bytes, len, len, len, &whole);
    for (size_t cut = 0; cut <= len; cut++) {
        feed(bytes, len, cut, len, &parts);
        CHECK_MSG(results_equal(&whole, &parts), "cut at %zu: %.80s", cut, (const char *)bytes);
    }
    feed(bytes, len, 1, 1, &parts);
    CHECK_MSG(results_equal(&whole, &parts), "by bytes: %.80s", (const char *)bytes);
    return &whole;
}

TEST(rows) {
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        const struct result *result = decode((const uint8_t *)row->bytes, row->len);
        CHECK_MSG(result->verdict == row->verdict, "rule %d: %d, expected %d: %s", row->rule,
                  result->verdict, row->verdict, row->bytes);
        bool same = result->data_len == strlen(row->data) &&
                    memcmp(result->data, row->data, result->data_len) == 0;
        CHECK_MSG(same, "rule %d: data of %s", row->rule, row->bytes);
        if (row->verdict == SL_CHUNK_DONE) {
            CHECK_INT(row->len - result->consumed, row->behind);
        }
    }
}

TEST(every_chunk_rule_has_rows) {
    int count[50] = {0};
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        count[rows[i].rule]++;
    }
    printf("# rows per rule:");
    for (int rule = 30; rule <= 33; rule++) {
        printf(" %d:%d", rule, count[rule]);
        CHECK_MSG(count[rule] > 0, "rule %d has no row", rule);
    }
    printf("\n");
}

TEST(data_is_a_piece_of_the_input) {
    static const uint8_t bytes[] = "5\r\nhello\r\n0\r\n\r\n";
    struct sl_chunk_decoder decoder;
    struct sl_span piece;
    size_t consumed;
    sl_chunk_init(&decoder);
    CHECK_INT(sl_chunk_decode(&decoder, bytes, sizeof(bytes) - 1, &consumed, &piece),
              SL_CHUNK_DATA);
    CHECK(piece.data == bytes + 3 && piece.len == 5 && consumed == 8);
    CHECK_INT(sl_chunk_decode(&decoder, bytes + 8, sizeof(bytes) - 9, &consumed, &piece),
              SL_CHUNK_DONE);
    CHECK_INT(consumed, 7);
}

TEST(an_end_stays_an_end) {
    struct sl_chunk_decoder decoder;
    struct sl_span piece;
    size_t consumed;
    sl_chunk_init(&decoder);
    CHECK_INT(sl_chunk_decode(&decoder, (const uint8_t *)"0\r\n\r\n", 5, &consumed, &piece),
              SL_CHUNK_DONE);
    CHECK_INT(sl_chunk_decode(&decoder, (const uint8_t *)"5\r\n", 3, &consumed, &piece),
              SL_CHUNK_DONE);
    CHECK_INT(consumed, 0);
    sl_chunk_init(&decoder);
    CHECK_INT(sl_chunk_decode(&decoder, (const uint8_t *)"x", 1, &consumed, &piece),
              SL_E_BAD_CHUNK);
    CHECK_INT(sl_chunk_decode(&decoder, (const uint8_t *)"5\r\n", 3, &consumed, &piece),
              SL_E_BAD_CHUNK);
}

// ---- Caps: one byte or line below is fine, one above is not

static uint8_t buf[16384];

TEST(a_size_line_is_capped) {
    for (int extra = 0; extra <= 1; extra++) {
        size_t name_len = SL_CHUNK_LINE_MAX - 3 + (size_t)extra; // "1;" and the line's CR count
        size_t len = (size_t)sprintf((char *)buf, "1;");
        memset(buf + len, 'a', name_len);
        len += name_len;
        len += (size_t)sprintf((char *)buf + len, "\r\nx\r\n0\r\n\r\n");
        CHECK_INT(decode(buf, len)->verdict, extra ? SL_E_BAD_CHUNK : SL_CHUNK_DONE);
    }
}

TEST(spaces_in_a_size_line_are_capped) {
    for (int extra = 0; extra <= 1; extra++) {
        int spaces = SL_CHUNK_LINE_MAX - 8 + extra; // "1;a=b", ";c" and the line's CR count
        size_t len = (size_t)sprintf((char *)buf, "1;a=b%*s;c\r\nx\r\n0\r\n\r\n", spaces, "");
        CHECK_INT(decode(buf, len)->verdict, extra ? SL_E_BAD_CHUNK : SL_CHUNK_DONE);
    }
}

// Writes 1-byte chunks whose extension counts 100 bytes (name and CR), then a last chunk whose
// extension fills up to `total`.
static size_t make_extensions(size_t total) {
    size_t len = 0;
    for (; total >= 100; total -= 100) {
        len += (size_t)sprintf((char *)buf + len, "1;%099d\r\nx\r\n", 0);
    }
    return len + (size_t)sprintf((char *)buf + len, "0;%0*d\r\n\r\n", (int)total - 1, 0);
}

TEST(extensions_of_a_message_are_capped) {
    CHECK_INT(decode(buf, make_extensions(SL_CHUNK_EXTENSIONS_MAX))->verdict, SL_CHUNK_DONE);
    CHECK_INT(decode(buf, make_extensions(SL_CHUNK_EXTENSIONS_MAX + 1))->verdict, SL_E_BAD_CHUNK);
}

TEST(trailers_are_capped) {
    for (size_t extra = 0; extra <= 1; extra++) {
        size_t value_len = SL_CHUNK_TRAILERS_MAX - strlen("a:\r\n\r\n") + extra;
        size_t len = (size_t)sprintf((char *)buf, "0\r\na:");
        memset(buf + len, 'v', value_len);
        memcpy(buf + len + value_len, "\r\n\r\n", 4);
        CHECK_INT(decode(buf, len + value_len + 4)->verdict,
                  extra ? SL_E_BAD_CHUNK : SL_CHUNK_DONE);
    }
}

TEST(trailer_fields_are_capped) {
    for (int count = SL_CHUNK_TRAILER_FIELDS_MAX; count <= SL_CHUNK_TRAILER_FIELDS_MAX + 1;
         count++) {
        size_t len = (size_t)sprintf((char *)buf, "0\r\n");
        for (int i = 0; i < count; i++) {
            len += (size_t)sprintf((char *)buf + len, "a:b\r\n");
        }
        len += (size_t)sprintf((char *)buf + len, "\r\n");
        CHECK_INT(decode(buf, len)->verdict,
                  count > SL_CHUNK_TRAILER_FIELDS_MAX ? SL_E_BAD_CHUNK : SL_CHUNK_DONE);
    }
}

TEST(many_chunks_do_not_use_up_a_cap) {
    struct sl_chunk_decoder decoder;
    sl_chunk_init(&decoder);
    struct result result = {.data_len = 0};
    for (int i = 0; i < 20000; i++) {
        result.data_len = 0;
        CHECK_INT(drain(&decoder, (const uint8_t *)"1\r\nx\r\n", 6, &result), SL_CHUNK_PARTIAL);
    }
    CHECK_INT(drain(&decoder, (const uint8_t *)"0\r\n\r\n", 5, &result), SL_CHUNK_DONE);
}

// ---- Heads of chunks

TEST(chunk_heads) {
    static const struct {
        uint64_t len;
        const char *text;
    } cases[] = {
        {0, "0\r\n"},
        {1, "1\r\n"},
        {15, "f\r\n"},
        {16, "10\r\n"},
        {500, "1f4\r\n"},
        {0x0fffffffffffffff, "fffffffffffffff\r\n"},
        {0x1000000000000000, "1000000000000000\r\n"},
        {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(cases); i++) {
        uint8_t out[SL_CHUNK_HEAD_MAX + 1] = {0};
        CHECK_INT(sl_chunk_write_head(out, cases[i].len), strlen(cases[i].text));
        CHECK_STR((const char *)out, cases[i].text);
        struct sl_chunk_decoder decoder;
        struct sl_span piece;
        size_t consumed;
        sl_chunk_init(&decoder);
        CHECK_INT(sl_chunk_decode(&decoder, out, strlen(cases[i].text), &consumed, &piece),
                  SL_CHUNK_PARTIAL);
        CHECK(decoder.left == cases[i].len);
    }
}
