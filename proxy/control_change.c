/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/control_change.c - how the control state changes:
 *
 *   begin -> rows change -> record (the event waits in memory)
 *     commit: digest of the new state; outbox row per event; persons.db
 *             commits, control.db commits; the journal has the events, durable;
 *             the data plane is told; the lock is given back.
 *
 * persons.db goes first: a crash between the two leaves at most a name that
 * nobody bears (swept at the next start), never a bearer without a name. Rows
 * of the outbox that the journal has are dropped by the next change, which
 * saves a second commit. */
#include "proxy/control.h"
#include "proxy/control_priv.h"

#include "audit/entry.h"
#include "lib/encode.h"
#include "lib/log.h"
#include "lib/must.h"
#include "proxy/snapshot.h"

#include <stdio.h>

static const char *journal_trouble(enum err err)
{
    return err == ERR_FULL ? "the disk has no room for it; make room, Bailiff "
                             "tries again by "
                             "itself"
                           : "the journal cannot be written any more; see the "
                             "server's log and "
                             "start it anew";
}

enum err control_append(struct control *control, struct str entry,
    size_t time_offset, struct errinfo *info)
{
    uint64_t ticket;
    enum err err =
        journal_append(control->producer, entry, time_offset, 0, &ticket);

    if (!err) {
        journal_submit(control->producer);
        err = journal_wait(control->producer, ticket);
    }
    if (err)
        return errinfo_set(info, err == ERR_FULL ? ERR_FULL : ERR_WRONG_STATE,
            "the event could not be recorded: %s", journal_trouble(err));
    return ERR_OK;
}

/* The last row decides: one wait for all that were appended. */
enum err control_drain(struct control *control, struct errinfo *info)
{
    struct db_statement *s;
    int64_t last = control->outbox_durable;
    uint64_t ticket = 0;
    enum err err, waited;

    if (!control->outbox_waiting)
        return ERR_OK;
    err = db_prepare(control->db,
        "SELECT sequence, entry FROM outbox WHERE sequence > ?1 "
        "ORDER BY sequence",
        &s, info);
    if (err)
        return err;
    db_bind_int(s, 1, control->outbox_durable);
    while ((err = db_step(s, info)) == ERR_OK) {
        struct str entry = db_column_text(s, 1);
        size_t time_offset;

        if (audit_entry_find_time(entry, &time_offset) != ERR_OK) {
            err = errinfo_set(info, ERR_CORRUPT,
                "%s/control.db: row %lld of its outbox is no audit entry",
                control->dir, (long long)db_column_int(s, 0));
            break;
        }
        err = journal_append(control->producer, entry, time_offset, 0, &ticket);
        if (err) {
            errinfo_set(info, err, "an event could not be recorded: %s",
                journal_trouble(err));
            break;
        }
        last = db_column_int(s, 0);
    }
    db_reset(s);
    if (ticket > 0) {
        journal_submit(control->producer);
        waited = journal_wait(control->producer, ticket);
        if (waited)
            return errinfo_set(info, ERR_WRONG_STATE,
                "an event could not be recorded: %s", journal_trouble(waited));
        control->outbox_durable = last;
    }
    if (err != ERR_NOTFOUND)
        return err;
    control->outbox_waiting = false;
    return ERR_OK;
}

/* --- One change ------------------------------------------------------ */

static void end_change(struct control *control)
{
    control->in_change = false;
    control->event_count = 0;
    if (control->arena)
        arena_reset(control->arena);
    control_unlock(control);
}

static enum err drop_recorded(struct control *control, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(
        control->db, "DELETE FROM outbox WHERE sequence <= ?1", &s, info);

    if (err)
        return err;
    db_bind_int(s, 1, control->outbox_durable);
    return db_run(s, info);
}

enum err control_begin(struct control *control, struct errinfo *info)
{
    enum err err;

    CHECK_MAGIC(control, CONTROL_MAGIC);
    control_lock(control);
    MUST(!control->in_change);
    if (control->readonly || !control->started) {
        control_unlock(control);
        return errinfo_set(info, ERR_WRONG_STATE,
            "%s is open to be read only; nothing was changed", control->dir);
    }
    if (!control->arena)
        control->arena = arena_new(65536, 16u << 20);
    if (!control->arena) {
        control_unlock(control);
        return ERR_NOMEM;
    }
    /* No new change while an older one is not on record. */
    err = control_drain(control, info);
    if (!err && journal_state(audit_log_journal(control->log)) != JOURNAL_OK)
        err = errinfo_set(info, ERR_FULL,
            "nothing was changed, because it could not be recorded: %s",
            journal_trouble(
                journal_state(audit_log_journal(control->log)) == JOURNAL_FULL
                    ? ERR_FULL
                    : ERR_WRONG_STATE));
    if (!err)
        err = db_begin(control->db, info);
    if (err) {
        control_unlock(control);
        return err;
    }
    err = db_begin(control->persons, info);
    if (err) {
        db_rollback(control->db);
        control_unlock(control);
        return err;
    }
    control->in_change = true;
    err = drop_recorded(control, info);
    if (err)
        control_abandon(control);
    return err;
}

