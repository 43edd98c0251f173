// SPDX-License-Identifier: Apache-2.0
// Softmax cross-entropy over a vocabulary that may be cut into slices (Megatron-LM's vocabulary
// parallel loss). Three steps, so that a communicator can stand between the first and the second:
//   1. softmax_stats: each slice's maximum, sum of exponentials and target logit, per row
//   2. cross_entropy: log-sum-exp and loss per row from the stats of all slices
//   3. cross_entropy_backward: the slice's gradient
// targets: (rows) i32; a negative target is ignored: loss 0, gradient 0.
// logits: (rows, classes of the slice) accumulation_type; class i is first_class + i.
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

// Writes stats (rows, 3): maximum, sum of exp(logit - maximum), logit of the target or 0 when the
// target is in another slice.
void softmax_stats(Stream& stream, const Tensor& logits, const Tensor& targets, int64_t first_class,
                   const Tensor& stats);

// stats: (num_slices * rows, 3), slice after slice. Writes log_sum_exp (rows) of stats' dtype and
// loss (rows) f64: log_sum_exp - logit of the target, 0 for an ignored row.
void cross_entropy(Stream& stream, const Tensor& stats, const Tensor& targets,
                   const Tensor& log_sum_exp, const Tensor& loss);

// dlogits = (softmax - [class is the target]) * dloss * loss_scale, 0 for an ignored row.
// loss_scale: f64 on the device, empty: 1. dlogits may be of any floating dtype; when it has the
// dtype of logits it may be the same tensor.
void cross_entropy_backward(Stream& stream, const Tensor& logits, const Tensor& targets,
                            int64_t first_class, const Tensor& log_sum_exp, double dloss,
                            const Tensor& loss_scale, const Tensor& dlogits);

}  // namespace tessera
