// SPDX-License-Identifier: Apache-2.0
// Thousands of damaged and hostile checkpoints. Each is refused with an Error that names the file,
// or holds what was saved, to the bit: none is accepted with other values, none crashes, hangs, or
// takes memory because a number in a file says so.
//   TESSERA_MUTATIONS=100000        how many; the test with the label `long` does that
//   TESSERA_MUTATION_SEED=7         other mutants; a failure prints the seed and the mutant's
//   number
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "checkpoint/load.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "checkpoint/writer.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "tests/support/checkpoint_mutants.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

using test::Files;
using test::Instead;
using test::Mutant;

constexpr int kWriters = 3;
constexpr int64_t kOlder = 10, kStep = 20;

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// Sanitizers reserve terabytes of addresses and report crashes themselves, so limits on memory and
// handlers of signals are left to plain builds.
constexpr bool kSanitized = sizeof(TESSERA_SANITIZERS) > 1;

// A mutant takes a millisecond; this only ends a hang.
constexpr unsigned kHangSeconds = 120;
char doing[96];  // a signal handler prints it

extern "C" void tell_and_die(int number) {
  const char* what = number == SIGALRM ? "hang: " : "crash: ";
  if (::write(STDERR_FILENO, what, std::strlen(what)) < 0 ||
      ::write(STDERR_FILENO, doing, std::strlen(doing)) < 0)
    ::_exit(1);
  std::signal(number, SIG_DFL);
  ::raise(number);
}

class Watch {
 public:
  Watch() {
    std::signal(SIGALRM, tell_and_die);
    if (kSanitized) return;  // it tells of crashes better
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT}) std::signal(number, tell_and_die);
  }
  ~Watch() {
    ::alarm(0);
    for (const int number : {SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGABRT})
      if (number == SIGALRM || !kSanitized) std::signal(number, SIG_DFL);
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  void next(uint64_t seed, uint64_t mutant) {
    std::snprintf(doing, sizeof doing, "TESSERA_MUTATION_SEED=%llu, mutant %llu\n",
                  static_cast<unsigned long long>(seed), static_cast<unsigned long long>(mutant));
    ::alarm(kHangSeconds);
  }
};

constexpr int64_t kMostMemory = int64_t{128} << 20;
constexpr rlim_t kRoom = rlim_t{512} << 20;  // above what the process has mapped already

