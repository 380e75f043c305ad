/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/cedar_priv.h - what the engine's own files share. */
#ifndef POLICY_CEDAR_CEDAR_PRIV_H
#define POLICY_CEDAR_CEDAR_PRIV_H

#include "policy/cedar/ast.h"

/* --- sort.c: in place, no recursion, no allocation; one pass when the array
 * is sorted already. Element sizes up to 64 bytes. */
typedef int cedar_compare(const void *a, const void *b);
void cedar_sort(void *base, size_t count, size_t size, cedar_compare *compare);

/* --- seen.c: a set of names, kept by the caller; zero-initialise --- */
struct cedar_seen {
    struct str *items;
    size_t count, room;
};
/* ERR_EXISTS: it is there already; ERR_NOMEM. */
enum err cedar_seen_add(struct cedar_seen *seen, struct str name) MUSTCHECK;
void cedar_seen_fini(struct cedar_seen *seen);

/* --- text.c: characters --- */
/* Decodes the code point at s.ptr[at] (well-formed UTF-8) and its length. */
uint32_t cedar_code_point(struct str s, size_t at, unsigned *length);
bool cedar_is_ident_start(char c);
bool cedar_is_ident_part(char c);
/* Length of the white space (one character) at `at`, 0 when there is none. */
unsigned cedar_white_space(struct str s, size_t at);
/* "principal in Group::\"g\"" */
void cedar_scope_print(
    struct buf *out, const struct cedar_scope *scope, const char *variable);
void cedar_pattern_print(struct buf *out, const struct cedar_pattern *pattern);

/* --- lexer.c --- */
enum cedar_token_kind {
    CEDAR_TOKEN_END,
    CEDAR_TOKEN_BAD,    /* no token starts here; message says what */
    CEDAR_TOKEN_IDENT,  /* keywords too */
    CEDAR_TOKEN_STRING, /* quotes included */
    CEDAR_TOKEN_NUMBER,
    CEDAR_TOKEN_SLOT, /* ?name */
    CEDAR_TOKEN_AT,
    CEDAR_TOKEN_OPEN_PAREN,
    CEDAR_TOKEN_CLOSE_PAREN,
    CEDAR_TOKEN_OPEN_BRACE,
    CEDAR_TOKEN_CLOSE_BRACE,
    CEDAR_TOKEN_OPEN_BRACKET,
    CEDAR_TOKEN_CLOSE_BRACKET,
    CEDAR_TOKEN_COMMA,
    CEDAR_TOKEN_SEMICOLON,
    CEDAR_TOKEN_DOT,
    CEDAR_TOKEN_COLON,
    CEDAR_TOKEN_COLONS, /* :: */
    CEDAR_TOKEN_ASSIGN, /* =, never right */
    CEDAR_TOKEN_EQUAL,
    CEDAR_TOKEN_NOT_EQUAL,
    CEDAR_TOKEN_LESS,
    CEDAR_TOKEN_LESS_EQUAL,
    CEDAR_TOKEN_GREATER,
    CEDAR_TOKEN_GREATER_EQUAL,
    CEDAR_TOKEN_OR,
    CEDAR_TOKEN_AND,
    CEDAR_TOKEN_PLUS,
    CEDAR_TOKEN_MINUS,
    CEDAR_TOKEN_STAR,
    CEDAR_TOKEN_SLASH,
    CEDAR_TOKEN_PERCENT,
    CEDAR_TOKEN_NOT
};

struct cedar_token {
    enum cedar_token_kind kind;
    uint32_t start;
    uint32_t end;
    const char *message; /* BAD */
};

/* The token that starts at or behind `at`; text is well-formed UTF-8 of less
 * than 4 GiB. */
struct cedar_token cedar_token_next(struct str text, uint32_t at);

/* --- parser.c, parse_policy.c: one text ---
 * Errors go to diagnostics; parsing goes on behind the next `;`. */
