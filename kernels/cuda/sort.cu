// SPDX-License-Identifier: Apache-2.0
#include <cub/device/device_radix_sort.cuh>

#include "kernels/cuda/for_each.cuh"
#include "kernels/cuda/sort.cuh"

namespace tessera::cuda {
namespace {
struct CountUp {
  int32_t* out;
  __device__ void operator()(int64_t, int64_t i, int64_t) const {
    out[i] = static_cast<int32_t>(i);
  }
};
}  // namespace

void sort_pairs(Stream& stream, const Tensor& keys, const Tensor& values, int64_t largest_key,
                const Tensor& sorted_keys, const Tensor& sorted_values) {
  int bits = 1;
  while (bits < 31 && (int64_t{1} << bits) <= largest_key) ++bits;
  const auto count = static_cast<int>(keys.size());
  size_t bytes = 0;
  const auto sort = [&](void* scratch) {
    check(cub::DeviceRadixSort::SortPairs(
              scratch, bytes, keys.as<int32_t>(), sorted_keys.as<int32_t>(), values.as<int32_t>(),
              sorted_values.as<int32_t>(), count, 0, bits, native(stream)),
          "sorting on the GPU");
  };
  sort(nullptr);
  const Tensor scratch(stream.device(), DType::f8_e4m3, {static_cast<int64_t>(bytes)},
                       MemoryClass::other);
  sort(scratch.data());
}

void count_up(Stream& stream, const Tensor& out) {
  for_each<1>(stream, 1, out.size(), CountUp{out.as<int32_t>()});
}

}  // namespace tessera::cuda
