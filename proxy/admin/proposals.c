/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/proposals.c - changes that wait for a second person.
 *
 * Where guard.c says that one person is not enough, the request is tried
 * inside a change that is given up again: what is wrong with it is said at
 * once, and what it would do is known to the letter. It is kept as it was
 * asked. With the last approval it is carried out in the same transaction, as
 * its author's act, but only if it still does what was approved: when what it
 * changes has changed since, it is refused. What hands out a secret (a key, a
 * token) is not carried out by the approver, who would see it, but by its
 * author (`proposal apply`).
 *
 * An approval is an administrator's by name, through the running server, and
 * never the author's; root without a name and the offline command line can
 * neither ask nor approve. */
#include "proxy/admin/retention.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "proxy/secret.h"

#include <stdlib.h>

#define PROPOSAL_DAYS 14 /* older ones have to be asked anew */
#define PROPOSAL_COLUMNS                                                       \
    "SELECT id, action, rule, changes, reason, author, state, created "        \
    "FROM proposal "

static const char *const secret_actions[] = {
    "issueKey", "rotateKey", "onboard", "addAdministrator", "issueToken", NULL};

struct proposal {
    struct str id, action, rule, changes, reason, author, state;
    int64_t created_us;
};

/* --- Running inside ------------------------------------------------------ */

struct trial {
    struct admin_response response;
    json_t *changes;
    unsigned what;
};

static void trial_fini(struct trial *trial)
{
    json_decref(trial->changes);
    /* It may hold a secret that nobody is to see. */
    crypto_wipe(trial->response.body.ptr,
        trial->response.body.ptr ? trial->response.body.cap : 0);
    buf_fini(&trial->response.body);
}

/* Runs a request inside the change that `outer` has begun. On an error its
 * answer has become outer's. */
static enum err run_inside(struct admin_call *outer,
    const struct admin_request *request, const struct control_actor *actor,
    const char *proposal, struct trial *trial)
{
    struct admin_call inner = {
        .admin = outer->admin,
        .request = request,
        .response = &trial->response,
        .control = outer->control,
        .db = outer->db,
        .persons = outer->persons,
        .arena = outer->arena,
        .actor = *actor,
        .outer = outer,
        .changes = trial->changes,
        .proposal = proposal,
    };
    enum err err = ERR_INVALID;

    buf_init(&trial->response.body, ADMIN_ANSWER_MAX);
    inner.operation = admin_find_operation(&inner);
    if (inner.operation && admin_read_json(&inner))
        err = inner.operation->handler(&inner);
    json_decref(inner.body);
    trial->what = inner.what;
    if (inner.reached)
        return ERR_OK;
    if (!inner.answered)
        admin_fail(&inner, err ? err : ERR_NOMEM);
    buf_append_str(&outer->response->body, buf_str(&trial->response.body));
    outer->response->status = trial->response.status;
    outer->response->content_type = trial->response.content_type;
    outer->answered = true;
    return err ? err : ERR_INVALID;
}

/* --- Rows ---------------------------------------------------------------- */

static void hash_request(const struct admin_request *request, uint8_t hash[32])
{
    struct buf all;

    buf_init(&all, 8u << 20);
    buf_append_str(&all, request->method);
    buf_append_char(&all, '\n');
    buf_append_str(&all, request->path);
    buf_append_char(&all, '\n');
    buf_append_str(&all, request->query);
    buf_append_char(&all, '\n');
    buf_append_str(&all, request->body);
    crypto_sha256(hash, buf_str(&all).ptr, all.len);
    buf_fini(&all);
}

static void fill(
    struct admin_call *call, struct db_statement *s, struct proposal *out)
{
    out->id = admin_column(call, s, 0);
    out->action = admin_column(call, s, 1);
    out->rule = admin_column(call, s, 2);
    out->changes = admin_column(call, s, 3);
    out->reason = admin_column(call, s, 4);
    out->author = admin_column(call, s, 5);
    out->state = admin_column(call, s, 6);
    out->created_us = db_column_int(s, 7);
}

