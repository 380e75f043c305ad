/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/export_file.c - writing and reading export files. */
#include "proxy/cli/export_file.h"

#include "lib/crypto.h"
#include "lib/encode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct writing {
    struct cli *cli;
    const char *path;
    FILE *file;
    struct crypto_hash *hash;
    struct export_done *done;
    bool has_header;
    json_t *header; /* of a file that is taken up */
    uint64_t next;  /* whole: the next index; else the last record */
    bool has_next;
    bool more;
};

static bool put(struct writing *w, struct str bytes)
{
    crypto_hash_update(w->hash, bytes.ptr, bytes.len);
    if (fwrite(bytes.ptr, 1, bytes.len, w->file) == bytes.len)
        return true;
    cli_say(1, "%s cannot be written: %s; --resume goes on with it", w->path,
        strerror(errno));
    return false;
}

/* --- Taking a file up ------------------------------------------------ */

/* Where a line that is good ends, and what came last. */
struct kept {
    long good;        /* bytes to keep */
    long group;       /* where the last record begins */
    uint64_t entries; /* up to good */
    uint64_t before_group;
    int64_t index, record, record_before;
    bool ended;
};

static bool note_line(struct kept *kept, const char *line, ssize_t n, long at)
{
    json_t *value = json_loadb(line, (size_t)n, 0, NULL);
    const json_t *record = json_object_get(value, "record");
    bool good = json_is_object(value);

    if (json_is_true(json_object_get(value, "end"))) {
        kept->ended = true;
    } else if (good && json_object_get(value, "entry")) {
        kept->index = json_integer_value(json_object_get(value, "index"));
        if (record && json_integer_value(record) != kept->record) {
            kept->record_before = kept->record;
            kept->record = json_integer_value(record);
            kept->group = at;
            kept->before_group = kept->entries;
        }
        kept->entries++;
    }
    json_decref(value);
    return good;
}

static bool scan(struct writing *w, FILE *file, struct kept *kept)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    long at = 0;

    *kept = (struct kept){.index = -1, .record = -1, .record_before = -1};
    while ((n = getline(&line, &room, file)) > 0 && line[n - 1] == '\n') {
        if (at == 0)
            w->header = json_loadb(line, (size_t)n, 0, NULL);
        else if (!note_line(kept, line, n, at))
            break;
        at += n;
        kept->good = at;
    }
    free(line);
    return json_is_string(json_object_get(w->header, "checkpoint"));
}

/* The part that is kept goes through the digest, and through done->entry. */
static bool rehash(struct writing *w, long keep)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    long at = 0;
    struct str entry;

    rewind(w->file);
    while (at < keep && (n = getline(&line, &room, w->file)) > 0) {
        struct str text = str_make(line, (size_t)n);
        crypto_hash_update(w->hash, line, (size_t)n);
        at += n;
        if (w->done->entry && audit_export_entry(text, &entry))
            w->done->entry(w->done->context, entry);
    }
    free(line);
    return at == keep && fseek(w->file, keep, SEEK_SET) == 0 &&
           ftruncate(fileno(w->file), keep) == 0;
}

/* 1: taken up; 0: it is whole already; -1: said. */
static int take_up(struct writing *w)
{
    struct kept kept;
    const json_t *whole;
    long keep;

    w->file = fopen(w->path, "r+");
    if (!w->file) {
        cli_say(1, "%s cannot be opened: %s", w->path, strerror(errno));
        return -1;
    }
    if (!scan(w, w->file, &kept)) {
        cli_say(1, "%s is no export that could be taken up", w->path);
        return -1;
    }
    if (kept.ended) {
        printf("%s is complete\n", w->path);
        return 0;
    }
    whole = json_object_get(w->header, "whole");
    /* The last record may lack entries: it is written anew. */
    keep = json_is_true(whole) || kept.record < 0 ? kept.good : kept.group;
    w->done->entries = json_is_true(whole) || kept.record < 0
                           ? kept.entries
                           : kept.before_group;
    if (json_is_true(whole)) {
        w->has_next = kept.index >= 0;
        w->next = (uint64_t)kept.index + 1;
    } else {
        w->has_next = kept.record_before >= 0;
        w->next = (uint64_t)kept.record_before;
    }
    w->has_header = true;
    if (!rehash(w, keep)) {
        cli_say(1, "%s cannot be read again", w->path);
        return -1;
    }
    return 1;
}

/* --- Pages ----------------------------------------------------------- */

static bool put_header(struct writing *w, const json_t *page)
{
    const json_t *note = json_object_get(page, "checkpoint");
    char *filters = json_dumps(
        json_object_get(page, "filters"), JSON_COMPACT | JSON_SORT_KEYS);
    struct audit_export_head head = {
        .note = str_make(json_string_value(note), json_string_length(note)),
        .whole = json_is_true(json_object_get(page, "whole")),
        .from = (uint64_t)json_integer_value(json_object_get(page, "from")),
        .to = (uint64_t)json_integer_value(json_object_get(page, "to")),
        .filters = str_from(filters)};
    struct buf line;
    bool good;

    buf_init(&line, 1 << 20);
    audit_export_header(&head, &line);
    good = !line.failed && put(w, buf_str(&line));
    w->header = json_loadb(buf_str(&line).ptr, line.len, 0, NULL);
    w->has_header = true;
    buf_fini(&line);
    free(filters);
    return good && w->header;
}

