// What a ring of ours can not be used for: whoever gets to write into its memory may neither open files nor register anything.
#include "../src/uring.c"

#include <unistd.h>

#include "test.h"

#define OP_OPENAT 18
#define SQE_ASYNC (1u << 4)
#define REGISTER_EVENTFD 4

static char reason[256];

static bool works(void) {
    return sl_io_probe(SL_IO_AUTO, reason, sizeof(reason)) == SL_IO_URING;
}

// A ring as the backend has it, without buffers.
static bool open_ring(struct ring *ring, const struct sl_sys *sys) {
    int error = ring_open(ring, sys, 8, 16);
    error = error ? error : ring_enable(ring);
    CHECK_INT(error, 0);
    return error == 0;
}

// What the kernel answers to one operation.
static int result_of(struct ring *ring, uint8_t opcode, uint8_t flags) {
    struct uring_sqe *sqe = ring_sqe(ring);
    struct uring_cqe cqe = {0};
    sqe->opcode = opcode;
    sqe->flags = flags;
    sqe->fd = -1;
    sqe->addr = addr_of("/");
    CHECK_INT(ring_cqe(ring, &cqe), 0);
    return cqe.res;
}

TEST(other_operations_are_refused) {
    struct ring ring;
    if (!works()) {
        SKIP(reason);
    }
    REQUIRE(open_ring(&ring, &sl_sys_kernel));
    CHECK_INT(ring.unrestricted, 0);
    CHECK_INT(result_of(&ring, OP_OPENAT, 0), -EACCES);
    CHECK_INT(result_of(&ring, URING_OP_SEND, SQE_ASYNC), -EACCES); // nor a kernel thread
    CHECK_INT(result_of(&ring, URING_OP_SEND, 0), -EBADF);          // ours go through
    ring_close(&ring);
}

TEST(nothing_is_registered_afterwards) {
    struct ring ring;
    if (!works()) {
        SKIP(reason);
    }
    REQUIRE(open_ring(&ring, &sl_sys_kernel));
    int fd = dup(0);
    struct uring_rsrc_update update = {.offset = UINT32_MAX, .data = (uint64_t)ring.fd};
    CHECK_INT(ring_register(&ring, REGISTER_EVENTFD, &fd, 1), -1);
    CHECK_INT(errno, EACCES);
    CHECK_INT(ring_register(&ring, URING_REGISTER_RING_FDS, &update, 1), -1);
    CHECK_INT(errno, EACCES);
    close(fd);
    ring_close(&ring);
}

static int refuse_restrictions(const struct sl_sys *sys, int fd, uint32_t op, void *arg,
                               uint32_t count) {
    if (op == URING_REGISTER_RESTRICTIONS) {
        errno = EINVAL;
        return -1;
    }
    return sl_sys_kernel.uring_register(sys, fd, op, arg, count);
}

TEST(a_kernel_that_does_not_restrict_is_gone_on_with_and_counted) {
    if (!works()) {
        SKIP(reason);
    }
    CHECK_STR(reason, "multishot receive with a buffer ring works");
    struct sl_sys sys = sl_sys_kernel;
    sys.uring_register = refuse_restrictions;
    CHECK_INT(sl__uring_probe(&sys, reason, sizeof(reason)), SL_OK);
    CHECK_STR(reason, "multishot receive with a buffer ring works; operations are not restricted: EINVAL");
    for (int i = 0; i < 2; i++) {
        struct sl_buf_pool pool;
        struct sl_counters counters = {0};
        struct sl_io *io = NULL;
        REQUIRE(sl_buf_pool_init(&pool, (uint32_t[SL_BUF_GROUPS]){4, 4, 1, 1}) == SL_OK);
        struct sl_io_config config = {.kind = SL_IO_URING, .conns_max = 4, .pool = &pool,
                                      .counters = &counters, .sys = i ? &sys : NULL};
        CHECK_INT(sl_io_open(&io, &config), SL_OK);
        CHECK_INT(sl_io_poll(io, 0), 0);
        CHECK_INT(counters.io_unrestricted, i);
        sl_io_free(io);
        sl_buf_pool_deinit(&pool);
    }
}
