// The whole data plane in one process, through the public API and real sockets: native steps, TypeScript routes (a C thread plays the
// isolate over the shared ring), proxying to a scripted upstream, TLS, drain. Every test runs on each backend.
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <openssl/ssl.h>

#include "balance.h"
#include "http1_parse.h"
#include "peer.h"
#include "plan_builder.h"
#include "sluice/counters.h"
#include "sluice/sluice.h"
#include "test.h"

static struct plan_builder builder;

// An isolate in C: the contract of ring.h seen from the other side.
struct isolate {
    uint8_t *region;
    uint32_t bytes, slots, gateway;
    int listen_fd, wake_fd;
    pthread_t thread;
    _Atomic bool stop;
    _Atomic uint32_t seen, aborts;
    void (*handle)(struct isolate *isolate, const struct sl_event *event);
    char body[1 << 20]; // of the request being collected
    uint32_t body_len;
};

static _Atomic uint32_t *word(struct isolate *s, uint32_t off) { return (_Atomic uint32_t *)(void *)(s->region + off); }
static uint8_t *slot(struct isolate *s, uint32_t i) {
    return s->region + SL_RING_EVENTS_OFF + (size_t)s->slots * SL_RING_ENTRIES_PER_SLOT * 2 * 64 + (size_t)i * SL_SLOT_BYTES;
}

static void verdict(struct isolate *s, struct sl_verdict v) {
    uint32_t entries = s->slots * SL_RING_ENTRIES_PER_SLOT;
    uint32_t tail = atomic_load(word(s, SL_RING_VERDICT_TAIL_OFF));
    struct sl_verdict *at = (struct sl_verdict *)(void *)(s->region + SL_RING_EVENTS_OFF + (size_t)entries * 64);
    at[tail & (entries - 1)] = v;
    atomic_store(word(s, SL_RING_VERDICT_TAIL_OFF), tail + 1);
    if (atomic_exchange(word(s, SL_RING_WORKER_SLEEPING_OFF), 0)) {
        sl_gateway_wake(s->gateway, 0);
    }
}

static void answer(struct isolate *s, const struct sl_event *e, uint16_t status, const char *fields, const void *body, uint32_t len) {
    uint8_t *tx = slot(s, e->slot) + SL_SLOT_TX_OFF;
    uint32_t head_len = (uint32_t)strlen(fields);
    memcpy(tx, fields, head_len);
    memcpy(tx + head_len, body, len);
    verdict(s, (struct sl_verdict){.kind = SL_VERDICT_RESPOND, .flags = SL_VERDICT_F_END | SL_VERDICT_F_FINAL, .status = status,
                                   .slot = e->slot, .gen = e->gen, .head_len = head_len, .body_off = head_len, .body_len = len});
}

static bool sleep_until_wake(struct isolate *s) {
    char byte[64];
    atomic_store(word(s, SL_RING_ISOLATE_SLEEPING_OFF), 1);
    if (atomic_load(word(s, SL_RING_EVENT_TAIL_OFF)) != atomic_load(word(s, SL_RING_EVENT_HEAD_OFF))) {
        atomic_store(word(s, SL_RING_ISOLATE_SLEEPING_OFF), 0);
        return true;
    }
    return peer_recv(s->wake_fd, byte, sizeof(byte)) > 0 || errno == EAGAIN;
}

static void *isolate_main(void *arg) {
    struct isolate *s = arg;
    uint32_t entries = s->slots * SL_RING_ENTRIES_PER_SLOT;
    const struct sl_event *events = (const struct sl_event *)(void *)(s->region + SL_RING_EVENTS_OFF);
    while (!atomic_load(&s->stop)) {
        uint32_t head = atomic_load(word(s, SL_RING_EVENT_HEAD_OFF));
        if (head == atomic_load(word(s, SL_RING_EVENT_TAIL_OFF))) {
            if (!sleep_until_wake(s)) {
                break;
            }
            continue;
        }
        struct sl_event e = events[head & (entries - 1)];
        atomic_store(word(s, SL_RING_EVENT_HEAD_OFF), head + 1);
        s->seen++;
        s->handle(s, &e);
    }
    return NULL;
}

// A running gateway.
struct rig {
    int gateway, port, tls_port;
    bool has_isolate;
    struct isolate isolate;
};

static int backends[2], backend_count;

static void find_backends(void) {
    const int kinds[] = {SL_IO_EPOLL, SL_IO_URING};
    for (int i = 0; i < 2; i++) {
        struct sl_config config = {.io = (uint32_t)kinds[i]};
        int g = sl_gateway_new((uint8_t *)&config, sizeof(config));
        if (g >= 0) {
            sl_gateway_free((uint32_t)g);
            backends[backend_count++] = kinds[i];
        } else {
            uint8_t text[256];
            int n = sl_error_text(text, sizeof(text));
            printf("# backend %d is not available: %.*s\n", kinds[i], n, (char *)text);
        }
    }
}

static void fail_text(const char *what) {
    uint8_t text[512];
    int n = sl_error_text(text, sizeof(text));
    CHECK_MSG(false, "%s: %.*s", what, n, (char *)text);
}

static void start_isolate(struct rig *rig, uint32_t slots) {
    struct isolate *s = &rig->isolate;
    int port;
    s->slots = slots;
    s->gateway = (uint32_t)rig->gateway;
    s->bytes = sl_ring_bytes(slots);
    s->region = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    s->listen_fd = peer_listen(&port);
    uint8_t token[16] = "0123456789abcde";
    uint8_t got[16];
    if (sl_gateway_attach((uint32_t)rig->gateway, 0, 0, s->region, s->bytes) ||
        sl_gateway_isolate_wake((uint32_t)rig->gateway, 0, (uint32_t)port, token, 16)) {
        fail_text("isolate");
    }
    s->wake_fd = accept(s->listen_fd, NULL, NULL);
    CHECK_INT(recv(s->wake_fd, got, 16, MSG_WAITALL), 16);
    CHECK(memcmp(got, token, 16) == 0);
    struct timeval wait = {0, 100000};
    setsockopt(s->wake_fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)); // so that stop is seen
    pthread_create(&s->thread, NULL, isolate_main, s);
}

// handle: NULL for none. The plan is what `builder` holds.
static bool rig_start(struct rig *rig, int io, struct sl_config config, void (*handle)(struct isolate *, const struct sl_event *)) {
    memset(rig, 0, offsetof(struct rig, isolate));
    memset(&rig->isolate, 0, sizeof(rig->isolate));
    config.io = (uint32_t)io;
    config.isolates = handle ? 1 : 0;
    config.exchanges = 64;
    config.workers = config.workers ? config.workers : 1;
    rig->gateway = sl_gateway_new((uint8_t *)&config, sizeof(config));
    if (rig->gateway < 0) {
        fail_text("new");
        return false;
    }
    uint32_t g = (uint32_t)rig->gateway, len = plan_finish(&builder);
    rig->port = sl_gateway_listen(g, (const uint8_t *)"127.0.0.1:0", 11, 0xffffffff);
    uint8_t pem[8192];
    int pem_len = sl_certificate_make(pem, sizeof(pem));
    uint32_t cert_len;
    memcpy(&cert_len, pem, 4);
    int certificate = sl_gateway_certificate(g, SL_SET_NEW, pem + 4, cert_len, pem + 4 + cert_len, (size_t)pem_len - 4 - cert_len, NULL, 0);
    rig->tls_port = certificate < 0 ? certificate : sl_gateway_listen(g, (const uint8_t *)"127.0.0.1:0", 11, (uint32_t)certificate);
    if (handle) {
        rig->has_isolate = true;
        rig->isolate.handle = handle;
        start_isolate(rig, 64);
    }
    if (rig->port < 0 || rig->tls_port < 0 || sl_plan_load(g, builder.blob, len) || sl_gateway_start(g)) {
        fail_text("start");
        return false;
    }
    return true;
}

static struct sl_counters stats(const struct rig *rig) {
    struct sl_counters c;
    sl_gateway_stats((uint32_t)rig->gateway, (uint8_t *)&c, sizeof(c));
    return c;
}

// Bounded: 10 s.
static void wait_for_exchanges(const struct rig *rig) {
    for (int i = 0; i < 10000 && stats(rig).exchanges_live > 0; i++) {
        usleep(1000);
    }
}

static void rig_stop_after(struct rig *rig, uint64_t bad_verdicts) {
    uint32_t g = (uint32_t)rig->gateway;
    wait_for_exchanges(rig);
    sl_gateway_drain(g, 5000);
    CHECK_INT(sl_gateway_join(g, 10000), 0);
    struct sl_counters c = stats(rig);
    CHECK_INT(c.bad_verdicts, bad_verdicts);
    c.bad_verdicts = 0;
    check_nothing_left(&c);
    if (rig->has_isolate) {
        atomic_store(&rig->isolate.stop, true);
        pthread_join(rig->isolate.thread, NULL);
        close(rig->isolate.wake_fd);
        close(rig->isolate.listen_fd);
    }
    CHECK_INT(sl_gateway_free(g), 0);
    if (rig->has_isolate) {
        munmap(rig->isolate.region, rig->isolate.bytes);
    }
}

static void rig_stop(struct rig *rig) { rig_stop_after(rig, 0); }

static char text[1 << 16];

static void plan_basic(void) {
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/", 200, "content-type: text/plain\r\n", "hello\n", 6);
    plan_respond(&builder, SL_METHOD_GET, "/none", 204, "", "", 0);
    static char big[1 << 20];
    memset(big, 'b', sizeof(big));
    plan_respond(&builder, SL_METHOD_GET, "/big", 200, "", big, sizeof(big));
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/whoami", SL_PLAN_OP_WHOAMI, 0);
    plan_respond(&builder, SL_METHOD_POST, "/post", 200, "", "got it", 6);
    builder.header.flags = SL_PLAN_F_NOT_FOUND_NATIVE;
}

#define EACH_BACKEND(io)                                                                                                          \
    if (backend_count == 0) {                                                                                                      \
        find_backends();                                                                                                           \
    }                                                                                                                              \
    for (int backend_i = 0, io = backends[0]; backend_i < backend_count; backend_i++, io = backends[backend_i % 2])

// As an unprivileged user of his own, with two workers and no wish for a backend: whether all is well, and how many workers are on io_uring.
// Root is exempt from the limit, and a user's rings are charged for a while after they are closed.
static int rings_of_a_user(rlim_t memlock_bytes, char *said, size_t size) {
    static uint32_t users;
    FILE *file = tmpfile();
    users++;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {memlock_bytes, memlock_bytes};
        uid_t uid = (uid_t)(50000 + (uint32_t)getpid() % 5000 * 2 + users % 2);
        struct rig rig;
        test_failures = 0;
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || setgid(uid) != 0 || setuid(uid) != 0) {
            _exit(100);
        }
        dup2(fileno(file), 2);
        plan_basic();
        if (!rig_start(&rig, SL_IO_AUTO, (struct sl_config){.workers = 2}, NULL)) {
            _exit(101);
        }
        for (int i = 0; i < 16; i++) { // the hash takes some to either worker
            int fd = peer_connect(rig.port);
            peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 6);
            close(fd);
        }
        int rings = (int)stats(&rig).io_rings;
        rig_stop(&rig);
        _exit(test_failures ? 102 : rings);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    rewind(file);
    said[fread(said, 1, size - 1, file)] = 0;
    fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 103;
}

static bool has_uring(void) {
    EACH_BACKEND(io) {
        if (io == SL_IO_URING) {
            return true;
        }
    }
    return false;
}

