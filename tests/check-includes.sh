#!/usr/bin/env bash
# Includes go one way: proxy -> policy, audit, engine -> schema -> lib;
# policy/cedar -> lib only. A new edge fails.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
check() { # folder, then what it may include
    local folder=$1 allowed=$2
    while IFS=: read -r file include; do
        echo "$file includes $include, which $folder may not" >&2
        bad=1
    done < <(grep -rHoE '^#include "[a-z]+/[^"]+"' --include='*.[ch]' "$folder" |
        sed -E 's/#include "([^"]+)"/\1/' | grep -vE ":($allowed)/")
}
check lib 'lib'
check schema 'schema|lib'
check policy/cedar 'policy/cedar|lib'
check policy 'policy|schema|lib'
check audit 'audit|schema|lib'
check engine 'engine|schema|lib'
exit $bad
