// A kernel or sandbox that lacks one feature: what can be done without is done without, what cannot means epoll; either is said in one line. No
// filter can refuse these one by one (they are flags in memory), so the calls are wrapped.
#include "../src/uring.c"

#include <unistd.h>

#include "test.h"

enum missing { NOTHING, SQARRAY_OFF, RING_FDS, RESTRICTIONS, BUFFER_RINGS, MULTISHOT, ENABLE, DEFERRED, OLD_FEATURES };
static enum missing missing;
static int refusal;              // errno
static struct uring_sqe *sqes;   // of the ring that was mapped last

static int refuse(void) {
    errno = refusal;
    return -1;
}

static int setup(const struct sl_sys *sys, uint32_t entries, struct uring_params *params) {
    bool unknown = (missing == SQARRAY_OFF && (params->flags & URING_SETUP_NO_SQARRAY)) ||
                   (missing == DEFERRED && (params->flags & URING_SETUP_DEFER_TASKRUN));
    int fd = unknown ? refuse() : sl_sys_kernel.uring_setup(sys, entries, params);
    if (missing == OLD_FEATURES) {
        params->features &= ~(uint32_t)URING_FEAT_EXT_ARG;
    }
    return fd;
}

static int register_(const struct sl_sys *sys, int fd, uint32_t op, void *arg, uint32_t count) {
    bool unknown = (missing == RING_FDS && op == URING_REGISTER_RING_FDS) ||
                   (missing == RESTRICTIONS && op == URING_REGISTER_RESTRICTIONS) ||
                   (missing == BUFFER_RINGS && op == URING_REGISTER_PBUF_RING) ||
                   (missing == ENABLE && op == URING_REGISTER_ENABLE_RINGS);
    return unknown ? refuse() : sl_sys_kernel.uring_register(sys, fd, op, arg, count);
}

static void *map(const struct sl_sys *sys, void *addr, size_t len, int prot, int flags, int fd, off_t offset) {
    void *at = sl_sys_kernel.mmap(sys, addr, len, prot, flags, fd, offset);
    if (offset == (off_t)URING_OFF_SQES && at != MAP_FAILED) {
        sqes = at;
    }
    return at;
}

// As a sandbox that knows RECV, but not its flag: the kernel refuses one that it has never heard of.
static int enter(const struct sl_sys *sys, int fd, uint32_t submit, uint32_t wait, uint32_t flags, const void *arg, size_t arg_len) {
    for (uint32_t i = 0; missing == MULTISHOT && i < submit; i++) {
        if (sqes[i].opcode == URING_OP_RECV && (sqes[i].ioprio & URING_RECV_MULTISHOT)) {
            sqes[i].ioprio |= 1u << 15;
        }
    }
    return sl_sys_kernel.uring_enter(sys, fd, submit, wait, flags, arg, arg_len);
}

static struct sl_sys lacking(enum missing what, int error) {
    struct sl_sys sys = sl_sys_kernel;
    sys.uring_setup = setup;
    sys.uring_register = register_;
    sys.uring_enter = enter;
    sys.mmap = map;
    missing = what;
    refusal = error;
    return sys;
}

static char reason[256];
#define WORKS "multishot receive with a buffer ring works"

static bool available(void) {
    missing = NOTHING;
    return sl__uring_probe(&sl_sys_kernel, reason, sizeof(reason)) == SL_OK && strcmp(reason, WORKS) == 0;
}

// A real exchange of bytes on a loop of that kernel.

static uint64_t received, ended, sent, closed;
static struct sl_buf_pool pool;

static void on_data(struct sl_io_conn *conn, void *owner, struct sl_buf *buf, uint32_t len) {
    (void)conn, (void)owner;
    received += len;
    sl_buf_unref(&pool, buf);
}
static void on_end(struct sl_io_conn *conn, void *owner, int error) {
    (void)conn, (void)owner;
    ended += error == 0;
}
static void on_sent(struct sl_io_conn *conn, void *owner, int64_t result) {
    (void)conn, (void)owner;
    sent += result > 0 ? (uint64_t)result : 0;
}
static void on_connect(struct sl_io_conn *conn, void *owner, int error) { (void)conn, (void)owner, (void)error; }
static void on_closed(void *owner) {
    (void)owner;
    closed++;
}

