/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http_client.c - libcurl's easy interface, one handle a request. */
#include "lib/http_client.h"

#include "lib/must.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>

#define DEFAULT_MAX_ANSWER ((size_t)16 << 20)
#define DEFAULT_CONNECT_MS 10000
#define HEAD_MAX ((size_t)256 * 1024)
#define SHOWN_URL_MAX 256

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ready;

static void set_up(void)
{
    ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

/* One call in the making; what the callbacks see. */
struct call {
    const struct http_client_request *request;
    struct http_client_answer *answer;
    CURL *easy;
    struct curl_slist *headers;
    bool refused;  /* the caller's write said no */
    bool too_long; /* head or body past its ceiling */
    char reason[CURL_ERROR_SIZE];
    char shown[SHOWN_URL_MAX]; /* "GET https://host/path" */
};

static size_t take_header(char *bytes, size_t size, size_t count, void *context)
{
    struct call *call = context;
    struct str line = str_make(bytes, size * count);
    if (str_starts(line, STR("HTTP/"))) { /* a new head: 100, then 200 */
        long status = 0;
        buf_clear(&call->answer->head);
        if (curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status) ==
            CURLE_OK)
            call->answer->status = (int)status;
        return line.len;
    }
    buf_append_str(&call->answer->head, line);
    if (!call->answer->head.failed)
        return line.len;
    call->too_long = true;
    return 0; /* curl takes it as an error */
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct call *call = context;
    struct str piece = str_make(bytes, size * count);
    if (call->request->write) {
        if (call->request->write(call->request->context, piece))
            return piece.len;
        call->refused = true;
        return 0;
    }
    buf_append_str(&call->answer->body, piece);
    if (!call->answer->body.failed)
        return piece.len;
    call->too_long = true;
    return 0;
}

/* "METHOD scheme://host/path" without user, password, query and fragment. */
static void show_request(struct call *call, const char *method)
{
    const char *url = call->request->url;
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t authority = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', authority);
    const char *from = at ? at + 1 : host;
    size_t length = strcspn(from, "?#");
    struct buf text;
    buf_init(&text, SHOWN_URL_MAX - 1);
    buf_printf(&text, "%.16s %.*s%.*s", method, (int)(host - url), url,
        (int)(length > 200 ? 200 : length), from);
    size_t n = buf_str(&text).len;
    if (n)
        memcpy(call->shown, buf_str(&text).ptr, n);
    call->shown[n] = '\0';
    buf_fini(&text);
}

static int progress(void *context, curl_off_t down_total, curl_off_t down,
    curl_off_t up_total, curl_off_t up)
{
    const struct http_client_request *r = context;
    return r->cancelled(r->cancel_context) ? 1 : 0;
}

static long to_ms(int64_t us)
{
    int64_t ms = (us + 999) / 1000;
    return ms > INT32_MAX ? INT32_MAX : (long)ms;
}

static bool add_header(struct call *call, const char *line)
{
    struct curl_slist *list = curl_slist_append(call->headers, line);
    if (!list)
        return false;
    call->headers = list;
    return true;
}

static bool has_header(const char *const *headers, struct str name)
{
    for (; headers && *headers; headers++) {
        struct str head, tail;
        if (str_split(str_from(*headers), ':', &head, &tail) &&
            str_equal_nocase(head, name))
            return true;
    }
    return false;
}

