/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/schema_text.c - Cedar schema text to its raw form.
 *
 * Not here: what the names mean (schema_resolve.c). Stops at the first error:
 * what follows it could only be guessed at. Pure. */
#include "policy/cedar/cedar_priv.h"
#include "policy/cedar/schema_priv.h"

#include <stdarg.h>

struct schema_text {
    struct schema_reader *reader;
    struct arena *arena;
    struct str text;
    struct cedar_token token; /* the next one, not consumed */
    struct cedar_seen spaces; /* namespaces that were opened */
    enum err status;          /* the first failure; all goes quiet after it */
};

/* --- Tokens --- */

static void read_token(struct schema_text *s)
{
    s->token = cedar_token_next(s->text, s->token.end);
    /* The policy lexer knows `?` only as the start of a slot. */
    if (s->token.start < s->text.len && s->text.ptr[s->token.start] == '?') {
        s->token.kind = CEDAR_TOKEN_SLOT;
        s->token.end = s->token.start + 1;
    }
}

static struct str token_text(const struct schema_text *s)
{
    return str_make(
        s->text.ptr + s->token.start, s->token.end - s->token.start);
}

static bool is_failed(const struct schema_text *s)
{
    return s->status != ERR_OK;
}

/* "expected X, found Y" at the present token. */
static void fail_expected(struct schema_text *s, const char *expected)
{
    if (is_failed(s)) {
        return;
    }
    if (s->token.kind == CEDAR_TOKEN_END) {
        s->status = schema_error(s->reader, s->token.start,
            "unexpected end of the schema; expected %s", expected);
    } else if (s->token.kind == CEDAR_TOKEN_BAD) {
        s->status =
            schema_error(s->reader, s->token.start, "%s", s->token.message);
    } else {
        s->status = schema_error(s->reader, s->token.start,
            "expected %s, found `%.*s`", expected, STR_ARG(token_text(s)));
    }
}

static void *allocate(struct schema_text *s, size_t size)
{
    void *memory = is_failed(s) ? NULL : arena_zalloc(s->arena, size);
    if (!memory && !is_failed(s)) {
        s->status = ERR_NOMEM;
    }
    return memory;
}

static bool next_is(const struct schema_text *s, enum cedar_token_kind kind)
{
    return !is_failed(s) && s->token.kind == kind;
}

static bool next_is_word(const struct schema_text *s, struct str word)
{
    return next_is(s, CEDAR_TOKEN_IDENT) && str_equal(token_text(s), word);
}

static bool take(struct schema_text *s, enum cedar_token_kind kind)
{
    if (!next_is(s, kind)) {
        return false;
    }
    read_token(s);
    return true;
}

static bool take_word(struct schema_text *s, struct str word)
{
    if (!next_is_word(s, word)) {
        return false;
    }
    read_token(s);
    return true;
}

static void need(
    struct schema_text *s, enum cedar_token_kind kind, const char *expected)
{
    if (!take(s, kind)) {
        fail_expected(s, expected);
    }
}

/* --- Names and strings --- */

static struct str read_ident(struct schema_text *s, const char *expected)
{
    if (!next_is(s, CEDAR_TOKEN_IDENT)) {
        fail_expected(s, expected);
        return STR("");
    }
    struct str name = token_text(s);
    if (cedar_word_is_reserved(name)) {
        s->status = schema_error(s->reader, s->token.start,
            "`%.*s` is a reserved word and cannot be a name; in quotes it may "
            "be one for attributes and actions",
            STR_ARG(name));
        return STR("");
    }
    read_token(s);
    return name;
}

static struct str read_string(struct schema_text *s, const char *expected)
{
    struct str out = STR("");
    if (!next_is(s, CEDAR_TOKEN_STRING)) {
        fail_expected(s, expected);
        return out;
    }
    struct str raw = token_text(s);
    size_t bad = 0;
    s->status = cedar_unescape(
        s->arena, str_make(raw.ptr + 1, raw.len - 2), &out, &bad);
    if (s->status == ERR_SYNTAX) {
        s->status = schema_error(s->reader, s->token.start + 1 + (uint32_t)bad,
            "this escape is none of \\n \\r \\t \\0 \\\\ \\' \\\" \\xNN "
            "\\u{N}");
    }
    read_token(s);
    return out;
}

