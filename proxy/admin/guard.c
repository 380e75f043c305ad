/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/guard.c - which changes one person alone cannot make.
 *
 * Rows of organisation_setting decide: require_approvals (how many others),
 * two_person_for (for what, beside rules), approvals_need_certificate (how sure
 * of the others). As soon as one is set, what would take it back needs the
 * others too, and so does making somebody an administrator: who can mint a
 * second person is two people. What only takes access away (disable, revoke,
 * retire) is always one person's to do. */
#include "proxy/admin/admin_priv.h"

/* Actions that never wait: they only take away, or have a rule of their own;
 * an erasure and an expiry destroy what no second change could bring back in
 * step with the first, and have holds, exempt classes and the lock; a shadow
 * decides nothing. */
static const char *const never[] = {"disableCaller", "revokeKey",
    "disableAdministrator", "revokeToken", "removeSignIn",
    "unpinAdministratorCertificate", "retireModel", "removeIssuer",
    "approveProposal", "rejectProposal", "withdrawProposal", "applyProposal",
    "rebuildIndex", "beginBackup", "endBackup", "testSink", "eraseSubject",
    "runRetention", "rotateDigestKey", "startShadow", "stopShadow", NULL};

/* Where the path's first word is not what the operation is about. */
static const struct {
    const char *action, *nouns;
} about[] = {
    {"issueKey", "keys"},
    {"onboard", "callers keys"},
};

static struct str first_word(const char *path)
{
    struct str word, rest;

    str_split(str_from(path + strlen("/v1/")), '/', &word, &rest);
    return word;
}

