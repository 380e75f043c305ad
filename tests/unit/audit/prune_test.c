/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/prune_test.c - a prefix taken away: what is left starts,
 * goes on and verifies, and what was not pruned is missed as before. */
#include "log_fixture.h"

#include "audit/checkpoint.h"
#include "audit/entry.h"
#include "audit/held.h"
#include "audit/prove.h"
#include "audit/prune.h"
#include "audit/segment.h"
#include "audit/show.h"
#include "audit/tiles.h"
#include "audit/tiles_build.h"
#include "audit/verify.h"

#include <sys/stat.h>

#define ENTRIES 3000
#define PADDING 500
#define DISPOSAL "01J00000000000000000000042"

static char *in_dir(const struct fixture *fixture, const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
    return path;
}

static const char *segments(const struct fixture *fixture)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/journal/segments", fixture->dir);
    return path;
}

/* --- Verification ---------------------------------------------------------
 */

struct seen {
    struct verify_result result;
    char text[8192];
    bool kinds[VERIFY_CONTENT + 1];
};

static void on_finding(void *context, const struct verify_finding *finding)
{
    struct seen *seen = context;
    size_t at = strlen(seen->text);
    seen->kinds[finding->kind] = true;
    snprintf(seen->text + at, sizeof(seen->text) - at, "%s: %s\n",
        verify_kind_name(finding->kind), finding->text);
}

static struct seen *verify(const struct fixture *fixture, const char *against)
{
    static struct seen seen;
    struct errinfo info = {0};
    struct verify_options options = {.state_dir = fixture->dir,
        .against = str_from(against ? against : ""),
        .finding = on_finding,
        .context = &seen};
    seen = (struct seen){0};
    if (audit_verify(&options, &seen.result, &info) != ERR_OK)
        fail_msg("%s", info.text);
    return &seen;
}

static void must_hold(const struct fixture *fixture, const char *against)
{
    struct seen *seen = verify(fixture, against);
    if (seen->result.faults > 0)
        fail_msg("%s", seen->text);
}

static void read_checkpoint(const struct fixture *fixture, char out[2048])
{
    struct buf text;
    buf_init(&text, 2048);
    assert_int_equal(
        file_read(in_dir(fixture, "log/checkpoint"), &text, NULL), ERR_OK);
    snprintf(out, 2048, "%s", buf_cstr(&text));
    buf_fini(&text);
}

/* --- Pruning, as the admin plane does it ----------------------------------
 */

static void record(struct audit_log *log, const struct pruned *pruned,
    const char *type, const char *more)
{
    struct journal_producer *producer;
    struct buf text, detail;
    size_t time_offset;
    uint64_t ticket;
    buf_init(&text, 65535);
    buf_init(&detail, 4096);
    buf_append_str(&detail, STR("{"));
    buf_append_str(&detail, str_from(more));
    buf_append_str(&detail, STR("\"disposal\":\"" DISPOSAL "\",\"prefix\":"));
    pruned_write(pruned, &detail);
    buf_append_char(&detail, '}');
    struct audit_act act = {.type = str_from(type),
        .time_us = clock_now(),
        .actor = STR("adm_x"),
        .actor_method = STR("token"),
        .object_kind = STR("log"),
        .object = STR("1"),
        .detail = buf_str(&detail)};
    audit_entry_act(&text, &act, &time_offset);
    assert_int_equal(journal_producer_new(audit_log_journal(log), 1 << 17, NULL,
                         NULL, &producer),
        ERR_OK);
    assert_int_equal(
        journal_append(producer, buf_str(&text), time_offset, 0, &ticket),
        ERR_OK);
    assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    journal_producer_free(&producer);
    buf_fini(&text);
    buf_fini(&detail);
}

static void take_checkpoint(
    struct audit_log *log, const struct note_key *key, struct checkpoint *out)
{
    static struct buf note; /* the checkpoint borrows from it */
    struct errinfo info = {0};
    buf_fini(&note);
    buf_init(&note, NOTE_MAX);
    assert_int_equal(audit_log_checkpoint(log, &note, &info), ERR_OK);
    assert_int_equal(checkpoint_open(buf_str(&note), key, out, &info), ERR_OK);
}

