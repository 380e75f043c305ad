/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/cedar/bench_authorize.c - decisions per second of the Cedar engine on
 * one core, by number of policies and by depth of the entity hierarchy.
 *
 * Three kinds of sets. "indexed": five policies for each team (scope: team,
 * actions, model group; conditions on the context) and five for everybody, so
 * that ten match a request however many there are. "shared": teams, model
 * groups and actions are each named by many policies, no single one is
 * selective. "conditions": nothing in the scopes, all in the conditions: no
 * index can help.
 *
 * Times are of this process' processor, not of the wall: other programs on the
 * machine do not count, but for what they do to the caches. Of five rounds
 * the best is given.
 *
 * usage: bench/cedar/run.sh [SECONDS-PER-CASE] (default 1) */
#include "lib/must.h"
#include "policy/cedar/cedar.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CALLERS 1000
#define REQUESTS 1024
#define CONTEXT_FIELDS 30
#define EVERYBODY 5
#define PER_TEAM 5
#define ROUNDS 5

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* --- Policies -------------------------------------------------------------*/

static void condition(struct buf *out, unsigned i)
{
    static const char *const conditions[] = {
        "context.maxTokens <= 4096 && context.stream == false",
        "context.ip.isInRange(ip(\"10.0.0.0/8\"))",
        "context.hour >= 6 && context.hour < 22 && !context.isHoliday",
        "[\"chat\", \"complete\", \"embed\"].contains(context.route)",
        "context has labels && context.labels.contains(\"internal\")",
    };
    buf_append_str(out, str_from(conditions[i % 5]));
}

static void everybody(struct buf *out)
{
    for (unsigned i = 0; i < EVERYBODY; i++) {
        buf_append_str(out, i % 2 ? STR("forbid") : STR("permit"));
        buf_append_str(out, STR("(principal, action, resource) when { "));
        if (i % 2)
            buf_append_str(out, STR("context.maxTokens > 1000000 && "));
        condition(out, i);
        buf_append_str(out, STR(" };\n"));
    }
}

static void indexed(struct buf *out, unsigned count)
{
    everybody(out);
    for (unsigned i = EVERYBODY; i < count; i++) {
        unsigned team = (i - EVERYBODY) / PER_TEAM;
        buf_printf(out,
            "permit(principal in Team::\"t%u\", action in "
            "[Action::\"infer\", Action::\"read\"], resource in "
            "ModelGroup::\"g%u\") when { ",
            team, team % 10);
        condition(out, i);
        buf_append_str(out, STR(" };\n"));
    }
}

static void shared(struct buf *out, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        buf_printf(out,
            "permit(principal in Team::\"t%u\", action == Action::\"a%u\", "
            "resource in ModelGroup::\"g%u\") when { ",
            i % 20, i / 20 % 10, i / 200 % 10);
        condition(out, i);
        buf_append_str(out, STR(" };\n"));
    }
}

static void conditions(struct buf *out, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        buf_printf(out,
            "permit(principal, action, resource) when { context.tokens == %u "
            "&& ",
            i);
        condition(out, i);
        buf_append_str(out, STR(" };\n"));
    }
}

/* --- Entities -------------------------------------------------------------*/

static struct cedar_uid uid(
    struct arena *arena, const char *type, const char *format, unsigned n)
{
    char *id = arena_printf(arena, "%s%u", format, n);
    MUST(id != NULL);
    return cedar_uid_make(str_from(type), str_from(id));
}

static void add(struct cedar_entities_builder *b, struct cedar_uid entity,
    const struct cedar_uid *parent)
{
    MUST(cedar_entities_builder_add(
             b, &entity, parent, parent != NULL, NULL, NULL, NULL) == ERR_OK);
}

/* Callers in teams in a chain of `depth` units; models in groups. */
static struct cedar_entities *make_entities(unsigned teams, unsigned depth)
{
    struct cedar_entities_builder *b;
    struct cedar_entities *entities;
    MUST(cedar_entities_builder_new(&b) == ERR_OK);
    struct arena *arena = cedar_entities_builder_arena(b);
    for (unsigned i = 0; i < CALLERS; i++) {
        struct cedar_uid team = uid(arena, "Team", "t", i % teams);
        add(b, uid(arena, "Caller", "c", i), &team);
    }
    for (unsigned i = 0; i < teams && depth > 1; i++) {
        struct cedar_uid unit = uid(arena, "Team", "unit", 1);
        add(b, uid(arena, "Team", "t", i), &unit);
    }
    for (unsigned i = 1; i + 1 < depth; i++) {
        struct cedar_uid unit = uid(arena, "Team", "unit", i + 1);
        add(b, uid(arena, "Team", "unit", i), &unit);
    }
    for (unsigned i = 0; i < 100; i++) {
        struct cedar_uid group = uid(arena, "ModelGroup", "g", i % 10);
        add(b, uid(arena, "Model", "m", i), &group);
    }
    struct cedar_uid infer = cedar_uid_make(STR("Action"), STR("infer"));
    for (unsigned i = 0; i < 10; i++)
        add(b, uid(arena, "Action", "a", i), &infer);
    MUST(cedar_entities_builder_finish(&b, &entities, NULL) == ERR_OK);
    return entities;
}

/* --- Requests -------------------------------------------------------------*/

