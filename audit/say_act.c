/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/say_act.c - acts in plain words: who did what to what, and why.
 *
 * Most types are KIND.VERB with the verb in the past tense and read as they
 * are ("added the team cardiology"); the table has those that do not. */
#include "audit/say_priv.h"

#include "lib/json.h"

struct phrase {
    const char *type;
    const char *words; /* '#': the object */
};
static const struct phrase phrases[] = {
    {"admin.administrator.added", "made # an administrator"},
    {"admin.administrator.disabled", "disabled the administrator #"},
    {"admin.certificate.pinned", "pinned a certificate of the administrator #"},
    {"admin.certificate.unpinned",
        "took a pinned certificate of the administrator # away"},
    {"admin.caller.made", "made the caller # for a token of its issuer"},
    {"admin.emergency.called", "called the emergency #"},
    {"admin.emergency.ended", "saw the emergency # end"},
    {"admin.emergency.reviewed", "closed the review of the emergency #"},
    {"admin.key.issued", "issued the API key #"},
    {"admin.refused", "was refused #"},
    {"admin.setting.changed", "changed the organisation's setting #"},
    {"admin.state.adopted",
        "adopted the control state, which had been edited by another hand"},
    {"audit.checkpoint_taken", "took a signed checkpoint of the log"},
    {"audit.exported", "exported entries of the log"},
    {"audit.bundled", "made an evidence bundle of the log"},
    {"admin.hold.added", "put records under the legal hold #"},
    {"admin.hold.released", "released the legal hold #"},
    {"admin.retention_class.set", "set the retention class #"},
    {"admin.retention_lock.raised", "raised the retention lock"},
    {"admin.retention_team.removed",
        "took the retention class of the team # away"},
    {"admin.retention_team.set", "set the retention class of the team #"},
    {"admin.digest_key.rotated", "made a new key for content digests (#)"},
    {"audit.digest_key_destroyed", "destroyed the digest key #"},
    {"audit.erasure_begun", "began to erase the person #"},
    {"audit.erasure_completed", "erased the person #"},
    {"audit.erasure_refused", "was refused to erase the person #"},
    {"audit.keys_destroyed", "destroyed sealing keys (disposal #)"},
    {"audit.retention_begun", "began to destroy what has expired"},
    {"audit.retention_completed", "destroyed what has expired"},
    {"audit.prune_begun", "began to prune the log before entry #"},
    {"audit.prune_completed", "pruned the log before entry #"},
    {"audit.retention_run", "had what has expired destroyed"},
    {"audit.subject_exported", "took a copy of everything on the person #"},
    {"audit.content_read", "read the content that was kept of #"},
    {"audit.followed", "followed the log as it grew"},
    {"audit.proved", "took a proof of entry #"},
    {"audit.key_traced", "looked up what the key # was used for"},
    {"audit.queried", "searched the log"},
    {"audit.past_shown", "looked up what was in force at a time"},
    {"audit.redecided", "had the decision on # repeated"},
    {"audit.reindexed", "had the index built anew from the log"},
    {"audit.reported", "drew up the report #"},
    {"audit.accessed", "reviewed who may use what"},
    {"audit.sink.failed", "found that the sink # does not take the log"},
    {"audit.sink.recovered", "found that the sink # takes the log again"},
    {"audit.sink.tested", "sent an entry to the sink # to try it"},
    {"audit.witness.failed", "found that the witness # does not cosign"},
    {"audit.witness.recovered", "found that the witness # cosigns again"},
    {"audit.witness.conflict",
        "was told by the witness # that it has seen another log of this name"},
    {"audit.witness.quorum_lost",
        "found that too few witnesses cosign the log"},
    {"audit.witness.quorum_restored",
        "found that enough witnesses cosign the log again"},
    {"admin.witness.quorum_set",
        "set how many witnesses must cosign, and what follows"},
    {"audit.key_rotated", "rotated the key that signs the log"},
    {"audit.log_read", "read files of the log"},
    {"audit.sampled", "drew a random sample of the log"},
    {"audit.content_sought", "looked for words in kept content"},
    {"audit.text_sought", "asked whether a text had been sent or answered"},
    {"audit.shown", "looked at the record #"},
    {"audit.counted", "had the log's requests counted"},
    {"engine.down", "found that engine # does not answer"},
    {"engine.up", "found that engine # answers again"},
    {"policy.activated", "put policy version # into force"},
    {"policy.approved", "approved policy version #"},
    {"policy.put", "stored policy version #"},
    {"policy.tests_stored", "stored test cases with policy version #"},
    {"policy.explained", "had the decision about # explained"},
    {"policy.rolled_back", "went back to policy version #"},
    {"policy.submitted", "submitted policy version # for approval"},
    {"policy.shadow_started",
        "had policy version # asked beside the active one"},
    {"policy.shadow_stopped", "ended the shadow of policy version #"},
    {"policy.counted", "had the decisions of the rules counted"},
    {"system.backup_begun", "began the backup #"},
    {"system.backup_failed", "did not finish the backup #"},
    {"system.backup_made", "made the backup #"},
    {"system.meter.moving", "found that the meter \"#\" moves again"},
    {"system.meter.stalled",
        "found that the meter \"#\" should move and stands still"},
    {"system.quota.warned", "found that the quota # is past its warning mark"},
    {"system.restored", "put the state back from a backup of the log #"},
    {"policy.replayed", "decided recorded requests again under other rules"},
    {"system.disk_critical", "found hardly any room for the log"},
    {"system.disk_good", "found room for the log again"},
    {"system.disk_low", "found little room for the log"},
    {"system.initialised", "made the log #"},
    {"system.started", "started"},
    {"system.state.migrated",
        "gave the control state the tables of a newer program"},
    {"system.stopped", "stopped in good order"},
};

