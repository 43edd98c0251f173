// SPDX-License-Identifier: Apache-2.0
// What the indexes of a checkpoint of many writers cost whoever opens it (how fast its bytes are:
// tessera bench io).
//
//   bench_checkpoint WRITERS [TENSORS]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "checkpoint/checksum.h"
#include "checkpoint/index_pack.h"
#include "checkpoint/layout.h"
#include "checkpoint/manifest.h"
#include "checkpoint/shard_map.h"
#include "tests/support/faulty_storage.h"

namespace tessera {
namespace {

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
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
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_checkpoint WRITERS [TENSORS]\n");
    return 2;
  }
  tessera::measure_index(std::atoi(argv[1]), argc > 2 ? std::atoi(argv[2]) : 56);
  return 0;
}
