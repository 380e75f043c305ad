/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/entry.c - writes the entries of the log.
 *
 * On the hot path: nothing is allocated but the growth of `out`, and a text
 * that surely fits is not scanned. Members stand in sorted order in the code;
 * the writer checks that. */
#include "audit/entry.h"

#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/json_write.h"
#include "lib/must.h"

#define ENTRY_MAX 65535

/* Budgets in bytes of written JSON. Their sum, with the longest object of
 * each fixed member, stays below ENTRY_MAX:
 *   20480 context + 13750 candidates + 4600 teams + 1400 groups + 9216 quotas +
 * 5500 box
 *   + 2000 stripped + 2100 message + 6000 of short members = 65,046. */
#define NAME_MAX_BYTES 256
#define ID_MAX_BYTES 64
#define WORD_MAX_BYTES 64
#define HEX_MAX_BYTES 128
#define REASON_MAX_BYTES 512
#define TEAMS_BUDGET 4600
/* (put_list keeps room for one more) */
#define GROUP_TEAMS_BUDGET 1400
#define STRIPPED_BUDGET 2000
#define CANDIDATES_BUDGET 13750
#define CANDIDATE_LIST_BUDGET 2400
/* what one more candidate can add beside its lists */
#define CANDIDATE_REST (4 * NAME_MAX_BYTES + 256)
#define ACT_REASON_MAX_BYTES 4096

struct writer {
    struct json_writer json;
    struct buf *out;
    size_t start; /* out->len where this entry began */
    size_t *time_offset;
};

static void begin(struct writer *w, struct buf *out, size_t *time_offset)
{
    json_write_init(&w->json, out);
    w->out = out;
    w->start = out->len;
    w->time_offset = time_offset;
    *time_offset = 0;
    json_write_object(&w->json);
}

static void end(struct writer *w)
{
    json_write_object_end(&w->json);
    MUST(w->out->failed || w->out->len - w->start <= ENTRY_MAX);
}

static int64_t clamp(int64_t value)
{
    if (value > JSON_INTEGER_MAX)
        return JSON_INTEGER_MAX;
    return value < -JSON_INTEGER_MAX ? -JSON_INTEGER_MAX : value;
}

static inline __attribute__((always_inline)) void put_int(
    struct writer *w, struct str key, int64_t value)
{
    json_write_member_int(&w->json, key, clamp(value));
}

/* --- Bounded texts -------------------------------------------------------- */

/* How many bytes of `value` can be written within `max` escaped bytes. */
static size_t fitting(struct str value, size_t max)
{
    int utf8 = -1; /* not looked at yet */
    size_t cost = 0, at = 0;
    for (; at < value.len; at++) {
        unsigned char c = (unsigned char)value.ptr[at];
        if (c < 0x20)
            cost += 6;
        else if (c == '"' || c == '\\')
            cost += 2;
        else if (c < 0x80)
            cost += 1;
        else {
            if (utf8 < 0)
                utf8 = str_is_utf8(value);
            cost += utf8 ? 1 : 3; /* may become U+FFFD */
        }
        if (cost > max)
            break;
    }
    return at;
}

/* Cuts at a character boundary and ends in U+2026. */
static __attribute__((noinline)) void put_cut_string(
    struct writer *w, struct str value, size_t max)
{
    char text[ACT_REASON_MAX_BYTES];
    if (max > sizeof(text))
        max = sizeof(text);
    size_t keep = fitting(value, max - 3);
    while (keep > 0 && ((unsigned char)value.ptr[keep] & 0xC0) == 0x80)
        keep--;
    memcpy(text, value.ptr, keep);
    memcpy(text + keep, "\xE2\x80\xA6", 3);
    json_write_string(&w->json, str_make(text, keep + 3));
}

static void put_string(struct writer *w, struct str value, size_t max)
{
    /* Six bytes (a \u escape) is the most that one byte can become. */
    if (value.len <= max / 6 || (value.len <= max && json_is_plain(value)) ||
        fitting(value, max) == value.len)
        json_write_string(&w->json, value);
    else
        put_cut_string(w, value, max);
}

static inline __attribute__((always_inline)) void put_text(
    struct writer *w, struct str key, struct str value, size_t max)
{
    json_write_key(&w->json, key);
    put_string(w, value, max);
}

static inline __attribute__((always_inline)) void put_text_if(
    struct writer *w, struct str key, struct str value, size_t max)
{
    if (value.len > 0)
        put_text(w, key, value, max);
}