enum err control_record(struct control *control,
    const struct control_actor *actor, struct audit_act *act,
    struct errinfo *info)
{
    struct audit_act *copy;

    MUST(control->in_change);
    if (control->event_count == CONTROL_EVENTS_MAX)
        return errinfo_set(info, ERR_LIMIT,
            "one change may be at most %d events; make it in several",
            CONTROL_EVENTS_MAX);
    copy = control_copy_act(control->arena, actor, act);
    if (!copy)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    control->events[control->event_count++] = copy;
    return ERR_OK;
}

void control_abandon(struct control *control)
{
    if (!control->in_change)
        return;
    db_rollback(control->persons);
    db_rollback(control->db);
    end_change(control);
}

enum err control_outbox_add(struct control *control, struct audit_act *act,
    int64_t *last, struct errinfo *info)
{
    struct db_statement *insert;
    struct buf entry;
    size_t time_offset;
    enum err err;

    buf_init(&entry, JOURNAL_ENTRY_MAX);
    err = db_prepare(control->db,
        "INSERT INTO outbox (sequence, entry) VALUES (?1, ?2)", &insert, info);
    if (err)
        goto out;
    audit_entry_act(&entry, act, &time_offset);
    if (entry.failed) {
        err = errinfo_set(info, ERR_NOMEM,
            "the event %.*s could not be written", STR_ARG(act->type));
        goto out;
    }
    db_bind_int(insert, 1, act->outbox);
    db_bind_text(insert, 2, buf_str(&entry));
    err = db_run(insert, info);
    *last = act->outbox;
out:
    buf_fini(&entry);
    return err;
}

/* Outbox rows for all events, each with the digest of the state as it will
 * be. *last is the sequence of the last one. */
static enum err write_outbox(
    struct control *control, int64_t *last, struct errinfo *info)
{
    char hex[65];
    uint8_t digest[32];
    enum err err = db_digest(control->db, control_digest_except, digest, info);

    if (err)
        return err;
    hex_write(hex, digest, sizeof digest);
    for (size_t i = 0; i < control->event_count && !err; i++) {
        struct audit_act *act = control->events[i];

        act->control_digest = str_from(hex);
        act->outbox = control->outbox_next + (int64_t)i;
        err = control_outbox_add(control, act, last, info);
    }
    return err;
}

enum err control_commit(
    struct control *control, unsigned what, struct errinfo *info)
{
    int64_t last = 0;
    enum err err;

    MUST(control->in_change);
    MUST(control->event_count > 0); /* a change without a record */
    err = write_outbox(control, &last, info);
    if (!err)
        err = db_commit(control->persons, info);
    if (!err) {
        err = db_commit(control->db, info);
        if (err) {
            /* The names were committed: take those back that nobody has. */
            struct errinfo ignored = {0};
            db_rollback(control->db);
            if (control_sweep_persons(control, &ignored) != ERR_OK)
                log_warn("persons_not_swept", "why=\"%s\"", ignored.text);
            control->in_change = false;
            end_change(control);
            return err;
        }
    }
    if (err) {
        control_abandon(control);
        return err;
    }
    control->outbox_next = last + 1;
    control->outbox_waiting = true;
    err = control_drain(control, info);
    if (err) {
        errinfo_prefix(info, err,
            "the change stands in the database, but is neither on record nor "
            "in force yet");
        err = ERR_WRONG_STATE;
    } else if (what & CHANGED_ISSUERS) {
        err = control_declare_claims(control, info);
    }
    if (!err && control->changed && what != 0) {
        err = control->changed(control->changed_context, what, info);
        if (err) {
            errinfo_prefix(info, err,
                "the change stands and is on record, but is not in force yet");
            err = ERR_WRONG_STATE;
        }
    }
    end_change(control);
    return err;
}

enum err control_settled(
    struct control *control, char digest_hex[65], struct errinfo *info)
{
    uint8_t digest[32];
    enum err err = control_drain(control, info);

    MUST(!control->in_change);
    if (!err)
        err = db_digest(control->db, control_digest_except, digest, info);
    if (!err)
        hex_write(digest_hex, digest, sizeof digest);
    return err;
}

enum err control_event(struct control *control,
    const struct control_actor *actor, struct audit_act *act,
    struct errinfo *info)
{
    struct arena *arena;
    struct audit_act *copy;
    struct buf entry;
    size_t time_offset;
    enum err err = ERR_NOMEM;

    CHECK_MAGIC(control, CONTROL_MAGIC);
    buf_init(&entry, JOURNAL_ENTRY_MAX);
    arena = arena_new(8192, 1 << 20);
    control_lock(control);
    if (!control->producer) {
        err = errinfo_set(info, ERR_WRONG_STATE,
            "%s is open to be read only; nothing can be recorded",
            control->dir);
        goto out;
    }
    copy = arena ? control_copy_act(arena, actor, act) : NULL;
    if (!copy)
        goto out;
    audit_entry_act(&entry, copy, &time_offset);
    if (!entry.failed)
        err = control_append(control, buf_str(&entry), time_offset, info);
out:
    control_unlock(control);
    arena_free(&arena);
    buf_fini(&entry);
    return err;
}
