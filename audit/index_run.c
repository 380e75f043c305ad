/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_run.c - which file, which entries, and what to do with damage.
 *
 * `current` is the newest file and takes the entries in order. An end whose
 * request was opened in an older range is written into that older file, which
 * is committed first: a crash in between repeats the end, which changes
 * nothing. A rebuild fills an older range again and then follows the ends of
 * what is still open in it; only then does its file count as whole.
 *
 * Damage of an index file is told apart from damage of the journal: the first
 * is mended here, the second is an error that the log reports too. */
#include "audit/index_run.h"
#include "audit/index_file.h"
#include "audit/journal_reader.h"

#include "lib/file.h"
#include "lib/log.h"
#include "lib/thread.h"

#include <inttypes.h>
#include <stdlib.h>

#define BATCH 16384       /* entries of one transaction */
#define WINDOW 1024       /* entries in which an end is looked for ahead */
#define WINDOW_SLOTS 4096 /* a power of two, above WINDOW */
#define COMMIT_ATTEMPTS 8 /* each waits for readers up to 5 seconds */
#define MENDS_MAX 16      /* files set aside by one run */
#define REBUILDS_MAX 256
#define PREVIOUS_KEPT 262144 /* entries of the next file */
#define WINDOW_ARENA (4u << 20)
#define ENTRIES_AT_ONCE 32 /* about 100 us; then others may run */

/* A place in the journal. */
struct source {
    struct journal_reader *reader;
    struct journal_cursor cursor;
    bool placed;
};

struct range {
    uint64_t first, end;
};

/* An entry that was read, and waits for its turn. */
struct waiting {
    struct str bytes;         /* in the arena */
    struct audit_event event; /* kind only where it could be read */
    const char *unreadable;   /* why; NULL: it is readable */
    uint16_t end;             /* of a request: where its end waits; 0: no end */
    bool done;                /* an end that went into its request's row */
};
struct window {
    struct waiting entries[WINDOW];
    size_t count;
    uint16_t slots[WINDOW_SLOTS]; /* requests by id: place + 1; 0: empty */
};

struct index_run {
    char *dir, *segments;
    uint64_t range;
    struct arena *arena; /* of the window */
    struct window *window;
    struct crypto_hash *hash;

    struct index_file *current;
    struct source follow;
    struct index_file *previous; /* an older one that ends went into; or NULL */

    struct index_file *rebuilt; /* NULL: no rebuild under way */
    struct source again;
    uint64_t again_at, again_end;
    uint64_t again_open; /* once at the end: requests without theirs */
    bool again_counted;

    struct range rebuilds[REBUILDS_MAX]; /* to come */
    size_t rebuild_count;

    bool blamed; /* the last error was damage of this index file: */
    uint64_t blamed_first;
    int mends;
};

/* --- The journal
 * ---------------------------------------------------------------
 */

static void source_close(struct source *source)
{
    journal_reader_close(&source->reader);
    source->placed = false;
}

static enum err source_open(
    struct index_run *run, struct source *source, struct errinfo *info)
{
    if (source->reader)
        return ERR_OK;
    return journal_reader_open(run->segments, NULL, 0, &source->reader, info);
}

/* The entry `index`, which is below limit. */
static enum err source_read(struct index_run *run, struct source *source,
    uint64_t index, uint64_t limit, struct journal_entry *out,
    struct errinfo *info)
{
    enum err err = source_open(run, source, info);
    if (err == ERR_OK && (!source->placed || source->cursor.index != index)) {
        source->placed = false;
        err = journal_cursor_init(&source->cursor, source->reader, index, info);
        source->placed = err == ERR_OK;
    }
    if (err == ERR_OK)
        err = journal_cursor_next(&source->cursor, limit, out, info);
    if (err == ERR_OK)
        return ERR_OK;
    source->placed = false;
    if (err == ERR_NOTFOUND)
        err = errinfo_set(info, ERR_CORRUPT,
            "the journal has no entry %" PRIu64
            ", although it should have %" PRIu64,
            index, limit);
    return errinfo_prefix(info, err, "index");
}

