/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/session.c - how a command reaches the admin API: over TLS where a
 * server elsewhere is named; through the Unix socket of the running server; or,
 * when no server runs, by taking DIR/lock and calling the same library in this
 * process. */
#include "proxy/cli/cli_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/http_client.h"
#include "lib/log.h"
#include "proxy/admin/admin.h"
#include "proxy/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX (64u << 20)
#define TOKEN_MAX 8192 /* an issuer's may be long */
#define CALL_TIMEOUT_US (600 * SECOND_US)

struct cli_session {
    struct settings *settings;
    bool online;
    const char *server; /* "https://HOST:PORT"; NULL: not elsewhere */
    const char *ca_file;
    const char *certificate, *key; /* NULL: none is shown */
    char token[TOKEN_MAX + 32];    /* "Bearer ..." or "" */
    struct control *control;       /* offline */
    struct admin *admin;
};

/* --- Opening --------------------------------------------------------- */

static bool read_token(struct cli *cli, struct cli_session *session)
{
    const char *variable = getenv("BAILIFF_ADMIN_TOKEN");
    struct errinfo info = {0};
    struct buf content;
    struct str token = str_from(variable), rest;

    buf_init(&content, 4096);
    if (cli->token_file) {
        if (file_read(cli->token_file, &content, &info) != ERR_OK) {
            cli_say(1, "%s", info.text);
            buf_fini(&content);
            return false;
        }
        str_split(buf_str(&content), '\n', &token, &rest);
    }
    token = str_trim(token);
    if (token.len > TOKEN_MAX) {
        cli_say(1, "that is no administrator's token: it is too long");
        buf_fini(&content);
        return false;
    }
    if (token.len > 0)
        snprintf(session->token, sizeof session->token, "Bearer %.*s",
            STR_ARG(token));
    crypto_wipe(content.ptr, content.ptr ? content.cap : 0);
    buf_fini(&content);
    return true;
}

/* 1: a server answers; 0: none; -1: not allowed there (said). */
static int try_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = 0;

    if (fd < 0 || strlen(path) >= sizeof address.sun_path) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        result = 1;
    else if (errno == EACCES) {
        cli_say(1,
            "%s: this user may not use the admin socket; become root or a "
            "member of the group that owns it",
            path);
        result = -1;
    }
    close(fd);
    return result;
}

static void offline_failed(void *context, const char *why)
{
    (void)context;
    cli_say(1, "the audit log cannot be written: %s", why);
    _exit(1);
}

static bool open_offline(
    struct cli *cli, const char *dir, struct cli_session *session)
{
    const struct control_options options = {
        .dir = dir,
        .without_index = strcmp(cli->command->noun, "audit") != 0,
        .segment_bytes = (uint64_t)session->settings->segment_bytes,
    };
    struct errinfo info = {0};
    enum err err;

    log_setup(LOG_WARN, LOG_TEXT);
    err = crypto_init(&info);
    if (!err)
        err = control_open(&options, &session->control, &info);
    if (!err)
        err = control_start(session->control, offline_failed, NULL, &info);
    if (!err)
        err = admin_new(session->control, NULL, &session->admin, &info);
    if (err) {
        cli_say(1, "%s", info.text[0] ? info.text : err_name(err));
        return false;
    }
    return true;
}

/* "https://HOST:PORT" without a path; NULL: said. */
static const char *read_server(struct cli *cli, const char *url)
{
    struct str text = str_from(url), host;

    if (!str_starts(text, STR("https://"))) {
        cli_say(2,
            "--server \"%s\": it must be https://HOST:PORT, so that nobody "
            "between can read the token",
            url);
        return NULL;
    }
    if (text.ptr[text.len - 1] == '/')
        text.len--;
    host = str_make(text.ptr + 8, text.len > 8 ? text.len - 8 : 0);
    if (host.len == 0 || strcspn(host.ptr, "/?#@ ") < host.len) {
        cli_say(2, "--server \"%s\": HOST:PORT, and nothing else", url);
        return NULL;
    }
    return arena_cstr(cli->arena, text);
}

/* As given, or the variable; NULL: neither. */
static const char *given_or(const char *given, const char *variable)
{
    const char *value = given ? given : getenv(variable);

    return value && value[0] ? value : NULL;
}

/* A key beside no certificate is a mistake; files that are not there are said
 * by their names, which the library does not do. */
