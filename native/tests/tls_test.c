// What the TLS engine does, judged by BoringSSL's client (tls_pair.h). Session tickets have a file of their own: ticket_test.c.
#include <pthread.h>

#include "tls_pair.h"

// ---- handshakes ----

TEST(handshake_tls13) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){0}));
    CHECK_INT(sl_tls_state(pair.tls), SL_TLS_HANDSHAKE);
    pump(&pair);
    check_open(&pair, TLS1_3_VERSION);
    CHECK_INT(SSL_get_group_id(pair.client), SSL_GROUP_X25519_MLKEM768);
    pair_close(&pair);
}

TEST(handshake_tls12_has_an_aead_and_no_ticket) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){.client_max = TLS1_2_VERSION}));
    pump(&pair);
    check_open(&pair, TLS1_2_VERSION);
    CHECK(SSL_CIPHER_is_aead(SSL_get_current_cipher(pair.client)));
    CHECK_INT(SSL_SESSION_has_ticket(SSL_get_session(pair.client)), 0);
    unsigned id_len;
    SSL_SESSION_get_id(SSL_get_session(pair.client), &id_len);
    CHECK_INT(id_len, 0); // no session cache either
    pair_close(&pair);
}

TEST(handshake_in_every_group) {
    static const uint16_t groups[] = {SSL_GROUP_X25519_MLKEM768, SSL_GROUP_X25519,
                                      SSL_GROUP_SECP256R1, SSL_GROUP_SECP384R1};
    for (size_t i = 0; i < SL_COUNT_OF(groups); i++) {
        struct pair pair;
        REQUIRE(pair_open(&pair, &(struct options){0}));
        SSL_set1_group_ids(pair.client, &groups[i], 1);
        pump(&pair);
        check_open(&pair, TLS1_3_VERSION);
        CHECK_INT(SSL_get_group_id(pair.client), groups[i]);
        pair_close(&pair);
    }
}

TEST(handshake_with_a_retry_request) {
    static const uint16_t groups[] = {SSL_GROUP_SECP521R1, SSL_GROUP_SECP384R1};
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){.piece = 7}));
    SSL_set1_group_ids(pair.client, groups, 2); // its key share is for P-521, which we do not have
    pump(&pair);
    check_open(&pair, TLS1_3_VERSION);
    CHECK(SSL_used_hello_retry_request(pair.client));
    pair_close(&pair);
}

// Runs a handshake that must fail; returns the reason of the client's error.
static int refused(struct pair *pair, const char *text) {
    ERR_clear_error();
    pump(pair);
    CHECK_INT(pair->server_status, SL_E_TLS_HANDSHAKE);
    CHECK_INT(sl_tls_state(pair->tls), SL_TLS_FAILED);
    CHECK_STR(sl_tls_error(pair->tls), text);
    CHECK_INT(server_write(pair, "x"), SL_E_TLS_HANDSHAKE);
    CHECK_INT(sl_tls_eof(pair->tls), SL_E_TLS_HANDSHAKE);
    sl_tls_close_notify(pair->tls); // harmless
    return ERR_GET_REASON(ERR_peek_error());
}

TEST(handshake_refuses_tls11_with_an_alert) {
    struct pair pair;
    struct options options = {.client_min = TLS1_VERSION, .client_max = TLS1_1_VERSION};
    REQUIRE(pair_open(&pair, &options));
    CHECK_INT(refused(&pair, "the client offers no TLS version above 1.1"),
              SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
    pair_close(&pair);
}

TEST(handshake_refuses_cbc_ciphers) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){.client_max = TLS1_2_VERSION}));
    SSL_set_cipher_list(pair.client, "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:AES128-SHA");
    CHECK_INT(refused(&pair, "no cipher in common with the client"),
              SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
    pair_close(&pair);
}

TEST(alpn_selects_http1) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){.alpn = "\x02h2\x08http/1.1"}));
    pump(&pair);
    struct sl_tls_info info;
    sl_tls_info(pair.tls, &info);
    CHECK_STR(info.alpn, "http/1.1");
    const uint8_t *alpn;
    unsigned alpn_len;
    SSL_get0_alpn_selected(pair.client, &alpn, &alpn_len);
    CHECK(alpn_len == 8 && memcmp(alpn, "http/1.1", 8) == 0);
    pair_close(&pair);
}

TEST(alpn_may_be_absent) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){0}));
    pump(&pair);
    struct sl_tls_info info;
    sl_tls_info(pair.tls, &info);
    CHECK_STR(info.alpn, "");
    check_open(&pair, TLS1_3_VERSION);
    pair_close(&pair);
}

