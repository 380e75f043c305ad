/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/pinned.c - client certificates of administrators. Each is pinned
 * by the SHA-256 of its DER, so that no authority can make another that passes
 * for it, and is one person's. With a token it is the second factor; alone it
 * signs in only whom that is allowed. When it is valid stands in the row: the
 * same digest is the same certificate. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/encode.h"
#include "proxy/certificate.h"

#define PEM_MAX (64 * 1024)

#define PINNED_COLUMNS                                                         \
    "SELECT administrator, fingerprint, label, not_before, not_after, "        \
    "created "                                                                 \
    "FROM administrator_certificate "

/* --- Who shows one ------------------------------------------------------- */

struct pinned {
    char administrator[40], role[24];
    int64_t not_before_us, not_after_us;
    bool disabled, alone;
};

/* The one on this connection. False: nobody's. */
static bool find_shown(struct admin_call *call, struct pinned *out)
{
    struct db_statement *s;
    uint8_t digest[32];
    size_t length;
    bool found = false;

    if (hex_decode(str_from(call->request->certificate), digest, sizeof digest,
            &length) != ERR_OK ||
        length != sizeof digest ||
        db_prepare(call->db,
            "SELECT administrator, role, not_before, not_after, disabled, "
            "certificate_alone FROM administrator_certificate JOIN "
            "administrator ON administrator.id = administrator WHERE "
            "fingerprint = ?1",
            &s, &call->info) != ERR_OK)
        return false;
    db_bind_blob(s, 1, digest, sizeof digest);
    if (db_step(s, &call->info) == ERR_OK) {
        snprintf(out->administrator, sizeof out->administrator, "%.*s",
            STR_ARG(db_column_text(s, 0)));
        snprintf(
            out->role, sizeof out->role, "%.*s", STR_ARG(db_column_text(s, 1)));
        out->not_before_us = db_column_int(s, 2);
        out->not_after_us = db_column_int(s, 3);
        out->disabled = db_column_int(s, 4) != 0;
        out->alone = db_column_int(s, 5) != 0;
        found = true;
    }
    db_reset(s);
    return found;
}

/* Is it in force now? */
static bool is_in_force(const struct pinned *pinned, enum admin_refusal *why)
{
    int64_t now = clock_now();

    *why = now < pinned->not_before_us ? REFUSED_EARLY_CERTIFICATE
                                       : REFUSED_EXPIRED_CERTIFICATE;
    return now >= pinned->not_before_us && now <= pinned->not_after_us;
}

static void note_certificate(struct admin_call *call)
{
    snprintf(call->actor.certificate, sizeof call->actor.certificate, "%s",
        call->request->certificate);
}

bool admin_check_certificate(struct admin_call *call, enum admin_refusal *why)
{
    struct pinned pinned;

    if (!find_shown(call, &pinned)) {
        *why = REFUSED_UNKNOWN_CERTIFICATE;
        return false;
    }
    if (strcmp(pinned.administrator, call->actor.id) != 0) {
        *why = REFUSED_ANOTHERS_CERTIFICATE;
        return false;
    }
    if (!is_in_force(&pinned, why))
        return false;
    note_certificate(call);
    return true;
}

bool admin_by_certificate(struct admin_call *call, enum admin_refusal *why)
{
    struct pinned pinned;

    if (!find_shown(call, &pinned) || pinned.disabled) {
        *why = REFUSED_UNKNOWN_CERTIFICATE;
        return false;
    }
    if (!is_in_force(&pinned, why))
        return false;
    if (!pinned.alone) {
        *why = REFUSED_CERTIFICATE_ALONE;
        return false;
    }
    snprintf(call->actor.id, sizeof call->actor.id, "%s", pinned.administrator);
    snprintf(call->actor.role, sizeof call->actor.role, "%s", pinned.role);
    call->actor.method = "certificate";
    call->actor.can_approve = true;
    note_certificate(call);
    return true;
}

enum err admin_approvals_need_certificate(struct admin_call *call, bool *out)
{
    struct str value;
    enum err err =
        admin_setting(call, "approvals_need_certificate", "false", &value);

    *out = !err && str_equal(value, STR("true"));
    return err;
}

enum err admin_count_certified(
    struct admin_call *call, struct str except, int64_t *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT count(DISTINCT administrator.id) FROM administrator JOIN "
        "administrator_certificate ON administrator = administrator.id WHERE "
        "role IN ('admin', 'approver') AND disabled = 0 AND "
        "administrator.id <> ?1 AND ?2 BETWEEN not_before AND not_after",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, except);
    db_bind_int(s, 2, clock_now());
    err = db_step(s, &call->info);
    if (!err)
        *out = db_column_int(s, 0);
    db_reset(s);
    return err;
}

/* --- Rows ---------------------------------------------------------------- */

static const char *state_of(int64_t not_before_us, int64_t not_after_us)
{
    int64_t now = clock_now();

    return now < not_before_us  ? "not_yet_valid"
           : now > not_after_us ? "expired"
                                : "active";
}

static json_t *pinned_json(struct admin_call *call, struct db_statement *s)
{
    json_t *one = json_object();

    admin_set_text(one, "administrator", admin_column(call, s, 0));
    admin_set(one, "fingerprint", admin_hex(db_column_blob(s, 1)));
    admin_set_text(one, "label", db_column_text(s, 2));
    admin_set_text(one, "state",
        str_from(state_of(db_column_int(s, 3), db_column_int(s, 4))));
    admin_set_time(one, "notBefore", db_column_int(s, 3));
    admin_set_time(one, "expires", db_column_int(s, 4));
    admin_set_time(one, "created", db_column_int(s, 5));
    return one;
}

