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

constexpr int64_t kWordsAhead = 4;  // of `next`, asked for with each k

template <typename Words, int kRows, int kVectors>
[[gnu::always_inline]] inline void multiply_registers(const typename Words::Type* a, int64_t a_step,
                                                      const typename Words::Type* b, int64_t b_step,
                                                      int64_t depth, bool add, float* c,
                                                      int64_t c_step,
                                                      const typename Words::Type* next) {
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
    __builtin_prefetch(next);
    next += kWordsAhead;
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
                             float* c, int64_t c_step, int64_t rows,
                             const typename Words::Type* next) {
  if (rows == 1)
    return multiply_registers<Words, 1, kVectors>(a, a_step, b, b_step, depth, add, c, c_step,
                                                  next);
  if (rows == 2)
    return multiply_registers<Words, 2, kVectors>(a, a_step, b, b_step, depth, add, c, c_step,
                                                  next);
  if (rows <= 4 && kTileRows > 4)
    return multiply_registers<Words, 4, kVectors>(a, a_step, b, b_step, depth, add, c, c_step,
                                                  next);
  for (int64_t row = 0; row < rows; row += kTileRows)
    multiply_registers<Words, kTileRows, kVectors>(a + row, a_step, b, b_step, depth, add,
                                                   c + row * c_step, c_step, next);
}

// c[rows][16 * vectors] = or += sum over k < depth of a[k * a_step + i] * b[k * b_step + j]; rows
// of c from `rows` on, up to 8, are written or left alone. next: memory that will be wanted soon,
// 16 bytes of it for each k are brought into the cache meanwhile.
template <typename Words = FloatWords>
inline void multiply_tile(const typename Words::Type* a, int64_t a_step,
                          const typename Words::Type* b, int64_t b_step, int64_t depth,
                          int64_t vectors, bool add, float* c, int64_t c_step,
                          int64_t rows = kPanelRows, const typename Words::Type* next = nullptr) {
  if (next == nullptr) next = b;
  int64_t done = 0;
  for (; done + kTileVectors <= vectors; done += kTileVectors)
    multiply_columns<Words, kTileVectors>(a, a_step, b + done * kLanes, b_step, depth, add,
                                          c + done * kLanes, c_step, rows, next);
  if constexpr (kTileVectors == 3) {
    if (vectors - done == 2)
      multiply_columns<Words, 2>(a, a_step, b + done * kLanes, b_step, depth, add,
                                 c + done * kLanes, c_step, rows, next);
    if (vectors - done == 1)
      multiply_columns<Words, 1>(a, a_step, b + done * kLanes, b_step, depth, add,
                                 c + done * kLanes, c_step, rows, next);
  }
}

// Packing walks across many rows at once, more than the machine foresees: it asks for what it will
// read, this far along a row or this many rows below. Asking beyond the end does no harm.
constexpr int64_t kElementsAhead = 64;
constexpr int64_t kRowsAhead = 16;

// panel[w][i] = word w of lane i for i < lanes, 0 for lanes <= i < width (8 or a multiple of 16),
// by squares of 16 x 16. load_words(i, first, count): words [first, first + count) of lane i.
template <typename LoadWords>
[[gnu::always_inline]] inline void pack_transposed(LoadWords load_words, int64_t lanes,
                                                   int64_t words, int64_t width, float* panel) {
  const int64_t high = width == 8 ? kLanes : 0;  // narrow: two squares of 8 x 16, side by side
  for (int64_t first = 0; first < words; first += kLanes + high) {
    for (int64_t lane = 0; lane < width; lane += kLanes) {
      Vec square[kLanes];
      for (int64_t i = 0; i < kLanes; ++i) {
        const int64_t from = lane + (high ? i % 8 : i), word = first + (i < 8 ? 0 : high);
        const int64_t count = words - word < kLanes ? words - word : kLanes;
        square[i] = from >= lanes || count <= 0 ? zero() : load_words(from, word, count);
      }
      transpose(square);
      const int64_t count = words - first < kLanes ? words - first : kLanes;
      if (high == 0) {
        for (int64_t w = 0; w < count; ++w) store(panel + (first + w) * width + lane, square[w]);
      } else if (words - first >= 2 * kLanes) {
        for (int64_t w = 0; w < kLanes; ++w)
          store_halves(panel + (first + w) * 8, panel + (first + kLanes + w) * 8, square[w]);
      } else {
        alignas(64) float low[2 * kLanes][8];
        for (int64_t w = 0; w < kLanes; ++w) store_halves(low[w], low[kLanes + w], square[w]);
        for (int64_t w = 0; w < words - first; ++w)
          for (int64_t i = 0; i < 8; ++i) panel[(first + w) * 8 + i] = low[w][i];
      }
    }
  }
}

// panel[k][i] = from[i * lane_step + k] as f32 for i < lanes, 0 for lanes <= i < width.
template <typename S>
inline void pack_rows(const typename S::Type* from, int64_t lane_step, int64_t lanes, int64_t depth,
                      int64_t width, float* panel) {
  pack_transposed(
      [=](int64_t i, int64_t first, int64_t count) {
        const auto* at = from + i * lane_step + first;
        __builtin_prefetch(at + kElementsAhead);
        return count == kLanes ? S::load(at) : load_first<S>(at, count);
      },
      lanes, depth, width, panel);
}

// panel[k][i] = from[i + k * depth_step] as f32 for i < lanes, 0 for lanes <= i < width.
template <typename S>
inline void pack_columns(const typename S::Type* from, int64_t depth_step, int64_t lanes,
                         int64_t depth, int64_t width, float* panel) {
  for (int64_t k = 0; k < depth; ++k, from += depth_step, panel += width) {
    for (int64_t i = 0; i < width; i += kLanes)
      __builtin_prefetch(from + kRowsAhead * depth_step + i);
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