/* Texts of a list while they fit in `budget`; gives how many were left out. */
static size_t put_list(struct writer *w, struct str key,
    const struct str *texts, size_t count, size_t budget)
{
    size_t start = w->out->len, at = 0;
    json_write_key(&w->json, key);
    json_write_array(&w->json);
    for (; at < count; at++) {
        if (w->out->len - start + NAME_MAX_BYTES + 8 > budget)
            break;
        put_string(w, texts[at], NAME_MAX_BYTES);
    }
    json_write_array_end(&w->json);
    return count - at;
}

/* A finished canonical value, or what stands for one that is too long. */
static void put_raw(
    struct writer *w, struct str key, struct str value, size_t max)
{
    json_write_key(&w->json, key);
    if (value.len == 0) {
        json_write_raw(&w->json, STR("{}"));
        return;
    }
    if (value.len <= max) {
        json_write_raw(&w->json, value);
        return;
    }
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    crypto_sha256(digest, value.ptr, value.len);
    hex_write(hex, digest, sizeof(digest));
    json_write_object(&w->json);
    json_write_key(&w->json, STR("omitted"));
    json_write_object(&w->json);
    put_int(w, STR("bytes"), (int64_t)value.len);
    json_write_member_string(
        &w->json, STR("sha256"), str_make(hex, 2 * SHA256_SIZE));
    json_write_object_end(&w->json);
    json_write_object_end(&w->json);
}

static inline __attribute__((always_inline)) void put_instant(
    struct writer *w, struct str key, int64_t time_us)
{
    char text[CLOCK_TEXT_LENGTH];
    clock_format(text, time_us);
    json_write_member_string(&w->json, key, str_make(text, sizeof(text)));
}

/* --- Members that several types share --------------------------------------
 */

static void put_tail(struct writer *w, int64_t time_us)
{
    char text[CLOCK_TEXT_LENGTH];
    clock_format(text, time_us);
    json_write_member_string(
        &w->json, STR("time"), str_make(text, sizeof(text)));
    /* the closing quote was the last byte written */
    if (!w->out->failed)
        *w->time_offset = w->out->len - w->start - CLOCK_TEXT_LENGTH - 1;
}

static void put_version(struct writer *w)
{
    json_write_member_int(&w->json, STR("v"), 1);
}

static void put_sealed(struct writer *w, const struct audit_sealed *sealed)
{
    if (sealed->key_id.len == 0)
        return;
    json_write_key(&w->json, STR("sealed"));
    json_write_object(&w->json);
    json_write_key(&w->json, STR("box"));
    /* Base64 needs no escaping: encoded in place, between two raw quotes. */
    json_write_raw(&w->json, STR("\""));
    if (sealed->box.len <= AUDIT_BOX_MAX)
        base64_append(w->out, sealed->box.ptr, sealed->box.len);
    buf_append_char(w->out, '"');
    put_text(w, STR("key"), sealed->key_id, ID_MAX_BYTES);
    json_write_object_end(&w->json);
}

static void put_content(struct writer *w, const struct audit_content *content)
{
    if (content->key_id.len == 0)
        return;
    json_write_key(&w->json, STR("content"));
    json_write_object(&w->json);
    put_text(w, STR("blob"), content->blob, HEX_MAX_BYTES);
    put_int(w, STR("bytes"), content->bytes);
    put_text(w, STR("commitment"), content->commitment, HEX_MAX_BYTES);
    put_text(w, STR("key"), content->key_id, ID_MAX_BYTES);
    json_write_object_end(&w->json);
}

enum figures {
    FIGURES_TAKEN,  /* admitted */
    FIGURES_ASKED,  /* denied, measured: nothing was taken */
    FIGURES_SETTLED /* completed, withdrawn */
};

