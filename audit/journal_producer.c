/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/journal_producer.c - the producers' side of the journal: entries are
 * laid down in the form of a frame's payload, and handed over a run at a time.
 * See journal.h. */
#include "audit/journal_producer.h"

#include "lib/clock.h"
#include "lib/must.h"

#include <stdlib.h>

#define NODE_FIRST_CAP (16u << 10)
#define NODE_FIRST_MARKS 32
/* A run of this size is handed over at once. */
#define NODE_SUBMIT_AT (256u << 10)
/* Up to this size a run is copied behind one that still waits. */
#define NODE_MERGE_MOST (16u << 10)

static struct node *node_new(struct journal_producer *producer)
{
    struct node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->producer = producer;
    node->bytes = malloc(NODE_FIRST_CAP);
    node->marks = malloc(NODE_FIRST_MARKS * sizeof(*node->marks));
    if (node->bytes == NULL || node->marks == NULL) {
        journal_node_free(&node);
        return NULL;
    }
    node->cap = NODE_FIRST_CAP;
    node->mark_cap = NODE_FIRST_MARKS;
    return node;
}

void journal_node_free(struct node **pointer)
{
    struct node *node = *pointer;
    *pointer = NULL;
    if (node == NULL)
        return;
    free(node->bytes);
    free(node->marks);
    free(node);
}

static bool node_grow(struct node *node, size_t more)
{
    if (node->cap - node->len < more) {
        size_t cap = node->cap;
        while (cap - node->len < more)
            cap *= 2;
        void *bytes = realloc(node->bytes, cap);
        if (bytes == NULL)
            return false;
        node->bytes = bytes;
        node->cap = cap;
    }
    if (node->count == node->mark_cap) {
        uint32_t cap = node->mark_cap * 2;
        void *marks = realloc(node->marks, cap * sizeof(*node->marks));
        if (marks == NULL)
            return false;
        node->marks = marks;
        node->mark_cap = cap;
    }
    return true;
}

enum err journal_producer_new(struct journal *journal, size_t max_bytes,
    void (*wake)(void *context), void *context, struct journal_producer **out)
{
    CHECK_MAGIC(journal, JOURNAL_MAGIC);
    struct journal_producer *producer = calloc(1, sizeof(*producer));
    if (producer == NULL)
        return ERR_NOMEM;
    producer->magic = PRODUCER_MAGIC;
    producer->journal = journal;
    producer->max_bytes = max_bytes;
    producer->wake = wake;
    producer->context = context;
    producer->filling = node_new(producer);
    if (producer->filling == NULL) {
        free(producer);
        return ERR_NOMEM;
    }
    pthread_mutex_lock(&journal->lock);
    producer->next = journal->producers;
    producer->link = &journal->producers;
    if (producer->next != NULL)
        producer->next->link = &producer->next;
    journal->producers = producer;
    pthread_mutex_unlock(&journal->lock);
    *out = producer;
    return ERR_OK;
}

static bool has_failed(const struct journal *journal)
{
    return journal->state == JOURNAL_FAILED;
}

void journal_producer_free(struct journal_producer **pointer)
{
    struct journal_producer *producer = *pointer;
    *pointer = NULL;
    if (producer == NULL)
        return;
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    struct journal *journal = producer->journal;
    journal_submit(producer);
    if (producer->room > 0)
        journal->claimed -= producer->room;
    pthread_mutex_lock(&journal->lock);
    journal->waiters++;
    while (producer->busy || (producer->first != NULL && !has_failed(journal)))
        pthread_cond_wait(&journal->durable, &journal->lock);
    journal->waiters--;
    *producer->link = producer->next;
    if (producer->next != NULL)
        producer->next->link = producer->link;
    pthread_mutex_unlock(&journal->lock);
    while (producer->first != NULL) {
        struct node *node = producer->first;
        producer->first = node->next;
        journal_node_free(&node);
    }
    while (producer->spares != NULL) {
        struct node *node = producer->spares;
        producer->spares = node->next;
        journal_node_free(&node);
    }
    journal_node_free(&producer->filling);
    producer->magic = 0;
    free(producer);
}

