/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/blob.c - see blob.h. */
#include "audit/blob.h"

#include "lib/encode.h"
#include "lib/file.h"
#include "lib/must.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAGIC_SIZE (sizeof(BLOB_MAGIC) - 1)
#define PIECE 65536

const char *blob_which_name(enum blob_which which)
{
    return which == BLOB_REQUEST ? "request" : "answer";
}

/* --- The bytes ------------------------------------------------------------ */

static struct str binding(char text[128], struct str id, enum blob_which which)
{
    int n = snprintf(text, 128, "content\n%.*s\n%s",
        id.len < 64 ? (int)id.len : 64, id.ptr, blob_which_name(which));
    return str_make(text, (size_t)n);
}

static void commit_to(const uint8_t salt[BLOB_SALT_SIZE], struct str content,
    struct crypto_hash *hash, char hex[2 * SHA256_SIZE + 1])
{
    uint8_t digest[SHA256_SIZE];
    crypto_hash_begin(hash);
    crypto_hash_update(hash, salt, BLOB_SALT_SIZE);
    crypto_hash_update(hash, content.ptr, content.len);
    crypto_hash_end(hash, digest);
    hex_write(hex, digest, sizeof(digest));
    hex[2 * SHA256_SIZE] = '\0';
}

static void hash_file(struct str file, char hex[2 * SHA256_SIZE + 1])
{
    uint8_t digest[SHA256_SIZE];
    crypto_sha256(digest, file.ptr, file.len);
    hex_write(hex, digest, sizeof(digest));
    hex[2 * SHA256_SIZE] = '\0';
}

enum err blob_seal(struct crypto_aead *aead, const struct seal_key *key,
    struct str id, enum blob_which which, struct str content, struct buf *out,
    struct blob_commitment *commitment)
{
    char text[128];
    struct buf plain;
    uint8_t nonce[AEAD_NONCE_SIZE], salt[BLOB_SALT_SIZE];
    struct crypto_hash *hash = crypto_hash_new();
    size_t start = out->len;
    enum err err = ERR_NOMEM;
    crypto_random(salt, sizeof(salt));
    crypto_random(nonce, sizeof(nonce));
    buf_init(&plain, content.len + BLOB_SALT_SIZE);
    buf_append(&plain, salt, sizeof(salt));
    buf_append_str(&plain, content);
    uint8_t *to = (uint8_t *)buf_reserve(out, content.len + BLOB_OVERHEAD);
    if (hash != NULL && !plain.failed && to != NULL) {
        memcpy(to, BLOB_MAGIC, MAGIC_SIZE);
        memcpy(to + MAGIC_SIZE, nonce, sizeof(nonce));
        err = crypto_aead_seal(aead, key->key, nonce, binding(text, id, which),
            plain.ptr, plain.len, to + MAGIC_SIZE + sizeof(nonce));
    }
    if (err == ERR_OK) {
        buf_grew(out, content.len + BLOB_OVERHEAD);
        struct str all = buf_str(out);
        hash_file(str_make(all.ptr + start, all.len - start), commitment->blob);
        commit_to(salt, content, hash, commitment->commitment);
        commitment->bytes = (int64_t)content.len;
    }
    if (plain.ptr != NULL)
        crypto_wipe(plain.ptr, plain.cap);
    buf_fini(&plain);
    crypto_wipe(salt, sizeof(salt));
    crypto_hash_free(&hash);
    return err;
}

enum err blob_open(struct crypto_aead *aead, const struct seal_key *key,
    struct str id, enum blob_which which, struct str file,
    const struct blob_commitment *expected, struct buf *out,
    struct errinfo *info)
{
    char text[128], hex[2 * SHA256_SIZE + 1];
    hash_file(file, hex);
    if (strcmp(hex, expected->blob) != 0)
        return errinfo_set(info, ERR_CORRUPT,
            "the kept %s of %.*s is not the one that its entry commits to",
            blob_which_name(which), STR_ARG(id));
    if (file.len < BLOB_OVERHEAD || memcmp(file.ptr, BLOB_MAGIC, MAGIC_SIZE))
        return errinfo_set(info, ERR_CORRUPT, "the kept %s of %.*s is no blob",
            blob_which_name(which), STR_ARG(id));
    const uint8_t *nonce = (const uint8_t *)file.ptr + MAGIC_SIZE;
    size_t sealed = file.len - MAGIC_SIZE - AEAD_NONCE_SIZE;
    size_t length = sealed - AEAD_TAG_SIZE;
    uint8_t *plain = malloc(length + 1);
    struct crypto_hash *hash = crypto_hash_new();
    enum err err = plain == NULL || hash == NULL
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : ERR_OK;
    if (err == ERR_OK &&
        crypto_aead_open(aead, key->key, nonce, binding(text, id, which),
            nonce + AEAD_NONCE_SIZE, sealed, plain) != ERR_OK)
        err = errinfo_set(info, ERR_CORRUPT,
            "the kept %s of %.*s does not open with sealing key %s",
            blob_which_name(which), STR_ARG(id), key->id);
    if (err == ERR_OK) {
        struct str content = str_make(
            (const char *)plain + BLOB_SALT_SIZE, length - BLOB_SALT_SIZE);
        commit_to(plain, content, hash, hex);
        if (strcmp(hex, expected->commitment) != 0)
            err = errinfo_set(info, ERR_CORRUPT,
                "the kept %s of %.*s is not the content that its entry "
                "commits to",
                blob_which_name(which), STR_ARG(id));
        else
            buf_append_str(out, content);
        if (err == ERR_OK && out->failed)
            err = errinfo_set(info, ERR_NOMEM,
                "the kept %s of %.*s does not fit into memory",
                blob_which_name(which), STR_ARG(id));
    }
    if (plain != NULL)
        crypto_wipe(plain, length);
    free(plain);
    crypto_hash_free(&hash);
    return err;
}

