/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/status.c - the state of things in one answer: what the control
 * state holds, what the running server says, and warnings. And the API's own
 * description. */
#include "proxy/admin/admin_priv.h"

#include "audit/log.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "proxy/settings.h"
#include "proxy/tls.h"

#include <stdlib.h>

#define CERTIFICATE_WARN_US (30 * DAY_US)

extern const char schema_openapi_yaml[];
extern const size_t schema_openapi_yaml_length;

struct counted {
    const char *name, *sql;
};
static const struct counted counts[] = {
    {"teams", "SELECT count(*) FROM team"},
    {"callers", "SELECT count(*) FROM caller"},
    {"callersDisabled", "SELECT count(*) FROM caller WHERE disabled = 1"},
    {"keysInForce",
        "SELECT count(*) FROM api_key WHERE revoked IS NULL AND (expires IS "
        "NULL OR expires > CAST(unixepoch() AS INTEGER) * 1000000)"},
    {"engines", "SELECT count(*) FROM engine"},
    {"models", "SELECT count(*) FROM model"},
    {"modelsApproved", "SELECT count(*) FROM model WHERE status = 'approved'"},
    {"quotas", "SELECT count(*) FROM quota"},
    {"anchors", "SELECT count(*) FROM anchor"},
    {"administrators", "SELECT count(*) FROM administrator WHERE disabled = 0"},
};

static enum err count_rows(struct admin_call *call, json_t *out)
{
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct db_statement *s;
        enum err err = db_prepare(call->db, counts[i].sql, &s, &call->info);

        if (!err)
            err = db_step(s, &call->info);
        if (err)
            return err;
        admin_set_int(out, counts[i].name, db_column_int(s, 0));
        db_reset(s);
    }
    return ERR_OK;
}

static void warn(json_t *warnings, const char *text)
{
    json_array_append_new(warnings, admin_text(str_from(text)));
}

static json_t *server_json(const struct admin_server *server)
{
    struct buf text;
    json_t *status;

    buf_init(&text, ADMIN_ANSWER_MAX);
    server->status(server->context, &text);
    status = json_loadb(buf_str(&text).ptr, text.len, 0, NULL);
    buf_fini(&text);
    return status;
}

static json_t *log_json(struct admin_call *call)
{
    struct audit_log *log = control_log(call->control);
    struct audit_log_health health;
    json_t *object = json_object();

    if (!log || !audit_log_journal(log))
        return object; /* opened to be read only */
    audit_log_health(log, &health);
    admin_set_int(object, "entries", (int64_t)health.size);
    admin_set_int(object, "published", (int64_t)health.published);
    admin_set_bool(object, "writable", health.journal == JOURNAL_OK);
    return object;
}

/* The log itself is complete, whatever becomes of the index. */
static void warn_of_index(struct admin_call *call, json_t *warnings)
{
    struct audit_log *log = control_log(call->control);
    struct audit_log_health health;

    if (!log || !audit_log_journal(log))
        return;
    audit_log_health(log, &health);
    if (!audit_index_is_behind(&health))
        return;
    json_array_append_new(warnings,
        json_sprintf("the index of the log %s, %llu entries behind: questions "
                     "do not see the newest ones, and say so",
            health.index_failed ? "fails and is tried again"
                                : "follows too slowly",
            (unsigned long long)(health.size > health.indexed
                                     ? health.size - health.indexed
                                     : 0)));
}

static struct str log_origin(struct admin_call *call)
{
    char *path = file_join(control_dir(call->control), "log.vkey");
    struct buf text;
    struct str origin = {"", 0}, rest;

    buf_init(&text, 4096);
    if (path && file_read(path, &text, NULL) == ERR_OK) {
        str_split(buf_str(&text), '+', &origin, &rest);
        origin = arena_copy(call->arena, origin);
    }
    free(path);
    buf_fini(&text);
    return origin;
}

static void warn_of_expiry(const char *certificate, const char *key,
    const char *ocsp, json_t *warnings)
{
    struct tls_context *tls = NULL;
    char why[512];
    int64_t left, until;

    if (tls_context_new(certificate, key, ocsp, &tls, NULL) != ERR_OK)
        return;
    tls_context_staple(tls, why, &until);
    if (why[0])
        json_array_append_new(
            warnings, json_sprintf("no OCSP response is stapled: %s", why));
    left = tls_context_expires(tls) - clock_now();
    if (left <= 0)
        json_array_append_new(
            warnings, json_sprintf("%s has expired", certificate));
    else if (left < CERTIFICATE_WARN_US)
        json_array_append_new(warnings,
            json_sprintf("%s expires in %lld day%s", certificate,
                (long long)(left / DAY_US), left / DAY_US == 1 ? "" : "s"));
    tls_context_unref(&tls);
}

/* The certificates that a start would take; `check` says the same. */
static void warn_of_certificates(struct admin_call *call, json_t *warnings)
{
    struct settings *settings = NULL;
    struct buf findings;

    buf_init(&findings, 65536);
    if (settings_load(control_dir(call->control), &settings, &findings) ==
        ERR_OK) {
        warn_of_expiry(settings->certificate, settings->certificate_key,
            settings->certificate_ocsp, warnings);
        if (settings->admin_listen[0] &&
            (strcmp(settings->admin_certificate, settings->certificate) != 0 ||
                strcmp(settings->admin_ocsp, settings->certificate_ocsp) != 0))
            warn_of_expiry(settings->admin_certificate, settings->admin_key,
                settings->admin_ocsp, warnings);
    }
    settings_free(&settings);
    buf_fini(&findings);
}

