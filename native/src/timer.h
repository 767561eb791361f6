// Timers: a hierarchical wheel, tick 4 ms, intrusive, no allocation. base layer: time is always an argument. A timer fires in sl_timers_run,
// never early, at most one tick late; its callback may set or cancel any timer.
#ifndef SL_TIMER_H
#define SL_TIMER_H

#include "base.h"

#define SL_TIMER_TICK_NS (4 * SL_NS_PER_MS)
#define SL_TIMER_NEVER UINT64_MAX
#define SL_TIMER_LEVELS 4 // 64 slots each: 256 ms, 16 s, 17 min, 18 h; later ones wait in the last level
#define SL_TIMER_SLOTS 64

struct sl_timer {
    struct sl_timer *next, *prev; // both NULL: not set
    uint64_t due_ns;
    void (*fn)(struct sl_timer *timer);
};

struct sl_timers {
    struct sl_timer slots[SL_TIMER_LEVELS][SL_TIMER_SLOTS]; // list heads
    uint64_t occupied[SL_TIMER_LEVELS];                     // a bit per slot
    uint64_t tick;                                          // all before it have run
    uint32_t count;
};

void sl_timers_init(struct sl_timers *timers, uint64_t now_ns);
void sl_timer_init(struct sl_timer *timer, void (*fn)(struct sl_timer *timer));
void sl_timer_set(struct sl_timers *timers, struct sl_timer *timer, uint64_t due_ns); // moves it if it is set
void sl_timer_cancel(struct sl_timers *timers, struct sl_timer *timer);               // fine if it is not set
static inline bool sl_timer_is_set(const struct sl_timer *timer) { return timer->next != NULL; }
void sl_timers_run(struct sl_timers *timers, uint64_t now_ns);
// Nanoseconds from now to the next moment at which sl_timers_run may have work (a cascade counts); SL_TIMER_NEVER if none is set.
uint64_t sl_timers_until_next(const struct sl_timers *timers, uint64_t now_ns);

#endif
