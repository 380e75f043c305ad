/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/checkpoint.c - see checkpoint.h. */
#include "audit/checkpoint.h"

#include "lib/encode.h"
#include "lib/must.h"

#include <inttypes.h>
#include <stdio.h>

/* "— ": U+2014 and a space. */
#define SIGNATURE_PREFIX STR("\xe2\x80\x94 ")
#define SIGNER_PREFIX STR("PRIVATE+KEY+")

/* --- Names and keys -------------------------------------------------------
 */

static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* The next code point of a text that is UTF-8. */
static uint32_t next_code_point(struct str s, size_t *at)
{
    uint8_t lead = (uint8_t)s.ptr[(*at)++];
    if (lead < 0x80)
        return lead;
    unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    uint32_t c = lead & (0x3fu >> more);
    for (unsigned i = 0; i < more; i++)
        c = c << 6 | ((uint8_t)s.ptr[(*at)++] & 0x3f);
    return c;
}

bool note_name_is_valid(struct str name)
{
    if (name.len == 0 || name.len > NOTE_NAME_MAX || !str_is_utf8(name))
        return false;
    for (size_t at = 0; at < name.len;) {
        uint32_t c = next_code_point(name, &at);
        if (c == '+' || c < 0x20 || is_space(c))
            return false;
    }
    return true;
}

static enum err make_key(enum note_key_type type, struct str name,
    const uint8_t public_key[ED25519_KEY_SIZE], struct note_key *out,
    struct errinfo *info)
{
    if (!note_name_is_valid(name))
        return errinfo_set(info, ERR_INVALID,
            "\"%.*s\" cannot name a log: 1 to %d bytes of UTF-8 without white "
            "space and '+'",
            STR_ARG(name), NOTE_NAME_MAX);
    memset(out, 0, sizeof(*out));
    out->type = type;
    memcpy(out->name, name.ptr, name.len);
    memcpy(out->public_key, public_key, ED25519_KEY_SIZE);
    uint8_t input[NOTE_NAME_MAX + 2 + ED25519_KEY_SIZE], digest[SHA256_SIZE];
    memcpy(input, name.ptr, name.len);
    input[name.len] = '\n';
    input[name.len + 1] = (uint8_t)type;
    memcpy(input + name.len + 2, public_key, ED25519_KEY_SIZE);
    crypto_sha256(digest, input, name.len + 2 + ED25519_KEY_SIZE);
    memcpy(out->id, digest, sizeof(out->id));
    return ERR_OK;
}

enum err note_key_make(struct str name,
    const uint8_t public_key[ED25519_KEY_SIZE], struct note_key *out,
    struct errinfo *info)
{
    return make_key(NOTE_KEY_LOG, name, public_key, out, info);
}

/* "name+hhhhhhhh+base64": Base64 may hold '+', so the first two count. */
static enum err split_key(enum note_key_type type, struct str text,
    struct str *name, uint8_t id[4], uint8_t key[ED25519_KEY_SIZE],
    struct errinfo *info)
{
    struct str rest, hex, encoded;
    uint8_t bytes[1 + ED25519_KEY_SIZE];
    size_t id_size, size;
    bool ok = str_split(text, '+', name, &rest) &&
              str_split(rest, '+', &hex, &encoded) && hex.len == 8 &&
              hex_decode(hex, id, 4, &id_size) == ERR_OK &&
              base64_decode(encoded, bytes, sizeof(bytes), &size) == ERR_OK &&
              size == sizeof(bytes);
    if (!ok)
        return errinfo_set(info, ERR_SYNTAX,
            "this is no key of a %s: it should read NAME+8 hex digits+Base64",
            type == NOTE_KEY_LOG ? "log" : "witness");
    if (bytes[0] != type) {
        unsigned other = bytes[0];
        crypto_wipe(bytes, sizeof(bytes));
        return errinfo_set(info, ERR_UNSUPPORTED,
            "the key of \"%.*s\" is of type %u; %s", STR_ARG(*name), other,
            type == NOTE_KEY_LOG
                ? "a log's is Ed25519 (1)"
                : "a witness's is for Ed25519 cosignatures (4)");
    }
    memcpy(key, bytes + 1, ED25519_KEY_SIZE);
    crypto_wipe(bytes, sizeof(bytes));
    return ERR_OK;
}

