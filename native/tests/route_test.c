// Paths as Hono's getPath gives them, and the chain of steps that match. gateway/ holds the other side: Hono itself as the judge.
#include "route.h"
#include "route_index.h"

#include "plan_builder.h"
#include "test.h"

TEST(route_decode_is_decodeURI_on_each_run_of_escapes) {
    static const struct {
        const char *path, *decoded; // NULL: as it is
    } rows[] = {
        {"/", NULL},
        {"/plain/path", NULL},
        {"/%41%42c", "/ABc"},
        {"/caf%C3%A9", "/caf\xc3\xa9"},
        {"/%e2%82%ac%F0%9F%98%80", "/\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"/%20 ", "/  "},
        {"/%00", "/"}, // the NUL is compared below
        // What decodeURI keeps: ; / ? : @ & = + $ , # and, as Hono asks, %
        {"/%3B%2F%3f%3A%40%26%3d%2B%24%2C%23%25", NULL},
        {"/a%2Fb/%41", "/a%2Fb/A"},
        {"/%2541", NULL},
        // Not an escape at all
        {"/%", NULL}, {"/%4", NULL}, {"/%zz", NULL}, {"/%4g%41", "/%4gA"}, {"/%%41", "/%A"}, {"/x%4", NULL},
        // Not UTF-8: the whole run stays
        {"/%ff", NULL}, {"/%41%ff%42", NULL}, {"/%ff/%41", "/%ff/A"}, {"/%41x%ff", "/Ax%ff"},
        {"/%C3", NULL}, {"/%C3%28", NULL}, {"/%A9", NULL}, {"/%C3x%A9", NULL},
        {"/%c0%80", NULL}, {"/%c1%bf", NULL},             // overlong
        {"/%e0%80%80", NULL}, {"/%e0%9f%bf", NULL}, {"/%f0%80%80%80", NULL}, {"/%f0%8f%bf%bf", NULL},
        {"/%ed%a0%80", NULL}, {"/%ed%bf%bf", NULL},       // surrogates
        {"/%ed%9f%bf", "/\xed\x9f\xbf"}, {"/%ee%80%80", "/\xee\x80\x80"},
        {"/%f4%8f%bf%bf", "/\xf4\x8f\xbf\xbf"}, {"/%f4%90%80%80", NULL}, {"/%f5%80%80%80", NULL},
        {"/%e2%82", NULL}, {"/%e2%82x", NULL}, {"/%f0%9f%98", NULL},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        const char *expected = rows[i].decoded ? rows[i].decoded : rows[i].path;
        size_t len = strlen(rows[i].path), expected_len = strlen(expected) + (strcmp(rows[i].path, "/%00") == 0);
        uint8_t *out = malloc(len), *in = malloc(len); // of their own size: ASan sees a byte too many
        memcpy(in, rows[i].path, len);
        size_t n = sl_route_decode(out, in, len);
        CHECK_MSG(n == expected_len && memcmp(out, expected, n) == 0, "row %zu: %s gave %.*s", i, rows[i].path, (int)n, (char *)out);
        free(out);
        free(in);
    }
}

static struct plan_builder builder;

static struct sl_plan *plan_of(const char *const *patterns, size_t count) {
    struct sl_plan *plan = NULL;
    plan_init(&builder);
    for (size_t i = 0; i < count; i++) {
        plan_entry(&builder, SL_PLAN_METHOD_ALL, patterns[i], SL_PLAN_OP_TYPESCRIPT, 0);
    }
    uint32_t len = plan_finish(&builder);
    return sl_plan_new(&plan, builder.blob, len) ? NULL : plan;
}

static int match(const struct sl_plan *plan, enum sl_method method, const char *name, const char *path) {
    size_t len = strlen(path);
    uint8_t *bytes = malloc(len ? len : 1);
    memcpy(bytes, path, len);
    struct sl_chain chain;
    sl_route_chain(&chain, plan, method, sl_span_of(name), (struct sl_span){bytes, len});
    free(bytes);
    return chain.end ? (int)chain.end->route : -1; // one step an entry
}

TEST(route_match_by_pattern) {
    static const struct {
        const char *pattern, *path;
        bool matches;
    } rows[] = {
        {"/", "/", true}, {"/", "//", false}, {"/", "/a", false},
        {"/a", "/a", true}, {"/a", "/a/", false}, {"/a", "/ab", false}, {"/a", "/", false}, {"/a", "/A", false}, {"/ab", "/a", false},
        {"/a/b", "/a/b", true}, {"/a/b", "/a", false}, {"/a/b", "/a/b/c", false}, {"/a/b", "/a//b", false}, {"/a/b", "/a/bc", false},
        {"/x/", "/x/", true}, {"/x/", "/x", false}, {"/x/", "/x//", false}, {"/x/", "/x/y", false},
        {"/:id", "/1", true}, {"/:id", "/", false}, {"/:id", "/1/", false}, {"/:id", "/1/2", false},
        {"/a/:id", "/a/1", true}, {"/a/:id", "/a/", false}, {"/a/:id", "/a", false}, {"/a/:id/c", "/a/b/c", true},
        {"/a/:id/c", "/a//c", false}, {"/a/:id/c", "/a/b/", false}, {"/:a/:b", "/1/2", true}, {"/:a/:b", "/1", false},
        {"/*", "/", true}, {"/*", "/a/b/c", true}, {"/*", "//", true},
        {"/api/*", "/api", true}, {"/api/*", "/api/", true}, {"/api/*", "/api/x/y", true}, {"/api/*", "/apix", false},
        {"/:{0-9}1,3", "/7", true}, {"/:{0-9}1,3", "/789", true}, {"/:{0-9}1,3", "/7890", false}, {"/:{0-9}1,3", "/", false},
        {"/:{0-9}1,3", "/7a", false}, {"/:{0-9}1,3", "/7\xc3\xbc", false}, {"/:{0-9}1,3/x", "/7/x", true}, {"/:{0-9}1,3/*", "/7", true},
        {"/:{0-9}1,3", "/7/", false}, {"/a/:+", "/a/b", true}, {"/a/:+", "/a/b/c/", true}, {"/a/:+", "/a//", true}, {"/a/:+", "/a/", false},
        {"/a/:+", "/a", false}, {"/a/:+", "/a/b\nc", false}, {"/a/:+", "/a/b/\r", false}, {"/a/:+", "/a/\xe2\x80\xa8", false},
        {"/a/:+", "/a/b\xe2\x80\xa9", false}, {"/a/:+", "/a/\xe2\x80\xaa", true}, {"/a/:+", "/a/\xe2\x80", true}, {"/a/:+", "/b/c", false}, {"/api/*", "/", false}, {"/:v/*", "/1", true}, {"/:v/*", "/", false}, {"/:v/*", "/1/x", true},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct sl_plan *plan = plan_of(&rows[i].pattern, 1);
        REQUIRE(plan);
        int found = match(plan, SL_METHOD_GET, "GET", rows[i].path);
        CHECK_MSG((found == 0) == rows[i].matches, "%s on %s: %d", rows[i].pattern, rows[i].path, found);
        sl_plan_unref(plan);
    }
}

TEST(route_match_takes_the_first_of_several) {
    static const char *const patterns[] = {"/a/b", "/a/:x", "/a/*", "/:y", "/*"};
    static const struct {
        const char *path;
        int entry;
    } rows[] = {{"/a/b", 0}, {"/a/c", 1}, {"/a/b/c", 2}, {"/a", 2}, {"/b", 3}, {"/", 4}, {"/b/c", 4}};
    struct sl_plan *plan = plan_of(patterns, SL_COUNT_OF(patterns));
    REQUIRE(plan);
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        CHECK_MSG(match(plan, SL_METHOD_POST, "POST", rows[i].path) == rows[i].entry, "%s", rows[i].path);
    }
    sl_plan_unref(plan);
}