static bool read_certificate(struct cli *cli, struct cli_session *session)
{
    const char *files[2];

    session->certificate = given_or(cli->certificate, "BAILIFF_CERTIFICATE");
    session->key = given_or(cli->key, "BAILIFF_CERTIFICATE_KEY");
    if (cli->key && !session->certificate) {
        cli_say(2, "--key is the key of a certificate: give --certificate "
                   "FILE as well");
        return false;
    }
    if (!session->certificate)
        return true;
    files[0] = session->certificate;
    files[1] = session->key;
    for (int i = 0; i < 2; i++)
        if (files[i] && access(files[i], R_OK) != 0) {
            cli_say(1, "%s: %s", files[i], strerror(errno));
            return false;
        }
    return true;
}

static bool open_remote(struct cli *cli, struct cli_session *session)
{
    session->server = read_server(cli, cli_server(cli));
    session->ca_file = given_or(cli->ca_file, "BAILIFF_CA");
    if (!session->server || !read_token(cli, session) ||
        !read_certificate(cli, session))
        return false;
    if (!session->token[0] && !session->certificate) {
        cli_say(1, "a server elsewhere asks for an administrator's token: give "
                   "--token-file FILE, or set BAILIFF_ADMIN_TOKEN (or "
                   "--certificate FILE --key FILE where a certificate alone "
                   "is allowed)");
        return false;
    }
    session->online = true;
    return true;
}

static bool open_session(struct cli *cli)
{
    const char *dir;
    struct cli_session *session;
    struct buf findings;
    int socket_state;
    enum err err;

    if (cli->session)
        return true;
    session = calloc(1, sizeof *session);
    if (!session) {
        cli_say(1, "out of memory");
        return false;
    }
    cli->session = session;
    if (cli_server(cli))
        return open_remote(cli, session);
    if (cli->certificate || cli->key) {
        cli_say(2, "--certificate is shown to a server elsewhere: give "
                   "--server https://HOST:PORT (its admin_listen) as well");
        return false;
    }
    dir = cli_state_dir(cli);
    if (!dir)
        return false;
    buf_init(&findings, 65536);
    err = settings_load(dir, &session->settings, &findings);
    if (err) {
        fprintf(stderr, "%.*s", STR_ARG(buf_str(&findings)));
        cli_say(1, "%s/bailiff.conf is not good; `bailiff check %s` says more",
            dir, dir);
    }
    buf_fini(&findings);
    if (err || !read_token(cli, session))
        return false;
    socket_state = try_socket(session->settings->admin_socket);
    if (socket_state < 0)
        return false;
    session->online = socket_state > 0;
    return session->online || open_offline(cli, dir, session);
}

bool cli_session_is_online(struct cli *cli)
{
    return cli->session && cli->session->online;
}

void cli_session_close(struct cli *cli)
{
    struct cli_session *session = cli->session;

    if (!session)
        return;
    admin_free(&session->admin);
    control_close(&session->control);
    settings_free(&session->settings);
    crypto_wipe(session->token, sizeof session->token);
    free(session);
    cli->session = NULL;
}

/* --- Calls ----------------------------------------------------------- */

static int call_online(struct cli *cli, const char *method, const char *path,
    struct str body, struct buf *out, char etag[32])
{
    struct cli_session *session = cli->session;
    char header[TOKEN_MAX + 64];
    const char *headers[5] = {"Content-Type: application/json"};
    size_t count = 1;
    struct str tag;
    struct http_client_answer answer = {0};
    struct errinfo info = {0};
    struct buf url;
    int status = 0;
    struct http_client_request request = {
        .method = method,
        .unix_socket = session->server ? NULL : session->settings->admin_socket,
        .ca_file = session->ca_file,
        .certificate = session->certificate,
        .certificate_key = session->key,
        .headers = headers,
        .body = body,
        .timeout_us = CALL_TIMEOUT_US,
        .max_answer = ANSWER_MAX,
    };

    if (session->token[0]) {
        snprintf(header, sizeof header, "Authorization: %s", session->token);
        headers[count++] = header;
    }
    if (cli->if_match && strcmp(method, "GET") != 0)
        headers[count++] =
            arena_printf(cli->arena, "If-Match: %s", cli->if_match);
    if (cli->idempotency_key && strcmp(method, "GET") != 0)
        headers[count++] = arena_printf(
            cli->arena, "Idempotency-Key: %s", cli->idempotency_key);
    buf_init(&url, 65536);
    buf_printf(&url, "%s%s",
        session->server ? session->server : "http://localhost", path);
    request.url = buf_cstr(&url);
    if (http_client_request(&request, &answer, &info) != ERR_OK) {
        cli_say(1, "%s", info.text);
    } else {
        status = answer.status;
        buf_append_str(out, buf_str(&answer.body));
        tag = http_client_header(&answer, "ETag");
        snprintf(etag, 32, "%.*s", (int)(tag.len < 31 ? tag.len : 31),
            tag.ptr ? tag.ptr : "");
    }
    http_client_answer_fini(&answer);
    crypto_wipe(header, sizeof header);
    buf_fini(&url);
    return status;
}

