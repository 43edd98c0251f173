// SPDX-License-Identifier: Apache-2.0
#include "kernels/cross_entropy.h"

#include <cmath>
#include <limits>

#include "kernels/arguments.h"

namespace tessera::reference {

void softmax_stats(Stream&, const Tensor& logits, const Tensor& targets, int64_t first_class,
                   const Tensor& stats) {
  for (int64_t r = 0; r < logits.rows(); ++r) {
    const double* row = logits.row<double>(r);
    double maximum = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t i = 0; i < logits.columns(); ++i) maximum = std::max(maximum, row[i]);
    if (maximum > -std::numeric_limits<double>::infinity())
      for (int64_t i = 0; i < logits.columns(); ++i) sum += std::exp(row[i] - maximum);
    const int64_t target = targets.as<int32_t>()[r], index = target - first_class;
    const bool mine = target >= 0 && index >= 0 && index < logits.columns();
    double* out = stats.row<double>(r);
    out[0] = maximum;
    out[1] = sum;
    out[2] = mine ? row[index] : 0;
  }
}

void cross_entropy(Stream&, const Tensor& stats, const Tensor& targets, const Tensor& log_sum_exp,
                   const Tensor& loss) {
  const int64_t rows = targets.size();
  for (int64_t r = 0; r < rows; ++r) {
    double maximum = -std::numeric_limits<double>::infinity(), sum = 0, target_logit = 0;
    for (int64_t s = r; s < stats.rows(); s += rows)
      maximum = std::max(maximum, stats.row<double>(s)[0]);
    for (int64_t s = r; s < stats.rows(); s += rows) {
      const double* part = stats.row<double>(s);
      if (part[1] > 0) sum += part[1] * std::exp(part[0] - maximum);
      target_logit += part[2];
    }
    const double lse = maximum + std::log(sum);
    log_sum_exp.as<double>()[r] = lse;
    loss.as<double>()[r] = targets.as<int32_t>()[r] < 0 ? 0 : lse - target_logit;
  }
}

void cross_entropy_backward(Stream&, const Tensor& logits, const Tensor& targets,
                            int64_t first_class, const Tensor& log_sum_exp, double dloss,
                            const Tensor& loss_scale, const Tensor& dlogits) {
  const double factor = dloss * product_of(loss_scale);
  for (int64_t r = 0; r < logits.rows(); ++r) {
    const int64_t target = targets.as<int32_t>()[r];
    for (int64_t i = 0; i < logits.columns(); ++i) {
      const double p = std::exp(logits.row<double>(r)[i] - log_sum_exp.as<double>()[r]);
      const double one = first_class + i == target ? 1 : 0;
      dlogits.row<double>(r)[i] = target < 0 ? 0 : (p - one) * factor;
    }
  }
}

}  // namespace tessera::reference
