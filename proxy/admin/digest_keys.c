/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/digest_keys.c - the keys of content digests: a new one, by hand
 * or when its period is over, and the end of old ones. A digest under a
 * destroyed key says nothing to anybody any more, also not to whoever has the
 * very text. */
#include "proxy/admin/retention.h"

#include "lib/clock.h"

#include <sys/stat.h>

#define EXPIRED_MAX 64 /* in one run */

/* --- A new one ---------------------------------------------------------------
 */

/* Every key below the new one is replaced; those that a crash left without a
 * row, too. */
static enum err add_rows(struct admin_call *call, int64_t replaced)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT OR IGNORE INTO digest_key (number, replaced) VALUES (?1, ?2)",
        &s, &call->info);

    for (int64_t n = 1; !err && n <= replaced; n++) {
        db_bind_int(s, 1, n);
        db_bind_int(s, 2, clock_now());
        err = db_run(s, &call->info);
    }
    return err;
}

static enum err rotate(
    struct admin_call *call, struct str reason, int64_t *replaced)
{
    char number[24];
    /* The file first: a key that no row knows is harmless. */
    enum err err = keyring_rotate_digest(control_keyring(call->control),
        control_dir(call->control), replaced, &call->info);

    if (err || (err = admin_begin(call)))
        return err;
    snprintf(number, sizeof number, "%lld", (long long)*replaced + 1);
    err = add_rows(call, *replaced);
    if (!err)
        err = admin_record(call, "admin.digest_key.rotated", "digest_key",
            str_from(number), NULL, NULL, NULL, reason);
    return err ? err : admin_commit(call, CHANGED_SEALING);
}

enum err handle_digest_key_rotate(struct admin_call *call)
{
    int64_t replaced = 0;
    enum err err = admin_read_body(call, NULL, 0, NULL);

    if (!err)
        err = rotate(call, STR(""), &replaced);
    return err ? err
               : admin_answer(call, 200,
                     json_pack("{s:I, s:I}", "number", (json_int_t)replaced + 1,
                         "replaced", (json_int_t)replaced));
}

/* --- When its period is over
 * ---------------------------------------------------- */

/* Since when the current key is used: since it replaced the one before, or,
 * the first, since its file was written. */
static enum err used_since(struct admin_call *call, int64_t *since_us)
{
    struct db_statement *s;
    struct stat status;
    uint8_t key[32];
    char name[8];
    const char *path;
    int64_t number = 0;
    enum err err;

    keyring_digest_key(control_keyring(call->control), key, name);
    crypto_wipe(key, sizeof key);
    path = arena_printf(
        call->arena, "%s/keys/digest-%s.key", control_dir(call->control), name);
    if (!path)
        return FAIL(call, ERR_NOMEM, "out of memory");
    if (str_to_i64(str_from(name), &number) != ERR_OK ||
        stat(path, &status) != 0)
        return FAIL(call, ERR_IO, "cannot look at %s", path);
    *since_us = (int64_t)status.st_mtime * SECOND_US;
    err = db_prepare(call->db,
        "SELECT replaced FROM digest_key WHERE number = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_int(s, 1, number - 1);
    err = db_step(s, &call->info);
    if (!err)
        *since_us = db_column_int(s, 0);
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err digest_key_rotate_due(struct admin_call *call, bool *rotated)
{
    int64_t days = 0, since_us = 0, replaced;
    const char *reason;
    enum err err = admin_setting_int(
        call, "digest_key_days", DIGEST_KEY_DAYS_DEFAULT, &days);

    *rotated = false;
    if (err || days == 0)
        return err;
    err = used_since(call, &since_us);
    if (err || clock_now() - since_us < days * DAY_US)
        return err;
    reason = arena_printf(call->arena,
        "it was used for %lld days (digest_key_days)", (long long)days);
    err = rotate(call, str_from(reason), &replaced);
    *rotated = !err;
    return err;
}

/* --- The end of old ones
 * -------------------------------------------------------- */

static int64_t longest_days(const struct retention *retention)
{
    int64_t days = retention->lock_days;

    for (size_t i = 0; i < retention->count; i++)
        if (retention->classes[i].days > days)
            days = retention->classes[i].days;
    return days;
}

static enum err read_numbers(struct admin_call *call, const char *sql,
    int64_t before, int64_t *numbers, size_t *count)
{
    struct db_statement *s;
    enum err err = db_prepare_once(call->db, str_from(sql), &s, &call->info);

    *count = 0;
    if (err)
        return err;
    db_bind_int(s, 1, before);
    while (*count < EXPIRED_MAX && (err = db_step(s, &call->info)) == ERR_OK)
        numbers[(*count)++] = db_column_int(s, 0);
    db_finalize(&s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* On record before it is done. */
static enum err record_one(struct admin_call *call, int64_t number)
{
    struct db_statement *s;
    char text[24];
    enum err err = admin_begin(call);

    if (!err)
        err = db_prepare(call->db,
            "UPDATE digest_key SET destroyed = ?2 WHERE number = ?1", &s,
            &call->info);
    if (err)
        return err;
    db_bind_int(s, 1, number);
    db_bind_int(s, 2, clock_now());
    err = db_run(s, &call->info);
    snprintf(text, sizeof text, "%lld", (long long)number);
    if (!err)
        err = admin_record(call, "audit.digest_key_destroyed", "digest_key",
            str_from(text), NULL, NULL, NULL, STR("its period is over"));
    return err ? err : admin_commit(call, 0);
}

enum err digest_keys_expire(struct admin_call *call,
    const struct retention *retention, const struct holds *holds, size_t *count)
{
    int64_t numbers[EXPIRED_MAX];
    int64_t before = clock_now() - longest_days(retention) * DAY_US;
    size_t expired = 0, recorded = 0;
    enum err err = ERR_OK;

    *count = 0;
    if (holds->count == 0)
        err = read_numbers(call,
            "SELECT number FROM digest_key WHERE destroyed IS NULL AND "
            "replaced <= ?1 ORDER BY number",
            before, numbers, &expired);
    for (size_t i = 0; !err && i < expired; i++)
        err = record_one(call, numbers[i]);
    if (!err)
        *count = expired;
    /* Those that are on record, also where a crash came in between. */
    if (!err)
        err = read_numbers(call,
            "SELECT number FROM digest_key WHERE destroyed IS NOT NULL AND "
            "?1 = ?1 ORDER BY number DESC",
            before, numbers, &recorded);
    for (size_t i = 0; !err && i < recorded; i++)
        err = keyring_destroy_digest(control_keyring(call->control),
            control_dir(call->control), numbers[i], &call->info);
    return err;
}
