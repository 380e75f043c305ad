/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/log.c - see log.h. */
#include "audit/log.h"

#include "audit/entry.h"
#include "audit/indexer.h"
#include "audit/journal_priv.h"
#include "audit/key_rotation.h"
#include "audit/prove.h"
#include "audit/publisher.h"
#include "audit/recovery.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/must.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOG_MAGIC 0x4155444cu
#define KEY_FILE_MOST 4096
#define SEAL_ROOM 1024
#define SEAL_BUFFER 65536

struct audit_log {
    uint32_t magic;
    struct audit_log_options options;
    char *state_dir, *journal_dir, *segments_dir, *log_dir, *checkpoint;
    char *key_file;
    struct note_key key; /* the first, with those that took over */
    struct note_signer signer, old_signer;
    bool has_old;
    int64_t old_until_us;
    struct recovered recovered;
    struct audit_replayed replayed;
    struct journal_position position;
    uint8_t identity[SHA256_SIZE];
    struct journal *journal;
    struct journal_producer *sealer; /* holds the room of the last entry */
    struct publisher *publisher;
    struct indexer *indexer; /* NULL: none, or it could not be started */
    void (*failed)(void *context, const char *why);
    void *context;
    _Atomic bool told;
};

static bool set_paths(struct audit_log *log, const char *state_dir)
{
    log->state_dir = strdup(state_dir);
    log->journal_dir = file_join(state_dir, "journal");
    log->segments_dir = file_join(state_dir, "journal/segments");
    log->log_dir = file_join(state_dir, "log");
    log->checkpoint = file_join(state_dir, "log/checkpoint");
    return log->state_dir && log->journal_dir && log->segments_dir &&
           log->log_dir && log->checkpoint;
}

static void log_free(struct audit_log **pointer)
{
    struct audit_log *log = *pointer;
    *pointer = NULL;
    if (log == NULL)
        return;
    state_fini(&log->recovered.state);
    note_signer_wipe(&log->signer);
    note_signer_wipe(&log->old_signer);
    free(log->key_file);
    free(log->state_dir);
    free(log->journal_dir);
    free(log->segments_dir);
    free(log->log_dir);
    free(log->checkpoint);
    log->magic = 0;
    free(log);
}

/* --- Creating -------------------------------------------------------------
 */

static enum err make_folders(const struct audit_log *log, struct errinfo *info)
{
    static const struct {
        const char *name;
        mode_t mode;
    } folders[] = {
        {"journal", 0700},
        {"journal/segments", 0700},
        {"log", 0755},
        {"index", 0700},
        {"keys", 0700},
    };
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof(folders) / sizeof(*folders);
         i++) {
        char *path = file_join(log->state_dir, folders[i].name);
        err = path == NULL ? errinfo_set(info, ERR_NOMEM, "out of memory")
                           : file_make_dir(path, folders[i].mode, info);
        free(path);
    }
    return err;
}

static enum err write_key(const struct audit_log *log, const char *name,
    void (*format)(const struct note_signer *signer, struct buf *out),
    mode_t mode, struct errinfo *info)
{
    char *path = file_join(log->state_dir, name);
    struct buf text;
    buf_init(&text, KEY_FILE_MOST);
    format(&log->signer, &text);
    buf_append_char(&text, '\n');
    enum err err = path == NULL || text.failed
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : file_create(path, buf_str(&text), mode, info);
    if (text.ptr != NULL)
        crypto_wipe(text.ptr, text.cap);
    buf_fini(&text);
    free(path);
    return err;
}

static void format_public(const struct note_signer *signer, struct buf *out)
{
    note_key_format(&signer->key, out);
}

static enum err first_segment(
    const struct audit_log *log, uint64_t *sequence, struct errinfo *info)
{
    struct segment_spare spare;
    enum err err = segment_spare_make(log->segments_dir,
        log->options.segment_bytes, false, NULL, &spare, info);
    if (err != ERR_OK)
        return err;
    struct segment_header header = {.sequence = 1};
    memcpy(header.identity, log->identity, SHA256_SIZE);
    memcpy(header.previous, log->identity, SHA256_SIZE);
    int fd = -1;
    err = segment_spare_adopt(log->segments_dir, &spare, &header, &fd, info);
    segment_spare_drop(&spare);
    if (fd >= 0)
        close(fd);
    *sequence = header.sequence;
    return err;
}

