/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/replay.c - a plain main for a fuzz target: runs every file of the
 * folders and files named on the command line through it once. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    size_t cap = 1u << 20, size = 0;
    uint8_t *data = malloc(cap);
    while (data != NULL) {
        size += fread(data + size, 1, cap - size, file);
        if (size < cap)
            break;
        uint8_t *more = realloc(data, cap * 2);
        if (more == NULL) {
            free(data);
            data = NULL;
            break;
        }
        data = more;
        cap *= 2;
    }
    fclose(file);
    if (data == NULL)
        return 1;
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    int count = 0, failed = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) != 0 || !S_ISDIR(st.st_mode)) {
            failed += replay_file(argv[i]);
            count++;
            continue;
        }
        DIR *dir = opendir(argv[i]);
        if (dir == NULL) {
            perror(argv[i]);
            return 1;
        }
        struct dirent *entry;
        while ((entry = readdir(dir)) != NULL) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            failed += replay_file(path);
            count++;
        }
        closedir(dir);
    }
    printf("%s: %d inputs replayed\n", argv[0], count);
    return failed != 0 || count == 0;
}
