/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/http_service and lib/http_client, against each other and
 * against raw sockets. */
#include "lib/http_service.h"

#include "lib/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* --- The service under test ------------------------------------------------
 */

static _Atomic int closed_ended, closed_early, seen_gone, in_sleep;
static _Atomic bool let_go;

struct counter {
    int left;
    bool endless;
};

static ssize_t pull_numbers(void *context, char *out, size_t size)
{
    struct counter *counter = context;
    if (counter->left == 0)
        return 0;
    if (counter->left < 0)
        return -1;
    int n = snprintf(out, size, "%d,", counter->left);
    if (counter->endless)
        usleep(2000);
    else
        counter->left--;
    return n;
}

static void close_numbers(void *context, bool ended)
{
    free(context);
    if (ended)
        closed_ended++;
    else
        closed_early++;
}

static void start_numbers(struct http_reply *reply, int left, bool endless)
{
    struct counter *counter = malloc(sizeof *counter);
    *counter = (struct counter){left, endless};
    reply->stream = (struct http_stream){pull_numbers, close_numbers, counter};
}

static void echo(const struct http_request *request, struct http_reply *reply)
{
    struct buf *b = &reply->body;
    struct str value;
    buf_append_str(b, request->method);
    buf_append_char(b, ' ');
    buf_append_str(b, request->path);
    buf_append_char(b, '?');
    buf_append_str(b, request->query);
    buf_printf(b, " tag=%llu", (unsigned long long)request->tag);
    value = http_request_header(request, "X-Test");
    if (value.ptr)
        buf_printf(b, " x-test=%.*s", STR_ARG(value));
    if (request->body.len)
        buf_printf(b, " body=%zu:%.*s", request->body.len,
            (int)(request->body.len > 10 ? 10 : request->body.len),
            request->body.ptr);
    enum err err = http_request_parameter(request, "name", &value);
    if (!err)
        buf_printf(b, " name=<%.*s>", STR_ARG(value));
    else if (err == ERR_SYNTAX)
        buf_append_str(b, STR(" bad-name"));
    assert_int_equal(
        http_reply_header(reply, "X-Answer", STR("forty two")), ERR_OK);
    assert_int_equal(
        http_reply_header(reply, "X-Bad", STR("a\r\nb: c")), ERR_INVALID);
    assert_int_equal(http_reply_header(reply, "X Bad", STR("a")), ERR_INVALID);
    reply->status = 201;
}

static void handle(
    void *context, const struct http_request *request, struct http_reply *reply)
{
    assert_string_equal(context, "context");
    if (request->body_too_large) {
        reply->status = 413;
        buf_append_str(&reply->body, STR("too large"));
    } else if (str_equal(request->path, STR("/stream"))) {
        start_numbers(reply, 1000, false);
    } else if (str_equal(request->path, STR("/endless"))) {
        start_numbers(reply, 7, true);
    } else if (str_equal(request->path, STR("/broken"))) {
        start_numbers(reply, -1, false);
    } else if (str_equal(request->path, STR("/big"))) {
        for (int i = 0; i < 100000; i++)
            buf_append_str(&reply->body, STR("0123456789"));
    } else if (str_equal(request->path, STR("/too-big"))) {
        for (int i = 0; i < 300000; i++)
            buf_append_str(&reply->body, STR("0123456789"));
    } else if (str_equal(request->path, STR("/wait-gone"))) {
        in_sleep = 1;
        for (int i = 0; i < 2000 && !http_request_is_gone(request); i++)
            usleep(1000);
        seen_gone += http_request_is_gone(request);
    } else if (str_equal(request->path, STR("/wait"))) {
        in_sleep = 1;
        while (!let_go)
            usleep(1000);
        buf_append_str(&reply->body, STR("done"));
    } else if (str_equal(request->path, STR("/nothing"))) {
        reply->status = 204;
    } else {
        echo(request, reply);
    }
}

static struct http_service *service;
static struct http_service_settings base = {.host = "127.0.0.1",
    .max_body = 1000,
    .max_reply = 2000000,
    .max_connections = 8,
    .idle_us = 2000000,
    .handler = handle,
    .context = (void *)(uintptr_t) "context"};

