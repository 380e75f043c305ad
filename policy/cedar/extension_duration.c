/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/extension_duration.c - spans of time: 64-bit milliseconds,
 * written as "1d2h3m4s5ms".
 *
 * Not here: toDays and its kin; they are divisions. Pure; any thread. */
#include "policy/cedar/extension.h"

#include <inttypes.h>

static const struct {
    const char *name;
    int64_t ms;
} units[] = {
    {"d", 86400000},
    {"h", 3600000},
    {"m", 60000},
    {"s", 1000},
    {"ms", 1},
};
#define UNITS (sizeof(units) / sizeof(units[0]))

static bool refuse(const char **reason, const char *words)
{
    if (reason) {
        *reason = words;
    }
    return false;
}

/* The unit whose name stands at text[at], as its index; UNITS if none. */
static size_t unit_at(struct str text, size_t at, size_t *length)
{
    size_t end = at;
    while (end < text.len && text.ptr[end] >= 'a' && text.ptr[end] <= 'z') {
        end++;
    }
    *length = end - at;
    struct str name = str_make(text.ptr + at, *length);
    size_t unit = 0;
    while (unit < UNITS && !str_equal(name, str_from(units[unit].name))) {
        unit++;
    }
    return unit;
}

bool cedar_duration_parse(struct str text, int64_t *out, const char **reason)
{
    static const char *const shape =
        "not a duration such as \"1d2h3m4s5ms\" or \"-90s\": numbers with the "
        "units d, h, m, s, ms, in this order, each at most once";
    bool negative = text.len > 0 && text.ptr[0] == '-';
    size_t at = negative, next_unit = 0;
    /* Summed up negatively: the negative range reaches one further. An
     * overflow is reported only once the whole shape is known to be right. */
    int64_t total = 0;
    bool overflow = false;
    while (at < text.len || next_unit == 0) {
        size_t digits = at;
        int64_t amount = 0;
        while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9') {
            overflow |= __builtin_mul_overflow(amount, 10, &amount);
            overflow |=
                __builtin_sub_overflow(amount, text.ptr[at] - '0', &amount);
            at++;
        }
        size_t length, unit = unit_at(text, at, &length);
        if (at == digits || unit == UNITS || unit < next_unit) {
            return refuse(reason, shape);
        }
        overflow |= __builtin_mul_overflow(amount, units[unit].ms, &amount);
        overflow |= __builtin_add_overflow(total, amount, &total);
        at += length;
        next_unit = unit + 1;
    }
    if (!negative) {
        overflow |= __builtin_sub_overflow(0, total, &total);
    }
    if (overflow) {
        return refuse(
            reason, "the duration in milliseconds does not fit 64 bits");
    }
    *out = total;
    return true;
}

void cedar_duration_print(struct buf *out, int64_t ms)
{
    if (ms == 0) {
        buf_append_str(out, STR("0ms"));
        return;
    }
    if (ms < 0) {
        buf_append_char(out, '-');
    }
    for (size_t i = 0; i < UNITS; i++) {
        int64_t amount = ms / units[i].ms;
        ms %= units[i].ms;
        if (amount != 0) {
            buf_printf(out, "%" PRIu64 "%s",
                amount < 0 ? UINT64_C(0) - (uint64_t)amount : (uint64_t)amount,
                units[i].name);
        }
    }
}
