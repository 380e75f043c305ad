/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/parser.c - expressions: recursive descent over tokens.
 *
 * Recursion goes through cedar_parse_expr alone, which counts its depth. Lists
 * (and the chains of && and ||) grow on the parser's own stack and are copied
 * into the arena when they close. Policies and scopes: parse_policy.c. */
#include "policy/cedar/cedar_priv.h"

#include <stdlib.h>

/* --- Growing lists --------------------------------------------------------*/

static bool push_node(struct cedar_parser *p, const struct cedar_expr *node)
{
    if (!node)
        return false;
    if (p->node_count == p->node_room) {
        size_t room = p->node_room ? p->node_room * 2 : 64;
        void *nodes = realloc(p->nodes, room * sizeof *p->nodes);
        if (!nodes)
            return cedar_parse_no_memory(p);
        p->nodes = nodes;
        p->node_room = room;
    }
    p->nodes[p->node_count++] = node;
    return true;
}

static bool push_key(struct cedar_parser *p, struct str name)
{
    if (p->key_count == p->key_room) {
        size_t room = p->key_room ? p->key_room * 2 : 64;
        void *keys = realloc(p->keys, room * sizeof *p->keys);
        if (!keys)
            return cedar_parse_no_memory(p);
        p->keys = keys;
        p->key_room = room;
    }
    p->keys[p->key_count++] = cedar_key_make(name);
    return true;
}

/* The keys from `base` on, as an array in the arena. */
static bool pop_keys(
    struct cedar_parser *p, size_t base, struct cedar_expr *proto)
{
    size_t count = p->key_count - base;
    struct cedar_key *keys = ARENA_ARRAY(p->arena, count, struct cedar_key);
    if (!keys)
        return cedar_parse_no_memory(p);
    for (size_t i = 0; i < count; i++)
        keys[i] = p->keys[base + i];
    p->key_count = base;
    proto->path = keys;
    proto->path_count = (uint32_t)count;
    return true;
}

