/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/sinks.c - sinks: to whom the log is delivered as it grows. The
 * server delivers (audit/sinks.h); here are the rows, and a try. */
#include "proxy/admin/prune.h"

#include "audit/prove.h"
#include "audit/show.h"
#include "audit/sinks.h"
#include "lib/clock.h"
#include "proxy/secret.h"

#define SINK_COLUMNS                                                           \
    "SELECT name, kind, url, format, ca_file, credential_file, first, "        \
    "created, id FROM sink "

static json_t *sink_json(struct admin_call *call, struct db_statement *s)
{
    static const char *const texts[] = {
        "name", "kind", "url", "format", "caFile", "credentialFile"};
    json_t *sink = json_object();

    for (int i = 0; i < 6; i++)
        admin_set_text(sink, texts[i], db_column_text(s, i));
    admin_set_int(sink, "first", db_column_int(s, 6));
    admin_set_time(sink, "created", db_column_int(s, 7));
    return sink;
}

enum err handle_sink_list(struct admin_call *call)
{
    return admin_answer_rows(call, SINK_COLUMNS "ORDER BY name", sink_json);
}

/* The row as JSON (json may be NULL), and as the audit folder wants it (row may
 * be NULL; in the arena). */
static enum err read_sink(struct admin_call *call, struct str name,
    json_t **json, struct sink_row *row)
{
    struct db_statement *s;
    enum err err = admin_need(call, call->db, "sink",
        "SELECT 1 FROM sink WHERE name = ?1", "SELECT name FROM sink", name);

    if (!err)
        err = db_prepare(
            call->db, SINK_COLUMNS "WHERE name = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err && json)
        *json = sink_json(call, s);
    if (!err && row)
        *row = (struct sink_row){.name = admin_column(call, s, 0),
            .kind = str_equal(db_column_text(s, 1), STR("syslog")) ? SINK_SYSLOG
                                                                   : SINK_HTTPS,
            .url = admin_column(call, s, 2),
            .format = str_equal(db_column_text(s, 3), STR("ocsf")) ? SINK_OCSF
                                                                   : SINK_JSONL,
            .ca_file = admin_column(call, s, 4),
            .credential_file = admin_column(call, s, 5),
            .id = admin_column(call, s, 8)};
    db_reset(s);
    return err;
}

struct sink_body {
    struct str name, kind, url, format, ca_file, credential_file, from;
};

static enum err check_body(
    struct admin_call *call, const struct sink_body *body)
{
    const struct {
        const char *name;
        struct str path;
    } files[] = {
        {"caFile", body->ca_file}, {"credentialFile", body->credential_file}};
    bool syslog = str_equal(body->kind, STR("syslog"));
    enum err err = sink_check_url(
        syslog ? SINK_SYSLOG : SINK_HTTPS, body->url, &call->info);

    for (size_t i = 0; !err && i < 2; i++)
        if (files[i].path.len > 0 && files[i].path.ptr[0] != '/')
            err = FAIL(call, ERR_INVALID,
                "%s: \"%.*s\" is no absolute path; the server may run in "
                "another directory",
                files[i].name, STR_ARG(files[i].path));
    if (!err && syslog && body->credential_file.len > 0)
        err = FAIL(call, ERR_INVALID,
            "credentialFile: syslog knows no credential; use tls:// and the "
            "receiver's own rules");
    return err;
}

static enum err insert(
    struct admin_call *call, const struct sink_body *body, int64_t first)
{
    struct db_statement *s;
    char id[ID_LENGTH + 1];
    enum err err = id_make("snk_", id, &call->info);

    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO sink (name, id, kind, url, format, ca_file, "
            "credential_file, first, created) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, body->name);
    db_bind_text(s, 2, str_from(id));
    db_bind_text(s, 3, body->kind);
    db_bind_text(s, 4, body->url);
    db_bind_text(s, 5, body->format);
    db_bind_text(s, 6, body->ca_file);
    db_bind_text(s, 7, body->credential_file);
    db_bind_int(s, 8, first);
    db_bind_int(s, 9, clock_now());
    err = db_run(s, &call->info);
    return err == ERR_EXISTS
               ? FAIL(call, ERR_EXISTS, "there is a sink \"%.*s\" already",
                     STR_ARG(body->name))
               : err;
}

static enum err refuse_too_many(struct admin_call *call)
{
    struct db_statement *s;
    int64_t count = 0;
    enum err err =
        db_prepare(call->db, "SELECT count(*) FROM sink", &s, &call->info);

    if (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        count = db_column_int(s, 0);
        db_reset(s);
    }
    return !err && count >= SINKS_MAX
               ? FAIL(call, ERR_LIMIT, "there are %d sinks already: no more",
                     SINKS_MAX)
               : err;
}

#define AT(member) offsetof(struct sink_body, member)
enum err handle_sink_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"name", FIELD_NAME, true, AT(name), 0, 0, NULL},
        {"kind", FIELD_WORD, true, AT(kind), 0, 0, "syslog https"},
        {"url", FIELD_TEXT, true, AT(url), 1, SINK_URL_MAX - 1, NULL},
        {"format", FIELD_WORD, false, AT(format), 0, 0, "jsonl ocsf"},
        {"caFile", FIELD_TEXT, false, AT(ca_file), 0, 4000, NULL},
        {"credentialFile", FIELD_TEXT, false, AT(credential_file), 0, 4000,
            NULL},
        {"from", FIELD_WORD, false, AT(from), 0, 0, "now start"},
    };
    struct sink_body body = {.format = STR_INIT("jsonl"),
        .ca_file = STR_INIT(""),
        .credential_file = STR_INIT(""),
        .from = STR_INIT("now")};
    struct pruned pruned = {0};
    json_t *sink;
    int64_t first = 0;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_body(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    if (str_equal(body.from, STR("now")) && control_log(call->control))
        first = (int64_t)journal_size(
            audit_log_journal(control_log(call->control)));
    else if ((err = prune_load(call, &pruned)))
        return err;
    else
        first = (int64_t)pruned.entries; /* the first that is there */
    err = refuse_too_many(call);
    if (!err)
        err = insert(call, &body, first);
    if (!err)
        err = read_sink(call, body.name, &sink, NULL);
    if (!err)
        err = admin_record(call, "admin.sink.added", "sink", body.name, NULL,
            json_incref(sink), NULL, STR(""));
    if (err || (err = admin_commit(call, CHANGED_SINKS)))
        return err;
    return admin_answer(call, 201, sink);
}

