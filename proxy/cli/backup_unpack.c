/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/backup_unpack.c - taking a backup apart (backup_set.h). What it
 * says of itself is believed only where it fits. */
#include "proxy/cli/backup_set.h"

#include "audit/pruned.h"
#include "audit/tiles.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/tar.h"
#include "proxy/settings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (1u << 20)
#define MANIFEST_MOST (256u << 20)
#define FOLDERS_OPEN 16

/* --- Folders --------------------------------------------------------- */

enum err backup_make_parents(
    const char *dir, const char *name, struct errinfo *info)
{
    enum err err = ERR_OK;
    char *path = file_join(dir, name);

    if (!path)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    for (char *at = path + strlen(dir) + 1; !err && (at = strchr(at, '/'));
         at++) {
        *at = '\0';
        err = file_make_dir(path, 0700, info);
        *at = '/';
    }
    free(path);
    return err;
}

static int remove_one(
    const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void backup_remove_tree(const char *path)
{
    nftw(path, remove_one, FOLDERS_OPEN, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

char *backup_key_elsewhere(const char *dir)
{
    struct settings *settings = NULL;
    struct buf findings;
    char *keys = file_join(dir, "keys/"), *path = NULL;

    buf_init(&findings, 65536);
    if (keys && settings_load(dir, &settings, &findings) == ERR_OK &&
        !str_starts(str_from(settings->log_key_file), str_from(keys)))
        path = strdup(settings->log_key_file);
    settings_free(&settings);
    buf_fini(&findings);
    free(keys);
    return path;
}

/* --- A tar archive --------------------------------------------------- */

struct archive {
    int fd;
    const char *name;
    uint64_t offset;
    uint8_t *chunk;
};

static enum err read_exactly(
    struct archive *archive, void *out, size_t n, struct errinfo *info)
{
    char *at = out;

    while (n > 0) {
        ssize_t got = read(archive->fd, at, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errinfo_errno(info, ERR_IO, "cannot read %s", archive->name);
        if (got == 0)
            return errinfo_set(info, ERR_CORRUPT,
                "%s ends after %llu bytes, in the midst of a member: it was "
                "cut short",
                archive->name, (unsigned long long)archive->offset);
        at += got;
        n -= (size_t)got;
        archive->offset += (uint64_t)got;
    }
    return ERR_OK;
}

static enum err unpack_member(struct archive *archive,
    const struct tar_member *member, const char *folder, struct errinfo *info)
{
    char *path = file_join(folder, member->path);
    int fd = -1;
    uint64_t left = member->size;
    enum err err = path ? backup_make_parents(folder, member->path, info)
                        : errinfo_set(info, ERR_NOMEM, "out of memory");

    if (!err) {
        fd = open(
            path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            err = errno == EEXIST
                      ? errinfo_set(info, ERR_CORRUPT, "%s holds %s twice",
                            archive->name, member->path)
                      : errinfo_errno(info, ERR_IO, "cannot make %s", path);
    }
    for (uint64_t done = 0; !err && left > 0;) {
        size_t n = left < CHUNK ? (size_t)left : CHUNK;
        err = read_exactly(archive, archive->chunk, n, info);
        if (!err && file_pwrite(fd, archive->chunk, n, (off_t)done) != ERR_OK)
            err = errinfo_errno(info, errno == ENOSPC ? ERR_FULL : ERR_IO,
                "cannot write %s", path);
        done += n;
        left -= n;
    }
    if (!err)
        err = read_exactly(
            archive, archive->chunk, tar_padding(member->size), info);
    if (!err && fsync(fd) != 0)
        err = errinfo_errno(info, ERR_IO, "cannot sync %s", path);
    if (fd >= 0)
        close(fd);
    free(path);
    return err;
}

static enum err unpack_archive(
    struct archive *archive, const char *folder, struct errinfo *info)
{
    uint8_t head[TAR_BLOCK];
    struct tar_member member;
    enum err err;

    for (;;) {
        uint64_t at = archive->offset;
        err = read_exactly(archive, head, sizeof head, info);
        if (err)
            return err;
        err = tar_read(head, &member, info);
        if (err == ERR_NOTFOUND)
            return ERR_OK;
        if (err)
            return errinfo_prefix(info, err, "%s, byte %llu", archive->name,
                (unsigned long long)at);
        if (member.folder)
            continue;
        err = unpack_member(archive, &member, folder, info);
        if (err)
            return err;
    }
}

/* --- A folder -------------------------------------------------------- */

static enum err copy_file(
    const char *from, const char *to, uint8_t *chunk, struct errinfo *info)
{
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), out = -1;
    struct stat status;
    enum err err = ERR_OK;
    ssize_t n = 0;
    off_t done = 0;

    if (in < 0)
        return errinfo_errno(info, errno == ENOENT ? ERR_CORRUPT : ERR_IO,
            "cannot read %s, which the manifest names", from);
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (out < 0)
        err = errinfo_errno(info, ERR_IO, "cannot make %s", to);
    while (!err && (n = read(in, chunk, CHUNK)) > 0) {
        if (file_pwrite(out, chunk, (size_t)n, done) != ERR_OK)
            err = errinfo_errno(info, errno == ENOSPC ? ERR_FULL : ERR_IO,
                "cannot write %s", to);
        done += n;
    }
    if (!err && n < 0)
        err = errinfo_errno(info, ERR_IO, "cannot read %s", from);
    /* A manifest, where there is one, has the last word. */
    if (!err &&
        (fstat(in, &status) != 0 || fchmod(out, status.st_mode & 0755) != 0))
        err = errinfo_errno(info, ERR_IO, "cannot set the mode of %s", to);
    if (!err && fsync(out) != 0)
        err = errinfo_errno(info, ERR_IO, "cannot sync %s", to);
    close(in);
    if (out >= 0)
        close(out);
    return err;
}

static enum err copy_named(const char *source, const char *name,
    const char *folder, uint8_t *chunk, struct errinfo *info)
{
    char *from = file_join(source, name), *to = file_join(folder, name);
    enum err err = from && to ? backup_make_parents(folder, name, info)
                              : errinfo_set(info, ERR_NOMEM, "out of memory");

    if (!err)
        err = copy_file(from, to, chunk, info);
    free(from);
    free(to);
    return err;
}

/* --- The manifest ---------------------------------------------------- */

static enum err load_manifest(const char *folder, const char *source,
    const char *expected, json_t **out, struct errinfo *info)
{
    struct buf text;
    json_error_t error;
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    const char *format;
    char *path = file_join(folder, BACKUP_MANIFEST);
    enum err err = ERR_NOMEM;

    buf_init(&text, MANIFEST_MOST);
    if (path)
        err = file_read(path, &text, info);
    if (err == ERR_NOTFOUND)
        err = errinfo_set(info, ERR_SYNTAX,
            "%s holds no " BACKUP_MANIFEST
            ": it is no backup of Bailiff's, or one that was never finished",
            source);
    if (err)
        goto out;
    crypto_sha256(digest, buf_str(&text).ptr, text.len);
    hex_write(hex, digest, sizeof digest);
    *out = json_loadb(
        buf_str(&text).ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    format = json_string_value(json_object_get(*out, "format"));
    if (expected && strcmp(expected, hex) != 0)
        err = errinfo_set(info, ERR_CORRUPT,
            "the manifest of %s is not the one that was asked for: its "
            "SHA-256 is %s",
            source, hex);
    else if (!*out)
        err = errinfo_set(info, ERR_SYNTAX, "%s: " BACKUP_MANIFEST ": %s",
            source, error.text);
    else if (!format || strcmp(format, BACKUP_FORMAT) != 0)
        err = errinfo_set(info, ERR_UNSUPPORTED,
            "%s: the manifest's format is \"%.40s\", and this version reads "
            "\"" BACKUP_FORMAT "\"",
            source, format ? format : "");
    else if (!json_is_array(json_object_get(*out, "files")))
        err = errinfo_set(
            info, ERR_SYNTAX, "%s: the manifest names no files", source);
out:
    if (err) {
        json_decref(*out);
        *out = NULL;
    }
    buf_fini(&text);
    free(path);
    return err;
}

static enum err check_file(const char *folder, const json_t *file,
    struct crypto_hash *hash, uint8_t *chunk, struct errinfo *info)
{
    const char *name = json_string_value(json_object_get(file, "path"));
    const char *sum = json_string_value(json_object_get(file, "sha256"));
    const char *mode = json_string_value(json_object_get(file, "mode"));
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1], *path;
    enum err err = ERR_OK;
    ssize_t n;
    int fd;

    if (!name || !sum || !mode || !tar_path_is_safe(str_from(name)))
        return errinfo_set(info, ERR_SYNTAX,
            "a file in the manifest has no good path, mode and sha256");
    path = file_join(folder, name);
    fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0) {
        free(path);
        return errinfo_set(
            info, ERR_CORRUPT, "%s is missing from the backup", name);
    }
    crypto_hash_begin(hash);
    while ((n = read(fd, chunk, CHUNK)) > 0)
        crypto_hash_update(hash, chunk, (size_t)n);
    crypto_hash_end(hash, digest);
    hex_write(hex, digest, sizeof digest);
    if (n < 0)
        err = errinfo_errno(info, ERR_IO, "cannot read %s", path);
    else if (strcmp(hex, sum) != 0)
        err = errinfo_set(info, ERR_CORRUPT,
            "%s is not the file that was backed up: its SHA-256 is %s, and "
            "the manifest has %s",
            name, hex, sum);
    else if (fchmod(fd, (mode_t)strtoul(mode, NULL, 8) & 0755) != 0)
        err = errinfo_errno(info, ERR_IO, "cannot change %s", path);
    close(fd);
    free(path);
    return err;
}

static _Thread_local size_t files_found; /* nftw has no context */

static int count_one(
    const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)path;
    (void)status;
    (void)where;
    files_found += type != FTW_D;
    return 0;
}

/* Every file of the manifest, and none but those. */
static enum err check_all(
    const char *folder, const json_t *files, struct errinfo *info)
{
    struct crypto_hash *hash = crypto_hash_new();
    uint8_t *chunk = malloc(CHUNK);
    enum err err =
        hash && chunk ? ERR_OK : errinfo_set(info, ERR_NOMEM, "out of memory");

    for (size_t i = 0; !err && i < json_array_size(files); i++)
        err = check_file(folder, json_array_get(files, i), hash, chunk, info);
    files_found = 0;
    if (!err &&
        nftw(folder, count_one, FOLDERS_OPEN, FTW_PHYS | FTW_MOUNT) != 0)
        err = errinfo_errno(info, ERR_IO, "cannot read %s", folder);
    if (!err && files_found != json_array_size(files) + 1)
        err = errinfo_set(info, ERR_CORRUPT,
            "the backup has %zu files, and its manifest names %zu: something "
            "was put in",
            files_found - 1, json_array_size(files));
    crypto_hash_free(&hash);
    free(chunk);
    return err;
}

/* --- A state directory ----------------------------------------------- */

/* Everything that is not derived, as `backup` would take it. The directory
 * belongs to nobody who runs (its lock is held meanwhile). */
static enum err take_tree(const char *source, const char *name,
    const char *folder, uint8_t *chunk, struct errinfo *info)
{
    char *path = file_join(source, name);
    DIR *list = path ? opendir(path) : NULL;
    const struct dirent *entry;
    enum err err = ERR_OK;

    while (!err && list && (entry = readdir(list))) {
        struct stat status;
        char *inner =
            entry->d_name[0] == '.' ? NULL : file_join(name, entry->d_name);
        char *full = inner ? file_join(source, inner) : NULL;
        if (full && lstat(full, &status) == 0) {
            if (S_ISDIR(status.st_mode))
                err = take_tree(source, inner, folder, chunk, info);
            else if (S_ISREG(status.st_mode))
                err = copy_named(source, inner, folder, chunk, info);
        }
        free(inner);
        free(full);
    }
    if (list)
        closedir(list);
    free(path);
    return err;
}

static enum err hold_lock(const char *source, int *fd, struct errinfo *info)
{
    char *path = file_join(source, "lock");

    *fd =
        path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    free(path);
    if (*fd < 0)
        return errinfo_errno(info, ERR_IO, "%s/lock", source);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK;
    close(*fd);
    *fd = -1;
    return errinfo_set(info, ERR_AGAIN,
        "%s is a state directory that a process uses: stop it, or make a "
        "backup of it and restore that",
        source);
}

/* The hash tiles of a prefix that was pruned: derived from nothing that is
 * still there. */
static enum err take_tiles(const char *source, const char *folder,
    uint8_t *chunk, struct errinfo *info)
{
    struct pruned pruned;
    char *segments = file_join(source, "journal/segments");
    enum err err = segments ? pruned_load(segments, &pruned, info)
                            : errinfo_set(info, ERR_NOMEM, "out of memory");

    free(segments);
    if (err || pruned.entries == 0)
        return err;
    for (uint64_t i = 0; !err && i < pruned_minimum_index(&pruned) / TILE_WIDTH;
         i++) {
        char tile[TILE_PATH_MAX], name[TILE_PATH_MAX + 8];
        tile_path(tile, 0, i, TILE_WIDTH);
        snprintf(name, sizeof name, "log/%s", tile);
        err = copy_named(source, name, folder, chunk, info);
    }
    return err;
}

static enum err take_state(const char *source, const char *folder,
    uint8_t *chunk, json_t **manifest, struct errinfo *info)
{
    static const char *const files[] = {"control.db", "control.db-journal",
        "persons.db", "persons.db-journal", "bailiff.conf", "log.vkey",
        "log/key-rotations", "key-usage"};
    static const char *const trees[] = {"tls", "keys", "blobs", "certificates",
        "former", "sinks", "journal/segments"};
    struct buf note;
    char made[CLOCK_TEXT_LENGTH];
    char *checkpoint = file_join(source, "log/checkpoint");
    int lock = -1;
    enum err err = checkpoint ? hold_lock(source, &lock, info)
                              : errinfo_set(info, ERR_NOMEM, "out of memory");

    buf_init(&note, 1u << 20);
    for (size_t i = 0; !err && i < sizeof files / sizeof files[0]; i++) {
        char *path = file_join(source, files[i]);
        if (path && file_exists(path))
            err = copy_named(source, files[i], folder, chunk, info);
        free(path);
    }
    for (size_t i = 0; !err && i < sizeof trees / sizeof trees[0]; i++)
        err = take_tree(source, trees[i], folder, chunk, info);
    if (!err)
        err = take_tiles(source, folder, chunk, info);
    if (!err)
        err = file_read(checkpoint, &note, info);
    if (!err) {
        clock_format(made, clock_now());
        *manifest = json_pack("{s:s, s:s%, s:s, s:s}", "format", BACKUP_FORMAT,
            "made", made, sizeof made, "keys", "with", "checkpoint",
            buf_cstr(&note));
        if (!*manifest)
            err = errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    if (lock >= 0)
        close(lock);
    buf_fini(&note);
    free(checkpoint);
    return err;
}

static bool is_state(const char *source)
{
    char *manifest = file_join(source, BACKUP_MANIFEST);
    char *control = file_join(source, "control.db");
    char *segments = file_join(source, "journal/segments");
    char *derived = file_join(source, "journal/state");
    bool is = manifest && control && segments && derived &&
              !file_exists(manifest) && file_exists(control) &&
              file_exists(segments) && file_exists(derived);

    free(manifest);
    free(control);
    free(segments);
    free(derived);
    return is;
}

/* --- All of it ------------------------------------------------------- */

static enum err take_folder(const char *source, const char *folder,
    const char *expected, uint8_t *chunk, json_t **manifest,
    struct errinfo *info)
{
    const json_t *files;
    enum err err = load_manifest(source, source, expected, manifest, info);

    if (err)
        return err;
    files = json_object_get(*manifest, "files");
    for (size_t i = 0; !err && i < json_array_size(files); i++) {
        const char *name = json_string_value(
            json_object_get(json_array_get(files, i), "path"));
        if (!name || !tar_path_is_safe(str_from(name)))
            err = errinfo_set(
                info, ERR_SYNTAX, "a file in the manifest has no good path");
        else
            err = copy_named(source, name, folder, chunk, info);
    }
    if (!err)
        err = copy_named(source, BACKUP_MANIFEST, folder, chunk, info);
    return err;
}

static enum err take_archive(const char *source, const char *folder,
    uint8_t *chunk, struct errinfo *info)
{
    bool pipe = strcmp(source, "-") == 0;
    struct archive archive = {
        .name = pipe ? "standard input" : source, .chunk = chunk};
    enum err err;

    archive.fd = pipe ? STDIN_FILENO : open(source, O_RDONLY | O_CLOEXEC);
    if (archive.fd < 0)
        return errinfo_errno(info, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
            "cannot open %s", source);
    err = unpack_archive(&archive, folder, info);
    if (!pipe)
        close(archive.fd);
    return err;
}

enum err backup_unpack(const char *source, const char *folder,
    const char *expected, json_t **manifest, struct errinfo *info)
{
    struct stat status;
    uint8_t *chunk = malloc(CHUNK);
    bool is_folder = strcmp(source, "-") != 0 && stat(source, &status) == 0 &&
                     S_ISDIR(status.st_mode);
    enum err err;

    *manifest = NULL;
    if (!chunk)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    if (is_folder && is_state(source)) {
        err = expected
                  ? errinfo_set(info, ERR_INVALID,
                        "%s is a state directory and has no manifest", source)
                  : take_state(source, folder, chunk, manifest, info);
        free(chunk);
        return err; /* no manifest says what it was */
    }
    if (is_folder) {
        err = take_folder(source, folder, expected, chunk, manifest, info);
    } else {
        err = take_archive(source, folder, chunk, info);
        if (!err)
            err = load_manifest(folder, source, expected, manifest, info);
    }
    if (!err)
        err = check_all(folder, json_object_get(*manifest, "files"), info);
    if (err) {
        json_decref(*manifest);
        *manifest = NULL;
    }
    free(chunk);
    return err;
}
