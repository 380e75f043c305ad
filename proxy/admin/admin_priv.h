/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/admin_priv.h - inside of proxy/admin/: what a handler gets, and
 * the helpers that keep handlers short.
 *
 * A handler reads its body or query with a table of fields, changes rows
 * between admin_begin and admin_commit, and answers. It returns ERR_OK after
 * an answer, or an error whose words are in call->info: the caller then rolls
 * back and writes the problem document. It runs with the control locked unless
 * its operation is OPERATION_UNLOCKED. */
#ifndef PROXY_ADMIN_ADMIN_PRIV_H
#define PROXY_ADMIN_ADMIN_PRIV_H

#include "audit/entry.h"
#include "lib/arena.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/rights.h"

#include <jansson.h>

/* An answer grows at most to this; a longer one is a 503 that says so. */
#define ADMIN_ANSWER_MAX (64u << 20)
#define ADMIN_BODY_MAX (4u << 20)
#define ADMIN_ARENA_MAX (64u << 20)
#define ADMIN_PARAMS_MAX 3

struct admin_call;
typedef enum err admin_handler(struct admin_call *call);

enum {
    OPERATION_UNLOCKED = 1, /* takes the control's lock itself, if at all */
    OPERATION_REST = 2      /* the last parameter takes slashes, too */
};
struct admin_operation {
    const char *method;
    const char *path;   /* "/v1/teams/{team}" */
    const char *action; /* by schema/admin.cedarschema; its operationId */
    unsigned flags;
    admin_handler *handler;
};
extern const struct admin_operation admin_operations[];
extern const size_t admin_operation_count;

/* Why somebody was refused; each is recorded once in ten seconds, with how
 * often it was in between. */
enum admin_refusal {
    REFUSED_SIGN_IN,
    REFUSED_EXPIRED_TOKEN,
    REFUSED_UNKNOWN_TOKEN,
    REFUSED_NO_CREDENTIAL,
    REFUSED_UNKNOWN_CERTIFICATE,
    REFUSED_ANOTHERS_CERTIFICATE, /* beside a token */
    REFUSED_EARLY_CERTIFICATE,
    REFUSED_EXPIRED_CERTIFICATE,
    REFUSED_CERTIFICATE_ALONE,
    REFUSED_SECOND_FACTOR,
    REFUSED_ROLE,
    ADMIN_REFUSALS
};

struct admin {
    unsigned magic;
    struct control *control;
    struct rights *rights;
    const struct admin_server *server; /* NULL: offline */
    struct {
        int64_t when_us; /* last recorded; 0: never */
        int64_t more;    /* since then */
    } refused[ADMIN_REFUSALS];
    int64_t followed_us; /* when following was last recorded, and whose */
    char follower[40];
    int64_t served_us; /* the same of reading files of the log */
    int64_t served_more;
    char served[40];
};

struct admin_call {
    struct admin *admin;
    const struct admin_request *request;
    struct admin_response *response;
    const struct admin_operation *operation;
    struct control *control;
    struct db *db, *persons;
    struct arena *arena;
    struct control_actor actor;
    struct str params[ADMIN_PARAMS_MAX]; /* of the path, decoded */
    json_t *body;                        /* an object; {} when none was sent */
    struct admin_verified *sign_in;      /* sign_in.c; NULL: no such token */
    bool changing, answered;
    struct errinfo info;
    /* Inside another call's change (proposals.c): nothing is committed here,
     * and the events are collected. */
    struct admin_call *outer; /* NULL: not so */
    json_t *changes;          /* [{type, kind, object, before, after}] */
    const char *proposal;     /* its id goes into the events; NULL: none */
    bool reached;             /* the commit */
    unsigned what;            /* CHANGED_* of it */
    /* requests.c */
    bool claimed;          /* the idempotency key, with the change */
    bool query_read;       /* by admin_read_query */
    int64_t page_limit;    /* of a list; 0: all */
    struct str page_after; /* the cursor; empty: from the beginning */
};

/* --- Answers (answer.c) ---------------------------------------------- */

/* takes `answer`; NULL is answered as out of memory. */
enum err admin_answer(struct admin_call *call, int status, json_t *answer);
/* {"items": [...]}; takes items. */
enum err admin_answer_list(struct admin_call *call, json_t *items);
void admin_problem(struct admin_call *call, int status, const char *kind,
    const char *format, ...) PRINTFLIKE(4, 5);
/* The same with "errors"; takes errors. */
void admin_problem_with(struct admin_call *call, int status, const char *kind,
    json_t *errors, const char *detail);
