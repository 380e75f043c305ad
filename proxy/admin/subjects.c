/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/subjects.c - what persons may ask for: a copy of everything that
 * is on record about them, and its erasure. Erasing destroys the person's
 * sealing keys, and so the personal fields and the kept content of all their
 * records; the name; and their keys to the models. What stays are entries with
 * an opaque id, under which nobody is known any more: the log's proofs hold. */
#include "proxy/admin/content.h"
#include "proxy/admin/retention.h"

#include "lib/clock.h"

#define PAGE_ROWS 100
#define PAGE_BYTES (8u << 20)
#define PLACES_MAX 256
#define API_KEYS_MAX 200

/* --- A copy ------------------------------------------------------------------
 */

struct copy {
    struct admin_call *call;
    struct str subject;
    struct audit_reader *reader;
    struct audit_index *index;
    uint64_t size;
    json_t *records;
    size_t bytes;
    uint64_t next;
    bool more;
};

static enum err add_entries(
    struct copy *copy, json_t *record, const uint64_t *places, size_t count)
{
    struct admin_call *call = copy->call;
    json_t *entries = json_array();
    struct buf entry;
    enum err err = ERR_OK;

    buf_init(&entry, 1 << 17);
    for (size_t i = 0; !err && i < count; i++) {
        json_t *one, *parsed;
        buf_clear(&entry);
        err = audit_read_entry(
            copy->reader, copy->size, places[i], &entry, &call->info);
        if (err)
            break;
        parsed = json_loadb(buf_str(&entry).ptr, entry.len, 0, NULL);
        copy->bytes += entry.len;
        one = json_object();
        admin_set_int(one, "index", (int64_t)places[i]);
        admin_set(one, "entry", parsed);
        json_array_append_new(entries, one);
    }
    buf_fini(&entry);
    admin_set(record, "entries", entries);
    return err;
}

static size_t content_bytes(const json_t *record)
{
    return (size_t)json_integer_value(
               json_object_get(json_object_get(record, "request"), "bytes")) +
           (size_t)json_integer_value(
               json_object_get(json_object_get(record, "answer"), "bytes"));
}

static enum err add_record(
    struct copy *copy, const struct audit_row *row, uint64_t *damaged)
{
    struct admin_call *call = copy->call;
    uint64_t places[PLACES_MAX];
    json_t *record = NULL;
    size_t count;
    enum err err = audit_places(copy->reader, copy->index, copy->size, row->id,
        places, PLACES_MAX, &count, damaged, &call->info);

    count = count < PLACES_MAX ? count : PLACES_MAX;
    if (!err)
        err = content_of_record(
            call, copy->reader, copy->size, row->id, places, count, &record);
    if (!err)
        err = add_entries(copy, record, places, count);
    if (err) {
        json_decref(record);
        return err;
    }
    copy->bytes += content_bytes(record);
    json_array_append_new(copy->records, record);
    return ERR_OK;
}

/* The requests of the person, then the acts that were about the person. */
static enum err fill_page(struct copy *copy, bool acts, bool has_after,
    uint64_t after, uint64_t *damaged)
{
    struct admin_call *call = copy->call;
    struct audit_filter filter = {.oldest_first = true,
        .limit = PAGE_ROWS,
        .has_after = has_after,
        .after = after,
        .type = acts ? STR("") : STR("request"),
        .caller = acts ? STR("") : copy->subject,
        .object = acts ? copy->subject : STR("")};
    struct audit_result *result = NULL;
    enum err err =
        audit_query(copy->index, &filter, &result, damaged, &call->info);

    if (err)
        return err;
    copy->more = result->more;
    for (size_t i = 0; !err && i < result->count; i++) {
        if (copy->bytes > PAGE_BYTES) {
            copy->more = true;
            break;
        }
        err = add_record(copy, &result->rows[i], damaged);
        copy->next = result->rows[i].seq;
    }
    audit_result_free(&result);
    return err;
}

