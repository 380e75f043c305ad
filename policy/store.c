/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/store.c - see policy/store.h. */
#include "policy/store.h"

#include "lib/crypto.h"
#include "lib/must.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXTS_MAX (POLICY_TEXT_MAX + (64u << 10))

static const struct str state_names[] = {
    [POLICY_DRAFT] = STR_INIT("draft"),
    [POLICY_SUBMITTED] = STR_INIT("submitted"),
    [POLICY_APPROVED] = STR_INIT("approved"),
    [POLICY_ACTIVE] = STR_INIT("active"),
    [POLICY_RETIRED] = STR_INIT("retired"),
};
#define STATES (sizeof(state_names) / sizeof(state_names[0]))

const char *policy_state_name(enum policy_state state)
{
    MUST((size_t)state < STATES);
    return state_names[state].ptr;
}

/* --- Rows ---------------------------------------------------------------- */

static enum err read_version(struct db_statement *s, struct arena *arena,
    struct policy_version *out, struct errinfo *info)
{
    struct str hash = db_column_blob(s, 1);
    struct str state = db_column_text(s, 2);
    size_t at = 0;
    while (at < STATES && !str_equal(state_names[at], state))
        at++;
    if (at == STATES || hash.len != sizeof(out->hash))
        return errinfo_set(info, ERR_CORRUPT,
            "policy version %lld has a damaged row",
            (long long)db_column_int(s, 0));
    out->version = db_column_int(s, 0);
    memcpy(out->hash, hash.ptr, sizeof(out->hash));
    out->state = (enum policy_state)at;
    out->note = db_column_text(s, 3);
    out->author = db_column_text(s, 4);
    out->created_us = db_column_int(s, 5);
    out->text = db_column_count(s) > 6 ? db_column_text(s, 6) : STR("");
    if (arena == NULL)
        return ERR_OK; /* borrowed until the next step */
    out->note = arena_copy(arena, out->note);
    out->author = arena_copy(arena, out->author);
    out->text = arena_copy(arena, out->text);
    if (out->note.ptr == NULL || out->author.ptr == NULL ||
        out->text.ptr == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    return ERR_OK;
}

#define COLUMNS "version, hash, state, note, author, created"

enum err policy_store_get(struct db *db, int64_t version, struct arena *arena,
    struct policy_version *out, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT " COLUMNS ", text FROM policy_version WHERE version = ?1", &s,
        info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, version);
    err = db_step(s, info);
    if (err == ERR_NOTFOUND)
        return errinfo_set(info, ERR_NOTFOUND,
            "there is no policy version %lld; `bailiff policy list` shows "
            "those that there are",
            (long long)version);
    if (err == ERR_OK)
        err = read_version(s, arena, out, info);
    db_reset(s);
    return err;
}

enum err policy_store_active(struct db *db, struct arena *arena,
    struct policy_version *out, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT " COLUMNS ", text FROM policy_version WHERE state = 'active'",
        &s, info);
    if (err != ERR_OK)
        return err;
    err = db_step(s, info);
    if (err == ERR_NOTFOUND)
        return errinfo_set(info, ERR_NOTFOUND,
            "no policy version is active: every request is denied; "
            "`bailiff policy activate VERSION` changes that");
    if (err == ERR_OK)
        err = read_version(s, arena, out, info);
    db_reset(s);
    return err;
}

