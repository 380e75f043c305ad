/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/decide.h - may this caller do this with this model on this engine?
 *
 * Joins a compiled policy set with the entities of the control state and asks
 * Cedar, once per candidate target. Stricter than Cedar in one point: a forbid
 * whose condition errors denies (reason policy_error). No I/O, no clock; the
 * set and the entities are immutable and shared by all threads; the workspace
 * belongs to one. */
#ifndef POLICY_DECIDE_H
#define POLICY_DECIDE_H

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/str.h"
#include "policy/claims.h"

/* --- The compiled policy set of one version ------------------------------ */
struct policy_set;

/* Parses, checks types against schema/bailiff.cedarschema (Cedar's strict
 * mode; a rule that can never apply is an error too), @id and @title
 * (required, ids unique), annotations (unknown obligation = error with
 * suggestion; the list is in policy/annotations.c).
 * All findings, one a line, each "NAME:LINE:COLUMN: what; remedy", are appended
 * to findings. gives *out. NAME is source_name ("rules.cedar"). ERR_SYNTAX:
 * something was found, info has the first. ERR_LIMIT, ERR_NOMEM. */
enum err policy_set_compile(struct str text, const char *source_name,
    struct policy_set **out, struct buf *findings,
    struct errinfo *info) MUSTCHECK;
void policy_set_free(struct policy_set **set);
size_t policy_set_count(const struct policy_set *set);
struct str policy_set_id(const struct policy_set *set, size_t at); /* @id */
struct str policy_set_title(
    const struct policy_set *set, size_t at); /* @title */
bool policy_set_is_permit(const struct policy_set *set, size_t at);
/* @mode("advise"): never decides, is recorded. */
bool policy_set_is_advice(const struct policy_set *set, size_t at);
/* @expires: the instant from which the rule is skipped; INT64_MAX: never. */
int64_t policy_set_expires_us(const struct policy_set *set, size_t at);
/* The retention class of a bit of obligations.retain, below
 * policy_set_retain_count. */
#define POLICY_RETAIN_MAX 32
size_t policy_set_retain_count(const struct policy_set *set);
struct str policy_set_retain(const struct policy_set *set, unsigned bit);

/* Each entity literal of the set, in source order; then the classes that
 * @retain names, as RetentionClass::"name". */
struct policy_literal {
    struct str type, id;
    struct str policy; /* @id of the rule */
    int line, column;
    size_t offset, length; /* of the whole literal in the text */
};
void policy_set_each_literal(const struct policy_set *set,
    void (*visit)(void *context, const struct policy_literal *literal),
    void *context);

/* --- The entities of the control state ----------------------------------- */
struct policy_entities;
struct policy_entities_builder;

/* Strings are copied. Order does not matter; parents may come later. */
struct policy_entities_builder *policy_entities_begin(void);
void policy_entities_abandon(struct policy_entities_builder **builder);
enum err policy_entities_team(struct policy_entities_builder *b,
    struct str name, struct str parent) MUSTCHECK; /* parent empty: none */
enum err policy_entities_caller(struct policy_entities_builder *b,
    struct str id, struct str kind, const struct str *teams,
    size_t team_count) MUSTCHECK;
struct policy_model {
    struct str name, version, owner, licence, risk_class, region, status;
    const struct str *groups;
    size_t group_count;
};
enum err policy_entities_model(struct policy_entities_builder *b,
    const struct policy_model *model) MUSTCHECK;
enum err policy_entities_group(
    struct policy_entities_builder *b, struct str name) MUSTCHECK;
enum err policy_entities_engine(struct policy_entities_builder *b,
    struct str name, struct str kind, struct str region) MUSTCHECK;
/* takes the builder, gives *out. */
enum err policy_entities_finish(struct policy_entities_builder **builder,
    struct policy_entities **out, struct errinfo *info) MUSTCHECK;
void policy_entities_free(struct policy_entities **entities);

/* --- One decision -------------------------------------------------------- */
struct policy_question {
    struct str caller; /* Caller::"..." */
    struct str action; /* Action::"chat" ... */
    /* context.auth */
    struct str auth_method;   /* "api_key" */
    struct str key;           /* key id, may be empty */
    struct str issuer;        /* of a token: its row's name; empty: none */
    struct str client;        /* of a token: client_id or azp, may be empty */
    const struct str *groups; /* of a token */
    size_t group_count;
    /* context.claims; by name. none: absent */
    const struct policy_claim *claims;
    size_t claim_count;
    bool has_claims; /* the issuer has some that are mapped */
    /* Teams that the principal is in for this request alone, beside its own;
     * with all that they are in. A name that is no team is left out. */
    const struct str *teams;
    size_t team_count;
    /* context.certificate; fingerprint empty: none was shown */
    struct policy_certificate {
        struct str domain, issuer, fingerprint, uri; /* uri may be empty */
        const struct str *dns;
        size_t dns_count;
    } certificate;
    /* context.endUser; issuer empty: nobody was named, or not verifiably */
    struct policy_end_user {
        struct str issuer, caller; /* caller: an id, may be empty */
        const struct str *groups;
        size_t group_count;
    } end_user;
    /* context.request */
    struct str address; /* text of the peer's address */
    struct str route, dialect;
    bool stream;
    /* context.time: now_us, and the organisation's zone for the rest */
    int64_t now_us;
    const struct clock_zone *zone;
    bool is_holiday;
    /* context.input */
    int64_t input_tokens; /* upper bound */
    int64_t input_bytes;
    int64_t messages, images, audios;
    const struct str *tools; /* names */
    size_t tool_count;
    /* context.params; a negative number or has_x false: absent */
    int64_t max_tokens; /* -1: the caller set none */
    int64_t choices;    /* n */
    bool has_temperature, has_top_p;
    int64_t temperature4, top_p4; /* decimals, 4 places */
};

