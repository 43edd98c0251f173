// SPDX-License-Identifier: Apache-2.0
// `tessera bench`: kernels, collectives and files of this machine, beside what it could do at best.
#include "launch/bench/bench.h"

#include <memory>

#include "kernels/base/check.h"
#include "kernels/cuda_plugin.h"
#include "launch/job/device_choice.h"
#include "launch/report/format.h"
#include "launch/run/preflight.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"

namespace tessera {

void check_room(const std::string& sizes, double bytes, Device device) {
  const int64_t free = device.kind == Device::Kind::cuda
                           ? cuda_accelerator().memory(device.index).free
                           : available_memory();
  check(free == 0 || bytes <= static_cast<double>(free), ErrorKind::capacity,
        sizes + " would need " + as_binary_bytes(bytes) + ", but " +
            as_binary_bytes(static_cast<double>(free)) + " are free: choose smaller ones");
}

namespace {

int run_bench(const BenchCommand& command) {
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

}  // namespace

Verb bench_verb() {
  const auto c = std::make_shared<BenchCommand>();
  const FlagTraits shown{.shows_default = true};
  const FlagTraits shape{.shows_default = true, .given = &c->shaped};
  const Whole positive{1, INT32_MAX};
  constexpr int64_t kMostMicrobatches = 1 << 16;
  return {
      .name = "bench",
      .help = "speed of this machine beside what it could do at best",
      .flags = {{"what",
                 &c->what,
                 "gemm | attention | adamw | allreduce | io | step",
                 OneOf{{"gemm", "attention", "adamw", "allreduce", "io", "step"}},
                 {.required = true}},
                {"--dtype", &c->dtype, "f32 | bf16 | f16; gemm and step on a GPU also tf32",
                 OneOf{{"f32", "bf16", "f16", "tf32"}}, shown},
                {"-B,--batch", &c->batch, "gemm, attention, step: sequences", positive, shape},
                {"-T,--sequence", &c->sequence, "the same: tokens of a sequence", positive, shape},
                {"--microbatches", &c->microbatches,
                 "step: microbatches of a step, each of --batch sequences",
                 Between{1, kMostMicrobatches}, shown},
                {"--rounds", &c->rounds, "the median of so many is shown", positive, shown},
                {"recipe", &c->recipe,
                 "step: whose model, router, optimizer and parallel.recompute; default 124M"},
                overrides_row(c->overrides, "step: key=value ... of the recipe"),
                {"--device", &c->device, "cpu | cuda", OneOf{{"cpu", "cuda"}}, shown},
                {"--dir", &c->directory, "io: where to write (default: here)", ExistingDirectory{}},
                {"--mib", &c->mebibytes, "io: MiB of each rank (default: 256)", positive},
                {"--compare", &c->compare, "what --json wrote before: the ratio to it",
                 ExistingFile{}},
                json_row(c->json)},
      .run = [c] { return run_bench(*c); }};
}

}  // namespace tessera
