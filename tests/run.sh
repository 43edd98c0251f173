#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The test command: installs what is missing, builds with warnings as errors, runs every test, then
# the sanitizer builds and a bounded time of fuzzing. Prints what each stage took at the end.
#   tests/run.sh [--fast]      --fast: format, build, unit tests only (before a commit)
set -euo pipefail
cd "$(dirname "$0")/.."

fast=0
case "${1:-}" in
  --fast) fast=1 ;;
  "") ;;
  *) echo "usage: tests/run.sh [--fast]" >&2; exit 2 ;;
esac
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
jobs=$(nproc)
fuzz_seconds=10
budget=()
stage() {  # stage NAME COMMAND...
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s\n+ %s\n' "$name" "$*"
  if ! "$@"; then echo "FAILED: $name" >&2; exit 1; fi
  budget+=("$(printf '%-34s %5d s' "$name" $((SECONDS - start)))")
}

check_format() {
  git ls-files '*.h' '*.cc' | xargs clang-format-14 --dry-run --Werror
}
build() {  # build PRESET [TARGET...]
  cmake --preset "$1" -Wno-dev >"build-$1.log" 2>&1 || { cat "build-$1.log"; return 1; }
  rm -f "build-$1.log"
  ninja -C "build/$1" -j "$jobs" "${@:2}" | grep -vE '^\[|^ninja: (Entering|no work)' || true
  ninja -C "build/$1" -j "$jobs" "${@:2}" >/dev/null
}
run_tests() {  # run_tests PRESET CTEST-ARGUMENTS...
  ctest --test-dir "build/$1" --output-on-failure -j "$jobs" "${@:2}"
}
list_skips() {  # reasons of skipped tests, from the last run
  grep -hE 'Skipped|: Skip|SKIPPED' "build/$1/Testing/Temporary/LastTest.log" | sort | uniq -c || true
}
fuzz() {
  build fuzz fuzzers
  local target
  for target in build/fuzz/tests/*_fuzz; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    echo "+ $(basename "$target") for $fuzz_seconds s"
    (cd build/fuzz && "../../$target" -max_total_time=$fuzz_seconds -rss_limit_mb=4096 \
      -print_final_stats=0 >"$(basename "$target").log" 2>&1) ||
      { tail -30 "build/fuzz/$(basename "$target").log"; return 1; }
  done
}

stage "dependencies" ./launch/dependencies.sh build text test fuzz slurm
stage "format" check_format
stage "build (gcc, warnings are errors)" build ci
stage "unit tests" run_tests ci -L unit
if [ $fast -eq 0 ]; then
  stage "rank tests" run_tests ci -L ranks
  stage "end-to-end tests" run_tests ci -L e2e -j 1
  stage "slurm" run_tests ci -L slurm -j 1
  echo "Skipped:"; list_skips ci
  stage "build (address, undefined)" build asan
  stage "unit and rank tests, sanitized" run_tests asan -L 'unit|ranks'
  stage "build (thread)" build tsan tsan_tests
  stage "data and checkpoint, tsan" run_tests tsan -R "^(data|checkpoint/(writer|crash)_test)"
  stage "fuzzing" fuzz
fi

printf '\n%-34s %7s\n' stage time
printf '%s\n' "${budget[@]}"
printf '%-34s %5d s\n' total $SECONDS
