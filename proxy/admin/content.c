/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/content.c - `audit content`: personal fields and kept content of
 * a record, opened. That somebody read them is an event (audit.content_read),
 * durable before anything is shown. */
#include "proxy/admin/content.h"

#include "audit/blob.h"
#include "lib/encode.h"

#include <stdio.h>
#include <stdlib.h>

#define PLACES_MAX 256

struct opening {
    struct admin_call *call;
    struct crypto_aead *aead;
    bool only_states;
    json_t *record;
};

/* NULL: *state says why there is no key. */
static enum err find_key(
    struct opening *o, struct str id, struct seal_key *key, const char **state)
{
    struct admin_call *call = o->call;
    struct errinfo info = {0};
    bool destroyed = false;
    enum err err;

    *state = NULL;
    control_lock(call->control);
    err = keyring_find(control_keyring(call->control), id, key, &info);
    if (err == ERR_NOTFOUND)
        destroyed =
            keyring_is_destroyed(control_keyring(call->control), id, &info);
    control_unlock(call->control);
    if (err == ERR_NOTFOUND || err == ERR_CORRUPT) {
        *state = destroyed ? "erased" : "keyLost";
        return ERR_OK;
    }
    return err ? FAIL(call, err, "%s", info.text) : ERR_OK;
}

static json_t *state_of(const char *state)
{
    json_t *part = json_object();

    admin_set_text(part, "state", str_from(state));
    return part;
}

/* --- Personal fields ---------------------------------------------------- */

static enum err open_personal(
    struct opening *o, const struct audit_event *event, json_t **out)
{
    struct admin_call *call = o->call;
    struct str text = event->sealed_box;
    size_t length = 0, size = text.len / 4 * 3 + 3;
    uint8_t *box = NULL;
    const char *state;
    struct seal_key key;
    struct buf plain;
    json_t *fields = NULL;
    enum err err = find_key(o, event->sealed_key, &key, &state);

    if (!err && !state && o->only_states)
        state = "kept";
    if (err || state) {
        *out = err ? NULL : state_of(state);
        return err;
    }
    buf_init(&plain, 65536);
    box = malloc(size);
    if (!box)
        err = ERR_NOMEM;
    else if (base64_decode(text, box, size, &length) != ERR_OK ||
             seal_open(o->aead, &key, event->id,
                 str_make((const char *)box, length), &plain) != ERR_OK)
        *out = state_of("altered");
    else {
        fields = json_loadb(buf_str(&plain).ptr, plain.len, 0, NULL);
        *out = state_of("open");
        admin_set(*out, "fields", fields ? fields : json_object());
    }
    if (plain.ptr)
        crypto_wipe(plain.ptr, plain.cap);
    buf_fini(&plain);
    free(box);
    crypto_wipe(&key, sizeof key);
    return err ? FAIL(call, err, "out of memory") : ERR_OK;
}

/* --- Kept content -------------------------------------------------------- */

static void put_content(json_t *part, struct str content)
{
    struct buf coded;

    admin_set_int(part, "bytes", (int64_t)content.len);
    if (str_is_utf8(content) && !memchr(content.ptr, '\0', content.len)) {
        admin_set_text(part, "text", content);
        return;
    }
    buf_init(&coded, ADMIN_ANSWER_MAX);
    base64_append(&coded, content.ptr, content.len);
    admin_set(part, "base64",
        coded.failed ? NULL
                     : json_stringn(buf_str(&coded).ptr, buf_str(&coded).len));
    buf_fini(&coded);
}

static enum blob_which which_of(const struct audit_event *event)
{
    return event->kind == AUDIT_COMPLETED ? BLOB_ANSWER : BLOB_REQUEST;
}

/* ERR_NOTFOUND: the file is missing; ERR_CORRUPT: it was altered. */
static enum err read_blob(struct opening *o, const struct audit_event *event,
    const struct seal_key *key, struct buf *content, struct errinfo *info)
{
    struct blob_commitment expected = {.bytes = event->content_bytes};
    enum blob_which which = which_of(event);
    struct buf file;
    enum err err;

    snprintf(expected.blob, sizeof expected.blob, "%.*s",
        STR_ARG(event->content_blob));
    snprintf(expected.commitment, sizeof expected.commitment, "%.*s",
        STR_ARG(event->content_commitment));
    buf_init(&file, ADMIN_ANSWER_MAX);
    err = blob_read(control_dir(o->call->control), event->content_key,
        event->id, which, &file, info);
    if (!err)
        err = blob_open(o->aead, key, event->id, which, buf_str(&file),
            &expected, content, info);
    buf_fini(&file);
    return err;
}

static enum err read_and_open(struct opening *o,
    const struct audit_event *event, const struct seal_key *key, json_t **out)
{
    struct admin_call *call = o->call;
    struct errinfo info = {0};
    struct buf content;
    enum err err;

    buf_init(&content, ADMIN_ANSWER_MAX);
    err = read_blob(o, event, key, &content, &info);
    if (err == ERR_NOTFOUND || err == ERR_CORRUPT) {
        *out = state_of(err == ERR_NOTFOUND ? "missing" : "altered");
        admin_set_text(*out, "why", str_from(info.text));
        err = ERR_OK;
    } else if (err) {
        err = FAIL(call, err, "%s", info.text);
    } else {
        *out = state_of("open");
        put_content(*out, buf_str(&content));
    }
    if (content.ptr)
        crypto_wipe(content.ptr, content.cap);
    buf_fini(&content);
    return err;
}

