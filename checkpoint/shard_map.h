// SPDX-License-Identifier: Apache-2.0
// The other side of the indexes: for each global tensor, which box of it stands in which shard
// file. Resharding is asking this map for the pieces that meet a box. Immutable, so thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/index.h"

namespace tessera {

struct StoredPiece {
  Box box;
  size_t shard = 0;  // position in the vector of indexes
  size_t entry = 0;  // position in that index's boxes
};

struct GlobalTensor {
  std::string name;
  std::string role;
  DType dtype = DType::f32;
  std::vector<int64_t> global_shape;
  std::vector<StoredPiece> pieces;  // by increasing first row

  int64_t size() const;  // elements
  int64_t bytes() const;
};

class ShardMap {
 public:
  ShardMap() = default;
  explicit ShardMap(const std::vector<ShardIndex>& indexes);

  const std::vector<GlobalTensor>& tensors() const { return tensors_; }  // by name, then role
  // The position in tensors(), or -1.
  int64_t find(std::string_view name, std::string_view role) const;

  // What keeps these shards from being a whole state, one sentence each: ranks that disagree on a
  // dtype or shape, elements stored twice, elements stored by nobody. Empty: every element of every
  // tensor is stored exactly once.
  std::vector<std::string> faults() const;

 private:
  std::vector<GlobalTensor> tensors_;
  std::vector<int> writers_;  // of each shard
  std::vector<std::string> disagreements_;
};

}  // namespace tessera
