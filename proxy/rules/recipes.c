/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/recipes.c - see proxy/rules/recipes.h. */
#include "proxy/rules/recipes.h"

#include "policy/cedar/extension.h"
#include "policy/explain.h"
#include "proxy/rules/cases.h"
#include "proxy/rules/shipped.h"

#include <stdio.h>

#define PREFIX "recipes/"
#define SUFFIX ".recipe"
#define ITEMS_MAX 64 /* of a list */
#define VALUE_MAX 400

static const struct {
    const char *word;
    enum recipe_type type;
} types[] = {{"team", RECIPE_NAME}, {"group", RECIPE_NAME},
    {"model", RECIPE_NAME}, {"engine", RECIPE_NAME}, {"name", RECIPE_NAME},
    {"text", RECIPE_TEXT}, {"count", RECIPE_COUNT}, {"decimal", RECIPE_DECIMAL},
    {"clock", RECIPE_CLOCK}, {"date", RECIPE_DATE},
    {"weekdays", RECIPE_WEEKDAYS}, {"texts", RECIPE_TEXTS},
    {"networks", RECIPE_NETWORKS}, {"word", RECIPE_WORD}};

/* --- Reading a recipe -------------------------------------------------------
 */

static bool find_type(struct str word, enum recipe_type *out)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (str_equal(word, str_from(types[i].word))) {
            *out = types[i].type;
            return true;
        }
    }
    return false;
}

/* "team team required whom it binds", "days weekdays Mon-Fri on which days",
 * "reason text "" why" */
static bool read_field(struct str line, struct recipe_field *out)
{
    struct str type, rest, word;

    *out = (struct recipe_field){0};
    if (!str_split(line, ' ', &out->name, &rest) ||
        !str_split(rest, ' ', &type, &rest))
        return false;
    if (str_starts(type, STR("word("))) {
        out->choices = str_make(type.ptr + 5, type.len - 6);
        type = STR("word");
    }
    out->type_word = type;
    str_split(rest, ' ', &word, &out->help);
    out->required = str_equal(word, STR("required"));
    if (!out->required && !str_equal(word, STR("\"\"")))
        out->otherwise = word;
    return find_type(type, &out->type);
}

static bool read_head(struct str head, struct recipe *out)
{
    static const struct str field = STR_INIT("field: ");
    static const struct str summary = STR_INIT("summary: ");
    struct str line;

    while (head.len > 0) {
        str_split(head, '\n', &line, &head);
        if (str_starts(line, summary)) {
            out->summary =
                str_make(line.ptr + summary.len, line.len - summary.len);
        } else if (str_starts(line, field)) {
            line = str_make(line.ptr + field.len, line.len - field.len);
            if (out->field_count == RECIPE_FIELDS_MAX ||
                !read_field(line, &out->fields[out->field_count++]))
                return false;
        } else if (line.len > 0) {
            return false;
        }
    }
    return out->summary.len > 0;
}

/* Cuts at a line "---". */
static bool cut(struct str text, struct str *head, struct str *tail)
{
    const char *at = memmem(text.ptr, text.len, "\n---\n", 5);

    if (!at)
        return false;
    *head = str_make(text.ptr, (size_t)(at - text.ptr) + 1);
    *tail = str_make(at + 5, text.len - (size_t)(at - text.ptr) - 5);
    return true;
}

static enum err read_recipe(
    const struct policies_file *file, struct recipe *out, struct errinfo *info)
{
    struct str text = str_make(file->bytes, file->length), head;

    *out = (struct recipe){0};
    out->name = str_make(file->path + sizeof PREFIX - 1,
        strlen(file->path) - (sizeof PREFIX - 1) - (sizeof SUFFIX - 1));
    if (!cut(text, &head, &text) || !cut(text, &out->rule, &out->cases) ||
        !read_head(head, out))
        return errinfo_set(
            info, ERR_SYNTAX, "policies/%s is no recipe", file->path);
    return ERR_OK;
}

static bool is_recipe(const struct policies_file *file)
{
    struct str path = str_from(file->path);

    return str_starts(path, STR(PREFIX)) && str_ends(path, STR(SUFFIX));
}

