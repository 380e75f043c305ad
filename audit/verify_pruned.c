/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify_pruned.c - the part of the log that is gone on purpose. See
 * verify_priv.h.
 *
 * Its entries cannot be read, but the hash of each stands in a tile, and those
 * hashes lead to the signed root as before. That they were pruned, and not
 * removed, is believed only where a signed entry says the very same as the
 * marker. */
#include "audit/verify_priv.h"

#include "lib/json.h"

#include <inttypes.h>
#include <stdio.h>

/* --- The hashes -----------------------------------------------------------
 */

/* False: a tile is missing (told), or they do not have the root. */
static bool take_tiles(struct verifier *v, const struct pruned *pruned)
{
    struct merkle_hash root;
    struct align_item item = {.segment = 0};
    while (v->fed < pruned->entries) {
        if (!verify_published_hash(v, v->fed, &item.leaf))
            return false;
        merkle_push(&v->tree, v->hash, &item.leaf, verify_on_completed, v);
        verify_reach_roots(v);
        align_add(v->align, &item);
        v->fed++;
    }
    merkle_root(&v->tree, v->hash, &root);
    if (merkle_equal(&root, &pruned->root))
        return true;
    verify_tell_text(v, VERIFY_TILE,
        "the hash tiles of the %" PRIu64
        " entries that were pruned do not have the root that these had",
        pruned->entries);
    return false;
}

/* The tree goes on from what the pruning left. */
static void take_base(struct verifier *v, const struct audit_state *base,
    const struct pruned *pruned)
{
    v->tree = base->tree;
    v->fed = pruned->entries;
    v->tile_missing = true;
    verify_reach_roots(v);
}

void verify_take_pruned(struct verifier *v, const struct pruned *pruned)
{
    static const char *const files[] = {"base", "past"};
    struct audit_state base;
    struct buf bytes;
    bool has_base = false;
    v->pruned.mark = *pruned;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct errinfo why = {0};
        buf_init(&bytes, STATE_MOST);
        enum err err =
            pruned_read(v->segments_dir, pruned, files[i], &bytes, &why);
        if (err == ERR_OK && i == 0)
            has_base =
                state_decode(buf_str(&bytes), v->identity, &base) == ERR_OK &&
                base.tree.size == pruned->entries;
        if (err != ERR_OK)
            verify_tell_text(v, VERIFY_DAMAGED, "%s", why.text);
        else if (i == 0 && !has_base)
            verify_tell_text(v, VERIFY_DAMAGED,
                "journal/segments/base-%" PRIu64 " cannot be read",
                pruned->entries);
        buf_fini(&bytes);
    }
    if (v->published < pruned->entries)
        verify_tell_text(v, VERIFY_CUT,
            "%" PRIu64
            " entries were pruned, and the checkpoint covers %" PRIu64
            ": an old copy of it was put back",
            pruned->entries, v->published);
    if (!take_tiles(v, pruned) && has_base)
        take_base(v, &base, pruned);
    v->fed = pruned->entries;
    if (has_base)
        state_fini(&base);
}

/* --- The record -----------------------------------------------------------
 */

static void take_certificate(struct verifier *v, struct str entry)
{
    static const char type[] = "\"type\":\"audit.prune_completed\"";
    struct json json;
    if (memmem(entry.ptr, entry.len, type, sizeof(type) - 1) == NULL)
        return;
    arena_reset(v->arena);
    if (json_parse(v->arena, entry, NULL, &json, NULL) != ERR_OK)
        return;
    uint32_t detail = json_find(&json, 0, STR("detail"));
    if (detail == JSON_NONE)
        return;
    uint32_t disposal = json_find(&json, detail, STR("disposal"));
    uint32_t hash = json_find(&json, detail, STR("certificate"));
    if (disposal == JSON_NONE || hash == JSON_NONE ||
        !json_string_equals(
            &json, disposal, str_from(v->pruned.mark.disposal)) ||
        json_type(&json, hash) != JSON_STRING ||
        json_raw(&json, hash).len != sizeof(v->pruned.certificate) - 1)
        return;
    memcpy(v->pruned.certificate, json_raw(&json, hash).ptr,
        sizeof(v->pruned.certificate) - 1);
}

void verify_pruned_entry(struct verifier *v, uint64_t index, struct str entry)
{
    if (v->pruned.mark.entries == 0)
        return;
    /* What no checkpoint covers, anybody may have put there. */
    if (!v->pruned.recorded && index < v->published)
        v->pruned.recorded = pruned_is_recorded_by(&v->pruned.mark, entry);
    take_certificate(v, entry);
}

void verify_judge_pruned(struct verifier *v)
{
    const struct pruned *mark = &v->pruned.mark;
    char words[PRUNED_WORDS_MAX];
    struct verify_finding finding = FINDING(VERIFY_NOTE);
    if (mark->entries == 0)
        return;
    pruned_words(mark, words);
    finding.index = 0;
    finding.count = mark->entries;
    if (!v->pruned.recorded) {
        finding.kind = VERIFY_REMOVED;
        snprintf(finding.text, sizeof(finding.text),
            "entries 0 to %" PRIu64
            " are gone, and journal/segments/" PRUNED_FILE
            " says that they were pruned; but no signed entry of the log says "
            "so: they were removed",
            mark->entries - 1);
    } else if (v->pruned.certificate[0] == '\0') {
        snprintf(finding.text, sizeof(finding.text),
            "%s, whose end and certificate are not on record yet; their hashes "
            "are there and lead to the signed root",
            words);
    } else {
        snprintf(finding.text, sizeof(finding.text),
            "%s under certificate %s; their hashes are there and lead to the "
            "signed root",
            words, v->pruned.certificate);
    }
    verify_tell(v, &finding);
}
