/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/describe_expr.c - expressions in words: things (noun phrases)
 * and conditions (clauses). Recursion is bounded by the height of
 * expressions. Pure; any thread. */
#include "policy/cedar/describe_priv.h"

#define EXPR(e)                                                                \
    (struct piece)                                                             \
    {                                                                          \
        .expr = (e)                                                            \
    }
#define KEY_MAX 256

static void say(
    struct describer *d, enum cedar_phrase phrase, const struct piece *pieces)
{
    describe_say(d, phrase, false, pieces, false);
}

/* --- Things ---------------------------------------------------------------*/

/* Nearest first: "context.time.hour" of its last part. False: the chain does
 * not end in a variable, or is too long for any vocabulary. */
static bool dotted(struct buf *out, const struct cedar_expr *on,
    const struct cedar_key *path, uint32_t count)
{
    static const char *const variables[] = {
        "principal", "action", "resource", "context"};
    if (on->kind == CEDAR_EXPR_VARIABLE)
        buf_append_str(out, str_from(variables[on->variable]));
    else if (on->kind != CEDAR_EXPR_GET ||
             !dotted(out, on->items[0], on->path, 1))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        buf_append_char(out, '.');
        buf_append_str(out, cedar_key_str(path[i]));
    }
    return !out->failed;
}

static const char *word_of(struct describer *d, struct cedar_words words,
    const char *prefix, const struct cedar_expr *on,
    const struct cedar_key *path, uint32_t count)
{
    struct buf key;
    buf_init(&key, KEY_MAX);
    buf_append_str(&key, str_from(prefix));
    const char *word = dotted(&key, on, path, count)
                           ? describe_find(d, words, buf_str(&key))
                           : NULL;
    buf_fini(&key);
    return word;
}

static bool is_of_context(const struct cedar_expr *e)
{
    while (e->kind == CEDAR_EXPR_GET)
        e = e->items[0];
    return e->kind == CEDAR_EXPR_VARIABLE && e->variable == CEDAR_CONTEXT;
}

void describe_path(struct describer *d, const struct cedar_expr *on,
    const struct cedar_key *path, uint32_t count)
{
    const char *word = d->vocabulary ? word_of(d, d->vocabulary->attributes, "",
                                           on, path, count)
                                     : NULL;
    if (word) {
        describe_put(d, str_from(word));
        return;
    }
    struct buf name;
    buf_init(&name, 1 << 20);
    struct describer inner = *d;
    inner.out = &name;
    describe_name(&inner, cedar_key_str(path[count - 1]));
    struct piece pieces[2] = {EXPR(on), {.text = buf_str(&name)}};
    if (count > 1) {
        pieces[0].path = path;
        pieces[0].path_count = count - 1;
    }
    bool of_context = is_of_context(on);
    bool first = of_context && count == 1 && on->kind == CEDAR_EXPR_VARIABLE;
    say(d,
        first        ? SAY_ATTRIBUTE_OF_CONTEXT
        : of_context ? SAY_ATTRIBUTE_BELOW
                     : SAY_ATTRIBUTE,
        pieces);
    buf_fini(&name);
}

static void put_list(
    struct describer *d, const struct cedar_expr *e, enum cedar_phrase last)
{
    for (uint32_t i = 0; i < e->count; i++) {
        if (i > 0)
            say(d, i + 1 == e->count ? last : SAY_LIST_COMMA, NULL);
        describe_term(d, e->items[i]);
    }
}

static void put_set(struct describer *d, const struct cedar_expr *e)
{
    struct buf list;
    struct describer inner = *d;
    if (e->count == 0) {
        say(d, SAY_EMPTY_SET, NULL);
        return;
    }
    buf_init(&list, 1 << 20);
    inner.out = &list;
    put_list(&inner, e, SAY_LIST_AND);
    say(d, SAY_SET_OF, &(struct piece){.text = buf_str(&list)});
    buf_fini(&list);
}

