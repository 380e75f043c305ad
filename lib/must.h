/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/must.h - checks for our own mistakes.
 *
 * MUST(x) aborts, in release builds too, when x is false: a bug of ours.
 * Never on bytes from a client, an engine, a settings file or the disk. */
#ifndef LIB_MUST_H
#define LIB_MUST_H

#define MUST(condition)                                                        \
    ((condition) ? (void)0                                                     \
                 : must_failed(#condition, __FILE__, __LINE__, __func__))

_Noreturn void must_failed(
    const char *condition, const char *file, int line, const char *function);

/* Magic numbers: the first field of a struct that passes a `void *`. */
#define CHECK_MAGIC(pointer, value)                                            \
    MUST((pointer) != NULL && (pointer)->magic == (value))

#endif