/* The final target: what is authorised. */
struct policy_target {
    struct str model;    /* Model::"..." */
    struct str engine;   /* Engine::"..." ; empty for listModels */
    struct str upstream; /* the name sent to the engine */
};

enum policy_reason {
    POLICY_NO_PERMIT = 0, /* nothing permits it: the default */
    POLICY_FORBIDDEN,     /* a forbid holds */
    POLICY_ERROR,         /* a forbid's condition failed */
    POLICY_LIMIT,         /* evaluation passed its limit */
    POLICY_PERMITTED
};

#define POLICY_NAMES_MAX                                                       \
    16 /* rules named per decision; `more` counts the rest */

/* United over the satisfied permits, the strictest wins. @engine and
 * @require_stream are enforced by policy_decide itself: another engine, or an
 * answer that could be a stream and is none, is not permitted (reason
 * POLICY_NO_PERMIT, the permits in `policies`). The rest is for the exchange.
 */
enum policy_priority { /* in a queue; zero: no rule says anything */
    POLICY_PRIORITY_NONE,
    POLICY_PRIORITY_LOW,
    POLICY_PRIORITY_NORMAL,
    POLICY_PRIORITY_HIGH
};
/* "low", "normal", "high"; "" for none */
const char *policy_priority_name(enum policy_priority priority);
/* Does any rule of the set give it? */
bool policy_set_has_priority(
    const struct policy_set *set, enum policy_priority priority);

struct policy_obligations {
    int64_t max_tokens;            /* @max_tokens; -1: none */
    struct str engine;             /* @engine; empty: any */
    enum policy_priority priority; /* @priority; of several the lowest */
    bool record_full;              /* @record("full") */
    uint32_t retain;               /* @retain: policy_set_retain of each bit */
    bool require_stream;           /* @require_stream */
    bool conflict; /* two permits name different engines: deny */
};

struct policy_decision {
    bool permitted; /* false is the start and the default */
    enum policy_reason reason;
    unsigned policy_count, error_count;  /* listed below */
    uint16_t policies[POLICY_NAMES_MAX]; /* index into the set: who decided */
    uint16_t errors[POLICY_NAMES_MAX];   /* whose evaluation failed */
    unsigned policies_more, errors_more;
    /* Rules with @mode("advise") that would have decided. */
    unsigned advice_count, advice_more;
    uint16_t advice[POLICY_NAMES_MAX];
    struct str message; /* @message of the deciding rule, may be empty */
    struct policy_obligations obligations;
};

/* More tools than this, or longer names, could not be written down whole. */
#define POLICY_TOOLS_MAX 1024
#define POLICY_TOOLS_BYTES_MAX                                                 \
    12288 /* as JSON, quotes and commas included; one name a sixth of it */

struct policy_workspace;                             /* one per thread */
struct policy_workspace *policy_workspace_new(void); /* gives */
void policy_workspace_free(struct policy_workspace **workspace);

/* Builds principal, action and context once; then one decide per target.
 * Everything borrowed in `question` must live until the last decide, set and
 * entities too. An address that is none leaves context.request.ip out. An
 * unknown caller, action, model or engine is a denial later. ERR_NOMEM;
 * ERR_LIMIT: more tools than a record can hold. */
enum err policy_decide_begin(struct policy_workspace *workspace,
    const struct policy_set *set, const struct policy_entities *entities,
    const struct policy_question *question) MUSTCHECK;
/* A request that was decided before: as policy_decide_begin, with the context
 * out of the record (the JSON of policy_decide_context, which is copied). An
 * empty address leaves context.request.ip out. ERR_SYNTAX: it is no such
 * context, with words; ERR_NOMEM. */
struct policy_recorded {
    struct str caller, action, context, address;
    const struct str *teams; /* as in struct policy_question */
    size_t team_count;
};
enum err policy_decide_recorded(struct policy_workspace *workspace,
    const struct policy_set *set, const struct policy_entities *entities,
    const struct policy_recorded *recorded, struct errinfo *info) MUSTCHECK;
/* The same request, other rules: between two rounds of policy_decide. */
void policy_decide_by(
    struct policy_workspace *workspace, const struct policy_set *set);
/* Never an error: what cannot be evaluated is a denial with its reason. */
void policy_decide(struct policy_workspace *workspace,
    const struct policy_target *target, struct policy_decision *out);

/* The Cedar context of the last begin as canonical JSON for the audit entry,
 * without what identifies a person (request.ip is left out) and without
 * target. At most POLICY_CONTEXT_JSON_MAX bytes. */
#define POLICY_CONTEXT_JSON_MAX 20480
void policy_decide_context(struct policy_workspace *workspace, struct buf *out);

#endif
