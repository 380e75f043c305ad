/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/merkle.c - see merkle.h. */
#include "audit/merkle.h"

#include "lib/must.h"

void merkle_leaf(
    struct crypto_hash *hash, struct str entry, struct merkle_hash *out)
{
    static const uint8_t prefix = 0;
    struct crypto_hash *own = NULL;
    if (hash == NULL) {
        own = hash = crypto_hash_new();
        MUST(hash != NULL);
    }
    crypto_hash_begin(hash);
    crypto_hash_update(hash, &prefix, 1);
    crypto_hash_update(hash, entry.ptr, entry.len);
    crypto_hash_end(hash, out->bytes);
    crypto_hash_free(&own);
}

void merkle_node(struct crypto_hash *hash, const struct merkle_hash *left,
    const struct merkle_hash *right, struct merkle_hash *out)
{
    uint8_t bytes[1 + 2 * SHA256_SIZE];
    bytes[0] = 1;
    memcpy(bytes + 1, left->bytes, SHA256_SIZE);
    memcpy(bytes + 1 + SHA256_SIZE, right->bytes, SHA256_SIZE);
    if (hash != NULL)
        crypto_hash_once(hash, out->bytes, bytes, sizeof(bytes));
    else
        crypto_sha256(out->bytes, bytes, sizeof(bytes));
}

void merkle_init(struct merkle_frontier *frontier)
{
    memset(frontier, 0, sizeof(*frontier));
}

unsigned merkle_frontier_count(uint64_t size)
{
    return (unsigned)__builtin_popcountll(size);
}

void merkle_push(struct merkle_frontier *frontier, struct crypto_hash *hash,
    const struct merkle_hash *leaf,
    void (*completed)(void *context, unsigned level, uint64_t index,
        const struct merkle_hash *node),
    void *context)
{
    struct merkle_hash node = *leaf;
    unsigned count = merkle_frontier_count(frontier->size);
    uint64_t index = frontier->size;
    /* As in binary counting: each carry joins two equal subtrees. */
    for (unsigned level = 1; index & 1; level++) {
        index >>= 1;
        merkle_node(hash, &frontier->nodes[--count], &node, &node);
        if (completed != NULL)
            completed(context, level, index, &node);
    }
    frontier->nodes[count] = node;
    frontier->size++;
}

void merkle_root(const struct merkle_frontier *frontier,
    struct crypto_hash *hash, struct merkle_hash *root)
{
    unsigned count = merkle_frontier_count(frontier->size);
    if (count == 0) {
        crypto_sha256(root->bytes, "", 0);
        return;
    }
    *root = frontier->nodes[--count];
    while (count > 0)
        merkle_node(hash, &frontier->nodes[--count], root, root);
}

/* The root of the leaves [first, first + size), where first is a multiple of
 * the smallest power of two >= size: the perfect subtrees, right to left. */
static enum err range_root(const struct merkle_source *source, uint64_t first,
    uint64_t size, struct merkle_hash *out, struct errinfo *info)
{
    bool any = false;
    uint64_t end = first + size;
    while (size > 0) {
        unsigned level = (unsigned)__builtin_ctzll(size);
        end -= UINT64_C(1) << level;
        size -= UINT64_C(1) << level;
        struct merkle_hash node;
        enum err err =
            source->node(source->context, level, end >> level, &node, info);
        if (err != ERR_OK)
            return err;
        if (any)
            merkle_node(NULL, &node, out, out);
        else
            *out = node;
        any = true;
    }
    return ERR_OK;
}

enum err merkle_root_at(const struct merkle_source *source, uint64_t size,
    struct merkle_hash *out, struct errinfo *info)
{
    if (size == 0) {
        crypto_sha256(out->bytes, "", 0);
        return ERR_OK;
    }
    return range_root(source, 0, size, out, info);
}

/* The largest power of two smaller than n; n >= 2. */
static uint64_t split_of(uint64_t n)
{
    return UINT64_C(1) << (63 - __builtin_clzll(n - 1));
}

/* The proofs are written from the root downwards and turned round at the
 * end: RFC 6962 lists the hash next to the leaf first. */
