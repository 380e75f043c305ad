/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/cedar.h - the Cedar policy language, version 4: parse policies,
 * hold entities, authorize requests. The whole public face but for trees
 * (ast.h), values (value.h) and the formats and checks with headers of their
 * own; README.md lists them.
 *
 * In short:
 *
 *     struct cedar_uid ann = cedar_uid_make(STR("User"), STR("ann"));
 *     struct cedar_uid print = cedar_uid_make(STR("Action"), STR("print"));
 *     struct cedar_uid doc = cedar_uid_make(STR("Doc"), STR("1"));
 *     struct cedar_field pages = {cedar_key_make(STR("pages")), cedar_long(2)};
 *     struct cedar_request request = {&ann, &print, &doc, &context};
 *
 *     cedar_record_init(&context, &pages, 1);
 *     cedar_policies_parse(text, &found, &policies);   once per text
 *     cedar_scratch_new(&scratch);                     once per thread
 *     cedar_authorize(policies, entities, &request, scratch, &answer);
 *     if (answer.decision == CEDAR_ALLOW) ..
 *
 * (all of these give an enum err to look at; tests/cedar/example.c is the same
 * in full). What goes wrong with a text is in a struct cedar_diagnostics, what
 * goes wrong with a value in a struct errinfo, what goes wrong in a policy
 * while it is evaluated in the answer: Cedar then leaves that policy out and
 * goes on.
 *
 * Memory: whoever makes something frees it with the _free of its kind, which
 * takes the pointer's address and clears it. What an argument points to is
 * borrowed unless its comment says otherwise: uids, keys and strings stay the
 * caller's and have to live as long as what was made of them.
 *
 * Pure: no clock, no files, no sockets, no mutable globals.
 * Threads: struct cedar_policies and struct cedar_entities are immutable and
 * may be shared by any number of threads; a struct cedar_scratch belongs to
 * one thread at a time. */
#ifndef POLICY_CEDAR_CEDAR_H
#define POLICY_CEDAR_CEDAR_H

#include "policy/cedar/value.h"

/* --- Diagnostics --- */

enum cedar_severity { CEDAR_ERROR, CEDAR_WARNING };

struct cedar_diagnostic {
    enum cedar_severity severity;
    size_t offset; /* into the source text */
    int line;      /* 1-based; 0: no place in a text */
    int column;    /* 1-based, in code points */
    char *policy;  /* id of the policy it is about, or NULL */
    char *text;    /* one line: what is wrong, and what was expected */
};

/* A list that grows up to CEDAR_DIAGNOSTICS_MAX entries; more are counted in
 * `dropped`. Zero-initialise before use. */
#define CEDAR_DIAGNOSTICS_MAX 100
struct cedar_diagnostics {
    struct cedar_diagnostic *items;
    size_t count;
    size_t dropped;
    size_t errors; /* those of severity error, the dropped ones included */
};
void cedar_diagnostics_fini(struct cedar_diagnostics *list);
/* `source` may be empty (then there is no position); list may be NULL. */
void cedar_diagnostics_add(struct cedar_diagnostics *list,
    enum cedar_severity severity, struct str source, size_t offset,
    struct str policy, const char *format, ...) PRINTFLIKE(6, 7);
/* "3:14: error: ..." lines, or "policy0: error: .." without a position. */
void cedar_diagnostics_print(
    struct buf *out, const struct cedar_diagnostics *list);
/* 1-based line, and column in code points, of a byte offset. */
void cedar_position(struct str source, size_t offset, int *line, int *column);

/* --- Policies --- */

enum cedar_effect { CEDAR_FORBID = 0, CEDAR_PERMIT };

struct cedar_policies; /* an immutable, indexed set; see ast.h to build one */
struct cedar_policy;   /* ast.h shows the inside */

/* The policies of one text; ids are policy0, policy1 ... in order, templates
 * counted too. Gives *out. ERR_SYNTAX: every error found is in diagnostics
 * (which may be NULL) and nothing is given; ERR_LIMIT, likewise; ERR_NOMEM. */
