/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_jwt.c - `jwt verify`: tokens of standard input, one a
 * line, judged as the proxy would judge them. Needs no state directory. */
#include "proxy/cli/cli_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "proxy/jwt/jwt_lines.h"

#include <unistd.h>

#define AUDIENCES_MAX 64
#define CERTIFICATE_MAX (1u << 20)

static const struct cli_option options[] = {
    {"jwks", "FILE", CLI_TEXT, NULL, "the issuer's key set (RFC 7517)"},
    {"issuer", "I", CLI_TEXT, NULL, "what \"iss\" must be, to the letter"},
    {"audience", "A", CLI_LIST, NULL,
        "what \"aud\" must hold; one of several is enough"},
    {"now", "T", CLI_TEXT, NULL,
        "judge as at T: seconds since 1970, or 2026-11-24T08:00:00Z"},
    {"skew", "SECONDS", CLI_TEXT, NULL,
        "how far clocks may differ, at most 300 (else 0)"},
    {"max-age", "SECONDS", CLI_TEXT, NULL, "refuse tokens issued before"},
    {"access-token", NULL, CLI_FLAG, NULL,
        "demand \"typ\": \"at+jwt\" and all claims of RFC 9068"},
    {"certificate", "FILE", CLI_TEXT, NULL,
        "the client certificate (PEM) that was shown with the tokens"},
};

struct judging {
    struct jwt_lines lines;
    struct jwks *jwks;
    struct str audiences[AUDIENCES_MAX];
    uint8_t certificate[SHA256_SIZE];
};

/* --- Options ------------------------------------------------------------- */

static bool read_seconds(
    struct cli *cli, const char *name, int64_t most, int64_t *out_us, int *code)
{
    const char *text = cli_value(cli, name);
    int64_t seconds;

    if (!text)
        return true;
    if (str_to_i64(str_from(text), &seconds) != ERR_OK || seconds < 0 ||
        seconds > most) {
        *code = cli_usage(cli, "--%s wants seconds, 0 to %lld, not \"%s\"",
            name, (long long)most, text);
        return false;
    }
    *out_us = seconds * SECOND_US;
    return true;
}

static bool read_now(struct cli *cli, struct judging *j, int *code)
{
    struct str text = str_from(cli_value(cli, "now"));
    int64_t seconds;

    if (!text.ptr)
        return true;
    j->lines.has_now = true;
    if (str_to_i64(text, &seconds) == ERR_OK &&
        !__builtin_mul_overflow(seconds, SECOND_US, &j->lines.now_us) &&
        j->lines.now_us < INT64_MAX / 2 && j->lines.now_us > INT64_MIN / 2)
        return true;
    if (clock_parse(text, &j->lines.now_us) == ERR_OK)
        return true;
    *code = cli_usage(cli,
        "--now wants seconds since 1970 or a time such as "
        "2026-11-24T08:00:00Z, not \"%s\"",
        text.ptr);
    return false;
}

/* The first certificate of a PEM text, as DER. */
static bool pem_to_der(struct str text, struct buf *base64, struct buf *der)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    static const char end[] = "-----END CERTIFICATE-----";
    const char *from = memmem(text.ptr, text.len, begin, sizeof begin - 1);
    const char *to;
    char *out;
    size_t length;

    if (!from)
        return false;
    from += sizeof begin - 1;
    to =
        memmem(from, (size_t)(text.ptr + text.len - from), end, sizeof end - 1);
    for (const char *c = from; to && c < to; c++)
        if (*c != '\n' && *c != '\r')
            buf_append_char(base64, *c);
    out = buf_reserve(der, base64->len + 1);
    if (!to || base64->len == 0 || base64->failed || !out ||
        base64_decode(buf_str(base64), (uint8_t *)out, base64->len, &length) !=
            ERR_OK)
        return false;
    buf_grew(der, length);
    return true;
}

