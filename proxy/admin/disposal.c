/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/disposal.c - destroying sealing keys, and what they sealed, so
 * that whatever interrupts it the log says what is gone. See retention.h. */
#include "proxy/admin/retention.h"
#include "proxy/admin/prune.h"

#include "audit/blob.h"
#include "audit/pruned.h"
#include "lib/clock.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/log.h"

#include <stdlib.h>

#define KEYS_PER_ENTRY 700 /* of 16 digits: below AUDIT_OBJECT_MAX */
#define LISTED_MAX 100

/* --- Rows ------------------------------------------------------------------
 */

#define DISPOSAL_COLUMNS                                                       \
    "SELECT id, kind, subject, reason, basis, begun, ended, keys, files, "     \
    "bytes, certificate, prefix FROM disposal "

static void read_disposal(
    struct admin_call *call, struct db_statement *s, struct disposal *d)
{
    *d = (struct disposal){.id = admin_column(call, s, 0),
        .kind = admin_column(call, s, 1),
        .subject = admin_column(call, s, 2),
        .reason = admin_column(call, s, 3),
        .basis = admin_column(call, s, 4),
        .begun_us = db_column_int(s, 5),
        .ended_us = db_column_int(s, 6),
        .keys = db_column_int(s, 7),
        .files = db_column_int(s, 8),
        .bytes = db_column_int(s, 9),
        .certificate = admin_column(call, s, 10),
        .prefix = admin_column(call, s, 11)};
    struct pruned pruned;
    if (d->prefix.len > 0 && pruned_parse(d->prefix, &pruned, NULL) == ERR_OK)
        d->entries = (int64_t)pruned.entries;
}

static bool is_erasure(const struct disposal *d)
{
    return str_equal(d->kind, STR("erasure"));
}

static bool is_prune(const struct disposal *d)
{
    return str_equal(d->kind, STR("prune"));
}

/* An entry of its beginning or end; takes detail. */
static enum err record(struct admin_call *call, const struct disposal *d,
    const char *what, json_t *detail)
{
    const char *type =
        arena_printf(call->arena, "audit.%.*s_%s", STR_ARG(d->kind), what);
    const char *entries =
        arena_printf(call->arena, "%lld", (long long)d->entries);

    if (!type || !entries) {
        json_decref(detail);
        return FAIL(call, ERR_NOMEM, "out of memory");
    }
    if (is_prune(d))
        return admin_record(call, type, "log", str_from(entries), NULL, NULL,
            detail, d->reason);
    return admin_record(call, type, is_erasure(d) ? "caller" : "disposal",
        is_erasure(d) ? d->subject : d->id, NULL, NULL, detail, d->reason);
}

json_t *disposal_json(const struct disposal *d)
{
    json_t *item = json_object();

    admin_set_text(item, "id", d->id);
    admin_set_text(item, "kind", d->kind);
    admin_set(item, "caller",
        d->subject.len > 0 ? admin_text(d->subject) : json_null());
    admin_set_text(item, "reason", d->reason);
    admin_set_text(item, "basis", d->basis);
    admin_set_time(item, "begun", d->begun_us);
    admin_set_time(item, "ended", d->ended_us);
    admin_set_int(item, "keys", d->keys);
    admin_set_int(item, "files", d->files);
    admin_set_int(item, "bytes", d->bytes);
    admin_set_text(item, "certificate", d->certificate);
    admin_set_int(item, "entries", d->entries);
    return item;
}

enum err disposal_list(struct admin_call *call, json_t **out)
{
    struct db_statement *s;
    json_t *items = json_array();
    struct disposal d;
    enum err err = db_prepare(call->db,
        DISPOSAL_COLUMNS "ORDER BY begun DESC, id DESC LIMIT ?1", &s,
        &call->info);

