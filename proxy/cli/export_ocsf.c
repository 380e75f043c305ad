/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/export_ocsf.c - `audit export --format ocsf`: the same pages as a
 * JSONL export, each entry as an OCSF event (audit/ocsf.h). For SIEMs and data
 * lakes; it carries no proofs. */
#include "proxy/cli/export_file.h"

#include "audit/ocsf.h"

#include <errno.h>

#define EVENT_MAX (1u << 20)

struct ocsf_export {
    struct cli *cli;
    FILE *out;
    struct audit_ocsf *ocsf;
    struct buf line;
    unsigned long long events;
};

static bool put_event(struct ocsf_export *x, const json_t *one)
{
    struct str line = str_make(json_string_value(one), json_string_length(one));
    struct errinfo info = {0};
    struct str entry;
    uint64_t index = 0;
    json_t *rest = json_loadb(line.ptr, line.len, 0, NULL);
    bool good = rest && audit_export_entry(line, &entry);

    index = (uint64_t)json_integer_value(json_object_get(rest, "index"));
    json_decref(rest);
    if (!good)
        return cli_say(0, "the server's page has a line that is no entry");
    buf_clear(&x->line);
    if (audit_ocsf_entry(x->ocsf, index, entry, &x->line, &info) != ERR_OK)
        return cli_say(
            0, "entry %llu: %s", (unsigned long long)index, info.text);
    x->events++;
    return fwrite(buf_str(&x->line).ptr, 1, x->line.len, x->out) == x->line.len;
}

/* The log's name stands in the first line of the checkpoint. */
static bool begin(struct ocsf_export *x, const json_t *page)
{
    const char *note = json_string_value(json_object_get(page, "checkpoint"));
    struct str origin, rest;

    if (x->ocsf)
        return true;
    str_split(str_from(note), '\n', &origin, &rest);
    x->ocsf = audit_ocsf_new(origin);
    return x->ocsf || cli_say(0, "out of memory");
}

static bool put_page(struct ocsf_export *x, const json_t *page)
{
    const json_t *lines = json_object_get(page, "lines");

    if (!begin(x, page))
        return false;
    for (size_t i = 0; i < json_array_size(lines); i++)
        if (!put_event(x, json_array_get(lines, i)))
            return false;
    return true;
}

static int fetch(struct ocsf_export *x, json_t *body)
{
    bool more;
    do {
        json_t *page = NULL;
        const char *path = cli_with_query(x->cli, "/v1/audit/export", body);
        int result = cli_call(x->cli, "GET", path, NULL, &page, NULL);

        if (result)
            return result;
        bool put = put_page(x, page);
        more = json_is_true(json_object_get(page, "more"));
        json_object_set(body, "after", json_object_get(page, "next"));
        json_object_set(body, "size", json_object_get(page, "size"));
        json_decref(page);
        if (!put)
            return ferror(x->out) ? cli_say(1, "%s cannot be written: %s",
                                        x->cli->args[0], strerror(errno))
                                  : 1;
    } while (more);
    return 0;
}

int export_ocsf_write(struct cli *cli, json_t *body)
{
    bool standard = strcmp(cli->args[0], "-") == 0;
    struct ocsf_export x = {
        .cli = cli, .out = standard ? stdout : fopen(cli->args[0], "wx")};
    int result;

    if (!x.out)
        return cli_say(1, "%s: %s", cli->args[0], strerror(errno));
    buf_init(&x.line, EVENT_MAX);
    result = fetch(&x, body);
    if ((standard ? fflush(x.out) : fclose(x.out)) != 0 && result == 0)
        result = cli_say(
            1, "%s cannot be written: %s", cli->args[0], strerror(errno));
    if (result == 0 && !standard)
        printf("%llu events in %s\n", x.events, cli->args[0]);
    else if (result && !standard)
        cli_say(0, "%s is incomplete", cli->args[0]);
    audit_ocsf_free(&x.ocsf);
    buf_fini(&x.line);
    return result;
}
