// Sets of addresses.
#include "address_set.h"

#include <arpa/inet.h>

#include "test.h"

static void address(uint8_t out[16], const char *text) {
    uint8_t raw[16];
    bool v6 = strchr(text, ':') != NULL;
    CHECK_MSG(inet_pton(v6 ? AF_INET6 : AF_INET, text, raw) == 1, "%s", text);
    sl_address_of(out, v6 ? 6 : 4, raw);
}

static struct sl_plan_range range(const char *first, const char *last) {
    struct sl_plan_range r;
    address(r.first, first);
    address(r.last, last);
    return r;
}

TEST(address_set_has_its_ranges) {
    struct sl_plan_range ranges[] = {
        range("::1", "::1"), range("10.0.0.0", "10.255.255.255"), range("192.0.2.7", "192.0.2.7"),
        range("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    };
    static const struct {
        const char *text;
        bool in;
    } rows[] = {
        {"::1", true}, {"::", false}, {"::2", false}, {"10.0.0.0", true}, {"10.255.255.255", true}, {"9.255.255.255", false},
        {"11.0.0.0", false}, {"::ffff:10.1.2.3", true}, {"192.0.2.7", true}, {"192.0.2.6", false}, {"192.0.2.8", false},
        {"2001:db8::", true}, {"2001:db8:1::5", true}, {"2001:db9::", false}, {"2001:db7:ffff::", false},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false}, {"0.0.0.0", false},
    };
    struct sl_address_set set = {ranges, SL_COUNT_OF(ranges)}, empty = {ranges, 0};
    CHECK(sl_address_set_good(&set) && sl_address_set_good(&empty));
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        uint8_t addr[16];
        address(addr, rows[i].text);
        CHECK_MSG(sl_address_set_has(&set, addr) == rows[i].in, "%s", rows[i].text);
        CHECK(!sl_address_set_has(&empty, addr));
    }
}

TEST(address_set_must_be_sorted_and_disjoint) {
    struct sl_plan_range bad[][2] = {
        {range("10.0.0.1", "10.0.0.0"), range("11.0.0.0", "11.0.0.0")},
        {range("10.0.0.0", "10.0.0.9"), range("10.0.0.9", "10.0.0.10")},
        {range("10.0.0.0", "10.0.0.9"), range("9.0.0.0", "9.0.0.1")},
    };
    for (size_t i = 0; i < SL_COUNT_OF(bad); i++) {
        struct sl_address_set set = {bad[i], 2};
        CHECK_MSG(!sl_address_set_good(&set), "row %zu", i);
    }
}
