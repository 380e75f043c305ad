/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/tls.c - OpenSSL over a descriptor BIO of our own. */
#include "proxy/tls.h"

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/must.h"
#include "proxy/staple.h"
#include "proxy/trust_priv.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Senders above us stop at a fraction of this; it only bounds mistakes. */
#define QUEUE_MAX (64u << 20)

struct tls_context {
    _Atomic int references;
    SSL_CTX *ctx;
    SSL_CTX *asking; /* for client certificates */
    BIO_METHOD *method;
    int64_t expires_us;
    struct staple *staple; /* NULL: no file is set */
};

struct tls {
    SSL *ssl;
    struct tls_context *context;
    int fd;
    bool drained; /* the descriptor had nothing more at the last read */
    bool fin;     /* end of file or reset seen */
    bool broken;
    bool unjudged; /* TLS_CERTIFICATES_UNJUDGED */
    const char *why;
    const struct trust *trust; /* judges, while a handshake call runs */
    int64_t now_us;
    struct trust_judgement judgement;
    struct buf queue; /* encrypted bytes the system did not take yet */
};

/* --- The descriptor BIO -------------------------------------------------- */

static int bio_read(BIO *bio, char *out, int n)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->drained) {
        BIO_set_retry_read(bio);
        return -1;
    }
    for (;;) {
        ssize_t got = recv(tls->fd, out, (size_t)n, MSG_DONTWAIT);
        if (got > 0) {
            if (got < n)
                tls->drained = true;
            return (int)got;
        }
        if (got == 0) {
            tls->fin = true;
            return 0;
        }
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            tls->drained = true;
            BIO_set_retry_read(bio);
            return -1;
        }
        tls->fin = true;
        return -1;
    }
}

/* How much of bytes the system takes now; SIZE_MAX when the peer is gone. */
static size_t send_some(int fd, const char *bytes, size_t n)
{
    size_t sent = 0;
    while (sent < n) {
        ssize_t took =
            send(fd, bytes + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (took >= 0) {
            sent += (size_t)took;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        return SIZE_MAX;
    }
    return sent;
}

static int bio_write(BIO *bio, const char *bytes, int n)
{
    struct tls *tls = BIO_get_data(bio);
    size_t sent = 0;
    BIO_clear_retry_flags(bio);
    if (tls->queue.len == 0) {
        sent = send_some(tls->fd, bytes, (size_t)n);
        if (sent == SIZE_MAX) {
            tls->fin = tls->broken = true;
            tls->why = "the peer has closed";
            return -1;
        }
    }
    if (sent < (size_t)n) {
        buf_append(&tls->queue, bytes + sent, (size_t)n - sent);
        if (tls->queue.failed) {
            tls->broken = true;
            tls->why = "out of memory";
            return -1;
        }
    }
    return n;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    switch (command) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    default:
        return 0;
    }
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

/* --- The shared context -------------------------------------------------- */

static int choose_alpn(SSL *ssl, const unsigned char **out,
    unsigned char *out_length, const unsigned char *in, unsigned in_length,
    void *argument)
{
    static const unsigned char http11[] = "\x08http/1.1";
    if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_length,
            http11, sizeof(http11) - 1, in,
            in_length) == OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_OK;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return reason != NULL ? reason : "unknown reason";
}

/* In the middle of the handshake: what is said here becomes the alert. */
static int judge(X509_STORE_CTX *store, void *argument)
{
    SSL *ssl =
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = SSL_get_app_data(ssl);

    if (tls->unjudged) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    if (tls->trust != NULL)
        trust_judge_x509(tls->trust, X509_STORE_CTX_get0_cert(store),
            X509_STORE_CTX_get0_untrusted(store), tls->now_us, &tls->judgement);
    bool good = tls->judgement.verdict == TRUST_GOOD;
    int error = tls->judgement.x509_error;
    X509_STORE_CTX_set_error(store, good ? X509_V_OK
                                    : error == X509_V_OK
                                        ? X509_V_ERR_UNSPECIFIED
                                        : error);
    return good ? 1 : 0;
}

static enum err load_files(struct tls_context *context, SSL_CTX *ctx,
    const char *certificate, const char *key, struct errinfo *info)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1)
        return errinfo_set(info, ERR_INVALID,
            "%s: no certificate chain can be read from it: %s", certificate,
            openssl_reason());
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return errinfo_set(info, ERR_INVALID,
            "%s: no private key can be read from it: %s", key,
            openssl_reason());
    if (SSL_CTX_check_private_key(ctx) != 1)
        return errinfo_set(info, ERR_INVALID,
            "%s is not the key of the certificate in %s", key, certificate);
    X509 *x509 = SSL_CTX_get0_certificate(ctx);
    struct tm end;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(x509), &end) == 1)
        context->expires_us = (int64_t)timegm(&end) * SECOND_US;
    if (context->expires_us < clock_now())
        return errinfo_set(info, ERR_INVALID,
            "%s: the certificate has expired; put a new one in its place",
            certificate);
    return ERR_OK;
}

