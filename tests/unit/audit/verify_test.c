/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/verify_test.c - every way to change a log, and what
 * verification says of it. */
#include "log_fixture.h"

#include "audit/checkpoint.h"
#include "audit/frame.h"
#include "audit/segment.h"
#include "audit/verify.h"

#include <fcntl.h>
#include <sys/stat.h>

/* --- The log taken apart and put together again ----------------------------
 */

#define ENTRIES_MOST 4096

struct forged {
    char path[200];
    uint8_t *file;
    size_t size;
    struct {
        uint32_t count;
        uint32_t flags;
    } frames[ENTRIES_MOST];
    size_t frame_count;
    struct str entries[ENTRIES_MOST]; /* into copies */
    size_t entry_count;
    char *owned[ENTRIES_MOST]; /* every entry's bytes, also of removed ones */
    size_t owned_count;
    uint8_t genesis[SHA256_SIZE];
};

/* The fixture's log lies in one segment, the newest. */
static struct forged *take_apart(const struct fixture *fixture)
{
    struct forged *forged = calloc(1, sizeof(*forged));
    snprintf(forged->path, sizeof(forged->path),
        "%s/journal/segments/00000001.seg", fixture->dir);
    struct buf bytes;
    buf_init(&bytes, 1 << 26);
    assert_int_equal(file_read(forged->path, &bytes, NULL), ERR_OK);
    forged->size = bytes.len;
    forged->file = (uint8_t *)buf_steal(&bytes);
    memcpy(forged->genesis, forged->file + 80, SHA256_SIZE);
    size_t at = SEGMENT_HEADER_SIZE;
    struct frame frame;
    const char *reason;
    while (frame_decode(forged->file + at, forged->size - at, &frame,
               &reason) == ERR_OK) {
        forged->frames[forged->frame_count].count = frame.count;
        forged->frames[forged->frame_count++].flags = frame.flags;
        size_t in = 0;
        struct str entry;
        while (frame_next_entry(frame.payload, frame.length, &in, &entry)) {
            char *copy = malloc(entry.len + 1);
            memcpy(copy, entry.ptr, entry.len);
            forged->owned[forged->owned_count++] = copy;
            forged->entries[forged->entry_count++] = str_make(copy, entry.len);
        }
        at += frame_size(&frame);
    }
    return forged;
}

/* Writes it back with frames that are right in themselves; the chain is made
 * anew (true) or only each checksum (false). */
static void put_together(struct forged *forged, bool chain)
{
    uint8_t previous[SHA256_SIZE], old_previous[ENTRIES_MOST][SHA256_SIZE];
    size_t at = SEGMENT_HEADER_SIZE, next = 0, n = 0;
    struct frame frame;
    const char *reason;
    while (!chain && frame_decode(forged->file + at, forged->size - at, &frame,
                         &reason) == ERR_OK) {
        memcpy(old_previous[n++], frame.previous, SHA256_SIZE);
        at += frame_size(&frame);
    }
    memset(forged->file + SEGMENT_HEADER_SIZE, 0,
        forged->size - SEGMENT_HEADER_SIZE);
    memcpy(previous, forged->genesis, SHA256_SIZE);
    at = SEGMENT_HEADER_SIZE;
    for (size_t i = 0; i < forged->frame_count && next < forged->entry_count;
         i++) {
        uint8_t *payload = forged->file + at + FRAME_HEADER_SIZE;
        frame = (struct frame){.first = next,
            .flags = forged->frames[i].flags,
            .payload = payload};
        memcpy(frame.previous, chain ? previous : old_previous[i], SHA256_SIZE);
        for (uint32_t k = 0;
             k < forged->frames[i].count && next < forged->entry_count; k++) {
            struct str entry = forged->entries[next++];
            payload[frame.length] = (uint8_t)(entry.len >> 8);
            payload[frame.length + 1] = (uint8_t)entry.len;
            memcpy(payload + frame.length + 2, entry.ptr, entry.len);
            frame.length += (uint32_t)entry.len + 2;
            frame.count++;
        }
        frame_encode(forged->file + at, &frame);
        crypto_sha256(previous, forged->file + at, frame_size(&frame));
        at += frame_size(&frame);
    }
    FILE *file = fopen(forged->path, "r+b");
    assert_non_null(file);
    assert_int_equal(fwrite(forged->file, 1, forged->size, file), forged->size);
    assert_int_equal(fclose(file), 0);
}

static void forged_free(struct forged **pointer)
{
    struct forged *forged = *pointer;
    free(forged->file);
    for (size_t i = 0; i < forged->owned_count; i++)
        free(forged->owned[i]);
    free(forged);
    *pointer = NULL;
}

