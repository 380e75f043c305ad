/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify.c - see verify.h. */
#include "audit/verify.h"

#include "audit/recovery.h"
#include "audit/verify_priv.h"
#include "audit/prove.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/json.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROGRESS_EVERY 65536

const char *verify_kind_name(enum verify_kind kind)
{
    static const char *const names[] = {
        [VERIFY_NOTE] = "note",
        [VERIFY_DAMAGED] = "damaged",
        [VERIFY_ALTERED] = "altered",
        [VERIFY_REMOVED] = "removed",
        [VERIFY_INSERTED] = "inserted",
        [VERIFY_SWAPPED] = "swapped",
        [VERIFY_CUT] = "cut",
        [VERIFY_CHAIN] = "chain",
        [VERIFY_CHECKPOINT] = "checkpoint",
        [VERIFY_TILE] = "tile",
        [VERIFY_CONTENT] = "content",
        [VERIFY_INDEX] = "index",
    };
    return names[kind];
}

/* --- Findings -------------------------------------------------------------
 */

void verify_tell(struct verifier *v, struct verify_finding *finding)
{
    if (finding->kind != VERIFY_NOTE)
        v->result->faults++;
    if (v->options->finding != NULL)
        v->options->finding(v->options->context, finding);
}

void verify_tell_text(
    struct verifier *v, enum verify_kind kind, const char *format, ...)
{
    struct verify_finding finding = FINDING(kind);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding.text, sizeof(finding.text), format, arguments);
    va_end(arguments);
    verify_tell(v, &finding);
}

/* The "id" of an entry, from what can be read of it. */
bool verify_id_of(struct verifier *v, struct str entry, char id[32])
{
    struct json json;
    struct str text = {0};
    arena_reset(v->arena);
    if (json_parse(v->arena, entry, NULL, &json, NULL) == ERR_OK) {
        uint32_t at = json_find(&json, 0, STR("id"));
        if (at != JSON_NONE && json_type(&json, at) == JSON_STRING)
            text = json_raw(&json, at);
    } else {
        const char *at = memmem(entry.ptr, entry.len, "\"id\":\"", 6);
        if (at != NULL &&
            (size_t)(entry.ptr + entry.len - at) > 6 + ULID_LENGTH)
            text = str_make(at + 6, ULID_LENGTH);
    }
    if (!ulid_is_valid(text))
        return false;
    memcpy(id, text.ptr, text.len);
    id[text.len] = '\0';
    return true;
}

/* The id of an entry that was found, from its frame. */
static bool found_id(
    struct verifier *v, const struct align_item *item, char id[32])
{
    char *path = segment_path(v->segments_dir, item->segment);
    uint8_t *bytes = malloc(FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX);
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    bool found = false;
    if (fd >= 0 && bytes != NULL) {
        ssize_t got = pread(fd, bytes, FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX,
            (off_t)item->offset);
        size_t at = 0;
        struct str entry = {0};
        bool whole = got > FRAME_HEADER_SIZE;
        for (uint32_t i = 0; whole && i <= item->ordinal; i++)
            whole = frame_next_entry(bytes + FRAME_HEADER_SIZE,
                (size_t)got - FRAME_HEADER_SIZE, &at, &entry);
        found = whole && verify_id_of(v, entry, id);
    }
    if (fd >= 0)
        close(fd);
    free(bytes);
    free(path);
    return found;
}

/* Callback of the aligner. */
static void on_parted(void *context, enum verify_kind kind, uint64_t index,
    uint64_t count, uint64_t other, const struct align_item *item)
{
    struct verifier *v = context;
    if (v->parted_count++ >= PARTED_MOST)
        return;
    v->parted[v->parted_count - 1] = (struct parted){
        .kind = kind, .index = index, .count = count, .other = other};
    if (item != NULL) {
        v->parted[v->parted_count - 1].has_item = true;
        v->parted[v->parted_count - 1].item = *item;
    }
}

/* --- Entries --------------------------------------------------------------
 */

