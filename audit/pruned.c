/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/pruned.c - see pruned.h. */
#include "audit/pruned.h"

#include "audit/tiles.h"
#include "lib/clock.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/json_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_CHUNK (16u << 10)
#define ARENA_MOST (1u << 20)

uint64_t pruned_minimum_index(const struct pruned *pruned)
{
    return (pruned->entries + TILE_WIDTH - 1) / TILE_WIDTH * TILE_WIDTH;
}

void pruned_words(const struct pruned *pruned, char out[PRUNED_WORDS_MAX])
{
    char time[CLOCK_TEXT_LENGTH];
    clock_format(time, pruned->time_us);
    snprintf(out, PRUNED_WORDS_MAX,
        "entries 0 to %" PRIu64 " were pruned on %.10s (disposal %s)",
        pruned->entries - 1, time, pruned->disposal);
}

/* --- The marker -----------------------------------------------------------
 */

static void write_hash(
    struct json_writer *w, struct str key, const uint8_t hash[SHA256_SIZE])
{
    char hex[2 * SHA256_SIZE + 1];
    hex_write(hex, hash, SHA256_SIZE);
    json_write_member_string(w, key, str_make(hex, sizeof(hex) - 1));
}

void pruned_write(const struct pruned *pruned, struct buf *out)
{
    char time[CLOCK_TEXT_LENGTH];
    struct json_writer w;
    clock_format(time, pruned->time_us);
    json_write_init(&w, out);
    json_write_object(&w);
    write_hash(&w, STR("base"), pruned->base);
    json_write_member_string(&w, STR("disposal"), str_from(pruned->disposal));
    json_write_member_int(&w, STR("entries"), (int64_t)pruned->entries);
    write_hash(&w, STR("past"), pruned->past);
    write_hash(&w, STR("root"), pruned->root.bytes);
    json_write_member_int(&w, STR("segment"), (int64_t)pruned->segment);
    json_write_member_string(&w, STR("time"), str_make(time, sizeof(time)));
    json_write_member_int(&w, STR("v"), 1);
    json_write_object_end(&w);
}

static bool get_text(const struct json *json, const char *key, struct str *out)
{
    uint32_t at = json_find(json, 0, str_from(key));
    if (at == JSON_NONE || json_type(json, at) != JSON_STRING)
        return false;
    *out = json_raw(json, at);
    return true;
}

static bool get_hash(
    const struct json *json, const char *key, uint8_t out[SHA256_SIZE])
{
    struct str hex;
    size_t size = 0;
    return get_text(json, key, &hex) && hex.len == 2 * SHA256_SIZE &&
           hex_decode(hex, out, SHA256_SIZE, &size) == ERR_OK &&
           size == SHA256_SIZE;
}

static bool get_number(const struct json *json, const char *key, uint64_t *out)
{
    int64_t value;
    uint32_t at = json_find(json, 0, str_from(key));
    if (at == JSON_NONE || json_int64(json, at, &value) != ERR_OK || value <= 0)
        return false;
    *out = (uint64_t)value;
    return true;
}

static bool read_members(const struct json *json, struct pruned *out)
{
    struct str disposal, time;
    uint64_t version;
    if (!get_text(json, "disposal", &disposal) || !ulid_is_valid(disposal) ||
        !get_text(json, "time", &time) ||
        clock_parse(time, &out->time_us) != ERR_OK)
        return false;
    memcpy(out->disposal, disposal.ptr, disposal.len);
    return get_number(json, "v", &version) && version == 1 &&
           get_number(json, "entries", &out->entries) &&
           get_number(json, "segment", &out->segment) &&
           get_hash(json, "root", out->root.bytes) &&
           get_hash(json, "base", out->base) &&
           get_hash(json, "past", out->past);
}