static uint32_t next_random(uint32_t *state, uint32_t below) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % below;
}

// Parts joined by '/', few enough that patterns and paths meet.
static void random_text(uint32_t *state, char *out, const char *const *parts, uint32_t count, uint32_t deepest) {
    *out = 0;
    for (uint32_t i = 0, n = 1 + next_random(state, deepest); i < n; i++) {
        strcat(strcat(out, "/"), parts[next_random(state, count)]);
    }
}

TEST(route_index_finds_what_a_walk_over_all_entries_finds) {
    static const char *const parts[] = {"a", "b", "ab", "", ":x", ":y", ":{0-9}1,2", ":{a-b}1,1"};
    static const char *const ends_of[] = {"/*", "/:+", "", "", "", ""};
    static const char *const texts[] = {"a", "b", "ab", "", "7", "78", "789", "c"};
    uint32_t state = 1, ends = 0;
    for (int round = 0; round < 300; round++) {
        struct sl_plan *plan = NULL;
        plan_init(&builder);
        uint32_t row = plan_headers(&builder, "", "-x-a"), count = SL_ROUTE_INDEX_MIN + next_random(&state, 50);
        for (uint32_t i = 0; i < count; i++) {
            char pattern[64];
            random_text(&state, pattern, parts, SL_COUNT_OF(parts), 3);
            strcat(pattern, ends_of[next_random(&state, SL_COUNT_OF(ends_of))]);
            static const uint8_t methods[] = {SL_PLAN_METHOD_ALL, SL_METHOD_GET, SL_METHOD_POST};
            plan_entry(&builder, methods[next_random(&state, 3)], pattern, next_random(&state, 3) ? SL_PLAN_OP_HEADERS : SL_PLAN_OP_WHOAMI, row);
        }
        uint32_t len = plan_finish(&builder);
        REQUIRE(sl_plan_new(&plan, builder.blob, len) == SL_OK);
        REQUIRE(plan->index);
        for (int ask = 0; ask < 100; ask++) {
            char path[64];
            struct sl_chain fast, slow;
            random_text(&state, path, texts, SL_COUNT_OF(texts), 5);
            sl_route_chain(&fast, plan, SL_METHOD_GET, sl_span_of("GET"), sl_span_of(path));
            sl_route_chain_slowly(&slow, plan, SL_METHOD_GET, sl_span_of("GET"), sl_span_of(path));
            CHECK_MSG(fast.end == slow.end && fast.count == slow.count && memcmp(fast.steps, slow.steps, slow.count * sizeof(slow.steps[0])) == 0,
                      "round %d: %s", round, path);
            ends += slow.end != NULL;
        }
        sl_plan_unref(plan);
    }
    CHECK(ends > 1000);
}

