/* SPDX-License-Identifier: Apache-2.0
 *
 * Live delivery: a receiver that dies, stalls, refuses and comes back misses
 * nothing, and the log goes on all the while. */
#include "tests/unit/audit/log_fixture.h"

#include "audit/sinks.h"
#include "lib/http_service.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define MILLI INT64_C(1000)

/* --- A receiver of syslog ------------------------------------------------ */

enum manners { READS, STALLS, DIES /* after some bytes, with data unread */ };

struct receiver {
    int listener;
    uint16_t port;
    pthread_t thread;
    _Atomic enum manners manners;
    _Atomic bool stop;
    _Atomic uint64_t next; /* entries below have been seen, in order */
    _Atomic uint64_t repetitions;
    _Atomic int connections;
    _Atomic bool gap, bad;
    char last[4096]; /* entry next - 1; read it when nothing comes */
};

/* "LENGTH <PRI>1 ... {"entry":...,"index":N}" */
static void take_message(struct receiver *r, const char *text, size_t n)
{
    char copy[65536];
    if (n >= sizeof(copy) || text[0] != '<' || text[n - 1] != '}') {
        r->bad = true;
        return;
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    const char *index = NULL;
    for (const char *at = copy; (at = strstr(at, ",\"index\":")) != NULL; at++)
        index = at;
    if (index == NULL) {
        r->bad = true;
        return;
    }
    uint64_t value = strtoull(index + 9, NULL, 10);
    if (value == r->next) {
        copy[sizeof(r->last) - 1] = '\0';
        memcpy(r->last, copy, strlen(copy) + 1);
        r->next++; /* whoever sees it may read `last` */
    } else if (value < r->next) {
        r->repetitions++;
    } else {
        r->gap = true;
    }
}

/* Takes whole messages off the front; how many bytes that were. */
static size_t take_messages(struct receiver *r, const char *bytes, size_t n)
{
    size_t at = 0;
    while (at < n) {
        const char *space = memchr(bytes + at, ' ', n - at);
        if (space == NULL)
            break;
        size_t length = strtoul(bytes + at, NULL, 10);
        size_t head = (size_t)(space + 1 - (bytes + at));
        if (length == 0) {
            r->bad = true;
            return n;
        }
        if (n - at < head + length)
            break;
        take_message(r, space + 1, length);
        at += head + length;
    }
    return at;
}

static void serve(struct receiver *r, int fd)
{
    static char bytes[1 << 20];
    size_t used = 0;
    struct timeval tick = {.tv_usec = 20000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick));
    while (!r->stop) {
        if (r->manners == STALLS) {
            usleep(10000);
            continue;
        }
        if (r->manners == DIES) {
            /* Something comes and is lost with the connection. */
            if (recv(fd, bytes, 1, MSG_PEEK) > 0)
                break;
            continue;
        }
        ssize_t n = recv(fd, bytes + used, sizeof(bytes) - used, 0);
        if (n == 0)
            break;
        if (n < 0)
            continue;
        used += (size_t)n;
        size_t taken = take_messages(r, bytes, used);
        memmove(bytes, bytes + taken, used - taken);
        used -= taken;
    }
    close(fd);
}

static void *receive(void *context)
{
    struct receiver *r = context;
    while (!r->stop) {
        int fd = accept(r->listener, NULL, NULL);
        if (fd < 0)
            continue;
        r->connections++;
        serve(r, fd);
    }
    return NULL;
}

static void receiver_start(struct receiver *r)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    struct timeval tick = {.tv_usec = 20000};
    memset(r, 0, sizeof(*r));
    r->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(
        bind(r->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(r->listener, 16), 0);
    getsockname(r->listener, (struct sockaddr *)&address, &size);
    setsockopt(r->listener, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick));
    r->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&r->thread, NULL, receive, r), 0);
}

static void receiver_stop(struct receiver *r)
{
    r->stop = true;
    pthread_join(r->thread, NULL);
    close(r->listener);
}

/* --- The world ----------------------------------------------------------- */

static _Atomic int told_failed, told_recovered;

static void changed(void *context, const char *name, bool failed,
    const char *why, uint64_t position)
{
    if (failed)
        told_failed++;
    else
        told_recovered++;
}

