/* SPDX-License-Identifier: Apache-2.0
 *
 * Proof files, two checkpoints, a range: what holds is said to hold, and every
 * byte that is changed is found. */
#include "tests/unit/audit/request_fixture.h"

#include "audit/prove.h"
#include "audit/show.h"
#include "lib/arena.h"

#define ENTRIES 700 /* three tiles, the last one incomplete */

struct world {
    struct fixture *fixture;
    char log_dir[96];
    struct note_key key;
    struct buf old_note, note;
    struct checkpoint old, now;
    struct arena *arena;
};

static void take(struct audit_log *log, struct buf *note)
{
    struct errinfo info = {0};
    buf_init(note, NOTE_MAX);
    if (audit_log_checkpoint(log, note, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct errinfo info = {0};
    void *fixture;
    if (fixture_setup(&fixture) != 0)
        return -1;
    w->fixture = fixture;
    snprintf(w->log_dir, sizeof(w->log_dir), "%s/log", w->fixture->dir);
    struct audit_log *log = fixture_open_ok(w->fixture);
    fixture_start(log);
    fixture_append(audit_log_journal(log), 0, 300, 40, 0);
    take(log, &w->old_note);
    fixture_append(audit_log_journal(log), 300, ENTRIES - 300, 40, 0);
    take(log, &w->note);
    audit_log_stop(&log);
    w->arena = arena_new(65536, 0);
    if (audit_key_read(w->fixture->dir, STR(""), &w->key, &info) != ERR_OK ||
        checkpoint_open(buf_str(&w->old_note), &w->key, &w->old, &info) !=
            ERR_OK ||
        checkpoint_open(buf_str(&w->note), &w->key, &w->now, &info) != ERR_OK)
        fail_msg("%s", info.text);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    void *fixture = w->fixture;
    buf_fini(&w->old_note);
    buf_fini(&w->note);
    arena_free(&w->arena);
    free(w);
    return fixture_teardown(&fixture);
}

static void entry_of(const struct world *w, uint64_t at, struct buf *out)
{
    struct audit_reader *reader;
    struct errinfo info = {0};
    buf_init(out, 65536);
    if (audit_reader_open(w->fixture->dir, &reader, &info) != ERR_OK ||
        audit_read_entry(reader, w->now.size, at, out, &info) != ERR_OK)
        fail_msg("%s", info.text);
    audit_reader_close(&reader);
}

static void proof_of(struct world *w, uint64_t at, struct buf *out)
{
    struct errinfo info = {0};
    struct buf entry;
    entry_of(w, at, &entry);
    buf_init(out, PROOF_TEXT_MAX);
    if (audit_prove(w->log_dir, &w->key, buf_str(&w->note), at, buf_str(&entry),
            out, &info) != ERR_OK)
        fail_msg("%s", info.text);
    buf_fini(&entry);
}

static enum err check(struct world *w, struct str text, struct errinfo *info)
{
    struct audit_proof proof;
    arena_reset(w->arena);
    enum err err = audit_proof_parse(w->arena, text, &proof, info);
    return err == ERR_OK
               ? audit_proof_verify(&proof, &w->key, STR(""), NULL, info)
               : err;
}

static void test_every_place_has_a_proof(void **state)
{
    struct world *w = *state;
    static const uint64_t places[] = {0, 1, 255, 256, 511, 512, 698, 699};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct errinfo info = {0};
        struct buf text;
        proof_of(w, places[i], &text);
        if (check(w, buf_str(&text), &info) != ERR_OK)
            fail_msg("%s", info.text);
        buf_fini(&text);
    }
}

static void test_every_changed_byte_is_found(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    struct buf text;
    proof_of(w, 300, &text);
    char *bytes = text.ptr + text.start;
    for (size_t i = 0; i < text.len; i++) {
        bytes[i] ^= 1;
        if (check(w, buf_str(&text), &info) == ERR_OK)
            fail_msg("byte %zu of the proof may be changed", i);
        bytes[i] ^= 1;
    }
    for (size_t n = 0; n < text.len; n++)
        if (check(w, str_make(bytes, n), &info) == ERR_OK)
            fail_msg("cut to %zu bytes it still holds", n);
    assert_int_equal(check(w, buf_str(&text), &info), ERR_OK);
    buf_fini(&text);
}

static void test_bad_proofs_in_words(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"hello\n", "\"c2sp.org/tlog-proof@v1\" is wanted here"},
        {"c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\nx\n", "no base64"},
        {"c2sp.org/tlog-proof@v1\nindex 01\n\nx\n", "\"index NUMBER\""},
        {"c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx\n", "32 bytes in base64"},
        {"c2sp.org/tlog-proof@v1\nindex 1\n\n", "checkpoint is missing"},
        {"c2sp.org/tlog-proof@v1\nindex 1\n", "the file ends here"},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct errinfo info = {0};
        assert_int_equal(check(w, str_from(cases[i].text), &info), ERR_SYNTAX);
        if (!strstr(info.text, cases[i].words))
            fail_msg("\"%s\" does not say \"%s\"", info.text, cases[i].words);
    }
}

static void test_another_logs_proof(void **state)
{
    struct world *w = *state;
    struct note_signer other;
    struct errinfo info = {0};
    struct buf text;
    struct note_key own = w->key;
    assert_int_equal(
        note_signer_generate(STR("example.com/other"), &other, &info), ERR_OK);
    proof_of(w, 5, &text);
    w->key = other.key;
    assert_int_equal(check(w, buf_str(&text), &info), ERR_DENIED);
    w->key = own;
    buf_fini(&text);
}