size_t recipe_count(void)
{
    size_t count = 0;

    for (size_t i = 0; i < policies_file_count; i++)
        count += is_recipe(&policies_files[i]);
    return count;
}

enum err recipe_at(size_t at, struct recipe *out, struct errinfo *info)
{
    for (size_t i = 0; i < policies_file_count; i++)
        if (is_recipe(&policies_files[i]) && at-- == 0)
            return read_recipe(&policies_files[i], out, info);
    return errinfo_set(info, ERR_NOTFOUND, "there is no such recipe");
}

enum err recipe_find(struct str name, struct recipe *out, struct errinfo *info)
{
    struct str names[256], near;
    size_t count = 0;

    for (size_t i = 0; i < policies_file_count; i++) {
        enum err err;
        if (!is_recipe(&policies_files[i]))
            continue;
        err = read_recipe(&policies_files[i], out, info);
        if (err || str_equal(out->name, name))
            return err;
        if (count < 256)
            names[count++] = out->name;
    }
    near = str_suggest(name, names, count);
    if (near.len > 0)
        return errinfo_set(info, ERR_NOTFOUND,
            "there is no recipe \"%.*s\"; did you mean \"%.*s\"?",
            STR_ARG(name), STR_ARG(near));
    return errinfo_set(info, ERR_NOTFOUND,
        "there is no recipe \"%.*s\"; `bailiff policy recipes` lists them",
        STR_ARG(name));
}

/* --- Values
 * ------------------------------------------------------------------- */

static enum err not_so(const struct recipe_field *field, struct str value,
    const char *what, struct errinfo *info)
{
    return errinfo_set(info, ERR_INVALID, "%.*s: \"%.*s\" is no %s",
        STR_ARG(field->name), (int)(value.len < 80 ? value.len : 80), value.ptr,
        what);
}

static bool digits(struct str text, int *out)
{
    uint64_t number;

    if (text.len == 0 || text.len > 9 || str_to_u64(text, &number) != ERR_OK)
        return false;
    *out = (int)number;
    return true;
}

/* "08:00" to 480; "24:00" is the day's end. */
static bool read_clock(struct str text, int *minutes)
{
    struct str hour, minute;
    int h, m;

    if (text.len != 5 || !str_split(text, ':', &hour, &minute) ||
        hour.len != 2 || !digits(hour, &h) || !digits(minute, &m) || m > 59 ||
        h * 60 + m > 24 * 60)
        return false;
    *minutes = h * 60 + m;
    return true;
}

static bool is_date(struct str text)
{
    int64_t ms;

    return text.len == 10 && cedar_datetime_parse(text, &ms, NULL);
}

static int weekday_of(struct str text)
{
    static const char *const names[] = {
        "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

    for (int i = 0; i < 7; i++)
        if (str_equal_nocase(text, str_from(names[i])))
            return i;
    return -1;
}

/* "Mon-Fri", "Sat,Sun", "Mon-Wed,Fri" to bits. */
static bool read_weekdays(struct str text, unsigned *out)
{
    struct str one, first, last;

    *out = 0;
    while (text.len > 0) {
        int from, to;
        str_split(text, ',', &one, &text);
        str_split(one, '-', &first, &last);
        from = weekday_of(str_trim(first));
        to = last.len > 0 ? weekday_of(str_trim(last)) : from;
        if (from < 0 || to < 0)
            return false;
        for (int day = from;; day = (day + 1) % 7) {
            *out |= 1u << day;
            if (day == to)
                break;
        }
    }
    return *out != 0;
}

/* Texts without what would leave a string or a name. */
static bool is_plain(struct str text)
{
    if (text.len == 0 || text.len > 128 || !str_is_utf8(text))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x21 || c == 0x7f || c == '"' || c == '\\')
            return false;
    }
    return true;
}

static bool networks_good(struct str text)
{
    struct str one;
    struct cedar_ip ip;

    while (text.len > 0) {
        str_split(text, ',', &one, &text);
        if (!cedar_ip_parse(str_trim(one), &ip, NULL))
            return false;
    }
    return true;
}

