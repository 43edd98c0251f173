#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/cuda_registers.sh [--check] [BUILD]: compiles every CUDA kernel as BUILD (default build/ci)
# does and writes what the assembler says of it into the table of docs/cuda_kernels.md; --check only
# compares. Exit code 1 where a kernel spills registers, or where --check finds another table.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
check=
[ "${1:-}" != --check ] || { check=yes; shift; }
build=${1:-$root/build/ci}
page=$root/docs/cuda_kernels.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One line for each kernel: file, kernel, registers, spilled bytes.
grep '"command": ".* -x cu -c .*/kernels/cuda/.*\.cu ' "$build/compile_commands.json" |
  sed -e 's/^ *"command": "//' -e 's/",*$//' -e 's/\\"/"/g' >"$work/commands"
[ -s "$work/commands" ] ||
  { echo "no CUDA files in $build: configure it with TESSERA_CUDA=ON" >&2; exit 1; }
# A file at a time for each processor; its output is one line for each kernel.
cat >"$work/of_file" <<'END'
command=$1 build=$2 work=$3
file=$(echo "$command" | sed -e 's/^.* -c [^ ]*\/\([^ /]*\) .*$/\1/')
command=$(echo "$command" | sed -e 's/ -o [^ ]*//')
(cd "$build" && sh -c "$command -Xptxas -v -o $work/$file.o" 2>&1) | c++filt |
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
    }' >"$work/$file.rows"
END
tr '\n' '\0' <"$work/commands" |
  xargs -0 -P "$(nproc)" -I '{}' sh "$work/of_file" '{}' "$build" "$work"
cat "$work"/*.rows | grep -v 'cub::' | LC_ALL=C sort -u >"$work/table"
[ -s "$work/table" ] || { echo "the assembler said nothing of any kernel" >&2; exit 1; }

{
  sed '/^<!-- table/q' "$page"
  echo '| file | kernel | registers | spilled bytes |'
  echo '|---|---|---|---|'
  awk -F '\t' '{ print "| " $1 " | `" $2 "` | " $3 " | " $4 " |" }' "$work/table"
} >"$work/page"
status=0
if [ -z "$check" ]; then
  cp "$work/page" "$page"
elif ! diff "$page" "$work/page" >"$work/difference"; then
  echo "docs/cuda_kernels.md is not of these kernels; tests/cuda_registers.sh writes it:" >&2
  head -20 "$work/difference" >&2
  status=1
fi
spilling=$(awk -F '\t' '$4 > 0 { print $1 ": " $2 }' "$work/table")
[ -z "$spilling" ] || { printf 'kernels that spill:\n%s\n' "$spilling" >&2; status=1; }
echo "$(wc -l <"$work/table") kernels, $(printf '%s' "$spilling" | grep -c .) of them spill"
exit $status
