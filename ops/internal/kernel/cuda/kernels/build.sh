#!/usr/bin/env bash
# Compiles the kernels to PTX, for which clang alone is needed, no CUDA SDK. Usage: build.sh [OUTDIR], ../ptx unless given.
#
# The PTX has no paths and no comments in it: one compiler makes the same bytes of the same sources, wherever they lie. manifest.json
# beside it says which compiler and which sources (sha256) made each file. CLANG chooses another clang than clang-22.
set -euo pipefail
cd "$(dirname "$0")"
export CLANG=${CLANG:-clang-22} OUT=${1:-../ptx}
[[ $OUT = /* || $# = 0 ]] || OUT=$OLDPWD/$OUT

# Name, source, architecture, PTX version, flags. Only sums of 16-bit products may take denormals for 0: -fcuda-flush-denormals-to-zero.
list() {
  echo "common common.cu sm_80 ptx70"
  echo "careful careful.cu sm_80 ptx70"
  for d in 64 128 192 256; do
    echo "simt_d$d simt.cu sm_80 ptx70 -DDP=$d"
    echo "mma_bf16_d$d mma.cu sm_80 ptx70 -DDP=$d -DTYPE_BF16 -fcuda-flush-denormals-to-zero"
    echo "mma_f16_d$d mma.cu sm_80 ptx70 -DDP=$d -DTYPE_F16 -fcuda-flush-denormals-to-zero"
  done
  for d in 64 128; do
    echo "wgmma_bf16_d$d wgmma.cu sm_90a ptx80 -DDP=$d -DTYPE_BF16 -fcuda-flush-denormals-to-zero"
    echo "wgmma_f16_d$d wgmma.cu sm_90a ptx80 -DDP=$d -DTYPE_F16 -fcuda-flush-denormals-to-zero"
  done
}

# compile NAME SOURCE ARCH PTX FLAGS...: the PTX, and its entry of the manifest for a file beside it.
compile() {
  local name=$1 source=$2 arch=$3 version=$4 header headers
  shift 4
  local flags=(-x cuda --cuda-device-only -nocudainc -nocudalib -nogpulib "--cuda-gpu-arch=$arch" -Xclang -target-feature
    -Xclang "+$version" -O3 -std=c++17 "$@")
  "$CLANG" "${flags[@]}" -S -o - "$source" | sed 's,[ \t]*//.*,,; /^[ \t]*$/d' >"$OUT/$name.ptx"
  headers=$("$CLANG" "${flags[@]}" -MM "$source" | tr -d '\\\n' | sed 's/^[^:]*://')
  {
    printf '    "%s": {\n      "arch": "%s",\n      "ptx": "%s.%s",\n' "$name" "$arch" "${version:3:1}" "${version:4}"
    printf '      "flags": "%s",\n      "sources": {' "${flags[*]}"
    local comma=
    for header in $headers; do
      printf '%s\n        "%s": "%s"' "$comma" "$header" "$(digest "$header")"
      comma=,
    done
    printf '\n      },\n      "sha256": "%s"\n    }' "$(digest "$OUT/$name.ptx")"
  } >"$OUT/$name.entry"
}

digest() { sha256sum "$1" | cut -d' ' -f1; }

manifest() {
  local name comma=
  printf '{\n  "compiler": "%s",\n  "modules": {' "$("$CLANG" --version | head -n 1)"
  for name in $(list | cut -d' ' -f1); do
    printf '%s\n%s' "$comma" "$(cat "$OUT/$name.entry")"
    comma=,
  done
  printf '\n  }\n}\n'
}

export -f compile digest
mkdir -p "$OUT"
list | xargs -P 2 -d '\n' -I{} bash -euo pipefail -c 'compile {}'
manifest >"$OUT/manifest.json"
rm "$OUT"/*.entry
