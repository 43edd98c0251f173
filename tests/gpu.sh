#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tessera on a GPU, on a bare machine: a compiler, CUDA 13 with cuDNN and NCCL, no network. What else
# it needs comes in build/gpu_pack.tar.xz, which tests/gpu_pack.sh made elsewhere. Two calls of at
# most ten minutes, each with its own table last; no stage stops the others.
#   tests/gpu.sh 1     builds, then everything that can be right or wrong
#   tests/gpu.sh 2     speed, with what call 1 built (or builds what it needs)
# Results: $OUT (build/gpu-results): gpu-N.txt, the table, and gpu-N-logs.tar.gz.
#   GPU_PACK=FILE      the pack; none: what is installed
#   GPU_STAND_IN=1     a rehearsal without a GPU: the stand-in takes its place, nothing is measured
#   GPU_SECONDS=570    of one call;  GPU_BUILD=build/gpu  GPU_ARCHITECTURES=90
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
out=${OUT:-$root/build/gpu-results}
build=${GPU_BUILD:-$root/build/gpu}
pack=${GPU_PACK:-$root/build/gpu_pack.tar.xz}
prefix=$root/build/gpu_prefix
last=${GPU_SECONDS:-570}
rehearsal=${GPU_STAND_IN:-}
tessera=$build/tessera
rounds=${rehearsal:+1}
rounds=${rounds:-7}
rows=()
failures=0

# stage NAME SECONDS COMMAND...: never later than the call's end. Exit code 77: skipped, and the
# last line of its output says why; otherwise that line is the stage's note.
stage() {
  local name=$1 limit=$2 start=$SECONDS left=$((last - SECONDS)) status=0 verdict note
  shift 2
  local log=$logs/${name//[^A-Za-z0-9]/_}.log
  [ "$limit" -le "$left" ] || limit=$left
  printf '\n== %s (at most %d s)\n' "$name" "$limit"
  if [ "$limit" -lt 5 ]; then
    status=77
    echo "no time left in this call" >"$log"
  else
    timeout -k 10 "$limit" "$root/tests/gpu.sh" in-stage "$@" >"$log" 2>&1 || status=$?
  fi
  case $status in
    0) verdict=ok ;; 77) verdict=skipped ;; 124 | 137) verdict="TIMED OUT" ;; *) verdict=FAILED ;;
  esac
  note=$(grep -v '^ *$' "$log" | tail -1 | cut -c1-110)
  case $verdict in FAILED | "TIMED OUT") failures=$((failures + 1)); tail -40 "$log" ;; esac
  rows+=("$(printf '%-34s %-9s %5d s  %s' "$name" "$verdict" $((SECONDS - start)) "$note")")
  echo "${rows[-1]}"
}

# --- The machine and the build
unpack() {
  [ -f "$pack" ] || { echo "no $pack: what is installed must do"; exit 77; }
  [ "$prefix/unpacked" -nt "$pack" ] ||
    { mkdir -p "$prefix" && tar -C "$prefix" -xJf "$pack" && touch "$prefix/unpacked"; } || exit 1
  du -sh "$prefix" | cut -f1
}
machine() {
  nproc
  c++ --version | head -1
  cmake --version | head -1
  command -v nvcc >/dev/null && nvcc --version | tail -2 | head -1
  if [ -n "$rehearsal" ]; then echo "rehearsal: the stand-in takes the GPU's place"; exit 0; fi
  command -v nvidia-smi >/dev/null || { echo "no nvidia-smi: no driver, no GPU"; exit 77; }
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
}
configure() {
  local options=(-DTESSERA_CUDA="$cuda") hdf5=$prefix/usr/hdf5
  [ "$cuda" = OFF ] || options+=(-DCMAKE_CUDA_ARCHITECTURES="${GPU_ARCHITECTURES:-90}")
  [ ! -d "$hdf5" ] || options+=(-DHDF5_ROOT="$hdf5")
  cmake -S "$root" -B "$build" -G Ninja -Wno-dev -DCMAKE_BUILD_TYPE=Release "${options[@]}" || return
  grep -E 'TESSERA_CUDA:|CMAKE_CUDA_COMPILER:' "$build/CMakeCache.txt" | tr '\n' ' '
}
compile() {  # ninja goes on after an error: what can be built is tested
  ninja -C "$build" -k 0 "$@" >"$logs/ninja.log" 2>&1
  local status=$?
  grep -E 'error:|error :|FAILED:' "$logs/ninja.log" | head -20
  [ -f "$build/.ninja_log" ] && echo "$(grep -c '\.o	' "$build/.ninja_log") objects, exit code $status"
  return $status
}

