#include "region.h"

#include <errno.h>
#include <sys/mman.h>

#if defined(__SANITIZE_THREAD__)
#define BY_ADDRESS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BY_ADDRESS 1
#endif
#endif
#ifndef BY_ADDRESS
#define BY_ADDRESS 0
#endif

int sl_region_new(uint8_t **out_ours, uint8_t *theirs, size_t len) {
    *out_ours = theirs;
    if (BY_ADDRESS) {
        memset(theirs, 0, len);
        return SL_OK;
    }
    void *ours =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ours == MAP_FAILED) {
        return sl_fail(SL_E_NO_MEMORY, "mmap of %zu bytes for a ring: %s", len, strerror(errno));
    }
    // From an old size of 0 a shared mapping is not moved but doubled: no descriptor, and nothing that a filter on memfd_create could refuse.
    if (mremap(ours, 0, len, MREMAP_MAYMOVE | MREMAP_FIXED, theirs) != theirs) {
        munmap(ours, len);
        memset(theirs, 0, len);
        return SL_OK;
    }
    (void)madvise(ours, len, MADV_DONTFORK);
    *out_ours = ours;
    return SL_OK;
}

void sl_region_free(uint8_t *ours, const uint8_t *theirs, size_t len) {
    if (ours != theirs) {
        munmap(ours, len);
    }
}
