// SPDX-License-Identifier: Apache-2.0
// Every hot kernel on a GPU beside what that GPU could do, measured in the same rounds: kernels
// that move memory beside a copy within the GPU (bytes read and written), matrix products and
// attention beside a large bf16 product of cuBLASLt on random data. Shapes: 8192 rows of a decoder
// with hidden 2048 (Llama) and of DeepSeek-V2-Lite; bf16, f32 where the trainer has f32. Times are
// those between two events around several launches; each round times every kernel once, medians are
// printed.
//
//   bench_gpu_kernels [--small] [ROUNDS]     --small: tiny shapes, to see that it runs at all
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "kernels/base/check.h"
#include "kernels/cuda_plugin.h"
#include "tests/bench/gpu_cases.h"
#include "tests/bench/timing.h"

namespace tessera::bench {
namespace {

double milliseconds(Stream& stream, int runs, const std::function<void()>& work) {
  Event before(stream.device(), Timing::on), after(stream.device(), Timing::on);
  before.record(stream);
  for (int run = 0; run < runs; ++run) work();
  after.record(stream);
  after.synchronize();
  return std::max(1e-6, after.milliseconds_since(before)) / runs;
}

struct Timed {
  GpuCase what;
  int runs = 1;
  std::vector<double> rates = {};  // per second, round by round
};

std::vector<Timed> timed(Stream& stream, std::vector<GpuCase> cases, int rounds) {
  constexpr double kMillisecondsEach = 10;
  constexpr double kMostRuns = 200;
  std::vector<Timed> all;
  for (GpuCase& each : cases) all.push_back({std::move(each)});
  for (Timed& each : all) {
    each.what.run();
    stream.synchronize();
    each.runs = static_cast<int>(
        std::clamp(kMillisecondsEach / milliseconds(stream, 1, each.what.run), 1.0, kMostRuns));
  }
  for (int round = 0; round < rounds; ++round)
    for (Timed& each : all)
      each.rates.push_back(each.what.work * 1e3 / milliseconds(stream, each.runs, each.what.run));
  return all;
}

double best_ceiling(const std::vector<Timed>& all, Limits limit) {
  double best = 0;
  for (const Timed& each : all)
    if (each.what.limit == limit && each.what.is_ceiling) best = median(each.rates);
  return best;
}

void report(const std::vector<Timed>& all) {
  std::printf("%-56s %10s   %-24s %s\n", "kernel", "median", "[least .. most]", "% of ceiling");
  for (const Limits limit : {Limits::memory, Limits::arithmetic}) {
    const double ceiling = best_ceiling(all, limit);
    const double unit = limit == Limits::memory ? 1e-9 : 1e-12;
    for (const Timed& each : all) {
      if (each.what.limit != limit) continue;
      const double rate = median(each.rates);
      const auto [least, most] = std::minmax_element(each.rates.begin(), each.rates.end());
      char span[64];
      std::snprintf(span, sizeof span, "[%.1f .. %.1f]", *least * unit, *most * unit);
      std::printf("%-56s %10.1f   %-24s %.0f%s\n", each.what.name.c_str(), rate * unit, span,
                  100 * rate / ceiling, each.what.is_ceiling ? " (the ceiling)" : "");
    }
    std::printf("%s; the ceiling is %.1f\n\n",
                limit == Limits::memory ? "GB/s read and written" : "TFLOP/s", ceiling * unit);
  }
}

int run(bool small, int rounds) {
  if (const std::string& problem = cuda_plugin().problem; !problem.empty()) {
    std::printf("SKIPPED: %s\n", problem.c_str());
    return 77;
  }
  const Device gpu{Device::Kind::cuda};
  Stream stream(gpu);
  const BenchSize size = small ? BenchSize{.rows = 128, .hidden = 64, .vocabulary = 512}
                               : BenchSize{.rows = 8192, .hidden = 2048, .vocabulary = 32768};
  std::vector<GpuCase> cases = memory_cases(stream, size);
  for (auto make : {router_cases, arithmetic_cases, attention_cases})
    for (GpuCase& each : make(stream, size)) cases.push_back(std::move(each));
  const std::vector<Timed> all = timed(stream, std::move(cases), rounds);
  report(all);
  std::printf("%s, %s: %zu kernels, median of %d rounds\n",
              cuda_accelerator().facts(0).name.c_str(), cuda_accelerator().libraries().c_str(),
              all.size(), rounds);
  if (small) std::printf("--small: these all ran; their rates mean nothing\n");
  return 0;
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  bool small = false;
  int rounds = 7;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--small") == 0)
      small = true;
    else
      rounds = std::max(1, std::atoi(argv[i]));
  }
  try {
    return tessera::bench::run(small, rounds);
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "bench_gpu_kernels: %s\n", error.what());
    return 1;
  }
}
