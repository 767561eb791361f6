#include "sim_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "uring_abi.h"

#define FIRST_PORT 20000
#define SYNS_MAX 6
#define LOOPBACK_SEND_BYTES (256u << 10)
#define LOOPBACK_RECEIVE_BYTES (128u << 10)

void sl_sim_fail(struct sl_sim *sim, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "sim: seed %llu, event %llu: ", (unsigned long long)sim->config.seed,
            (unsigned long long)sim->events);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n%s", sim->config.replay ? sim->config.replay : "");
    abort();
}

// splitmix64: any seed is a good one.
uint64_t sim__random(struct sl_sim *sim) {
    uint64_t z = (sim->random += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

// Files.

void sim__ref(struct sim__file *file) { file->refs++; }

void sim__unref(struct sl_sim *sim, struct sim__file *file) {
    (void)sim;
    SL_ASSERT(file->refs > 0);
    if (--file->refs > 0) {
        return;
    }
    SL_ASSERT(!file->watches && !file->ops);
    if (file->kind == SIM__SOCKET) {
        struct sim__sock *sock = (struct sim__sock *)file;
        free(sock->out.bytes);
        free(sock->queue);
    }
    free(file);
}

struct sim__file *sim__file_new(struct sl_sim *sim, enum sim__kind kind, size_t size) {
    (void)sim;
    struct sim__file *file = calloc(1, size);
    SL_ASSERT(file);
    file->kind = kind;
    file->fd = -1;
    return file;
}

// The lowest free number, as the kernel gives it: a descriptor used after its close meets another file soon.
int sim__fd_new(struct sl_sim *sim, struct sim__file *file, bool peer_side) {
    uint32_t max = peer_side ? SIM__FILES_MAX : sim->fds_max;
    for (uint32_t i = 0; i < max; i++) {
        if (!sim->files[peer_side][i]) {
            sim->files[peer_side][i] = file;
            sim->open[peer_side]++;
            sim->fds_high = i >= sim->fds_high ? i + 1 : sim->fds_high;
            sim__ref(file);
            file->fd = (int)i + (peer_side ? SL_SIM_PEER : SL_SIM_FD);
            return file->fd;
        }
    }
    return -EMFILE;
}

static struct sim__file *file_at(const struct sl_sim *sim, int fd) {
    bool peer_side = fd >= SL_SIM_PEER;
    int index = fd - (peer_side ? SL_SIM_PEER : SL_SIM_FD);
    return index >= 0 && index < SIM__FILES_MAX ? sim->files[peer_side][index] : NULL;
}

struct sim__file *sim__file(struct sl_sim *sim, int fd, enum sim__kind kind) {
    struct sim__file *file = file_at(sim, fd);
    if (!file || (kind && file->kind != kind)) {
        sl_sim_fail(sim, "descriptor %d is %s", fd, file ? "of another kind" : "not open");
    }
    return file;
}

static struct sim__sock *sock_at(struct sl_sim *sim, int fd) {
    return (struct sim__sock *)sim__file(sim, fd, SIM__SOCKET);
}

void sim__wake(struct sl_sim *sim, struct sim__file *file, uint32_t events) {
    sim__watches_wake(sim, file, events);
    sim__ops_wake(sim, file, events);
}

// Time.

static bool earlier(const struct sim__entry *a, const struct sim__entry *b) {
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->seq < b->seq);
}

void sim__at(struct sl_sim *sim, uint64_t at_ns, void (*run)(struct sl_sim *, struct sim__file *),
             struct sim__file *file) {
    if (sim->calendar_count == sim->calendar_cap) {
        sim->calendar_cap = sim->calendar_cap ? 2 * sim->calendar_cap : 64;
        sim->calendar = realloc(sim->calendar, sim->calendar_cap * sizeof(*sim->calendar));
        SL_ASSERT(sim->calendar);
    }
    struct sim__entry entry = {at_ns, sim->seq++, run, file};
    uint32_t i = sim->calendar_count++;
    for (; i > 0 && earlier(&entry, &sim->calendar[(i - 1) / 2]); i = (i - 1) / 2) {
        sim->calendar[i] = sim->calendar[(i - 1) / 2];
    }
    sim->calendar[i] = entry;
    sim__ref(file);
}

static struct sim__entry calendar_pop(struct sl_sim *sim) {
    struct sim__entry first = sim->calendar[0];
    struct sim__entry last = sim->calendar[--sim->calendar_count];
    uint32_t i = 0, count = sim->calendar_count;
    for (uint32_t child = 1; child < count; child = 2 * i + 1) {
        if (child + 1 < count && earlier(&sim->calendar[child + 1], &sim->calendar[child])) {
            child++;
        }
        if (!earlier(&sim->calendar[child], &last)) {
            break;
        }
        sim->calendar[i] = sim->calendar[child];
        i = child;
    }
    sim->calendar[i] = last;
    return first;
}

static bool kicks_take(struct sl_sim *sim) {
    bool any = false;
    for (uint32_t i = 0; i < sim->fds_high && atomic_load(&sim->kicked); i++) {
        struct sim__event *event = (struct sim__event *)sim->files[0][i];
        if (event && event->file.kind == SIM__EVENT && atomic_exchange(&event->kicked, 0)) {
            sim__wake(sim, &event->file, EPOLLIN);
            any = true;
        }
    }
    if (any) {
        atomic_store(&sim->kicked, 0);
    }
    return any;
}

void sim__due(struct sl_sim *sim) {
    kicks_take(sim);
    while (sim->calendar_count > 0 && sim->calendar[0].at_ns <= sim->now_ns) {
        struct sim__entry entry = calendar_pop(sim);
        sim->events++;
        entry.run(sim, entry.file);
        sim__unref(sim, entry.file);
    }
}

static bool script_run(struct sl_sim *sim) {
    if (!sim->script || sim->in_script) {
        return false;
    }
    sim->in_script = true;
    bool did = sim->script(sim->script_owner);
    sim->in_script = false;
    return did;
}

bool sim__sleep(struct sl_sim *sim, uint64_t deadline_ns) {
    if (script_run(sim) || kicks_take(sim)) {
        sim__due(sim);
        return true;
    }
    uint64_t at_ns = sim->calendar_count > 0 ? sim->calendar[0].at_ns : UINT64_MAX;
    if (at_ns == UINT64_MAX && deadline_ns == UINT64_MAX) {
        sl_sim_fail(sim, "the loop sleeps, and nothing will ever wake it");
    }
    if (at_ns > deadline_ns) {
        sim->now_ns = deadline_ns > sim->now_ns ? deadline_ns : sim->now_ns;
        return false;
    }
    sim->now_ns = at_ns > sim->now_ns ? at_ns : sim->now_ns;
    sim__due(sim);
    return true;
}

static uint64_t packet_ns(struct sl_sim *sim) {
    uint64_t delay = sim->faults.delay_ns;
    return sim->now_ns + (delay ? sim__random(sim) % delay : 0);
}

// Flows.

static struct sim__sock *sock_of(struct sim__file *file) { return (struct sim__sock *)file; }

static uint32_t send_room(const struct sim__sock *sock) {
    const struct sim__flow *flow = &sock->out;
    return sock->choked ? 0 : flow->send_bytes - (uint32_t)(flow->written - flow->acked);
}

// Linux: half of what is queued must be free before a writer hears of it.
static bool writable(const struct sim__sock *sock) {
    uint32_t queued = (uint32_t)(sock->out.written - sock->out.acked);
    return !sock->choked && sock->out.send_bytes - queued >= queued / 2 && send_room(sock) > 0;
}

static void writer_wake(struct sl_sim *sim, struct sim__sock *sock) {
    if (sock->nospace && writable(sock)) {
        sock->nospace = false;
        sim__wake(sim, &sock->file, EPOLLOUT);
    }
}

static void unchoke(struct sl_sim *sim, struct sim__file *file) {
    sock_of(file)->choked = false;
    writer_wake(sim, sock_of(file));
}

static bool peer_open(const struct sim__sock *sock) {
    return sock->peer && sock->peer->held && sock->peer->state != SIM__DEAD;
}

// What is on its way in a flow gets lost.
static void flow_cut(struct sim__flow *flow) {
    flow->written = flow->acked = flow->arrived;
    flow->fin_written = false;
}

// The connection is over for this end. What had not left is lost, so is what has not arrived; what has can still be read.
static void sock_die(struct sl_sim *sim, struct sim__sock *sock, int error) {
    if (sock->state == SIM__DEAD) {
        return;
    }
    sock->state = SIM__DEAD;
    sock->error = error;
    flow_cut(&sock->out);
    if (sock->peer) {
        flow_cut(&sock->peer->out);
    }
    sim__wake(sim, &sock->file, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP);
}

static void rst_arrives(struct sl_sim *sim, struct sim__file *file) {
    struct sim__sock *sock = sock_of(file);
    if (sock->held && sock->state == SIM__CONNECTED) {
        bool close_wait = sock->peer && sock->peer->out.fin_arrived && !sock->shut_wr;
        sock_die(sim, sock, close_wait ? EPIPE : ECONNRESET);
    }
}

static void rst_send(struct sl_sim *sim, struct sim__sock *sock) {
    flow_cut(&sock->out);
    if (sock->peer && sim->faults.delay_ns == 0) {
        rst_arrives(sim, &sock->peer->file);
    } else if (sock->peer) {
        sim__at(sim, packet_ns(sim), rst_arrives, &sock->peer->file);
    }
}

// Whom nobody receives from any more has no window: what is sent to him brings the RST.
static uint32_t deliverable(const struct sim__sock *sock) {
    const struct sim__flow *flow = &sock->out;
    uint64_t sent = flow->written - flow->arrived;
    uint64_t room = flow->receive_bytes - (flow->arrived - flow->read);
    return (uint32_t)(peer_open(sock) ? sl_min_u64(sent, room) : sent);
}

static void deliver(struct sl_sim *sim, struct sim__sock *sock, uint32_t bytes) {
    struct sim__flow *flow = &sock->out;
    if (bytes > 0 && !peer_open(sock)) {
        flow_cut(flow); // nobody is there
        rst_arrives(sim, &sock->file);
        return;
    }
    flow->arrived += bytes;
    flow->acked = flow->acked > flow->arrived ? flow->acked : flow->arrived;
    uint32_t events = bytes ? EPOLLIN : 0;
    if (flow->fin_written && flow->arrived == flow->written && !flow->fin_arrived) {
        flow->fin_arrived = true;
        events = EPOLLIN | EPOLLRDHUP;
    }
    if (sock->peer && events) {
        sim__wake(sim, &sock->peer->file, events);
    }
    if (events & EPOLLRDHUP) { // its acknowledgement is a change of the sender's state
        sim__wake(sim, &sock->file, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    }
    writer_wake(sim, sock);
}

static void flow_push(struct sl_sim *sim, struct sim__sock *sock);

// The network breaks the connection now and then: for both ends, or by silence for one.
static bool broken(struct sl_sim *sim, struct sim__sock *sock) {
    if (sock->link == SL_SIM_UNIX || !sim__roll(sim, sim->faults.reset) || !peer_open(sock)) {
        return false;
    }
    struct sim__sock *peer = sock->peer;
    sim->breaks++;
    if (sim__below(sim, 4) == 0) {
        bool sends = peer->out.written > peer->out.arrived;
        sock_die(sim, sock, ETIMEDOUT);
        if (sends) { // and sends it again, to nobody
            sim__at(sim, packet_ns(sim), rst_arrives, &peer->file);
        }
    } else {
        rst_arrives(sim, &sock->file);
        rst_arrives(sim, &peer->file);
    }
    return true;
}

static void delivery(struct sl_sim *sim, struct sim__file *file) {
    struct sim__sock *sock = sock_of(file);
    sock->out.under_way = false;
    if (!sock->peer || broken(sim, sock)) {
        return;
    }
    uint32_t bytes = deliverable(sock);
    if (bytes > 1 && sim__roll(sim, sim->faults.short_io)) {
        bytes = 1 + sim__below(sim, bytes);
    }
    deliver(sim, sock, bytes);
    flow_push(sim, sock);
}

// Brings what is sent on its way to the receiver's buffer, if there is room.
static void flow_push(struct sl_sim *sim, struct sim__sock *sock) {
    struct sim__flow *flow = &sock->out;
    uint32_t bytes = deliverable(sock);
    bool fin = flow->fin_written && flow->arrived == flow->written && !flow->fin_arrived;
    if (!sock->peer || flow->under_way || (bytes == 0 && !fin)) {
        return;
    }
    if (sim->faults.delay_ns == 0) {
        deliver(sim, sock, bytes);
        return;
    }
    flow->under_way = true;
    sim__at(sim, packet_ns(sim), delivery, &sock->file);
}

// A part of a circle, as one or two pieces.
static void circle_copy(struct sim__flow *flow, uint64_t at, uint8_t *data, uint32_t len, bool in) {
    uint32_t cap = flow->send_bytes + flow->receive_bytes;
    for (uint32_t done = 0; done < len;) {
        uint32_t offset = (uint32_t)((at + done) % cap);
        uint32_t piece = sl_min_u32(len - done, cap - offset);
        memcpy(in ? flow->bytes + offset : data + done, in ? data + done : flow->bytes + offset,
               piece);
        done += piece;
    }
}

// Sockets.

static uint32_t buffer_bytes(struct sl_sim *sim, uint32_t given, uint32_t usual) {
    if (given || !sim->config.stormy) {
        return given ? given : usual;
    }
    static const uint32_t steps[] = {1, 7, 100, 2000, 16384, 65536};
    return steps[sim__below(sim, SL_COUNT_OF(steps))] + sim__below(sim, 3000);
}

static struct sim__sock *sock_new(struct sl_sim *sim, enum sl_sim_link link, bool peer_side) {
    struct sim__sock *sock =
        (struct sim__sock *)sim__file_new(sim, SIM__SOCKET, sizeof(struct sim__sock));
    sock->link = link;
    sock->peer_side = peer_side;
    sock->held = true;
    sock->out.send_bytes = buffer_bytes(sim, sim->config.send_bytes, LOOPBACK_SEND_BYTES);
    sock->out.receive_bytes = buffer_bytes(sim, sim->config.receive_bytes, LOOPBACK_RECEIVE_BYTES);
    return sock;
}

static void sock_connected(struct sim__sock *sock, struct sim__sock *peer) {
    sock->state = SIM__CONNECTED;
    sock->peer = peer;
    sim__ref(&peer->file);
    sock->out.bytes = malloc(sock->out.send_bytes + sock->out.receive_bytes);
    SL_ASSERT(sock->out.bytes);
}

static void sock_part(struct sl_sim *sim, struct sim__sock *sock) {
    struct sim__sock *peer = sock->peer;
    if (peer && !sock->held && !peer->held) {
        sock->peer = peer->peer = NULL;
        sim__unref(sim, &sock->file);
        sim__unref(sim, &peer->file);
    }
}

static void orphan(struct sl_sim *sim, struct sim__sock *sock) {
    struct sim__sock *peer = sock->peer;
    bool unread = peer && peer->out.arrived > peer->out.read;
    if (sock->state == SIM__CONNECTED && sock->link == SL_SIM_UNIX) {
        peer->error = unread ? ECONNRESET : peer->error;
        sock->out.fin_written = true;
        flow_push(sim, sock);
        flow_cut(&peer->out);
        sim__wake(sim, &peer->file, EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP);
    } else if (sock->state == SIM__CONNECTED && (unread || sock->linger0)) {
        rst_send(sim, sock);
        sock->state = SIM__DEAD;
    } else if (sock->state == SIM__CONNECTED) {
        sock->out.fin_written = true;
        flow_push(sim, sock);
    }
    if (peer) {
        flow_push(sim, peer);
    }
    sock_part(sim, sock);
}

static void sock_closed(struct sl_sim *sim, struct sim__sock *sock) {
    sock->held = false;
    for (uint32_t i = 0; i < sock->queued; i++) { // never accepted
        struct sim__sock *child = sock->queue[i];
        child->held = false;
        child->linger0 = true;
        orphan(sim, child);
        sim__unref(sim, &child->file);
    }
    sock->queued = 0;
    orphan(sim, sock);
}

static uint32_t sock_poll(struct sim__sock *sock) {
    if (sock->state == SIM__LISTENING) {
        return sock->queued ? EPOLLIN : 0;
    }
    if (sock->state == SIM__CONNECTING) {
        return 0;
    }
    bool gone = sock->link == SL_SIM_UNIX && !peer_open(sock);
    bool dead = sock->state == SIM__DEAD || sock->state == SIM__NEW || gone;
    bool fin = dead || sock->shut_rd || sock->peer->out.fin_arrived;
    uint32_t events = sock->error ? EPOLLERR : 0;
    events |= fin ? EPOLLIN | EPOLLRDHUP : 0;
    events |= sock->peer && sock->peer->out.arrived > sock->peer->out.read ? EPOLLIN : 0;
    events |= dead || (fin && sock->shut_wr) ? EPOLLHUP : 0;
    if (dead || sock->shut_wr || writable(sock)) {
        return events | EPOLLOUT;
    }
    sock->nospace = true;
    return events;
}

uint32_t sim__poll(struct sl_sim *sim, struct sim__file *file) {
    (void)sim;
    if (file->kind == SIM__EVENT) {
        return atomic_load(&((struct sim__event *)file)->count) ? EPOLLIN : 0;
    }
    return file->kind == SIM__SOCKET ? sock_poll((struct sim__sock *)file) : 0;
}

ssize_t sim__readable(struct sl_sim *sim, struct sim__sock *sock) {
    (void)sim;
    if (sock->state == SIM__CONNECTING) {
        return -EAGAIN;
    }
    if (sock->state == SIM__NEW || sock->state == SIM__LISTENING) {
        return -ENOTCONN;
    }
    const struct sim__flow *in = sock->peer ? &sock->peer->out : NULL;
    if (in && in->arrived > in->read) {
        return (ssize_t)(in->arrived - in->read);
    }
    if (sock->error) {
        return -sock->error;
    }
    return sock->shut_rd || sock->state == SIM__DEAD || in->fin_arrived ? 0 : -EAGAIN;
}

ssize_t sim__recv(struct sl_sim *sim, struct sim__sock *sock, void *out, size_t len) {
    ssize_t n = sim__readable(sim, sock);
    if (n <= 0) {
        sock->error = n == -EAGAIN ? sock->error : 0;
        return n;
    }
    struct sim__flow *in = &sock->peer->out;
    n = (ssize_t)sl_min_size((size_t)n, len);
    // A short read: the rest is as if it had come just after, with an event of its own. Not behind the end: nothing follows that.
    bool more_may_come = !in->fin_arrived && sock->state == SIM__CONNECTED && !sock->peer_side;
    if (sock->link == SL_SIM_BYTEWISE) {
        n = 1;
    } else if (more_may_come && sim->faults.delay_ns && sim__roll(sim, sim->faults.short_io)) {
        n = 1 + (ssize_t)sim__below(sim, (uint32_t)n);
    } else {
        more_may_come = false;
    }
    in->arrived = more_may_come ? in->read + (uint64_t)n : in->arrived;
    circle_copy(in, in->read, out, (uint32_t)n, false);
    in->read += (uint64_t)n;
    flow_push(sim, sock->peer);
    return n;
}

static uint32_t send_some(struct sl_sim *sim, struct sim__sock *sock, const uint8_t *data,
                          size_t len) {
    size_t done = 0;
    for (uint32_t room = send_room(sock); done < len && room > 0; room = send_room(sock)) {
        uint32_t n = (uint32_t)sl_min_size(len - done, room);
        circle_copy(&sock->out, sock->out.written, (uint8_t *)(uintptr_t)data + done, n, true);
        sock->out.written += n;
        done += n;
        flow_push(sim, sock); // without delays this makes room
    }
    return (uint32_t)done;
}

static int send_error(struct sim__sock *sock) {
    if (sock->state == SIM__NEW || sock->state == SIM__LISTENING) {
        return ENOTCONN;
    }
    if (sock->state == SIM__CONNECTING) {
        return EAGAIN;
    }
    if (sock->link == SL_SIM_UNIX && !peer_open(sock)) {
        return EPIPE;
    }
    int error = sock->error; // told once
    sock->error = 0;
    return !error && (sock->shut_wr || sock->state == SIM__DEAD) ? EPIPE : error;
}

ssize_t sim__send(struct sl_sim *sim, struct sim__sock *sock, const struct iovec *iov,
                  size_t count) {
    int error = send_error(sock);
    if (error) {
        return -error;
    }
    size_t total = 0, done = 0;
    for (size_t i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    bool cut = total > 1 && !sock->peer_side && sim->faults.delay_ns &&
               sim__roll(sim, sim->faults.short_io);
    size_t most = cut ? 1 + sim__below(sim, (uint32_t)sl_min_size(total, 1u << 20)) : total;
    for (size_t i = 0; i < count && done < most; i++) {
        size_t len = sl_min_size(iov[i].iov_len, most - done);
        uint32_t n = send_some(sim, sock, iov[i].iov_base, len);
        done += n;
        if (n < len || sock->state != SIM__CONNECTED) {
            break;
        }
    }
    if (done < total) {
        sock->nospace = true;
        if (cut && !sock->choked && done > 0) { // the rest finds no memory, for a while
            sock->choked = true;
            sim__at(sim, packet_ns(sim) + 1, unchoke, &sock->file);
        }
    }
    return done == 0 && total > 0 ? -EAGAIN : (ssize_t)done;
}

int sim__accept(struct sl_sim *sim, struct sim__sock *listener, int flags) {
    static const int errors[] = {EMFILE, ENFILE, ECONNABORTED, ENOMEM};
    if (listener->state != SIM__LISTENING) {
        return -EINVAL;
    }
    if (!listener->peer_side && sim->open[0] >= sim->fds_max) {
        return -EMFILE; // before the kernel looks for a connection
    }
    if (listener->queued == 0) {
        return -EAGAIN;
    }
    if (!listener->peer_side && sim__roll(sim, sim->faults.accept_error)) {
        return -errors[sim__below(sim, SL_COUNT_OF(errors))];
    }
    struct sim__sock *sock = listener->queue[0];
    int fd = sim__fd_new(sim, &sock->file, listener->peer_side);
    if (fd < 0) {
        return fd;
    }
    sock->file.flags = flags;
    sim__unref(sim, &sock->file); // the queue's
    listener->queued--;
    memmove(listener->queue, listener->queue + 1, listener->queued * sizeof(*listener->queue));
    return fd;
}

// Connecting.

static struct sim__sock *listener_at(struct sl_sim *sim, const struct sockaddr_in *addr) {
    struct sim__sock *found = NULL;
    uint32_t count = 0;
    for (int side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < sim->fds_high; i++) {
            struct sim__sock *sock = (struct sim__sock *)sim->files[side][i];
            if (sock && sock->file.kind == SIM__SOCKET && sock->state == SIM__LISTENING &&
                sock->local.sin_port == addr->sin_port) {
                found = ++count == 1 || sim__below(sim, count) == 0 ? sock : found; // SO_REUSEPORT
            }
        }
    }
    return found;
}

static void child_new(struct sl_sim *sim, struct sim__sock *listener, struct sim__sock *client) {
    struct sim__sock *child = sock_new(sim, listener->link, listener->peer_side);
    child->nodelay = listener->nodelay;
    child->local = listener->local;
    child->remote = client->local;
    sock_connected(child, client);
    sock_connected(client, child);
    listener->queue = realloc(listener->queue, (listener->queued + 1) * sizeof(*listener->queue));
    SL_ASSERT(listener->queue);
    listener->queue[listener->queued++] = child;
    sim__ref(&child->file);
    sim__wake(sim, &client->file, EPOLLOUT);
    sim__wake(sim, &listener->file, EPOLLIN);
}

static void syn_arrives(struct sl_sim *sim, struct sim__file *file) {
    static const int errors[] = {ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ECONNREFUSED};
    struct sim__sock *sock = sock_of(file);
    if (!sock->held || sock->state != SIM__CONNECTING) {
        return;
    }
    if (!sock->peer_side && sim__roll(sim, sim->faults.connect_error)) {
        sock_die(sim, sock, errors[sim__below(sim, SL_COUNT_OF(errors))]);
        return;
    }
    struct sim__sock *listener = listener_at(sim, &sock->remote);
    if (!listener) {
        sock_die(sim, sock, ECONNREFUSED);
    } else if (!listener->refuse && listener->queued <= listener->backlog) {
        child_new(sim, listener, sock);
    } else if (sock->syns < SYNS_MAX) { // dropped: it is sent again
        sim__at(sim, sim->now_ns + (SL_NS_PER_S << sock->syns++), syn_arrives, file);
    } else {
        sock_die(sim, sock, ETIMEDOUT);
    }
}

int sim__connect(struct sl_sim *sim, struct sim__sock *sock, const struct sockaddr *addr,
                 socklen_t len) {
    if (sock->state != SIM__NEW) {
        return sock->state == SIM__CONNECTING ? -EALREADY : -EISCONN;
    }
    SL_ASSERT(len >= sizeof(struct sockaddr_in));
    sock->remote =
        *(const struct sockaddr_in *)(const void *)addr; // a port is where IPv6 has it, too
    sock->local.sin_family = AF_INET;
    sock->local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sock->local.sin_port = htons(sim->next_port++);
    sock->state = SIM__CONNECTING;
    if (sim->faults.delay_ns == 0) {
        syn_arrives(sim, &sock->file);
    } else {
        sim__at(sim, packet_ns(sim), syn_arrives, &sock->file);
    }
    return -EINPROGRESS; // non-blocking: even if it is done already
}

// System calls.

static int result(int rc) {
    errno = rc < 0 ? -rc : errno;
    return rc < 0 ? -1 : rc;
}

static struct sl_sim *called(const struct sl_sys *sys) {
    struct sl_sim *sim = sim__of(sys);
    sim__call(sim);
    sim__due(sim);
    return sim;
}

static int open_file(struct sl_sim *sim, struct sim__file *file, int flags, bool peer_side) {
    sim__ref(file);
    int fd = sim__fd_new(sim, file, peer_side);
    file->flags = flags & (SOCK_NONBLOCK | SOCK_CLOEXEC);
    sim__unref(sim, file);
    return fd;
}

static int s_socket(const struct sl_sys *sys, int family, int type, int protocol) {
    struct sl_sim *sim = called(sys);
    (void)family;
    (void)protocol;
    if (sim__roll(sim, sim->faults.fd_error)) {
        return result(-EMFILE);
    }
    return result(open_file(sim, &sock_new(sim, SL_SIM_TCP, false)->file, type, false));
}

static int s_socketpair(const struct sl_sys *sys, int family, int type, int protocol,
                        int *out_fds) {
    struct sl_sim *sim = called(sys);
    struct sim__sock *socks[2];
    (void)family;
    (void)protocol;
    for (int i = 0; i < 2; i++) {
        socks[i] = sock_new(sim, SL_SIM_UNIX, false);
        out_fds[i] = open_file(sim, &socks[i]->file, type, false);
        SL_ASSERT(out_fds[i] >= 0);
    }
    sock_connected(socks[0], socks[1]);
    sock_connected(socks[1], socks[0]);
    return 0;
}

static bool port_taken(struct sl_sim *sim, const struct sim__sock *sock, uint16_t port) {
    for (uint32_t i = 0; i < sim->fds_high; i++) {
        const struct sim__sock *other = (const struct sim__sock *)sim->files[sock->peer_side][i];
        if (other && other != sock && other->file.kind == SIM__SOCKET && other->bound &&
            ntohs(other->local.sin_port) == port && !(other->reuse_port && sock->reuse_port)) {
            return true;
        }
    }
    return false;
}

static int sock_bind(struct sl_sim *sim, struct sim__sock *sock, const struct sockaddr *addr) {
    sock->local = *(const struct sockaddr_in *)(const void *)addr;
    uint16_t port = ntohs(sock->local.sin_port);
    if (port && port_taken(sim, sock, port)) {
        return -EADDRINUSE;
    }
    sock->local.sin_port = htons(port ? port : sim->next_port++);
    sock->bound = true;
    return 0;
}

static int s_bind(const struct sl_sys *sys, int fd, const struct sockaddr *addr, socklen_t len) {
    struct sl_sim *sim = called(sys);
    (void)len;
    return result(sock_bind(sim, sock_at(sim, fd), addr));
}

static int s_listen(const struct sl_sys *sys, int fd, int backlog) {
    struct sl_sim *sim = called(sys);
    struct sim__sock *sock = sock_at(sim, fd);
    if (sock->state != SIM__NEW && sock->state != SIM__LISTENING) {
        return result(-EINVAL);
    }
    sock->state = SIM__LISTENING;
    sock->backlog = (uint32_t)backlog;
    return 0;
}

static int s_connect(const struct sl_sys *sys, int fd, const struct sockaddr *addr, socklen_t len) {
    struct sl_sim *sim = called(sys);
    return result(sim__connect(sim, sock_at(sim, fd), addr, len));
}

static int s_accept4(const struct sl_sys *sys, int fd, struct sockaddr *addr, socklen_t *len,
                     int flags) {
    struct sl_sim *sim = called(sys);
    (void)addr;
    (void)len;
    if (sim__roll(sim, sim->faults.interrupt)) {
        return result(-EINTR);
    }
    return result(sim__accept(sim, sock_at(sim, fd), flags));
}

// An error is told to whoever asks first, also to a peek.
static ssize_t peek(struct sl_sim *sim, struct sim__sock *sock, void *data, size_t len) {
    ssize_t n = sim__readable(sim, sock);
    if (n <= 0) {
        sock->error = n == -EAGAIN ? sock->error : 0;
        return n;
    }
    n = (ssize_t)sl_min_size((size_t)n, len);
    circle_copy(&sock->peer->out, sock->peer->out.read, data, (uint32_t)n, false);
    return n;
}

static ssize_t s_recv(const struct sl_sys *sys, int fd, void *data, size_t len, int flags) {
    struct sl_sim *sim = called(sys);
    struct sim__sock *sock = sock_at(sim, fd);
    if (!(flags & MSG_DONTWAIT) && !(sock->file.flags & SOCK_NONBLOCK)) {
        sl_sim_fail(sim, "a receive that may block");
    }
    if (sim__roll(sim, sim->faults.interrupt)) {
        return result(-EINTR);
    }
    if (flags & MSG_PEEK) {
        return result((int)peek(sim, sock, data, len));
    }
    return result((int)sim__recv(sim, sock, data, len));
}

static ssize_t s_sendmsg(const struct sl_sys *sys, int fd, const struct msghdr *msg, int flags) {
    struct sl_sim *sim = called(sys);
    struct sim__sock *sock = sock_at(sim, fd);
    if (!(flags & MSG_DONTWAIT) && !(sock->file.flags & SOCK_NONBLOCK)) {
        sl_sim_fail(sim, "a send that may block");
    }
    if (sim__roll(sim, sim->faults.interrupt)) {
        return result(-EINTR);
    }
    ssize_t n = sim__send(sim, sock, msg->msg_iov, msg->msg_iovlen);
    if (n == -EPIPE && !(flags & MSG_NOSIGNAL)) {
        sl_sim_fail(sim, "SIGPIPE");
    }
    return result((int)n);
}

static int sock_shutdown(struct sl_sim *sim, struct sim__sock *sock, int how) {
    if (sock->state != SIM__CONNECTED) {
        sim__wake(sim, &sock->file, EPOLLHUP); // whoever waits is woken all the same
        return -ENOTCONN;
    }
    if (how != SHUT_WR) {
        sock->shut_rd = true;
    }
    if (how != SHUT_RD && !sock->shut_wr) {
        sock->shut_wr = true;
        sock->out.fin_written = true;
        flow_push(sim, sock);
    }
    uint32_t rd = how != SHUT_WR ? EPOLLIN | EPOLLRDHUP : 0;
    sim__wake(sim, &sock->file, EPOLLOUT | EPOLLHUP | rd);
    return 0;
}

static int s_shutdown(const struct sl_sys *sys, int fd, int how) {
    struct sl_sim *sim = called(sys);
    return result(sock_shutdown(sim, sock_at(sim, fd), how));
}

static int name_copy(const struct sockaddr_in *from, struct sockaddr *addr, socklen_t *len) {
    memcpy(addr, from, sl_min_size(*len, sizeof(*from)));
    *len = sizeof(*from);
    return 0;
}

static int s_getsockname(const struct sl_sys *sys, int fd, struct sockaddr *addr, socklen_t *len) {
    struct sl_sim *sim = called(sys);
    return name_copy(&sock_at(sim, fd)->local, addr, len);
}

static int s_getpeername(const struct sl_sys *sys, int fd, struct sockaddr *addr, socklen_t *len) {
    struct sl_sim *sim = called(sys);
    struct sim__sock *sock = sock_at(sim, fd);
    return sock->state == SIM__CONNECTED ? name_copy(&sock->remote, addr, len) : result(-ENOTCONN);
}

static int s_getsockopt(const struct sl_sys *sys, int fd, int level, int name, void *value,
                        socklen_t *len) {
    struct sl_sim *sim = called(sys);
    struct sim__sock *sock = sock_at(sim, fd);
    if (level == SOL_SOCKET && name == SO_ERROR) {
        *(int *)value = sock->error;
        sock->error = 0;
        return 0;
    }
    if (level == IPPROTO_TCP && name == TCP_NODELAY) {
        *(int *)value = sock->nodelay;
        return 0;
    }
    if (level == IPPROTO_TCP && name == TCP_INFO) {
        SL_ASSERT(*len == sizeof(struct tcp_info));
        ((struct tcp_info *)value)->tcpi_bytes_acked = sock->out.acked;
        ((struct tcp_info *)value)->tcpi_state =
            sock->state == SIM__DEAD ? 7 : 1; // CLOSE, ESTABLISHED
        return 0;
    }
    return result(-ENOPROTOOPT);
}

static int s_setsockopt(const struct sl_sys *sys, int fd, int level, int name, const void *value,
                        socklen_t len) {
    struct sl_sim *sim = called(sys);
    struct sim__sock *sock = sock_at(sim, fd);
    (void)len;
    if (level == SOL_SOCKET && name == SO_LINGER) {
        const struct linger *linger = value;
        sock->linger0 = linger->l_onoff && linger->l_linger == 0;
    } else if (level == SOL_SOCKET && name == SO_ATTACH_FILTER) {
        sock->refuse = true; // the only filter that we know drops SYNs
    } else if (level == SOL_SOCKET && name == SO_REUSEPORT) {
        sock->reuse_port = *(const int *)value;
    } else if (level == IPPROTO_TCP && name == TCP_NODELAY) {
        sock->nodelay = *(const int *)value;
    }
    return 0;
}

static void file_close(struct sl_sim *sim, struct sim__file *file) {
    if (file->ops) {
        sl_sim_fail(sim, "close of descriptor %d with operations armed", file->fd);
    }
    bool peer_side = file->fd >= SL_SIM_PEER;
    sim->files[peer_side][file->fd - (peer_side ? SL_SIM_PEER : SL_SIM_FD)] = NULL;
    sim->open[peer_side]--;
    file->fd = -1;
    sim__watches_drop(sim, file);
    if (file->kind == SIM__SOCKET) {
        sock_closed(sim, (struct sim__sock *)file);
    } else if (file->kind == SIM__EPOLL) {
        sim__epoll_closed(sim, file);
    } else if (file->kind == SIM__RING) {
        sim__ring_closed(sim, file);
    }
    sim__unref(sim, file);
}

static int s_close(const struct sl_sys *sys, int fd) {
    struct sl_sim *sim = called(sys);
    file_close(sim, sim__file(sim, fd, 0));
    return 0;
}

// Of an eventfd from any thread; of a socket from ours.
static ssize_t s_write(const struct sl_sys *sys, int fd, const void *data, size_t len) {
    struct sl_sim *sim = sim__of(sys);
    struct sim__file *file = sim__file(sim, fd, 0);
    if (file->kind == SIM__EVENT) {
        uint64_t add;
        SL_ASSERT(len == sizeof(add));
        memcpy(&add, data, sizeof(add));
        struct sim__event *event = (struct sim__event *)file;
        atomic_fetch_add(&event->count, add);
        atomic_store(&event->kicked, 1);
        atomic_store(&sim->kicked, 1);
        return (ssize_t)len;
    }
    struct iovec iov = {(void *)(uintptr_t)data, len};
    return result((int)sim__send(called(sys), sock_at(sim, fd), &iov, 1));
}

static int s_eventfd(const struct sl_sys *sys, unsigned count, int flags) {
    struct sl_sim *sim = called(sys);
    struct sim__file *file = sim__file_new(sim, SIM__EVENT, sizeof(struct sim__event));
    atomic_init(&((struct sim__event *)file)->count, count);
    return result(open_file(sim, file, flags, false));
}

static uint64_t s_now_ns(const struct sl_sys *sys) { return sim__of(sys)->now_ns; }

static const struct sl_sys calls = {
    .socket = s_socket,
    .socketpair = s_socketpair,
    .bind = s_bind,
    .listen = s_listen,
    .connect = s_connect,
    .accept4 = s_accept4,
    .recv = s_recv,
    .sendmsg = s_sendmsg,
    .shutdown = s_shutdown,
    .getsockname = s_getsockname,
    .getpeername = s_getpeername,
    .getsockopt = s_getsockopt,
    .setsockopt = s_setsockopt,
    .close = s_close,
    .write = s_write,
    .eventfd = s_eventfd,
    .epoll_create1 = sim__epoll_create1,
    .epoll_ctl = sim__epoll_ctl,
    .epoll_wait = sim__epoll_wait,
    .uring_setup = sim__uring_setup,
    .uring_enter = sim__uring_enter,
    .uring_register = sim__uring_register,
    .mmap = sim__mmap,
    .munmap = sim__munmap,
    .now_ns = s_now_ns,
};

// Peers.

static int peer_fd(struct sl_sim *sim, struct sim__sock *sock) {
    int fd = open_file(sim, &sock->file, 0, true);
    SL_ASSERT(fd >= 0);
    return fd;
}

void sl_sim_pair(struct sl_sim *sim, enum sl_sim_link link, int out_fds[2]) {
    struct sim__sock *ours = sock_new(sim, link, false), *peer = sock_new(sim, link, true);
    sock_connected(ours, peer);
    sock_connected(peer, ours);
    ours->local = peer->remote =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(sim->next_port++)};
    peer->local = ours->remote =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(sim->next_port++)};
    out_fds[0] = open_file(sim, &ours->file, SOCK_NONBLOCK | SOCK_CLOEXEC, false);
    SL_ASSERT(out_fds[0] >= 0);
    out_fds[1] = peer_fd(sim, peer);
}

