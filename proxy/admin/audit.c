/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/audit.c - reading the log. Every reading is itself an event
 * (audit.queried): who looked at whose requests is part of the record. */
#include "proxy/admin/admin_priv.h"

#include "audit/log.h"

enum err handle_audit_checkpoint(struct admin_call *call)
{
    struct buf text;
    json_t *answer;
    enum err err = admin_event(
        call, "audit.checkpoint_taken", "log", STR(""), NULL, STR(""));

    if (err)
        return err;
    buf_init(&text, 65536);
    err = audit_log_checkpoint(control_log(call->control), &text, &call->info);
    if (!err) {
        answer = json_object();
        admin_set_text(answer, "checkpoint", buf_str(&text));
        err = admin_answer(call, 200, answer);
    }
    buf_fini(&text);
    return err;
}
