/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/audit_export.c - pages of an export, and the policy texts that
 * belong to it. The first page takes a checkpoint, the others ("size") hold
 * themselves to it, so that one export is about one state of the log. Each
 * page is on record. */
#include "proxy/admin/prune.h"

#include "audit/export.h"
#include "audit/tiles.h"

#define PAGE_ROWS 500
#define PAGE_ENTRIES 5000
#define PAGE_BYTES (8u << 20)
#define PLACES_MAX 256

struct page {
    struct admin_call *call;
    const char *log_dir;
    struct checkpoint checkpoint;
    struct audit_reader *reader;
    struct audit_index *index;
    json_t *lines;
    size_t bytes;
    struct buf entry, line;
    uint64_t next;
    bool more;
    struct pruned pruned;
};

static enum err add_line(struct page *page, uint64_t at, int64_t record)
{
    struct admin_call *call = page->call;
    enum err err;

    buf_clear(&page->entry);
    buf_clear(&page->line);
    err = audit_read_entry(
        page->reader, page->checkpoint.size, at, &page->entry, &call->info);
    if (!err)
        err = audit_export_line(page->log_dir, &page->checkpoint, at,
            buf_str(&page->entry), record, &page->line, &call->info);
    if (!err) {
        page->bytes += page->line.len;
        json_array_append_new(page->lines, admin_text(buf_str(&page->line)));
    }
    return err;
}

/* --- Every entry of a range ------------------------------------------------
 */

static enum err whole_page(struct page *page, uint64_t from, uint64_t to)
{
    enum err err = ERR_OK;
    uint64_t at = from;

    for (size_t i = 0; !err && i < PAGE_ENTRIES && at < to; i++, at++) {
        if (page->bytes > PAGE_BYTES)
            break;
        err = add_line(page, at, -1);
    }
    page->next = at;
    page->more = at < to;
    return err;
}

/* --- The entries of the records that were asked for ------------------------
 */

static enum err add_record(
    struct page *page, const struct audit_row *row, uint64_t *damaged)
{
    struct admin_call *call = page->call;
    uint64_t places[PLACES_MAX];
    size_t count;
    enum err err =
        audit_places(page->reader, page->index, page->checkpoint.size, row->id,
            places, PLACES_MAX, &count, damaged, &call->info);

    for (size_t i = 0; !err && i < count && i < PLACES_MAX; i++)
        if (places[i] < page->checkpoint.size)
            err = add_line(page, places[i], (int64_t)row->seq);
    return err;
}

static enum err record_page(
    struct page *page, struct audit_filter *filter, uint64_t *damaged)
{
    struct admin_call *call = page->call;
    struct audit_result *result = NULL;
    enum err err;

    filter->oldest_first = true;
    filter->limit = PAGE_ROWS;
    err = audit_query(page->index, filter, &result, damaged, &call->info);
    if (err)
        return err;
    page->more = result->more;
    for (size_t i = 0; !err && i < result->count; i++) {
        const struct audit_row *row = &result->rows[i];
        if (row->seq >= page->checkpoint.size || page->bytes > PAGE_BYTES) {
            page->more = row->seq < page->checkpoint.size;
            break;
        }
        err = add_record(page, row, damaged);
        page->next = row->seq;
    }
    audit_result_free(&result);
    return err;
}

/* --- The page --------------------------------------------------------------
 */

static const char *const others[] = {"size", "from", "to", NULL};

static enum err number_of(struct admin_call *call,
    const struct audit_asked *asked, const char *name, uint64_t otherwise,
    uint64_t *out)
{
    struct str text = audit_asked_text(asked, name);

    *out = otherwise;
    if (text.len > 0 && str_to_u64(text, out) != ERR_OK)
        return FAIL(call, ERR_INVALID, "%s: \"%.*s\" is no index of the log",
            name, STR_ARG(text));
    return ERR_OK;
}

/* The checkpoint of the first page, by its size: the root is the tiles'. */
static enum err earlier_checkpoint(
    struct page *page, uint64_t size, const struct checkpoint *now)
{
    struct tile_source tiles;
    struct merkle_source source = {tile_source_node, &tiles};

    if (size > now->size)
        return FAIL(page->call, ERR_INVALID,
            "size: the log has %llu entries, not %llu",
            (unsigned long long)now->size, (unsigned long long)size);
    tile_source_init(&tiles, page->log_dir, now->size);
    page->checkpoint = *now;
    page->checkpoint.size = size;
    return merkle_root_at(
        &source, size, &page->checkpoint.root, &page->call->info);
}

static enum err open_page(
    struct page *page, const struct audit_asked *asked, struct buf *note)
{
    struct admin_call *call = page->call;
    const char *dir = control_dir(call->control);
    struct checkpoint now;
    struct note_key key;
    uint64_t size, indexed;
    bool behind;
    enum err err = audit_take_checkpoint(call, note, &key, &now);

