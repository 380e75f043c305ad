/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/seal.c - the keyring and the boxes.
 *
 * A wrapped key is nonce | ciphertext | tag under the master key, with the
 * row's id, subject, month and class as associated data, so that rows cannot
 * be swapped. A destroyed key leaves its row with an empty `wrapped`: no other
 * key is made in its place. One thread owns a keyring. */
#include "audit/seal.h"

#include "lib/clock.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/must.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYRING_MAGIC 0x6b657972u
#define KEY_CLASS STR("default")
#define WRAPPED_SIZE (AEAD_NONCE_SIZE + AEAD_KEY_SIZE + AEAD_TAG_SIZE)
#define KEY_ID_LENGTH 16

struct keyring {
    unsigned magic;
    struct db *persons; /* kept */
    struct crypto_aead *aead;
    uint8_t master[AEAD_KEY_SIZE];
    uint8_t digest[32];
    char digest_name[8];
    bool in_transaction;
};

/* --- Key files -------------------------------------------------------------
 */

/* A key file is 64 hex digits and a newline. */
static enum err write_key_file(
    const char *dir, const char *name, struct errinfo *info)
{
    uint8_t key[32];
    char text[2 * sizeof(key) + 2];
    char *path = file_join(dir, name);
    if (!path)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    crypto_random(key, sizeof(key));
    hex_write(text, key, sizeof(key));
    text[2 * sizeof(key)] = '\n';
    enum err err =
        file_create(path, str_make(text, 2 * sizeof(key) + 1), 0600, info);
    crypto_wipe(key, sizeof(key));
    crypto_wipe(text, sizeof(text));
    free(path);
    return err;
}

static enum err read_key_file(
    const char *path, uint8_t key[32], struct errinfo *info)
{
    struct buf text;
    struct stat st;
    size_t length = 0;
    buf_init(&text, 256);
    enum err err = file_read(path, &text, info);
    if (err != ERR_OK)
        goto out;
    struct str digits = buf_str(&text);
    if (str_ends(digits, STR("\n")))
        digits.len--;
    if (hex_decode(digits, key, 32, &length) != ERR_OK || length != 32) {
        err = errinfo_set(info, ERR_CORRUPT,
            "%s is no key file (64 hex digits): restore it from a backup",
            path);
        goto out;
    }
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
        log_warn("key_file_readable", "path=%s remedy=\"chmod 600\"", path);
out:
    if (text.ptr)
        crypto_wipe(text.ptr, text.cap);
    buf_fini(&text);
    return err;
}

enum err keyring_create(const char *state_dir, struct errinfo *info)
{
    char *dir = file_join(state_dir, "keys");
    if (!dir)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = file_make_dir(dir, 0700, info);
    if (err == ERR_OK)
        err = write_key_file(dir, "master.key", info);
    if (err == ERR_OK)
        err = write_key_file(dir, "digest-1.key", info);
    free(dir);
    return err;
}

/* What stands in the file of a digest key that was destroyed. */
#define DESTROYED "destroyed\n"

static bool is_destroyed_file(const char *path)
{
    struct buf text;
    buf_init(&text, 256);
    bool destroyed = file_read(path, &text, NULL) == ERR_OK &&
                     str_equal(buf_str(&text), STR(DESTROYED));
    if (text.ptr)
        crypto_wipe(text.ptr, text.cap);
    buf_fini(&text);
    return destroyed;
}

static char *digest_path(const char *state_dir, int64_t number)
{
    char name[48];
    snprintf(name, sizeof(name), "keys/digest-%lld.key", (long long)number);
    return file_join(state_dir, name);
}

/* The digest key with the highest number is the current one; older ones stay
 * so that earlier digests can be compared, until they are destroyed. */
