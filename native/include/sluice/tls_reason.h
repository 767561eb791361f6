// Why a TLS handshake failed, in one word and one sentence: the word is the counter's name in stats(), the sentence is in the log. Nothing in either comes
// from the client. X(NAME, label, sentence). Append only; OTHER's sentence is BoringSSL's.
#ifndef SLUICE_TLS_REASON_H
#define SLUICE_TLS_REASON_H

// clang-format off
#define SL_TLS_REASON_MAP(X) \
    X(OTHER, "other", "unknown TLS error") \
    X(SILENT, "silent", "the client left without a byte") \
    X(LEFT, "left", "the client left during the handshake") \
    X(CLOSED, "closed", "the client closed the connection during the handshake") \
    X(TIMEOUT, "timeout", "the handshake took longer than limits.headTimeoutMs") \
    X(PLAIN_TEXT, "plain_text", "the client spoke plain text (HTTP?) on a TLS port") \
    X(PLAIN_HTTP, "plain_http", "the client spoke plain HTTP on a TLS port") \
    X(PLAIN_CONNECT, "plain_connect", "the client spoke plain HTTP (CONNECT) on a TLS port") \
    X(NO_TLS, "no_tls", "the client's bytes are not TLS") \
    X(VERSION, "version", "the client offers no TLS version above 1.1") \
    X(VERSION_POLICY, "version_policy", "the client offers no TLS 1.3, which the policy of this name asks for") \
    X(FALLBACK, "fallback", "the client fell back to an older TLS version than both sides know") \
    X(CIPHER, "cipher", "no cipher in common with the client") \
    X(GROUP, "group", "no key exchange group in common with the client") \
    X(SIGNATURE, "signature", "the client accepts no signature that this key can make") \
    X(CERTIFICATE_TYPE, "certificate_type", "the client accepts no certificate of this type") \
    X(ALPN, "alpn", "the client's ALPN offers no http/1.1") \
    X(CLIENT_CERTIFICATE_MISSING, "client_certificate_missing", "the client showed no certificate, which the policy of this name asks for") \
    X(CLIENT_CERTIFICATE, "client_certificate", "the client's certificate was refused") \
    X(CLIENT_SIGNATURE, "client_signature", "the client does not have its certificate's key") \
    X(RECORD_CHANGED, "record_changed", "a record was changed on its way") \
    X(RECORD_SHORT, "record_short", "a record is too short to be a sealed one") \
    X(RENEGOTIATION, "renegotiation", "the client asked for renegotiation") \
    X(KEY_UPDATES, "key_updates", "the client sent too many KeyUpdate messages") \
    X(EMPTY_RECORDS, "empty_records", "the client sent too many empty records") \
    X(WARNINGS, "warnings", "the client sent too many warning alerts") \
    X(ALERT_HANDSHAKE_FAILURE, "alert_handshake_failure", "the client sent the alert handshake_failure") \
    X(ALERT_BAD_CERTIFICATE, "alert_bad_certificate", "the client refused the certificate (alert bad_certificate)") \
    X(ALERT_UNSUPPORTED_CERTIFICATE, "alert_unsupported_certificate", "the client refused the certificate (alert unsupported_certificate)") \
    X(ALERT_CERTIFICATE_REVOKED, "alert_certificate_revoked", "the client refused the certificate (alert certificate_revoked)") \
    X(ALERT_CERTIFICATE_EXPIRED, "alert_certificate_expired", "the client refused the certificate (alert certificate_expired)") \
    X(ALERT_CERTIFICATE_UNKNOWN, "alert_certificate_unknown", "the client refused the certificate (alert certificate_unknown)") \
    X(ALERT_UNKNOWN_CA, "alert_unknown_ca", "the client does not know the certificate's issuer (alert unknown_ca)") \
    X(ALERT_PROTOCOL_VERSION, "alert_protocol_version", "the client sent the alert protocol_version") \
    X(ALERT_USER_CANCELLED, "alert_user_cancelled", "the client cancelled the handshake") \
    X(HELLO_REFUSED, "client_hello_refused", "onClientHello refused the client")
// clang-format on

enum sl_tls_reason {
#define SL_TLS_REASON_ENUM(name, label, text) SL_TLS_##name,
    SL_TLS_REASON_MAP(SL_TLS_REASON_ENUM)
#undef SL_TLS_REASON_ENUM
    SL_TLS_REASON_COUNT,
};
#define SL_TLS_REASON_SLOTS 48u // of by_tls_reason
_Static_assert(SL_TLS_REASON_COUNT <= SL_TLS_REASON_SLOTS, "more slots");

#endif