/* A node over the nodes from `base` on. */
static const struct cedar_expr *close_node(
    struct cedar_parser *p, struct cedar_expr *proto, size_t base)
{
    size_t count = p->node_count - base;
    const struct cedar_expr **items =
        ARENA_ARRAY(p->arena, count, const struct cedar_expr *);
    if (!items) {
        cedar_parse_no_memory(p);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        items[i] = p->nodes[base + i];
    p->node_count = base;
    proto->end = p->last_end;
    const struct cedar_expr *made = NULL;
    enum err err =
        cedar_expr_make(p->arena, proto, items, (uint32_t)count, &made);
    if (err == ERR_NOMEM)
        cedar_parse_no_memory(p);
    else if (err == ERR_EXISTS)
        cedar_parse_fail(
            p, ERR_SYNTAX, proto->offset, "a key stands twice in this record");
    else if (err != ERR_OK)
        cedar_parse_fail(p, ERR_LIMIT, proto->mark,
            "expressions may nest %d levels deep, this goes deeper",
            CEDAR_EXPR_DEPTH_MAX);
    return err == ERR_OK ? made : NULL;
}

static const struct cedar_expr *node1(struct cedar_parser *p,
    struct cedar_expr *proto, const struct cedar_expr *a)
{
    size_t base = p->node_count;
    return push_node(p, a) ? close_node(p, proto, base) : NULL;
}

static const struct cedar_expr *node2(struct cedar_parser *p,
    enum cedar_expr_kind kind, uint32_t mark, const struct cedar_expr *a,
    const struct cedar_expr *b)
{
    if (!a || !b)
        return NULL;
    struct cedar_expr proto = {
        .kind = (uint8_t)kind, .offset = a->offset, .mark = mark};
    size_t base = p->node_count;
    return push_node(p, a) && push_node(p, b) ? close_node(p, &proto, base)
                                              : NULL;
}

/* --- Primaries ------------------------------------------------------------*/

static const struct cedar_expr *literal(
    struct cedar_parser *p, uint32_t offset, struct cedar_value value)
{
    struct cedar_expr proto = {.kind = CEDAR_EXPR_LITERAL,
        .offset = offset,
        .mark = offset,
        .value = value};
    return close_node(p, &proto, p->node_count);
}

static const struct cedar_expr *number(struct cedar_parser *p, bool negative)
{
    struct cedar_token token = p->token;
    struct str text = cedar_parse_token_text(p, token);
    uint64_t magnitude;
    if (str_to_u64(text, &magnitude) != ERR_OK ||
        magnitude > (uint64_t)INT64_MAX + negative) {
        cedar_parse_fail(p, ERR_SYNTAX, token.start,
            "the number `%.*s` is too large: the largest is "
            "9223372036854775807",
            STR_ARG(cedar_parse_shown(text)));
        return NULL;
    }
    cedar_parse_advance(p);
    int64_t value = (int64_t)(negative ? 0 - magnitude : magnitude);
    return literal(p, token.start, cedar_long(value));
}

/* Expressions up to the closing token, trailing comma allowed; pushed. */
static bool expressions(
    struct cedar_parser *p, enum cedar_token_kind close, const char *what)
{
    while (!cedar_parse_take(p, close)) {
        if (!push_node(p, cedar_parse_expr(p)))
            return false;
        if (cedar_parse_take(p, CEDAR_TOKEN_COMMA))
            continue;
        return cedar_parse_expect(p, close, what);
    }
    return true;
}

static const struct cedar_expr *set(struct cedar_parser *p)
{
    struct cedar_expr proto = {.kind = CEDAR_EXPR_SET,
        .offset = p->token.start,
        .mark = p->token.start};
    size_t base = p->node_count;
    cedar_parse_advance(p);
    if (!expressions(p, CEDAR_TOKEN_CLOSE_BRACKET, "`,` or `]`"))
        return NULL;
    return close_node(p, &proto, base);
}

static bool record_key(struct cedar_parser *p)
{
    struct cedar_token token = p->token;
    struct str name = cedar_parse_token_text(p, token);
    if (token.kind == CEDAR_TOKEN_STRING) {
        if (!cedar_parse_string(p, token, &name))
            return false;
    } else if (token.kind != CEDAR_TOKEN_IDENT) {
        return cedar_parse_unexpected(
            p, "a record key (a name or a string in quotes)");
    } else if (!cedar_parse_check_ident(p, token)) {
        return false;
    }
    cedar_parse_advance(p);
    return push_key(p, name);
}

static const struct cedar_expr *record(struct cedar_parser *p)
{
    struct cedar_expr proto = {.kind = CEDAR_EXPR_RECORD,
        .offset = p->token.start,
        .mark = p->token.start};
    size_t base = p->node_count, keys = p->key_count;
    cedar_parse_advance(p);
    while (!cedar_parse_take(p, CEDAR_TOKEN_CLOSE_BRACE)) {
        if (!record_key(p) ||
            !cedar_parse_expect(p, CEDAR_TOKEN_COLON, "`:`") ||
            !push_node(p, cedar_parse_expr(p)))
            return NULL;
        if (cedar_parse_take(p, CEDAR_TOKEN_COMMA))
            continue;
        if (!cedar_parse_expect(p, CEDAR_TOKEN_CLOSE_BRACE, "`,` or `}`"))
            return NULL;
        break;
    }
    return pop_keys(p, keys, &proto) ? close_node(p, &proto, base) : NULL;
}

/* The language's own methods, with their number of arguments. */
static const struct builtin {
    struct str name;
    enum cedar_expr_kind kind;
    unsigned arguments;
} builtins[] = {
    {STR_INIT("contains"), CEDAR_EXPR_CONTAINS, 1},
    {STR_INIT("containsAll"), CEDAR_EXPR_CONTAINS_ALL, 1},
    {STR_INIT("containsAny"), CEDAR_EXPR_CONTAINS_ANY, 1},
    {STR_INIT("isEmpty"), CEDAR_EXPR_IS_EMPTY, 0},
    {STR_INIT("hasTag"), CEDAR_EXPR_HAS_TAG, 1},
    {STR_INIT("getTag"), CEDAR_EXPR_GET_TAG, 1},
};
#define BUILTINS (sizeof builtins / sizeof builtins[0])

static const struct builtin *find_builtin(struct str name)
{
    for (size_t i = 0; i < BUILTINS; i++)
        if (str_equal(builtins[i].name, name))
            return &builtins[i];
    return NULL;
}

static bool unknown_call(
    struct cedar_parser *p, uint32_t offset, struct str name, bool method)
{
    const struct cedar_function_info *info = cedar_function_find(name);
    if ((info && info->is_method) || find_builtin(name))
        return cedar_parse_fail(p, ERR_SYNTAX, offset,
            "`%.*s` is a method, not a function: write x.%.*s(..)",
            STR_ARG(name), STR_ARG(name));
    if (info)
        return cedar_parse_fail(p, ERR_SYNTAX, offset,
            "`%.*s` is a function, not a method: write %.*s(x)", STR_ARG(name),
            STR_ARG(name));
    struct str candidates[CEDAR_FN_COUNT + BUILTINS];
    size_t count = 0;
    for (size_t i = 0; i < CEDAR_FN_COUNT; i++)
        if (cedar_functions[i].is_method == method)
            candidates[count++] = cedar_functions[i].name;
    for (size_t i = 0; method && i < BUILTINS; i++)
        candidates[count++] = builtins[i].name;
    struct str near = str_suggest(name, candidates, count);
    return cedar_parse_fail(p, ERR_SYNTAX, offset,
        "there is no %s `%.*s`%s%.*s%s", method ? "method" : "function",
        STR_ARG(cedar_parse_shown(name)), near.len ? "; did you mean `" : "",
        STR_ARG(near), near.len ? "`?" : "");
}

static const struct cedar_expr *call_function(
    struct cedar_parser *p, uint32_t offset, struct str name)
{
    const struct cedar_function_info *info = cedar_function_find(name);
    if (!info || info->is_method) {
        unknown_call(p, offset, name, false);
        return NULL;
    }
    struct cedar_expr proto = {.kind = CEDAR_EXPR_CALL,
        .function = (uint8_t)cedar_function_id(info),
        .offset = offset,
        .mark = offset};
    size_t base = p->node_count;
    cedar_parse_advance(p);
    if (!expressions(p, CEDAR_TOKEN_CLOSE_PAREN, "`,` or `)`"))
        return NULL;
    return close_node(p, &proto, base);
}

static bool find_variable(struct str name, uint8_t *variable)
{
    static const struct str names[] = {
        [CEDAR_PRINCIPAL] = STR_INIT("principal"),
        [CEDAR_ACTION] = STR_INIT("action"),
        [CEDAR_RESOURCE] = STR_INIT("resource"),
        [CEDAR_CONTEXT] = STR_INIT("context")};
    for (uint8_t i = 0; i < 4; i++) {
        if (str_equal(name, names[i])) {
            *variable = i;
            return true;
        }
    }
    return false;
}

static const struct cedar_expr *bad_variable(
    struct cedar_parser *p, uint32_t offset, struct str name)
{
    static const struct str known[] = {STR_INIT("principal"),
        STR_INIT("action"), STR_INIT("resource"), STR_INIT("context")};
    struct str near = str_suggest(name, known, 4);
    cedar_parse_fail(p, ERR_SYNTAX, offset,
        "there is no variable `%.*s`%s%.*s%s", STR_ARG(cedar_parse_shown(name)),
        near.len ? "; did you mean `" : "", STR_ARG(near),
        near.len ? "`?"
                 : " (there are principal, action, resource and context; an "
                   "entity is written Type::\"id\", a text \"..\")");
    return NULL;
}

static const struct cedar_expr *name_expr(struct cedar_parser *p)
{
    uint32_t offset = p->token.start;
    struct str name, id = str_make(NULL, 0);
    bool has_id;
    struct cedar_expr proto = {
        .kind = CEDAR_EXPR_VARIABLE, .offset = offset, .mark = offset};
    if (!cedar_parse_name(p, &name, &has_id, &id))
        return NULL;
    if (has_id) {
        struct cedar_uid *uid = ARENA_NEW(p->arena, struct cedar_uid);
        if (!uid) {
            cedar_parse_no_memory(p);
            return NULL;
        }
        *uid = cedar_uid_make(name, id);
        return literal(p, offset, cedar_entity(uid));
    }
    if (p->token.kind == CEDAR_TOKEN_OPEN_PAREN)
        return call_function(p, offset, name);
    if (!find_variable(name, &proto.variable))
        return bad_variable(p, offset, name);
    return close_node(p, &proto, p->node_count);
}

static const struct cedar_expr *primary(struct cedar_parser *p)
{
    struct cedar_token token = p->token;
    switch ((int)token.kind) {
    case CEDAR_TOKEN_NUMBER:
        return number(p, false);
    case CEDAR_TOKEN_STRING: {
        struct str text;
        if (!cedar_parse_string(p, token, &text))
            return NULL;
        cedar_parse_advance(p);
        return literal(p, token.start, cedar_string(text));
    }
    case CEDAR_TOKEN_OPEN_PAREN: {
        cedar_parse_advance(p);
        const struct cedar_expr *inner = cedar_parse_expr(p);
        if (!inner || !cedar_parse_expect(p, CEDAR_TOKEN_CLOSE_PAREN, "`)`"))
            return NULL;
        return inner;
    }
    case CEDAR_TOKEN_OPEN_BRACKET:
        return set(p);
    case CEDAR_TOKEN_OPEN_BRACE:
        return record(p);
    case CEDAR_TOKEN_SLOT:
        cedar_parse_fail(p, ERR_SYNTAX, token.start,
            "the slot `%.*s` cannot stand here: slots belong into the scope "
            "of a template",
            STR_ARG(cedar_parse_shown(cedar_parse_token_text(p, token))));
        return NULL;
    case CEDAR_TOKEN_IDENT:
        break;
    default:
        cedar_parse_unexpected(p, "an expression");
        return NULL;
    }
    if (cedar_parse_word(p, "true") || cedar_parse_word(p, "false")) {
        bool yes = cedar_parse_word(p, "true");
        cedar_parse_advance(p);
        return literal(p, token.start, cedar_bool(yes));
    }
    if (cedar_parse_word(p, "if")) {
        cedar_parse_fail(p, ERR_SYNTAX, token.start,
            "an `if` behind an operator must stand in parentheses");
        return NULL;
    }
    return name_expr(p);
}

/* --- Members --------------------------------------------------------------*/

/* x.name( is read up to the parenthesis. */
static const struct cedar_expr *call_method(struct cedar_parser *p,
    const struct cedar_expr *receiver, uint32_t mark, struct str name)
{
    const struct builtin *builtin = find_builtin(name);
    const struct cedar_function_info *info = cedar_function_find(name);
    if (!builtin && (!info || !info->is_method)) {
        unknown_call(p, mark, name, true);
        return NULL;
    }
    struct cedar_expr proto = {
        .kind = CEDAR_EXPR_CALL, .offset = receiver->offset, .mark = mark};
    if (builtin)
        proto.kind = (uint8_t)builtin->kind;
    else
        proto.function = (uint8_t)cedar_function_id(info);
    size_t base = p->node_count;
    cedar_parse_advance(p);
    if (!push_node(p, receiver) ||
        !expressions(p, CEDAR_TOKEN_CLOSE_PAREN, "`,` or `)`"))
        return NULL;
    size_t given = p->node_count - base - 1;
    if (builtin && given != builtin->arguments) {
        cedar_parse_fail(p, ERR_SYNTAX, mark, "`%.*s` takes %s, but got %zu",
            STR_ARG(name), builtin->arguments ? "one argument" : "no argument",
            given);
        return NULL;
    }
    return close_node(p, &proto, base);
}

static const struct cedar_expr *get(struct cedar_parser *p,
    const struct cedar_expr *from, uint32_t mark, struct str name)
{
    struct cedar_expr proto = {
        .kind = CEDAR_EXPR_GET, .offset = from->offset, .mark = mark};
    size_t keys = p->key_count;
    if (!push_key(p, name) || !pop_keys(p, keys, &proto))
        return NULL;
    return node1(p, &proto, from);
}

static const struct cedar_expr *dot(
    struct cedar_parser *p, const struct cedar_expr *from)
{
    cedar_parse_advance(p);
    struct cedar_token token = p->token;
    if (token.kind != CEDAR_TOKEN_IDENT) {
        cedar_parse_unexpected(p, "an attribute or method name behind `.`");
        return NULL;
    }
    struct str name = cedar_parse_token_text(p, token);
    if (!cedar_parse_check_ident(p, token))
        return NULL;
    cedar_parse_advance(p);
    if (p->token.kind == CEDAR_TOKEN_OPEN_PAREN)
        return call_method(p, from, token.start, name);
    return get(p, from, token.start, name);
}

static const struct cedar_expr *bracket(
    struct cedar_parser *p, const struct cedar_expr *from)
{
    cedar_parse_advance(p);
    struct cedar_token token = p->token;
    struct str name;
    if (token.kind != CEDAR_TOKEN_STRING) {
        cedar_parse_unexpected(
            p, "an attribute name in quotes (nothing else can be an index)");
        return NULL;
    }
    if (!cedar_parse_string(p, token, &name))
        return NULL;
    cedar_parse_advance(p);
    if (!cedar_parse_expect(p, CEDAR_TOKEN_CLOSE_BRACKET, "`]`"))
        return NULL;
    return get(p, from, token.start, name);
}

static const struct cedar_expr *member(struct cedar_parser *p)
{
    const struct cedar_expr *expr = primary(p);
    while (expr) {
        if (p->token.kind == CEDAR_TOKEN_DOT) {
            expr = dot(p, expr);
        } else if (p->token.kind == CEDAR_TOKEN_OPEN_BRACKET) {
            expr = bracket(p, expr);
        } else if (p->token.kind == CEDAR_TOKEN_OPEN_PAREN) {
            cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
                "this cannot be called; calls are name(..) and x.name(..)");
            return NULL;
        } else {
            break;
        }
    }
    return expr;
}

