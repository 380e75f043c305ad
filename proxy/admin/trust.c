/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/trust.c - trust domains: whose client certificates are
 * believed. The bundle stands in the row, under the control digest; of the
 * authorities in it the record has names and fingerprints. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "proxy/trust.h"

#include <stdlib.h>

#define DOMAIN_COLUMNS                                                         \
    "SELECT name, spiffe, bundle, crl_file, created FROM trust_domain "
#define AUTHORITIES_MAX 24 /* of one bundle: an event holds them all */
#define SUBJECT_SHOWN_MAX 256

/* --- As JSON ------------------------------------------------------------- */

struct listing {
    json_t *items;
};

static void list_authority(void *context, const struct certificate_facts *facts)
{
    struct listing *listing = context;
    json_t *one = json_object();
    struct str subject = facts->subject_text;

    while (subject.len > SUBJECT_SHOWN_MAX ||
           (subject.len > 0 && !str_is_utf8(subject)))
        subject.len--;
    admin_set_text(one, "fingerprint", str_from(facts->fingerprint));
    admin_set_text(one, "subject", subject);
    admin_set_time(one, "until", facts->not_after_us);
    json_array_append_new(listing->items, one);
}

static json_t *domain_json(struct db_statement *s)
{
    struct listing listing = {json_array()};
    struct errinfo why = {0};
    struct str crl_file = db_column_text(s, 3);
    json_t *domain = json_object();

    admin_set_text(domain, "name", db_column_text(s, 0));
    admin_set_text(domain, "spiffe", db_column_text(s, 1));
    if (trust_describe_bundle(
            db_column_text(s, 2), list_authority, &listing, &why) != ERR_OK)
        json_array_clear(listing.items); /* the snapshot says why */
    admin_set(domain, "authorities", listing.items);
    admin_set_text(domain, "crlFile", crl_file);
    admin_set_time(domain, "created", db_column_int(s, 4));
    return domain;
}

/* What stands in the way now; not in events. */
static void add_problem(json_t *domain)
{
    const char *file = json_string_value(json_object_get(domain, "crlFile"));
    struct errinfo why = {0};

    if (file && file[0] != '\0' && trust_check_crl(file, &why) != ERR_OK)
        admin_set_text(domain, "problem", str_from(why.text));
}

enum err handle_trust_domain_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items = json_array(), *one;
    size_t i;
    enum err err =
        db_prepare(call->db, DOMAIN_COLUMNS "ORDER BY name", &s, &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, domain_json(s));
    json_array_foreach(items, i, one) add_problem(one);
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

static enum err read_domain(
    struct admin_call *call, struct str name, json_t **out)
{
    struct db_statement *s;
    enum err err = admin_need(call, call->db, "trust domain",
        "SELECT 1 FROM trust_domain WHERE name = ?1",
        "SELECT name FROM trust_domain", name);

    if (!err)
        err = db_prepare(
            call->db, DOMAIN_COLUMNS "WHERE name = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err)
        *out = domain_json(s);
    db_reset(s);
    return err;
}

/* --- Checks -------------------------------------------------------------- */

struct domain_body {
    struct str name, spiffe, bundle, crl_file;
};

struct comparing {
    struct admin_call *call;
    struct str name;      /* of the domain whose bundle is being made */
    const json_t *others; /* domains */
    int64_t now_us;
    size_t count;
    enum err err;
};

static void compare_authority(
    void *context, const struct certificate_facts *facts)
{
    struct comparing *c = context;
    const json_t *domain, *one;
    size_t i, k;

    c->count++;
    if (facts->not_after_us <= c->now_us)
        c->err = FAIL(c->call, ERR_INVALID,
            "bundle: the authority \"%.*s\" has expired",
            STR_ARG(facts->subject_text));
    json_array_foreach(c->others, i, domain)
    {
        const char *name = json_string_value(json_object_get(domain, "name"));
        if (str_equal(str_from(name), c->name))
            continue;
        json_array_foreach(json_object_get(domain, "authorities"), k, one)
        {
            const char *is =
                json_string_value(json_object_get(one, "fingerprint"));
            if (is && strcmp(is, facts->fingerprint) == 0)
                c->err = FAIL(c->call, ERR_INVALID,
                    "bundle: the authority \"%.*s\" is that of trust domain "
                    "\"%s\" already; which of the two vouches for a "
                    "certificate would be open",
                    STR_ARG(facts->subject_text), name);
        }
    }
}

static bool holds(struct str text, struct str what)
{
    for (size_t i = 0; i + what.len <= text.len; i++)
        if (memcmp(text.ptr + i, what.ptr, what.len) == 0)
            return true;
    return false;
}

static enum err check_bundle(
    struct admin_call *call, const struct domain_body *body)
{
    struct comparing comparing = {
        .call = call, .name = body->name, .now_us = clock_now()};
    struct db_statement *s;
    struct errinfo why = {0};
    json_t *others = json_array();
    enum err err = holds(body->bundle, STR("PRIVATE KEY"))
                       ? FAIL(call, ERR_INVALID,
                             "bundle: a private key stands in it; give the "
                             "authorities' certificates alone, and make new "
                             "keys: this one has been sent around")
                       : db_prepare(call->db, DOMAIN_COLUMNS "ORDER BY name",
                             &s, &call->info);

