// SPDX-License-Identifier: Apache-2.0
// Every layer's two halves against finite differences in double precision: the gradient of
// <dy, forward(x)> with respect to every element of x and of the weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/parameters.h"
#include "trainer/model/attention_cache.h"
#include "trainer/model/block.h"
#include "trainer/model/embedding.h"
#include "trainer/model/gqa.h"
#include "trainer/model/gradients.h"
#include "trainer/model/loss_head.h"
#include "trainer/model/mla.h"
#include "trainer/model/swiglu.h"

namespace tessera::test {
namespace {

constexpr int64_t kSequences = 2, kLength = 5, kRows = kSequences * kLength;

struct Layers : testing::Test {
  Stream stream{kReference};
  ParameterStore store;
  Communicators comms;
  LayerContext context{stream, store, comms, DType::f64};
  Micro micro;

  Layers() {
    micro.num_sequences = kSequences;
    micro.sequence_length = kLength;
    micro.tokens = host_ints({3, 1, 4, 1, 5, 6, 2, 6, 5, 3});
    micro.targets = host_ints({1, 4, -1, 5, 6, 2, 6, 5, 3, -1});
    micro.positions = host_ints({0, 1, 2, 0, 1, 0, 1, 2, 3, 4});
    micro.document_starts = host_ints({0, 0, 0, 3, 3, 0, 0, 0, 0, 0});
    micro.dloss = 0.25;
  }
  static Tensor host_ints(const std::vector<int32_t>& values) {
    const Tensor out(kReference, DType::i32, {static_cast<int64_t>(values.size())});
    std::copy(values.begin(), values.end(), out.as<int32_t>());
    return out;
  }
  void allocate() {
    store.allocate(kReference, DType::f64);
    const Philox philox{5, 0};
    for (const Parameter& parameter : store.all()) {
      double* element = master(store, parameter.index).as<double>();
      for (int64_t i = 0; i < parameter.range.count; ++i)
        element[i] = 0.5 * philox.normal(static_cast<uint64_t>(parameter.range.first + i));
    }
  }

  // Central differences of objective() with respect to each of `elements`.
  template <typename Objective>
  static void expect_slopes(const Objective& objective, const Tensor& elements,
                            const Tensor& gradient, const std::string& what) {
    ASSERT_EQ(elements.size(), gradient.size()) << what;
    constexpr double kStep = 1e-5;
    double largest = 0;
    for (int64_t i = 0; i < gradient.size(); ++i)
      largest = std::max(largest, std::abs(gradient.as<double>()[i]));
    EXPECT_GT(largest, 1e-3) << what << ": nothing flows here";
    for (int64_t i = 0; i < elements.size(); ++i) {
      double& element = elements.as<double>()[i];
      const double before = element;
      element = before + kStep;
      const double above = objective();
      element = before - kStep;
      const double below = objective();
      element = before;
      EXPECT_NEAR((above - below) / (2 * kStep), gradient.as<double>()[i], 1e-6 * largest)
          << what << ", element " << i;
    }
  }

  void expect_weight_slopes(const std::function<double()>& objective) {
    for (const Parameter& parameter : store.all())
      expect_slopes(objective, master(store, parameter.index), gradient(store, parameter.index),
                    parameter.name);
  }

