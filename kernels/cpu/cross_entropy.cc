// SPDX-License-Identifier: Apache-2.0
#include "kernels/cross_entropy.h"

#include <cmath>
#include <limits>

#include "kernels/arguments.h"
#include "kernels/cpu/parallel.h"

namespace tessera::cpu {
namespace {
// Index of the row's target within the slice, or -1.
int64_t target_index(const Tensor& targets, int64_t row, int64_t first_class, int64_t classes) {
  const int64_t target = targets.as<int32_t>()[row], index = target - first_class;
  return target >= 0 && index >= 0 && index < classes ? index : -1;
}
}  // namespace

void softmax_stats(Stream&, const Tensor& logits, const Tensor& targets, int64_t first_class,
                   const Tensor& stats) {
  for_rows(logits.rows(), logits.columns(), [&](int64_t row) {
    const float* in = logits.row<float>(row);
    float* out = stats.row<float>(row);
    const int64_t target = target_index(targets, row, first_class, logits.columns());
    out[2] = target < 0 ? 0 : in[target];
    loops().cross_entropy.stats(in, logits.columns(), out);
  });
}

// Few numbers: plain loops in f64.
void cross_entropy(Stream&, const Tensor& stats, const Tensor& targets, const Tensor& log_sum_exp,
                   const Tensor& loss) {
  const int64_t rows = targets.size();
  for (int64_t row = 0; row < rows; ++row) {
    double maximum = -std::numeric_limits<double>::infinity(), sum = 0, target_logit = 0;
    for (int64_t s = row; s < stats.rows(); s += rows)
      maximum = std::max(maximum, static_cast<double>(stats.row<float>(s)[0]));
    for (int64_t s = row; s < stats.rows(); s += rows) {
      const float* part = stats.row<float>(s);
      // != instead of >: a NaN must reach the loss.
      if (part[1] != 0) sum += part[1] * std::exp(static_cast<double>(part[0]) - maximum);
      target_logit += part[2];
    }
    const double lse = maximum + std::log(sum);
    log_sum_exp.as<float>()[row] = static_cast<float>(lse);
    loss.as<double>()[row] = targets.as<int32_t>()[row] < 0 ? 0 : lse - target_logit;
  }
}

void cross_entropy_backward(Stream&, const Tensor& logits, const Tensor& targets,
                            int64_t first_class, const Tensor& log_sum_exp, double dloss,
                            const Tensor& loss_scale, const Tensor& dlogits) {
  const auto bytes = static_cast<size_t>(logits.columns() * size_of(dlogits.dtype()));
  const auto factor = static_cast<float>(dloss * product_of(loss_scale));
  for_rows(logits.rows(), logits.columns(), [&](int64_t row) {
    if (targets.as<int32_t>()[row] < 0) {
      std::fill_n(at(dlogits, row), bytes, std::byte{0});
      return;
    }
    loops().cross_entropy.backward(logits.row<float>(row), logits.columns(),
                                   target_index(targets, row, first_class, logits.columns()),
                                   log_sum_exp.as<float>()[row], factor, element_of(dlogits),
                                   at(dlogits, row));
  });
}

}  // namespace tessera::cpu
