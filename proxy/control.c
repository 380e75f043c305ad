/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/control.c - opening, starting and closing the control state of DIR.
 * How a change is made is in control_change.c. */
#include "proxy/control.h"
#include "proxy/control_priv.h"

#include "audit/entry.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/must.h"
#include "policy/claims.h"
#include "proxy/backup_copies.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

const char *const control_digest_except[] = {
    "outbox", "control_event", "idempotent_answer", NULL};

/* --- The lock -------------------------------------------------------- */

static void read_holder(int fd, char *out, size_t size)
{
    ssize_t n = pread(fd, out, size - 1, 0);

    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

static enum err take_lock(struct control *control, struct errinfo *info)
{
    char *path = file_join(control->dir, "lock");
    char text[32];
    enum err err = ERR_OK;
    int n;

    if (!path)
        return ERR_NOMEM;
    control->lock_fd =
        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (control->lock_fd < 0) {
        err = errinfo_errno(info, ERR_IO, "%s", path);
        goto out;
    }
    if (flock(control->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            err = errinfo_errno(info, ERR_IO, "%s: flock", path);
            goto out;
        }
        read_holder(control->lock_fd, text, sizeof text);
        err = errinfo_set(info, ERR_AGAIN,
            "%s is in use by process %s (see %s): only one process may write "
            "it; stop that one, or let it do the work through its admin socket",
            control->dir, text[0] ? text : "?", path);
        goto out;
    }
    n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(control->lock_fd, 0) != 0 ||
        file_pwrite(control->lock_fd, text, (size_t)n, 0) != ERR_OK)
        err = errinfo_errno(info, ERR_IO, "%s", path);
out:
    if (err && control->lock_fd >= 0) {
        close(control->lock_fd);
        control->lock_fd = -1;
    }
    free(path);
    return err;
}

/* --- Claims ---------------------------------------------------------- */

enum err control_declare_claims(struct control *control, struct errinfo *info)
{
    struct policy_claim_type types[POLICY_CLAIM_TYPES_MAX];
    struct arena *arena = arena_new(4096, 65536);
    struct db_statement *s;
    size_t count = 0;
    enum err err = arena ? db_prepare(control->db,
                               "SELECT name, type FROM claim_attribute "
                               "ORDER BY name",
                               &s, info)
                         : ERR_NOMEM;

    while (!err && (err = db_step(s, info)) == ERR_OK) {
        struct str name = arena_copy(arena, db_column_text(s, 0));
        if (count == POLICY_CLAIM_TYPES_MAX || !name.ptr ||
            !policy_claim_kind_find(db_column_text(s, 1), &types[count].kind)) {
            db_reset(s);
            err = errinfo_set(info, ERR_LIMIT,
                "the attributes of claims cannot be read: more than %d, or "
                "out of memory",
                POLICY_CLAIM_TYPES_MAX);
            break;
        }
        types[count++].name = name;
    }
    if (err == ERR_NOTFOUND)
        err = policy_claims_declare(types, count, info);
    arena_free(&arena);
    return err;
}

/* --- Opening --------------------------------------------------------- */

static enum err open_database(struct control *control, const char *name,
    enum db_kind kind, struct db **out, struct errinfo *info)
{
    char *path = file_join(control->dir, name);
    enum err err;

    if (!path)
        return ERR_NOMEM;
    if (!file_exists(path))
        err = errinfo_set(info, ERR_NOTFOUND,
            "%s holds no Bailiff state: %s is missing. `bailiff init %s` makes "
            "a new one; -C DIR or BAILIFF_STATE names another",
            control->dir, name, control->dir);
    else if (control->readonly)
        err = db_open_readonly(path, kind, out, info);
    else
        err = db_open(path, kind, false, out, info);
    free(path);
    return err;
}

static void report_recovery(const struct audit_replayed *replayed)
{
    if (replayed->torn_frame)
        log_warn("journal_recovered",
            "what=torn_last_frame entries=%llu "
            "note=\"the last write had not ended; nothing of it was released\"",
            (unsigned long long)replayed->size);
    if (replayed->recovered_tail > 0)
        log_warn("journal_recovered",
            "what=unsealed_tail copied=%llu entries=%llu",
            (unsigned long long)replayed->recovered_tail,
            (unsigned long long)replayed->size);
}

