#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The test command: installs what is missing, builds with warnings as errors, runs every test.
# Prints what each stage took at the end.
#   tests/run.sh              format, build, unit, rank, end-to-end and Slurm tests
#   tests/run.sh --fast       format, build, unit tests (before a commit)
#   tests/run.sh --sanitize   all of the above, then ASan+UBSan, TSan and a bounded time of fuzzing
set -euo pipefail
cd "$(dirname "$0")/.."

fast=0 sanitize=0
case "${1:-}" in
  --fast) fast=1 ;;
  --sanitize) sanitize=1 ;;
  "") ;;
  *) echo "usage: tests/run.sh [--fast | --sanitize]" >&2; exit 2 ;;
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
run_tests() {  # run_tests PRESET CTEST-ARGUMENTS...: then the reason of each skip, counted
  local status=0
  ctest --test-dir "build/$1" --output-on-failure -j "$jobs" "${@:2}" || status=$?
  grep -hA1 -E '(: Skipped$|^SKIPPED:)' "build/$1/Testing/Temporary/LastTest.log" |
    grep -vE '(: Skipped|--)$' | sort | uniq -c | sed 's/^/skipped: /' || true
  return $status
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
  stage "end-to-end tests" run_tests ci -L e2e -LE slurm -j 1
  stage "slurm" run_tests ci -L slurm -j 1
fi
if [ $sanitize -eq 1 ]; then
  # Open MPI keeps memory for ever; leaks of ours are looked for in the unit tests of each room.
  export ASAN_OPTIONS=detect_leaks=0
  stage "build (address, undefined)" build asan
  stage "unit and rank tests, sanitized" run_tests asan -L 'unit|ranks'
  stage "build (thread)" build tsan tsan_tests
  stage "data and checkpoint, tsan" run_tests tsan -R "^(data|checkpoint/(writer|crash)_test)"
  stage "fuzzing" fuzz
fi

printf '\n%-34s %7s\n' stage time
printf '%s\n' "${budget[@]}"
printf '%-34s %5d s\n' total $SECONDS