static enum err person_json(
    struct admin_call *call, struct str id, json_t **out)
{
    struct db_statement *s;
    json_t *person = json_object(), *keys = json_array();
    enum err err = db_prepare(call->persons,
        "SELECT handle, name FROM person WHERE id = ?1", &s, &call->info);

    admin_set_text(person, "id", id);
    admin_set(person, "handle", json_null());
    admin_set_text(person, "name", STR(""));
    if (!err) {
        db_bind_text(s, 1, id);
        err = db_step(s, &call->info);
        if (!err) {
            admin_set_text(person, "handle", db_column_text(s, 0));
            admin_set_text(person, "name", db_column_text(s, 1));
        }
        db_reset(s);
        err = err == ERR_NOTFOUND ? ERR_OK : err;
    }
    admin_set_bool(
        person, "erased", json_is_null(json_object_get(person, "handle")));
    if (!err)
        err = db_prepare(call->db,
            "SELECT id, hint, label, created, expires, revoked FROM api_key "
            "WHERE caller = ?1 ORDER BY created",
            &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, id);
        while ((err = db_step(s, &call->info)) == ERR_OK) {
            json_t *key = json_object();
            admin_set_text(key, "id", db_column_text(s, 0));
            admin_set_text(key, "hint", db_column_text(s, 1));
            admin_set_text(key, "label", db_column_text(s, 2));
            admin_set_time(key, "created", db_column_int(s, 3));
            admin_set_time(key, "expires", db_column_int(s, 4));
            admin_set_time(key, "revoked", db_column_int(s, 5));
            json_array_append_new(keys, key);
        }
        err = err == ERR_NOTFOUND ? ERR_OK : err;
    }
    admin_set(person, "keys", keys);
    if (err)
        json_decref(person);
    else
        *out = person;
    return err;
}

struct copy_query {
    struct str of;
    int64_t after;
};

static enum err answer_copy(struct copy *copy, const struct copy_query *query)
{
    struct admin_call *call = copy->call;
    json_t *answer, *person = NULL, *detail = json_object();
    enum err err;

    admin_set_int(detail, "records", (int64_t)json_array_size(copy->records));
    admin_set_text(detail, "of", query->of);
    err = admin_event(call, "audit.subject_exported", "caller", copy->subject,
        detail, STR(""));
    control_lock(call->control);
    if (!err)
        err = person_json(call, copy->subject, &person);
    control_unlock(call->control);
    if (err)
        return err;
    answer = json_object();
    admin_set(answer, "person", person);
    admin_set(answer, "records", json_incref(copy->records));
    admin_set_bool(answer, "more", copy->more);
    admin_set_int(answer, "next", (int64_t)copy->next);
    return admin_answer(call, 200, answer);
}

enum err handle_subject_export(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"of", FIELD_WORD, false, offsetof(struct copy_query, of), 0, 0,
            "requests acts"},
        {"after", FIELD_INT, false, offsetof(struct copy_query, after), 0,
            INT64_MAX, NULL},
    };
    const char *dir = control_dir(call->control);
    struct copy_query query = {.of = STR("requests"), .after = -1};
    struct copy copy = {.call = call, .records = json_array()};
    uint64_t damaged = 0;
    bool behind = false;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &query);

    control_lock(call->control);
    if (!err)
        err =
            admin_resolve_person(call, "cal_", call->params[0], &copy.subject);
    control_unlock(call->control);
    if (!err)
        err = audit_await_index(call, &copy.size, &behind);
    if (!err && behind)
        err = FAIL(call, ERR_AGAIN,
            "the index is behind the log; a copy now would lack records: ask "
            "again in a moment");
    if (!err)
        err = audit_index_open(dir, &copy.index, &call->info);
    if (!err)
        err = audit_reader_open(dir, &copy.reader, &call->info);
    if (!err)
        err = fill_page(&copy, str_equal(query.of, STR("acts")),
            query.after >= 0, (uint64_t)query.after, &damaged);
    err = err ? audit_index_failed(call, err, damaged)
              : answer_copy(&copy, &query);
    json_decref(copy.records);
    audit_reader_close(&copy.reader);
    audit_index_close(&copy.index);
    return err;
}

