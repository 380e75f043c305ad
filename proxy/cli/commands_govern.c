/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_govern.c - who governs: administrators' roles and tokens,
 * settings of the organisation, changes that wait for a second person. */
#include "proxy/cli/cli_priv.h"

#include <stdlib.h>

/* --- Proposals ------------------------------------------------------------ */

static const struct cli_column proposal_columns[] = {
    {"PROPOSAL", "id", CELL_TEXT},
    {"ACTION", "action", CELL_TEXT},
    {"STATE", "state", CELL_TEXT},
    {"BY", "authorName", CELL_TEXT},
    {"APPROVALS", "approvals", CELL_COUNT},
    {"OF", "required", CELL_COUNT},
    {"CREATED", "created", CELL_TIME},
    {"REASON", "reason", CELL_TEXT},
};

static void print_document(const char *what, const json_t *document)
{
    char *text =
        json_dumps(document, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY);

    printf("    %s ", what);
    for (const char *line = text ? text : ""; *line;) {
        const char *end = strchr(line, '\n');
        size_t n = end ? (size_t)(end - line) : strlen(line);
        char *one = strndup(line, n);
        cli_print_safe(stdout, one ? one : "");
        free(one);
        fputs(end ? "\n           " : "", stdout);
        line += n + (end ? 1 : 0);
    }
    putchar('\n');
    free(text);
}

static void print_change(const json_t *change)
{
    fputs("  ", stdout);
    cli_print_done("{type} {object}", change);
    print_document("before", json_object_get(change, "before"));
    print_document("after ", json_object_get(change, "after"));
}

static int run_proposal_show(struct cli *cli)
{
    static const struct cli_column record[] = {
        {"proposal", "id", CELL_TEXT},
        {"state", "state", CELL_TEXT},
        {"action", "action", CELL_TEXT},
        {"request", "request.path", CELL_TEXT},
        {"by", "authorName", CELL_TEXT},
        {"created", "created", CELL_TIME},
        {"not after", "expires", CELL_TIME},
        {"approvals", "approvals", CELL_TEXT},
        {"of", "required", CELL_TEXT},
        {"because", "rule", CELL_TEXT},
        {"reason", "reason", CELL_TEXT},
    };
    static const struct cli_column act_columns[] = {
        {"WHEN", "time", CELL_TIME},
        {"ACT", "act", CELL_TEXT},
        {"BY", "actorName", CELL_TEXT},
        {"NOTE", "note", CELL_TEXT},
    };
    json_t *answer = NULL;
    const json_t *changes;
    int result = cli_call(cli, "GET",
        arena_printf(
            cli->arena, "/v1/proposals/%s", cli_encode(cli, cli->args[0])),
        NULL, &answer, NULL);

    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        cli_print_record(answer, record, CLI_COUNT(record));
        puts("\nwould change:");
        changes = json_object_get(answer, "changes");
        for (size_t i = 0; i < json_array_size(changes); i++)
            print_change(json_array_get(changes, i));
        putchar('\n');
        cli_print_table(json_object_get(answer, "acts"), act_columns,
            CLI_COUNT(act_columns), NULL);
    }
    json_decref(answer);
    return 0;
}

/* What it handed out is the author's, once. */
static int run_proposal_apply(struct cli *cli)
{
    json_t *answer = NULL, *body = cli_body(cli, NULL);
    const char *secret;
    int result;

    if (!body)
        return 2;
    result = cli_call(cli, "POST",
        arena_printf(cli->arena, "/v1/proposals/%s/apply",
            cli_encode(cli, cli->args[0])),
        body, &answer, NULL);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        cli_print_done("proposal {id} is {state}", answer);
        secret = json_string_value(cli_get(answer, "result.secret"));
        if (!secret)
            secret = json_string_value(cli_get(answer, "result.key"));
        if (!secret)
            secret = json_string_value(cli_get(answer, "result.key.key"));
        if (secret)
            cli_print_secret("The secret", secret);
    }
    json_decref(answer);
    return 0;
}

