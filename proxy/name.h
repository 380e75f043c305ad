/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/name.h - what may be the name of something here: a team, a model, the
 * handle of a caller. Pure; any thread. */
#ifndef PROXY_NAME_H
#define PROXY_NAME_H

#include "lib/str.h"

#define NAME_BYTES_MAX 128

/* 1 to NAME_BYTES_MAX bytes of letters (of any language, as UTF-8), digits and
 * . _ : / @ + -, beginning with a letter or digit. */
bool name_is_good(struct str text);
/* It looks like an opaque id (cal_..., adm_...): no handle does. */
bool name_looks_like_id(struct str text);

#endif
