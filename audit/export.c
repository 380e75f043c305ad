/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/export.c - the lines of an export, and its verification. */
#include "audit/export.h"

#include "audit/prove.h"
#include "lib/encode.h"
#include "lib/json.h"
#include "lib/json_write.h"

#include <inttypes.h>
#include <stdio.h>

/* --- Writing ---------------------------------------------------------------
 */

enum err audit_export_line(const char *log_dir,
    const struct checkpoint *checkpoint, uint64_t index, struct str entry,
    int64_t record, struct buf *out, struct errinfo *info)
{
    struct merkle_proof proof;
    enum err err =
        audit_prove_hashes(log_dir, checkpoint, index, entry, &proof, info);
    if (err != ERR_OK)
        return err;
    buf_append_str(out, STR("{\"entry\":"));
    buf_append_str(out, entry);
    buf_printf(out, ",\"index\":%" PRIu64 ",\"proof\":[", index);
    for (unsigned i = 0; i < proof.count; i++) {
        buf_append_str(out, i > 0 ? STR(",\"") : STR("\""));
        base64_append(out, proof.hashes[i].bytes, SHA256_SIZE);
        buf_append_char(out, '"');
    }
    buf_append_char(out, ']');
    if (record >= 0)
        buf_printf(out, ",\"record\":%" PRId64, record);
    buf_append_str(out, STR("}\n"));
    return out->failed ? errinfo_set(info, ERR_NOMEM, "out of memory") : ERR_OK;
}

void audit_export_header(const struct audit_export_head *head, struct buf *out)
{
    struct json_writer w;
    json_write_init(&w, out);
    json_write_object(&w);
    json_write_member_string(&w, STR("checkpoint"), head->note);
    json_write_key(&w, STR("filters"));
    json_write_raw(&w, head->filters.len > 0 ? head->filters : STR("{}"));
    json_write_member_string(&w, STR("format"), STR(EXPORT_FORMAT));
    json_write_member_int(&w, STR("from"), (int64_t)head->from);
    json_write_member_string(
        &w, STR("order"), head->whole ? STR("log") : STR("record"));
    json_write_member_int(&w, STR("to"), (int64_t)head->to);
    json_write_member_bool(&w, STR("whole"), head->whole);
    json_write_object_end(&w);
    buf_append_char(out, '\n');
}

void audit_export_trailer(
    uint64_t entries, const char sha256_hex[65], struct buf *out)
{
    buf_printf(out,
        "{\"end\":true,\"entries\":%" PRIu64 ",\"sha256\":\"%s\"}\n", entries,
        sha256_hex);
}

/* --- Reading ---------------------------------------------------------------
 */

/* ",\"index\":" stands after the entry, and no text within an entry's string
 * can hold it unescaped; the last one is ours. */
bool audit_export_entry(struct str line, struct str *entry)
{
    static const struct str start = STR_INIT("{\"entry\":");
    static const struct str end = STR_INIT(",\"index\":");
    if (!str_starts(line, start) || line.len < start.len + end.len)
        return false;
    for (size_t at = line.len - end.len; at >= start.len; at--)
        if (memcmp(line.ptr + at, end.ptr, end.len) == 0) {
            *entry = str_make(line.ptr + start.len, at - start.len);
            return true;
        }
    return false;
}

struct reading {
    const struct note_key *key;
    struct checkpoint checkpoint;
    struct arena *head;  /* of the header */
    struct arena *arena; /* of one line */
    bool whole;
    uint64_t from, to;
    uint64_t entries, next;
    struct crypto_hash *hash;
};

static enum err broken(struct errinfo *info, uint64_t line, const char *what)
{
    return errinfo_set(
        info, ERR_CORRUPT, "line %" PRIu64 " of the export: %s", line, what);
}

static bool read_number(
    const struct json *json, const char *name, uint64_t *out)
{
    uint32_t at = json_find(json, 0, str_from(name));
    int64_t value;
    if (at == JSON_NONE || json_int64(json, at, &value) != ERR_OK || value < 0)
        return false;
    *out = (uint64_t)value;
    return true;
}

static enum err read_header(
    struct reading *r, struct str line, struct errinfo *info)
{
    struct json json;
    struct str note, copy = arena_copy(r->head, line);
    if (!copy.ptr)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    uint32_t format, at;
    if (json_parse(r->head, str_trim(copy), NULL, &json, NULL) != ERR_OK ||
        (format = json_find(&json, 0, STR("format"))) == JSON_NONE ||
        !json_string_equals(&json, format, STR(EXPORT_FORMAT)))
        return errinfo_set(info, ERR_SYNTAX,
            "this is no export of a Bailiff log (its first line would have "
            "\"format\":\"" EXPORT_FORMAT "\")");
    at = json_find(&json, 0, STR("checkpoint"));
    if (at == JSON_NONE || json_text(&json, at, r->head, &note) != ERR_OK ||
        !read_number(&json, "from", &r->from) ||
        !read_number(&json, "to", &r->to))
        return broken(info, 1, "the header lacks checkpoint, from or to");
    at = json_find(&json, 0, STR("whole"));
    r->whole = at != JSON_NONE && json_type(&json, at) == JSON_TRUE;
    r->next = r->from;
    enum err err = checkpoint_open(note, r->key, &r->checkpoint, info);
    return err == ERR_OK ? ERR_OK
                         : errinfo_prefix(info, err, "the export's checkpoint");
}

