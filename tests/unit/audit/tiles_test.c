/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/tiles_test.c - paths, widths, bytes, resuming; the golden
 * log of ../shared/vectors where present. */
#include "log_fixture.h"

#include "audit/tiles.h"

#include <sys/stat.h>

#define GOLDEN "../shared/vectors/tlog-golden"

static char dir[64];

static int setup(void **state)
{
    struct errinfo info = {0};
    if (crypto_init(&info) != ERR_OK)
        return -1;
    snprintf(dir, sizeof(dir), "/tmp/tiles-test-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static void test_paths(void **state)
{
    char path[TILE_PATH_MAX];
    tile_path(path, 0, 0, 256);
    assert_string_equal(path, "tile/0/000");
    tile_path(path, 1, 1234067, 256);
    assert_string_equal(path, "tile/1/x001/x234/067");
    tile_path(path, TILE_ENTRIES, 273, 112);
    assert_string_equal(path, "tile/entries/273.p/112");
    tile_path(path, 2, 1000, 1);
    assert_string_equal(path, "tile/2/x001/000.p/1");
    tile_path(path, 0, UINT64_MAX / 256, 256);
    assert_string_equal(path, "tile/0/x072/x057/x594/x037/x927/935");
}

static struct str entry_of(uint64_t index, char out[64])
{
    int n = snprintf(out, 64, "entry %llu", (unsigned long long)index);
    return str_make(out, (size_t)n);
}

static void add(struct tile_writer *writer, struct crypto_hash *hash,
    uint64_t from, uint64_t to, struct merkle_frontier *tree)
{
    struct errinfo info = {0};
    for (uint64_t i = from; i < to; i++) {
        char text[64];
        struct str entry = entry_of(i, text);
        struct merkle_hash leaf;
        merkle_leaf(hash, entry, &leaf);
        if (tree != NULL && i == tree->size)
            merkle_push(tree, hash, &leaf, NULL, NULL);
        if (tile_writer_add(writer, hash, &leaf, NULL, entry, &info) != ERR_OK)
            fail_msg("%s", info.text);
    }
}

static bool exists(const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return file_exists(path);
}

static void check_source(uint64_t size, const struct merkle_frontier *tree)
{
    struct tile_source tiles;
    struct errinfo info = {0};
    tile_source_init(&tiles, dir, size);
    struct merkle_source source = {tile_source_node, &tiles};
    struct merkle_hash root, found;
    merkle_root(tree, NULL, &root);
    if (merkle_root_at(&source, size, &found, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_true(merkle_equal(&root, &found));
    for (uint64_t i = 0; i < size; i += 1 + size / 37) {
        struct merkle_proof proof;
        struct merkle_hash leaf;
        char text[64];
        merkle_leaf(NULL, entry_of(i, text), &leaf);
        if (merkle_prove_inclusion(&source, i, size, &proof, &info) != ERR_OK)
            fail_msg("%s", info.text);
        assert_true(merkle_verify_inclusion(
            i, size, &leaf, proof.hashes, proof.count, &root));
        struct merkle_hash old;
        assert_int_equal(merkle_root_at(&source, i + 1, &old, &info), ERR_OK);
        assert_int_equal(
            merkle_prove_consistency(&source, i + 1, size, &proof, &info),
            ERR_OK);
        assert_true(merkle_verify_consistency(
            i + 1, size, &old, &root, proof.hashes, proof.count));
    }
    struct merkle_proof proof;
    assert_int_equal(
        merkle_prove_inclusion(&source, size, size, &proof, &info), ERR_RANGE);
}

/* 70,000 leaves: the example of the specification. */
static void test_seventy_thousand(void **state)
{
    struct tile_writer *writer;
    struct errinfo info = {0};
    struct crypto_hash *hash = crypto_hash_new();
    struct merkle_frontier tree;
    merkle_init(&tree);
    assert_int_equal(tile_writer_new(dir, &writer, &info), ERR_OK);
    static const uint64_t stops[] = {
        1, 2, 255, 256, 257, 300, 65535, 65536, 65537, 70000};
    uint64_t at = 0;
    for (size_t i = 0; i < sizeof(stops) / sizeof(*stops); i++) {
        add(writer, hash, at, stops[i], &tree);
        at = stops[i];
        if (tile_writer_flush(writer, &info) != ERR_OK)
            fail_msg("%s", info.text);
        assert_int_equal(tile_writer_waiting(writer), 0);
        check_source(at, &tree);
        /* Half of the stops in a new run. */
        if (i % 2 == 0)
            continue;
        struct merkle_hash root;
        merkle_root(&tree, NULL, &root);
        tile_writer_free(&writer);
        assert_int_equal(tile_writer_new(dir, &writer, &info), ERR_OK);
        if (tile_writer_resume(writer, at, &root, &info) != ERR_OK)
            fail_msg("%s", info.text);
        assert_int_equal(tile_writer_next(writer), at - at % 256);
        add(writer, hash, at - at % 256, at, NULL);
    }
    assert_true(exists("tile/0/272"));
    assert_true(exists("tile/0/273.p/112"));
    assert_false(exists("tile/0/273"));
    assert_false(exists("tile/0/000.p"));
    assert_true(exists("tile/1/000"));
    assert_true(exists("tile/1/001.p/17"));
    assert_true(exists("tile/2/000.p/1"));
    assert_false(exists("tile/3"));
    assert_true(exists("tile/entries/272"));
    assert_true(exists("tile/entries/273.p/112"));
    /* A tile that was altered is found out, and replaced when all is added
     * again. */
    char path[160];
    snprintf(path, sizeof(path), "%s/tile/0/273.p/112", dir);
    fixture_flip(path, 40, 1);
    struct merkle_hash root;
    merkle_root(&tree, NULL, &root);
    tile_writer_free(&writer);
    assert_int_equal(tile_writer_new(dir, &writer, &info), ERR_OK);
    assert_int_equal(
        tile_writer_resume(writer, 70000, &root, &info), ERR_CORRUPT);
    assert_int_equal(tile_writer_next(writer), 0);
    add(writer, hash, 0, 70000, NULL);
    assert_int_equal(tile_writer_flush(writer, &info), ERR_OK);
    check_source(70000, &tree);
    /* Other entries than those published. */
    tile_writer_free(&writer);
    assert_int_equal(tile_writer_new(dir, &writer, &info), ERR_OK);
    assert_int_equal(tile_writer_resume(writer, 70000, &root, &info), ERR_OK);
    struct merkle_hash leaf;
    merkle_leaf(hash, STR("other"), &leaf);
    assert_int_equal(
        tile_writer_add(writer, hash, &leaf, NULL, STR("other"), &info),
        ERR_CORRUPT);
    tile_writer_free(&writer);
    crypto_hash_free(&hash);
}

static void test_golden_log(void **state)
{
    if (access(GOLDEN, R_OK) != 0) {
        print_message("%s is absent\n", GOLDEN);
        skip();
    }
    struct buf bundle;
    struct errinfo info = {0};
    struct tile_writer *writer;
    struct crypto_hash *hash = crypto_hash_new();
    buf_init(&bundle, 1 << 20);
    assert_int_equal(
        file_read(GOLDEN "/tile/entries/000.p/15", &bundle, &info), ERR_OK);
    fixture_run("rm -rf %s/tile", dir);
    assert_int_equal(tile_writer_new(dir, &writer, &info), ERR_OK);
    const uint8_t *at = (const uint8_t *)buf_str(&bundle).ptr;
    for (int i = 0; i < 15; i++) {
        size_t n = (size_t)at[0] << 8 | at[1];
        struct str entry = str_make((const char *)at + 2, n);
        struct merkle_hash leaf;
        merkle_leaf(hash, entry, &leaf);
        assert_int_equal(
            tile_writer_add(writer, hash, &leaf, NULL, entry, &info), ERR_OK);
        assert_int_equal(tile_writer_flush(writer, &info), ERR_OK);
        at += 2 + n;
    }
    fixture_run("diff -r %s/tile " GOLDEN "/tile", dir);
    tile_writer_free(&writer);
    crypto_hash_free(&hash);
    buf_fini(&bundle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_seventy_thousand),
        cmocka_unit_test(test_golden_log),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
