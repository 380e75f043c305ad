/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/log.c - the operator's log.
 *
 * A line is built on the stack and leaves in one write(2), so that lines of
 * several threads do not mix. Control characters never reach the terminal or
 * start a forged line: they are written as \xNN. */
#include "lib/log.h"

#include "lib/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096 /* longer messages are cut, with "..." */

static _Atomic int setting_least = LOG_INFO;
static _Atomic int setting_format = LOG_TEXT;

void log_setup(enum log_level least, enum log_format format)
{
    atomic_store_explicit(&setting_least, (int)least, memory_order_relaxed);
    atomic_store_explicit(&setting_format, (int)format, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
    return (int)level >=
           atomic_load_explicit(&setting_least, memory_order_relaxed);
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_DEBUG:
        return "debug";
    case LOG_INFO:
        return "info";
    case LOG_WARN:
        return "warn";
    case LOG_ERROR:
        return "error";
    }
    return "error";
}

/* Priorities of syslog(3), which sd-daemon(3) takes over. */
static int level_priority(enum log_level level)
{
    switch (level) {
    case LOG_DEBUG:
        return 7;
    case LOG_INFO:
        return 6;
    case LOG_WARN:
        return 4;
    case LOG_ERROR:
        return 3;
    }
    return 3;
}

/* A line in the making; `full` once something did not fit. Room for the
 * ending (dots, quote, brace, newline) is kept back. */
struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    bool full;
};
#define KEPT_BACK 16

static void put(struct line *line, const char *bytes, size_t n)
{
    if (line->full || n > sizeof line->text - KEPT_BACK - line->len) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->len, bytes, n);
    line->len += n;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

static void put_clean(struct line *line, const char *text)
{
    for (; *text && !line->full; text++) {
        char escape[5];
        if (is_control((unsigned char)*text)) {
            (void)!snprintf(
                escape, sizeof escape, "\\x%02x", (unsigned char)*text);
            put(line, escape, 4);
        } else {
            put(line, text, 1);
        }
    }
}

/* The text inside a JSON string. Bytes that are no UTF-8 become '?'. */
static void put_json(struct line *line, struct str text)
{
    bool utf8 = str_is_utf8(text);
    for (size_t i = 0; i < text.len && !line->full; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        char escape[7];
        if (c == '"' || c == '\\') {
            escape[0] = '\\';
            escape[1] = (char)c;
            put(line, escape, 2);
        } else if (is_control(c)) {
            (void)!snprintf(escape, sizeof escape, "\\u%04x", c);
            put(line, escape, 6);
        } else if (c >= 0x80 && !utf8) {
            put(line, "?", 1);
        } else {
            put(line, text.ptr + i, 1);
        }
    }
}

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

/* One character of a quoted value, the escapes of log_quote undone; moves *at
 * to its last byte. */
static char take_char(struct str text, size_t *at)
{
    static const char digits[] = "0123456789abcdef";
    if (text.ptr[*at] != '\\' || *at + 1 >= text.len)
        return text.ptr[*at];
    char c = text.ptr[++*at];
    if (c == 'n')
        return '\n';
    if (c != 'x' || *at + 2 >= text.len || !text.ptr[*at + 1] ||
        !text.ptr[*at + 2])
        return c;
    const char *high = strchr(digits, text.ptr[*at + 1]);
    const char *low = strchr(digits, text.ptr[*at + 2]);
    if (!high || !low)
        return c;
    *at += 2;
    return (char)((high - digits) << 4 | (low - digits));
}

/* Reads key=value off the front of *rest; value without its quotes, escapes
 * undone into scratch. False where the text is no pair. */
static bool take_pair(struct str *rest, struct str *key, struct str *value,
    char *scratch, size_t scratch_size)
{
    size_t at = 0;
    while (at < rest->len && is_key_char(rest->ptr[at]))
        at++;
    if (at == 0 || at >= rest->len || rest->ptr[at] != '=')
        return false;
    *key = str_make(rest->ptr, at);
    at++;
    if (at < rest->len && rest->ptr[at] == '"') {
        size_t used = 0;
        for (at++; at < rest->len && rest->ptr[at] != '"'; at++) {
            if (used == scratch_size)
                return false;
            scratch[used++] = take_char(*rest, &at);
        }
        if (at >= rest->len || (at + 1 < rest->len && rest->ptr[at + 1] != ' '))
            return false;
        *value = str_make(scratch, used);
        at++;
    } else {
        size_t from = at;
        while (at < rest->len && rest->ptr[at] != ' ')
            at++;
        *value = str_make(rest->ptr + from, at - from);
    }
    while (at < rest->len && rest->ptr[at] == ' ')
        at++;
    *rest = str_make(rest->ptr + at, rest->len - at);
    return true;
}

