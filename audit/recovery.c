/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/recovery.c - see recovery.h. */
#include "audit/recovery.h"

#include "lib/file.h"
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

void audit_identity(const struct note_key *key, uint8_t out[SHA256_SIZE])
{
    struct buf text;
    buf_init(&text, 4096);
    buf_append_str(&text, STR("bailiff journal\n"));
    note_key_format(key, &text);
    crypto_sha256(out, buf_str(&text).ptr, text.len);
    buf_fini(&text);
}

struct walk {
    const struct recovery_options *options;
    struct audit_state *state;
    struct journal_reader *reader;
    struct crypto_hash *hash;
    struct recovered *out;
    bool has_checkpoint;
    struct checkpoint checkpoint;
    struct buf note; /* the checkpoint borrows from it */
    uint32_t last_flags;
};

/* --- The checkpoint -------------------------------------------------------
 */

static enum err load_checkpoint(struct walk *walk, struct errinfo *info)
{
    enum err err = file_read(walk->options->checkpoint, &walk->note, info);
    if (err == ERR_NOTFOUND) {
        /* Derived: it is written anew. What was signed is in the state. */
        log_warn("checkpoint_missing", "path=%s", walk->options->checkpoint);
        return ERR_OK;
    }
    if (err == ERR_OK)
        err = checkpoint_open(
            buf_str(&walk->note), walk->options->key, &walk->checkpoint, info);
    if (err != ERR_OK)
        return errinfo_prefix(info, err, "%s", walk->options->checkpoint);
    walk->has_checkpoint = true;
    return ERR_OK;
}

static enum err compare_root(const struct walk *walk, uint64_t size,
    const struct merkle_hash *signed_root, struct errinfo *info)
{
    struct merkle_hash root;
    merkle_root(&walk->state->tree, walk->hash, &root);
    if (merkle_equal(&root, signed_root))
        return ERR_OK;
    return errinfo_set(info, ERR_CORRUPT,
        "the log's first %" PRIu64
        " entries do not have the root that was signed: an entry was altered; "
        "`bailiff audit verify` names the place",
        size);
}

/* The tree has reached a size that was signed: same root? */
static enum err check_signed(const struct walk *walk, struct errinfo *info)
{
    const struct audit_state *state = walk->state;
    uint64_t size = state->tree.size;
    enum err err = ERR_OK;
    if (walk->has_checkpoint && walk->checkpoint.size == size)
        err = compare_root(walk, size, &walk->checkpoint.root, info);
    if (err == ERR_OK && state->signed_size == size && size > 0)
        err = compare_root(walk, size, &state->signed_root, info);
    return err;
}

/* --- The tail -------------------------------------------------------------
 */