/* Up to the place-th place from now. `steps`: 1 prepared only, 2 and on
 * record, 3 and the marker written and nothing removed, 4 all. */
static struct pruned prune(
    const struct fixture *fixture, struct audit_log *log, size_t at, int steps)
{
    struct pruned pruned = {.time_us = clock_now(), .disposal = DISPOSAL};
    struct prune_place *places;
    struct prune_away away;
    struct note_key key;
    struct checkpoint checkpoint;
    size_t count;
    struct errinfo info = {0};
    assert_int_equal(
        audit_key_read(fixture->dir, STR(""), &key, &info), ERR_OK);
    if (prune_places(segments(fixture), &places, &count, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_true(count > at);
    take_checkpoint(log, &key, &checkpoint);
    if (prune_prepare(fixture->dir, &places[at], &checkpoint, STR("{}\n"),
            &pruned, &info) != ERR_OK)
        fail_msg("%s", info.text);
    free(places);
    if (steps >= 2) {
        record(log, &pruned, PRUNED_EVENT, "");
        take_checkpoint(log, &key, &checkpoint);
    }
    if (steps == 3) {
        struct buf text;
        buf_init(&text, 4096);
        pruned_write(&pruned, &text);
        char *path = file_join(segments(fixture), PRUNED_FILE);
        assert_int_equal(
            file_replace(path, buf_str(&text), 0600, &info), ERR_OK);
        free(path);
        buf_fini(&text);
    }
    if (steps >= 4) {
        if (prune_apply(fixture->dir, &pruned, &away, &info) != ERR_OK)
            fail_msg("%s", info.text);
        assert_true(away.files > 0);
        record(log, &pruned, "audit.prune_completed",
            "\"certificate\":\"0123456789abcdef0123456789abcdef"
            "0123456789abcdef0123456789abcdef\",");
    }
    return pruned;
}

static struct pruned pruned_log(const struct fixture *fixture)
{
    fixture_orderly(fixture, 0, ENTRIES, PADDING);
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    struct pruned pruned = prune(fixture, log, 2, 4);
    audit_log_stop(&log);
    return pruned;
}

/* --- What is left ---------------------------------------------------------
 */

static void test_goes_on(void **state)
{
    struct fixture *fixture = *state;
    char before[2048];
    fixture_orderly(fixture, 0, ENTRIES, PADDING);
    read_checkpoint(fixture, before);
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    struct pruned pruned = prune(fixture, log, 2, 4);
    /* Beside the running log, which goes on. */
    must_hold(fixture, before);
    fixture_append(audit_log_journal(log), ENTRIES + 10, 600, PADDING, 7);
    audit_log_stop(&log);
    assert_true(pruned.entries > 500);
    assert_false(file_exists(in_dir(fixture, "journal/segments/00000001.seg")));
    struct seen *seen = verify(fixture, before);
    assert_int_equal(seen->result.faults, 0);
    assert_true(seen->result.entries > ENTRIES + 600);
    assert_non_null(strstr(seen->text, "were pruned on"));
    assert_non_null(strstr(seen->text, "under certificate 0123456789abcdef"));
    /* Runs that end badly and well. */
    fixture_crash(fixture, ENTRIES + 700, 300, 20, PADDING);
    must_hold(fixture, before);
    fixture_orderly(fixture, ENTRIES + 1000, 10, PADDING);
    must_hold(fixture, before);
}

static void test_state_rebuilt(void **state)
{
    struct fixture *fixture = *state;
    struct pruned pruned = pruned_log(fixture);
    unlink(in_dir(fixture, "journal/state"));
    unlink(in_dir(fixture, "journal/state.previous"));
    fixture_orderly(fixture, ENTRIES + 100, 20, PADDING);
    must_hold(fixture, NULL);
    /* Neither state nor what it is rebuilt from. */
    unlink(in_dir(fixture, "journal/state"));
    unlink(in_dir(fixture, "journal/state.previous"));
    char name[64];
    snprintf(name, sizeof(name), "journal/segments/base-%llu",
        (unsigned long long)pruned.entries);
    fixture_flip(in_dir(fixture, name), 60, 1);
    struct audit_log *log;
    struct errinfo info = {0};
    assert_int_equal(fixture_open(fixture, &log, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.text, "put it back from a backup"));
    assert_int_not_equal(verify(fixture, NULL)->result.faults, 0);
}

static void test_tiles_rebuilt(void **state)
{
    struct fixture *fixture = *state;
    struct pruned pruned = pruned_log(fixture);
    /* All but the leaves of what was pruned, which nothing can give back. */
    fixture_run("cd %s/log/tile && rm -r 1 && find 0 -name '*.p' -prune "
                "-exec rm -r {} + && rm -r entries",
        fixture->dir);
    fixture_orderly(fixture, ENTRIES + 100, 20, PADDING);
    must_hold(fixture, NULL);
    char name[TILE_PATH_MAX];
    tile_path(name, TILE_ENTRIES,
        pruned_minimum_index(&pruned) / TILE_WIDTH - 1, TILE_WIDTH);
    char path[256];
    snprintf(path, sizeof(path), "log/%s", name);
    assert_false(file_exists(in_dir(fixture, path)));
    tile_path(name, TILE_ENTRIES, pruned_minimum_index(&pruned) / TILE_WIDTH,
        TILE_WIDTH);
    snprintf(path, sizeof(path), "log/%s", name);
    assert_true(file_exists(in_dir(fixture, path)));
    /* One of those leaves: */
    fixture_flip(in_dir(fixture, "log/tile/0/000"), 100, 1);
    struct seen *seen = verify(fixture, NULL);
    assert_true(seen->kinds[VERIFY_TILE]);
    assert_int_equal(seen->kinds[VERIFY_ALTERED], false);
}

static void test_again(void **state)
{
    struct fixture *fixture = *state;
    struct pruned first = pruned_log(fixture);
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    fixture_append(audit_log_journal(log), ENTRIES + 10, 900, PADDING, 7);
    struct pruned second = prune(fixture, log, 1, 4);
    audit_log_stop(&log);
    assert_true(second.entries > first.entries);
    must_hold(fixture, NULL);
    unlink(in_dir(fixture, "journal/state"));
    unlink(in_dir(fixture, "journal/state.previous"));
    fixture_orderly(fixture, ENTRIES + 1000, 20, PADDING);
    must_hold(fixture, NULL);
}

/* --- Stopped at each step -------------------------------------------------
 */

static void test_stopped(void **state)
{
    struct fixture *fixture = *state;
    struct prune_away away;
    struct errinfo info = {0};
    fixture_orderly(fixture, 0, ENTRIES, PADDING);
    for (int steps = 1; steps <= 3; steps++) {
        struct audit_log *log = fixture_open_ok(fixture);
        fixture_start(log);
        struct pruned pruned = prune(fixture, log, 0, steps);
        audit_log_stop(&log);
        must_hold(fixture, NULL);
        fixture_orderly(fixture, ENTRIES + 100 * (uint64_t)steps, 20, PADDING);
        must_hold(fixture, NULL);
        if (steps < 3)
            continue;
        /* The marker decides: what is still there counts for nothing. */
        assert_true(
            file_exists(in_dir(fixture, "journal/segments/00000001.seg")));
        fixture_flip(in_dir(fixture, "journal/segments/00000001.seg"), 5000, 1);
        must_hold(fixture, NULL);
        assert_int_equal(
            prune_apply(fixture->dir, &pruned, &away, &info), ERR_OK);
        assert_false(
            file_exists(in_dir(fixture, "journal/segments/00000001.seg")));
        must_hold(fixture, NULL);
        assert_int_equal(
            prune_apply(fixture->dir, &pruned, &away, &info), ERR_OK);
        assert_int_equal(away.files, 0);
    }
}

/* --- What was not pruned --------------------------------------------------
 */

static void test_removed_and_not_pruned(void **state)
{
    struct fixture *fixture = *state;
    struct pruned pruned = pruned_log(fixture);
    char name[64], path[512];
    struct audit_log *log;
    struct errinfo info = {0};
    /* The first that was kept; one in the middle. */
    for (uint64_t i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "journal/segments/%08llu.seg",
            (unsigned long long)(pruned.segment + i));
        snprintf(path, sizeof(path), "%s", in_dir(fixture, name));
        char aside[520];
        snprintf(aside, sizeof(aside), "%s.aside", path);
        assert_int_equal(rename(path, aside), 0);
        struct seen *seen = verify(fixture, NULL);
        assert_int_not_equal(seen->result.faults, 0);
        if (!strstr(seen->text, name + 17) || !strstr(seen->text, "missing"))
            fail_msg("%s", seen->text);
        info = (struct errinfo){0};
        assert_int_not_equal(fixture_open(fixture, &log, &info), ERR_OK);
        assert_non_null(strstr(info.text, "missing"));
        assert_int_equal(rename(aside, path), 0);
    }
    must_hold(fixture, NULL);
}

/* Segments gone, and a marker that fits them, made by somebody who cannot have
 * the log say so. */
static void test_marker_without_record(void **state)
{
    struct fixture *fixture = *state;
    struct prune_away away;
    struct errinfo info = {0};
    fixture_orderly(fixture, 0, ENTRIES, PADDING);
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    struct pruned pruned = prune(fixture, log, 1, 1);
    audit_log_stop(&log);
    assert_int_equal(prune_apply(fixture->dir, &pruned, &away, &info), ERR_OK);
    struct seen *seen = verify(fixture, NULL);
    assert_true(seen->kinds[VERIFY_REMOVED]);
    assert_non_null(strstr(seen->text, "no signed entry of the log says so"));
}

static void test_marker_for_more(void **state)
{
    struct fixture *fixture = *state;
    struct prune_away away;
    struct errinfo info = {0};
    struct pruned pruned = pruned_log(fixture);
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    struct pruned more = prune(fixture, log, 0, 1);
    audit_log_stop(&log);
    assert_true(more.entries > pruned.entries);
    assert_int_equal(prune_apply(fixture->dir, &more, &away, &info), ERR_OK);
    assert_true(verify(fixture, NULL)->kinds[VERIFY_REMOVED]);
}

static void test_damaged_marker(void **state)
{
    struct fixture *fixture = *state;
    struct errinfo info = {0};
    struct audit_log *log;
    (void)pruned_log(fixture);
    fixture_flip(in_dir(fixture, "journal/segments/" PRUNED_FILE), 3, 1);
    assert_int_equal(fixture_open(fixture, &log, &info), ERR_CORRUPT);
    assert_int_not_equal(verify(fixture, NULL)->result.faults, 0);
    fixture_flip(in_dir(fixture, "journal/segments/" PRUNED_FILE), 3, 1);
    /* Gone altogether: then segments are missing. */
    unlink(in_dir(fixture, "journal/segments/" PRUNED_FILE));
    assert_int_equal(fixture_open(fixture, &log, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.text, "is missing"));
    assert_int_not_equal(verify(fixture, NULL)->result.faults, 0);
}

/* What has another root than was signed does not go. */
static void test_altered_before(void **state)
{
    struct fixture *fixture = *state;
    struct prune_place *places;
    struct checkpoint checkpoint;
    struct note_key key;
    struct pruned pruned = {.disposal = DISPOSAL};
    size_t count;
    struct errinfo info = {0};
    fixture_orderly(fixture, 0, ENTRIES, PADDING);
    assert_int_equal(
        audit_key_read(fixture->dir, STR(""), &key, &info), ERR_OK);
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    take_checkpoint(log, &key, &checkpoint);
    audit_log_stop(&log);
    assert_int_equal(
        prune_places(segments(fixture), &places, &count, &info), ERR_OK);
    fixture_flip(in_dir(fixture, "log/tile/0/000"), 100, 1);
    assert_int_equal(prune_prepare(fixture->dir, &places[1], &checkpoint,
                         STR("{}"), &pruned, &info),
        ERR_CORRUPT);
    fixture_flip(in_dir(fixture, "log/tile/0/000"), 100, 1);
    fixture_flip(in_dir(fixture, "journal/segments/00000001.seg"), 5000, 1);
    assert_int_equal(prune_prepare(fixture->dir, &places[1], &checkpoint,
                         STR("{}"), &pruned, &info),
        ERR_CORRUPT);
    free(places);
}

/* --- Readers --------------------------------------------------------------
 */

static void test_readers(void **state)
{
    struct fixture *fixture = *state;
    struct pruned pruned = pruned_log(fixture);
    struct audit_reader *reader;
    struct errinfo info = {0};
    struct buf out;
    buf_init(&out, 1 << 17);
    assert_int_equal(audit_reader_open(fixture->dir, &reader, &info), ERR_OK);
    assert_int_equal(
        audit_read_entry(reader, UINT64_MAX, 5, &out, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "entry 5 is gone: entries 0 to "));
    assert_non_null(strstr(info.text, DISPOSAL));
    assert_int_equal(
        audit_read_entry(reader, UINT64_MAX, pruned.entries - 1, &out, &info),
        ERR_NOTFOUND);
    assert_int_equal(
        audit_read_entry(reader, UINT64_MAX, pruned.entries, &out, &info),
        ERR_OK);
    assert_non_null(strstr(buf_cstr(&out), "system.test"));
    audit_reader_close(&reader);
    buf_fini(&out);
    /* A part of the log that reaches into it. */
    struct verify_result result;
    static struct seen seen;
    seen = (struct seen){0};
    struct verify_options options = {
        .state_dir = fixture->dir, .finding = on_finding, .context = &seen};
    assert_int_equal(audit_verify_range(&options, pruned.entries - 300,
                         pruned.entries + 300, &result, &info),
        ERR_OK);
    if (result.faults > 0)
        fail_msg("%s", seen.text);
    assert_non_null(strstr(seen.text, "the hashes alone"));
}

/* --- A copy ---------------------------------------------------------------
 */

static void test_copy(void **state)
{
    struct fixture *fixture = *state;
    struct pruned pruned = pruned_log(fixture);
    struct note_key key;
    struct checkpoint checkpoint;
    char before[2048], log_dir[128];
    uint8_t identity[SHA256_SIZE];
    struct held held[2];
    uint64_t size;
    size_t worst;
    struct errinfo info = {0};
    read_checkpoint(fixture, before);
    assert_int_equal(
        audit_key_read(fixture->dir, STR(""), &key, &info), ERR_OK);
    assert_int_equal(
        checkpoint_open(str_from(before), &key, &checkpoint, &info), ERR_OK);
    struct prune_place *places;
    size_t count;
    assert_int_equal(
        prune_places(segments(fixture), &places, &count, &info), ERR_OK);
    free(places);
    /* The identity, out of a header. */
    struct segment_list list;
    assert_int_equal(
        segment_list_load(segments(fixture), NULL, &list, &info), ERR_OK);
    memcpy(identity, list.items[0].header.identity, SHA256_SIZE);
    segment_list_fini(&list);
    snprintf(log_dir, sizeof(log_dir), "%s/log", fixture->dir);
    /* What somebody held of the pruned part, right and wrong. */
    struct tile_source tiles;
    struct merkle_source source = {tile_source_node, &tiles};
    tile_source_init(&tiles, log_dir, checkpoint.size);
    held[0] = (struct held){.from = "a", .size = 100};
    assert_int_equal(
        merkle_root_at(&source, 100, &held[0].root, &info), ERR_OK);
    held[1] = (struct held){
        .from = "b", .size = checkpoint.size, .root = checkpoint.root};
    if (held_compare(segments(fixture), log_dir, identity, held, 2, &size,
            &worst, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_int_equal(size, checkpoint.size);
    held[0].root.bytes[0] ^= 1;
    assert_int_equal(held_compare(segments(fixture), log_dir, identity, held, 2,
                         &size, &worst, &info),
        ERR_DENIED);
    /* Tiles anew, with nothing but the leaves of what was pruned. */
    fixture_run("cd %s/log/tile && rm -r 1 entries", fixture->dir);
    if (tiles_build(segments(fixture), identity, log_dir, checkpoint.size,
            &info) != ERR_OK)
        fail_msg("%s", info.text);
    must_hold(fixture, before);
    assert_true(pruned.entries > 0);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_goes_on),
        TEST(test_state_rebuilt),
        TEST(test_tiles_rebuilt),
        TEST(test_again),
        TEST(test_stopped),
        TEST(test_removed_and_not_pruned),
        TEST(test_marker_without_record),
        TEST(test_marker_for_more),
        TEST(test_damaged_marker),
        TEST(test_altered_before),
        TEST(test_readers),
        TEST(test_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
