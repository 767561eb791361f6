#include "slab.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

int sl_slab_init(struct sl_slab *slab, uint32_t size, uint32_t count) {
    memset(slab, 0, sizeof(*slab));
    slab->size = (size + 31u) & ~31u;
    slab->count = count;
    size_t bytes = (size_t)slab->size * count;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return sl_fail(SL_E_NO_MEMORY, "mmap of %zu bytes for %u objects: %s", bytes, count,
                       strerror(errno));
    }
    slab->memory = memory;
    return SL_OK;
}

void sl_slab_deinit(struct sl_slab *slab) {
    SL_ASSERT(slab->used == 0);
    if (slab->memory) {
        munmap(slab->memory, (size_t)slab->size * slab->count);
    }
    memset(slab, 0, sizeof(*slab));
}

void sl_slab_touch(struct sl_slab *slab) {
    (void)madvise(slab->memory, (size_t)slab->size * slab->count, MADV_POPULATE_WRITE);
}

void *sl_slab_take(struct sl_slab *slab) {
    void *object = slab->free;
    if (object) {
        memcpy(&slab->free, object, sizeof(void *));
    } else if (slab->made < slab->count) {
        object = slab->memory + (size_t)slab->size * slab->made++;
    } else {
        return NULL;
    }
    slab->used++;
    return object;
}

void sl_slab_give(struct sl_slab *slab, void *object) {
    SL_ASSERT(slab->used > 0);
    memcpy(object, &slab->free, sizeof(void *));
    slab->free = object;
    slab->used--;
}