static enum err create(
    struct audit_log *log, struct str origin, struct errinfo *info)
{
    enum err err = note_signer_generate(origin, &log->signer, info);
    if (err == ERR_OK)
        err = make_folders(log, info);
    if (err == ERR_OK)
        err = write_key(log, "keys/log.key", note_signer_format, 0600, info);
    if (err == ERR_OK)
        err = write_key(log, "log.vkey", format_public, 0644, info);
    if (err != ERR_OK)
        return err;
    audit_identity(&log->signer.key, log->identity);
    struct audit_state state;
    if (state_init(&state, log->identity) != ERR_OK)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    state.sealed = true;
    state.place.offset = SEGMENT_HEADER_SIZE;
    err = first_segment(log, &state.place.sequence, info);
    if (err == ERR_OK)
        err = state_save(log->journal_dir, &state, info);
    if (err == ERR_OK)
        err = publisher_write_checkpoint(
            log->log_dir, &log->signer, 0, &state.signed_root, info);
    state_fini(&state);
    return err;
}

enum err audit_log_create(
    const char *state_dir, const char *origin, struct errinfo *info)
{
    return audit_log_create_sized(
        state_dir, origin, SEGMENT_BYTES_DEFAULT, info);
}

enum err audit_log_create_sized(const char *state_dir, const char *origin,
    uint64_t segment_bytes, struct errinfo *info)
{
    struct audit_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    log->options.segment_bytes = segment_bytes;
    enum err err = set_paths(log, state_dir)
                       ? create(log, str_from(origin), info)
                       : errinfo_set(info, ERR_NOMEM, "out of memory");
    log_free(&log);
    return err;
}

/* --- Opening --------------------------------------------------------------
 */

static enum err read_signer(
    const char *path, struct note_signer *out, struct errinfo *info)
{
    struct buf text;
    struct str line, rest;
    buf_init(&text, KEY_FILE_MOST);
    enum err err = file_read(path, &text, info);
    if (err == ERR_OK) {
        (void)str_split(buf_str(&text), '\n', &line, &rest);
        err = note_signer_parse(line, out, info);
        if (err != ERR_OK)
            (void)errinfo_prefix(info, err, "%s", path);
    }
    if (text.ptr != NULL)
        crypto_wipe(text.ptr, text.cap);
    buf_fini(&text);
    return err;
}

/* "KEY.new", "KEY.old" */
static char *beside(const struct audit_log *log, const char *ending)
{
    char *path = NULL;
    return asprintf(&path, "%s%s", log->key_file, ending) < 0 ? NULL : path;
}

static const uint8_t *newest_key(const struct note_key *key)
{
    return key->successor_count > 0
               ? key->successors[key->successor_count - 1].public_key
               : key->public_key;
}

static bool signs_with(const struct note_signer *signer, const uint8_t *key)
{
    return memcmp(signer->key.public_key, key, ED25519_KEY_SIZE) == 0;
}

/* KEY becomes KEY.old, and KEY.new becomes KEY. */
static enum err move_keys(struct audit_log *log, struct errinfo *info)
{
    char *fresh = beside(log, ".new"), *old = beside(log, ".old");
    char *folder = strdup(log->key_file);
    char *slash = folder != NULL ? strrchr(folder, '/') : NULL;
    enum err err = fresh && old && slash
                       ? ERR_OK
                       : errinfo_set(info, ERR_NOMEM, "out of memory");
    if (err == ERR_OK)
        slash[slash == folder] = '\0';
    if (err == ERR_OK && file_exists(log->key_file) &&
        rename(log->key_file, old) != 0)
        err = errinfo_errno(info, ERR_IO, "cannot rename %s", log->key_file);
    if (err == ERR_OK && rename(fresh, log->key_file) != 0)
        err = errinfo_errno(info, ERR_IO, "cannot rename %s", fresh);
    if (err == ERR_OK)
        err = file_sync_dir(folder, info);
    free(folder);
    free(fresh);
    free(old);
    return err;
}

/* A rotation that is on record, but whose keys a crash kept from moving. */
static enum err finish_rotation(struct audit_log *log, struct errinfo *info)
{
    struct note_signer waiting = {0}, present = {0};
    char *fresh = beside(log, ".new");
    const uint8_t *due = newest_key(&log->key);
    enum err err =
        fresh != NULL ? ERR_OK : errinfo_set(info, ERR_NOMEM, "out of memory");
    bool done = log->key.successor_count == 0 ||
                (file_exists(log->key_file) &&
                    read_signer(log->key_file, &present, NULL) == ERR_OK &&
                    signs_with(&present, due));
    if (err == ERR_OK && !done && file_exists(fresh) &&
        read_signer(fresh, &waiting, NULL) == ERR_OK &&
        signs_with(&waiting, due))
        err = move_keys(log, info);
    note_signer_wipe(&present);
    note_signer_wipe(&waiting);
    free(fresh);
    return err;
}

