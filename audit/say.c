/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/say.c - entries in plain words (audit/show.h).
 *
 * The words end up on terminals: what came from outside is stripped of control
 * characters here. */
#include "audit/say_priv.h"

void say_text(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        buf_append_char(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
}

void say_name(struct buf *out, const struct audit_names *names, struct str id,
    const char *nobody)
{
    struct buf name;
    if (id.len == 0) {
        buf_append_str(out, str_from(nobody));
        return;
    }
    buf_init(&name, 1024);
    bool known = names && names->find &&
                 names->find(names->context, id, &name) && !name.failed;
    say_text(out, known ? buf_str(&name) : id);
    buf_fini(&name);
}

static void say_list(struct buf *out, const char *one, const char *many,
    const struct audit_event_list *list)
{
    buf_append_str(out, str_from(list->count == 1 ? one : many));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            buf_append_str(
                out, i + 1 == list->count ? STR(" and ") : STR(", "));
        say_text(out, list->items[i]);
    }
}

/* "alice (team cardiology) asked tiny to chat" */
static void say_who_asked(struct buf *out, const struct audit_event *e,
    const struct audit_names *names)
{
    static const struct {
        struct str action;
        const char *words;
    } actions[] = {
        {STR_INIT("chat"), "to chat"},
        {STR_INIT("complete"), "to complete a text"},
        {STR_INIT("embed"), "to embed"},
        {STR_INIT("rerank"), "to rerank"},
        {STR_INIT("transcribe"), "to transcribe"},
        {STR_INIT("translateAudio"), "to translate speech"},
        {STR_INIT("speak"), "to speak"},
        {STR_INIT("generateImage"), "to make an image"},
        {STR_INIT("moderate"), "to moderate"},
        {STR_INIT("countTokens"), "to count tokens"},
    };
    say_name(out, names, e->caller, "somebody");
    if (e->teams.count > 0) {
        say_list(out, " (team ", " (teams ", &e->teams);
        buf_append_char(out, ')');
    }
    if (str_equal(e->action, STR("listModels"))) {
        buf_append_str(out, STR(" asked which models there are"));
        return;
    }
    buf_append_str(out, STR(" asked "));
    struct str model = e->asked.len > 0 ? e->asked : e->model;
    say_text(out, model.len > 0 ? model : STR("no model"));
    if (e->model.len > 0 && e->asked.len > 0 &&
        !str_equal(e->model, e->asked)) {
        buf_append_str(out, STR(" (the model "));
        say_text(out, e->model);
        buf_append_char(out, ')');
    }
    buf_append_char(out, ' ');
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
        if (str_equal(e->action, actions[i].action)) {
            buf_append_str(out, str_from(actions[i].words));
            return;
        }
    buf_append_str(out, STR("to "));
    say_text(out, e->action.len > 0 ? e->action : STR("do something"));
}

static void say_rules(struct buf *out, const struct audit_event *e)
{
    say_list(out, "rule ", "rules ", &e->policies);
    buf_printf(out, " of policy version %lld", (long long)e->policy_version);
}

/* Admitted: by rules, or past them. */
static void say_why_admitted(struct buf *out, const struct audit_event *e)
{
    if (e->emergency.len == 0) {
        buf_append_str(out, STR("; permitted by "));
        say_rules(out, e);
        return;
    }
    buf_append_str(out, STR("; let through by the emergency "));
    say_text(out, e->emergency);
    if (e->policies.count > 0) {
        buf_append_str(out, STR(", against "));
        say_rules(out, e);
    } else {
        buf_printf(out, ", though no rule of policy version %lld permits it",
            (long long)e->policy_version);
    }
}

static void say_refusal(struct buf *out, const struct audit_event *e)
{
    buf_printf(out, " (%lld ", (long long)e->status);
    say_text(out, e->code);
    if (e->message.len > 0) {
        struct str message = e->message;
        if (str_ends(message, STR(".")))
            message.len--;
        buf_append_str(out, STR(": "));
        say_text(out, message);
    }
    buf_append_char(out, ')');
}

static void say_denial(struct buf *out, const struct audit_event *e)
{
    bool decided = str_equal(e->stage, STR("decide"));
    if (e->quota.len > 0) {
        if (e->permitted_count > 0 && e->policies.count > 0) {
            buf_append_str(out, STR("; permitted by "));
            say_rules(out, e);
            buf_append_str(out, STR(", then"));
        } else {
            buf_append_char(out, ';');
        }
        buf_append_str(out, STR(" denied by quota "));
        say_text(out, e->quota);
    } else if (decided && e->policies.count > 0) {
        buf_append_str(out, STR("; denied by "));
        say_rules(out, e);
    } else if (decided) {
        buf_printf(out, "; denied: no rule of policy version %lld permits it",
            (long long)e->policy_version);
    } else {
        buf_append_str(out, STR("; denied before the rules were asked"));
        if (e->stage.len > 0) {
            buf_append_str(out, STR(", at the stage "));
            say_text(out, e->stage);
        }
    }
    say_refusal(out, e);
    buf_append_str(out, STR("; nothing reached an engine"));
}

static void say_tokens(struct buf *out, const struct audit_event *e)
{
    if (e->input < 0 && e->output < 0) {
        buf_append_str(out, STR("an uncounted number of tokens"));
        return;
    }
    if (e->input >= 0)
        buf_printf(out, "%lld tokens in", (long long)e->input);
    if (e->output >= 0)
        buf_printf(out, e->input >= 0 ? " and %lld out" : "%lld tokens out",
            (long long)e->output);
}

static void say_because(struct buf *out, const struct audit_event *e)
{
    if (e->reason.len == 0)
        return;
    buf_append_str(out, STR(": "));
    say_text(out, e->reason);
}

