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

}  // namespace tessera
