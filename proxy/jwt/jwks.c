/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/jwt/jwks.c - reading of key sets, and choosing the key of a token. */
#include "proxy/jwt/jwks.h"

#include "lib/arena.h"
#include "lib/encode.h"
#include "lib/json.h"

#include <stdatomic.h>
#include <stdlib.h>

#define NUMBER_MAX (PUBLIC_KEY_SIGNATURE_MAX + 1)
#define JWKS_DEPTH 16

struct jwks_key {
    char *kid; /* NULL: it has no name */
    size_t kid_length;
    enum signature_algorithm algorithm; /* SIGNATURE_NONE: any that fits */
    struct public_key *key;
};

struct jwks {
    atomic_uint references;
    struct jwks_key *keys;
    size_t count, passed_over;
    bool has_private;
    struct errinfo why;
};

struct reading {
    struct json json;
    struct arena *arena;
    struct jwks *jwks;
    uint8_t *numbers; /* two of NUMBER_MAX */
};

/* --- Members of a key ---------------------------------------------------- */

/* False: the member is there and is no string. Absent: ptr NULL. */
static bool text_member(
    const struct reading *r, uint32_t object, struct str name, struct str *out)
{
    uint32_t at = json_find(&r->json, object, name);

    *out = str_make(NULL, 0);
    return at == JSON_NONE || json_text(&r->json, at, r->arena, out) == ERR_OK;
}

static enum err number_member(const struct reading *r, uint32_t object,
    struct str name, int slot, struct str *out, struct errinfo *info)
{
    uint8_t *bytes = r->numbers + (size_t)slot * NUMBER_MAX;
    struct str text;
    size_t length;

    if (!text_member(r, object, name, &text) || text.len == 0)
        return errinfo_set(info, ERR_SYNTAX, "without \"%.*s\"", STR_ARG(name));
    if (base64url_decode(text, bytes, NUMBER_MAX, &length) != ERR_OK)
        return errinfo_set(info, ERR_SYNTAX,
            "whose \"%.*s\" is not base64url or too long", STR_ARG(name));
    *out = str_make((const char *)bytes, length);
    return ERR_OK;
}

/* RFC 7517, section 4.3: none twice; beside `use` the two say the same. */
static enum err check_operations(const struct reading *r, uint32_t operations,
    bool with_use, bool *verify, struct errinfo *info)
{
    *verify = false;
    if (json_type(&r->json, operations) != JSON_ARRAY)
        return errinfo_set(info, ERR_SYNTAX, "whose \"key_ops\" is no array");
    for (JSON_EACH_ELEMENT(&r->json, operations, item)) {
        struct str name;
        if (json_text(&r->json, item, r->arena, &name) != ERR_OK)
            return errinfo_set(
                info, ERR_SYNTAX, "whose \"key_ops\" are not texts");
        for (uint32_t before = operations + 1; before < item;
             before = r->json.tokens[before].next)
            if (json_string_equals(&r->json, before, name))
                return errinfo_set(
                    info, ERR_SYNTAX, "whose \"key_ops\" has one twice");
        if (with_use && !str_equal(name, STR("verify")) &&
            !str_equal(name, STR("sign")))
            return errinfo_set(info, ERR_UNSUPPORTED,
                "whose \"use\" and \"key_ops\" do not go together");
        *verify |= str_equal(name, STR("verify"));
    }
    return ERR_OK;
}

/* `use` and `key_ops`: may it verify? */
static enum err check_purpose(
    const struct reading *r, uint32_t object, struct errinfo *info)
{
    struct str use;
    uint32_t operations = json_find(&r->json, object, STR("key_ops"));
    bool verify = false;

    if (!text_member(r, object, STR("use"), &use) ||
        (use.ptr && !str_equal(use, STR("sig"))))
        return errinfo_set(
            info, ERR_UNSUPPORTED, "whose \"use\" is not \"sig\"");
    if (operations == JSON_NONE)
        return ERR_OK;
    enum err err =
        check_operations(r, operations, use.ptr != NULL, &verify, info);
    if (err)
        return err;
    return verify ? ERR_OK
                  : errinfo_set(info, ERR_UNSUPPORTED,
                        "whose \"key_ops\" has no \"verify\"");
}

static enum err make_ec(const struct reading *r, uint32_t object,
    struct public_key **out, struct errinfo *info)
{
    struct str curve, x, y;
    enum public_key_kind kind;

