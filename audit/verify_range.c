/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify_range.c - is this part of the log what was signed?
 *
 * A proof made for one leaf of a tile has all other leaves of the tile in it,
 * so one proof a tile ties the tile to the signed root. Then the entries of
 * bundle and journal are hashed and laid beside it. */
#include "audit/prove.h"
#include "audit/segment.h"
#include "audit/show.h"
#include "audit/tiles.h"
#include "audit/verify_content.h"
#include "lib/encode.h"
#include "lib/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BUNDLE_MOST (TILE_WIDTH * (65535 + 2))
#define PROGRESS_EVERY 64 /* tiles */

struct range {
    const struct verify_options *options;
    struct verify_result *result;
    char *log_dir;
    struct checkpoint checkpoint;
    struct tile_source tiles;
    struct audit_reader *reader; /* NULL: a copy of DIR/log alone */
    struct pruned pruned;        /* entries below have hashes only */
    struct content_check *content;
    struct buf bytes;
    struct merkle_hash hashes[TILE_WIDTH];
    unsigned width;
};

static void tell(struct range *r, enum verify_kind kind, int64_t index,
    const char *format, ...) PRINTFLIKE(4, 5);
static void tell(struct range *r, enum verify_kind kind, int64_t index,
    const char *format, ...)
{
    struct verify_finding finding = {.kind = kind, .index = index, .other = -1};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding.text, sizeof(finding.text), format, arguments);
    va_end(arguments);
    if (kind != VERIFY_NOTE)
        r->result->faults++;
    if (r->options->finding)
        r->options->finding(r->options->context, &finding);
}

/* The tile's leaves, tied to the signed root. */
static bool take_tile(struct range *r, uint64_t tile)
{
    struct merkle_source source = {tile_source_node, &r->tiles};
    uint64_t first = tile * TILE_WIDTH, size = r->checkpoint.size;
    struct merkle_proof proof;
    struct errinfo why = {0};
    r->width =
        size - first < TILE_WIDTH ? (unsigned)(size - first) : TILE_WIDTH;
    if (tile_read(r->log_dir, 0, tile, r->width, r->hashes, &why) != ERR_OK ||
        merkle_prove_inclusion(&source, first, size, &proof, &why) != ERR_OK) {
        tell(r, VERIFY_TILE, (int64_t)first, "%s", why.text);
        return false;
    }
    if (!merkle_verify_inclusion(first, size, &r->hashes[0], proof.hashes,
            proof.count, &r->checkpoint.root)) {
        tell(r, VERIFY_TILE, (int64_t)first,
            "the tiles over the entries from %" PRIu64
            " on do not lead to the root that was signed",
            first);
        return false;
    }
    return true;
}

static void compare(
    struct range *r, uint64_t index, struct str entry, const char *where)
{
    struct merkle_hash leaf;
    merkle_leaf(NULL, entry, &leaf);
    if (!merkle_equal(&leaf, &r->hashes[index % TILE_WIDTH]))
        tell(r, VERIFY_ALTERED, (int64_t)index,
            "entry %" PRIu64 " of %s has other bytes than were signed", index,
            where);
}

static bool next_entry(struct str bytes, size_t *at, struct str *entry)
{
    if (bytes.len - *at < 2)
        return false;
    size_t size =
        ((size_t)(uint8_t)bytes.ptr[*at] << 8) | (uint8_t)bytes.ptr[*at + 1];
    if (bytes.len - *at - 2 < size)
        return false;
    *entry = str_make(bytes.ptr + *at + 2, size);
    *at += 2 + size;
    return true;
}

static void compare_bundle(
    struct range *r, uint64_t tile, uint64_t from, uint64_t to)
{
    char name[TILE_PATH_MAX];
    struct errinfo why = {0};
    struct str entry;
    size_t at = 0;
    tile_path(name, TILE_ENTRIES, tile, r->width);
    char *path = file_join(r->log_dir, name);
    buf_clear(&r->bytes);
    enum err err = path ? file_read(path, &r->bytes, &why) : ERR_NOMEM;
    bool fuller = false;
    if (err == ERR_NOTFOUND && r->width < TILE_WIDTH) {
        /* It has been completed since the checkpoint was signed. */
        free(path);
        tile_path(name, TILE_ENTRIES, tile, TILE_WIDTH);
        path = file_join(r->log_dir, name);
        err = path ? file_read(path, &r->bytes, NULL) : ERR_NOMEM;
        fuller = true;
    }
    if (err != ERR_OK) {
        tell(r, VERIFY_TILE, (int64_t)(tile * TILE_WIDTH), "%s", why.text);
        free(path);
        return;
    }
    uint64_t index = tile * TILE_WIDTH;
    for (; next_entry(buf_str(&r->bytes), &at, &entry); index++)
        if (index >= from && index < to)
            compare(r, index, entry, "the bundle");
    uint64_t end = tile * TILE_WIDTH + r->width;
    if (fuller ? index < end : index != end || at != r->bytes.len)
        tell(r, VERIFY_TILE, (int64_t)index,
            "%s ends at entry %" PRIu64 ", or has more in it than it should",
            path, index);
    free(path);
}

static void compare_journal(struct range *r, uint64_t from, uint64_t to)
{
    for (uint64_t index = from; r->reader && index < to; index++) {
        struct errinfo why = {0};
        buf_clear(&r->bytes);
        if (audit_read_entry(r->reader, r->checkpoint.size, index, &r->bytes,
                &why) != ERR_OK) {
            tell(r, VERIFY_DAMAGED, (int64_t)index,
                "entry %" PRIu64 " cannot be read from the journal: %s", index,
                why.text);
            return;
        }
        compare(r, index, buf_str(&r->bytes), "the journal");
        content_check_entry(r->content, index, buf_str(&r->bytes));
    }
}

