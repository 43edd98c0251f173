// SPDX-License-Identifier: Apache-2.0
// Attention by tiles. Vectors run along queries in the forward pass (48 queries x 64 keys at a
// time), so a maximum or a sum over keys needs no shuffle and the tile of probabilities is itself
// a panel for the next product; along keys in the backward pass, for the same reason.
// A unit chooses the words of its products (tile.h) with the way rows become panels of them:
//   W::kDepth                 elements of k in a word
//   W::with_element(e, f)     f(Stored{}) for the storage types that it knows
//   W::pack_rows<S>           panel[w][i] = word w of row i, as pack_rows() of tile.h
//   W::pack_columns<S>        panel[w][i] = the word of column i in rows w * kDepth ..
//   W::store(to, vectors)     kDepth vectors of sixteen f32, rows of k, as sixteen words
//   W::store_along(to, v)     one vector of sixteen f32 along k as 16 / kDepth words
#pragma once

#include "kernels/cpu/simd/tile.h"

namespace {

using tessera::cpu::AttentionGroup;
using tessera::cpu::AttentionHead;

constexpr int64_t kQueryTile = kPanelColumns;  // forward: queries in lanes
constexpr int64_t kKeyTile = 64;
constexpr int64_t kVectors = kPanelColumns / kLanes;
float* const kNowhere = reinterpret_cast<float*>(64);  // where scratch is laid out to be measured

int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}
int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

// The keys that query i sees: [first_key, last_key].
int64_t first_key(const AttentionHead& head, int64_t query) {
  return head.document_starts == nullptr ? 0 : head.document_starts[query];
}
int64_t last_key(const AttentionHead& head, int64_t query) {
  return head.key_length - head.query_length + query;
}

template <typename W>
constexpr int64_t words_of(int64_t depth) {
  return (depth + W::kDepth - 1) / W::kDepth;
}

// Rows in panels of 8: panel p holds [words][8] of rows 8p .. 8p+7, zeros where the rows end in
// either direction, up to `padded_rows`.
template <typename W, typename S>
void pack_row_panels(const typename S::Type* from, int64_t pitch, int64_t rows, int64_t depth,
                     int64_t padded_rows, int64_t words, typename W::Type* panels) {
  for (int64_t i = 0; i < padded_rows * words; ++i) panels[i] = 0;
  for (int64_t row = 0; row < rows; row += kPanelRows, panels += words * kPanelRows)
    W::template pack_rows<S>(from + row * pitch, pitch, smaller(kPanelRows, rows - row), depth,
                             kPanelRows, panels);
}

// Words of kDepth rows, `width` (a multiple of 8) apart, zeros to the right and below up to
// `padded_rows`.
template <typename W, typename S>
void pack_depth(const typename S::Type* from, int64_t pitch, int64_t rows, int64_t columns,
                int64_t padded_rows, int64_t width, typename W::Type* to) {
  W::template pack_columns<S>(from, pitch, columns, rows, width, to);
  const int64_t end = words_of<W>(padded_rows) * width;
  for (int64_t i = words_of<W>(rows) * width; i < end; ++i) to[i] = 0;
}

// ---- forward -----------------------------------------------------------------------------------

// What W::store() wrote over f32.
template <typename W>
const typename W::Type* words_at(const void* from) {
  return static_cast<const typename W::Type*>(from);
}

// Scratch of one forward head, in floats; words are as large.
template <typename W>
struct ForwardScratch {
  typename W::Type *keys, *values, *queries;
  float *scores, *out;
  int64_t v_width, qk_words, size;
};
// The next `count` floats or words of the scratch.
template <typename Word>
Word* take(float*& at, int64_t count) {
  void* const taken = at;
  at += round_up(count, kLanes);
  return static_cast<Word*>(taken);
}
template <typename W>
ForwardScratch<W> forward_scratch_of(const AttentionHead& head, float* at) {
  using Word = typename W::Type;
  const int64_t keys = round_up(head.key_length, kKeyTile);
  const int64_t v_width = round_up(head.v_dim, kPanelRows);
  ForwardScratch<W> scratch;
  float* const start = at;
  scratch.v_width = v_width;
  scratch.qk_words = words_of<W>(head.qk_dim);
  scratch.keys = take<Word>(at, keys * scratch.qk_words);
  scratch.values = take<Word>(at, words_of<W>(keys) * v_width);
  scratch.queries = take<Word>(at, scratch.qk_words * kQueryTile);
  scratch.scores = take<float>(at, kKeyTile * kQueryTile);
  scratch.out = take<float>(at, v_width * kQueryTile);
  scratch.size = (at - start) + kLanes;
  return scratch;
}
template <typename W>
int64_t forward_scratch(const AttentionHead& head) {
  return forward_scratch_of<W>(head, kNowhere).size;
}

