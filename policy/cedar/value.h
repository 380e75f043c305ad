/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/value.h - Cedar values: 16 bytes each, immutable, and built in
 * the caller's arena.
 *
 * Sets and records are canonical: sorted by cedar_value_compare and by
 * cedar_key_compare, without duplicates, so that equality is one pass and a
 * lookup a binary search. The order is for lookups alone; it means nothing to
 * a reader (printers sort record keys by name).
 * Threads: immutable once built. */
#ifndef POLICY_CEDAR_VALUE_H
#define POLICY_CEDAR_VALUE_H

#include "lib/arena.h"
#include "lib/buf.h"

/* Sets and records may nest this deep; the constructors refuse more, so that
 * everything that walks a value may recurse. */
#define CEDAR_VALUE_DEPTH_MAX 512

enum cedar_kind {
    CEDAR_NONE = 0, /* no value: a failed evaluation, or "not there" */
    CEDAR_BOOL,
    CEDAR_LONG,
    CEDAR_STRING,
    CEDAR_ENTITY,
    CEDAR_SET,
    CEDAR_RECORD,
    CEDAR_IP,
    CEDAR_DECIMAL,  /* integer = value * 10^4 */
    CEDAR_DATETIME, /* integer = milliseconds since 1970-01-01T00:00:00Z */
    CEDAR_DURATION  /* integer = milliseconds */
};

/* A record key or an attribute name with its hash. Make the keys that are
 * used often once (cedar_key_make) and keep them. */
struct cedar_key {
    const char *ptr;
    uint32_t len;
    uint32_t hash;
};

/* The type is a normal-form name ("App::User"), the id its unescaped text. */
struct cedar_uid {
    struct str type;
    struct str id;
    uint64_t hash;
};

struct cedar_ip {
    uint8_t bytes[16]; /* network order; version 4 uses the first four */
    uint8_t version;   /* 4 or 6 */
    uint8_t prefix;    /* 0..32 or 0..128 */
};

struct cedar_set;
struct cedar_record;

struct cedar_value {
    uint8_t kind;    /* enum cedar_kind */
    uint32_t length; /* CEDAR_STRING: bytes of text */
    union {
        bool boolean;
        int64_t integer; /* CEDAR_LONG, _DECIMAL, _DATETIME, _DURATION */
        const char *text;
        const struct cedar_uid *entity;
        const struct cedar_set *set;
        const struct cedar_record *record;
        const struct cedar_ip *ip;
    };
};

struct cedar_set {
    uint32_t count;
    uint16_t depth;    /* 1 + the deepest element's */
    bool all_entities; /* also true of the empty set */
    struct cedar_value items[];
};

struct cedar_field {
    struct cedar_key key;
    struct cedar_value value;
};

struct cedar_record {
    uint32_t count;
    uint16_t depth;
    const struct cedar_field *fields; /* sorted by key */
};

extern const struct cedar_record cedar_record_empty;

/* --- Keys and uids --- */

