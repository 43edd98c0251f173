// SPDX-License-Identifier: Apache-2.0
#include "kernels/cross_entropy.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {
namespace {
constexpr int64_t kStatsColumns = 3;

void check_logits(const Arguments& arguments, const Tensor& logits, const Tensor& targets) {
  arguments.computable({"logits", logits});
  arguments.of_type({"logits", logits}, accumulation_type(logits.dtype()));
  arguments.vector({"targets", targets}, logits.rows());
  arguments.of_type({"targets", targets}, DType::i32);
}
}  // namespace

void softmax_stats(Stream& stream, const Tensor& logits, const Tensor& targets, int64_t first_class,
                   const Tensor& stats) {
  const Arguments arguments(stream, "softmax_stats:");
  arguments.on_device({{"logits", logits}, {"targets", targets}, {"stats", stats}});
  check_logits(arguments, logits, targets);
  arguments.matrix({"stats", stats}, logits.rows(), kStatsColumns);
  arguments.same_type({"logits", logits}, {"stats", stats});
  stream.backend().softmax_stats(stream, logits, targets, first_class, stats);
}

void cross_entropy(Stream& stream, const Tensor& stats, const Tensor& targets,
                   const Tensor& log_sum_exp, const Tensor& loss) {
  const Arguments arguments(stream, "cross_entropy:");
  arguments.on_device(
      {{"stats", stats}, {"targets", targets}, {"log_sum_exp", log_sum_exp}, {"loss", loss}});
  const int64_t rows = targets.size();
  arguments.vector({"targets", targets}, rows);
  arguments.of_type({"targets", targets}, DType::i32);
  arguments.computable({"stats", stats});
  arguments.of_type({"stats", stats}, accumulation_type(stats.dtype()));
  arguments.matrix({"stats", stats}, stats.rows(), kStatsColumns);
  arguments.holds(rows == 0 || (stats.rows() > 0 && stats.rows() % rows == 0),
                  "stats of whole slices of the vocabulary");
  arguments.vector({"log_sum_exp", log_sum_exp}, rows);
  arguments.same_type({"stats", stats}, {"log_sum_exp", log_sum_exp});
  arguments.vector({"loss", loss}, rows);
  arguments.of_type({"loss", loss}, DType::f64);
  if (rows == 0) return;
  stream.backend().cross_entropy(stream, stats, targets, log_sum_exp, loss);
}

void cross_entropy_backward(Stream& stream, const Tensor& logits, const Tensor& targets,
                            int64_t first_class, const Tensor& log_sum_exp, double dloss,
                            const Tensor& loss_scale, const Tensor& dlogits) {
  const Arguments arguments(stream, "cross_entropy_backward:");
  arguments.on_device({{"logits", logits},
                       {"targets", targets},
                       {"log_sum_exp", log_sum_exp},
                       {"dlogits", dlogits}});
  check_logits(arguments, logits, targets);
  arguments.vector({"log_sum_exp", log_sum_exp}, logits.rows());
  arguments.same_type({"logits", logits}, {"log_sum_exp", log_sum_exp});
  arguments.same_shape({"logits", logits}, {"dlogits", dlogits});
  arguments.computable({"dlogits", dlogits});
  arguments.factors({"loss_scale", loss_scale});
  stream.backend().cross_entropy_backward(stream, logits, targets, first_class, log_sum_exp, dloss,
                                          loss_scale, dlogits);
}

}  // namespace tessera
