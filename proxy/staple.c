/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/staple.c - see staple.h. */
#include "proxy/staple.h"

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/must.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

/* How far the responder's clock may be ahead. */
#define SKEW_S 300

struct staple {
    X509 *certificate;
    STACK_OF(X509) * chain;
    X509 *issuer; /* in the chain; NULL: it is not */
    char *file;
    pthread_mutex_t mutex; /* all below */
    struct stat seen;      /* of the file when it was read last */
    bool there;            /* then */
    unsigned char *response;
    size_t length; /* 0: none is good */
    int64_t until_us;
    char why[512];
};

/* --- Judging -------------------------------------------------------------- */

static X509 *find_issuer(X509 *certificate, STACK_OF(X509) * chain)
{
    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *one = sk_X509_value(chain, i);
        if (X509_check_issued(one, certificate) == X509_V_OK &&
            X509_verify(certificate, X509_get0_pubkey(one)) == 1)
            return one;
    }
    ERR_clear_error();
    return NULL;
}

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    return reason ? reason : "unknown reason";
}

/* Signed by the issuer, or by one whom it lets sign (extended key usage OCSP
 * signing): the issuer is the only anchor. */
static enum err check_signature(
    const struct staple *staple, OCSP_BASICRESP *basic, struct errinfo *info)
{
    X509_STORE *store = X509_STORE_new();
    enum err err = ERR_NOMEM;

    if (store && X509_STORE_add_cert(store, staple->issuer) == 1 &&
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1)
        err = OCSP_basic_verify(basic, staple->chain, store, 0) == 1
                  ? ERR_OK
                  : errinfo_set(info, ERR_INVALID,
                        "it is not signed by the certificate's issuer, nor by "
                        "a responder of it (%s)",
                        openssl_reason());
    X509_STORE_free(store);
    return err;
}

/* The answer about this certificate; NULL: it is about others. */
static OCSP_SINGLERESP *find_single(
    const struct staple *staple, OCSP_BASICRESP *basic)
{
    OCSP_SINGLERESP *found = NULL;

    for (int i = 0; !found && i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        /* (OpenSSL only reads from it.) */
        OCSP_CERTID *theirs =
            (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(single);
        ASN1_OBJECT *algorithm = NULL;
        const EVP_MD *digest;
        OCSP_CERTID *ours;

        if (OCSP_id_get0_info(NULL, &algorithm, NULL, NULL, theirs) != 1)
            continue;
        digest = EVP_get_digestbyobj(algorithm);
        ours = digest ? OCSP_cert_to_id(
                            digest, staple->certificate, staple->issuer)
                      : NULL;
        if (ours && OCSP_id_cmp(ours, theirs) == 0)
            found = single;
        OCSP_CERTID_free(ours);
    }
    ERR_clear_error();
    return found;
}

static bool to_us(const ASN1_GENERALIZEDTIME *time, int64_t *out)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    *out = (int64_t)timegm(&tm) * SECOND_US;
    return true;
}

static enum err check_single(
    OCSP_SINGLERESP *single, int64_t *until_us, struct errinfo *info)
{
    ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
    int status = OCSP_single_get0_status(single, NULL, NULL, &from, &until);
    char when[CLOCK_TEXT_LENGTH];
    int64_t from_us;

    if (status != V_OCSP_CERTSTATUS_GOOD)
        return errinfo_set(info, ERR_INVALID,
            status == V_OCSP_CERTSTATUS_REVOKED
                ? "the certificate has been REVOKED; put a new one in its place"
                : "its responder does not know the certificate");
    if (!from || !to_us(from, &from_us) || !until || !to_us(until, until_us))
        return errinfo_set(info, ERR_INVALID,
            "it does not say from when until when it is in force (thisUpdate, "
            "nextUpdate)");
    if (from_us > clock_now() + SKEW_S * SECOND_US)
        return errinfo_set(
            info, ERR_INVALID, "it is not in force yet; is the clock right?");
    if (*until_us <= clock_now()) {
        clock_format(when, *until_us);
        return errinfo_set(info, ERR_INVALID,
            "it ended at %.*s; fetch a new one", (int)sizeof when, when);
    }
    return ERR_OK;
}

static enum err check_basic(const struct staple *staple, OCSP_BASICRESP *basic,
    int64_t *until_us, struct errinfo *info)
{
    OCSP_SINGLERESP *single;
    enum err err;

    if (!staple->issuer)
        return errinfo_set(info, ERR_INVALID,
            "it cannot be checked: the certificate's issuer is not in the "
            "server's chain; append the issuer's certificate to that file");
    err = check_signature(staple, basic, info);
    if (err)
        return err;
    single = find_single(staple, basic);
    return single ? check_single(single, until_us, info)
                  : errinfo_set(info, ERR_INVALID,
                        "it is about another certificate than the server's");
}