static enum err read_line(
    struct reading *r, uint64_t number, struct str line, struct errinfo *info)
{
    struct json json;
    struct str entry;
    struct merkle_hash leaf, proof[64];
    size_t count = 0, size;
    uint64_t index;
    if (!audit_export_entry(line, &entry) ||
        json_parse(r->arena, line, NULL, &json, NULL) != ERR_OK ||
        !read_number(&json, "index", &index))
        return broken(info, number, "it is no line of an entry");
    uint32_t list = json_find(&json, 0, STR("proof"));
    if (list == JSON_NONE || json_type(&json, list) != JSON_ARRAY ||
        json.tokens[list].count > 64)
        return broken(info, number, "its proof is missing");
    for (JSON_EACH_ELEMENT(&json, list, item))
        if (base64_decode(json_raw(&json, item), proof[count++].bytes,
                SHA256_SIZE, &size) != ERR_OK ||
            size != SHA256_SIZE)
            return broken(info, number, "a hash of its proof is malformed");
    if (r->whole && index != r->next)
        return errinfo_set(info, ERR_CORRUPT,
            "line %" PRIu64 " of the export: entry %" PRIu64
            " is missing, entry %" PRIu64 " stands there",
            number, r->next, index);
    merkle_leaf(r->hash, entry, &leaf);
    if (!merkle_verify_inclusion(index, r->checkpoint.size, &leaf, proof, count,
            &r->checkpoint.root))
        return errinfo_set(info, ERR_CORRUPT,
            "line %" PRIu64 " of the export: entry %" PRIu64
            " is not in the log that was signed, or was altered",
            number, index);
    r->next = index + 1;
    r->entries++;
    return ERR_OK;
}

/* *is_trailer: it is one, and what it says is so. */
static enum err read_trailer(struct reading *r, struct str line,
    const char digest[65], struct errinfo *info)
{
    struct json json;
    uint64_t entries;
    uint32_t at;
    if (json_parse(r->arena, line, NULL, &json, NULL) != ERR_OK ||
        !read_number(&json, "entries", &entries) ||
        (at = json_find(&json, 0, STR("sha256"))) == JSON_NONE)
        return errinfo_set(info, ERR_CORRUPT, "the export's trailer is broken");
    if (entries != r->entries)
        return errinfo_set(info, ERR_CORRUPT,
            "the export has %" PRIu64 " entries, its trailer says %" PRIu64,
            r->entries, entries);
    if (!json_string_equals(&json, at, str_from(digest)))
        return errinfo_set(info, ERR_CORRUPT,
            "the export is not what was written: its SHA-256 is another");
    if (r->whole && r->next != r->to)
        return errinfo_set(info, ERR_CORRUPT,
            "the entries from %" PRIu64 " up to %" PRIu64 " are missing",
            r->next, r->to);
    return ERR_OK;
}

static bool is_trailer(struct str line)
{
    return str_starts(line, STR("{\"end\":true"));
}

static enum err read_all(struct reading *r,
    const struct audit_export_source *source, struct crypto_hash *digest,
    struct errinfo *info)
{
    bool ended = false;
    enum err err;
    uint64_t number = 0;
    for (;;) {
        struct str line;
        err = source->next(source->context, &line, info);
        if (err != ERR_OK)
            break;
        number++;
        arena_reset(r->arena);
        if (ended)
            return broken(info, number, "it follows the trailer");
        if (!str_ends(line, STR("\n")))
            return errinfo_set(info, ERR_CORRUPT,
                "the export is cut short: line %" PRIu64 " does not end",
                number);
        if (number == 1) {
            err = read_header(r, line, info);
        } else if (is_trailer(line)) {
            uint8_t bytes[SHA256_SIZE];
            char hex[2 * SHA256_SIZE + 1];
            crypto_hash_end(digest, bytes);
            hex_write(hex, bytes, sizeof(bytes));
            ended = true;
            line.len--;
            err = read_trailer(r, line, hex, info);
        } else {
            crypto_hash_update(digest, line.ptr, line.len);
            line.len--;
            err = read_line(r, number, line, info);
        }
        if (err != ERR_OK)
            return err;
        if (number == 1)
            crypto_hash_update(digest, line.ptr, line.len);
    }
    if (err != ERR_NOTFOUND)
        return err;
    return ended ? ERR_OK
                 : errinfo_set(info, ERR_CORRUPT,
                       "the export is cut short: its trailer is missing "
                       "(`bailiff audit export --resume` goes on with it)");
}

enum err audit_export_verify(const struct audit_export_source *source,
    const struct note_key *key, struct audit_export_result *out,
    struct errinfo *info)
{
    struct reading r = {.key = key,
        .head = arena_new(65536, 0),
        .arena = arena_new(65536, 0),
        .hash = crypto_hash_new()};
    struct crypto_hash *digest = crypto_hash_new();
    enum err err = ERR_NOMEM;
    if (!r.head || !r.arena || !r.hash || !digest) {
        errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    crypto_hash_begin(digest);
    err = read_all(&r, source, digest, info);
    if (err == ERR_OK) {
        out->entries = r.entries;
        out->size = r.checkpoint.size;
        snprintf(out->origin, sizeof(out->origin), "%s", key->name);
    }
out:
    crypto_hash_free(&digest);
    crypto_hash_free(&r.hash);
    arena_free(&r.arena);
    arena_free(&r.head);
    return err;
}
