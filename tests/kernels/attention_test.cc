// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include "tests/support/golden.h"

namespace tessera::test {
namespace {

// Every tensor of one call, on one device.
struct Operands {
  Tensor q, k, v, starts, dout, out, lse, dq, dk, dv;

  void run(Stream& stream, const Attention& shape) const {
    attention(stream, shape, q, k, v, starts, out, lse);
    attention_backward(stream, shape, q, k, v, starts, out, lse, dout, {dq, dk, dv});
  }
};

Operands truth_of(const Attention& shape, DType dtype, bool documents, double size = 1) {
  const int64_t queries = shape.num_sequences * shape.query_length;
  const int64_t keys = shape.num_sequences * shape.key_length;
  Operands at;
  at.q = normal(dtype, queries, shape.num_heads * shape.qk_dim, 1, size);
  at.k = normal(dtype, keys, shape.num_kv_heads * shape.qk_dim, 2, size);
  at.v = normal(dtype, keys, shape.num_kv_heads * shape.v_dim, 3);
  at.dout = normal(dtype, queries, shape.num_heads * shape.v_dim, 4);
  at.out = Tensor(kReference, DType::f64, {queries, shape.num_heads * shape.v_dim});
  at.lse = Tensor(kReference, DType::f64, {queries, shape.num_heads});
  at.dq = Tensor(kReference, DType::f64, {queries, at.q.columns()});
  at.dk = Tensor(kReference, DType::f64, {keys, at.k.columns()});
  at.dv = Tensor(kReference, DType::f64, {keys, at.v.columns()});
  if (!documents) return at;
  std::vector<int32_t> starts;
  for (int64_t row = 0; row < queries; ++row) {
    const int64_t position = shape.key_length - shape.query_length + row % shape.query_length;
    // 63: the last key of a tile of the CUDA kernels
    starts.push_back(position < 10 ? 0 : position < 63 ? 10 : position < 100 ? 63 : 100);
  }
  at.starts = indices(starts);
  return at;
}

Operands on_cpu(const Operands& truth, DType dtype, bool slice = true) {
  const auto like = [&](const Tensor& x) {
    return slice ? sliced(kCpu, dtype, x.rows(), x.columns())
                 : Tensor(kCpu, dtype, {x.rows(), x.columns()});
  };
  Operands at;
  at.starts = truth.starts;
  at.q = converted(truth.q, kCpu, dtype, slice);
  at.k = converted(truth.k, kCpu, dtype, slice);
  at.v = converted(truth.v, kCpu, dtype, slice);
  at.dout = converted(truth.dout, kCpu, dtype, slice);
  at.out = like(truth.out);
  at.lse = Tensor(kCpu, DType::f32, {truth.lse.rows(), truth.lse.columns()});
  at.dq = like(truth.dq);
  at.dk = like(truth.dk);
  at.dv = like(truth.dv);
  return at;
}

Attention shape_of(int heads, int kv_heads, int qk_dim, int v_dim, int64_t queries, int64_t keys) {
  return {.num_heads = heads,
          .num_kv_heads = kv_heads,
          .qk_dim = qk_dim,
          .v_dim = v_dim,
          .scale = 1 / std::sqrt(qk_dim),
          .num_sequences = 2,
          .query_length = queries,
          .key_length = keys};
}

const std::vector<Attention> kShapes = {
    shape_of(1, 1, 5, 3, 4, 9),       shape_of(2, 2, 16, 16, 65, 65),
    shape_of(4, 2, 64, 64, 130, 130), shape_of(3, 1, 24, 16, 51, 51),
    shape_of(2, 1, 33, 20, 7, 120),   shape_of(2, 2, 192, 128, 70, 70),
    shape_of(4, 4, 20, 50, 1, 100),
};

void expect_agreement(const Attention& shape, DType dtype, bool documents, bool slice) {
  const Operands truth = truth_of(shape, dtype, documents), actual = on_cpu(truth, dtype, slice);
  truth.run(reference_stream(), shape);
  actual.run(cpu_stream(), shape);
  expect_close(actual.out, truth.out, dtype, "out");
  expect_close(actual.lse, truth.lse, DType::f32, "log_sum_exp");
  // The backward pass starts from an output that is already rounded.
  expect_close(actual.dq, truth.dq, dtype, "dq");
  expect_close(actual.dk, truth.dk, dtype, "dk");
  expect_close(actual.dv, truth.dv, dtype, "dv");
}

TEST(Attention, AgreesWithTheReference) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const Attention& shape : kShapes)
      for (const bool documents : {false, true}) expect_agreement(shape, dtype, documents, true);
}

TEST(Attention, OfDenseRowsAgreesWithTheReference) {
  for (const Attention& shape : {shape_of(2, 2, 16, 16, 65, 65), shape_of(4, 2, 64, 64, 130, 150),
                                 shape_of(3, 1, 24, 16, 51, 51), shape_of(2, 1, 192, 128, 70, 131),
                                 shape_of(1, 1, 200, 136, 9, 40)})
    expect_agreement(shape, DType::bf16, shape.query_length > 64, false);
}

