/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin API, called in-process on a state directory of its own: who may,
 * what each noun does, what is refused and in which words. */
#include "tests/unit/proxy/state_fixture.h"

#include "audit/log.h"
#include "audit/show.h"
#include "proxy/admin/admin_priv.h"
#include "proxy/secret.h"

static uint64_t entries(struct state *s)
{
    return journal_size(audit_log_journal(control_log(s->control)));
}

static const char *text_of(const json_t *answer, const char *member)
{
    const char *text = json_string_value(json_object_get(answer, member));

    assert_non_null(text);
    return text;
}

/* --- Who may ---------------------------------------------------------------
 */

static void add_administrator(
    struct state *s, const char *name, const char *role, char *token)
{
    char body[200];
    json_t *answer = NULL;

    snprintf(
        body, sizeof body, "{\"name\":\"%s\",\"role\":\"%s\"}", name, role);
    assert_int_equal(
        state_call(s, "POST", "/v1/administrators", body, &answer), 201);
    snprintf(token, 100, "Bearer %s", text_of(answer, "secret"));
    json_decref(answer);
}

static void test_nobody_without_a_credential(void **context)
{
    struct state *s = *context;

    s->offline = false;
    state_refused(s, 401, "GET", "/v1/teams", NULL, "who are you?");
    s->uid = -1;
    state_refused(s, 401, "GET", "/v1/teams", NULL, "who are you?");
    s->uid = 0;
    state_must(s, 200, "GET", "/v1/teams", NULL);
}

static void test_tokens(void **context)
{
    struct state *s = *context;
    char token[SECRET_LENGTH + 1];
    struct errinfo info = {0};

    s->offline = false;
    snprintf(
        s->authorization, sizeof s->authorization, "Bearer %s", s->made.token);
    state_must(s, 200, "GET", "/v1/teams", NULL);
    /* Another scheme, a wrong one, a good shape that nobody has. */
    snprintf(
        s->authorization, sizeof s->authorization, "Basic %s", s->made.token);
    state_refused(s, 401, "GET", "/v1/teams", NULL, "not known here");
    snprintf(
        s->authorization, sizeof s->authorization, "Bearer %sx", s->made.token);
    state_refused(s, 401, "GET", "/v1/teams", NULL, "not known here");
    assert_int_equal(secret_make(SECRET_TOKEN_PREFIX, token, &info), ERR_OK);
    snprintf(s->authorization, sizeof s->authorization, "Bearer %s", token);
    /* A bad token is no way to fall back on being root. */
    s->uid = 0;
    state_refused(s, 401, "GET", "/v1/teams", NULL, "not known here");
}

/* What the socket would believe, the network does not. */
static void test_over_the_network_only_a_token_counts(void **context)
{
    struct state *s = *context;
    const int64_t before = entries(s);
    json_t *answer = NULL;

    s->offline = false;
    s->remote = true;
    s->uid = 0;
    assert_int_equal(state_call(s, "GET", "/v1/teams", NULL, &answer), 401);
    assert_non_null(strstr(
        json_string_value(json_object_get(answer, "detail")), "Over the net"));
    json_decref(answer);
    assert_int_equal(entries(s), before + 1); /* the refusal */
    assert_int_equal(state_call(s, "GET", "/healthz", NULL, NULL), 404);
    assert_int_equal(state_call(s, "GET", "/metrics", NULL, NULL), 404);
    s->remote = false;
    state_must(s, 200, "GET", "/v1/teams", NULL);
}

static void test_a_mapped_uid(void **context)
{
    struct state *s = *context;

    state_must(s, 201, "POST", "/v1/administrators",
        "{\"name\":\"olga\",\"role\":\"operator\",\"uid\":1234,"
        "\"token\":false}");
    state_refused(s, 409, "POST", "/v1/administrators",
        "{\"name\":\"oleg\",\"role\":\"operator\",\"uid\":1234}",
        "mapped to another");
    s->offline = false;
    s->uid = 1234;
    state_must(s, 200, "GET", "/v1/teams", NULL);
    state_refused(s, 403, "POST", "/v1/teams", "{\"name\":\"x\"}",
        "the role \"operator\" may not POST");
}

