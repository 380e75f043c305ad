/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/audit.c - reading the log. Every reading is itself an event
 * (audit.queried, audit.shown, audit.followed): who looked at whose requests
 * is part of the record, and is durable before anything is shown.
 *
 * These operations run without the control's lock, which is taken only to
 * turn handles into ids and ids into handles: a long search holds no change
 * up. */
#include "proxy/admin/content.h"

#include "audit/indexer.h"
#include "audit/prove.h"
#include "audit/witnesses.h"
#include "lib/file.h"
#include "lib/json_write.h"

#define INDEX_WAIT_US (5 * SECOND_US)
/* As long a page may be searched for; then it says how far it has come. */
#define QUERY_PATIENCE_US (2 * SECOND_US)
#define TAIL_DEFAULT 100
#define SHOWN_MAX 256 /* entries of one record */
#define TAIL_MAX 1000
/* Following is recorded once in this time, not with each look. */
#define FOLLOWED_US (5 * MINUTE_US)

/* --- Names of persons ------------------------------------------------ */

bool audit_find_name(void *context, struct str id, struct buf *out)
{
    struct admin_call *call = context;
    struct str handle;

    control_lock(call->control);
    handle = admin_handle_of(call, id);
    control_unlock(call->control);
    buf_append_str(out, handle);
    return handle.len > 0;
}

/* What the log names a person by. The id of one who was removed is taken as it
 * is: the log still knows it. */
static enum err person_id(
    struct admin_call *call, const char *prefix, struct str *who)
{
    if (who->len == 0 || str_starts(*who, str_from(prefix)))
        return ERR_OK;
    return admin_resolve_person(call, prefix, *who, who);
}

/* A caller or an administrator may be what was acted on; so may be anything
 * else, which goes by its own name. */
static void object_id(struct admin_call *call, struct str *object)
{
    static const char *const prefixes[] = {"cal_", "adm_"};
    struct errinfo kept = call->info;

    for (size_t i = 0; i < 2 && object->len > 0; i++)
        if (admin_resolve_person(call, prefixes[i], *object, object) == ERR_OK)
            break;
    call->info = kept;
}

/* --- The index ------------------------------------------------------- */

/* Brings the index up to what is durable now, so that a question sees what
 * was just done. *behind: it could not, in the time there is. */
enum err audit_await_index(
    struct admin_call *call, uint64_t *size, bool *behind)
{
    struct audit_log *log = control_log(call->control);
    struct indexer *indexer = log ? audit_log_indexer(log) : NULL;

    *behind = false;
    if (!log)
        return FAIL(call, ERR_WRONG_STATE, "the log is not open");
    *size = journal_size(audit_log_journal(log));
    if (!indexer)
        return FAIL(call, ERR_WRONG_STATE,
            "the index is not running; the server's log says why");
    *behind = indexer_wait(indexer, *size, INDEX_WAIT_US) != ERR_OK;
    return ERR_OK;
}

/* A damaged file is built anew from the journal; an answer without it would
 * look like "nothing found". */
enum err audit_index_failed(
    struct admin_call *call, enum err err, uint64_t damaged)
{
    struct audit_log *log = control_log(call->control);

    if (err != ERR_CORRUPT)
        return err;
    indexer_rebuild(audit_log_indexer(log), damaged);
    admin_problem(call, 503, "index-damaged",
        "%s; the index is being built anew from the log, ask again in a "
        "moment",
        call->info.text);
    return ERR_OK;
}

enum err audit_answer_text(struct admin_call *call, const struct buf *text)
{
    struct admin_response *response = call->response;

    if (text->failed)
        return FAIL(call, ERR_NOMEM,
            "the answer does not fit into memory; ask for less of it");
    buf_clear(&response->body);
    buf_append_str(&response->body, buf_str(text));
    buf_append_char(&response->body, '\n');
    response->status = 200;
    response->content_type = "application/json";
    call->answered = true;
    return ERR_OK;
}

/* --- Query ----------------------------------------------------------- */

