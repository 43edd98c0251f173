// SPDX-License-Identifier: Apache-2.0
// Cuts the power, or fails the disk, at every single call that a run of saves and deletions makes,
// and then looks at every disk that the storage's promises allow to be found. See also
// https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai (ALICE).
#include <cerrno>
#include <optional>

#include <gtest/gtest.h>

#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/faulty_storage.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

constexpr const char* kRoot = "run/checkpoints";

State state_at(int64_t step, int rank, int size) {
  const std::string salt = std::to_string(step);
  const ShardSpec part = ShardSpec::whole({12, 5}).split(0, rank, size);
  State state;
  state.entries.push_back(salted_entry("w", "param", DType::bf16, part, salt));
  state.entries.push_back(salted_entry("w", "exp_avg", DType::f32, part, salt));
  state.entries.push_back(salted_entry("n", "param", DType::f32, ShardSpec::whole({7}), salt));
  state.entries.back().owner = rank == 0;
  state.scalars["step"] = salt;
  return state;
}

void save(Storage& storage, Communicator& world, int64_t step) {
  save_checkpoint(storage, world, kRoot, save_info(step),
                  state_at(step, world.rank(), world.size()));
}

// What a run does to its disk: saves, one of them again, and deletions. `saved` is the last step
// whose save has returned.
void run(Storage& storage, Communicator& world, int64_t& saved) {
  for (const int64_t step : {20, 30, 30, 40}) {
    save(storage, world, step);
    saved = step;
    apply_retention(storage, kRoot, {.last = 2});
  }
}

// Looks at a disk found after a restart. The first promise that is broken, or nothing.
std::string broken_promise(FaultyStorage& disk, Communicator& world, int64_t saved, bool replacing,
                           bool go_on = true) {
  for (const std::string& name : disk.list(kRoot)) {
    const std::string directory = std::string(kRoot) + "/" + name;
    // COMMIT means complete, wherever it stands: by itself, not thanks to the other checks.
    if (!disk.exists(directory + "/COMMIT")) continue;
    std::optional<CheckpointReader> reader;
    try {
      reader.emplace(CheckpointReader::open(disk, directory));
    } catch (const Error& error) {
      return std::string("COMMIT, but ") + error.what();
    }
    const std::optional<int64_t> step = parse_step_name(name);
    if (!step) continue;
    const std::vector<std::string> damage = reader->find_damage();
    if (!damage.empty()) return "looks valid but is not: " + damage.front();
    State state = state_at(0, 0, 1);
    load_checkpoint(disk, world, reader->directory(), state);
    for (const StateEntry& entry : state.entries)
      if (wrong_elements(entry, std::to_string(*step)) != 0) return "wrong content in " + name;
    if (state.scalars.at("step") != std::to_string(*step)) return "wrong scalars in " + name;
  }
  const std::optional<int64_t> newest = newest_valid(disk, kRoot).step;
  if (!newest) return "no valid checkpoint";
  // While a step is saved again, the one before it is what remains.
  if (*newest < saved && !replacing)
    return "step " + std::to_string(saved) + " was saved, but the newest valid is " +
           std::to_string(*newest);
  if (!go_on) return {};
  // Life goes on: dead directories are swept, the next save works.
  apply_retention(disk, kRoot, {.last = 1});
  save(disk, world, 50);
  if (newest_valid(disk, kRoot).step != 50) return "cannot save after the restart";
  return {};
}

constexpr uint64_t kFirstRandom = 3;  // seeds below are the three survivals without chance
constexpr uint64_t kDisksOfACut = 9;

struct Outcome {
  int64_t calls = 0;  // at which the power was cut
  int64_t disks = 0;  // looked at
  std::vector<std::string> broken;
};

Outcome cut_power_everywhere(bool honest) {
  log::set_console(log::Level::error, false);
  Outcome outcome;
  run_ranks(1, [&](Communicator& world) {
    for (int64_t call = 1;; ++call) {
      FaultyStorage disk;
      save(disk, world, 10);
      if (!honest) disk.forget_directory_syncs();
      disk.lose_power_at(call);
      int64_t saved = 10;
      bool finished = false;
      try {
        run(disk, world, saved);
        finished = true;
      } catch (const Error& error) {
        ASSERT_EQ(error.kind(), ErrorKind::storage) << error.what();
      }
      for (uint64_t seed = 0; seed < kDisksOfACut; ++seed) {
        const Survival survival =
            seed < kFirstRandom ? static_cast<Survival>(seed) : Survival::random;
        FaultyStorage found = disk.restarted(survival, seed);
        ++outcome.disks;
        // Step 30 is saved a second time after it was saved once.
        const bool replacing = saved == 30;
        const std::string broken =
            broken_promise(found, world, saved, replacing, seed <= kFirstRandom);
        if (!broken.empty())
          outcome.broken.push_back("power lost at call " + std::to_string(call) + ", seed " +
                                   std::to_string(seed) + ": " + broken);
      }
      outcome.calls = call;
      if (finished || (!honest && !outcome.broken.empty())) return;
    }
  });
  return outcome;
}

