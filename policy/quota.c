/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/quota.c - the ledger of policy/quota.h.
 *
 * Buckets live in an open-addressing table under one mutex; they are never
 * removed (there are as many as quotas were ever used), so a claim may point
 * at its bucket. A reservation looks at every bucket before it takes from any:
 * all or none without undoing. Calendar arithmetic happens under the lock only
 * when a window ends. */
#include "policy/quota.h"

#include "policy/rate.h"

#include "lib/must.h"

#include <pthread.h>
#include <stdlib.h>

/* Readings of the clock by several threads arrive a little out of order; what
 * is further back than this is a clock that was set. */
#define CLOCK_JITTER_US (10 * SECOND_US)
/* Stands for "more than any amount" after an overflow. */
#define TOO_MANY INT64_MAX
#define FIRST_CAPACITY 64 /* a power of two */

struct quota_bucket {
    uint64_t hash;
    char id[QUOTA_ID_MAX];
    uint64_t visit; /* the reservation that looked last: no rule twice */
    /* Calendar and lifetime. end_us 0: not known yet (restored). */
    enum quota_window window;
    int64_t start_us, end_us;
    int64_t used;      /* reservations included */
    int64_t warned_us; /* start of the window in which was warned */
    struct rate rate;
    int64_t reserved; /* open reservations; calendar: of this window */
};

struct quota_ledger {
    pthread_mutex_t lock;
    struct quota_bucket **slot;
    size_t capacity, count;
    uint64_t visit;
    int64_t latest_us; /* the latest time seen */
};

/* --- Names --------------------------------------------------------------- */

static const char *const dimension_names[] = {
    [QUOTA_REQUESTS] = "requests",
    [QUOTA_TOKENS] = "tokens",
    [QUOTA_INPUT_TOKENS] = "input_tokens",
    [QUOTA_OUTPUT_TOKENS] = "output_tokens",
    [QUOTA_COST] = "cost",
    [QUOTA_IMAGES] = "images",
    [QUOTA_AUDIO_SECONDS] = "audio_seconds",
    [QUOTA_REQUEST_BYTES] = "request_bytes",
    [QUOTA_CONCURRENT_REQUESTS] = "concurrent_requests",
};
static const char *const window_names[] = {
    [QUOTA_MINUTE] = "minute",
    [QUOTA_HOUR] = "hour",
    [QUOTA_DAY] = "day",
    [QUOTA_WEEK] = "week",
    [QUOTA_MONTH] = "month",
    [QUOTA_LIFETIME] = "lifetime",
    [QUOTA_NOW] = "now",
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *quota_dimension_name(enum quota_dimension dimension)
{
    MUST((size_t)dimension < COUNT(dimension_names));
    return dimension_names[dimension];
}

const char *quota_window_name(enum quota_window window)
{
    MUST((size_t)window < COUNT(window_names));
    return window_names[window];
}

static enum err find_name(
    struct str name, const char *const *names, size_t count, size_t *out)
{
    for (size_t i = 0; i < count; i++)
        if (str_equal(name, str_from(names[i]))) {
            *out = i;
            return ERR_OK;
        }
    return ERR_NOTFOUND;
}

enum err quota_dimension_parse(struct str name, enum quota_dimension *out)
{
    size_t at;
    enum err err =
        find_name(name, dimension_names, COUNT(dimension_names), &at);
    if (err == ERR_OK)
        *out = (enum quota_dimension)at;
    return err;
}

enum err quota_window_parse(struct str name, enum quota_window *out)
{
    size_t at;
    enum err err = find_name(name, window_names, COUNT(window_names), &at);
    if (err == ERR_OK)
        *out = (enum quota_window)at;
    return err;
}

/* --- The table ----------------------------------------------------------- */

struct quota_ledger *quota_ledger_new(void)
{
    struct quota_ledger *ledger = calloc(1, sizeof(*ledger));
    if (ledger == NULL)
        return NULL;
    ledger->capacity = FIRST_CAPACITY;
    ledger->slot = calloc(ledger->capacity, sizeof(struct quota_bucket *));
    if (ledger->slot == NULL) {
        free(ledger);
        return NULL;
    }
    pthread_mutexattr_t kind;
    MUST(pthread_mutexattr_init(&kind) == 0);
    /* Held for a fraction of a microsecond: spin before sleeping. */
    MUST(pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ADAPTIVE_NP) == 0);
    MUST(pthread_mutex_init(&ledger->lock, &kind) == 0);
    pthread_mutexattr_destroy(&kind);
    return ledger;
}