TEST(alpn_mismatch_is_refused_with_its_alert) {
    static const char *lists[] = {"\x02h2", "\x08http/1.0", "\x07http/1.", "\x09http/1.1x"};
    for (size_t i = 0; i < SL_COUNT_OF(lists); i++) {
        struct pair pair;
        REQUIRE(pair_open(&pair, &(struct options){.alpn = lists[i]}));
        CHECK_INT(refused(&pair, "the client's ALPN offers no http/1.1"),
                  SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
        pair_close(&pair);
    }
}

// Bytes that are no TLS, in pieces of every size.
static void check_not_tls(const char *bytes, size_t len, const char *text) {
    for (uint32_t piece = 0; piece < 7; piece++) {
        struct pair pair;
        REQUIRE(pair_open(&pair, &(struct options){.piece = piece}));
        bytes_add(&pair.to_server, bytes, len);
        while (pair.to_server.len > 0 && sl_tls_state(pair.tls) == SL_TLS_HANDSHAKE) {
            server_turn(&pair);
        }
        CHECK_INT(pair.server_status, SL_E_TLS_HANDSHAKE);
        CHECK_STR(sl_tls_error(pair.tls), text);
        CHECK(sl_tls_hungry(pair.tls)); // the owner gets its bytes back
        CHECK_INT(sl_tls_read(pair.tls, (uint8_t[1]){0}, 1), SL_E_TLS_HANDSHAKE);
        pair_close(&pair);
    }
}

TEST(plain_http_is_named) {
    const char *text = "the client spoke plain HTTP on a TLS port";
    check_not_tls("GET / HTTP/1.1\r\n\r\n", 18, text);
    check_not_tls("POST /a HTTP/1.1\r\n", 18, text);
    check_not_tls("CONNECT a:1 HTTP/1.1\r\n", 22,
                  "the client spoke plain HTTP (CONNECT) on a TLS port");
    text = "the client spoke plain text (HTTP?) on a TLS port";
    check_not_tls("DELETE / HTTP/1.1\r\n", 19, text);
    check_not_tls("PRI * HTTP/2.0\r\n\r\n", 18, text);
}

TEST(garbage_is_refused) {
    check_not_tls("\x00\x01\x02\x03\x04\x05\x06\x07", 8, "the client's bytes are not TLS");
    check_not_tls("\x16\x02\x01\x00\x05hello", 10, "the client's bytes are not TLS");
    check_not_tls("\x16\x03\x01\xff\xffhello", 10, "ENCRYPTED_LENGTH_TOO_LONG");
    check_not_tls("\x17\x03\x03\x00\x01h", 6, "UNEXPECTED_RECORD");
    check_not_tls("\x15\x03\x01\x00\x02\x02\x2a", 7,
                  "the client refused the certificate (alert bad_certificate)");
    check_not_tls("\x15\x03\x01\x00\x02\x01\x00", 7,
                  "the client closed the connection during the handshake");
}

TEST(a_client_that_distrusts_the_certificate_is_named) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){0}));
    SSL_set_verify(pair.client, SSL_VERIFY_PEER, NULL);
    CHECK_INT(
        refused(&pair, "the client does not know the certificate's issuer (alert unknown_ca)"),
        SSL_R_CERTIFICATE_VERIFY_FAILED);
    pair_close(&pair);
}