static int call_offline(struct cli *cli, const char *method, const char *path,
    struct str body, struct buf *out, char etag[32])
{
    struct cli_session *session = cli->session;
    struct admin_request request = {
        .method = str_from(method),
        .authorization = str_from(session->token),
        .body = body,
        .if_match = str_from(cli->if_match),
        .idempotency_key = str_from(cli->idempotency_key),
        .offline = true,
        .uid = (long)getuid(),
    };
    struct admin_response response = {0};
    int status;

    str_split(str_from(path), '?', &request.path, &request.query);
    buf_init(&response.body, ANSWER_MAX);
    admin_handle(session->admin, &request, &response);
    buf_append_str(out, buf_str(&response.body));
    status = response.status;
    snprintf(etag, 32, "%s", response.etag);
    buf_fini(&response.body);
    return status;
}

/* "riskClass" and "risk-class": the same words. */
static bool same_words(const char *field, const char *option)
{
    for (; *field && *option; field++, option++) {
        if (*field >= 'A' && *field <= 'Z') {
            if (*option++ != '-' || *option != *field - 'A' + 'a')
                return false;
        } else if (*field != *option) {
            return false;
        }
    }
    return !*field && !*option;
}

/* "riskClass" is "--risk-class" to whoever typed that. */
static const char *shown_field(const struct cli *cli, const char *field)
{
    for (size_t i = 0; i < cli->command->option_count; i++) {
        const struct cli_option *option = &cli->command->options[i];
        if (option->field ? strcmp(option->field, field) == 0
                          : same_words(field, option->name))
            return arena_printf(cli->arena, "--%s", option->name);
    }
    return field;
}

/* The detail, which begins with the first wrong member where there is one. */
static void say_detail(
    const struct cli *cli, const json_t *errors, const char *detail)
{
    const char *field =
        json_string_value(json_object_get(json_array_get(errors, 0), "field"));
    size_t length = field ? strlen(field) : strcspn(detail, ": ");

    fputs("bailiff: ", stderr);
    if (!field)
        field = arena_printf(cli->arena, "%.*s", (int)length, detail);
    if (field && strncmp(detail, field, length) == 0 && detail[length] == ':') {
        cli_print_safe(stderr, shown_field(cli, field));
        detail += length;
    }
    cli_print_safe(stderr, detail);
    fputc('\n', stderr);
}

/* A problem document in words. */
static void say_problem(
    const struct cli *cli, int status, const json_t *problem, struct str raw)
{
    const json_t *errors = json_object_get(problem, "errors");
    const char *detail = json_string_value(json_object_get(problem, "detail"));

    if (!detail) {
        cli_say(1, "the admin API answered %d: %.*s", status,
            (int)(raw.len < 500 ? raw.len : 500), raw.ptr);
        return;
    }
    say_detail(cli, errors, detail);
    for (size_t i = 1; i < json_array_size(errors); i++) {
        const json_t *error = json_array_get(errors, i);
        const char *field = json_string_value(json_object_get(error, "field"));
        const char *message =
            json_string_value(json_object_get(error, "message"));
        fputs("         ", stderr);
        if (field && strcmp(field, "text") != 0) {
            cli_print_safe(stderr, shown_field(cli, field));
            fputs(": ", stderr);
        }
        cli_print_safe(stderr, message ? message : "");
        fputc('\n', stderr);
    }
}

/* The change was not made, but proposed. */
static void say_waiting(struct cli *cli, const json_t *proposal)
{
    if (cli->json) {
        cli_print_json(proposal);
        return;
    }
    cli_print_done("nothing is changed yet: this takes {required} other "
                   "person(s) ({rule}).\nIt waits as proposal {id}; one of "
                   "them agrees with: bailiff proposal approve {id}",
        proposal);
}