/* The newest entry of the log. */
static json_t *last_entry(struct state *s)
{
    struct audit_reader *reader = NULL;
    struct errinfo info = {0};
    uint64_t size = entries(s);
    json_t *entry;
    struct buf text;

    buf_init(&text, 1 << 20);
    assert_int_equal(audit_reader_open(s->dir, &reader, &info), ERR_OK);
    assert_int_equal(
        audit_read_entry(reader, size, size - 1, &text, &info), ERR_OK);
    entry = json_loadb(buf_str(&text).ptr, text.len, 0, NULL);
    assert_non_null(entry);
    audit_reader_close(&reader);
    buf_fini(&text);
    return entry;
}

/* Who the log says made the newest change. */
static void recorded(
    struct state *s, const char *type, const char *id, const char *method)
{
    json_t *entry = last_entry(s);
    const json_t *actor = json_object_get(entry, "actor");
    char *text = json_dumps(entry, 0);

    if (strcmp(text_of(entry, "type"), type) != 0 ||
        strcmp(text_of(actor, "id"), id) != 0 ||
        strcmp(text_of(actor, "method"), method) != 0)
        fail_msg("not %s by \"%s\" (%s): %s", type, id, method, text);
    free(text);
    json_decref(entry);
}

static void test_who_is_on_record(void **context)
{
    struct state *s = *context;
    json_t *answer = NULL;
    char id[64];

    /* the process that holds the files, no name given: nobody */
    state_must(s, 201, "POST", "/v1/teams", "{\"name\":\"t1\"}");
    recorded(s, "admin.team.added", "", "offline");
    assert_int_equal(state_call(s, "POST", "/v1/administrators",
                         "{\"name\":\"olga\",\"role\":\"admin\",\"uid\":1234,"
                         "\"token\":false}",
                         &answer),
        201);
    snprintf(id, sizeof id, "%s", text_of(answer, "id"));
    json_decref(answer);
    s->offline = false;
    /* bare root: everything, without a name */
    s->uid = 0;
    state_must(s, 201, "POST", "/v1/teams", "{\"name\":\"t2\"}");
    recorded(s, "admin.team.added", "", "root");
    /* a mapped uid: by name */
    s->uid = 1234;
    state_must(s, 201, "POST", "/v1/teams", "{\"name\":\"t3\"}");
    recorded(s, "admin.team.added", id, "uid");
    /* offline too, where it can never approve */
    s->offline = true;
    state_must(s, 201, "POST", "/v1/teams", "{\"name\":\"t4\"}");
    recorded(s, "admin.team.added", id, "offline");
    /* a token goes before the uid */
    s->offline = false;
    s->uid = 0;
    snprintf(
        s->authorization, sizeof s->authorization, "Bearer %s", s->made.token);
    state_must(s, 201, "POST", "/v1/teams", "{\"name\":\"t5\"}");
    {
        json_t *entry = last_entry(s);
        const json_t *actor = json_object_get(entry, "actor");
        assert_string_equal(text_of(actor, "method"), "token");
        assert_true(str_starts(str_from(text_of(actor, "id")), STR("adm_")));
        assert_string_not_equal(text_of(actor, "id"), id);
        json_decref(entry);
    }
    /* a uid whose administrator is disabled is nobody */
    s->authorization[0] = '\0';
    state_must(s, 200, "POST", "/v1/administrators/olga/disable", "{}");
    s->uid = 1234;
    state_refused(
        s, 401, "POST", "/v1/teams", "{\"name\":\"t6\"}", "who are you?");
    recorded(s, "admin.refused", "", "none");
}

static void test_a_change_of_nothing_is_refused(void **context)
{
    struct state *s = *context;
    uint64_t before;

    state_must(s, 201, "POST", "/v1/callers", "{\"handle\":\"b\"}");
    state_must(s, 201, "POST", "/v1/engines",
        "{\"name\":\"e\",\"url\":\"http://127.0.0.1:1\"}");
    before = entries(s);
    state_refused(s, 400, "PATCH", "/v1/callers/b", "{\"reason\":\"x\"}",
        "nothing would change");
    state_refused(
        s, 400, "PATCH", "/v1/engines/e", "{}", "nothing would change");
    assert_int_equal(entries(s), before);
}

static void test_the_description_is_served(void **context)
{
    struct state *s = *context;
    struct admin_request request = {
        .method = STR("GET"), .path = STR("/v1/openapi.yaml"), .offline = true};
    struct admin_response response = {0};

    buf_init(&response.body, 64u << 20);
    admin_handle(s->admin, &request, &response);
    assert_int_equal(response.status, 200);
    assert_string_equal(response.content_type, "application/yaml");
    assert_non_null(strstr(buf_cstr(&response.body), "\nopenapi: 3.1.0\n"));
    buf_fini(&response.body);
}

