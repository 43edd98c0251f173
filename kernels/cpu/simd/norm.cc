// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/vector.h"

namespace {

float inverse_root(float squares, int64_t width, float epsilon) {
  const Vec mean = broadcast(squares) / broadcast(static_cast<float>(width));
  alignas(64) float lanes[kLanes];
  store(lanes, broadcast(1.0f) / sqrt(mean + broadcast(epsilon)));
  return lanes[0];
}

float forward(Element element, const void* x, const void* weight, float epsilon, void* y,
              int64_t width) {
  float inv = 0;
  with_element(element, [=, &inv](auto stored) {
    using S = decltype(stored);
    const auto* in = static_cast<const typename S::Type*>(x);
    const auto* w = static_cast<const typename S::Type*>(weight);
    auto* out = static_cast<typename S::Type*>(y);
    // Two chains of additions hide half of their latency.
    Vec squares[2] = {zero(), zero()};
    for_vectors(
        width,
        [&](int64_t i) {
          const Vec v = S::load(in + i);
          Vec& chain = squares[(i / kLanes) & 1];
          chain = fma(v, v, chain);
        },
        [&](int64_t i, int64_t n) {
          const Vec v = load_first<S>(in + i, n);
          squares[0] = fma(v, v, squares[0]);
        });
    inv = inverse_root(sum(squares[0] + squares[1]), width, epsilon);
    const Vec factor = broadcast(inv);
    for_vectors(
        width, [=](int64_t i) { S::store(out + i, S::load(in + i) * factor * S::load(w + i)); },
        [=](int64_t i, int64_t n) {
          store_first<S>(out + i, load_first<S>(in + i, n) * factor * load_first<S>(w + i, n), n);
        });
  });
  return inv;
}

void backward_input(Element element, const void* x, const void* weight, float inv_rms,
                    const void* dy, void* dx, int64_t width) {
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    const auto* in = static_cast<const typename S::Type*>(x);
    const auto* w = static_cast<const typename S::Type*>(weight);
    const auto* gradient = static_cast<const typename S::Type*>(dy);
    auto* out = static_cast<typename S::Type*>(dx);
    Vec dot = zero();
    for_vectors(
        width,
        [&](int64_t i) { dot = fma(S::load(gradient + i) * S::load(w + i), S::load(in + i), dot); },
        [&](int64_t i, int64_t n) {
          dot = fma(load_first<S>(gradient + i, n) * load_first<S>(w + i, n),
                    load_first<S>(in + i, n), dot);
        });
    // dx = inv * g - x * (inv^3 * sum(g x) / width)
    const float shrink = inv_rms * inv_rms * (sum(dot) / static_cast<float>(width));
    const Vec inv = broadcast(inv_rms), factor = broadcast(shrink);
    const auto result = [=](Vec g, Vec v) { return inv * fnma(v, factor, g); };
    for_vectors(
        width,
        [=](int64_t i) {
          S::store(out + i, result(S::load(gradient + i) * S::load(w + i), S::load(in + i)));
        },
        [=](int64_t i, int64_t n) {
          const Vec g = load_first<S>(gradient + i, n) * load_first<S>(w + i, n);
          store_first<S>(out + i, result(g, load_first<S>(in + i, n)), n);
        });
  });
}

// Rows are summed in blocks, the blocks into dweight: the error grows with the block and with the
// number of blocks, not with the number of rows.
constexpr int64_t kBlockRows = 64;

void backward_weight(Element element, const void* x, int64_t x_pitch, const float* inv_rms,
                     const void* dy, int64_t dy_pitch, int64_t rows, int64_t columns,
                     float* dweight) {
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    const auto* in = static_cast<const typename S::Type*>(x);
    const auto* gradient = static_cast<const typename S::Type*>(dy);
    constexpr int64_t kVectors = tessera::cpu::kNormColumns / kLanes;
    for (int64_t first = 0; first < rows; first += kBlockRows) {
      const int64_t last = first + kBlockRows < rows ? first + kBlockRows : rows;
      Vec sums[kVectors];
      for (Vec& one : sums) one = zero();
      for (int64_t r = first; r < last; ++r) {
        const Vec inv = broadcast(inv_rms[r]);
        const auto* a = in + r * x_pitch;
        const auto* b = gradient + r * dy_pitch;
        for_vectors(
            columns,
            [&](int64_t i) {
              Vec& one = sums[i / kLanes];
              one = fma(S::load(a + i) * inv, S::load(b + i), one);
            },
            [&](int64_t i, int64_t n) {
              Vec& one = sums[i / kLanes];
              one = fma(load_first<S>(a + i, n) * inv, load_first<S>(b + i, n), one);
            });
      }
      for_vectors(
          columns, [&](int64_t i) { store(dweight + i, load(dweight + i) + sums[i / kLanes]); },
          [&](int64_t i, int64_t n) {
            store_first<StoredF32>(dweight + i,
                                   load_first<StoredF32>(dweight + i, n) + sums[i / kLanes], n);
          });
    }
  });
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const NormLoops norm = {forward, backward_input, backward_weight};
}
