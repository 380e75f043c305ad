/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/visitors.c - a small open-addressing table of addresses. Entries
 * without connections and refusals are dropped when the table grows. When
 * it is full of live entries (a flood from many addresses), the refusals of
 * those who are not connected are counted under one entry, the unspecified
 * address: there is room for whoever connects, always. */
#include "proxy/visitors.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#define SLOTS_MIN 256u
#define SLOTS_MAX 65536u
#define FULL_FOR                                                               \
    4096u /* knocks after which a full table is looked at again                \
           */

static const char *const names[REFUSAL_COUNT] = {
    [REFUSAL_MISSING] = "missing",
    [REFUSAL_MALFORMED] = "malformed",
    [REFUSAL_UNKNOWN] = "unknown",
    [REFUSAL_EXPIRED] = "expired",
    [REFUSAL_REVOKED] = "revoked",
    [REFUSAL_ADDRESS] = "address",
    [REFUSAL_DISABLED] = "disabled",
    [REFUSAL_BAD_HEAD] = "bad_head",
    [REFUSAL_ROUTE] = "route",
    [REFUSAL_OVERLOAD] = "overload",
    [REFUSAL_TOKEN] = "token",
    [REFUSAL_CERTIFICATE_MISSING] = "certificate_missing",
    [REFUSAL_CERTIFICATE_EXPIRED] = "certificate_expired",
    [REFUSAL_CERTIFICATE_REVOKED] = "certificate_revoked",
    [REFUSAL_CERTIFICATE_CRL] = "certificate_crl",
    [REFUSAL_CERTIFICATE_UNKNOWN] = "certificate_unknown",
    [REFUSAL_CERTIFICATE_USAGE] = "certificate_usage",
    [REFUSAL_CERTIFICATE_NAMES] = "certificate_names",
    [REFUSAL_CERTIFICATE_UNMAPPED] = "certificate_unmapped",
    [REFUSAL_LOG_BUDGET] = "log_budget",
    [REFUSAL_JUST_IN_TIME] = "just_in_time",
    [REFUSAL_BODY] = "body",
};

const char *refusal_name(enum refusal reason)
{
    return names[reason];
}

struct tally {
    struct tally *next;
    enum refusal reason;
    int64_t count, first_us, last_us;
    uint8_t address[16]; /* of the last one, whole */
    char route[64], key[32];
};

struct visitor {
    uint8_t address[16]; /* of IPv6 the first 64 bits */
    bool used;
    unsigned connections;
    int64_t failing_us;    /* when its failures will have been paid off */
    struct tally *tallies; /* one for each reason that was had */
};

struct visitors {
    struct visitor *slots;
    size_t size, used;
    int64_t now_us; /* of the last failure */
    unsigned full;  /* knocks since no room was found; 0: there was some */
    uint64_t unreported;
};

/* Stands for all for whom there is no room. No peer has this key: a /64's ends
 * in zeros. On record it is the unspecified address. */
static const uint8_t everybody_else[16] = {
    0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255};

static struct visitor *find_or_add(
    struct visitors *v, const uint8_t address[16]);

struct visitors *visitors_new(void)
{
    struct visitors *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return NULL;
    v->size = SLOTS_MIN;
    v->slots = calloc(v->size, sizeof(*v->slots));
    if (v->slots == NULL) {
        free(v);
        return NULL;
    }
    /* The catch-all entry is there from the start and never dropped. */
    struct visitor *rest = find_or_add(v, everybody_else);
    rest->connections = 1;
    return v;
}

static struct tally *take_first(struct tally **list)
{
    struct tally *first = *list;
    *list = first->next;
    return first;
}

void visitors_free(struct visitors **visitors)
{
    struct visitors *v = *visitors;
    if (v == NULL)
        return;
    *visitors = NULL;
    for (size_t i = 0; i < v->size; i++) {
        while (v->slots[i].tallies != NULL)
            free(take_first(&v->slots[i].tallies));
    }
    free(v->slots);
    free(v);
}

/* IPv4 as a mapped IPv6 address, so that ::ffff:a.b.c.d is the same peer. */
static void canonical(const struct sockaddr *address, uint8_t out[16])
{
    memset(out, 0, 16);
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const void *)address;
        memcpy(out, &six->sin6_addr, 16);
    } else if (address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const void *)address;
        out[10] = out[11] = 0xff;
        memcpy(out + 12, &four->sin_addr, 4);
    }
}

