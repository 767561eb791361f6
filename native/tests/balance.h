// The books that must balance at every test's end, whatever the test was about: one place for all native tests.
#ifndef SL_BALANCE_H
#define SL_BALANCE_H

#include "sluice/counters.h"
#include "test.h"

// At any time.
static inline void check_balance(const struct sl_counters *c) {
    CHECK_INT(c->io_ops, c->io_ops_done + c->io_ops_armed);
    CHECK_INT(c->io_bufs, c->io_bufs_free + c->io_bufs_kernel + c->io_bufs_lent);
    CHECK_INT(c->io_slots, c->io_slots_free + c->io_slots_live);
    CHECK_INT(c->conns_accepted, c->conns_closed + c->conns_live);
    CHECK_INT(c->io_stale_cqes, 0);
    CHECK_INT(c->io_kernel_threads, 0);
}

// When all is closed.
static inline void check_nothing_left(const struct sl_counters *c) {
    check_balance(c);
    CHECK_INT(c->conns_live, 0);
    CHECK_INT(c->requests_live, 0);
    CHECK_INT(c->exchanges_live, 0);
    CHECK_INT(c->upgrades_live, 0);
    CHECK_INT(c->io_ops_armed, 0);
    CHECK_INT(c->io_bufs_lent, 0);
    CHECK_INT(c->io_slots_live, 0);
    CHECK_INT(c->io_starved, 0);
    CHECK_INT(c->bad_verdicts, 0);
}

#endif