    page->log_dir = audit_log_folder(call);
    if (!err)
        err = number_of(call, asked, "size", now.size, &size);
    if (!err)
        err = earlier_checkpoint(page, size, &now);
    if (!err)
        err = audit_await_index(call, &indexed, &behind);
    if (!err && behind)
        err = FAIL(call, ERR_WRONG_STATE,
            "the index is behind the log; an export now would lack records: "
            "ask again in a moment");
    if (!err)
        err = prune_load(call, &page->pruned);
    if (!err)
        err = audit_reader_open(dir, &page->reader, &call->info);
    if (!err)
        err = audit_index_open(dir, &page->index, &call->info);
    return err;
}

static enum err answer_page(struct page *page, const struct audit_asked *asked,
    bool whole, uint64_t from, uint64_t to, struct str note)
{
    struct admin_call *call = page->call;
    json_t *detail = json_object(), *answer;
    enum err err;

    admin_set(detail, "filters", audit_filters_json(asked));
    admin_set_int(detail, "entries", (int64_t)json_array_size(page->lines));
    err = admin_event(call, "audit.exported", "log", STR(""), detail, STR(""));
    if (err)
        return err;
    answer = json_object();
    admin_set_text(answer, "checkpoint", note);
    admin_set(answer, "filters", audit_filters_json(asked));
    admin_set_int(answer, "from", (int64_t)from);
    admin_set(answer, "lines", json_incref(page->lines));
    admin_set_bool(answer, "more", page->more);
    admin_set_int(answer, "next", (int64_t)page->next);
    admin_set_int(answer, "size", (int64_t)page->checkpoint.size);
    admin_set_int(answer, "to", (int64_t)to);
    admin_set_bool(answer, "whole", whole);
    return admin_answer(call, 200, answer);
}

/* Without a filter: the entries of a range, one by one. */
static bool is_whole(const struct audit_asked *asked)
{
    static const char *const plain[] = {
        "size", "from", "to", "after", "limit", "order"};
    for (size_t i = 0; i < asked->count; i += 2) {
        bool known = false;
        for (size_t k = 0; k < sizeof plain / sizeof plain[0]; k++)
            known = known || str_equal(asked->pairs[i], str_from(plain[k]));
        if (!known)
            return false;
    }
    return true;
}

enum err handle_audit_export(struct admin_call *call)
{
    struct page page = {.call = call, .lines = json_array()};
    struct audit_asked asked;
    uint64_t from = 0, to = 0, damaged = 0;
    struct buf note;
    bool whole = false;
    enum err err = audit_read_filters(call, others, &asked);

    buf_init(&note, NOTE_MAX);
    buf_init(&page.entry, 1 << 17);
    buf_init(&page.line, EXPORT_LINE_MAX);
    if (!err)
        err = open_page(&page, &asked, &note);
    if (!err)
        err = number_of(call, &asked, "from", page.pruned.entries, &from);
    if (!err)
        err = number_of(call, &asked, "to", page.checkpoint.size, &to);
    if (!err && (from > to || to > page.checkpoint.size))
        err = FAIL(call, ERR_INVALID,
            "entries from %llu up to %llu are no part of the %llu that there "
            "are",
            (unsigned long long)from, (unsigned long long)to,
            (unsigned long long)page.checkpoint.size);
    if (!err) {
        whole = is_whole(&asked);
        if (whole)
            err = whole_page(
                &page, asked.filter.has_after ? asked.filter.after : from, to);
        else
            err = record_page(&page, &asked.filter, &damaged);
    }
    err = err ? audit_index_failed(call, err, damaged)
              : answer_page(&page, &asked, whole, from, to, buf_str(&note));
    json_decref(page.lines);
    audit_reader_close(&page.reader);
    audit_index_close(&page.index);
    buf_fini(&page.entry);
    buf_fini(&page.line);
    buf_fini(&note);
    return err;
}

/* --- Policy texts ----------------------------------------------------------
 */

/* As stored: the bytes that entries name by their hash. */
enum err handle_audit_policy(struct admin_call *call)
{
    struct db_statement *s;
    json_t *answer = NULL;
    int64_t version;
    enum err err;

    if (str_to_i64(call->params[0], &version) != ERR_OK)
        return FAIL(call, ERR_INVALID, "\"%.*s\" is no policy version",
            STR_ARG(call->params[0]));
    err = db_prepare(call->db,
        "SELECT hash, text, state, created FROM policy_version "
        "WHERE version = ?1",
        &s, &call->info);
    if (err)
        return err;
    db_bind_int(s, 1, version);
    err = db_step(s, &call->info);
    if (!err) {
        answer = json_object();
        admin_set_int(answer, "version", version);
        admin_set(answer, "hash", admin_hex(db_column_blob(s, 0)));
        admin_set_text(answer, "text", db_column_text(s, 1));
        admin_set_text(answer, "state", db_column_text(s, 2));
        admin_set_time(answer, "created", db_column_int(s, 3));
    }
    db_reset(s);
    if (err == ERR_NOTFOUND)
        return FAIL(call, ERR_NOTFOUND, "there is no policy version %lld",
            (long long)version);
    return err ? err : admin_answer(call, 200, answer);
}
