# SPDX-License-Identifier: Apache-2.0
# tests/gpu.sh's tests: programs run by themselves, a limit and a row for each, so that one that hangs
# costs its own time only. The list is ctest's (list_tests.cmake).

list_of_tests() { echo "$build/tests.tsv"; }

# Tests with something to do on a GPU whose names match; in a rehearsal those through the stand-in.
names_of() {
  awk -F'\t' -v regex="$1" -v order="$2" -v rehearsal="$rehearsal" \
    '$1 ~ regex && $3 == order &&
     (rehearsal == "" ? $2 ~ /(^|,)gpu,/ : $1 ~ /through_stand_in|^rehearsal\//) { print $1 }' \
    "$(list_of_tests)"
}

# read_command NAME: `variables` and `words` of a test's line.
read_command() {
  local line
  line=$(awk -F'\t' -v name="$1" '$1 == name { print $4 }' "$(list_of_tests)")
  [ -n "$line" ] || { echo "no test $1 in $(list_of_tests)"; exit 1; }
  eval "all=($line)"
  variables=() words=()
  local word
  for word in "${all[@]}"; do
    case $word in
      *=*) if [ ${#words[@]} -eq 0 ]; then variables+=("$word"); else words+=("$word"); fi ;;
      # `cmake -E env A=B PROGRAM`: what it would do, without it
      */cmake | -E | env) [ ${#words[@]} -eq 0 ] || words+=("$word") ;;
      *) words+=("$word") ;;
    esac
  done
}

# The case in which a process failed first. Later ones of it do not count: after an illegal address
# every call of CUDA in that process fails.
first_failure() {
  sed -n 's/^\[  FAILED  \] \([^ (,]*\).*/\1/p' "$1" | head -1 | grep . ||
    sed -n 's/^\[ RUN      \] //p' "$1" | tail -1
}

# alone NAME SECONDS [CASE]: runs one test, or one case of it, and writes its row.
alone() {
  local name=$1 case=${3:-} shown=$1${3:+:$3} status=0 verdict note failed='' limit start
  limit=$(within "$2")
  local log=$logs/tests/${shown//[^A-Za-z0-9_.:]/_}
  mkdir -p "$logs/tests"
  if [ "$limit" -lt 3 ]; then
    row "$stage_name" "not run" 0 "no time left in this stage" "\"test\":$(json_text "$shown")"
    return 0
  fi
  read_command "$name"
  [ -z "$case" ] || words+=("--gtest_filter=$case")
  # Two mpirun that start at once may not share one directory for their sessions; a short name, since
  # sockets lie below it.
  local own
  own=$(mktemp -d /tmp/gpu.XXXXXX)
  start=$(date +%s%N)
  timeout -k 5 "$limit" env TMPDIR="$own" "${variables[@]}" "${words[@]}" \
    "--gtest_output=json:$log.json" >"$log.log" 2>&1 || status=$?
  rm -rf "$own"
  verdict=$(verdict_of $status)
  if [ $status -eq 0 ] && grep -q 'SKIPPED' "$log.log" && ! grep -q '^\[       OK' "$log.log"; then
    verdict=skipped
    note=$(grep -hA1 -E '(: Skipped$|^SKIPPED:)' "$log.log" | grep -vE '(: Skipped|--)$' | tail -1)
  else
    note=$(grep -v '^ *$' "$log.log" | tail -1)
  fi
  case $verdict in ok | skipped) ;; *) failed=$(first_failure "$log.log") ;; esac
  row "$stage_name" "$verdict" "$(seconds_since "$start")" "${note:0:200}" \
    "\"test\":$(json_text "$shown")" ${failed:+"\"first_failure\":$(json_text "$failed")"}
  echo "$verdict	$shown	$failed" >>"$logs/$(stage_file).verdicts"
  case $verdict in failed | crashed) again "$name" "$failed" "$log" ;; esac
}

seconds_since() { echo "$((($(date +%s%N) - $1) / 100000000))" | sed 's/\(.\)$/.\1/; s/^\./0./'; }
stage_file() { echo "${stage_name//[^A-Za-z0-9]/_}"; }

