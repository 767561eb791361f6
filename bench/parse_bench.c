// What parsing a request head costs: ours in its three implementations, picohttpparser with SSE4.2
// and without, httparse. bench/parse.ts compiles all with one compiler at -O3, and makes a table of
// what this prints.
//
//   parse_bench time ROUNDS BATCH_US FILE...   a line "FILE PARSER NS" for each round: the parsers
//                                              take turns, so what disturbs a round disturbs all
//   parse_bench count PARSER HEADS FILE        parses in bench_count(), for callgrind
//
// Each parser fills its table: names, values, and for ours the ids, framing, path and host too,
// with every rule judged. Copies of the head take turns as well. Ours writes names in lower case,
// so all but its first rounds find them so; it takes the same steps for both.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "http1_parse.h"
#include "picohttpparser.h"

#define FIELDS_MAX 100
#define HEAD_BYTES_MAX 8192
#define COPIES 4

typedef int phr_parse(const char *bytes, size_t len, const char **method, size_t *method_len,
                      const char **path, size_t *path_len, int *minor, struct phr_header *fields,
                      size_t *field_count, size_t last_len);
phr_parse bench_pico_sse42, bench_pico_plain;
long bench_httparse(const uint8_t *data, size_t len);
void bench_count(size_t parser, long heads);

static uint8_t copies[COPIES][HEAD_BYTES_MAX] __attribute__((aligned(4096)));
static size_t head_len;

// ---- The parsers: each parses one head, and gives up where it cannot

static const struct sl_head_limits limits = {16384, 8192, FIELDS_MAX};

static void parse_ours(uint8_t *bytes) {
    static struct sl_head head;
    head.scanned = head.skipped = 0;
    SL_ASSERT(sl_http1_parse_request(&head, bytes, head_len, &limits) == 1);
}

static inline void parse_pico(phr_parse *parse, const uint8_t *bytes) {
    static struct phr_header fields[FIELDS_MAX];
    const char *method, *path;
    size_t method_len, path_len, count = FIELDS_MAX;
    int minor;
    int len = parse((const char *)bytes, head_len, &method, &method_len, &path, &path_len, &minor,
                    fields, &count, 0);
    SL_ASSERT(len == (int)head_len);
}
static void parse_pico_sse42(uint8_t *bytes) { parse_pico(bench_pico_sse42, bytes); }
static void parse_pico_plain(uint8_t *bytes) { parse_pico(bench_pico_plain, bytes); }

static void parse_httparse(uint8_t *bytes) {
    SL_ASSERT(bench_httparse(bytes, head_len) == (long)head_len);
}

static const struct parser {
    const char *name, *ours; // what it is called here, and by sl_http1_parser_use()
    void (*parse)(uint8_t *bytes);
} parsers[] = {
    {"avx2", "avx2", parse_ours},
    {"sse42", "sse42", parse_ours},
    {"scalar", "scalar", parse_ours},
    {"picohttpparser-sse42", NULL, parse_pico_sse42},
    {"picohttpparser-plain", NULL, parse_pico_plain},
    {"httparse", NULL, parse_httparse},
};

// ---- Measuring

static void read_head(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "parse_bench: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    head_len = fread(copies[0], 1, HEAD_BYTES_MAX, file);
    fclose(file);
    for (size_t i = 1; i < COPIES; i++) {
        memcpy(copies[i], copies[0], head_len);
    }
}

static double now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static __attribute__((noinline)) void parse_heads(const struct parser *parser, long heads) {
    for (long i = 0; i < heads; i++) {
        parser->parse(copies[i % COPIES]);
    }
}

// Nanoseconds per head of a batch; the first heads only warm up.
static double measure(const struct parser *parser, long heads) {
    parse_heads(parser, 1 + heads / 20);
    double start = now_ns();
    parse_heads(parser, heads);
    return (now_ns() - start) / (double)heads;
}

static bool use(const struct parser *parser) {
    return !parser->ours || sl_http1_parser_use(parser->ours) == SL_OK;
}

static void time_file(const char *path, long rounds, double batch_ns) {
    long heads[SL_COUNT_OF(parsers)] = {0}; // of a batch; 0: not on this processor
    read_head(path);
    for (size_t i = 0; i < SL_COUNT_OF(parsers); i++) {
        if (use(&parsers[i])) {
            heads[i] = 1 + (long)(batch_ns / measure(&parsers[i], 200));
        }
    }
    for (long round = 0; round < rounds; round++) {
        for (size_t i = 0; i < SL_COUNT_OF(parsers); i++) {
            if (heads[i] && use(&parsers[i])) {
                printf("%s %s %.3f\n", path, parsers[i].name, measure(&parsers[i], heads[i]));
            }
        }
    }
}

__attribute__((noinline)) void bench_count(size_t parser, long heads) {
    parse_heads(&parsers[parser], heads);
}

static int count(const char *name, long heads) {
    for (size_t i = 0; i < SL_COUNT_OF(parsers); i++) {
        if (strcmp(parsers[i].name, name) == 0 && use(&parsers[i])) {
            bench_count(i, heads);
            return 0;
        }
    }
    fprintf(stderr, "parse_bench: no %s on this processor\n", name);
    return 1;
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "count") == 0) {
        read_head(argv[4]);
        return count(argv[2], atol(argv[3]));
    }
    if (argc < 5 || strcmp(argv[1], "time") != 0) {
        fprintf(stderr,
                "usage: parse_bench time ROUNDS BATCH_US FILE... | count PARSER HEADS FILE\n");
        return 2;
    }
    for (int i = 4; i < argc; i++) {
        time_file(argv[i], atol(argv[2]), atof(argv[3]) * 1e3);
    }
    return 0;
}