TEST(an_unprivileged_user_with_the_usual_8_mib_of_locked_memory_has_io_uring) {
    char said[1024];
    if (geteuid() != 0 || !has_uring()) {
        SKIP("needs io_uring, and root to become somebody");
    }
    int rings = rings_of_a_user(8 << 20, said, sizeof(said));
    CHECK_MSG(rings == 2, "%d: %s", rings, said);
    CHECK_STR(said, "");
}

// Enough for the probe's ring, not for two.
TEST(a_worker_whose_ring_does_not_fit_runs_on_epoll_and_says_so) {
    char said[1024];
    if (geteuid() != 0 || !has_uring()) {
        SKIP("needs io_uring, and root to become somebody");
    }
    int rings = rings_of_a_user(300 << 10, said, sizeof(said));
    if (rings == 2) {
        SKIP("this kernel does not charge for rings");
    }
    CHECK_MSG(rings < 2, "%d: %s", rings, said);
    CHECK_MSG(strstr(said, "runs on epoll: ") && strstr(said, "raise ulimit -l (a ring needs "), "%s", said);
}

TEST(native_answers_keep_alive_and_pipelined) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        int fd = peer_connect(rig.port);
        for (int i = 0; i < 3; i++) {
            peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 6);
            CHECK(strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0);
            CHECK(strstr(text, "\r\ndate: ") && strstr(text, "hello\n"));
            CHECK(!strstr(text, "connection:"));
        }
        peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
                           "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        char *all = peer_read_all(fd, NULL, NULL);
        char *none = strstr(all, "HTTP/1.1 204 No Content\r\n");
        char *head = none ? strstr(none, "HTTP/1.1 200 OK\r\n") : NULL;
        char *gone = head ? strstr(head, "HTTP/1.1 404 Not Found\r\n") : NULL;
        CHECK(none && head && gone);
        CHECK(gone && strstr(gone, "connection: close\r\n") && strstr(gone, "404 Not Found"));
        CHECK(gone && !strstr(gone, "HTTP/1.1 200")); // nothing is processed after close
        CHECK(head && strstr(head, "content-length: 6\r\n"));
        free(all);
        close(fd);
        rig_stop(&rig);
    }
}

TEST(pipelined_answers_leave_in_one_send) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        int fd = peer_connect(rig.port);
        char batch[1024] = "";
        for (int i = 0; i < 16; i++) {
            strcat(batch, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 6);
        struct sl_counters before = stats(&rig);
        peer_send_text(fd, batch);
        for (int i = 0; i < 16; i++) {
            CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 6);
        }
        struct sl_counters after = stats(&rig);
        CHECK_INT(after.responses - before.responses, 16);
        // A receive, a send, and what the two looks at the counters take.
        CHECK_MSG(after.io_cqes - before.io_cqes <= 6, "%d completions", (int)(after.io_cqes - before.io_cqes));
        CHECK_MSG(after.io_enters - before.io_enters <= 10, "%d system calls", (int)(after.io_enters - before.io_enters));
        close(fd);
        rig_stop(&rig);
    }
}

// One row of the plan, in every way that it is answered: as prepared, and with what a connection or an edit adds.
TEST(a_prepared_answer_and_its_variants) {
    static const char field[] = "content-type: text/plain\r\n";
    static char small[2048 + 1], large[2049 + 1];
    memset(small, 's', sizeof(small) - 1);
    memset(large, 'l', sizeof(large) - 1);
    EACH_BACKEND(io) {
        struct rig rig;
        plan_init(&builder);
        plan_respond(&builder, SL_METHOD_GET, "/small", 201, field, small, sizeof(small) - 1);
        plan_respond(&builder, SL_METHOD_GET, "/large", 201, field, large, sizeof(large) - 1);
        plan_respond(&builder, SL_METHOD_GET, "/empty", 201, field, "", 0);
        plan_entry(&builder, SL_METHOD_GET, "/edited/*", 255, 0);
        plan_step(&builder, SL_PLAN_OP_HEADERS, plan_headers(&builder, "", "-content-type|=x-b: c"));
        plan_respond(&builder, SL_METHOD_GET, "/edited/a", 201, field, small, sizeof(small) - 1);
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        static const struct {
            const char *request, *added;
            int n;
            const char *body;
        } rows[] = {
            {"GET /small HTTP/1.1\r\n", field, 2048, small},
            {"GET /large HTTP/1.1\r\n", field, 2049, large},
            {"GET /empty HTTP/1.1\r\n", field, 0, ""},
            {"HEAD /small HTTP/1.1\r\n", field, 2048, ""},
            {"HEAD /large HTTP/1.1\r\n", field, 2049, ""},
            {"GET /edited/a HTTP/1.1\r\n", "x-b: c\r\n", 2048, small},
            {"GET /small HTTP/1.0\r\nConnection: keep-alive\r\n", "connection: keep-alive\r\ncontent-type: text/plain\r\n", 2048, small},
            {"GET /small HTTP/1.1\r\nConnection: close\r\n", "connection: close\r\ncontent-type: text/plain\r\n", 2048, small},
        };
        // All pipelined in one, and each as it is expected to the byte.
        char *want = text;
        int fd = peer_connect(rig.port);
        for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
            char request[256];
            snprintf(request, sizeof(request), "%sHost: a\r\n\r\n", rows[i].request);
            peer_send_text(fd, request);
            want += sprintf(want, "HTTP/1.1 201 Created\r\ncontent-length: %d\r\ndate: %29s\r\n%s\r\n%s", rows[i].n, "", rows[i].added,
                            rows[i].body);
        }
        char *all = peer_read_all(fd, NULL, NULL);
        size_t dates = 0;
        for (char *at = all; (at = strstr(at, "\r\ndate: ")) != NULL; dates++) {
            at += strlen("\r\ndate: ");
            CHECK(memcmp(at + 25, " GMT", 4) == 0 && memcmp(at, "Thu, 01 Jan 1970", 16) != 0);
            memset(at, ' ', 29);
        }
        CHECK_INT(dates, SL_COUNT_OF(rows));
        CHECK_STR(all, text);
        free(all);
        close(fd);
        rig_stop(&rig);
    }
}

TEST(the_clients_address_is_written_as_text) {
    static const char *const addresses[] = {"127.0.0.1", "127.255.10.100", "127.9.99.200"};
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            struct sockaddr_in from = {.sin_family = AF_INET};
            struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)rig.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
            inet_pton(AF_INET, addresses[i], &from.sin_addr);
            peer_bound(fd);
            REQUIRE(bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
            char expected[64];
            snprintf(expected, sizeof(expected), "x-forwarded-for: %s\r\n", addresses[i]);
            peer_send_text(fd, "GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n");
            CHECK(peer_read_answer(fd, text, sizeof(text)) > 0);
            CHECK_MSG(strstr(text, expected), "%s", text);
            close(fd);
        }
        rig_stop(&rig);
    }
}

TEST(every_split_of_a_request_gives_the_same_answer) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        const char *request = "POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        size_t len = strlen(request);
        int fd = peer_connect(rig.port);
        for (size_t cut = 1; cut < len; cut++) {
            CHECK_INT(peer_send(fd, request, cut), 0);
            CHECK_INT(peer_send(fd, request + cut, len - cut), 0);
            CHECK_MSG(peer_read_answer(fd, text, sizeof(text)) == 6, "cut at %zu: %s", cut, text);
        }
        close(fd);
        rig_stop(&rig);
    }
}

TEST(large_head_over_several_buffers) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        char *head = malloc(20000);
        int n = sprintf(head, "GET /whoami HTTP/1.1\r\nHost: a\r\nX-Long: ");
        memset(head + n, 'v', 12000);
        strcpy(head + n + 12000, "\r\n\r\n");
        int fd = peer_connect(rig.port);
        peer_send_text(fd, head);
        long body = peer_read_answer(fd, text, sizeof(text));
        CHECK_MSG(body > 12000, "%ld", body);
        CHECK(strstr(text, "x-forwarded-for: 127.0.0.1\r\n"));
        strcpy(head + n + 12000, "vvvv");
        memset(head + n + 12000, 'v', 5000);
        head[n + 17000] = 0;
        peer_send_text(fd, head);
        char *all = peer_read_all(fd, NULL, NULL);
        CHECK_MSG(strncmp(all, "HTTP/1.1 431 ", 13) == 0, "%.40s", all);
        free(all);
        free(head);
        close(fd);
        rig_stop(&rig);
    }
}

TEST(bad_requests_get_a_reason_and_a_close) {
    static const struct {
        const char *request, *status;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET / HTTP/1.1\nHost: a\n\n", "400"},
        {"GET / HTTP/2.1\r\nHost: a\r\n\r\n", "505"},
        {"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        {"GET /%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "501"},
        {"\x16\x03\x01\x02\x00", "400"},
    };
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            int fd = peer_connect(rig.port), reset;
            peer_send_text(fd, rows[i].request);
            char *all = peer_read_all(fd, NULL, &reset);
            CHECK_MSG(strlen(all) > 12 && memcmp(all + 9, rows[i].status, 3) == 0, "row %zu: %.60s", i, all);
            CHECK(strstr(all, "connection: close\r\n"));
            CHECK_MSG(!reset, "row %zu", i);
            free(all);
            close(fd);
        }
        rig_stop(&rig);
    }
}

TEST(large_native_body_and_slow_reader) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        size_t len;
        char *all = peer_read_all(fd, &len, NULL);
        char *body = strstr(all, "\r\n\r\n");
        CHECK(body && len - (size_t)(body + 4 - all) == 1 << 20);
        free(all);
        close(fd);
        rig_stop(&rig);
    }
}

#define BIG_ANSWERS 8 // of 1 MiB

static int connect_with_small_window(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), bytes = 16384;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    CHECK_INT(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    peer_bound(fd);
    return fd;
}

TEST(a_slow_reader_outlives_the_stall_time_and_a_stopped_one_does_not) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.write_stall_ms = 200}, NULL));
        // More than the kernel would take for a reader that does not read.
        char requests[1024] = "";
        for (int i = 0; i < BIG_ANSWERS; i++) {
            strcat(requests, "GET /big HTTP/1.1\r\nHost: a\r\n");
            strcat(requests, i < BIG_ANSWERS - 1 ? "\r\n" : "Connection: close\r\n\r\n");
        }
        int slow = connect_with_small_window(rig.port), stopped = connect_with_small_window(rig.port);
        peer_send_text(slow, requests);
        peer_send_text(stopped, requests);
        size_t got = 0, len;
        for (int i = 0; i < 16; i++) { // four stall times
            usleep(50000);
            ssize_t n = peer_recv(slow, text, 16384);
            got += n > 0 ? (size_t)n : 0;
        }
        struct sl_counters c = stats(&rig);
        CHECK_INT(c.by_status[-SL_E_WRITE_STALLED], 1);
        CHECK_INT(c.conns_live, 1);
        free(peer_read_all(slow, &len, NULL));
        CHECK(got + len > BIG_ANSWERS << 20);
        close(slow);
        close(stopped);
        rig_stop(&rig);
    }
}

// TypeScript routes.

