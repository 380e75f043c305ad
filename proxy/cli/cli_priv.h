/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/cli_priv.h - inside of the command line: commands as data, the
 * session with the admin API, tables for people. One thread. */
#ifndef PROXY_CLI_CLI_PRIV_H
#define PROXY_CLI_CLI_PRIV_H

#include "lib/arena.h"
#include "lib/buf.h"

#include <jansson.h>

#define CLI_OPTIONS_MAX 40
#define CLI_REPEATS_MAX 64

enum cli_kind {
    CLI_FLAG, /* no value; true */
    CLI_NOT,  /* no value; false */
    CLI_TEXT,
    CLI_NUMBER, /* digits; k, M, G for thousands and so on */
    CLI_LIST    /* comma-separated and repeatable: an array of texts */
};

struct cli_option {
    const char *name;     /* without "--" */
    const char *argument; /* for the help: "N", "NAME"; NULL for flags */
    enum cli_kind kind;
    const char *field; /* member of the body or key of the query; NULL: the
                          command reads the option itself */
    const char *help;
};

enum cli_cell {
    CELL_TEXT, /* strings, numbers, true/false, arrays with commas */
    CELL_TIME,
    CELL_DATE,
    CELL_YES,  /* true: "yes", false: "-" */
    CELL_COUNT /* right-aligned, digits in groups */
};
struct cli_column {
    const char *heading, *field; /* field: "name", or "a.b" */
    enum cli_cell cell;
};

/* A command that is one call of the admin API. */
struct cli_rest {
    const char *method;
    const char *path; /* "/v1/teams/{0}": {N} is the N-th argument */
    /* Member for each argument, NULL where it stands in the path. */
    const char *const *fields;
    const struct cli_column *columns; /* of a list */
    size_t column_count;
    const char *empty; /* said of an empty list */
    const char *done;  /* "team {name} added": members of the answer */
};

struct cli;
struct cli_command {
    const char *noun, *verb; /* verb NULL: `bailiff status` */
    const char *arguments;   /* "NAME [FILE]" */
    int least, most;         /* how many */
    const char *summary;
    const char *details; /* further paragraphs of --help; may be NULL */
    const struct cli_option *options;
    size_t option_count;
    int (*run)(struct cli *cli); /* NULL: rest */
    const struct cli_rest *rest;
    bool raw;      /* arguments are passed on as they are (demo-engine) */
    bool no_state; /* needs no state directory */
};

struct cli_commands {
    const struct cli_command *items;
    size_t count;
};
/* One a line. */
extern const struct cli_commands cli_effect_commands;
extern const struct cli_commands cli_directory_commands;
extern const struct cli_commands cli_register_commands;
extern const struct cli_commands cli_policy_commands;
extern const struct cli_commands cli_rules_commands;
extern const struct cli_commands cli_watch_commands;
extern const struct cli_commands cli_bundle_commands;
extern const struct cli_commands cli_recipe_commands;
extern const struct cli_commands cli_audit_commands;
extern const struct cli_commands cli_state_commands;
extern const struct cli_commands cli_jwt_commands;
extern const struct cli_commands cli_issuer_commands;
extern const struct cli_commands cli_trust_commands;
extern const struct cli_commands cli_sink_commands;
extern const struct cli_commands cli_witness_commands;
extern const struct cli_commands cli_quota_commands;
extern const struct cli_commands cli_govern_commands;
extern const struct cli_commands cli_login_commands;

struct cli_session;
struct cli {
    int argc; /* as main got them, from the command on (raw) */
    char **argv;
    const struct cli_command *command;
    const char *args[16];
    int arg_count;
    const char *values[CLI_OPTIONS_MAX][CLI_REPEATS_MAX];
    int value_count[CLI_OPTIONS_MAX];
    const char *dir, *token_file;
    const char *server, *ca_file;           /* as given; see cli_server */
    const char *certificate, *key;          /* files; NULL: not given */
    const char *if_match, *idempotency_key; /* NULL: none */
    bool json;
    struct arena *arena;
    struct cli_session *session;
};

/* --- Options --------------------------------------------------------- */
bool cli_has(const struct cli *cli, const char *option);
/* The last value; NULL: not given. */
const char *cli_value(const struct cli *cli, const char *option);
/* "1000", "50k", "2M". False after saying what is wrong. */
bool cli_number(const char *option, const char *text, int64_t *out);
/* The body that options (and arguments with fields) make. NULL: said. */
json_t *cli_body(struct cli *cli, const char *const *fields);
/* Standard error, "bailiff: " before it; gives `code`. */
int cli_say(int code, const char *format, ...) PRINTFLIKE(2, 3);
int cli_usage(const struct cli *cli, const char *format, ...) PRINTFLIKE(2, 3);
const char *cli_state_dir(struct cli *cli); /* NULL: said */
/* The URL of a server elsewhere (--server, or BAILIFF_SERVER without -C), which
 * takes the place of a state directory; NULL: none. */
const char *cli_server(struct cli *cli);