enum err cedar_policies_parse(struct str text,
    struct cedar_diagnostics *diagnostics,
    struct cedar_policies **out) MUSTCHECK;
void cedar_policies_free(struct cedar_policies **policies); /* NULL ok */

/* Static and linked policies: what can decide. Indexes are stable. */
size_t cedar_policies_count(const struct cedar_policies *policies);
const struct cedar_policy *cedar_policies_at(
    const struct cedar_policies *policies, size_t index);
/* Templates, apart. */
size_t cedar_policies_template_count(const struct cedar_policies *policies);
const struct cedar_policy *cedar_policies_template_at(
    const struct cedar_policies *policies, size_t index);
/* By id, among policies and templates; NULL when there is none. */
const struct cedar_policy *cedar_policies_find(
    const struct cedar_policies *policies, struct str id);
size_t cedar_policies_bytes(const struct cedar_policies *policies);

struct str cedar_policy_id(const struct cedar_policy *policy);
enum cedar_effect cedar_policy_effect(const struct cedar_policy *policy);
struct str cedar_policy_text(const struct cedar_policy *policy);
int cedar_policy_line(const struct cedar_policy *policy); /* 0: not from text */
/* True when the annotation is there; *value (may be NULL) is "" for one
 * without a value. */
bool cedar_policy_annotation(
    const struct cedar_policy *policy, struct str key, struct str *value);

/* Each entity uid that policies and templates name, in scopes and
 * conditions: policies in order, then templates. Return false from the
 * callback to stop. */
struct cedar_literal {
    const struct cedar_policy *policy;
    const struct cedar_uid *uid;
    size_t offset;
    size_t end;
    int line; /* 0: not from text */
    int column;
};
typedef bool cedar_literal_callback(
    void *context, const struct cedar_literal *literal);
void cedar_policies_each_entity_literal(const struct cedar_policies *policies,
    cedar_literal_callback *callback, void *context);

/* --- Entities --- */

struct cedar_entities; /* immutable store with transitive ancestors */
struct cedar_entities_builder;

enum err cedar_entities_builder_new(
    struct cedar_entities_builder **out) MUSTCHECK;
void cedar_entities_builder_free(struct cedar_entities_builder **builder);
/* Values and uids made here need no copying. */
struct arena *cedar_entities_builder_arena(
    struct cedar_entities_builder *builder);
/* uid and parents are copied; attributes and tags (NULL: none) must live in
 * the builder's arena or outlive the store. Parents need not be added
 * themselves. The same entity twice is fine when both are equal, else
 * ERR_EXISTS. ERR_NOMEM, ERR_LIMIT. */
enum err cedar_entities_builder_add(struct cedar_entities_builder *builder,
    const struct cedar_uid *uid, const struct cedar_uid *parents,
    size_t parent_count, const struct cedar_record *attributes,
    const struct cedar_record *tags, struct errinfo *info) MUSTCHECK;
/* Computes the ancestors; takes the builder (also on failure). ERR_INVALID:
 * a cycle, named in info; ERR_LIMIT: too many ancestors in all. */
enum err cedar_entities_builder_finish(struct cedar_entities_builder **builder,
    struct cedar_entities **out, struct errinfo *info) MUSTCHECK;
void cedar_entities_free(struct cedar_entities **entities); /* NULL ok */

/* `base` with one entity that has further parents, and all that those are in:
 * for one request, say. Parents that base does not know are left out; what is
 * below uid gets none of it. base must not be such a view itself. The view
 * lives in the arena, borrows base and is never freed. ERR_NOTFOUND: base does
 * not know uid. */
enum err cedar_entities_extend(const struct cedar_entities *base,
    const struct cedar_uid *uid, const struct cedar_uid *parents, size_t count,
    struct arena *arena, const struct cedar_entities **out) MUSTCHECK;

