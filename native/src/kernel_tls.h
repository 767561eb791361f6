// Whether this kernel could take over TLS records of a socket (CONFIG_TLS, Documentation/networking/tls.rst). Only told: the data plane does not use it,
// because BoringSSL gives no traffic secrets through a C interface, and alerts, tickets and KeyUpdates would be ours to write. io layer.
#ifndef SL_KERNEL_TLS_H
#define SL_KERNEL_TLS_H

#include <stddef.h>

#include "sys.h"

// Writes "available, unused" or "not available: WHY", and a NUL. Returns the bytes before it, cut at len. Asks with one socket that it closes; any thread.
int sl_kernel_tls(const struct sl_sys *sys, char *out, size_t len);

#endif