/* --- Looking for findings ---------------------------------------------------
 */

struct seen {
    struct verify_finding findings[300];
    size_t count;
    struct verify_result result;
    char against[2048];
};

static void on_finding(void *context, const struct verify_finding *finding)
{
    struct seen *seen = context;
    if (seen->count < 300)
        seen->findings[seen->count++] = *finding;
}

static struct seen *verify(const char *dir, const char *against)
{
    static struct seen seen;
    seen.count = 0;
    struct verify_options options = {.state_dir = dir,
        .against = str_from(against),
        .finding = on_finding,
        .context = &seen};
    struct errinfo info = {0};
    if (audit_verify(&options, &seen.result, &info) != ERR_OK)
        fail_msg("%s", info.text);
    return &seen;
}

static void print_all(const struct seen *seen)
{
    for (size_t i = 0; i < seen->count; i++)
        print_message("  %s: %s\n", verify_kind_name(seen->findings[i].kind),
            seen->findings[i].text);
}

/* A finding of this kind at this entry, with the entry's id. */
static const struct verify_finding *must_find(
    const struct seen *seen, enum verify_kind kind, int64_t index)
{
    char id[32];
    snprintf(id, sizeof(id), "01J00000000000000000%06lld", (long long)index);
    for (size_t i = 0; i < seen->count; i++) {
        const struct verify_finding *f = &seen->findings[i];
        if (f->kind != kind || (index >= 0 && f->index != index))
            continue;
        if (index >= 0 && kind != VERIFY_INSERTED &&
            strncmp(f->id, "01J000", 6) == 0)
            assert_string_equal(f->id, id);
        return f;
    }
    print_all(seen);
    fail_msg("no finding \"%s\" at entry %lld", verify_kind_name(kind),
        (long long)index);
    return NULL;
}

static void must_be_whole(const struct seen *seen)
{
    if (seen->result.faults > 0) {
        print_all(seen);
        fail_msg("%llu faults", (unsigned long long)seen->result.faults);
    }
}

static void read_checkpoint(const struct fixture *fixture, char out[2048])
{
    char path[160];
    struct buf text;
    buf_init(&text, 2047);
    snprintf(path, sizeof(path), "%s/log/checkpoint", fixture->dir);
    assert_int_equal(file_read(path, &text, NULL), ERR_OK);
    snprintf(out, 2048, "%s", buf_cstr(&text));
    buf_fini(&text);
}

/* 40 entries and a seal in many frames. */
static void small_log(const struct fixture *fixture)
{
    fixture_orderly(fixture, 0, 40, 100);
}

/* --- Whole logs -------------------------------------------------------------
 */

static void test_whole(void **state)
{
    struct fixture *fixture = *state;
    char first[2048], second[2048];
    must_be_whole(verify(fixture->dir, NULL));
    read_checkpoint(fixture, first);
    small_log(fixture);
    struct seen *seen = verify(fixture->dir, first);
    must_be_whole(seen);
    assert_int_equal(seen->result.entries, 41);
    assert_int_equal(seen->result.checkpoint_size, 41);
    assert_int_equal(seen->result.against_size, 0);
    assert_string_equal(seen->result.origin, "example.com/bailiff-test");
    read_checkpoint(fixture, second);
    fixture_orderly(fixture, 41, 1000, 1500);
    fixture_crash(fixture, 1042, 300, 20, 1500);
    seen = verify(fixture->dir, second);
    must_be_whole(seen);
    assert_int_equal(seen->result.entries, 1342);
    assert_int_equal(seen->result.checkpoint_size, 1322);
    must_find(seen, VERIFY_NOTE, -1);
    fixture_orderly(fixture, 1342, 1, 10);
    must_be_whole(verify(fixture->dir, second));
    /* A copy. */
    fixture_run("cp -a %s %s-copy", fixture->dir, fixture->dir);
    char copy[160];
    snprintf(copy, sizeof(copy), "%s-copy", fixture->dir);
    must_be_whole(verify(copy, second));
    fixture_run("rm -r %s", copy);
}

static void test_beside_a_running_log(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    for (uint64_t i = 0; i < 20; i++) {
        fixture_append(audit_log_journal(log), i * 10, 10, 500, 3);
        must_be_whole(verify(fixture->dir, NULL));
    }
    audit_log_stop(&log);
}

/* --- One entry
 * ---------------------------------------------------------------*/

