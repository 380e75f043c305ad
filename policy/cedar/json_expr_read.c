/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/json_expr_read.c - expressions of JSON policies to trees.
 *
 * Recursion is bounded by CEDAR_EXPR_DEPTH_MAX; chains of && and || that lean
 * to the left, as they are written out, are read in a loop. Pure. */
#include "policy/cedar/json_entities.h"
#include "policy/cedar/json_policy_priv.h"

#include <stdlib.h>

typedef enum err expr_reader(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out);

static enum err read_expr(const struct policy_reader *r, uint32_t at,
    unsigned depth, const struct cedar_expr **out);
static enum err read_value(const struct policy_reader *r, uint32_t at,
    unsigned depth, const struct cedar_expr **out);

/* --- Making nodes --- */

static enum err make(const struct policy_reader *r,
    const struct cedar_expr *proto, const struct cedar_expr *const *items,
    uint32_t count, const struct cedar_expr **out)
{
    enum err err = cedar_expr_make(r->arena, proto, items, count, out);
    if (err == ERR_LIMIT) {
        return errinfo_set(r->info, err,
            "expressions may nest %d levels deep, this goes deeper",
            CEDAR_EXPR_DEPTH_MAX);
    }
    if (err == ERR_EXISTS) {
        return errinfo_set(
            r->info, ERR_SYNTAX, "a key stands twice in a record");
    }
    return err;
}

static enum err make_literal(const struct policy_reader *r,
    struct cedar_value value, const struct cedar_expr **out)
{
    struct cedar_expr proto = {.kind = CEDAR_EXPR_LITERAL, .value = value};
    return make(r, &proto, NULL, 0, out);
}

static const struct cedar_expr **room(
    const struct policy_reader *r, uint32_t count)
{
    return ARENA_ARRAY(r->arena, count + 1u, const struct cedar_expr *);
}

/* --- Values: extension calls in them stay calls, which may fail later --- */

static enum err read_elements(const struct policy_reader *r, uint32_t at,
    unsigned depth, bool values, const struct cedar_expr *const **out,
    uint32_t *count)
{
    const struct cedar_expr **items = room(r, r->json->tokens[at].count);
    uint32_t n = 0;
    if (!items) {
        return ERR_NOMEM;
    }
    for (JSON_EACH_ELEMENT(r->json, at, item)) {
        enum err err = values ? read_value(r, item, depth + 1, &items[n])
                              : read_expr(r, item, depth + 1, &items[n]);
        if (err != ERR_OK) {
            return err;
        }
        n++;
    }
    *out = items;
    *count = n;
    return ERR_OK;
}

static enum err read_record(const struct policy_reader *r, uint32_t at,
    unsigned depth, bool values, const struct cedar_expr **out)
{
    uint32_t n = 0, count = r->json->tokens[at].count;
    const struct cedar_expr **items = room(r, count);
    struct cedar_key *keys =
        ARENA_ARRAY(r->arena, count + 1u, struct cedar_key);
    if (!items || !keys) {
        return ERR_NOMEM;
    }
    for (JSON_EACH_MEMBER(r->json, at, member)) {
        struct str name;
        enum err err = policy_json_string(r, member, &name);
        if (err == ERR_OK) {
            err = values ? read_value(r, member + 1, depth + 1, &items[n])
                         : read_expr(r, member + 1, depth + 1, &items[n]);
        }
        if (err != ERR_OK) {
            return err;
        }
        keys[n++] = cedar_key_make(name);
    }
    struct cedar_expr proto = {
        .kind = CEDAR_EXPR_RECORD, .path = keys, .path_count = n};
    return make(r, &proto, items, n, out);
}

/* The content of an __extn. A function that does not exist fails when it is
 * evaluated, not before; a call of ip() without its argument does just that. */
