#include "inq.h"

#include "test.h"

static struct sl_buf_pool pool;

static void pool_open(void) {
    const uint32_t counts[SL_BUF_GROUPS] = {16, 4, 4, 4};
    if (sl_buf_pool_init(&pool, counts)) {
        exit(2);
    }
}

static void pool_close(void) {
    CHECK_INT(sl_buf_lent(&pool), 0);
    sl_buf_pool_deinit(&pool);
}

static void push(struct sl_inq *queue, enum sl_buf_group group, const char *data, uint32_t len) {
    struct sl_buf *buf = sl_buf_take(&pool, group);
    memcpy(buf->data, data, len);
    sl_inq_push(queue, &pool, buf, 0, len);
}

// As a holder of bytes in the last buffer would: an answer's segment, the TLS engine.
static struct sl_buf *hold_last(struct sl_inq *queue) {
    sl_buf_ref(queue->last);
    return queue->last;
}

static void expect(struct sl_inq *queue, const char *data) {
    size_t len = strlen(data), at = 0;
    CHECK_INT(queue->bytes, len);
    while (at < len && queue->first) {
        struct sl_span front = sl_inq_front(queue);
        CHECK(front.len > 0 && at + front.len <= len && memcmp(front.data, data + at, front.len) == 0);
        at += front.len;
        sl_inq_consume(queue, &pool, (uint32_t)front.len);
    }
    CHECK_INT(at, len);
    CHECK_INT(queue->bytes, 0);
    CHECK_INT(queue->bufs, 0);
    CHECK(!queue->first && !queue->last && sl_inq_front(queue).len == 0);
}

TEST(inq_gives_bytes_in_order_and_small_pieces_share_a_buffer) {
    pool_open();
    struct sl_inq queue = {0};
    push(&queue, SL_BUF_HEAD, "one ", 4);
    push(&queue, SL_BUF_HEAD, "two ", 4);
    push(&queue, SL_BUF_BODY, "three", 5);
    CHECK_INT(queue.bufs, 1);
    CHECK_INT(sl_buf_lent(&pool), 1);
    expect(&queue, "one two three");
    pool_close();
}

TEST(inq_ignores_an_empty_piece) {
    pool_open();
    struct sl_inq queue = {0};
    push(&queue, SL_BUF_HEAD, "", 0);
    CHECK(!queue.first);
    expect(&queue, "");
    pool_close();
}

TEST(inq_does_not_touch_a_buffer_that_another_holds) {
    pool_open();
    struct sl_inq queue = {0};
    push(&queue, SL_BUF_HEAD, "held", 4);
    struct sl_buf *held = hold_last(&queue);
    uint8_t *behind = held->data + held->end;
    *behind = '#';
    push(&queue, SL_BUF_HEAD, "next", 4);
    CHECK_INT(queue.bufs, 2);
    CHECK_INT(*behind, '#');
    expect(&queue, "heldnext");
    CHECK(memcmp(held->data, "held", 4) == 0);
    sl_buf_unref(&pool, held);
    pool_close();
}

TEST(inq_joins_only_what_fits) {
    pool_open();
    struct sl_inq queue = {0};
    char big[SL_BUF_HEAD_BYTES];
    memset(big, 'b', sizeof(big));
    push(&queue, SL_BUF_HEAD, big, sizeof(big) - 3);
    push(&queue, SL_BUF_HEAD, "abc", 3);
    CHECK_INT(queue.bufs, 1);
    push(&queue, SL_BUF_HEAD, "d", 1);
    CHECK_INT(queue.bufs, 2);
    CHECK_INT(queue.bytes, sizeof(big) + 1);
    sl_inq_clear(&queue, &pool);
    CHECK_INT(queue.bytes, 0);
    CHECK_INT(queue.bufs, 0);
    pool_close();
}

TEST(inq_consume_frees_a_buffer_with_its_last_byte) {
    pool_open();
    struct sl_inq queue = {0};
    push(&queue, SL_BUF_HEAD, "abcdef", 6);
    struct sl_buf *held = hold_last(&queue);
    push(&queue, SL_BUF_HEAD, "g", 1);
    sl_inq_consume(&queue, &pool, 2);
    CHECK(sl_inq_front(&queue).len == 4 && *sl_inq_front(&queue).data == 'c');
    sl_buf_unref(&pool, held);
    sl_inq_consume(&queue, &pool, 4);
    CHECK_INT(sl_buf_lent(&pool), 1);
    expect(&queue, "g");
    pool_close();
}

// `pieces` buffers of `len` bytes each, that cannot join.
static void fill(struct sl_inq *queue, struct sl_buf **held, uint32_t pieces, uint32_t len, char *copy) {
    char data[SL_BUF_BODY_BYTES];
    for (uint32_t i = 0; i < pieces; i++) {
        memset(data, 'a' + (int)i, len);
        memcpy(copy + (size_t)i * len, data, len);
        push(queue, len > SL_BUF_HEAD_BYTES ? SL_BUF_BODY : SL_BUF_HEAD, data, len);
        held[i] = hold_last(queue);
    }
    copy[(size_t)pieces * len] = 0;
    for (uint32_t i = 0; i < pieces; i++) {
        sl_buf_unref(&pool, held[i]);
    }
}