// As OpenSSL's clients send it: in the clear, though the server's flight has been answered by sealed records from here on.
TEST(an_alert_in_the_clear_is_named) {
    static const struct {
        const char *record;
        const char *text;
    } rows[] = {
        {"\x15\x03\x03\x00\x02\x02\x30",
         "the client does not know the certificate's issuer (alert unknown_ca)"},
        {"\x15\x03\x03\x00\x02\x02\x2e",
         "the client refused the certificate (alert certificate_unknown)"},
        {"\x15\x03\x03\x00\x02\x02\xff", "a record is too short to be a sealed one"},
        {"\x17\x03\x03\x00\x02\x02\x30", "a record is too short to be a sealed one"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct pair pair;
        REQUIRE(pair_open(&pair, &(struct options){0}));
        client_turn(&pair);
        server_turn(&pair);
        CHECK_INT(pair.to_server.len, 0);
        bytes_add(&pair.to_server, rows[i].record, 7);
        server_turn(&pair);
        CHECK_INT(pair.server_status, SL_E_TLS_HANDSHAKE);
        CHECK_STR(sl_tls_error(pair.tls), rows[i].text);
        pair_close(&pair);
    }
}

TEST(the_client_orders_the_tls12_ciphers) {
    static const char *const orders[] = {
        "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"};
    static const uint16_t ciphers[] = {0xcca9, 0xc02b, 0xc02c};
    for (size_t i = 0; i < SL_COUNT_OF(orders); i++) {
        struct pair pair;
        REQUIRE(pair_open(&pair, &(struct options){.client_max = TLS1_2_VERSION}));
        SSL_set_strict_cipher_list(pair.client, orders[i]);
        pump(&pair);
        struct sl_tls_info info;
        sl_tls_info(pair.tls, &info);
        CHECK_INT(info.cipher, ciphers[i]);
        pair_close(&pair);
    }
}

// ---- data ----

static void exchange(const struct options *options, size_t len) {
    struct pair pair;
    uint8_t *data = malloc(len + 1);
    fill(data, len);
    REQUIRE(pair_open(&pair, options));
    pump(&pair);
    check_open(&pair, options->client_max ? options->client_max : TLS1_3_VERSION);
    client_send(&pair, data, len);
    check_bytes(&pair.at_server, data, len);
    server_send(&pair, data, len);
    check_bytes(&pair.at_client, data, len);
    CHECK_INT(pair.client_error, 0);
    CHECK_INT(pair.server_status, 0);
    pair_close(&pair);
    free(data);
}

TEST(data_both_ways_in_every_piece_size) {
    static const uint32_t pieces[] = {0, 1, 5, UINT32_MAX};
    static const size_t sizes[] = {0, 1, 2, 100, 4096, 16383, 16384, 16385, 40000, 102400};
    for (size_t p = 0; p < SL_COUNT_OF(pieces); p++) {
        for (size_t i = 0; i < SL_COUNT_OF(sizes); i++) {
            exchange(&(struct options){.piece = pieces[p]}, sizes[i]);
            exchange(&(struct options){.piece = pieces[p], .client_max = TLS1_2_VERSION}, sizes[i]);
        }
    }
}

TEST(data_through_small_buffers) {
    static const uint32_t out_caps[] = {1, 23, 64, 100, 1000, 4096, 16384, 20480};
    for (size_t i = 0; i < SL_COUNT_OF(out_caps); i++) {
        // A record's frame alone is 22 bytes (TLS 1.3) or 29: smaller buffers carry handshakes but no data.
        size_t len = out_caps[i] > 29 ? 3000 : 0;
        struct options options = {.out_cap = out_caps[i], .read_cap = 1 + (uint32_t)i * 37};
        exchange(&options, len);
        options.client_max = TLS1_2_VERSION;
        options.piece = UINT32_MAX;
        exchange(&options, len);
    }
}

TEST(data_with_an_rsa_key) {
    EVP_PKEY *key = rsa_key();
    X509 *x509 = x509_for(key);
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(cert_bio, x509);
    PEM_write_bio_RSAPrivateKey(key_bio, EVP_PKEY_get0_RSA(key), NULL, NULL, 0, NULL, NULL);
    struct sl_tls_certificate *certificate;
    CHECK_INT(sl_tls_certificate_new(&certificate, span_of_bio(cert_bio), span_of_bio(key_bio)),
              SL_OK);
    exchange(&(struct options){.certificate = certificate}, 5000);
    exchange(&(struct options){.certificate = certificate, .client_max = TLS1_2_VERSION}, 5000);
    sl_tls_certificate_free(certificate);
    BIO_free(cert_bio);
    BIO_free(key_bio);
    X509_free(x509);
}

TEST(without_an_out_buffer_the_engine_waits) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){0}));
    client_turn(&pair);
    server_feed(&pair);
    CHECK_INT(sl_tls_read(pair.tls, (uint8_t[64]){0}, 64), 0);
    CHECK(sl_tls_wants_out(pair.tls));
    CHECK_INT(sl_tls_out_bytes(pair.tls), 0);
    server_out_give(&pair);
    CHECK(!sl_tls_wants_out(pair.tls));
    pump(&pair);
    check_open(&pair, TLS1_3_VERSION);
    pair_close(&pair);
}

// Whole records in `bytes`; -1 if the last one is cut.
static int count_records(const struct bytes *bytes) {
    size_t off = 0;
    int count = 0;
    while (off + 5 <= bytes->len) {
        off += 5u +
               (size_t)(bytes->data[bytes->off + off + 3] << 8 | bytes->data[bytes->off + off + 4]);
        count++;
    }
    return off == bytes->len ? count : -1;
}

TEST(write_packs_small_pieces_into_one_record) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){0}));
    pump(&pair);
    struct iovec iov[] = {{NULL, 0},       iov_of("head"), iov_of(""),
                          iov_of(" and "), iov_of("body"), {NULL, 0}};
    server_out_give(&pair);
    CHECK_INT(sl_tls_write(pair.tls, iov, 6), 13);
    CHECK(!sl_tls_wants_out(pair.tls));
    CHECK_INT(sl_tls_write(pair.tls, iov, 0), 0);
    CHECK_INT(sl_tls_write(pair.tls, iov, 1), 0);
    server_out_send(&pair);
    CHECK_INT(count_records(&pair.to_client), 1);
    pump(&pair);
    check_bytes(&pair.at_client, (const uint8_t *)"head and body", 13);
    pair_close(&pair);
}

TEST(write_takes_whole_records_and_says_when_it_is_full) {
    static uint8_t data[100000];
    struct pair pair;
    fill(data, sizeof(data));
    REQUIRE(pair_open(&pair, &(struct options){0}));
    pump(&pair);
    server_out_give(&pair);
    struct iovec iov[] = {{data, 10}, {data + 10, sizeof(data) - 10}};
    int64_t n = sl_tls_write(pair.tls, iov, 2);
    CHECK_INT(n, 32768 - 2 * 22); // two records fill the buffer to its last byte
    CHECK_INT(sl_tls_out_bytes(pair.tls), 32768);
    CHECK(sl_tls_wants_out(pair.tls));
    struct iovec rest = {data + n, sizeof(data) - (size_t)n};
    CHECK_INT(sl_tls_write(pair.tls, &rest, 1), 0);
    server_out_send(&pair);
    CHECK_INT(count_records(&pair.to_client), 2);
    CHECK_INT(sl_tls_write(pair.tls, &rest, 1), 0); // no buffer at all
    CHECK(sl_tls_wants_out(pair.tls));
    // What was refused is not remembered: other bytes may come instead.
    server_out_give(&pair);
    CHECK_INT(server_write(&pair, "other"), 5);
    server_out_send(&pair);
    pump(&pair);
    CHECK_INT(pair.at_client.len, n + 5);
    CHECK(memcmp(pair.at_client.data, data, (size_t)n) == 0);
    CHECK(memcmp(pair.at_client.data + n, "other", 5) == 0);
    pair_close(&pair);
}