static enum err read_extension(const struct policy_reader *r, uint32_t at,
    unsigned depth, const struct cedar_expr **out)
{
    uint32_t fn = json_find(r->json, at, STR("fn"));
    uint32_t one = json_find(r->json, at, STR("arg"));
    uint32_t many = json_find(r->json, at, STR("args"));
    bool listed = one == JSON_NONE && many != JSON_NONE &&
                  json_type(r->json, many) == JSON_ARRAY;
    if (fn == JSON_NONE || json_type(r->json, fn) != JSON_STRING ||
        (one == JSON_NONE && !listed)) {
        return errinfo_set(r->info, ERR_SYNTAX,
            "__extn has to look like {\"fn\": \"ip\", \"arg\": \"10.0.0.1\"}");
    }
    struct str name;
    const struct cedar_expr *const *items = NULL;
    uint32_t count = 1;
    enum err err = policy_json_type_name(r, fn, &name);
    if (err == ERR_OK && listed) {
        err = read_elements(r, many, depth, true, &items, &count);
    } else if (err == ERR_OK) {
        const struct cedar_expr **single = room(r, 1);
        err = single ? read_value(r, one, depth + 1, &single[0]) : ERR_NOMEM;
        items = single;
    }
    if (err != ERR_OK) {
        return err;
    }
    const struct cedar_function_info *function = cedar_function_find(name);
    struct cedar_expr proto = {.kind = CEDAR_EXPR_CALL,
        .function =
            function ? (uint8_t)cedar_function_id(function) : CEDAR_FN_IP};
    return make(r, &proto, items, function ? count : 0, out);
}

static enum err alone(
    const struct policy_reader *r, uint32_t object, const char *escape)
{
    if (r->json->tokens[object].count != 1) {
        return errinfo_set(r->info, ERR_SYNTAX,
            "%s has to be the only key of its object", escape);
    }
    return ERR_OK;
}

static enum err read_object_value(const struct policy_reader *r, uint32_t at,
    unsigned depth, const struct cedar_expr **out)
{
    if (json_find(r->json, at, STR("__expr")) != JSON_NONE) {
        return errinfo_set(
            r->info, ERR_SYNTAX, "the __expr escape is not supported");
    }
    if (json_find(r->json, at, STR("__entity")) != JSON_NONE) {
        struct cedar_uid *uid = ARENA_NEW(r->arena, struct cedar_uid);
        if (!uid) {
            return ERR_NOMEM;
        }
        enum err err = cedar_json_ref(r->json, at, r->arena, uid, r->info);
        return err == ERR_OK ? make_literal(r, cedar_entity(uid), out) : err;
    }
    uint32_t extension = json_find(r->json, at, STR("__extn"));
    if (extension != JSON_NONE) {
        enum err err = alone(r, at, "__extn");
        return err == ERR_OK ? read_extension(r, extension, depth, out) : err;
    }
    return read_record(r, at, depth, true, out);
}

static enum err too_deep(const struct policy_reader *r)
{
    return errinfo_set(r->info, ERR_LIMIT,
        "expressions may nest %d levels deep, this goes deeper",
        CEDAR_EXPR_DEPTH_MAX);
}

static enum err read_value(const struct policy_reader *r, uint32_t at,
    unsigned depth, const struct cedar_expr **out)
{
    struct cedar_value value;
    if (depth > CEDAR_EXPR_DEPTH_MAX) {
        return too_deep(r);
    }
    if (json_type(r->json, at) == JSON_OBJECT) {
        return read_object_value(r, at, depth, out);
    }
    if (json_type(r->json, at) == JSON_ARRAY) {
        struct cedar_expr proto = {.kind = CEDAR_EXPR_SET};
        const struct cedar_expr *const *items;
        uint32_t count;
        enum err err = read_elements(r, at, depth, true, &items, &count);
        return err == ERR_OK ? make(r, &proto, items, count, out) : err;
    }
    enum err err =
        cedar_json_value(r->json, at, NULL, r->arena, &value, r->info);
    return err == ERR_OK ? make_literal(r, value, out) : err;
}

/* --- Operators --- */

static enum err read_operands(const struct policy_reader *r, uint32_t at,
    const char *const *names, uint32_t count, unsigned depth, uint8_t kind,
    const struct cedar_expr **out)
{
    uint32_t values[3];
    const struct cedar_expr **items = room(r, count);
    struct cedar_expr proto = {.kind = kind};
    if (!items) {
        return ERR_NOMEM;
    }
    enum err err = policy_json_members(
        r, at, "an operator", names, (1u << count) - 1, false, values);
    for (uint32_t i = 0; err == ERR_OK && i < count; i++) {
        err = read_expr(r, values[i], depth + 1, &items[i]);
    }
    return err == ERR_OK ? make(r, &proto, items, count, out) : err;
}

static const char *const pair_names[] = {"left", "right", NULL};

static enum err read_unary(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    static const char *const names[] = {"arg", NULL};
    return read_operands(r, at, names, 1, depth, kind, out);
}

static enum err read_binary(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    return read_operands(r, at, pair_names, 2, depth, kind, out);
}

static enum err read_if(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    static const char *const names[] = {"if", "then", "else", NULL};
    return read_operands(r, at, names, 3, depth, kind, out);
}

