/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/extension_ip.c - IP addresses and ranges: parse, print, compare
 * and the tests of the language.
 *
 * Not here: the call table (functions.c). The system's own address parser is
 * not used: it takes dotted version 6 and leading zeros, which Cedar refuses.
 * Pure; any thread. */
#include "policy/cedar/extension.h"

#define GROUPS 8

static bool refuse(const char **reason, const char *words)
{
    if (reason) {
        *reason = words;
    }
    return false;
}

static unsigned width_of(const struct cedar_ip *ip)
{
    return ip->version == 4 ? 32 : 128;
}

static bool parse_v4(struct str text, struct cedar_ip *out)
{
    size_t at = 0;
    for (unsigned octet = 0; octet < 4; octet++) {
        if (octet > 0) {
            if (at == text.len || text.ptr[at] != '.') {
                return false;
            }
            at++;
        }
        unsigned value = 0;
        size_t digits = 0;
        while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9') {
            value = value * 10 + (unsigned)(text.ptr[at] - '0');
            at++;
            if (++digits > 3) {
                return false;
            }
        }
        bool leading_zero = digits > 1 && text.ptr[at - digits] == '0';
        if (digits == 0 || leading_zero || value > 255) {
            return false;
        }
        out->bytes[octet] = (uint8_t)value;
    }
    out->version = 4;
    out->prefix = 32;
    return at == text.len;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* Reads up to `limit` groups separated by single colons and gives their
 * number; *at stands behind the last group that was read whole. */
static unsigned read_groups(
    struct str text, size_t *at, uint16_t *groups, unsigned limit)
{
    unsigned count = 0;
    while (count < limit) {
        size_t p = *at;
        if (count > 0) {
            if (p == text.len || text.ptr[p] != ':') {
                break;
            }
            p++;
        }
        unsigned value = 0;
        size_t digits = 0;
        while (p < text.len && digits < 4 && hex_value(text.ptr[p]) >= 0) {
            value = value * 16 + (unsigned)hex_value(text.ptr[p]);
            p++;
            digits++;
        }
        if (digits == 0) {
            break;
        }
        groups[count++] = (uint16_t)value;
        *at = p;
    }
    return count;
}

static bool parse_v6(struct str text, struct cedar_ip *out)
{
    uint16_t groups[GROUPS] = {0};
    size_t at = 0;
    unsigned head = read_groups(text, &at, groups, GROUPS);
    if (head < GROUPS) {
        if (text.len - at < 2 || memcmp(text.ptr + at, "::", 2) != 0) {
            return false;
        }
        at += 2;
        /* The double colon stands for one group at least. */
        uint16_t tail[GROUPS] = {0};
        unsigned count = read_groups(text, &at, tail, GROUPS - 1 - head);
        for (unsigned i = 0; i < count; i++) {
            groups[GROUPS - count + i] = tail[i];
        }
    }
    for (unsigned i = 0; i < GROUPS; i++) {
        out->bytes[2 * i] = (uint8_t)(groups[i] >> 8);
        out->bytes[2 * i + 1] = (uint8_t)(groups[i] & 0xff);
    }
    out->version = 6;
    out->prefix = 128;
    return at == text.len;
}

bool cedar_ip_parse(struct str text, struct cedar_ip *out, const char **reason)
{
    struct str address, prefix;
    bool ranged = str_split(text, '/', &address, &prefix);
    struct cedar_ip ip = {0};
    if (!parse_v4(address, &ip)) {
        ip = (struct cedar_ip){0};
        if (!parse_v6(address, &ip)) {
            return refuse(reason,
                "not an IP address or range such as "
                "\"10.0.0.1\", \"10.0.0.0/8\" or \"fe80::/10\"");
        }
    }
    if (ranged) {
        unsigned value = 0;
        if (prefix.len == 0 || prefix.len > 3 ||
            (prefix.len > 1 && prefix.ptr[0] == '0')) {
            return refuse(reason, "the prefix length after the slash must be a "
                                  "number without leading zeros");
        }
        for (size_t i = 0; i < prefix.len; i++) {
            if (prefix.ptr[i] < '0' || prefix.ptr[i] > '9') {
                return refuse(
                    reason, "the prefix length after the slash is no number");
            }
            value = value * 10 + (unsigned)(prefix.ptr[i] - '0');
        }
        if (value > width_of(&ip)) {
            return refuse(reason, ip.version == 4
                                      ? "the prefix length is above 32"
                                      : "the prefix length is above 128");
        }
        ip.prefix = (uint8_t)value;
    }
    *out = ip;
    return true;
}

