/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/describe_failure.c - why an evaluation failed, in both
 * languages. Pure; any thread. */
#include "policy/cedar/describe_priv.h"

#define SHOWN_MAX 200 /* bytes of a value */

static const char *const kinds[][CEDAR_LANGUAGES] = {
    [CEDAR_NONE] = {"nothing", "无"},
    [CEDAR_BOOL] = {"true or false", "布尔值"},
    [CEDAR_LONG] = {"a number", "整数"},
    [CEDAR_STRING] = {"a text", "文本"},
    [CEDAR_ENTITY] = {"an entity", "实体"},
    [CEDAR_SET] = {"a set", "集合"},
    [CEDAR_RECORD] = {"a record", "记录"},
    [CEDAR_IP] = {"an IP address", "IP地址"},
    [CEDAR_DECIMAL] = {"a decimal", "小数"},
    [CEDAR_DATETIME] = {"a date", "日期时间"},
    [CEDAR_DURATION] = {"a duration", "时长"},
};

static void put_value(struct describer *d, struct cedar_value value)
{
    struct buf text;
    buf_init(&text, 64 << 10);
    cedar_value_print(&text, value);
    struct str shown = buf_str(&text);
    size_t length = shown.len < SHOWN_MAX ? shown.len : SHOWN_MAX;
    while (length < shown.len && length > 0 &&
           ((unsigned char)shown.ptr[length] & 0xc0) == 0x80)
        length--;
    describe_put(d, str_make(shown.ptr, length));
    if (length < shown.len || text.failed)
        buf_append_str(d->out, STR(".."));
    buf_fini(&text);
}

static void put_wanted(struct describer *d, uint32_t wanted)
{
    bool first = true;
    for (unsigned kind = CEDAR_BOOL; kind <= CEDAR_DURATION; kind++) {
        if (!(wanted & 1u << kind))
            continue;
        if (!first)
            describe_say(d, SAY_LIST_OR, false, NULL, false);
        describe_put(d, str_from(kinds[kind][d->language]));
        first = false;
    }
}

static enum cedar_phrase phrase_of(const struct cedar_failure *failure)
{
    switch (failure->code) {
    case CEDAR_FAIL_TYPE:
        return SAY_FAIL_TYPE;
    case CEDAR_FAIL_ATTRIBUTE:
        return failure->a.kind == CEDAR_ENTITY ? SAY_FAIL_ATTRIBUTE
                                               : SAY_FAIL_FIELD;
    case CEDAR_FAIL_TAG:
        return SAY_FAIL_TAG;
    case CEDAR_FAIL_NO_ENTITY:
        return SAY_FAIL_NO_ENTITY;
    case CEDAR_FAIL_OVERFLOW:
        return SAY_FAIL_OVERFLOW;
    case CEDAR_FAIL_ARGUMENTS:
        return SAY_FAIL_ARGUMENTS;
    case CEDAR_FAIL_EXTENSION:
        return SAY_FAIL_EXTENSION;
    case CEDAR_FAIL_DEPTH:
        return SAY_FAIL_DEPTH;
    case CEDAR_FAIL_STEPS:
        return SAY_FAIL_STEPS;
    case CEDAR_FAIL_NONE:
    case CEDAR_FAIL_MEMORY:
        break;
    }
    return SAY_FAIL_MEMORY;
}

void describe_failure(struct describer *d, const struct cedar_failure *failure)
{
    struct piece pieces[3] = {{0}, {0}, {0}};
    struct buf made[3];
    for (int i = 0; i < 3; i++)
        buf_init(&made[i], 1 << 20);
    struct describer first = *d, second = *d, third = *d;
    first.out = &made[0];
    second.out = &made[1];
    third.out = &made[2];
    if (failure->a.kind == CEDAR_ENTITY)
        describe_uid(&first, failure->a.entity);
    else
        put_value(&first, failure->a);
    if (failure->code == CEDAR_FAIL_TYPE) {
        put_wanted(&second, failure->wanted);
        describe_put(&third, str_from(kinds[failure->a.kind][d->language]));
    } else if (failure->code == CEDAR_FAIL_EXTENSION ||
               failure->code == CEDAR_FAIL_ARGUMENTS) {
        describe_put(&second, failure->name);
    } else {
        describe_text(&second, failure->name);
    }
    for (int i = 0; i < 3; i++)
        pieces[i].text = buf_str(&made[i]);
    describe_say(d, phrase_of(failure), false, pieces, false);
    for (int i = 0; i < 3; i++)
        buf_fini(&made[i]);
}