static bool put_page(struct writing *w, const json_t *page)
{
    const json_t *lines = json_object_get(page, "lines");
    struct str entry;

    if (!w->has_header && !put_header(w, page))
        return false;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *one = json_array_get(lines, i);
        struct str line =
            str_make(json_string_value(one), json_string_length(one));
        if (!put(w, line))
            return false;
        w->done->entries++;
        if (w->done->entry && audit_export_entry(line, &entry))
            w->done->entry(w->done->context, entry);
    }
    w->more = json_is_true(json_object_get(page, "more"));
    w->next = (uint64_t)json_integer_value(json_object_get(page, "next"));
    w->has_next = true;
    return true;
}

/* The size that the file's checkpoint covers. */
static json_int_t size_of(const json_t *header)
{
    const char *note = json_string_value(json_object_get(header, "checkpoint"));
    struct str origin, rest, size;
    uint64_t number = 0;

    str_split(str_from(note), '\n', &origin, &rest);
    str_split(rest, '\n', &size, &rest);
    return str_to_u64(size, &number) == ERR_OK ? (json_int_t)number : 0;
}

static json_t *ask(const struct writing *w, const json_t *body)
{
    json_t *query = json_deep_copy(
        w->has_header ? json_object_get(w->header, "filters") : body);

    if (w->has_header)
        json_object_set_new(query, "size", json_integer(size_of(w->header)));
    if (w->has_next)
        json_object_set_new(query, "after", json_integer((json_int_t)w->next));
    return query;
}

static int fetch_all(struct writing *w, const json_t *body)
{
    do {
        json_t *page = NULL, *query = ask(w, body);
        const char *path = cli_with_query(w->cli, "/v1/audit/export", query);
        int result = cli_call(w->cli, "GET", path, NULL, &page, NULL);

        json_decref(query);
        if (result == 0 && !put_page(w, page))
            result = 1;
        json_decref(page);
        if (result)
            return result;
    } while (w->more);
    return 0;
}

static bool finish(struct writing *w)
{
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    struct buf line;
    bool good;

    crypto_hash_end(w->hash, digest);
    hex_write(hex, digest, sizeof digest);
    buf_init(&line, 1024);
    audit_export_trailer(w->done->entries, hex, &line);
    good = fwrite(buf_str(&line).ptr, 1, line.len, w->file) == line.len &&
           fflush(w->file) == 0 && fsync(fileno(w->file)) == 0;
    buf_fini(&line);
    if (!good)
        cli_say(1, "%s cannot be written: %s; --resume goes on with it",
            w->path, strerror(errno));
    return good;
}

int export_file_write(struct cli *cli, const char *path, bool resume,
    const json_t *body, struct export_done *done)
{
    struct writing w = {
        .cli = cli, .path = path, .done = done, .hash = crypto_hash_new()};
    int taken = 1, result = 1;

    if (!w.hash)
        return cli_say(1, "out of memory");
    crypto_hash_begin(w.hash);
    done->entries = 0;
    if (resume) {
        taken = take_up(&w);
    } else {
        w.file = fopen(path, "wx");
        if (!w.file)
            taken = -cli_say(1, "%s: %s%s", path, strerror(errno),
                errno == EEXIST ? "; --resume goes on with one that was cut"
                                : "");
    }
    if (taken == 0)
        result = 0;
    else if (taken > 0 && fetch_all(&w, body) == 0 && finish(&w))
        result = 0;
    if (w.header)
        buf_append_str(&done->note, str_from(json_string_value(json_object_get(
                                        w.header, "checkpoint"))));
    if (w.file && fclose(w.file) != 0 && result == 0)
        result = cli_say(1, "%s cannot be written: %s", path, strerror(errno));
    json_decref(w.header);
    crypto_hash_free(&w.hash);
    return result;
}

/* --- Verifying ------------------------------------------------------- */

struct lines {
    FILE *file;
    char *line;
    size_t room;
};

static enum err next_line(void *context, struct str *line, struct errinfo *info)
{
    struct lines *lines = context;
    ssize_t n = getline(&lines->line, &lines->room, lines->file);

    (void)info;
    if (n <= 0)
        return ERR_NOTFOUND;
    *line = str_make(lines->line, (size_t)n);
    return ERR_OK;
}

int export_file_verify(
    struct cli *cli, const char *path, const struct note_key *key)
{
    struct lines lines = {.file = fopen(path, "r")};
    struct audit_export_source source = {next_line, &lines};
    struct audit_export_result result = {0};
    struct errinfo info = {0};
    enum err err;

    if (!lines.file)
        return cli_say(1, "%s cannot be opened: %s", path, strerror(errno));
    err = audit_export_verify(&source, key, &result, &info);
    fclose(lines.file);
    free(lines.line);
    if (err)
        return cli_say(1, "%s: %s", path, info.text);
    if (cli->json)
        printf("{\"entries\":%llu,\"holds\":true,\"size\":%llu}\n",
            (unsigned long long)result.entries,
            (unsigned long long)result.size);
    else
        printf("holds: %llu entries of the log %s, under a checkpoint of %llu "
               "entries\n",
            (unsigned long long)result.entries, result.origin,
            (unsigned long long)result.size);
    return 0;
}
