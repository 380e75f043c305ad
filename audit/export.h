/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/export.h - entries as lines that others can check.
 *
 * An export is JSONL: a header with the signed checkpoint, a line per entry
 * with its proof, and a trailer with count and SHA-256, without which it is
 * cut short. Line: {"entry":{...},"index":N,"proof":["..."...],"record":N?};
 * the entry's bytes are those of the log. schema/verify.py and audit_export_
 * verify check one. Who writes the file is the CLI: here are its lines. */
#ifndef AUDIT_EXPORT_H
#define AUDIT_EXPORT_H

#include "audit/checkpoint.h"
#include "audit/show.h"

#define EXPORT_FORMAT "bailiff-export-1"
#define EXPORT_LINE_MAX (1u << 20)

/* The line of one entry, with its newline. record: the seq of the row that it
 * belongs to; negative: none. log_dir holds the tiles. */
enum err audit_export_line(const char *log_dir,
    const struct checkpoint *checkpoint, uint64_t index, struct str entry,
    int64_t record, struct buf *out, struct errinfo *info) MUSTCHECK;

struct audit_export_head {
    struct str note;    /* the checkpoint that all proofs lead to */
    bool whole;         /* every entry of [from, to) */
    uint64_t from, to;  /* whole */
    struct str filters; /* canonical JSON object: what was asked for */
};
void audit_export_header(const struct audit_export_head *head, struct buf *out);
void audit_export_trailer(
    uint64_t entries, const char sha256_hex[65], struct buf *out);

struct audit_export_result {
    uint64_t entries, size;
    char origin[256];
};
/* Reads an export as it comes: `next` gives the next line with its newline
 * (borrowed until the next call), ERR_NOTFOUND at the end. ERR_CORRUPT,
 * ERR_SYNTAX: what is wrong, in words. */
struct audit_export_source {
    enum err (*next)(void *context, struct str *line, struct errinfo *info);
    void *context;
};
enum err audit_export_verify(const struct audit_export_source *source,
    const struct note_key *key, struct audit_export_result *out,
    struct errinfo *info) MUSTCHECK;

/* The entry's bytes within a line; false: no line of an entry. */
bool audit_export_entry(struct str line, struct str *entry);

#endif
