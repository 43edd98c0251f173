// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/writer.h"

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/reader.h"
#include "kernels/base/check.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

constexpr DType kAllTypes[] = {DType::f64,     DType::f32, DType::bf16, DType::f16,
                               DType::f8_e4m3, DType::i32, DType::i64};

using MakeEntry = StateEntry (*)(const std::string&, const std::string&, DType, const ShardSpec&);

State all_types(MakeEntry make) {
  State state;
  for (const DType dtype : kAllTypes)
    state.entries.push_back(
        make(std::string("model.of_") + name(dtype), "param", dtype, ShardSpec::whole({7, 3, 5})));
  state.entries.push_back(make("model.norm.weight", "param", DType::f32, ShardSpec::whole({13})));
  state.entries.push_back(make("model.norm.weight", "exp_avg", DType::f64, ShardSpec::whole({13})));
  return state;
}

void expect_right(const State& state) {
  for (const StateEntry& entry : state.entries)
    EXPECT_EQ(wrong_elements(entry), 0) << entry.name << " " << entry.role;
}

TEST(Writer, BringsBackEveryTypeBitByBit) {
  TemporaryDirectory directory;
  PosixStorage storage;
  run_ranks(1, [&](Communicator& world) {
    State saved = all_types(filled_entry);
    saved.scalars = {{"step", "50"}, {"cursor", "{\"token\": 12345678901234}"}, {"empty", ""}};
    const SaveReport report =
        save_checkpoint(storage, world, directory.checkpoints(), save_info(50), saved);
    EXPECT_EQ(report.directory, directory.checkpoints() + "/step-00000050");
    EXPECT_GT(report.bytes, 0);

    State loaded = all_types(blank_entry);
    loaded.scalars["stale"] = "1";
    const LoadReport load = load_checkpoint(storage, world, report.directory, loaded);
    EXPECT_EQ(load.step, 50);
    expect_right(loaded);
    EXPECT_EQ(loaded.scalars, saved.scalars);
  });
  CheckpointReader reader =
      CheckpointReader::open(storage, directory.checkpoints() + "/step-00000050");
  EXPECT_EQ(reader.manifest().run_id, "run-0123");
  EXPECT_EQ(reader.recipe(), save_info(50).recipe);
  reader.verify_all();
  EXPECT_EQ(storage.list(directory.checkpoints()), std::vector<std::string>{"step-00000050"});
}

// A model cut by rows (dim 0) or columns (dim 1) among `size` ranks, and one replicated tensor.
State cut_model(MakeEntry make, int rank, int size, int dim) {
  State state;
  const auto add = [&](const std::string& name, const std::string& role, DType dtype,
                       const ShardSpec& shard, bool owner) {
    state.entries.push_back(make(name, role, dtype, shard));
    state.entries.back().owner = owner;
  };
  add("layers.0.up", "param", DType::bf16, ShardSpec::whole({37, 29}).split(dim, rank, size), true);
  add("layers.0.up", "master", DType::f32, ShardSpec::whole({37, 29}).split(0, rank, size), true);
  add("layers.1.experts", "param", DType::f16, ShardSpec::whole({6, 11, 4}).split(dim, rank, size),
      true);
  // Fewer rows than ranks, perhaps: some boxes are empty.
  add("layers.1.tiny", "param", DType::i64, ShardSpec::whole({3}).split(0, rank, size), true);
  add("norm", "param", DType::f32, ShardSpec::whole({17}), rank == size - 1);
  return state;
}

TEST(Writer, SavedByFourLoadsOnAnyNumberOfRanksAndCuts) {
  TemporaryDirectory directory;
  PosixStorage storage;
  for (const int saved_dim : {0, 1}) {
    const int64_t step = 10 + saved_dim;
    run_ranks(4, [&](Communicator& world) {
      save_checkpoint(storage, world, directory.checkpoints(), save_info(step),
                      cut_model(filled_entry, world.rank(), 4, saved_dim));
    });
    for (const int size : {1, 2, 3, 5})
      for (const int dim : {0, 1})
        run_ranks(size, [&](Communicator& world) {
          State state = cut_model(blank_entry, world.rank(), size, dim);
          load_checkpoint(storage, world, directory.checkpoints() + "/" + step_name(step), state);
          expect_right(state);  // replicas that are not owners are filled, too
        });
  }
}

