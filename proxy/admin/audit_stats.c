/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/audit_stats.c - counts, gaps, samples of the log, and building
 * the index anew. Readings are on record like any other. */
#include "proxy/admin/prune.h"

#include "audit/index_file.h"
#include "audit/indexer.h"
#include "audit/prove.h"
#include "audit/stats.h"
#include "lib/encode.h"

static enum err open_index(struct admin_call *call, struct audit_index **index,
    uint64_t *size, bool *behind)
{
    enum err err = audit_await_index(call, size, behind);

    if (!err)
        err = audit_index_open(control_dir(call->control), index, &call->info);
    return err;
}

static enum err record(struct admin_call *call, const char *type,
    const struct audit_asked *asked, int64_t rows)
{
    json_t *detail = json_object();

    admin_set(detail, "filters", audit_filters_json(asked));
    admin_set_int(detail, "rows", rows);
    return admin_event(call, type, "log", STR(""), detail, STR(""));
}

/* --- Counts ----------------------------------------------------------------
 */

static void name_key(
    struct admin_call *call, const char *by, struct str id, json_t *group)
{
    struct buf name;

    if (strcmp(by, "caller") != 0 && strcmp(by, "actor") != 0)
        return;
    buf_init(&name, 1024);
    if (audit_find_name(call, id, &name))
        admin_set_text(group,
            strcmp(by, "caller") == 0 ? "callerName" : "actorName",
            buf_str(&name));
    buf_fini(&name);
}

static json_t *group_json(struct admin_call *call,
    const struct audit_stats *stats, const struct audit_group *group)
{
    json_t *one = json_object();

    for (size_t i = 0; i < stats->by_count; i++) {
        admin_set_text(one, stats->by[i], group->keys[i]);
        name_key(call, stats->by[i], group->keys[i], one);
    }
    admin_set_int(
        one, stats->of_requests ? "requests" : "events", group->records);
    if (stats->of_requests) {
        admin_set_int(one, "permitted", group->permitted);
        admin_set_int(one, "denied", group->denied);
        admin_set_int(one, "inputTokens", group->input);
        admin_set_int(one, "outputTokens", group->output);
        admin_set_int(one, "bytesOut", group->bytes_out);
        admin_set_int(one, "cost", group->cost);
    }
    return one;
}

/* For what has to be counted row by row. */
#define COUNT_PATIENCE_US (60 * SECOND_US)

enum err handle_audit_stats(struct admin_call *call)
{
    static const char *const others[] = {"by", NULL};
    struct audit_asked asked;
    struct audit_index *index = NULL;
    struct audit_stats *stats = NULL;
    uint64_t size = 0, damaged = 0;
    json_t *answer, *groups;
    bool behind = false;
    enum err err = audit_read_filters(call, others, &asked);
    struct str by = audit_asked_text(&asked, "by");

    if (!err)
        err = open_index(call, &index, &size, &behind);
    asked.filter.patience_us = COUNT_PATIENCE_US;
    if (!err)
        err = audit_count(index, &asked.filter, by.len > 0 ? by : STR("day"),
            &stats, &damaged, &call->info);
    if (err) {
        err = audit_index_failed(call, err, damaged);
        goto out;
    }
    err = record(call, "audit.counted", &asked, (int64_t)stats->count);
    if (err)
        goto out;
    groups = json_array();
    for (size_t i = 0; i < stats->count; i++)
        json_array_append_new(
            groups, group_json(call, stats, &stats->groups[i]));
    answer = json_object();
    admin_set(answer, "groups", groups);
    admin_set_int(answer, "indexed", (int64_t)stats->indexed);
    admin_set_int(answer, "entries", (int64_t)size);
    admin_set_int(answer, "behind",
        size > stats->indexed ? (int64_t)(size - stats->indexed) : 0);
    admin_set_bool(answer, "incomplete", stats->incomplete || behind);
    admin_set(answer, "pruned", prune_now_json(call));
    err = admin_answer(call, 200, answer);
out:
    audit_stats_free(&stats);
    audit_index_close(&index);
    return err;
}

/* --- Gaps ------------------------------------------------------------------
 */

#define GAPS_MAX 10000