    if (!text_member(r, object, STR("crv"), &curve))
        curve = STR("");
    if (str_equal(curve, STR("P-256")))
        kind = PUBLIC_KEY_P256;
    else if (str_equal(curve, STR("P-384")))
        kind = PUBLIC_KEY_P384;
    else if (str_equal(curve, STR("P-521")))
        kind = PUBLIC_KEY_P521;
    else
        return errinfo_set(
            info, ERR_UNSUPPORTED, "of a curve that is not offered");
    enum err err = number_member(r, object, STR("x"), 0, &x, info);
    if (!err)
        err = number_member(r, object, STR("y"), 1, &y, info);
    return err ? err : public_key_ec(kind, x, y, out, info);
}

static enum err make_key(const struct reading *r, uint32_t object,
    struct public_key **out, struct errinfo *info)
{
    struct str type, first, second;
    enum err err;

    if (!text_member(r, object, STR("kty"), &type))
        type = STR("");
    if (str_equal(type, STR("RSA"))) {
        err = number_member(r, object, STR("n"), 0, &first, info);
        if (!err)
            err = number_member(r, object, STR("e"), 1, &second, info);
        return err ? err : public_key_rsa(first, second, out, info);
    }
    if (str_equal(type, STR("EC")))
        return make_ec(r, object, out, info);
    if (str_equal(type, STR("OKP"))) {
        if (!text_member(r, object, STR("crv"), &first) ||
            !str_equal(first, STR("Ed25519")))
            return errinfo_set(
                info, ERR_UNSUPPORTED, "of a curve that is not offered");
        err = number_member(r, object, STR("x"), 0, &first, info);
        return err ? err : public_key_ed25519(first, out, info);
    }
    if (str_equal(type, STR("oct")))
        return errinfo_set(info, ERR_UNSUPPORTED,
            "that is symmetric: whoever could check a token could make one");
    return errinfo_set(info, ERR_UNSUPPORTED, "of an unknown \"kty\"");
}

static enum err make_member(const struct reading *r, uint32_t object,
    struct jwks_key *out, struct errinfo *info)
{
    struct str algorithm, kid;
    enum err err = check_purpose(r, object, info);

    if (err)
        return err;
    if (!text_member(r, object, STR("kid"), &kid) || kid.len > JWKS_KID_MAX)
        return errinfo_set(
            info, ERR_SYNTAX, "whose \"kid\" is no text or too long");
    if (!text_member(r, object, STR("alg"), &algorithm))
        return errinfo_set(info, ERR_SYNTAX, "whose \"alg\" is no text");
    err = make_key(r, object, &out->key, info);
    if (err)
        return err;
    if (algorithm.ptr) {
        out->algorithm = signature_algorithm_find(algorithm);
        if (!public_key_fits(out->key, out->algorithm)) {
            public_key_free(&out->key);
            return errinfo_set(
                info, ERR_UNSUPPORTED, "whose \"alg\" is not one of its type");
        }
    }
    if (kid.ptr) {
        out->kid = malloc(kid.len + 1);
        if (!out->kid) {
            public_key_free(&out->key);
            return errinfo_set(info, ERR_NOMEM, "out of memory");
        }
        memcpy(out->kid, kid.ptr, kid.len);
        out->kid[kid.len] = '\0';
        out->kid_length = kid.len;
    }
    return ERR_OK;
}

/* --- The set ------------------------------------------------------------- */

static bool is_private(const struct reading *r, uint32_t object)
{
    return json_find(&r->json, object, STR("d")) != JSON_NONE ||
           json_find(&r->json, object, STR("k")) != JSON_NONE;
}

static enum err read_keys(
    struct reading *r, uint32_t keys, struct errinfo *info)
{
    struct jwks *jwks = r->jwks;
    size_t at = 0;

    for (JSON_EACH_ELEMENT(&r->json, keys, item)) {
        struct errinfo why = {0};
        enum err err;

        at++;
        if (json_type(&r->json, item) != JSON_OBJECT) {
            err = errinfo_set(&why, ERR_SYNTAX, "that is no object");
        } else {
            jwks->has_private |= is_private(r, item);
            err = make_member(r, item, &jwks->keys[jwks->count], &why);
        }
        if (err == ERR_OK) {
            jwks->count++;
            continue;
        }
        if (err == ERR_NOMEM)
            return errinfo_set(info, ERR_NOMEM, "out of memory");
        jwks->passed_over++;
        errinfo_set(&jwks->why, err, "key %zu is one %s", at, why.text);
    }
    return ERR_OK;
}

static enum err parse_into(
    struct str text, struct reading *r, struct errinfo *info)
{
    struct json_limits limits = {
        .max_depth = JWKS_DEPTH, .max_tokens = JWKS_TEXT_MAX};
    struct json_error error = {0};
    enum err err = json_parse(r->arena, text, &limits, &r->json, &error);
    uint32_t keys;

