/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/prune.c - see prune.h. */
#include "audit/prune.h"

#include "audit/index_file.h"
#include "audit/segment.h"
#include "audit/state.h"
#include "audit/tiles.h"
#include "lib/arena.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/json.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- Where it can end -----------------------------------------------------
 */

static enum err time_of(struct journal_reader *reader, uint64_t index,
    int64_t *time_us, struct errinfo *info)
{
    struct journal_cursor cursor;
    struct journal_entry entry;
    struct json json;
    struct str text = {0};
    struct arena *arena = arena_new(1u << 18, 1u << 26);
    enum err err = arena == NULL
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : journal_cursor_init(&cursor, reader, index, info);
    if (err == ERR_OK)
        err = journal_cursor_next(&cursor, UINT64_MAX, &entry, info);
    if (err == ERR_OK &&
        json_parse(arena, entry.bytes, NULL, &json, NULL) == ERR_OK) {
        uint32_t at = json_find(&json, 0, STR("time"));
        if (at != JSON_NONE && json_type(&json, at) == JSON_STRING)
            text = json_raw(&json, at);
    }
    if (err == ERR_OK && clock_parse(text, time_us) != ERR_OK)
        err = errinfo_set(
            info, ERR_CORRUPT, "entry %" PRIu64 " has no time", index);
    arena_free(&arena);
    return err;
}

enum err prune_places(const char *segments_dir, struct prune_place **out,
    size_t *count, struct errinfo *info)
{
    struct journal_reader *reader = NULL;
    struct segment_list list = {0};
    struct prune_place *places = NULL;
    size_t found = 0;
    uint64_t bytes = 0;
    enum err err = journal_reader_open(segments_dir, NULL, 0, &reader, info);
    if (err == ERR_OK)
        err = segment_list_load(segments_dir, NULL, &list, info);
    if (err == ERR_OK) {
        places = calloc(list.count + 1, sizeof(*places));
        if (places == NULL)
            err = errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; err == ERR_OK && i < list.count; i++) {
        const struct segment_item *item = &list.items[i];
        struct prune_place place = {.entries = item->header.first,
            .segment = item->header.sequence,
            .segments = i,
            .bytes = bytes};
        bytes += item->size;
        /* Later ones that begin at or before it take its place, and one that
         * nothing was written to yet has no first entry. */
        if (i == 0 || item->header.first >= item->end)
            continue;
        err = time_of(reader, place.entries, &place.time_us, info);
        if (err == ERR_NOTFOUND) {
            err = ERR_OK;
            continue;
        }
        if (err == ERR_OK)
            places[found++] = place;
    }
    segment_list_fini(&list);
    journal_reader_close(&reader);
    if (err != ERR_OK) {
        free(places);
        return err;
    }
    *out = places;
    *count = found;
    return ERR_OK;
}

/* --- What will stand there ------------------------------------------------
 */

/* The state before the first entry that is there. */
static enum err begin_state(const char *segments_dir,
    const struct segment_list *list, struct audit_state *out,
    struct errinfo *info)
{
    const uint8_t *identity = list->items[0].header.identity;
    struct buf bytes;
    if (list->pruned.entries == 0)
        return state_init(out, identity) == ERR_OK
                   ? ERR_OK
                   : errinfo_set(info, ERR_NOMEM, "out of memory");
    buf_init(&bytes, STATE_MOST);
    enum err err =
        pruned_read(segments_dir, &list->pruned, "base", &bytes, info);
    if (err == ERR_OK &&
        (err = state_decode(buf_str(&bytes), identity, out)) != ERR_OK)
        (void)errinfo_set(info, err, "%s/base-%" PRIu64 " cannot be read",
            segments_dir, list->pruned.entries);
    buf_fini(&bytes);
    return err;
}

