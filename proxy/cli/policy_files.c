/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/policy_files.c - policies in files: checked, formatted, put into
 * words. Deciding a request: policy_authorize.c. */
#include "proxy/cli/policy_files.h"

#include "lib/file.h"
#include "policy/cedar/format.h"
#include "policy/cedar/read.h"
#include "policy/cedar/validate.h"
#include "policy/decide.h"
#include "policy/vocabulary.h"
#include "proxy/cli/policy_files_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

const char *policy_file_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

bool policy_file_read(const char *path, struct buf *text)
{
    buf_init(text, POLICY_FILE_MAX);
    if (!cli_read_file(path, text))
        return false;
    if (str_is_utf8(buf_str(text)))
        return true;
    cli_say(1, "%s: the file is no UTF-8 text", policy_file_name(path));
    return false;
}

/* "rules.cedar:3:14: error: ..", each on a line of its own. */
void policy_file_say(
    FILE *out, const char *path, const struct cedar_diagnostics *diagnostics)
{
    struct buf line;
    buf_init(&line, 1 << 20);
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct cedar_diagnostic *d = &diagnostics->items[i];
        buf_clear(&line);
        buf_printf(&line, "%s:", policy_file_name(path));
        if (d->line > 0)
            buf_printf(&line, "%d:%d:", d->line, d->column);
        buf_printf(
            &line, " %s: ", d->severity == CEDAR_ERROR ? "error" : "warning");
        if (d->line == 0 && d->policy)
            buf_printf(&line, "%s: ", d->policy);
        buf_append_str(&line, str_from(d->text));
        cli_print_safe(out, buf_cstr(&line));
        fputc('\n', out);
    }
    if (diagnostics->dropped > 0)
        fprintf(out, "%s: and %zu more\n", policy_file_name(path),
            diagnostics->dropped);
    buf_fini(&line);
}

bool policy_file_parse(
    const char *path, struct str text, struct cedar_policies **out)
{
    struct cedar_diagnostics diagnostics = {0};
    enum err err = cedar_read_policies(text, &diagnostics, out);
    policy_file_say(stderr, path, &diagnostics);
    if (err != ERR_OK && diagnostics.count == 0)
        cli_say(1, "out of memory");
    cedar_diagnostics_fini(&diagnostics);
    return err == ERR_OK;
}

bool policy_file_schema(const char *path, struct cedar_schema **out)
{
    struct cedar_diagnostics diagnostics = {0};
    struct buf text;
    enum err err = ERR_INVALID;
    if (policy_file_read(path, &text)) {
        err = cedar_schema_parse(buf_str(&text), &diagnostics, out);
        policy_file_say(stderr, path, &diagnostics);
        if (err != ERR_OK && diagnostics.count == 0)
            cli_say(1, "out of memory");
    }
    cedar_diagnostics_fini(&diagnostics);
    buf_fini(&text);
    return err == ERR_OK;
}

/* --- Validate -------------------------------------------------------- */

static void add_findings(json_t *list, const struct cedar_diagnostics *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct cedar_diagnostic *d = &findings->items[i];
        json_t *item = json_pack("{s:s,s:s}", "severity",
            d->severity == CEDAR_ERROR ? "error" : "warning", "message",
            d->text);
        if (d->policy)
            json_object_set_new(item, "policy", json_string(d->policy));
        if (d->line > 0) {
            json_object_set_new(item, "line", json_integer(d->line));
            json_object_set_new(item, "column", json_integer(d->column));
        }
        json_array_append_new(list, item);
    }
}

