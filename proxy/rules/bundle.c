/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/bundle.c - see proxy/rules/bundle.h. */
#include "proxy/rules/bundle.h"

#include "policy/cedar/extension.h"
#include "policy/explain.h"

#define FIRST "bailiff rules bundle v1"
#define VALUE_MAX 400

static enum err bad_line(
    struct errinfo *info, int number, struct str line, const char *why)
{
    return errinfo_set(info, ERR_SYNTAX, "the bundle's line %d (\"%.*s\") %s",
        number, (int)(line.len < 60 ? line.len : 60), line.ptr, why);
}

static bool read_day(struct str text, int64_t *out)
{
    int64_t ms;

    if (text.len != 10 || !cedar_datetime_parse(text, &ms, NULL))
        return false;
    *out = ms * 1000;
    return true;
}

static bool is_printable(struct str text)
{
    if (text.len == 0 || text.len > VALUE_MAX || !str_is_utf8(text))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
            return false;
    return true;
}

static enum err take_line(
    struct bundle *b, struct str line, int number, struct errinfo *info)
{
    const struct {
        const char *name;
        struct str *out;
    } members[] = {{"name", &b->name}, {"publisher", &b->publisher},
        {"source", &b->source}, {"article", &b->article}, {"from", &b->from},
        {"until", &b->until}};
    struct str name, value;

    str_split(line, ':', &name, &value);
    value = str_trim(value);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (!str_equal(name, str_from(members[i].name)))
            continue;
        if (members[i].out->len > 0)
            return bad_line(info, number, line, "is there twice");
        if (!is_printable(value))
            return bad_line(
                info, number, line, "has no value of at most 400 bytes");
        *members[i].out = value;
        return ERR_OK;
    }
    return bad_line(info, number, line,
        "is none of name, publisher, source, article, from, until");
}

enum err bundle_parse(struct str text, struct bundle *out, struct errinfo *info)
{
    struct str line;
    int number = 1;
    enum err err = ERR_OK;

    *out = (struct bundle){.until_us = INT64_MAX};
    str_split(text, '\n', &line, &text);
    if (!str_equal(line, STR(FIRST)))
        return bad_line(info, 1, line, "is not \"" FIRST "\"");
    for (;;) {
        bool more = str_split(text, '\n', &line, &text);
        number++;
        if (line.len == 0)
            break;
        err = take_line(out, line, number, info);
        if (err)
            return err;
        if (!more)
            break;
    }
    out->rules = text;
    if (out->name.len == 0 || out->publisher.len == 0 || out->source.len == 0 ||
        out->article.len == 0 || out->from.len == 0)
        return errinfo_set(info, ERR_SYNTAX,
            "the bundle lacks one of name, publisher, source, article, from");
    if (!read_day(out->from, &out->from_us) ||
        (out->until.len > 0 && !read_day(out->until, &out->until_us)))
        return errinfo_set(info, ERR_SYNTAX,
            "the bundle's from or until is no day such as 2026-12-31");
    if (out->until_us <= out->from_us)
        return errinfo_set(
            info, ERR_SYNTAX, "the bundle ends before it begins");
    return ERR_OK;
}

enum err bundle_open(struct str note, const struct note_key *key,
    struct bundle *out, struct errinfo *info)
{
    struct str text;
    enum err err = note_open(note, key, 1, &text, info);

    return err ? err : bundle_parse(text, out, info);
}

static void put_annotation(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, "@%s(", name);
    cedar_quote(out, value);
    buf_append_str(out, STR(")\n"));
}

enum err bundle_rules(const struct bundle *bundle, bool advise, struct buf *out,
    struct errinfo *info)
{
    struct policy_set *set = NULL;
    struct buf findings, source;
    size_t done = 0;
    enum err err;

    buf_init(&findings, 1 << 20);
    buf_init(&source, 4096);
    err = policy_set_compile(bundle->rules, "bundle", &set, &findings, info);
    buf_printf(&source, "%.*s: %.*s", STR_ARG(bundle->publisher),
        STR_ARG(bundle->source));
    for (size_t i = 0; !err && i < policy_set_count(set); i++) {
        size_t offset = policy_set_offset(set, i);
        buf_append(out, bundle->rules.ptr + done, offset - done);
        done = offset;
        if (!policy_set_annotation(set, i, STR("source"), NULL))
            put_annotation(out, "source", buf_str(&source));
        if (!policy_set_annotation(set, i, STR("article"), NULL))
            put_annotation(out, "article", bundle->article);
        if (advise && !policy_set_annotation(set, i, STR("mode"), NULL))
            put_annotation(out, "mode", STR("advise"));
        if (bundle->until.len > 0 &&
            !policy_set_annotation(set, i, STR("expires"), NULL))
            put_annotation(out, "expires", bundle->until);
    }
    if (!err)
        buf_append(out, bundle->rules.ptr + done, bundle->rules.len - done);
    policy_set_free(&set);
    buf_fini(&findings);
    buf_fini(&source);
    return err;
}