static struct sinks *start_sinks(
    const struct fixture *fixture, struct audit_log *log)
{
    const struct sinks_options options = {.state_dir = fixture->dir,
        .journal = audit_log_journal(log),
        .log_name = STR_INIT("example.com/bailiff-test"),
        .changed = changed,
        .confirm_us = 100 * MILLI,
        .stall_us = 400 * MILLI,
        .retry_us = 10 * MILLI};
    struct sinks *sinks = NULL;
    struct errinfo info = {0};
    if (sinks_start(&options, &sinks, &info) != ERR_OK)
        fail_msg("%s", info.text);
    return sinks;
}

static void set_one(
    struct sinks *sinks, enum sink_kind kind, const char *url, uint64_t first)
{
    struct sink_row row = {.name = STR_INIT("siem"),
        .id = STR_INIT("snk_1"),
        .kind = kind,
        .format = SINK_JSONL,
        .url = str_from(url),
        .first = first};
    struct errinfo info = {0};
    if (sinks_set(sinks, &row, 1, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

static struct sink_status status_of(struct sinks *sinks)
{
    struct sink_status status = {0};
    assert_int_equal(sinks_status(sinks, &status, 1), 1);
    return status;
}

/* Until it has all arrived; the time is for a busy machine. */
static void await(struct sinks *sinks, uint64_t position)
{
    for (int i = 0; i < 3000; i++) {
        if (status_of(sinks).position == position)
            return;
        usleep(10000);
    }
    fail_msg("the position is %llu, not %llu: %s",
        (unsigned long long)status_of(sinks).position,
        (unsigned long long)position, status_of(sinks).why);
}

static void await_failing(struct sinks *sinks, const char *words)
{
    for (int i = 0; i < 3000; i++) {
        struct sink_status status = status_of(sinks);
        if (status.failing && strstr(status.why, words) != NULL)
            return;
        usleep(10000);
    }
    fail_msg(
        "it does not fail with \"%s\" but \"%s\"", words, status_of(sinks).why);
}

/* --- Syslog -------------------------------------------------------------- */

static void test_a_receiver_that_stalls_and_dies_misses_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    struct receiver receiver;
    char url[64];
    fixture_start(log);
    struct journal *journal = audit_log_journal(log);
    uint64_t before = journal_size(journal);
    receiver_start(&receiver);
    told_failed = told_recovered = 0;
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", receiver.port);
    fixture_append(journal, 0, 300, 100, 0);
    struct sinks *sinks = start_sinks(fixture, log);
    set_one(sinks, SINK_SYSLOG, url, 0);
    await(sinks, before + 300);
    assert_int_equal(receiver.next, before + 300);
    assert_non_null(strstr(receiver.last, "<110>1 20"));
    assert_non_null(strstr(receiver.last, " bailiff - system.test [meta "));

    /* It takes what comes into its buffers, never reads it, and dies. */
    receiver.manners = STALLS;
    fixture_append(journal, 300, 300, 100, 0);
    await_failing(sinks, "has not read everything");
    assert_int_equal(status_of(sinks).position, before + 300);
    receiver.manners = DIES;
    fixture_append(journal, 600, 3000, 1000, 0);
    usleep(100000);
    receiver.manners = READS;
    await(sinks, before + 3600);
    assert_int_equal(receiver.next, before + 3600);
    assert_false(receiver.gap);
    assert_false(receiver.bad);
    assert_int_equal(status_of(sinks).failing, false);
    assert_int_equal(status_of(sinks).lag, 0);
    assert_int_equal(told_failed, 1);
    assert_int_equal(told_recovered, 1);
    sinks_stop(&sinks);
    receiver_stop(&receiver);
    audit_log_stop(&log);
}

/* The position outlives the process; what came meanwhile is delivered, and
 * what had arrived is not sent again. */
static void test_it_goes_on_where_it_was(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    struct receiver receiver;
    char url[64];
    fixture_start(log);
    struct journal *journal = audit_log_journal(log);
    uint64_t size = journal_size(journal);
    receiver_start(&receiver);
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", receiver.port);
    struct sinks *sinks = start_sinks(fixture, log);
    set_one(sinks, SINK_SYSLOG, url, size);
    receiver.next = size;
    fixture_append(journal, 0, 50, 10, 0);
    await(sinks, size + 50);
    sinks_stop(&sinks);
    fixture_append(journal, 50, 50, 10, 0);
    sinks = start_sinks(fixture, log);
    set_one(sinks, SINK_SYSLOG, url, size);
    await(sinks, size + 100);
    assert_int_equal(receiver.next, size + 100);
    assert_int_equal(receiver.repetitions, 0);
    assert_false(receiver.gap);
    /* removed and made anew under another id it begins anew */
    struct errinfo info = {0};
    assert_int_equal(sinks_set(sinks, NULL, 0, &info), ERR_OK);
    struct sink_status none;
    assert_int_equal(sinks_status(sinks, &none, 1), 0);
    sinks_stop(&sinks);
    char path[128];
    snprintf(path, sizeof(path), "%s/sinks/snk_1", fixture->dir);
    assert_false(file_exists(path));
    receiver_stop(&receiver);
    audit_log_stop(&log);
}

/* A stop while a receiver stalls does not wait for it. */
static void test_a_stop_does_not_wait_for_the_receiver(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    struct receiver receiver;
    char url[64];
    fixture_start(log);
    struct journal *journal = audit_log_journal(log);
    receiver_start(&receiver);
    receiver.manners = STALLS;
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", receiver.port);
    const struct sinks_options options = {.state_dir = fixture->dir,
        .journal = journal,
        .log_name = STR_INIT("example.com/bailiff-test"),
        .stall_us = HOUR_US};
    struct sinks *sinks = NULL;
    struct errinfo info = {0};
    assert_int_equal(sinks_start(&options, &sinks, &info), ERR_OK);
    set_one(sinks, SINK_SYSLOG, url, 0);
    fixture_append(journal, 0, 12000, 1000, 0); /* more than buffers hold */
    while (receiver.connections == 0)
        usleep(1000);
    sinks_stop(&sinks); /* returns: the test would hang for an hour */
    receiver_stop(&receiver);
    audit_log_stop(&log);
}

/* --- HTTPS --------------------------------------------------------------- */

struct web {
    _Atomic int status;  /* what is answered */
    _Atomic size_t most; /* lines that are taken at once; 0: any */
    _Atomic uint64_t next;
    _Atomic bool gap;
    char type[64], credential[64];
};

static void answer(
    void *context, const struct http_request *request, struct http_reply *reply)
{
    struct web *web = context;
    struct str rest = request->body, line;
    size_t lines = 0;
    for (size_t i = 0; i < rest.len; i++)
        lines += rest.ptr[i] == '\n';
    reply->status = web->status;
    if (web->most > 0 && lines > web->most)
        reply->status = 413;
    snprintf(web->type, sizeof(web->type), "%.*s",
        STR_ARG(http_request_header(request, "content-type")));
    snprintf(web->credential, sizeof(web->credential), "%.*s",
        STR_ARG(http_request_header(request, "authorization")));
    if (reply->status != 200) {
        buf_append_str(&reply->body, STR("not now"));
        return;
    }
    while (rest.len > 0) {
        (void)str_split(rest, '\n', &line, &rest);
        size_t at = line.len;
        while (at > 0 && line.ptr[at - 1] != ':')
            at--;
        uint64_t index = strtoull(line.ptr + at, NULL, 10);
        if (index == web->next)
            web->next++;
        else if (index > web->next)
            web->gap = true;
    }
}

static void test_https_refusals_and_batches_that_are_too_large(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    struct web web = {.status = 503};
    const struct http_service_settings settings = {.host = "127.0.0.1",
        .max_body = 8u << 20,
        .handler = answer,
        .context = &web};
    struct http_service *service = NULL;
    struct errinfo info = {0};
    char url[128], credential[128];
    fixture_start(log);
    struct journal *journal = audit_log_journal(log);
    assert_int_equal(http_service_start(&settings, &service, &info), ERR_OK);
    snprintf(url, sizeof(url), "%s/in?a=b", http_service_url(service));
    snprintf(credential, sizeof(credential), "%s/credential", fixture->dir);
    assert_int_equal(
        file_replace(credential, STR("Splunk abc\n"), 0600, &info), ERR_OK);
    uint64_t size = journal_size(journal);
    fixture_append(journal, 0, 400, 100, 0);
    struct sinks *sinks = start_sinks(fixture, log);
    struct sink_row row = {.name = STR_INIT("siem"),
        .id = STR_INIT("snk_2"),
        .kind = SINK_HTTPS,
        .format = SINK_JSONL,
        .url = str_from(url),
        .credential_file = str_from(credential)};
    assert_int_equal(sinks_set(sinks, &row, 1, &info), ERR_OK);
    await_failing(sinks, "answered 503: not now");
    assert_int_equal(status_of(sinks).position, 0);
    web.status = 200;
    web.most = 7;
    await(sinks, size + 400);
    assert_int_equal(web.next, size + 400);
    assert_false(web.gap);
    assert_string_equal(web.type, "application/x-ndjson");
    assert_string_equal(web.credential, "Splunk abc");
    /* one word is a bearer token */
    assert_int_equal(
        file_replace(credential, STR("abc\n"), 0600, &info), ERR_OK);
    assert_int_equal(
        sink_try(&row, STR("example.com/x"), 3,
            STR("{\"time\":\"t\",\"type\":\"a.b\",\"v\":1}"), &info),
        ERR_OK);
    assert_string_equal(web.credential, "Bearer abc");
    web.status = 401;
    assert_int_equal(
        sink_try(&row, STR("example.com/x"), 3,
            STR("{\"time\":\"t\",\"type\":\"a.b\",\"v\":1}"), &info),
        ERR_DENIED);
    assert_non_null(strstr(info.text, "401"));
    sinks_stop(&sinks);
    http_service_stop(&service);
    audit_log_stop(&log);
}

/* --- URLs ---------------------------------------------------------------- */

static void test_urls(void **state)
{
    static const struct {
        enum sink_kind kind;
        const char *url;
        bool good;
    } cases[] = {
        {SINK_SYSLOG, "tcp://siem.example.com:601", true},
        {SINK_SYSLOG, "tls://siem.example.com", true},
        {SINK_SYSLOG, "tls://[2001:db8::1]:6514/", true},
        {SINK_SYSLOG, "tls://[2001:db8::1]", true},
        {SINK_SYSLOG, "tcp://siem.example.com", false}, /* which port? */
        {SINK_SYSLOG, "udp://siem.example.com:514", false},
        {SINK_SYSLOG, "tcp://a:b@siem.example.com:514", false},
        {SINK_SYSLOG, "tcp://siem.example.com:514/path", false},
        {SINK_SYSLOG, "tcp://siem.example.com:0", false},
        {SINK_SYSLOG, "tcp://siem.example.com:65536", false},
        {SINK_SYSLOG, "tcp://2001:db8::1:514", false},
        {SINK_SYSLOG, "tcp://:514", false},
        {SINK_SYSLOG, "https://siem.example.com", false},
        {SINK_HTTPS, "https://siem.example.com/services/collector", true},
        {SINK_HTTPS, "https://[::1]:8088?x=y", true},
        {SINK_HTTPS, "http://127.0.0.1:8088/in", true},
        {SINK_HTTPS, "http://siem.example.com/in", false},
        {SINK_HTTPS, "https://user:word@siem.example.com/", false},
        {SINK_HTTPS, "https://siem.example.com/#x", false},
        {SINK_HTTPS, "https:///in", false},
        {SINK_HTTPS, "https://siem.example.com/a b", false},
        {SINK_HTTPS, "ftp://siem.example.com/in", false},
        {SINK_HTTPS, "siem.example.com", false},
        {SINK_HTTPS, "", false},
    };
    struct errinfo info = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum err err =
            sink_check_url(cases[i].kind, str_from(cases[i].url), &info);
        if ((err == ERR_OK) != cases[i].good)
            fail_msg("%s", cases[i].url);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_a_receiver_that_stalls_and_dies_misses_nothing, fixture_setup,
            fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_it_goes_on_where_it_was, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_stop_does_not_wait_for_the_receiver, fixture_setup,
            fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_https_refusals_and_batches_that_are_too_large, fixture_setup,
            fixture_teardown),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