/* An attribute or an action: an identifier or a string. */
static struct str read_name_or_string(
    struct schema_text *s, const char *expected)
{
    return next_is(s, CEDAR_TOKEN_STRING) ? read_string(s, expected)
                                          : read_ident(s, expected);
}

/* A::B::C. With `string`, a string after a :: ends it (as in an action's
 * reference) and *string is set. */
static struct str read_path(
    struct schema_text *s, const char *expected, struct str *string)
{
    struct str first = read_ident(s, expected);
    if (!next_is(s, CEDAR_TOKEN_COLONS)) {
        return first;
    }
    struct buf path;
    buf_init(&path, s->text.len * 2 + 16);
    buf_append_str(&path, first);
    while (take(s, CEDAR_TOKEN_COLONS)) {
        if (string && next_is(s, CEDAR_TOKEN_STRING)) {
            *string = read_string(s, expected);
            break;
        }
        buf_append_str(&path, STR("::"));
        buf_append_str(&path, read_ident(s, "a name after `::`"));
    }
    struct str out = STR("");
    if (!is_failed(s)) {
        out = arena_copy(s->arena, buf_str(&path));
        if (path.failed || !out.ptr) {
            s->status = ERR_NOMEM;
            out = STR("");
        }
    }
    buf_fini(&path);
    return out;
}

static void add_name(struct schema_text *s, struct raw_name **list,
    struct str name, uint32_t offset)
{
    struct raw_name *entry = allocate(s, sizeof(*entry));
    if (entry) {
        *entry = (struct raw_name){name, offset, *list};
        *list = entry;
    }
}

/* A, or [A, B]; no comma before the closing bracket. */
static struct raw_name *read_types(struct schema_text *s)
{
    struct raw_name *list = NULL;
    uint32_t offset = s->token.start;
    if (!take(s, CEDAR_TOKEN_OPEN_BRACKET)) {
        struct str name = read_path(s, "an entity type", NULL);
        add_name(s, &list, name, offset);
        return list;
    }
    if (take(s, CEDAR_TOKEN_CLOSE_BRACKET)) {
        return list;
    }
    do {
        offset = s->token.start;
        struct str name = read_path(s, "an entity type", NULL);
        add_name(s, &list, name, offset);
    } while (take(s, CEDAR_TOKEN_COMMA));
    need(s, CEDAR_TOKEN_CLOSE_BRACKET, "`,` or `]`");
    return list;
}

/* --- Annotations: checked, not kept --- */

static void read_annotations(struct schema_text *s)
{
    struct cedar_seen seen = {0};
    while (!is_failed(s) && next_is(s, CEDAR_TOKEN_AT)) {
        uint32_t offset = s->token.start;
        read_token(s);
        if (!next_is(s, CEDAR_TOKEN_IDENT)) {
            fail_expected(s, "an annotation's name after `@`");
            break;
        }
        struct str name = token_text(s);
        read_token(s);
        enum err err = cedar_seen_add(&seen, name);
        if (!is_failed(s) && err == ERR_EXISTS) {
            err = schema_error(s->reader, offset,
                "the annotation @%.*s stands here twice", STR_ARG(name));
        }
        if (!is_failed(s)) {
            s->status = err;
        }
        if (take(s, CEDAR_TOKEN_OPEN_PAREN)) {
            (void)read_string(s, "the annotation's text in double quotes");
            need(s, CEDAR_TOKEN_CLOSE_PAREN, "`)`");
        }
    }
    cedar_seen_fini(&seen);
}

/* --- Types --- */

static const struct raw_type *read_type(struct schema_text *s, unsigned depth);

