/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/annotations.c - what may stand behind an @ before a rule.
 *
 * The engine of the language ignores annotations; here they carry a rule's
 * name and its obligations, so a misspelt one would be a rule that does less
 * than its author believes. Whatever is not in the table is an error. */
#include "policy/policy_priv.h"

#include "lib/clock.h"

#include <stdio.h>

#define MAX_TOKENS_MOST 10000000

struct reading {
    const struct cedar_policy *policy;
    const struct cedar_annotation *annotation;
    struct policy_rule *rule;
    struct policy_findings *findings;
};

#define FOUND(r, ...)                                                          \
    policy_finding((r)->findings, (r)->annotation->offset, __VA_ARGS__)

static bool is_one_line(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
            return false;
    return true;
}

static void read_text(struct reading *r, struct str *to, size_t most)
{
    struct str value = r->annotation->value;
    if (str_trim(value).len == 0)
        FOUND(r, "@%.*s is empty; give it a text", STR_ARG(r->annotation->key));
    else if (value.len > most)
        FOUND(r, "@%.*s has %zu bytes; at most %zu are allowed",
            STR_ARG(r->annotation->key), value.len, most);
    else if (!is_one_line(value))
        FOUND(r,
            "@%.*s has a line break or control character; write it in "
            "one line",
            STR_ARG(r->annotation->key));
    else
        *to = value;
}

static void read_id(struct reading *r)
{
    struct str value = r->annotation->value;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c >= '0' && c <= '9') ||
                    (i > 0 && (c == '-' || c == '_' || c == '.' || c == '/'));
        if (!fine) {
            FOUND(r,
                "@id \"%.*s\" is no name; use letters, digits and - _ . / "
                "after the first character",
                STR_ARG(value));
            return;
        }
    }
    read_text(r, &r->rule->id, POLICY_ID_MAX);
}

static void read_title(struct reading *r)
{
    read_text(r, &r->rule->title, POLICY_TITLE_MAX);
}

static void read_message(struct reading *r)
{
    read_text(r, &r->rule->message, POLICY_MESSAGE_MAX);
}

/* @owner, @basis, @recipe, @param: for people and for other commands. */
static void read_note(struct reading *r)
{
    struct str ignored;
    read_text(r, &ignored, 4096);
}

static void read_mode(struct reading *r)
{
    struct str value = r->annotation->value;
    if (str_equal(value, STR("advise")))
        r->rule->advice = true;
    else if (!str_equal(value, STR("enforce")))
        FOUND(r,
            "@mode(\"%.*s\") is unknown; \"advise\" records and never "
            "decides, \"enforce\" is what a rule without @mode does",
            STR_ARG(value));
}

static void read_expires(struct reading *r)
{
    if (clock_parse(r->annotation->value, &r->rule->expires_us) == ERR_OK)
        return;
    r->rule->expires_us = POLICY_EXPIRES_NEVER;
    FOUND(r,
        "@expires(\"%.*s\") is no date; write it like \"2027-01-01\" "
        "(00:00 UTC) or \"2027-01-01T08:00:00+01:00\"",
        STR_ARG(r->annotation->value));
}

static bool binds_a_permit(struct reading *r)
{
    if (r->rule->permit)
        return true;
    FOUND(r,
        "@%.*s stands before a forbid, where it has no effect; move it to "
        "the permits that it should bind",
        STR_ARG(r->annotation->key));
    return false;
}

static void read_max_tokens(struct reading *r)
{
    int64_t most;
    if (!binds_a_permit(r))
        return;
    if (str_to_i64(r->annotation->value, &most) == ERR_OK && most >= 1 &&
        most <= MAX_TOKENS_MOST)
        r->rule->max_tokens = most;
    else
        FOUND(r,
            "@max_tokens(\"%.*s\") is no number of tokens; write 1 to %d, "
            "like @max_tokens(\"512\")",
            STR_ARG(r->annotation->value), MAX_TOKENS_MOST);
}

const char *policy_priority_name(enum policy_priority priority)
{
    switch (priority) {
    case POLICY_PRIORITY_LOW:
        return "low";
    case POLICY_PRIORITY_NORMAL:
        return "normal";
    case POLICY_PRIORITY_HIGH:
        return "high";
    case POLICY_PRIORITY_NONE:
        break;
    }
    return "";
}

