/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/checkpoint_test.c - keys, signed notes, checkpoints; the
 * golden log of ../shared/vectors where present. */
#include "audit/checkpoint.h"

#include "lib/encode.h"
#include "lib/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define GOLDEN "../shared/vectors/tlog-golden"
#define GOLDEN_KEY                                                             \
    "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5x" \
    "CFkkSx"
#define VECTOR_KEY                                                             \
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"

static int setup(void **state)
{
    struct errinfo info = {0};
    return crypto_init(&info) == ERR_OK ? 0 : -1;
}

static void test_key_vector(void **state)
{
    struct note_key key;
    struct errinfo info = {0};
    assert_int_equal(note_key_parse(STR(VECTOR_KEY), &key, &info), ERR_OK);
    assert_string_equal(key.name, "example.com/foo");
    struct buf text;
    buf_init(&text, 1024);
    note_key_format(&key, &text);
    assert_string_equal(buf_cstr(&text), VECTOR_KEY);
    buf_fini(&text);
}

static void test_bad_keys(void **state)
{
    static const char *const bad[] = {
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+BOkyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
        "example.com/"
        "foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct note_key key;
        struct errinfo info = {0};
        if (note_key_parse(str_from(bad[i]), &key, &info) == ERR_OK)
            fail_msg("%s", bad[i]);
        assert_int_not_equal(strlen(info.text), 0);
    }
    assert_false(note_name_is_valid(STR("a b")));
    assert_false(note_name_is_valid(STR("a\xc2\xa0z")));    /* U+00A0 */
    assert_false(note_name_is_valid(STR("a\xe3\x80\x80"))); /* U+3000 */
    assert_false(note_name_is_valid(STR("a+b")));
    assert_false(note_name_is_valid(STR("")));
    assert_false(note_name_is_valid(STR("\xff")));
    assert_true(note_name_is_valid(STR("b\xc3\xbcro.example/log")));
}

static void sign_text(
    const char *text, const struct note_signer *signer, struct buf *out)
{
    struct errinfo info = {0};
    buf_clear(out);
    assert_int_equal(note_sign(str_from(text), &signer, 1, out, &info), ERR_OK);
}

static void test_sign_and_open(void **state)
{
    struct note_signer signer, other, back;
    struct errinfo info = {0};
    struct buf note, text;
    struct str signed_text;
    buf_init(&note, NOTE_MAX);
    buf_init(&text, 4096);
    assert_int_equal(
        note_signer_generate(STR("example.com/a"), &signer, &info), ERR_OK);
    assert_int_equal(
        note_signer_generate(STR("example.com/a"), &other, &info), ERR_OK);
    note_signer_format(&signer, &text);
    assert_int_equal(note_signer_parse(buf_str(&text), &back, &info), ERR_OK);
    assert_memory_equal(&back, &signer, sizeof(back));
    sign_text("one\n\ntwo\n", &signer, &note);
    assert_int_equal(
        note_open(buf_str(&note), &signer.key, 1, &signed_text, &info), ERR_OK);
    assert_true(str_equal(signed_text, STR("one\n\ntwo\n")));
    /* Same name, other key: not signed by it. */
    assert_int_equal(
        note_open(buf_str(&note), &other.key, 1, &signed_text, &info),
        ERR_DENIED);
    /* Any flipped bit. */
    for (size_t i = 0; i < note.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            note.ptr[note.start + i] ^= (char)(1 << bit);
            if (note_open(buf_str(&note), &signer.key, 1, &signed_text,
                    &info) == ERR_OK)
                fail_msg("bit %d of byte %zu", bit, i);
            note.ptr[note.start + i] ^= (char)(1 << bit);
        }
    }
    /* Any cut. */
    for (size_t n = 0; n < note.len; n++)
        if (note_open(str_make(buf_str(&note).ptr, n), &signer.key, 1,
                &signed_text, &info) == ERR_OK)
            fail_msg("cut to %zu", n);
    /* Two signers; one is enough to know. */
    const struct note_signer *both[] = {&other, &signer};
    buf_clear(&note);
    assert_int_equal(note_sign(STR("x\n"), both, 2, &note, &info), ERR_OK);
    assert_int_equal(
        note_open(buf_str(&note), &signer.key, 1, &signed_text, &info), ERR_OK);
    assert_int_equal(
        note_open(buf_str(&note), &other.key, 1, &signed_text, &info), ERR_OK);
    buf_fini(&note);
    buf_fini(&text);
    note_signer_wipe(&signer);
}

