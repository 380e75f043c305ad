/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/replay.c - see replay.h. The member names are those that entry.c
 * writes. */
#include "audit/replay.h"

#include "audit/wire.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/json_canonical.h"

#include <inttypes.h>
#include <stdlib.h>

#define MEMBERS_MAX 64        /* of an entry */
#define FIGURE_MEMBERS_MAX 16 /* of an element of "quotas" */

/* --- A table of things that begin with their id, NUL-terminated ----------
 *
 * The things stand densely in an array, so that they can be handed out as
 * one; slots hold index + 1 (0: free), with linear probing. */
struct table {
    char *items;
    size_t item_size, count, cap;
    uint32_t *slots;
    size_t slot_count; /* a power of two, or 0 */
};

static void *item_at(const struct table *table, size_t index)
{
    return table->items + index * table->item_size;
}

static size_t home_of(const struct table *table, struct str id)
{
    return (size_t)str_hash(id) & (table->slot_count - 1);
}

/* The slot of id, or the free one where it would go. */
static size_t find_slot(const struct table *table, struct str id)
{
    size_t slot = home_of(table, id);
    while (table->slots[slot] != 0 &&
           !str_equal(id, str_from(item_at(table, table->slots[slot] - 1))))
        slot = (slot + 1) & (table->slot_count - 1);
    return slot;
}

static bool table_rehash(struct table *table, size_t slot_count)
{
    uint32_t *slots = calloc(slot_count, sizeof(*slots));
    if (slots == NULL)
        return false;
    free(table->slots);
    table->slots = slots;
    table->slot_count = slot_count;
    for (size_t i = 0; i < table->count; i++)
        slots[find_slot(table, str_from(item_at(table, i)))] = (uint32_t)i + 1;
    return true;
}

static void *table_find(const struct table *table, struct str id)
{
    if (table->slot_count == 0)
        return NULL;
    uint32_t index = table->slots[find_slot(table, id)];
    return index == 0 ? NULL : item_at(table, index - 1);
}

/* The thing of this id, made (all zero but the id) where there is none. */
static void *table_put(struct table *table, struct str id)
{
    void *found = table_find(table, id);
    if (found != NULL)
        return found;
    if (table->count == table->cap) {
        size_t cap = table->cap ? table->cap * 2 : 64;
        void *items = realloc(table->items, cap * table->item_size);
        if (items == NULL)
            return NULL;
        table->items = items;
        table->cap = cap;
    }
    if ((table->count + 1) * 2 > table->slot_count &&
        !table_rehash(table, table->slot_count ? table->slot_count * 2 : 128))
        return NULL;
    char *item = item_at(table, table->count);
    memset(item, 0, table->item_size);
    memcpy(item, id.ptr, id.len);
    table->slots[find_slot(table, id)] = (uint32_t)++table->count;
    return item;
}

/* Closes the gap, so that probing still finds what stood behind it. */
static void clear_slot(struct table *table, size_t hole)
{
    size_t mask = table->slot_count - 1;
    table->slots[hole] = 0;
    for (size_t at = (hole + 1) & mask; table->slots[at] != 0;
         at = (at + 1) & mask) {
        struct str id = str_from(item_at(table, table->slots[at] - 1));
        if (((at - home_of(table, id)) & mask) < ((at - hole) & mask))
            continue;
        table->slots[hole] = table->slots[at];
        table->slots[at] = 0;
        hole = at;
    }
}

static void table_remove(struct table *table, struct str id)
{
    if (table->slot_count == 0)
        return;
    size_t slot = find_slot(table, id);
    if (table->slots[slot] == 0)
        return;
    size_t index = table->slots[slot] - 1, last = table->count - 1;
    clear_slot(table, slot);
    if (index != last) {
        size_t moved = find_slot(table, str_from(item_at(table, last)));
        table->slots[moved] = (uint32_t)index + 1;
        memcpy(item_at(table, index), item_at(table, last), table->item_size);
    }
    table->count--;
}

static void table_fini(struct table *table)
{
    free(table->items);
    free(table->slots);
}

/* --- The fold -------------------------------------------------------------
 */

