#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/cuda_registers.sh [BUILD]: compiles every CUDA kernel as BUILD (default build/ci) does and
# writes what the assembler says of it into the table of docs/cuda_kernels.md. Exit code 1 where a
# kernel spills registers.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/ci}
page=$root/docs/cuda_kernels.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One line for each kernel: file, kernel, registers, spilled bytes.
grep '"command": ".* -x cu -c .*/kernels/cuda/.*\.cu ' "$build/compile_commands.json" |
  sed -e 's/^ *"command": "//' -e 's/",*$//' -e 's/\\"/"/g' >"$work/commands"
[ -s "$work/commands" ] ||
  { echo "no CUDA files in $build: configure it with TESSERA_CUDA=ON" >&2; exit 1; }
while read -r command; do
  file=$(echo "$command" | sed -e 's/^.* -c [^ ]*\/\([^ /]*\) .*$/\1/')
  command=$(echo "$command" | sed -e 's/ -o [^ ]*//')
  (cd "$build" && sh -c "$command -Xptxas -v -o $work/object" 2>&1) | c++filt |
    awk -v file="$file" '
      /Compiling entry function/ {
        name = $0
        sub(/^[^'"'"']*'"'"'/, "", name); sub(/'"'"' for.*$/, "", name)
        gsub(/tessera::|cuda::|\(anonymous namespace\)::|^void /, "", name)
        sub(/\(.*$/, "", name); sub(/^void /, "", name)
      }
      /bytes spill stores/ { spills = $5 + $9 }
      /Used [0-9]+ registers/ {
        match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
        print file "\t" name "\t" registers "\t" spills
      }'
done <"$work/commands" | grep -v 'cub::' | LC_ALL=C sort -u >"$work/table"

{
  sed '/^<!-- table/q' "$page"
  echo '| file | kernel | registers | spilled bytes |'
  echo '|---|---|---|---|'
  awk -F '\t' '{ print "| " $1 " | `" $2 "` | " $3 " | " $4 " |" }' "$work/table"
} >"$work/page"
cp "$work/page" "$page"
spilling=$(awk -F '\t' '$4 > 0 { print $1 ": " $2 }' "$work/table")
[ -z "$spilling" ] || { printf 'kernels that spill:\n%s\n' "$spilling" >&2; exit 1; }
