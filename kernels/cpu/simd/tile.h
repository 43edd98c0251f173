// SPDX-License-Identifier: Apache-2.0
// The heart of matrix products and of attention: tiles of 8 x 16*vectors from panels in f32.
// Every element of a tile is one chain of fused multiply-adds in increasing k, so the register
// tile, which differs from path to path, does not change a bit.
#pragma once

#include "kernels/cpu/simd/vector.h"

namespace {

using tessera::cpu::kPanelColumns;
using tessera::cpu::kPanelRows;

// What a panel is made of: 32-bit words, each one element of one k.
struct FloatWords {
  using Type = float;
  static Vec load(const float* from) { return ::load(from); }
  static Vec broadcast(float word) { return ::broadcast(word); }
  static Vec multiply_add(Vec a, Vec b, Vec sum) { return fma(a, b, sum); }
};

template <typename Words, int kRows, int kVectors>
[[gnu::always_inline]] inline void multiply_registers(const typename Words::Type* a, int64_t a_step,
                                                      const typename Words::Type* b, int64_t b_step,
                                                      int64_t depth, bool add, float* c,
                                                      int64_t c_step) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) sums[i][j] = zero();
  for (int64_t k = 0; k < depth; ++k) {
    decltype(Words::load(b)) columns[kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) columns[j] = Words::load(b + j * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const auto row = Words::broadcast(a[i]);
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j)
        sums[i][j] = Words::multiply_add(row, columns[j], sums[i][j]);
    }
    a += a_step;
    b += b_step;
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      float* to = c + i * c_step + j * kLanes;
      store(to, add ? load(to) + sums[i][j] : sums[i][j]);
    }
}

template <typename Words, int kVectors>
inline void multiply_columns(const typename Words::Type* a, int64_t a_step,
                             const typename Words::Type* b, int64_t b_step, int64_t depth, bool add,
                             float* c, int64_t c_step) {
  for (int64_t row = 0; row < kPanelRows; row += kTileRows)
    multiply_registers<Words, kTileRows, kVectors>(a + row, a_step, b, b_step, depth, add,
                                                   c + row * c_step, c_step);
}

// c[8][16 * vectors] = or += sum over k < depth of a[k * a_step + i] * b[k * b_step + j]
template <typename Words = FloatWords>
inline void multiply_tile(const typename Words::Type* a, int64_t a_step,
                          const typename Words::Type* b, int64_t b_step, int64_t depth,
                          int64_t vectors, bool add, float* c, int64_t c_step) {
  int64_t done = 0;
  for (; done + kTileVectors <= vectors; done += kTileVectors)
    multiply_columns<Words, kTileVectors>(a, a_step, b + done * kLanes, b_step, depth, add,
                                          c + done * kLanes, c_step);
  if constexpr (kTileVectors == 3) {
    if (vectors - done == 2)
      multiply_columns<Words, 2>(a, a_step, b + done * kLanes, b_step, depth, add,
                                 c + done * kLanes, c_step);
    if (vectors - done == 1)
      multiply_columns<Words, 1>(a, a_step, b + done * kLanes, b_step, depth, add,
                                 c + done * kLanes, c_step);
  }
}

// panel[k][i] = from[i * lane_step + k] as f32 for i < lanes, 0 for lanes <= i < width.
template <typename S>
inline void pack_rows(const typename S::Type* from, int64_t lane_step, int64_t lanes, int64_t depth,
                      int64_t width, float* panel) {
  for (int64_t first = 0; first < depth; first += kLanes) {
    const int64_t some = depth - first < kLanes ? depth - first : kLanes;
    float* to = panel + first * width;
    for (int64_t i = 0; i < width; ++i) {
      alignas(64) float row[kLanes];
      const auto* at = from + i * lane_step + first;
      store(row, i >= lanes ? zero() : some == kLanes ? S::load(at) : load_first<S>(at, some));
      for (int64_t k = 0; k < some; ++k) to[k * width + i] = row[k];
    }
  }
}

// panel[k][i] = from[i + k * depth_step] as f32 for i < lanes, 0 for lanes <= i < width.
template <typename S>
inline void pack_columns(const typename S::Type* from, int64_t depth_step, int64_t lanes,
                         int64_t depth, int64_t width, float* panel) {
  for (int64_t k = 0; k < depth; ++k, from += depth_step, panel += width) {
    int64_t i = 0;
    for (; i + kLanes <= lanes; i += kLanes) store(panel + i, S::load(from + i));
    for (; i < width; i += kLanes) {
      const int64_t some = lanes - i < 0 ? 0 : lanes - i;
      const int64_t room = width - i < kLanes ? width - i : kLanes;
      store_first<StoredF32>(panel + i, load_first<S>(from + i, some), room);
    }
  }
}

}  // namespace
