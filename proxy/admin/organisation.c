/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/organisation.c - settings of the organisation: what touches a
 * control and therefore stands in the control database, under audit. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"

struct setting_row {
    const char *key, *otherwise, *help;
    enum err (*check)(struct admin_call *call, struct str value);
};

static enum err check_approvals(struct admin_call *call, struct str value)
{
    uint64_t wanted;
    int64_t now;
    enum err err = admin_setting_int(call, "require_approvals", 0, &now);

    if (err)
        return err;
    if (str_to_u64(value, &wanted) != ERR_OK || wanted > 10)
        return FAIL(call, ERR_RANGE,
            "require_approvals: \"%.*s\" is no number from 0 to 10",
            STR_ARG(value));
    /* Inside a proposal the others have agreed. */
    if ((int64_t)wanted < now && !call->outer)
        return FAIL(call, ERR_DENIED,
            "require_approvals is %lld and can be raised, not lowered: one "
            "person alone would undo what takes several",
            (long long)now);
    return ERR_OK;
}

/* "quotas,keys": what one person alone cannot change. */
static enum err check_two_person(struct admin_call *call, struct str value)
{
    struct str rest = value, word;
    struct buf known;
    enum err err = ERR_OK;

    buf_init(&known, 4096);
    while (rest.len > 0 && !err) {
        str_split(rest, ',', &word, &rest);
        word = str_trim(word);
        buf_clear(&known);
        if (word.len > 0 && !admin_guard_knows(call, word, &known))
            err = FAIL(call, ERR_INVALID,
                "two_person_for: \"%.*s\" is nothing that it can be asked "
                "for; write some of these with commas between them: %s",
                STR_ARG(word), buf_cstr(&known));
    }
    buf_fini(&known);
    return err;
}

static enum err check_switch(struct admin_call *call, struct str value)
{
    if (str_equal(value, STR("true")) || str_equal(value, STR("false")))
        return ERR_OK;
    return FAIL(call, ERR_INVALID, "%.*s: must be true or false",
        STR_ARG(call->params[0]));
}

/* On: only where enough can approve with one, or nobody could take it back. */
static enum err check_need_certificate(
    struct admin_call *call, struct str value)
{
    bool now = false, wanted = str_equal(value, STR("true"));
    int64_t have = 0, needed = 1;
    enum err err = check_switch(call, value);

    if (!err)
        err = admin_approvals_need_certificate(call, &now);
    if (!err)
        err = admin_approvals_needed(call, &needed);
    if (!err)
        err = admin_count_certified(call, STR(""), &have);
    if (err || wanted == now)
        return err;
    /* Inside a proposal the others have agreed. */
    if (!wanted && !call->outer)
        return FAIL(call, ERR_DENIED,
            "approvals_need_certificate is on: one person alone would undo "
            "what takes several");
    if (wanted && have < needed + 1)
        return FAIL(call, ERR_WRONG_STATE,
            "approvals_need_certificate: an approval takes %lld other "
            "person(s), and %lld administrator(s) who may approve have a "
            "certificate in force; pin more first (bailiff admin certificate "
            "NAME FILE)",
            (long long)needed, (long long)have);
    return ERR_OK;
}

static enum err check_key_days(struct admin_call *call, struct str value)
{
    uint64_t days;

    if (str_to_u64(value, &days) == ERR_OK && days <= 3650)
        return ERR_OK;
    return FAIL(call, ERR_RANGE,
        "digest_key_days: \"%.*s\" is no number from 0 (only by hand) to 3650",
        STR_ARG(value));
}

static enum err check_zone(struct admin_call *call, struct str value)
{
    struct clock_zone *zone = NULL;
    enum err err =
        clock_zone_load(arena_cstr(call->arena, value), &zone, &call->info);

    clock_zone_free(&zone);
    if (err)
        errinfo_prefix(&call->info, err, "zone");
    return err ? ERR_INVALID : ERR_OK;
}

/* "2026-12-25,2026-12-26": dates in the organisation's zone. */
static enum err check_holidays(struct admin_call *call, struct str value)
{
    struct str rest = value, word;
    int64_t ignored;

    while (rest.len > 0) {
        str_split(rest, ',', &word, &rest);
        word = str_trim(word);
        if (word.len == 0)
            continue;
        if (word.len != 10 || clock_parse(word, &ignored) != ERR_OK)
            return FAIL(call, ERR_INVALID,
                "holidays: \"%.*s\" is no date; write dates such as "
                "2026-12-25, with a comma between them",
                STR_ARG(word));
    }
    return ERR_OK;
}

