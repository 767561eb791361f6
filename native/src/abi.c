#include "abi.h"

#include "base.h"
#include "sluice/sluice.h"

#define SIZE(name) sizeof(struct sl_##name),
#define OFFSET(name, field) offsetof(struct sl_##name, field),
static const uint32_t words[] = {SL_ABI_MAP(SIZE, OFFSET)};

int sl_abi(uint8_t *out, size_t len) {
    if (len) {
        memcpy(out, words, sl_min_size(len, sizeof(words)));
    }
    return (int)SL_COUNT_OF(words);
}
