/* SPDX-License-Identifier: Apache-2.0
 *
 * schema/schema_priv.h - inside of schema/: which tables a kind of database
 * has, and opening with a schema of one's own (the tests of migration do). */
#ifndef SCHEMA_SCHEMA_PRIV_H
#define SCHEMA_SCHEMA_PRIV_H

#include "schema/db.h"

/* One kind of database. user_version is 1 + the number of migrations:
 * migrations[i] turns version i + 1 into i + 2; `create` makes the newest. */
struct db_schema {
    const char *what; /* for people: "control database" */
    int32_t application_id;
    const char *create;
    const char *const *migrations;
    int migration_count;
    const char *pragmas; /* journal, synchronous, secure_delete */
    bool check_on_open;  /* quick_check: small, and nothing works without */
};

const struct db_schema *db_schema_of(enum db_kind kind);

enum db_mode { DB_MODE_READONLY, DB_MODE_WRITE, DB_MODE_CREATE };

enum err db_open_schema(const char *path, const struct db_schema *schema,
    enum db_mode mode, struct db **out, struct errinfo *info) MUSTCHECK;

#endif