static void put_code(struct describer *d, const struct cedar_expr *e)
{
    buf_append_char(d->out, '`');
    cedar_expr_print(d->out, e);
    buf_append_char(d->out, '`');
}

static void put_literal(struct describer *d, struct cedar_value value)
{
    struct buf text;
    if (value.kind == CEDAR_STRING) {
        describe_text(d, cedar_text(value));
    } else if (value.kind == CEDAR_ENTITY) {
        describe_uid(d, value.entity);
    } else {
        buf_init(&text, 1 << 20);
        cedar_value_print(&text, value);
        describe_put(d, buf_str(&text));
        buf_fini(&text);
    }
}

static void put_variable(struct describer *d, enum cedar_variable variable)
{
    static const enum cedar_phrase plain[] = {
        SAY_PRINCIPAL, SAY_ACTION, SAY_RESOURCE, SAY_CONTEXT};
    const struct cedar_policy *p = d->policy;
    const struct cedar_scope *scope =
        variable == CEDAR_PRINCIPAL  ? &p->principal
        : variable == CEDAR_RESOURCE ? &p->resource
                                     : NULL;
    struct str type = STR("");
    if (scope && scope->type.len > 0)
        type = scope->type;
    else if (scope && scope->kind == CEDAR_SCOPE_EQUAL && scope->count == 1)
        type = scope->entities[0].uid->type;
    else if (scope && d->vocabulary &&
             describe_find(d, d->vocabulary->types,
                 variable == CEDAR_PRINCIPAL ? STR("principal")
                                             : STR("resource")))
        type = variable == CEDAR_PRINCIPAL ? STR("principal") : STR("resource");
    if (type.len == 0) {
        say(d, plain[variable], NULL);
        return;
    }
    struct buf name;
    struct describer inner = *d;
    buf_init(&name, 1 << 20);
    inner.out = &name;
    describe_type(&inner, type);
    say(d, SAY_THE_TYPE, &(struct piece){.text = buf_str(&name)});
    buf_fini(&name);
}

static void put_call(struct describer *d, const struct cedar_expr *e)
{
    static const enum cedar_phrase words[CEDAR_FN_COUNT] = {
        [CEDAR_FN_IP] = SAY_READ_IP,
        [CEDAR_FN_DECIMAL] = SAY_READ_DECIMAL,
        [CEDAR_FN_DATETIME] = SAY_READ_DATETIME,
        [CEDAR_FN_DURATION] = SAY_READ_DURATION,
        [CEDAR_FN_OFFSET] = SAY_OFFSET,
        [CEDAR_FN_DURATION_SINCE] = SAY_SINCE,
        [CEDAR_FN_TO_DATE] = SAY_TO_DATE,
        [CEDAR_FN_TO_TIME] = SAY_TO_TIME,
        [CEDAR_FN_TO_MILLISECONDS] = SAY_TO_MILLISECONDS,
        [CEDAR_FN_TO_SECONDS] = SAY_TO_SECONDS,
        [CEDAR_FN_TO_MINUTES] = SAY_TO_MINUTES,
        [CEDAR_FN_TO_HOURS] = SAY_TO_HOURS,
        [CEDAR_FN_TO_DAYS] = SAY_TO_DAYS,
    };
    const struct cedar_function_info *info = &cedar_functions[e->function];
    struct piece pieces[2] = {{0}, {0}};
    if (e->count != info->argument_count) {
        put_code(d, e); /* fails whenever it is evaluated */
        return;
    }
    if (!info->is_method && e->items[0]->kind == CEDAR_EXPR_LITERAL &&
        e->value.kind != CEDAR_NONE) {
        describe_put(d, cedar_text(e->items[0]->value));
        return;
    }
    for (uint32_t i = 0; i < e->count && i < 2; i++)
        pieces[i] = EXPR(e->items[i]);
    say(d, words[e->function], pieces);
}

