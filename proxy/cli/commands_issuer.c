/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_issuer.c - issuers of tokens as commands. */
#include "proxy/cli/cli_priv.h"

static const struct cli_column issuer_columns[] = {
    {"NAME", "name", CELL_TEXT},
    {"ISSUER", "issuer", CELL_TEXT},
    {"AUDIENCES", "audiences", CELL_TEXT},
    {"CALLER CLAIM", "callerClaim", CELL_TEXT},
    {"PREFIX", "prefix", CELL_TEXT},
    {"GROUPS CLAIM", "groupsClaim", CELL_TEXT},
    {"TEAMS BY GROUPS", "groups", CELL_TEXT},
    {"MAKES CALLERS", "justInTime", CELL_YES},
    {"ADDED", "created", CELL_TIME},
};
static const struct cli_column issuer_record[] = {
    {"name", "name", CELL_TEXT},
    {"issuer", "issuer", CELL_TEXT},
    {"makes callers", "justInTime", CELL_YES},
    {"in the team", "justInTimeTeam", CELL_TEXT},
    {"of the kind", "justInTimeKind", CELL_TEXT},
    {"at most in a minute", "justInTimePerMinute", CELL_COUNT},
    {"at most in all", "justInTimeMost", CELL_COUNT},
    {"made so far", "justInTimeCallers", CELL_COUNT},
    {"known clients only", "clientsOnly", CELL_YES},
    {"clients", "clients", CELL_TEXT},
    {"claims for rules", "claims", CELL_TEXT},
};
#define JUST_IN_TIME_OPTIONS                                                   \
    {"team", "TEAM", CLI_TEXT, "justInTimeTeam",                               \
        "which callers made so join (none)"},                                  \
        {"kind", "person|service", CLI_TEXT, "justInTimeKind",                 \
            "what they are (person)"},                                         \
        {"per-minute", "N", CLI_NUMBER, "justInTimePerMinute",                 \
            "at most so many in a minute, to 1000 (60)"},                      \
    {                                                                          \
        "most", "N", CLI_NUMBER, "justInTimeMost",                             \
            "at most so many in all, to 1M (10000)"                            \
    }