/* Members of one entry of "quotas". */
struct figure {
    struct str bucket;
    bool rate, now, settlement;
    int64_t window_us, arrival_us, step, reserved, settled;
};

struct replay {
    struct table buckets, open;
    struct figure *figures; /* of the entry that is read */
    size_t figure_room;
    int64_t last_time_us;
    int64_t outbox;
    bool has_control_digest;
    uint8_t control_digest[SHA256_SIZE];
};

struct replay *replay_new(void)
{
    struct replay *replay = calloc(1, sizeof(*replay));
    if (replay == NULL)
        return NULL;
    replay->buckets.item_size = sizeof(struct audit_bucket);
    replay->open.item_size = sizeof(struct audit_open_admission);
    return replay;
}

void replay_free(struct replay **pointer)
{
    struct replay *replay = *pointer;
    *pointer = NULL;
    if (replay == NULL)
        return;
    table_fini(&replay->buckets);
    table_fini(&replay->open);
    free(replay->figures);
    free(replay);
}

/* A string that needs no unescaping. */
static bool get_string(struct str value, struct str *out)
{
    if (value.len < 2 || value.ptr[0] != '"' ||
        memchr(value.ptr, '\\', value.len) != NULL)
        return false;
    *out = str_make(value.ptr + 1, value.len - 2);
    return true;
}

static bool get_int(struct str value, int64_t *out)
{
    return str_to_i64(value, out) == ERR_OK;
}

static bool get_instant(struct str value, int64_t *out)
{
    struct str text;
    return get_string(value, &text) && clock_parse(text, out) == ERR_OK;
}

static bool read_figure(struct str object, bool settlement, struct figure *out)
{
    enum { ARRIVAL, BUCKET, RESERVED, SETTLED, STEP, WINDOW, NAME_COUNT };
    static const struct str names[NAME_COUNT] = {STR_INIT("arrival"),
        STR_INIT("bucket"), STR_INIT("reserved"), STR_INIT("settled"),
        STR_INIT("step"), STR_INIT("window")};
    struct json_member members[FIGURE_MEMBERS_MAX];
    struct str at[NAME_COUNT], window;
    size_t count;
    *out = (struct figure){.settlement = settlement};
    if (json_canonical_object(object, members, FIGURE_MEMBERS_MAX, &count) !=
        ERR_OK)
        return false;
    json_canonical_find(members, count, names, at, NAME_COUNT);
    if (!get_string(at[BUCKET], &out->bucket) || out->bucket.len == 0 ||
        out->bucket.len >= sizeof(((struct audit_bucket *)NULL)->id) ||
        !get_string(at[WINDOW], &window))
        return false;
    out->now = str_equal(window, STR("now"));
    if (out->now)
        return true;
    if (str_equal(window, STR("minute"))) {
        out->rate = true;
        return get_instant(at[ARRIVAL], &out->arrival_us) &&
               get_int(at[STEP], &out->step);
    }
    if (!str_equal(window, STR("lifetime")) &&
        clock_parse(window, &out->window_us) != ERR_OK)
        return false;
    return get_int(at[RESERVED], &out->reserved) &&
           (!settlement || get_int(at[SETTLED], &out->settled));
}

static bool apply_figure(struct replay *replay, const struct figure *figure)
{
    bool fresh = table_find(&replay->buckets, figure->bucket) == NULL;
    if (figure->now)
        return true; /* nothing of it runs after a start */
    /* A window that is not known any more cannot be lowered. */
    if (fresh && figure->settlement && !figure->rate)
        return true;
    struct audit_bucket *bucket = table_put(&replay->buckets, figure->bucket);
    if (bucket == NULL)
        return false;
    if (fresh || bucket->rate != figure->rate) {
        bucket->rate = figure->rate;
        bucket->window_start_us = figure->window_us;
        bucket->used = bucket->arrival_us = 0;
        bucket->step = 0;
    }
    if (figure->rate) {
        if (fresh || (uint64_t)figure->step >= bucket->step) {
            bucket->step = (uint64_t)figure->step;
            bucket->arrival_us = figure->arrival_us;
        }
        return true;
    }
    if (!figure->settlement && figure->window_us > bucket->window_start_us) {
        bucket->window_start_us = figure->window_us;
        bucket->used = 0;
    }
    if (figure->window_us == bucket->window_start_us)
        bucket->used += figure->settlement ? figure->settled - figure->reserved
                                           : figure->reserved;
    return true;
}