static enum err check_id(
    const struct note_key *key, const uint8_t id[4], struct errinfo *info)
{
    if (memcmp(key->id, id, sizeof(key->id)) == 0)
        return ERR_OK;
    return errinfo_set(info, ERR_SYNTAX,
        "the key of \"%s\" is damaged: its id does not fit", key->name);
}

static enum err parse_key(enum note_key_type type, struct str text,
    struct note_key *out, struct errinfo *info)
{
    struct str name;
    uint8_t id[4], public_key[ED25519_KEY_SIZE];
    enum err err = split_key(type, text, &name, id, public_key, info);
    if (err == ERR_OK)
        err = make_key(type, name, public_key, out, info);
    if (err == ERR_OK)
        err = check_id(out, id, info);
    return err;
}

enum err note_key_parse(
    struct str text, struct note_key *out, struct errinfo *info)
{
    return parse_key(NOTE_KEY_LOG, text, out, info);
}

enum err note_witness_key_parse(
    struct str text, struct note_key *out, struct errinfo *info)
{
    return parse_key(NOTE_KEY_WITNESS, text, out, info);
}

static void format_key(enum note_key_type type, struct str name,
    const uint8_t id[4], const uint8_t key[ED25519_KEY_SIZE], struct buf *out)
{
    uint8_t bytes[1 + ED25519_KEY_SIZE];
    bytes[0] = (uint8_t)type;
    memcpy(bytes + 1, key, ED25519_KEY_SIZE);
    buf_append_str(out, name);
    buf_append_char(out, '+');
    hex_append(out, id, 4);
    buf_append_char(out, '+');
    base64_append(out, bytes, sizeof(bytes));
    crypto_wipe(bytes, sizeof(bytes));
}

void note_key_format(const struct note_key *key, struct buf *out)
{
    format_key(key->type, str_from(key->name), key->id, key->public_key, out);
}

enum err note_signer_generate(
    struct str name, struct note_signer *out, struct errinfo *info)
{
    uint8_t public_key[ED25519_KEY_SIZE];
    crypto_ed25519_generate(out->seed, public_key);
    return note_key_make(name, public_key, &out->key, info);
}

enum err note_witness_generate(
    struct str name, struct note_signer *out, struct errinfo *info)
{
    uint8_t public_key[ED25519_KEY_SIZE];
    crypto_ed25519_generate(out->seed, public_key);
    return make_key(NOTE_KEY_WITNESS, name, public_key, &out->key, info);
}

static enum err parse_signer(enum note_key_type type, struct str text,
    struct note_signer *out, struct errinfo *info)
{
    if (!str_starts(text, SIGNER_PREFIX))
        return errinfo_set(info, ERR_SYNTAX,
            "this is no signing key: it should begin with PRIVATE+KEY+");
    struct str rest =
        str_make(text.ptr + SIGNER_PREFIX.len, text.len - SIGNER_PREFIX.len);
    struct str name;
    uint8_t id[4], public_key[ED25519_KEY_SIZE];
    enum err err = split_key(type, rest, &name, id, out->seed, info);
    if (err == ERR_OK && crypto_ed25519_public(out->seed, public_key) != ERR_OK)
        err = errinfo_set(info, ERR_SYNTAX, "this is no Ed25519 key");
    if (err == ERR_OK)
        err = make_key(type, name, public_key, &out->key, info);
    if (err == ERR_OK)
        err = check_id(&out->key, id, info);
    if (err != ERR_OK)
        note_signer_wipe(out);
    return err;
}

enum err note_signer_parse(
    struct str text, struct note_signer *out, struct errinfo *info)
{
    return parse_signer(NOTE_KEY_LOG, text, out, info);
}

enum err note_witness_parse(
    struct str text, struct note_signer *out, struct errinfo *info)
{
    return parse_signer(NOTE_KEY_WITNESS, text, out, info);
}

void note_signer_format(const struct note_signer *signer, struct buf *out)
{
    buf_append_str(out, SIGNER_PREFIX);
    format_key(signer->key.type, str_from(signer->key.name), signer->key.id,
        signer->seed, out);
}

