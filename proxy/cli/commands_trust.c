/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_trust.c - client certificates as commands: trust domains,
 * mappings, and where certificates are asked for. */
#include "proxy/cli/cli_priv.h"

#include "proxy/trust.h"

/* --- Trust domains ------------------------------------------------------- */

static const struct cli_column domain_columns[] = {
    {"NAME", "name", CELL_TEXT},
    {"SPIFFE", "spiffe", CELL_TEXT},
    {"AUTHORITIES", "shown", CELL_TEXT},
    {"CRL FILE", "crlFile", CELL_TEXT},
    {"PROBLEM", "problem", CELL_TEXT},
    {"ADDED", "created", CELL_TIME},
};
static const char *const name_field[] = {"name"};
static const struct cli_option domain_add_options[] = {
    {"ca", "FILE", CLI_TEXT, NULL,
        "the authorities' certificates, PEM; each one is trusted"},
    {"spiffe", "DOMAIN", CLI_TEXT, "spiffe",
        "they issue the SPIFFE IDs of this trust domain, and nothing else"},
    {"crl-file", "FILE", CLI_TEXT, "crlFile",
        "revocation lists, PEM or DER; read again when they change"},
};
static const struct cli_option domain_update_options[] = {
    {"ca", "FILE", CLI_TEXT, NULL, "the new bundle, instead of the old one"},
    {"crl-file", "FILE", CLI_TEXT, "crlFile",
        "revocation lists; \"\" for none"},
};

/* Puts --ca's file into the body. False: said. */
static bool add_bundle(struct cli *cli, json_t *body)
{
    const char *path = cli_value(cli, "ca");
    struct buf text;
    json_t *value = NULL;

    if (!path)
        return true;
    buf_init(&text, TRUST_BUNDLE_MAX);
    if (cli_read_file(path, &text)) {
        value = json_stringn(buf_str(&text).ptr, text.len);
        if (!value)
            cli_say(1, "%s: no PEM text", path);
    }
    buf_fini(&text);
    return value && json_object_set_new(body, "bundle", value) == 0;
}

static int send_domain(struct cli *cli, const char *const *fields,
    const char *method, const char *path, const char *done)
{
    json_t *body = cli_body(cli, fields), *answer = NULL;

    if (!body)
        return 2;
    if (!add_bundle(cli, body)) {
        json_decref(body);
        return 1;
    }
    if (cli_call(cli, method, path, body, &answer, NULL) != 0)
        return 1;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_done(done, answer);
    json_decref(answer);
    return 0;
}

static int run_domain_add(struct cli *cli)
{
    if (!cli_has(cli, "ca"))
        return cli_usage(cli, "--ca FILE says which authorities are trusted");
    return send_domain(cli, name_field, "POST", "/v1/trust-domains",
        "trust domain {name} added; `bailiff certificate-mapping add {name}` "
        "says who is who");
}

static int run_domain_update(struct cli *cli)
{
    const char *name = cli_encode(cli, cli->args[0]);
    char *path =
        name ? arena_printf(cli->arena, "/v1/trust-domains/%s", name) : NULL;

    if (!path)
        return cli_say(1, "out of memory");
    return send_domain(cli, NULL, "PATCH", path,
        "trust domain {name} changed; every open connection is judged anew");
}

static int run_domain_list(struct cli *cli)
{
    json_t *answer = NULL, *items, *one, *authority;
    size_t i, k;

    if (cli_call(cli, "GET", "/v1/trust-domains", NULL, &answer, NULL) != 0)
        return 1;
    items = json_object_get(answer, "items");
    if (cli->json) {
        cli_print_json(answer);
    } else {
        json_array_foreach(items, i, one)
        {
            json_t *names = json_array();
            json_array_foreach(
                json_object_get(one, "authorities"), k, authority)
                json_array_append(names, json_object_get(authority, "subject"));
            json_object_set_new(one, "shown", names);
        }
        cli_print_table(items, domain_columns, CLI_COUNT(domain_columns),
            "no trust domains: client certificates are not believed");
    }
    json_decref(answer);
    return 0;
}

static const struct cli_rest domain_remove = {.method = "DELETE",
    .path = "/v1/trust-domains/{0}",
    .done = "trust domain removed: its certificates are refused from now on"};

/* --- Mappings ------------------------------------------------------------ */