/* Whoever has one address of a /64 has them all. */
static void neighbourhood(uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(address, mapped, 12) != 0)
        memset(address + 8, 0, 8);
}

static size_t place(const struct visitors *v, const uint8_t address[16])
{
    return (size_t)str_hash(str_make((const char *)address, 16)) &
           (v->size - 1);
}

static struct visitor *look_up(struct visitors *v, const uint8_t address[16])
{
    for (size_t at = place(v, address); v->slots[at].used;
         at = (at + 1) & (v->size - 1)) {
        if (memcmp(v->slots[at].address, address, 16) == 0)
            return &v->slots[at];
    }
    return NULL;
}

static struct visitor *rest_of(struct visitors *v)
{
    return look_up(v, everybody_else);
}

static void fold(struct visitor *rest, struct tally *tally)
{
    struct tally *sum = rest->tallies;
    memset(tally->address, 0, sizeof(tally->address));
    while (sum != NULL && sum->reason != tally->reason)
        sum = sum->next;
    if (sum == NULL) {
        tally->next = rest->tallies;
        rest->tallies = tally;
        return;
    }
    sum->count += tally->count;
    if (tally->first_us < sum->first_us)
        sum->first_us = tally->first_us;
    if (tally->last_us > sum->last_us)
        sum->last_us = tally->last_us;
    free(tally);
}

/* squeeze: whoever is not connected is counted among the rest. */
static bool rebuild(struct visitors *v, size_t size, bool squeeze)
{
    struct visitor *old = v->slots;
    size_t old_size = v->size;
    struct visitor *slots = calloc(size, sizeof(*slots));
    if (slots == NULL)
        return false;
    struct visitor rest = *rest_of(v);
    v->slots = slots;
    v->size = size;
    v->used = 0;
    slots[place(v, everybody_else)] = rest;
    v->used++;
    for (size_t i = 0; i < old_size; i++) {
        if (!old[i].used || memcmp(old[i].address, everybody_else, 16) == 0)
            continue;
        if (squeeze && old[i].connections == 0) {
            while (old[i].tallies != NULL)
                fold(rest_of(v), take_first(&old[i].tallies));
            continue;
        }
        if (old[i].connections == 0 && old[i].tallies == NULL &&
            old[i].failing_us <= v->now_us)
            continue;
        size_t at = place(v, old[i].address);
        while (slots[at].used)
            at = (at + 1) & (size - 1);
        slots[at] = old[i];
        v->used++;
    }
    free(old);
    return true;
}

static struct visitor *find_or_add(
    struct visitors *v, const uint8_t address[16])
{
    struct visitor *found = look_up(v, address);
    if (found != NULL)
        return found;
    if ((v->used + 1) * 4 > v->size * 3) {
        /* A full table is not searched for room on every knock. */
        if (v->full > 0 && v->full++ < FULL_FOR)
            return NULL;
        v->full = 1;
        /* Drop what is over first; grow if that was not enough; then keep of
         * those who are not connected the sum only. */
        if (!rebuild(v, v->size, false))
            return NULL;
        if ((v->used + 1) * 2 > v->size && v->size < SLOTS_MAX)
            (void)rebuild(v, v->size * 2, false);
        if ((v->used + 1) * 4 > v->size * 3)
            (void)rebuild(v, v->size, true);
        if ((v->used + 1) * 4 > v->size * 3)
            return NULL;
        v->full = 0;
    }
    size_t at = place(v, address);
    while (v->slots[at].used)
        at = (at + 1) & (v->size - 1);
    memcpy(v->slots[at].address, address, 16);
    v->slots[at].used = true;
    v->used++;
    return &v->slots[at];
}

bool visitors_enter(
    struct visitors *visitors, const struct sockaddr *address, unsigned limit)
{
    uint8_t key[16];
    canonical(address, key);
    neighbourhood(key);
    struct visitor *visitor = find_or_add(visitors, key);
    if (visitor == NULL || visitor->connections >= limit)
        return false;
    visitor->connections++;
    return true;
}

