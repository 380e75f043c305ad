/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/code.c - trees to the compact form that is evaluated.
 *
 * Constants are folded into one node, nodes stand in the order in which they
 * are evaluated, and equal names share their bytes, so that a request reads
 * little memory however large the set is. Pure. */
#include "policy/cedar/cedar_priv.h"

#include <stdlib.h>

/* Recursion is bounded by the height of trees. */
uint32_t cedar_code_size(const struct cedar_expr *expr)
{
    uint32_t size = 1;
    if (expr->value.kind == CEDAR_NONE)
        for (uint32_t i = 0; i < expr->count; i++)
            size += cedar_code_size(expr->items[i]);
    return size;
}

void cedar_code_write(struct cedar_code *code, const struct cedar_expr *expr)
{
    *code = (struct cedar_code){
        .kind = expr->kind, .count = expr->count, .offset = expr->offset};
    uint32_t size = 1;
    if (expr->value.kind != CEDAR_NONE) {
        code->kind = CEDAR_EXPR_LITERAL;
        code->value = expr->value;
        code->size = size;
        return;
    }
    if (expr->kind == CEDAR_EXPR_VARIABLE)
        code->detail = expr->variable;
    else if (expr->kind == CEDAR_EXPR_CALL)
        code->detail = expr->function;
    else if (expr->kind == CEDAR_EXPR_LIKE)
        code->pattern = expr->pattern;
    else if (expr->kind == CEDAR_EXPR_IS)
        code->type = expr->type;
    else if (expr->kind == CEDAR_EXPR_GET)
        code->key = expr->path[0];
    else if (expr->kind == CEDAR_EXPR_RECORD)
        code->path = expr->path;
    if (expr->kind == CEDAR_EXPR_HAS) {
        code->count = expr->path_count;
        if (expr->path_count == 1)
            code->key = expr->path[0];
        else
            code->path = expr->path;
    }
    for (uint32_t i = 0; i < expr->count; i++) {
        cedar_code_write(code + size, expr->items[i]);
        size += code[size].size;
    }
    code->size = size;
}

/* --- Names ----------------------------------------------------------------*/

/* An open hash table that is thrown away when the code stands. */
struct names {
    struct cedar_key *keys;
    uint32_t mask, count;
    struct cedar_key slots[CEDAR_SLOTS]; /* of the context; interned */
    uint8_t slot_count;
};

static bool grow_names(struct names *names)
{
    uint32_t size = names->keys ? (names->mask + 1) * 2 : 64;
    struct cedar_key *keys = calloc(size, sizeof *keys);
    if (!keys)
        return false;
    for (uint32_t i = 0; names->keys && i <= names->mask; i++) {
        if (!names->keys[i].ptr)
            continue;
        uint32_t at = names->keys[i].hash & (size - 1);
        while (keys[at].ptr)
            at = (at + 1) & (size - 1);
        keys[at] = names->keys[i];
    }
    free(names->keys);
    names->keys = keys;
    names->mask = size - 1;
    return true;
}

static bool intern(struct names *names, struct cedar_key *key)
{
    if (key->len == 0)
        return true;
    if ((!names->keys || names->count > names->mask / 2) && !grow_names(names))
        return false;
    uint32_t at = key->hash & names->mask;
    while (names->keys[at].ptr && !cedar_key_equal(names->keys[at], *key))
        at = (at + 1) & names->mask;
    if (!names->keys[at].ptr) {
        names->keys[at] = *key;
        names->count++;
    }
    key->ptr = names->keys[at].ptr;
    return true;
}

/* Which slot the context's attribute `key` has; 0: none is left. */
static uint8_t slot_of(struct names *names, struct cedar_key key)
{
    for (uint8_t i = 0; i < names->slot_count; i++)
        if (names->slots[i].ptr == key.ptr)
            return i + 1;
    if (key.len == 0 || names->slot_count == CEDAR_SLOTS)
        return 0;
    names->slots[names->slot_count++] = key;
    return names->slot_count;
}

static bool intern_node(struct names *names, struct cedar_code *code)
{
    if (code->kind == CEDAR_EXPR_GET ||
        (code->kind == CEDAR_EXPR_HAS && code->count == 1)) {
        if (!intern(names, &code->key))
            return false;
        if (code[1].kind == CEDAR_EXPR_VARIABLE &&
            code[1].detail == CEDAR_CONTEXT)
            code->detail = slot_of(names, code->key);
        return true;
    }
    if (code->kind != CEDAR_EXPR_IS)
        return true;
    struct cedar_key key = cedar_key_make(code->type);
    bool fine = intern(names, &key);
    code->type = cedar_key_str(key);
    return fine;
}

enum err cedar_code_make(struct arena *arena,
    const struct cedar_policy *const *policies, uint32_t count,
    const struct cedar_program **programs, const struct cedar_code **code)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < policies[i]->condition_count; j++)
            total += cedar_code_size(policies[i]->conditions[j].body);
    if (total > UINT32_MAX)
        return ERR_LIMIT;
    struct cedar_program *program =
        ARENA_ARRAY(arena, count, struct cedar_program);
    struct cedar_code *nodes = ARENA_ARRAY(arena, total, struct cedar_code);
    if (!program || !nodes)
        return ERR_NOMEM;
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct cedar_policy *policy = policies[i];
        program[i] = (struct cedar_program){
            used, policy->condition_count, policy->effect};
        for (uint32_t j = 0; j < policy->condition_count; j++) {
            cedar_code_write(nodes + used, policy->conditions[j].body);
            nodes[used].unless = policy->conditions[j].unless;
            used += nodes[used].size;
        }
    }
    struct names names = {0};
    bool fine = true;
    for (uint32_t i = 0; fine && i < used; i++)
        fine = intern_node(&names, &nodes[i]);
    free(names.keys);
    *programs = program;
    *code = nodes;
    return fine ? ERR_OK : ERR_NOMEM;
}
