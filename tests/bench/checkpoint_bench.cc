// SPDX-License-Identifier: Apache-2.0
// How fast a checkpoint is, against the least that could be done: write(2) of the same bytes and
// fsync. Rounds alternate; the median of each is printed.
//
//   bench_checkpoint [DIRECTORY [MIB [ROUNDS]]]      on the disk of DIRECTORY (default: .)
//   bench_checkpoint --index WRITERS [TENSORS]       opening a checkpoint of so many writers
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>

#include <fcntl.h>
#include <unistd.h>

#include "checkpoint/index_pack.h"
#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/faulty_storage.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A model's mix: weight matrices of 32 MiB, and for each a few norms of 16 KiB.
State model_state(int64_t mebibytes) {
  constexpr int64_t kMatrixMebibytes = 32;
  State state;
  for (int64_t i = 0; i < mebibytes / kMatrixMebibytes; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    state.entries.push_back(blank_entry(layer + "mlp.up_proj.weight", "master", DType::f32,
                                        ShardSpec::whole({2048, 4096})));
    auto* words = static_cast<uint64_t*>(state.entries.back().tensor.data());
    for (int64_t word = 0; word < state.entries.back().tensor.bytes() / 8; ++word)
      words[word] = static_cast<uint64_t>(word + i) * 0x9e3779b97f4a7c15u;
    for (const char* norm : {"norm_1", "norm_2", "kv_norm"})
      state.entries.push_back(
          blank_entry(layer + norm, "master", DType::f32, ShardSpec::whole({4096})));
  }
  state.scalars["step"] = "1";
  return state;
}

void write_plainly(const std::string& path, const State& state) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0640);
  for (const StateEntry& entry : state.entries) {
    const char* next = static_cast<const char*>(entry.tensor.data());
    for (int64_t left = entry.tensor.bytes(); left > 0;) {
      const ssize_t done = ::write(file, next, static_cast<size_t>(left));
      if (done <= 0) std::abort();
      next += done;
      left -= done;
    }
  }
  if (::fsync(file) != 0) std::abort();
  ::close(file);
}

// The same through PosixStorage: room reserved, 1 MiB writes, early writeback; no checksums.
void write_as_storage_does(Storage& storage, const std::string& path, const State& state) {
  int64_t bytes = 0, at = 0;
  for (const StateEntry& entry : state.entries) bytes += entry.tensor.bytes();
  const auto file = storage.create(path);
  file->allocate(bytes);
  for (const StateEntry& entry : state.entries)
    for (int64_t done = 0; done < entry.tensor.bytes(); done += kBlockBytes) {
      const int64_t part = std::min(kBlockBytes, entry.tensor.bytes() - done);
      file->write(at, static_cast<const char*>(entry.tensor.data()) + done, part);
      at += part;
    }
  file->sync();
  file->close();
}

void measure_disk(const std::string& directory, int64_t mebibytes, int rounds) {
  const std::string root = directory + "/bench-checkpoints", plain = directory + "/bench-plain";
  State state = model_state(mebibytes);
  int64_t bytes = 0;
  for (const StateEntry& entry : state.entries) bytes += entry.tensor.bytes();
  PosixStorage storage;
  std::vector<double> plains, tuned, saves, loads, verifies;
  run_ranks(1, [&](Communicator& world) {
    for (int round = 0; round < rounds; ++round) {
      plains.push_back(seconds_of([&] { write_plainly(plain, state); }));
      std::filesystem::remove(plain);
      ::sync();
      tuned.push_back(seconds_of([&] { write_as_storage_does(storage, plain, state); }));
      std::filesystem::remove(plain);
      ::sync();
      saves.push_back(
          seconds_of([&] { save_checkpoint(storage, world, root, save_info(1), state); }));
      const std::string step = root + "/" + step_name(1);
      loads.push_back(seconds_of([&] { load_checkpoint(storage, world, step, state); }));
      verifies.push_back(seconds_of([&] { CheckpointReader::open(storage, step).verify_all(); }));
      std::filesystem::remove_all(root);
      ::sync();
    }
  });
  const double gigabytes = static_cast<double>(bytes) * 1e-9;
  const auto print = [&](const char* what, double seconds) {
    std::printf("%-34s %7.3f s  %6.2f GB/s  %5.2f x plain\n", what, seconds, gigabytes / seconds,
                median(plains) / seconds);
  };
  std::printf("%.3f GB in %zu tensors, median of %d rounds\n", gigabytes, state.entries.size(),
              rounds);
  print("write + fsync, nothing else", median(plains));
  print("reserved, early writeback, fsync", median(tuned));
  print("save_checkpoint, durable", median(saves));
  print("load_checkpoint, verified (cached)", median(loads));
  print("verify_all (cached)", median(verifies));
}