static void put_json_members(struct line *line, const char *message)
{
    struct str rest = str_from(message), key, value;
    char scratch[LINE_MAX_BYTES];
    while (rest.len > 0 &&
           take_pair(&rest, &key, &value, scratch, sizeof scratch)) {
        size_t before = line->len;
        put_text(line, ",\"");
        put_json(line, key);
        put_text(line, "\":\"");
        put_json(line, value);
        put_text(line, "\"");
        if (line->full) { /* a member is written whole or not at all */
            line->len = before;
            return;
        }
    }
    if (rest.len > 0) {
        size_t before = line->len;
        put_text(line, ",\"message\":\"");
        put_json(line, rest);
        put_text(line, "\"");
        if (line->full)
            line->len = before;
    }
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
    if (!log_is_on(level))
        return;
    int saved = errno;
    char message[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    if (vsnprintf(message, sizeof message, format, args) < 0)
        message[0] = '\0';
    va_end(args);

    char when[CLOCK_TEXT_LENGTH];
    clock_format(when, clock_now());
    struct line line = {.len = 0, .full = false};
    enum log_format shape = (enum log_format)atomic_load_explicit(
        &setting_format, memory_order_relaxed);
    if (shape == LOG_JSON) {
        put_text(&line, "{\"time\":\"");
        put(&line, when, sizeof when);
        put_text(&line, "\",\"level\":\"");
        put_text(&line, level_name(level));
        put_text(&line, "\",\"event\":\"");
        put_json(&line, str_from(event));
        put_text(&line, "\"");
        put_json_members(&line, message);
        line.text[line.len++] = '}';
    } else {
        if (shape == LOG_JOURNAL) { /* the journal keeps the time itself */
            char priority[] = {
                '<', (char)('0' + level_priority(level)), '>', '\0'};
            put_text(&line, priority);
        } else {
            put(&line, when, sizeof when);
            put_text(&line, " ");
            put_text(&line, level_name(level));
            put_text(&line, " ");
        }
        put_clean(&line, event);
        if (message[0]) {
            put_text(&line, " ");
            put_clean(&line, message);
        }
        if (line.full) {
            memcpy(line.text + line.len, "...", 3);
            line.len += 3;
        }
    }
    line.text[line.len++] = '\n';
    /* A log that cannot be written must not stop the work. */
    ssize_t put_bytes;
    do
        put_bytes = write(STDERR_FILENO, line.text, line.len);
    while (put_bytes < 0 && errno == EINTR);
    errno = saved;
}

const char *log_quote(char *out, size_t size, const char *text)
{
    if (!text)
        text = "";
    size_t length = strlen(text);
    bool bare = length > 0;
    for (size_t i = 0; bare && i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        bare = !is_control(c) && c != ' ' && c != '"' && c != '\\' && c != '=';
    }
    if (bare && length < size) {
        memcpy(out, text, length + 1);
        return out;
    }
    if (size < 16) {
        if (size)
            out[0] = '\0';
        return out;
    }
    size_t at = 0, room = size - 5; /* three dots, quote, NUL */
    out[at++] = '"';
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        char escape[5] = {(char)c, '\0'};
        if (c == '"' || c == '\\')
            (void)!snprintf(escape, sizeof escape, "\\%c", c);
        else if (c == '\n')
            (void)!snprintf(escape, sizeof escape, "\\n");
        else if (is_control(c))
            (void)!snprintf(escape, sizeof escape, "\\x%02x", c);
        size_t n = strlen(escape);
        if (at + n > room) {
            memcpy(out + at, "...", 3);
            at += 3;
            break;
        }
        memcpy(out + at, escape, n);
        at += n;
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}