// The running maximum and sum of 48 queries, and the keys that they see.
struct Softmax {
  Vec maximum[kVectors], sum[kVectors], first[kVectors], last[kVectors];
};

// scores[key][query] -> words of probabilities (not normalised), in the same place; rescales the
// sums and `out` so far.
template <typename W>
void softmax_tile(float scale, int64_t key, int64_t keys, bool masked, Softmax& state,
                  float* scores, float* out, int64_t v_width) {
  const Vec factor = broadcast(scale), lowest = broadcast(-__builtin_inff());
  for (int64_t j = 0; j < kVectors; ++j) {
    float* column = scores + j * kLanes;
    Vec top = state.maximum[j];
    for (int64_t i = 0; i < keys; ++i) {
      Vec score = load(column + i * kQueryTile);
      if (masked) {
        const Vec index = broadcast(static_cast<float>(key + i));
        score = select_less(index, state.first[j], lowest, score);
        score = select_less(state.last[j], index, lowest, score);
        store(column + i * kQueryTile, score);
      }
      top = max(score * factor, top);
    }
    // A query that has seen no key yet: any finite number keeps exp(-inf - top) at 0.
    const Vec base = select_less(lowest, top, top, zero());
    const Vec shrink = exp(state.maximum[j] - base);
    Vec total = state.sum[j] * shrink;
    for (int64_t i = 0; i < keys; i += W::kDepth) {
      Vec p[W::kDepth];
      for (int64_t k = 0; k < W::kDepth; ++k) {
        p[k] = exp(fma(load(column + (i + k) * kQueryTile), factor, zero() - base));
        total = total + p[k];
      }
      W::store(column + i / W::kDepth * kQueryTile, p);
    }
    state.maximum[j] = top;
    state.sum[j] = total;
    for (int64_t i = 0; i < v_width; ++i)
      store(out + i * kQueryTile + j * kLanes, load(out + i * kQueryTile + j * kLanes) * shrink);
  }
}

// out[value][query] / sum -> rows of the result; log-sum-exp.
template <typename S>
void write_result(const AttentionHead& head, int64_t query, int64_t queries, const Softmax& state,
                  const float* out) {
  alignas(64) float sums[kQueryTile], maxima[kQueryTile];
  for (int64_t j = 0; j < kVectors; ++j) {
    store(sums + j * kLanes, state.sum[j]);
    store(maxima + j * kLanes, state.maximum[j]);
  }
  auto* result = static_cast<typename S::Type*>(head.out) + query * head.out_pitch;
  for (int64_t i = 0; i < queries; ++i, result += head.out_pitch) {
    head.log_sum_exp[(query + i) * head.log_sum_exp_pitch] = maxima[i] + __builtin_logf(sums[i]);
    const Vec inverse = broadcast(1.0f) / broadcast(sums[i]);
    for (int64_t first = 0; first < head.v_dim; first += kLanes) {
      const int64_t some = smaller(kLanes, head.v_dim - first);
      alignas(64) float row[kLanes] = {};
      for (int64_t k = 0; k < some; ++k) row[k] = out[(first + k) * kQueryTile + i];
      const Vec scaled = load(row) * inverse;
      if (some == kLanes)
        S::store(result + first, scaled);
      else
        store_first<S>(result + first, scaled, some);
    }
  }
}