    if (!err) {
        while ((err = db_step(s, &call->info)) == ERR_OK)
            json_array_append_new(others, domain_json(s));
        err = err == ERR_NOTFOUND ? ERR_OK : err;
    }
    comparing.others = others;
    if (!err && trust_describe_bundle(
                    body->bundle, compare_authority, &comparing, &why))
        err = FAIL(call, ERR_INVALID, "bundle: %s", why.text);
    if (!err)
        err = comparing.err;
    if (!err && comparing.count > AUTHORITIES_MAX)
        err = FAIL(call, ERR_LIMIT, "bundle: more than %d authorities",
            AUTHORITIES_MAX);
    json_decref(others);
    return err;
}

static enum err check_crl_file(struct admin_call *call, struct str file)
{
    const char *path = arena_cstr(call->arena, file);
    struct errinfo why = {0};

    if (!path)
        return FAIL(call, ERR_NOMEM, "out of memory");
    if (path[0] == '\0')
        return ERR_OK;
    if (path[0] != '/')
        return FAIL(call, ERR_INVALID,
            "crlFile: \"%s\" is no absolute path; the server may run in "
            "another directory",
            path);
    return trust_check_crl(path, &why) == ERR_OK
               ? ERR_OK
               : FAIL(call, ERR_INVALID, "crlFile: %s", why.text);
}

/* --- Changes ------------------------------------------------------------- */

static enum err write_domain(struct admin_call *call,
    const struct domain_body *body, const char *sql, bool fresh)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db, sql, &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, body->name);
    db_bind_text(s, 2, body->bundle);
    db_bind_text(s, 3, body->crl_file.ptr ? body->crl_file : STR(""));
    if (fresh) {
        db_bind_text(s, 4, body->spiffe.ptr ? body->spiffe : STR(""));
        db_bind_int(s, 5, clock_now());
    }
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "there is a trust domain \"%.*s\" already, or one of that SPIFFE "
            "trust domain",
            STR_ARG(body->name));
    return err;
}

#define AT(member) offsetof(struct domain_body, member)
enum err handle_trust_domain_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"name", FIELD_NAME, true, AT(name), 0, 0, NULL},
        {"bundle", FIELD_TEXT, true, AT(bundle), 1, TRUST_BUNDLE_MAX, NULL},
        {"spiffe", FIELD_TEXT, false, AT(spiffe), 1, 255, NULL},
        {"crlFile", FIELD_TEXT, false, AT(crl_file), 1, 1000, NULL},
    };
    struct domain_body body = {.name = STR("")};
    json_t *domain;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err && body.spiffe.len > 0 &&
        !certificate_is_spiffe_domain(body.spiffe))
        err = FAIL(call, ERR_INVALID,
            "spiffe: \"%.*s\" is no trust domain: lower-case letters, digits "
            "and . - _, without \"spiffe://\"",
            STR_ARG(body.spiffe));
    if (!err)
        err = check_bundle(call, &body);
    if (!err)
        err = check_crl_file(call, body.crl_file);
    if (err || (err = admin_begin(call)))
        return err;
    err = write_domain(call, &body,
        "INSERT INTO trust_domain (name, bundle, crl_file, spiffe, created) "
        "VALUES (?1, ?2, ?3, ?4, ?5)",
        true);
    if (!err)
        err = read_domain(call, body.name, &domain);
    if (err)
        return err;
    err = admin_record(call, "admin.trust_domain.added", "trust-domain",
        body.name, NULL, json_incref(domain), NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_TRUST);
    if (!err)
        return admin_answer(call, 201, domain);
    json_decref(domain);
    return err;
}

static enum err read_bundle(
    struct admin_call *call, struct str name, struct domain_body *out)
{
    struct db_statement *s;
    enum err err =
        db_prepare(call->db, DOMAIN_COLUMNS "WHERE name = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err) {
        out->name = name;
        out->bundle = admin_column(call, s, 2);
        out->crl_file = admin_column(call, s, 3);
    }
    db_reset(s);
    return err;
}

enum err handle_trust_domain_change(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"bundle", FIELD_TEXT, false, AT(bundle), 1, TRUST_BUNDLE_MAX, NULL},
        {"crlFile", FIELD_TEXT, false, AT(crl_file), 0, 1000, NULL},
    };
    struct domain_body body, fresh = {.name = STR("")};
    json_t *before = NULL, *domain = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &fresh);

    if (!err && !fresh.bundle.ptr && !fresh.crl_file.ptr)
        err = FAIL(call, ERR_INVALID,
            "nothing would change: give a bundle or a crlFile");
    if (err || (err = admin_begin(call)))
        return err;
    err = read_domain(call, call->params[0], &before);
    if (err)
        return err;
    err = read_bundle(call, call->params[0], &body);
    if (!err && fresh.bundle.ptr) {
        body.bundle = fresh.bundle;
        err = check_bundle(call, &body);
    }
    if (!err && fresh.crl_file.ptr) {
        body.crl_file = fresh.crl_file;
        err = check_crl_file(call, body.crl_file);
    }
    if (!err)
        err = write_domain(call, &body,
            "UPDATE trust_domain SET bundle = ?2, crl_file = ?3 WHERE name = "
            "?1",
            false);
    if (!err)
        err = read_domain(call, body.name, &domain);
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.trust_domain.changed", "trust-domain",
        body.name, before, json_incref(domain), NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_TRUST);
    if (!err)
        return admin_answer(call, 200, domain);
    json_decref(domain);
    return err;
}

enum err handle_trust_domain_remove(struct admin_call *call)
{
    struct db_statement *s;
    json_t *before = NULL;
    enum err err = admin_begin(call);

    if (!err)
        err = read_domain(call, call->params[0], &before);
    if (err)
        return err;
    err = db_prepare(
        call->db, "DELETE FROM trust_domain WHERE name = ?1", &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, call->params[0]);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.trust_domain.removed", "trust-domain",
        call->params[0], before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_TRUST);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}
