// SPDX-License-Identifier: Apache-2.0
// `tessera bench`: kernels, collectives and files of this machine, beside what it could do at best.
#include "launch/bench/bench.h"

#include "kernels/base/check.h"
#include "kernels/cuda_plugin.h"
#include "launch/job/device_choice.h"
#include "launch/report/format.h"
#include "launch/run/preflight.h"

namespace tessera {

void check_room(const std::string& sizes, double bytes, Device device) {
  const int64_t free = device.kind == Device::Kind::cuda
                           ? cuda_accelerator().memory(device.index).free
                           : available_memory();
  check(free == 0 || bytes <= static_cast<double>(free), ErrorKind::capacity,
        sizes + " would need " + as_binary_bytes(bytes) + ", but " +
            as_binary_bytes(static_cast<double>(free)) + " are free: choose smaller ones");
}

int bench_verb(const BenchCommand& command) {
  const std::string& what = command.what;
  const bool tf32 = command.dtype == "tf32";
  const DType dtype = tf32 || command.dtype == "f32" ? DType::f32
                      : command.dtype == "f16"       ? DType::f16
                                                     : DType::bf16;
  check(command.recipe.empty() || what == "step", ErrorKind::usage,
        "a recipe is for `tessera bench step`;", what, "has shapes of its own");
  check(!tf32 || what == "step" || what == "gemm", ErrorKind::usage,
        "tf32 is how matrix products round f32: for `tessera bench step` and `gemm`, not", what);
  check((command.directory.empty() && command.mebibytes == 0) || what == "io", ErrorKind::usage,
        "--dir and --mib are for `tessera bench io`, not", what);
  check(!command.shaped || what == "gemm" || what == "attention" || what == "step",
        ErrorKind::usage,
        "--batch and --sequence are for `tessera bench gemm`, `attention` and `step`;", what,
        "has sizes of its own");
  check(command.batch <= INT32_MAX / command.sequence, ErrorKind::capacity,
        "--batch " + std::to_string(command.batch) + " times --sequence " +
            std::to_string(command.sequence) + " are more rows than a kernel counts,",
        INT32_MAX);
  check(command.microbatches == 1 || what == "step", ErrorKind::usage,
        "--microbatches are for `tessera bench step`;", what, "has none");
  check(command.device == "cpu" || what != "io", ErrorKind::usage,
        "bench io is of the host's files: it has no --device");
  earlier_medians(command);  // a file that will not do is found before anything is measured
  if (what == "io") return bench_io(command, dtype);
  if (what == "allreduce") return bench_all_reduce(command, dtype);
  const Device device = resolve_device(command.device, 0);
  choose_tf32(device, tf32);
  if (what == "gemm") return bench_gemm(command, dtype, device);
  if (what == "attention") return bench_attention(command, dtype, device);
  if (what == "adamw") return bench_adamw(command, dtype, device);
  return bench_step(command, dtype, device);
}

}  // namespace tessera
