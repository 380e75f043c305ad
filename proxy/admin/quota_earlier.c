/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/quota_earlier.c - what was used before a quota was made, in the
 * window that it is made in: out of the index, as it was settled. Requests that
 * run meanwhile count in neither. */
#include "proxy/admin/prune.h"

#include "audit/index_file.h"
#include "audit/stats.h"
#include "lib/clock.h"
#include "lib/must.h"
#include "policy/quota.h"

static enum err window_start(struct admin_call *call,
    const struct admin_new_quota *quota, enum quota_window window, int64_t *out)
{
    static const enum clock_window calendar[] = {
        [QUOTA_HOUR] = CLOCK_HOUR,
        [QUOTA_DAY] = CLOCK_DAY,
        [QUOTA_WEEK] = CLOCK_WEEK,
        [QUOTA_MONTH] = CLOCK_MONTH,
    };
    struct clock_zone *zone = NULL;
    struct str name = quota->zone;
    int64_t end;
    enum err err = ERR_OK;

    *out = 0;
    if (window == QUOTA_LIFETIME)
        return ERR_OK;
    if (window < QUOTA_HOUR || window > QUOTA_MONTH)
        return FAIL(call, ERR_INVALID,
            "countEarlierUse: a quota of the window %.*s has no earlier use",
            STR_ARG(quota->window));
    if (name.len == 0)
        err = admin_setting(call, "zone", "UTC", &name);
    if (!err)
        err =
            clock_zone_load(arena_cstr(call->arena, name), &zone, &call->info);
    if (!err)
        clock_window(zone, calendar[window], clock_now(), out, &end);
    clock_zone_free(&zone);
    return err;
}

static int64_t units_of(
    enum quota_dimension dimension, const struct audit_group *group)
{
    int64_t input = group->input > 0 ? group->input : 0;
    int64_t output = group->output > 0 ? group->output : 0;

    switch (dimension) {
    case QUOTA_REQUESTS:
        return group->permitted;
    case QUOTA_TOKENS:
        return input + output;
    case QUOTA_INPUT_TOKENS:
        return input;
    case QUOTA_OUTPUT_TOKENS:
        return output;
    case QUOTA_COST:
    case QUOTA_IMAGES:
    case QUOTA_AUDIO_SECONDS:
    case QUOTA_REQUEST_BYTES:
    case QUOTA_CONCURRENT_REQUESTS:
        break;
    }
    return 0;
}

/* Is the model in the group? */
static enum err is_member(
    struct admin_call *call, struct str group, struct str model, bool *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT 1 FROM model_group_member WHERE model_group = ?1 AND model = "
        "?2",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, group);
    db_bind_text(s, 2, model);
    err = db_step(s, &call->info);
    db_reset(s);
    *out = err == ERR_OK;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err add_up(struct admin_call *call, struct admin_new_quota *quota,
    enum quota_dimension dimension, const struct audit_stats *stats)
{
    for (size_t i = 0; i < stats->count; i++) {
        const struct audit_group *group = &stats->groups[i];
        bool counts = true;
        if (quota->model_group.len > 0) {
            enum err err =
                is_member(call, quota->model_group, group->keys[0], &counts);
            if (err)
                return err;
        }
        if (counts)
            quota->earlier += units_of(dimension, group);
    }
    return ERR_OK;
}

enum err admin_count_earlier(
    struct admin_call *call, struct admin_new_quota *quota)
{
    struct audit_filter filter = {.model = quota->model};
    struct audit_index *index = NULL;
    struct audit_stats *stats = NULL;
    enum quota_dimension dimension;
    enum quota_window window;
    uint64_t size, damaged = 0;
    int64_t until = 0;
    bool behind = false;
    enum err err;

    MUST(quota_dimension_parse(quota->dimension, &dimension) == ERR_OK &&
         quota_window_parse(quota->window, &window) == ERR_OK);
    if (dimension > QUOTA_OUTPUT_TOKENS)
        return FAIL(call, ERR_INVALID,
            "countEarlierUse: the index does not know the %.*s of earlier "
            "requests; it knows requests and tokens",
            STR_ARG(quota->dimension));
    err = window_start(call, quota, window, &quota->earlier_window);
    if (err)
        return err;
    err = prune_until(call, &until);
    if (!err && quota->earlier_window < until)
        err = FAIL(call, ERR_WRONG_STATE,
            "countEarlierUse: the log begins within the quota's window, "
            "because what was before was pruned; the earlier use cannot be "
            "counted");
    if (err)
        return err;
    filter.since_us = quota->earlier_window;
    filter.type = STR("request");
    if (str_equal(quota->scope, STR("team")))
        filter.team = quota->subject;
    else if (str_equal(quota->scope, STR("caller")))
        filter.caller = quota->subject;
    else if (str_equal(quota->scope, STR("key")))
        filter.key = quota->subject;
    err = audit_await_index(call, &size, &behind);
    if (!err && behind)
        err = FAIL(call, ERR_WRONG_STATE,
            "countEarlierUse: the index is behind the log; try again when it "
            "has caught up");
    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    if (!err)
        err = audit_count(
            index, &filter, STR("model"), &stats, &damaged, &call->info);
    if (err == ERR_CORRUPT)
        err = audit_index_failed(call, err, damaged);
    if (!err)
        err = add_up(call, quota, dimension, stats);
    audit_stats_free(&stats);
    audit_index_close(&index);
    return err;
}