static enum err oldest_entry(
    struct index_run *run, uint64_t *first, struct errinfo *info)
{
    source_close(&run->follow); /* older ones may have been pruned since */
    enum err err = source_open(run, &run->follow, info);
    if (err != ERR_OK)
        return err;
    const struct segment_list *list =
        journal_reader_segments(run->follow.reader);
    *first = list->count > 0 ? list->items[0].header.first : 0;
    return ERR_OK;
}

/* --- Damage
 * ----------------------------------------------------------------------
 */

/* Remembers whose fault an error was. */
static enum err of_file(struct index_run *run, uint64_t first, enum err err)
{
    if (err == ERR_CORRUPT || err == ERR_UNSUPPORTED) {
        run->blamed = true;
        run->blamed_first = first;
    }
    return err;
}

static enum err of(
    struct index_run *run, const struct index_file *file, enum err err)
{
    return of_file(run, index_file_first(file), err);
}

static void end_rebuild(struct index_run *run, bool clean)
{
    index_file_close(&run->rebuilt, clean);
    source_close(&run->again);
}

static void want_rebuild(struct index_run *run, uint64_t first, uint64_t end)
{
    for (size_t i = 0; i < run->rebuild_count; i++)
        if (run->rebuilds[i].first == first)
            return;
    if (run->rebuild_count < REBUILDS_MAX && first < end)
        run->rebuilds[run->rebuild_count++] = (struct range){first, end};
}

static bool is_first(const struct index_file *file, uint64_t first)
{
    return file && index_file_first(file) == first;
}

/* Where the range of an older file ends: at the next file's first entry. 0:
 * it is the newest. */
static enum err end_of_older(
    struct index_run *run, uint64_t first, uint64_t *end, struct errinfo *info)
{
    struct index_list list;
    enum err err = index_list_load(run->dir, &list, info);
    if (err != ERR_OK)
        return err;
    *end = 0;
    for (size_t i = 0; i + 1 < list.count; i++)
        if (list.firsts[i] == first)
            *end = list.firsts[i + 1];
    index_list_fini(&list);
    return ERR_OK;
}

/* Sets the damaged file aside. The newest begins anew by itself; for an older
 * one a rebuild is noted. */
static enum err mend(struct index_run *run, uint64_t first, const char *why,
    struct errinfo *info)
{
    char name[INDEX_NAME_SIZE];
    uint64_t end = 0;
    index_file_name(name, first);
    log_warn(
        "index_damaged", "file=%s reason=\"%s\" action=rebuild", name, why);
    if (++run->mends > MENDS_MAX)
        return errinfo_prefix(info, ERR_CORRUPT,
            "the index was set aside %d times in a row", MENDS_MAX);
    if (is_first(run->current, first))
        index_file_close(&run->current, false);
    if (is_first(run->previous, first))
        index_file_close(&run->previous, false);
    if (is_first(run->rebuilt, first))
        end_rebuild(run, false);
    enum err err = end_of_older(run, first, &end, info);
    if (err == ERR_OK)
        err = index_file_set_aside(run->dir, first, info);
    if (err == ERR_OK && end != 0)
        want_rebuild(run, first, end);
    return err;
}

/* --- Which file
 * --------------------------------------------------------------------
 */

/* Is the file as its last commit left it, and of this very log? */
static enum err check_last(struct index_run *run, struct index_file *file,
    uint64_t size, struct errinfo *info)
{
    const struct index_state *state = index_file_state(file);
    struct journal_entry entry;
    uint8_t hash[SHA256_SIZE];
    if (state->next > size)
        return of(run, file,
            errinfo_set(info, ERR_CORRUPT,
                "it has entries up to %" PRIu64 ", the log has %" PRIu64,
                state->next, size));
    if (!state->has_last || state->next == state->first)
        return ERR_OK;
    enum err err = source_read(
        run, &run->follow, state->next - 1, state->next, &entry, info);
    if (err != ERR_OK)
        return err;
    crypto_hash_once(run->hash, hash, entry.bytes.ptr, entry.bytes.len);
    if (memcmp(hash, state->last, sizeof(hash)) != 0)
        return of(run, file,
            errinfo_set(info, ERR_CORRUPT,
                "entry %" PRIu64 " of the log is another one than it has",
                state->next - 1));
    return ERR_OK;
}

