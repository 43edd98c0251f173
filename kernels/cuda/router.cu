// SPDX-License-Identifier: Apache-2.0
// The router: a warp to each token. Its experts come 32 at a time, expert e with lane e % 32; what
// has to be looked at from elsewhere lies in shared memory. The losses of balance:
// router_balance.cu.
#include "kernels/cuda/for_each.cuh"
#include "kernels/cuda/sums.cuh"
#include "kernels/router.h"

namespace tessera::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;

__device__ int64_t warp_row() {
  return static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
}
// The warp's own part of shared memory, `count` numbers.
template <typename T>
__device__ T* of_warp(int64_t count) {
  return shared_memory<T>() + threadIdx.x / kWarp * count;
}

__device__ float sum_of_row(const float* row, int64_t count) {
  float sum = 0;
  for (int64_t i = threadIdx.x % kWarp; i < count; i += kWarp) sum += row[i];
  return warp_sum(sum);
}

__global__ void scores_of_rows(bool softmax, Matrix<const float> logits, int64_t rows,
                               int64_t experts, Matrix<float> scores) {
  const int64_t row = warp_row();
  if (row >= rows) return;
  const int lane = threadIdx.x % kWarp;
  const float* z = logits.row(row);
  float* s = scores.row(row);
  if (!softmax) {
    for (int64_t e = lane; e < experts; e += kWarp) s[e] = 1.0f / (1.0f + expf(-z[e]));
    return;
  }
  float largest = -INFINITY, sum = 0;
  for (int64_t e = lane; e < experts; e += kWarp) largest = Max{}(largest, z[e]);
  largest = warp_reduce(largest, Max{});
  for (int64_t e = lane; e < experts; e += kWarp) sum += expf(z[e] - largest);
  sum = warp_sum(sum);
  for (int64_t e = lane; e < experts; e += kWarp) s[e] = expf(z[e] - largest) / sum;
}

// A number and its place, in the order of choice: larger numbers first, of equals the lower place.
struct Candidate {
  float value;
  int place;
};
__device__ bool before(Candidate a, Candidate b) {
  return a.value > b.value || (a.value == b.value && a.place < b.place);
}
constexpr int kNowhere = 0x7fffffff;

// The first candidate after `last`: known to all lanes. allowed(place) leaves some out.
template <typename Allowed>
__device__ Candidate next(const float* values, int count, Candidate last, Allowed allowed) {
  Candidate best{-INFINITY, kNowhere};
  for (int i = threadIdx.x % kWarp; i < count; i += kWarp) {
    const Candidate mine{values[i], i};
    if (allowed(i) && before(last, mine) && before(mine, best)) best = mine;
  }
  for (int apart = 1; apart < kWarp; apart *= 2) {
    const Candidate other{__shfl_xor_sync(kAllLanes, best.value, apart),
                          __shfl_xor_sync(kAllLanes, best.place, apart)};
    if (before(other, best)) best = other;
  }
  return best;
}

// The sum of a group's largest numbers, largest first, by one lane.
__device__ float sum_of_best(const float* values, int count, int64_t best_of) {
  Candidate last{INFINITY, -1};
  float sum = 0;
  for (int64_t taken = 0; taken < best_of; ++taken) {
    Candidate best{-INFINITY, kNowhere};
    for (int i = 0; i < count; ++i) {
      const Candidate mine{values[i], i};
      if (before(last, mine) && before(mine, best)) best = mine;
    }
    sum += best.value;
    last = best;
  }
  return sum == sum ? sum : -INFINITY;
}

__global__ void choose_experts(Matrix<const float> scores, const float* bias, ExpertGroups groups,
                               int64_t rows, int experts, Matrix<int32_t> index, int64_t k) {
  const int64_t row = warp_row();
  if (row >= rows) return;
  const int lane = threadIdx.x % kWarp, count = static_cast<int>(groups.groups);
  const int each = experts / count;
  float* choice = of_warp<float>(experts + 2 * count);  // then sums of groups, then which are kept
  float *sums = choice + experts, *kept = sums + count;
  for (int e = lane; e < experts; e += kWarp) {
    const float value = scores.row(row)[e] + (bias == nullptr ? 0.0f : bias[e]);
    choice[e] = value == value ? value : -INFINITY;
  }
  __syncwarp();
  for (int g = lane; g < count; g += kWarp) {
    kept[g] = 0;
    sums[g] = sum_of_best(choice + g * each, each, groups.best_of_group);
  }
  __syncwarp();
  Candidate last{INFINITY, -1};
  for (int64_t taken = 0; taken < groups.kept_groups; ++taken) {
    last = next(sums, count, last, [](int) { return true; });
    if (lane == 0) kept[last.place] = 1;
  }
  __syncwarp();
  last = {INFINITY, -1};
  for (int64_t slot = 0; slot < k; ++slot) {
    last = next(choice, experts, last, [=](int e) { return kept[e / each] != 0; });
    if (lane == 0) index.row(row)[slot] = last.place;
  }
}

