/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/blob_test.c - kept content: what is sealed opens with its
 * key and id alone, what is altered is seen, and what is destroyed is gone. */
#include "log_fixture.h"

#include "audit/blob.h"
#include "audit/verify_content.h"
#include "lib/encode.h"
#include "schema/db.h"

#include <sys/stat.h>

#define ID STR("01J9ZQ3V7Y8X6W5T4S3R2Q1P0N")
#define OTHER STR("01J9ZQ3V7Y8X6W5T4S3R2Q1P0M")

static struct seal_key a_key(uint8_t fill)
{
    struct seal_key key = {.id = "00112233445566aa", .month = "2026-11"};
    memset(key.key, fill, sizeof(key.key));
    key.id[0] = (char)('0' + fill % 10);
    return key;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 100000};
    struct crypto_aead *aead = crypto_aead_new();
    struct seal_key key = a_key(7), other = a_key(8);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct blob_commitment c = {0}, again = {0};
        struct buf file, second, out;
        char *text = calloc(1, sizes[i] + 1);
        memset(text, 'x', sizes[i]);
        struct str content = str_make(text, sizes[i]);
        buf_init(&file, 1 << 20);
        buf_init(&second, 1 << 20);
        buf_init(&out, 1 << 20);
        assert_int_equal(
            blob_seal(aead, &key, ID, BLOB_REQUEST, content, &file, &c),
            ERR_OK);
        assert_int_equal(file.len, sizes[i] + BLOB_OVERHEAD);
        assert_int_equal(c.bytes, sizes[i]);
        /* Neither the file nor the commitment tells two of the same apart. */
        assert_int_equal(
            blob_seal(aead, &key, ID, BLOB_REQUEST, content, &second, &again),
            ERR_OK);
        assert_string_not_equal(c.blob, again.blob);
        assert_string_not_equal(c.commitment, again.commitment);
        assert_int_equal(blob_open(aead, &key, ID, BLOB_REQUEST, buf_str(&file),
                             &c, &out, NULL),
            ERR_OK);
        assert_true(str_equal(buf_str(&out), content));
        /* another file, key, id, half; a commitment to something else */
        struct blob_commitment lie = c;
        struct errinfo info = {0};
        buf_clear(&out);
        assert_int_equal(blob_open(aead, &key, ID, BLOB_REQUEST,
                             buf_str(&second), &c, &out, &info),
            ERR_CORRUPT);
        assert_int_equal(blob_open(aead, &other, ID, BLOB_REQUEST,
                             buf_str(&file), &c, &out, &info),
            ERR_CORRUPT);
        assert_int_equal(blob_open(aead, &key, OTHER, BLOB_REQUEST,
                             buf_str(&file), &c, &out, &info),
            ERR_CORRUPT);
        assert_int_equal(blob_open(aead, &key, ID, BLOB_ANSWER, buf_str(&file),
                             &c, &out, &info),
            ERR_CORRUPT);
        memcpy(lie.commitment, again.commitment, sizeof(lie.commitment));
        assert_int_equal(blob_open(aead, &key, ID, BLOB_REQUEST, buf_str(&file),
                             &lie, &out, &info),
            ERR_CORRUPT);
        assert_int_equal(out.len, 0);
        free(text);
        buf_fini(&file);
        buf_fini(&second);
        buf_fini(&out);
    }
    crypto_aead_free(&aead);
}

/* SHA-256(salt | content), as the specification in blob.h says: made here
 * from the opened bytes by hand. */
static void test_commitment_is_salted(void **state)
{
    (void)state;
    struct crypto_aead *aead = crypto_aead_new();
    struct seal_key key = a_key(3);
    struct blob_commitment c = {0};
    struct buf file;
    uint8_t plain[BLOB_SALT_SIZE + 5], digest[SHA256_SIZE];
    char hex[65];
    buf_init(&file, 4096);
    assert_int_equal(
        blob_seal(aead, &key, ID, BLOB_ANSWER, STR("hello"), &file, &c),
        ERR_OK);
    const uint8_t *bytes = (const uint8_t *)buf_str(&file).ptr;
    assert_int_equal(
        crypto_aead_open(aead, key.key, bytes + 4,
            STR("content\n01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\nanswer"),
            bytes + 4 + AEAD_NONCE_SIZE, file.len - 4 - AEAD_NONCE_SIZE, plain),
        ERR_OK);
    assert_memory_equal(plain + BLOB_SALT_SIZE, "hello", 5);
    crypto_sha256(digest, plain, sizeof(plain));
    hex_write(hex, digest, sizeof(digest));
    assert_string_equal(hex, c.commitment);
    buf_fini(&file);
    crypto_aead_free(&aead);
}

