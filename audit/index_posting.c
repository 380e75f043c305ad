/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_posting.c - laying a chunk out: its rows are read back, each
 * value of each field becomes a number of 64 bits with the entry's offset in
 * the lowest ones, and sorting those brings the sets together. */
#include "audit/index_posting.h"

#include "lib/thread.h"

#include <stdlib.h>
#include <string.h>

/* field, value, offset: 8, 44 and 12 bits */
#define VALUE_BITS 44
#define FIELD_AT (VALUE_BITS + POSTING_SHIFT)
#define OFFSET_MASK (POSTING_CHUNK - 1)
/* Fields that are lists are expanded once per distinct list. */
#define LIST_TEAMS 254
#define LIST_POLICIES 255
#define PIECES_AT_ONCE 64 /* rows or sets: about 100 us */

struct keys {
    uint64_t *items, *spare;
    size_t count, room;
};

static void keys_fini(struct keys *keys)
{
    free(keys->items);
    free(keys->spare);
}

static enum err keys_add(struct keys *keys, unsigned field, int64_t value,
    uint64_t offset, struct errinfo *info)
{
    if (value < 0 || value >> VALUE_BITS != 0)
        return errinfo_set(info, ERR_CORRUPT,
            "the index has a value out of range: %lld", (long long)value);
    if (keys->count == keys->room) {
        size_t room = keys->room ? 2 * keys->room : 1u << 16;
        uint64_t *grown = realloc(keys->items, room * sizeof(*grown));
        if (grown)
            keys->items = grown;
        uint64_t *spare =
            grown ? realloc(keys->spare, room * sizeof(*spare)) : NULL;
        if (!spare)
            return errinfo_set(info, ERR_NOMEM, "out of memory");
        keys->spare = spare;
        keys->room = room;
    }
    keys->items[keys->count++] =
        (uint64_t)field << FIELD_AT | (uint64_t)value << POSTING_SHIFT | offset;
    return ERR_OK;
}

/* By digits of eight bits from the lowest on; a digit that all keys share is
 * left out, which most are. */
static void keys_sort(struct keys *keys)
{
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t starts[257] = {0};
        for (size_t i = 0; i < keys->count; i++)
            starts[(keys->items[i] >> shift & 0xff) + 1]++;
        if (keys->count == 0 ||
            starts[(keys->items[0] >> shift & 0xff) + 1] == keys->count)
            continue;
        for (size_t i = 0; i < 256; i++)
            starts[i + 1] += starts[i];
        for (size_t i = 0; i < keys->count; i++) {
            uint64_t key = keys->items[i];
            keys->spare[starts[key >> shift & 0xff]++] = key;
        }
        uint64_t *sorted = keys->spare;
        keys->spare = keys->items;
        keys->items = sorted;
    }
}

/* The end of the run of keys that share field and value with items[at]. */
static size_t run_end(const struct keys *keys, size_t at)
{
    size_t end = at + 1;
    while (end < keys->count && keys->items[end] >> POSTING_SHIFT ==
                                    keys->items[at] >> POSTING_SHIFT)
        end++;
    return end;
}

static int64_t value_of(uint64_t key)
{
    return (int64_t)(key >> POSTING_SHIFT & ((UINT64_C(1) << VALUE_BITS) - 1));
}

/* --- Sets ------------------------------------------------------------------
 */

static size_t set_write(
    const uint64_t *keys, size_t count, uint8_t out[POSTING_CHUNK / 8])
{
    if (count < POSTING_CHUNK / 16) {
        for (size_t i = 0; i < count; i++) {
            out[2 * i] = (uint8_t)(keys[i] & 0xff);
            out[2 * i + 1] = (uint8_t)((keys[i] & OFFSET_MASK) >> 8);
        }
        return 2 * count;
    }
    memset(out, 0, POSTING_CHUNK / 8);
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = keys[i] & OFFSET_MASK;
        out[offset / 8] |= (uint8_t)(1u << offset % 8);
    }
    return POSTING_CHUNK / 8;
}

bool posting_read(struct str blob, struct posting_set *set)
{
    const uint8_t *bytes = (const uint8_t *)blob.ptr;
    if (blob.len == POSTING_CHUNK / 8) {
        for (size_t i = 0; i < blob.len; i++)
            set->words[i / 8] |= (uint64_t)bytes[i] << (i % 8 * 8);
        return true;
    }
    if (blob.len == 0 || blob.len > POSTING_CHUNK / 8 || blob.len % 2 != 0)
        return false;
    for (size_t i = 0; i < blob.len; i += 2) {
        unsigned offset = bytes[i] | (unsigned)bytes[i + 1] << 8;
        if (offset >= POSTING_CHUNK)
            return false;
        set->words[offset / 64] |= UINT64_C(1) << offset % 64;
    }
    return true;
}

