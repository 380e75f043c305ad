/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/address.c - "ADDRESS:PORT" texts to socket addresses and back, and
 * ranges of addresses. Pure. */
#include "proxy/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

enum err address_parse(struct str text, struct sockaddr_storage *out,
    socklen_t *length, struct errinfo *info)
{
    struct sockaddr_storage address;
    struct str host = text, port_text = {NULL, 0};
    bool bracketed = text.len > 0 && text.ptr[0] == '[';
    char host_text[INET6_ADDRSTRLEN];
    uint64_t port;

    for (size_t i = text.len; i > 0; i--)
        if (text.ptr[i - 1] == ':') {
            host = str_make(text.ptr, i - 1);
            port_text = str_make(text.ptr + i, text.len - i);
            break;
        }
    if (port_text.len == 0)
        return errinfo_set(info, ERR_SYNTAX,
            "\"%.*s\" is no ADDRESS:PORT: the port is missing", STR_ARG(text));
    if (str_to_u64(port_text, &port) != ERR_OK || port > 65535)
        return errinfo_set(info, ERR_RANGE,
            "\"%.*s\": the port must be a number from 0 to 65535",
            STR_ARG(text));
    if (bracketed) {
        if (host.len < 2 || host.ptr[host.len - 1] != ']')
            return errinfo_set(info, ERR_SYNTAX,
                "\"%.*s\": the closing bracket is missing", STR_ARG(text));
        host = str_make(host.ptr + 1, host.len - 2);
    }
    if (host.len == 0 || host.len >= sizeof host_text)
        return errinfo_set(info, ERR_SYNTAX,
            "\"%.*s\": write a numeric address before the port, for "
            "instance 127.0.0.1 or [::1]",
            STR_ARG(text));
    memcpy(host_text, host.ptr, host.len);
    host_text[host.len] = '\0';

    memset(&address, 0, sizeof address);
    if (bracketed) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        if (inet_pton(AF_INET6, host_text, &in6->sin6_addr) != 1)
            return errinfo_set(info, ERR_SYNTAX,
                "\"%.*s\": what stands in brackets is no IPv6 address",
                STR_ARG(text));
        *length = sizeof *in6;
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)&address;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, host_text, &in->sin_addr) != 1)
            return errinfo_set(info, ERR_SYNTAX,
                "\"%.*s\": \"%s\" is no numeric address (an IPv4 address, or "
                "an IPv6 address in brackets)",
                STR_ARG(text), host_text);
        *length = sizeof *in;
    }
    *out = address;
    return ERR_OK;
}

void address_format(
    const struct sockaddr_storage *address, char *out, size_t out_size)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(out, out_size, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(out, out_size, "%s:%u", host, ntohs(in->sin_port));
    } else {
        snprintf(out, out_size, "unix");
    }
}

bool address_is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_UNIX)
        return true;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
            return in6->sin6_addr.s6_addr[12] == 127;
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    return false;
}

/* --- Ranges -------------------------------------------------------------- */

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_mapped(const uint8_t bytes[16])
{
    return memcmp(bytes, mapped, sizeof mapped) == 0;
}

/* Is everything behind the first `bits` zero? */
static bool has_no_host(const uint8_t bytes[16], unsigned bits)
{
    for (unsigned i = bits; i < 128; i++)
        if (bytes[i / 8] & (0x80u >> (i % 8)))
            return false;
    return true;
}

enum err address_range_parse(
    struct str text, struct address_range *out, struct errinfo *info)
{
    struct address_range range;
    struct str host, prefix;
    char host_text[INET6_ADDRSTRLEN];
    bool has_prefix = str_split(text, '/', &host, &prefix), v4;
    uint64_t bits;

    if (host.len == 0 || host.len >= sizeof host_text)
        return errinfo_set(info, ERR_SYNTAX,
            "\"%.*s\" is no range of addresses; write 192.0.2.0/24, "
            "2001:db8::/32 or one address",
            STR_ARG(text));
    memcpy(host_text, host.ptr, host.len);
    host_text[host.len] = '\0';
    memcpy(range.bytes, mapped, sizeof mapped);
    v4 = inet_pton(AF_INET, host_text, range.bytes + 12) == 1;
    if (!v4 && inet_pton(AF_INET6, host_text, range.bytes) != 1)
        return errinfo_set(info, ERR_SYNTAX,
            "\"%.*s\": \"%s\" is no numeric address (192.0.2.0 or 2001:db8::)",
            STR_ARG(text), host_text);
    bits = v4 ? 32 : 128;
    if (has_prefix &&
        (str_to_u64(prefix, &bits) != ERR_OK || bits > (v4 ? 32u : 128u)))
        return errinfo_set(info, ERR_RANGE,
            "\"%.*s\": the prefix must be a number from 0 to %d", STR_ARG(text),
            v4 ? 32 : 128);
    range.bits = (uint8_t)(v4 ? bits + 96 : bits);
    if (!has_no_host(range.bytes, range.bits))
        return errinfo_set(info, ERR_INVALID,
            "\"%.*s\": there are bits behind the prefix; write /%d for this "
            "one address, or end the address in zeros",
            STR_ARG(text), v4 ? 32 : 128);
    *out = range;
    return ERR_OK;
}

void address_range_format(
    const struct address_range *range, char *out, size_t out_size)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (is_mapped(range->bytes) && range->bits >= 96) {
        inet_ntop(AF_INET, range->bytes + 12, host, sizeof host);
        snprintf(out, out_size, "%s/%d", host, range->bits - 96);
    } else {
        inet_ntop(AF_INET6, range->bytes, host, sizeof host);
        snprintf(out, out_size, "%s/%d", host, range->bits);
    }
}

bool address_range_has(
    const struct address_range *range, const struct sockaddr *address)
{
    uint8_t bytes[16];
    unsigned whole = range->bits / 8, rest = range->bits % 8;

    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in =
            (const struct sockaddr_in *)(const void *)address;
        memcpy(bytes, mapped, sizeof mapped);
        memcpy(bytes + 12, &in->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 =
            (const struct sockaddr_in6 *)(const void *)address;
        memcpy(bytes, &in6->sin6_addr, 16);
    } else {
        return false;
    }
    /* ::/0 is every IPv6 address, not every IPv4 one, too. */
    if (is_mapped(bytes) && !(is_mapped(range->bytes) && range->bits >= 96))
        return false;
    return memcmp(bytes, range->bytes, whole) == 0 &&
           (rest == 0 ||
               ((bytes[whole] ^ range->bytes[whole]) >> (8 - rest)) == 0);
}