static const struct cli_column mapping_columns[] = {
    {"ID", "id", CELL_TEXT},
    {"TRUST DOMAIN", "trustDomain", CELL_TEXT},
    {"FIELD", "field", CELL_TEXT},
    {"PATTERN", "pattern", CELL_TEXT},
    {"CALLER", "callerName", CELL_TEXT},
    {"PREFIX", "prefix", CELL_TEXT},
    {"ADDED", "created", CELL_TIME},
};
static const char *const mapping_fields[] = {"trustDomain", "field", "pattern"};
static const struct cli_option mapping_options[] = {
    {"caller", "CALLER", CLI_TEXT, "caller",
        "whose certificate that is; without it the certificate names its "
        "caller"},
    {"prefix", "TEXT", CLI_TEXT, "prefix",
        "put before what * stands for, to make the caller's handle"},
};
static const struct cli_rest mapping_add = {.method = "POST",
    .path = "/v1/certificate-mappings",
    .fields = mapping_fields,
    .done = "mapping {id} added"};
static const struct cli_rest mapping_list = {.method = "GET",
    .path = "/v1/certificate-mappings",
    .columns = mapping_columns,
    .column_count = CLI_COUNT(mapping_columns),
    .empty = "no mappings: no client certificate is a caller's"};
static const struct cli_rest mapping_remove = {.method = "DELETE",
    .path = "/v1/certificate-mappings/{0}",
    .done = "mapping removed"};

/* --- Modes --------------------------------------------------------------- */

static const struct cli_column mode_columns[] = {
    {"LISTENER", "listener", CELL_TEXT},
    {"CLIENT CERTIFICATES", "mode", CELL_TEXT},
};
static const char *const mode_fields[] = {"listener", "mode"};
static const struct cli_rest mode_set = {.method = "PUT",
    .path = "/v1/certificate-modes",
    .fields = mode_fields,
    .done = "client certificates on {listener}: {mode}"};
static const struct cli_rest mode_list = {.method = "GET",
    .path = "/v1/certificate-modes",
    .columns = mode_columns,
    .column_count = CLI_COUNT(mode_columns),
    .empty = "client certificates are asked for nowhere"};

static const struct cli_command commands[] = {
    {.noun = "trust-domain",
        .verb = "add",
        .arguments = "NAME",
        .least = 1,
        .most = 1,
        .summary = "Believe the client certificates of some authorities",
        .details =
            "Every certificate in FILE is an anchor. A certificate with a "
            "SPIFFE ID is\njudged by the trust domain of that name alone.",
        .options = domain_add_options,
        .option_count = CLI_COUNT(domain_add_options),
        .run = run_domain_add},
    {.noun = "trust-domain",
        .verb = "update",
        .arguments = "NAME",
        .least = 1,
        .most = 1,
        .summary = "Change a trust domain's authorities or revocation lists",
        .options = domain_update_options,
        .option_count = CLI_COUNT(domain_update_options),
        .run = run_domain_update},
    {.noun = "trust-domain",
        .verb = "list",
        .arguments = "",
        .summary = "Whose client certificates are believed",
        .run = run_domain_list},
    {.noun = "trust-domain",
        .verb = "remove",
        .arguments = "NAME",
        .least = 1,
        .most = 1,
        .summary = "Refuse its certificates from now on (mappings go too)",
        .rest = &domain_remove},
    {.noun = "certificate-mapping",
        .verb = "add",
        .arguments = "TRUST-DOMAIN FIELD PATTERN",
        .least = 3,
        .most = 3,
        .summary = "Say which client certificate is which caller",
        .details =
            "FIELD is uri, dns, email, CN, O, OU, UID or serialNumber. PATTERN "
            "is a text\nwith at most one *, which stands for one segment of a "
            "URI, one label of a DNS\nname, or anything in a subject. Without "
            "--caller the caller's handle is the\nprefix and what * stands "
            "for. A certificate that two mappings give to two\ncallers is "
            "nobody's.",
        .options = mapping_options,
        .option_count = CLI_COUNT(mapping_options),
        .rest = &mapping_add},
    {.noun = "certificate-mapping",
        .verb = "list",
        .arguments = "",
        .summary = "The mappings",
        .rest = &mapping_list},
    {.noun = "certificate-mapping",
        .verb = "remove",
        .arguments = "ID",
        .least = 1,
        .most = 1,
        .summary = "Remove a mapping; what ran by it is cut",
        .rest = &mapping_remove},
    {.noun = "certificate-mode",
        .verb = "set",
        .arguments = "LISTENER MODE",
        .least = 2,
        .most = 2,
        .summary = "Ask for client certificates on a listener",
        .details =
            "LISTENER is an address as it stands in bailiff.conf, or * for "
            "every other one.\nMODE is off, optional (keys and tokens work "
            "too) or required (nobody gets\nthrough the handshake without).",
        .rest = &mode_set},
    {.noun = "certificate-mode",
        .verb = "list",
        .arguments = "",
        .summary = "Where client certificates are asked for",
        .rest = &mode_list},
};
const struct cli_commands cli_trust_commands = {commands, CLI_COUNT(commands)};