void quota_ledger_free(struct quota_ledger **ledger_ref)
{
    struct quota_ledger *ledger = *ledger_ref;
    if (ledger == NULL)
        return;
    for (size_t i = 0; i < ledger->capacity; i++)
        free(ledger->slot[i]);
    free(ledger->slot);
    pthread_mutex_destroy(&ledger->lock);
    free(ledger);
    *ledger_ref = NULL;
}

static void lock(struct quota_ledger *ledger)
{
    MUST(pthread_mutex_lock(&ledger->lock) == 0);
}

static void unlock(struct quota_ledger *ledger)
{
    MUST(pthread_mutex_unlock(&ledger->lock) == 0);
}

static struct quota_bucket **find_slot_locked(
    struct quota_bucket **slots, size_t capacity, struct str id, uint64_t hash)
{
    size_t at = hash & (capacity - 1);
    while (slots[at] != NULL &&
           (slots[at]->hash != hash || !str_equal(str_from(slots[at]->id), id)))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static enum err grow_locked(struct quota_ledger *ledger)
{
    size_t capacity = ledger->capacity * 2;
    struct quota_bucket **slots =
        calloc(capacity, sizeof(struct quota_bucket *));
    if (slots == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < ledger->capacity; i++) {
        struct quota_bucket *b = ledger->slot[i];
        if (b != NULL)
            *find_slot_locked(slots, capacity, str_from(b->id), b->hash) = b;
    }
    free(ledger->slot);
    ledger->slot = slots;
    ledger->capacity = capacity;
    return ERR_OK;
}

static struct quota_bucket *get_locked(
    struct quota_ledger *ledger, struct str id, uint64_t hash)
{
    MUST(id.len > 0 && id.len < QUOTA_ID_MAX);
    struct quota_bucket **slot =
        find_slot_locked(ledger->slot, ledger->capacity, id, hash);
    if (*slot != NULL)
        return *slot;
    if ((ledger->count + 1) * 2 > ledger->capacity) {
        if (grow_locked(ledger) != ERR_OK)
            return NULL;
        slot = find_slot_locked(ledger->slot, ledger->capacity, id, hash);
    }
    struct quota_bucket *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return NULL;
    b->hash = hash;
    memcpy(b->id, id.ptr, id.len);
    rate_init(&b->rate, 0, 0);
    b->start_us = INT64_MIN; /* no window yet */
    b->warned_us = INT64_MIN;
    *slot = b;
    ledger->count++;
    return b;
}

/* --- Time ---------------------------------------------------------------- */

static int64_t advance_clock_locked(struct quota_ledger *ledger, int64_t now_us)
{
    if (now_us >= ledger->latest_us ||
        now_us < ledger->latest_us - CLOCK_JITTER_US)
        ledger->latest_us = now_us;
    return ledger->latest_us;
}

static void window_around(
    const struct quota_rule *rule, int64_t at_us, int64_t *start, int64_t *end)
{
    static const enum clock_window calendar[] = {
        [QUOTA_HOUR] = CLOCK_HOUR,
        [QUOTA_DAY] = CLOCK_DAY,
        [QUOTA_WEEK] = CLOCK_WEEK,
        [QUOTA_MONTH] = CLOCK_MONTH,
    };
    if (rule->window == QUOTA_LIFETIME || rule->window == QUOTA_NOW) {
        *start = 0;
        *end = INT64_MAX;
        return;
    }
    MUST(rule->window >= QUOTA_HOUR && rule->window <= QUOTA_MONTH);
    clock_window(rule->zone, calendar[rule->window], at_us, start, end);
}

/* The window that `now` falls in, given the one the bucket is in: never an
 * earlier one, and never one that overlaps. True when it is another one. */
static bool next_window(const struct quota_bucket *b,
    const struct quota_rule *rule, int64_t now_us, int64_t *start, int64_t *end)
{
    *start = b->start_us;
    *end = b->end_us;
    if (b->start_us == INT64_MIN) {
        window_around(rule, now_us, start, end);
        return true;
    }
    if (b->end_us == 0 || b->window != rule->window) {
        int64_t ignored;
        window_around(rule, b->start_us, &ignored, end);
    }
    if (now_us < *end)
        return false;
    int64_t last_end = *end;
    window_around(rule, now_us, start, end);
    if (*start < last_end)
        *start = last_end;
    return true;
}

static int64_t sum(int64_t a, int64_t b)
{
    int64_t result;
    return __builtin_add_overflow(a, b, &result) ? TOO_MANY : result;
}

/* Of the window that the bucket is in. */
static int64_t earlier_in(
    const struct quota_bucket *b, const struct quota_rule *rule)
{
    return rule->earlier > 0 && rule->window != QUOTA_MINUTE &&
                   rule->window != QUOTA_NOW &&
                   b->start_us == rule->earlier_window_us
               ? rule->earlier
               : 0;
}

static void enter_window_locked(
    struct quota_bucket *b, const struct quota_rule *rule, int64_t now_us)
{
    if (now_us < b->end_us && b->window == rule->window)
        return; /* also with a clock that was set back */
    int64_t start, end;
    bool restored = b->end_us == 0;
    if (next_window(b, rule, now_us, &start, &end))
        b->used = b->reserved = 0;
    else if (restored &&
             quota_is_past_mark(rule, sum(b->used, earlier_in(b, rule))))
        b->warned_us = start; /* the run before has warned */
    b->start_us = start;
    b->end_us = end;
    b->window = rule->window;
}

/* --- Reserving ----------------------------------------------------------- */

static int64_t product(int64_t a, int64_t b)
{
    int64_t result;
    return __builtin_mul_overflow(a, b, &result) ? TOO_MANY : result;
}

static int64_t cost_of(const struct quota_demand *demand, int64_t cap)
{
    struct price_use use = {.input = demand->input,
        .output = product(demand->multiplier, cap),
        .images = demand->images,
        .audio_seconds = demand->audio_seconds};
    return demand->price == NULL ? TOO_MANY : price_cost(demand->price, &use);
}

/* What a quota of this dimension is asked for at an output cap. */
static int64_t units_of(enum quota_dimension dimension,
    const struct quota_demand *demand, int64_t cap)
{
    switch (dimension) {
    case QUOTA_REQUESTS:
        return 1;
    case QUOTA_INPUT_TOKENS:
        return demand->input;
    case QUOTA_OUTPUT_TOKENS:
        return product(demand->multiplier, cap);
    case QUOTA_TOKENS:
        return sum(demand->input, product(demand->multiplier, cap));
    case QUOTA_COST:
        return cost_of(demand, cap);
    case QUOTA_IMAGES:
        return demand->images;
    case QUOTA_AUDIO_SECONDS:
        return demand->audio_seconds;
    case QUOTA_REQUEST_BYTES:
        return demand->bytes;
    case QUOTA_CONCURRENT_REQUESTS:
        return 1;
    }
    MUST(false);
    return TOO_MANY;
}

static bool grows_with_cap(
    const struct quota_rule *rule, const struct quota_demand *demand)
{
    return demand->multiplier > 0 &&
           (rule->dimension == QUOTA_TOKENS ||
               rule->dimension == QUOTA_OUTPUT_TOKENS ||
               (rule->dimension == QUOTA_COST && demand->price != NULL));
}

static int64_t room_locked(
    struct quota_bucket *b, const struct quota_rule *rule, int64_t now_us)
{
    if (rule->window == QUOTA_MINUTE) {
        rate_rescale(&b->rate, rule->amount);
        rate_clamp(&b->rate, now_us);
        return rate_room(&b->rate, rule->amount, now_us);
    }
    enter_window_locked(b, rule, now_us);
    int64_t used = sum(b->used, earlier_in(b, rule));
    return rule->amount > used ? rule->amount - used : 0;
}

static void describe_denial_locked(const struct quota_bucket *b,
    const struct quota_rule *rule, int64_t now_us, int64_t asked, int64_t room,
    struct quota_denial *denial)
{
    int64_t wait;
    if (asked > rule->amount || rule->window == QUOTA_LIFETIME)
        wait = -1;
    else if (rule->window == QUOTA_NOW)
        wait = SECOND_US; /* nobody knows when one of them ends */
    else if (rule->window == QUOTA_MINUTE)
        wait = rate_wait(&b->rate, now_us, asked);
    else
        wait = b->end_us - now_us;
    bool longer = denial->rule == NULL ||
                  (denial->retry_after_us >= 0 &&
                      (wait < 0 || wait > denial->retry_after_us));
    if (!longer)
        return;
    denial->rule = rule;
    denial->asked = asked;
    denial->remaining = room;
    denial->retry_after_us = wait;
    denial->rate = rule->window == QUOTA_MINUTE || rule->window == QUOTA_NOW;
}

/* Costs are rounded, so the cap is searched for: at most 63 steps. A cap of 0
 * fits, `cap` does not. */
static int64_t cap_within_cost(
    const struct quota_demand *demand, int64_t room, int64_t cap)
{
    int64_t fits = 0, over = cap;
    while (over - fits > 1) {
        int64_t middle = fits + (over - fits) / 2;
        if (cost_of(demand, middle) <= room)
            fits = middle;
        else
            over = middle;
    }
    return fits;
}

/* The greatest cap in [least, cap] that `room` units of this quota allow;
 * below least: none. */
static int64_t cap_within(const struct quota_rule *rule,
    const struct quota_demand *demand, int64_t room, int64_t cap)
{
    if (units_of(rule->dimension, demand, cap) <= room)
        return cap;
    if (!grows_with_cap(rule, demand))
        return -1;
    int64_t fixed = units_of(rule->dimension, demand, 0);
    if (fixed > room)
        return -1;
    return rule->dimension == QUOTA_COST ? cap_within_cost(demand, room, cap)
                                         : (room - fixed) / demand->multiplier;
}

static void take_locked(
    struct quota_claim *claim, int64_t now_us, int64_t units)
{
    struct quota_bucket *b = claim->bucket;
    claim->reserved = units;
    claim->settled = 0;
    claim->warned = false;
    b->reserved += units;
    if (claim->rule->window == QUOTA_MINUTE) {
        claim->used = rate_used(&b->rate, now_us);
        claim->step = rate_take(&b->rate, now_us, units);
        claim->arrival_us = rate_arrival_us(&b->rate);
        claim->window_start_us = 0;
        return;
    }
    claim->used = sum(b->used, earlier_in(b, claim->rule));
    claim->window_start_us = b->start_us;
    claim->arrival_us = 0;
    claim->step = 0;
    b->used += units;
}

/* The lowest cap that a demand can live with. */
static int64_t least_cap(const struct quota_demand *demand)
{
    return demand->cap_is_flexible && demand->cap_least < demand->cap
               ? demand->cap_least
               : demand->cap;
}

static enum err reserve_locked(struct quota_ledger *ledger, int64_t now_us,
    const struct quota_demand *demand, const uint64_t *hash,
    struct quota_claim *claims, size_t count, int64_t *cap,
    struct quota_denial *denial)
{
    int64_t granted = demand->cap;
    int64_t least = least_cap(demand);
    uint64_t visit = ++ledger->visit;
    denial->rule = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct quota_rule *rule = claims[i].rule;
        struct quota_bucket *b =
            get_locked(ledger, str_from(rule->id), hash[i]);
        if (b == NULL)
            return ERR_NOMEM;
        MUST(b->visit != visit);
        b->visit = visit;
        claims[i].bucket = b;
        int64_t room = room_locked(b, rule, now_us);
        int64_t fits = cap_within(rule, demand, room, granted);
        if (fits >= least) {
            granted = fits;
            continue;
        }
        describe_denial_locked(b, rule, now_us,
            units_of(rule->dimension, demand, least), room, denial);
    }
    if (denial->rule != NULL)
        return ERR_FULL;
    for (size_t i = 0; i < count; i++)
        take_locked(&claims[i], now_us,
            units_of(claims[i].rule->dimension, demand, granted));
    *cap = granted;
    return ERR_OK;
}

