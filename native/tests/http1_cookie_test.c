#include "http1_cookie.h"

#include "test.h"

// The value that a head with these Cookie lines has, or "-".
static void check(const char *lines, const char *name, const char *expected) {
    static const struct sl_head_limits limits = {16384, 8192, 100};
    struct sl_head head = {0};
    struct sl_span value;
    char text[256] = "-";
    size_t len = 18 + 8 + strlen(lines) + 2;
    char *data = malloc(len + 1);
    snprintf(data, len + 1, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", lines);
    len = strlen(data);
    CHECK_INT(sl_http1_parse_request(&head, (uint8_t *)data, len, &limits), 1);
    if (sl_http1_cookie(&head, (const uint8_t *)data, sl_span_of(name), &value)) {
        snprintf(text, sizeof(text), "%.*s", (int)value.len, (const char *)value.data);
    }
    CHECK_MSG(strcmp(text, expected) == 0, "%s in \"%s\" is \"%s\", expected \"%s\"", name, lines, text, expected);
    free(data);
}

TEST(the_first_of_its_name) {
    check("", "a", "-");
    check("Cookie: a=1\r\n", "a", "1");
    check("Cookie: a=1; b=2\r\n", "b", "2");
    check("Cookie: a=1;b=2\r\n", "b", "2");
    check("Cookie: a=1; a=2\r\n", "a", "1");
    check("Cookie: b=2\r\nCookie: a=1\r\n", "a", "1");
    check("Cookie: ab=1; a=2\r\n", "a", "2");
    check("Cookie: a=1; ab=2\r\n", "ab", "2");
    check("Cookie: A=1\r\n", "a", "-");
    check("Cookie: a =\t1 ; b=2\r\n", "a", "1");
    check("Cookie: a=b=c\r\n", "a", "b=c");
    check("Cookie: a=\r\n", "a", "");
    check("Cookie: a\r\n", "a", "-");
    check("Cookie: a=\"1\"\r\n", "a", "1");
    check("Cookie: a=\"\r\n", "a", "\"");
    check("Cookie: x=\"; a=1; \"\r\n", "a", "1"); // quotes enclose no semicolon (RFC 6265)
    check("Cookie: ;;; ;=;a=1\r\n", "a", "1");
    check("Cookie: a=1;\r\n", "a", "1");
    check("Cookie:\r\n", "a", "-");
    check("Cookie: =1; a=2\r\n", "a", "2");
    check("Cookies: a=1\r\n", "a", "-");
}

TEST(hostile_bytes) {
    static const char parts[][6] = {"a", "=", ";", "\"", " ", "\t", "b", "a=", "\xff", ";a", ",", ""};
    uint64_t random = 88172645463325252ull;
    for (int round = 0; round < 20000; round++) {
        char *line = calloc(1, 64); // the address sanitizer watches its end
        for (int i = 0; i < 12; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            strcat(line, parts[(random >> 20) % SL_COUNT_OF(parts)]);
        }
        size_t len = strlen(line);
        char *exact = malloc(len > 0 ? len : 1);
        memcpy(exact, line, len);
        struct sl_head head = {.field_count = 1};
        head.first[SL_H_COOKIE] = 1;
        head.fields[0] = (struct sl_field){.value_len = (uint16_t)len, .id = SL_H_COOKIE};
        struct sl_span value;
        if (sl_http1_cookie(&head, (const uint8_t *)exact, sl_span_of("a"), &value)) {
            CHECK(value.data > (const uint8_t *)exact && value.data + value.len <= (const uint8_t *)exact + len);
            CHECK(!memchr(value.data, ';', value.len));
        }
        free(exact);
        free(line);
    }
}