static enum err open_newest(
    struct index_run *run, uint64_t size, struct errinfo *info)
{
    struct index_list list;
    uint64_t first, oldest;
    enum err err = oldest_entry(run, &oldest, info);
    if (err == ERR_OK)
        err = index_list_load(run->dir, &list, info);
    if (err != ERR_OK)
        return err;
    first = list.count > 0 ? list.firsts[list.count - 1] : oldest;
    index_list_fini(&list);
    if (first > size)
        return of_file(run, first,
            errinfo_set(info, ERR_CORRUPT,
                "it begins with entry %" PRIu64 ", the log has %" PRIu64, first,
                size));
    err = of_file(run, first,
        index_file_open(run->dir, first, run->range, &run->current, info));
    if (err == ERR_OK && index_file_next(run->current) < oldest)
        err = of(run, run->current,
            errinfo_set(info, ERR_CORRUPT,
                "it ends at entry %" PRIu64
                ", and what comes next up to %" PRIu64 " was pruned",
                index_file_next(run->current), oldest));
    if (err == ERR_OK)
        err = check_last(run, run->current, size, info);
    return err;
}

/* An older file is taken to be whole when its state says so; damage inside is
 * found by those who read it. */
static bool is_whole(struct index_run *run, uint64_t first, uint64_t *end)
{
    char name[INDEX_NAME_SIZE];
    struct index_state state = {0};
    struct db *db = NULL;
    index_file_name(name, first);
    char *path = file_join(run->dir, name);
    bool whole =
        path && db_open_readonly(path, DB_INDEX, &db, NULL) == ERR_OK &&
        index_state_read(db, &state, NULL) == ERR_OK && state.first == first &&
        state.span > 0 && state.next == first + state.span &&
        (state.clean || state.same_boot);
    db_close(&db);
    free(path);
    *end = first + state.span;
    return whole;
}

/* From the oldest entry of the journal to the newest file there must be no
 * gap. */
static enum err check_older(struct index_run *run, struct errinfo *info)
{
    struct index_list list;
    uint64_t due;
    enum err err = oldest_entry(run, &due, info);
    if (err == ERR_OK)
        err = index_list_load(run->dir, &list, info);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < list.count; i++) {
        uint64_t end, first = list.firsts[i];
        if (first > due)
            want_rebuild(run, due, first);
        if (i + 1 == list.count)
            break;
        due = list.firsts[i + 1];
        if (!is_whole(run, first, &end) || end > due)
            want_rebuild(run, first, due);
        else
            due = end;
    }
    index_list_fini(&list);
    return ERR_OK;
}

static enum err next_file(struct index_run *run, struct errinfo *info)
{
    uint64_t first = index_file_end(run->current);
    struct index_file *file;
    enum err err = of_file(
        run, first, index_file_open(run->dir, first, run->range, &file, info));
    if (err != ERR_OK)
        return err;
    index_file_close(&run->previous, true);
    run->previous = run->current;
    run->current = file;
    return ERR_OK;
}

/* --- Entries
 * -------------------------------------------------------------------------
 */

static enum err commit(struct index_run *run, struct index_file *file,
    uint64_t next, const uint8_t *last, struct errinfo *info)
{
    enum err err = ERR_AGAIN;
    for (int i = 0; i < COMMIT_ATTEMPTS && err == ERR_AGAIN; i++)
        err = index_file_commit(file, next, last, info);
    return of(run, file, err);
}

static enum err end_in(struct index_run *run, struct index_file *file,
    uint64_t seq, const struct audit_event *event, bool *found,
    struct errinfo *info)
{
    enum err err = index_file_begin(file, info);
    if (err == ERR_OK)
        err = index_file_end_request(file, seq, event, found, info);
    return of(run, file, err);
}

