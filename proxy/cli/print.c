/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/print.c - answers as tables and records for people. Columns are
 * aligned by what a terminal shows (wide characters count two), control
 * characters are never passed on, times are local with their offset. */
#include "proxy/cli/cli_priv.h"

#include "lib/clock.h"

#include <stdlib.h>
#include <unistd.h>

#define CELL_MAX 4096
#define ZONE_MAX 128

json_t *cli_get(const json_t *object, const char *path)
{
    char key[64];
    const char *dot;

    while (object && (dot = strchr(path, '.'))) {
        snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
        object = json_object_get(object, key);
        path = dot + 1;
    }
    return json_object_get(object, path);
}

/* --- Time ------------------------------------------------------------ */

/* The zone of whoever reads: TZ, else the system's; UTC where neither loads. */
const struct clock_zone *cli_zone(void)
{
    static struct clock_zone *zone;
    char link[ZONE_MAX + 64], *name = NULL, *found;
    const char *variable = getenv("TZ");
    ssize_t n;

    if (zone)
        return zone;
    if (variable && variable[0]) {
        if (clock_zone_load(variable[0] == ':' ? variable + 1 : variable, &zone,
                NULL) == ERR_OK)
            return zone;
    } else {
        n = readlink("/etc/localtime", link, sizeof link - 1);
        if (n > 0) {
            link[n] = '\0';
            found = strstr(link, "zoneinfo/");
            name = found ? found + strlen("zoneinfo/") : NULL;
        }
        if (name && clock_zone_load(name, &zone, NULL) == ERR_OK)
            return zone;
    }
    return clock_zone_load("UTC", &zone, NULL) == ERR_OK ? zone : NULL;
}

void cli_format_time(struct buf *out, const char *rfc3339, bool date_only)
{
    const struct clock_zone *zone = cli_zone();
    struct clock_civil civil;
    int64_t time_us;
    int offset;

    if (!zone || clock_parse(str_from(rfc3339), &time_us) != ERR_OK) {
        buf_append_str(out, str_from(rfc3339));
        return;
    }
    clock_civil(zone, time_us, &civil);
    buf_printf(out, "%04d-%02d-%02d", civil.year, civil.month, civil.day);
    if (date_only)
        return;
    offset = clock_zone_offset(zone, time_us) / 60;
    buf_printf(out, " %02d:%02d:%02d", civil.hour, civil.minute, civil.second);
    if (offset == 0)
        buf_append_str(out, STR("Z"));
    else
        buf_printf(out, "%c%02d:%02d", offset < 0 ? '-' : '+', abs(offset) / 60,
            abs(offset) % 60);
}

/* --- Text ------------------------------------------------------------ */

/* One code point; *n its bytes. Bytes that are no UTF-8 are one '?' each. */
static uint32_t decode(const char *text, size_t length, size_t *n)
{
    unsigned char c = (unsigned char)text[0];
    size_t want = c < 0x80    ? 1
                  : c >= 0xf0 ? 4
                  : c >= 0xe0 ? 3
                  : c >= 0xc0 ? 2
                              : 0;
    uint32_t point;

    *n = 1;
    if (want == 1)
        return c;
    if (want == 0 || want > length || !str_is_utf8(str_make(text, want)))
        return '?';
    point = c & (0xffu >> (want + 1));
    for (size_t i = 1; i < want; i++)
        point = (point << 6) | ((unsigned char)text[i] & 0x3f);
    *n = want;
    return point;
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

/* Columns that a terminal gives it: East Asian wide and emoji take two. */
static size_t width_of(uint32_t c)
{
    bool wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
                (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
                (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
                (c >= 0xffe0 && c <= 0xffe6) ||
                (c >= 0x1f300 && c <= 0x1faff) ||
                (c >= 0x20000 && c <= 0x3fffd);
    bool combining = c >= 0x300 && c <= 0x36f;

    return combining ? 0 : wide ? 2 : 1;
}

static size_t append_safe(struct buf *out, struct str text)
{
    size_t width = 0, n;

    for (size_t i = 0; i < text.len; i += n) {
        uint32_t c = decode(text.ptr + i, text.len - i, &n);
        if (is_control(c) || (n == 1 && (unsigned char)text.ptr[i] >= 0x80)) {
            buf_append_char(out, c == '\n' || c == '\t' ? ' ' : '?');
            width++;
        } else {
            buf_append(out, text.ptr + i, n);
            width += width_of(c);
        }
    }
    return width;
}

void cli_print_safe(FILE *out, const char *text)
{
    struct buf safe;

    buf_init(&safe, 1 << 20);
    append_safe(&safe, str_from(text));
    fputs(buf_cstr(&safe), out);
    buf_fini(&safe);
}

static void append_grouped(struct buf *out, int64_t value)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)value);

    for (int i = 0; i < n; i++) {
        buf_append_char(out, digits[i]);
        if (digits[i] != '-' && (n - i - 1) % 3 == 0 && i + 1 < n)
            buf_append_char(out, ',');
    }
}