enum err handle_audit_gaps(struct admin_call *call)
{
    static const char *const others[] = {"longer", NULL};
    struct audit_asked asked;
    struct audit_index *index = NULL;
    struct audit_gaps *gaps = NULL;
    uint64_t size = 0, damaged = 0;
    int64_t longer_us = HOUR_US;
    json_t *answer, *items, *one;
    bool behind = false;
    enum err err = audit_read_filters(call, others, &asked);
    struct str longer = audit_asked_text(&asked, "longer");

    if (!err && longer.len > 0 &&
        clock_parse_duration(longer, &longer_us) != ERR_OK)
        err = FAIL(call, ERR_INVALID,
            "longer: \"%.*s\" is no duration; write 10m, 1h, 2d",
            STR_ARG(longer));
    if (!err)
        err = open_index(call, &index, &size, &behind);
    if (!err)
        err = audit_find_gaps(index, &asked.filter, longer_us, GAPS_MAX, &gaps,
            &damaged, &call->info);
    if (err) {
        err = audit_index_failed(call, err, damaged);
        goto out;
    }
    err = record(call, "audit.counted", &asked, (int64_t)gaps->count);
    if (err)
        goto out;
    items = json_array();
    for (size_t i = 0; i < gaps->count; i++) {
        const struct audit_gap *gap = &gaps->items[i];
        one = json_object();
        admin_set_int(one, "after", (int64_t)gap->after);
        admin_set_int(one, "before", (int64_t)gap->before);
        admin_set_time(one, "from", gap->from_us);
        admin_set_time(one, "to", gap->to_us);
        admin_set_int(one, "seconds", (gap->to_us - gap->from_us) / SECOND_US);
        admin_set_text(one, "kind",
            gap->stopped ? STR("stopped in good order")
                         : STR("nothing on record"));
        json_array_append_new(items, one);
    }
    answer = json_object();
    admin_set(answer, "gaps", items);
    admin_set_bool(answer, "more", gaps->cut);
    admin_set_int(answer, "records", (int64_t)gaps->records);
    admin_set_int(answer, "entries", (int64_t)gaps->indexed);
    admin_set_time(answer, "first", gaps->first_us);
    admin_set_time(answer, "last", gaps->last_us);
    admin_set_bool(answer, "incomplete", gaps->incomplete || behind);
    admin_set(answer, "pruned", prune_now_json(call));
    err = admin_answer(call, 200, answer);
out:
    audit_gaps_free(&gaps);
    audit_index_close(&index);
    return err;
}

/* --- Samples ---------------------------------------------------------------
 */

#define SAMPLE_MAX 1000
#define SAMPLE_TRIES 200 /* per entry wanted */

/* The k-th draw: the first eight bytes of SHA-256("SEED\nSIZE\nK"), taken
 * modulo SIZE; those past the last whole multiple are thrown away. */
static bool draw(struct str seed, uint64_t size, uint64_t k, uint64_t *out)
{
    uint8_t digest[SHA256_SIZE];
    uint64_t value = 0;
    struct buf text;

    buf_init(&text, 4096);
    buf_printf(&text, "%.*s\n%llu\n%llu", STR_ARG(seed),
        (unsigned long long)size, (unsigned long long)k);
    crypto_sha256(digest, buf_str(&text).ptr, text.len);
    buf_fini(&text);
    for (int i = 0; i < 8; i++)
        value = value << 8 | digest[i];
    if (value >= UINT64_MAX - UINT64_MAX % size)
        return false;
    *out = value % size;
    return true;
}

/* Only what opens a record counts, so that one with many entries is no
 * likelier than one with a single entry. */
static bool is_wanted(const struct audit_event *event, struct str type)
{
    if (event->kind == AUDIT_COMPLETED || event->kind == AUDIT_WITHDRAWN ||
        event->kind == AUDIT_ATTEMPT || event->kind == AUDIT_MEASURED)
        return false;
    return type.len == 0 || (str_starts(event->type, type) &&
                                (event->type.len == type.len ||
                                    event->type.ptr[type.len] == '.'));
}

struct sampling {
    struct admin_call *call;
    struct str seed, type;
    uint64_t wanted;
    struct audit_reader *reader;
    struct checkpoint checkpoint;
    struct note_key key;
    struct str note;
    json_t *items;
    uint64_t taken[SAMPLE_MAX];
    size_t count;
    struct pruned pruned;
};