enum err quota_reserve(struct quota_ledger *ledger, int64_t now_us,
    const struct quota_demand *demand, struct quota_claim *claims, size_t count,
    int64_t *cap, struct quota_denial *denial)
{
    MUST(count <= QUOTA_CLAIMS_MAX && now_us >= 0);
    MUST(demand->input >= 0 && demand->multiplier >= 0 && demand->cap >= 0 &&
         demand->cap_least >= 0 && demand->images >= 0 &&
         demand->audio_seconds >= 0 && demand->bytes >= 0);
    uint64_t hash[QUOTA_CLAIMS_MAX];
    for (size_t i = 0; i < count; i++)
        hash[i] = str_hash(str_from(claims[i].rule->id));
    lock(ledger);
    enum err err = reserve_locked(ledger, advance_clock_locked(ledger, now_us),
        demand, hash, claims, count, cap, denial);
    unlock(ledger);
    if (err != ERR_OK)
        for (size_t i = 0; i < count; i++)
            claims[i].bucket = NULL;
    return err;
}

/* --- Settling ------------------------------------------------------------ */

bool quota_is_past_mark(const struct quota_rule *rule, int64_t used)
{
    return rule->warn_percent > 0 &&
           (rate_ticks)used * 100 >=
               (rate_ticks)rule->amount * (unsigned)rule->warn_percent;
}