/* Behind the opening brace. */
static struct raw_attribute *read_attributes(
    struct schema_text *s, unsigned depth)
{
    struct raw_attribute *list = NULL;
    while (!is_failed(s) && !take(s, CEDAR_TOKEN_CLOSE_BRACE)) {
        read_annotations(s);
        struct raw_attribute *attribute = allocate(s, sizeof(*attribute));
        if (!attribute) {
            break;
        }
        attribute->offset = s->token.start;
        attribute->name = read_name_or_string(s, "an attribute's name or `}`");
        attribute->required = !take(s, CEDAR_TOKEN_SLOT);
        need(s, CEDAR_TOKEN_COLON, "`:` and the attribute's type");
        attribute->type = read_type(s, depth + 1);
        attribute->next = list;
        list = attribute;
        if (!take(s, CEDAR_TOKEN_COMMA) &&
            !next_is(s, CEDAR_TOKEN_CLOSE_BRACE)) {
            fail_expected(s, "`,` or `}`");
        }
    }
    return list;
}

static const struct raw_type *read_type(struct schema_text *s, unsigned depth)
{
    if (depth > CEDAR_TYPE_DEPTH_MAX) {
        if (!is_failed(s)) {
            (void)schema_error(s->reader, s->token.start,
                "types nest deeper than %d levels here", CEDAR_TYPE_DEPTH_MAX);
            s->status = ERR_LIMIT;
        }
        return NULL;
    }
    struct raw_type *type = allocate(s, sizeof(*type));
    if (!type) {
        return NULL;
    }
    type->offset = s->token.start;
    if (take(s, CEDAR_TOKEN_OPEN_BRACE)) {
        type->kind = RAW_RECORD;
        type->attributes = read_attributes(s, depth);
        return type;
    }
    type->kind = RAW_ENTITY_OR_COMMON;
    type->name = read_path(s, "a type", NULL);
    if (str_equal(type->name, STR("Set")) && take(s, CEDAR_TOKEN_LESS)) {
        type->kind = RAW_SET;
        type->element = read_type(s, depth + 1);
        need(s, CEDAR_TOKEN_GREATER, "`>`");
    }
    return type;
}

/* --- Declarations --- */

static struct raw_name *read_declared_names(
    struct schema_text *s, bool strings, const char *expected)
{
    struct raw_name *list = NULL;
    do {
        uint32_t offset = s->token.start;
        struct str name = strings ? read_name_or_string(s, expected)
                                  : read_ident(s, expected);
        if (!is_failed(s) && !strings && str_equal(name, STR("__cedar"))) {
            s->status = schema_error(
                s->reader, offset, "the name `__cedar` is reserved");
        }
        add_name(s, &list, name, offset);
    } while (take(s, CEDAR_TOKEN_COMMA));
    return list;
}

static struct raw_name *read_choices(struct schema_text *s)
{
    struct raw_name *list = NULL;
    need(s, CEDAR_TOKEN_OPEN_BRACKET, "`[` and the ids of the enumeration");
    do {
        uint32_t offset = s->token.start;
        struct str id = read_string(s, "an id in double quotes");
        add_name(s, &list, id, offset);
    } while (take(s, CEDAR_TOKEN_COMMA));
    need(s, CEDAR_TOKEN_CLOSE_BRACKET, "`,` or `]`");
    return list;
}

static void read_entity(struct schema_text *s, struct raw_namespace *space)
{
    struct raw_name *names =
        read_declared_names(s, false, "the name of an entity type");
    struct raw_entity proto = {0};
    if (take_word(s, STR("enum"))) {
        proto.is_enum = true;
        proto.choices = read_choices(s);
    } else {
        if (take_word(s, STR("in"))) {
            proto.parents = read_types(s);
        }
        bool assigned = take(s, CEDAR_TOKEN_ASSIGN);
        if (assigned || next_is(s, CEDAR_TOKEN_OPEN_BRACE)) {
            if (!next_is(s, CEDAR_TOKEN_OPEN_BRACE)) {
                fail_expected(s, "`{` and the attributes");
            }
            proto.shape = read_type(s, 1);
        }
        if (take_word(s, STR("tags"))) {
            proto.tags = read_type(s, 1);
        }
    }
    need(s, CEDAR_TOKEN_SEMICOLON, "`;`");
    for (const struct raw_name *name = names; name; name = name->next) {
        struct raw_entity *entity = allocate(s, sizeof(*entity));
        if (!entity) {
            return;
        }
        *entity = proto;
        entity->name = name->name;
        entity->offset = name->offset;
        entity->next = space->entities;
        space->entities = entity;
    }
}

