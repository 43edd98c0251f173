#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Trains under a real Slurm of two nodes: by srun, and by launch/slurm/train.sbatch through a
# preemption. usage: slurm_test.sh PROGRAM SOURCE_DIRECTORY; 77 = skipped.
set -uo pipefail
export TESSERA=$1
source_directory=$2
source "$source_directory/tests/support/slurm.sh"
reason=$(slurm_lacks)
[ -z "$reason" ] || { echo "skipped: $reason"; exit 77; }

work=$(mktemp -d /tmp/tessera-slurm-XXXXXX)
failures=0
finish() {
  slurm_stop "$work/slurm"
  [ "$failures" -eq 0 ] || tail -n 15 "$work"/*.log "$work/slurm/log/slurmctld.log" 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

expect() {  # expect SENTENCE COMMAND...: the command must succeed
  local sentence=$1
  shift
  if "$@"; then echo "ok       $sentence"; else echo "FAILED   $sentence"; failures=$((failures + 1)); fi
}
equals() { [ "$1" = "$2" ] || { echo "  got '$1', wanted '$2'"; false; }; }
last_step() {
  grep -s '"kind":"train"' "$1/metrics.jsonl" | tail -1 | sed 's/.*"step":\([0-9]*\),.*/\1/'
}
wait_for_step() {  # RUN STEP
  local try
  for try in $(seq 400); do
    [ "$(last_step "$1")" -ge "$2" ] 2>/dev/null && return 0
    sleep 0.1
  done
  return 1
}
job_field() { scontrol show job "$1" | tr ' ' '\n' | sed -n "s/^$2=//p" | head -1; }
wait_for_end() {  # JOB
  local try
  for try in $(seq 600); do
    case $(job_field "$1" JobState) in COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL) return 0 ;; esac
    sleep 0.2
  done
  return 1
}
submit() {  # NAME ARGUMENT...: prints the job's number
  local name=$1
  shift
  sbatch --parsable --chdir="$work" --job-name="$name" --output="$work/$name.log" \
    "$source_directory/launch/slurm/train.sbatch" recipe.yaml --run-dir "$name" "$@"
}

cd "$work" || exit 1
chmod 755 "$work"
export OMP_NUM_THREADS=1
awk 'BEGIN { for (i = 1; i <= 4000; ++i) print "the number", i * i % 97, "follows", i % 89 }' >text.txt
"$TESSERA" data prepare --input text.txt -o corpus --tokenizer bytes --split 0.9,0.1 2>prepare.log ||
  { cat prepare.log; exit 1; }
cat >recipe.yaml <<'RECIPE'
recipe: 1
name: small
model: {vocab_size: 260, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2}
data: {train: corpus/train, sequence_length: 32}
batch: {global: 4, micro: 2}
precision: {compute: f32}
run: {steps: 1500, log_every: 500}
checkpoint: {every: 100}
RECIPE

slurm_start "$work/slurm" || { failures=1; exit 1; }
train_step=(srun --mpi=pmix -N 2 -n 2 --kill-on-bad-exit=1 "$TESSERA" train recipe.yaml)

"${train_step[@]}" --run-dir whole >whole.log 2>&1
expect "srun trains on two nodes" equals $? 0
expect "the two tasks are one world" grep -q "layout   2 ranks = data 2" whole.log

"${train_step[@]}" --run-dir refused optimizer.lrr=1 >refused.log 2>&1
expect "a wrong recipe keeps its exit code through srun" equals $? 2

"${train_step[@]}" --run-dir killed run.steps=100000 >killed.log 2>&1 &
step=$!
expect "a long run starts" wait_for_step killed 3
ranks=$(for pid in $(pgrep -x tessera); do
  tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "--run-dir killed" &&
    [ "$(readlink "/proc/$pid/cwd")" = "$work" ] && echo "$pid"
done)
expect "it has two ranks" equals "$(wc -w <<<"$ranks")" 2
start=$SECONDS
kill -KILL "${ranks##*$'\n'}"
wait $step
expect "a killed rank fails the step" test $? -ne 0
expect "and within ten seconds" test $((SECONDS - start)) -le 10

job=$(submit preempted)
expect "sbatch trains" wait_for_step preempted 5
expect "the run is still at it" test "$(last_step preempted)" -lt 1500
scancel --signal=USR1 --batch "$job"
expect "the job ends" wait_for_end "$job"
expect "the preempted job is completed" equals "$(job_field "$job" JobState)" COMPLETED
expect "with exit code 0" equals "$(job_field "$job" ExitCode)" 0:0
expect "after one restart" equals "$(job_field "$job" Restarts)" 1
expect "which resumed" equals "$(grep -c '"how":"resume' preempted/metrics.jsonl)" 1
expect "and it ends with the weights of the uninterrupted run" \
  "$TESSERA" checkpoint diff whole preempted

job=$(submit wrong optimizer.lrr=1)
expect "a job with a wrong recipe ends" wait_for_end "$job"
expect "as failed with its exit code" equals "$(job_field "$job" ExitCode)" 2:0
expect "and is not started again" equals "$(job_field "$job" Restarts)" 0

exit $((failures > 0))