static bool is_sum(const struct cedar_expr *e)
{
    return e->kind == CEDAR_EXPR_ADD || e->kind == CEDAR_EXPR_SUBTRACT ||
           e->kind == CEDAR_EXPR_MULTIPLY || e->kind == CEDAR_EXPR_NEGATE;
}

static void put_sum(struct describer *d, const struct cedar_expr *e)
{
    static const char *const between[] = {" + ", " - ", " × "};
    for (uint32_t i = 0; i < e->count; i++) {
        const struct cedar_expr *item = e->items[i];
        bool apart = is_sum(item) && item->value.kind == CEDAR_NONE;
        if (e->kind == CEDAR_EXPR_NEGATE)
            buf_append_char(d->out, '-');
        else if (i > 0)
            buf_append_str(d->out, str_from(between[e->kind - CEDAR_EXPR_ADD]));
        if (apart)
            buf_append_char(d->out, '(');
        describe_term(d, item);
        if (apart)
            buf_append_char(d->out, ')');
    }
}

void describe_term(struct describer *d, const struct cedar_expr *e)
{
    struct piece pieces[3] = {{0}, {0}, {0}};
    for (uint32_t i = 0; i < e->count && i < 3; i++)
        pieces[i] = EXPR(e->items[i]);
    switch ((enum cedar_expr_kind)e->kind) {
    case CEDAR_EXPR_LITERAL:
        put_literal(d, e->value);
        return;
    case CEDAR_EXPR_VARIABLE:
        put_variable(d, (enum cedar_variable)e->variable);
        return;
    case CEDAR_EXPR_GET:
        describe_path(d, e->items[0], e->path, 1);
        return;
    case CEDAR_EXPR_GET_TAG:
        say(d, SAY_TAG, pieces);
        return;
    case CEDAR_EXPR_SET:
        put_set(d, e);
        return;
    case CEDAR_EXPR_RECORD:
        put_code(d, e);
        return;
    case CEDAR_EXPR_NEGATE:
        if (e->value.kind == CEDAR_LONG) {
            put_literal(d, e->value);
            return;
        }
        put_sum(d, e);
        return;
    case CEDAR_EXPR_ADD:
    case CEDAR_EXPR_SUBTRACT:
    case CEDAR_EXPR_MULTIPLY:
        put_sum(d, e);
        return;
    case CEDAR_EXPR_IF:
        say(d, SAY_EITHER_THING, pieces);
        return;
    case CEDAR_EXPR_CALL:
        if (cedar_functions[e->function].result != CEDAR_BOOL ||
            e->count != cedar_functions[e->function].argument_count) {
            put_call(d, e);
            return;
        }
        break;
    case CEDAR_EXPR_AND:
    case CEDAR_EXPR_OR:
    case CEDAR_EXPR_NOT:
    case CEDAR_EXPR_EQUAL:
    case CEDAR_EXPR_NOT_EQUAL:
    case CEDAR_EXPR_LESS:
    case CEDAR_EXPR_LESS_EQUAL:
    case CEDAR_EXPR_GREATER:
    case CEDAR_EXPR_GREATER_EQUAL:
    case CEDAR_EXPR_IN:
    case CEDAR_EXPR_CONTAINS:
    case CEDAR_EXPR_CONTAINS_ALL:
    case CEDAR_EXPR_CONTAINS_ANY:
    case CEDAR_EXPR_HAS_TAG:
    case CEDAR_EXPR_IS_EMPTY:
    case CEDAR_EXPR_HAS:
    case CEDAR_EXPR_LIKE:
    case CEDAR_EXPR_IS:
        break;
    }
    pieces[0] = EXPR(e);
    say(d, SAY_WHETHER, pieces);
}

/* --- Clauses --------------------------------------------------------------*/

static bool is_instant(const struct cedar_expr *e)
{
    return e->kind == CEDAR_EXPR_CALL &&
           cedar_functions[e->function].result == CEDAR_DATETIME;
}

