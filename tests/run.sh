#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The test command: installs what is missing, builds, runs every test, and every unit and rank test
# once more under sanitizers. Prints at the end what each stage took, by the clock and of the
# processors, and what was not run and why.
#   tests/run.sh              everything but what takes long (70 minutes at most on two cores)
#   tests/run.sh --fast       format, build, unit tests (before a commit)
#   tests/run.sh --sanitize   only the builds with sanitizers and the fuzzers
#   tests/run.sh --long       only what takes long: tests with the label `long`, longer fuzzing
set -euo pipefail
cd "$(dirname "$0")/.."

stages="quick full sanitize"
case "${1:-}" in
  --fast) stages=quick ;;
  --sanitize) stages=sanitize ;;
  --long) stages=long ;;
  "") ;;
  *) echo "usage: tests/run.sh [--fast | --sanitize | --long]" >&2; exit 2 ;;
esac
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
jobs=$(nproc)
budget=()
not_run=()  # "COUNT REASON"
processor_seconds() {  # of this shell and of all its children that have ended
  awk -v ticks="$(getconf CLK_TCK)" '{ print int(($14 + $15 + $16 + $17) / ticks) }' "/proc/$$/stat"
}
stage() {  # stage NAME COMMAND...
  local name=$1 start=$SECONDS before
  before=$(processor_seconds)
  shift
  printf '\n== %s\n+ %s\n' "$name" "$*"
  if ! "$@"; then echo "FAILED: $name" >&2; exit 1; fi
  budget+=("$(printf '%-34s %5d s %6d s' "$name" $((SECONDS - start)) \
    $(($(processor_seconds) - before)))")
}

check_format() {
  find kernels parallel data checkpoint trainer launch tests \( -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
    xargs -0 clang-format-14 --dry-run --Werror
}
build() {  # build PRESET [TARGET...]
  cmake --preset "$1" -Wno-dev >"build-$1.log" 2>&1 || { cat "build-$1.log"; return 1; }
  rm -f "build-$1.log"
  ninja -C "build/$1" -j "$jobs" "${@:2}" | grep -vE '^\[|^ninja: (Entering|no work)' || true
  ninja -C "build/$1" -j "$jobs" "${@:2}" >/dev/null
}
# gcc 12 and clang 14 find no place for a sanitizer's shadow memory where the kernel draws addresses
# from 32 bits (vm.mmap_rnd_bits), so addresses are fixed where that is allowed.
fixed=()
! setarch "$(uname -m)" -R true 2>/dev/null || fixed=(setarch "$(uname -m)" -R)
run_tests() {  # run_tests PRESET CTEST-ARGUMENTS...: then the reason of each skip, counted
  local status=0 line
  "${fixed[@]}" ctest --test-dir "build/$1" --output-on-failure -j "$jobs" "${@:2}" || status=$?
  while read -r line; do
    echo "skipped: $line"
    not_run+=("$line")
  done < <(grep -hA1 -E '(: Skipped$|^SKIPPED:)' "build/$1/Testing/Temporary/LastTest.log" |
    grep -vE '(: Skipped|--)$' | sed 's/^SKIPPED: //' | sort | uniq -c)
  return $status
}
cudnn_headers() {  # optional: cuDNN's attention is compiled too where they can be had
  command -v nvcc >/dev/null || { echo "not needed: no nvcc"; return 0; }
  ./launch/cudnn_frontend.sh || echo "not to be had: the plugin gets its own attention only"
}
check_registers() {  # no CUDA kernel spills; where nvcc built the plugin
  [ -f build/ci/libtessera_cuda.so ] ||
    { echo "CUDA registers not checked: this build has no plugin (nvcc, cuDNN or NCCL missing)"; return 0; }
  tests/cuda_registers.sh --check build/ci
}
fuzz() {  # fuzz SECONDS: each target from real files on, keeping what it learns for the next time
  local -A seeds=([idx]=tests/golden/indexed_dataset [recipe]=recipes
    [tokenizer_json]=tests/golden/tokenizer [jsonl]=tests/golden/tokenizer
    [index_json]=tests/golden/checkpoint_format_1/step-00000007
    [manifest_json]=tests/golden/checkpoint_format_1/step-00000007)
  local name corpus
  for name in idx index_json jsonl manifest_json recipe tokenizer_json; do
    corpus=build/fuzz/corpus/$name
    mkdir -p "$corpus"
    echo "+ ${name}_fuzz for $1 s"
    "${fixed[@]}" "build/fuzz/tests/${name}_fuzz" -max_total_time=$1 -timeout=30 -rss_limit_mb=4096 \
      -artifact_prefix="build/fuzz/$name-" "$corpus" "${seeds[$name]}" >"$corpus.log" 2>&1 ||
      { tail -30 "$corpus.log"; return 1; }
    grep -E '^(Done|stat::number_of_executed_units)' "$corpus.log" || true
  done
}

quick_stages() {
  stage "format" check_format
  stage "build (gcc, warnings are errors)" build ci
  stage "unit tests" run_tests ci -L unit -LE long
}
full_stages() {
  stage "rank tests" run_tests ci -L ranks -LE long
  stage "GPU tests (skipped without one)" run_tests ci -L gpu
  stage "registers of CUDA kernels" check_registers
  stage "end-to-end tests" run_tests ci -L e2e -LE 'slurm|long' -j 1
  stage "slurm" run_tests ci -L slurm -LE long -j 1
}
sanitize_stages() {
  stage "build (address, undefined)" build asan checked_tests
  stage "unit and rank tests, sanitized" run_tests asan -L 'unit|ranks' -LE long
  stage "build (thread)" build tsan tsan_tests
  stage "tests with threads, sanitized" run_tests tsan -L threads -LE long
  stage "build (fuzzers)" build fuzz fuzzers
  stage "fuzzing" fuzz 10
}
long_stages() {
  stage "build (gcc, warnings are errors)" build ci
  stage "long tests" run_tests ci -L long -j 1
  stage "build (address, undefined)" build asan checked_tests
  stage "long tests, sanitized" run_tests asan -L sanitized_long
  stage "build (fuzzers)" build fuzz fuzzers
  stage "fuzzing" fuzz 600
}

stage "dependencies" ./launch/dependencies.sh build text test fuzz slurm
stage "cudnn-frontend (optional)" cudnn_headers
for name in $stages; do "${name}_stages"; done

if [[ $stages == *full* ]]; then
  long_tests=$(ctest --test-dir build/ci -N -L long | sed -n 's/^Total Tests: //p')
  for_later=$(ctest --test-dir build/asan -N -L sanitized_long | sed -n 's/^Total Tests: //p')
  not_run+=("$((long_tests + 6)) take long: tests/run.sh --long (tests with that label, fuzzers for longer)")
  not_run+=("$for_later take long with sanitizers: tests/run.sh --long")
fi
printf '\n%-34s %7s %8s\n' stage time processor
printf '%s\n' "${budget[@]}"
printf '%-34s %5d s %6d s\n\n' total $SECONDS "$(processor_seconds)"
printf '%s\n' "${not_run[@]}" | awk '{ n += $1 } END { print "not run: " n + 0 }'
[ ${#not_run[@]} -eq 0 ] || printf '%s\n' "${not_run[@]}" | sort -rn | sed -E 's/^ *([0-9]+) +/\1 /; s/^/  /'
