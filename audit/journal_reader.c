/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/journal_reader.c - see journal_reader.h. */
#include "audit/journal_reader.h"

#include "lib/file.h"
#include "lib/must.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define READER_MAGIC 0x52454144u
#define WINDOW_SIZE (256u << 10)
#define SCAN_SIZE (1u << 20)

struct journal_reader {
    uint32_t magic;
    unsigned flags;
    char *dir;
    bool has_identity;
    uint8_t identity[SHA256_SIZE];
    struct segment_list list;
    size_t at; /* in list, while fd is open */
    int fd;
    char *path;
    struct journal_place place, last;
    enum journal_fault fault;
    bool loose;                  /* the next frame is taken as it is */
    struct journal_place behind; /* where diagnose found good frames */
    struct crypto_hash *hash;
    /* bytes [window_offset, window_offset + window_len) of the segment */
    uint8_t *window;
    size_t window_cap, window_len;
    uint64_t window_offset;
};

enum err journal_reader_open(const char *segments_dir, const uint8_t *identity,
    unsigned flags, struct journal_reader **out, struct errinfo *info)
{
    struct journal_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    reader->magic = READER_MAGIC;
    reader->flags = flags;
    reader->fd = -1;
    reader->dir = strdup(segments_dir);
    reader->hash = crypto_hash_new();
    reader->window = malloc(WINDOW_SIZE);
    reader->window_cap = WINDOW_SIZE;
    if (identity != NULL) {
        reader->has_identity = true;
        memcpy(reader->identity, identity, SHA256_SIZE);
    }
    enum err err = ERR_OK;
    if (reader->dir == NULL || reader->hash == NULL || reader->window == NULL)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    if (err == ERR_OK)
        err = segment_list_load(segments_dir, identity, &reader->list, info);
    if (err == ERR_OK) {
        const struct segment_list *list = &reader->list;
        reader->place.index = list->pruned.entries;
        if (list->pruned.entries > 0 && list->count > 0)
            memcpy(reader->place.previous, list->items[0].header.previous,
                SHA256_SIZE);
        *out = reader;
    } else {
        journal_reader_close(&reader);
    }
    return err;
}

static void close_segment(struct journal_reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    reader->fd = -1;
    free(reader->path);
    reader->path = NULL;
    reader->window_len = 0;
}

void journal_reader_close(struct journal_reader **pointer)
{
    struct journal_reader *reader = *pointer;
    *pointer = NULL;
    if (reader == NULL)
        return;
    CHECK_MAGIC(reader, READER_MAGIC);
    close_segment(reader);
    segment_list_fini(&reader->list);
    crypto_hash_free(&reader->hash);
    free(reader->window);
    free(reader->dir);
    reader->magic = 0;
    free(reader);
}

void journal_reader_place(
    const struct journal_reader *reader, struct journal_place *out)
{
    *out = reader->place;
}

void journal_reader_last(
    const struct journal_reader *reader, struct journal_place *out)
{
    *out = reader->last;
}

enum journal_fault journal_reader_fault(const struct journal_reader *reader)
{
    return reader->fault;
}

const struct segment_list *journal_reader_segments(
    const struct journal_reader *reader)
{
    return &reader->list;
}

/* --- Segments -------------------------------------------------------------
 */

/* True in *changed when the list has other ends than before. */
static enum err refresh(
    struct journal_reader *reader, bool *changed, struct errinfo *info)
{
    struct segment_list list;
    enum err err = segment_list_load(reader->dir,
        reader->has_identity ? reader->identity : NULL, &list, info);
    if (err != ERR_OK)
        return err;
    *changed = list.count != reader->list.count;
    segment_list_fini(&reader->list);
    reader->list = list;
    return ERR_OK;
}

static enum err is_pruned(const struct pruned *pruned, uint64_t index,
    enum err err, struct errinfo *info)
{
    char words[PRUNED_WORDS_MAX];
    pruned_words(pruned, words);
    return errinfo_set(info, err,
        "entry %" PRIu64 " is gone: %s; its hash stays in the tiles", index,
        words);
}

