// The kernel's io_uring ABI, as much of it as we use, with its sizes and offsets pinned. io layer; only uring.c includes it.
//
// Our own copy, because the headers of a build machine say nothing of the kernel that runs (6.1's lack what 6.6 has), and because the probe
// decides by doing anyway. native/tests/uring_abi_test.c compares it with <linux/io_uring.h> where that exists.
#ifndef SL_URING_ABI_H
#define SL_URING_ABI_H

#include <stddef.h>
#include <stdint.h>

#define URING_NR_SETUP 425 // the same number on every architecture
#define URING_NR_ENTER 426
#define URING_NR_REGISTER 427

struct uring_sqe {
    uint8_t opcode;
    uint8_t flags;
    uint16_t ioprio; // op-specific flags of recv, accept
    int32_t fd;
    uint64_t off;
    uint64_t addr;
    uint32_t len;
    uint32_t op_flags; // msg_flags, accept_flags, poll32_events, cancel_flags
    uint64_t user_data;
    uint16_t buf_group;
    uint16_t personality;
    uint32_t optlen; // also file_index
    uint64_t addr3;
    uint64_t pad;
};
_Static_assert(sizeof(struct uring_sqe) == 64, "ABI");
_Static_assert(offsetof(struct uring_sqe, fd) == 4, "ABI");
_Static_assert(offsetof(struct uring_sqe, off) == 8, "ABI");
_Static_assert(offsetof(struct uring_sqe, addr) == 16, "ABI");
_Static_assert(offsetof(struct uring_sqe, len) == 24, "ABI");
_Static_assert(offsetof(struct uring_sqe, op_flags) == 28, "ABI");
_Static_assert(offsetof(struct uring_sqe, user_data) == 32, "ABI");
_Static_assert(offsetof(struct uring_sqe, buf_group) == 40, "ABI");
_Static_assert(offsetof(struct uring_sqe, optlen) == 44, "ABI");
_Static_assert(offsetof(struct uring_sqe, addr3) == 48, "ABI");

struct uring_cqe {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
};
_Static_assert(sizeof(struct uring_cqe) == 16, "ABI");
_Static_assert(offsetof(struct uring_cqe, res) == 8, "ABI");
_Static_assert(offsetof(struct uring_cqe, flags) == 12, "ABI");

struct uring_sq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
    uint64_t user_addr;
};
struct uring_cq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
    uint64_t user_addr;
};
_Static_assert(sizeof(struct uring_sq_offsets) == 40, "ABI");
_Static_assert(offsetof(struct uring_sq_offsets, flags) == 16, "ABI");
_Static_assert(offsetof(struct uring_sq_offsets, array) == 24, "ABI");
_Static_assert(sizeof(struct uring_cq_offsets) == 40, "ABI");
_Static_assert(offsetof(struct uring_cq_offsets, cqes) == 20, "ABI");

struct uring_params {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd;
    uint32_t resv[3];
    struct uring_sq_offsets sq_off;
    struct uring_cq_offsets cq_off;
};
_Static_assert(sizeof(struct uring_params) == 120, "ABI");
_Static_assert(offsetof(struct uring_params, features) == 20, "ABI");
_Static_assert(offsetof(struct uring_params, sq_off) == 40, "ABI");
_Static_assert(offsetof(struct uring_params, cq_off) == 80, "ABI");

struct uring_timespec {
    int64_t sec, nsec;
};
struct uring_getevents_arg {
    uint64_t sigmask;
    uint32_t sigmask_sz;
    uint32_t min_wait_usec;
    uint64_t ts;
};
_Static_assert(sizeof(struct uring_timespec) == 16, "ABI");
_Static_assert(sizeof(struct uring_getevents_arg) == 24, "ABI");
_Static_assert(offsetof(struct uring_getevents_arg, ts) == 16, "ABI");

// A buffer ring is an array of these; its tail lies in the `resv` of the first.
struct uring_buf {
    uint64_t addr;
    uint32_t len;
    uint16_t bid;
    uint16_t resv;
};
struct uring_buf_reg {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid;
    uint16_t flags;
    uint64_t resv[3];
};
_Static_assert(sizeof(struct uring_buf) == 16, "ABI");
_Static_assert(offsetof(struct uring_buf, resv) == 14, "ABI");
_Static_assert(sizeof(struct uring_buf_reg) == 40, "ABI");
_Static_assert(offsetof(struct uring_buf_reg, bgid) == 12, "ABI");