static void settle_locked(struct quota_claim *claim, int64_t actual)
{
    struct quota_bucket *b = claim->bucket;
    if (b == NULL)
        return;
    claim->bucket = NULL;
    if (actual < 0 || claim->rule->window == QUOTA_NOW)
        actual = 0;
    claim->settled = actual < claim->reserved ? actual : claim->reserved;
    int64_t back = claim->reserved - claim->settled;
    if (claim->rule->window == QUOTA_MINUTE) {
        claim->step =
            rate_give_back(&b->rate, claim->step, back, claim->rule->amount);
        claim->arrival_us = rate_arrival_us(&b->rate);
        b->reserved -= claim->reserved;
    } else if (claim->window_start_us == b->start_us) {
        b->used -= back;
        b->reserved -= claim->reserved;
        claim->used_settled =
            sum(b->used - b->reserved, earlier_in(b, claim->rule));
        if (b->warned_us != b->start_us && claim->rule->window != QUOTA_NOW &&
            quota_is_past_mark(claim->rule, claim->used_settled)) {
            b->warned_us = b->start_us;
            claim->warned = true;
        }
    }
}

/* What of this dimension was truly used. */
static int64_t actual_of(
    const struct quota_claim *claim, const struct quota_use *use)
{
    switch (claim->rule->dimension) {
    case QUOTA_TOKENS:
        return sum(use->input, use->output);
    case QUOTA_INPUT_TOKENS:
        return use->input;
    case QUOTA_OUTPUT_TOKENS:
        return use->output;
    case QUOTA_COST:
        return use->cost;
    case QUOTA_REQUESTS:
    case QUOTA_IMAGES:
    case QUOTA_AUDIO_SECONDS:
    case QUOTA_REQUEST_BYTES:
    case QUOTA_CONCURRENT_REQUESTS:
        break;
    }
    return use->served ? claim->reserved : 0;
}