static bool read_certificate(struct cli *cli, struct judging *j, int *code)
{
    const char *path = cli_value(cli, "certificate");
    struct buf text, base64, der;
    bool good;

    if (!path)
        return true;
    buf_init(&text, CERTIFICATE_MAX);
    buf_init(&base64, CERTIFICATE_MAX);
    buf_init(&der, CERTIFICATE_MAX);
    good = cli_read_file(path, &text);
    if (!good) {
        *code = 1;
    } else if (!pem_to_der(buf_str(&text), &base64, &der)) {
        good = false;
        *code = cli_say(1, "%s holds no certificate in PEM", path);
    } else {
        crypto_sha256(j->certificate, buf_str(&der).ptr, der.len);
        j->lines.certificate_sha256 = j->certificate;
    }
    buf_fini(&text);
    buf_fini(&base64);
    buf_fini(&der);
    return good;
}

static bool read_jwks(struct cli *cli, struct judging *j, int *code)
{
    const char *path = cli_value(cli, "jwks");
    struct errinfo info = {0};
    struct buf text;
    enum err err;

    buf_init(&text, JWKS_TEXT_MAX);
    err = file_read(path, &text, &info);
    if (err == ERR_OK) {
        err = jwks_parse(buf_str(&text), &j->jwks, &info);
        if (err)
            err = errinfo_prefix(&info, err, "%s", path);
    }
    buf_fini(&text);
    if (err) {
        *code = cli_say(1, "%s", info.text[0] ? info.text : err_name(err));
        return false;
    }
    if (jwks_count(j->jwks) == 0)
        cli_say(0, "%s has no key that could be used%s%s", path,
            jwks_why(j->jwks)[0] ? ": " : "", jwks_why(j->jwks));
    if (jwks_has_private(j->jwks))
        cli_say(0, "%s holds secret members: whoever reads it can make tokens",
            path);
    return true;
}

static bool read_options(struct cli *cli, struct judging *j, int *code)
{
    static const char *const needed[] = {"jwks", "issuer", "audience"};

    for (size_t i = 0; i < CLI_COUNT(needed); i++)
        if (!cli_has(cli, needed[i]) || cli_value(cli, needed[i])[0] == '\0') {
            *code = cli_usage(cli, "--%s is needed", needed[i]);
            return false;
        }
    j->lines.issuer = str_from(cli_value(cli, "issuer"));
    for (size_t i = 0; i < cli->command->option_count; i++)
        if (strcmp(cli->command->options[i].name, "audience") == 0)
            for (int v = 0; v < cli->value_count[i] && v < AUDIENCES_MAX; v++)
                j->audiences[v] = str_from(cli->values[i][v]),
                j->lines.audience_count++;
    j->lines.audiences = j->audiences;
    j->lines.access_token_type = cli_has(cli, "access-token");
    return read_now(cli, j, code) &&
           read_seconds(cli, "skew", 300, &j->lines.skew_us, code) &&
           read_seconds(
               cli, "max-age", 10 * 366 * 86400, &j->lines.max_age_us, code) &&
           read_certificate(cli, j, code) && read_jwks(cli, j, code);
}

static int run_verify(struct cli *cli)
{
    struct judging j = {0};
    struct errinfo info = {0};
    int code = 1;

    if (crypto_init(&info))
        return cli_say(1, "%s", info.text);
    if (read_options(cli, &j, &code)) {
        j.lines.jwks = j.jwks;
        code = 0;
        if (jwt_lines_judge(&j.lines, STDIN_FILENO, stdout, &info))
            code = cli_say(1, "%s", info.text);
    }
    jwks_unref(&j.jwks);
    return code;
}

static const struct cli_command commands[] = {
    {.noun = "jwt",
        .verb = "verify",
        .arguments = "",
        .summary = "Judge tokens of standard input, one a line",
        .details =
            "Each line is answered by one of JSON: {\"valid\":true or false,"
            "\n\"reason\":\"ok\" or a word of docs/identity.md,"
            "\"claims\":the payload, or null}.\nThe status is 0 when all "
            "lines were judged, however they were judged.",
        .options = options,
        .option_count = CLI_COUNT(options),
        .run = run_verify,
        .no_state = true},
};
const struct cli_commands cli_jwt_commands = {commands, CLI_COUNT(commands)};