static void read_common(struct schema_text *s, struct raw_namespace *space)
{
    struct raw_common *common = allocate(s, sizeof(*common));
    if (!common) {
        return;
    }
    common->offset = s->token.start;
    common->name = read_ident(s, "the type's name");
    if (!is_failed(s) && schema_common_name_is_reserved(common->name)) {
        s->status = schema_error(s->reader, common->offset,
            "a type cannot be called `%.*s`; that name is reserved",
            STR_ARG(common->name));
    }
    need(s, CEDAR_TOKEN_ASSIGN, "`=`");
    common->type = read_type(s, 1);
    need(s, CEDAR_TOKEN_SEMICOLON, "`;`");
    common->next = space->commons;
    space->commons = common;
}

static void read_parent(struct schema_text *s, struct raw_parent **list)
{
    struct raw_parent *parent = allocate(s, sizeof(*parent));
    if (!parent) {
        return;
    }
    parent->offset = s->token.start;
    parent->type = STR("Action");
    if (next_is(s, CEDAR_TOKEN_STRING)) {
        parent->id = read_string(s, "an action");
    } else {
        struct str string = {NULL, 0};
        bool qualified = false;
        struct str path = read_path(s, "an action", &string);
        qualified = string.ptr != NULL;
        if (qualified) {
            parent->type = path;
            parent->id = string;
        } else {
            parent->id = path;
            if (!is_failed(s) && memmem(path.ptr, path.len, "::", 2)) {
                fail_expected(s, "`::` and the action's id in double quotes");
            }
        }
    }
    parent->next = *list;
    *list = parent;
}

static struct raw_parent *read_parents(struct schema_text *s)
{
    struct raw_parent *list = NULL;
    if (!take(s, CEDAR_TOKEN_OPEN_BRACKET)) {
        read_parent(s, &list);
        return list;
    }
    do {
        read_parent(s, &list);
    } while (take(s, CEDAR_TOKEN_COMMA));
    need(s, CEDAR_TOKEN_CLOSE_BRACKET, "`,` or `]`");
    return list;
}

static void read_applies_entry(struct schema_text *s, struct raw_action *action,
    bool *principal, bool *resource, bool *context)
{
    static const char *const expected =
        "`principal:`, `resource:` or `context:`";
    uint32_t offset = s->token.start;
    struct str word = next_is(s, CEDAR_TOKEN_IDENT) ? token_text(s) : STR("");
    bool *seen = str_equal(word, STR("principal"))  ? principal
                 : str_equal(word, STR("resource")) ? resource
                 : str_equal(word, STR("context"))  ? context
                                                    : NULL;
    if (!seen) {
        fail_expected(s, expected);
        return;
    }
    read_token(s);
    need(s, CEDAR_TOKEN_COLON, "`:`");
    if (*seen && !is_failed(s)) {
        s->status = schema_error(
            s->reader, offset, "`%.*s` stands here twice", STR_ARG(word));
        return;
    }
    *seen = true;
    if (seen == context) {
        bool is_record = next_is(s, CEDAR_TOKEN_OPEN_BRACE);
        struct raw_type *type = allocate(s, sizeof(*type));
        if (type && is_record) {
            action->context = read_type(s, 1);
        } else if (type) {
            type->kind = RAW_COMMON;
            type->offset = s->token.start;
            type->name = read_path(s, "`{` or a type's name", NULL);
            action->context = type;
        }
        return;
    }
    struct raw_name *types = read_types(s);
    if (!types && !is_failed(s)) {
        s->status = schema_error(s->reader, offset,
            "the list of %.*s types is empty; an action that applies to "
            "nothing has no `appliesTo`",
            STR_ARG(word));
    }
    *(seen == principal ? &action->principals : &action->resources) = types;
}

