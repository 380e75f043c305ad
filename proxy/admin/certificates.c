/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/certificates.c - which client certificate is which caller, and
 * where certificates are asked for. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "proxy/address.h"
#include "proxy/certificate.h"
#include "proxy/secret.h"
#include "proxy/settings.h"

/* --- Mappings ------------------------------------------------------------ */

#define MAPPING_COLUMNS                                                        \
    "SELECT id, trust_domain, field, pattern, caller, prefix, created "        \
    "FROM certificate_mapping "

static json_t *mapping_json(struct db_statement *s)
{
    static const char *const texts[] = {
        "id", "trustDomain", "field", "pattern", "caller", "prefix"};
    json_t *mapping = json_object();

    for (int i = 0; i < 6; i++)
        admin_set_text(mapping, texts[i], db_column_text(s, i));
    admin_set_time(mapping, "created", db_column_int(s, 6));
    return mapping;
}

/* For people; never in an event. */
static void add_handle(struct admin_call *call, json_t *mapping)
{
    struct str id =
        str_from(json_string_value(json_object_get(mapping, "caller")));

    admin_set_text(mapping, "callerName",
        id.len > 0 ? admin_handle_of(call, id) : STR(""));
}

enum err handle_mapping_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items = json_array(), *one;
    size_t i;
    enum err err = db_prepare(call->db,
        MAPPING_COLUMNS "ORDER BY trust_domain, field, pattern", &s,
        &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, mapping_json(s));
    json_array_foreach(items, i, one) add_handle(call, one);
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

static enum err read_mapping(
    struct admin_call *call, struct str id, json_t **out)
{
    struct db_statement *s;
    enum err err = admin_need(call, call->db, "certificate mapping",
        "SELECT 1 FROM certificate_mapping WHERE id = ?1",
        "SELECT id FROM certificate_mapping", id);

    if (!err)
        err = db_prepare(
            call->db, MAPPING_COLUMNS "WHERE id = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err)
        *out = mapping_json(s);
    db_reset(s);
    return err;
}

struct mapping_body {
    struct str domain, field, pattern, caller, prefix;
};

/* The row stands in a database, and its event in a log, that no name of a
 * person may enter: such names are matched by '*' only. */
static enum err check_mapping(
    struct admin_call *call, const struct mapping_body *body)
{
    enum certificate_field field;
    struct str before, local;
    bool star = memchr(body->pattern.ptr, '*', body->pattern.len) != NULL;

    if (!certificate_field_find(body->field, &field))
        return FAIL(call, ERR_INVALID, "field: none of that name");
    if (!certificate_pattern_is_valid(field, body->pattern, &call->info))
        return ERR_INVALID;
    if (field == CERTIFICATE_EMAIL) {
        (void)str_split(body->pattern, '@', &local, &before);
        if (!str_equal(local, STR("*")))
            return FAIL(call, ERR_INVALID,
                "pattern: an address names a person, and this row is on "
                "record for good; write \"*@%.*s\" and give the caller that "
                "handle",
                STR_ARG(before));
    }
    if (body->caller.len > 0 && body->prefix.len > 0)
        return FAIL(call, ERR_INVALID,
            "give caller or prefix: a prefix goes before what the certificate "
            "says");
    if (body->caller.len > 0 && star)
        return FAIL(call, ERR_INVALID,
            "pattern: with \"*\" every certificate of that kind would be the "
            "same caller; leave the caller out, or name one certificate");
    return ERR_OK;
}

static enum err insert_mapping(struct admin_call *call,
    const struct mapping_body *body, struct str id, struct str caller)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO certificate_mapping (id, trust_domain, field, pattern, "
        "caller, prefix, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, body->domain);
    db_bind_text(s, 3, body->field);
    db_bind_text(s, 4, body->pattern);
    if (caller.len > 0)
        db_bind_text(s, 5, caller);
    else
        db_bind_null(s, 5);
    db_bind_text(s, 6, body->prefix.ptr ? body->prefix : STR(""));
    db_bind_int(s, 7, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "that pattern of trust domain \"%.*s\" is mapped already; remove "
            "the old mapping first",
            STR_ARG(body->domain));
    return err;
}

#define AT(member) offsetof(struct mapping_body, member)
enum err handle_mapping_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"trustDomain", FIELD_NAME, true, AT(domain), 0, 0, NULL},
        {"field", FIELD_WORD, true, AT(field), 0, 0,
            "uri dns email CN O OU UID serialNumber"},
        {"pattern", FIELD_TEXT, true, AT(pattern), 1, 512, NULL},
        {"caller", FIELD_NAME, false, AT(caller), 0, 0, NULL},
        {"prefix", FIELD_TEXT, false, AT(prefix), 0, 64, NULL},
    };
    struct mapping_body body = {.domain = STR("")};
    char text[ID_LENGTH + 1];
    struct str caller = STR("");
    json_t *mapping;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_mapping(call, &body);
    if (!err)
        err = admin_need(call, call->db, "trust domain",
            "SELECT 1 FROM trust_domain WHERE name = ?1",
            "SELECT name FROM trust_domain", body.domain);
    if (!err && body.caller.len > 0)
        err = admin_resolve_person(call, "cal_", body.caller, &caller);
    if (!err)
        err = id_make("map_", text, &call->info);
    if (err || (err = admin_begin(call)))
        return err;
    err = insert_mapping(call, &body, str_from(text), caller);
    if (!err)
        err = read_mapping(call, str_from(text), &mapping);
    if (err)
        return err;
    err = admin_record(call, "admin.certificate_mapping.added",
        "certificate-mapping", str_from(text), NULL, json_deep_copy(mapping),
        NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_TRUST);
    if (!err) {
        add_handle(call, mapping);
        return admin_answer(call, 201, mapping);
    }
    json_decref(mapping);
    return err;
}

