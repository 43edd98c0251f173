// SPDX-License-Identifier: Apache-2.0
// Which part of a global tensor a rank holds: an axis-aligned box, and arithmetic on boxes. Knows
// no axes of the process grid and no ranks. Resharding is intersecting boxes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tessera {

// Elements offset[d] .. offset[d] + extent[d] - 1 of each dim d.
struct Box {
  std::vector<int64_t> offset;
  std::vector<int64_t> extent;

  int64_t size() const;  // number of elements
  bool empty() const { return size() == 0; }
  friend bool operator==(const Box&, const Box&) = default;
};

std::string to_string(const Box& box);  // "[0:4, 128:256]"

// The elements in both boxes; nullopt when there are none. REQUIRES equal numbers of dims.
std::optional<Box> intersect(const Box& a, const Box& b);

struct ShardSpec {
  std::vector<int64_t> global_shape;
  Box box;

  static ShardSpec whole(std::vector<int64_t> global_shape);
  // Part `index` of `count` along `dim`: extents differ by at most one, the larger parts first.
  ShardSpec split(int dim, int64_t index, int64_t count) const;
  // Rows [first, first + count) of my box along dim 0.
  ShardSpec rows(int64_t first, int64_t count) const;
  bool is_whole() const { return box.extent == global_shape; }
  friend bool operator==(const ShardSpec&, const ShardSpec&) = default;
};

// The half-open interval [first, first + extent) of part `index` when `total` is cut into `count`.
struct Interval {
  int64_t first;
  int64_t extent;
};
Interval even_part(int64_t total, int64_t index, int64_t count);

}  // namespace tessera