/* Any policies against any schema. */
static int check_with_schema(
    struct cli *cli, const char *path, const char *schema_path)
{
    struct cedar_diagnostics findings = {0};
    struct cedar_policies *policies = NULL;
    struct cedar_schema *schema = NULL;
    struct buf text;
    int result = 1;
    if (!policy_file_read(path, &text) ||
        !policy_file_parse(path, buf_str(&text), &policies) ||
        !policy_file_schema(schema_path, &schema))
        goto out;
    if (cedar_validate(policies, schema,
            cedar_text_is_json(buf_str(&text)) ? STR("") : buf_str(&text),
            &findings) != ERR_OK) {
        cli_say(1, "out of memory");
        goto out;
    }
    result = findings.errors > 0;
    if (cli->json) {
        json_t *list = json_array();
        add_findings(list, &findings);
        json_t *answer = json_pack(
            "{s:b,s:o}", "valid", findings.errors == 0, "findings", list);
        cli_print_json(answer);
        json_decref(answer);
        goto out;
    }
    policy_file_say(stderr, path, &findings);
    if (!result)
        printf("%zu policies, no errors\n",
            cedar_policies_count(policies) +
                cedar_policies_template_count(policies));
out:
    cedar_diagnostics_fini(&findings);
    cedar_schema_free(&schema);
    cedar_policies_free(&policies);
    buf_fini(&text);
    return result;
}

int cli_policy_check_file(struct cli *cli, const char *path)
{
    const char *schema = cli_value(cli, "schema");
    struct policy_set *set = NULL;
    struct errinfo info;
    struct buf text, findings;
    int result = 1;
    if (schema)
        return check_with_schema(cli, path, schema);
    buf_init(&findings, 4 << 20);
    if (policy_file_read(path, &text)) {
        enum err err = policy_set_compile(
            buf_str(&text), policy_file_name(path), &set, &findings, &info);
        if (err != ERR_OK && buf_str(&findings).len == 0)
            cli_say(1, "%s: %s", policy_file_name(path), info.text);
        result = err != ERR_OK;
        if (cli->json) {
            json_t *answer = json_pack(
                "{s:b,s:o}", "valid", !result, "findings", json_array());
            struct str rest = buf_str(&findings), line;
            while (rest.len > 0) {
                str_split(rest, '\n', &line, &rest);
                json_array_append_new(json_object_get(answer, "findings"),
                    json_stringn(line.ptr, line.len));
            }
            cli_print_json(answer);
            json_decref(answer);
        } else if (result) {
            fwrite(buf_str(&findings).ptr, 1, buf_str(&findings).len, stderr);
        } else {
            printf("%zu rules, no findings; whether what they name exists was "
                   "not asked (that needs -C DIR)\n",
                policy_set_count(set));
        }
    }
    policy_set_free(&set);
    buf_fini(&findings);
    buf_fini(&text);
    return result;
}

/* --- Format ---------------------------------------------------------- */

static int rewrite(const char *path, const struct buf *formatted)
{
    struct errinfo info;
    struct stat st;
    if (stat(path, &st) != 0)
        return cli_say(1, "%s: %s", path, strerror(errno));
    if (file_replace(path, buf_str(formatted), st.st_mode & 07777, &info) !=
        ERR_OK)
        return cli_say(1, "%s", info.text);
    printf("%s formatted\n", path);
    return 0;
}

static int format_file(struct cli *cli, const char *path)
{
    struct cedar_diagnostics diagnostics = {0};
    struct buf text, formatted;
    int result = 1;
    buf_init(&formatted, (size_t)POLICY_FILE_MAX * 8);
    if (policy_file_read(path, &text)) {
        enum err err = cedar_format(buf_str(&text), &diagnostics, &formatted);
        bool same = str_equal(buf_str(&text), buf_str(&formatted));
        policy_file_say(stderr, path, &diagnostics);
        if (err != ERR_OK && diagnostics.count == 0)
            cli_say(1, "%s: the formatted text is too long",
                policy_file_name(path));
        result = err != ERR_OK;
        if (!result && cli_has(cli, "check")) {
            result = !same;
            if (!same)
                printf("%s is not formatted\n", policy_file_name(path));
        } else if (!result && cli_has(cli, "write")) {
            result = same ? 0 : rewrite(path, &formatted);
        } else if (!result) {
            fwrite(buf_str(&formatted).ptr, 1, buf_str(&formatted).len, stdout);
        }
    }
    cedar_diagnostics_fini(&diagnostics);
    buf_fini(&text);
    buf_fini(&formatted);
    return result;
}