/* --- The files ------------------------------------------------------------ */

/* Ids come from entries and requests of ours; what is none leads nowhere. */
static bool is_plain_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                (c >= 'A' && c <= 'Z') || c == '_'))
            return false;
    }
    return name.len > 0 && name.len <= 64;
}

/* In malloc'd memory; NULL: out of memory, or no names. id empty: the key's
 * folder. */
static char *path_of(const char *state_dir, struct str key_id, struct str id,
    enum blob_which which)
{
    size_t size = strlen(state_dir) + 192;
    char *path = malloc(size);
    if (path == NULL || !is_plain_name(key_id) ||
        (id.len > 0 && !is_plain_name(id))) {
        free(path);
        return NULL;
    }
    if (id.len == 0)
        snprintf(path, size, "%s/blobs/%.*s", state_dir, STR_ARG(key_id));
    else
        snprintf(path, size, "%s/blobs/%.*s/%.*s.%s", state_dir,
            STR_ARG(key_id), STR_ARG(id), blob_which_name(which));
    return path;
}

enum err blob_folder_make(const char *state_dir, struct errinfo *info)
{
    char *path = file_join(state_dir, "blobs");
    if (path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = file_make_dir(path, 0700, info);
    if (err == ERR_OK)
        err = file_sync_dir(state_dir, info);
    free(path);
    return err;
}

static enum err make_key_folder(
    const char *state_dir, const char *folder, struct errinfo *info)
{
    if (mkdir(folder, 0700) != 0) {
        if (errno == EEXIST)
            return ERR_OK;
        return errinfo_errno(
            info, errno == ENOSPC ? ERR_FULL : ERR_IO, "%s", folder);
    }
    char *blobs = file_join(state_dir, "blobs");
    if (blobs == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = file_sync_dir(blobs, info);
    free(blobs);
    return err;
}

static enum err check_room(
    const char *folder, uint64_t size, uint64_t floor, struct errinfo *info)
{
    struct statvfs fs;
    if (statvfs(folder, &fs) != 0)
        return errinfo_errno(info, ERR_IO, "%s", folder);
    uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (left < size + floor)
        return errinfo_set(info, ERR_FULL,
            "%s: %llu MiB are left on the disk, too few to keep content; make "
            "room",
            folder, (unsigned long long)(left >> 20));
    return ERR_OK;
}

static enum err write_durably(
    const char *path, struct str file, struct errinfo *info)
{
    int fd =
        open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errinfo_errno(
            info, errno == ENOSPC ? ERR_FULL : ERR_IO, "%s", path);
    enum err err = file_pwrite(fd, file.ptr, file.len, 0);
    if (err == ERR_OK && fdatasync(fd) != 0)
        err = ERR_IO;
    if (err != ERR_OK) {
        err = errinfo_errno(
            info, errno == ENOSPC ? ERR_FULL : ERR_IO, "%s", path);
        (void)unlink(path);
    }
    close(fd);
    return err;
}

enum err blob_write(const char *state_dir, struct str key_id, struct str id,
    enum blob_which which, struct str file, uint64_t floor,
    struct errinfo *info)
{
    char *path = path_of(state_dir, key_id, id, which);
    char *folder = path_of(state_dir, key_id, STR(""), which);
    enum err err = path == NULL || folder == NULL
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : ERR_OK;
    if (err == ERR_OK)
        err = make_key_folder(state_dir, folder, info);
    if (err == ERR_OK)
        err = check_room(folder, file.len, floor, info);
    if (err == ERR_OK)
        err = write_durably(path, file, info);
    if (err == ERR_OK) {
        err = file_sync_dir(folder, info);
        if (err != ERR_OK)
            (void)unlink(path);
    }
    free(path);
    free(folder);
    return err;
}

enum err blob_read(const char *state_dir, struct str key_id, struct str id,
    enum blob_which which, struct buf *out, struct errinfo *info)
{
    char *path = path_of(state_dir, key_id, id, which);
    if (path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = file_exists(path) ? file_read(path, out, info)
                                     : errinfo_set(info, ERR_NOTFOUND,
                                           "%s is not there", path);
    free(path);
    return err;
}

enum err blob_check(const char *state_dir, struct str key_id, struct str id,
    enum blob_which which, struct str sha256_hex, struct errinfo *info)
{
    char *path = path_of(state_dir, key_id, id, which);
    uint8_t *piece = malloc(PIECE), digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    struct crypto_hash *hash = crypto_hash_new();
    enum err err = ERR_OK;
    int fd = -1;
    if (path == NULL || piece == NULL || hash == NULL) {
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        err = errno == ENOENT || errno == ENOTDIR
                  ? errinfo_set(info, ERR_NOTFOUND, "%s is not there", path)
                  : errinfo_errno(info, ERR_IO, "%s", path);
        goto out;
    }
    crypto_hash_begin(hash);
    ssize_t n;
    while ((n = read(fd, piece, PIECE)) > 0)
        crypto_hash_update(hash, piece, (size_t)n);
    crypto_hash_end(hash, digest);
    hex_write(hex, digest, sizeof(digest));
    if (n < 0)
        err = errinfo_errno(info, ERR_IO, "%s", path);
    else if (!str_equal(str_make(hex, 2 * SHA256_SIZE), sha256_hex))
        err = errinfo_set(info, ERR_CORRUPT, "%s has other bytes", path);
out:
    if (fd >= 0)
        close(fd);
    crypto_hash_free(&hash);
    free(piece);
    free(path);
    return err;
}

void blob_remove(const char *state_dir, struct str key_id, struct str id,
    enum blob_which which)
{
    char *path = path_of(state_dir, key_id, id, which);
    if (path != NULL)
        (void)unlink(path);
    free(path);
}

static enum err empty_folder(
    const char *folder, uint64_t *files, uint64_t *bytes, struct errinfo *info)
{
    DIR *dir = opendir(folder);
    struct dirent *one;
    enum err err = ERR_OK;
    if (dir == NULL)
        return errinfo_errno(info, ERR_IO, "%s", folder);
    while (err == ERR_OK && (one = readdir(dir)) != NULL) {
        struct stat st;
        if (one->d_name[0] == '.')
            continue;
        if (fstatat(dirfd(dir), one->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            *bytes += (uint64_t)st.st_size;
        ++*files;
        if (unlinkat(dirfd(dir), one->d_name, 0) != 0 && errno != ENOENT)
            err = errinfo_errno(info, ERR_IO, "%s/%s", folder, one->d_name);
    }
    if (err == ERR_OK && fsync(dirfd(dir)) != 0)
        err = errinfo_errno(info, ERR_IO, "%s", folder);
    closedir(dir);
    return err;
}

enum err blob_count_key(const char *state_dir, struct str key_id,
    uint64_t *files, uint64_t *bytes, struct errinfo *info)
{
    char *folder = path_of(state_dir, key_id, STR(""), BLOB_REQUEST);
    const struct dirent *entry;
    if (folder == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    DIR *dir = opendir(folder);
    enum err err = dir != NULL || errno == ENOENT
                       ? ERR_OK
                       : errinfo_errno(info, ERR_IO, "cannot read %s", folder);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        struct stat status;
        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name,
                                           &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        ++*files;
        *bytes += (uint64_t)status.st_size;
    }
    if (dir != NULL)
        closedir(dir);
    free(folder);
    return err;
}

enum err blob_remove_key(const char *state_dir, struct str key_id,
    uint64_t *files, uint64_t *bytes, struct errinfo *info)
{
    char *folder = path_of(state_dir, key_id, STR(""), BLOB_REQUEST);
    char *blobs = file_join(state_dir, "blobs");
    enum err err = ERR_OK;
    if (folder == NULL || blobs == NULL)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    else if (file_exists(folder)) {
        err = empty_folder(folder, files, bytes, info);
        if (err == ERR_OK && rmdir(folder) != 0 && errno != ENOENT)
            err = errinfo_errno(info, ERR_IO, "%s", folder);
        if (err == ERR_OK)
            err = file_sync_dir(blobs, info);
    }
    free(folder);
    free(blobs);
    return err;
}
