// Objects of one size, in one mapping taken at start: no malloc on the request path. base layer; owner thread only. The free list is LIFO, so
// that few objects in use touch few pages.
#ifndef SL_SLAB_H
#define SL_SLAB_H

#include "base.h"

struct sl_slab {
    uint8_t *memory;
    void *free;     // each free object's first word points to the next
    uint32_t size;  // bytes of one object, a multiple of 32
    uint32_t count; // objects
    uint32_t made;  // objects ever handed out: those after it have never been touched
    uint32_t used;
};

int sl_slab_init(struct sl_slab *slab, uint32_t size, uint32_t count); // SL_OK or E_NO_MEMORY
void sl_slab_touch(struct sl_slab *slab);                              // makes all of it resident (Linux 5.14)
void sl_slab_deinit(struct sl_slab *slab);                             // all must be free
void *sl_slab_take(struct sl_slab *slab);                              // zeroed only on first use; NULL when all are taken
void sl_slab_give(struct sl_slab *slab, void *object);

#endif