/* --- Erasure
 * ------------------------------------------------------------------- */

struct erase_body {
    struct str reason, basis;
};

/* Under a hold, or already erased: refused, and that is on record. */
static enum err refuse(struct admin_call *call, struct str subject,
    const struct erase_body *body, json_t *detail)
{
    struct errinfo said = call->info;
    enum err err;

    admin_set_text(detail, "basis", body->basis);
    err = admin_event(
        call, "audit.erasure_refused", "caller", subject, detail, body->reason);
    if (err)
        return err;
    call->info = said;
    return ERR_WRONG_STATE;
}

static enum err check_holds(struct admin_call *call, struct str subject,
    const struct erase_body *body, const struct disposal_key *keys,
    size_t count)
{
    struct holds holds;
    json_t *detail;
    enum err err = holds_load(call, &holds);

    for (size_t i = 0; !err && i < count; i++) {
        const struct hold *hold =
            holds_pinning(&holds, keys[i].subject, keys[i].month);
        if (!hold)
            continue;
        (void)FAIL(call, ERR_WRONG_STATE,
            "the legal hold %.*s keeps records of %.*s readable; nothing was "
            "erased. `bailiff audit hold show %.*s` says what it is about",
            STR_ARG(hold->name), STR_ARG(keys[i].month), STR_ARG(hold->name));
        detail = json_object();
        admin_set_text(detail, "hold", hold->name);
        admin_set_text(detail, "month", keys[i].month);
        return refuse(call, subject, body, detail);
    }
    return err;
}

/* Keys of classes that must stay readable are left alone. */
static enum err leave_exempt(struct admin_call *call, struct disposal_key *keys,
    size_t *count, int64_t *exempt)
{
    struct retention retention;
    size_t kept = 0;
    enum err err = retention_load(call, &retention);

    *exempt = 0;
    for (size_t i = 0; !err && i < *count; i++) {
        const struct retention_class *class =
            retention_find(&retention, keys[i].class);
        if (class && class->exempt)
            ++*exempt;
        else
            keys[kept++] = keys[i];
    }
    *count = kept;
    return err;
}

static enum err revoke_keys(
    struct admin_call *call, struct str subject, const struct erase_body *body)
{
    struct str ids[API_KEYS_MAX];
    struct db_statement *s;
    size_t count = 0;
    enum err err = db_prepare(call->db,
        "SELECT id FROM api_key WHERE caller = ?1 AND revoked IS NULL "
        "ORDER BY id",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, subject);
    while ((err = db_step(s, &call->info)) == ERR_OK && count < API_KEYS_MAX)
        ids[count++] = admin_column(call, s, 0);
    db_reset(s);
    if (err == ERR_OK)
        return FAIL(call, ERR_LIMIT,
            "the caller has more than %d keys in force; revoke some of them "
            "first",
            API_KEYS_MAX);
    err = err == ERR_NOTFOUND ? ERR_OK : err;
    for (size_t i = 0; !err && i < count; i++)
        err = admin_record(call, "admin.key.revoked", "key", ids[i], NULL, NULL,
            NULL, body->reason);
    if (!err)
        err = db_prepare(call->db,
            "UPDATE api_key SET revoked = coalesce(revoked, ?2), label = '' "
            "WHERE caller = ?1",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, subject);
    db_bind_int(s, 2, clock_now());
    return db_run(s, &call->info);
}

static enum err disable(
    struct admin_call *call, struct str subject, const struct erase_body *body)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "UPDATE caller SET disabled = 1 WHERE id = ?1 AND disabled = 0", &s,
        &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, subject);
    err = db_run(s, &call->info);
    if (!err && db_changes(call->db) > 0)
        err = admin_record(call, "admin.caller.disabled", "caller", subject,
            json_pack("{s:b}", "disabled", 0),
            json_pack("{s:b}", "disabled", 1), NULL, body->reason);
    return err;
}