static bool is_among(struct str name, const char *const *names)
{
    for (size_t i = 0; names && names[i]; i++)
        if (str_equal(name, str_from(names[i])))
            return true;
    return false;
}

struct str audit_asked_text(const struct audit_asked *asked, const char *name)
{
    for (size_t i = 0; i < asked->count; i += 2)
        if (str_equal(asked->pairs[i], str_from(name)))
            return asked->pairs[i + 1];
    return STR("");
}

json_t *audit_filters_json(const struct audit_asked *asked)
{
    const struct audit_filter *filter = &asked->filter;
    json_t *filters = json_object();
    const struct {
        const char *name;
        struct str value;
    } resolved[] = {
        {"caller", filter->caller},
        {"actor", filter->actor},
        {"object", filter->object},
    };

    for (size_t i = 0; i < asked->count; i += 2) {
        struct str value = asked->pairs[i + 1];
        char name[64];

        for (size_t k = 0; k < sizeof resolved / sizeof resolved[0]; k++)
            if (str_equal(asked->pairs[i], str_from(resolved[k].name)))
                value = resolved[k].value;
        snprintf(name, sizeof name, "%.*s", STR_ARG(asked->pairs[i]));
        admin_set_text(filters, name, value);
    }
    return filters;
}

static enum err read_pairs(struct admin_call *call, const char *const *others,
    struct audit_asked *asked)
{
    struct str rest = call->request->query, one, name, value;
    int64_t now = clock_now();
    enum err err = ERR_OK;

    while (!err && rest.len > 0) {
        str_split(rest, '&', &one, &rest);
        if (one.len == 0)
            continue;
        str_split(one, '=', &name, &value);
        name = admin_decode(call->arena, name, true);
        value = admin_decode(call->arena, value, true);
        if (!name.ptr || !value.ptr)
            return FAIL(call, ERR_INVALID,
                "the query is not percent-encoded as a URL wants it");
        if (asked->count == AUDIT_PAIRS_MAX)
            return FAIL(call, ERR_INVALID, "too many filters: at most %d",
                AUDIT_PAIRS_MAX / 2);
        for (size_t i = 0; i < asked->count; i += 2)
            if (str_equal(asked->pairs[i], name))
                return FAIL(
                    call, ERR_INVALID, "%.*s is given twice", STR_ARG(name));
        if (!is_among(name, others))
            err = audit_filter_set(
                &asked->filter, name, value, now, NULL, &call->info);
        asked->pairs[asked->count++] = name;
        asked->pairs[asked->count++] = value;
    }
    return err;
}

enum err audit_read_filters(struct admin_call *call, const char *const *others,
    struct audit_asked *asked)
{
    enum err err;

    *asked = (struct audit_asked){0};
    err = read_pairs(call, others, asked);
    control_lock(call->control);
    if (!err)
        err = person_id(call, "cal_", &asked->filter.caller);
    if (!err)
        err = person_id(call, "adm_", &asked->filter.actor);
    if (!err)
        object_id(call, &asked->filter.object);
    control_unlock(call->control);
    return err;
}

/* Why the index does not go on; NULL: it does. */
static const char *index_stopped(struct admin_call *call)
{
    struct audit_log *log = control_log(call->control);
    struct errinfo why = {0};

    if (!log || !indexer_failed(audit_log_indexer(log), &why))
        return NULL;
    return arena_printf(call->arena,
        "the index has stopped, and is begun anew every few seconds: %s",
        why.text);
}

enum err handle_audit_query(struct admin_call *call)
{
    struct audit_names names = {audit_find_name, call};
    struct audit_asked asked;
    struct audit_index *index = NULL;
    struct audit_result *result = NULL;
    uint64_t size, damaged = 0;
    struct buf out;
    json_t *detail;
    bool behind;
    enum err err = audit_read_filters(call, NULL, &asked);

