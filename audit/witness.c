/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/witness.c - see witness.h. */
#include "audit/witness.h"

#include "lib/encode.h"
#include "lib/file.h"
#include "lib/must.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define WITNESS_MAGIC 0x7769746eu
#define KEY_FILE_MOST 4096
#define LOGS_FILE_MOST (1u << 20)
#define PATH_TEXT_MAX 96

struct witness {
    unsigned magic;
    char *dir;
    int lock_fd;
    struct note_signer signer;
    struct note_key *logs;
    size_t log_count;
    pthread_mutex_t mutex; /* check and store are one step */
};

/* --- Files ---------------------------------------------------------------- */

static enum err write_in(const char *dir, const char *name, struct str text,
    mode_t mode, bool fresh, struct errinfo *info)
{
    char *path = file_join(dir, name);
    enum err err = path == NULL ? errinfo_set(info, ERR_NOMEM, "out of memory")
                   : fresh      ? file_create(path, text, mode, info)
                                : file_replace(path, text, mode, info);
    free(path);
    return err;
}

static enum err read_in(
    const char *dir, const char *name, struct buf *out, struct errinfo *info)
{
    char *path = file_join(dir, name);
    enum err err = path == NULL ? errinfo_set(info, ERR_NOMEM, "out of memory")
                                : file_read(path, out, info);
    free(path);
    return err;
}

static bool is_in(const char *dir, const char *name)
{
    char *path = file_join(dir, name);
    bool there = path != NULL && file_exists(path);
    free(path);
    return there;
}

/* "checkpoints/HEX" */
static void checkpoint_path(char out[PATH_TEXT_MAX], struct str origin)
{
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    crypto_sha256(digest, origin.ptr, origin.len);
    hex_write(hex, digest, sizeof(digest));
    snprintf(out, PATH_TEXT_MAX, "checkpoints/%s", hex);
}

/* --- Creating --------------------------------------------------------------
 */

static enum err write_keys(
    const char *dir, const struct note_signer *signer, struct errinfo *info)
{
    struct buf text;
    buf_init(&text, KEY_FILE_MOST);
    note_signer_format(signer, &text);
    buf_append_char(&text, '\n');
    enum err err = text.failed ? errinfo_set(info, ERR_NOMEM, "out of memory")
                               : write_in(dir, "witness.key", buf_str(&text),
                                     0600, true, info);
    if (text.ptr != NULL)
        crypto_wipe(text.ptr, text.cap);
    buf_clear(&text);
    note_key_format(&signer->key, &text);
    buf_append_char(&text, '\n');
    if (err == ERR_OK)
        err = write_in(dir, "witness.vkey", buf_str(&text), 0644, true, info);
    buf_fini(&text);
    return err;
}

enum err witness_create(const char *dir, struct str name, struct errinfo *info)
{
    struct note_signer signer;
    char *checkpoints = file_join(dir, "checkpoints");
    enum err err = note_witness_generate(name, &signer, info);
    if (err == ERR_OK)
        err = file_make_dir(dir, 0700, info);
    if (err == ERR_OK)
        err = checkpoints == NULL
                  ? errinfo_set(info, ERR_NOMEM, "out of memory")
                  : file_make_dir(checkpoints, 0700, info);
    if (err == ERR_OK)
        err = write_keys(dir, &signer, info);
    if (err == ERR_OK)
        err = write_in(dir, "logs", STR(""), 0644, true, info);
    note_signer_wipe(&signer);
    free(checkpoints);
    return err;
}

/* --- The logs ---------------------------------------------------------------
 */

/* A key a line; '#' begins a comment line. */
static enum err parse_logs(struct str text, struct note_key *out, size_t room,
    size_t *count, struct errinfo *info)
{
    struct str line, rest = text;
    *count = 0;
    for (size_t number = 1; rest.len > 0; number++) {
        (void)str_split(rest, '\n', &line, &rest);
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (*count == room)
            return errinfo_set(
                info, ERR_LIMIT, "logs: more than %zu keys", room);
        enum err err = note_key_parse(line, &out[*count], info);
        if (err != ERR_OK)
            return errinfo_prefix(info, err, "logs:%zu", number);
        (*count)++;
    }
    return ERR_OK;
}

