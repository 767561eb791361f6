// All scenarios of io_test.c on a ring with 8 submission and 16 completion entries: both queues are full all the time, so what a large ring
// meets once a year happens in every test.
#define SQ_ENTRIES 8u
#define CQ_ENTRIES 16u
#include "../src/uring.c"

#include "io_test.c"