struct Weigh {
  Matrix<const float> scores;
  Matrix<const int32_t> index;
  bool normalize;
  float factor;
  int64_t k;
  Matrix<float> weights;

  __device__ void operator()(int64_t row, int64_t, int64_t) const {
    const float* s = scores.row(row);
    const int32_t* chosen = index.row(row);
    float sum = 0;
    for (int64_t i = 0; i < k; ++i) sum += s[chosen[i]];
    const float all = normalize ? factor / (sum + 1e-20f) : factor;
    for (int64_t i = 0; i < k; ++i) weights.row(row)[i] = s[chosen[i]] * all;
  }
};

struct BackwardCall {
  bool softmax, normalize;
  float factor;
  SequenceRows of;
  int64_t rows, experts, k;
};

// The formulas: kernels/reference/router.cc.
__global__ void backward_rows(BackwardCall call, Matrix<const float> scores,
                              Matrix<const int32_t> index, Matrix<const float> dweights,
                              Matrix<const float> dshares, Matrix<float> dlogits) {
  const int64_t row = warp_row();
  if (row >= call.rows) return;
  const int lane = threadIdx.x % kWarp;
  const float *s = scores.row(row), *dw = dweights.row(row);
  const float* dp = dshares.row((call.of.first_row + row) / call.of.length);
  const int32_t* chosen = index.row(row);
  float* ds = of_warp<float>(call.experts);
  const float all = sum_of_row(s, call.experts);
  float along = 0;
  for (int64_t e = lane; e < call.experts; e += kWarp) along += dp[e] * s[e];
  along = warp_sum(along) / all;
  for (int64_t e = lane; e < call.experts; e += kWarp) ds[e] = (dp[e] - along) / all;
  __syncwarp();
  if (lane == 0) {  // k is small
    float sum = 0, dot = 0;
    for (int64_t i = 0; i < call.k; ++i) sum += s[chosen[i]];
    sum = call.normalize ? sum + 1e-20f : 1.0f;
    for (int64_t i = 0; i < call.k && call.normalize; ++i) dot += dw[i] * s[chosen[i]] / sum;
    for (int64_t i = 0; i < call.k; ++i) ds[chosen[i]] += call.factor * (dw[i] - dot) / sum;
  }
  __syncwarp();
  float through = 0;
  for (int64_t e = lane; e < call.experts; e += kWarp) through += ds[e] * s[e];
  through = warp_sum(through);
  for (int64_t e = lane; e < call.experts; e += kWarp)
    dlogits.row(row)[e] = s[e] * (call.softmax ? ds[e] - through : ds[e] * (1.0f - s[e]));
}

dim3 warps_over(int64_t rows) {
  return dim3(static_cast<unsigned>(divide_up(rows, kWarps)));
}
size_t bytes_of_warps(int64_t numbers) {
  return static_cast<size_t>(numbers) * kWarps * sizeof(float);
}

}  // namespace

void router_scores(Stream& stream, Scoring scoring, const Tensor& logits, const Tensor& scores) {
  launch(stream, scores_of_rows, warps_over(logits.rows()), dim3(kThreads), 0,
         scoring == Scoring::softmax, matrix<const float>(logits), logits.rows(), logits.columns(),
         matrix<float>(scores));
}

void router_choose(Stream& stream, const Tensor& scores, const Tensor& bias,
                   const ExpertGroups& groups, const Tensor& index) {
  launch(stream, choose_experts, warps_over(scores.rows()), dim3(kThreads),
         bytes_of_warps(scores.columns() + 2 * groups.groups), matrix<const float>(scores),
         bias.empty() ? nullptr : bias.as<float>(), groups, scores.rows(),
         static_cast<int>(scores.columns()), matrix<int32_t>(index), index.columns());
}

void router_weights(Stream& stream, const Tensor& scores, const Tensor& index,
                    const RouterWeights& rule, const Tensor& weights) {
  for_each<1>(stream, index.rows(), 1,
              Weigh{matrix<const float>(scores), matrix<const int32_t>(index), rule.normalize,
                    static_cast<float>(rule.factor), index.columns(), matrix<float>(weights)});
}

void router_backward(Stream& stream, Scoring scoring, const Tensor& scores, const Tensor& index,
                     const RouterWeights& rule, const Tensor& dweights, const SequenceRows& of,
                     const Tensor& dshares, const Tensor& dlogits) {
  const BackwardCall call{scoring == Scoring::softmax,
                          rule.normalize,
                          static_cast<float>(rule.factor),
                          of,
                          scores.rows(),
                          scores.columns(),
                          index.columns()};
  launch(stream, backward_rows, warps_over(scores.rows()), dim3(kThreads),
         bytes_of_warps(scores.columns()), call, matrix<const float>(scores),
         matrix<const int32_t>(index), matrix<const float>(dweights), matrix<const float>(dshares),
         matrix<float>(dlogits));
}

}  // namespace tessera::cuda