void verify_reach_roots(struct verifier *v)
{
    if (v->tree.size == v->published && !v->reached_checkpoint) {
        v->reached_checkpoint = true;
        merkle_root(&v->tree, v->hash, &v->root_at_checkpoint);
    }
    if (v->result->has_against && v->tree.size == v->against.size &&
        !v->reached_against) {
        v->reached_against = true;
        merkle_root(&v->tree, v->hash, &v->root_at_against);
    }
}

static void feed(
    struct verifier *v, const struct align_item *at, struct str entry)
{
    struct align_item item = *at;
    uint64_t index = v->fed++;
    if (item.unreadable) {
        v->unreadable = true;
    } else {
        merkle_leaf(v->hash, entry, &item.leaf);
        merkle_push(&v->tree, v->hash, &item.leaf, verify_on_completed, v);
        verify_reach_roots(v);
        content_check_entry(v->content, index, entry);
        verify_pruned_entry(v, index, entry);
        if (v->index)
            index_check_entry(v->index, index, entry);
    }
    align_add(v->align, &item);
    if (index < v->published && !item.unreadable) {
        uint8_t length[2] = {(uint8_t)(entry.len >> 8), (uint8_t)entry.len};
        buf_append(&v->bundle, length, sizeof(length));
        buf_append_str(&v->bundle, entry);
    }
    bool last = index + 1 == v->published;
    if ((index + 1) % TILE_WIDTH == 0 || last) {
        if (index < v->published && align_is_even(v->align) && !v->unreadable) {
            if (index >= pruned_minimum_index(&v->pruned.mark))
                verify_bundle(v, index / TILE_WIDTH,
                    last ? verify_tile_width(v, index / TILE_WIDTH)
                         : TILE_WIDTH);
            if (last)
                verify_partial_tiles(v);
        }
        buf_clear(&v->bundle);
    }
    if (v->options->progress != NULL && v->fed % PROGRESS_EVERY == 0)
        v->options->progress(v->options->context, v->fed,
            v->published > v->fed ? v->published : v->fed);
}

static void feed_frame(struct verifier *v, const struct frame *frame)
{
    struct journal_place place;
    journal_reader_last(v->reader, &place);
    size_t at = 0;
    struct str entry;
    struct align_item item = {
        .segment = place.sequence, .offset = place.offset};
    uint64_t index = frame->first;
    while (frame_next_entry(frame->payload, frame->length, &at, &entry)) {
        if (index++ >= v->fed) /* not one that is there a second time */
            feed(v, &item, entry);
        item.ordinal++;
    }
}

/* Entries of a frame whose checksum is wrong: the lengths may still lead from
 * one to the next, and the tiles tell which of them was altered. `count` are
 * due, in the bytes up to `end`. */
static void salvage(struct verifier *v, const struct journal_place *place,
    uint64_t end, uint64_t count)
{
    char *path = segment_path(v->segments_dir, place->sequence);
    size_t size = FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX, at = 0;
    if (end > place->offset && end - place->offset < size)
        size = (size_t)(end - place->offset);
    uint8_t *bytes = malloc(size);
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = -1;
    if (fd >= 0 && bytes != NULL)
        got = pread(fd, bytes, size, (off_t)place->offset);
    struct align_item item = {
        .segment = place->sequence, .offset = place->offset};
    for (uint64_t i = 0; i < count; i++) {
        struct str entry = {0};
        item.unreadable = item.unreadable || got <= FRAME_HEADER_SIZE ||
                          !frame_next_entry(bytes + FRAME_HEADER_SIZE,
                              (size_t)got - FRAME_HEADER_SIZE, &at, &entry) ||
                          entry.len == 0;
        feed(v, &item, entry);
        item.ordinal++;
    }
    if (fd >= 0)
        close(fd);
    free(bytes);
    free(path);
}

static void tell_fault(struct verifier *v, enum verify_kind kind,
    const struct journal_place *place, uint64_t count, const char *text)
{
    struct verify_finding finding = FINDING(kind);
    finding.segment = place->sequence;
    finding.offset = place->offset;
    finding.index = (int64_t)place->index;
    finding.count = count;
    snprintf(finding.text, sizeof(finding.text), "%.511s", text);
    verify_tell(v, &finding);
}

