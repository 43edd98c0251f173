// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu_path.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>

#include <omp.h>

#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr std::array<const char*, 4> kNames = {"v2", "v3", "v4", "v4_bf16"};

bool supports_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
bool supports_v4() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

CpuPath initial_path() {
  const CpuPath best = best_cpu_path();
  const char* const wanted = std::getenv("TESSERA_CPU_PATH");
  if (wanted == nullptr || *wanted == '\0') return best;
  const std::optional<CpuPath> path = cpu_path_named(wanted);
  check(path.has_value(), ErrorKind::usage, "TESSERA_CPU_PATH is", wanted,
        "but must be v2, v3, v4 or v4_bf16");
  check(*path <= best, ErrorKind::usage, "TESSERA_CPU_PATH is", wanted,
        "but this machine runs at most", name(best));
  return *path;
}

std::atomic<CpuPath>& current_path() {
  static std::atomic<CpuPath> path = initial_path();
  return path;
}
std::atomic<int>& current_threads() {
  static std::atomic<int> threads = omp_get_max_threads();
  return threads;
}

}  // namespace

const char* name(CpuPath path) {
  return kNames.at(static_cast<size_t>(path));
}

std::optional<CpuPath> cpu_path_named(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<CpuPath>(found - kNames.begin());
}

CpuPath best_cpu_path() {
  check(__builtin_cpu_supports("sse4.2"), ErrorKind::usage,
        "this processor is older than x86-64-v2 (SSE4.2)");
  if (!supports_v3()) return CpuPath::v2;
  if (!supports_v4()) return CpuPath::v3;
  return __builtin_cpu_supports("avx512bf16") ? CpuPath::v4_bf16 : CpuPath::v4;
}

CpuPath cpu_path() {
  return current_path().load(std::memory_order_relaxed);
}

void set_cpu_path(CpuPath path) {
  check(path <= best_cpu_path(), ErrorKind::usage, "this machine cannot run", name(path));
  current_path() = path;
}

int cpu_threads() {
  return current_threads().load(std::memory_order_relaxed);
}

void set_cpu_threads(int threads) {
  check(threads >= 1, ErrorKind::usage, "run.threads must be at least 1, got", threads);
  current_threads() = threads;
}

}  // namespace tessera
