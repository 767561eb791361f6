// Our copy of the kernel's ABI against the system's header, where that is new enough to know what we use (6.1).
#include "uring_abi.h"

#if defined(__has_include)
#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#endif
#endif

#include "test.h"

#ifdef IORING_SETUP_DEFER_TASKRUN

#define SAME_SIZE(ours, theirs) CHECK_INT(sizeof(struct ours), sizeof(struct theirs))
#define SAME_FIELD(ours, a, theirs, b)                                                             \
    do {                                                                                           \
        CHECK_INT(offsetof(struct ours, a), offsetof(struct theirs, b));                           \
        CHECK_INT(sizeof(((struct ours *)0)->a), sizeof(((struct theirs *)0)->b));                 \
    } while (0)

TEST(structs_are_laid_out_as_the_kernel_says) {
    SAME_SIZE(uring_sqe, io_uring_sqe);
    SAME_FIELD(uring_sqe, opcode, io_uring_sqe, opcode);
    SAME_FIELD(uring_sqe, flags, io_uring_sqe, flags);
    SAME_FIELD(uring_sqe, ioprio, io_uring_sqe, ioprio);
    SAME_FIELD(uring_sqe, fd, io_uring_sqe, fd);
    SAME_FIELD(uring_sqe, off, io_uring_sqe, off);
    SAME_FIELD(uring_sqe, addr, io_uring_sqe, addr);
    SAME_FIELD(uring_sqe, len, io_uring_sqe, len);
    SAME_FIELD(uring_sqe, op_flags, io_uring_sqe, msg_flags);
    SAME_FIELD(uring_sqe, op_flags, io_uring_sqe, accept_flags);
    SAME_FIELD(uring_sqe, op_flags, io_uring_sqe, poll32_events);
    SAME_FIELD(uring_sqe, op_flags, io_uring_sqe, cancel_flags);
    SAME_FIELD(uring_sqe, user_data, io_uring_sqe, user_data);
    SAME_FIELD(uring_sqe, buf_group, io_uring_sqe, buf_group);
    SAME_FIELD(uring_sqe, personality, io_uring_sqe, personality);
    SAME_FIELD(uring_sqe, optlen, io_uring_sqe, file_index);
    SAME_FIELD(uring_sqe, addr3, io_uring_sqe, addr3);
    CHECK_INT(sizeof(struct uring_cqe), 16); // theirs ends in a flexible array
    SAME_FIELD(uring_cqe, user_data, io_uring_cqe, user_data);
    SAME_FIELD(uring_cqe, res, io_uring_cqe, res);
    SAME_FIELD(uring_cqe, flags, io_uring_cqe, flags);
    SAME_SIZE(uring_params, io_uring_params);
    SAME_FIELD(uring_params, cq_entries, io_uring_params, cq_entries);
    SAME_FIELD(uring_params, flags, io_uring_params, flags);
    SAME_FIELD(uring_params, features, io_uring_params, features);
    SAME_FIELD(uring_params, sq_off, io_uring_params, sq_off);
    SAME_FIELD(uring_params, cq_off, io_uring_params, cq_off);
    SAME_FIELD(uring_sq_offsets, head, io_sqring_offsets, head);
    SAME_FIELD(uring_sq_offsets, tail, io_sqring_offsets, tail);
    SAME_FIELD(uring_sq_offsets, flags, io_sqring_offsets, flags);
    SAME_FIELD(uring_sq_offsets, array, io_sqring_offsets, array);
    SAME_FIELD(uring_cq_offsets, head, io_cqring_offsets, head);
    SAME_FIELD(uring_cq_offsets, tail, io_cqring_offsets, tail);
    SAME_FIELD(uring_cq_offsets, cqes, io_cqring_offsets, cqes);
    SAME_SIZE(uring_getevents_arg, io_uring_getevents_arg);
    SAME_FIELD(uring_getevents_arg, sigmask, io_uring_getevents_arg, sigmask);
    SAME_FIELD(uring_getevents_arg, ts, io_uring_getevents_arg, ts);
    SAME_SIZE(uring_timespec, __kernel_timespec);
    SAME_SIZE(uring_buf, io_uring_buf);
    SAME_FIELD(uring_buf, addr, io_uring_buf, addr);
    SAME_FIELD(uring_buf, len, io_uring_buf, len);
    SAME_FIELD(uring_buf, bid, io_uring_buf, bid);
    SAME_FIELD(uring_buf, resv, io_uring_buf_ring, tail);
    SAME_SIZE(uring_buf_reg, io_uring_buf_reg);
    SAME_FIELD(uring_buf_reg, ring_addr, io_uring_buf_reg, ring_addr);
    SAME_FIELD(uring_buf_reg, ring_entries, io_uring_buf_reg, ring_entries);
    SAME_FIELD(uring_buf_reg, bgid, io_uring_buf_reg, bgid);
    SAME_SIZE(uring_rsrc_update, io_uring_rsrc_update);
    SAME_FIELD(uring_rsrc_update, offset, io_uring_rsrc_update, offset);
    SAME_FIELD(uring_rsrc_update, data, io_uring_rsrc_update, data);
    SAME_SIZE(uring_restriction, io_uring_restriction);
    SAME_FIELD(uring_restriction, kind, io_uring_restriction, opcode);
    SAME_FIELD(uring_restriction, what, io_uring_restriction, register_op);
    SAME_FIELD(uring_restriction, what, io_uring_restriction, sqe_op);
    SAME_FIELD(uring_restriction, what, io_uring_restriction, sqe_flags);
}