extern const char schema_openapi_yaml[];

/* What schema/openapi.yaml says of the operation and the role: written by hand
 * there, decided by schema/admin.cedar here. */
static bool described(const char *action, const char *role)
{
    char wanted[100];
    const char *at, *end, *found;

    snprintf(wanted, sizeof wanted, "operationId: %s\n", action);
    at = strstr(schema_openapi_yaml, wanted);
    assert_non_null(at);
    at = strstr(at, "x-roles: [");
    assert_non_null(at);
    end = strchr(at, ']');
    found = strstr(at, role);
    return found && found < end;
}

/* Every operation and every role: allowed exactly where the document says. */
static void test_the_matrix_of_roles(void **context)
{
    struct state *s = *context;
    char tokens[5][100];

    for (int r = 0; r < 5; r++)
        add_administrator(
            s, rights_all_roles[r], rights_all_roles[r], tokens[r]);
    s->offline = false;
    for (size_t i = 0; i < admin_operation_count; i++) {
        const struct admin_operation *o = &admin_operations[i];
        for (int r = 0; r < 5; r++) {
            bool may = described(o->action, rights_all_roles[r]);
            int status;
            memcpy(s->authorization, tokens[r], sizeof tokens[r]);
            /* The braces of the path are names that do not exist. */
            status = state_call(s, o->method, o->path,
                strcmp(o->method, "GET") == 0 ? NULL : "{\"nothing\":1}", NULL);
            if ((status == 403) == may)
                fail_msg("%s %s as %s: %d", o->method, o->path,
                    rights_all_roles[r], status);
        }
    }
}

static void test_an_operation_without_a_rule_is_refused(void **context)
{
    static const char *const unknown[] = {"listTeams", "openTheGate"};
    static const char *const too_few[] = {"listTeams"};
    struct state *s = *context;
    struct rights *rights = NULL;
    struct errinfo info = {0};
    struct rights_question question = {.id = STR("adm_x"),
        .role = STR("admin"),
        .action = STR("listTeams"),
        .path = STR("/v1/teams"),
        .method = STR("token")};
    struct str rule;

    assert_int_equal(rights_new(unknown, 2, &rights, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.text, "openTheGate"));
    assert_int_equal(rights_new(too_few, 1, &rights, &info), ERR_CORRUPT);
    assert_null(rights);
    assert_true(rights_permit(s->admin->rights, &question, &rule));
    assert_true(str_equal(rule, STR("admin")));
    question.role = STR("janitor");
    assert_false(rights_permit(s->admin->rights, &question, &rule));
    assert_int_equal(rule.len, 0);
    question.action = STR("openTheGate");
    /* Only an admin's rule covers what is no action; rights_new keeps such an
     * operation from ever being served. */
    question.role = STR("operator");
    assert_false(rights_permit(s->admin->rights, &question, &rule));
    question.role = STR("auditor");
    question.action = STR("putSetting");
    assert_false(rights_permit(s->admin->rights, &question, &rule));
    assert_true(str_equal(rule, STR("auditor-never-writes")));
}

static void test_auditors_only_read(void **context)
{
    /* POSTs that ask something and change nothing. */
    static const char *const asks[] = {"validatePolicy", "tryPolicy",
        "diffPolicies", "replayPolicy", "explainPolicy", "testPolicy",
        "renderRecipe", "verifyBundle"};
    struct state *s = *context;

    for (size_t i = 0; i < admin_operation_count; i++) {
        const struct admin_operation *o = &admin_operations[i];
        const struct rights_question question = {.id = STR("adm_x"),
            .role = STR("auditor"),
            .action = str_from(o->action),
            .path = str_from(o->path),
            .method = STR("token")};
        struct str rule;
        bool reads =
            strcmp(o->method, "GET") == 0 || strstr(o->path, "/audit/");
        for (size_t k = 0; k < sizeof asks / sizeof asks[0]; k++)
            reads |= strcmp(o->action, asks[k]) == 0;
        if (!reads && rights_permit(s->admin->rights, &question, &rule))
            fail_msg("%s %s is open to auditors", o->method, o->path);
    }
}

static void test_refusals_are_recorded_once_in_a_while(void **context)
{
    struct state *s = *context;
    uint64_t before = entries(s);

    s->offline = false;
    for (int i = 0; i < 50; i++)
        state_call(s, "GET", "/v1/teams", NULL, NULL);
    assert_int_equal(entries(s), before + 1);
}

