/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/visitors.c - a small open-addressing table of addresses. Entries
 * without connections and refusals are dropped when the table grows. When
 * it is full of live entries (a flood from many addresses), refusals of further
 * addresses are counted under one entry, the unspecified address. */
#include "proxy/visitors.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#define SLOTS_MIN 256u
#define SLOTS_MAX 65536u

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
    [REFUSAL_TOKEN] = "token",
    [REFUSAL_CERTIFICATE_MISSING] = "certificate_missing",
    [REFUSAL_CERTIFICATE_EXPIRED] = "certificate_expired",
    [REFUSAL_CERTIFICATE_REVOKED] = "certificate_revoked",
    [REFUSAL_CERTIFICATE_CRL] = "certificate_crl",
    [REFUSAL_CERTIFICATE_UNKNOWN] = "certificate_unknown",
    [REFUSAL_CERTIFICATE_USAGE] = "certificate_usage",
    [REFUSAL_CERTIFICATE_NAMES] = "certificate_names",
    [REFUSAL_CERTIFICATE_UNMAPPED] = "certificate_unmapped",
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
    char route[64], key[32];
};

struct visitor {
    uint8_t address[16];
    bool used;
    unsigned connections;
    struct tally *tallies; /* one for each reason that was had */
};

struct visitors {
    struct visitor *slots;
    size_t size, used;
    uint64_t unreported;
};

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
    static const uint8_t everybody_else[16];
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

static size_t place(const struct visitors *v, const uint8_t address[16])
{
    return (size_t)str_hash(str_make((const char *)address, 16)) &
           (v->size - 1);
}

static bool rebuild(struct visitors *v, size_t size)
{
    struct visitor *old = v->slots;
    size_t old_size = v->size;
    struct visitor *slots = calloc(size, sizeof(*slots));
    if (slots == NULL)
        return false;
    v->slots = slots;
    v->size = size;
    v->used = 0;
    for (size_t i = 0; i < old_size; i++) {
        if (!old[i].used)
            continue;
        if (old[i].connections == 0 && old[i].tallies == NULL)
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

static struct visitor *look_up(struct visitors *v, const uint8_t address[16])
{
    for (size_t at = place(v, address); v->slots[at].used;
         at = (at + 1) & (v->size - 1)) {
        if (memcmp(v->slots[at].address, address, 16) == 0)
            return &v->slots[at];
    }
    return NULL;
}

static struct visitor *find_or_add(
    struct visitors *v, const uint8_t address[16])
{
    struct visitor *found = look_up(v, address);
    if (found != NULL)
        return found;
    if ((v->used + 1) * 4 > v->size * 3) {
        /* Drop what is over first; grow if that was not enough. */
        if (!rebuild(v, v->size))
            return NULL;
        if ((v->used + 1) * 2 > v->size &&
            (v->size >= SLOTS_MAX || !rebuild(v, v->size * 2)) &&
            (v->used + 1) * 4 > v->size * 3)
            return NULL;
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
    struct visitor *visitor = look_up(visitors, key);
    if (visitor != NULL && visitor->connections > 0)
        visitor->connections--;
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
    static const uint8_t everybody_else[16];
    uint8_t peer[16];
    canonical(address, peer);
    struct visitor *visitor = find_or_add(visitors, peer);
    if (visitor == NULL)
        visitor = look_up(visitors, everybody_else);
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
        address_text(visitor->address, address);
        while (visitor->tallies != NULL) {
            struct tally *tally = visitor->tallies;
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
        }
    }
}

uint64_t visitors_unreported(const struct visitors *visitors)
{
    return visitors->unreported;
}