void note_signer_wipe(struct note_signer *signer)
{
    crypto_wipe(signer, sizeof(*signer));
}

/* --- Notes ----------------------------------------------------------------
 */

enum err note_sign(struct str text, const struct note_signer *const *signers,
    size_t count, struct buf *out, struct errinfo *info)
{
    MUST(text.len > 0 && text.ptr[text.len - 1] == '\n');
    buf_append_str(out, text);
    buf_append_char(out, '\n');
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[4 + ED25519_SIGNATURE_SIZE];
        memcpy(bytes, signers[i]->key.id, 4);
        if (crypto_ed25519_sign(
                signers[i]->seed, text.ptr, text.len, bytes + 4) != ERR_OK)
            return errinfo_set(info, ERR_WRONG_STATE,
                "cannot sign with the key of \"%s\"", signers[i]->key.name);
        buf_append_str(out, SIGNATURE_PREFIX);
        buf_append_str(out, str_from(signers[i]->key.name));
        buf_append_char(out, ' ');
        base64_append(out, bytes, sizeof(bytes));
        buf_append_char(out, '\n');
    }
    return out->failed ? errinfo_set(info, ERR_NOMEM, "out of memory") : ERR_OK;
}

/* The text up to the last empty line, and the signature lines behind it. */
static bool split_note(struct str note, struct str *text, struct str *lines)
{
    if (note.len < 4 || note.len > NOTE_MAX || note.ptr[note.len - 1] != '\n' ||
        !str_is_utf8(note))
        return false;
    for (size_t i = 0; i < note.len; i++)
        if ((uint8_t)note.ptr[i] < 0x20 && note.ptr[i] != '\n')
            return false;
    for (size_t i = note.len - 1; i-- > 1;) {
        if (note.ptr[i] != '\n' || note.ptr[i - 1] != '\n')
            continue;
        *text = str_make(note.ptr, i);
        *lines = str_make(note.ptr + i + 1, note.len - i - 1);
        return lines->len > 0;
    }
    return false;
}

/* --- Cosignatures --------------------------------------------------------- */

/* What a witness signs: "cosignature/v1", "time T", the text. */
static bool cosigned_text(struct str text, uint64_t time_s, struct buf *out)
{
    buf_init(out, NOTE_MAX + 64);
    buf_printf(out, "cosignature/v1\ntime %" PRIu64 "\n", time_s);
    buf_append_str(out, text);
    return !out->failed;
}

static uint64_t read_time(const uint8_t bytes[8])
{
    uint64_t time_s = 0;
    for (int i = 0; i < 8; i++)
        time_s = time_s << 8 | bytes[i];
    return time_s;
}

static bool cosignature_holds(struct str text, const struct note_key *witness,
    const uint8_t cosignature[COSIGNATURE_SIZE], int64_t *time_s)
{
    struct buf message;
    uint64_t time = read_time(cosignature);
    if (time > INT64_MAX)
        return false;
    bool holds =
        cosigned_text(text, time, &message) &&
        crypto_ed25519_verify(witness->public_key, buf_str(&message).ptr,
            buf_str(&message).len, cosignature + 8);
    buf_fini(&message);
    *time_s = (int64_t)time;
    return holds;
}

enum err note_cosign(struct str text, const struct note_signer *witness,
    int64_t time_s, struct buf *out, struct errinfo *info)
{
    uint8_t bytes[4 + COSIGNATURE_SIZE];
    struct buf message;
    MUST(text.len > 0 && text.ptr[text.len - 1] == '\n' && time_s >= 0);
    memcpy(bytes, witness->key.id, 4);
    for (int i = 0; i < 8; i++)
        bytes[4 + i] = (uint8_t)((uint64_t)time_s >> (56 - 8 * i));
    bool made = cosigned_text(text, (uint64_t)time_s, &message);
    enum err err =
        made ? crypto_ed25519_sign(witness->seed, buf_str(&message).ptr,
                   buf_str(&message).len, bytes + 12)
             : ERR_NOMEM;
    buf_fini(&message);
    if (err != ERR_OK)
        return errinfo_set(info, err, "cannot cosign with the key of \"%s\"",
            witness->key.name);
    buf_append_str(out, SIGNATURE_PREFIX);
    buf_append_str(out, str_from(witness->key.name));
    buf_append_char(out, ' ');
    base64_append(out, bytes, sizeof(bytes));
    buf_append_char(out, '\n');
    return out->failed ? errinfo_set(info, ERR_NOMEM, "out of memory") : ERR_OK;
}

