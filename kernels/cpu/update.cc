// SPDX-License-Identifier: Apache-2.0
#include "kernels/update.h"

#include "kernels/cpu/parallel.h"

namespace tessera::cpu {

void adamw_update(Stream&, const AdamW& adamw, const Tensor& controls, const Tensor& grad,
                  const Tensor& master, const Tensor& m, const Tensor& v, const Tensor& compute) {
  const double* control = controls.as<double>();
  if (control[kApply] == 0) return;
  const double lr = control[kLearningRate];
  const AdamWFactors factors = {.grad_scale = static_cast<float>(control[kGradScale]),
                                .decay = static_cast<float>(1 - lr * adamw.weight_decay),
                                .beta1 = static_cast<float>(adamw.beta1),
                                .one_minus_beta1 = static_cast<float>(1 - adamw.beta1),
                                .beta2 = static_cast<float>(adamw.beta2),
                                .one_minus_beta2 = static_cast<float>(1 - adamw.beta2),
                                .step_size = static_cast<float>(lr / control[kCorrection1]),
                                .inv_correction2 = static_cast<float>(1 / control[kCorrection2]),
                                .epsilon = static_cast<float>(adamw.epsilon)};
  for_chunks(1, master.size(), true, [&](int64_t, int64_t first, int64_t count) {
    loops().update.adamw(factors, grad.as<float>() + first, master.as<float>() + first,
                         m.as<float>() + first, v.as<float>() + first, element_of(compute),
                         at(compute, 0, first), count);
  });
}

}  // namespace tessera::cpu
