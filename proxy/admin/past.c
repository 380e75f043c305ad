/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/past.c - see past.h. */
#include "proxy/admin/past.h"

#include "audit/pruned.h"
#include "lib/clock.h"

#define PAGE 2000
#define BASE_MOST (256u << 20)
#define IN_FORCE "in force" /* the one row of kind "policy in force" */

/* --- Finding --------------------------------------------------------- */

json_t *past_kind(const struct past *past, const char *kind)
{
    return json_object_get(past->kinds, kind);
}

json_t *past_find(const struct past *past, const char *kind, const char *id)
{
    return json_object_get(json_object_get(past_kind(past, kind), id), "state");
}

json_t *past_policy(const struct past *past)
{
    return past_find(past, "policy_in_force", IN_FORCE);
}

const char *past_setting(
    const struct past *past, const char *key, const char *otherwise)
{
    const char *value = json_string_value(
        json_object_get(past_find(past, "setting", key), "value"));

    return value ? value : otherwise;
}

void past_fini(struct past *past)
{
    json_decref(past->kinds);
    *past = (struct past){0};
}

/* --- Folding --------------------------------------------------------- */

static json_t *kind_of(struct past *past, const char *kind)
{
    json_t *all = json_object_get(past->kinds, kind);

    if (!all) {
        all = json_object();
        json_object_set_new(past->kinds, kind, all);
    }
    return all;
}

/* takes state. */
static void put(struct past *past, const char *kind, const char *id,
    uint64_t seq, const json_t *entry, json_t *state)
{
    json_object_set_new(kind_of(past, kind), id,
        json_pack("{s:I, s:O, s:o}", "since", (json_int_t)seq, "time",
            json_object_get(entry, "time"), "state", state));
}

static bool ends(const char *type, const char *verb)
{
    return str_ends(str_from(type), str_from(verb));
}

/* Acts that say no more than that they happened to what was there before. */
static json_t *marked(const json_t *entry, const char *type)
{
    json_t *state = json_deep_copy(json_object_get(entry, "before"));

    if (!state)
        state = json_object();
    if (ends(type, ".revoked"))
        json_object_set(state, "revoked", json_object_get(entry, "time"));
    if (ends(type, ".disabled"))
        json_object_set_new(state, "disabled", json_true());
    if (ends(type, ".enabled"))
        json_object_set_new(state, "disabled", json_false());
    return state;
}

static void fold(struct past *past, uint64_t seq, const json_t *entry)
{
    const char *type = json_string_value(json_object_get(entry, "type"));
    const json_t *object = json_object_get(entry, "object");
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const char *id = json_string_value(json_object_get(object, "id"));
    json_t *after = json_object_get(entry, "after");

    if (!type || !kind || !id)
        return;
    if (strcmp(type, "admin.state.adopted") == 0) {
        past->adopted = seq;
        past->has_adopted = true;
    } else if (strcmp(type, "admin.refused") == 0) {
        return;
    } else if (strcmp(type, "policy.activated") == 0 ||
               strcmp(type, "policy.rolled_back") == 0) {
        put(past, "policy_in_force", IN_FORCE, seq, entry,
            json_deep_copy(after));
    } else if (ends(type, ".removed") && !after) {
        json_object_del(kind_of(past, kind), id);
    } else {
        put(past, kind, id, seq, entry,
            after ? json_deep_copy(after) : marked(entry, type));
    }
}

static void note_change(struct past *past, uint64_t seq, int64_t time_us)
{
    size_t room = sizeof past->earlier / sizeof past->earlier[0];

    if (past->changes > 0) {
        if (past->earlier_count < room)
            past->earlier_count++;
        memmove(past->earlier + 1, past->earlier,
            (past->earlier_count - 1) * sizeof past->earlier[0]);
        past->earlier[0] = past->last;
    }
    past->last = (struct past_change){seq, time_us};
    past->changes++;
}

static enum err fold_page(struct admin_call *call, struct audit_reader *reader,
    uint64_t size, uint64_t before, const struct audit_result *page,
    struct past *past, bool *ended)
{
    struct buf text;
    enum err err = ERR_OK;