static void say_underscored(struct buf *out, struct str words)
{
    for (size_t i = 0; i < words.len; i++)
        buf_append_char(out, words.ptr[i] == '_' ? ' ' : words.ptr[i]);
}

static const char *unnamed(struct str method)
{
    if (str_equal(method, STR("root")))
        return "Root, whom nobody named,";
    if (str_equal(method, STR("offline")))
        return "Somebody with the state directory in hand, whom nobody named,";
    if (str_equal(method, STR("none")))
        return "Somebody who did not prove who it was";
    return "An administrator whom nobody named";
}

static void say_actor(struct buf *out, const struct audit_event *e,
    const struct audit_names *names)
{
    if (str_equal(e->actor, STR("system")))
        buf_append_str(out, STR("Bailiff"));
    else
        say_name(out, names, e->actor, unnamed(e->actor_method));
    if (e->actor.len > 0 && str_equal(e->actor_method, STR("offline")))
        buf_append_str(out, STR(", without the server,"));
    if (e->actor_certificate.len > 0)
        buf_append_str(out, str_equal(e->actor_method, STR("certificate"))
                                ? STR(", by a client certificate alone,")
                                : STR(", with a client certificate,"));
}

static void say_object(struct buf *out, const struct audit_event *e,
    const struct audit_names *names)
{
    say_name(out, names, e->object, "without a name");
}

static void say_phrase(struct buf *out, const char *words,
    const struct audit_event *e, const struct audit_names *names)
{
    for (const char *p = words; *p; p++) {
        if (*p == '#')
            say_object(out, e, names);
        else
            buf_append_char(out, *p);
    }
}

/* "admin.team.added": "added the team cardiology". */
static void say_verb(struct buf *out, const struct audit_event *e,
    const struct audit_names *names)
{
    struct str rest = e->type, verb = e->type, tail;
    while (str_split(rest, '.', &verb, &tail))
        rest = tail;
    say_underscored(out, rest);
    if (e->object_kind.len > 0) {
        buf_append_str(out, STR(" the "));
        say_underscored(out, e->object_kind);
    }
    if (e->object.len > 0) {
        buf_append_char(out, ' ');
        say_object(out, e, names);
    }
}

static bool is_person(struct str value)
{
    return str_starts(value, STR("cal_")) || str_starts(value, STR("adm_"));
}

static void say_value(struct buf *out, const struct json *json, uint32_t at,
    struct arena *arena, const struct audit_names *names)
{
    struct str value;
    if (json_string_equals(json, at, STR("")) ||
        json_type(json, at) == JSON_NULL)
        buf_append_str(out, STR("nothing"));
    else if (json_type(json, at) == JSON_STRING &&
             json_text(json, at, arena, &value) == ERR_OK) {
        if (is_person(value))
            say_name(out, names, value, "");
        else
            say_text(out, value);
    } else {
        say_text(out, json_span(json, at));
    }
}

/* One member of a detail: "caller alice", "rows 12". */
static void say_member(struct buf *out, const struct json *json, uint32_t key,
    struct arena *arena, const struct audit_names *names)
{
    say_underscored(out, json_raw(json, key));
    buf_append_char(out, ' ');
    say_value(out, json, key + 1, arena, names);
}

static bool is_container(const struct json *json, uint32_t at)
{
    return json_type(json, at) == JSON_OBJECT ||
           json_type(json, at) == JSON_ARRAY;
}

/* Elements of the one array that the other has not, each after `word`. */
static void say_elements(struct buf *out, const char *word,
    const struct json *json, uint32_t array, const struct json *other,
    uint32_t other_array, struct arena *arena, const struct audit_names *names)
{
    for (JSON_EACH_ELEMENT(json, array, item)) {
        bool there = false;
        for (JSON_EACH_ELEMENT(other, other_array, one))
            there |= str_equal(json_span(json, item), json_span(other, one));
        if (there)
            continue;
        buf_printf(out, " %s", word);
        if (json_type(json, item) != JSON_OBJECT) {
            buf_append_char(out, ' ');
            say_value(out, json, item, arena, names);
            continue;
        }
        for (JSON_EACH_MEMBER(json, item, key)) {
            if (json_string_equals(json, key + 1, STR("")))
                continue;
            buf_append_char(out, ' ');
            say_member(out, json, key, arena, names);
        }
    }
}