struct cedar_key cedar_key_make(struct str name); /* keeps name's bytes */
static inline struct str cedar_key_str(struct cedar_key key)
{
    return str_make(key.ptr, key.len);
}
static inline bool cedar_key_equal(struct cedar_key a, struct cedar_key b)
{
    return a.hash == b.hash && a.len == b.len &&
           (a.ptr == b.ptr || a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
int cedar_key_compare(struct cedar_key a, struct cedar_key b);

/* Keeps both strings' bytes. */
struct cedar_uid cedar_uid_make(struct str type, struct str id);
static inline bool cedar_uid_equal(
    const struct cedar_uid *a, const struct cedar_uid *b)
{
    return a == b || (a->hash == b->hash && str_equal(a->id, b->id) &&
                         str_equal(a->type, b->type));
}
int cedar_uid_compare(const struct cedar_uid *a, const struct cedar_uid *b);
/* Copies uid and both strings into the arena; NULL when it is full. */
const struct cedar_uid *cedar_uid_copy(
    struct arena *arena, const struct cedar_uid *uid);

/* True for `A` and `A::B`: identifiers of the grammar, none of them a
 * reserved word, none `__cedar`; no blanks. */
bool cedar_name_is_valid(struct str name);
/* True for one identifier that is no reserved word. */
bool cedar_ident_is_valid(struct str name);
/* True for the words that may be no variable, attribute-by-dot or type:
 * true false if then else in is like has. */
bool cedar_word_is_reserved(struct str word);

/* --- Values --- */

static inline struct cedar_value cedar_none(void)
{
    return (struct cedar_value){.kind = CEDAR_NONE};
}
static inline struct cedar_value cedar_bool(bool b)
{
    return (struct cedar_value){.kind = CEDAR_BOOL, .integer = b};
}
static inline struct cedar_value cedar_long(int64_t n)
{
    return (struct cedar_value){.kind = CEDAR_LONG, .integer = n};
}
/* Keeps the bytes (at most 4 GiB - 1, else cut by the caller). */
static inline struct cedar_value cedar_string(struct str s)
{
    return (struct cedar_value){
        .kind = CEDAR_STRING, .length = (uint32_t)s.len, .text = s.ptr};
}
/* Keeps uid. */
static inline struct cedar_value cedar_entity(const struct cedar_uid *uid)
{
    return (struct cedar_value){.kind = CEDAR_ENTITY, .entity = uid};
}
/* Keeps ip. */
static inline struct cedar_value cedar_ip(const struct cedar_ip *ip)
{
    return (struct cedar_value){.kind = CEDAR_IP, .ip = ip};
}
static inline struct cedar_value cedar_decimal(int64_t ten_thousandths)
{
    return (struct cedar_value){
        .kind = CEDAR_DECIMAL, .integer = ten_thousandths};
}
static inline struct cedar_value cedar_datetime(int64_t ms)
{
    return (struct cedar_value){.kind = CEDAR_DATETIME, .integer = ms};
}
static inline struct cedar_value cedar_duration(int64_t ms)
{
    return (struct cedar_value){.kind = CEDAR_DURATION, .integer = ms};
}
static inline struct cedar_value cedar_record_value(
    const struct cedar_record *record)
{
    return (struct cedar_value){.kind = CEDAR_RECORD, .record = record};
}
static inline struct str cedar_text(struct cedar_value v)
{
    return str_make(v.text, v.length);
}

/* A set of a copy of items[0..count), sorted and without duplicates. The
 * elements' own memory is kept, not copied. ERR_NOMEM; ERR_LIMIT: too deep. */
enum err cedar_set_make(struct arena *arena, const struct cedar_value *items,
    size_t count, struct cedar_value *out) MUSTCHECK;

/* A record over fields[0..count), which is sorted in place and kept: it must
 * live as long as the value. Already sorted input costs one pass, so that a
 * caller who builds the same shape often keeps the order he got. ERR_NOMEM;
 * ERR_EXISTS: a key twice; ERR_LIMIT: too deep. */
enum err cedar_record_make(struct arena *arena, struct cedar_field *fields,
    size_t count, struct cedar_value *out) MUSTCHECK;
/* The same without an arena, into the caller's *record. */
enum err cedar_record_init(struct cedar_record *record,
    struct cedar_field *fields, size_t count) MUSTCHECK;

/* NULL when the key is not there. */
const struct cedar_value *cedar_record_find(
    const struct cedar_record *record, struct cedar_key key);

/* Cedar's `==`: never fails, other kinds are unequal. */
bool cedar_value_equal(struct cedar_value a, struct cedar_value b);
/* A total order over all values; 0 exactly when equal. */
int cedar_value_compare(struct cedar_value a, struct cedar_value b);
bool cedar_set_contains(const struct cedar_set *set, struct cedar_value v);
/* 0 for scalars. */
unsigned cedar_value_depth(struct cedar_value v);

/* A deep copy that borrows nothing. ERR_NOMEM. */
enum err cedar_value_copy(struct arena *arena, struct cedar_value v,
    struct cedar_value *out) MUSTCHECK;

/* "a string", "a set", "an IP address" ...: words for messages. */
const char *cedar_kind_words(enum cedar_kind kind);

/* The value as Cedar source: 17, "a\nb", User::"alice", [1, 2],
 * {"k": true}, ip("10.0.0.0/8"). Record keys and set elements come in an
 * order that depends on the value alone. */
void cedar_value_print(struct buf *out, struct cedar_value v);
void cedar_uid_print(struct buf *out, const struct cedar_uid *uid);
/* With the quotes, escaped as in policy text. */
void cedar_quote(struct buf *out, struct str s);

/* Reads the unescaped content of a Cedar string literal (what stands between
 * the quotes). ERR_SYNTAX: *bad is the offset of the bad escape. */
enum err cedar_unescape(struct arena *arena, struct str raw, struct str *out,
    size_t *bad) MUSTCHECK;

#endif
