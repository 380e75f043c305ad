/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_file.c - opening and closing one file of the index, and its
 * transactions. The rows are in audit/index_rows.c. */
#include "audit/index_file.h"
#include "audit/index_posting.h"
#include "audit/index_priv.h"
#include "audit/index_tally.h"

#include "lib/file.h"
#include "lib/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BOOT_SIZE 64

/* --- Names -------------------------------------------------------------------
 */

void index_file_name(char out[INDEX_NAME_SIZE], uint64_t first)
{
    snprintf(out, INDEX_NAME_SIZE, "%012" PRIu64 ".db", first);
}

static int compare_firsts(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static bool first_of_name(const char *name, uint64_t *first)
{
    char canonical[INDEX_NAME_SIZE];
    struct str text = str_from(name);
    if (!str_ends(text, STR(".db")))
        return false;
    text.len -= 3;
    while (text.len > 1 && text.ptr[0] == '0') {
        text.ptr++;
        text.len--;
    }
    if (str_to_u64(text, first) != ERR_OK)
        return false;
    index_file_name(canonical, *first);
    return strcmp(canonical, name) == 0;
}

enum err index_list_load(
    const char *dir, struct index_list *out, struct errinfo *info)
{
    struct index_list list = {0};
    size_t room = 0;
    enum err err = ERR_OK;
    DIR *folder = opendir(dir);
    if (!folder && errno == ENOENT) {
        *out = list;
        return ERR_OK;
    }
    if (!folder)
        return errinfo_errno(info, ERR_IO, "cannot read %s", dir);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        uint64_t first;
        if (!first_of_name(entry->d_name, &first))
            continue;
        if (list.count == room) {
            room = room ? 2 * room : 16;
            uint64_t *grown = realloc(list.firsts, room * sizeof(*list.firsts));
            if (!grown) {
                err = errinfo_set(info, ERR_NOMEM, "out of memory");
                goto out;
            }
            list.firsts = grown;
        }
        list.firsts[list.count++] = first;
    }
    if (list.count > 0)
        qsort(list.firsts, list.count, sizeof(*list.firsts), compare_firsts);
    *out = list;
    list.firsts = NULL;
out:
    closedir(folder);
    index_list_fini(&list);
    return err;
}

void index_list_fini(struct index_list *list)
{
    free(list->firsts);
    list->firsts = NULL;
}

static char *path_of(const char *dir, uint64_t first)
{
    char name[INDEX_NAME_SIZE];
    index_file_name(name, first);
    return file_join(dir, name);
}

/* --- The mark of being written -----------------------------------------------
 */

/* Empty where the system does not tell: then no boot is like another. */
static struct str this_boot(char out[BOOT_SIZE])
{
    struct buf text;
    size_t length = 0;
    buf_init(&text, BOOT_SIZE - 1);
    if (file_read("/proc/sys/kernel/random/boot_id", &text, NULL) == ERR_OK) {
        struct str id = buf_str(&text);
        while (length < id.len && id.ptr[length] > ' ')
            length++;
        memcpy(out, id.ptr, length);
    }
    buf_fini(&text);
    out[length] = '\0';
    return str_make(out, length);
}

enum err index_state_read(
    struct db *db, struct index_state *out, struct errinfo *info)
{
    char boot[BOOT_SIZE];
    struct db_statement *select;
    enum err err = db_prepare(db,
        "SELECT first, span, next, first_time, last_time, clean, boot, last, "
        "posted FROM state",
        &select, info);
    if (err != ERR_OK)
        return err;
    err = db_step(select, info);
    if (err == ERR_NOTFOUND)
        return errinfo_set(
            info, ERR_CORRUPT, "an index file does not say what it covers");
    if (err != ERR_OK)
        return err;
    struct str now = this_boot(boot);
    *out = (struct index_state){
        .first = (uint64_t)db_column_int(select, 0),
        .span = (uint64_t)db_column_int(select, 1),
        .next = (uint64_t)db_column_int(select, 2),
        .first_time_us = db_column_int(select, 3),
        .last_time_us = db_column_int(select, 4),
        .clean = db_column_int(select, 5) != 0,
        .same_boot = now.len > 0 && str_equal(now, db_column_text(select, 6)),
        .posted = (uint64_t)db_column_int(select, 8),
    };
    struct str last = db_column_blob(select, 7);
    out->has_last = last.len == sizeof(out->last);
    if (out->has_last)
        memcpy(out->last, last.ptr, sizeof(out->last));
    db_reset(select);
    return ERR_OK;
}

static enum err sync_file(const char *path, struct errinfo *info)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errinfo_errno(info, ERR_IO, "cannot open %s", path);
    enum err err = ERR_OK;
    if (fsync(fd) != 0)
        err = errinfo_errno(info, ERR_IO, "cannot sync %s", path);
    close(fd);
    return err;
}