static int listen_on(struct sl_sim *sim, struct sockaddr_in *out_addr, int backlog,
                     bool peer_side) {
    struct sim__sock *sock = sock_new(sim, SL_SIM_TCP, peer_side);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SL_ASSERT(sock_bind(sim, sock, (struct sockaddr *)&addr) == 0);
    sock->state = SIM__LISTENING;
    sock->backlog = (uint32_t)backlog;
    *out_addr = sock->local;
    int fd = open_file(sim, &sock->file, SOCK_NONBLOCK | SOCK_CLOEXEC, peer_side);
    SL_ASSERT(fd >= 0);
    return fd;
}

int sl_sim_listen(struct sl_sim *sim, struct sockaddr_in *out_addr, int backlog) {
    return listen_on(sim, out_addr, backlog, false);
}

int sl_sim_peer_listen(struct sl_sim *sim, struct sockaddr_in *out_addr, int backlog) {
    return listen_on(sim, out_addr, backlog, true);
}

int sl_sim_peer_connect(struct sl_sim *sim, const struct sockaddr_in *addr) {
    struct sim__sock *sock = sock_new(sim, SL_SIM_TCP, true);
    int fd = peer_fd(sim, sock);
    (void)sim__connect(sim, sock, (const struct sockaddr *)addr, sizeof(*addr));
    if (sock->state != SIM__DEAD) {
        return fd;
    }
    file_close(sim, &sock->file);
    return -ECONNREFUSED;
}