/* From call->info, or the bare code. */
void admin_fail(struct admin_call *call, enum err err);
int admin_status_of(enum err err);

#define FAIL(call, code, ...) errinfo_set(&(call)->info, (code), __VA_ARGS__)

/* json_t of a borrowed text, of a time (null for 0), of bytes as hex. */
json_t *admin_text(struct str text);
json_t *admin_time(int64_t time_us);
json_t *admin_hex(struct str bytes);
/* Sets object[key] = value; takes value; a NULL value marks the object as
 * failed, which admin_answer notices. */
void admin_set(json_t *object, const char *key, json_t *value);
void admin_set_text(json_t *object, const char *key, struct str text);
void admin_set_int(json_t *object, const char *key, int64_t value);
void admin_set_bool(json_t *object, const char *key, bool value);
void admin_set_time(json_t *object, const char *key, int64_t time_us);
/* RFC 8785 text of the value in the arena; empty str for NULL or no memory. */
struct str admin_canonical(struct arena *arena, const json_t *value);

/* --- Bodies and queries (fields.c) ----------------------------------- */

enum admin_field_kind {
    FIELD_TEXT,  /* struct str; least..most bytes */
    FIELD_NAME,  /* struct str; an immutable name or a handle */
    FIELD_WORD,  /* struct str; one of `choices` */
    FIELD_INT,   /* int64_t; least..most */
    FIELD_BOOL,  /* bool */
    FIELD_NAMES, /* struct admin_names */
    FIELD_TEXTS, /* struct admin_names: any texts, least..most bytes each */
    FIELD_TIME   /* int64_t us: RFC 3339, or a span ("90d") from now on */
};
struct admin_names {
    struct str *items;
    size_t count;
};
struct admin_field {
    const char *name;
    enum admin_field_kind kind;
    bool required;
    size_t offset;
    int64_t least, most;
    const char *choices; /* separated by spaces */
};
/* Members that the body does not have keep what is in `out`. Unknown members
 * are errors. A failure has been answered when this returns an error. */
enum err admin_read_body(struct admin_call *call,
    const struct admin_field *fields, size_t count, void *out) MUSTCHECK;
enum err admin_read_query(struct admin_call *call,
    const struct admin_field *fields, size_t count, void *out) MUSTCHECK;
#define FIELD_COUNT(fields) (sizeof(fields) / sizeof((fields)[0]))
/* Percent-decoding into the arena; ptr NULL: malformed. */
struct str admin_decode(struct arena *arena, struct str text, bool plus);

/* --- Changes (change.c) ---------------------------------------------- */

enum err admin_begin(struct admin_call *call) MUSTCHECK;
/* One event of the change. before, after, detail are taken; they may be NULL
 * (absent). reason may be empty. */
enum err admin_record(struct admin_call *call, const char *type,
    const char *kind, struct str object, json_t *before, json_t *after,
    json_t *detail, struct str reason) MUSTCHECK;
enum err admin_commit(struct admin_call *call, unsigned what) MUSTCHECK;
/* An event without a change; takes detail. */
enum err admin_event(struct admin_call *call, const char *type,
    const char *kind, struct str object, json_t *detail,
    struct str reason) MUSTCHECK;

/* --- Rows that several nouns ask for (rows.c) ------------------------ */

/* Answers the rows of control.db that sql, a literal without parameters, gives,
 * as a list. */
enum err admin_answer_rows(struct admin_call *call, const char *sql,
    json_t *(*row)(struct admin_call *call, struct db_statement *s));
/* The same where sql takes an owner's id as ?1. */
enum err admin_answer_rows_of(struct admin_call *call, const char *sql,
    struct str owner,
    json_t *(*row)(struct admin_call *call, struct db_statement *s));
/* One row's existence; `sql` selects with ?1 = name. */
enum err admin_exists(struct admin_call *call, struct db *db, const char *sql,
    struct str name, bool *out) MUSTCHECK;
/* ERR_NOTFOUND with words ("no team "x"; did you mean ...?"). list_sql gives
 * every name in column 0. */
enum err admin_need(struct admin_call *call, struct db *db, const char *kind,
    const char *one_sql, const char *list_sql, struct str name) MUSTCHECK;
enum err admin_need_team(struct admin_call *call, struct str name) MUSTCHECK;
enum err admin_need_model(struct admin_call *call, struct str name) MUSTCHECK;
enum err admin_need_group(struct admin_call *call, struct str name) MUSTCHECK;
enum err admin_need_engine(struct admin_call *call, struct str name) MUSTCHECK;
/* Name or alias to the registered name (in the arena). */
enum err admin_resolve_model(
    struct admin_call *call, struct str name, struct str *out) MUSTCHECK;