    buf_init(&text, 1 << 17);
    for (size_t i = 0; !err && !*ended && i < page->count; i++) {
        json_t *entry;

        if (page->rows[i].seq >= before) {
            *ended = true;
            break;
        }
        buf_clear(&text);
        err = audit_read_entry(
            reader, size, page->rows[i].seq, &text, &call->info);
        if (err)
            break;
        entry = json_loadb(buf_str(&text).ptr, text.len, 0, NULL);
        if (!entry)
            err = FAIL(call, ERR_CORRUPT, "entry %llu is no JSON",
                (unsigned long long)page->rows[i].seq);
        else {
            fold(past, page->rows[i].seq, entry);
            note_change(past, page->rows[i].seq, page->rows[i].time_us);
        }
        json_decref(entry);
    }
    buf_fini(&text);
    return err;
}

/* --- What was pruned -------------------------------------------------- */

json_t *past_json(const struct past *past)
{
    return json_pack("{s:O, s:I, s:I, s:I, s:I, s:b}", "kinds", past->kinds,
        "changes", (json_int_t)past->changes, "lastSeq",
        (json_int_t)past->last.seq, "lastTime", (json_int_t)past->last.time_us,
        "adopted", (json_int_t)past->adopted, "hasAdopted", past->has_adopted);
}

static enum err parse_base(struct admin_call *call, struct str text,
    const struct pruned *pruned, struct past *out)
{
    json_int_t changes, seq, time_us, adopted;
    int has_adopted;
    json_t *json = json_loadb(text.ptr, text.len, 0, NULL), *kinds;

    if (!json ||
        json_unpack(json, "{s:O, s:I, s:I, s:I, s:I, s:b}", "kinds", &kinds,
            "changes", &changes, "lastSeq", &seq, "lastTime", &time_us,
            "adopted", &adopted, "hasAdopted", &has_adopted) != 0) {
        json_decref(json);
        return FAIL(call, ERR_CORRUPT,
            "journal/segments/past-%llu cannot be read",
            (unsigned long long)pruned->entries);
    }
    json_decref(json);
    json_decref(out->kinds);
    out->kinds = kinds;
    out->changes = (uint64_t)changes;
    out->last = (struct past_change){(uint64_t)seq, time_us};
    out->adopted = (uint64_t)adopted;
    out->has_adopted = has_adopted != 0;
    return ERR_OK;
}

/* The fold of what was pruned, up to its last change. */
static enum err begin_with_base(struct admin_call *call, uint64_t before,
    int64_t until_us, struct past *out)
{
    const char *segments = arena_printf(
        call->arena, "%s/journal/segments", control_dir(call->control));
    struct pruned pruned;
    struct buf text;
    char words[PRUNED_WORDS_MAX];
    enum err err = segments ? pruned_load(segments, &pruned, &call->info)
                            : FAIL(call, ERR_NOMEM, "out of memory");

    if (err || pruned.entries == 0)
        return err;
    buf_init(&text, BASE_MOST);
    err = pruned_read(segments, &pruned, "past", &text, &call->info);
    if (!err)
        err = parse_base(call, buf_str(&text), &pruned, out);
    buf_fini(&text);
    pruned_words(&pruned, words);
    if (!err && (before < pruned.entries ||
                    (until_us > 0 && until_us <= out->last.time_us)))
        err = FAIL(call, ERR_NOTFOUND,
            "what was in force then cannot be told any more: %s", words);
    return err;
}

enum err past_build(struct admin_call *call, struct audit_index *index,
    struct audit_reader *reader, uint64_t size, uint64_t before,
    int64_t until_us, struct past *out, uint64_t *damaged)
{
    struct audit_filter filter = {.type = STR("change"),
        .oldest_first = true,
        .until_us = until_us,
        .limit = PAGE};
    struct audit_result *page = NULL;
    bool ended = false;
    enum err err = ERR_OK;

    *out = (struct past){.kinds = json_object()};
    if (!out->kinds)
        return FAIL(call, ERR_NOMEM, "out of memory");
    err = begin_with_base(call, before, until_us, out);
    while (!err && !ended) {
        err = audit_query(index, &filter, &page, damaged, &call->info);
        if (!err && page->incomplete)
            err = FAIL(call, ERR_AGAIN,
                "a part of the index is being built; ask again in a moment");
        if (!err)
            err = fold_page(call, reader, size, before, page, out, &ended);
        if (!err && page->more) {
            filter.has_after = true;
            filter.after = page->rows[page->count - 1].seq;
        } else {
            ended = true;
        }
        audit_result_free(&page);
    }
    if (err)
        past_fini(out);
    return err;
}