/* The public key of this id: the key's, or a successor's; NULL: neither. */
static const uint8_t *public_key_of(
    const struct note_key *key, const uint8_t id[4])
{
    if (memcmp(key->id, id, 4) == 0)
        return key->public_key;
    for (size_t i = 0; i < key->successor_count; i++)
        if (memcmp(key->successors[i].id, id, 4) == 0)
            return key->successors[i].public_key;
    return NULL;
}

/* One signature line without its newline. *time_s (may be NULL) is set where a
 * witness's line is good. */
static enum err check_line(struct str line, struct str text,
    const struct note_key *keys, size_t count, int64_t *time_s, bool *good,
    struct errinfo *info)
{
    int64_t time = 0;
    /* Large enough for ML-DSA-44, which is passed over. */
    uint8_t bytes[4096];
    size_t size;
    struct str name, encoded;
    bool form = str_starts(line, SIGNATURE_PREFIX) &&
                str_split(str_make(line.ptr + SIGNATURE_PREFIX.len,
                              line.len - SIGNATURE_PREFIX.len),
                    ' ', &name, &encoded) &&
                note_name_is_valid(name) &&
                base64_decode(encoded, bytes, sizeof(bytes), &size) == ERR_OK &&
                size >= 5;
    if (!form)
        return errinfo_set(info, ERR_SYNTAX,
            "a signature line of the note has not the form \"\xe2\x80\x94 NAME "
            "BASE64\"");
    for (size_t i = 0; i < count; i++) {
        const uint8_t *public_key = str_equal(name, str_from(keys[i].name))
                                        ? public_key_of(&keys[i], bytes)
                                        : NULL;
        if (public_key == NULL)
            continue;
        bool holds =
            keys[i].type == NOTE_KEY_WITNESS
                ? size == 4 + COSIGNATURE_SIZE &&
                      cosignature_holds(text, &keys[i], bytes + 4, &time)
                : size == 4 + ED25519_SIGNATURE_SIZE &&
                      crypto_ed25519_verify(
                          public_key, text.ptr, text.len, bytes + 4);
        if (!holds)
            return errinfo_set(info, ERR_DENIED,
                "the signature of \"%s\" does not fit the text: it was "
                "altered, or signed with another key",
                keys[i].name);
        *good = true;
        if (time_s != NULL)
            *time_s = time;
    }
    return ERR_OK;
}

enum err note_open(struct str note, const struct note_key *keys, size_t count,
    struct str *text, struct errinfo *info)
{
    struct str lines, signed_text;
    if (!split_note(note, &signed_text, &lines))
        return errinfo_set(info, ERR_SYNTAX,
            "this is no signed note: a text, an empty line and signature "
            "lines are due");
    bool good = false;
    for (unsigned n = 0; lines.len > 0; n++) {
        if (n == NOTE_SIGNATURES_MAX)
            return errinfo_set(info, ERR_LIMIT,
                "the note has more than %d signatures", NOTE_SIGNATURES_MAX);
        struct str line, rest;
        (void)str_split(lines, '\n', &line, &rest);
        lines = rest;
        enum err err =
            check_line(line, signed_text, keys, count, NULL, &good, info);
        if (err != ERR_OK)
            return err;
    }
    if (!good)
        return errinfo_set(info, ERR_DENIED,
            "the note is not signed with the key of \"%s\"",
            count > 0 ? keys[0].name : "");
    *text = signed_text;
    return ERR_OK;
}