/* Handle or id to the id; prefix "cal_" or "adm_". */
enum err admin_resolve_person(struct admin_call *call, const char *prefix,
    struct str handle, struct str *id) MUSTCHECK;
/* The handle that was meant, or empty. In the arena. */
struct str admin_nearest_handle(
    struct admin_call *call, const char *prefix, struct str handle);
/* The handle of an id; empty when erased. In the arena. */
struct str admin_handle_of(struct admin_call *call, struct str id);
/* New person; ERR_EXISTS with words when the handle is taken. */
enum err admin_add_person(struct admin_call *call, struct str id,
    struct str handle, struct str name) MUSTCHECK;
/* Refused (ERR_WRONG_STATE) when a rule of a version that is or may become
 * active names the entity. */
enum err admin_refuse_if_named(
    struct admin_call *call, const char *type, struct str id) MUSTCHECK;
/* organisation_setting; *out in the arena, `otherwise` when there is no row. */
enum err admin_setting(struct admin_call *call, const char *key,
    const char *otherwise, struct str *out) MUSTCHECK;
enum err admin_setting_int(struct admin_call *call, const char *key,
    int64_t otherwise, int64_t *out) MUSTCHECK;
/* Column as text copied to the arena. */
struct str admin_column(
    struct admin_call *call, struct db_statement *s, int at);

/* --- Who asks (auth.c, pinned.c) ------------------------------------- */

/* A certificate that was shown is the administrator's own, pinned and in force
 * (then it is in call->actor), or the refusal is *why. */
bool admin_check_certificate(struct admin_call *call, enum admin_refusal *why);
/* The certificate is all there is: fills call->actor, or says *why not. */
bool admin_by_certificate(struct admin_call *call, enum admin_refusal *why);
/* The setting approvals_need_certificate. */
enum err admin_approvals_need_certificate(
    struct admin_call *call, bool *out) MUSTCHECK;
/* How many administrators besides `except` (an id, or "") could approve with
 * a certificate that is in force. */
enum err admin_count_certified(
    struct admin_call *call, struct str except, int64_t *out) MUSTCHECK;

/* What costs time of that, and needs no lock: the signature of an issuer's
 * token. Before admin_authenticate, outside of the control's lock, so that
 * nobody holds the others up by sending tokens. */
void admin_look_at_token(struct admin_call *call);
/* Fills call->actor; false: 401 was answered. Inside the control's lock. */
bool admin_authenticate(struct admin_call *call);
/* The row with its lists (issuers.c); gives *out. ERR_NOTFOUND with words. */
enum err admin_read_issuer(
    struct admin_call *call, struct str name, json_t **out) MUSTCHECK;
/* A change to what belongs to the issuer of params[0] begins: gives the row as
 * it is, which admin_issuer_end takes. */
enum err admin_issuer_begin(struct admin_call *call, json_t **before) MUSTCHECK;
/* Runs sql with the issuer, params[0], and what it takes away from it,
 * params[1]. *found: there was one. */
enum err admin_issuer_take_away(
    struct admin_call *call, const char *sql, bool *found) MUSTCHECK;
/* The change's end: recorded, committed, answered as it is now; where err says
 * that it failed, err. takes before. */
enum err admin_issuer_end(struct admin_call *call, enum err err, json_t *before,
    struct str reason, int status) MUSTCHECK;
/* The token of an issuer (sign_in.c): its signature; what was found stands in
 * call->sign_in. Then, inside the lock: fills call->actor, NULL; else why not.
 */
void admin_verify_sign_in(struct admin_call *call, struct str token);
const char *admin_sign_in(struct admin_call *call);
/* 403 answered and recorded when the operation is not for this role. */
bool admin_authorise(struct admin_call *call);
/* May whoever asks do this operation, too? */
bool admin_may(struct admin_call *call, const char *action);

/* --- Changes that need others (guard.c, proposals.c) ------------------- */

/* *rule: why one person is not enough for this call; NULL: one is. */
enum err admin_guard(struct admin_call *call, const char **rule) MUSTCHECK;
/* May two_person_for name it? known: what it may name, "callers,keys". */
bool admin_guard_knows(
    struct admin_call *call, struct str noun, struct buf *known);
/* How many others have to agree: require_approvals, at least one. */
enum err admin_approvals_needed(
    struct admin_call *call, int64_t *needed) MUSTCHECK;
