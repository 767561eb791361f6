// Who sends a request. The TypeScript form is judged by the same rows in gateway/client_ip_test.ts.
#include "client_ip.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "test.h"

static const char *text_of(const uint8_t addr[16]) {
    static char text[INET6_ADDRSTRLEN];
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool v4 = memcmp(addr, mapped, 12) == 0;
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr + 12 : addr, text, sizeof(text));
    return text;
}

static void address(uint8_t out[16], const char *text) {
    uint8_t raw[16];
    bool v6 = strchr(text, ':') != NULL;
    CHECK_MSG(inet_pton(v6 ? AF_INET6 : AF_INET, text, raw) == 1, "%s", text);
    sl_address_of(out, v6 ? 6 : 4, raw);
}

TEST(client_node_is_an_address_perhaps_with_a_port) {
    static const struct {
        const char *node, *expected;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1"}, {"192.0.2.1:80", "192.0.2.1"}, {"192.0.2.1:65535", "192.0.2.1"}, {"192.0.2.1:_x-1.", "192.0.2.1"},
        {"2001:db8::1", "2001:db8::1"}, {"[2001:DB8::1]", "2001:db8::1"}, {"[2001:db8::1]:80", "2001:db8::1"}, {"::ffff:192.0.2.1", "192.0.2.1"},
        {"[::ffff:192.0.2.1]:1", "192.0.2.1"}, {"::", "::"}, {"::1", "::1"}, {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"64:ff9b::192.0.2.1", "64:ff9b::c000:201"}, {"0.0.0.0", "0.0.0.0"}, {"255.255.255.255", "255.255.255.255"},
        {"", NULL}, {"unknown", NULL}, {"_hidden", NULL}, {"192.0.2", NULL}, {"192.0.2.256", NULL}, {"192.0.2.01", NULL}, {"192.0.2.1.1", NULL},
        {"192.0.2.1:", NULL}, {"192.0.2.1:8a", NULL}, {"192.0.2.1:655350", NULL}, {"192.0.2.1 ", NULL}, {" 192.0.2.1", NULL},
        {"192.0.2.1 1", NULL}, {"[192.0.2.1]", NULL}, {"[2001:db8::1", NULL}, {"2001:db8::1]", NULL}, {"[2001:db8::1]80", NULL}, {"[]", NULL},
        {"[", NULL}, {":", NULL}, {":::", NULL}, {"1::2::3", NULL}, {"1:2:3:4:5:6:7", NULL}, {"1:2:3:4:5:6:7:8:9", NULL}, {"::12345", NULL},
        {"fe80::1%eth0", NULL}, {"[fe80::1%25eth0]", NULL}, {"::ffff:192.0.2.256", NULL}, {"::g", NULL}, {"0x7f.0.0.1", NULL}, {"2130706433", NULL},
        {"1111:2222:3333:4444:5555:6666:255.255.255.255", "1111:2222:3333:4444:5555:6666:ffff:ffff"},
        {"1111:2222:3333:4444:5555:6666:255.255.255.2555", NULL}, {"127.1", NULL}, {"1.2.3.4:80:90", NULL},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        uint8_t out[16];
        size_t len = strlen(rows[i].node);
        uint8_t *copy = malloc(len ? len : 1); // of its own size
        memcpy(copy, rows[i].node, len);
        bool good = sl_client_node(out, (struct sl_span){copy, len});
        CHECK_MSG(good == (rows[i].expected != NULL), "\"%s\"", rows[i].node);
        if (good && rows[i].expected) {
            CHECK_STR(text_of(out), rows[i].expected);
        }
        free(copy);
    }
    uint8_t out[16];
    CHECK(!sl_client_node(out, (struct sl_span){(const uint8_t *)"1.2.3.4\0", 8}));
}

