// SPDX-License-Identifier: Apache-2.0
#include "kernels/update.h"

#include <cmath>

namespace tessera::reference {

void adamw_update(Stream&, const AdamW& adamw, const Tensor& controls,
                  const std::vector<AdamWPart>& parts) {
  const double* control = controls.as<double>();
  if (control[kApply] == 0) return;
  const double lr = control[kLearningRate];
  for (const auto& [grad, master, m, v, compute, decay] : parts)
    for (int64_t i = 0; i < master.size(); ++i) {
      const double g = grad.as<double>()[i] * control[kGradScale];
      double &p = master.as<double>()[i], &m1 = m.as<double>()[i], &m2 = v.as<double>()[i];
      if (decay) p *= 1 - lr * adamw.weight_decay;
      m1 = adamw.beta1 * m1 + (1 - adamw.beta1) * g;
      m2 = adamw.beta2 * m2 + (1 - adamw.beta2) * g * g;
      p -= lr * (m1 / control[kCorrection1]) /
           (std::sqrt(m2 / control[kCorrection2]) + adamw.epsilon);
      compute.as<double>()[i] = p;
    }
}

}  // namespace tessera::reference