static void handle_echo(struct isolate *s, const struct sl_event *e) {
    char line[256];
    if (e->kind == SL_EVENT_REQUEST) {
        s->body_len = 0;
        if (e->flags & SL_EVENT_F_END) {
            const char *head = (const char *)slot(s, e->slot) + SL_SLOT_HEAD_OFF;
            int n = snprintf(line, sizeof(line), "path=%.*s", e->path_len, head + e->path_off);
            answer(s, e, 200, "content-type: text/plain\r\n", line, (uint32_t)n);
        } else {
            verdict(s, (struct sl_verdict){.kind = SL_VERDICT_BODY_WANTED, .slot = e->slot, .gen = e->gen});
        }
    } else if (e->kind == SL_EVENT_BODY) {
        memcpy(s->body + s->body_len, slot(s, e->slot) + SL_SLOT_RX_OFF, e->len);
        s->body_len += e->len;
        if (e->flags & SL_EVENT_F_END) {
            int n = snprintf(line, sizeof(line), "body=%u", s->body_len);
            answer(s, e, 200, "", line, (uint32_t)n);
        } else {
            verdict(s, (struct sl_verdict){.kind = SL_VERDICT_BODY_TAKEN, .slot = e->slot, .gen = e->gen});
        }
    } else if (e->kind == SL_EVENT_ABORT) {
        atomic_fetch_add(&s->aborts, 1);
        verdict(s, (struct sl_verdict){.kind = SL_VERDICT_RELEASE, .flags = SL_VERDICT_F_FINAL, .slot = e->slot, .gen = e->gen});
    }
}

static void plan_typescript(void) {
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/", 200, "", "hello\n", 6);
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_TYPESCRIPT, 0);
}

TEST(typescript_route_answers_small_and_posted_bodies) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_echo));
        int fd = peer_connect(rig.port);
        for (int i = 0; i < 100; i++) {
            peer_send_text(fd, "GET /hello/Ada HTTP/1.1\r\nHost: a\r\n\r\n");
            CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 15);
            CHECK(strstr(text, "path=/hello/Ada"));
        }
        char *body = malloc(300000);
        memset(body, 'x', 300000);
        peer_send_text(fd, "POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 300000\r\n\r\n");
        peer_read_until(fd, text, sizeof(text), "\r\n\r\n");
        CHECK_STR(text, "HTTP/1.1 100 Continue\r\n\r\n");
        peer_send(fd, body, 300000);
        peer_read_answer(fd, text, sizeof(text));
        CHECK_MSG(strstr(text, "body=300000") != NULL, "%s", text);
        peer_send_text(fd, "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 10; i++) {
            peer_send_text(fd, "3e8\r\n");
            peer_send(fd, body, 1000);
            peer_send_text(fd, "\r\n");
        }
        peer_send_text(fd, "0\r\n\r\n");
        peer_read_answer(fd, text, sizeof(text));
        CHECK_MSG(strstr(text, "body=10000") != NULL, "%s", text);
        free(body);
        close(fd);
        rig_stop(&rig);
    }
}

// Answers with what C says of the chain, and the edited field; "/fail" has no answer for the second step, "/none" for neither.
static void handle_chain(struct isolate *s, const struct sl_event *e) {
    char line[256];
    uint32_t plan;
    if (e->kind != SL_EVENT_REQUEST) {
        return;
    }
    const char *head = (const char *)slot(s, e->slot) + SL_SLOT_HEAD_OFF;
    memcpy(&plan, slot(s, e->slot) + SL_SLOT_PLAN_OFF, sizeof(plan));
    memcpy(slot(s, e->slot) + SL_SLOT_TX_OFF, "x-b: handler\r\n", 14);
    char *body = (char *)slot(s, e->slot) + SL_SLOT_TX_OFF + 14;
    const char *field = memmem(head, e->len, "x-req: ", 7);
    snprintf(line, sizeof(line), "steps=%u plan=%u fields=%u path=%.*s req=%.1s", e->steps_done, plan, e->field_count, e->path_len,
             head + e->path_off, field ? field + 7 : "?");
    uint32_t n = (uint32_t)strlen(line), failed = memmem(head, 16, "/fail", 5) ? 2 : memmem(head, 16, "/none", 5) ? 0xffffffff : 0;
    memcpy(body, line, n);
    verdict(s, (struct sl_verdict){.kind = SL_VERDICT_RESPOND, .flags = SL_VERDICT_F_END | SL_VERDICT_F_FINAL, .status = 200,
                                   .slot = e->slot, .gen = e->gen, .head_len = 14, .body_off = 14, .body_len = n,
                                   .steps_failed = failed});
}

static void plan_chain(int port) {
    plan_init(&builder);
    builder.header.id = 77;
    uint32_t first = plan_headers(&builder, "=x-req: 1|-cookie", "=x-a: first|-server");
    uint32_t second = plan_headers(&builder, "=x-req: 2", "=x-a: second|=x-b: second|+x-c: second");
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_HEADERS, first);
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_HEADERS, second);
    plan_respond(&builder, SL_METHOD_GET, "/native", 200, "server: x\r\nX-B: native\r\n", "hello", 5);
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/whoami", SL_PLAN_OP_WHOAMI, 0);
    plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/up", (uint16_t)port);
    plan_entry(&builder, SL_PLAN_METHOD_ALL, "/:ts", SL_PLAN_OP_TYPESCRIPT, 0);
    builder.header.flags = SL_PLAN_F_NOT_FOUND_NATIVE;
}

TEST(chain_edits_requests_and_every_answer_that_comes_back_through_it) {
    static const struct {
        const char *path, *status, *body, *fields[4]; // a leading '!': is not there
    } rows[] = {
        {"/native", "200 OK", "hello", {"x-a: first", "x-b: second", "x-c: second", "!server"}},
        {"/whoami", "200 OK", "x-req: 2", {"x-a: first", "x-b: second", "x-c: second", "!cookie"}},
        {"/ts", "200 OK", "steps=2 plan=77 fields=2 path=/ts req=2", {"x-a: first", "x-b: second", "x-c: second", "!handler"}},
        {"/fail", "200 OK", "steps=2", {"x-a: first", "x-b: handler", "!x-c", "!second"}},
        {"/none", "200 OK", "steps=2", {"!x-a", "x-b: handler", "!x-c", "!second"}},
        {"/a/b", "404 Not Found", "404 Not Found", {"x-a: first", "x-b: second", "x-c: second", "!server"}},
        {"/up", "502 Bad Gateway", "refused", {"x-a: first", "x-b: second", "x-c: second", "!server"}},
        {"/../x", "400 Bad Request", "dot segment", {"!x-a", "!x-b", "!x-c", "!server"}}, // before any route
    };
    EACH_BACKEND(io) {
        struct rig rig;
        int port, listener = peer_listen(&port);
        close(listener); // refused from now on
        plan_chain(port);
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_chain));
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            char request[256];
            int fd = peer_connect(rig.port);
            snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\nCookie: c\r\nX-Req: 0\r\n\r\n", rows[i].path);
            peer_send_text(fd, request);
            peer_read_answer(fd, text, sizeof(text));
            CHECK_MSG(strncmp(text + 9, rows[i].status, strlen(rows[i].status)) == 0, "%s: %s", rows[i].path, text);
            CHECK_MSG(strstr(text, rows[i].body) != NULL, "%s: %s", rows[i].path, text);
            for (size_t k = 0; k < 4; k++) {
                const char *field = rows[i].fields[k];
                bool absent = *field == '!';
                CHECK_MSG((strstr(text, field + absent) == NULL) == absent, "%s, %s: %s", rows[i].path, field, text);
            }
            close(fd);
        }
        rig_stop(&rig);
    }
}

// A head is rewritten in canonical form, so "a:b" grows by a blank: whatever its size, the buffer must fit.
TEST(chain_edits_a_head_of_any_size) {
    static char request[8192];
    EACH_BACKEND(io) {
        struct rig rig;
        plan_chain(1);
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_chain));
        int fd = peer_connect(rig.port);
        for (int size = 3700; size < 4200; size += 3) {
            int n = snprintf(request, sizeof(request), "GET /native HTTP/1.1\r\nHost:a\r\n");
            for (int i = 0; i < 90; i++) {
                n += snprintf(request + n, sizeof(request) - (size_t)n, "x:y\r\n");
            }
            n += snprintf(request + n, sizeof(request) - (size_t)n, "z:%0*d\r\n\r\n", size - n - 6, 0);
            peer_send(fd, request, (size_t)n);
            CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 5);
            CHECK_MSG(strncmp(text, "HTTP/1.1 200", 12) == 0, "%d: %s", size, text);
        }
        close(fd);
        rig_stop(&rig);
    }
}

// Streams 100 parts of 1000 bytes, one at a time, each after WRITABLE; then ends.
static void stream_parts(struct isolate *s, const struct sl_event *e, bool ends) {
    static uint32_t parts;
    if (e->kind == SL_EVENT_ABORT) {
        atomic_fetch_add(&s->aborts, 1);
        verdict(s, (struct sl_verdict){.kind = SL_VERDICT_RELEASE, .flags = SL_VERDICT_F_FINAL, .slot = e->slot, .gen = e->gen});
        return;
    }
    uint8_t *tx = slot(s, e->slot) + SL_SLOT_TX_OFF;
    parts = e->kind == SL_EVENT_REQUEST ? 0 : parts + 1;
    memset(tx, 'a' + (int)(parts % 26), 20000);
    bool end = ends && parts == 99;
    verdict(s, (struct sl_verdict){.kind = e->kind == SL_EVENT_REQUEST ? SL_VERDICT_RESPOND : SL_VERDICT_CHUNK, .status = 200,
                                   .flags = end ? SL_VERDICT_F_END | SL_VERDICT_F_FINAL : 0, .slot = e->slot, .gen = e->gen,
                                   .body_len = 20000});
}

static void handle_stream(struct isolate *s, const struct sl_event *e) { stream_parts(s, e, true); }

// Sockets may take all of one that ends before its client has left.
static void handle_endless(struct isolate *s, const struct sl_event *e) { stream_parts(s, e, false); }

TEST(typescript_stream_is_chunked_and_waits_for_the_reader) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_stream));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET /s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        size_t len;
        char *all = peer_read_all(fd, &len, NULL);
        CHECK(strstr(all, "transfer-encoding: chunked\r\n"));
        CHECK_MSG(len > 2000000 && memcmp(all + len - 7, "\r\n0\r\n\r\n", 7) == 0, "%zu", len);
        free(all);
        close(fd);
        rig_stop(&rig);
    }
}

TEST(client_that_leaves_aborts_the_exchange) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_endless));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET /s HTTP/1.1\r\nHost: a\r\n\r\n");
        peer_read_until(fd, text, 4096, "aaaa");
        struct linger rst = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
        close(fd);
        rig_stop(&rig); // waits for the exchange: balance is checked there
        CHECK_INT(atomic_load(&rig.isolate.aborts), 1);
    }
}

// Proxy.

struct upstream {
    int listen_fd, port;
    pthread_t thread;
    const char *answer;
    size_t answer_len;
    bool close_after, cut;
    _Atomic uint32_t conns, requests;
    _Atomic bool stop;
    char last[65536], head[4096]; // head: of the last request
};

static void *upstream_main(void *arg) {
    struct upstream *u = arg;
    while (!atomic_load(&u->stop)) {
        int fd = accept(u->listen_fd, NULL, NULL);
        if (fd < 0) {
            break;
        }
        peer_bound(fd);
        atomic_fetch_add(&u->conns, 1);
        while (peer_read_until(fd, u->last, sizeof(u->last), "\r\n\r\n") > 0 && strstr(u->last, "\r\n\r\n")) {
            const char *field = strstr(u->last, "content-length: ");
            long left = field ? atol(field + 16) : 0;
            left -= (long)strlen(strstr(u->last, "\r\n\r\n") + 4);
            static char sink[65536];
            while (left > 0) {
                ssize_t n = recv(fd, sink, sizeof(sink), 0);
                left -= n > 0 ? n : left;
            }
            snprintf(u->head, sizeof(u->head), "%.4000s", u->last);
            atomic_fetch_add(&u->requests, 1);
            peer_send(fd, u->answer, u->answer_len);
            if (u->cut || u->close_after) {
                break;
            }
        }
        close(fd);
    }
    return NULL;
}

