// The handshake as a tunnel sees it: which requests ask for a WebSocket, and which answers prove one.

#include "test.h"
#include "websocket.h"

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define UPGRADE "Connection: upgrade\r\nUpgrade: websocket\r\n"
#define SWITCH "HTTP/1.1 101 Switching Protocols\r\n"

static const struct sl_head_limits limits = {16384, 8192, 100};

static bool asked(const char *text, struct sl_head *head, uint8_t *data) {
    size_t len = strlen(text);
    memcpy(data, text, len);
    head->scanned = head->skipped = 0;
    CHECK_MSG(sl_http1_parse_request(head, data, len, &limits) == 1, "%s", text);
    return sl_websocket_asked(head, data);
}

static bool accepted(const char *request, const char *answer) {
    static struct sl_head request_head, head;
    static uint8_t request_data[2048], data[2048];
    CHECK_MSG(asked(request, &request_head, request_data), "%s", request);
    size_t len = strlen(answer);
    memcpy(data, answer, len);
    head.scanned = head.skipped = 0;
    CHECK_MSG(sl_http1_parse_response(&head, data, len, &limits, SL_METHOD_GET) == 1, "%s", answer);
    return sl_websocket_accepted(&request_head, request_data, &head, data);
}

TEST(which_requests_ask) {
    static const struct {
        const char *text;
        bool asks;
    } rows[] = {
        {GET UPGRADE KEY "\r\n", true},
        {GET "CONNECTION: close, UPGRADE\r\nUPGRADE: WebSocket\r\n" KEY "\r\n", true},
        {GET "Connection: upgrade\r\nUpgrade: h2c, websocket\r\n" KEY "\r\n", true},
        {GET "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade:\twebsocket ,x\r\n" KEY "\r\n", true},
        {GET UPGRADE KEY "Content-Length: 0\r\n\r\n", true},
        {GET UPGRADE "Sec-WebSocket-Version: 8\r\n" KEY "\r\n", true}, // for the upstream to judge
        {GET UPGRADE "\r\n", false},
        {GET UPGRADE KEY KEY "\r\n", false},
        {GET UPGRADE "Sec-WebSocket-Key: short\r\n\r\n", false},
        {GET UPGRADE "Sec_WebSocket_Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", false},
        {GET "Connection: upgrade, sec-websocket-key\r\nUpgrade: websocket\r\n" KEY "\r\n", false},
        {GET "Upgrade: websocket\r\n" KEY "\r\n", false},
        {GET "Connection: upgrade\r\n" KEY "\r\n", false},
        {GET "Connection: upgrade\r\nUpgrade:\r\n" KEY "\r\n", false},
        {GET "Connection: upgrade\r\nUpgrade: websocket2\r\n" KEY "\r\n", false},
        {GET "Connection: upgrade\r\nUpgrade: web socket\r\n" KEY "\r\n", false},
        {GET "Connection: upgrade\r\nUpgrade: websocket/13\r\n" KEY "\r\n", false},
        {GET UPGRADE KEY "Content-Length: 1\r\n\r\n", false},
        {GET UPGRADE KEY "Transfer-Encoding: chunked\r\n\r\n", false},
        {"POST / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY "\r\n", false},
        {"HEAD / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY "\r\n", false},
        {"GET / HTTP/1.0\r\nHost: a\r\n" UPGRADE KEY "\r\n", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static struct sl_head head;
        static uint8_t data[2048];
        CHECK_MSG(asked(rows[i].text, &head, data) == rows[i].asks, "%s", rows[i].text);
    }
}

TEST(which_answers_prove) {
    static const struct {
        const char *text;
        bool proves;
    } rows[] = {
        {SWITCH UPGRADE ACCEPT "\r\n", true},
        {SWITCH "Connection: Upgrade\r\nUpgrade: WebSocket\r\n" ACCEPT "\r\n", true},
        {SWITCH UPGRADE "\r\n", false},
        {SWITCH UPGRADE ACCEPT ACCEPT "\r\n", false},
        {SWITCH UPGRADE "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", false},
        {SWITCH UPGRADE "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo\r\n\r\n", false},
        {SWITCH "Connection: upgrade\r\nUpgrade: h2c\r\n" ACCEPT "\r\n", false},
        {SWITCH "Upgrade: websocket\r\n" ACCEPT "\r\n", false},
        {SWITCH "Connection: upgrade\r\n" ACCEPT "\r\n", false},
        {"HTTP/1.0 101 Switching Protocols\r\n" UPGRADE ACCEPT "\r\n", false},
        {"HTTP/1.1 200 OK\r\n" UPGRADE ACCEPT "\r\n", false},
        {"HTTP/1.1 102 Processing\r\n" UPGRADE ACCEPT "\r\n", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK_MSG(accepted(GET UPGRADE KEY "\r\n", rows[i].text) == rows[i].proves, "%s", rows[i].text);
    }
}

// A second pair, made by openssl.
TEST(the_proof_is_the_keys_own) {
    CHECK(accepted(GET UPGRADE "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                   SWITCH UPGRADE "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"));
}