// An allocation far beyond the files' size fails, so that it ends in bad_alloc, which no mutant
// may.
class MemoryLimit {
 public:
  MemoryLimit() {
    std::ifstream in("/proc/self/statm");
    rlim_t pages = 0;
    in >> pages;
    ::getrlimit(RLIMIT_AS, &before_);
    rlimit limit = before_;
    limit.rlim_cur =
        std::min(before_.rlim_max, pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + kRoom);
    if (!kSanitized) ::setrlimit(RLIMIT_AS, &limit);
  }
  ~MemoryLimit() { ::setrlimit(RLIMIT_AS, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_ = {};
};

int64_t peak_bytes() {
  rusage use = {};
  ::getrusage(RUSAGE_SELF, &use);
  return int64_t{use.ru_maxrss} << 10;
}

// Three ranks' boxes, cut by rows and by columns, tensors that one rank holds alone, several types.
State state_of(StateEntry (*make)(const std::string&, const std::string&, DType, const ShardSpec&),
               int rank, int size) {
  State state;
  const auto split = [&](std::vector<int64_t> shape, int dim) {
    return ShardSpec::whole(std::move(shape)).split(dim, rank, size);
  };
  state.entries.push_back(make("embed", "param", DType::bf16, split({40, 11}, 0)));
  state.entries.push_back(make("embed", "exp_avg", DType::f32, split({40, 11}, 0)));
  state.entries.push_back(make("layers.0/up", "param", DType::f32, split({6, 9}, 1)));
  state.entries.push_back(make("layers.1/up", "param", DType::f32, split({6, 9}, 1)));
  state.entries.push_back(make("norm", "param", DType::f32, ShardSpec::whole({11})));
  state.entries.back().owner = rank == 0;
  state.entries.push_back(make("counts", "state", DType::i64, ShardSpec::whole({2, 3, 1})));
  state.entries.back().owner = rank == size - 1;
  state.scalars = {{"step", "20"}, {"cursor", "{\"epoch\":1,\"token\":99}"}, {"é", "ü\n\"\\"}};
  return state;
}

// This is all that a checkpoint says of a run.
struct Content {
  std::map<std::string, std::string> tensors;  // bytes by name, role, type and shape
  std::map<std::string, std::string> scalars;
  std::string facts;
  bool operator==(const Content& other) const {
    return tensors == other.tensors && scalars == other.scalars && facts == other.facts;
  }
};

Content content_of(CheckpointReader& reader) {
  Content content;
  for (const GlobalTensor& tensor : reader.tensors()) {
    std::string key = tensor.name + " " + tensor.role + " " + name(tensor.dtype);
    for (const int64_t extent : tensor.global_shape) key += " " + std::to_string(extent);
    const Tensor whole = reader.read_whole(tensor);
    content.tensors[key].assign(static_cast<const char*>(whole.data()),
                                static_cast<size_t>(whole.bytes()));
  }
  content.scalars = reader.scalars();
  const Manifest& manifest = reader.manifest();
  content.facts = manifest.run_id + " " + std::to_string(manifest.step) + " " +
                  std::to_string(manifest.generation) + " " + std::to_string(manifest.base) + " " +
                  manifest.layout + " " + manifest.recipe;
  return content;
}

class Mutation : public testing::Test {
 protected:
  void SetUp() override {
    log::set_console(log::Level::error, false);
    for (const int64_t step : {kOlder, kStep})
      run_ranks(kWriters, [&](Communicator& world) {
        SaveInfo info = save_info(step);
        info.generation = 3;
        info.base = 0;
        save_checkpoint(
            storage_, world, root_, info,
            state_of(step == kStep ? filled_entry : older_entry, world.rank(), world.size()));
      });
    older_ = test::read_files(root_ + "/step-00000010");
    sound_ = test::read_files(directory_);
    CheckpointReader reader = CheckpointReader::open(storage_, directory_);
    saved_ = content_of(reader);
    ASSERT_EQ(saved_.tensors.size(), 6u);
    ASSERT_EQ(sound_.size(), 2u + 2u * kWriters);
  }
  static StateEntry older_entry(const std::string& name, const std::string& role, DType dtype,
                                const ShardSpec& shard) {
    return salted_entry(name, role, dtype, shard, "older");
  }

  // Opens and reads everything; nullopt when that is not refused.
  std::optional<Error> refusal(Content& found) {
    try {
      CheckpointReader reader = CheckpointReader::open(storage_, directory_);
      found = content_of(reader);
      return std::nullopt;
    } catch (const Error& error) {
      return error;
    }
  }
  std::optional<Error> refusal_by_two_ranks() {
    try {
      run_ranks(2, [&](Communicator& world) {
        State state = state_of(blank_entry, world.rank(), world.size());
        state.scalars.clear();
        load_checkpoint(storage_, world, directory_, state);
        for (const StateEntry& entry : state.entries)
          EXPECT_EQ(wrong_elements(entry), 0) << entry.name;
      });
      return std::nullopt;
    } catch (const Error& error) {
      return error;
    }
  }
  std::optional<Error> damage() {
    try {
      CheckpointReader::open(storage_, directory_).verify_all();
      return std::nullopt;
    } catch (const Error& error) {
      return error;
    }
  }

  static bool is_dead_link(const Mutant& mutant) {
    const Instead instead = mutant.changes.front().instead;
    return instead == Instead::link_to_nowhere || instead == Instead::link_to_itself;
  }
  // A link without a target may be a disk that is not mounted now: storage, not damage.
  void expect_well_refused(const Mutant& mutant, const Error& error) const {
    EXPECT_EQ(error.kind(), is_dead_link(mutant) ? ErrorKind::storage : ErrorKind::checkpoint)
        << error.what();
    const std::string text = error.what();
    const bool named = std::any_of(
        mutant.changes.begin(), mutant.changes.end(),
        [&](const test::Change& change) { return text.find(change.file) != std::string::npos; });
    // Sealed shards may contradict each other; then the directory is named.
    EXPECT_TRUE(named || (mutant.sealed && text.find(directory_) != std::string::npos)) << text;
    EXPECT_LT(text.size(), 4096u) << text.substr(0, 200);
  }

  // `number` is the mutant's: the dearer questions are asked of some.
  void judge(const Mutant& mutant, uint64_t number) {
    Content found;
    const std::optional<Error> refused = refusal(found);
    const bool changed = mutant.changes_bytes(sound_);
    Count& count = counts_[mutant.kind];
    if (refused) {
      ++count.refused;
      EXPECT_TRUE(changed) << "a sound checkpoint was refused";
      expect_well_refused(mutant, *refused);
    } else {
      ++(changed ? count.harmless : count.unchanged);
      EXPECT_EQ(found.tensors, saved_.tensors) << "accepted with other values";
      EXPECT_TRUE(mutant.sealed || found == saved_) << "accepted as another checkpoint";
    }
    if (!mutant.sealed && !refused) {
      // HDF5's own bytes are not loaded; a damaged one is found by whoever verifies.
      const std::optional<Error> damaged = damage();
      EXPECT_EQ(damaged.has_value(), changed);
      if (damaged) expect_well_refused(mutant, *damaged);
    }
    if (number % 8 == 0) {
      const std::optional<Error> together = refusal_by_two_ranks();
      EXPECT_EQ(together.has_value(), refused.has_value()) << (together ? together->what() : "");
      if (together) expect_well_refused(mutant, *together);
    }
    if (number % 4 == 0 && !mutant.sealed && !is_dead_link(mutant)) {
      const NewestCheckpoint newest = newest_valid(storage_, root_, {.verify_data = true});
      EXPECT_EQ(newest.step, changed ? kOlder : kStep);
    }
  }

  struct Count {
    int64_t refused = 0;
    int64_t harmless = 0;   // other bytes, the same checkpoint
    int64_t unchanged = 0;  // the same bytes: a run of zeros over zeros, a link to a copy
  };
  void print_counts() const {
    std::printf("%-40s %8s %9s %10s\n", "mutants", "refused", "harmless", "unchanged");
    Count sum;
    const auto print = [](const std::string& kind, const Count& count) {
      std::printf("%-40s %8ld %9ld %10ld\n", kind.c_str(), static_cast<long>(count.refused),
                  static_cast<long>(count.harmless), static_cast<long>(count.unchanged));
    };
    for (const auto& [kind, count] : counts_) {
      print(kind, count);
      sum.refused += count.refused;
      sum.harmless += count.harmless;
      sum.unchanged += count.unchanged;
    }
    print("in all", sum);
  }

  TemporaryDirectory temporary_;
  std::string root_ = temporary_.checkpoints();
  std::string directory_ = root_ + "/step-00000020";
  PosixStorage storage_;
  Files sound_, older_;
  Content saved_;
  std::map<std::string, Count> counts_;
};

TEST_F(Mutation, NoMutantIsAcceptedWithOtherValuesOrDoesHarm) {
  const uint64_t seed = number_from("TESSERA_MUTATION_SEED", 20261130);
  const uint64_t mutants = number_from("TESSERA_MUTATIONS", 5000);
  const int64_t peak_before = peak_bytes();
  double slowest = 0;
  {
    Watch watch;
    const MemoryLimit limit;
    for (uint64_t number = 1; number <= mutants && !HasFailure(); ++number) {
      std::mt19937_64 random(seed * 1'000'003 + number);
      const Mutant mutant = test::draw_mutant(sound_, older_, random);
      SCOPED_TRACE("TESSERA_MUTATION_SEED=" + std::to_string(seed) + ", mutant " +
                   std::to_string(number) + ": " + mutant.kind + " of " +
                   mutant.changes.front().file);
      watch.next(seed, number);
      test::put(mutant, sound_, directory_);
      const auto start = std::chrono::steady_clock::now();
      try {
        judge(mutant, number);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "no Error of ours: " << error.what();
      }
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      slowest = std::max(slowest, took.count());
      test::bring_back(mutant, sound_, directory_);
    }
  }
  print_counts();
  const int64_t more = peak_bytes() - peak_before;
  std::printf("slowest %.3f s, memory %ld KiB more than before\n", slowest,
              static_cast<long>(more >> 10));
  EXPECT_TRUE(kSanitized || more < kMostMemory) << more;
  EXPECT_FALSE(damage()) << "what was changed was brought back";
}

}  // namespace
}  // namespace tessera