/* The key of the last rotation signs too, until its overlap is over; then it
 * goes. */
static enum err load_old_key(struct audit_log *log,
    const struct key_rotation *last, struct errinfo *info)
{
    char *old = beside(log, ".old");
    enum err err = ERR_OK;
    if (old == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    if (file_exists(old) && clock_now() < last->until_us) {
        err = read_signer(old, &log->old_signer, info);
        log->has_old = err == ERR_OK &&
                       signs_with(&log->old_signer, last->old_key.public_key);
        log->old_until_us = last->until_us;
    } else if (file_exists(old) && last->until_us > 0 && unlink(old) != 0) {
        log_warn("old_key_not_removed", "path=%s", old);
    }
    free(old);
    return err;
}

/* The signing key, and the verifier key that must belong to it. */
static enum err load_keys(struct audit_log *log, struct errinfo *info)
{
    struct key_rotation last;
    log->key_file = log->options.key_file != NULL
                        ? strdup(log->options.key_file)
                        : file_join(log->state_dir, "keys/log.key");
    log->options.key_file = NULL; /* the caller's, for this call */
    enum err err =
        log->key_file == NULL
            ? errinfo_set(info, ERR_NOMEM, "out of memory")
            : audit_key_read(log->state_dir, STR(""), &log->key, info);
    if (err == ERR_OK)
        err = key_rotation_follow(log->log_dir, &log->key, &last, info);
    if (err == ERR_OK)
        err = finish_rotation(log, info);
    if (err == ERR_OK)
        err = read_signer(log->key_file, &log->signer, info);
    if (err == ERR_OK && !signs_with(&log->signer, newest_key(&log->key)))
        err = errinfo_set(info, ERR_CORRUPT,
            "%s/log.vkey%s and %s do not belong together", log->state_dir,
            log->key.successor_count > 0 ? ", log/" KEY_ROTATIONS_FILE : "",
            log->key_file);
    if (err == ERR_OK)
        err = load_old_key(log, &last, info);
    if (err == ERR_OK)
        audit_identity(&log->key, log->identity);
    return err;
}

static void keep_result(struct audit_log *log)
{
    const struct recovered *recovered = &log->recovered;
    const struct audit_state *state = &recovered->state;
    log->replayed = (struct audit_replayed){
        .size = state->place.index,
        .sealed = recovered->sealed,
        .recovered_tail = recovered->tail,
        .torn_frame = recovered->torn,
    };
    replay_result(state->replay, &log->replayed);
    log->position = (struct journal_position){
        .sequence = state->place.sequence,
        .offset = state->place.offset,
        .index = state->place.index,
        .last_time_us = log->replayed.last_time_us,
    };
    memcpy(log->position.previous, state->place.previous, SHA256_SIZE);
}

enum err audit_log_open(const struct audit_log_options *options,
    struct audit_log **out, struct errinfo *info)
{
    struct audit_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    log->magic = LOG_MAGIC;
    log->options = *options;
    if (log->options.segment_bytes == 0)
        log->options.segment_bytes = SEGMENT_BYTES_DEFAULT;
    enum err err = set_paths(log, options->state_dir)
                       ? load_keys(log, info)
                       : errinfo_set(info, ERR_NOMEM, "out of memory");
    if (err == ERR_OK) {
        segment_clean(log->segments_dir);
        struct recovery_options recovery = {
            .journal_dir = log->journal_dir,
            .segments_dir = log->segments_dir,
            .checkpoint = log->checkpoint,
            .segment_bytes = log->options.segment_bytes,
            .key = &log->key,
        };
        memcpy(recovery.identity, log->identity, SHA256_SIZE);
        err = audit_recover(&recovery, &log->recovered, info);
    }
    if (err != ERR_OK) {
        log_free(&log);
        return err;
    }
    keep_result(log);
    if (!log->recovered.sealed)
        log_debug("audit_recovered",
            "entries=%llu rewritten=%llu torn_frame=%s "
            "reason=\"the last run ended without its seal\"",
            (unsigned long long)log->replayed.size,
            (unsigned long long)log->recovered.tail,
            log->recovered.torn ? "dropped" : "none");
    *out = log;
    return ERR_OK;
}

const struct audit_replayed *audit_log_replayed(const struct audit_log *log)
{
    CHECK_MAGIC(log, LOG_MAGIC);
    return &log->replayed;
}

/* --- Running --------------------------------------------------------------
 */

/* From the journal's or the publisher's thread. */
static void on_failed(void *context, const char *why)
{
    struct audit_log *log = context;
    if (!atomic_exchange(&log->told, true) && log->failed != NULL)
        log->failed(log->context, why);
}

static uint64_t durable_size(void *context)
{
    const struct audit_log *log = context;
    return journal_size(log->journal);
}

/* Whatever becomes of the index never stops the log. */
static void start_indexer(struct audit_log *log)
{
    struct indexer_options options = {.state_dir = log->state_dir,
        .size = durable_size,
        .context = log,
        .may_wait = AUDIT_INDEX_MAY_WAIT};
    struct errinfo info = {0};
    if (indexer_start(&options, &log->indexer, &info) != ERR_OK)
        log_error("index_not_started", "reason=\"%s\"", info.text);
}

enum err audit_log_start(struct audit_log *log,
    void (*failed)(void *context, const char *why), void *context,
    struct errinfo *info)
{
    CHECK_MAGIC(log, LOG_MAGIC);
    MUST(log->journal == NULL);
    log->failed = failed;
    log->context = context;
    struct journal_options options = {
        .dir = log->segments_dir,
        .segment_bytes = log->options.segment_bytes,
        .position = log->position,
        .failed = on_failed,
        .context = log,
    };
    memcpy(options.identity, log->identity, SHA256_SIZE);
    /* From now on a stop is one without seal, until the seal is written. */
    log->recovered.state.sealed = false;
    enum err err = state_save(log->journal_dir, &log->recovered.state, info);
    if (err == ERR_OK)
        err = journal_start(&options, &log->journal, info);
    if (err != ERR_OK)
        return err;
    /* Room for the seal, whatever the disk does meanwhile. */
    err = journal_producer_new(
        log->journal, SEAL_BUFFER, NULL, NULL, &log->sealer);
    if (err == ERR_OK)
        err = journal_claim_room(log->sealer, SEAL_ROOM);
    if (err != ERR_OK)
        err = errinfo_set(info, err,
            "no room for the audit log in %s: free some space",
            log->segments_dir);
    struct publisher_options publisher = {
        .journal_dir = log->journal_dir,
        .segments_dir = log->segments_dir,
        .log_dir = log->log_dir,
        .journal = log->journal,
        .signer = &log->signer,
        .old_signer = log->has_old ? &log->old_signer : NULL,
        .old_until_us = log->old_until_us,
        .every_us = log->options.publish_us,
        .failed = on_failed,
        .context = log,
    };
    if (err == ERR_OK)
        err = publisher_start(
            &publisher, &log->recovered.state, &log->publisher, info);
    if (err != ERR_OK) {
        journal_producer_free(&log->sealer);
        journal_stop(&log->journal);
    } else if (!log->options.without_index) {
        start_indexer(log);
    }
    return err;
}

/* --- A new key -------------------------------------------------------------
 */

/* The note behind those that are there: from here on the rotation stands. */
static enum err append_rotation(const struct audit_log *log,
    const struct key_rotation *rotation, const struct note_signer *fresh,
    struct errinfo *info)
{
    char *path = file_join(log->log_dir, KEY_ROTATIONS_FILE);
    struct buf text;
    buf_init(&text, KEY_ROTATIONS_MAX);
    enum err err =
        path == NULL ? errinfo_set(info, ERR_NOMEM, "out of memory") : ERR_OK;
    if (err == ERR_OK && file_exists(path))
        err = file_read(path, &text, info);
    if (err == ERR_OK)
        err = key_rotation_write(rotation, &log->signer, fresh, &text, info);
    if (err == ERR_OK)
        err = file_replace(path, buf_str(&text), 0644, info);
    buf_fini(&text);
    free(path);
    return err;
}

static enum err write_fresh(const struct audit_log *log,
    const struct note_signer *fresh, struct errinfo *info)
{
    char *path = beside(log, ".new");
    struct buf text;
    buf_init(&text, KEY_FILE_MOST);
    note_signer_format(fresh, &text);
    buf_append_char(&text, '\n');
    enum err err = path == NULL || text.failed
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : file_replace(path, buf_str(&text), 0600, info);
    if (text.ptr != NULL)
        crypto_wipe(text.ptr, text.cap);
    buf_fini(&text);
    free(path);
    return err;
}

enum err audit_log_rotate(struct audit_log *log, int64_t until_us,
    struct key_rotation *out, struct errinfo *info)
{
    struct note_signer fresh;
    CHECK_MAGIC(log, LOG_MAGIC);
    if (log->has_old && clock_now() < log->old_until_us)
        return errinfo_set(info, ERR_WRONG_STATE,
            "the key that was rotated last still signs: its overlap is not "
            "over");
    if (log->key.successor_count == NOTE_SUCCESSORS_MAX)
        return errinfo_set(info, ERR_LIMIT,
            "the log's key was rotated %d times: no more", NOTE_SUCCESSORS_MAX);
    enum err err = key_rotation_follow(log->log_dir, &log->key, NULL, info);
    if (err == ERR_OK && !signs_with(&log->signer, newest_key(&log->key)))
        err = errinfo_set(info, ERR_WRONG_STATE,
            "the last rotation is on record, but its keys were not moved: "
            "start anew, which finishes it");
    if (err == ERR_OK)
        err = note_signer_generate(str_from(log->key.name), &fresh, info);
    if (err != ERR_OK)
        return err;
    *out = (struct key_rotation){.old_key = log->signer.key,
        .new_key = fresh.key,
        .size = journal_size(log->journal),
        .until_us = until_us};
    err = write_fresh(log, &fresh, info);
    if (err == ERR_OK)
        err = append_rotation(log, out, &fresh, info);
    if (err == ERR_OK)
        err = move_keys(log, info);
    if (err == ERR_OK)
        err = key_rotation_follow(log->log_dir, &log->key, NULL, info);
    if (err == ERR_OK) {
        log->old_signer = log->signer;
        log->signer = fresh;
        log->has_old = true;
        log->old_until_us = until_us;
        publisher_set_signers(
            log->publisher, &log->signer, &log->old_signer, until_us);
    }
    note_signer_wipe(&fresh);
    return err;
}

/* The last entry: after it nothing is written, and its frame says so. */
static void seal(struct audit_log *log)
{
    struct buf text;
    buf_init(&text, SEAL_ROOM);
    struct audit_act act = {
        .type = STR("system.stopped"),
        .time_us = clock_now(),
        .actor = STR("system"),
        .actor_method = STR("system"),
    };
    size_t time_offset;
    uint64_t ticket;
    audit_entry_act(&text, &act, &time_offset);
    MUST(!text.failed);
    if (journal_append_seal(log->sealer, buf_str(&text), time_offset, SEAL_ROOM,
            &ticket) != ERR_OK ||
        journal_wait(log->sealer, ticket) != ERR_OK)
        log_warn("audit_not_sealed", "state_dir=%s", log->state_dir);
    buf_fini(&text);
}

void audit_log_stop(struct audit_log **pointer)
{
    struct audit_log *log = *pointer;
    if (log == NULL)
        return;
    CHECK_MAGIC(log, LOG_MAGIC);
    if (log->journal != NULL) {
        seal(log);
        indexer_stop(&log->indexer);
        journal_producer_free(&log->sealer);
        publisher_stop(&log->publisher);
        journal_stop(&log->journal);
    }
    log_free(pointer);
}

struct journal *audit_log_journal(struct audit_log *log)
{
    CHECK_MAGIC(log, LOG_MAGIC);
    return log->journal;
}

struct indexer *audit_log_indexer(struct audit_log *log)
{
    CHECK_MAGIC(log, LOG_MAGIC);
    return log->indexer;
}

enum err audit_log_checkpoint(
    struct audit_log *log, struct buf *out, struct errinfo *info)
{
    CHECK_MAGIC(log, LOG_MAGIC);
    enum err err =
        publisher_await(log->publisher, journal_size(log->journal), info);
    return err == ERR_OK ? file_read(log->checkpoint, out, info) : err;
}

void audit_log_health(struct audit_log *log, struct audit_log_health *out)
{
    CHECK_MAGIC(log, LOG_MAGIC);
    struct journal_figures figures;
    journal_figures(log->journal, &figures);
    *out = (struct audit_log_health){
        .journal = journal_state(log->journal),
        .size = journal_size(log->journal),
        .published = publisher_size(log->publisher),
        .last_sync_us = figures.last_sync_us,
        .syncs = figures.syncs,
        .bytes = figures.bytes,
    };
    out->index_failed =
        log->options.without_index
            ? false
            : log->indexer == NULL || indexer_failed(log->indexer, NULL);
    if (log->indexer != NULL)
        out->indexed = indexer_position(log->indexer);
    struct statvfs fs;
    if (statvfs(log->segments_dir, &fs) == 0)
        out->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
}

bool audit_index_is_behind(const struct audit_log_health *health)
{
    return health->index_failed ||
           (health->size > health->indexed &&
               health->size - health->indexed > AUDIT_INDEX_LAG_MOST);
}
