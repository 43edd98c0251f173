#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Shows that tests added since an older commit fail there, so that each is known to look at what was
# mended. The older tree is built once (build/old/COMMIT); each new test file is compiled against
# its headers and its libtessera.so, and runs its program.
#   tests/regress/old_tree.sh COMMIT                     every TEST added below tests/ since COMMIT
#   tests/regress/old_tree.sh COMMIT checkpoint/line ... only those whose file or name matches
# Verdicts: `fails` and `hangs` are what is wanted; `no such interface` says that the file does not
# compile there, because it tests something new; `passes` shows nothing of the change.
# Exit code: 0 when no test passes there, 1 when one does, 2 when the older tree cannot be built.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
[ $# -ge 1 ] || { sed -n '3,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
commit=$(git rev-parse --short=10 --verify "$1^{commit}") || exit 2
shift
old=$root/build/old/$commit
limit=120  # seconds of one test; more is a hang
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

build_old() {
  mkdir -p "$old/tree" "$old/tests"
  [ -f "$old/tree/CMakeLists.txt" ] || git archive "$commit" | tar -x -C "$old/tree"
  local launcher=()
  ! command -v ccache >/dev/null || launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  cmake -S "$old/tree" -B "$old/build" -G Ninja -Wno-dev -DCMAKE_BUILD_TYPE=Release \
    -DTESSERA_TESTS=OFF -DTESSERA_CUDA=OFF "${launcher[@]}" >"$old/configure.log" || return
  ninja -C "$old/build" tessera_cli >"$old/build.log" || { tail -20 "$old/build.log"; return 1; }
}

# New tests, as lines `FILE SUITE.NAME`: what the difference adds, in files of either tree.
new_tests() {
  git diff -U0 "$commit" -- tests | sed -nE \
    -e 's#^\+\+\+ b/tests/(.*)\.cc$#file \1#p' \
    -e 's/^\+(TEST|TEST_F|TEST_P|TYPED_TEST)\(([A-Za-z0-9_]+), *([A-Za-z0-9_]+)\).*/\2.\3/p'
  # Files that git does not know yet are new as a whole.
  git ls-files --others --exclude-standard -- tests | grep '_test\.cc$' | while read -r file; do
    echo "file ${file:6:-3}"
    sed -nE 's/^(TEST|TEST_F|TEST_P|TYPED_TEST)\(([A-Za-z0-9_]+), *([A-Za-z0-9_]+)\).*/\2.\3/p' "$file"
  done
}

# program FILE: compiles tests/FILE.cc against the older tree. Headers below tests/ are the new
# ones, all others are the older tree's.
program() {
  local file=$1 main=test_main name sources=() support
  name=$old/tests/${file//\//_}
  ! grep -q 'rank_world\.h' "tests/$file.cc" || main=rank_main
  mkdir -p "$old/headers"
  ln -sfn "$root/tests" "$old/headers/tests"
  sources=("tests/$file.cc" "tests/support/$main.cc" tests/support/chosen_tests.cc)
  for support in thread_communicator faulty_storage faulty_communicator device_communicator \
    checkpoint_mutants; do
    ! grep -q "support/$support\.h" "tests/$file.cc" || sources+=("tests/support/$support.cc")
  done
  c++ -std=c++20 -O1 -w -I "$old/headers" -I "$old/tree" \
    "-DTESSERA_SOURCE_DIR=\"$root\"" '-DTESSERA_SANITIZERS=""' \
    "-DTESSERA_BINARY=\"$old/build/tessera\"" '-DTESSERA_CUDA_STAND_IN=""' \
    '-DTESSERA_CUDA_LIBRARY=""' '-DTESSERA_CMAKE="cmake"' "-DTESSERA_BUILD_DIR=\"$old/build\"" \
    "${sources[@]}" -L "$old/build" -Wl,-rpath,"$old/build" -ltessera -lgtest -lgmock -lzstd -lz \
    -ldl -o "$name" >"$name.log" 2>&1 && echo "$name"
}

verdict() {  # verdict PROGRAM FILE SUITE.NAME
  local start=() status=0
  ! grep -q 'rank_world\.h' "tests/$2.cc" || start=(mpirun --oversubscribe --bind-to none -n 4)
  timeout -k 5 "$limit" "${start[@]}" "$1" --gtest_filter="$3:*/$3/*" >"$1.$3.log" 2>&1 || status=$?
  if ! grep -q '^\[ RUN' "$1.$3.log"; then echo "does not run"
  elif grep -q '^\[  SKIPPED \]' "$1.$3.log"; then echo skipped
  elif [ $status -eq 0 ]; then echo passes
  elif [ $status -eq 124 ] || [ $status -eq 137 ]; then echo hangs
  else echo fails; fi
}

echo "building $commit in ${old#"$root"/} (once)"
build_old || { echo "old_tree.sh: $commit could not be built" >&2; exit 2; }

declare -A count=()
file="" compiled="" tested=""
printf '%-36s %-64s on %s\n' "test file" "test" "$commit"
while read -r word rest; do
  if [ "$word" = file ]; then
    file=$rest
    continue
  fi
  chosen=$([ $# -eq 0 ] && echo yes || true)
  for wish in "$@"; do [[ "$file $word" != *"$wish"* ]] || chosen=yes; done
  [ -n "$chosen" ] || continue
  if [ "$tested" != "$file" ]; then
    tested=$file
    compiled=$(program "$file") || compiled=""
  fi
  result="no such interface"
  [ -z "$compiled" ] || result=$(verdict "$compiled" "$file" "$word")
  count[$result]=$((${count[$result]:-0} + 1))
  printf '%-36s %-64s %s\n' "$file" "$word" "$result"
done < <(new_tests)

for result in "${!count[@]}"; do printf '%5d %s\n' "${count[$result]}" "$result"; done | sort -rn
[ "${#count[@]}" -gt 0 ] || { echo "no new test since $commit${*:+ matches $*}" >&2; exit 2; }
[ "${count[passes]:-0}" -eq 0 ]
