/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/witness_ask.c - add-checkpoint, from the log's side. */
#include "audit/witnesses.h"

#include "audit/tiles.h"
#include "audit/witness.h"
#include "lib/http_client.h"

#include <inttypes.h>
#include <stdio.h>

#define TRIES 3
#define ANSWER_MAX (64u << 10)
#define URL_MAX 1200

struct asking {
    const struct witness_peer *peer;
    const char *log_dir;
    struct str note, text;
    struct checkpoint checkpoint;
    char url[URL_MAX];
};

/* "N\n" */
static bool is_size_answer(struct str body, uint64_t *size)
{
    return str_ends(body, STR("\n")) &&
           str_to_u64(str_make(body.ptr, body.len - 1), size) == ERR_OK;
}

static enum err conflict(struct errinfo *info, const struct asking *asking,
    uint64_t seen, const char *what)
{
    return errinfo_set(info, ERR_CORRUPT,
        "%s has seen %s: it knows %" PRIu64
        " entries, the checkpoint has %" PRIu64,
        asking->peer->key.name, what, seen, asking->checkpoint.size);
}

static enum err request_body(const struct asking *asking, uint64_t old,
    struct buf *body, struct errinfo *info)
{
    struct witness_request request = {.old_size = old, .note = asking->note};
    struct merkle_proof proof = {0};
    struct tile_source tiles;
    struct merkle_source source = {tile_source_node, &tiles};
    tile_source_init(&tiles, asking->log_dir, asking->checkpoint.size);
    enum err err = merkle_prove_consistency(
        &source, old, asking->checkpoint.size, &proof, info);
    if (err != ERR_OK)
        return errinfo_prefix(info, err, "no consistency proof can be made");
    if (proof.count > WITNESS_PROOF_MAX)
        return errinfo_set(info, ERR_RANGE, "the proof has too many hashes");
    request.proof_count = proof.count;
    memcpy(request.proof, proof.hashes, proof.count * sizeof(*proof.hashes));
    witness_request_format(&request, body);
    return body->failed ? errinfo_set(info, ERR_NOMEM, "out of memory")
                        : ERR_OK;
}

/* *again: with the size that the witness has said it knows. */
static enum err read_answer(const struct asking *asking,
    const struct http_client_answer *answer, uint64_t *known, bool *again,
    struct buf *line, int64_t *time_s, struct errinfo *info)
{
    const char *name = asking->peer->key.name;
    uint64_t size = asking->checkpoint.size, seen;
    switch (answer->status) {
    case 200:
        if (note_take_cosignature(asking->text, buf_str(&answer->body),
                &asking->peer->key, line, time_s, info) != ERR_OK)
            return errinfo_prefix(info, ERR_DENIED, "%s answered 200", name);
        *known = size;
        return ERR_OK;
    case 403:
        return errinfo_set(info, ERR_DENIED,
            "%s does not trust the key of this log (403)", name);
    case 404:
        return errinfo_set(
            info, ERR_DENIED, "%s does not watch this log (404)", name);
    case 409:
        if (!is_size_answer(buf_str(&answer->body), &seen))
            return errinfo_set(info, ERR_SYNTAX,
                "%s answered 409 without the size that it knows", name);
        if (seen > size)
            return conflict(info, asking, seen,
                "a longer log of this name; this one was rolled back, or there "
                "are two");
        if (seen == *known && seen == size)
            return conflict(
                info, asking, seen, "another log of this name (409)");
        if (seen == *known)
            return errinfo_set(info, ERR_SYNTAX,
                "%s refuses the size that it says it knows", name);
        *known = seen;
        *again = true;
        return ERR_OK;
    case 422:
        return conflict(info, asking, *known, "another log of this name (422)");
    default:
        return errinfo_set(
            info, ERR_CLOSED, "%s answered %d", name, answer->status);
    }
}

static enum err ask_once(const struct asking *asking, uint64_t *known,
    bool *again, struct buf *line, int64_t *time_s, struct errinfo *info)
{
    static const char *const headers[] = {
        "Content-Type: text/plain; charset=utf-8", NULL};
    const struct witness_peer *peer = asking->peer;
    struct http_client_answer answer = {0};
    struct buf body;
    buf_init(&body, NOTE_MAX + 8192);
    *again = false;
    if (*known > asking->checkpoint.size) {
        buf_fini(&body);
        return conflict(info, asking, *known,
            "a longer log of this name; this one was rolled back, or there are "
            "two");
    }
    enum err err = request_body(asking, *known, &body, info);
    if (err == ERR_OK) {
        const struct http_client_request request = {.url = asking->url,
            .headers = headers,
            .body = buf_str(&body),
            .ca_file = peer->ca_file[0] != '\0' ? peer->ca_file : NULL,
            .timeout_us = peer->timeout_us,
            .max_answer = ANSWER_MAX,
            .cancelled = peer->cancelled,
            .cancel_context = peer->context};
        err = http_client_request(&request, &answer, info);
        if (err == ERR_OK)
            err =
                read_answer(asking, &answer, known, again, line, time_s, info);
        http_client_answer_fini(&answer);
    }
    buf_fini(&body);
    return err;
}

enum err witness_ask(const struct witness_peer *peer, const char *log_dir,
    const struct note_key *log_key, struct str note, uint64_t *known,
    struct buf *line, int64_t *time_s, struct errinfo *info)
{
    struct asking asking = {.peer = peer, .log_dir = log_dir, .note = note};
    bool again = true;
    size_t n = strlen(peer->url);
    while (n > 0 && peer->url[n - 1] == '/')
        n--;
    snprintf(asking.url, sizeof(asking.url), "%.*s/add-checkpoint",
        (int)(n < 1100 ? n : 1100), peer->url);
    enum err err = note_open(note, log_key, 1, &asking.text, info);
    if (err == ERR_OK)
        err = checkpoint_parse(asking.text, &asking.checkpoint, info);
    for (int i = 0; err == ERR_OK && again && i < TRIES; i++)
        err = ask_once(&asking, known, &again, line, time_s, info);
    return err == ERR_OK && again
               ? errinfo_set(info, ERR_WRONG_STATE,
                     "%s names another size each time", peer->key.name)
               : err;
}
