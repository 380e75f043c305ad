/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/prove.c - proof files and consistency (audit/prove.h). */
#include "audit/prove.h"

#include "audit/key_rotation.h"

#include "audit/tiles.h"
#include "lib/encode.h"
#include "lib/file.h"

#include <inttypes.h>
#include <stdlib.h>

#define PROOF_MAGIC "c2sp.org/tlog-proof@v1\n"

enum err audit_key_read(const char *state_dir, struct str given,
    struct note_key *out, struct errinfo *info)
{
    struct str line = given, rest;
    struct buf text;
    char *path = NULL, *log_dir = NULL;
    enum err err = ERR_OK;
    buf_init(&text, 4096);
    if (line.len == 0) {
        path = file_join(state_dir, "log.vkey");
        err = path ? file_read(path, &text, info)
                   : errinfo_set(info, ERR_NOMEM, "out of memory");
        (void)str_split(buf_str(&text), '\n', &line, &rest);
    }
    if (err == ERR_OK)
        err = note_key_parse(line, out, info);
    if (err == ERR_OK && state_dir != NULL) {
        log_dir = file_join(state_dir, "log");
        err = log_dir ? key_rotation_follow(log_dir, out, NULL, info)
                      : errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    free(log_dir);
    free(path);
    buf_fini(&text);
    return err;
}

/* --- Making ----------------------------------------------------------------
 */

enum err audit_prove_hashes(const char *log_dir,
    const struct checkpoint *checkpoint, uint64_t index, struct str entry,
    struct merkle_proof *out, struct errinfo *info)
{
    struct tile_source tiles;
    struct merkle_source source = {tile_source_node, &tiles};
    struct merkle_hash leaf;
    if (index >= checkpoint->size)
        return errinfo_set(info, ERR_RANGE,
            "entry %" PRIu64 " is not covered by the checkpoint of %" PRIu64
            " entries",
            index, checkpoint->size);
    tile_source_init(&tiles, log_dir, checkpoint->size);
    enum err err =
        merkle_prove_inclusion(&source, index, checkpoint->size, out, info);
    if (err != ERR_OK)
        return err;
    merkle_leaf(NULL, entry, &leaf);
    if (!merkle_verify_inclusion(index, checkpoint->size, &leaf, out->hashes,
            out->count, &checkpoint->root))
        return errinfo_set(info, ERR_CORRUPT,
            "entry %" PRIu64 " and the tiles of %s do not lead to the root "
            "that was signed; `bailiff audit verify` says what differs",
            index, log_dir);
    return ERR_OK;
}

enum err audit_prove(const char *log_dir, const struct note_key *key,
    struct str note, uint64_t index, struct str entry, struct buf *out,
    struct errinfo *info)
{
    struct checkpoint checkpoint;
    struct merkle_proof proof;
    enum err err = checkpoint_open(note, key, &checkpoint, info);
    if (err == ERR_OK)
        err = audit_prove_hashes(
            log_dir, &checkpoint, index, entry, &proof, info);
    if (err != ERR_OK)
        return err;
    buf_append_str(out, STR(PROOF_MAGIC));
    buf_append_str(out, STR("extra "));
    base64_append(out, entry.ptr, entry.len);
    buf_printf(out, "\nindex %" PRIu64 "\n", index);
    for (unsigned i = 0; i < proof.count; i++) {
        base64_append(out, proof.hashes[i].bytes, SHA256_SIZE);
        buf_append_char(out, '\n');
    }
    buf_append_char(out, '\n');
    buf_append_str(out, note);
    return out->failed ? errinfo_set(info, ERR_NOMEM, "out of memory") : ERR_OK;
}

/* --- Reading ---------------------------------------------------------------
 */

bool audit_proof_is(struct str text)
{
    return str_starts(text, STR("c2sp.org/tlog-proof@"));
}

/* Takes a line off; false where no newline is left. */
static bool take_line(struct str *rest, struct str *line)
{
    struct str tail;
    if (!memchr(rest->ptr, '\n', rest->len))
        return false;
    (void)str_split(*rest, '\n', line, &tail);
    *rest = tail;
    return true;
}

static enum err bad_line(
    struct errinfo *info, int line, const char *what, struct str text)
{
    int shown = text.len < 80 ? (int)text.len : 80;
    return errinfo_set(info, ERR_SYNTAX, "line %d of the proof: %s: \"%.*s\"",
        line, what, shown, text.ptr);
}

static enum err parse_extra(struct arena *arena, struct str text,
    struct audit_proof *out, struct errinfo *info)
{
    size_t room = text.len / 4 * 3 + 3;
    char *bytes = arena_alloc(arena, room);
    size_t size = 0;
    if (!bytes)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    if (base64_decode(text, (uint8_t *)bytes, room, &size) != ERR_OK)
        return bad_line(info, 2, "the extra data is no base64", text);
    out->entry = str_make(bytes, size);
    out->has_entry = true;
    return ERR_OK;
}

static bool parse_index(struct str line, uint64_t *out)
{
    static const struct str word = STR_INIT("index ");
    if (!str_starts(line, word))
        return false;
    struct str digits = str_make(line.ptr + word.len, line.len - word.len);
    return str_to_u64(digits, out) == ERR_OK &&
           (digits.len == 1 || digits.ptr[0] != '0');
}

enum err audit_proof_parse(struct arena *arena, struct str text,
    struct audit_proof *out, struct errinfo *info)
{
    static const struct str extra = STR_INIT("extra ");
    struct str rest = text, line = STR("");
    enum err err = ERR_OK;
    int number = 1;
    *out = (struct audit_proof){0};
    if (!take_line(&rest, &line) ||
        !str_equal(line, STR("c2sp.org/tlog-proof@v1")))
        return bad_line(
            info, 1, "\"c2sp.org/tlog-proof@v1\" is wanted here", line);
    number++;
    if (!take_line(&rest, &line))
        return bad_line(info, number, "the file ends here", rest);
    if (str_starts(line, extra)) {
        err = parse_extra(arena,
            str_make(line.ptr + extra.len, line.len - extra.len), out, info);
        if (err != ERR_OK)
            return err;
        number++;
        if (!take_line(&rest, &line))
            return bad_line(info, number, "the file ends here", rest);
    }
    if (!parse_index(line, &out->index))
        return bad_line(info, number, "\"index NUMBER\" is wanted here", line);
    for (;;) {
        size_t size;
        number++;
        if (!take_line(&rest, &line))
            return bad_line(info, number, "the file ends here", rest);
        if (line.len == 0)
            break;
        if (out->hashes.count == 64)
            return bad_line(info, number, "more than 64 hashes", line);
        struct merkle_hash *hash = &out->hashes.hashes[out->hashes.count++];
        if (base64_decode(line, hash->bytes, SHA256_SIZE, &size) != ERR_OK ||
            size != SHA256_SIZE)
            return bad_line(info, number,
                "a hash of 32 bytes in base64 is wanted here", line);
    }
    if (rest.len == 0)
        return bad_line(info, number + 1, "the checkpoint is missing", rest);
    out->note = rest;
    return ERR_OK;
}

enum err audit_proof_verify(const struct audit_proof *proof,
    const struct note_key *key, struct str entry, struct checkpoint *checkpoint,
    struct errinfo *info)
{
    struct checkpoint own;
    struct merkle_hash leaf;
    enum err err = checkpoint_open(proof->note, key, &own, info);
    if (err != ERR_OK)
        return errinfo_prefix(info, err, "the proof's checkpoint");
    if (entry.len == 0 && !proof->has_entry)
        return errinfo_set(info, ERR_INVALID,
            "the proof does not carry its entry: give the entry's bytes with "
            "--entry FILE");
    if (entry.len > 0 && proof->has_entry && !str_equal(entry, proof->entry))
        return errinfo_set(info, ERR_CORRUPT,
            "the proof is about another entry than the one given");
    merkle_leaf(NULL, entry.len > 0 ? entry : proof->entry, &leaf);
    if (proof->index >= own.size)
        return errinfo_set(info, ERR_CORRUPT,
            "the proof does not hold: entry %" PRIu64
            " is not in a log of %" PRIu64 " entries",
            proof->index, own.size);
    if (!merkle_verify_inclusion(proof->index, own.size, &leaf,
            proof->hashes.hashes, proof->hashes.count, &own.root))
        return errinfo_set(info, ERR_CORRUPT,
            "the proof does not hold: its hashes do not lead from entry "
            "%" PRIu64 " to the root that was signed over %" PRIu64 " entries",
            proof->index, own.size);
    if (checkpoint)
        *checkpoint = own;
    return ERR_OK;
}

/* --- Two checkpoints -------------------------------------------------------
 */

enum err audit_checkpoints_agree(const char *log_dir,
    const struct checkpoint *a, const struct checkpoint *b,
    struct errinfo *info)
{
    const struct checkpoint *old = a->size <= b->size ? a : b;
    const struct checkpoint *new = old == a ? b : a;
    struct tile_source tiles;
    struct merkle_source source = {tile_source_node, &tiles};
    struct merkle_proof proof;
    if (!str_equal(old->origin, new->origin))
        return errinfo_set(info, ERR_CORRUPT,
            "they are of two logs: \"%.*s\" and \"%.*s\"", STR_ARG(old->origin),
            STR_ARG(new->origin));
    if (old->size == new->size) {
        if (merkle_equal(&old->root, &new->root))
            return ERR_OK;
        return errinfo_set(info, ERR_CORRUPT,
            "two roots were signed over the same %" PRIu64
            " entries: whoever holds the key has written two histories",
            old->size);
    }
    if (old->size == 0)
        return ERR_OK;
    tile_source_init(&tiles, log_dir, new->size);
    enum err err =
        merkle_prove_consistency(&source, old->size, new->size, &proof, info);
    if (err != ERR_OK)
        return errinfo_prefix(info, err, "no consistency proof can be made");
    if (merkle_verify_consistency(old->size, new->size, &old->root, &new->root,
            proof.hashes, proof.count))
        return ERR_OK;
    return errinfo_set(info, ERR_CORRUPT,
        "the log of %" PRIu64 " entries does not begin with the log of "
        "%" PRIu64 " entries, as the tiles of %s have it",
        new->size, old->size, log_dir);
}
