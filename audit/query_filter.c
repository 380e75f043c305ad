/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query_filter.c - filters by name, as the command line and the admin
 * API give them. What cannot be is refused here: an empty answer must never
 * come from a slip of the pen. */
#include "audit/query.h"

#include <stddef.h>

#define FIELD(name, value, help) {name, value, help},
static const struct audit_filter_field fields[] = {AUDIT_FILTERS(FIELD)};
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

const struct audit_filter_field *audit_filter_fields(size_t *count)
{
    *count = FIELD_COUNT;
    return fields;
}

static void append_words(struct buf *out, const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : "", words[i]);
}

static enum err unknown_name(struct str name, struct errinfo *info)
{
    struct str names[FIELD_COUNT];
    struct buf list;
    buf_init(&list, 1024);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        names[i] = str_from(fields[i].name);
        buf_printf(&list, "%s%s", i ? ", " : "", fields[i].name);
    }
    struct str meant = str_suggest(name, names, FIELD_COUNT);
    enum err err = errinfo_set(info, ERR_INVALID,
        "there is no filter \"%.*s\"%s%.*s%s; the filters are %s",
        STR_ARG(name), meant.len ? " (did you mean \"" : "", STR_ARG(meant),
        meant.len ? "\"?)" : "", buf_cstr(&list));
    buf_fini(&list);
    return err;
}

static bool is_one_of(struct str value, const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        if (str_equal(value, str_from(words[i])))
            return true;
    return false;
}

static enum err set_word(struct str *field, const char *name, struct str value,
    const char *const *words, struct errinfo *info)
{
    struct buf list;
    if (is_one_of(value, words)) {
        *field = value;
        return ERR_OK;
    }
    buf_init(&list, 1024);
    append_words(&list, words);
    enum err err = errinfo_set(info, ERR_INVALID, "%s: \"%.*s\" is none of %s",
        name, STR_ARG(value), buf_cstr(&list));
    buf_fini(&list);
    return err;
}

static bool is_date(struct str value)
{
    return value.len == 10 && value.ptr[4] == '-' && value.ptr[7] == '-';
}

/* A day of the zone, or the day after it. */
static int64_t day_start(
    int64_t utc_midnight, const struct clock_zone *zone, bool next)
{
    struct clock_civil day;
    clock_civil_utc(utc_midnight + (next ? DAY_US : 0), &day);
    return zone ? clock_from_civil(zone, &day)
                : utc_midnight + (next ? DAY_US : 0);
}

static enum err set_time(int64_t *field, const char *name, struct str value,
    int64_t now_us, const struct clock_zone *zone, bool until,
    struct errinfo *info)
{
    int64_t time_us;
    if (clock_parse(value, &time_us) == ERR_OK) {
        *field = is_date(value) ? day_start(time_us, zone, until) : time_us;
        return ERR_OK;
    }
    if (clock_parse_duration(value, &time_us) == ERR_OK) {
        *field = now_us - time_us;
        return ERR_OK;
    }
    return errinfo_set(info, ERR_INVALID,
        "%s: \"%.*s\" is no time; write a date (2026-11-23), an instant "
        "(2026-11-23T08:00:00Z) or how long ago (90m, 24h, 30d)",
        name, STR_ARG(value));
}

static enum err set_status(
    struct str *field, struct str value, struct errinfo *info)
{
    bool good = value.len == 3 && value.ptr[0] >= '1' && value.ptr[0] <= '5';
    bool class = good && value.ptr[1] == 'x' && value.ptr[2] == 'x';
    for (size_t i = 1; i < 3 && good && !class; i++)
        good = value.ptr[i] >= '0' && value.ptr[i] <= '9';
    if (!good)
        return errinfo_set(info, ERR_INVALID,
            "status: \"%.*s\" is no HTTP status; write 403, or 4xx for all "
            "from 400 to 499",
            STR_ARG(value));
    *field = value;
    return ERR_OK;
}

static enum err set_version(
    struct str *field, struct str value, struct errinfo *info)
{
    uint64_t number;
    if (str_to_u64(value, &number) != ERR_OK || number > INT32_MAX)
        return errinfo_set(info, ERR_INVALID,
            "version: \"%.*s\" is no number of a policy version",
            STR_ARG(value));
    *field = value;
    return ERR_OK;
}

static enum err set_search(
    struct str *field, struct str value, struct errinfo *info)
{
    if (value.len == 0 || value.len > AUDIT_SEARCH_MAX)
        return errinfo_set(info, ERR_INVALID,
            "text: from 1 to %d bytes are looked for", AUDIT_SEARCH_MAX);
    *field = value;
    return ERR_OK;
}

static const char *const families[] = {"request", "auth", "admin", "policy",
    "engine", "system", "audit", "change", "unreadable", NULL};
static const char *const request_types[] = {"admitted", "denied", "completed",
    "withdrawn", "attempt", "measured", NULL};

