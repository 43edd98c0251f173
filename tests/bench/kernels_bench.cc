// SPDX-License-Identifier: Apache-2.0
// Our matrix products beside oneDNN's at the shapes of docs/performance.md: a pair is timed one
// right after the other, so that other programs disturb both alike; printed are the medians, and
// the median, least and most of the pairs' ratios.
//
//   bench_kernels [f32|bf16 [ROUNDS [THREADS]]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <omp.h>

#include "kernels/cpu_path.h"
#include "kernels/peak.h"
#include "tests/bench/onednn_product.h"
#include "tests/bench/timing.h"

namespace tessera {
namespace {

struct Shape {
  const char* name;
  int64_t m, n, k;
  bool transpose_a, transpose_b;
};

constexpr Shape kShapes[] = {
    {"projection nt", 1024, 768, 768, false, true}, {"qkv nt", 1024, 2304, 768, false, true},
    {"fc1 nt", 1024, 3072, 768, false, true},       {"fc2 nt", 1024, 768, 3072, false, true},
    {"projection nt", 4096, 768, 768, false, true}, {"qkv nt", 4096, 2304, 768, false, true},
    {"fc1 nt", 4096, 3072, 768, false, true},       {"fc2 nt", 4096, 768, 3072, false, true},
    {"d input nn", 4096, 3072, 768, false, false},  {"d weight tn", 3072, 768, 4096, true, false},
    {"head nt", 1024, 50304, 768, false, true},     {"expert nt", 256, 512, 512, false, true},
    {"expert nt", 64, 512, 512, false, true},       {"expert nt", 32, 512, 512, false, true},
    {"expert nt", 8, 512, 512, false, true},        {"generation nt", 1, 2304, 768, false, true},
    {"nt", 1024, 2048, 512, false, true},           {"nt", 4096, 512, 2048, false, true},
};

void measure(DType dtype, int rounds) {
  constexpr double kSecondsEach = 0.03;
  Stream stream{Device{}};
  double peak = measure_peak_flops(dtype, cpu_threads());
  std::printf("%-32s %9s %9s   %s\n", "M x N x K", "ours", "oneDNN", "ratio [least .. most]");
  for (const Shape& s : kShapes) {
    const Gemm product{
        .a = noise(stream, dtype, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k),
        .b = noise(stream, dtype, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n),
        .c = Tensor({}, dtype, {s.m, s.n}),
        .transpose_a = s.transpose_a,
        .transpose_b = s.transpose_b};
    OneDnnProduct peer(product);
    const auto ours = [&] { gemm(stream, product); };
    const auto theirs = [&] { peer.run(); };
    ours();
    theirs();
    const double once = std::max(1e-7, seconds_of(2, theirs));
    const int runs = static_cast<int>(std::clamp(kSecondsEach / once, 1.0, 1e5));
    std::vector<double> mine, other, ratios;
    for (int round = 0; round < rounds; ++round) {
      mine.push_back(seconds_of(runs, ours));
      other.push_back(seconds_of(runs, theirs));
      ratios.push_back(other.back() / mine.back());
    }
    const double flops =
        2e-9 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
    char shape[64];
    std::snprintf(shape, sizeof shape, "%lld x %lld x %lld %s", static_cast<long long>(s.m),
                  static_cast<long long>(s.n), static_cast<long long>(s.k), s.name);
    std::printf("%-32s %9.1f %9.1f   %.2f [%.2f .. %.2f]\n", shape, flops / median(mine),
                flops / median(other), median(ratios),
                *std::min_element(ratios.begin(), ratios.end()),
                *std::max_element(ratios.begin(), ratios.end()));
  }
  peak = std::max(peak, measure_peak_flops(dtype, cpu_threads()));
  std::printf("GFLOP/s, %s, %s, %d threads, median of %d pairs; peak %.0f\n", name(dtype),
              name(cpu_path()), cpu_threads(), rounds, peak * 1e-9);
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  if (argc > 3) tessera::set_cpu_threads(std::atoi(argv[3]));
  omp_set_num_threads(tessera::cpu_threads());
  tessera::measure(
      argc > 1 && std::strcmp(argv[1], "f32") == 0 ? tessera::DType::f32 : tessera::DType::bf16,
      argc > 2 ? std::atoi(argv[2]) : 7);
  return 0;
}