static enum err delete_row(
    struct admin_call *call, const char *sql, struct str name)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db, sql, &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, name);
    return db_run(s, &call->info);
}

enum err handle_mapping_remove(struct admin_call *call)
{
    json_t *before = NULL;
    enum err err = admin_begin(call);

    if (!err)
        err = read_mapping(call, call->params[0], &before);
    if (err)
        return err;
    err = delete_row(
        call, "DELETE FROM certificate_mapping WHERE id = ?1", call->params[0]);
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.certificate_mapping.removed",
        "certificate-mapping", call->params[0], before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_TRUST);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}

/* --- Modes --------------------------------------------------------------- */

static json_t *mode_json(struct str listener, struct str mode)
{
    json_t *json = json_object();

    admin_set_text(json, "listener", listener);
    admin_set_text(json, "mode", mode);
    return json;
}

enum err handle_mode_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items = json_array();
    enum err err = db_prepare(call->db,
        "SELECT listener, mode FROM certificate_mode ORDER BY listener", &s,
        &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(
            items, mode_json(db_column_text(s, 0), db_column_text(s, 1)));
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

/* NULL: there is no row. */
static enum err read_mode(
    struct admin_call *call, struct str listener, json_t **out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT mode FROM certificate_mode WHERE listener = ?1", &s,
        &call->info);

    *out = NULL;
    if (err)
        return err;
    db_bind_text(s, 1, listener);
    err = db_step(s, &call->info);
    if (!err)
        *out = mode_json(listener, db_column_text(s, 0));
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

struct mode_body {
    struct str listener, mode;
};

/* A mode for an address that nobody listens on would protect nothing. */
static enum err check_listener(struct admin_call *call, struct str listener)
{
    struct settings *settings = NULL;
    struct buf findings, known;
    bool found = str_equal(listener, STR("*"));
    enum err err;

    if (found)
        return ERR_OK;
    buf_init(&findings, 65536);
    buf_init(&known, 4096);
    err = settings_load(control_dir(call->control), &settings, &findings);
    for (size_t i = 0; !err && i < settings->listen_count; i++) {
        found |= str_equal(listener, str_from(settings->listen[i]));
        buf_printf(&known, "%s\"%s\"", i > 0 ? ", " : "", settings->listen[i]);
    }
    if (err)
        err = FAIL(call, ERR_INVALID, "bailiff.conf cannot be read");
    else if (!found)
        err = FAIL(call, ERR_INVALID,
            "listener: \"%.*s\" is not in bailiff.conf, which has %s; give "
            "it as it stands there, or * for all",
            STR_ARG(listener), buf_cstr(&known));
    settings_free(&settings);
    buf_fini(&findings);
    buf_fini(&known);
    return err;
}

static enum err check_mode(
    struct admin_call *call, const struct mode_body *body)
{
    bool some = false;
    enum err err = check_listener(call, body->listener);

    if (!err && str_equal(body->mode, STR("required")))
        err = admin_exists(call, call->db,
            "SELECT 1 FROM trust_domain WHERE ?1 = ''", STR(""), &some);
    if (!err && str_equal(body->mode, STR("required")) && !some)
        err = FAIL(call, ERR_WRONG_STATE,
            "there is no trust domain: nobody could connect; `bailiff "
            "trust-domain add` first");
    return err;
}

enum err handle_mode_put(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"listener", FIELD_TEXT, true, offsetof(struct mode_body, listener), 1,
            ADDRESS_TEXT_MAX, NULL},
        {"mode", FIELD_WORD, true, offsetof(struct mode_body, mode), 0, 0,
            "off optional required"},
    };
    struct mode_body body = {.mode = STR("")};
    struct db_statement *s;
    json_t *before = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_mode(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = read_mode(call, body.listener, &before);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO certificate_mode (listener, mode) VALUES (?1, ?2) "
            "ON CONFLICT (listener) DO UPDATE SET mode = ?2",
            &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, body.listener);
        db_bind_text(s, 2, body.mode);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.certificate_mode.set", "certificate-mode",
        body.listener, before, mode_json(body.listener, body.mode), NULL,
        STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_TRUST);
    return err ? err
               : admin_answer(call, 200, mode_json(body.listener, body.mode));
}
