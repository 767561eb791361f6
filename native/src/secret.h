// Secrets in memory: compared without telling by time where they differ, and wiped when they are no longer needed. base layer, pure.
#ifndef SL_SECRET_H
#define SL_SECRET_H

#include "base.h"

// Whether what a client gave is the secret. Its time depends on `given.len` alone, never on the secret's bytes or length.
bool sl_equal_const_time(struct sl_span given, struct sl_span secret);
// Overwrites memory, also where the compiler sees that nobody reads it again.
void sl_wipe(void *data, size_t len);

#endif
