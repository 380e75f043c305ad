/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/jwt/jwt_lines.h - tokens of a stream, one a line, judged one by one:
 * the inside of `bailiff jwt verify`. Apart from the command, because
 * lib/json.h and jansson do not go together in one file. */
#ifndef PROXY_JWT_JWT_LINES_H
#define PROXY_JWT_JWT_LINES_H

#include "proxy/jwt/jwks.h"

#include <stdio.h>

/* As struct jwt_rules of jwt.h has them. */
struct jwt_lines {
    const struct jwks *jwks;
    struct str issuer;
    const struct str *audiences;
    size_t audience_count;
    bool has_now; /* else each line is judged as at its own time */
    int64_t now_us, skew_us, max_age_us;
    bool access_token_type;
    const uint8_t *certificate_sha256;
};

/* Every line is answered by one, an empty one and one that is too long too;
 * bytes of any value may stand in it. ERR_IO, ERR_NOMEM. */
enum err jwt_lines_judge(const struct jwt_lines *lines, int input, FILE *output,
    struct errinfo *info) MUSTCHECK;

#endif