static void append_value(struct buf *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        append_safe(
            out, str_make(json_string_value(value), json_string_length(value)));
        break;
    case JSON_INTEGER:
        buf_printf(out, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        buf_printf(out, "%g", json_real_value(value));
        break;
    case JSON_TRUE:
        buf_append_str(out, STR("yes"));
        break;
    case JSON_FALSE:
        buf_append_str(out, STR("no"));
        break;
    case JSON_NULL:
        buf_append_char(out, '-');
        break;
    case JSON_ARRAY:
        for (size_t i = 0; i < json_array_size(value); i++) {
            const json_t *item = json_array_get(value, i);
            const json_t *name = json_object_get(item, "name");
            if (!name)
                name = json_object_get(item, "id");
            if (i > 0)
                buf_append_str(out, STR(", "));
            if (json_is_object(item) && json_object_get(item, "engine"))
                name = json_object_get(item, "engine");
            if (!json_is_object(item) && !json_is_array(item))
                append_value(out, item);
            else if (json_is_string(name))
                append_value(out, name);
            else if (json_is_string(json_object_get(item, "group"))) {
                append_value(out, json_object_get(item, "group"));
                buf_append_str(out, STR(" = "));
                append_value(out, json_object_get(item, "team"));
            } else if (json_is_string(json_object_get(item, "attribute"))) {
                append_value(out, json_object_get(item, "claim"));
                buf_append_str(out, STR(" = "));
                append_value(out, json_object_get(item, "attribute"));
                buf_append_str(out, STR(" ("));
                append_value(out, json_object_get(item, "type"));
                buf_append_char(out, ')');
            } else if (json_is_string(json_object_get(item, "client"))) {
                const json_t *caller = json_object_get(item, "caller");
                append_value(out, json_object_get(item, "client"));
                if (json_string_length(caller) > 0) {
                    buf_append_str(out, STR(" = "));
                    append_value(out, caller);
                }
            }
            /* Of one target the engine says enough; of several, what for. */
            if (json_array_size(value) > 1 &&
                json_object_get(item, "upstream")) {
                buf_append_str(out, STR(" ("));
                append_value(out, json_object_get(item, "upstream"));
                buf_append_char(out, ')');
            }
        }
        if (json_array_size(value) == 0)
            buf_append_char(out, '-');
        break;
    case JSON_OBJECT:
        buf_append_str(out, STR("{...}"));
        break;
    }
}

static void append_cell(
    struct buf *out, const json_t *value, enum cli_cell cell)
{
    if (!value || json_is_null(value)) {
        buf_append_char(out, '-');
        return;
    }
    switch (cell) {
    case CELL_TIME:
    case CELL_DATE:
        if (json_is_string(value))
            cli_format_time(out, json_string_value(value), cell == CELL_DATE);
        else
            append_value(out, value);
        return;
    case CELL_YES:
        buf_append_str(out, json_is_true(value) ? STR("yes") : STR("-"));
        return;
    case CELL_COUNT:
        if (json_is_integer(value))
            append_grouped(out, json_integer_value(value));
        else
            append_value(out, value);
        return;
    case CELL_TEXT:
        if (json_is_string(value) && json_string_length(value) == 0)
            buf_append_char(out, '-');
        else
            append_value(out, value);
        return;
    }
}

static size_t shown_width(struct str text)
{
    size_t width = 0, n;

    for (size_t i = 0; i < text.len; i += n)
        width += width_of(decode(text.ptr + i, text.len - i, &n));
    return width;
}

