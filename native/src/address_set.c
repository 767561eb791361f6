#include "address_set.h"

void sl_address_of(uint8_t out[SL_ADDRESS_BYTES], int family, const uint8_t *addr) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (family == 4) {
        memcpy(out, mapped, sizeof(mapped));
        memcpy(out + sizeof(mapped), addr, 4);
    } else {
        memcpy(out, addr, SL_ADDRESS_BYTES);
    }
}

static int compare(const uint8_t *a, const uint8_t *b) { return memcmp(a, b, SL_ADDRESS_BYTES); }

bool sl_address_set_good(const struct sl_address_set *set) {
    for (uint32_t i = 0; i < set->count; i++) {
        const struct sl_plan_range *range = &set->ranges[i];
        if (compare(range->first, range->last) > 0 ||
            (i > 0 && compare(set->ranges[i - 1].last, range->first) >= 0)) {
            return false;
        }
    }
    return true;
}

bool sl_address_set_has(const struct sl_address_set *set, const uint8_t addr[SL_ADDRESS_BYTES]) {
    uint32_t low = 0, high = set->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare(set->ranges[middle].last, addr) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < set->count && compare(set->ranges[low].first, addr) <= 0;
}
