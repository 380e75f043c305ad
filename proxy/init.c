/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/init.c - a new state directory: files first, then the control state
 * through the admin API's own operations, so that everything in it is on
 * record from the first entry on. */
#include "proxy/init.h"

#include "audit/entry.h"
#include "audit/log.h"
#include "audit/seal.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "policy/starter.h"
#include "proxy/admin/admin.h"
#include "proxy/control.h"
#include "proxy/settings.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CERTIFICATE_DAYS 825
#define RULES_NAME "starter.cedar"

/* --- The directory --------------------------------------------------- */

/* An empty directory may be there already (a mount, systemd's StateDirectory).
 */
static enum err make_empty_dir(
    const char *dir, bool *made, struct errinfo *info)
{
    DIR *open;
    struct dirent *entry;
    char found[256] = "";

    if (mkdir(dir, 0700) == 0) {
        *made = true;
        return ERR_OK;
    }
    if (errno != EEXIST)
        return errinfo_errno(info, ERR_IO, "%s cannot be made", dir);
    open = opendir(dir);
    if (!open)
        return errinfo_errno(info, ERR_IO, "%s", dir);
    while ((entry = readdir(open)))
        if (strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "lost+found") != 0)
            snprintf(found, sizeof found, "%s", entry->d_name);
    closedir(open);
    if (found[0])
        return errinfo_set(info, ERR_EXISTS,
            "%s is not empty (it holds %s); init makes a new state and "
            "touches no old one: name another directory, or move this one away",
            dir, found);
    if (chmod(dir, 0700) != 0)
        return errinfo_errno(info, ERR_IO, "%s: chmod 0700", dir);
    return ERR_OK;
}

static int remove_one(
    const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    if (where->level > 0)
        (void)remove(path);
    return 0;
}

/* Only ever called on a directory that was empty when init began. */
static void remove_all(const char *dir, bool made)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (made)
        rmdir(dir);
}

/* --- Files ----------------------------------------------------------- */

static enum err write_file(const char *dir, const char *name,
    const char *content, mode_t mode, struct errinfo *info)
{
    char *path = file_join(dir, name);
    enum err err =
        path ? file_create(path, str_from(content), mode, info) : ERR_NOMEM;

    free(path);
    return err;
}

static enum err make_certificates(const char *dir, struct errinfo *info)
{
    struct crypto_certificates made = {0};
    char host[256] = "", name[300];
    const char *names[4] = {"localhost", "127.0.0.1", "::1", host};
    char *tls = file_join(dir, "tls");
    enum err err = tls ? file_make_dir(tls, 0700, info) : ERR_NOMEM;

    if (!err && gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    snprintf(name, sizeof name, "Bailiff local CA (%s)",
        host[0] ? host : "this host");
    if (!err)
        err = crypto_make_certificates(name, names,
            host[0] && strcmp(host, "localhost") != 0 ? 4 : 3, CERTIFICATE_DAYS,
            &made, info);
    if (!err)
        err = write_file(tls, "ca.pem", made.ca_certificate, 0644, info);
    if (!err)
        err = write_file(tls, "ca.key", made.ca_key, 0600, info);
    if (!err)
        err = write_file(tls, "server.pem", made.certificate, 0644, info);
    if (!err)
        err = write_file(tls, "server.key", made.key, 0600, info);
    if (made.ca_key)
        crypto_wipe(made.ca_key, strlen(made.ca_key));
    if (made.key)
        crypto_wipe(made.key, strlen(made.key));
    free(made.ca_certificate);
    free(made.ca_key);
    free(made.certificate);
    free(made.key);
    free(tls);
    return err;
}

static enum err make_database(
    const char *dir, const char *name, enum db_kind kind, struct errinfo *info)
{
    char *path = file_join(dir, name);
    struct db *db = NULL;
    enum err err = path ? db_open(path, kind, true, &db, info) : ERR_NOMEM;

    db_close(&db);
    free(path);
    return err;
}

static enum err write_settings(const char *dir, struct errinfo *info)
{
    struct buf text;
    enum err err;

