// Tells which steps of a plan a request passes, as conn's code finds them: gateway/route_test.ts asks it by the hundred thousand and compares
// with Hono. Standard input is a row of tables, each a plan's blob (u32 length, bytes), how many requests follow (u32), and those: u16 length,
// "METHOD target". Standard output for each: how many steps (u8), their routes (u32), and the end: its op (u8) and route (u32). Instead of an
// op: 255, no step ends the chain; 254, C stops counting and leaves the rest to Hono; 253, all is TypeScript's; 252, the head is
// refused; 251, its path is.
#include <stdio.h>
#include <stdlib.h>

#include "http1_parse.h"
#include "plan.h"
#include "route.h"

enum { NO_END = 255, LIMIT = 254, ALL_TYPESCRIPT = 253, BAD_HEAD = 252, BAD_PATH = 251 };

static bool read_exactly(void *out, size_t len) { return fread(out, 1, len, stdin) == len; }

static void put(const void *data, size_t len) { SL_ASSERT(fwrite(data, 1, len, stdout) == len); }

static void put_end(uint8_t op, uint32_t route) {
    put(&op, 1);
    put(&route, 4);
}

static void put_nothing(uint8_t op) {
    put("", 1);
    put_end(op, 0);
}

static void put_chain(const struct sl_plan *plan, const struct sl_chain *chain) {
    put(&chain->count, 1);
    for (uint32_t i = 0; i < chain->count; i++) {
        put(&plan->steps[chain->steps[i]].route, 4);
    }
    const struct sl_plan_step *end = chain->end;
    bool of_plan = end >= plan->steps && end < plan->steps + plan->header->step_count;
    put_end(!end ? NO_END : of_plan ? end->op : LIMIT, of_plan ? end->route : 0);
}

static void answer(const struct sl_plan *plan, uint8_t *head_bytes, size_t len) {
    static const struct sl_head_limits limits = {32768, 8192, SL_FIELDS_MAX};
    static const char rest[] = " HTTP/1.1\r\nHost: h\r\n\r\n";
    static uint8_t decoded[16384];
    struct sl_head head = {.scanned = 0};
    memcpy(head_bytes + len, rest, sizeof(rest) - 1);
    int rc = sl_http1_parse_request(&head, head_bytes, len + sizeof(rest) - 1, &limits);
    bool dots_pass = plan->header->flags & SL_PLAN_F_DOTS_PASS;
    if (rc != 1 || ((head.flags & SL_HEAD_DOT_SEGMENT) && !dots_pass)) {
        put_nothing(rc != 1 ? BAD_HEAD : BAD_PATH);
        return;
    }
    if (plan->header->flags & SL_PLAN_F_ALL_TYPESCRIPT) {
        put_nothing(ALL_TYPESCRIPT);
        return;
    }
    struct sl_span name = {head_bytes, head.method_len};
    struct sl_span path = {head_bytes + head.path_off, head.path_len};
    path = sl_route_path(plan, path, head.flags & SL_HEAD_PATH_ESCAPED, decoded);
    struct sl_chain chain, slow;
    sl_route_chain(&chain, plan, head.method, name, path);
    sl_route_chain_slowly(&slow, plan, head.method, name, path);
    SL_ASSERT(slow.end == chain.end && slow.count == chain.count);
    SL_ASSERT(memcmp(slow.steps, chain.steps, slow.count * sizeof(slow.steps[0])) == 0);
    put_chain(plan, &chain);
}

static void answer_table(void) {
    static uint8_t bytes[16384];
    uint32_t len, asks;
    while (read_exactly(&len, 4)) {
        uint8_t *blob = malloc(len);
        struct sl_plan *plan;
        SL_ASSERT(blob && read_exactly(blob, len) && read_exactly(&asks, 4));
        if (sl_plan_new(&plan, blob, len) != SL_OK) {
            fprintf(stderr, "%s\n", sl_fail_text());
            exit(1);
        }
        free(blob);
        for (uint32_t i = 0; i < asks; i++) {
            uint16_t ask_len;
            SL_ASSERT(read_exactly(&ask_len, 2) && ask_len <= 8192 && read_exactly(bytes, ask_len));
            answer(plan, bytes, ask_len);
        }
        sl_plan_unref(plan);
    }
}

int main(void) {
    answer_table();
    return fflush(stdout) == 0 ? 0 : 1;
}
