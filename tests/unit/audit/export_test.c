/* SPDX-License-Identifier: Apache-2.0
 *
 * An export holds, and every way of changing it is found. */
#include "tests/unit/audit/log_fixture.h"

#include "audit/export.h"
#include "audit/prove.h"
#include "lib/arena.h"
#include "lib/encode.h"

#define ENTRIES 40

struct world {
    struct fixture *fixture;
    struct note_key key;
    struct buf note, text;
};

static void write_export(struct world *w, struct buf *out)
{
    struct audit_export_head head = {
        .note = buf_str(&w->note), .whole = true, .from = 5, .to = ENTRIES};
    struct checkpoint checkpoint;
    struct audit_reader *reader;
    struct errinfo info = {0};
    uint8_t digest[SHA256_SIZE];
    char log_dir[96], hex[2 * SHA256_SIZE + 1];
    struct buf entry;
    snprintf(log_dir, sizeof(log_dir), "%s/log", w->fixture->dir);
    buf_init(out, 1 << 22);
    buf_init(&entry, 65536);
    audit_export_header(&head, out);
    if (checkpoint_open(buf_str(&w->note), &w->key, &checkpoint, &info) !=
            ERR_OK ||
        audit_reader_open(w->fixture->dir, &reader, &info) != ERR_OK)
        fail_msg("%s", info.text);
    for (uint64_t i = 5; i < ENTRIES; i++) {
        buf_clear(&entry);
        if (audit_read_entry(reader, checkpoint.size, i, &entry, &info) !=
                ERR_OK ||
            audit_export_line(log_dir, &checkpoint, i, buf_str(&entry), -1, out,
                &info) != ERR_OK)
            fail_msg("%s", info.text);
    }
    audit_reader_close(&reader);
    crypto_sha256(digest, buf_str(out).ptr, out->len);
    hex_write(hex, digest, sizeof(digest));
    audit_export_trailer(ENTRIES - 5, hex, out);
    buf_fini(&entry);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct errinfo info = {0};
    void *fixture;
    if (fixture_setup(&fixture) != 0)
        return -1;
    w->fixture = fixture;
    struct audit_log *log = fixture_open_ok(w->fixture);
    fixture_start(log);
    fixture_append(audit_log_journal(log), 0, ENTRIES, 10, 0);
    buf_init(&w->note, NOTE_MAX);
    if (audit_log_checkpoint(log, &w->note, &info) != ERR_OK ||
        audit_key_read(w->fixture->dir, STR(""), &w->key, &info) != ERR_OK)
        fail_msg("%s", info.text);
    audit_log_stop(&log);
    write_export(w, &w->text);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    void *fixture = w->fixture;
    buf_fini(&w->note);
    buf_fini(&w->text);
    free(w);
    return fixture_teardown(&fixture);
}

static enum err next_line(void *context, struct str *line, struct errinfo *info)
{
    struct str *rest = context;
    if (rest->len == 0)
        return ERR_NOTFOUND;
    const char *end = memchr(rest->ptr, '\n', rest->len);
    size_t n = end ? (size_t)(end - rest->ptr) + 1 : rest->len;
    *line = str_make(rest->ptr, n);
    *rest = str_make(rest->ptr + n, rest->len - n);
    return ERR_OK;
}

static enum err verify(struct world *w, struct str text, struct errinfo *info)
{
    struct audit_export_source source = {next_line, &text};
    struct audit_export_result result;
    return audit_export_verify(&source, &w->key, &result, info);
}

static void test_it_holds(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    if (verify(w, buf_str(&w->text), &info) != ERR_OK)
        fail_msg("%s", info.text);
}

static void test_every_changed_byte_is_found(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    char *bytes = w->text.ptr + w->text.start;
    for (size_t i = 0; i < w->text.len; i += i < 600 ? 1 : 7) {
        bytes[i] ^= 1;
        if (verify(w, buf_str(&w->text), &info) == ERR_OK)
            fail_msg("byte %zu may be changed", i);
        bytes[i] ^= 1;
    }
}

static void test_every_cut_is_found(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    for (size_t n = 0; n < w->text.len; n += 13)
        if (verify(w, str_make(buf_str(&w->text).ptr, n), &info) == ERR_OK)
            fail_msg("cut to %zu bytes it still holds", n);
    /* at a line's end the words say what to do */
    const char *last = memrchr(buf_str(&w->text).ptr, '\n', w->text.len - 1);
    assert_non_null(last);
    assert_int_equal(verify(w,
                         str_make(buf_str(&w->text).ptr,
                             (size_t)(last - buf_str(&w->text).ptr) + 1),
                         &info),
        ERR_CORRUPT);
    assert_non_null(strstr(info.text, "cut short"));
    assert_non_null(strstr(info.text, "--resume"));
}

static void test_a_line_left_out(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    struct str text = buf_str(&w->text);
    struct buf less;
    buf_init(&less, 1 << 22);
    const char *first = memchr(text.ptr, '\n', text.len);
    const char *second =
        memchr(first + 1, '\n', text.len - (size_t)(first + 1 - text.ptr));
    buf_append(&less, text.ptr, (size_t)(first + 1 - text.ptr));
    buf_append(&less, second + 1, text.len - (size_t)(second + 1 - text.ptr));
    assert_int_equal(verify(w, buf_str(&less), &info), ERR_CORRUPT);
    assert_non_null(strstr(info.text, "entry 5 is missing"));
    buf_fini(&less);
}

static void test_what_is_no_export(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    assert_int_equal(verify(w, STR("{\"a\":1}\n"), &info), ERR_SYNTAX);
    assert_non_null(strstr(info.text, "no export of a Bailiff log"));
    assert_int_equal(verify(w, STR("hello\n"), &info), ERR_SYNTAX);
    assert_int_not_equal(verify(w, STR(""), &info), ERR_OK);
}

static void test_another_logs_key(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    struct note_signer other;
    struct note_key own = w->key;
    assert_int_equal(
        note_signer_generate(STR("example.com/other"), &other, &info), ERR_OK);
    w->key = other.key;
    assert_int_equal(verify(w, buf_str(&w->text), &info), ERR_DENIED);
    w->key = own;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_holds),
        cmocka_unit_test(test_every_changed_byte_is_found),
        cmocka_unit_test(test_every_cut_is_found),
        cmocka_unit_test(test_a_line_left_out),
        cmocka_unit_test(test_what_is_no_export),
        cmocka_unit_test(test_another_logs_key),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