static void put_figure(struct writer *w,
    const struct audit_quota_figure *figure, enum figures kind)
{
    json_write_object(&w->json);
    bool rate = figure->rate && kind != FIGURES_ASKED;
    if (rate)
        put_instant(w, STR("arrival"), figure->arrival_us);
    if (kind == FIGURES_ASKED)
        put_int(w, STR("asked"), figure->reserved);
    put_text(w, STR("bucket"), figure->bucket, ID_MAX_BYTES);
    if (kind != FIGURES_SETTLED)
        put_int(w, STR("limit"), figure->limit);
    if (kind != FIGURES_ASKED)
        put_int(w, STR("reserved"), figure->reserved);
    if (kind == FIGURES_SETTLED)
        put_int(w, STR("settled"), figure->settled);
    if (rate)
        put_int(w, STR("step"),
            figure->step > (uint64_t)JSON_INTEGER_MAX ? JSON_INTEGER_MAX
                                                      : (int64_t)figure->step);
    if (kind != FIGURES_SETTLED)
        put_int(w, STR("used"), figure->used);
    if (figure->rate)
        json_write_member_string(&w->json, STR("window"), STR("minute"));
    else if (figure->now)
        json_write_member_string(&w->json, STR("window"), STR("now"));
    else if (figure->window_start_us == 0)
        json_write_member_string(&w->json, STR("window"), STR("lifetime"));
    else
        put_instant(w, STR("window"), figure->window_start_us);
    json_write_object_end(&w->json);
}

/* Replay needs every figure: more than the maximum is a mistake of ours. */
static void put_quotas(struct writer *w,
    const struct audit_quota_figure *quotas, size_t count, enum figures kind)
{
    MUST(count <= AUDIT_QUOTAS_MAX);
    json_write_key(&w->json, STR("quotas"));
    json_write_array(&w->json);
    for (size_t i = 0; i < count; i++)
        put_figure(w, &quotas[i], kind);
    json_write_array_end(&w->json);
}

static void put_candidate(
    struct writer *w, const struct audit_candidate *candidate)
{
    json_write_object(&w->json);
    if (candidate->advice_count > 0)
        (void)put_list(w, STR("advice"), candidate->advice,
            candidate->advice_count, CANDIDATE_LIST_BUDGET);
    put_text(w, STR("engine"), candidate->engine, NAME_MAX_BYTES);
    if (candidate->error_count > 0)
        (void)put_list(w, STR("errors"), candidate->errors,
            candidate->error_count, CANDIDATE_LIST_BUDGET);
    if (candidate->max_tokens >= 0)
        put_int(w, STR("maxTokens"), candidate->max_tokens);
    put_text(w, STR("model"), candidate->model, NAME_MAX_BYTES);
    json_write_member_bool(&w->json, STR("permitted"), candidate->permitted);
    (void)put_list(w, STR("policies"), candidate->policies,
        candidate->policy_count, CANDIDATE_LIST_BUDGET);
    put_text_if(w, STR("priority"), candidate->priority, WORD_MAX_BYTES);
    if (!candidate->permitted)
        put_text(w, STR("reason"), candidate->reason, NAME_MAX_BYTES);
    if (candidate->record_full)
        json_write_member_bool(&w->json, STR("recordFull"), true);
    put_text(w, STR("upstream"), candidate->upstream, NAME_MAX_BYTES);
    json_write_object_end(&w->json);
}

static void put_candidates(struct writer *w, const struct audit_request *r)
{
    size_t start = w->out->len, at = 0;
    json_write_key(&w->json, STR("candidates"));
    json_write_array(&w->json);
    for (; at < r->candidate_count; at++) {
        if (w->out->len - start + 3 * CANDIDATE_LIST_BUDGET + CANDIDATE_REST >
            CANDIDATES_BUDGET)
            break;
        put_candidate(w, &r->candidates[at]);
    }
    json_write_array_end(&w->json);
    if (at < r->candidate_count)
        put_int(w, STR("candidatesMore"), (int64_t)(r->candidate_count - at));
}

static void put_denied(struct writer *w, const struct audit_denied *denied)
{
    json_write_key(&w->json, STR("denied"));
    json_write_object(&w->json);
    put_text(w, STR("code"), denied->code, WORD_MAX_BYTES);
    put_text(w, STR("message"), denied->message, AUDIT_MESSAGE_MAX);
    put_text_if(w, STR("quota"), denied->quota, ID_MAX_BYTES);
    put_text(w, STR("stage"), denied->stage, WORD_MAX_BYTES);
    put_int(w, STR("status"), denied->status);
    json_write_object_end(&w->json);
}

static void put_input(struct writer *w, const struct audit_request *r)
{
    json_write_key(&w->json, STR("input"));
    json_write_object(&w->json);
    put_int(w, STR("body"), r->body_bytes);
    put_int(w, STR("bound"), r->input_bound);
    put_text(w, STR("digest"), r->body_digest, HEX_MAX_BYTES);
    put_text(w, STR("digestKey"), r->digest_key, WORD_MAX_BYTES);
    json_write_object_end(&w->json);
}

