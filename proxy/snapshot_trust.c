/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot_trust.c - trust domains, certificate mappings and modes out
 * of the database. */
#include "proxy/snapshot_priv.h"

#include "lib/log.h"

#define MAPPINGS_MAX 4096
#define MODES_MAX 64

static enum err nomem(struct errinfo *info)
{
    return errinfo_set(info, ERR_NOMEM, "out of memory");
}

static enum err too_many(struct errinfo *info, const char *what, int most)
{
    return errinfo_set(info, ERR_LIMIT, "more than %d %s", most, what);
}

static void destroy(struct part *part)
{
    trust_free(&((struct trust_part *)part)->trust);
}

static enum err read_domains(const struct snapshot_sources *sources,
    struct trust_part *p, struct errinfo *info)
{
    struct arena *scratch = arena_new(
        64 * 1024, TRUST_DOMAINS_MAX * (TRUST_BUNDLE_MAX + (size_t)4096));
    struct trust_source list[TRUST_DOMAINS_MAX];
    size_t count = 0;
    struct db_statement *s;
    enum err err = scratch ? db_prepare(sources->control,
                                 "SELECT name, spiffe, bundle, crl_file FROM "
                                 "trust_domain ORDER BY name",
                                 &s, info)
                           : nomem(info);

    while (!err && (err = db_step(s, info)) == ERR_OK) {
        if (count == TRUST_DOMAINS_MAX) {
            err = too_many(info, "trust domains", TRUST_DOMAINS_MAX);
            db_reset(s);
            break;
        }
        struct trust_source *one = &list[count++];
        one->name = arena_copy(scratch, db_column_text(s, 0));
        one->spiffe = arena_copy(scratch, db_column_text(s, 1));
        one->bundle = arena_copy(scratch, db_column_text(s, 2));
        one->crl_file = arena_cstr(scratch, db_column_text(s, 3));
        if (!one->name.ptr || !one->spiffe.ptr || !one->bundle.ptr ||
            !one->crl_file) {
            err = nomem(info);
            db_reset(s);
        }
    }
    if (err == ERR_NOTFOUND)
        err = trust_new(list, count, &p->trust, info);
    arena_free(&scratch);
    for (size_t i = 0; !err && i < count; i++)
        if (trust_why(p->trust, i)[0] != '\0')
            log_error("trust_domain_not_believed", "name=%s why=%s",
                LOG_QUOTE(p->trust ? trust_name(p->trust, i).ptr : ""),
                LOG_QUOTE(trust_why(p->trust, i)));
    return err;
}

static bool read_mapping(
    struct trust_part *p, struct db_statement *s, struct trust_mapping *out)
{
    struct arena *arena = p->part.arena;
    struct str domain = db_column_text(s, 0);
    size_t at = 0;

    while (at < trust_count(p->trust) &&
           !str_equal(trust_name(p->trust, at), domain))
        at++;
    out->domain = at; /* past the end: of nobody */
    if (!certificate_field_find(db_column_text(s, 1), &out->field))
        out->domain = SIZE_MAX;
    out->pattern = arena_copy(arena, db_column_text(s, 2));
    out->caller = arena_copy(arena, db_column_text(s, 3));
    out->prefix = arena_copy(arena, db_column_text(s, 4));
    return out->pattern.ptr && out->caller.ptr && out->prefix.ptr;
}

static enum err read_mappings(const struct snapshot_sources *sources,
    struct trust_part *p, struct errinfo *info)
{
    struct db_statement *s;
    enum err err;

    p->mappings =
        ARENA_ARRAY(p->part.arena, MAPPINGS_MAX, struct trust_mapping);
    if (!p->mappings)
        return nomem(info);
    err = db_prepare(sources->control,
        "SELECT trust_domain, field, pattern, caller, prefix FROM "
        "certificate_mapping ORDER BY id",
        &s, info);
    while (!err && (err = db_step(s, info)) == ERR_OK) {
        if (p->mapping_count == MAPPINGS_MAX)
            err = too_many(info, "certificate mappings", MAPPINGS_MAX);
        else if (!read_mapping(p, s, &p->mappings[p->mapping_count++]))
            err = nomem(info);
        if (err)
            db_reset(s);
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err read_modes(const struct snapshot_sources *sources,
    struct trust_part *p, struct errinfo *info)
{
    struct db_statement *s;
    enum err err;

    p->modes = ARENA_ARRAY(p->part.arena, MODES_MAX, struct trust_mode);
    if (!p->modes)
        return nomem(info);
    err = db_prepare(sources->control,
        "SELECT listener, mode FROM certificate_mode ORDER BY listener", &s,
        info);
    while (!err && (err = db_step(s, info)) == ERR_OK) {
        struct str word = db_column_text(s, 1);
        if (p->mode_count == MODES_MAX) {
            db_reset(s);
            return too_many(info, "listeners with a mode", MODES_MAX);
        }
        struct trust_mode *one = &p->modes[p->mode_count++];
        one->mode = str_equal(word, STR("off")) ? TLS_CERTIFICATES_OFF
                    : str_equal(word, STR("optional"))
                        ? TLS_CERTIFICATES_OPTIONAL
                        : TLS_CERTIFICATES_REQUIRED;
        one->listener = arena_copy(p->part.arena, db_column_text(s, 0));
        if (!one->listener.ptr) {
            db_reset(s);
            return nomem(info);
        }
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err snapshot_load_trust(const struct snapshot_sources *sources,
    uint64_t generation, struct trust_part **out, struct errinfo *info)
{
    struct trust_part *p = snapshot_part_new(sizeof *p, destroy);
    enum err err = p ? read_domains(sources, p, info) : nomem(info);

    if (!err)
        err = read_mappings(sources, p, info);
    if (!err)
        err = read_modes(sources, p, info);
    if (err) {
        snapshot_part_unref(p ? &p->part : NULL);
        return err;
    }
    p->generation = generation;
    *out = p;
    return ERR_OK;
}
