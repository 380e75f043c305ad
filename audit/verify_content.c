/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify_content.c - see verify_content.h. */
#include "audit/verify_content.h"

#include "audit/blob.h"
#include "audit/event.h"
#include "lib/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_SIZE 17
#define TOLD_MOST 200 /* one by one; the rest is counted */

struct missing {
    uint64_t index;
    char key[KEY_SIZE], id[27];
    enum blob_which which;
};

struct content_check {
    const char *state_dir;
    void (*told)(void *context, struct verify_finding *finding);
    void *context;
    struct arena *arena;
    struct missing *missing;
    size_t missing_count, missing_room;
    char (*destroyed)[KEY_SIZE];
    size_t destroyed_count, destroyed_room;
    bool no_memory;
};

struct content_check *content_check_new(const char *state_dir,
    void (*told)(void *context, struct verify_finding *finding), void *context)
{
    struct content_check *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->state_dir = state_dir;
    c->told = told;
    c->context = context;
    c->arena = arena_new(1 << 16, 1 << 24);
    if (c->arena == NULL)
        content_check_free(&c);
    return c;
}

void content_check_free(struct content_check **check)
{
    struct content_check *c = *check;
    if (c == NULL)
        return;
    arena_free(&c->arena);
    free(c->missing);
    free(c->destroyed);
    free(c);
    *check = NULL;
}

/* Room for one more in a growing array. */
static bool grow(void **items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return true;
    size_t more = *room == 0 ? 64 : 2 * *room;
    void *fresh = realloc(*items, more * size);
    if (fresh == NULL)
        return false;
    *items = fresh;
    *room = more;
    return true;
}

static void copy(char *out, size_t size, struct str text)
{
    size_t n = text.len < size - 1 ? text.len : size - 1;
    memcpy(out, text.ptr, n);
    out[n] = '\0';
}

/* --- Keys that were destroyed on record ----------------------------------- */

