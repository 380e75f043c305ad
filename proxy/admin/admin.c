/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/admin.c - from a request of the admin API to its answer: find
 * the operation, ask who it is, read the body, call the handler, make sure
 * that a failed change was rolled back and that something was answered. */
#include "proxy/admin/admin.h"
#include "proxy/admin/admin_priv.h"
#include "proxy/admin/retention.h"

#include "lib/log.h"
#include "lib/must.h"

#include <stdlib.h>

#define ADMIN_MAGIC 0x61646d69u
#define SEGMENTS_MAX 16 /* "/v1/audit/log/tile/L/" and a number in groups */

static enum err make_rights(struct admin *admin, struct errinfo *info)
{
    const char **actions = calloc(admin_operation_count, sizeof *actions);
    enum err err;

    if (!actions)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < admin_operation_count; i++)
        actions[i] = admin_operations[i].action;
    err = rights_new(actions, admin_operation_count, &admin->rights, info);
    free(actions);
    return err;
}

/* --- By itself ------------------------------------------------------- */

/* Work that no request asked for. What fails is said, and tried again the next
 * time. */
static void as_system(struct admin *admin, const char *trouble,
    enum err (*work)(struct admin_call *call))
{
    static const struct admin_request nobody = {.uid = -1};
    struct admin_response unused = {0};
    struct admin_call call = {
        .admin = admin,
        .request = &nobody,
        .response = &unused,
        .control = admin->control,
        .db = control_db(admin->control),
        .persons = control_persons(admin->control),
        .arena = arena_new(16384, ADMIN_ARENA_MAX),
        .actor = {.id = "system", .role = "admin", .method = "system"},
    };
    enum err err = ERR_NOMEM;

    buf_init(&unused.body, ADMIN_ANSWER_MAX);
    if (call.arena) {
        control_lock(call.control);
        err = work(&call);
        if (call.changing)
            control_abandon(call.control);
        control_unlock(call.control);
    }
    if (err)
        log_error(trouble, "why=%s",
            LOG_QUOTE(call.info.text[0] ? call.info.text : err_name(err)));
    arena_free(&call.arena);
    buf_fini(&unused.body);
}

static enum err resume(struct admin_call *call)
{
    size_t count;

    return disposal_resume(call, &count);
}

static enum err run_retention(struct admin_call *call)
{
    json_t *what = NULL;
    enum err err = retention_run(call, &what);
    json_int_t destroyed =
        json_integer_value(json_object_get(what, "destroyed"));
    json_int_t held = json_integer_value(json_object_get(what, "held"));

    if (!err && destroyed + held > 0)
        log_info("retention_run", "keys=%lld held=%lld", (long long)destroyed,
            (long long)held);
    json_decref(what);
    return err;
}

void admin_run_retention(struct admin *admin)
{
    as_system(admin, "retention_not_run", run_retention);
}

enum err admin_new(struct control *control, const struct admin_server *server,
    struct admin **out, struct errinfo *info)
{
    struct admin *admin = calloc(1, sizeof *admin);

    if (!admin)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    admin->magic = ADMIN_MAGIC;
    admin->control = control;
    admin->server = server;
    enum err err = make_rights(admin, info);
    if (err) {
        admin_free(&admin);
        return err;
    }
    *out = admin;
    if (control_log(control))
        as_system(admin, "disposal_not_resumed", resume);
    return ERR_OK;
}

void admin_free(struct admin **admin)
{
    if (!*admin)
        return;
    (*admin)->magic = 0;
    rights_free(&(*admin)->rights);
    free(*admin);
    *admin = NULL;
}

/* --- Health ---------------------------------------------------------- */

static void answer_text(
    struct admin_response *response, int status, const char *type)
{
    response->status = status;
    response->content_type = type;
}

/* No credential: these three say nothing that is anyone's. */
static bool handle_health(struct admin *admin,
    const struct admin_request *request, struct admin_response *response)
{
    const struct admin_server *server = admin->server;
    struct buf *body = &response->body;

    if (!str_equal(request->method, STR("GET")) &&
        !str_equal(request->method, STR("HEAD")))
        return false;
    if (str_equal(request->path, STR("/healthz"))) {
        buf_append_str(body, STR("ok\n"));
        answer_text(response, 200, "text/plain; charset=utf-8");
        return true;
    }
    if (str_equal(request->path, STR("/readyz"))) {
        struct buf reasons;
        bool ready;

        buf_init(&reasons, 65536);
        ready = server && server->ready(server->context, &reasons);
        if (ready)
            buf_append_str(body, STR("{\"ready\":true}\n"));
        else {
            buf_append_str(body, STR("{\"ready\":false,\"reasons\":"));
            buf_append_str(body, reasons.len > 0
                                     ? buf_str(&reasons)
                                     : STR("[\"no server is running\"]"));
            buf_append_str(body, STR("}\n"));
        }
        buf_fini(&reasons);
        answer_text(response, ready ? 200 : 503, "application/json");
        return true;
    }
    if (str_equal(request->path, STR("/metrics"))) {
        if (server)
            server->metrics(server->context, body);
        answer_text(response, server ? 200 : 503,
            "text/plain; version=0.0.4; charset=utf-8");
        return true;
    }
    return false;
}

/* --- Finding the operation ------------------------------------------- */

static size_t split_path(struct str path, struct str segments[SEGMENTS_MAX])
{
    size_t count = 0;

    if (path.len == 0 || path.ptr[0] != '/')
        return 0;
    path = str_make(path.ptr + 1, path.len - 1);
    while (count < SEGMENTS_MAX) {
        bool more = str_split(path, '/', &segments[count], &path);
        count++;
        if (!more)
            return count;
    }
    return 0;
}

