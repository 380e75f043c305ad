/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/explain.c - see policy/explain.h. */
#include "policy/explain.h"

#include "policy/policy_priv.h"
#include "policy/vocabulary.h"

#include "lib/must.h"

static const struct cedar_policy *rule_policy(
    const struct policy_set *set, size_t at)
{
    MUST(at < set->count);
    return cedar_policies_at(set->all, at);
}

size_t policy_set_find(const struct policy_set *set, struct str id)
{
    for (size_t i = 0; i < set->count; i++)
        if (str_equal(set->rules[i].id, id))
            return i;
    return SIZE_MAX;
}

struct str policy_set_text(const struct policy_set *set, size_t at)
{
    return cedar_policy_text(rule_policy(set, at));
}

size_t policy_set_offset(const struct policy_set *set, size_t at)
{
    return rule_policy(set, at)->offset;
}

bool policy_set_annotation(
    const struct policy_set *set, size_t at, struct str key, struct str *value)
{
    return cedar_policy_annotation(rule_policy(set, at), key, value);
}

size_t policy_set_annotation_count(const struct policy_set *set, size_t at)
{
    return rule_policy(set, at)->annotation_count;
}

struct str policy_set_annotation_at(const struct policy_set *set, size_t at,
    size_t annotation, struct str *value)
{
    const struct cedar_policy *policy = rule_policy(set, at);
    MUST(annotation < policy->annotation_count);
    *value = policy->annotations[annotation].value;
    return policy->annotations[annotation].key;
}

/* --- Sentences ------------------------------------------------------------ */

static void say_annotations(const struct policy_rule *rule,
    enum cedar_language language, struct buf *out)
{
    bool zh = language == CEDAR_CHINESE;
    char time[CLOCK_TEXT_LENGTH + 1];
    if (rule->max_tokens >= 0)
        buf_printf(out,
            zh ? "回答最多%lld个令牌。" : " Answers get at most %lld tokens.",
            (long long)rule->max_tokens);
    if (rule->engine.len > 0) {
        buf_append_str(
            out, zh ? STR("只能在引擎“") : STR(" Only on the engine “"));
        buf_append_str(out, rule->engine);
        buf_append_str(out, zh ? STR("”上运行。") : STR("”."));
    }
    if (rule->record_full)
        buf_append_str(out, zh ? STR("问题和回答将被完整记录。")
                               : STR(" Question and answer are kept in full."));
    if (rule->retain.len > 0)
        buf_printf(out,
            zh ? "记录属于保留类别“%.*s”。"
               : " Records are of the retention class “%.*s”.",
            STR_ARG(rule->retain));
    if (rule->require_stream)
        buf_append_str(out, zh ? STR("回答必须是流式的。")
                               : STR(" The answer has to be streamed."));
    if (rule->advice)
        buf_append_str(
            out, zh ? STR("此规则仅作提示和记录，不作决定。")
                    : STR(" This rule only advises: it is recorded and decides "
                          "nothing."));
    if (rule->expires_us != POLICY_EXPIRES_NEVER) {
        clock_format(time, rule->expires_us);
        buf_printf(out,
            zh ? "此规则在%.16s（UTC）失效。" : " It ends at %.16s UTC.", time);
    }
}

void policy_set_sentence(const struct policy_set *set, size_t at,
    enum cedar_language language, struct buf *out)
{
    cedar_describe(out, rule_policy(set, at), language, &policy_vocabulary);
    say_annotations(&set->rules[at], language, out);
}

static bool asks_address(const struct cedar_expr *expr)
{
    static const struct str ip = STR_INIT("ip");
    uint32_t names = expr->kind == CEDAR_EXPR_HAS   ? expr->path_count
                     : expr->kind == CEDAR_EXPR_GET ? 1
                                                    : 0;
    for (uint32_t i = 0; i < names; i++)
        if (str_equal(cedar_key_str(expr->path[i]), ip))
            return true;
    for (uint32_t i = 0; i < expr->count; i++)
        if (asks_address(expr->items[i]))
            return true;
    return false;
}

bool policy_set_asks_address(const struct policy_set *set, size_t at)
{
    const struct cedar_policy *policy = rule_policy(set, at);
    for (uint32_t i = 0; i < policy->condition_count; i++)
        if (asks_address(policy->conditions[i].body))
            return true;
    return false;
}