static enum err read_logs(const char *dir, struct buf *text,
    struct note_key **out, size_t *count, struct errinfo *info)
{
    struct note_key *keys = calloc(WITNESS_LOGS_MAX, sizeof(*keys));
    if (keys == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    buf_init(text, LOGS_FILE_MOST);
    enum err err = read_in(dir, "logs", text, info);
    if (err == ERR_OK)
        err = parse_logs(buf_str(text), keys, WITNESS_LOGS_MAX, count, info);
    if (err == ERR_OK) {
        *out = keys;
    } else {
        buf_fini(text);
        free(keys);
    }
    return err;
}

enum err witness_trust(const char *dir, struct str key, struct errinfo *info)
{
    struct note_key parsed, *keys = NULL;
    struct buf text;
    size_t count = 0;
    enum err err = note_key_parse(key, &parsed, info);
    if (err == ERR_OK)
        err = read_logs(dir, &text, &keys, &count, info);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < count; i++)
        if (memcmp(&keys[i], &parsed, sizeof(parsed)) == 0)
            err = errinfo_set(info, ERR_EXISTS,
                "the log \"%s\" is watched already", parsed.name);
    if (err == ERR_OK) {
        if (text.len > 0 && !str_ends(buf_str(&text), STR("\n")))
            buf_append_char(&text, '\n');
        buf_append_str(&text, key);
        buf_append_char(&text, '\n');
        err = text.failed
                  ? errinfo_set(info, ERR_LIMIT, "too many logs")
                  : write_in(dir, "logs", buf_str(&text), 0644, false, info);
    }
    buf_fini(&text);
    free(keys);
    return err;
}

/* --- Opening ----------------------------------------------------------------
 */