static bool is_short(const struct json *json, uint32_t at)
{
    return at == JSON_NONE ||
           (!is_container(json, at) && json_span(json, at).len <= 200);
}

/* One member that is not what it was: "amount from 5 to 6", "clients with
 * caller nightly client batch". JSON_NONE: it was, or is, not there. Long ones
 * are named alone. */
static void say_change(struct buf *out, const struct json *before, uint32_t was,
    const struct json *after, uint32_t is, struct arena *arena,
    const struct audit_names *names)
{
    if (was != JSON_NONE && is != JSON_NONE &&
        json_type(before, was) == JSON_ARRAY &&
        json_type(after, is) == JSON_ARRAY) {
        say_elements(out, "without", before, was, after, is, arena, names);
        say_elements(out, "with", after, is, before, was, arena, names);
    } else if (is_short(before, was) && is_short(after, is)) {
        buf_append_str(out, STR(" from "));
        if (was == JSON_NONE)
            buf_append_str(out, STR("nothing"));
        else
            say_value(out, before, was, arena, names);
        buf_append_str(out, STR(" to "));
        if (is == JSON_NONE)
            buf_append_str(out, STR("nothing"));
        else
            say_value(out, after, is, arena, names);
    }
}

/* What is not as it was before. (Members are written in one way, so that equal
 * bytes are equal values.) */
static void say_changes(struct buf *out, const struct audit_event *e,
    const struct audit_names *names)
{
    struct arena *arena = arena_new(4096, 4u << 20);
    struct json before, after;
    bool any = false;
    if (!arena || !str_ends(e->type, STR(".changed")) || e->before.len == 0 ||
        e->after.len == 0 ||
        json_parse(arena, e->before, NULL, &before, NULL) != ERR_OK ||
        json_parse(arena, e->after, NULL, &after, NULL) != ERR_OK ||
        json_type(&before, 0) != JSON_OBJECT ||
        json_type(&after, 0) != JSON_OBJECT)
        goto out;
    for (JSON_EACH_MEMBER(&after, 0, key)) {
        uint32_t was = json_find(&before, 0, json_raw(&after, key));
        if (was != JSON_NONE &&
            str_equal(json_span(&before, was), json_span(&after, key + 1)))
            continue;
        buf_append_str(out, any ? STR(", ") : STR(" ("));
        say_text(out, json_raw(&after, key));
        say_change(out, &before, was, &after, key + 1, arena, names);
        any = true;
    }
    for (JSON_EACH_MEMBER(&before, 0, key)) {
        if (json_find(&after, 0, json_raw(&before, key)) != JSON_NONE)
            continue;
        buf_append_str(out, any ? STR(", ") : STR(" ("));
        say_text(out, json_raw(&before, key));
        say_change(out, &before, key + 1, &after, JSON_NONE, arena, names);
        any = true;
    }
    if (any)
        buf_append_char(out, ')');
out:
    arena_free(&arena);
}

/* The members of what was asked for, and of how much came: filters, rows. */
static void say_detail(struct buf *out, const struct audit_event *e,
    const struct audit_names *names)
{
    struct arena *arena = arena_new(4096, 1u << 20);
    struct json json;
    bool any = false;
    if (!arena || e->detail.len == 0 ||
        json_parse(arena, e->detail, NULL, &json, NULL) != ERR_OK ||
        json_type(&json, 0) != JSON_OBJECT)
        goto out;
    uint32_t filters = json_find(&json, 0, STR("filters"));
    if (filters != JSON_NONE && json_type(&json, filters) == JSON_OBJECT) {
        for (JSON_EACH_MEMBER(&json, filters, key)) {
            buf_append_str(out, any ? STR(", ") : STR(" for "));
            say_member(out, &json, key, arena, names);
            any = true;
        }
    }
    any = false;
    for (JSON_EACH_MEMBER(&json, 0, key)) {
        if (json_type(&json, key + 1) == JSON_OBJECT ||
            json_type(&json, key + 1) == JSON_ARRAY ||
            json_string_equals(&json, key + 1, STR("")))
            continue;
        buf_append_str(out, any ? STR(", ") : STR(" ("));
        say_member(out, &json, key, arena, names);
        any = true;
    }
    if (any)
        buf_append_char(out, ')');
out:
    arena_free(&arena);
}

void say_act(struct buf *out, const struct audit_event *e,
    const struct audit_names *names)
{
    const struct phrase *phrase = NULL;
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (str_equal(e->type, str_from(phrases[i].type)))
            phrase = &phrases[i];
    say_actor(out, e, names);
    buf_append_char(out, ' ');
    if (phrase)
        say_phrase(out, phrase->words, e, names);
    else
        say_verb(out, e, names);
    say_changes(out, e, names);
    say_detail(out, e, names);
    if (e->reason.len > 0) {
        struct str reason = e->reason;
        if (str_ends(reason, STR(".")))
            reason.len--;
        buf_append_str(out, STR(": "));
        say_text(out, reason);
    }
    buf_append_char(out, '.');
}