static enum err read_proposal(
    struct admin_call *call, struct str id, struct proposal *out)
{
    struct db_statement *s;
    enum err err =
        db_prepare(call->db, PROPOSAL_COLUMNS "WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err)
        fill(call, s, out);
    db_reset(s);
    if (err == ERR_NOTFOUND)
        return FAIL(call, ERR_NOTFOUND,
            "there is no proposal \"%.*s\"; `bailiff proposal list` shows "
            "what waits",
            STR_ARG(id));
    return err;
}

/* The request as it was asked; in the arena. */
static enum err read_request(struct admin_call *call,
    const struct proposal *proposal, struct admin_request *out)
{
    struct db_statement *s;
    uint8_t hash[32];
    bool same = false;
    enum err err = db_prepare(call->persons,
        "SELECT method, path, query, body FROM proposal_request WHERE id = ?1",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, proposal->id);
    err = db_step(s, &call->info);
    if (!err) {
        *out = (struct admin_request){
            .method = admin_column(call, s, 0),
            .path = admin_column(call, s, 1),
            .query = admin_column(call, s, 2),
            .body = admin_column(call, s, 3),
            .uid = -1,
        };
    }
    db_reset(s);
    if (err)
        return err;
    hash_request(out, hash);
    err = db_prepare(call->db,
        "SELECT 1 FROM proposal WHERE id = ?1 AND hash = ?2", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, proposal->id);
    db_bind_blob(s, 2, hash, sizeof hash);
    err = db_step(s, &call->info);
    same = err == ERR_OK;
    db_reset(s);
    if (err && err != ERR_NOTFOUND)
        return err;
    return same ? ERR_OK
                : FAIL(call, ERR_CORRUPT,
                      "persons.db: the request of proposal %.*s is not the "
                      "one that was made",
                      STR_ARG(proposal->id));
}

/* Distinct people other than the author, who are still in force. */
static enum err count_approvals(struct admin_call *call,
    const struct proposal *proposal, int64_t *given, bool *mine)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT count(DISTINCT actor), coalesce(max(actor = ?2), 0) FROM "
        "proposal_act JOIN administrator ON administrator.id = actor AND "
        "disabled = 0 WHERE proposal = ?1 AND act = 'approve' AND actor <> ?3",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, proposal->id);
    db_bind_text(s, 2, str_from(call->actor.id));
    db_bind_text(s, 3, proposal->author);
    err = db_step(s, &call->info);
    if (!err) {
        *given = db_column_int(s, 0);
        *mine = db_column_int(s, 1) != 0;
    }
    db_reset(s);
    return err;
}

static enum err add_act(struct admin_call *call,
    const struct proposal *proposal, const char *act, struct str note)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO proposal_act (proposal, act, actor, time, note) VALUES "
        "(?1, ?2, ?3, ?4, ?5)",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, proposal->id);
    db_bind_text(s, 2, str_from(act));
    db_bind_text(s, 3, str_from(call->actor.id));
    db_bind_int(s, 4, clock_now());
    db_bind_text(s, 5, note);
    return db_run(s, &call->info);
}

static enum err set_state(
    struct admin_call *call, struct proposal *proposal, const char *state)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "UPDATE proposal SET state = ?2 WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, proposal->id);
    db_bind_text(s, 2, str_from(state));
    proposal->state = str_from(state);
    return db_run(s, &call->info);
}

/* --- Answers ------------------------------------------------------------- */

static enum err acts_json(
    struct admin_call *call, const struct proposal *proposal, json_t **out)
{
    struct db_statement *s;
    json_t *acts = json_array();
    enum err err = db_prepare(call->db,
        "SELECT act, actor, time, note FROM proposal_act WHERE proposal = ?1 "
        "ORDER BY id",
        &s, &call->info);

    if (!err)
        db_bind_text(s, 1, proposal->id);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        json_t *act = json_object();
        struct str actor = admin_column(call, s, 1);
        admin_set_text(act, "act", db_column_text(s, 0));
        admin_set_text(act, "actor", actor);
        admin_set_text(act, "actorName", admin_handle_of(call, actor));
        admin_set_time(act, "time", db_column_int(s, 2));
        admin_set_text(act, "note", db_column_text(s, 3));
        json_array_append_new(acts, act);
    }
    if (err == ERR_NOTFOUND) {
        db_reset(s);
        *out = acts;
        return ERR_OK;
    }
    json_decref(acts);
    return err;
}

static json_t *request_json(
    struct admin_call *call, const struct proposal *proposal)
{
    struct admin_request request;
    struct errinfo kept = call->info;
    json_t *object = json_object(), *body;

    if (read_request(call, proposal, &request)) {
        call->info = kept; /* it is shown without, and cannot be applied */
        return object;
    }
    body = request.body.len > 0
               ? json_loadb(request.body.ptr, request.body.len, 0, NULL)
               : json_object();
    admin_set_text(object, "method", request.method);
    admin_set_text(object, "path", request.path);
    admin_set_text(object, "query", request.query);
    admin_set(object, "body", body);
    return object;
}

