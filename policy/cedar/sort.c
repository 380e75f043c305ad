/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/sort.c - sorting small things in place.
 *
 * qsort may allocate and may recurse; this does neither. Insertion sort for
 * short arrays, heap sort for long ones. Pure. */
#include "policy/cedar/cedar_priv.h"

#include "lib/must.h"

#define ELEMENT_MAX 64
#define SHORT 24

static void insertion_sort(
    char *base, size_t count, size_t size, cedar_compare *compare)
{
    char held[ELEMENT_MAX];
    for (size_t i = 1; i < count; i++) {
        size_t at = i;
        while (at > 0 && compare(base + (at - 1) * size, base + i * size) > 0)
            at--;
        if (at == i)
            continue;
        memcpy(held, base + i * size, size);
        memmove(base + (at + 1) * size, base + at * size, (i - at) * size);
        memcpy(base + at * size, held, size);
    }
}

static void swap(char *a, char *b, size_t size)
{
    char held[ELEMENT_MAX];
    memcpy(held, a, size);
    memcpy(a, b, size);
    memcpy(b, held, size);
}

static void sift_down(
    char *base, size_t root, size_t count, size_t size, cedar_compare *compare)
{
    for (;;) {
        size_t child = root * 2 + 1;
        if (child >= count)
            return;
        if (child + 1 < count &&
            compare(base + child * size, base + (child + 1) * size) < 0)
            child++;
        if (compare(base + root * size, base + child * size) >= 0)
            return;
        swap(base + root * size, base + child * size, size);
        root = child;
    }
}

void cedar_sort(void *base, size_t count, size_t size, cedar_compare *compare)
{
    MUST(size <= ELEMENT_MAX);
    char *bytes = base;
    size_t sorted = 1;
    while (sorted < count &&
           compare(bytes + (sorted - 1) * size, bytes + sorted * size) <= 0)
        sorted++;
    if (sorted >= count)
        return;
    if (count <= SHORT) {
        insertion_sort(bytes, count, size, compare);
        return;
    }
    for (size_t root = count / 2; root-- > 0;)
        sift_down(bytes, root, count, size, compare);
    for (size_t last = count - 1; last > 0; last--) {
        swap(bytes, bytes + last * size, size);
        sift_down(bytes, 0, last, size, compare);
    }
}
