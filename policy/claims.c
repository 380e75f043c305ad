/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/claims.c - see policy/claims.h. */
#include "policy/claims.h"

#include "policy/cedar/value.h"

#include "lib/must.h"

#include <pthread.h>

extern const char schema_bailiff_cedarschema[];
extern const size_t schema_bailiff_cedarschema_length;

static const struct {
    struct str word;
    const char *cedar;
} kinds[] = {
    [POLICY_CLAIM_STRING] = {STR_INIT("string"), "String"},
    [POLICY_CLAIM_LONG] = {STR_INIT("long"), "Long"},
    [POLICY_CLAIM_BOOL] = {STR_INIT("bool"), "Bool"},
    [POLICY_CLAIM_SET] = {STR_INIT("set"), "Set<String>"},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static struct {
    pthread_mutex_t mutex;
    struct {
        char name[POLICY_CLAIM_NAME_MAX];
        size_t length;
        enum policy_claim_kind kind;
    } types[POLICY_CLAIM_TYPES_MAX];
    size_t count;
} declared = {.mutex = PTHREAD_MUTEX_INITIALIZER};

bool policy_claim_kind_find(struct str word, enum policy_claim_kind *out)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (!str_equal(word, kinds[i].word))
            continue;
        *out = (enum policy_claim_kind)i;
        return true;
    }
    return false;
}

const char *policy_claim_kind_words(enum policy_claim_kind kind)
{
    return kinds[kind].cedar;
}

bool policy_claim_name_is_good(struct str name)
{
    return name.len > 0 && name.len <= POLICY_CLAIM_NAME_MAX &&
           cedar_ident_is_valid(name);
}

enum err policy_claims_declare(
    const struct policy_claim_type *types, size_t count, struct errinfo *info)
{
    if (count > POLICY_CLAIM_TYPES_MAX)
        return errinfo_set(info, ERR_LIMIT, "more than %d attributes of claims",
            POLICY_CLAIM_TYPES_MAX);
    for (size_t i = 0; i < count; i++)
        if (!policy_claim_name_is_good(types[i].name))
            return errinfo_set(info, ERR_INVALID,
                "\"%.*s\" cannot be the name of an attribute",
                STR_ARG(types[i].name));
    pthread_mutex_lock(&declared.mutex);
    for (size_t i = 0; i < count; i++) {
        memcpy(declared.types[i].name, types[i].name.ptr, types[i].name.len);
        declared.types[i].length = types[i].name.len;
        declared.types[i].kind = types[i].kind;
    }
    declared.count = count;
    pthread_mutex_unlock(&declared.mutex);
    return ERR_OK;
}

enum err policy_schema_write(struct buf *out)
{
    static const char place[] = "type Claims = {};";
    struct str schema =
        str_make(schema_bailiff_cedarschema, schema_bailiff_cedarschema_length);
    const char *at = memmem(schema.ptr, schema.len, place, sizeof(place) - 1);

    MUST(at != NULL); /* it is ours */
    size_t before = (size_t)(at - schema.ptr),
           after = before + sizeof(place) - 1;
    buf_append(out, schema.ptr, before);
    buf_append_str(out, STR("type Claims = {"));
    pthread_mutex_lock(&declared.mutex);
    for (size_t i = 0; i < declared.count; i++)
        buf_printf(out, " %.*s?: %s,", (int)declared.types[i].length,
            declared.types[i].name,
            policy_claim_kind_words(declared.types[i].kind));
    pthread_mutex_unlock(&declared.mutex);
    buf_append_str(out, STR(" };"));
    buf_append(out, schema.ptr + after, schema.len - after);
    return out->failed ? ERR_NOMEM : ERR_OK;
}
