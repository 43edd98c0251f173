// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/state.h"

#include <algorithm>

#include "kernels/base/check.h"

namespace tessera {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

bool is_valid_tensor_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameLength) return false;
  size_t start = 0;
  while (start <= name.size()) {
    const size_t slash = std::min(name.find('/', start), name.size());
    const std::string_view part = name.substr(start, slash - start);
    if (part.empty() || part == "." || part == "..") return false;
    for (const char c : part)
      if (!is_letter_or_digit(c) && c != '_' && c != '.' && c != '-') return false;
    start = slash + 1;
  }
  return true;
}

bool is_valid_role(std::string_view role) {
  return !role.empty() && role.size() <= kMaxRoleLength &&
         std::all_of(role.begin(), role.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

void validate(const StateEntry& entry) {
  check(is_valid_tensor_name(entry.name), "checkpoint: a tensor cannot be named", entry.name);
  check(is_valid_role(entry.role), "checkpoint: tensor", entry.name,
        "has no valid role:", entry.role);
  const Box& box = entry.shard.box;
  const size_t dims = entry.shard.global_shape.size();
  check(
      dims >= 1 && dims <= kMaxTensorDims && box.offset.size() == dims && box.extent.size() == dims,
      "checkpoint: tensor", entry.name, "must have 1 to 8 dims, its box as many; dims:", dims);
  for (size_t dim = 0; dim < dims; ++dim)
    check(box.offset[dim] >= 0 && box.extent[dim] >= 0 &&
              box.offset[dim] <= entry.shard.global_shape[dim] - box.extent[dim],
          "checkpoint: box", to_string(box), "leaves tensor", entry.name);
  if (box.empty()) return;
  check(!entry.tensor.empty() && entry.tensor.contiguous(), "checkpoint: tensor", entry.name,
        "must be contiguous");
  check(entry.tensor.size() == box.size(), "checkpoint: tensor", entry.name, "holds",
        entry.tensor.size(), "elements but its box", to_string(box), "has", box.size());
}

}  // namespace tessera
