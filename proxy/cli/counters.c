/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/counters.c - see counters.h. */
#include "proxy/cli/counters.h"

#include <math.h>
#include <stdlib.h>

#define COLUMNS_MAX 64
#define ROWS_MAX 4096
#define COUNT_MAX 9007199254740991 /* 2^53 - 1 */

/* --- Prometheus ------------------------------------------------------ */

/* Behind the labels, where there are any. A '}' may stand in a value. */
static bool skip_labels(struct str *line)
{
    bool quoted = false;

    if (line->len == 0 || line->ptr[0] != '{')
        return true;
    for (size_t i = 1; i < line->len; i++) {
        char c = line->ptr[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (c == '}' && !quoted) {
            line->ptr += i + 1;
            line->len -= i + 1;
            return true;
        }
    }
    return false;
}

static bool read_value(struct str text, int64_t *out)
{
    char number[40], *end;
    struct str word, rest;
    double value;

    (void)str_split(str_trim(text), ' ', &word, &rest); /* a time may follow */
    if (word.len == 0 || word.len >= sizeof number)
        return false;
    memcpy(number, word.ptr, word.len);
    number[word.len] = '\0';
    value = strtod(number, &end);
    if (*end != '\0' || !isfinite(value) || value < 0 || value > COUNT_MAX)
        return false;
    *out = (int64_t)value;
    return true;
}

bool counters_sum(struct str text, struct str name, int64_t *out)
{
    struct str line, rest = text;
    bool found = false, more = true;
    int64_t value, sum = 0;

    while (more) {
        more = str_split(rest, '\n', &line, &rest);
        if (line.len > 0 && line.ptr[line.len - 1] == '\r')
            line.len--;
        if (!str_starts(line, name))
            continue;
        line.ptr += name.len;
        line.len -= name.len;
        if (line.len == 0 ||
            (line.ptr[0] != '{' && line.ptr[0] != ' ' && line.ptr[0] != '\t'))
            continue; /* a longer name */
        if (!skip_labels(&line) || !read_value(line, &value) ||
            sum > COUNT_MAX - value)
            continue;
        sum += value;
        found = true;
    }
    if (found)
        *out = sum;
    return found;
}

bool counters_of_metrics(struct str text, struct counters *out)
{
    static const struct {
        struct str requests, input, output;
    } known[] = {
        {STR_INIT("vllm:request_success_total"),
            STR_INIT("vllm:prompt_tokens_total"),
            STR_INIT("vllm:generation_tokens_total")},
        /* (Has no counter of requests; prompts count without what its cache
         * held of them.) */
        {STR_INIT(""), STR_INIT("llamacpp:prompt_tokens_total"),
            STR_INIT("llamacpp:tokens_predicted_total")},
    };
    bool any = false;

    *out = (struct counters){-1, -1, -1};
    for (size_t i = 0; i < sizeof known / sizeof known[0] && !any; i++) {
        any = known[i].requests.len > 0 &&
              counters_sum(text, known[i].requests, &out->requests);
        any |= counters_sum(text, known[i].input, &out->input);
        any |= counters_sum(text, known[i].output, &out->output);
    }
    return any;
}

/* --- A bill ---------------------------------------------------------- */

struct csv {
    struct arena *arena;
    struct str rest;
    size_t line;
};

/* A quoted cell; `rest` stands behind the opening quote. */
static bool quoted_cell(struct csv *csv, struct str *cell)
{
    char *out = arena_alloc(csv->arena, csv->rest.len + 1);
    size_t n = 0, i = 0;

    if (!out)
        return false;
    for (; i < csv->rest.len; i++) {
        if (csv->rest.ptr[i] == '\n')
            csv->line++;
        if (csv->rest.ptr[i] != '"') {
            out[n++] = csv->rest.ptr[i];
        } else if (i + 1 < csv->rest.len && csv->rest.ptr[i + 1] == '"') {
            out[n++] = '"';
            i++;
        } else {
            break;
        }
    }
    if (i == csv->rest.len)
        return false; /* never closed */
    csv->rest.ptr += i + 1;
    csv->rest.len -= i + 1;
    *cell = str_make(out, n);
    return true;
}

/* One row; *count 0 at the end of the text. False: malformed, or too wide. */
static bool read_row(
    struct csv *csv, struct str cells[COLUMNS_MAX], size_t *count)
{
    *count = 0;
    csv->line++;
    while (csv->rest.len > 0) {
        struct str *cell = &cells[*count];
        if (*count == COLUMNS_MAX)
            return false;
        (*count)++;
        if (csv->rest.ptr[0] == '"') {
            csv->rest.ptr++;
            csv->rest.len--;
            if (!quoted_cell(csv, cell))
                return false;
        } else {
            size_t n = 0;
            while (n < csv->rest.len && csv->rest.ptr[n] != ',' &&
                   csv->rest.ptr[n] != '\n' && csv->rest.ptr[n] != '\r')
                n++;
            *cell = str_make(csv->rest.ptr, n);
            csv->rest.ptr += n;
            csv->rest.len -= n;
        }
        if (csv->rest.len > 0 && csv->rest.ptr[0] == ',') {
            csv->rest.ptr++;
            csv->rest.len--;
            continue;
        }
        if (csv->rest.len > 0 && csv->rest.ptr[0] == '\r') {
            csv->rest.ptr++;
            csv->rest.len--;
        }
        if (csv->rest.len > 0 && csv->rest.ptr[0] != '\n')
            return false;
        if (csv->rest.len > 0) {
            csv->rest.ptr++;
            csv->rest.len--;
        }
        return true;
    }
    return true;
}

enum { ENGINE, REQUESTS, INPUT, OUTPUT, WANTED };
static const struct str headings[WANTED] = {STR_INIT("engine"),
    STR_INIT("requests"), STR_INIT("input_tokens"), STR_INIT("output_tokens")};

static enum err read_heading(
    struct csv *csv, size_t at[WANTED], struct errinfo *info)
{
    struct str cells[COLUMNS_MAX];
    size_t count;

    for (int w = 0; w < WANTED; w++)
        at[w] = COLUMNS_MAX;
    if (!read_row(csv, cells, &count))
        return errinfo_set(info, ERR_SYNTAX, "line 1 is no line of CSV");
    for (size_t i = 0; i < count; i++)
        for (int w = 0; w < WANTED; w++)
            if (str_equal_nocase(str_trim(cells[i]), headings[w]))
                at[w] = i;
    if (at[ENGINE] == COLUMNS_MAX ||
        (at[REQUESTS] == COLUMNS_MAX && at[INPUT] == COLUMNS_MAX &&
            at[OUTPUT] == COLUMNS_MAX))
        return errinfo_set(info, ERR_SYNTAX,
            "line 1: a bill's heading has the column engine, and requests, "
            "input_tokens or output_tokens");
    return ERR_OK;
}

static bool add_cell(struct str cell, int64_t *sum)
{
    int64_t value;

    cell = str_trim(cell);
    if (str_to_i64(cell, &value) != ERR_OK || value < 0 || value > COUNT_MAX)
        return false;
    if (*sum < 0)
        *sum = 0;
    if (*sum > COUNT_MAX - value)
        return false;
    *sum += value;
    return true;
}

static enum err add_row(struct csv *csv, const struct str *cells, size_t count,
    const size_t at[WANTED], struct bill_row *rows, size_t *row_count,
    struct errinfo *info)
{
    struct bill_row *row = NULL;
    struct str engine;
    int64_t *sums[WANTED] = {NULL};

    if (at[ENGINE] >= count)
        return errinfo_set(
            info, ERR_SYNTAX, "line %zu has too few cells", csv->line);
    engine = str_trim(cells[at[ENGINE]]);
    for (size_t i = 0; i < *row_count && !row; i++)
        if (str_equal(rows[i].engine, engine))
            row = &rows[i];
    if (!row && *row_count == ROWS_MAX)
        return errinfo_set(
            info, ERR_LIMIT, "more than %d engines in a bill", ROWS_MAX);
    if (!row) {
        row = &rows[(*row_count)++];
        *row = (struct bill_row){engine, {-1, -1, -1}};
    }
    sums[REQUESTS] = &row->counters.requests;
    sums[INPUT] = &row->counters.input;
    sums[OUTPUT] = &row->counters.output;
    for (int w = REQUESTS; w < WANTED; w++)
        if (at[w] < COLUMNS_MAX &&
            (at[w] >= count || !add_cell(cells[at[w]], sums[w])))
            return errinfo_set(info, ERR_SYNTAX,
                "line %zu: %.*s is no whole number", csv->line,
                STR_ARG(headings[w]));
    return ERR_OK;
}

enum err counters_of_bill(struct arena *arena, struct str text,
    struct bill_row **rows, size_t *count, struct errinfo *info)
{
    struct csv csv = {.arena = arena, .rest = text};
    struct str cells[COLUMNS_MAX];
    size_t at[WANTED], cell_count;
    struct bill_row *list = ARENA_ARRAY(arena, ROWS_MAX, struct bill_row);
    enum err err = list ? ERR_OK : ERR_NOMEM;

    *count = 0;
    if (str_starts(csv.rest, STR("\xEF\xBB\xBF"))) { /* spreadsheets' mark */
        csv.rest.ptr += 3;
        csv.rest.len -= 3;
    }
    if (!err)
        err = read_heading(&csv, at, info);
    while (!err && csv.rest.len > 0) {
        if (!read_row(&csv, cells, &cell_count))
            err = errinfo_set(
                info, ERR_SYNTAX, "line %zu is no line of CSV", csv.line);
        else if (cell_count > 1 || str_trim(cells[0]).len > 0)
            err = add_row(&csv, cells, cell_count, at, list, count, info);
    }
    *rows = list;
    return err;
}
