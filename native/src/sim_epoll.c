#include "sim_internal.h"

#include <errno.h>
#include <stdlib.h>

// A registration. It gets ready by an event of its file, as in Linux; what it reports is what the file says when it is asked.
struct sim__watch {
    struct sim__watch *next;       // of the file
    struct sim__watch *epoll_next; // of the epoll descriptor
    struct epoll *epoll;
    struct sim__file *file;
    uint32_t events;
    epoll_data_t data;
    bool ready;
    uint64_t order; // of getting ready
};

struct epoll {
    struct sim__file file;
    struct sim__watch *watches;
    uint64_t order;
};

static int result(int rc) {
    errno = rc < 0 ? -rc : errno;
    return rc < 0 ? -1 : rc;
}

static struct epoll *epoll_at(struct sl_sim *sim, int fd) {
    return (struct epoll *)sim__file(sim, fd, SIM__EPOLL);
}

static void watch_ready(struct sim__watch *watch) {
    if (!watch->ready) {
        watch->ready = true;
        watch->order = watch->epoll->order++;
    }
}

void sim__watches_wake(struct sl_sim *sim, struct sim__file *file, uint32_t events) {
    (void)sim;
    for (struct sim__watch *watch = file->watches; watch; watch = watch->next) {
        if (events & (watch->events | EPOLLERR | EPOLLHUP)) {
            watch_ready(watch);
        }
    }
}

static void watch_free(struct sl_sim *sim, struct sim__watch *watch) {
    struct sim__watch **at = &watch->file->watches;
    while (*at != watch) {
        at = &(*at)->next;
    }
    *at = watch->next;
    at = &watch->epoll->watches;
    while (*at != watch) {
        at = &(*at)->epoll_next;
    }
    *at = watch->epoll_next;
    sim__unref(sim, watch->file);
    free(watch);
}

void sim__watches_drop(struct sl_sim *sim, struct sim__file *file) {
    while (file->watches) {
        watch_free(sim, file->watches);
    }
}

void sim__epoll_closed(struct sl_sim *sim, struct sim__file *file) {
    struct epoll *epoll = (struct epoll *)file;
    while (epoll->watches) {
        watch_free(sim, epoll->watches);
    }
}

int sim__epoll_create1(const struct sl_sys *sys, int flags) {
    struct sl_sim *sim = sim__of(sys);
    (void)flags;
    sim__call(sim);
    struct sim__file *file = sim__file_new(sim, SIM__EPOLL, sizeof(struct epoll));
    sim__ref(file);
    int fd = sim__fd_new(sim, file, false);
    sim__unref(sim, file);
    return result(fd);
}

static int watch_add(struct sl_sim *sim, struct epoll *epoll, struct sim__file *file,
                     const struct epoll_event *event) {
    for (struct sim__watch *watch = file->watches; watch; watch = watch->next) {
        if (watch->epoll == epoll) {
            return -EEXIST;
        }
    }
    if (sim__roll(sim, sim->faults.fd_error)) {
        return -ENOSPC; // fs.epoll.max_user_watches
    }
    struct sim__watch *watch = calloc(1, sizeof(*watch));
    SL_ASSERT(watch);
    *watch = (struct sim__watch){.next = file->watches,
                                 .epoll_next = epoll->watches,
                                 .epoll = epoll,
                                 .file = file,
                                 .events = event->events,
                                 .data = event->data};
    file->watches = epoll->watches = watch;
    sim__ref(file);
    if (sim__poll(sim, file) & (watch->events | EPOLLERR | EPOLLHUP)) {
        watch_ready(watch);
    }
    return 0;
}

int sim__epoll_ctl(const struct sl_sys *sys, int epoll_fd, int op, int fd,
                   struct epoll_event *event) {
    struct sl_sim *sim = sim__of(sys);
    sim__call(sim);
    sim__due(sim);
    struct epoll *epoll = epoll_at(sim, epoll_fd);
    struct sim__file *file = sim__file(sim, fd, 0);
    if (op == EPOLL_CTL_ADD) {
        return result(watch_add(sim, epoll, file, event));
    }
    struct sim__watch *watch = file->watches;
    while (watch && watch->epoll != epoll) {
        watch = watch->next;
    }
    if (!watch) {
        return result(-ENOENT);
    }
    if (op == EPOLL_CTL_DEL) {
        watch_free(sim, watch);
        return 0;
    }
    watch->events = event->events;
    watch->data = event->data;
    watch_ready(watch);
    return 0;
}

// The ready ones in order, or in a storm in any: they are independent.
static uint32_t ready_list(struct sl_sim *sim, struct epoll *epoll, struct sim__watch **list,
                           uint32_t max) {
    uint32_t count = 0, chosen = sim__roll(sim, sim->faults.spurious) ? sim__below(sim, 64) : 64;
    for (struct sim__watch *watch = epoll->watches; watch; watch = watch->epoll_next) {
        if (chosen-- == 0) {
            watch_ready(watch); // woken for nothing: it says what the file says
        }
        if (watch->ready && count < max) {
            list[count++] = watch;
        }
    }
    for (uint32_t i = 1; i < count; i++) {
        uint32_t k = i;
        for (struct sim__watch *watch = list[i]; k > 0; k--) {
            bool before =
                sim->config.stormy ? sim__below(sim, 4) == 0 : watch->order < list[k - 1]->order;
            if (!before) {
                break;
            }
            list[k] = list[k - 1];
            list[k - 1] = watch;
        }
    }
    return count;
}

static bool may_lie(const struct sim__file *file) {
    return file->kind != SIM__SOCKET || ((const struct sim__sock *)file)->state != SIM__CONNECTING;
}

static int collect(struct sl_sim *sim, struct epoll *epoll, struct epoll_event *events, int max) {
    static _Thread_local struct sim__watch *list[SIM__FILES_MAX];
    uint32_t count = ready_list(sim, epoll, list, SIM__FILES_MAX);
    int told = 0;
    for (uint32_t i = 0; i < count && told < max; i++) {
        struct sim__watch *watch = list[i];
        uint32_t now = sim__poll(sim, watch->file) & (watch->events | EPOLLERR | EPOLLHUP);
        if (may_lie(watch->file) && sim__roll(sim, sim->faults.false_ready)) {
            now |= watch->events & EPOLLIN;
        }
        if (!now || (watch->events & EPOLLET)) {
            watch->ready = false;
        }
        if (now) {
            events[told++] = (struct epoll_event){.events = now, .data = watch->data};
            sim->events++;
            watch->order = epoll->order++; // level triggered: last in line
        }
    }
    return told;
}

int sim__epoll_wait(const struct sl_sys *sys, int epoll_fd, struct epoll_event *events, int max,
                    int timeout_ms) {
    struct sl_sim *sim = sim__of(sys);
    struct epoll *epoll = epoll_at(sim, epoll_fd);
    sim__call(sim);
    sim__due(sim);
    if (sim__roll(sim, sim->faults.interrupt)) {
        return result(-EINTR);
    }
    uint64_t deadline_ns =
        timeout_ms < 0 ? UINT64_MAX : sim->now_ns + (uint64_t)timeout_ms * SL_NS_PER_MS;
    for (;;) {
        int told = collect(sim, epoll, events, max);
        if (told > 0 || sim->now_ns >= deadline_ns) {
            return told;
        }
        (void)sim__sleep(sim, deadline_ns);
    }
}
