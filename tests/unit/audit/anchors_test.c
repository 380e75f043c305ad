/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints handed to others: a file, a folder, a command; what fails is
 * said and tried again, and a slow one holds nobody else up. */
#include "tests/unit/audit/log_fixture.h"

#include "audit/anchors.h"
#include "audit/checkpoint.h"

#include <stdatomic.h>
#include <sys/stat.h>

static struct note_signer signer;
static _Atomic uint64_t log_size;

static enum err checkpoint(void *context, struct buf *out, struct errinfo *info)
{
    struct checkpoint c = {.origin = STR("test/log"), .size = log_size};
    const struct note_signer *signers[] = {&signer};
    struct buf text;
    buf_init(&text, 4096);
    checkpoint_format(&c, &text);
    enum err err = note_sign(buf_str(&text), signers, 1, out, info);
    buf_fini(&text);
    return err;
}

static int setup(void **state)
{
    struct errinfo info = {0};
    char *dir = strdup("/tmp/anchors-test-XXXXXX");
    if (crypto_init(&info) != ERR_OK || !mkdtemp(dir))
        return -1;
    *state = dir;
    log_size = 5;
    return note_signer_generate(STR("test/log"), &signer, &info) == ERR_OK ? 0
                                                                           : -1;
}

static int teardown(void **state)
{
    fixture_run("rm -rf '%s'", (const char *)*state);
    free(*state);
    return 0;
}

static struct anchor anchor_of(
    const char *name, enum anchor_kind kind, const char *target)
{
    return (struct anchor){.name = str_from(name),
        .kind = kind,
        .target = str_from(target),
        .every_minutes = 60};
}

static void note_of(struct buf *note)
{
    struct errinfo info = {0};
    buf_init(note, 65536);
    assert_int_equal(checkpoint(NULL, note, &info), ERR_OK);
}

