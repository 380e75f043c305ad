/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/set.c - compiling the text of a policy set.
 *
 * Not here: whether the entities it names exist (policy/names.c), what is
 * kept where (policy/store.c). */
#include "policy/policy_priv.h"

#include "policy/cedar/validate.h"
#include "policy/claims.h"
#include "policy/vocabulary.h"

#include "lib/must.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void policy_finding(
    struct policy_findings *findings, size_t offset, const char *format, ...)
{
    char text[ERRINFO_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    int line, column;
    cedar_position(findings->source, offset, &line, &column);
    buf_printf(
        findings->out, "%s:%d:%d: %s\n", findings->name, line, column, text);
    if (findings->count++ == 0)
        (void)snprintf(findings->first, sizeof(findings->first),
            "%.128s:%d:%d: %s", findings->name, line, column, text);
}

/* "is `tokens` meant?", found at `context.input.token`: what the vocabulary
 * calls context.input.tokens, or NULL. */
static const char *word_for(struct str source, const struct cedar_diagnostic *d)
{
    static const char is[] = "; is `", meant[] = "` meant?";
    const char *hint = strstr(d->text, is);
    const char *end = hint ? strstr(hint, meant) : NULL;
    const struct cedar_words *words = &policy_vocabulary.attributes;
    char path[256];
    size_t start = d->offset;
    if (end == NULL || d->offset > source.len)
        return NULL;
    hint += sizeof(is) - 1;
    while (start > 0 &&
           (isalnum((unsigned char)source.ptr[start - 1]) ||
               source.ptr[start - 1] == '.' || source.ptr[start - 1] == '_'))
        start--;
    (void)snprintf(path, sizeof(path), "%.*s%.*s", (int)(d->offset - start),
        source.ptr + start, (int)(end - hint), hint);
    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->items[i].key, path) == 0)
            return words->items[i].words[CEDAR_ENGLISH];
    return NULL;
}

static void take_diagnostics(struct policy_findings *findings,
    const struct cedar_diagnostics *diagnostics)
{
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct cedar_diagnostic *d = &diagnostics->items[i];
        const char *word = word_for(findings->source, d);
        policy_finding(findings, d->offset, "%s%s%s%s", d->text,
            word ? " (" : "", word ? word : "", word ? ")" : "");
    }
    if (diagnostics->dropped > 0)
        buf_printf(findings->out, "%s: and %zu more\n", findings->name,
            diagnostics->dropped);
}

static int compare_ids(const void *a, const void *b)
{
    const struct policy_rule *const *left = a, *const *right = b;
    int order = str_compare((*left)->id, (*right)->id);
    if (order != 0)
        return order;
    return *left < *right ? -1 : *left > *right;
}

static enum err check_ids_unique(
    const struct policy_set *set, struct policy_findings *findings)
{
    if (set->count < 2)
        return ERR_OK;
    const struct policy_rule **sorted =
        calloc(set->count, sizeof(const struct policy_rule *));
    if (sorted == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < set->count; i++)
        sorted[i] = &set->rules[i];
    qsort(sorted, set->count, sizeof(sorted[0]), compare_ids);
    for (size_t i = 1; i < set->count; i++) {
        if (sorted[i]->id.len == 0 ||
            !str_equal(sorted[i - 1]->id, sorted[i]->id))
            continue;
        const struct cedar_policy *first =
            cedar_policies_at(set->all, (size_t)(sorted[i - 1] - set->rules));
        const struct cedar_policy *second =
            cedar_policies_at(set->all, (size_t)(sorted[i] - set->rules));
        policy_finding(findings, second->offset,
            "@id \"%.*s\" is used already in line %u; each rule needs its own",
            STR_ARG(sorted[i]->id), (unsigned)first->line);
    }
    free(sorted);
    return ERR_OK;
}

static void refuse_templates(
    const struct cedar_policies *all, struct policy_findings *findings)
{
    for (size_t i = 0; i < cedar_policies_template_count(all); i++)
        policy_finding(findings, cedar_policies_template_at(all, i)->offset,
            "a template (with ?principal or ?resource) decides nothing by "
            "itself; write the entity in its place");
}

static enum policy_part_kind part_of(const struct policy_rule *rule)
{
    if (rule->advice)
        return rule->permit ? PART_ADVISING_PERMITS : PART_ADVISING_FORBIDS;
    if (rule->expires_us != POLICY_EXPIRES_NEVER)
        return rule->permit ? PART_EXPIRING_PERMITS : PART_EXPIRING_FORBIDS;
    return PART_STANDING;
}

