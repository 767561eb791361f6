// The last session that a client was given, as a client's cache would keep it: SSL_CTX_sess_set_new_cb(ctx, keep_session).
#ifndef SL_TEST_KEPT_SESSION_H
#define SL_TEST_KEPT_SESSION_H

#include <openssl/ssl.h>

static SSL_SESSION *last_session;

static inline int keep_session(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION_free(last_session);
    last_session = session;
    return 1;
}

// The caller's, or NULL.
static inline SSL_SESSION *take_session(void) {
    SSL_SESSION *session = last_session;
    last_session = NULL;
    return session;
}

static inline void forget_session(void) { SSL_SESSION_free(take_session()); }

#endif
