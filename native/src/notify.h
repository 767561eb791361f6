// Tells who started us what state we are in, by the protocol of systemd's sd_notify(3). base layer.
#ifndef SL_NOTIFY_H
#define SL_NOTIFY_H

#include "base.h"

// Sends text ("READY=1\nSTATUS=...") as one datagram to a Unix socket: a path, or "@" and an abstract name, as in NOTIFY_SOCKET.
int sl_notify_send(struct sl_span path, struct sl_span text);

#endif
