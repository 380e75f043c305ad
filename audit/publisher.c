/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/publisher.c - see publisher.h. */
#include "audit/publisher.h"

#include "audit/tiles.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/must.h"
#include "lib/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define PUBLISHER_MAGIC 0x5055424cu
/* Tiles that wait in memory while much is to be caught up. */
#define TILES_WAITING_MOST (8u << 20)
#define ENTRIES_AT_ONCE 32 /* about 100 us; then others may run */
/* Between publications the journal is followed in small steps: a second's work
 * done at once is felt by every request of that moment. */
#define FOLLOW_US (SECOND_US / 10)
#define FOLLOW_ENTRIES 256

struct publisher {
    uint32_t magic;
    struct publisher_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    bool stop;
    bool failed;            /* under lock: nothing more will be published */
    uint64_t asked;         /* under lock: publish up to here now */
    struct errinfo trouble; /* under lock: of the last attempt */
    uint64_t attempts;      /* under lock */
    struct note_signer signers[2]; /* under lock: the one, and the old one */
    bool has_old;                  /* under lock */
    int64_t old_until_us;          /* under lock */
    _Atomic uint64_t published;
    /* the publisher's thread */
    struct audit_state state;
    struct journal_reader *reader;
    struct journal_cursor cursor; /* over reader */
    struct crypto_hash *hash;
    struct tile_writer *tiles;
    bool resumed, prepared; /* the tiles have all that the tree has */
    unsigned pieces;        /* of work since others could run */
    uint32_t last_flags;
};

uint64_t publisher_size(const struct publisher *publisher)
{
    return publisher->published;
}

static enum err write_signed(const char *log_dir,
    const struct note_signer *const *signers, size_t count, uint64_t size,
    const struct merkle_hash *root, struct errinfo *info)
{
    struct buf text, note;
    buf_init(&text, NOTE_MAX);
    buf_init(&note, NOTE_MAX);
    struct checkpoint checkpoint = {
        .origin = str_from(signers[0]->key.name), .size = size, .root = *root};
    checkpoint_format(&checkpoint, &text);
    enum err err = text.failed
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : note_sign(buf_str(&text), signers, count, &note, info);
    char *path = file_join(log_dir, "checkpoint");
    if (err == ERR_OK && path == NULL)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    if (err == ERR_OK)
        err = file_replace(path, buf_str(&note), 0644, info);
    free(path);
    buf_fini(&text);
    buf_fini(&note);
    return err;
}

enum err publisher_write_checkpoint(const char *log_dir,
    const struct note_signer *signer, uint64_t size,
    const struct merkle_hash *root, struct errinfo *info)
{
    return write_signed(log_dir, &signer, 1, size, root, info);
}

/* With the key, and during an overlap with the one before. */
static enum err sign_and_write(struct publisher *publisher, uint64_t size,
    const struct merkle_hash *root, struct errinfo *info)
{
    struct note_signer copies[2];
    const struct note_signer *signers[] = {&copies[0], &copies[1]};
    pthread_mutex_lock(&publisher->lock);
    memcpy(copies, publisher->signers, sizeof(copies));
    bool both = publisher->has_old && clock_now() < publisher->old_until_us;
    pthread_mutex_unlock(&publisher->lock);
    enum err err = write_signed(
        publisher->options.log_dir, signers, both ? 2 : 1, size, root, info);
    note_signer_wipe(&copies[0]);
    note_signer_wipe(&copies[1]);
    return err;
}

void publisher_set_signers(struct publisher *publisher,
    const struct note_signer *signer, const struct note_signer *old,
    int64_t old_until_us)
{
    pthread_mutex_lock(&publisher->lock);
    publisher->signers[0] = *signer;
    publisher->has_old = old != NULL;
    if (old != NULL)
        publisher->signers[1] = *old;
    else
        note_signer_wipe(&publisher->signers[1]);
    publisher->old_until_us = old_until_us;
    pthread_mutex_unlock(&publisher->lock);
}

/* --- Following the journal ------------------------------------------------
 */

/* Half taken in, an entry can neither be passed over nor taken in again. */
static enum err lost_count(struct errinfo *info)
{
    return errinfo_set(
        info, ERR_CORRUPT, "out of memory while following the journal");
}

static enum err add_tile(struct publisher *publisher,
    const struct merkle_hash *leaf, const struct merkle_hash *roots,
    struct str entry, struct errinfo *info)
{
    enum err err = tile_writer_add(
        publisher->tiles, publisher->hash, leaf, roots, entry, info);
    if (err == ERR_NOMEM)
        return lost_count(info);
    if (err == ERR_OK &&
        tile_writer_waiting(publisher->tiles) >= TILES_WAITING_MOST)
        err = tile_writer_flush(publisher->tiles, info);
    return err;
}