static void say_engine(
    struct buf *out, const struct audit_event *e, struct str engine)
{
    if (e->engine.len > 0)
        engine = e->engine;
    buf_append_str(out, STR("engine "));
    say_text(out, engine.len > 0 ? engine : STR("?"));
}

static void say_answered(
    struct buf *out, const struct audit_event *e, struct str engine)
{
    say_engine(out, e, engine);
    if (e->status > 0)
        buf_printf(out, " answered %lld", (long long)e->status);
    else
        buf_append_str(out, STR(" answered"));
    if (e->attempts > 1)
        buf_printf(out, " at attempt %lld", (long long)e->attempts);
    buf_append_str(out, STR(" with "));
    say_tokens(out, e);
}

static void say_end(
    struct buf *out, const struct audit_event *e, struct str engine)
{
    if (e->kind == AUDIT_WITHDRAWN) {
        buf_append_str(out, STR("withdrawn before it reached an engine"));
        say_because(out, e);
    } else if (str_equal(e->outcome, STR("cut"))) {
        say_answered(out, e, engine);
        buf_append_str(out, STR(" and Bailiff cut it off"));
        say_because(out, e);
    } else if (str_equal(e->outcome, STR("client_gone"))) {
        say_answered(out, e, engine);
        buf_append_str(out, STR(" until the caller went away"));
    } else if (str_equal(e->outcome, STR("engine_error"))) {
        say_engine(out, e, engine);
        buf_append_str(out, STR(" failed"));
        say_because(out, e);
        if (e->status > 0)
            buf_printf(out, "; the caller was told %lld", (long long)e->status);
    } else if (str_equal(e->outcome, STR("interrupted"))) {
        buf_append_str(out, STR("Bailiff stopped before its end was on "
                                "record, and charged what was reserved"));
    } else {
        say_answered(out, e, engine);
    }
}

void audit_say_request(const struct audit_event *opened,
    const struct audit_event *ended, const struct audit_names *names,
    struct buf *out)
{
    if (!opened) {
        buf_append_str(out, STR("How the request began is not on record"));
    } else {
        say_who_asked(out, opened, names);
        if (opened->kind == AUDIT_DENIED) {
            say_denial(out, opened);
        } else {
            say_why_admitted(out, opened);
        }
    }
    if (ended) {
        buf_append_str(out, STR("; "));
        say_end(out, ended, opened ? opened->engine : STR(""));
    } else if (opened && opened->kind == AUDIT_ADMITTED) {
        buf_append_str(out, STR("; its end is not on record yet"));
    }
    buf_append_char(out, '.');
}

static const char *failure_words(struct str reason)
{
    static const struct {
        struct str reason;
        const char *words;
    } table[] = {
        {STR_INIT("missing"), "no API key was presented"},
        {STR_INIT("malformed"), "what was presented is no API key"},
        {STR_INIT("unknown"), "nobody has that API key"},
        {STR_INIT("expired"), "the API key has expired"},
        {STR_INIT("revoked"), "the API key was revoked"},
        {STR_INIT("disabled"), "its caller is disabled"},
        {STR_INIT("bad_head"), "the head of the call is malformed"},
        {STR_INIT("route"), "there is no such route"},
        {STR_INIT("token"), "its token is not accepted"},
        {STR_INIT("log_budget"),
            "its caller has filled as much of the log as one may in an hour"},
        {STR_INIT("just_in_time"),
            "its issuer has made as many callers just in time as it may"},
        {STR_INIT("body"), "its body cannot be read"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (str_equal(reason, table[i].reason))
            return table[i].words;
    return NULL;
}

static void say_auth_failed(struct buf *out, const struct audit_event *e)
{
    const char *words = failure_words(e->reason);
    if (e->count == 1)
        buf_append_str(out, STR("A call was refused before anybody was known"));
    else
        buf_printf(out, "%lld calls were refused before anybody was known",
            (long long)e->count);
    buf_append_str(out, STR(": "));
    say_text(out, words ? str_from(words) : e->reason);
    if (e->key.len > 0) {
        buf_append_str(out, STR(" (key "));
        say_text(out, e->key);
        buf_append_char(out, ')');
    }
    buf_append_str(out, e->count == 1 ? STR(", on ") : STR(", the last on "));
    say_text(out, e->route.len > 0 ? e->route : STR("no route"));
    buf_append_char(out, '.');
}

void audit_say_entry(const struct audit_event *event,
    const struct audit_names *names, struct buf *out)
{
    const struct audit_event *e = event;
    switch (e->kind) {
    case AUDIT_ADMITTED:
        say_who_asked(out, e, names);
        say_why_admitted(out, e);
        buf_append_char(out, '.');
        break;
    case AUDIT_DENIED:
        audit_say_request(e, NULL, names, out);
        break;
    case AUDIT_MEASURED:
        say_who_asked(out, e, names);
        buf_append_str(out, STR("; engine "));
        say_text(out, e->engine);
        buf_append_str(out, STR(" is asked to count its tokens."));
        break;
    case AUDIT_ATTEMPT:
        buf_append_str(out, STR("Engine "));
        say_text(out, e->engine);
        buf_printf(out, " failed at attempt %lld", (long long)e->number);
        if (e->status > 0)
            buf_printf(out, " with %lld", (long long)e->status);
        buf_append_str(out, STR(": "));
        say_text(out, e->error);
        buf_append_str(out, STR("; another is tried."));
        break;
    case AUDIT_COMPLETED:
    case AUDIT_WITHDRAWN:
        buf_append_str(out, STR("Ended: "));
        say_end(out, e, STR(""));
        buf_append_char(out, '.');
        break;
    case AUDIT_AUTH_FAILED:
        say_auth_failed(out, e);
        break;
    case AUDIT_ACT:
        say_act(out, e, names);
        break;
    }
}