TEST(write_before_the_handshake_takes_nothing) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){0}));
    server_out_give(&pair);
    CHECK_INT(server_write(&pair, "x"), 0);
    CHECK_INT(sl_tls_out_bytes(pair.tls), 0);
    pump(&pair);
    check_open(&pair, TLS1_3_VERSION);
    pair_close(&pair);
}

TEST(key_update_is_answered_with_the_next_write) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){.piece = 3}));
    pump(&pair);
    for (int i = 0; i < 40; i++) {
        CHECK(SSL_key_update(pair.client, SSL_KEY_UPDATE_REQUESTED));
        client_send(&pair, (const uint8_t *)"ping", 4);
        check_bytes(&pair.at_server, (const uint8_t *)"ping", 4);
        server_send(&pair, (const uint8_t *)"pong", 4);
        check_bytes(&pair.at_client, (const uint8_t *)"pong", 4);
    }
    pair_close(&pair);
}

TEST(key_update_flood_ends_the_connection) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){0}));
    pump(&pair);
    for (int i = 0; i < 40; i++) {
        CHECK(SSL_key_update(pair.client, SSL_KEY_UPDATE_NOT_REQUESTED));
        SSL_write(pair.client, "", 0);
    }
    pump(&pair);
    CHECK_INT(pair.server_status, SL_E_TLS_FAILED);
    CHECK_STR(sl_tls_error(pair.tls), "the client sent too many KeyUpdate messages");
    pair_close(&pair);
}

// ---- ends ----

TEST(close_notify_from_the_client_ends_reading_only) {
    for (int v = 0; v < 2; v++) {
        struct pair pair;
        REQUIRE(pair_open(&pair, &(struct options){.client_max = v ? TLS1_2_VERSION : 0}));
        pump(&pair);
        SSL_write(pair.client, "last", 4);
        CHECK_INT(SSL_shutdown(pair.client), 0);
        pump(&pair);
        check_bytes(&pair.at_server, (const uint8_t *)"last", 4); // before the end is told
        CHECK_INT(pair.server_status, SL_E_CLIENT_CLOSED);
        CHECK_INT(sl_tls_state(pair.tls), SL_TLS_ENDED);
        CHECK_INT(sl_tls_eof(pair.tls), SL_E_CLIENT_CLOSED);
        server_send(&pair, (const uint8_t *)"answer", 6);
        check_bytes(&pair.at_client, (const uint8_t *)"answer", 6);
        sl_tls_feed(pair.tls, (const uint8_t *)"late", 4); // ignored, and given back
        CHECK_INT(sl_tls_read(pair.tls, (uint8_t[4]){0}, 4), SL_E_CLIENT_CLOSED);
        CHECK(sl_tls_hungry(pair.tls));
        pair_close(&pair);
    }
}

TEST(close_notify_to_the_client) {
    for (int v = 0; v < 2; v++) {
        struct pair pair;
        REQUIRE(pair_open(&pair, &(struct options){.client_max = v ? TLS1_2_VERSION : 0}));
        pump(&pair);
        server_out_give(&pair);
        sl_tls_close_notify(pair.tls);
        uint32_t bytes = sl_tls_out_bytes(pair.tls);
        CHECK(bytes > 0);
        sl_tls_close_notify(pair.tls);
        CHECK_INT(sl_tls_out_bytes(pair.tls), bytes); // once
        CHECK_INT(server_write(&pair, "x"), SL_E_STATE);
        server_out_send(&pair);
        SSL_write(pair.client, "more", 4);
        pump(&pair);
        CHECK_INT(pair.client_error, SSL_ERROR_ZERO_RETURN);
        check_bytes(&pair.at_server, (const uint8_t *)"more", 4); // reading goes on
        pair_close(&pair);
    }
}

TEST(close_notify_without_a_buffer_goes_into_the_next) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){.out_cap = 10}));
    pump(&pair);
    server_out_send(&pair);
    free(pair.out);
    pair.out = NULL;
    sl_tls_out_take(pair.tls);
    sl_tls_close_notify(pair.tls);
    CHECK(sl_tls_wants_out(pair.tls));
    for (int i = 0; i < 3; i++) { // 24 bytes through a buffer of 10
        CHECK(sl_tls_wants_out(pair.tls));
        server_out_give(&pair);
        server_out_send(&pair);
    }
    CHECK(!sl_tls_wants_out(pair.tls));
    pump(&pair);
    CHECK_INT(pair.client_error, SSL_ERROR_ZERO_RETURN);
    pair_close(&pair);
}

