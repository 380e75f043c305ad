/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query_hits.c - each value of each condition stands at the next chunk
 * that has it; a condition at the next one of its values; and the search leaps
 * to the farthest of the conditions until they all stand at the same. */
#include "audit/query_hits.h"

#include <stdlib.h>
#include <string.h>

#define NO_CHUNK INT64_MAX

/* One value's sets. Chunks are counted in the direction of the search (of
 * descending ones the negative), so that the next is always the greater. */
struct cursor {
    int64_t value;
    int64_t at;      /* NO_CHUNK: no more */
    int64_t late_at; /* the chunk of the next late one */
    bool begun, has_late;
    struct posting_set set; /* of `at`, without the late ones */
};

struct alternatives {
    enum posting_field field;
    struct cursor *cursors;
    size_t count;
};

struct query_hits {
    struct db *db;
    struct alternatives *conditions;
    size_t count;
    uint64_t low, high;
    bool oldest_first;
    int64_t next; /* chunk, in the direction of the search */
};

static int64_t turned(const struct query_hits *hits, int64_t chunk)
{
    return hits->oldest_first ? chunk : -chunk;
}

enum err query_hits_open(struct db *db, const struct hit_condition *conditions,
    size_t count, uint64_t low, uint64_t high, bool oldest_first,
    struct query_hits **out, struct errinfo *info)
{
    struct query_hits *hits = calloc(1, sizeof(*hits));
    if (hits)
        hits->conditions = calloc(count, sizeof(*hits->conditions));
    bool made = hits && hits->conditions;
    for (size_t i = 0; made && i < count; i++) {
        struct alternatives *one = &hits->conditions[i];
        one->field = conditions[i].field;
        one->cursors = calloc(conditions[i].count + 1, sizeof(*one->cursors));
        made = one->cursors != NULL;
        hits->count++;
        for (size_t k = 0; made && k < conditions[i].count; k++)
            one->cursors[one->count++].value = conditions[i].values[k];
    }
    if (!made) {
        query_hits_close(&hits);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    hits->db = db;
    hits->low = low;
    hits->high = high;
    hits->oldest_first = oldest_first;
    hits->next =
        turned(hits, (int64_t)((oldest_first ? low : high) >> POSTING_SHIFT));
    *out = hits;
    return ERR_OK;
}

void query_hits_close(struct query_hits **hits)
{
    if (!*hits)
        return;
    for (size_t i = 0; (*hits)->conditions && i < (*hits)->count; i++)
        free((*hits)->conditions[i].cursors);
    free((*hits)->conditions);
    free(*hits);
    *hits = NULL;
}

/* --- One value -------------------------------------------------------------
 */

/* A statement with field, value and where to begin bound; its first row. */
static enum err seek(struct query_hits *hits, const char *up, const char *down,
    enum posting_field field, int64_t value, int64_t from,
    struct db_statement **s, struct errinfo *info)
{
    enum err err = hits->oldest_first ? db_prepare(hits->db, up, s, info)
                                      : db_prepare(hits->db, down, s, info);
    if (err != ERR_OK)
        return err;
    db_bind_int(*s, 1, field);
    db_bind_int(*s, 2, value);
    db_bind_int(*s, 3, from);
    return db_step(*s, info);
}

#define SEEK(column, table, order)                                             \
    "SELECT " column " FROM " table                                            \
    " WHERE field = ?1 AND value = ?2 AND " order " LIMIT 1"

static enum err seek_set(struct query_hits *hits, enum posting_field field,
    struct cursor *cursor, int64_t from, struct errinfo *info)
{
    struct db_statement *s;
    enum err err =
        seek(hits, SEEK("chunk, seqs", "posting", "chunk >= ?3 ORDER BY chunk"),
            SEEK("chunk, seqs", "posting", "chunk <= ?3 ORDER BY chunk DESC"),
            field, cursor->value, turned(hits, from), &s, info);
    cursor->at = NO_CHUNK;
    if (err == ERR_NOTFOUND)
        return ERR_OK;
    if (err != ERR_OK)
        return err;
    memset(&cursor->set, 0, sizeof(cursor->set));
    cursor->at = turned(hits, db_column_int(s, 0));
    bool good = posting_read(db_column_blob(s, 1), &cursor->set);
    db_reset(s);
    return good ? ERR_OK
                : errinfo_set(info, ERR_CORRUPT,
                      "a set of the index cannot be read: field %d, value %lld",
                      field, (long long)cursor->value);
}

static enum err seek_late(struct query_hits *hits, enum posting_field field,
    struct cursor *cursor, int64_t from, struct errinfo *info)
{
    int64_t chunk = turned(hits, from);
    int64_t seq = hits->oldest_first ? chunk * (int64_t)POSTING_CHUNK
                                     : (chunk + 1) * (int64_t)POSTING_CHUNK - 1;
    struct db_statement *s;
    enum err err = seek(hits, SEEK("seq", "late", "seq >= ?3 ORDER BY seq"),
        SEEK("seq", "late", "seq <= ?3 ORDER BY seq DESC"), field,
        cursor->value, seq, &s, info);
    cursor->late_at = NO_CHUNK;
    if (err == ERR_NOTFOUND)
        return ERR_OK;
    if (err != ERR_OK)
        return err;
    cursor->late_at = turned(hits, db_column_int(s, 0) >> POSTING_SHIFT);
    db_reset(s);
    return ERR_OK;
}

/* Where the value is next, from `from` on. */
static enum err advance(struct query_hits *hits, enum posting_field field,
    struct cursor *cursor, int64_t from, int64_t *next, struct errinfo *info)
{
    enum err err = ERR_OK;
    if (!cursor->begun) {
        err = seek_late(hits, field, cursor, from, info);
        cursor->has_late = err == ERR_OK && cursor->late_at != NO_CHUNK;
    }
    if (err == ERR_OK && (!cursor->begun || cursor->at < from))
        err = seek_set(hits, field, cursor, from, info);
    if (err == ERR_OK && cursor->has_late && cursor->late_at < from)
        err = seek_late(hits, field, cursor, from, info);
    cursor->begun = true;
    *next = cursor->at;
    if (cursor->has_late && cursor->late_at < *next)
        *next = cursor->late_at;
    return err;
}

/* The late ones of the chunk. */
static enum err add_late(struct query_hits *hits, enum posting_field field,
    const struct cursor *cursor, int64_t chunk, struct posting_set *set,
    struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(hits->db,
        "SELECT seq FROM late WHERE field = ?1 AND value = ?2 "
        "AND seq >= ?3 << 12 AND seq < (?3 + 1) << 12",
        &s, info);
    _Static_assert(POSTING_SHIFT == 12, "the 12 of the statement");
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, field);
    db_bind_int(s, 2, cursor->value);
    db_bind_int(s, 3, chunk);
    while ((err = db_step(s, info)) == ERR_OK) {
        uint64_t offset = (uint64_t)db_column_int(s, 0) & (POSTING_CHUNK - 1);
        set->words[offset / 64] |= UINT64_C(1) << offset % 64;
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- All conditions --------------------------------------------------------
 */

/* Where all conditions have something, from hits->next on. */
static enum err find_common(struct query_hits *hits, struct errinfo *info)
{
    size_t agreed = 0;
    for (size_t i = 0; agreed < hits->count; i = (i + 1) % hits->count) {
        struct alternatives *condition = &hits->conditions[i];
        int64_t least = NO_CHUNK, next;
        for (size_t k = 0; k < condition->count; k++) {
            enum err err = advance(hits, condition->field,
                &condition->cursors[k], hits->next, &next, info);
            if (err != ERR_OK)
                return err;
            if (next < least)
                least = next;
        }
        if (least == NO_CHUNK)
            return ERR_NOTFOUND;
        agreed = least == hits->next ? agreed + 1 : 1;
        hits->next = least;
    }
    return ERR_OK;
}

static enum err intersect(struct query_hits *hits, int64_t chunk,
    struct posting_set *out, struct errinfo *info)
{
    enum err err = ERR_OK;
    memset(out, 0xff, sizeof(*out));
    for (size_t i = 0; err == ERR_OK && i < hits->count; i++) {
        const struct alternatives *condition = &hits->conditions[i];
        struct posting_set any = {0};
        for (size_t k = 0; err == ERR_OK && k < condition->count; k++) {
            const struct cursor *cursor = &condition->cursors[k];
            for (size_t w = 0; w < POSTING_WORDS && cursor->at == hits->next;
                 w++)
                any.words[w] |= cursor->set.words[w];
            if (cursor->has_late && cursor->late_at == hits->next)
                err =
                    add_late(hits, condition->field, cursor, chunk, &any, info);
        }
        for (size_t w = 0; w < POSTING_WORDS; w++)
            out->words[w] &= any.words[w];
    }
    return err;
}

/* Only [low, high]; false: nothing is left. */
static bool cut(
    const struct query_hits *hits, uint64_t base, struct posting_set *set)
{
    uint64_t any = 0;
    for (size_t w = 0; w < POSTING_WORDS; w++) {
        uint64_t first = base + 64 * w;
        if (first + 63 < hits->low || first > hits->high)
            set->words[w] = 0;
        if (first < hits->low && hits->low - first < 64)
            set->words[w] &= UINT64_MAX << (hits->low - first);
        if (first <= hits->high && hits->high - first < 63)
            set->words[w] &= (UINT64_C(2) << (hits->high - first)) - 1;
        any |= set->words[w];
    }
    return any != 0;
}

enum err query_hits_next(struct query_hits *hits, uint64_t *base,
    struct posting_set *out, struct errinfo *info)
{
    int64_t last =
        turned(hits, (int64_t)((hits->oldest_first ? hits->high : hits->low) >>
                               POSTING_SHIFT));
    for (;;) {
        enum err err =
            hits->next <= last ? find_common(hits, info) : ERR_NOTFOUND;
        if (err == ERR_OK && hits->next > last)
            err = ERR_NOTFOUND;
        if (err != ERR_OK)
            return err;
        int64_t chunk = turned(hits, hits->next);
        err = intersect(hits, chunk, out, info);
        hits->next++;
        if (err != ERR_OK)
            return err;
        *base = (uint64_t)chunk << POSTING_SHIFT;
        if (cut(hits, *base, out))
            return ERR_OK;
    }
}
