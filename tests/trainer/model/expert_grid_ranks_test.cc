// SPDX-License-Identifier: Apache-2.0
// Parameters of two data-parallel groups on one grid: dense ones over data, experts over
// expert_data. Whatever the grid and the ZeRO stage, each element is summed over the ranks of its
// group, trained and saved once, counted once in the norm, and found again under another grid.
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/load.h"
#include "checkpoint/writer.h"
#include "kernels/base/exact_sum.h"
#include "kernels/copy.h"
#include "kernels/reduce.h"
#include "tests/support/errors.h"
#include "tests/support/rank_world.h"
#include "tests/support/temporary.h"
#include "trainer/model/gradients.h"
#include "trainer/model_state.h"
#include "trainer/optim/adamw.h"
#include "trainer/rank_layout.h"
#include "trainer/verify/capture.h"

namespace tessera::test {
namespace {

constexpr int kExperts = 4;
// (kWide, kHidden) of an expert is small for ZeRO; a stack of them is not, nor is the dense matrix.
constexpr int64_t kHidden = 128, kWide = 136, kVocabulary = 521;

struct Case {
  GridSizes sizes;
  int zero;
  bool layout_free = false;
};

// The parameters of a model with one dense matrix, a norm and one layer of experts.
struct Model {
  Communicators comms;
  Stream stream{Device{}};
  ParameterStore store;
  std::vector<Stack> stacks;
  std::unique_ptr<Gradients> gradients;

  explicit Model(const Case& with) : comms(world(), ProcessGrid(with.sizes)) {
    stacks.push_back(store.add(cut(matrix("dense.weight", kVocabulary, kHidden), 0, Axis::tensor)));
    Parameter norm = matrix("norm.weight", 0, kHidden);
    norm.shard = ShardSpec::whole({kHidden});
    norm.replication = Replication::tensor;
    stacks.push_back(store.add(norm));
    add_experts();
    Recipe recipe;
    recipe.parallel.zero = with.zero;
    if (with.layout_free) recipe.run.determinism = Determinism::layout_free;
    store.allocate(Device{}, DType::f32, zero_sharding(recipe, comms));
    for (const StateRole& state : adamw_kind().states) store.attach_state(state.role);
    store.initialize(7);
    store.share_values(stream, comms);
    gradients = std::make_unique<Gradients>(stream, store, comms);
  }
  static Parameter matrix(const std::string& name, int64_t rows, int64_t columns) {
    Parameter parameter;
    parameter.name = name;
    parameter.shard = ShardSpec::whole({rows, columns});
    parameter.init_deviation = 0.5;
    return parameter;
  }
  Parameter cut(Parameter whole, int dim, Axis axis) const {
    const Communicator& group = comms.along(axis);
    whole.shard = whole.shard.split(dim, group.rank(), group.size());
    return whole;
  }
  void add_experts() {
    const Communicator& ranks = comms.along(Axis::expert);
    const Interval mine = even_part(kExperts, ranks.rank(), ranks.size());
    std::vector<Parameter> gate_up, down;
    for (int64_t e = mine.first; e < mine.first + mine.extent; ++e) {
      const std::string prefix = "experts." + std::to_string(e);
      const Axis axis = Axis::expert_tensor;
      gate_up.push_back(cut(matrix(prefix + ".gate_proj.weight", kWide, kHidden), 0, axis));
      gate_up.push_back(cut(matrix(prefix + ".up_proj.weight", kWide, kHidden), 0, axis));
      down.push_back(cut(matrix(prefix + ".down_proj.weight", kHidden, kWide), 1, axis));
    }
    for (auto* stack : {&gate_up, &down}) {
      for (Parameter& member : *stack) member.group = ParameterGroup::expert;
      stacks.push_back(store.add(std::move(*stack)));
    }
  }

