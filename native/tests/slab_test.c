#include "slab.h"

#include "test.h"

TEST(slab_lends_each_object_once_and_no_more_than_it_has) {
    static const struct {
        uint32_t size, count, stride;
    } rows[] = {{1, 1, 32}, {64, 3, 64}, {65, 7, 96}, {4096, 100, 4096}, {24, 1000, 32}};
    for (size_t r = 0; r < SL_COUNT_OF(rows); r++) {
        struct sl_slab slab;
        REQUIRE(sl_slab_init(&slab, rows[r].size, rows[r].count) == SL_OK);
        uint8_t *objects[1000];
        for (int round = 0; round < 2; round++) {
            for (uint32_t i = 0; i < rows[r].count; i++) {
                objects[i] = sl_slab_take(&slab);
                REQUIRE(objects[i]);
                CHECK_INT((uintptr_t)objects[i] % 32, 0);
                CHECK_INT((size_t)(objects[i] - slab.memory) % rows[r].stride, 0);
                memset(objects[i], (int)i, rows[r].size); // each is its own
            }
            CHECK(sl_slab_take(&slab) == NULL);
            CHECK_INT(slab.used, rows[r].count);
            for (uint32_t i = 0; i < rows[r].count; i++) {
                CHECK_INT(objects[i][rows[r].size - 1], (uint8_t)i);
                sl_slab_give(&slab, objects[i]);
            }
            CHECK_INT(slab.used, 0);
        }
        sl_slab_deinit(&slab);
        CHECK(slab.memory == NULL);
    }
}

TEST(slab_lends_the_last_one_first) {
    struct sl_slab slab;
    REQUIRE(sl_slab_init(&slab, 100, 10) == SL_OK);
    void *a = sl_slab_take(&slab), *b = sl_slab_take(&slab), *c = sl_slab_take(&slab);
    sl_slab_give(&slab, a);
    sl_slab_give(&slab, c);
    CHECK(sl_slab_take(&slab) == c);
    CHECK(sl_slab_take(&slab) == a);
    CHECK_INT(slab.made, 3); // the others were never touched
    sl_slab_give(&slab, a);
    sl_slab_give(&slab, b);
    sl_slab_give(&slab, c);
    sl_slab_deinit(&slab);
}

TEST(slab_is_zeroed_on_first_use) {
    struct sl_slab slab;
    REQUIRE(sl_slab_init(&slab, 200, 4) == SL_OK);
    uint8_t *object = sl_slab_take(&slab);
    for (int i = 0; i < 200; i++) {
        CHECK_INT(object[i], 0);
    }
    sl_slab_give(&slab, object);
    sl_slab_deinit(&slab);
}

TEST(slab_that_does_not_fit_says_so) {
    struct sl_slab slab;
    CHECK_INT(sl_slab_init(&slab, 1u << 31, UINT32_MAX), SL_E_NO_MEMORY);
    CHECK(strstr(sl_fail_text(), "4294967295 objects") != NULL);
    CHECK(slab.memory == NULL);
}
