// SPDX-License-Identifier: Apache-2.0
// Two checkpoints compared tensor by tensor, whatever layouts they were saved in: which bits
// differ, and by how much. Memory stays small: tensors are read in slices of rows, verified as
// always.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/reader.h"

namespace tessera {

struct TensorDifference {
  enum class Kind { equal, values, dtype, shape, only_in_a, only_in_b };
  std::string name;
  std::string role;
  Kind kind = Kind::equal;
  int64_t num_elements = 0;
  int64_t num_different = 0;  // elements whose bits differ (of equal dtypes) or whose values do
  // Of kinds `values` and `dtype`, in double precision. A NaN on one side only makes both infinite.
  double max_abs = 0;             // largest |a - b|
  double relative_frobenius = 0;  // ||a - b|| / ||a||; infinite when only a is zero
};

struct ScalarDifference {
  std::string key;
  std::optional<std::string> a, b;  // nullopt: not there
};

struct CheckpointDiff {
  std::vector<TensorDifference> tensors;  // of both, by name then role; the equal ones too
  std::vector<ScalarDifference> scalars;  // those that differ
  // True when all is equal bit for bit, scalars too; those that only tell how a checkpoint came
  // about (made_with.h) are not asked.
  bool equal() const;
};

struct DiffOptions {
  std::vector<std::string> roles = {};  // compare only these; empty: all
};

// Throws Error{checkpoint} for damage on either side.
CheckpointDiff diff_checkpoints(CheckpointReader& a, CheckpointReader& b,
                                const DiffOptions& options = {}, const Progress& progress = {});

// One line, e.g. "model.norm.weight (param): 3 of 64 elements differ, max |a-b| 1.2e-07, relative
// 4.0e-09".
std::string describe(const TensorDifference& difference);

}  // namespace tessera
