// Every struct that C and TypeScript share, field by field, once. sl_abi reports it from the running library, tools/gen.ts writes it to
// ffi/abi.ts, and ffi/abi_test.ts compares the two. api layer.
//
//   S(struct)         its size
//   F(struct, field)  its offset; tools/gen.ts fails if the fields of a struct leave a gap, so that none can be forgotten
#ifndef SL_ABI_H
#define SL_ABI_H

// clang-format off
#define SL_ABI_MAP(S, F) \
    S(config) F(config, io) F(config, workers) F(config, isolates) F(config, exchanges) F(config, conns_max) F(config, requests_max) \
    F(config, head_bytes_max) F(config, line_bytes_max) F(config, fields_max) F(config, head_timeout_ms) F(config, body_timeout_ms) \
    F(config, idle_timeout_ms) F(config, write_stall_ms) F(config, handler_timeout_ms) F(config, linger_ms) F(config, body_bytes_max) \
    F(config, pipeline_bytes_max) F(config, high_watermark_bytes) F(config, low_watermark_bytes) F(config, requests_per_conn_max) \
    F(config, not_found_max) F(config, backlog) F(config, log) F(config, large_bufs) F(config, small_bufs) F(config, conn_age_ms) \
    F(config, prefault) F(config, body_bytes_per_second_min) F(config, body_grace_ms) F(config, write_bytes_per_second_min) \
    F(config, pipeline_requests_max) F(config, linger_bytes_max) F(config, conns_per_address_max) F(config, stek_rotation_ms) F(config, steks_kept) \
    F(config, early_window_ms) F(config, ticket_set_bytes) F(config, sealed_bytes) F(config, reserved) \
    S(resumption) F(resumption, mode) F(resumption, tickets) F(resumption, ticket_lifetime_s) F(resumption, early_data) \
    F(resumption, early_window_s) F(resumption, early_age_skew_ms) F(resumption, early_methods) F(resumption, early_bytes_max) F(resumption, tenant) \
    S(handshake) F(handshake, version_min) F(handshake, group_count) F(handshake, groups) F(handshake, alpn_off) \
    S(stek_given) F(stek_given, not_before_ms) F(stek_given, key) \
    S(field) F(field, name_off) F(field, name_len) F(field, value_off) F(field, value_len) F(field, id) F(field, flags) F(field, next_same) \
    S(event) F(event, kind) F(event, flags) F(event, method) F(event, version) F(event, slot) F(event, gen) F(event, len) \
    F(event, field_count) F(event, steps_done) F(event, method_len) F(event, target_off) F(event, target_len) F(event, path_off) F(event, path_len) \
    F(event, query_off) F(event, query_len) F(event, host_off) F(event, host_len) F(event, local_port) F(event, remote_port) \
    F(event, content_length) F(event, remote_addr) \
    S(slot_tls) F(slot_tls, version) F(slot_tls, cipher) F(slot_tls, group) F(slot_tls, flags) F(slot_tls, alpn_len) F(slot_tls, sni_len) \
    F(slot_tls, reserved) F(slot_tls, client_len) F(slot_tls, client_sha256) F(slot_tls, text) \
    S(slot_hello) F(slot_hello, legacy_version) F(slot_hello, server_name_len) F(slot_hello, alpn_len) F(slot_hello, versions_len) \
    F(slot_hello, ciphers_len) F(slot_hello, groups_len) F(slot_hello, listener) F(slot_hello, reserved) \
    S(verdict) F(verdict, kind) F(verdict, flags) F(verdict, status) F(verdict, slot) F(verdict, gen) F(verdict, head_len) \
    F(verdict, body_off) F(verdict, body_len) F(verdict, content_length) F(verdict, steps_failed) \
    F(verdict, reserved) \
    S(plan_header) F(plan_header, magic) F(plan_header, version) F(plan_header, bytes) F(plan_header, flags) \
    F(plan_header, entries_off) F(plan_header, entry_count) F(plan_header, segs_off) F(plan_header, seg_count) \
    F(plan_header, steps_off) F(plan_header, step_count) F(plan_header, responds_off) F(plan_header, respond_count) \
    F(plan_header, upstreams_off) F(plan_header, upstream_count) F(plan_header, headers_off) F(plan_header, header_count) \
    F(plan_header, edits_off) F(plan_header, edit_count) \
    F(plan_header, via_off) F(plan_header, via_len) F(plan_header, id) F(plan_header, policies_off) F(plan_header, policy_count) \
    F(plan_header, isolates) \
    S(plan_entry) F(plan_entry, method) F(plan_entry, seg_count) F(plan_entry, step_count) F(plan_entry, reserved0) \
    F(plan_entry, seg_first) F(plan_entry, step_first) F(plan_entry, method_off) F(plan_entry, method_len) F(plan_entry, reserved1) \
    S(plan_step) F(plan_step, op) F(plan_step, reserved0) F(plan_step, reserved1) F(plan_step, arg) F(plan_step, route) \
    F(plan_step, reserved2) \
    S(plan_seg) F(plan_seg, kind) F(plan_seg, reserved) F(plan_seg, len) F(plan_seg, off) \
    S(plan_class) F(plan_class, set) F(plan_class, min) F(plan_class, max) \
    S(plan_respond) F(plan_respond, status) F(plan_respond, reserved) F(plan_respond, fields_off) F(plan_respond, fields_len) \
    F(plan_respond, body_off) F(plan_respond, body_len) F(plan_respond, reserved1) \
    S(plan_upstream) F(plan_upstream, family) F(plan_upstream, early_data) F(plan_upstream, port) F(plan_upstream, addr) \
    F(plan_upstream, name_off) F(plan_upstream, name_len) F(plan_upstream, conns_max) F(plan_upstream, idle_max) \
    F(plan_upstream, connect_timeout_ms) F(plan_upstream, head_timeout_ms) F(plan_upstream, idle_timeout_ms) F(plan_upstream, id) \
    F(plan_upstream, tunnel_idle_timeout_ms) \
    S(plan_headers) F(plan_headers, request_first) F(plan_headers, request_count) F(plan_headers, response_first) \
    F(plan_headers, response_count) F(plan_headers, request_bytes) F(plan_headers, response_bytes) \
    S(plan_edit) F(plan_edit, kind) F(plan_edit, last) F(plan_edit, name_len) F(plan_edit, off) F(plan_edit, len) F(plan_edit, bit) \
    S(plan_policy) F(plan_policy, op) F(plan_policy, reserved0) F(plan_policy, request_bytes) F(plan_policy, response_bytes) \
    F(plan_policy, scratch_bytes) F(plan_policy, record_off) F(plan_policy, record_len) F(plan_policy, respond) F(plan_policy, upstream) \
    F(plan_policy, identity) F(plan_policy, reserved1) \
    S(plan_range) F(plan_range, first) F(plan_range, last) \
    S(plan_request_id) F(plan_request_id, trust) F(plan_request_id, id_bytes_max) F(plan_request_id, name_len) F(plan_request_id, name_off) \
    F(plan_request_id, trusted_off) F(plan_request_id, trusted_count) \
    S(plan_client) F(plan_client, proxies_off) F(plan_client, proxies_count) F(plan_client, forwarded) F(plan_client, reserved) \
    S(plan_ip_restriction) F(plan_ip_restriction, client) F(plan_ip_restriction, deny_off) F(plan_ip_restriction, deny_count) \
    F(plan_ip_restriction, allow_off) F(plan_ip_restriction, allow_count) \
    S(plan_cors_origin) F(plan_cors_origin, off) F(plan_cors_origin, len) F(plan_cors_origin, headers) \
    S(plan_cors) F(plan_cors, origins_off) F(plan_cors, origins_count) F(plan_cors, otherwise) F(plan_cors, preflight_off) \
    F(plan_cors, preflight_len) F(plan_cors, vary_last) F(plan_cors, reflects) F(plan_cors, reserved0) F(plan_cors, reserved1) \
    F(plan_cors, reserved2) \
    S(plan_body_limit) F(plan_body_limit, bytes_max) \
    S(plan_allowed) F(plan_allowed, entry) F(plan_allowed, off) F(plan_allowed, len) \
    S(plan_method_not_allowed) F(plan_method_not_allowed, rows_off) F(plan_method_not_allowed, rows_count) \
    S(plan_early_data) F(plan_early_data, refuse) F(plan_early_data, reserved) \
    S(plan_text) F(plan_text, off) F(plan_text, len) \
    S(plan_key) F(plan_key, kind) F(plan_key, reserved) F(plan_key, name_len) F(plan_key, name_off) F(plan_key, client) \
    S(plan_rate_limit) F(plan_rate_limit, key) F(plan_rate_limit, interval_us) F(plan_rate_limit, burst) F(plan_rate_limit, keys_max) \
    F(plan_rate_limit, flags) F(plan_rate_limit, policy_off) F(plan_rate_limit, policy_len) F(plan_rate_limit, name_off) \
    F(plan_rate_limit, name_len) F(plan_rate_limit, reserved) \
    S(plan_concurrency_limit) F(plan_concurrency_limit, key) F(plan_concurrency_limit, max) F(plan_concurrency_limit, keys_max) \
    S(plan_timeout) F(plan_timeout, ms) F(plan_timeout, reserved) \
    S(plan_user) F(plan_user, name) F(plan_user, password) \
    S(plan_basic_auth) F(plan_basic_auth, users_off) F(plan_basic_auth, user_count) \
    S(plan_bearer_auth) F(plan_bearer_auth, name) F(plan_bearer_auth, prefix) F(plan_bearer_auth, tokens_off) F(plan_bearer_auth, token_count) \
    F(plan_bearer_auth, missing) F(plan_bearer_auth, malformed) \
    S(plan_canary) F(plan_canary, header) F(plan_canary, header_value) F(plan_canary, cookie) F(plan_canary, cookie_value) F(plan_canary, sticky) \
    F(plan_canary, client) F(plan_canary, shares) F(plan_canary, flags)
// clang-format on

#endif
