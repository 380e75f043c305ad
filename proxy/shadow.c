/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/shadow.c - see proxy/shadow.h. */
#include "proxy/shadow.h"

#include "lib/json_write.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SAMPLES 32
#define RULES_NAMED 4 /* of one sample */
#define ID_MAX 40

struct sample {
    char request[ID_MAX];
    int64_t time_us;
    enum shadow_kind kind;
    uint16_t rules[RULES_NAMED];
    unsigned rule_count;
};

/* Per rule of the candidate; the last stands for "no rule permits it". */
struct tally {
    uint64_t denied, permitted;
};

struct shadow {
    _Atomic uint64_t same, skipped, cost_us;
    pthread_mutex_t mutex; /* of all that follows */
    int64_t version, against, since_us;
    uint64_t denied, permitted, bound;
    struct tally *tallies;
    size_t rule_count;
    struct sample samples[SAMPLES];
    uint64_t sampled; /* in all; the next one goes to sampled % SAMPLES */
};

struct shadow *shadow_new(void)
{
    struct shadow *s = calloc(1, sizeof *s);

    if (s)
        pthread_mutex_init(&s->mutex, NULL);
    return s;
}

void shadow_free(struct shadow **shadow)
{
    if (!*shadow)
        return;
    pthread_mutex_destroy(&(*shadow)->mutex);
    free((*shadow)->tallies);
    free(*shadow);
    *shadow = NULL;
}

void shadow_follow(struct shadow *s, const struct snapshot *snapshot)
{
    const struct policy_set *set = snapshot_shadow(snapshot);
    int64_t version = set ? snapshot_shadow_version(snapshot) : 0;
    int64_t against = snapshot_policy_version(snapshot);

    pthread_mutex_lock(&s->mutex);
    if (version != s->version || (version && against != s->against)) {
        free(s->tallies);
        s->rule_count = set ? policy_set_count(set) : 0;
        s->tallies = calloc(s->rule_count + 1, sizeof *s->tallies);
        s->version = s->tallies ? version : 0;
        s->against = against;
        s->since_us = clock_now();
        s->denied = s->permitted = s->bound = s->sampled = 0;
        atomic_store(&s->same, 0);
        atomic_store(&s->skipped, 0);
        atomic_store(&s->cost_us, 0);
    }
    pthread_mutex_unlock(&s->mutex);
}

static void count_rules(struct shadow *s, const struct shadow_note *note)
{
    const struct policy_decision *d = note->decision;
    bool failed = d->reason == POLICY_ERROR;
    unsigned count = failed ? d->error_count : d->policy_count;
    const uint16_t *rules = failed ? d->errors : d->policies;

    for (unsigned i = 0; i <= count; i++) {
        size_t at = i < count ? rules[i] : s->rule_count;
        if ((i == count && count > 0) || at > s->rule_count)
            continue;
        if (note->kind == SHADOW_NEWLY_DENIED)
            s->tallies[at].denied++;
        else
            s->tallies[at].permitted++;
    }
}

static void keep_sample(struct shadow *s, const struct shadow_note *note)
{
    struct sample *sample = &s->samples[s->sampled++ % SAMPLES];
    const struct policy_decision *d = note->decision;
    size_t length =
        note->request.len < ID_MAX - 1 ? note->request.len : ID_MAX - 1;

    memcpy(sample->request, note->request.ptr, length);
    sample->request[length] = '\0';
    sample->time_us = note->time_us;
    sample->kind = note->kind;
    sample->rule_count = 0;
    for (unsigned i = 0; i < d->policy_count && i < RULES_NAMED; i++)
        sample->rules[sample->rule_count++] = d->policies[i];
}

