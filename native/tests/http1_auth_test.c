// What is read from an Authorization field. The values are those that Hono's basicAuth and bearerAuth read from the same bytes.
#include "http1_auth.h"

#include "test.h"

static struct sl_span copy_of(const char *text) { // the address sanitizer watches its end
    size_t len = strlen(text);
    uint8_t *data = malloc(len > 0 ? len : 1);
    memcpy(data, text, len);
    return (struct sl_span){data, len};
}

static void free_span(struct sl_span span) { free((void *)(uintptr_t)span.data); }

// "user|password", or "-".
static void check_basic(const char *value, const char *expected) {
    struct sl_span copy = copy_of(value), user, password;
    uint8_t *out = malloc(copy.len / 4 * 3 + 3);
    char text[256] = "-";
    if (sl_http1_basic(copy, out, &user, &password)) {
        snprintf(text, sizeof(text), "%.*s|%.*s", (int)user.len, (const char *)user.data, (int)password.len,
                 (const char *)password.data);
    }
    CHECK_MSG(strcmp(text, expected) == 0, "\"%s\" is \"%s\", expected \"%s\"", value, text, expected);
    free(out);
    free_span(copy);
}

TEST(basic) {
    static const char *const rows[][2] = {
        {"Basic dXNlcjpwYXNz", "user|pass"},
        {"basic dXNlcjpwYXNz", "user|pass"},
        {"BASIC   dXNlcjpwYXNz  ", "user|pass"},
        {"  Basic dXNlcjpwYXNz", "user|pass"},
        {"Basic dXNlcjpwYXM=", "user|pas"},
        {"Basic dXNlcjpwYXM", "user|pas"}, // without padding
        {"Basic dXNlcjpwYQ==", "user|pa"},
        {"Basic dXNlcjpwYQ", "user|pa"},
        {"Basic dXNlcjpwYR==", "user|pa"}, // bits that mean nothing
        {"Basic dXNlcjpwYQ=", "-"},        // padding by half
        {"Basic dXNlcjpwYQ===", "-"},
        {"Basic dXNlcjpwYXNz=", "-"},
        {"Basic dXNlcjpwYXNz====", "-"},
        {"Basic dXNlcjpwYXNzd", "-"}, // six bits too many
        {"Basic dXNl=cjpwYXNz", "-"},
        {"Basic dXNlcjpw-_Nz", "-"}, // URL-safe letters are token68, but not base64
        {"Basic dXNlcjpwYX.z", "-"},
        {"Basic dXNl cjpwYXNz", "-"},
        {"Basic dXNlcjpwYXNz, Basic dXNlcjpwYXNz", "-"},
        {"Basic\tdXNlcjpwYXNz", "-"},
        {"BasicdXNlcjpwYXNz", "-"},
        {"Basic ", "-"},
        {"Basic", "-"},
        {"Basic =", "-"},
        {"Basi", "-"},
        {"", "-"},
        {" ", "-"},
        {"Bearer dXNlcjpwYXNz", "-"},
        {"Basic dXNlcg==", "-"},       // no colon
        {"Basic Og==", "|"},           // nothing on either side
        {"Basic OmE6Yg==", "|a:b"},    // the first colon counts
        {"Basic 77u/dTpw", "u|p"},     // a byte order mark
        {"Basic 77u/77u/dTpw", "\xef\xbb\xbfu|p"},
        {"Basic w7w6w7w=", "\xc3\xbc|\xc3\xbc"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        check_basic(rows[i][0], rows[i][1]);
    }
}

static void check_bearer(const char *value, const char *prefix, const char *expected) {
    struct sl_span copy = copy_of(value), token;
    char text[256] = "-";
    if (sl_http1_bearer(copy, sl_span_of(prefix), &token)) {
        snprintf(text, sizeof(text), "%.*s", (int)token.len, (const char *)token.data);
    }
    CHECK_MSG(strcmp(text, expected) == 0, "\"%s\" is \"%s\", expected \"%s\"", value, text, expected);
    free_span(copy);
}

TEST(bearer) {
    static const char *const rows[][3] = {
        {"Bearer abc", "bearer", "abc"},
        {"bEARER abc", "bearer", "abc"},
        {"Bearer   \t abc", "bearer", "abc"},
        {"Bearer \xa0" "abc", "bearer", "abc"},
        {"Bearer aZ09._~+/-==", "bearer", "aZ09._~+/-=="},
        {"Bearer\tabc", "bearer", "-"},
        {"Bearerabc", "bearer", "-"},
        {"Bearer", "bearer", "-"},
        {"Bearer ", "bearer", "-"},
        {"Bearer =", "bearer", "-"},
        {"Bearer a=b", "bearer", "-"},
        {"Bearer a b", "bearer", "-"},
        {"Bearer a, Bearer a", "bearer", "-"},
        {"Bearer a\xe9", "bearer", "-"},
        {" Bearer a", "bearer", "-"},
        {"Token abc", "token", "abc"},
        {"Bearer abc", "token", "-"},
        {"abc", "", "abc"},
        {"Bearer abc", "", "-"},
        {"", "", "-"},
        {" abc", "", "-"},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        check_bearer(rows[i][0], rows[i][1], rows[i][2]);
    }
}

// Any bytes: no byte beside them is read or written (ASan), and what is found lies inside of them.
TEST(hostile_bytes) {
    static const char parts[][8] = {"Basic ", "basic", " ", "=", "==", "dXNl", "cjpw", "Og", ":", "\xff", "\xa0", "Bearer ", "-", ""};
    uint64_t random = 88172645463325252ull;
    for (int round = 0; round < 20000; round++) {
        char value[256] = "";
        for (int i = 0; i < 12; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            strcat(value, parts[(random >> 20) % SL_COUNT_OF(parts)]);
        }
        struct sl_span copy = copy_of(value), user, password, token;
        uint8_t *out = malloc(copy.len / 4 * 3 + 3);
        if (sl_http1_basic(copy, out, &user, &password)) {
            CHECK(user.data >= out && password.data == user.data + user.len + 1);
            CHECK(password.data + password.len <= out + copy.len / 4 * 3 + 3);
        }
        if (sl_http1_bearer(copy, sl_span_of("bearer"), &token)) {
            CHECK(token.len > 0 && token.data + token.len == copy.data + copy.len);
        }
        free(out);
        free_span(copy);
    }
}