static const char *const issuer_fields[] = {"name", "issuer"};
static const struct cli_option issuer_add_options[] = {
    {"audience", "A", CLI_LIST, "audiences",
        "what \"aud\" must hold; one of several is enough"},
    {"jwks-file", "FILE", CLI_TEXT, "jwksFile",
        "the key set on disk (for sites without a way out)"},
    {"jwks-url", "URL", CLI_TEXT, "jwksUrl",
        "the key set; without both it is found by OpenID discovery"},
    {"ca-file", "FILE", CLI_TEXT, "caFile",
        "for https: trust the authorities in this file alone"},
    {"claim", "NAME", CLI_TEXT, "callerClaim",
        "the claim that names the caller by its handle (sub)"},
    {"prefix", "TEXT", CLI_TEXT, "prefix",
        "put before the claim: one issuer cannot speak for another's callers"},
    {"groups-claim", "NAME", CLI_TEXT, "groupsClaim",
        "the claim with the groups that rules may ask for (a.b: b within a)"},
    {"access-token-type", NULL, CLI_FLAG, "accessTokenType",
        "accept tokens of the type at+jwt (RFC 9068) only"},
    {"skew", "SECONDS", CLI_NUMBER, "skewSeconds",
        "how far clocks may differ, at most 300 (60)"},
    {"end-users", "HOW", CLI_TEXT, "endUsers",
        "also, only: its tokens may say for whom a gateway asks; only: they "
        "are no credential (no)"},
    {"just-in-time", NULL, CLI_FLAG, "justInTime",
        "a good token whose caller is not there makes it"},
    JUST_IN_TIME_OPTIONS,
    {"clients-only", NULL, CLI_FLAG, "clientsOnly",
        "refuse tokens made for applications other than those of map-client"},
};
static const struct cli_option issuer_set_options[] = {
    {"just-in-time", NULL, CLI_FLAG, "justInTime",
        "from now on a good token whose caller is not there makes it"},
    {"not-just-in-time", NULL, CLI_NOT, "justInTime",
        "from now on callers are made by administrators alone"},
    JUST_IN_TIME_OPTIONS,
    {"clients-only", NULL, CLI_FLAG, "clientsOnly",
        "refuse tokens made for applications other than those known"},
    {"any-client", NULL, CLI_NOT, "clientsOnly",
        "accept them, whichever application they were made for"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_rest issuer_list = {.method = "GET",
    .path = "/v1/issuers",
    .columns = issuer_columns,
    .column_count = CLI_COUNT(issuer_columns),
    .empty = "no issuers: callers use API keys"};
static const struct cli_rest issuer_add = {.method = "POST",
    .path = "/v1/issuers",
    .fields = issuer_fields,
    .done = "issuer {name} added: tokens of {issuer} are believed"};
static const struct cli_rest issuer_set = {.method = "PATCH",
    .path = "/v1/issuers/{0}",
    .columns = issuer_record,
    .column_count = CLI_COUNT(issuer_record)};
static const struct cli_rest issuer_remove = {.method = "DELETE",
    .path = "/v1/issuers/{0}",
    .done = "issuer removed: its tokens are refused from now on"};

static const char *const issuer_group_fields[] = {NULL, "group", "team"};
static const struct cli_rest issuer_map_group = {.method = "POST",
    .path = "/v1/issuers/{0}/groups",
    .fields = issuer_group_fields,
    .done = "groups of the issuer {name} that stand for teams: {groups}"};
static const struct cli_rest issuer_unmap_group = {.method = "DELETE",
    .path = "/v1/issuers/{0}/groups/{1}",
    .done = "groups of the issuer {name} that stand for teams: {groups}"};

static const char *const issuer_claim_fields[] = {
    NULL, "claim", "attribute", "type"};
static const struct cli_rest issuer_map_claim = {.method = "POST",
    .path = "/v1/issuers/{0}/claims",
    .fields = issuer_claim_fields,
    .done = "claims of the issuer {name} that rules see: {claims}"};
static const struct cli_rest issuer_unmap_claim = {.method = "DELETE",
    .path = "/v1/issuers/{0}/claims/{1}",
    .done = "claims of the issuer {name} that rules see: {claims}"};
static const struct cli_column claim_columns[] = {
    {"NAME", "name", CELL_TEXT},
    {"TYPE", "type", CELL_TEXT},
    {"ISSUERS", "issuers", CELL_TEXT},
};
static const struct cli_rest issuer_claims = {.method = "GET",
    .path = "/v1/claims",
    .columns = claim_columns,
    .column_count = CLI_COUNT(claim_columns),
    .empty = "no claims: rules see the groups of tokens alone"};
static const char *const issuer_client_fields[] = {NULL, "client"};
static const struct cli_option issuer_client_options[] = {
    {"caller", "HANDLE", CLI_TEXT, "caller",
        "tokens made for it are this caller's (client credentials)"},
};
static const struct cli_rest issuer_map_client = {.method = "POST",
    .path = "/v1/issuers/{0}/clients",
    .fields = issuer_client_fields,
    .done = "clients of the issuer {name}: {clients}"};
static const struct cli_rest issuer_unmap_client = {.method = "DELETE",
    .path = "/v1/issuers/{0}/clients/{1}",
    .done = "clients of the issuer {name}: {clients}"};

static const struct cli_column gateway_columns[] = {
    {"CALLER", "callerName", CELL_TEXT},
    {"REQUIRED", "required", CELL_YES},
    {"ADDED", "created", CELL_TIME},
};
static const char *const gateway_fields[] = {"caller"};
static const struct cli_option gateway_options[] = {
    {"required", NULL, CLI_FLAG, "required",
        "refuse its requests that do not say for whom"},
};
static const struct cli_rest gateway_add = {.method = "POST",
    .path = "/v1/gateways",
    .fields = gateway_fields,
    .done = "{callerName} may say for whom it asks (X-Bailiff-End-User)"};
static const struct cli_rest gateway_list = {.method = "GET",
    .path = "/v1/gateways",
    .columns = gateway_columns,
    .column_count = CLI_COUNT(gateway_columns),
    .empty = "no gateways: every caller asks for itself"};
static const struct cli_rest gateway_remove = {.method = "DELETE",
    .path = "/v1/gateways/{0}",
    .done = "gateway removed: what it passes on is refused"};

static const struct cli_command commands[] = {
    {.noun = "gateway",
        .verb = "add",
        .arguments = "CALLER",
        .least = 1,
        .most = 1,
        .summary = "Let a caller pass on for whom it asks",
        .details =
            "It sends a signed token in X-Bailiff-End-User, of an issuer that "
            "was added with\n--end-users. Rules see the person as "
            "context.endUser, beside the caller.",
        .options = gateway_options,
        .option_count = CLI_COUNT(gateway_options),
        .rest = &gateway_add},
    {.noun = "gateway",
        .verb = "list",
        .arguments = "",
        .summary = "Callers that may pass on for whom they ask",
        .rest = &gateway_list},
    {.noun = "gateway",
        .verb = "remove",
        .arguments = "CALLER",
        .least = 1,
        .most = 1,
        .summary = "Refuse what a caller passes on",
        .rest = &gateway_remove},
    {.noun = "issuer",
        .verb = "add",
        .arguments = "NAME ISSUER",
        .least = 2,
        .most = 2,
        .summary = "Believe the tokens (JWT) of an issuer",
        .details =
            "ISSUER is the tokens' \"iss\", to the letter. A token is good for "
            "the caller\nwhose handle is the prefix and the claim's text; "
            "there must be such a caller,\nor --just-in-time. `bailiff jwt "
            "verify` tries tokens "
            "without a server.",
        .options = issuer_add_options,
        .option_count = CLI_COUNT(issuer_add_options),
        .rest = &issuer_add},
    {.noun = "issuer",
        .verb = "list",
        .arguments = "",
        .summary = "The issuers",
        .rest = &issuer_list},
    {.noun = "issuer",
        .verb = "set",
        .arguments = "NAME",
        .least = 1,
        .most = 1,
        .summary = "Change what an issuer's tokens are good for",
        .details =
            "A good token whose caller is not there makes it, under the name "
            "that its issuer's\nprefix and claim give. Who was disabled or "
            "erased is not made anew. What is not\ngiven stays as it is.",
        .options = issuer_set_options,
        .option_count = CLI_COUNT(issuer_set_options),
        .rest = &issuer_set},
    {.noun = "issuer",
        .verb = "map-group",
        .arguments = "ISSUER GROUP TEAM",
        .least = 3,
        .most = 3,
        .summary = "Let a group of an issuer's tokens stand for a team",
        .details =
            "GROUP is the text that the token has, to the letter. Whoever "
            "comes with such a\ntoken is in the team, and in those above it, "
            "for that request: rules and the\nteams' quotas count them in.",
        .rest = &issuer_map_group},
    {.noun = "issuer",
        .verb = "claims",
        .arguments = "",
        .summary = "What rules may ask of tokens: context.claims.NAME",
        .rest = &issuer_claims},
    {.noun = "issuer",
        .verb = "map-claim",
        .arguments = "ISSUER CLAIM NAME TYPE",
        .least = 4,
        .most = 4,
        .summary = "Let rules ask about a claim of an issuer's tokens",
        .details =
            "As context.claims.NAME; CLAIM is as in the token (a.b: b within "
            "a), TYPE string,\nlong, bool or set (of strings). The schema of "
            "the rules knows it from then on. A\ntoken whose claim is of "
            "another type is not served; one without the claim is, and\n"
            "rules ask `context.claims has NAME`.",
        .rest = &issuer_map_claim},
    {.noun = "issuer",
        .verb = "unmap-claim",
        .arguments = "ISSUER NAME",
        .least = 2,
        .most = 2,
        .summary = "Let rules see a claim no more",
        .rest = &issuer_unmap_claim},
    {.noun = "issuer",
        .verb = "map-client",
        .arguments = "ISSUER CLIENT",
        .least = 2,
        .most = 2,
        .summary = "Know an application for which an issuer makes tokens",
        .details =
            "CLIENT is the token's \"client_id\" or \"azp\", to the letter. "
            "With --caller, every\ntoken made for it is that caller's, "
            "whatever else it says: for applications that\nask for "
            "themselves. With `issuer set --clients-only` no others are let "
            "in.",
        .options = issuer_client_options,
        .option_count = CLI_COUNT(issuer_client_options),
        .rest = &issuer_map_client},
    {.noun = "issuer",
        .verb = "unmap-client",
        .arguments = "ISSUER CLIENT",
        .least = 2,
        .most = 2,
        .summary = "Know an application of an issuer no more",
        .rest = &issuer_unmap_client},
    {.noun = "issuer",
        .verb = "unmap-group",
        .arguments = "ISSUER GROUP",
        .least = 2,
        .most = 2,
        .summary = "Let a group stand for no team any more",
        .rest = &issuer_unmap_group},
    {.noun = "issuer",
        .verb = "remove",
        .arguments = "NAME",
        .least = 1,
        .most = 1,
        .summary = "Refuse an issuer's tokens from now on",
        .rest = &issuer_remove},
};
const struct cli_commands cli_issuer_commands = {commands, CLI_COUNT(commands)};
