/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/log.h - the operator's log: standard error, one event a line.
 *
 * "2026-11-23T08:15:30.123456Z warn engine_down engine=local reason=..." or
 * JSON lines, or "<N>" priorities under journald (JOURNAL_STREAM set). Never
 * a body, a token or a key. This is not the audit log. Any thread. */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include "lib/err.h"

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON, LOG_JOURNAL };

void log_setup(enum log_level least, enum log_format format);
bool log_is_on(enum log_level level);
/* event is a bare word; the format gives key=value pairs (values with spaces
 * in double quotes: use log_quote). */
void log_event(enum log_level level, const char *event, const char *format, ...)
    PRINTFLIKE(3, 4);

/* text as one value of a pair: as it is when it is a bare word, else in double
 * quotes with \" \\ \n \xNN escapes; cut (with "...") to what out holds.
 * Returns out. NULL is written as "". */
const char *log_quote(char *out, size_t size, const char *text);
/* The same in the caller's block: log_warn("x", "why=%s", LOG_QUOTE(text)) */
#define LOG_QUOTE(text) log_quote((char[512]){0}, 512, (text))

#define log_debug(event, ...) log_event(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_event(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_event(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_event(LOG_ERROR, event, __VA_ARGS__)

#endif