static enum err proposal_json(
    struct admin_call *call, const struct proposal *proposal, json_t **out)
{
    json_t *object, *acts = NULL;
    int64_t given = 0, needed = 1;
    bool mine;
    enum err err = count_approvals(call, proposal, &given, &mine);

    if (!err)
        err = admin_approvals_needed(call, &needed);
    if (!err)
        err = acts_json(call, proposal, &acts);
    if (err)
        return err;
    object = json_object();
    admin_set_text(object, "id", proposal->id);
    admin_set_text(object, "action", proposal->action);
    admin_set_text(object, "state", proposal->state);
    admin_set_text(object, "rule", proposal->rule);
    admin_set_text(object, "reason", proposal->reason);
    admin_set_text(object, "author", proposal->author);
    admin_set_text(
        object, "authorName", admin_handle_of(call, proposal->author));
    admin_set_time(object, "created", proposal->created_us);
    admin_set_time(
        object, "expires", proposal->created_us + PROPOSAL_DAYS * DAY_US);
    admin_set_int(object, "approvals", given);
    admin_set_int(object, "required", needed);
    admin_set(object, "request", request_json(call, proposal));
    admin_set(object, "changes",
        json_loadb(proposal->changes.ptr, proposal->changes.len, 0, NULL));
    admin_set(object, "acts", acts);
    *out = object;
    return ERR_OK;
}

/* `result`: what the operation answered; taken, may be NULL. */
static enum err answer_proposal(struct admin_call *call, int status,
    const struct proposal *proposal, json_t *result)
{
    json_t *object;
    enum err err = proposal_json(call, proposal, &object);

    if (err) {
        json_decref(result);
        return err;
    }
    if (result)
        admin_set(object, "result", result);
    return admin_answer(call, status, object);
}

struct proposal_query {
    bool all;
};

enum err handle_proposal_list(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"all", FIELD_BOOL, false, offsetof(struct proposal_query, all), 0, 0,
            NULL},
    };
    struct proposal_query query = {false};
    struct proposal *found = NULL;
    struct db_statement *s;
    size_t count = 0, room = 0;
    json_t *items = json_array(), *one;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &query);

    if (!err)
        err = db_prepare(call->db,
            PROPOSAL_COLUMNS "WHERE ?1 OR state IN ('open', 'approved') "
                             "ORDER BY created DESC, id",
            &s, &call->info);
    if (!err)
        db_bind_int(s, 1, query.all);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        if (count == room) {
            struct proposal *more =
                realloc(found, (room = room ? 2 * room : 32) * sizeof *found);
            if (!more) {
                err = ERR_NOMEM;
                db_reset(s);
                break;
            }
            found = more;
        }
        fill(call, s, &found[count++]);
    }
    if (err == ERR_NOTFOUND) {
        err = ERR_OK;
        db_reset(s);
    }
    for (size_t i = 0; !err && i < count; i++)
        if (!(err = proposal_json(call, &found[i], &one)))
            json_array_append_new(items, one);
    free(found);
    if (!err)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

enum err handle_proposal_show(struct admin_call *call)
{
    struct proposal proposal;
    enum err err = read_proposal(call, call->params[0], &proposal);

    return err ? err : answer_proposal(call, 200, &proposal, NULL);
}

/* --- Asking -------------------------------------------------------------- */

static enum err insert(struct admin_call *call, const struct proposal *proposal)
{
    const struct admin_request *request = call->request;
    struct db_statement *s;
    uint8_t hash[32];
    enum err err = db_prepare(call->persons,
        "INSERT INTO proposal_request (id, method, path, query, body) VALUES "
        "(?1, ?2, ?3, ?4, ?5)",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, proposal->id);
    db_bind_text(s, 2, request->method);
    db_bind_text(s, 3, request->path);
    db_bind_text(s, 4, request->query);
    db_bind_text(s, 5, request->body);
    err = db_run(s, &call->info);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO proposal (id, action, rule, hash, changes, reason, "
            "author, state, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, "
            "'open', ?8)",
            &s, &call->info);
    if (err)
        return err;
    hash_request(request, hash);
    db_bind_text(s, 1, proposal->id);
    db_bind_text(s, 2, proposal->action);
    db_bind_text(s, 3, proposal->rule);
    db_bind_blob(s, 4, hash, sizeof hash);
    db_bind_text(s, 5, proposal->changes);
    db_bind_text(s, 6, proposal->reason);
    db_bind_text(s, 7, proposal->author);
    db_bind_int(s, 8, proposal->created_us);
    err = db_run(s, &call->info);
    return err ? err : add_act(call, proposal, "open", proposal->reason);
}

