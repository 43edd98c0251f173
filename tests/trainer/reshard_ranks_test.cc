// SPDX-License-Identifier: Apache-2.0
// A checkpoint of one layout, taken up in others: every tensor as it was saved, the run goes on as
// docs/numerics.md promises, and each rank reads no more than its part. Offline, one process makes
// of it the very files that the ranks of the other layout would have written.
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>

#include <gtest/gtest.h>

#include "checkpoint/index.h"
#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/writer.h"
#include "tests/support/program.h"
#include "tests/support/rank_world.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/reshard.h"
#include "trainer/training_plan.h"
#include "trainer/verify/capture.h"
#include "trainer/verify/layout.h"

namespace tessera::test {
namespace {

namespace fs = std::filesystem;

constexpr int kSteps = 3;  // before the save, and after it
constexpr const char* kSource = "data=2,tensor=2,pipeline=2,zero=3";

using Tensors = std::map<std::string, TensorMap>;  // whole ones, by role and name

// What rank 0 has, on every rank.
Tensors everywhere(Tensors tensors) {
  std::string keys;
  for (const auto& [role, by_name] : tensors)
    for (const auto& [name, values] : by_name) keys += role + " " + name + "\n";
  std::istringstream list(world().all().broadcast(keys, 0, "names"));
  for (std::string role, name; list >> role >> name;) {
    std::vector<double>& values = tensors[role][name];
    std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
    bytes = world().all().broadcast(bytes, 0, "values");
    values.resize(bytes.size() / sizeof(double));
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  return tensors;
}

// Whether each box of `state`, this rank's to save or not, is what `whole` has there.
bool holds(const State& state, const Tensors& whole) {
  for (const StateEntry& entry : state.entries) {
    const std::vector<double>& values = whole.at(entry.role).at(entry.name);
    const Box& box = entry.shard.box;
    const int64_t columns = entry.shard.global_shape.back();
    const int64_t first_row = box.offset.size() < 2 ? 0 : box.offset[0];
    for (int64_t row = 0; row < entry.tensor.rows(); ++row)
      for (int64_t column = 0; column < entry.tensor.columns(); ++column)
        if (entry.tensor.row<float>(row)[column] !=
            values[static_cast<size_t>((first_row + row) * columns + box.offset.back() + column)])
          return false;
  }
  return true;
}

// What the run in kSource did, and where it saved.
struct Source {
  std::optional<TemporaryDirectory> mine;  // rank 0's
  std::string directory;
  Tensors saved;               // at the save, on every rank
  Tensors last;                // kSteps later, on rank 0
  std::vector<double> losses;  // after the save
};

class Resharding : public testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    source = new Source;
    if (world().rank() == 0) {
      source->mine.emplace();
      write_tiny_tokens(source->mine->path() + "/tokens");
      source->directory = source->mine->path();
    }
    source->directory = world().all().broadcast(source->directory, 0, "directory");
    const Recipe recipe = recipe_in(kSource);
    const Communicators comms = communicators(recipe);
    Trainer trainer(recipe, Device{}, comms);
    for (int step = 0; step < kSteps; ++step) trainer.step({});
    source->saved = everywhere(gather_tensors(trainer.stream(), comms.world(), trainer.state()));
    save(trainer, comms, "source");
    source->losses = further_losses(trainer);
    source->last = gather_tensors(trainer.stream(), comms.world(), trainer.state());
  }
  static void TearDownTestSuite() {
    world().all().barrier("all tests are done");
    delete source;
  }
  ~Resharding() override { world().all().barrier("end of test"); }

  // A vocabulary whose matrices ZeRO cuts by rows, into parts of unequal size; more ranks than
  // key/value heads along the tensor axis.
  static Recipe recipe_in(const std::string& layout) {
    Recipe recipe = tiny_recipe(source->directory + "/tokens");
    recipe.model.num_hidden_layers = 4;
    recipe.model.vocab_size = 16404;
    recipe.batch = {.global = 8, .micro = 1};
    recipe.parallel = parse_layout(layout, recipe).parallel;
    return recipe;
  }
  static Communicators communicators(const Recipe& recipe) {
    GridSizes sizes = grid_sizes(recipe.parallel);
    sizes.data = static_cast<int>(recipe.parallel.data);
    return {world(), ProcessGrid(sizes), recipe.model.kv_replicas(recipe.parallel.tensor)};
  }
  static bool bit_equal_to_source(const std::string& layout) {
    const Recipe recipe = recipe_in(layout);
    return class_of(parse_layout(layout, recipe), recipe) ==
           class_of(parse_layout(kSource, recipe), recipe);
  }

