#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local char fail_text[1024];

_Noreturn void sl__assert_failed(const char *expr, const char *file, int line) {
    fprintf(stderr, "sluice: assertion failed: %s (%s:%d)\n", expr, file, line);
    abort();
}

int sl_fail(int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(fail_text, sizeof(fail_text), format, args);
    va_end(args);
    return status;
}

const char *sl_fail_text(void) { return fail_text; }
