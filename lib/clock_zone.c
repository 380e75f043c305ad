/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/clock_zone.c - time zones from TZif files (RFC 8536).
 *
 * Of a file the 64-bit block and the footer are used; a version 1 file has
 * its 32-bit block only. After the last transition the footer's POSIX rule
 * holds. A zone is immutable: any thread. Leap-second tables ("right/" zones)
 * are refused. "UTC" needs no file. */
#include "lib/clock.h"

#include "lib/file.h"
#include "lib/must.h"

#include <stdlib.h>

#define ZONE_FOLDER "/usr/share/zoneinfo/"
#define ZONE_FILE_MAX ((size_t)256 * 1024)
#define ZONE_NAME_MAX 128
#define HEADER_SIZE 44
#define TYPES_MAX 256 /* indices are one byte */

/* One date of the yearly rule, and the local time of the change. */
struct rule_date {
    enum { RULE_NONE, RULE_JULIAN, RULE_DAY, RULE_WEEK } kind;
    int day;   /* RULE_JULIAN 1..365 without 29 February, RULE_DAY 0..365 */
    int month; /* RULE_WEEK */
    int week;  /* 1..5, 5 is the last */
    int weekday;
    int64_t time; /* seconds after local midnight; may be negative */
};

struct rule {
    bool present;
    bool has_summer;
    int64_t standard, summer; /* seconds east of Greenwich */
    struct rule_date begin, end;
};

struct clock_zone {
    char *name;
    size_t count;     /* transitions */
    int64_t *at;      /* seconds, ascending */
    uint8_t *type_of; /* type from that instant on */
    size_t type_count;
    int32_t offset[TYPES_MAX];
    struct rule rule;
};

/* --- The POSIX rule of the footer ----------------------------------------
 * CET-1CEST,M3.5.0,M10.5.0/3 (POSIX.1 8.3, with the extensions of RFC 8536,
 * 3.3.1: hours of -167..167). */

static bool take(struct str *text, char c)
{
    if (text->len == 0 || text->ptr[0] != c)
        return false;
    *text = str_make(text->ptr + 1, text->len - 1);
    return true;
}

static bool take_number(struct str *text, int most, int *out)
{
    int value = 0;
    size_t digits = 0;
    while (digits < text->len && digits < 4 && text->ptr[digits] >= '0' &&
           text->ptr[digits] <= '9')
        value = value * 10 + (text->ptr[digits++] - '0');
    if (digits == 0 || value > most)
        return false;
    *text = str_make(text->ptr + digits, text->len - digits);
    *out = value;
    return true;
}

static bool take_abbreviation(struct str *text)
{
    bool quoted = take(text, '<');
    size_t n = 0;
    while (n < text->len) {
        char c = text->ptr[n];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool other = (c >= '0' && c <= '9') || c == '+' || c == '-';
        if (!letter && !(quoted && other))
            break;
        n++;
    }
    *text = str_make(text->ptr + n, text->len - n);
    return n >= 3 && (!quoted || take(text, '>'));
}

/* [+-]h[h[h]][:mm[:ss]] */
static bool take_time(struct str *text, int most_hours, int64_t *seconds)
{
    bool negative = take(text, '-');
    if (!negative)
        (void)take(text, '+');
    int hours, minutes = 0, rest = 0;
    if (!take_number(text, most_hours, &hours))
        return false;
    if (take(text, ':') && !take_number(text, 59, &minutes))
        return false;
    if (take(text, ':') && !take_number(text, 59, &rest))
        return false;
    *seconds = (int64_t)hours * 3600 + minutes * 60 + rest;
    if (negative)
        *seconds = -*seconds;
    return true;
}

static bool take_date(struct str *text, struct rule_date *date)
{
    *date = (struct rule_date){.kind = RULE_DAY, .time = 2 * 3600};
    if (take(text, 'M')) {
        date->kind = RULE_WEEK;
        if (!take_number(text, 12, &date->month) || date->month < 1 ||
            !take(text, '.') || !take_number(text, 5, &date->week) ||
            date->week < 1 || !take(text, '.') ||
            !take_number(text, 6, &date->weekday))
            return false;
    } else if (take(text, 'J')) {
        date->kind = RULE_JULIAN;
        if (!take_number(text, 365, &date->day) || date->day < 1)
            return false;
    } else if (!take_number(text, 365, &date->day)) {
        return false;
    }
    return !take(text, '/') || take_time(text, 167, &date->time);
}