static void upstream_start(struct upstream *u, const char *answer, size_t len) {
    memset(u, 0, sizeof(*u));
    u->answer = answer;
    u->answer_len = len;
    u->listen_fd = peer_listen(&u->port);
    pthread_create(&u->thread, NULL, upstream_main, u);
}

static void upstream_stop(struct upstream *u) {
    atomic_store(&u->stop, true);
    shutdown(u->listen_fd, SHUT_RDWR);
    pthread_join(u->thread, NULL);
    close(u->listen_fd);
}

static struct upstream up;

static void plan_upstream(int port) {
    plan_init(&builder);
    plan_proxy(&builder, SL_PLAN_METHOD_ALL, "/*", (uint16_t)port);
}

TEST(proxy_passes_both_ways_and_reuses_its_connection) {
    EACH_BACKEND(io) {
        struct rig rig;
        const char *answer_text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nConnection: keep-alive, x-b\r\nX-B: 2\r\n\r\nworld";
        upstream_start(&up, answer_text, strlen(answer_text));
        plan_upstream(up.port);
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        int fd = peer_connect(rig.port);
        for (int i = 0; i < 20; i++) {
            peer_send_text(fd, "GET /a?b=c HTTP/1.1\r\nHost: h.example\r\nX_Bad: 1\r\nX-Good: 2\r\n\r\n");
            CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 5);
            CHECK(strstr(text, "x-a: 1\r\n") && !strstr(text, "x-b") && strstr(text, "via: 1.1 sluice\r\n"));
        }
        CHECK(strncmp(up.head, "GET /a?b=c HTTP/1.1\r\nhost: h.example\r\n", 38) == 0);
        CHECK(!strstr(up.head, "x_bad") && strstr(up.head, "x-good: 2\r\n") && strstr(up.head, "x-forwarded-for: 127.0.0.1\r\n"));
        char *body = malloc(1 << 20);
        memset(body, 'y', 1 << 20);
        peer_send_text(fd, "PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
        peer_send(fd, body, 1 << 20);
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 5);
        free(body);
        CHECK_INT(up.conns, 1);
        CHECK_INT(up.requests, 21);
        CHECK_INT(stats(&rig).upstream_reuses, 20);
        close(fd);
        rig_stop(&rig);
        upstream_stop(&up);
    }
}

TEST(proxy_answers_502_or_breaks_the_transfer) {
    static const struct {
        const char *answer, *expect; // NULL: a broken transfer
    } rows[] = {
        {"", "502"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5", "502"},
        {"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "502"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "502"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", NULL},
    };
    EACH_BACKEND(io) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            struct rig rig;
            upstream_start(&up, rows[i].answer, strlen(rows[i].answer));
            up.cut = true;
            plan_upstream(up.port);
            REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
            int fd = peer_connect(rig.port), reset;
            peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            char *all = peer_read_all(fd, NULL, &reset);
            if (rows[i].expect) {
                CHECK_MSG(strlen(all) > 12 && memcmp(all + 9, rows[i].expect, 3) == 0, "row %zu: %.60s", i, all);
            } else {
                CHECK_MSG(reset && !strstr(all, "0\r\n\r\n"), "row %zu: reset %d: %s", i, reset, all);
            }
            free(all);
            close(fd);
            rig_stop(&rig);
            upstream_stop(&up);
        }
    }
}

TEST(dead_upstream_is_502) {
    EACH_BACKEND(io) {
        struct rig rig;
        int port, fd = peer_listen(&port);
        close(fd);
        plan_upstream(port);
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        fd = peer_connect(rig.port);
        for (int i = 0; i < 3; i++) { // the client's connection lives on
            peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            CHECK(peer_read_answer(fd, text, sizeof(text)) > 0);
            CHECK_MSG(strstr(text, "502 Bad Gateway\r\n") && strstr(text, "refused"), "%s", text);
        }
        close(fd);
        rig_stop(&rig);
    }
}

// Drain.

TEST(drain_answers_what_was_sent_and_refuses_what_comes_later) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        int idle = peer_connect(rig.port), half = peer_connect(rig.port);
        peer_send_text(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK_INT(peer_read_answer(idle, text, sizeof(text)), 6);
        peer_send_text(half, "GET / HTTP/1.1\r\nHo");
        sl_gateway_drain((uint32_t)rig.gateway, 5000);
        peer_send_text(half, "st: a\r\n\r\n");
        peer_send_text(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK_INT(peer_read_answer(half, text, sizeof(text)), 6);
        CHECK_INT(peer_read_answer(idle, text, sizeof(text)), 6);
        CHECK(strstr(text, "connection: close\r\n"));
        CHECK_INT(recv(idle, text, 1, 0), 0);
        close(idle);
        close(half);
        CHECK_INT(sl_gateway_join((uint32_t)rig.gateway, 5000), 0);
        CHECK_INT(peer_connect(rig.port), -1);
        rig_stop(&rig);
    }
}

// TLS.

static SSL *tls_over(SSL_CTX *ctx, int fd) {
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    CHECK_INT(SSL_connect(ssl), 1);
    return ssl;
}

static SSL *tls_connect(SSL_CTX *ctx, int port, int *out_fd) {
    *out_fd = peer_connect(port);
    return tls_over(ctx, *out_fd);
}

static void tls_close(SSL *ssl, int fd) {
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

static long tls_read_until_end(SSL *ssl, char *out, size_t cap) {
    size_t len = 0;
    int n;
    while (len < cap && (n = SSL_read(ssl, out + len, (int)(cap - len > 65536 ? 65536 : cap - len))) > 0) {
        len += (size_t)n;
    }
    return SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN ? (long)len : -1; // a close without close_notify is a truncation
}

TEST(tls_native_typescript_and_large_bodies) {
    static char big[(1 << 20) + 4096];
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_TYPESCRIPT, 0);
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_echo));
        SSL_CTX *ctx = SSL_CTX_new(TLS_method());
        int fd;
        SSL *ssl = tls_connect(ctx, rig.tls_port, &fd);
        for (int i = 0; i < 5; i++) {
            const char *request = i % 2 ? "GET / HTTP/1.1\r\nHost: a\r\n\r\n" : "GET /ts HTTP/1.1\r\nHost: a\r\n\r\n";
            SSL_write(ssl, request, (int)strlen(request));
            int n = SSL_read(ssl, text, sizeof(text) - 1);
            text[n > 0 ? n : 0] = 0;
            CHECK_MSG(strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0, "%d: %s", i, text);
        }
        char head[] = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
        SSL_write(ssl, head, (int)strlen(head));
        memset(big, 'x', 1000000);
        CHECK_INT(SSL_write(ssl, big, 1000000), 1000000);
        int n = SSL_read(ssl, text, sizeof(text) - 1);
        text[n > 0 ? n : 0] = 0;
        CHECK_MSG(strstr(text, "body=1000000") != NULL, "%s", text);
        const char *last = "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        SSL_write(ssl, last, (int)strlen(last));
        long len = tls_read_until_end(ssl, big, sizeof(big));
        char *body = strstr(big, "\r\n\r\n");
        CHECK_MSG(body && len - (body + 4 - big) == 1 << 20, "%ld", len);
        tls_close(ssl, fd);
        ssl = tls_connect(ctx, rig.tls_port, &fd);
        SSL_write(ssl, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
        CHECK(SSL_read(ssl, text, sizeof(text)) > 0);
        tls_close(ssl, fd);
        fd = peer_connect(rig.tls_port); // plain HTTP to the TLS port
        peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        free(peer_read_all(fd, NULL, NULL));
        close(fd);
        SSL_CTX_free(ctx);
        struct sl_counters c = stats(&rig);
        CHECK_INT(c.tls_handshakes, 2);
        CHECK_INT(c.tls_failures, 1);
        rig_stop(&rig);
    }
}

// What TypeScript does late, never, or not at all.

static struct sl_event held[128];
static _Atomic uint32_t held_count;

static void handle_hold(struct isolate *s, const struct sl_event *e) {
    (void)s;
    if (e->kind == SL_EVENT_REQUEST) {
        held[atomic_load(&held_count) % 128] = *e;
        atomic_fetch_add(&held_count, 1);
    } else if (e->kind == SL_EVENT_ABORT) {
        atomic_fetch_add(&s->aborts, 1);
    }
}

// Bounded: 5 s.
static bool wait_held(uint32_t count) {
    for (int i = 0; i < 5000 && atomic_load(&held_count) < count; i++) {
        usleep(1000);
    }
    return atomic_load(&held_count) == count;
}

static uint64_t wait_late(const struct rig *rig, uint64_t count) {
    for (int i = 0; i < 5000 && stats(rig).late_verdicts < count; i++) {
        usleep(1000);
    }
    return stats(rig).late_verdicts;
}

// Upgrades.

// A WebSocket route without its frames: what comes goes back, a part at a time.
static uint32_t upgrade_part[64]; // bytes that wait to go back, by slot
static bool upgrade_writable[64], upgrade_ended[64];
static _Atomic uint32_t upgrade_status; // of the last CHUNK

static void upgrade_last(struct isolate *s, const struct sl_event *e, const char *last) {
    memcpy(slot(s, e->slot) + SL_SLOT_TX_OFF, last, strlen(last));
    verdict(s, (struct sl_verdict){.kind = SL_VERDICT_CHUNK, .flags = SL_VERDICT_F_END | SL_VERDICT_F_FINAL, .slot = e->slot, .gen = e->gen,
                                   .body_len = (uint32_t)strlen(last), .status = (uint16_t)atomic_load(&upgrade_status)});
}

static void upgrade_echo(struct isolate *s, const struct sl_event *e) {
    uint32_t n = upgrade_part[e->slot];
    if (!upgrade_writable[e->slot]) {
        return;
    }
    if (n > 0) {
        memcpy(slot(s, e->slot) + SL_SLOT_TX_OFF, slot(s, e->slot) + SL_SLOT_RX_OFF, n);
        upgrade_writable[e->slot] = false;
        upgrade_part[e->slot] = 0;
        verdict(s, (struct sl_verdict){.kind = SL_VERDICT_CHUNK, .slot = e->slot, .gen = e->gen, .body_len = n});
        verdict(s, (struct sl_verdict){.kind = SL_VERDICT_BODY_TAKEN, .slot = e->slot, .gen = e->gen});
    } else if (upgrade_ended[e->slot]) {
        upgrade_last(s, e, "!");
    }
}

