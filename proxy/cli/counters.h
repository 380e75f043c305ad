/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/counters.h - what others counted: an engine's own counters, or a
 * bill. Pure; any thread. */
#ifndef PROXY_CLI_COUNTERS_H
#define PROXY_CLI_COUNTERS_H

#include "lib/arena.h"

/* -1: does not count that. */
struct counters {
    int64_t requests, input, output;
};

/* Prometheus' text format (0.0.4), of llama-server or vLLM: each counter summed
 * over its labels. False: it has none of the counters that are known. */
bool counters_of_metrics(struct str text, struct counters *out);
/* The sum of one counter's samples; false: there is none. Samples that are no
 * finite number below 2^53 are passed over. */
bool counters_sum(struct str text, struct str name, int64_t *out);

struct bill_row {
    struct str engine;
    struct counters counters;
};
/* A bill as CSV (RFC 4180) with a heading: engine, and at least one of
 * requests, input_tokens, output_tokens; other columns are passed over, rows of
 * one engine added up. *rows in the arena. ERR_SYNTAX: info has the line. */
enum err counters_of_bill(struct arena *arena, struct str text,
    struct bill_row **rows, size_t *count, struct errinfo *info) MUSTCHECK;

#endif