static void test_the_last_administrator_stays(void **context)
{
    struct state *s = *context;
    char token[100];

    state_refused(s, 409, "POST", "/v1/administrators/root-admin/disable", "{}",
        "last administrator");
    add_administrator(s, "second", "admin", token);
    state_must(s, 200, "POST", "/v1/administrators/root-admin/disable", "{}");
    s->offline = false;
    snprintf(
        s->authorization, sizeof s->authorization, "Bearer %s", s->made.token);
    state_refused(s, 401, "GET", "/v1/teams", NULL, "not known here");
    snprintf(s->authorization, sizeof s->authorization, "%s", token);
    state_must(s, 200, "GET", "/v1/teams", NULL);
}

/* --- Requests ---------------------------------------------------------------
 */

static void test_bad_requests(void **context)
{
    struct state *s = *context;

    state_refused(s, 404, "GET", "/v1/nothing", NULL, "has no /v1/nothing");
    state_refused(s, 404, "GET", "/v1/teams/", NULL, "has no");
    state_refused(s, 404, "GET", "v1", NULL, "has no");
    state_refused(s, 404, "GET", "/v1/teams/%zz", NULL, "has no");
    state_refused(s, 404, "GET", "/v1/teams/%00", NULL, "has no");
    state_refused(s, 405, "PATCH", "/v1/teams", "{}", "offered: GET, POST");
    state_refused(s, 400, "POST", "/v1/teams", "{\"name\":", "is no JSON");
    state_refused(s, 400, "POST", "/v1/teams", "[]", "must be a JSON object");
    state_refused(s, 400, "POST", "/v1/teams",
        "{\"name\":\"a\",\"name\":\"b\"}", "duplicate");
    state_refused(s, 400, "POST", "/v1/teams", "{}", "name: is missing");
    state_refused(
        s, 400, "POST", "/v1/teams", "{\"name\":3}", "name: must be a string");
    state_refused(s, 400, "POST", "/v1/teams", "{\"name\":null}",
        "name: must not be null");
    state_refused(s, 400, "POST", "/v1/teams",
        "{\"name\":\"a\",\"tittle\":\"b\"}", "did you mean \"title\"?");
    state_refused(
        s, 400, "POST", "/v1/teams", "{\"name\":\"a b\"}", "is no name");
    state_refused(
        s, 400, "POST", "/v1/teams", "{\"name\":\"a\\u0000\"}", "is no name");
    state_refused(s, 400, "POST", "/v1/teams",
        "{\"name\":\"a\",\"title\":\"\\u0000\"}", "NUL");
    state_refused(s, 400, "GET", "/v1/keys?al=1", NULL, "did you mean \"all\"");
    state_refused(s, 400, "GET", "/v1/keys?all=maybe", NULL, "true or false");
    state_refused(s, 400, "GET", "/v1/keys?caller=%2", NULL, "percent-encoded");
}

static void test_all_errors_at_once(void **context)
{
    struct state *s = *context;
    json_t *answer = NULL;

    assert_int_equal(state_call(s, "POST", "/v1/engines",
                         "{\"kind\":\"x\",\"weight\":0,\"foo\":1}", &answer),
        400);
    /* kind, weight, foo, and the missing name and url */
    assert_int_equal(json_array_size(json_object_get(answer, "errors")), 5);
    assert_string_equal(
        text_of(answer, "type"), "urn:bailiff:problem:invalid-request");
    json_decref(answer);
}

static void test_health_needs_no_credential(void **context)
{
    struct state *s = *context;

    s->offline = false;
    state_must(s, 200, "GET", "/healthz", NULL);
    state_must(s, 503, "GET", "/readyz", NULL);
    state_must(s, 503, "GET", "/metrics", NULL);
}

/* --- Nouns ------------------------------------------------------------------
 */

static void test_teams(void **context)
{
    struct state *s = *context;

    state_must(s, 201, "POST", "/v1/teams",
        "{\"name\":\"icu\",\"parent\":\"everyone\",\"title\":\"Ward\"}");
    state_refused(s, 409, "POST", "/v1/teams", "{\"name\":\"icu\"}", "already");
    state_refused(s, 404, "POST", "/v1/teams",
        "{\"name\":\"b\",\"parent\":\"icuu\"}", "did you mean \"icu\"?");
    state_must(s, 201, "POST", "/v1/teams",
        "{\"name\":\"\xe5\xbf\x83\xe5\x86\x85\xe7\xa7\x91\",\"parent\":"
        "\"icu\"}");
    state_must(s, 200, "GET", "/v1/teams/%E5%BF%83%E5%86%85%E7%A7%91", NULL);
    state_refused(s, 409, "DELETE", "/v1/teams/icu", NULL, "still has");
    state_must(s, 200, "DELETE", "/v1/teams/%E5%BF%83%E5%86%85%E7%A7%91", NULL);
    state_must(s, 200, "DELETE", "/v1/teams/icu", NULL);
    state_refused(s, 404, "DELETE", "/v1/teams/icu", NULL, "no team");
    state_refused(s, 409, "DELETE", "/v1/teams/interns", NULL,
        "named by rule \"interns-small-models\"");
}

