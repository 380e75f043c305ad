/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/tls.h - the one home of SSL_: TLS 1.2 and 1.3 towards callers.
 *
 * One immutable tls_context serves all workers (so that a session ticket of
 * one is good at every other); a tls session belongs to one connection on one
 * worker. The session drives the descriptor through a BIO of our own: a short
 * read means drained (no read that only fetches EAGAIN), and what the system
 * will not take at once waits in a queue, so that tls_write always takes all
 * and the queue's length is the backpressure. No renegotiation, no 0-RTT.
 *
 * Where client certificates are asked for, no session is ever resumed: a
 * ticket would carry yesterday's judgement, and without the chain it could not
 * be judged anew. */
#ifndef PROXY_TLS_H
#define PROXY_TLS_H

#include "lib/err.h"
#include "lib/str.h"
#include "proxy/trust.h"

#include <sys/types.h>

struct tls_context;
/* PEM files: the certificate with its chain, and its key; and the file of an
 * OCSP response (DER) to be stapled, "" for none. That this one is not good is
 * no error: nothing is stapled, see tls_context_staple. gives *out. */
enum err tls_context_new(const char *certificate, const char *key,
    const char *ocsp, struct tls_context **out, struct errinfo *info) MUSTCHECK;
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context **context);
/* When the certificate ends: microseconds since 1970. */
int64_t tls_context_expires(const struct tls_context *context);
/* True: the OCSP response has changed, or is over. Looks at the file; once a
 * while, any thread. */
bool tls_context_look(struct tls_context *context);
/* why: why nothing is stapled, with the file's name; "" when something is, or
 * none is set. *until_us: until when; 0: nothing is. */
void tls_context_staple(
    const struct tls_context *context, char why[512], int64_t *until_us);

enum tls_certificates {
    TLS_CERTIFICATES_OFF = 0, /* none is asked for */
    TLS_CERTIFICATES_OPTIONAL,
    TLS_CERTIFICATES_REQUIRED,
    /* As optional, but nobody judges: that the peer has the key of what it
     * shows is certain, and the caller knows it by tls_fingerprint. */
    TLS_CERTIFICATES_UNJUDGED
};

struct tls;
/* keeps fd (does not close it). NULL: out of memory. */
struct tls *tls_new(
    struct tls_context *context, int fd, enum tls_certificates certificates);
void tls_free(struct tls **tls);
/* Who judges the client's certificate: before each tls_handshake, and again
 * at any time afterwards. borrows trust for the calls in between. */
void tls_set_trust(struct tls *tls, const struct trust *trust, int64_t now_us);
/* What came of it; TRUST_UNJUDGED: none was shown (and none demanded). */
const struct trust_judgement *tls_judgement(const struct tls *tls);
void tls_judge_again(struct tls *tls, const struct trust *trust, int64_t now_us,
    struct trust_judgement *out);
/* ERR_NOTFOUND: none was shown. */
enum err tls_certificate(const struct tls *tls, struct arena *arena,
    struct certificate_facts *out, struct errinfo *info) MUSTCHECK;
/* SHA-256 of what was shown (DER). False: nothing was, or no memory is left to
 * look at it (then tls_why says so). */
bool tls_fingerprint(struct tls *tls, uint8_t out[32]);

enum tls_progress {
    TLS_DONE,  /* handshake complete / bytes read */
    TLS_WAIT,  /* more from the peer is needed */
    TLS_END,   /* close_notify: the peer will send no more */
    TLS_FAILED /* protocol error, reset, or end without close_notify */
};
enum tls_progress tls_handshake(struct tls *tls);
/* *used: bytes put into out. */
enum tls_progress tls_read(struct tls *tls, void *out, size_t n, size_t *used);
/* Encrypts and sends or queues all n bytes. False: the session is broken. */
bool tls_write(struct tls *tls, const void *bytes, size_t n);
/* Sends close_notify. */
void tls_shutdown(struct tls *tls);
/* Encrypted bytes that wait for the descriptor. */
size_t tls_queued(const struct tls *tls);
/* The descriptor may take more: sends from the queue. False: broken. */
bool tls_flush(struct tls *tls);
/* An EPOLLIN edge came: reads may ask the descriptor again. */
void tls_readable(struct tls *tls);
/* Drops what the peer sent and TLS will not read any more. False: that was
 * all, it has closed. */
bool tls_discard(struct tls *tls);
/* The peer's FIN or reset has been seen. */
bool tls_peer_gone(const struct tls *tls);
/* For the log: why the session failed, in a few static words. */
const char *tls_why(const struct tls *tls);
/* "TLSv1.3" */
const char *tls_version(const struct tls *tls);

#endif
