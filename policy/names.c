/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/names.c - see policy/names.h. */
#include "policy/names.h"

#include "policy/policy_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FINDINGS_MAX (1u << 20)
#define SUGGEST_MAX 4096 /* names looked at for a suggestion */

static const struct register_of {
    struct str type;
    const char *what; /* for people */
    const char *one_sql, *all_sql;
} registers[] = {
    {STR_INIT("Team"), "team", "SELECT 1 FROM team WHERE name = ?1",
        "SELECT name FROM team ORDER BY name"},
    {STR_INIT("Model"), "model", "SELECT 1 FROM model WHERE name = ?1",
        "SELECT name FROM model ORDER BY name"},
    {STR_INIT("ModelGroup"), "model group",
        "SELECT 1 FROM model_group WHERE name = ?1",
        "SELECT name FROM model_group ORDER BY name"},
    {STR_INIT("Engine"), "engine", "SELECT 1 FROM engine WHERE name = ?1",
        "SELECT name FROM engine ORDER BY name"},
    {STR_INIT("RetentionClass"), "retention class",
        "SELECT 1 FROM retention_class WHERE name = ?1 UNION ALL "
        "SELECT 1 WHERE ?1 = 'default'",
        "SELECT name FROM retention_class ORDER BY name"},
};
#define REGISTERS (sizeof(registers) / sizeof(registers[0]))

struct checking {
    struct db *db;
    const char *name;
    struct str text;
    const struct policy_callers *callers;
    struct buf *out; /* the text with other Caller literals */
    size_t copied;   /* bytes of text that are in out */
    struct buf *findings;
    size_t found;
    char first[ERRINFO_MAX];
    struct errinfo *info;
    enum err err; /* not a finding: the database failed */
};

static void find_fault(struct checking *c, const struct policy_literal *at,
    const char *format, ...) PRINTFLIKE(3, 4);
static void find_fault(struct checking *c, const struct policy_literal *at,
    const char *format, ...)
{
    char text[ERRINFO_MAX];
    int head = snprintf(
        text, sizeof(text), "%.128s:%d:%d: ", c->name, at->line, at->column);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(
        text + head, sizeof(text) - (size_t)head, format, arguments);
    va_end(arguments);
    buf_printf(c->findings, "%s\n", text);
    if (c->found++ == 0)
        memcpy(c->first, text, sizeof(text));
}

/* "there is no team "cardioligy"; did you mean "cardiology"?" */
static void find_unknown(struct checking *c, const struct policy_literal *at,
    const char *what, struct str near)
{
    if (near.len > 0)
        find_fault(c, at, "there is no %s \"%.*s\"; did you mean \"%.*s\"?",
            what, STR_ARG(at->id), STR_ARG(near));
    else
        find_fault(c, at, "there is no %s \"%.*s\"; add it first", what,
            STR_ARG(at->id));
}

static enum err row_exists(struct db *db, const char *sql, struct str id,
    bool *exists, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db, sql, &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, info);
    *exists = err == ERR_OK;
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* The nearest name of the register, copied into the arena. Best effort. */
static struct str nearest(
    struct db *db, const char *all_sql, struct str id, struct arena *arena)
{
    struct db_statement *s;
    struct str *names = ARENA_ARRAY(arena, SUGGEST_MAX, struct str);
    size_t count = 0;
    if (names == NULL || db_prepare(db, all_sql, &s, NULL) != ERR_OK)
        return STR("");
    while (count < SUGGEST_MAX && db_step(s, NULL) == ERR_OK) {
        names[count] = arena_copy(arena, db_column_text(s, 0));
        if (names[count].ptr == NULL)
            break;
        count++;
    }
    db_reset(s);
    return str_suggest(id, names, count);
}

