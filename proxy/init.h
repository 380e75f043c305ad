/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/init.h - `bailiff init DIR`: a new state directory. */
#ifndef PROXY_INIT_H
#define PROXY_INIT_H

#include "lib/err.h"

#include "proxy/secret.h"

struct init_options {
    const char *dir;
    const char *origin;        /* NULL: HOST/bailiff-<8 random hex> */
    const char *administrator; /* NULL: the user who runs it */
    const char *zone;          /* NULL: the system's, else UTC */
    int require_approvals;
};

struct init_result {
    char origin[256];
    char administrator[129];
    char zone[128];
    char token[SECRET_LENGTH + 1]; /* wipe it */
    size_t rules, teams, groups;
};

/* Keys, log, certificates, databases, starter rules in force, the first
 * administrator, the commented settings. ERR_EXISTS: DIR holds something
 * already. On failure what was made is removed again. */
enum err init_state(const struct init_options *options,
    struct init_result *result, struct errinfo *info) MUSTCHECK;

#endif
