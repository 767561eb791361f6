// The probe for kernel TLS, on kernels that answer this or that.
#include <errno.h>
#include <string.h>

#include "base.h"
#include "kernel_tls.h"
#include "test.h"

struct kernel {
    struct sl_sys sys;
    int no_socket, answer; // errno; 0: it works
    int open, asked;
};

static struct kernel *kernel_of(const struct sl_sys *sys) { return SL_CONTAINER_OF(sys, struct kernel, sys); }

static int k_socket(const struct sl_sys *sys, int family, int type, int protocol) {
    (void)family, (void)type, (void)protocol;
    errno = kernel_of(sys)->no_socket;
    kernel_of(sys)->open += errno == 0;
    return errno ? -1 : 77;
}

static int k_setsockopt(const struct sl_sys *sys, int fd, int level, int name, const void *value, socklen_t len) {
    (void)level, (void)name;
    CHECK_INT(fd, 77);
    CHECK(len == 3 && memcmp(value, "tls", 3) == 0);
    kernel_of(sys)->asked++;
    errno = kernel_of(sys)->answer;
    return errno ? -1 : 0;
}

static int k_close(const struct sl_sys *sys, int fd) {
    CHECK_INT(fd, 77);
    kernel_of(sys)->open--;
    errno = EIO; // must not be taken for the answer
    return 0;
}

TEST(the_probe_says_what_the_kernel_answered) {
    static const struct {
        int no_socket, answer;
        const char *text;
    } rows[] = {
        {0, ENOTCONN, "available, unused"},
        {0, 0, "available, unused"},
        {0, ENOENT, "not available: the kernel has no TLS (CONFIG_TLS), or its module is not loaded: modprobe tls"},
        {0, ENOPROTOOPT, "not available: setsockopt(TCP_ULP): Protocol not available"},
        {0, EPERM, "not available: setsockopt(TCP_ULP): Operation not permitted"},
        {EMFILE, 0, "not available: no socket to ask with: Too many open files"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct kernel kernel = {
            .sys = {.socket = k_socket, .setsockopt = k_setsockopt, .close = k_close}, .no_socket = rows[i].no_socket, .answer = rows[i].answer};
        char text[128];
        int n = sl_kernel_tls(&kernel.sys, text, sizeof(text));
        CHECK_STR(text, rows[i].text);
        CHECK_INT(n, strlen(rows[i].text));
        CHECK_INT(kernel.open, 0);
        CHECK_INT(kernel.asked, rows[i].no_socket ? 0 : 1);
        CHECK_INT(sl_kernel_tls(&kernel.sys, text, 4), 3);
        CHECK_STR(text, rows[i].text[0] == 'a' ? "ava" : "not");
    }
}

TEST(this_kernel_has_an_answer) {
    char text[128];
    sl_kernel_tls(&sl_sys_kernel, text, sizeof(text));
    CHECK(strcmp(text, "available, unused") == 0 || strncmp(text, "not available: ", 15) == 0);
}
