// SPDX-License-Identifier: Apache-2.0
// How evenly experts are used: counts by integer atomics, shares and losses in f64 in a fixed
// order. Few numbers, so that simplicity comes first.
#include "kernels/cuda/for_each.cuh"
#include "kernels/cuda/sums.cuh"
#include "kernels/router.h"

namespace tessera::cuda {
namespace {

using Count = unsigned long long;

// Each row once for each place that any of its slots has.
struct CountRows {
  Matrix<const int32_t> index;
  int64_t k, width;
  SequenceRows of;
  Matrix<int64_t> counts;

  __device__ void operator()(int64_t row, int64_t slot, int64_t) const {
    const int32_t* chosen = index.row(row);
    const int64_t place = chosen[slot] / width;
    for (int64_t earlier = 0; earlier < slot; ++earlier)
      if (chosen[earlier] / width == place) return;
    int64_t* of_sequence = counts.row((of.first_row + row) / of.length);
    atomicAdd(reinterpret_cast<Count*>(of_sequence + place), Count{1});
  }
};

constexpr int kWarps = 4;

__global__ void sums_of_rows(Matrix<const float> scores, int64_t rows, int64_t experts,
                             float* sums) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= rows) return;
  float sum = 0;
  for (int64_t e = threadIdx.x % kWarp; e < experts; e += kWarp) sum += scores.row(row)[e];
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) sums[row] = sum;
}

struct Shares {
  Matrix<const float> scores;
  const float* sums;  // of the rows of scores
  int64_t rows;
  SequenceRows of;
  Matrix<double> shares;

  __device__ void operator()(int64_t sequence, int64_t expert, int64_t) const {
    const int64_t begin = larger<int64_t>(0, sequence * of.length - of.first_row);
    const int64_t end = smaller(rows, (sequence + 1) * of.length - of.first_row);
    double share = 0;
    for (int64_t row = begin; row < end; ++row)
      share += fast_divide(scores.row(row)[expert], sums[row]);
    shares.row(sequence)[expert] = share;
  }
};

// One thread for a sequence: the loss is a sum over experts.
struct Loss {
  BalanceTerm term;
  Matrix<const int64_t> counts;
  Matrix<const double> shares;
  int64_t experts, places;  // columns of shares and of counts
  double length, dsequence;
  Factors scale;
  double* loss;
  Matrix<float> dshares;

  __device__ void operator()(int64_t, int64_t sequence, int64_t) const {
    const int64_t wide = experts / term.devices, each = places / term.devices;
    const double slope = dsequence * scale.product();
    double sum = loss[sequence];
    for (int64_t device = 0; device < term.devices; ++device) {
      int64_t count = 0;
      for (int64_t j = device * each; j < (device + 1) * each; ++j)
        count += counts.row(sequence)[j];
      const double f = static_cast<double>(term.devices) / (term.chosen_by * length) *
                       static_cast<double>(count);
      const double factor = term.factor * f / length;
      for (int64_t e = device * wide; e < (device + 1) * wide; ++e) {
        sum += factor * shares.row(sequence)[e];
        dshares.row(sequence)[e] += static_cast<float>(slope * factor);
      }
    }
    loss[sequence] = sum;
  }
};

struct Bias {
  Matrix<const int64_t> loads;
  int64_t experts;
  double speed;
  Factors apply;
  Matrix<float> bias;

  __device__ void operator()(int64_t layer, int64_t expert, int64_t) const {
    if (apply.product() == 0) return;
    const int64_t* load = loads.row(layer);
    int64_t total = 0;
    for (int64_t e = 0; e < experts; ++e) total += load[e];
    // mean - load, times the number of experts: exact
    const int64_t missing = total - load[expert] * experts;
    const int sign = (missing > 0) - (missing < 0);
    bias.row(layer)[expert] += static_cast<float>(speed * sign);
  }
};

}  // namespace

void count_choices(Stream& stream, const Tensor& index, int64_t width, const SequenceRows& of,
                   const Tensor& counts) {
  for_each<1>(
      stream, index.rows(), index.columns(),
      CountRows{matrix<const int32_t>(index), index.columns(), width, of, matrix<int64_t>(counts)});
}

void balance_shares(Stream& stream, const Tensor& scores, const SequenceRows& of,
                    const Tensor& shares) {
  const int64_t rows = scores.rows();
  const Tensor sums(stream.device(), DType::f32, {std::max<int64_t>(rows, 1)}, MemoryClass::other);
  if (rows > 0)
    launch(stream, sums_of_rows, dim3(static_cast<unsigned>(divide_up(rows, kWarps))),
           dim3(kWarps * kWarp), 0, matrix<const float>(scores), rows, scores.columns(),
           sums.as<float>());
  for_each<1>(
      stream, shares.rows(), shares.columns(),
      Shares{matrix<const float>(scores), sums.as<float>(), rows, of, matrix<double>(shares)});
}

void balance_loss(Stream& stream, const BalanceTerm& term, const Tensor& counts,
                  const Tensor& shares, int64_t length, double dsequence, const Tensor& scale,
                  const Tensor& loss, const Tensor& dshares) {
  for_each<1>(stream, 1, shares.rows(),
              Loss{term, matrix<const int64_t>(counts), matrix<const double>(shares),
                   shares.columns(), counts.columns(), static_cast<double>(length), dsequence,
                   factors(scale), loss.as<double>(), matrix<float>(dshares)});
}

void update_router_bias(Stream& stream, const Tensor& loads, double speed, const Tensor& apply,
                        const Tensor& bias) {
  for_each<1>(stream, loads.rows(), loads.columns(),
              Bias{matrix<const int64_t>(loads), loads.columns(), speed, factors(apply),
                   matrix<float>(bias)});
}

}  // namespace tessera::cuda