/* The reader has stopped at a fault. False: nothing more can be read. */
static bool handle_fault(struct verifier *v, const struct errinfo *fault)
{
    struct journal_place before, after;
    struct errinfo info = {0};
    enum journal_fault kind = journal_reader_fault(v->reader);
    journal_reader_place(v->reader, &before);
    bool more = journal_reader_resync(v->reader, &info) == ERR_OK;
    journal_reader_place(v->reader, &after);
    if (kind == JOURNAL_FAULT_CHAIN) {
        tell_fault(v, VERIFY_CHAIN, &before, 0, fault->text);
        return more;
    }
    if (kind == JOURNAL_FAULT_ORDER) {
        tell_fault(v, VERIFY_CHAIN, &before, 0, fault->text);
        struct frame frame;
        if (journal_reader_next(v->reader, UINT64_MAX, &frame, &info) != ERR_OK)
            return false;
        if (frame.first > v->fed && frame.first - v->fed < INT64_MAX / 2) {
            align_gap(v->align, frame.first - v->fed);
            v->unreadable = true;
            v->fed = frame.first;
        }
        feed_frame(v, &frame);
        return true;
    }
    uint64_t count = more && after.index > v->fed ? after.index - v->fed : 0;
    if (!more && v->published > v->fed)
        count = v->published - v->fed;
    tell_fault(v,
        kind == JOURNAL_FAULT_MISSING ? VERIFY_REMOVED : VERIFY_DAMAGED,
        &before, count, fault->text);
    if (kind == JOURNAL_FAULT_MISSING) {
        align_gap(v->align, count);
        v->unreadable = true;
        v->fed += count;
    } else {
        bool same = more && after.sequence == before.sequence;
        salvage(v, &before, same ? after.offset : 0, count);
    }
    return more;
}

/* The last frame is not whole: no fault where nothing of it was promised. */
static void handle_torn(struct verifier *v)
{
    struct journal_place place;
    char text[256];
    journal_reader_place(v->reader, &place);
    if (v->fed >= v->published) {
        verify_tell_text(v, VERIFY_NOTE,
            "behind entry %" PRIu64
            " stands an incomplete frame (segment %" PRIu64 ", offset %" PRIu64
            "): it is being written, or a stop tore it before anybody was told "
            "of it",
            v->fed, place.sequence, place.offset);
        return;
    }
    snprintf(text, sizeof(text),
        "the last frame, segment %" PRIu64 ", offset %" PRIu64
        ", from entry %" PRIu64 ", is damaged",
        place.sequence, place.offset, place.index);
    tell_fault(v, VERIFY_DAMAGED, &place, v->published - v->fed, text);
    salvage(v, &place, 0, v->published - v->fed);
}

static enum err walk(struct verifier *v, struct errinfo *info)
{
    struct journal_place last = {0};
    for (;;) {
        struct frame frame;
        struct errinfo fault = {0};
        enum err err =
            journal_reader_next(v->reader, UINT64_MAX, &frame, &fault);
        if (err == ERR_OK) {
            feed_frame(v, &frame);
            continue;
        }
        if (err == ERR_NOTFOUND)
            break;
        if (err != ERR_CORRUPT ||
            journal_reader_fault(v->reader) == JOURNAL_FAULT_NONE) {
            if (info != NULL)
                *info = fault;
            return err;
        }
        struct journal_place place;
        journal_reader_place(v->reader, &place);
        /* The same place twice: no way round it. */
        bool again = place.sequence == last.sequence &&
                     place.offset == last.offset && place.index == last.index;
        last = place;
        if (again || !handle_fault(v, &fault))
            break;
    }
    if (journal_reader_fault(v->reader) == JOURNAL_FAULT_TORN)
        handle_torn(v);
    align_end(v->align);
    content_check_end(v->content);
    if (v->index)
        index_check_end(v->index);
    v->result->entries = v->fed;
    merkle_root(&v->tree, v->hash, &v->result->root);
    return ERR_OK;
}

/* --- The verdict ----------------------------------------------------------
 */

