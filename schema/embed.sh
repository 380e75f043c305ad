#!/usr/bin/env bash
# Prints a C file that holds the bytes of FILE as a NUL-terminated array:
# schema/control.sql becomes schema_control_sql and schema_control_sql_length.
set -eu
name=schema_$(basename "$1" | tr -c 'A-Za-z0-9\n' _)
printf '#include <stddef.h>\nextern const char %s[];\nextern const size_t %s_length;\n' "$name" "$name"
printf 'const char %s[] = {' "$name"
od -An -v -tu1 "$1" | sed -E 's/ +([0-9]+)/\1,/g'
printf '0};\nconst size_t %s_length = sizeof(%s) - 1;\n' "$name" "$name"