TEST(numbers_are_the_kernels) {
    CHECK_INT(URING_OP_POLL_ADD, IORING_OP_POLL_ADD);
    CHECK_INT(URING_OP_SENDMSG, IORING_OP_SENDMSG);
    CHECK_INT(URING_OP_ACCEPT, IORING_OP_ACCEPT);
    CHECK_INT(URING_OP_ASYNC_CANCEL, IORING_OP_ASYNC_CANCEL);
    CHECK_INT(URING_OP_CONNECT, IORING_OP_CONNECT);
    CHECK_INT(URING_OP_SEND, IORING_OP_SEND);
    CHECK_INT(URING_OP_RECV, IORING_OP_RECV);
    CHECK_INT(URING_SETUP_CQSIZE, IORING_SETUP_CQSIZE);
    CHECK_INT(URING_SETUP_CLAMP, IORING_SETUP_CLAMP);
    CHECK_INT(URING_SETUP_R_DISABLED, IORING_SETUP_R_DISABLED);
    CHECK_INT(URING_SETUP_SUBMIT_ALL, IORING_SETUP_SUBMIT_ALL);
    CHECK_INT(URING_SETUP_TASKRUN_FLAG, IORING_SETUP_TASKRUN_FLAG);
    CHECK_INT(URING_SETUP_SINGLE_ISSUER, IORING_SETUP_SINGLE_ISSUER);
    CHECK_INT(URING_SETUP_DEFER_TASKRUN, IORING_SETUP_DEFER_TASKRUN);
#ifdef IORING_SETUP_NO_SQARRAY
    CHECK_INT(URING_SETUP_NO_SQARRAY, IORING_SETUP_NO_SQARRAY);
#endif
    CHECK_INT(URING_FEAT_SINGLE_MMAP, IORING_FEAT_SINGLE_MMAP);
    CHECK_INT(URING_FEAT_NODROP, IORING_FEAT_NODROP);
    CHECK_INT(URING_FEAT_SUBMIT_STABLE, IORING_FEAT_SUBMIT_STABLE);
    CHECK_INT(URING_FEAT_EXT_ARG, IORING_FEAT_EXT_ARG);
#ifdef IORING_FEAT_MIN_TIMEOUT
    CHECK_INT(URING_FEAT_MIN_TIMEOUT, IORING_FEAT_MIN_TIMEOUT);
#endif
#ifdef IORING_FEAT_NO_IOWAIT
    CHECK_INT(URING_FEAT_NO_IOWAIT, IORING_FEAT_NO_IOWAIT);
    CHECK_INT(URING_ENTER_NO_IOWAIT, IORING_ENTER_NO_IOWAIT);
#endif
    CHECK_INT(URING_ENTER_GETEVENTS, IORING_ENTER_GETEVENTS);
    CHECK_INT(URING_ENTER_EXT_ARG, IORING_ENTER_EXT_ARG);
    CHECK_INT(URING_ENTER_REGISTERED_RING, IORING_ENTER_REGISTERED_RING);
    CHECK_INT(URING_RESTRICT_REGISTER_OP, IORING_RESTRICTION_REGISTER_OP);
    CHECK_INT(URING_RESTRICT_SQE_OP, IORING_RESTRICTION_SQE_OP);
    CHECK_INT(URING_RESTRICT_SQE_FLAGS_ALLOWED, IORING_RESTRICTION_SQE_FLAGS_ALLOWED);
    CHECK_INT(URING_REGISTER_RESTRICTIONS, IORING_REGISTER_RESTRICTIONS);
    CHECK_INT(URING_REGISTER_ENABLE_RINGS, IORING_REGISTER_ENABLE_RINGS);
    CHECK_INT(URING_REGISTER_RING_FDS, IORING_REGISTER_RING_FDS);
    CHECK_INT(URING_UNREGISTER_RING_FDS, IORING_UNREGISTER_RING_FDS);
    CHECK_INT(URING_REGISTER_PBUF_RING, IORING_REGISTER_PBUF_RING);
    CHECK_INT(URING_UNREGISTER_PBUF_RING, IORING_UNREGISTER_PBUF_RING);
    CHECK_INT(URING_OFF_SQ_RING, IORING_OFF_SQ_RING);
    CHECK_INT(URING_OFF_SQES, IORING_OFF_SQES);
    CHECK_INT(URING_SQE_BUFFER_SELECT, IOSQE_BUFFER_SELECT);
    CHECK_INT(URING_RECV_POLL_FIRST, IORING_RECVSEND_POLL_FIRST);
    CHECK_INT(URING_RECV_MULTISHOT, IORING_RECV_MULTISHOT);
    CHECK_INT(URING_ACCEPT_MULTISHOT, IORING_ACCEPT_MULTISHOT);
    CHECK_INT(URING_POLL_ADD_MULTI, IORING_POLL_ADD_MULTI);
    CHECK_INT(URING_CQE_F_BUFFER, IORING_CQE_F_BUFFER);
    CHECK_INT(URING_CQE_F_MORE, IORING_CQE_F_MORE);
    CHECK_INT(URING_CQE_F_SOCK_NONEMPTY, IORING_CQE_F_SOCK_NONEMPTY);
    CHECK_INT(URING_CQE_BUFFER_SHIFT, IORING_CQE_BUFFER_SHIFT);
    CHECK_INT(URING_SQ_CQ_OVERFLOW, IORING_SQ_CQ_OVERFLOW);
    CHECK_INT(URING_SQ_TASKRUN, IORING_SQ_TASKRUN);
}

#else

TEST(structs_are_laid_out_as_the_kernel_says) { SKIP("no <linux/io_uring.h> of 6.1 or later"); }

#endif