/* Loud as long as one is on, or nobody else has looked at it. */
static enum err warn_of_emergencies(struct admin_call *call, json_t *warnings)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT id, kind, ended IS NULL FROM emergency "
        "WHERE reviewed IS NULL ORDER BY started",
        &s, &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        bool policy = str_equal(db_column_text(s, 1), STR("policy"));
        json_array_append_new(warnings,
            json_sprintf("EMERGENCY %.*s: %s", STR_ARG(db_column_text(s, 0)),
                !db_column_int(s, 2) ? "it is over, and its review is open "
                                       "(bailiff emergency review)"
                : policy             ? "rules without approvals are in force"
                         : "callers are let through against the rules"));
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* Administrators whose last pinned certificate ends. */
static enum err warn_of_pinned(struct admin_call *call, json_t *warnings)
{
    struct db_statement *s;
    int64_t now = clock_now();
    enum err err = db_prepare(call->db,
        "SELECT administrator.id, max(not_after) AS last FROM "
        "administrator_certificate JOIN administrator ON administrator.id = "
        "administrator AND disabled = 0 GROUP BY administrator.id "
        "HAVING last < ?1 ORDER BY last",
        &s, &call->info);

    if (!err)
        db_bind_int(s, 1, now + CERTIFICATE_WARN_US);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        struct str name = admin_handle_of(call, admin_column(call, s, 0));
        int64_t left = db_column_int(s, 1) - now;
        json_array_append_new(warnings,
            left > 0
                ? json_sprintf("the last pinned certificate of %.*s "
                               "expires in %lld day%s (bailiff admin "
                               "certificate)",
                      STR_ARG(name), (long long)(left / DAY_US),
                      left / DAY_US == 1 ? "" : "s")
                : json_sprintf("the pinned certificates of %.*s have expired",
                      STR_ARG(name)));
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* Approvals that nobody could give any more. */
static enum err warn_of_factors(struct admin_call *call, json_t *warnings)
{
    int64_t have = 0, needed = 1;
    bool on = false;
    enum err err = admin_approvals_need_certificate(call, &on);

    if (err || !on)
        return err;
    err = admin_approvals_needed(call, &needed);
    if (!err)
        err = admin_count_certified(call, STR(""), &have);
    if (!err && have < needed + 1)
        json_array_append_new(warnings,
            json_sprintf(
                "approvals_need_certificate: an approval takes %lld "
                "other person(s), and only %lld administrator(s) who "
                "may approve have a certificate in force: pin more (bailiff "
                "admin certificate NAME FILE; where nobody is left "
                "who could approve that, with the server stopped)",
                (long long)needed, (long long)have));
    return err;
}

enum err handle_status(struct admin_call *call)
{
    const struct admin_server *server = call->admin->server;
    json_t *answer = json_object(), *warnings = json_array(),
           *state = json_object();
    struct str zone, text;
    int64_t approvals = 0, version = 0;
    enum err err = count_rows(call, state);

    if (!err)
        err = admin_setting_int(call, "require_approvals", 0, &approvals);
    if (!err)
        err = admin_setting(call, "zone", "UTC", &zone);
    if (!err)
        err = admin_active_policy(call, &version, &text);
    if (err) {
        json_decref(answer);
        json_decref(warnings);
        json_decref(state);
        return err;
    }
    if (approvals == 0)
        warn(warnings,
            "require_approvals is 0: one administrator alone can change what "
            "is allowed (bailiff policy require-approvals N)");
    err = warn_of_emergencies(call, warnings);
    if (!err)
        err = warn_of_factors(call, warnings);
    if (!err)
        err = warn_of_pinned(call, warnings);
    if (err) {
        json_decref(answer);
        json_decref(warnings);
        json_decref(state);
        return err;
    }
    if (version == 0)
        warn(warnings, "no policy version is active: every request is denied");
    warn_of_certificates(call, warnings);
    admin_set_text(answer, "version", STR(BAILIFF_VERSION));
    admin_set_bool(answer, "running", server != NULL);
    admin_set_text(answer, "directory", str_from(control_dir(call->control)));
    admin_set_text(answer, "origin", log_origin(call));
    admin_set_text(answer, "zone", zone);
    admin_set_int(answer, "requireApprovals", approvals);
    admin_set_int(answer, "policyVersion", version);
    admin_set(answer, "state", state);
    admin_set(answer, "log", log_json(call));
    if (server) {
        json_t *running = server_json(server);
        const char *disk = json_string_value(
            json_object_get(json_object_get(running, "log"), "disk"));
        if (disk && strcmp(disk, "good") != 0)
            warn(warnings,
                "the journal's disk fills up: when nothing is left, nothing is "
                "admitted (disk_low_bytes, disk_critical_bytes)");
        warn_of_index(call, warnings);
        admin_set(answer, "server", running);
    }
    admin_set(answer, "warnings", warnings);
    return admin_answer(call, 200, answer);
}

/* schema/openapi.yaml as it was when this program was built. */
enum err handle_description(struct admin_call *call)
{
    struct admin_response *response = call->response;

    buf_append(
        &response->body, schema_openapi_yaml, schema_openapi_yaml_length);
    if (response->body.failed)
        return ERR_NOMEM;
    response->status = 200;
    response->content_type = "application/yaml";
    call->answered = true;
    return ERR_OK;
}
