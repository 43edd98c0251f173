// SPDX-License-Identifier: Apache-2.0
// The golden model in every kind of layout that its sizes and four ranks allow: the loss and every
// gradient are those of somebody else's code, and ten steps follow its trajectory.
#include <cstdio>
#include <cstring>

#include <gtest/gtest.h>

#include "tests/support/golden_model.h"
#include "tests/support/rank_world.h"
#include "tests/support/temporary.h"
#include "trainer/trainer.h"
#include "trainer/training_plan.h"

namespace tessera::test {
namespace {

struct Layout {
  int data = 1, tensor = 1, pipeline = 1, expert = 1, expert_tensor = 1, zero = 0;
  const char* schedule = "1f1b";
  std::vector<int64_t> layers_per_stage = {};
  Recomputation recompute = Recomputation::none;

  int ranks() const { return data * tensor * pipeline; }
  std::string name() const {
    std::string text = "dp" + std::to_string(data) + " tp" + std::to_string(tensor) + " pp" +
                       std::to_string(pipeline) + " ep" + std::to_string(expert) + " etp" +
                       std::to_string(expert_tensor) + " zero" + std::to_string(zero) + " " +
                       schedule;
    for (const int64_t layers : layers_per_stage) text += " " + std::to_string(layers);
    return text + " recompute " + name_of(recompute);
  }
};

const std::vector<Layout> kLayouts = {
    {},
    {.recompute = Recomputation::selective},
    {.recompute = Recomputation::full},
    {.data = 2},
    {.data = 2, .zero = 1},
    {.data = 2, .zero = 2},
    {.data = 2, .zero = 3},
    {.data = 2, .expert = 2},
    {.data = 2, .expert = 2, .zero = 1},
    {.data = 2, .expert = 2, .zero = 2, .recompute = Recomputation::full},
    {.data = 2, .expert = 2, .zero = 3},
    {.tensor = 2},
    {.tensor = 2, .recompute = Recomputation::selective},
    {.tensor = 2, .expert = 2},
    {.tensor = 2, .expert_tensor = 2},
    {.tensor = 4},
    {.tensor = 4, .expert = 4},
    {.tensor = 4, .expert = 2, .expert_tensor = 2},
    {.data = 2, .tensor = 2},
    {.data = 2, .tensor = 2, .expert = 2, .zero = 1},
    {.data = 2, .tensor = 2, .expert = 4, .zero = 2},
    {.data = 2, .tensor = 2, .expert = 2, .zero = 3, .recompute = Recomputation::selective},
    {.data = 2, .tensor = 2, .expert = 2, .expert_tensor = 2, .zero = 1},
    {.pipeline = 2},
    {.pipeline = 2, .schedule = "gpipe"},
    {.pipeline = 2, .schedule = "zb_h1"},
    {.pipeline = 2, .schedule = "zb_h2", .recompute = Recomputation::full},
    {.pipeline = 2, .schedule = "interleaved", .layers_per_stage = {1, 1, 1, 0}},
    {.pipeline = 2, .schedule = "zb_v", .layers_per_stage = {1, 1, 1, 0}},
    {.pipeline = 3},
    {.pipeline = 3, .schedule = "zb_h1", .recompute = Recomputation::selective},
    {.data = 2, .pipeline = 2, .expert = 2},
    {.data = 2, .pipeline = 2, .expert = 2, .zero = 1},
    {.data = 2, .pipeline = 2, .expert = 2, .zero = 2},
    {.data = 2, .pipeline = 2, .expert = 2, .zero = 3, .schedule = "zb_h1"},
    {.tensor = 2, .pipeline = 2, .expert = 2},
    {.tensor = 2,
     .pipeline = 2,
     .expert_tensor = 2,
     .schedule = "zb_v",
     .layers_per_stage = {1, 1, 1, 0}},
};

struct GoldenLayouts : testing::Test {
  GoldenModel model{"deepseek_v2_tiny"};
  std::optional<TemporaryDirectory> mine;  // rank 0's
  std::string directory;

