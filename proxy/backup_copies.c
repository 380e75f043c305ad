/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/backup_copies.c - see backup_copies.h. */
#include "proxy/backup_copies.h"

#include "lib/clock.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const names[] = {"control.db", "persons.db"};

/* Files first; a folder with anything else in it stays. */
static bool remove_folder(const char *folder)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = file_join(folder, names[i]);
        if (path && unlink(path) != 0 && errno != ENOENT)
            log_warn("copy_not_removed", "path=%s errno=%d", path, errno);
        free(path);
    }
    return rmdir(folder) == 0;
}

static enum err copy_both(const char *folder, struct db *control,
    struct db *persons, struct errinfo *info)
{
    struct db *const databases[] = {control, persons};
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < sizeof names / sizeof names[0]; i++) {
        char *path = file_join(folder, names[i]);
        err = path ? db_copy(databases[i], path, info)
                   : errinfo_set(info, ERR_NOMEM, "out of memory");
        free(path);
    }
    return err;
}

enum err backup_copies_make(const char *dir, const char *id, struct db *control,
    struct db *persons, char **folder, struct errinfo *info)
{
    char *parent = file_join(dir, "backup");
    char *path = parent ? file_join(parent, id) : NULL;
    enum err err = path ? file_make_dir(parent, 0700, info)
                        : errinfo_set(info, ERR_NOMEM, "out of memory");

    if (!err)
        err = file_make_dir(path, 0700, info);
    if (!err)
        err = copy_both(path, control, persons, info);
    if (err && path)
        remove_folder(path);
    free(parent);
    if (err) {
        free(path);
        path = NULL;
    }
    *folder = path;
    return err;
}

enum err backup_copies_remove(
    const char *dir, const char *id, struct errinfo *info)
{
    char *parent = file_join(dir, "backup");
    char *path = parent ? file_join(parent, id) : NULL;
    enum err err = ERR_OK;

    if (!path)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    else if (!ulid_is_valid(str_from(id)) || !file_exists(path))
        err = errinfo_set(info, ERR_NOTFOUND,
            "no backup %.40s is under way: it has ended, or the server was "
            "started anew since; begin again",
            id);
    else if (!remove_folder(path))
        err = errinfo_errno(info, ERR_IO, "cannot remove %s", path);
    if (!err)
        rmdir(parent); /* when it was the last one */
    free(parent);
    free(path);
    return err;
}

void backup_copies_sweep(const char *dir, int64_t older_than_us)
{
    char *parent = file_join(dir, "backup");
    DIR *list = parent ? opendir(parent) : NULL;
    const struct dirent *entry;
    int64_t now = clock_now();

    while (list && (entry = readdir(list))) {
        struct stat status;
        char *path =
            entry->d_name[0] == '.' ? NULL : file_join(parent, entry->d_name);
        if (path && ulid_is_valid(str_from(entry->d_name)) &&
            lstat(path, &status) == 0 && S_ISDIR(status.st_mode) &&
            status.st_mtime * SECOND_US <= now - older_than_us &&
            !remove_folder(path))
            log_warn("copy_not_removed", "path=%s errno=%d", path, errno);
        free(path);
    }
    if (list) {
        closedir(list);
        rmdir(parent);
    }
    free(parent);
}
