/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server_disk.c - says in time that the journal's disk fills up: an event
 * at each of two thresholds (and when there is room again), a line in the
 * operator's log, status, and metrics. What happens when nothing is left is
 * not here: audit/journal.h admits nothing more, and goes on by itself. */
#include "proxy/server_priv.h"

#include "lib/log.h"

#include <inttypes.h>
#include <stdio.h>

#define LOOK_EVERY_US (2 * SECOND_US)
#define MARGIN_MOST (UINT64_C(256) << 20)

const char *server_disk_word(enum disk_state state)
{
    switch (state) {
    case DISK_GOOD:
        return "good";
    case DISK_LOW:
        return "low";
    case DISK_CRITICAL:
        break;
    }
    return "critical";
}

/* A tenth more than the threshold (256 MiB at most) must be free before it is
 * good again: no event at each byte that comes and goes. */
static uint64_t with_margin(uint64_t threshold)
{
    uint64_t margin = threshold / 10;
    return threshold + (margin < MARGIN_MOST ? margin : MARGIN_MOST);
}

static enum disk_state judge(
    const struct server *s, uint64_t free_bytes, enum disk_state was)
{
    uint64_t low = (uint64_t)s->settings->disk_low_bytes;
    uint64_t critical = (uint64_t)s->settings->disk_critical_bytes;
    if (was >= DISK_LOW)
        low = with_margin(low);
    if (was == DISK_CRITICAL)
        critical = with_margin(critical);
    return free_bytes < critical ? DISK_CRITICAL
           : free_bytes < low    ? DISK_LOW
                                 : DISK_GOOD;
}

static void tell(struct server *s, enum disk_state state, uint64_t free_bytes)
{
    static const struct control_actor actor = {
        .id = "system", .role = "admin", .method = "system"};
    struct errinfo info = {0};
    char detail[128];
    snprintf(detail, sizeof(detail), "{\"freeBytes\":%" PRIu64 "}",
        free_bytes < INT64_C(1) << 53 ? free_bytes : UINT64_C(1) << 53);
    struct audit_act act = {
        .type = state == DISK_GOOD  ? STR("system.disk_good")
                : state == DISK_LOW ? STR("system.disk_low")
                                    : STR("system.disk_critical"),
        .object_kind = STR("disk"),
        .object = STR("journal"),
        .detail = str_from(detail),
    };
    if (state == DISK_GOOD)
        log_info("disk_good", "free_bytes=%" PRIu64, free_bytes);
    else
        log_warn("disk_filling",
            "state=%s free_bytes=%" PRIu64
            " note=\"when nothing is left, nothing is admitted\"",
            server_disk_word(state), free_bytes);
    if (control_event(s->control, &actor, &act, &info) != ERR_OK)
        log_error("event_not_recorded", "reason=\"%s\"", info.text);
}

void server_disk_look(struct server *s)
{
    struct audit_log_health health;
    int64_t now = clock_monotonic();
    if (now < s->disk_due_us)
        return;
    s->disk_due_us = now + LOOK_EVERY_US;
    audit_log_health(control_log(s->control), &health);
    enum disk_state was = atomic_load(&s->disk_state);
    enum disk_state state = judge(s, health.free_bytes, was);
    if (state == was)
        return;
    atomic_store(&s->disk_state, state);
    tell(s, state, health.free_bytes);
}