  GoldenLayouts() {
    if (world().rank() == 0) {
      mine.emplace();
      directory = mine->path();
      model.write_corpora(directory);
    }
    directory = world().all().broadcast(directory, 0, "directory");
  }
  ~GoldenLayouts() override { world().all().barrier("end of test"); }

  Recipe recipe(const Layout& layout) const {
    Recipe recipe = model.recipe(directory);
    recipe.parallel.data = layout.data;
    recipe.parallel.tensor = layout.tensor;
    recipe.parallel.pipeline = layout.pipeline;
    recipe.parallel.expert = layout.expert;
    recipe.parallel.expert_tensor = layout.expert_tensor;
    recipe.parallel.zero = layout.zero;
    recipe.parallel.schedule = layout.schedule;
    recipe.parallel.layers_per_stage = layout.layers_per_stage;
    recipe.parallel.recompute = layout.recompute;
    return recipe;
  }
};

// Each rank's squares, added up over the ranks.
Squares over_ranks(const Squares& squares, Communicator& ranks) {
  std::string text;
  for (const auto& [name, both] : squares) {
    text += name + '\n';
    text.append(reinterpret_cast<const char*>(&both.first), sizeof(double));
    text.append(reinterpret_cast<const char*>(&both.second), sizeof(double));
  }
  Squares sum;
  for (const std::string& part : ranks.all_gather(text, "squares"))
    for (size_t at = 0; at < part.size();) {
      const size_t end = part.find('\n', at);
      double off = 0, all = 0;
      std::memcpy(&off, part.data() + end + 1, sizeof off);
      std::memcpy(&all, part.data() + end + 1 + sizeof off, sizeof all);
      auto& both = sum[part.substr(at, end - at)];
      both.first += off;
      both.second += all;
      at = end + 1 + 2 * sizeof off;
    }
  return sum;
}

TEST_F(GoldenLayouts, GiveTheGradientsAndTheTrajectory) {
  int tried = 0;
  for (const Layout& layout : kLayouts) {
    SCOPED_TRACE(layout.name());
    const Recipe options = recipe(layout);
    GridSizes sizes = grid_sizes(options.parallel);
    sizes.data = layout.data;
    const ProcessGrid grid(sizes);
    ASSERT_EQ(grid.num_ranks(), layout.ranks());
    const Communicators comms(world(), grid);
    if (!comms.member()) continue;
    Trainer trainer(options, Device{}, comms);
    model.load(trainer.weights());
    trainer.publish_weights();
    StepReport report = trainer.step({});
    EXPECT_NEAR(report.loss, model.golden["loss"].get<double>(), 1e-5);
    Squares on_this_rank;
    add_squares(trainer.gradients(), report.grad_unscale, model.grads, on_this_rank);
    const Squares squares = over_ranks(on_this_rank, comms.world());
    EXPECT_EQ(squares.size(), model.weights.size());
    double worst = 0;
    for (const auto& [name, both] : squares) {
      EXPECT_LE(std::sqrt(both.first), 1e-4 * std::sqrt(both.second)) << name;
      if (both.second > 0) worst = std::max(worst, std::sqrt(both.first / both.second));
    }
    double furthest = 0;
    for (int step = 1; step < 10; ++step) {
      report = trainer.step({});
      furthest = std::max(furthest,
                          std::abs(report.loss - model.golden["train_loss"][step].get<double>()));
    }
    EXPECT_LE(furthest, 1e-3);
    ++tried;
    if (world().rank() == 0)
      std::printf("%-66s gradients %.1e  trajectory %.1e\n", layout.name().c_str(), worst,
                  furthest);
  }
  if (world().rank() == 0) std::printf("%d layouts\n", tried);
}

}  // namespace
}  // namespace tessera::test
