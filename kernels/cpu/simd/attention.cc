// SPDX-License-Identifier: Apache-2.0
// Attention by tiles. Vectors run along queries in the forward pass (48 queries x 64 keys at a
// time), so a maximum or a sum over keys needs no shuffle and the tile of probabilities is itself
// a panel for the next product; along keys in the backward pass, for the same reason.
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

// Rows in panels of 8: panel p holds [depth][8] of rows 8p .. 8p+7.
template <typename S>
void pack_row_panels(const typename S::Type* from, int64_t pitch, int64_t rows, int64_t depth,
                     float* panels) {
  for (int64_t row = 0; row < rows; row += kPanelRows, panels += depth * kPanelRows)
    pack_rows<S>(from + row * pitch, pitch, smaller(kPanelRows, rows - row), depth, kPanelRows,
                 panels);
}

// Rows as f32, `width` (a multiple of 8) apart, zeros to the right and below up to `padded_rows`.
template <typename S>
void copy_rows(const typename S::Type* from, int64_t pitch, int64_t rows, int64_t columns,
               int64_t padded_rows, int64_t width, float* to) {
  pack_columns<S>(from, pitch, columns, rows, width, to);
  for (int64_t i = rows * width; i < padded_rows * width; ++i) to[i] = 0;
}

// ---- forward -----------------------------------------------------------------------------------

// Scratch of one forward head, in floats.
struct ForwardScratch {
  float *keys, *values, *queries, *scores, *out;
  int64_t v_width, size;
};
ForwardScratch forward_scratch_of(const AttentionHead& head, float* at) {
  const int64_t keys = round_up(head.key_length, kKeyTile);
  const int64_t v_width = round_up(head.v_dim, kPanelRows);
  ForwardScratch scratch;
  float* const start = at;
  scratch.v_width = v_width;
  scratch.keys = at, at += keys * head.qk_dim;
  scratch.values = at, at += keys * v_width;
  scratch.queries = at, at += round_up(head.qk_dim * kQueryTile, kLanes);
  scratch.scores = at, at += kKeyTile * kQueryTile;
  scratch.out = at, at += v_width * kQueryTile;
  scratch.size = (at - start) + kLanes;
  return scratch;
}
int64_t forward_scratch(const AttentionHead& head) {
  return forward_scratch_of(head, kNowhere).size;
}

// The running maximum and sum of 48 queries, and the keys that they see.
struct Softmax {
  Vec maximum[kVectors], sum[kVectors], first[kVectors], last[kVectors];
};

// scores[key][query] -> probabilities (not normalised); rescales the sums and `out` so far.
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
    for (int64_t i = 0; i < keys; ++i) {
      const Vec p = exp(fma(load(column + i * kQueryTile), factor, zero() - base));
      store(column + i * kQueryTile, p);
      total = total + p;
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

template <typename S>
void forward_tile(const AttentionHead& head, const ForwardScratch& scratch, int64_t query) {
  const int64_t queries = smaller(kQueryTile, head.query_length - query);
  const auto* q = static_cast<const typename S::Type*>(head.q) + query * head.q_pitch;
  pack_rows<S>(q, head.q_pitch, queries, head.qk_dim, kQueryTile, scratch.queries);
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
      multiply_tile(scratch.keys + (key + row) * head.qk_dim, kPanelRows, scratch.queries,
                    kQueryTile, head.qk_dim, kVectors, false, scratch.scores + row * kQueryTile,
                    kQueryTile);
    const bool masked = key < highest_first || key + kKeyTile - 1 > last_key(head, query);
    softmax_tile(head.scale, key, kKeyTile, masked, state, scratch.scores, scratch.out,
                 scratch.v_width);
    for (int64_t row = 0; row < scratch.v_width; row += kPanelRows)
      multiply_tile(scratch.values + key * scratch.v_width + row, scratch.v_width, scratch.scores,
                    kQueryTile, kKeyTile, kVectors, true, scratch.out + row * kQueryTile,
                    kQueryTile);
  }
  write_result<S>(head, query, queries, state, scratch.out);
}