struct cedar_entity_view {
    const struct cedar_uid *uid;
    const struct cedar_record *attributes;
    const struct cedar_record *tags;
};
/* Those added (parents that were not are no entities). */
size_t cedar_entities_count(const struct cedar_entities *entities);
void cedar_entities_at(const struct cedar_entities *entities, size_t index,
    struct cedar_entity_view *out);
bool cedar_entities_find(const struct cedar_entities *entities,
    const struct cedar_uid *uid, struct cedar_entity_view *out);
/* `descendant in ancestor`: reflexive and transitive; unknown uids are fine. */
bool cedar_entities_in(const struct cedar_entities *entities,
    const struct cedar_uid *descendant, const struct cedar_uid *ancestor);
/* All ancestors of uid; false from the callback stops. */
typedef bool cedar_uid_callback(void *context, const struct cedar_uid *uid);
void cedar_entities_each_ancestor(const struct cedar_entities *entities,
    const struct cedar_uid *uid, cedar_uid_callback *callback, void *context);

/* --- Authorization --- */

struct cedar_request {
    const struct cedar_uid *principal;
    const struct cedar_uid *action;
    const struct cedar_uid *resource;
    const struct cedar_record *context; /* NULL: {} */
};

enum cedar_decision { CEDAR_DENY = 0, CEDAR_ALLOW };

enum cedar_failure_code {
    CEDAR_FAIL_NONE = 0,
    CEDAR_FAIL_TYPE,      /* wanted: kinds as 1u << kind; a: what came */
    CEDAR_FAIL_ATTRIBUTE, /* a has no attribute `name` */
    CEDAR_FAIL_TAG,       /* a has no tag `name` */
    CEDAR_FAIL_NO_ENTITY, /* a is not in the store */
    CEDAR_FAIL_OVERFLOW,
    CEDAR_FAIL_ARGUMENTS, /* wrong number for `name` */
    CEDAR_FAIL_EXTENSION, /* `name`'s argument a does not parse: reason */
    CEDAR_FAIL_DEPTH,
    CEDAR_FAIL_STEPS,
    CEDAR_FAIL_MEMORY
};

struct cedar_failure {
    uint32_t policy; /* its index */
    enum cedar_failure_code code;
    enum cedar_effect effect; /* a failing forbid did not forbid */
    uint32_t offset;          /* of the failing expression in the source */
    uint32_t wanted;
    struct cedar_value a;
    struct str name;
    const char *reason; /* static words, or NULL */
};

/* Until the scratch's next use. */
struct cedar_answer {
    enum cedar_decision decision;
    /* Satisfied forbids when there are any, else satisfied permits. */
    const uint32_t *reasons; /* indexes, ascending */
    size_t reason_count;
    const struct cedar_failure *failures; /* by policy, ascending */
    size_t failure_count;
};

/* Reusable working memory; grows to what the sets need and then stays. */
struct cedar_scratch;
enum err cedar_scratch_new(struct cedar_scratch **out) MUSTCHECK;
void cedar_scratch_free(struct cedar_scratch **scratch); /* NULL ok */
/* Evaluation steps that one policy may take: CEDAR_FAIL_STEPS. */
#define CEDAR_STEPS_DEFAULT 10000000u
void cedar_scratch_set_steps(struct cedar_scratch *scratch, uint64_t steps);

/* Borrows all. No allocation once the scratch has grown. entities may be NULL
 * (no entities). ERR_NOMEM. */
enum err cedar_authorize(const struct cedar_policies *policies,
    const struct cedar_entities *entities, const struct cedar_request *request,
    struct cedar_scratch *scratch, struct cedar_answer *out) MUSTCHECK;

/* "type error: expected a long, got the string \"x\" (at 3:14)" */
void cedar_failure_print(struct buf *out, const struct cedar_policies *policies,
    const struct cedar_failure *failure);

/* --- Reading names --- */

/* `App::User::"alice"` as in policy text, nothing before or behind. The uid's
 * bytes are in the arena. ERR_SYNTAX with words in info. */
enum err cedar_uid_parse(struct arena *arena, struct str text,
    struct cedar_uid *out, struct errinfo *info) MUSTCHECK;

#endif