/* The longest run of two or more zero groups, the first of equals. */
static void longest_zero_run(
    const uint16_t *groups, unsigned *start, unsigned *length)
{
    *start = GROUPS;
    *length = 1;
    for (unsigned i = 0; i < GROUPS;) {
        unsigned run = 0;
        while (i + run < GROUPS && groups[i + run] == 0) {
            run++;
        }
        if (run > *length) {
            *start = i;
            *length = run;
        }
        i += run + 1;
    }
}

static void print_v6(struct buf *out, const struct cedar_ip *ip)
{
    uint16_t groups[GROUPS];
    for (unsigned i = 0; i < GROUPS; i++) {
        groups[i] = (uint16_t)(ip->bytes[2 * i] << 8 | ip->bytes[2 * i + 1]);
    }
    unsigned start, length;
    longest_zero_run(groups, &start, &length);
    for (unsigned i = 0; i < GROUPS;) {
        if (i == start) {
            buf_append(out, "::", 2);
            i += length;
            continue;
        }
        if (i > 0 && i != start + length) {
            buf_append_char(out, ':');
        }
        buf_printf(out, "%x", (unsigned)groups[i]);
        i++;
    }
}

void cedar_ip_print(struct buf *out, const struct cedar_ip *ip)
{
    if (ip->version == 4) {
        buf_printf(out, "%u.%u.%u.%u", ip->bytes[0], ip->bytes[1], ip->bytes[2],
            ip->bytes[3]);
    } else {
        print_v6(out, ip);
    }
    if (ip->prefix != width_of(ip)) {
        buf_printf(out, "/%u", ip->prefix);
    }
}

int cedar_ip_compare(const struct cedar_ip *a, const struct cedar_ip *b)
{
    if (a->version != b->version) {
        return a->version < b->version ? -1 : 1;
    }
    int order = memcmp(a->bytes, b->bytes, a->version == 4 ? 4 : 16);
    if (order != 0) {
        return order < 0 ? -1 : 1;
    }
    return (a->prefix > b->prefix) - (a->prefix < b->prefix);
}

bool cedar_ip_equal(const struct cedar_ip *a, const struct cedar_ip *b)
{
    return cedar_ip_compare(a, b) == 0;
}

bool cedar_ip_is_loopback(const struct cedar_ip *ip)
{
    if (ip->version == 4) {
        return ip->bytes[0] == 127 && ip->prefix >= 8;
    }
    static const uint8_t loopback[16] = {[15] = 1};
    return memcmp(ip->bytes, loopback, 16) == 0 && ip->prefix == 128;
}

bool cedar_ip_is_multicast(const struct cedar_ip *ip)
{
    if (ip->version == 4) {
        return ip->bytes[0] >> 4 == 0xe && ip->prefix >= 4;
    }
    return ip->bytes[0] == 0xff && ip->prefix >= 8;
}

bool cedar_ip_in_range(const struct cedar_ip *ip, const struct cedar_ip *range)
{
    if (ip->version != range->version || ip->prefix < range->prefix) {
        return false;
    }
    unsigned whole = range->prefix / 8, rest = range->prefix % 8;
    if (memcmp(ip->bytes, range->bytes, whole) != 0) {
        return false;
    }
    return rest == 0 ||
           (ip->bytes[whole] ^ range->bytes[whole]) >> (8 - rest) == 0;
}
