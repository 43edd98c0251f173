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

// How the rows (dim 0) of a tensor are dealt to the ranks of a group: rank p has rows
// [bounds[p], bounds[p + 1]). A part may be empty.
class Cut {
 public:
  static Cut even(int64_t rows, int64_t ranks);                  // even_part()s: larger parts first
  static Cut owned(int64_t rows, int64_t ranks, int64_t owner);  // all rows to one rank
  static Cut of_counts(const std::vector<int64_t>& counts);      // counts[p] rows to rank p

  Interval part(int64_t rank) const;
  int64_t rows() const { return bounds_.back(); }
  int64_t ranks() const { return static_cast<int64_t>(bounds_.size()) - 1; }
  bool is_even() const;
  friend bool operator==(const Cut&, const Cut&) = default;

 private:
  std::vector<int64_t> bounds_;  // ranks + 1, ascending, from 0
};

std::string to_string(const Cut& cut);  // the counts: "3 + 3 + 2"

}  // namespace tessera
