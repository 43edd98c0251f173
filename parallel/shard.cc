// SPDX-License-Identifier: Apache-2.0
#include "parallel/shard.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "kernels/base/check.h"

namespace tessera {

int64_t Box::size() const {
  return std::accumulate(extent.begin(), extent.end(), int64_t{1}, std::multiplies<>());
}

std::string to_string(const Box& box) {
  std::string text = "[";
  for (size_t dim = 0; dim < box.extent.size(); ++dim)
    text += (dim ? ", " : "") + std::to_string(box.offset[dim]) + ":" +
            std::to_string(box.offset[dim] + box.extent[dim]);
  return text + "]";
}

std::optional<Box> intersect(const Box& a, const Box& b) {
  check(a.extent.size() == b.extent.size(), "intersect: boxes of different dims:", to_string(a),
        to_string(b));
  Box both;
  for (size_t dim = 0; dim < a.extent.size(); ++dim) {
    const int64_t first = std::max(a.offset[dim], b.offset[dim]);
    const int64_t end = std::min(a.offset[dim] + a.extent[dim], b.offset[dim] + b.extent[dim]);
    if (end <= first) return std::nullopt;
    both.offset.push_back(first);
    both.extent.push_back(end - first);
  }
  return both;
}

ShardSpec ShardSpec::whole(std::vector<int64_t> global_shape) {
  ShardSpec spec;
  spec.box.offset.assign(global_shape.size(), 0);
  spec.box.extent = global_shape;
  spec.global_shape = std::move(global_shape);
  return spec;
}

ShardSpec ShardSpec::split(int dim, int64_t index, int64_t count) const {
  check(dim >= 0 && static_cast<size_t>(dim) < box.extent.size(), "ShardSpec: no such dim", dim);
  const auto d = static_cast<size_t>(dim);
  const Interval part = even_part(box.extent[d], index, count);
  ShardSpec spec = *this;
  spec.box.offset[d] += part.first;
  spec.box.extent[d] = part.extent;
  return spec;
}

ShardSpec ShardSpec::rows(int64_t first, int64_t count) const {
  check(!box.extent.empty() && first >= 0 && count >= 0 && first + count <= box.extent[0],
        "ShardSpec: rows outside the box:", first, count, to_string(box));
  ShardSpec spec = *this;
  spec.box.offset[0] += first;
  spec.box.extent[0] = count;
  return spec;
}

Interval even_part(int64_t total, int64_t index, int64_t count) {
  check(count >= 1 && index >= 0 && index < count, "even_part: part", index, "of", count);
  const int64_t base = total / count, larger = total % count;
  return {index * base + std::min(index, larger), base + (index < larger ? 1 : 0)};
}

Cut Cut::even(int64_t rows, int64_t ranks) {
  check(rows >= 0 && ranks >= 1, "Cut: cannot deal", rows, "rows to", ranks);
  Cut cut;
  for (int64_t rank = 0; rank < ranks; ++rank)
    cut.bounds_.push_back(even_part(rows, rank, ranks).first);
  cut.bounds_.push_back(rows);
  return cut;
}

Cut Cut::owned(int64_t rows, int64_t ranks, int64_t owner) {
  check(owner >= 0 && owner < ranks, "Cut: no such owner", owner, "of", ranks);
  std::vector<int64_t> counts(static_cast<size_t>(ranks), 0);
  counts[static_cast<size_t>(owner)] = rows;
  return of_counts(counts);
}

Cut Cut::of_counts(const std::vector<int64_t>& counts) {
  check(!counts.empty(), "Cut: for no ranks");
  Cut cut;
  cut.bounds_.push_back(0);
  for (const int64_t count : counts) {
    check(count >= 0, "Cut: negative number of rows", count);
    cut.bounds_.push_back(cut.bounds_.back() + count);
  }
  return cut;
}

Interval Cut::part(int64_t rank) const {
  check(rank >= 0 && rank < ranks(), "Cut: no such rank", rank, "of", ranks());
  const int64_t* bound = bounds_.data() + rank;
  return {bound[0], bound[1] - bound[0]};
}

bool Cut::is_even() const {
  return *this == even(rows(), ranks());
}

std::string to_string(const Cut& cut) {
  std::string text;
  for (int64_t rank = 0; rank < cut.ranks(); ++rank)
    text += (rank ? " + " : "") + std::to_string(cut.part(rank).extent);
  return text;
}

}  // namespace tessera