  // Two microbatches; every rank adds a number of its own to every element, so that the sum tells
  // which ranks were summed.
  void train() {
    gradients->begin_step(false);
    for (const bool last : {false, true})
      for (size_t i = stacks.size(); i-- > 0;) {
        const Tensor grad = store.grad(stacks[i]);
        for (int64_t row = 0; row < grad.rows(); ++row)
          for (int64_t column = 0; column < grad.columns(); ++column)
            grad.row<float>(row)[column] += static_cast<float>(1 << comms.rank());
        gradients->added({stacks[i]}, last);
      }
    gradients->finish();
  }
  // Of an element whose copies' gradients are summed over `ranks`.
  static double sum_over(const std::vector<int>& ranks) {
    double sum = 0;
    for (const int rank : ranks) sum += 2.0 * (1 << rank);
    return sum;
  }
  double norm_squared() {
    const Tensor words(Device{}, DType::i64, {ExactSum::kWords});
    fill(stream, 0, words);
    std::vector<Tensor> grads;
    for (const Piece& piece : store.pieces())
      if (counts(store, comms, piece)) grads.push_back(store.grad(piece));
    const Tensor bad(Device{}, DType::i64, {std::ssize(grads)});
    sum_of_squares(stream, grads, words, bad);
    ExactSum mine;
    std::memcpy(mine.words().data(), words.data(), sizeof(int64_t) * ExactSum::kWords);
    mine.normalize();
    std::memcpy(words.data(), mine.words().data(), sizeof(int64_t) * ExactSum::kWords);
    comms.world().all_reduce(stream, words, words, Reduce::sum);
    ExactSum all;
    std::memcpy(all.words().data(), words.data(), sizeof(int64_t) * ExactSum::kWords);
    return all.round();
  }
  std::map<std::string, TensorMap> whole() {
    return gather_tensors(stream, comms.world(), tensors_of(store, comms));
  }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const GridSizes& sizes :
       {GridSizes{.data = 4, .expert = 1}, GridSizes{.data = 4, .expert = 2},
        GridSizes{.data = 4, .expert = 4}, GridSizes{.data = 2, .tensor = 2, .expert = 2},
        GridSizes{.data = 2, .tensor = 2, .expert_tensor = 2},
        GridSizes{.data = 2, .tensor = 2, .expert = 2, .expert_tensor = 2},
        GridSizes{.tensor = 4, .expert = 2}, GridSizes{.tensor = 4}})
    for (const int zero : {0, 1, 2, 3}) all.push_back({sizes, zero});
  all.push_back({GridSizes{.data = 4, .expert = 2}, 0, true});
  return all;
}

std::string describe(const Case& one) {
  return ProcessGrid(one.sizes).to_string() + ", zero " + std::to_string(one.zero) +
         (one.layout_free ? ", layout_free" : "");
}

TEST(ExpertGrid, SumsEachGradientOverTheRanksThatHoldItsCopies) {
  for (const Case& one : cases()) {
    SCOPED_TRACE(describe(one));
    Model model(one);
    model.train();
    const ProcessGrid& grid = model.comms.grid();
    const int me = model.comms.rank();
    for (const Piece& piece : model.store.pieces()) {
      const Parameter& parameter = model.store.at(piece.parameter);
      double expected = Model::sum_over(grid.ranks_along(Axis::data, me));
      if (parameter.group == ParameterGroup::expert)
        expected = Model::sum_over(grid.ranks_along(Axis::expert_data, me));
      if (parameter.replication == Replication::tensor) expected = Model::sum_over({0, 1, 2, 3});
      const Tensor grad = model.store.grad(piece);
      for (int64_t row = 0; row < grad.rows(); ++row)
        for (int64_t column = 0; column < grad.columns(); ++column)
          ASSERT_EQ(grad.row<float>(row)[column], expected) << parameter.name;
    }
  }
}

TEST(ExpertGrid, CountsEachElementOnceInTheNormAndInAState) {
  for (const Case& one : cases()) {
    SCOPED_TRACE(describe(one));
    Model model(one);
    model.train();
    const std::map<std::string, TensorMap> grads =
        gather_tensors(model.stream, model.comms.world(), gradients_of(model.store, model.comms));
    const double squares = model.norm_squared();
    if (world().rank() > 0) continue;
    double expected = 0;
    EXPECT_EQ(grads.at("grad").size(), 2U + 3 * kExperts) << "each expert by its own name";
    for (const auto& [name, values] : grads.at("grad"))
      for (const double value : values) expected += value * value;
    EXPECT_DOUBLE_EQ(squares, expected);
  }
}

TEST(ExpertGrid, StartsFromTheSameWeightsOnEveryGrid) {
  Model plain({GridSizes{.data = 4}, 0});
  const auto expected = plain.whole();
  for (const Case& one : cases()) {
    SCOPED_TRACE(describe(one));
    Model model(one);
    model.store.gather_weights(model.stream, model.comms, 0);
    for (const Stack& stack : model.stacks) {
      const Tensor value = model.store.value(stack);
      double smallest = 1;
      for (int64_t row = 0; row < value.rows(); ++row)
        for (int64_t column = 0; column < value.columns(); ++column)
          smallest = std::min<double>(smallest, std::abs(value.row<float>(row)[column]));
      EXPECT_GT(smallest, 0) << "a row was not gathered";
    }
    model.store.release_weights(0);
    EXPECT_TRUE(model.whole() == expected);
  }
}

TEST(ExpertGrid, FindsEveryTensorAgainUnderAnotherGrid) {
  std::optional<TemporaryDirectory> mine;
  std::string directory;
  if (world().rank() == 0) directory = mine.emplace().path();
  directory = world().all().broadcast(directory, 0, "directory");
  PosixStorage storage;
  Model source({GridSizes{.data = 2, .tensor = 2, .expert = 2, .expert_tensor = 2}, 3});
  for (const Piece& piece : source.store.pieces()) {  // moments that tell their places
    Stream& stream = source.stream;
    copy(stream, source.store.master(piece), source.store.state(0, piece));
    copy(stream, source.store.master(piece), source.store.state(1, piece));
  }
  const auto saved = source.whole();
  save_checkpoint(storage, source.comms.world(), directory, {"run", 1, "", ""},
                  tensors_of(source.store, source.comms));
  for (const Case& one : cases()) {
    SCOPED_TRACE(describe(one));
    Model model(one);
    State state = tensors_of(model.store, model.comms);
    for (const StateEntry& entry : state.entries) fill(model.stream, 0, entry.tensor);
    ASSERT_TRUE(load_newest(storage, model.comms.world(), directory, state));
    EXPECT_TRUE(model.whole() == saved);
  }
  world().all().barrier("end of test");
}

TEST(ExpertGrid, RefusesAStackOfTwoGroups) {
  ParameterStore store;
  std::vector<Parameter> members = {Model::matrix("a", 2, 3), Model::matrix("b", 2, 3)};
  members.back().group = ParameterGroup::expert;
  EXPECT_THAT(error_of([&] { store.add(members); }),
              testing::HasSubstr("two data-parallel groups"));
}

}  // namespace
}  // namespace tessera::test