/* The hash of each entry must be the one in its tile: that is what stays. */
static enum err compare_leaf(const char *log_dir, uint64_t index,
    const struct merkle_hash *leaf, struct merkle_hash tile[TILE_WIDTH],
    bool *there, struct errinfo *info)
{
    enum err err = ERR_OK;
    if (!*there || index % TILE_WIDTH == 0)
        err = tile_read(log_dir, 0, index / TILE_WIDTH, TILE_WIDTH, tile, info);
    *there = err == ERR_OK;
    if (err == ERR_NOTFOUND ||
        (err == ERR_OK && !merkle_equal(leaf, &tile[index % TILE_WIDTH])))
        err = errinfo_set(info, ERR_CORRUPT,
            "entry %" PRIu64 " and the hash tiles in %s/tile/0 do not fit: "
            "nothing is pruned that does not verify; `bailiff audit verify` "
            "names what differs",
            index, log_dir);
    return err;
}

static enum err fold_prefix(struct journal_reader *reader, const char *log_dir,
    struct audit_state *state, uint64_t end, struct errinfo *info)
{
    struct journal_cursor cursor;
    struct merkle_hash tile[TILE_WIDTH];
    bool there = false;
    struct crypto_hash *hash = crypto_hash_new();
    enum err err = hash == NULL ? errinfo_set(info, ERR_NOMEM, "out of memory")
                                : journal_cursor_init(
                                      &cursor, reader, state->tree.size, info);
    while (err == ERR_OK && state->tree.size < end) {
        struct journal_entry entry;
        struct merkle_hash leaf;
        err = journal_cursor_next(&cursor, end, &entry, info);
        if (err == ERR_NOTFOUND)
            err = errinfo_set(info, ERR_CORRUPT,
                "the journal ends before entry %" PRIu64, state->tree.size);
        if (err != ERR_OK)
            break;
        merkle_leaf(hash, entry.bytes, &leaf);
        err = compare_leaf(log_dir, entry.index, &leaf, tile, &there, info);
        if (err != ERR_OK)
            break;
        err = replay_entry(state->replay, entry.index, entry.bytes, info);
        if (err == ERR_SYNTAX) /* as at every start: see recovery.c */
            err = ERR_OK;
        merkle_push(&state->tree, hash, &leaf, NULL, NULL);
    }
    if (err == ERR_OK)
        merkle_root(&state->tree, hash, &state->signed_root);
    crypto_hash_free(&hash);
    return err;
}

static enum err compare_with_tiles(const char *log_dir,
    const struct checkpoint *checkpoint, const struct audit_state *state,
    struct errinfo *info)
{
    struct tile_source tiles;
    struct merkle_source source = {tile_source_node, &tiles};
    struct merkle_proof proof;
    uint64_t size = state->tree.size;
    tile_source_init(&tiles, log_dir, checkpoint->size);
    enum err err =
        merkle_prove_consistency(&source, size, checkpoint->size, &proof, info);
    if (err != ERR_OK)
        return err;
    if (size == checkpoint->size
            ? merkle_equal(&state->signed_root, &checkpoint->root)
            : merkle_verify_consistency(size, checkpoint->size,
                  &state->signed_root, &checkpoint->root, proof.hashes,
                  proof.count))
        return ERR_OK;
    return errinfo_set(info, ERR_CORRUPT,
        "the first %" PRIu64
        " entries are not those that were signed: nothing is pruned that does "
        "not verify; `bailiff audit verify` names what differs",
        size);
}