static enum err open_log(struct control *control,
    const struct control_options *options, struct errinfo *info)
{
    struct settings *settings = NULL;
    struct audit_log_options log_options = {
        .state_dir = control->dir,
        .segment_bytes = options->segment_bytes,
        .without_index = options->without_index,
    };
    const struct audit_replayed *replayed;
    struct buf findings;
    enum err err;

    /* The settings say where the signing key is; who starts a server has told
     * of what is wrong with them. */
    buf_init(&findings, 65536);
    if (settings_load(control->dir, &settings, &findings) == ERR_OK)
        log_options.key_file = settings->log_key_file;
    buf_fini(&findings);
    err = audit_log_open(&log_options, &control->log, info);
    settings_free(&settings);
    if (err)
        return err;
    replayed = audit_log_replayed(control->log);
    report_recovery(replayed);
    control->outbox_durable = replayed->outbox;
    control->open_count = replayed->open_count;
    if (replayed->open_count > 0) {
        control->open = calloc(replayed->open_count, sizeof *control->open);
        if (!control->open)
            return ERR_NOMEM;
        memcpy(control->open, replayed->open,
            replayed->open_count * sizeof *control->open);
    }
    control->bucket_count = replayed->bucket_count;
    if (replayed->bucket_count > 0) {
        control->buckets =
            calloc(replayed->bucket_count, sizeof *control->buckets);
        if (!control->buckets)
            return ERR_NOMEM;
        memcpy(control->buckets, replayed->buckets,
            replayed->bucket_count * sizeof *control->buckets);
    }
    return ERR_OK;
}

/* --- The control state against the record ---------------------------- */

/* Where the outbox stands; *expected is the digest that its last row names,
 * empty when nothing waits in it. */
static enum err read_outbox(
    struct control *control, struct buf *expected, struct errinfo *info)
{
    struct db_statement *s;
    enum err err;

    control->outbox_next = control->outbox_durable + 1;
    err = db_prepare(control->db,
        "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'", &s, info);
    if (err)
        return err;
    err = db_step(s, info);
    if (err == ERR_OK && db_column_int(s, 0) >= control->outbox_next)
        control->outbox_next = db_column_int(s, 0) + 1;
    db_reset(s);
    if (err && err != ERR_NOTFOUND)
        return err;

    err = db_prepare(control->db,
        "SELECT entry FROM outbox WHERE sequence > ?1 "
        "ORDER BY sequence DESC LIMIT 1",
        &s, info);
    if (err)
        return err;
    db_bind_int(s, 1, control->outbox_durable);
    err = db_step(s, info);
    if (err == ERR_OK) {
        struct arena *arena = arena_new(16384, 1 << 20);
        struct json json;
        uint32_t at;

        control->outbox_waiting = true;
        if (arena &&
            json_parse(arena, db_column_text(s, 0), NULL, &json, NULL) ==
                ERR_OK &&
            (at = json_find(&json, 0, STR("controlDigest"))) != JSON_NONE)
            buf_append_str(expected, json_raw(&json, at));
        else
            err = errinfo_set(info, ERR_CORRUPT,
                "%s/control.db: a row of its outbox is no audit entry",
                control->dir);
        arena_free(&arena);
    }
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err compare_digest(struct control *control,
    const struct control_options *options, struct errinfo *info)
{
    const struct audit_replayed *replayed = audit_log_replayed(control->log);
    struct buf expected;
    uint8_t digest[32];
    enum err err;

    buf_init(&expected, 256);
    err = read_outbox(control, &expected, info);
    if (err)
        goto out;
    if (options->fresh)
        goto out;
    err = db_digest(control->db, control_digest_except, digest, info);
    if (err)
        goto out;
    hex_write(control->adopt_after, digest, sizeof digest);
    if (expected.len == 0 && replayed->has_control_digest)
        hex_append(&expected, replayed->control_digest, 32);
    if (str_equal(buf_str(&expected), str_from(control->adopt_after)))
        goto out;
    if (!options->adopt) {
        err = errinfo_set(info, ERR_CORRUPT,
            "%s/control.db is not the state that is on record (%s on record, "
            "%s found): someone changed it behind Bailiff's back, or it is an "
            "old copy. Put the right file back, or accept what is there and "
            "have that recorded: bailiff check %s --adopt --reason TEXT",
            control->dir, expected.len > 0 ? buf_cstr(&expected) : "nothing",
            control->adopt_after, control->dir);
        goto out;
    }
    control->adopting = true;
    snprintf(control->adopt_before, sizeof control->adopt_before, "%.*s",
        STR_ARG(buf_str(&expected)));
out:
    buf_fini(&expected);
    return err;
}

/* The event of the migration, with the digest that the new tables have; within
 * the transaction, so that a crash leaves both or neither. */
static enum err record_migration(void *context, struct errinfo *info)
{
    static const struct control_actor actor = {
        .id = "system", .method = "system"};
    struct control *control = context;
    struct audit_act act = {
        .type = STR("system.state.migrated"),
        .object_kind = STR("control_state"),
        .reason = STR("this program has newer tables"),
    };
    char hex[65], before[128];
    uint8_t digest[32];
    int64_t last;
    struct audit_act *copy;
    struct arena *arena = arena_new(8192, 65536);
    enum err err = arena ? ERR_OK : ERR_NOMEM;

