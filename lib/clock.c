/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/clock.c - reading the clocks, RFC 3339 texts, the calendar, durations.
 *
 * Pure but for the three readers. Time zones: lib/clock_zone.c. */
#include "lib/clock.h"

#include "lib/must.h"

#include <time.h>

#define EARLIEST_US INT64_C(-62167219200000000) /* 0000-01-01T00:00:00Z */
#define LATEST_US                                                              \
    INT64_C(253402300799999999) /* 9999-12-31T23:59:59.999999Z                 \
                                 */

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    MUST(clock_gettime(id, &now) == 0);
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

int64_t clock_now(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_boottime(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

/* --- Calendar ------------------------------------------------------------
 * Proleptic Gregorian; the algorithms of Howard Hinnant's "chrono-compatible
 * low-level date algorithms" (public domain): years begin in March, eras are
 * the 400-year cycles of 146097 days. */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

int64_t clock_days_from_civil(int year, int month, int day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = floor_div(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year =
        (153 * (int64_t)(month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = floor_div(days, 146097);
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
                              day_of_era / 146096) /
                          365;
    int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = (int)(year_of_era + era * 400 + (*month <= 2));
}

static int64_t clamp(int64_t time_us)
{
    if (time_us < EARLIEST_US)
        return EARLIEST_US;
    return time_us > LATEST_US ? LATEST_US : time_us;
}

void clock_civil_utc(int64_t time_us, struct clock_civil *out)
{
    time_us = clamp(time_us);
    int64_t days = floor_div(time_us, DAY_US);
    int64_t seconds = (time_us - days * DAY_US) / SECOND_US;
    civil_from_days(days, &out->year, &out->month, &out->day);
    out->hour = (int)(seconds / 3600);
    out->minute = (int)(seconds / 60 % 60);
    out->second = (int)(seconds % 60);
    /* 1970-01-01 was a Thursday. */
    out->weekday = (int)(((days + 4) % 7 + 7) % 7);
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* --- RFC 3339 ------------------------------------------------------------ */

static inline void put_pair(char *out, unsigned value)
{
    out[0] = (char)('0' + value / 10);
    out[1] = (char)('0' + value % 10);
}

void clock_format(char out[CLOCK_TEXT_LENGTH], int64_t time_us)
{
    time_us = clamp(time_us);
    struct clock_civil civil;
    clock_civil_utc(time_us, &civil);
    int64_t fraction = time_us - floor_div(time_us, SECOND_US) * SECOND_US;
    memcpy(out, "0000-00-00T00:00:00.000000Z", CLOCK_TEXT_LENGTH);
    put_pair(out, (unsigned)civil.year / 100);
    put_pair(out + 2, (unsigned)civil.year % 100);
    put_pair(out + 5, (unsigned)civil.month);
    put_pair(out + 8, (unsigned)civil.day);
    put_pair(out + 11, (unsigned)civil.hour);
    put_pair(out + 14, (unsigned)civil.minute);
    put_pair(out + 17, (unsigned)civil.second);
    put_pair(out + 20, (unsigned)fraction / 10000);
    put_pair(out + 22, (unsigned)fraction / 100 % 100);
    put_pair(out + 24, (unsigned)fraction % 100);
}

/* Takes `width` digits off the front. */
static bool take_digits(struct str *text, size_t width, int *out)
{
    int value = 0;
    if (text->len < width)
        return false;
    for (size_t i = 0; i < width; i++) {
        if (text->ptr[i] < '0' || text->ptr[i] > '9')
            return false;
        value = value * 10 + (text->ptr[i] - '0');
    }
    *text = str_make(text->ptr + width, text->len - width);
    *out = value;
    return true;
}

static bool take_char(struct str *text, char c)
{
    if (text->len == 0 || text->ptr[0] != c)
        return false;
    *text = str_make(text->ptr + 1, text->len - 1);
    return true;
}

/* ".123": at least one digit, at most nine; cut to microseconds. */
static bool take_fraction(struct str *text, int64_t *microseconds)
{
    size_t count = 0;
    int64_t value = 0;
    while (text->len > 0 && text->ptr[0] >= '0' && text->ptr[0] <= '9') {
        if (++count > 9)
            return false;
        if (count <= 6)
            value = value * 10 + (text->ptr[0] - '0');
        *text = str_make(text->ptr + 1, text->len - 1);
    }
    for (size_t i = count; i < 6; i++)
        value *= 10;
    *microseconds = value;
    return count > 0;
}

/* Z, z, or +hh:mm; seconds east of Greenwich. */
static bool take_offset(struct str *text, int64_t *seconds)
{
    *seconds = 0;
    if (take_char(text, 'Z') || take_char(text, 'z'))
        return true;
    bool west = text->len > 0 && text->ptr[0] == '-';
    int hours, minutes;
    if ((!take_char(text, '+') && !take_char(text, '-')) ||
        !take_digits(text, 2, &hours) || !take_char(text, ':') ||
        !take_digits(text, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *seconds = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return true;
}

/* Digits at `text`, as a number; sets high bits of *bad where one is none. */
static inline int digits_at(const char *text, size_t width, unsigned *bad)
{
    unsigned value = 0;
    for (size_t i = 0; i < width; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        *bad |= digit > 9;
        value = value * 10 + digit;
    }
    return (int)value;
}

/* The form that clock_format writes, which most texts have. False: another,
 * or out of range. */
static bool parse_own_form(struct str text, int64_t *time_us)
{
    const char *t = text.ptr;
    unsigned bad = 0;
    if (text.len != CLOCK_TEXT_LENGTH || t[4] != '-' || t[7] != '-' ||
        t[10] != 'T' || t[13] != ':' || t[16] != ':' || t[19] != '.' ||
        t[26] != 'Z')
        return false;
    int year = digits_at(t, 4, &bad), month = digits_at(t + 5, 2, &bad);
    int day = digits_at(t + 8, 2, &bad), hour = digits_at(t + 11, 2, &bad);
    int minute = digits_at(t + 14, 2, &bad),
        second = digits_at(t + 17, 2, &bad);
    int fraction = digits_at(t + 20, 6, &bad);
    if (bad || month < 1 || month > 12 || day < 1 || day > 31 ||
        day > days_in_month(year, month) || hour > 23 || minute > 59 ||
        second > 59)
        return false;
    *time_us = (clock_days_from_civil(year, month, day) * 86400 + hour * 3600 +
                   minute * 60 + second) *
                   SECOND_US +
               fraction;
    return true;
}

enum err clock_parse(struct str text, int64_t *time_us)
{
    if (parse_own_form(text, time_us))
        return ERR_OK;
    int year, month, day, hour = 0, minute = 0, second = 0;
    int64_t fraction = 0, offset = 0;
    if (!take_digits(&text, 4, &year) || !take_char(&text, '-') ||
        !take_digits(&text, 2, &month) || !take_char(&text, '-') ||
        !take_digits(&text, 2, &day))
        return ERR_SYNTAX;
    if (text.len > 0) {
        if (!take_char(&text, 'T') && !take_char(&text, 't'))
            return ERR_SYNTAX;
        if (!take_digits(&text, 2, &hour) || !take_char(&text, ':') ||
            !take_digits(&text, 2, &minute) || !take_char(&text, ':') ||
            !take_digits(&text, 2, &second))
            return ERR_SYNTAX;
        if (take_char(&text, '.') && !take_fraction(&text, &fraction))
            return ERR_SYNTAX;
        if (!take_offset(&text, &offset) || text.len > 0)
            return ERR_SYNTAX;
    }
    if (month < 1 || month > 12 || day < 1 ||
        day > days_in_month(year, month) || hour > 23 || minute > 59 ||
        second > 60)
        return ERR_RANGE;
    /* A leap second (RFC 3339, 5.7) has no place of its own in POSIX time: it
     * counts as the second after it. */
    int64_t seconds = clock_days_from_civil(year, month, day) * 86400 +
                      hour * 3600 + minute * 60 + second - offset;
    int64_t result = seconds * SECOND_US + fraction;
    if (result < EARLIEST_US || result > LATEST_US)
        return ERR_RANGE;
    *time_us = result;
    return ERR_OK;
}

/* --- Durations ----------------------------------------------------------- */

enum err clock_parse_duration(struct str text, int64_t *out_us)
{
    static const struct {
        struct str suffix;
        int64_t unit;
    } units[] = {
        {STR_INIT("ms"), 1000}, /* before "s" */
        {STR_INIT("s"), SECOND_US},
        {STR_INIT("m"), MINUTE_US},
        {STR_INIT("h"), HOUR_US},
        {STR_INIT("d"), DAY_US},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!str_ends(text, units[i].suffix))
            continue;
        uint64_t count;
        int64_t result;
        enum err err = str_to_u64(
            str_make(text.ptr, text.len - units[i].suffix.len), &count);
        if (err)
            return err;
        if (count > INT64_MAX ||
            __builtin_mul_overflow((int64_t)count, units[i].unit, &result))
            return ERR_RANGE;
        *out_us = result;
        return ERR_OK;
    }
    return ERR_SYNTAX;
}