/* Of the tree's subtrees, those that are a tile's. */
static void keep_root(void *context, unsigned level, uint64_t index,
    const struct merkle_hash *node)
{
    struct merkle_hash *roots = context;
    (void)index;
    if (level % TILE_HEIGHT == 0 && level / TILE_HEIGHT <= TILE_LEVELS)
        roots[level / TILE_HEIGHT - 1] = *node;
}

static enum err fold_entry(
    struct publisher *publisher, struct str entry, struct errinfo *info)
{
    struct audit_state *state = &publisher->state;
    struct merkle_hash leaf, roots[TILE_LEVELS];
    struct errinfo why;
    enum err err = replay_entry(state->replay, state->tree.size, entry, &why);
    if (err == ERR_NOMEM)
        return lost_count(info);
    if (err != ERR_OK)
        log_error("audit_entry_unreadable", "reason=\"%s\"", why.text);
    merkle_leaf(publisher->hash, entry, &leaf);
    merkle_push(&state->tree, publisher->hash, &leaf, keep_root, roots);
    return add_tile(publisher, &leaf, roots, entry, info);
}

/* Takes in all that is durable by now: whole frames. */
static enum err catch_up(struct publisher *publisher, struct errinfo *info)
{
    struct audit_state *state = &publisher->state;
    struct journal_cursor *cursor = &publisher->cursor;
    uint64_t limit = journal_size(publisher->options.journal);
    if (state->tree.size == limit)
        return ERR_OK;
    while (state->tree.size < limit) {
        struct journal_entry entry;
        enum err err = journal_cursor_next(cursor, limit, &entry, info);
        if (err == ERR_NOTFOUND)
            err = errinfo_set(info, ERR_CORRUPT,
                "entry %" PRIu64 " was durable and is not in the journal",
                state->tree.size);
        if (err == ERR_OK)
            err = fold_entry(publisher, entry.bytes, info);
        if (err != ERR_OK)
            return err;
        thread_give_way_after(&publisher->pieces, ENTRIES_AT_ONCE);
    }
    publisher->last_flags = cursor->frame.flags;
    journal_reader_last(publisher->reader, &state->last);
    journal_reader_place(publisher->reader, &state->place);
    return ERR_OK;
}

/* The tree at `size`, of which the first entries were pruned. */
static enum err root_behind_pruned(struct publisher *publisher,
    const struct pruned *pruned, struct journal_reader *reader, uint64_t size,
    struct merkle_hash *root, struct errinfo *info)
{
    struct merkle_frontier tree;
    struct journal_cursor cursor;
    struct buf bytes;
    struct audit_state base;
    buf_init(&bytes, STATE_MOST);
    enum err err = pruned_read(
        publisher->options.segments_dir, pruned, "base", &bytes, info);
    if (err == ERR_OK) {
        err = state_decode(buf_str(&bytes), publisher->state.identity, &base);
        if (err != ERR_OK)
            (void)errinfo_set(
                info, err, "base-%" PRIu64 " cannot be read", pruned->entries);
    }
    buf_fini(&bytes);
    if (err != ERR_OK)
        return err;
    tree = base.tree;
    state_fini(&base);
    err = journal_cursor_init(&cursor, reader, pruned->entries, info);
    while (err == ERR_OK && tree.size < size) {
        struct journal_entry entry;
        struct merkle_hash leaf;
        err = journal_cursor_next(&cursor, size, &entry, info);
        if (err != ERR_OK)
            break;
        merkle_leaf(publisher->hash, entry.bytes, &leaf);
        merkle_push(&tree, publisher->hash, &leaf, NULL, NULL);
    }
    merkle_root(&tree, publisher->hash, root);
    return err;
}

/* Entries that were pruned cannot be read again: their hash tiles can. */
static enum err pass_pruned(struct publisher *publisher,
    struct journal_reader *reader, struct errinfo *info)
{
    const struct pruned *pruned = &journal_reader_segments(reader)->pruned;
    uint64_t size = pruned_minimum_index(pruned);
    struct merkle_hash root;
    if (tile_writer_next(publisher->tiles) >= pruned->entries)
        return ERR_OK;
    enum err err =
        root_behind_pruned(publisher, pruned, reader, size, &root, info);
    return err == ERR_OK ? tile_writer_take_leaves(publisher->tiles,
                               publisher->hash, size, &root, info)
                         : err;
}

