/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/audit_find_content.c - words in kept content.
 *
 * There is no index of words: it would say in the clear, or to whoever has its
 * key, what erasing and the end of retention are to make unreadable. So the
 * candidates that the filters leave are opened one by one, for as long as a
 * page may take; the answer says how far that was. Which words were sought is
 * on record as a keyed digest, and whose content was shown by the records' ids,
 * before anything is shown. */
#include "proxy/admin/content.h"

#include "audit/blob.h"
#include "audit/content_text.h"
#include "lib/encode.h"

#include <stdlib.h>

#define PATIENCE_US (3 * SECOND_US)
#define MATCHES_DEFAULT 50
#define MATCHES_MAX 200
#define ROWS_AT_ONCE 500
#define AROUND 80 /* bytes of context on each side */
#define TERMS_MAX 8

struct seeking {
    struct admin_call *call;
    struct audit_reader *reader;
    struct crypto_aead *aead;
    struct arena *arena;
    struct buf entry, content, text, lowered;
    uint64_t size;
    struct admin_names terms;
    json_t *items, *ids;
    size_t limit;
    int64_t until_us;
    /* what was looked at */
    int64_t opened, without, erased, unreadable;
    bool more;
    uint64_t next;
};

/* --- One record ------------------------------------------------------------
 */

static void add_match(struct seeking *s, const struct audit_row *row,
    enum blob_which which, size_t at)
{
    struct admin_call *call = s->call;
    json_t *one = json_object();
    struct buf words;

    buf_init(&words, 65536);
    content_context(
        buf_str(&s->text), at, s->terms.items[0].len, AROUND, &words);
    admin_set_text(one, "id", row->id);
    admin_set_int(one, "seq", (int64_t)row->seq);
    admin_set_time(one, "time", row->time_us);
    admin_set_text(one, "caller", row->caller);
    admin_set_text(one, "model", row->model);
    admin_set_text(one, "which", str_from(blob_which_name(which)));
    admin_set_text(one, "context", buf_str(&words));
    buf_clear(&words);
    if (audit_find_name(call, row->caller, &words))
        admin_set_text(one, "callerName", buf_str(&words));
    buf_fini(&words);
    json_array_append_new(s->items, one);
    json_array_append_new(s->ids, json_stringn(row->id.ptr, row->id.len));
}

/* The kept part that the entry commits to. *kept: there is one. */
static enum err look_into(
    struct seeking *s, const struct audit_row *row, uint64_t place, bool *kept)
{
    struct admin_call *call = s->call;
    struct audit_event event;
    const char *state = NULL;
    size_t at;
    enum err err;

    buf_clear(&s->entry);
    buf_clear(&s->content);
    buf_clear(&s->text);
    arena_reset(s->arena);
    *kept = false;
    err = audit_read_entry(s->reader, s->size, place, &s->entry, &call->info);
    if (err)
        return err;
    if (audit_event_parse(s->arena, buf_str(&s->entry), &event, NULL) ||
        event.content_key.len == 0)
        return ERR_OK;
    *kept = true;
    err = content_open(call, s->aead, &event, &s->content, &state);
    if (err)
        return err;
    if (state) {
        s->erased += strcmp(state, "erased") == 0;
        s->unreadable += strcmp(state, "erased") != 0;
        return ERR_OK;
    }
    s->opened++;
    content_text(s->arena, buf_str(&s->content), &s->text);
    if (content_has(buf_str(&s->text), s->terms.items, s->terms.count,
            &s->lowered, &at))
        add_match(s, row,
            event.kind == AUDIT_COMPLETED ? BLOB_ANSWER : BLOB_REQUEST, at);
    if (s->text.failed || s->lowered.failed)
        err = FAIL(call, ERR_NOMEM, "out of memory");
    return err;
}

static enum err take_row(struct seeking *s, const struct audit_row *row)
{
    bool kept = false, answer;
    enum err err;

    if (row->seq >= s->size)
        return ERR_OK;
    err = look_into(s, row, row->seq, &kept);
    if (!err && !kept)
        s->without++;
    if (!err && kept && row->end_seq >= 0 && (uint64_t)row->end_seq < s->size)
        err = look_into(s, row, (uint64_t)row->end_seq, &answer);
    return err;
}

/* --- All of them -----------------------------------------------------------
 */

static bool is_over(const struct seeking *s)
{
    return json_array_size(s->items) >= s->limit ||
           clock_monotonic() >= s->until_us;
}

static enum err seek(struct seeking *s, struct audit_index *index,
    struct audit_filter *filter, struct audit_result **page, uint64_t *damaged)
{
    struct admin_call *call = s->call;
    bool more = true;
    enum err err = ERR_OK;

    filter->limit = ROWS_AT_ONCE;
    while (!err && more) {
        size_t i = 0;
        audit_result_free(page);
        filter->patience_us = s->until_us - clock_monotonic();
        if (filter->patience_us < 1)
            filter->patience_us = 1;
        err = audit_query(index, filter, page, damaged, &call->info);
        if (err)
            break;
        for (; !err && i < (*page)->count && (i == 0 || !is_over(s)); i++) {
            err = take_row(s, &(*page)->rows[i]);
            s->next = (*page)->rows[i].seq;
        }
        more = (*page)->more;
        if (i == (*page)->count && more)
            s->next = (*page)->next;
        s->more = more || i < (*page)->count;
        filter->has_after = true;
        filter->after = s->next;
        more = more && !is_over(s);
    }
    return err;
}

