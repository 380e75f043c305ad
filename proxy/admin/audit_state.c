/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/audit_state.c - what was in force at a time, told by the log. */
#include "proxy/admin/past.h"

#include "lib/clock.h"

struct state_query {
    struct str at, kind;
    int64_t before;
};

/* RFC 3339, a date, or a span back from now. */
static enum err read_at(struct admin_call *call, struct str text, int64_t *out)
{
    int64_t span;

    if (text.len == 0) {
        *out = 0;
        return ERR_OK;
    }
    if (clock_parse(text, out) == ERR_OK)
        return ERR_OK;
    if (clock_parse_duration(text, &span) == ERR_OK) {
        *out = clock_now() - span;
        return ERR_OK;
    }
    return FAIL(call, ERR_INVALID,
        "at: \"%.*s\" is no time: 2026-11-23T08:00:00Z, a date, or 24h back",
        STR_ARG(text));
}

/* One item for each thing that was there. */
static json_t *items_of(
    struct admin_call *call, const struct past *past, struct str wanted)
{
    json_t *items = json_array(), *all, *one, *kinds = past->kinds;
    const char *kind, *id;

    json_object_foreach(kinds, kind, all)
    {
        if (wanted.len > 0 && !str_equal(wanted, str_from(kind)))
            continue;
        json_object_foreach(all, id, one)
        {
            json_t *item = json_copy(one);
            struct buf name;

            buf_init(&name, 1024);
            admin_set_text(item, "kind", str_from(kind));
            admin_set_text(item, "id", str_from(id));
            if (audit_find_name(call, str_from(id), &name))
                admin_set_text(item, "name", buf_str(&name));
            buf_fini(&name);
            json_array_append_new(items, item);
        }
    }
    return items;
}

static enum err check_kind(
    struct admin_call *call, const struct past *past, struct str wanted)
{
    const char *kind;
    json_t *all, *kinds = past->kinds;
    struct buf words;

    if (wanted.len == 0)
        return ERR_OK;
    buf_init(&words, 4096);
    json_object_foreach(kinds, kind, all)
    {
        if (str_equal(wanted, str_from(kind))) {
            buf_fini(&words);
            return ERR_OK;
        }
        buf_printf(&words, "%s%s", words.len > 0 ? ", " : "", kind);
    }
    enum err err = FAIL(call, ERR_INVALID,
        "kind: there was no \"%.*s\" then; there were: %s", STR_ARG(wanted),
        words.len > 0 ? buf_cstr(&words) : "none at all");
    buf_fini(&words);
    return err;
}

static enum err answer_past(struct admin_call *call, const struct past *past,
    const struct state_query *query, int64_t at)
{
    json_t *answer = json_object(), *policy = past_policy(past);

    admin_set_time(answer, "at", at);
    admin_set_int(answer, "changes", (int64_t)past->changes);
    admin_set(answer, "lastChange",
        past->changes > 0 ? json_integer((json_int_t)past->last.seq)
                          : json_null());
    admin_set(answer, "policy", policy ? json_incref(policy) : json_null());
    admin_set(answer, "adopted",
        past->has_adopted ? json_integer((json_int_t)past->adopted)
                          : json_null());
    admin_set(answer, "items", items_of(call, past, query->kind));
    return admin_answer(call, 200, answer);
}

#define AT(member) offsetof(struct state_query, member)
enum err handle_audit_state(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"at", FIELD_TEXT, false, AT(at), 1, 64, NULL},
        {"before", FIELD_INT, false, AT(before), 0, INT64_MAX, NULL},
        {"kind", FIELD_TEXT, false, AT(kind), 1, 64, NULL},
    };
    struct state_query query = {.before = INT64_MAX};
    struct audit_index *index = NULL;
    struct audit_reader *reader = NULL;
    struct past past = {0};
    uint64_t size = 0, damaged = 0;
    int64_t at = 0;
    bool behind = false;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &query);

    if (!err)
        err = read_at(call, query.at, &at);
    if (!err)
        err = audit_await_index(call, &size, &behind);
    if (!err && behind)
        err = FAIL(call, ERR_AGAIN,
            "the index is behind the log; ask again in a moment");
    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    if (!err)
        err =
            audit_reader_open(control_dir(call->control), &reader, &call->info);
    if (!err)
        err = past_build(call, index, reader, size, (uint64_t)query.before, at,
            &past, &damaged);
    if (err) {
        err = audit_index_failed(call, err, damaged);
        goto out;
    }
    err = check_kind(call, &past, query.kind);
    if (!err) {
        json_t *detail = json_object();
        admin_set_time(detail, "at", at);
        err = admin_event(
            call, "audit.past_shown", "log", STR(""), detail, STR(""));
    }
    if (!err)
        err = answer_past(call, &past, &query, at);
out:
    past_fini(&past);
    audit_reader_close(&reader);
    audit_index_close(&index);
    return err;
}
