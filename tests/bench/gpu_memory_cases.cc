// SPDX-License-Identifier: Apache-2.0
// Kernels whose limit is the memory's bandwidth. Work is what must be read and written at least.
#include "kernels/base/exact_sum.h"
#include "kernels/copy.h"
#include "kernels/cross_entropy.h"
#include "kernels/cuda_plugin.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/latent_heads.h"
#include "kernels/norm.h"
#include "kernels/reduce.h"
#include "kernels/rope.h"
#include "kernels/transfer.h"
#include "kernels/update.h"
#include "tests/bench/gpu_cases.h"

namespace tessera::bench {

namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;
constexpr int64_t kWide = 10000;  // a vocabulary of real size

void add_elementwise(Stream& stream, BenchSize size, std::vector<GpuCase>& cases) {
  const int64_t rows = size.rows, width = 4 * size.hidden;
  const auto wide = [&] { return random_on(stream, kBf16, rows, width); };
  const Tensor a = wide(), b = wide(), c = wide(), d = wide(), e = wide();
  const Tensor f32 = random_on(stream, kF32, rows, width);
  const Tensor turned(stream.device(), kBf16, {width, rows});
  const auto put = [&](const char* name, double bytes, std::function<void()> run) {
    cases.push_back({name, Limits::memory, bytes, std::move(run)});
  };
  Stream* s = &stream;
  put("copy", bytes_of({a, b}), [=] { copy(*s, a, b); });
  cases.back().is_ceiling = true;
  put("fill", bytes_of({b}), [=] { fill(*s, 0.25, b); });
  put("cast f32 to bf16", bytes_of({f32, c}), [=] { cast(*s, f32, c); });
  put("transpose", bytes_of({a, turned}), [=] { transpose(*s, a, turned); });
  put("add", bytes_of({a, b, c}), [=] { add(*s, a, b, c); });
  put("scale", bytes_of({a, c}), [=] { scale(*s, a, 0.5, c); });
  put("swiglu", bytes_of({a, b, c}), [=] { swiglu(*s, a, b, c); });
  put("swiglu backward", bytes_of({a, b, c, d, e}), [=] { swiglu_backward(*s, a, b, c, d, e); });
}

void add_norms(Stream& stream, BenchSize size, std::vector<GpuCase>& cases) {
  const int64_t rows = 4 * size.rows, width = size.hidden;
  const auto wide = [&] { return random_on(stream, kBf16, rows, width); };
  const Tensor x = wide(), y = wide(), dx = wide();
  const Tensor weight = random_on(stream, kBf16, 1, width).flat();
  const Tensor inv_rms(stream.device(), kF32, {rows}), dweight(stream.device(), kF32, {width});
  fill(stream, 1, inv_rms);
  fill(stream, 0, dweight);
  Stream* s = &stream;
  cases.push_back({"rms_norm", Limits::memory, bytes_of({x, y}),
                   [=] { rms_norm(*s, x, weight, 1e-6, y, inv_rms); }});
  cases.push_back({"rms_norm backward, input", Limits::memory, bytes_of({x, y, dx}),
                   [=] { rms_norm_backward_input(*s, x, weight, inv_rms, y, dx); }});
  cases.push_back({"rms_norm backward, weight", Limits::memory, bytes_of({x, y}),
                   [=] { rms_norm_backward_weight(*s, x, inv_rms, y, dweight); }});
}

// Rotation of Llama's heads, and DeepSeek's keys and values put together.
void add_heads(Stream& stream, BenchSize size, std::vector<GpuCase>& cases) {
  const int64_t rows = size.rows, turned = 4 * rows;
  const int heads = 16, head = static_cast<int>(size.hidden) / heads;
  const Tensor x = random_on(stream, kBf16, turned, size.hidden);
  std::vector<int32_t> numbers(static_cast<size_t>(turned));
  for (int64_t row = 0; row < turned; ++row)
    numbers[static_cast<size_t>(row)] = static_cast<int32_t>(row % rows);
  const Tensor positions = uploaded(stream, numbers);
  const Tensor table =
      rope_table(stream.device(), kF32, rope_inverse_frequencies(head, 10000), rows);
  Stream* s = &stream;
  cases.push_back({"rope", Limits::memory, 2 * bytes_of({x}), [=] {
                     rope(*s, {.num_heads = heads, .head_dim = head, .rotary_dim = head}, positions,
                          table, x);
                   }});
  const LatentHeads shape{.num_heads = heads, .nope_dim = 128, .rope_dim = 64, .v_dim = 128};
  const Tensor up = random_on(stream, kBf16, rows, heads * 256),
               shared = random_on(stream, kBf16, rows, 64),
               keys = random_on(stream, kBf16, rows, heads * 192),
               values = random_on(stream, kBf16, rows, heads * 128);
  cases.push_back({"latent_heads", Limits::memory, bytes_of({up, shared, keys, values}),
                   [=] { latent_heads(*s, shape, up, shared, keys, values); }});
  cases.push_back({"latent_heads backward", Limits::memory, bytes_of({up, shared, keys, values}),
                   [=] { latent_heads_backward(*s, shape, keys, values, up, shared); }});
}

void add_embedding(Stream& stream, BenchSize size, std::vector<GpuCase>& cases) {
  const int64_t rows = 4 * size.rows;
  const Tensor tokens = random_integers_on(stream, rows, size.vocabulary);
  const Tensor table = random_on(stream, kBf16, size.vocabulary, size.hidden);
  const Tensor dtable = random_on(stream, kF32, size.vocabulary, size.hidden);
  const Tensor x = random_on(stream, kBf16, rows, size.hidden);
  Stream* s = &stream;
  cases.push_back({"embedding", Limits::memory, 2 * bytes_of({x}),
                   [=] { embedding(*s, tokens, 0, table, x); }});
  const auto backward = [&](const char* of, const Tensor& given) {
    cases.push_back({std::string("embedding backward, ") + of, Limits::memory, 5 * bytes_of({x}),
                     [=] { embedding_backward(*s, given, 0, x, dtable); }});
  };
  backward("uniform tokens", tokens);
  backward("Zipf's tokens", zipf_integers_on(stream, rows, size.vocabulary));
  backward("a tenth in one run", integers_with_a_run_on(stream, rows, size.vocabulary));
}

// The loss head works part by part, on f32 logits.
void add_loss(Stream& stream, BenchSize size, int64_t vocabulary, std::vector<GpuCase>& cases) {
  const int64_t part = size.rows / 4;
  const Tensor logits = random_on(stream, kF32, part, vocabulary);
  const Tensor dlogits(stream.device(), kBf16, {part, vocabulary});
  const Tensor targets = random_integers_on(stream, part, vocabulary);
  const Tensor stats(stream.device(), kF32, {part, 3}), lse(stream.device(), kF32, {part});
  fill(stream, 1, lse);
  Stream* s = &stream;
  const std::string of = ", V=" + std::to_string(vocabulary);
  cases.push_back({"softmax_stats" + of, Limits::memory, bytes_of({logits}),
                   [=] { softmax_stats(*s, logits, targets, 0, stats); }});
  cases.push_back({"cross_entropy backward" + of, Limits::memory, bytes_of({logits, dlogits}),
                   [=] { cross_entropy_backward(*s, logits, targets, 0, lse, 1.0, {}, dlogits); }});
}

// The first kernel of our attention's backward pass, where the plugin lets it be called alone.
void add_row_deltas(Stream& stream, BenchSize size, std::vector<GpuCase>& cases) {
  using RowDeltas = void (*)(Stream&, const Attention&, const Tensor&, const Tensor&);
  const auto deltas =
      reinterpret_cast<RowDeltas>(cuda_plugin_symbol("tessera_attention_row_deltas"));
  if (deltas == nullptr) return;
  const BenchHeads& heads = bench_heads().front();
  const int64_t rows = 4 * size.rows;
  const auto part = [&] {
    return random_on(stream, kBf16, rows, int64_t{heads.heads} * heads.v_dim);
  };
  const Tensor out = part(), dout = part();
  const Attention shape = causal(heads, 4, size.rows);
  Stream* s = &stream;
  cases.push_back(
      {"row_deltas", Limits::memory, bytes_of({out, dout}), [=] { deltas(*s, shape, out, dout); }});
}

void add_optimizer(Stream& stream, BenchSize size, std::vector<GpuCase>& cases) {
  const int64_t rows = 4 * size.rows, width = size.hidden;
  const auto wide = [&] { return random_on(stream, kF32, rows, width); };
  const Tensor grad = wide(), master = wide(), m = wide(), v = wide();
  fill(stream, 0.5, v);
  const Tensor compute(stream.device(), kBf16, {rows, width});
  const Tensor controls(stream.device(), DType::f64, {kNumControls});
  fill(stream, 1, controls);
  const Tensor words(stream.device(), DType::i64, {ExactSum::kWords});
  const Tensor count(stream.device(), DType::i64, {1});
  fill(stream, 0, words);
  fill(stream, 0, count);
  Stream* s = &stream;
  cases.push_back({"sum_of_squares f32", Limits::memory, bytes_of({grad}),
                   [=] { sum_of_squares(*s, {grad}, words, count); }});
  cases.push_back({"count_non_finite f32", Limits::memory, bytes_of({grad}),
                   [=] { count_non_finite(*s, grad, count); }});
  cases.push_back(
      {"adamw_update", Limits::memory, bytes_of({grad, compute}) + 6 * bytes_of({grad}), [=] {
         adamw_update(*s, AdamW{}, controls, {{grad, master, m, v, compute}});
       }});
}

}  // namespace

std::vector<GpuCase> memory_cases(Stream& stream, BenchSize size) {
  std::vector<GpuCase> cases;
  add_elementwise(stream, size, cases);
  add_norms(stream, size, cases);
  add_heads(stream, size, cases);
  add_embedding(stream, size, cases);
  add_loss(stream, size, size.vocabulary, cases);
  // GPT-2's vocabulary: a row that is no whole number of the kernel's passes.
  if (size.vocabulary > kWide) add_loss(stream, size, 50304, cases);
  add_row_deltas(stream, size, cases);
  add_optimizer(stream, size, cases);
  return cases;
}

}  // namespace tessera::bench
