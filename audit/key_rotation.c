/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/key_rotation.c - see key_rotation.h. */
#include "audit/key_rotation.h"

#include "lib/clock.h"
#include "lib/file.h"

#include <stdlib.h>

#define FIRST_LINE "bailiff.key-rotation/v1"
#define TEXT_LINES 6
#define SIGNATURE_LINES 2

enum err key_rotation_write(const struct key_rotation *rotation,
    const struct note_signer *old_signer, const struct note_signer *new_signer,
    struct buf *out, struct errinfo *info)
{
    const struct note_signer *signers[] = {old_signer, new_signer};
    char until[CLOCK_TEXT_LENGTH];
    struct buf text;
    buf_init(&text, 8192);
    buf_append_str(&text, STR(FIRST_LINE "\n"));
    buf_append_str(&text, str_from(rotation->old_key.name));
    buf_append_char(&text, '\n');
    note_key_format(&rotation->old_key, &text);
    buf_append_char(&text, '\n');
    note_key_format(&rotation->new_key, &text);
    buf_append_char(&text, '\n');
    buf_append_u64(&text, rotation->size);
    buf_append_char(&text, '\n');
    clock_format(until, rotation->until_us);
    buf_append(&text, until, sizeof(until));
    buf_append_char(&text, '\n');
    enum err err = text.failed
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : note_sign(buf_str(&text), signers, 2, out, info);
    buf_fini(&text);
    return err;
}

/* The bytes of the first note: six lines, an empty one, two. */
static bool cut_note(struct str *text, struct str *note)
{
    size_t lines = 0, at = 0;
    while (at < text->len && lines < TEXT_LINES + 1 + SIGNATURE_LINES)
        lines += text->ptr[at++] == '\n';
    if (lines < TEXT_LINES + 1 + SIGNATURE_LINES)
        return false;
    *note = str_make(text->ptr, at);
    *text = str_make(text->ptr + at, text->len - at);
    return true;
}

static enum err read_text(
    struct str text, struct key_rotation *out, struct errinfo *info)
{
    struct str lines[TEXT_LINES], rest = text;
    for (size_t i = 0; i < TEXT_LINES; i++)
        if (!str_split(rest, '\n', &lines[i], &rest))
            return errinfo_set(info, ERR_SYNTAX, "a line is missing");
    if (rest.len > 0 || !str_equal(lines[0], STR(FIRST_LINE)) ||
        str_to_u64(lines[4], &out->size) != ERR_OK ||
        clock_parse(lines[5], &out->until_us) != ERR_OK)
        return errinfo_set(
            info, ERR_SYNTAX, "this is no note of a rotated key");
    enum err err = note_key_parse(lines[2], &out->old_key, info);
    if (err == ERR_OK)
        err = note_key_parse(lines[3], &out->new_key, info);
    if (err == ERR_OK && (!str_equal(lines[1], str_from(out->old_key.name)) ||
                             !str_equal(lines[1], str_from(out->new_key.name))))
        err = errinfo_set(info, ERR_SYNTAX, "its keys are of other logs");
    return err;
}

enum err key_rotation_next(
    struct str *text, struct key_rotation *out, struct errinfo *info)
{
    struct str note, body, end;
    if (text->len == 0)
        return ERR_NOTFOUND;
    memset(out, 0, sizeof(*out));
    if (!cut_note(text, &note))
        return errinfo_set(info, ERR_SYNTAX, "a note is cut short");
    /* The text ends at the first empty line: no line of it is empty. */
    const char *empty = memmem(note.ptr, note.len, "\n\n", 2);
    if (empty == NULL)
        return errinfo_set(info, ERR_SYNTAX, "a note has no signatures");
    body = str_make(note.ptr, (size_t)(empty - note.ptr) + 1);
    enum err err = read_text(body, out, info);
    /* Both, each for itself. */
    const struct note_key *keys[] = {&out->old_key, &out->new_key};
    for (int i = 0; err == ERR_OK && i < 2; i++)
        err = note_open(note, keys[i], 1, &end, info);
    if (err == ERR_OK && !str_equal(end, body))
        err = errinfo_set(info, ERR_SYNTAX, "a note has an empty line");
    return err;
}

static const uint8_t *newest_of(const struct note_key *key)
{
    return key->successor_count > 0
               ? key->successors[key->successor_count - 1].public_key
               : key->public_key;
}

static bool is_same(const struct note_key *a, const uint8_t *public_key)
{
    return memcmp(a->public_key, public_key, ED25519_KEY_SIZE) == 0;
}

static enum err follow(struct str text, struct note_key *key,
    struct key_rotation *last, struct errinfo *info)
{
    struct key_rotation rotation;
    bool found = false, any = false;
    uint8_t expected[ED25519_KEY_SIZE];
    enum err err;
    while ((err = key_rotation_next(&text, &rotation, info)) == ERR_OK) {
        if (strcmp(rotation.old_key.name, key->name) != 0 ||
            (any && !is_same(&rotation.old_key, expected)))
            return errinfo_set(info, ERR_CORRUPT,
                "a rotation does not continue the one before");
        any = true;
        memcpy(expected, rotation.new_key.public_key, sizeof(expected));
        *last = rotation;
        if (!found && !is_same(&rotation.old_key, newest_of(key)))
            continue; /* before the key that we were given */
        found = true;
        if (key->successor_count == NOTE_SUCCESSORS_MAX)
            return errinfo_set(info, ERR_LIMIT,
                "more than %d rotations of the log's key", NOTE_SUCCESSORS_MAX);
        memcpy(
            key->successors[key->successor_count].id, rotation.new_key.id, 4);
        memcpy(key->successors[key->successor_count].public_key,
            rotation.new_key.public_key, ED25519_KEY_SIZE);
        key->successor_count++;
    }
    if (err != ERR_NOTFOUND)
        return err;
    return any && !found && !is_same(&last->new_key, newest_of(key))
               ? errinfo_set(info, ERR_DENIED,
                     "the key of \"%s\" that was given is in none of the "
                     "rotations of this log",
                     key->name)
               : ERR_OK;
}

enum err key_rotation_follow(const char *log_dir, struct note_key *key,
    struct key_rotation *last, struct errinfo *info)
{
    struct key_rotation newest = {0};
    struct buf text;
    char *path = file_join(log_dir, KEY_ROTATIONS_FILE);
    enum err err =
        path ? ERR_OK : errinfo_set(info, ERR_NOMEM, "out of memory");
    buf_init(&text, KEY_ROTATIONS_MAX);
    key->successor_count = 0;
    memset(key->successors, 0, sizeof(key->successors));
    if (err == ERR_OK && file_exists(path)) {
        err = file_read(path, &text, info);
        if (err == ERR_OK)
            err = follow(buf_str(&text), key, &newest, info);
        if (err != ERR_OK)
            (void)errinfo_prefix(info, err, "%s", path);
    }
    if (err == ERR_OK && last != NULL)
        *last = newest;
    buf_fini(&text);
    free(path);
    return err;
}
