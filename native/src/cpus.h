// How many workers this process should have, and whether it may pin them: affinity mask, cgroup quota, exclusive CPUs. base layer; any thread.
#ifndef SL_CPUS_H
#define SL_CPUS_H

#include "base.h"

#define SL_CPUS_PINS_MAX 64

struct sl_cpus {
    uint32_t count;   // CPUs in the affinity mask
    double quota;     // CPUs' worth of time that the cgroup allows; 0: no limit
    uint32_t workers; // what follows: as many as CPUs, but no more than the quota, rounded up; under 1.5 it is one
    const char *exclusive; // whose CPUs no other process uses: "isolcpus", "cpuset partition"; NULL: shared, do not pin
    uint32_t pins[SL_CPUS_PINS_MAX]; // the mask's first CPUs
};

// root: "" or, in tests, a folder with proc/ and sys/. What cannot be read is no limit.
void sl_cpus_read(struct sl_cpus *cpus, const char *root);
// "2 CPUs; cgroup quota 1.5". Returns bytes without the NUL, cut at len.
size_t sl_cpus_text(const struct sl_cpus *cpus, char *out, size_t len);

#endif
