/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/tiles_build.h - the tiles and bundles of a log that nobody writes any
 * more, from its journal. Signs nothing. */
#ifndef AUDIT_TILES_BUILD_H
#define AUDIT_TILES_BUILD_H

#include "lib/crypto.h"

/* Of the first `size` entries: what a checkpoint of that size covers. */
enum err tiles_build(const char *segments_dir,
    const uint8_t identity[SHA256_SIZE], const char *log_dir, uint64_t size,
    struct errinfo *info) MUSTCHECK;

#endif