/* `at` is the operator's object; gives that of its left operand when this is
 * the same operator again, else JSON_NONE. */
static enum err left_of_chain(const struct policy_reader *r, uint32_t at,
    const char *name, uint32_t *left, uint32_t *right, uint32_t *next)
{
    uint32_t values[2];
    enum err err =
        policy_json_members(r, at, name, pair_names, 3, false, values);
    if (err != ERR_OK) {
        return err;
    }
    *left = values[0];
    *right = values[1];
    *next = JSON_NONE;
    if (json_type(r->json, *left) == JSON_OBJECT &&
        r->json->tokens[*left].count == 1 &&
        json_string_equals(r->json, *left + 1, str_from(name))) {
        *next = *left + 2;
    }
    return ERR_OK;
}

static enum err read_chain(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    const char *name = kind == CEDAR_EXPR_AND ? "&&" : "||";
    uint32_t count = 1, left = JSON_NONE, right = JSON_NONE;
    uint32_t place = at, next = JSON_NONE;
    enum err err = ERR_OK;
    do {
        err = left_of_chain(r, place, name, &left, &right, &next);
        count++;
        place = next;
    } while (err == ERR_OK && next != JSON_NONE);
    const struct cedar_expr **items = err == ERR_OK ? room(r, count) : NULL;
    if (!items) {
        return err == ERR_OK ? ERR_NOMEM : err;
    }
    /* From the right end to the left one. */
    place = at;
    for (uint32_t i = count - 1; err == ERR_OK && i > 0; i--) {
        err = left_of_chain(r, place, name, &left, &right, &next);
        if (err == ERR_OK) {
            err = read_expr(r, right, depth + 1, &items[i]);
        }
        place = next;
    }
    if (err == ERR_OK) {
        err = read_expr(r, left, depth + 1, &items[0]);
    }
    struct cedar_expr proto = {.kind = kind};
    return err == ERR_OK ? make(r, &proto, items, count, out) : err;
}

/* --- The other nodes --- */

static enum err read_variable(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    static const char *const names[] = {
        "principal", "action", "resource", "context"};
    for (uint8_t i = 0; i < 4; i++) {
        if (json_type(r->json, at) == JSON_STRING &&
            json_string_equals(r->json, at, str_from(names[i]))) {
            struct cedar_expr proto = {.kind = kind, .variable = i};
            return make(r, &proto, NULL, 0, out);
        }
    }
    return errinfo_set(r->info, ERR_SYNTAX,
        "\"Var\" has to be \"principal\", \"action\", \"resource\" or "
        "\"context\"");
}

static enum err read_slot(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    return errinfo_set(r->info, ERR_SYNTAX,
        "a slot cannot stand in a condition: slots belong into the scope of a "
        "template");
}

static enum err read_literal(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    return read_value(r, at, depth, out);
}

/* One attribute, or for `has` a path of them. */
static enum err read_path(
    const struct policy_reader *r, uint32_t at, struct cedar_expr *proto)
{
    bool listed =
        proto->kind == CEDAR_EXPR_HAS && json_type(r->json, at) == JSON_ARRAY;
    uint32_t count = listed ? r->json->tokens[at].count : 1, n = 0;
    struct cedar_key *keys =
        ARENA_ARRAY(r->arena, count + 1u, struct cedar_key);
    if (!keys) {
        return ERR_NOMEM;
    }
    if (count == 0) {
        return errinfo_set(r->info, ERR_SYNTAX, "\"attr\" is an empty list");
    }
    uint32_t item = listed ? at + 1 : at;
    for (; n < count; item = r->json->tokens[item].next) {
        struct str name;
        enum err err = policy_json_string(r, item, &name);
        if (err != ERR_OK) {
            return err;
        }
        keys[n++] = cedar_key_make(name);
    }
    proto->path = keys;
    proto->path_count = n;
    return ERR_OK;
}

static enum err read_attribute(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    static const char *const names[] = {"left", "attr", NULL};
    uint32_t values[2];
    const struct cedar_expr **items = room(r, 1);
    struct cedar_expr proto = {.kind = kind};
    if (!items) {
        return ERR_NOMEM;
    }
    enum err err =
        policy_json_members(r, at, kind == CEDAR_EXPR_HAS ? "has" : ".", names,
            3, kind == CEDAR_EXPR_HAS, values);
    if (err == ERR_OK) {
        err = read_path(r, values[1], &proto);
    }
    if (err == ERR_OK) {
        err = read_expr(r, values[0], depth + 1, &items[0]);
    }
    return err == ERR_OK ? make(r, &proto, items, 1, out) : err;
}

