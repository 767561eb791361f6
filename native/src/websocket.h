// The handshake of RFC 6455 as somebody between its two ends sees it: an upgrade goes on only if it is one to a WebSocket, and a connection becomes
// a tunnel only if the answer proves that the upstream has understood the same. Anything else could make the client and the upstream take bytes for
// requests, or the other way round. http layer; owns nothing.
#ifndef SL_WEBSOCKET_H
#define SL_WEBSOCKET_H

#include "http1_parse.h"

// A GET of HTTP/1.1 without a body, with Connection: upgrade, websocket among what Upgrade lists, and one Sec-WebSocket-Key. What else the
// handshake asks for (the version, the key's form) is for the upstream to judge.
bool sl_websocket_asked(const struct sl_head *request, const uint8_t *data);
// The answer to such a request is 101, to websocket, with the key's proof.
bool sl_websocket_accepted(const struct sl_head *request, const uint8_t *request_data, const struct sl_head *answer, const uint8_t *data);

#endif
