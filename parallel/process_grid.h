// SPDX-License-Identifier: Apache-2.0
// Two grids over one world of ranks, as pure arithmetic (no MPI; 4,096 ranks fit in a unit test):
//   dense   {pipeline, data, context, tensor}                  for attention and dense layers
//   expert  {pipeline, expert_data, expert, expert_tensor}     for routed experts
// with data * context * tensor = expert_data * expert * expert_tensor. The last axis varies
// fastest, so tensor groups are neighbouring ranks. Sizes carry Megatron's names.
#pragma once

#include <string>
#include <vector>

namespace tessera {

enum class Axis { pipeline, data, context, tensor, expert_data, expert, expert_tensor };
inline constexpr int kNumAxes = 7;
const char* name(Axis axis);

struct GridSizes {
  int pipeline = 1;
  int data = 1;
  int context = 1;
  int tensor = 1;
  int expert = 1;
  int expert_tensor = 1;
};

class ProcessGrid {
 public:
  // Throws Error{capacity} naming the constraint when the sizes do not multiply out.
  explicit ProcessGrid(const GridSizes& sizes);
  // The grid for num_ranks with `data` = whatever is left; sizes.data is ignored. Throws
  // Error{capacity} with the legal numbers of ranks when nothing fits.
  static ProcessGrid filling(int num_ranks, GridSizes sizes);

  int num_ranks() const;
  int size(Axis axis) const;
  int coord(Axis axis, int rank) const;                     // the rank's place on the axis
  std::vector<int> ranks_along(Axis axis, int rank) const;  // its group, in order of coord
  std::string to_string() const;                            // "data 2 x tensor 1 x pipeline 1"

 private:
  int stride(Axis axis) const;
  GridSizes sizes_;
};

}  // namespace tessera