static bool listed(const char *const *list, const char *word)
{
    for (; *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

/* Do the lists, one separated by spaces, one by commas, have a word in
 * common? */
static bool in_common(struct str nouns, struct str setting)
{
    struct str noun, word, rest;

    while (nouns.len > 0) {
        str_split(nouns, ' ', &noun, &nouns);
        for (rest = setting; rest.len > 0;) {
            str_split(rest, ',', &word, &rest);
            if (str_equal(str_trim(word), noun))
                return true;
        }
    }
    return false;
}

static struct str nouns_of(const struct admin_operation *operation)
{
    struct str word = first_word(operation->path);

    for (size_t i = 0; i < sizeof about / sizeof about[0]; i++)
        if (strcmp(about[i].action, operation->action) == 0)
            return str_from(about[i].nouns);
    return str_equal(word, STR("model-groups")) ? STR("models") : word;
}

static bool may_wait(
    struct admin_call *call, const struct admin_operation *operation)
{
    struct str noun = first_word(operation->path);

    return rights_is_change(call->admin->rights, operation->action) &&
           !listed(never, operation->action) &&
           !str_equal(noun, STR("policies")) &&
           !str_equal(noun, STR("emergencies"));
}

bool admin_guard_knows(
    struct admin_call *call, struct str noun, struct buf *known)
{
    bool found = false;

    for (size_t i = 0; i < admin_operation_count; i++) {
        struct str nouns, word;

        if (!may_wait(call, &admin_operations[i]))
            continue;
        nouns = nouns_of(&admin_operations[i]);
        while (nouns.len > 0) {
            str_split(nouns, ' ', &word, &nouns);
            found |= str_equal(word, noun);
            if (str_equal(word, STR("administrators")) ||
                in_common(word, buf_str(known)))
                continue; /* (administrators wait whenever anything does) */
            if (known->len > 0)
                buf_append_char(known, ',');
            buf_append_str(known, word);
        }
    }
    return found && !str_equal(noun, STR("administrators"));
}

/* --- Settings ------------------------------------------------------------ */

/* A word of `now` that `wanted` has not. */
static bool loses_a_word(struct str now, struct str wanted)
{
    struct str word;

    while (now.len > 0) {
        str_split(now, ',', &word, &now);
        word = str_trim(word);
        if (word.len > 0 && !in_common(word, wanted))
            return true;
    }
    return false;
}

static const char *weakening(struct admin_call *call, int64_t approvals,
    struct str two_person_for, bool need_certificate)
{
    const json_t *value = json_object_get(call->body, "value");
    struct str key = call->params[0],
               wanted = str_trim(str_from(json_string_value(value)));
    int64_t number;

    if (!json_is_string(value))
        return NULL; /* the handler says so */
    if (str_equal(key, STR("require_approvals")))
        return str_to_i64(wanted, &number) == ERR_OK && number < approvals
                   ? "require_approvals is lowered only by the rule itself"
                   : NULL;
    if (str_equal(key, STR("two_person_for")))
        return loses_a_word(two_person_for, wanted)
                   ? "two_person_for is shortened only by the rule itself"
                   : NULL;
    if (str_equal(key, STR("approvals_need_certificate")))
        return need_certificate && !str_equal(wanted, STR("true"))
                   ? "approvals_need_certificate is taken back only by the "
                     "rule itself"
                   : NULL;
    return NULL;
}

/* --- Administrators ------------------------------------------------------ */

static enum err count(
    struct admin_call *call, const char *sql, struct str id, int64_t *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db, sql, &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err)
        *out = db_column_int(s, 0);
    db_reset(s);
    return err;
}

/* The exceptions: the first few have to come from somewhere, and somebody has
 * to be able to help where nobody is left to approve (with the server stopped
 * and the files at hand). */
static enum err minting(struct admin_call *call, int64_t needed,
    bool need_certificate, const char **rule)
{
    struct str self = str_from(call->actor.id), meant;
    int64_t ever = 0, others = 0;
    enum err err = count(call,
        "SELECT count(*) FROM administrator WHERE role IN ('admin', "
        "'approver') AND ?1 = ?1",
        self, &ever);

    if (!err)
        err = count(call,
            "SELECT count(*) FROM administrator WHERE role IN ('admin', "
            "'approver') AND disabled = 0 AND id <> ?1",
            self, &others);
    /* Who has no certificate could not approve. */
    if (!err && need_certificate)
        err = admin_count_certified(call, self, &others);
    if (err)
        return err;
    /* One's own further token makes nobody new; one's own further certificate
     * does: a second factor for whoever has stolen the first. */
    if (strcmp(call->operation->action, "issueToken") == 0 && self.len > 0 &&
        admin_resolve_person(call, "adm_", call->params[0], &meant) == ERR_OK &&
        str_equal(meant, self))
        return ERR_OK;
    call->info = (struct errinfo){0};
    if (ever <= needed || (others < needed && call->request->offline))
        return ERR_OK;
    *rule = "who becomes an administrator is for two people while anything is";
    return ERR_OK;
}

/* --- The question -------------------------------------------------------- */

enum err admin_approvals_needed(struct admin_call *call, int64_t *needed)
{
    enum err err = admin_setting_int(call, "require_approvals", 0, needed);

    if (!err && *needed < 1)
        *needed = 1;
    return err;
}

enum err admin_guard(struct admin_call *call, const char **rule)
{
    struct str two_person_for = STR("");
    int64_t approvals = 0, needed = 1;
    bool need_certificate = false;
    enum err err;

    *rule = NULL;
    if (!may_wait(call, call->operation))
        return ERR_OK;
    err = admin_setting_int(call, "require_approvals", 0, &approvals);
    if (!err)
        err = admin_approvals_needed(call, &needed);
    if (!err)
        err = admin_setting(call, "two_person_for", "", &two_person_for);
    if (!err)
        err = admin_approvals_need_certificate(call, &need_certificate);
    if (err)
        return err;
    if (strcmp(call->operation->action, "putSetting") == 0)
        *rule = weakening(call, approvals, two_person_for, need_certificate);
    else if (str_equal(
                 first_word(call->operation->path), STR("administrators")) &&
             (approvals > 0 || str_trim(two_person_for).len > 0 ||
                 need_certificate))
        return minting(call, needed, need_certificate, rule);
    /* What is pruned nobody can bring back. */
    if (!*rule && strcmp(call->operation->action, "pruneLog") == 0 &&
        (approvals > 0 || str_trim(two_person_for).len > 0))
        *rule = "what is pruned is for two people while anything is";
    if (!*rule && in_common(nouns_of(call->operation), two_person_for))
        *rule = arena_printf(call->arena, "two_person_for has %.*s",
            STR_ARG(nouns_of(call->operation)));
    return ERR_OK;
}
