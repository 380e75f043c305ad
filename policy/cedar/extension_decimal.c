/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/extension_decimal.c - decimals with up to four places, kept as
 * a 64-bit number of ten-thousandths.
 *
 * Not here: the comparisons; they are those of the integers. Pure. */
#include "policy/cedar/extension.h"

#include <inttypes.h>

#define PLACES 4
#define SCALE 10000

static bool refuse(const char **reason, const char *words)
{
    if (reason) {
        *reason = words;
    }
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool cedar_decimal_parse(struct str text, int64_t *out, const char **reason)
{
    size_t at = 0;
    bool negative = text.len > 0 && text.ptr[0] == '-';
    at += negative;
    size_t whole_start = at;
    while (at < text.len && is_digit(text.ptr[at])) {
        at++;
    }
    size_t point = at;
    size_t places = text.len - point - (point < text.len);
    bool shaped = point > whole_start && point < text.len &&
                  text.ptr[point] == '.' && places > 0;
    for (size_t i = point + 1; shaped && i < text.len; i++) {
        shaped = is_digit(text.ptr[i]);
    }
    if (!shaped) {
        return refuse(reason, "not a decimal such as \"12.5\": digits, a point "
                              "and one to four digits");
    }
    if (places > PLACES) {
        return refuse(reason, "more than four digits after the decimal point");
    }
    /* Summed up negatively: the negative range reaches one further. */
    int64_t value = 0;
    size_t end = point + 1 + PLACES;
    for (size_t i = whole_start; i < end; i++) {
        if (i == point) {
            continue;
        }
        int digit = i < text.len ? text.ptr[i] - '0' : 0;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value)) {
            return refuse(reason, "outside the range -922337203685477.5808 to "
                                  "922337203685477.5807");
        }
    }
    if (!negative && __builtin_sub_overflow(0, value, &value)) {
        return refuse(reason, "outside the range -922337203685477.5808 to "
                              "922337203685477.5807");
    }
    *out = value;
    return true;
}

void cedar_decimal_print(struct buf *out, int64_t ten_thousandths)
{
    /* The quotient of a small negative number is 0 and loses the sign. */
    int64_t whole = ten_thousandths / SCALE;
    int rest = (int)(ten_thousandths % SCALE);
    if (rest < 0) {
        rest = -rest;
    }
    int places = PLACES;
    while (places > 1 && rest % 10 == 0) {
        rest /= 10;
        places--;
    }
    buf_printf(out, "%s%" PRId64 ".%0*d",
        ten_thousandths < 0 && whole == 0 ? "-" : "", whole, places, rest);
}
