/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/ocsf.c - see ocsf.h. The members are those of the schema's class
 * api_activity and profile ai_operation at 1.8.0. */
#include "audit/ocsf.h"

#include "audit/show.h"
#include "lib/arena.h"
#include "lib/encode.h"
#include "lib/json_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CATEGORY_UID 6
#define CLASS_UID 6003
#define MESSAGE_MAX 16384

enum activity { CREATE = 1, READ = 2, UPDATE = 3, DELETE = 4, OTHER = 99 };
enum severity { INFORMATIONAL = 1, LOW = 2, MEDIUM = 3 };
enum outcome { UNKNOWN = 0, SUCCESS = 1, FAILURE = 2 };

/* An admission that has not ended: its id, and a copy of its entry. */
struct open_one {
    char id[ULID_LENGTH];
    char *entry;
    size_t length;
};

struct audit_ocsf {
    char *log_name;
    struct arena *arena; /* of one event */
    struct open_one open[AUDIT_OCSF_OPEN];
    size_t open_count, oldest;
    int64_t last_us; /* the time of the last entry that could be read */
};

/* --- Admissions ---------------------------------------------------------- */

static void remember(struct audit_ocsf *ocsf, struct str id, struct str entry)
{
    char *copy;
    struct open_one *slot;
    if (id.len != ULID_LENGTH || (copy = malloc(entry.len + 1)) == NULL)
        return;
    memcpy(copy, entry.ptr, entry.len);
    if (ocsf->open_count < AUDIT_OCSF_OPEN) {
        slot = &ocsf->open[ocsf->open_count++];
    } else {
        slot = &ocsf->open[ocsf->oldest++ % AUDIT_OCSF_OPEN];
        free(slot->entry);
    }
    memcpy(slot->id, id.ptr, ULID_LENGTH);
    slot->entry = copy;
    slot->length = entry.len;
}

/* The admission of the request; the texts are in the arena. */
static bool recall(
    struct audit_ocsf *ocsf, struct str id, bool ended, struct audit_event *out)
{
    if (id.len != ULID_LENGTH)
        return false;
    for (size_t i = ocsf->open_count; i-- > 0;) {
        struct open_one *one = &ocsf->open[i];
        if (memcmp(one->id, id.ptr, ULID_LENGTH) != 0)
            continue;
        struct str copy =
            arena_copy(ocsf->arena, str_make(one->entry, one->length));
        bool known = copy.ptr != NULL &&
                     audit_event_parse(ocsf->arena, copy, out, NULL) == ERR_OK;
        if (ended) {
            free(one->entry);
            *one = ocsf->open[--ocsf->open_count];
        }
        return known;
    }
    return false;
}

/* --- What an entry is ---------------------------------------------------- */

static enum activity activity_of(const struct audit_event *e)
{
    static const struct {
        struct str ending;
        enum activity activity;
    } acts[] = {
        {STR_INIT(".added"), CREATE},
        {STR_INIT(".issued"), CREATE},
        {STR_INIT(".made"), CREATE},
        {STR_INIT(".put"), CREATE},
        {STR_INIT(".removed"), DELETE},
        {STR_INIT(".revoked"), DELETE},
        {STR_INIT(".erased"), DELETE},
        {STR_INIT(".queried"), READ},
        {STR_INIT(".shown"), READ},
        {STR_INIT(".exported"), READ},
        {STR_INIT(".proved"), READ},
        {STR_INIT(".followed"), READ},
        {STR_INIT(".served"), READ},
    };
    if (e->kind != AUDIT_ACT) {
        bool reads = str_equal(e->action, STR("listModels")) ||
                     str_equal(e->action, STR("countTokens"));
        return reads ? READ : e->kind == AUDIT_AUTH_FAILED ? OTHER : CREATE;
    }
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
        if (str_ends(e->type, acts[i].ending))
            return acts[i].activity;
    return str_starts(e->type, STR("admin.")) ||
                   str_starts(e->type, STR("policy."))
               ? UPDATE
               : OTHER;
}

static bool tells_of_trouble(struct str type)
{
    return str_ends(type, STR(".down")) || str_ends(type, STR(".failed")) ||
           str_ends(type, STR(".refused"));
}

