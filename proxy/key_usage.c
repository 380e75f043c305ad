/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/key_usage.c - a hash table of cells that never move, and its file:
 * a line "KEY-ID MICROSECONDS" for each key that was ever used. */
#include "proxy/key_usage.h"

#include "lib/buf.h"
#include "lib/file.h"
#include "lib/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#define FILE_BYTES_MAX (256u << 20)
#define ID_BYTES 32

struct entry {
    struct key_usage_cell cell;
    char id[ID_BYTES];
};

struct key_usage {
    pthread_mutex_t mutex;
    struct entry **slots; /* a power of two; at most half full */
    size_t size, used;
    uint64_t saved; /* what was written last: see mark_of */
    char *path;
};

/* --- The table ----------------------------------------------------------- */

static struct entry **slot_of(struct entry **slots, size_t size, struct str id)
{
    size_t at = (size_t)str_hash(id) & (size - 1);

    while (slots[at] && !str_equal(str_from(slots[at]->id), id))
        at = (at + 1) & (size - 1);
    return &slots[at];
}

static bool grow_locked(struct key_usage *usage)
{
    size_t size = usage->size * 2;
    struct entry **slots = calloc(size, sizeof *slots);

    if (!slots)
        return false;
    for (size_t i = 0; i < usage->size; i++)
        if (usage->slots[i])
            *slot_of(slots, size, str_from(usage->slots[i]->id)) =
                usage->slots[i];
    free(usage->slots);
    usage->slots = slots;
    usage->size = size;
    return true;
}

static struct entry *add_locked(struct key_usage *usage, struct str id)
{
    struct entry *entry = *slot_of(usage->slots, usage->size, id);

    if (entry)
        return entry;
    if (id.len == 0 || id.len >= ID_BYTES ||
        (usage->used * 2 >= usage->size && !grow_locked(usage)))
        return NULL;
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    memcpy(entry->id, id.ptr, id.len);
    atomic_init(&entry->cell.time_us, 0);
    *slot_of(usage->slots, usage->size, id) = entry;
    usage->used++;
    return entry;
}

struct key_usage_cell *key_usage_cell(struct key_usage *usage, struct str id)
{
    struct entry *entry;

    pthread_mutex_lock(&usage->mutex);
    entry = add_locked(usage, id);
    pthread_mutex_unlock(&usage->mutex);
    return entry ? &entry->cell : NULL;
}

int64_t key_usage_last(struct key_usage *usage, struct str id)
{
    struct entry *entry;

    pthread_mutex_lock(&usage->mutex);
    entry = *slot_of(usage->slots, usage->size, id);
    pthread_mutex_unlock(&usage->mutex);
    return entry ? atomic_load(&entry->cell.time_us) : 0;
}

/* --- The file ------------------------------------------------------------ */

static void read_line(struct key_usage *usage, struct str line)
{
    struct str id, text;
    struct entry *entry;
    int64_t time_us;

    if (!str_split(line, ' ', &id, &text) ||
        str_to_i64(text, &time_us) != ERR_OK || time_us <= 0)
        return;
    entry = add_locked(usage, id);
    if (entry)
        atomic_store(&entry->cell.time_us, time_us);
}

static void read_file(struct key_usage *usage)
{
    struct errinfo info = {0};
    struct str rest, line;
    struct buf text;

    buf_init(&text, FILE_BYTES_MAX);
    if (file_exists(usage->path)) {
        if (file_read(usage->path, &text, &info) != ERR_OK)
            log_warn("key_usage_not_read", "reason=\"%s\"", info.text);
        rest = buf_str(&text);
        while (rest.len > 0) {
            str_split(rest, '\n', &line, &rest);
            read_line(usage, line);
        }
    }
    buf_fini(&text);
}

/* Grows with every use: times only do. */
static uint64_t mark_locked(const struct key_usage *usage)
{
    uint64_t mark = 0;

    for (size_t i = 0; i < usage->size; i++)
        if (usage->slots[i])
            mark += (uint64_t)atomic_load(&usage->slots[i]->cell.time_us);
    return mark;
}

enum err key_usage_save(struct key_usage *usage, struct errinfo *info)
{
    enum err err = ERR_OK;
    struct buf text;
    uint64_t mark;

    buf_init(&text, FILE_BYTES_MAX);
    pthread_mutex_lock(&usage->mutex);
    mark = mark_locked(usage);
    for (size_t i = 0; mark != usage->saved && i < usage->size; i++) {
        const struct entry *entry = usage->slots[i];
        int64_t time_us = entry ? atomic_load(&entry->cell.time_us) : 0;
        if (time_us > 0)
            buf_printf(&text, "%s %" PRId64 "\n", entry->id, time_us);
    }
    pthread_mutex_unlock(&usage->mutex); /* no file under the lock */
    if (text.failed)
        err = errinfo_set(info, ERR_NOMEM, "%s: out of memory", usage->path);
    else if (mark != usage->saved)
        err = file_replace(usage->path, buf_str(&text), 0600, info);
    if (err == ERR_OK)
        usage->saved = mark;
    buf_fini(&text);
    return err;
}

/* --- Life and death ------------------------------------------------------ */

struct key_usage *key_usage_open(const char *dir)
{
    struct key_usage *usage = calloc(1, sizeof *usage);

    if (!usage)
        return NULL;
    pthread_mutex_init(&usage->mutex, NULL);
    usage->size = 256;
    usage->slots = calloc(usage->size, sizeof *usage->slots);
    usage->path = file_join(dir, "key-usage");
    if (!usage->slots || !usage->path) {
        key_usage_free(&usage);
        return NULL;
    }
    read_file(usage);
    usage->saved = mark_locked(usage);
    return usage;
}

void key_usage_free(struct key_usage **usage)
{
    struct key_usage *u = *usage;

    if (!u)
        return;
    *usage = NULL;
    for (size_t i = 0; u->slots && i < u->size; i++)
        free(u->slots[i]);
    free(u->slots);
    free(u->path);
    pthread_mutex_destroy(&u->mutex);
    free(u);
}
