/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_export.c - `audit export` (JSONL with proofs, CSV) and
 * `audit bundle`: what an auditor takes home. */
#include "proxy/cli/export_file.h"

#include "audit/key_rotation.h"
#include "audit/query.h"
#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "policy/vocabulary.h"
#include "proxy/cli/policy_files_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILTER_OPTION(name, value, help) {name, value, CLI_TEXT, name, help},
#define CONTENT_MOST (64u << 20)
#define RANGE_OPTIONS                                                          \
    {"from", "INDEX", CLI_TEXT, "from",                                        \
        "without filters: entries of the log from this one on"},               \
    {                                                                          \
        "to", "INDEX", CLI_TEXT, "to", "without filters: before this one"      \
    }
const struct cli_option cli_export_options[] = {
    AUDIT_FILTERS(FILTER_OPTION) RANGE_OPTIONS,
    {"format", "jsonl|csv|ocsf", CLI_TEXT, NULL,
        "jsonl: entries with proofs; csv: the rows of `audit query`; ocsf: "
        "events for a SIEM"},
    {"resume", NULL, CLI_FLAG, NULL, "go on with a JSONL file that was cut"},
    {"spreadsheet-safe", NULL, CLI_FLAG, NULL,
        "csv: an apostrophe before cells that a spreadsheet would calculate"},
};
const struct cli_option cli_bundle_options[] = {
    AUDIT_FILTERS(FILTER_OPTION) RANGE_OPTIONS,
    {"content", NULL, CLI_FLAG, NULL,
        "with the content that was kept of these requests, sealed as it is"},
};

/* --- CSV (RFC 4180) -------------------------------------------------- */

static const char *const csv_columns[] = {"seq", "time", "kind", "type", "id",
    "caller", "callerName", "key", "teams", "action", "route", "model", "asked",
    "engine", "upstream", "decision", "policies", "policyVersion", "stage",
    "code", "quota", "status", "outcome", "reason", "stream", "attempts",
    "bytesIn", "bytesOut", "inputTokens", "outputTokens", "cost", "cap",
    "firstByteMicros", "totalMicros", "ended", "actor", "actorName", "method",
    "object", "objectKind", "objectName", "count"};

static void csv_text(FILE *out, const char *text, bool safe)
{
    bool quoted = strpbrk(text, ",\"\r\n") != NULL || text[0] == ' ';

    /* What a spreadsheet takes for a formula; this alters evidence, which is
     * why it is an option. */
    bool formula = safe && text[0] && strchr("=+-@\t\r", text[0]);

    if (quoted || formula)
        fputc('"', out);
    if (formula)
        fputc('\'', out);
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            fputc('"', out);
        fputc(*p, out);
    }
    if (quoted || formula)
        fputc('"', out);
}

static void csv_cell(FILE *out, const json_t *value, bool safe)
{
    char number[32];
    char *list;

    if (json_is_string(value)) {
        csv_text(out, json_string_value(value), safe);
    } else if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld",
            (long long)json_integer_value(value));
        fputs(number, out);
    } else if (json_is_boolean(value)) {
        fputs(json_is_true(value) ? "true" : "false", out);
    } else if (json_is_array(value)) {
        list = json_dumps(value, JSON_COMPACT);
        csv_text(out, list ? list : "", safe);
        free(list);
    }
}

void cli_csv_rows(FILE *out, const json_t *rows, const char *const *columns,
    size_t count, bool head, bool safe)
{
    for (size_t c = 0; head && c < count; c++)
        fprintf(out, "%s%s", c ? "," : "", columns[c]);
    if (head)
        fputs("\r\n", out);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        for (size_t c = 0; c < count; c++) {
            if (c > 0)
                fputc(',', out);
            csv_cell(out, json_object_get(row, columns[c]), safe);
        }
        fputs("\r\n", out);
    }
}

int cli_print_csv_page(const json_t *rows, bool safe)
{
    cli_csv_rows(stdout, rows, csv_columns, CLI_COUNT(csv_columns), true, safe);
    return 0;
}

static int export_csv(struct cli *cli, FILE *out, json_t *body)
{
    bool safe = cli_has(cli, "spreadsheet-safe"), head = true, more;

    json_object_del(body, "from");
    json_object_del(body, "to");
    json_object_set_new(body, "limit", json_integer(1000));
    do {
        json_t *page = NULL;
        const char *path = cli_with_query(cli, "/v1/audit/records", body);
        int result = cli_call(cli, "GET", path, NULL, &page, NULL);

        if (result)
            return result;
        cli_csv_rows(out, json_object_get(page, "rows"), csv_columns,
            CLI_COUNT(csv_columns), head, safe);
        if (json_is_true(json_object_get(page, "incomplete")))
            cli_say(0, "the index is still being built: rows may be missing");
        more = json_is_true(json_object_get(page, "more"));
        json_object_set(body, "after", json_object_get(page, "next"));
        json_decref(page);
        head = false;
    } while (more && !ferror(out));
    return 0;
}

