// SPDX-License-Identifier: Apache-2.0
// What C++ has no words for: conversions in one instruction, warp-wide products on the tensor
// cores, copies that run while the threads go on, and the block's shared memory. Everything here
// is PTX for sm_80 and up (PTX ISA 9.0: mma.sync.m16n8k16, ldmatrix, cp.async, cvt, ex2). Where
// there is no GPU a header of the same name in tests/support/cuda_on_host/ takes this one's place.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "kernels/base/half.h"

namespace tessera::cuda {

// The block's shared memory, as large as the launch asked for, aligned to 16 bytes.
template <typename T>
__device__ __forceinline__ T* shared_memory() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}

__device__ __forceinline__ float widen(float value) {
  return value;
}
__device__ __forceinline__ float widen(bf16 value) {
  return to_float(value);
}
__device__ __forceinline__ float widen(f16 value) {
  float out;
  asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(value.bits));
  return out;
}
__device__ __forceinline__ float widen(f8_e4m3 value) {
  return to_float(value);
}

// To the nearest, ties to even.
template <typename T>
__device__ __forceinline__ T narrow(float value) {
  return Narrow<T>::from(value);
}
template <>
__device__ __forceinline__ bf16 narrow<bf16>(float value) {
  bf16 out;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
  return out;
}
template <>
__device__ __forceinline__ f16 narrow<f16>(float value) {
  f16 out;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
  return out;
}

// Two narrow numbers in one register, `first` in its lower half.
template <typename T>
__device__ __forceinline__ uint32_t narrow_pair(float first, float second);
template <>
__device__ __forceinline__ uint32_t narrow_pair<bf16>(float first, float second) {
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(second), "f"(first));
  return out;
}
template <>
__device__ __forceinline__ uint32_t narrow_pair<f16>(float first, float second) {
  uint32_t out;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(second), "f"(first));
  return out;
}

// a / b within two units of the last place, for b up to 2^126: no branch for what is rare.
__device__ __forceinline__ float fast_divide(float a, float b) {
  float out;
  asm("div.approx.f32 %0, %1, %2;" : "=f"(out) : "f"(a), "f"(b));
  return out;
}

// 2^value within two units of the last place.
__device__ __forceinline__ float fast_exp2(float value) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(value));
  return out;
}

// d += a b of one warp, (16, 8) += (16, 16) (16, 8). With g = lane / 4 and t = lane % 4, pairs of
// neighbours in k (a, b) or n (d):
//   a: (g, 2t) (g + 8, 2t) (g, 2t + 8) (g + 8, 2t + 8)   b: (2t, g) (2t + 8, g)
//   d: (g, 2t) (g, 2t + 1) (g + 8, 2t) (g + 8, 2t + 1)
template <typename T>
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                    uint32_t b1);
template <>
__device__ __forceinline__ void mma<bf16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                          uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void mma<f16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices of 2-byte numbers from shared memory: lane i gives the address of row i % 8
// of matrix i / 8 (16 bytes, aligned); out[m] of lane i is elements 2 (i % 4), 2 (i % 4) + 1 of row
// i / 4 of matrix m; of its transpose.
__device__ __forceinline__ void load_matrices(uint32_t (&out)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void load_transposed(uint32_t (&out)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

// Starts to copy `bytes` (0 to 16) to shared memory, zeros after them up to 16; both addresses
// aligned to 16 bytes. Copies belong to groups; wait_for_copies<N>() returns when all groups of
// this thread but the newest N have arrived.
__device__ __forceinline__ void start_copy(void* to, const void* from, int bytes) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(address), "l"(from), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void end_copy_group() {
  asm volatile("cp.async.commit_group;" : : : "memory");
}
template <int kLeft>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" : : "n"(kLeft) : "memory");
}

}  // namespace tessera::cuda
