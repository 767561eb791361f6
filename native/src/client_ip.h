// Who sends a request: the connection's other end or, if that is a proxy which is trusted, whom it names. http layer; pure.
//
// A proxy appends to X-Forwarded-For (or Forwarded, RFC 7239) the address that it was asked from; what lies left of that, anybody may have written.
// So elements are read from the right, each as long as the one who must have written it is trusted. The first that is not is the client. If one
// cannot be read, or there is none, the client is the last that could be: the trusted proxy which wrote it. Nothing that lies further left can
// change how an element is read. Only one of the two fields is believed, the one that the proxies are known to write.
#ifndef SL_CLIENT_IP_H
#define SL_CLIENT_IP_H

#include "address_set.h"
#include "http1_parse.h"

#define SL_CLIENT_HOPS_MAX 32u // elements that are read

struct sl_client_source {
    struct sl_address_set proxies;
    bool forwarded; // Forwarded, else X-Forwarded-For
};

void sl_client_ip(uint8_t out[SL_ADDRESS_BYTES], const struct sl_client_source *source, const uint8_t peer[SL_ADDRESS_BYTES],
                  const struct sl_head *head, const uint8_t *data);

// One node: "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1". False: none of these.
bool sl_client_node(uint8_t out[SL_ADDRESS_BYTES], struct sl_span node);

#endif