/* --- Operators ------------------------------------------------------------*/

#define UNARY_MAX 4

static const struct cedar_expr *unary(struct cedar_parser *p)
{
    enum cedar_token_kind sign = p->token.kind;
    if (sign != CEDAR_TOKEN_NOT && sign != CEDAR_TOKEN_MINUS)
        return member(p);
    uint32_t offsets[UNARY_MAX];
    unsigned count = 0;
    while (p->token.kind == sign) {
        if (count == UNARY_MAX) {
            cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
                "at most %d `%.*s` may stand in a row", UNARY_MAX,
                STR_ARG(cedar_parse_token_text(p, p->token)));
            return NULL;
        }
        offsets[count++] = p->token.start;
        cedar_parse_advance(p);
    }
    const struct cedar_expr *expr = NULL;
    /* The minus of a number belongs to it, so that -2^63 can be written;
     * but -1.a is -(1.a). */
    struct cedar_token behind = cedar_token_next(p->text, p->token.end);
    if (sign == CEDAR_TOKEN_MINUS && p->token.kind == CEDAR_TOKEN_NUMBER &&
        behind.kind != CEDAR_TOKEN_DOT &&
        behind.kind != CEDAR_TOKEN_OPEN_BRACKET &&
        behind.kind != CEDAR_TOKEN_OPEN_PAREN) {
        uint32_t offset = offsets[--count];
        const struct cedar_expr *value = number(p, true);
        expr = value ? literal(p, offset, value->value) : NULL;
    } else {
        expr = member(p);
    }
    while (expr && count > 0) {
        struct cedar_expr proto = {.kind = sign == CEDAR_TOKEN_NOT
                                               ? CEDAR_EXPR_NOT
                                               : CEDAR_EXPR_NEGATE,
            .offset = offsets[count - 1],
            .mark = offsets[count - 1]};
        expr = node1(p, &proto, expr);
        count--;
    }
    return expr;
}