/* --- Session (session.c) --------------------------------------------- */
/* One call of the admin API: of the server elsewhere where one is named;
 * through the server's socket where one answers; else in this process under
 * DIR/lock. body is taken (may be NULL). 0 with *answer (given), 3 after saying
 * that the change waits for others (202 and their proposal), or 1 after the
 * problem was said; *status (may be NULL) is set in both cases (0: no answer at
 * all). */
int cli_call(struct cli *cli, const char *method, const char *path,
    json_t *body, json_t **answer, int *status);
/* The same for a text answer. */
bool cli_session_is_online(struct cli *cli);
void cli_session_close(struct cli *cli);
/* Percent-encodes into the arena. */
const char *cli_encode(struct cli *cli, const char *text);
/* The path with the body's members as its query. In the arena. */
const char *cli_with_query(
    struct cli *cli, const char *path, const json_t *body);
/* A command that is its rest row. */
int cli_run_rest(struct cli *cli);
/* Whole file, "-" for standard input. False: said. */
bool cli_read_file(const char *path, struct buf *out);

/* --- Printing (print.c) ---------------------------------------------- */
void cli_print_json(const json_t *value);
void cli_print_table(const json_t *items, const struct cli_column *columns,
    size_t count, const char *empty);
/* One "heading  value" line per column that the object has. */
void cli_print_record(
    const json_t *object, const struct cli_column *columns, size_t count);
void cli_print_done(const char *done, const json_t *answer);
/* Text without control characters (terminals obey them). */
void cli_print_safe(FILE *out, const char *text);
/* Secrets are shown once: in a frame of their own. */
void cli_print_secret(const char *what, const char *secret);
/* Local time of the terminal's user, "2026-11-23 09:15:30 +01:00". */
void cli_format_time(struct buf *out, const char *rfc3339, bool date_only);
json_t *cli_get(const json_t *object, const char *path); /* borrowed */
/* The zone of whoever reads; NULL: none loads. */
const struct clock_zone *cli_zone(void);

/* --- Commands in files of their own ---------------------------------- */
extern const struct cli_option cli_verify_options[8];
int cli_run_verify(struct cli *cli);
/* The note that --OPTION names (a checkpoint, an anchor's file or folder) and
 * --key; empty where not given. False: said. */
bool cli_read_note(
    struct cli *cli, const char *option, struct buf *file, struct str *note);
bool cli_read_key(struct cli *cli, struct buf *file, struct str *key);
int cli_verify_file(struct cli *cli);        /* a proof, an export */
int cli_verify_checkpoints(struct cli *cli); /* --checkpoint, --against */
int cli_run_prove(struct cli *cli);
int cli_write_proofs(struct cli *cli, const char *folder, const json_t *answer);
/* A page of `audit query`. */
int cli_show_records(struct cli *cli, const json_t *query, bool csv);
int cli_print_csv_page(const json_t *rows, bool safe);
int cli_run_stats(struct cli *cli);
/* Of an answer with "incomplete", "indexed" and perhaps "behind": what may be
 * missing, and why. */
void cli_say_index_behind(const json_t *answer);
int cli_run_gaps(struct cli *cli);
int cli_run_sample(struct cli *cli);
int cli_run_access(struct cli *cli);
int cli_run_report(struct cli *cli);
int cli_run_find_text(struct cli *cli);
int cli_run_find_content(struct cli *cli);
int cli_run_reindex(struct cli *cli);
int cli_run_content(struct cli *cli);
/* What of a record can be opened, or not any more; a line where there is
 * something to say. */
void cli_say_content(const json_t *states);
int cli_run_retention(struct cli *cli);
int cli_run_hold(struct cli *cli);
int cli_run_prune(struct cli *cli);
int cli_report_retention(struct cli *cli);
int cli_run_subject(struct cli *cli);
extern const struct cli_option cli_retention_options[4], cli_hold_options[6],
    cli_prune_options[5], cli_subject_options[2];
extern const struct cli_option cli_content_options[1];
extern const struct cli_option cli_stats_options[27], cli_gaps_options[3],
    cli_sample_options[5], cli_access_options[4], cli_report_options[27];
extern const struct cli_option cli_redecide_options[1], cli_past_options[3],
    cli_reconcile_options[6];
int cli_run_redecide(struct cli *cli);
int cli_run_past(struct cli *cli);
int cli_run_reconcile(struct cli *cli);
extern const struct cli_option cli_backup_options[1], cli_restore_options[5];
int cli_run_backup(struct cli *cli);
int cli_run_restore(struct cli *cli);
int cli_run_export(struct cli *cli);
int cli_run_bundle(struct cli *cli);
extern const struct cli_option cli_export_options[30], cli_bundle_options[28];
/* A bare date means the day of whoever asks: since and until are made exact.
 * False: said. */
bool cli_exact_times(struct cli *cli, json_t *body);
/* RFC 4180. `safe`: see --spreadsheet-safe. */
void cli_csv_rows(FILE *out, const json_t *rows, const char *const *columns,
    size_t count, bool head, bool safe);
extern const struct cli_option cli_prove_options[1];

#define CLI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
