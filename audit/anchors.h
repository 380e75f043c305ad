/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/anchors.h - hands checkpoints to those who keep them for us.
 *
 * What a log proves is integrity since the last checkpoint that somebody else
 * holds. An anchor is a file (on a mount elsewhere), a folder, or a command;
 * every so many minutes the newest checkpoint goes there. A thread of its own,
 * so that a mount that hangs or a command that never ends holds nothing else
 * up; a failure is logged, shown in status, and tried again. */
#ifndef AUDIT_ANCHORS_H
#define AUDIT_ANCHORS_H

#include "lib/buf.h"

#define ANCHOR_NAME_MAX 128
#define ANCHOR_TARGET_MAX 1024

enum anchor_kind {
    ANCHOR_FILE,   /* a folder: one file per checkpoint, checkpoint-SIZE, never
                      overwritten; else a file that notes are appended to, each
                      followed by an empty line */
    ANCHOR_COMMAND /* /bin/sh -c TARGET, the note on standard input; exit status
                      0 within 30 seconds */
};

/* A row of table anchor. Texts are copied. */
struct anchor {
    struct str name;
    enum anchor_kind kind;
    struct str target;
    int64_t every_minutes;
};

struct anchors;
struct anchors_options {
    /* Appends the newest signed checkpoint (audit_log_checkpoint). Called on
     * the thread of the anchors. */
    enum err (*checkpoint)(
        void *context, struct buf *out, struct errinfo *info);
    void *context;
};
/* gives *out; without anchors until anchors_set. */
enum err anchors_start(const struct anchors_options *options,
    struct anchors **out, struct errinfo *info) MUSTCHECK;
/* Waits for a command that runs (30 seconds at most), joins, frees. NULL ok. */
void anchors_stop(struct anchors **anchors);

/* The rows as they are now. One that is new or was changed is due at once.
 * Any thread. */
enum err anchors_set(struct anchors *anchors, const struct anchor *rows,
    size_t count, struct errinfo *info) MUSTCHECK;

struct anchor_status {
    char name[ANCHOR_NAME_MAX];
    int64_t tried_us;  /* 0: never */
    int64_t handed_us; /* the last success; 0: never */
    uint64_t size;     /* entries covered by what was handed over last */
    bool failed;       /* the last attempt */
    char why[512];     /* when failed */
};
/* Fills up to `room`; gives how many there are. Any thread. */
size_t anchors_status(
    struct anchors *anchors, struct anchor_status *out, size_t room);

/* Hands a note over once, on this thread (`audit anchor NAME` and tests). */
enum err anchor_hand(const struct anchor *anchor, struct str note,
    uint64_t size, struct errinfo *info) MUSTCHECK;
/* The newest note of a file that notes were appended to: for
 * `audit verify --against FILE`. ERR_SYNTAX: there is none. */
enum err anchor_last_note(struct str file, struct str *note) MUSTCHECK;

#endif
