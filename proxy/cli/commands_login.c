/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_login.c - `bailiff login`: an administrator signs in with
 * an identity provider. The authorization code flow with PKCE (RFC 7636) and
 * a redirect to this machine (RFC 8252): the browser brings a code here, and
 * the ID token that it is exchanged for goes into a file, for --token-file. */
#include "proxy/cli/cli_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/http_client.h"
#include "lib/http_service.h"
#include "proxy/issuers.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define WAIT_S 300
#define CALL_US (30 * SECOND_US)
#define ANSWER_MAX (1u << 20)
#define RANDOM_TEXT 48

struct login {
    struct cli *cli;
    char state[RANDOM_TEXT], verifier[RANDOM_TEXT], challenge[RANDOM_TEXT];
    const char *ca_file, *authorize, *token_url;
    pthread_mutex_t mutex;
    pthread_cond_t came;
    bool done;
    char code[2048], error[512]; /* under the mutex */
};

/* --- Small things -------------------------------------------------------- */

/* 32 random bytes as base64url: 43 characters. */
static void random_text(char out[RANDOM_TEXT])
{
    uint8_t bytes[32];
    struct buf text;

    crypto_random(bytes, sizeof bytes);
    buf_init(&text, RANDOM_TEXT);
    base64url_append(&text, bytes, sizeof bytes);
    snprintf(out, RANDOM_TEXT, "%s", buf_cstr(&text));
    buf_fini(&text);
    crypto_wipe(bytes, sizeof bytes);
}

static void challenge_of(const char *verifier, char out[RANDOM_TEXT])
{
    uint8_t digest[SHA256_SIZE];
    struct buf text;

    crypto_sha256(digest, verifier, strlen(verifier));
    buf_init(&text, RANDOM_TEXT);
    base64url_append(&text, digest, sizeof digest);
    snprintf(out, RANDOM_TEXT, "%s", buf_cstr(&text));
    buf_fini(&text);
}

/* NULL: said. */
static json_t *ask(struct login *login, const char *url, struct str form)
{
    static const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded",
        "Accept: application/json", NULL};
    const struct http_client_request request = {
        .url = url,
        .headers = headers,
        .body = form,
        .ca_file = login->ca_file,
        .timeout_us = CALL_US,
        .max_answer = ANSWER_MAX,
    };
    struct http_client_answer answer = {0};
    struct errinfo info = {0};
    json_t *value = NULL;

    if (!issuers_url_is_safe(url)) {
        cli_say(1, "%s: only https, or http to this machine", url);
        return NULL;
    }
    if (http_client_request(&request, &answer, &info) != ERR_OK) {
        cli_say(1, "%s", info.text);
    } else {
        value = json_loadb(buf_str(&answer.body).ptr, answer.body.len, 0, NULL);
        if (answer.status != 200 || !json_is_object(value)) {
            const char *why =
                json_string_value(json_object_get(value, "error"));
            cli_say(1, "%s answered %d%s%s", url, answer.status,
                why ? ": " : "", why ? why : "");
            json_decref(value);
            value = NULL;
        }
    }
    crypto_wipe(answer.body.ptr, answer.body.ptr ? answer.body.cap : 0);
    http_client_answer_fini(&answer);
    return value;
}

/* --- The browser comes back ---------------------------------------------- */

static void keep_parameter(const struct http_request *request, const char *name,
    char *out, size_t size)
{
    struct str value;

    if (http_request_parameter(request, name, &value) == ERR_OK &&
        value.len < size)
        snprintf(out, size, "%.*s", STR_ARG(value));
}

static void handle_callback(
    void *context, const struct http_request *request, struct http_reply *reply)
{
    struct login *login = context;
    char state[RANDOM_TEXT] = "", code[2048] = "", error[512] = "";
    bool good;

    if (!str_equal(request->path, STR("/callback"))) {
        reply->status = 404;
        return;
    }
    keep_parameter(request, "state", state, sizeof state);
    keep_parameter(request, "code", code, sizeof code);
    keep_parameter(request, "error", error, sizeof error);
    /* Whoever does not know the state is not the browser that was sent. */
    good = strcmp(state, login->state) == 0 && (code[0] || error[0]);
    reply->status = good ? 200 : 400;
    buf_append_str(&reply->body,
        good ? STR("You can close this window and go back to the terminal.\n")
             : STR("This is not what was asked for.\n"));
    if (http_reply_header(
            reply, "Content-Type", STR("text/plain; charset=utf-8")) != ERR_OK)
        reply->body.failed = true;
    if (!good)
        return;
    pthread_mutex_lock(&login->mutex);
    if (!login->done) {
        snprintf(login->code, sizeof login->code, "%s", code);
        snprintf(login->error, sizeof login->error, "%s", error);
        login->done = true;
        pthread_cond_signal(&login->came);
    }
    pthread_mutex_unlock(&login->mutex);
}

static bool wait_for_browser(struct login *login)
{
    struct timespec until;
    int late = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&login->mutex);
    while (!login->done && !late)
        late = pthread_cond_timedwait(&login->came, &login->mutex, &until);
    pthread_mutex_unlock(&login->mutex);
    if (!login->done)
        cli_say(1, "nobody signed in within %d minutes", WAIT_S / 60);
    else if (!login->code[0])
        cli_say(1, "the identity provider refused: %s", login->error);
    return login->done && login->code[0];
}