void forward(const AttentionHead& head, float* at) {
  const ForwardScratch scratch = forward_scratch_of(head, at);
  with_element(head.element, [&](auto stored) {
    using S = decltype(stored);
    using T = typename S::Type;
    const int64_t keys = round_up(head.key_length, kKeyTile);
    pack_row_panels<S>(static_cast<const T*>(head.k), head.k_pitch, head.key_length, head.qk_dim,
                       scratch.keys);
    const int64_t packed = round_up(head.key_length, kPanelRows);
    for (int64_t i = packed * head.qk_dim; i < keys * head.qk_dim; ++i) scratch.keys[i] = 0;
    copy_rows<S>(static_cast<const T*>(head.v), head.v_pitch, head.key_length, head.v_dim, keys,
                 scratch.v_width, scratch.values);
    for (int64_t query = 0; query < head.query_length; query += kQueryTile)
      forward_tile<S>(head, scratch, query);
  });
}

// ---- backward ----------------------------------------------------------------------------------

constexpr int64_t kBackKeys = kPanelColumns;  // keys in lanes
constexpr int64_t kBackQueries = 64;

struct BackwardScratch {
  // Of one head: rows as they are, and in panels of 8 rows.
  float *queries, *query_panels, *douts, *dout_panels, *dqueries, *delta, *log_sum_exp;
  // Of one tile of keys: rows, and transposed to lanes.
  float *keys, *key_lanes, *value_lanes, *dkeys, *dvalues;
  float *scores, *dscores, *dscore_panels;
  int64_t qk_width, v_width, queries_padded, size;
};
BackwardScratch backward_scratch_of(const AttentionHead& head, int64_t group, float* at) {
  BackwardScratch s;
  float* const start = at;
  s.qk_width = round_up(head.qk_dim, kPanelRows);
  s.v_width = round_up(head.v_dim, kPanelRows);
  s.queries_padded = round_up(head.query_length, kBackQueries);
  const int64_t rows = s.queries_padded * group;
  s.queries = at, at += rows * s.qk_width;
  s.query_panels = at, at += rows * s.qk_width;
  s.douts = at, at += rows * s.v_width;
  s.dout_panels = at, at += rows * s.v_width;
  s.dqueries = at, at += rows * s.qk_width;
  s.delta = at, at += rows;
  s.log_sum_exp = at, at += rows;
  s.keys = at, at += kBackKeys * s.qk_width;
  s.key_lanes = at, at += kBackKeys * s.qk_width;
  s.value_lanes = at, at += kBackKeys * s.v_width;
  s.dkeys = at, at += kBackKeys * s.qk_width;
  s.dvalues = at, at += kBackKeys * s.v_width;
  s.scores = at, at += kBackQueries * kBackKeys;
  s.dscores = at, at += kBackQueries * kBackKeys;
  s.dscore_panels = at, at += kBackQueries * kBackKeys;
  s.size = (at - start) + kLanes;
  return s;
}
int64_t backward_scratch(const AttentionGroup& group) {
  return backward_scratch_of(group.head, group.group, kNowhere).size;
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
template <typename S>
void prepare_head(const AttentionGroup& group, const BackwardScratch& s, int64_t h) {
  using T = typename S::Type;
  const AttentionHead& head = group.head;
  const int64_t rows = head.query_length, first = h * s.queries_padded;
  const T* q = static_cast<const T*>(head.q) + h * head.qk_dim;
  const T* out = static_cast<const T*>(head.out) + h * head.v_dim;
  const T* dout = static_cast<const T*>(group.dout) + h * head.v_dim;
  copy_rows<S>(q, head.q_pitch, rows, head.qk_dim, s.queries_padded, s.qk_width,
               s.queries + first * s.qk_width);
  copy_rows<S>(dout, group.dout_pitch, rows, head.v_dim, s.queries_padded, s.v_width,
               s.douts + first * s.v_width);
  pack_row_panels<StoredF32>(s.queries + first * s.qk_width, s.qk_width, s.queries_padded,
                             s.qk_width, s.query_panels + first * s.qk_width);
  pack_row_panels<StoredF32>(s.douts + first * s.v_width, s.v_width, s.queries_padded, s.v_width,
                             s.dout_panels + first * s.v_width);
  for (int64_t i = 0; i < s.queries_padded; ++i) {
    const bool real = i < rows;
    s.delta[first + i] =
        real ? dot_row<S>(dout + i * group.dout_pitch, out + i * head.out_pitch, head.v_dim) : 0;
    s.log_sum_exp[first + i] = real ? head.log_sum_exp[i * head.log_sum_exp_pitch + h] : 0;
  }
  for (int64_t i = 0; i < s.queries_padded * s.qk_width; ++i)
    s.dqueries[first * s.qk_width + i] = 0;
}

// scores -> probabilities p; dscores (so far dout v^T) -> scale * p * (dscores - delta), also
// transposed into panels of 8 queries.
void differentiate_tile(const AttentionHead& head, const BackwardScratch& s, int64_t query,
                        int64_t first_row, int64_t key) {
  alignas(64) float lanes[kBackKeys];
  for (int64_t j = 0; j < kBackKeys; ++j) lanes[j] = static_cast<float>(key + j);
  const Vec scale = broadcast(head.scale);
  for (int64_t i = 0; i < kBackQueries; ++i) {
    const int64_t at = smaller(query + i, head.query_length - 1);
    const bool real = query + i < head.query_length;
    const Vec first = broadcast(static_cast<float>(first_key(head, at)));
    const Vec last = broadcast(real ? static_cast<float>(last_key(head, at)) : -1.0f);
    const Vec shift = broadcast(s.log_sum_exp[first_row + i]);
    const Vec delta = broadcast(s.delta[first_row + i]);
    float *scores = s.scores + i * kBackKeys, *dscores = s.dscores + i * kBackKeys;
    float* panel = s.dscore_panels + (i / kPanelRows) * kPanelRows * kBackKeys + i % kPanelRows;
    for (int64_t j = 0; j < kVectors; ++j) {
      const Vec index = load(lanes + j * kLanes);
      Vec p = exp(fma(load(scores + j * kLanes), scale, zero() - shift));
      p = select_less(index, first, zero(), p);
      p = select_less(last, index, zero(), p);
      store(scores + j * kLanes, p);
      store(dscores + j * kLanes, p * (load(dscores + j * kLanes) - delta) * scale);
    }
    for (int64_t j = 0; j < kBackKeys; ++j) panel[j * kPanelRows] = dscores[j];
  }
}

// What 64 queries of one head and 48 keys give to dq, dk and dv.
void backward_tile(const AttentionHead& head, const BackwardScratch& s, int64_t query,
                   int64_t first_row, int64_t key) {
  for (int64_t row = 0; row < kBackQueries; row += kPanelRows) {
    multiply_tile(s.query_panels + (first_row + row) * s.qk_width, kPanelRows, s.key_lanes,
                  kBackKeys, s.qk_width, kVectors, false, s.scores + row * kBackKeys, kBackKeys);
    multiply_tile(s.dout_panels + (first_row + row) * s.v_width, kPanelRows, s.value_lanes,
                  kBackKeys, s.v_width, kVectors, false, s.dscores + row * kBackKeys, kBackKeys);
  }
  differentiate_tile(head, s, query, first_row, key);
  for (int64_t row = 0; row < s.v_width; row += kPanelRows)
    multiply_tile(s.douts + first_row * s.v_width + row, s.v_width, s.scores, kBackKeys,
                  kBackQueries, kVectors, true, s.dvalues + row * kBackKeys, kBackKeys);
  for (int64_t row = 0; row < s.qk_width; row += kPanelRows)
    multiply_tile(s.queries + first_row * s.qk_width + row, s.qk_width, s.dscores, kBackKeys,
                  kBackQueries, kVectors, true, s.dkeys + row * kBackKeys, kBackKeys);
  // dq[query][column] += dscores[query][key] keys[key][column]: columns in lanes.
  for (int64_t row = 0; row < kBackQueries; row += kPanelRows) {
    float* dq = s.dqueries + (first_row + row) * s.qk_width;
    const float* panel = s.dscore_panels + row * kBackKeys;
    for (int64_t column = 0; column < s.qk_width; column += kPanelColumns) {
      const int64_t room = smaller(kPanelColumns, s.qk_width - column);
      if (room % kLanes == 0) {
        multiply_tile(panel, kPanelRows, s.keys + column, s.qk_width, kBackKeys, room / kLanes,
                      true, dq + column, s.qk_width);
        continue;
      }
      alignas(64) float part[kPanelRows * kPanelColumns];
      alignas(64) float lanes[kBackKeys * kPanelColumns];
      pack_columns<StoredF32>(s.keys + column, s.qk_width, room, kBackKeys, kPanelColumns, lanes);
      multiply_tile(panel, kPanelRows, lanes, kPanelColumns, kBackKeys, kVectors, false, part,
                    kPanelColumns);
      for (int64_t i = 0; i < kPanelRows; ++i)
        for (int64_t j = 0; j < room; ++j)
          dq[i * s.qk_width + column + j] += part[i * kPanelColumns + j];
    }
  }
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

template <typename S>
void backward_keys(const AttentionGroup& group, const BackwardScratch& s, int64_t key) {
  using T = typename S::Type;
  const AttentionHead& head = group.head;
  const int64_t keys = smaller(kBackKeys, head.key_length - key);
  const T* k = static_cast<const T*>(head.k) + key * head.k_pitch;
  const T* v = static_cast<const T*>(head.v) + key * head.v_pitch;
  copy_rows<S>(k, head.k_pitch, keys, head.qk_dim, kBackKeys, s.qk_width, s.keys);
  for (int64_t i = 0; i < kBackKeys * s.qk_width; ++i) s.key_lanes[i] = s.dkeys[i] = 0;
  for (int64_t i = 0; i < kBackKeys * s.v_width; ++i) s.value_lanes[i] = s.dvalues[i] = 0;
  pack_rows<S>(k, head.k_pitch, keys, head.qk_dim, kBackKeys, s.key_lanes);
  pack_rows<S>(v, head.v_pitch, keys, head.v_dim, kBackKeys, s.value_lanes);
  // The first query that sees this key.
  const int64_t first = larger(0, key - (head.key_length - head.query_length));
  for (int64_t h = 0; h < group.group; ++h)
    for (int64_t query = first / kBackQueries * kBackQueries; query < head.query_length;
         query += kBackQueries) {
      int64_t lowest = head.key_length;
      const int64_t end = smaller(query + kBackQueries, head.query_length);
      for (int64_t i = query; i < end; ++i) lowest = smaller(lowest, first_key(head, i));
      if (key + keys <= lowest) continue;  // another document
      backward_tile(head, s, query, h * s.queries_padded + query, key);
    }
  write_lanes<S>(s.dkeys, keys, head.qk_dim, static_cast<T*>(group.dk) + key * group.dk_pitch,
                 group.dk_pitch);
  write_lanes<S>(s.dvalues, keys, head.v_dim, static_cast<T*>(group.dv) + key * group.dv_pitch,
                 group.dv_pitch);
}

void backward(const AttentionGroup& group, float* at) {
  const BackwardScratch s = backward_scratch_of(group.head, group.group, at);
  const AttentionHead& head = group.head;
  with_element(head.element, [&](auto stored) {
    using S = decltype(stored);
    for (int64_t h = 0; h < group.group; ++h) prepare_head<S>(group, s, h);
    for (int64_t key = 0; key < head.key_length; key += kBackKeys) backward_keys<S>(group, s, key);
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

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const AttentionLoops attention = {forward_scratch, forward, backward_scratch, backward};
}
