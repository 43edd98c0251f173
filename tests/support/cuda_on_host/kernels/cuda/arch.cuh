// SPDX-License-Identifier: Apache-2.0
// Takes the place of kernels/cuda/arch.cuh on the host: the same functions, after the same manual
// (PTX ISA 9.0), lane by lane.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda_runtime.h"
#include "kernels/base/half.h"

namespace tessera::cuda {

template <typename T>
T* shared_memory() {
  return reinterpret_cast<T*>(cuda_on_host::shared_memory());
}

template <typename T>
float widen(T value) {
  return to_float(value);
}
template <typename T>
T narrow(float value) {
  return Narrow<T>::from(value);
}
template <typename T>
uint32_t narrow_pair(float first, float second) {
  return Narrow<T>::from(first).bits | static_cast<uint32_t>(Narrow<T>::from(second).bits) << 16;
}
inline float fast_divide(float a, float b) {
  return a / b;
}
inline float fast_exp2(float value) {
  const float power = std::exp2(value);
  return power < 0x1p-126f ? 0 : power;  // subnormal results are flushed
}

template <typename T>
float half_of(uint32_t pair, int which) {
  return to_float(T{static_cast<uint16_t>(pair >> (16 * which))});
}

template <typename T>
void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
  const std::byte* all = cuda_on_host::exchange(cuda_on_host::Kind::matrix, mine, sizeof mine);
  const auto of_lane = [&](int lane) {
    return reinterpret_cast<const uint32_t*>(all + static_cast<size_t>(lane) *
                                                       cuda_on_host::kMostExchanged);
  };
  const int group = cuda_on_host::lane() / 4, pair = cuda_on_host::lane() % 4;
  for (int k = 0; k < 16; ++k) {
    const int thread = k % 8 / 2, half = k % 2, upper = k / 8;
    const uint32_t* row = of_lane(group * 4 + thread);
    for (int column = 0; column < 2; ++column) {
      const float b = half_of<T>(of_lane((2 * pair + column) * 4 + thread)[4 + upper], half);
      d[column] += half_of<T>(row[2 * upper], half) * b;
      d[2 + column] += half_of<T>(row[2 * upper + 1], half) * b;
    }
  }
}

inline void load_rows(uint32_t (&out)[4], const void* row, bool transposed) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
    cuda_on_host::give_up("ldmatrix: a row is not aligned to 16 bytes");
  const std::byte* all = cuda_on_host::exchange(cuda_on_host::Kind::matrix, &row, sizeof row);
  const int i = cuda_on_host::lane() / 4, j = 2 * (cuda_on_host::lane() % 4);
  for (int matrix = 0; matrix < 4; ++matrix)
    for (int which = 0; which < 2; ++which) {
      const int from = transposed ? j + which : i, element = transposed ? i : j + which;
      const uint16_t* address = nullptr;
      std::memcpy(&address,
                  all + static_cast<size_t>(matrix * 8 + from) * cuda_on_host::kMostExchanged,
                  sizeof address);
      auto& word = out[matrix];
      const uint32_t bits = address[element];
      word = which == 0 ? bits : (word | bits << 16);
    }
}
inline void load_matrices(uint32_t (&out)[4], const void* row) {
  load_rows(out, row, false);
}
inline void load_transposed(uint32_t (&out)[4], const void* row) {
  load_rows(out, row, true);
}

inline void start_copy(void* to, const void* from, int bytes) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || bytes < 0 || bytes > 16 ||
      (bytes > 0 && reinterpret_cast<uintptr_t>(from) % 16 != 0))
    cuda_on_host::give_up("cp.async: not aligned to 16 bytes, or not 0 to 16 bytes");
  cuda_on_host::copy_later(to, from, static_cast<size_t>(bytes), static_cast<size_t>(16 - bytes));
}
inline void end_copy_group() {
  cuda_on_host::close_group();
}
template <int kLeft>
void wait_for_copies() {
  cuda_on_host::wait_for_groups(kLeft);
}

}  // namespace tessera::cuda
