/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/stats_sums.c - a table of sums answers when it has every column that
 * the words of `by` and the filters name; the smallest first. */
#include "audit/stats_sums.h"

#include <stddef.h>

#define NAMES_MAX 16

/* Words of `by` and filters have the same names. */
static const struct {
    const char *table;
    const char *names[NAMES_MAX];
} tables[] = {
    {"tally", {"hour", "day", "month", "model", "engine", "route", "action",
                  "decision", "version", "stage", "code", "status", "outcome"}},
    {"tally_rule", {"hour", "day", "month", "policy", "version", "stage",
                       "code", "quota", "status", "decision"}},
    {"tally_team", {"day", "month", "team", "model", "decision"}},
    {"tally_caller", {"day", "month", "caller", "key", "team", "decision"}},
    {"tally_caller_model",
        {"day", "month", "caller", "key", "team", "model", "decision"}},
};
#define TABLE_COUNT (sizeof(tables) / sizeof(tables[0]))

enum means { MEANS_WORD, MEANS_MEMBER, MEANS_OTHER };

static const struct filter_field {
    const char *name, *column;
    size_t at; /* of the text in struct audit_filter */
    enum means means;
} fields[] = {
    {"caller", "caller", offsetof(struct audit_filter, caller), MEANS_WORD},
    {"key", "key", offsetof(struct audit_filter, key), MEANS_WORD},
    {"team", "teams", offsetof(struct audit_filter, team), MEANS_MEMBER},
    {"policy", "policies", offsetof(struct audit_filter, policy), MEANS_MEMBER},
    {"model", "model", offsetof(struct audit_filter, model), MEANS_WORD},
    {"engine", "engine", offsetof(struct audit_filter, engine), MEANS_WORD},
    {"route", "route", offsetof(struct audit_filter, route), MEANS_WORD},
    {"action", "action", offsetof(struct audit_filter, action), MEANS_WORD},
    {"stage", "stage", offsetof(struct audit_filter, stage), MEANS_WORD},
    {"code", "code", offsetof(struct audit_filter, code), MEANS_WORD},
    {"quota", "quota", offsetof(struct audit_filter, quota), MEANS_WORD},
    {"outcome", "outcome", offsetof(struct audit_filter, outcome), MEANS_WORD},
    {"decision", "", offsetof(struct audit_filter, decision), MEANS_OTHER},
    {"status", "", offsetof(struct audit_filter, status), MEANS_OTHER},
    {"version", "", offsetof(struct audit_filter, version), MEANS_OTHER},
};
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

static struct str value_of(
    const struct audit_filter *filter, const struct filter_field *field)
{
    return *(const struct str *)((const char *)filter + field->at);
}

static bool has(size_t table, const char *name)
{
    for (size_t i = 0; i < NAMES_MAX && tables[table].names[i]; i++)
        if (strcmp(tables[table].names[i], name) == 0)
            return true;
    return false;
}

/* What no table of sums knows. */
static bool needs_rows(const struct audit_filter *f)
{
    bool known_type = f->type.len == 0 || str_equal(f->type, STR("request")) ||
                      str_equal(f->type, STR("request.admitted")) ||
                      str_equal(f->type, STR("request.denied"));
    return !known_type || f->id.len > 0 || f->text.len > 0 ||
           f->actor.len > 0 || f->object.len > 0 || f->has_after;
}

const char *sums_table(
    const struct audit_filter *filter, const char *const *by, size_t by_count)
{
    if (needs_rows(filter))
        return NULL;
    for (size_t t = 0; t < TABLE_COUNT; t++) {
        bool all = true;
        for (size_t i = 0; i < by_count; i++)
            all = all && has(t, by[i]);
        for (size_t i = 0; i < FIELD_COUNT; i++)
            all = all && (value_of(filter, &fields[i]).len == 0 ||
                             has(t, fields[i].name));
        if (all)
            return tables[t].table;
    }
    return NULL;
}

static enum err word_id(
    struct db *db, struct str word, int64_t *id, struct errinfo *info)
{
    struct db_statement *s;
    enum err err =
        db_prepare(db, "SELECT id FROM word WHERE text = ?1", &s, info);
    *id = 0;
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, word);
    err = db_step(s, info);
    if (err == ERR_OK)
        *id = db_column_int(s, 0);
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static void append_other(const struct audit_filter *f, struct buf *where)
{
    uint64_t number;
    if (f->decision.len > 0)
        buf_printf(where, " AND r.permitted = %d",
            str_equal(f->decision, STR("permit")));
    if (f->type.len > 0 && !str_equal(f->type, STR("request")))
        buf_printf(where, " AND r.permitted = %d",
            str_equal(f->type, STR("request.admitted")));
    if (f->version.len > 0 && str_to_u64(f->version, &number) == ERR_OK)
        buf_printf(
            where, " AND r.policy_version = %llu", (unsigned long long)number);
    if (f->status.len == 3 && f->status.ptr[1] == 'x')
        buf_printf(where, " AND r.status BETWEEN %d AND %d",
            (f->status.ptr[0] - '0') * 100,
            (f->status.ptr[0] - '0') * 100 + 99);
    else if (f->status.len > 0 && str_to_u64(f->status, &number) == ERR_OK)
        buf_printf(where, " AND r.status = %llu", (unsigned long long)number);
}

enum err sums_conditions(struct db *db, const struct audit_filter *filter,
    struct buf *where, bool *none, struct errinfo *info)
{
    *none = false;
    append_other(filter, where);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        struct str value = value_of(filter, &fields[i]);
        int64_t id;
        if (value.len == 0 || fields[i].means == MEANS_OTHER)
            continue;
        if (fields[i].at == offsetof(struct audit_filter, outcome) &&
            str_equal(value, STR("open"))) {
            buf_append_str(
                where, STR(" AND r.permitted = 1 AND r.outcome IS NULL"));
            continue;
        }
        enum err err = word_id(db, value, &id, info);
        if (err != ERR_OK)
            return err;
        *none = *none || id == 0;
        if (fields[i].means == MEANS_MEMBER)
            buf_printf(where,
                " AND EXISTS (SELECT 1 FROM member WHERE list = r.%s AND "
                "word = %lld)",
                fields[i].column, (long long)id);
        else
            buf_printf(
                where, " AND r.%s = %lld", fields[i].column, (long long)id);
    }
    return ERR_OK;
}