/* Pieces between the stars, as the tree keeps them. */
static enum err read_pattern(
    const struct policy_reader *r, uint32_t at, struct cedar_expr *proto)
{
    static const char *const names[] = {"Literal", "Wildcard", NULL};
    uint32_t values[2], pieces = 1;
    enum err err = policy_json_expect(r, at, JSON_ARRAY, "\"pattern\"");
    if (err != ERR_OK) {
        return err;
    }
    struct cedar_pattern *pattern = arena_zalloc(
        r->arena, sizeof(*pattern) +
                      (r->json->tokens[at].count + 1u) * sizeof(struct str));
    struct buf piece;
    buf_init(&piece, r->json->text.len + 16);
    if (!pattern) {
        return ERR_NOMEM;
    }
    for (JSON_EACH_ELEMENT(r->json, at, item)) {
        bool star = json_type(r->json, item) == JSON_STRING &&
                    json_string_equals(r->json, item, STR("Wildcard"));
        if (!star && err == ERR_OK) {
            err = policy_json_members(
                r, item, "a pattern", names, 0, false, values);
            if (err == ERR_OK && r->json->tokens[item].count != 1) {
                err = errinfo_set(r->info, ERR_SYNTAX,
                    "an element of a pattern is \"Wildcard\" or "
                    "{\"Literal\": \"..\"}");
            }
            star = err == ERR_OK && values[1] != JSON_NONE;
            if (star) {
                err =
                    policy_json_expect(r, values[1], JSON_NULL, "\"Wildcard\"");
            }
        }
        if (err == ERR_OK && star) {
            pattern->pieces[pieces - 1] = arena_copy(r->arena, buf_str(&piece));
            pieces++;
            buf_clear(&piece);
        } else if (err == ERR_OK) {
            struct str text;
            err = policy_json_string(r, values[0], &text);
            if (err == ERR_OK) {
                buf_append_str(&piece, text);
            }
        }
    }
    pattern->pieces[pieces - 1] = arena_copy(r->arena, buf_str(&piece));
    pattern->count = pieces;
    proto->pattern = pattern;
    for (uint32_t i = 0; err == ERR_OK && i < pieces; i++) {
        err = pattern->pieces[i].ptr && !piece.failed ? ERR_OK : ERR_NOMEM;
    }
    buf_fini(&piece);
    return err;
}

static enum err read_like(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    static const char *const names[] = {"left", "pattern", NULL};
    uint32_t values[2];
    const struct cedar_expr **items = room(r, 1);
    struct cedar_expr proto = {.kind = kind};
    if (!items) {
        return ERR_NOMEM;
    }
    enum err err = policy_json_members(r, at, "like", names, 3, false, values);
    if (err == ERR_OK) {
        err = read_pattern(r, values[1], &proto);
    }
    if (err == ERR_OK) {
        err = read_expr(r, values[0], depth + 1, &items[0]);
    }
    return err == ERR_OK ? make(r, &proto, items, 1, out) : err;
}

static enum err read_is(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    static const char *const names[] = {"left", "entity_type", "in", NULL};
    uint32_t values[3], count = 1;
    const struct cedar_expr **items = room(r, 2);
    struct cedar_expr proto = {.kind = kind};
    if (!items) {
        return ERR_NOMEM;
    }
    enum err err = policy_json_members(r, at, "is", names, 3, false, values);
    if (err == ERR_OK) {
        err = policy_json_type_name(r, values[1], &proto.type);
    }
    if (err == ERR_OK) {
        err = read_expr(r, values[0], depth + 1, &items[0]);
    }
    if (err == ERR_OK && values[2] != JSON_NONE &&
        json_type(r->json, values[2]) != JSON_NULL) {
        count = 2;
        err = read_expr(r, values[2], depth + 1, &items[1]);
    }
    return err == ERR_OK ? make(r, &proto, items, count, out) : err;
}

static enum err read_set(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    struct cedar_expr proto = {.kind = kind};
    const struct cedar_expr *const *items;
    uint32_t count;
    enum err err = policy_json_expect(r, at, JSON_ARRAY, "\"Set\"");
    if (err == ERR_OK) {
        err = read_elements(r, at, depth, false, &items, &count);
    }
    return err == ERR_OK ? make(r, &proto, items, count, out) : err;
}