TEST(Writer, ReadsABoxThatSpansTwoFilesAndManyBlocks) {
  TemporaryDirectory directory;
  PosixStorage storage;
  constexpr int64_t kRows = 1000, kColumns = 700;  // 5.6 MB: several blocks in each of two files
  const ShardSpec whole = ShardSpec::whole({kRows, kColumns});
  run_ranks(2, [&](Communicator& world) {
    State state;
    state.entries.push_back(
        filled_entry("w", "master", DType::f64, whole.split(0, world.rank(), 2)));
    save_checkpoint(storage, world, directory.checkpoints(), save_info(1), state);
  });
  CheckpointReader reader =
      CheckpointReader::open(storage, directory.checkpoints() + "/step-00000001");
  for (const ShardSpec& box : {whole, whole.split(0, 1, 3), whole.split(1, 2, 3),
                               whole.split(0, 1, 3).split(1, 1, 4), whole.rows(499, 2)}) {
    StateEntry entry = blank_entry("w", "master", DType::f64, box);
    reader.read("w", "master", box.box, entry.tensor);
    EXPECT_EQ(wrong_elements(entry), 0) << to_string(box.box);
  }
  const int64_t before = reader.bytes_read();
  StateEntry one_row = blank_entry("w", "master", DType::f64, whole.rows(3, 1));
  reader.read("w", "master", one_row.shard.box, one_row.tensor);
  EXPECT_EQ(reader.bytes_read() - before, int64_t{1} << 20) << "one row costs one block";
}

TEST(Writer, OneRankMayOwnSeveralBoxesOfOneTensor) {
  TemporaryDirectory directory;
  PosixStorage storage;
  run_ranks(1, [&](Communicator& world) {
    const ShardSpec whole = ShardSpec::whole({10, 4});
    State state;
    for (int64_t part = 0; part < 3; ++part)
      state.entries.push_back(filled_entry("w", "param", DType::f32, whole.split(0, part, 3)));
    save_checkpoint(storage, world, directory.checkpoints(), save_info(1), state);
    State loaded;
    loaded.entries.push_back(blank_entry("w", "param", DType::f32, whole));
    load_checkpoint(storage, world, directory.checkpoints() + "/step-00000001", loaded);
    expect_right(loaded);
  });
}

