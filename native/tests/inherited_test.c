// Listening sockets from whoever started us (systemd): all workers accept from one, the drain leaves its queue alone, and what is no such socket is
// refused. And the datagrams that tell it our state.
#include <stdatomic.h>
#include <sys/un.h>

#include "peer.h"
#include "plan_builder.h"
#include "sluice/counters.h"
#include "sluice/sluice.h"
#include "test.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define PLAIN 0xffffffffu
#define CONNS 64

static struct plan_builder builder;
static char text[4096];

static int gateway_new(int io) {
    struct sl_config config = {.io = (uint32_t)io, .workers = 2, .exchanges = 64, .conns_max = 256};
    return sl_gateway_new((uint8_t *)&config, sizeof(config));
}

static void run(int gateway, const char *body) {
    plan_init(&builder);
    plan_respond(&builder, SL_METHOD_GET, "/", 200, "", body, (uint32_t)strlen(body));
    uint32_t len = plan_finish(&builder);
    CHECK_INT(sl_plan_load((uint32_t)gateway, builder.blob, len), 0);
    CHECK_INT(sl_gateway_start((uint32_t)gateway), 0);
}

static void end(int gateway, uint64_t conns) {
    struct sl_counters c;
    CHECK_INT(sl_gateway_join((uint32_t)gateway, 10000), 0);
    sl_gateway_stats((uint32_t)gateway, (uint8_t *)&c, sizeof(c));
    CHECK_INT(c.conns_accepted, conns);
    CHECK_INT(c.conns_closed, conns);
    CHECK_INT(c.io_ops_armed, 0);
    CHECK_INT(sl_gateway_free((uint32_t)gateway), 0);
}

static bool answers(int fd, const char *body) {
    return peer_read_answer(fd, text, sizeof(text)) == (long)strlen(body) && strstr(text, body);
}

static const int KINDS[] = {SL_IO_EPOLL, SL_IO_URING};

TEST(a_drain_leaves_the_queue_of_an_inherited_socket_to_the_next) {
    for (int k = 0; k < 2; k++) {
        int port, ours = peer_listen(&port), before = open_fds();
        int first = gateway_new(KINDS[k]);
        if (first < 0) {
            close(ours);
            continue;
        }
        CHECK_INT(sl_gateway_adopt((uint32_t)first, (uint32_t)dup(ours), PLAIN), port);
        run(first, "first");
        int fds[CONNS];
        for (int i = 0; i < CONNS; i++) {
            fds[i] = peer_connect(port);
            CHECK_INT(peer_send_text(fds[i], GET), 0);
        }
        for (int i = 0; i < CONNS; i++) {
            CHECK(answers(fds[i], "first"));
            close(fds[i]);
        }
        sl_gateway_drain((uint32_t)first, 5000);
        end(first, CONNS);
        CHECK_INT(open_fds(), before);
        // Nobody accepts now, and nobody is turned away.
        int waits = peer_connect(port);
        REQUIRE(waits >= 0);
        CHECK_INT(peer_send_text(waits, GET), 0);
        int second = gateway_new(KINDS[k]);
        CHECK_INT(sl_gateway_adopt((uint32_t)second, (uint32_t)dup(ours), PLAIN), port);
        run(second, "second");
        CHECK(answers(waits, "second"));
        close(waits);
        sl_gateway_drain((uint32_t)second, 5000);
        end(second, 1);
        CHECK_INT(open_fds(), before);
        close(ours);
    }
}

static void refused(int gateway, int fd, const char *why) {
    uint8_t out[64];
    int before = open_fds();
    CHECK_INT(sl_gateway_adopt((uint32_t)gateway, (uint32_t)fd, PLAIN), SL_E_INVALID);
    int len = sl_error_text((uint8_t *)text, sizeof(text) - 1);
    text[len > 0 ? len : 0] = 0;
    CHECK_MSG(strstr(text, why), "%s", text);
    CHECK_INT(sl_socket_address((uint32_t)fd, out, sizeof(out)), SL_E_INVALID);
    CHECK_INT(open_fds(), before);
}

