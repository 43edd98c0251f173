// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm.h"

#include "kernels/cpu/parallel.h"

namespace tessera::cpu {

void rms_norm(Stream&, const Tensor& x, const Tensor& weight, double epsilon, const Tensor& y,
              const Tensor& inv_rms) {
  float* inverses = inv_rms.as<float>();
  for_rows(x.rows(), x.columns(), [&](int64_t row) {
    inverses[row] = loops().norm.forward(element_of(x), at(x, row), weight.data(),
                                         static_cast<float>(epsilon), at(y, row), x.columns());
  });
}

void rms_norm_backward_input(Stream&, const Tensor& x, const Tensor& weight, const Tensor& inv_rms,
                             const Tensor& dy, const Tensor& dx) {
  const float* inverses = inv_rms.as<float>();
  for_rows(x.rows(), x.columns(), [&](int64_t row) {
    loops().norm.backward_input(element_of(x), at(x, row), weight.data(), inverses[row],
                                at(dy, row), at(dx, row), x.columns());
  });
}

// Tasks are columns, so each task adds all rows in order.
void rms_norm_backward_weight(Stream&, const Tensor& x, const Tensor& inv_rms, const Tensor& dy,
                              const Tensor& dweight) {
  parallel_for(divide_up(x.columns(), kNormColumns), [&](int64_t task) {
    const int64_t first = task * kNormColumns;
    loops().norm.backward_weight(element_of(x), at(x, 0, first), x.pitch(), inv_rms.as<float>(),
                                 at(dy, 0, first), dy.pitch(), x.rows(),
                                 std::min(kNormColumns, x.columns() - first),
                                 dweight.as<float>() + first);
  });
}

}  // namespace tessera::cpu