    buf_init(&text, 1 << 20);
    settings_write_default(&text);
    err = text.failed
              ? ERR_NOMEM
              : write_file(dir, "bailiff.conf", buf_cstr(&text), 0640, info);
    buf_fini(&text);
    return err;
}

/* --- Defaults -------------------------------------------------------- */

static void choose_origin(
    const struct init_options *options, struct init_result *result)
{
    char host[128] = "localhost";
    uint8_t random[4];
    char hex[9];

    if (options->origin) {
        snprintf(result->origin, sizeof result->origin, "%s", options->origin);
        return;
    }
    if (gethostname(host, sizeof host - 1) != 0 || !host[0])
        snprintf(host, sizeof host, "localhost");
    crypto_random(random, sizeof random);
    hex_write(hex, random, sizeof random);
    snprintf(result->origin, sizeof result->origin, "%s/bailiff-%s", host, hex);
}

static void choose_administrator(
    const struct init_options *options, struct init_result *result)
{
    const char *name = options->administrator;
    const struct passwd *user;

    if (!name)
        name = getenv("SUDO_USER");
    if (!name || !name[0]) {
        user = getpwuid(getuid());
        name = user && getuid() != 0 ? user->pw_name : "admin";
    }
    snprintf(result->administrator, sizeof result->administrator, "%s", name);
}

static void choose_zone(
    const struct init_options *options, struct init_result *result)
{
    char link[256];
    const char *name = options->zone;
    struct clock_zone *zone = NULL;
    ssize_t n;

    if (!name && (n = readlink("/etc/localtime", link, sizeof link - 1)) > 0) {
        link[n] = '\0';
        name = strstr(link, "zoneinfo/");
        name = name ? name + strlen("zoneinfo/") : NULL;
        if (name && clock_zone_load(name, &zone, NULL) != ERR_OK)
            name = NULL;
        clock_zone_free(&zone);
    }
    snprintf(result->zone, sizeof result->zone, "%s", name ? name : "UTC");
}

/* --- The control state ----------------------------------------------- */

/* One call of the admin API in this process; body is taken. */
static enum err admin_do(struct admin *admin, const char *method,
    const char *path, json_t *body, json_t **answer, struct errinfo *info)
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
    json_t *value;
    enum err err = ERR_OK;

    buf_init(&response.body, 16u << 20);
    admin_handle(admin, &request, &response);
    value = json_loadb(buf_str(&response.body).ptr, response.body.len, 0, NULL);
    if (response.status >= 400 || !value) {
        const char *detail =
            json_string_value(json_object_get(value, "detail"));
        err = detail ? errinfo_set(info, ERR_INVALID, "%s", detail)
                     : errinfo_set(
                           info, ERR_INVALID, "%s %s: no answer", method, path);
    }
    if (!err && answer)
        *answer = json_incref(value);
    json_decref(value);
    buf_fini(&response.body);
    if (text)
        crypto_wipe(text, strlen(text));
    free(text);
    json_decref(body);
    return err;
}

/* The teams and groups of models that the starter rules name. */
static enum err make_named(
    struct admin *admin, struct init_result *result, struct errinfo *info)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < policy_starter_team_count && !err; i++) {
        const struct policy_starter_team *team = &policy_starter_teams[i];
        json_t *body = json_pack("{s:s%,s:s%}", "name", team->name.ptr,
            team->name.len, "title", team->title.ptr, team->title.len);
        if (team->parent.len > 0)
            json_object_set_new(body, "parent",
                json_stringn(team->parent.ptr, team->parent.len));
        err = admin_do(admin, "POST", "/v1/teams", body, NULL, info);
        result->teams++;
    }
    for (size_t i = 0; i < policy_starter_group_count && !err; i++) {
        err = admin_do(admin, "POST", "/v1/model-groups",
            json_pack("{s:s%}", "name", policy_starter_groups[i].ptr,
                policy_starter_groups[i].len),
            NULL, info);
        result->groups++;
    }
    return err;
}

static enum err put_starter(
    struct admin *admin, struct init_result *result, struct errinfo *info)
{
    struct str text = policy_starter_text();
    json_t *put = NULL;
    char path[64];
    enum err err = make_named(admin, result, info);

