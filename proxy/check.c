/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/check.c - everything that can be known to be wrong before serving.
 *
 * An error is what `serve` would refuse, or what would fail every request; a
 * warning is what works and should not stay so. Where the lock is free it is
 * taken (the log is then recovered as a start would do); while a server runs
 * the databases are only read. */
#include "proxy/check.h"

#include "audit/log.h"
#include "engine/target.h"
#include "lib/arena.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/http_client.h"
#include "lib/log.h"
#include "proxy/admin/admin.h"
#include "proxy/control.h"
#include "proxy/settings.h"
#include "proxy/snapshot.h"
#include "proxy/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <jansson.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#define PROBE_TIMEOUT_US (2 * SECOND_US)
#define CERTIFICATE_WARN_US (30 * DAY_US)
#define CLOCK_SLACK_US (5 * SECOND_US)

struct check {
    const struct check_options *options;
    FILE *out;
    unsigned errors, warnings;
    struct settings *settings;
    struct control *control;
    struct admin *admin;
    struct arena *arena;
};

static void report(struct check *c, bool is_error, const char *format, ...)
    PRINTFLIKE(3, 4);
static void report(struct check *c, bool is_error, const char *format, ...)
{
    va_list arguments;

    fputs(is_error ? "error: " : "warning: ", c->out);
    va_start(arguments, format);
    vfprintf(c->out, format, arguments);
    va_end(arguments);
    fputc('\n', c->out);
    if (is_error)
        c->errors++;
    else
        c->warnings++;
}
#define ERROR(c, ...) report((c), true, __VA_ARGS__)
#define WARN(c, ...) report((c), false, __VA_ARGS__)

/* --- Settings and files ---------------------------------------------- */

static void check_settings(struct check *c)
{
    struct buf findings;
    struct str rest, line;

    buf_init(&findings, 1 << 20);
    if (settings_load(c->options->dir, &c->settings, &findings) != ERR_OK) {
        rest = buf_str(&findings);
        while (rest.len > 0) {
            str_split(rest, '\n', &line, &rest);
            if (line.len > 0)
                ERROR(c, "%.*s", STR_ARG(line));
        }
        if (findings.len == 0)
            ERROR(c, "bailiff.conf: out of memory");
    }
    buf_fini(&findings);
}

/* As status says it, too. */
#define NOT_STAPLED "no OCSP response is stapled: "

static void check_pair(
    struct check *c, const char *certificate, const char *key, const char *ocsp)
{
    struct tls_context *tls = NULL;
    struct errinfo info = {0};
    char why[512];
    int64_t left, until;

    if (tls_context_new(certificate, key, ocsp, &tls, &info) != ERR_OK) {
        ERROR(c, "%s", info.text);
        return;
    }
    left = tls_context_expires(tls) - clock_now();
    if (left <= 0)
        ERROR(c, "%s has expired", certificate);
    else if (left < CERTIFICATE_WARN_US)
        WARN(c,
            "%s expires in %lld days: put a new one in its place and send "
            "SIGHUP",
            certificate, (long long)(left / DAY_US));
    tls_context_staple(tls, why, &until);
    if (why[0])
        WARN(c, NOT_STAPLED "%s", why);
    tls_context_unref(&tls);
}

static void check_certificate(struct check *c)
{
    const struct settings *s = c->settings;

    if (!s)
        return;
    check_pair(c, s->certificate, s->certificate_key, s->certificate_ocsp);
    /* Often the same files: said once is enough. */
    if (s->admin_listen[0] && (strcmp(s->admin_certificate, s->certificate) ||
                                  strcmp(s->admin_key, s->certificate_key) ||
                                  strcmp(s->admin_ocsp, s->certificate_ocsp)))
        check_pair(c, s->admin_certificate, s->admin_key, s->admin_ocsp);
}

/* Every bit of `forbidden` that the file's mode has is said. */
static void check_mode(
    struct check *c, const char *path, mode_t forbidden, bool is_error)
{
    struct stat status;