TEST(truncation_is_told_apart_from_an_end) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){0}));
    CHECK_INT(sl_tls_eof(pair.tls), SL_E_TLS_HANDSHAKE);
    CHECK_STR(sl_tls_error(pair.tls), "the client left without a byte");
    pair_close(&pair);

    REQUIRE(pair_open(&pair, &(struct options){.piece = 100}));
    client_turn(&pair);
    server_turn(&pair);
    CHECK_INT(sl_tls_eof(pair.tls), SL_E_TLS_HANDSHAKE);
    CHECK_STR(sl_tls_error(pair.tls), "the client left during the handshake");
    pair_close(&pair);

    REQUIRE(pair_open(&pair, &(struct options){0}));
    pump(&pair);
    CHECK_INT(sl_tls_eof(pair.tls), SL_E_TLS_TRUNCATED);
    CHECK_INT(sl_tls_state(pair.tls), SL_TLS_FAILED);
    CHECK_INT(sl_tls_read(pair.tls, (uint8_t[1]){0}, 1), SL_E_TLS_TRUNCATED);
    pair_close(&pair);
}

// Two records reach the engine together, the second one with a flipped bit.
static void send_good_and_bad(struct pair *pair) {
    SSL_write(pair->client, "good", 4);
    SSL_write(pair->client, "bad", 3);
    struct sl_span sent = span_of_bio(pair->client_out);
    bytes_add(&pair->to_server, sent.data, sent.len);
    BIO_reset(pair->client_out);
    pair->to_server.data[pair->to_server.off + pair->to_server.len - 1] ^= 1;
}

TEST(a_changed_record_fails_after_what_was_good) {
    for (int v = 0; v < 2; v++) {
        struct pair pair;
        REQUIRE(pair_open(&pair, &(struct options){.client_max = v ? TLS1_2_VERSION : 0}));
        pump(&pair);
        send_good_and_bad(&pair);
        server_turn(&pair);
        check_bytes(&pair.at_server, (const uint8_t *)"good", 4);
        CHECK_INT(pair.server_status, SL_E_TLS_FAILED);
        CHECK_STR(sl_tls_error(pair.tls), "a record was changed on its way");
        ERR_clear_error();
        pump(&pair); // the alert arrives
        CHECK_INT(pair.client_error, SSL_ERROR_SSL);
        CHECK_INT(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
        pair_close(&pair);
    }
}

TEST(an_alert_survives_a_missing_out_buffer) {
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){0}));
    pump(&pair);
    if (pair.out) {
        sl_tls_out_take(pair.tls);
        free(pair.out);
        pair.out = NULL;
    }
    send_good_and_bad(&pair);
    server_feed(&pair);
    CHECK(server_read(&pair));
    CHECK_INT(pair.server_status, SL_E_TLS_FAILED);
    CHECK(sl_tls_wants_out(pair.tls));
    server_out_give(&pair);
    server_out_send(&pair);
    ERR_clear_error();
    client_turn(&pair);
    CHECK_INT(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    pair_close(&pair);
}

// One connection's failure stays out of another's: both use this thread's error queue.
TEST(errors_do_not_leak_between_connections) {
    struct pair bad, good;
    REQUIRE(pair_open(&bad, &(struct options){0}));
    REQUIRE(pair_open(&good, &(struct options){0}));
    pump(&good);
    pump(&bad);
    send_good_and_bad(&bad);
    server_turn(&bad);
    ERR_put_error(ERR_LIB_SSL, 0, SSL_R_BAD_ALERT, __FILE__, __LINE__);
    CHECK_INT(sl_tls_read(good.tls, (uint8_t[1]){0}, 1), 0);
    ERR_put_error(ERR_LIB_SSL, 0, SSL_R_BAD_ALERT, __FILE__, __LINE__);
    server_send(&good, (const uint8_t *)"fine", 4);
    check_bytes(&good.at_client, (const uint8_t *)"fine", 4);
    CHECK_INT(sl_tls_state(good.tls), SL_TLS_OPEN);
    pair_close(&bad);
    pair_close(&good);
}

// ---- certificates ----

static void check_certificate(struct sl_span cert, struct sl_span key, const char *text) {
    struct sl_tls_certificate *certificate;
    int status = sl_tls_certificate_new(&certificate, cert, key);
    CHECK_INT(status, SL_E_TLS_CONFIG);
    CHECK(status == SL_OK || certificate == NULL);
    CHECK_STR(sl_fail_text(), text);
    sl_tls_certificate_free(certificate);
}

