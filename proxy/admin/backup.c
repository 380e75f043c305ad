/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/backup.c - what a backup needs from whoever writes the state: one
 * moment at which databases and log agree, and both ends of it on record.
 *
 * Whoever makes the backup reads the files by itself, with the state directory
 * in hand; nothing secret passes through here. Between the two calls the server
 * works on: the log only grows, and the copies are of the moment. */
#include "proxy/admin/admin_priv.h"

#include "lib/crypto.h"
#include "lib/encode.h"
#include "proxy/backup_copies.h"

#include <stdlib.h>

#define COPIES_KEPT_US HOUR_US

struct begin_body {
    struct str keys;
};

/* Inside the lock: nothing changes between the event, the copies and the size
 * of the log. */
static enum err copy_moment(struct admin_call *call,
    const struct begin_body *body, const char *id, char **folder,
    uint64_t *size, char digest_hex[65])
{
    enum err err;

    control_lock(call->control);
    err = admin_event(call, "system.backup_begun", "backup", str_from(id),
        json_pack("{s:s%}", "keys", body->keys.ptr, body->keys.len), STR(""));
    if (!err)
        err = control_settled(call->control, digest_hex, &call->info);
    if (!err)
        err = backup_copies_make(control_dir(call->control), id, call->db,
            call->persons, folder, &call->info);
    if (!err)
        *size = journal_size(audit_log_journal(control_log(call->control)));
    control_unlock(call->control);
    return err;
}

#define AT(member) offsetof(struct begin_body, member)
enum err handle_backup_begin(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"keys", FIELD_WORD, true, AT(keys), 0, 0, "with without only"},
    };
    struct begin_body body = {0};
    struct buf note;
    uint8_t random[10];
    uint64_t size = 0;
    char id[ULID_LENGTH + 1], digest[65] = "", *folder = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err)
        return err;
    if (!control_log(call->control))
        return FAIL(call, ERR_WRONG_STATE, "the log is not open");
    backup_copies_sweep(control_dir(call->control), COPIES_KEPT_US);
    crypto_random_id(random, sizeof random);
    ulid_write(id, clock_now(), random);
    id[ULID_LENGTH] = '\0';
    buf_init(&note, 65536);
    /* First the checkpoint: the backup must reach as far as what is signed in
     * it. */
    err = audit_log_checkpoint(control_log(call->control), &note, &call->info);
    if (!err)
        err = copy_moment(call, &body, id, &folder, &size, digest);
    if (!err) {
        json_t *answer = json_pack("{s:s,s:s,s:I,s:s}", "id", id, "folder",
            folder, "entries", (json_int_t)size, "controlDigest", digest);
        admin_set_text(answer, "checkpoint", buf_str(&note));
        err = admin_answer(call, 200, answer);
    }
    free(folder);
    buf_fini(&note);
    return err;
}
#undef AT

struct end_body {
    struct str manifest, failed;
    int64_t files, bytes, entries;
};

#define AT(member) offsetof(struct end_body, member)
enum err handle_backup_end(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"manifest", FIELD_TEXT, false, AT(manifest), 64, 64, NULL},
        {"failed", FIELD_TEXT, false, AT(failed), 1, 1000, NULL},
        {"files", FIELD_INT, false, AT(files), 0, INT64_C(1) << 53, NULL},
        {"bytes", FIELD_INT, false, AT(bytes), 0, INT64_C(1) << 53, NULL},
        {"entries", FIELD_INT, false, AT(entries), 0, INT64_C(1) << 53, NULL},
    };
    struct end_body body = {0};
    json_t *detail;
    const char *id = arena_cstr(call->arena, call->params[0]);
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err && (body.manifest.len > 0) == (body.failed.len > 0))
        err = FAIL(call, ERR_INVALID,
            "manifest: either the manifest's SHA-256, or in failed why there "
            "is none");
    if (!err)
        err = backup_copies_remove(control_dir(call->control), id, &call->info);
    if (err)
        return err;
    detail = json_pack("{s:I,s:I,s:I}", "files", (json_int_t)body.files,
        "bytes", (json_int_t)body.bytes, "entries", (json_int_t)body.entries);
    if (body.manifest.len > 0)
        admin_set_text(detail, "manifest", body.manifest);
    err = admin_event(call,
        body.manifest.len > 0 ? "system.backup_made" : "system.backup_failed",
        "backup", call->params[0], detail, body.failed);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "recorded", 1));
}
