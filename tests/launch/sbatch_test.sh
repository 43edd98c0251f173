#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests what launch/slurm/train.sbatch does after each exit code and signal, with programs that stand
# in for srun, scontrol and sleep. usage: sbatch_test.sh SOURCE_DIRECTORY
set -uo pipefail
script=$1/launch/slurm/train.sbatch
work=$(mktemp -d /tmp/tessera-sbatch-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

expect() {  # expect SENTENCE COMMAND...: the command must succeed
  local sentence=$1
  shift
  "$@" && return
  echo "FAILED   $sentence"
  sed 's/^/         /' log
  failures=$((failures + 1))
}
equals() { [ "$1" = "$2" ] || { echo "  got '$1', wanted '$2'"; false; }; }

mkdir bin
cat >bin/srun <<'STUB'
#!/bin/bash
echo "$*" >>srun.calls
[ -z "${STUB_SAVED:-}" ] || echo saved >>"$TESSERA_READY_FILE"
exec bash -c "${STUB_SRUN:-exit 0}"
STUB
cat >bin/scontrol <<'STUB'
#!/bin/bash
case $1 in
  show) echo "JobId=5 JobState=${STUB_STATE:-RUNNING} Reason=${STUB_REASON:-None}" ;;
  *) echo "$*" >>scontrol.calls ;;
esac
STUB
chmod +x bin/*
export PATH=$work/bin:$PATH SLURM_JOB_ID=5 SLURM_SUBMIT_DIR=$work TESSERA_BUSY_SECONDS=0

run() {  # run ARGUMENT...: sets code, requeued, called; log holds the output
  : >srun.calls; : >scontrol.calls
  bash "$script" "$@" >log 2>&1
  code=$?
  requeued=$(grep -c '^requeue 5$' scontrol.calls)
  called=$(sed 's/.* train //' srun.calls)
}

for each in 75 7 9 1 129 134 135 137 138 139 143; do
  STUB_SRUN="exit $each" run r.yaml
  expect "after $each the job is queued again" equals "$requeued" 1
  expect "and its exit code is kept" equals "$code" "$each"
  expect "and the log says so" grep -q "queued again" log
done
for each in 0 2 3 4 5 6 8 70 127 99; do
  rm -f .tessera-5.state
  STUB_SRUN="exit $each" run r.yaml
  expect "after $each the job ends" equals "$requeued $code" "0 $each"
  expect "and leaves no file" test ! -e .tessera-5.state
  [ "$each" = 0 ] || expect "and says why" grep -q "exit code $each.* not queued again" log
done

SLURM_RESTART_COUNT=20 STUB_SRUN="exit 137" run r.yaml
expect "a job that keeps failing ends" equals "$requeued" 0
expect "and says why" grep -q "after 20 restarts" log
SLURM_RESTART_COUNT=20 STUB_SRUN="exit 75" run r.yaml
expect "one that is preempted does not" equals "$requeued" 1
STUB_STATE=COMPLETING STUB_SRUN="exit 75" run r.yaml
expect "a cancelled job stays cancelled" equals "$requeued" 0
STUB_STATE=COMPLETING STUB_REASON=TimeLimit STUB_SRUN="exit 75" run r.yaml
expect "one whose time is up goes on" equals "$requeued" 1

rm -f .tessera-5.state
STUB_SRUN="exit 7" run r.yaml --resume x/step-00000004 optimizer.lr=1
expect "--resume is taken from the arguments" equals "$called" "r.yaml --resume x/step-00000004 optimizer.lr=1"
STUB_SAVED=1 STUB_SRUN="exit 7" run r.yaml --resume x/step-00000004 optimizer.lr=1
expect "and again while nothing was saved" equals "$called" "r.yaml --resume x/step-00000004 optimizer.lr=1"
STUB_SRUN="exit 7" run r.yaml --resume x/step-00000004 optimizer.lr=1
expect "afterwards what was saved counts" equals "$called" "r.yaml optimizer.lr=1"
STUB_SRUN="exit 7" run r.yaml --resume=none
expect "however the flag is written" equals "$called" "r.yaml"

# Signals. The stand-in says "ready" half a second after it has begun, and ends by TERM until then.
slow='echo started >started; sleep 0.5; trap "exit 75" USR1; echo ready >>"$TESSERA_READY_FILE"
for i in $(seq 200); do sleep 0.1; done; exit 99'
signalled() {  # SIGNAL...: while the ranks are not ready yet
  rm -f started .tessera-5.state
  : >srun.calls; : >scontrol.calls
  STUB_SRUN="$slow" bash "$script" r.yaml >log 2>&1 &
  local job=$! try signal
  for try in $(seq 600); do [ -e started ] && break; sleep 0.05; done
  for signal in "$@"; do kill "-$signal" $job; sleep 0.1; done
  wait $job
  code=$?
}
signalled USR1
expect "USR1 waits until the ranks are ready" equals "$code" 75
signalled TERM
expect "so does TERM" equals "$code" 75
expect "and the job is queued again" grep -q "requeue 5" scontrol.calls
signalled TERM TERM
expect "a second TERM ends the job" equals "$code" 143
expect "for good" equals "$(cat scontrol.calls)" ""

[ $failures -eq 0 ] && echo "ok"
exit $((failures > 0))
