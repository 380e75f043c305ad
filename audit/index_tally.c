/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_tally.c - see index_tally.h. */
#include "audit/index_tally.h"

/* Columns are named as those of `request`, so that the same expressions fit:
 * time is the hour's start (of tally_caller: the day's). */
#define SUMS                                                                   \
    "n INTEGER NOT NULL, input INTEGER, output INTEGER, bytes_out INTEGER, "   \
    "cost INTEGER) STRICT;"
#define TALLY(name, columns)                                                   \
    "CREATE TABLE IF NOT EXISTS " name " (block INTEGER NOT NULL, "            \
    "time INTEGER NOT NULL, permitted INTEGER NOT NULL, " columns ", " SUMS    \
    "CREATE INDEX IF NOT EXISTS " name "_of ON " name " (block);"

enum err index_tally_prepare(struct db *db, struct errinfo *info)
{
    return db_execute(db,
        "CREATE TABLE IF NOT EXISTS tally_block (block INTEGER PRIMARY KEY) "
        "STRICT;"
        /* clang-format off */
        TALLY("tally",
            "action INTEGER NOT NULL, route INTEGER NOT NULL, "
            "model INTEGER NOT NULL, engine INTEGER, "
            "policy_version INTEGER NOT NULL, stage INTEGER, code INTEGER, "
            "status INTEGER, outcome INTEGER")
        TALLY("tally_caller_model",
            "caller INTEGER NOT NULL, key INTEGER NOT NULL, "
            "teams INTEGER NOT NULL, model INTEGER NOT NULL")
        TALLY("tally_caller",
            "caller INTEGER NOT NULL, key INTEGER NOT NULL, "
            "teams INTEGER NOT NULL")
        TALLY("tally_team",
            "teams INTEGER NOT NULL, model INTEGER NOT NULL")
        TALLY("tally_rule",
            "policies INTEGER NOT NULL, policy_version INTEGER NOT NULL, "
            "stage INTEGER, code INTEGER, quota INTEGER, status INTEGER"),
        /* clang-format on */
        info);
}

enum err index_tally_is_there(struct db *db, bool *out, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = "
        "'tally_rule'",
        &s, info);
    if (err != ERR_OK)
        return err;
    err = db_step(s, info);
    *out = err == ERR_OK;
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err run_for(
    struct db *db, const char *sql, uint64_t value, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db, sql, &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, (int64_t)value);
    return db_run(s, info);
}