static enum err fold_frame(
    struct walk *walk, const struct frame *frame, struct errinfo *info)
{
    struct audit_state *state = walk->state;
    size_t at = 0;
    struct str entry;
    uint64_t index = frame->first;
    while (frame_next_entry(frame->payload, frame->length, &at, &entry)) {
        struct merkle_hash leaf;
        merkle_leaf(walk->hash, entry, &leaf);
        merkle_push(&state->tree, walk->hash, &leaf, NULL, NULL);
        struct errinfo why;
        enum err err = replay_entry(state->replay, index++, entry, &why);
        if (err == ERR_NOMEM)
            return errinfo_set(info, err, "%s", why.text);
        if (err != ERR_OK) {
            /* Whole by checksum and chain, so written like this by us: to
             * refuse to start would not mend it. */
            log_error("audit_entry_unreadable", "reason=\"%s\"", why.text);
            walk->out->unreadable++;
        }
        err = check_signed(walk, info);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* What the state says must stand in the journal: its last frame is read
 * again, and its hash leads to the place where the next one goes. */
static enum err check_place(struct walk *walk, struct errinfo *info)
{
    struct audit_state *state = walk->state;
    if (state->last.sequence == 0)
        return journal_reader_seek(
            walk->reader, state->place.index, &state->place, info);
    enum err err = journal_reader_seek(
        walk->reader, state->last.index, &state->last, info);
    struct frame frame;
    struct journal_place place;
    if (err == ERR_OK)
        err = journal_reader_next(walk->reader, UINT64_MAX, &frame, info);
    if (err == ERR_NOTFOUND)
        return errinfo_set(info, ERR_CORRUPT,
            "the journal ends before entry %" PRIu64
            ", and DIR/journal/state has seen %" PRIu64
            " entries: something was removed at its end",
            state->last.index, state->place.index);
    if (err != ERR_OK)
        return err;
    walk->last_flags = frame.flags;
    journal_reader_place(walk->reader, &place);
    if (place.index != state->place.index ||
        memcmp(place.previous, state->place.previous, SHA256_SIZE) != 0)
        return errinfo_set(info, ERR_CORRUPT,
            "the journal's frame from entry %" PRIu64 " (segment %" PRIu64
            ", offset %" PRIu64
            ") is not the one that DIR/journal/state has seen: the segment "
            "was replaced",
            state->last.index, state->last.sequence, state->last.offset);
    return ERR_OK;
}

static enum err walk_tail(struct walk *walk, struct errinfo *info)
{
    struct audit_state *state = walk->state;
    enum err err = check_place(walk, info);
    if (err == ERR_OK)
        err = check_signed(walk, info);
    while (err == ERR_OK) {
        struct frame frame;
        err = journal_reader_next(walk->reader, UINT64_MAX, &frame, info);
        if (err != ERR_OK)
            break;
        walk->last_flags = frame.flags;
        state->sealed = false;
        err = fold_frame(walk, &frame, info);
        journal_reader_last(walk->reader, &state->last);
    }
    if (err != ERR_NOTFOUND)
        return err;
    journal_reader_place(walk->reader, &state->place);
    walk->out->torn = journal_reader_fault(walk->reader) == JOURNAL_FAULT_TORN;
    uint64_t size = state->tree.size, most = state->signed_size;
    if (walk->has_checkpoint && walk->checkpoint.size > most)
        most = walk->checkpoint.size;
    if (size < most)
        return errinfo_set(info, ERR_CORRUPT,
            "the log ends after %" PRIu64
            " entries, and its signed checkpoint covers %" PRIu64
            ": entries were removed at its end, or an old copy was put back",
            size, most);
    if (walk->has_checkpoint && walk->checkpoint.size > state->signed_size) {
        state->signed_size = walk->checkpoint.size;
        state->signed_root = walk->checkpoint.root;
    }
    return ERR_OK;
}

/* --- A new segment for what is not proven to be on the disk ----------------
 */

/* Copies the frames that the reader has still to give, byte for byte; *offset
 * is where they end in the spare, *last where the last one begins. */
static enum err copy_frames(struct journal_reader *reader,
    const struct segment_spare *spare, uint64_t *offset, uint64_t *last,
    struct errinfo *info)
{
    struct frame frame;
    enum err err;
    *offset = SEGMENT_HEADER_SIZE;
    while ((err = journal_reader_next(reader, UINT64_MAX, &frame, info)) ==
           ERR_OK) {
        size_t size = frame_size(&frame);
        if (file_pwrite(spare->fd, frame.payload - FRAME_HEADER_SIZE, size,
                (off_t)*offset) != ERR_OK)
            return errinfo_errno(info, ERR_IO, "cannot write %s", spare->path);
        *last = *offset;
        *offset += size;
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* Frees what earlier segments hold past `index`, which begins in segment
 * `sequence` at `offset`. A failure costs room, no more. */
static void cut_superseded(const char *dir, const struct segment_list *list,
    uint64_t sequence, uint64_t offset)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct segment_item *item = &list->items[i];
        if (item->header.sequence < sequence)
            continue;
        uint64_t keep =
            item->header.sequence == sequence ? offset : SEGMENT_HEADER_SIZE;
        char *path = segment_path(dir, item->header.sequence);
        if (path != NULL && truncate(path, (off_t)keep) != 0)
            log_warn("segment_not_cut", "path=%s errno=%d", path, errno);
        free(path);
    }
}

static enum err rewrite_tail(struct walk *walk, struct errinfo *info)
{
    const struct recovery_options *options = walk->options;
    struct audit_state *state = walk->state;
    uint64_t proven =
        walk->has_checkpoint ? walk->checkpoint.size : state->signed_size;
    struct journal_place from, end = state->place;
    enum err err = journal_reader_seek(walk->reader, proven, NULL, info);
    if (err != ERR_OK)
        return err;
    journal_reader_place(walk->reader, &from);
    const struct segment_list *list = journal_reader_segments(walk->reader);
    uint64_t tail = 0; /* an upper bound, in bytes */
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].header.sequence >= from.sequence)
            tail += list->items[i].size;
    if (from.sequence == end.sequence)
        tail = end.offset - from.offset;
    uint64_t bytes = options->segment_bytes;
    if (bytes < tail + options->segment_bytes / 2)
        bytes = (tail + options->segment_bytes + SEGMENT_PAGE - 1) /
                SEGMENT_PAGE * SEGMENT_PAGE;
    struct segment_spare spare;
    err = segment_spare_make(
        options->segments_dir, bytes, false, NULL, &spare, info);
    if (err != ERR_OK)
        return err;
    uint64_t offset, last = 0;
    int fd = -1;
    struct segment_header header = {
        .sequence = list->items[list->count - 1].header.sequence + 1,
        .first = from.index,
    };
    memcpy(header.identity, options->identity, SHA256_SIZE);
    memcpy(header.previous, from.previous, SHA256_SIZE);
    err = copy_frames(walk->reader, &spare, &offset, &last, info);
    if (err == ERR_OK)
        err = segment_spare_adopt(
            options->segments_dir, &spare, &header, &fd, info);
    segment_spare_drop(&spare);
    if (err != ERR_OK)
        return err;
    close(fd);
    cut_superseded(options->segments_dir, journal_reader_segments(walk->reader),
        from.sequence, from.offset);
    walk->out->tail = end.index - from.index;
    state->place.sequence = header.sequence;
    state->place.offset = offset;
    if (walk->out->tail > 0) {
        state->last.sequence = header.sequence;
        state->last.offset = last;
    }
    return ERR_OK;
}