static enum err load_digest_key(
    struct keyring *keyring, const char *dir, struct errinfo *info)
{
    int newest = 0;
    char name[32];
    for (int n = 1; n <= DIGEST_KEYS_MAX; n++) {
        snprintf(name, sizeof(name), "digest-%d.key", n);
        char *path = file_join(dir, name);
        if (!path)
            return errinfo_set(info, ERR_NOMEM, "out of memory");
        bool there = file_exists(path);
        free(path);
        if (!there)
            break;
        newest = n;
    }
    if (newest == 0)
        return errinfo_set(info, ERR_NOTFOUND,
            "%s/digest-1.key is missing: restore it from a backup", dir);
    snprintf(name, sizeof(name), "digest-%d.key", newest);
    snprintf(keyring->digest_name, sizeof(keyring->digest_name), "%d", newest);
    char *path = file_join(dir, name);
    if (!path)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = read_key_file(path, keyring->digest, info);
    free(path);
    return err;
}

enum err keyring_open(const char *state_dir, struct db *persons,
    struct keyring **out, struct errinfo *info)
{
    struct keyring *keyring = calloc(1, sizeof(*keyring));
    char *dir = file_join(state_dir, "keys");
    char *master = dir ? file_join(dir, "master.key") : NULL;
    enum err err = ERR_NOMEM;
    if (!keyring || !master) {
        errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    keyring->magic = KEYRING_MAGIC;
    keyring->persons = persons;
    keyring->aead = crypto_aead_new();
    if (!keyring->aead) {
        errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    err = read_key_file(master, keyring->master, info);
    if (err == ERR_OK)
        err = load_digest_key(keyring, dir, info);
    if (err == ERR_OK) {
        *out = keyring;
        keyring = NULL;
    }
out:
    keyring_free(&keyring);
    free(master);
    free(dir);
    return err;
}

void keyring_free(struct keyring **keyring)
{
    if (!*keyring)
        return;
    if ((*keyring)->in_transaction)
        db_rollback((*keyring)->persons);
    crypto_aead_free(&(*keyring)->aead);
    crypto_wipe(*keyring, sizeof(**keyring));
    free(*keyring);
    *keyring = NULL;
}

/* --- Keys of subjects -------------------------------------------------------
 */

enum err keyring_begin(struct keyring *keyring, struct errinfo *info)
{
    CHECK_MAGIC(keyring, KEYRING_MAGIC);
    MUST(!keyring->in_transaction);
    enum err err = db_begin(keyring->persons, info);
    keyring->in_transaction = err == ERR_OK;
    return err;
}

enum err keyring_end(struct keyring *keyring, struct errinfo *info)
{
    CHECK_MAGIC(keyring, KEYRING_MAGIC);
    MUST(keyring->in_transaction);
    enum err err = db_commit(keyring->persons, info);
    if (err != ERR_OK)
        db_rollback(keyring->persons);
    keyring->in_transaction = false;
    return err;
}

static void month_of(int64_t time_us, char month[8])
{
    struct clock_civil civil;
    clock_civil_utc(time_us, &civil);
    unsigned year = (unsigned)civil.year % 10000;
    unsigned m = (unsigned)civil.month % 100;
    month[0] = (char)('0' + year / 1000);
    month[1] = (char)('0' + year / 100 % 10);
    month[2] = (char)('0' + year / 10 % 10);
    month[3] = (char)('0' + year % 10);
    month[4] = '-';
    month[5] = (char)('0' + m / 10);
    month[6] = (char)('0' + m % 10);
    month[7] = '\0';
}

/* What binds a wrapped key to its row. */
static struct str binding(struct str id, struct str subject, struct str month,
    struct str class, struct buf *text)
{
    buf_printf(text, "%.*s\n%.*s\n%.*s\n%.*s", STR_ARG(id), STR_ARG(subject),
        STR_ARG(month), STR_ARG(class));
    return buf_str(text);
}

/* sealed = nonce | ciphertext | tag, at least that long. */
static enum err open_aead(struct crypto_aead *aead,
    const uint8_t key[AEAD_KEY_SIZE], struct str associated, struct str sealed,
    uint8_t *plain)
{
    const uint8_t *bytes = (const uint8_t *)sealed.ptr;
    return crypto_aead_open(aead, key, bytes, associated,
        bytes + AEAD_NONCE_SIZE, sealed.len - AEAD_NONCE_SIZE, plain);
}

static enum err unwrap(struct keyring *keyring, struct str id,
    struct str subject, struct str month, struct str class, struct str wrapped,
    struct seal_key *out, struct errinfo *info)
{
    if (wrapped.len == 0)
        return errinfo_set(info, ERR_NOTFOUND,
            "sealing key %.*s was destroyed: what it sealed is erased",
            STR_ARG(id));
    struct buf text;
    buf_init(&text, 4096);
    struct str bound = binding(id, subject, month, class, &text);
    enum err err = ERR_CORRUPT;
    if (text.failed)
        err = ERR_NOMEM;
    else if (wrapped.len == WRAPPED_SIZE && id.len < sizeof(out->id) &&
             month.len < sizeof(out->month))
        err =
            open_aead(keyring->aead, keyring->master, bound, wrapped, out->key);
    buf_fini(&text);
    if (err != ERR_OK)
        return errinfo_set(info, err,
            "sealing key %.*s in persons.db cannot be unwrapped: it is "
            "damaged, or keys/master.key is not the one it was made under",
            STR_ARG(id));
    memcpy(out->id, id.ptr, id.len);
    out->id[id.len] = '\0';
    memcpy(out->month, month.ptr, month.len);
    out->month[month.len] = '\0';
    return ERR_OK;
}

static enum err refuse_erased(
    struct keyring *keyring, struct str subject, struct errinfo *info)
{
    struct db_statement *select;
    enum err err = db_prepare(keyring->persons,
        "SELECT 1 FROM erased_subject WHERE id = ?1", &select, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(select, 1, subject);
    err = db_step(select, info);
    db_reset(select);
    if (err == ERR_OK)
        return errinfo_set(info, ERR_NOTFOUND,
            "%.*s was erased: nothing more is sealed for it", STR_ARG(subject));
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err make_key(struct keyring *keyring, struct str subject,
    struct str class, const char *month, struct seal_key *out,
    struct errinfo *info)
{
    enum err refused = refuse_erased(keyring, subject, info);
    if (refused != ERR_OK)
        return refused;
    struct seal_key key = {0};
    uint8_t random[KEY_ID_LENGTH / 2];
    uint8_t wrapped[WRAPPED_SIZE];
    crypto_random(random, sizeof(random));
    hex_write(key.id, random, sizeof(random));
    memcpy(key.month, month, sizeof(key.month));
    crypto_random(key.key, sizeof(key.key));
    crypto_random(wrapped, AEAD_NONCE_SIZE);

    struct buf text;
    buf_init(&text, 4096);
    struct str bound =
        binding(str_from(key.id), subject, str_from(month), class, &text);
    enum err err =
        text.failed
            ? ERR_NOMEM
            : crypto_aead_seal(keyring->aead, keyring->master, wrapped, bound,
                  key.key, sizeof(key.key), wrapped + AEAD_NONCE_SIZE);
    buf_fini(&text);
    if (err != ERR_OK) {
        errinfo_set(info, err, "cannot wrap a sealing key");
        goto out;
    }
    struct db_statement *insert;
    err = db_prepare(keyring->persons,
        "INSERT INTO sealing_key (id, subject, month, class, wrapped) "
        "VALUES (?1, ?2, ?3, ?4, ?5)",
        &insert, info);
    if (err != ERR_OK)
        goto out;
    db_bind_text(insert, 1, str_from(key.id));
    db_bind_text(insert, 2, subject);
    db_bind_text(insert, 3, str_from(month));
    db_bind_text(insert, 4, class);
    db_bind_blob(insert, 5, wrapped, sizeof(wrapped));
    err = db_run(insert, info);
    if (err == ERR_OK)
        *out = key;
out:
    crypto_wipe(&key, sizeof(key));
    return err;
}

enum err keyring_get(struct keyring *keyring, struct str subject,
    int64_t time_us, struct seal_key *out, struct errinfo *info)
{
    return keyring_get_class(keyring, subject, KEY_CLASS, time_us, out, info);
}

enum err keyring_get_class(struct keyring *keyring, struct str subject,
    struct str class, int64_t time_us, struct seal_key *out,
    struct errinfo *info)
{
    CHECK_MAGIC(keyring, KEYRING_MAGIC);
    char month[8];
    struct db_statement *select;
    month_of(time_us, month);
    enum err err = db_prepare(keyring->persons,
        "SELECT id, wrapped FROM sealing_key "
        "WHERE subject = ?1 AND month = ?2 AND class = ?3",
        &select, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(select, 1, subject);
    db_bind_text(select, 2, str_from(month));
    db_bind_text(select, 3, class);
    err = db_step(select, info);
    if (err == ERR_NOTFOUND)
        return make_key(keyring, subject, class, month, out, info);
    if (err != ERR_OK)
        return err;
    err = unwrap(keyring, db_column_text(select, 0), subject, str_from(month),
        class, db_column_blob(select, 1), out, info);
    db_reset(select);
    return err;
}

enum err keyring_find(struct keyring *keyring, struct str key_id,
    struct seal_key *out, struct errinfo *info)
{
    CHECK_MAGIC(keyring, KEYRING_MAGIC);
    struct db_statement *select;
    enum err err = db_prepare(keyring->persons,
        "SELECT subject, month, class, wrapped FROM sealing_key WHERE id = ?1",
        &select, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(select, 1, key_id);
    err = db_step(select, info);
    if (err == ERR_NOTFOUND)
        return errinfo_set(info, ERR_NOTFOUND,
            "persons.db has no sealing key %.*s", STR_ARG(key_id));
    if (err != ERR_OK)
        return err;
    err = unwrap(keyring, key_id, db_column_text(select, 0),
        db_column_text(select, 1), db_column_text(select, 2),
        db_column_blob(select, 3), out, info);
    db_reset(select);
    return err;
}

enum err keyring_destroy(
    struct keyring *keyring, struct str key_id, struct errinfo *info)
{
    CHECK_MAGIC(keyring, KEYRING_MAGIC);
    struct db_statement *update;
    enum err err = db_prepare(keyring->persons,
        "UPDATE sealing_key SET wrapped = x'' WHERE id = ?1", &update, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(update, 1, key_id);
    return db_run(update, info);
}

void keyring_handle_digest(
    const struct keyring *keyring, struct str handle, uint8_t out[32])
{
    static const char purpose[] = "bailiff erased handle";
    uint8_t key[SHA256_SIZE];

    CHECK_MAGIC(keyring, KEYRING_MAGIC);
    crypto_hmac_sha256(key, keyring->master, sizeof(keyring->master), purpose,
        sizeof(purpose) - 1);
    crypto_hmac_sha256(out, key, sizeof(key), handle.ptr, handle.len);
    crypto_wipe(key, sizeof(key));
}

bool keyring_is_destroyed(
    struct keyring *keyring, struct str key_id, struct errinfo *info)
{
    CHECK_MAGIC(keyring, KEYRING_MAGIC);
    struct db_statement *select;
    if (db_prepare(keyring->persons,
            "SELECT length(wrapped) FROM sealing_key WHERE id = ?1", &select,
            info) != ERR_OK)
        return false;
    db_bind_text(select, 1, key_id);
    bool destroyed =
        db_step(select, info) == ERR_OK && db_column_int(select, 0) == 0;
    db_reset(select);
    return destroyed;
}

void keyring_digest_key(
    const struct keyring *keyring, uint8_t key[32], char name[8])
{
    CHECK_MAGIC(keyring, KEYRING_MAGIC);
    memcpy(key, keyring->digest, 32);
    memcpy(name, keyring->digest_name, sizeof(keyring->digest_name));
}

enum err keyring_rotate_digest(struct keyring *keyring, const char *state_dir,
    int64_t *replaced, struct errinfo *info)
{
    CHECK_MAGIC(keyring, KEYRING_MAGIC);
    int64_t now = 0;
    char name[32];
    if (str_to_i64(str_from(keyring->digest_name), &now) != ERR_OK ||
        now >= DIGEST_KEYS_MAX)
        return errinfo_set(info, ERR_LIMIT, "there are %d digest keys already",
            DIGEST_KEYS_MAX);
    char *dir = file_join(state_dir, "keys");
    if (dir == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    snprintf(name, sizeof(name), "digest-%lld.key", (long long)now + 1);
    enum err err = write_key_file(dir, name, info);
    if (err == ERR_OK)
        err = load_digest_key(keyring, dir, info);
    free(dir);
    if (err == ERR_OK)
        *replaced = now;
    return err;
}

/* In place first, so that the old bytes do not stay in a file that nothing
 * names any more. */
static enum err overwrite(const char *path, struct errinfo *info)
{
    uint8_t noise[2 * 32 + 1];
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errinfo_errno(info, ERR_IO, "%s", path);
    crypto_random(noise, sizeof(noise));
    enum err err = file_pwrite(fd, noise, sizeof(noise), 0);
    if (err == ERR_OK && fdatasync(fd) != 0)
        err = ERR_IO;
    if (err != ERR_OK)
        errinfo_errno(info, err, "%s", path);
    close(fd);
    return err;
}

enum err keyring_destroy_digest(struct keyring *keyring, const char *state_dir,
    int64_t number, struct errinfo *info)
{
    CHECK_MAGIC(keyring, KEYRING_MAGIC);
    int64_t now = 0;
    if (str_to_i64(str_from(keyring->digest_name), &now) != ERR_OK ||
        number >= now || number < 1)
        return errinfo_set(info, ERR_INVALID,
            "digest key %lld is the current one, or none", (long long)number);
    char *path = digest_path(state_dir, number);
    if (path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = ERR_OK;
    if (!is_destroyed_file(path)) {
        err = overwrite(path, info);
        if (err == ERR_OK)
            err = file_replace(path, STR(DESTROYED), 0600, info);
    }
    free(path);
    return err;
}

/* --- Boxes -------------------------------------------------------------------
 */

enum err seal_box(struct crypto_aead *aead, const struct seal_key *key,
    struct str id, struct str plain, struct buf *out)
{
    uint8_t nonce[AEAD_NONCE_SIZE];
    if (plain.len > SEAL_PLAIN_MAX)
        return ERR_LIMIT;
    size_t size = plain.len + AEAD_NONCE_SIZE + AEAD_TAG_SIZE;
    uint8_t *box = (uint8_t *)buf_reserve(out, size);
    if (!box)
        return ERR_NOMEM;
    /* Unique is what a nonce must be; 96 random bits per key and month are. */
    crypto_random_id(nonce, sizeof(nonce));
    memcpy(box, nonce, sizeof(nonce));
    enum err err = crypto_aead_seal(
        aead, key->key, nonce, id, plain.ptr, plain.len, box + AEAD_NONCE_SIZE);
    if (err == ERR_OK)
        buf_grew(out, size);
    return err;
}

enum err seal_open(struct crypto_aead *aead, const struct seal_key *key,
    struct str id, struct str box, struct buf *out)
{
    if (box.len < AEAD_NONCE_SIZE + AEAD_TAG_SIZE)
        return ERR_CORRUPT;
    size_t size = box.len - AEAD_NONCE_SIZE - AEAD_TAG_SIZE;
    uint8_t *plain = (uint8_t *)buf_reserve(out, size + 1);
    if (!plain)
        return ERR_NOMEM;
    enum err err = open_aead(aead, key->key, id, box, plain);
    if (err == ERR_OK)
        buf_grew(out, size);
    return err;
}

enum err keyring_digests(const char *state_dir, struct str text,
    uint8_t (*out)[SHA256_SIZE], size_t room, size_t *count,
    struct errinfo *info)
{
    enum err err = ERR_OK;
    *count = 0;
    for (size_t n = 0; err == ERR_OK && n < room; n++) {
        uint8_t key[32];
        char *path = digest_path(state_dir, (int64_t)n + 1);
        if (!path)
            return errinfo_set(info, ERR_NOMEM, "out of memory");
        bool there = file_exists(path);
        bool destroyed = there && is_destroyed_file(path);
        if (there && !destroyed)
            err = read_key_file(path, key, info);
        free(path);
        if (!there)
            break;
        if (err == ERR_OK && !destroyed) {
            crypto_hmac_sha256(
                out[*count], key, sizeof(key), text.ptr, text.len);
            ++*count;
        }
        crypto_wipe(key, sizeof(key));
    }
    if (err == ERR_OK && *count == 0)
        err = errinfo_set(info, ERR_NOTFOUND,
            "%s/keys/digest-1.key is missing: restore it from a backup",
            state_dir);
    return err;
}