/* --- Room -----------------------------------------------------------------
 */

static bool claim(struct journal *journal, uint64_t need)
{
    uint64_t claimed = atomic_fetch_add(&journal->claimed, need) + need;
    uint64_t budget = journal->budget;
    /* Half of what there is has been promised: more should be made. */
    if (claimed > budget / 2)
        segment_maker_want(journal->maker, journal->spares + 1);
    if (claimed <= budget)
        return true;
    journal->claimed -= need;
    return false;
}

enum err journal_claim_room(struct journal_producer *producer, size_t room)
{
    struct journal *journal = producer->journal;
    if (!claim(journal, room + ENTRY_COST))
        return ERR_FULL;
    producer->room += room + ENTRY_COST;
    return ERR_OK;
}

void journal_release_room(struct journal_producer *producer, size_t room)
{
    MUST(producer->room >= room + ENTRY_COST);
    producer->room -= room + ENTRY_COST;
    producer->journal->claimed -= room + ENTRY_COST;
}

/* --- Appending ------------------------------------------------------------
 */

static enum err put(struct journal_producer *producer, struct str entry,
    size_t time_offset, bool eager, uint64_t *ticket)
{
    struct node *node = producer->filling;
    if (!node_grow(node, FRAME_ENTRY_OVERHEAD + entry.len))
        return ERR_NOMEM;
    uint8_t *to = node->bytes + node->len;
    to[0] = (uint8_t)(entry.len >> 8);
    to[1] = (uint8_t)entry.len;
    memcpy(to + FRAME_ENTRY_OVERHEAD, entry.ptr, entry.len);
    node->marks[node->count++] = (struct mark){
        .at = (uint32_t)node->len,
        .time = (uint32_t)(node->len + FRAME_ENTRY_OVERHEAD + time_offset),
    };
    node->len += FRAME_ENTRY_OVERHEAD + entry.len;
    node->eager = node->eager || eager;
    producer->waiting += FRAME_ENTRY_OVERHEAD + entry.len;
    *ticket = ++producer->tickets;
    if (node->len >= NODE_SUBMIT_AT)
        journal_submit(producer);
    return ERR_OK;
}

enum err journal_append(struct journal_producer *producer, struct str entry,
    size_t time_offset, size_t room, uint64_t *ticket)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    struct journal *journal = producer->journal;
    if (entry.len > JOURNAL_ENTRY_MAX || room > JOURNAL_ENTRY_MAX)
        return ERR_RANGE;
    MUST(entry.len >= CLOCK_TEXT_LENGTH &&
         time_offset <= entry.len - CLOCK_TEXT_LENGTH);
    int state = journal->state;
    if (state == JOURNAL_FAILED)
        return ERR_WRONG_STATE;
    /* While no segment can be made, what asks for more to come is refused;
     * what stands alone (a denial, an administrator's act) may use the rest. */
    if (state == JOURNAL_FULL && room > 0)
        return ERR_FULL;
    size_t cost = entry.len + ENTRY_COST;
    size_t ahead = room > 0 ? room + ENTRY_COST : 0;
    if (producer->waiting + producer->room + cost + ahead > producer->max_bytes)
        return ERR_FULL;
    if (!claim(journal, cost + ahead))
        return ERR_FULL;
    enum err err = put(producer, entry, time_offset, true, ticket);
    if (err == ERR_OK)
        producer->room += ahead;
    else
        journal->claimed -= cost + ahead;
    return err == ERR_NOMEM ? ERR_FULL : err;
}

static enum err append_reserved(struct journal_producer *producer,
    struct str entry, size_t time_offset, size_t room, bool seal,
    uint64_t *ticket)
{
    CHECK_MAGIC(producer, PRODUCER_MAGIC);
    struct journal *journal = producer->journal;
    MUST(entry.len <= room && room + ENTRY_COST <= producer->room);
    MUST(entry.len >= CLOCK_TEXT_LENGTH &&
         time_offset <= entry.len - CLOCK_TEXT_LENGTH);
    if (has_failed(journal))
        return ERR_WRONG_STATE;
    /* Out of memory here would lose a record that was promised. */
    MUST(put(producer, entry, time_offset, seal, ticket) == ERR_OK);
    producer->room -= room + ENTRY_COST;
    journal->claimed -= room - entry.len;
    if (seal)
        producer->filling->seal = true;
    return ERR_OK;
}