TEST(certificate_errors_say_which) {
    const struct local_pem *pem = shared_pem();
    struct sl_span none = sl_span_of("hello"), empty = sl_span_of("");
    struct sl_span torn = {pem->cert.data, pem->cert.len - 30};
    check_certificate(none, pem->key, "no PEM certificate found in cert (5 bytes)");
    check_certificate(empty, pem->key, "no PEM certificate found in cert (0 bytes): it is empty");
    check_certificate(pem->cert, none, "no PEM private key found in key (5 bytes)");
    check_certificate(sl_span_of("0\x82"), pem->key,
                      "no PEM certificate found in cert (2 bytes): it looks like DER (openssl x509 "
                      "-inform DER -in FILE)");
    check_certificate(torn, pem->key,
                      "PEM block after certificate 0 in cert is damaged (base64 or its END line)");
    check_certificate(sl_span_of("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
                      pem->key, "certificate 1 in cert is not a valid X.509 certificate");
    check_certificate(pem->cert,
                      sl_span_of("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
                      "the key (PEM \"PRIVATE KEY\") cannot be read: its type is not supported or "
                      "its bytes are damaged (RSA, ECDSA P-256/P-384/P-521 and Ed25519 are)");
    char text[128];
    snprintf(text, sizeof(text),
             "no PEM certificate found in cert (%zu bytes): are certificate and key swapped?",
             pem->key.len);
    check_certificate(pem->key, pem->cert, text);
}

TEST(certificate_and_key_must_match) {
    EVP_PKEY *key = rsa_key();
    X509 *x509 = x509_for(key);
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(cert_bio, x509);
    PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);
    const struct local_pem *pem = shared_pem();
    check_certificate(pem->cert, span_of_bio(key_bio),
                      "the key does not match the certificate (certificate: ECDSA P-256, key: RSA "
                      "2048)");
    check_certificate(span_of_bio(cert_bio), pem->key,
                      "the key does not match the certificate (certificate: RSA 2048, key: ECDSA "
                      "P-256)");
    struct local_pem other;
    local_pem_make(&other);
    check_certificate(pem->cert, other.key,
                      "the key does not match the certificate (certificate: ECDSA P-256, key: "
                      "ECDSA P-256)");
    BIO_write(cert_bio, pem->cert.data, (int)pem->cert.len);
    check_certificate(span_of_bio(cert_bio), pem->key,
                      "the key matches certificate 2 in cert, not the first: the server's own must "
                      "come first");
    BIO_free(cert_bio);
    BIO_free(key_bio);
    X509_free(x509);
}

TEST(certificate_key_must_not_be_encrypted) {
    EVP_PKEY *key = rsa_key();
    const struct local_pem *pem = shared_pem();
    const char *text = "the key is encrypted: give it without a passphrase (openssl pkey -in FILE "
                       "-out PLAIN)";
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
    check_certificate(pem->cert, span_of_bio(bio), text);
    BIO_reset(bio);
    PEM_write_bio_RSAPrivateKey(bio, EVP_PKEY_get0_RSA(key), EVP_aes_128_cbc(),
                                (const uint8_t *)"secret", 6, NULL, NULL);
    check_certificate(pem->cert, span_of_bio(bio), text);
    BIO_free(bio);
}

TEST(certificate_and_key_may_share_a_file) {
    const struct local_pem *pem = shared_pem();
    struct bytes both = {0};
    bytes_add(&both, "a comment\n", 10);
    bytes_add(&both, pem->key.data, pem->key.len);
    bytes_add(&both, pem->cert.data, pem->cert.len);
    struct sl_span span = {both.data, both.len};
    struct sl_tls_certificate *certificate;
    CHECK_INT(sl_tls_certificate_new(&certificate, span, span), SL_OK);
    sl_tls_certificate_free(certificate);
    free(both.data);
}

TEST(certificate_chain_is_sent_in_order) {
    const struct local_pem *pem = shared_pem();
    struct local_pem second, third;
    local_pem_make(&second);
    local_pem_make(&third);
    struct bytes chain = {0};
    bytes_add(&chain, pem->cert.data, pem->cert.len);
    bytes_add(&chain, second.cert.data, second.cert.len);
    bytes_add(&chain, third.cert.data, third.cert.len);
    struct sl_tls_certificate *certificate;
    CHECK_INT(
        sl_tls_certificate_new(&certificate, (struct sl_span){chain.data, chain.len}, pem->key),
        SL_OK);
    struct pair pair;
    REQUIRE(pair_open(&pair, &(struct options){.certificate = certificate}));
    pump(&pair);
    const STACK_OF(CRYPTO_BUFFER) *got = SSL_get0_peer_certificates(pair.client);
    CHECK_INT(sk_CRYPTO_BUFFER_num(got), 3);
    const struct local_pem *expected[] = {pem, &second, &third};
    for (size_t i = 0; i < sk_CRYPTO_BUFFER_num(got) && i < 3; i++) {
        BIO *bio = BIO_new_mem_buf(expected[i]->cert.data, (ossl_ssize_t)expected[i]->cert.len);
        X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        uint8_t *der = NULL;
        int len = i2d_X509(x509, &der);
        const CRYPTO_BUFFER *buffer = sk_CRYPTO_BUFFER_value(got, i);
        CHECK_INT(CRYPTO_BUFFER_len(buffer), len);
        CHECK(memcmp(CRYPTO_BUFFER_data(buffer), der, (size_t)len) == 0);
        OPENSSL_free(der);
        X509_free(x509);
        BIO_free(bio);
    }
    pair_close(&pair);
    sl_tls_certificate_free(certificate);
    free(chain.data);
}

static void trust(SSL *client, struct sl_span cert_pem) {
    BIO *bio = BIO_new_mem_buf(cert_pem.data, (ossl_ssize_t)cert_pem.len);
    X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, x509);
    SSL_set0_verify_cert_store(client, store);
    SSL_set_verify(client, SSL_VERIFY_PEER, NULL);
    X509_free(x509);
    BIO_free(bio);
}

