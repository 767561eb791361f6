#include "secret.h"

bool sl_equal_const_time(struct sl_span given, struct sl_span secret) {
    static const uint8_t none = 0;
    const uint8_t *bytes = secret.len > 0 ? secret.data : &none;
    size_t len = secret.len > 0 ? secret.len : 1, at = 0;
    size_t differ = given.len ^ secret.len;
    for (size_t i = 0; i < given.len; i++) {
        differ |= (size_t)(given.data[i] ^ bytes[at]);
        at++;
        at &= (size_t)0 - (size_t)(at < len); // from its beginning again, without a branch
    }
    __asm__("" : "+r"(differ)); // so that the compiler does not leave the loop early
    return differ == 0;
}

void sl_wipe(void *data, size_t len) {
    if (len > 0) {
        explicit_bzero(data, len);
    }
}