static void test_flipped_byte(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    struct forged *forged = take_apart(fixture);
    /* Byte 30 of entry 17: in its id; and one in the padding of 3. */
    for (int round = 0; round < 3; round++) {
        static const int64_t index[] = {17, 3, 40};
        static const size_t inside[] = {20, 60, 30};
        const uint8_t *found = memmem(forged->file, forged->size,
            forged->entries[index[round]].ptr,
            forged->entries[index[round]].len);
        long offset = found - forged->file + (long)inside[round];
        fixture_flip(forged->path, offset, 0x02);
        struct seen *seen = verify(fixture->dir, NULL);
        const struct verify_finding *frame =
            must_find(seen, VERIFY_DAMAGED, -1);
        assert_true(frame->index <= index[round]);
        assert_true(frame->index + (int64_t)frame->count > index[round]);
        assert_int_equal(frame->segment, 1);
        assert_true(frame->offset < (uint64_t)offset);
        const struct verify_finding *entry =
            must_find(seen, VERIFY_ALTERED, index[round]);
        if (index[round] < 40)
            assert_int_not_equal(strlen(entry->id), 0);
        assert_non_null(strstr(entry->text, "segment 1, frame at offset"));
        assert_int_equal(seen->result.faults, 3); /* and the checkpoint */
        fixture_flip(forged->path, offset, 0x02);
    }
    must_be_whole(verify(fixture->dir, NULL));
    forged_free(&forged);
}

/* A flip in any byte that is used, seen and named, and nothing but a flip. */
static void test_flip_sweep(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    struct forged *forged = take_apart(fixture);
    size_t end = forged->size;
    while (forged->file[end - 1] == 0)
        end--;
    for (size_t at = SEGMENT_HEADER_SIZE; at < end; at += 41) {
        fixture_flip(forged->path, (long)at, 0x40);
        struct seen *seen = verify(fixture->dir, NULL);
        if (seen->result.faults == 0)
            fail_msg("flip at %zu", at);
        fixture_flip(forged->path, (long)at, 0x40);
    }
    forged_free(&forged);
}

static void alter(struct forged *forged, size_t index)
{
    char *text = (char *)(uintptr_t)forged->entries[index].ptr;
    text[50] = 'X';
}

static void test_altered_with_right_checksum(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    struct forged *forged = take_apart(fixture);
    alter(forged, 9);
    put_together(forged, false);
    struct seen *seen = verify(fixture->dir, NULL);
    must_find(seen, VERIFY_CHAIN, -1);
    must_find(seen, VERIFY_ALTERED, 9);
    must_find(seen, VERIFY_CHECKPOINT, -1);
    assert_int_equal(seen->result.faults, 3);
    forged_free(&forged);
}

static void test_altered_and_chained_anew(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    struct forged *forged = take_apart(fixture);
    alter(forged, 9);
    alter(forged, 25);
    put_together(forged, true);
    struct seen *seen = verify(fixture->dir, NULL);
    must_find(seen, VERIFY_ALTERED, 9);
    must_find(seen, VERIFY_ALTERED, 25);
    must_find(seen, VERIFY_CHECKPOINT, -1);
    assert_int_equal(seen->result.faults, 3);
    forged_free(&forged);
}

static void remove_entry(struct forged *forged, size_t index)
{
    memmove(&forged->entries[index], &forged->entries[index + 1],
        (forged->entry_count - index - 1) * sizeof(struct str));
    forged->entry_count--;
}

static void test_removed(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    struct forged *forged = take_apart(fixture);
    remove_entry(forged, 12);
    put_together(forged, true);
    struct seen *seen = verify(fixture->dir, NULL);
    const struct verify_finding *f = must_find(seen, VERIFY_REMOVED, 12);
    assert_int_equal(f->count, 1);
    assert_non_null(strstr(f->text, "01J00000000000000000000012"));
    /* Three more, together. */
    for (int i = 0; i < 3; i++)
        remove_entry(forged, 20);
    put_together(forged, true);
    seen = verify(fixture->dir, NULL);
    must_find(seen, VERIFY_REMOVED, 12);
    f = must_find(seen, VERIFY_REMOVED, 21);
    assert_int_equal(f->count, 3);
    forged_free(&forged);
}