static enum err write_beside(const char *segments_dir, const char *what,
    uint64_t entries, struct str bytes, uint8_t digest[SHA256_SIZE],
    struct errinfo *info)
{
    char *path = pruned_path(segments_dir, what, entries);
    if (path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    crypto_sha256(digest, bytes.ptr, bytes.len);
    enum err err = file_replace(path, bytes, 0600, info);
    free(path);
    return err;
}

/* Where the kept segment begins, the log begins. */
static enum err make_base(const char *segments_dir, const char *log_dir,
    const struct prune_place *place, const struct checkpoint *checkpoint,
    struct audit_state *state, bool *made, struct errinfo *info)
{
    struct journal_reader *reader = NULL;
    const struct pruned would = {.entries = place->entries};
    if (checkpoint->size < pruned_minimum_index(&would))
        return errinfo_set(info, ERR_WRONG_STATE,
            "the checkpoint covers %" PRIu64 " entries, and not %" PRIu64,
            checkpoint->size, pruned_minimum_index(&would));
    enum err err =
        journal_reader_open(segments_dir, NULL, READER_CHAIN, &reader, info);
    const struct segment_list *list =
        err == ERR_OK ? journal_reader_segments(reader) : NULL;
    const struct segment_item *item =
        err == ERR_OK ? segment_list_find(list, place->entries) : NULL;
    if (err == ERR_OK &&
        (item == NULL || item->header.sequence != place->segment ||
            item->header.first != place->entries))
        err = errinfo_set(info, ERR_INVALID,
            "no segment begins with entry %" PRIu64, place->entries);
    struct segment_header header = {0};
    if (err == ERR_OK) {
        header = item->header;
        err = begin_state(segments_dir, list, state, info);
        *made = err == ERR_OK;
    }
    if (err == ERR_OK)
        err = fold_prefix(reader, log_dir, state, place->entries, info);
    if (err == ERR_OK) {
        state->place = (struct journal_place){.sequence = header.sequence,
            .offset = SEGMENT_HEADER_SIZE,
            .index = header.first};
        memcpy(state->place.previous, header.previous, SHA256_SIZE);
        state->last = (struct journal_place){0};
        state->sealed = false;
        state->signed_size = place->entries;
        err = compare_with_tiles(log_dir, checkpoint, state, info);
    }
    journal_reader_close(&reader);
    return err;
}

enum err prune_prepare(const char *state_dir, const struct prune_place *place,
    const struct checkpoint *checkpoint, struct str past, struct pruned *out,
    struct errinfo *info)
{
    char *segments_dir = file_join(state_dir, "journal/segments");
    char *log_dir = file_join(state_dir, "log");
    struct audit_state state;
    struct buf bytes;
    bool made = false;
    buf_init(&bytes, STATE_MOST);
    enum err err = segments_dir == NULL || log_dir == NULL
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : make_base(segments_dir, log_dir, place, checkpoint,
                             &state, &made, info);
    if (err == ERR_OK) {
        out->entries = place->entries;
        out->segment = place->segment;
        out->root = state.signed_root;
        state_encode(&state, &bytes);
        err = bytes.failed ? errinfo_set(info, ERR_NOMEM, "out of memory")
                           : write_beside(segments_dir, "base", place->entries,
                                 buf_str(&bytes), out->base, info);
    }
    if (err == ERR_OK)
        err = write_beside(
            segments_dir, "past", place->entries, past, out->past, info);
    if (made)
        state_fini(&state);
    buf_fini(&bytes);
    free(segments_dir);
    free(log_dir);
    return err;
}

/* --- Taking it away -------------------------------------------------------
 */

static enum err write_marker(
    const char *segments_dir, const struct pruned *pruned, struct errinfo *info)
{
    char *path = file_join(segments_dir, PRUNED_FILE);
    struct buf text;
    buf_init(&text, PRUNED_TEXT_MAX);
    pruned_write(pruned, &text);
    buf_append_char(&text, '\n');
    enum err err = path == NULL || text.failed
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : file_replace(path, buf_str(&text), 0600, info);
    buf_fini(&text);
    free(path);
    return err;
}

/* One that is gone already is no fault. */
static enum err remove_file(
    const char *path, struct prune_away *away, struct errinfo *info)
{
    struct stat status;
    if (lstat(path, &status) != 0 || unlink(path) != 0)
        return errno == ENOENT
                   ? ERR_OK
                   : errinfo_errno(info, ERR_IO, "cannot remove %s", path);
    away->files++;
    away->bytes += (uint64_t)status.st_size;
    return ERR_OK;
}

/* "00000001.seg" below the one that was kept; "base-41" of another place. */
static bool is_of_prefix(const char *name, const struct pruned *pruned)
{
    struct str text = str_from(name), what, number;
    uint64_t n;
    if (str_ends(text, STR(".seg"))) {
        text.len -= 4;
        return str_to_u64(text, &n) == ERR_OK && n < pruned->segment;
    }
    return str_split(text, '-', &what, &number) &&
           (str_equal(what, STR("base")) || str_equal(what, STR("past"))) &&
           str_to_u64(number, &n) == ERR_OK && n != pruned->entries;
}

static enum err remove_segments(const char *segments_dir,
    const struct pruned *pruned, struct prune_away *away, struct errinfo *info)
{
    DIR *folder = opendir(segments_dir);
    const struct dirent *entry;
    enum err err = ERR_OK;
    if (folder == NULL)
        return errinfo_errno(info, ERR_IO, "cannot open %s", segments_dir);
    while (err == ERR_OK && (entry = readdir(folder)) != NULL) {
        if (!is_of_prefix(entry->d_name, pruned))
            continue;
        char *path = file_join(segments_dir, entry->d_name);
        err = path == NULL ? errinfo_set(info, ERR_NOMEM, "out of memory")
                           : remove_file(path, away, info);
        free(path);
    }
    closedir(folder);
    return err == ERR_OK ? file_sync_dir(segments_dir, info) : err;
}

/* The incomplete forms of a bundle, which a crash may have left. */
static void remove_partials(const char *path)
{
    char folder[PATH_MAX];
    struct dirent *entry;
    int n = snprintf(folder, sizeof(folder), "%s.p", path);
    DIR *dir = n > 0 && (size_t)n < sizeof(folder) ? opendir(folder) : NULL;
    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    (void)rmdir(folder);
}

static enum err remove_bundles(const char *log_dir, const struct pruned *pruned,
    struct prune_away *away, struct errinfo *info)
{
    enum err err = ERR_OK;
    for (uint64_t i = 0;
         err == ERR_OK && i < pruned_minimum_index(pruned) / TILE_WIDTH; i++) {
        char name[TILE_PATH_MAX];
        tile_path(name, TILE_ENTRIES, i, TILE_WIDTH);
        char *path = file_join(log_dir, name);
        err = path == NULL ? errinfo_set(info, ERR_NOMEM, "out of memory")
                           : remove_file(path, away, info);
        if (err == ERR_OK)
            remove_partials(path);
        free(path);
    }
    return err;
}

static enum err remove_index(const char *index_dir, const struct pruned *pruned,
    struct prune_away *away, struct errinfo *info)
{
    static const char *const suffixes[] = {
        "", "-journal", "-wal", "-shm", ".damaged"};
    struct index_list list;
    enum err err = index_list_load(index_dir, &list, info);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; err == ERR_OK && i < list.count; i++) {
        char name[INDEX_NAME_SIZE], full[INDEX_NAME_SIZE + 16];
        if (list.firsts[i] >= pruned->entries)
            continue;
        for (size_t k = 0;
             err == ERR_OK && k < sizeof(suffixes) / sizeof(suffixes[0]); k++) {
            index_file_name(name, list.firsts[i]);
            snprintf(full, sizeof(full), "%s%s", name, suffixes[k]);
            char *path = file_join(index_dir, full);
            err = path == NULL ? errinfo_set(info, ERR_NOMEM, "out of memory")
                               : remove_file(path, away, info);
            free(path);
        }
    }
    index_list_fini(&list);
    return err;
}

enum err prune_apply(const char *state_dir, const struct pruned *pruned,
    struct prune_away *away, struct errinfo *info)
{
    char *segments_dir = file_join(state_dir, "journal/segments");
    char *log_dir = file_join(state_dir, "log");
    char *index_dir = file_join(state_dir, "index");
    *away = (struct prune_away){0};
    enum err err = segments_dir == NULL || log_dir == NULL || index_dir == NULL
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : write_marker(segments_dir, pruned, info);
    /* The index first: nothing is listed that cannot be shown. */
    if (err == ERR_OK)
        err = remove_index(index_dir, pruned, away, info);
    if (err == ERR_OK)
        err = remove_bundles(log_dir, pruned, away, info);
    if (err == ERR_OK)
        err = remove_segments(segments_dir, pruned, away, info);
    free(segments_dir);
    free(log_dir);
    free(index_dir);
    return err;
}