static bool matches(struct admin_call *call,
    const struct admin_operation *operation, const struct str *segments,
    size_t count)
{
    struct str wanted[SEGMENTS_MAX];
    size_t params = 0;

    size_t wanted_count = split_path(str_from(operation->path), wanted);
    bool rest = (operation->flags & OPERATION_REST) != 0;
    if (rest ? count < wanted_count : count != wanted_count)
        return false;
    for (size_t i = 0; i < wanted_count; i++) {
        struct str segment = segments[i];
        if (rest && i + 1 == wanted_count) /* all that is left */
            segment.len = (size_t)(call->request->path.ptr +
                                   call->request->path.len - segment.ptr);
        if (wanted[i].len > 0 && wanted[i].ptr[0] == '{') {
            struct str value = admin_decode(call->arena, segment, false);
            MUST(params < ADMIN_PARAMS_MAX);
            if (!value.ptr || value.len == 0)
                return false;
            call->params[params++] = value;
        } else if (!str_equal(wanted[i], segment)) {
            return false;
        }
    }
    return true;
}

const struct admin_operation *admin_find_operation(struct admin_call *call)
{
    struct str segments[SEGMENTS_MAX];
    size_t count = split_path(call->request->path, segments);
    struct buf allowed;
    bool path_known = false;

    buf_init(&allowed, 256);
    for (size_t i = 0; i < admin_operation_count && count > 0; i++) {
        const struct admin_operation *operation = &admin_operations[i];

        if (!matches(call, operation, segments, count))
            continue;
        if (str_equal(str_from(operation->method), call->request->method)) {
            buf_fini(&allowed);
            return operation;
        }
        buf_printf(&allowed, "%s%s", path_known ? ", " : "", operation->method);
        path_known = true;
    }
    if (path_known)
        admin_problem(call, 405, "method-not-allowed",
            "%.*s is not offered on %.*s; offered: %s",
            STR_ARG(call->request->method), STR_ARG(call->request->path),
            buf_cstr(&allowed));
    else
        admin_problem(call, 404, "not-found",
            "the admin API has no %.*s; schema/openapi.yaml lists what it has",
            STR_ARG(call->request->path));
    buf_fini(&allowed);
    return NULL;
}

/* --- One request ----------------------------------------------------- */

bool admin_read_json(struct admin_call *call)
{
    struct str body = call->request->body;
    json_error_t error;

    if (body.len == 0) {
        call->body = json_object();
        return call->body != NULL;
    }
    if (body.len > ADMIN_BODY_MAX) {
        admin_problem(call, 413, "too-large",
            "the body is longer than %u bytes", ADMIN_BODY_MAX);
        return false;
    }
    call->body = json_loadb(
        body.ptr, body.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!call->body) {
        admin_problem(call, 400, "invalid-json",
            "the body is no JSON: line %d column %d: %s", error.line,
            error.column, error.text);
        return false;
    }
    if (!json_is_object(call->body)) {
        admin_problem(
            call, 400, "invalid-json", "the body must be a JSON object");
        return false;
    }
    return true;
}

/* The operation itself, or, where one person is not enough for it, a proposal
 * to do it. */
static enum err execute(struct admin_call *call)
{
    struct admin_request paged;
    const char *rule = NULL;
    bool replayed = false;
    enum err err = admin_take_page(call, &paged);

    control_lock(call->control); /* (once more, where it is locked) */
    if (!err)
        err = admin_replay(call, &replayed);
    if (!err && !replayed)
        err = admin_check_match(call);
    if (!err && !replayed)
        err = admin_guard(call, &rule);
    control_unlock(call->control);
    if (err || replayed)
        return err;
    err = rule ? admin_propose(call, rule) : call->operation->handler(call);
    /* A list that takes no filters has not looked at them. */
    if (!err && admin_is_list(call->operation) && !call->query_read &&
        call->request->query.len > 0)
        err = admin_read_query(call, NULL, 0, NULL);
    if (!err) {
        admin_tag_answer(call);
        admin_keep_answer(call);
    }
    return err;
}

static void run(struct admin_call *call)
{
    bool locked = !(call->operation->flags & OPERATION_UNLOCKED);
    bool allowed;
    enum err err;

    admin_look_at_token(call);
    control_lock(call->control);
    allowed = admin_authenticate(call) && admin_authorise(call);
    if (!locked)
        control_unlock(call->control);
    err = ERR_OK;
    if (allowed && admin_read_json(call))
        err = execute(call);
    if (call->changing) {
        MUST(err != ERR_OK); /* a handler that forgot to commit */
        control_abandon(call->control);
        call->changing = false;
    }
    if (locked)
        control_unlock(call->control);
    if (!call->answered)
        admin_fail(call, err ? err : ERR_NOMEM);
    if (call->response->status >= 500)
        log_error("admin_request_failed", "method=%.*s path=%s why=%s",
            STR_ARG(call->request->method), call->operation->path,
            LOG_QUOTE(call->info.text));
}

void admin_handle(struct admin *admin, const struct admin_request *request,
    struct admin_response *response)
{
    struct admin_call call = {
        .admin = admin,
        .request = request,
        .response = response,
        .control = admin->control,
        .db = control_db(admin->control),
        .persons = control_persons(admin->control),
    };

    CHECK_MAGIC(admin, ADMIN_MAGIC);
    response->status = 500;
    response->content_type = "application/problem+json";
    /* (Over the network nothing is told to whom nobody knows.) */
    if (!request->remote && handle_health(admin, request, response))
        return;
    call.arena = arena_new(16384, ADMIN_ARENA_MAX);
    if (!call.arena) {
        admin_problem(&call, 503, "out-of-memory", "out of memory");
        return;
    }
    call.operation = admin_find_operation(&call);
    if (call.operation)
        run(&call);
    json_decref(call.body);
    arena_free(&call.arena);
}