TEST(route_index_gives_up_where_too_many_lists_meet) {
    static char patterns[63][16];
    struct sl_plan *plan = NULL;
    plan_init(&builder);
    for (uint32_t i = 0; i < SL_COUNT_OF(patterns); i++) { // each of the six parts static or not: all but one meet "/a/a/a/a/a/a"
        for (uint32_t part = 0; part < 6; part++) {
            memcpy(patterns[i] + part * 2, i & 1u << part ? "/:" : "/a", 2);
        }
        plan_entry(&builder, SL_PLAN_METHOD_ALL, patterns[i], i == 62 ? SL_PLAN_OP_WHOAMI : SL_PLAN_OP_HEADERS, plan_headers(&builder, "", ""));
    }
    uint32_t len = plan_finish(&builder);
    REQUIRE(sl_plan_new(&plan, builder.blob, len) == SL_OK);
    struct sl_route_list lists[SL_ROUTE_LISTS_MAX];
    CHECK_INT(sl_route_index_find(plan, sl_span_of("/a/a/a/a/a/a"), lists), SL_ROUTE_LISTS_MAX + 1);
    CHECK_INT(sl_route_index_find(plan, sl_span_of("/a/b/b/b/b/b"), lists), 1);
    struct sl_chain chain = {.end = NULL};
    sl_route_chain(&chain, plan, SL_METHOD_GET, sl_span_of("GET"), sl_span_of("/a/a/a/a/a/a"));
    CHECK_INT(chain.count, SL_PLAN_CHAIN_MAX);
    sl_plan_unref(plan);
}