static const struct cedar_expr *product(struct cedar_parser *p)
{
    const struct cedar_expr *left = unary(p);
    while (left && p->token.kind == CEDAR_TOKEN_STAR) {
        uint32_t mark = p->token.start;
        cedar_parse_advance(p);
        left = node2(p, CEDAR_EXPR_MULTIPLY, mark, left, unary(p));
    }
    return left;
}

static const struct cedar_expr *sum(struct cedar_parser *p)
{
    const struct cedar_expr *left = product(p);
    while (left && (p->token.kind == CEDAR_TOKEN_PLUS ||
                       p->token.kind == CEDAR_TOKEN_MINUS)) {
        uint32_t mark = p->token.start;
        enum cedar_expr_kind kind = p->token.kind == CEDAR_TOKEN_PLUS
                                        ? CEDAR_EXPR_ADD
                                        : CEDAR_EXPR_SUBTRACT;
        cedar_parse_advance(p);
        left = node2(p, kind, mark, left, product(p));
    }
    return left;
}

/* Behind `has`: a string, or names joined with dots. */
static const struct cedar_expr *has(
    struct cedar_parser *p, const struct cedar_expr *left)
{
    struct cedar_expr proto = {
        .kind = CEDAR_EXPR_HAS, .offset = left->offset, .mark = p->token.start};
    size_t keys = p->key_count;
    struct str name;
    if (p->token.kind == CEDAR_TOKEN_STRING) {
        if (!cedar_parse_string(p, p->token, &name) || !push_key(p, name))
            return NULL;
        cedar_parse_advance(p);
    } else {
        do {
            if (p->token.kind != CEDAR_TOKEN_IDENT) {
                cedar_parse_unexpected(p, "an attribute name behind `has`");
                return NULL;
            }
            if (!cedar_parse_check_ident(p, p->token) ||
                !push_key(p, cedar_parse_token_text(p, p->token)))
                return NULL;
            cedar_parse_advance(p);
        } while (cedar_parse_take(p, CEDAR_TOKEN_DOT));
    }
    return pop_keys(p, keys, &proto) ? node1(p, &proto, left) : NULL;
}