static enum err set_headers(
    struct call *call, const char *const *headers, struct errinfo *info)
{
    for (const char *const *h = headers; h && *h; h++) {
        if (!strchr(*h, ':') || strpbrk(*h, "\r\n"))
            return errinfo_set(info, ERR_INVALID,
                "%s: a request header is not of the form \"Name: value\"",
                call->shown);
        if (!add_header(call, *h))
            return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    /* An empty value takes curl's own header away. */
    bool ok = add_header(call, "Expect:");
    if (ok && !has_header(headers, STR("content-type")))
        ok = add_header(call, "Content-Type:");
    if (ok && !has_header(headers, STR("accept")))
        ok = add_header(call, "Accept: */*");
    return ok ? ERR_OK : errinfo_set(info, ERR_NOMEM, "out of memory");
}

#define SET(option, value)                                                     \
    do {                                                                       \
        CURLcode code_ = curl_easy_setopt(call->easy, (option), (value));      \
        if (code_ != CURLE_OK)                                                 \
            return code_;                                                      \
    } while (0)

static CURLcode set_options(struct call *call, const char *method)
{
    const struct http_client_request *r = call->request;
    SET(CURLOPT_ERRORBUFFER, call->reason);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_URL, r->url);
    SET(CURLOPT_HTTPHEADER, call->headers);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, call);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, call);
    if (r->body.ptr) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
        SET(CURLOPT_POSTFIELDS, r->body.ptr);
    }
    if (strcmp(method, "HEAD") == 0)
        SET(CURLOPT_NOBODY, 1L);
    else
        SET(CURLOPT_CUSTOMREQUEST, method);
    if (r->cancelled) {
        SET(CURLOPT_NOPROGRESS, 0L);
        SET(CURLOPT_XFERINFOFUNCTION, progress);
        SET(CURLOPT_XFERINFODATA, call->request);
    }
    if (r->unix_socket)
        SET(CURLOPT_UNIX_SOCKET_PATH, r->unix_socket);
    if (r->ca_file) {
        SET(CURLOPT_CAINFO, r->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (r->certificate) {
        SET(CURLOPT_SSLCERT, r->certificate);
        SET(CURLOPT_SSLKEY,
            r->certificate_key ? r->certificate_key : r->certificate);
        /* An encrypted key is an error, not a question to the terminal. */
        SET(CURLOPT_KEYPASSWD, "");
    }
    long connect_ms = DEFAULT_CONNECT_MS;
    if (r->timeout_us > 0) {
        SET(CURLOPT_TIMEOUT_MS, to_ms(r->timeout_us));
        if (to_ms(r->timeout_us) < connect_ms)
            connect_ms = to_ms(r->timeout_us);
    }
    if (r->connect_timeout_us > 0)
        connect_ms = to_ms(r->connect_timeout_us);
    SET(CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    if (r->stall_us > 0) {
        SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
        SET(CURLOPT_LOW_SPEED_TIME, (to_ms(r->stall_us) + 999) / 1000);
    }
    return CURLE_OK;
}
#undef SET

/* What went wrong, in our codes and in words that say what to do. */
static enum err translate(
    const struct call *call, CURLcode code, struct errinfo *info)
{
    const char *words = call->reason[0] ? call->reason : NULL;
    const char *hint = "";
    enum err err = ERR_IO;
    if (call->refused)
        return errinfo_set(
            info, ERR_CLOSED, "%s: ended by its reader", call->shown);
    if (call->too_long)
        return errinfo_set(info, ERR_LIMIT,
            "%s: the answer is larger than the %zu bytes that are accepted",
            call->shown,
            call->answer->head.failed ? HEAD_MAX : call->answer->body.max);
    /* The codes that a caller can do something about; the rest is ERR_IO. */
    if (code == CURLE_OUT_OF_MEMORY) {
        err = ERR_NOMEM;
    } else if (code == CURLE_WEIRD_SERVER_REPLY ||
               (code == CURLE_UNSUPPORTED_PROTOCOL && words &&
                   strstr(words, "HTTP/0.9"))) {
        err = ERR_SYNTAX;
        words = "what answers there does not speak HTTP/1";
    } else if (code == CURLE_URL_MALFORMAT ||
               code == CURLE_UNSUPPORTED_PROTOCOL) {
        err = ERR_INVALID;
        hint = " (the URL must be http:// or https://)";
    } else if (code == CURLE_COULDNT_RESOLVE_HOST) {
        err = ERR_NOTFOUND;
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        err = ERR_TIMEOUT;
    } else if (code == CURLE_PEER_FAILED_VERIFICATION ||
               code == CURLE_SSL_CACERT_BADFILE) {
        err = ERR_DENIED;
        hint = call->request->ca_file ? " (CA file: " : " (no CA file given)";
    } else if (code == CURLE_SSL_CERTPROBLEM) {
        err = ERR_INVALID;
    } else if (code == CURLE_COULDNT_CONNECT || code == CURLE_GOT_NOTHING ||
               code == CURLE_PARTIAL_FILE || code == CURLE_SEND_ERROR ||
               code == CURLE_RECV_ERROR || code == CURLE_ABORTED_BY_CALLBACK) {
        err = ERR_CLOSED;
    }
    bool names_file = err == ERR_DENIED && call->request->ca_file;
    return errinfo_set(info, err, "%s: %s%s%s%s%s%s", call->shown,
        words ? words : curl_easy_strerror(code), hint,
        names_file ? call->request->ca_file : "", names_file ? ")" : "",
        call->request->unix_socket ? ", on socket " : "",
        call->request->unix_socket ? call->request->unix_socket : "");
}

enum err http_client_request(const struct http_client_request *request,
    struct http_client_answer *answer, struct errinfo *info)
{
    struct call call = {.request = request, .answer = answer};
    const char *method = request->method     ? request->method
                         : request->body.ptr ? "POST"
                                             : "GET";
    answer->status = 0;
    buf_init(&answer->head, HEAD_MAX);
    buf_init(&answer->body,
        request->max_answer ? request->max_answer : DEFAULT_MAX_ANSWER);
    show_request(&call, method);
    pthread_once(&once, set_up);
    if (!ready)
        return errinfo_set(info, ERR_NOMEM, "libcurl cannot be set up");

    enum err err;
    CURLcode code;
    call.easy = curl_easy_init();
    if (!call.easy)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    err = set_headers(&call, request->headers, info);
    if (err)
        goto out;
    code = set_options(&call, method);
    if (code == CURLE_OK)
        code = curl_easy_perform(call.easy);
    if (code != CURLE_OK) {
        err = translate(&call, code, info);
        goto out;
    }
    long status = 0;
    code = curl_easy_getinfo(call.easy, CURLINFO_RESPONSE_CODE, &status);
    MUST(code == CURLE_OK);
    answer->status = (int)status;
out:
    curl_easy_cleanup(call.easy);
    curl_slist_free_all(call.headers);
    return err;
}

void http_client_answer_fini(struct http_client_answer *answer)
{
    buf_fini(&answer->head);
    buf_fini(&answer->body);
}

struct str http_client_header(
    const struct http_client_answer *answer, const char *name)
{
    struct str rest = buf_str(&answer->head), line;
    while (rest.len > 0) {
        struct str head, value;
        (void)str_split(rest, '\n', &line, &rest);
        if (str_ends(line, STR("\r")))
            line.len--;
        if (str_split(line, ':', &head, &value) &&
            str_equal_nocase(head, str_from(name)))
            return str_trim(value);
    }
    return str_make(NULL, 0);
}
