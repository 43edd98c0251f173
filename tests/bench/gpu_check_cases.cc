// SPDX-License-Identifier: Apache-2.0
// The checks themselves. Results are filled with what is no number before each call, so that an
// element that nobody writes is found.
#include <cmath>
#include <limits>

#include "kernels/copy.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/transfer.h"
#include "tests/bench/gpu_cases.h"
#include "tests/bench/gpu_check.h"

namespace tessera::bench {
namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;

Tensor unwritten(Stream& stream, DType dtype, int64_t rows, int64_t columns) {
  const Tensor out(stream.device(), dtype, {rows, columns});
  fill(stream, std::numeric_limits<double>::quiet_NaN(), out);
  return out;
}

// --- One implementation against another

// out, dq, dk and dv of the last `kept` sequences of all.
std::vector<Tensor> attend(Stream& stream, const BenchHeads& h, int64_t sequences, int64_t length,
                           int64_t kept, const char* whose) {
  const int64_t rows = sequences * length, first = rows - kept * length;
  const auto part = [&](int heads, int dim) {
    return random_on(stream, kBf16, rows, int64_t{heads} * dim);
  };
  const auto result = [&](int heads, int dim) {
    return unwritten(stream, kBf16, rows, int64_t{heads} * dim);
  };
  const Tensor q = part(h.heads, h.qk_dim), k = part(h.kv_heads, h.qk_dim),
               v = part(h.kv_heads, h.v_dim), dout = part(h.heads, h.v_dim);
  const Tensor out = result(h.heads, h.v_dim), dq = result(h.heads, h.qk_dim),
               dk = result(h.kv_heads, h.qk_dim), dv = result(h.kv_heads, h.v_dim);
  const Tensor lse = unwritten(stream, kF32, rows, h.heads);
  const Attention shape = causal(h, sequences, length);
  with("TESSERA_ATTENTION", whose, [&] {
    attention(stream, shape, q, k, v, {}, out, lse);
    attention_backward(stream, shape, q, k, v, {}, out, lse, dout, {dq, dk, dv});
  })();
  std::vector<Tensor> last;
  for (const Tensor& x : {out, dq, dk, dv}) last.push_back(x.row_slice(first, kept * length));
  return last;
}

void add_attention(bool small, std::vector<GpuCheck>& checks) {
  const int64_t sequences = 2, length = small ? 70 : 4096;
  for (const BenchHeads& h : bench_heads()) {
    const auto by = [=](const char* whose) {
      return [=](Stream& stream) { return attend(stream, h, sequences, length, sequences, whose); };
    };
    const std::string name = std::string("attention, ") + h.name;
    checks.push_back({name + ": own and plain", by("own"), by("plain")});
    if (library_attention_calls() >= 0)
      checks.push_back({name + ": own and cuDNN's", by("own"), by("cudnn")});
  }
}

// Experts with unlike numbers of rows, two of them with none.
std::vector<int64_t> unlike_offsets(int64_t rows, int64_t groups) {
  std::vector<int64_t> offsets = {0, 0};
  while (std::ssize(offsets) < groups)
    offsets.push_back(offsets.back() + (rows - offsets.back()) / 7);
  offsets.push_back(rows);
  offsets[offsets.size() / 2] = offsets[offsets.size() / 2 - 1];
  return offsets;
}

struct Products {
  const char* name;
  int64_t rows, n, k;
  bool weights, transpose_b;
};

std::vector<Tensor> multiply(Stream& stream, const Products& of, int64_t groups, const char* how) {
  GroupedGemm products;
  products.weights = of.weights;
  products.transpose_b = of.transpose_b;
  products.a = random_on(stream, kBf16, of.rows, of.weights ? of.n : of.k);
  products.b = of.weights       ? random_on(stream, kBf16, of.rows, of.k)
               : of.transpose_b ? random_on(stream, kBf16, groups * of.n, of.k)
                                : random_on(stream, kBf16, groups * of.k, of.n);
  products.c = of.weights ? unwritten(stream, kF32, groups * of.n, of.k)
                          : unwritten(stream, kBf16, of.rows, of.n);
  products.offsets = uploaded(
      stream, groups == 1 ? std::vector<int64_t>{0, of.rows} : unlike_offsets(of.rows, groups));
  with("TESSERA_EXPERTS", how, [&] { grouped_gemm(stream, products); })();
  return {products.c};
}

// One group is a single product: cuBLASLt's against our own.
void add_products(bool small, std::vector<GpuCheck>& checks) {
  const int64_t rows = small ? 300 : 24576, hidden = small ? 64 : 2048, wide = small ? 88 : 2816;
  const int64_t vocabulary = small ? 130 : 50304, part = small ? 70 : 4096;
  for (const auto& [groups, what] : {std::pair<int64_t, const char*>{small ? 5 : 64, "experts"},
                                     std::pair<int64_t, const char*>{1, "gemm"}})
    for (const Products& of : {Products{"gate + up", rows, wide, hidden, false, true},
                               Products{"d input", rows, hidden, wide, false, false},
                               Products{"d weight", rows, wide, hidden, true, false}})
      checks.push_back(
          {std::string(what) + ", " + of.name + ": grouped and one by one",
           [=, groups = groups](Stream& s) { return multiply(s, of, groups, "grouped"); },
           [=, groups = groups](Stream& s) { return multiply(s, of, groups, "one_by_one"); }});
  const Products head{"head", part, vocabulary, hidden, false, true};
  checks.push_back({"gemm, head: grouped and one by one",
                    [=](Stream& s) { return multiply(s, head, 1, "grouped"); },
                    [=](Stream& s) { return multiply(s, head, 1, "one_by_one"); }});
}

// --- The end of a huge call against a small call of the same rows

// Operands of `rows` rows, of which only the last `kept` count: kept == rows is the small call.
using Rowwise = std::function<std::vector<Tensor>(Stream&, int64_t rows, int64_t kept)>;

Tensor last_rows(const Tensor& x, int64_t kept) {
  return x.row_slice(x.rows() - kept, kept);
}

// Inputs repeat every 2^18 elements, so rows a multiple of that apart are equal.
void add_far(const std::string& name, int64_t rows, int64_t kept, bool same_bits,
             const Rowwise& run, std::vector<GpuCheck>& checks) {
  checks.push_back({name + ": last rows of " + std::to_string(rows),
                    [=](Stream& s) { return run(s, rows, kept); },
                    [=](Stream& s) { return run(s, kept, kept); }, same_bits});
}

void add_beyond_2_gib(bool small, std::vector<GpuCheck>& checks) {
  // A sequence is a whole number of blocks of equal numbers, 128 rows of 2048 or 4096 of 64.
  const int64_t length = 4096, hidden = small ? 64 : 2048;
  const int64_t rows = (small ? 2 : 130) * length;
  const auto far = [&](const char* name, const Rowwise& run) {
    add_far(name, rows, length, true, run, checks);
  };
  if (!small) {
    const BenchHeads heads = bench_heads().front();
    far("attention", [=](Stream& s, int64_t all, int64_t kept) {
      return attend(s, heads, all / length, length, kept / length, "own");
    });
  }
  far("swiglu", [=](Stream& s, int64_t all, int64_t kept) {
    const Tensor gate = random_on(s, kBf16, all, hidden), up = random_on(s, kBf16, all, hidden);
    const Tensor y = unwritten(s, kBf16, all, hidden);
    swiglu(s, gate, up, y);
    return std::vector<Tensor>{last_rows(y, kept)};
  });
  far("rms_norm", [=](Stream& s, int64_t all, int64_t kept) {
    const Tensor x = random_on(s, kBf16, all, hidden), y = unwritten(s, kBf16, all, hidden),
                 dx = unwritten(s, kBf16, all, hidden);
    const Tensor weight = random_on(s, kBf16, 1, hidden).flat();
    const Tensor inv_rms(s.device(), kF32, {all});
    rms_norm(s, x, weight, 1e-6, y, inv_rms);
    rms_norm_backward_input(s, x, weight, inv_rms, y, dx);
    return std::vector<Tensor>{last_rows(y, kept), last_rows(dx, kept)};
  });
  far("rope", [=](Stream& s, int64_t all, int64_t kept) {
    constexpr int kHeads = 16;
    const int head = static_cast<int>(hidden) / kHeads;
    const Tensor x = random_on(s, kBf16, all, hidden);
    std::vector<int32_t> numbers(static_cast<size_t>(all));
    for (int64_t row = 0; row < all; ++row)
      numbers[static_cast<size_t>(row)] = static_cast<int32_t>(row % length);
    const Tensor table =
        rope_table(s.device(), kF32, rope_inverse_frequencies(head, 10000), length);
    rope(s, {.num_heads = kHeads, .head_dim = head, .rotary_dim = head}, uploaded(s, numbers),
         table, x);
    return std::vector<Tensor>{last_rows(x, kept)};
  });
  // 64 rows of 2^12 or 2^16 logits are a whole number of blocks, too.
  const int64_t classes = int64_t{1} << (small ? 12 : 16), logit_rows = small ? 128 : 8320;
  add_far(
      "loss", logit_rows, 64, true,
      [=](Stream& s, int64_t all, int64_t kept) {
        const Tensor logits = random_on(s, kF32, all, classes);
        const Tensor dlogits = unwritten(s, kBf16, all, classes);
        const Tensor stats = unwritten(s, kF32, all, 3), lse(s.device(), kF32, {all});
        const Tensor targets = uploaded(s, std::vector<int32_t>(static_cast<size_t>(all), 77));
        fill(s, 1, lse);
        softmax_stats(s, logits, targets, 0, stats);
        cross_entropy_backward(s, logits, targets, 0, lse, 1.0, {}, dlogits);
        return std::vector<Tensor>{last_rows(stats, kept), last_rows(dlogits, kept)};
      },
      checks);
  // The library may choose another algorithm for another number of rows; ours has one.
  const int64_t columns = small ? 48 : 256;
  for (const char* how : {"grouped", "one_by_one"})
    add_far(
        std::string("product, ") + how, rows, length, how == std::string("grouped"),
        [=](Stream& s, int64_t all, int64_t kept) {
          const Products of{"", all, columns, hidden, false, true};
          return std::vector<Tensor>{last_rows(multiply(s, of, 1, how).front(), kept)};
        },
        checks);
}

}  // namespace

std::vector<GpuCheck> gpu_checks(bool small) {
  std::vector<GpuCheck> checks;
  add_attention(small, checks);
  add_products(small, checks);
  add_beyond_2_gib(small, checks);
  return checks;
}

}  // namespace tessera::bench