static enum err mark(struct index_file *file, bool clean, struct errinfo *info)
{
    char boot[BOOT_SIZE];
    struct db_statement *update;
    enum err err = db_prepare(
        file->db, "UPDATE state SET clean = ?1, boot = ?2", &update, info);
    if (err != ERR_OK)
        return err;
    db_bind_int(update, 1, clean);
    db_bind_text(update, 2, this_boot(boot));
    err = db_run(update, info);
    if (err == ERR_OK)
        err = sync_file(file->path, info);
    return err;
}

/* --- Opening and closing -----------------------------------------------------
 */

static enum err make_state(struct index_file *file, uint64_t first,
    uint64_t span, struct errinfo *info)
{
    struct db_statement *insert;
    enum err err = db_prepare(file->db,
        "INSERT INTO state (only, first, span, next, clean, boot, posted, "
        "last) VALUES (1, ?1, ?2, ?1, 1, '', ?1, x'')",
        &insert, info);
    if (err != ERR_OK)
        return err;
    db_bind_int(insert, 1, (int64_t)first);
    db_bind_int(insert, 2, (int64_t)span);
    return db_run(insert, info);
}

static enum err load_state(struct index_file *file, uint64_t first,
    uint64_t span, bool create, struct errinfo *info)
{
    enum err err = index_state_read(file->db, &file->state, info);
    if (err == ERR_CORRUPT && create) {
        err = make_state(file, first, span, info);
        if (err == ERR_OK)
            err = index_state_read(file->db, &file->state, info);
    }
    if (err != ERR_OK)
        return err;
    struct index_state *state = &file->state;
    if (state->first != first || state->span == 0 || state->next < first ||
        state->next - first > state->span || state->posted < first ||
        state->posted > state->next)
        return errinfo_set(info, ERR_CORRUPT,
            "%s says that it covers entries %" PRIu64 " to %" PRIu64
            ": it is damaged or was renamed",
            file->path, state->first, state->first + state->span);
    if (!state->clean && !state->same_boot)
        return errinfo_set(info, ERR_CORRUPT,
            "%s was being written when the machine stopped", file->path);
    return ERR_OK;
}

enum err index_file_open(const char *dir, uint64_t first, uint64_t span,
    struct index_file **out, struct errinfo *info)
{
    enum err err = ERR_NOMEM;
    struct index_file *file = calloc(1, sizeof(*file));
    if (!file)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    file->path = path_of(dir, first);
    file->words = index_words_new();
    file->recent = calloc(INDEX_RECENT, sizeof(*file->recent));
    buf_init(&file->scratch, 1u << 20);
    if (!file->path || !file->words || !file->recent) {
        errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    bool create = span != 0 && !file_exists(file->path);
    err = db_open(file->path, DB_INDEX, create, &file->db, info);
    /* A spilling cache would lock readers out until the commit. */
    if (err == ERR_OK)
        err = db_execute(
            file->db, "PRAGMA cache_spill=0; PRAGMA cache_size=-32768;", info);
    if (err == ERR_OK)
        err = load_state(file, first, span, create, info);
    if (err == ERR_OK)
        err = index_tally_prepare(file->db, info);
    if (err == ERR_OK)
        err = index_tally_end(file->db, file->state.first >> TALLY_SHIFT,
            &file->tally_from, info);
    file->tally_lost = true; /* perhaps */
    if (err == ERR_OK)
        err = mark(file, false, info);
    if (err == ERR_OK) {
        *out = file;
        file = NULL;
    }
out:
    index_file_close(&file, false);
    return err;
}

/* Blocks whose sums were taken away get them again. Without them, counting
 * reads rows: a failure costs time, no more. */
static void restore_sums(struct index_file *file)
{
    uint64_t from = file->state.first >> TALLY_SHIFT;
    struct errinfo why;
    if (db_begin(file->db, &why) != ERR_OK)
        return;
    if (index_tally_until(file->db, &from, file->tally_from, &why) != ERR_OK ||
        db_commit(file->db, &why) != ERR_OK)
        db_rollback(file->db);
}

void index_file_close(struct index_file **file_ref, bool clean)
{
    struct index_file *file = *file_ref;
    if (!file)
        return;
    if (file->db) {
        index_file_rollback(file);
        if (clean)
            restore_sums(file);
        /* First the rows, then the mark: each synced. The folder too, or a
         * rollback journal might come back from the dead. */
        if (clean && sync_file(file->path, NULL) == ERR_OK &&
            mark(file, true, NULL) == ERR_OK) {
            char *slash = strrchr(file->path, '/');
            *slash = '\0';
            struct errinfo why;
            if (file_sync_dir(file->path, &why) != ERR_OK)
                log_warn("index_sync_failed", "reason=\"%s\"", why.text);
        }
        db_close(&file->db);
    }
    index_words_free(&file->words);
    free(file->recent);
    buf_fini(&file->scratch);
    free(file->path);
    free(file);
    *file_ref = NULL;
}

enum err index_file_set_aside(
    const char *dir, uint64_t first, struct errinfo *info)
{
    static const char *const tails[] = {"", "-journal"};
    enum err err = ERR_OK;
    char *path = path_of(dir, first);
    if (!path)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < 2 && err == ERR_OK; i++) {
        struct buf from, to;
        buf_init(&from, 8192);
        buf_init(&to, 8192);
        buf_printf(&from, "%s%s", path, tails[i]);
        buf_printf(&to, "%s.damaged%s", path, tails[i]);
        if (from.failed || to.failed)
            err = errinfo_set(info, ERR_NOMEM, "out of memory");
        else if (rename(buf_cstr(&from), buf_cstr(&to)) != 0 && errno != ENOENT)
            err = errinfo_errno(info, ERR_IO, "cannot rename %s", path);
        buf_fini(&from);
        buf_fini(&to);
    }
    free(path);
    return err;
}