static struct cedar_value context(struct arena *arena)
{
    struct cedar_field *fields =
        ARENA_ARRAY(arena, CONTEXT_FIELDS, struct cedar_field);
    struct cedar_ip *ip = ARENA_NEW(arena, struct cedar_ip);
    struct cedar_value labels[2] = {
        cedar_string(STR("internal")), cedar_string(STR("german"))};
    struct cedar_value set, record;
    MUST(fields && ip);
    *ip = (struct cedar_ip){{10, 1, 2, 3}, 4, 32};
    MUST(cedar_set_make(arena, labels, 2, &set) == ERR_OK);
    static const char *const names[] = {"maxTokens", "stream", "ip", "hour",
        "isHoliday", "route", "labels", "tokens"};
    const struct cedar_value values[] = {cedar_long(512), cedar_bool(false),
        cedar_ip(ip), cedar_long(11), cedar_bool(false),
        cedar_string(STR("chat")), set, cedar_long(-1)};
    for (unsigned i = 0; i < CONTEXT_FIELDS; i++) {
        char *name = i < 8 ? NULL : arena_printf(arena, "field%u", i);
        fields[i].key = cedar_key_make(str_from(i < 8 ? names[i] : name));
        fields[i].value = i < 8 ? values[i] : cedar_long(i);
    }
    MUST(cedar_record_make(arena, fields, CONTEXT_FIELDS, &record) == ERR_OK);
    return record;
}

static void make_requests(
    struct arena *arena, unsigned teams, struct cedar_request *requests)
{
    struct cedar_value record = context(arena);
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct cedar_uid *uids = ARENA_ARRAY(arena, 3, struct cedar_uid);
        MUST(uids != NULL);
        unsigned caller = i * 7919u % CALLERS;
        unsigned group = caller % teams % 10; /* what the team may use */
        uids[0] = uid(arena, "Caller", "c", caller);
        uids[1] = uid(arena, "Action", "a", i % 10);
        uids[2] = uid(arena, "Model", "m", i % 10 * 10 + group);
        requests[i] =
            (struct cedar_request){&uids[0], &uids[1], &uids[2], record.record};
    }
}

/* --- Measuring ------------------------------------------------------------*/

struct measured {
    double per_second, allowed, reasons;
};

static struct measured run(const struct cedar_policies *policies,
    const struct cedar_entities *entities, const struct cedar_request *requests,
    double limit)
{
    struct cedar_scratch *scratch;
    struct cedar_answer answer;
    MUST(cedar_scratch_new(&scratch) == ERR_OK);
    size_t done = 0, allowed = 0, reasons = 0;
    double start = 0, now = 0;
    for (size_t i = 0;; i++) {
        if (i == REQUESTS) { /* the first round warms up */
            start = seconds();
            done = allowed = reasons = 0;
        }
        MUST(cedar_authorize(policies, entities, &requests[i % REQUESTS],
                 scratch, &answer) == ERR_OK);
        done++;
        allowed += answer.decision == CEDAR_ALLOW;
        reasons += answer.reason_count;
        if (i > REQUESTS && i % 64 == 0) {
            now = seconds();
            if (now - start > limit)
                break;
        }
    }
    cedar_scratch_free(&scratch);
    return (struct measured){(double)done / (now - start),
        (double)allowed / (double)done, (double)reasons / (double)done};
}

/* Bytes that malloc has given out. */
static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void measure(const char *name, unsigned count, unsigned depth,
    void (*write)(struct buf *out, unsigned count), double limit)
{
    struct buf text;
    struct cedar_policies *policies;
    buf_init(&text, (size_t)64 << 20);
    write(&text, count);
    size_t before = in_use();
    double start = seconds();
    MUST(cedar_policies_parse(buf_str(&text), NULL, &policies) == ERR_OK);
    double parsed = seconds() - start;
    size_t policy_bytes = in_use() - before;
    unsigned teams = count / PER_TEAM > 20 ? count / PER_TEAM : 20;
    if (teams > CALLERS)
        teams = CALLERS;
    struct arena *arena = arena_new(4096, 0);
    struct cedar_request requests[REQUESTS];
    before = in_use();
    start = seconds();
    struct cedar_entities *entities = make_entities(teams, depth);
    double built = seconds() - start;
    size_t entity_bytes = in_use() - before;
    make_requests(arena, teams, requests);
    struct measured m = {0};
    for (int round = 0; round < ROUNDS; round++) {
        struct measured once =
            run(policies, entities, requests, limit / ROUNDS);
        m = once.per_second > m.per_second ? once : m;
    }
    printf("%-10s %6u policies depth %2u: %9.0f/s %7.0f ns, %4.1f %% allowed, "
           "%5.1f reasons; parsed in %7.3f ms, %6zu KiB; %zu entities in %5.2f "
           "ms, %5zu KiB\n",
        name, count, depth, m.per_second, 1e9 / m.per_second, m.allowed * 100,
        m.reasons, parsed * 1e3, policy_bytes / 1024,
        cedar_entities_count(entities), built * 1e3, entity_bytes / 1024);
    fflush(stdout);
    cedar_entities_free(&entities);
    cedar_policies_free(&policies);
    arena_free(&arena);
    buf_fini(&text);
}

int main(int argc, char **argv)
{
    double limit = argc > 1 ? strtod(argv[1], NULL) : 1.0;
    for (unsigned count = 10; count <= 10000; count *= 10)
        measure("indexed", count, 3, indexed, limit);
    for (unsigned depth = 1; depth <= 10; depth++)
        measure("indexed", 100, depth, indexed, limit);
    for (unsigned count = 10; count <= 10000; count *= 10)
        measure("shared", count, 3, shared, limit);
    for (unsigned count = 10; count <= 10000; count *= 10)
        measure("conditions", count, 3, conditions, limit);
    return 0;
}
