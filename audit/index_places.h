/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_places.h - which fields of a request can be searched by, and how
 * finely: table `place` of an index file notes for each value the blocks of
 * 2^shift entries that have it.
 *
 * A fine block costs a write for nearly every row, a coarse one has a search
 * read rows that do not fit. So fields with many values are fine, and those
 * with few are coarse. */
#ifndef AUDIT_INDEX_PLACES_H
#define AUDIT_INDEX_PLACES_H

#include <stdint.h>

/* The numbers stand in files; an index of another version is rebuilt. */
enum place_field {
    PLACE_NONE = 0, /* not searched by */
    PLACE_CALLER,
    PLACE_KEY,
    PLACE_TEAM,
    PLACE_POLICY,
    PLACE_MODEL,
    PLACE_ENGINE,
    PLACE_ROUTE,
    PLACE_PERMITTED,
    PLACE_STATUS,
    PLACE_OUTCOME,
    PLACE_CODE,
    PLACE_FIELDS
};
#define PLACE_STATUS_TEXT "9" /* PLACE_STATUS, within SQL */
_Static_assert(PLACE_STATUS == 9, "PLACE_STATUS_TEXT");

static inline unsigned place_shift(enum place_field field)
{
    if (field == PLACE_CALLER || field == PLACE_KEY)
        return 3;
    /* What goes wrong is rare, and asked for together with other fields. */
    if (field >= PLACE_PERMITTED || field == PLACE_ENGINE)
        return 4;
    return 6;
}

#endif