void shadow_count(struct shadow *s, const struct shadow_note *note)
{
    if (note->cost_us > 0)
        atomic_fetch_add(&s->cost_us, (uint64_t)note->cost_us);
    if (note->kind == SHADOW_SAME) {
        atomic_fetch_add(&s->same, 1);
        return;
    }
    if (note->kind == SHADOW_SKIPPED) {
        atomic_fetch_add(&s->skipped, 1);
        return;
    }
    pthread_mutex_lock(&s->mutex);
    if (note->version == s->version && note->against == s->against) {
        s->denied += note->kind == SHADOW_NEWLY_DENIED;
        s->permitted += note->kind == SHADOW_NEWLY_PERMITTED;
        s->bound += note->kind == SHADOW_BOUND_OTHERWISE;
        if (note->kind != SHADOW_BOUND_OTHERWISE)
            count_rules(s, note);
        keep_sample(s, note);
    }
    pthread_mutex_unlock(&s->mutex);
}

/* --- The answer
 * ---------------------------------------------------------------- */

static void write_count(struct json_writer *w, const char *name, uint64_t count)
{
    json_write_key(w, str_from(name));
    json_write_int(w, (int64_t)count);
}

static void write_time(struct json_writer *w, const char *name, int64_t time_us)
{
    char text[CLOCK_TEXT_LENGTH + 1];

    clock_format(text, time_us);
    json_write_member_string(w, str_from(name), str_from(text));
}

static void write_rules(
    struct shadow *s, const struct policy_set *set, struct json_writer *w)
{
    json_write_key(w, STR("rules"));
    json_write_array(w);
    for (size_t i = 0; i <= s->rule_count; i++) {
        const struct tally *t = &s->tallies[i];
        if (t->denied + t->permitted == 0)
            continue;
        json_write_object(w);
        write_count(w, "newlyDenied", t->denied);
        write_count(w, "newlyPermitted", t->permitted);
        json_write_member_string(w, STR("rule"),
            i < s->rule_count ? policy_set_id(set, i) : STR(""));
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static const char *after_word(enum shadow_kind kind)
{
    return kind == SHADOW_NEWLY_DENIED ? "deny" : "permit";
}

static const char *before_word(enum shadow_kind kind)
{
    return kind == SHADOW_NEWLY_PERMITTED ? "deny" : "permit";
}

/* The newest first. */
static void write_samples(
    struct shadow *s, const struct policy_set *set, struct json_writer *w)
{
    uint64_t count = s->sampled < SAMPLES ? s->sampled : SAMPLES;

    json_write_key(w, STR("samples"));
    json_write_array(w);
    for (uint64_t i = 1; i <= count; i++) {
        const struct sample *one = &s->samples[(s->sampled - i) % SAMPLES];
        json_write_object(w);
        json_write_member_string(
            w, STR("after"), str_from(after_word(one->kind)));
        json_write_member_string(
            w, STR("before"), str_from(before_word(one->kind)));
        json_write_member_string(w, STR("id"), str_from(one->request));
        json_write_key(w, STR("rules"));
        json_write_array(w);
        for (unsigned r = 0; r < one->rule_count; r++)
            json_write_string(w, policy_set_id(set, one->rules[r]));
        json_write_array_end(w);
        write_time(w, "time", one->time_us);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

void shadow_write(
    struct shadow *s, const struct snapshot *snapshot, struct buf *out)
{
    const struct policy_set *set = snapshot_shadow(snapshot);
    struct json_writer w;
    uint64_t same;

    json_write_init(&w, out);
    json_write_object(&w);
    pthread_mutex_lock(&s->mutex);
    if (set && s->version && s->version == snapshot_shadow_version(snapshot)) {
        same = atomic_load(&s->same);
        write_count(&w, "against", (uint64_t)s->against);
        write_count(&w, "asked", same + s->denied + s->permitted + s->bound);
        write_count(&w, "boundOtherwise", s->bound);
        write_count(&w, "costMicroseconds", atomic_load(&s->cost_us));
        write_count(&w, "newlyDenied", s->denied);
        write_count(&w, "newlyPermitted", s->permitted);
        write_rules(s, set, &w);
        write_count(&w, "same", same);
        write_samples(s, set, &w);
        write_time(&w, "since", s->since_us);
        write_count(&w, "skipped", atomic_load(&s->skipped));
        write_count(&w, "version", (uint64_t)s->version);
    }
    pthread_mutex_unlock(&s->mutex);
    json_write_object_end(&w);
}