/* --- The flow ------------------------------------------------------------ */

static json_t *discover(struct login *login)
{
    struct str issuer = str_from(cli_value(login->cli, "issuer"));
    json_t *found;

    while (str_ends(issuer, STR("/")))
        issuer.len--;
    found = ask(login,
        arena_printf(login->cli->arena, "%.*s/.well-known/openid-configuration",
            STR_ARG(issuer)),
        str_make(NULL, 0));
    login->authorize =
        json_string_value(json_object_get(found, "authorization_endpoint"));
    login->token_url =
        json_string_value(json_object_get(found, "token_endpoint"));
    if (found && (!login->authorize || !login->token_url)) {
        cli_say(1, "the issuer offers no sign-in with a code");
        json_decref(found);
        return NULL;
    }
    return found;
}

static void print_url(struct login *login, const char *redirect)
{
    struct cli *cli = login->cli;
    const char *scope = cli_value(cli, "scope");

    printf("Open this in a browser, and sign in:\n\n"
           "    %s%cresponse_type=code&client_id=%s&redirect_uri=%s&scope=%s"
           "&state=%s&code_challenge=%s&code_challenge_method=S256\n\n",
        login->authorize, strchr(login->authorize, '?') ? '&' : '?',
        cli_encode(cli, cli_value(cli, "client-id")), cli_encode(cli, redirect),
        cli_encode(cli, scope ? scope : "openid"), login->state,
        login->challenge);
    fflush(stdout);
}

static int keep_token(struct login *login, const json_t *answer)
{
    const char *file = cli_value(login->cli, "write-token"),
               *token = json_string_value(json_object_get(answer, "id_token"));
    struct errinfo info = {0};
    struct buf line;
    enum err err;

    if (!token)
        return cli_say(1, "the identity provider gave no ID token; ask for the "
                          "scope openid");
    buf_init(&line, 65536);
    buf_printf(&line, "%s\n", token);
    err = line.failed ? ERR_NOMEM
                      : file_replace(file, buf_str(&line), 0600, &info);
    crypto_wipe(line.ptr, line.ptr ? line.cap : 0);
    buf_fini(&line);
    if (err)
        return cli_say(1, "%s", info.text);
    printf("signed in; use it with --token-file %s\n", file);
    return 0;
}

static int exchange_code(struct login *login, const char *redirect)
{
    struct cli *cli = login->cli;
    const char *form = arena_printf(cli->arena,
        "grant_type=authorization_code&code=%s&redirect_uri=%s&client_id=%s"
        "&code_verifier=%s",
        cli_encode(cli, login->code), cli_encode(cli, redirect),
        cli_encode(cli, cli_value(cli, "client-id")), login->verifier);
    json_t *answer = ask(login, login->token_url, str_from(form));
    int result = answer ? keep_token(login, answer) : 1;

    json_decref(answer);
    return result;
}

static int run_login(struct cli *cli)
{
    struct login login = {.cli = cli,
        .ca_file = cli_value(cli, "ca-file"),
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .came = PTHREAD_COND_INITIALIZER};
    struct http_service_settings settings = {
        .host = "127.0.0.1", .handler = handle_callback, .context = &login};
    struct http_service *service = NULL;
    struct errinfo info = {0};
    const char *redirect;
    json_t *found;
    int result = 1;

    if (!cli_value(cli, "issuer") || !cli_value(cli, "client-id") ||
        !cli_value(cli, "write-token"))
        return cli_usage(
            cli, "--issuer, --client-id and --write-token are needed");
    if (crypto_init(&info) != ERR_OK)
        return cli_say(1, "%s", info.text);
    found = discover(&login);
    if (!found)
        return 1;
    random_text(login.state);
    random_text(login.verifier);
    challenge_of(login.verifier, login.challenge);
    if (http_service_start(&settings, &service, &info) != ERR_OK) {
        cli_say(1, "%s", info.text);
    } else {
        redirect = arena_printf(cli->arena, "http://127.0.0.1:%u/callback",
            (unsigned)http_service_port(service));
        print_url(&login, redirect);
        if (wait_for_browser(&login))
            result = exchange_code(&login, redirect);
    }
    http_service_stop(&service);
    json_decref(found);
    crypto_wipe(&login, sizeof login);
    return result;
}

static const struct cli_option login_options[] = {
    {"issuer", "URL", CLI_TEXT, NULL, "the identity provider"},
    {"client-id", "ID", CLI_TEXT, NULL,
        "what this program is registered as there (a public client)"},
    {"write-token", "FILE", CLI_TEXT, NULL, "where the token goes (mode 0600)"},
    {"scope", "TEXT", CLI_TEXT, NULL, "openid"},
    {"ca-file", "FILE", CLI_TEXT, NULL,
        "trust the authorities in this file alone"},
};
static const struct cli_command commands[] = {
    {"login", NULL, "", 0, 0, "Sign in with an identity provider",
        "Opens a port on 127.0.0.1 that the browser comes back to (code flow "
        "with PKCE).\nThe administrator is mapped by `bailiff admin sign-in`.",
        login_options, CLI_COUNT(login_options), run_login, NULL, false, true},
};
const struct cli_commands cli_login_commands = {commands, CLI_COUNT(commands)};