static enum err has_sums(
    struct db *db, uint64_t block, bool *out, struct errinfo *info)
{
    struct db_statement *s;
    enum err err =
        db_prepare(db, "SELECT 1 FROM tally_block WHERE block = ?1", &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, (int64_t)block);
    err = db_step(s, info);
    *out = err == ERR_OK;
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err index_tally_end(
    struct db *db, uint64_t first, uint64_t *out, struct errinfo *info)
{
    struct db_statement *s;
    enum err err =
        db_prepare(db, "SELECT max(block) + 1 FROM tally_block", &s, info);
    *out = first;
    if (err != ERR_OK)
        return err;
    err = db_step(s, info);
    if (err == ERR_OK && !db_column_is_null(s, 0))
        *out = (uint64_t)db_column_int(s, 0);
    db_reset(s);
    return err;
}

#define SUMS_OF_BLOCK                                                          \
    "count(*), sum(input), sum(output), sum(bytes_out), sum(cost) "            \
    "FROM request NOT INDEXED "                                                \
    "WHERE seq >= ?1 << 16 AND seq < (?1 + 1) << 16 "
#define SUMS_OF_SUMS                                                           \
    "sum(n), sum(input), sum(output), sum(bytes_out), sum(cost) "              \
    "FROM tally_caller_model WHERE block = ?1 "
#define SUM_TABLES 5
static const struct {
    const char *insert, *difference;
} sums[SUM_TABLES] = {
#define SUM(table, select)                                                     \
    {                                                                          \
        "INSERT INTO " table " " select,                                       \
            "SELECT (SELECT count(*) FROM (" select                            \
            " EXCEPT SELECT * FROM " table                                     \
            " WHERE block = ?1)) + (SELECT count(*) FROM (SELECT * "           \
            "FROM " table " WHERE block = ?1 EXCEPT " select "))"              \
    }
    SUM("tally",
        "SELECT ?1, time / 3600000000 * 3600000000, permitted, action, route, "
        "model, engine, policy_version, stage, code, status, "
        "outcome, " SUMS_OF_BLOCK
        "GROUP BY 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"),
    SUM("tally_caller_model",
        "SELECT ?1, time / 86400000000 * 86400000000, permitted, caller, key, "
        "teams, model, " SUMS_OF_BLOCK "GROUP BY 2, 3, 4, 5, 6, 7"),
    SUM("tally_caller", "SELECT block, time, permitted, caller, key, "
                        "teams, " SUMS_OF_SUMS "GROUP BY 2, 3, 4, 5, 6"),
    SUM("tally_team", "SELECT block, time, permitted, teams, "
                      "model, " SUMS_OF_SUMS "GROUP BY 2, 3, 4, 5"),
    SUM("tally_rule",
        "SELECT ?1, time / 3600000000 * 3600000000, permitted, policies, "
        "policy_version, stage, code, quota, "
        "status, " SUMS_OF_BLOCK "GROUP BY 2, 3, 4, 5, 6, 7, 8, 9"),
};

static enum err sum_block(struct db *db, uint64_t block, struct errinfo *info)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < SUM_TABLES && err == ERR_OK; i++)
        err = run_for(db, sums[i].insert, block, info);
    return err == ERR_OK
               ? run_for(db, "INSERT INTO tally_block VALUES (?1)", block, info)
               : err;
}

enum err index_tally_check(struct db *db, uint64_t block, struct errinfo *info)
{
    bool there;
    enum err err = has_sums(db, block, &there, info);
    for (size_t i = 0; there && i < SUM_TABLES && err == ERR_OK; i++) {
        struct db_statement *s;
        err = db_prepare(db, sums[i].difference, &s, info);
        if (err != ERR_OK)
            return err;
        db_bind_int(s, 1, (int64_t)block);
        err = db_step(s, info);
        if (err == ERR_OK && db_column_int(s, 0) != 0)
            err = errinfo_set(info, ERR_CORRUPT,
                "the sums of block %llu are not those of its rows: counts may "
                "be wrong",
                (unsigned long long)block);
        db_reset(s);
    }
    return err;
}

enum err index_tally_until(
    struct db *db, uint64_t *from, uint64_t block, struct errinfo *info)
{
    enum err err = ERR_OK;
    for (uint64_t at = *from; at < block && err == ERR_OK; at++) {
        bool there;
        err = has_sums(db, at, &there, info);
        if (err == ERR_OK && !there)
            err = sum_block(db, at, info);
    }
    if (err == ERR_OK && block > *from)
        *from = block;
    return err;
}

enum err index_tally_forget(struct db *db, uint64_t seq, struct errinfo *info)
{
    static const char *const steps[] = {
        "DELETE FROM tally_block WHERE block = ?1",
        "DELETE FROM tally WHERE block = ?1",
        "DELETE FROM tally_caller WHERE block = ?1",
        "DELETE FROM tally_caller_model WHERE block = ?1",
        "DELETE FROM tally_team WHERE block = ?1",
        "DELETE FROM tally_rule WHERE block = ?1",
    };
    uint64_t block = seq >> TALLY_SHIFT;
    bool there;
    enum err err = has_sums(db, block, &there, info);
    for (size_t i = 0;
         there && err == ERR_OK && i < sizeof(steps) / sizeof(steps[0]); i++)
        err = run_for(db, steps[i], block, info);
    return err;
}