static struct figure *next_figure(struct replay *replay, size_t count)
{
    if (count == replay->figure_room) {
        size_t room = count ? count * 2 : 16;
        void *figures =
            reallocarray(replay->figures, room, sizeof(*replay->figures));
        if (figures == NULL)
            return NULL;
        replay->figures = figures;
        replay->figure_room = room;
    }
    return &replay->figures[count];
}

/* All of them, or none. */
static enum err apply_quotas(
    struct replay *replay, struct str list, bool settlement)
{
    size_t count = 0, place = 0;
    struct str item;
    enum err err;
    if (list.ptr == NULL)
        return ERR_OK;
    while ((err = json_canonical_element(list, &place, &item)) == ERR_OK) {
        struct figure *figure = next_figure(replay, count++);
        if (figure == NULL)
            return ERR_NOMEM;
        if (!read_figure(item, settlement, figure))
            return ERR_SYNTAX;
    }
    if (err != ERR_NOTFOUND)
        return err;
    for (size_t i = 0; i < count; i++)
        if (!apply_figure(replay, &replay->figures[i]))
            return ERR_NOMEM;
    return ERR_OK;
}

/* What is read of an entry's own members. */
enum { DIGEST, ID, OUTBOX, QUOTAS, TIME, TYPE, MEMBER_COUNT };
static const struct str member_names[MEMBER_COUNT] = {STR_INIT("controlDigest"),
    STR_INIT("id"), STR_INIT("outbox"), STR_INIT("quotas"), STR_INIT("time"),
    STR_INIT("type")};
static enum err apply_request(
    struct replay *replay, const struct str *at, struct str type)
{
    bool admitted = str_equal(type, STR("request.admitted"));
    if (!admitted && !str_equal(type, STR("request.completed")) &&
        !str_equal(type, STR("request.withdrawn")))
        return ERR_OK; /* denied, measured, attempt: nothing was taken */
    struct str id;
    if (!get_string(at[ID], &id) || id.len != ULID_LENGTH)
        return ERR_SYNTAX;
    enum err err = apply_quotas(replay, at[QUOTAS], !admitted);
    if (err != ERR_OK)
        return err;
    if (!admitted)
        table_remove(&replay->open, id);
    else if (table_put(&replay->open, id) == NULL)
        return ERR_NOMEM;
    return ERR_OK;
}

static enum err apply_act(struct replay *replay, const struct str *at)
{
    struct str hex;
    uint8_t digest[SHA256_SIZE];
    size_t size;
    int64_t outbox;
    bool has_digest = get_string(at[DIGEST], &hex);
    if (has_digest &&
        (hex_decode(hex, digest, sizeof(digest), &size) != ERR_OK ||
            size != sizeof(digest)))
        return ERR_SYNTAX;
    if (has_digest) {
        memcpy(replay->control_digest, digest, sizeof(digest));
        replay->has_control_digest = true;
    }
    if (get_int(at[OUTBOX], &outbox) && outbox > replay->outbox)
        replay->outbox = outbox;
    return ERR_OK;
}

enum err replay_entry(struct replay *replay, uint64_t index, struct str entry,
    struct errinfo *info)
{
    struct json_member members[MEMBERS_MAX];
    const char *reason = "a member is missing or wrong";
    struct str type, at[MEMBER_COUNT];
    size_t count;
    int64_t time_us = 0;
    enum err err = json_canonical_object(entry, members, MEMBERS_MAX, &count);
    if (err != ERR_OK) {
        err = ERR_SYNTAX;
        reason = "no canonical JSON object";
    } else {
        json_canonical_find(members, count, member_names, at, MEMBER_COUNT);
        if (!get_string(at[TYPE], &type) || !get_instant(at[TIME], &time_us))
            err = ERR_SYNTAX;
        else
            err = str_starts(type, STR("request."))
                      ? apply_request(replay, at, type)
                      : apply_act(replay, at);
    }
    if (err == ERR_NOMEM)
        return errinfo_set(info, err, "out of memory");
    if (err != ERR_OK)
        return errinfo_set(info, ERR_SYNTAX,
            "entry %" PRIu64 " cannot be read: %s", index, reason);
    if (time_us > replay->last_time_us)
        replay->last_time_us = time_us;
    return ERR_OK;
}

