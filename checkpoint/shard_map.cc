// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/shard_map.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace tessera {
namespace {

std::string label(const GlobalTensor& tensor) {
  return "tensor " + tensor.name + " (" + tensor.role + ")";
}

// The first two pieces that share elements, by a sweep over rows: at any row only the pieces that
// reach it are compared, which for row cuts is one, however many ranks wrote.
const StoredPiece* find_overlap(const GlobalTensor& tensor, const StoredPiece** other) {
  std::vector<const StoredPiece*> open;
  for (const StoredPiece& piece : tensor.pieces) {
    std::erase_if(open, [&](const StoredPiece* before) {
      return before->box.offset[0] + before->box.extent[0] <= piece.box.offset[0];
    });
    for (const StoredPiece* before : open) {
      if (!intersect(before->box, piece.box)) continue;
      *other = before;
      return &piece;
    }
    open.push_back(&piece);
  }
  return nullptr;
}

}  // namespace

int64_t GlobalTensor::size() const {
  return std::accumulate(global_shape.begin(), global_shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t GlobalTensor::bytes() const {
  return size() * size_of(dtype);
}

ShardMap::ShardMap(const std::vector<ShardIndex>& indexes) {
  struct Place {
    size_t shard, entry;
  };
  std::vector<Place> places;
  for (size_t shard = 0; shard < indexes.size(); ++shard) {
    writers_.push_back(indexes[shard].writer);
    for (size_t entry = 0; entry < indexes[shard].boxes.size(); ++entry)
      places.push_back({shard, entry});
  }
  const auto stored = [&](const Place& place) -> const StoredBox& {
    return indexes[place.shard].boxes[place.entry];
  };
  std::stable_sort(places.begin(), places.end(), [&](const Place& a, const Place& b) {
    const StoredBox &x = stored(a), &y = stored(b);
    return std::tie(x.name, x.role, x.box.offset) < std::tie(y.name, y.role, y.box.offset);
  });
  for (const Place& place : places) {
    const StoredBox& box = stored(place);
    if (tensors_.empty() || tensors_.back().name != box.name || tensors_.back().role != box.role)
      tensors_.push_back({box.name, box.role, box.dtype, box.global_shape, {}});
    GlobalTensor& tensor = tensors_.back();
    if (tensor.dtype == box.dtype && tensor.global_shape == box.global_shape)
      tensor.pieces.push_back({box.box, place.shard, place.entry});
    else
      disagreements_.push_back(label(tensor) + ": rank " + std::to_string(writers_[place.shard]) +
                               " disagrees with other ranks on its dtype or shape");
  }
}

int64_t ShardMap::find(std::string_view name, std::string_view role) const {
  const auto found = std::lower_bound(
      tensors_.begin(), tensors_.end(), std::tie(name, role),
      [](const GlobalTensor& tensor, const std::tuple<std::string_view&, std::string_view&>& key) {
        return std::tuple<std::string_view, std::string_view>(tensor.name, tensor.role) < key;
      });
  if (found == tensors_.end() || found->name != name || found->role != role) return -1;
  return found - tensors_.begin();
}

std::vector<std::string> ShardMap::faults() const {
  std::vector<std::string> faults = disagreements_;
  for (const GlobalTensor& tensor : tensors_) {
    const StoredPiece* other = nullptr;
    if (const StoredPiece* piece = find_overlap(tensor, &other)) {
      faults.push_back(label(tensor) + ": rank " + std::to_string(writers_[other->shard]) + " " +
                       to_string(other->box) + " and rank " +
                       std::to_string(writers_[piece->shard]) + " " + to_string(piece->box) +
                       " both hold some elements");
      continue;
    }
    int64_t stored = 0;
    for (const StoredPiece& piece : tensor.pieces) stored += piece.box.size();
    if (stored != tensor.size())
      faults.push_back(label(tensor) + ": only " + std::to_string(stored) + " of its " +
                       std::to_string(tensor.size()) + " elements are stored");
  }
  return faults;
}

}  // namespace tessera