static void handle_upgrade(struct isolate *s, const struct sl_event *e) {
    static const char fields[] = "sec-websocket-accept: x\r\n";
    switch (e->kind) {
    case SL_EVENT_REQUEST:
        upgrade_part[e->slot] = 0;
        upgrade_writable[e->slot] = upgrade_ended[e->slot] = false;
        memcpy(slot(s, e->slot) + SL_SLOT_TX_OFF, fields, sizeof(fields) - 1);
        verdict(s, (struct sl_verdict){.kind = SL_VERDICT_RESPOND, .status = 101, .slot = e->slot, .gen = e->gen,
                                       .head_len = sizeof(fields) - 1, .body_off = sizeof(fields) - 1});
        return;
    case SL_EVENT_WRITABLE:
        upgrade_writable[e->slot] = true;
        upgrade_echo(s, e);
        return;
    case SL_EVENT_BODY:
        upgrade_part[e->slot] = e->len;
        upgrade_ended[e->slot] = e->flags & SL_EVENT_F_END;
        upgrade_echo(s, e);
        return;
    case SL_EVENT_DRAIN:
        upgrade_last(s, e, "bye");
        return;
    default:
        atomic_fetch_add(&s->aborts, 1);
        verdict(s, (struct sl_verdict){.kind = SL_VERDICT_RELEASE, .flags = SL_VERDICT_F_FINAL, .slot = e->slot, .gen = e->gen});
    }
}

#define UPGRADE "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define UPGRADED "HTTP/1.1 101 Switching Protocols\r\n"

static int upgraded(const struct rig *rig) {
    int fd = peer_connect(rig->port);
    peer_send_text(fd, UPGRADE);
    peer_read_until(fd, text, sizeof(text), "\r\n\r\n");
    CHECK_MSG(strncmp(text, UPGRADED, sizeof(UPGRADED) - 1) == 0, "%s", text);
    return fd;
}

TEST(an_upgraded_connection_carries_bytes_as_they_are_both_ways) {
    EACH_BACKEND(io) {
        struct rig rig;
        atomic_store(&upgrade_status, 0);
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.body_bytes_max = 1000, .body_timeout_ms = 100, .handler_timeout_ms = 100}, handle_upgrade));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, UPGRADE "GET / HTTP/1.1\r\n\r\n"); // bytes now, whatever they say
        peer_read_until(fd, text, sizeof(text), "\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        char *bytes = strstr(text, "\r\n\r\n");
        REQUIRE(bytes && strncmp(text, UPGRADED, sizeof(UPGRADED) - 1) == 0);
        CHECK_STR(bytes + 4, "GET / HTTP/1.1\r\n\r\n");
        CHECK(strstr(text, "\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n"));
        CHECK(!strstr(text, "content-length") && !strstr(text, "transfer-encoding") && !strstr(text, "close"));
        CHECK_INT(stats(&rig).upgrades_live, 1);
        usleep(150000); // no clock of a body or a handler runs
        static char big[300000];
        for (size_t i = 0; i < sizeof(big); i++) {
            big[i] = (char)(i * 7 / 3);
        }
        for (size_t at = 0; at < sizeof(big); at += 30000) {
            peer_send(fd, big + at, 30000);
            for (size_t got = 0; got < 30000;) {
                ssize_t n = peer_recv(fd, text + got, 30000 - got);
                REQUIRE(n > 0);
                got += (size_t)n;
            }
            CHECK_MSG(memcmp(text, big + at, 30000) == 0, "bytes from %zu on", at);
        }
        peer_send_text(fd, "last");
        shutdown(fd, SHUT_WR);
        char *rest = peer_read_all(fd, NULL, NULL); // its end is told, and then ours
        CHECK_STR(rest, "last!");
        free(rest);
        close(fd);
        CHECK_INT(stats(&rig).upgrades, 1);
        CHECK_INT(stats(&rig).upgrades_live, 0);
        rig_stop(&rig);
        CHECK_INT(rig.isolate.aborts, 0);
    }
}

TEST(an_upgraded_connection_that_is_not_read_from_is_not_read) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.write_stall_ms = 200}, handle_upgrade));
        int fd = upgraded(&rig);
        static char big[65536];
        uint64_t sent = 0;
        ssize_t n = 1;
        for (int i = 0; i < 10000 && sent < (64 << 20) && (n > 0 || errno == EAGAIN); i++) { // until it is cut
            n = send(fd, big, sizeof(big), MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += n > 0 ? (uint64_t)n : 0;
            usleep(n > 0 ? 0 : 1000);
        }
        CHECK_MSG(sent < (64 << 20) && errno == ECONNRESET, "%llu bytes, %d", (unsigned long long)sent, errno);
        CHECK_INT(stats(&rig).by_status[-SL_E_WRITE_STALLED], 1);
        close(fd);
        rig_stop(&rig);
    }
}

TEST(an_upgraded_connection_ends_with_its_client_its_isolate_and_the_gateway) {
    EACH_BACKEND(io) {
        struct rig rig;
        atomic_store(&upgrade_status, 0);
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_upgrade));
        int gone = upgraded(&rig);
        struct linger rst = {1, 0};
        setsockopt(gone, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
        close(gone);
        for (int i = 0; i < 5000 && atomic_load(&rig.isolate.aborts) == 0; i++) {
            usleep(1000);
        }
        CHECK_INT(rig.isolate.aborts, 1);
        int fd = upgraded(&rig);
        atomic_store(&upgrade_status, (uint32_t)-SL_E_BAD_FRAME); // why, for the books
        CHECK_INT(sl_gateway_drain((uint32_t)rig.gateway, 5000), 0);
        char *rest = peer_read_all(fd, NULL, NULL);
        CHECK_STR(rest, "bye");
        free(rest);
        close(fd);
        CHECK_INT(sl_gateway_join((uint32_t)rig.gateway, 10000), 0);
        CHECK_INT(stats(&rig).by_status[-SL_E_BAD_FRAME], 1);
        rig_stop(&rig);

        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_upgrade));
        fd = upgraded(&rig);
        int reset = 0;
        CHECK_INT(sl_gateway_isolate_gone((uint32_t)rig.gateway, 0, SL_ISOLATE_CRASHED), 0);
        free(peer_read_all(fd, NULL, &reset));
        CHECK(reset);
        close(fd);
        rig_stop(&rig);
    }
}

TEST(only_a_request_that_asks_for_it_is_upgraded) {
    static const char *const rows[] = {
        "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
        "POST /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HEAD /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET /ws HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 9\r\n\r\nab",
    };
    EACH_BACKEND(io) {
        struct rig rig;
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_upgrade));
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            int fd = peer_connect(rig.port);
            peer_send_text(fd, rows[i]);
            peer_read_until(fd, text, sizeof(text), "\r\n\r\n");
            CHECK_MSG(strncmp(text, "HTTP/1.1 500 ", 13) == 0, "%zu: %s", i, text);
            close(fd);
        }
        CHECK_INT(stats(&rig).upgrades, 0);
        rig_stop_after(&rig, sizeof(rows) / sizeof(rows[0]));
    }
}

TEST(late_verdict_is_counted_and_answers_nobody) {
    EACH_BACKEND(io) {
        struct rig rig;
        atomic_store(&held_count, 0);
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_hold));
        int gone = peer_connect(rig.port);
        peer_send_text(gone, "GET /gone HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(wait_held(1));
        struct linger rst = {1, 0};
        setsockopt(gone, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
        close(gone);
        for (int i = 0; i < 5000 && atomic_load(&rig.isolate.aborts) == 0; i++) {
            usleep(1000);
        }
        int fd = peer_connect(rig.port); // must not get what was meant for the other
        peer_send_text(fd, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(wait_held(2));
        answer(&rig.isolate, &held[0], 200, "", "for the gone one", 16);
        CHECK_INT(wait_late(&rig, 1), 1);
        answer(&rig.isolate, &held[1], 200, "", "mine", 4);
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 4);
        CHECK(strstr(text, "\r\n\r\nmine"));
        close(fd);
        rig_stop(&rig);
    }
}

TEST(full_ring_is_503_and_counted) {
    EACH_BACKEND(io) {
        struct rig rig;
        int fds[65];
        atomic_store(&held_count, 0);
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_hold));
        for (uint32_t i = 0; i < 64; i++) { // as many as there are slots
            fds[i] = peer_connect(rig.port);
            peer_send_text(fds[i], "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        CHECK(wait_held(64));
        fds[64] = peer_connect(rig.port);
        peer_send_text(fds[64], "GET /more HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(peer_read_answer(fds[64], text, sizeof(text)) > 0);
        CHECK_MSG(strncmp(text, "HTTP/1.1 503 ", 13) == 0, "%s", text);
        CHECK_INT(stats(&rig).ring_full, 1);
        for (uint32_t i = 0; i < 64; i++) {
            answer(&rig.isolate, &held[i], 200, "", "ok", 2);
        }
        for (uint32_t i = 0; i < 64; i++) {
            CHECK_INT(peer_read_answer(fds[i], text, sizeof(text)), 2);
        }
        peer_send_text(fds[64], "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); // a 503 closes nothing
        CHECK_INT(peer_read_answer(fds[64], text, sizeof(text)), 6);
        for (uint32_t i = 0; i < 65; i++) {
            close(fds[i]);
        }
        rig_stop(&rig);
    }
}

TEST(silent_handler_is_504_and_an_ended_isolate_503) {
    EACH_BACKEND(io) {
        struct rig rig;
        atomic_store(&held_count, 0);
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.handler_timeout_ms = 50}, handle_hold));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(peer_read_answer(fd, text, sizeof(text)) > 0);
        CHECK_MSG(strncmp(text, "HTTP/1.1 504 ", 13) == 0, "%s", text);
        CHECK_INT(sl_gateway_isolate_gone((uint32_t)rig.gateway, 0, SL_ISOLATE_CRASHED), 0);
        CHECK_INT(stats(&rig).exchanges_live, 0);
        peer_send_text(fd, "GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(peer_read_answer(fd, text, sizeof(text)) > 0);
        CHECK_MSG(strncmp(text, "HTTP/1.1 503 ", 13) == 0, "%s", text);
        peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); // native routes go on
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 6);
        close(fd);
        rig_stop(&rig);
    }
}

TEST(reload_keeps_connections_and_a_bad_plan_changes_nothing) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        uint32_t g = (uint32_t)rig.gateway;
        int fd = peer_connect(rig.port);
        for (int i = 0; i < 50; i++) {
            char body[16];
            int n = snprintf(body, sizeof(body), "plan %d", i);
            plan_init(&builder);
            plan_respond(&builder, SL_METHOD_GET, "/", 200, "", body, (size_t)n);
            uint32_t len = plan_finish(&builder);
            CHECK_INT(sl_plan_load(g, builder.blob, len), 0);
            builder.blob[4] ^= 1; // another version
            CHECK_INT(sl_plan_load(g, builder.blob, len), SL_E_PLAN_INVALID);
            stats(&rig); // every worker has passed a turn
            peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            CHECK_INT(peer_read_answer(fd, text, sizeof(text)), n);
            CHECK_MSG(strstr(text, body) != NULL, "%d: %s", i, text);
        }
        close(fd);
        rig_stop(&rig);
    }
}

// Upstreams come and go in the workers' turns, while this thread reads their counters.
TEST(upstreams_are_counted_by_name_while_plans_change) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.workers = 2}, NULL));
        uint32_t g = (uint32_t)rig.gateway;
        for (int i = 0; i < 200; i++) {
            char line[64], out[256] = "";
            plan_init(&builder);
            for (int k = 0; k < i % 4; k++) {
                struct sl_plan_upstream *u = plan_proxy(&builder, SL_METHOD_GET, "/*", (uint16_t)(1 + k));
                u->head_timeout_ms += (uint32_t)(i % 7); // another row
            }
            CHECK_INT(sl_plan_load(g, builder.blob, plan_finish(&builder)), 0);
            sl_gateway_upstreams(g, (uint8_t *)out, sizeof(out)); // of either plan
            stats(&rig);
            stats(&rig); // by now every worker has taken the plan up, and published after that
            int n = sl_gateway_upstreams(g, (uint8_t *)out, sizeof(out));
            snprintf(line, sizeof(line), "%s", i % 4 ? "0 0 0 0 0 0 up\n" : "");
            CHECK_STR(out, line);
            CHECK_INT(n, (int)strlen(line) + 1);
            CHECK_INT(sl_gateway_upstreams(g, NULL, 0), n);
            CHECK_INT(sl_gateway_upstreams(g, (uint8_t *)out, 5), n);
        }
        rig_stop(&rig);
    }
}

