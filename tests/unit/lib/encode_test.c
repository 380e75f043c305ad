/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/encode: the vectors of RFC 4648, strictness, ULIDs. */
#include "lib/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void hex(void **state)
{
    char text[9];
    uint8_t out[4];
    size_t n;
    hex_write(text, "\x00\x7f\xab\xff", 4);
    assert_string_equal(text, "007fabff");
    assert_int_equal(hex_decode(STR("007FabFf"), out, 4, &n), ERR_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(out, "\x00\x7f\xab\xff", 4);
    assert_int_equal(hex_decode(STR(""), out, 4, &n), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(hex_decode(STR("0"), out, 4, &n), ERR_SYNTAX);
    assert_int_equal(hex_decode(STR("0g"), out, 4, &n), ERR_SYNTAX);
    assert_int_equal(hex_decode(STR("0011223344"), out, 4, &n), ERR_LIMIT);
}

static void base64(void **state)
{
    static const struct {
        const char *plain, *text, *url;
    } cases[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+", "-__-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b;
        uint8_t out[16];
        size_t n, length = strlen(cases[i].plain);
        buf_init(&b, 100);
        base64_append(&b, cases[i].plain, length);
        assert_string_equal(buf_cstr(&b), cases[i].text);
        assert_int_equal(base64_decode(buf_str(&b), out, 16, &n), ERR_OK);
        assert_int_equal(n, length);
        assert_memory_equal(out, cases[i].plain, n);
        buf_clear(&b);
        base64url_append(&b, cases[i].plain, length);
        assert_string_equal(buf_cstr(&b), cases[i].url);
        assert_int_equal(base64url_decode(buf_str(&b), out, 16, &n), ERR_OK);
        assert_int_equal(n, length);
        assert_memory_equal(out, cases[i].plain, n);
        buf_fini(&b);
    }
}

static void base64_is_strict(void **state)
{
    uint8_t out[16];
    size_t n;
    static const char *const bad[] = {"Zg",
        "Zg=", "Zg===", "Z===", "====", "Zh==", "Zm9=", "Zm9v\n", "Zm 9",
        "Zg==Zg==", "Z-8=", "=Zg="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(
            base64_decode(str_from(bad[i]), out, 16, &n), ERR_SYNTAX);
    static const char *const bad_url[] = {
        "Z", "Zg==", "Zh", "Zm9", "Z+8", "Zm8/"};
    for (size_t i = 0; i < sizeof bad_url / sizeof bad_url[0]; i++)
        assert_int_equal(
            base64url_decode(str_from(bad_url[i]), out, 16, &n), ERR_SYNTAX);
    assert_int_equal(base64_decode(STR("Zm9vYmFy"), out, 5, &n), ERR_LIMIT);
    assert_int_equal(base64_decode(STR("Zm9vYmFy"), out, 6, &n), ERR_OK);
}

static void base62(void **state)
{
    char out[64] = {0};
    base62_write(out, 4, 0);
    assert_string_equal(out, "0000");
    base62_write(out, 4, 61);
    assert_string_equal(out, "000z");
    base62_write(out, 6, 56800235583u); /* 62^6 - 1 */
    assert_string_equal(out, "zzzzzz");
    unsigned counts[128] = {0};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(base62_random(out, 62), ERR_OK);
        for (int k = 0; k < 62; k++)
            counts[(unsigned char)out[k] & 127]++;
    }
    for (int c = 0; c < 128; c++) {
        bool digit = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                     (c >= 'a' && c <= 'z');
        /* 1000 expected, standard deviation about 31.5 */
        assert_true(
            digit ? counts[c] > 750 && counts[c] < 1250 : counts[c] == 0);
    }
}

static void ulids(void **state)
{
    char out[ULID_LENGTH];
    uint8_t random[10] = {0};
    ulid_write(out, INT64_C(1469918176385) * 1000, random);
    /* The time of the example in the ULID specification. */
    assert_memory_equal(out, "01ARYZ6S410000000000000000", ULID_LENGTH);
    memset(random, 0xff, sizeof random);
    ulid_write(out, INT64_MAX, random);
    assert_memory_equal(out + 10, "ZZZZZZZZZZZZZZZZ", 16);
    ulid_write(out, -5, random);
    assert_memory_equal(out, "0000000000", 10);
    assert_true(ulid_is_valid(STR("01ARYZ6S410000000000000000")));
    assert_false(ulid_is_valid(STR("81ARYZ6S410000000000000000")));
    assert_false(ulid_is_valid(STR("01ARYZ6S41000000000000000U")));
    assert_false(ulid_is_valid(STR("01aryz6s410000000000000000")));
    assert_false(ulid_is_valid(STR("01ARYZ6S41000000000000000")));
    assert_false(ulid_is_valid(str_make("01ARYZ6S4100000000000000\0000", 26)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex),
        cmocka_unit_test(base64),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(base62),
        cmocka_unit_test(ulids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