  void expect_gradients(Layer& layer, int64_t width) {
    const Tensor x = normal(DType::f64, kRows, width, 8);
    Tape tape;
    const Tensor y = layer.forward(x, micro, &tape);
    const Tensor dy = normal(DType::f64, y.rows(), y.columns(), 9);
    zero_grads(stream, store);
    const Tensor dx = layer.backward_input(dy, tape);
    for (const double gradient : grads_of(store))
      ASSERT_EQ(gradient, 0) << "backward_input touched a parameter's gradient";
    layer.backward_weight(tape);
    EXPECT_TRUE(tape.empty()) << tape.size() << " frames are left";

    const auto objective = [&] {
      const Tensor out = layer.forward(x, micro, nullptr);
      double sum = 0;
      for (int64_t i = 0; i < out.size(); ++i) sum += out.as<double>()[i] * dy.as<double>()[i];
      return sum;
    };
    expect_slopes(objective, x, dx, "input");
    expect_weight_slopes(objective);

    // Each call adds its share: twice gives twice.
    const std::vector<double> once = grads_of(store);
    layer.forward(x, micro, &tape);
    layer.backward_input(dy, tape);
    layer.backward_weight(tape);
    const std::vector<double> twice = grads_of(store);
    for (size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(twice[i], 2 * once[i], 1e-12);
  }

  static ModelOptions grouped_model() {
    ModelOptions model;
    model.hidden_size = 6;
    model.num_attention_heads = 4;
    model.num_key_value_heads = 2;
    model.head_dim = 4;  // 4 x 4 is not the hidden size
    return model;
  }
  std::unique_ptr<GroupedQueryAttention> attention(int64_t positions = kLength) {
    const ModelOptions model = grouped_model();
    return std::make_unique<GroupedQueryAttention>(
        context, "attention.", model,
        rope_table(kReference, DType::f64, rope_inverse_frequencies(4, 100), positions));
  }
  std::unique_ptr<LatentAttention> latent_attention(int64_t q_rank) {
    ModelOptions model;
    model.architecture = Architecture::deepseek_v3;
    model.hidden_size = 6;
    model.num_attention_heads = 3;
    model.q_lora_rank = q_rank;
    model.kv_lora_rank = 7;
    model.qk_nope_head_dim = 3;
    model.qk_rope_head_dim = 4;
    model.v_head_dim = 5;
    model.rope_theta = 100;
    model.rope_scaling.type = RopeType::yarn;
    model.rope_scaling.factor = 4;
    model.rope_scaling.original_max_position_embeddings = 8;
    model.rope_scaling.mscale_all_dim = 0.7;
    return std::make_unique<LatentAttention>(
        context, "attention.", model, latent_rope_table(kReference, DType::f64, model, kRows));
  }
};

TEST_F(Layers, LinearOfAStackHasTheGradientsOfBothMembers) {
  Linear linear(context, Linear::Style::column, {matrix("a", 3, 7, 1), matrix("b", 4, 7, 1)});
  allocate();
  expect_gradients(linear, 7);
}

TEST_F(Layers, RmsNormHasItsGradients) {
  RmsNorm norm(context, "norm", 7, 1e-5);
  allocate();
  expect_gradients(norm, 7);
}

TEST_F(Layers, GroupedQueryAttentionHasItsGradients) {
  const auto layer = attention();
  allocate();
  expect_gradients(*layer, 6);
}

TEST_F(Layers, LatentAttentionHasItsGradients) {
  for (const int64_t q_rank : {0, 5})
    for (const bool selective : {false, true}) {
      store = ParameterStore();
      context.selective_recompute = selective;
      const auto layer = latent_attention(q_rank);
      allocate();
      ASSERT_EQ(store.count(), q_rank > 0 ? 7 : 5);
      expect_gradients(*layer, 6);
    }
}

// The numbers kept for a token, after one sequence in steps of three, one and six tokens, as it is
// done to generate text.
int64_t expect_the_same_with_a_cache(Layer& layer, const Micro& like) {
  Micro whole = like;
  whole.num_sequences = 1;
  whole.sequence_length = kRows;
  whole.positions = Layers::host_ints({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  whole.document_starts = {};
  const Tensor x = normal(DType::f64, kRows, 6, 8);
  const std::vector<double> truth = values_of(layer.forward(x, whole, nullptr));
  SequenceCache cache(kRows);
  std::vector<double> stepwise;
  for (const int64_t rows : {3, 1, 6}) {
    Micro step = whole;
    step.sequence_length = rows;
    step.positions = whole.positions.column_slice(cache.length(), rows);
    const std::vector<double> part =
        values_of(layer.forward(x.row_slice(cache.length(), rows), step, cache));
    stepwise.insert(stepwise.end(), part.begin(), part.end());
    cache.advance(rows);
  }
  EXPECT_EQ(stepwise.size(), truth.size());
  for (size_t i = 0; i < truth.size(); ++i) EXPECT_NEAR(stepwise[i], truth[i], 1e-12);
  return cache.numbers_per_token();
}

TEST_F(Layers, LatentAttentionWithACacheEqualsTheWholeSequence) {
  for (const int64_t q_rank : {0, 5}) {
    store = ParameterStore();
    const auto layer = latent_attention(q_rank);
    allocate();
    EXPECT_EQ(expect_the_same_with_a_cache(*layer, micro), 7 + 4) << "kv_lora_rank + rope";
  }
}

TEST_F(Layers, GroupedQueryAttentionWithACacheEqualsTheWholeSequence) {
  const auto layer = attention(kRows);
  allocate();
  EXPECT_EQ(expect_the_same_with_a_cache(*layer, micro), 2 * 2 * 4) << "two heads of k and of v";
}

TEST_F(Layers, AttentionRefusesACacheOfOneSequenceForSeveral) {
  const auto layer = attention();
  allocate();
  SequenceCache cache(kRows);
  EXPECT_THROW(layer->forward(normal(DType::f64, kRows, 6, 8), micro, cache), Error);
}

TEST_F(Layers, AttentionSeesNeitherTheFutureNorOtherDocumentsNorSequences) {
  const auto layer = attention();
  allocate();
  const Tensor x = normal(DType::f64, kRows, 6, 8);
  const std::vector<double> before = values_of(layer->forward(x, micro, nullptr));
  for (int64_t i = 0; i < 6; ++i) x.row<double>(3)[i] += 1;  // the second document's first row
  const std::vector<double> after = values_of(layer->forward(x, micro, nullptr));
  for (size_t row = 0; row < kRows; ++row) {
    const bool changed = !std::equal(before.begin() + static_cast<long>(row) * 6,
                                     before.begin() + static_cast<long>(row + 1) * 6,
                                     after.begin() + static_cast<long>(row) * 6);
    EXPECT_EQ(changed, row == 3 || row == 4) << "row " << row;
  }
}

TEST_F(Layers, SwiGluHasItsGradients) {
  SwiGlu layer(context, "mlp.", 6, 9, 1, 1);
  allocate();
  expect_gradients(layer, 6);
}

TEST_F(Layers, ResidualBranchHasItsGradients) {
  auto norm = std::make_unique<RmsNorm>(context, "norm", 6, 1e-5);
  ResidualBranch branch(context, "attention", std::move(norm), attention());
  allocate();
  expect_gradients(branch, 6);
}

TEST_F(Layers, EmbeddingAddsTheGradientsOfRepeatedTokens) {
  Embedding layer(context, matrix("table", 8, 3, 1));
  allocate();
  Tape tape;
  layer.forward({}, micro, &tape);
  const Tensor dy = normal(DType::f64, kRows, 3, 9);
  EXPECT_TRUE(layer.backward_input(dy, tape).empty());
  layer.backward_weight(tape);
  EXPECT_TRUE(tape.empty());
  expect_weight_slopes([&] {
    const Tensor out = layer.forward({}, micro, nullptr);
    double sum = 0;
    for (int64_t i = 0; i < out.size(); ++i) sum += out.as<double>()[i] * dy.as<double>()[i];
    return sum;
  });
}

TEST_F(Layers, LossHeadHasItsGradientsAndIgnoresRowsWithoutTarget) {
  LossHead head(context, store.add(matrix("head", 8, 6, 1)), 0);
  allocate();
  const Tensor x = normal(DType::f64, kRows, 6, 8);
  Tape tape;
  const Tensor loss = head.forward(x, micro, &tape);
  const Tensor dx = head.backward_input({}, tape);
  head.backward_weight(tape);
  EXPECT_TRUE(tape.empty());
  for (const int64_t row : {2, 9}) {  // target -1
    EXPECT_EQ(loss.as<double>()[row], 0);
    for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(dx.row<double>(row)[i], 0);
  }
  // From the logits, by the definition.
  const Tensor logits = head.logits(x);
  double sum = 0;
  for (int64_t i = 0; i < 8; ++i) sum += std::exp(logits.row<double>(1)[i]);
  EXPECT_NEAR(loss.as<double>()[1], std::log(sum) - logits.row<double>(1)[4], 1e-12);

  const auto objective = [&] {
    double total = 0;
    for (const double row : values_of(head.forward(x, micro, nullptr))) total += row;
    return micro.dloss * total;
  };
  expect_slopes(objective, x, dx, "input");
  expect_weight_slopes(objective);
}

TEST_F(Layers, TiedLossHeadAddsItsGradientToTheEmbeddingsOnce) {
  Embedding table(context, matrix("table", 8, 6, 1));
  LossHead head(context, store.add_use(table.table()), 0);
  allocate();
  Gradients gradients(stream, store, comms);
  gradients.begin_step(false);
  Tape tape;
  head.forward(table.forward({}, micro, &tape), micro, &tape);
  gradients.added(head.forward_weights(), true);
  table.backward_input(head.backward_input({}, tape), tape);
  head.backward_weight(tape);
  table.backward_weight(tape);
  EXPECT_TRUE(tape.empty());
  gradients.added(table.weights(), true);
  gradients.finish();
  expect_weight_slopes([&] {
    double total = 0;
    for (const double row :
         values_of(head.forward(table.forward({}, micro, nullptr), micro, nullptr)))
      total += row;
    return micro.dloss * total;
  });
}

TEST_F(Layers, LossHeadGivesEachRowTheSameWhateverTheNumberOfRows) {
  LossHead head(context, store.add(matrix("head", 8, 6, 1)), 0);
  allocate();
  constexpr int64_t kMany = 2500;  // more than two of the head's chunks, and a rest
  std::vector<int32_t> targets;
  for (int64_t row = 0; row < kMany; ++row) targets.push_back(static_cast<int32_t>(row % 9) - 1);
  Micro many = micro;
  many.num_sequences = 1;
  many.sequence_length = kMany;
  many.targets = host_ints(targets);
  const Tensor x = normal(DType::f64, kMany, 6, 8);
  Tape tape;
  const std::vector<double> losses = values_of(head.forward(x, many, &tape));
  const std::vector<double> dx = values_of(head.backward_input({}, tape));
  const std::vector<double> dweight = grads_of(store);
  zero_grads(stream, store);
  for (int64_t first = 0; first < kMany; first += 500) {
    Micro part = many;
    part.sequence_length = 500;
    part.targets = many.targets.column_slice(first, 500);
    const Tensor rows = head.forward(x.row_slice(first, 500), part, &tape);
    const Tensor drows = head.backward_input({}, tape);
    for (int64_t row = 0; row < 500; ++row) {
      ASSERT_EQ(rows.as<double>()[row], losses[static_cast<size_t>(first + row)]);
      for (int64_t i = 0; i < 6; ++i)
        ASSERT_EQ(drows.row<double>(row)[i], dx[static_cast<size_t>((first + row) * 6 + i)]);
    }
  }
  const std::vector<double> summed = grads_of(store);
  for (size_t i = 0; i < summed.size(); ++i) EXPECT_NEAR(summed[i], dweight[i], 1e-10);
}

}  // namespace
}  // namespace tessera::test