static bool parse_rule(struct str text, struct rule *rule)
{
    int64_t west;
    if (!take_abbreviation(&text) || !take_time(&text, 24, &west))
        return false;
    rule->standard = -west; /* POSIX counts westwards */
    rule->summer = rule->standard + 3600;
    if (text.len > 0) {
        rule->has_summer = true;
        if (!take_abbreviation(&text))
            return false;
        if (text.len > 0 && text.ptr[0] != ',') {
            if (!take_time(&text, 24, &west))
                return false;
            rule->summer = -west;
        }
        if (!take(&text, ',') || !take_date(&text, &rule->begin) ||
            !take(&text, ',') || !take_date(&text, &rule->end))
            return false;
    }
    rule->present = text.len == 0;
    return rule->present;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Local midnight of the rule's day in that year, plus its time: seconds since
 * 1970 on the local wall clock. */
static int64_t rule_instant(const struct rule_date *date, int year)
{
    int64_t day = 0;
    switch (date->kind) {
    case RULE_NONE:
        break;
    case RULE_JULIAN: /* day 60 is 1 March in every year */
        day = clock_days_from_civil(year, 1, 1) + date->day - 1 +
              (is_leap(year) && date->day >= 60);
        break;
    case RULE_DAY:
        day = clock_days_from_civil(year, 1, 1) + date->day;
        break;
    case RULE_WEEK: {
        int64_t first = clock_days_from_civil(year, date->month, 1);
        int64_t next = date->month == 12
                           ? clock_days_from_civil(year + 1, 1, 1)
                           : clock_days_from_civil(year, date->month + 1, 1);
        int weekday = (int)(((first + 4) % 7 + 7) % 7);
        day = first + (date->weekday - weekday + 7) % 7 +
              7 * (int64_t)(date->week - 1);
        while (day >= next)
            day -= 7;
        break;
    }
    }
    return day * 86400 + date->time;
}

static int64_t floor_seconds(int64_t time_us)
{
    return time_us / SECOND_US - (time_us % SECOND_US < 0);
}

static int64_t rule_offset(const struct rule *rule, int64_t seconds)
{
    if (!rule->has_summer)
        return rule->standard;
    struct clock_civil civil;
    clock_civil_utc((seconds + rule->standard) * SECOND_US, &civil);
    int64_t begin = rule_instant(&rule->begin, civil.year) - rule->standard;
    int64_t end = rule_instant(&rule->end, civil.year) - rule->summer;
    bool summer = begin < end ? seconds >= begin && seconds < end
                              : seconds >= begin || seconds < end;
    return summer ? rule->summer : rule->standard;
}

/* --- TZif ---------------------------------------------------------------- */

struct header {
    char version;
    uint32_t utc_count, standard_count, leap_count, time_count, type_count,
        char_count;
};

static uint32_t read_u32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 |
           b[3];
}

static int64_t read_time(const char *p, size_t width)
{
    if (width == 4)
        return (int32_t)read_u32(p);
    return (int64_t)((uint64_t)read_u32(p) << 32 | read_u32(p + 4));
}

static bool read_header(struct str bytes, struct header *h)
{
    if (bytes.len < HEADER_SIZE || memcmp(bytes.ptr, "TZif", 4) != 0)
        return false;
    const char *p = bytes.ptr + 20;
    h->version = bytes.ptr[4];
    h->utc_count = read_u32(p);
    h->standard_count = read_u32(p + 4);
    h->leap_count = read_u32(p + 8);
    h->time_count = read_u32(p + 12);
    h->type_count = read_u32(p + 16);
    h->char_count = read_u32(p + 20);
    /* Bounds that keep the sums below far from overflow. */
    return h->utc_count <= 256 && h->standard_count <= 256 &&
           h->leap_count <= 65536 && h->time_count <= 65536 &&
           h->type_count >= 1 && h->type_count <= TYPES_MAX &&
           h->char_count <= 65536;
}

static size_t block_size(const struct header *h, size_t width)
{
    return h->time_count * (width + 1) + h->type_count * (size_t)6 +
           h->char_count + h->leap_count * (width + 4) + h->standard_count +
           h->utc_count;
}

/* Fills transitions and types from the data block at p (its size is checked
 * by the caller). */