TEST(the_local_certificate_serves_its_three_names_and_no_other) {
    static const struct {
        const char *host, *ip;
        bool fine;
    } rows[] = {
        {"localhost", NULL, true},    {NULL, "127.0.0.1", true},  {NULL, "::1", true},
        {"example.com", NULL, false}, {NULL, "127.0.0.2", false},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct pair pair;
        REQUIRE(pair_open(&pair, &(struct options){0}));
        trust(pair.client, shared_pem()->cert);
        X509_VERIFY_PARAM *param = SSL_get0_param(pair.client);
        CHECK(rows[i].host ? X509_VERIFY_PARAM_set1_host(param, rows[i].host, strlen(rows[i].host))
                           : X509_VERIFY_PARAM_set1_ip_asc(param, rows[i].ip));
        pump(&pair);
        CHECK_INT(sl_tls_state(pair.tls) == SL_TLS_OPEN, rows[i].fine);
        CHECK_INT(SSL_get_verify_result(pair.client) == X509_V_OK, rows[i].fine);
        pair_close(&pair);
    }
}

TEST(the_local_certificate_needs_room_and_differs_each_time) {
    uint8_t out[8];
    CHECK_INT(sl_tls_certificate_make(out, sizeof(out), 1800000000), SL_E_INVALID);
    struct local_pem a, b;
    local_pem_make(&a);
    local_pem_make(&b);
    CHECK(a.key.len != b.key.len || memcmp(a.key.data, b.key.data, a.key.len) != 0);
}

// ---- several certificates ----

// The serial number of the certificate that a client gets; 0: the handshake failed.
static uint64_t serial_for(struct sl_tls_sni *sni, const char *server_name, const uint16_t *algorithms, uint16_t version) {
    struct pair pair;
    uint64_t serial = 0;
    if (!pair_open(&pair, &(struct options){.sni = sni, .server_name = server_name, .algorithms = algorithms, .client_max = version})) {
        return 0;
    }
    pump(&pair);
    X509 *x509 = SSL_get_peer_certificate(pair.client);
    if (x509 && sl_tls_state(pair.tls) == SL_TLS_OPEN) {
        ASN1_INTEGER_get_uint64(&serial, X509_get0_serialNumber(x509));
    }
    X509_free(x509);
    pair_close(&pair);
    return serial;
}

TEST(the_server_name_chooses_the_certificate_and_the_client_the_key_type) {
    static const uint16_t rsa_only[] = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256, 0};
    static const uint16_t ecdsa_only[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256, 0};
    static const struct {
        const char *name;
        uint64_t any, rsa, ecdsa; // serials
    } rows[] = {
        {"a.example", 2, 1, 2},      // RSA is listed first, ECDSA is taken where it can be
        {"A.Example", 2, 1, 2},
        {"b.example", 3, 0, 3},      // no RSA for it
        {"x.w.example", 4, 4, 0},
        {"y.w.example", 5, 4, 5},    // its own, and the wildcard's for who cannot use that
        {"w.example", 2, 1, 2},      // a wildcard is one label more, and no less: the default
        {"x.y.w.example", 2, 1, 2},
        {"given.example", 6, 0, 6},  // a name that only the configuration has
        {"not.taken.example", 2, 1, 2}, // in the certificate, but names were given
        {"nobody.example", 2, 1, 2},
        {"", 2, 1, 2},
    };
    struct sl_tls_certificate *certificates[] = {
        certificate_with(1, true, "DNS:a.example"),
        certificate_with(2, false, "DNS:A.EXAMPLE,DNS:other.example,IP:127.0.0.1"),
        certificate_with(3, false, "DNS:b.example"),
        certificate_with(4, true, "DNS:*.w.example"),
        certificate_with(5, false, "DNS:y.w.example"),
        certificate_with(6, false, "DNS:not.taken.example"),
    };
    struct sl_tls_sni *sni;
    REQUIRE(sl_tls_sni_new(&sni) == SL_OK);
    for (size_t i = 0; i < SL_COUNT_OF(certificates); i++) {
        const char *names = i == 5 ? "given.example\n*.given.example\n" : "";
        CHECK_INT(sl_tls_sni_add(sni, certificates[i], sl_span_of(names)), SL_OK);
    }
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        for (int tls12 = 0; tls12 < 2; tls12++) {
            uint16_t version = tls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
            uint64_t any = serial_for(sni, rows[i].name, NULL, version);
            uint64_t rsa = serial_for(sni, rows[i].name, rsa_only, version);
            uint64_t ecdsa = serial_for(sni, rows[i].name, ecdsa_only, version);
            CHECK_MSG(any == rows[i].any && rsa == rows[i].rsa && ecdsa == rows[i].ecdsa, "\"%s\", TLS 1.%d: %d %d %d", rows[i].name,
                      tls12 ? 2 : 3, (int)any, (int)rsa, (int)ecdsa);
        }
    }
    sl_tls_sni_free(sni);
    for (size_t i = 0; i < SL_COUNT_OF(certificates); i++) {
        sl_tls_certificate_free(certificates[i]);
    }
}

