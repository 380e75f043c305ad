/* SPDX-License-Identifier: Apache-2.0
 *
 * A witness cosigns what continues what it has seen, and nothing else: each
 * status of tlog-witness, the rule of one step, and what is kept. */
#include "audit/witness.h"

#include "lib/encode.h"
#include "lib/file.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define LEAVES 64
#define ORIGIN "example.com/log"

struct world {
    char dir[64];
    struct witness *witness;
    struct note_signer log, stranger;
    struct merkle_hash leaves[LEAVES], other[LEAVES];
    struct witness_answer answer;
};

static enum err leaf_node(void *context, unsigned level, uint64_t index,
    struct merkle_hash *out, struct errinfo *info)
{
    struct merkle_hash *leaves = context, left, right;
    if (level == 0) {
        *out = leaves[index];
        return ERR_OK;
    }
    enum err err = leaf_node(context, level - 1, 2 * index, &left, info);
    if (err == ERR_OK)
        err = leaf_node(context, level - 1, 2 * index + 1, &right, info);
    if (err == ERR_OK)
        merkle_node(NULL, &left, &right, out);
    return err;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct errinfo info = {0};
    struct buf key;
    if (crypto_init(&info) != ERR_OK)
        return -1;
    snprintf(w->dir, sizeof(w->dir), "/tmp/witness-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    buf_init(&key, 1024);
    buf_init(&w->answer.body, WITNESS_BODY_MAX);
    assert_int_equal(note_signer_generate(STR(ORIGIN), &w->log, &info), 0);
    assert_int_equal(note_signer_generate(STR(ORIGIN), &w->stranger, &info), 0);
    for (int i = 0; i < LEAVES; i++) {
        char text[32];
        int n = snprintf(text, sizeof(text), "leaf %d", i);
        merkle_leaf(NULL, str_make(text, (size_t)n), &w->leaves[i]);
        w->other[i] = w->leaves[i];
    }
    merkle_leaf(NULL, STR("another"), &w->other[3]);
    assert_int_equal(
        witness_create(w->dir, STR("witness.example/w1"), &info), 0);
    note_key_format(&w->log.key, &key);
    assert_int_equal(witness_trust(w->dir, buf_str(&key), &info), 0);
    assert_int_equal(witness_trust(w->dir, buf_str(&key), &info), ERR_EXISTS);
    assert_int_equal(witness_open(w->dir, &w->witness, &info), 0);
    buf_fini(&key);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[128];
    witness_close(&w->witness);
    buf_fini(&w->answer.body);
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    int status = system(command);
    free(w);
    return status;
}

static void checkpoint_of(const struct note_signer *signer,
    struct merkle_hash *leaves, uint64_t size, struct buf *note)
{
    struct merkle_source source = {leaf_node, leaves};
    struct checkpoint checkpoint = {.origin = STR_INIT(ORIGIN), .size = size};
    struct errinfo info = {0};
    struct buf text;
    buf_init(&text, 4096);
    assert_int_equal(
        merkle_root_at(&source, size, &checkpoint.root, &info), ERR_OK);
    checkpoint_format(&checkpoint, &text);
    assert_int_equal(
        note_sign(buf_str(&text), &signer, 1, note, &info), ERR_OK);
    buf_fini(&text);
}

/* The request for `size` entries of `leaves`, with the proof from old. */
static void request_of(const struct note_signer *signer,
    struct merkle_hash *leaves, uint64_t old, uint64_t size, struct buf *out)
{
    struct merkle_source source = {leaf_node, leaves};
    struct witness_request request = {.old_size = old};
    struct merkle_proof proof = {0};
    struct errinfo info = {0};
    struct buf note;
    buf_init(&note, 65536);
    checkpoint_of(signer, leaves, size, &note);
    if (old <= size)
        assert_int_equal(
            merkle_prove_consistency(&source, old, size, &proof, &info), 0);
    request.proof_count = proof.count;
    memcpy(request.proof, proof.hashes, proof.count * sizeof(*proof.hashes));
    request.note = buf_str(&note);
    buf_clear(out);
    witness_request_format(&request, out);
    buf_fini(&note);
}

static int ask(struct world *w, struct str body)
{
    witness_add_checkpoint(w->witness, body, 1679315147, &w->answer);
    return w->answer.status;
}

static int add(struct world *w, const struct note_signer *signer,
    struct merkle_hash *leaves, uint64_t old, uint64_t size)
{
    struct buf body;
    buf_init(&body, WITNESS_BODY_MAX);
    request_of(signer, leaves, old, size, &body);
    int status = ask(w, buf_str(&body));
    buf_fini(&body);
    return status;
}

/* The answer is a good cosignature over the log of `size`. */
static void is_cosigned(struct world *w, uint64_t size)
{
    struct errinfo info = {0};
    struct buf note;
    int64_t time_s = 0;
    buf_init(&note, 65536);
    checkpoint_of(&w->log, w->leaves, size, &note);
    buf_append_str(&note, buf_str(&w->answer.body));
    if (note_cosigned(
            buf_str(&note), witness_key(w->witness), &time_s, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_int_equal(time_s, 1679315147);
    buf_fini(&note);
}

static void test_a_log_that_grows(void **state)
{
    struct world *w = *state;
    assert_int_equal(add(w, &w->log, w->leaves, 0, 5), 200);
    is_cosigned(w, 5);
    assert_int_equal(add(w, &w->log, w->leaves, 5, 5), 200); /* once more */
    assert_int_equal(add(w, &w->log, w->leaves, 5, 37), 200);
    is_cosigned(w, 37);
    /* what is kept outlives the process */
    struct errinfo info = {0};
    struct witness *second = NULL;
    assert_int_equal(witness_open(w->dir, &second, &info), ERR_AGAIN);
    witness_close(&w->witness);
    assert_int_equal(witness_open(w->dir, &w->witness, &info), ERR_OK);
    assert_int_equal(add(w, &w->log, w->leaves, 0, 40), 409);
    assert_string_equal(buf_cstr(&w->answer.body), "37\n");
    assert_string_equal(w->answer.content_type, "text/x.tlog.size");
    assert_int_equal(add(w, &w->log, w->leaves, 37, 64), 200);
}

static void test_what_is_refused(void **state)
{
    struct world *w = *state;
    struct buf body, note;
    struct errinfo info = {0};
    assert_int_equal(add(w, &w->log, w->leaves, 0, 20), 200);
    /* a rollback, told apart: the smaller log, from the truth and from a lie */
    assert_int_equal(add(w, &w->log, w->leaves, 20, 10), 400);
    assert_int_equal(add(w, &w->log, w->leaves, 0, 10), 409);
    assert_string_equal(buf_cstr(&w->answer.body), "20\n");
    /* a split view */
    assert_int_equal(add(w, &w->log, w->other, 20, 20), 422);
    assert_non_null(strstr(w->answer.why.text, "two roots over 20 entries"));
    assert_int_equal(add(w, &w->log, w->other, 20, 30), 422);
    /* another's signature, and a log that nobody asked us to watch */
    assert_int_equal(add(w, &w->stranger, w->leaves, 20, 30), 403);
    struct note_signer foreign;
    struct checkpoint checkpoint = {.origin = STR_INIT("example.org/foreign")};
    const struct note_signer *signer = &foreign;
    buf_init(&body, WITNESS_BODY_MAX);
    buf_init(&note, 4096);
    assert_int_equal(
        note_signer_generate(checkpoint.origin, &foreign, &info), ERR_OK);
    checkpoint_format(&checkpoint, &note);
    buf_append_str(&body, STR("old 0\n\n"));
    assert_int_equal(note_sign(buf_str(&note), &signer, 1, &body, &info), 0);
    assert_int_equal(ask(w, buf_str(&body)), 404);
    /* nothing of that moved anything */
    assert_int_equal(add(w, &w->log, w->leaves, 20, 21), 200);
    buf_fini(&body);
    buf_fini(&note);
}

static void test_malformed_requests(void **state)
{
    static const char *const bad[] = {"", "old", "old \n", "old 1",
        "old 01\n\n", "old -1\n\nx", "old 1\n", "old 0\n\n", "old 0\nx\n\nnote",
        "old 0\n\nnote", "new 0\n\nnote\n", "old 0 \n\nnote\n",
        "old 18446744073709551615\n\nx\n", "old 0\r\n\r\nnote\r\n"};
    struct world *w = *state;
    struct buf many;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (ask(w, str_from(bad[i])) != 400)
            fail_msg("%s", bad[i]);
    /* 64 hashes are one too many */
    buf_init(&many, 65536);
    buf_append_str(&many, STR("old 3\n"));
    for (int i = 0; i < 64; i++)
        buf_append_str(
            &many, STR("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"));
    buf_append_str(&many, STR("\nnote\n"));
    assert_int_equal(ask(w, buf_str(&many)), 400);
    buf_fini(&many);
}

/* Its own record, altered, is an error and no fresh start. */
static void test_a_record_that_was_altered(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1], path[256];
    struct buf record;
    assert_int_equal(add(w, &w->log, w->leaves, 0, 20), 200);
    crypto_sha256(digest, ORIGIN, strlen(ORIGIN));
    hex_write(hex, digest, sizeof(digest));
    snprintf(path, sizeof(path), "%s/checkpoints/%s", w->dir, hex);
    buf_init(&record, 65536);
    assert_int_equal(file_read(path, &record, &info), ERR_OK);
    witness_checkpoint(w->witness, str_from(hex), &w->answer);
    assert_int_equal(w->answer.status, 200);
    assert_true(str_equal(buf_str(&w->answer.body), buf_str(&record)));
    witness_checkpoint(w->witness, STR("../witness.key"), &w->answer);
    assert_int_equal(w->answer.status, 404);
    char *digit = strchr(buf_cstr(&record), '\n') + 1; /* "20" */
    *digit = '1';
    assert_int_equal(file_replace(path, buf_str(&record), 0644, &info), 0);
    assert_int_equal(add(w, &w->log, w->leaves, 10, 30), 500);
    assert_int_equal(add(w, &w->log, w->leaves, 0, 30), 500);
    buf_fini(&record);
}

/* Two at once from the same old size: one of them is told of the other. */
struct racer {
    struct world *w;
    uint64_t size;
    int status;
};

static void *race(void *context)
{
    struct racer *racer = context;
    struct witness_answer answer = {0};
    struct buf body;
    buf_init(&answer.body, WITNESS_BODY_MAX);
    buf_init(&body, WITNESS_BODY_MAX);
    request_of(&racer->w->log, racer->w->leaves, 10, racer->size, &body);
    witness_add_checkpoint(
        racer->w->witness, buf_str(&body), 1679315147, &answer);
    racer->status = answer.status;
    buf_fini(&answer.body);
    buf_fini(&body);
    return NULL;
}

static void test_check_and_store_are_one_step(void **state)
{
    struct world *w = *state;
    struct racer racers[8];
    pthread_t threads[8];
    int good = 0;
    assert_int_equal(add(w, &w->log, w->leaves, 0, 10), 200);
    for (unsigned i = 0; i < 8; i++) {
        racers[i] = (struct racer){.w = w, .size = 20 + i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        good += racers[i].status == 200;
        assert_true(racers[i].status == 200 || racers[i].status == 409);
    }
    assert_int_equal(good, 1);
}

/* The example of tlog-cosignature: the shape of a line. */
static void test_a_cosignature(void **state)
{
    struct world *w = *state;
    struct note_key key;
    struct errinfo info = {0};
    struct buf text, note;
    int64_t time_s;
    buf_init(&text, 4096);
    buf_init(&note, 65536);
    note_key_format(witness_key(w->witness), &text);
    assert_int_equal(note_witness_key_parse(buf_str(&text), &key, &info), 0);
    assert_int_equal(
        note_key_parse(buf_str(&text), &key, &info), ERR_UNSUPPORTED);
    assert_int_equal(add(w, &w->log, w->leaves, 0, 5), 200);
    assert_true(str_starts(
        buf_str(&w->answer.body), STR("\xe2\x80\x94 witness.example/w1 ")));
    /* a log's signature is no cosignature, and the other way round */
    checkpoint_of(&w->log, w->leaves, 5, &note);
    assert_int_equal(
        note_cosigned(buf_str(&note), witness_key(w->witness), &time_s, &info),
        ERR_NOTFOUND);
    buf_append_str(&note, buf_str(&w->answer.body));
    struct checkpoint checkpoint;
    assert_int_equal(
        checkpoint_open(buf_str(&note), &w->log.key, &checkpoint, &info),
        ERR_OK);
    /* one bit of time or signature, and it holds no more */
    size_t line = buf_str(&note).len - 20;
    note.ptr[note.start + line] ^= 1;
    enum err err =
        note_cosigned(buf_str(&note), witness_key(w->witness), &time_s, &info);
    assert_true(err == ERR_DENIED || err == ERR_SYNTAX);
    buf_fini(&text);
    buf_fini(&note);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_log_that_grows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_malformed_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_record_that_was_altered, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_check_and_store_are_one_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_cosignature, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