static void test_callers_and_keys(void **context)
{
    struct state *s = *context;
    json_t *answer = NULL;
    char path[100];
    const char *key;

    assert_int_equal(state_call(s, "POST", "/v1/callers",
                         "{\"handle\":\"ann@example.org\",\"name\":\"Ann\","
                         "\"teams\":[\"everyone\"]}",
                         &answer),
        201);
    assert_true(str_starts(str_from(text_of(answer, "id")), STR("cal_")));
    json_decref(answer);
    state_refused(s, 409, "POST", "/v1/callers",
        "{\"handle\":\"ann@example.org\"}", "is taken");
    state_refused(s, 404, "POST", "/v1/callers",
        "{\"handle\":\"b\",\"teams\":[\"everyon\"]}", "did you mean");
    /* the refused one left no name behind */
    state_must(s, 201, "POST", "/v1/callers", "{\"handle\":\"b\"}");
    state_refused(s, 400, "POST", "/v1/callers", "{\"handle\":\"cal_x\"}",
        "looks like an id");
    state_must(s, 200, "PATCH", "/v1/callers/b",
        "{\"join\":[\"interns\",\"cleared\"]}");
    state_must(s, 200, "PATCH", "/v1/callers/b", "{\"leave\":[\"cleared\"]}");
    state_refused(s, 404, "PATCH", "/v1/callers/b", "{\"leave\":[\"cleared\"]}",
        "not in team");
    state_refused(s, 404, "GET", "/v1/callers/ann@example.com", NULL,
        "did you mean \"ann@example.org\"?");

    assert_int_equal(state_call(s, "POST", "/v1/callers/b/keys",
                         "{\"label\":\"ci\",\"expires\":\"90d\"}", &answer),
        201);
    key = text_of(answer, "key");
    assert_int_equal(strlen(key), SECRET_LENGTH);
    assert_true(secret_is_well_formed(SECRET_KEY_PREFIX, str_from(key)));
    snprintf(path, sizeof path, "/v1/keys/%s/revoke", text_of(answer, "id"));
    json_decref(answer);
    state_must(s, 200, "POST", path, "{\"reason\":\"leaked\"}");
    state_refused(s, 409, "POST", path, "{}", "revoked already");
    state_refused(s, 400, "POST", "/v1/callers/b/keys",
        "{\"expires\":\"2020-01-01\"}", "expired already");
    state_refused(s, 400, "POST", "/v1/callers/b/keys",
        "{\"expires\":\"soon\"}", "is no time");
    state_must(s, 200, "POST", "/v1/callers/b/disable", "{}");
    state_refused(s, 409, "POST", "/v1/callers/b/disable", "{}", "already");
    state_must(s, 200, "POST", "/v1/callers/b/enable", "{}");
}

static void test_secrets_are_nowhere_in_the_state(void **context)
{
    struct state *s = *context;
    static const char *const files[] = {"control.db", "persons.db"};
    json_t *answer = NULL;
    struct errinfo info = {0};
    char key[SECRET_LENGTH + 1], path[128];

    state_must(s, 201, "POST", "/v1/callers", "{\"handle\":\"b\"}");
    assert_int_equal(
        state_call(s, "POST", "/v1/callers/b/keys", "{}", &answer), 201);
    snprintf(key, sizeof key, "%s", text_of(answer, "key"));
    json_decref(answer);
    for (size_t i = 0; i < 2; i++) {
        struct buf bytes;
        buf_init(&bytes, 64u << 20);
        snprintf(path, sizeof path, "%s/%s", s->dir, files[i]);
        assert_int_equal(file_read(path, &bytes, &info), ERR_OK);
        assert_null(memmem(buf_str(&bytes).ptr, bytes.len, key + 8, 20));
        assert_null(
            memmem(buf_str(&bytes).ptr, bytes.len, s->made.token + 8, 20));
        buf_fini(&bytes);
    }
}