enum err content_open(struct admin_call *call, struct crypto_aead *aead,
    const struct audit_event *event, struct buf *out, const char **state)
{
    struct opening o = {.call = call, .aead = aead};
    struct errinfo info = {0};
    struct seal_key key;
    enum err err = find_key(&o, event->content_key, &key, state);

    if (!err && !*state)
        err = read_blob(&o, event, &key, out, &info);
    crypto_wipe(&key, sizeof key);
    if (err == ERR_NOTFOUND || err == ERR_CORRUPT) {
        *state = err == ERR_NOTFOUND ? "missing" : "altered";
        return ERR_OK;
    }
    return err ? FAIL(call, err, "%s", info.text) : ERR_OK;
}

static enum err open_content(
    struct opening *o, const struct audit_event *event, json_t **out)
{
    const char *state;
    struct seal_key key;
    enum err err = find_key(o, event->content_key, &key, &state);

    if (!err && !state && o->only_states)
        state = "kept";
    if (!err && state)
        *out = state_of(state);
    else if (!err)
        err = read_and_open(o, event, &key, out);
    crypto_wipe(&key, sizeof key);
    if (!err && o->only_states)
        admin_set_int(*out, "bytes", event->content_bytes);
    return err;
}

/* --- A record --------------------------------------------------------------
 */

static enum err take_entry(struct opening *o, const struct audit_event *event)
{
    json_t *part = NULL;
    enum err err = ERR_OK;

    if (event->sealed_key.len > 0) {
        err = open_personal(o, event, &part);
        if (!err)
            admin_set(o->record, "personal", part);
    }
    if (!err && event->content_key.len > 0) {
        err = open_content(o, event, &part);
        if (!err)
            admin_set(o->record, blob_which_name(which_of(event)), part);
    }
    if (!err && event->content_lost.len > 0) {
        part = state_of("lost");
        admin_set_text(part, "why", event->content_lost);
        admin_set(o->record, "answer", part);
    }
    if (!err && event->retention.len > 0)
        admin_set_text(o->record, "retention", event->retention);
    return err;
}

static enum err open_record(struct admin_call *call,
    struct audit_reader *reader, uint64_t size, bool only_states,
    const uint64_t *places, size_t count, json_t **out)
{
    struct opening o = {
        .call = call, .only_states = only_states, .record = json_object()};
    struct arena *arena = arena_new(65536, ADMIN_ARENA_MAX);
    struct buf entry;
    enum err err = ERR_OK;

    o.aead = crypto_aead_new();
    if (!o.aead || !arena)
        err = FAIL(call, ERR_NOMEM, "out of memory");
    buf_init(&entry, 1 << 17);
    admin_set(o.record, "personal", state_of("none"));
    admin_set(o.record, "request", state_of("none"));
    admin_set(o.record, "answer", state_of("none"));
    for (size_t i = 0; !err && i < count; i++) {
        struct audit_event event;
        buf_clear(&entry);
        arena_reset(arena);
        err = audit_read_entry(reader, size, places[i], &entry, &call->info);
        if (!err)
            err =
                audit_event_parse(arena, buf_str(&entry), &event, &call->info);
        if (!err)
            err = take_entry(&o, &event);
    }
    buf_fini(&entry);
    arena_free(&arena);
    crypto_aead_free(&o.aead);
    if (err)
        json_decref(o.record);
    else
        *out = o.record;
    return err;
}

enum err content_of_record(struct admin_call *call, struct audit_reader *reader,
    uint64_t size, struct str id, const uint64_t *places, size_t count,
    json_t **out)
{
    enum err err = open_record(call, reader, size, false, places, count, out);

    if (!err)
        admin_set_text(*out, "id", id);
    return err;
}

enum err content_states(struct admin_call *call, struct audit_reader *reader,
    uint64_t size, const uint64_t *places, size_t count, json_t **out)
{
    return open_record(call, reader, size, true, places, count, out);
}

/* --- The operation ----------------------------------------------------------
 */

static enum err answer_content(struct admin_call *call,
    struct audit_reader *reader, uint64_t size, const uint64_t *places,
    size_t count)
{
    json_t *answer = NULL;
    enum err err = content_of_record(
        call, reader, size, call->params[0], places, count, &answer);

    if (!err)
        err = admin_event(call, "audit.content_read", "record", call->params[0],
            NULL, STR(""));
    if (err) {
        json_decref(answer);
        return err;
    }
    return admin_answer(call, 200, answer);
}

enum err handle_audit_content(struct admin_call *call)
{
    const char *dir = control_dir(call->control);
    struct audit_index *index = NULL;
    struct audit_reader *reader = NULL;
    uint64_t size = 0, damaged = 0, places[PLACES_MAX];
    size_t count = 0;
    bool behind;
    enum err err = audit_await_index(call, &size, &behind);

    if (!err && !ulid_is_valid(call->params[0]))
        err = FAIL(call, ERR_INVALID,
            "\"%.*s\" is no request's id (callers get it as x-request-id)",
            STR_ARG(call->params[0]));
    if (!err)
        err = audit_index_open(dir, &index, &call->info);
    if (!err)
        err = audit_reader_open(dir, &reader, &call->info);
    if (!err)
        err = audit_places(reader, index, size, call->params[0], places,
            PLACES_MAX, &count, &damaged, &call->info);
    err = err ? audit_index_failed(call, err, damaged)
              : answer_content(call, reader, size, places,
                    count < PLACES_MAX ? count : PLACES_MAX);
    audit_reader_close(&reader);
    audit_index_close(&index);
    return err;
}
