/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/tar.h - heads of members of a tar archive (POSIX ustar), one block each.
 *
 * Only plain files are written; folders are read too and links are refused, so
 * that unpacking can never write outside of where it should. Pure. */
#ifndef LIB_TAR_H
#define LIB_TAR_H

#include "lib/err.h"
#include "lib/str.h"

#define TAR_BLOCK 512u
#define TAR_PATH_MAX 255
#define TAR_SIZE_MAX INT64_C(0777777777777) /* 8 GiB less one, as octal */

struct tar_member {
    char path[TAR_PATH_MAX + 1]; /* relative, without "./" before it */
    uint64_t size;
    unsigned mode; /* permission bits */
    bool folder;
};

/* ERR_RANGE: the path is longer than 100 bytes or the file than TAR_SIZE_MAX.
 */
enum err tar_write(uint8_t block[TAR_BLOCK], const struct tar_member *member,
    int64_t modified_seconds) MUSTCHECK;
/* ERR_NOTFOUND: a block of zeros, the end. ERR_SYNTAX: no head of a member.
 * ERR_UNSUPPORTED: a link, a device, or an extension. ERR_DENIED: a path that
 * leads out (absolute, "..", empty parts). */
enum err tar_read(const uint8_t block[TAR_BLOCK], struct tar_member *out,
    struct errinfo *info) MUSTCHECK;
/* Is it a relative path of plain parts? */
bool tar_path_is_safe(struct str path);
/* Bytes of filling behind a member of this size. */
size_t tar_padding(uint64_t size);

#endif