TEST(inq_linearize_makes_the_front_contiguous_until_its_buffer_is_full) {
    static const struct {
        uint32_t pieces, len, skip, calls; // calls that move something
    } rows[] = {{1, 10, 0, 0}, {2, 10, 0, 1}, {2, 10, 3, 1}, {5, 4000, 100, 4}, {9, 4096, 0, 7}, {9, 4096, 1, 8}, {2, 20000, 0, 1}};
    for (size_t r = 0; r < SL_COUNT_OF(rows); r++) {
        pool_open();
        struct sl_inq queue = {0};
        static char copy[65536];
        struct sl_buf *held[16];
        fill(&queue, held, rows[r].pieces, rows[r].len, copy);
        if (rows[r].skip) {
            sl_inq_consume(&queue, &pool, rows[r].skip);
        }
        uint32_t bytes = queue.bytes, calls = 0, front = (uint32_t)sl_inq_front(&queue).len;
        while (calls < 32 && sl_inq_linearize(&queue, &pool)) {
            calls++;
            CHECK(sl_inq_front(&queue).len > front); // it grows, by what leaves the others
            front = (uint32_t)sl_inq_front(&queue).len;
            CHECK_INT(queue.bytes, bytes);
        }
        CHECK_MSG(calls == rows[r].calls, "row %zu: %u calls", r, calls);
        uint32_t count = 0;
        for (const struct sl_buf *buf = queue.first; buf; buf = buf->next) {
            count++;
            CHECK((buf == queue.last) == !buf->next);
        }
        CHECK_INT(queue.bufs, count);
        expect(&queue, copy + rows[r].skip);
        pool_close();
    }
}

TEST(inq_linearize_leaves_a_linear_front_alone_that_another_holds) {
    pool_open();
    struct sl_inq queue = {0};
    push(&queue, SL_BUF_OUT, "head", 4);
    struct sl_buf *held = hold_last(&queue);
    push(&queue, SL_BUF_HEAD, "tail", 4);
    CHECK(sl_inq_linearize(&queue, &pool));
    CHECK(queue.first != held);
    CHECK_INT(held->end, 4);
    expect(&queue, "headtail");
    sl_buf_unref(&pool, held);
    pool_close();
}

TEST(inq_linearize_says_no_without_a_buffer) {
    pool_open();
    struct sl_inq queue = {0};
    struct sl_buf *taken[4], *held[2];
    char copy[32];
    for (int i = 0; i < 4; i++) {
        taken[i] = sl_buf_take(&pool, SL_BUF_OUT);
    }
    fill(&queue, held, 2, 8, copy);
    CHECK(!sl_inq_linearize(&queue, &pool));
    expect(&queue, copy);
    for (int i = 0; i < 4; i++) {
        sl_buf_unref(&pool, taken[i]);
    }
    pool_close();
}

TEST(inq_linearize_uses_the_room_of_what_was_consumed) {
    pool_open();
    struct sl_inq queue = {0};
    struct sl_buf *full = sl_buf_take(&pool, SL_BUF_OUT);
    memset(full->data, 'x', full->cap);
    memcpy(full->data + full->cap - 4, "half", 4);
    sl_inq_push(&queue, &pool, full, 0, full->cap);
    sl_inq_consume(&queue, &pool, full->cap - 4);
    struct sl_buf *next = sl_buf_take(&pool, SL_BUF_HEAD);
    memcpy(next->data, " head", 5);
    next->pos = 0;
    next->end = 5;
    next->next = NULL;
    queue.last->next = next; // as two receives leave them
    queue.last = next;
    queue.bytes += 5;
    queue.bufs++;
    CHECK(sl_inq_linearize(&queue, &pool));
    CHECK_INT(sl_inq_front(&queue).len, 9);
    expect(&queue, "half head");
    pool_close();
}

TEST(inq_moves_what_waits_out_of_the_last_quarter_of_head_buffers) {
    pool_open();
    struct sl_inq queues[17] = {0};
    for (int i = 0; i < 12; i++) {
        push(&queues[i], SL_BUF_HEAD, "waits", 5);
    }
    CHECK_INT(sl_buf_left(&pool, SL_BUF_HEAD), 4);
    for (int i = 12; i < 16; i++) { // there are 4 pages
        push(&queues[i], SL_BUF_HEAD, "moves", 5);
        CHECK_INT(sl_buf_left(&pool, SL_BUF_HEAD), 4);
        CHECK_INT(queues[i].first->group, SL_BUF_PAGE);
    }
    push(&queues[16], SL_BUF_HEAD, "stays", 5);
    CHECK_INT(sl_buf_left(&pool, SL_BUF_HEAD), 3);
    for (int i = 0; i < 17; i++) {
        expect(&queues[i], i < 12 ? "waits" : i < 16 ? "moves" : "stays");
    }
    pool_close();
}