    if (!err)
        db_bind_int(s, 1, LISTED_MAX);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        read_disposal(call, s, &d);
        json_array_append_new(items, disposal_json(&d));
    }
    if (err != ERR_NOTFOUND) {
        json_decref(items);
        return err;
    }
    *out = items;
    return ERR_OK;
}

static void bind_wanted(struct db_statement *s, struct str subject,
    struct str class, struct str last)
{
    db_bind_text(s, 1, subject);
    db_bind_text(s, 2, class);
    db_bind_text(s, 3, last);
}

enum err disposal_keys(struct admin_call *call, struct str subject,
    struct str class, struct str last, struct disposal_key **out, size_t *count)
{
    struct db_statement *s;
    struct disposal_key *keys;
    size_t room = 0;
    enum err err = db_prepare(call->persons,
        "SELECT id, subject, month, class FROM sealing_key WHERE "
        "length(wrapped) > 0 AND (?1 = '' OR subject = ?1) AND "
        "(?2 = '' OR class = ?2) AND (?3 = '' OR month <= ?3) "
        "ORDER BY month, subject, class",
        &s, &call->info);

    *count = 0;
    if (err)
        return err;
    bind_wanted(s, subject, class, last);
    while ((err = db_step(s, &call->info)) == ERR_OK)
        room++;
    if (err != ERR_NOTFOUND)
        return err;
    keys = ARENA_ARRAY(call->arena, room + 1, struct disposal_key);
    if (!keys)
        return FAIL(call, ERR_NOMEM, "out of memory");
    bind_wanted(s, subject, class, last);
    while ((err = db_step(s, &call->info)) == ERR_OK && *count < room)
        keys[(*count)++] = (struct disposal_key){admin_column(call, s, 0),
            admin_column(call, s, 1), admin_column(call, s, 2),
            admin_column(call, s, 3)};
    db_reset(s);
    *out = keys;
    return err == ERR_NOTFOUND || err == ERR_OK ? ERR_OK : err;
}

/* --- The beginning -----------------------------------------------------------
 */

/* The log names each key before it goes: a file that is missed later is then
 * known to be erased, by anybody who has the log. */
static enum err record_keys(struct admin_call *call, const struct disposal *d,
    const struct disposal_key *keys, size_t count)
{
    enum err err = ERR_OK;

    for (size_t at = 0; !err && at < count; at += KEYS_PER_ENTRY) {
        json_t *detail = json_object(), *ids = json_array();
        for (size_t i = at; i < count && i < at + KEYS_PER_ENTRY; i++)
            json_array_append_new(ids, admin_text(keys[i].id));
        admin_set(detail, "keys", ids);
        err = admin_record(call, "audit.keys_destroyed", "disposal", d->id,
            NULL, NULL, detail, d->reason);
    }
    return err;
}

enum err disposal_name(struct admin_call *call, struct disposal *d)
{
    char id[ULID_LENGTH];
    uint8_t random[10];

    crypto_random_id(random, sizeof random);
    d->begun_us = clock_now();
    ulid_write(id, d->begun_us, random);
    d->id = arena_copy(call->arena, str_make(id, sizeof id));
    return d->id.ptr ? ERR_OK : FAIL(call, ERR_NOMEM, "out of memory");
}

