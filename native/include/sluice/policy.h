// The records of policies (plan.h): what each op needs besides what all have. Offsets count from the plan's start, as everywhere in it.
#ifndef SLUICE_POLICY_H
#define SLUICE_POLICY_H

#include <stdint.h>

// Addresses as 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. A set is a table of these: sorted, disjoint.
struct sl_plan_range {
    uint8_t first[16], last[16];
};
_Static_assert(sizeof(struct sl_plan_range) == 32, "ABI");

#define SL_PLAN_ID_BYTES_MAX 255u // of a request id that is taken over
enum sl_plan_request_id_trust { SL_PLAN_TRUST_NOBODY = 0, SL_PLAN_TRUST_ALL = 1, SL_PLAN_TRUST_SOME = 2 };

struct sl_plan_request_id {
    uint8_t trust; // enum sl_plan_request_id_trust: whose ids are taken over
    uint8_t id_bytes_max; // of those; 1 to SL_PLAN_ID_BYTES_MAX
    uint16_t name_len;
    uint32_t name_off; // in lower case
    uint32_t trusted_off, trusted_count; // ranges of peers, for TRUST_SOME
};
_Static_assert(sizeof(struct sl_plan_request_id) == 16, "ABI");

#endif
