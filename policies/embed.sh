#!/usr/bin/env bash
# Prints a C file with the bytes of the files of policies/ that are built into
# the program: the table policies_files, ordered by path.
set -eu
cd "$(dirname "$0")"
mapfile -t files < <(find recipes packs -type f | LC_ALL=C sort)
printf '#include "proxy/rules/shipped.h"\n'
for i in "${!files[@]}"; do
    printf 'static const char file_%d[] = {' "$i"
    od -An -v -tu1 "${files[$i]}" | sed -E 's/ +([0-9]+)/\1,/g'
    printf '0};\n'
done
printf 'const struct policies_file policies_files[] = {\n'
for i in "${!files[@]}"; do
    printf '    {"%s", file_%d, sizeof file_%d - 1},\n' "${files[$i]}" "$i" "$i"
done
printf '};\nconst size_t policies_file_count = %d;\n' "${#files[@]}"
