/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/tar_fuzz.c - any bytes as the heads of a tar archive: what is
 * accepted never leads out of its folder, and a head written anew from it says
 * the same. */
#include "lib/must.h"
#include "lib/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t block[TAR_BLOCK];

    for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
        struct tar_member member, again;
        struct errinfo info;
        enum err err = tar_read(data + at, &member, &info);

        if (err != ERR_OK)
            continue;
        MUST(member.folder || tar_path_is_safe(str_from(member.path)));
        if (strcmp(member.path, ".") == 0 ||
            tar_write(block, &member, 0) != ERR_OK)
            continue;
        MUST(tar_read(block, &again, &info) == ERR_OK);
        MUST(strcmp(again.path, member.path) == 0);
        MUST(again.size == member.size && again.mode == member.mode);
        MUST(again.folder == member.folder);
    }
    return 0;
}
