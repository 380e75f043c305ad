/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo.h - `bailiff demo-engine`: a small language model in a process
 * of its own, so that the first command works on any machine.
 *
 * An n-gram model over a short text, behind an OpenAI-compatible API: chat,
 * completions, responses, embeddings, models, tokenise, health. GET /counters
 * tells what the engine was really asked to do. */
#ifndef ENGINE_DEMO_H
#define ENGINE_DEMO_H

/* argv[0] is "demo-engine". Runs until SIGTERM or SIGINT; the exit code. */
int demo_engine_main(int argc, char **argv);

#endif