static void tell_of_content(void *context, struct verify_finding *finding)
{
    struct range *r = context;
    if (finding->kind != VERIFY_NOTE)
        r->result->faults++;
    if (r->options->finding)
        r->options->finding(r->options->context, finding);
}

/* Kept files of the range that are not there: whether their keys were
 * destroyed stands in later entries. */
static void end_content(struct range *r, uint64_t to)
{
    for (uint64_t index = to;
         r->reader && content_check_is_missing(r->content) &&
         index < r->checkpoint.size;
         index++) {
        buf_clear(&r->bytes);
        if (audit_read_entry(r->reader, r->checkpoint.size, index, &r->bytes,
                NULL) != ERR_OK)
            break;
        content_check_destroyed(r->content, buf_str(&r->bytes));
    }
    content_check_end(r->content);
}

static void tell_pruned(struct range *r, uint64_t from, uint64_t to)
{
    char words[PRUNED_WORDS_MAX];
    if (from >= r->pruned.entries)
        return;
    pruned_words(&r->pruned, words);
    tell(r, VERIFY_NOTE, (int64_t)from,
        "%s: of those from %" PRIu64 " to %" PRIu64
        " the hashes alone are compared with the signed root",
        words, from, (to < r->pruned.entries ? to : r->pruned.entries) - 1);
}

static enum err open_checkpoint(struct range *r, const struct note_key *key,
    struct buf *note, struct errinfo *info)
{
    struct str text = r->options->against;
    enum err err = ERR_OK;
    if (text.len == 0) {
        char *path = file_join(r->log_dir, "checkpoint");
        err = path ? file_read(path, note, info)
                   : errinfo_set(info, ERR_NOMEM, "out of memory");
        free(path);
        text = buf_str(note);
    }
    if (err == ERR_OK)
        err = checkpoint_open(text, key, &r->checkpoint, info);
    return err;
}

static void open_journal(struct range *r)
{
    struct errinfo why = {0};
    enum err err = audit_reader_open(r->options->state_dir, &r->reader, &why);
    if (err == ERR_NOTFOUND)
        tell(r, VERIFY_NOTE, -1,
            "there is no journal here: bundles and tiles alone are compared");
    else if (err != ERR_OK)
        tell(r, VERIFY_DAMAGED, -1, "%s", why.text);
}

static enum err open_pruned(struct range *r, struct errinfo *info)
{
    char *segments = file_join(r->options->state_dir, "journal/segments");
    r->content = content_check_new(r->options->state_dir, tell_of_content, r);
    enum err err = segments && r->content
                       ? pruned_load(segments, &r->pruned, info)
                       : errinfo_set(info, ERR_NOMEM, "out of memory");
    free(segments);
    return err;
}

enum err audit_verify_range(const struct verify_options *options, uint64_t from,
    uint64_t to, struct verify_result *result, struct errinfo *info)
{
    struct range *r = calloc(1, sizeof(*r));
    struct note_key key;
    struct buf note;
    enum err err = ERR_NOMEM;
    *result = (struct verify_result){0};
    buf_init(&note, NOTE_MAX);
    if (!r)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    r->options = options;
    r->result = result;
    buf_init(&r->bytes, BUNDLE_MOST);
    r->log_dir = file_join(options->state_dir, "log");
    if (!r->log_dir) {
        errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    err = audit_key_read(options->state_dir, options->key, &key, info);
    if (err == ERR_OK)
        err = open_checkpoint(r, &key, &note, info);
    if (err != ERR_OK)
        goto out;
    if (from >= to || to > r->checkpoint.size) {
        err = errinfo_set(info, ERR_RANGE,
            "entries from %" PRIu64 " up to %" PRIu64
            " are no part of the %" PRIu64 " that the checkpoint covers",
            from, to, r->checkpoint.size);
        goto out;
    }
    snprintf(result->origin, sizeof(result->origin), "%s", key.name);
    result->has_checkpoint = true;
    result->checkpoint_size = r->checkpoint.size;
    result->has_against = options->against.len > 0;
    result->against_size = r->checkpoint.size;
    result->root = r->checkpoint.root;
    result->entries = to - from;
    tile_source_init(&r->tiles, r->log_dir, r->checkpoint.size);
    err = open_pruned(r, info);
    if (err != ERR_OK)
        goto out;
    open_journal(r);
    tell_pruned(r, from, to);
    for (uint64_t tile = from / TILE_WIDTH; tile * TILE_WIDTH < to; tile++) {
        uint64_t first = tile * TILE_WIDTH, end = first + TILE_WIDTH;
        if (!take_tile(r, tile))
            continue;
        first = first < from ? from : first;
        end = end > to ? to : end;
        if (end > pruned_minimum_index(&r->pruned))
            compare_bundle(r, tile, first, end);
        if (first < r->pruned.entries)
            first = r->pruned.entries;
        compare_journal(r, first, end);
        if (options->progress && tile % PROGRESS_EVERY == 0)
            options->progress(options->context, end - from, to - from);
    }
    end_content(r, to);
out:
    content_check_free(&r->content);
    audit_reader_close(&r->reader);
    buf_fini(&r->bytes);
    buf_fini(&note);
    free(r->log_dir);
    free(r);
    return err;
}
