/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/policy_diff.c - what two sets of rules differ in: rule by rule
 * with their sentences, and in what callers may do. */
#include "proxy/admin/rules_priv.h"

#include "lib/clock.h"
#include "policy/store.h"

#define SENTENCE_MAX (1u << 20)

enum err rules_language(
    struct admin_call *call, struct str name, enum cedar_language *out)
{
    *out = CEDAR_ENGLISH;
    if (name.len > 0 && !cedar_language_find(name, out))
        return FAIL(call, ERR_INVALID, "language: \"%.*s\" is none of en, zh",
            STR_ARG(name));
    return ERR_OK;
}

enum err rules_of_version(
    struct admin_call *call, int64_t version, struct rules *out)
{
    struct policy_version found = {.text = STR("")};
    struct buf findings;
    enum err err;

    memset(out, 0, sizeof *out);
    if (version == 0)
        err = admin_active_policy(call, &version, &found.text);
    else
        err = policy_store_get(
            call->db, version, call->arena, &found, &call->info);
    if (err)
        return err;
    buf_init(&findings, SENTENCE_MAX);
    out->text = found.text;
    err = policy_set_compile(
        found.text, "rules.cedar", &out->set, &findings, &call->info);
    buf_fini(&findings);
    return err;
}

/* --- Rules -----------------------------------------------------------------
 */

static void set_sentence(json_t *object, const char *key,
    const struct policy_set *set, size_t at, enum cedar_language language)
{
    struct buf sentence;

    buf_init(&sentence, SENTENCE_MAX);
    policy_set_sentence(set, at, language, &sentence);
    admin_set_text(object, key,
        sentence.failed ? STR("(too long for words)") : buf_str(&sentence));
    buf_fini(&sentence);
}

json_t *rules_rule_json(
    const struct policy_set *set, size_t at, enum cedar_language language)
{
    json_t *rule = json_object();

    admin_set_text(rule, "id", policy_set_id(set, at));
    admin_set_text(rule, "title", policy_set_title(set, at));
    admin_set_text(rule, "effect",
        policy_set_is_permit(set, at) ? STR("permit") : STR("forbid"));
    admin_set_bool(rule, "advice", policy_set_is_advice(set, at));
    set_sentence(rule, "sentence", set, at, language);
    return rule;
}

json_t *rules_sentences(
    const struct policy_set *set, enum cedar_language language)
{
    json_t *rules = json_array();

    for (size_t i = 0; i < policy_set_count(set); i++)
        json_array_append_new(rules, rules_rule_json(set, i, language));
    return rules;
}

static json_t *differences(unsigned differs)
{
    static const struct {
        unsigned bit;
        const char *word;
    } words[] = {{POLICY_DIFFERS_EFFECT, "effect"},
        {POLICY_DIFFERS_SCOPE, "scope"},
        {POLICY_DIFFERS_CONDITION, "conditions"},
        {POLICY_DIFFERS_ANNOTATION, "annotations"},
        {POLICY_DIFFERS_WORDS, "words"}};
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (differs & words[i].bit)
            json_array_append_new(list, json_string(words[i].word));
    return list;
}

static json_t *changed_rule(const struct policy_set *before, size_t b,
    const struct policy_set *after, size_t a, unsigned differs,
    enum cedar_language language)
{
    json_t *rule = rules_rule_json(after, a, language);

    admin_set_text(rule, "titleBefore", policy_set_title(before, b));
    set_sentence(rule, "sentenceBefore", before, b, language);
    admin_set(rule, "differs", differences(differs));
    return rule;
}

json_t *rules_difference(const struct policy_set *before,
    const struct policy_set *after, enum cedar_language language)
{
    json_t *out = json_object(), *added = json_array(), *removed = json_array(),
           *changed = json_array();
    json_int_t same = 0;

    for (size_t a = 0; a < policy_set_count(after); a++) {
        size_t b = policy_set_find(before, policy_set_id(after, a));
        unsigned differs =
            b == SIZE_MAX ? 0 : policy_rules_differ(before, b, after, a);
        if (b == SIZE_MAX)
            json_array_append_new(added, rules_rule_json(after, a, language));
        else if (differs)
            json_array_append_new(
                changed, changed_rule(before, b, after, a, differs, language));
        else
            same++;
    }
    for (size_t b = 0; b < policy_set_count(before); b++)
        if (policy_set_find(after, policy_set_id(before, b)) == SIZE_MAX)
            json_array_append_new(
                removed, rules_rule_json(before, b, language));
    admin_set(out, "added", added);
    admin_set(out, "removed", removed);
    admin_set(out, "changed", changed);
    admin_set_int(out, "same", same);
    return out;
}

/* --- The operation ---------------------------------------------------------
 */

struct diff_body {
    int64_t from, to, at;
    struct str text, name, language, address;
};
#define AT(member) offsetof(struct diff_body, member)

struct diffing {
    struct rules before, after;
    struct snapshot *snapshot;
    enum cedar_language language;
};

static enum err take_rules(
    struct admin_call *call, const struct diff_body *body, struct diffing *d)
{
    const char *name = arena_cstr(call->arena, body->name);
    enum err err = rules_of_version(call, body->from, &d->before);

    if (err)
        return err;
    if (body->text.len == 0)
        return rules_of_version(call, body->to, &d->after);
    err =
        rules_prepare(call, body->text, name ? name : "rules.cedar", &d->after);
    return err ? err : rules_refuse(call, &d->after);
}

enum err handle_policy_diff(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"from", FIELD_INT, false, AT(from), 1, INT64_MAX, NULL},
        {"to", FIELD_INT, false, AT(to), 1, INT64_MAX, NULL},
        {"text", FIELD_TEXT, false, AT(text), 0, 2 << 20, NULL},
        {"name", FIELD_TEXT, false, AT(name), 0, 200, NULL},
        {"language", FIELD_TEXT, false, AT(language), 0, 16, NULL},
        {"address", FIELD_TEXT, false, AT(address), 0, 64, NULL},
        {"at", FIELD_TIME, false, AT(at), 0, 0, NULL},
    };
    struct diff_body body = {.text = STR(""),
        .name = STR("rules.cedar"),
        .address = STR("127.0.0.1"),
        .at = clock_now()};
    struct rules_comparison asked;
    struct diffing d = {0};
    json_t *answer, *access = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = rules_language(call, body.language, &d.language);
    if (err)
        return err;
    control_lock(call->control);
    err = admin_take_snapshot(call, &d.snapshot);
    if (!err)
        err = take_rules(call, &body, &d);
    control_unlock(call->control);
    asked = (struct rules_comparison){
        d.before.set, d.after.set, body.address, body.at};
    if (!err)
        err = rules_access_difference(call, d.snapshot, &asked, &access);
    if (!err) {
        answer = json_object();
        admin_set(answer, "rules",
            rules_difference(d.before.set, d.after.set, d.language));
        admin_set(answer, "access", access);
        err = admin_answer(call, 200, answer);
    }
    rules_fini(&d.before);
    rules_fini(&d.after);
    snapshot_unref(&d.snapshot);
    return err;
}
