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

// kApart: word k of row i lies at a[i * a_step + k], else at a[k * a_step + i].
template <typename Words, int kRows, int kVectors, bool kApart>
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
      const auto row = Words::broadcast(a[kApart ? i * a_step : i]);
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j)
        sums[i][j] = Words::multiply_add(row, columns[j], sums[i][j]);
    }
    a += kApart ? 1 : a_step;
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

template <typename Words, int kVectors, bool kApart>
inline void multiply_columns(const typename Words::Type* a, int64_t a_step,
                             const typename Words::Type* b, int64_t b_step, int64_t depth, bool add,
                             float* c, int64_t c_step, int64_t rows,
                             const typename Words::Type* next) {
  if (rows == 1)
    return multiply_registers<Words, 1, kVectors, kApart>(a, a_step, b, b_step, depth, add, c,
                                                          c_step, next);
  if (rows == 2)
    return multiply_registers<Words, 2, kVectors, kApart>(a, a_step, b, b_step, depth, add, c,
                                                          c_step, next);
  if (rows <= 4 && kTileRows > 4)
    return multiply_registers<Words, 4, kVectors, kApart>(a, a_step, b, b_step, depth, add, c,
                                                          c_step, next);
  for (int64_t row = 0; row < rows; row += kTileRows)
    multiply_registers<Words, kTileRows, kVectors, kApart>(a + (kApart ? row * a_step : row),
                                                           a_step, b, b_step, depth, add,
                                                           c + row * c_step, c_step, next);
}

// c[rows][16 * vectors] = or += sum over k < depth of a[k * a_step + i] * b[k * b_step + j]; rows
// of c from `rows` on, up to 8, are written or left alone. next: memory that will be wanted soon,
// 16 bytes of it for each k are brought into the cache meanwhile.
template <typename Words = FloatWords, bool kApart = false>
inline void multiply_tile(const typename Words::Type* a, int64_t a_step,
                          const typename Words::Type* b, int64_t b_step, int64_t depth,
                          int64_t vectors, bool add, float* c, int64_t c_step,
                          int64_t rows = kPanelRows, const typename Words::Type* next = nullptr) {
  if (next == nullptr) next = b;
  int64_t done = 0;
  for (; done + kTileVectors <= vectors; done += kTileVectors)
    multiply_columns<Words, kTileVectors, kApart>(a, a_step, b + done * kLanes, b_step, depth, add,
                                                  c + done * kLanes, c_step, rows, next);
  if constexpr (kTileVectors == 3) {
    if (vectors - done == 2)
      multiply_columns<Words, 2, kApart>(a, a_step, b + done * kLanes, b_step, depth, add,
                                         c + done * kLanes, c_step, rows, next);
    if (vectors - done == 1)
      multiply_columns<Words, 1, kApart>(a, a_step, b + done * kLanes, b_step, depth, add,
                                         c + done * kLanes, c_step, rows, next);
  }
}

// As GemmLoops::multiply() (cpu/loops.h) has it.
template <typename Words>
inline void multiply_lanes(const typename Words::Type* a, int64_t a_lane,
                           const typename Words::Type* b, int64_t words, int64_t vectors, bool add,
                           float* c, int64_t c_step, int64_t rows,
                           const typename Words::Type* next) {
  if (a_lane == 0)
    multiply_tile<Words>(a, kPanelRows, b, kPanelColumns, words, vectors, add, c, c_step, rows,
                         next);
  else
    multiply_tile<Words, true>(a, a_lane, b, kPanelColumns, words, vectors, add, c, c_step, rows,
                               next);
}

// Packing walks across many rows at once, more than the machine foresees: it asks for what it will
// read, this far along a row or this many rows below. Asking beyond the end does no harm.
constexpr int64_t kElementsAhead = 64;
constexpr int64_t kRowsAhead = 16;

// One square of 16 x 16 out of lanes that run across rows, turned. Narrow: lanes are eight, so two
// squares of 8 x 16 side by side. Load::whole(i, word): 16 words of lane i; Load::some(i, word,
// count): of which `count` exist. Whole squares are loaded without a question.
template <bool kNarrow, typename Load>
[[gnu::always_inline]] inline void turn_square(const Load& load, int64_t lane, int64_t lanes,
                                               int64_t word, int64_t words, Vec* square) {
  constexpr int64_t kTall = kNarrow ? 8 : kLanes, kWide = kNarrow ? 2 * kLanes : kLanes;
  if (lane + kTall <= lanes && word + kWide <= load.whole_words) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i)
      square[i] = load.whole(lane + i % kTall, word + i / kTall * kLanes);
  } else {
    for (int64_t i = 0; i < kLanes; ++i) {
      const int64_t from = lane + i % kTall, at = word + i / kTall * kLanes;
      const int64_t count = words - at < kLanes ? words - at : kLanes;
      square[i] = from >= lanes || count <= 0 ? zero() : load.some(from, at, count);
    }
  }
  transpose(square);
}

