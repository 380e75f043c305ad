/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/show.c - one request's entries, and the log's as they come. */
#include "audit/show.h"
#include "audit/journal_reader.h"
#include "audit/query_priv.h"

#include "lib/arena.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/json_write.h"

#include <inttypes.h>
#include <stdlib.h>

#define ENTRIES_MAX 256 /* of one request */
#define TAIL_BYTES (1u << 20)

struct audit_reader {
    struct journal_reader *reader;
    struct journal_cursor cursor;
    bool placed;
    struct arena *arena; /* of one entry, or one request */
};

enum err audit_reader_open(
    const char *state_dir, struct audit_reader **out, struct errinfo *info)
{
    enum err err = ERR_NOMEM;
    struct audit_reader *reader = calloc(1, sizeof(*reader));
    char *segments = file_join(state_dir, "journal/segments");
    if (reader)
        reader->arena = arena_new(256u << 10, 0);
    if (!reader || !segments || !reader->arena) {
        errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    err = journal_reader_open(segments, NULL, 0, &reader->reader, info);
    if (err == ERR_OK) {
        *out = reader;
        reader = NULL;
    }
out:
    audit_reader_close(&reader);
    free(segments);
    return err;
}

void audit_reader_close(struct audit_reader **reader)
{
    if (!*reader)
        return;
    journal_reader_close(&(*reader)->reader);
    arena_free(&(*reader)->arena);
    free(*reader);
    *reader = NULL;
}

/* *bytes is borrowed until the next read. */
static enum err read_entry(struct audit_reader *reader, uint64_t size,
    uint64_t index, struct str *bytes, struct errinfo *info)
{
    struct journal_entry entry;
    struct errinfo why = {0};
    enum err err = ERR_OK;
    if (!reader->placed || reader->cursor.index != index) {
        reader->placed = false;
        err = journal_cursor_init(&reader->cursor, reader->reader, index, &why);
        reader->placed = err == ERR_OK;
    }
    if (err == ERR_OK)
        err = journal_cursor_next(&reader->cursor, size, &entry, &why);
    if (err != ERR_OK) {
        reader->placed = false;
        if (err == ERR_NOTFOUND && why.text[0] == '\0')
            errinfo_set(info, ERR_NOTFOUND,
                "the log has no entry %" PRIu64 ", it ends before %" PRIu64,
                index, size);
        else if (info != NULL)
            *info = why; /* pruned, or damaged */
        return err;
    }
    *bytes = entry.bytes;
    return ERR_OK;
}

enum err audit_read_entry(struct audit_reader *reader, uint64_t size,
    uint64_t index, struct buf *out, struct errinfo *info)
{
    struct str bytes;
    enum err err = read_entry(reader, size, index, &bytes, info);
    if (err != ERR_OK)
        return err;
    buf_append_str(out, bytes);
    return out->failed ? errinfo_set(info, ERR_NOMEM, "out of memory") : ERR_OK;
}

/* --- One request
 * ---------------------------------------------------------------
 */

/* Only entries of the first `size`: the index may know younger ones by now,
 * which are in the next answer. */
struct places {
    uint64_t size;
    uint64_t at[ENTRIES_MAX];
    size_t count;
};

static void add_place(struct places *places, int64_t index)
{
    if ((uint64_t)index >= places->size)
        return;
    for (size_t i = 0; i < places->count; i++)
        if (places->at[i] == (uint64_t)index)
            return;
    if (places->count < ENTRIES_MAX)
        places->at[places->count++] = (uint64_t)index;
}

static int compare_places(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* The entries that one file of the index knows of the id. */
static enum err find_in_file(
    struct db *db, struct str id, struct places *places, struct errinfo *info)
{
    static const char *const queries[] = {
        "SELECT seq, end_seq FROM request WHERE id = ?1",
        "SELECT seq, NULL FROM part WHERE id = ?1",
        "SELECT seq, NULL FROM event WHERE id = ?1",
    };
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        struct db_statement *s;
        enum err err = db_prepare(db, queries[i], &s, info);
        if (err != ERR_OK)
            return err;
        db_bind_text(s, 1, id);
        while ((err = db_step(s, info)) == ERR_OK) {
            add_place(places, db_column_int(s, 0));
            if (!db_column_is_null(s, 1))
                add_place(places, db_column_int(s, 1));
        }
        if (err != ERR_NOTFOUND)
            return err;
    }
    return ERR_OK;
}

static enum err find_entries(struct audit_index *index, struct str id,
    struct places *places, uint64_t *damaged, struct errinfo *info)
{
    enum err err = audit_index_refresh(index, info);
    for (size_t i = 0; err == ERR_OK && i < index->list.count; i++) {
        struct db *db;
        err = audit_index_file(index, i, &db, info);
        if (err == ERR_OK)
            err = find_in_file(db, id, places, info);
        if (err == ERR_CORRUPT && damaged)
            *damaged = index->list.firsts[i];
    }
    audit_index_release(index);
    if (places->count > 0)
        qsort(places->at, places->count, sizeof(places->at[0]), compare_places);
    return err;
}

/* An index of the log instead of an id: of a request's entry, the request. */
static enum err resolve_number(struct audit_reader *reader, uint64_t size,
    struct str *id, struct places *places, struct errinfo *info)
{
    uint64_t index;
    struct str bytes;
    struct audit_event event;
    if (str_to_u64(*id, &index) != ERR_OK)
        return ERR_OK;
    enum err err = read_entry(reader, size, index, &bytes, info);
    if (err != ERR_OK)
        return err;
    add_place(places, (int64_t)index);
    struct str copy = arena_copy(reader->arena, bytes);
    if (!copy.ptr)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    if (audit_event_parse(reader->arena, copy, &event, NULL) == ERR_OK)
        *id = event.id;
    return ERR_OK;
}

static void put_entry(
    struct json_writer *w, uint64_t index, struct str bytes, struct str text)
{
    json_write_object(w);
    json_write_key(w, STR("entry"));
    json_write_raw(w, bytes);
    json_write_member_int(w, STR("index"), (int64_t)index);
    if (text.len > 0)
        json_write_member_string(w, STR("text"), text);
    json_write_object_end(w);
}

struct shown {
    struct audit_event opened, ended, other;
    bool has_opened, has_ended, has_other;
};

static enum err note_event(struct audit_reader *reader, struct str bytes,
    struct shown *shown, struct errinfo *info)
{
    struct audit_event event;
    struct str copy = arena_copy(reader->arena, bytes);
    if (!copy.ptr)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    /* One that cannot be read is shown all the same. */
    if (audit_event_parse(reader->arena, copy, &event, NULL) != ERR_OK)
        return ERR_OK;
    switch (event.kind) {
    case AUDIT_ADMITTED:
    case AUDIT_DENIED:
        shown->opened = event;
        shown->has_opened = true;
        break;
    case AUDIT_COMPLETED:
    case AUDIT_WITHDRAWN:
        shown->ended = event;
        shown->has_ended = true;
        break;
    case AUDIT_MEASURED:
    case AUDIT_ATTEMPT:
    case AUDIT_AUTH_FAILED:
    case AUDIT_ACT:
        shown->other = event;
        shown->has_other = true;
        break;
    }
    return ERR_OK;
}

static void say_shown(const struct shown *shown,
    const struct audit_names *names, struct buf *sentence)
{
    if (shown->has_opened || shown->has_ended)
        audit_say_request(shown->has_opened ? &shown->opened : NULL,
            shown->has_ended ? &shown->ended : NULL, names, sentence);
    else if (shown->has_other)
        audit_say_entry(&shown->other, names, sentence);
}

/* *id becomes that of the request where a number was given. */
static enum err find_places(struct audit_reader *reader,
    struct audit_index *index, uint64_t size, struct str *id,
    struct places *places, uint64_t *damaged, struct errinfo *info)
{
    enum err err = resolve_number(reader, size, id, places, info);
    if (err == ERR_OK)
        err = find_entries(index, *id, places, damaged, info);
    if (err == ERR_OK && places->count == 0) {
        const struct pruned *pruned =
            &journal_reader_segments(reader->reader)->pruned;
        char words[PRUNED_WORDS_MAX] = "";
        if (pruned->entries > 0)
            pruned_words(pruned, words);
        err = errinfo_set(info, ERR_NOTFOUND,
            "the log has no request or event \"%.*s\"%s%s%s", STR_ARG(*id),
            ulid_is_valid(*id) ? ""
                               : "; an id has 26 characters, and an entry "
                                 "is named by its index in the log",
            pruned->entries > 0 ? "; it may be one of those that went: " : "",
            words);
    }
    return err;
}

enum err audit_places(struct audit_reader *reader, struct audit_index *index,
    uint64_t size, struct str id, uint64_t *out, size_t room, size_t *count,
    uint64_t *damaged, struct errinfo *info)
{
    struct places places = {.size = size};
    arena_reset(reader->arena);
    enum err err =
        find_places(reader, index, size, &id, &places, damaged, info);
    for (size_t i = 0; i < places.count && i < room; i++)
        out[i] = places.at[i];
    *count = places.count;
    return err;
}

enum err audit_show(struct audit_reader *reader, struct audit_index *index,
    uint64_t size, struct str id, const struct audit_names *names,
    struct buf *out, uint64_t *damaged, struct errinfo *info)
{
    struct places places = {.size = size};
    struct shown shown = {0};
    struct json_writer w;
    struct buf sentence;
    arena_reset(reader->arena);
    buf_init(&sentence, 65536);
    enum err err =
        find_places(reader, index, size, &id, &places, damaged, info);
    if (err != ERR_OK)
        goto out;
    json_write_init(&w, out);
    json_write_object(&w);
    json_write_key(&w, STR("entries"));
    json_write_array(&w);
    for (size_t i = 0; i < places.count && err == ERR_OK; i++) {
        struct str bytes;
        err = read_entry(reader, size, places.at[i], &bytes, info);
        if (err == ERR_OK)
            err = note_event(reader, bytes, &shown, info);
        if (err == ERR_OK)
            put_entry(&w, places.at[i], bytes, STR(""));
    }
    if (err != ERR_OK)
        goto out;
    json_write_array_end(&w);
    json_write_member_string(&w, STR("id"), id);
    say_shown(&shown, names, &sentence);
    json_write_member_string(&w, STR("sentence"), buf_str(&sentence));
    json_write_object_end(&w);
    if (out->failed)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
out:
    buf_fini(&sentence);
    return err;
}

/* --- Following
 * -------------------------------------------------------------------
 */

enum err audit_tail(struct audit_reader *reader, uint64_t size, uint64_t *from,
    size_t limit, const struct audit_names *names, struct buf *out,
    struct errinfo *info)
{
    struct json_writer w;
    struct buf text;
    uint64_t next = *from < size ? *from : size;
    size_t start = out->len;
    enum err err = ERR_OK;
    buf_init(&text, 65536);
    json_write_init(&w, out);
    json_write_object(&w);
    json_write_key(&w, STR("entries"));
    json_write_array(&w);
    for (size_t i = 0;
         i < limit && next < size && out->len - start < TAIL_BYTES; i++) {
        struct audit_event event;
        struct str bytes;
        arena_reset(reader->arena);
        buf_clear(&text);
        err = read_entry(reader, size, next, &bytes, info);
        if (err != ERR_OK)
            break;
        if (audit_event_parse(reader->arena, bytes, &event, NULL) == ERR_OK)
            audit_say_entry(&event, names, &text);
        put_entry(&w, next, bytes, buf_str(&text));
        next++;
    }
    buf_fini(&text);
    if (err != ERR_OK)
        return err;
    json_write_array_end(&w);
    json_write_member_int(&w, STR("next"), (int64_t)next);
    json_write_object_end(&w);
    if (out->failed)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    *from = next;
    return ERR_OK;
}
