// Sets of IP addresses, as a plan holds them (sluice/policy.h): sorted, disjoint ranges. base layer.
#ifndef SL_ADDRESS_SET_H
#define SL_ADDRESS_SET_H

#include "base.h"
#include "sluice/policy.h"

#define SL_ADDRESS_BYTES 16u

struct sl_address_set {
    const struct sl_plan_range *ranges;
    uint32_t count;
};

// An address of either family (4: the first four bytes of addr) in the form of sets: IPv4 is ::ffff:a.b.c.d, also if it came so.
void sl_address_of(uint8_t out[SL_ADDRESS_BYTES], int family, const uint8_t *addr);
bool sl_address_set_good(const struct sl_address_set *set); // sorted and disjoint
bool sl_address_set_has(const struct sl_address_set *set, const uint8_t addr[SL_ADDRESS_BYTES]);

#endif
