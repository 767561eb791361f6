#include "sluice/status.h"

static const struct sl_status_info rows[] = {
#define SL_STATUS_ROW(name, value, label, source, retry, http, text)                               \
    {value, #name, label, text, SL_SOURCE_##source, retry, http},
    SL_STATUS_MAP(SL_STATUS_ROW)
#undef SL_STATUS_ROW
};

const struct sl_status_info *sl_status_info(int status) {
    static const struct sl_status_info ok = {0, "OK", "ok", "", SL_SOURCE_NONE, 0, 0};
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].status == status) {
            return &rows[i];
        }
    }
    return &ok;
}
