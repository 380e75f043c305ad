/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/target.c - reading an engine's URL and finding its address. */
#include "engine/target.h"

#include "lib/arena.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>

static const char *const kind_names[] = {
    [ENGINE_OPENAI] = "openai",
    [ENGINE_LLAMA_SERVER] = "llama-server",
    [ENGINE_VLLM] = "vllm",
    [ENGINE_OLLAMA] = "ollama",
    [ENGINE_TGI] = "tgi",
    [ENGINE_LOCALAI] = "localai",
    [ENGINE_DEMO] = "demo",
};
#define KIND_COUNT (sizeof(kind_names) / sizeof(kind_names[0]))

const char *engine_kind_name(enum engine_kind kind)
{
    return kind_names[kind];
}

bool engine_kind_pools(enum engine_kind kind)
{
    return kind != ENGINE_LLAMA_SERVER;
}

enum err engine_kind_parse(struct str name, enum engine_kind *out)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (str_equal(name, str_from(kind_names[i]))) {
            *out = (enum engine_kind)i;
            return ERR_OK;
        }
    }
    return ERR_NOTFOUND;
}

/* host:port, [v6]:port; the port may be absent. */
static enum err parse_authority(struct arena *arena, struct str authority,
    uint16_t default_port, struct engine_target *out, struct errinfo *info)
{
    struct str host = authority, port = STR("");
    if (str_starts(authority, STR("["))) {
        const char *end = memchr(authority.ptr, ']', authority.len);
        if (end == NULL)
            return errinfo_set(info, ERR_SYNTAX, "engine URL: '[' without ']'");
        host = str_make(authority.ptr + 1, (size_t)(end - authority.ptr) - 1);
        struct str rest = str_make(
            end + 1, authority.len - (size_t)(end + 1 - authority.ptr));
        if (rest.len > 0 && rest.ptr[0] != ':')
            return errinfo_set(
                info, ERR_SYNTAX, "engine URL: ':' expected after ']'");
        port = rest.len > 0 ? str_make(rest.ptr + 1, rest.len - 1) : rest;
    } else {
        str_split(authority, ':', &host, &port);
    }
    uint64_t number = default_port;
    if (port.len > 0 &&
        (str_to_u64(port, &number) != ERR_OK || number == 0 || number > 65535))
        return errinfo_set(info, ERR_SYNTAX,
            "engine URL: '%.*s' is not a port from 1 to 65535", STR_ARG(port));
    if (host.len == 0)
        return errinfo_set(info, ERR_SYNTAX, "engine URL: the host is missing");
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.ptr[i];
        if (c <= ' ' || c >= 127 || strchr("/@?#\"\\<>", c) != NULL)
            return errinfo_set(info, ERR_SYNTAX,
                "engine URL: the host may not hold credentials or character "
                "0x%02x; put the engine's token into a credential file",
                c);
    }
    out->host = arena_cstr(arena, host);
    out->authority = arena_cstr(arena, authority);
    out->port = (uint16_t)number;
    return out->host && out->authority ? ERR_OK : ERR_NOMEM;
}

enum err engine_target_parse_url(struct arena *arena, struct str url,
    struct engine_target *out, struct errinfo *info)
{
    static const struct {
        struct str prefix;
        enum engine_scheme scheme;
        uint16_t port;
    } schemes[] = {
        {STR_INIT("http://"), ENGINE_HTTP, 80},
        {STR_INIT("https://"), ENGINE_HTTPS, 443},
        {STR_INIT("unix:"), ENGINE_UNIX, 0},
    };
    out->url = arena_cstr(arena, url);
    if (out->url == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (!str_starts(url, schemes[i].prefix))
            continue;
        struct str rest = str_make(
            url.ptr + schemes[i].prefix.len, url.len - schemes[i].prefix.len);
        out->scheme = schemes[i].scheme;
        out->base_path = "";
        if (out->scheme == ENGINE_UNIX) {
            if (rest.len == 0 || rest.ptr[0] != '/' ||
                rest.len >= sizeof(((struct sockaddr_un *)0)->sun_path))
                return errinfo_set(info, ERR_SYNTAX,
                    "engine URL '%.*s': an absolute socket path under 108 "
                    "bytes expected after unix:",
                    STR_ARG(url));
            out->host = arena_cstr(arena, rest);
            out->authority = "localhost";
            return out->host ? ERR_OK : ERR_NOMEM;
        }
        const char *slash = memchr(rest.ptr, '/', rest.len);
        struct str authority = rest, path = STR("");
        if (slash != NULL) {
            authority.len = (size_t)(slash - rest.ptr);
            path = str_make(slash, rest.len - authority.len);
        }
        while (path.len > 0 && path.ptr[path.len - 1] == '/')
            path.len--;
        for (size_t k = 0; k < path.len; k++) {
            unsigned char c = (unsigned char)path.ptr[k];
            if (c <= ' ' || c >= 127 || c == '?' || c == '#')
                return errinfo_set(info, ERR_SYNTAX,
                    "engine URL '%.*s': a query, fragment or blank is not "
                    "possible in the base path",
                    STR_ARG(url));
        }
        out->base_path = arena_cstr(arena, path);
        if (out->base_path == NULL)
            return errinfo_set(info, ERR_NOMEM, "out of memory");
        return parse_authority(arena, authority, schemes[i].port, out, info);
    }
    return errinfo_set(info, ERR_SYNTAX,
        "engine URL '%.*s': expected http://HOST:PORT, https://HOST or "
        "unix:/PATH",
        STR_ARG(url));
}

enum err engine_target_resolve(
    struct engine_target *target, struct errinfo *info)
{
    if (target->scheme == ENGINE_HTTPS)
        return ERR_OK; /* libcurl looks it up */
    if (target->scheme == ENGINE_UNIX) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        size_t length = strlen(target->host);
        memcpy(address.sun_path, target->host, length + 1);
        memcpy(&target->address, &address, sizeof(address));
        target->address_length =
            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
        return ERR_OK;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", target->port);
    int failure = getaddrinfo(target->host, port, &hints, &found);
    if (failure != 0 || found == NULL)
        return errinfo_set(info, ERR_NOTFOUND,
            "engine %s: the host '%s' cannot be resolved: %s", target->name,
            target->host, gai_strerror(failure));
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->address_length = found->ai_addrlen;
    freeaddrinfo(found);
    return ERR_OK;
}