void quota_settle(struct quota_ledger *ledger, int64_t now_us,
    struct quota_claim *claims, size_t count, const struct quota_use *use)
{
    MUST(count <= QUOTA_CLAIMS_MAX);
    if (count == 0)
        return;
    lock(ledger);
    (void)advance_clock_locked(ledger, now_us);
    for (size_t i = 0; i < count; i++)
        settle_locked(&claims[i], actual_of(&claims[i], use));
    unlock(ledger);
}

void quota_cancel(struct quota_ledger *ledger, int64_t now_us,
    struct quota_claim *claims, size_t count)
{
    static const struct quota_use nothing = {.served = false};
    quota_settle(ledger, now_us, claims, count, &nothing);
}

/* --- Looking ------------------------------------------------------------- */

void quota_peek(struct quota_ledger *ledger, int64_t now_us,
    const struct quota_rule *rule, struct quota_status *out)
{
    struct str id = str_from(rule->id);
    uint64_t hash = str_hash(id);
    /* A bucket that nobody has used yet looks like this one. */
    struct quota_bucket fresh = {.start_us = INT64_MIN};
    rate_init(&fresh.rate, 0, 0);
    lock(ledger);
    int64_t now = now_us > ledger->latest_us ||
                          now_us < ledger->latest_us - CLOCK_JITTER_US
                      ? now_us
                      : ledger->latest_us;
    struct quota_bucket *b =
        *find_slot_locked(ledger->slot, ledger->capacity, id, hash);
    if (b != NULL)
        fresh = *b;
    unlock(ledger);
    out->limit = rule->amount;
    out->remaining = room_locked(&fresh, rule, now); /* on the copy */
    out->reserved = fresh.reserved; /* a window that has ended holds none */
    if (rule->window == QUOTA_MINUTE) {
        out->used = rate_used(&fresh.rate, now);
        out->reset_us = rate_backlog_us(&fresh.rate, now);
        out->window_start_us = 0;
    } else {
        out->used = sum(fresh.used, earlier_in(&fresh, rule));
        out->window_start_us = fresh.start_us;
        out->reset_us =
            rule->window == QUOTA_LIFETIME || rule->window == QUOTA_NOW
                ? -1
                : fresh.end_us - now;
    }
}

