/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/check.h - `bailiff check DIR`: validates settings, files, databases,
 * rules, engines and the log without serving. */
#ifndef PROXY_CHECK_H
#define PROXY_CHECK_H

#include <stdbool.h>
#include <stdio.h>

struct check_options {
    const char *dir;
    bool adopt; /* accept a control state that was edited; needs the lock */
    const char *reason;
};

/* Prints "error: ...", "warning: ..." lines and a last line with their
 * numbers. 0: no errors; 1: errors. */
int check_state(const struct check_options *options, FILE *out);

#endif
