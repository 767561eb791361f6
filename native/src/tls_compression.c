#include "tls_compression.h"
#include "ticket.h"
#include "tls_sni.h"

#include <pthread.h>
#include <stdlib.h>

#include <brotli/encode.h>
#include <zlib.h>

#define MESSAGES_MAX 2 // without and with an OCSP response

struct message {
    uint8_t *data;
    size_t len;
    uint8_t *forms[SL_COMPRESSIONS];
    size_t form_lens[SL_COMPRESSIONS];
};

struct sl_tls_compressed {
    struct message messages[MESSAGES_MAX];
    unsigned count;
};

// ---- the two libraries ----

static bool brotli(int quality, const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len) {
    return BrotliEncoderCompress(quality, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_GENERIC, in_len, in,
                                 out_len, out);
}

static bool zlib(int level, const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len) {
    uLongf len = *out_len;
    int rc = compress2(out, &len, in, in_len, level);
    *out_len = len;
    return rc == Z_OK;
}

// BrotliEncoderMaxCompressedSize is 0 for what is too long.
static size_t bound_of(enum sl_tls_compression how, size_t len) {
    return how == SL_COMPRESSION_BROTLI ? BrotliEncoderMaxCompressedSize(len) : compressBound(len);
}

static bool compress_into(enum sl_tls_compression how, bool best, const uint8_t *in, size_t in_len,
                          uint8_t *out, size_t *out_len) {
    return how == SL_COMPRESSION_BROTLI
               ? brotli(best ? BROTLI_MAX_QUALITY : 5, in, in_len, out, out_len)
               : zlib(best ? Z_BEST_COMPRESSION : Z_DEFAULT_COMPRESSION, in, in_len, out, out_len);
}

// ---- compressed ahead ----

struct sl_tls_compressed *sl__tls_compressed_new(void) {
    return calloc(1, sizeof(struct sl_tls_compressed));
}

static bool add_form(struct message *message, enum sl_tls_compression how) {
    size_t len = bound_of(how, message->len);
    uint8_t *room = malloc(len + 1);
    if (!room || !compress_into(how, true, message->data, message->len, room, &len)) {
        free(room);
        return false;
    }
    message->forms[how] = OPENSSL_memdup(room, len); // without the bound's slack
    message->form_lens[how] = len;
    free(room);
    return message->forms[how];
}

bool sl__tls_compressed_add(struct sl_tls_compressed *compressed, const uint8_t *data, size_t len) {
    SL_ASSERT(compressed->count < MESSAGES_MAX);
    struct message *message = &compressed->messages[compressed->count++];
    message->data = OPENSSL_memdup(data, len);
    message->len = len;
    bool ok = message->data;
    for (int how = 0; how < SL_COMPRESSIONS && ok; how++) {
        ok = add_form(message, (enum sl_tls_compression)how);
    }
    return ok;
}

void sl__tls_compressed_free(struct sl_tls_compressed *compressed) {
    for (unsigned i = 0; compressed && i < compressed->count; i++) {
        OPENSSL_free(compressed->messages[i].data);
        for (int how = 0; how < SL_COMPRESSIONS; how++) {
            OPENSSL_free(compressed->messages[i].forms[how]);
        }
    }
    free(compressed);
}

struct sl_span sl__tls_compressed_find(const struct sl_tls_compressed *compressed,
                                       enum sl_tls_compression how, const uint8_t *message,
                                       size_t len) {
    for (unsigned i = 0; compressed && i < compressed->count; i++) {
        const struct message *it = &compressed->messages[i];
        if (it->len == len && memcmp(it->data, message, len) == 0) {
            return (struct sl_span){it->forms[how], it->form_lens[how]};
        }
    }
    return (struct sl_span){NULL, 0};
}

// ---- in a handshake ----

static int certificate_index; // of credentials' ex_data
static pthread_once_t index_once = PTHREAD_ONCE_INIT;

static void let_go(void *parent, void *certificate, CRYPTO_EX_DATA *data, int index, long argl,
                   void *argp) {
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    sl_tls_certificate_free(certificate);
}

static void make_index(void) {
    certificate_index = SSL_CREDENTIAL_get_ex_new_index(0, NULL, NULL, NULL, let_go);
}

bool sl__tls_compression_attach(SSL_CREDENTIAL *credential,
                                const struct sl_tls_certificate *certificate) {
    pthread_once(&index_once, make_index);
    if (certificate_index < 0 ||
        !SSL_CREDENTIAL_set_ex_data(credential, certificate_index, (void *)certificate)) {
        return false;
    }
    sl__tls_certificate_ref(certificate);
    return true;
}

// A message that was not foreseen: BoringSSL would fail the handshake if it got nothing.
static bool compress_now(enum sl_tls_compression how, CBB *out, const uint8_t *in, size_t in_len) {
    uint8_t *room;
    size_t len = bound_of(how, in_len);
    return len > 0 && CBB_reserve(out, &room, len) &&
           compress_into(how, false, in, in_len, room, &len) && CBB_did_write(out, len);
}

static int compress_certificate(SSL *ssl, enum sl_tls_compression how, CBB *out, const uint8_t *in,
                                size_t in_len) {
    const struct sl_ticket_conn *conn = SSL_get_app_data(ssl);
    struct sl_counters *counters = conn->ctx->counters;
    const SSL_CREDENTIAL *credential = SSL_get0_selected_credential(ssl);
    const struct sl_tls_certificate *certificate =
        credential ? SSL_CREDENTIAL_get_ex_data(credential, certificate_index) : NULL;
    struct sl_span form = sl__tls_compressed_find(
        certificate ? sl__tls_certificate_compressed(certificate) : NULL, how, in, in_len);
    counters->certs_compressed++;
    counters->certs_compressed_late += form.len == 0;
    counters->certs_compressed_bytes += form.len;
    counters->certs_uncompressed_bytes += form.len ? in_len : 0;
    return form.len ? CBB_add_bytes(out, form.data, form.len) : compress_now(how, out, in, in_len);
}

static int compress_brotli(SSL *ssl, CBB *out, const uint8_t *in, size_t in_len) {
    return compress_certificate(ssl, SL_COMPRESSION_BROTLI, out, in, in_len);
}

static int compress_zlib(SSL *ssl, CBB *out, const uint8_t *in, size_t in_len) {
    return compress_certificate(ssl, SL_COMPRESSION_ZLIB, out, in, in_len);
}

bool sl__tls_compression_enable(SSL_CTX *ssl_ctx) { // in the order in which they are preferred
    return SSL_CTX_add_cert_compression_alg(ssl_ctx, TLSEXT_cert_compression_brotli,
                                            compress_brotli, NULL) &&
           SSL_CTX_add_cert_compression_alg(ssl_ctx, TLSEXT_cert_compression_zlib, compress_zlib,
                                            NULL);
}