/* An alias is a name for callers; a rule means the model itself. */
static enum err alias_target(struct checking *c, struct str alias,
    struct arena *arena, struct str *model)
{
    struct db_statement *s;
    *model = STR("");
    enum err err = db_prepare(
        c->db, "SELECT model FROM model_alias WHERE alias = ?1", &s, c->info);
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, alias);
    err = db_step(s, c->info);
    if (err == ERR_OK) {
        *model = arena_copy(arena, db_column_text(s, 0));
        db_reset(s);
        return model->ptr != NULL ? ERR_OK : ERR_NOMEM;
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err check_row(struct checking *c, const struct register_of *r,
    const struct policy_literal *literal)
{
    bool exists = false;
    enum err err = row_exists(c->db, r->one_sql, literal->id, &exists, c->info);
    if (err != ERR_OK || exists)
        return err;
    struct arena *arena = arena_new(4096, 8u << 20);
    if (arena == NULL)
        return ERR_NOMEM;
    struct str model = STR("");
    if (str_equal(r->type, STR("Model")))
        err = alias_target(c, literal->id, arena, &model);
    if (err == ERR_OK && model.len > 0)
        find_fault(c, literal,
            "\"%.*s\" is an alias; name the model itself, Model::\"%.*s\"",
            STR_ARG(literal->id), STR_ARG(model));
    else if (err == ERR_OK)
        find_unknown(c, literal, r->what,
            nearest(c->db, r->all_sql, literal->id, arena));
    arena_free(&arena);
    return err;
}

/* Puts another Caller literal in the place of this one. */
static void replace(
    struct checking *c, const struct policy_literal *literal, struct str id)
{
    if (literal->offset < c->copied)
        return;
    buf_append(c->out, c->text.ptr + c->copied, literal->offset - c->copied);
    buf_append_str(c->out, STR("Caller::"));
    cedar_quote(c->out, id);
    c->copied = literal->offset + literal->length;
}

static enum err check_caller(
    struct checking *c, const struct policy_literal *literal)
{
    struct str id = literal->id, near = STR("");
    if (c->callers == NULL) {
        bool exists = false;
        enum err err = row_exists(
            c->db, "SELECT 1 FROM caller WHERE id = ?1", id, &exists, c->info);
        if (err == ERR_OK && !exists)
            find_unknown(c, literal, "caller", near);
        return err;
    }
    enum err err =
        c->callers->find(c->callers->context, literal->id, &id, &near, c->info);
    if (err == ERR_NOTFOUND) {
        find_unknown(c, literal, "caller", near);
        return ERR_OK;
    }
    if (err == ERR_OK && !str_equal(id, literal->id))
        replace(c, literal, id);
    return err;
}

static void check_literal(void *context, const struct policy_literal *literal)
{
    struct checking *c = context;
    if (c->err != ERR_OK)
        return;
    /* Types and actions are the schema's: policy_set_compile has checked. */
    if (str_equal(literal->type, STR("Caller"))) {
        c->err = check_caller(c, literal);
        return;
    }
    for (size_t i = 0; i < REGISTERS; i++)
        if (str_equal(registers[i].type, literal->type)) {
            c->err = check_row(c, &registers[i], literal);
            return;
        }
}

static enum err finish_text(struct checking *c)
{
    buf_append(c->out, c->text.ptr + c->copied, c->text.len - c->copied);
    return c->out->failed
               ? errinfo_set(c->info, ERR_LIMIT,
                     "the policy set has more than %u bytes", POLICY_TEXT_MAX)
               : ERR_OK;
}

enum err policy_prepare(struct db *db, struct str text, const char *source_name,
    const struct policy_callers *callers, struct buf *stored,
    struct policy_set **out, struct buf *findings, struct errinfo *info)
{
    struct policy_set *set = NULL;
    if (text.len > POLICY_TEXT_MAX)
        return errinfo_set(info, ERR_LIMIT,
            "the policy set has %zu bytes; at most %u are allowed", text.len,
            POLICY_TEXT_MAX);
    enum err err = policy_set_compile(text, source_name, &set, findings, info);
    if (err != ERR_OK)
        return err;
    size_t before = stored->len;
    struct checking c = {.db = db,
        .name = source_name,
        .text = text,
        .callers = callers,
        .out = stored,
        .findings = findings,
        .info = info};
    policy_set_each_literal(set, check_literal, &c);
    err = c.err;
    if (err == ERR_OK && c.found > 0)
        err = errinfo_set(info, ERR_SYNTAX, "%s", c.first);
    if (err == ERR_OK)
        err = finish_text(&c);
    if (err == ERR_OK && c.copied > 0) {
        /* What decides is what is stored. */
        struct str all = buf_str(stored);
        policy_set_free(&set);
        err = policy_set_compile(str_make(all.ptr + before, all.len - before),
            source_name, &set, findings, info);
    }
    if (err != ERR_OK)
        policy_set_free(&set);
    else
        *out = set;
    return err;
}

static void show_literal(void *context, const struct policy_literal *literal)
{
    struct checking *c = context;
    if (!str_equal(literal->type, STR("Caller")))
        return;
    struct str handle = c->callers->handle(c->callers->context, literal->id);
    if (handle.len > 0)
        replace(c, literal, handle);
}

enum err policy_show(struct str text, const struct policy_callers *callers,
    struct buf *out, struct errinfo *info)
{
    struct policy_set *set = NULL;
    struct buf findings;
    buf_init(&findings, FINDINGS_MAX);
    enum err err =
        policy_set_compile(text, "stored.cedar", &set, &findings, info);
    if (err == ERR_OK) {
        struct checking c = {
            .text = text, .callers = callers, .out = out, .info = info};
        policy_set_each_literal(set, show_literal, &c);
        err = finish_text(&c);
    }
    policy_set_free(&set);
    buf_fini(&findings);
    return err;
}

/* --- Which rules name it? ------------------------------------------------ */

struct looking {
    struct str type, id;
    struct policy_naming *out;
    size_t count;
};

static void look(void *context, const struct policy_literal *literal)
{
    struct looking *l = context;
    if (!str_equal(literal->type, l->type) || !str_equal(literal->id, l->id))
        return;
    if (l->count++ > 0)
        return;
    (void)snprintf(
        l->out->rule, sizeof(l->out->rule), "%.*s", STR_ARG(literal->policy));
    l->out->line = literal->line;
}

static enum err look_through(
    struct str text, struct looking *l, struct errinfo *info)
{
    struct policy_set *set = NULL;
    struct buf findings;
    buf_init(&findings, FINDINGS_MAX);
    enum err err =
        policy_set_compile(text, "stored.cedar", &set, &findings, info);
    if (err == ERR_OK)
        policy_set_each_literal(set, look, l);
    policy_set_free(&set);
    buf_fini(&findings);
    return err;
}

enum err policy_names_find(struct db *db, struct str type, struct str id,
    struct policy_naming *out, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT version, state, text FROM policy_version"
        " WHERE state IN ('active', 'approved', 'submitted')"
        " OR version IN (SELECT previous FROM emergency WHERE ended IS NULL)"
        " ORDER BY state, version",
        &s, info);
    if (err != ERR_OK)
        return err;
    struct looking l = {.type = type, .id = id, .out = out};
    while ((err = db_step(s, info)) == ERR_OK) {
        size_t before = l.count;
        err = look_through(db_column_text(s, 2), &l, info);
        if (err != ERR_OK) {
            err = errinfo_prefix(info, err, "policy version %lld",
                (long long)db_column_int(s, 0));
            break;
        }
        if (before == 0 && l.count > 0) {
            out->version = db_column_int(s, 0);
            (void)snprintf(out->state, sizeof(out->state), "%.*s",
                STR_ARG(db_column_text(s, 1)));
        }
    }
    if (err != ERR_NOTFOUND) {
        db_reset(s);
        return err;
    }
    if (l.count == 0)
        return ERR_NOTFOUND;
    out->more = l.count - 1;
    return ERR_OK;
}
