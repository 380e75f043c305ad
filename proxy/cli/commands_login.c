/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_login.c - `bailiff login`: an administrator signs in with
 * an identity provider, and the ID token goes into a file, for --token-file.
 * Where a browser is, the authorization code flow with PKCE (RFC 7636) and a
 * redirect to this machine (RFC 8252): the browser brings a code here that the
 * token is fetched with. With --device the device flow (RFC 8628): a code is
 * entered in a browser anywhere, and the provider asked until that was done. */
#include "proxy/cli/cli_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/http_client.h"
#include "lib/http_service.h"
#include "proxy/issuers.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_S 300
#define CALL_US (30 * SECOND_US)
#define ANSWER_MAX (1u << 20)
#define RANDOM_TEXT 48
#define DEVICE_INTERVAL_S 5 /* RFC 8628, section 3.2: where none is given */
#define DEVICE_SLOWER_S 5   /* section 3.5: more after each slow_down */
#define DEVICE_INTERVAL_MAX_S 300
#define DEVICE_WAIT_MAX_S 3600

struct login {
    struct cli *cli;
    char state[RANDOM_TEXT], verifier[RANDOM_TEXT], challenge[RANDOM_TEXT];
    const char *ca_file, *authorize, *token_url, *device_url;
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

/* *status: that of the answer, which is a JSON object; 0: there is none, which
 * was said. gives the object. */
static json_t *send_form(
    struct login *login, const char *url, struct str form, int *status)
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

    *status = 0;
    if (!issuers_url_is_safe(url)) {
        cli_say(1, "%s: only https, or http to this machine", url);
        return NULL;
    }
    if (http_client_request(&request, &answer, &info) != ERR_OK) {
        cli_say(1, "%s", info.text);
    } else {
        value = json_loadb(buf_str(&answer.body).ptr, answer.body.len, 0, NULL);
        if (json_is_object(value)) {
            *status = answer.status;
        } else {
            cli_say(
                1, "%s answered %d, and no JSON object", url, answer.status);
            json_decref(value);
            value = NULL;
        }
    }
    crypto_wipe(answer.body.ptr, answer.body.ptr ? answer.body.cap : 0);
    http_client_answer_fini(&answer);
    return value;
}

static const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* What the provider says of an error (RFC 6749, section 5.2). */
static int say_error(const char *url, int status, const json_t *answer)
{
    const char *why = member(answer, "error"),
               *more = member(answer, "error_description");

    return cli_say(1, "%s answered %d%s%s%s%s%s", url, status, why ? ": " : "",
        why ? why : "", more ? " (" : "", more ? more : "", more ? ")" : "");
}