/* --- export ---------------------------------------------------------- */

static int write_csv(struct cli *cli, json_t *body)
{
    bool standard = strcmp(cli->args[0], "-") == 0;
    FILE *out = standard ? stdout : fopen(cli->args[0], "wx");
    int result;

    if (!out)
        return cli_say(1, "%s: %s", cli->args[0], strerror(errno));
    result = export_csv(cli, out, body);
    if (!standard && fclose(out) != 0 && result == 0)
        result = cli_say(
            1, "%s cannot be written: %s", cli->args[0], strerror(errno));
    return result;
}

static int write_jsonl(struct cli *cli, const json_t *body)
{
    struct export_done done = {0};
    int result;

    buf_init(&done.note, 1 << 20);
    result = export_file_write(
        cli, cli->args[0], cli_has(cli, "resume"), body, &done);
    if (result == 0 && done.entries > 0)
        printf("%llu entries in %s; `bailiff audit verify %s` checks them\n",
            (unsigned long long)done.entries, cli->args[0], cli->args[0]);
    buf_fini(&done.note);
    return result;
}

int cli_run_export(struct cli *cli)
{
    const char *format = cli_value(cli, "format");
    bool csv = format && strcmp(format, "csv") == 0;
    bool ocsf = format && strcmp(format, "ocsf") == 0;
    json_t *body;
    int result = 2;

    if (format && !csv && !ocsf && strcmp(format, "jsonl") != 0)
        return cli_usage(cli, "--format is jsonl, csv or ocsf");
    if (!csv && !ocsf && strcmp(cli->args[0], "-") == 0)
        return cli_usage(cli, "JSONL goes into a file, so that it can be "
                              "taken up where it was cut");
    if ((csv || ocsf) && cli_has(cli, "resume"))
        return cli_usage(cli, "--resume is for JSONL");
    body = cli_body(cli, NULL);
    if (body && cli_exact_times(cli, body))
        result = csv    ? write_csv(cli, body)
                 : ocsf ? export_ocsf_write(cli, body)
                        : write_jsonl(cli, body);
    json_decref(body);
    return result;
}

/* --- bundle ---------------------------------------------------------- */

extern const char schema_verify_py[], schema_audit_event_schema_json[];
extern const size_t schema_verify_py_length,
    schema_audit_event_schema_json_length;

struct bundle {
    struct cli *cli;
    const char *folder;
    json_t *sums;     /* name: SHA-256 */
    json_t *versions; /* policy versions that entries name */
    json_t *kept;     /* content/NAME: its file below the state directory */
};

static int put_file(struct bundle *b, const char *name, struct str content)
{
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    struct errinfo info = {0};
    char *path = file_join(b->folder, name);
    enum err err = path ? file_replace(path, content, 0644, &info)
                        : errinfo_set(&info, ERR_NOMEM, "out of memory");

    free(path);
    if (err)
        return cli_say(1, "%s", info.text);
    crypto_sha256(digest, content.ptr, content.len);
    hex_write(hex, digest, sizeof digest);
    json_object_set_new(b->sums, name, json_string(hex));
    return 0;
}

/* What was kept of a request, which an entry commits to. */
static void note_content(struct bundle *b, struct str entry)
{
    static const struct str mark = STR_INIT("\"content\":{\"blob\":");
    const char *id, *key, *type, *which = "request";
    char name[128], path[128];
    json_t *value;

    if (!b->kept || !memmem(entry.ptr, entry.len, mark.ptr, mark.len))
        return;
    value = json_loadb(entry.ptr, entry.len, 0, NULL);
    id = json_string_value(json_object_get(value, "id"));
    type = json_string_value(json_object_get(value, "type"));
    key = json_string_value(
        json_object_get(json_object_get(value, "content"), "key"));
    if (id && key && type && !strchr(id, '/') && !strchr(key, '/')) {
        if (strcmp(type, "request.completed") == 0)
            which = "answer";
        snprintf(name, sizeof name, "content/%s.%s", id, which);
        snprintf(path, sizeof path, "blobs/%s/%s.%s", key, id, which);
        json_object_set_new(b->kept, name, json_string(path));
    }
    json_decref(value);
}