enum err note_take_cosignature(struct str text, struct str lines,
    const struct note_key *witness, struct buf *out, int64_t *time_s,
    struct errinfo *info)
{
    bool any = false;
    if (lines.len > NOTE_MAX || !str_is_utf8(lines))
        return errinfo_set(info, ERR_SYNTAX, "these are no signature lines");
    for (unsigned n = 0; lines.len > 0; n++) {
        struct str line, rest;
        bool good = false;
        if (n == NOTE_SIGNATURES_MAX || !str_split(lines, '\n', &line, &rest))
            return errinfo_set(info, ERR_SYNTAX,
                "these are no signature lines, each ended by a newline");
        lines = rest;
        enum err err = check_line(line, text, witness, 1, time_s, &good, info);
        if (err != ERR_OK)
            return err;
        if (!good)
            continue;
        buf_append_str(out, line);
        buf_append_char(out, '\n');
        any = true;
    }
    if (out->failed)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    return any ? ERR_OK
               : errinfo_set(info, ERR_NOTFOUND,
                     "there is no cosignature of \"%s\"", witness->name);
}

enum err note_cosigned(struct str note, const struct note_key *witness,
    int64_t *time_s, struct errinfo *info)
{
    struct str text, lines;
    struct buf taken;
    if (!split_note(note, &text, &lines))
        return errinfo_set(info, ERR_SYNTAX, "this is no signed note");
    buf_init(&taken, NOTE_MAX);
    enum err err =
        note_take_cosignature(text, lines, witness, &taken, time_s, info);
    buf_fini(&taken);
    return err;
}

bool note_is_current(struct str note, const struct note_key *key)
{
    struct note_key newest = *key;
    struct str text;
    if (key->successor_count > 0) {
        size_t last = key->successor_count - 1;
        memcpy(newest.id, key->successors[last].id, sizeof(newest.id));
        memcpy(newest.public_key, key->successors[last].public_key,
            ED25519_KEY_SIZE);
    }
    newest.successor_count = 0;
    return note_open(note, &newest, 1, &text, NULL) == ERR_OK;
}

/* --- Checkpoints ----------------------------------------------------------
 */

void checkpoint_format(const struct checkpoint *checkpoint, struct buf *out)
{
    buf_append_str(out, checkpoint->origin);
    buf_append_char(out, '\n');
    buf_append_u64(out, checkpoint->size);
    buf_append_char(out, '\n');
    base64_append(out, checkpoint->root.bytes, SHA256_SIZE);
    buf_append_char(out, '\n');
    buf_append_str(out, checkpoint->extensions);
}

enum err checkpoint_parse(
    struct str text, struct checkpoint *out, struct errinfo *info)
{
    struct str origin, size, root, rest;
    size_t root_size;
    bool ok = str_split(text, '\n', &origin, &rest) && origin.len > 0 &&
              str_split(rest, '\n', &size, &rest) &&
              str_split(rest, '\n', &root, &rest) &&
              str_to_u64(size, &out->size) == ERR_OK &&
              out->size <= INT64_MAX && (size.len == 1 || size.ptr[0] != '0') &&
              base64_decode(root, out->root.bytes, SHA256_SIZE, &root_size) ==
                  ERR_OK &&
              root_size == SHA256_SIZE &&
              (rest.len == 0 || rest.ptr[rest.len - 1] == '\n');
    if (!ok)
        return errinfo_set(info, ERR_SYNTAX,
            "this is no checkpoint: origin, decimal size and Base64 root are "
            "due, a line each");
    /* Extension lines are not empty. */
    for (size_t i = 0; i < rest.len; i++)
        if (rest.ptr[i] == '\n' && (i == 0 || rest.ptr[i - 1] == '\n'))
            return errinfo_set(
                info, ERR_SYNTAX, "the checkpoint has an empty line");
    out->origin = origin;
    out->extensions = rest;
    return ERR_OK;
}

enum err checkpoint_open(struct str note, const struct note_key *key,
    struct checkpoint *out, struct errinfo *info)
{
    struct str text;
    enum err err = note_open(note, key, 1, &text, info);
    if (err == ERR_OK)
        err = checkpoint_parse(text, out, info);
    if (err == ERR_OK && !str_equal(out->origin, str_from(key->name)))
        err = errinfo_set(info, ERR_DENIED,
            "the checkpoint is of the log \"%.*s\", not of \"%s\"",
            STR_ARG(out->origin), key->name);
    return err;
}
