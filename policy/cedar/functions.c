/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/functions.c - the table of extension functions and their one
 * calling convention, shared by the evaluator, constant folding and the JSON
 * readers. Pure; any thread. */
#include "policy/cedar/extension.h"

const struct cedar_function_info cedar_functions[CEDAR_FN_COUNT] = {
#define CEDAR_X(id, name, method, count, first, second, result)                \
    [CEDAR_FN_##id] = {STR_INIT(name), method, count,                          \
        {CEDAR_##first, CEDAR_##second}, CEDAR_##result},
    CEDAR_FUNCTIONS(CEDAR_X)
#undef CEDAR_X
};

const struct cedar_function_info *cedar_function_find(struct str name)
{
    for (size_t i = 0; i < CEDAR_FN_COUNT; i++)
        if (str_equal(cedar_functions[i].name, name))
            return &cedar_functions[i];
    return NULL;
}

enum cedar_function cedar_function_constructor(enum cedar_kind kind)
{
    switch (kind) {
    case CEDAR_IP:
        return CEDAR_FN_IP;
    case CEDAR_DECIMAL:
        return CEDAR_FN_DECIMAL;
    case CEDAR_DATETIME:
        return CEDAR_FN_DATETIME;
    case CEDAR_DURATION:
        return CEDAR_FN_DURATION;
    case CEDAR_NONE:
    case CEDAR_BOOL:
    case CEDAR_LONG:
    case CEDAR_STRING:
    case CEDAR_ENTITY:
    case CEDAR_SET:
    case CEDAR_RECORD:
        break;
    }
    return CEDAR_FN_COUNT;
}

static enum cedar_call_result construct(enum cedar_function fn, struct str text,
    struct arena *arena, struct cedar_value *out, const char **reason)
{
    int64_t number = 0;
    if (fn == CEDAR_FN_IP) {
        struct cedar_ip ip;
        if (!cedar_ip_parse(text, &ip, reason))
            return CEDAR_CALL_INVALID;
        struct cedar_ip *kept = arena_alloc(arena, sizeof *kept);
        if (!kept)
            return CEDAR_CALL_NOMEM;
        *kept = ip;
        *out = cedar_ip(kept);
        return CEDAR_CALL_OK;
    }
    if (fn == CEDAR_FN_DECIMAL) {
        if (!cedar_decimal_parse(text, &number, reason))
            return CEDAR_CALL_INVALID;
        *out = cedar_decimal(number);
        return CEDAR_CALL_OK;
    }
    if (fn == CEDAR_FN_DATETIME) {
        if (!cedar_datetime_parse(text, &number, reason))
            return CEDAR_CALL_INVALID;
        *out = cedar_datetime(number);
        return CEDAR_CALL_OK;
    }
    if (!cedar_duration_parse(text, &number, reason))
        return CEDAR_CALL_INVALID;
    *out = cedar_duration(number);
    return CEDAR_CALL_OK;
}

static enum cedar_call_result checked(
    bool in_range, struct cedar_value value, struct cedar_value *out)
{
    if (!in_range)
        return CEDAR_CALL_OVERFLOW;
    *out = value;
    return CEDAR_CALL_OK;
}

/* The methods; a and b have the kinds of the table. */
static enum cedar_call_result apply(enum cedar_function fn,
    struct cedar_value a, struct cedar_value b, struct arena *arena,
    struct cedar_value *out, const char **reason)
{
    int64_t n = 0;
    bool fits;
    switch (fn) {
    case CEDAR_FN_IP:
    case CEDAR_FN_DECIMAL:
    case CEDAR_FN_DATETIME:
    case CEDAR_FN_DURATION:
        return construct(fn, cedar_text(a), arena, out, reason);
    case CEDAR_FN_IS_IPV4:
        *out = cedar_bool(a.ip->version == 4);
        return CEDAR_CALL_OK;
    case CEDAR_FN_IS_IPV6:
        *out = cedar_bool(a.ip->version == 6);
        return CEDAR_CALL_OK;
    case CEDAR_FN_IS_LOOPBACK:
        *out = cedar_bool(cedar_ip_is_loopback(a.ip));
        return CEDAR_CALL_OK;
    case CEDAR_FN_IS_MULTICAST:
        *out = cedar_bool(cedar_ip_is_multicast(a.ip));
        return CEDAR_CALL_OK;
    case CEDAR_FN_IS_IN_RANGE:
        *out = cedar_bool(cedar_ip_in_range(a.ip, b.ip));
        return CEDAR_CALL_OK;
    case CEDAR_FN_LESS_THAN:
        *out = cedar_bool(a.integer < b.integer);
        return CEDAR_CALL_OK;
    case CEDAR_FN_LESS_THAN_OR_EQUAL:
        *out = cedar_bool(a.integer <= b.integer);
        return CEDAR_CALL_OK;
    case CEDAR_FN_GREATER_THAN:
        *out = cedar_bool(a.integer > b.integer);
        return CEDAR_CALL_OK;
    case CEDAR_FN_GREATER_THAN_OR_EQUAL:
        *out = cedar_bool(a.integer >= b.integer);
        return CEDAR_CALL_OK;
    case CEDAR_FN_OFFSET:
        fits = cedar_datetime_offset(a.integer, b.integer, &n);
        return checked(fits, cedar_datetime(n), out);
    case CEDAR_FN_DURATION_SINCE:
        fits = cedar_datetime_since(a.integer, b.integer, &n);
        return checked(fits, cedar_duration(n), out);
    case CEDAR_FN_TO_DATE:
        fits = cedar_datetime_to_date(a.integer, &n);
        return checked(fits, cedar_datetime(n), out);
    case CEDAR_FN_TO_TIME:
        *out = cedar_duration(cedar_datetime_to_time(a.integer));
        return CEDAR_CALL_OK;
    case CEDAR_FN_TO_MILLISECONDS:
        *out = cedar_long(a.integer);
        return CEDAR_CALL_OK;
    case CEDAR_FN_TO_SECONDS: /* C division cuts towards zero, as Cedar's */
        *out = cedar_long(a.integer / 1000);
        return CEDAR_CALL_OK;
    case CEDAR_FN_TO_MINUTES:
        *out = cedar_long(a.integer / (60 * 1000));
        return CEDAR_CALL_OK;
    case CEDAR_FN_TO_HOURS:
        *out = cedar_long(a.integer / (60 * 60 * 1000));
        return CEDAR_CALL_OK;
    case CEDAR_FN_TO_DAYS:
        *out = cedar_long(a.integer / (24 * 60 * 60 * 1000));
        return CEDAR_CALL_OK;
    case CEDAR_FN_COUNT:
        break;
    }
    return CEDAR_CALL_COUNT;
}

enum cedar_call_result cedar_function_call(enum cedar_function fn,
    const struct cedar_value *arguments, size_t count, struct arena *arena,
    struct cedar_value *out, size_t *at, const char **reason)
{
    const struct cedar_function_info *info = &cedar_functions[fn];
    if (count != info->argument_count)
        return CEDAR_CALL_COUNT;
    for (size_t i = 0; i < count; i++) {
        if (arguments[i].kind != info->arguments[i]) {
            *at = i;
            return CEDAR_CALL_TYPE;
        }
    }
    return apply(fn, arguments[0], count > 1 ? arguments[1] : cedar_none(),
        arena, out, reason);
}