static void test_files(void **state)
{
    const struct fixture *fixture = *state;
    struct str key = STR("00aa");
    struct errinfo info = {0};
    struct buf out;
    uint64_t files = 0, bytes = 0;
    uint8_t digest[SHA256_SIZE];
    char hex[65];
    buf_init(&out, 4096);
    assert_int_equal(blob_folder_make(fixture->dir, &info), ERR_OK);
    assert_int_equal(
        blob_read(fixture->dir, key, ID, BLOB_REQUEST, &out, &info),
        ERR_NOTFOUND);
    assert_int_equal(blob_write(fixture->dir, key, ID, BLOB_REQUEST,
                         STR("some bytes"), 0, &info),
        ERR_OK);
    assert_int_equal(blob_write(fixture->dir, key, ID, BLOB_ANSWER,
                         STR("and more"), 0, &info),
        ERR_OK);
    assert_int_equal(
        blob_read(fixture->dir, key, ID, BLOB_REQUEST, &out, &info), ERR_OK);
    assert_true(str_equal(buf_str(&out), STR("some bytes")));
    crypto_sha256(digest, "some bytes", 10);
    hex_write(hex, digest, sizeof(digest));
    assert_int_equal(
        blob_check(fixture->dir, key, ID, BLOB_REQUEST, str_from(hex), &info),
        ERR_OK);
    assert_int_equal(
        blob_check(fixture->dir, key, ID, BLOB_ANSWER, str_from(hex), &info),
        ERR_CORRUPT);
    assert_int_equal(blob_check(fixture->dir, key, OTHER, BLOB_REQUEST,
                         str_from(hex), &info),
        ERR_NOTFOUND);
    /* One id, one file: nothing is overwritten. */
    assert_int_equal(blob_write(fixture->dir, key, ID, BLOB_REQUEST,
                         STR("others"), 0, &info),
        ERR_IO);
    /* Less than the floor would be left. */
    assert_int_equal(blob_write(fixture->dir, key, OTHER, BLOB_REQUEST,
                         STR("x"), UINT64_MAX / 2, &info),
        ERR_FULL);
    assert_int_equal(blob_check(fixture->dir, key, OTHER, BLOB_REQUEST,
                         str_from(hex), &info),
        ERR_NOTFOUND);
    /* What is no name of ours leads to no file. */
    assert_int_not_equal(blob_write(fixture->dir, STR("../x"), ID, BLOB_REQUEST,
                             STR("x"), 0, &info),
        ERR_OK);
    assert_int_not_equal(blob_read(fixture->dir, key, STR("../../lock"),
                             BLOB_REQUEST, &out, &info),
        ERR_OK);
    assert_int_equal(
        blob_remove_key(fixture->dir, key, &files, &bytes, &info), ERR_OK);
    assert_int_equal(files, 2);
    assert_int_equal(bytes, 18);
    assert_int_equal(
        blob_remove_key(fixture->dir, key, &files, &bytes, &info), ERR_OK);
    assert_int_equal(files, 2);
    buf_fini(&out);
}

/* --- Verification ------------------------------------------------------------
 */

struct told {
    size_t faults, notes;
    char id[32];
};

static void on_told(void *context, struct verify_finding *finding)
{
    struct told *told = context;
    if (finding->kind == VERIFY_NOTE)
        told->notes++;
    else
        told->faults++;
    snprintf(told->id, sizeof(told->id), "%s", finding->id);
}

static struct told look(const char *dir, const char *blob, bool destroyed)
{
    struct told told = {0};
    char entry[1024];
    struct content_check *check = content_check_new(dir, on_told, &told);
    assert_non_null(check);
    snprintf(entry, sizeof(entry),
        "{\"attempts\":1,\"bytesOut\":10,\"content\":{\"blob\":\"%s\","
        "\"bytes\":"
        "10,\"commitment\":\"%s\",\"key\":\"00aa\"},\"id\":\"01J9ZQ3V7Y8X6W5T4"
        "S3R2Q1P0N\",\"latency\":{},\"outcome\":\"ok\",\"quotas\":[],\"time\":"
        "\"2026-11-23T08:15:30.123456Z\",\"type\":\"request.completed\","
        "\"usage\":{\"source\":\"none\"},\"v\":1}",
        blob, blob);
    content_check_entry(check, 4, str_from(entry));
    if (destroyed)
        content_check_entry(check, 5,
            STR("{\"actor\":{\"id\":\"\",\"method\":\"root\"},\"detail\":{"
                "\"keys\":[\"00aa\",\"00ab\"]},\"id\":"
                "\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0M\",\"time\":\"2026-11-23T08:15:31."
                "123456Z\",\"type\":\"audit.keys_destroyed\",\"v\":1}"));
    content_check_end(check);
    content_check_free(&check);
    return told;
}

