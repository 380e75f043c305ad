/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/newcomers.c - see proxy/newcomers.h. */
#include "proxy/newcomers.h"

#include "audit/entry.h"
#include "lib/clock.h"
#include "lib/encode.h"
#include "lib/json_write.h"
#include "lib/log.h"
#include "lib/must.h"
#include "proxy/name.h"
#include "proxy/secret.h"
#include "proxy/snapshot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define WAITING_MAX 1024
#define BATCH_MAX 64 /* events of one change */
#define SUBJECT_MAX 1024
#define CLIENT_MAX 256

struct newcomers {
    struct control *control;
    struct crypto_aead *aead;
    pthread_mutex_t mutex;
    pthread_cond_t some;
    struct newcomer *first, *last;
    size_t waiting;
    bool stopping;
    pthread_t thread;
};

/* What the issuer's row says. */
struct welcome {
    char team[NAME_BYTES_MAX + 1]; /* "": none */
    char kind[16];
    int64_t per_minute, most;
};

/* --- Looking ------------------------------------------------------------- */

/* One number of one row. ERR_NOTFOUND: no row. */
static enum err ask(struct db *db, const char *sql, struct str text,
    int64_t number, int64_t *out, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db, sql, &s, info);

    if (err)
        return err;
    db_bind_text(s, 1, text);
    db_bind_int(s, 2, number);
    err = db_step(s, info);
    if (!err)
        *out = db_column_int(s, 0);
    db_reset(s);
    return err;
}

static void copy_text(char *out, size_t size, struct str text)
{
    snprintf(out, size, "%.*s", STR_ARG(text));
}

static enum err read_welcome(struct newcomers *n, struct str issuer,
    struct welcome *out, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(control_db(n->control),
        "SELECT coalesce(just_in_time_team, ''), just_in_time_kind, "
        "just_in_time_per_minute, just_in_time_most FROM issuer "
        "WHERE name = ?1 AND just_in_time = 1",
        &s, info);

    if (err)
        return err;
    db_bind_text(s, 1, issuer);
    err = db_step(s, info);
    if (!err) {
        copy_text(out->team, sizeof out->team, db_column_text(s, 0));
        copy_text(out->kind, sizeof out->kind, db_column_text(s, 1));
        out->per_minute = db_column_int(s, 2);
        out->most = db_column_int(s, 3);
    }
    db_reset(s);
    return err;
}

/* Is somebody of that handle there, or was there? ERR_NOTFOUND: neither. */
static enum err look_for_handle(
    struct newcomers *n, struct newcomer *j, struct errinfo *info)
{
    struct db *persons = control_persons(n->control);
    uint8_t digest[32];
    struct db_statement *s;
    enum err err = db_prepare(
        persons, "SELECT id FROM person WHERE handle = ?1", &s, info);

    if (err)
        return err;
    db_bind_text(s, 1, j->handle);
    err = db_step(s, info);
    if (!err)
        j->result = str_starts(db_column_text(s, 0), STR("cal_"))
                        ? NEWCOMER_THERE
                        : NEWCOMER_TAKEN;
    db_reset(s);
    if (err != ERR_NOTFOUND)
        return err;
    err = db_prepare(
        persons, "SELECT 1 FROM erased_handle WHERE digest = ?1", &s, info);
    if (err)
        return err;
    keyring_handle_digest(control_keyring(n->control), j->handle, digest);
    db_bind_blob(s, 1, digest, sizeof digest);
    err = db_step(s, info);
    if (!err)
        j->result = NEWCOMER_ERASED;
    db_reset(s);
    return err;
}