static enum err take_sample(struct sampling *s, uint64_t at, uint64_t k)
{
    struct admin_call *call = s->call;
    struct arena *arena = arena_new(65536, 0);
    struct audit_event event;
    struct buf entry, proof;
    json_t *one;
    enum err err = arena ? ERR_OK : ERR_NOMEM;

    buf_init(&entry, 1 << 17);
    buf_init(&proof, PROOF_TEXT_MAX);
    if (at < s->pruned.entries)
        goto out; /* passed over, like one of another type */
    if (!err)
        err = audit_read_entry(
            s->reader, s->checkpoint.size, at, &entry, &call->info);
    if (err || audit_event_parse(arena, buf_str(&entry), &event, NULL) ||
        !is_wanted(&event, s->type))
        goto out;
    err = audit_prove(audit_log_folder(call), &s->key, s->note, at,
        buf_str(&entry), &proof, &call->info);
    if (err)
        goto out;
    one = json_object();
    admin_set_int(one, "draw", (int64_t)k);
    admin_set_int(one, "index", (int64_t)at);
    admin_set_text(one, "id", event.id);
    admin_set_text(one, "type", event.type);
    admin_set_time(one, "time", event.time_us);
    admin_set_text(one, "proof", buf_str(&proof));
    json_array_append_new(s->items, one);
    s->taken[s->count++] = at;
out:
    arena_free(&arena);
    buf_fini(&entry);
    buf_fini(&proof);
    return err;
}

static enum err draw_all(struct sampling *s, uint64_t *draws)
{
    uint64_t at, size = s->checkpoint.size;
    enum err err = ERR_OK;

    for (*draws = 0; !err && s->count < s->wanted &&
                     *draws < s->wanted * SAMPLE_TRIES && size > 0;
         ++*draws) {
        bool again = false;
        if (!draw(s->seed, size, *draws, &at))
            continue;
        for (size_t i = 0; i < s->count; i++)
            again = again || s->taken[i] == at;
        if (!again)
            err = take_sample(s, at, *draws);
    }
    return err;
}

struct sample_query {
    struct str seed, type;
    int64_t count, size;
};

/* An earlier sample is repeated with its size: the checkpoint may be a later
 * one, the drawing is the same. */
static enum err begin_sample(struct sampling *s,
    const struct sample_query *query, struct buf *note, uint64_t *size)
{
    struct admin_call *call = s->call;
    enum err err = audit_take_checkpoint(call, note, &s->key, &s->checkpoint);

    s->note = buf_str(note);
    *size = query->size > 0 ? (uint64_t)query->size : s->checkpoint.size;
    if (!err && *size > s->checkpoint.size)
        err = FAIL(call, ERR_INVALID, "size: the log has %llu entries",
            (unsigned long long)s->checkpoint.size);
    if (!err)
        err = prune_load(call, &s->pruned);
    if (!err)
        err = audit_reader_open(
            control_dir(call->control), &s->reader, &call->info);
    return err;
}

enum err handle_audit_sample(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"seed", FIELD_TEXT, true, offsetof(struct sample_query, seed), 1, 200,
            NULL},
        {"type", FIELD_TEXT, false, offsetof(struct sample_query, type), 0, 64,
            NULL},
        {"count", FIELD_INT, false, offsetof(struct sample_query, count), 1,
            SAMPLE_MAX, NULL},
        {"size", FIELD_INT, false, offsetof(struct sample_query, size), 1,
            INT64_MAX, NULL},
    };
    struct sample_query query = {
        .seed = STR(""), .type = STR("request"), .count = 25};
    struct sampling *s = arena_alloc(call->arena, sizeof *s);
    uint64_t size = 0, draws = 0, covered;
    struct buf note;
    json_t *answer, *detail;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &query);

    if (!s)
        return FAIL(call, ERR_NOMEM, "out of memory");
    *s = (struct sampling){.call = call, .items = json_array()};
    s->seed = query.seed;
    s->type = query.type;
    s->wanted = (uint64_t)query.count;
    buf_init(&note, NOTE_MAX);
    if (!err)
        err = begin_sample(s, &query, &note, &size);
    if (!err) {
        covered = s->checkpoint.size;
        s->checkpoint.size = size;
        err = draw_all(s, &draws);
        s->checkpoint.size = covered;
    }
    if (!err) {
        detail = json_object();
        admin_set_text(detail, "seed", query.seed);
        admin_set_int(detail, "size", (int64_t)size);
        admin_set_int(detail, "rows", (int64_t)s->count);
        err =
            admin_event(call, "audit.sampled", "log", STR(""), detail, STR(""));
    }
    if (!err) {
        answer = json_object();
        admin_set_text(answer, "checkpoint", s->note);
        admin_set_int(answer, "draws", (int64_t)draws);
        admin_set_text(answer, "seed", query.seed);
        admin_set_int(answer, "size", (int64_t)size);
        admin_set_text(answer, "type", query.type);
        admin_set(answer, "items", json_incref(s->items));
        err = admin_answer(call, 200, answer);
    }
    audit_reader_close(&s->reader);
    json_decref(s->items);
    buf_fini(&note);
    return err;
}