static enum outcome outcome_of(const struct audit_event *e)
{
    switch (e->kind) {
    case AUDIT_ADMITTED:
    case AUDIT_MEASURED:
        return UNKNOWN; /* not ended yet */
    case AUDIT_COMPLETED:
        return str_equal(e->outcome, STR("ok")) ? SUCCESS : FAILURE;
    case AUDIT_DENIED:
    case AUDIT_ATTEMPT:
    case AUDIT_WITHDRAWN:
    case AUDIT_AUTH_FAILED:
        return FAILURE;
    case AUDIT_ACT:
        break;
    }
    return tells_of_trouble(e->type) ? FAILURE : SUCCESS;
}

static enum severity severity_of(const struct audit_event *e)
{
    if (e->kind == AUDIT_AUTH_FAILED ||
        (e->kind == AUDIT_ACT && tells_of_trouble(e->type)))
        return MEDIUM;
    return outcome_of(e) == FAILURE ? LOW : INFORMATIONAL;
}

static const char *activity_word(enum activity activity)
{
    switch (activity) {
    case CREATE:
        return "Create";
    case READ:
        return "Read";
    case UPDATE:
        return "Update";
    case DELETE:
        return "Delete";
    case OTHER:
        break;
    }
    return "Other";
}

static const char *severity_word(enum severity severity)
{
    return severity == MEDIUM ? "Medium"
           : severity == LOW  ? "Low"
                              : "Informational";
}

static const char *outcome_word(enum outcome outcome)
{
    return outcome == SUCCESS   ? "Success"
           : outcome == FAILURE ? "Failure"
                                : "Unknown";
}

/* --- Its members --------------------------------------------------------- */

static void text_member(struct json_writer *w, const char *key, struct str text)
{
    if (text.len > 0)
        json_write_member_string(w, str_from(key), text);
}

/* Who: `who` is the entry itself, or the admission it belongs to. */
static void write_actor(struct json_writer *w, const struct audit_event *who)
{
    bool act = who->kind == AUDIT_ACT;
    struct str id = act ? who->actor : who->caller;
    json_write_key(w, STR("actor"));
    json_write_object(w);
    if (id.len == 0 || str_equal(id, STR("system"))) {
        json_write_member_string(w, STR("app_name"),
            str_equal(id, STR("system")) ? STR("bailiff") : STR("unknown"));
        if (who->key.len > 0)
            json_write_member_string(w, STR("app_uid"), who->key);
    } else {
        if (who->key.len > 0)
            json_write_member_string(w, STR("app_uid"), who->key);
        json_write_key(w, STR("user"));
        json_write_object(w);
        if (who->teams.count > 0) {
            json_write_key(w, STR("groups"));
            json_write_array(w);
            for (size_t i = 0; i < who->teams.count; i++) {
                json_write_object(w);
                json_write_member_string(w, STR("name"), who->teams.items[i]);
                json_write_object_end(w);
            }
            json_write_array_end(w);
        }
        if (act)
            json_write_member_int(w, STR("type_id"), 2); /* Admin */
        json_write_member_string(w, STR("uid"), id);
        json_write_object_end(w);
    }
    json_write_object_end(w);
}

static void write_model(struct json_writer *w, const struct audit_event *e,
    const struct audit_event *who)
{
    struct str model = who->model.len > 0 ? who->model : who->asked;
    struct str engine = e->engine.len > 0 ? e->engine : who->engine;
    if (model.len == 0)
        model = e->upstream;
    if (model.len == 0)
        return;
    json_write_key(w, STR("ai_model"));
    json_write_object(w);
    json_write_member_string(
        w, STR("ai_provider"), engine.len > 0 ? engine : STR("unknown"));
    json_write_member_string(w, STR("name"), model);
    json_write_object_end(w);
}

static void write_api(struct json_writer *w, const struct audit_event *e,
    const struct audit_event *who)
{
    struct str operation = who->action.len > 0 ? who->action : e->type;
    json_write_key(w, STR("api"));
    json_write_object(w);
    json_write_member_string(w, STR("operation"), operation);
    if (who->kind != AUDIT_ACT && e->id.len > 0) {
        json_write_key(w, STR("request"));
        json_write_object(w);
        json_write_member_string(w, STR("uid"), e->id);
        json_write_object_end(w);
    }
    if (e->status > 0) {
        json_write_key(w, STR("response"));
        json_write_object(w);
        json_write_member_int(w, STR("code"), e->status);
        text_member(w, "error", e->code.len > 0 ? e->code : e->error);
        text_member(w, "error_message", e->message);
        json_write_object_end(w);
    }
    json_write_key(w, STR("service"));
    json_write_object(w);
    json_write_member_string(w, STR("name"),
        e->kind == AUDIT_ACT ? STR("bailiff-admin") : STR("bailiff"));
    json_write_object_end(w);
    json_write_object_end(w);
}

