// SPDX-License-Identifier: Apache-2.0
// AdamW in one launch for many parts: three arrays read and written, the gradient read, the layers'
// copy written. Whether the step is applied is read on the device, with all that changes from step
// to step.
#include "kernels/cuda/tile_list.cuh"
#include "kernels/update.h"

namespace tessera::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSize = 4;                         // f32 numbers in 16 bytes
constexpr int64_t kTile = kThreads * kSize * 4;  // elements of a block
constexpr int kMostParts = 70;                   // of one launch

struct Rule {
  const double* controls;
  float beta1, beta2, rest1, rest2, epsilon;
  double weight_decay;
};

template <typename T>
struct Parts {
  TileList<kMostParts> tiles;
  bool decay[kMostParts];
  int64_t size[kMostParts];
  const float* grad[kMostParts];
  float *master[kMostParts], *m[kMostParts], *v[kMostParts];
  T* compute[kMostParts];
};

__device__ bool aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % 16 == 0;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) update_tiles(Rule rule, Parts<T> parts) {
  const double* controls = rule.controls;
  if (controls[kApply] == 0) return;
  const int part = parts.tiles.find(blockIdx.x);
  const double rate = controls[kLearningRate];
  const auto scale = static_cast<float>(controls[kGradScale]);
  const float decay = parts.decay[part] ? static_cast<float>(1 - rate * rule.weight_decay) : 1.0f;
  const float step = static_cast<float>(rate) / static_cast<float>(controls[kCorrection1]);
  const float inverse2 = 1.0f / static_cast<float>(controls[kCorrection2]);
  const float* grad = parts.grad[part];
  float *master = parts.master[part], *m = parts.m[part], *v = parts.v[part];
  T* compute = parts.compute[part];
  const bool grad_aligned = aligned(grad), compute_aligned = aligned(compute);
  const bool state_aligned = aligned(master) && aligned(m) && aligned(v);
  const int64_t tile = static_cast<int64_t>(blockIdx.x) - parts.tiles.first[part];
  const int64_t size = parts.size[part], end = smaller(size, (tile + 1) * kTile);
  for (int64_t i = tile * kTile + threadIdx.x * kSize; i < end; i += kThreads * kSize) {
    float g[kSize], p[kSize], first[kSize], second[kSize];
    load(grad + i, size - i, grad_aligned, g);
    load(master + i, size - i, state_aligned, p);
    load(m + i, size - i, state_aligned, first);
    load(v + i, size - i, state_aligned, second);
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      g[e] *= scale;
      first[e] = rule.beta1 * first[e] + rule.rest1 * g[e];
      second[e] = rule.beta2 * second[e] + rule.rest2 * g[e] * g[e];
      p[e] =
          p[e] * decay - fast_divide(step * first[e], sqrtf(second[e] * inverse2) + rule.epsilon);
    }
    store(master + i, size - i, state_aligned, p);
    store(m + i, size - i, state_aligned, first);
    store(v + i, size - i, state_aligned, second);
    store(compute + i, size - i, compute_aligned, p);
  }
}

// Parts [first, first + kMostParts) of a call.
template <typename T>
Parts<T> some_parts(const std::vector<AdamWPart>& all, size_t first) {
  static_assert(sizeof(Rule) + sizeof(Parts<T>) <= kMostArgumentBytes);
  Parts<T> parts{};
  for (size_t i = first; i < std::min(all.size(), first + kMostParts); ++i) {
    const AdamWPart& part = all[i];
    const int at = parts.tiles.count;
    parts.decay[at] = part.decay;
    parts.size[at] = part.master.size();
    parts.grad[at] = part.grad.as<float>();
    parts.master[at] = part.master.as<float>();
    parts.m[at] = part.m.as<float>();
    parts.v[at] = part.v.as<float>();
    parts.compute[at] = part.compute.as<T>();
    parts.tiles.add(divide_up(parts.size[at], kTile));
  }
  return parts;
}

}  // namespace

void adamw_update(Stream& stream, const AdamW& adamw, const Tensor& controls,
                  const std::vector<AdamWPart>& parts) {
  if (parts.empty()) return;
  const Rule rule{controls.as<double>(),
                  static_cast<float>(adamw.beta1),
                  static_cast<float>(adamw.beta2),
                  static_cast<float>(1 - adamw.beta1),
                  static_cast<float>(1 - adamw.beta2),
                  static_cast<float>(adamw.epsilon),
                  adamw.weight_decay};
  with_type(parts.front().compute.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (size_t first = 0; first < parts.size(); first += kMostParts) {
      const Parts<T> some = some_parts<T>(parts, first);
      launch(stream, update_tiles<T>, dim3(static_cast<unsigned>(some.tiles.count_tiles())),
             dim3(kThreads), 0, rule, some);
    }
  });
}

}  // namespace tessera::cuda