/* Brings the tiles to where the tree stands: from what an earlier run
 * published, or, where that is not whole, from the first entry on. */
static enum err prepare(struct publisher *publisher, struct errinfo *info)
{
    struct audit_state *state = &publisher->state;
    enum err err;
    if (!publisher->resumed) {
        struct errinfo why = {0};
        err = tile_writer_resume(
            publisher->tiles, state->signed_size, &state->signed_root, &why);
        if (err != ERR_OK)
            log_warn("tiles_rebuilt", "reason=\"%s\"", why.text);
        publisher->resumed = true;
    }
    struct journal_reader *reader;
    struct journal_cursor cursor;
    err = journal_reader_open(
        publisher->options.segments_dir, state->identity, 0, &reader, info);
    if (err != ERR_OK)
        return err;
    err = pass_pruned(publisher, reader, info);
    uint64_t next = tile_writer_next(publisher->tiles);
    if (err == ERR_OK && next < state->tree.size)
        err = journal_cursor_init(&cursor, reader, next, info);
    while (err == ERR_OK && next < state->tree.size) {
        struct journal_entry entry;
        struct merkle_hash leaf;
        err = journal_cursor_next(&cursor, state->tree.size, &entry, info);
        if (err != ERR_OK)
            break;
        merkle_leaf(publisher->hash, entry.bytes, &leaf);
        err = add_tile(publisher, &leaf, NULL, entry.bytes, info);
        next = tile_writer_next(publisher->tiles);
    }
    journal_reader_close(&reader);
    publisher->prepared = err == ERR_OK;
    return err;
}

static enum err publish(struct publisher *publisher, struct errinfo *info)
{
    struct audit_state *state = &publisher->state;
    enum err err = ERR_OK;
    if (!publisher->prepared)
        err = prepare(publisher, info);
    if (err == ERR_OK)
        err = catch_up(publisher, info);
    if (err != ERR_OK || state->tree.size == publisher->published)
        return err;
    err = tile_writer_flush(publisher->tiles, info);
    if (err != ERR_OK)
        return err;
    state->signed_size = state->tree.size;
    merkle_root(&state->tree, publisher->hash, &state->signed_root);
    err = state_save(publisher->options.journal_dir, state, info);
    if (err == ERR_OK)
        err = sign_and_write(
            publisher, state->signed_size, &state->signed_root, info);
    if (err == ERR_OK)
        publisher->published = state->signed_size;
    return err;
}

/* --- The thread -----------------------------------------------------------
 */

/* Takes in what has come meanwhile; nothing is published. */
static enum err follow(struct publisher *publisher, struct errinfo *info)
{
    uint64_t size = journal_size(publisher->options.journal);
    if (!publisher->prepared ||
        size - publisher->state.tree.size < FOLLOW_ENTRIES)
        return ERR_OK;
    return catch_up(publisher, info);
}

static struct timespec at_monotonic(int64_t at_us)
{
    return (struct timespec){.tv_sec = (time_t)(at_us / SECOND_US),
        .tv_nsec = (long)(at_us % SECOND_US) * 1000};
}

/* True: publish; false: stop. */
static bool wait_for_work(struct publisher *publisher)
{
    int64_t end = clock_monotonic() + publisher->options.every_us, next;
    struct errinfo info = {0};
    enum err err = ERR_OK;
    pthread_mutex_lock(&publisher->lock);
    while (!publisher->stop && publisher->asked <= publisher->published &&
           err == ERR_OK && (next = clock_monotonic()) < end) {
        next += FOLLOW_US;
        struct timespec until = at_monotonic(next < end ? next : end);
        if (pthread_cond_timedwait(
                &publisher->work, &publisher->lock, &until) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&publisher->lock);
        err = follow(publisher, &info); /* publish meets it too, and tells */
        pthread_mutex_lock(&publisher->lock);
    }
    bool stop = publisher->stop;
    pthread_mutex_unlock(&publisher->lock);
    return !stop;
}

static void tell(
    struct publisher *publisher, enum err err, const struct errinfo *info)
{
    bool same;
    pthread_mutex_lock(&publisher->lock);
    same = strcmp(publisher->trouble.text, info->text) == 0;
    publisher->trouble = *info;
    publisher->attempts++;
    publisher->asked = 0;
    if (err == ERR_CORRUPT)
        publisher->failed = true;
    pthread_cond_broadcast(&publisher->done);
    pthread_mutex_unlock(&publisher->lock);
    if (err == ERR_CORRUPT && publisher->options.failed != NULL)
        publisher->options.failed(publisher->options.context, info->text);
    else if (err != ERR_OK && !same)
        log_error("checkpoint_not_published", "reason=\"%s\"", info->text);
}

