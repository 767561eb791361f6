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

struct sl_plan_allowed {
    uint32_t entry;    // the first one of a pattern
    uint32_t off, len; // the methods that have a route of that pattern: "GET, HEAD"
};
_Static_assert(sizeof(struct sl_plan_allowed) == 12, "ABI");

struct sl_plan_method_not_allowed {
    uint32_t rows_off, rows_count; // in the order of Allow
};
_Static_assert(sizeof(struct sl_plan_method_not_allowed) == 8, "ABI");

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

// Bytes of the plan.
struct sl_plan_text {
    uint32_t off, len;
};
_Static_assert(sizeof(struct sl_plan_text) == 8, "ABI");

// Whom a limit counts for.
enum sl_plan_key_kind { SL_PLAN_KEY_ROUTE = 0, SL_PLAN_KEY_CLIENT_IP = 1, SL_PLAN_KEY_HEADER = 2 };

struct sl_plan_key {
    uint8_t kind; // enum sl_plan_key_kind
    uint8_t reserved;
    uint16_t name_len;
    uint32_t name_off; // HEADER: in lower case
    struct sl_plan_client client; // CLIENT_IP
};
_Static_assert(sizeof(struct sl_plan_key) == 24, "ABI");

#define SL_PLAN_RATE_DRY_RUN 1u // of flags: what is over the limit passes, too
#define SL_PLAN_RATE_KEYS_MAX 16777216u
#define SL_PLAN_RATE_POLICY_NAME "ratelimit-policy"
#define SL_PLAN_RATE_NAME_MAX 32u

struct sl_plan_rate_limit {
    struct sl_plan_key key;
    uint64_t interval_us; // between two requests in the long run; at most a day, times burst
    uint32_t burst;
    uint32_t keys_max; // remembered at once
    uint32_t flags;
    uint32_t policy_off, policy_len; // "ratelimit-policy: ...\r\n"
    uint32_t name_off, name_len;     // of the policy: printable ASCII without '"' and '\\'
    uint32_t reserved;
};
_Static_assert(sizeof(struct sl_plan_rate_limit) == 64, "ABI");

#define SL_PLAN_CONCURRENCY_KEYS_MAX 1048576u

struct sl_plan_concurrency_limit {
    struct sl_plan_key key;
    uint32_t max; // 1 to 16777215
    uint32_t keys_max; // with a request in flight at once
};
_Static_assert(sizeof(struct sl_plan_concurrency_limit) == 32, "ABI");

struct sl_plan_timeout {
    uint32_t ms; // from the step to the end of the answer
    uint32_t reserved;
};
_Static_assert(sizeof(struct sl_plan_timeout) == 8, "ABI");

struct sl_plan_user {
    struct sl_plan_text name, password; // UTF-8
};
_Static_assert(sizeof(struct sl_plan_user) == 16, "ABI");

struct sl_plan_basic_auth {
    uint32_t users_off, user_count;
};
_Static_assert(sizeof(struct sl_plan_basic_auth) == 8, "ABI");

struct sl_plan_bearer_auth {
    struct sl_plan_text name, prefix; // in lower case
    uint32_t tokens_off, token_count; // of struct sl_plan_text
    uint32_t missing, malformed;      // indices in responds; the policy's own is for a wrong token
};
_Static_assert(sizeof(struct sl_plan_bearer_auth) == 32, "ABI");

#define SL_PLAN_CANARY_SHARES 10000u
#define SL_PLAN_CANARY_HEADER_VALUE 1u // of flags: it must have this value, else any does
#define SL_PLAN_CANARY_COOKIE_VALUE 2u

struct sl_plan_canary {
    struct sl_plan_text header, header_value, cookie, cookie_value; // empty names: none
    struct sl_plan_text sticky; // the cookie that says who a client is; empty: its address does
    struct sl_plan_client client;
    uint32_t shares;            // of SL_PLAN_CANARY_SHARES
    uint32_t flags;
};
_Static_assert(sizeof(struct sl_plan_canary) == 64, "ABI");

#endif