TEST(Attention, StaysFiniteWithLargeLogits) {
  const Attention shape = shape_of(2, 1, 32, 32, 100, 100);
  const Operands truth = truth_of(shape, DType::f32, true, 100), actual = on_cpu(truth, DType::f32);
  truth.run(reference_stream(), shape);
  actual.run(cpu_stream(), shape);
  // Logits of ten thousand carry errors of a thousandth into the probabilities.
  EXPECT_LE(difference(actual.out, truth.out), 1e-5);
  EXPECT_LE(difference(actual.dv, truth.dv), 1e-5);
  for (const double value : values_of(actual.dq)) EXPECT_TRUE(std::isfinite(value));
}

TEST(Attention, GivesTheSameBitsForAnyThreadsAndPath) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Attention shape = shape_of(4, 2, 40, 24, 130, 150);
    const Operands actual = on_cpu(truth_of(shape, dtype, true), dtype, dtype == DType::f32);
    expect_same_bits_everywhere([&] {
      actual.run(cpu_stream(), shape);
      return std::vector<Tensor>{actual.out, actual.lse, actual.dq, actual.dk, actual.dv};
    });
  }
}

TEST(Attention, OfOneQueryEqualsTheSameRowOfMany) {
  const Attention whole = shape_of(2, 1, 32, 32, 100, 100);
  Operands at = on_cpu(truth_of(whole, DType::f32, false), DType::f32);
  attention(cpu_stream(), whole, at.q, at.k, at.v, {}, at.out, at.lse);
  Attention one = whole;
  one.num_sequences = 1, one.query_length = 1, one.key_length = 80;
  const Tensor out(kCpu, DType::f32, {1, 64}), lse(kCpu, DType::f32, {1, 2});
  attention(cpu_stream(), one, at.q.row_slice(79, 1), at.k.row_slice(0, 80), at.v.row_slice(0, 80),
            {}, out, lse);
  EXPECT_EQ(bits_of(out), bits_of(at.out.row_slice(79, 1)));
}

TEST(Attention, IsPyTorchs) {
  const auto& table = golden().at("causal_attention");
  constexpr int64_t kBatch = 2, kHeads = 3, kLength = 5, kDim = 4;
  // The file keeps (batch, head, position, element); a row of ours is one position.
  const auto reordered = [](const Tensor& in) {
    const Tensor out(kReference, DType::f64, {kBatch * kLength, kHeads * kDim});
    for (int64_t i = 0; i < in.size(); ++i) {
      const int64_t d = i % kDim, t = i / kDim % kLength, h = i / kDim / kLength % kHeads;
      const int64_t b = i / kDim / kLength / kHeads;
      out.row<double>(b * kLength + t)[h * kDim + d] = in.as<double>()[i];
    }
    return out;
  };
  const auto input = [&](size_t which) {
    return reordered(golden_input(1, kBatch * kHeads * kLength * kDim,
                                  table.at("a_qkv").at(which).get<double>()));
  };
  Attention shape = shape_of(kHeads, kHeads, kDim, kDim, kLength, kLength);
  const Tensor q = input(0), k = input(1), v = input(2);
  const Tensor out(kReference, DType::f64, {kBatch * kLength, kHeads * kDim});
  const Tensor lse(kReference, DType::f64, {kBatch * kLength, kHeads});
  attention(reference_stream(), shape, q, k, v, {}, out, lse);
  expect_golden(out, reordered(golden_tensor(table.at("out"), 1, out.size())), 1e-12);
}

// <gradient, direction> against the difference quotient of <out, dout>, all in f64.
TEST(Attention, GradientsOfTheReferenceAreDerivatives) {
  const Attention shape = shape_of(4, 2, 6, 5, 9, 12);
  const Operands at = truth_of(shape, DType::f32, false);
  at.run(reference_stream(), shape);
  const auto objective = [&] {
    attention(reference_stream(), shape, at.q, at.k, at.v, {}, at.out, at.lse);
    double sum = 0;
    for (int64_t i = 0; i < at.out.size(); ++i)
      sum += at.out.as<double>()[i] * at.dout.as<double>()[i];
    return sum;
  };
  constexpr double kStep = 1e-5;
  for (const auto& [x, gradient] : {std::pair{at.q, at.dq}, {at.k, at.dk}, {at.v, at.dv}}) {
    for (int64_t i = 0; i < x.size(); i += 7) {
      double& element = x.as<double>()[i];
      const double before = element;
      element = before + kStep;
      const double above = objective();
      element = before - kStep;
      const double below = objective();
      element = before;
      EXPECT_NEAR((above - below) / (2 * kStep), gradient.as<double>()[i], 1e-7);
    }
  }
}

}  // namespace
}  // namespace tessera::test