static enum err read_record_node(const struct policy_reader *r, uint32_t at,
    unsigned depth, uint8_t kind, const struct cedar_expr **out)
{
    enum err err = policy_json_expect(r, at, JSON_OBJECT, "\"Record\"");
    return err == ERR_OK ? read_record(r, at, depth, false, out) : err;
}

/* {"ip": [..]}: whether it is a function or a method makes no difference. */
static enum err read_call(const struct policy_reader *r, uint32_t key,
    unsigned depth, const struct cedar_expr **out)
{
    struct str name;
    enum err err = policy_json_string(r, key, &name);
    if (err != ERR_OK) {
        return err;
    }
    const struct cedar_function_info *function = cedar_function_find(name);
    if (!function) {
        return errinfo_set(r->info, ERR_SYNTAX,
            "there is no operator or function \"%.*s\"", STR_ARG(name));
    }
    struct cedar_expr proto = {.kind = CEDAR_EXPR_CALL,
        .function = (uint8_t)cedar_function_id(function)};
    const struct cedar_expr *const *items;
    uint32_t count;
    err = policy_json_expect(
        r, key + 1, JSON_ARRAY, "the argument list of a function");
    if (err == ERR_OK) {
        err = read_elements(r, key + 1, depth, false, &items, &count);
    }
    return err == ERR_OK ? make(r, &proto, items, count, out) : err;
}

static const struct {
    const char *name;
    uint8_t kind; /* enum cedar_expr_kind */
    expr_reader *read;
} nodes[] = {
    {"Value", CEDAR_EXPR_LITERAL, read_literal},
    {"Var", CEDAR_EXPR_VARIABLE, read_variable},
    {"Slot", CEDAR_EXPR_LITERAL, read_slot},
    {"!", CEDAR_EXPR_NOT, read_unary},
    {"neg", CEDAR_EXPR_NEGATE, read_unary},
    {"isEmpty", CEDAR_EXPR_IS_EMPTY, read_unary},
    {"==", CEDAR_EXPR_EQUAL, read_binary},
    {"!=", CEDAR_EXPR_NOT_EQUAL, read_binary},
    {"<", CEDAR_EXPR_LESS, read_binary},
    {"<=", CEDAR_EXPR_LESS_EQUAL, read_binary},
    {">", CEDAR_EXPR_GREATER, read_binary},
    {">=", CEDAR_EXPR_GREATER_EQUAL, read_binary},
    {"in", CEDAR_EXPR_IN, read_binary},
    {"+", CEDAR_EXPR_ADD, read_binary},
    {"-", CEDAR_EXPR_SUBTRACT, read_binary},
    {"*", CEDAR_EXPR_MULTIPLY, read_binary},
    {"contains", CEDAR_EXPR_CONTAINS, read_binary},
    {"containsAll", CEDAR_EXPR_CONTAINS_ALL, read_binary},
    {"containsAny", CEDAR_EXPR_CONTAINS_ANY, read_binary},
    {"hasTag", CEDAR_EXPR_HAS_TAG, read_binary},
    {"getTag", CEDAR_EXPR_GET_TAG, read_binary},
    {"&&", CEDAR_EXPR_AND, read_chain},
    {"||", CEDAR_EXPR_OR, read_chain},
    {"if-then-else", CEDAR_EXPR_IF, read_if},
    {".", CEDAR_EXPR_GET, read_attribute},
    {"has", CEDAR_EXPR_HAS, read_attribute},
    {"like", CEDAR_EXPR_LIKE, read_like},
    {"is", CEDAR_EXPR_IS, read_is},
    {"Set", CEDAR_EXPR_SET, read_set},
    {"Record", CEDAR_EXPR_RECORD, read_record_node},
};

static enum err read_expr(const struct policy_reader *r, uint32_t at,
    unsigned depth, const struct cedar_expr **out)
{
    if (depth > CEDAR_EXPR_DEPTH_MAX) {
        return too_deep(r);
    }
    if (json_type(r->json, at) != JSON_OBJECT ||
        r->json->tokens[at].count != 1) {
        return errinfo_set(r->info, ERR_SYNTAX,
            "an expression has to be an object with exactly one key");
    }
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        if (json_string_equals(r->json, at + 1, str_from(nodes[i].name))) {
            return nodes[i].read(r, at + 2, depth, nodes[i].kind, out);
        }
    }
    return read_call(r, at + 1, depth, out);
}

enum err policy_json_expr(
    const struct policy_reader *r, uint32_t at, const struct cedar_expr **out)
{
    return read_expr(r, at, 1, out);
}