    if (!err)
        err = db_digest(control->db, control_digest_except, digest, info);
    if (err)
        goto out;
    hex_write(hex, digest, sizeof digest);
    snprintf(before, sizeof before, "{\"controlDigest\":\"%s\"}",
        control->adopt_after);
    act.object = str_from(hex);
    act.before = str_from(before);
    if (control->adopting) {
        /* The adoption itself will say what the state is now. */
        memcpy(control->adopt_after, hex, sizeof hex);
        goto out;
    }
    copy = control_copy_act(arena, &actor, &act);
    if (copy) {
        copy->control_digest = str_from(hex);
        copy->outbox = control->outbox_next;
        err = control_outbox_add(control, copy, &last, info);
    } else {
        err = ERR_NOMEM;
    }
    if (!err) {
        control->outbox_next = last + 1;
        control->outbox_waiting = true;
    }
out:
    arena_free(&arena);
    return err;
}

static enum err migrate(struct control *control, struct errinfo *info)
{
    int64_t version = db_older(control->db);
    enum err err;

    if (version == 0)
        return ERR_OK;
    err = db_migrate(control->db, DB_CONTROL, record_migration, control, info);
    if (!err)
        log_info("state_migrated", "from_version=%lld", (long long)version);
    return err;
}

enum err control_sweep_persons(struct control *control, struct errinfo *info)
{
    struct db_statement *persons, *known, *drop;
    enum err err, more = ERR_OK;

    err = db_prepare(
        control->persons, "SELECT id FROM person ORDER BY id", &persons, info);
    if (!err)
        err = db_prepare(control->db,
            "SELECT id FROM caller UNION ALL SELECT id FROM administrator "
            "ORDER BY id",
            &known, info);
    if (!err)
        err = db_prepare(
            control->persons, "DELETE FROM person WHERE id = ?1", &drop, info);
    if (err)
        return err;
    more = db_step(known, info);
    while ((err = db_step(persons, info)) == ERR_OK) {
        struct str id = db_column_text(persons, 0);

        /* Both come in order of their ids: what stands before is passed. */
        while (more == ERR_OK && str_compare(db_column_text(known, 0), id) < 0)
            more = db_step(known, info);
        if (more != ERR_OK && more != ERR_NOTFOUND)
            err = more;
        else if (more == ERR_NOTFOUND ||
                 !str_equal(db_column_text(known, 0), id)) {
            db_bind_text(drop, 1, id);
            err = db_run(drop, info);
        }
        if (err)
            break;
    }
    db_reset(persons);
    db_reset(known);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err control_open(const struct control_options *options,
    struct control **out, struct errinfo *info)
{
    struct control *control = calloc(1, sizeof *control);
    pthread_mutexattr_t attributes;
    enum err err;

