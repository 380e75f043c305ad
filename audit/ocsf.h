/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/ocsf.h - entries as events of the Open Cybersecurity Schema Framework:
 * version 1.8.0, class API Activity (6003), profile ai_operation.
 *
 * One event for each entry, one line each. An entry that ends a request does
 * not name caller and model again; the writer remembers the admissions it has
 * seen (the last AUDIT_OCSF_OPEN that are not ended) and adds them. Persons
 * are opaque ids, as in the log; addresses are sealed there and absent here.
 * docs/audit.md has the table of what becomes what. One thread. */
#ifndef AUDIT_OCSF_H
#define AUDIT_OCSF_H

#include "lib/buf.h"

#define AUDIT_OCSF_OPEN 4096
#define AUDIT_OCSF_VERSION "1.8.0"

struct audit_ocsf;

/* log_name: the log's origin; copied. gives; NULL: out of memory. */
struct audit_ocsf *audit_ocsf_new(struct str log_name);
void audit_ocsf_free(struct audit_ocsf **ocsf); /* NULL ok */

/* Appends the event of entry `index`, with its newline. An entry that this
 * program does not know is given whole (raw_data), never left out.
 * ERR_NOMEM. */
enum err audit_ocsf_entry(struct audit_ocsf *ocsf, uint64_t index,
    struct str entry, struct buf *out, struct errinfo *info) MUSTCHECK;
/* Remembers an admission without an event: who starts in the middle of a log
 * shows the entries before. */
void audit_ocsf_note(struct audit_ocsf *ocsf, struct str entry);

#endif