void policy_set_obligations(
    const struct policy_set *set, size_t at, struct policy_obligations *out)
{
    MUST(at < set->count);
    const struct policy_rule *rule = &set->rules[at];
    *out = (struct policy_obligations){.max_tokens = rule->max_tokens,
        .engine = rule->engine,
        .record_full = rule->record_full,
        .priority = rule->priority,
        .retain = rule->retain_mask,
        .require_stream = rule->require_stream};
}

/* The bits of one set mean nothing in another. Names are unique in a set. */
static bool retains_same(const struct policy_set *set_a, uint32_t a,
    const struct policy_set *set_b, uint32_t b)
{
    uint32_t found = 0;
    for (unsigned i = 0; i < set_a->retain_count; i++) {
        if (!(a & UINT32_C(1) << i))
            continue;
        unsigned k = 0;
        while (k < set_b->retain_count &&
               !str_equal(set_a->retain[i], set_b->retain[k]))
            k++;
        if (k == set_b->retain_count)
            return false;
        found |= UINT32_C(1) << k;
    }
    return found == b;
}

bool policy_obligations_same(const struct policy_set *set_a,
    const struct policy_obligations *a, const struct policy_set *set_b,
    const struct policy_obligations *b)
{
    return a->max_tokens == b->max_tokens && a->record_full == b->record_full &&
           a->require_stream == b->require_stream &&
           a->priority == b->priority && a->conflict == b->conflict &&
           str_equal(a->engine, b->engine) &&
           retains_same(set_a, a->retain, set_b, b->retain);
}

/* --- Two rules --------------------------------------------------------------
 */

static bool scope_same(const struct cedar_scope *a, const struct cedar_scope *b)
{
    if (a->kind != b->kind || a->count != b->count ||
        !str_equal(a->type, b->type))
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!cedar_uid_equal(a->entities[i].uid, b->entities[i].uid))
            return false;
    return true;
}

static bool conditions_same(
    const struct cedar_policy *a, const struct cedar_policy *b)
{
    if (a->condition_count != b->condition_count)
        return false;
    for (uint32_t i = 0; i < a->condition_count; i++)
        if (a->conditions[i].unless != b->conditions[i].unless ||
            !cedar_expr_same(a->conditions[i].body, b->conditions[i].body))
            return false;
    return true;
}

/* Annotations that only speak; all others are taken to decide something. */
static bool only_words(struct str key)
{
    static const struct str words[] = {STR_INIT("title"), STR_INIT("owner"),
        STR_INIT("basis"), STR_INIT("recipe"), STR_INIT("param"),
        STR_INIT("source"), STR_INIT("article")};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (str_equal(key, words[i]))
            return true;
    return str_starts(key, STR("param_"));
}

static unsigned annotations_missing(
    const struct cedar_policy *a, const struct cedar_policy *b)
{
    unsigned differs = 0;
    for (uint32_t i = 0; i < a->annotation_count; i++) {
        struct str key = a->annotations[i].key, value;
        if (!cedar_policy_annotation(b, key, &value) ||
            !str_equal(value, a->annotations[i].value))
            differs |= only_words(key) ? POLICY_DIFFERS_WORDS
                                       : POLICY_DIFFERS_ANNOTATION;
    }
    return differs;
}

unsigned policy_rules_differ(const struct policy_set *set_a, size_t at_a,
    const struct policy_set *set_b, size_t at_b)
{
    const struct cedar_policy *a = rule_policy(set_a, at_a);
    const struct cedar_policy *b = rule_policy(set_b, at_b);
    unsigned differs = 0;
    if (a->effect != b->effect)
        differs |= POLICY_DIFFERS_EFFECT;
    if (!scope_same(&a->principal, &b->principal) ||
        !scope_same(&a->action, &b->action) ||
        !scope_same(&a->resource, &b->resource))
        differs |= POLICY_DIFFERS_SCOPE;
    if (!conditions_same(a, b))
        differs |= POLICY_DIFFERS_CONDITION;
    return differs | annotations_missing(a, b) | annotations_missing(b, a);
}
