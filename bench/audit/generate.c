/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/audit/generate.c - a long log of real entries, as the proxy would
 * write them: admissions with their ends, denials by rules and quotas, acts,
 * failed logins. Two producers stand for two workers; journal, publisher and
 * (with "index") indexer run as in the server. Prints what it took.
 *
 *   generate DIR ENTRIES [index] */
#include "audit/entry.h"
#include "audit/indexer.h"
#include "audit/log.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/file.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define PRODUCERS 2
#define LAG 64 /* requests in flight per producer */
#define CALLERS 500
#define TEAMS 20
#define MODELS 12
#define ENGINES 6
#define RULES 30
#define WAITING_MOST (32u << 20)

static struct journal *journal;
static uint64_t wanted;

struct maker {
    pthread_t thread;
    unsigned number;
    struct journal_producer *producer;
    struct buf entry;
    uint64_t random, requests, made, ticket;
    char open[LAG][ULID_LENGTH];
    size_t open_count;
};

static uint64_t next_random(struct maker *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random;
}

static void append(struct maker *m, size_t time_offset)
{
    enum err err;
    while ((err = journal_append(m->producer, buf_str(&m->entry), time_offset,
                0, &m->ticket)) == ERR_FULL) {
        journal_submit(m->producer);
        usleep(200);
    }
    if (err != ERR_OK) {
        fprintf(stderr, "append: %s\n", err_name(err));
        exit(1);
    }
    buf_clear(&m->entry);
    m->made++;
    if (m->made % 64 == 0)
        journal_submit(m->producer);
}

static void finish(struct maker *m)
{
    static const char *const outcomes[] = {"ok", "ok", "ok", "ok", "ok", "ok",
        "ok", "client_gone", "engine_error", "cut"};
    uint64_t r = next_random(m);
    const char *outcome = outcomes[r % 10];
    size_t at;
    struct audit_quota_figure quota = {.bucket = STR_INIT("quo_team_day"),
        .window_start_us = INT64_C(1795392000000000),
        .reserved = 600,
        .settled = (int64_t)(r % 600)};
    struct audit_completed completed = {.id = str_make(m->open[0], ULID_LENGTH),
        .time_us = clock_now(),
        .outcome = str_from(outcome),
        .reason = STR_INIT(""),
        .status = outcome[0] == 'e' ? 502 : 200,
        .engine = STR_INIT("engine-1"),
        .upstream = STR_INIT("upstream-model"),
        .attempts = 1,
        .input_tokens = (int64_t)(r % 2000),
        .output_tokens = (int64_t)(r / 7 % 800),
        .cached_tokens = -1,
        .cost = (int64_t)(r % 2000 * 3 + r / 7 % 800 * 15),
        .reasoning_tokens = -1,
        .usage_source = STR_INIT("engine"),
        .bytes_out = (int64_t)(r % 20000),
        .answer_digest = STR_INIT("0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a"
                                  "69788796a5b4c3d2e1f0"),
        .digest_key = STR_INIT("1"),
        .durable_us = 300,
        .first_byte_us = (int64_t)(1000 + r % 50000),
        .total_us = (int64_t)(60000 + r % 3000000),
        .quotas = &quota,
        .quota_count = 1};
    audit_entry_completed(&m->entry, &completed, &at);
    append(m, at);
    m->open_count--;
    memmove(m->open, m->open + 1, m->open_count * sizeof(m->open[0]));
}