int sl_sim_peer_accept(struct sl_sim *sim, int listener) {
    return sim__accept(sim, sock_at(sim, listener), 0);
}

ssize_t sl_sim_peer_send(struct sl_sim *sim, int peer, const void *data, size_t len) {
    struct iovec iov = {(void *)(uintptr_t)data, len};
    return sim__send(sim, sock_at(sim, peer), &iov, 1);
}

ssize_t sl_sim_peer_recv(struct sl_sim *sim, int peer, void *out, size_t len) {
    return sim__recv(sim, sock_at(sim, peer), out, len);
}

bool sl_sim_connected(const struct sl_sim *sim, int fd) {
    const struct sim__sock *sock = (const struct sim__sock *)file_at(sim, fd);
    return sock && sock->state == SIM__CONNECTED;
}

uint64_t sl_sim_peer_arrived(const struct sl_sim *sim, int peer) {
    const struct sim__sock *sock = (const struct sim__sock *)file_at(sim, peer);
    return sock && sock->peer ? sock->peer->out.arrived : 0;
}

int sl_sim_peer_shutdown(struct sl_sim *sim, int peer, int how) {
    return sock_shutdown(sim, sock_at(sim, peer), how);
}

void sl_sim_peer_close(struct sl_sim *sim, int peer) { file_close(sim, sim__file(sim, peer, 0)); }

