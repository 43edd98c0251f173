// SPDX-License-Identifier: Apache-2.0
#include "kernels/update.h"

#include "kernels/cpu/parallel.h"

namespace tessera::cpu {

void adamw_update(Stream&, const AdamW& adamw, const Tensor& controls,
                  const std::vector<AdamWPart>& parts) {
  const double* control = controls.as<double>();
  if (control[kApply] == 0) return;
  const double lr = control[kLearningRate];
  const auto decay = static_cast<float>(1 - lr * adamw.weight_decay);
  const AdamWFactors factors = {.grad_scale = static_cast<float>(control[kGradScale]),
                                .decay = 1,
                                .beta1 = static_cast<float>(adamw.beta1),
                                .one_minus_beta1 = static_cast<float>(1 - adamw.beta1),
                                .beta2 = static_cast<float>(adamw.beta2),
                                .one_minus_beta2 = static_cast<float>(1 - adamw.beta2),
                                .step_size = static_cast<float>(lr / control[kCorrection1]),
                                .inv_correction2 = static_cast<float>(1 / control[kCorrection2]),
                                .epsilon = static_cast<float>(adamw.epsilon)};
  std::vector<int64_t> chunks;
  for (const AdamWPart& part : parts) chunks.push_back(divide_up(part.master.size(), kChunk));
  parallel_for_each(chunks, [&](size_t which, int64_t chunk) {
    const AdamWPart& part = parts[which];
    AdamWFactors mine = factors;
    if (part.decay) mine.decay = decay;
    const int64_t first = chunk * kChunk;
    loops().update.adamw(mine, part.grad.as<float>() + first, part.master.as<float>() + first,
                         part.m.as<float>() + first, part.v.as<float>() + first,
                         element_of(part.compute), at(part.compute, 0, first),
                         std::min(kChunk, part.master.size() - first));
  });
}

}  // namespace tessera::cpu