template <typename W, typename S>
void forward_tile(const AttentionHead& head, const ForwardScratch<W>& scratch, int64_t query) {
  const int64_t queries = smaller(kQueryTile, head.query_length - query);
  const auto* q = static_cast<const typename S::Type*>(head.q) + query * head.q_pitch;
  W::template pack_rows<S>(q, head.q_pitch, queries, head.qk_dim, kQueryTile, scratch.queries);
  alignas(64) float first[kQueryTile], last[kQueryTile];
  int64_t lowest = head.key_length, highest_first = 0;
  for (int64_t i = 0; i < kQueryTile; ++i) {
    const int64_t at = query + smaller(i, queries - 1);
    lowest = smaller(lowest, first_key(head, at));
    highest_first = larger(highest_first, first_key(head, at));
    first[i] = static_cast<float>(first_key(head, at));
    last[i] = static_cast<float>(last_key(head, at));
  }
  Softmax state;
  for (int64_t j = 0; j < kVectors; ++j) {
    state.maximum[j] = broadcast(-__builtin_inff());
    state.sum[j] = zero();
    state.first[j] = load(first + j * kLanes);
    state.last[j] = load(last + j * kLanes);
  }
  for (int64_t i = 0; i < scratch.v_width * kQueryTile; ++i) scratch.out[i] = 0;
  const int64_t end = last_key(head, query + queries - 1) + 1;
  for (int64_t key = lowest / kKeyTile * kKeyTile; key < end; key += kKeyTile) {
    for (int64_t row = 0; row < kKeyTile; row += kPanelRows)
      multiply_tile<W>(scratch.keys + (key + row) * scratch.qk_words, kPanelRows, scratch.queries,
                       kQueryTile, scratch.qk_words, kVectors, false,
                       scratch.scores + row * kQueryTile, kQueryTile);
    const bool masked = key < highest_first || key + kKeyTile - 1 > last_key(head, query);
    softmax_tile<W>(head.scale, key, kKeyTile, masked, state, scratch.scores, scratch.out,
                    scratch.v_width);
    for (int64_t row = 0; row < scratch.v_width; row += kPanelRows)
      multiply_tile<W>(scratch.values + key / W::kDepth * scratch.v_width + row, scratch.v_width,
                       words_at<W>(scratch.scores), kQueryTile, kKeyTile / W::kDepth, kVectors,
                       true, scratch.out + row * kQueryTile, kQueryTile);
  }
  write_result<S>(head, query, queries, state, scratch.out);
}

template <typename W>
void forward(const AttentionHead& head, float* at) {
  const ForwardScratch<W> scratch = forward_scratch_of<W>(head, at);
  W::with_element(head.element, [&](auto stored) {
    using S = decltype(stored);
    using T = typename S::Type;
    const int64_t keys = round_up(head.key_length, kKeyTile);
    pack_row_panels<W, S>(static_cast<const T*>(head.k), head.k_pitch, head.key_length, head.qk_dim,
                          keys, scratch.qk_words, scratch.keys);
    pack_depth<W, S>(static_cast<const T*>(head.v), head.v_pitch, head.key_length, head.v_dim, keys,
                     scratch.v_width, scratch.values);
    for (int64_t query = 0; query < head.query_length; query += kQueryTile)
      forward_tile<W, S>(head, scratch, query);
  });
}

// ---- backward ----------------------------------------------------------------------------------

constexpr int64_t kBackKeys = kPanelColumns;  // keys in lanes
constexpr int64_t kBackQueries = 64;

template <typename W>
struct BackwardScratch {
  // Of one head: rows as they are, and in panels of 8 rows.
  typename W::Type *queries, *query_panels, *douts, *dout_panels;
  float *dqueries, *delta, *log_sum_exp;
  // Of one tile of keys: rows, and transposed to lanes.
  typename W::Type *keys, *key_lanes, *value_lanes;
  float *dkeys, *dvalues, *scores, *dscores;
  typename W::Type* dscore_panels;
  int64_t qk_width, v_width, qk_words, v_words, queries_padded, size;
};
template <typename W>
BackwardScratch<W> backward_scratch_of(const AttentionHead& head, int64_t group, float* at) {
  using Word = typename W::Type;
  BackwardScratch<W> s;
  float* const start = at;
  s.qk_width = round_up(head.qk_dim, kPanelRows);
  s.v_width = round_up(head.v_dim, kPanelRows);
  s.queries_padded = round_up(head.query_length, kBackQueries);
  s.qk_words = words_of<W>(s.qk_width);
  s.v_words = words_of<W>(s.v_width);
  const int64_t rows = s.queries_padded * group;
  s.queries = take<Word>(at, rows * s.qk_words);
  s.query_panels = take<Word>(at, rows * s.qk_words);
  s.douts = take<Word>(at, rows * s.v_words);
  s.dout_panels = take<Word>(at, rows * s.v_words);
  s.dqueries = take<float>(at, rows * s.qk_width);
  s.delta = take<float>(at, rows);
  s.log_sum_exp = take<float>(at, rows);
  s.keys = take<Word>(at, kBackKeys * s.qk_words);
  s.key_lanes = take<Word>(at, kBackKeys * s.qk_words);
  s.value_lanes = take<Word>(at, kBackKeys * s.v_words);
  s.dkeys = take<float>(at, kBackKeys * s.qk_width);
  s.dvalues = take<float>(at, kBackKeys * s.v_width);
  s.scores = take<float>(at, kBackQueries * kBackKeys);
  s.dscores = take<float>(at, kBackQueries * kBackKeys);
  s.dscore_panels = take<Word>(at, kBackQueries * words_of<W>(kBackKeys));
  s.size = (at - start) + kLanes;
  return s;
}
template <typename W>
int64_t backward_scratch(const AttentionGroup& group) {
  return backward_scratch_of<W>(group.head, group.group, kNowhere).size;
}