static const struct cli_option list_options[] = {
    {"all", NULL, CLI_FLAG, "all", "those that are over, too"},
};
static const struct cli_option reason_options[] = {
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_rest proposal_list = {.method = "GET",
    .path = "/v1/proposals",
    .columns = proposal_columns,
    .column_count = CLI_COUNT(proposal_columns),
    .empty = "nothing waits for a second person"};
static const struct cli_rest proposal_approve = {.method = "POST",
    .path = "/v1/proposals/{0}/approve",
    .done = "proposal {id} is {state}: {approvals} of {required} approvals"};
static const struct cli_rest proposal_reject = {.method = "POST",
    .path = "/v1/proposals/{0}/reject",
    .done = "proposal {id} is {state}"};
static const struct cli_rest proposal_withdraw = {.method = "POST",
    .path = "/v1/proposals/{0}/withdraw",
    .done = "proposal {id} is {state}"};

/* --- Emergencies ---------------------------------------------------------- */

static const struct cli_column emergency_columns[] = {
    {"EMERGENCY", "id", CELL_TEXT},
    {"KIND", "kind", CELL_TEXT},
    {"STATE", "state", CELL_TEXT},
    {"BY", "actorName", CELL_TEXT},
    {"STARTED", "started", CELL_TIME},
    {"EXPIRES", "expires", CELL_TIME},
    {"VERSION", "version", CELL_TEXT},
    {"REVIEWED BY", "reviewerName", CELL_TEXT},
    {"REASON", "reason", CELL_TEXT},
};
static const struct cli_option open_options[] = {
    {"caller", "HANDLE", CLI_LIST, "callers",
        "who is let through (repeatable, at least one)"},
    {"model", "MODEL", CLI_TEXT, "model", "only this one"},
    {"reason", "TEXT", CLI_TEXT, "reason", "needed; the review begins with it"},
    {"expires", "WHEN", CLI_TEXT, "expires", "4h, at most 7d; needed"},
};
static const struct cli_rest emergency_list = {.method = "GET",
    .path = "/v1/emergencies",
    .columns = emergency_columns,
    .column_count = CLI_COUNT(emergency_columns),
    .empty = "there has been no emergency"};
static const struct cli_rest emergency_show = {.method = "GET",
    .path = "/v1/emergencies/{0}",
    .columns = emergency_columns,
    .column_count = CLI_COUNT(emergency_columns)};
static const struct cli_rest emergency_open = {.method = "POST",
    .path = "/v1/emergencies",
    .done = "EMERGENCY {id}: callers are let through against the rules until "
            "{expires}"};
static const struct cli_rest emergency_end = {.method = "POST",
    .path = "/v1/emergencies/{0}/end",
    .done = "emergency {id} is over; its review is open"};
static const struct cli_rest emergency_review = {.method = "POST",
    .path = "/v1/emergencies/{0}/review",
    .done = "the review of emergency {id} is closed"};

/* --- Settings ------------------------------------------------------------- */

static const struct cli_column setting_columns[] = {
    {"SETTING", "key", CELL_TEXT},
    {"VALUE", "value", CELL_TEXT},
    {"", "help", CELL_TEXT},
};
static const char *const setting_fields[] = {NULL, "value"};
static const struct cli_rest setting_list = {.method = "GET",
    .path = "/v1/settings",
    .columns = setting_columns,
    .column_count = CLI_COUNT(setting_columns),
    .empty = "no settings"};
static const struct cli_rest setting_set = {.method = "PUT",
    .path = "/v1/settings/{0}",
    .fields = setting_fields,
    .done = "{key} is \"{value}\" from now on"};

/* --- Administrators ------------------------------------------------------- */

static const struct cli_column token_columns[] = {
    {"TOKEN", "id", CELL_TEXT},
    {"STATE", "state", CELL_TEXT},
    {"CREATED", "created", CELL_TIME},
    {"EXPIRES", "expires", CELL_TIME},
    {"LABEL", "label", CELL_TEXT},
};
static const struct cli_option token_options[] = {
    {"expires", "WHEN", CLI_TEXT, "expires", "90d, 2026-12-31 (never)"},
    {"label", "TEXT", CLI_TEXT, "label", "what it is for"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const char *const role_fields[] = {NULL, "role"};
static const struct cli_rest admin_role = {.method = "PATCH",
    .path = "/v1/administrators/{0}",
    .fields = role_fields,
    .done = "administrator {name} has the role {role} now"};
static const struct cli_rest admin_enable = {.method = "POST",
    .path = "/v1/administrators/{0}/enable",
    .done = "administrator {name} is in force again"};
static const struct cli_rest admin_tokens = {.method = "GET",
    .path = "/v1/administrators/{0}/tokens",
    .columns = token_columns,
    .column_count = CLI_COUNT(token_columns),
    .empty = "no further tokens"};
static const struct cli_rest admin_revoke = {.method = "POST",
    .path = "/v1/tokens/{0}/revoke",
    .done = "token {id} is {state}"};

static const struct cli_column certificate_columns[] = {
    {"SHA-256", "fingerprint", CELL_TEXT},
    {"STATE", "state", CELL_TEXT},
    {"NOT BEFORE", "notBefore", CELL_TIME},
    {"EXPIRES", "expires", CELL_TIME},
    {"LABEL", "label", CELL_TEXT},
};
static const struct cli_option certificate_options[] = {
    {"label", "TEXT", CLI_TEXT, "label", "which it is"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_rest admin_certificates = {.method = "GET",
    .path = "/v1/administrators/{0}/certificates",
    .columns = certificate_columns,
    .column_count = CLI_COUNT(certificate_columns),
    .empty = "no certificate is pinned"};
static const struct cli_rest admin_no_certificate = {.method = "DELETE",
    .path = "/v1/administrators/{0}/certificates/{1}",
    .done = "that certificate is not good any more"};

static const struct cli_option sign_in_options[] = {
    {"issuer", "NAME", CLI_TEXT, "issuer", "as in `bailiff issuer list`"},
    {"subject", "SUB", CLI_TEXT, "subject",
        "the \"sub\" of this person's tokens (kept as a digest)"},
    {"audience", "A", CLI_TEXT, "audience",
        "administrators' own: of ID tokens, the client's id"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_rest admin_sign_in = {.method = "POST",
    .path = "/v1/administrators/{0}/sign-ins",
    .done = "tokens of {issuer} for {audience} sign {administrator} in"};
static const struct cli_rest admin_no_sign_in = {.method = "DELETE",
    .path = "/v1/administrators/{0}/sign-ins/{1}",
    .done = "no sign-in with that issuer any more"};

static int run_admin_token(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL), *answer = NULL;
    int result;

    if (!body)
        return 2;
    result = cli_call(cli, "POST",
        arena_printf(cli->arena, "/v1/administrators/%s/tokens",
            cli_encode(cli, cli->args[0])),
        body, &answer, NULL);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        cli_print_done("token {id} made", answer);
        cli_print_secret(
            "The token", json_string_value(json_object_get(answer, "secret")));
    }
    json_decref(answer);
    return 0;
}

#define CERTIFICATE_MAX 65536

static int run_admin_certificate(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL), *answer = NULL, *certificate;
    struct buf text;
    int result;

    if (!body)
        return 2;
    buf_init(&text, CERTIFICATE_MAX);
    if (!cli_read_file(cli->args[1], &text)) {
        json_decref(body);
        buf_fini(&text);
        return 1;
    }
    certificate = json_stringn(buf_str(&text).ptr, text.len);
    buf_fini(&text);
    if (!certificate) {
        json_decref(body);
        return cli_say(1,
            "%s is no text: a certificate in PEM is wanted; `openssl x509 "
            "-inform DER -in FILE` makes one of DER",
            cli->args[1]);
    }
    json_object_set_new(body, "certificate", certificate);
    result = cli_call(cli, "POST",
        arena_printf(cli->arena, "/v1/administrators/%s/certificates",
            cli_encode(cli, cli->args[0])),
        body, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_record(
            answer, certificate_columns, CLI_COUNT(certificate_columns));
    json_decref(answer);
    return 0;
}

static int run_admin_alone(struct cli *cli)
{
    bool yes = strcmp(cli->args[1], "yes") == 0;
    json_t *body = cli_body(cli, NULL), *answer = NULL;
    int result;

    if (!body)
        return 2;
    if (!yes && strcmp(cli->args[1], "no") != 0) {
        json_decref(body);
        return cli_usage(cli, "\"%s\": yes or no", cli->args[1]);
    }
    json_object_set_new(body, "certificateAlone", json_boolean(yes));
    result = cli_call(cli, "PATCH",
        arena_printf(
            cli->arena, "/v1/administrators/%s", cli_encode(cli, cli->args[0])),
        body, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_done(
            yes ? "a pinned certificate alone signs {name} in now"
                : "a certificate alone does not sign {name} in any more",
            answer);
    json_decref(answer);
    return 0;
}

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
    {"admin", "role", "NAME ROLE", 2, 2, "Give an administrator another role",
        NULL, OPTIONS(reason_options), NULL, &admin_role, false, false},
    {"admin", "enable", "NAME", 1, 1, "Give an administrator's rights back",
        NULL, OPTIONS(reason_options), NULL, &admin_enable, false, false},
    {"admin", "token", "NAME", 1, 1,
        "A further token for an administrator, shown once",
        "Two tokens are still one person: what takes two people counts "
        "administrators.",
        OPTIONS(token_options), run_admin_token, NULL, false, false},
    {"admin", "tokens", "NAME", 1, 1, "Further tokens of an administrator",
        NULL, NULL, 0, NULL, &admin_tokens, false, false},
    {"admin", "revoke-token", "TOKEN-ID", 1, 1, "A token is no longer good",
        NULL, OPTIONS(reason_options), NULL, &admin_revoke, false, false},
    {"admin", "certificate", "NAME FILE", 2, 2,
        "Pin a client certificate of an administrator",
        "FILE holds the certificate alone, PEM. Shown at admin_listen beside a "
        "token\n(--certificate, --key) it is the second factor, which the "
        "setting\napprovals_need_certificate asks for. Several can be pinned, "
        "so that the next\none is there before this one ends.",
        OPTIONS(certificate_options), run_admin_certificate, NULL, false,
        false},
    {"admin", "certificates", "NAME", 1, 1,
        "Pinned certificates of an administrator, and when they end", NULL,
        NULL, 0, NULL, &admin_certificates, false, false},
    {"admin", "no-certificate", "NAME SHA-256", 2, 2,
        "A pinned certificate is no longer good", NULL, NULL, 0, NULL,
        &admin_no_certificate, false, false},
    {"admin", "certificate-alone", "NAME yes|no", 2, 2,
        "Whether a pinned certificate signs an administrator in without a "
        "token",
        NULL, OPTIONS(reason_options), run_admin_alone, NULL, false, false},
    {"admin", "sign-in", "NAME", 1, 1,
        "Let an administrator sign in with an identity provider",
        "The issuer's tokens then do what a token of Bailiff does "
        "(`--token-file"
        " FILE`,\nBAILIFF_ADMIN_TOKEN), as `bailiff login` fetches them.",
        OPTIONS(sign_in_options), NULL, &admin_sign_in, false, false},
    {"admin", "no-sign-in", "NAME ISSUER", 2, 2,
        "No more sign-in with that identity provider", NULL, NULL, 0, NULL,
        &admin_no_sign_in, false, false},
    {"setting", "list", "", 0, 0, "Settings of the organisation", NULL, NULL, 0,
        NULL, &setting_list, false, false},
    {"setting", "set", "NAME VALUE", 2, 2, "Change a setting",
        "require_approvals, two_person_for and approvals_need_certificate are "
        "taken back only\nwith the approval of others.",
        OPTIONS(reason_options), NULL, &setting_set, false, false},
    {"emergency", "open", "", 0, 0,
        "Let named callers through against the rules, until a time",
        "Models have to be approved, and quotas hold. Each request that it "
        "lets through\nsays so: in its record, beside what the rules said, and "
        "in the header\nx-bailiff-emergency. Rules in an emergency: `bailiff "
        "policy activate N --emergency`.",
        OPTIONS(open_options), NULL, &emergency_open, false, false},
    {"emergency", "list", "", 0, 0, "Emergencies (break-glass)", NULL, NULL, 0,
        NULL, &emergency_list, false, false},
    {"emergency", "show", "EMERGENCY", 1, 1, "One emergency", NULL, NULL, 0,
        NULL, &emergency_show, false, false},
    {"emergency", "end", "EMERGENCY", 1, 1, "End it before it expires", NULL,
        OPTIONS(reason_options), NULL, &emergency_end, false, false},
    {"emergency", "review", "EMERGENCY", 1, 1,
        "Close the review of an emergency that somebody else called",
        "It is open from the beginning, and `status` warns of it until this.",
        OPTIONS(reason_options), NULL, &emergency_review, false, false},
    {"proposal", "list", "", 0, 0, "Changes that wait for a second person",
        NULL, OPTIONS(list_options), NULL, &proposal_list, false, false},
    {"proposal", "show", "PROPOSAL", 1, 1,
        "A change that waits: what stands there before and after", NULL, NULL,
        0, run_proposal_show, NULL, false, false},
    {"proposal", "approve", "PROPOSAL", 1, 1,
        "Agree to somebody else's change; with the last approval it is made",
        "What hands out a secret (a key, a token) is then for its author to "
        "apply, so that\nnobody else sees it.",
        OPTIONS(reason_options), NULL, &proposal_approve, false, false},
    {"proposal", "reject", "PROPOSAL", 1, 1, "Refuse somebody else's change",
        NULL, OPTIONS(reason_options), NULL, &proposal_reject, false, false},
    {"proposal", "withdraw", "PROPOSAL", 1, 1, "Take one's own change back",
        NULL, OPTIONS(reason_options), NULL, &proposal_withdraw, false, false},
    {"proposal", "apply", "PROPOSAL", 1, 1,
        "Make one's own approved change that hands out a secret", NULL,
        OPTIONS(reason_options), run_proposal_apply, NULL, false, false},
};
const struct cli_commands cli_govern_commands = {commands, CLI_COUNT(commands)};