    if (stat(path, &status) != 0) {
        if (errno == ENOENT)
            ERROR(c, "%s is missing", path);
        else
            ERROR(c, "%s: %s", path, strerror(errno));
        return;
    }
    if ((status.st_mode & forbidden) == 0)
        return;
    report(c, is_error, "%s can be %s by others (mode %03o): chmod %s %s", path,
        (status.st_mode & forbidden & 044) ? "read" : "written",
        (unsigned)(status.st_mode & 0777), forbidden & 044 ? "go=" : "go-w",
        path);
}

/* Whoever copies the directory should not be able to sign in the log's name. */
static void check_log_key(struct check *c, const char *given)
{
    char *path =
        given ? strdup(given) : file_join(c->options->dir, "keys/log.key");
    char *dir = realpath(c->options->dir, NULL);
    char *key = path ? realpath(path, NULL) : NULL;

    if (!key)
        ERROR(c, "log_key_file: %s: %s", path ? path : "", strerror(errno));
    else
        check_mode(c, path, 077, true);
    if (given && dir && key && str_starts(str_from(key), str_from(dir)) &&
        key[strlen(dir)] == '/')
        WARN(c,
            "the log's signing key is inside the state directory (%s): who "
            "copies that can sign another history. Put it elsewhere "
            "(log_key_file in bailiff.conf)",
            path);
    free(path);
    free(dir);
    free(key);
}

static void check_modes(struct check *c)
{
    static const struct {
        const char *name;
        mode_t forbidden;
        bool is_error;
    } files[] = {
        {"keys", 077, true},
        {"keys/master.key", 077, true},
        {"persons.db", 077, true},
        {"control.db", 022, true},
        {"control.db", 044, false},
        {"journal", 022, true},
    };
    const struct settings *settings = c->settings;

    check_mode(c, c->options->dir, 022, true);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *path = file_join(c->options->dir, files[i].name);
        if (path)
            check_mode(c, path, files[i].forbidden, files[i].is_error);
        free(path);
    }
    check_log_key(c, settings ? settings->log_key_file : NULL);
    if (settings && file_exists(settings->certificate_key))
        check_mode(c, settings->certificate_key, 007, true);
    if (settings && settings->admin_listen[0] &&
        strcmp(settings->admin_key, settings->certificate_key) != 0 &&
        file_exists(settings->admin_key))
        check_mode(c, settings->admin_key, 007, true);
}

/* Expiry of keys, windows of quotas and every time on record hang on it. */
static void check_clock(struct check *c)
{
    struct timex state = {0};
    struct db_statement *s;
    int64_t newest = 0;

    if (adjtimex(&state) == TIME_ERROR || (state.status & STA_UNSYNC))
        WARN(c, "the system clock is not synchronised, so times on record are "
                "only as good as it is: install chrony, or switch on "
                "systemd-timesyncd");
    if (!c->control ||
        db_prepare(control_db(c->control),
            "SELECT max(ifnull((SELECT max(time) FROM policy_act), 0), "
            "ifnull((SELECT max(created) FROM administrator), 0), "
            "ifnull((SELECT max(created) FROM api_key), 0))",
            &s, NULL) != ERR_OK)
        return;
    if (db_step(s, NULL) == ERR_OK)
        newest = db_column_int(s, 0);
    db_reset(s);
    if (newest > clock_now() + CLOCK_SLACK_US) {
        char text[CLOCK_TEXT_LENGTH];
        clock_format(text, newest);
        ERROR(c,
            "the system clock is behind what is on record (%.*s): set it "
            "before serving",
            (int)sizeof text, text);
    }
}

static void check_room(struct check *c)
{
    struct statvfs room;
    uint64_t wanted =
        c->settings ? (uint64_t)c->settings->segment_bytes * 2 : 0;

    if (statvfs(c->options->dir, &room) == 0 &&
        (uint64_t)room.f_bavail * room.f_frsize < wanted)
        WARN(c,
            "%s has room for %llu MiB only; the journal sets %llu MiB aside "
            "at a time, and without room nothing is forwarded",
            c->options->dir,
            (unsigned long long)(room.f_bavail * room.f_frsize >> 20),
            (unsigned long long)(wanted / 2 >> 20));
}

