/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_usage.c - GET /v1/bailiff/usage: the caller's own quotas.
 *
 * It goes through all stages and is on record like any request, but takes from
 * no quota: who has spent a budget may look at it. No rule decides: it shows
 * nothing but what the answers' own RateLimit fields show. */
#include "proxy/exchange_priv.h"

#include "lib/json_write.h"

static void write_time_or_null(
    struct json_writer *w, struct str key, int64_t time_us)
{
    char text[CLOCK_TEXT_LENGTH];
    if (time_us <= 0) {
        json_write_key(w, key);
        json_write_null(w);
        return;
    }
    clock_format(text, time_us);
    json_write_member_string(w, key, str_make(text, CLOCK_TEXT_LENGTH));
}

static int64_t recordable(int64_t units)
{
    return units > JSON_INTEGER_MAX ? JSON_INTEGER_MAX : units;
}

static void write_quota(struct exchange *x, struct json_writer *w,
    const struct quota_rule *rule, const struct snapshot_quota_for *what)
{
    struct quota_status status;
    int64_t now = loop_wall(x->worker->loop);
    quota_peek(x->worker->shared->ledger, now, rule, &status);
    if (status.reserved > status.used) /* a rate flows off meanwhile */
        status.reserved = status.used;
    json_write_object(w);
    json_write_member_int(w, STR("amount"), rule->amount);
    json_write_member_string(
        w, STR("dimension"), str_from(quota_dimension_name(rule->dimension)));
    json_write_member_string(w, STR("id"), str_from(rule->id));
    json_write_member_string(w, STR("model"), what->model);
    json_write_member_string(w, STR("model_group"), what->group);
    json_write_member_int(w, STR("remaining"), recordable(status.remaining));
    json_write_member_int(w, STR("reserved"), recordable(status.reserved));
    write_time_or_null(
        w, STR("resets"), status.reset_us < 0 ? 0 : now + status.reset_us);
    json_write_member_string(w, STR("scope"), what->scope);
    write_time_or_null(w, STR("since"), status.window_start_us);
    json_write_member_string(w, STR("subject"), what->subject);
    json_write_member_int(
        w, STR("used"), recordable(status.used - status.reserved));
    json_write_member_string(
        w, STR("window"), str_from(quota_window_name(rule->window)));
    json_write_object_end(w);
}

static void write_all(struct exchange *x, struct json_writer *w,
    const struct quota_rule *const *rules,
    const struct snapshot_quota_for *what, size_t count)
{
    for (size_t i = 0; i < count; i++)
        write_quota(x, w, rules[i], &what[i]);
}

void exchange_write_usage(struct exchange *x, struct buf *out)
{
    struct json_writer w;
    json_write_init(&w, out);
    json_write_object(&w);
    json_write_member_string(&w, STR("caller"), str_from(x->caller->id));
    json_write_key(&w, STR("data"));
    json_write_array(&w);
    write_all(
        x, &w, x->caller->quotas, x->caller->quota_for, x->caller->quota_count);
    if (x->joined != NULL)
        write_all(x, &w, x->joined->quotas, x->joined->quota_for,
            x->joined->quota_count);
    write_all(x, &w, x->key->quotas, x->key->quota_for, x->key->quota_count);
    json_write_array_end(&w);
    json_write_member_string(&w, STR("object"), STR("list"));
    json_write_object_end(&w);
}
