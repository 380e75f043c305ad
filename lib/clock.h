/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/clock.h - time as int64_t microseconds since 1970-01-01T00:00:00Z.
 *
 * Formatting and parsing are pure. Zones are read from the system's TZif
 * files (RFC 8536) into immutable objects: nothing touches libc's
 * process-global zone. */
#ifndef LIB_CLOCK_H
#define LIB_CLOCK_H

#include "lib/err.h"
#include "lib/str.h"

#define SECOND_US INT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US (60 * MINUTE_US)
#define DAY_US (24 * HOUR_US)

int64_t clock_now(void);       /* CLOCK_REALTIME */
int64_t clock_monotonic(void); /* CLOCK_MONOTONIC */
int64_t clock_boottime(void);  /* CLOCK_BOOTTIME */

/* "2026-11-23T08:15:30.123456Z": always 27 characters, no NUL.
 * The range is years 0000..9999; outside it the nearest bound is written. */
#define CLOCK_TEXT_LENGTH 27
void clock_format(char out[CLOCK_TEXT_LENGTH], int64_t time_us);
/* Strict RFC 3339 date-time; 0..9 fraction digits (cut to microseconds),
 * Z or an offset. Also accepts a bare date (midnight UTC). */
enum err clock_parse(struct str text, int64_t *time_us) MUSTCHECK;

struct clock_civil {
    int year;    /* 0..9999 */
    int month;   /* 1..12 */
    int day;     /* 1..31 */
    int hour;    /* 0..23 */
    int minute;  /* 0..59 */
    int second;  /* 0..59 */
    int weekday; /* 0 Sunday .. 6 Saturday */
};

int64_t clock_days_from_civil(int year, int month, int day);
void clock_civil_utc(int64_t time_us, struct clock_civil *out);

struct clock_zone;
/* name as in the tz database ("Europe/Berlin", "UTC"); gives *out. Refuses
 * names with "..", a leading '/' or characters outside [A-Za-z0-9_+/-]. */
enum err clock_zone_load(
    const char *name, struct clock_zone **out, struct errinfo *info) MUSTCHECK;
/* The same from the bytes of a TZif file. ERR_SYNTAX, ERR_LIMIT, ERR_NOMEM. */
enum err clock_zone_parse(
    const char *name, struct str bytes, struct clock_zone **out) MUSTCHECK;
void clock_zone_free(struct clock_zone **zone);
const char *clock_zone_name(const struct clock_zone *zone);
int clock_zone_offset(const struct clock_zone *zone, int64_t time_us); /* s */
void clock_civil(
    const struct clock_zone *zone, int64_t time_us, struct clock_civil *out);
/* The instant of a local civil time. In a gap: the instant after it; in a
 * fold: the earlier one. */
int64_t clock_from_civil(
    const struct clock_zone *zone, const struct clock_civil *civil);

enum clock_window { CLOCK_HOUR, CLOCK_DAY, CLOCK_WEEK, CLOCK_MONTH };
/* Start (inclusive) and end (exclusive) of the calendar window that holds
 * time_us in the zone. Weeks start on Monday. */
void clock_window(const struct clock_zone *zone, enum clock_window window,
    int64_t time_us, int64_t *start_us, int64_t *end_us);

/* "90s", "15m", "12h", "30d", "500ms" to microseconds. */
enum err clock_parse_duration(struct str text, int64_t *out_us) MUSTCHECK;

#endif
