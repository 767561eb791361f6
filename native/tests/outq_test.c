#include "outq.h"

#include "test.h"

static struct sl_buf_pool pool;
static struct sl_outq queue;

static void open_all(void) {
    const uint32_t counts[SL_BUF_GROUPS] = {4, 4, 4, 40};
    if (sl_buf_pool_init(&pool, counts)) {
        exit(2);
    }
    sl_outq_init(&queue);
}

static void close_all(void) {
    sl_outq_clear(&queue, &pool);
    CHECK_INT(queue.bytes, 0);
    CHECK_INT(queue.count, 0);
    CHECK_INT(sl_buf_lent(&pool), 0);
    sl_buf_pool_deinit(&pool);
}

struct owned {
    struct sl_seg_owner owner;
    int released;
};
static void count_release(struct sl_seg_owner *owner) { SL_CONTAINER_OF(owner, struct owned, owner)->released++; }

static void expect_iov(const struct iovec *iov, size_t count, const char *data) {
    size_t at = 0, len = strlen(data);
    for (size_t i = 0; i < count; i++) {
        CHECK(at + iov[i].iov_len <= len && memcmp(iov[i].iov_base, data + at, iov[i].iov_len) == 0);
        at += iov[i].iov_len;
    }
    CHECK_INT(at, len);
}

TEST(outq_merges_small_pieces_and_points_to_large_ones) {
    open_all();
    struct owned owned = {.owner = {count_release}};
    struct sl_buf *buf = sl_buf_take(&pool, SL_BUF_BODY);
    memcpy(buf->data, "body", 4);
    CHECK(sl_outq_copy(&queue, &pool, "he", 2));
    CHECK(sl_outq_copy(&queue, &pool, "ad ", 3));
    CHECK_INT(queue.count, 1); // one segment
    CHECK(sl_outq_push_buf(&queue, buf, buf->data, 4));
    sl_buf_unref(&pool, buf); // the queue has its own reference
    CHECK(sl_outq_push(&queue, (const uint8_t *)" plan", 5, &owned.owner));
    CHECK(sl_outq_copy(&queue, &pool, " tail", 5));
    CHECK_INT(queue.count, 4);
    CHECK_INT(queue.bytes, 19);
    const struct msghdr *msg = sl_outq_gather(&queue);
    expect_iov(msg->msg_iov, msg->msg_iovlen, "head body plan tail");
    CHECK_INT(owned.released, 0);
    sl_outq_sent(&queue, &pool);
    CHECK_INT(owned.released, 1);
    CHECK_INT(sl_buf_lent(&pool), 0); // an empty queue holds no page
    close_all();
}

TEST(outq_does_not_extend_what_is_in_flight) {
    open_all();
    CHECK(sl_outq_copy(&queue, &pool, "first", 5));
    const struct msghdr *msg = sl_outq_gather(&queue);
    CHECK(sl_outq_copy(&queue, &pool, "second", 6));
    CHECK_INT(queue.count, 2);
    expect_iov(msg->msg_iov, msg->msg_iovlen, "first");
    sl_outq_sent(&queue, &pool);
    CHECK_INT(queue.count, 1);
    CHECK_INT(queue.bytes, 6);
    msg = sl_outq_gather(&queue);
    expect_iov(msg->msg_iov, msg->msg_iovlen, "second");
    sl_outq_sent(&queue, &pool);
    close_all();
}

TEST(outq_refuses_a_segment_too_many_and_takes_nothing_of_it) {
    open_all();
    struct owned owned = {.owner = {count_release}};
    struct sl_buf *buf = sl_buf_take(&pool, SL_BUF_BODY);
    for (int i = 0; i < SL_OUTQ_SEGS; i++) {
        CHECK(sl_outq_push(&queue, (const uint8_t *)"x", 1, &owned.owner));
    }
    CHECK_INT(sl_outq_room(&queue), 0);
    CHECK(!sl_outq_push(&queue, (const uint8_t *)"y", 1, &owned.owner));
    CHECK(!sl_outq_push_buf(&queue, buf, buf->data, 1));
    CHECK(!sl_outq_copy(&queue, &pool, "z", 1));
    CHECK_INT(buf->refs, 1);
    CHECK_INT(queue.bytes, SL_OUTQ_SEGS);
    sl_buf_unref(&pool, buf);
    sl_outq_clear(&queue, &pool);
    CHECK_INT(owned.released, SL_OUTQ_SEGS);
    close_all();
}