void sl_sim_peer_reset(struct sl_sim *sim, int peer) {
    sock_at(sim, peer)->linger0 = true;
    sl_sim_peer_close(sim, peer);
}

// Life.

static uint32_t chance(struct sl_sim *sim, uint32_t most) {
    return sim__below(sim, 3) ? sim__below(sim, most)
                              : 0; // a third of the faults rests in each run
}

static void storm_draw(struct sl_sim *sim) {
    static const uint32_t rings[] = {16, 64, 256, 8192};
    struct sl_sim_config *config = &sim->config;
    sim->faults = (struct sim__faults){
        .short_io = chance(sim, 40000),
        .interrupt = chance(sim, 3000),
        .reset = chance(sim, 300),
        .accept_error = chance(sim, 6000),
        .connect_error = chance(sim, 10000),
        .fd_error = chance(sim, 2000),
        .no_buffer = chance(sim, 6000),
        .cq_full = chance(sim, 6000),
        .defer = chance(sim, 40000),
        .more_lost = chance(sim, 10000),
        .odd_cancel = chance(sim, 50000),
        .enter_error = chance(sim, 3000),
        .spurious = chance(sim, 10000),
        .false_ready = chance(sim, 3000),
        .eager = sim__below(sim, 4) == 0,
        .delay_ns = 1000 + sim__random(sim) % (sim__below(sim, 2) ? 100000 : 20000000),
    };
    struct sim__faults *faults = &sim->faults;
    faults->delay_ns = config->delay_ns ? config->delay_ns : faults->delay_ns;
    if (config->unbroken) {
        faults->reset = faults->accept_error = faults->connect_error = faults->fd_error = 0;
    }
    config->cq_max = config->cq_max ? config->cq_max : rings[sim__below(sim, SL_COUNT_OF(rings))];
    config->sq_max = config->sq_max ? config->sq_max : config->cq_max / 2;
    config->lacks |= (uint32_t)(sim__random(sim) >> 40) &
                     (SL_SIM_NO_SQARRAY | SL_SIM_NO_RING_FDS | SL_SIM_NO_RECV_LIMIT |
                      SL_SIM_NO_RESTRICTIONS | SL_SIM_NO_MIN_WAIT);
}