static bool has_request(
    struct index_run *run, uint64_t first, const struct audit_event *event)
{
    char name[INDEX_NAME_SIZE];
    struct db *db = NULL;
    struct db_statement *select;
    bool found = false;
    index_file_name(name, first);
    char *path = file_join(run->dir, name);
    if (path && db_open_readonly(path, DB_INDEX, &db, NULL) == ERR_OK &&
        db_prepare(db, "SELECT 1 FROM request WHERE id = ?1", &select, NULL) ==
            ERR_OK) {
        db_bind_text(select, 1, event->id);
        found = db_step(select, NULL) == ERR_OK;
        db_reset(select);
    }
    db_close(&db);
    free(path);
    return found;
}

/* The end of a request that is not in `file`. */
static enum err end_elsewhere(struct index_run *run, struct index_file *file,
    uint64_t seq, const struct audit_event *event, struct errinfo *info)
{
    struct index_list list;
    bool found = false;
    enum err err = ERR_OK;
    if (run->previous && run->previous != file)
        err = end_in(run, run->previous, seq, event, &found, info);
    if (err == ERR_OK && !found && run->rebuilt && run->rebuilt != file)
        err = end_in(run, run->rebuilt, seq, event, &found, info);
    if (err != ERR_OK || found)
        return err;
    err = index_list_load(run->dir, &list, info);
    if (err != ERR_OK)
        return err;
    for (size_t i = list.count; i > 0 && err == ERR_OK && !found; i--) {
        uint64_t first = list.firsts[i - 1];
        if (first >= index_file_first(file) || is_first(run->current, first) ||
            is_first(run->previous, first) || is_first(run->rebuilt, first) ||
            !has_request(run, first, event))
            continue;
        struct index_file *older;
        err = of_file(
            run, first, index_file_open(run->dir, first, 0, &older, info));
        if (err == ERR_OK)
            err = index_file_commit(
                run->previous ? run->previous : older, 0, NULL, info);
        if (err != ERR_OK)
            break;
        index_file_close(&run->previous, true);
        run->previous = older;
        err = end_in(run, older, seq, event, &found, info);
    }
    index_list_fini(&list);
    if (err == ERR_OK && !found)
        err = of(run, file, index_file_add_part(file, seq, event, info));
    return err;
}

static bool is_end(const struct audit_event *event)
{
    return event->kind == AUDIT_COMPLETED || event->kind == AUDIT_WITHDRAWN;
}

/* What stands in the file of the request's row, wherever its own entry is. */
static bool follows_request(const struct audit_event *event)
{
    return is_end(event) || event->kind == AUDIT_ATTEMPT;
}

/* Where the request of that id waits, or the free slot for it. */
static uint16_t *slot_of(struct window *window, struct str id)
{
    size_t at = str_hash(id) & (WINDOW_SLOTS - 1);
    while (window->slots[at] != 0 &&
           !str_equal(window->entries[window->slots[at] - 1].event.id, id))
        at = (at + 1) & (WINDOW_SLOTS - 1);
    return &window->slots[at];
}

static void window_clear(struct index_run *run)
{
    arena_reset(run->arena);
    run->window->count = 0;
    memset(run->window->slots, 0, sizeof(run->window->slots));
}

