// The records of policies (plan.h): what each op needs besides what all have. Offsets count from the plan's start, as everywhere in it.
#ifndef SLUICE_POLICY_H
#define SLUICE_POLICY_H

#include <stdint.h>

// Addresses as 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. A set is a table of these: sorted, disjoint.
struct sl_plan_range {
    uint8_t first[16], last[16];
};
_Static_assert(sizeof(struct sl_plan_range) == 32, "ABI");

// Who is taken for the client (src/client_ip.h).
struct sl_plan_client {
    uint32_t proxies_off, proxies_count; // ranges that are trusted
    uint32_t forwarded; // 1: they write Forwarded; 0: X-Forwarded-For
    uint32_t reserved;
};
_Static_assert(sizeof(struct sl_plan_client) == 16, "ABI");

struct sl_plan_ip_restriction {
    struct sl_plan_client client;
    uint32_t deny_off, deny_count; // ranges
    uint32_t allow_off, allow_count; // 0: all that are not denied
};
_Static_assert(sizeof(struct sl_plan_ip_restriction) == 32, "ABI");

struct sl_plan_cors_origin {
    uint32_t off, len; // as in an Origin field
    uint32_t headers;  // index in headers, of which the response's edits are made
};
_Static_assert(sizeof(struct sl_plan_cors_origin) == 12, "ABI");

struct sl_plan_cors {
    uint32_t origins_off, origins_count; // rows, sorted by their bytes
    uint32_t otherwise;                  // headers for all other origins, and where there is none
    uint32_t preflight_off, preflight_len; // field lines of the answers to preflights
    uint8_t vary_last; // 1: the last edit of each headers row is Vary's, and a preflight's answer does without it
    uint8_t reflects;  // 1: preflights may have the fields that they ask for; then Vary is not among the lines, but written as is right
    uint16_t reserved0;
    uint32_t reserved1, reserved2;
};
_Static_assert(sizeof(struct sl_plan_cors) == 32, "ABI");

struct sl_plan_body_limit {
    uint64_t bytes_max;
};
_Static_assert(sizeof(struct sl_plan_body_limit) == 8, "ABI");

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

// earlyData(): this route's requests may run before the TLS handshake is done, so more than once. Other requests of a chain without it wait.
struct sl_plan_early_data {
    uint32_t refuse; // 1: what may not run is answered 425 (the row's respond) instead of waiting
    uint32_t reserved;
};
_Static_assert(sizeof(struct sl_plan_early_data) == 8, "ABI");

#endif
