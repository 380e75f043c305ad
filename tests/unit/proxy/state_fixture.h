/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/proxy/state_fixture.h - a state directory of its own for each
 * test, opened offline, and calls of the admin API on it. */
#ifndef TESTS_STATE_FIXTURE_H
#define TESTS_STATE_FIXTURE_H

#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/log.h"
#include "proxy/admin/admin.h"
#include "proxy/control.h"
#include "proxy/init.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

struct state {
    char root[64], dir[96];
    struct init_result made;
    struct control *control;
    struct admin *admin;
    /* of the next calls */
    char authorization[128];
    bool offline;
    long uid;
    bool remote;
};

static inline int state_remove_one(
    const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static inline void state_log_failed(void *context, const char *why)
{
    (void)context;
    fprintf(stderr, "log failed: %s\n", why);
    abort();
}

static inline void state_open(struct state *s)
{
    const struct control_options options = {.dir = s->dir};
    struct errinfo info = {0};

    if (control_open(&options, &s->control, &info) != ERR_OK ||
        control_start(s->control, state_log_failed, NULL, &info) != ERR_OK ||
        admin_new(s->control, NULL, &s->admin, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

static inline void state_close(struct state *s)
{
    admin_free(&s->admin);
    control_close(&s->control);
}

static inline int state_setup(void **context)
{
    struct state *s = calloc(1, sizeof *s);
    struct init_options options = {
        .administrator = "root-admin", .origin = "test/log", .zone = "UTC"};
    struct errinfo info = {0};

    log_setup(LOG_ERROR, LOG_TEXT);
    snprintf(s->root, sizeof s->root, "/tmp/bailiff-unit-XXXXXX");
    assert_non_null(mkdtemp(s->root));
    snprintf(s->dir, sizeof s->dir, "%s/state", s->root);
    options.dir = s->dir;
    if (init_state(&options, &s->made, &info) != ERR_OK)
        fail_msg("%s", info.text);
    s->offline = true;
    s->uid = 4242;
    state_open(s);
    *context = s;
    return 0;
}

static inline int state_teardown(void **context)
{
    struct state *s = *context;

    state_close(s);
    nftw(s->root, state_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(s);
    return 0;
}

/* The status; *answer (may be NULL) is the JSON, given. */
static inline int state_call(struct state *s, const char *method,
    const char *path, const char *body, json_t **answer)
{
    struct admin_request request = {
        .method = str_from(method),
        .authorization = str_from(s->authorization),
        .body = str_from(body),
        .offline = s->offline,
        .uid = s->uid,
        .remote = s->remote,
        .from = s->remote ? "192.0.2.1" : NULL,
    };
    struct admin_response response = {0};
    json_t *value;

    str_split(str_from(path), '?', &request.path, &request.query);
    buf_init(&response.body, 64u << 20);
    admin_handle(s->admin, &request, &response);
    value = json_loadb(
        buf_str(&response.body).ptr, response.body.len, JSON_DECODE_ANY, NULL);
    if (response.status >= 500)
        print_message(
            "%s %s: %.*s\n", method, path, STR_ARG(buf_str(&response.body)));
    buf_fini(&response.body);
    if (answer)
        *answer = value;
    else
        json_decref(value);
    return response.status;
}

static inline void state_must(struct state *s, int status, const char *method,
    const char *path, const char *body)
{
    json_t *answer = NULL;
    int got = state_call(s, method, path, body, &answer);

    if (got != status) {
        char *text = json_dumps(answer, JSON_DECODE_ANY);
        fail_msg("%s %s: %d, not %d: %s", method, path, got, status,
            text ? text : "");
    }
    json_decref(answer);
}

/* The "detail" of a problem holds `words`, and the status is `status`. */
static inline void state_refused(struct state *s, int status,
    const char *method, const char *path, const char *body, const char *words)
{
    json_t *answer = NULL;
    int got = state_call(s, method, path, body, &answer);
    const char *detail = json_string_value(json_object_get(answer, "detail"));

    if (got != status || !detail || !strstr(detail, words))
        fail_msg("%s %s: %d \"%s\", not %d with \"%s\"", method, path, got,
            detail ? detail : "", status, words);
    json_decref(answer);
}

#endif