// The client of `lines`, asked from `peer`, with 10.0.0.0/8 and 2001:db8::/32 trusted.
static const char *client_of(const char *peer, const char *lines, bool forwarded) {
    static const struct sl_head_limits limits = {16384, 8192, 100};
    static struct sl_head head;
    struct sl_plan_range ranges[2];
    uint8_t from[16], out[16], text[4096];
    int len = snprintf((char *)text, sizeof(text), "GET / HTTP/1.1\r\nhost: h\r\n%s\r\n", lines);
    head.scanned = head.skipped = 0;
    CHECK_MSG(sl_http1_parse_request(&head, text, (size_t)len, &limits) == 1, "%s", lines);
    address(ranges[0].first, "10.0.0.0");
    address(ranges[0].last, "10.255.255.255");
    address(ranges[1].first, "2001:db8::");
    address(ranges[1].last, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
    address(from, peer);
    struct sl_client_source source = {{ranges, 2}, forwarded};
    sl_client_ip(out, &source, from, &head, text);
    return text_of(out);
}

TEST(client_ip_of_x_forwarded_for_is_read_from_the_right) {
#define XFF "x-forwarded-for: "
    static const struct {
        const char *peer, *lines, *expected;
    } rows[] = {
        {"192.0.2.9", "", "192.0.2.9"},
        {"192.0.2.9", XFF "198.51.100.1\r\n", "192.0.2.9"}, // not trusted: not asked
        {"10.0.0.1", "", "10.0.0.1"},
        {"10.0.0.1", XFF "\r\n", "10.0.0.1"},
        {"10.0.0.1", XFF "198.51.100.1\r\n", "198.51.100.1"},
        {"10.0.0.1", XFF "1.1.1.1, 198.51.100.1\r\n", "198.51.100.1"},
        {"10.0.0.1", XFF "1.1.1.1, 198.51.100.1, 10.9.9.9\r\n", "198.51.100.1"},
        {"10.0.0.1", XFF "1.1.1.1, 198.51.100.1,10.9.9.9 ,\t2001:db8::7\r\n", "198.51.100.1"},
        {"2001:db8::1", XFF "[2001:db9::1]:443\r\n", "2001:db9::1"},
        {"10.0.0.1", XFF "10.1.1.1, 10.2.2.2\r\n", "10.1.1.1"}, // all trusted: the leftmost
        {"10.0.0.1", XFF "198.51.100.1, , ,\r\n", "198.51.100.1"},
        {"10.0.0.1", XFF "garbage\r\n", "10.0.0.1"},
        {"10.0.0.1", XFF "198.51.100.1, garbage\r\n", "10.0.0.1"},
        {"10.0.0.1", XFF "198.51.100.1, unknown, 10.2.2.2\r\n", "10.2.2.2"}, // the last good
        {"10.0.0.1", XFF "garbage, 198.51.100.1\r\n", "198.51.100.1"},
        {"10.0.0.1", XFF "\"garbage, 198.51.100.1\r\n", "198.51.100.1"}, // an open quote changes nothing right of it
        {"10.0.0.1", XFF "1.1.1.1\r\n" XFF "198.51.100.1\r\n", "198.51.100.1"},
        {"10.0.0.1", XFF "198.51.100.1\r\n" XFF "10.2.2.2\r\n", "198.51.100.1"},
        {"10.0.0.1", XFF "198.51.100.1\r\nx-a: b\r\n" XFF "\r\n", "198.51.100.1"},
        {"10.0.0.1", "forwarded: for=198.51.100.1\r\n", "10.0.0.1"}, // the other field is not believed
        {"10.0.0.1", "forwarded: for=1.1.1.1\r\n" XFF "198.51.100.1\r\n", "198.51.100.1"},
        {"::ffff:10.0.0.1", XFF "198.51.100.1\r\n", "198.51.100.1"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        const char *client = client_of(rows[i].peer, rows[i].lines, false);
        CHECK_MSG(strcmp(client, rows[i].expected) == 0, "row %zu: %s, expected %s", i, client, rows[i].expected);
    }
}

TEST(client_ip_of_forwarded_is_read_from_the_right) {
#define FWD "forwarded: "
    static const struct {
        const char *lines, *expected;
    } rows[] = {
        {"", "10.0.0.1"},
        {FWD "for=198.51.100.1\r\n", "198.51.100.1"},
        {FWD "For=\"198.51.100.1:4711\"; proto=http ;by=203.0.113.43\r\n", "198.51.100.1"},
        {FWD "proto=https;FOR=\"[2001:db9::1]:80\"\r\n", "2001:db9::1"},
        {FWD "for=1.1.1.1, for=198.51.100.1, for=10.2.2.2\r\n", "198.51.100.1"},
        {FWD "for=1.1.1.1\r\n" FWD "for=198.51.100.1\r\n", "198.51.100.1"},
        {FWD "for=198.51.100.1;x=\"a,b;for=1.1.1.1\"\r\n", "198.51.100.1"},
        {FWD "for=198.51.100.1;x=\"a\\\",b\"\r\n", "198.51.100.1"},
        {FWD "for=198.51.100.1,for=10.2.2.2;x=\"\\\\\"\r\n", "198.51.100.1"},
        {FWD "for=\"1.1.1.1, for=198.51.100.1\r\n", "198.51.100.1"}, // an open quote changes nothing right of it
        {FWD "for=198.51.100.1;x=\"\r\n", "10.0.0.1"},
        {FWD "for=unknown\r\n", "10.0.0.1"},
        {FWD "for=_hidden, for=10.2.2.2\r\n", "10.2.2.2"},
        {FWD "for=1.1.1.1;for=2.2.2.2\r\n", "10.0.0.1"},
        {FWD "by=1.1.1.1\r\n", "10.0.0.1"},
        {FWD "fo=1.1.1.1\r\n", "10.0.0.1"},
        {FWD "for=\r\n", "10.0.0.1"},
        {FWD "for=\"\"\r\n", "10.0.0.1"},
        {FWD "for=\"\r\n", "10.0.0.1"},
        {FWD ";;for=198.51.100.1;\r\n", "198.51.100.1"},
        {FWD "for=198.51.100.1;x=\\\r\n", "10.0.0.1"},
        {"x-forwarded-for: 198.51.100.1\r\n", "10.0.0.1"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        const char *client = client_of("10.0.0.1", rows[i].lines, true);
        CHECK_MSG(strcmp(client, rows[i].expected) == 0, "row %zu: %s, expected %s", i, client, rows[i].expected);
    }
}

TEST(client_ip_reads_so_many_elements_and_no_more) {
    char lines[2048] = "x-forwarded-for: 198.51.100.1";
    for (uint32_t i = 1; i < SL_CLIENT_HOPS_MAX; i++) {
        strcat(lines, ", 10.2.2.2");
    }
    strcat(lines, "\r\n");
    CHECK_STR(client_of("10.0.0.1", lines, false), "198.51.100.1");
    lines[strlen(lines) - 2] = 0;
    strcat(lines, ", 10.3.3.3\r\n");
    CHECK_STR(client_of("10.0.0.1", lines, false), "10.2.2.2");
}

// Bytes of the field's grammar in random order: nothing is read outside of them.
TEST(client_ip_takes_any_value) {
    static const char bytes[] = "1.:[]\"\\,; \tfor=_a";
    uint32_t random = 12345;
    for (int i = 0; i < 20000; i++) {
        char lines[64] = "x-forwarded-for: ";
        size_t len = strlen(lines), n = random % 32;
        for (size_t k = 0; k < n; k++) {
            random = random * 1664525 + 1013904223;
            lines[len++] = bytes[(random >> 16) % (sizeof(bytes) - 1)];
        }
        random = random * 1664525 + 1013904223;
        memcpy(lines + len, "\r\n", 3);
        client_of("10.0.0.1", lines, false);
        memmove(lines + 9, lines + 15, strlen(lines + 15) + 1);
        client_of("10.0.0.1", lines, true);
    }
}