/* --- The control state ----------------------------------------------- */

static void log_failed(void *context, const char *why)
{
    (void)context;
    fprintf(stderr, "bailiff: the audit log cannot be written: %s\n", why);
}

static bool open_control(struct check *c)
{
    struct control_options options = {
        .dir = c->options->dir,
        .adopt = c->options->adopt,
        .adopt_reason = c->options->reason,
        .without_index = true,
        .segment_bytes = c->settings ? (uint64_t)c->settings->segment_bytes : 0,
    };
    struct errinfo info = {0};
    enum err err = control_open(&options, &c->control, &info);

    if (err == ERR_AGAIN && !c->options->adopt) {
        fputs("note: a server (or another command) is at work here; the "
              "databases are read\n      beside it, the log is left to it\n",
            c->out);
        options.without_lock = true;
        info.text[0] = '\0';
        err = control_open(&options, &c->control, &info);
    }
    if (!err && c->options->adopt) {
        err = control_start(c->control, log_failed, NULL, &info);
        if (!err)
            fprintf(c->out, "note: the control state is adopted; the reason "
                            "is on record\n");
    }
    if (!err)
        err = admin_new(c->control, NULL, &c->admin, &info);
    if (err)
        ERROR(c, "%s", info.text[0] ? info.text : err_name(err));
    return err == ERR_OK;
}

/* One reading of the admin API in this process; body is taken. NULL: said. */
static json_t *ask(
    struct check *c, const char *method, const char *path, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    const struct admin_request request = {
        .method = str_from(method),
        .path = str_from(path),
        .body = str_from(text),
        .offline = true,
        .uid = (long)getuid(),
    };
    struct admin_response response = {0};
    json_t *answer;

    buf_init(&response.body, 64u << 20);
    admin_handle(c->admin, &request, &response);
    answer =
        json_loadb(buf_str(&response.body).ptr, response.body.len, 0, NULL);
    if (response.status >= 400) {
        const char *detail =
            json_string_value(json_object_get(answer, "detail"));
        /* No active version is said by the status already. */
        if (response.status != 404)
            ERROR(c, "%s: %s", path, detail ? detail : "no answer");
        json_decref(answer);
        answer = NULL;
    }
    buf_fini(&response.body);
    free(text);
    json_decref(body);
    return answer;
}

static void check_warnings(struct check *c)
{
    json_t *status = ask(c, "GET", "/v1/status", NULL);
    const json_t *warnings = json_object_get(status, "warnings");
    const json_t *state = json_object_get(status, "state");

    for (size_t i = 0; i < json_array_size(warnings); i++) {
        const char *text = json_string_value(json_array_get(warnings, i));
        /* check_certificate has said it. */
        if (!c->settings ||
            (!str_starts(str_from(text), str_from(c->settings->certificate)) &&
                !str_starts(
                    str_from(text), str_from(c->settings->admin_certificate)) &&
                !str_starts(str_from(text), STR(NOT_STAPLED))))
            WARN(c, "%s", text);
    }
    if (status && json_integer_value(json_object_get(state, "anchors")) == 0)
        WARN(c,
            "no anchors: nobody else holds a checkpoint, so a cut log could "
            "not be proven (bailiff anchor add NAME file PATH)");
    if (status &&
        json_integer_value(json_object_get(state, "administrators")) == 0)
        WARN(c, "no administrator is in force: only root can change anything, "
                "without a name on record");
    json_decref(status);
}