static bool texts_good(struct str text)
{
    struct str one;
    size_t count = 0;

    while (text.len > 0) {
        str_split(text, ',', &one, &text);
        one = str_trim(one);
        if (++count > ITEMS_MAX || one.len == 0 || one.len > 128)
            return false;
    }
    return count > 0;
}

static bool is_choice(struct str choices, struct str value)
{
    struct str one;

    while (choices.len > 0) {
        str_split(choices, '|', &one, &choices);
        if (str_equal(one, value))
            return true;
    }
    return false;
}

static bool decimal_good(struct str value)
{
    int64_t number;

    return memchr(value.ptr, '.', value.len) &&
           cedar_decimal_parse(value, &number, NULL);
}

static enum err check_value(
    const struct recipe_field *field, struct str value, struct errinfo *info)
{
    uint64_t number;
    unsigned days;
    int minutes;

    if (value.len > VALUE_MAX || !str_is_utf8(value) ||
        memchr(value.ptr, '\0', value.len))
        return not_so(field, value, "text of at most 400 bytes", info);
    switch (field->type) {
    case RECIPE_NAME:
        return is_plain(value) ? ERR_OK : not_so(field, value, "name", info);
    case RECIPE_TEXT:
        return ERR_OK;
    case RECIPE_COUNT:
        return value.len <= 9 && str_to_u64(value, &number) == ERR_OK &&
                       number > 0
                   ? ERR_OK
                   : not_so(field, value, "number from 1 to 999999999", info);
    case RECIPE_DECIMAL:
        return decimal_good(value)
                   ? ERR_OK
                   : not_so(field, value, "decimal such as 0.7", info);
    case RECIPE_CLOCK:
        return read_clock(value, &minutes)
                   ? ERR_OK
                   : not_so(field, value, "time of day such as 08:00", info);
    case RECIPE_DATE:
        return is_date(value)
                   ? ERR_OK
                   : not_so(field, value, "day such as 2026-12-31", info);
    case RECIPE_WEEKDAYS:
        return read_weekdays(value, &days)
                   ? ERR_OK
                   : not_so(field, value,
                         "list of weekdays such as Mon-Fri or Mon,Wed", info);
    case RECIPE_TEXTS:
        return texts_good(value)
                   ? ERR_OK
                   : not_so(field, value, "list of names with commas", info);
    case RECIPE_NETWORKS:
        return value.len > 0 && networks_good(value)
                   ? ERR_OK
                   : not_so(field, value, "list of networks such as 10.0.0.0/8",
                         info);
    case RECIPE_WORD:
        if (is_choice(field->choices, value))
            return ERR_OK;
        return errinfo_set(info, ERR_INVALID, "%.*s: \"%.*s\" is none of %.*s",
            STR_ARG(field->name), STR_ARG(value), STR_ARG(field->choices));
    }
    return ERR_INVALID;
}

/* --- Filling in
 * ------------------------------------------------------------------ */

/* As in a Cedar string, without the quotes. */
static void put_escaped(struct buf *out, struct str text)
{
    struct buf quoted;

    buf_init(&quoted, 8 * VALUE_MAX + 64);
    cedar_quote(&quoted, text);
    if (quoted.len >= 2)
        buf_append(out, buf_str(&quoted).ptr + 1, quoted.len - 2);
    buf_fini(&quoted);
}

static void put_set(struct buf *out, struct str list)
{
    struct str one;
    const char *comma = "";

    buf_append_char(out, '[');
    while (list.len > 0) {
        str_split(list, ',', &one, &list);
        buf_printf(out, "%s", comma);
        cedar_quote(out, str_trim(one));
        comma = ", ";
    }
    buf_append_char(out, ']');
}