static void start(const struct http_service_settings *settings)
{
    struct errinfo info = {0};
    if (http_service_start(settings, &service, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

static int set_up(void **state)
{
    closed_ended = closed_early = seen_gone = in_sleep = 0;
    let_go = false;
    start(&base);
    return 0;
}

static int tear_down(void **state)
{
    http_service_stop(&service);
    http_service_stop(&service);
    return 0;
}

static struct http_client_answer answer;
static struct errinfo info;

static enum err request(struct http_client_request *r, const char *path)
{
    char url[400];
    snprintf(url, sizeof url, "%s%s",
        r->unix_socket ? "http://localhost" : http_service_url(service), path);
    r->url = url;
    if (r->timeout_us == 0)
        r->timeout_us = 10000000;
    http_client_answer_fini(&answer);
    info.text[0] = '\0';
    return http_client_request(r, &answer, &info);
}

static void assert_get(const char *path, int status, const char *body)
{
    struct http_client_request r = {0};
    assert_int_equal(request(&r, path), ERR_OK);
    assert_int_equal(answer.status, status);
    assert_string_equal(buf_cstr(&answer.body), body);
}

static void await(_Atomic int *value)
{
    for (int i = 0; i < 5000 && *value == 0; i++)
        usleep(1000);
    assert_int_not_equal(*value, 0);
}

/* --- Requests and answers ---------------------------------------------------
 */

static void echoes(void **state)
{
    assert_get("/a/b", 201, "GET /a/b? tag=0");
    assert_get("/a%20b?name=x%2By+z%C3%BC&n=1", 201,
        "GET /a%20b?name=x%2By+z%C3%BC&n=1 tag=0 name=<x+y z\xc3\xbc>");
    assert_get("/?a=1&n%61me=ok", 201, "GET /?a=1&n%61me=ok tag=0 name=<ok>");
    assert_get("/?name=%zz", 201, "GET /?name=%zz tag=0 bad-name");
    assert_get("/?name=%00", 201, "GET /?name=%00 tag=0 bad-name");
    assert_get("/?name=%4", 201, "GET /?name=%4 tag=0 bad-name");
    assert_get("/?name", 201, "GET /?name tag=0 name=<>");
    assert_get("/../x", 201, "GET /../x? tag=0");
    struct str value = http_client_header(&answer, "x-answer");
    assert_true(str_equal(value, STR("forty two")));
    assert_null(http_client_header(&answer, "x-none").ptr);
    assert_null(http_client_header(&answer, "x-bad").ptr);

    const char *const headers[] = {"X-Test: hello", NULL};
    struct http_client_request r = {
        .body = STR_INIT("12345"), .headers = headers};
    assert_int_equal(request(&r, "/p"), ERR_OK);
    assert_string_equal(
        buf_cstr(&answer.body), "POST /p? tag=0 x-test=hello body=5:12345");
    r = (struct http_client_request){.method = "DELETE"};
    assert_int_equal(request(&r, "/p"), ERR_OK);
    assert_string_equal(buf_cstr(&answer.body), "DELETE /p? tag=0");
    r = (struct http_client_request){.method = "HEAD"};
    assert_int_equal(request(&r, "/p"), ERR_OK);
    assert_int_equal(answer.status, 201);
    assert_string_equal(buf_cstr(&answer.body), "");
    assert_get("/nothing", 204, "");
    assert_int_not_equal(http_service_port(service), 0);
}

static void big_bodies(void **state)
{
    struct http_client_request r = {0};
    assert_int_equal(request(&r, "/big"), ERR_OK);
    assert_int_equal(buf_str(&answer.body).len, 1000000);
    r = (struct http_client_request){.max_answer = 999999};
    assert_int_equal(request(&r, "/big"), ERR_LIMIT);
    assert_non_null(strstr(info.text, "/big: the answer is larger than"));
    r = (struct http_client_request){.max_answer = 1000000};
    assert_int_equal(request(&r, "/big"), ERR_OK);
    assert_get("/too-big", 503, "");

    static char body[100000];
    memset(body, 'x', sizeof body);
    r = (struct http_client_request){.body = {body, 1000}};
    assert_int_equal(request(&r, "/"), ERR_OK);
    assert_int_equal(answer.status, 201);
    r = (struct http_client_request){.body = {body, 1001}};
    assert_int_equal(request(&r, "/"), ERR_OK);
    assert_int_equal(answer.status, 413);
    assert_string_equal(buf_cstr(&answer.body), "too large");
    r = (struct http_client_request){.body = {body, sizeof body}};
    assert_int_equal(request(&r, "/"), ERR_OK);
    assert_int_equal(answer.status, 413);
    const char *const chunked[] = {"Transfer-Encoding: chunked", NULL};
    r = (struct http_client_request){
        .body = {body, sizeof body}, .headers = chunked};
    assert_int_equal(request(&r, "/"), ERR_OK);
    assert_int_equal(answer.status, 413);
}

/* --- Streams -----------------------------------------------------------------
 */

static void streams(void **state)
{
    struct http_client_request r = {0};
    assert_int_equal(request(&r, "/stream"), ERR_OK);
    assert_true(str_starts(buf_str(&answer.body), STR("1000,999,998,")));
    assert_true(str_ends(buf_str(&answer.body), STR(",3,2,1,")));
    await(&closed_ended);
    assert_int_equal(closed_early, 0);
    r = (struct http_client_request){.method = "HEAD"};
    assert_int_equal(request(&r, "/stream"), ERR_OK);
    await(&closed_early);
}

static bool take_some(void *context, struct str bytes)
{
    size_t *taken = context;
    assert_int_equal(answer.status, 200);
    *taken += bytes.len;
    return *taken < 20;
}

static void a_reader_that_leaves_closes_the_stream(void **state)
{
    size_t taken = 0;
    struct http_client_request r = {.write = take_some, .context = &taken};
    assert_int_equal(request(&r, "/endless"), ERR_CLOSED);
    assert_true(taken >= 20);
    assert_string_equal(buf_cstr(&answer.body), "");
    await(&closed_early);
    assert_int_equal(closed_ended, 0);
}

static void a_broken_stream_is_seen_as_broken(void **state)
{
    struct http_client_request r = {0};
    assert_int_equal(request(&r, "/broken"), ERR_CLOSED);
    assert_int_equal(answer.status, 200);
    await(&closed_early);
}

static void a_handler_sees_that_the_client_is_gone(void **state)
{
    struct http_client_request r = {.timeout_us = 50000};
    assert_int_equal(request(&r, "/wait-gone"), ERR_TIMEOUT);
    assert_non_null(strstr(info.text, "/wait-gone: "));
    await(&seen_gone);
}

/* --- Stopping
 * ----------------------------------------------------------------- */

static void stopping_cuts_streams_and_waits_for_threads(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(http_service_port(service)),
        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(
        connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    static const char head[] = "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(write(fd, head, sizeof head - 1), sizeof head - 1);
    char bytes[100];
    assert_true(read(fd, bytes, sizeof bytes) > 0);
    http_service_stop(&service);
    assert_null(service);
    assert_int_equal(closed_early, 1);
    close(fd);
}

static void *get_wait(void *url)
{
    struct http_client_request r = {.url = url, .timeout_us = 10000000};
    struct http_client_answer got = {0};
    enum err err = http_client_request(&r, &got, NULL);
    bool ok = err == ERR_OK && str_equal(buf_str(&got.body), STR("done"));
    http_client_answer_fini(&got);
    return ok ? url : NULL;
}

static void *let_go_soon(void *argument)
{
    usleep(50000);
    let_go = true;
    return NULL;
}

static void stopping_waits_for_answers(void **state)
{
    char url[100];
    pthread_t client, helper;
    void *result;
    http_service_stop(&service);
    struct http_service_settings settings = base;
    settings.grace_us = 10000000;
    start(&settings);
    snprintf(url, sizeof url, "%s/wait", http_service_url(service));
    assert_int_equal(pthread_create(&client, NULL, get_wait, url), 0);
    await(&in_sleep);
    assert_int_equal(pthread_create(&helper, NULL, let_go_soon, NULL), 0);
    http_service_stop(&service);
    pthread_join(helper, NULL);
    pthread_join(client, &result);
    assert_ptr_equal(result, url);
}

/* --- Other ways in
 * ------------------------------------------------------------- */

static void serves_a_unix_socket(void **state)
{
    char path[] = "/tmp/http_service_test.XXXXXX", socket_path[100];
    struct stat st;
    assert_non_null(mkdtemp(path));
    snprintf(socket_path, sizeof socket_path, "%s/s", path);
    http_service_stop(&service);
    struct http_service_settings settings = base;
    settings.unix_path = socket_path;
    start(&settings);
    assert_int_equal(stat(socket_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(http_service_port(service), 0);
    assert_true(str_starts(str_from(http_service_url(service)), STR("unix:")));
    struct http_client_request r = {.unix_socket = socket_path};
    assert_int_equal(request(&r, "/u"), ERR_OK);
    assert_string_equal(buf_cstr(&answer.body), "GET /u? tag=0");
    struct http_service *second = NULL;
    assert_int_equal(http_service_start(&settings, &second, &info), ERR_EXISTS);
    assert_non_null(strstr(info.text, socket_path));
    http_service_stop(&service);
    assert_int_equal(stat(socket_path, &st), -1);

    /* What a killed process left behind is no obstacle. */
    start(&settings);
    assert_int_equal(link(socket_path, "/dev/null"), -1);
    char other[110];
    snprintf(other, sizeof other, "%s2", socket_path);
    assert_int_equal(rename(socket_path, other), 0);
    http_service_stop(&service);
    assert_int_equal(rename(other, socket_path), 0);
    start(&settings);
    assert_int_equal(request(&r, "/u"), ERR_OK);
    http_service_stop(&service);
    r = (struct http_client_request){.unix_socket = socket_path};
    r.url = "http://localhost/";
    http_client_answer_fini(&answer);
    assert_int_not_equal(http_client_request(&r, &answer, &info), ERR_OK);
    assert_non_null(strstr(info.text, socket_path));
    rmdir(path);
}

static void exchange(int fd, const char *text, char *out, size_t size)
{
    size_t at = 0, length = strlen(text);
    ssize_t got;
    assert_int_equal(write(fd, text, length), length);
    while (at < size - 1 && (got = read(fd, out + at, size - 1 - at)) > 0)
        at += (size_t)got;
    out[at] = '\0';
}

/* A connection whose end the client has seen counts until the service has seen
 * it too: full is no answer before then. */
static void add_soon(int fds[2], uint64_t tag)
{
    enum err err = ERR_FULL;
    for (int i = 0; err == ERR_FULL && i < 1000; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        err = http_service_add(service, fds[1], tag);
        if (err == ERR_FULL) {
            close(fds[0]);
            usleep(10000);
        }
    }
    assert_int_equal(err, ERR_OK);
}

static void takes_connections_with_tags(void **state)
{
    http_service_stop(&service);
    struct http_service_settings settings = base;
    settings.host = NULL;
    settings.max_connections = 2;
    start(&settings);
    assert_string_equal(http_service_url(service), "");
    static const uint64_t tags[] = {0, 1, UINT64_MAX, 0x0123456789abcdef};
    for (size_t i = 0; i < 4; i++) {
        int fds[2];
        char text[600], expected[64];
        add_soon(fds, tags[i]);
        exchange(fds[0],
            "GET /t HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", text,
            sizeof text);
        snprintf(expected, sizeof expected, "GET /t? tag=%llu",
            (unsigned long long)tags[i]);
        assert_non_null(strstr(text, expected));
        close(fds[0]);
    }
    /* More than two at once: refused, and the descriptor is closed. */
    int open_fds[12], full = 0;
    for (int i = 0; i < 12; i++) {
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        open_fds[i] = fds[0];
        full += http_service_add(service, fds[1], 1) == ERR_FULL;
        usleep(10000);
    }
    assert_true(full >= 9);
    for (int i = 0; i < 12; i++)
        close(open_fds[i]);
}

static void refuses_a_port_in_use(void **state)
{
    struct http_service *second = NULL;
    struct http_service_settings settings = base;
    settings.port = http_service_port(service);
    assert_int_equal(http_service_start(&settings, &second, &info), ERR_EXISTS);
    assert_non_null(strstr(info.text, "127.0.0.1"));
    settings.host = "no.such.host.invalid";
    assert_int_equal(
        http_service_start(&settings, &second, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "no.such.host.invalid"));
    assert_null(second);
}

/* --- What can go wrong for a client
 * ---------------------------------------------- */

static enum err try_url(const char *url)
{
    struct http_client_request r = {.url = url, .timeout_us = 5000000};
    http_client_answer_fini(&answer);
    info.text[0] = '\0';
    return http_client_request(&r, &answer, &info);
}

static void client_names_the_cause(void **state)
{
    char url[200];
    uint16_t port = http_service_port(service);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", port);
    assert_int_not_equal(try_url(url), ERR_OK);
    http_service_stop(&service);
    snprintf(
        url, sizeof url, "http://user:secret@127.0.0.1:%u/x?key=secret", port);
    assert_int_equal(try_url(url), ERR_CLOSED);
    assert_null(strstr(info.text, "secret"));
    assert_non_null(strstr(info.text, "GET http://127.0.0.1:"));
    assert_non_null(strstr(info.text, "/x"));
    assert_int_equal(try_url("ftp://127.0.0.1/"), ERR_INVALID);
    assert_int_equal(try_url("file:///etc/passwd"), ERR_INVALID);
    assert_int_equal(try_url("http://"), ERR_INVALID);
    assert_int_equal(try_url("http://no.such.host.invalid/"), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "no.such.host.invalid"));
    static const char *const bad[] = {"X-A: b\r\nX-C: d", NULL};
    struct http_client_request r = {.url = "http://127.0.0.1/", .headers = bad};
    http_client_answer_fini(&answer);
    assert_int_equal(http_client_request(&r, &answer, &info), ERR_INVALID);
    static const char *const no_colon[] = {"X-A", NULL};
    r.headers = no_colon;
    http_client_answer_fini(&answer);
    assert_int_equal(http_client_request(&r, &answer, &info), ERR_INVALID);
}

static void *speak_nonsense(void *argument)
{
    int listener = *(int *)argument;
    for (int i = 0; i < 2; i++) {
        char bytes[1000];
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            break;
        if (read(fd, bytes, sizeof bytes) > 0 && i == 0 &&
            write(fd, "SSH-2.0-x\r\n", 11) < 0)
            perror("write");
        close(fd);
    }
    return NULL;
}

static void client_notices_what_is_no_http(void **state)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    char url[100];
    pthread_t thread;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&thread, NULL, speak_nonsense, &fd), 0);
    assert_int_equal(try_url(url), ERR_SYNTAX);
    assert_int_equal(try_url(url), ERR_CLOSED); /* closed without a word */
    pthread_join(thread, NULL);
    close(fd);
}

int main(void)
{
#define WITH_SERVICE(test)                                                     \
    cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVICE(echoes),
        WITH_SERVICE(big_bodies),
        WITH_SERVICE(streams),
        WITH_SERVICE(a_reader_that_leaves_closes_the_stream),
        WITH_SERVICE(a_broken_stream_is_seen_as_broken),
        WITH_SERVICE(a_handler_sees_that_the_client_is_gone),
        WITH_SERVICE(stopping_cuts_streams_and_waits_for_threads),
        WITH_SERVICE(stopping_waits_for_answers),
        WITH_SERVICE(serves_a_unix_socket),
        WITH_SERVICE(takes_connections_with_tags),
        WITH_SERVICE(refuses_a_port_in_use),
        WITH_SERVICE(client_names_the_cause),
        WITH_SERVICE(client_notices_what_is_no_http),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_client_answer_fini(&answer);
    return failed;
}
