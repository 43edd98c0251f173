// SPDX-License-Identifier: Apache-2.0
// `tessera bench io`: how fast all ranks together write and read a checkpoint in a directory, from
// the disk, beside the least that could be done, which is write() of the same bytes and fsync().
// What is written is removed, unless a rank fails and the job with it.
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "kernels/base/random.h"
#include "launch/bench/bench.h"
#include "launch/job/in_world.h"
#include "launch/report/format.h"

namespace tessera {
namespace {

constexpr int64_t kMebi = int64_t{1} << 20;

// What a rank of a model has: large matrices and a norm for each, of random bits, so that no file
// system makes them smaller.
State state_of(const World& world, DType dtype, int64_t mebibytes) {
  constexpr int64_t kRows = 1024, kColumns = 4096;
  const int64_t matrix = kRows * kColumns * size_of(dtype) / kMebi;
  const Philox philox{1, static_cast<uint64_t>(world.rank())};
  State state;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape, const Tensor& tensor) {
    auto* words = static_cast<uint32_t*>(tensor.data());
    for (int64_t i = 0; i < tensor.bytes() / 4; ++i)
      words[i] = static_cast<uint32_t>(philox.bits(static_cast<uint64_t>(i)));
    state.entries.push_back({.name = name,
                             .role = "master",
                             .tensor = tensor,
                             .shard = ShardSpec::whole(std::move(shape)),
                             .owner = true});
  };
  for (int64_t i = 0; i < std::max<int64_t>(1, mebibytes / matrix); ++i) {
    const std::string layer =
        "rank" + std::to_string(world.rank()) + ".layers." + std::to_string(i) + ".";
    add(layer + "weight", {kRows, kColumns}, Tensor({}, dtype, {kRows, kColumns}));
    add(layer + "norm", {kColumns}, Tensor({}, dtype, {kColumns}));
  }
  return state;
}
int64_t bytes_of(const State& state) {
  int64_t bytes = 0;
  for (const StateEntry& entry : state.entries) bytes += entry.tensor.bytes();
  return bytes;
}

// A directory of all ranks' own in `parent`, gone with this object.
class Scratch {
 public:
  Scratch(const World& world, Storage& storage, const std::string& parent)
      : path_(parent + "/" + world.all().broadcast(".tessera-bench-" + unique_suffix(), 0)),
        owner_(world.rank() == 0) {
    if (owner_) storage.make_directory(path_);
    world.all().barrier();
  }
  ~Scratch() {
    std::error_code ignored;
    if (owner_) std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  bool owner_;
};

void write_plainly(Storage& storage, const std::string& path, const State& state) {
  const auto file = storage.create(path);
  int64_t at = 0;
  for (const StateEntry& entry : state.entries) {
    file->write(at, entry.tensor.data(), entry.tensor.bytes());
    at += entry.tensor.bytes();
  }
  file->sync();
  file->close();
}

// Asks the system to forget the pages of what lies on disk, so that reading means the disk.
void forget_pages(const std::string& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const int file = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    ::close(file);
  }
}

// All ranks find room for their parts in memory and on the disk, or none goes on.
void check_disk_and_memory(World& world, int64_t mebibytes, const std::string& parent) {
  in_agreement(world, "room", [&] {
    const double bytes = static_cast<double>(mebibytes) * static_cast<double>(kMebi);
    check_room("bench io: --mib " + std::to_string(mebibytes) + " on " +
                   std::to_string(world.local_size()) + " rank(s)",
               bytes * world.local_size(), {});
    std::error_code unknown;
    const auto disk = std::filesystem::space(parent, unknown);
    check(unknown || bytes * world.size() <= static_cast<double>(disk.available),
          ErrorKind::storage,
          "bench io: --mib " + std::to_string(mebibytes) + " on " + std::to_string(world.size()) +
              " rank(s) would need " + as_binary_bytes(bytes * world.size()) + " in " + parent +
              ", which has " + as_binary_bytes(static_cast<double>(disk.available)) + " free");
  });
}

}  // namespace

int bench_io(const BenchCommand& command, DType dtype) {
  World world;
  Stream stream{Device{}};
  PosixStorage storage;
  constexpr int64_t kMebibytes = 256;
  const int64_t mebibytes = command.mebibytes > 0 ? command.mebibytes : kMebibytes;
  const std::string parent = command.directory.empty() ? "." : command.directory;
  check_disk_and_memory(world, mebibytes, parent);
  const Scratch scratch(world, storage, parent);
  State state = state_of(world, dtype, mebibytes);
  const double bytes = static_cast<double>(bytes_of(state)) * world.size();
  const std::string of = std::to_string(bytes_of(state) / kMebi) + " MiB a rank, " +
                         std::to_string(world.size()) + " ranks";
  std::vector<BenchCase> large = {{"written, " + of, bytes, {}},
                                  {"checkpoint saved, " + of, bytes, {}},
                                  {"checkpoint loaded, " + of, bytes, {}},
                                  {"checkpoint verified by one rank", bytes, {}}};
  constexpr double kPerMillisecond = 1e6;  // of the giga that report() shows
  std::vector<BenchCase> small = {{"4 KiB written, synced and renamed", kPerMillisecond, {}}};
  const auto time = [&](BenchCase& of_case, const std::function<void()>& work) {
    world.all().barrier();
    of_case.seconds.push_back(seconds_of(stream, [&] {
      work();
      world.all().barrier();  // the slowest rank counts
    }));
  };
  const std::string mine = scratch / ("plain-" + std::to_string(world.rank()));
  for (int round = 0; round <= command.rounds; ++round) {
    time(large[0], [&] { write_plainly(storage, mine, state); });
    storage.remove(mine);
    const SaveInfo info{.run_id = "bench", .step = round + 1, .layout = "bench", .recipe = {}};
    std::string saved;
    time(large[1], [&] {
      saved = save_checkpoint(storage, world.all(), scratch / "checkpoints", info, state).directory;
    });
    forget_pages(saved);
    time(large[2], [&] { load_checkpoint(storage, world.all(), saved, state); });
    forget_pages(saved);
    time(large[3], [&] {
      if (world.rank() == 0) CheckpointReader::open(storage, saved).verify_all();
    });
    if (world.rank() == 0) storage.remove_directory(saved, is_checkpoint_file, kCommitName);
    time(small[0], [&] {
      write_file(storage, mine, std::string(4096, 'x'));
      storage.rename(mine, mine + ".there");
      storage.sync_directory(scratch / ".");
    });
    storage.remove(mine + ".there");
    if (round > 0) continue;  // a warm-up: the file system finds room
    for (std::vector<BenchCase>* cases : {&large, &small})
      for (BenchCase& each : *cases) each.seconds.clear();
  }
  if (world.rank() != 0) return 0;
  const double plain = spread_of(large[0].seconds).median;
  Limit limit("written", "write() and fsync()", [=] { return bytes / plain; });
  report(command, Device{}, large, "GB/s", &limit);
  report(command, Device{}, small, "calls/ms");
  return 0;
}

}  // namespace tessera