    if (err == ERR_NOMEM)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    if (err)
        return errinfo_set(info, ERR_SYNTAX,
            "a key set is JSON, and this is not (%s at byte %zu)", error.reason,
            error.offset);
    keys = json_type(&r->json, 0) == JSON_OBJECT
               ? json_find(&r->json, 0, STR("keys"))
               : JSON_NONE;
    if (keys == JSON_NONE || json_type(&r->json, keys) != JSON_ARRAY)
        return errinfo_set(info, ERR_SYNTAX,
            "a key set is an object with an array \"keys\" (RFC 7517)");
    size_t count = r->json.tokens[keys].count;
    if (count > JWKS_KEYS_MAX)
        return errinfo_set(info, ERR_LIMIT,
            "a key set of %zu keys; at most %d are read", count, JWKS_KEYS_MAX);
    r->jwks->keys = calloc(count + 1, sizeof *r->jwks->keys);
    r->numbers = arena_alloc(r->arena, (size_t)2 * NUMBER_MAX);
    if (!r->jwks->keys || !r->numbers)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    return read_keys(r, keys, info);
}

enum err jwks_parse(struct str text, struct jwks **out, struct errinfo *info)
{
    struct reading r = {0};
    enum err err;

    if (text.len > JWKS_TEXT_MAX)
        return errinfo_set(info, ERR_LIMIT,
            "a key set of %zu bytes; at most %u are read", text.len,
            JWKS_TEXT_MAX);
    r.jwks = calloc(1, sizeof *r.jwks);
    r.arena = arena_new(16384, 64u << 20);
    if (!r.jwks || !r.arena) {
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    atomic_init(&r.jwks->references, 1);
    err = parse_into(text, &r, info);
    if (err == ERR_OK) {
        *out = r.jwks;
        r.jwks = NULL;
    }
out:
    jwks_unref(&r.jwks);
    arena_free(&r.arena);
    return err;
}

struct jwks *jwks_ref(struct jwks *jwks)
{
    atomic_fetch_add_explicit(&jwks->references, 1, memory_order_relaxed);
    return jwks;
}

void jwks_unref(struct jwks **jwks)
{
    struct jwks *j = *jwks;

    *jwks = NULL;
    if (!j ||
        atomic_fetch_sub_explicit(&j->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; j->keys && i < j->count; i++) {
        free(j->keys[i].kid);
        public_key_free(&j->keys[i].key);
    }
    free(j->keys);
    free(j);
}

size_t jwks_count(const struct jwks *jwks)
{
    return jwks->count;
}

size_t jwks_passed_over(const struct jwks *jwks)
{
    return jwks->passed_over;
}

bool jwks_has_private(const struct jwks *jwks)
{
    return jwks->has_private;
}

const char *jwks_why(const struct jwks *jwks)
{
    return jwks->why.text;
}

/* --- Choosing ------------------------------------------------------------ */

static bool is_for(
    const struct jwks_key *key, enum signature_algorithm algorithm)
{
    return public_key_fits(key->key, algorithm) &&
           (key->algorithm == SIGNATURE_NONE || key->algorithm == algorithm);
}

static bool is_named(const struct jwks_key *key, struct str kid)
{
    return key->kid && str_equal(str_make(key->kid, key->kid_length), kid);
}

static enum jwks_result verify_any(const struct jwks *jwks,
    enum signature_algorithm algorithm, struct str message,
    struct str signature)
{
    enum jwks_result result = JWKS_UNKNOWN_KEY;
    int tries = 0;

    for (size_t i = 0; i < jwks->count && tries < JWKS_TRIES_MAX; i++) {
        if (!is_for(&jwks->keys[i], algorithm))
            continue;
        tries++;
        if (public_key_verify(jwks->keys[i].key, algorithm, message, signature))
            return JWKS_VERIFIED;
        result = JWKS_BAD_SIGNATURE;
    }
    return result;
}

/* Two keys of one name are told apart by their types only (RFC 7517, 4.5);
 * where that does not do, the name is worth nothing. */
enum jwks_result jwks_verify(const struct jwks *jwks, struct str kid,
    enum signature_algorithm algorithm, struct str message,
    struct str signature)
{
    const struct jwks_key *chosen = NULL;
    bool named = false;

    if (!kid.ptr)
        return verify_any(jwks, algorithm, message, signature);
    for (size_t i = 0; i < jwks->count; i++) {
        const struct jwks_key *key = &jwks->keys[i];
        if (!is_named(key, kid))
            continue;
        named = true;
        if (!is_for(key, algorithm))
            continue;
        if (chosen)
            return JWKS_KEY_AMBIGUOUS;
        chosen = key;
    }
    if (!chosen)
        return named ? JWKS_KEY_MISMATCH : JWKS_UNKNOWN_KEY;
    return public_key_verify(chosen->key, algorithm, message, signature)
               ? JWKS_VERIFIED
               : JWKS_BAD_SIGNATURE;
}