static void poll_until(struct sl_io *io, const uint64_t *count, uint64_t wanted) {
    for (int i = 0; i < 2000 && *count < wanted; i++) {
        CHECK(sl_io_poll(io, SL_NS_PER_MS) >= 0);
    }
    CHECK_INT(*count, wanted);
}

static void exchange_bytes(const struct sl_sys *sys) {
    static const struct sl_io_handler handler = {on_data, on_end, on_sent, on_connect, on_closed};
    struct sl_counters counters = {0};
    struct sl_io *io;
    int pair[2];
    char text[] = "0123456789";
    received = ended = sent = closed = 0;
    REQUIRE(sl_buf_pool_init(&pool, (uint32_t[SL_BUF_GROUPS]){8, 4, 1, 1}) == SL_OK);
    struct sl_io_config config = {.kind = SL_IO_URING, .conns_max = 4, .pool = &pool, .counters = &counters, .sys = sys};
    int rc = sl_io_open(&io, &config);
    CHECK_MSG(rc == SL_OK, "%s", sl_fail_text());
    REQUIRE(rc == SL_OK);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    struct sl_io_conn *conn = sl_io_conn_open(io, pair[0], &handler, NULL);
    sl_io_recv(io, conn, SL_RECV_STREAM);
    for (uint64_t i = 1; i <= 20; i++) { // the queues come round
        struct iovec iov = {text, 10};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        char got[10];
        CHECK_INT(write(pair[1], text, 10), 10);
        poll_until(io, &received, i * 10);
        sl_io_send(io, conn, &msg);
        poll_until(io, &sent, i * 10);
        CHECK_INT(read(pair[1], got, 10), 10);
    }
    shutdown(pair[1], SHUT_WR);
    poll_until(io, &ended, 1);
    sl_io_close(io, conn);
    poll_until(io, &closed, 1);
    close(pair[1]);
    sl_io_free(io);
    sl_buf_pool_deinit(&pool);
    CHECK_INT(counters.io_ops_armed, 0);
    CHECK_INT(counters.io_stale_cqes, 0);
}

TEST(what_can_be_done_without_is_done_without_and_said) {
    static const struct {
        enum missing what;
        const char *said;
    } rows[] = {
        {NOTHING, WORKS},
        {SQARRAY_OFF, WORKS "; without NO_SQARRAY"},
        {RING_FDS, WORKS "; without a registered ring"},
        {RESTRICTIONS, WORKS "; operations are not restricted: EINVAL"},
    };
    if (!available()) {
        SKIP(reason);
    }
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct sl_sys sys = lacking(rows[i].what, EINVAL);
        CHECK_INT(sl__uring_probe(&sys, reason, sizeof(reason)), SL_OK);
        CHECK_STR(reason, rows[i].said);
        exchange_bytes(&sys);
    }
}

TEST(what_is_needed_and_missing_means_another_backend_and_is_named) {
    static const struct {
        enum missing what;
        int error;
        const char *said;
    } rows[] = {
        {BUFFER_RINGS, EINVAL, "io_uring_register(PBUF_RING): EINVAL; Linux 6.1 or later is needed"},
        {BUFFER_RINGS, EPERM, "io_uring_register(PBUF_RING): EPERM; seccomp or kernel.io_uring_disabled=2"},
        {MULTISHOT, EINVAL, "multishot receive: EINVAL; Linux 6.1 or later is needed"},
        {ENABLE, EPERM, "io_uring_register(ENABLE_RINGS): EPERM; seccomp or kernel.io_uring_disabled=2"},
        {DEFERRED, EINVAL, "io_uring_setup: EINVAL; Linux 6.1 or later is needed"},
        {OLD_FEATURES, 0, "io_uring features: ENOSYS; no io_uring in this kernel or sandbox; Linux 6.1 or later is needed"},
    };
    if (!available()) {
        SKIP(reason);
    }
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct sl_sys sys = lacking(rows[i].what, rows[i].error);
        CHECK_INT(sl__uring_probe(&sys, reason, sizeof(reason)), SL_E_IO_UNAVAILABLE);
        CHECK_STR(reason, rows[i].said);
    }
    missing = NOTHING;
}