static enum err check_webhook(struct admin_call *call, struct str value)
{
    if (value.len == 0 ||
        (value.len < 2000 && (str_starts(value, STR("https://")) ||
                                 str_starts(value, STR("http://")))))
        return ERR_OK;
    return FAIL(call, ERR_INVALID,
        "quota_webhook: \"%.*s\" is no URL; write https://HOST/PATH",
        STR_ARG(value));
}

static const struct setting_row rows[] = {
    {"require_approvals", "0",
        "approvals by others that a policy version needs before it can be "
        "activated",
        check_approvals},
    {"two_person_for", "",
        "what else takes the approval of others (at least one): keys, quotas, "
        "models ...",
        check_two_person},
    {"approvals_need_certificate", "false",
        "an approval takes a token and a certificate that is pinned for the "
        "same administrator",
        check_need_certificate},
    {"require_if_match", "false",
        "PUT, PATCH and DELETE have to say what was read (If-Match)",
        check_switch},
    {"zone", "UTC", "time zone of calendar quotas and of context.time in rules",
        check_zone},
    {"contact", "", "whom a denied caller is told to ask", NULL},
    {"organisation", "", "the organisation's name", NULL},
    {"digest_key_days", "90",
        "after so many days content digests get a new key; 0: only by hand",
        check_key_days},
    {"quota_webhook", "",
        "URL to which warnings of quotas are posted as JSON; empty: none",
        check_webhook},
    {"holidays", "", "dates on which context.time.isHoliday is true",
        check_holidays},
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

static json_t *setting_json(const struct setting_row *row, struct str value)
{
    json_t *setting = json_object();

    admin_set_text(setting, "key", str_from(row->key));
    admin_set_text(setting, "value", value);
    admin_set_text(setting, "help", str_from(row->help));
    return setting;
}

enum err handle_setting_list(struct admin_call *call)
{
    json_t *items = json_array();

    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct str value;
        enum err err =
            admin_setting(call, rows[i].key, rows[i].otherwise, &value);
        if (err) {
            json_decref(items);
            return err;
        }
        json_array_append_new(items, setting_json(&rows[i], value));
    }
    return admin_answer_list(call, items);
}

static const struct setting_row *find_row(struct admin_call *call)
{
    struct str names[ROW_COUNT], near;

    for (size_t i = 0; i < ROW_COUNT; i++) {
        names[i] = str_from(rows[i].key);
        if (str_equal(names[i], call->params[0]))
            return &rows[i];
    }
    near = str_suggest(call->params[0], names, ROW_COUNT);
    if (near.len > 0)
        FAIL(call, ERR_NOTFOUND,
            "there is no setting \"%.*s\"; did you mean \"%.*s\"?",
            STR_ARG(call->params[0]), STR_ARG(near));
    else
        FAIL(call, ERR_NOTFOUND, "there is no setting \"%.*s\"",
            STR_ARG(call->params[0]));
    return NULL;
}

struct setting_body {
    struct str value, reason;
};

enum err handle_setting_put(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"value", FIELD_TEXT, true, offsetof(struct setting_body, value), 0,
            4000, NULL},
        {"reason", FIELD_TEXT, false, offsetof(struct setting_body, reason), 0,
            1000, NULL},
    };
    const struct setting_row *row = find_row(call);
    struct setting_body body = {.reason = STR("")};
    struct db_statement *s;
    struct str before;
    enum err err;

    if (!row)
        return ERR_NOTFOUND;
    err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);
    if (!err && row->check)
        err = row->check(call, body.value);
    if (err || (err = admin_begin(call)))
        return err;
    err = admin_setting(call, row->key, row->otherwise, &before);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO organisation_setting (key, value) VALUES (?1, ?2) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, str_from(row->key));
    db_bind_text(s, 2, body.value);
    err = db_run(s, &call->info);
    if (!err)
        err = admin_record(call, "admin.setting.changed", "setting",
            str_from(row->key), json_pack("{s:o}", "value", admin_text(before)),
            json_pack("{s:o}", "value", admin_text(body.value)), NULL,
            body.reason);
    if (!err)
        err = admin_commit(call, CHANGED_SETTINGS);
    return err ? err : admin_answer(call, 200, setting_json(row, body.value));
}