// `writers` indexes of `tensors` boxes of 42 MiB each: 4096 x 56 is DeepSeek-V3's 9.4 TB.
void measure_index(int writers, int tensors) {
  FaultyStorage storage;
  constexpr int64_t kColumns = 7168, kRows = 1536;
  Manifest manifest;
  manifest.run_id = "bench";
  make_directories(storage, "c");
  int64_t json_bytes = 0;
  for (int writer = 0; writer < writers; ++writer) {
    ShardIndex index;
    index.writer = writer;
    for (int tensor = 0; tensor < tensors; ++tensor) {
      StoredBox box;
      box.name = "model.layers." + std::to_string(tensor) + ".mlp.experts.up_proj.weight";
      box.role = "exp_avg";
      box.global_shape = {kRows * writers, kColumns};
      box.box = {{kRows * writer, 0}, {kRows, kColumns}};
      box.bytes = kRows * kColumns * 4;
      box.at = index.file_bytes;
      index.file_bytes += box.bytes;
      box.block_crcs.assign(static_cast<size_t>(num_blocks(box.bytes)), 0x12345678);
      index.boxes.push_back(box);
    }
    const std::string text = to_json(index);
    json_bytes += static_cast<int64_t>(text.size());
    // Shard files without a byte in them: only the index is measured.
    index.file_bytes = 0;
    write_file(storage, "c/" + index_name(writer), text);
    manifest.writers.push_back({writer, 0, static_cast<int64_t>(text.size()), crc32c(text), 1});
  }
  std::vector<ShardIndex> indexes;
  const double parsing = seconds_of([&] {
    for (int writer = 0; writer < writers; ++writer)
      indexes.push_back(parse_index(read_file(storage, "c/" + index_name(writer), int64_t{1} << 30),
                                    index_name(writer)));
  });
  ShardMap map;
  const double mapping = seconds_of([&] {
    map = ShardMap(indexes);
    if (!map.faults().empty()) std::abort();
  });
  std::string packed;
  const double packing = seconds_of([&] { packed = pack_indexes(indexes); });
  const double unpacking = seconds_of([&] { indexes = unpack_indexes(packed); });
  std::printf("%d writers x %d boxes: %.1f MB of JSON, manifest %.2f MB\n", writers, tensors,
              static_cast<double>(json_bytes) * 1e-6,
              static_cast<double>(to_json(manifest).size()) * 1e-6);
  std::printf(
      "read and parse %.2f s, map and check cover %.2f s, pack %.2f s (%.1f MB to "
      "broadcast), unpack %.2f s\n",
      parsing, mapping, packing, static_cast<double>(packed.size()) * 1e-6, unpacking);
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  if (argc > 2 && std::strcmp(argv[1], "--index") == 0)
    tessera::measure_index(std::atoi(argv[2]), argc > 3 ? std::atoi(argv[3]) : 56);
  else
    tessera::measure_disk(argc > 1 ? argv[1] : ".", argc > 2 ? std::atoi(argv[2]) : 1024,
                          argc > 3 ? std::atoi(argv[3]) : 5);
  return 0;
}