    if (!control)
        return ERR_NOMEM;
    control->magic = CONTROL_MAGIC;
    control->lock_fd = -1;
    control->readonly = options->without_lock;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&control->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    control->dir = strdup(options->dir);
    if (options->adopt)
        control->adopt_reason =
            strdup(options->adopt_reason ? options->adopt_reason : "");
    if (!control->dir || (options->adopt && !control->adopt_reason)) {
        err = ERR_NOMEM;
        goto out;
    }
    if (!file_exists(control->dir)) {
        err = errinfo_set(info, ERR_NOTFOUND,
            "%s does not exist; `bailiff init %s` makes it", control->dir,
            control->dir);
        goto out;
    }
    if (!control->readonly && (err = take_lock(control, info)))
        goto out;
    if (!control->readonly)
        backup_copies_sweep(control->dir, 0);
    control->key_usage = key_usage_open(control->dir);
    if (!control->key_usage) {
        err = ERR_NOMEM;
        goto out;
    }
    err = open_database(control, "control.db", DB_CONTROL, &control->db, info);
    if (!err)
        err = open_database(
            control, "persons.db", DB_PERSONS, &control->persons, info);
    if (!err)
        err = keyring_open(
            control->dir, control->persons, &control->keyring, info);
    if (!err && !control->readonly)
        err = open_log(control, options, info);
    if (!err && !control->readonly)
        err = compare_digest(control, options, info);
    if (!err && !control->readonly)
        err = migrate(control, info);
    if (!err && !control->readonly && !control->adopting)
        err = control_sweep_persons(control, info);
    /* (One that is older and only looked at has none.) */
    if (!err && db_older(control->db) == 0)
        err = control_declare_claims(control, info);
out:
    if (err) {
        if (info && !info->text[0])
            errinfo_set(info, err, "%s: %s", options->dir, err_name(err));
        control_close(&control);
        return err;
    }
    *out = control;
    return ERR_OK;
}

/* --- Starting -------------------------------------------------------- */

static void nothing_to_wake(void *context)
{
    (void)context;
}

static void new_entry_id(char out[ULID_LENGTH], int64_t now)
{
    uint8_t random[10];

    crypto_random_id(random, sizeof random);
    ulid_write(out, now, random);
}

/* An admission without completion is charged its reservation. */
static enum err close_interrupted(struct control *control, struct errinfo *info)
{
    struct buf entry;
    uint64_t ticket = 0;
    enum err err = ERR_OK;

    buf_init(&entry, JOURNAL_ENTRY_MAX);
    for (size_t i = 0; i < control->open_count && !err; i++) {
        const struct audit_completed completed = {
            .id = str_from(control->open[i].id),
            .time_us = clock_now(),
            .outcome = STR("interrupted"),
            .reason = STR("the server stopped before the request had ended"),
            .input_tokens = -1,
            .output_tokens = -1,
            .cached_tokens = -1,
            .cost = -1,
            .reasoning_tokens = -1,
            .usage_source = STR("reserved"),
            .durable_us = -1,
            .first_byte_us = -1,
            .total_us = -1,
        };
        size_t time_offset;

        buf_clear(&entry);
        audit_entry_completed(&entry, &completed, &time_offset);
        if (entry.failed)
            err = ERR_NOMEM;
        else
            err = journal_append(
                control->producer, buf_str(&entry), time_offset, 0, &ticket);
        if (err == ERR_FULL) {
            /* The producer's buffer is full: let it drain. */
            journal_submit(control->producer);
            if (ticket > 0 && journal_wait(control->producer, ticket) == ERR_OK)
                err = journal_append(control->producer, buf_str(&entry),
                    time_offset, 0, &ticket);
        }
        if (!err && i + 1 == control->open_count) {
            journal_submit(control->producer);
            err = journal_wait(control->producer, ticket);
        }
    }
    if (err)
        errinfo_set(info, err,
            "%s/journal: the requests that the last stop interrupted could "
            "not be recorded (%s)",
            control->dir, err_name(err));
    else if (control->open_count > 0)
        log_warn("requests_interrupted", "count=%zu", control->open_count);
    buf_fini(&entry);
    return err;
}

static enum err record_adoption(struct control *control, struct errinfo *info)
{
    static const struct control_actor actor = {.method = "offline"};
    struct audit_act act = {
        .type = STR("admin.state.adopted"),
        .object_kind = STR("control_state"),
        .object = str_from(control->adopt_after),
        .reason = str_from(control->adopt_reason),
    };
    struct buf before, entry;
    struct arena *arena = arena_new(8192, 65536);
    struct audit_act *copy;
    size_t time_offset;
    enum err err = ERR_NOMEM;

    buf_init(&before, 256);
    buf_init(&entry, JOURNAL_ENTRY_MAX);
    buf_printf(&before, "{\"controlDigest\":\"%s\"}", control->adopt_before);
    act.before = buf_str(&before);
    copy = arena ? control_copy_act(arena, &actor, &act) : NULL;
    if (copy) {
        copy->control_digest = str_from(control->adopt_after);
        audit_entry_act(&entry, copy, &time_offset);
        if (!entry.failed)
            err = control_append(control, buf_str(&entry), time_offset, info);
    }
    if (!err)
        control->adopting = false;
    arena_free(&arena);
    buf_fini(&before);
    buf_fini(&entry);
    return err;
}

enum err control_start(struct control *control,
    void (*failed)(void *context, const char *why), void *context,
    struct errinfo *info)
{
    enum err err;