static void add_model(struct state *s)
{
    state_must(s, 201, "POST", "/v1/engines",
        "{\"name\":\"local\",\"url\":\"http://127.0.0.1:1\"}");
    state_must(s, 201, "POST", "/v1/models",
        "{\"name\":\"small\",\"engine\":\"local\",\"status\":\"approved\","
        "\"aliases\":[\"gpt-4o\"]}");
}

static void test_engines_and_models(void **context)
{
    struct state *s = *context;

    state_refused(s, 400, "POST", "/v1/engines",
        "{\"name\":\"e\",\"url\":\"ftp://x\"}", "url");
    state_refused(s, 400, "POST", "/v1/engines",
        "{\"name\":\"e\",\"url\":\"http://h:1\",\"healthPath\":\"health\"}",
        "slash");
    state_refused(s, 400, "POST", "/v1/engines",
        "{\"name\":\"e\",\"url\":\"http://h:1\",\"credentialFile\":\"x\"}",
        "no absolute path");
    state_refused(s, 400, "POST", "/v1/engines",
        "{\"name\":\"e\",\"url\":\"https://h\",\"caFile\":\"/no/such\"}",
        "cannot be read");
    add_model(s);
    state_refused(s, 404, "POST", "/v1/models",
        "{\"name\":\"m\",\"engine\":\"locl\"}", "did you mean \"local\"?");
    state_refused(s, 409, "POST", "/v1/models", "{\"name\":\"gpt-4o\"}",
        "alias of another");
    state_refused(s, 409, "POST", "/v1/models/small/aliases",
        "{\"alias\":\"small\"}", "is the name of a model");
    state_refused(s, 409, "POST", "/v1/models/small/aliases",
        "{\"alias\":\"gpt-4o\"}", "alias already");
    state_must(s, 200, "GET", "/v1/models/gpt-4o", NULL);
    state_must(s, 201, "POST", "/v1/models/small/targets",
        "{\"engine\":\"local\",\"upstream\":\"s2\",\"priority\":1}");
    state_must(
        s, 200, "DELETE", "/v1/models/small/targets/local?upstream=s2", NULL);
    state_refused(s, 404, "DELETE",
        "/v1/models/small/targets/local?upstream=s2", NULL, "does not run on");
    state_refused(
        s, 409, "DELETE", "/v1/engines/local", NULL, "models still run");
    state_refused(
        s, 409, "POST", "/v1/models/small/approve", "{}", "approved already");
    state_must(s, 200, "POST", "/v1/models/gpt-4o/retire", "{}");
    state_must(s, 201, "POST", "/v1/model-groups/large/models",
        "{\"model\":\"small\"}");
    state_must(s, 200, "DELETE", "/v1/model-groups/large/models/small", NULL);
    state_refused(
        s, 409, "DELETE", "/v1/model-groups/large", NULL, "named by rule");
}

static void test_quotas(void **context)
{
    struct state *s = *context;
    json_t *answer = NULL;
    const json_t *item;
    char path[100];

    state_must(s, 200, "PUT", "/v1/quotas",
        "{\"scope\":\"team\",\"subject\":\"interns\",\"dimension\":\"tokens\","
        "\"window\":\"day\",\"amount\":1000}");
    /* the same again changes it */
    state_must(s, 200, "PUT", "/v1/quotas",
        "{\"scope\":\"team\",\"subject\":\"interns\",\"dimension\":\"tokens\","
        "\"window\":\"day\",\"amount\":2000}");
    state_must(s, 200, "PUT", "/v1/quotas",
        "{\"scope\":\"organisation\",\"dimension\":\"requests\",\"window\":"
        "\"minute\",\"amount\":10}");
    state_refused(s, 400, "PUT", "/v1/quotas",
        "{\"scope\":\"team\",\"dimension\":\"tokens\",\"window\":\"day\","
        "\"amount\":1}",
        "which team");
    state_refused(s, 400, "PUT", "/v1/quotas",
        "{\"scope\":\"organisation\",\"dimension\":\"tokens\",\"window\":"
        "\"day\",\"amount\":9007199254740992}",
        "amount");
    assert_int_equal(
        state_call(s, "GET", "/v1/quotas/usage", NULL, &answer), 200);
    assert_int_equal(json_array_size(json_object_get(answer, "items")), 2);
    json_decref(answer);
    assert_int_equal(
        state_call(
            s, "GET", "/v1/quotas?scope=team&subject=interns", NULL, &answer),
        200);
    item = json_array_get(json_object_get(answer, "items"), 0);
    assert_int_equal(json_integer_value(json_object_get(item, "amount")), 2000);
    snprintf(path, sizeof path, "/v1/quotas/%s", text_of(item, "id"));
    json_decref(answer);
    state_must(s, 200, "DELETE", path, NULL);
    state_refused(s, 404, "DELETE", path, NULL, "no quota");
}

