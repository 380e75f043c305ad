/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/staple.h - an OCSP response for the server's own certificate, out of a
 * file that others keep fresh, to be sent in the handshake (RFC 6066, section
 * 8: stapling). For proxy/tls.c, in OpenSSL's types.
 *
 * What is stapled was checked when it was read: it is signed by who issued the
 * certificate, or by a responder to whom that one has delegated it; it is about
 * this certificate; it says that it is good; and it is in force. When it ends
 * nothing is stapled any more. Any thread. */
#ifndef PROXY_STAPLE_H
#define PROXY_STAPLE_H

#include "lib/err.h"

#include <openssl/x509.h>
#include <stdbool.h>

#define STAPLE_MAX (64u * 1024) /* bytes of the file */

struct staple;
/* The certificate, and those that the server sends with it, its issuer's among
 * them (references are taken). A file that is not good is no error: see
 * staple_why. gives *out. ERR_NOMEM. */
enum err staple_new(X509 *certificate, STACK_OF(X509) * chain, const char *file,
    struct staple **out, struct errinfo *info) MUSTCHECK;
void staple_free(struct staple **staple); /* NULL ok */
/* Reads the file again if it is another than before, and sees whether what was
 * read is over. True: what is stapled, or why nothing is, has changed. */
bool staple_look(struct staple *staple);
/* For OPENSSL_free; NULL: nothing is to be stapled now. */
unsigned char *staple_copy(struct staple *staple, size_t *length);
/* Why nothing is stapled, with the file's name; "" while something is.
 * *until_us: then the end of it. */
void staple_why(struct staple *staple, char out[512], int64_t *until_us);

#endif
