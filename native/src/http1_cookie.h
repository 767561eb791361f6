// Cookies of a request (RFC 6265 section 5.4). http layer, pure.
#ifndef SL_HTTP1_COOKIE_H
#define SL_HTTP1_COOKIE_H

#include "http1_parse.h"

// The first cookie of this name, over all Cookie lines: its value as sent, without blanks and quotes around it. False: there is none.
bool sl_http1_cookie(const struct sl_head *head, const uint8_t *data, struct sl_span name, struct sl_span *out_value);

#endif
