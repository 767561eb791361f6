#include "tls_failure.h"

#include "gateway.h"

static bool may_log(struct sl_worker *w, enum sl_tls_reason reason) {
    if (!w->gateway->log || reason == SL_TLS_SILENT) {
        return false;
    }
    uint64_t second = w->now_ns / SL_NS_PER_S;
    if (w->tls_failures_second != second) {
        w->tls_failures_second = second;
        w->tls_failures_logged = 0;
    }
    if (w->tls_failures_logged == SL_TLS_FAILURES_LOGGED_PER_S) {
        w->counters.tls_failures_unlogged++;
        return false;
    }
    w->tls_failures_logged++;
    return true;
}

static void write_log(const struct sl_conn *conn, int status, const char *why) {
    struct sl_worker *w = conn->worker;
    struct sl_log_record *record = sl_log_begin(w->gateway->log, w->index);
    if (!record) {
        w->counters.log_dropped++;
        return;
    }
    uint64_t duration_us = (w->now_ns - conn->opened_ns) / 1000;
    size_t why_len = sl_min_size(strlen(why), UINT8_MAX);
    *record = (struct sl_log_record){
        .unix_us = w->unix_us - (int64_t)duration_us,
        .duration_us = duration_us,
        .remote_port = conn->remote_port,
        .remote_family = conn->remote_family,
        .version = 1,
        .handled_by = SL_LOG_NOBODY,
        .tls = 1,
        .reason = status,
        .why_len = (uint8_t)why_len,
    };
    memcpy(record->remote_addr, conn->remote_addr, sizeof(record->remote_addr));
    memcpy(record->text, why, why_len);
    sl_log_commit(w->gateway->log, w->index);
}

void sl__tls_failed(struct sl_conn *conn, int status) {
    struct sl_worker *w = conn->worker;
    bool late = status == SL_E_HEAD_TIMEOUT;
    enum sl_tls_reason reason = late ? SL_TLS_TIMEOUT : sl_tls_reason(conn->tls);
    const char *why = late ? sl_tls_reason_text(reason) : sl_tls_error(conn->tls);
    w->counters.tls_failures++;
    w->counters.by_tls_reason[reason]++;
    if (may_log(w, reason)) {
        write_log(conn, status, why);
    }
}