/* Tries the call without effect, keeps it as a proposal and answers 202. */
enum err admin_propose(struct admin_call *call, const char *rule) MUSTCHECK;

/* --- Tags, idempotency keys, pages (requests.c) ------------------------ */

void admin_tag_answer(struct admin_call *call);
/* 412 or 428 answered, with ERR_WRONG_STATE. */
enum err admin_check_match(struct admin_call *call) MUSTCHECK;
/* *done: answered, from what was kept or with a problem. */
enum err admin_replay(struct admin_call *call, bool *done) MUSTCHECK;
enum err admin_claim_key(struct admin_call *call) MUSTCHECK;
void admin_keep_answer(struct admin_call *call);
bool admin_is_list(const struct admin_operation *operation);
/* Takes limit and after out of a list's query; copy: room for the request
 * without them. */
enum err admin_take_page(
    struct admin_call *call, struct admin_request *copy) MUSTCHECK;
enum err admin_answer_page(
    struct admin_call *call, json_t *items) MUSTCHECK; /* takes items */

/* --- One request (admin.c) -------------------------------------------- */

/* NULL: 404 or 405 was answered. Fills call->params. */
const struct admin_operation *admin_find_operation(struct admin_call *call);
/* call->body; false: answered. */
bool admin_read_json(struct admin_call *call);

/* --- Building blocks that onboard shares ----------------------------- */

struct admin_new_caller {
    struct str handle, name, kind;
    struct admin_names teams;
};
/* Inside a change. *id in the arena. */
enum err admin_add_caller(struct admin_call *call,
    const struct admin_new_caller *caller, struct str *id) MUSTCHECK;
enum err admin_add_team(struct admin_call *call, struct str name,
    struct str parent, struct str title) MUSTCHECK;
/* *answer: the key's JSON with the secret in "key". */
struct admin_new_key {
    struct str caller, label;
    int64_t expires_us;  /* 0: never */
    struct str replaces; /* a key's id, or empty */
    /* ranges, models (aliases too), routes; none: unlimited */
    struct admin_names addresses, models, routes;
};
enum err admin_issue_key(struct admin_call *call,
    const struct admin_new_key *key, json_t **answer) MUSTCHECK;
struct admin_new_quota {
    struct str scope, subject, model, model_group, dimension, window;
    int64_t amount;
    int64_t warn_percent; /* -1: as it is, or none */
    bool count_earlier;
    int64_t earlier, earlier_window; /* filled where counted */
    struct str zone; /* ptr NULL: as it is, or the organisation's */
};
/* quota_earlier.c: sets earlier and earlier_window out of the index. */
enum err admin_count_earlier(
    struct admin_call *call, struct admin_new_quota *quota) MUSTCHECK;
/* Sets or changes; *id in the arena. */
enum err admin_set_quota(struct admin_call *call,
    const struct admin_new_quota *quota, struct str *id) MUSTCHECK;

/* --- Rules (rules.c, policies.c, try.c) ------------------------------ */

struct policy_set;
struct rules {
    struct str text;        /* as stored: Caller literals by id; in the arena */
    struct policy_set *set; /* compiled from text; rules_fini frees it */
    json_t *findings;       /* array of texts; empty: the rules are good */
};
/* Compiles, checks every name against the rows, puts ids for handles. Rules
 * that are not good are no error here: see findings. */
enum err rules_prepare(struct admin_call *call, struct str text,
    const char *name, struct rules *out) MUSTCHECK;
void rules_fini(struct rules *rules);
/* The text as people read it: handles for ids. In the arena. */
struct str rules_shown(struct admin_call *call, struct str text);
/* Refuses rules that are not good: a problem with all findings. */
enum err rules_refuse(
    struct admin_call *call, const struct rules *rules) MUSTCHECK;

/* The same of findings alone; "a\nb\n" as an array of lines. */
enum err rules_refuse_findings(
    struct admin_call *call, const json_t *findings) MUSTCHECK;
json_t *rules_lines(struct str text);

/* Inside a change. */
enum err admin_put_policy(struct admin_call *call, struct str text,
    struct str note, int64_t *version) MUSTCHECK;
/* Walks the states where no approval is required; refuses otherwise. */
enum err admin_activate_policy(
    struct admin_call *call, int64_t version, struct str reason) MUSTCHECK;
enum err admin_submit_policy(
    struct admin_call *call, int64_t version, struct str reason) MUSTCHECK;
/* 0: none is active. *text in the arena. */
enum err admin_active_policy(
    struct admin_call *call, int64_t *version, struct str *text) MUSTCHECK;
