/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/segment.h - the files that the journal consists of.
 *
 * DIR/journal/segments/NNNNNNNN.seg, numbered from 1 without gaps; where a
 * prefix was pruned (pruned.h), from the first that was kept. A segment
 * begins with one page of header, {magic, sequence, first index, identity of
 * the log, hash of the frame before}, and then holds frames back to back, then
 * zeros. It is preallocated and zero-filled before it is put to use, so that
 * appending changes no metadata.
 *
 * Where the first index of a later segment lies inside an earlier one, the
 * later one holds: that is how a start after a crash re-writes the tail. The
 * entries that count in segment s are [first of s, smallest first of those
 * after s).
 *
 * The maker is a thread that keeps spare segments ready. Not here: what is in
 * a segment (frame.h), who appends (journal.h), who reads
 * (journal_reader.h). */
#ifndef AUDIT_SEGMENT_H
#define AUDIT_SEGMENT_H

#include "audit/pruned.h"

#define SEGMENT_PAGE 4096u
#define SEGMENT_HEADER_SIZE SEGMENT_PAGE
#define SEGMENT_BYTES_DEFAULT (UINT64_C(64) << 20)
#define SEGMENT_BYTES_LEAST (UINT64_C(256) << 10)
#define SEGMENT_BYTES_MOST (UINT64_C(4) << 30)

struct segment_header {
    uint64_t sequence; /* from 1 */
    uint64_t first;    /* index of its first entry */
    uint64_t bytes;    /* of the whole file */
    int64_t created_us;
    uint8_t identity[SHA256_SIZE]; /* of the log: name and key */
    uint8_t previous[SHA256_SIZE]; /* hash of the frame before */
};

void segment_header_encode(
    uint8_t page[SEGMENT_PAGE], const struct segment_header *header);
/* ERR_CORRUPT: *reason says in static words what is wrong. */
enum err segment_header_decode(const uint8_t page[SEGMENT_PAGE],
    struct segment_header *header, const char **reason) MUSTCHECK;

#define SEGMENT_NAME_SIZE 32
/* "00000001.seg" */
void segment_name(char out[SEGMENT_NAME_SIZE], uint64_t sequence);
/* gives dir/NNNNNNNN.seg; NULL: out of memory. */
char *segment_path(const char *dir, uint64_t sequence);

struct segment_item {
    struct segment_header header;
    uint64_t size; /* of the file, as it is */
    uint64_t end;  /* entries from here on stand in a later segment;
                      UINT64_MAX: none does */
};
struct segment_list {
    struct segment_item *items; /* by sequence */
    size_t count;
    struct pruned pruned; /* entries 0: all are there from the first on */
};
/* Reads the headers of all segments of a folder, but for those that were
 * pruned and are still there. ERR_CORRUPT: a header is damaged, a segment is
 * missing that was not pruned, or one belongs to another log (identity may be
 * NULL: then that of the first one counts). */
enum err segment_list_load(const char *dir, const uint8_t *identity,
    struct segment_list *out, struct errinfo *info) MUSTCHECK;
void segment_list_fini(struct segment_list *list);
/* The segment whose entries include `index`, or would: NULL if it is before
 * the first one. */
const struct segment_item *segment_list_find(
    const struct segment_list *list, uint64_t index);

/* A preallocated file without a name of its own yet. */
struct segment_spare {
    int fd;     /* -1: none */
    char *path; /* owned */
    uint64_t bytes;
};
/* Preallocates; with `fill` zeros are written too. *cancel, where not NULL,
 * ends the work early (ERR_CLOSED). ERR_FULL: no room on the disk. */
enum err segment_spare_make(const char *dir, uint64_t bytes, bool fill,
    const _Atomic bool *cancel, struct segment_spare *out,
    struct errinfo *info) MUSTCHECK;
/* Closes and removes it. */
void segment_spare_drop(struct segment_spare *spare);
/* Writes the header, makes it durable, gives the file its name and makes that
 * durable too. header->bytes is filled in. *fd is the caller's. */
enum err segment_spare_adopt(const char *dir, struct segment_spare *spare,
    struct segment_header *header, int *fd, struct errinfo *info) MUSTCHECK;
/* Removes spares that an earlier run left behind. */
void segment_clean(const char *dir);

struct segment_maker;
/* changed is called on the maker's thread after each attempt to make one:
 * `ready` spares are there; why is NULL, or the reason of the failure.
 * keeps dir. */
enum err segment_maker_start(const char *dir, uint64_t bytes,
    void (*changed)(void *context, unsigned ready, const char *why),
    void *context, struct segment_maker **out, struct errinfo *info) MUSTCHECK;
void segment_maker_stop(struct segment_maker **maker);
/* This many spares should be ready. Any thread; cheap when nothing changes.
 * A failed attempt is repeated every second while spares are wanted. */
void segment_maker_want(struct segment_maker *maker, unsigned count);
/* Takes one; false where none is ready. *ready is how many are left. */
bool segment_maker_take(
    struct segment_maker *maker, struct segment_spare *out, unsigned *ready);

#endif