static void test_frame_taken_out(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    struct forged *forged = take_apart(fixture);
    /* The bytes of the second frame are gone, all else moved up. */
    size_t at = SEGMENT_HEADER_SIZE, sizes[2];
    struct frame frame;
    const char *reason;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            frame_decode(forged->file + at, forged->size - at, &frame, &reason),
            ERR_OK);
        sizes[i] = frame_size(&frame);
        at += sizes[i];
    }
    memmove(forged->file + at - sizes[1], forged->file + at, forged->size - at);
    FILE *file = fopen(forged->path, "r+b");
    fwrite(forged->file, 1, forged->size, file);
    fclose(file);
    struct seen *seen = verify(fixture->dir, NULL);
    const struct verify_finding *f =
        must_find(seen, VERIFY_REMOVED, (int64_t)frame.first);
    assert_int_equal(f->count, frame.count);
    must_find(seen, VERIFY_CHAIN, (int64_t)frame.first);
    forged_free(&forged);
}

static void swap(struct forged *forged, size_t a, size_t b)
{
    struct str other = forged->entries[a];
    forged->entries[a] = forged->entries[b];
    forged->entries[b] = other;
}

static void test_swapped(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    struct forged *forged = take_apart(fixture);
    swap(forged, 5, 6);
    swap(forged, 14, 30);
    put_together(forged, true);
    struct seen *seen = verify(fixture->dir, NULL);
    assert_int_equal(must_find(seen, VERIFY_SWAPPED, 5)->other, 6);
    assert_int_equal(must_find(seen, VERIFY_SWAPPED, 14)->other, 30);
    forged_free(&forged);
}

static void test_inserted(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    struct forged *forged = take_apart(fixture);
    memmove(&forged->entries[9], &forged->entries[8],
        (forged->entry_count - 8) * sizeof(struct str));
    forged->entry_count++;
    static const char text[] =
        "{\"id\":\"01J00000000000000000999999\",\"type\":\"system.test\"}";
    forged->entries[8] = str_make(strdup(text), sizeof(text) - 1);
    forged->owned[forged->owned_count++] =
        (char *)(uintptr_t)forged->entries[8].ptr;
    forged->frames[2].count++;
    put_together(forged, true);
    struct seen *seen = verify(fixture->dir, NULL);
    const struct verify_finding *f = must_find(seen, VERIFY_INSERTED, 8);
    assert_string_equal(f->id, "01J00000000000000000999999");
    forged_free(&forged);
}

/* --- The end
 * ------------------------------------------------------------------*/

static void test_cut(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    struct forged *forged = take_apart(fixture);
    forged->entry_count = 33;
    put_together(forged, true);
    struct seen *seen = verify(fixture->dir, NULL);
    const struct verify_finding *f = must_find(seen, VERIFY_CUT, 33);
    assert_int_equal(f->count, 8);
    forged_free(&forged);
}

/* An older state of everything: only the checkpoint that was kept tells. */
static void test_old_copy(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    fixture_run("cp -a %s %s-old", fixture->dir, fixture->dir);
    fixture_orderly(fixture, 41, 20, 100);
    char kept[2048], old[160];
    read_checkpoint(fixture, kept);
    snprintf(old, sizeof(old), "%s-old", fixture->dir);
    must_be_whole(verify(old, NULL));
    const struct verify_finding *f =
        must_find(verify(old, kept), VERIFY_CUT, 41);
    assert_int_equal(f->count, 21);
    fixture_run("rm -r %s", old);
}

/* Whoever has the key can sign anything; not what somebody else kept. */
static void test_signed_anew(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    char kept[2048];
    read_checkpoint(fixture, kept);
    struct forged *forged = take_apart(fixture);
    alter(forged, 9);
    forged->entry_count--; /* without the seal */
    put_together(forged, true);
    fixture_run("rm -r %s/log/* %s/journal/state*", fixture->dir, fixture->dir);
    fixture_orderly(fixture, 40, 20, 100);
    must_be_whole(verify(fixture->dir, NULL));
    must_find(verify(fixture->dir, kept), VERIFY_CHECKPOINT, -1);
    forged_free(&forged);
}

/* --- Beside the entries
 * -------------------------------------------------------*/

static void flip_in(
    const struct fixture *fixture, const char *name, long offset)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
    fixture_flip(path, offset, 0x01);
}