/* ERR_NOTFOUND: both bounds leave room. */
static enum err look_at_bounds(struct newcomers *n, struct newcomer *j,
    const struct welcome *welcome, struct errinfo *info)
{
    struct db *db = control_db(n->control);
    int64_t now = clock_now(), count = 0, oldest = 0;
    enum err err =
        ask(db, "SELECT count(*) FROM caller WHERE issuer = ?1 AND ?2 = ?2",
            j->issuer, 0, &count, info);

    if (err)
        return err;
    if (count >= welcome->most) {
        j->result = NEWCOMER_TOO_MANY;
        return ERR_OK;
    }
    err = ask(db,
        "SELECT count(*) FROM caller WHERE issuer = ?1 AND created > ?2",
        j->issuer, now - MINUTE_US, &count, info);
    if (!err && count >= welcome->per_minute)
        err = ask(db,
            "SELECT min(created) FROM caller WHERE issuer = ?1 AND created > "
            "?2",
            j->issuer, now - MINUTE_US, &oldest, info);
    if (err)
        return err;
    if (count < welcome->per_minute)
        return ERR_NOTFOUND;
    j->result = NEWCOMER_TOO_FAST;
    j->wait_s = (oldest + MINUTE_US - now) / SECOND_US + 1;
    /* (a clock that was set back must not make it long) */
    if (j->wait_s < 1 || j->wait_s > 60)
        j->wait_s = 60;
    return ERR_OK;
}

/* ERR_OK: the job has its result; ERR_NOTFOUND: the caller is to be made. */
static enum err look(struct newcomers *n, struct newcomer *j,
    struct welcome *welcome, struct errinfo *info)
{
    enum err err = look_for_handle(n, j, info);

    if (err != ERR_NOTFOUND)
        return err;
    err = read_welcome(n, j->issuer, welcome, info);
    if (err == ERR_NOTFOUND || !name_is_good(j->handle) ||
        name_looks_like_id(j->handle)) {
        j->result = NEWCOMER_UNWELCOME;
        return ERR_OK;
    }
    return err ? err : look_at_bounds(n, j, welcome, info);
}

/* --- Making -------------------------------------------------------------- */

static enum err insert_rows(struct newcomers *n, struct newcomer *j,
    const struct welcome *welcome, struct str id, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(control_persons(n->control),
        "INSERT INTO person (id, handle, name) VALUES (?1, ?2, '')", &s, info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, j->handle);
    err = db_run(s, info);
    if (!err)
        err = db_prepare(control_db(n->control),
            "INSERT INTO caller (id, kind, created, issuer) VALUES "
            "(?1, ?2, ?3, ?4)",
            &s, info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, str_from(welcome->kind));
    db_bind_int(s, 3, clock_now());
    db_bind_text(s, 4, j->issuer);
    err = db_run(s, info);
    if (err || welcome->team[0] == '\0')
        return err;
    err = db_prepare(control_db(n->control),
        "INSERT INTO caller_team (caller, team) VALUES (?1, ?2)", &s, info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, str_from(welcome->team));
    return db_run(s, info);
}

/* The subject is personal: under the caller's own key, so that it goes with
 * the rest of what is personal when the caller is erased. */
static enum err seal_subject(struct newcomers *n, const struct newcomer *j,
    struct str id, struct str entry, struct seal_key *key, struct buf *box,
    struct errinfo *info)
{
    struct json_writer w;
    struct buf plain;
    enum err err =
        keyring_get(control_keyring(n->control), id, clock_now(), key, info);

    if (err)
        return err;
    buf_init(&plain, SEAL_PLAIN_MAX);
    json_write_init(&w, &plain);
    json_write_object(&w);
    json_write_member_string(
        &w, STR("subject"), str_cut_utf8(j->subject, SUBJECT_MAX));
    json_write_object_end(&w);
    err = plain.failed ? ERR_NOMEM
                       : seal_box(n->aead, key, entry, buf_str(&plain), box);
    buf_fini(&plain);
    return err ? errinfo_set(info, err, "the subject cannot be sealed: %s",
                     err_name(err))
               : ERR_OK;
}

