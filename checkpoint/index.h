// SPDX-License-Identifier: Apache-2.0
// What stands in one shard file: rank-0003.index.json beside rank-0003.h5. Loading goes by this
// index alone. Each stored box has a CRC32C per block of 1 MiB, so that a damaged byte is named to
// the block and a reader of a few rows verifies just those. docs/formats/checkpoint.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"
#include "parallel/shard.h"

namespace tessera {

inline constexpr int64_t kBlockBytes = int64_t{1} << 20;

// REQUIRES (of an index that was read, too): boxes neither empty nor outside the global shape, byte
// counts that fit, a checksum per block, boxes in order of their offset in the file, not
// overlapping.
struct StoredBox {
  std::string name;
  std::string role;
  DType dtype = DType::f32;
  std::vector<int64_t> global_shape;
  Box box;
  int64_t at = 0;     // first byte in the shard file
  int64_t bytes = 0;  // box.size() * size_of(dtype)
  uint32_t crc = 0;   // of all bytes
  std::vector<uint32_t> block_crcs;
};

struct ShardIndex {
  int writer = 0;             // the rank that wrote it: file names follow
  int64_t file_bytes = 0;     // exact size of the shard file
  uint32_t skeleton_crc = 0;  // of all bytes outside the boxes, in file order (HDF5's own)
  std::vector<StoredBox> boxes;
};

std::string to_json(const ShardIndex& index);
// Throws Error{checkpoint} starting with `where` unless everything REQUIRED above holds.
ShardIndex parse_index(const std::string& text, const std::string& where);

inline int64_t num_blocks(int64_t bytes) {
  return (bytes + kBlockBytes - 1) / kBlockBytes;
}

}  // namespace tessera
