// SPDX-License-Identifier: Apache-2.0
// The switches that tell a wrong kernel from a wrong model, on the CUDA kernels as the host runs
// them: which attention serves and that it says so, and experts one by one.
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/attention.h"
#include "kernels/base/log.h"
#include "kernels/gemm.h"
#include "tests/support/errors.h"
#include "tests/support/numeric.h"
#include "tests/support/temporary.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

// An environment variable for the time that this lives.
class Choice {
 public:
  Choice(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Choice() { unsetenv(name_); }
  Choice(const Choice&) = delete;
  Choice& operator=(const Choice&) = delete;

 private:
  const char* name_;
};

Attention shape_of(int qk_dim, int v_dim, int64_t length = 20) {
  return {.num_heads = 2,
          .num_kv_heads = 1,
          .qk_dim = qk_dim,
          .v_dim = v_dim,
          .scale = 0.2,
          .num_sequences = 2,
          .query_length = length,
          .key_length = length};
}

// out, dq, dk and dv of one call of each pass.
std::vector<Tensor> attend(const Attention& shape, DType dtype) {
  const int64_t rows = shape.num_sequences * shape.query_length;
  const auto part = [&](int heads, int size, uint64_t seed) {
    return converted(normal(dtype, rows, heads * size, seed), kCpu, dtype);
  };
  const Tensor q = part(2, shape.qk_dim, 1), k = part(1, shape.qk_dim, 2),
               v = part(1, shape.v_dim, 3), dout = part(2, shape.v_dim, 4),
               out = part(2, shape.v_dim, 5), dq = part(2, shape.qk_dim, 6),
               dk = part(1, shape.qk_dim, 7), dv = part(1, shape.v_dim, 8);
  const Tensor lse(kCpu, DType::f32, {rows, 2});
  attention(cpu_stream(), shape, q, k, v, {}, out, lse);
  attention_backward(cpu_stream(), shape, q, k, v, {}, out, lse, dout, {dq, dk, dv});
  return {out, dq, dk, dv};
}

TEST(AttentionChoice, PlainTakesThePlaceOfTheFastKernels) {
  const std::vector<Tensor> own = attend(shape_of(64, 64, 70), DType::bf16);
  const Choice choice("TESSERA_ATTENTION", "plain");
  const std::vector<Tensor> plain = attend(shape_of(64, 64, 70), DType::bf16);
  bool other_bits = false;
  for (size_t i = 0; i < own.size(); ++i) {
    EXPECT_LE(difference(own[i], plain[i]), 4 * bound(DType::bf16)) << i;
    other_bits = other_bits || bits_of(own[i]) != bits_of(plain[i]);
  }
  EXPECT_TRUE(other_bits) << "the same kernels ran";
}

TEST(AttentionChoice, IsOneOfThreeWords) {
  const Choice choice("TESSERA_ATTENTION", "flash");
  EXPECT_THAT(error_of([] { attend(shape_of(16, 16), DType::bf16); }),
              HasSubstr("usage: TESSERA_ATTENTION is flash but must be own, cudnn or plain"));
}

TEST(AttentionChoice, RefusesALibraryThatIsNotThere) {
  const Choice choice("TESSERA_ATTENTION", "cudnn");
  EXPECT_THAT(error_of([] { attend(shape_of(16, 16), DType::bf16); }),
              HasSubstr("usage: TESSERA_ATTENTION=cudnn, but cuDNN"));
}

TEST(AttentionChoice, SaysOnceWhoServedEachPassAndWhyAnotherDidNot) {
  const TemporaryDirectory directory;
  log::open_file(directory / "log");
  for (int i = 0; i < 2; ++i) {
    attend(shape_of(40, 24), DType::bf16);
    attend(shape_of(200, 24), DType::bf16);
    attend(shape_of(40, 24), DType::f32);
  }
  log::flush();
  std::ifstream file(directory / "log");
  std::ostringstream all;
  all << file.rdbuf();
  const std::string text = all.str();
  for (const char* line :
       {"attention forward, 2 heads (1 of keys) of 40/24 in bf16, 2 x 20: own\n",
        "attention backward, 2 heads (1 of keys) of 40/24 in bf16, 2 x 20: own\n",
        "of 200/24 in bf16, 2 x 20: plain; own declined: heads wider than 192/128\n",
        "of 40/24 in f32, 2 x 20: plain; own declined: f32 is not for tensor cores\n"})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 6) << text;
}

Tensor multiplied(bool weights) {
  constexpr int64_t kRows = 150, kGroups = 3, kM = 40, kN = 24;
  const Tensor a = converted(normal(DType::bf16, kRows, kM, 1), kCpu, DType::bf16);
  const Tensor b = weights ? converted(normal(DType::bf16, kRows, kN, 2), kCpu, DType::bf16)
                           : converted(normal(DType::bf16, kGroups * kM, kN, 2), kCpu, DType::bf16);
  const Tensor c(kCpu, DType::f32, {weights ? kGroups * kM : kRows, kN});
  const Tensor offsets(kCpu, DType::i64, {kGroups + 1});
  const std::vector<int64_t> values = {0, 130, 130, 150};  // the second expert has no rows
  std::copy(values.begin(), values.end(), offsets.as<int64_t>());
  grouped_gemm(cpu_stream(), {.a = a, .b = b, .c = c, .offsets = offsets, .weights = weights});
  return c;
}

TEST(ExpertsChoice, OneByOneGivesTheSameProducts) {
  for (const bool weights : {false, true}) {
    const Tensor grouped = multiplied(weights);
    const Choice choice("TESSERA_EXPERTS", "one_by_one");
    const Tensor alone = multiplied(weights);
    EXPECT_LE(difference(grouped, alone), bound(DType::f32)) << weights;
  }
}

TEST(ExpertsChoice, IsOneOfTwoWords) {
  const Choice choice("TESSERA_EXPERTS", "all");
  EXPECT_THAT(error_of([] { multiplied(false); }),
              HasSubstr("usage: TESSERA_EXPERTS is all but must be grouped or one_by_one"));
}

}  // namespace
}  // namespace tessera::test
