// SPDX-License-Identifier: Apache-2.0
// What bench_gpu_kernels times: calls of kernels with their tensors on the GPU, and how much each
// reads and writes or computes. gpu_memory_cases.cc, gpu_router_cases.cc, gpu_product_cases.cc.
#pragma once

#include <functional>
#include <string>
#include <vector>

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

struct BenchSize {
  int64_t rows = 0;
  int64_t hidden = 0;
  int64_t vocabulary = 0;
};

// On the GPU, uniform in [-0.5, 0.5).
Tensor random_on(Stream& stream, DType dtype, int64_t rows, int64_t columns);
Tensor random_integers_on(Stream& stream, int64_t count, int64_t below);
// Bytes of all elements together.
double bytes_of(std::initializer_list<Tensor> tensors);

std::vector<GpuCase> memory_cases(Stream& stream, BenchSize size);
std::vector<GpuCase> router_cases(Stream& stream, BenchSize size);
std::vector<GpuCase> arithmetic_cases(Stream& stream, BenchSize size);
std::vector<GpuCase> attention_cases(Stream& stream, BenchSize size);

}  // namespace tessera::bench