static void write_http(struct json_writer *w, const struct audit_event *e,
    const struct audit_event *who)
{
    if (who->route.len > 0) {
        json_write_key(w, STR("http_request"));
        json_write_object(w);
        json_write_key(w, STR("url"));
        json_write_object(w);
        json_write_member_string(w, STR("path"), who->route);
        json_write_object_end(w);
        json_write_object_end(w);
    }
    if (e->status > 0) {
        json_write_key(w, STR("http_response"));
        json_write_object(w);
        json_write_member_int(w, STR("code"), e->status);
        if (e->total_us >= 0 && e->kind == AUDIT_COMPLETED)
            json_write_member_int(w, STR("latency"), e->total_us / 1000);
        json_write_object_end(w);
    }
}

static void write_tokens(struct json_writer *w, const struct audit_event *e)
{
    if (e->kind != AUDIT_COMPLETED || (e->input < 0 && e->output < 0))
        return;
    json_write_key(w, STR("message_context"));
    json_write_object(w);
    json_write_member_int(w, STR("ai_role_id"), 2); /* Assistant */
    if (e->output >= 0)
        json_write_member_int(w, STR("completion_tokens"), e->output);
    if (e->input >= 0)
        json_write_member_int(w, STR("prompt_tokens"), e->input);
    json_write_key(w, STR("service"));
    json_write_object(w);
    json_write_member_string(
        w, STR("name"), e->engine.len > 0 ? e->engine : STR("bailiff"));
    json_write_object_end(w);
    if (e->input >= 0 && e->output >= 0)
        json_write_member_int(w, STR("total_tokens"), e->input + e->output);
    json_write_object_end(w);
}

static void write_metadata(struct json_writer *w, const struct audit_ocsf *ocsf,
    uint64_t index, const struct audit_event *e)
{
    char time[CLOCK_TEXT_LENGTH], uid[320];
    int n = snprintf(uid, sizeof(uid), "%s#%" PRIu64, ocsf->log_name, index);
    json_write_key(w, STR("metadata"));
    json_write_object(w);
    text_member(w, "correlation_uid", e->id);
    text_member(w, "event_code", e->type);
    json_write_member_string(w, STR("log_name"), str_from(ocsf->log_name));
    clock_format(time, e->time_us);
    json_write_member_string(
        w, STR("original_time"), str_make(time, sizeof(time)));
    json_write_key(w, STR("product"));
    json_write_object(w);
    json_write_member_string(w, STR("name"), STR("Bailiff"));
    json_write_member_string(w, STR("vendor_name"), STR("Bailiff"));
    json_write_member_string(w, STR("version"), STR(BAILIFF_VERSION));
    json_write_object_end(w);
    json_write_key(w, STR("profiles"));
    json_write_array(w);
    json_write_string(w, STR("ai_operation"));
    json_write_array_end(w);
    json_write_member_int(w, STR("sequence"), (int64_t)index);
    json_write_member_string(w, STR("uid"), str_make(uid, (size_t)n));
    json_write_member_string(w, STR("version"), STR(AUDIT_OCSF_VERSION));
    json_write_object_end(w);
}

static void write_resources(struct json_writer *w, const struct audit_event *e,
    const struct audit_event *who)
{
    bool act = e->kind == AUDIT_ACT;
    struct str name = act ? e->object : who->model;
    struct str type = act ? e->object_kind : STR("model");
    if (name.len == 0)
        return;
    json_write_key(w, STR("resources"));
    json_write_array(w);
    json_write_object(w);
    json_write_member_string(w, STR("name"), name);
    text_member(w, "type", type);
    json_write_object_end(w);
    json_write_array_end(w);
}

static void write_source(struct json_writer *w, const struct audit_event *who)
{
    struct str id = who->kind == AUDIT_ACT ? who->actor : who->caller;
    json_write_key(w, STR("src_endpoint"));
    json_write_object(w);
    json_write_member_string(w, STR("name"), id.len > 0 ? id : STR("unknown"));
    text_member(w, "uid", who->key);
    json_write_object_end(w);
}

static void write_status(
    struct json_writer *w, const struct audit_event *e, enum outcome outcome)
{
    struct str code = e->code.len > 0      ? e->code
                      : e->outcome.len > 0 ? e->outcome
                                           : e->type;
    struct str detail = e->message.len > 0  ? e->message
                        : e->reason.len > 0 ? e->reason
                                            : e->error;
    json_write_member_string(w, STR("status"), str_from(outcome_word(outcome)));
    json_write_member_string(w, STR("status_code"), code);
    text_member(w, "status_detail", detail);
    json_write_member_int(w, STR("status_id"), outcome);
}