enum err pruned_parse(struct str text, struct pruned *out, struct errinfo *info)
{
    struct arena *arena = arena_new(ARENA_CHUNK, ARENA_MOST);
    struct json json;
    struct pruned found = {0};
    struct buf again;
    if (arena == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    buf_init(&again, PRUNED_TEXT_MAX);
    bool good = json_parse(arena, text, NULL, &json, NULL) == ERR_OK &&
                json_type(&json, 0) == JSON_OBJECT &&
                read_members(&json, &found);
    if (good)
        pruned_write(&found, &again);
    /* To the letter: an entry of the log says the same. */
    good = good && str_equal(buf_str(&again), text);
    buf_fini(&again);
    arena_free(&arena);
    if (!good)
        return errinfo_set(
            info, ERR_CORRUPT, "it does not say which prefix was pruned");
    *out = found;
    return ERR_OK;
}

enum err pruned_load(
    const char *segments_dir, struct pruned *out, struct errinfo *info)
{
    struct buf text;
    struct errinfo why = {0};
    char *path = file_join(segments_dir, PRUNED_FILE);
    *out = (struct pruned){0};
    if (path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    buf_init(&text, PRUNED_TEXT_MAX);
    enum err err = file_read(path, &text, &why);
    if (err == ERR_OK) {
        struct str line = buf_str(&text);
        if (line.len > 0 && line.ptr[line.len - 1] == '\n')
            line.len--;
        err = pruned_parse(line, out, &why);
    } else if (err == ERR_LIMIT) {
        err = errinfo_set(&why, ERR_CORRUPT, "it is too long");
    }
    if (err == ERR_CORRUPT)
        err = errinfo_set(info, err, "%s is damaged: %s", path, why.text);
    else if (err == ERR_NOTFOUND)
        err = ERR_OK;
    else if (err != ERR_OK && info != NULL)
        *info = why;
    buf_fini(&text);
    free(path);
    return err;
}

/* --- What stands beside it ------------------------------------------------
 */

char *pruned_path(const char *segments_dir, const char *what, uint64_t entries)
{
    char name[64];
    snprintf(name, sizeof(name), "%s-%" PRIu64, what, entries);
    return file_join(segments_dir, name);
}

enum err pruned_read(const char *segments_dir, const struct pruned *pruned,
    const char *what, struct buf *out, struct errinfo *info)
{
    uint8_t digest[SHA256_SIZE];
    const uint8_t *due =
        strcmp(what, "base") == 0 ? pruned->base : pruned->past;
    char *path = pruned_path(segments_dir, what, pruned->entries);
    if (path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = file_read(path, out, info);
    if (err == ERR_OK) {
        crypto_sha256(digest, buf_str(out).ptr, out->len);
        if (memcmp(digest, due, sizeof(digest)) != 0)
            err = errinfo_set(info, ERR_CORRUPT,
                "%s is not the file that the pruning left there: put it back "
                "from a backup",
                path);
    }
    free(path);
    return err;
}

/* --- Its record -----------------------------------------------------------
 */

bool pruned_is_recorded_by(const struct pruned *pruned, struct str entry)
{
    static const char type[] = "\"" PRUNED_EVENT "\"";
    struct json json;
    struct buf text;
    bool found = false;
    if (memmem(entry.ptr, entry.len, type, sizeof(type) - 1) == NULL)
        return false;
    struct arena *arena = arena_new(1u << 18, 1u << 26);
    if (arena == NULL)
        return false;
    buf_init(&text, PRUNED_TEXT_MAX);
    pruned_write(pruned, &text);
    if (json_parse(arena, entry, NULL, &json, NULL) == ERR_OK) {
        uint32_t of = json_find(&json, 0, STR("type"));
        uint32_t detail = json_find(&json, 0, STR("detail"));
        uint32_t prefix = detail == JSON_NONE
                              ? JSON_NONE
                              : json_find(&json, detail, STR("prefix"));
        found = of != JSON_NONE &&
                json_string_equals(&json, of, STR(PRUNED_EVENT)) &&
                prefix != JSON_NONE &&
                str_equal(json_span(&json, prefix), buf_str(&text));
    }
    buf_fini(&text);
    arena_free(&arena);
    return found;
}