enum err handle_sink_remove(struct admin_call *call)
{
    struct db_statement *s;
    json_t *before = NULL;
    enum err err = admin_begin(call);

    if (!err)
        err = read_sink(call, call->params[0], &before, NULL);
    if (err)
        return err;
    err = db_prepare(
        call->db, "DELETE FROM sink WHERE name = ?1", &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, call->params[0]);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.sink.removed", "sink", call->params[0],
        before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_SINKS);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}

/* --- A try --------------------------------------------------------------- */

static enum err newest_entry(
    struct admin_call *call, uint64_t *index, struct buf *entry)
{
    struct audit_log *log = control_log(call->control);
    struct audit_reader *reader = NULL;
    uint64_t size = log ? journal_size(audit_log_journal(log)) : 0;
    enum err err =
        size == 0 ? FAIL(call, ERR_WRONG_STATE, "the log has no entry to send")
                  : audit_reader_open(
                        control_dir(call->control), &reader, &call->info);

    if (!err)
        err = audit_read_entry(reader, size, size - 1, entry, &call->info);
    audit_reader_close(&reader);
    *index = size - 1;
    return err;
}

/* Sends the newest entry once more: receivers know repetitions by its index. */
enum err handle_sink_test(struct admin_call *call)
{
    struct sink_row row;
    struct note_key key;
    struct errinfo why = {0};
    struct buf entry;
    uint64_t index = 0;
    json_t *detail;
    enum err err, delivered;

    control_lock(call->control);
    err = read_sink(call, call->params[0], NULL, &row);
    control_unlock(call->control);
    if (err)
        return err;
    buf_init(&entry, 1 << 17);
    err =
        audit_key_read(control_dir(call->control), STR(""), &key, &call->info);
    if (!err)
        err = newest_entry(call, &index, &entry);
    delivered =
        err ? err
            : sink_try(&row, str_from(key.name), index, buf_str(&entry), &why);
    buf_fini(&entry);
    if (err)
        return err;
    detail = json_pack("{s:b}", "delivered", delivered == ERR_OK);
    if (delivered)
        admin_set_text(detail, "why", str_from(why.text));
    err = admin_event(
        call, "audit.sink.tested", "sink", row.name, detail, STR(""));
    if (err)
        return err;
    if (delivered) {
        admin_problem(call, 502, "sink-failed",
            "the sink \"%.*s\" did not take the entry: %s", STR_ARG(row.name),
            why.text);
        return ERR_OK;
    }
    return admin_answer(call, 200,
        json_pack("{s:b,s:I}", "delivered", 1, "index", (json_int_t)index));
}