/* Called with each entry: which policy versions decided, or were acted on? */
static void note_policy(void *context, struct str entry)
{
    static const struct str mark = STR_INIT("\"policy\"");
    struct bundle *b = context;
    const json_t *object;
    const char *kind, *id;
    json_t *value;
    json_int_t version;
    char key[32];

    note_content(b, entry);
    if (!memmem(entry.ptr, entry.len, mark.ptr, mark.len))
        return;
    value = json_loadb(entry.ptr, entry.len, 0, NULL);
    version = json_integer_value(
        json_object_get(json_object_get(value, "policy"), "version"));
    object = json_object_get(value, "object");
    kind = json_string_value(json_object_get(object, "kind"));
    id = json_string_value(json_object_get(object, "id"));
    if (version <= 0 && kind && id && strcmp(kind, "policy") == 0)
        version = strtoll(id, NULL, 10);
    json_decref(value);
    if (version <= 0)
        return;
    snprintf(key, sizeof key, "%lld", (long long)version);
    json_object_set_new(b->versions, key, json_true());
}

static void describe(const char *name, struct str text, struct buf *out)
{
    struct cedar_policies *policies = NULL;

    if (!policy_file_parse(name, text, &policies))
        return;
    for (size_t i = 0; i < cedar_policies_count(policies); i++) {
        const struct cedar_policy *policy = cedar_policies_at(policies, i);
        buf_printf(out, "%.*s: ", STR_ARG(policy_file_id(policy)));
        cedar_describe(out, policy, CEDAR_ENGLISH, &policy_vocabulary);
        buf_append_char(out, '\n');
    }
    cedar_policies_free(&policies);
}

static int put_policy(struct bundle *b, const char *version)
{
    json_t *answer = NULL;
    const json_t *text;
    const char *hash;
    struct str cedar;
    struct buf name, words;
    int result;

    buf_init(&name, 4096);
    buf_init(&words, 16 << 20);
    buf_printf(&name, "/v1/audit/policies/%s", version);
    result = cli_call(b->cli, "GET", buf_cstr(&name), NULL, &answer, NULL);
    if (result)
        goto out;
    text = json_object_get(answer, "text");
    hash = json_string_value(json_object_get(answer, "hash"));
    cedar = str_make(json_string_value(text), json_string_length(text));
    buf_clear(&name);
    buf_printf(&name, "policies/%s-%s.cedar", version, hash);
    result = put_file(b, buf_cstr(&name), cedar);
    describe(buf_cstr(&name), cedar, &words);
    buf_clear(&name);
    buf_printf(&name, "policies/%s-%s.txt", version, hash);
    if (!result)
        result = put_file(b, buf_cstr(&name), buf_str(&words));
out:
    json_decref(answer);
    buf_fini(&name);
    buf_fini(&words);
    return result;
}

static const char page[] =
    "# Evidence from the log of a Bailiff proxy\n"
    "\n"
    "| file | what it is |\n"
    "|---|---|\n"
    "| `entries.jsonl` | a header, one line per entry with its proof of "
    "inclusion, a trailer |\n"
    "| `checkpoint` | the signed checkpoint that all proofs lead to |\n"
    "| `log.vkey` | the log's public key, as the log's owner gave it |\n"
    "| `policies/` | the rules that decided, by version and SHA-256, and in "
    "plain words |\n"
    "| `audit-event.schema.json` | what the members of an entry mean |\n"
    "| `content/` | where asked for: what was kept of these requests, sealed; "
    "each file is the\none that its entry commits to (`content.blob`) |\n"
    "| `verify.py` | a verifier in Python's standard library |\n"
    "| `manifest.json` | SHA-256 of the other files |\n"
    "\n"
    "## Before you believe it\n"
    "\n"
    "Compare `log.vkey` with the key that you were given on another way, and "
    "`checkpoint`\nwith one that somebody outside kept: whoever holds the "
    "signing key could sign another\nhistory, and only a checkpoint kept "
    "elsewhere shows that.\n"
    "\n"
    "## With Python, without Bailiff\n"
    "\n"
    "    python3 verify.py KEY bundle .\n"
    "\n"
    "KEY is the key you were given, or `log.vkey`. It prints `holds: ...` and "
    "exits 0, or\nsays what does not hold. Take `verify.py` from a source that "
    "you trust; it is short,\nand you can read it.\n"
    "\n"
    "## With Bailiff\n"
    "\n"
    "    bailiff audit verify entries.jsonl --key log.vkey\n"
    "\n"
    "## With neither\n"
    "\n"
    "A line's entry is the text between `{\"entry\":` and the last "
    "`,\"index\":`. Its leaf is\nSHA-256(00 | entry); with `index`, the size "
    "in "
    "`checkpoint` and `proof` (base64, leaf\nfirst) RFC 9162 section 2.1.3.2 "
    "gives the root, which must be that of `checkpoint`\n(c2sp.org/"
    "tlog-checkpoint), whose Ed25519 signature is over its first three lines\n"
    "(c2sp.org/signed-note).\n"
    "\n"
    "## What it shows, and what not\n"
    "\n"
    "Each entry here is in the log that was signed, byte for byte. Where the "
    "header says\n`\"whole\":true`, no entry of the range is left out; where "
    "it "
    "names filters, that they\nselect all that they should is the word of who "
    "made the export. Persons appear by\nopaque ids.\n";

