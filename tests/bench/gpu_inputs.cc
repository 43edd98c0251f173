// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "kernels/copy.h"
#include "kernels/cuda_plugin.h"
#include "kernels/transfer.h"
#include "tests/bench/gpu_cases.h"

namespace tessera::bench {
namespace {

// Numerical Recipes' generator: quick, and random enough not to be compressed or clocked as zeros.
struct Draws {
  uint32_t state;
  uint32_t next() {
    state = state * 1664525u + 1013904223u;
    return state >> 8;
  }
  double uniform() { return static_cast<double>(next()) / (1 << 24); }
};

}  // namespace

Tensor random_on(Stream& stream, DType dtype, int64_t rows, int64_t columns) {
  constexpr int64_t kMostDrawn = int64_t{1} << 18;
  const int64_t block = std::clamp<int64_t>(kMostDrawn / columns, 1, rows);
  std::vector<float> values(static_cast<size_t>(block * columns));
  Draws draws{1};
  for (float& value : values) value = static_cast<float>(draws.uniform()) - 0.5f;
  const Tensor wide = uploaded(stream, values).reshaped({block, columns});
  const Tensor out(stream.device(), dtype, {rows, columns});
  cast(stream, wide, out.row_slice(0, block));
  for (int64_t row = block; row < rows; row += block) {
    const int64_t count = std::min(block, rows - row);
    copy(stream, out.row_slice(0, count), out.row_slice(row, count));
  }
  return out;
}

Tensor random_integers_on(Stream& stream, int64_t count, int64_t below) {
  std::vector<int32_t> values(static_cast<size_t>(count));
  Draws draws{7};
  for (int32_t& value : values)
    value = static_cast<int32_t>(draws.next() % static_cast<uint32_t>(below));
  return uploaded(stream, values);
}

Tensor zipf_integers_on(Stream& stream, int64_t count, int64_t below) {
  std::vector<int32_t> values(static_cast<size_t>(count));
  Draws draws{7};
  const double log_of_all = std::log(static_cast<double>(below));
  for (int32_t& value : values)
    value = static_cast<int32_t>(std::exp(draws.uniform() * log_of_all)) - 1;
  return uploaded(stream, values);
}

Tensor integers_with_a_run_on(Stream& stream, int64_t count, int64_t below) {
  constexpr int64_t kPart = 10;
  std::vector<int32_t> values = download<int32_t>(stream, random_integers_on(stream, count, below));
  std::fill_n(values.begin(), count / kPart, static_cast<int32_t>(below / 2));
  return uploaded(stream, values);
}

double bytes_of(std::initializer_list<Tensor> tensors) {
  double bytes = 0;
  for (const Tensor& x : tensors) bytes += static_cast<double>(x.size() * size_of(x.dtype()));
  return bytes;
}

std::function<void()> with(const char* variable, const char* value, std::function<void()> run) {
  return [=] {
    setenv(variable, value, 1);
    run();
    unsetenv(variable);
  };
}

int64_t library_attention_calls() {
  const auto calls =
      reinterpret_cast<int64_t (*)()>(cuda_plugin_symbol("tessera_library_attention_calls"));
  return calls == nullptr ? -1 : calls();
}

const std::vector<BenchHeads>& bench_heads() {
  static const std::vector<BenchHeads> all = {
      {"16 heads of 128 (1.3B)", 16, 16, 128, 128},
      {"32 heads of 128, 8 shared (Llama 8B)", 32, 8, 128, 128},
      {"12 heads of 64 (124M)", 12, 12, 64, 64},
      {"16 heads, qk 192, v 128 (DeepSeek)", 16, 16, 192, 128}};
  return all;
}

Attention causal(const BenchHeads& heads, int64_t sequences, int64_t length) {
  return {.num_heads = heads.heads,
          .num_kv_heads = heads.kv_heads,
          .qk_dim = heads.qk_dim,
          .v_dim = heads.v_dim,
          .scale = 1 / std::sqrt(static_cast<double>(heads.qk_dim)),
          .num_sequences = sequences,
          .query_length = length,
          .key_length = length};
}

}  // namespace tessera::bench