void replay_result(const struct replay *replay, struct audit_replayed *out)
{
    out->last_time_us = replay->last_time_us;
    out->has_control_digest = replay->has_control_digest;
    memcpy(out->control_digest, replay->control_digest, SHA256_SIZE);
    out->outbox = replay->outbox;
    out->buckets = (const void *)replay->buckets.items;
    out->bucket_count = replay->buckets.count;
    out->open = (const void *)replay->open.items;
    out->open_count = replay->open.count;
}

/* --- As bytes -------------------------------------------------------------
 */

void replay_write(const struct replay *replay, struct buf *out)
{
    wire_put64(out, (uint64_t)replay->last_time_us);
    wire_put64(out, (uint64_t)replay->outbox);
    wire_put64(out, replay->has_control_digest);
    buf_append(out, replay->control_digest, SHA256_SIZE);
    wire_put64(out, replay->buckets.count);
    for (size_t i = 0; i < replay->buckets.count; i++) {
        const struct audit_bucket *bucket = item_at(&replay->buckets, i);
        buf_append(out, bucket->id, sizeof(bucket->id));
        wire_put64(out, bucket->rate);
        wire_put64(out, (uint64_t)bucket->window_start_us);
        wire_put64(out, (uint64_t)bucket->used);
        wire_put64(out, (uint64_t)bucket->arrival_us);
        wire_put64(out, bucket->step);
    }
    wire_put64(out, replay->open.count);
    for (size_t i = 0; i < replay->open.count; i++) {
        const struct audit_open_admission *open = item_at(&replay->open, i);
        buf_append(out, open->id, sizeof(open->id));
    }
}

enum err replay_read(struct replay *replay, struct str *bytes)
{
    uint64_t last_time, outbox, has_digest, count;
    if (!wire_get64(bytes, &last_time) || !wire_get64(bytes, &outbox) ||
        !wire_get64(bytes, &has_digest) ||
        !wire_get(bytes, replay->control_digest, SHA256_SIZE) ||
        !wire_get64(bytes, &count))
        return ERR_CORRUPT;
    replay->last_time_us = (int64_t)last_time;
    replay->outbox = (int64_t)outbox;
    replay->has_control_digest = has_digest != 0;
    for (uint64_t i = 0; i < count; i++) {
        struct audit_bucket read = {0}, *bucket;
        uint64_t rate, window, used, arrival, step;
        if (!wire_get(bytes, read.id, sizeof(read.id)) ||
            read.id[sizeof(read.id) - 1] != '\0' || !wire_get64(bytes, &rate) ||
            !wire_get64(bytes, &window) || !wire_get64(bytes, &used) ||
            !wire_get64(bytes, &arrival) || !wire_get64(bytes, &step))
            return ERR_CORRUPT;
        bucket = table_put(&replay->buckets, str_from(read.id));
        if (bucket == NULL)
            return ERR_NOMEM;
        bucket->rate = rate != 0;
        bucket->window_start_us = (int64_t)window;
        bucket->used = (int64_t)used;
        bucket->arrival_us = (int64_t)arrival;
        bucket->step = step;
    }
    if (!wire_get64(bytes, &count))
        return ERR_CORRUPT;
    for (uint64_t i = 0; i < count; i++) {
        struct audit_open_admission open;
        if (!wire_get(bytes, open.id, sizeof(open.id)) ||
            open.id[ULID_LENGTH] != '\0')
            return ERR_CORRUPT;
        if (table_put(&replay->open, str_from(open.id)) == NULL)
            return ERR_NOMEM;
    }
    return ERR_OK;
}