/* The index in `all` by the id that the parser gives: policy0, policy1 ... */
static size_t index_of(const struct policy_set *set, struct str cedar_id)
{
    for (size_t i = 0; i < set->count; i++)
        if (str_equal(
                cedar_policy_id(cedar_policies_at(set->all, i)), cedar_id))
            return i;
    MUST(false);
    return 0;
}

/* A set of its own for the rules of one part. Their trees stay in set->all,
 * which lives as long. */
static enum err make_part(struct policy_set *set, enum policy_part_kind kind,
    size_t count, struct errinfo *info)
{
    struct policy_part *part = &set->part[kind];
    struct cedar_builder *builder = NULL;
    enum err err = cedar_builder_new(&builder);
    for (size_t i = 0; i < set->count && err == ERR_OK; i++)
        if (part_of(&set->rules[i]) == kind)
            err = cedar_builder_add(
                builder, cedar_policies_at(set->all, i), info);
    if (err == ERR_OK)
        err = cedar_builder_finish(&builder, &part->policies);
    cedar_builder_free(&builder);
    if (err != ERR_OK)
        return err;
    MUST(cedar_policies_count(part->policies) == count);
    part->rule = calloc(count, sizeof(part->rule[0]));
    if (part->rule == NULL)
        return ERR_NOMEM;
    /* Nothing promises that the order is kept; it mostly is. */
    size_t guess = 0;
    for (size_t i = 0; i < count; i++) {
        struct str id = cedar_policy_id(cedar_policies_at(part->policies, i));
        while (guess < set->count && part_of(&set->rules[guess]) != kind)
            guess++;
        if (guess >= set->count ||
            !str_equal(id, cedar_policy_id(cedar_policies_at(set->all, guess))))
            guess = index_of(set, id);
        part->rule[i] = (uint16_t)guess++;
    }
    return ERR_OK;
}