/* From the key that auditors were given to the one that signs now. */
static int put_rotations(struct bundle *b)
{
    char *path = file_join(cli_state_dir(b->cli), "log/" KEY_ROTATIONS_FILE);
    struct errinfo info = {0};
    struct buf text;
    int result = 0;

    buf_init(&text, KEY_ROTATIONS_MAX);
    if (path && file_exists(path))
        result = file_read(path, &text, &info) == ERR_OK
                     ? put_file(b, KEY_ROTATIONS_FILE, buf_str(&text))
                     : cli_say(1, "%s", info.text);
    buf_fini(&text);
    free(path);
    return result;
}

/* Those that are gone with their key are left out. */
static int put_content(struct bundle *b)
{
    char *folder = file_join(b->folder, "content");
    const char *name;
    json_t *where;
    int result = folder ? 0 : cli_say(1, "out of memory");

    if (!result && mkdir(folder, 0777) != 0)
        result = cli_say(1, "%s: %s", folder, strerror(errno));
    free(folder);
    json_object_foreach(b->kept, name, where)
    {
        struct errinfo info = {0};
        struct buf file;
        char *path = file_join(cli_state_dir(b->cli), json_string_value(where));
        enum err err = ERR_NOTFOUND;

        buf_init(&file, CONTENT_MOST);
        if (!result && path && file_exists(path))
            err = file_read(path, &file, &info);
        if (!result && !err)
            result = put_file(b, name, buf_str(&file));
        else if (!result && err != ERR_NOTFOUND)
            result = cli_say(1, "%s", info.text);
        buf_fini(&file);
        free(path);
    }
    return result;
}

static int put_rest(struct bundle *b, const struct export_done *done)
{
    const char *version;
    json_t *value, *manifest;
    struct buf key;
    struct errinfo info = {0};
    char *path = file_join(cli_state_dir(b->cli), "log.vkey"), *text;
    int result;

    buf_init(&key, 4096);
    result = !path || file_read(path, &key, &info) != ERR_OK
                 ? cli_say(1, "%s", info.text)
                 : put_file(b, "log.vkey", buf_str(&key));
    free(path);
    buf_fini(&key);
    if (!result)
        result = put_rotations(b);
    if (!result && b->kept)
        result = put_content(b);
    if (!result)
        result = put_file(b, "checkpoint", buf_str(&done->note));
    if (!result)
        result = put_file(b, "verify.py",
            str_make(schema_verify_py, schema_verify_py_length));
    if (!result)
        result = put_file(b, "audit-event.schema.json",
            str_make(schema_audit_event_schema_json,
                schema_audit_event_schema_json_length));
    if (!result)
        result = put_file(b, "README.md", str_from(page));
    json_object_foreach(b->versions, version, value)
    {
        if (!result)
            result = put_policy(b, version);
    }
    if (result)
        return result;
    manifest = json_pack("{s:O}", "sha256", b->sums);
    text = json_dumps(manifest, JSON_INDENT(2) | JSON_SORT_KEYS);
    result = put_file(b, "manifest.json", str_from(text));
    free(text);
    json_decref(manifest);
    return result;
}

static bool make_folders(const char *folder)
{
    char *policies = file_join(folder, "policies");
    bool made =
        mkdir(folder, 0777) == 0 && policies && mkdir(policies, 0777) == 0;

    if (!made)
        cli_say(1, "%s: %s; a bundle goes into a new folder", folder,
            strerror(errno));
    free(policies);
    return made;
}

int cli_run_bundle(struct cli *cli)
{
    const char *dir = cli_state_dir(cli); /* its keys go with the entries */
    struct bundle b = {.cli = cli,
        .folder = cli->args[0],
        .sums = json_object(),
        .versions = json_object(),
        .kept = cli_has(cli, "content") ? json_object() : NULL};
    struct export_done done = {.entry = note_policy, .context = &b};
    json_t *body = cli_body(cli, NULL);
    char *path = file_join(b.folder, "entries.jsonl");
    int result = dir ? 1 : 2;

    buf_init(&done.note, 1 << 20);
    if (dir && body && path && cli_exact_times(cli, body) &&
        make_folders(b.folder)) {
        result = export_file_write(cli, path, false, body, &done);
        if (!result)
            result = put_rest(&b, &done);
        if (!result)
            printf("%llu entries with their proofs in %s; its README.md says "
                   "how to verify them\n",
                (unsigned long long)done.entries, b.folder);
    }
    free(path);
    buf_fini(&done.note);
    json_decref(body);
    json_decref(b.sums);
    json_decref(b.versions);
    json_decref(b.kept);
    return result;
}
