/* SPDX-License-Identifier: Apache-2.0
 *
 * schema/schema_priv.h - inside of schema/: which tables a kind of database
 * has, and opening with a schema of one's own (the tests of migration do). */
#ifndef SCHEMA_SCHEMA_PRIV_H
#define SCHEMA_SCHEMA_PRIV_H

#include "schema/db.h"

/* One kind of database. `version` (user_version) grows by one whenever a
 * release has other tables than the one before it. */
struct db_schema {
    const char *what; /* for people: "control database" */
    int32_t application_id;
    int version;
    const char *create;
    enum {
        OLDER_MIGRATES, /* when it is opened to be written */
        OLDER_WAITS,    /* for its owner, who must call db_migrate */
        OLDER_IS_REFUSED
    } older;
    const char *pragmas; /* journal, synchronous, secure_delete */
    bool check_on_open;  /* quick_check: small, and nothing works without */
};

const struct db_schema *db_schema_of(enum db_kind kind);

enum db_mode { DB_MODE_READONLY, DB_MODE_WRITE, DB_MODE_CREATE };

enum err db_open_schema(const char *path, const struct db_schema *schema,
    enum db_mode mode, struct db **out, struct errinfo *info) MUSTCHECK;
/* As db_migrate, of a schema of one's own. */
enum err db_migrate_schema(struct db *db, const struct db_schema *schema,
    db_in_migration *also, void *context, struct errinfo *info) MUSTCHECK;

#endif