static void reverse(struct merkle_proof *proof)
{
    for (unsigned i = 0; i < proof->count / 2; i++) {
        struct merkle_hash other = proof->hashes[i];
        proof->hashes[i] = proof->hashes[proof->count - 1 - i];
        proof->hashes[proof->count - 1 - i] = other;
    }
}

enum err merkle_prove_inclusion(const struct merkle_source *source,
    uint64_t index, uint64_t size, struct merkle_proof *out,
    struct errinfo *info)
{
    out->count = 0;
    if (index >= size)
        return errinfo_set(info, ERR_RANGE,
            "entry %llu is not in a log of %llu entries",
            (unsigned long long)index, (unsigned long long)size);
    uint64_t first = 0;
    while (size > 1) {
        uint64_t k = split_of(size);
        bool right = index - first >= k;
        enum err err =
            right ? range_root(source, first, k, &out->hashes[out->count], info)
                  : range_root(source, first + k, size - k,
                        &out->hashes[out->count], info);
        if (err != ERR_OK)
            return err;
        out->count++;
        if (right) {
            first += k;
            size -= k;
        } else {
            size = k;
        }
    }
    reverse(out);
    return ERR_OK;
}

enum err merkle_prove_consistency(const struct merkle_source *source,
    uint64_t old_size, uint64_t size, struct merkle_proof *out,
    struct errinfo *info)
{
    out->count = 0;
    if (old_size > size)
        return errinfo_set(info, ERR_RANGE,
            "a log of %llu entries cannot continue one of %llu",
            (unsigned long long)size, (unsigned long long)old_size);
    if (old_size == 0 || old_size == size)
        return ERR_OK;
    /* SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2, unrolled. */
    uint64_t first = 0, m = old_size, n = size;
    bool whole = true;
    enum err err;
    while (m != n) {
        uint64_t k = split_of(n);
        struct merkle_hash *next = &out->hashes[out->count];
        if (m <= k) {
            err = range_root(source, first + k, n - k, next, info);
            n = k;
        } else {
            err = range_root(source, first, k, next, info);
            first += k;
            m -= k;
            n -= k;
            whole = false;
        }
        if (err != ERR_OK)
            return err;
        out->count++;
    }
    if (!whole) {
        err = range_root(source, first, m, &out->hashes[out->count], info);
        if (err != ERR_OK)
            return err;
        out->count++;
    }
    reverse(out);
    return ERR_OK;
}

/* RFC 9162 section 2.1.3.2. */
bool merkle_verify_inclusion(uint64_t index, uint64_t size,
    const struct merkle_hash *leaf, const struct merkle_hash *proof,
    size_t count, const struct merkle_hash *root)
{
    if (index >= size)
        return false;
    uint64_t fn = index, sn = size - 1;
    struct merkle_hash r = *leaf;
    for (size_t i = 0; i < count; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            merkle_node(NULL, &proof[i], &r, &r);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            merkle_node(NULL, &r, &proof[i], &r);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && merkle_equal(&r, root);
}

/* RFC 9162 section 2.1.4.2. */
bool merkle_verify_consistency(uint64_t old_size, uint64_t size,
    const struct merkle_hash *old_root, const struct merkle_hash *root,
    const struct merkle_hash *proof, size_t count)
{
    if (old_size > size)
        return false;
    if (old_size == size)
        return count == 0 && merkle_equal(old_root, root);
    if (old_size == 0)
        return count == 0;
    if (count == 0)
        return false;
    uint64_t fn = old_size - 1, sn = size - 1;
    while (fn & 1) {
        fn >>= 1;
        sn >>= 1;
    }
    /* Where old_size is a power of two, its root begins the path. */
    bool power = (old_size & (old_size - 1)) == 0;
    struct merkle_hash fr = power ? *old_root : proof[0], sr = fr;
    for (size_t i = power ? 0 : 1; i < count; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            merkle_node(NULL, &proof[i], &fr, &fr);
            merkle_node(NULL, &proof[i], &sr, &sr);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            merkle_node(NULL, &sr, &proof[i], &sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && merkle_equal(&fr, old_root) && merkle_equal(&sr, root);
}