static void request(struct maker *m)
{
    char caller[32], key[32], team[32], model[32], engine[32], rule[32];
    uint8_t random[10] = {0};
    char id[ULID_LENGTH];
    size_t at;
    uint64_t r = next_random(m);
    unsigned who = (unsigned)(r % CALLERS * (r / 1000 % CALLERS) / CALLERS);
    unsigned which = (unsigned)(r / 7 % MODELS);
    /* A nightly job asks for a fifth, and nearly never for half of the models:
     * two frequent conditions that hardly ever meet. */
    if (r / 31 % 5 == 0) {
        who = 0;
        which = r / 155 % 20000 == 0 ? MODELS - 1 : which / 2;
    }
    bool by_rule = r / 13 % 20 == 0, by_quota = !by_rule && r / 29 % 50 == 0;
    memcpy(random, &m->requests, sizeof(m->requests));
    random[9] = (uint8_t)m->number;
    m->requests++;
    ulid_write(id, clock_now(), random);
    snprintf(caller, sizeof(caller), "cal_%016u", who);
    snprintf(key, sizeof(key), "key_%016u", who);
    snprintf(team, sizeof(team), "team-%u", who % TEAMS);
    snprintf(model, sizeof(model), "model-%u", which);
    snprintf(engine, sizeof(engine), "engine-%u", (unsigned)(r / 11 % ENGINES));
    snprintf(rule, sizeof(rule), by_rule ? "closed-%u" : "open-%u",
        (unsigned)(r / 17 % RULES));
    struct str teams[] = {STR_INIT("clinic"), str_from(team)};
    struct str rules[] = {str_from(rule)};
    struct audit_candidate candidate = {.engine = str_from(engine),
        .model = str_from(model),
        .upstream = STR_INIT("upstream-model"),
        .permitted = !by_rule,
        .reason = by_rule ? STR("a rule forbids it") : STR(""),
        .policies = rules,
        .policy_count = 1,
        .max_tokens = -1};
    struct audit_quota_figure quota = {.bucket = STR_INIT("quo_team_day"),
        .window_start_us = INT64_C(1795392000000000),
        .limit = 1000000000,
        .used = (int64_t)(r % 1000000),
        .reserved = 600};
    struct audit_request q = {.id = str_make(id, sizeof(id)),
        .time_us = clock_now(),
        .caller = str_from(caller),
        .key = str_from(key),
        .auth_method = STR_INIT("api_key"),
        .teams = teams,
        .team_count = 2,
        .route = STR_INIT("/v1/chat/completions"),
        .dialect = STR_INIT("openai"),
        .action = STR_INIT("chat"),
        .model_asked = str_from(model),
        .model = str_from(model),
        .context = STR_INIT(
            "{\"auth\":\"api_key\",\"choices\":1,\"dialect\":\"openai\","
            "\"inputBytes\":420,\"inputTokens\":440,\"messages\":2,"
            "\"route\":\"/v1/chat/completions\",\"stream\":true}"),
        .policy_version = 3 + (int64_t)(m->requests / 500000),
        .policy_hash = STR_INIT("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b82"
                                "2cd15d6c15b0f00a08"),
        .snapshot = STR_INIT("0011223344556677"),
        .body_bytes = 620,
        .body_digest = STR_INIT("60303ae22b998861bce3b28f33eec1be758a213c86c93c"
                                "076dbe9f558c11c752"),
        .digest_key = STR_INIT("1"),
        .input_bound = 440,
        .cap = 512,
        .stream = true,
        .candidates = &candidate,
        .candidate_count = 1,
        .quotas = &quota,
        .quota_count = 1};
    if (by_rule || by_quota) {
        struct audit_denied denied = {
            .stage = by_rule ? STR("decide") : STR("reserve"),
            .status = by_rule ? 403 : 429,
            .code = by_rule ? STR("policy_denied") : STR("rate_limit_exceeded"),
            .message = by_rule ? STR("This model is closed to your team.")
                               : STR("Today's tokens are used up."),
            .quota = by_rule ? STR("") : STR("quo_team_day")};
        audit_entry_denied(&m->entry, &q, &denied, &at);
        append(m, at);
        return;
    }
    audit_entry_admitted(&m->entry, &q, &at);
    append(m, at);
    memcpy(m->open[m->open_count++], id, sizeof(id));
    if (m->open_count == LAG)
        finish(m);
}

static void act(struct maker *m)
{
    size_t at;
    if (next_random(m) % 2) {
        struct audit_act a = {.type = STR_INIT("admin.quota.changed"),
            .time_us = clock_now(),
            .actor = STR_INIT("adm_0000000000000001"),
            .actor_method = STR_INIT("token"),
            .object_kind = STR_INIT("quota"),
            .object = STR_INIT("quo_team_day"),
            .before = STR_INIT("{\"amount\":1000}"),
            .after = STR_INIT("{\"amount\":2000}"),
            .reason = STR_INIT("more was asked for")};
        audit_entry_act(&m->entry, &a, &at);
    } else {
        struct audit_auth_failed f = {.time_us = clock_now(),
            .first_us = clock_now(),
            .reason = STR_INIT("unknown"),
            .route = STR_INIT("/v1/chat/completions"),
            .count = 3};
        audit_entry_auth_failed(&m->entry, &f, &at);
    }
    append(m, at);
}