int cli_policy_format(struct cli *cli)
{
    int result = 0;
    if (cli_has(cli, "check") && cli_has(cli, "write"))
        return cli_usage(cli, "--check and --write exclude one another");
    for (int i = 0; i < cli->arg_count; i++) {
        if (cli_has(cli, "write") && strcmp(cli->args[i], "-") == 0)
            return cli_usage(cli, "standard input cannot be rewritten");
        result |= format_file(cli, cli->args[i]);
    }
    return result;
}

/* --- Describe -------------------------------------------------------- */

bool policy_file_words(struct cli *cli, enum cedar_language *language,
    const struct cedar_vocabulary **vocabulary)
{
    const char *name = cli_value(cli, "language");
    *language = CEDAR_ENGLISH;
    if (name && !cedar_language_find(str_from(name), language)) {
        cli_usage(cli, "--language: \"%s\" is neither en nor zh", name);
        return false;
    }
    *vocabulary = cli_has(cli, "plain") ? NULL : &policy_vocabulary;
    return true;
}

struct str policy_file_id(const struct cedar_policy *policy)
{
    struct str id;
    bool named = cedar_policy_annotation(policy, STR("id"), &id) && id.len > 0;
    return named ? id : cedar_policy_id(policy);
}

static void describe_one(const struct cedar_policy *policy,
    enum cedar_language language, const struct cedar_vocabulary *vocabulary,
    json_t *list)
{
    struct str id = policy_file_id(policy);
    struct buf line;
    buf_init(&line, 16 << 20);
    cedar_describe(&line, policy, language, vocabulary);
    if (line.failed)
        buf_clear(&line);
    const char *sentence =
        buf_str(&line).len > 0 ? buf_cstr(&line) : "(too long for words)";
    if (list) {
        json_t *item = json_pack("{s:s%,s:s,s:b,s:s}", "id", id.ptr, id.len,
            "effect",
            cedar_policy_effect(policy) == CEDAR_PERMIT ? "permit" : "forbid",
            "template", policy->slots != 0, "sentence", sentence);
        if (policy->line > 0)
            json_object_set_new(item, "line", json_integer(policy->line));
        json_array_append_new(list, item);
    } else {
        struct buf name;
        buf_init(&name, 1 << 20);
        buf_append_str(&name, id);
        cli_print_safe(stdout, buf_cstr(&name));
        fputs(language == CEDAR_CHINESE ? "：" : ": ", stdout);
        cli_print_safe(stdout, sentence);
        putchar('\n');
        buf_fini(&name);
    }
    buf_fini(&line);
}

static int describe_all(struct cli *cli, const char *path, struct str text,
    enum cedar_language language, const struct cedar_vocabulary *vocabulary)
{
    struct cedar_policies *policies = NULL;
    json_t *list = NULL;
    if (!policy_file_parse(path, text, &policies))
        return 1;
    list = cli->json ? json_array() : NULL;
    for (size_t i = 0; i < cedar_policies_template_count(policies); i++)
        describe_one(cedar_policies_template_at(policies, i), language,
            vocabulary, list);
    for (size_t i = 0; i < cedar_policies_count(policies); i++)
        describe_one(
            cedar_policies_at(policies, i), language, vocabulary, list);
    if (list)
        cli_print_json(list);
    json_decref(list);
    cedar_policies_free(&policies);
    return 0;
}

int cli_policy_describe_text(struct cli *cli, struct str text)
{
    return describe_all(
        cli, "the rules", text, CEDAR_ENGLISH, &policy_vocabulary);
}

int cli_policy_describe(struct cli *cli, struct str text)
{
    const struct cedar_vocabulary *vocabulary;
    enum cedar_language language;
    const char *path = cli->arg_count > 0 ? cli->args[0] : "the active rules";
    struct buf file;
    int result = 1;
    buf_init(&file, 1);
    if (!policy_file_words(cli, &language, &vocabulary))
        return 2;
    if (cli->arg_count == 0)
        result = describe_all(cli, path, text, language, vocabulary);
    else if (policy_file_read(path, &file))
        result = describe_all(cli, path, buf_str(&file), language, vocabulary);
    buf_fini(&file);
    return result;
}