    if (!err)
        err = admin_do(admin, "POST", "/v1/policies",
            json_pack("{s:s%,s:s,s:s}", "text", text.ptr, text.len, "name",
                RULES_NAME, "note", "starter rules"),
            &put, info);
    if (!err) {
        result->rules = json_array_size(json_object_get(put, "rules"));
        snprintf(path, sizeof path, "/v1/policies/%lld/activate",
            (long long)json_integer_value(json_object_get(put, "version")));
        err = admin_do(admin, "POST", path,
            json_pack("{s:s}", "reason", "starter rules"), NULL, info);
    }
    json_decref(put);
    return err;
}

static enum err set_setting(struct admin *admin, const char *key,
    const char *value, struct errinfo *info)
{
    char path[64];

    snprintf(path, sizeof path, "/v1/settings/%s", key);
    return admin_do(
        admin, "PUT", path, json_pack("{s:s}", "value", value), NULL, info);
}

static enum err add_administrator(
    struct admin *admin, struct init_result *result, struct errinfo *info)
{
    json_t *answer = NULL;
    enum err err = admin_do(admin, "POST", "/v1/administrators",
        json_pack("{s:s,s:s}", "name", result->administrator, "role", "admin"),
        &answer, info);

    if (!err)
        snprintf(result->token, sizeof result->token, "%s",
            json_string_value(json_object_get(answer, "secret")));
    json_decref(answer);
    return err;
}

static enum err record_beginning(struct control *control,
    const struct init_result *result, struct errinfo *info)
{
    static const struct control_actor actor = {.method = "offline"};
    struct audit_act act = {
        .type = STR("system.initialised"),
        .object_kind = STR("log"),
        .object = str_from(result->origin),
    };

    return control_event(control, &actor, &act, info);
}

static void log_failed(void *context, const char *why)
{
    (void)context;
    fprintf(stderr, "bailiff: the audit log cannot be written: %s\n", why);
}

static enum err fill_state(const struct init_options *options,
    struct init_result *result, struct errinfo *info)
{
    const struct control_options control_options = {
        .dir = options->dir, .fresh = true};
    struct control *control = NULL;
    struct admin *admin = NULL;
    char number[16];
    enum err err = control_open(&control_options, &control, info);

    if (!err)
        err = control_start(control, log_failed, NULL, info);
    if (!err)
        err = record_beginning(control, result, info);
    if (!err)
        err = admin_new(control, NULL, &admin, info);
    if (!err)
        err = set_setting(admin, "zone", result->zone, info);
    if (!err)
        err = put_starter(admin, result, info);
    if (!err && options->require_approvals > 0) {
        /* After the starter rules: nobody is there yet who could approve. */
        snprintf(number, sizeof number, "%d", options->require_approvals);
        err = set_setting(admin, "require_approvals", number, info);
    }
    if (!err)
        err = add_administrator(admin, result, info);
    admin_free(&admin);
    control_close(&control);
    return err;
}

/* --- All of it ------------------------------------------------------- */

enum err init_state(const struct init_options *options,
    struct init_result *result, struct errinfo *info)
{
    const char *dir = options->dir;
    bool made = false;
    mode_t old_mask;
    enum err err = crypto_init(info);

    memset(result, 0, sizeof *result);
    if (!err)
        err = make_empty_dir(dir, &made, info);
    if (err)
        return err;
    old_mask = umask(0077);
    choose_origin(options, result);
    choose_administrator(options, result);
    choose_zone(options, result);
    err = audit_log_create(dir, result->origin, info);
    if (!err)
        err = keyring_create(dir, info);
    if (!err)
        err = make_certificates(dir, info);
    if (!err)
        err = make_database(dir, "persons.db", DB_PERSONS, info);
    if (!err)
        err = make_database(dir, "control.db", DB_CONTROL, info);
    if (!err)
        err = fill_state(options, result, info);
    if (!err)
        err = write_settings(dir, info);
    if (!err)
        err = file_sync_dir(dir, info);
    umask(old_mask);
    if (err) {
        if (info && !info->text[0])
            errinfo_set(info, err, "%s: %s", dir, err_name(err));
        remove_all(dir, made);
    }
    return err;
}