static enum err check(const struct staple *staple, struct str bytes,
    int64_t *until_us, struct errinfo *info)
{
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    OCSP_RESPONSE *response;
    OCSP_BASICRESP *basic = NULL;
    enum err err;

    ERR_clear_error();
    response = d2i_OCSP_RESPONSE(NULL, &at, (long)bytes.len);
    if (!response || at != (const unsigned char *)bytes.ptr + bytes.len)
        err = errinfo_set(info, ERR_INVALID,
            "it is no OCSP response in DER (`openssl ocsp -respout FILE` "
            "writes one)");
    else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        err = errinfo_set(info, ERR_INVALID, "its responder gave none: %s",
            OCSP_response_status_str(OCSP_response_status(response)));
    else if (!(basic = OCSP_response_get1_basic(response)))
        err = errinfo_set(
            info, ERR_INVALID, "it is of no kind that is known here");
    else
        err = check_basic(staple, basic, until_us, info);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return err;
}

/* --- The file ------------------------------------------------------------- */

static void forget(struct staple *staple)
{
    free(staple->response);
    staple->response = NULL;
    staple->length = 0;
}

/* With the mutex. */
static void read_response(struct staple *staple)
{
    struct errinfo info = {0};
    struct buf bytes;
    enum err err;

    forget(staple);
    staple->why[0] = '\0';
    buf_init(&bytes, STAPLE_MAX);
    err = file_read(staple->file, &bytes, &info); /* (names the file) */
    if (err) {
        snprintf(staple->why, sizeof staple->why, "%.500s",
            info.text[0] ? info.text : err_name(err));
    } else {
        err = check(staple, buf_str(&bytes), &staple->until_us, &info);
        if (!err && !(staple->response = malloc(bytes.len)))
            err = errinfo_set(&info, ERR_NOMEM, "out of memory");
        if (err)
            snprintf(staple->why, sizeof staple->why, "%.250s: %.250s",
                staple->file, info.text[0] ? info.text : err_name(err));
    }
    if (!err) {
        memcpy(staple->response, buf_str(&bytes).ptr, bytes.len);
        staple->length = bytes.len;
    }
    buf_fini(&bytes);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
           a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* With the mutex. */
static void say_over(const struct staple *staple, char *out, size_t size)
{
    char when[CLOCK_TEXT_LENGTH];

    clock_format(when, staple->until_us);
    snprintf(out, size, "%.250s: it ended at %.*s; fetch a new one",
        staple->file, (int)sizeof when, when);
}

bool staple_look(struct staple *staple)
{
    struct stat now;
    bool there = stat(staple->file, &now) == 0, changed = false;

    pthread_mutex_lock(&staple->mutex);
    /* (The file's state is taken before it is read: what is written in between
     * is seen at the next look.) */
    if (there != staple->there ||
        (there && !is_same_file(&now, &staple->seen))) {
        staple->there = there;
        if (there)
            staple->seen = now;
        read_response(staple);
        changed = true;
    } else if (staple->length > 0 && clock_now() >= staple->until_us) {
        say_over(staple, staple->why, sizeof staple->why);
        forget(staple);
        changed = true;
    }
    pthread_mutex_unlock(&staple->mutex);
    return changed;
}

/* --- Life ----------------------------------------------------------------- */

enum err staple_new(X509 *certificate, STACK_OF(X509) * chain, const char *file,
    struct staple **out, struct errinfo *info)
{
    struct staple *staple = calloc(1, sizeof *staple);

    if (!staple)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    MUST(pthread_mutex_init(&staple->mutex, NULL) == 0);
    staple->file = strdup(file);
    staple->chain = chain ? X509_chain_up_ref(chain) : NULL;
    if (X509_up_ref(certificate) == 1)
        staple->certificate = certificate;
    if (!staple->file || !staple->certificate || (chain && !staple->chain)) {
        staple_free(&staple);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    staple->issuer = find_issuer(staple->certificate, staple->chain);
    if (!staple_look(staple))
        read_response(staple); /* it is not there: to say so */
    *out = staple;
    return ERR_OK;
}

void staple_free(struct staple **staple_ref)
{
    struct staple *staple = *staple_ref;

    if (!staple)
        return;
    forget(staple);
    X509_free(staple->certificate);
    sk_X509_pop_free(staple->chain, X509_free);
    free(staple->file);
    pthread_mutex_destroy(&staple->mutex);
    free(staple);
    *staple_ref = NULL;
}

/* --- What is stapled ------------------------------------------------------ */

unsigned char *staple_copy(struct staple *staple, size_t *length)
{
    unsigned char *copy = NULL;

    pthread_mutex_lock(&staple->mutex);
    if (staple->length > 0 && clock_now() < staple->until_us) {
        copy = OPENSSL_memdup(staple->response, staple->length);
        *length = staple->length;
    }
    pthread_mutex_unlock(&staple->mutex);
    return copy;
}

void staple_why(struct staple *staple, char out[512], int64_t *until_us)
{
    pthread_mutex_lock(&staple->mutex);
    if (staple->length > 0 && clock_now() >= staple->until_us)
        say_over(staple, out, 512); /* (staple_look sees it for itself) */
    else
        snprintf(out, 512, "%s", staple->why);
    *until_us = out[0] ? 0 : staple->until_us;
    pthread_mutex_unlock(&staple->mutex);
}
