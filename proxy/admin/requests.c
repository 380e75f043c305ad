/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/requests.c - what HTTP asks of every operation alike, so that no
 * handler has to: entity tags and If-Match (two administrators do not
 * overwrite one another), idempotency keys (a request that was sent twice is
 * carried out once), pages of lists.
 *
 * An entity tag stands for what a GET answers, without what moves by itself.
 * What a change is about is the nearest path above it that can be read.
 *
 * An answer is kept for a day under its key, sealed with a key that is made of
 * the idempotency key and kept nowhere: it may hold a secret. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"

#include <stdio.h>
#include <stdlib.h>

#define TAGGED_MAX (1u << 20) /* longer answers have no tag */
#define KEY_MAX 255
#define KEPT_US DAY_US
#define PAGE_MAX 1000
#define NONCE 12

/* --- Entity tags --------------------------------------------------------- */

/* Moves without anybody's act. */
static const char *const moving[] = {"lastUsed", "health", "used", "reserved",
    "remaining", "resets", "fetched", "failing", NULL};

static void drop_moving(json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;

    for (i = 0; json_is_object(value) && moving[i]; i++)
        json_object_del(value, moving[i]);
    json_object_foreach(value, key, member) drop_moving(member);
    json_array_foreach(value, i, member) drop_moving(member);
}

static void write_tag(
    struct admin_response *response, struct str text, bool strip)
{
    json_t *value = strip ? json_loadb(text.ptr, text.len, 0, NULL) : NULL;
    uint8_t digest[SHA256_SIZE];
    char *dumped;

    drop_moving(value);
    dumped = value ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(value);
    if (!dumped)
        return;
    crypto_sha256(digest, dumped, strlen(dumped));
    response->etag[0] = '"';
    hex_write(response->etag + 1, digest, 12);
    strcpy(response->etag + 25, "\"");
    free(dumped);
}

void admin_tag_answer(struct admin_call *call)
{
    struct admin_response *response = call->response;

    if (response->status == 200 && response->body.len <= TAGGED_MAX &&
        str_equal(call->request->method, STR("GET")) &&
        str_equal(str_from(response->content_type), STR("application/json")) &&
        !str_starts(str_from(call->operation->path), STR("/v1/audit")))
        write_tag(response, buf_str(&response->body), true);
}

/* The tag of what stands at `path` now; false: nothing can be read there. */
static bool read_tag(struct admin_call *call, struct str path, char out[32])
{
    const struct admin_request request = {
        .method = STR("GET"), .path = path, .uid = -1};
    struct admin_response response = {0};
    struct admin_call inner = {
        .admin = call->admin,
        .request = &request,
        .response = &response,
        .control = call->control,
        .db = call->db,
        .persons = call->persons,
        .arena = call->arena,
        .actor = call->actor,
        .outer = call,
    };
    bool found = false;

    buf_init(&response.body, ADMIN_ANSWER_MAX);
    inner.operation = admin_find_operation(&inner);
    if (inner.operation && !(inner.operation->flags & OPERATION_UNLOCKED)) {
        inner.body = json_object();
        if (inner.operation->handler(&inner) == ERR_OK)
            admin_tag_answer(&inner);
        json_decref(inner.body);
        found = response.etag[0] != '\0';
    }
    if (found)
        snprintf(out, 32, "%s", response.etag);
    buf_fini(&response.body);
    return found;
}

static bool is_listed(struct str list, const char *tag)
{
    struct str one;

    while (list.len > 0) {
        str_split(list, ',', &one, &list);
        one = str_trim(one);
        if (str_equal(one, STR("*")) || str_equal(one, str_from(tag)))
            return true;
    }
    return false;
}

static enum err refuse_stale(struct admin_call *call, struct str path)
{
    char tag[32];

    while (path.len > strlen("/v1/")) {
        if (read_tag(call, path, tag)) {
            if (is_listed(call->request->if_match, tag))
                return ERR_OK;
            snprintf(
                call->response->etag, sizeof call->response->etag, "%s", tag);
            admin_problem(call, 412, "precondition-failed",
                "If-Match: somebody has changed %.*s since you read it (it is "
                "%s now); read it again, and change that",
                STR_ARG(path), tag);
            return ERR_WRONG_STATE;
        }
        while (path.len > 0 && path.ptr[path.len - 1] != '/')
            path.len--;
        path.len = path.len > 0 ? path.len - 1 : 0;
    }
    admin_problem(call, 412, "precondition-failed",
        "If-Match: there is nothing at %.*s that could be read and have a tag",
        STR_ARG(call->request->path));
    return ERR_WRONG_STATE;
}