static void *make(void *context)
{
    struct maker *m = context;
    uint64_t share = wanted / PRODUCERS;
    while (m->made + m->open_count < share) {
        request(m);
        if (m->requests % 1000 == 0)
            act(m);
    }
    while (m->open_count > 0)
        finish(m);
    journal_submit(m->producer);
    if (journal_wait(m->producer, m->ticket) != ERR_OK)
        exit(1);
    return NULL;
}

static uint64_t size_of(void *context)
{
    (void)context;
    return journal_size(journal);
}

static void fail(const char *what, const struct errinfo *info)
{
    fprintf(stderr, "%s: %s\n", what, info->text);
    exit(1);
}

static void report(struct audit_log *log, int64_t start, uint64_t entries)
{
    struct audit_log_health health;
    struct rusage use;
    double seconds = (double)(clock_monotonic() - start) / 1e6;
    audit_log_health(log, &health);
    getrusage(RUSAGE_SELF, &use);
    printf("durable: %llu entries in %.1f s: %.0f/s; fdatasync calls %llu "
           "(%.0f entries each), %.1f MB, peak memory %ld MB\n",
        (unsigned long long)entries, seconds, (double)entries / seconds,
        (unsigned long long)health.syncs,
        (double)entries / (double)health.syncs, (double)health.bytes / 1e6,
        use.ru_maxrss / 1024);
}

int main(int argc, char **argv)
{
    static struct maker makers[PRODUCERS];
    struct errinfo info = {0};
    struct indexer *indexer = NULL;
    struct audit_log *log;
    if (argc < 3 || str_to_u64(str_from(argv[2]), &wanted) != ERR_OK) {
        fprintf(stderr, "usage: generate DIR ENTRIES [index]\n");
        return 2;
    }
    if (crypto_init(&info) != ERR_OK ||
        file_make_dir(argv[1], 0700, &info) != ERR_OK ||
        audit_log_create(argv[1], "example.com/bailiff-bench", &info) != ERR_OK)
        fail("create", &info);
    struct audit_log_options options = {
        .state_dir = argv[1], .without_index = true};
    if (audit_log_open(&options, &log, &info) != ERR_OK ||
        audit_log_start(log, NULL, NULL, &info) != ERR_OK)
        fail("open", &info);
    journal = audit_log_journal(log);
    struct indexer_options index = {.state_dir = argv[1], .size = size_of};
    if (argc > 3 && indexer_start(&index, &indexer, &info) != ERR_OK)
        fail("index", &info);
    int64_t start = clock_monotonic();
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct maker *m = &makers[i];
        m->number = i;
        m->random = 88172645463325252u + i;
        buf_init(&m->entry, 70000);
        if (journal_producer_new(
                journal, WAITING_MOST, NULL, NULL, &m->producer) != ERR_OK ||
            pthread_create(&m->thread, NULL, make, m) != 0)
            fail("producer", &info);
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        pthread_join(makers[i].thread, NULL);
        journal_producer_free(&makers[i].producer);
        buf_fini(&makers[i].entry);
    }
    uint64_t entries = journal_size(journal);
    report(log, start, entries);
    if (indexer) {
        uint64_t behind = entries - indexer_position(indexer);
        if (indexer_wait(indexer, entries, HOUR_US) != ERR_OK)
            fail("index", &info);
        printf("index: %llu entries behind when the last was durable; all in "
               "after %.1f s: %.0f entries/s\n",
            (unsigned long long)behind,
            (double)(clock_monotonic() - start) / 1e6,
            (double)entries / ((double)(clock_monotonic() - start) / 1e6));
        indexer_stop(&indexer);
    }
    int64_t stopping = clock_monotonic();
    audit_log_stop(&log);
    printf("stop with the last checkpoint: %.1f s\n",
        (double)(clock_monotonic() - stopping) / 1e6);
    return 0;
}