# --- Right or wrong
tests() {  # tests NAME-EXPRESSION: those of them with something to do on a GPU
  local label=gpu expression=$1
  [ -z "$rehearsal" ] || { label='unit|e2e'; expression="($1).*through_stand_in"; }
  export OMP_NUM_THREADS=$((($(nproc) + 3) / 4))  # of the references, several tests at a time
  ctest --test-dir "$build" -L "$label" -R "$expression" --output-on-failure --no-tests=error \
    -j "${2:-4}" --timeout 200 | tee "$logs/ctest.log"
  local status=${PIPESTATUS[0]}
  local all skipped
  all=$(grep -cE '^ *[0-9]+/[0-9]+ Test ' "$logs/ctest.log")
  skipped=$(grep -cE '^ *[0-9]+/[0-9]+ Test .*\*\*\*Skipped' "$logs/ctest.log")
  if [ "$all" -gt 0 ] && [ "$skipped" = "$all" ]; then
    grep -hA1 -E '(: Skipped$|^SKIPPED:)' "$build/Testing/Temporary/LastTest.log" |
      grep -vE '(: Skipped|--)$' | sort | uniq -c | sort -rn | head -1
    exit 77
  fi
  echo "$(grep 'tests passed' "$logs/ctest.log"), $skipped of them skipped"
  return "$status"
}
nccl() {  # one rank: a GPU that two ranks share is refused by NCCL
  [ -z "$rehearsal" ] || { echo "a rehearsal has no NCCL (e2e/nccl_test has a stand-in of it)"; exit 77; }
  ctest --test-dir "$build" -N -L gpu -R '^parallel/|nccl' | grep -q 'Test *#' ||
    { echo "no test of NCCL with label gpu in this build"; exit 77; }
  tests '^parallel/|nccl' 1
}
doctor() { "$tessera" doctor --gpu; }
sanitizer() {
  local tool
  [ -z "$rehearsal" ] || { echo "a rehearsal runs no GPU code"; exit 77; }
  tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null) ||
    { echo "no compute-sanitizer on this machine"; exit 77; }
  local failed=0 family
  for family in norm copy embedding router cross_entropy grouped_gemm attention; do
    timeout 60 "$tool" --tool memcheck --error-exitcode 9 --print-limit 5 \
      "$build/tests/kernels_${family}_test_on_gpu" >"$logs/memcheck_$family.log" 2>&1
    local status=$?
    grep -h 'ERROR SUMMARY' "$logs/memcheck_$family.log" | sed "s/^/$family: /"
    [ $status -ne 9 ] && [ $status -ne 1 ] || failed=1
    [ $status -ne 124 ] || echo "$family: not finished in 60 s"
  done
  [ $failed -ne 0 ] || echo "no error found"
  return $failed
}

# --- Speed
bench_kernels() { "$build/tests/bench_gpu_kernels" ${rehearsal:+--small}; }
bench_step() {  # bench_step BATCH SEQUENCE RECIPE [KEY=VALUE...]: tokens/s, MFU
  "$tessera" bench step --device cuda -B "$1" -T "$2" --rounds "$rounds" "${@:3}"
}
cudnn_step() {  # the same with cuDNN's attention, where the plugin has it
  TESSERA_ATTENTION=cudnn bench_step "$@" >"$logs/cudnn_step.log" 2>&1
  local status=$?
  cat "$logs/cudnn_step.log"
  ! grep -q cudnn_frontend.sh "$logs/cudnn_step.log" || exit 77
  return $status
}
pytorch() {  # pytorch MODEL BATCH SEQUENCE
  python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null ||
    { echo "PyTorch with CUDA cannot be imported here: no peer measured"; exit 77; }
  python3 tests/bench/pytorch_step.py --device cuda --model "$1" -B "$2" -T "$3" --rounds "$rounds"
}
mixture() {  # cut to fit 80 GiB: 5 of 27 layers, all 64 experts
  bench_step "$1" 4096 recipes/deepseek_v2_lite.yaml model.num_hidden_layers=5
}