static const struct cedar_expr *like(
    struct cedar_parser *p, const struct cedar_expr *left)
{
    struct cedar_token token = p->token;
    struct cedar_expr proto = {
        .kind = CEDAR_EXPR_LIKE, .offset = left->offset, .mark = token.start};
    if (token.kind != CEDAR_TOKEN_STRING) {
        cedar_parse_unexpected(p, "a pattern in quotes behind `like`");
        return NULL;
    }
    struct str raw =
        str_make(p->text.ptr + token.start + 1, token.end - token.start - 2);
    size_t bad = 0;
    enum err err = cedar_pattern_parse(p->arena, raw, &proto.pattern, &bad);
    if (err == ERR_SYNTAX)
        cedar_parse_fail(p, err, token.start + 1 + (uint32_t)bad,
            "bad character or escape in a pattern; besides the escapes of "
            "strings there is \\* for a star");
    if (err != ERR_OK) {
        cedar_parse_no_memory(p);
        return NULL;
    }
    cedar_parse_advance(p);
    return node1(p, &proto, left);
}

static const struct cedar_expr *is(
    struct cedar_parser *p, const struct cedar_expr *left)
{
    struct cedar_expr proto = {
        .kind = CEDAR_EXPR_IS, .offset = left->offset, .mark = p->token.start};
    bool has_id;
    struct str id;
    if (p->token.kind != CEDAR_TOKEN_IDENT) {
        cedar_parse_unexpected(p, "an entity type behind `is`");
        return NULL;
    }
    if (!cedar_parse_name(p, &proto.type, &has_id, &id))
        return NULL;
    if (has_id) {
        cedar_parse_fail(p, ERR_SYNTAX, proto.mark,
            "`is` takes an entity type such as %.*s, not an entity",
            STR_ARG(cedar_parse_shown(proto.type)));
        return NULL;
    }
    size_t base = p->node_count;
    if (!push_node(p, left))
        return NULL;
    if (cedar_parse_word(p, "in")) {
        cedar_parse_advance(p);
        if (!push_node(p, sum(p)))
            return NULL;
    }
    return close_node(p, &proto, base);
}