static enum err record(struct newcomers *n, const struct newcomer *j,
    const struct welcome *welcome, struct str id, struct errinfo *info)
{
    static const struct control_actor actor = {
        .id = "system", .role = "admin", .method = "system"};
    uint8_t random[10];
    char entry[ULID_LENGTH];
    struct seal_key key;
    struct buf after, detail, box;
    struct json_writer w;
    enum err err;

    crypto_random_id(random, sizeof random);
    ulid_write(entry, clock_now(), random);
    buf_init(&after, 1024);
    buf_init(&detail, 4096);
    buf_init(&box, 2 * SEAL_PLAIN_MAX);
    json_write_init(&w, &after);
    json_write_object(&w);
    json_write_member_bool(&w, STR("disabled"), false);
    json_write_member_string(&w, STR("kind"), str_from(welcome->kind));
    json_write_key(&w, STR("teams"));
    json_write_array(&w);
    if (welcome->team[0] != '\0')
        json_write_string(&w, str_from(welcome->team));
    json_write_array_end(&w);
    json_write_object_end(&w);
    json_write_init(&w, &detail);
    json_write_object(&w);
    if (j->client.len > 0)
        json_write_member_string(
            &w, STR("client"), str_cut_utf8(j->client, CLIENT_MAX));
    json_write_member_string(&w, STR("issuer"), j->issuer);
    json_write_object_end(&w);
    err =
        seal_subject(n, j, id, str_make(entry, sizeof entry), &key, &box, info);
    if (!err && (after.failed || detail.failed))
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    if (!err) {
        struct audit_act act = {.type = STR("admin.caller.made"),
            .id = str_make(entry, sizeof entry),
            .object_kind = STR("caller"),
            .object = id,
            .after = buf_str(&after),
            .detail = buf_str(&detail),
            .sealed = {str_from(key.id), buf_str(&box)}};
        err = control_record(n->control, &actor, &act, info);
    }
    crypto_wipe(&key, sizeof key);
    buf_fini(&after);
    buf_fini(&detail);
    buf_fini(&box);
    return err;
}

/* Inside the change. ERR_OK: the job has its result. */
static enum err make(
    struct newcomers *n, struct newcomer *j, size_t *made, struct errinfo *info)
{
    struct welcome welcome;
    char text[ID_LENGTH + 1];
    struct str id;
    /* Once more: one before it in this change may be the same. */
    enum err err = look(n, j, &welcome, info);

    if (err != ERR_NOTFOUND)
        return err;
    err = id_make("cal_", text, info);
    id = str_from(text);
    if (!err)
        err = insert_rows(n, j, &welcome, id, info);
    if (!err)
        err = record(n, j, &welcome, id, info);
    if (err)
        return err;
    j->result = NEWCOMER_THERE;
    (*made)++;
    return ERR_OK;
}

/* All or none: what cannot be recorded has not happened. */
static enum err change(struct newcomers *n, struct newcomer **jobs,
    size_t count, struct errinfo *info)
{
    size_t made = 0;
    enum err err = control_begin(n->control, info);

    if (err)
        return err;
    for (size_t i = 0; !err && i < count; i++)
        err = make(n, jobs[i], &made, info);
    if (err || made == 0) {
        control_abandon(n->control);
        return err;
    }
    err = control_commit(n->control, CHANGED_DIRECTORY, info);
    if (!err)
        log_info("callers_added", "by=just_in_time count=%zu", made);
    return err;
}

static void fail(struct newcomer *j, const struct errinfo *info, enum err err)
{
    j->result = NEWCOMER_FAILED;
    snprintf(j->why, sizeof j->why, "%.255s",
        info->text[0] ? info->text : err_name(err));
}

/* Most of what can be refused is, without a change: so that a flood of
 * strangers past the bounds costs reads alone. */
static void do_batch(struct newcomers *n, struct newcomer *first)
{
    struct newcomer *wanted[BATCH_MAX];
    size_t count = 0;
    struct errinfo info = {0};
    struct welcome welcome;
    enum err err;

    control_lock(n->control);
    for (struct newcomer *j = first; j; j = j->next) {
        err = look(n, j, &welcome, &info);
        if (err == ERR_NOTFOUND)
            wanted[count++] = j;
        else if (err)
            fail(j, &info, err);
        info = (struct errinfo){0};
    }
    err = count > 0 ? change(n, wanted, count, &info) : ERR_OK;
    control_unlock(n->control);
    if (!err)
        return;
    for (size_t i = 0; i < count; i++)
        fail(wanted[i], &info, err);
    log_error("callers_not_added", "by=just_in_time count=%zu reason=%s", count,
        LOG_QUOTE(info.text[0] ? info.text : err_name(err)));
}