/* --- The index anew --------------------------------------------------------
 */

#define REBUILD_NONE (-1)
#define REBUILD_ALL (-2)

/* Which files of the index are not whole, and how many there are. `rebuild`: an
 * entry whose file is to be built anew. */
static enum err index_standing(
    struct admin_call *call, size_t *files, size_t *waiting, int64_t rebuild)
{
    struct audit_log *log = control_log(call->control);
    struct indexer *indexer = log ? audit_log_indexer(log) : NULL;
    const char *dir =
        arena_printf(call->arena, "%s/index", control_dir(call->control));
    struct index_list list;
    enum err err;

    *files = *waiting = 0;
    if (!indexer)
        return FAIL(call, ERR_WRONG_STATE,
            "the index is not running; the server's log says why");
    err = index_list_load(dir, &list, &call->info);
    if (err)
        return err;
    for (size_t i = 0; i < list.count; i++) {
        char name[INDEX_NAME_SIZE];
        struct index_state state = {0};
        struct db *db = NULL;
        uint64_t due =
            i + 1 < list.count ? list.firsts[i + 1] : indexer_position(indexer);
        index_file_name(name, list.firsts[i]);
        bool has_entry =
            rebuild >= (int64_t)list.firsts[i] &&
            (i + 1 == list.count || rebuild < (int64_t)list.firsts[i + 1]);
        if (rebuild == REBUILD_ALL || has_entry)
            indexer_rebuild(indexer, list.firsts[i]);
        if (db_open_readonly(arena_printf(call->arena, "%s/%s", dir, name),
                DB_INDEX, &db, NULL) != ERR_OK ||
            index_state_read(db, &state, NULL) != ERR_OK || state.next < due)
            ++*waiting;
        db_close(&db);
    }
    *files = list.count;
    index_list_fini(&list);
    return ERR_OK;
}

static enum err answer_standing(
    struct admin_call *call, size_t files, size_t waiting)
{
    struct audit_log *log = control_log(call->control);
    json_t *answer = json_object();

    admin_set_int(answer, "files", (int64_t)files);
    admin_set_int(answer, "waiting", (int64_t)waiting);
    admin_set_int(
        answer, "indexed", (int64_t)indexer_position(audit_log_indexer(log)));
    admin_set_int(
        answer, "entries", (int64_t)journal_size(audit_log_journal(log)));
    return admin_answer(call, 200, answer);
}

enum err handle_audit_index(struct admin_call *call)
{
    size_t files, waiting;
    enum err err = index_standing(call, &files, &waiting, REBUILD_NONE);

    return err ? err : answer_standing(call, files, waiting);
}

enum err handle_audit_reindex(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"entry", FIELD_INT, false, 0, 0, INT64_MAX, NULL},
    };
    struct audit_log *log = control_log(call->control);
    int64_t entry = REBUILD_ALL;
    size_t files, waiting;
    json_t *detail;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &entry);

    if (!err && entry >= 0 && log &&
        (uint64_t)entry >= journal_size(audit_log_journal(log)))
        err = FAIL(call, ERR_INVALID, "entry: the log has %llu entries",
            (unsigned long long)journal_size(audit_log_journal(log)));
    if (!err) {
        detail = json_object();
        if (entry >= 0)
            admin_set_int(detail, "entry", entry);
        err = admin_event(
            call, "audit.reindexed", "log", STR(""), detail, STR(""));
    }
    if (!err)
        err = index_standing(call, &files, &waiting, entry);
    return err ? err
               : answer_standing(
                     call, files, entry == REBUILD_ALL ? files : waiting + 1);
}