static void test_what_is_not_covered(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    struct buf out, entry;
    buf_init(&out, PROOF_TEXT_MAX);
    entry_of(w, 5, &entry);
    assert_int_equal(audit_prove(w->log_dir, &w->key, buf_str(&w->old_note),
                         300, buf_str(&entry), &out, &info),
        ERR_RANGE);
    assert_non_null(strstr(info.text, "of 300 entries"));
    /* another entry's bytes */
    assert_int_equal(audit_prove(w->log_dir, &w->key, buf_str(&w->note), 6,
                         buf_str(&entry), &out, &info),
        ERR_CORRUPT);
    buf_fini(&entry);
    buf_fini(&out);
}

static void test_two_checkpoints(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    struct checkpoint wrong = w->old;
    assert_int_equal(
        audit_checkpoints_agree(w->log_dir, &w->old, &w->now, &info), ERR_OK);
    assert_int_equal(
        audit_checkpoints_agree(w->log_dir, &w->now, &w->old, &info), ERR_OK);
    assert_int_equal(
        audit_checkpoints_agree(w->log_dir, &w->now, &w->now, &info), ERR_OK);
    wrong.root.bytes[3] ^= 1;
    assert_int_equal(
        audit_checkpoints_agree(w->log_dir, &wrong, &w->now, &info),
        ERR_CORRUPT);
    assert_non_null(strstr(info.text, "does not begin with"));
    assert_int_equal(
        audit_checkpoints_agree(w->log_dir, &wrong, &w->old, &info),
        ERR_CORRUPT);
    assert_non_null(strstr(info.text, "two histories"));
    wrong.origin = STR("example.com/else");
    assert_int_equal(
        audit_checkpoints_agree(w->log_dir, &wrong, &w->old, &info),
        ERR_CORRUPT);
}

/* --- Ranges ----------------------------------------------------------------
 */

static char found[600];
static void on_finding(void *context, const struct verify_finding *finding)
{
    if (finding->kind != VERIFY_NOTE)
        snprintf(found, sizeof(found), "%s: %s",
            verify_kind_name(finding->kind), finding->text);
}

static uint64_t faults_of(
    struct world *w, uint64_t from, uint64_t to, struct str against)
{
    struct verify_options options = {.state_dir = w->fixture->dir,
        .against = against,
        .finding = on_finding};
    struct verify_result result;
    struct errinfo info = {0};
    found[0] = '\0';
    if (audit_verify_range(&options, from, to, &result, &info) != ERR_OK)
        fail_msg("%s", info.text);
    return result.faults;
}

static void test_a_range(void **state)
{
    struct world *w = *state;
    assert_int_equal(faults_of(w, 0, ENTRIES, STR("")), 0);
    assert_int_equal(faults_of(w, 250, 520, STR("")), 0);
    assert_int_equal(faults_of(w, 299, 300, buf_str(&w->old_note)), 0);
    struct verify_options options = {.state_dir = w->fixture->dir};
    struct verify_result result;
    struct errinfo info = {0};
    assert_int_equal(
        audit_verify_range(&options, 5, 9999, &result, &info), ERR_RANGE);
    assert_int_equal(
        audit_verify_range(&options, 5, 5, &result, &info), ERR_RANGE);
}

static void test_tampering_within_a_range(void **state)
{
    struct world *w = *state;
    char path[160];
    /* a bundle: entry 256 is altered, and only it */
    snprintf(path, sizeof(path), "%s/tile/entries/001", w->log_dir);
    fixture_flip(path, 40, 1);
    assert_int_equal(faults_of(w, 0, ENTRIES, STR("")), 1);
    assert_non_null(strstr(found, "entry 256 of the bundle has other bytes"));
    assert_int_equal(faults_of(w, 257, ENTRIES, STR("")), 0);
    fixture_flip(path, 40, 1);
    /* a tile of hashes */
    snprintf(path, sizeof(path), "%s/tile/0/000", w->log_dir);
    fixture_flip(path, 32 * 9, 1);
    assert_true(faults_of(w, 20, 30, STR("")) > 0);
    assert_non_null(strstr(found, "do not lead to the root"));
    fixture_flip(path, 32 * 9, 1);
    /* the journal */
    snprintf(path, sizeof(path), "%s/journal/segments/00000001.seg",
        w->fixture->dir);
    fixture_flip(path, 4096 + 100, 1);
    assert_true(faults_of(w, 0, 10, STR("")) > 0);
    fixture_flip(path, 4096 + 100, 1);
    assert_int_equal(faults_of(w, 0, ENTRIES, STR("")), 0);
}

static void test_a_copy_of_the_published_log_alone(void **state)
{
    struct world *w = *state;
    fixture_run("mv %s/journal %s/elsewhere", w->fixture->dir, w->fixture->dir);
    assert_int_equal(faults_of(w, 0, ENTRIES, STR("")), 0);
    fixture_run("mv %s/elsewhere %s/journal", w->fixture->dir, w->fixture->dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_place_has_a_proof),
        cmocka_unit_test(test_every_changed_byte_is_found),
        cmocka_unit_test(test_bad_proofs_in_words),
        cmocka_unit_test(test_another_logs_proof),
        cmocka_unit_test(test_what_is_not_covered),
        cmocka_unit_test(test_two_checkpoints),
        cmocka_unit_test(test_a_range),
        cmocka_unit_test(test_tampering_within_a_range),
        cmocka_unit_test(test_a_copy_of_the_published_log_alone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
