/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/describe.h - a policy as a plain sentence, and why it applied
 * to a request or not, in English and Chinese.
 *
 * The words come from the parsed rule alone, never from a comment or an
 * annotation: what the sentence says is what the policy does. Texts of the
 * policy stand between quotation marks, and characters that would not show,
 * or would turn the line's direction, are written as escapes.
 *
 * Not here: the request path; this is for people who read. Pure; any thread. */
#ifndef POLICY_CEDAR_DESCRIBE_H
#define POLICY_CEDAR_DESCRIBE_H

#include "policy/cedar/explain.h"

enum cedar_language { CEDAR_ENGLISH, CEDAR_CHINESE };
#define CEDAR_LANGUAGES 2

/* "en", "zh", and what begins so ("zh-CN"); false for others. */
bool cedar_language_find(struct str name, enum cedar_language *out);

/* One word of a domain, in each language (NULL: there is none). */
struct cedar_word {
    const char *key;
    const char *words[CEDAR_LANGUAGES];
};
struct cedar_words {
    const struct cedar_word *items;
    size_t count;
};

/* What a domain calls its things. All may be empty: names are then shown as
 * the policy has them, "maxTokens" as "max tokens" in English. */
struct cedar_vocabulary {
    /* "Team" -> "team"; "principal" and "resource": what stands there when
     * the rule says nothing of the type. Full type names. */
    struct cedar_words types;
    /* "chat" -> "use $ to chat": a verb phrase, $ stands for the resource.
     * Ids of actions. */
    struct cedar_words actions;
    /* "context.time.hour" -> "the hour" */
    struct cedar_words attributes;
    /* Attributes that are true or false, as a clause; "!" before the key for
     * its opposite: "context.stream" -> "the answer is streamed". */
    struct cedar_words facts;
};

/* Appends one sentence, without a line end. vocabulary may be NULL. */
void cedar_describe(struct buf *out, const struct cedar_policy *policy,
    enum cedar_language language, const struct cedar_vocabulary *vocabulary);

/* Appends one line: "does not apply: the hour is not less than 18 (the hour
 * is 19)". The policy's name is the caller's to put before it. */
void cedar_describe_explanation(struct buf *out,
    const struct cedar_explanation *explanation,
    const struct cedar_request *request, enum cedar_language language,
    const struct cedar_vocabulary *vocabulary);

#endif
