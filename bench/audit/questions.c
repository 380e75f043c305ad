/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/audit/questions.c - how long the first page of an auditor's question
 * takes, on a log that bench/audit/generate.c made.
 *
 *   questions DIR [ROUNDS [cold]]    cold: the index's files are put out of
 *                                    the system's cache before each question
 *
 * Each round opens the index as a request to the admin API does, and asks for
 * another caller, model or rule than the round before. */
#include "audit/index_file.h"
#include "audit/log.h"
#include "audit/query.h"
#include "audit/show.h"
#include "audit/stats.h"
#include "lib/clock.h"
#include "lib/crypto.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 1000

struct question {
    const char *name;
    const char *filters; /* %u: a number that changes with each round */
    unsigned modulo;
    const char *count_by; /* a count instead of a page */
};
static const struct question questions[] = {
    {"1 all by one caller", "caller=cal_%016u", 400, NULL},
    {"1 all by one key, last hour", "key=key_%016u&since=1h", 400, NULL},
    {"2 denials by one rule", "policy=closed-%u&decision=deny", 30, NULL},
    {"2 denials, newest", "decision=deny", 1, NULL},
    {"4 changes", "type=change", 1, NULL},
    {"5 failed logins", "type=auth", 1, NULL},
    {"6 use of one model", "model=model-%u", 12, NULL},
    {"6 one engine, errors", "engine=engine-%u&status=5xx", 6, NULL},
    {"13 one team's denials", "team=team-%u&decision=deny", 20, NULL},
    {"15 who read the record", "type=audit", 1, NULL},
    {"18 answers cut", "outcome=cut", 1, NULL},
    {"18 cut, one caller", "outcome=cut&caller=cal_%016u", 400, NULL},
    {"  caller and model", "caller=cal_%016u&model=model-3", 400, NULL},
    {"  frequent caller, its rare model",
        "caller=cal_0000000000000000&model=model-11", 1, NULL},
    {"  frequent caller, rule, errors",
        "caller=cal_0000000000000000&policy=closed-%u&status=5xx", 30, NULL},
    {"  a word that hardly anybody has", "text=nowhere", 1, NULL},
    {"  quota refusals, one team", "status=429&team=team-%u", 20, NULL},
    {"  everything, oldest first", "order=oldest", 1, NULL},
    {"9 counts per day (all)", "", 1, "day"},
    {"9 counts per model (all)", "", 1, "model"},
    {"9 one caller's counts", "caller=cal_%016u", 400, "day,model"},
    {"9 counts per caller (all)", "", 1, "caller"},
    {"9 counts per key (all)", "", 1, "key"},
    {"9 counts per team, model (all)", "", 1, "team,model"},
    {"9 counts per rule (all)", "", 1, "policy"},
    {"9 counts per quota (all)", "", 1, "quota"},
    {"9 one team's cost, by day, model", "team=team-%u&since=8h", 20,
        "day,model"},
    {"9 one model's denials, by rule", "model=model-%u&decision=deny", 12,
        "policy"},
    {"9 one caller's errors, by engine",
        "caller=cal_%016u&outcome=engine_error", 400, "engine"},
};

static void set_all(struct audit_filter *filter, struct str text)
{
    struct errinfo info = {0};
    struct str rest = text, one, name, value;
    while (rest.len > 0) {
        str_split(rest, '&', &one, &rest);
        str_split(one, '=', &name, &value);
        if (audit_filter_set(filter, name, value, clock_now(), NULL, &info) !=
            ERR_OK) {
            fprintf(stderr, "%s\n", info.text);
            exit(1);
        }
    }
}

/* What the thread itself has computed: on a busy machine the truer figure. */
static int64_t cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

static double ask(const char *dir, const struct question *q, unsigned round,
    size_t *rows, double *cpu)
{
    struct audit_index *index;
    struct audit_result *result = NULL;
    struct audit_stats *stats = NULL;
    struct errinfo info = {0};
    struct audit_filter filter = {0};
    char text[200];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof(text), q->filters, (round * 37 + 5) % q->modulo);
#pragma GCC diagnostic pop
    set_all(&filter, str_from(text));
    int64_t start = clock_monotonic(), cpu_start = cpu_now();
    enum err err = audit_index_open(dir, &index, &info);
    if (err == ERR_OK)
        err = q->count_by ? audit_count(index, &filter, str_from(q->count_by),
                                &stats, NULL, &info)
                          : audit_query(index, &filter, &result, NULL, &info);
    int64_t took = clock_monotonic() - start;
    *cpu = (double)(cpu_now() - cpu_start) / 1000;
    if (err != ERR_OK) {
        fprintf(stderr, "%s: %s\n", q->name, info.text);
        exit(1);
    }
    *rows += result ? result->count : stats->count;
    audit_result_free(&result);
    audit_stats_free(&stats);
    audit_index_close(&index);
    return (double)took / 1000;
}

/* What is clean leaves the cache; the index is not being written here. */
static void evict(const char *dir)
{
    char path[512];
    struct index_list list;
    snprintf(path, sizeof(path), "%s/index", dir);
    if (index_list_load(path, &list, NULL) != ERR_OK)
        exit(1);
    for (size_t i = 0; i < list.count; i++) {
        char name[INDEX_NAME_SIZE];
        index_file_name(name, list.firsts[i]);
        snprintf(path, sizeof(path), "%s/index/%s", dir, name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0 ||
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
            perror(path);
        close(fd);
    }
    index_list_fini(&list);
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv)
{
    static double times[ROUNDS_MAX], cpu[ROUNDS_MAX];
    uint64_t rounds = 50;
    struct errinfo info = {0};
    struct rusage use;
    if (argc < 2 || crypto_init(&info) != ERR_OK ||
        (argc > 2 && str_to_u64(str_from(argv[2]), &rounds) != ERR_OK) ||
        rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: questions DIR [ROUNDS [cold]]\n");
        return 2;
    }
    printf("%-34s %9s %9s %9s %9s %7s\n", "question", "p50 ms", "p95 ms",
        "max ms", "cpu ms", "rows");
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        uint64_t n = questions[i].count_by && rounds > 3 ? 3 : rounds;
        size_t rows = 0;
        for (unsigned k = 0; k < n; k++) {
            if (argc > 3)
                evict(argv[1]);
            times[k] = ask(argv[1], &questions[i], k, &rows, &cpu[k]);
        }
        qsort(times, n, sizeof(times[0]), compare);
        qsort(cpu, n, sizeof(cpu[0]), compare);
        printf("%-34s %9.1f %9.1f %9.1f %9.1f %7zu\n", questions[i].name,
            times[n / 2], times[n * 95 / 100], times[n - 1], cpu[n / 2],
            rows / n);
        fflush(stdout);
    }
    getrusage(RUSAGE_SELF, &use);
    printf("peak memory %ld MB\n", use.ru_maxrss / 1024);
    /* from a stop in good order to a log that can be written */
    struct audit_log *log;
    struct audit_log_options options = {
        .state_dir = argv[1], .without_index = true};
    int64_t start = clock_monotonic();
    if (audit_log_open(&options, &log, &info) != ERR_OK ||
        audit_log_start(log, NULL, NULL, &info) != ERR_OK) {
        fprintf(stderr, "%s\n", info.text);
        return 1;
    }
    printf(
        "start to ready %.0f ms\n", (double)(clock_monotonic() - start) / 1000);
    audit_log_stop(&log);
    return 0;
}
