/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/audit_proof.c - proof files for the entries of a record. */
#include "proxy/admin/audit_priv.h"

#include "audit/prove.h"

#define PLACES_MAX 256 /* entries of one record */

static enum err prove_one(struct admin_call *call, struct audit_reader *reader,
    const struct note_key *key, const struct checkpoint *checkpoint,
    struct str note, uint64_t at, json_t *proofs)
{
    struct audit_event event;
    struct buf entry, text;
    json_t *one;
    enum err err;

    buf_init(&entry, 65536);
    buf_init(&text, PROOF_TEXT_MAX);
    err = audit_read_entry(reader, checkpoint->size, at, &entry, &call->info);
    if (!err)
        err = audit_prove(audit_log_folder(call), key, note, at,
            buf_str(&entry), &text, &call->info);
    if (!err) {
        one = json_object();
        admin_set_int(one, "index", (int64_t)at);
        if (audit_event_parse(call->arena, buf_str(&entry), &event, NULL) ==
            ERR_OK)
            admin_set_text(one, "type", event.type);
        admin_set_text(one, "proof", buf_str(&text));
        json_array_append_new(proofs, one);
    }
    buf_fini(&entry);
    buf_fini(&text);
    return err;
}

/* The checkpoint is taken after the entries were found, so it covers them; but
 * where only cosigned ones count, that may take a moment. */
static enum err prove_all(struct admin_call *call, struct audit_reader *reader,
    const uint64_t *places, size_t count)
{
    struct checkpoint checkpoint;
    struct note_key key;
    struct buf note;
    json_t *answer, *proofs = json_array();
    enum err err;

    buf_init(&note, NOTE_MAX);
    err = audit_take_checkpoint(call, &note, &key, &checkpoint);
    for (size_t i = 0; !err && i < count; i++)
        if (places[i] >= checkpoint.size)
            err = FAIL(call, ERR_AGAIN,
                "entry %llu is not cosigned yet: the witnesses' quorum has the "
                "first %llu, and the witness policy is closed; ask again in a "
                "moment",
                (unsigned long long)places[i],
                (unsigned long long)checkpoint.size);
    for (size_t i = 0; !err && i < count; i++)
        err = prove_one(
            call, reader, &key, &checkpoint, buf_str(&note), places[i], proofs);
    if (!err)
        err = admin_event(
            call, "audit.proved", "record", call->params[0], NULL, STR(""));
    if (!err) {
        answer = json_object();
        admin_set_text(answer, "id", call->params[0]);
        admin_set_text(answer, "checkpoint", buf_str(&note));
        admin_set_int(answer, "size", (int64_t)checkpoint.size);
        admin_set(answer, "proofs", json_incref(proofs));
        err = admin_answer(call, 200, answer);
    }
    json_decref(proofs);
    buf_fini(&note);
    return err;
}

enum err handle_audit_prove(struct admin_call *call)
{
    struct audit_index *index = NULL;
    struct audit_reader *reader = NULL;
    uint64_t size = 0, damaged = 0, places[PLACES_MAX], number;
    size_t count = 0;
    bool behind;
    enum err err = audit_await_index(call, &size, &behind);

    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    if (!err)
        err =
            audit_reader_open(control_dir(call->control), &reader, &call->info);
    /* A number is that one entry; an id all entries of the record. */
    if (!err && str_to_u64(call->params[0], &number) == ERR_OK) {
        if (number >= size)
            err = FAIL(call, ERR_NOTFOUND,
                "the log has no entry %llu, it ends before %llu",
                (unsigned long long)number, (unsigned long long)size);
        places[0] = number;
        count = 1;
    } else if (!err) {
        err = audit_places(reader, index, size, call->params[0], places,
            PLACES_MAX, &count, &damaged, &call->info);
        count = count < PLACES_MAX ? count : PLACES_MAX;
    }
    err = err ? audit_index_failed(call, err, damaged)
              : prove_all(call, reader, places, count);
    audit_reader_close(&reader);
    audit_index_close(&index);
    return err;
}