static enum err record(struct admin_call *call, const char *type,
    const struct proposal *proposal, json_t *detail, struct str reason)
{
    if (!detail)
        detail = json_object();
    admin_set_text(detail, "action", proposal->action);
    return admin_record(
        call, type, "proposal", proposal->id, NULL, NULL, detail, reason);
}

/* What the request would do, found out without doing it. */
static enum err try_out(struct admin_call *call, struct str *changes)
{
    struct trial trial = {.changes = json_array()};
    char *text;
    enum err err = admin_begin(call);

    if (!err)
        err = run_inside(call, call->request, &call->actor, NULL, &trial);
    if (call->changing)
        control_abandon(call->control);
    call->changing = false;
    if (!err) {
        text = json_dumps(trial.changes, JSON_COMPACT | JSON_SORT_KEYS);
        *changes =
            text ? arena_copy(call->arena, str_from(text)) : str_make(NULL, 0);
        if (!changes->ptr)
            err = ERR_NOMEM;
        free(text);
    }
    trial_fini(&trial);
    return err;
}

enum err admin_propose(struct admin_call *call, const char *rule)
{
    char id[ID_LENGTH + 1];
    struct proposal proposal = {
        .action = str_from(call->operation->action),
        .rule = str_from(rule),
        .reason =
            str_from(json_string_value(json_object_get(call->body, "reason"))),
        .author = str_from(call->actor.id),
        .state = STR("open"),
        .created_us = clock_now(),
    };
    json_t *detail;
    enum err err = try_out(call, &proposal.changes);

    if (!err && proposal.author.len == 0)
        err = FAIL(call, ERR_DENIED,
            "this takes two people (%s), and root without a name is nobody "
            "in particular: present an administrator's token",
            rule);
    if (!err)
        err = id_make("pro_", id, &call->info);
    if (err || (err = admin_begin(call)))
        return err;
    proposal.id = str_from(id);
    err = insert(call, &proposal);
    if (err)
        return err;
    detail = json_object();
    admin_set_text(detail, "rule", proposal.rule);
    admin_set(detail, "changes",
        json_loadb(proposal.changes.ptr, proposal.changes.len, 0, NULL));
    err = record(
        call, "admin.proposal.opened", &proposal, detail, proposal.reason);
    if (!err)
        err = admin_commit(call, 0);
    return err ? err : answer_proposal(call, 202, &proposal, NULL);
}

/* --- Carrying out -------------------------------------------------------- */

static enum err author_of(struct admin_call *call,
    const struct proposal *proposal, struct control_actor *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT role FROM administrator WHERE id = ?1 AND disabled = 0", &s,
        &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, proposal->author);
    err = db_step(s, &call->info);
    if (!err) {
        *out = (struct control_actor){.method = "proposal"};
        snprintf(out->id, sizeof out->id, "%.*s", STR_ARG(proposal->author));
        snprintf(
            out->role, sizeof out->role, "%.*s", STR_ARG(db_column_text(s, 0)));
    }
    db_reset(s);
    if (err == ERR_NOTFOUND)
        return FAIL(call, ERR_DENIED,
            "the author of proposal %.*s is no administrator any more; "
            "somebody else has to propose it",
            STR_ARG(proposal->id));
    return err;
}

static enum err author_may(struct admin_call *call,
    const struct proposal *proposal, const struct control_actor *author,
    const struct admin_request *request)
{
    const struct rights_question question = {
        .id = str_from(author->id),
        .role = str_from(author->role),
        .action = proposal->action,
        .path = request->path,
        .method = STR("proposal"),
    };
    struct str rule;

    if (rights_permit(call->admin->rights, &question, &rule))
        return ERR_OK;
    return FAIL(call, ERR_DENIED,
        "the author of proposal %.*s has the role \"%s\" now, which may not "
        "%.*s",
        STR_ARG(proposal->id), author->role, STR_ARG(proposal->action));
}