TEST(route_match_by_method) {
    struct sl_plan *plan = NULL;
    plan_init(&builder);
    plan_entry(&builder, SL_METHOD_GET, "/", SL_PLAN_OP_TYPESCRIPT, 0);
    plan_entry(&builder, SL_METHOD_POST, "/", SL_PLAN_OP_TYPESCRIPT, 0);
    plan_entry(&builder, SL_METHOD_OTHER, "/", SL_PLAN_OP_TYPESCRIPT, 0);
    plan_entry(&builder, SL_METHOD_HEAD, "/", SL_PLAN_OP_TYPESCRIPT, 0); // Hono never asks for it
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/all", SL_PLAN_OP_TYPESCRIPT, 0);
    uint32_t name = plan_bytes(&builder, "LOCK", 4), len = plan_finish(&builder);
    struct sl_plan_entry *entries = (void *)(builder.blob + builder.header.entries_off);
    entries[2].method_off = len - builder.used + name;
    entries[2].method_len = 4;
    REQUIRE(sl_plan_new(&plan, builder.blob, len) == SL_OK);
    static const struct {
        enum sl_method method;
        const char *name, *path;
        int entry;
    } rows[] = {
        {SL_METHOD_GET, "GET", "/", 0}, {SL_METHOD_HEAD, "HEAD", "/", 0}, {SL_METHOD_POST, "POST", "/", 1},
        {SL_METHOD_PUT, "PUT", "/", -1}, {SL_METHOD_OTHER, "LOCK", "/", 2}, {SL_METHOD_OTHER, "LOCKS", "/", -1},
        {SL_METHOD_OTHER, "LOC", "/", -1}, {SL_METHOD_OTHER, "lock", "/", -1}, {SL_METHOD_OTHER, "get", "/", -1},
        {SL_METHOD_OTHER, "get", "/all", 4}, {SL_METHOD_HEAD, "HEAD", "/all", 4}, {SL_METHOD_DELETE, "DELETE", "/all", 4},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        int found = match(plan, rows[i].method, rows[i].name, rows[i].path);
        CHECK_MSG(found == rows[i].entry, "row %zu: %d", i, found);
    }
    sl_plan_unref(plan);
}

static struct sl_chain chain_of(const struct sl_plan *plan, const char *path) {
    struct sl_chain chain;
    sl_route_chain(&chain, plan, SL_METHOD_GET, sl_span_of("GET"), sl_span_of(path));
    return chain;
}

TEST(route_chain_collects_steps_until_one_ends_it) {
    struct sl_plan *plan = NULL;
    plan_init(&builder);
    uint32_t one = plan_headers(&builder, "=x-a: 1", "=x-b: 2|-x-c"), two = plan_headers(&builder, "", "+x-d: 4");
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_HEADERS, one);       // step 0
    plan_entry(&builder, SL_METHOD_POST, "/a", SL_PLAN_OP_HEADERS, two);           // step 1
    plan_entry(&builder, SL_METHOD_GET, "/a", 255, 0);
    plan_step(&builder, SL_PLAN_OP_HEADERS, two);                                  // step 2
    plan_step(&builder, SL_PLAN_OP_WHOAMI, 0);                                     // step 3
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_HEADERS, two);       // step 4
    plan_entry(&builder, SL_METHOD_GET, "/b", SL_PLAN_OP_TYPESCRIPT, 0);           // step 5
    uint32_t len = plan_finish(&builder);
    REQUIRE(sl_plan_new(&plan, builder.blob, len) == SL_OK);
    struct sl_chain a = chain_of(plan, "/a"), b = chain_of(plan, "/b"), c = chain_of(plan, "/c");
    REQUIRE(a.end && b.end);
    CHECK_INT(a.end->route, 3);
    CHECK(a.count == 2 && a.steps[0] == 0 && a.steps[1] == 2);
    CHECK_INT(a.request_bytes, 8);
    CHECK_INT(a.response_bytes, 8 + 3 + 8);
    CHECK_INT(b.end->route, 5);
    CHECK(b.count == 2 && b.steps[0] == 0 && b.steps[1] == 4);
    CHECK(!c.end && c.count == 2);
    sl_plan_unref(plan);
}

TEST(route_chain_leaves_to_typescript_what_is_too_much) {
    static char big[8000];
    memset(big, 'v', sizeof(big) - 1);
    memcpy(big, "+x-big: ", 8);
    for (int bytes = 0; bytes < 2; bytes++) {
        struct sl_plan *plan = NULL;
        plan_init(&builder);
        uint32_t row = plan_headers(&builder, "", bytes ? big : "-x-a");
        for (uint32_t i = 0; i < SL_PLAN_CHAIN_MAX + 2; i++) {
            plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_HEADERS, row);
        }
        plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_WHOAMI, 0);
        uint32_t len = plan_finish(&builder);
        REQUIRE(sl_plan_new(&plan, builder.blob, len) == SL_OK);
        struct sl_chain chain = chain_of(plan, "/");
        REQUIRE(chain.end);
        CHECK_INT(chain.end->op, SL_PLAN_OP_TYPESCRIPT);
        CHECK_INT(chain.count, bytes ? 1 : SL_PLAN_CHAIN_MAX);
        sl_plan_unref(plan);
    }
}
