#include "timer.h"

#define SLOT_BITS 6
#define SLOT_MASK (SL_TIMER_SLOTS - 1u)
#define HORIZON (1ull << (SLOT_BITS * SL_TIMER_LEVELS)) // ticks that the wheel can tell apart

static void list_init(struct sl_timer *head) { head->next = head->prev = head; }

static void list_push(struct sl_timer *head, struct sl_timer *timer) {
    timer->prev = head->prev;
    timer->next = head;
    head->prev->next = timer;
    head->prev = timer;
}

static void list_unlink(struct sl_timer *timer) {
    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    timer->next = timer->prev = NULL;
}

// Moves all of `from` to `to` and leaves `from` empty.
static void list_move(struct sl_timer *to, struct sl_timer *from) {
    list_init(to);
    if (from->next != from) {
        to->next = from->next;
        to->prev = from->prev;
        to->next->prev = to->prev->next = to;
        list_init(from);
    }
}

// Rounded up, so that a timer never fires early; without overflow for SL_TIMER_NEVER.
static uint64_t tick_of_due(uint64_t due_ns) {
    return due_ns / SL_TIMER_TICK_NS + (due_ns % SL_TIMER_TICK_NS != 0);
}

static void insert(struct sl_timers *timers, struct sl_timer *timer) {
    uint64_t tick = tick_of_due(timer->due_ns);
    if (tick < timers->tick) {
        tick = timers->tick;
    }
    if (tick - timers->tick >= HORIZON) {
        tick = timers->tick + HORIZON - 1; // looks again when that slot cascades
    }
    unsigned level = 0;
    for (uint64_t delta = (tick - timers->tick) >> SLOT_BITS; delta; delta >>= SLOT_BITS) {
        level++;
    }
    unsigned slot = (unsigned)(tick >> (level * SLOT_BITS)) & SLOT_MASK;
    list_push(&timers->slots[level][slot], timer);
    timers->occupied[level] |= 1ull << slot;
}

static void detach(struct sl_timers *timers, unsigned level, unsigned slot, struct sl_timer *to) {
    list_move(to, &timers->slots[level][slot]);
    timers->occupied[level] &= ~(1ull << slot);
}

void sl_timers_init(struct sl_timers *timers, uint64_t now_ns) {
    memset(timers, 0, sizeof(*timers));
    timers->tick = now_ns / SL_TIMER_TICK_NS;
    for (unsigned level = 0; level < SL_TIMER_LEVELS; level++) {
        for (unsigned slot = 0; slot < SL_TIMER_SLOTS; slot++) {
            list_init(&timers->slots[level][slot]);
        }
    }
}

void sl_timer_init(struct sl_timer *timer, void (*fn)(struct sl_timer *timer)) {
    *timer = (struct sl_timer){.fn = fn};
}

void sl_timer_set(struct sl_timers *timers, struct sl_timer *timer, uint64_t due_ns) {
    sl_timer_cancel(timers, timer);
    timer->due_ns = due_ns;
    insert(timers, timer);
    timers->count++;
}

void sl_timer_cancel(struct sl_timers *timers, struct sl_timer *timer) {
    if (!sl_timer_is_set(timer)) {
        return;
    }
    struct sl_timer *next = timer->next, *prev = timer->prev;
    list_unlink(timer);
    timers->count--;
    // The last one of a slot leaves only the slot's head (or the head of the list that is being run, which is not in the table).
    struct sl_timer *first = &timers->slots[0][0];
    if (next == prev && next >= first && next < first + SL_TIMER_LEVELS * SL_TIMER_SLOTS) {
        size_t index = (size_t)(next - first);
        timers->occupied[index / SL_TIMER_SLOTS] &= ~(1ull << (index % SL_TIMER_SLOTS));
    }
}

// At the start of a window of a level its timers spread over the levels below.
static void cascade(struct sl_timers *timers) {
    for (unsigned level = 1; level < SL_TIMER_LEVELS; level++) {
        if (timers->tick & ((1ull << (level * SLOT_BITS)) - 1)) {
            return;
        }
        struct sl_timer list;
        detach(timers, level, (unsigned)(timers->tick >> (level * SLOT_BITS)) & SLOT_MASK, &list);
        while (list.next != &list) {
            struct sl_timer *timer = list.next;
            list_unlink(timer);
            insert(timers, timer);
        }
    }
}

static void run_tick(struct sl_timers *timers) {
    struct sl_timer list;
    detach(timers, 0, (unsigned)timers->tick & SLOT_MASK, &list);
    timers
        ->tick++; // first: a callback that sets an overdue timer gets the next tick, not this one again
    while (list.next != &list) {
        struct sl_timer *timer = list.next;
        list_unlink(timer);
        timers->count--;
        timer->fn(timer);
    }
}

void sl_timers_run(struct sl_timers *timers, uint64_t now_ns) {
    uint64_t target = now_ns / SL_TIMER_TICK_NS;
    while (timers->tick <= target) {
        if (timers->count == 0) {
            timers->tick = target + 1;
            return;
        }
        cascade(timers);
        uint64_t ahead = timers->occupied[0] >> (timers->tick & SLOT_MASK);
        uint64_t next = ahead ? timers->tick + (unsigned)__builtin_ctzll(ahead)
                              : (timers->tick | SLOT_MASK) + 1;
        if (next > timers->tick) { // nothing up to there: only a window's start has other work
            timers->tick = sl_min_u64(next, target + 1);
            continue;
        }
        run_tick(timers);
    }
}

// The first tick at which this level has work: a slot to run, or one to cascade.
static uint64_t level_next(const struct sl_timers *timers, unsigned level) {
    unsigned shift = level * SLOT_BITS;
    uint64_t window = (timers->tick + ((1ull << shift) - 1)) >> shift; // first that has not begun
    unsigned start = (unsigned)window & SLOT_MASK;
    uint64_t bits = timers->occupied[level];
    uint64_t rotated = start ? (bits >> start) | (bits << (SL_TIMER_SLOTS - start)) : bits;
    return (window + (unsigned)__builtin_ctzll(rotated)) << shift;
}

uint64_t sl_timers_until_next(const struct sl_timers *timers, uint64_t now_ns) {
    if (timers->count == 0) {
        return SL_TIMER_NEVER;
    }
    uint64_t tick = UINT64_MAX;
    for (unsigned level = 0; level < SL_TIMER_LEVELS; level++) {
        if (timers->occupied[level]) {
            tick = sl_min_u64(tick, level_next(timers, level));
        }
    }
    uint64_t at_ns = tick * SL_TIMER_TICK_NS;
    return at_ns > now_ns ? at_ns - now_ns : 0;
}
