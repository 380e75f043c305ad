/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_priv.h - inside of policy/: what a compiled set and the
 * entities look like to the decision. */
#ifndef POLICY_POLICY_PRIV_H
#define POLICY_POLICY_PRIV_H

#include "policy/decide.h"

#include "policy/cedar/ast.h"
#include "policy/cedar/cedar.h"

/* A rule index is a uint16_t in decisions. */
#define POLICY_RULES_MAX 65535
#define POLICY_ID_MAX 64
#define POLICY_TITLE_MAX 200
#define POLICY_MESSAGE_MAX 400
#define POLICY_EXPIRES_NEVER INT64_MAX

/* What the annotations of one rule say. Texts borrow from the set. */
struct policy_rule {
    struct str id, title, message;
    bool permit;
    bool advice;
    bool record_full, require_stream;
    struct str retain;    /* retention class; empty: none named */
    uint32_t retain_mask; /* its bit in the set */
    int64_t expires_us;
    int64_t max_tokens; /* -1: none */
    enum policy_priority priority;
    struct str engine; /* empty: any */
};

/* Cedar names the permits only where no forbid holds. A forbid that has
 * expired, or that only advises, must not hide them; so such rules stand in
 * parts of their own, each of one effect. Parts without rules are NULL. */
enum policy_part_kind {
    PART_STANDING, /* most rules: decide, do not expire */
    PART_EXPIRING_FORBIDS,
    PART_EXPIRING_PERMITS,
    PART_ADVISING_FORBIDS,
    PART_ADVISING_PERMITS,
    PART_COUNT
};

struct policy_part {
    struct cedar_policies *policies; /* owned, unless it is set->all */
    uint16_t *rule;                  /* index in the set; NULL: the same */
};

struct policy_set {
    struct cedar_policies *all;
    struct policy_rule *rules;
    size_t count;
    struct str retain[POLICY_RETAIN_MAX]; /* the classes that @retain names */
    size_t retain_count;
    unsigned priorities; /* a bit for each that a rule names */
    struct policy_part part[PART_COUNT];
};

/* Where findings go. */
struct policy_findings {
    struct buf *out;
    struct str source;
    const char *name;
    size_t count;
    char first[ERRINFO_MAX + 256]; /* for struct errinfo */
};
void policy_finding(struct policy_findings *findings, size_t offset,
    const char *format, ...) PRINTFLIKE(3, 4);

/* Reads the annotations of one policy into *rule, adds findings. */
void policy_annotations_read(const struct cedar_policy *policy,
    struct policy_rule *rule, struct policy_findings *findings);

/* --- Actions ------------------------------------------------------------- */

/* name, group, the answer can be a stream */
#define POLICY_ACTIONS(X)                                                      \
    X("chat", "infer", true)                                                   \
    X("complete", "infer", true)                                               \
    X("embed", "infer", false)                                                 \
    X("rerank", "infer", false)                                                \
    X("transcribe", "infer", true)                                             \
    X("translateAudio", "infer", false)                                        \
    X("speak", "infer", true)                                                  \
    X("generateImage", "infer", false)                                         \
    X("moderate", "infer", false)                                              \
    X("countTokens", "read", false)                                            \
    X("listModels", "read", false)                                             \
    X("deliver", "", false)                                                    \
    X("infer", "", false)                                                      \
    X("read", "", false)
#define POLICY_ACTION_COUNT 14

struct policy_action {
    struct str name, group;
    bool can_stream;
};
extern const struct policy_action policy_actions[POLICY_ACTION_COUNT];

struct policy_entities {
    struct cedar_entities *store;
    struct cedar_uid actions[POLICY_ACTION_COUNT];
};

/* --- Context ------------------------------------------------------------- */

struct policy_context;

/* gives; NULL: out of memory */
struct policy_context *policy_context_new(void);
void policy_context_free(struct policy_context **context);
enum err policy_context_fill(struct policy_context *context,
    const struct policy_question *question) MUSTCHECK;
/* From the JSON that policy_context_write made. ERR_SYNTAX: it is not that. */
enum err policy_context_read(struct policy_context *context, struct str json,
    struct str address, int64_t *now_us, bool *stream,
    struct errinfo *info) MUSTCHECK;
/* With the target's engine and upstream name (both empty: no target). Lives
 * until the next call. */
const struct cedar_record *policy_context_aim(
    struct policy_context *context, const struct policy_target *target);
void policy_context_write(struct policy_context *context, struct buf *out);

#endif