static enum err read_block(struct clock_zone *zone, const struct header *h,
    const char *p, size_t width)
{
    if (h->leap_count != 0)
        return ERR_UNSUPPORTED;
    zone->count = h->time_count;
    zone->type_count = h->type_count;
    zone->at = calloc(zone->count + 1, sizeof *zone->at);
    zone->type_of = calloc(zone->count + 1, 1);
    if (!zone->at || !zone->type_of)
        return ERR_NOMEM;
    for (size_t i = 0; i < zone->count; i++) {
        zone->at[i] = read_time(p + i * width, width);
        if (i > 0 && zone->at[i] <= zone->at[i - 1])
            return ERR_SYNTAX;
    }
    p += zone->count * width;
    for (size_t i = 0; i < zone->count; i++) {
        zone->type_of[i] = (uint8_t)p[i];
        if (zone->type_of[i] >= zone->type_count)
            return ERR_SYNTAX;
    }
    p += zone->count;
    for (size_t i = 0; i < zone->type_count; i++) {
        zone->offset[i] = (int32_t)read_u32(p + i * 6);
        /* RFC 8536, 3.2: should lie within -25..26 hours. */
        if (zone->offset[i] < -25 * 3600 || zone->offset[i] > 26 * 3600)
            return ERR_SYNTAX;
    }
    return ERR_OK;
}

static enum err read_zone(struct clock_zone *zone, struct str bytes)
{
    struct header h;
    if (!read_header(bytes, &h))
        return ERR_SYNTAX;
    size_t width = 4, size = HEADER_SIZE + block_size(&h, width);
    if (bytes.len < size)
        return ERR_SYNTAX;
    if (h.version >= '2') {
        bytes = str_make(bytes.ptr + size, bytes.len - size);
        width = 8;
        if (!read_header(bytes, &h))
            return ERR_SYNTAX;
        size = HEADER_SIZE + block_size(&h, width);
        if (bytes.len < size)
            return ERR_SYNTAX;
    }
    enum err err = read_block(zone, &h, bytes.ptr + HEADER_SIZE, width);
    if (err || width == 4)
        return err;
    struct str footer = str_make(bytes.ptr + size, bytes.len - size), rest;
    if (!take(&footer, '\n') || !str_split(footer, '\n', &footer, &rest))
        return ERR_SYNTAX;
    if (footer.len > 0 && !parse_rule(footer, &zone->rule))
        return ERR_SYNTAX;
    return ERR_OK;
}

static struct clock_zone *blank_zone(const char *name)
{
    struct clock_zone *zone = calloc(1, sizeof *zone);
    if (!zone)
        return NULL;
    zone->name = strdup(name);
    if (!zone->name)
        clock_zone_free(&zone);
    return zone;
}

enum err clock_zone_parse(
    const char *name, struct str bytes, struct clock_zone **out)
{
    if (bytes.len > ZONE_FILE_MAX)
        return ERR_LIMIT;
    struct clock_zone *zone = blank_zone(name);
    if (!zone)
        return ERR_NOMEM;
    enum err err = read_zone(zone, bytes);
    if (err) {
        clock_zone_free(&zone);
        return err;
    }
    *out = zone;
    return ERR_OK;
}

static bool is_zone_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= ZONE_NAME_MAX && name[0] != '/' &&
           name[length - 1] != '/' && !strstr(name, "..") &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+/-") == length;
}

