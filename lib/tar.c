/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/tar.c - see tar.h. IEEE Std 1003.1, pax, "ustar Interchange Format". */
#include "lib/tar.h"

#include <stdio.h>
#include <string.h>

enum { /* where the fields of a head stand */
    AT_NAME = 0,
    AT_MODE = 100,
    AT_OWNER = 108,
    AT_GROUP = 116,
    AT_SIZE = 124,
    AT_TIME = 136,
    AT_SUM = 148,
    AT_TYPE = 156,
    AT_MAGIC = 257,
    AT_VERSION = 263,
    AT_PREFIX = 345
};
#define NAME_SIZE 100
#define PREFIX_SIZE 155
#define NUMBER_SIZE 12
#define SUM_SIZE 8

size_t tar_padding(uint64_t size)
{
    return (size_t)((TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

bool tar_path_is_safe(struct str path)
{
    struct str part, rest = path;
    if (path.len == 0 || path.len > TAR_PATH_MAX ||
        memchr(path.ptr, '\0', path.len) != NULL)
        return false;
    for (bool more = true; more;) {
        more = str_split(rest, '/', &part, &rest);
        if (part.len == 0 || str_equal(part, STR(".")) ||
            str_equal(part, STR("..")))
            return false;
    }
    return true;
}

/* The sum of all bytes, the sum's own field taken as spaces. */
static unsigned sum_of(const uint8_t block[TAR_BLOCK])
{
    unsigned sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= AT_SUM && i < AT_SUM + SUM_SIZE ? ' ' : block[i];
    return sum;
}

static void put_octal(uint8_t *field, size_t size, uint64_t value)
{
    field[size - 1] = '\0';
    for (size_t i = size - 1; i-- > 0; value /= 8)
        field[i] = (uint8_t)('0' + value % 8);
}

enum err tar_write(uint8_t block[TAR_BLOCK], const struct tar_member *member,
    int64_t modified_seconds)
{
    size_t length = strlen(member->path);
    if (length > NAME_SIZE || !tar_path_is_safe(str_from(member->path)) ||
        member->size > (uint64_t)TAR_SIZE_MAX)
        return ERR_RANGE;
    memset(block, 0, TAR_BLOCK);
    memcpy(block + AT_NAME, member->path, length);
    put_octal(block + AT_MODE, 8, member->mode & 07777);
    put_octal(block + AT_OWNER, 8, 0);
    put_octal(block + AT_GROUP, 8, 0);
    put_octal(block + AT_SIZE, NUMBER_SIZE, member->size);
    put_octal(block + AT_TIME, NUMBER_SIZE,
        modified_seconds > 0 ? (uint64_t)modified_seconds : 0);
    block[AT_TYPE] = member->folder ? '5' : '0';
    memcpy(block + AT_MAGIC, "ustar", 6);
    memcpy(block + AT_VERSION, "00", 2);
    put_octal(block + AT_SUM, 7, sum_of(block));
    block[AT_SUM + 7] = ' ';
    return ERR_OK;
}

/* Octal digits, spaces before and a space or zero behind them. */
static bool get_octal(const uint8_t *field, size_t size, uint64_t *out)
{
    size_t i = 0;
    uint64_t value = 0;
    while (i < size && field[i] == ' ')
        i++;
    if (i == size || field[i] < '0' || field[i] > '7')
        return false;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
        if (value >> 60)
            return false;
        value = value * 8 + (field[i] - '0');
    }
    for (; i < size; i++)
        if (field[i] != ' ' && field[i] != '\0')
            return false;
    *out = value;
    return true;
}

static struct str field_text(const uint8_t *field, size_t size)
{
    const char *text = (const char *)field;
    return str_make(text, strnlen(text, size));
}

/* Prefix and name with a '/' between; without "./" before and '/' behind. */
static void join_path(const uint8_t block[TAR_BLOCK], struct tar_member *out)
{
    struct str name = field_text(block + AT_NAME, NAME_SIZE);
    struct str prefix = field_text(block + AT_PREFIX, PREFIX_SIZE);
    char joined[TAR_PATH_MAX + 2];
    int length = snprintf(joined, sizeof(joined), "%.*s%s%.*s", STR_ARG(prefix),
        prefix.len > 0 ? "/" : "", STR_ARG(name));
    struct str path = str_make(joined, (size_t)length);
    while (str_starts(path, STR("./"))) {
        path.ptr += 2;
        path.len -= 2;
    }
    if (out->folder && str_ends(path, STR("/")))
        path.len--;
    if (path.len > TAR_PATH_MAX)
        path.len = 0; /* refused as unsafe */
    memcpy(out->path, path.ptr, path.len);
    out->path[path.len] = '\0';
}

enum err tar_read(const uint8_t block[TAR_BLOCK], struct tar_member *out,
    struct errinfo *info)
{
    static const uint8_t zeros[TAR_BLOCK];
    uint64_t sum, mode;
    memset(out, 0, sizeof(*out));
    if (memcmp(block, zeros, TAR_BLOCK) == 0)
        return ERR_NOTFOUND;
    if (memcmp(block + AT_MAGIC, "ustar", 5) != 0 ||
        !get_octal(block + AT_SUM, SUM_SIZE, &sum) || sum != sum_of(block))
        return errinfo_set(info, ERR_SYNTAX,
            "no head of a member of a tar archive stands there: the archive is "
            "damaged, or it is none");
    if (!get_octal(block + AT_MODE, 8, &mode) ||
        !get_octal(block + AT_SIZE, NUMBER_SIZE, &out->size))
        return errinfo_set(
            info, ERR_SYNTAX, "a member's mode or size is no octal number");
    uint8_t type = block[AT_TYPE];
    out->mode = (unsigned)mode & 07777;
    out->folder = type == '5';
    if (type != '0' && type != '\0' && type != '5')
        return errinfo_set(info, ERR_UNSUPPORTED,
            "a member is neither a file nor a folder (type %d)", type);
    join_path(block, out);
    /* "." itself, as the head of all: a folder that is there already. */
    if (out->folder && (out->path[0] == '\0' || strcmp(out->path, ".") == 0)) {
        snprintf(out->path, sizeof(out->path), ".");
        return ERR_OK;
    }
    if (!tar_path_is_safe(str_from(out->path)))
        return errinfo_set(info, ERR_DENIED,
            "the path \"%s\" leads out of the archive's own folder", out->path);
    if (out->folder && out->size != 0)
        return errinfo_set(info, ERR_SYNTAX, "a folder with content");
    return ERR_OK;
}