static void test_settings_of_the_organisation(void **context)
{
    struct state *s = *context;

    state_refused(s, 404, "PUT", "/v1/settings/zon", "{\"value\":\"UTC\"}",
        "did you mean \"zone\"?");
    state_refused(
        s, 400, "PUT", "/v1/settings/zone", "{\"value\":\"Mars\"}", "zone");
    state_refused(s, 400, "PUT", "/v1/settings/holidays",
        "{\"value\":\"2026-12-25,x\"}", "is no date");
    state_must(s, 200, "PUT", "/v1/settings/holidays",
        "{\"value\":\"2026-12-25, 2026-12-26\"}");
    state_must(
        s, 200, "PUT", "/v1/settings/require_approvals", "{\"value\":\"2\"}");
    state_refused(s, 403, "PUT", "/v1/settings/require_approvals",
        "{\"value\":\"1\"}", "two people");
}

/* --- Rules -------------------------------------------------------------------
 */

#define RULE(id)                                                               \
    "@id(\\\"" id "\\\") @title(\\\"t\\\") permit (principal in "              \
    "Team::\\\"everyone\\\", action in Action::\\\"infer\\\", resource);"

static void test_rules_are_checked_before_they_are_stored(void **context)
{
    struct state *s = *context;

    state_refused(s, 400, "POST", "/v1/policies",
        "{\"text\":\"permit (principal\",\"name\":\"x.cedar\"}", "x.cedar:1:");
    state_refused(s, 400, "POST", "/v1/policies",
        "{\"text\":\"@id(\\\"a\\\") @title(\\\"t\\\") permit (principal in "
        "Team::\\\"everyon\\\", action, resource);\"}",
        "everyone");
    state_refused(s, 404, "GET", "/v1/policies/2", NULL, "2");
}

static void test_two_people(void **context)
{
    struct state *s = *context;
    char author[100], approver[100];

    add_administrator(s, "author", "policy-author", author);
    add_administrator(s, "approver", "approver", approver);
    state_must(
        s, 200, "PUT", "/v1/settings/require_approvals", "{\"value\":\"1\"}");
    /* offline acts are never an approval */
    state_must(s, 201, "POST", "/v1/policies", "{\"text\":\"" RULE("a") "\"}");
    state_must(s, 200, "POST", "/v1/policies/2/submit", "{}");
    state_refused(s, 403, "POST", "/v1/policies/2/approve", "{}", "");
    s->offline = false;
    snprintf(s->authorization, sizeof s->authorization, "%s", author);
    state_must(s, 201, "POST", "/v1/policies", "{\"text\":\"" RULE("b") "\"}");
    state_refused(s, 403, "POST", "/v1/policies/3/activate", "{}", "approval");
    state_must(s, 200, "POST", "/v1/policies/3/submit", "{}");
    state_refused(s, 403, "POST", "/v1/policies/3/approve", "{}",
        "the role \"policy-author\" may not");
    snprintf(s->authorization, sizeof s->authorization, "%s", approver);
    state_must(s, 200, "POST", "/v1/policies/3/approve", "{}");
    snprintf(s->authorization, sizeof s->authorization, "%s", author);
    state_must(s, 200, "POST", "/v1/policies/3/activate", "{}");
    state_must(s, 200, "POST", "/v1/policies/rollback", "{}");
}

static void test_try_and_handles(void **context)
{
    struct state *s = *context;
    json_t *answer = NULL;

    add_model(s);
    state_must(s, 201, "POST", "/v1/callers", "{\"handle\":\"bob\"}");
    assert_int_equal(state_call(s, "POST", "/v1/policies/try",
                         "{\"caller\":\"bob\",\"model\":\"gpt-4o\"}", &answer),
        200);
    assert_true(json_is_false(json_object_get(answer, "allowed")));
    json_decref(answer);
    /* a draft names him by handle; what is stored has his id */
    assert_int_equal(
        state_call(s, "POST", "/v1/policies",
            "{\"text\":\"@id(\\\"b\\\") @title(\\\"t\\\") permit (principal == "
            "Caller::\\\"bob\\\", action, resource);\"}",
            &answer),
        201);
    json_decref(answer);
    assert_int_equal(
        state_call(s, "GET", "/v1/policies/2", NULL, &answer), 200);
    assert_null(strstr(text_of(answer, "text"), "bob"));
    assert_non_null(strstr(text_of(answer, "shown"), "Caller::\"bob\""));
    json_decref(answer);
    assert_int_equal(
        state_call(s, "POST", "/v1/policies/try",
            "{\"caller\":\"bob\",\"model\":\"small\",\"version\":2}", &answer),
        200);
    assert_true(json_is_true(json_object_get(answer, "allowed")));
    json_decref(answer);
}