static void take_destroyed(
    struct content_check *c, const struct audit_event *event)
{
    struct json json;
    if (json_parse(c->arena, event->detail, NULL, &json, NULL) != ERR_OK)
        return;
    uint32_t keys = json_find(&json, 0, STR("keys"));
    if (keys == JSON_NONE || json_type(&json, keys) != JSON_ARRAY)
        return;
    for (JSON_EACH_ELEMENT(&json, keys, item)) {
        if (!grow((void **)&c->destroyed, c->destroyed_count,
                &c->destroyed_room, sizeof(*c->destroyed))) {
            c->no_memory = true;
            return;
        }
        copy(c->destroyed[c->destroyed_count++], KEY_SIZE,
            json_raw(&json, item));
    }
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool was_destroyed(const struct content_check *c, const char *key)
{
    return c->destroyed_count > 0 &&
           bsearch(key, c->destroyed, c->destroyed_count, sizeof(*c->destroyed),
               compare_keys) != NULL;
}

/* --- Files ------------------------------------------------------------------
 */

static void take_missing(struct content_check *c, uint64_t index,
    const struct audit_event *event, enum blob_which which)
{
    if (!grow((void **)&c->missing, c->missing_count, &c->missing_room,
            sizeof(*c->missing))) {
        c->no_memory = true;
        return;
    }
    struct missing *m = &c->missing[c->missing_count++];
    m->index = index;
    m->which = which;
    copy(m->key, sizeof(m->key), event->content_key);
    copy(m->id, sizeof(m->id), event->id);
}

static void look_at_file(
    struct content_check *c, uint64_t index, const struct audit_event *event)
{
    enum blob_which which =
        event->kind == AUDIT_COMPLETED ? BLOB_ANSWER : BLOB_REQUEST;
    struct errinfo why = {0};
    enum err err = blob_check(c->state_dir, event->content_key, event->id,
        which, event->content_blob, &why);
    if (err == ERR_NOTFOUND) {
        take_missing(c, index, event, which);
    } else if (err != ERR_OK) {
        struct verify_finding finding = {.kind = VERIFY_CONTENT,
            .index = (int64_t)index,
            .other = -1,
            .count = 1};
        copy(finding.id, sizeof(finding.id), event->id);
        snprintf(finding.text, sizeof(finding.text),
            err == ERR_CORRUPT
                ? "the kept %s of %s (entry %" PRIu64
                  ") is not the file that its entry commits to: it was "
                  "altered, or another was put in its place (%.200s)"
                : "the kept %s of %s (entry %" PRIu64
                  ") cannot be read: %.200s",
            blob_which_name(which), finding.id, index, why.text);
        c->told(c->context, &finding);
    }
}

static const char destroyed[] = "\"type\":\"audit.keys_destroyed\"";

bool content_check_is_missing(const struct content_check *c)
{
    for (size_t i = 0; i < c->missing_count; i++) {
        bool known = false;
        for (size_t k = 0; !known && k < c->destroyed_count; k++)
            known = strcmp(c->destroyed[k], c->missing[i].key) == 0;
        if (!known)
            return true;
    }
    return false;
}

void content_check_destroyed(struct content_check *c, struct str entry)
{
    struct audit_event event;
    if (memmem(entry.ptr, entry.len, destroyed, sizeof(destroyed) - 1) == NULL)
        return;
    arena_reset(c->arena);
    if (audit_event_parse(c->arena, entry, &event, NULL) == ERR_OK &&
        str_equal(event.type, STR("audit.keys_destroyed")))
        take_destroyed(c, &event);
}

void content_check_entry(
    struct content_check *c, uint64_t index, struct str entry)
{
    static const char content[] = "\"content\":{\"blob\":\"";
    struct audit_event event;
    if (memmem(entry.ptr, entry.len, content, sizeof(content) - 1) == NULL &&
        memmem(entry.ptr, entry.len, destroyed, sizeof(destroyed) - 1) == NULL)
        return;
    arena_reset(c->arena);
    if (audit_event_parse(c->arena, entry, &event, NULL) != ERR_OK)
        return; /* an altered entry is found by its hash */
    if (event.content_key.len > 0)
        look_at_file(c, index, &event);
    else if (str_equal(event.type, STR("audit.keys_destroyed")))
        take_destroyed(c, &event);
}

static void tell_missing(struct content_check *c, const struct missing *m)
{
    struct verify_finding finding = {.kind = VERIFY_CONTENT,
        .index = (int64_t)m->index,
        .other = -1,
        .count = 1};
    snprintf(finding.id, sizeof(finding.id), "%s", m->id);
    snprintf(finding.text, sizeof(finding.text),
        "the kept %s of %s (entry %" PRIu64
        ") is missing, and no entry says that its key %s was destroyed",
        blob_which_name(m->which), m->id, m->index, m->key);
    c->told(c->context, &finding);
}

void content_check_end(struct content_check *c)
{
    struct verify_finding finding = {.index = -1, .other = -1};
    uint64_t faults = 0, erased = 0;
    if (c->destroyed_count > 0)
        qsort(c->destroyed, c->destroyed_count, sizeof(*c->destroyed),
            compare_keys);
    for (size_t i = 0; i < c->missing_count; i++) {
        if (was_destroyed(c, c->missing[i].key))
            erased++;
        else if (faults++ < TOLD_MOST)
            tell_missing(c, &c->missing[i]);
    }
    if (faults > TOLD_MOST) {
        finding.kind = VERIFY_CONTENT;
        finding.count = faults - TOLD_MOST;
        snprintf(finding.text, sizeof(finding.text),
            "and %" PRIu64 " more kept files are missing", finding.count);
        c->told(c->context, &finding);
    }
    if (erased > 0) {
        finding.kind = VERIFY_NOTE;
        finding.count = erased;
        snprintf(finding.text, sizeof(finding.text),
            "%" PRIu64 " kept files are gone with keys whose destruction is "
            "on record",
            erased);
        c->told(c->context, &finding);
    }
    if (c->no_memory) {
        finding.kind = VERIFY_CONTENT;
        finding.count = 0;
        snprintf(finding.text, sizeof(finding.text),
            "out of memory: not every kept file was looked at");
        c->told(c->context, &finding);
    }
}