static enum cedar_phrase order_phrase(const struct cedar_expr *e)
{
    bool instants = is_instant(e->items[0]) || is_instant(e->items[1]);
    switch ((int)e->kind) {
    case CEDAR_EXPR_LESS:
        return instants ? SAY_BEFORE : SAY_LESS;
    case CEDAR_EXPR_LESS_EQUAL:
        return instants ? SAY_NOT_AFTER : SAY_LESS_EQUAL;
    case CEDAR_EXPR_GREATER:
        return instants ? SAY_AFTER : SAY_GREATER;
    default:
        return instants ? SAY_NOT_BEFORE : SAY_GREATER_EQUAL;
    }
}

static enum cedar_phrase call_phrase(enum cedar_function function)
{
    switch ((int)function) {
    case CEDAR_FN_IS_IPV4:
        return SAY_IPV4;
    case CEDAR_FN_IS_IPV6:
        return SAY_IPV6;
    case CEDAR_FN_IS_LOOPBACK:
        return SAY_LOOPBACK;
    case CEDAR_FN_IS_MULTICAST:
        return SAY_MULTICAST;
    case CEDAR_FN_IS_IN_RANGE:
        return SAY_IN_RANGE;
    case CEDAR_FN_LESS_THAN:
        return SAY_LESS;
    case CEDAR_FN_LESS_THAN_OR_EQUAL:
        return SAY_LESS_EQUAL;
    case CEDAR_FN_GREATER_THAN:
        return SAY_GREATER;
    default:
        return SAY_GREATER_EQUAL;
    }
}

/* $2 may need a text of its own; it goes to *made. */
static void like_clause(struct describer *d, const struct cedar_expr *e,
    struct clause *c, struct buf *made)
{
    const struct cedar_pattern *p = e->pattern;
    struct describer inner = *d;
    inner.out = made;
    if (p->count == 1) {
        c->phrase = SAY_EQUAL;
        describe_text(&inner, p->pieces[0]);
    } else if (p->count == 2 && p->pieces[0].len + p->pieces[1].len == 0) {
        c->phrase = SAY_ANY_TEXT;
    } else if (p->count == 2 && p->pieces[1].len == 0) {
        c->phrase = SAY_BEGINS;
        describe_text(&inner, p->pieces[0]);
    } else if (p->count == 2 && p->pieces[0].len == 0) {
        c->phrase = SAY_ENDS;
        describe_text(&inner, p->pieces[1]);
    } else if (p->count == 3 && p->pieces[0].len + p->pieces[2].len == 0) {
        c->phrase = SAY_HOLDS_TEXT;
        describe_text(&inner, p->pieces[1]);
    } else {
        c->phrase = SAY_LIKE;
        cedar_pattern_print(made, p);
    }
    c->pieces[1].text = buf_str(made);
}

static void list_piece(struct describer *d, const struct cedar_expr *set,
    enum cedar_phrase last, struct piece *piece, struct buf *made)
{
    struct describer inner = *d;
    inner.out = made;
    put_list(&inner, set, last);
    *piece = (struct piece){.text = buf_str(made)};
}

static void contains_clause(struct describer *d, const struct cedar_expr *e,
    struct clause *c, struct buf *made)
{
    const struct cedar_expr *set = e->items[0];
    bool listed = set->kind == CEDAR_EXPR_SET && set->count > 0;
    if (e->kind == CEDAR_EXPR_CONTAINS) {
        c->phrase = SAY_CONTAINS;
        if (!listed)
            return;
        c->phrase = set->count == 1 ? SAY_EQUAL : SAY_ONE_OF;
        c->pieces[0] = EXPR(e->items[1]);
        list_piece(d, set, SAY_LIST_OR, &c->pieces[1], made);
        return;
    }
    bool all = e->kind == CEDAR_EXPR_CONTAINS_ALL;
    c->phrase = all ? SAY_CONTAINS_ALL : SAY_CONTAINS_ANY;
    set = e->items[1];
    if (set->kind == CEDAR_EXPR_SET && set->count > 0)
        list_piece(
            d, set, all ? SAY_LIST_AND : SAY_LIST_OR, &c->pieces[1], made);
}

