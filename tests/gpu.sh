#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tessera on a GPU, on a bare machine: a compiler and CUDA 13, no network; NCCL and cuDNN where they
# are (packages or Python's wheels). What else it needs comes in build/gpu_pack.tar.xz, and its
# programs ready built in build/gpu_binaries.tar.xz, which tests/gpu_pack.sh made elsewhere. Two
# calls of at most ten minutes; no stage stops the others.
#   tests/gpu.sh 1     everything that can be right or wrong, and a first speed
#   tests/gpu.sh 2     speed
# Results in $OUT (build/gpu-results): gpu-N.jsonl, a row for each stage and test, written as it
# happens; gpu-N.txt, the table, last; gpu-N-logs.tar.gz.
#   GPU_PACK=FILE GPU_BINARIES=FILE   the two packs; none: what is installed, and a build here
#   GPU_REBUILD=1      builds here, whatever was carried
#   GPU_STAND_IN=1     a rehearsal without a GPU: the stand-in takes its place, nothing is measured
#   GPU_FAULTS=1       in a rehearsal: one test more that hangs and one that crashes
#   GPU_SECONDS=570    of one call;  GPU_BUILD=build/gpu  GPU_ARCHITECTURES=90
# Its parts: tests/gpu/*.sh.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
out=${OUT:-$root/build/gpu-results}
build=${GPU_BUILD:-$root/build/gpu}
pack=${GPU_PACK:-$root/build/gpu_pack.tar.xz}
binaries=${GPU_BINARIES:-$root/build/gpu_binaries.tar.xz}
prefix=$root/build/gpu_prefix
last=${GPU_SECONDS:-570}
rehearsal=${GPU_STAND_IN:-}
tessera=$build/tessera
rounds=${GPU_ROUNDS:-${rehearsal:+1}}
rounds=${rounds:-7}
table=()
failures=0
for part in stages build tests speed; do . "$root/tests/gpu/$part.sh"; done

machine() {
  nproc
  c++ --version | head -1
  cmake --version | head -1
  command -v nvcc >/dev/null && nvcc --version | tail -2 | head -1
  if [ -n "$rehearsal" ]; then echo "rehearsal: the stand-in takes the GPU's place"; exit 0; fi
  command -v nvidia-smi >/dev/null || { echo "no nvidia-smi: no driver, no GPU"; exit 77; }
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
}
launcher() { mpirun --oversubscribe -n 2 true && mpirun --version | head -1; }
doctor() { "$tessera" doctor --gpu; }
faults() {  # a rehearsal's own two tests
  [ -n "${GPU_FAULTS:-}" ] || { echo "not asked for (GPU_FAULTS)"; exit 77; }
  grep -q '^rehearsal/' "$(list_of_tests)" || printf '%s\t%s\t%s\t%s\n' \
    rehearsal/hangs unit parallel "'sh' '-c' 'echo \"[ RUN      ] It.Hangs\"; sleep 1000'" \
    rehearsal/crashes unit parallel "'sh' '-c' 'echo \"[ RUN      ] It.Crashes\"; kill -SEGV \$\$'" \
    >>"$(list_of_tests)"
  tests '^rehearsal/' 4 10
}

case ${1:-} in
  1 | 2) call=$1 ;;
  in-stage) shift; "$@"; exit ;;  # a function from above, so that it can be given a time
  *) echo "usage: tests/gpu.sh 1 | 2" >&2; exit 2 ;;
esac
export logs=$out/gpu-$call-logs rows_file=$out/gpu-$call.jsonl cuda=ON
rm -rf "$logs" "$rows_file"
mkdir -p "$logs"
export PATH=$PATH:/usr/local/cuda/bin
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_plm_rsh_agent=true  # mpirun wants a remote shell to be there, also for one machine
stage "unpack" 60 unpack
if [ -d "$prefix/usr/bin" ]; then  # after the machine's own programs
  libraries=$prefix/usr/lib/$(c++ -print-multiarch 2>/dev/null || echo x86_64-linux-gnu)
  export PATH=$PATH:$prefix/usr/bin CMAKE_PREFIX_PATH=$prefix/usr OPAL_PREFIX=$prefix/usr
  export PMIX_INSTALL_PREFIX=$libraries/pmix2
  export LD_LIBRARY_PATH=$libraries:$libraries/openmpi/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