static void test_many_signatures(void **state)
{
    struct note_signer signer, other;
    struct errinfo info = {0};
    struct buf note;
    struct str text;
    buf_init(&note, NOTE_MAX);
    assert_int_equal(
        note_signer_generate(STR("example.com/a"), &signer, &info), ERR_OK);
    assert_int_equal(
        note_signer_generate(STR("example.com/b"), &other, &info), ERR_OK);
    const struct note_signer *all[120];
    for (int i = 0; i < 120; i++)
        all[i] = i == 50 ? &signer : &other;
    assert_int_equal(note_sign(STR("x\n"), all, 100, &note, &info), ERR_OK);
    assert_int_equal(
        note_open(buf_str(&note), &signer.key, 1, &text, &info), ERR_OK);
    buf_clear(&note);
    assert_int_equal(note_sign(STR("x\n"), all, 101, &note, &info), ERR_OK);
    assert_int_equal(
        note_open(buf_str(&note), &signer.key, 1, &text, &info), ERR_LIMIT);
    buf_fini(&note);
}

static void test_checkpoints(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", true},
        {"a\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nmore\n", true},
        {"a\n07\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", false},
        {"a\n+7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", false},
        {"a\n-7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", false},
        {"a\n\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", false},
        {"a\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF==\n", false},
        {"a\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hS\n", false},
        {"a\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", false},
        {"\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", false},
        {"a\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\nb\n", false},
        {"a\n99999999999999999999\n"
         "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
            false},
        {"a\n", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct checkpoint checkpoint;
        struct errinfo info = {0};
        bool good = checkpoint_parse(
                        str_from(cases[i].text), &checkpoint, &info) == ERR_OK;
        if (good != cases[i].good)
            fail_msg("%s", cases[i].text);
        if (!good)
            continue;
        struct buf back;
        buf_init(&back, 4096);
        checkpoint_format(&checkpoint, &back);
        assert_string_equal(buf_cstr(&back), cases[i].text);
        buf_fini(&back);
    }
}

static void test_golden_log(void **state)
{
    if (access(GOLDEN, R_OK) != 0) {
        print_message("%s is absent\n", GOLDEN);
        skip();
    }
    struct note_key key;
    struct errinfo info = {0};
    struct buf bundle, note;
    buf_init(&bundle, 1 << 20);
    buf_init(&note, NOTE_MAX);
    assert_int_equal(note_key_parse(STR(GOLDEN_KEY), &key, &info), ERR_OK);
    assert_int_equal(
        file_read(GOLDEN "/tile/entries/000.p/15", &bundle, &info), ERR_OK);
    struct merkle_frontier tree;
    merkle_init(&tree);
    const uint8_t *at = (const uint8_t *)buf_str(&bundle).ptr;
    for (unsigned size = 0; size <= 15; size++) {
        char path[128];
        snprintf(path, sizeof(path), GOLDEN "/checkpoint.%u", size);
        buf_clear(&note);
        assert_int_equal(file_read(path, &note, &info), ERR_OK);
        struct checkpoint checkpoint;
        if (checkpoint_open(buf_str(&note), &key, &checkpoint, &info) != ERR_OK)
            fail_msg("%s: %s", path, info.text);
        assert_int_equal(checkpoint.size, size);
        struct merkle_hash root, leaf;
        merkle_root(&tree, NULL, &root);
        assert_true(merkle_equal(&root, &checkpoint.root));
        if (size == 15)
            break;
        size_t n = (size_t)at[0] << 8 | at[1];
        merkle_leaf(NULL, str_make((const char *)at + 2, n), &leaf);
        merkle_push(&tree, NULL, &leaf, NULL, NULL);
        at += 2 + n;
    }
    buf_fini(&bundle);
    buf_fini(&note);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_vector),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_sign_and_open),
        cmocka_unit_test(test_many_signatures),
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_golden_log),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