enum err disposal_begin(struct admin_call *call, struct disposal *d,
    const struct disposal_key *keys, size_t count, json_t *detail)
{
    struct db_statement *s;
    enum err err = d->id.len > 0 ? ERR_OK : disposal_name(call, d);

    d->keys = (int64_t)count;
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO disposal (id, kind, subject, reason, basis, begun, "
            "keys, prefix) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            &s, &call->info);
    if (err) {
        json_decref(detail);
        return err;
    }
    db_bind_text(s, 1, d->id);
    db_bind_text(s, 2, d->kind);
    db_bind_text(s, 3, d->subject);
    db_bind_text(s, 4, d->reason);
    db_bind_text(s, 5, d->basis);
    db_bind_int(s, 6, d->begun_us);
    db_bind_int(s, 7, d->keys);
    db_bind_text(s, 8, d->prefix.len > 0 ? d->prefix : STR(""));
    err = db_run(s, &call->info);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO disposal_key (disposal, key) VALUES (?1, ?2)", &s,
            &call->info);
    for (size_t i = 0; !err && i < count; i++) {
        db_bind_text(s, 1, d->id);
        db_bind_text(s, 2, keys[i].id);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(detail);
        return err;
    }
    admin_set_text(detail, "basis", d->basis);
    admin_set_text(detail, "disposal", d->id);
    if (!is_prune(d))
        admin_set_int(detail, "keys", d->keys);
    err = record(call, d, "begun", detail);
    return err ? err : record_keys(call, d, keys, count);
}

/* --- The destruction
 * ---------------------------------------------------------- */

static enum err keys_of(struct admin_call *call, const struct disposal *d,
    struct disposal_key **out, size_t *count)
{
    struct db_statement *s;
    size_t room = (size_t)d->keys;
    struct disposal_key *keys =
        ARENA_ARRAY(call->arena, room + 1, struct disposal_key);
    enum err err;

    *count = 0;
    if (!keys)
        return FAIL(call, ERR_NOMEM, "out of memory");
    err = db_prepare(call->db,
        "SELECT key FROM disposal_key WHERE disposal = ?1 ORDER BY key", &s,
        &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, d->id);
    while ((err = db_step(s, &call->info)) == ERR_OK && *count < room)
        keys[(*count)++].id = admin_column(call, s, 0);
    db_reset(s);
    if (err != ERR_OK && err != ERR_NOTFOUND)
        return err;
    err = db_prepare(call->persons,
        "SELECT subject, month, class FROM sealing_key WHERE id = ?1", &s,
        &call->info);
    for (size_t i = 0; !err && i < *count; i++) {
        db_bind_text(s, 1, keys[i].id);
        err = db_step(s, &call->info);
        if (!err) {
            keys[i].subject = admin_column(call, s, 0);
            keys[i].month = admin_column(call, s, 1);
            keys[i].class = admin_column(call, s, 2);
        }
        db_reset(s);
        err = err == ERR_NOTFOUND ? ERR_OK : err;
    }
    *out = keys;
    return err;
}

/* Requests of proposals (persons.db) that have the handle or name in them. */
static enum err forget_proposals(struct admin_call *call, struct str subject)
{
    struct db_statement *s;
    enum err err = db_prepare(call->persons,
        "DELETE FROM proposal_request WHERE EXISTS (SELECT 1 FROM person WHERE "
        "person.id = ?1 AND (instr(body, '\"' || handle || '\"') > 0 OR "
        "instr(path || '/', '/' || handle || '/') > 0 OR "
        "instr(query || '&', '=' || handle || '&') > 0 OR "
        "(name <> '' AND instr(body, name) > 0)))",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, subject);
    return db_run(s, &call->info);
}

/* One transaction over persons.db: secure_delete leaves nothing of them in its
 * pages. */
static enum err destroy_keys(struct admin_call *call, const struct disposal *d,
    const struct disposal_key *keys, size_t count)
{
    struct keyring *keyring = control_keyring(call->control);
    struct db_statement *s;
    enum err err = db_begin(call->persons, &call->info);

    if (err)
        return err;
    for (size_t i = 0; !err && i < count; i++)
        err = keyring_destroy(keyring, keys[i].id, &call->info);
    if (!err && d->subject.len > 0)
        err = forget_proposals(call, d->subject);
    if (!err && d->subject.len > 0) {
        err = db_prepare(
            call->persons, "DELETE FROM person WHERE id = ?1", &s, &call->info);
        if (!err) {
            db_bind_text(s, 1, d->subject);
            err = db_run(s, &call->info);
        }
    }
    if (!err)
        err = db_commit(call->persons, &call->info);
    if (err)
        db_rollback(call->persons);
    return err;
}

