// SPDX-License-Identifier: Apache-2.0
// Matrix products and attention: the limit is arithmetic. The ceiling is one large square product
// on random data; zeros would draw less power and run faster.
#include <algorithm>
#include <functional>

#include "kernels/attention.h"
#include "kernels/copy.h"
#include "kernels/gemm.h"
#include "kernels/transfer.h"
#include "tests/bench/gpu_cases.h"

namespace tessera::bench {
namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;

struct Product {
  const char* name;
  int64_t m, n, k;
  bool transpose_a, transpose_b, accumulate;
  DType dtype = DType::bf16;
};

GpuCase product_case(Stream& stream, const Product& p) {
  const DType dtype = p.dtype;
  const Tensor a = random_on(stream, dtype, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k);
  const Tensor b = random_on(stream, dtype, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n);
  const Tensor c(stream.device(), p.accumulate ? kF32 : dtype, {p.m, p.n});
  fill(stream, 0, c);
  Stream* s = &stream;
  const Gemm product{.a = a,
                     .b = b,
                     .c = c,
                     .transpose_a = p.transpose_a,
                     .transpose_b = p.transpose_b,
                     .accumulate = p.accumulate};
  const std::string shape = std::to_string(p.m) + " x " + std::to_string(p.n) + " x " +
                            std::to_string(p.k) + " " + p.name;
  return {"gemm " + shape, Limits::arithmetic,
          2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k),
          [=] { gemm(*s, product); }};
}

// All 64 experts with an equal share of the rows.
GpuCase grouped_case(Stream& stream, const char* name, int64_t rows, int64_t n, int64_t k,
                     bool weights) {
  constexpr int64_t kExperts = 64;
  GroupedGemm products;
  products.a = random_on(stream, kBf16, rows, weights ? n : k);
  products.b =
      weights ? random_on(stream, kBf16, rows, k) : random_on(stream, kBf16, kExperts * n, k);
  products.c = weights ? Tensor(stream.device(), kF32, {kExperts * n, k})
                       : Tensor(stream.device(), kBf16, {rows, n});
  fill(stream, 0, products.c);
  products.weights = weights;
  products.transpose_b = !weights;
  std::vector<int64_t> offsets;
  for (int64_t expert = 0; expert <= kExperts; ++expert)
    offsets.push_back(rows * expert / kExperts);
  products.offsets = uploaded(stream, offsets);
  Stream* s = &stream;
  return {std::string("grouped_gemm 64 experts, ") + name, Limits::arithmetic,
          2.0 * static_cast<double>(rows) * static_cast<double>(n) * static_cast<double>(k),
          [=] { grouped_gemm(*s, products); }};
}

}  // namespace

std::vector<GpuCase> arithmetic_cases(Stream& stream, BenchSize size) {
  const int64_t rows = size.rows, hidden = size.hidden, wide = hidden * 11 / 4 / 32 * 32;
  const int64_t square = 4 * hidden, expert = hidden * 11 / 16, chosen = 6;
  std::vector<GpuCase> cases;
  for (const Product& each :
       {Product{"nt, the ceiling", square, square, square, false, true, false},
        Product{"nt, qkv", rows, 3 * hidden, hidden, false, true, false},
        Product{"nt, gate + up", rows, 2 * wide, hidden, false, true, false},
        Product{"nt, down", rows, hidden, wide, false, true, false},
        Product{"nn, d input", rows, hidden, 2 * wide, false, false, false},
        Product{"tn, d weight into f32", 2 * wide, hidden, rows, true, false, true},
        Product{"nt, head", rows / 4, size.vocabulary, hidden, false, true, false},
        Product{"nt f32, router of 64", rows / 2, 64, hidden, false, true, false, kF32}})
    cases.push_back(product_case(stream, each));
  cases.front().is_ceiling = true;
  cases.push_back(grouped_case(stream, "gate + up", rows / 2 * chosen, 2 * expert, hidden, false));
  cases.push_back(grouped_case(stream, "down", rows / 2 * chosen, hidden, expert, false));
  cases.push_back(grouped_case(stream, "d weight", rows / 2 * chosen, 2 * expert, hidden, true));
  return cases;
}

// Ours, and beside it cuDNN's where it was built in and does not decline.
std::vector<GpuCase> attention_cases(Stream& stream, BenchSize size) {
  const int64_t rows = size.rows / 2, length = size.rows / 4;
  std::vector<GpuCase> cases;
  for (const BenchHeads& h : bench_heads()) {
    const Attention shape = causal(h, rows / length, length);
    const auto part = [&](int heads, int dim) {
      return random_on(stream, kBf16, rows, int64_t{heads} * dim);
    };
    const Tensor q = part(h.heads, h.qk_dim), k = part(h.kv_heads, h.qk_dim),
                 v = part(h.kv_heads, h.v_dim), out = part(h.heads, h.v_dim),
                 dout = part(h.heads, h.v_dim);
    const AttentionGradients gradients{part(h.heads, h.qk_dim), part(h.kv_heads, h.qk_dim),
                                       part(h.kv_heads, h.v_dim)};
    const Tensor lse(stream.device(), kF32, {rows, h.heads});
    // The causal half: position p sees p + 1 keys.
    const double pairs = static_cast<double>(rows) * h.heads * static_cast<double>(length + 1) / 2;
    Stream* s = &stream;
    const std::string name = std::string(h.name) + ", T=" + std::to_string(length);
    const auto add = [&](const char* direction, double flops, const std::function<void()>& run) {
      cases.push_back({std::string("attention ") + direction + ", " + name, Limits::arithmetic,
                       flops, with("TESSERA_ATTENTION", "own", run)});
      const int64_t calls = library_attention_calls();
      if (calls < 0) return;
      const std::function<void()> theirs = with("TESSERA_ATTENTION", "cudnn", run);
      theirs();
      if (library_attention_calls() > calls)
        cases.push_back({std::string("cuDNN's attention ") + direction + ", " + name,
                         Limits::arithmetic, flops, theirs});
    };
    add("forward", 2 * pairs * (h.qk_dim + h.v_dim),
        [=] { attention(*s, shape, q, k, v, {}, out, lse); });
    add("backward", 2 * pairs * (3 * h.qk_dim + 2 * h.v_dim),
        [=] { attention_backward(*s, shape, q, k, v, {}, out, lse, dout, gradients); });
  }
  return cases;
}

}  // namespace tessera::bench