enum err clock_zone_load(
    const char *name, struct clock_zone **out, struct errinfo *info)
{
    if (!is_zone_name(name))
        return errinfo_set(info, ERR_INVALID,
            "\"%.128s\" is no time zone name; write one like Europe/Berlin "
            "or UTC",
            name);
    if (strcmp(name, "UTC") == 0) {
        struct clock_zone *zone = blank_zone(name);
        if (!zone)
            return errinfo_set(info, ERR_NOMEM, "out of memory");
        zone->rule.present = true;
        *out = zone;
        return ERR_OK;
    }
    struct buf bytes;
    buf_init(&bytes, ZONE_FILE_MAX);
    enum err err;
    char *path = file_join(ZONE_FOLDER, name);
    if (!path) {
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    err = file_read(path, &bytes, info);
    if (err == ERR_NOTFOUND) {
        errinfo_set(info, err,
            "time zone %s is not known here (%s is missing): check the "
            "spelling, or install the package tzdata",
            name, path);
        goto out;
    }
    if (err)
        goto out;
    err = clock_zone_parse(name, buf_str(&bytes), out);
    if (err)
        errinfo_set(info, err, "%s is no time zone file that can be used (%s)",
            path, err_name(err));
out:
    free(path);
    buf_fini(&bytes);
    return err;
}

void clock_zone_free(struct clock_zone **zone)
{
    if (!*zone)
        return;
    free((*zone)->name);
    free((*zone)->at);
    free((*zone)->type_of);
    free(*zone);
    *zone = NULL;
}

const char *clock_zone_name(const struct clock_zone *zone)
{
    return zone->name;
}

/* --- Local time ---------------------------------------------------------- */

static int64_t offset_at(const struct clock_zone *zone, int64_t seconds)
{
    if (zone->count == 0 || seconds < zone->at[0])
        return zone->count == 0 && zone->rule.present
                   ? rule_offset(&zone->rule, seconds)
                   : zone->offset[0]; /* RFC 8536, 3.2: type 0 comes first */
    if (zone->rule.present && seconds >= zone->at[zone->count - 1])
        return rule_offset(&zone->rule, seconds);
    size_t low = 0, high = zone->count; /* at[low] <= seconds < at[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (zone->at[middle] <= seconds)
            low = middle;
        else
            high = middle;
    }
    return zone->offset[zone->type_of[low]];
}

int clock_zone_offset(const struct clock_zone *zone, int64_t time_us)
{
    return (int)offset_at(zone, floor_seconds(time_us));
}

static int64_t shift(int64_t time_us, int64_t seconds)
{
    int64_t shifted;
    if (__builtin_add_overflow(time_us, seconds * SECOND_US, &shifted))
        return time_us;
    return shifted;
}

void clock_civil(
    const struct clock_zone *zone, int64_t time_us, struct clock_civil *out)
{
    clock_civil_utc(
        shift(time_us, offset_at(zone, floor_seconds(time_us))), out);
}

int64_t clock_from_civil(
    const struct clock_zone *zone, const struct clock_civil *civil)
{
    int64_t local =
        clock_days_from_civil(civil->year, civil->month, civil->day) * 86400 +
        (int64_t)civil->hour * 3600 + civil->minute * 60 + civil->second;
    /* The offsets a day before and after bracket any single change; of the
     * instants that show this wall clock the earliest counts. */
    int64_t before = offset_at(zone, local - 86400);
    int64_t after = offset_at(zone, local + 86400);
    int64_t early = local - (before > after ? before : after);
    int64_t late = local - (before > after ? after : before);
    if (early + offset_at(zone, early) == local)
        return early * SECOND_US;
    if (late + offset_at(zone, late) == local)
        return late * SECOND_US;
    /* A gap: no instant shows this time. The change itself lies between the
     * two; the first instant with the new offset is the one after the gap. */
    int64_t low = early, high = late;
    int64_t old = offset_at(zone, low);
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (offset_at(zone, middle) == old)
            low = middle;
        else
            high = middle;
    }
    return high * SECOND_US;
}

void clock_window(const struct clock_zone *zone, enum clock_window window,
    int64_t time_us, int64_t *start_us, int64_t *end_us)
{
    struct clock_civil from;
    clock_civil(zone, time_us, &from);
    if (window == CLOCK_HOUR) {
        /* Hours are cut in elapsed time: a fold repeats one, a gap skips
         * one, and offsets of half an hour stay where the wall shows :00. */
        int64_t offset = clock_zone_offset(zone, time_us) * SECOND_US;
        int64_t local = time_us + offset;
        int64_t hour = local / HOUR_US - (local % HOUR_US < 0);
        *start_us = hour * HOUR_US - offset;
        *end_us = *start_us + HOUR_US;
        return;
    }
    int64_t first = clock_days_from_civil(from.year, from.month, from.day);
    int64_t last = first + 1;
    switch (window) {
    case CLOCK_HOUR:
    case CLOCK_DAY:
        break;
    case CLOCK_WEEK:
        first -= (from.weekday + 6) % 7; /* back to Monday */
        last = first + 7;
        break;
    case CLOCK_MONTH:
        first = clock_days_from_civil(from.year, from.month, 1);
        last = from.month == 12
                   ? clock_days_from_civil(from.year + 1, 1, 1)
                   : clock_days_from_civil(from.year, from.month + 1, 1);
        break;
    }
    struct clock_civil midnight;
    clock_civil_utc(first * DAY_US, &midnight);
    *start_us = clock_from_civil(zone, &midnight);
    clock_civil_utc(last * DAY_US, &midnight);
    *end_us = clock_from_civil(zone, &midnight);
}