enum err policy_store_list(struct db *db,
    void (*visit)(void *context, const struct policy_version *version),
    void *context, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT " COLUMNS " FROM policy_version ORDER BY version DESC", &s,
        info);
    if (err != ERR_OK)
        return err;
    while ((err = db_step(s, info)) == ERR_OK) {
        struct policy_version version;
        err = read_version(s, NULL, &version, info);
        if (err != ERR_OK)
            break;
        visit(context, &version);
    }
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err policy_store_acts(struct db *db, int64_t version,
    void (*visit)(void *context, const struct policy_act *act), void *context,
    struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT act, actor, note, time FROM policy_act WHERE version = ?1"
        " ORDER BY id",
        &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, version);
    while ((err = db_step(s, info)) == ERR_OK) {
        struct policy_act act = {db_column_text(s, 0), db_column_text(s, 1),
            db_column_text(s, 2), db_column_int(s, 3)};
        visit(context, &act);
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- Acts ---------------------------------------------------------------- */

struct acting {
    struct db *db;
    const struct policy_actor *actor;
    int64_t now_us;
    struct errinfo *info;
};

static enum err add_act(
    const struct acting *a, int64_t version, const char *act, struct str note)
{
    struct db_statement *s;
    enum err err = db_prepare(a->db,
        "INSERT INTO policy_act (version, act, actor, time, note)"
        " VALUES (?1, ?2, ?3, ?4, ?5)",
        &s, a->info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, version);
    db_bind_text(s, 2, str_from(act));
    db_bind_text(s, 3, a->actor->id);
    db_bind_int(s, 4, a->now_us);
    db_bind_text(s, 5, note);
    return db_run(s, a->info);
}

/* From one state only: a row that is not in it is somebody else's mistake. */
static enum err move(const struct acting *a, int64_t version,
    enum policy_state from, enum policy_state to, const char *act,
    struct str note)
{
    struct db_statement *s;
    enum err err = db_prepare(a->db,
        "UPDATE policy_version SET state = ?3"
        " WHERE version = ?1 AND state = ?2",
        &s, a->info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, version);
    db_bind_text(s, 2, state_names[from]);
    db_bind_text(s, 3, state_names[to]);
    err = db_run(s, a->info);
    if (err != ERR_OK)
        return err;
    if (db_changes(a->db) != 1)
        return errinfo_set(a->info, ERR_WRONG_STATE,
            "policy version %lld is not %s any more", (long long)version,
            policy_state_name(from));
    return add_act(a, version, act, note);
}

enum err policy_store_put(struct db *db, struct str stored, struct str note,
    const struct policy_actor *actor, int64_t now_us, int64_t *version,
    struct errinfo *info)
{
    struct db_statement *s;
    uint8_t hash[SHA256_SIZE];
    enum err err = db_prepare(db,
        "INSERT INTO policy_version"
        " (version, hash, text, note, state, author, created) VALUES"
        " ((SELECT coalesce(max(version), 0) + 1 FROM policy_version),"
        " ?1, ?2, ?3, 'draft', ?4, ?5)",
        &s, info);
    if (err != ERR_OK)
        return err;
    crypto_sha256(hash, stored.ptr, stored.len);
    db_bind_blob(s, 1, hash, sizeof(hash));
    db_bind_text(s, 2, stored);
    db_bind_text(s, 3, note);
    db_bind_text(s, 4, actor->id);
    db_bind_int(s, 5, now_us);
    err = db_run(s, info);
    if (err != ERR_OK)
        return err;
    *version = db_last_rowid(db);
    struct acting a = {db, actor, now_us, info};
    return add_act(&a, *version, "put", note);
}

/* Compiles the stored text and looks all its names up again. */
static enum err check_again(const struct acting *a,
    const struct policy_version *version, struct buf *findings)
{
    struct policy_set *set = NULL;
    struct buf same;
    char name[40];
    (void)snprintf(
        name, sizeof(name), "version-%lld", (long long)version->version);
    buf_init(&same, POLICY_TEXT_MAX);
    enum err err = policy_prepare(
        a->db, version->text, name, NULL, &same, &set, findings, a->info);
    policy_set_free(&set);
    buf_fini(&same);
    return err;
}

enum err policy_store_submit(struct db *db, int64_t version, struct str note,
    const struct policy_actor *actor, int64_t now_us, struct buf *findings,
    struct errinfo *info)
{
    struct acting a = {db, actor, now_us, info};
    struct policy_version row;
    struct arena *arena = arena_new(4096, TEXTS_MAX);
    if (arena == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = policy_store_get(db, version, arena, &row, info);
    if (err == ERR_OK && row.state != POLICY_DRAFT)
        err = errinfo_set(info, ERR_WRONG_STATE,
            "policy version %lld is %s; only a draft can be submitted",
            (long long)version, policy_state_name(row.state));
    if (err == ERR_OK)
        err = check_again(&a, &row, findings);
    if (err == ERR_OK)
        err = move(&a, version, POLICY_DRAFT, POLICY_SUBMITTED, "submit", note);
    arena_free(&arena);
    return err;
}

/* --- Approvals ----------------------------------------------------------- */

enum err policy_store_approvals_required(
    struct db *db, int64_t *required, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT value FROM organisation_setting"
        " WHERE key = 'require_approvals'",
        &s, info);
    if (err != ERR_OK)
        return err;
    err = db_step(s, info);
    if (err == ERR_NOTFOUND) {
        *required = 0;
        return ERR_OK;
    }
    if (err == ERR_OK &&
        (str_to_i64(db_column_text(s, 0), required) != ERR_OK || *required < 0))
        err = errinfo_set(info, ERR_CORRUPT,
            "the setting require_approvals is no number: \"%.*s\"",
            STR_ARG(db_column_text(s, 0)));
    db_reset(s);
    return err;
}

/* Distinct people who neither wrote nor submitted the version; `mine` is one of
 * them? `attributed`: somebody in particular did write or submit it. Approvals
 * are a version's own: nothing before it was submitted counts, since there is
 * no way back from submitted to draft. */
static enum err count_approvals(const struct acting *a, int64_t version,
    int64_t *given, bool *mine, bool *attributed)
{
    struct db_statement *s;
    enum err err = db_prepare(a->db,
        "WITH own (actor) AS (SELECT actor FROM policy_act WHERE version = ?1"
        " AND act IN ('put', 'submit') AND actor <> '')"
        " SELECT count(DISTINCT actor), coalesce(max(actor = ?2), 0),"
        " (SELECT count(*) FROM own)"
        " FROM policy_act WHERE version = ?1 AND act = 'approve'"
        " AND actor <> '' AND actor NOT IN (SELECT actor FROM own)",
        &s, a->info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, version);
    db_bind_text(s, 2, a->actor->id);
    err = db_step(s, a->info);
    if (err == ERR_OK) {
        *given = db_column_int(s, 0);
        *mine = db_column_int(s, 1) != 0;
        *attributed = db_column_int(s, 2) > 0;
    }
    db_reset(s);
    return err;
}

/* Who wrote and submitted it without a name may be any of those who approve:
 * then it takes one more of them. */
static int64_t required_of(int64_t required, bool attributed)
{
    return required > 0 && !attributed ? required + 1 : required;
}

static enum err is_submitter(const struct acting *a, int64_t version, bool *out)
{
    struct db_statement *s;
    enum err err = db_prepare(a->db,
        "SELECT 1 FROM policy_act WHERE version = ?1 AND act = 'submit'"
        " AND actor = ?2",
        &s, a->info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, version);
    db_bind_text(s, 2, a->actor->id);
    err = db_step(s, a->info);
    db_reset(s);
    *out = err == ERR_OK;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err may_approve(
    const struct acting *a, const struct policy_version *row)
{
    if (row->state != POLICY_SUBMITTED)
        return errinfo_set(a->info, ERR_WRONG_STATE,
            "policy version %lld is %s; only a submitted one can be approved",
            (long long)row->version, policy_state_name(row->state));
    if (!a->actor->can_approve || a->actor->id.len == 0)
        return errinfo_set(a->info, ERR_DENIED,
            "an approval must come from a named administrator through the "
            "running server; root without a name and offline commands do not "
            "count");
    if (str_equal(a->actor->id, row->author))
        return errinfo_set(a->info, ERR_DENIED,
            "you wrote policy version %lld; someone else must approve it",
            (long long)row->version);
    bool submitter;
    enum err err = is_submitter(a, row->version, &submitter);
    if (err == ERR_OK && submitter)
        err = errinfo_set(a->info, ERR_DENIED,
            "you submitted policy version %lld; someone else must approve it",
            (long long)row->version);
    return err;
}

enum err policy_store_approve(struct db *db, int64_t version, struct str note,
    const struct policy_actor *actor, int64_t now_us,
    struct policy_approval *out, struct errinfo *info)
{
    struct acting a = {db, actor, now_us, info};
    struct policy_version row;
    bool mine = false, attributed = true;
    struct arena *arena = arena_new(4096, TEXTS_MAX);
    if (arena == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = policy_store_get(db, version, arena, &row, info);
    if (err == ERR_OK)
        err = may_approve(&a, &row);
    if (err == ERR_OK)
        err = count_approvals(&a, version, &out->given, &mine, &attributed);
    if (err == ERR_OK && mine)
        err = errinfo_set(info, ERR_WRONG_STATE,
            "you have approved policy version %lld already",
            (long long)version);
    if (err == ERR_OK)
        err = policy_store_approvals_required(db, &out->required, info);
    if (err == ERR_OK) {
        out->required = required_of(out->required, attributed);
        out->given++;
        out->approved = out->given >= out->required;
        err = out->approved ? move(&a, version, POLICY_SUBMITTED,
                                  POLICY_APPROVED, "approve", note)
                            : add_act(&a, version, "approve", note);
    }
    arena_free(&arena);
    return err;
}

/* --- Going live ---------------------------------------------------------- */

/* The version that an emergency has put in force goes back to the state it had
 * before: it was never approved, and rollback must not find it. *version 0:
 * there is none. */
static enum err leave_emergency(const struct acting *a, const char *cause,
    int64_t *version, int64_t *previous)
{
    struct db_statement *s;
    struct str state = {"", 0};
    char before[16];
    enum err err = db_prepare(a->db,
        "SELECT version, previous, state FROM emergency"
        " WHERE kind = 'policy' AND ended IS NULL",
        &s, a->info);
    *version = *previous = 0;
    if (err != ERR_OK)
        return err;
    err = db_step(s, a->info);
    if (err == ERR_OK) {
        *version = db_column_int(s, 0);
        *previous = db_column_is_null(s, 1) ? 0 : db_column_int(s, 1);
        (void)snprintf(
            before, sizeof(before), "%.*s", STR_ARG(db_column_text(s, 2)));
        state = str_from(before);
    }
    db_reset(s);
    if (err != ERR_OK)
        return err == ERR_NOTFOUND ? ERR_OK : err;
    size_t at = 0;
    while (at < STATES && !str_equal(state_names[at], state))
        at++;
    if (at == STATES)
        return errinfo_set(a->info, ERR_CORRUPT,
            "the emergency of policy version %lld has a damaged row",
            (long long)*version);
    err = move(a, *version, POLICY_ACTIVE, (enum policy_state)at, "retire",
        str_from(cause));
    if (err == ERR_OK)
        err = db_prepare(a->db,
            "UPDATE emergency SET ended = ?1, cause = ?2"
            " WHERE kind = 'policy' AND ended IS NULL",
            &s, a->info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, a->now_us);
    db_bind_text(s, 2, str_from(cause));
    return db_run(s, a->info);
}

static enum err retire_active(const struct acting *a, int64_t *previous)
{
    int64_t before;
    enum err left = leave_emergency(a, "superseded", previous, &before);
    if (left != ERR_OK || *previous != 0)
        return left;
    struct db_statement *s;
    enum err err = db_prepare(a->db,
        "SELECT version FROM policy_version WHERE state = 'active'", &s,
        a->info);
    if (err != ERR_OK)
        return err;
    err = db_step(s, a->info);
    *previous = err == ERR_OK ? db_column_int(s, 0) : 0;
    db_reset(s);
    if (err == ERR_NOTFOUND)
        return ERR_OK;
    if (err != ERR_OK)
        return err;
    return move(a, *previous, POLICY_ACTIVE, POLICY_RETIRED, "retire", STR(""));
}

/* The states between, where nobody has to approve. */
static enum err walk(const struct acting *a, const struct policy_version *row)
{
    enum err err = ERR_OK;
    if (row->state == POLICY_DRAFT)
        err = move(
            a, row->version, POLICY_DRAFT, POLICY_SUBMITTED, "submit", STR(""));
    if (err == ERR_OK)
        err = move(a, row->version, POLICY_SUBMITTED, POLICY_APPROVED,
            "approve", STR("approval: none required"));
    return err;
}

static enum err may_activate(const struct acting *a,
    const struct policy_version *row, struct policy_activation *out)
{
    long long version = row->version;
    int64_t required = 0;
    bool mine, attributed = true;
    if (row->state == POLICY_ACTIVE)
        return errinfo_set(a->info, ERR_WRONG_STATE,
            "policy version %lld is active already", version);
    if (row->state == POLICY_RETIRED)
        return errinfo_set(a->info, ERR_WRONG_STATE,
            "policy version %lld is retired; `bailiff policy rollback --to "
            "%lld` brings it back",
            version, version);
    enum err err = policy_store_approvals_required(a->db, &required, a->info);
    if (err == ERR_OK)
        err = count_approvals(
            a, row->version, &out->approvals, &mine, &attributed);
    if (err != ERR_OK)
        return err;
    required = required_of(required, attributed);
    /* Also what was approved while fewer were required. */
    if (out->approvals < required)
        return errinfo_set(a->info, ERR_DENIED,
            "policy version %lld is %s and has %lld of %lld approvals by "
            "others than its author (require_approvals): submit it, have it "
            "approved, then activate it",
            version, policy_state_name(row->state), (long long)out->approvals,
            (long long)required);
    out->none_required = row->state != POLICY_APPROVED;
    return ERR_OK;
}

enum err policy_store_activate(struct db *db, int64_t version, struct str note,
    const struct policy_actor *actor, int64_t now_us, struct buf *findings,
    struct policy_activation *out, struct errinfo *info)
{
    struct acting a = {db, actor, now_us, info};
    struct policy_version row;
    struct arena *arena = arena_new(4096, TEXTS_MAX);
    if (arena == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    *out = (struct policy_activation){.version = version};
    enum err err = policy_store_get(db, version, arena, &row, info);
    if (err == ERR_OK)
        err = may_activate(&a, &row, out);
    if (err == ERR_OK)
        err = check_again(&a, &row, findings);
    if (err == ERR_OK && row.state != POLICY_APPROVED)
        err = walk(&a, &row);
    if (err == ERR_OK)
        err = retire_active(&a, &out->previous);
    if (err == ERR_OK)
        err =
            move(&a, version, POLICY_APPROVED, POLICY_ACTIVE, "activate", note);
    arena_free(&arena);
    return err;
}

/* --- Rollback ------------------------------------------------------------ */

/* The versions as they were put on top of one another: an activation adds one,
 * a rollback takes off all that came after its version. So that rolling back
 * twice goes back two, not to and fro. */
struct history {
    int64_t *versions;
    size_t count, room;
};

static enum err history_add(struct history *h, int64_t version, bool rollback)
{
    if (rollback) {
        size_t at = h->count;
        while (at > 0 && h->versions[at - 1] != version)
            at--;
        if (at > 0) {
            h->count = at;
            return ERR_OK;
        }
    }
    if (h->count == h->room) {
        size_t room = h->room > 0 ? h->room * 2 : 16;
        int64_t *more = realloc(h->versions, room * sizeof(more[0]));
        if (more == NULL)
            return ERR_NOMEM;
        h->versions = more;
        h->room = room;
    }
    h->versions[h->count++] = version;
    return ERR_OK;
}

/* *target 0: the one before the active one. Refuses what never was active. */
static enum err choose_target(const struct acting *a, int64_t *target)
{
    struct db_statement *s;
    struct history h = {0};
    bool seen = false;
    enum err err = db_prepare(a->db,
        "SELECT version, act = 'rollback' FROM policy_act"
        " WHERE act IN ('activate', 'rollback') ORDER BY id",
        &s, a->info);
    if (err != ERR_OK)
        return err;
    while ((err = db_step(s, a->info)) == ERR_OK) {
        seen |= db_column_int(s, 0) == *target;
        err = history_add(&h, db_column_int(s, 0), db_column_int(s, 1) != 0);
        if (err != ERR_OK)
            break;
    }
    db_reset(s);
    if (err == ERR_NOTFOUND)
        err = ERR_OK;
    if (err == ERR_OK && *target == 0) {
        if (h.count < 2)
            err = errinfo_set(a->info, ERR_WRONG_STATE,
                "no policy version was active before; there is nothing to "
                "roll back to");
        else
            *target = h.versions[h.count - 2];
    } else if (err == ERR_OK && !seen) {
        err = errinfo_set(a->info, ERR_WRONG_STATE,
            "policy version %lld was never active; `bailiff policy activate "
            "%lld` is the way",
            (long long)*target, (long long)*target);
    }
    free(h.versions);
    return err;
}

enum err policy_store_rollback(struct db *db, int64_t version, struct str note,
    const struct policy_actor *actor, int64_t now_us, struct buf *findings,
    struct policy_activation *out, struct errinfo *info)
{
    struct acting a = {db, actor, now_us, info};
    struct policy_version row;
    struct arena *arena = arena_new(4096, TEXTS_MAX);
    if (arena == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    *out = (struct policy_activation){0};
    enum err err = ERR_OK;
    if (version != 0) /* the better words where it does not exist at all */
        err = policy_store_get(db, version, arena, &row, info);
    if (err == ERR_OK)
        err = choose_target(&a, &version);
    if (err == ERR_OK)
        err = policy_store_get(db, version, arena, &row, info);
    if (err == ERR_OK && row.state != POLICY_RETIRED)
        err = errinfo_set(info, ERR_WRONG_STATE,
            "policy version %lld is %s; rollback brings back a retired one",
            (long long)version, policy_state_name(row.state));
    if (err == ERR_OK)
        err = check_again(&a, &row, findings);
    if (err == ERR_OK)
        err = retire_active(&a, &out->previous);
    if (err == ERR_OK)
        err =
            move(&a, version, POLICY_RETIRED, POLICY_ACTIVE, "rollback", note);
    out->version = version;
    arena_free(&arena);
    return err;
}

/* --- Emergencies --------------------------------------------------------- */

static enum err insert_emergency(const struct acting *a,
    const struct policy_emergency *emergency, int64_t previous,
    enum policy_state state)
{
    struct db_statement *s;
    enum err err = db_prepare(a->db,
        "INSERT INTO emergency (id, kind, version, previous, state, actor,"
        " reason, started, expires)"
        " VALUES (?1, 'policy', ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        &s, a->info);
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, emergency->id);
    db_bind_int(s, 2, emergency->version);
    if (previous > 0)
        db_bind_int(s, 3, previous);
    else
        db_bind_null(s, 3);
    db_bind_text(s, 4, state_names[state]);
    db_bind_text(s, 5, a->actor->id);
    db_bind_text(s, 6, emergency->reason);
    db_bind_int(s, 7, a->now_us);
    db_bind_int(s, 8, emergency->expires_us);
    return db_run(s, a->info);
}

static enum err none_is_on(const struct acting *a)
{
    struct db_statement *s;
    enum err err = db_prepare(a->db,
        "SELECT id FROM emergency WHERE kind = 'policy' AND ended IS NULL", &s,
        a->info);
    if (err != ERR_OK)
        return err;
    err = db_step(s, a->info);
    if (err == ERR_OK)
        err = errinfo_set(a->info, ERR_WRONG_STATE,
            "the emergency %.*s is on already; `bailiff emergency end %.*s` "
            "comes first",
            STR_ARG(db_column_text(s, 0)), STR_ARG(db_column_text(s, 0)));
    else if (err == ERR_NOTFOUND)
        err = ERR_OK;
    db_reset(s);
    return err;
}

enum err policy_store_emergency(struct db *db,
    const struct policy_emergency *emergency, const struct policy_actor *actor,
    int64_t now_us, struct buf *findings, struct policy_activation *out,
    struct errinfo *info)
{
    struct acting a = {db, actor, now_us, info};
    struct policy_version row;
    struct arena *arena = arena_new(4096, TEXTS_MAX);
    if (arena == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    *out = (struct policy_activation){.version = emergency->version};
    enum err err = policy_store_get(db, emergency->version, arena, &row, info);
    if (err == ERR_OK &&
        (row.state == POLICY_ACTIVE || row.state == POLICY_RETIRED))
        err = errinfo_set(info, ERR_WRONG_STATE,
            "policy version %lld is %s; an emergency puts one in force that "
            "has not been yet",
            (long long)row.version, policy_state_name(row.state));
    if (err == ERR_OK)
        err = none_is_on(&a);
    if (err == ERR_OK)
        err = check_again(&a, &row, findings);
    if (err == ERR_OK)
        err = retire_active(&a, &out->previous);
    if (err == ERR_OK)
        err = insert_emergency(&a, emergency, out->previous, row.state);
    if (err == ERR_OK)
        err = move(&a, row.version, row.state, POLICY_ACTIVE, "activate",
            emergency->reason);
    arena_free(&arena);
    return err;
}

enum err policy_store_emergency_end(struct db *db, const char *cause,
    const struct policy_actor *actor, int64_t now_us,
    struct policy_activation *out, struct errinfo *info)
{
    struct acting a = {db, actor, now_us, info};
    int64_t back = 0;
    *out = (struct policy_activation){0};
    enum err err = leave_emergency(&a, cause, &out->previous, &back);
    if (err == ERR_OK && out->previous == 0)
        return errinfo_set(
            info, ERR_NOTFOUND, "no emergency has put rules in force");
    if (err == ERR_OK && back > 0)
        err = move(&a, back, POLICY_RETIRED, POLICY_ACTIVE, "rollback",
            str_from(cause));
    if (err == ERR_OK)
        out->version = back;
    return err;
}