/* NULL: said. */
static json_t *ask(struct login *login, const char *url, struct str form)
{
    int status;
    json_t *value = send_form(login, url, form, &status);

    if (value && status != 200) {
        say_error(url, status, value);
        json_decref(value);
        value = NULL;
    }
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

/* The document must say that it is this issuer's (OpenID Connect Discovery 1.0,
 * section 4.3), or anybody could stand in for the endpoints. */
static bool is_issuers(const json_t *found, struct str issuer)
{
    struct str says = str_from(member(found, "issuer"));

    while (str_ends(says, STR("/")))
        says.len--;
    if (str_equal(says, issuer))
        return true;
    cli_say(1, "what is found at %.*s is the discovery of \"%.*s\"",
        STR_ARG(issuer), STR_ARG(says));
    return false;
}

static json_t *discover(struct login *login, bool device)
{
    struct str issuer = str_from(cli_value(login->cli, "issuer"));
    json_t *found;

    while (str_ends(issuer, STR("/")))
        issuer.len--;
    found = ask(login,
        arena_printf(login->cli->arena, "%.*s/.well-known/openid-configuration",
            STR_ARG(issuer)),
        str_make(NULL, 0));
    if (!found)
        return NULL;
    login->authorize = member(found, "authorization_endpoint");
    login->token_url = member(found, "token_endpoint");
    login->device_url = member(found, "device_authorization_endpoint");
    if (is_issuers(found, issuer)) {
        if (login->token_url && (device ? login->device_url : login->authorize))
            return found;
        cli_say(1, device ? "the issuer offers no sign-in with a code that is "
                            "entered elsewhere (its discovery has no "
                            "device_authorization_endpoint); where a browser "
                            "is, sign in without --device"
                          : "the issuer offers no sign-in with a code");
    }
    json_decref(found);
    return NULL;
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

static int login_here(struct login *login)
{
    struct cli *cli = login->cli;
    struct http_service_settings settings = {
        .host = "127.0.0.1", .handler = handle_callback, .context = login};
    struct http_service *service = NULL;
    struct errinfo info = {0};
    const char *redirect;
    int result = 1;

    random_text(login->state);
    random_text(login->verifier);
    challenge_of(login->verifier, login->challenge);
    if (http_service_start(&settings, &service, &info) != ERR_OK) {
        cli_say(1, "%s", info.text);
    } else {
        redirect = arena_printf(cli->arena, "http://127.0.0.1:%u/callback",
            (unsigned)http_service_port(service));
        print_url(login, redirect);
        if (wait_for_browser(login))
            result = exchange_code(login, redirect);
    }
    http_service_stop(&service);
    return result;
}

/* --- A browser elsewhere (RFC 8628) --------------------------------------- */

/* What the provider said, or `otherwise` where it said nothing sensible. */
static int64_t seconds(
    const json_t *answer, const char *name, int64_t otherwise, int64_t most)
{
    const json_t *value = json_object_get(answer, name);
    double given = json_is_number(value) ? json_number_value(value) : 0;

    if (!(given >= 1))
        return otherwise;
    return given > (double)most ? most : (int64_t)given;
}

/* What the provider sends goes to a terminal: nothing in it is obeyed. */
static void print_code(const json_t *device, int64_t wait_s)
{
    const char *whole = member(device, "verification_uri_complete");

    printf("Open this in a browser on any machine:\n\n    ");
    cli_print_safe(stdout, member(device, "verification_uri"));
    printf("\n\nand enter this code there:\n\n    ");
    cli_print_safe(stdout, member(device, "user_code"));
    if (whole) {
        printf("\n\nor open this, and compare the code:\n\n    ");
        cli_print_safe(stdout, whole);
    }
    bool seconds = wait_s < 120;
    printf("\n\nIt is good for %lld %s.\n",
        (long long)(seconds ? wait_s : (wait_s + 59) / 60),
        seconds ? "seconds" : "minutes");
    fflush(stdout);
}

static void sleep_until(int64_t monotonic_us)
{
    int64_t left = monotonic_us - clock_monotonic();
    struct timespec wait = {
        .tv_sec = left / SECOND_US, .tv_nsec = (left % SECOND_US) * 1000};

    while (left > 0 && nanosleep(&wait, &wait) != 0)
        continue;
}

enum poll_result { POLL_AGAIN, POLL_SIGNED_IN, POLL_REFUSED };

/* Section 3.5: what each answer of the token endpoint means. */
static enum poll_result poll_once(
    struct login *login, const char *form, int64_t *interval_s)
{
    int status;
    json_t *answer =
        send_form(login, login->token_url, str_from(form), &status);
    const char *error = member(answer, "error");
    enum poll_result result = POLL_REFUSED;

    if (!answer || status >= 500) {
        /* Out of reach for now: less and less often (exponential backoff). */
        if (answer)
            say_error(login->token_url, status, answer);
        *interval_s *= 2;
        result = POLL_AGAIN;
    } else if (status == 200) {
        result = keep_token(login, answer) == 0 ? POLL_SIGNED_IN : POLL_REFUSED;
    } else if (error && strcmp(error, "authorization_pending") == 0) {
        result = POLL_AGAIN;
    } else if (error && strcmp(error, "slow_down") == 0) {
        *interval_s += DEVICE_SLOWER_S;
        result = POLL_AGAIN;
    } else if (error && strcmp(error, "access_denied") == 0) {
        cli_say(1, "the sign-in was refused in the browser, or by the "
                   "identity provider (access_denied)");
    } else if (error && strcmp(error, "expired_token") == 0) {
        cli_say(1, "the code has expired (expired_token); run `bailiff login "
                   "--device` again for a new one");
    } else {
        say_error(login->token_url, status, answer);
    }
    if (*interval_s > DEVICE_INTERVAL_MAX_S)
        *interval_s = DEVICE_INTERVAL_MAX_S;
    json_decref(answer);
    return result;
}

static int poll_for_token(
    struct login *login, const json_t *device, int64_t wait_s)
{
    struct cli *cli = login->cli;
    const char *form = arena_printf(cli->arena,
        "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Adevice_code"
        "&device_code=%s&client_id=%s",
        cli_encode(cli, member(device, "device_code")),
        cli_encode(cli, cli_value(cli, "client-id")));
    int64_t end = clock_monotonic() + wait_s * SECOND_US;
    int64_t interval_s =
        seconds(device, "interval", DEVICE_INTERVAL_S, DEVICE_INTERVAL_MAX_S);
    enum poll_result result = POLL_AGAIN;

    while (result == POLL_AGAIN) {
        int64_t next = clock_monotonic() + interval_s * SECOND_US;
        if (next > end)
            return cli_say(1, "nobody entered the code in time; run `bailiff "
                              "login --device` again for a new one");
        sleep_until(next);
        result = poll_once(login, form, &interval_s);
    }
    return result == POLL_SIGNED_IN ? 0 : 1;
}

static int login_elsewhere(struct login *login)
{
    struct cli *cli = login->cli;
    const char *scope = cli_value(cli, "scope");
    const char *form = arena_printf(cli->arena, "client_id=%s&scope=%s",
        cli_encode(cli, cli_value(cli, "client-id")),
        cli_encode(cli, scope ? scope : "openid"));
    json_t *device = ask(login, login->device_url, str_from(form));
    int64_t wait_s = seconds(device, "expires_in", 0, DEVICE_WAIT_MAX_S);
    int result = 1;

    if (!device)
        return 1;
    if (!member(device, "device_code") || !member(device, "user_code") ||
        !member(device, "verification_uri") || wait_s == 0) {
        cli_say(1,
            "%s: the answer has not all of device_code, user_code, "
            "verification_uri and expires_in",
            login->device_url);
    } else {
        print_code(device, wait_s);
        result = poll_for_token(login, device, wait_s);
    }
    json_decref(device);
    return result;
}

static bool folder_takes(struct cli *cli, const char *file)
{
    const char *slash = strrchr(file, '/');
    const char *folder = !slash          ? "."
                         : slash == file ? "/"
                                         : arena_printf(cli->arena, "%.*s",
                                               (int)(slash - file), file);
    return access(folder, W_OK | X_OK) == 0;
}

static int run_login(struct cli *cli)
{
    struct login login = {.cli = cli,
        .ca_file = cli_value(cli, "ca-file"),
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .came = PTHREAD_COND_INITIALIZER};
    struct errinfo info = {0};
    json_t *found;
    bool device = cli_has(cli, "device");
    int result;

    if (!cli_value(cli, "issuer") || !cli_value(cli, "client-id") ||
        !cli_value(cli, "write-token"))
        return cli_usage(
            cli, "--issuer, --client-id and --write-token are needed");
    /* Found out now, and not when somebody has signed in. */
    if (!folder_takes(cli, cli_value(cli, "write-token")))
        return cli_say(1, "--write-token: no file can be written at %s: %s",
            cli_value(cli, "write-token"), strerror(errno));
    if (crypto_init(&info) != ERR_OK)
        return cli_say(1, "%s", info.text);
    found = discover(&login, device);
    if (!found)
        return 1;
    result = device ? login_elsewhere(&login) : login_here(&login);
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
    {"device", NULL, CLI_FLAG, NULL,
        "there is no browser here: a code is entered elsewhere"},
    {"ca-file", "FILE", CLI_TEXT, NULL,
        "trust the authorities in this file alone"},
};
static const struct cli_command commands[] = {
    {"login", NULL, "", 0, 0, "Sign in with an identity provider",
        "Opens a port on 127.0.0.1 that the browser comes back to (code flow "
        "with PKCE);\nwith --device, shows a code for a browser on any machine "
        "instead (device flow,\nRFC 8628). The administrator is mapped by "
        "`bailiff admin sign-in`.",
        login_options, CLI_COUNT(login_options), run_login, NULL, false, true},
};
const struct cli_commands cli_login_commands = {commands, CLI_COUNT(commands)};
