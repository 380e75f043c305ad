/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query_json.c - a page as JSON: what the admin API answers. */
#include "audit/query.h"

#include "lib/json_write.h"

static void put_text(struct json_writer *w, struct str key, struct str value)
{
    if (value.len > 0)
        json_write_member_string(w, key, value);
}

static void put_known(struct json_writer *w, struct str key, int64_t value)
{
    if (value >= 0)
        json_write_member_int(w, key, value);
}

static void put_array(struct json_writer *w, struct str key, struct str array)
{
    json_write_key(w, key);
    json_write_raw(w, array.len > 0 ? array : STR("[]"));
}

static void put_time(struct json_writer *w, struct str key, int64_t time_us)
{
    char text[CLOCK_TEXT_LENGTH];
    clock_format(text, time_us);
    json_write_member_string(w, key, str_make(text, sizeof(text)));
}

static void put_name(struct json_writer *w, struct str key,
    const struct audit_names *names, struct str id)
{
    struct buf name;
    if (!names || !names->find || id.len == 0)
        return;
    buf_init(&name, 1024);
    if (names->find(names->context, id, &name) && !name.failed)
        json_write_member_string(w, key, buf_str(&name));
    buf_fini(&name);
}

static void put_request(struct json_writer *w, const struct audit_row *row,
    const struct audit_names *names)
{
    json_write_member_string(w, STR("action"), row->action);
    json_write_member_string(w, STR("asked"), row->asked);
    put_known(w, STR("attempts"), row->attempts);
    json_write_member_int(w, STR("bytesIn"), row->body);
    put_known(w, STR("bytesOut"), row->bytes_out);
    json_write_member_string(w, STR("caller"), row->caller);
    put_name(w, STR("callerName"), names, row->caller);
    put_known(w, STR("cap"), row->cap);
    put_text(w, STR("code"), row->code);
    put_known(w, STR("cost"), row->cost);
    json_write_member_string(
        w, STR("decision"), row->permitted ? STR("permit") : STR("deny"));
    if (row->end_seq >= 0)
        put_time(w, STR("ended"), row->end_time_us);
    put_text(w, STR("engine"), row->engine);
    put_known(w, STR("firstByteMicros"), row->first_byte_us);
    json_write_member_string(w, STR("id"), row->id);
    put_known(w, STR("inputTokens"), row->input);
    json_write_member_string(w, STR("key"), row->key);
    json_write_member_string(w, STR("kind"), STR("request"));
    json_write_member_string(w, STR("method"), row->method);
    json_write_member_string(w, STR("model"), row->model);
    put_text(w, STR("outcome"), row->outcome);
    put_known(w, STR("outputTokens"), row->output);
    put_array(w, STR("policies"), row->policies);
    json_write_member_int(w, STR("policyVersion"), row->policy_version);
    put_text(w, STR("quota"), row->quota);
    put_text(w, STR("reason"), row->reason);
    json_write_member_string(w, STR("route"), row->route);
    json_write_member_int(w, STR("seq"), (int64_t)row->seq);
    put_text(w, STR("stage"), row->stage);
    put_known(w, STR("status"), row->status);
    json_write_member_bool(w, STR("stream"), row->stream);
    put_array(w, STR("teams"), row->teams);
    put_time(w, STR("time"), row->time_us);
    put_known(w, STR("totalMicros"), row->total_us);
    json_write_member_string(w, STR("type"), row->type);
    put_text(w, STR("upstream"), row->upstream);
}

static void put_event(struct json_writer *w, const struct audit_row *row,
    const struct audit_names *names)
{
    put_text(w, STR("actor"), row->actor);
    put_name(w, STR("actorName"), names, row->actor);
    json_write_member_int(w, STR("count"), row->count);
    json_write_member_string(w, STR("id"), row->id);
    put_text(w, STR("key"), row->key);
    json_write_member_string(w, STR("kind"), STR("event"));
    put_text(w, STR("method"), row->method);
    put_text(w, STR("object"), row->object);
    put_text(w, STR("objectKind"), row->object_kind);
    put_name(w, STR("objectName"), names, row->object);
    put_text(w, STR("reason"), row->reason);
    put_text(w, STR("route"), row->route);
    json_write_member_int(w, STR("seq"), (int64_t)row->seq);
    put_time(w, STR("time"), row->time_us);
    json_write_member_string(w, STR("type"), row->type);
}

void audit_result_json(const struct audit_result *result,
    const struct audit_names *names, struct buf *out)
{
    struct json_writer w;
    json_write_init(&w, out);
    json_write_object(&w);
    if (result->entries > result->indexed)
        json_write_member_int(
            &w, STR("behind"), (int64_t)(result->entries - result->indexed));
    if (result->entries > 0)
        json_write_member_int(&w, STR("entries"), (int64_t)result->entries);
    if (result->incomplete)
        json_write_member_bool(&w, STR("incomplete"), true);
    json_write_member_int(&w, STR("indexed"), (int64_t)result->indexed);
    json_write_member_bool(&w, STR("more"), result->more);
    if (result->count > 0 || result->more)
        json_write_member_int(&w, STR("next"), (int64_t)result->next);
    put_text(&w, STR("note"), str_from(result->note));
    json_write_key(&w, STR("rows"));
    json_write_array(&w);
    for (size_t i = 0; i < result->count; i++) {
        json_write_object(&w);
        if (result->rows[i].kind == AUDIT_ROW_REQUEST)
            put_request(&w, &result->rows[i], names);
        else
            put_event(&w, &result->rows[i], names);
        json_write_object_end(&w);
    }
    json_write_array_end(&w);
    if (result->unfinished)
        json_write_member_bool(&w, STR("unfinished"), true);
    json_write_object_end(&w);
}
