/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/merkle.h - the Merkle tree of RFC 6962 section 2.1, SHA-256.
 *
 * Leaf SHA-256(00 | entry), node SHA-256(01 | left | right), the empty root
 * SHA-256(""). The frontier holds the roots of the perfect subtrees that a
 * tree of its size splits into, largest first: enough to append and to tell
 * the root. Proofs are made from a source of perfect subtrees (tiles, or an
 * array) and verified by the algorithms of RFC 9162 sections 2.1.3.2 and
 * 2.1.4.2. Pure; any thread. */
#ifndef AUDIT_MERKLE_H
#define AUDIT_MERKLE_H

#include "lib/crypto.h"

#define MERKLE_LEVELS 64

struct merkle_hash {
    uint8_t bytes[SHA256_SIZE];
};

static inline bool merkle_equal(
    const struct merkle_hash *a, const struct merkle_hash *b)
{
    return memcmp(a->bytes, b->bytes, SHA256_SIZE) == 0;
}

/* `hash` may be NULL: then a context is made for the call. */
void merkle_leaf(
    struct crypto_hash *hash, struct str entry, struct merkle_hash *out);
void merkle_node(struct crypto_hash *hash, const struct merkle_hash *left,
    const struct merkle_hash *right, struct merkle_hash *out);

struct merkle_frontier {
    uint64_t size;
    /* One for each bit that is set in size, the highest bit first. */
    struct merkle_hash nodes[MERKLE_LEVELS];
};

void merkle_init(struct merkle_frontier *frontier); /* the empty tree */
/* completed, where not NULL, is called for each perfect subtree of two or
 * more leaves that the leaf completes: (level, index) covers the leaves
 * index * 2^level up to (index + 1) * 2^level. */
void merkle_push(struct merkle_frontier *frontier, struct crypto_hash *hash,
    const struct merkle_hash *leaf,
    void (*completed)(void *context, unsigned level, uint64_t index,
        const struct merkle_hash *node),
    void *context);
void merkle_root(const struct merkle_frontier *frontier,
    struct crypto_hash *hash, struct merkle_hash *root);
/* How many hashes the frontier of a tree of this size has. */
unsigned merkle_frontier_count(uint64_t size);

/* Where proofs come from: gives the root of the perfect subtree
 * (level, index); level 0 is the leaves. */
struct merkle_source {
    enum err (*node)(void *context, unsigned level, uint64_t index,
        struct merkle_hash *out, struct errinfo *info);
    void *context;
};

#define MERKLE_PROOF_MAX 128
struct merkle_proof {
    unsigned count;
    struct merkle_hash hashes[MERKLE_PROOF_MAX];
};

/* ERR_RANGE: index >= size, or old_size > size; old_size 0 and equal sizes
 * have the empty proof. */
enum err merkle_prove_inclusion(const struct merkle_source *source,
    uint64_t index, uint64_t size, struct merkle_proof *out,
    struct errinfo *info) MUSTCHECK;
enum err merkle_prove_consistency(const struct merkle_source *source,
    uint64_t old_size, uint64_t size, struct merkle_proof *out,
    struct errinfo *info) MUSTCHECK;
/* The root at an earlier size. */
enum err merkle_root_at(const struct merkle_source *source, uint64_t size,
    struct merkle_hash *out, struct errinfo *info) MUSTCHECK;

/* A proof must be consumed to the last hash. */
bool merkle_verify_inclusion(uint64_t index, uint64_t size,
    const struct merkle_hash *leaf, const struct merkle_hash *proof,
    size_t count, const struct merkle_hash *root);
bool merkle_verify_consistency(uint64_t old_size, uint64_t size,
    const struct merkle_hash *old_root, const struct merkle_hash *root,
    const struct merkle_hash *proof, size_t count);

#endif