static void test_tiles(void **state)
{
    struct fixture *fixture = *state;
    fixture_orderly(fixture, 0, 700, 30);
    must_be_whole(verify(fixture->dir, NULL));
    flip_in(fixture, "log/tile/0/001", 5 * 32 + 3);
    struct seen *seen = verify(fixture->dir, NULL);
    const struct verify_finding *f = must_find(seen, VERIFY_TILE, 256 + 5);
    assert_non_null(strstr(f->text, "tile/0/001"));
    assert_int_equal(seen->result.faults, 1);
    flip_in(fixture, "log/tile/0/001", 5 * 32 + 3);
    flip_in(fixture, "log/tile/1/000.p/2", 40);
    seen = verify(fixture->dir, NULL);
    f = must_find(seen, VERIFY_TILE, -1);
    assert_non_null(strstr(f->text, "tile/1/000.p/2"));
    flip_in(fixture, "log/tile/1/000.p/2", 40);
    flip_in(fixture, "log/tile/entries/000", 400);
    seen = verify(fixture->dir, NULL);
    f = must_find(seen, VERIFY_TILE, 2);
    assert_non_null(strstr(f->text, "tile/entries/000"));
    flip_in(fixture, "log/tile/entries/000", 400);
    must_be_whole(verify(fixture->dir, NULL));
    fixture_run("rm %s/log/tile/0/000", fixture->dir);
    f = must_find(verify(fixture->dir, NULL), VERIFY_TILE, -1);
    assert_non_null(strstr(f->text, "tile/0/000"));
}

static void test_bad_checkpoint(void **state)
{
    struct fixture *fixture = *state;
    small_log(fixture);
    char kept[2048];
    read_checkpoint(fixture, kept);
    flip_in(fixture, "log/checkpoint", 26);
    must_find(verify(fixture->dir, NULL), VERIFY_CHECKPOINT, -1);
    must_find(verify(fixture->dir, kept), VERIFY_CHECKPOINT, -1);
    flip_in(fixture, "log/checkpoint", 26);
    /* What was kept must be a checkpoint of this log. */
    struct verify_options options = {.state_dir = fixture->dir};
    struct verify_result result;
    struct errinfo info = {0};
    kept[30] ^= 1;
    options.against = str_from(kept);
    assert_int_not_equal(audit_verify(&options, &result, &info), ERR_OK);
    assert_non_null(strstr(info.text, "the checkpoint that was kept"));
    /* Another key than the auditor's. */
    options.against = STR("");
    options.key = STR("example.com/foo+530d903a+"
                      "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
    assert_int_equal(audit_verify(&options, &result, &info), ERR_OK);
    assert_true(result.faults > 0);
}

static void test_segments(void **state)
{
    struct fixture *fixture = *state;
    fixture_orderly(fixture, 0, 300, 3000);
    flip_in(fixture, "journal/segments/00000002.seg", 20);
    const struct verify_finding *f =
        must_find(verify(fixture->dir, NULL), VERIFY_DAMAGED, -1);
    assert_non_null(strstr(f->text, "00000002.seg"));
    flip_in(fixture, "journal/segments/00000002.seg", 20);
    /* Damage in one segment does not hide that in another. */
    flip_in(fixture, "journal/segments/00000002.seg", 30000);
    flip_in(fixture, "journal/segments/00000003.seg", 30000);
    struct seen *seen = verify(fixture->dir, NULL);
    size_t damaged = 0, altered = 0;
    for (size_t i = 0; i < seen->count; i++) {
        damaged += seen->findings[i].kind == VERIFY_DAMAGED;
        altered += seen->findings[i].kind == VERIFY_ALTERED;
    }
    assert_int_equal(damaged, 2);
    assert_int_equal(altered, 2);
    flip_in(fixture, "journal/segments/00000002.seg", 30000);
    flip_in(fixture, "journal/segments/00000003.seg", 30000);
    must_be_whole(verify(fixture->dir, NULL));
    fixture_run(
        "truncate -s 100000 %s/journal/segments/00000002.seg", fixture->dir);
    seen = verify(fixture->dir, NULL);
    assert_true(seen->result.faults > 0);
    fixture_run("rm %s/journal/segments/00000002.seg", fixture->dir);
    f = must_find(verify(fixture->dir, NULL), VERIFY_DAMAGED, -1);
    assert_non_null(strstr(f->text, "00000002.seg is missing"));
}

static void test_nothing_there(void **state)
{
    struct verify_options options = {.state_dir = "/tmp/there-is-nothing"};
    struct verify_result result;
    struct errinfo info = {0};
    assert_int_equal(audit_verify(&options, &result, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "/tmp/there-is-nothing/log.vkey"));
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_whole),
        TEST(test_beside_a_running_log),
        TEST(test_flipped_byte),
        TEST(test_flip_sweep),
        TEST(test_altered_with_right_checksum),
        TEST(test_altered_and_chained_anew),
        TEST(test_removed),
        TEST(test_frame_taken_out),
        TEST(test_swapped),
        TEST(test_inserted),
        TEST(test_cut),
        TEST(test_old_copy),
        TEST(test_signed_anew),
        TEST(test_tiles),
        TEST(test_bad_checkpoint),
        TEST(test_segments),
        TEST(test_nothing_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