static void describe(struct verifier *v, const struct parted *parted,
    struct verify_finding *finding)
{
    char at[96] = "", id[48] = "";
    finding->index = (int64_t)parted->index;
    finding->count = parted->count;
    if (parted->has_item) {
        finding->segment = parted->item.segment;
        finding->offset = parted->item.offset;
        snprintf(at, sizeof(at),
            " (segment %" PRIu64 ", frame at offset %" PRIu64 ")",
            finding->segment, finding->offset);
    }
    bool published = parted->kind != VERIFY_INSERTED &&
                     verify_published_id(v, parted->index, finding->id);
    if (published ||
        (parted->has_item && found_id(v, &parted->item, finding->id)))
        snprintf(id, sizeof(id), ", id %s,", finding->id);
    uint64_t end = parted->index + parted->count;
    char *text = finding->text;
    size_t size = sizeof(finding->text);
    if (parted->kind == VERIFY_SWAPPED) {
        finding->other = (int64_t)parted->other;
        snprintf(text, size,
            "entries %" PRIu64 "%s and %" PRIu64 " changed places%s",
            parted->index, id, parted->other, at);
    } else if (parted->kind == VERIFY_INSERTED) {
        snprintf(text, size,
            "%" PRIu64 " entries were put in before entry %" PRIu64
            "; the first%s%s",
            parted->count, parted->index, id, at);
    } else if (parted->kind == VERIFY_REMOVED && end >= v->published) {
        finding->kind = VERIFY_CUT;
        snprintf(text, size,
            "the end is missing: entries %" PRIu64 "%s to %" PRIu64
            " were published and are not there",
            parted->index, id, end - 1);
    } else if (parted->kind == VERIFY_REMOVED) {
        snprintf(text, size,
            parted->count == 1 ? "entry %" PRIu64 "%s was removed"
                               : "entry %" PRIu64
                                 "%s and the following up to %" PRIu64
                                 " were removed",
            parted->index, id, end - 1);
    } else {
        snprintf(text, size, "entry %" PRIu64 "%s %s%s", parted->index, id,
            parted->item.unreadable ? "cannot be read any more" : "was altered",
            at);
    }
}

/* The entries part from the level-0 tiles: which of the two is wrong? */
static void tell_parted(struct verifier *v, bool entries_are_right)
{
    for (uint64_t i = 0; i < v->parted_count && i < PARTED_MOST; i++) {
        const struct parted *parted = &v->parted[i];
        struct verify_finding finding = FINDING(parted->kind);
        if (entries_are_right) {
            finding.kind = VERIFY_TILE;
            finding.index = (int64_t)parted->index;
            finding.count = parted->count;
            char name[TILE_PATH_MAX];
            uint64_t tile = parted->index / TILE_WIDTH;
            tile_path(name, 0, tile, verify_tile_width(v, tile));
            snprintf(finding.text, sizeof(finding.text),
                "log/%s holds another hash for entry %" PRIu64
                " than the entry that was signed has",
                name, parted->index);
        } else {
            describe(v, parted, &finding);
        }
        verify_tell(v, &finding);
    }
    if (v->parted_count > PARTED_MOST)
        verify_tell_text(v, VERIFY_ALTERED,
            "and %" PRIu64 " more differences of this kind",
            v->parted_count - PARTED_MOST);
}

static void judge_checkpoint(struct verifier *v)
{
    bool right = v->reached_checkpoint && !v->unreadable &&
                 merkle_equal(&v->root_at_checkpoint, &v->checkpoint.root);
    tell_parted(v, right);
    if (right || !v->result->has_checkpoint)
        return;
    if (!v->reached_checkpoint && v->parted_count == 0 && !v->unreadable) {
        struct verify_finding finding = FINDING(VERIFY_CUT);
        finding.index = (int64_t)v->fed;
        finding.count = v->published - v->fed;
        snprintf(finding.text, sizeof(finding.text),
            "the end is missing: the log has %" PRIu64
            " entries and its signed checkpoint covers %" PRIu64,
            v->fed, v->published);
        verify_tell(v, &finding);
        return;
    }
    struct merkle_hash root;
    merkle_root(&v->tile_tree, v->hash, &root);
    bool tiles_right = v->tile_tree.size == v->published &&
                       merkle_equal(&root, &v->checkpoint.root);
    verify_tell_text(v, VERIFY_CHECKPOINT,
        "the log's first %" PRIu64
        " entries do not have the root that was signed%s",
        v->published,
        tiles_right ? "; the tiles do, and name the entries"
        : v->parted_count == 0
            ? "; the tiles agree with the entries, so both were changed, or "
              "another log was signed"
            : "; nor do the tiles");
}