/* --- One chunk -------------------------------------------------------------
 */

#define COLUMN_SEQ 0
#define COLUMN_COUNT 17
static const unsigned char fields_of_columns[] = {0, POSTING_CALLER,
    POSTING_KEY, LIST_TEAMS, LIST_POLICIES, POSTING_MODEL, POSTING_ENGINE,
    POSTING_ROUTE, POSTING_PERMITTED, POSTING_STATUS, POSTING_OUTCOME,
    POSTING_CODE, POSTING_ACTION, POSTING_STAGE, POSTING_QUOTA, POSTING_VERSION,
    POSTING_REASON};

static enum err read_rows(struct db *db, uint64_t from, uint64_t until,
    struct keys *keys, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT seq, caller, key, teams, policies, model, engine, route, "
        "permitted, status, outcome, code, action, stage, quota, "
        "policy_version, nullif(reason IS NOT NULL, 0) "
        "FROM request NOT INDEXED "
        "WHERE seq >= ?1 AND seq < ?2 ORDER BY seq",
        &s, info);
    if (err != ERR_OK)
        return err;
    unsigned pieces = 0;
    db_bind_int(s, 1, (int64_t)from);
    db_bind_int(s, 2, (int64_t)until);
    while ((err = db_step(s, info)) == ERR_OK) {
        thread_give_way_after(&pieces, PIECES_AT_ONCE);
        uint64_t offset = (uint64_t)db_column_int(s, COLUMN_SEQ) & OFFSET_MASK;
        for (int i = 1; err == ERR_OK && i < COLUMN_COUNT; i++)
            if (!db_column_is_null(s, i))
                err = keys_add(keys, fields_of_columns[i], db_column_int(s, i),
                    offset, info);
        if (err != ERR_OK) {
            db_reset(s);
            return err;
        }
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* Entries beside the one that opened and the one that ended a request are
 * rare: mostly the table is empty. */
static enum err read_parts(struct db *db, uint64_t from, uint64_t until,
    struct keys *keys, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db, "SELECT 1 FROM part LIMIT 1", &s, info);
    if (err == ERR_OK)
        err = db_step(s, info);
    if (err != ERR_OK)
        return err == ERR_NOTFOUND ? ERR_OK : err;
    db_reset(s);
    err = db_prepare(db,
        "SELECT r.seq, p.type FROM request AS r NOT INDEXED CROSS JOIN "
        "part AS p ON p.id = r.id WHERE r.seq >= ?1 AND r.seq < ?2",
        &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, (int64_t)from);
    db_bind_int(s, 2, (int64_t)until);
    while ((err = db_step(s, info)) == ERR_OK) {
        err = keys_add(keys, POSTING_PART, db_column_int(s, 1),
            (uint64_t)db_column_int(s, 0) & OFFSET_MASK, info);
        if (err != ERR_OK) {
            db_reset(s);
            return err;
        }
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* The members of the list whose run of keys is [at, end). */
static enum err expand_list(struct db *db, const struct keys *keys, size_t at,
    size_t end, struct keys *members, struct errinfo *info)
{
    unsigned field = keys->items[at] >> FIELD_AT == LIST_TEAMS ? POSTING_TEAM
                                                               : POSTING_POLICY;
    struct db_statement *s;
    enum err err =
        db_prepare(db, "SELECT word FROM member WHERE list = ?1", &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, value_of(keys->items[at]));
    while ((err = db_step(s, info)) == ERR_OK) {
        for (size_t i = at; err == ERR_OK && i < end; i++)
            err = keys_add(members, field, db_column_int(s, 0),
                keys->items[i] & OFFSET_MASK, info);
        if (err != ERR_OK) {
            db_reset(s);
            return err;
        }
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- Writing and checking --------------------------------------------------
 */

/* A list names nobody twice, a request may have several parts of a type. */
static size_t drop_doubles(uint64_t *keys, size_t count)
{
    size_t kept = 1;
    for (size_t i = 1; i < count; i++)
        if (keys[i] != keys[kept - 1])
            keys[kept++] = keys[i];
    return kept;
}

/* One run of keys: the requests of the chunk that have the value. */
typedef enum err take_set(struct db *db, uint64_t chunk, const uint64_t *keys,
    size_t count, struct errinfo *info);

static enum err write_set(struct db *db, uint64_t chunk, const uint64_t *keys,
    size_t count, struct errinfo *info)
{
    uint8_t bytes[POSTING_CHUNK / 8];
    struct db_statement *s;
    enum err err = db_prepare(db,
        "INSERT OR REPLACE INTO posting (field, value, chunk, seqs) "
        "VALUES (?1, ?2, ?3, ?4)",
        &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, (int64_t)(keys[0] >> FIELD_AT));
    db_bind_int(s, 2, value_of(keys[0]));
    db_bind_int(s, 3, (int64_t)chunk);
    db_bind_blob(s, 4, bytes, set_write(keys, count, bytes));
    return db_run(s, info);
}

/* What table posting and table late have of the value. */
static enum err read_set(struct db *db, uint64_t chunk, uint64_t key,
    struct posting_set *set, struct errinfo *info)
{
    struct db_statement *s;
    bool good = true;
    enum err err = db_prepare(db,
        "SELECT seqs, NULL FROM posting WHERE field = ?1 AND value = ?2 AND "
        "chunk = ?3 UNION ALL SELECT NULL, seq FROM late WHERE field = ?1 AND "
        "value = ?2 AND seq >= ?3 << 12 AND seq < (?3 + 1) << 12",
        &s, info);
    _Static_assert(POSTING_SHIFT == 12, "the 12 of the statement");
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, (int64_t)(key >> FIELD_AT));
    db_bind_int(s, 2, value_of(key));
    db_bind_int(s, 3, (int64_t)chunk);
    while ((err = db_step(s, info)) == ERR_OK) {
        uint64_t offset = (uint64_t)db_column_int(s, 1) & OFFSET_MASK;
        if (db_column_is_null(s, 1))
            good = posting_read(db_column_blob(s, 0), set) && good;
        else
            set->words[offset / 64] |= UINT64_C(1) << offset % 64;
    }
    if (err != ERR_NOTFOUND)
        return err;
    return good ? ERR_OK
                : errinfo_set(info, ERR_CORRUPT,
                      "a set of chunk %llu cannot be read",
                      (unsigned long long)chunk);
}

static enum err check_set(struct db *db, uint64_t chunk, const uint64_t *keys,
    size_t count, struct errinfo *info)
{
    struct posting_set set = {0};
    enum err err = read_set(db, chunk, keys[0], &set, info);
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        uint64_t offset = keys[i] & OFFSET_MASK;
        if (!(set.words[offset / 64] >> offset % 64 & 1))
            err = errinfo_set(info, ERR_CORRUPT,
                "a search would not find the request of entry %llu by all of "
                "its values (field %d)",
                (unsigned long long)(chunk << POSTING_SHIFT | offset),
                (int)(keys[0] >> FIELD_AT));
    }
    return err;
}

static enum err take_sets(struct db *db, uint64_t chunk, struct keys *keys,
    struct keys *members, take_set *take, struct errinfo *info)
{
    enum err err = ERR_OK;
    unsigned pieces = 0;
    for (size_t at = 0, end; err == ERR_OK && at < keys->count; at = end) {
        thread_give_way_after(&pieces, PIECES_AT_ONCE);
        end = run_end(keys, at);
        if (keys->items[at] >> FIELD_AT < LIST_TEAMS)
            err = take(db, chunk, keys->items + at,
                drop_doubles(keys->items + at, end - at), info);
        else if (members)
            err = expand_list(db, keys, at, end, members, info);
    }
    return err;
}

static enum err each_set(struct db *db, uint64_t from, uint64_t until,
    struct keys *keys, struct keys *members, take_set *take,
    struct errinfo *info)
{
    uint64_t chunk = from >> POSTING_SHIFT;
    keys->count = members->count = 0;
    enum err err = read_rows(db, from, until, keys, info);
    if (err == ERR_OK)
        err = read_parts(db, from, until, keys, info);
    keys_sort(keys);
    if (err == ERR_OK)
        err = take_sets(db, chunk, keys, members, take, info);
    keys_sort(members);
    if (err == ERR_OK)
        err = take_sets(db, chunk, members, NULL, take, info);
    return err;
}

enum err posting_check(
    struct db *db, uint64_t from, uint64_t until, struct errinfo *info)
{
    struct keys keys = {0}, members = {0};
    enum err err = each_set(db, from, until, &keys, &members, check_set, info);
    keys_fini(&keys);
    keys_fini(&members);
    return err;
}

enum err posting_lay_out(
    struct db *db, uint64_t from, uint64_t until, struct errinfo *info)
{
    struct keys keys = {0}, members = {0};
    enum err err = ERR_OK;
    while (err == ERR_OK && from < until) {
        uint64_t end = ((from >> POSTING_SHIFT) + 1) << POSTING_SHIFT;
        if (end > until)
            end = until;
        err = each_set(db, from, end, &keys, &members, write_set, info);
        from = end;
    }
    keys_fini(&keys);
    keys_fini(&members);
    return err;
}

enum err posting_add_late(struct db *db, enum posting_field field,
    int64_t value, uint64_t seq, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "INSERT OR IGNORE INTO late (field, value, seq) VALUES (?1, ?2, ?3)",
        &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, field);
    db_bind_int(s, 2, value);
    db_bind_int(s, 3, (int64_t)seq);
    return db_run(s, info);
}