# --- In order
case ${1:-} in
  1 | 2) call=$1 ;;
  in-stage) shift; "$@"; exit ;;  # a function from above, so that it can be given a time
  *) echo "usage: tests/gpu.sh 1 | 2" >&2; exit 2 ;;
esac
export logs=$out/gpu-$call-logs cuda=ON
rm -rf "$logs"
mkdir -p "$logs"
export PATH=$PATH:/usr/local/cuda/bin
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_plm_rsh_agent=true  # mpirun wants a remote shell to be there, also for one machine
stage "unpack" 60 unpack
if [ -d "$prefix/usr/bin" ]; then  # after the machine's own programs
  libraries=$prefix/usr/lib/$(c++ -print-multiarch)
  export PATH=$PATH:$prefix/usr/bin CMAKE_PREFIX_PATH=$prefix/usr OPAL_PREFIX=$prefix/usr
  export PMIX_INSTALL_PREFIX=$libraries/pmix2
  export LD_LIBRARY_PATH=$libraries:$libraries/openmpi/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
command -v nvcc >/dev/null || cuda=OFF
if [ -n "$rehearsal" ]; then
  export TESSERA_CUDA_PLUGIN=$build/tests/libtessera_cuda_stand_in.so
elif [ "$cuda" = ON ]; then
  export TESSERA_CUDA_PLUGIN=$build/libtessera_cuda.so
fi
plugins=()
[ "$cuda" = OFF ] || plugins+=(tessera_cuda)
[ -z "$rehearsal" ] || plugins+=(tessera_cuda_stand_in)
stage "machine" 20 machine
stage "configure" 60 configure
if [ "$call" = 1 ]; then
  stage "build the program" 330 compile tessera_cli "${plugins[@]}"
  stage "build the tests" 330 compile gpu_tests
  stage "doctor --gpu" 30 doctor
  stage "kernels" 150 tests '^kernels/.*_test' 4
  stage "whole layers and models" 90 tests '^trainer/' 4
  stage "training, verify, resume, memory" 180 tests '^e2e/' 1
  stage "NCCL" 60 nccl
  stage "compute-sanitizer" 150 sanitizer
else
  stage "build" 330 compile tessera_cli bench_gpu_kernels "${plugins[@]}"
  stage "bench: kernels" 150 bench_kernels
  if [ -n "$rehearsal" ]; then
    stage "bench: small decoder" 60 bench_step 1 64 recipes/quickstart.yaml
  else
    stage "bench: 124M" 60 bench_step 32 1024 recipes/llama_124m.yaml
    stage "bench: 124M, PyTorch" 90 pytorch llama_124m 32 1024
    stage "bench: 1.3B" 60 bench_step 4 4096 recipes/llama_1b3.yaml
    stage "bench: 1.3B, cuDNN's attention" 60 cudnn_step 4 4096 recipes/llama_1b3.yaml
    stage "bench: 1.3B, PyTorch" 120 pytorch llama_1b3 4 4096
    stage "bench: DeepSeek-V2-Lite, 5 layers" 60 mixture 2
    stage "bench: the same, PyTorch" 120 pytorch deepseek_v2_lite_5 2 4096
  fi
fi

{
  printf '%-34s %-9s %7s  %s\n' "stage" "" "time" "last line"
  printf '%s\n' "${rows[@]}"
  printf '%-34s %-9s %5d s  %s\n' "call $call" "$([ $failures -eq 0 ] && echo ok || echo FAILED)" \
    $SECONDS "$failures of ${#rows[@]} stages failed${rehearsal:+; a rehearsal, nothing was measured}"
} >"$out/gpu-$call.txt"
tar -C "$out" -czf "$logs.tar.gz" "$(basename "$logs")" && rm -rf "$logs"
echo
cat "$out/gpu-$call.txt"
[ $failures -eq 0 ]
