// SPDX-License-Identifier: Apache-2.0
// Multi-token prediction over ranks: embedding and head on different stages, cut by tensor ranks,
// dealt by ZeRO: the weights after some steps are those of one rank, to the bit where the layout
// promises it.
#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/rank_world.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/training_plan.h"

namespace tessera::test {
namespace {

struct Layout {
  int data = 1, tensor = 1, pipeline = 1, zero = 0;
  const char* schedule = "1f1b";
  Recomputation recompute = Recomputation::none;
  bool same_bits = false;  // as one rank
};

const std::vector<Layout> kLayouts = {
    {.pipeline = 2, .same_bits = true},
    {.pipeline = 2, .schedule = "zb_h1", .recompute = Recomputation::selective, .same_bits = true},
    {.pipeline = 2, .schedule = "zb_v", .same_bits = true},
    {.pipeline = 2, .schedule = "interleaved", .recompute = Recomputation::full, .same_bits = true},
    {.pipeline = 2, .schedule = "dualpipe_v", .same_bits = true},
    {.pipeline = 4, .same_bits = true},
    {.tensor = 2},
    {.tensor = 2, .pipeline = 2},
    {.data = 2, .zero = 1},
    {.data = 2, .pipeline = 2, .zero = 2},
    {.data = 2, .pipeline = 2, .zero = 3, .schedule = "zb_h1"},
};

// Loss and norm of each of three steps.
std::vector<double> train(const Recipe& recipe, const Communicators& comms) {
  Trainer trainer(recipe, Device{}, comms);
  std::vector<double> numbers;
  for (int step = 0; step < 3; ++step) {
    const StepReport report = trainer.step({});
    numbers.insert(numbers.end(), {report.loss, report.grad_norm, report.mtp_loss});
  }
  return numbers;
}

TEST(MultiTokenPredictionOnRanks, LearnsAsOnOneRank) {
  std::optional<TemporaryDirectory> mine;
  std::string directory;
  if (world().rank() == 0) {
    mine.emplace();
    directory = mine->path();
    write_tiny_tokens(directory + "/tokens");
  }
  directory = world().all().broadcast(directory, 0, "directory");
  ModelOptions llama = tiny_model();
  llama.num_hidden_layers = 4;
  llama.num_nextn_predict_layers = 2;
  ModelOptions tied_llama = llama;
  tied_llama.tie_word_embeddings = true;
  for (const ModelOptions& model : {llama, tied_llama, tiny_deepseek()}) {
    Recipe recipe = tiny_recipe(directory + "/tokens");
    recipe.model = model;
    if (model.has_experts()) recipe.router.balance = Balance::aux_free;
    recipe.batch = {.global = 8, .micro = 1};
    const Communicators one;
    const std::vector<double> alone = train(recipe, one);
    for (const Layout& layout : kLayouts) {
      Recipe changed = recipe;
      changed.parallel.tensor = layout.tensor;
      changed.parallel.pipeline = layout.pipeline;
      changed.parallel.zero = layout.zero;
      changed.parallel.schedule = layout.schedule;
      changed.parallel.recompute = layout.recompute;
      GridSizes sizes = grid_sizes(changed.parallel);
      sizes.data = layout.data;
      const Communicators comms(world(), ProcessGrid(sizes));
      if (!comms.member()) continue;
      const std::vector<double> numbers = train(changed, comms);
      for (size_t i = 0; i < alone.size(); ++i) {
        const std::string what =
            std::string(layout.schedule) + " dp" + std::to_string(layout.data) + " tp" +
            std::to_string(layout.tensor) + " pp" + std::to_string(layout.pipeline) + " " +
            std::string(name_of(model.architecture)) + (model.tie_word_embeddings ? " tied" : "");
        if (layout.same_bits)
          EXPECT_EQ(numbers[i], alone[i]) << what << ", number " << i;
        else
          EXPECT_NEAR(numbers[i] / alone[i], 1, 1e-5) << what << ", number " << i;
      }
    }
  }
  world().all().barrier("end of test");
}

}  // namespace
}  // namespace tessera::test