template <typename S>
float dot_row(const typename S::Type* a, const typename S::Type* b, int64_t count) {
  Vec total = zero();
  for_vectors(
      count, [&](int64_t i) { total = fma(S::load(a + i), S::load(b + i), total); },
      [&](int64_t i, int64_t n) {
        total = fma(load_first<S>(a + i, n), load_first<S>(b + i, n), total);
      });
  return sum(total);
}

// Copies head h of the group into scratch; delta = <dout, out> of each row.
template <typename W, typename S>
void prepare_head(const AttentionGroup& group, const BackwardScratch<W>& s, int64_t h) {
  using T = typename S::Type;
  const AttentionHead& head = group.head;
  const int64_t rows = head.query_length, first = h * s.queries_padded;
  const T* q = static_cast<const T*>(head.q) + h * head.qk_dim;
  const T* out = static_cast<const T*>(head.out) + h * head.v_dim;
  const T* dout = static_cast<const T*>(group.dout) + h * head.v_dim;
  pack_depth<W, S>(q, head.q_pitch, rows, head.qk_dim, s.queries_padded, s.qk_width,
                   s.queries + first * s.qk_words);
  pack_depth<W, S>(dout, group.dout_pitch, rows, head.v_dim, s.queries_padded, s.v_width,
                   s.douts + first * s.v_words);
  pack_row_panels<W, S>(q, head.q_pitch, rows, head.qk_dim, s.queries_padded, s.qk_words,
                        s.query_panels + first * s.qk_words);
  pack_row_panels<W, S>(dout, group.dout_pitch, rows, head.v_dim, s.queries_padded, s.v_words,
                        s.dout_panels + first * s.v_words);
  for (int64_t i = 0; i < s.queries_padded; ++i) {
    const bool real = i < rows;
    s.delta[first + i] =
        real ? dot_row<S>(dout + i * group.dout_pitch, out + i * head.out_pitch, head.v_dim) : 0;
    s.log_sum_exp[first + i] = real ? head.log_sum_exp[i * head.log_sum_exp_pitch + h] : 0;
  }
  for (int64_t i = 0; i < s.queries_padded * s.qk_width; ++i)
    s.dqueries[first * s.qk_width + i] = 0;
}