static enum err open_segment(
    struct journal_reader *reader, size_t at, struct errinfo *info)
{
    close_segment(reader);
    const struct segment_item *item = &reader->list.items[at];
    reader->path = segment_path(reader->dir, item->header.sequence);
    if (reader->path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    reader->fd = open(reader->path, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0) {
        /* Pruned since the list was read? That is not the log's end. */
        enum err err =
            errinfo_errno(info, ERR_IO, "cannot open %s", reader->path);
        struct pruned pruned;
        if (pruned_load(reader->dir, &pruned, NULL) == ERR_OK &&
            reader->place.index < pruned.entries)
            err =
                is_pruned(&pruned, reader->place.index, ERR_WRONG_STATE, info);
        return err;
    }
    reader->at = at;
    return ERR_OK;
}

/* Goes to the begin of the segment that has place.index. */
static enum err enter_segment(
    struct journal_reader *reader, struct errinfo *info)
{
    uint64_t index = reader->place.index;
    const struct segment_item *item = segment_list_find(&reader->list, index);
    if (item == NULL)
        return ERR_NOTFOUND;
    enum err err =
        open_segment(reader, (size_t)(item - reader->list.items), info);
    if (err != ERR_OK)
        return err;
    reader->place.sequence = item->header.sequence;
    reader->place.offset = SEGMENT_HEADER_SIZE;
    if (item->header.first != index)
        return ERR_OK; /* the caller walks up to index */
    if ((reader->flags & READER_CHAIN) && index > 0 && !reader->loose &&
        memcmp(item->header.previous, reader->place.previous, SHA256_SIZE) !=
            0) {
        reader->fault = JOURNAL_FAULT_CHAIN;
        return errinfo_set(info, ERR_CORRUPT,
            "segment %s (from entry %" PRIu64
            ") does not continue the one before it",
            reader->path, index);
    }
    memcpy(reader->place.previous, item->header.previous, SHA256_SIZE);
    return ERR_OK;
}

/* --- Bytes ----------------------------------------------------------------
 */

/* Makes at least `need` bytes at place.offset stand in the window, or as many
 * as the file has. */
static enum err load(
    struct journal_reader *reader, size_t need, struct errinfo *info)
{
    if (need > reader->window_cap) {
        uint8_t *more = realloc(reader->window, need);
        if (more == NULL)
            return errinfo_set(info, ERR_NOMEM, "out of memory");
        reader->window = more;
        reader->window_cap = need;
    }
    reader->window_offset = reader->place.offset;
    reader->window_len = 0;
    while (reader->window_len < reader->window_cap) {
        ssize_t got = pread(reader->fd, reader->window + reader->window_len,
            reader->window_cap - reader->window_len,
            (off_t)(reader->window_offset + reader->window_len));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errinfo_errno(info, ERR_IO, "cannot read %s", reader->path);
        if (got == 0)
            break;
        reader->window_len += (size_t)got;
    }
    return ERR_OK;
}

/* Decodes the frame at place.offset. What stands in the window may be older
 * than the frame: anything but a good frame is read again. */
static enum err decode(struct journal_reader *reader, struct frame *frame,
    const char **reason, struct errinfo *info)
{
    for (bool fresh = false;; fresh = true) {
        uint64_t offset = reader->place.offset;
        if (offset >= reader->window_offset &&
            offset < reader->window_offset + reader->window_len) {
            size_t skip = (size_t)(offset - reader->window_offset);
            *reason = "it has no header";
            enum err err = frame_decode(reader->window + skip,
                reader->window_len - skip, frame, reason);
            if (err == ERR_OK)
                return ERR_OK;
            if (err == ERR_AGAIN && skip == 0 &&
                reader->window_len < reader->window_cap) {
                *reason = "the file ends inside it";
                err = ERR_CORRUPT;
            }
            if (err == ERR_AGAIN) {
                err = load(reader, frame_size(frame), info);
                if (err != ERR_OK)
                    return err;
                continue;
            }
            if (fresh)
                return err;
        } else if (fresh) {
            *reason = "the file ends before it";
            return ERR_NOTFOUND;
        }
        enum err err = load(reader, 0, info);
        if (err != ERR_OK)
            return err;
    }
}

/* --- What follows a bad frame ---------------------------------------------
 */

struct aftermath {
    bool any;  /* bytes that are not zero */
    bool good; /* a frame of later entries */
    uint64_t offset, first;
};

static bool good_frame_at(struct journal_reader *reader, uint64_t offset,
    uint8_t *bytes, struct frame *frame)
{
    const char *reason;
    uint8_t header[FRAME_HEADER_SIZE];
    if (file_pread(reader->fd, header, sizeof(header), (off_t)offset) !=
            ERR_OK ||
        frame_decode(header, sizeof(header), frame, &reason) != ERR_AGAIN)
        return false;
    return file_pread(reader->fd, bytes, frame_size(frame), (off_t)offset) ==
               ERR_OK &&
           frame_decode(bytes, frame_size(frame), frame, &reason) == ERR_OK &&
           frame->first >= reader->place.index;
}

static enum err look_behind(
    struct journal_reader *reader, struct aftermath *out, struct errinfo *info)
{
    *out = (struct aftermath){0};
    size_t frame_cap = FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX;
    uint8_t *bytes = malloc(SCAN_SIZE + frame_cap);
    if (bytes == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = ERR_OK;
    uint64_t offset = reader->place.offset;
    while (!out->good) {
        ssize_t got = pread(reader->fd, bytes, SCAN_SIZE, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            err = errinfo_errno(info, ERR_IO, "cannot read %s", reader->path);
            break;
        }
        for (ssize_t i = 0; i < got && !out->good; i++) {
            if (bytes[i] == 0)
                continue;
            out->any = true;
            struct frame frame;
            uint64_t at = offset + (uint64_t)i;
            if (i + 4 > got || !frame_has_magic(bytes + i) ||
                at == reader->place.offset)
                continue;
            out->good = good_frame_at(reader, at, bytes + SCAN_SIZE, &frame);
            out->offset = at;
            out->first = frame.first;
        }
        if (got < (ssize_t)SCAN_SIZE)
            break;
        offset += SCAN_SIZE - 3; /* a magic across the border */
    }
    free(bytes);
    return err;
}

/* No good frame stands where one is due. */
static enum err diagnose(struct journal_reader *reader, enum err found,
    const char *reason, struct errinfo *info)
{
    struct aftermath after;
    const struct segment_item *item = &reader->list.items[reader->at];
    const struct journal_place *place = &reader->place;
    enum err err = look_behind(reader, &after, info);
    if (err != ERR_OK)
        return err;
    reader->behind = (struct journal_place){0};
    if (after.good) {
        reader->behind.offset = after.offset;
        reader->behind.index = after.first;
        reader->fault = JOURNAL_FAULT_DAMAGED;
        return errinfo_set(info, ERR_CORRUPT,
            "the frame at offset %" PRIu64 " of %s, from entry %" PRIu64
            ", is damaged: %s; good frames follow at offset %" PRIu64
            " (entry %" PRIu64 ")",
            place->offset, reader->path, place->index, reason, after.offset,
            after.first);
    }
    if (item->end != UINT64_MAX) {
        bool damaged = found == ERR_CORRUPT || after.any;
        reader->fault = damaged ? JOURNAL_FAULT_DAMAGED : JOURNAL_FAULT_MISSING;
        return errinfo_set(info, ERR_CORRUPT,
            "%s %s at offset %" PRIu64 ", before entry %" PRIu64
            ", and the next segment begins with entry %" PRIu64 "%s%s",
            reader->path, damaged ? "is damaged" : "ends", place->offset,
            place->index, item->end, damaged ? ": " : "",
            damaged ? reason : "");
    }
    if (after.any)
        reader->fault = JOURNAL_FAULT_TORN;
    return ERR_NOTFOUND;
}

/* --- Frames ---------------------------------------------------------------
 */

/* The frame was decoded: does it continue the log? */
static enum err accept(struct journal_reader *reader, const struct frame *frame,
    struct errinfo *info)
{
    struct journal_place *place = &reader->place;
    const struct segment_item *item = &reader->list.items[reader->at];
    if (reader->loose) {
        reader->loose = false;
        place->index = frame->first;
        memcpy(place->previous, frame->previous, SHA256_SIZE);
    }
    if (frame->first != place->index) {
        reader->fault = JOURNAL_FAULT_ORDER;
        return errinfo_set(info, ERR_CORRUPT,
            "the frame at offset %" PRIu64 " of %s begins with entry %" PRIu64
            ", and entry %" PRIu64 " is due",
            place->offset, reader->path, frame->first, place->index);
    }
    if (frame->first + frame->count > item->end) {
        reader->fault = JOURNAL_FAULT_ORDER;
        return errinfo_set(info, ERR_CORRUPT,
            "the frame at offset %" PRIu64
            " of %s reaches beyond entry %" PRIu64
            ", where the next segment begins",
            place->offset, reader->path, item->end);
    }
    if (reader->flags & READER_CHAIN) {
        if (memcmp(frame->previous, place->previous, SHA256_SIZE) != 0) {
            reader->fault = JOURNAL_FAULT_CHAIN;
            return errinfo_set(info, ERR_CORRUPT,
                "the frame at offset %" PRIu64 " of %s, from entry %" PRIu64
                ", does not continue the one before it: something before it "
                "was altered, removed or put in",
                place->offset, reader->path, place->index);
        }
        crypto_hash_once(reader->hash, place->previous,
            frame->payload - FRAME_HEADER_SIZE, frame_size(frame));
    }
    reader->last = *place;
    memcpy(reader->last.previous, frame->previous, SHA256_SIZE);
    place->index += frame->count;
    place->offset += frame_size(frame);
    return ERR_OK;
}

enum err journal_reader_next(struct journal_reader *reader, uint64_t limit,
    struct frame *frame, struct errinfo *info)
{
    CHECK_MAGIC(reader, READER_MAGIC);
    struct journal_place *place = &reader->place;
    reader->fault = JOURNAL_FAULT_NONE;
    if (place->index >= limit)
        return ERR_NOTFOUND;
    for (bool refreshed = false;;) {
        if (reader->fd >= 0 &&
            place->index < reader->list.items[reader->at].end) {
            const char *reason = "";
            enum err err = decode(reader, frame, &reason, info);
            if (err == ERR_OK)
                return accept(reader, frame, info);
            if (err != ERR_NOTFOUND && err != ERR_CORRUPT)
                return err;
            /* Beside the running journal a new segment may have come. */
            bool changed = false;
            if (!refreshed) {
                refreshed = true;
                enum err again = refresh(reader, &changed, info);
                if (again != ERR_OK)
                    return again;
            }
            if (!changed)
                return diagnose(reader, err, reason, info);
            continue;
        }
        bool changed;
        if (reader->list.count == 0) {
            enum err err = refresh(reader, &changed, info);
            if (err != ERR_OK)
                return err;
        }
        enum err err = enter_segment(reader, info);
        if (err != ERR_OK)
            return err;
    }
}

enum err journal_reader_resync(
    struct journal_reader *reader, struct errinfo *info)
{
    struct journal_place *place = &reader->place;
    enum journal_fault fault = reader->fault;
    reader->fault = JOURNAL_FAULT_NONE;
    if (fault == JOURNAL_FAULT_NONE || fault == JOURNAL_FAULT_TORN)
        return ERR_NOTFOUND;
    reader->loose = true;
    if (fault == JOURNAL_FAULT_CHAIN || fault == JOURNAL_FAULT_ORDER)
        return ERR_OK;
    if (reader->behind.offset != 0) {
        place->offset = reader->behind.offset;
        place->index = reader->behind.index;
        reader->behind.offset = 0;
        return ERR_OK;
    }
    /* Nothing good is left in this segment: the next one. */
    place->index = reader->list.items[reader->at].end;
    if (place->index == UINT64_MAX)
        return ERR_NOTFOUND;
    return enter_segment(reader, info);
}

/* --- Seeking --------------------------------------------------------------
 */

/* Walks frames until the one that holds `index` is next. */
static enum err walk_to(
    struct journal_reader *reader, uint64_t index, struct errinfo *info)
{
    while (reader->place.index < index) {
        struct frame frame;
        enum err err = journal_reader_next(reader, UINT64_MAX, &frame, info);
        if (err != ERR_OK)
            return err;
        if (frame.first + frame.count > index) {
            reader->place = reader->last; /* one step back */
            break;
        }
    }
    return ERR_OK;
}

enum err journal_reader_seek(struct journal_reader *reader, uint64_t index,
    const struct journal_place *hint, struct errinfo *info)
{
    CHECK_MAGIC(reader, READER_MAGIC);
    reader->fault = JOURNAL_FAULT_NONE;
    bool changed;
    enum err err = refresh(reader, &changed, info);
    if (err != ERR_OK)
        return err;
    close_segment(reader);
    const struct segment_item *item = segment_list_find(&reader->list, index);
    if (item == NULL) {
        reader->place = (struct journal_place){0};
        if (index < reader->list.pruned.entries)
            return is_pruned(&reader->list.pruned, index, ERR_NOTFOUND, info);
        return index == 0 ? ERR_OK : ERR_NOTFOUND;
    }
    size_t at = (size_t)(item - reader->list.items);
    reader->place.index = index;
    err = open_segment(reader, at, info);
    if (err != ERR_OK)
        return err;
    if (hint != NULL && hint->sequence == item->header.sequence &&
        hint->index <= index && hint->index >= item->header.first) {
        struct frame frame;
        const char *reason;
        reader->place = *hint;
        if (hint->index == index ||
            (decode(reader, &frame, &reason, NULL) == ERR_OK &&
                frame.first == hint->index))
            return walk_to(reader, index, info);
        reader->window_len = 0;
    }
    reader->place = (struct journal_place){
        .sequence = item->header.sequence,
        .offset = SEGMENT_HEADER_SIZE,
        .index = item->header.first,
    };
    memcpy(reader->place.previous, item->header.previous, SHA256_SIZE);
    return walk_to(reader, index, info);
}

/* --- Entries --------------------------------------------------------------
 */

enum err journal_cursor_init(struct journal_cursor *cursor,
    struct journal_reader *reader, uint64_t index, struct errinfo *info)
{
    *cursor = (struct journal_cursor){.reader = reader, .index = index};
    if (reader->place.index == index && reader->fd >= 0)
        return ERR_OK;
    return journal_reader_seek(reader, index, NULL, info);
}

enum err journal_cursor_next(struct journal_cursor *cursor, uint64_t limit,
    struct journal_entry *out, struct errinfo *info)
{
    if (cursor->index >= limit)
        return ERR_NOTFOUND;
    for (;;) {
        struct frame *frame = &cursor->frame;
        if (frame->payload == NULL) {
            enum err err =
                journal_reader_next(cursor->reader, limit, frame, info);
            if (err != ERR_OK)
                return err;
            cursor->at = 0;
            /* A seek may have ended at a frame that begins earlier. */
            struct str skipped;
            for (uint64_t i = frame->first; i < cursor->index; i++)
                MUST(frame_next_entry(
                    frame->payload, frame->length, &cursor->at, &skipped));
        }
        if (frame_next_entry(
                frame->payload, frame->length, &cursor->at, &out->bytes)) {
            out->index = cursor->index++;
            return ERR_OK;
        }
        frame->payload = NULL;
    }
}
