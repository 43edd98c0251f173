// SPDX-License-Identifier: Apache-2.0
// AdamW in one launch: three arrays read and written, the gradient read, the layers' copy written.
// Whether the step is applied is read on the device, with all that changes from step to step.
#include "kernels/cuda/for_each.cuh"
#include "kernels/update.h"

namespace tessera::cuda {
namespace {

constexpr int kSize = 4;  // f32 numbers in 16 bytes

template <typename T>
struct Update {
  const double* controls;
  float beta1, beta2, rest1, rest2, epsilon;
  double weight_decay;
  Matrix<const float> grad;
  Matrix<float> master, m, v;
  Matrix<T> compute;

  __device__ void operator()(int64_t, int64_t i, int64_t valid) const {
    if (controls[kApply] == 0) return;
    const double rate = controls[kLearningRate];
    const auto scale = static_cast<float>(controls[kGradScale]);
    const auto decay = static_cast<float>(1 - rate * weight_decay);
    const float step = static_cast<float>(rate) / static_cast<float>(controls[kCorrection1]);
    const float inverse2 = 1.0f / static_cast<float>(controls[kCorrection2]);
    float g[kSize], p[kSize], first[kSize], second[kSize];
    load(grad.data + i, valid, grad.aligned, g);
    load(master.data + i, valid, master.aligned, p);
    load(m.data + i, valid, m.aligned, first);
    load(v.data + i, valid, v.aligned, second);
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      g[e] *= scale;
      first[e] = beta1 * first[e] + rest1 * g[e];
      second[e] = beta2 * second[e] + rest2 * g[e] * g[e];
      p[e] = p[e] * decay - fast_divide(step * first[e], sqrtf(second[e] * inverse2) + epsilon);
    }
    store(master.data + i, valid, master.aligned, p);
    store(m.data + i, valid, m.aligned, first);
    store(v.data + i, valid, v.aligned, second);
    store(compute.data + i, valid, compute.aligned, p);
  }
};

}  // namespace

void adamw_update(Stream& stream, const AdamW& adamw, const Tensor& controls, const Tensor& grad,
                  const Tensor& master, const Tensor& m, const Tensor& v, const Tensor& compute) {
  with_type(compute.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_each<kSize>(
        stream, 1, master.size(),
        Update<T>{controls.as<double>(), static_cast<float>(adamw.beta1),
                  static_cast<float>(adamw.beta2), static_cast<float>(1 - adamw.beta1),
                  static_cast<float>(1 - adamw.beta2), static_cast<float>(adamw.epsilon),
                  adamw.weight_decay, matrix<const float>(grad), matrix<float>(master),
                  matrix<float>(m), matrix<float>(v), matrix<T>(compute)});
  });
}

}  // namespace tessera::cuda
