// SPDX-License-Identifier: Apache-2.0
// How tests compare numbers. One metric for all kernels (after DeepGEMM):
//   difference(x, y) = 1 - 2 <x, y> / (<x, x> + <y, y>)
// 0 for equal tensors, about half the square of the relative error otherwise; and one bound for
// each element type, in the table below. Inputs are drawn by Philox, so a test sees the same
// numbers everywhere.
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "kernels/base/random.h"
#include "kernels/base/tensor.h"
#include "kernels/cpu_path.h"

namespace tessera::test {

inline constexpr Device kCpu{Device::Kind::cpu, 0};
inline constexpr Device kReference{Device::Kind::reference, 0};

// The relative error that a kernel may make, squared and halved, so that it bounds difference():
// f32 keeps sums of some thousand terms within 16 roundings; storing the result in bf16 or f16
// costs at most one rounding (2^-8, 2^-11) an element, a third of it on average.
inline double bound(DType dtype) {
  switch (dtype) {
    case DType::f64: return 1e-24;
    case DType::f32: return 1e-12;
    case DType::bf16: return 1.0e-5;
    case DType::f16: return 1.5e-7;
    default: return 0;
  }
}

inline Stream& cpu_stream() {
  static Stream stream(kCpu);
  return stream;
}
inline Stream& reference_stream() {
  static Stream stream(kReference);
  return stream;
}

// A matrix inside a wider one, so that its pitch is not its width.
inline Tensor sliced(Device device, DType dtype, int64_t rows, int64_t columns) {
  return Tensor(device, dtype, {rows, columns + 5}).column_slice(3, columns);
}

// in as another type, on another host device.
inline Tensor converted(const Tensor& in, Device device, DType dtype, bool slice = false) {
  const Tensor out = slice ? sliced(device, dtype, in.rows(), in.columns())
                           : Tensor(device, dtype, {in.rows(), in.columns()});
  cast(reference_stream(), in, out);
  return out;
}

// Normal numbers of the given size, exact in dtype, as f64 on the reference.
inline Tensor normal(DType dtype, int64_t rows, int64_t columns, uint64_t seed, double size = 1) {
  const Philox philox{seed, 0};
  const Tensor exact(kReference, DType::f64, {rows, columns});
  for (int64_t i = 0; i < exact.size(); ++i)
    exact.as<double>()[i] = size * philox.normal(static_cast<uint64_t>(i));
  return converted(converted(exact, kReference, dtype), kReference, DType::f64);
}

inline Tensor indices(const std::vector<int32_t>& values) {
  const Tensor out(kCpu, DType::i32, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), out.as<int32_t>());
  return out;
}

inline std::vector<double> values_of(const Tensor& x) {
  const Tensor wide = converted(x, kReference, DType::f64);
  return {wide.as<double>(), wide.as<double>() + wide.size()};
}

inline std::vector<uint8_t> bits_of(const Tensor& x) {
  const Tensor dense(x.device(), x.dtype(), {x.rows(), x.columns()});
  copy(reference_stream(), x, dense);
  const auto* bytes = static_cast<const uint8_t*>(dense.data());
  return {bytes, bytes + dense.bytes()};
}

inline double difference(const Tensor& x, const Tensor& y) {
  const std::vector<double> a = values_of(x), b = values_of(y);
  EXPECT_EQ(a.size(), b.size());
  double dot = 0, squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    dot += a[i] * b[i];
    squares += a[i] * a[i] + b[i] * b[i];
  }
  return squares == 0 ? 0 : 1 - 2 * dot / squares;
}

// actual (of any type) against the truth in f64. NaN fails.
inline void expect_close(const Tensor& actual, const Tensor& truth, DType dtype,
                         const char* what = "") {
  EXPECT_LE(difference(actual, truth), bound(dtype)) << what << " in " << name(dtype);
}

// The bits of the tensors that `kernel` returns.
template <typename Kernel>
std::vector<std::vector<uint8_t>> bits_of_all(Kernel kernel) {
  std::vector<std::vector<uint8_t>> all;
  for (const Tensor& tensor : kernel()) all.push_back(bits_of(tensor));
  return all;
}

// Whether the CPU's streams run the CUDA kernels (support/cuda_on_host/fibers.h).
inline bool runs_cuda_on_host() {
  return std::strcmp(cpu_stream().backend().name, "cuda") == 0;
}

// Whether they run a GPU's (support/on_gpu/backend.cc), where cuBLASLt multiplies.
inline bool runs_on_gpu() {
  return std::strcmp(cpu_stream().backend().name, "gpu") == 0;
}

// Whatever the order in which the threads of a block, and the blocks, have their turns.
template <typename Kernel>
void expect_same_bits_in_any_order(Kernel kernel) {
  const auto forward = bits_of_all(kernel);
  for (const char* order : {"reverse", "shuffled"}) {
    setenv("CUDA_ON_HOST_ORDER", order, 1);
    EXPECT_TRUE(bits_of_all(kernel) == forward) << "threads in " << order << " order differ";
  }
  unsetenv("CUDA_ON_HOST_ORDER");
}

// Runs `kernel` (which returns the tensors it wrote) on 1, 2 and 3 threads and on every path above
// v2: all must give the same bits. v4_bf16 may differ where bf16 products are involved.
template <typename Kernel>
void expect_same_bits_everywhere(Kernel kernel) {
  if (runs_cuda_on_host()) return expect_same_bits_in_any_order(kernel);
  const int threads = cpu_threads();
  const CpuPath path = cpu_path();
  const auto run = [&] { return bits_of_all(kernel); };
  for (const CpuPath at : {CpuPath::v2, CpuPath::v3, CpuPath::v4, CpuPath::v4_bf16}) {
    if (at > best_cpu_path()) continue;
    set_cpu_path(at);
    set_cpu_threads(1);
    const auto one = run();
    for (const int count : {2, 3}) {
      set_cpu_threads(count);
      EXPECT_TRUE(run() == one) << count << " threads differ on " << name(at);
    }
    if (at == CpuPath::v4) {
      set_cpu_path(CpuPath::v3);
      EXPECT_TRUE(run() == one) << "v3 and v4 differ";
    }
  }
  set_cpu_threads(threads);
  set_cpu_path(path);
}

}  // namespace tessera::test