TEST(outq_goes_round_its_ring) {
    open_all();
    static char data[1024];
    uint32_t made = 0, sent = 0; // decimal numbers, the same ones in `data` and in the queue
    struct sl_buf *bufs[256];
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 20; i++) { // 12 stay from round to round, so each round begins elsewhere
            bufs[i] = sl_buf_take(&pool, SL_BUF_PAGE);
            int n = sprintf(data + made, "%d,", round * 20 + i);
            memcpy(bufs[i]->data, data + made, (size_t)n);
            CHECK(sl_outq_push_buf(&queue, bufs[i], bufs[i]->data, (uint32_t)n));
            sl_buf_unref(&pool, bufs[i]);
            made += (uint32_t)n;
        }
        int count;
        const struct iovec *iov = sl_outq_peek(&queue, &count);
        CHECK_INT(count, 20 + (round > 0) * 12);
        expect_iov(iov, (size_t)count, data + sent);
        uint32_t take = 0;
        for (int i = 0; i < count - 12; i++) {
            take += (uint32_t)iov[i].iov_len;
        }
        sl_outq_consume(&queue, &pool, take);
        sent += take;
        CHECK_INT(queue.bytes, made - sent);
        CHECK_INT(sl_buf_lent(&pool), 12);
    }
    const struct msghdr *msg = sl_outq_gather(&queue);
    expect_iov(msg->msg_iov, msg->msg_iovlen, data + sent);
    msg->msg_iov[0].iov_len = 0; // as the io layer leaves them after a short send
    sl_outq_sent(&queue, &pool);
    close_all();
}

TEST(outq_reserve_takes_a_new_page_when_the_old_one_is_full) {
    static const struct {
        uint32_t first, second;
        int pages; // PAGE buffers lent after both
        int outs;  // OUT buffers lent
    } rows[] = {
        {100, 100, 1, 0}, {4000, 96, 1, 0}, {4000, 97, 2, 0}, {4096, 1, 2, 0}, {4097, 100, 0, 1}, {100, 32768, 1, 1},
    };
    for (size_t r = 0; r < SL_COUNT_OF(rows); r++) {
        open_all();
        static char data[SL_BUF_OUT_BYTES];
        CHECK(sl_outq_copy(&queue, &pool, data, rows[r].first));
        CHECK(sl_outq_copy(&queue, &pool, data, rows[r].second));
        int pages = (int)(pool.count[SL_BUF_PAGE] - pool.free_count[SL_BUF_PAGE]);
        int outs = (int)(pool.count[SL_BUF_OUT] - pool.free_count[SL_BUF_OUT]);
        CHECK_MSG(pages == rows[r].pages && outs == rows[r].outs, "row %zu: %d pages, %d outs", r, pages, outs);
        CHECK_INT(queue.bytes, rows[r].first + rows[r].second);
        close_all();
    }
}

TEST(outq_reserve_without_a_page_changes_nothing) {
    open_all();
    struct sl_buf *taken[40];
    CHECK(sl_outq_copy(&queue, &pool, "a", 1));
    for (int i = 0; i < 39; i++) {
        taken[i] = sl_buf_take(&pool, SL_BUF_PAGE);
    }
    CHECK(sl_outq_reserve(&queue, &pool, 4096) == NULL); // a new page would be needed
    CHECK(sl_outq_copy(&queue, &pool, "b", 1));          // the old one still has room
    const struct msghdr *msg = sl_outq_gather(&queue);
    expect_iov(msg->msg_iov, msg->msg_iovlen, "ab");
    sl_outq_sent(&queue, &pool);
    for (int i = 0; i < 39; i++) {
        sl_buf_unref(&pool, taken[i]);
    }
    close_all();
}

// TLS takes any number of bytes.
TEST(outq_consume_at_every_cut) {
    const char *data = "head|body|more|";
    for (uint32_t cut = 0; cut <= 15; cut++) {
        open_all();
        struct owned owned = {.owner = {count_release}};
        CHECK(sl_outq_copy(&queue, &pool, "head|", 5));
        CHECK(sl_outq_push(&queue, (const uint8_t *)"body|", 5, &owned.owner));
        CHECK(sl_outq_push(&queue, (const uint8_t *)"more|", 5, &owned.owner));
        sl_outq_consume(&queue, &pool, cut);
        CHECK_INT(queue.bytes, 15 - cut);
        CHECK_INT(owned.released, cut < 10 ? 0 : cut < 15 ? 1 : 2);
        int count;
        const struct iovec *iov = sl_outq_peek(&queue, &count);
        expect_iov(iov, (size_t)count, data + cut);
        CHECK_INT(queue.in_flight, 0);
        close_all();
        CHECK_INT(owned.released, 2);
    }
}