/* --- All of it ------------------------------------------------------------
 */

/* Where a prefix was pruned its end takes the place of the log's beginning. */
static enum err load_base(
    struct walk *walk, const struct pruned *pruned, struct errinfo *info)
{
    const struct recovery_options *options = walk->options;
    struct buf bytes;
    buf_init(&bytes, STATE_MOST);
    enum err err =
        pruned_read(options->segments_dir, pruned, "base", &bytes, info);
    if (err == ERR_OK) {
        err = state_decode(buf_str(&bytes), options->identity, walk->state);
        if (err != ERR_OK)
            (void)errinfo_set(info, err,
                "%s/base-%" PRIu64 " cannot be read: put it back from a backup",
                options->segments_dir, pruned->entries);
    } else if (err == ERR_NOTFOUND) {
        err = errinfo_set(info, ERR_CORRUPT,
            "%s/base-%" PRIu64
            " is missing, from which the state is rebuilt: put it back from a "
            "backup",
            options->segments_dir, pruned->entries);
    }
    buf_fini(&bytes);
    return err;
}

static enum err load_state(struct walk *walk, struct errinfo *info)
{
    const struct recovery_options *options = walk->options;
    struct pruned pruned;
    bool fallback;
    enum err err = pruned_load(options->segments_dir, &pruned, info);
    if (err != ERR_OK)
        return err;
    err = state_load(
        options->journal_dir, options->identity, walk->state, &fallback, info);
    if (err == ERR_OK && walk->state->place.index < pruned.entries) {
        state_fini(walk->state);
        err = ERR_NOTFOUND; /* what it would go on from was pruned */
    }
    if (err == ERR_OK && fallback)
        log_warn("state_fallback",
            "reason=\"DIR/journal/state is damaged or missing; the older "
            "generation is used\"");
    if (err != ERR_NOTFOUND && err != ERR_CORRUPT)
        return err;
    log_warn("state_rebuilt",
        "reason=\"DIR/journal/state is %s; the whole journal is read\"",
        err == ERR_CORRUPT ? "damaged" : "missing");
    if (pruned.entries > 0)
        return load_base(walk, &pruned, info);
    if (state_init(walk->state, options->identity) != ERR_OK)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    return ERR_OK;
}

enum err audit_recover(const struct recovery_options *options,
    struct recovered *out, struct errinfo *info)
{
    memset(out, 0, sizeof(*out));
    struct walk walk = {.options = options, .state = &out->state, .out = out};
    buf_init(&walk.note, NOTE_MAX);
    walk.hash = crypto_hash_new();
    enum err err = walk.hash == NULL
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : ERR_OK;
    if (err == ERR_OK)
        err = load_state(&walk, info);
    if (err == ERR_OK)
        err = load_checkpoint(&walk, info);
    if (err == ERR_OK)
        err = journal_reader_open(options->segments_dir, options->identity,
            READER_CHAIN, &walk.reader, info);
    if (err == ERR_OK && journal_reader_segments(walk.reader)->count == 0)
        err = errinfo_set(
            info, ERR_CORRUPT, "%s holds no segment", options->segments_dir);
    if (err == ERR_OK)
        err = walk_tail(&walk, info);
    if (err == ERR_OK) {
        bool settled = out->state.sealed && !out->torn;
        out->sealed = settled && (out->state.place.index == 0 ||
                                     (walk.last_flags & FRAME_SEAL));
        if (!settled) {
            err = rewrite_tail(&walk, info);
            /* Durable as a whole now: a start that fails after this, and is
             * tried again, need not do it again. */
            out->state.sealed = true;
            if (err == ERR_OK)
                err = state_save(options->journal_dir, &out->state, info);
        }
    }
    journal_reader_close(&walk.reader);
    crypto_hash_free(&walk.hash);
    buf_fini(&walk.note);
    if (err != ERR_OK)
        state_fini(&out->state);
    return err;
}