static void handle_until_abort(struct isolate *s, const struct sl_event *e) {
    if (e->kind == SL_EVENT_ABORT) {
        atomic_fetch_add(&s->aborts, 1);
        verdict(s, (struct sl_verdict){.kind = SL_VERDICT_RELEASE, .flags = SL_VERDICT_F_FINAL, .slot = e->slot, .gen = e->gen});
    }
}

static void handle_begin(struct isolate *s, const struct sl_event *e) {
    if (e->kind == SL_EVENT_REQUEST) {
        memcpy(slot(s, e->slot) + SL_SLOT_TX_OFF, "begun", 5);
        verdict(s, (struct sl_verdict){.kind = SL_VERDICT_RESPOND, .status = 200, .slot = e->slot, .gen = e->gen, .body_len = 5});
    } else {
        handle_until_abort(s, e);
    }
}

// Over small segments, into little room: the kernel takes little of an answer.
static int connect_narrow(int port) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), segment = 536, room = 4096;
    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    CHECK_INT(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    peer_bound(fd);
    return fd;
}

TEST(client_that_half_closes_aborts_its_handler_and_gets_no_error) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_until_abort));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
        shutdown(fd, SHUT_WR);
        size_t len;
        free(peer_read_all(fd, &len, NULL));
        CHECK_INT(len, 0);
        CHECK_INT(atomic_load(&rig.isolate.aborts), 1);
        peer_send_text(fd, "x");
        close(fd);
        rig_stop(&rig);
    }
}

// As HTTP/1.0 it has neither length nor chunks: a proper end would make what came look whole.
TEST(client_that_half_closes_inside_an_answer_sees_that_it_is_broken) {
    EACH_BACKEND(io) {
        struct rig rig;
        int reset = 0;
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_begin));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET /begins HTTP/1.0\r\nHost: a\r\n\r\n");
        CHECK(peer_read_until(fd, text, sizeof(text), "begun") > 0);
        shutdown(fd, SHUT_WR);
        free(peer_read_all(fd, NULL, &reset));
        CHECK_INT(reset, 1);
        close(fd);
        rig_stop(&rig);
        CHECK_INT(atomic_load(&rig.isolate.aborts), 1);
    }
}

// Answers that the kernel has not taken yet, and behind them a request that nobody answers: its end is not theirs. How much the kernel takes is its
// own business, so there are some more of them each time; an odd number, because two are queued together and the next request waits for both.
TEST(client_that_half_closes_gets_the_answers_before_the_one_that_is_given_up) {
    static char body[60000];
    memset(body, 'b', sizeof(body));
    EACH_BACKEND(io) {
        for (size_t count = 1; count <= 9; count += 2) {
            struct rig rig;
            size_t len;
            plan_init(&builder);
            plan_respond(&builder, SL_METHOD_GET, "/most", 200, "", body, sizeof(body));
            plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_TYPESCRIPT, 0);
            REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_until_abort));
            int fd = connect_narrow(rig.port);
            for (size_t i = 0; i < count; i++) {
                peer_send_text(fd, "GET /most HTTP/1.1\r\nHost: a\r\n\r\n");
            }
            peer_send_text(fd, "GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
            shutdown(fd, SHUT_WR);
            for (int i = 0; i < 50 && atomic_load(&rig.isolate.aborts) == 0; i++) {
                usleep(1000); // it may begin while nothing is read; if not, then now
            }
            wait_for_exchanges(&rig);
            char *all = peer_read_all(fd, &len, NULL);
            CHECK_MSG(len > count * sizeof(body) && len < count * (sizeof(body) + 200), "%zu answers: %zu bytes", count, len);
            free(all);
            close(fd);
            rig_stop(&rig);
        }
    }
}

// Clocks.

TEST(a_connection_after_a_long_silence_has_its_whole_time) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.head_timeout_ms = 1000, .idle_timeout_ms = 1000}, NULL));
        usleep(1500000); // nothing happens: the loop sleeps longer than both timeouts
        SSL_CTX *ctx = SSL_CTX_new(TLS_method());
        SSL *ssl = SSL_new(ctx);
        int fd = peer_connect(rig.tls_port);
        usleep(50000); // some of its time, not all
        SSL_set_fd(ssl, fd);
        CHECK_INT(SSL_connect(ssl), 1);
        tls_close(ssl, fd);
        SSL_CTX_free(ctx);
        usleep(1500000);
        fd = peer_connect(rig.port);
        usleep(50000);
        peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 6);
        close(fd);
        rig_stop(&rig);
    }
}

TEST(an_idle_tls_connection_holds_no_buffer) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        SSL_CTX *ctx = SSL_CTX_new(TLS_method());
        SSL *ssl[4];
        int fds[4];
        for (int i = 0; i < 4; i++) {
            ssl[i] = tls_connect(ctx, rig.tls_port, &fds[i]);
        }
        for (int i = 0; i < 5000 && stats(&rig).tls_handshakes < 4; i++) {
            usleep(1000);
        }
        CHECK_INT(stats(&rig).io_bufs_lent, 0);
        for (int i = 0; i < 4; i++) {
            tls_close(ssl[i], fds[i]);
        }
        SSL_CTX_free(ctx);
        rig_stop(&rig);
    }
}

// Buffers.

// Bounded: 5 s.
static uint64_t wait_bytes_in(const struct rig *rig, uint64_t bytes) {
    for (int i = 0; i < 5000 && stats(rig).bytes_in < bytes; i++) {
        usleep(1000);
    }
    return stats(rig).bytes_in;
}

TEST(bytes_that_come_one_by_one_do_not_hold_a_buffer_each) {
    EACH_BACKEND(io) {
        struct rig rig;
        atomic_store(&held_count, 0);
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.small_bufs = 64}, handle_hold));
        const char *first = "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n";
        const char *second = "GET / HTTP/1.1\r\nHost: a\r\nX-Long: vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n\r\n";
        int fd = peer_connect(rig.port);
        peer_send_text(fd, first);
        CHECK(wait_held(1));
        for (size_t i = 0; second[i]; i++) {
            peer_send(fd, second + i, 1);
            CHECK_INT(wait_bytes_in(&rig, strlen(first) + i + 1), strlen(first) + i + 1);
            if (test_failures) {
                break;
            }
        }
        CHECK_MSG(stats(&rig).io_bufs_lent < 8, "%llu", (unsigned long long)stats(&rig).io_bufs_lent);
        answer(&rig.isolate, &held[0], 200, "", "held", 4);
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 4);
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 6);
        close(fd);
        rig_stop(&rig);
    }
}

// An isolate that breaks the contract.

// More parts than a queue has room for, none of them asked for.
static void handle_flood(struct isolate *s, const struct sl_event *e) {
    if (e->kind == SL_EVENT_ABORT) {
        verdict(s, (struct sl_verdict){.kind = SL_VERDICT_RELEASE, .flags = SL_VERDICT_F_FINAL, .slot = e->slot, .gen = e->gen});
        atomic_fetch_add(&s->aborts, 1);
    } else if (e->kind == SL_EVENT_REQUEST) {
        uint32_t entries = s->slots * SL_RING_ENTRIES_PER_SLOT, tail = atomic_load(word(s, SL_RING_VERDICT_TAIL_OFF));
        struct sl_verdict *at = (struct sl_verdict *)(void *)(s->region + SL_RING_EVENTS_OFF + (size_t)entries * 64);
        for (uint32_t i = 0; i < 64; i++) {
            at[(tail + i) & (entries - 1)] = (struct sl_verdict){.kind = i ? SL_VERDICT_CHUNK : SL_VERDICT_RESPOND, .status = 200,
                                                                 .slot = e->slot, .gen = e->gen, .body_len = 2048};
        }
        atomic_store(word(s, SL_RING_VERDICT_TAIL_OFF), tail + 63);
        verdict(s, at[(tail + 63) & (entries - 1)]); // all in one turn
    }
}

TEST(a_queue_without_room_gives_the_slot_back) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_flood));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET /s HTTP/1.1\r\nHost: a\r\n\r\n");
        free(peer_read_all(fd, NULL, NULL));
        close(fd);
        rig_stop(&rig); // no exchange may be left
        CHECK_INT(atomic_load(&rig.isolate.aborts), 1);
    }
}

static void handle_give_up(struct isolate *s, const struct sl_event *e) {
    if (e->kind == SL_EVENT_REQUEST) {
        verdict(s, (struct sl_verdict){.kind = SL_VERDICT_BODY_WANTED, .flags = SL_VERDICT_F_FINAL, .slot = e->slot, .gen = e->gen});
    }
}

TEST(a_slot_given_back_without_an_answer_is_500) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_give_up));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET /s HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(peer_read_answer(fd, text, sizeof(text)) > 0);
        CHECK_MSG(strncmp(text, "HTTP/1.1 500 ", 13) == 0, "%.40s", text);
        close(fd);
        rig_stop(&rig);
    }
}

static void handle_late_echo(struct isolate *s, const struct sl_event *e) {
    if (e->kind == SL_EVENT_BODY && (e->flags & SL_EVENT_F_END)) {
        usleep(100000); // a handler that works for a while
    }
    handle_echo(s, e);
}

TEST(handler_time_does_not_count_the_upload) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.handler_timeout_ms = 700}, handle_late_echo));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
        usleep(1000000); // a slow client
        peer_send_text(fd, "world");
        peer_read_answer(fd, text, sizeof(text));
        CHECK_MSG(strstr(text, "body=10") != NULL, "%s", text);
        close(fd);
        rig_stop(&rig);
    }
}

// Limits that meet.

TEST(a_head_may_be_larger_than_what_may_wait_behind_a_request) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.pipeline_bytes_max = 4096, .head_timeout_ms = 1000}, NULL));
        char head[16384];
        int n = sprintf(head, "GET /whoami HTTP/1.1\r\nHost: a\r\nX-Long: "), fd;
        memset(head + n, 'v', 14000);
        strcpy(head + n + 14000, "\r\n\r\n");
        fd = peer_connect(rig.port);
        peer_send_text(fd, head);
        CHECK(peer_read_answer(fd, text, sizeof(text)) > 14000);
        close(fd);
        SSL_CTX *ctx = SSL_CTX_new(TLS_method());
        SSL *ssl = tls_connect(ctx, rig.tls_port, &fd);
        SSL_write(ssl, head, (int)strlen(head));
        CHECK(SSL_read(ssl, text, 13) > 0);
        CHECK_MSG(strncmp(text, "HTTP/1.1 200 ", 13) == 0, "%.13s", text);
        tls_close(ssl, fd);
        SSL_CTX_free(ctx);
        rig_stop(&rig);
    }
}

TEST(an_answers_head_may_be_larger_too) {
    EACH_BACKEND(io) {
        struct rig rig;
        char head[16384];
        int n = sprintf(head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: ");
        memset(head + n, 'v', 14000);
        strcpy(head + n + 14000, "\r\n\r\nok");
        upstream_start(&up, head, strlen(head));
        plan_upstream(up.port);
        builder.upstreams[0].head_timeout_ms = 1000;
        REQUIRE(rig_start(&rig, io, (struct sl_config){.pipeline_bytes_max = 4096}, NULL));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 2);
        close(fd);
        rig_stop(&rig);
        upstream_stop(&up);
    }
}

