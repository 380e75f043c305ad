/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/audit_log_files.c - DIR/log as it lies there, for auditors with
 * any tlog-tiles client: checkpoint, hash tiles, entry bundles. A client reads
 * many files, so who reads is on record once, and then how many it were. And
 * the rotation of the key that signs it. */
#include "proxy/admin/prune.h"

#include "audit/key_rotation.h"
#include "audit/witnesses.h"
#include "lib/clock.h"
#include "lib/file.h"

#include <stdlib.h>

#define RECORD_EVERY_US (5 * MINUTE_US)

static bool is_digits(struct str text, size_t least, size_t most)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    return text.len >= least && text.len <= most;
}

/* N[.p/W] of tlog-tiles: groups of three digits, all but the last with x. */
static bool is_tile_number(struct str rest)
{
    static const struct str partial = STR_INIT(".p");
    struct str group;

    for (int i = 0; i < 7; i++) {
        bool more = str_split(rest, '/', &group, &rest);
        if (group.len == 4 && group.ptr[0] == 'x') {
            if (!more || !is_digits(str_make(group.ptr + 1, 3), 3, 3))
                return false;
            continue;
        }
        if (!more)
            return is_digits(group, 3, 3);
        return group.len == 5 && str_ends(group, partial) &&
               is_digits(str_make(group.ptr, 3), 3, 3) &&
               is_digits(rest, 1, 3) && rest.ptr[0] != '0';
    }
    return false;
}

static bool is_tile(struct str name)
{
    struct str first, level, rest;

    return str_split(name, '/', &first, &rest) &&
           str_equal(first, STR("tile")) &&
           str_split(rest, '/', &level, &rest) &&
           (str_equal(level, STR("entries")) || is_digits(level, 1, 2)) &&
           is_tile_number(rest);
}

/* --- A new signing key ------------------------------------------------------
 */

static json_t *key_text(const struct note_key *key)
{
    struct buf text;
    json_t *value;

    buf_init(&text, 4096);
    note_key_format(key, &text);
    value = admin_text(buf_str(&text));
    buf_fini(&text);
    return value;
}

struct rotate_body {
    int64_t overlap_days;
    struct str reason;
};

enum err handle_audit_rotate(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"overlapDays", FIELD_INT, false,
            offsetof(struct rotate_body, overlap_days), 0, 3650, NULL},
        {"reason", FIELD_TEXT, false, offsetof(struct rotate_body, reason), 0,
            1000, NULL},
    };
    struct rotate_body body = {.overlap_days = 30, .reason = STR_INIT("")};
    struct audit_log *log = control_log(call->control);
    struct key_rotation rotation;
    struct buf note;
    json_t *detail, *answer;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err && !log)
        err = FAIL(call, ERR_WRONG_STATE, "the log is not open");
    if (!err)
        err = audit_log_rotate(log, clock_now() + body.overlap_days * DAY_US,
            &rotation, &call->info);
    if (err)
        return err;
    detail = json_object();
    admin_set(detail, "newKey", key_text(&rotation.new_key));
    admin_set(detail, "oldKey", key_text(&rotation.old_key));
    admin_set_int(detail, "size", (int64_t)rotation.size);
    admin_set_time(detail, "until", rotation.until_us);
    answer = json_deep_copy(detail);
    err = admin_event(
        call, "audit.key_rotated", "log", STR(""), detail, body.reason);
    /* The event makes news: a checkpoint that both have signed. */
    buf_init(&note, NOTE_MAX);
    if (!err)
        err = audit_log_checkpoint(log, &note, &call->info);
    buf_fini(&note);
    if (!err)
        return admin_answer(call, 200, answer);
    json_decref(answer);
    return err;
}

/* --- Files
 * --------------------------------------------------------------------- */

/* The first file is on record, with a name, before it is given; the others of
 * the same reader as a number, with the next record. */
static enum err record_reading(struct admin_call *call, struct str name)
{
    struct admin *admin = call->admin;
    int64_t now = clock_monotonic(), more;
    json_t *detail;
    bool fresh;

    control_lock(call->control);
    fresh = admin->served_us == 0 ||
            now - admin->served_us >= RECORD_EVERY_US ||
            strcmp(admin->served, call->actor.id) != 0;
    more = admin->served_more;
    admin->served_more = fresh ? 0 : more + 1;
    if (fresh) {
        admin->served_us = now;
        memcpy(admin->served, call->actor.id, sizeof admin->served);
    }
    control_unlock(call->control);
    if (!fresh)
        return ERR_OK;
    detail = json_object();
    admin_set_text(detail, "file", name);
    admin_set_int(detail, "filesBefore", more);
    return admin_event(call, "audit.log_read", "log", STR(""), detail, STR(""));
}

enum err handle_audit_log_file(struct admin_call *call)
{
    struct str name = call->params[0];
    struct admin_response *response = call->response;
    bool tile = is_tile(name);
    char *path;
    enum err err;

    if (!tile && !str_equal(name, STR("checkpoint")) &&
        !str_equal(name, STR(WITNESSED_FILE)) &&
        !str_equal(name, STR(KEY_ROTATIONS_FILE)))
        return FAIL(call, ERR_NOTFOUND,
            "\"%.*s\" is no file of the log: checkpoint, " WITNESSED_FILE
            ", " KEY_ROTATIONS_FILE
            ", tile/LEVEL/N or tile/entries/N (c2sp.org/tlog-tiles)",
            STR_ARG(name));
    path = file_join(audit_log_folder(call), arena_cstr(call->arena, name));
    if (!path)
        return ERR_NOMEM;
    if (!file_exists(path)) {
        struct pruned pruned;
        free(path);
        if (str_starts(name, STR("tile/entries/")) &&
            prune_load(call, &pruned) == ERR_OK && pruned.entries > 0)
            return FAIL(call, ERR_NOTFOUND,
                "the log has no file \"%.*s\": entry bundles below its "
                "minimum index, %llu, were pruned",
                STR_ARG(name),
                (unsigned long long)pruned_minimum_index(&pruned));
        return FAIL(call, ERR_NOTFOUND,
            "the log has no file \"%.*s\" (yet, or any more: incomplete tiles "
            "go when the checkpoint has moved on)",
            STR_ARG(name));
    }
    err = record_reading(call, name);
    if (!err)
        err = file_read(path, &response->body, &call->info);
    free(path);
    if (err)
        return err;
    response->status = 200;
    response->content_type =
        tile ? "application/octet-stream" : "text/plain; charset=utf-8";
    call->answered = true;
    return ERR_OK;
}
