/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/proxy/retention_test.c - what expires, what must not, what holds
 * and the lock refuse, and that an interrupted destruction is finished. */
#include "tests/unit/proxy/state_fixture.h"

#include "audit/blob.h"
#include "lib/clock.h"
#include "proxy/admin/admin_priv.h"

#include <time.h>
#include <utime.h>

#define ID STR("01J9ZQ3V7Y8X6W5T4S3R2Q1P0N")

static json_t *ask(struct state *s, const char *method, const char *path,
    const char *body, int status)
{
    json_t *answer = NULL;
    int got = state_call(s, method, path, body, &answer);

    if (got != status) {
        char *text = json_dumps(answer, JSON_ENCODE_ANY);
        fail_msg("%s %s: %d %s", method, path, got, text ? text : "");
    }
    return answer;
}

static void done(struct state *s, const char *method, const char *path,
    const char *body, int status)
{
    json_decref(ask(s, method, path, body, status));
}

static json_int_t number(const json_t *answer, const char *name)
{
    const json_t *value = json_object_get(answer, name);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static json_int_t run_retention(struct state *s, json_int_t *held)
{
    json_t *answer = ask(s, "POST", "/v1/retention/run", "", 200);
    json_int_t destroyed = number(answer, "destroyed");

    if (held)
        *held = number(answer, "held");
    json_decref(answer);
    return destroyed;
}

static json_int_t recorded(struct state *s, const char *type)
{
    char path[128];
    json_t *answer;
    json_int_t count;

    snprintf(path, sizeof path, "/v1/audit/records?type=%s&limit=1000", type);
    answer = ask(s, "GET", path, NULL, 200);
    count = (json_int_t)json_array_size(json_object_get(answer, "rows"));
    json_decref(answer);
    return count;
}

/* A key of the caller that is `days` old, with a kept file under it. */
static struct seal_key old_key(
    struct state *s, const char *caller, const char *class, int64_t days)
{
    struct errinfo info = {0};
    struct seal_key key;

    if (keyring_get_class(control_keyring(s->control), str_from(caller),
            str_from(class), clock_now() - days * DAY_US, &key,
            &info) != ERR_OK ||
        blob_folder_make(s->dir, &info) != ERR_OK ||
        blob_write(s->dir, str_from(key.id), ID, BLOB_REQUEST, STR("bytes"), 0,
            &info) != ERR_OK)
        fail_msg("%s", info.text);
    return key;
}

static bool is_there(struct state *s, const struct seal_key *key)
{
    struct errinfo info = {0};
    struct seal_key found;
    char path[256];
    bool file;
    bool opens = keyring_find(control_keyring(s->control), str_from(key->id),
                     &found, &info) == ERR_OK;

    snprintf(path, sizeof path, "%s/blobs/%s", s->dir, key->id);
    file = file_exists(path);
    assert_int_equal(opens, file); /* both or neither */
    if (opens)
        assert_memory_equal(found.key, key->key, sizeof found.key);
    return opens;
}

static char *add_caller(struct state *s, const char *handle)
{
    char body[128];
    json_t *answer;
    char *id;

    snprintf(
        body, sizeof body, "{\"handle\":\"%s\",\"name\":\"N. N.\"}", handle);
    answer = ask(s, "POST", "/v1/callers", body, 201);
    id = strdup(json_string_value(json_object_get(answer, "id")));
    json_decref(answer);
    return id;
}

static void test_periods(void **context)
{
    struct state *s = *context;
    char *ann = add_caller(s, "ann");
    struct seal_key now, old, young, six;

    done(s, "PUT", "/v1/retention/classes/six", "{\"profile\":\"hipaa\"}", 200);
    now = old_key(s, ann, "default", 0);
    young = old_key(s, ann, "default", 150);
    old = old_key(s, ann, "default", 184 + 40);
    six = old_key(s, ann, "six", 184 + 40);
    assert_int_equal(run_retention(s, NULL), 1);
    assert_true(is_there(s, &now));
    assert_true(is_there(s, &young));
    assert_false(is_there(s, &old));
    assert_true(is_there(s, &six));
    assert_int_equal(run_retention(s, NULL), 0);
    assert_int_equal(recorded(s, "audit.retention_begun"), 1);
    assert_int_equal(recorded(s, "audit.keys_destroyed"), 1);
    assert_int_equal(recorded(s, "audit.retention_completed"), 1);
    assert_int_equal(recorded(s, "audit.retention_run"), 2);
    /* A shorter period: what is older goes, too. */
    done(s, "PUT", "/v1/retention/classes/default", "{\"days\":30}", 200);
    assert_int_equal(run_retention(s, NULL), 1);
    assert_false(is_there(s, &young));
    assert_true(is_there(s, &now));
    free(ann);
}

static void test_certificate(void **context)
{
    struct state *s = *context;
    char *ann = add_caller(s, "ann"), path[256];
    struct seal_key old = old_key(s, ann, "default", 400);
    json_t *answer = ask(s, "POST", "/v1/retention/run", "", 200), *file;
    const json_t *d = json_array_get(json_object_get(answer, "disposals"), 0);
    struct buf text;
    uint8_t digest[SHA256_SIZE];
    char hex[65];

    assert_int_equal(number(d, "keys"), 1);
    assert_int_equal(number(d, "files"), 1);
    assert_int_equal(number(d, "bytes"), 5);
    snprintf(path, sizeof path, "%s/certificates/%s.json", s->dir,
        json_string_value(json_object_get(d, "id")));
    buf_init(&text, 65536);
    assert_int_equal(file_read(path, &text, NULL), ERR_OK);
    crypto_sha256(digest, buf_str(&text).ptr, text.len);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(
        hex, json_string_value(json_object_get(d, "certificate")));
    file = json_loadb(buf_str(&text).ptr, text.len, 0, NULL);
    assert_string_equal(
        json_string_value(json_object_get(
            json_array_get(json_object_get(file, "keys"), 0), "id")),
        old.id);
    assert_int_equal(
        number(json_object_get(json_object_get(file, "classes"), "default"),
            "days"),
        184);
    json_decref(file);
    json_decref(answer);
    buf_fini(&text);
    free(ann);
}

static void test_lock(void **context)
{
    struct state *s = *context;
    char *ann = add_caller(s, "ann");
    struct seal_key old = old_key(s, ann, "default", 400);

    done(s, "POST", "/v1/retention/lock", "{\"days\":1000}", 200);
    assert_int_equal(run_retention(s, NULL), 0);
    assert_true(is_there(s, &old));
    /* Nobody shortens it, nor goes round it. */
    done(s, "POST", "/v1/retention/lock", "{\"days\":999}", 409);
    done(s, "POST", "/v1/retention/lock", "{\"days\":1000}", 409);
    done(s, "PUT", "/v1/retention/classes/default", "{\"days\":999}", 409);
    done(s, "PUT", "/v1/retention/classes/new", "{\"days\":1}", 409);
    done(s, "PUT", "/v1/retention/classes/new", "{\"days\":1000}", 200);
    done(s, "POST", "/v1/retention/lock", "{\"days\":1001}", 200);
    assert_int_equal(run_retention(s, NULL), 0);
    assert_int_equal(recorded(s, "admin.retention_lock.raised"), 2);
    free(ann);
}

static void test_holds(void **context)
{
    struct state *s = *context;
    char *ann = add_caller(s, "ann"), *ben = add_caller(s, "ben");
    struct seal_key held = old_key(s, ann, "default", 400);
    struct seal_key free_one = old_key(s, ben, "default", 400);
    json_int_t pinned = 0;
    json_t *hold;

    done(s, "POST", "/v1/holds", "{\"name\":\"x\",\"caller\":\"ann\"}", 400);
    hold = ask(s, "POST", "/v1/holds",
        "{\"name\":\"case-7\",\"caller\":\"ann\",\"reason\":\"a claim\","
        "\"basis\":\"art. 17(3)(e)\"}",
        201);
    assert_true(number(hold, "keys") >= 1);
    json_decref(hold);
    assert_int_equal(run_retention(s, &pinned), 1);
    assert_int_equal(pinned, 1);
    assert_true(is_there(s, &held));
    assert_false(is_there(s, &free_one));
    /* Erasure is refused, on record, and has done nothing. */
    done(s, "POST", "/v1/audit/subjects/ann/erase",
        "{\"reason\":\"asked for\",\"basis\":\"art. 17\"}", 409);
    assert_true(is_there(s, &held));
    assert_int_equal(recorded(s, "audit.erasure_refused"), 1);
    assert_int_equal(recorded(s, "audit.erasure_begun"), 0);
    done(s, "GET", "/v1/callers/ann", NULL, 200);
    /* Released: both go on. */
    done(
        s, "POST", "/v1/holds/case-7/release", "{\"reason\":\"settled\"}", 200);
    done(s, "POST", "/v1/holds/case-7/release", "{\"reason\":\"again\"}", 409);
    assert_int_equal(run_retention(s, &pinned), 1);
    assert_int_equal(pinned, 0);
    assert_false(is_there(s, &held));
    free(ann);
    free(ben);
}

static void test_holds_of_a_time_and_a_team(void **context)
{
    struct state *s = *context;
    char *ann = add_caller(s, "ann"), *ben = add_caller(s, "ben");
    struct seal_key older = old_key(s, ann, "default", 800);
    struct seal_key old = old_key(s, ann, "default", 400);
    struct seal_key bens = old_key(s, ben, "default", 400);
    char body[300], since[CLOCK_TEXT_LENGTH];
    json_int_t pinned;

    done(s, "POST", "/v1/teams", "{\"name\":\"lab\"}", 201);
    done(s, "POST", "/v1/teams", "{\"name\":\"wet\",\"parent\":\"lab\"}", 201);
    done(s, "PATCH", "/v1/callers/ann", "{\"join\":[\"wet\"]}", 200);
    clock_format(since, clock_now() - 500 * DAY_US);
    snprintf(body, sizeof body,
        "{\"name\":\"lab-2\",\"team\":\"lab\",\"since\":\"%.*s\",\"reason\":"
        "\"r\",\"basis\":\"b\"}",
        CLOCK_TEXT_LENGTH, since);
    done(s, "POST", "/v1/holds", body, 201);
    assert_int_equal(run_retention(s, &pinned), 2);
    assert_int_equal(pinned, 1);
    assert_true(is_there(s, &old)); /* in the team below, in that time */
    assert_false(is_there(s, &older));
    assert_false(is_there(s, &bens));
    free(ann);
    free(ben);
}

static void test_erasure(void **context)
{
    struct state *s = *context;
    char *ann = add_caller(s, "ann"), path[128];
    struct seal_key first, second, exempt;
    json_t *answer;

    done(s, "PUT", "/v1/retention/classes/broker", "{\"profile\":\"sec17a4\"}",
        200);
    /* Whoever relied on the exemption finds it. */
    done(s, "PUT", "/v1/retention/classes/broker", "{\"days\":2192}", 409);
    first = old_key(s, ann, "default", 0);
    second = old_key(s, ann, "default", 100);
    exempt = old_key(s, ann, "broker", 100);
    done(
        s, "POST", "/v1/callers/ann/keys", "{\"label\":\"ann's laptop\"}", 201);
    done(s, "POST", "/v1/audit/subjects/ann/erase", "{\"reason\":\"x\"}", 400);
    answer = ask(s, "POST", "/v1/audit/subjects/ann/erase",
        "{\"reason\":\"asked for\",\"basis\":\"GDPR art. 17\"}", 200);
    assert_int_equal(number(answer, "keys"), 2);
    assert_int_equal(number(answer, "files"), 2);
    assert_int_equal(number(answer, "exempt"), 1);
    json_decref(answer);
    assert_false(is_there(s, &first));
    assert_false(is_there(s, &second));
    assert_true(is_there(s, &exempt));
    done(s, "GET", "/v1/callers/ann", NULL, 404);
    snprintf(path, sizeof path, "/v1/callers/%s", ann);
    answer = ask(s, "GET", path, NULL, 200);
    assert_true(json_is_true(json_object_get(answer, "disabled")));
    assert_true(json_is_null(json_object_get(answer, "handle")));
    assert_int_equal(number(answer, "keys"), 0);
    json_decref(answer);
    snprintf(path, sizeof path, "/v1/callers/%s/enable", ann);
    done(s, "POST", path, "", 409);
    snprintf(path, sizeof path, "/v1/audit/subjects/%s/erase", ann);
    done(s, "POST", path, "{\"reason\":\"x\",\"basis\":\"y\"}", 409);
    assert_int_equal(recorded(s, "audit.erasure_begun"), 1);
    assert_int_equal(recorded(s, "audit.erasure_completed"), 1);
    assert_int_equal(recorded(s, "admin.caller.disabled"), 1);
    assert_int_equal(recorded(s, "admin.key.revoked"), 1);
    /* The handle is free for somebody else. */
    free(add_caller(s, "ann"));
    free(ann);
}

/* As after a crash behind the first of the two changes. */
static void test_interrupted(void **context)
{
    struct state *s = *context;
    char *ann = add_caller(s, "ann"), sql[600];
    struct seal_key one = old_key(s, ann, "default", 0), two;
    struct errinfo info = {0};
    struct control_actor actor = {.method = "offline"};
    struct audit_act act = {.type = STR("audit.erasure_begun"),
        .object_kind = STR("caller"),
        .object = str_from(ann)};

    two = old_key(s, ann, "default", 40);
    assert_int_equal(control_begin(s->control, &info), ERR_OK);
    snprintf(sql, sizeof sql,
        "INSERT INTO disposal (id, kind, subject, reason, basis, begun, keys) "
        "VALUES ('01J9ZQ3V7Y8X6W5T4S3R2Q1P0D', 'erasure', '%s', 'r', 'b', 1, "
        "2);"
        "INSERT INTO disposal_key VALUES ('01J9ZQ3V7Y8X6W5T4S3R2Q1P0D', '%s');"
        "INSERT INTO disposal_key VALUES ('01J9ZQ3V7Y8X6W5T4S3R2Q1P0D', '%s');",
        ann, one.id, two.id);
    assert_int_equal(db_execute(control_db(s->control), sql, &info), ERR_OK);
    assert_int_equal(control_record(s->control, &actor, &act, &info), ERR_OK);
    assert_int_equal(control_commit(s->control, 0, &info), ERR_OK);
    assert_true(is_there(s, &one));
    state_close(s);
    state_open(s);
    assert_false(is_there(s, &one));
    assert_false(is_there(s, &two));
    assert_int_equal(recorded(s, "audit.erasure_completed"), 1);
    done(s, "GET", "/v1/callers/ann", NULL, 404);
    state_close(s);
    state_open(s);
    assert_int_equal(recorded(s, "audit.erasure_completed"), 1);
    free(ann);
}

/* Nothing of the name or the keys is left in a file. */
static bool holds_bytes(const char *path, const void *bytes, size_t size)
{
    struct buf file;
    bool found;

    buf_init(&file, 64u << 20);
    assert_int_equal(file_read(path, &file, NULL), ERR_OK);
    found = memmem(buf_str(&file).ptr, file.len, bytes, size) != NULL;
    buf_fini(&file);
    return found;
}

static void test_nothing_is_left(void **context)
{
    struct state *s = *context;
    char persons[200], control[200];
    struct db_statement *select;
    uint8_t wrapped[200];
    struct errinfo info = {0};
    size_t size;
    char *ann = add_caller(s, "annabelle");
    struct seal_key key = old_key(s, ann, "default", 0);

    done(s, "POST", "/v1/callers/annabelle/keys",
        "{\"label\":\"the laptop of annabelle\"}", 201);
    snprintf(persons, sizeof persons, "%s/persons.db", s->dir);
    snprintf(control, sizeof control, "%s/control.db", s->dir);
    assert_int_equal(
        db_prepare(control_persons(s->control),
            "SELECT wrapped FROM sealing_key WHERE id = ?1", &select, &info),
        ERR_OK);
    db_bind_text(select, 1, str_from(key.id));
    assert_int_equal(db_step(select, &info), ERR_OK);
    size = db_column_blob(select, 0).len;
    memcpy(wrapped, db_column_blob(select, 0).ptr, size);
    db_reset(select);
    assert_true(holds_bytes(persons, wrapped, size));
    assert_true(holds_bytes(persons, "annabelle", 9));
    assert_true(holds_bytes(control, "annabelle", 9)); /* the label */
    done(s, "POST", "/v1/audit/subjects/annabelle/erase",
        "{\"reason\":\"asked for\",\"basis\":\"GDPR art. 17\"}", 200);
    assert_false(holds_bytes(persons, wrapped, size));
    assert_false(holds_bytes(persons, "annabelle", 9));
    assert_false(holds_bytes(control, "annabelle", 9));
    free(ann);
}

static void test_teams(void **context)
{
    struct state *s = *context;

    done(s, "POST", "/v1/teams", "{\"name\":\"lab\"}", 201);
    done(s, "PUT", "/v1/retention/teams/lab", "{\"class\":\"six\"}", 404);
    done(s, "PUT", "/v1/retention/classes/six", "{\"profile\":\"hipaa\"}", 200);
    done(s, "PUT", "/v1/retention/classes/six",
        "{\"profile\":\"hipaa\",\"days\":10}", 400);
    done(s, "PUT", "/v1/retention/teams/lab", "{\"class\":\"six\"}", 200);
    done(s, "PUT", "/v1/retention/teams/nobody", "{\"class\":\"six\"}", 404);
    done(s, "DELETE", "/v1/retention/teams/lab", NULL, 200);
    done(s, "DELETE", "/v1/retention/teams/lab", NULL, 404);
    assert_int_equal(recorded(s, "admin.retention_team.set"), 1);
    assert_int_equal(recorded(s, "admin.retention_class.set"), 1);
}

/* A rule names classes that exist; "default" always does. */
static void test_rules_name_classes(void **context)
{
    struct state *s = *context;
    static const char rule[] =
        "{\"text\":\"@id(\\\"a\\\") @title(\\\"t\\\") "
        "@retain(\\\"%s\\\") permit (principal, action, resource);\"}";
    char body[300];
    json_t *answer;
    char *text;

    done(s, "PUT", "/v1/retention/classes/six", "{\"profile\":\"hipaa\"}", 200);
    snprintf(body, sizeof body, rule, "sixx");
    answer = ask(s, "POST", "/v1/policies", body, 400);
    text = json_dumps(answer, 0);
    assert_non_null(strstr(text, "did you mean \\\"six\\\"?"));
    free(text);
    json_decref(answer);
    snprintf(body, sizeof body, rule, "six");
    done(s, "POST", "/v1/policies", body, 201);
    snprintf(body, sizeof body, rule, "default");
    done(s, "POST", "/v1/policies", body, 201);
}

static size_t digests_of_a_text(struct state *s)
{
    static uint8_t out[DIGEST_KEYS_MAX][SHA256_SIZE];
    struct errinfo info = {0};
    size_t count = 0;

    if (keyring_digests(s->dir, STR("a text"), out, DIGEST_KEYS_MAX, &count,
            &info) != ERR_OK)
        fail_msg("%s", info.text);
    return count;
}

static json_int_t digest_keys_destroyed(struct state *s)
{
    json_t *answer = ask(s, "POST", "/v1/retention/run", "", 200);
    json_int_t count = number(answer, "digestKeys");

    json_decref(answer);
    return count;
}

static void test_digest_keys(void **context)
{
    struct state *s = *context;
    struct control_actor actor = {.method = "offline"};
    struct audit_act act = {.type = STR("admin.test")};
    struct errinfo info = {0};
    struct buf file;
    char path[200], name[8];
    uint8_t key[32], next[32];

    done(s, "PUT", "/v1/settings/digest_key_days", "{\"value\":\"0\"}", 200);
    keyring_digest_key(control_keyring(s->control), key, name);
    assert_string_equal(name, "1");
    done(s, "POST", "/v1/retention/digest-key", "", 200);
    keyring_digest_key(control_keyring(s->control), next, name);
    assert_string_equal(name, "2");
    assert_memory_not_equal(key, next, sizeof key);
    assert_int_equal(digests_of_a_text(s), 2); /* old ones are kept */
    assert_int_equal(digest_keys_destroyed(s), 0);
    /* As if it had been replaced long ago. */
    assert_int_equal(control_begin(s->control, &info), ERR_OK);
    assert_int_equal(db_execute(control_db(s->control),
                         "UPDATE digest_key SET replaced = 1", &info),
        ERR_OK);
    assert_int_equal(control_record(s->control, &actor, &act, &info), ERR_OK);
    assert_int_equal(control_commit(s->control, 0, &info), ERR_OK);
    done(s, "POST", "/v1/holds",
        "{\"name\":\"h\",\"reason\":\"r\",\"basis\":\"b\"}", 201);
    assert_int_equal(digest_keys_destroyed(s), 0);
    done(s, "POST", "/v1/holds/h/release", "{\"reason\":\"r\"}", 200);
    assert_int_equal(digest_keys_destroyed(s), 1);
    assert_int_equal(digest_keys_destroyed(s), 0);
    assert_int_equal(digests_of_a_text(s), 1);
    assert_int_equal(recorded(s, "audit.digest_key_destroyed"), 1);
    snprintf(path, sizeof path, "%s/keys/digest-1.key", s->dir);
    buf_init(&file, 4096);
    assert_int_equal(file_read(path, &file, NULL), ERR_OK);
    assert_string_equal(buf_cstr(&file), "destroyed\n");
    buf_fini(&file);
    /* The current one is not destroyed, and is found at the next start. */
    assert_int_equal(
        keyring_destroy_digest(control_keyring(s->control), s->dir, 2, &info),
        ERR_INVALID);
    state_close(s);
    state_open(s);
    keyring_digest_key(control_keyring(s->control), key, name);
    assert_string_equal(name, "2");
    assert_memory_equal(key, next, sizeof key);
}

static bool digest_key_rotated(struct state *s)
{
    json_t *answer = ask(s, "POST", "/v1/retention/run", "", 200);
    bool rotated = json_is_true(json_object_get(answer, "digestKeyRotated"));

    json_decref(answer);
    return rotated;
}

/* The first by the age of its file, later ones by when they took over. */
static void test_digest_key_period(void **context)
{
    struct state *s = *context;
    struct control_actor actor = {.method = "offline"};
    struct audit_act act = {.type = STR("admin.test")};
    struct errinfo info = {0};
    struct utimbuf old = {0};
    char path[200], name[8];
    uint8_t key[32];

    state_refused(s, 400, "PUT", "/v1/settings/digest_key_days",
        "{\"value\":\"often\"}", "digest_key_days: \"often\" is no number");
    assert_false(digest_key_rotated(s));
    snprintf(path, sizeof path, "%s/keys/digest-1.key", s->dir);
    old.actime = old.modtime = time(NULL) - 91 * 86400;
    assert_int_equal(utime(path, &old), 0);
    done(s, "PUT", "/v1/settings/digest_key_days", "{\"value\":\"0\"}", 200);
    assert_false(digest_key_rotated(s));
    done(s, "PUT", "/v1/settings/digest_key_days", "{\"value\":\"92\"}", 200);
    assert_false(digest_key_rotated(s));
    done(s, "PUT", "/v1/settings/digest_key_days", "{\"value\":\"90\"}", 200);
    assert_true(digest_key_rotated(s));
    assert_false(digest_key_rotated(s));
    keyring_digest_key(control_keyring(s->control), key, name);
    assert_string_equal(name, "2");
    assert_int_equal(digests_of_a_text(s), 2);
    assert_int_equal(recorded(s, "admin.digest_key.rotated"), 1);
    assert_int_equal(control_begin(s->control, &info), ERR_OK);
    assert_int_equal(db_execute(control_db(s->control),
                         "UPDATE digest_key SET replaced = replaced - "
                         "91 * 86400000000",
                         &info),
        ERR_OK);
    assert_int_equal(control_record(s->control, &actor, &act, &info), ERR_OK);
    assert_int_equal(control_commit(s->control, 0, &info), ERR_OK);
    assert_true(digest_key_rotated(s));
    keyring_digest_key(control_keyring(s->control), key, name);
    assert_string_equal(name, "3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_periods, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(
            test_certificate, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(test_lock, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(
            test_holds, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(
            test_holds_of_a_time_and_a_team, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(
            test_erasure, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(
            test_interrupted, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(
            test_nothing_is_left, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(
            test_teams, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(
            test_rules_name_classes, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(
            test_digest_keys, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(
            test_digest_key_period, state_setup, state_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
