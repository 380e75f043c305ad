/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/world.h - who and what there is when test cases are asked: the
 * world that their document draws, or the directory of the state. */
#ifndef PROXY_RULES_WORLD_H
#define PROXY_RULES_WORLD_H

#include "policy/decide.h"
#include "proxy/snapshot.h"

#include <jansson.h>

struct world;

/* drawn NULL: the snapshot (kept) is the world. With both, a caller of the
 * drawn world that the snapshot knows by its handle goes by its id, as in the
 * stored rules. ERR_INVALID: what is drawn is not right, or there is neither.
 * gives *out. */
enum err world_open(const json_t *drawn, const struct snapshot *snapshot,
    struct world **out, struct errinfo *info) MUSTCHECK;
void world_close(struct world **world);

const struct policy_entities *world_entities(const struct world *world);
const struct clock_zone *world_zone(const struct world *world);
/* The id of a caller by its name or handle. */
bool world_caller(const struct world *world, struct str name, struct str *id);

#define WORLD_TARGETS_MAX 64
struct world_target {
    struct policy_target target;
};
/* Where the model runs; on `engine` alone where that is not empty. `listing`:
 * one target without an engine. False: there is no such model. */
bool world_targets(const struct world *world, struct str model,
    struct str engine, bool listing, struct world_target out[WORLD_TARGETS_MAX],
    size_t *count);

/* "0.7": at most four places. */
bool world_decimal(struct str text, int64_t *ten_thousandths);

#endif