static void judge_against(struct verifier *v)
{
    if (!v->result->has_against)
        return;
    if (v->against.size > v->fed) {
        struct verify_finding finding = FINDING(VERIFY_CUT);
        finding.index = (int64_t)v->fed;
        finding.count = v->against.size - v->fed;
        snprintf(finding.text, sizeof(finding.text),
            "the end is missing: the checkpoint that was kept covers %" PRIu64
            " entries, and the log has %" PRIu64 ": entries %" PRIu64
            " to %" PRIu64 " are gone",
            v->against.size, v->fed, v->fed, v->against.size - 1);
        verify_tell(v, &finding);
    } else if (!v->reached_against || v->unreadable ||
               !merkle_equal(&v->root_at_against, &v->against.root)) {
        verify_tell_text(v, VERIFY_CHECKPOINT,
            "the log's first %" PRIu64
            " entries are not those of the checkpoint that was kept: entries "
            "were changed since, whatever the newest checkpoint says",
            v->against.size);
    }
}

static void judge_state(struct verifier *v)
{
    if (v->has_state && v->state.tree.size > v->fed)
        verify_tell_text(v, VERIFY_CUT,
            "the end is missing: the log has %" PRIu64
            " entries, and journal/state has seen %" PRIu64,
            v->fed, v->state.tree.size);
}

/* --- Beginning ------------------------------------------------------------
 */

/* The key that was given, or the directory's; where the log's key was rotated,
 * the first of them, which names the journal, with all that took over. */
static enum err load_key(struct verifier *v, struct errinfo *info)
{
    const struct verify_options *options = v->options;
    struct note_key first;
    struct buf text;
    enum err err =
        audit_key_read(options->state_dir, options->key, &v->key, info);
    if (err != ERR_OK)
        return err;
    if (options->key.len == 0) {
        buf_init(&text, 4096);
        note_key_format(&v->key, &text);
        verify_tell_text(v, VERIFY_NOTE,
            "the log's key was taken from the directory itself; compare it "
            "with the one that you were given: %s",
            buf_cstr(&text));
        buf_fini(&text);
    } else if (audit_key_read(options->state_dir, STR(""), &first, NULL) ==
               ERR_OK) {
        for (size_t i = 0; i < first.successor_count; i++)
            if (memcmp(first.successors[i].public_key, v->key.public_key,
                    ED25519_KEY_SIZE) == 0 &&
                strcmp(first.name, v->key.name) == 0) {
                v->key = first; /* the notes vouch for it, by our key */
                break;
            }
    }
    snprintf(v->result->origin, sizeof(v->result->origin), "%s", v->key.name);
    audit_identity(&v->key, v->identity);
    return ERR_OK;
}

static enum err load_checkpoints(struct verifier *v, struct errinfo *info)
{
    struct errinfo why = {0};
    if (v->options->against.len > 0) {
        enum err err =
            checkpoint_open(v->options->against, &v->key, &v->against, info);
        if (err != ERR_OK)
            return errinfo_prefix(info, err, "the checkpoint that was kept");
        v->result->has_against = true;
        v->result->against_size = v->against.size;
    }
    enum err err = file_read(v->checkpoint_path, &v->note, &why);
    if (err == ERR_OK)
        err = checkpoint_open(buf_str(&v->note), &v->key, &v->checkpoint, &why);
    if (err == ERR_OK && !note_is_current(buf_str(&v->note), &v->key))
        verify_tell_text(v, VERIFY_CHECKPOINT,
            "%s: it is signed with a key that was rotated away, and not with "
            "the one that signs now",
            v->checkpoint_path);
    if (err == ERR_OK) {
        v->result->has_checkpoint = true;
        v->result->checkpoint_size = v->published = v->checkpoint.size;
    } else {
        verify_tell_text(
            v, VERIFY_CHECKPOINT, "%s: %s", v->checkpoint_path, why.text);
        /* The tiles may still name what differs. */
        if (v->has_state) {
            v->published = v->state.signed_size;
            v->checkpoint.root = v->state.signed_root;
        }
    }
    return ERR_OK;
}