// scores -> probabilities p; dscores (so far dout v^T) -> scale * p * (dscores - delta); both as
// words along queries in the same place, and dscores also as panels of 8 queries, words along keys.
template <typename W>
void differentiate_tile(const AttentionHead& head, const BackwardScratch<W>& s, int64_t query,
                        int64_t first_row, int64_t key) {
  constexpr int64_t kWords = kBackKeys / W::kDepth;
  alignas(64) float lanes[kBackKeys];
  for (int64_t j = 0; j < kBackKeys; ++j) lanes[j] = static_cast<float>(key + j);
  const Vec scale = broadcast(head.scale);
  for (int64_t i = 0; i < kBackQueries; i += W::kDepth) {
    Vec p[kVectors][W::kDepth], ds[kVectors][W::kDepth];
    for (int64_t k = 0; k < W::kDepth; ++k) {
      const int64_t at = smaller(query + i + k, head.query_length - 1);
      const bool real = query + i + k < head.query_length;
      const Vec first = broadcast(static_cast<float>(first_key(head, at)));
      const Vec last = broadcast(real ? static_cast<float>(last_key(head, at)) : -1.0f);
      const Vec shift = broadcast(s.log_sum_exp[first_row + i + k]);
      const Vec delta = broadcast(s.delta[first_row + i + k]);
      const float *scores = s.scores + (i + k) * kBackKeys,
                  *dscores = s.dscores + (i + k) * kBackKeys;
      alignas(64) typename W::Type row[kWords];
      for (int64_t j = 0; j < kVectors; ++j) {
        const Vec index = load(lanes + j * kLanes);
        Vec exact = exp(fma(load(scores + j * kLanes), scale, zero() - shift));
        exact = select_less(index, first, zero(), exact);
        exact = select_less(last, index, zero(), exact);
        p[j][k] = exact;
        ds[j][k] = exact * (load(dscores + j * kLanes) - delta) * scale;
        W::store_along(row + j * kLanes / W::kDepth, ds[j][k]);
      }
      const int64_t panel = (i + k) / kPanelRows * kPanelRows * kWords + (i + k) % kPanelRows;
      for (int64_t j = 0; j < kWords; ++j) s.dscore_panels[panel + j * kPanelRows] = row[j];
    }
    for (int64_t j = 0; j < kVectors; ++j) {
      W::store(s.scores + i / W::kDepth * kBackKeys + j * kLanes, p[j]);
      W::store(s.dscores + i / W::kDepth * kBackKeys + j * kLanes, ds[j]);
    }
  }
}

// dq[query][column] += dscores[query][key] keys[key][column]: columns in lanes.
template <typename W>
void add_query_gradients(const BackwardScratch<W>& s, int64_t first_row) {
  constexpr int64_t kWords = kBackKeys / W::kDepth;
  for (int64_t row = 0; row < kBackQueries; row += kPanelRows) {
    float* dq = s.dqueries + (first_row + row) * s.qk_width;
    const typename W::Type* panel = s.dscore_panels + row * kWords;
    for (int64_t column = 0; column < s.qk_width; column += kPanelColumns) {
      const int64_t room = smaller(kPanelColumns, s.qk_width - column);
      if (room % kLanes == 0) {
        multiply_tile<W>(panel, kPanelRows, s.keys + column, s.qk_width, kWords, room / kLanes,
                         true, dq + column, s.qk_width);
        continue;
      }
      alignas(64) float part[kPanelRows * kPanelColumns];
      alignas(64) typename W::Type lanes[kWords * kPanelColumns] = {};
      for (int64_t k = 0; k < kWords; ++k)
        for (int64_t j = 0; j < room; ++j)
          lanes[k * kPanelColumns + j] = s.keys[column + k * s.qk_width + j];
      multiply_tile<W>(panel, kPanelRows, lanes, kPanelColumns, kWords, kVectors, false, part,
                       kPanelColumns);
      for (int64_t i = 0; i < kPanelRows; ++i)
        for (int64_t j = 0; j < room; ++j)
          dq[i * s.qk_width + column + j] += part[i * kPanelColumns + j];
    }
  }
}

// What 64 queries of one head and 48 keys give to dq, dk and dv.
template <typename W>
void backward_tile(const AttentionHead& head, const BackwardScratch<W>& s, int64_t query,
                   int64_t first_row, int64_t key) {
  constexpr int64_t kWords = kBackQueries / W::kDepth;
  for (int64_t row = 0; row < kBackQueries; row += kPanelRows) {
    multiply_tile<W>(s.query_panels + (first_row + row) * s.qk_words, kPanelRows, s.key_lanes,
                     kBackKeys, s.qk_words, kVectors, false, s.scores + row * kBackKeys, kBackKeys);
    multiply_tile<W>(s.dout_panels + (first_row + row) * s.v_words, kPanelRows, s.value_lanes,
                     kBackKeys, s.v_words, kVectors, false, s.dscores + row * kBackKeys, kBackKeys);
  }
  differentiate_tile<W>(head, s, query, first_row, key);
  for (int64_t row = 0; row < s.v_width; row += kPanelRows)
    multiply_tile<W>(s.douts + first_row * s.v_words + row, s.v_width, words_at<W>(s.scores),
                     kBackKeys, kWords, kVectors, true, s.dvalues + row * kBackKeys, kBackKeys);
  for (int64_t row = 0; row < s.qk_width; row += kPanelRows)
    multiply_tile<W>(s.queries + first_row * s.qk_words + row, s.qk_width, words_at<W>(s.dscores),
                     kBackKeys, kWords, kVectors, true, s.dkeys + row * kBackKeys, kBackKeys);
  add_query_gradients<W>(s, first_row);
}