  static std::string step_directory(const std::string& root) {
    return source->directory + "/" + root + "/" + step_name(kSteps);
  }
  static void save(const Trainer& trainer, const Communicators& comms, const std::string& root) {
    PosixStorage storage;
    save_checkpoint(storage, comms.world(), source->directory + "/" + root,
                    {"run", kSteps, comms.grid().to_string(), "recipe"}, trainer.state());
  }
  static LoadReport load(Trainer& trainer, const Communicators& comms) {
    PosixStorage storage;
    State state = trainer.state();
    const LoadReport report =
        load_checkpoint(storage, comms.world(), step_directory("source"), state);
    trainer.restore(state);
    return report;
  }
  static std::vector<double> further_losses(Trainer& trainer) {
    std::vector<double> losses;
    for (int step = 0; step < kSteps; ++step) losses.push_back(trainer.step({}).loss);
    return losses;
  }

  // Of each stored box that an entry overlaps: the elements, and the rest of the first and the last
  // checksum block.
  static int64_t most_bytes(const State& state) {
    PosixStorage storage;
    const CheckpointReader reader = CheckpointReader::open(storage, step_directory("source"));
    int64_t bytes = 0;
    for (const StateEntry& entry : state.entries)
      for (const StoredPiece& piece : reader.find(entry.name, entry.role)->pieces) {
        const auto overlap = intersect(piece.box, entry.shard.box);
        if (!overlap) continue;
        const int64_t stored = reader.shards()[piece.shard].boxes[piece.entry].bytes;
        const int64_t wanted = overlap->size() * size_of(entry.tensor.dtype());
        bytes += std::min(stored, wanted + 2 * kBlockBytes);
      }
    return bytes;
  }

  static Source* source;
};

Source* Resharding::source = nullptr;

TEST_P(Resharding, GoesOnFromTheSavedTensors) {
  const Recipe recipe = recipe_in(GetParam());
  const Communicators comms = communicators(recipe);
  if (!comms.member()) return;
  Recipe other_start = recipe;
  other_start.run.seed += 1;
  Trainer trainer(other_start, Device{}, comms);
  EXPECT_FALSE(holds(trainer.state(), source->saved)) << "it starts with other weights";
  const LoadReport report = load(trainer, comms);
  EXPECT_EQ(trainer.steps_done(), kSteps);
  EXPECT_GT(report.bytes, 0);
  EXPECT_LE(report.bytes, most_bytes(trainer.state()));
  EXPECT_TRUE(holds(trainer.state(), source->saved));

  const std::vector<double> losses = further_losses(trainer);
  const Tensors last = gather_tensors(trainer.stream(), comms.world(), trainer.state());
  for (int step = 0; step < kSteps; ++step) {
    const double uninterrupted = source->losses[static_cast<size_t>(step)];
    EXPECT_NEAR(losses[static_cast<size_t>(step)], uninterrupted, 1e-5 * uninterrupted);
  }
  if (!bit_equal_to_source(GetParam())) return;
  EXPECT_EQ(losses, source->losses);
  const bool same = world().rank() > 0 || last == source->last;
  EXPECT_TRUE(same) << "not the uninterrupted run's bits";
}

TEST_P(Resharding, OfflineMakesTheFilesThatTheRanksWouldHaveWritten) {
  const Recipe recipe = recipe_in(GetParam());
  const Communicators comms = communicators(recipe);
  if (!comms.member()) return;
  Trainer trainer(recipe, Device{}, comms);
  load(trainer, comms);
  const std::string name = std::to_string(std::hash<std::string>{}(GetParam()));
  save(trainer, comms, "ranks " + name);
  if (world().rank() > 0) return;

  PosixStorage storage;
  CheckpointReader from = CheckpointReader::open(storage, step_directory("source"));
  const ReshardReport report = reshard(storage, from, recipe,
                                       {.root = source->directory + "/offline " + name,
                                        .num_ranks = comms.grid().num_ranks(),
                                        .recipe = "recipe"});
  EXPECT_EQ(report.directory, step_directory("offline " + name));
  int files = 0;
  for (const auto& file : fs::directory_iterator(step_directory("ranks " + name))) {
    ++files;
    const std::string twin = report.directory + "/" + file.path().filename().string();
    EXPECT_TRUE(read_text(file.path().string()) == read_text(twin)) << twin;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(report.directory), {}), files);
  EXPECT_EQ(CheckpointReader::open(storage, report.directory).manifest().bytes(), report.bytes);
  const int64_t sharing = recipe.parallel.zero > 0 ? recipe.parallel.data : 1;
  EXPECT_LE(report.largest_shard, 5 * report.bytes / (4 * sharing)) << "a part at a time";
}

const std::vector<const char*> kLayouts = {
    "data=1",
    "data=2,zero=1",
    "pipeline=2,schedule=zb_v",
    "tensor=4",
    "data=2,tensor=2,zero=3",
    "pipeline=4,recompute=full",
    "data=8,zero=2",
    "data=2,tensor=4,zero=1",
    "data=2,tensor=2,pipeline=2,zero=2",
    "data=2,tensor=2,pipeline=2,schedule=zb_v,zero=3",
};
INSTANTIATE_TEST_SUITE_P(Layouts, Resharding, testing::ValuesIn(kLayouts));

}  // namespace
}  // namespace tessera::test