enum err handle_pinned_list(struct admin_call *call)
{
    struct str owner;
    enum err err = admin_resolve_person(call, "adm_", call->params[0], &owner);

    if (err)
        return err;
    return admin_answer_rows_of(call,
        PINNED_COLUMNS "WHERE administrator = ?1 ORDER BY created, fingerprint",
        owner, pinned_json);
}

static enum err read_pinned(struct admin_call *call, struct str owner,
    const uint8_t fingerprint[32], json_t **out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        PINNED_COLUMNS "WHERE fingerprint = ?1 AND administrator = ?2", &s,
        &call->info);

    if (err)
        return err;
    db_bind_blob(s, 1, fingerprint, 32);
    db_bind_text(s, 2, owner);
    err = db_step(s, &call->info);
    if (!err)
        *out = pinned_json(call, s);
    db_reset(s);
    return err;
}

struct pinned_body {
    struct str certificate, label, reason;
};
#define AT(member) offsetof(struct pinned_body, member)

static enum err insert(struct admin_call *call, struct str owner,
    const struct pinned_body *body, const struct certificate_facts *facts)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO administrator_certificate (fingerprint, administrator, "
        "label, not_before, not_after, created) VALUES (?1, ?2, ?3, ?4, ?5, "
        "?6)",
        &s, &call->info);

    if (err)
        return err;
    db_bind_blob(s, 1, facts->sha256, sizeof facts->sha256);
    db_bind_text(s, 2, owner);
    db_bind_text(s, 3, body->label);
    db_bind_int(s, 4, facts->not_before_us);
    db_bind_int(s, 5, facts->not_after_us);
    db_bind_int(s, 6, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "this certificate (SHA-256 %s) is pinned already, and a "
            "certificate is one administrator's",
            facts->fingerprint);
    return err;
}

/* What can never be shown with success is not pinned. */
static enum err read_certificate(struct admin_call *call,
    const struct pinned_body *body, struct certificate_facts *out)
{
    enum err err = certificate_read_client(
        body->certificate, call->arena, out, &call->info);

    if (err == ERR_NOMEM)
        return err;
    if (err)
        return errinfo_prefix(&call->info, ERR_INVALID, "certificate");
    if (out->not_after_us <= clock_now())
        return FAIL(
            call, ERR_INVALID, "certificate: it has expired; pin a new one");
    return ERR_OK;
}

enum err handle_pinned_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"certificate", FIELD_TEXT, true, AT(certificate), 1, PEM_MAX, NULL},
        {"label", FIELD_TEXT, false, AT(label), 0, 200, NULL},
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct pinned_body body = {.label = STR(""), .reason = STR("")};
    struct certificate_facts facts;
    json_t *pinned = NULL;
    struct str owner;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = read_certificate(call, &body, &facts);
    if (!err)
        err = admin_resolve_person(call, "adm_", call->params[0], &owner);
    if (err || (err = admin_begin(call)))
        return err;
    err = insert(call, owner, &body, &facts);
    if (!err)
        err = read_pinned(call, owner, facts.sha256, &pinned);
    if (!err)
        err = admin_record(call, "admin.certificate.pinned", "administrator",
            owner, NULL, json_incref(pinned), NULL, body.reason);
    if (!err)
        err = admin_commit(call, 0);
    if (!err)
        return admin_answer(call, 201, pinned);
    json_decref(pinned);
    return err;
}

/* As `openssl x509 -fingerprint` writes it, too: AB:CD:... */
static enum err read_fingerprint(struct admin_call *call, uint8_t out[32])
{
    struct str text = call->params[1];
    struct buf plain;
    size_t length = 0;
    enum err err;

    buf_init(&plain, 128);
    for (size_t i = 0; i < text.len && plain.len <= 64; i++)
        if (text.ptr[i] != ':')
            buf_append_char(&plain, text.ptr[i]);
    err = hex_decode(buf_str(&plain), out, 32, &length);
    buf_fini(&plain);
    return !err && length == 32
               ? ERR_OK
               : FAIL(call, ERR_INVALID,
                     "\"%.*s\" is no SHA-256 in hex; `bailiff admin "
                     "certificates NAME` shows them",
                     STR_ARG(text));
}

enum err handle_pinned_remove(struct admin_call *call)
{
    struct db_statement *s;
    uint8_t fingerprint[32];
    json_t *before = NULL;
    struct str owner;
    enum err err = admin_resolve_person(call, "adm_", call->params[0], &owner);

    if (!err)
        err = read_fingerprint(call, fingerprint);
    if (!err)
        err = read_pinned(call, owner, fingerprint, &before);
    if (err == ERR_NOTFOUND && !call->info.text[0])
        err = FAIL(call, ERR_NOTFOUND,
            "no certificate with that fingerprint is pinned for this "
            "administrator; `bailiff admin certificates NAME` shows those that "
            "are");
    if (!err)
        err = admin_begin(call);
    if (!err)
        err = db_prepare(call->db,
            "DELETE FROM administrator_certificate WHERE fingerprint = ?1", &s,
            &call->info);
    if (err) {
        json_decref(before);
        return err;
    }
    db_bind_blob(s, 1, fingerprint, sizeof fingerprint);
    err = db_run(s, &call->info);
    if (err)
        json_decref(before);
    else
        err = admin_record(call, "admin.certificate.unpinned", "administrator",
            owner, before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, 0);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}