enum err admin_check_match(struct admin_call *call)
{
    struct str method = call->request->method, wanted;
    enum err err;

    if (str_equal(method, STR("GET")))
        return ERR_OK;
    if (call->request->if_match.len > 0)
        return refuse_stale(call, call->request->path);
    if (str_equal(method, STR("POST")))
        return ERR_OK; /* makes something, or is a step with states of its own
                        */
    err = admin_setting(call, "require_if_match", "false", &wanted);
    if (err || !str_equal(wanted, STR("true")) || call->request->offline)
        return err;
    admin_problem(call, 428, "precondition-required",
        "require_if_match: say what you have read (If-Match with its ETag; "
        "--if-match on the command line, where --json shows the etag), so "
        "that nobody overwrites what somebody else has changed meanwhile");
    return ERR_WRONG_STATE;
}

/* --- Idempotency keys ---------------------------------------------------- */

static void digest_of(struct admin_call *call, const char *purpose,
    struct str text, uint8_t out[SHA256_SIZE])
{
    struct buf all;

    buf_init(&all, ADMIN_BODY_MAX + 65536);
    buf_printf(&all, "bailiff %s\n%s %ld\n", purpose, call->actor.id,
        call->actor.id[0] ? 0 : call->request->uid);
    buf_append_str(&all, text);
    crypto_sha256(out, buf_str(&all).ptr, all.len);
    crypto_wipe(all.ptr, all.ptr ? all.cap : 0);
    buf_fini(&all);
}

static void digest_of_request(struct admin_call *call, uint8_t out[SHA256_SIZE])
{
    const struct admin_request *r = call->request;
    struct buf all;

    buf_init(&all, ADMIN_BODY_MAX + 65536);
    buf_printf(&all, "%.*s %.*s?%.*s\n", STR_ARG(r->method), STR_ARG(r->path),
        STR_ARG(r->query));
    buf_append_str(&all, r->body);
    digest_of(call, "request", buf_str(&all), out);
    crypto_wipe(all.ptr, all.ptr ? all.cap : 0);
    buf_fini(&all);
}

static bool uses_key(const struct admin_call *call)
{
    return call->request->idempotency_key.len > 0 &&
           !(call->operation->flags & OPERATION_UNLOCKED) &&
           !str_equal(call->request->method, STR("GET"));
}

static enum err open_kept(
    struct admin_call *call, int64_t status, struct str kept)
{
    struct crypto_aead *aead = crypto_aead_new();
    uint8_t key[SHA256_SIZE];
    struct buf plain;
    enum err err = aead ? ERR_OK : ERR_NOMEM;

    buf_init(&plain, ADMIN_ANSWER_MAX);
    digest_of(call, "answer", call->request->idempotency_key, key);
    if (!err && (kept.len < NONCE + 16 || !buf_reserve(&plain, kept.len)))
        err = ERR_NOMEM;
    if (!err)
        err = crypto_aead_open(aead, key, (const uint8_t *)kept.ptr, STR(""),
            (const uint8_t *)kept.ptr + NONCE, kept.len - NONCE,
            (uint8_t *)plain.ptr);
    if (!err) {
        buf_grew(&plain, kept.len - NONCE - 16);
        buf_append_str(&call->response->body, buf_str(&plain));
        call->response->status = (int)status;
        call->response->content_type = "application/json";
        call->response->replayed = true;
        call->answered = true;
    }
    crypto_wipe(key, sizeof key);
    crypto_wipe(plain.ptr, plain.ptr ? plain.cap : 0);
    buf_fini(&plain);
    crypto_aead_free(&aead);
    return err ? FAIL(call, err, "the kept answer cannot be read") : ERR_OK;
}

