/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_content.c - `audit content`: what was kept of a request,
 * on the screen or in files. */
#include "proxy/cli/cli_priv.h"

#include "lib/encode.h"
#include "lib/file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const struct cli_option cli_content_options[1] = {
    {"out", "FOLDER", CLI_TEXT, NULL,
        "write the request and the answer there, byte for byte"},
};

/* The bytes of a part, in malloc'd memory; NULL: it has none. */
static char *bytes_of(const json_t *part, size_t *length)
{
    const json_t *text = json_object_get(part, "text");
    const json_t *coded = json_object_get(part, "base64");
    char *out = NULL;

    if (json_is_string(text)) {
        *length = json_string_length(text);
        out = malloc(*length + 1);
        if (out)
            memcpy(out, json_string_value(text), *length);
    } else if (json_is_string(coded)) {
        struct str given =
            str_make(json_string_value(coded), json_string_length(coded));
        out = malloc(given.len + 1);
        if (out && base64_decode(given, (uint8_t *)out, given.len + 1,
                       length) != ERR_OK) {
            free(out);
            out = NULL;
        }
    }
    return out;
}

static const char *words_of(const char *state)
{
    static const char *const words[][2] = {
        {"none", "nothing was kept"},
        {"erased", "erased: its key was destroyed, on record"},
        {"keyLost", "its key is not there, and nobody destroyed it on record"},
        {"missing", "the kept file is missing (see `bailiff audit verify`)"},
        {"altered", "the kept file was altered (see `bailiff audit verify`)"},
        {"lost", "it could not be kept"},
    };

    for (size_t i = 0; i < CLI_COUNT(words); i++)
        if (strcmp(words[i][0], state) == 0)
            return words[i][1];
    return state;
}

static void print_part(const json_t *answer, const char *name)
{
    const json_t *part = json_object_get(answer, name);
    const char *state = json_string_value(json_object_get(part, "state"));
    const char *why = json_string_value(json_object_get(part, "why"));
    const char *text = json_string_value(json_object_get(part, "text"));

    if (!state)
        return;
    if (strcmp(state, "open") != 0) {
        printf("%s: %s%s%s\n", name, words_of(state), why ? ": " : "",
            why ? why : "");
        return;
    }
    printf("%s (%lld bytes):\n", name,
        (long long)json_integer_value(json_object_get(part, "bytes")));
    if (text)
        cli_print_safe(stdout, text);
    else
        fputs("no text; --out FOLDER writes it to a file", stdout);
    putchar('\n');
}

static void print_personal(const json_t *answer)
{
    const json_t *part = json_object_get(answer, "personal");
    const char *state = json_string_value(json_object_get(part, "state"));
    const char *key;
    json_t *value;

    if (state && strcmp(state, "open") != 0) {
        printf("personal fields: %s\n", words_of(state));
        return;
    }
    json_object_foreach(json_object_get(part, "fields"), key, value)
    {
        printf("%-12s  ", key);
        if (json_is_string(value))
            cli_print_safe(stdout, json_string_value(value));
        putchar('\n');
    }
}

static bool write_part(
    const json_t *answer, const char *name, const char *folder)
{
    const json_t *part = json_object_get(answer, name);
    struct errinfo info = {0};
    size_t length = 0;
    char *bytes = bytes_of(part, &length);
    char *path = file_join(folder, name);
    bool good = true;

    if (bytes && path) {
        good =
            file_create(path, str_make(bytes, length), 0600, &info) == ERR_OK;
        if (good)
            printf("%s: %zu bytes in %s\n", name, length, path);
        else
            cli_say(1, "%s", info.text);
    } else {
        print_part(answer, name);
    }
    free(bytes);
    free(path);
    return good;
}

void cli_say_content(const json_t *states)
{
    static const char *const names[] = {"personal", "request", "answer"};
    static const char *const words[] = {"personal fields", "request", "answer"};

    for (size_t i = 0; i < CLI_COUNT(names); i++) {
        const json_t *part = json_object_get(states, names[i]);
        const char *state = json_string_value(json_object_get(part, "state"));

        if (!state || strcmp(state, "none") == 0)
            continue;
        printf("%s: %s\n", words[i],
            strcmp(state, "kept") == 0
                ? "sealed; `bailiff audit content ID` opens it"
                : words_of(state));
    }
}

int cli_run_content(struct cli *cli)
{
    const char *folder = cli_value(cli, "out");
    json_t *answer = NULL;
    struct buf path;
    int result;

    buf_init(&path, 65536);
    buf_printf(
        &path, "/v1/audit/records/%s/content", cli_encode(cli, cli->args[0]));
    result = cli_call(cli, "GET", buf_cstr(&path), NULL, &answer, NULL);
    buf_fini(&path);
    if (result)
        return result;
    if (folder) {
        if (mkdir(folder, 0700) != 0 && errno != EEXIST)
            result = cli_say(1, "%s: %s", folder, strerror(errno));
        else if (!write_part(answer, "request", folder) ||
                 !write_part(answer, "answer", folder))
            result = 1;
    } else if (cli->json) {
        cli_print_json(answer);
    } else {
        print_personal(answer);
        print_part(answer, "request");
        print_part(answer, "answer");
    }
    json_decref(answer);
    return result;
}

