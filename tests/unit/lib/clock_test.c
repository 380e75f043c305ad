/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/clock and lib/clock_zone. libc's own zone code is the oracle. */
#include "lib/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static int64_t instant(const char *text)
{
    int64_t t;
    assert_int_equal(clock_parse(str_from(text), &t), ERR_OK);
    return t;
}

static void assert_instant(int64_t t, const char *expected)
{
    char text[CLOCK_TEXT_LENGTH + 1] = {0};
    clock_format(text, t);
    assert_string_equal(text, expected);
}

static void formats(void **state)
{
    assert_instant(0, "1970-01-01T00:00:00.000000Z");
    assert_instant(-1, "1969-12-31T23:59:59.999999Z");
    assert_instant(INT64_C(1795421730123456), "2026-11-23T08:15:30.123456Z");
    assert_instant(INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z");
    assert_instant(INT64_MAX, "9999-12-31T23:59:59.999999Z");
    assert_instant(INT64_MIN, "0000-01-01T00:00:00.000000Z");
}

static void parses(void **state)
{
    static const struct {
        const char *text, *means; /* NULL: ERR_SYNTAX, "": ERR_RANGE */
    } cases[] = {
        {"2026-11-23T08:15:30.123456Z", "2026-11-23T08:15:30.123456Z"},
        {"2026-11-23t08:15:30z", "2026-11-23T08:15:30.000000Z"},
        {"2026-11-23T08:15:30.1Z", "2026-11-23T08:15:30.100000Z"},
        {"2026-11-23T08:15:30.123456789Z", "2026-11-23T08:15:30.123456Z"},
        {"2026-11-23T08:15:30+05:30", "2026-11-23T02:45:30.000000Z"},
        {"2026-11-23T08:15:30-00:30", "2026-11-23T08:45:30.000000Z"},
        {"2026-11-23", "2026-11-23T00:00:00.000000Z"},
        {"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"},
        {"2024-02-29", "2024-02-29T00:00:00.000000Z"},
        {"0000-01-01", "0000-01-01T00:00:00.000000Z"},
        {"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"},
        {"2023-02-29", ""},
        {"1900-02-29", ""},
        {"2026-13-01", ""},
        {"2026-00-01", ""},
        {"2026-01-00", ""},
        {"2026-04-31", ""},
        {"2026-01-01T24:00:00Z", ""},
        {"2026-01-01T00:60:00Z", ""},
        {"2026-01-01T00:00:61Z", ""},
        {"0000-01-01T00:00:00+00:01", ""},
        {"9999-12-31T23:59:59-00:01", ""},
        {"", NULL},
        {"2026", NULL},
        {"2026-1-01", NULL},
        {"2026-11-23T08:15:30", NULL},
        {"2026-11-23T08:15Z", NULL},
        {"2026-11-23 08:15:30Z", NULL},
        {"2026-11-23T08:15:30.Z", NULL},
        {"2026-11-23T08:15:30.1234567890Z", NULL},
        {"2026-11-23T08:15:30,5Z", NULL},
        {"2026-11-23T08:15:30+0530", NULL},
        {"2026-11-23T08:15:30+24:00", NULL},
        {"2026-11-23T08:15:30+00:60", NULL},
        {"2026-11-23T08:15:30Zx", NULL},
        {"2026-11-23Z", NULL},
        {" 2026-11-23", NULL},
        {"-026-11-23", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t t = 7;
        enum err err = clock_parse(str_from(cases[i].text), &t);
        if (cases[i].means && cases[i].means[0]) {
            assert_int_equal(err, ERR_OK);
            assert_instant(t, cases[i].means);
        } else {
            assert_int_equal(err, cases[i].means ? ERR_RANGE : ERR_SYNTAX);
            assert_int_equal(t, 7);
        }
    }
}

static void agrees_with_libc_on_utc(void **state)
{
    for (int64_t t = INT64_C(-62000000000); t < INT64_C(253000000000);
         t += 86400 * 97 + 12345) {
        struct clock_civil civil;
        struct tm tm;
        time_t seconds = (time_t)t;
        assert_non_null(gmtime_r(&seconds, &tm));
        clock_civil_utc(t * SECOND_US, &civil);
        assert_int_equal(civil.year, tm.tm_year + 1900);
        assert_int_equal(civil.month, tm.tm_mon + 1);
        assert_int_equal(civil.day, tm.tm_mday);
        assert_int_equal(civil.hour, tm.tm_hour);
        assert_int_equal(civil.minute, tm.tm_min);
        assert_int_equal(civil.second, tm.tm_sec);
        assert_int_equal(civil.weekday, tm.tm_wday);
        assert_int_equal(
            clock_days_from_civil(civil.year, civil.month, civil.day) * 86400 +
                civil.hour * 3600 + civil.minute * 60 + civil.second,
            t);
    }
}

static struct clock_zone *zone_named(const char *name)
{
    struct clock_zone *zone = NULL;
    struct errinfo info = {0};
    if (clock_zone_load(name, &zone, &info) != ERR_OK)
        print_message("%s\n", info.text);
    return zone;
}

static void agrees_with_libc_on_zones(void **state)
{
    static const char *const names[] = {"Europe/Berlin", "America/New_York",
        "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo",
        "Africa/Casablanca", "Europe/Dublin", "Pacific/Apia",
        "Antarctica/Troll", "America/Nuuk", "UTC", "Etc/GMT+5"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct clock_zone *zone = zone_named(names[i]);
        if (!zone)
            skip(); /* no tzdata here */
        assert_string_equal(clock_zone_name(zone), names[i]);
        setenv("TZ", names[i], 1);
        tzset();
        /* 1880 to 2200 in steps of about 11 hours and a bit. */
        for (int64_t t = INT64_C(-2840140800); t < INT64_C(7258118400);
             t += 40503) {
            struct tm tm;
            time_t seconds = (time_t)t;
            localtime_r(&seconds, &tm);
            if (clock_zone_offset(zone, t * SECOND_US) != tm.tm_gmtoff) {
                print_message("%s at %lld: %d, libc %ld\n", names[i],
                    (long long)t, clock_zone_offset(zone, t * SECOND_US),
                    tm.tm_gmtoff);
                fail();
            }
        }
        clock_zone_free(&zone);
        clock_zone_free(&zone);
    }
    unsetenv("TZ");
    tzset();
}

static void local_times_turn_back(void **state)
{
    struct clock_zone *berlin = zone_named("Europe/Berlin");
    if (!berlin)
        skip();
    struct clock_civil civil = {2026, 3, 29, 2, 30, 0, 0}; /* in the gap */
    assert_instant(
        clock_from_civil(berlin, &civil), "2026-03-29T01:00:00.000000Z");
    civil = (struct clock_civil){2026, 10, 25, 2, 30, 0, 0}; /* in the fold */
    assert_instant(
        clock_from_civil(berlin, &civil), "2026-10-25T00:30:00.000000Z");
    civil = (struct clock_civil){2026, 7, 1, 12, 0, 0, 0};
    assert_instant(
        clock_from_civil(berlin, &civil), "2026-07-01T10:00:00.000000Z");
    /* Every hour of a year, there and back (folds give the earlier one). */
    int64_t start = instant("2026-01-01T00:00:00Z");
    for (int64_t t = start; t < start + 365 * DAY_US; t += HOUR_US / 2) {
        clock_civil(berlin, t, &civil);
        int64_t back = clock_from_civil(berlin, &civil);
        assert_true(back == t || back == t - HOUR_US);
    }
    clock_zone_free(&berlin);
}

static void assert_window(const struct clock_zone *zone,
    enum clock_window window, const char *at, const char *from, const char *to)
{
    int64_t start, end;
    clock_window(zone, window, instant(at), &start, &end);
    assert_instant(start, from);
    assert_instant(end, to);
}

static void windows(void **state)
{
    struct clock_zone *utc = zone_named("UTC");
    assert_window(utc, CLOCK_HOUR, "2026-11-23T08:15:30Z",
        "2026-11-23T08:00:00.000000Z", "2026-11-23T09:00:00.000000Z");
    assert_window(utc, CLOCK_DAY, "2026-11-23T00:00:00Z",
        "2026-11-23T00:00:00.000000Z", "2026-11-24T00:00:00.000000Z");
    assert_window(utc, CLOCK_WEEK, "2026-11-22T23:59:59.999999Z",
        "2026-11-16T00:00:00.000000Z", "2026-11-23T00:00:00.000000Z");
    assert_window(utc, CLOCK_WEEK, "2026-11-23T00:00:00Z",
        "2026-11-23T00:00:00.000000Z", "2026-11-30T00:00:00.000000Z");
    assert_window(utc, CLOCK_MONTH, "2026-12-31T23:59:59Z",
        "2026-12-01T00:00:00.000000Z", "2027-01-01T00:00:00.000000Z");
    clock_zone_free(&utc);

    struct clock_zone *berlin = zone_named("Europe/Berlin");
    struct clock_zone *india = zone_named("Asia/Kolkata");
    if (!berlin || !india)
        skip();
    assert_window(berlin, CLOCK_DAY, "2026-03-29T12:00:00Z", /* 23 hours */
        "2026-03-28T23:00:00.000000Z", "2026-03-29T22:00:00.000000Z");
    assert_window(berlin, CLOCK_DAY, "2026-10-25T12:00:00Z", /* 25 hours */
        "2026-10-24T22:00:00.000000Z", "2026-10-25T23:00:00.000000Z");
    assert_window(berlin, CLOCK_MONTH, "2026-10-25T12:00:00Z",
        "2026-09-30T22:00:00.000000Z", "2026-10-31T23:00:00.000000Z");
    assert_window(india, CLOCK_HOUR, "2026-03-29T12:00:00Z",
        "2026-03-29T11:30:00.000000Z", "2026-03-29T12:30:00.000000Z");
    clock_zone_free(&berlin);
    clock_zone_free(&india);
}

static void windows_tile_the_year(void **state)
{
    static const char *const names[] = {
        "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Beirut"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct clock_zone *zone = zone_named(names[i]);
        if (!zone)
            skip();
        for (int window = CLOCK_DAY; window <= CLOCK_MONTH; window++) {
            int64_t at = instant("2009-01-15T11:00:00Z"), start, end, next;
            clock_window(zone, (enum clock_window)window, at, &start, &end);
            while (end < instant("2013-01-01")) {
                assert_true(start < end);
                clock_window(
                    zone, (enum clock_window)window, end, &start, &next);
                assert_int_equal(start, end);
                end = next;
            }
        }
        clock_zone_free(&zone);
    }
}

static void refuses_bad_zones(void **state)
{
    static const char *const bad[] = {"", "/etc/passwd", "../../etc/passwd",
        "Europe/../../../etc/passwd", "Europe/Ber lin", "a\nb", "Europe/"};
    struct clock_zone *zone = NULL;
    struct errinfo info;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(clock_zone_load(bad[i], &zone, &info), ERR_INVALID);
    assert_int_equal(
        clock_zone_load("Europe/Atlantis", &zone, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "Europe/Atlantis"));
    assert_int_equal(clock_zone_load("tzdata.zi", &zone, &info), ERR_INVALID);
    assert_int_equal(clock_zone_parse("x", STR("TZif2"), &zone), ERR_SYNTAX);
    assert_null(zone);
}

/* A version 2 file without transitions and with the given footer. */
static enum err zone_of_rule(const char *rule, struct clock_zone **zone)
{
    static const char block[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                "\0\0\0\0\0\0\0\0\0\0\0\0"
                                "\0\0\0\0\0\0\0\1\0\0\0\4"
                                "\0\0\0\0\0\0UTC";
    char bytes[400];
    size_t n = sizeof block;
    memcpy(bytes, block, n);
    memcpy(bytes + n, block, n);
    int more = snprintf(bytes + 2 * n, sizeof bytes - 2 * n, "\n%s\n", rule);
    return clock_zone_parse(
        "Test/Rule", str_make(bytes, 2 * n + (size_t)more), zone);
}

static void understands_posix_rules(void **state)
{
    static const struct {
        const char *rule, *at;
        int offset;
    } cases[] = {
        {"", "2026-07-01", 0},
        {"EST5", "2026-07-01", -18000},
        {"<+0330>-3:30", "2026-07-01", 12600},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2026-01-01", 3600},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T00:59:59Z", 3600},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T01:00:00Z", 7200},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25T00:59:59Z", 7200},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25T01:00:00Z", 3600},
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-01-01", 39600}, /* south */
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-07-01", 36000},
        {"AAA0BBB-2:30,J60,J300/4:15:10", "2024-03-01T01:59:59Z", 0},
        {"AAA0BBB-2:30,J60,J300/4:15:10", "2024-03-01T02:00:00Z", 9000},
        {"AAA0BBB,59,300", "2024-02-29T02:00:00Z", 3600},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T00:59:59Z", -7200},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T01:00:00Z", -3600},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct clock_zone *zone;
        assert_int_equal(zone_of_rule(cases[i].rule, &zone), ERR_OK);
        assert_int_equal(
            clock_zone_offset(zone, instant(cases[i].at)), cases[i].offset);
        clock_zone_free(&zone);
    }
    static const char *const bad[] = {"E5", "EST", "EST5EDT", "EST5EDT,M3.2.0",
        "EST5EDT,M13.2.0,M11.1.0", "EST5EDT,M3.0.0,M11.1.0",
        "EST5EDT,M3.2.7,M11.1.0", "EST5EDT,J0,J5", "EST5EDT,J366,J5", "EST25",
        "EST5:60", "<+03-3", "EST5x", "EST5EDT,M3.2.0/168,M11.1.0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct clock_zone *zone = NULL;
        assert_int_equal(zone_of_rule(bad[i], &zone), ERR_SYNTAX);
    }
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } good[] = {{"500ms", 500000}, {"90s", 90 * SECOND_US},
        {"15m", 15 * MINUTE_US}, {"12h", 12 * HOUR_US}, {"30d", 30 * DAY_US},
        {"0s", 0}};
    int64_t us = 7;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(
            clock_parse_duration(str_from(good[i].text), &us), ERR_OK);
        assert_int_equal(us, good[i].us);
    }
    static const char *const bad[] = {
        "", "s", "ms", "10", "-1s", "1.5h", "1 s", "1h30m", "1w", "1S"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(
            clock_parse_duration(str_from(bad[i]), &us), ERR_SYNTAX);
    assert_int_equal(
        clock_parse_duration(STR("99999999999999999d"), &us), ERR_RANGE);
    assert_int_equal(
        clock_parse_duration(STR("18446744073709551615s"), &us), ERR_RANGE);
}

static void clocks_run(void **state)
{
    int64_t a = clock_monotonic(), b = clock_boottime(), c = clock_now();
    assert_true(c > instant("2024-01-01") && a > 0 && b + SECOND_US > a);
    assert_true(clock_monotonic() >= a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),
        cmocka_unit_test(parses),
        cmocka_unit_test(agrees_with_libc_on_utc),
        cmocka_unit_test(agrees_with_libc_on_zones),
        cmocka_unit_test(local_times_turn_back),
        cmocka_unit_test(windows),
        cmocka_unit_test(windows_tile_the_year),
        cmocka_unit_test(refuses_bad_zones),
        cmocka_unit_test(understands_posix_rules),
        cmocka_unit_test(durations),
        cmocka_unit_test(clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