static void put_model_and_policy(
    struct writer *w, const struct audit_request *r)
{
    json_write_key(&w->json, STR("model"));
    json_write_object(&w->json);
    put_text(w, STR("asked"), r->model_asked, NAME_MAX_BYTES);
    put_text(w, STR("name"), r->model, NAME_MAX_BYTES);
    json_write_object_end(&w->json);
    json_write_key(&w->json, STR("policy"));
    json_write_object(&w->json);
    put_text(w, STR("hash"), r->policy_hash, HEX_MAX_BYTES);
    put_int(w, STR("version"), r->policy_version);
    json_write_object_end(&w->json);
    if (r->price_version == 0)
        return;
    json_write_key(&w->json, STR("price"));
    json_write_object(&w->json);
    put_text(w, STR("hash"), r->price_hash, HEX_MAX_BYTES);
    put_int(w, STR("version"), r->price_version);
    json_write_object_end(&w->json);
}

/* admitted, denied and measured: one shape, and what differs. */
static void put_request(struct writer *w, const struct audit_request *r,
    struct str type, const struct audit_denied *denied,
    const struct str *engine)
{
    put_text(w, STR("action"), r->action, WORD_MAX_BYTES);
    json_write_key(&w->json, STR("auth"));
    json_write_object(&w->json);
    put_text(w, STR("key"), r->key, ID_MAX_BYTES);
    put_text(w, STR("method"), r->auth_method, WORD_MAX_BYTES);
    json_write_object_end(&w->json);
    put_text(w, STR("caller"), r->caller, ID_MAX_BYTES);
    put_candidates(w, r);
    if (r->cap >= 0)
        put_int(w, STR("cap"), r->cap);
    json_write_member_bool(&w->json, STR("capInjected"), r->cap_injected);
    put_content(w, &r->content);
    put_raw(w, STR("context"), r->context, AUDIT_CONTEXT_MAX);
    if (denied)
        put_denied(w, denied);
    put_text(w, STR("dialect"), r->dialect, WORD_MAX_BYTES);
    put_text_if(w, STR("emergency"), r->emergency, ID_MAX_BYTES);
    if (engine)
        put_text(w, STR("engine"), *engine, NAME_MAX_BYTES);
    if (r->group_team_count > 0 &&
        put_list(w, STR("groupTeams"), r->group_teams, r->group_team_count,
            GROUP_TEAMS_BUDGET) > 0)
        w->out->failed = true;
    put_text(w, STR("id"), r->id, ID_MAX_BYTES);
    put_input(w, r);
    put_model_and_policy(w, r);
    put_quotas(w, r->quotas, r->quota_count,
        denied || engine ? FIGURES_ASKED : FIGURES_TAKEN);
    put_text_if(w, STR("retention"), r->retention, WORD_MAX_BYTES);
    put_text(w, STR("route"), r->route, NAME_MAX_BYTES);
    put_sealed(w, &r->sealed);
    put_text(w, STR("snapshot"), r->snapshot, HEX_MAX_BYTES);
    json_write_member_bool(&w->json, STR("stream"), r->stream);
    size_t more = 0;
    if (r->stripped_count > 0)
        more = put_list(w, STR("stripped"), r->stripped, r->stripped_count,
            STRIPPED_BUDGET);
    if (more > 0)
        put_int(w, STR("strippedMore"), (int64_t)more);
    more = put_list(w, STR("teams"), r->teams, r->team_count, TEAMS_BUDGET);
    if (more > 0)
        put_int(w, STR("teamsMore"), (int64_t)more);
    put_tail(w, r->time_us);
    put_text_if(w, STR("trace"), r->trace, WORD_MAX_BYTES);
    json_write_member_string(&w->json, STR("type"), type);
    put_version(w);
    if (r->waited_us > 0)
        put_int(w, STR("waited"), r->waited_us);
}

/* --- request.* --------------------------------------------------------------
 */

void audit_entry_admitted(
    struct buf *out, const struct audit_request *request, size_t *time_offset)
{
    struct writer w;
    begin(&w, out, time_offset);
    put_request(&w, request, STR("request.admitted"), NULL, NULL);
    end(&w);
}

void audit_entry_denied(struct buf *out, const struct audit_request *request,
    const struct audit_denied *denied, size_t *time_offset)
{
    struct writer w;
    begin(&w, out, time_offset);
    put_request(&w, request, STR("request.denied"), denied, NULL);
    end(&w);
}