/* False: e is no single clause (a chain, a negation, an if). */
static bool make_clause(struct describer *d, const struct cedar_expr *e,
    bool negated, struct clause *c, struct buf *made)
{
    *c = (struct clause){.phrase = SAY_HOLDS, .negated = negated};
    for (uint32_t i = 0; i < e->count && i < 3; i++)
        c->pieces[i] = EXPR(e->items[i]);
    switch ((enum cedar_expr_kind)e->kind) {
    case CEDAR_EXPR_AND:
    case CEDAR_EXPR_OR:
    case CEDAR_EXPR_NOT:
    case CEDAR_EXPR_IF:
        return false;
    case CEDAR_EXPR_LITERAL:
        if (e->value.kind == CEDAR_BOOL) {
            c->phrase = SAY_TRUE;
            c->negated = negated == e->value.boolean;
            return true;
        }
        break;
    case CEDAR_EXPR_EQUAL:
        c->phrase = SAY_EQUAL;
        return true;
    case CEDAR_EXPR_NOT_EQUAL:
        c->phrase = SAY_EQUAL;
        c->negated = !negated;
        return true;
    case CEDAR_EXPR_LESS:
    case CEDAR_EXPR_LESS_EQUAL:
    case CEDAR_EXPR_GREATER:
    case CEDAR_EXPR_GREATER_EQUAL:
        c->phrase = order_phrase(e);
        return true;
    case CEDAR_EXPR_IN:
        c->phrase = SAY_IN;
        if (e->items[1]->kind == CEDAR_EXPR_SET && e->items[1]->count > 0)
            list_piece(d, e->items[1], SAY_LIST_OR, &c->pieces[1], made);
        return true;
    case CEDAR_EXPR_CONTAINS:
    case CEDAR_EXPR_CONTAINS_ALL:
    case CEDAR_EXPR_CONTAINS_ANY:
        contains_clause(d, e, c, made);
        return true;
    case CEDAR_EXPR_HAS_TAG:
        c->phrase = SAY_HAS_TAG;
        return true;
    case CEDAR_EXPR_IS_EMPTY:
        c->phrase = SAY_IS_EMPTY;
        return true;
    case CEDAR_EXPR_HAS:
        c->phrase = SAY_HAS;
        c->pieces[0].path = e->path;
        c->pieces[0].path_count = e->path_count;
        return true;
    case CEDAR_EXPR_LIKE:
        like_clause(d, e, c, made);
        return true;
    case CEDAR_EXPR_IS: {
        struct describer inner = *d;
        inner.out = made;
        describe_type(&inner, e->type);
        c->phrase = e->count == 2 ? SAY_IS_IN : SAY_IS;
        c->pieces[2] = c->pieces[1];
        c->pieces[1] = (struct piece){.text = buf_str(made)};
        return true;
    }
    case CEDAR_EXPR_CALL:
        if (cedar_functions[e->function].result == CEDAR_BOOL &&
            e->count == cedar_functions[e->function].argument_count) {
            c->phrase = call_phrase((enum cedar_function)e->function);
            return true;
        }
        break;
    case CEDAR_EXPR_VARIABLE:
    case CEDAR_EXPR_NEGATE:
    case CEDAR_EXPR_ADD:
    case CEDAR_EXPR_SUBTRACT:
    case CEDAR_EXPR_MULTIPLY:
    case CEDAR_EXPR_GET_TAG:
    case CEDAR_EXPR_GET:
    case CEDAR_EXPR_SET:
    case CEDAR_EXPR_RECORD:
        break;
    }
    c->pieces[0] = EXPR(e);
    return true;
}

