/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/rules.c - a text of rules on its way in and out: policy/names.h
 * checks it, here are the handles of callers that it needs, and the problem
 * document of rules that are not good. */
#include "proxy/admin/admin_priv.h"

#include "policy/names.h"

#define FINDINGS_MAX (1u << 20)

/* --- Callers by handle --------------------------------------------------- */

static enum err find_caller(void *context, struct str handle, struct str *id,
    struct str *near, struct errinfo *info)
{
    struct admin_call *call = context;
    struct errinfo said = call->info;
    enum err err = admin_resolve_person(call, "cal_", handle, id);

    if (err == ERR_NOTFOUND)
        *near = admin_nearest_handle(call, "cal_", handle);
    else if (err)
        errinfo_set(info, err, "%s", call->info.text);
    call->info = said;
    return err;
}

static struct str handle_of(void *context, struct str id)
{
    return admin_handle_of(context, id);
}

static struct policy_callers callers_of(struct admin_call *call)
{
    return (struct policy_callers){find_caller, handle_of, call};
}

/* --- In --------------------------------------------------------------------
 */

json_t *rules_lines(struct str text)
{
    json_t *lines = json_array();
    struct str line;

    while (text.len > 0) {
        str_split(text, '\n', &line, &text);
        if (line.len > 0)
            json_array_append_new(lines, admin_text(line));
    }
    return lines;
}

enum err rules_prepare(struct admin_call *call, struct str text,
    const char *name, struct rules *out)
{
    const struct policy_callers callers = callers_of(call);
    struct buf findings, stored;
    enum err err;

    memset(out, 0, sizeof *out);
    buf_init(&findings, FINDINGS_MAX);
    buf_init(&stored, POLICY_TEXT_MAX);
    err = policy_prepare(call->db, text, name, &callers, &stored, &out->set,
        &findings, &call->info);
    /* Bad rules speak through the findings; anything else is an error. */
    if (err && (findings.len > 0 || err == ERR_SYNTAX)) {
        if (findings.len == 0)
            buf_printf(&findings, "%s:1:1: %s\n", name, call->info.text);
        call->info = (struct errinfo){0};
        out->text = text;
        err = ERR_OK;
    } else if (!err) {
        out->text = arena_copy(call->arena, buf_str(&stored));
        err = stored.failed || !out->text.ptr ? ERR_NOMEM : ERR_OK;
    }
    if (!err)
        out->findings = rules_lines(buf_str(&findings));
    else
        policy_set_free(&out->set);
    buf_fini(&findings);
    buf_fini(&stored);
    return err;
}

void rules_fini(struct rules *rules)
{
    policy_set_free(&rules->set);
    json_decref(rules->findings);
    rules->findings = NULL;
}

enum err rules_refuse_findings(struct admin_call *call, const json_t *findings)
{
    json_t *errors;
    size_t count = json_array_size(findings);
    struct buf detail;

    if (count == 0)
        return ERR_OK;
    errors = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *error = json_object();
        admin_set_text(error, "field", STR("text"));
        admin_set(error, "message", json_incref(json_array_get(findings, i)));
        json_array_append_new(errors, error);
    }
    buf_init(&detail, 65536);
    buf_printf(&detail, "%s (nothing was changed)",
        json_string_value(json_array_get(findings, 0)));
    admin_problem_with(call, 400, "invalid-rules", errors, buf_cstr(&detail));
    buf_fini(&detail);
    return ERR_INVALID;
}

enum err rules_refuse(struct admin_call *call, const struct rules *rules)
{
    return rules_refuse_findings(call, rules->findings);
}

/* --- Out -------------------------------------------------------------------
 */

struct str rules_shown(struct admin_call *call, struct str text)
{
    const struct policy_callers callers = callers_of(call);
    struct str out = text;
    struct buf shown;

    buf_init(&shown, POLICY_TEXT_MAX);
    if (policy_show(text, &callers, &shown, NULL) == ERR_OK && !shown.failed)
        out = arena_copy(call->arena, buf_str(&shown));
    buf_fini(&shown);
    return out.ptr ? out : text;
}