// The message of the Error that `work` throws, after checking its kind.
template <typename Work>
std::string error_of(ErrorKind kind, Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(name(error.kind()), std::string(name(kind))) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

TEST(Writer, RefusesAStateWithHolesOrTwoOwnersOnEveryRank) {
  TemporaryDirectory directory;
  PosixStorage storage;
  std::vector<std::string> messages(3);
  const auto save = [&](auto&& change) {
    run_ranks(3, [&](Communicator& world) {
      State state = cut_model(filled_entry, world.rank(), 3, 0);
      change(world.rank(), state);
      messages[static_cast<size_t>(world.rank())] = error_of(ErrorKind::internal, [&] {
        save_checkpoint(storage, world, directory.checkpoints(), save_info(1), state);
      });
    });
    EXPECT_EQ(messages[0], messages[1]);
    EXPECT_EQ(messages[0], messages[2]);
    return messages[0];
  };
  EXPECT_NE(save([](int, State& s) { s.entries.back().owner = true; }).find("both hold"),
            std::string::npos);
  EXPECT_NE(save([](int, State& s) { s.entries.back().owner = false; }).find("has no owner"),
            std::string::npos);
  EXPECT_NE(save([](int rank, State& s) { s.entries[0].owner = rank != 1; }).find("only"),
            std::string::npos);
  EXPECT_NE(save([](int rank, State& s) { s.scalars["x"] = std::to_string(rank); }).find("scalars"),
            std::string::npos);
  EXPECT_NE(save([](int, State& s) { s.entries[0].name = "../evil"; }).find("../evil"),
            std::string::npos);
  EXPECT_FALSE(storage.exists(directory.checkpoints()) &&
               !storage.list(directory.checkpoints()).empty());
}

TEST(Writer, ASecondSaveOfAStepReplacesTheFirst) {
  TemporaryDirectory directory;
  PosixStorage storage;
  run_ranks(2, [&](Communicator& world) {
    State state = cut_model(filled_entry, world.rank(), 2, 0);
    for (const char* attempt : {"first", "second"}) {
      state.scalars["attempt"] = attempt;
      save_checkpoint(storage, world, directory.checkpoints(), save_info(7), state);
    }
  });
  EXPECT_EQ(storage.list(directory.checkpoints()), std::vector<std::string>{"step-00000007"});
  EXPECT_EQ(CheckpointReader::open(storage, directory.checkpoints() + "/step-00000007")
                .scalars()
                .at("attempt"),
            "second");
}

TEST(Writer, IsStrictAboutMissingAndUnexpectedUnlessTold) {
  TemporaryDirectory directory;
  PosixStorage storage;
  const std::string step = directory.checkpoints() + "/step-00000001";
  run_ranks(2, [&](Communicator& world) {
    save_checkpoint(storage, world, directory.checkpoints(), save_info(1),
                    cut_model(filled_entry, world.rank(), 2, 0));
    State more = cut_model(blank_entry, world.rank(), 2, 0);
    if (world.rank() == 1)
      more.entries.push_back(blank_entry("extra", "param", DType::f32, ShardSpec::whole({2})));
    const std::string missing =
        error_of(ErrorKind::usage, [&] { load_checkpoint(storage, world, step, more); });
    EXPECT_NE(missing.find("extra (param)"), std::string::npos) << missing;
    const LoadReport report = load_checkpoint(storage, world, step, more, {.allow_missing = true});
    EXPECT_EQ(report.missing.size(), static_cast<size_t>(world.rank()));

    State fewer = cut_model(blank_entry, world.rank(), 2, 0);
    fewer.entries.pop_back();
    const std::string unexpected =
        error_of(ErrorKind::usage, [&] { load_checkpoint(storage, world, step, fewer); });
    EXPECT_NE(unexpected.find("norm (param)"), std::string::npos) << unexpected;
    EXPECT_EQ(
        load_checkpoint(storage, world, step, fewer, {.allow_unexpected = true}).unexpected.size(),
        1u);

    State weights = cut_model(blank_entry, world.rank(), 2, 0);
    std::erase_if(weights.entries, [](const StateEntry& e) { return e.role != "param"; });
    weights.scalars["mine"] = "kept";
    load_checkpoint(storage, world, step, weights, {.roles = {"param"}});
    expect_right(weights);
    EXPECT_EQ(weights.scalars.at("mine"), "kept");

    State reshaped = cut_model(blank_entry, world.rank(), 2, 0);
    reshaped.entries.back() = blank_entry("norm", "param", DType::f32, ShardSpec::whole({18}));
    EXPECT_NE(error_of(ErrorKind::usage, [&] { load_checkpoint(storage, world, step, reshaped); })
                  .find("[17] but the model wants [18]"),
              std::string::npos);
    State retyped = cut_model(blank_entry, world.rank(), 2, 0);
    retyped.entries.back() = blank_entry("norm", "param", DType::bf16, ShardSpec::whole({17}));
    EXPECT_NE(error_of(ErrorKind::usage, [&] { load_checkpoint(storage, world, step, retyped); })
                  .find("stored as f32 but wanted as bf16"),
              std::string::npos);
  });
}

TEST(Writer, ACheckpointThatIsNotThereIsOneClearError) {
  PosixStorage storage;
  EXPECT_NE(error_of(ErrorKind::checkpoint,
                     [&] { CheckpointReader::open(storage, "/nowhere/step-00000001"); })
                .find("no checkpoint here"),
            std::string::npos);
}

TEST(Writer, ADirectoryThatCannotBeWrittenIsAStorageErrorOnEveryRank) {
  TemporaryDirectory directory;
  std::ofstream(directory.path() + "/checkpoints") << "a file stands in the way";
  PosixStorage storage;
  run_ranks(2, [&](Communicator& world) {
    const std::string message = error_of(ErrorKind::storage, [&] {
      save_checkpoint(storage, world, directory.checkpoints(), save_info(1),
                      cut_model(filled_entry, world.rank(), 2, 0));
    });
    EXPECT_NE(message.find("Not a directory"), std::string::npos) << message;
  });
}

}  // namespace
}  // namespace tessera
