/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/note_fuzz.c - bytes as a signed and cosigned note, as signature
 * lines, and as keys. No bytes may crash the readers; what nobody signed is
 * never good; a key that is accepted is written back to the letter. */
#include "audit/key_rotation.h"

#include "lib/must.h"

/* Public keys whose secrets are nowhere: nothing can be signed with them. */
#define LOG                                                                    \
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_key(struct str text,
    enum err (*parse)(struct str, struct note_key *, struct errinfo *))
{
    struct note_key key;
    struct errinfo info = {0};
    struct buf again;

    if (parse(text, &key, &info) != ERR_OK) {
        MUST(info.text[0] != '\0');
        return;
    }
    buf_init(&again, 1024);
    note_key_format(&key, &again);
    /* The hex digits may have been large. */
    MUST(!again.failed && again.len == text.len);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str body = STR_INIT("example.com/foo\n1\nAAAA\n");
    struct str bytes = str_make((const char *)data, size), text;
    struct note_key keys[2];
    struct checkpoint checkpoint;
    struct errinfo info = {0};
    struct buf out;
    int64_t time_s;

    MUST(note_key_parse(STR(LOG), &keys[0], &info) == ERR_OK);
    keys[1] = keys[0];
    keys[1].type = NOTE_KEY_WITNESS;
    MUST(note_open(bytes, keys, 2, &text, &info) != ERR_OK);
    MUST(note_cosigned(bytes, &keys[1], &time_s, &info) != ERR_OK);
    MUST(checkpoint_open(bytes, &keys[0], &checkpoint, &info) != ERR_OK);
    buf_init(&out, 1u << 20);
    MUST(note_take_cosignature(body, bytes, &keys[1], &out, &time_s, &info) !=
         ERR_OK);
    MUST(out.len == 0);
    buf_fini(&out);
    struct key_rotation rotation;
    text = bytes;
    while (key_rotation_next(&text, &rotation, &info) == ERR_OK)
        MUST(rotation.old_key.name[0] != '\0');
    if (checkpoint_parse(bytes, &checkpoint, &info) == ERR_OK)
        MUST(checkpoint.origin.len > 0);
    try_key(bytes, note_key_parse);
    try_key(bytes, note_witness_key_parse);
    return 0;
}
