// SPDX-License-Identifier: Apache-2.0
// Softmax cross-entropy over a slice of the vocabulary. The statistics take one pass over the
// logits: each thread keeps the maximum so far and the sum of exponentials below it, and pairs
// (maximum, sum) are merged in a fixed order.
#include "kernels/cross_entropy.h"
#include "kernels/cuda/for_each.cuh"
#include "kernels/cuda/sums.cuh"

namespace tessera::cuda {
namespace {

constexpr int kThreads = 256;

// sum of exp(x - maximum) over the numbers seen; of none, or of infinities below zero, (-inf, 0).
struct Stats {
  float maximum, sum;
};
struct Merge {
  __device__ Stats operator()(Stats a, Stats b) const {
    const float maximum = Max{}(a.maximum, b.maximum);
    // inf - inf is not a number: what is at the maximum keeps its sum.
    const float from_a = a.maximum == maximum ? a.sum : a.sum * expf(a.maximum - maximum);
    const float from_b = b.maximum == maximum ? b.sum : b.sum * expf(b.maximum - maximum);
    return {maximum, from_a + from_b};
  }
};

__device__ __forceinline__ Stats shuffled(Stats value, int apart) {
  return {__shfl_xor_sync(kAllLanes, value.maximum, apart),
          __shfl_xor_sync(kAllLanes, value.sum, apart)};
}
__device__ __forceinline__ Stats merged_in_warp(Stats value) {
#pragma unroll
  for (int apart = 1; apart < kWarp; apart *= 2) value = Merge{}(value, shuffled(value, apart));
  return value;
}

// Adds the pack to what was seen: its own maximum first, so that there is one exponential for each
// number and one for the sum so far.
template <int N>
__device__ __forceinline__ Stats with_pack(Stats seen, const float (&x)[N], int64_t valid) {
  Stats pack{-INFINITY, 0};
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (i < valid) pack.maximum = Max{}(pack.maximum, x[i]);
  if (pack.maximum == -INFINITY) return seen;
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (i < valid) pack.sum += expf(x[i] - pack.maximum);
  return Merge{}(seen, pack);
}

// A block for each row.
__global__ void __launch_bounds__(kThreads)
    row_stats(Matrix<const float> logits, const int32_t* targets, int64_t first_class,
              int64_t classes, Matrix<float> stats) {
  Stats* scratch = shared_memory<Stats>();
  const int64_t row = blockIdx.x;
  const float* in = logits.row(row);
  Stats seen{-INFINITY, 0};
  constexpr int kSize = kPack<float>;
  for (int64_t c = threadIdx.x * kSize; c < classes; c += kThreads * kSize) {
    float x[kSize];
    load(in + c, classes - c, logits.aligned, x);
    seen = with_pack(seen, x, classes - c);
  }
  seen = merged_in_warp(seen);
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = seen;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int warp = 1; warp < kThreads / kWarp; ++warp) seen = Merge{}(seen, scratch[warp]);
  const int64_t target = targets[row], index = target - first_class;
  const bool mine = target >= 0 && index >= 0 && index < classes;
  float* out = stats.row(row);
  out[0] = seen.maximum;
  out[1] = seen.sum;
  out[2] = mine ? in[index] : 0;
}

// Few numbers: a thread for each row, in f64.
struct Loss {
  Matrix<const float> stats;
  int64_t rows, slices;
  const int32_t* targets;
  float* log_sum_exp;
  double* loss;

  __device__ void operator()(int64_t, int64_t row, int64_t) const {
    double maximum = -INFINITY, sum = 0, target_logit = 0;
    for (int64_t s = 0; s < slices; ++s)
      maximum = larger<double>(maximum, stats.row(s * rows + row)[0]);
    for (int64_t s = 0; s < slices; ++s) {
      const float* part = stats.row(s * rows + row);
      // != instead of >: a NaN must reach the loss.
      if (part[1] != 0) sum += part[1] * exp(static_cast<double>(part[0]) - maximum);
      target_logit += part[2];
    }
    const double lse = maximum + log(sum);
    log_sum_exp[row] = static_cast<float>(lse);
    loss[row] = targets[row] < 0 ? 0 : lse - target_logit;
  }
};

template <typename T>
struct Backward {
  static constexpr int kSize = kCommonPack<float, T>;
  Matrix<const float> logits;
  const int32_t* targets;
  int64_t first_class;
  const float* log_sum_exp;
  double dloss;
  Factors loss_scale;
  Matrix<T> dlogits;

  __device__ void operator()(int64_t row, int64_t column, int64_t valid) const {
    float x[kSize];
    load(logits.row(row) + column, valid, logits.aligned, x);
    const int64_t target = targets[row], index = target - first_class - column;
    const float lse = log_sum_exp[row];
    const auto factor = static_cast<float>(dloss * loss_scale.product());
#pragma unroll
    for (int i = 0; i < kSize; ++i)
      x[i] = target < 0 ? 0 : (expf(x[i] - lse) - (i == index ? 1.0f : 0.0f)) * factor;
    store(dlogits.row(row) + column, valid, dlogits.aligned, x);
  }
};

}  // namespace

void softmax_stats(Stream& stream, const Tensor& logits, const Tensor& targets, int64_t first_class,
                   const Tensor& stats) {
  if (logits.rows() == 0) return;
  launch(stream, row_stats, dim3(static_cast<unsigned>(logits.rows())), dim3(kThreads),
         kThreads / kWarp * sizeof(Stats), matrix<const float>(logits), targets.as<int32_t>(),
         first_class, logits.columns(), matrix<float>(stats));
}

void cross_entropy(Stream& stream, const Tensor& stats, const Tensor& targets,
                   const Tensor& log_sum_exp, const Tensor& loss) {
  const int64_t rows = targets.size();
  for_each<1>(stream, 1, rows,
              Loss{matrix<const float>(stats), rows, stats.rows() / rows, targets.as<int32_t>(),
                   log_sum_exp.as<float>(), loss.as<double>()});
}

void cross_entropy_backward(Stream& stream, const Tensor& logits, const Tensor& targets,
                            int64_t first_class, const Tensor& log_sum_exp, double dloss,
                            const Tensor& loss_scale, const Tensor& dlogits) {
  with_type(dlogits.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_each<Backward<T>::kSize>(
        stream, logits.rows(), logits.columns(),
        Backward<T>{matrix<const float>(logits), targets.as<int32_t>(), first_class,
                    log_sum_exp.as<float>(), dloss, factors(loss_scale), matrix<T>(dlogits)});
  });
}

}  // namespace tessera::cuda
