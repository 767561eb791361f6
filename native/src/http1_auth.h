// Credentials of an Authorization field, as Hono's basicAuth and bearerAuth read them. http layer, pure.
#ifndef SL_HTTP1_AUTH_H
#define SL_HTTP1_AUTH_H

#include "base.h"

// Of RFC 7617: "Basic" in any case, blanks, base64 (forgiving as atob: the padding may be missing), "user:password" in UTF-8. Decodes into out, which has
// room for 3/4 of value.len, and points into it. False: malformed, and nobody's.
bool sl_http1_basic(struct sl_span value, uint8_t *out, struct sl_span *out_user, struct sl_span *out_password);

// Of RFC 6750: the prefix in any case and blanks, or nothing where it is empty, then a token68. `prefix` in lower case.
bool sl_http1_bearer(struct sl_span value, struct sl_span prefix, struct sl_span *out_token);

#endif