    buf_init(&out, ADMIN_ANSWER_MAX);
    if (!err)
        err = audit_await_index(call, &size, &behind);
    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    asked.filter.patience_us = QUERY_PATIENCE_US;
    if (!err)
        err = audit_query(index, &asked.filter, &result, &damaged, &call->info);
    if (err) {
        err = audit_index_failed(call, err, damaged);
        goto out;
    }
    result->incomplete = result->incomplete || behind;
    result->entries = size;
    if (behind && !result->note)
        result->note = index_stopped(call);
    detail = json_object();
    admin_set(detail, "filters", audit_filters_json(&asked));
    admin_set_int(detail, "rows", (int64_t)result->count);
    err = admin_event(call, "audit.queried", "log", STR(""), detail, STR(""));
    if (!err) {
        audit_result_json(result, &names, &out);
        err = audit_answer_text(call, &out);
    }
out:
    audit_result_free(&result);
    audit_index_close(&index);
    buf_fini(&out);
    return err;
}

/* --- One record ------------------------------------------------------ */

/* Puts what became of its personal fields and content in front: {"content":
 * {...}, and what audit_show has written. */
static enum err add_states(struct admin_call *call, struct audit_reader *reader,
    struct audit_index *index, uint64_t size, struct buf *out,
    uint64_t *damaged)
{
    uint64_t places[SHOWN_MAX], number;
    size_t count = 0;
    json_t *states = NULL;
    struct str text;
    struct buf whole;
    enum err err = ERR_OK;

    if (str_to_u64(call->params[0], &number) == ERR_OK)
        return ERR_OK; /* one entry, by its index */
    err = audit_places(reader, index, size, call->params[0], places, SHOWN_MAX,
        &count, damaged, &call->info);
    if (!err)
        err = content_states(call, reader, size, places,
            count < SHOWN_MAX ? count : SHOWN_MAX, &states);
    if (err)
        return err;
    text = admin_canonical(call->arena, states);
    json_decref(states);
    buf_init(&whole, ADMIN_ANSWER_MAX);
    buf_printf(&whole, "{\"content\":%.*s,", STR_ARG(text));
    buf_append(&whole, buf_str(out).ptr + 1, out->len - 1);
    buf_fini(out);
    *out = whole;
    return ERR_OK;
}

enum err handle_audit_show(struct admin_call *call)
{
    struct audit_names names = {audit_find_name, call};
    struct audit_index *index = NULL;
    struct audit_reader *reader = NULL;
    uint64_t size = 0, damaged = 0;
    struct buf out;
    bool behind;
    enum err err = audit_await_index(call, &size, &behind);

    buf_init(&out, ADMIN_ANSWER_MAX);
    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    if (!err)
        err =
            audit_reader_open(control_dir(call->control), &reader, &call->info);
    if (!err)
        err = audit_show(reader, index, size, call->params[0], &names, &out,
            &damaged, &call->info);
    if (!err)
        err = add_states(call, reader, index, size, &out, &damaged);
    if (err == ERR_NOTFOUND && behind) {
        uint64_t indexed =
            indexer_position(audit_log_indexer(control_log(call->control)));
        admin_problem(call, 503, "index-behind",
            "the index has the entries below %llu of %llu, and \"%.*s\" is not "
            "among them; ask again in a moment",
            (unsigned long long)indexed, (unsigned long long)size,
            STR_ARG(call->params[0]));
        err = ERR_OK;
    } else if (err) {
        err = audit_index_failed(call, err, damaged);
    } else {
        err = admin_event(
            call, "audit.shown", "record", call->params[0], NULL, STR(""));
        if (!err)
            err = audit_answer_text(call, &out);
    }
    audit_reader_close(&reader);
    audit_index_close(&index);
    buf_fini(&out);
    return err;
}

/* --- Following ------------------------------------------------------- */

struct tail_query {
    int64_t from, limit;
};

/* Recorded where it begins, and then once in a while: an event for each look
 * would itself be the next thing to be seen. */
static enum err record_following(struct admin_call *call, int64_t from)
{
    struct admin *admin = call->admin;
    int64_t now = clock_monotonic();
    json_t *detail;
    bool fresh;