enum err admin_replay(struct admin_call *call, bool *done)
{
    uint8_t id[SHA256_SIZE], request[SHA256_SIZE];
    struct str sent, kept;
    struct db_statement *s;
    int64_t status;
    enum err err;

    *done = false;
    if (!uses_key(call))
        return ERR_OK;
    if (call->request->idempotency_key.len > KEY_MAX)
        return FAIL(call, ERR_INVALID, "Idempotency-Key: longer than %d bytes",
            KEY_MAX);
    err = db_prepare(call->db,
        "SELECT request, status, answer FROM idempotent_answer WHERE id = ?1 "
        "AND created > ?2",
        &s, &call->info);
    if (err)
        return err;
    digest_of(call, "idempotency", call->request->idempotency_key, id);
    digest_of_request(call, request);
    db_bind_blob(s, 1, id, sizeof id);
    db_bind_int(s, 2, clock_now() - KEPT_US);
    err = db_step(s, &call->info);
    if (err) {
        db_reset(s);
        return err == ERR_NOTFOUND ? ERR_OK : err;
    }
    *done = true;
    sent = db_column_blob(s, 0);
    status = db_column_is_null(s, 1) ? 0 : db_column_int(s, 1);
    kept = arena_copy(call->arena, db_column_blob(s, 2));
    if (sent.len != sizeof request || memcmp(sent.ptr, request, sent.len) != 0)
        admin_problem(call, 422, "idempotency-key-reused",
            "Idempotency-Key: you have used this key for another request "
            "within a day; a new request needs a new key");
    else if (status == 0)
        admin_problem(call, 409, "answer-lost",
            "Idempotency-Key: this was carried out before, but its answer was "
            "lost; look at what it changed");
    else
        err = open_kept(call, status, kept);
    db_reset(s);
    return err;
}

/* In the same transaction as the change: whoever asks again cannot have it
 * carried out twice, whatever happens after. */
enum err admin_claim_key(struct admin_call *call)
{
    uint8_t id[SHA256_SIZE], request[SHA256_SIZE];
    struct db_statement *s;
    enum err err;

    /* (With the first change, where a request makes several.) */
    if (!uses_key(call) || call->outer || call->claimed)
        return ERR_OK;
    err = db_prepare(call->db,
        "DELETE FROM idempotent_answer WHERE created <= ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_int(s, 1, clock_now() - KEPT_US);
    err = db_run(s, &call->info);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO idempotent_answer (id, request, created) VALUES (?1, "
            "?2, ?3)",
            &s, &call->info);
    if (err)
        return err;
    digest_of(call, "idempotency", call->request->idempotency_key, id);
    digest_of_request(call, request);
    db_bind_blob(s, 1, id, sizeof id);
    db_bind_blob(s, 2, request, sizeof request);
    db_bind_int(s, 3, clock_now());
    err = db_run(s, &call->info);
    call->claimed = err == ERR_OK;
    return err;
}

static enum err keep(struct admin_call *call, const struct buf *sealed)
{
    uint8_t id[SHA256_SIZE];
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "UPDATE idempotent_answer SET status = ?2, answer = ?3 WHERE id = ?1",
        &s, &call->info);

    if (err)
        return err;
    digest_of(call, "idempotency", call->request->idempotency_key, id);
    db_bind_blob(s, 1, id, sizeof id);
    db_bind_int(s, 2, call->response->status);
    db_bind_blob(s, 3, sealed->ptr, sealed->len);
    return db_run(s, &call->info);
}

/* The change stands either way: a failure here loses the answer alone. */
void admin_keep_answer(struct admin_call *call)
{
    struct str answer = buf_str(&call->response->body);
    struct crypto_aead *aead;
    uint8_t key[SHA256_SIZE];
    struct errinfo kept = call->info;
    struct buf sealed;

    if (!call->claimed || call->response->status >= 300)
        return;
    aead = crypto_aead_new();
    buf_init(&sealed, ADMIN_ANSWER_MAX + 64);
    digest_of(call, "answer", call->request->idempotency_key, key);
    if (aead && buf_reserve(&sealed, answer.len + NONCE + 16)) {
        crypto_random(sealed.ptr, NONCE);
        if (crypto_aead_seal(aead, key, (const uint8_t *)sealed.ptr, STR(""),
                answer.ptr, answer.len,
                (uint8_t *)sealed.ptr + NONCE) == ERR_OK) {
            buf_grew(&sealed, answer.len + NONCE + 16);
            if (keep(call, &sealed) != ERR_OK)
                call->info = kept;
        }
    }
    crypto_wipe(key, sizeof key);
    buf_fini(&sealed);
    crypto_aead_free(&aead);
}

