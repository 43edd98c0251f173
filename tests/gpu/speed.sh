# SPDX-License-Identifier: Apache-2.0
# tests/gpu.sh's measurements. Predictions to hold them against: tests/bench/gpu_predictions.tsv.

predictions=$root/tests/bench/gpu_predictions.tsv

bench_once() { "$build/tests/bench_gpu_kernels" --small 1; }
bench_check() { "$build/tests/bench_gpu_kernels" --check ${rehearsal:+--small}; }
bench_kernels() {
  "$build/tests/bench_gpu_kernels" ${rehearsal:+--small} --predictions "$predictions" \
    --rows "$rows_file" "$rounds"
}

number_in() { sed -n "s/.*\"$1\":\([-0-9.e+]*\).*/\1/p" "$2" | tail -1; }

# bench_step BATCH SEQUENCE MICROBATCHES RECIPE [KEY=VALUE...]: the share of the peak beside the
# prediction's, a line of values, and what took how long.
bench_step() {
  local log=$logs/${stage_name//[^A-Za-z0-9]/_}.json share predicted note
  [ -z "$rehearsal" ] || export OMP_NUM_THREADS=1  # threads that wait for each other on a busy machine
  "$tessera" bench step --device cuda -B "$1" -T "$2" --microbatches "$3" --rounds "$rounds" --json \
    "${@:4}" >"$log" || return
  grep -q '^{' "$log" || { cat "$log"; return 1; }
  share=$(number_in percent_of_peak "$log")
  predicted=$(awk -F'\t' -v name="$stage_name" '$1 == name { print $3 }' "$predictions")
  cat "$log"
  echo "values: $(tail -1 "$log")"
  note="$(number_in tokens_per_second "$log") tokens/s"
  [ -z "$share" ] || note="$note, $share % of the peak"
  [ -z "$share" ] || [ -z "$predicted" ] ||
    note="$note, predicted $predicted$(awk -v a="$share" -v b="$predicted" \
      'BEGIN { if (a < 0.75 * b || a > 1.25 * b) printf " (%+.0f %%: look here first)", 100 * (a / b - 1) }')"
  echo "$note"
}
with_attention() {  # with_attention own|cudnn|plain COMMAND...
  export TESSERA_ATTENTION=$1
  "${@:2}" 2>"$logs/attention.log"
  local status=$?
  cat "$logs/attention.log" >&2
  ! grep -q 'cudnn_frontend.sh' "$logs/attention.log" || { echo "cuDNN's attention is not built in"; exit 77; }
  return $status
}
mixture() {  # mixture BATCH MICROBATCHES: cut to fit 80 GiB, 5 of 27 layers, all 64 experts
  bench_step "$1" 4096 "$2" recipes/deepseek_v2_lite.yaml model.num_hidden_layers=5
}
pytorch() {  # pytorch MODEL BATCH SEQUENCE
  python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null ||
    { echo "PyTorch with CUDA cannot be imported here: no peer measured"; exit 77; }
  python3 tests/bench/pytorch_step.py --device cuda --model "$1" -B "$2" -T "$3" --rounds "$rounds"
}

# Which bound a kernel meets: one launch each of about a dozen, at real sizes.
profile() {
  local tool kernels metrics
  [ -z "$rehearsal" ] || { echo "a rehearsal runs no GPU code"; exit 77; }
  tool=$(command -v ncu || ls /usr/local/cuda/bin/ncu 2>/dev/null) || { echo "no ncu here"; exit 77; }
  kernels='forward|backward_keys|backward_queries|row_deltas|rows_of_groups|weights_of_groups'
  kernels+='|row_stats|normalize|backward_input|partial_sums|update_tiles|sums_of_rows|for_each_pack'
  metrics=sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active
  metrics+=,dram__throughput.avg.pct_of_peak_sustained_elapsed
  metrics+=,l1tex__data_pipe_lsu_wavefronts_mem_shared.avg.pct_of_peak_sustained_elapsed
  metrics+=,sm__issue_active.avg.pct_of_peak_sustained_elapsed,gpu__time_duration.sum
  metrics+=,smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio
  metrics+=,smsp__average_warps_issue_stalled_barrier_per_issue_active.ratio
  metrics+=,smsp__average_warps_issue_stalled_math_pipe_throttle_per_issue_active.ratio
  metrics+=,smsp__average_warps_issue_stalled_mio_throttle_per_issue_active.ratio
  "$tool" --clock-control none --csv --page raw --metrics "$metrics" --kernel-name "regex:^($kernels)" \
    --launch-count 60 "$build/tests/bench_gpu_kernels" --once >"$logs/ncu.csv" || return
  echo "$(grep -c '^"[0-9]' "$logs/ncu.csv") launches in ncu.csv"
}
