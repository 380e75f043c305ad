/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/replayed_question.c - see proxy/replayed_question.h. */
#include "proxy/replayed_question.h"

#include "lib/encode.h"
#include "lib/json.h"

struct reading {
    const struct json *json;
    struct arena *arena;
    bool bad;
};

static struct str text_of(struct reading *r, uint32_t object, const char *name)
{
    uint32_t at = json_find(r->json, object, str_from(name));
    struct str text = STR("");

    if (at != JSON_NONE && json_text(r->json, at, r->arena, &text) != ERR_OK)
        r->bad = true;
    return text;
}

static int64_t number_of(
    struct reading *r, uint32_t object, const char *name, int64_t missing)
{
    uint32_t at = json_find(r->json, object, str_from(name));
    int64_t number = missing;

    if (at != JSON_NONE && json_int64(r->json, at, &number) != ERR_OK)
        r->bad = true;
    return number;
}

static void read_targets(struct reading *r, struct replayed_question *out)
{
    uint32_t list = json_find(r->json, 0, STR("candidates"));
    struct replayed_target *targets;
    size_t count = 0;

    if (list == JSON_NONE || json_type(r->json, list) != JSON_ARRAY) {
        r->bad = true;
        return;
    }
    targets = ARENA_ARRAY(
        r->arena, r->json->tokens[list].count + 1, struct replayed_target);
    if (!targets) {
        r->bad = true;
        return;
    }
    for (JSON_EACH_ELEMENT(r->json, list, item)) {
        struct replayed_target *t = &targets[count++];
        uint32_t permitted = json_find(r->json, item, STR("permitted"));
        t->target.model = text_of(r, item, "model");
        t->target.engine = text_of(r, item, "engine");
        t->target.upstream = text_of(r, item, "upstream");
        t->permitted = permitted != JSON_NONE &&
                       json_type(r->json, permitted) == JSON_TRUE;
        t->max_tokens = number_of(r, item, "maxTokens", -1);
        out->permitted |= t->permitted;
    }
    out->targets = targets;
    out->target_count = count;
    out->targets_more = number_of(r, 0, "candidatesMore", 0);
}

static void read_group_teams(struct reading *r, struct replayed_question *out)
{
    uint32_t list = json_find(r->json, 0, STR("groupTeams"));
    struct str *teams;

    if (list == JSON_NONE)
        return;
    if (json_type(r->json, list) != JSON_ARRAY) {
        r->bad = true;
        return;
    }
    teams = ARENA_ARRAY(r->arena, r->json->tokens[list].count + 1, struct str);
    if (!teams) {
        r->bad = true;
        return;
    }
    for (JSON_EACH_ELEMENT(r->json, list, item)) {
        if (json_text(r->json, item, r->arena, &teams[out->group_team_count]) !=
            ERR_OK) {
            r->bad = true;
            return;
        }
        out->group_team_count++;
    }
    out->group_teams = teams;
}

static void read_members(struct reading *r, struct replayed_question *out)
{
    uint32_t context = json_find(r->json, 0, STR("context"));
    uint32_t denied = json_find(r->json, 0, STR("denied"));
    uint32_t auth = json_find(r->json, 0, STR("auth"));
    uint32_t model = json_find(r->json, 0, STR("model"));
    uint32_t policy = json_find(r->json, 0, STR("policy"));
    uint32_t sealed = json_find(r->json, 0, STR("sealed"));

    out->id = text_of(r, 0, "id");
    if (clock_parse(text_of(r, 0, "time"), &out->time_us) != ERR_OK)
        r->bad = true;
    out->caller = text_of(r, 0, "caller");
    out->action = text_of(r, 0, "action");
    out->key = text_of(r, auth, "key");
    out->model = text_of(r, model, "name");
    out->policy_version = number_of(r, policy, "version", 0);
    out->policy_hash = text_of(r, policy, "hash");
    out->stage = text_of(r, denied, "stage");
    out->code = text_of(r, denied, "code");
    out->sealed_key = text_of(r, sealed, "key");
    out->sealed_box = text_of(r, sealed, "box");
    out->context = context == JSON_NONE ? STR("") : json_span(r->json, context);
    read_targets(r, out);
    read_group_teams(r, out);
}

enum err replayed_question_read(struct arena *arena, struct str entry,
    struct replayed_question *out, struct errinfo *info)
{
    struct json json;
    struct reading r = {&json, arena, false};
    struct str type;
    enum err err = json_parse(arena, entry, NULL, &json, NULL);

    memset(out, 0, sizeof *out);
    if (err)
        return errinfo_set(info, err == ERR_NOMEM ? ERR_NOMEM : ERR_SYNTAX,
            "the entry is no JSON");
    type = text_of(&r, 0, "type");
    out->denied = str_equal(type, STR("request.denied"));
    if (!out->denied && !str_equal(type, STR("request.admitted")))
        return ERR_NOTFOUND;
    read_members(&r, out);
    if (r.bad)
        return errinfo_set(info, ERR_SYNTAX,
            "the entry of request %.*s lacks a member, or has one of the "
            "wrong type",
            STR_ARG(out->id));
    return ERR_OK;
}

bool replayed_question_is_whole(const struct replayed_question *question)
{
    return question->target_count > 0 && question->targets_more == 0 &&
           question->context.len > 2; /* {} */
}

bool replayed_question_address(const struct replayed_question *question,
    struct crypto_aead *aead, const struct seal_key *key,
    char out[REPLAYED_ADDRESS_MAX])
{
    uint8_t box[8192];
    size_t length = 0;
    struct str address = STR("");
    struct json json;
    struct buf plain;
    bool found = false;

    buf_init(&plain, sizeof box);
    if (base64_decode(question->sealed_box, box, sizeof box, &length) ==
            ERR_OK &&
        seal_open(aead, key, question->id, str_make((const char *)box, length),
            &plain) == ERR_OK) {
        struct arena *arena = arena_new(4096, 65536);
        if (arena &&
            json_parse(arena, buf_str(&plain), NULL, &json, NULL) == ERR_OK) {
            struct reading r = {&json, arena, false};
            address = text_of(&r, 0, "address");
            found = !r.bad && address.len < REPLAYED_ADDRESS_MAX;
        }
        if (found) {
            memcpy(out, address.ptr, address.len);
            out[address.len] = '\0';
        }
        arena_free(&arena);
    }
    if (plain.ptr)
        crypto_wipe(plain.ptr, plain.cap);
    buf_fini(&plain);
    return found;
}
