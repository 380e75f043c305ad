/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/extension.h - the extension types ip, decimal, datetime and
 * duration: their functions as a table, and the arithmetic behind them.
 *
 * Pure; any thread. The table and cedar_function_call are in functions.c, the
 * types in extension_ip.c, extension_decimal.c, extension_datetime.c and
 * extension_duration.c. */
#ifndef POLICY_CEDAR_EXTENSION_H
#define POLICY_CEDAR_EXTENSION_H

#include "policy/cedar/value.h"

/* id, name in the language, is a method, argument count (the receiver
 * included), kinds of the first and second argument, kind of the result. */
#define CEDAR_FUNCTIONS(X)                                                     \
    X(IP, "ip", false, 1, STRING, NONE, IP)                                    \
    X(IS_IPV4, "isIpv4", true, 1, IP, NONE, BOOL)                              \
    X(IS_IPV6, "isIpv6", true, 1, IP, NONE, BOOL)                              \
    X(IS_LOOPBACK, "isLoopback", true, 1, IP, NONE, BOOL)                      \
    X(IS_MULTICAST, "isMulticast", true, 1, IP, NONE, BOOL)                    \
    X(IS_IN_RANGE, "isInRange", true, 2, IP, IP, BOOL)                         \
    X(DECIMAL, "decimal", false, 1, STRING, NONE, DECIMAL)                     \
    X(LESS_THAN, "lessThan", true, 2, DECIMAL, DECIMAL, BOOL)                  \
    X(LESS_THAN_OR_EQUAL, "lessThanOrEqual", true, 2, DECIMAL, DECIMAL, BOOL)  \
    X(GREATER_THAN, "greaterThan", true, 2, DECIMAL, DECIMAL, BOOL)            \
    X(GREATER_THAN_OR_EQUAL, "greaterThanOrEqual", true, 2, DECIMAL, DECIMAL,  \
        BOOL)                                                                  \
    X(DATETIME, "datetime", false, 1, STRING, NONE, DATETIME)                  \
    X(OFFSET, "offset", true, 2, DATETIME, DURATION, DATETIME)                 \
    X(DURATION_SINCE, "durationSince", true, 2, DATETIME, DATETIME, DURATION)  \
    X(TO_DATE, "toDate", true, 1, DATETIME, NONE, DATETIME)                    \
    X(TO_TIME, "toTime", true, 1, DATETIME, NONE, DURATION)                    \
    X(DURATION, "duration", false, 1, STRING, NONE, DURATION)                  \
    X(TO_MILLISECONDS, "toMilliseconds", true, 1, DURATION, NONE, LONG)        \
    X(TO_SECONDS, "toSeconds", true, 1, DURATION, NONE, LONG)                  \
    X(TO_MINUTES, "toMinutes", true, 1, DURATION, NONE, LONG)                  \
    X(TO_HOURS, "toHours", true, 1, DURATION, NONE, LONG)                      \
    X(TO_DAYS, "toDays", true, 1, DURATION, NONE, LONG)

enum cedar_function {
#define CEDAR_X(id, name, method, count, first, second, result) CEDAR_FN_##id,
    CEDAR_FUNCTIONS(CEDAR_X)
#undef CEDAR_X
        CEDAR_FN_COUNT
};

struct cedar_function_info {
    struct str name;
    bool is_method; /* x.name(..), else name(..) */
    uint8_t argument_count;
    uint8_t arguments[2]; /* enum cedar_kind */
    uint8_t result;       /* enum cedar_kind */
};

/* Indexed by enum cedar_function. */
extern const struct cedar_function_info cedar_functions[CEDAR_FN_COUNT];
/* NULL: no extension function or method has that name. */
const struct cedar_function_info *cedar_function_find(struct str name);
static inline enum cedar_function cedar_function_id(
    const struct cedar_function_info *info)
{
    return (enum cedar_function)(info - cedar_functions);
}
/* The constructor (ip, decimal, datetime, duration) of an extension kind. */
enum cedar_function cedar_function_constructor(enum cedar_kind kind);

/* Why a call failed, for the evaluator's and the JSON readers' messages. */
enum cedar_call_result {
    CEDAR_CALL_OK,
    CEDAR_CALL_COUNT,    /* wrong number of arguments */
    CEDAR_CALL_TYPE,     /* argument *at has the wrong kind */
    CEDAR_CALL_INVALID,  /* the string does not parse; *reason says why */
    CEDAR_CALL_OVERFLOW, /* outside the 64-bit range */
    CEDAR_CALL_NOMEM
};
/* Exactly Cedar's call. `at` and `reason` may not be NULL. */
enum cedar_call_result cedar_function_call(enum cedar_function fn,
    const struct cedar_value *arguments, size_t count, struct arena *arena,
    struct cedar_value *out, size_t *at, const char **reason) MUSTCHECK;

/* --- ip ---
 * Parsers: false and *reason (static words) when the text is not of the type;
 * reason may be NULL. */
bool cedar_ip_parse(
    struct str text, struct cedar_ip *out, const char **reason) MUSTCHECK;
/* The shortest text that parses to the same value; the prefix is left out
 * when it covers one address. */
void cedar_ip_print(struct buf *out, const struct cedar_ip *ip);
bool cedar_ip_equal(const struct cedar_ip *a, const struct cedar_ip *b);
int cedar_ip_compare(const struct cedar_ip *a, const struct cedar_ip *b);
bool cedar_ip_is_loopback(const struct cedar_ip *ip);  /* the whole range */
bool cedar_ip_is_multicast(const struct cedar_ip *ip); /* the whole range */
bool cedar_ip_in_range(const struct cedar_ip *ip, const struct cedar_ip *range);

/* --- decimal: i64, four places --- */
bool cedar_decimal_parse(
    struct str text, int64_t *out, const char **reason) MUSTCHECK;
void cedar_decimal_print(struct buf *out, int64_t ten_thousandths);

/* --- datetime: i64 milliseconds since the epoch --- */
bool cedar_datetime_parse(
    struct str text, int64_t *out, const char **reason) MUSTCHECK;
/* A text that parses to the same instant where there is one (years 0000 to
 * 9999); else datetime("1970-01-01").offset(duration("..")) is printed, the
 * whole expression. Always an expression, in both cases. */
void cedar_datetime_print_expression(struct buf *out, int64_t ms);
/* False on overflow. */
bool cedar_datetime_offset(int64_t ms, int64_t duration_ms, int64_t *out);
bool cedar_datetime_since(int64_t ms, int64_t other_ms, int64_t *out);
bool cedar_datetime_to_date(int64_t ms, int64_t *out); /* floor to the day */
int64_t cedar_datetime_to_time(int64_t ms); /* 0 .. a day minus 1 ms */

/* --- duration: i64 milliseconds --- */
bool cedar_duration_parse(
    struct str text, int64_t *out, const char **reason) MUSTCHECK;
/* Such as "1d2h3m4s5ms", "-90s", "0ms": parses to the same value. */
void cedar_duration_print(struct buf *out, int64_t ms);

#endif