/* The peer has asked for the certificate's status. */
static int staple_status(SSL *ssl, void *argument)
{
    struct tls_context *context = argument;
    size_t length = 0;
    unsigned char *response = staple_copy(context->staple, &length);

    if (response == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    /* takes it */
    SSL_set_tlsext_status_ocsp_resp(ssl, response, (long)length);
    return SSL_TLSEXT_ERR_OK;
}

static enum err set_staple(
    struct tls_context *context, const char *file, struct errinfo *info)
{
    SSL_CTX *both[] = {context->ctx, context->asking};
    STACK_OF(X509) *chain = NULL;
    if (file[0] == '\0')
        return ERR_OK;
    SSL_CTX_get0_chain_certs(context->ctx, &chain);
    enum err err = staple_new(SSL_CTX_get0_certificate(context->ctx), chain,
        file, &context->staple, info);
    for (int i = 0; err == ERR_OK && i < 2; i++) {
        SSL_CTX_set_tlsext_status_cb(both[i], staple_status);
        SSL_CTX_set_tlsext_status_arg(both[i], context);
    }
    return err;
}

static void set_up(SSL_CTX *ctx, bool asking)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(
        ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(
        ctx, (const unsigned char *)(asking ? "BAILIFF" : "bailiff"), 7);
    SSL_CTX_set_num_tickets(ctx, asking ? 0 : 1);
    if (asking) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_cert_verify_callback(ctx, judge, NULL);
    }
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
}

enum err tls_context_new(const char *certificate, const char *key,
    const char *ocsp, struct tls_context **out, struct errinfo *info)
{
    struct tls_context *context = calloc(1, sizeof(*context));
    if (context == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    atomic_store(&context->references, 1);
    context->ctx = SSL_CTX_new(TLS_server_method());
    context->asking = SSL_CTX_new(TLS_server_method());
    context->method =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "bailiff fd");
    if (context->ctx == NULL || context->asking == NULL ||
        context->method == NULL) {
        tls_context_unref(&context);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    BIO_meth_set_read(context->method, bio_read);
    BIO_meth_set_write(context->method, bio_write);
    BIO_meth_set_ctrl(context->method, bio_control);
    BIO_meth_set_create(context->method, bio_create);
    set_up(context->ctx, false);
    set_up(context->asking, true);
    enum err err = load_files(context, context->ctx, certificate, key, info);
    if (err == ERR_OK)
        err = load_files(context, context->asking, certificate, key, info);
    if (err == ERR_OK)
        err = set_staple(context, ocsp, info);
    if (err != ERR_OK) {
        tls_context_unref(&context);
        return err;
    }
    *out = context;
    return ERR_OK;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    atomic_fetch_add(&context->references, 1);
    return context;
}

void tls_context_unref(struct tls_context **context)
{
    struct tls_context *c = *context;
    *context = NULL;
    if (c == NULL || atomic_fetch_sub(&c->references, 1) != 1)
        return;
    SSL_CTX_free(c->ctx);
    SSL_CTX_free(c->asking);
    staple_free(&c->staple);
    BIO_meth_free(c->method);
    free(c);
}

int64_t tls_context_expires(const struct tls_context *context)
{
    return context->expires_us;
}

bool tls_context_look(struct tls_context *context)
{
    return context->staple != NULL && staple_look(context->staple);
}

void tls_context_staple(
    const struct tls_context *context, char why[512], int64_t *until_us)
{
    why[0] = '\0';
    *until_us = 0;
    if (context->staple != NULL)
        staple_why(context->staple, why, until_us);
}

/* --- One session --------------------------------------------------------- */

struct tls *tls_new(
    struct tls_context *context, int fd, enum tls_certificates certificates)
{
    int verify = certificates == TLS_CERTIFICATES_OFF ? SSL_VERIFY_NONE
                 : certificates == TLS_CERTIFICATES_REQUIRED
                     ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                     : SSL_VERIFY_PEER;
    struct tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return NULL;
    tls->fd = fd;
    tls->why = "";
    tls->unjudged = certificates == TLS_CERTIFICATES_UNJUDGED;
    buf_init(&tls->queue, QUEUE_MAX);
    tls->ssl = SSL_new(
        certificates == TLS_CERTIFICATES_OFF ? context->ctx : context->asking);
    BIO *bio = BIO_new(context->method);
    if (tls->ssl == NULL || bio == NULL) {
        SSL_free(tls->ssl);
        BIO_free(bio);
        free(tls);
        return NULL;
    }
    BIO_set_data(bio, tls);
    SSL_set_app_data(tls->ssl, tls);
    SSL_set_verify(tls->ssl, verify, NULL);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    tls->context = tls_context_ref(context);
    return tls;
}

void tls_free(struct tls **tls)
{
    struct tls *t = *tls;
    if (t == NULL)
        return;
    *tls = NULL;
    SSL_free(t->ssl);
    tls_context_unref(&t->context);
    buf_fini(&t->queue);
    free(t);
}

static enum tls_progress outcome(struct tls *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TLS_WAIT;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_END;
    case SSL_ERROR_SSL:
        tls->broken = true;
        if (ERR_GET_REASON(ERR_peek_last_error()) ==
            SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
            tls->judgement.verdict = TRUST_MISSING;
        tls->why = tls->fin ? "closed without close_notify" : openssl_reason();
        ERR_clear_error();
        return TLS_FAILED;
    default:
        tls->broken = true;
        if (tls->why[0] == '\0')
            tls->why = "the peer has closed";
        ERR_clear_error();
        return TLS_FAILED;
    }
}

enum tls_progress tls_handshake(struct tls *tls)
{
    ERR_clear_error();
    int result = SSL_accept(tls->ssl);
    tls->trust = NULL; /* borrowed for this call */
    return result == 1 ? TLS_DONE : outcome(tls, result);
}

/* --- The client's certificate -------------------------------------------- */

void tls_set_trust(struct tls *tls, const struct trust *trust, int64_t now_us)
{
    tls->trust = trust;
    tls->now_us = now_us;
}

const struct trust_judgement *tls_judgement(const struct tls *tls)
{
    return &tls->judgement;
}

void tls_judge_again(struct tls *tls, const struct trust *trust, int64_t now_us,
    struct trust_judgement *out)
{
    X509 *leaf = SSL_get0_peer_certificate(tls->ssl);

    *out = (struct trust_judgement){.verdict = TRUST_MISSING};
    if (leaf != NULL)
        trust_judge_x509(
            trust, leaf, SSL_get_peer_cert_chain(tls->ssl), now_us, out);
}

enum err tls_certificate(const struct tls *tls, struct arena *arena,
    struct certificate_facts *out, struct errinfo *info)
{
    X509 *leaf = SSL_get0_peer_certificate(tls->ssl);
    unsigned char *der = NULL;
    int n = leaf != NULL ? i2d_X509(leaf, &der) : 0;

    if (leaf == NULL)
        return errinfo_set(info, ERR_NOTFOUND, "no certificate was shown");
    if (n <= 0)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err =
        certificate_read(str_make((char *)der, (size_t)n), arena, out, info);
    OPENSSL_free(der);
    return err;
}

bool tls_fingerprint(struct tls *tls, uint8_t out[32])
{
    X509 *leaf = SSL_get0_peer_certificate(tls->ssl);
    unsigned char *der = NULL;
    int n = leaf != NULL ? i2d_X509(leaf, &der) : 0;

    if (leaf != NULL && n <= 0)
        tls->why = "out of memory";
    if (n > 0)
        crypto_sha256(out, der, (size_t)n);
    OPENSSL_free(der);
    return n > 0;
}

/* --- Reading and writing ------------------------------------------------- */

enum tls_progress tls_read(struct tls *tls, void *out, size_t n, size_t *used)
{
    *used = 0;
    if (tls->broken)
        return TLS_FAILED;
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, out, n, used);
    return result == 1 ? TLS_DONE : outcome(tls, result);
}

