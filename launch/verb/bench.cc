// SPDX-License-Identifier: Apache-2.0
// `tessera bench`: kernels, collectives and files of this machine, beside what it could do at best.
#include "launch/bench/bench.h"

#include <algorithm>
#include <memory>

#include "kernels/base/check.h"
#include "launch/job/device_choice.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

// A benchmark and the flags that mean something to it; the others are refused.
struct Benchmark {
  const char* name;
  int (*run)(const BenchCommand& command, DType dtype, Device device);
  bool on_device = true;      // --device says which one
  bool shaped = false;        // --batch, --sequence
  bool rounds_tf32 = false;   // --dtype tf32
  bool trains = false;        // a recipe, --microbatches
  bool writes_files = false;  // --dir, --mib
};

const std::vector<Benchmark>& benchmarks() {
  static const std::vector<Benchmark> all = {
      {.name = "gemm", .run = bench_gemm, .shaped = true, .rounds_tf32 = true},
      {.name = "attention", .run = bench_attention, .shaped = true},
      {.name = "adamw", .run = bench_adamw},
      {.name = "allreduce",
       .run = [](const BenchCommand& c, DType dtype, Device) { return bench_all_reduce(c, dtype); },
       .on_device = false},
      {.name = "io",
       .run = [](const BenchCommand& c, DType dtype, Device) { return bench_io(c, dtype); },
       .on_device = false,
       .writes_files = true},
      {.name = "step", .run = bench_step, .shaped = true, .rounds_tf32 = true, .trains = true}};
  return all;
}

std::vector<std::string> names_of_benchmarks() {
  std::vector<std::string> names;
  for (const Benchmark& each : benchmarks()) names.emplace_back(each.name);
  return names;
}

const Benchmark& benchmark_named(const std::string& name) {
  return *std::find_if(benchmarks().begin(), benchmarks().end(),
                       [&](const Benchmark& each) { return each.name == name; });
}

void check_flags(const Benchmark& benchmark, const BenchCommand& command, bool tf32) {
  const char* what = benchmark.name;
  check(command.recipe.empty() || benchmark.trains, ErrorKind::usage,
        "a recipe is for `tessera bench step`;", what, "has shapes of its own");
  check(!tf32 || benchmark.rounds_tf32, ErrorKind::usage,
        "tf32 is how matrix products round f32: for `tessera bench step` and `gemm`, not", what);
  check((command.directory.empty() && command.mebibytes == 0) || benchmark.writes_files,
        ErrorKind::usage, "--dir and --mib are for `tessera bench io`, not", what);
  check(!command.shaped || benchmark.shaped, ErrorKind::usage,
        "--batch and --sequence are for `tessera bench gemm`, `attention` and `step`;", what,
        "has sizes of its own");
  check(command.batch <= INT32_MAX / command.sequence, ErrorKind::capacity,
        "--batch " + std::to_string(command.batch) + " times --sequence " +
            std::to_string(command.sequence) + " are more rows than a kernel counts,",
        INT32_MAX);
  check(command.microbatches == 1 || benchmark.trains, ErrorKind::usage,
        "--microbatches are for `tessera bench step`;", what, "has none");
  check(command.device == "cpu" || !benchmark.writes_files, ErrorKind::usage,
        "bench io is of the host's files: it has no --device");
}

int run_bench(const BenchCommand& command) {
  const Benchmark& benchmark = benchmark_named(command.what);
  const bool tf32 = command.dtype == "tf32";
  const DType dtype = tf32 ? DType::f32 : dtype_named(command.dtype).value();
  check_flags(benchmark, command, tf32);
  earlier_medians(command);  // a file that will not do is found before anything is measured
  Device device;
  if (benchmark.on_device) {
    device = resolve_device(command.device, 0);
    choose_tf32(device, tf32);
  }
  return benchmark.run(command, dtype, device);
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
                 OneOf{names_of_benchmarks()},
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
