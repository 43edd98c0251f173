// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "checkpoint/checksum.h"
#include "checkpoint/layout.h"
#include "checkpoint/reader.h"
#include "kernels/base/check.h"

namespace tessera {

// HDF5's own bytes are not needed for loading, but whoever opens the shard with h5dump needs them.
void CheckpointReader::verify_skeleton(size_t shard) {
  const ShardIndex& index = shards_[shard];
  uint32_t crc = 0;
  int64_t at = 0;
  const auto gap_until = [&](int64_t end) {
    while (at < end) {
      const int64_t bytes = std::min(kBlockBytes, end - at);
      reserve_scratch(bytes);
      shard_file(shard).read(at, scratch_.data(), bytes);
      bytes_read_ += bytes;
      crc = crc32c(scratch_.data(), bytes, crc);
      at += bytes;
    }
  };
  for (const StoredBox& stored : index.boxes) {
    gap_until(stored.at);
    at = stored.at + stored.bytes;
  }
  gap_until(index.file_bytes);
  check(crc == index.skeleton_crc, ErrorKind::checkpoint,
        shard_path(shard) + ": is damaged: CRC32C of the HDF5 structure is " + hex(crc) +
            ", the index says " + hex(index.skeleton_crc) +
            " (the tensors can be loaded, but h5dump may fail)");
}

std::vector<std::string> CheckpointReader::find_damage(const Progress& progress,
                                                       std::vector<std::string>* unreadable) {
  std::vector<std::string> damage;
  const auto attempt = [&](auto&& work) {
    try {
      work();
    } catch (const Error& error) {
      const bool cannot_tell = error.kind() == ErrorKind::storage && unreadable != nullptr;
      if (error.kind() != ErrorKind::checkpoint && !cannot_tell) throw;
      (cannot_tell ? *unreadable : damage).push_back(error.what());
    }
  };
  const int64_t total = manifest_.bytes();
  int64_t done = 0;
  for (size_t shard = 0; shard < shards_.size(); ++shard) {
    int64_t reported = done;
    for (const StoredBox& stored : shards_[shard].boxes) {
      uint32_t whole = 0;
      for (int64_t i = 0; i < num_blocks(stored.bytes); ++i) {
        const int64_t bytes = std::min(kBlockBytes, stored.bytes - i * kBlockBytes);
        reserve_scratch(bytes);
        attempt([&] { read_block(shard, stored, i, scratch_.data()); });
        whole = crc32c_joined(whole, stored.block_crcs[static_cast<size_t>(i)], bytes);
        reported += bytes;
        if (progress) progress(reported, total);
      }
      if (whole != stored.crc)
        damage.push_back(shard_path(shard) + ": the index contradicts itself about tensor " +
                         stored.name);
    }
    attempt([&] { verify_skeleton(shard); });
    open_files_.erase(shard);
    done += shards_[shard].file_bytes;
    if (progress) progress(done, total);
  }
  return damage;
}

void CheckpointReader::verify_all(const Progress& progress) {
  const std::vector<std::string> damage = find_damage(progress);
  check(damage.empty(), ErrorKind::checkpoint, damage.empty() ? "" : damage.front());
}

}  // namespace tessera