/* --- The thread ---------------------------------------------------------- */

static void give_back(struct newcomer *j)
{
    struct newcomers_inbox *inbox = j->inbox;
    struct newcomer *first = atomic_load(&inbox->first);

    do
        j->next = first;
    while (!atomic_compare_exchange_weak(&inbox->first, &first, j));
    inbox->wake(inbox->context);
}

/* At most BATCH_MAX of what waits, oldest first. */
static struct newcomer *take_batch_locked(struct newcomers *n)
{
    struct newcomer *first = n->first, *last = first;

    n->waiting--;
    for (size_t i = 1; i < BATCH_MAX && last->next; i++) {
        last = last->next;
        n->waiting--;
    }
    n->first = last->next;
    if (!n->first)
        n->last = NULL;
    last->next = NULL;
    return first;
}

static void *run(void *argument)
{
    struct newcomers *n = argument;
    struct newcomer *batch, *next;

    pthread_mutex_lock(&n->mutex);
    for (;;) {
        if (!n->first) {
            if (n->stopping)
                break;
            pthread_cond_wait(&n->some, &n->mutex);
            continue;
        }
        batch = take_batch_locked(n);
        pthread_mutex_unlock(&n->mutex);
        do_batch(n, batch);
        for (; batch; batch = next) {
            next = batch->next;
            give_back(batch); /* no longer ours */
        }
        pthread_mutex_lock(&n->mutex);
    }
    pthread_mutex_unlock(&n->mutex);
    return NULL;
}

bool newcomers_ask(struct newcomers *n, struct newcomer *j)
{
    bool taken;

    j->next = NULL;
    j->result = NEWCOMER_FAILED;
    j->why[0] = '\0';
    pthread_mutex_lock(&n->mutex);
    taken = n->waiting < WAITING_MAX && !n->stopping;
    if (taken) {
        if (n->last)
            n->last->next = j;
        else
            n->first = j;
        n->last = j;
        n->waiting++;
        pthread_cond_signal(&n->some);
    }
    pthread_mutex_unlock(&n->mutex);
    return taken;
}

struct newcomer *newcomers_take_done(struct newcomers_inbox *inbox)
{
    struct newcomer *j, *oldest = NULL;

    if (atomic_load_explicit(&inbox->first, memory_order_relaxed) == NULL)
        return NULL;
    j = atomic_exchange(&inbox->first, NULL);
    while (j) {
        struct newcomer *next = j->next;
        j->next = oldest;
        oldest = j;
        j = next;
    }
    return oldest;
}

enum err newcomers_start(
    struct control *control, struct newcomers **out, struct errinfo *info)
{
    struct newcomers *n = calloc(1, sizeof *n);

    if (!n)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    n->control = control;
    n->aead = crypto_aead_new();
    pthread_mutex_init(&n->mutex, NULL);
    pthread_cond_init(&n->some, NULL);
    if (!n->aead || pthread_create(&n->thread, NULL, run, n) != 0) {
        crypto_aead_free(&n->aead);
        pthread_cond_destroy(&n->some);
        pthread_mutex_destroy(&n->mutex);
        free(n);
        return errinfo_set(
            info, ERR_NOMEM, "the thread that makes callers cannot start");
    }
    *out = n;
    return ERR_OK;
}

void newcomers_stop(struct newcomers **newcomers)
{
    struct newcomers *n = *newcomers;

    if (!n)
        return;
    *newcomers = NULL;
    pthread_mutex_lock(&n->mutex);
    n->stopping = true;
    pthread_cond_signal(&n->some);
    pthread_mutex_unlock(&n->mutex);
    pthread_join(n->thread, NULL);
    crypto_aead_free(&n->aead);
    pthread_cond_destroy(&n->some);
    pthread_mutex_destroy(&n->mutex);
    free(n);
}
