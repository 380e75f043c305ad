/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/merkle_test.c - the tree against the definition of RFC
 * 6962, its vectors, and (where present) the cases of ../shared/vectors. */
#include "audit/merkle.h"

#include "lib/encode.h"
#include "lib/file.h"
#include "lib/json.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define VECTORS "../shared/vectors/merkle"
#define LEAVES 70

static struct merkle_hash leaves[LEAVES];

static int setup(void **state)
{
    struct errinfo info = {0};
    if (crypto_init(&info) != ERR_OK)
        return -1;
    for (int i = 0; i < LEAVES; i++) {
        char text[32];
        int n = snprintf(text, sizeof(text), "leaf %d", i);
        merkle_leaf(NULL, str_make(text, (size_t)n), &leaves[i]);
    }
    return 0;
}

static void from_hex(const char *hex, struct merkle_hash *out)
{
    size_t size;
    assert_int_equal(
        hex_decode(str_from(hex), out->bytes, SHA256_SIZE, &size), ERR_OK);
    assert_int_equal(size, SHA256_SIZE);
}

static void test_rfc_vectors(void **state)
{
    struct merkle_hash hash, expected;
    merkle_leaf(NULL, STR("L123456"), &hash);
    from_hex("395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56",
        &expected);
    assert_memory_equal(&hash, &expected, sizeof(hash));
    struct merkle_frontier tree;
    merkle_init(&tree);
    merkle_root(&tree, NULL, &hash);
    from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        &expected);
    assert_memory_equal(&hash, &expected, sizeof(hash));
    static const char *const inputs[] = {"", "00", "10", "2021", "3031",
        "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
    for (int i = 0; i < 8; i++) {
        uint8_t bytes[32];
        size_t size;
        assert_int_equal(
            hex_decode(str_from(inputs[i]), bytes, sizeof(bytes), &size),
            ERR_OK);
        merkle_leaf(NULL, str_make((const char *)bytes, size), &hash);
        merkle_push(&tree, NULL, &hash, NULL, NULL);
    }
    merkle_root(&tree, NULL, &hash);
    from_hex("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        &expected);
    assert_memory_equal(&hash, &expected, sizeof(hash));
}

/* MTH(D[first : first + n]) word for word. */
static void reference(int first, int n, struct merkle_hash *out)
{
    if (n == 1) {
        *out = leaves[first];
        return;
    }
    int k = 1;
    while (k * 2 < n)
        k *= 2;
    struct merkle_hash left, right;
    reference(first, k, &left);
    reference(first + k, n - k, &right);
    merkle_node(NULL, &left, &right, out);
}

static enum err array_node(void *context, unsigned level, uint64_t index,
    struct merkle_hash *out, struct errinfo *info)
{
    uint64_t size = *(const uint64_t *)context;
    uint64_t first = index << level, n = UINT64_C(1) << level;
    if (first + n > size)
        return errinfo_set(info, ERR_NOTFOUND, "beyond the tree");
    reference((int)first, (int)n, out);
    return ERR_OK;
}

struct completed {
    unsigned count;
};

static void check_completed(void *context, unsigned level, uint64_t index,
    const struct merkle_hash *node)
{
    struct completed *completed = context;
    struct merkle_hash expected;
    reference((int)(index << level), 1 << level, &expected);
    assert_true(merkle_equal(node, &expected));
    completed->count++;
}

static void test_roots(void **state)
{
    struct merkle_frontier tree;
    struct completed completed = {0};
    merkle_init(&tree);
    for (uint64_t size = 1; size <= LEAVES; size++) {
        merkle_push(
            &tree, NULL, &leaves[size - 1], check_completed, &completed);
        struct merkle_hash root, expected;
        reference(0, (int)size, &expected);
        merkle_root(&tree, NULL, &root);
        assert_true(merkle_equal(&root, &expected));
        struct merkle_source source = {array_node, &size};
        assert_int_equal(merkle_root_at(&source, size, &root, NULL), ERR_OK);
        assert_true(merkle_equal(&root, &expected));
    }
    assert_int_equal(completed.count, 35 + 17 + 8 + 4 + 2 + 1);
}

static void test_inclusion(void **state)
{
    for (uint64_t size = 1; size <= LEAVES; size++) {
        struct merkle_source source = {array_node, &size};
        struct merkle_hash root;
        reference(0, (int)size, &root);
        for (uint64_t i = 0; i < size; i++) {
            struct merkle_proof p;
            assert_int_equal(
                merkle_prove_inclusion(&source, i, size, &p, NULL), ERR_OK);
            assert_true(merkle_verify_inclusion(
                i, size, &leaves[i], p.hashes, p.count, &root));
            assert_false(merkle_verify_inclusion(
                i, size, &leaves[(i + 1) % LEAVES], p.hashes, p.count, &root));
            assert_false(merkle_verify_inclusion(
                i, size, &leaves[i], p.hashes, p.count + 1, &root));
            if (p.count == 0)
                continue;
            assert_false(merkle_verify_inclusion(
                i, size, &leaves[i], p.hashes, p.count - 1, &root));
            p.hashes[p.count / 2].bytes[7] ^= 4;
            assert_false(merkle_verify_inclusion(
                i, size, &leaves[i], p.hashes, p.count, &root));
        }
        struct merkle_proof p;
        assert_int_equal(
            merkle_prove_inclusion(&source, size, size, &p, NULL), ERR_RANGE);
    }
}

static void test_consistency(void **state)
{
    for (uint64_t size = 1; size <= LEAVES; size++) {
        struct merkle_source source = {array_node, &size};
        struct merkle_hash root, old_root;
        reference(0, (int)size, &root);
        for (uint64_t old = 1; old <= size; old++) {
            struct merkle_proof p;
            reference(0, (int)old, &old_root);
            assert_int_equal(
                merkle_prove_consistency(&source, old, size, &p, NULL), ERR_OK);
            assert_true(merkle_verify_consistency(
                old, size, &old_root, &root, p.hashes, p.count));
            if (old == size)
                continue;
            assert_false(merkle_verify_consistency(
                old, size, &root, &root, p.hashes, p.count));
            assert_false(merkle_verify_consistency(
                old, size, &old_root, &old_root, p.hashes, p.count));
            assert_false(merkle_verify_consistency(
                old, size, &old_root, &root, p.hashes, p.count - 1));
            assert_false(merkle_verify_consistency(
                old, size, &old_root, &root, p.hashes, p.count + 1));
            p.hashes[p.count - 1].bytes[31] ^= 1;
            assert_false(merkle_verify_consistency(
                old, size, &old_root, &root, p.hashes, p.count));
        }
        struct merkle_proof p;
        assert_int_equal(
            merkle_prove_consistency(&source, size + 1, size, &p, NULL),
            ERR_RANGE);
    }
}

/* --- ../shared/vectors ---------------------------------------------------- */

static unsigned cases;

static bool get_hash(
    const struct json *json, uint32_t at, struct merkle_hash *out)
{
    size_t size;
    return at != JSON_NONE && json_type(json, at) == JSON_STRING &&
           base64_decode(json_raw(json, at), out->bytes, SHA256_SIZE, &size) ==
               ERR_OK &&
           size == SHA256_SIZE;
}

/* What is no number of entries at all is refused too. */
static bool get_number(const struct json *json, const char *key, uint64_t *out)
{
    uint32_t at = json_find(json, 0, str_from(key));
    return at != JSON_NONE && str_to_u64(json_raw(json, at), out) == ERR_OK;
}

static int run_case(
    const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (type != FTW_F || !str_ends(str_from(path), STR(".json")))
        return 0;
    struct buf text;
    struct json json;
    buf_init(&text, 1 << 20);
    assert_int_equal(file_read(path, &text, NULL), ERR_OK);
    struct arena *arena = arena_new(65536, 0);
    assert_int_equal(
        json_parse(arena, buf_str(&text), NULL, &json, NULL), ERR_OK);
    static struct merkle_hash proof[200];
    size_t count = 0;
    bool ok = true;
    uint32_t list = json_find(&json, 0, STR("proof"));
    if (json_type(&json, list) == JSON_ARRAY)
        for (JSON_EACH_ELEMENT(&json, list, item))
            ok = ok && count < 200 && get_hash(&json, item, &proof[count++]);
    struct merkle_hash a, b;
    uint64_t m, n;
    if (json_find(&json, 0, STR("leafIdx")) != JSON_NONE)
        ok = ok && get_hash(&json, json_find(&json, 0, STR("leafHash")), &a) &&
             get_hash(&json, json_find(&json, 0, STR("root")), &b) &&
             get_number(&json, "leafIdx", &m) &&
             get_number(&json, "treeSize", &n) &&
             merkle_verify_inclusion(m, n, &a, proof, count, &b);
    else
        ok = ok && get_hash(&json, json_find(&json, 0, STR("root1")), &a) &&
             get_hash(&json, json_find(&json, 0, STR("root2")), &b) &&
             get_number(&json, "size1", &m) && get_number(&json, "size2", &n) &&
             merkle_verify_consistency(m, n, &a, &b, proof, count);
    bool wanted =
        json_type(&json, json_find(&json, 0, STR("wantErr"))) == JSON_FALSE;
    if (ok != wanted)
        fail_msg("%s", path);
    cases++;
    arena_free(&arena);
    buf_fini(&text);
    return 0;
}

static void test_vectors(void **state)
{
    if (access(VECTORS, R_OK) != 0) {
        print_message("%s is absent\n", VECTORS);
        skip();
    }
    assert_int_equal(nftw(VECTORS "/inclusion", run_case, 8, 0), 0);
    assert_int_equal(nftw(VECTORS "/consistency", run_case, 8, 0), 0);
    assert_true(cases > 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_vectors),
        cmocka_unit_test(test_roots),
        cmocka_unit_test(test_inclusion),
        cmocka_unit_test(test_consistency),
        cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