/* --- Pages --------------------------------------------------------------- */

bool admin_is_list(const struct admin_operation *operation)
{
    return strncmp(operation->action, "list", 4) == 0 &&
           strcmp(operation->action, "listEntries") != 0;
}

enum err admin_take_page(struct admin_call *call, struct admin_request *copy)
{
    struct str rest = call->request->query, pair, name, value;
    struct buf others;

    if (!admin_is_list(call->operation) || rest.len == 0)
        return ERR_OK;
    buf_init(&others, 65536);
    while (rest.len > 0) {
        str_split(rest, '&', &pair, &rest);
        str_split(pair, '=', &name, &value);
        if (str_equal(name, STR("limit"))) {
            if (str_to_i64(value, &call->page_limit) != ERR_OK ||
                call->page_limit < 1 || call->page_limit > PAGE_MAX) {
                buf_fini(&others);
                return FAIL(call, ERR_RANGE,
                    "limit: must be a number from 1 to %d", PAGE_MAX);
            }
        } else if (str_equal(name, STR("after"))) {
            call->page_after = admin_decode(call->arena, value, true);
            if (!call->page_after.ptr)
                call->page_after = STR("?");
        } else if (pair.len > 0) {
            if (others.len > 0)
                buf_append_char(&others, '&');
            buf_append_str(&others, pair);
        }
    }
    *copy = *call->request;
    copy->query = arena_copy(call->arena, buf_str(&others));
    buf_fini(&others);
    if (!copy->query.ptr)
        return ERR_NOMEM;
    call->request = copy;
    return ERR_OK;
}

/* What an item is called. */
static const char *identity(const json_t *item, char number[32])
{
    static const char *const members[] = {"id", "name", "key", "version", NULL};

    for (int i = 0; members[i]; i++) {
        const json_t *member = json_object_get(item, members[i]);
        if (json_is_string(member))
            return json_string_value(member);
        if (json_is_integer(member)) {
            snprintf(number, 32, "%lld", (long long)json_integer_value(member));
            return number;
        }
    }
    return "";
}

/* Where the page begins: behind the item that the cursor names, or, when that
 * has gone, where it stood. */
static enum err first_of_page(
    struct admin_call *call, const json_t *items, size_t *first)
{
    struct str place, name;
    char number[32];
    int64_t at;

    *first = 0;
    if (call->page_after.len == 0)
        return ERR_OK;
    str_split(call->page_after, '.', &place, &name);
    if (str_to_i64(place, &at) != ERR_OK || at < 0)
        return FAIL(call, ERR_INVALID,
            "after: \"%.*s\" is no cursor; it is the \"next\" of the page "
            "before",
            STR_ARG(call->page_after));
    for (size_t i = 0; i < json_array_size(items); i++)
        if (str_equal(
                str_from(identity(json_array_get(items, i), number)), name)) {
            *first = i + 1;
            return ERR_OK;
        }
    *first = (size_t)at < json_array_size(items) ? (size_t)at
                                                 : json_array_size(items);
    return ERR_OK;
}

enum err admin_answer_page(struct admin_call *call, json_t *items)
{
    size_t first, total = json_array_size(items), last;
    json_t *answer, *page;
    char number[32];
    enum err err = first_of_page(call, items, &first);

    if (err) {
        json_decref(items);
        return err;
    }
    last = call->page_limit > 0 && total - first > (size_t)call->page_limit
               ? first + (size_t)call->page_limit
               : total;
    answer = json_object();
    page = json_array();
    for (size_t i = first; i < last; i++)
        json_array_append(page, json_array_get(items, i));
    if (last < total)
        admin_set(answer, "next",
            json_sprintf("%zu.%s", last,
                identity(json_array_get(items, last - 1), number)));
    admin_set(answer, "items", page);
    json_decref(items);
    return admin_answer(call, 200, answer);
}