# again NAME CASE LOG: with each launch waited for, so that the call that fails is the one at fault,
# and under memcheck, which names the kernel and the address.
again() {
  local name=$1 case=$2 log=$3 tool status=0 start limit
  [ -n "$case" ] || return 0
  read_command "$name"
  words+=("--gtest_filter=$case")
  limit=$(within 30)
  [ "$limit" -ge 5 ] || return 0
  start=$(date +%s%N)
  CUDA_LAUNCH_BLOCKING=1 timeout -k 5 "$limit" env "${variables[@]}" "${words[@]}" \
    >"$log.blocking.log" 2>&1 || status=$?
  row "$stage_name, again with CUDA_LAUNCH_BLOCKING=1" "$(verdict_of $status)" \
    "$(seconds_since "$start")" "$(grep -m1 -iE 'error|failure' "$log.blocking.log" | cut -c1-200)" \
    "\"test\":$(json_text "$name:$case")"
  tool=$(sanitizer_program) || return 0
  limit=$(within 30)
  [ "$limit" -ge 5 ] || return 0
  status=0
  start=$(date +%s%N)
  timeout -k 5 "$limit" env "${variables[@]}" "$tool" --tool memcheck --error-exitcode 9 \
    --print-limit 3 "${words[@]}" >"$log.memcheck.log" 2>&1 || status=$?
  row "$stage_name, again under memcheck" "$(verdict_of $status)" "$(seconds_since "$start")" \
    "$(grep -m1 -E '========= (Invalid|Program hit|Race|Error)' "$log.memcheck.log" | cut -c1-200)" \
    "\"test\":$(json_text "$name:$case")"
}

# What a stage's verdicts come to, as its last line; its exit code.
sum_up() {
  local file=$logs/$(stage_file).verdicts
  [ -s "$file" ] || { echo "no test ran"; return 77; }
  awk -F'\t' '{ count[$1]++; if ($1 != "ok" && $1 != "skipped") bad = bad "; " $1 ": " $2 ($3 != "" ? " (" $3 ")" : "") }
    END { printf "%d ok, %d skipped%s\n", count["ok"], count["skipped"], bad
          exit bad != "" ? 1 : count["ok"] == 0 ? 77 : 0 }' "$file"
}

# tests REGEX JOBS SECONDS: so many at a time, each so long at most.
tests() {
  export OMP_NUM_THREADS=$((($(nproc) + $2 - 1) / $2))  # of the references
  names_of "$1" parallel | xargs -r -P "$2" -I{} "$root/tests/gpu.sh" in-stage alone {} "$3"
  sum_up
}
# One at a time, alone on the GPU: what takes all of its memory or times it.
serial_tests() {
  names_of "$1" serial | xargs -r -P 1 -I{} "$root/tests/gpu.sh" in-stage alone {} "$2"
  sum_up
}
# cases REGEX JOBS SECONDS: the same case by case.
cases() {
  local name
  export OMP_NUM_THREADS=2
  for name in $(names_of "$1" parallel); do
    read_command "$name"
    env "${variables[@]}" "${words[@]}" --gtest_list_tests 2>/dev/null |
      awk '/^[^ ]/ { suite = $1 } /^  / { print suite $1 }' |
      xargs -r -P "$2" -I{} "$root/tests/gpu.sh" in-stage alone "$name" "$3" {}
  done
  sum_up
}

sanitizer_program() {
  [ -z "$rehearsal" ] || return 1
  command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null
}
# sanitized TOOL FAMILY: one family of kernels under one tool.
sanitized() {
  local tool=$1 name=kernels/$2_test_on_gpu log=$logs/$1_$2.log status=0 start verdict
  read_command "$name"
  start=$(date +%s%N)
  timeout -k 5 "$(within 80)" env "${variables[@]}" "$(sanitizer_program)" --tool "$tool" \
    --error-exitcode 9 --print-limit 5 "${words[@]}" '--gtest_filter=-*SameBits*' >"$log" 2>&1 || status=$?
  verdict=$(verdict_of $status)
  row "$stage_name" "$verdict" "$(seconds_since "$start")" \
    "$(grep -h 'ERROR SUMMARY\|RACECHECK SUMMARY' "$log" | tail -1)" \
    "\"tool\":$(json_text "$tool")" "\"test\":$(json_text "$name")"
  # Not finished is no finding.
  [ "$verdict" = "timed out" ] || echo "$verdict	$tool $2	" >>"$logs/$(stage_file).verdicts"
}
sanitizer() {
  sanitizer_program >/dev/null || { echo "no compute-sanitizer here"; exit 77; }
  local shared='attention grouped_gemm cross_entropy norm router copy' family
  export OMP_NUM_THREADS=2
  {
    for family in $shared; do echo "racecheck $family"; done
    for family in $shared; do echo "synccheck $family"; done
    for family in $shared embedding reduce rope update elementwise latent_heads; do
      echo "memcheck $family"
    done
  } | xargs -r -P 8 -L 1 "$root/tests/gpu.sh" in-stage sanitized
  sum_up
}
