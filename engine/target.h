/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/target.h - an engine as the register knows it. Immutable, part of a
 * snapshot; live figures (health, outstanding) are in engine/pool.h. */
#ifndef ENGINE_TARGET_H
#define ENGINE_TARGET_H

#include "lib/err.h"
#include "lib/str.h"

#include <sys/socket.h>

enum engine_kind {
    ENGINE_OPENAI,
    ENGINE_LLAMA_SERVER,
    ENGINE_VLLM,
    ENGINE_OLLAMA,
    ENGINE_TGI,
    ENGINE_LOCALAI,
    ENGINE_DEMO
};
const char *engine_kind_name(enum engine_kind kind);
enum err engine_kind_parse(struct str name, enum engine_kind *out) MUSTCHECK;
/* May connections to it be kept for the next request? llama-server
 * (cpp-httplib) gives each open connection one of its few threads, an idle one
 * too: whoever comes next would wait until the idle ones time out. */
bool engine_kind_pools(enum engine_kind kind);

enum engine_scheme { ENGINE_HTTP, ENGINE_HTTPS, ENGINE_UNIX };

struct engine_target {
    const char *name;
    enum engine_kind kind;
    enum engine_scheme scheme;
    const char *host; /* HTTP, HTTPS; the socket path for UNIX */
    uint16_t port;
    const char *base_path;  /* "" or "/prefix", without a slash at the end */
    const char *authority;  /* for the Host header: "127.0.0.1:8080" */
    const char *url;        /* as registered */
    const char *credential; /* the engine's own bearer token, or "" */
    const char *ca_file;    /* "" : the system's */
    const char *health_path;
    unsigned weight;
    unsigned max_concurrent;         /* 0: no limit */
    struct sockaddr_storage address; /* HTTP, UNIX: resolved at load */
    socklen_t address_length;
};

/* Parses http://h:p[/base], https://..., unix:/path into its parts; texts go
 * to the arena. ERR_SYNTAX names what is wrong. Does not resolve. */
struct arena;
enum err engine_target_parse_url(struct arena *arena, struct str url,
    struct engine_target *out, struct errinfo *info) MUSTCHECK;
/* Fills address (blocking look-up; numeric hosts do not block). */
enum err engine_target_resolve(
    struct engine_target *target, struct errinfo *info) MUSTCHECK;

#endif
