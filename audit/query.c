/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query.c - one page over all files of the index.
 *
 * The files follow one another along the log: the page is filled from the
 * newest (or oldest) on and the next file is only opened while there is room.
 * One row more than the page is looked for, to know whether there is more. */
#include "audit/query_priv.h"

#include "lib/file.h"

#include <stdlib.h>

#define RESULT_ARENA (64u << 10)

/* --- Rows
 * ----------------------------------------------------------------------
 */

struct audit_row *row_list_add(struct row_list *list)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        struct audit_row *grown =
            ARENA_ARRAY(list->arena, room, struct audit_row);
        if (!grown)
            return NULL;
        if (list->count > 0)
            memcpy(grown, list->rows, list->count * sizeof(*grown));
        list->rows = grown;
        list->room = room;
    }
    struct audit_row *row = &list->rows[list->count++];
    memset(row, 0, sizeof(*row));
    return row;
}

static int compare_up(const void *a, const void *b)
{
    const struct audit_row *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int compare_down(const void *a, const void *b)
{
    return compare_up(b, a);
}

/* --- Files
 * ---------------------------------------------------------------------
 */

enum err audit_index_open(
    const char *state_dir, struct audit_index **out, struct errinfo *info)
{
    struct audit_index *index = calloc(1, sizeof(*index));
    if (!index)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    index->dir = file_join(state_dir, "index");
    enum err err = index->dir ? audit_index_refresh(index, info)
                              : errinfo_set(info, ERR_NOMEM, "out of memory");
    if (err == ERR_OK)
        *out = index;
    else
        audit_index_close(&index);
    return err;
}

void audit_index_release(struct audit_index *index)
{
    for (size_t i = 0; index->files && i < index->list.count; i++)
        db_close(&index->files[i].db);
    free(index->files);
    index->files = NULL;
    index_list_fini(&index->list);
    index->list.count = 0;
}

void audit_index_close(struct audit_index **index)
{
    if (!*index)
        return;
    audit_index_release(*index);
    free((*index)->dir);
    free(*index);
    *index = NULL;
}

/* A file may have been set aside and made anew under the same name, so a
 * connection lives no longer than a query. */
enum err audit_index_refresh(struct audit_index *index, struct errinfo *info)
{
    audit_index_release(index);
    enum err err = index_list_load(index->dir, &index->list, info);
    if (err != ERR_OK)
        return err;
    index->files = calloc(index->list.count + 1, sizeof(*index->files));
    if (!index->files) {
        audit_index_release(index);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < index->list.count; i++)
        index->files[i].first = index->list.firsts[i];
    return ERR_OK;
}

enum err audit_index_file(
    struct audit_index *index, size_t at, struct db **out, struct errinfo *info)
{
    struct open_file *file = &index->files[at];
    char name[INDEX_NAME_SIZE];
    if (!file->db) {
        index_file_name(name, file->first);
        char *path = file_join(index->dir, name);
        if (!path)
            return errinfo_set(info, ERR_NOMEM, "out of memory");
        enum err err = db_open_readonly(path, DB_INDEX, &file->db, info);
        /* The cache is the system's; ours needs to hold one query. */
        if (err == ERR_OK)
            err = db_execute(file->db, "PRAGMA cache_size=-8192;", info);
        free(path);
        if (err != ERR_OK)
            return err;
    }
    *out = file->db;
    return ERR_OK;
}

/* --- The question
 * ------------------------------------------------------------------
 */

static const char *first_set(
    const struct str *const *fields, const char *const *names)
{
    for (size_t i = 0; names[i]; i++)
        if (fields[i]->len > 0)
            return names[i];
    return NULL;
}

enum err question_init(struct question *question, const struct audit_filter *f,
    struct errinfo *info)
{
    const struct str *const request_fields[] = {&f->caller, &f->team, &f->model,
        &f->engine, &f->action, &f->decision, &f->policy, &f->status,
        &f->outcome, &f->code, &f->quota, &f->stage, &f->version};
    static const char *const request_names[] = {"caller", "team", "model",
        "engine", "action", "decision", "policy", "status", "outcome", "code",
        "quota", "stage", "version", NULL};
    const struct str *const event_fields[] = {&f->actor, &f->object};
    static const char *const event_names[] = {"actor", "object", NULL};
    const char *request = first_set(request_fields, request_names);
    const char *event = first_set(event_fields, event_names);
    bool of_request = str_starts(f->type, STR("request"));
    if (f->type.len > 0 && of_request && !request)
        request = "type request";
    if (f->type.len > 0 && !of_request && !event)
        event = "type";
    if (request && event)
        return errinfo_set(info, ERR_INVALID,
            "the filters %s and %s exclude one another: %s is about requests, "
            "%s about acts and failed logins",
            request, event, request, event);
    *question = (struct question){.filter = f,
        .limit = (f->limit ? f->limit : AUDIT_LIMIT_DEFAULT) + 1,
        .requests = !event,
        .events = !request};
    if (question->limit > AUDIT_LIMIT_MAX + 1)
        question->limit = AUDIT_LIMIT_MAX + 1;
    return ERR_OK;
}

/* No row of the file can be in the answer. */
bool query_is_outside(
    const struct index_state *state, const struct audit_filter *f)
{
    if (state->next == state->first || state->last_time_us == 0)
        return true;
    if (f->since_us != 0 && state->last_time_us < f->since_us)
        return true;
    if (f->until_us != 0 && state->first_time_us >= f->until_us)
        return true;
    if (f->has_after && f->oldest_first && f->after + 1 >= state->next)
        return true;
    return f->has_after && !f->oldest_first && f->after <= state->first;
}

/* One file within one read transaction: the indexer may commit in between. */
static enum err query_file(struct db *db, const struct question *question,
    const struct index_state *state, struct row_list *list,
    struct words_seen *seen, struct errinfo *info)
{
    size_t before = list->count;
    enum err err = ERR_OK;
    if (question->requests)
        err = query_requests(db, state, question, list, seen, info);
    if (err == ERR_OK && question->events)
        err = query_events(db, state, question, list, seen, info);
    if (err == ERR_OK && list->count > before)
        qsort(list->rows + before, list->count - before, sizeof(*list->rows),
            question->filter->oldest_first ? compare_up : compare_down);
    /* Where one table gave up, what the other has beyond comes later. */
    const struct effort *effort = question->effort;
    while (effort->gave_up && list->count > before &&
           (question->filter->oldest_first
                   ? list->rows[list->count - 1].seq > effort->reached
                   : list->rows[list->count - 1].seq < effort->reached))
        list->count--;
    if (list->count > question->limit)
        list->count = question->limit;
    return err;
}

static enum err query_one(struct audit_index *index, size_t at,
    const struct question *question, struct row_list *list,
    struct words_seen *seen, struct audit_result *result, struct errinfo *info)
{
    struct db *db;
    struct index_state state;
    enum err err = audit_index_file(index, at, &db, info);
    if (err == ERR_OK)
        err = db_execute(db, "BEGIN", info);
    if (err != ERR_OK)
        return err;
    err = index_state_read(db, &state, info);
    if (err == ERR_OK) {
        if (at + 1 == index->list.count)
            result->indexed = state.next;
        else if (state.next < index->list.firsts[at + 1])
            result->incomplete = true;
        if (list->count < question->limit && !question->effort->gave_up &&
            !query_is_outside(&state, question->filter))
            err = query_file(db, question, &state, list, seen, info);
        else
            *seen = (struct words_seen){true, true, true, true, true, true,
                true, true, true, true, true, true, true};
    }
    db_rollback(db);
    return err;
}

/* Why nothing was found, where a word is in no record at all. */
static const char *hint(struct arena *arena, const struct audit_filter *f,
    const struct words_seen *seen)
{
    const struct {
        const char *name;
        struct str value;
        bool seen;
    } words[] = {
        {"caller", f->caller, seen->caller},
        {"key", f->key, seen->key},
        {"team", f->team, seen->team},
        {"model", f->model, seen->model},
        {"engine", f->engine, seen->engine},
        {"policy", f->policy, seen->policy},
        {"route", f->route, seen->route},
        {"action", f->action, seen->action},
        {"actor", f->actor, seen->actor},
        {"object", f->object, seen->object},
        {"code", f->code, seen->code},
        {"quota", f->quota, seen->quota},
        {"stage", f->stage, seen->stage},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (words[i].value.len > 0 && !words[i].seen)
            return arena_printf(arena,
                "nothing that was searched names the %s \"%.*s\"",
                words[i].name, STR_ARG(words[i].value));
    return NULL;
}

enum err audit_query(struct audit_index *index,
    const struct audit_filter *filter, struct audit_result **out,
    uint64_t *damaged, struct errinfo *info)
{
    struct question question;
    struct words_seen seen = {0};
    struct arena *arena = NULL;
    struct effort effort = {
        .until_us = filter->patience_us > 0
                        ? clock_monotonic() + filter->patience_us
                        : 0};
    enum err err = question_init(&question, filter, info);
    question.effort = &effort;
    if (err == ERR_OK)
        err = audit_index_refresh(index, info);
    if (err != ERR_OK)
        return err;
    arena = arena_new(RESULT_ARENA, 0);
    struct audit_result *result =
        arena ? ARENA_NEW(arena, struct audit_result) : NULL;
    if (!result) {
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    result->arena = arena;
    struct row_list list = {.arena = arena};
    size_t count = index->list.count;
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        size_t at = filter->oldest_first ? i : count - 1 - i;
        /* The newest is always looked at: it says how far the index is. */
        if ((list.count == question.limit || effort.gave_up) && at + 1 != count)
            continue;
        err = query_one(index, at, &question, &list, &seen, result, info);
        if (err == ERR_CORRUPT && damaged)
            *damaged = index->list.firsts[at];
    }
    if (err != ERR_OK)
        goto out;
    result->more = list.count == question.limit;
    result->count = result->more ? list.count - 1 : list.count;
    result->rows = list.rows;
    if (result->count > 0)
        result->next = list.rows[result->count - 1].seq;
    if (effort.gave_up && !result->more) {
        result->more = result->unfinished = true;
        result->next = effort.reached;
    }
    if (list.count == 0 && !effort.gave_up)
        result->note = hint(arena, filter, &seen);
    *out = result;
    arena = NULL;
out:
    audit_index_release(index);
    arena_free(&arena);
    return err;
}

void audit_result_free(struct audit_result **result)
{
    if (!*result)
        return;
    struct arena *arena = (*result)->arena;
    arena_free(&arena);
    *result = NULL;
}