void visitors_leave(struct visitors *visitors, const struct sockaddr *address)
{
    uint8_t key[16];
    canonical(address, key);
    neighbourhood(key);
    struct visitor *visitor = look_up(visitors, key);
    if (visitor != NULL && visitor->connections > 0)
        visitor->connections--;
}

/* The entry of everybody else where there is no room for one more. */
static struct visitor *find_or_rest(struct visitors *v, const uint8_t home[16])
{
    struct visitor *visitor = find_or_add(v, home);
    return visitor != NULL ? visitor : rest_of(v);
}

int64_t visitors_delay(struct visitors *visitors,
    const struct sockaddr *address, int64_t per_minute, int64_t now_us)
{
    uint8_t home[16];
    if (per_minute <= 0)
        return 0;
    canonical(address, home);
    neighbourhood(home);
    struct visitor *visitor = find_or_rest(visitors, home);
    if (visitor == NULL)
        return VISITORS_DELAY_MAX_US;
    visitors->now_us = now_us;
    /* Each failure costs its share of a minute; a minute's worth is free, and
     * what is owed beyond the longest wait is forgiven. */
    int64_t owed =
        visitor->failing_us > now_us ? visitor->failing_us - now_us : 0;
    owed += MINUTE_US / per_minute;
    if (owed > MINUTE_US + VISITORS_DELAY_MAX_US)
        owed = MINUTE_US + VISITORS_DELAY_MAX_US;
    visitor->failing_us = now_us + owed;
    return owed > MINUTE_US ? owed - MINUTE_US : 0;
}

static void keep_text(char *out, size_t size, struct str text)
{
    size_t n = text.len < size - 1 ? text.len : size - 1;
    if (n > 0)
        memcpy(out, text.ptr, n);
    out[n] = '\0';
}

void visitors_refuse(struct visitors *visitors, const struct sockaddr *address,
    enum refusal reason, struct str route, struct str key, int64_t now_us)
{
    uint8_t peer[16], home[16];
    canonical(address, peer);
    memcpy(home, peer, sizeof(home));
    neighbourhood(home);
    struct visitor *visitor = find_or_rest(visitors, home);
    if (visitor == NULL)
        return;
    struct tally *tally = visitor->tallies;
    while (tally != NULL && tally->reason != reason)
        tally = tally->next;
    if (tally == NULL) {
        tally = calloc(1, sizeof(*tally));
        if (tally == NULL)
            return;
        tally->reason = reason;
        tally->first_us = now_us;
        tally->next = visitor->tallies;
        visitor->tallies = tally;
    }
    tally->count++;
    if (memcmp(visitor->address, everybody_else, sizeof(peer)) != 0)
        memcpy(tally->address, peer, sizeof(peer));
    tally->last_us = now_us;
    keep_text(tally->route, sizeof(tally->route), route);
    keep_text(tally->key, sizeof(tally->key), key);
    visitors->unreported++;
}

static void address_text(const uint8_t address[16], char out[INET6_ADDRSTRLEN])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(address, mapped, 12) == 0)
        inet_ntop(AF_INET, address + 12, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address, out, INET6_ADDRSTRLEN);
}

void visitors_flush(struct visitors *visitors,
    bool (*report)(void *context, const struct visitors_report *report),
    void *context)
{
    for (size_t i = 0; visitors->unreported > 0 && i < visitors->size; i++) {
        struct visitor *visitor = &visitors->slots[i];
        char address[INET6_ADDRSTRLEN];
        if (!visitor->used || visitor->tallies == NULL)
            continue;
        while (visitor->tallies != NULL) {
            struct tally *tally = visitor->tallies;
            address_text(tally->address, address);
            struct visitors_report one = {.address = address,
                .reason = tally->reason,
                .count = tally->count,
                .first_us = tally->first_us,
                .last_us = tally->last_us,
                .route = str_from(tally->route),
                .key = str_from(tally->key)};
            if (!report(context, &one))
                return;
            visitors->unreported -= (uint64_t)tally->count;
            free(take_first(&visitor->tallies));
            visitors->full = 0;
        }
    }
}

uint64_t visitors_unreported(const struct visitors *visitors)
{
    return visitors->unreported;
}