static bool relation_kind(
    const struct cedar_parser *p, enum cedar_expr_kind *kind)
{
    static const struct {
        enum cedar_token_kind token;
        enum cedar_expr_kind kind;
    } relations[] = {
        {CEDAR_TOKEN_EQUAL, CEDAR_EXPR_EQUAL},
        {CEDAR_TOKEN_NOT_EQUAL, CEDAR_EXPR_NOT_EQUAL},
        {CEDAR_TOKEN_LESS, CEDAR_EXPR_LESS},
        {CEDAR_TOKEN_LESS_EQUAL, CEDAR_EXPR_LESS_EQUAL},
        {CEDAR_TOKEN_GREATER, CEDAR_EXPR_GREATER},
        {CEDAR_TOKEN_GREATER_EQUAL, CEDAR_EXPR_GREATER_EQUAL},
    };
    for (size_t i = 0; i < sizeof relations / sizeof relations[0]; i++) {
        if (p->token.kind == relations[i].token) {
            *kind = relations[i].kind;
            return true;
        }
    }
    static const struct {
        const char *word;
        enum cedar_expr_kind kind;
    } words[] = {{"in", CEDAR_EXPR_IN}, {"has", CEDAR_EXPR_HAS},
        {"like", CEDAR_EXPR_LIKE}, {"is", CEDAR_EXPR_IS}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (cedar_parse_word(p, words[i].word)) {
            *kind = words[i].kind;
            return true;
        }
    }
    return false;
}