TEST(what_is_no_socket_that_listens_is_refused) {
    int gateway = gateway_new(SL_IO_EPOLL);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un abstract = {.sun_family = AF_UNIX, .sun_path = "\0sluice-inherited-test"};
    int bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int unix_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FILE *file = tmpfile();
    CHECK_INT(bind(bound, (struct sockaddr *)&addr, sizeof(addr)), 0);
    CHECK_INT(bind(udp, (struct sockaddr *)&addr, sizeof(addr)), 0);
    CHECK_INT(bind(unix_socket, (struct sockaddr *)&abstract, sizeof(abstract)), 0);
    CHECK_INT(listen(unix_socket, 1), 0);
    refused(gateway, bound, "is no TCP socket that listens");
    refused(gateway, udp, "is no TCP socket that listens");
    refused(gateway, unix_socket, "is no TCP socket that listens");
    refused(gateway, fileno(file), "is no socket: Socket operation on non-socket");
    refused(gateway, 999999, "is no socket: Bad file descriptor");
    CHECK_INT(listen(bound, 1), 0);
    CHECK_INT(sl_gateway_adopt((uint32_t)gateway, (uint32_t)bound, 0), SL_E_INVALID); // there is no such certificate
    CHECK(sl_gateway_adopt((uint32_t)gateway, (uint32_t)bound, PLAIN) > 0);
    CHECK_INT(sl_gateway_free((uint32_t)gateway), 0);
    fclose(file);
    close(udp);
    close(unix_socket);
}

TEST(the_address_of_a_socket_is_as_a_listener_has_it) {
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    char expected[64], out[64] = "";
    int port, v4 = peer_listen(&port), v6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(expected, sizeof(expected), "127.0.0.1:%d", port);
    CHECK_INT(sl_socket_address((uint32_t)v4, (uint8_t *)out, sizeof(out)), (int)strlen(expected));
    CHECK_STR(out, expected);
    if (v6 >= 0 && bind(v6, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(v6, 1) == 0) {
        CHECK(sl_socket_address((uint32_t)v6, (uint8_t *)out, sizeof(out)) > 0);
        CHECK_MSG(strncmp(out, "[::1]:", 6) == 0, "%s", out);
    }
    close(v4);
    close(v6);
}

static int notify(const char *path, const char *what) {
    return sl_notify((const uint8_t *)path, strlen(path), (const uint8_t *)what, strlen(what));
}

static void hears(struct sockaddr_un *addr, socklen_t len, const char *path) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(fd, (struct sockaddr *)addr, len), 0);
    peer_bound(fd);
    CHECK_INT(notify(path, "READY=1\nSTATUS=up"), SL_OK);
    ssize_t n = peer_recv(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    unsigned long long us = 0;
    char rest;
    CHECK_MSG(sscanf(text, "READY=1\nSTATUS=up\nMONOTONIC_USEC=%llu%c", &us, &rest) == 2 && rest == '\n' && us > 0, "%s", text);
    close(fd);
}

TEST(a_state_comes_as_one_datagram) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    char path[sizeof(addr.sun_path)] = "/tmp/sluice-notify-XXXXXX";
    REQUIRE(mkdtemp(path) != NULL);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%.60s/socket", path);
    hears(&addr, sizeof(addr), addr.sun_path);
    CHECK_INT(notify(addr.sun_path, "READY=1"), SL_E_SYSTEM); // nobody is there any more
    unlink(addr.sun_path);
    CHECK_INT(notify(addr.sun_path, "READY=1"), SL_E_SYSTEM);
    rmdir(path);

    memset(addr.sun_path, 0, sizeof(addr.sun_path));
    int n = snprintf(path, sizeof(path), "@sluice-notify-test-%d", getpid());
    memcpy(addr.sun_path + 1, path + 1, (size_t)n - 1);
    hears(&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n), path);

    CHECK_INT(notify("relative", "READY=1"), SL_E_INVALID);
    CHECK_INT(notify("", "READY=1"), SL_E_INVALID);
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = 0;
    CHECK_INT(notify("/tmp/x", text), SL_E_INVALID);
    text[0] = '/';
    CHECK_INT(notify(text, "READY=1"), SL_E_INVALID);
}
