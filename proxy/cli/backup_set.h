/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/backup_set.h - the files of a backup: a folder or a tar archive,
 * and the manifest that says what they are.
 *
 * MANIFEST.json is the last member: {"format": "bailiff-backup-1", "made",
 * "version", "origin", "entries", "checkpoint", "keys", "files": [{"path",
 * "bytes", "mode", "sha256"}, ...]}. Nothing that it does not name is taken
 * out of a backup, and nothing that it names may be missing or other. One
 * thread. */
#ifndef PROXY_CLI_BACKUP_SET_H
#define PROXY_CLI_BACKUP_SET_H

#include "lib/crypto.h"

#include <jansson.h>

#define BACKUP_FORMAT "bailiff-backup-1"
#define BACKUP_MANIFEST "MANIFEST.json"

/* --- Writing --------------------------------------------------------- */

struct backup_sink;
/* "-": a tar archive on standard output; a name that ends in ".tar": one in a
 * new file (mode 0600); else a new folder (0700). gives *out. */
enum err backup_sink_open(const char *target, struct backup_sink **out,
    struct errinfo *info) MUSTCHECK;
/* The first `most` bytes of a file (UINT64_MAX: as many as it has now). */
enum err backup_sink_file(struct backup_sink *sink, const char *name,
    const char *path, uint64_t most, struct errinfo *info) MUSTCHECK;
/* Writes the manifest: `about` (taken) and the files. Makes all durable.
 * manifest: SHA-256 of the manifest's text. */
enum err backup_sink_finish(struct backup_sink *sink, json_t *about,
    uint8_t manifest[SHA256_SIZE], struct errinfo *info) MUSTCHECK;
uint64_t backup_sink_bytes(const struct backup_sink *sink);
uint64_t backup_sink_files(const struct backup_sink *sink);
/* Unfinished: what was written is removed again. */
void backup_sink_close(struct backup_sink **sink);

/* --- Reading --------------------------------------------------------- */

/* A stopped state directory is taken as it is (there is no manifest then).
 * Else: takes a folder, a tar archive or ("-") standard input apart into
 * `folder`, which exists and is empty, and holds everything against the
 * manifest. `expected`, where not NULL, is the SHA-256 that the manifest must
 * have, as hex. *manifest (given) is its content. ERR_SYNTAX: no backup;
 * ERR_CORRUPT: a file is missing, other, or not named. */
enum err backup_unpack(const char *source, const char *folder,
    const char *expected, json_t **manifest, struct errinfo *info) MUSTCHECK;

/* Makes the folders above dir/name (0700). */
enum err backup_make_parents(
    const char *dir, const char *name, struct errinfo *info) MUSTCHECK;
void backup_remove_tree(const char *path); /* with all that is in it */

/* Where dir/bailiff.conf says that the log's signing key is (log_key_file), if
 * that is not in dir/keys. gives; NULL: it is there. */
char *backup_key_elsewhere(const char *dir);

#endif