int64_t quota_asked(
    const struct quota_rule *rule, const struct quota_demand *demand)
{
    return units_of(rule->dimension, demand, least_cap(demand));
}

int64_t quota_foresee(struct quota_ledger *ledger, int64_t now_us,
    const struct quota_demand *demand, const struct quota_claim *claims,
    size_t count)
{
    int64_t granted = demand->cap;
    int64_t least = least_cap(demand);
    for (size_t i = 0; i < count; i++) {
        struct quota_status status;
        quota_peek(ledger, now_us, claims[i].rule, &status);
        granted = cap_within(claims[i].rule, demand, status.remaining, granted);
        if (granted < least)
            return -1;
    }
    return granted;
}

/* --- Start-up ------------------------------------------------------------ */

enum err quota_restore_window(struct quota_ledger *ledger, struct str bucket,
    int64_t window_start_us, int64_t used)
{
    if (bucket.len == 0 || bucket.len >= QUOTA_ID_MAX || window_start_us < 0 ||
        used < 0)
        return ERR_INVALID;
    uint64_t hash = str_hash(bucket);
    enum err err = ERR_OK;
    lock(ledger);
    struct quota_bucket *b = get_locked(ledger, bucket, hash);
    if (b == NULL) {
        err = ERR_NOMEM;
    } else if (window_start_us >= b->start_us) {
        b->start_us = window_start_us;
        b->end_us = 0;
        b->used = used;
    }
    unlock(ledger);
    return err;
}

enum err quota_restore_rate(struct quota_ledger *ledger, struct str bucket,
    int64_t arrival_us, uint64_t step)
{
    if (bucket.len == 0 || bucket.len >= QUOTA_ID_MAX || arrival_us < 0)
        return ERR_INVALID;
    uint64_t hash = str_hash(bucket);
    enum err err = ERR_OK;
    lock(ledger);
    struct quota_bucket *b = get_locked(ledger, bucket, hash);
    if (b == NULL)
        err = ERR_NOMEM;
    else if (step >= b->rate.step)
        rate_init(&b->rate, arrival_us, step);
    unlock(ledger);
    return err;
}