static const struct cedar_expr *relation(struct cedar_parser *p)
{
    const struct cedar_expr *left = sum(p);
    enum cedar_expr_kind kind, second;
    if (!left || !relation_kind(p, &kind))
        return left;
    uint32_t mark = p->token.start;
    cedar_parse_advance(p);
    const struct cedar_expr *made;
    if (kind == CEDAR_EXPR_HAS)
        made = has(p, left);
    else if (kind == CEDAR_EXPR_LIKE)
        made = like(p, left);
    else if (kind == CEDAR_EXPR_IS)
        made = is(p, left);
    else
        made = node2(p, kind, mark, left, sum(p));
    if (made && relation_kind(p, &second)) {
        cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
            "`%.*s` cannot follow another comparison; put one of them in "
            "parentheses",
            STR_ARG(cedar_parse_token_text(p, p->token)));
        return NULL;
    }
    return made;
}

static const struct cedar_expr *chain(struct cedar_parser *p, bool any)
{
    size_t base = p->node_count;
    enum cedar_token_kind joint = any ? CEDAR_TOKEN_OR : CEDAR_TOKEN_AND;
    struct cedar_expr proto = {.kind = any ? CEDAR_EXPR_OR : CEDAR_EXPR_AND};
    const struct cedar_expr *first = any ? chain(p, false) : relation(p);
    if (!first || p->token.kind != joint)
        return first;
    proto.offset = first->offset;
    proto.mark = p->token.start;
    if (!push_node(p, first))
        return NULL;
    while (cedar_parse_take(p, joint))
        if (!push_node(p, any ? chain(p, false) : relation(p)))
            return NULL;
    return close_node(p, &proto, base);
}

static const struct cedar_expr *conditional(struct cedar_parser *p)
{
    struct cedar_expr proto = {.kind = CEDAR_EXPR_IF,
        .offset = p->token.start,
        .mark = p->token.start};
    size_t base = p->node_count;
    cedar_parse_advance(p);
    if (!push_node(p, cedar_parse_expr(p)))
        return NULL;
    if (!cedar_parse_word(p, "then")) {
        cedar_parse_unexpected(p, "`then`");
        return NULL;
    }
    cedar_parse_advance(p);
    if (!push_node(p, cedar_parse_expr(p)))
        return NULL;
    if (!cedar_parse_word(p, "else")) {
        cedar_parse_unexpected(p, "`else`");
        return NULL;
    }
    cedar_parse_advance(p);
    if (!push_node(p, cedar_parse_expr(p)))
        return NULL;
    return close_node(p, &proto, base);
}

const struct cedar_expr *cedar_parse_expr(struct cedar_parser *p)
{
    if (p->err != ERR_OK)
        return NULL;
    if (p->depth >= CEDAR_EXPR_DEPTH_MAX) {
        cedar_parse_fail(p, ERR_LIMIT, p->token.start,
            "expressions may nest %d levels deep, this goes deeper",
            CEDAR_EXPR_DEPTH_MAX);
        return NULL;
    }
    p->depth++;
    const struct cedar_expr *made =
        cedar_parse_word(p, "if") ? conditional(p) : chain(p, true);
    p->depth--;
    return made;
}