static void write_texts(
    struct json_writer *w, const char *key, const struct audit_event_list *list)
{
    if (list->count == 0)
        return;
    json_write_key(w, str_from(key));
    json_write_array(w);
    for (size_t i = 0; i < list->count; i++)
        json_write_string(w, list->items[i]);
    json_write_array_end(w);
}

static void raw_member(struct json_writer *w, const char *key, struct str value)
{
    if (value.len == 0)
        return;
    json_write_key(w, str_from(key));
    json_write_raw(w, value);
}

/* What the class has no member for. */
static void write_unmapped(struct json_writer *w, const struct audit_event *e,
    const struct audit_event *who)
{
    bool act = e->kind == AUDIT_ACT, request = e->kind != AUDIT_AUTH_FAILED;
    json_write_key(w, STR("unmapped"));
    json_write_object(w);
    if (act) {
        raw_member(w, "after", e->after);
        raw_member(w, "before", e->before);
        raw_member(w, "detail", e->detail);
        text_member(w, "method", e->actor_method);
        text_member(w, "certificate", e->actor_certificate);
    } else if (request) {
        if (e->bytes_out > 0)
            json_write_member_int(w, STR("bytes_out"), e->bytes_out);
        text_member(w, "decision",
            e->kind == AUDIT_DENIED ? STR("deny") : STR("permit"));
        text_member(w, "method", who->method);
        text_member(w, "model_asked", who->asked);
        write_texts(w, "policies", &who->policies);
        text_member(w, "policy_hash", who->policy_hash);
        if (who->policy_version > 0)
            json_write_member_int(
                w, STR("policy_version"), who->policy_version);
        text_member(w, "quota", e->quota);
        text_member(w, "stage", e->stage);
        text_member(w, "usage_source", e->usage_source);
    }
    json_write_object_end(w);
}

/* --- An event ------------------------------------------------------------ */

static void write_class(
    struct json_writer *w, const char *key, int64_t value, const char *name)
{
    char text[40];
    snprintf(text, sizeof(text), "%s_name", key);
    json_write_member_string(w, str_from(text), str_from(name));
    snprintf(text, sizeof(text), "%s_uid", key);
    json_write_member_int(w, str_from(text), value);
}

static void write_event(struct audit_ocsf *ocsf, uint64_t index,
    const struct audit_event *e, const struct audit_event *who, struct buf *out)
{
    enum activity activity = activity_of(who->kind == AUDIT_ACT ? e : who);
    enum severity severity = severity_of(e);
    struct str engine = e->engine.len > 0 ? e->engine : who->engine;
    struct json_writer w;
    struct buf message;
    char type[40];
    buf_init(&message, MESSAGE_MAX);
    if (who != e && e->kind != AUDIT_ATTEMPT)
        audit_say_request(who, e, NULL, &message);
    else
        audit_say_entry(e, NULL, &message);
    json_write_init(&w, out);
    json_write_object(&w);
    json_write_member_int(&w, STR("activity_id"), activity);
    json_write_member_string(&w, STR("activity_name"),
        activity == OTHER ? e->type : str_from(activity_word(activity)));
    write_actor(&w, who);
    write_model(&w, e, who);
    write_api(&w, e, who);
    write_class(&w, "category", CATEGORY_UID, "Application Activity");
    write_class(&w, "class", CLASS_UID, "API Activity");
    if (e->kind == AUDIT_AUTH_FAILED)
        json_write_member_int(&w, STR("count"), e->count);
    if (engine.len > 0) {
        json_write_key(&w, STR("dst_endpoint"));
        json_write_object(&w);
        json_write_member_string(&w, STR("svc_name"), engine);
        json_write_object_end(&w);
    }
    if (e->kind == AUDIT_COMPLETED && e->total_us >= 0)
        json_write_member_int(&w, STR("duration"), e->total_us / 1000);
    write_http(&w, e, who);
    json_write_member_string(&w, STR("message"), buf_str(&message));
    write_tokens(&w, e);
    write_metadata(&w, ocsf, index, e);
    write_resources(&w, e, who);
    json_write_member_string(
        &w, STR("severity"), str_from(severity_word(severity)));
    json_write_member_int(&w, STR("severity_id"), severity);
    write_source(&w, who);
    write_status(&w, e, outcome_of(e));
    json_write_member_int(&w, STR("time"), e->time_us / 1000);
    snprintf(type, sizeof(type), "API Activity: %s", activity_word(activity));
    write_class(&w, "type", CLASS_UID * 100 + (int64_t)activity, type);
    write_unmapped(&w, e, who);
    json_write_object_end(&w);
    buf_append_char(out, '\n');
    buf_fini(&message);
}