int cli_call(struct cli *cli, const char *method, const char *path,
    json_t *body, json_t **answer, int *status_out)
{
    struct buf raw;
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct str sent = str_from(text);
    json_t *value = NULL;
    int status = 0, result = 1;
    char etag[32] = "";

    buf_init(&raw, ANSWER_MAX);
    if (body && !text) {
        cli_say(1, "out of memory");
        goto out;
    }
    if (!open_session(cli))
        goto out;
    status = cli->session->online
                 ? call_online(cli, method, path, sent, &raw, etag)
                 : call_offline(cli, method, path, sent, &raw, etag);
    if (status == 0)
        goto out;
    value = json_loadb(buf_str(&raw).ptr, raw.len, JSON_DECODE_ANY, NULL);
    if (status >= 400) {
        say_problem(cli, status, value, buf_str(&raw));
        goto out;
    }
    if (!value) {
        cli_say(1, "the admin API's answer is no JSON");
        goto out;
    }
    if (status == 202 && json_object_get(value, "approvals")) {
        say_waiting(cli, value);
        result = 3;
        goto out;
    }
    if (cli->json && etag[0] && json_is_object(value))
        json_object_set_new(value, "etag", json_string(etag));
    *answer = value;
    value = NULL;
    result = 0;
out:
    if (status_out)
        *status_out = status;
    json_decref(value);
    json_decref(body);
    free(text);
    buf_fini(&raw);
    return result;
}

/* --- Commands that are one call -------------------------------------- */

const char *cli_encode(struct cli *cli, const char *text)
{
    size_t n = strlen(text);
    char *out = arena_alloc(cli->arena, 3 * n + 1), *to = out;

    if (!out) {
        cli_say(1, "out of memory");
        exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                     (c >= 'a' && c <= 'z') || (c && strchr("-._~", c));
        if (plain)
            *to++ = (char)c;
        else
            to += snprintf(to, 4, "%%%02X", c);
    }
    *to = '\0';
    return out;
}

static const char *expand_path(struct cli *cli, const char *pattern)
{
    struct buf out;
    const char *path;

    buf_init(&out, 65536);
    for (const char *p = pattern; *p; p++) {
        if (p[0] == '{' && p[1] >= '0' && p[1] <= '9' && p[2] == '}') {
            buf_append_str(
                &out, str_from(cli_encode(cli, cli->args[p[1] - '0'])));
            p += 2;
        } else {
            buf_append_char(&out, *p);
        }
    }
    path = arena_cstr(cli->arena, buf_str(&out));
    buf_fini(&out);
    return path;
}

const char *cli_with_query(
    struct cli *cli, const char *path, const json_t *body)
{
    struct buf out;
    const char *key, *result;
    json_t *value, *all = json_deep_copy(body);
    char number[32];
    bool first = strchr(path, '?') == NULL;

    buf_init(&out, 65536);
    buf_append_str(&out, str_from(path));
    json_object_foreach(all, key, value)
    {
        const char *text = json_string_value(value);
        if (json_is_integer(value)) {
            snprintf(number, sizeof number, "%lld",
                (long long)json_integer_value(value));
            text = number;
        } else if (json_is_boolean(value)) {
            text = json_is_true(value) ? "true" : "false";
        }
        buf_printf(&out, "%c%s=%s", first ? '?' : '&', key,
            cli_encode(cli, text ? text : ""));
        first = false;
    }
    result = arena_cstr(cli->arena, buf_str(&out));
    json_decref(all);
    buf_fini(&out);
    return result;
}

int cli_run_rest(struct cli *cli)
{
    const struct cli_rest *rest = cli->command->rest;
    const char *path = expand_path(cli, rest->path);
    bool has_body =
        strcmp(rest->method, "GET") != 0 && strcmp(rest->method, "DELETE") != 0;
    json_t *body = cli_body(cli, rest->fields), *answer = NULL;
    int result;

    if (!body)
        return 2;
    if (!has_body) {
        path = cli_with_query(cli, path, body);
        json_decref(body);
        body = NULL;
    }
    result = cli_call(cli, rest->method, path, body, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else if (json_object_get(answer, "items"))
        cli_print_table(json_object_get(answer, "items"), rest->columns,
            rest->column_count, rest->empty);
    else if (rest->done)
        cli_print_done(rest->done, answer);
    else
        cli_print_record(answer, rest->columns, rest->column_count);
    json_decref(answer);
    return 0;
}

bool cli_read_file(const char *path, struct buf *out)
{
    struct errinfo info = {0};
    char chunk[65536];
    size_t n;

    if (strcmp(path, "-") != 0) {
        if (file_read(path, out, &info) == ERR_OK)
            return true;
        cli_say(1, "%s", info.text);
        return false;
    }
    while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        buf_append(out, chunk, n);
    if (out->failed || ferror(stdin)) {
        cli_say(1, "standard input cannot be read, or is too long");
        return false;
    }
    return true;
}
