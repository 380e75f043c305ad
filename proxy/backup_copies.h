/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/backup_copies.h - copies of the two databases of one moment, in
 * DIR/backup/ID, for whoever makes a backup of the rest. They hold names of
 * persons, so none may be left lying about: each is removed at the end, and
 * what a backup that was broken off left is removed at the next start or the
 * next backup. */
#ifndef PROXY_BACKUP_COPIES_H
#define PROXY_BACKUP_COPIES_H

#include "schema/db.h"

/* `id`: 26 characters. Copies control.db and persons.db; the owner of both
 * holds its lock. *folder is given. */
enum err backup_copies_make(const char *dir, const char *id, struct db *control,
    struct db *persons, char **folder, struct errinfo *info) MUSTCHECK;
/* ERR_NOTFOUND: there are none of this name. */
enum err backup_copies_remove(
    const char *dir, const char *id, struct errinfo *info) MUSTCHECK;
/* Removes those that are older than this. A failure is logged. */
void backup_copies_sweep(const char *dir, int64_t older_than_us);

#endif
