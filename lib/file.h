/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/file.h - whole files, written so that a crash leaves the old or the new.
 *
 * Every function names the path in its error. */
#ifndef LIB_FILE_H
#define LIB_FILE_H

#include "lib/buf.h"

#include <sys/types.h>

/* Appends the whole file to out; ERR_LIMIT when larger than out's ceiling. */
enum err file_read(
    const char *path, struct buf *out, struct errinfo *info) MUSTCHECK;
/* Temporary file in the same folder, fsync, rename, fsync of the folder. */
enum err file_replace(const char *path, struct str content, mode_t mode,
    struct errinfo *info) MUSTCHECK;
/* Like file_replace; ERR_EXISTS when the path is there already. */
enum err file_create(const char *path, struct str content, mode_t mode,
    struct errinfo *info) MUSTCHECK;
enum err file_make_dir(const char *path, mode_t mode,
    struct errinfo *info) MUSTCHECK; /* existing: ok */
enum err file_sync_dir(const char *path, struct errinfo *info) MUSTCHECK;
bool file_exists(const char *path);
/* pread/pwrite until all n bytes are through or the system refuses.
 * file_pread: ERR_CLOSED when the file ends before n bytes. */
enum err file_pread(int fd, void *out, size_t n, off_t offset) MUSTCHECK;
enum err file_pwrite(
    int fd, const void *bytes, size_t n, off_t offset) MUSTCHECK;
/* "dir/name" into a malloc'd string, given; NULL: out of memory. */
char *file_join(const char *dir, const char *name);

#endif