// Those who stall and those who go on.

TEST(half_heads_have_a_part_of_the_requests_and_the_oldest_goes_first) {
    enum { HALF = 100, PART = 64 / 4 + 1 };
    EACH_BACKEND(io) {
        struct rig rig;
        int fds[HALF];
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.requests_max = 64}, NULL));
        for (int i = 0; i < HALF; i++) {
            fds[i] = peer_connect(rig.port);
            peer_send_text(fds[i], "GET / HTTP/1.1\r\nHo");
            if (i >= PART) { // the next one is sent once this one has made the oldest go
                CHECK(peer_read_until(fds[i - PART], text, sizeof(text), "head.\n") > 0);
                CHECK_MSG(strncmp(text, "HTTP/1.1 408 ", 13) == 0 && strstr(text, "connection: close\r\n"), "%d: %s", i, text);
            }
        }
        struct sl_counters c = stats(&rig);
        CHECK_INT(c.by_status[-SL_E_SHED_HEADS], HALF - PART);
        CHECK_INT(c.requests_live, PART);
        CHECK_INT(c.io_bufs_lent, PART);
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); // a whole head waits for nobody
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 6);
        close(fd);
        for (int i = HALF - PART; i < HALF; i++) {
            peer_send_text(fds[i], "st: a\r\n\r\n");
            CHECK_MSG(peer_read_answer(fds[i], text, sizeof(text)) == 6, "%d: %s", i, text);
        }
        for (int i = 0; i < HALF; i++) {
            close(fds[i]);
        }
        rig_stop(&rig);
    }
}

TEST(half_heads_that_are_long_have_a_part_of_the_large_buffers) {
    enum { HALF = 80, PART = 64 / 4 };
    EACH_BACKEND(io) {
        struct rig rig;
        int fds[HALF];
        char head[6000];
        int n = sprintf(head, "GET / HTTP/1.1\r\nHost: a\r\nX-Long: ");
        memset(head + n, 'v', 5000);
        head[n + 5000] = 0;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.large_bufs = 64}, NULL));
        for (int i = 0; i < HALF; i++) {
            fds[i] = peer_connect(rig.port);
            peer_send_text(fds[i], head);
            if (i >= PART) {
                CHECK(peer_read_until(fds[i - PART], text, sizeof(text), "head.\n") > 0);
                CHECK_MSG(strncmp(text, "HTTP/1.1 408 ", 13) == 0, "%d: %s", i, text);
            }
        }
        CHECK_INT(stats(&rig).by_status[-SL_E_SHED_HEADS], HALF - PART);
        peer_send_text(fds[HALF - 1], "\r\n\r\n");
        CHECK_INT(peer_read_answer(fds[HALF - 1], text, sizeof(text)), 6);
        for (int i = 0; i < HALF; i++) {
            close(fds[i]);
        }
        rig_stop(&rig);
    }
}

TEST(tls_clients_that_do_not_read_leave_others_something_to_shake_hands_with) {
    enum { STALLED = 100 }; // more than there are large buffers
    EACH_BACKEND(io) {
        struct rig rig;
        static char body[1 << 20];
        SSL *stalled[STALLED];
        int fds[STALLED], fd;
        SSL_CTX *ctx = SSL_CTX_new(TLS_method());
        plan_init(&builder);
        plan_respond(&builder, SL_METHOD_GET, "/large", 200, "", body, sizeof(body));
        plan_respond(&builder, SL_METHOD_GET, "/", 200, "", "hello\n", 6);
        REQUIRE(rig_start(&rig, io, (struct sl_config){.large_bufs = 64}, NULL));
        for (int i = 0; i < STALLED; i++) {
            fds[i] = connect_narrow(rig.tls_port);
            stalled[i] = tls_over(ctx, fds[i]);
            CHECK(SSL_write(stalled[i], "GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 36) == 36);
        }
        uint64_t sent = UINT64_MAX;
        for (int i = 0; i < 100 && sent != stats(&rig).bytes_out; i++) { // until nothing more leaves
            sent = stats(&rig).bytes_out;
            usleep(20000);
        }
        SSL *ssl = tls_connect(ctx, rig.tls_port, &fd);
        CHECK(SSL_write(ssl, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27) == 27);
        CHECK(SSL_read(ssl, text, sizeof(text)) > 0 && strncmp(text, "HTTP/1.1 200 ", 13) == 0);
        tls_close(ssl, fd);
        for (int i = 0; i < STALLED; i++) {
            tls_close(stalled[i], fds[i]);
        }
        SSL_CTX_free(ctx);
        rig_stop(&rig);
    }
}

TEST(requests_that_wait_for_their_answer_leave_others_something_to_receive_with) {
    EACH_BACKEND(io) {
        struct rig rig;
        int fds[64];
        atomic_store(&held_count, 0);
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.small_bufs = 64}, handle_hold));
        for (uint32_t i = 0; i < 64; i++) { // as many as there are buffers for heads
            fds[i] = peer_connect(rig.port);
            peer_send_text(fds[i], "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        CHECK(wait_held(64));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 6);
        CHECK_INT(stats(&rig).io_starved, 0);
        close(fd);
        for (uint32_t i = 0; i < 64; i++) {
            answer(&rig.isolate, &held[i], 200, "", "ok", 2);
            CHECK_INT(peer_read_answer(fds[i], text, sizeof(text)), 2);
            close(fds[i]);
        }
        rig_stop(&rig);
    }
}

TEST(clients_that_connect_for_tls_and_say_nothing_hold_no_buffer) {
    EACH_BACKEND(io) {
        struct rig rig;
        int fds[80];
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.large_bufs = 64}, NULL));
        for (int i = 0; i < 80; i++) {
            fds[i] = peer_connect(rig.tls_port);
            peer_send(fds[i], "\x16\x03\x01", i % 4); // some begin a record
        }
        for (int i = 0; i < 10000 && stats(&rig).bytes_in < 20 * (1 + 2 + 3); i++) {
            usleep(1000);
        }
        CHECK_INT(stats(&rig).io_bufs_lent, 0);
        SSL_CTX *ctx = SSL_CTX_new(TLS_method());
        int fd;
        SSL *ssl = tls_connect(ctx, rig.tls_port, &fd);
        tls_close(ssl, fd);
        SSL_CTX_free(ctx);
        for (int i = 0; i < 80; i++) {
            close(fds[i]);
        }
        rig_stop(&rig);
    }
}

// The limits that make memory, as defaults, but for the connections.
static uint64_t memory_of(uint32_t conns_max) {
    struct sl_config config = {.conns_max = conns_max, .workers = 1};
    struct rig rig = {.gateway = sl_gateway_new((uint8_t *)&config, sizeof(config))};
    uint8_t lines[512];
    int n = sl_gateway_describe((uint32_t)rig.gateway, lines, sizeof(lines) - 1);
    lines[n > 0 ? n : 0] = 0;
    const char *at = strstr((char *)lines, "memory_bytes ");
    sl_gateway_free((uint32_t)rig.gateway);
    return at ? strtoull(at + 13, NULL, 10) : 0;
}

TEST(an_idle_connection_costs_less_than_1_kib_and_holds_nothing_but_its_slot) {
    enum { MANY = 1000 };
    uint64_t each = (memory_of(10000) - memory_of(64)) / (10000 - 64);
    printf("# %llu bytes for each connection\n", (unsigned long long)each);
    CHECK_MSG(each > 256 && each < 1024, "%llu", (unsigned long long)each);
    EACH_BACKEND(io) {
        struct rig rig;
        static int fds[MANY];
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){.prefault = 1}, NULL));
        for (int i = 0; i < MANY; i++) {
            fds[i] = peer_connect(rig.port);
            peer_send_text(fds[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            CHECK_INT(peer_read_answer(fds[i], text, sizeof(text)), 6);
        }
        struct sl_counters c = stats(&rig);
        CHECK_INT(c.conns_live, MANY);
        CHECK_INT(c.requests_live, 0);
        CHECK_INT(c.io_bufs_lent, 0);
        for (int i = 0; i < MANY; i++) {
            close(fds[i]);
        }
        rig_stop(&rig);
    }
}

// Takes all descriptors but so many; io_uring knows the limit of when accepting began, so the limit itself is left alone.
static int *take_fds(int free_fds, int *out_count) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur > 65536) { // a million would take long
        limit.rlim_cur = limit.rlim_max = 65536;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    int *fds = malloc(limit.rlim_cur * sizeof(int)), count = 0;
    while ((fds[count] = dup(0)) >= 0) {
        count++;
    }
    for (int i = 0; i < free_fds; i++) {
        close(fds[--count]);
    }
    *out_count = count;
    return fds;
}

static void give_fds(int *fds, int count) {
    while (count > 0) {
        close(fds[--count]);
    }
    free(fds);
}