    CHECK_MAGIC(control, CONTROL_MAGIC);
    if (control->readonly)
        return errinfo_set(info, ERR_WRONG_STATE,
            "%s was opened to be read only", control->dir);
    err = audit_log_start(control->log, failed, context, info);
    if (err)
        return err;
    control->started = true;
    err = journal_producer_new(audit_log_journal(control->log),
        CONTROL_PRODUCER_MAX, nothing_to_wake, NULL, &control->producer);
    if (err)
        return err;
    control_lock(control);
    err = control_drain(control, info);
    if (!err)
        err = close_interrupted(control, info);
    if (!err && control->adopting)
        err = record_adoption(control, info);
    control_unlock(control);
    return err;
}

static void save_key_usage(struct control *control)
{
    struct errinfo info = {0};

    if (control->key_usage && !control->readonly &&
        key_usage_save(control->key_usage, &info) != ERR_OK)
        log_warn("key_usage_not_saved", "reason=\"%s\"", info.text);
}

void control_close(struct control **control_ref)
{
    struct control *control = *control_ref;

    if (!control)
        return;
    if (control->in_change)
        control_abandon(control);
    journal_producer_free(&control->producer);
    audit_log_stop(&control->log);
    save_key_usage(control);
    key_usage_free(&control->key_usage);
    keyring_free(&control->keyring);
    db_close(&control->persons);
    db_close(&control->db);
    arena_free(&control->arena);
    if (control->lock_fd >= 0)
        close(control->lock_fd); /* the file stays: unlinking it would race */
    pthread_mutex_destroy(&control->mutex);
    free(control->open);
    free(control->buckets);
    free(control->adopt_reason);
    free(control->dir);
    control->magic = 0;
    free(control);
    *control_ref = NULL;
}

/* --- Parts ----------------------------------------------------------- */

void control_lock(struct control *control)
{
    pthread_mutex_lock(&control->mutex);
}

void control_unlock(struct control *control)
{
    pthread_mutex_unlock(&control->mutex);
}

struct db *control_db(struct control *control)
{
    return control->db;
}

struct db *control_persons(struct control *control)
{
    return control->persons;
}

struct key_usage *control_key_usage(struct control *control)
{
    return control->key_usage;
}

struct keyring *control_keyring(struct control *control)
{
    return control->keyring;
}

struct audit_log *control_log(struct control *control)
{
    return control->log;
}

const char *control_dir(const struct control *control)
{
    return control->dir;
}

const struct audit_bucket *control_buckets(
    const struct control *control, size_t *count)
{
    *count = control->bucket_count;
    return control->buckets;
}

void control_on_change(struct control *control,
    enum err (*changed)(void *context, unsigned what, struct errinfo *info),
    void *context)
{
    control->changed = changed;
    control->changed_context = context;
}

struct audit_act *control_copy_act(struct arena *arena,
    const struct control_actor *actor, const struct audit_act *act)
{
    struct audit_act *copy = ARENA_NEW(arena, struct audit_act);
    int64_t now = clock_now();
    char id[ULID_LENGTH];

    if (!copy)
        return NULL;
    new_entry_id(id, now);
    *copy = *act;
    copy->time_us = now;
    /* (One that was sealed under has its id already.) */
    copy->id =
        arena_copy(arena, act->id.len > 0 ? act->id : str_make(id, sizeof id));
    copy->type = arena_copy(arena, act->type);
    copy->actor = arena_copy(arena, str_from(actor->id));
    copy->actor_method = arena_copy(arena, str_from(actor->method));
    copy->actor_certificate = arena_copy(arena, str_from(actor->certificate));
    copy->object_kind = arena_copy(arena, act->object_kind);
    copy->object = arena_copy(arena, act->object);
    copy->before = arena_copy(arena, act->before);
    copy->after = arena_copy(arena, act->after);
    copy->detail = arena_copy(arena, act->detail);
    copy->reason = arena_copy(arena, act->reason);
    copy->sealed.key_id = arena_copy(arena, act->sealed.key_id);
    copy->sealed.box = arena_copy(arena, act->sealed.box);
    return copy->sealed.box.ptr ? copy : NULL;
}