static enum err destroy_files(struct admin_call *call, struct disposal *d,
    const struct disposal_key *keys, size_t count)
{
    uint64_t files = 0, bytes = 0;
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < count; i++)
        err = blob_remove_key(control_dir(call->control), keys[i].id, &files,
            &bytes, &call->info);
    d->files = (int64_t)files;
    d->bytes = (int64_t)bytes;
    return err;
}

/* --- The certificate
 * ------------------------------------------------------------ */

static json_t *periods_of(
    struct admin_call *call, const struct disposal_key *keys, size_t count)
{
    struct retention retention;
    json_t *classes = json_object();

    if (retention_load(call, &retention) != ERR_OK)
        return classes;
    for (size_t i = 0; i < count; i++) {
        const struct retention_class *class =
            retention_find(&retention, keys[i].class);
        const char *name =
            arena_printf(call->arena, "%.*s", STR_ARG(keys[i].class));
        json_t *one;
        if (!name || !class)
            continue;
        one = json_object_get(classes, name);
        if (!one) {
            one = json_object();
            admin_set_int(one, "days",
                class->days > retention.lock_days ? class->days
                                                  : retention.lock_days);
            admin_set_int(one, "keys", 0);
            admin_set_text(one, "firstMonth", keys[i].month);
            admin_set_text(one, "lastMonth", keys[i].month);
            admin_set(classes, name, one);
        }
        admin_set_int(
            one, "keys", json_integer_value(json_object_get(one, "keys")) + 1);
        if (strcmp(json_string_value(json_object_get(one, "firstMonth")),
                arena_printf(call->arena, "%.*s", STR_ARG(keys[i].month))) > 0)
            admin_set_text(one, "firstMonth", keys[i].month);
        if (strcmp(json_string_value(json_object_get(one, "lastMonth")),
                arena_printf(call->arena, "%.*s", STR_ARG(keys[i].month))) < 0)
            admin_set_text(one, "lastMonth", keys[i].month);
    }
    return classes;
}

/* DIR/certificates/ID.json; its hash goes into the entry of the end. */
static enum err write_certificate(struct admin_call *call, struct disposal *d,
    const struct disposal_key *keys, size_t count)
{
    const char *dir = control_dir(call->control);
    const char *folder = arena_printf(call->arena, "%s/certificates", dir);
    const char *path = arena_printf(
        call->arena, "%s/certificates/%.*s.json", dir, STR_ARG(d->id));
    json_t *certificate = json_object(), *list = json_array();
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    struct str text;
    enum err err;

    for (size_t i = 0; i < count; i++) {
        json_t *key = json_object();
        admin_set_text(key, "id", keys[i].id);
        admin_set_text(key, "subject", keys[i].subject);
        admin_set_text(key, "month", keys[i].month);
        admin_set_text(key, "class", keys[i].class);
        json_array_append_new(list, key);
    }
    admin_set_text(certificate, "format", STR("bailiff-disposal-1"));
    admin_set_text(certificate, "id", d->id);
    admin_set_text(certificate, "kind", d->kind);
    admin_set_text(certificate, "caller", d->subject);
    admin_set_text(certificate, "reason", d->reason);
    admin_set_text(certificate, "basis", d->basis);
    admin_set_time(certificate, "begun", d->begun_us);
    admin_set_time(certificate, "ended", d->ended_us);
    admin_set_text(certificate, "actor", str_from(call->actor.id));
    admin_set_text(certificate, "method", str_from(call->actor.method));
    admin_set_int(certificate, "files", d->files);
    admin_set_int(certificate, "bytes", d->bytes);
    admin_set(certificate, "classes", periods_of(call, keys, count));
    admin_set(certificate, "keys", list);
    if (is_prune(d))
        admin_set(certificate, "prefix",
            json_loadb(d->prefix.ptr, d->prefix.len, 0, NULL));
    text = admin_canonical(call->arena, certificate);
    json_decref(certificate);
    if (!folder || !path || text.len == 0)
        return FAIL(call, ERR_NOMEM, "out of memory");
    crypto_sha256(digest, text.ptr, text.len);
    hex_write(hex, digest, sizeof digest);
    d->certificate = arena_copy(call->arena, str_from(hex));
    err = file_make_dir(folder, 0700, &call->info);
    if (!err)
        err = file_sync_dir(dir, &call->info);
    return err ? err : file_replace(path, text, 0600, &call->info);
}