/* What stood there before has to be what the others have looked at. */
static bool still_the_same(
    const struct proposal *proposal, const json_t *changes)
{
    json_t *approved =
        json_loadb(proposal->changes.ptr, proposal->changes.len, 0, NULL);
    bool same =
        approved && json_array_size(approved) == json_array_size(changes);

    for (size_t i = 0; same && i < json_array_size(changes); i++) {
        const json_t *a = json_array_get(approved, i),
                     *b = json_array_get(changes, i);
        const char *kind = json_string_value(json_object_get(a, "kind"));
        same = json_equal(
                   json_object_get(a, "type"), json_object_get(b, "type")) &&
               json_equal(
                   json_object_get(a, "before"), json_object_get(b, "before"));
        /* Of the log: up to which entry. ("400d back" reaches further every
         * day, and ids of what is new are others each time.) */
        if (same && kind && strcmp(kind, "log") == 0)
            same = json_equal(
                json_object_get(a, "object"), json_object_get(b, "object"));
    }
    json_decref(approved);
    return same;
}

/* Inside a change. *result: what the operation answered. */
static enum err carry_out(struct admin_call *call, struct proposal *proposal,
    json_t **result, unsigned *what)
{
    struct trial trial = {.changes = json_array()};
    struct control_actor author;
    struct admin_request request;
    enum err err = read_request(call, proposal, &request);

    if (!err)
        err = author_of(call, proposal, &author);
    if (!err)
        err = author_may(call, proposal, &author, &request);
    if (!err)
        err = run_inside(call, &request, &author,
            arena_cstr(call->arena, proposal->id), &trial);
    if (!err && !still_the_same(proposal, trial.changes))
        err = FAIL(call, ERR_WRONG_STATE,
            "what proposal %.*s changes has changed since it was made; "
            "withdraw it and propose it anew",
            STR_ARG(proposal->id));
    if (!err)
        err = set_state(call, proposal, "applied");
    if (!err)
        err = add_act(call, proposal, "apply", STR(""));
    if (!err)
        err = record(call, "admin.proposal.applied", proposal, NULL, STR(""));
    if (!err) {
        *what = trial.what;
        *result = json_loadb(buf_str(&trial.response.body).ptr,
            trial.response.body.len, 0, NULL);
    }
    trial_fini(&trial);
    return err;
}

static bool hands_out_a_secret(const struct proposal *proposal)
{
    for (size_t i = 0; secret_actions[i]; i++)
        if (str_equal(str_from(secret_actions[i]), proposal->action))
            return true;
    return false;
}

/* --- Deciding ------------------------------------------------------------ */

static enum err must_be(struct admin_call *call,
    const struct proposal *proposal, const char *state, const char *what)
{
    if (!str_equal(proposal->state, str_from(state)))
        return FAIL(call, ERR_WRONG_STATE,
            "proposal %.*s is %.*s; only one "
            "that is %s can be %s",
            STR_ARG(proposal->id), STR_ARG(proposal->state), state, what);
    if (clock_now() > proposal->created_us + PROPOSAL_DAYS * DAY_US)
        return FAIL(call, ERR_WRONG_STATE,
            "proposal %.*s is older than %d days; it has to be proposed anew",
            STR_ARG(proposal->id), PROPOSAL_DAYS);
    return ERR_OK;
}

static enum err may_approve(
    struct admin_call *call, const struct proposal *proposal)
{
    if (!call->actor.can_approve || !call->actor.id[0])
        return FAIL(call, ERR_DENIED,
            "an approval must come from a named administrator through the "
            "running server; root without a name and offline commands do not "
            "count");
    if (str_equal(str_from(call->actor.id), proposal->author))
        return FAIL(call, ERR_DENIED,
            "you made proposal %.*s; someone else must approve it",
            STR_ARG(proposal->id));
    return ERR_OK;
}

struct decision {
    struct str reason;
};

static enum err read_decision(struct admin_call *call, struct decision *out)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, false, offsetof(struct decision, reason), 0,
            1000, NULL},
    };

    out->reason = STR("");
    return admin_read_body(call, fields, FIELD_COUNT(fields), out);
}

enum err handle_proposal_approve(struct admin_call *call)
{
    struct decision decision;
    struct proposal proposal;
    int64_t given = 0, needed = 1;
    unsigned what = 0;
    size_t resumed;
    bool mine = false;
    json_t *detail, *result = NULL;
    enum err err = read_decision(call, &decision);