static enum err record(struct seeking *s, const struct audit_asked *asked)
{
    struct admin_call *call = s->call;
    uint8_t(*raw)[SHA256_SIZE] = calloc(DIGEST_KEYS_MAX, sizeof *raw);
    char digest[2 * SHA256_SIZE + 1];
    json_t *detail = json_object();
    size_t keys = 0;
    struct buf words;
    enum err err = raw ? ERR_OK : ERR_NOMEM;

    buf_init(&words, 65536);
    for (size_t i = 0; i < s->terms.count; i++)
        buf_printf(&words, "%s%.*s", i ? "\n" : "", STR_ARG(s->terms.items[i]));
    if (!err)
        err = keyring_digests(control_dir(call->control), buf_str(&words), raw,
            DIGEST_KEYS_MAX, &keys, &call->info);
    if (!err && keys > 0) {
        hex_write(digest, raw[keys - 1], SHA256_SIZE);
        admin_set_text(detail, "digest", str_from(digest));
    }
    crypto_wipe(words.ptr, words.cap);
    buf_fini(&words);
    free(raw);
    admin_set(detail, "filters", audit_filters_json(asked));
    admin_set_int(detail, "opened", s->opened);
    admin_set(detail, "records", json_incref(s->ids));
    if (err) {
        json_decref(detail);
        return err;
    }
    return admin_event(
        call, "audit.content_sought", "log", STR(""), detail, STR(""));
}

static enum err answer_found(
    struct seeking *s, const struct audit_result *page, bool behind)
{
    json_t *answer = json_object();

    admin_set(answer, "items", json_incref(s->items));
    admin_set_int(answer, "opened", s->opened);
    admin_set_int(answer, "without", s->without);
    admin_set_int(answer, "erased", s->erased);
    admin_set_int(answer, "unreadable", s->unreadable);
    admin_set_bool(answer, "more", s->more);
    if (s->more)
        admin_set_int(answer, "next", (int64_t)s->next);
    admin_set_int(answer, "indexed", (int64_t)page->indexed);
    admin_set_int(answer, "entries", (int64_t)s->size);
    admin_set_int(answer, "behind",
        s->size > page->indexed ? (int64_t)(s->size - page->indexed) : 0);
    admin_set_bool(answer, "incomplete", page->incomplete || behind);
    return admin_answer(s->call, 200, answer);
}

static enum err begin(struct seeking *s)
{
    struct admin_call *call = s->call;

    s->aead = crypto_aead_new();
    s->arena = arena_new(65536, ADMIN_ARENA_MAX);
    s->items = json_array();
    s->ids = json_array();
    buf_init(&s->entry, 1 << 17);
    buf_init(&s->content, ADMIN_ANSWER_MAX);
    buf_init(&s->text, ADMIN_ANSWER_MAX);
    buf_init(&s->lowered, ADMIN_ANSWER_MAX + 65536);
    s->until_us = clock_monotonic() + PATIENCE_US;
    return s->aead && s->arena && s->items && s->ids
               ? audit_reader_open(
                     control_dir(call->control), &s->reader, &call->info)
               : FAIL(call, ERR_NOMEM, "out of memory");
}

static void wipe(struct buf *buf)
{
    if (buf->ptr)
        crypto_wipe(buf->ptr, buf->cap);
    buf_fini(buf);
}

static void end(struct seeking *s)
{
    audit_reader_close(&s->reader);
    crypto_aead_free(&s->aead);
    arena_free(&s->arena);
    json_decref(s->items);
    json_decref(s->ids);
    buf_fini(&s->entry);
    wipe(&s->content);
    wipe(&s->text);
    wipe(&s->lowered);
}

enum err handle_audit_find_content(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"terms", FIELD_TEXTS, true, 0, 1, AUDIT_SEARCH_MAX, NULL},
    };
    struct seeking *s = arena_alloc(call->arena, sizeof *s);
    struct audit_asked asked;
    struct audit_index *index = NULL;
    struct audit_result *page = NULL;
    uint64_t damaged = 0;
    bool behind = false;
    enum err err = audit_read_filters(call, NULL, &asked);

    if (!s)
        return FAIL(call, ERR_NOMEM, "out of memory");
    *s = (struct seeking){.call = call};
    if (!err)
        err = admin_read_body(call, fields, FIELD_COUNT(fields), &s->terms);
    if (!err && (s->terms.count < 1 || s->terms.count > TERMS_MAX))
        err = FAIL(call, ERR_INVALID, "terms: from 1 to %d", TERMS_MAX);
    s->limit = asked.filter.limit ? asked.filter.limit : MATCHES_DEFAULT;
    if (!err && s->limit > MATCHES_MAX)
        err = FAIL(call, ERR_INVALID, "limit: at most %d", MATCHES_MAX);
    /* Only of what was permitted anything is kept. */
    if (!err && asked.filter.type.len == 0)
        asked.filter.type = STR("request");
    if (!err && asked.filter.decision.len == 0)
        asked.filter.decision = STR("permit");
    if (!err)
        err = audit_await_index(call, &s->size, &behind);
    if (err)
        return err;
    err = begin(s);
    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    if (!err)
        err = seek(s, index, &asked.filter, &page, &damaged);
    if (err) {
        err = audit_index_failed(call, err, damaged);
    } else {
        err = record(s, &asked);
        if (!err)
            err = answer_found(s, page, behind);
    }
    audit_result_free(&page);
    audit_index_close(&index);
    end(s);
    return err;
}