struct cedar_parser {
    struct arena *arena;
    struct str text;
    struct cedar_diagnostics *diagnostics;
    struct cedar_token token; /* the next one to take */
    uint32_t last_end;        /* end of the one taken last */
    unsigned depth;           /* of nested expressions */
    enum err err;             /* of the policy at hand; then nothing goes on */
    /* Nodes and keys of lists that are not closed yet. */
    const struct cedar_expr **nodes;
    size_t node_count, node_room;
    struct cedar_key *keys;
    size_t key_count, key_room;
};
void cedar_parser_init(struct cedar_parser *p, struct arena *arena,
    struct str text, struct cedar_diagnostics *diagnostics);
void cedar_parser_fini(struct cedar_parser *p);
/* NULL and p->err on failure. */
const struct cedar_expr *cedar_parse_expr(struct cedar_parser *p);
/* Fills everything but id, line and column. False on failure. */
bool cedar_parse_policy(struct cedar_parser *p, struct cedar_policy *policy);
/* Helpers shared by the two files. */
void cedar_parse_advance(struct cedar_parser *p);
bool cedar_parse_take(struct cedar_parser *p, enum cedar_token_kind kind);
/* Takes it, or fails with "expected WHAT, found ...". */
bool cedar_parse_expect(
    struct cedar_parser *p, enum cedar_token_kind kind, const char *what);
bool cedar_parse_word(const struct cedar_parser *p, const char *word);
struct str cedar_parse_token_text(
    const struct cedar_parser *p, struct cedar_token token);
/* Sets p->err and writes one diagnostic, the first of a policy only. Both give
 * false. */
bool cedar_parse_fail(struct cedar_parser *p, enum err err, uint32_t offset,
    const char *format, ...) PRINTFLIKE(4, 5);
bool cedar_parse_no_memory(struct cedar_parser *p);
/* The start of a token or name, short enough for a message. */
struct str cedar_parse_shown(struct str text);
/* An ident that is no reserved word. */
bool cedar_parse_check_ident(struct cedar_parser *p, struct cedar_token token);
/* "expected WHAT, found `token`" */
bool cedar_parse_unexpected(struct cedar_parser *p, const char *what);
/* The unescaped content of a string token. */
bool cedar_parse_string(
    struct cedar_parser *p, struct cedar_token token, struct str *out);
/* `A :: B :: ..`: the first ident is the present token. Normal form in
 * *name; when the name ends in a string, *id is it and *has_id true. */
bool cedar_parse_name(
    struct cedar_parser *p, struct str *name, bool *has_id, struct str *id);

/* Attributes of the context that conditions name are looked up once per
 * request: the first so many get a slot in the evaluation. */
#define CEDAR_SLOTS 64

/* --- code.c ---
 * Expressions as the evaluator walks them: one array in the order of
 * evaluation, a node's children right behind it. */
struct cedar_code {
    uint8_t kind;   /* enum cedar_expr_kind; LITERAL: any constant */
    uint8_t detail; /* enum cedar_variable or enum cedar_function; GET and HAS
                       on the context: its slot + 1, or 0 */
    bool unless;    /* of a condition's first node */
    uint32_t count; /* of children; HAS: of names */
    uint32_t size;  /* nodes, with all below */
    uint32_t offset;
    union {
        struct cedar_value value;
        struct cedar_key key;         /* GET; HAS with one name */
        const struct cedar_key *path; /* RECORD; HAS with several */
        const struct cedar_pattern *pattern;
        struct str type;
    };
};

struct cedar_program {
    uint32_t start; /* of the first condition, in the set's code */
    uint32_t conditions;
    uint32_t effect;
};

uint32_t cedar_code_size(const struct cedar_expr *expr);
/* Writes cedar_code_size nodes. Texts and paths stay where they are. */
void cedar_code_write(struct cedar_code *code, const struct cedar_expr *expr);
/* All conditions of all policies, with names interned. */
enum err cedar_code_make(struct arena *arena,
    const struct cedar_policy *const *policies, uint32_t count,
    const struct cedar_program **programs,
    const struct cedar_code **code) MUSTCHECK;

/* --- policies.c --- */
struct cedar_index;

struct cedar_policies {
    struct arena *arena;
    const struct cedar_policy *const *items; /* static and linked */
    uint32_t count;
    const struct cedar_policy *const *templates;
    uint32_t template_count;
    const struct cedar_policy **ids; /* open hash table of both by id */
    uint32_t id_mask;
    const struct cedar_index *index;
    const struct cedar_program *programs; /* by number, as items */
    const struct cedar_code *code;
};