/* Reads it, and ties an end to its request where that waits here too. */
static enum err window_add(
    struct index_run *run, struct str bytes, struct errinfo *info)
{
    struct window *window = run->window;
    struct waiting *entry = &window->entries[window->count];
    struct errinfo why;
    *entry = (struct waiting){.bytes = arena_copy(run->arena, bytes)};
    if (!entry->bytes.ptr)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err =
        audit_event_parse(run->arena, entry->bytes, &entry->event, &why);
    if (err == ERR_SYNTAX) {
        entry->unreadable = arena_printf(run->arena, "%s", why.text);
        window->count++;
        return entry->unreadable
                   ? ERR_OK
                   : errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    if (err != ERR_OK)
        return errinfo_set(info, err, "%s", why.text);
    if (entry->event.kind == AUDIT_ADMITTED) {
        uint16_t *slot = slot_of(window, entry->event.id);
        if (*slot == 0)
            *slot = (uint16_t)(window->count + 1);
    } else if (is_end(&entry->event)) {
        uint16_t *slot = slot_of(window, entry->event.id);
        if (*slot != 0 && window->entries[*slot - 1].end == 0) {
            window->entries[*slot - 1].end = (uint16_t)window->count;
            entry->done = true;
        }
    }
    window->count++;
    return ERR_OK;
}

static enum err take_entry(struct index_run *run, struct index_file *file,
    uint64_t first, size_t at, struct errinfo *info)
{
    struct waiting *entry = &run->window->entries[at];
    uint64_t index = first + at;
    if (entry->done)
        return ERR_OK;
    if (entry->unreadable) {
        log_warn("index_entry_unreadable", "entry=%" PRIu64 " reason=\"%s\"",
            index, entry->unreadable);
        return of(run, file,
            index_file_add_unreadable(
                file, index, str_from(entry->unreadable), info));
    }
    if (!follows_request(&entry->event)) {
        const struct audit_event *end =
            entry->end ? &run->window->entries[entry->end].event : NULL;
        return of(run, file,
            index_file_add(
                file, index, &entry->event, first + entry->end, end, info));
    }
    bool found = false;
    enum err err = of(run, file,
        index_file_end_request(file, index, &entry->event, &found, info));
    if (err == ERR_OK && !found)
        err = end_elsewhere(run, file, index, &entry->event, info);
    return err;
}

/* The entries [first, end), at most WINDOW of them, into the file; `limit` is
 * where the journal ends. Leaves them in the window. */
static enum err take_window(struct index_run *run, struct source *source,
    struct index_file *file, uint64_t first, uint64_t end, uint64_t limit,
    struct errinfo *info)
{
    enum err err = ERR_OK;
    unsigned pieces = 0;
    window_clear(run);
    for (uint64_t i = first; err == ERR_OK && i < end; i++) {
        struct journal_entry entry;
        err = source_read(run, source, i, limit, &entry, info);
        if (err == ERR_OK)
            err = window_add(run, entry.bytes, info);
        thread_give_way_after(&pieces, ENTRIES_AT_ONCE);
    }
    for (size_t i = 0; err == ERR_OK && i < run->window->count; i++) {
        err = take_entry(run, file, first, i, info);
        thread_give_way_after(&pieces, ENTRIES_AT_ONCE);
    }
    return err;
}

static uint64_t window_end(uint64_t first, uint64_t end)
{
    return end - first > WINDOW ? first + WINDOW : end;
}

/* --- Batches
 * ------------------------------------------------------------------------
 */

static enum err commit_others(
    struct index_run *run, struct index_file *file, struct errinfo *info)
{
    struct index_file *others[] = {run->previous, run->rebuilt};
    for (size_t i = 0; i < 2; i++) {
        if (!others[i] || others[i] == file)
            continue;
        enum err err = commit(run, others[i], 0, NULL, info);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err follow_batch(
    struct index_run *run, uint64_t size, struct errinfo *info)
{
    struct index_file *file = run->current;
    uint64_t next = index_file_next(file), end = index_file_end(file);
    uint8_t last[SHA256_SIZE];
    bool any = false;
    if (size < end)
        end = size;
    if (end - next > BATCH)
        end = next + BATCH;
    enum err err = of(run, file, index_file_begin(file, info));
    while (err == ERR_OK && next < end) {
        uint64_t until = window_end(next, end);
        err = take_window(run, &run->follow, file, next, until, end, info);
        if (err == ERR_OK)
            next = until;
        any = true;
    }
    if (err == ERR_OK && any) {
        struct str bytes = run->window->entries[run->window->count - 1].bytes;
        crypto_hash_once(run->hash, last, bytes.ptr, bytes.len);
    }
    if (err == ERR_OK)
        err = commit_others(run, file, info);
    if (err == ERR_OK)
        err = commit(run, file, next, any ? last : NULL, info);
    if (err == ERR_OK)
        run->mends = 0;
    if (err == ERR_OK && run->previous &&
        next - index_file_first(file) > PREVIOUS_KEPT)
        index_file_close(&run->previous, true);
    return err;
}

static enum err begin_rebuild(struct index_run *run, struct errinfo *info)
{
    struct range range = run->rebuilds[0];
    struct index_list list;
    run->rebuild_count--;
    memmove(run->rebuilds, run->rebuilds + 1,
        run->rebuild_count * sizeof(run->rebuilds[0]));
    log_info("index_rebuild", "from=%" PRIu64 " to=%" PRIu64, range.first,
        range.end);
    if (is_first(run->previous, range.first))
        index_file_close(&run->previous, false);
    enum err err = index_list_load(run->dir, &list, info);
    for (size_t i = 0; err == ERR_OK && i < list.count; i++)
        if (list.firsts[i] == range.first)
            err = index_file_set_aside(run->dir, range.first, info);
    if (err == ERR_OK)
        index_list_fini(&list);
    if (err == ERR_OK)
        err = of_file(run, range.first,
            index_file_open(run->dir, range.first, range.end - range.first,
                &run->rebuilt, info));
    run->again_at = range.first;
    run->again_end = range.end;
    run->again_counted = false;
    return err;
}

/* Past its range: only ends of what is open in it. */
static enum err follow_end(struct index_run *run,
    const struct journal_entry *entry, struct errinfo *info)
{
    struct audit_event event;
    bool found = false;
    arena_reset(run->arena);
    if (audit_event_parse(run->arena, entry->bytes, &event, NULL) != ERR_OK ||
        !follows_request(&event))
        return ERR_OK;
    enum err err =
        end_in(run, run->rebuilt, entry->index, &event, &found, info);
    if (found && is_end(&event) && run->again_open > 0)
        run->again_open--;
    return err;
}

static enum err rebuild_ends(
    struct index_run *run, uint64_t position, struct errinfo *info)
{
    enum err err = ERR_OK;
    if (!run->again_counted) {
        err = of(run, run->rebuilt,
            index_file_count_open(run->rebuilt, &run->again_open, info));
        run->again_counted = err == ERR_OK;
    }
    for (int i = 0; err == ERR_OK && i < BATCH && run->again_open > 0 &&
                    run->again_at < position;
         i++) {
        struct journal_entry entry;
        err = source_read(
            run, &run->again, run->again_at, position, &entry, info);
        if (err == ERR_OK)
            err = follow_end(run, &entry, info);
        if (err == ERR_OK)
            run->again_at++;
    }
    return err;
}

static enum err rebuild_batch(struct index_run *run, struct errinfo *info)
{
    struct index_file *file = run->rebuilt;
    uint64_t position = index_file_next(run->current);
    enum err err = of(run, file, index_file_begin(file, info));
    for (int i = 0; err == ERR_OK && i < BATCH / WINDOW; i++) {
        if (run->again_at >= run->again_end)
            break;
        uint64_t until = window_end(run->again_at, run->again_end);
        err = take_window(
            run, &run->again, file, run->again_at, until, position, info);
        if (err == ERR_OK)
            run->again_at = until;
    }
    if (err == ERR_OK && run->again_at >= run->again_end)
        err = rebuild_ends(run, position, info);
    bool done = err == ERR_OK && run->again_at >= run->again_end &&
                run->again_counted &&
                (run->again_open == 0 || run->again_at >= position);
    /* Until it is done it must not look whole. */
    uint64_t next = run->again_at;
    if (next >= run->again_end)
        next = done ? run->again_end : run->again_end - 1;
    if (err == ERR_OK)
        err = commit_others(run, file, info);
    if (err == ERR_OK)
        err = commit(run, file, next, NULL, info);
    if (err == ERR_OK && done) {
        log_info("index_rebuilt", "from=%" PRIu64 " to=%" PRIu64,
            index_file_first(file), run->again_end);
        end_rebuild(run, true);
        run->mends = 0;
    }
    return err;
}

/* --- The run
 * -------------------------------------------------------------------------
 */

enum err index_run_open(const char *state_dir, uint64_t range,
    struct index_run **out, struct errinfo *info)
{
    enum err err = ERR_OK;
    struct index_run *run = calloc(1, sizeof(*run));
    if (!run)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    run->range = range ? range : INDEX_RANGE_DEFAULT;
    run->dir = file_join(state_dir, "index");
    run->segments = file_join(state_dir, "journal/segments");
    run->arena = arena_new(WINDOW_ARENA, 0);
    run->window = calloc(1, sizeof(*run->window));
    run->hash = crypto_hash_new();
    if (!run->dir || !run->segments || !run->arena || !run->window ||
        !run->hash)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    if (err == ERR_OK)
        err = check_older(run, info);
    if (err == ERR_OK)
        *out = run;
    else
        index_run_close(&run, false);
    return err;
}

void index_run_close(struct index_run **run_ref, bool clean)
{
    struct index_run *run = *run_ref;
    if (!run)
        return;
    source_close(&run->follow);
    end_rebuild(run, clean);
    index_file_close(&run->previous, clean);
    index_file_close(&run->current, clean);
    crypto_hash_free(&run->hash);
    arena_free(&run->arena);
    free(run->window);
    free(run->segments);
    free(run->dir);
    free(run);
    *run_ref = NULL;
}

static enum err step(
    struct index_run *run, uint64_t size, bool *more, struct errinfo *info)
{
    enum err err = ERR_OK;
    if (run->current && !index_file_is_there(run->current)) {
        log_warn("index_missing", "action=rebuild");
        index_file_close(&run->previous, false);
        index_file_close(&run->current, false);
        end_rebuild(run, false);
        err = check_older(run, info);
    }
    if (err == ERR_OK && !run->current)
        err = open_newest(run, size, info);
    if (err != ERR_OK)
        return err;
    if (index_file_next(run->current) == index_file_end(run->current))
        err = next_file(run, info);
    if (err == ERR_OK && index_file_next(run->current) < size) {
        err = follow_batch(run, size, info);
    } else if (err == ERR_OK && run->rebuilt) {
        err = rebuild_batch(run, info);
    } else if (err == ERR_OK && run->rebuild_count > 0) {
        err = begin_rebuild(run, info);
    }
    *more = err == ERR_OK && (index_file_next(run->current) < size ||
                                 run->rebuilt || run->rebuild_count > 0);
    return err;
}

enum err index_run_step(
    struct index_run *run, uint64_t size, bool *more, struct errinfo *info)
{
    struct errinfo why = {0};
    run->blamed = false;
    enum err err = step(run, size, more, &why);
    if (err == ERR_OK)
        return ERR_OK;
    if (run->previous)
        index_file_rollback(run->previous);
    if (run->current)
        index_file_rollback(run->current);
    if (run->rebuilt) {
        /* What it had read since its last commit is read again. */
        index_file_rollback(run->rebuilt);
        run->again_at =
            run->again_counted ? run->again_end : index_file_next(run->rebuilt);
        run->again_counted = false;
    }
    run->follow.placed = false;
    if (info)
        *info = why;
    if (!run->blamed)
        return err;
    *more = true;
    return mend(run, run->blamed_first, why.text, info);
}

uint64_t index_run_position(const struct index_run *run)
{
    return run->current ? index_file_next(run->current) : 0;
}

void index_run_rebuild(struct index_run *run, uint64_t index)
{
    struct index_list list;
    if (run->current && index >= index_file_first(run->current)) {
        run->mends = 0;
        if (mend(run, index_file_first(run->current), "asked for", NULL) !=
            ERR_OK)
            log_warn("index_rebuild_failed", "entry=%" PRIu64, index);
        return;
    }
    if (index_list_load(run->dir, &list, NULL) != ERR_OK)
        return;
    for (size_t i = 0; i + 1 < list.count; i++)
        if (index >= list.firsts[i] && index < list.firsts[i + 1])
            want_rebuild(run, list.firsts[i], list.firsts[i + 1]);
    index_list_fini(&list);
}