uint64_t index_file_first(const struct index_file *file)
{
    return file->state.first;
}

uint64_t index_file_next(const struct index_file *file)
{
    return file->state.next;
}

uint64_t index_file_end(const struct index_file *file)
{
    return file->state.first + file->state.span;
}

bool index_file_is_there(const struct index_file *file)
{
    return file_exists(file->path);
}

const struct index_state *index_file_state(const struct index_file *file)
{
    return &file->state;
}

/* --- Transactions
 * --------------------------------------------------------------
 */

enum err index_file_begin(struct index_file *file, struct errinfo *info)
{
    if (file->in_transaction)
        return ERR_OK;
    enum err err = db_begin(file->db, info);
    file->in_transaction = err == ERR_OK;
    return err;
}

/* So many entries behind a block's last one most of its requests have ended. */
#define TALLY_BEHIND 16384u

/* The blocks that are well behind, and all of a file that is full. Whenever it
 * comes to a new one, those that lost their sums get them again. */
static enum err sum_up(
    struct index_file *file, uint64_t next, struct errinfo *info)
{
    uint64_t end = file->state.first + file->state.span;
    uint64_t block =
        next > TALLY_BEHIND ? (next - TALLY_BEHIND) >> TALLY_SHIFT : 0;
    if (next >= end)
        block = (end + (UINT64_C(1) << TALLY_SHIFT) - 1) >> TALLY_SHIFT;
    if (block <= file->tally_from)
        return ERR_OK;
    if (file->tally_lost)
        file->tally_from = file->state.first >> TALLY_SHIFT;
    file->tally_lost = false;
    return index_tally_until(file->db, &file->tally_from, block, info);
}

/* The chunks that are a little behind, and all of a file that is full. */
static enum err lay_out(struct index_file *file, uint64_t next,
    uint64_t *posted, struct errinfo *info)
{
    uint64_t until = next > POSTING_BEHIND ? next - POSTING_BEHIND : 0;
    until = until >> POSTING_SHIFT << POSTING_SHIFT;
    if (next >= file->state.first + file->state.span)
        until = next;
    *posted = file->state.posted;
    if (until <= *posted)
        return ERR_OK;
    enum err err = posting_lay_out(file->db, *posted, until, info);
    if (err == ERR_OK)
        *posted = until;
    return err;
}

enum err index_file_commit(struct index_file *file, uint64_t next,
    const uint8_t *last, struct errinfo *info)
{
    struct db_statement *update;
    uint64_t posted = file->state.posted;
    if (!file->in_transaction)
        return ERR_OK;
    if (next != 0) {
        enum err err = lay_out(file, next, &posted, info);
        if (err == ERR_OK)
            err = db_prepare(file->db,
                "UPDATE state SET next = ?1, posted = ?5, "
                "first_time = coalesce(first_time, ?2), "
                "last_time = coalesce(?3, last_time), "
                "last = coalesce(?4, last)",
                &update, info);
        if (err != ERR_OK)
            return err;
        db_bind_int(update, 1, (int64_t)next);
        if (file->batch_first_us == 0) {
            db_bind_null(update, 2);
            db_bind_null(update, 3);
        } else {
            db_bind_int(update, 2, file->batch_first_us);
            db_bind_int(update, 3, file->batch_last_us);
        }
        if (last)
            db_bind_blob(update, 4, last, SHA256_SIZE);
        else
            db_bind_null(update, 4);
        db_bind_int(update, 5, (int64_t)posted);
        err = db_run(update, info);
        if (err == ERR_OK)
            err = sum_up(file, next, info);
        if (err != ERR_OK)
            return err;
    }
    enum err err = db_commit(file->db, info);
    if (err != ERR_OK)
        return err;
    file->in_transaction = false;
    file->batch_first_us = 0;
    if (next != 0)
        file->state.next = next;
    file->state.posted = posted;
    return ERR_OK;
}

void index_file_rollback(struct index_file *file)
{
    if (!file->in_transaction)
        return;
    db_rollback(file->db);
    file->in_transaction = false;
    file->batch_first_us = 0;
    index_words_clear(file->words);
    memset(file->recent, 0, INDEX_RECENT * sizeof(*file->recent));
}
