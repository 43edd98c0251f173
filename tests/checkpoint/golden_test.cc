// SPDX-License-Identifier: Apache-2.0
// Checkpoints of every format ever released load for ever. The files of format 1 are in
// tests/golden/checkpoint_format_1 and are never written again; its README says how they were made.
#include <cstdlib>

#include <gtest/gtest.h>

#include "checkpoint/load.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

const std::string kGolden = std::string(TESSERA_SOURCE_DIR) + "/tests/golden/checkpoint_format_1";

// Every dtype, row and column cuts, a name with a slash, two boxes of one tensor on one rank.
State golden_state(StateEntry (*make)(const std::string&, const std::string&, DType,
                                      const ShardSpec&),
                   int rank, int size) {
  State state;
  int dim = 0;
  for (const DType dtype :
       {DType::f64, DType::f32, DType::bf16, DType::f16, DType::f8_e4m3, DType::i32, DType::i64})
    state.entries.push_back(make(std::string("layers.0.of_") + name(dtype), "param", dtype,
                                 ShardSpec::whole({5, 3}).split(dim++ % 2, rank, size)));
  const ShardSpec experts = ShardSpec::whole({4, 2, 3}).split(0, rank, size);
  state.entries.push_back(make("experts/up", "exp_avg", DType::f32, experts.split(2, 0, 2)));
  state.entries.push_back(make("experts/up", "exp_avg", DType::f32, experts.split(2, 1, 2)));
  state.entries.push_back(make("norm", "param", DType::f32, ShardSpec::whole({11})));
  state.entries.back().owner = rank == 0;
  state.scalars = {{"step", "7"}, {"cursor", "{\"epoch\":1,\"token\":99}"}, {"é", "ü\n\"\\"}};
  return state;
}

TEST(Golden, Format1LoadsOnAnyNumberOfRanks) {
  PosixStorage storage;
  const std::string directory = kGolden + "/step-00000007";
  CheckpointReader reader = CheckpointReader::open(storage, directory);
  EXPECT_EQ(reader.manifest().version, 1);
  EXPECT_EQ(reader.manifest().run_id, "run-0123");
  EXPECT_EQ(reader.manifest().writers.size(), 2u);
  EXPECT_EQ(reader.recipe(), save_info(7).recipe);
  EXPECT_TRUE(reader.find_damage().empty());
  for (const int size : {1, 2, 3})
    run_ranks(size, [&](Communicator& world) {
      State state = golden_state(blank_entry, world.rank(), size);
      const auto scalars = state.scalars;
      state.scalars.clear();
      load_checkpoint(storage, world, directory, state);
      for (const StateEntry& entry : state.entries)
        EXPECT_EQ(wrong_elements(entry), 0) << entry.name;
      EXPECT_EQ(state.scalars, scalars);
    });
}

// This makes the files of a new format, once, into the new directory $GOLDEN_DIRECTORY:
// checkpoint_tests --gtest_also_run_disabled_tests --gtest_filter=*MakesTheFiles
TEST(Golden, DISABLED_MakesTheFiles) {
  const char* directory = std::getenv("GOLDEN_DIRECTORY");
  ASSERT_NE(directory, nullptr);
  PosixStorage storage;
  run_ranks(2, [&](Communicator& world) {
    save_checkpoint(storage, world, directory, save_info(7),
                    golden_state(filled_entry, world.rank(), 2));
  });
}

}  // namespace
}  // namespace tessera
