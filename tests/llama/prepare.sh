#!/usr/bin/env bash
# A real llama-server and a model of 4 MB, kept in DIR (build/llama):
#   tests/llama/prepare.sh [DIR]
# The server comes from Debian unstable, in a folder of its own; nothing of the
# system is touched. Ends with 0 and is quiet when all is there already, with 3
# and the reason when it cannot be had here.
set -u
cd "$(dirname "$0")" || exit 1
dir=$(realpath -m "${1:-../../build/llama}")
root=$dir/root
cannot() {
    echo "llama-server cannot be had here: $*"
    exit 3
}
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || cannot "it takes root or sudo without a password"
    as_root=(sudo -n)
fi
mkdir -p "$dir" || exit 1
exec 9>"$dir/lock" && flock 9 || exit 1
if [ ! -x "$root/usr/bin/llama-server" ]; then
    command -v debootstrap >/dev/null || bash ../install-packages.sh debootstrap >/dev/null ||
        cannot "the package debootstrap cannot be installed"
    "${as_root[@]}" rm -rf "$root" "$root.new"
    # No mounts of the new root are left by variant minbase on failure either.
    "${as_root[@]}" env LC_ALL=C debootstrap --variant=minbase \
        --include=llama.cpp-tools,libggml0 sid "$root.new" \
        "${BAILIFF_DEBIAN_MIRROR:-http://deb.debian.org/debian}" \
        >"$dir/debootstrap.log" 2>&1 </dev/null 9>&- ||
        cannot "debootstrap failed: $(tail -n 1 "$dir/debootstrap.log")"
    "${as_root[@]}" rm -rf "$root.new/var/cache/apt/archives"
    "${as_root[@]}" mv "$root.new" "$root"
fi
if [ ! -f "$root/model.gguf" ]; then
    command -v python3 >/dev/null || bash ../install-packages.sh python3 >/dev/null ||
        cannot "there is no python3"
    python3 make_tiny_gguf.py ../../LICENSE "$dir/model.gguf" || exit 1
    "${as_root[@]}" mv "$dir/model.gguf" "$root/model.gguf"
fi
exit 0