static void load_state(struct verifier *v)
{
    struct errinfo why = {0};
    bool fallback;
    enum err err =
        state_load(v->journal_dir, v->identity, &v->state, &fallback, &why);
    v->has_state = err == ERR_OK;
    if (err != ERR_OK && err != ERR_NOTFOUND)
        verify_tell_text(v, VERIFY_DAMAGED, "%s", why.text);
}

static void tell_of_content(void *context, struct verify_finding *finding)
{
    verify_tell(context, finding);
}

static enum err prepare(struct verifier *v, struct errinfo *info)
{
    v->journal_dir = file_join(v->options->state_dir, "journal");
    v->segments_dir = file_join(v->options->state_dir, "journal/segments");
    v->log_dir = file_join(v->options->state_dir, "log");
    v->checkpoint_path = file_join(v->options->state_dir, "log/checkpoint");
    struct align_options options = {
        .published = verify_published_hash, .report = on_parted, .context = v};
    v->align = align_new(&options);
    v->hash = crypto_hash_new();
    v->arena = arena_new(1 << 18, 1 << 26);
    v->content = content_check_new(v->options->state_dir, tell_of_content, v);
    if (v->options->index)
        v->index = index_check_new(v->options->state_dir, tell_of_content, v);
    if (!v->journal_dir || !v->segments_dir || !v->log_dir ||
        (v->options->index && !v->index) || !v->checkpoint_path ||
        v->align == NULL || v->hash == NULL || v->arena == NULL ||
        v->content == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    buf_init(&v->note, NOTE_MAX);
    buf_init(&v->bundle, BUNDLE_MOST);
    return ERR_OK;
}

static void verifier_free(struct verifier *v)
{
    journal_reader_close(&v->reader);
    crypto_hash_free(&v->hash);
    align_free(&v->align);
    content_check_free(&v->content);
    index_check_free(&v->index);
    arena_free(&v->arena);
    if (v->has_state)
        state_fini(&v->state);
    buf_fini(&v->note);
    buf_fini(&v->bundle);
    free(v->journal_dir);
    free(v->segments_dir);
    free(v->log_dir);
    free(v->checkpoint_path);
    free(v);
}

/* What is newest is read first: beside a running server the journal is then
 * at least as far as the state and the checkpoint say. */
enum err audit_verify(const struct verify_options *options,
    struct verify_result *result, struct errinfo *info)
{
    *result = (struct verify_result){0};
    struct verifier *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    v->options = options;
    v->result = result;
    enum err err = prepare(v, info);
    if (err == ERR_OK)
        err = load_key(v, info);
    if (err == ERR_OK) {
        load_state(v);
        err = load_checkpoints(v, info);
    }
    if (err == ERR_OK) {
        struct errinfo why = {0};
        enum err opened = journal_reader_open(
            v->segments_dir, v->identity, READER_CHAIN, &v->reader, &why);
        if (opened == ERR_CORRUPT) {
            verify_tell_text(v, VERIFY_DAMAGED, "%s", why.text);
        } else if (opened != ERR_OK) {
            err = opened;
            if (info != NULL)
                *info = why;
        } else {
            const struct pruned *pruned =
                &journal_reader_segments(v->reader)->pruned;
            verify_reach_roots(v);
            if (pruned->entries > 0)
                verify_take_pruned(v, pruned);
            err = walk(v, info);
            if (err == ERR_OK) {
                verify_judge_pruned(v);
                judge_checkpoint(v);
                judge_against(v);
                judge_state(v);
            }
            if (err == ERR_OK && result->has_checkpoint &&
                v->fed > v->published)
                verify_tell_text(v, VERIFY_NOTE,
                    "%" PRIu64
                    " entries after the newest checkpoint are chained, and "
                    "not signed yet",
                    v->fed - v->published);
        }
    }
    verifier_free(v);
    return err;
}