// panel[w][i] = word w of lane i for i < lanes, 0 for lanes <= i < width.
template <bool kNarrow, typename Load>
[[gnu::always_inline]] inline void pack_panel(const Load& load, int64_t lanes, int64_t words,
                                              int64_t width, float* panel) {
  constexpr int64_t kWide = kNarrow ? 2 * kLanes : kLanes;
  for (int64_t first = 0; first < words; first += kWide)
    for (int64_t lane = 0; lane < width; lane += kLanes) {
      Vec square[kLanes];
      turn_square<kNarrow>(load, lane, lanes, first, words, square);
      if (!kNarrow) {
        const int64_t count = words - first < kLanes ? words - first : kLanes;
        for (int64_t w = 0; w < count; ++w) store(panel + (first + w) * width + lane, square[w]);
      } else if (words - first >= kWide) {
#pragma GCC unroll 16
        for (int64_t w = 0; w < kLanes; ++w)
          store_halves(panel + (first + w) * 8, panel + (first + kLanes + w) * 8, square[w]);
      } else {
        alignas(64) float low[kWide][8];
        for (int64_t w = 0; w < kLanes; ++w) store_halves(low[w], low[kLanes + w], square[w]);
        for (int64_t w = 0; w < words - first; ++w)
          for (int64_t i = 0; i < 8; ++i) panel[(first + w) * 8 + i] = low[w][i];
      }
    }
}

// The same for as many panels as `lanes` fill, `width` (8 or a multiple of 16) lanes each.
template <typename Load>
inline void pack_transposed(Load load, int64_t lanes, int64_t words, int64_t width, float* panel) {
  for (; lanes > 0; load.from += width * load.lane_step, lanes -= width, panel += width * words) {
    const int64_t some = lanes < width ? lanes : width;
    if (width == 8)
      pack_panel<true>(load, some, words, width, panel);
    else
      pack_panel<false>(load, some, words, width, panel);
  }
}

template <typename S>
struct LoadRows {
  const typename S::Type* from;
  int64_t lane_step, whole_words;

  Vec whole(int64_t i, int64_t word) const {
    const auto* at = from + i * lane_step + word;
    __builtin_prefetch(at + kElementsAhead);
    return S::load(at);
  }
  Vec some(int64_t i, int64_t word, int64_t count) const {
    return load_first<S>(from + i * lane_step + word, count);
  }
};

// panel[k][i] = from[i * lane_step + k] as f32 for i < lanes, 0 for lanes <= i < width; more lanes
// are further panels.
template <typename S>
inline void pack_rows(const typename S::Type* from, int64_t lane_step, int64_t lanes, int64_t depth,
                      int64_t width, float* panel) {
  pack_transposed(LoadRows<S>{from, lane_step, depth}, lanes, depth, width, panel);
}

// Panels of `width` lanes, a multiple of 8, out of rows whose lanes run along memory.
// load_words(w, i, count): word w of lanes [i, i + count), at most 16; ahead(w, i) asks for what
// will be read there later. A row fills up to four narrow panels, so that a line of memory is used
// up while it is in the cache.
template <typename LoadWords, typename Ahead>
[[gnu::always_inline]] inline void pack_lanes(LoadWords load_words, Ahead ahead, int64_t lanes,
                                              int64_t words, int64_t width, float* panel) {
  const int64_t together = width == 8 ? 4 * width : width;
  const int64_t step = width == 8 ? width * words : kLanes;  // from 8, or 16, lanes to the next
  for (int64_t first = 0; first < lanes; first += together, panel += together * words) {
    const int64_t some = lanes - first < together ? lanes - first : together;
    const int64_t filled = width == 8 ? (some + 7) / 8 * 8 : width;
    for (int64_t w = 0; w < words; ++w) {
      for (int64_t i = 0; i < some; i += kLanes) ahead(w, first + i);
      for (int64_t i = 0; i < filled; i += kLanes) {
        const int64_t count = some - i < 0 ? 0 : some - i;
        const Vec v = load_words(w, first + i, count < kLanes ? count : kLanes);
        float* to = panel + w * width + (width == 8 ? i / 8 * step : i);
        if (width == 8 && filled - i > 8)
          store_halves(to, to + step, v);
        else if (width == 8 || width - i < kLanes)
          store_first<StoredF32>(to, v, 8);
        else
          store(to, v);
      }
    }
  }
}

// panel[k][i] = from[i + k * depth_step] as f32 for i < lanes, 0 for lanes <= i < width.
template <typename S>
inline void pack_columns(const typename S::Type* from, int64_t depth_step, int64_t lanes,
                         int64_t depth, int64_t width, float* panel) {
  pack_lanes(
      [=](int64_t k, int64_t i, int64_t count) {
        const auto* at = from + k * depth_step + i;
        return count == kLanes ? S::load(at) : load_first<S>(at, count);
      },
      [=](int64_t k, int64_t i) { __builtin_prefetch(from + (k + kRowsAhead) * depth_step + i); },
      lanes, depth, width, panel);
}

}  // namespace