bool tls_write(struct tls *tls, const void *bytes, size_t n)
{
    const char *from = bytes;
    if (tls->broken)
        return false;
    ERR_clear_error();
    while (n > 0) {
        size_t written = 0;
        int result = SSL_write_ex(tls->ssl, from, n, &written);
        if (result != 1) {
            /* Our BIO never says "later", so this is the end. */
            (void)outcome(tls, result);
            tls->broken = true;
            return false;
        }
        from += written;
        n -= written;
    }
    return true;
}

void tls_shutdown(struct tls *tls)
{
    if (tls->broken)
        return;
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

size_t tls_queued(const struct tls *tls)
{
    return tls->queue.len;
}

/* A slow reader's backlog is not kept once it is gone. */
static void shrink_queue(struct tls *tls)
{
    buf_fini(&tls->queue);
    buf_init(&tls->queue, QUEUE_MAX);
}

bool tls_flush(struct tls *tls)
{
    struct str waiting = buf_str(&tls->queue);
    if (waiting.len == 0)
        return !tls->broken;
    size_t sent = send_some(tls->fd, waiting.ptr, waiting.len);
    if (sent == SIZE_MAX) {
        tls->fin = tls->broken = true;
        tls->why = "the peer has closed";
        return false;
    }
    buf_consume(&tls->queue, sent);
    if (tls->queue.len == 0 && tls->queue.cap > 64 * 1024)
        shrink_queue(tls);
    return true;
}

void tls_readable(struct tls *tls)
{
    tls->drained = false;
}

bool tls_discard(struct tls *tls)
{
    char bytes[4096];

    for (int i = 0; i < 64; i++) {
        ssize_t got = recv(tls->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (got > 0)
            continue;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        break;
    }
    tls->fin = true; /* or it talks on and on */
    return false;
}

bool tls_peer_gone(const struct tls *tls)
{
    return tls->fin;
}

const char *tls_why(const struct tls *tls)
{
    return tls->why;
}

const char *tls_version(const struct tls *tls)
{
    return SSL_get_version(tls->ssl);
}
