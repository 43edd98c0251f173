// SPDX-License-Identifier: Apache-2.0
// What bench_gpu_kernels times: calls of kernels with their tensors on the GPU, and how much each
// reads and writes or computes. gpu_memory_cases.cc, gpu_router_cases.cc, gpu_product_cases.cc;
// their inputs: gpu_inputs.cc.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera::bench {

enum class Limits { memory, arithmetic };

struct GpuCase {
  std::string name;
  Limits limit = Limits::memory;
  double work = 0;  // bytes read and written, or floating-point operations
  std::function<void()> run;
  bool is_ceiling = false;  // what the others of its kind are a share of
};

// A rate of memory means something only where the data do not fit the cache: four times the second
// level of an H200.
inline constexpr double kBeyondCache = 4 * 60e6;  // bytes

struct BenchSize {
  int64_t rows = 0;
  int64_t hidden = 0;
  int64_t vocabulary = 0;
  int64_t routed_rows = 0;  // of the router's small matrices
};

// On the GPU, uniform in [-0.5, 0.5); the same numbers again every 2^18 elements.
Tensor random_on(Stream& stream, DType dtype, int64_t rows, int64_t columns);
// Integers from 0 on: uniform; as words of a text, where the k-th has a share of about 1 / k; and
// uniform but for a tenth of them, one after another, that are equal (padding).
Tensor random_integers_on(Stream& stream, int64_t count, int64_t below);
Tensor zipf_integers_on(Stream& stream, int64_t count, int64_t below);
Tensor integers_with_a_run_on(Stream& stream, int64_t count, int64_t below);
// Bytes of all elements together.
double bytes_of(std::initializer_list<Tensor> tensors);
// run() while an environment variable has a value.
std::function<void()> with(const char* variable, const char* value, std::function<void()> run);
// Calls of attention that cuDNN has served so far; below 0: the plugin was built without it.
int64_t library_attention_calls();

struct BenchHeads {
  const char* name;
  int heads, kv_heads, qk_dim, v_dim;
};
const std::vector<BenchHeads>& bench_heads();
Attention causal(const BenchHeads& heads, int64_t sequences, int64_t length);

std::vector<GpuCase> memory_cases(Stream& stream, BenchSize size);
std::vector<GpuCase> router_cases(Stream& stream, BenchSize size);
std::vector<GpuCase> arithmetic_cases(Stream& stream, BenchSize size);
std::vector<GpuCase> attention_cases(Stream& stream, BenchSize size);

}  // namespace tessera::bench