# Carried programs find wheels' libraries by this, since they were built where others were.
wheels=$(python3 -c 'import nvidia; print(":".join(p + "/" + d + "/lib" for p in nvidia.__path__ for d in ("nccl", "cudnn")))' 2>/dev/null)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$build${wheels:+:$wheels}
command -v nvcc >/dev/null || cuda=OFF
if [ -n "$rehearsal" ]; then
  export TESSERA_CUDA_PLUGIN=$build/tests/libtessera_cuda_stand_in.so
else
  export TESSERA_CUDA_PLUGIN=$build/libtessera_cuda.so
fi
plugins=()
[ "$cuda" = OFF ] || plugins+=(tessera_cuda)
[ -z "$rehearsal" ] || plugins+=(tessera_cuda_stand_in)
stage "machine" 20 machine
if [ -z "$rehearsal" ] && command -v nvidia-smi >/dev/null; then
  timeout "$last" nvidia-smi dmon -s pucm -o T -f "$logs/dmon.txt" >/dev/null 2>&1 &
  monitor=$!
fi
stage "mpirun" 20 launcher
stage "programs carried here" 60 carried
stage "configure" 60 configure
stage "build the program" 330 compile tessera_cli bench_gpu_kernels "${plugins[@]}"
stage "doctor --gpu" 30 doctor
if [ "$call" = 1 ]; then
  # By information for each second: what decides whether anything works at all, first.
  stage "bench: every kernel once" 40 bench_once
  if [ -n "$rehearsal" ]; then
    stage "bench: small decoder" 40 bench_step 1 64 1 recipes/quickstart.yaml
    stage "a test that hangs, one that crashes" 60 faults
  else
    GPU_ROUNDS=3 stage "bench: 1.3B, a first look" 40 bench_step 4 4096 1 recipes/llama_1b3.yaml
  fi
  stage "build the tests" 330 compile_rest gpu_tests
  stage "kernels" 150 tests '^kernels/.*_test' 4 40
  stage "bench: check at real shapes" 60 bench_check
  stage "whole layers and models" 90 tests '^trainer/' 4 40
  stage "training, verify, resume, memory" 180 cases '^e2e/gpu_test' 2 60
  stage "NCCL" 60 tests '^parallel/' 1 50
  stage "compute-sanitizer" 90 sanitizer
  stage "memory to its end" 60 serial_tests '^kernels/' 50
else
  stage "bench: kernels" 150 bench_kernels
  if [ -n "$rehearsal" ]; then
    stage "bench: small decoder" 60 bench_step 1 64 2 recipes/quickstart.yaml
  else
    stage "bench: 1.3B" 40 with_attention own bench_step 4 4096 1 recipes/llama_1b3.yaml
    stage "bench: 1.3B, cuDNN's attention" 40 with_attention cudnn bench_step 4 4096 1 recipes/llama_1b3.yaml
    stage "bench: 1.3B, 4 microbatches" 60 with_attention own bench_step 4 4096 4 recipes/llama_1b3.yaml
    stage "bench: 124M" 40 bench_step 32 1024 1 recipes/llama_124m.yaml
    stage "bench: DeepSeek-V2-Lite, 5 layers" 40 mixture 2 1
    stage "bench: DeepSeek-V2-Lite, 5 layers, 4 microbatches" 60 mixture 2 4
    stage "ncu" 70 profile
    stage "bench: 1.3B, PyTorch" 100 pytorch llama_1b3 4 4096
    stage "bench: 124M, PyTorch" 80 pytorch llama_124m 32 1024
    stage "bench: DeepSeek-V2-Lite, PyTorch" 100 pytorch deepseek_v2_lite_5 2 4096
  fi
  [ -n "$rehearsal" ] && stage "ncu" 70 profile
fi
[ -z "${monitor:-}" ] || kill "$monitor" 2>/dev/null

{
  printf '%-34s %-9s %7s  %s\n' "stage" "" "time" "last line"
  printf '%s\n' "${table[@]}"
  printf '%-34s %-9s %5d s  %s\n' "call $call" "$([ $failures -eq 0 ] && echo ok || echo FAILED)" \
    $SECONDS "$failures of ${#table[@]} stages failed${rehearsal:+; a rehearsal, nothing was measured}"
} >"$out/gpu-$call.txt"
row "call $call" "$([ $failures -eq 0 ] && echo ok || echo failed)" $SECONDS "$failures stages failed"
tar -C "$out" -czf "$logs.tar.gz" "$(basename "$logs")" && rm -rf "$logs"
echo
cat "$out/gpu-$call.txt"
[ $failures -eq 0 ]