struct sl_sim *sl_sim_new(const struct sl_sim_config *config) {
    struct sl_sim *sim = calloc(1, sizeof(*sim));
    SL_ASSERT(sim);
    sim->sys = calls;
    sim->config = *config;
    sim->random = config->seed;
    sim->now_ns = 1000 * SL_NS_PER_S;
    sim->next_port = FIRST_PORT;
    sim->fds_max = SIM__FILES_MAX;
    if (config->stormy) {
        storm_draw(sim);
    }
    return sim;
}

void sl_sim_free(struct sl_sim *sim) {
    for (int side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < SIM__FILES_MAX; i++) {
            if (sim->files[side][i]) {
                file_close(sim, sim->files[side][i]);
            }
        }
    }
    while (sim->calendar_count > 0) {
        sim__unref(sim, calendar_pop(sim).file);
    }
    free(sim->calendar);
    free(sim);
}

const struct sl_sys *sl_sim_sys(struct sl_sim *sim) { return &sim->sys; }
uint64_t sl_sim_now_ns(const struct sl_sim *sim) { return sim->now_ns; }
uint64_t sl_sim_events(const struct sl_sim *sim) { return sim->events; }
uint32_t sl_sim_fds(const struct sl_sim *sim) { return sim->open[0]; }
uint32_t sl_sim_armed(const struct sl_sim *sim) { return sim->armed; }
void sl_sim_fds_max(struct sl_sim *sim, uint32_t max) { sim->fds_max = max; }
void sl_sim_turn(struct sl_sim *sim) { sim__due(sim); }