/* The vocabulary's own clause for an attribute that is true or false. */
static bool say_fact(
    struct describer *d, const struct cedar_expr *e, bool negated)
{
    if (!d->vocabulary || e->kind != CEDAR_EXPR_GET)
        return false;
    const char *fact = word_of(
        d, d->vocabulary->facts, negated ? "!" : "", e->items[0], e->path, 1);
    if (fact)
        describe_put(d, str_from(fact));
    return fact != NULL;
}

/* x == true is x. */
static const struct cedar_expr *plain(const struct cedar_expr *e, bool *negated)
{
    while (e->kind == CEDAR_EXPR_NOT || e->kind == CEDAR_EXPR_EQUAL ||
           e->kind == CEDAR_EXPR_NOT_EQUAL) {
        if (e->kind == CEDAR_EXPR_NOT) {
            *negated = !*negated;
            e = e->items[0];
            continue;
        }
        const struct cedar_expr *value = e->items[1];
        if (value->kind != CEDAR_EXPR_LITERAL ||
            value->value.kind != CEDAR_BOOL ||
            e->items[0]->kind != CEDAR_EXPR_GET)
            return e;
        *negated ^= value->value.boolean == (e->kind == CEDAR_EXPR_NOT_EQUAL);
        e = e->items[0];
    }
    return e;
}

void describe_condition(
    struct describer *d, const struct cedar_expr *e, bool negated, bool inner)
{
    e = plain(e, &negated);
    if (e->kind == CEDAR_EXPR_AND || e->kind == CEDAR_EXPR_OR) {
        if (inner)
            say(d, SAY_OPEN, NULL);
        describe_chain(
            d, e->items, e->count, e->kind == CEDAR_EXPR_OR, negated);
        if (inner)
            say(d, SAY_CLOSE, NULL);
        return;
    }
    if (e->kind == CEDAR_EXPR_IF) {
        struct piece pieces[3] = {
            EXPR(e->items[0]), EXPR(e->items[1]), EXPR(e->items[2])};
        pieces[1].negated = pieces[2].negated = negated;
        say(d, SAY_IF, pieces);
        return;
    }
    if (say_fact(d, e, negated))
        return;
    struct clause c;
    struct buf made;
    buf_init(&made, 1 << 20);
    if (make_clause(d, e, negated, &c, &made))
        describe_say(d, c.phrase, c.negated, c.pieces, false);
    buf_fini(&made);
}

/* Both say something of one thing, which need not be named twice: "the hour
 * is at least 8 and is less than 18". */
static bool same_subject(
    struct describer *d, const struct cedar_expr *a, const struct cedar_expr *b)
{
    struct clause first, second;
    struct buf made;
    bool ignored = false, same = false;
    a = plain(a, &ignored);
    b = plain(b, &ignored);
    if (a->kind == CEDAR_EXPR_GET || b->kind == CEDAR_EXPR_GET)
        return false;
    buf_init(&made, 1 << 20);
    same = make_clause(d, a, false, &first, &made) &&
           make_clause(d, b, false, &second, &made) && first.pieces[0].expr &&
           second.pieces[0].expr && !first.pieces[0].path &&
           !second.pieces[0].path &&
           cedar_expr_same(first.pieces[0].expr, second.pieces[0].expr);
    buf_fini(&made);
    return same;
}

void describe_chain(struct describer *d, const struct cedar_expr *const *items,
    uint32_t count, bool any, bool negated)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            say(d, any != negated ? SAY_OR : SAY_AND, NULL);
        if (i == 0 || !same_subject(d, items[i - 1], items[i])) {
            describe_condition(d, items[i], negated, true);
            continue;
        }
        struct clause c;
        struct buf made;
        bool opposite = negated;
        const struct cedar_expr *e = plain(items[i], &opposite);
        buf_init(&made, 1 << 20);
        if (make_clause(d, e, opposite, &c, &made))
            describe_say(d, c.phrase, c.negated, c.pieces, true);
        buf_fini(&made);
    }
}
