/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/export_file.h - an export as a file that grows page by page, and
 * that is taken up again where it was cut. One thread. */
#ifndef PROXY_CLI_EXPORT_FILE_H
#define PROXY_CLI_EXPORT_FILE_H

#include "audit/export.h"
#include "proxy/cli/cli_priv.h"

struct export_done {
    uint64_t entries;
    struct buf note; /* the checkpoint; export_done_fini frees it */
    /* Called with each entry's bytes, those of an earlier run too. */
    void (*entry)(void *context, struct str entry);
    void *context;
};

/* Fetches all pages of what `body` asks for and writes header, lines and
 * trailer. With `resume` a file that was cut is taken up. done->note must be
 * initialised. 0, or 1 after it was said. */
int export_file_write(struct cli *cli, const char *path, bool resume,
    const json_t *body, struct export_done *done);
/* `audit verify` of an export: a line at a time. */
int export_file_verify(
    struct cli *cli, const char *path, const struct note_key *key);

/* `audit export --format ocsf`, into the command's first argument. body is
 * changed from page to page. */
int export_ocsf_write(struct cli *cli, json_t *body);

#endif