static enum err divide(struct policy_set *set, struct errinfo *info)
{
    size_t count[PART_COUNT] = {0};
    for (size_t i = 0; i < set->count; i++)
        count[part_of(&set->rules[i])]++;
    if (count[PART_STANDING] == set->count) {
        set->part[PART_STANDING].policies = set->all;
        return ERR_OK;
    }
    for (int kind = 0; kind < PART_COUNT; kind++) {
        if (count[kind] == 0)
            continue;
        enum err err =
            make_part(set, (enum policy_part_kind)kind, count[kind], info);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* Gives each class that @retain names a bit, and notes the priorities. */
static void number_classes(
    struct policy_set *set, struct policy_findings *findings)
{
    for (size_t i = 0; i < set->count; i++) {
        struct policy_rule *rule = &set->rules[i];
        size_t bit = 0;
        set->priorities |= 1u << rule->priority;
        if (rule->retain.len == 0)
            continue;
        while (bit < set->retain_count &&
               !str_equal(set->retain[bit], rule->retain))
            bit++;
        if (bit == POLICY_RETAIN_MAX) {
            policy_finding(findings, cedar_policies_at(set->all, i)->offset,
                "the set names more than %d retention classes (@retain)",
                POLICY_RETAIN_MAX);
            return;
        }
        if (bit == set->retain_count)
            set->retain[set->retain_count++] = rule->retain;
        rule->retain_mask = UINT32_C(1) << bit;
    }
}

static enum err read_rules(
    struct policy_set *set, struct policy_findings *findings)
{
    set->count = cedar_policies_count(set->all);
    if (set->count > POLICY_RULES_MAX) {
        policy_finding(findings, 0,
            "%zu rules are too many; a set holds at most %d", set->count,
            POLICY_RULES_MAX);
        return ERR_LIMIT;
    }
    set->rules = calloc(set->count + 1, sizeof(set->rules[0]));
    if (set->rules == NULL)
        return ERR_NOMEM;
    refuse_templates(set->all, findings);
    for (size_t i = 0; i < set->count; i++)
        policy_annotations_read(
            cedar_policies_at(set->all, i), &set->rules[i], findings);
    number_classes(set, findings);
    return check_ids_unique(set, findings);
}

static enum err parse(
    struct policy_set *set, struct str text, struct policy_findings *findings)
{
    struct cedar_diagnostics diagnostics = {0};
    enum err err = cedar_policies_parse(text, &diagnostics, &set->all);
    if (err != ERR_OK)
        take_diagnostics(findings, &diagnostics);
    cedar_diagnostics_fini(&diagnostics);
    return err;
}

/* Against schema/bailiff.cedarschema, in the strict mode: what passes can fail
 * at run time by little more than overflow. A rule that can never apply is an
 * error here, not a warning: its author believes that it does something. */
static enum err check_types(const struct policy_set *set, struct str text,
    struct policy_findings *findings)
{
    struct cedar_diagnostics diagnostics = {0};
    struct cedar_schema *schema = NULL;
    struct buf ours;
    buf_init(&ours, 1 << 20);
    enum err err = policy_schema_write(&ours);
    if (err == ERR_OK)
        err = cedar_schema_parse_text(buf_str(&ours), NULL, &schema);
    MUST(err == ERR_OK || err == ERR_NOMEM); /* it is ours */
    if (err == ERR_OK)
        err = cedar_validate(set->all, schema, text, &diagnostics);
    if (err == ERR_OK)
        take_diagnostics(findings, &diagnostics);
    cedar_diagnostics_fini(&diagnostics);
    cedar_schema_free(&schema);
    buf_fini(&ours);
    return err;
}

enum err policy_set_compile(struct str text, const char *source_name,
    struct policy_set **out, struct buf *findings_out, struct errinfo *info)
{
    struct policy_findings findings = {
        .out = findings_out, .source = text, .name = source_name};
    struct policy_set *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = parse(set, text, &findings);
    if (err == ERR_OK)
        err = read_rules(set, &findings);
    if (err == ERR_OK)
        err = check_types(set, text, &findings);
    if (err == ERR_OK && findings.count > 0)
        err = ERR_SYNTAX;
    if (err == ERR_OK)
        err = divide(set, info);
    if (err != ERR_OK) {
        policy_set_free(&set);
        if (findings.count > 1)
            return errinfo_set(info, err, "%s (and %zu more)", findings.first,
                findings.count - 1);
        return errinfo_set(info, err, "%s",
            findings.count == 1 ? findings.first
            : err == ERR_NOMEM  ? "out of memory"
                                : "the policy set cannot be compiled");
    }
    *out = set;
    return ERR_OK;
}

void policy_set_free(struct policy_set **set_ref)
{
    struct policy_set *set = *set_ref;
    if (set == NULL)
        return;
    for (int kind = 0; kind < PART_COUNT; kind++) {
        struct policy_part *part = &set->part[kind];
        if (part->policies != set->all)
            cedar_policies_free(&part->policies);
        free(part->rule);
    }
    cedar_policies_free(&set->all);
    free(set->rules);
    free(set);
    *set_ref = NULL;
}

size_t policy_set_count(const struct policy_set *set)
{
    return set->count;
}

static const struct policy_rule *rule_at(
    const struct policy_set *set, size_t at)
{
    MUST(at < set->count);
    return &set->rules[at];
}

struct str policy_set_id(const struct policy_set *set, size_t at)
{
    return rule_at(set, at)->id;
}

struct str policy_set_title(const struct policy_set *set, size_t at)
{
    return rule_at(set, at)->title;
}

bool policy_set_is_permit(const struct policy_set *set, size_t at)
{
    return rule_at(set, at)->permit;
}

bool policy_set_is_advice(const struct policy_set *set, size_t at)
{
    return rule_at(set, at)->advice;
}

int64_t policy_set_expires_us(const struct policy_set *set, size_t at)
{
    return rule_at(set, at)->expires_us;
}

bool policy_set_has_priority(
    const struct policy_set *set, enum policy_priority priority)
{
    return set->priorities >> priority & 1;
}

size_t policy_set_retain_count(const struct policy_set *set)
{
    return set->retain_count;
}

struct str policy_set_retain(const struct policy_set *set, unsigned bit)
{
    MUST(bit < set->retain_count);
    return set->retain[bit];
}

struct literal_visit {
    const struct policy_set *set;
    void (*visit)(void *context, const struct policy_literal *literal);
    void *context;
};

static bool visit_literal(void *context, const struct cedar_literal *found)
{
    const struct literal_visit *v = context;
    struct str rule = STR("");
    (void)cedar_policy_annotation(found->policy, STR("id"), &rule);
    struct policy_literal literal = {
        .type = found->uid->type,
        .id = found->uid->id,
        .policy = rule,
        .line = found->line,
        .column = found->column,
        .offset = found->offset,
        .length = found->end - found->offset,
    };
    v->visit(v->context, &literal);
    return true;
}

void policy_set_each_literal(const struct policy_set *set,
    void (*visit)(void *context, const struct policy_literal *literal),
    void *context)
{
    struct literal_visit v = {set, visit, context};
    cedar_policies_each_entity_literal(set->all, visit_literal, &v);
    for (size_t i = 0; i < set->count; i++) {
        const struct cedar_policy *policy = cedar_policies_at(set->all, i);
        struct policy_literal literal = {.type = STR("RetentionClass"),
            .id = set->rules[i].retain,
            .policy = set->rules[i].id,
            .line = (int)policy->line,
            .column = (int)policy->column};
        if (literal.id.len > 0)
            visit(context, &literal);
    }
}