static void put_weekdays(struct buf *out, struct str value)
{
    static const char *const names[] = {
        "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    const char *comma = "";
    unsigned days = 0;

    (void)read_weekdays(value, &days);
    buf_append_char(out, '[');
    for (int i = 0; i < 7; i++) {
        if (!(days & (1u << i)))
            continue;
        buf_printf(out, "%s\"%s\"", comma, names[i]);
        comma = ", ";
    }
    buf_append_char(out, ']');
}

static void put_networks(struct buf *out, struct str list)
{
    struct str one;
    const char * or = "";

    while (list.len > 0) {
        str_split(list, ',', &one, &list);
        one = str_trim(one);
        buf_printf(out, "%scontext.request.ip.isInRange(ip(\"%.*s\"))", or,
            STR_ARG(one));
        or = " || ";
    }
}

/* One place of the template: "team", "from.minutes". */
static bool put_place(const struct recipe *recipe, const struct str *values,
    struct str place, struct buf *out)
{
    struct str name, part;
    int minutes = 0;

    str_split(place, '.', &name, &part);
    for (size_t i = 0; i < recipe->field_count; i++) {
        if (!str_equal(recipe->fields[i].name, name))
            continue;
        if (part.len == 0) {
            put_escaped(out, values[i]);
        } else if (str_equal(part, STR("minutes"))) {
            (void)read_clock(values[i], &minutes);
            buf_printf(out, "%d", minutes);
        } else if (str_equal(part, STR("set")) &&
                   recipe->fields[i].type == RECIPE_WEEKDAYS) {
            put_weekdays(out, values[i]);
        } else if (str_equal(part, STR("set"))) {
            put_set(out, values[i]);
        } else {
            put_networks(out, values[i]);
        }
        return true;
    }
    return false;
}

/* `{team}` is a place; any other brace is Cedar's. */
static void fill(const struct recipe *recipe, const struct str *values,
    struct str text, struct buf *out)
{
    while (text.len > 0) {
        const char *open = memchr(text.ptr, '{', text.len);
        const char *end = text.ptr + text.len;
        const char *close =
            open ? memchr(open, '}', (size_t)(end - open)) : NULL;
        if (!close) {
            buf_append_str(out, text);
            return;
        }
        buf_append(out, text.ptr, (size_t)(open - text.ptr));
        if (put_place(recipe, values,
                str_make(open + 1, (size_t)(close - open - 1)), out)) {
            text = str_make(close + 1, (size_t)(end - close - 1));
        } else {
            buf_append_char(out, '{');
            text = str_make(open + 1, (size_t)(end - open - 1));
        }
    }
}

static enum err take_values(const struct recipe *recipe, const json_t *values,
    struct str *out, struct str *id, struct errinfo *info)
{
    size_t known = 0;

    *id = str_from(json_string_value(json_object_get(values, "id")));
    known += id->len > 0;
    for (size_t i = 0; i < recipe->field_count; i++) {
        const struct recipe_field *field = &recipe->fields[i];
        const json_t *value =
            json_object_getn(values, field->name.ptr, field->name.len);
        enum err err;
        known += value != NULL;
        if (value && !json_is_string(value))
            return errinfo_set(
                info, ERR_INVALID, "%.*s: it is no text", STR_ARG(field->name));
        out[i] = value ? str_make(json_string_value(value),
                             json_string_length(value))
                       : field->otherwise;
        if (!value && field->required)
            return errinfo_set(info, ERR_INVALID, "%.*s is missing: %.*s",
                STR_ARG(field->name), STR_ARG(field->help));
        err = check_value(field, out[i], info);
        if (err)
            return err;
    }
    if (known < json_object_size(values))
        return errinfo_set(info, ERR_INVALID,
            "a field is given that the recipe %.*s does not have; `bailiff "
            "policy recipes %.*s` shows them",
            STR_ARG(recipe->name), STR_ARG(recipe->name));
    return ERR_OK;
}

static void put_origin(const struct recipe *recipe, const struct str *values,
    struct str id, struct buf *out)
{
    buf_printf(out, "@recipe(\"%.*s\")\n", STR_ARG(recipe->name));
    for (size_t i = 0; i < recipe->field_count; i++) {
        buf_printf(out, "@param_%.*s(\"", STR_ARG(recipe->fields[i].name));
        put_escaped(out, values[i]);
        buf_append_str(out, STR("\")\n"));
    }
    if (id.len > 0)
        buf_printf(out, "@param_id(\"%.*s\")\n", STR_ARG(id));
}

enum err recipe_render(const struct recipe *recipe, const json_t *values,
    struct buf *out, struct errinfo *info)
{
    struct str filled[RECIPE_FIELDS_MAX], rest = recipe->rule, line, id;
    enum err err = take_values(recipe, values, filled, &id, info);

    if (!err && id.len > 0 && !is_plain(id))
        err = errinfo_set(info, ERR_INVALID, "id: it is no name");
    if (err)
        return err;
    while (rest.len > 0) {
        const char *start = rest.ptr;
        str_split(rest, '\n', &line, &rest);
        if (id.len > 0 && str_starts(line, STR("@id("))) {
            buf_printf(out, "@id(\"%.*s\")\n", STR_ARG(id));
            continue;
        }
        if (str_starts(line, STR("permit")) ||
            str_starts(line, STR("forbid"))) {
            put_origin(recipe, filled, id, out);
            fill(recipe, filled,
                str_make(start, (size_t)(line.len + 1 + rest.len)), out);
            break;
        }
        fill(recipe, filled, line, out);
        buf_append_char(out, '\n');
    }
    return out->failed ? errinfo_set(info, ERR_NOMEM, "out of memory") : ERR_OK;
}

/* --- The form again
 * -------------------------------------------------------------- */

enum err recipe_of_rule(const struct policy_set *set, size_t at,
    struct recipe *out, json_t **values, struct errinfo *info)
{
    static const struct str prefix = STR_INIT("param_");
    struct str name, value;
    json_t *found;
    enum err err;

    if (!policy_set_annotation(set, at, STR("recipe"), &name))
        return errinfo_set(info, ERR_NOTFOUND,
            "the rule %.*s was not made by a recipe; change its text",
            STR_ARG(policy_set_id(set, at)));
    err = recipe_find(name, out, info);
    if (err)
        return err;
    found = json_object();
    for (size_t i = 0; i < policy_set_annotation_count(set, at); i++) {
        struct str key = policy_set_annotation_at(set, at, i, &value);
        if (str_starts(key, prefix))
            json_object_setn_new(found, key.ptr + prefix.len,
                key.len - prefix.len, json_stringn(value.ptr, value.len));
    }
    *values = found;
    return ERR_OK;
}

/* --- Its own cases
 * --------------------------------------------------------------- */

static enum err run_cases(const struct recipe *recipe, const json_t *document,
    const struct buf *rule, json_t **results, struct errinfo *info)
{
    static const struct str base =
        STR_INIT("@id(\"base\") @title(\"Everybody may do everything\")\n"
                 "permit (principal, action, resource);\n");
    struct policy_set *set = NULL;
    struct buf text, findings;
    struct str world_text;
    json_t *world = NULL, *cases = NULL;
    enum err err = ERR_OK;

    buf_init(&text, 1 << 20);
    buf_init(&findings, 1 << 20);
    if (json_is_true(json_object_get(document, "base")))
        buf_append_str(&text, base);
    buf_append_str(&text, buf_str(rule));
    if (!shipped_find("recipes/world.json", &world_text))
        err = errinfo_set(info, ERR_NOTFOUND, "recipes/world.json is missing");
    if (!err)
        err = cases_parse(world_text, "recipes/world.json", &world, info);
    if (!err)
        err = policy_set_compile(
            buf_str(&text), "recipe.cedar", &set, &findings, info);
    if (!err) {
        cases = json_pack("{s:O,s:O}", "world", world, "cases",
            json_object_get(document, "cases"));
        err = cases ? cases_run(cases, set, NULL, results, info)
                    : errinfo_set(info, ERR_SYNTAX, "%.*s has no cases",
                          STR_ARG(recipe->name));
    }
    json_decref(cases);
    json_decref(world);
    policy_set_free(&set);
    buf_fini(&text);
    buf_fini(&findings);
    return err;
}

enum err recipe_test(const struct recipe *recipe, struct buf *rule,
    json_t **results, struct errinfo *info)
{
    json_t *document = NULL;
    enum err err = cases_parse(recipe->cases, "recipe", &document, info);

    if (!err)
        err = recipe_render(
            recipe, json_object_get(document, "example"), rule, info);
    if (!err)
        err = run_cases(recipe, document, rule, results, info);
    json_decref(document);
    return err;
}