static void *publisher_main(void *argument)
{
    struct publisher *publisher = argument;
    enum err err = ERR_OK;
    struct errinfo info;
    thread_be_nice();
    do {
        info = (struct errinfo){0};
        err = publish(publisher, &info);
        tell(publisher, err, &info);
    } while (err != ERR_CORRUPT && wait_for_work(publisher));
    if (err == ERR_CORRUPT)
        return NULL;
    info = (struct errinfo){0};
    err = publish(publisher, &info);
    if (err == ERR_OK && (publisher->last_flags & FRAME_SEAL)) {
        publisher->state.sealed = true;
        err = state_save(
            publisher->options.journal_dir, &publisher->state, &info);
    }
    tell(publisher, err, &info);
    return NULL;
}

static void publisher_free(struct publisher **pointer)
{
    struct publisher *publisher = *pointer;
    *pointer = NULL;
    journal_reader_close(&publisher->reader);
    crypto_hash_free(&publisher->hash);
    tile_writer_free(&publisher->tiles);
    state_fini(&publisher->state);
    note_signer_wipe(&publisher->signers[0]);
    note_signer_wipe(&publisher->signers[1]);
    pthread_cond_destroy(&publisher->work);
    pthread_cond_destroy(&publisher->done);
    pthread_mutex_destroy(&publisher->lock);
    publisher->magic = 0;
    free(publisher);
}

enum err publisher_start(const struct publisher_options *options,
    struct audit_state *state, struct publisher **out, struct errinfo *info)
{
    struct publisher *publisher = calloc(1, sizeof(*publisher));
    if (publisher == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    publisher->magic = PUBLISHER_MAGIC;
    publisher->options = *options;
    if (options->every_us <= 0)
        publisher->options.every_us = SECOND_US;
    publisher->state = *state;
    state->replay = NULL;
    pthread_mutex_init(&publisher->lock, NULL);
    publisher_set_signers(
        publisher, options->signer, options->old_signer, options->old_until_us);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&publisher->work, &attributes);
    pthread_cond_init(&publisher->done, &attributes);
    pthread_condattr_destroy(&attributes);
    publisher->hash = crypto_hash_new();
    enum err err = publisher->hash == NULL
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : journal_reader_open(options->segments_dir,
                             publisher->state.identity, READER_CHAIN,
                             &publisher->reader, info);
    if (err == ERR_OK)
        err = journal_reader_seek(publisher->reader,
            publisher->state.place.index, &publisher->state.place, info);
    if (err == ERR_OK)
        err = journal_cursor_init(&publisher->cursor, publisher->reader,
            publisher->state.place.index, info);
    if (err == ERR_OK)
        err = tile_writer_new(options->log_dir, &publisher->tiles, info);
    if (err == ERR_OK) {
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int error =
            pthread_create(&publisher->thread, NULL, publisher_main, publisher);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (error != 0) {
            errno = error;
            err = errinfo_errno(info, ERR_IO, "cannot start the publisher");
        } else {
            pthread_setname_np(publisher->thread, "publisher");
        }
    }
    if (err == ERR_OK)
        *out = publisher;
    else
        publisher_free(&publisher);
    return err;
}

void publisher_stop(struct publisher **pointer)
{
    struct publisher *publisher = *pointer;
    if (publisher == NULL)
        return;
    CHECK_MAGIC(publisher, PUBLISHER_MAGIC);
    pthread_mutex_lock(&publisher->lock);
    publisher->stop = true;
    pthread_cond_signal(&publisher->work);
    pthread_mutex_unlock(&publisher->lock);
    pthread_join(publisher->thread, NULL);
    publisher_free(pointer);
}

enum err publisher_await(
    struct publisher *publisher, uint64_t size, struct errinfo *info)
{
    enum err err = ERR_OK;
    pthread_mutex_lock(&publisher->lock);
    uint64_t attempts = publisher->attempts;
    while (publisher->published < size && !publisher->failed &&
           !publisher->stop && publisher->attempts < attempts + 2) {
        if (publisher->asked < size)
            publisher->asked = size;
        pthread_cond_signal(&publisher->work);
        pthread_cond_wait(&publisher->done, &publisher->lock);
    }
    if (publisher->published < size)
        err = errinfo_set(info, ERR_IO, "no checkpoint could be published: %s",
            publisher->trouble.text);
    pthread_mutex_unlock(&publisher->lock);
    return err;
}