static void read_applies(struct schema_text *s, struct raw_action *action)
{
    bool principal = false, resource = false, context = false;
    uint32_t offset = s->token.start;
    need(s, CEDAR_TOKEN_OPEN_BRACE, "`{`");
    do {
        read_applies_entry(s, action, &principal, &resource, &context);
        if (!take(s, CEDAR_TOKEN_COMMA) &&
            !next_is(s, CEDAR_TOKEN_CLOSE_BRACE)) {
            fail_expected(s, "`,` or `}`");
        }
    } while (!is_failed(s) && !take(s, CEDAR_TOKEN_CLOSE_BRACE));
    if (!is_failed(s) && !(principal && resource)) {
        s->status = schema_error(s->reader, offset,
            "`appliesTo` has to name both `principal` and `resource`; `%s` is "
            "missing",
            principal ? "resource" : "principal");
    }
}

static void read_action(struct schema_text *s, struct raw_namespace *space)
{
    struct raw_name *names =
        read_declared_names(s, true, "the name of an action");
    struct raw_action proto = {0};
    if (take_word(s, STR("in"))) {
        proto.parents = read_parents(s);
    }
    if (take_word(s, STR("appliesTo"))) {
        read_applies(s, &proto);
    }
    if (take_word(s, STR("attributes"))) {
        need(s, CEDAR_TOKEN_OPEN_BRACE, "`{`");
        need(s, CEDAR_TOKEN_CLOSE_BRACE, "`}`: actions cannot have attributes");
    }
    need(s, CEDAR_TOKEN_SEMICOLON, "`;`");
    for (const struct raw_name *name = names; name; name = name->next) {
        struct raw_action *action = allocate(s, sizeof(*action));
        if (!action) {
            return;
        }
        *action = proto;
        action->id = name->name;
        action->offset = name->offset;
        action->next = space->actions;
        space->actions = action;
    }
}

static void read_declaration(struct schema_text *s, struct raw_namespace *space)
{
    if (take_word(s, STR("entity"))) {
        read_entity(s, space);
    } else if (take_word(s, STR("action"))) {
        read_action(s, space);
    } else if (take_word(s, STR("type"))) {
        read_common(s, space);
    } else {
        fail_expected(s, "`entity`, `action` or `type`");
    }
}

/* Behind the word `namespace`. */
static void read_namespace(struct schema_text *s)
{
    struct raw_namespace *space = allocate(s, sizeof(*space));
    if (!space) {
        return;
    }
    space->offset = s->token.start;
    space->name = read_path(s, "the namespace's name", NULL);
    if (!is_failed(s) && !schema_name_is_valid(space->name, false)) {
        s->status = schema_error(s->reader, space->offset,
            "a namespace cannot use the reserved name `__cedar`");
    }
    enum err err = cedar_seen_add(&s->spaces, space->name);
    if (!is_failed(s) && err == ERR_EXISTS) {
        err = schema_error(s->reader, space->offset,
            "the namespace `%.*s` is opened twice; put all its "
            "declarations into one block",
            STR_ARG(space->name));
    }
    if (!is_failed(s)) {
        s->status = err;
    }
    need(s, CEDAR_TOKEN_OPEN_BRACE, "`{`");
    while (!is_failed(s) && !take(s, CEDAR_TOKEN_CLOSE_BRACE)) {
        read_annotations(s);
        read_declaration(s, space);
    }
    space->next = s->reader->namespaces;
    s->reader->namespaces = space;
}

enum err schema_text_read(struct schema_reader *reader)
{
    struct schema_text s = {
        .reader = reader,
        .arena = reader->schema->arena,
        .text = reader->schema->source,
    };
    struct raw_namespace *global = allocate(&s, sizeof(*global));
    if (!global) {
        return s.status;
    }
    global->name = STR("");
    reader->namespaces = global;
    read_token(&s);
    while (!is_failed(&s) && s.token.kind != CEDAR_TOKEN_END) {
        read_annotations(&s);
        if (take_word(&s, STR("namespace"))) {
            read_namespace(&s);
        } else if (next_is_word(&s, STR("entity")) ||
                   next_is_word(&s, STR("action")) ||
                   next_is_word(&s, STR("type"))) {
            read_declaration(&s, global);
        } else {
            fail_expected(&s, "`entity`, `action`, `type` or `namespace`");
        }
    }
    cedar_seen_fini(&s.spaces);
    return s.status;
}
