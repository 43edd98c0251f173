// SPDX-License-Identifier: Apache-2.0
// That the fibers find the faults they are there for, and multiply as the manual says: kernels with
// a fault each, and products whose result is known.
#include <cmath>
#include <cstdlib>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/base/random.h"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/tiles.cuh"
#include "tests/support/errors.h"
#include "tests/support/numeric.h"

namespace tessera::cuda {
namespace {

using test::cpu_stream;

// Each thread writes its number and reads its neighbour's.
__global__ void read_neighbours(bool wait, int* out) {
  int* numbers = shared_memory<int>();
  const int i = static_cast<int>(threadIdx.x), count = static_cast<int>(blockDim.x);
  numbers[i] = i;
  if (wait) __syncthreads();
  out[i] = numbers[(i + 1) % count];
}

std::vector<int> neighbours(bool wait, const char* order) {
  setenv("CUDA_ON_HOST_ORDER", order, 1);
  std::vector<int> out(64);
  launch(cpu_stream(), read_neighbours, dim3(1), dim3(64), 64 * sizeof(int), wait, out.data());
  unsetenv("CUDA_ON_HOST_ORDER");
  return out;
}

TEST(CudaOnHost, AForgottenBarrierShowsInTheOrderOfThreads) {
  EXPECT_EQ(neighbours(true, "forward"), neighbours(true, "reverse"));
  EXPECT_EQ(neighbours(true, "forward"), neighbours(true, "shuffled"));
  EXPECT_EQ(neighbours(true, "forward")[62], 63);
  EXPECT_NE(neighbours(false, "forward"), neighbours(false, "reverse"));
  EXPECT_EQ(neighbours(false, "forward")[0], -1) << "poison of shared memory";
}

__global__ void wait_for_some() {
  if (threadIdx.x < 40) __syncthreads();
}
__global__ void shuffle_with_some(float* out) {
  if (threadIdx.x % kWarp < 30) *out = warp_sum(1.0f);
}

__global__ void do_different_things(float* out) {
  if (threadIdx.x % 2 == 0)
    __syncwarp();
  else
    *out = __shfl_sync(kAllLanes, 1.0f, 0);
}
__global__ void copy_askew(const float* from) {
  start_copy(shared_memory<float>() + 1, from, 16);
}

TEST(CudaOnHost, ABarrierThatNotAllReachIsAnError) {
  float sum = 0;
  const auto message = [&](auto&& run) { return test::error_of(run); };
  EXPECT_NE(message([] {
              launch(cpu_stream(), wait_for_some, dim3(1), dim3(64), 0);
            }).find("wait for each other"),
            std::string::npos);
  EXPECT_NE(message([&] {
              launch(cpu_stream(), shuffle_with_some, dim3(1), dim3(32), 0, &sum);
            }).find("wait for each other"),
            std::string::npos);
  EXPECT_NE(message([&] {
              launch(cpu_stream(), do_different_things, dim3(1), dim3(32), 0, &sum);
            }).find("different operations"),
            std::string::npos);
  EXPECT_NE(message([&] {
              launch(cpu_stream(), copy_askew, dim3(1), dim3(1), 64, &sum);
            }).find("not aligned"),
            std::string::npos);
  EXPECT_NE(message([] {
              launch(cpu_stream(), wait_for_some, dim3(1), dim3(2048), 0);
            }).find("more than 1024"),
            std::string::npos);
}

// What a thread sees of a copy before and after it waits for it.
__global__ void copy_and_look(const uint32_t* from, uint32_t* out) {
  uint32_t* words = shared_memory<uint32_t>();
  start_copy(words, from, 8);
  end_copy_group();
  out[0] = words[1];
  wait_for_copies<0>();
  for (int i = 0; i < 4; ++i) out[1 + i] = words[i];
}

TEST(CudaOnHost, CopiesArriveWhenTheyAreWaitedFor) {
  alignas(16) const uint32_t from[4] = {11, 12, 13, 14};
  std::vector<uint32_t> out(5);
  launch(cpu_stream(), copy_and_look, dim3(1), dim3(1), 16, from, out.data());
  EXPECT_EQ(out, (std::vector<uint32_t>{~0u, 11, 12, 0, 0}));
}

// Sums of a block one after another, through one scratch.
__global__ void sum_twice(float* out) {
  const float first = team_sum(static_cast<float>(threadIdx.x), shared_memory<float>());
  const float second = team_sum(static_cast<float>(2 * threadIdx.x), shared_memory<float>());
  out[2 * threadIdx.x] = first, out[2 * threadIdx.x + 1] = second;
}

TEST(CudaOnHost, ATeamSumsTwiceThroughOneScratch) {
  for (const char* order : {"forward", "reverse", "shuffled"}) {
    setenv("CUDA_ON_HOST_ORDER", order, 1);
    std::vector<float> out(256);
    launch(cpu_stream(), sum_twice, dim3(1), dim3(128), 4 * sizeof(float), out.data());
    for (size_t i = 0; i < 256; ++i) EXPECT_EQ(out[i], i % 2 == 0 ? 8128 : 16256) << order;
  }
  unsetenv("CUDA_ON_HOST_ORDER");
}

// c (16, 16) = a (16, 32) b, from tiles in shared memory, by one warp, in all four layouts.
template <typename T, bool kDeepA, bool kDeepB>
__global__ void multiply_tiles(const T* a, const T* b, float* c) {
  using A = std::conditional_t<kDeepA, Tile<T, 32, 16>, Tile<T, 16, 32>>;
  using B = std::conditional_t<kDeepB, Tile<T, 32, 16>, Tile<T, 16, 32>>;
  const A left_tile{shared_memory<T>()};
  const B right_tile{shared_memory<T>() + A::kBytes / sizeof(T)};
  bring<kWarp>(left_tile, a, A::kColumns, A::kRows, A::kColumns, true);
  bring<kWarp>(right_tile, b, B::kColumns, B::kRows, B::kColumns, true);
  end_copy_group();
  wait_for_copies<0>();
  __syncthreads();
  float sum[2][4];
  clear(sum);
  for (int k = 0; k < 32; k += 16) {
    uint32_t x[4], y[4];
    if constexpr (kDeepA)
      left_deep(x, left_tile, 0, k);
    else
      left(x, left_tile, 0, k);
    if constexpr (kDeepB)
      right_deep(y, right_tile, k, 0);
    else
      right(y, right_tile, k, 0);
    mma<T>(sum[0], x, y[0], y[1]);
    mma<T>(sum[1], x, y[2], y[3]);
  }
  const float one[2] = {1, 1};
  write_rows(sum, one, c, 16, 16, 16, true);
}

template <typename T, bool kDeepA, bool kDeepB>
void expect_product() {
  alignas(16) T a[16 * 32], b[16 * 32];
  std::vector<float> c(256);
  const Philox philox{5, 0};
  const auto number = [&](int which, int i, int k) {  // small integers: exact in every order
    return static_cast<float>(philox.bits(static_cast<uint64_t>(which + i * 32 + k)) % 9) - 4;
  };
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < 32; ++k) {
      a[kDeepA ? k * 16 + i : i * 32 + k] = Narrow<T>::from(number(0, i, k));
      b[kDeepB ? k * 16 + i : i * 32 + k] = Narrow<T>::from(number(1000, i, k));
    }
  launch(cpu_stream(), multiply_tiles<T, kDeepA, kDeepB>, dim3(1), dim3(kWarp), 8192, a, b,
         c.data());
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 16; ++n) {
      float sum = 0;
      for (int k = 0; k < 32; ++k) sum += number(0, m, k) * number(1000, n, k);
      EXPECT_EQ(c[static_cast<size_t>(m * 16 + n)], sum) << m << ", " << n;
    }
}

TEST(CudaOnHost, MultipliesTilesInEveryLayout) {
  expect_product<bf16, false, false>();
  expect_product<bf16, false, true>();
  expect_product<bf16, true, false>();
  expect_product<f16, true, true>();
}

}  // namespace
}  // namespace tessera::cuda