static void check_rules(struct check *c)
{
    json_t *active = ask(c, "GET", "/v1/policies/active", NULL), *answer;
    const json_t *findings;
    char name[40];

    if (!active)
        return;
    snprintf(name, sizeof name, "version-%lld",
        (long long)json_integer_value(json_object_get(active, "version")));
    answer = ask(c, "POST", "/v1/policies/validate",
        json_pack("{s:O,s:s}", "text", json_object_get(active, "text"), "name",
            name));
    findings = json_object_get(answer, "findings");
    for (size_t i = 0; i < json_array_size(findings); i++)
        ERROR(c, "%s", json_string_value(json_array_get(findings, i)));
    json_decref(answer);
    json_decref(active);
}

static void check_snapshot(struct check *c)
{
    const struct snapshot_sources sources = {
        .control = control_db(c->control),
        .persons = control_persons(c->control),
        .now_us = clock_now(),
    };
    struct snapshot *snapshot = NULL;
    struct errinfo info = {0};

    if (snapshot_build(&sources, NULL, CHANGED_ALL, &snapshot, &info) != ERR_OK)
        ERROR(c, "control.db: %s", info.text);
    snapshot_unref(&snapshot);
}

static void check_anchors(struct check *c)
{
    json_t *answer = ask(c, "GET", "/v1/anchors", NULL);
    const json_t *items = json_object_get(answer, "items");

    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *anchor = json_array_get(items, i);
        const char *name = json_string_value(json_object_get(anchor, "name"));
        const char *kind = json_string_value(json_object_get(anchor, "kind"));
        const char *target =
            json_string_value(json_object_get(anchor, "target"));
        char *folder = strdup(target), *slash;

        if (strcmp(kind, "file") == 0 && folder &&
            (slash = strrchr(folder, '/'))) {
            slash[slash == folder] = '\0';
            if (access(folder, W_OK) != 0)
                WARN(c, "anchor %s: %s cannot be written", name, folder);
        }
        free(folder);
    }
    json_decref(answer);
}

static void check_sinks(struct check *c)
{
    static const char *const members[] = {"caFile", "credentialFile"};
    json_t *answer = ask(c, "GET", "/v1/sinks", NULL);
    const json_t *items = json_object_get(answer, "items");

    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *sink = json_array_get(items, i);
        for (size_t k = 0; k < 2; k++) {
            const char *path =
                json_string_value(json_object_get(sink, members[k]));
            if (path && path[0] != '\0' && access(path, R_OK) != 0)
                ERROR(c, "sink %s: %s cannot be read",
                    json_string_value(json_object_get(sink, "name")), path);
        }
    }
    json_decref(answer);
}

/* --- Engines --------------------------------------------------------- */

/* The status of a GET without a credential; 0: no answer. */
static int probe(const char *url, const char *unix_socket, const char *ca_file)
{
    const struct http_client_request request = {
        .url = url,
        .unix_socket = unix_socket,
        .ca_file = ca_file,
        .timeout_us = PROBE_TIMEOUT_US,
        .connect_timeout_us = PROBE_TIMEOUT_US / 2,
        .max_answer = 4u << 20,
    };
    struct http_client_answer answer = {0};
    int status = 0;

    if (http_client_request(&request, &answer, NULL) == ERR_OK)
        status = answer.status;
    http_client_answer_fini(&answer);
    return status;
}

#define REMEDY                                                                 \
    "anyone who reaches it goes round Bailiff. Bind it to 127.0.0.1 or a "     \
    "Unix "                                                                    \
    "socket, or give it a key (engine add --credential-file)"

/* The same port on this host's addresses that others can reach. */
static void probe_elsewhere(
    struct check *c, const char *name, const struct engine_target *target)
{
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) != 0)
        return;
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        char host[INET6_ADDRSTRLEN], url[256];
        const struct sockaddr *address = i->ifa_addr;
        bool v6;

        if (!address || (i->ifa_flags & IFF_LOOPBACK) ||
            !(i->ifa_flags & IFF_UP))
            continue;
        v6 = address->sa_family == AF_INET6;
        if (address->sa_family == AF_INET) {
            const struct sockaddr_in *in =
                (const struct sockaddr_in *)(const void *)address;
            inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        } else if (v6) {
            const struct sockaddr_in6 *in6 =
                (const struct sockaddr_in6 *)(const void *)address;
            if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
                continue;
            inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        } else {
            continue;
        }
        snprintf(url, sizeof url, "http://%s%s%s:%u%s/v1/models", v6 ? "[" : "",
            host, v6 ? "]" : "", target->port, target->base_path);
        if (probe(url, NULL, NULL) == 200)
            WARN(c,
                "engine %s answers without a credential on %s%s%s:%u "
                "too: " REMEDY,
                name, v6 ? "[" : "", host, v6 ? "]" : "", target->port);
    }
    freeifaddrs(all);
}