static void write_raw(
    struct audit_ocsf *ocsf, uint64_t index, struct str entry, struct buf *out)
{
    const struct audit_event nothing = {.kind = AUDIT_ACT,
        .type = STR_INIT("unknown"),
        .time_us = ocsf->last_us};
    struct json_writer w;
    json_write_init(&w, out);
    json_write_object(&w);
    json_write_member_int(&w, STR("activity_id"), OTHER);
    json_write_member_string(&w, STR("activity_name"), STR("unknown"));
    write_actor(&w, &nothing);
    write_api(&w, &nothing, &nothing);
    write_class(&w, "category", CATEGORY_UID, "Application Activity");
    write_class(&w, "class", CLASS_UID, "API Activity");
    json_write_member_string(&w, STR("message"),
        STR("An entry of the log that this version cannot read."));
    write_metadata(&w, ocsf, index, &nothing);
    json_write_member_string(&w, STR("raw_data"), entry);
    json_write_member_string(&w, STR("severity"), STR("Unknown"));
    json_write_member_int(&w, STR("severity_id"), 0);
    write_source(&w, &nothing);
    json_write_member_string(&w, STR("status"), STR("Unknown"));
    json_write_member_int(&w, STR("status_id"), UNKNOWN);
    json_write_member_int(&w, STR("time"), nothing.time_us / 1000);
    write_class(&w, "type", CLASS_UID * 100 + OTHER, "API Activity: Other");
    json_write_object_end(&w);
    buf_append_char(out, '\n');
}

/* --- From outside -------------------------------------------------------- */

struct audit_ocsf *audit_ocsf_new(struct str log_name)
{
    struct audit_ocsf *ocsf = calloc(1, sizeof(*ocsf));
    if (ocsf == NULL)
        return NULL;
    ocsf->arena = arena_new(65536, 4u << 20);
    ocsf->log_name = strndup(log_name.ptr != NULL ? log_name.ptr : "",
        log_name.len < 256 ? log_name.len : 256);
    if (ocsf->arena == NULL || ocsf->log_name == NULL)
        audit_ocsf_free(&ocsf);
    return ocsf;
}

void audit_ocsf_free(struct audit_ocsf **pointer)
{
    struct audit_ocsf *ocsf = *pointer;
    if (ocsf == NULL)
        return;
    for (size_t i = 0; i < ocsf->open_count; i++)
        free(ocsf->open[i].entry);
    arena_free(&ocsf->arena);
    free(ocsf->log_name);
    free(ocsf);
    *pointer = NULL;
}

enum err audit_ocsf_entry(struct audit_ocsf *ocsf, uint64_t index,
    struct str entry, struct buf *out, struct errinfo *info)
{
    struct audit_event event, admission;
    const struct audit_event *who = &event;
    arena_reset(ocsf->arena);
    enum err err = audit_event_parse(ocsf->arena, entry, &event, info);
    if (err == ERR_NOMEM)
        return err;
    if (err != ERR_OK) {
        write_raw(ocsf, index, entry, out);
        return out->failed ? errinfo_set(info, ERR_NOMEM, "out of memory")
                           : ERR_OK;
    }
    ocsf->last_us = event.time_us;
    bool ends = event.kind == AUDIT_COMPLETED || event.kind == AUDIT_WITHDRAWN;
    if (event.kind == AUDIT_ADMITTED)
        remember(ocsf, event.id, entry);
    else if ((ends || event.kind == AUDIT_ATTEMPT) &&
             recall(ocsf, event.id, ends, &admission))
        who = &admission;
    write_event(ocsf, index, &event, who, out);
    return out->failed ? errinfo_set(info, ERR_NOMEM, "out of memory") : ERR_OK;
}

void audit_ocsf_note(struct audit_ocsf *ocsf, struct str entry)
{
    struct audit_event event, admission;
    arena_reset(ocsf->arena);
    if (audit_event_parse(ocsf->arena, entry, &event, NULL) != ERR_OK)
        return;
    if (event.kind == AUDIT_ADMITTED)
        remember(ocsf, event.id, entry);
    else if (event.kind == AUDIT_COMPLETED || event.kind == AUDIT_WITHDRAWN)
        (void)recall(ocsf, event.id, true, &admission);
}