/* A token that comes later must not make the caller anew (its row is still
 * there; so is its handle). */
static enum err remember_handle(struct admin_call *call, struct str subject)
{
    struct db_statement *s;
    struct str handle;
    uint8_t digest[32];
    enum err err = db_prepare(call->persons,
        "SELECT handle FROM person WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, subject);
    err = db_step(s, &call->info);
    handle = err ? STR("") : admin_column(call, s, 0);
    db_reset(s);
    if (err == ERR_NOTFOUND)
        return ERR_OK;
    if (!err)
        err = db_prepare(call->persons,
            "INSERT OR IGNORE INTO erased_handle (digest) VALUES (?1)", &s,
            &call->info);
    if (err)
        return err;
    keyring_handle_digest(control_keyring(call->control), handle, digest);
    db_bind_blob(s, 1, digest, sizeof digest);
    return db_run(s, &call->info);
}

static enum err mark_erased(struct admin_call *call, struct str subject)
{
    struct db_statement *s;
    enum err err = db_prepare(call->persons,
        "INSERT OR IGNORE INTO erased_subject (id) VALUES (?1)", &s,
        &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, subject);
    return db_run(s, &call->info);
}

static enum err check_not_erased(struct admin_call *call, struct str subject)
{
    bool erased = false;
    enum err err = admin_exists(call, call->db,
        "SELECT 1 FROM disposal WHERE kind = 'erasure' AND subject = ?1 AND "
        "ended IS NOT NULL",
        subject, &erased);

    if (!err && erased)
        err = FAIL(
            call, ERR_WRONG_STATE, "%.*s was erased already", STR_ARG(subject));
    return err;
}

static enum err erase(struct admin_call *call, struct str subject,
    const struct erase_body *body, struct disposal *d, int64_t *exempt)
{
    struct disposal_key *keys = NULL;
    size_t count = 0;
    enum err err =
        disposal_keys(call, subject, STR(""), STR(""), &keys, &count);

    if (!err)
        err = leave_exempt(call, keys, &count, exempt);
    if (!err)
        err = check_holds(call, subject, body, keys, count);
    if (!err && count > DISPOSAL_KEYS_MAX)
        err = FAIL(call, ERR_LIMIT, "the person has more than %d sealing keys",
            DISPOSAL_KEYS_MAX);
    if (err || (err = admin_begin(call)))
        return err;
    *d = (struct disposal){.kind = STR("erasure"),
        .subject = subject,
        .reason = body->reason,
        .basis = body->basis};
    err = disposal_begin(call, d, keys, count,
        json_pack("{s:I}", "exempt", (json_int_t)*exempt));
    if (!err)
        err = disable(call, subject, body);
    if (!err)
        err = revoke_keys(call, subject, body);
    if (!err)
        err = mark_erased(call, subject);
    if (!err)
        err = remember_handle(call, subject);
    if (!err)
        err = admin_commit(
            call, CHANGED_KEYS | CHANGED_DIRECTORY | CHANGED_SEALING);
    return err ? err : disposal_finish(call, d);
}

enum err handle_subject_erase(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, true, offsetof(struct erase_body, reason), 1,
            1000, NULL},
        {"basis", FIELD_TEXT, true, offsetof(struct erase_body, basis), 1, 1000,
            NULL},
    };
    struct erase_body body = {.reason = STR("")};
    struct disposal d = {.id = STR("")};
    struct str subject;
    size_t resumed;
    int64_t exempt = 0;
    json_t *answer;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    /* One that failed half way is finished first. */
    if (!err)
        err = disposal_resume(call, &resumed);

    if (!err)
        err = admin_resolve_person(call, "cal_", call->params[0], &subject);
    if (!err)
        err = check_not_erased(call, subject);
    if (!err)
        err = erase(call, subject, &body, &d, &exempt);
    if (err)
        return err;
    answer = disposal_json(&d);
    admin_set_int(answer, "exempt", exempt);
    return admin_answer(call, 200, answer);
}