// lanes[column][row] -> rows of a tensor
template <typename S>
void write_lanes(const float* lanes, int64_t rows, int64_t columns, typename S::Type* to,
                 int64_t pitch) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t first = 0; first < columns; first += kLanes) {
      const int64_t some = smaller(kLanes, columns - first);
      alignas(64) float row[kLanes] = {};
      for (int64_t k = 0; k < some; ++k) row[k] = lanes[(first + k) * kBackKeys + i];
      store_first<S>(to + i * pitch + first, load(row), some);
    }
}

template <typename W, typename S>
void backward_keys(const AttentionGroup& group, const BackwardScratch<W>& s, int64_t key) {
  using T = typename S::Type;
  const AttentionHead& head = group.head;
  const int64_t keys = smaller(kBackKeys, head.key_length - key);
  const T* k = static_cast<const T*>(head.k) + key * head.k_pitch;
  const T* v = static_cast<const T*>(head.v) + key * head.v_pitch;
  pack_depth<W, S>(k, head.k_pitch, keys, head.qk_dim, kBackKeys, s.qk_width, s.keys);
  for (int64_t i = 0; i < kBackKeys * s.qk_words; ++i) s.key_lanes[i] = 0;
  for (int64_t i = 0; i < kBackKeys * s.v_words; ++i) s.value_lanes[i] = 0;
  for (int64_t i = 0; i < kBackKeys * s.qk_width; ++i) s.dkeys[i] = 0;
  for (int64_t i = 0; i < kBackKeys * s.v_width; ++i) s.dvalues[i] = 0;
  W::template pack_rows<S>(k, head.k_pitch, keys, head.qk_dim, kBackKeys, s.key_lanes);
  W::template pack_rows<S>(v, head.v_pitch, keys, head.v_dim, kBackKeys, s.value_lanes);
  // The first query that sees this key.
  const int64_t first = larger(0, key - (head.key_length - head.query_length));
  for (int64_t h = 0; h < group.group; ++h)
    for (int64_t query = first / kBackQueries * kBackQueries; query < head.query_length;
         query += kBackQueries) {
      int64_t lowest = head.key_length;
      const int64_t end = smaller(query + kBackQueries, head.query_length);
      for (int64_t i = query; i < end; ++i) lowest = smaller(lowest, first_key(head, i));
      if (key + keys <= lowest) continue;  // another document
      backward_tile<W>(head, s, query, h * s.queries_padded + query, key);
    }
  write_lanes<S>(s.dkeys, keys, head.qk_dim, static_cast<T*>(group.dk) + key * group.dk_pitch,
                 group.dk_pitch);
  write_lanes<S>(s.dvalues, keys, head.v_dim, static_cast<T*>(group.dv) + key * group.dv_pitch,
                 group.dv_pitch);
}

template <typename W>
void backward(const AttentionGroup& group, float* at) {
  const BackwardScratch<W> s = backward_scratch_of<W>(group.head, group.group, at);
  const AttentionHead& head = group.head;
  W::with_element(head.element, [&](auto stored) {
    using S = decltype(stored);
    for (int64_t h = 0; h < group.group; ++h) prepare_head<W, S>(group, s, h);
    for (int64_t key = 0; key < head.key_length; key += kBackKeys)
      backward_keys<W, S>(group, s, key);
    auto* dq = static_cast<typename S::Type*>(group.dq);
    for (int64_t h = 0; h < group.group; ++h)
      for (int64_t i = 0; i < head.query_length; ++i) {
        const float* from = s.dqueries + (h * s.queries_padded + i) * s.qk_width;
        auto* to = dq + i * group.dq_pitch + h * head.qk_dim;
        for_vectors(
            head.qk_dim, [=](int64_t c) { S::store(to + c, load(from + c)); },
            [=](int64_t c, int64_t n) {
              store_first<S>(to + c, load_first<StoredF32>(from + c, n), n);
            });
      }
  });
}

}  // namespace
