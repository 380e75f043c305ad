/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/say.c - entries in plain words (audit/show.h).
 *
 * The words end up on terminals: what came from outside is stripped of control
 * characters here. */
#include "audit/show.h"

static void say(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        buf_append_char(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
}

static void say_name(struct buf *out, const struct audit_names *names,
    struct str id, const char *nobody)
{
    struct buf name;
    if (id.len == 0) {
        buf_append_str(out, str_from(nobody));
        return;
    }
    buf_init(&name, 1024);
    bool known = names && names->find &&
                 names->find(names->context, id, &name) && !name.failed;
    say(out, known ? buf_str(&name) : id);
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
        say(out, list->items[i]);
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
    say(out, model.len > 0 ? model : STR("no model"));
    if (e->model.len > 0 && e->asked.len > 0 &&
        !str_equal(e->model, e->asked)) {
        buf_append_str(out, STR(" (the model "));
        say(out, e->model);
        buf_append_char(out, ')');
    }
    buf_append_char(out, ' ');
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
        if (str_equal(e->action, actions[i].action)) {
            buf_append_str(out, str_from(actions[i].words));
            return;
        }
    buf_append_str(out, STR("to "));
    say(out, e->action.len > 0 ? e->action : STR("do something"));
}

static void say_rules(struct buf *out, const struct audit_event *e)
{
    say_list(out, "rule ", "rules ", &e->policies);
    buf_printf(out, " of policy version %lld", (long long)e->policy_version);
}

static void say_refusal(struct buf *out, const struct audit_event *e)
{
    buf_printf(out, " (%lld ", (long long)e->status);
    say(out, e->code);
    if (e->message.len > 0) {
        struct str message = e->message;
        if (str_ends(message, STR(".")))
            message.len--;
        buf_append_str(out, STR(": "));
        say(out, message);
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
        say(out, e->quota);
    } else if (decided && e->policies.count > 0) {
        buf_append_str(out, STR("; denied by "));
        say_rules(out, e);
    } else if (decided) {
        buf_printf(out, "; denied: no rule of policy version %lld permits it",
            (long long)e->policy_version);
    } else {
        buf_append_str(out, STR("; denied at the stage "));
        say(out, e->stage.len > 0 ? e->stage : STR("?"));
    }
    say_refusal(out, e);
    buf_append_str(out, STR("; nothing reached an engine"));
}

static void say_tokens(struct buf *out, const struct audit_event *e)
{
    if (e->input < 0 && e->output < 0) {
        buf_append_str(out, STR("tokens nobody counted"));
        return;
    }
    if (e->input >= 0)
        buf_printf(out, "%lld", (long long)e->input);
    else
        buf_append_char(out, '?');
    buf_append_char(out, '+');
    if (e->output >= 0)
        buf_printf(out, "%lld", (long long)e->output);
    else
        buf_append_char(out, '?');
    buf_append_str(out, STR(" tokens"));
}

static void say_because(struct buf *out, const struct audit_event *e)
{
    if (e->reason.len == 0)
        return;
    buf_append_str(out, STR(": "));
    say(out, e->reason);
}

static void say_engine(
    struct buf *out, const struct audit_event *e, struct str engine)
{
    if (e->engine.len > 0)
        engine = e->engine;
    buf_append_str(out, STR("engine "));
    say(out, engine.len > 0 ? engine : STR("?"));
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
            buf_append_str(out, STR("; permitted by "));
            say_rules(out, opened);
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

static void say_act(struct buf *out, const struct audit_event *e,
    const struct audit_names *names)
{
    bool own = str_equal(e->actor, STR("system"));
    if (own)
        buf_append_str(out, STR("Bailiff"));
    else
        say_name(out, names, e->actor, "An administrator who is not named");
    if (!own && e->actor_method.len > 0) {
        buf_append_str(out, STR(" (by "));
        say(out, e->actor_method);
        buf_append_char(out, ')');
    }
    buf_append_str(out, STR(": "));
    say(out, e->type);
    if (e->object.len > 0 || e->object_kind.len > 0) {
        buf_append_str(out, STR(", "));
        say(out, e->object_kind);
        if (e->object.len > 0) {
            if (e->object_kind.len > 0)
                buf_append_char(out, ' ');
            say_name(out, names, e->object, "");
        }
    }
    if (e->reason.len > 0) {
        buf_append_str(out, STR(" (reason: "));
        say(out, e->reason);
        buf_append_char(out, ')');
    }
    buf_append_char(out, '.');
}

static void say_auth_failed(struct buf *out, const struct audit_event *e)
{
    buf_printf(out, "%lld %s did not prove who made %s (", (long long)e->count,
        e->count == 1 ? "call" : "calls", e->count == 1 ? "it" : "them");
    say(out, e->reason);
    if (e->key.len > 0) {
        buf_append_str(out, STR(", key "));
        say(out, e->key);
    }
    buf_append_str(out, STR("), the last one on "));
    say(out, e->route);
    buf_append_char(out, '.');
}

void audit_say_entry(const struct audit_event *event,
    const struct audit_names *names, struct buf *out)
{
    const struct audit_event *e = event;
    switch (e->kind) {
    case AUDIT_ADMITTED:
        say_who_asked(out, e, names);
        buf_append_str(out, STR("; permitted by "));
        say_rules(out, e);
        buf_append_char(out, '.');
        break;
    case AUDIT_DENIED:
        audit_say_request(e, NULL, names, out);
        break;
    case AUDIT_MEASURED:
        say_who_asked(out, e, names);
        buf_append_str(out, STR("; engine "));
        say(out, e->engine);
        buf_append_str(out, STR(" is asked to count its tokens."));
        break;
    case AUDIT_ATTEMPT:
        buf_append_str(out, STR("Engine "));
        say(out, e->engine);
        buf_printf(out, " failed at attempt %lld", (long long)e->number);
        if (e->status > 0)
            buf_printf(out, " with %lld", (long long)e->status);
        buf_append_str(out, STR(": "));
        say(out, e->error);
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