static void test_onboard(void **context)
{
    struct state *s = *context;
    json_t *answer = NULL;
    const json_t *steps;

    add_model(s);
    state_refused(s, 404, "POST", "/v1/onboard",
        "{\"handle\":\"eve\",\"team\":\"new\",\"models\":[\"smal\"]}",
        "did you mean \"small\"?");
    /* all or nothing: neither team nor caller */
    state_refused(s, 404, "GET", "/v1/teams/new", NULL, "no team");
    state_refused(s, 404, "GET", "/v1/callers/eve", NULL, "no caller");
    assert_int_equal(
        state_call(s, "POST", "/v1/onboard",
            "{\"handle\":\"eve\",\"team\":\"new\",\"models\":[\"gpt-4o\"],"
            "\"tokensPerDay\":5000}",
            &answer),
        201);
    steps = json_object_get(answer, "steps");
    assert_int_equal(json_array_size(steps), 8);
    assert_true(json_is_true(json_object_get(answer, "policyActive")));
    json_decref(answer);
    assert_int_equal(state_call(s, "POST", "/v1/policies/try",
                         "{\"caller\":\"eve\",\"model\":\"small\"}", &answer),
        200);
    assert_true(json_is_true(json_object_get(answer, "allowed")));
    json_decref(answer);
}

static void test_onboard_under_approval(void **context)
{
    struct state *s = *context;
    json_t *answer = NULL;

    add_model(s);
    state_must(
        s, 200, "PUT", "/v1/settings/require_approvals", "{\"value\":\"1\"}");
    assert_int_equal(
        state_call(s, "POST", "/v1/onboard",
            "{\"handle\":\"eve\",\"team\":\"new\",\"models\":[\"small\"]}",
            &answer),
        201);
    assert_true(json_is_false(json_object_get(answer, "policyActive")));
    json_decref(answer);
    assert_int_equal(
        state_call(s, "GET", "/v1/policies/2", NULL, &answer), 200);
    assert_string_equal(text_of(answer, "state"), "submitted");
    json_decref(answer);
}

static void test_anchors(void **context)
{
    struct state *s = *context;

    state_refused(s, 400, "POST", "/v1/anchors",
        "{\"name\":\"a\",\"kind\":\"file\",\"target\":\"x\"}", "absolute");
    state_must(s, 201, "POST", "/v1/anchors",
        "{\"name\":\"a\",\"kind\":\"file\",\"target\":\"/mnt/x\"}");
    state_must(s, 200, "GET", "/v1/anchors", NULL);
    state_must(s, 200, "DELETE", "/v1/anchors/a", NULL);
    state_refused(s, 404, "DELETE", "/v1/anchors/a", NULL, "no anchor");
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, state_setup, state_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nobody_without_a_credential),
        TEST(test_tokens),
        TEST(test_over_the_network_only_a_token_counts),
        TEST(test_a_mapped_uid),
        TEST(test_who_is_on_record),
        TEST(test_a_change_of_nothing_is_refused),
        TEST(test_the_description_is_served),
        TEST(test_the_matrix_of_roles),
        TEST(test_auditors_only_read),
        TEST(test_an_operation_without_a_rule_is_refused),
        TEST(test_refusals_are_recorded_once_in_a_while),
        TEST(test_the_last_administrator_stays),
        TEST(test_bad_requests),
        TEST(test_all_errors_at_once),
        TEST(test_health_needs_no_credential),
        TEST(test_teams),
        TEST(test_callers_and_keys),
        TEST(test_secrets_are_nowhere_in_the_state),
        TEST(test_engines_and_models),
        TEST(test_quotas),
        TEST(test_settings_of_the_organisation),
        TEST(test_rules_are_checked_before_they_are_stored),
        TEST(test_two_people),
        TEST(test_try_and_handles),
        TEST(test_onboard),
        TEST(test_onboard_under_approval),
        TEST(test_anchors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
