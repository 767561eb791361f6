// A test binary in one include: TEST bodies register themselves, CHECK records a failure and goes on, main runs all or those whose name
// contains argv[1]. The last line is "# N passed, N failed, N skipped", which tools/test.ts sums.
// SL_TEST_CHECKS_ONLY: only the checks, for a program that has a main of its own.
#ifndef SL_TEST_H
#define SL_TEST_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// For loops over each byte of what a test sends and receives: megabytes, each byte a call of TSan's, which says nothing about a buffer that one
// thread has.
#define TEST_UNTRACED __attribute__((no_sanitize("thread")))

static int test_failures; // of the running test
#ifndef SL_TEST_CHECKS_ONLY
// Descriptors of this process, the one that counts them included: to compare with another count.
static inline int open_fds(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
};
static struct test_case *test_first, **test_last = &test_first;
static const char *test_skip_why; // of the running test

#define TEST(ident)                                                                                \
    static void test_##ident(void);                                                                \
    static struct test_case case_##ident = {#ident, test_##ident, NULL};                           \
    __attribute__((constructor)) static void add_##ident(void) {                                   \
        *test_last = &case_##ident;                                                                \
        test_last = &case_##ident.next;                                                            \
    }                                                                                              \
    static void test_##ident(void)
#endif

// Records a failure with a printf message and goes on.
#define CHECK_MSG(expr, ...)                                                                       \
    do {                                                                                           \
        if (!(expr)) {                                                                             \
            test_failures++;                                                                       \
            printf("  %s:%d: %s: ", __FILE__, __LINE__, #expr);                                    \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
        }                                                                                          \
    } while (0)
#define CHECK(expr) CHECK_MSG(expr, "is false")
#define CHECK_INT(actual, expected)                                                                \
    do {                                                                                           \
        long long test_a = (long long)(actual), test_e = (long long)(expected);                    \
        CHECK_MSG(test_a == test_e, "%lld, expected %lld", test_a, test_e);                        \
    } while (0)
#define CHECK_STR(actual, expected)                                                                \
    do {                                                                                           \
        const char *test_a = (actual), *test_e = (expected);                                       \
        CHECK_MSG(strcmp(test_a, test_e) == 0, "\"%s\", expected \"%s\"", test_a, test_e);         \
    } while (0)
// Fails and leaves the test: for what the rest needs.
#define REQUIRE(expr)                                                                              \
    do {                                                                                           \
        if (!(expr)) {                                                                             \
            test_failures++;                                                                       \
            printf("  %s:%d: %s: is false, giving up\n", __FILE__, __LINE__, #expr);               \
            return;                                                                                \
        }                                                                                          \
    } while (0)
#define SKIP(why)                                                                                  \
    do {                                                                                           \
        test_skip_why = (why);                                                                     \
        return;                                                                                    \
    } while (0)

#ifndef SL_TEST_CHECKS_ONLY
int main(int argc, char **argv) {
    int passed = 0, failed = 0, skipped = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct test_case *t = test_first; t; t = t->next) {
        if (argc > 1 && !strstr(t->name, argv[1])) {
            continue;
        }
        test_failures = 0;
        test_skip_why = NULL;
        t->run();
        if (test_failures) {
            failed++;
            printf("not ok - %s\n", t->name);
        } else if (test_skip_why) {
            skipped++;
            printf("skip - %s: %s\n", t->name, test_skip_why);
        } else {
            passed++;
            printf("ok - %s\n", t->name);
        }
    }
    printf("# %d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed ? 1 : 0;
}
#endif

#endif
