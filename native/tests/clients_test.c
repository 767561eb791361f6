// The table of client addresses beside one that is too simple to be wrong.
#include "clients.h"

#include "test.h"

static sl_client v4(uint8_t last) {
    const uint8_t addr[16] = {192, 0, 2, last, 9, 9};
    return sl_client_of(4, addr);
}

static sl_client v6(const char *bytes) {
    uint8_t addr[16];
    memcpy(addr, bytes, 16);
    return sl_client_of(6, addr);
}

TEST(whom_a_limit_is_for) {
    CHECK(v4(1) != v4(2));
    CHECK(v6("\x20\x01\x0d\xb8\0\0\0\1\0\0\0\0\0\0\0\1") == v6("\x20\x01\x0d\xb8\0\0\0\1\xff\0\0\0\0\0\0\2")); // one /64
    CHECK(v6("\x20\x01\x0d\xb8\0\0\0\1\0\0\0\0\0\0\0\1") != v6("\x20\x01\x0d\xb8\0\0\0\2\0\0\0\0\0\0\0\1"));
    CHECK(v6("\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\7") == v4(7)); // mapped
    CHECK(v6("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1") != v4(7));
}

TEST(each_has_its_share) {
    struct sl_clients *clients;
    CHECK_INT(sl_clients_new(&clients, 8, 2, 1), SL_OK);
    CHECK(sl_clients_add(clients, v4(1)));
    CHECK(sl_clients_add(clients, v4(1)));
    CHECK(!sl_clients_add(clients, v4(1)));
    CHECK(sl_clients_add(clients, v4(2)));
    CHECK_INT(sl_clients_count(clients), 2);
    sl_clients_remove(clients, v4(1));
    CHECK(sl_clients_add(clients, v4(1)));
    CHECK(!sl_clients_add(clients, v4(1)));
    sl_clients_free(clients);
}

// 24 addresses in 32 slots: runs that go round the end, and gaps in all places.
TEST(any_order_of_adding_and_removing) {
    enum { ADDRESSES = 24, MAX = 2 };
    uint64_t random = 88172645463325252ull;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sl_clients *clients;
        uint32_t conns[ADDRESSES] = {0};
        CHECK_INT(sl_clients_new(&clients, 16, MAX, seed), SL_OK);
        for (int i = 0; i < 2000; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            uint32_t k = (uint32_t)(random >> 33) % ADDRESSES;
            if (random & 1) {
                CHECK_INT(sl_clients_add(clients, v4((uint8_t)k)), conns[k] < MAX);
                conns[k] += conns[k] < MAX;
            } else if (conns[k] > 0) {
                sl_clients_remove(clients, v4((uint8_t)k));
                conns[k]--;
            }
        }
        uint32_t used = 0;
        for (int k = 0; k < ADDRESSES; k++) {
            used += conns[k] > 0;
        }
        CHECK_INT(sl_clients_count(clients), used);
        for (int k = 0; k < ADDRESSES; k++) {
            while (conns[k] > 0) {
                sl_clients_remove(clients, v4((uint8_t)k));
                conns[k]--;
            }
        }
        CHECK_INT(sl_clients_count(clients), 0);
        sl_clients_free(clients);
    }
}