static void test_verification(void **state)
{
    const struct fixture *fixture = *state;
    struct errinfo info = {0};
    uint8_t digest[SHA256_SIZE];
    char hex[65];
    crypto_sha256(digest, "some bytes", 10);
    hex_write(hex, digest, sizeof(digest));
    assert_int_equal(blob_folder_make(fixture->dir, &info), ERR_OK);
    struct told told = look(fixture->dir, hex, false);
    assert_int_equal(told.faults, 1); /* missing */
    assert_string_equal(told.id, "01J9ZQ3V7Y8X6W5T4S3R2Q1P0N");
    told = look(fixture->dir, hex, true);
    assert_int_equal(told.faults, 0); /* erased, on record */
    assert_int_equal(told.notes, 1);
    assert_int_equal(blob_write(fixture->dir, STR("00aa"), ID, BLOB_ANSWER,
                         STR("some bytes"), 0, &info),
        ERR_OK);
    told = look(fixture->dir, hex, false);
    assert_int_equal(told.faults + told.notes, 0);
    hex[0] = hex[0] == 'a' ? 'b' : 'a';
    told = look(fixture->dir, hex, false);
    assert_int_equal(told.faults, 1); /* altered */
}

/* --- Keys of classes
 * ----------------------------------------------------------
 */

static void test_classes_and_destruction(void **state)
{
    const struct fixture *fixture = *state;
    struct errinfo info = {0};
    struct db *persons;
    struct keyring *keyring;
    struct seal_key first, second, again;
    int64_t now = clock_now();
    char path[128];
    snprintf(path, sizeof(path), "%s/persons.db", fixture->dir);
    assert_int_equal(db_open(path, DB_PERSONS, true, &persons, &info), ERR_OK);
    assert_int_equal(keyring_create(fixture->dir, &info), ERR_OK);
    assert_int_equal(
        keyring_open(fixture->dir, persons, &keyring, &info), ERR_OK);
    assert_int_equal(
        keyring_get(keyring, STR("cal_a"), now, &first, &info), ERR_OK);
    assert_int_equal(keyring_get_class(keyring, STR("cal_a"), STR("long"), now,
                         &second, &info),
        ERR_OK);
    assert_string_not_equal(first.id, second.id);
    assert_int_equal(keyring_get_class(keyring, STR("cal_a"), STR("long"), now,
                         &again, &info),
        ERR_OK);
    assert_memory_equal(second.key, again.key, sizeof(again.key));
    assert_int_equal(
        keyring_destroy(keyring, str_from(second.id), &info), ERR_OK);
    assert_int_equal(keyring_find(keyring, str_from(second.id), &again, &info),
        ERR_NOTFOUND);
    assert_true(keyring_is_destroyed(keyring, str_from(second.id), &info));
    assert_false(keyring_is_destroyed(keyring, str_from(first.id), &info));
    assert_false(keyring_is_destroyed(keyring, STR("nobody"), &info));
    /* No other is made in its place; the other class is as it was. */
    assert_int_equal(keyring_get_class(keyring, STR("cal_a"), STR("long"), now,
                         &again, &info),
        ERR_NOTFOUND);
    assert_int_equal(
        keyring_find(keyring, str_from(first.id), &again, &info), ERR_OK);
    /* Nothing is sealed any more for those who were erased. */
    assert_int_equal(
        db_execute(
            persons, "INSERT INTO erased_subject (id) VALUES ('cal_b')", &info),
        ERR_OK);
    assert_int_equal(
        keyring_get(keyring, STR("cal_b"), now, &again, &info), ERR_NOTFOUND);
    keyring_free(&keyring);
    db_close(&persons);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_round_trip, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_commitment_is_salted, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_files, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_verification, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_classes_and_destruction, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