/* May the caller do `action` with the model, as the rows stand now (inside a
 * change too)? */
enum err admin_is_permitted(struct admin_call *call, struct str caller,
    struct str action, struct str model, bool *out) MUSTCHECK;

/* --- Handlers -------------------------------------------------------- */

admin_handler handle_team_list, handle_team_show, handle_team_add,
    handle_team_remove, handle_team_weight;
admin_handler handle_caller_list, handle_caller_show, handle_caller_add,
    handle_caller_change, handle_caller_disable, handle_caller_enable;
admin_handler handle_key_list, handle_key_show, handle_key_issue,
    handle_key_change, handle_key_rotate, handle_key_use, handle_key_revoke;
admin_handler handle_engine_list, handle_engine_show, handle_engine_add,
    handle_engine_change, handle_engine_remove;
admin_handler handle_model_list, handle_model_show, handle_model_add,
    handle_model_approve, handle_model_retire, handle_alias_add,
    handle_alias_remove, handle_target_add, handle_target_remove;
admin_handler handle_group_list, handle_group_add, handle_group_remove,
    handle_member_add, handle_member_remove;
admin_handler handle_policy_list, handle_policy_show, handle_policy_validate,
    handle_policy_put, handle_policy_submit, handle_policy_approve,
    handle_policy_activate, handle_policy_rollback, handle_policy_try,
    handle_policy_diff, handle_policy_replay, handle_policy_explain,
    handle_policy_test, handle_shadow_show, handle_shadow_start,
    handle_shadow_stop, handle_policy_stats;
admin_handler handle_price_list, handle_price_set, handle_price_show;
admin_handler handle_quota_list, handle_quota_put, handle_quota_remove,
    handle_quota_usage;
admin_handler handle_audit_query, handle_audit_show, handle_audit_checkpoint,
    handle_audit_tail, handle_audit_prove, handle_audit_export,
    handle_audit_policy, handle_audit_stats, handle_audit_sample,
    handle_audit_prune, handle_audit_prune_plan, handle_audit_gaps,
    handle_audit_access, handle_audit_index, handle_audit_reindex,
    handle_audit_find, handle_audit_find_content, handle_audit_content;
admin_handler handle_audit_redecide, handle_audit_state;
admin_handler handle_backup_begin, handle_backup_end;
admin_handler handle_witness_list, handle_witness_add, handle_witness_remove,
    handle_witness_policy, handle_witness_policy_put;
admin_handler handle_audit_log_file, handle_audit_rotate;
admin_handler handle_sink_list, handle_sink_add, handle_sink_remove,
    handle_sink_test;
admin_handler handle_subject_export, handle_subject_erase, handle_hold_list,
    handle_hold_show, handle_hold_add, handle_hold_release,
    handle_retention_show, handle_retention_run, handle_retention_lock,
    handle_retention_class_put, handle_retention_team_put,
    handle_retention_team_remove, handle_digest_key_rotate;
admin_handler handle_anchor_list, handle_anchor_add, handle_anchor_remove;
admin_handler handle_trust_domain_list, handle_trust_domain_add,
    handle_trust_domain_change, handle_trust_domain_remove, handle_mapping_list,
    handle_mapping_add, handle_mapping_remove, handle_mode_list,
    handle_mode_put;
admin_handler handle_gateway_list, handle_gateway_add, handle_gateway_remove;
admin_handler handle_issuer_list, handle_issuer_add, handle_issuer_remove,
    handle_issuer_change;
admin_handler handle_issuer_group_map, handle_issuer_group_unmap;
admin_handler handle_issuer_client_map, handle_issuer_client_unmap;
admin_handler handle_claim_list, handle_issuer_claim_map,
    handle_issuer_claim_unmap;
admin_handler handle_administrator_list, handle_administrator_add,
    handle_administrator_disable, handle_administrator_enable,
    handle_administrator_change, handle_token_list, handle_token_issue,
    handle_token_revoke, handle_pinned_list, handle_pinned_add,
    handle_pinned_remove, handle_sign_in_add, handle_sign_in_remove;
admin_handler handle_proposal_list, handle_proposal_show,
    handle_proposal_approve, handle_proposal_reject, handle_proposal_withdraw,
    handle_proposal_apply;
admin_handler handle_emergency_list, handle_emergency_show,
    handle_emergency_policy, handle_emergency_access, handle_emergency_end,
    handle_emergency_review;
admin_handler handle_onboard, handle_status, handle_description,
    handle_setting_list, handle_setting_put;

#endif
