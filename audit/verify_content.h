/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify_content.h - are the kept files those that the entries commit
 * to? Fed with every entry in turn; no key is needed. A file that is not there
 * is a fault, unless the log itself says that its key was destroyed. */
#ifndef AUDIT_VERIFY_CONTENT_H
#define AUDIT_VERIFY_CONTENT_H

#include "audit/verify.h"
#include "lib/str.h"

struct content_check;
/* keeps state_dir. told: one finding. gives; NULL: out of memory. */
struct content_check *content_check_new(const char *state_dir,
    void (*told)(void *context, struct verify_finding *finding), void *context);
void content_check_free(struct content_check **check);
/* Cheap for entries without kept content. */
void content_check_entry(
    struct content_check *check, uint64_t index, struct str entry);
/* Whether a file was missing whose key's destruction has not been seen yet. */
bool content_check_is_missing(const struct content_check *check);
/* Of an entry behind those that are checked: only the keys that it says were
 * destroyed. */
void content_check_destroyed(struct content_check *check, struct str entry);
/* After the last entry: what is missing, and why. */
void content_check_end(struct content_check *check);

#endif