TEST(server_names_are_checked) {
    static const char *const wrong[] = {".", "a..b", ".a", "a.", "*", "*.", "*.a", "a.*.b", "x*.a.b", "A.b", "a b", "a\r", "caf\xc3\xa9", "1:2"};
    struct sl_tls_certificate *named = certificate_with(1, false, "DNS:a.example,DNS:*.b.example,email:x@y");
    struct sl_tls_certificate *nameless = certificate_with(2, false, NULL);
    struct sl_tls_sni *sni;
    REQUIRE(sl_tls_sni_new(&sni) == SL_OK);
    for (size_t i = 0; i < SL_COUNT_OF(wrong); i++) {
        char lines[64];
        snprintf(lines, sizeof(lines), "good.example\n%s\n", wrong[i]);
        CHECK_MSG(sl_tls_sni_add(sni, named, sl_span_of(lines)) == SL_E_TLS_CONFIG, "\"%s\" was taken", wrong[i]);
    }
    CHECK_INT(sl_tls_sni_add(sni, nameless, sl_span_of("")), SL_OK); // the default needs no name
    CHECK_INT(sl_tls_sni_add(sni, nameless, sl_span_of("")), SL_E_TLS_CONFIG);
    CHECK(strstr(sl_fail_text(), "give names"));
    CHECK_INT(sl_tls_sni_add(sni, named, sl_span_of("")), SL_OK);
    CHECK_INT(serial_for(sni, "good.example", NULL, 0), 2); // nothing is left of what was refused
    CHECK_INT(serial_for(sni, "x.b.example", NULL, 0), 1);
    for (unsigned i = 2; i < SL_TLS_CERTIFICATES_MAX; i++) {
        CHECK_INT(sl_tls_sni_add(sni, named, sl_span_of("c.example")), SL_OK);
    }
    CHECK_INT(sl_tls_sni_add(sni, named, sl_span_of("c.example")), SL_E_TLS_CONFIG);
    sl_tls_sni_free(sni);
    sl_tls_certificate_free(named);
    sl_tls_certificate_free(nameless);
}

TEST(a_certificate_says_what_is_in_it) {
    char text[256], expected[256];
    struct sl_tls_certificate *certificate = certificate_with(1, true, "DNS:B.example,IP:1.2.3.4,DNS:*.c.example");
    int n = sl_tls_certificate_describe(certificate, text, sizeof(text) - 1);
    text[n] = 0;
    long long now = (long long)time(NULL), from = 0, until = 0;
    CHECK(sscanf(text, "key RSA 2048\nnot_before %lld\nnot_after %lld\n", &from, &until) == 2);
    CHECK(from <= now && from > now - 60 && until == from + 3600);
    snprintf(expected, sizeof(expected), "key RSA 2048\nnot_before %lld\nnot_after %lld\nserial 01\ndns b.example\ndns *.c.example\n", from, until);
    CHECK_STR(text, expected);
    for (size_t len = 0; len < (size_t)n; len++) { // cut anywhere, never written past
        char *room = malloc(len + 1);
        CHECK(sl_tls_certificate_describe(certificate, room, len) <= (int)len);
        free(room);
    }
    sl_tls_certificate_free(certificate);
}

// ---- threads ----

static struct sl_tls_sni *threads_sni;

static void *worker_thread(void *arg) {
    (void)arg;
    struct sl_counters counters = {0};
    struct sl_tls_ctx *ctx;
    if (sl_tls_ctx_new(&ctx, threads_sni, NULL, NULL, &counters) != SL_OK) {
        return (void *)"no context";
    }
    for (int i = 0; i < 20; i++) {
        struct pair pair = {.options = {.out_cap = 32768,
                                        .read_cap = 32768,
                                        .client_max = i & 1 ? TLS1_2_VERSION : 0}};
        pair.tls = sl_tls_new(ctx);
        client_open(&pair);
        pump(&pair);
        bool open = sl_tls_state(pair.tls) == SL_TLS_OPEN;
        SSL_write(pair.client, "hello", 5);
        pump(&pair);
        open = open && pair.at_server.len == 5;
        pair_close(&pair);
        if (!open) {
            return (void *)"no data";
        }
    }
    sl_tls_ctx_free(ctx);
    return NULL;
}

TEST(two_workers_share_a_certificate_and_nothing_else) {
    const struct local_pem *pem = shared_pem();
    struct sl_tls_certificate *certificate;
    REQUIRE(sl_tls_certificate_new(&certificate, pem->cert, pem->key) == SL_OK);
    REQUIRE(sl_tls_sni_new(&threads_sni) == SL_OK);
    REQUIRE(sl_tls_sni_add(threads_sni, certificate, (struct sl_span){NULL, 0}) == SL_OK);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, worker_thread, NULL) == 0);
    }
    for (int i = 0; i < 2; i++) {
        void *failure;
        pthread_join(threads[i], &failure);
        CHECK_MSG(!failure, "%s", (const char *)failure);
    }
    sl_tls_sni_free(threads_sni);
    sl_tls_certificate_free(certificate);
}
