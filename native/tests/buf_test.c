#include "buf.h"

#include "test.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISONED(p) __asan_address_is_poisoned(p)
#define HAVE_ASAN 1
#else
#define POISONED(p) ((void)(p), 0)
#define HAVE_ASAN 0
#endif

static const uint32_t counts[SL_BUF_GROUPS] = {4, 3, 2, 1};
static const uint32_t sizes[SL_BUF_GROUPS] = {SL_BUF_HEAD_BYTES, SL_BUF_BODY_BYTES,
                                              SL_BUF_OUT_BYTES, SL_BUF_PAGE_BYTES};

TEST(each_group_lends_what_it_has_and_then_null) {
    struct sl_buf_pool pool;
    REQUIRE(sl_buf_pool_init(&pool, counts) == SL_OK);
    for (int g = 0; g < SL_BUF_GROUPS; g++) {
        struct sl_buf *taken[4];
        for (uint32_t i = 0; i < counts[g]; i++) {
            taken[i] = sl_buf_take(&pool, (enum sl_buf_group)g);
            REQUIRE(taken[i]);
            CHECK_INT(taken[i]->cap, sizes[g]);
            CHECK_INT(taken[i]->group, g);
            CHECK_INT(taken[i]->refs, 1);
            memset(taken[i]->data, 'a' + (int)i, taken[i]->cap);
        }
        CHECK(sl_buf_take(&pool, (enum sl_buf_group)g) == NULL);
        CHECK_INT(sl_buf_lent(&pool), counts[g]);
        for (uint32_t i = 0; i < counts[g]; i++) { // none lies in another
            CHECK_INT(taken[i]->data[0], 'a' + (int)i);
            CHECK_INT(taken[i]->data[taken[i]->cap - 1], 'a' + (int)i);
            sl_buf_unref(&pool, taken[i]);
        }
        CHECK_INT(sl_buf_lent(&pool), 0);
        CHECK_INT(pool.free_count[g], counts[g]);
    }
    sl_buf_pool_deinit(&pool);
}

TEST(the_arena_starts_on_a_page) {
    struct sl_buf_pool pool;
    REQUIRE(sl_buf_pool_init(&pool, counts) == SL_OK);
    struct sl_buf *buf = sl_buf_take(&pool, SL_BUF_HEAD);
    CHECK_INT((uintptr_t)buf->data % 4096, 0);
    sl_buf_unref(&pool, buf);
    sl_buf_pool_deinit(&pool);
}

TEST(the_last_holder_frees) {
    struct sl_buf_pool pool;
    REQUIRE(sl_buf_pool_init(&pool, counts) == SL_OK);
    struct sl_buf *buf = sl_buf_take(&pool, SL_BUF_BODY);
    sl_buf_ref(buf);
    sl_buf_unref(&pool, buf);
    CHECK_INT(sl_buf_lent(&pool), 1);
    buf->data[0] = 1; // still ours
    sl_buf_unref(&pool, buf);
    CHECK_INT(sl_buf_lent(&pool), 0);
    sl_buf_unref(&pool, NULL);
    sl_buf_pool_deinit(&pool);
}

TEST(a_buffer_goes_to_the_kernel_and_back) {
    struct sl_buf_pool pool;
    REQUIRE(sl_buf_pool_init(&pool, counts) == SL_OK);
    struct sl_buf *given[4];
    for (int i = 0; i < 4; i++) {
        given[i] = sl_buf_to_kernel(&pool, SL_BUF_HEAD);
        REQUIRE(given[i]);
        CHECK_INT(given[i]->kernel, 1);
    }
    CHECK(sl_buf_to_kernel(&pool, SL_BUF_HEAD) == NULL);
    CHECK(sl_buf_take(&pool, SL_BUF_HEAD) == NULL);
    CHECK_INT(sl_buf_lent(&pool), 0);
    struct sl_buf *buf = sl_buf_from_kernel(&pool, SL_BUF_HEAD, given[2]->id);
    CHECK(buf == given[2]);
    CHECK_INT(buf->refs, 1);
    CHECK_INT(sl_buf_lent(&pool), 1);
    CHECK_INT(pool.kernel_count[SL_BUF_HEAD], 3);
    sl_buf_unref(&pool, buf);
    CHECK_INT(pool.free_count[SL_BUF_HEAD], 1);
    sl_buf_pool_deinit(&pool); // with three in the kernel's hands
}

TEST(free_and_kernel_held_bytes_are_poisoned) {
    if (!HAVE_ASAN) {
        SKIP("not built with ASan");
    }
    struct sl_buf_pool pool;
    REQUIRE(sl_buf_pool_init(&pool, counts) == SL_OK);
    struct sl_buf *buf = sl_buf_take(&pool, SL_BUF_HEAD);
    CHECK(!POISONED(buf->data) && !POISONED(buf->data + buf->cap - 1));
    sl_buf_unref(&pool, buf);
    CHECK(POISONED(buf->data) && POISONED(buf->data + buf->cap - 1));
    buf = sl_buf_to_kernel(&pool, SL_BUF_HEAD);
    CHECK(POISONED(buf->data));
    sl_buf_from_kernel(&pool, SL_BUF_HEAD, buf->id);
    CHECK(!POISONED(buf->data));
    sl_buf_unref(&pool, buf);
    sl_buf_pool_deinit(&pool);
}