TEST(Crash, NoPowerCutLosesASavedCheckpointOrShowsABrokenOne) {
  const Outcome outcome = cut_power_everywhere(true);
  EXPECT_TRUE(outcome.broken.empty())
      << outcome.broken.size() << " of " << outcome.disks << "; first: " << outcome.broken.front();
  EXPECT_GT(outcome.calls, 200);
  RecordProperty("calls", std::to_string(outcome.calls));
  std::printf("power cut at each of %ld calls, %ld disks looked at\n",
              static_cast<long>(outcome.calls), static_cast<long>(outcome.disks));
}

TEST(Crash, TheTestItselfNoticesADiskThatForgetsDirectories) {
  EXPECT_FALSE(cut_power_everywhere(false).broken.empty());
}

// One call fails (or the disk is full from there on) while two ranks save step 20.
void expect_older_survives(const std::function<void(FaultyStorage&, int64_t call)>& plan) {
  log::set_console(log::Level::error, false);
  bool reached = true;  // the call that was to fail was made
  for (int64_t call = 1; reached; ++call) {
    FaultyStorage disk;
    std::vector<std::string> messages(2);
    run_ranks(2, [&](Communicator& world) {
      save(disk, world, 10);
      world.barrier();
      if (world.rank() == 0) plan(disk, call);
      world.barrier();
      try {
        save(disk, world, 20);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::storage) << error.what();
        messages[static_cast<size_t>(world.rank())] = error.what();
      }
    });
    reached = disk.calls() >= call;
    EXPECT_TRUE(reached || call > 40) << "a save makes more calls than this";
    EXPECT_EQ(messages[0], messages[1]) << "call " << call;
    FaultyStorage later = disk.restarted(Survival::everything);
    run_ranks(1, [&](Communicator& world) {
      // A save that failed is not there; one that returned is whole. Either way a run goes on.
      const std::optional<int64_t> newest = newest_valid(later, kRoot, {.verify_data = true}).step;
      EXPECT_EQ(newest, messages[0].empty() ? 20 : 10) << "call " << call << " " << messages[0];
      EXPECT_EQ(committed_steps(later, kRoot).front(), 10);
      const std::string broken = broken_promise(later, world, 10, false);
      EXPECT_EQ(broken, "") << "call " << call;
    });
  }
}

TEST(Crash, AFullDiskIsAnErrorAndLeavesOlderCheckpoints) {
  expect_older_survives([](FaultyStorage& disk, int64_t call) { disk.run_full_at(call); });
}

TEST(Crash, OneFailingCallIsAnErrorAndLeavesOlderCheckpoints) {
  for (const int code : {EIO, ENOSPC, EROFS})
    expect_older_survives([&](FaultyStorage& disk, int64_t call) { disk.fail_at(call, code); });
}

TEST(Crash, AReadErrorWhileLoadingIsTheSameErrorOnEveryRank) {
  FaultyStorage disk;
  run_ranks(2, [&](Communicator& world) { save(disk, world, 10); });
  int failures = 0;
  for (int64_t call = 1; call <= 40; ++call) {
    std::vector<std::string> messages(3);
    run_ranks(3, [&](Communicator& world) {
      if (world.rank() == 0) disk.fail_at(call, EIO);
      world.barrier();
      State state = state_at(0, world.rank(), 3);
      try {
        load_checkpoint(disk, world, std::string(kRoot) + "/" + step_name(10), state);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::storage);
        messages[static_cast<size_t>(world.rank())] = error.what();
      }
    });
    EXPECT_EQ(messages[0], messages[1]);
    EXPECT_EQ(messages[0], messages[2]);
    failures += !messages[0].empty();
  }
  EXPECT_GT(failures, 15);
}

}  // namespace
}  // namespace tessera