void audit_entry_measured(struct buf *out, const struct audit_request *request,
    struct str engine, size_t *time_offset)
{
    struct writer w;
    begin(&w, out, time_offset);
    put_request(&w, request, STR("request.measured"), NULL, &engine);
    end(&w);
}

void audit_entry_attempt(
    struct buf *out, const struct audit_attempt *attempt, size_t *time_offset)
{
    struct writer w;
    begin(&w, out, time_offset);
    put_text(&w, STR("engine"), attempt->engine, NAME_MAX_BYTES);
    put_text(&w, STR("error"), attempt->error, REASON_MAX_BYTES);
    put_text(&w, STR("id"), attempt->id, ID_MAX_BYTES);
    put_int(&w, STR("number"), attempt->number);
    if (attempt->status != 0)
        put_int(&w, STR("status"), attempt->status);
    put_tail(&w, attempt->time_us);
    json_write_member_string(&w.json, STR("type"), STR("request.attempt"));
    put_text(&w, STR("upstream"), attempt->upstream, NAME_MAX_BYTES);
    put_version(&w);
    end(&w);
}

static inline __attribute__((always_inline)) void put_known(
    struct writer *w, struct str key, int64_t value)
{
    if (value >= 0)
        put_int(w, key, value);
}

void audit_entry_completed(struct buf *out,
    const struct audit_completed *completed, size_t *time_offset)
{
    const struct audit_completed *c = completed;
    struct writer w;
    begin(&w, out, time_offset);
    if (c->answer_digest.len > 0) {
        json_write_key(&w.json, STR("answer"));
        json_write_object(&w.json);
        put_text(&w, STR("digest"), c->answer_digest, HEX_MAX_BYTES);
        put_text(&w, STR("digestKey"), c->digest_key, WORD_MAX_BYTES);
        json_write_object_end(&w.json);
    }
    put_int(&w, STR("attempts"), c->attempts);
    put_int(&w, STR("bytesOut"), c->bytes_out);
    put_content(&w, &c->content);
    put_text_if(&w, STR("contentLost"), c->content_lost, REASON_MAX_BYTES);
    put_text_if(&w, STR("engine"), c->engine, NAME_MAX_BYTES);
    put_text(&w, STR("id"), c->id, ID_MAX_BYTES);
    json_write_key(&w.json, STR("latency"));
    json_write_object(&w.json);
    put_known(&w, STR("durable"), c->durable_us);
    put_known(&w, STR("firstByte"), c->first_byte_us);
    put_known(&w, STR("total"), c->total_us);
    json_write_object_end(&w.json);
    put_text(&w, STR("outcome"), c->outcome, WORD_MAX_BYTES);
    put_quotas(&w, c->quotas, c->quota_count, FIGURES_SETTLED);
    put_text_if(&w, STR("reason"), c->reason, REASON_MAX_BYTES);
    if (c->status != 0)
        put_int(&w, STR("status"), c->status);
    put_tail(&w, c->time_us);
    json_write_member_string(&w.json, STR("type"), STR("request.completed"));
    put_text_if(&w, STR("upstream"), c->upstream, NAME_MAX_BYTES);
    json_write_key(&w.json, STR("usage"));
    json_write_object(&w.json);
    put_known(&w, STR("cached"), c->cached_tokens);
    put_known(&w, STR("cost"), c->cost);
    put_known(&w, STR("input"), c->input_tokens);
    put_known(&w, STR("output"), c->output_tokens);
    put_known(&w, STR("reasoning"), c->reasoning_tokens);
    put_text(&w, STR("source"),
        c->usage_source.len > 0 ? c->usage_source : STR("none"),
        WORD_MAX_BYTES);
    json_write_object_end(&w.json);
    put_version(&w);
    end(&w);
    MUST(out->failed || out->len - w.start <= AUDIT_COMPLETION_MAX);
}

void audit_entry_withdrawn(struct buf *out,
    const struct audit_withdrawn *withdrawn, size_t *time_offset)
{
    struct writer w;
    begin(&w, out, time_offset);
    put_text(&w, STR("id"), withdrawn->id, ID_MAX_BYTES);
    put_quotas(&w, withdrawn->quotas, withdrawn->quota_count, FIGURES_SETTLED);
    put_text(&w, STR("reason"), withdrawn->reason, REASON_MAX_BYTES);
    put_tail(&w, withdrawn->time_us);
    json_write_member_string(&w.json, STR("type"), STR("request.withdrawn"));
    put_version(&w);
    end(&w);
    MUST(out->failed || out->len - w.start <= AUDIT_COMPLETION_MAX);
}