static enum err set_type(
    struct str *field, struct str value, struct errinfo *info)
{
    struct str family, rest;
    struct buf list;
    str_split(value, '.', &family, &rest);
    if (!is_one_of(family, families)) {
        buf_init(&list, 512);
        append_words(&list, families);
        enum err err = errinfo_set(info, ERR_INVALID,
            "type: \"%.*s\" is of no known family; the families are %s",
            STR_ARG(value), buf_cstr(&list));
        buf_fini(&list);
        return err;
    }
    if (str_equal(family, STR("request")) && rest.len > 0 &&
        !is_one_of(rest, request_types)) {
        buf_init(&list, 512);
        append_words(&list, request_types);
        enum err err = errinfo_set(info, ERR_INVALID,
            "type: \"%.*s\" does not exist; after \"request.\" comes one of %s",
            STR_ARG(value), buf_cstr(&list));
        buf_fini(&list);
        return err;
    }
    *field = value;
    return ERR_OK;
}

static enum err set_number(uint64_t *field, const char *name, struct str value,
    uint64_t least, uint64_t most, struct errinfo *info)
{
    uint64_t number;
    if (str_to_u64(value, &number) != ERR_OK || number < least || number > most)
        return errinfo_set(info, ERR_INVALID,
            "%s: \"%.*s\" is no number from %llu to %llu", name, STR_ARG(value),
            (unsigned long long)least, (unsigned long long)most);
    *field = number;
    return ERR_OK;
}

/* Names and ids: anything that is not empty. */
static enum err set_text(struct audit_filter *filter, struct str name,
    struct str value, bool *found, struct errinfo *info)
{
    const struct {
        struct str name;
        struct str *field;
    } texts[] = {
        {STR_INIT("caller"), &filter->caller},
        {STR_INIT("key"), &filter->key},
        {STR_INIT("team"), &filter->team},
        {STR_INIT("model"), &filter->model},
        {STR_INIT("engine"), &filter->engine},
        {STR_INIT("policy"), &filter->policy},
        {STR_INIT("route"), &filter->route},
        {STR_INIT("action"), &filter->action},
        {STR_INIT("id"), &filter->id},
        {STR_INIT("actor"), &filter->actor},
        {STR_INIT("object"), &filter->object},
        {STR_INIT("code"), &filter->code},
        {STR_INIT("quota"), &filter->quota},
        {STR_INIT("stage"), &filter->stage},
    };
    *found = false;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!str_equal(name, texts[i].name))
            continue;
        *found = true;
        if (value.len == 0)
            return errinfo_set(
                info, ERR_INVALID, "%.*s: a value is missing", STR_ARG(name));
        *texts[i].field = value;
    }
    return ERR_OK;
}

enum err audit_filter_set(struct audit_filter *filter, struct str name,
    struct str value, int64_t now_us, const struct clock_zone *zone,
    struct errinfo *info)
{
    static const char *const decisions[] = {"permit", "deny", NULL};
    static const char *const outcomes[] = {"ok", "cut", "client_gone",
        "engine_error", "interrupted", "withdrawn", "open", NULL};
    static const char *const orders[] = {"newest", "oldest", NULL};
    bool found;
    enum err err = set_text(filter, name, value, &found, info);
    if (found)
        return err;
    if (str_equal(name, STR("since")))
        return set_time(
            &filter->since_us, "since", value, now_us, zone, false, info);
    if (str_equal(name, STR("until")))
        return set_time(
            &filter->until_us, "until", value, now_us, zone, true, info);
    if (str_equal(name, STR("version")))
        return set_version(&filter->version, value, info);
    if (str_equal(name, STR("text")))
        return set_search(&filter->text, value, info);
    if (str_equal(name, STR("decision")))
        return set_word(&filter->decision, "decision", value, decisions, info);
    if (str_equal(name, STR("outcome")))
        return set_word(&filter->outcome, "outcome", value, outcomes, info);
    if (str_equal(name, STR("status")))
        return set_status(&filter->status, value, info);
    if (str_equal(name, STR("type")))
        return set_type(&filter->type, value, info);
    if (str_equal(name, STR("order"))) {
        struct str order = STR("");
        err = set_word(&order, "order", value, orders, info);
        filter->oldest_first = str_equal(order, STR("oldest"));
        return err;
    }
    if (str_equal(name, STR("after"))) {
        err = set_number(&filter->after, "after", value, 0, INT64_MAX, info);
        filter->has_after = err == ERR_OK;
        return err;
    }
    if (str_equal(name, STR("limit"))) {
        uint64_t limit = 0;
        err = set_number(&limit, "limit", value, 1, AUDIT_LIMIT_MAX, info);
        if (err == ERR_OK)
            filter->limit = (size_t)limit;
        return err;
    }
    return unknown_name(name, info);
}