static void read_priority(struct reading *r)
{
    if (!binds_a_permit(r))
        return;
    for (int p = POLICY_PRIORITY_LOW; p <= POLICY_PRIORITY_HIGH; p++) {
        if (str_equal(r->annotation->value,
                str_from(policy_priority_name((enum policy_priority)p)))) {
            r->rule->priority = (enum policy_priority)p;
            return;
        }
    }
    FOUND(r,
        "@priority(\"%.*s\") is unknown; write \"high\", \"normal\" or "
        "\"low\": how soon it is served where requests wait for an engine",
        STR_ARG(r->annotation->value));
}

static void read_engine(struct reading *r)
{
    if (binds_a_permit(r))
        read_text(r, &r->rule->engine, 128);
}

static void read_record(struct reading *r)
{
    if (!binds_a_permit(r))
        return;
    if (str_equal(r->annotation->value, STR("full")))
        r->rule->record_full = true;
    else
        FOUND(r,
            "@record(\"%.*s\") is unknown; @record(\"full\") keeps question "
            "and answer, and without it only their digests are kept",
            STR_ARG(r->annotation->value));
}

static void read_retain(struct reading *r)
{
    if (binds_a_permit(r))
        read_text(r, &r->rule->retain, 64);
}

static void read_require_stream(struct reading *r)
{
    if (!binds_a_permit(r))
        return;
    if (r->annotation->value.len > 0)
        FOUND(r, "@require_stream takes no value; write it without "
                 "parentheses");
    else
        r->rule->require_stream = true;
}

static const struct known {
    struct str key;
    void (*read)(struct reading *r);
} known[] = {
    {STR_INIT("id"), read_id},
    {STR_INIT("title"), read_title},
    {STR_INIT("message"), read_message},
    {STR_INIT("mode"), read_mode},
    {STR_INIT("expires"), read_expires},
    {STR_INIT("max_tokens"), read_max_tokens},
    {STR_INIT("priority"), read_priority},
    {STR_INIT("engine"), read_engine},
    {STR_INIT("record"), read_record},
    {STR_INIT("require_stream"), read_require_stream},
    {STR_INIT("retain"), read_retain},
    {STR_INIT("owner"), read_note},
    {STR_INIT("basis"), read_note},
    {STR_INIT("source"), read_note},
    {STR_INIT("article"), read_note},
    {STR_INIT("recipe"), read_note},
    {STR_INIT("param"), read_note},
};
#define KNOWN (sizeof(known) / sizeof(known[0]))

static void read_one(struct reading *r)
{
    struct str key = r->annotation->key;
    struct str keys[KNOWN];
    for (size_t i = 0; i < KNOWN; i++) {
        if (str_equal(known[i].key, key)) {
            known[i].read(r);
            return;
        }
        keys[i] = known[i].key;
    }
    /* A recipe has several fields: @param_team("interns"). */
    if (str_starts(key, STR("param_"))) {
        read_note(r);
        return;
    }
    struct str near = str_suggest(key, keys, KNOWN);
    if (near.len > 0)
        FOUND(r, "unknown annotation @%.*s; did you mean @%.*s?", STR_ARG(key),
            STR_ARG(near));
    else
        FOUND(r,
            "unknown annotation @%.*s; known are id, title, message, mode, "
            "expires, max_tokens, priority, engine, record, require_stream, "
            "retain, "
            "owner, "
            "basis, source, article, recipe, param",
            STR_ARG(key));
}

void policy_annotations_read(const struct cedar_policy *policy,
    struct policy_rule *rule, struct policy_findings *findings)
{
    *rule = (struct policy_rule){
        .permit = policy->effect == CEDAR_PERMIT,
        .expires_us = POLICY_EXPIRES_NEVER,
        .max_tokens = -1,
    };
    for (uint32_t i = 0; i < policy->annotation_count; i++) {
        struct reading r = {policy, &policy->annotations[i], rule, findings};
        read_one(&r);
    }
    if (!cedar_policy_annotation(policy, STR("id"), NULL))
        policy_finding(findings, policy->offset,
            "the rule has no @id; write @id(\"short-name\") before it, so "
            "that records can name it");
    if (!cedar_policy_annotation(policy, STR("title"), NULL))
        policy_finding(findings, policy->offset,
            "the rule has no @title; write @title(\"what it is for\") before "
            "it, so that people can read why something was decided");
}