/* --- The end
 * ---------------------------------------------------------------------- */

static enum err record_end(struct admin_call *call, const struct disposal *d)
{
    struct db_statement *s;
    json_t *detail;
    enum err err = admin_begin(call);

    if (!err)
        err = db_prepare(call->db,
            "UPDATE disposal SET ended = ?2, files = ?3, bytes = ?4, "
            "certificate = ?5 WHERE id = ?1",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, d->id);
    db_bind_int(s, 2, d->ended_us);
    db_bind_int(s, 3, d->files);
    db_bind_int(s, 4, d->bytes);
    db_bind_text(s, 5, d->certificate);
    err = db_run(s, &call->info);
    if (!err)
        err = db_prepare(call->db,
            "DELETE FROM disposal_key WHERE disposal = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, d->id);
    err = db_run(s, &call->info);
    if (err)
        return err;
    detail = json_object();
    admin_set_text(detail, "basis", d->basis);
    admin_set_text(detail, "certificate", d->certificate);
    admin_set_text(detail, "disposal", d->id);
    if (is_prune(d))
        admin_set_int(detail, "entries", d->entries);
    else
        admin_set_int(detail, "keys", d->keys);
    admin_set_int(detail, "files", d->files);
    admin_set_int(detail, "bytes", d->bytes);
    err = record(call, d, "completed", detail);
    return err ? err : admin_commit(call, CHANGED_SEALING | CHANGED_DIRECTORY);
}

enum err disposal_finish(struct admin_call *call, struct disposal *d)
{
    const struct admin_server *server = call->admin->server;
    struct disposal_key *keys = NULL;
    size_t count = 0;
    enum err err = keys_of(call, d, &keys, &count);

    if (!err && is_prune(d)) {
        err = prune_finish(call, d);
        d->ended_us = clock_now();
        if (!err)
            err = write_certificate(call, d, keys, count);
        return err ? err : record_end(call, d);
    }
    if (!err)
        err = destroy_keys(call, d, keys, count);
    /* What workers still hold of the person ends before the files go. */
    if (!err && d->subject.len > 0 && server && server->forget)
        server->forget(server->context, d->subject);
    if (!err)
        err = destroy_files(call, d, keys, count);
    d->ended_us = clock_now();
    if (!err)
        err = write_certificate(call, d, keys, count);
    return err ? err : record_end(call, d);
}

enum err disposal_resume(struct admin_call *call, size_t *count)
{
    struct db_statement *s;
    struct disposal d;
    enum err err = ERR_OK;

    *count = 0;
    for (;;) {
        err = db_prepare(call->db,
            DISPOSAL_COLUMNS "WHERE ended IS NULL ORDER BY begun LIMIT 1", &s,
            &call->info);
        if (err)
            return err;
        err = db_step(s, &call->info);
        if (!err)
            read_disposal(call, s, &d);
        db_reset(s);
        if (err)
            return err == ERR_NOTFOUND ? ERR_OK : err;
        log_warn("disposal_resumed", "disposal=%.*s kind=%.*s keys=%lld",
            STR_ARG(d.id), STR_ARG(d.kind), (long long)d.keys);
        err = disposal_finish(call, &d);
        if (err)
            return err;
        ++*count;
    }
}