/* --- Words in it -----------------------------------------------------------
 */

static void print_match(const json_t *one)
{
    const char *name = json_string_value(json_object_get(one, "callerName"));
    struct buf time;

    buf_init(&time, 256);
    cli_format_time(
        &time, json_string_value(json_object_get(one, "time")), false);
    printf("%s  %s  %s  %s of %s\n    ", buf_cstr(&time),
        json_string_value(json_object_get(one, "id")),
        name ? name : json_string_value(json_object_get(one, "caller")),
        json_string_value(json_object_get(one, "which")),
        json_string_value(json_object_get(one, "model")));
    cli_print_safe(stdout, json_string_value(json_object_get(one, "context")));
    putchar('\n');
    fflush(stdout);
    buf_fini(&time);
}

struct found {
    json_t *items;
    json_int_t opened, without, erased, unreadable;
};

static void add_up(struct cli *cli, struct found *f, const json_t *answer)
{
    const json_t *items = json_object_get(answer, "items");

    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *one = json_array_get(items, i);
        json_array_append(f->items, one);
        if (!cli->json)
            print_match(one);
    }
    f->opened += json_integer_value(json_object_get(answer, "opened"));
    f->without += json_integer_value(json_object_get(answer, "without"));
    f->erased += json_integer_value(json_object_get(answer, "erased"));
    f->unreadable += json_integer_value(json_object_get(answer, "unreadable"));
}

static void say_found(const struct found *f)
{
    if (json_array_size(f->items) == 0)
        puts("nothing that is kept has these words");
    printf("%lld requests and answers opened; of %lld requests nothing was "
           "kept; %lld are erased\n",
        (long long)f->opened, (long long)f->without, (long long)f->erased);
    if (f->unreadable > 0)
        cli_say(0,
            "%lld could not be opened: their key or file is missing or "
            "was altered (see `bailiff audit verify`)",
            (long long)f->unreadable);
}

/* Page after page until enough was found; each is on record by itself. */
static int seek_pages(struct cli *cli, json_t *query, const json_t *terms,
    size_t wanted, struct found *f, json_t **last)
{
    bool terminal = isatty(STDERR_FILENO), more = true;
    int result = 0;

    while (result == 0 && more && json_array_size(f->items) < wanted) {
        json_decref(*last);
        *last = NULL;
        json_object_set_new(query, "limit",
            json_sprintf("%zu", wanted - json_array_size(f->items) < 200
                                    ? wanted - json_array_size(f->items)
                                    : 200));
        result = cli_call(cli, "POST",
            cli_with_query(cli, "/v1/audit/content/find", query),
            json_pack("{s:O}", "terms", terms), last, NULL);
        if (result)
            break;
        add_up(cli, f, *last);
        more = json_is_true(json_object_get(*last, "more"));
        if (more)
            json_object_set_new(query, "after",
                json_sprintf("%lld", (long long)json_integer_value(
                                         json_object_get(*last, "next"))));
        if (terminal && more)
            fprintf(stderr, "\r%lld opened, as far as entry %lld\x1b[K",
                (long long)f->opened,
                (long long)json_integer_value(json_object_get(*last, "next")));
    }
    if (terminal)
        fputs("\r\x1b[K", stderr);
    return result;
}

int cli_run_find_content(struct cli *cli)
{
    struct found f = {.items = json_array()};
    json_t *query = cli_body(cli, NULL), *terms = json_array(), *last = NULL;
    const char *limit = cli_value(cli, "limit");
    int64_t wanted = 50;
    int result = 2;

    for (int i = 0; i < cli->arg_count; i++)
        json_array_append_new(terms, json_string(cli->args[i]));
    if (query && cli_exact_times(cli, query) &&
        (!limit || cli_number("limit", limit, &wanted))) {
        if (wanted < 1)
            cli_usage(cli, "--limit: at least 1");
        else
            result = seek_pages(cli, query, terms, (size_t)wanted, &f, &last);
    }
    if (result == 0 && cli->json) {
        json_object_set(last, "items", f.items);
        json_object_set_new(last, "opened", json_integer(f.opened));
        json_object_set_new(last, "without", json_integer(f.without));
        json_object_set_new(last, "erased", json_integer(f.erased));
        json_object_set_new(last, "unreadable", json_integer(f.unreadable));
        cli_print_json(last);
    } else if (result == 0) {
        say_found(&f);
    }
    if (result == 0 && json_is_true(json_object_get(last, "more")))
        cli_say(0, "there is more: go on with --after %lld",
            (long long)json_integer_value(json_object_get(last, "next")));
    if (result == 0)
        cli_say_index_behind(last);
    json_decref(last);
    json_decref(f.items);
    json_decref(terms);
    json_decref(query);
    return result;
}