TEST(connections_beyond_the_descriptors_wait_and_others_are_served) {
    enum { MANY = 100, FREE = 10 };
    EACH_BACKEND(io) {
        struct rig rig;
        int fds[MANY], early, taken_count;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        early = peer_connect(rig.port);
        peer_send_text(early, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK_INT(peer_read_answer(early, text, sizeof(text)), 6);
        for (int i = 0; i < MANY; i++) {
            fds[i] = socket(AF_INET, SOCK_STREAM, 0);
            peer_bound(fds[i]);
        }
        int *taken = take_fds(FREE, &taken_count);
        struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)rig.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
        for (int i = 0; i < MANY; i++) {
            CHECK_INT(connect(fds[i], (struct sockaddr *)&addr, sizeof(addr)), 0); // the kernel's queue takes it
            peer_send_text(fds[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for (int i = 0; i < FREE; i++) {
            CHECK_INT(peer_read_answer(fds[i], text, sizeof(text)), 6);
        }
        CHECK_INT(stats(&rig).conns_live, 1 + FREE);
        for (int i = 0; i < 100; i++) {
            peer_send_text(early, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            CHECK_INT(peer_read_answer(early, text, sizeof(text)), 6);
        }
        CHECK_INT(stats(&rig).conns_live, 1 + FREE);
        give_fds(taken, taken_count);
        for (int i = FREE; i < MANY; i++) {
            CHECK_INT(peer_read_answer(fds[i], text, sizeof(text)), 6);
        }
        for (int i = 0; i < MANY; i++) {
            close(fds[i]);
        }
        close(early);
        rig_stop(&rig);
    }
}

// Ends.

struct crowd {
    int port, fds[1500];
    _Atomic int count;
};

static void *connect_on(void *arg) {
    struct crowd *crowd = arg;
    int fd;
    while (atomic_load(&crowd->count) < 1500 && (fd = peer_connect(crowd->port)) >= 0) {
        crowd->fds[atomic_load(&crowd->count)] = fd;
        atomic_fetch_add(&crowd->count, 1);
    }
    return NULL;
}

TEST(the_drains_deadline_cuts_those_that_came_last_too) {
    EACH_BACKEND(io) {
        struct rig rig;
        static struct crowd crowd;
        pthread_t thread;
        plan_basic();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, NULL));
        crowd.port = rig.port;
        atomic_store(&crowd.count, 0);
        pthread_create(&thread, NULL, connect_on, &crowd);
        for (int i = 0; i < 50000 && atomic_load(&crowd.count) < 20; i++) {
            usleep(100);
        }
        sl_gateway_drain((uint32_t)rig.gateway, 0);
        CHECK_INT(sl_gateway_join((uint32_t)rig.gateway, 700), 0); // an idle connection would have a second
        pthread_join(thread, NULL);
        for (int i = 0; i < atomic_load(&crowd.count); i++) {
            close(crowd.fds[i]);
        }
        rig_stop(&rig);
    }
}

static int new_with_plan(int io, uint32_t workers) {
    struct sl_config config = {.io = (uint32_t)io, .workers = workers};
    plan_basic();
    uint32_t len = plan_finish(&builder);
    int g = sl_gateway_new((uint8_t *)&config, sizeof(config));
    CHECK(g >= 0);
    CHECK(sl_gateway_listen((uint32_t)g, (const uint8_t *)"127.0.0.1:0", 11, 0xffffffff) > 0);
    CHECK_INT(sl_plan_load((uint32_t)g, builder.blob, len), 0);
    return g;
}

TEST(a_worker_that_cannot_start_says_why_and_the_gateway_can_be_freed) {
    EACH_BACKEND(io) {
        for (int round = 0; round < 20; round++) {
            uint32_t g = (uint32_t)new_with_plan(io, 2);
            struct rlimit old, none;
            getrlimit(RLIMIT_NOFILE, &old);
            none = old;
            none.rlim_cur = 3; // no descriptor is left for a loop
            setrlimit(RLIMIT_NOFILE, &none);
            CHECK_INT(sl_gateway_start(g) < 0, 1);
            uint8_t why[512];
            int n = sl_error_text(why, sizeof(why) - 1);
            why[n] = 0;
            setrlimit(RLIMIT_NOFILE, &old);
            CHECK_MSG(strncmp((char *)why, "start: worker ", 14) == 0, "%s", why);
            CHECK_INT(sl_gateway_join(g, 5000), 0);
            CHECK_INT(sl_gateway_free(g), 0);
        }
    }
}

TEST(a_thread_that_cannot_be_made_leaves_nothing_behind) {
    EACH_BACKEND(io) {
        uint32_t g = (uint32_t)new_with_plan(io, 2);
        pthread_attr_t attr;
        size_t stack;
        pthread_getattr_default_np(&attr);
        pthread_attr_getstacksize(&attr, &stack);
        pthread_attr_setstacksize(&attr, (size_t)1 << 46); // more than there are addresses
        CHECK_INT(pthread_setattr_default_np(&attr), 0);
        CHECK_INT(sl_gateway_start(g), SL_E_SYSTEM);
        uint8_t why[512];
        int n = sl_error_text(why, sizeof(why) - 1);
        why[n] = 0;
        pthread_attr_setstacksize(&attr, stack);
        pthread_setattr_default_np(&attr);
        pthread_attr_destroy(&attr);
        CHECK_MSG(strncmp((char *)why, "thread of worker 0 of 2", 23) == 0, "%s", why);
        CHECK_INT(sl_gateway_join(g, 2000), 0);
        CHECK_INT(sl_gateway_state(g), SL_CLOSED);
        CHECK_INT(sl_gateway_free(g), 0);
    }
}

// Bodies that come as slowly as they may.

// Bounded: 40 parts.
static int trickle_until_answer(int fd) {
    struct timeval wait = {0, 100000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)); // also the time between two bytes
    for (int i = 0; i < 40; i++) {
        peer_send_text(fd, "x");
        ssize_t n = peer_recv(fd, text, sizeof(text) - 1);
        text[n > 0 ? n : 0] = 0;
        if (n >= 0) {
            return i;
        }
    }
    return -1;
}

TEST(body_that_trickles_is_408_or_cut) {
    EACH_BACKEND(io) {
        struct rig rig;
        plan_basic();
        plan_entry(&builder, SL_PLAN_METHOD_ALL, "/*", SL_PLAN_OP_TYPESCRIPT, 0);
        REQUIRE(rig_start(&rig, io, (struct sl_config){.body_timeout_ms = 500}, handle_echo));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
        int parts = trickle_until_answer(fd);
        CHECK_MSG(parts >= 0 && parts < 20 && strncmp(text, "HTTP/1.1 408 ", 13) == 0, "after %d: %.40s", parts, text);
        close(fd);
        fd = peer_connect(rig.port); // answered already: what is left of its body is read on, but not for ever
        peer_send_text(fd, "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
        CHECK_INT(peer_read_answer(fd, text, sizeof(text)), 6);
        parts = trickle_until_answer(fd);
        CHECK_MSG(parts >= 0 && parts < 20, "%d", parts);
        close(fd);
        rig_stop(&rig);
    }
}

TEST(pieces_that_wait_for_an_upstream_do_not_hold_a_buffer_each) {
    EACH_BACKEND(io) {
        struct rig rig;
        int port, full = peer_listen(&port), fillers[4], fds[3];
        listen(full, 0);
        for (int i = 0; i < 4; i++) { // its queue is full: who comes now stays connecting
            struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
            fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            connect(fillers[i], (struct sockaddr *)&addr, sizeof(addr));
        }
        plan_upstream(port);
        builder.upstreams[0].connect_timeout_ms = 60000;
        REQUIRE(rig_start(&rig, io, (struct sl_config){.small_bufs = 64}, NULL));
        uint64_t sent = 0;
        for (int k = 0; k < 3; k++) {
            const char *head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
            fds[k] = peer_connect(rig.port);
            peer_send_text(fds[k], head);
            sent += strlen(head);
            for (int i = 0; i < 30 && !test_failures; i++) {
                peer_send_text(fds[k], "x");
                sent++;
                CHECK_INT(wait_bytes_in(&rig, sent), sent);
            }
        }
        CHECK_MSG(stats(&rig).io_bufs_lent < 24, "%llu", (unsigned long long)stats(&rig).io_bufs_lent);
        for (int k = 0; k < 3; k++) {
            close(fds[k]);
        }
        for (int i = 0; i < 4; i++) {
            close(fillers[i]);
        }
        close(full);
        rig_stop(&rig);
    }
}

TEST(a_second_drain_may_shorten_the_first) {
    EACH_BACKEND(io) {
        struct rig rig;
        atomic_store(&held_count, 0);
        plan_typescript();
        REQUIRE(rig_start(&rig, io, (struct sl_config){0}, handle_hold));
        int fd = peer_connect(rig.port);
        peer_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(wait_held(1));
        CHECK_INT(sl_gateway_drain((uint32_t)rig.gateway, 60000), 0);
        CHECK_INT(sl_gateway_join((uint32_t)rig.gateway, 50), SL_E_STATE); // the request runs
        CHECK_INT(sl_gateway_drain((uint32_t)rig.gateway, 0), 0);
        CHECK_INT(sl_gateway_join((uint32_t)rig.gateway, 5000), 0);
        close(fd);
        CHECK_INT(sl_gateway_isolate_gone((uint32_t)rig.gateway, 0, SL_ISOLATE_CRASHED), 0);
        atomic_store(&rig.isolate.stop, true);
        pthread_join(rig.isolate.thread, NULL);
        close(rig.isolate.wake_fd);
        close(rig.isolate.listen_fd);
        CHECK_INT(sl_gateway_free((uint32_t)rig.gateway), 0);
        munmap(rig.isolate.region, rig.isolate.bytes);
    }
}

static void *load_forever(void *arg) {
    _Atomic int *state = arg; // the port; 0: stop
    int port = atomic_load(state), bad = 0;
    while (atomic_load(state) == port) {
        char mine[4096];
        int fd = connect_with_small_window(port); // so that bodies are under way for many turns
        bad += peer_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") != 0;
        for (int i = 0; i < BIG_ANSWERS; i++) {
            peer_send_text(fd, "GET /big HTTP/1.1\r\nHost: a\r\n");
            peer_send_text(fd, i < BIG_ANSWERS - 1 ? "\r\n" : "Connection: close\r\n\r\n");
        }
        long n = peer_read_answer(fd, mine, sizeof(mine));
        bad += n < 5 || !strstr(mine, "plan ");
        size_t len;
        char *rest = peer_read_all(fd, &len, NULL);
        size_t head = len > 4 ? (size_t)(strstr(rest, "\r\n\r\n") + 4 - rest) : 0;
        // Whole, although their plans may have gone meanwhile; the last head has "connection: close", too.
        bad += len != BIG_ANSWERS * ((1 << 20) + head) + strlen("connection: close\r\n");
        free(rest);
        close(fd);
    }
    return (void *)(intptr_t)bad;
}

TEST(reload_under_load_over_several_workers) {
    EACH_BACKEND(io) {
        static char big[1 << 20];
        memset(big, 'p', sizeof(big));
        struct sl_config config = {.io = (uint32_t)io, .workers = 3};
        int g = sl_gateway_new((uint8_t *)&config, sizeof(config));
        REQUIRE(g >= 0);
        int port = sl_gateway_listen((uint32_t)g, (const uint8_t *)"127.0.0.1:0", 11, 0xffffffff);
        _Atomic int state = port;
        pthread_t threads[2];
        for (int i = 0; i < 60; i++) {
            char body[16];
            int n = snprintf(body, sizeof(body), "plan %d", i);
            plan_init(&builder);
            plan_respond(&builder, SL_METHOD_GET, "/", 200, "", body, (size_t)n);
            plan_respond(&builder, SL_METHOD_GET, "/big", 200, "", big, sizeof(big));
            uint32_t len = plan_finish(&builder);
            CHECK_INT(sl_plan_load((uint32_t)g, builder.blob, len), 0);
            memset(builder.blob, 0xee, len); // it was copied
            if (i == 0) {
                REQUIRE(sl_gateway_start((uint32_t)g) == 0);
                for (int k = 0; k < 2; k++) {
                    pthread_create(&threads[k], NULL, load_forever, &state);
                }
            }
            usleep(5000);
        }
        atomic_store(&state, 0);
        for (int k = 0; k < 2; k++) {
            void *bad;
            pthread_join(threads[k], &bad);
            CHECK_INT((intptr_t)bad, 0);
        }
        sl_gateway_drain((uint32_t)g, 5000);
        CHECK_INT(sl_gateway_join((uint32_t)g, 10000), 0);
        struct sl_counters c;
        sl_gateway_stats((uint32_t)g, (uint8_t *)&c, sizeof(c));
        CHECK_INT(c.conns_live, 0);
        CHECK_INT(c.requests_live, 0);
        CHECK_INT(c.io_bufs_lent, 0);
        CHECK(c.responses > BIG_ANSWERS);
        CHECK_INT(sl_gateway_free((uint32_t)g), 0);
    }
}

TEST(a_forced_parser_is_used_or_refused_by_name) {
    struct sl_config config = {.workers = 1};
    char why[256];
    setenv("SLUICE_PARSER", "turbo", 1);
    CHECK_INT(sl_gateway_new((uint8_t *)&config, sizeof(config)), SL_E_INVALID);
    int n = sl_error_text((uint8_t *)why, sizeof(why) - 1);
    why[n] = '\0';
    CHECK_MSG(strstr(why, "\"turbo\"") && strstr(why, "avx2"), "%s", why);
    setenv("SLUICE_PARSER", "scalar", 1);
    int g = sl_gateway_new((uint8_t *)&config, sizeof(config));
    CHECK(g >= 0);
    CHECK_STR(sl_http1_parser_name(), "scalar");
    CHECK_INT(sl_gateway_free((uint32_t)g), 0);
    unsetenv("SLUICE_PARSER");
}
