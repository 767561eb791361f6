// Memory that C and JavaScript share, and whose life is C's. base layer; any thread.
//
// JavaScript makes a block of memory and gives it to us, but it also takes it back when it likes: a program that dies of an uncaught error frees
// its blocks while our threads still run. So the pages are ours, mapped twice: where JavaScript's block lies, in place of its own pages, and once
// more for us. Whatever JavaScript unmaps is its own mapping; ours stays until sl_region_free.
#ifndef SL_REGION_H
#define SL_REGION_H

#include "base.h"

// theirs: page aligned, whole pages, nothing in it that matters. On SL_OK *out_ours shows the same bytes, all zero. Where the kernel or sandbox
// cannot map pages twice, and under TSan (which knows memory by its address), *out_ours is `theirs`. E_NO_MEMORY.
int sl_region_new(uint8_t **out_ours, uint8_t *theirs, size_t len);
void sl_region_free(uint8_t *ours, const uint8_t *theirs, size_t len);

#endif
