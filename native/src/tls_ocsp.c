// What an OCSP response says (RFC 6960, 4.2.1): read for the control plane, which decides whether clients get it. BoringSSL has no reader of its own.
#include <stdio.h>
#include <time.h>

#include <openssl/posix_time.h>

#include "tls_boringssl.h"

#define CONTEXT(number) (CBS_ASN1_CONTEXT_SPECIFIC | (number))
#define CONSTRUCTED(number) (CBS_ASN1_CONSTRUCTED | CONTEXT(number))

struct answer {
    char serial[SL_TLS_SERIAL_TEXT_BYTES];
    const char *status;
    int64_t this_update, next_update; // Unix seconds; next_update 0: not said
};

static bool take_time(CBS *cbs, int64_t *out_unix_s) {
    CBS text;
    struct tm tm;
    return CBS_get_asn1(cbs, &text, CBS_ASN1_GENERALIZEDTIME) &&
           CBS_parse_generalized_time(&text, &tm, 0) && OPENSSL_tm_to_posix(&tm, out_unix_s);
}

// CertID ::= SEQUENCE { hashAlgorithm, issuerNameHash, issuerKeyHash, serialNumber }
static bool take_cert_id(CBS *cbs, struct answer *answer) {
    CBS id, skipped, serial;
    bool ok = CBS_get_asn1(cbs, &id, CBS_ASN1_SEQUENCE) &&
              CBS_get_asn1(&id, &skipped, CBS_ASN1_SEQUENCE) &&
              CBS_get_asn1(&id, &skipped, CBS_ASN1_OCTETSTRING) &&
              CBS_get_asn1(&id, &skipped, CBS_ASN1_OCTETSTRING) &&
              CBS_get_asn1(&id, &serial, CBS_ASN1_INTEGER) && CBS_len(&serial) > 0;
    if (ok) {
        sl__tls_serial_text(answer->serial, CBS_data(&serial), CBS_len(&serial));
    }
    return ok;
}

// CertStatus ::= CHOICE { good [0], revoked [1], unknown [2] }
static bool take_cert_status(CBS *cbs, struct answer *answer) {
    static const struct {
        CBS_ASN1_TAG tag;
        const char *word;
    } choices[] = {{CONTEXT(0), "good"}, {CONSTRUCTED(1), "revoked"}, {CONTEXT(2), "unknown"}};
    CBS body;
    CBS_ASN1_TAG tag;
    if (!CBS_get_any_asn1(cbs, &body, &tag)) {
        return false;
    }
    for (size_t i = 0; i < SL_COUNT_OF(choices); i++) {
        if (choices[i].tag == tag) {
            answer->status = choices[i].word;
        }
    }
    return answer->status != NULL;
}

// SingleResponse ::= SEQUENCE { certID, certStatus, thisUpdate, nextUpdate [0] OPTIONAL, singleExtensions [1] OPTIONAL }
static bool take_answer(CBS *answers, struct answer *answer) {
    CBS single, next;
    int has_next;
    *answer = (struct answer){.status = NULL};
    return CBS_get_asn1(answers, &single, CBS_ASN1_SEQUENCE) && take_cert_id(&single, answer) &&
           take_cert_status(&single, answer) && take_time(&single, &answer->this_update) &&
           CBS_get_optional_asn1(&single, &next, &has_next, CONSTRUCTED(0)) &&
           (!has_next || take_time(&next, &answer->next_update));
}

// BasicOCSPResponse ::= SEQUENCE { tbsResponseData, … }; ResponseData ::= SEQUENCE { version [0] OPTIONAL, responderID, producedAt, responses, … }
static bool enter_basic(CBS basic, CBS *out_answers) {
    CBS outer, data, skipped;
    CBS_ASN1_TAG tag;
    int64_t produced_at;
    return CBS_get_asn1(&basic, &outer, CBS_ASN1_SEQUENCE) && CBS_len(&basic) == 0 &&
           CBS_get_asn1(&outer, &data, CBS_ASN1_SEQUENCE) &&
           CBS_get_optional_asn1(&data, &skipped, NULL, CONSTRUCTED(0)) &&
           CBS_get_any_asn1(&data, &skipped, &tag) && take_time(&data, &produced_at) &&
           CBS_get_asn1(&data, out_answers, CBS_ASN1_SEQUENCE) && CBS_len(out_answers) > 0;
}

static const char *text_of_failure(unsigned status) {
    static const char *const texts[] = {
        "successful", "malformedRequest", "internalError", "tryLater",
        "4",          "sigRequired",      "unauthorized"};
    return status < SL_COUNT_OF(texts) ? texts[status] : "an unknown failure";
}

// OCSPResponse ::= SEQUENCE { responseStatus ENUMERATED, responseBytes [0] SEQUENCE { responseType, response OCTET STRING } OPTIONAL }
static int enter(struct sl_span response, CBS *out_answers) {
    static const uint8_t basic_oid[] = {0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1};
    CBS cbs, outer, status, wrapped, bytes, type, basic;
    uint8_t number;
    CBS_init(&cbs, response.data, response.len);
    if (!CBS_get_asn1(&cbs, &outer, CBS_ASN1_SEQUENCE) || CBS_len(&cbs) != 0 ||
        !CBS_get_asn1(&outer, &status, CBS_ASN1_ENUMERATED) || !CBS_get_u8(&status, &number)) {
        return sl_fail(SL_E_TLS_CONFIG, "it is no OCSP response in DER (%zu bytes)", response.len);
    }
    if (number != 0) {
        return sl_fail(SL_E_TLS_CONFIG, "the OCSP responder gave no answer: %s",
                       text_of_failure(number));
    }
    if (!CBS_get_asn1(&outer, &wrapped, CONSTRUCTED(0)) ||
        !CBS_get_asn1(&wrapped, &bytes, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1(&bytes, &type, CBS_ASN1_OBJECT) ||
        !CBS_mem_equal(&type, basic_oid, sizeof(basic_oid)) ||
        !CBS_get_asn1(&bytes, &basic, CBS_ASN1_OCTETSTRING) || !enter_basic(basic, out_answers)) {
        return sl_fail(SL_E_TLS_CONFIG,
                       "the OCSP response is damaged, or not of the basic type (%zu bytes)",
                       response.len);
    }
    return SL_OK;
}

int sl_tls_ocsp_describe(struct sl_span response, char *out, size_t len) {
    CBS answers;
    struct answer answer;
    size_t at = 0;
    int rc = enter(response, &answers);
    while (rc == SL_OK && CBS_len(&answers) > 0) {
        char line[SL_TLS_SERIAL_TEXT_BYTES + 64];
        if (!take_answer(&answers, &answer)) {
            return sl_fail(SL_E_TLS_CONFIG, "the OCSP response is damaged (%zu bytes)",
                           response.len);
        }
        int n = snprintf(line, sizeof(line), "%s %s %lld %lld\n", answer.serial, answer.status,
                         (long long)answer.this_update, (long long)answer.next_update);
        if ((size_t)n <= len - at) {
            memcpy(out + at, line, (size_t)n);
            at += (size_t)n;
        }
    }
    return rc ? rc : (int)at;
}