/* --- entities.c --- */
struct cedar_node {
    struct cedar_uid uid;
    const struct cedar_record *attributes; /* NULL: only named as a parent */
    const struct cedar_record *tags;
    const uint32_t *ancestors; /* node numbers, ascending, without itself */
    uint32_t ancestor_count;
    uint32_t number;
};
/* NULL when the store does not know the uid. entities may be NULL. */
const struct cedar_node *cedar_entities_node(
    const struct cedar_entities *entities, const struct cedar_uid *uid);
const struct cedar_node *cedar_entities_node_at(
    const struct cedar_entities *entities, uint32_t number);
bool cedar_node_is_below(
    const struct cedar_node *node, const struct cedar_node *ancestor);

/* --- eval.c --- */
struct cedar_evaluation {
    const struct cedar_entities *entities;
    const struct cedar_request *request;
    struct cedar_value variables[4];
    const struct cedar_node *nodes[3]; /* of the request's uids */
    struct arena *arena;
    uint64_t steps;       /* left */
    uint64_t slots_known; /* by slot: a bit when looked up */
    const struct cedar_value *slots[CEDAR_SLOTS]; /* NULL: not there */
    struct cedar_failure *failure;                /* where to tell why */
};
void cedar_evaluation_init(struct cedar_evaluation *e,
    const struct cedar_entities *entities, const struct cedar_request *request,
    struct arena *arena);
/* CEDAR_NONE: failed, and *e->failure says why. */
struct cedar_value cedar_eval(
    struct cedar_evaluation *e, const struct cedar_code *code);
/* `count` conditions, one behind the other. 1 all satisfied, 0 not,
 * -1 failed. */
int cedar_eval_conditions(
    struct cedar_evaluation *e, const struct cedar_code *code, uint32_t count);

/* --- index.c --- */
/* The scope of one policy with its names as numbers. */
#define CEDAR_NO_SYMBOL UINT32_MAX
struct cedar_scope_code {
    uint8_t kind;    /* enum cedar_scope_kind */
    uint32_t entity; /* EQUAL, IN, IS_IN; IN_SET: start in `sets` */
    uint32_t count;  /* IN_SET */
    uint32_t type;   /* IS, IS_IN */
};
enum cedar_dimension {
    CEDAR_BY_PRINCIPAL,
    CEDAR_BY_ACTION,
    CEDAR_BY_RESOURCE,
    CEDAR_BY_PRINCIPAL_TYPE,
    CEDAR_BY_RESOURCE_TYPE,
    CEDAR_DIMENSIONS
};
/* What a request is to the index: its uids and their ancestors as numbers. */
struct cedar_lookup {
    uint32_t self[3]; /* symbols or CEDAR_NO_SYMBOL */
    uint32_t type[3];
    uint32_t *found[3]; /* symbols of the uid and its ancestors */
    uint32_t found_count[3];
    uint32_t *stamps[3]; /* by symbol: == epoch when found */
    uint32_t *seen;      /* by policy: == epoch when visited */
    uint32_t epoch;
};
/* In the arena of the policies. */
enum err cedar_index_make(struct arena *arena,
    const struct cedar_policy *const *policies, uint32_t count,
    const struct cedar_index **out) MUSTCHECK;
/* Symbols of one dimension: how large found and stamps have to be. */
uint32_t cedar_index_symbols(const struct cedar_index *index, unsigned place);
/* Fills lookup but for the arrays and the epoch, which the caller sets. */
void cedar_index_prepare(const struct cedar_index *index,
    const struct cedar_entities *entities, const struct cedar_request *request,
    const struct cedar_node *const nodes[3], struct cedar_lookup *lookup);
/* Calls visit for each policy whose scope holds, once, in no order. */
typedef enum err cedar_index_visit(void *context, uint32_t policy);
enum err cedar_index_walk(const struct cedar_index *index,
    struct cedar_lookup *lookup, cedar_index_visit *visit,
    void *context) MUSTCHECK;

#endif
