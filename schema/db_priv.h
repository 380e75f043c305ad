/* SPDX-License-Identifier: Apache-2.0
 *
 * schema/db_priv.h - inside of schema/: the bare connection. */
#ifndef SCHEMA_DB_PRIV_H
#define SCHEMA_DB_PRIV_H

#include "schema/db.h"

/* Opens an existing file and nothing more. gives *out. */
enum err db_open_file(const char *path, bool readonly, struct db **out,
    struct errinfo *info) MUSTCHECK;
/* What every connection of ours has, whatever the kind. */
enum err db_harden(
    struct db *db, int busy_timeout_ms, struct errinfo *info) MUSTCHECK;
const char *db_path(const struct db *db);
void db_set_older(struct db *db, int64_t version); /* 0: it is not */

#endif