/* --- Tables ---------------------------------------------------------- */

static void put_padded(struct str text, size_t width, bool right, bool last)
{
    size_t have = shown_width(text), pad = have < width ? width - have : 0;

    if (right)
        printf("%*s", (int)pad, "");
    printf("%.*s", STR_ARG(text));
    if (!right && !last)
        printf("%*s", (int)pad, "");
    if (!last)
        fputs("  ", stdout);
}

void cli_print_table(const json_t *items, const struct cli_column *columns,
    size_t count, const char *empty)
{
    size_t widths[32] = {0};
    struct buf cell;

    if (json_array_size(items) == 0) {
        if (empty)
            printf("%s\n", empty);
        return;
    }
    buf_init(&cell, CELL_MAX);
    for (size_t c = 0; c < count; c++) {
        widths[c] = shown_width(str_from(columns[c].heading));
        for (size_t i = 0; i < json_array_size(items); i++) {
            size_t width;
            buf_clear(&cell);
            append_cell(&cell,
                cli_get(json_array_get(items, i), columns[c].field),
                columns[c].cell);
            width = shown_width(buf_str(&cell));
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
    for (size_t c = 0; c < count; c++)
        put_padded(str_from(columns[c].heading), widths[c],
            columns[c].cell == CELL_COUNT, c + 1 == count);
    putchar('\n');
    for (size_t i = 0; i < json_array_size(items); i++) {
        for (size_t c = 0; c < count; c++) {
            buf_clear(&cell);
            append_cell(&cell,
                cli_get(json_array_get(items, i), columns[c].field),
                columns[c].cell);
            put_padded(buf_str(&cell), widths[c], columns[c].cell == CELL_COUNT,
                c + 1 == count);
        }
        putchar('\n');
    }
    buf_fini(&cell);
}

void cli_print_record(
    const json_t *object, const struct cli_column *columns, size_t count)
{
    size_t width = 0;
    struct buf cell;

    buf_init(&cell, CELL_MAX);
    for (size_t c = 0; c < count; c++) {
        size_t own = shown_width(str_from(columns[c].heading));
        width = own > width ? own : width;
    }
    for (size_t c = 0; c < count; c++) {
        const json_t *value = cli_get(object, columns[c].field);
        if (!value)
            continue;
        buf_clear(&cell);
        /* "-" is for tables: beside a heading of its own, "no" reads. */
        append_cell(&cell, value,
            columns[c].cell == CELL_YES ? CELL_TEXT : columns[c].cell);
        put_padded(str_from(columns[c].heading), width, false, false);
        printf("%.*s\n", STR_ARG(buf_str(&cell)));
    }
    buf_fini(&cell);
}

/* On a terminal everything beyond ASCII is escaped: some of it is obeyed. */
void cli_print_json(const json_t *value)
{
    json_dumpf(value, stdout,
        JSON_INDENT(2) | JSON_ENCODE_ANY |
            (isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0));
    putchar('\n');
}

/* A member as a sentence has it: times as people read them. */
static void append_member(struct buf *out, const json_t *value)
{
    int64_t time_us;

    if (json_is_string(value) &&
        json_string_length(value) == CLOCK_TEXT_LENGTH &&
        clock_parse(str_from(json_string_value(value)), &time_us) == ERR_OK)
        append_cell(out, value, CELL_TIME);
    else
        append_cell(out, value, CELL_TEXT);
}

/* "team {name} added" */
void cli_print_done(const char *done, const json_t *answer)
{
    struct buf out;
    const char *open;

    buf_init(&out, 65536);
    while ((open = strchr(done, '{'))) {
        const char *close = strchr(open, '}');
        char field[64];
        if (!close)
            break;
        buf_append(&out, done, (size_t)(open - done));
        snprintf(
            field, sizeof field, "%.*s", (int)(close - open - 1), open + 1);
        append_member(&out, cli_get(answer, field));
        done = close + 1;
    }
    buf_append_str(&out, str_from(done));
    printf("%s\n", buf_cstr(&out));
    buf_fini(&out);
}

void cli_print_secret(const char *what, const char *secret)
{
    printf("\n%s, shown this once and stored nowhere:\n\n    %s\n\n", what,
        secret);
}