static enum err take_lock(struct witness *witness, struct errinfo *info)
{
    char *path = file_join(witness->dir, "lock");
    enum err err = ERR_OK;
    if (path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    witness->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (witness->lock_fd < 0)
        err = errinfo_errno(info, ERR_IO, "%s", path);
    else if (flock(witness->lock_fd, LOCK_EX | LOCK_NB) != 0)
        err = errinfo_set(info, ERR_AGAIN,
            "another process is this witness already (it holds %s)", path);
    free(path);
    return err;
}

static enum err load_key(struct witness *witness, struct errinfo *info)
{
    struct buf text;
    struct str line, rest;
    buf_init(&text, KEY_FILE_MOST);
    enum err err = read_in(witness->dir, "witness.key", &text, info);
    if (err == ERR_OK) {
        (void)str_split(buf_str(&text), '\n', &line, &rest);
        err = note_witness_parse(line, &witness->signer, info);
        if (err != ERR_OK)
            (void)errinfo_prefix(info, err, "witness.key");
    }
    if (text.ptr != NULL)
        crypto_wipe(text.ptr, text.cap);
    buf_fini(&text);
    return err;
}

enum err witness_open(
    const char *dir, struct witness **out, struct errinfo *info)
{
    struct buf text;
    if (!is_in(dir, "witness.key"))
        return errinfo_set(info, ERR_NOTFOUND,
            "%s holds no witness: `bailiff witness init` makes one", dir);
    struct witness *witness = calloc(1, sizeof(*witness));
    if (witness == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    witness->magic = WITNESS_MAGIC;
    witness->lock_fd = -1;
    pthread_mutex_init(&witness->mutex, NULL);
    witness->dir = strdup(dir);
    enum err err = witness->dir == NULL
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : take_lock(witness, info);
    if (err == ERR_OK)
        err = load_key(witness, info);
    if (err == ERR_OK) {
        err = read_logs(dir, &text, &witness->logs, &witness->log_count, info);
        if (err == ERR_OK)
            buf_fini(&text);
    }
    if (err == ERR_OK)
        *out = witness;
    else
        witness_close(&witness);
    return err;
}

void witness_close(struct witness **pointer)
{
    struct witness *witness = *pointer;
    if (witness == NULL)
        return;
    CHECK_MAGIC(witness, WITNESS_MAGIC);
    if (witness->lock_fd >= 0)
        close(witness->lock_fd);
    note_signer_wipe(&witness->signer);
    pthread_mutex_destroy(&witness->mutex);
    free(witness->logs);
    free(witness->dir);
    witness->magic = 0;
    free(witness);
    *pointer = NULL;
}

const struct note_key *witness_key(const struct witness *witness)
{
    return &witness->signer.key;
}

/* --- add-checkpoint ---------------------------------------------------------
 */

static void answer_with(struct witness_answer *answer, int status)
{
    answer->status = status;
    answer->content_type = "text/plain; charset=utf-8";
    buf_clear(&answer->body);
    buf_append_str(&answer->body, str_from(answer->why.text));
    buf_append_char(&answer->body, '\n');
}

static void answer_size(struct witness_answer *answer, uint64_t size)
{
    answer->status = 409;
    answer->content_type = "text/x.tlog.size";
    buf_clear(&answer->body);
    buf_printf(&answer->body, "%" PRIu64 "\n", size);
}

/* The newest checkpoint that we cosigned; size 0 and the empty tree's root
 * where there is none. Our own cosignature on it must hold. */
static enum err latest(struct witness *witness, const char *path,
    struct buf *note, struct checkpoint *out, struct errinfo *info)
{
    struct merkle_frontier empty;
    struct str text;
    *out = (struct checkpoint){0};
    if (!is_in(witness->dir, path)) {
        merkle_init(&empty);
        merkle_root(&empty, NULL, &out->root);
        return ERR_OK;
    }
    enum err err = read_in(witness->dir, path, note, info);
    if (err == ERR_OK)
        err = note_open(buf_str(note), &witness->signer.key, 1, &text, info);
    if (err == ERR_OK)
        err = checkpoint_parse(text, out, info);
    return err == ERR_OK
               ? ERR_OK
               : errinfo_prefix(info, err, "%s/%s", witness->dir, path);
}

/* A request whose checkpoint a log that is watched has signed. */
struct opened {
    struct witness_request request;
    struct note_key *keys; /* of that log */
    size_t key_count;
    struct str text;
    struct checkpoint checkpoint;
};

/* 0, or the status that is due. */
static int open_request(const struct witness *witness, struct str body,
    struct opened *out, struct errinfo *info)
{
    struct str origin, rest;
    if (witness_request_parse(body, &out->request, info) != ERR_OK)
        return 400;
    out->keys = calloc(witness->log_count + 1, sizeof(*out->keys));
    if (out->keys == NULL) {
        (void)errinfo_set(info, ERR_NOMEM, "out of memory");
        return 500;
    }
    (void)str_split(out->request.note, '\n', &origin, &rest);
    for (size_t i = 0; i < witness->log_count; i++)
        if (str_equal(str_from(witness->logs[i].name), origin))
            out->keys[out->key_count++] = witness->logs[i];
    enum err err = note_open(
        out->request.note, out->keys, out->key_count, &out->text, info);
    if (err == ERR_SYNTAX || err == ERR_LIMIT)
        return 400;
    if (out->key_count == 0) {
        (void)errinfo_set(info, ERR_NOTFOUND,
            "the log \"%.*s\" is not watched here",
            (int)(origin.len < 200 ? origin.len : 200), origin.ptr);
        return 404;
    }
    if (err != ERR_OK)
        return 403;
    err = checkpoint_parse(out->text, &out->checkpoint, info);
    if (err == ERR_OK && out->checkpoint.size < out->request.old_size)
        err = errinfo_set(info, ERR_RANGE,
            "the old size is larger than that of the checkpoint");
    return err == ERR_OK ? 0 : 400;
}

/* Does the checkpoint continue the latest? */
static bool continues(const struct witness_request *request,
    const struct checkpoint *old, const struct checkpoint *new,
    struct errinfo *info)
{
    bool good;
    if (old->size == new->size)
        good =
            request->proof_count == 0 && merkle_equal(&old->root, &new->root);
    else if (old->size == 0)
        good = request->proof_count == 0;
    else
        good = merkle_verify_consistency(old->size, new->size, &old->root,
            &new->root, request->proof, request->proof_count);
    if (!good)
        (void)errinfo_set(info, ERR_CORRUPT,
            old->size == new->size
                ? "the log has signed two roots over %" PRIu64 " entries"
                : "it is not shown to continue the log of %" PRIu64 " entries",
            old->size);
    return good;
}

/* Cosigns and stores; the cosignature is in answer->body. What is stored is the
 * text, the log's own signatures and ours. */
static enum err cosign(struct witness *witness, const char *path,
    const struct opened *opened, int64_t time_s, struct witness_answer *answer)
{
    struct str note = opened->request.note, text = opened->text;
    struct str lines =
        str_make(text.ptr + text.len + 1, note.len - text.len - 1);
    struct buf stored;
    int64_t none;
    buf_clear(&answer->body);
    enum err err = note_cosign(
        text, &witness->signer, time_s, &answer->body, &answer->why);
    if (err != ERR_OK)
        return err;
    buf_init(&stored, NOTE_MAX);
    buf_append_str(&stored, text);
    buf_append_char(&stored, '\n');
    for (size_t i = 0; i < opened->key_count && err != ERR_NOMEM; i++)
        err = note_take_cosignature(
            text, lines, &opened->keys[i], &stored, &none, NULL);
    buf_append_str(&stored, buf_str(&answer->body));
    err = stored.failed ? errinfo_set(&answer->why, ERR_NOMEM, "out of memory")
                        : write_in(witness->dir, path, buf_str(&stored), 0644,
                              false, &answer->why);
    buf_fini(&stored);
    return err;
}

static void add_checked(struct witness *witness, const struct opened *opened,
    int64_t time_s, struct witness_answer *answer)
{
    const struct checkpoint *new = &opened->checkpoint;
    char path[PATH_TEXT_MAX];
    struct checkpoint old;
    struct buf note;
    buf_init(&note, NOTE_MAX);
    checkpoint_path(path, new->origin);
    if (latest(witness, path, &note, &old, &answer->why) != ERR_OK) {
        answer_with(answer, 500);
    } else if (opened->request.old_size != old.size) {
        (void)errinfo_set(&answer->why, ERR_WRONG_STATE,
            "%.*s: old size %" PRIu64 ", the latest is %" PRIu64,
            STR_ARG(new->origin), opened->request.old_size, old.size);
        answer_size(answer, old.size);
    } else if (!continues(&opened->request, &old, new, &answer->why)) {
        answer_with(answer, 422);
    } else if (cosign(witness, path, opened, time_s, answer) != ERR_OK) {
        answer_with(answer, 500);
    } else {
        answer->status = 200;
        answer->content_type = "text/plain; charset=utf-8";
        (void)errinfo_set(&answer->why, ERR_OK, "%.*s: %" PRIu64 " entries",
            STR_ARG(new->origin), new->size);
    }
    buf_fini(&note);
}

void witness_add_checkpoint(struct witness *witness, struct str body,
    int64_t time_s, struct witness_answer *answer)
{
    struct opened opened = {0};
    CHECK_MAGIC(witness, WITNESS_MAGIC);
    int status = open_request(witness, body, &opened, &answer->why);
    if (status != 0) {
        answer_with(answer, status);
    } else {
        pthread_mutex_lock(&witness->mutex);
        add_checked(witness, &opened, time_s, answer);
        pthread_mutex_unlock(&witness->mutex);
    }
    free(opened.keys);
}

void witness_checkpoint(
    struct witness *witness, struct str hex, struct witness_answer *answer)
{
    char path[PATH_TEXT_MAX];
    uint8_t digest[SHA256_SIZE];
    size_t size;
    answer->content_type = "text/plain; charset=utf-8";
    snprintf(path, sizeof(path), "checkpoints/%.*s",
        (int)(hex.len < 64 ? hex.len : 64), hex.ptr);
    bool good = hex.len == 64 &&
                hex_decode(hex, digest, sizeof(digest), &size) == ERR_OK &&
                is_in(witness->dir, path);
    if (!good) {
        (void)errinfo_set(&answer->why, ERR_NOTFOUND,
            "no checkpoint of such a log was seen here");
        answer_with(answer, 404);
        return;
    }
    buf_clear(&answer->body);
    if (read_in(witness->dir, path, &answer->body, &answer->why) == ERR_OK)
        answer->status = 200;
    else
        answer_with(answer, 500);
}
