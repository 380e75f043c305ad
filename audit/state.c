/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/state.c - see state.h. */
#include "audit/state.h"

#include "audit/wire.h"
#include "lib/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char magic[16] = "bailiff-state-1";

enum err state_init(
    struct audit_state *state, const uint8_t identity[SHA256_SIZE])
{
    memset(state, 0, sizeof(*state));
    memcpy(state->identity, identity, SHA256_SIZE);
    /* The chain begins with the identity. */
    memcpy(state->place.previous, identity, SHA256_SIZE);
    crypto_sha256(state->signed_root.bytes, "", 0);
    state->replay = replay_new();
    return state->replay == NULL ? ERR_NOMEM : ERR_OK;
}

void state_fini(struct audit_state *state)
{
    replay_free(&state->replay);
}

static void put_place(struct buf *out, const struct journal_place *place)
{
    wire_put64(out, place->sequence);
    wire_put64(out, place->offset);
    wire_put64(out, place->index);
    buf_append(out, place->previous, SHA256_SIZE);
}

static bool get_place(struct str *bytes, struct journal_place *place)
{
    return wire_get64(bytes, &place->sequence) &&
           wire_get64(bytes, &place->offset) &&
           wire_get64(bytes, &place->index) &&
           wire_get(bytes, place->previous, SHA256_SIZE);
}

void state_encode(const struct audit_state *state, struct buf *out)
{
    buf_append(out, magic, sizeof(magic));
    buf_append(out, state->identity, SHA256_SIZE);
    put_place(out, &state->place);
    put_place(out, &state->last);
    wire_put64(out, state->sealed);
    wire_put64(out, state->tree.size);
    for (unsigned i = 0; i < merkle_frontier_count(state->tree.size); i++)
        buf_append(out, state->tree.nodes[i].bytes, SHA256_SIZE);
    wire_put64(out, state->signed_size);
    buf_append(out, state->signed_root.bytes, SHA256_SIZE);
    replay_write(state->replay, out);
    uint8_t digest[SHA256_SIZE];
    crypto_sha256(digest, buf_str(out).ptr, out->len);
    buf_append(out, digest, sizeof(digest));
}

static enum err decode(struct str bytes, struct audit_state *out)
{
    char head[sizeof(magic)];
    uint8_t identity[SHA256_SIZE], digest[SHA256_SIZE];
    uint64_t sealed;
    if (bytes.len < sizeof(magic) + 2 * SHA256_SIZE)
        return ERR_CORRUPT;
    bytes.len -= SHA256_SIZE;
    crypto_sha256(digest, bytes.ptr, bytes.len);
    if (memcmp(digest, bytes.ptr + bytes.len, SHA256_SIZE) != 0 ||
        !wire_get(&bytes, head, sizeof(head)) ||
        memcmp(head, magic, sizeof(magic)) != 0 ||
        !wire_get(&bytes, identity, SHA256_SIZE))
        return ERR_CORRUPT;
    enum err err = state_init(out, identity);
    if (err != ERR_OK)
        return err;
    bool ok = get_place(&bytes, &out->place) && get_place(&bytes, &out->last) &&
              wire_get64(&bytes, &sealed) &&
              wire_get64(&bytes, &out->tree.size) &&
              out->tree.size == out->place.index;
    for (unsigned i = 0; ok && i < merkle_frontier_count(out->tree.size); i++)
        ok = wire_get(&bytes, out->tree.nodes[i].bytes, SHA256_SIZE);
    ok = ok && wire_get64(&bytes, &out->signed_size) &&
         wire_get(&bytes, out->signed_root.bytes, SHA256_SIZE);
    err = ok ? replay_read(out->replay, &bytes) : ERR_CORRUPT;
    if (err == ERR_OK && bytes.len != 0)
        err = ERR_CORRUPT;
    if (err != ERR_OK)
        state_fini(out);
    else
        out->sealed = sealed != 0;
    return err;
}

enum err state_decode(struct str bytes, const uint8_t identity[SHA256_SIZE],
    struct audit_state *out)
{
    enum err err = decode(bytes, out);
    if (err != ERR_OK || memcmp(out->identity, identity, SHA256_SIZE) == 0)
        return err;
    state_fini(out);
    return ERR_DENIED;
}

/* Keeps the present file as the older generation. Both names lead to it for
 * a moment; a crash in between does no harm. */
static enum err keep_previous(const char *path, const char *previous,
    const char *temporary, struct errinfo *info)
{
    (void)unlink(temporary);
    if (link(path, temporary) != 0)
        return errno == ENOENT
                   ? ERR_OK
                   : errinfo_errno(info, ERR_IO, "cannot keep %s", path);
    if (rename(temporary, previous) != 0)
        return errinfo_errno(info, ERR_IO, "cannot keep %s", path);
    return ERR_OK;
}

enum err state_save(const char *journal_dir, const struct audit_state *state,
    struct errinfo *info)
{
    char *path = file_join(journal_dir, "state");
    char *previous = file_join(journal_dir, "state.previous");
    char *temporary = file_join(journal_dir, "state.keep");
    struct buf bytes;
    buf_init(&bytes, STATE_MOST);
    state_encode(state, &bytes);
    enum err err;
    if (path == NULL || previous == NULL || temporary == NULL || bytes.failed)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    else
        err = keep_previous(path, previous, temporary, info);
    if (err == ERR_OK)
        err = file_replace(path, buf_str(&bytes), 0600, info);
    buf_fini(&bytes);
    free(path);
    free(previous);
    free(temporary);
    return err;
}

static enum err load_one(const char *journal_dir, const char *name,
    const uint8_t identity[SHA256_SIZE], struct audit_state *out,
    struct errinfo *info)
{
    char *path = file_join(journal_dir, name);
    if (path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    struct buf bytes;
    buf_init(&bytes, STATE_MOST);
    enum err err = file_read(path, &bytes, info);
    if (err == ERR_OK) {
        err = state_decode(buf_str(&bytes), identity, out);
        if (err == ERR_CORRUPT)
            (void)errinfo_set(info, err, "%s is damaged", path);
        else if (err == ERR_DENIED)
            (void)errinfo_set(
                info, err, "%s belongs to another log than log.vkey", path);
        else if (err != ERR_OK)
            (void)errinfo_set(info, err, "out of memory");
    }
    buf_fini(&bytes);
    free(path);
    return err;
}

enum err state_load(const char *journal_dir,
    const uint8_t identity[SHA256_SIZE], struct audit_state *out,
    bool *fallback, struct errinfo *info)
{
    struct errinfo other = {0};
    enum err err = load_one(journal_dir, "state", identity, out, info);
    *fallback = false;
    if (err != ERR_NOTFOUND && err != ERR_CORRUPT)
        return err;
    enum err second =
        load_one(journal_dir, "state.previous", identity, out, &other);
    if (second == ERR_OK) {
        *fallback = true;
        return ERR_OK;
    }
    /* Both missing: a log that was never looked at, or they were removed. */
    if (err == ERR_NOTFOUND && second != ERR_NOTFOUND && info != NULL) {
        *info = other;
        err = second;
    }
    return err;
}