    if (!err)
        err = read_proposal(call, call->params[0], &proposal);
    if (!err)
        err = must_be(call, &proposal, "open", "approved");
    if (!err)
        err = may_approve(call, &proposal);
    if (!err)
        err = count_approvals(call, &proposal, &given, &mine);
    if (!err && mine)
        err = FAIL(call, ERR_WRONG_STATE,
            "you have approved proposal %.*s already", STR_ARG(proposal.id));
    if (!err)
        err = admin_approvals_needed(call, &needed);
    if (err || (err = admin_begin(call)))
        return err;
    given++;
    err = add_act(call, &proposal, "approve", decision.reason);
    if (!err && given >= needed)
        err = set_state(call, &proposal, "approved");
    if (err)
        return err;
    detail = json_object();
    admin_set_int(detail, "given", given);
    admin_set_int(detail, "required", needed);
    err = record(
        call, "admin.proposal.approved", &proposal, detail, decision.reason);
    if (!err && given >= needed && !hands_out_a_secret(&proposal))
        err = carry_out(call, &proposal, &result, &what);
    if (!err)
        err = admin_commit(call, what);
    /* What is on record now is done now: see disposal.c. */
    if (!err && result && str_equal(proposal.action, STR("pruneLog")))
        err = disposal_resume(call, &resumed);
    if (err) {
        json_decref(result);
        return err;
    }
    return answer_proposal(call, 200, &proposal, result);
}

/* Reject (by another who may approve) and withdraw (by its author). */
static enum err close_proposal(struct admin_call *call, const char *act,
    const char *state, const char *type)
{
    struct decision decision;
    struct proposal proposal;
    bool withdraws = strcmp(act, "withdraw") == 0, own;
    enum err err = read_decision(call, &decision);

    if (!err)
        err = read_proposal(call, call->params[0], &proposal);
    if (err)
        return err;
    own = call->actor.id[0] &&
          str_equal(str_from(call->actor.id), proposal.author);
    if (!str_equal(proposal.state, STR("open")) &&
        !str_equal(proposal.state, STR("approved")))
        return FAIL(call, ERR_WRONG_STATE, "proposal %.*s is %.*s already",
            STR_ARG(proposal.id), STR_ARG(proposal.state));
    if (withdraws != own)
        return FAIL(call, ERR_DENIED,
            withdraws ? "proposal %.*s is not yours; who may approve it can "
                        "reject it"
                      : "proposal %.*s is your own; you can withdraw it",
            STR_ARG(proposal.id));
    err = admin_begin(call);
    if (!err)
        err = set_state(call, &proposal, state);
    if (!err)
        err = add_act(call, &proposal, act, decision.reason);
    if (!err)
        err = record(call, type, &proposal, NULL, decision.reason);
    if (!err)
        err = admin_commit(call, 0);
    return err ? err : answer_proposal(call, 200, &proposal, NULL);
}

enum err handle_proposal_reject(struct admin_call *call)
{
    return close_proposal(
        call, "reject", "rejected", "admin.proposal.rejected");
}

enum err handle_proposal_withdraw(struct admin_call *call)
{
    return close_proposal(
        call, "withdraw", "withdrawn", "admin.proposal.withdrawn");
}

/* What was approved and hands out a secret: by its author. */
enum err handle_proposal_apply(struct admin_call *call)
{
    struct decision decision;
    struct proposal proposal;
    int64_t given = 0, needed = 1;
    unsigned what = 0;
    bool mine;
    json_t *result = NULL;
    enum err err = read_decision(call, &decision);

    if (!err)
        err = read_proposal(call, call->params[0], &proposal);
    if (!err)
        err = must_be(call, &proposal, "approved", "applied");
    if (!err && !str_equal(str_from(call->actor.id), proposal.author))
        err = FAIL(call, ERR_DENIED,
            "proposal %.*s is not yours; its author carries it out, and sees "
            "the secret that it hands out",
            STR_ARG(proposal.id));
    /* Those who approved may have gone since, or more may be needed. */
    if (!err)
        err = count_approvals(call, &proposal, &given, &mine);
    if (!err)
        err = admin_approvals_needed(call, &needed);
    if (!err && given < needed)
        err = FAIL(call, ERR_DENIED,
            "proposal %.*s has %lld of %lld approvals by others who are still "
            "in force",
            STR_ARG(proposal.id), (long long)given, (long long)needed);
    if (err || (err = admin_begin(call)))
        return err;
    err = carry_out(call, &proposal, &result, &what);
    if (!err)
        err = admin_commit(call, what);
    if (err) {
        json_decref(result);
        return err;
    }
    return answer_proposal(call, 200, &proposal, result);
}
