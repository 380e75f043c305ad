/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/extension_datetime.c - instants: 64-bit milliseconds since
 * 1970-01-01T00:00:00Z in the proleptic Gregorian calendar, without leap
 * seconds.
 *
 * Not here: what time it is (time is always handed in), and comparisons; they
 * are those of the integers. Pure; any thread. */
#include "policy/cedar/extension.h"

#define DAY_MS INT64_C(86400000)
#define YEAR_MAX 9999

static bool refuse(const char **reason, const char *words)
{
    if (reason) {
        *reason = words;
    }
    return false;
}

/* Days from 1970-01-01; month 1..12. The year starts in March here, so that
 * the leap day is its last. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year =
        (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
                              day_of_era / 146096) /
                          365;
    int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    *month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Matches `pattern` at *at: '0' stands for a digit, any other character for
 * itself. The number groups go to values[] in order. */
static bool match(struct str text, size_t *at, const char *pattern, int *values)
{
    size_t p = *at;
    int group = -1;
    bool in_digits = false;
    for (const char *c = pattern; *c; c++, p++) {
        if (p >= text.len) {
            return false;
        }
        if (*c != '0') {
            in_digits = false;
            if (text.ptr[p] != *c) {
                return false;
            }
            continue;
        }
        if (text.ptr[p] < '0' || text.ptr[p] > '9') {
            return false;
        }
        if (!in_digits) {
            values[++group] = 0;
            in_digits = true;
        }
        values[group] = values[group] * 10 + (text.ptr[p] - '0');
    }
    *at = p;
    return true;
}

/* Milliseconds and zone; *offset_ms is what the zone is ahead of UTC. */
static bool parse_zone(struct str text, size_t at, int *ms, int64_t *offset_ms,
    const char **reason)
{
    static const char *const words =
        "the time must end with Z, .mmmZ, or an offset such as +0100";
    *ms = 0;
    (void)match(text, &at, ".000", ms);
    *offset_ms = 0;
    if (at + 1 == text.len && text.ptr[at] == 'Z') {
        return true;
    }
    if (at >= text.len || (text.ptr[at] != '+' && text.ptr[at] != '-')) {
        return refuse(reason, words);
    }
    bool ahead = text.ptr[at] == '+';
    at++;
    int zone[1] = {0};
    if (!match(text, &at, "0000", zone) || at != text.len) {
        return refuse(reason, words);
    }
    int hours = zone[0] / 100, minutes = zone[0] % 100;
    if (hours > 23 || minutes > 59) {
        return refuse(reason, "the offset from UTC is above 2359");
    }
    *offset_ms = (hours * INT64_C(60) + minutes) * 60000 * (ahead ? 1 : -1);
    return true;
}

bool cedar_datetime_parse(struct str text, int64_t *out, const char **reason)
{
    size_t at = 0;
    int date[3] = {0}, time[3] = {0};
    if (!match(text, &at, "0000-00-00", date)) {
        return refuse(reason, "a datetime starts with a date like 2026-03-31");
    }
    int ms = 0;
    int64_t offset_ms = 0;
    if (at != text.len) {
        if (!match(text, &at, "T00:00:00", time)) {
            return refuse(
                reason, "after the date a time like T23:59:00Z is expected");
        }
        if (!parse_zone(text, at, &ms, &offset_ms, reason)) {
            return false;
        }
    }
    if (date[1] < 1 || date[1] > 12 || date[2] < 1 ||
        date[2] > days_in_month(date[0], date[1])) {
        return refuse(reason, "there is no such day in the calendar");
    }
    if (time[0] > 23 || time[1] > 59 || time[2] > 59) {
        return refuse(reason, "there is no such time of day");
    }
    int64_t seconds = (time[0] * INT64_C(60) + time[1]) * 60 + time[2];
    *out = days_from_civil(date[0], date[1], date[2]) * DAY_MS +
           seconds * 1000 + ms - offset_ms;
    return true;
}

void cedar_datetime_print_expression(struct buf *out, int64_t ms)
{
    int64_t of_day = cedar_datetime_to_time(ms);
    int64_t days = (ms / DAY_MS) - (ms < 0 && ms % DAY_MS != 0);
    int64_t year;
    int month, day;
    civil_from_days(days, &year, &month, &day);
    if (year < 0 || year > YEAR_MAX) {
        buf_append_str(out, STR("datetime(\"1970-01-01\").offset(duration(\""));
        cedar_duration_print(out, ms);
        buf_append_str(out, STR("\"))"));
        return;
    }
    buf_printf(out, "datetime(\"%04d-%02d-%02d", (int)year, month, day);
    if (of_day != 0) {
        int t = (int)of_day;
        buf_printf(
            out, "T%02d:%02d:%02d", t / 3600000, t / 60000 % 60, t / 1000 % 60);
        if (t % 1000 != 0) {
            buf_printf(out, ".%03d", t % 1000);
        }
        buf_append_char(out, 'Z');
    }
    buf_append_str(out, STR("\")"));
}

bool cedar_datetime_offset(int64_t ms, int64_t duration_ms, int64_t *out)
{
    return !__builtin_add_overflow(ms, duration_ms, out);
}

bool cedar_datetime_since(int64_t ms, int64_t other_ms, int64_t *out)
{
    return !__builtin_sub_overflow(ms, other_ms, out);
}

int64_t cedar_datetime_to_time(int64_t ms)
{
    int64_t rest = ms % DAY_MS;
    return rest < 0 ? rest + DAY_MS : rest;
}

bool cedar_datetime_to_date(int64_t ms, int64_t *out)
{
    return !__builtin_sub_overflow(ms, cedar_datetime_to_time(ms), out);
}
