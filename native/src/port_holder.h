// Who holds a TCP port, for the error text of a failed bind. base layer.
#ifndef SL_PORT_HOLDER_H
#define SL_PORT_HOLDER_H

#include "base.h"

// Writes " (held by pid 123, nginx)" to out where /proc shows who listens on the port, else "". Never fails.
void sl_port_holder(uint16_t port, char *out, size_t len);

#endif
