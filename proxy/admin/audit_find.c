/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/audit_find.c - was exactly this text sent, or answered? The log
 * holds HMACs of bodies and answers: that of the text is made under every
 * digest key there was, and the log is read for it from end to end. The text
 * is neither kept nor put on record. */
#include "proxy/admin/audit_priv.h"

#include "audit/seal.h"
#include "lib/encode.h"

#include <stdlib.h>

#define MATCHES_MAX 1000
#define HEX_SIZE (2 * SHA256_SIZE)

struct finding {
    struct admin_call *call;
    char (*digests)[HEX_SIZE + 1];
    size_t count;
    json_t *items;
};

static enum err take_match(
    struct finding *f, uint64_t at, struct str entry, struct str digest)
{
    struct arena *arena = arena_new(65536, 0);
    struct audit_event event;
    json_t *one;

    if (!arena)
        return FAIL(f->call, ERR_NOMEM, "out of memory");
    /* An act may name the digest: that somebody looked for it. */
    if (audit_event_parse(arena, entry, &event, NULL) == ERR_OK &&
        event.kind != AUDIT_ACT) {
        bool answer = event.kind == AUDIT_COMPLETED;
        one = json_object();
        admin_set_int(one, "index", (int64_t)at);
        admin_set_text(one, "id", event.id);
        admin_set_time(one, "time", event.time_us);
        admin_set_text(one, "which", answer ? STR("answer") : STR("request"));
        admin_set_text(one, "digest", digest);
        json_array_append_new(f->items, one);
    }
    arena_free(&arena);
    return ERR_OK;
}

static enum err look_through(struct finding *f, uint64_t size)
{
    struct admin_call *call = f->call;
    struct audit_reader *reader = NULL;
    struct buf entry;
    enum err err =
        audit_reader_open(control_dir(call->control), &reader, &call->info);

    buf_init(&entry, 1 << 17);
    for (uint64_t at = 0;
         !err && at < size && json_array_size(f->items) < MATCHES_MAX; at++) {
        buf_clear(&entry);
        err = audit_read_entry(reader, size, at, &entry, &call->info);
        for (size_t i = 0; !err && i < f->count; i++)
            if (memmem(buf_str(&entry).ptr, entry.len, f->digests[i], HEX_SIZE))
                err =
                    take_match(f, at, buf_str(&entry), str_from(f->digests[i]));
    }
    buf_fini(&entry);
    audit_reader_close(&reader);
    return err;
}

static enum err make_digests(struct finding *f, struct str text)
{
    struct admin_call *call = f->call;
    uint8_t(*raw)[SHA256_SIZE] = calloc(DIGEST_KEYS_MAX, sizeof *raw);
    enum err err;

    f->digests = calloc(DIGEST_KEYS_MAX, sizeof *f->digests);
    if (!raw || !f->digests)
        err = FAIL(call, ERR_NOMEM, "out of memory");
    else
        err = keyring_digests(control_dir(call->control), text, raw,
            DIGEST_KEYS_MAX, &f->count, &call->info);
    for (size_t i = 0; !err && i < f->count; i++)
        hex_write(f->digests[i], raw[i], SHA256_SIZE);
    free(raw);
    return err;
}

enum err handle_audit_find(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"text", FIELD_TEXT, true, 0, 1, ADMIN_BODY_MAX, NULL},
    };
    struct audit_log *log = control_log(call->control);
    struct finding f = {.call = call, .items = json_array()};
    struct str text = STR("");
    json_t *answer, *detail;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &text);

    if (!err && !log)
        err = FAIL(call, ERR_WRONG_STATE, "the log is not open");
    if (!err)
        err = make_digests(&f, text);
    if (!err)
        err = look_through(&f, journal_size(audit_log_journal(log)));
    if (!err) {
        detail = json_object();
        admin_set_text(detail, "digest", str_from(f.digests[f.count - 1]));
        admin_set_int(detail, "rows", (int64_t)json_array_size(f.items));
        err = admin_event(
            call, "audit.text_sought", "log", STR(""), detail, STR(""));
    }
    if (!err) {
        answer = json_object();
        admin_set_bool(answer, "more", json_array_size(f.items) == MATCHES_MAX);
        admin_set(answer, "items", json_incref(f.items));
        err = admin_answer(call, 200, answer);
    }
    free(f.digests);
    json_decref(f.items);
    return err;
}
