// SPDX-License-Identifier: Apache-2.0
// The optimizer's arithmetic, one pass over memory for all parameters of a model: AdamW (Loshchilov
// & Hutter, arXiv:1711.05101, algorithm 2, in PyTorch's order of operations):
//   g = grad * grad_scale;  p *= 1 - lr * weight_decay
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   p -= lr * (m / correction1) / (sqrt(v / correction2) + epsilon),  correction_i = 1 - beta_i^t
#pragma once

#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

struct AdamW {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
};

// What changes every step lives in a tensor `controls` (kNumControls) f64 on the device, so that a
// GPU step needs no word from the host. Indices into it:
enum Control : int {
  kApply,      // 0: the update is skipped, nothing is written
  kGradScale,  // unscaling x normalisation x clipping, one factor
  kLearningRate,
  kCorrection1,  // 1 - beta1^t
  kCorrection2,  // 1 - beta2^t
  kNumControls
};

// A parameter, or a stretch of one, and what belongs to it. All tensors are contiguous and of equal
// size; those but compute are of accumulation_type(compute).
struct AdamWPart {
  Tensor grad;
  Tensor master, m, v;  // updated
  Tensor compute;       // written with rounding: the copy of the weights that layers read, of any
                        // floating type; it may be master itself
  bool decay = true;    // whether weight_decay applies
};

// REQUIRES parts that share no element, and one type of compute. On a GPU a few launches for a
// whole model: the list goes to the kernel by value.
void adamw_update(Stream& stream, const AdamW& adamw, const Tensor& controls,
                  const std::vector<AdamWPart>& parts);

}  // namespace tessera