static bool is_loopback_host(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

static void check_engine(struct check *c, const json_t *engine)
{
    const char *name = json_string_value(json_object_get(engine, "name"));
    const char *url = json_string_value(json_object_get(engine, "url"));
    const char *ca = json_string_value(json_object_get(engine, "caFile"));
    const char *health =
        json_string_value(json_object_get(engine, "healthPath"));
    const char *base, *socket_path = NULL;
    struct engine_target target = {0};
    struct errinfo info = {0};
    struct stat status;

    if (engine_target_parse_url(c->arena, str_from(url), &target, &info)) {
        ERROR(c, "engine %s: %s", name, info.text);
        return;
    }
    if (target.scheme == ENGINE_UNIX) {
        base = "http://localhost";
        socket_path = target.host;
        if (stat(target.host, &status) == 0 && (status.st_mode & 0002))
            WARN(c,
                "engine %s: every user may connect to %s (mode %03o): " REMEDY,
                name, target.host, (unsigned)(status.st_mode & 0777));
    } else {
        base = url;
    }
    if (probe(arena_printf(c->arena, "%s%s", base, health), socket_path,
            ca && ca[0] ? ca : NULL) == 0) {
        WARN(c, "engine %s does not answer at %s", name, url);
        return;
    }
    if (target.scheme == ENGINE_UNIX)
        return;
    if (is_loopback_host(target.host))
        probe_elsewhere(c, name, &target);
    else if (probe(arena_printf(c->arena, "%s/v1/models", base), NULL,
                 ca && ca[0] ? ca : NULL) == 200)
        WARN(c, "engine %s answers without a credential at %s: " REMEDY, name,
            url);
}

static void check_engines(struct check *c)
{
    json_t *answer = ask(c, "GET", "/v1/engines", NULL);
    const json_t *items = json_object_get(answer, "items");

    for (size_t i = 0; i < json_array_size(items); i++)
        check_engine(c, json_array_get(items, i));
    if (answer && json_array_size(items) == 0)
        WARN(c, "no engine is registered");
    json_decref(answer);
}

/* --- All of it ------------------------------------------------------- */

int check_state(const struct check_options *options, FILE *out)
{
    struct check c = {.options = options, .out = out};
    struct errinfo info = {0};

    log_setup(LOG_ERROR, LOG_TEXT);
    c.arena = arena_new(65536, 16u << 20);
    if (!c.arena || crypto_init(&info) != ERR_OK) {
        fprintf(stderr, "bailiff: %s\n",
            info.text[0] ? info.text : "out of memory");
        arena_free(&c.arena);
        return 1;
    }
    if (file_exists(options->dir)) {
        check_settings(&c);
        check_certificate(&c);
        check_modes(&c);
        check_room(&c);
    }
    if (open_control(&c)) {
        check_clock(&c);
        check_warnings(&c);
        check_rules(&c);
        check_snapshot(&c);
        check_anchors(&c);
        check_sinks(&c);
        check_engines(&c);
    }
    admin_free(&c.admin);
    control_close(&c.control);
    settings_free(&c.settings);
    arena_free(&c.arena);
    fprintf(out, "%u error%s, %u warning%s\n", c.errors,
        c.errors == 1 ? "" : "s", c.warnings, c.warnings == 1 ? "" : "s");
    return c.errors > 0 ? 1 : 0;
}