    control_lock(call->control);
    fresh = from < 0 || now - admin->followed_us >= FOLLOWED_US ||
            strcmp(admin->follower, call->actor.id) != 0;
    if (fresh) {
        admin->followed_us = now;
        memcpy(admin->follower, call->actor.id, sizeof admin->follower);
    }
    control_unlock(call->control);
    if (!fresh)
        return ERR_OK;
    detail = json_object();
    if (from >= 0)
        admin_set_int(detail, "from", from);
    return admin_event(call, "audit.followed", "log", STR(""), detail, STR(""));
}

enum err handle_audit_tail(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"from", FIELD_INT, false, offsetof(struct tail_query, from), 0,
            INT64_MAX, NULL},
        {"limit", FIELD_INT, false, offsetof(struct tail_query, limit), 1,
            TAIL_MAX, NULL},
    };
    struct audit_names names = {audit_find_name, call};
    struct tail_query query = {.from = -1, .limit = TAIL_DEFAULT};
    struct audit_log *log = control_log(call->control);
    struct audit_reader *reader = NULL;
    uint64_t size, from;
    struct buf out;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &query);

    if (!err && !log)
        err = FAIL(call, ERR_WRONG_STATE, "the log is not open");
    if (!err)
        err = record_following(call, query.from);
    if (err)
        return err;
    buf_init(&out, ADMIN_ANSWER_MAX);
    size = journal_size(audit_log_journal(log));
    from = (uint64_t)query.from;
    if (query.from < 0)
        from = size > (uint64_t)query.limit ? size - (uint64_t)query.limit : 0;
    err = audit_reader_open(control_dir(call->control), &reader, &call->info);
    if (!err)
        err = audit_tail(reader, size, &from, (size_t)query.limit, &names, &out,
            &call->info);
    if (!err)
        err = audit_answer_text(call, &out);
    audit_reader_close(&reader);
    buf_fini(&out);
    return err;
}

/* --- Checkpoints ----------------------------------------------------- */

enum err handle_audit_checkpoint(struct admin_call *call)
{
    struct buf text;
    json_t *answer;
    enum err err = admin_event(
        call, "audit.checkpoint_taken", "log", STR(""), NULL, STR(""));

    if (err)
        return err;
    buf_init(&text, 65536);
    err = audit_log_checkpoint(control_log(call->control), &text, &call->info);
    if (!err) {
        answer = json_object();
        admin_set_text(answer, "checkpoint", buf_str(&text));
        err = admin_answer(call, 200, answer);
    }
    buf_fini(&text);
    return err;
}

const char *audit_log_folder(struct admin_call *call)
{
    return arena_printf(call->arena, "%s/log", control_dir(call->control));
}

static enum err take_witnessed(struct admin_call *call, struct buf *note)
{
    char *path = file_join(audit_log_folder(call), WITNESSED_FILE);
    enum err err = path ? file_read(path, note, &call->info)
                        : FAIL(call, ERR_NOMEM, "out of memory");

    free(path);
    if (err == ERR_NOTFOUND)
        err = FAIL(call, ERR_AGAIN,
            "the witness policy is closed, and the quorum has cosigned no "
            "checkpoint yet: nothing is proven under another");
    return err;
}

enum err audit_take_checkpoint(struct admin_call *call, struct buf *note,
    struct note_key *key, struct checkpoint *out)
{
    const struct admin_server *server = call->admin->server;
    struct audit_log *log = control_log(call->control);
    enum err err;

    if (!log)
        return FAIL(call, ERR_WRONG_STATE, "the log is not open");
    if (server && server->witnessed_only &&
        server->witnessed_only(server->context))
        err = take_witnessed(call, note);
    else
        err = audit_log_checkpoint(log, note, &call->info);
    if (!err)
        err = audit_key_read(
            control_dir(call->control), STR(""), key, &call->info);
    if (!err)
        err = checkpoint_open(buf_str(note), key, out, &call->info);
    return err;
}