struct uring_rsrc_update {
    uint32_t offset;
    uint32_t resv;
    uint64_t data;
};
_Static_assert(sizeof(struct uring_rsrc_update) == 16, "ABI");

struct uring_restriction {
    uint16_t kind; // enum uring_restrict
    uint8_t what;  // an opcode, a register call, or flags, by kind
    uint8_t resv;
    uint32_t resv2[3];
};
_Static_assert(sizeof(struct uring_restriction) == 16, "ABI");
_Static_assert(offsetof(struct uring_restriction, what) == 2, "ABI");

enum uring_restrict {
    URING_RESTRICT_REGISTER_OP = 0,
    URING_RESTRICT_SQE_OP = 1,
    URING_RESTRICT_SQE_FLAGS_ALLOWED = 2,
};

enum uring_op {
    URING_OP_POLL_ADD = 6,
    URING_OP_SENDMSG = 9,
    URING_OP_ACCEPT = 13,
    URING_OP_ASYNC_CANCEL = 14,
    URING_OP_CONNECT = 16,
    URING_OP_SEND = 26,
    URING_OP_RECV = 27,
};

enum uring_setup {
    URING_SETUP_CQSIZE = 1u << 3,
    URING_SETUP_CLAMP = 1u << 4,
    URING_SETUP_R_DISABLED = 1u << 6,
    URING_SETUP_SUBMIT_ALL = 1u << 7,
    URING_SETUP_TASKRUN_FLAG = 1u << 9,
    URING_SETUP_SINGLE_ISSUER = 1u << 12,
    URING_SETUP_DEFER_TASKRUN = 1u << 13,
    URING_SETUP_NO_SQARRAY = 1u << 16,
};

enum uring_feat {
    URING_FEAT_SINGLE_MMAP = 1u << 0,
    URING_FEAT_NODROP = 1u << 1,
    URING_FEAT_SUBMIT_STABLE = 1u << 2,
    URING_FEAT_EXT_ARG = 1u << 8,
    URING_FEAT_MIN_TIMEOUT = 1u << 15,
    URING_FEAT_NO_IOWAIT = 1u << 17,
};

enum uring_enter {
    URING_ENTER_GETEVENTS = 1u << 0,
    URING_ENTER_EXT_ARG = 1u << 3,
    URING_ENTER_REGISTERED_RING = 1u << 4,
    URING_ENTER_NO_IOWAIT = 1u << 7,
};

enum uring_register {
    URING_REGISTER_RESTRICTIONS = 11,
    URING_REGISTER_ENABLE_RINGS = 12,
    URING_REGISTER_RING_FDS = 20,
    URING_UNREGISTER_RING_FDS = 21,
    URING_REGISTER_PBUF_RING = 22,
    URING_UNREGISTER_PBUF_RING = 23,
};

#define URING_OFF_SQ_RING 0ull
#define URING_OFF_SQES 0x10000000ull

#define URING_SQE_BUFFER_SELECT (1u << 5)     // sqe.flags
#define URING_RECV_POLL_FIRST (1u << 0)       // sqe.ioprio
#define URING_RECV_MULTISHOT (1u << 1)        // sqe.ioprio
#define URING_ACCEPT_MULTISHOT (1u << 0)      // sqe.ioprio
#define URING_POLL_ADD_MULTI (1u << 0)        // sqe.len
#define URING_CQE_F_BUFFER (1u << 0)          // cqe.flags; the buffer's id above URING_CQE_BUFFER_SHIFT
#define URING_CQE_F_MORE (1u << 1)            // cqe.flags; the operation stays armed
#define URING_CQE_F_SOCK_NONEMPTY (1u << 2)   // cqe.flags; more can be received at once
#define URING_CQE_BUFFER_SHIFT 16
#define URING_SQ_CQ_OVERFLOW (1u << 1)        // *sq_flags
#define URING_SQ_TASKRUN (1u << 2)            // *sq_flags: completions wait for an enter

#endif