static void read_text(const char *path, struct buf *out)
{
    struct errinfo info = {0};
    buf_init(out, 1 << 20);
    if (file_read(path, out, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

static void test_a_file_gathers_notes(void **state)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/kept", (const char *)*state);
    struct anchor anchor = anchor_of("a", ANCHOR_FILE, path);
    struct buf first, second, file;
    struct errinfo info = {0};
    struct str last;
    note_of(&first);
    assert_int_equal(anchor_hand(&anchor, buf_str(&first), 5, &info), ERR_OK);
    log_size = 9;
    note_of(&second);
    assert_int_equal(anchor_hand(&anchor, buf_str(&second), 9, &info), ERR_OK);
    read_text(path, &file);
    assert_int_equal(anchor_last_note(buf_str(&file), &last), ERR_OK);
    assert_true(str_equal(last, buf_str(&second)));
    assert_non_null(strstr(buf_cstr(&file), buf_cstr(&first)));
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&file);
}

static void test_a_file_without_a_note(void **state)
{
    struct str last;
    assert_int_equal(anchor_last_note(STR(""), &last), ERR_SYNTAX);
    assert_int_equal(
        anchor_last_note(STR("hello\nworld\n"), &last), ERR_SYNTAX);
}

static void test_a_folder_keeps_each(void **state)
{
    struct anchor anchor = anchor_of("b", ANCHOR_FILE, *state);
    char path[128];
    struct buf note, file;
    struct errinfo info = {0};
    note_of(&note);
    assert_int_equal(anchor_hand(&anchor, buf_str(&note), 5, &info), ERR_OK);
    snprintf(path, sizeof(path), "%s/checkpoint-5", (const char *)*state);
    read_text(path, &file);
    assert_true(str_equal(buf_str(&file), buf_str(&note)));
    /* never overwritten */
    fixture_run("echo kept > '%s'", path);
    enum err again = anchor_hand(&anchor, buf_str(&note), 5, &info);
    assert_true(again == ERR_OK || info.text[0] != '\0');
    buf_fini(&file);
    read_text(path, &file);
    assert_string_equal(buf_cstr(&file), "kept\n");
    buf_fini(&note);
    buf_fini(&file);
}

static void test_a_command_gets_the_note(void **state)
{
    char target[256], path[128];
    struct buf note, file;
    struct errinfo info = {0};
    snprintf(path, sizeof(path), "%s/got", (const char *)*state);
    snprintf(target, sizeof(target), "cat > '%s'", path);
    struct anchor anchor = anchor_of("c", ANCHOR_COMMAND, target);
    note_of(&note);
    assert_int_equal(anchor_hand(&anchor, buf_str(&note), 5, &info), ERR_OK);
    read_text(path, &file);
    assert_true(str_equal(buf_str(&file), buf_str(&note)));
    /* one that fails says so, with what it wrote or its status */
    anchor = anchor_of("d", ANCHOR_COMMAND, "cat > /dev/null; exit 3");
    assert_int_not_equal(
        anchor_hand(&anchor, buf_str(&note), 5, &info), ERR_OK);
    if (!strstr(info.text, "3"))
        fail_msg("%s", info.text);
    /* one that reads nothing is no fault of the note */
    anchor = anchor_of("e", ANCHOR_COMMAND, "exit 0");
    assert_int_equal(anchor_hand(&anchor, buf_str(&note), 5, &info), ERR_OK);
    buf_fini(&note);
    buf_fini(&file);
}

static void test_a_file_that_cannot_be_written(void **state)
{
    struct anchor anchor =
        anchor_of("f", ANCHOR_FILE, "/nonexistent/folder/file");
    struct errinfo info = {0};
    struct buf note;
    note_of(&note);
    assert_int_not_equal(
        anchor_hand(&anchor, buf_str(&note), 5, &info), ERR_OK);
    assert_non_null(strstr(info.text, "/nonexistent/folder"));
    buf_fini(&note);
}

static bool status_of(
    struct anchors *anchors, const char *name, struct anchor_status *out)
{
    struct anchor_status all[8];
    size_t count = anchors_status(anchors, all, 8);
    for (size_t i = 0; i < count && i < 8; i++)
        if (strcmp(all[i].name, name) == 0) {
            *out = all[i];
            return true;
        }
    return false;
}

static void test_the_thread_hands_over_and_tells(void **state)
{
    struct anchors_options options = {.checkpoint = checkpoint};
    struct anchors *anchors;
    struct anchor_status good = {0}, bad = {0};
    struct errinfo info = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s/kept", (const char *)*state);
    assert_int_equal(anchors_start(&options, &anchors, &info), ERR_OK);
    struct anchor rows[] = {anchor_of("bad", ANCHOR_COMMAND, "exit 4"),
        anchor_of("good", ANCHOR_FILE, path)};
    assert_int_equal(anchors_set(anchors, rows, 2, &info), ERR_OK);
    for (int i = 0; i < 1000 && !(good.handed_us && bad.tried_us); i++) {
        usleep(10000);
        (void)status_of(anchors, "good", &good);
        (void)status_of(anchors, "bad", &bad);
    }
    assert_true(good.handed_us != 0 && !good.failed);
    assert_int_equal(good.size, 5);
    assert_true(bad.failed && bad.handed_us == 0 && bad.why[0] != '\0');
    /* a row taken away is no longer told of */
    assert_int_equal(anchors_set(anchors, rows + 1, 1, &info), ERR_OK);
    assert_false(status_of(anchors, "bad", &bad));
    anchors_stop(&anchors);
}

static void test_a_slow_command_holds_nobody_up(void **state)
{
    struct anchors_options options = {.checkpoint = checkpoint};
    struct anchors *anchors;
    struct errinfo info = {0};
    assert_int_equal(anchors_start(&options, &anchors, &info), ERR_OK);
    struct anchor slow = anchor_of("slow", ANCHOR_COMMAND, "sleep 2");
    assert_int_equal(anchors_set(anchors, &slow, 1, &info), ERR_OK);
    usleep(200000);
    int64_t start = clock_monotonic();
    struct anchor_status status = {0};
    assert_true(status_of(anchors, "slow", &status));
    assert_int_equal(anchors_set(anchors, &slow, 1, &info), ERR_OK);
    assert_true(clock_monotonic() - start < SECOND_US / 2);
    for (int i = 0; i < 1000 && !status.handed_us; i++) {
        usleep(10000);
        (void)status_of(anchors, "slow", &status);
    }
    assert_false(status.failed);
    anchors_stop(&anchors);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_file_gathers_notes),
        TEST(test_a_file_without_a_note),
        TEST(test_a_folder_keeps_each),
        TEST(test_a_command_gets_the_note),
        TEST(test_a_file_that_cannot_be_written),
        TEST(test_the_thread_hands_over_and_tells),
        TEST(test_a_slow_command_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