/* --- auth.failed and acts ----------------------------------------------------
 */

static void put_own_id(struct writer *w, struct str id, int64_t time_us)
{
    char text[ULID_LENGTH];
    if (id.len == 0) {
        uint8_t random[10];
        crypto_random_id(random, sizeof(random));
        ulid_write(text, time_us, random);
        id = str_make(text, sizeof(text));
    }
    put_text(w, STR("id"), id, ID_MAX_BYTES);
}

void audit_entry_auth_failed(struct buf *out,
    const struct audit_auth_failed *failed, size_t *time_offset)
{
    struct writer w;
    begin(&w, out, time_offset);
    put_int(&w, STR("count"), failed->count);
    put_instant(&w, STR("first"), failed->first_us);
    put_own_id(&w, failed->id, failed->time_us);
    put_text_if(&w, STR("key"), failed->key, ID_MAX_BYTES);
    put_text(&w, STR("reason"), failed->reason, WORD_MAX_BYTES);
    put_text(&w, STR("route"), failed->route, NAME_MAX_BYTES);
    put_sealed(&w, &failed->sealed);
    put_tail(&w, failed->time_us);
    json_write_member_string(&w.json, STR("type"), STR("auth.failed"));
    put_version(&w);
    end(&w);
}

void audit_entry_act(
    struct buf *out, const struct audit_act *act, size_t *time_offset)
{
    struct writer w;
    begin(&w, out, time_offset);
    json_write_key(&w.json, STR("actor"));
    json_write_object(&w.json);
    put_text_if(&w, STR("certificate"), act->actor_certificate, HEX_MAX_BYTES);
    put_text(&w, STR("id"), act->actor, ID_MAX_BYTES);
    put_text(&w, STR("method"), act->actor_method, WORD_MAX_BYTES);
    json_write_object_end(&w.json);
    if (act->after.len > 0)
        put_raw(&w, STR("after"), act->after, AUDIT_OBJECT_MAX);
    if (act->before.len > 0)
        put_raw(&w, STR("before"), act->before, AUDIT_OBJECT_MAX);
    put_text_if(&w, STR("controlDigest"), act->control_digest, HEX_MAX_BYTES);
    if (act->detail.len > 0)
        put_raw(&w, STR("detail"), act->detail, AUDIT_OBJECT_MAX);
    put_own_id(&w, act->id, act->time_us);
    if (act->object_kind.len > 0 || act->object.len > 0) {
        json_write_key(&w.json, STR("object"));
        json_write_object(&w.json);
        put_text(&w, STR("id"), act->object, NAME_MAX_BYTES);
        put_text(&w, STR("kind"), act->object_kind, WORD_MAX_BYTES);
        json_write_object_end(&w.json);
    }
    if (act->outbox > 0)
        put_int(&w, STR("outbox"), act->outbox);
    put_text_if(&w, STR("reason"), act->reason, ACT_REASON_MAX_BYTES);
    put_sealed(&w, &act->sealed);
    put_tail(&w, act->time_us);
    put_text(&w, STR("type"), act->type, WORD_MAX_BYTES);
    put_version(&w);
    end(&w);
}

/* --- Reading back ------------------------------------------------------------
 */

/* Walks the canonical text once, outside strings counting depth: "time" as a
 * member of the outermost object, whatever stands in before and after. */
enum err audit_entry_find_time(struct str entry, size_t *time_offset)
{
    static const char key[] = "\"time\":\"";
    const size_t key_length = sizeof(key) - 1;
    int depth = 0;
    for (size_t at = 0; at < entry.len; at++) {
        char c = entry.ptr[at];
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == '"') {
            if (depth == 1 && at > 0 && entry.ptr[at - 1] != ':' &&
                entry.len - at >= key_length + CLOCK_TEXT_LENGTH + 1 &&
                memcmp(entry.ptr + at, key, key_length) == 0) {
                size_t text = at + key_length;
                int64_t time_us;
                if (entry.ptr[text + CLOCK_TEXT_LENGTH] != '"' ||
                    clock_parse(str_make(entry.ptr + text, CLOCK_TEXT_LENGTH),
                        &time_us) != ERR_OK)
                    return ERR_SYNTAX;
                *time_offset = text;
                return ERR_OK;
            }
            for (at++; at < entry.len && entry.ptr[at] != '"'; at++)
                if (entry.ptr[at] == '\\')
                    at++;
        }
    }
    return ERR_SYNTAX;
}