uint64_t sl_sim_breaks(const struct sl_sim *sim) { return sim->breaks; }

uint16_t sl_sim_port(const struct sl_sim *sim, int fd) {
    const struct sim__sock *sock = (const struct sim__sock *)file_at(sim, fd);
    return sock ? ntohs(sock->local.sin_port) : 0;
}

uint16_t sl_sim_remote_port(const struct sl_sim *sim, int fd) {
    const struct sim__sock *sock = (const struct sim__sock *)file_at(sim, fd);
    return sock ? ntohs(sock->remote.sin_port) : 0;
}

int sl_sim_fd_flags(const struct sl_sim *sim, int fd) {
    const struct sim__file *file = file_at(sim, fd);
    return file ? file->flags : -1;
}

void sl_sim_advance(struct sl_sim *sim, uint64_t ns) {
    uint64_t until = sim->now_ns + ns;
    while (sim->calendar_count > 0 && sim->calendar[0].at_ns <= until) {
        sim->now_ns = sl_min_u64(
            until, sim->calendar[0].at_ns > sim->now_ns ? sim->calendar[0].at_ns : sim->now_ns);
        sim__due(sim);
    }
    sim->now_ns = until;
}

void sl_sim_calm(struct sl_sim *sim) {
    sim->faults = (struct sim__faults){.delay_ns = sim->faults.delay_ns ? 1000 : 0};
}

void sl_sim_on_sleep(struct sl_sim *sim, bool (*script)(void *owner), void *owner) {
    sim->script = script;
    sim->script_owner = owner;
}
