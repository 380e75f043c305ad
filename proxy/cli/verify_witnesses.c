/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/verify_witnesses.c - `audit verify --witness KEY`: who has
 * cosigned, and that the log continues what they cosigned. */
#include "proxy/cli/verify_witnesses.h"

#include "audit/prove.h"
#include "audit/witnesses.h"
#include "lib/clock.h"
#include "lib/file.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS_MAX 64

/* The values of --witness; each may name several. */
static bool read_keys(
    struct cli *cli, struct note_key keys[KEYS_MAX], size_t *count)
{
    const struct cli_command *command = cli->command;
    struct errinfo info = {0};

    *count = 0;
    for (size_t i = 0; i < command->option_count; i++) {
        if (strcmp(command->options[i].name, "witness") != 0)
            continue;
        for (int k = 0; k < cli->value_count[i]; k++) {
            struct str rest = str_from(cli->values[i][k]), one;
            while (rest.len > 0) {
                (void)str_split(rest, ',', &one, &rest);
                if (*count == KEYS_MAX)
                    return cli_say(0, "more than %d witnesses", KEYS_MAX);
                if (note_witness_key_parse(
                        str_trim(one), &keys[*count], &info) != ERR_OK)
                    return cli_say(0, "--witness: %s", info.text);
                (*count)++;
            }
        }
    }
    return true;
}

struct cosigned {
    char *log_dir, *paths[2];
    struct buf notes[2]; /* the newest, and the cosigned one */
    struct checkpoint checkpoints[2];
};

static enum err open_both(struct cosigned *c, const char *state_dir,
    struct str given, struct errinfo *info)
{
    static const char *const names[] = {"checkpoint", WITNESSED_FILE};
    struct note_key key;
    enum err err = audit_key_read(state_dir, given, &key, info);

    c->log_dir = file_join(state_dir, "log");
    if (!err && !c->log_dir)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    for (int i = 0; !err && i < 2; i++) {
        c->paths[i] = file_join(c->log_dir, names[i]);
        err = c->paths[i] ? file_read(c->paths[i], &c->notes[i], info)
                          : errinfo_set(info, ERR_NOMEM, "out of memory");
        if (!err && checkpoint_open(buf_str(&c->notes[i]), &key,
                        &c->checkpoints[i], info) != ERR_OK)
            err = errinfo_prefix(info, ERR_CORRUPT, "log/%s", names[i]);
    }
    if (!err && audit_checkpoints_agree(c->log_dir, &c->checkpoints[0],
                    &c->checkpoints[1], info) != ERR_OK)
        err = errinfo_prefix(info, ERR_CORRUPT,
            "the checkpoint that was cosigned is of another log");
    return err;
}

static bool say_one(struct cli *cli, const struct cosigned *c,
    const struct note_key *witness, json_t *list)
{
    char text[CLOCK_TEXT_LENGTH + 1] = "";
    struct errinfo info = {0};
    int64_t time_s = 0;

    if (note_cosigned(buf_str(&c->notes[1]), witness, &time_s, &info) !=
        ERR_OK) {
        cli_say(1, "the witness %s: %s", witness->name, info.text);
        return false;
    }
    clock_format(text, time_s * SECOND_US);
    if (cli->json)
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:s}", "name", witness->name, "size",
                      (json_int_t)c->checkpoints[1].size, "time", text));
    else
        printf("cosigned by %s at %.19sZ: the first %llu entries\n",
            witness->name, text, (unsigned long long)c->checkpoints[1].size);
    return true;
}

bool cli_verify_witnesses(
    struct cli *cli, const char *state_dir, struct str key, json_t *list)
{
    struct note_key witnesses[KEYS_MAX];
    struct cosigned c = {0};
    struct errinfo info = {0};
    size_t count;
    bool good = read_keys(cli, witnesses, &count);

    if (!good || count == 0)
        return good;
    buf_init(&c.notes[0], NOTE_MAX);
    buf_init(&c.notes[1], NOTE_MAX);
    if (open_both(&c, state_dir, key, &info) != ERR_OK)
        good = cli_say(0, "%s", info.text);
    for (size_t i = 0; good && i < count; i++)
        good = say_one(cli, &c, &witnesses[i], list);
    buf_fini(&c.notes[0]);
    buf_fini(&c.notes[1]);
    free(c.paths[0]);
    free(c.paths[1]);
    free(c.log_dir);
    return good;
}