enum err journal_append_reserved(struct journal_producer *producer,
    struct str entry, size_t time_offset, size_t room, uint64_t *ticket)
{
    return append_reserved(producer, entry, time_offset, room, false, ticket);
}

enum err journal_append_seal(struct journal_producer *producer,
    struct str entry, size_t time_offset, size_t room, uint64_t *ticket)
{
    return append_reserved(producer, entry, time_offset, room, true, ticket);
}

/* --- Handing over ---------------------------------------------------------
 */

/* Behind the run that waits already, if that is cheap. */
static bool merge_locked(struct node *last, const struct node *node)
{
    if (node->len > NODE_MERGE_MOST || last->cap - last->len < node->len ||
        last->mark_cap - last->count < node->count || last->seal)
        return false;
    memcpy(last->bytes + last->len, node->bytes, node->len);
    for (uint32_t i = 0; i < node->count; i++)
        last->marks[last->count + i] = (struct mark){
            .at = node->marks[i].at + (uint32_t)last->len,
            .time = node->marks[i].time + (uint32_t)last->len,
        };
    last->len += node->len;
    last->count += node->count;
    last->eager = last->eager || node->eager;
    last->seal = node->seal;
    return true;
}

static void node_clear(struct node *node)
{
    node->next = NULL;
    node->len = 0;
    node->count = 0;
    node->taken = 0;
    node->eager = false;
    node->seal = false;
}

void journal_submit(struct journal_producer *producer)
{
    struct journal *journal = producer->journal;
    struct node *node = producer->filling;
    if (node->count == 0)
        return;
    struct node *fresh = NULL;
    bool signal = false, merged = false;
    bool eager = node->eager;
    pthread_mutex_lock(&journal->lock);
    if (producer->last != NULL)
        merged = merge_locked(producer->last, node);
    if (!merged && producer->spares != NULL) {
        fresh = producer->spares;
        producer->spares = fresh->next;
        producer->spare_count--;
    }
    if (!merged && fresh == NULL) {
        /* Rare: the first turns, or a long sync. */
        pthread_mutex_unlock(&journal->lock);
        fresh = node_new(producer);
        if (fresh == NULL)
            return; /* stays where it is until the next turn */
        pthread_mutex_lock(&journal->lock);
    }
    if (!merged) {
        if (producer->last != NULL)
            producer->last->next = node;
        else
            producer->first = node;
        producer->last = node;
    }
    journal->eager = journal->eager || eager;
    journal->lazy = true;
    signal = journal->sleeping == SLEEP_DEEP ||
             (eager && journal->sleeping == SLEEP_TIMED);
    if (signal) {
        journal->sleeping = SLEEP_NONE;
        pthread_cond_signal(&journal->work);
    }
    pthread_mutex_unlock(&journal->lock);
    if (merged)
        node_clear(node);
    else
        node_clear(producer->filling = fresh);
}

uint64_t journal_durable(const struct journal_producer *producer)
{
    return atomic_load_explicit(&producer->durable, memory_order_acquire);
}

enum err journal_wait(struct journal_producer *producer, uint64_t ticket)
{
    struct journal *journal = producer->journal;
    MUST(ticket <= producer->tickets);
    journal_submit(producer);
    if (journal_durable(producer) >= ticket)
        return ERR_OK;
    if (producer->filling->count > 0)
        return ERR_NOMEM; /* could not be handed over */
    pthread_mutex_lock(&journal->lock);
    journal->waiters++;
    while (journal_durable(producer) < ticket && !has_failed(journal))
        pthread_cond_wait(&journal->durable, &journal->lock);
    journal->waiters--;
    pthread_mutex_unlock(&journal->lock);
    return journal_durable(producer) >= ticket ? ERR_OK : ERR_WRONG_STATE;
}
